# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Gradients through a rejection sampler
#
# *How can one differentiate through a rejection sampler, and why do others get it wrong?*
#
# **You will be able to**
#
# - split the gradient through a rejection sampler into its two terms, and measure what is lost if one is forgotten;
# - repair it in two ways, and choose between them by their variance;
# - say in which direction a sample should move when the mean direction turns, and why that is a matter of choice.
#
# **You need**: calculus, densities and expectations, [chapter 2](02_von_mises_fisher.ipynb) for the law and
# [chapter 4](04_sampling.ipynb) for the sampler.
#
# **Time**

# %%
import math

import numpy as np
import torch

from hvae_tutorial import plotting
from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher
from hvae_tutorial.special import mean_resultant_length

torch.set_default_dtype(torch.float64)
BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]

# %% [markdown]
# ## The trick, and when it may be used
#
# An encoder gives $\kappa$, we draw $z$, the decoder says how well it explains the image: $f(z)$. Training needs
# $\frac{d}{d\kappa}E[f(z)]$, the derivative of an average over draws.
#
# Let $w=\mu\cdot z$. For now $f$ depends on $w$ alone. Suppose that $w=h(u,\kappa)$ with $u$ uniform on $(0,1)$ (here
# $h$ is a map, not the features of an encoder). Then $E f(w)=\int_0^1 f(h(u,\kappa))\,du$. If $f$ and $h$ are smooth,
# with bounded derivatives, the derivative goes inside the integral (dominated convergence), and the chain rule gives
#
# $$
# \frac{d}{d\kappa}E f(w)=E\Bigl[f'(w)\,\frac{\partial h}{\partial\kappa}(u,\kappa)\Bigr].
# $$
#
# This is the **reparameterisation trick**: draw, let autograd differentiate, average. It used two things: the law of
# the noise $u$ does not change with $\kappa$, and $h$ has no jumps.
#
# For $m=3$ chapter 4 inverted the distribution function of $w$, so the trick applies. The truth is known: the mean of
# $w$ is $A_3=\coth\kappa-1/\kappa$, so its derivative is $A_3'=1/\kappa^2-1/\sinh^2\kappa$.


# %%
def inverse(u, kappa):
    """The quantile function of w for m = 3, from chapter 4."""
    return 1 + torch.log1p((1 - u) * torch.expm1(-2 * kappa)) / kappa


torch.manual_seed(5)
kappa = torch.tensor(2.0, requires_grad=True)
(slope,) = torch.autograd.grad(inverse(torch.rand(100_000), kappa).mean(), kappa)
truth = 1 / 2**2 - 1 / math.sinh(2) ** 2
print(f"autograd {slope:.3f}, truth {truth:.3f}")
assert abs(slope - truth) < 0.002  # standard error 0.0003

# %% [markdown]
# ## Where rejection breaks it
#
# For other $m$ we reject. Chapter 4 takes the height $x$ of a uniform point, with density
# $s(x)\propto(1-x^2)^{(m-3)/2}$, moves it to $w$, and accepts it with probability $a_\kappa$:
#
# $$
# w=h(x,\kappa)=\frac{x_0+x}{1+x_0x},\qquad
# a_\kappa(x)=\bigl(c\,e^{1-c}\bigr)^{m-1},\qquad
# c=\frac{1}{1+x_0x},
# $$
#
# with the constants
#
# $$
# x_0=\frac{2\kappa}{m-1+\rho},\qquad\rho=\sqrt{(m-1)^2+4\kappa^2}.
# $$
#
# Fix all random numbers: a list of proposals $x$, each with the number that decides its fate. What is left is a
# function of $\kappa$. Compare two slopes at $\kappa=2$ on the circle: how much the mean of $w$ over all lists really
# changes from $\kappa=1.95$ to $2.05$, and what autograd says.


# %%
def constants(kappa, m):
    rho = torch.sqrt((m - 1) ** 2 + 4 * kappa**2)
    return rho, 2 * kappa / (m - 1 + rho)


def propose(x, kappa, m):
    x0 = constants(kappa, m)[1]
    c = 1 / (1 + x0 * x)
    return (x0 + x) * c, (c * torch.exp(1 - c)) ** (m - 1)


def run(kappa, m, x, fate):
    """The sampler with its numbers fixed: w, and which proposal it was."""
    w, a = propose(x, kappa, m)
    first = (fate < a).to(torch.uint8).argmax(-1, keepdim=True)
    return w.gather(-1, first)[..., 0], first[..., 0]


torch.manual_seed(1)
x, fate = torch.cos(math.pi * torch.rand(50_000, 20)), torch.rand(50_000, 20)  # m = 2
ends, index = run(torch.tensor([1.95, 2.05])[:, None, None], 2, x, fate)
kappa = torch.full((50_000, 1), 2.0, requires_grad=True)
(slopes,) = torch.autograd.grad(run(kappa, 2, x, fate)[0].sum(), kappa)
slope_of_mean, mean_of_slopes = (ends[1] - ends[0]).mean() / 0.1, slopes.mean()
print(f"slope of the mean {slope_of_mean:.2f}, mean of the slopes {mean_of_slopes:.2f}")
jumps = (ends[1] - ends[0])[index[0] != index[1]]

# %% tags=["picture"]
grid = torch.linspace(0.5, 6, 1101)
paths, path_index = run(grid[:, None, None], 2, x[:40], fate[:40])
few = torch.nonzero(path_index[0] != path_index[-1])[:4, 0]
figure, axes = plotting.subplots(size=(5.5, 3.1))
sizes = []
for colour, stream in enumerate(few):
    same = path_index[1:, stream] == path_index[:-1, stream]
    sizes += paths[:, stream].diff()[~same].tolist()
    axes.plot(grid, paths[:, stream], ":", color=plotting.CURVE_COLOURS[colour], linewidth=0.9)
    axes.plot(grid[1:], paths[1:, stream].where(same, math.nan), color=plotting.CURVE_COLOURS[colour], linewidth=2)
axes.set(xlabel="κ", ylabel="w returned by the sampler")
plotting.show(
    figure,
    "**Figure 5.1.** The sampler for m = 2 as a function of κ, for four fixed lists of random numbers, chosen from "
    "40 because they jump (dotted): a proposal is no longer accepted.",
    alt=f"Four curves of the returned w against kappa. Each rises smoothly between its jumps; the {len(sizes)} jumps "
    f"shown are between {min(sizes):.1f} and {max(sizes):.1f}.",
)

# %% tags=["checks"]
assert mean_of_slopes < 0.6 * slope_of_mean
assert torch.isclose(slope_of_mean, slopes.mean() + jumps.sum() / 50_000 / 0.1, atol=0.003)  # pieces and jumps
assert jumps.abs().median() > 1
assert (jumps > 0).double().mean() > 0.8
every = run(torch.linspace(0.5, 6, 56)[:, None, None], 2, x[:2000], fate[:2000])[1]
assert (every.diff(dim=0) >= 0).all()
print(
    "Checked: the slope of the pieces and the jumps add up; half of the jumps are longer than 1, most go up, and no "
    "list ever jumps back to an earlier proposal."
)

# %% tags=["words"]
plotting.say(
    f"Between the two concentrations {len(jumps) / 500:.1f}% of the lists jump to a later proposal. The mean jump is "
    f"{jumps.mean():+.2f}; {(jumps > 0).double().mean():.0%} of the jumps go up. Their median length "
    f"is {jumps.abs().median():.1f}, and $w$ has a range of 2."
)

# %% [markdown]
# Rejection is an `if` whose condition depends on $\kappa$. Autograd is right about the pieces and blind to the jumps.
# Few lists jump, but most jumps are long, and most go up. Here they carry half of the change.
#
# ## Two terms
#
# We cannot differentiate jumps, but we can average over them. "Proposed at $x$, and accepted" has density
# $s(x)\,a_\kappa(x)$. Rejected rounds leave no trace, so the accepted $x$ has this density, normalised:
#
# $$
# \pi_\kappa(x)=M_\kappa\,s(x)\,a_\kappa(x),\qquad\frac{1}{M_\kappa}=\int s\,a_\kappa\,dx.
# $$
#
# Hence $E f(w)=\int f(h(x,\kappa))\,\pi_\kappa(x)\,dx$, an integral in which $\kappa$ stands **twice**. The product
# rule gives two terms; in the second, $\partial\pi=\pi\,\partial\log\pi$ makes an expectation again:
#
# $$
# \frac{d}{d\kappa}E f(w)
# =\underbrace{E\Bigl[f'(w)\,\frac{\partial h}{\partial\kappa}\Bigr]}_{g_{\text{rep}}}
# +\underbrace{E\Bigl[f(w)\,\frac{\partial\log\pi_\kappa(x)}{\partial\kappa}\Bigr]}_{g_{\text{cor}}}.
# $$
#
# Autograd gives $g_{\text{rep}}$ alone: it holds the accepted $x$ fixed. The **correction** $g_{\text{cor}}$ is
# missing. Its factor $\partial\log\pi_\kappa/\partial\kappa$ is called a *score*. The mean of a score is zero, for
# $\int\pi_\kappa\,dx=1$ does not change.
#
# The split is due to [@naesseth2017]. [@davidson2018] have it as their Lemma 2, and write $g(w)$ for the density that
# one wants and $r(w)$ for that of the proposals (chapter 4 wrote $f$ and $g$). The envelope inequality is then
# $g\le M\,r$, a proposal is accepted with probability $a=g/(M\,r)$, and the weight $g/r$ is our $M_\kappa a_\kappa$. So
# their accepted noise has density $s\,g/r$, which is our $\pi_\kappa$.
#
# In general $f$ depends on $z$, that is, on $w$ and the tangent direction $v$. The law of $v$ does not depend on
# $\kappa$: condition on $v$, and the argument stands.
#
# ## The truth to compare with
#
# Take $f(w)=w$. Its mean is $A_m(\kappa)$, so the truth is $A_m'(\kappa)$. [Chapter 3](03_bessel.ipynb) found, by
# integrating one derivative from $-1$ to $1$, that
#
# $$
# \kappa\,E(1-w^2)=(m-1)\,A_m,\qquad A_m'=\operatorname{Var}w=1-A_m^2-\frac{m-1}{\kappa}A_m .
# $$
#
# The second is a Riccati equation for $A_m$ (recurrences of Bessel functions give it too, [@dlmf, 10.29.2]). Why a
# variance? $\log p_\kappa(w)=\kappa w-\phi_m(\kappa)$ plus something without $\kappa$. So the score of the density of
# $w$ is $w-A_m$, and $\frac{d}{d\kappa}E\,w=E[w\,(w-A_m)]$.
#
# ## Both terms in closed form
#
# Chapter 4 has $\kappa(1-x_0^2)=(m-1)\,x_0$. Solve this quadratic equation, and differentiate it:
#
# $$
# \rho=m-1+2\kappa x_0,\qquad\frac{dx_0}{d\kappa}=\frac{1-x_0^2}{\rho}.
# $$
#
# **Pathwise.** Differentiate $w=(x_0+x)/(1+x_0x)$ by $x_0$, and write $1-w^2$ with the same denominator:
#
# $$
# \frac{\partial w}{\partial x_0}=\frac{1-x^2}{(1+x_0x)^2},\qquad
# 1-w^2=\frac{(1+x_0x)^2-(x_0+x)^2}{(1+x_0x)^2}=(1-x_0^2)\,\frac{1-x^2}{(1+x_0x)^2}.
# $$
#
# So $\partial w/\partial x_0=(1-w^2)/(1-x_0^2)$. Multiply by $dx_0/d\kappa$: the proposal $x$ drops out, and only $w$
# remains.
#
# $$
# \frac{\partial h}{\partial\kappa}=\frac{1-w^2}{\rho},\qquad
# E\Bigl[\frac{\partial h}{\partial\kappa}\Bigr]=\frac{(m-1)A_m}{\kappa\rho}.
# $$
#
# **Score.** First the acceptance: $\log a_\kappa=(m-1)(\log c+1-c)$, and $\partial c/\partial x_0=-xc^2$. Hence
#
# $$
# \frac{\partial\log a_\kappa}{\partial x_0}=(m-1)\Bigl(\frac1c-1\Bigr)(-xc^2)=-(m-1)\,(1-c)\,xc .
# $$
#
# Two facts turn $x$ into $w$. From $w-x_0=(1-x_0^2)\,xc$ follows the first, and from $1-c=x_0xc$ and the quadratic
# equation the second:
#
# $$
# xc=\frac{w-x_0}{1-x_0^2},\qquad1-c=\frac{x_0\,(w-x_0)}{1-x_0^2}=\frac{\kappa\,(w-x_0)}{m-1}.
# $$
#
# Put them in, and multiply by $dx_0/d\kappa$:
#
# $$
# \frac{\partial\log a_\kappa}{\partial\kappa}=-\lambda(w),\qquad\lambda(w)=\frac{\kappa\,(w-x_0)^2}{\rho}\ge0 .
# $$
#
# Then the normaliser: the derivative of $\log M_\kappa$ is $x_0-A_m$ (chapter 4, on the acceptance rate). Together
#
# $$
# \frac{\partial\log\pi_\kappa}{\partial\kappa}=\bar\lambda-\lambda(w),\qquad\bar\lambda=x_0-A_m=E\,\lambda(w).
# $$
#
# Now the jumps can be read off. Every proposal's chance falls as $\kappa$ grows: an accepted sample is lost at the rate
# $\lambda(w)$, which is zero at $w=x_0$ and grows with the squared distance from $x_0$. In its place comes a fresh
# sample, whose mean value is $E f$. And indeed
#
# $$
# g_{\text{cor}}=E\bigl[f(w)\,(\bar\lambda-\lambda(w))\bigr]=E\bigl[\lambda(w)\,\bigl(E f-f(w)\bigr)\bigr]:
# $$
#
# **the correction is the mean jump**, rate times change.


# %%
def pathwise(w, kappa, m):
    return (1 - w**2) / constants(kappa, m)[0]


def loss_rate(w, kappa, m):
    """lambda: how fast an accepted sample at w is lost as kappa grows."""
    rho, x0 = constants(kappa, m)
    return kappa * (w - x0) ** 2 / rho


def score(w, kappa, m):
    return constants(kappa, m)[1] - mean_resultant_length(kappa, m) - loss_rate(w, kappa, m)


# %% [markdown]
# Expectations under the law of $w$ are sums over a quadrature rule.


# %%
nodes, gauss = map(torch.tensor, np.polynomial.legendre.leggauss(400))
angle, log_gauss = (nodes + 1) * math.pi / 2, torch.log(gauss)  # a Gauss rule for angles


cases = [(2, 2.0), (5, 2.0), (10, 10.0)]  # m and kappa of the examples below


def law(kappa, m):
    """Points w and probabilities p, for expectations under the law of w."""
    log_p = log_gauss + kappa * torch.cos(angle) + (m - 2) * torch.log(torch.sin(angle))
    return torch.cos(angle), torch.softmax(log_p, 0)


def riccati(kappa, m):
    A = mean_resultant_length(kappa, m)
    return 1 - A**2 - (m - 1) * A / kappa


def g_rep(kappa, m):
    return (m - 1) * mean_resultant_length(kappa, m) / (kappa * constants(kappa, m)[0])


# %% tags=["checks"]
for m, value in cases:
    x_line = torch.linspace(-0.99, 0.99, 7)
    kappa = torch.full_like(x_line, value, requires_grad=True)
    w, a = propose(x_line, kappa, m)
    (by_autograd,) = torch.autograd.grad(w.sum(), kappa, retain_graph=True)
    assert torch.allclose(by_autograd, pathwise(w, kappa, m))
    (by_autograd,) = torch.autograd.grad(torch.log(a).sum(), kappa)
    assert torch.allclose(-loss_rate(w, kappa, m), by_autograd)
    kappa = torch.tensor(value)
    rho, x0 = constants(kappa, m)
    assert torch.isclose(rho, m - 1 + 2 * kappa * x0)
    w, p = law(kappa, m)
    A = (p * w).sum()
    assert torch.isclose((p * (w - A) ** 2).sum(), riccati(kappa, m))
    assert torch.isclose((p * loss_rate(w, kappa, m)).sum(), x0 - A)
    assert abs((p * score(w, kappa, m)).sum()) < 1e-12
    assert torch.isclose((p * pathwise(w, kappa, m)).sum(), g_rep(kappa, m))
    assert torch.isclose(g_rep(kappa, m) + (p * w * score(w, kappa, m)).sum(), riccati(kappa, m))  # Lemma 2
    assert torch.isclose((p * w * score(w, kappa, m)).sum(), (p * loss_rate(w, kappa, m) * (A - w)).sum())
assert abs(len(jumps) / 50_000 / 0.1 - 0.083) < 5 * math.sqrt(0.0083 / 50_000) / 0.1  # five standard errors
kappa = torch.tensor(2.0)
x0, A = constants(kappa, 2)[1], mean_resultant_length(kappa, 2)
ends_of_w = loss_rate(torch.tensor([-1.0, 1.0]), kappa, 2)
print("Checked: both closed forms against autograd, and by quadrature the means, the two terms and the mean jump.")

# %% tags=["words"]
plotting.say(
    f"At $m=2$, $\\kappa=2$: $x_0={x0:.2f}$. The rate is {ends_of_w[0]:.2f} at $w=-1$ and {ends_of_w[1]:.2f} at $w=1$, "
    f"on average {x0 - A:.3f}. In a step of 0.1 that makes {10 * (x0 - A):.1f}% of the lists jump, as counted above."
)

# %% [markdown]
# ## How much is lost
#
# With $f(w)=w$ the two terms and the truth are elementary functions of $A_m$. What share of the truth does autograd
# miss?

# %% tags=["picture"]
losses = [float(g_rep(torch.tensor(k), m) / riccati(torch.tensor(k), m) - 1) * 100 for m, k in cases]
grid = torch.logspace(-1.5, 3, 400)
figure, axes = plotting.subplots(size=(5.5, 3.3))
worst = {}
for colour, m, place in zip(plotting.CURVE_COLOURS, [2, 5, 10], [(0.26, -30), (1.6, -21), (6.5, -4)], strict=False):
    loss = 100 * (g_rep(grid, m) / riccati(grid, m) - 1)
    near = torch.linspace(0.9, 1.1, 401) * grid[loss.argmin()]
    at = (g_rep(near, m) / riccati(near, m)).argmin()
    worst[m] = (near[at].item(), 100 * (g_rep(near[at], m) / riccati(near[at], m) - 1).item())
    axes.plot(grid, loss, color=colour, linewidth=1.8)
    axes.text(*place, f"m = {m}", color=colour, ha="center", va="center")
axes.plot([k for _, k in cases], losses, "o", color="0.4", zorder=3)
axes.set(xscale="log", xlabel="κ", ylabel="lost without correction (%)", ylim=(-56, 3))
axes.grid()
plotting.show(
    figure,
    "**Figure 5.2.** What the missing correction costs on E[μ·z]. Dots: (m, κ) = (2, 2), (5, 2) and (10, 10), with "
    + ", ".join(f"{loss:.0f}%" for loss in losses)
    + ".",
    alt="Loss against kappa. Each curve is zero at both ends with one minimum: "
    + ", ".join(f"{loss:.0f} percent near kappa {k:.3g} for m = {m}" for m, (k, loss) in worst.items())
    + ".",
)

# %% tags=["checks"]
assert [round(loss) for loss in losses] == [-48, -13, -8]
assert abs(worst[2][0] - 1.66) < 0.01
assert all(low[1] < worst[m][1] for low, m in zip(list(worst.values()), (5, 10), strict=False))
print("Checked: the three losses, and the place of the worst one on the circle.")

# %% tags=["words"]
plotting.say(
    f"The loss vanishes at both ends and fades with $m$. For $m=2$ it is worst, {worst[2][1]:.0f}%, near "
    f"$\\kappa={worst[2][0]:.2f}$. An S-VAE that computes $\\kappa$ as softplus + 1 begins near $\\log2+1="
    f"{math.log(2) + 1:.2f}$. ($m=3$ is not in the figure: nobody rejects there.)"
)

# %% [markdown]
# ## First cure: keep the score
#
# Estimate both terms from one sample:
#
# $$
# f'(w)\,\frac{1-w^2}{\rho}+f(w)\,\bigl(\bar\lambda-\lambda(w)\bigr).
# $$
#
# This is the estimator of [@naesseth2017]. It is unbiased. Below it runs for two functions with the same derivative,
# $w$ and $w+10$.


# %%
def accepted(n, kappa, m):
    """n accepted x, of 2 n proposals (the rate is above 0.65)."""
    x = HypersphericalUniform(m).sample((2 * n,))[:, 0]
    return x[torch.rand(2 * n) < propose(x, kappa, m)[1]][:n]


torch.manual_seed(2)
m, kappa, n = 2, torch.tensor(2.0), 200_000
w, _ = propose(accepted(n, kappa, m), kappa, m)
estimates = [pathwise(w, kappa, m) + f * score(w, kappa, m) for f in (w, w + 10)]
for name, estimate in zip(("w", "w + 10"), estimates, strict=True):
    print(f"f = {name}: mean {estimate.mean():.2f}, standard deviation {estimate.std():.2f}")

# %% tags=["checks"]
for estimate in estimates:
    assert abs(estimate.mean() - riccati(kappa, m)) < 5 * estimate.std() / math.sqrt(n)
assert estimates[1].std() > 5 * estimates[0].std()
print("Checked: both means are within five standard errors of the truth.")

# %% [markdown]
# Both lines estimate the same number, for a constant changes no derivative. It does change the noise: the correction
# multiplies the *value* of $f$, in a VAE a log-likelihood, which is large and negative. The usual remedy is a
# *baseline*: subtract from $f$ a constant near its mean, which costs no bias since the score has mean zero. The cure
# has a second drawback: `backward()` hands a sampler the derivative of the loss for $z$, never the loss itself. So the
# correction cannot live inside `rsample`.
#
# ## Second cure: hold the quantile still
#
# Autograd moved $w$ at fixed $x$, whose law changes. Hold instead the **quantile** $u=F_\kappa(w)$, with $F_\kappa$ the
# distribution function of $w$ and $p_\kappa$ its density. As $P(F_\kappa(w)\le u)=u$, it is uniform for every $\kappa$:
# the trick applies, with $h=F_\kappa^{-1}$. No formula for the inverse is needed: differentiate $F_\kappa(w)=u$ at
# fixed $u$,
#
# $$
# p_\kappa(w)\,\frac{dw}{d\kappa}+\frac{\partial F_\kappa}{\partial\kappa}(w)=0.
# $$
#
# The score of $p_\kappa$ is $t-A_m$, so $\partial F_\kappa/\partial\kappa=\int_{-1}^w(t-A_m)\,p_\kappa(t)\,dt$. The
# score has mean zero, hence
#
# $$
# \frac{dw}{d\kappa}=\frac{1}{p_\kappa(w)}\int_w^1(t-A_m)\,p_\kappa(t)\,dt.
# $$
#
# This is **implicit reparameterisation** ([@figurnov2018]). The right side needs the value $w$, and nothing of how
# it was drawn. So draw by rejection, without gradients, and attach this derivative afterwards. The normaliser of
# $p_\kappa$ divides out.
#
# ## Without cancellation
#
# For $w$ far below $A_m$ the integrand changes sign on its way: a small result is left of two large parts. So choose
# the tail. If $w>A_m$, then $t-A_m>0$ on all of $(w,1)$. Otherwise integrate $(A_m-t)\,p_\kappa$ over $(-1,w)$, which
# is equal, since the score has mean zero, and positive too.
#
# Put $t=\cos s$, $w=\cos\theta$. With $dt=-\sin s\,ds$ and $p_\kappa\propto e^{\kappa\cos s}\sin^{m-3}s$, nothing is
# singular any more:
#
# $$
# \frac{dw}{d\kappa}=\sin\theta\int_0^\theta(\cos s-A_m)\,e^{\kappa(\cos s-w)}
#   \Bigl(\frac{\sin s}{\sin\theta}\Bigr)^{m-2}ds\quad(w>A_m),
# $$
#
# and $\sin\theta\int_\theta^\pi(A_m-\cos s)\ldots ds$ for $w<A_m$.
#
# Where the law is narrow, most of this interval holds nothing, and fixed nodes would miss the rest. How wide is what
# counts? Near $\theta$ the integrand falls like a Gaussian whose width follows from the curvature of the logarithm of
# $e^{\kappa\cos s}\sin^{m-2}s$, which is $-\kappa\cos\theta-(m-2)/\sin^2\theta$:
#
# $$
# \text{width}^{-2}=\max(\kappa\cos\theta,0)+\frac{m-2}{\sin^2\theta}.
# $$
#
# We stop after nine widths, or where the interval ends. (For $m=2$ and $w\le0$ the formula gives an infinite width:
# then the interval ends first.) A Gaussian would have fallen to $e^{-81/2}$ there. The integrand falls a little more
# slowly in places, so the folded cell measures what the cut costs.


# %%
legendre, weights = map(torch.tensor, np.polynomial.legendre.leggauss(64))
unit, weights = (legendre + 1) / 2, weights / 2  # a Gauss rule on (0, 1)


def dw_dkappa(w, kappa, m, widths=9):
    """dw/dkappa at fixed quantile: a positive integral over the angle."""
    x, g = unit.to(w.dtype), weights.to(w.dtype)
    A, theta, sine = mean_resultant_length(kappa, m), torch.acos(w), torch.sqrt((1 - w) * (1 + w))
    width = torch.rsqrt(kappa * w.clamp(min=0) + (m - 2) / sine**2)
    length = torch.minimum(torch.where(w > A, theta, math.pi - theta), widths * width)
    s = theta[:, None] + torch.where(w > A, -length, length)[:, None] * x
    ratio = torch.exp(kappa * (torch.cos(s) - w[:, None])) * (torch.sin(s) / sine[:, None]) ** (m - 2)
    return sine * length * (((torch.cos(s) - A).abs() * ratio) @ g)


# %% tags=["checks"]
from scipy.optimize import brentq


def by_definition(w, kappa, m):
    """The integral over t as it stands."""
    x, g = unit.to(w.dtype), weights.to(w.dtype)
    A, w, length = mean_resultant_length(kappa, m), w[:, None], 1 - w[:, None]
    t = w + length * x
    ratio = torch.exp(kappa * (t - w)) * ((1 - t**2) / (1 - w**2)) ** ((m - 3) / 2)
    return (length * (t - A) * ratio) @ g


def quantile(u, kappa, m):
    def mass(angle):  # between angle and pi
        s = angle + (math.pi - angle) * unit
        return (math.pi - angle) * (torch.exp(kappa * torch.cos(s)) * torch.sin(s) ** (m - 2)) @ weights

    return math.cos(brentq(lambda angle: float(mass(angle) / mass(0.0)) - u, 0, math.pi, xtol=1e-14))


u, step = [0.02, 0.2, 0.5, 0.8, 0.98], 1e-4
for m, value in cases:
    low, w, high = (torch.tensor([quantile(p, k, m) for p in u]) for k in (value - step, value, value + step))
    assert torch.allclose(dw_dkappa(w, torch.tensor(value), m), (high - low) / (2 * step), rtol=1e-6)
at_mean = mean_resultant_length(torch.tensor([2.0]), 5)  # neither tail is empty at w = A
assert torch.allclose(*(form(at_mean, torch.tensor(2.0), 5) for form in (dw_dkappa, by_definition)))

cut = 0.0
for m in (2, 3, 5, 10, 40):
    for value in (0.5, 2.0, 10.0, 100.0, 1000.0):
        w, p = law(torch.tensor(value), m)
        w = w[(p.cumsum(0) > 1e-9) & (p.cumsum(0) < 1 - 1e-9)]  # where samples are
        nine, twelve = (dw_dkappa(w, torch.tensor(value), m, widths) for widths in (9, 12))
        cut = max(cut, (nine / twelve - 1).abs().max().item())
assert cut < 1e-7

faults = {}
for m, value, dtype, tail in [(2, 2.0, torch.float64, 1e-2), (10, 1000.0, torch.float32, 1e-5)]:
    kappa = torch.tensor(value)
    w, p = law(kappa, m)
    exact = dw_dkappa(w, kappa, m)
    assert torch.isclose((p * exact).sum(), riccati(kappa, m))
    above = p.cumsum(0)  # the share of samples above w
    core = (above > tail) & (above < 1 - tail)
    plain, cured = (
        (form(w.to(dtype), kappa.to(dtype), m) / exact - 1).abs()[core].max().item()
        for form in (by_definition, dw_dkappa)
    )
    assert plain > max(0.01, 100 * cured)
    assert cured < 1e-3
    faults[m] = plain
print(f"Checked: against the slopes of quantiles found by bisection; the cut costs {cut:.0e} at most.")

# %% tags=["words"]
plotting.say(
    "Was the trouble worth it? The integral over $t$ as it stands, with as many nodes, is wrong by up to "
    f"{faults[2]:.0%} among the middle 98% of samples at $m=2$, $\\kappa=2$, in double precision (the singular end). "
    f"At $m=10$, $\\kappa=1000$ in single precision the worst of 100,000 samples is wrong by {faults[10]:.0%} "
    "(cancellation)."
)

# %% [markdown]
# ## What was missing, sample by sample
#
# Each sample now has two derivatives: at fixed $x$, and at fixed quantile. Their ratio is the missing correction,
# pointwise.

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5.5, 3.5))
ends_of_ratio, usual_share = {}, 0.95
for colour, (m, value) in zip(plotting.CURVE_COLOURS, cases, strict=False):
    kappa = torch.tensor(value)
    w, p = law(kappa, m)
    ratio = dw_dkappa(w, kappa, m) / pathwise(w, kappa, m)
    ends_of_ratio[m] = ratio[0].item(), ratio[-1].item()
    usual = (p.cumsum(0) - 0.5).abs() < usual_share / 2
    axes.plot(w, ratio, color=colour, linewidth=0.9)
    axes.plot(w[usual], ratio[usual], color=colour, linewidth=3, solid_capstyle="butt")
    axes.text(-1.03, ratio[-1], f"m = {m}, κ = {value:.0f}", color=colour, ha="right", va="center")
axes.axhline(1, color="0.5", linewidth=0.8, linestyle="--")
axes.text(-0.98, 0.9, "no correction needed", color="0.4", va="top")
axes.set(xlabel="w = μ·z", ylabel="exact / pathwise", xlim=(-1.75, 1.05), ylim=(0, 7.6), xticks=(-1, -0.5, 0, 0.5, 1))
plotting.show(
    figure,
    "**Figure 5.3.** The exact dw/dκ divided by that through the accepted proposal. Thick: the middle "
    f"{usual_share:.0%} of samples.",
    alt="Ratio of exact to pathwise derivative against w. It rises as w falls from 1 to -1: "
    + ", ".join(f"from {near:.2f} to {far:.1f} for m = {m}" for m, (near, far) in ends_of_ratio.items())
    + ".",
)

# %% tags=["checks"]
near, far = zip(*ends_of_ratio.values(), strict=True)
for m, value in cases:
    kappa = torch.tensor(value)
    w, p = law(kappa, m)
    ratio = dw_dkappa(w, kappa, m) / pathwise(w, kappa, m)
    assert (ratio.diff() > -1e-6).all()  # it grows as w falls
    assert torch.isclose((p * ratio * pathwise(w, kappa, m)).sum(), riccati(kappa, m))
assert 0.8 < min(near) < max(near) < 1.3
assert 1.8 < min(far) < max(far) < 7.1
print("Checked: both ends of the three curves; each curve grows as w falls, and its mean is the truth.")

# %% tags=["words"]
plotting.say(
    f"Near $\\mu$ the exact derivative is {min(near):.2f} to {max(near):.2f} times autograd's. On the far side samples "
    f"should move {min(far):.1f} to {max(far):.1f} times as fast as autograd says: those are the ones that are often "
    "lost, and the jumps of Figure 5.1 have become motion. At $m=\\kappa=2$ every sample should move faster, even "
    f"those at $\\mu$ by a factor of {near[0]:.2f}: of the three cases the loss is largest there."
)

# %% [markdown]
# ## Which estimator?
#
# Three are unbiased. The **score function**, $f(w)\,(w-A_m)$, needs no derivative of $f$. **Corrected** is the first
# cure, **implicit** the second: $f'(w)\,dw/d\kappa$. ([@mohamed2020] survey these families and their variance.) We
# compare them at $m=10$, twice: with a baseline, $f=w-A_m$, whose mean is zero, and without, $f=w+10$.

# %%
m, values, noise = 10, torch.logspace(-1, 3, 41), {}
for kappa in values:
    w, p = law(kappa, m)
    A, rate = mean_resultant_length(kappa, m), dw_dkappa(w, kappa, m)
    for shift, f in (("- A", w - A), ("+ 10", w + 10)):
        corrected = pathwise(w, kappa, m) + f * score(w, kappa, m)
        for name, estimate in [("score function", f * (w - A)), ("corrected", corrected), ("implicit", rate)]:
            mean = (p * estimate).sum()
            assert torch.isclose(mean, riccati(kappa, m), rtol=1e-6)  # unbiased
            noise.setdefault((name, shift), []).append((p * (estimate / mean - 1) ** 2).sum().sqrt().item())

# %% tags=["picture"]
figure, panels = plotting.subplots(1, 2, size=(7, 3.4), sharey=True)
for (name, shift), spread in noise.items():
    colour = {"implicit": BLUE, "corrected": ORANGE, "score function": GREEN}[name]
    axes = panels[0 if shift == "- A" else 1]
    axes.loglog(values, spread, color=colour, linewidth=1.8)
    if (name, shift) == ("corrected", "- A"):  # on the right it meets the implicit one
        axes.text(0.1, 0.2, name, color=colour, va="bottom")
    else:
        end, side = (0.75, "top") if name == "implicit" else (1.3, "bottom")
        axes.text(1000, end * spread[-1], name, color=colour, ha="right", va=side)
for axes, title in zip(panels, ("with a baseline: f = w − A", "without: f = w + 10"), strict=True):
    axes.set(xlabel="κ", title=title)
    axes.grid()
panels[0].set(ylabel="standard deviation / mean", ylim=(0.05, 2e4))
plotting.show(
    figure,
    "**Figure 5.4.** Noise of the gradient from one sample, m = 10, for three unbiased estimators. A constant that is "
    "not taken off f (right) leaves the implicit one as it is.",
    alt="Standard deviation over mean against kappa, in two panels. "
    + " ".join(f"{name}, f = w {shift}: at most {max(spread):.2g}." for (name, shift), spread in noise.items()),
)

# %% tags=["checks"]
assert np.allclose(noise["implicit", "- A"], noise["implicit", "+ 10"])
assert (
    max(noise["implicit", "- A"]) < 0.5 < max(noise["corrected", "- A"]) < 1 < max(noise["score function", "- A"]) < 2
)
assert max(noise["implicit", "+ 10"]) < 9 < max(noise["corrected", "+ 10"]) < max(noise["score function", "+ 10"])
noisier = np.array(noise["corrected", "- A"]) / noise["implicit", "- A"]
assert 1.5 < noisier.max() < 1.6
assert min(noisier.min(), (np.array(noise["score function", "- A"]) / noise["implicit", "- A"]).min()) > 1
assert 5.5 < values[noisier.argmax()] < 7
assert max(noisier[0], noisier[-1]) < 1.01
print("Checked: all three estimators have the right mean at every κ; the order of their noise; where two are equal.")

# %% tags=["words"]
plotting.say(
    f"The implicit estimator's noise is at most {max(noise['implicit', '- A']):.2f} of the mean in both panels. With "
    f"the baseline the corrected one has at most {max(noise['corrected', '- A']):.2f}, and the score function "
    f"{max(noise['score function', '- A']):.1f}. Without it they rise to {max(noise['corrected', '+ 10']):.0f} and "
    f"{max(noise['score function', '+ 10']):.0f}. Where the two cures differ most with the baseline, near $\\kappa="
    f"{values[noisier.argmax()]:.0f}$, the corrected one needs {noisier.max() ** 2:.1f} times as many samples; at "
    "small and at large $\\kappa$ they are equal."
)

# %% [markdown]
# With the mean of $f$ as baseline all three can be used, and the implicit one is the quietest. Without one only the
# implicit estimator is quiet, and it never asks for $f$. That is the library's choice. These are single numbers in a
# toy; what the noise does to training is another question, and this chapter has not measured it.
#
# On the course's site all this can be moved by hand: samples on the circle or the sphere, with the arrow that each
# estimator gives them as $\kappa$ grows, and the mean slope of each beside the truth.

# %% [markdown]
# <div class="explorable" data-explorable="lost-term"></div>

# %% [markdown]
# ## The derivative $A_m'$, computed
#
# Training needs $A_m'$ itself too: the gradient of the KL term is $\kappa A_m'$ ([chapter 6](06_kl_divergence.ipynb)).
# For large $\kappa$ the Riccati formula subtracts numbers near 1 to get $(m-1)/(2\kappa^2)$: rounding is magnified by
# $2\kappa^2/(m-1)$. At $\kappa=0$ it is 0/0. The cure: compute a variance as a variance. From $w-x_0=(1-x_0^2)\,xc$ and
# $1-x_0^2=(m-1)x_0/\kappa=2(m-1)/(m-1+\rho)$,
#
# $$
# A_m'=\operatorname{Var}w=\Bigl(\frac{2(m-1)}{m-1+\rho}\Bigr)^2\operatorname{Var}_{\pi_\kappa}(xc).
# $$
#
# The small factor stands in front.


# %%
def variance_form(kappa, m):
    rho, x0 = constants(kappa, m)
    c = 1 / (1 + x0 * torch.cos(angle))
    log_pi = log_gauss + (m - 1) * (torch.log(c) - c) + (m - 2) * torch.log(torch.sin(angle))
    p, xc = torch.softmax(log_pi, 0), torch.cos(angle) * c
    return (2 * (m - 1) / (m - 1 + rho)) ** 2 * (p * (xc - (p * xc).sum()) ** 2).sum()


# %% tags=["nbval-ignore-output"]
for value in (1e2, 1e4, 1e8):
    kappa = torch.tensor(value)
    formula = f"{riccati(kappa.float(), 3):9.1e} in float32, {riccati(kappa, 3):9.1e} in float64"
    print(f"kappa = {value:.0e}: formula {formula}, variance {variance_form(kappa, 3):.1e}")

# %% tags=["checks"]
for value in (1e2, 1e4, 1e8):  # for m = 3 and large kappa the truth is 1 / kappa^2
    assert abs(variance_form(torch.tensor(value), 3) * value**2 - 1) < 1e-9
assert abs(riccati(torch.tensor(1e4).float(), 3) * 1e8 - 1) > 0.5
assert abs(riccati(torch.tensor(1e8), 3) * 1e16 - 1) > 0.5
assert riccati(torch.tensor(0.0), 3).isnan()
assert torch.isclose(variance_form(torch.tensor(0.0), 3), torch.tensor(1 / 3))
print("Checked: for m = 3 the variance has the right digits at every κ, and the formula has none at large κ.")

# %% [markdown]
# ## The mean direction: turn or reflect?
#
# When $\mu$ turns by a small angle $\varepsilon$ towards a unit tangent $t$, where should a sample go? The natural
# answer: turn with it, in the plane of $\mu$ and $t$: $\mu\to\mu+\varepsilon t$, $t\to t-\varepsilon\mu$, and all that
# is orthogonal to both stays. Then
#
# $$
# z\to z+\varepsilon\bigl[(\mu\cdot z)\,t-(t\cdot z)\,\mu\bigr].
# $$
#
# The law of $w$ does not change, so the trick applies. With $g=\partial f/\partial z$ the loss changes by
# $\varepsilon\,t\cdot\nabla_\mu$, where
#
# $$
# \nabla_\mu=(\mu\cdot z)\,g-(\mu\cdot g)\,z,\qquad t\cdot\nabla_\mu=(\mu\cdot z)(t\cdot g)-(\mu\cdot g)(t\cdot z).
# $$
#
# It lies in the tangent space at $\mu$, for $\mu\cdot\nabla_\mu=0$: the length of $\mu$ is not free, so nothing pulls
# on it. (When $\kappa$ moves and not $\mu$, then $v$ stays, and $z=w\mu+\sqrt{1-w^2}\,v$ goes along its meridian:
# $\frac{dz}{dw}=\mu-\frac{w\,v}{\sqrt{1-w^2}}=\frac{\mu-wz}{1-w^2}$.)
#
# But chapter 4 also drew with a **mirror**: make $z^0$ around a fixed axis $\pm e_1$, and reflect it, $z=H(\mu)\,z^0$,
# with $H=I-2\,aa^\top/|a|^2$, $a=\mu\mp e_1$ and $|a|^2=2\,(1\mp\mu_1)$. (Here $a$ is a vector, not the acceptance
# $a_\kappa$.) Autograd through $H$ moves the same samples in another way. Since $z^0=H(\mu)\,z$, the sample goes to
# $H(\mu+\varepsilon t)\,H(\mu)\,z$. The derivative of $H$ in the direction $t$ is
# $-2\,(ta^\top+at^\top)/|a|^2+4\,(a\cdot t)\,aa^\top/|a|^4$. Apply it to $z^0$, with $a\cdot z^0=-a\cdot z$ and
# $t\cdot z^0=t\cdot z-2\,(a\cdot z)(a\cdot t)/|a|^2$: the terms with $a\cdot t$ cancel. What remains is a turn in the
# plane of $t$ and $a$:
#
# $$
# z\to z+\varepsilon\,\frac{(a\cdot z)\,t-(t\cdot z)\,a}{1\mp\mu_1},\qquad
# a=(1\mp\mu_1)\,\mu\mp n,\qquad n=e_1-\mu_1\mu .
# $$
#
# The part of $a$ along $\mu$ makes our turn. The rest, $n$, is tangent at $\mu$, as $t$ is: it adds a **spin** about
# $\mu$, which leaves $\mu$ where it is.
#
# Which one is right? Both. The law is symmetric about $\mu$, so a spin changes no expectation: the derivative of
# $E f$ along it is zero. *The law says how the crowd moves, not who goes where.* For one coordinate $w$ the answer was
# unique, the quantile. In more dimensions any motion that carries the law along will do, and they differ in variance
# ([@jankowiak2018] start from the transport equation that all of them obey).
#
# How fast is the spin? By the formula, at the rate $|n|/(1\mp\mu_1)$ at most. LAPACK's sign makes the denominator
# $1+|\mu_1|$, and the rate at most 1. The public S-VAE code always mirrors at $a=e_1-\mu$
# (`nicola-decao/s-vae-pytorch`, commit 671c46c, `von_mises_fisher.py`, line 171). There the rate is
# $\sqrt{(1+\mu_1)/(1-\mu_1)}$, about two divided by the angle between $\mu$ and $e_1$. Only the $10^{-5}$ of line 172
# ([chapter 4](04_sampling.ipynb)) stops it, at about 50,000, where $H$ is no mirror any more.


# %%
def by_turning(mu, z, g):
    return (z @ mu)[:, None] * g - (mu @ g) * z


def by_mirror(mu, z, g, axis):
    """Autograd through the reflection that carries an axis to mu, projected on the tangent space."""

    def reflect(points, mu):
        a = mu - axis
        return points - 2 * ((points * a).sum(-1) / a.square().sum(-1))[:, None] * a

    each = mu.expand(z.shape).clone().requires_grad_()
    (gradient,) = torch.autograd.grad((reflect(reflect(z, mu), each) @ g).sum(), each)
    return gradient - (gradient @ mu)[:, None] * mu


# %% tags=["picture"]
torch.manual_seed(3)
m, e1, degrees = 6, torch.eye(6)[0], torch.logspace(math.log10(2), math.log10(178), 30)
costs = torch.randn(10, m)  # f(z) = g.z
spread = {"mirror at e1, as published": [], "mirror as LAPACK does": [], "turn": []}
gaps = []
for degree in degrees:
    mu = torch.cos(torch.deg2rad(degree)) * e1 + torch.sin(torch.deg2rad(degree)) * torch.eye(m)[1]
    z = VonMisesFisher(mu, 5.0).sample((4000,))
    axes_of = {"mirror at e1, as published": e1, "mirror as LAPACK does": -e1 * torch.sign(mu[0])}
    for name, values_of in spread.items():
        gradients = [by_turning(mu, z, g) if name == "turn" else by_mirror(mu, z, g, axes_of[name]) for g in costs]
        values_of.append(torch.stack([x.var(0).sum() for x in gradients]).mean().sqrt().item())
figure, axes = plotting.subplots(size=(5.5, 3.3))
for (name, values_of), colour, place in zip(
    spread.items(), (ORANGE, GREEN, BLUE), ((8, 20), (9, 1.35), (2, 0.62)), strict=True
):
    axes.loglog(degrees, values_of, color=colour)
    axes.text(*place, name, color=colour)
axes.set(xlabel="angle between μ and the first axis (degrees)", ylabel="noise of the gradient for μ", ylim=(0.5, 70))
axes.set_xticks([2, 10, 45, 180], ["2", "10", "45", "180"])
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 5.5.** Three motions of the same samples, m = 6, κ = 5, costs f(z) = g·z: the standard deviation of the "
    "gradient for μ from one sample. Their means agree.",
    alt="Noise against the angle. "
    + " ".join(
        f"{name}: {values_of[0]:.1f} at 2 degrees, {min(values_of):.1f} to {max(values_of):.1f} over all angles."
        for name, values_of in spread.items()
    ),
)

# %% tags=["checks"]
degree, n = math.radians(40), 200_000
mu = math.cos(degree) * e1 + math.sin(degree) * torch.eye(m)[1]
z, g = VonMisesFisher(mu, 5.0).sample((n,)), costs[0]
t = torch.linalg.qr(torch.stack([mu, torch.randn(m)], 1))[0][:, 1]
turned = torch.matrix_exp(1e-6 * (torch.outer(t, mu) - torch.outer(mu, t))) @ z[0]
assert torch.isclose((turned - z[0]) @ g / 1e-6, by_turning(mu, z[:1], g)[0] @ t, rtol=1e-4)
motions = [by_turning(mu, z, g), by_mirror(mu, z, g, e1), by_mirror(mu, z, g, -e1)]
for gradient in motions:
    assert (gradient @ mu).abs().max() < 1e-9
    assert ((gradient - motions[0]).mean(0).norm()) < 5 * gradient.var(0).sum().sqrt() / math.sqrt(n)
assert ((motions[1] - motions[0]).norm(dim=1) > 0.1).double().mean() > 0.5  # sample by sample they differ
truth = mean_resultant_length(torch.tensor(5.0), m) * (g - (g @ mu) * mu)  # E f = A g.mu
assert (motions[0].mean(0) - truth).norm() < 5 * motions[0].var(0).sum().sqrt() / math.sqrt(n)
for gradient, axis in zip(motions[1:], (e1, -e1), strict=True):
    rest = (axis - (axis @ mu) * mu) / (1 - axis @ mu)  # its length is the rate
    spin = (z @ t)[:, None] * rest - (z @ rest)[:, None] * t
    assert torch.allclose((gradient - motions[0]) @ t, spin @ g)  # a spin about mu is all that differs
    assert torch.isclose(rest.norm(), torch.sqrt((1 + axis @ mu) / (1 - axis @ mu)))
assert spread["mirror at e1, as published"][0] > 20 * spread["turn"][0]
first = {name: values_of[0] for name, values_of in spread.items()}


def published_mirror(mu):
    u = (e1 - mu) / ((e1 - mu).norm() + 1e-5)
    return torch.eye(m) - 2 * torch.outer(u, u)


rates = {}
for gap in 10 ** torch.arange(-7, -1.9, 0.25):
    mu = torch.cos(gap) * e1 + torch.sin(gap) * torch.eye(m)[1]
    _, moved = torch.autograd.functional.jvp(published_mirror, mu, torch.eye(m)[2])
    rates[torch.linalg.matrix_norm(moved, 2).item()] = mu  # how fast the fastest sample moves as mu turns
assert abs(max(rates) - 50_000) < 1
assert torch.linalg.svdvals(published_mirror(rates[max(rates)])).min() < 0.6  # a mirror has ones only
print(
    "Checked: the turn against a rotation matrix; all three means agree with the truth, though samples differ; with "
    f"line 172 the spin has a rate of {max(rates):,.0f} at most, and there a length shrinks to half."
)

# %% tags=["words"]
plotting.say(
    f"Two degrees from $e_1$ the turn has a noise of {first['turn']:.1f}, the mirror with LAPACK's sign "
    f"{first['mirror as LAPACK does']:.1f}, the published one {first['mirror at e1, as published']:.0f}. Nothing "
    "in the samples or in the mean gradient shows it. The library turns."
)

# %% [markdown]
# ## The trap
#
# The appendix of [@davidson2018] has the correction. The authors' code does without, for every $m$ but 3
# (`nicola-decao/s-vae-pytorch`, commit 671c46c, `von_mises_fisher.py`, lines 86 to 168), and so does pythae
# (commit 6419e21, `svae_model.py`, lines 158 to 199). A comment on [@pytorch147048] measures the loss at $(5,2)$.
#
# In the letters of [@wood1994] $w=(1-(1+b)\,e)/(1-(1-b)\,e)$, with $e=(1-x)/2$ and $b=(1-x_0)/(1+x_0)$. The authors'
# $b$ (lines 92 to 100) passes, between $\kappa=10$ and 11, to the approximation $(m-1)/(4\kappa)$. That does two
# different things. To the *law* of the samples: see the fifth trap of [chapter 4](04_sampling.ipynb). To the
# *gradient*: see here. To keep the two apart we draw from the exact law, and only differentiate their formula for $w$
# at a fixed proposal.


# %%
def exact_b(kappa, m):
    return (m - 1) / (2 * kappa + constants(kappa, m)[0])


def blended_b(kappa, m):
    share = torch.minimum(torch.maximum(torch.tensor(0.0), kappa - 10), torch.tensor(1.0))
    return (m - 1) / (4 * kappa) * share + exact_b(kappa, m) * (1 - share)


torch.manual_seed(5)
n, found = 200_000, []
for m, value in cases:
    truth = riccati(torch.tensor(value), m).item()
    e = (1 - accepted(n, torch.tensor(value), m)) / 2
    for name, formula in [("exact", exact_b), ("blended", blended_b)]:
        kappa = torch.full((n,), value, requires_grad=True)
        b = formula(kappa, m)
        w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
        (slopes,) = torch.autograd.grad(w.sum(), kappa)
        found.append(100 * (slopes.mean().item() / truth - 1))
        print(f"({m}, {value:.0f}), {name:7} b: {slopes.mean():.3f}, truth {truth:.3f}, lost {found[-1]:.0f}%")

# %% [markdown]
# At $(10,10)$ there are two faults. The missing correction takes the first part. The rest is a kink: at $\kappa=10$ the
# blend has two one-sided slopes, and PyTorch takes their mean. How does a wrong slope of $b$ reach $w$? Since
# $1-x_0^2=4b/(1+b)^2$ and $dx_0=-2\,db/(1+b)^2$, any formula for $b$ gives
#
# $$
# \frac{\partial w}{\partial\kappa}=-\frac{1-w^2}{2}\,\frac{d\log b}{d\kappa}.
# $$

# %% tags=["picture"]
m, grid = 10, torch.linspace(7, 15, 801)
curves = {"truth": riccati(grid, m)}
for name, formula in [("without correction", exact_b), ("as published", blended_b)]:
    kappa = grid.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(formula(kappa, m).log().sum(), kappa)
    curves[name] = -slopes / 2 * (m - 1) * mean_resultant_length(grid, m) / grid
share = curves["as published"] / curves["truth"]
inside = (grid > 10.005) & (grid < 10.995)
figure, axes = plotting.subplots(size=(5.5, 3.1))
looks = [("0.45", 1.8, (8.2, 0.039)), (BLUE, 3.5, (11.8, 0.0115)), (ORANGE, 1.5, (11.2, 0.007))]
for (name, curve), (colour, width, place) in zip(curves.items(), looks, strict=True):
    axes.plot(grid, curve, color=colour, linewidth=width)
    axes.text(*place, name, color=colour)
axes.set(xlabel="κ", ylabel="derivative of E[μ·z]", ylim=(0, 0.05))
axes.grid()
plotting.show(
    figure,
    "**Figure 5.6.** Mean gradient for m = 10 under the exact law: the truth, without correction, and with the blended "
    "constant as well.",
    alt=f"Three curves against kappa. Without correction the gradient is "
    f"{100 * (1 - curves['without correction'] / curves['truth']).max():.0f} percent below the truth at most. As "
    f"published it falls to {share[inside].min():.0%} of the truth between kappa 10 and 11, and is within "
    f"{100 * (share[grid > 11.005] - 1).abs().max():.0f} percent of it beyond.",
)

# %% tags=["checks"]
assert np.allclose(found, [-48, -48, -13, -13, -8, -32], atol=1)  # per cent; the standard error is 0.2
assert torch.allclose(curves["without correction"], g_rep(grid, m))
assert share[inside].max() < 0.6
assert share[grid > 11.005].min() > 0.97


def their_mean(kappa, m):
    """The mean of w under the law that the blended b makes, with the other constants exact."""
    b, a, e = blended_b(kappa, m), (m - 1 + 2 * kappa + constants(kappa, m)[0]) / 4, (1 - torch.cos(angle)) / 2
    t = 2 * a * b / (1 - (1 - b) * e)
    log_accept = (m - 1) * (torch.log(t) - math.log(m - 1)) - t + 4 * a * b / (1 + b)
    p = torch.softmax(log_gauss + (m - 2) * torch.log(torch.sin(angle)) + log_accept.clamp(max=0), 0)
    return (p * (1 - (1 + b) * e) / (1 - (1 - b) * e)).sum()


assert torch.isclose(their_mean(torch.tensor(9.0), m), mean_resultant_length(torch.tensor(9.0), m))
kappa = torch.tensor(10.5, requires_grad=True)
wrong = their_mean(kappa, m)
(wrong_slope,) = torch.autograd.grad(wrong, kappa)
middle = (grid - 10.5).abs().argmin()
print("Checked: the six losses, the heights of the curves, and the law of the blend: below κ = 10 its mean is exact.")

# %% tags=["words"]
plotting.say(
    f"Where two formulas nearly agree, a blend has nearly their value, but not their slope. At $\\kappa=10.5$ the "
    f"*law* is hardly touched: the mean of $w$ is {wrong:.4f} in place of "
    f"{mean_resultant_length(torch.tensor(10.5), m):.4f}. The *gradient* is {curves['as published'][middle]:.4f} in "
    f"place of {curves['truth'][middle]:.4f}. (It does not even fit their own law, whose mean has the slope "
    f"{wrong_slope:.3f}.) Beyond 11 the approximation happens to make up for the missing correction at this $m$."
)

# %% [markdown]
# The cure is `dw_dkappa`: it never differentiates the sampler.
#
# ## The library's version
#
# `rsample` draws by rejection and attaches the implicit derivative for $\kappa$ and the turn for $\mu$. It can be
# differentiated once: a second time would need $d^2w/d\kappa^2$, which it does not have, and it says so.

# %%
from hvae_tutorial.special import mean_resultant_length_derivative

m, value = 5, 2.0
kappa = torch.full((1000,), value, requires_grad=True)
mu, g = HypersphericalUniform(m).sample((2,)).requires_grad_()
z = VonMisesFisher(mu, kappa).rsample()
slope_mu, slopes = torch.autograd.grad((z @ g).sum(), (mu, kappa), create_graph=True)
try:
    slopes.sum().backward()
except RuntimeError as error:
    message = str(error)
    print(message.split(":")[0])

# %% tags=["checks"]
assert "differentiated once only" in message
for m, value in [*cases, (41, 300.0)]:
    kappa = torch.full((1000,), value, requires_grad=True)
    mu, g = HypersphericalUniform(m).sample((2,)).requires_grad_()
    z = VonMisesFisher(mu, kappa).rsample()
    slope_mu, slopes = torch.autograd.grad((z @ g).sum(), (mu, kappa))
    w = (z @ mu).detach()
    dz_dw = (mu - w[:, None] * z) / (1 - w[:, None] ** 2)
    assert torch.allclose(slopes, (dz_dw @ g) * dw_dkappa(w, torch.tensor(value), m), rtol=1e-6)
    assert torch.allclose(slope_mu, by_turning(mu, z, g).sum(0), rtol=1e-6)
    kappa = torch.tensor(value)
    assert torch.isclose(mean_resultant_length_derivative(kappa, m), variance_form(kappa, m))
print(
    "Checked: the gradients of the library for κ and μ, sample by sample, and its derivative of A are those found here."
)

# %% [markdown]
# [Chapter 8](08_s_vae.ipynb) trains with both gradients and shows what the difference does to the ELBO.
#
# ## Test yourself
#
# **1.** Let $f$ be constant. What do the pathwise, the corrected and the implicit estimator return?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Pathwise and implicit: exactly zero, for $f'=0$. Corrected: $f$ times the score, zero only on average.
#
# </details>
#
# **2.** Why is the authors' gradient right for $m=3$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# There they invert the distribution function. Nothing is rejected, and the noise held fixed is the quantile.
#
# </details>
#
# **3.** On the circle, do turn and mirror give different gradients for $\mu$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# No. A spin about $\mu$ needs two tangent directions, and the circle has one: for $m=2$ there is nothing to choose.
#
# </details>
#
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/05_gradients.ipynb),
# or in a terminal: `hvae exercise show ch05.1`.

# %% [markdown] tags=["exercise"]
# ch05.1

# %% [markdown] tags=["exercise"]
# ch05.2

# %% [markdown] tags=["exercise"]
# ch05.3

# %% [markdown] tags=["exercise"]
# ch05.4

# %% [markdown]
# ## Summary
#
# - Rejection makes a sample jump as $\kappa$ changes; autograd sees the pieces only: up to half of $A_m'$ is lost.
# - The gradient is $g_{\text{rep}}+g_{\text{cor}}$, both known in closed form; the correction is the mean jump.
# - The score correction is unbiased, but its noise grows with the value of the loss.
# - Implicit reparameterisation holds the quantile still and needs only $w$; integrated over the tail on which $t-A_m$
#   keeps its sign, nothing cancels.
# - For $\mu$ there is a choice: turning and mirroring have one mean and two variances.
#
# ## References
#
# - [@davidson2018] Lemma 2 and the appendix on gradients.
# - [@naesseth2017] Section 3: the two terms.
# - [@figurnov2018] Section 3.
# - [@jankowiak2018] The transport equation, and the freedom it leaves in more than one dimension.
# - [@mohamed2020] Score function, pathwise derivatives, baselines and their variance.
# - [@wood1994] $b$.
# - [@dlmf] 10.29.2: the Riccati equation from recurrences.
# - [@pytorch147048] The comment that measures the loss.
