# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Drawing from the sphere
#
# *How do you draw exactly from a von Mises-Fisher law, in any dimension and at any concentration?*
#
# **You will be able to**
#
# - split a point of the sphere into independent height and direction;
# - derive the usual rejection sampler, its constant and its acceptance rate;
# - test a sampler, and recognise five faults of published ones.
#
# **You need**: change of variables; $\phi_m$ and $A_m$ from [chapter 2](02_von_mises_fisher.ipynb).
#
# **Time**: 50 minutes.

# %%
import itertools
import math

import numpy as np
import torch

from hvae_tutorial import plotting
from hvae_tutorial.special import log_partition, mean_resultant_length, mean_resultant_length_complement

torch.set_default_dtype(torch.float64)
torch.manual_seed(4)
BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]


def unit(x):
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def phi(m, kappa):
    return log_partition(torch.tensor(kappa), m)


def A(m, kappa):
    return mean_resultant_length(torch.tensor(kappa), m)


def close(a, b, error=1e-9):
    return bool(torch.as_tensor(a - b).abs().max() < error)


# %% [markdown]
# ## A height and a direction
#
# Fix the mean direction $\mu$. A point $z$ of the sphere has a height $w=\mu\cdot z$ above the equator. What is left,
# $z-w\mu$, is orthogonal to $\mu$, with squared length $1-2w^2+w^2=1-w^2$. Hence
#
# $$
# z=w\,\mu+\sqrt{1-w^2}\;v,\qquad v\cdot\mu=0,\quad|v|=1,
# $$
#
# the *tangent-normal decomposition*. The directions $v$ form a unit sphere in $m-1$ dimensions.
#
# How much area lies at height $w=\cos\theta$? The points at angle $\theta$ from $\mu$ form a sphere of radius
# $\sin\theta$ with $m-2$ dimensions. A step $d\theta$ along a meridian leaves it at a right angle. So the area element
# is $\sin^{m-2}\theta\,d\theta\,dv$. With $dw=-\sin\theta\,d\theta$ this is $(1-w^2)^{(m-3)/2}\,dw\,dv$.
#
# The density $\exp(\kappa w-\phi)/S_m$ on the sphere does not see $v$. So **$w$ and $v$ are independent, $v$ is
# uniform**, and the density of $w$ is
#
# $$
# f(w)=\frac{\exp(\kappa w-\phi_m(\kappa))\,(1-w^2)^{(m-3)/2}}{B},\qquad B=\int_{-1}^1(1-w^2)^{(m-3)/2}\,dw
# =\frac{\sqrt\pi\,\Gamma(\frac{m-1}2)}{\Gamma(\frac m2)}.
# $$
#
# A law on a sphere of any dimension has become a law on an interval.


# %%
def density(w, m, kappa):
    B = math.sqrt(math.pi) * math.exp(math.lgamma((m - 1) / 2) - math.lgamma(m / 2))
    return torch.exp(kappa * w - phi(m, kappa)) * (1 - w**2) ** ((m - 3) / 2) / B


def marginal(m, kappa):
    """Angles, and the distribution function there, by the trapezoidal rule."""
    end = min(math.pi, 1.6 * (math.sqrt(m) + 8) / math.sqrt(max(kappa, 1)))  # beyond, nothing is left
    theta = torch.linspace(0, end, 20_001)
    log_f = torch.xlogy(torch.tensor(m - 2.0), torch.sin(theta)) - 2 * kappa * torch.sin(theta / 2) ** 2
    cdf = torch.cumulative_trapezoid(torch.exp(log_f - log_f.max()), theta)
    return theta, torch.cat([torch.zeros(1), cdf]) / cdf[-1]


mu, z = unit(torch.randn(2, 6))
w = mu @ z
v = (z - w * mu) / torch.sqrt(1 - w**2)
assert close(v @ mu, 0)
assert close(v.norm(), 1)

for m, kappa in [(3, 1.0), (10, 50.0), (41, 200.0)]:
    theta, cdf = marginal(m, kappa)
    assert close(cdf.diff() @ torch.cos((theta[1:] + theta[:-1]) / 2), A(m, kappa), 1e-6)
    assert close(torch.trapezoid(density(torch.cos(theta), m, kappa) * torch.sin(theta), theta), 1, 1e-6)

# %%
figure, axes = plotting.subplots(size=(3.6, 3.4))
circle = torch.linspace(0, 2 * math.pi, 200)
axes.plot(torch.sin(circle), torch.cos(circle), color="0.7")
axes.plot([0, 0], [0, 0.58], color=BLUE, linewidth=3)
axes.plot([0, 0.81], [0.58, 0.58], color=ORANGE, linewidth=3)
axes.plot([0, 0.81], [1, 0.58], "ko")
axes.text(-0.05, 1.08, r"$\mu$")
axes.text(0.88, 0.57, "$z$")
axes.text(-0.27, 0.26, r"$w\,\mu$", color=BLUE)
axes.text(0.06, 0.67, r"$\sqrt{1-w^2}\;v$", color=ORANGE)
axes.set(aspect="equal", ylim=(-1.1, 1.2))
axes.set_axis_off()
plotting.show(
    figure,
    "**Figure 4.1.** The plane through μ and z.",
    alt="z is the sum of w mu, upwards, and a horizontal vector.",
)

# %% [markdown]
# ## Rejection, in one dimension
#
# We can draw from a density $g$ and want $f$. Let $f\le Mg$ everywhere: $Mg$ is an *envelope*. Draw $w$ from $g$ and
# $u$ uniform in $(0,1)$. Accept $w$ if $u\le f(w)/(Mg(w))$, else try again.
#
# *It is exact.* A proposal lands in $dw$ with probability $g(w)\,dw$ and is accepted with probability $f(w)/(Mg(w))$.
# The product is $f(w)\,dw/M$. Summed over $w$: a proposal is accepted with probability $1/M$. Given acceptance, $w$
# lies in $dw$ with probability $f(w)\,dw$. $\square$
#
# One sample costs $M$ proposals on average. A first envelope needs no thought: $g$ is the law of $w$ for *uniform*
# points, $f$ with $\kappa=0$. The ratio $f/g=e^{\kappa w-\phi}$ is largest at $w=1$. So accept a uniform point with
# probability $e^{-\kappa(1-w)}$. The rate of acceptance is $1/M=e^{\phi_m(\kappa)-\kappa}$.


# %%
for m, kappa in [(5, 3.0), (5, 100.0), (41, 100.0)]:
    print(f"m = {m:2}, kappa = {kappa:3.0f}: acceptance rate {torch.exp(phi(m, kappa) - kappa):.0e}")
w = unit(torch.randn(100_000, 5))[:, 0]
assert close(torch.exp(-3 * (1 - w)).mean(), torch.exp(phi(5, 3.0) - 3), 0.003)  # six standard errors

# %% [markdown]
# Exact and useless: uniform points rarely hit the cap that matters.
#
# ## Ulrich's envelope: zoom in
#
# Ulrich (1984) takes uniform points and *moves* them. With $x$ the height of a uniform point and $x_0\in[0,1)$,
#
# $$
# w=\frac{x_0+x}{1+x_0x}.
# $$
#
# The ends stay, the middle $x=0$ goes to $x_0$. Why this map? Compute
#
# $$
# \frac{1-w}{1+w}=b\,\frac{1-x}{1+x},\qquad b=\frac{1-x_0}{1+x_0}.
# $$
#
# The left-hand side is $\tan^2(\theta/2)$, the squared distance from the centre in a stereographic map about $\mu$.
# So the sphere is flattened, shrunk towards $\mu$ by $\sqrt b$, and wrapped up again: a zoom. In terms of
# $e=(1-x)/2$, as in most codes,
#
# $$
# w=\frac{1-(1+b)\,e}{1-(1-b)\,e}.
# $$
#
# The proposal's density follows from the inverse $x=(w-x_0)/(1-x_0w)$, for which
#
# $$
# \frac{dx}{dw}=\frac{1-x_0^2}{(1-x_0w)^2},\qquad1-x^2=\frac{(1-x_0^2)(1-w^2)}{(1-x_0w)^2}.
# $$
#
# Put both into $(1-x^2)^{(m-3)/2}\,dx/B$:
#
# $$
# g(w)=\frac{(1-x_0^2)^{(m-1)/2}}{(1-x_0w)^{m-1}}\cdot\frac{(1-w^2)^{(m-3)/2}}B.
# $$
#
# **The factor $(1-w^2)^{(m-3)/2}$, infinite at the ends for $m=2$ and sharp for large $m$, is the
# target's own, and cancels.** What remains is tame:
#
# $$
# \log\frac fg=L(w,x_0)-\phi,\qquad L=\kappa w+(m-1)\log(1-x_0w)-\tfrac{m-1}2\log(1-x_0^2).
# $$
#
# ## The best envelope
#
# The smallest $\log M$ for a given $x_0$ is $\max_wL-\phi$. Which $x_0$ makes it smallest?
#
# In $w$, $L$ is concave. Its slope $\kappa-(m-1)x_0/(1-x_0w)$ vanishes **at $w=x_0$ itself** if
#
# $$
# \kappa\,(1-x_0^2)=(m-1)\,x_0,\qquad x_0=\frac{2\kappa}{m-1+\sqrt{(m-1)^2+4\kappa^2}}.
# $$
#
# Call this value $x_*$. Then $\max_wL(w,x_*)=L(x_*,x_*)$.
#
# In $x_0$, at fixed $w=x_*$, the slope is
#
# $$
# (m-1)\left(\frac{x_0}{1-x_0^2}-\frac{x_*}{1-x_0x_*}\right)=\frac{(m-1)\,(x_0-x_*)}{(1-x_0^2)(1-x_0x_*)},
# $$
#
# negative below $x_*$ and positive above. So $L(x_*,x_0)\ge L(x_*,x_*)$. Chain the two, for any other $x_0$:
#
# $$
# \max_wL(w,x_0)\ge L(x_*,x_0)\ge L(x_*,x_*)=\max_wL(w,x_*).
# $$
#
# No member of the family beats $x_*$. $\square$ From here on $x_0$ means $x_*$. In terms of $b$, with
# $s=\sqrt{4\kappa^2+(m-1)^2}$,
#
# $$
# b=\frac{1-x_0}{1+x_0}=\frac{m-1+s-2\kappa}{m-1+s+2\kappa}=\frac{m-1}{2\kappa+s}.
# $$
#
# (Cross-multiply, with $s^2-4\kappa^2=(m-1)^2$.) This is the constant of Wood (1994), who corrected Ulrich's published
# algorithm. Print is no proof: we derive, and below we test.


# %%
def wood(m, kappa):
    b = (m - 1) / (2 * kappa + math.sqrt(4 * kappa**2 + (m - 1) ** 2))
    return b, (1 - b) / (1 + b)


def zoom(x, x0):
    return (x0 + x) / (1 + x0 * x)


def proposal_density(w, m, x0):
    return (1 - x0**2) ** ((m - 1) / 2) / (1 - x0 * w) ** (m - 1) * density(w, m, 0.0)


def L(w, x0, m, kappa):
    return kappa * w + (m - 1) * torch.log(1 - x0 * w) - (m - 1) / 2 * torch.log1p(-(torch.as_tensor(x0) ** 2))


m, kappa = 5, 3.0
b, x0 = wood(m, kappa)
x = torch.linspace(-0.99, 0.99, 41, requires_grad=True)
w, e = zoom(x, x0), (1 - x) / 2
(slope,) = torch.autograd.grad(w.sum(), x, retain_graph=True)
assert close((1 - w) / (1 + w), b * (1 - x) / (1 + x))
assert close(w, (1 - (1 + b) * e) / (1 - (1 - b) * e))
assert close(proposal_density(w, m, x0) * slope, density(x, m, 0.0))  # the change of variables
assert close(torch.log(density(w, m, kappa) / proposal_density(w, m, x0)), L(w, x0, m, kappa) - phi(m, kappa))
assert close(x0, 2 * kappa / (m - 1 + math.hypot(m - 1, 2 * kappa)))

tries = torch.linspace(0.01, 0.99, 981)
peak = torch.clamp(1 / tries - (m - 1) / kappa, -1, 1)  # where L is largest in w
rates = torch.exp(phi(m, kappa) - L(peak, tries, m, kappa))
assert close(tries[rates.argmax()], x0, 1e-3)  # the best is where the formula says


def darts(axes, w, rate, proposal):
    grid, heights = torch.linspace(-0.999, 0.999, 400), torch.rand(len(w)) * proposal(w) / rate
    axes.scatter(w, heights, s=4, c=np.where(heights <= density(w, m, kappa), BLUE, "0.75"), linewidths=0)
    axes.plot(grid, proposal(grid) / rate, color="0.35")
    axes.plot(grid, density(grid, m, kappa), color=BLUE, linewidth=2)
    axes.set(xlabel="height $w$", title=f"{rate:.0%} accepted")


figure, (left, right) = plotting.subplots(1, 2)
x = unit(torch.randn(3000, m))[:, 0]
darts(left, x, torch.exp(phi(m, kappa) - kappa), lambda w: density(w, m, 0.0))
darts(right, zoom(x, x0), rates.max(), lambda w: proposal_density(w, m, x0))
left.set_ylabel("dart's height $u\\,M g(w)$")
left.text(-0.98, 6, "envelope", color="0.35")
right.text(-0.1, 1, "target", color=BLUE)
plotting.show(
    figure,
    "**Figure 4.2.** Darts below two envelopes of one target, m = 5, κ = 3; those below the target are kept. Left: "
    "uniform points. Right: zoomed, and another scale.",
    alt="Left a tall parabola with few darts below the target; right an envelope that hugs the target.",
)

# %% [markdown]
# ## The acceptance rate, exactly
#
# A proposal is accepted with probability $\exp(L(w,x_0)-L(x_0,x_0))$. Let $c=1/(1+x_0x)$. Then
# $1-x_0w=(1-x_0^2)\,c$ and
# $\kappa(w-x_0)=\kappa(1-x_0^2)\,x\,c=(m-1)\,x_0x\,c=(m-1)(1-c)$. Add up:
#
# $$
# P(\text{accept}\mid x)=\left(c\,e^{1-c}\right)^{m-1},\qquad
# \frac1M=E\left[(c\,e^{1-c})^{m-1}\right]=e^{\phi-\kappa x_0}\,(1-x_0^2)^{-(m-1)/2}.
# $$
#
# Since $t\,e^{1-t}\le1$, this is a probability at a glance. It needs $\kappa$ through $x_0$ alone, and nothing large
# cancels. (The library computes $\phi$ from it; [chapter 3](03_bessel.ipynb) has other ways.)
#
# **How low can the rate fall?** It falls with $\kappa$: the derivative of its logarithm is $A_m(\kappa)-x_0$ (the
# slope in $x_0$, $(m-1)x_0/(1-x_0^2)-\kappa$, is zero), and $A_m\le x_0$. To see that, integrate
# $\frac d{dw}\left[(1-w^2)^{(m-1)/2}e^{\kappa w}\right]$ over $[-1,1]$. The bracket is zero at the ends, so
#
# $$
# \kappa\,(1-Ew^2)=(m-1)\,A_m.
# $$
#
# As $Ew^2\ge A_m^2$, we get $\kappa(1-A_m^2)\ge(m-1)A_m$. With $x_0$ in place of $A_m$ the two sides are equal. For
# anything larger the left one is smaller. Hence $A_m\le x_0$.
#
# The floor is thus the limit $x_0\to1$, $c\to1/(1+x)$. With $q=(1-x)/(1+x)$ the expectation becomes
# $\frac1{2B}\int_0^\infty q^{(m-3)/2}e^{(m-1)(1-q)/2}\,dq$, a Gamma integral:
#
# $$
# r_m=\frac{\Gamma(\frac m2)}{2\sqrt\pi}\left(\frac{2e}{m-1}\right)^{(m-1)/2},
# \qquad r_2=\sqrt{\tfrac e{2\pi}}=0.658,\quad r_3=\tfrac e4=0.680,\quad r_\infty=\tfrac1{\sqrt2}.
# $$
#
# At worst 0.658 of the proposals are good.


# %%
def acceptance(x, x0, m):
    c = 1 / (1 + x0 * x)
    return (c * torch.exp(1 - c)) ** (m - 1)


def acceptance_rate(m, kappa):
    """The expectation over x, by the midpoint rule in its angle."""
    theta = (torch.arange(4000) + 0.5) * math.pi / 4000
    weight = torch.sin(theta) ** (m - 2)
    return weight @ acceptance(torch.cos(theta), wood(m, kappa)[1], m) / weight.sum()


def floor(m):
    power = (m - 1) / 2 * math.log(2 * math.e / (m - 1))
    return math.exp(math.lgamma(m / 2) + power) / (2 * math.sqrt(math.pi))


x = torch.linspace(-1, 1, 101)
for m, kappa in [(2, 0.1), (3, 5.0), (10, 50.0), (200, 30.0)]:
    x0 = wood(m, kappa)[1]
    best = L(torch.tensor(x0), x0, m, kappa)
    assert close(acceptance(x, x0, m), torch.exp(L(zoom(x, x0), x0, m, kappa) - best))
    by_phi = torch.exp(phi(m, kappa) - kappa * x0) * (1 - x0**2) ** (-(m - 1) / 2)
    assert close(acceptance_rate(m, kappa), by_phi, 1e-5)
    theta, cdf = marginal(m, kappa)
    sine2 = cdf.diff() @ torch.sin((theta[1:] + theta[:-1]) / 2) ** 2  # E(1 - w^2)
    assert close(kappa * sine2, (m - 1) * A(m, kappa), 1e-4)
    assert A(m, kappa) <= x0
    assert close(acceptance_rate(m, 1e9), floor(m), 1e-5)
assert close(floor(2), math.sqrt(math.e / 2 / math.pi))
assert close(floor(3), math.e / 4)
assert close(floor(10**6), math.sqrt(0.5), 1e-6)

# %% [markdown]
# ## A Beta variable from two uniforms
#
# Proposals need $x$, or $e=(1-x)/2$, which is Beta$(\frac{m-1}2,\frac{m-1}2)$. Many codes draw it by another
# rejection.
#
# Take the first *two* coordinates of a uniform point. The density of $x_1$ is proportional to $(1-x_1^2)^{(m-3)/2}$. By
# the first section, with $\mu=e_1$, $x_2=\sqrt{1-x_1^2}\,t$, and $t$ is a coordinate of $v$: a height in one dimension
# less, with density proportional to $(1-t^2)^{(m-4)/2}$. Multiply, with $dt=dx_2/\sqrt{1-x_1^2}$. The powers of
# $1-x_1^2$ add up to zero, which leaves $(1-x_1^2-x_2^2)^{(m-4)/2}\,dx_1\,dx_2$.
#
# This depends on $s^2=x_1^2+x_2^2$ alone: the angle is uniform. The area element is half $d(s^2)$ times that of the
# angle. So $1-s^2$ has a density proportional to its power $(m-4)/2$, and distribution function
# $(1-s^2)^{(m-2)/2}$. Invert with a uniform $u_1$:
#
# $$
# x=\sqrt{1-u_1^{2/(m-2)}}\;\cos(2\pi u_2).
# $$
#
# It is Box and Muller's trick on the sphere. At $m=2$ the root is 1.


# %%
def uniform_height(m, n, dtype=torch.float64):
    u1, u2 = torch.rand(2, n, dtype=dtype)
    s = torch.sqrt(1 - u1 ** (2 / (m - 2))) if m > 2 else 1
    return s * torch.cos(2 * math.pi * u2)


for m in (2, 3, 4, 41):
    x4 = uniform_height(m, 100_000) ** 4
    assert close(
        x4.mean(), 3 / (m * (m + 2)), 4 * x4.std() / math.sqrt(100_000)
    )  # a Beta variable's; 4 standard errors

# %%
ms = np.unique(np.geomspace(2, 1024, 40).round().astype(int))
kappas = np.geomspace(1e-2, 1e6, 60)
rates = np.array([[acceptance_rate(m, kappa) for m in ms] for kappa in kappas])
assert rates.min() > 0.65
assert np.diff(rates, axis=0).max() < 1e-9  # it falls with kappa

figure, axes = plotting.subplots(size=(7, 3.8))
areas = axes.contourf(ms, kappas, rates, levels=np.linspace(0.65, 1, 15), cmap="cividis")
for m, kappa in itertools.product((3, 10, 50, 300), (0.1, 3.0, 30.0, 300.0, 1e4)):
    chance = acceptance(uniform_height(m, 20_000), wood(m, kappa)[1], m)
    share = (torch.rand(20_000) < chance).double().mean()
    assert close(share, acceptance_rate(m, kappa), 4 * 0.5 / math.sqrt(20_000))
    axes.scatter(m, kappa, c=float(share), cmap=areas.cmap, norm=areas.norm, s=90, edgecolors="white")
axes.set(xscale="log", yscale="log", xlabel="dimension $m$", ylabel="concentration κ")
axes.set_xticks([2, 10, 100, 1000], ["2", "10", "100", "1000"])
axes.minorticks_off()
figure.colorbar(areas, ax=axes, ticks=[0.65, 0.7, 0.8, 0.9, 1], label="acceptance rate")
plotting.show(
    figure,
    "**Figure 4.3.** The acceptance rate, computed (areas) and measured (dots: where only a ring is seen, they agree).",
    alt="The rate is near 1 below a diagonal, kappa = m / 4, and about 0.7 above kappa = 10 m.",
)

# %% [markdown]
# One diagonal border: what counts is $\kappa/m$.
#
# ## The sampler
#
# For large $\kappa$ all heights are near 1, and a stored $w$ would lose its digits. So carry $y=1-w$. From the zoom,
# with $1-x_0=2b/(1+b)$,
#
# $$
# y=\frac{2b}{1+b}\,(1-x)\,c,\qquad\sqrt{1-w^2}=\sqrt{y\,(2-y)},\qquad|z-\mu|^2=2y.
# $$
#
# For $m=3$ no rejection is needed: the density of $y$ is proportional to $e^{-\kappa y}$ on $(0,2)$. Set its
# distribution function $(1-e^{-\kappa y})/(1-e^{-2\kappa})$ to a uniform $u$:
#
# $$
# y=-\tfrac1\kappa\log\left(1-u\,(1-e^{-2\kappa})\right).
# $$
#
# The direction $v$: draw a Gaussian vector and remove its part along $\mu$. The rest is an isotropic Gaussian in the
# tangent space, so its direction is uniform.


# %%
def propose(m, kappa, n, dtype=torch.float64):
    """Proposals y, and which are accepted."""
    b, x0 = wood(m, kappa)
    x = uniform_height(m, n, dtype)
    y = 2 * b / (1 + b) * (1 - x) / (1 + x0 * x)
    return y, torch.rand(n, dtype=dtype) < acceptance(x, x0, m)


def draw_y(m, kappa, n):
    if m == 3:
        return -torch.log1p(torch.rand(n) * math.expm1(-2 * kappa)) / kappa
    y, todo = torch.empty(n), torch.arange(n)
    for _ in range(100):  # one value needs more with probability 0.35^100
        y[todo], accepted = propose(m, kappa, len(todo))
        todo = todo[~accepted]
        if len(todo) == 0:
            return y
    raise ValueError(f"no proposal is accepted for kappa = {kappa}")


def tangent(x, mu):
    return x - (x @ mu)[:, None] * mu


def sample(mu, kappa, n):
    y = draw_y(len(mu), kappa, n)[:, None]
    return (1 - y) * mu + torch.sqrt(y * (2 - y)) * unit(tangent(torch.randn(n, len(mu)), mu))


x, (b, x0) = torch.linspace(-1, 1, 11), wood(5, 8.0)
assert close(2 * b / (1 + b) * (1 - x) / (1 + x0 * x), 1 - zoom(x, x0))
n = 100_000
z = sample(mu, 10.0, n)
assert close(torch.linalg.vector_norm(z, dim=-1), 1)
assert close((z - mu).square().sum(-1), 2 * (1 - z @ mu))
assert close(z.mean(0), A(6, 10.0) * mu, 5 / math.sqrt(n))  # over five standard errors

# %% [markdown]
# ## Or turn with a mirror
#
# One may also draw about the first axis $e_1$, where tangent vectors begin with a zero, and carry the result to $\mu$.
# Householder's reflection, with $a=e_1-\mu$, swaps the two:
#
# $$
# H=I-\frac{2\,aa^\top}{|a|^2}.
# $$
#
# At $\mu=e_1$ it divides zero by zero: Distributions.jl gave NaN there for years. A cure was proposed (pull request
# 1918): add $\varepsilon$ to the denominator. But *near* $e_1$ the vector $a/(|a|+\varepsilon)$ is then shorter than
# one, and the mirror is none.
#
# LAPACK picks, of the mirrors that carry $e_1$ to $\mu$ or to $-\mu$, the one without cancellation:
#
# $$
# a=\mu+\sigma e_1,\qquad\sigma=\operatorname{sign}\mu_1\;(1\text{ at }0),\qquad|a|^2=2\,(1+|\mu_1|)\ge2.
# $$
#
# As $a\cdot\mu=1+|\mu_1|$ is half of $|a|^2$, we get $H\mu=\mu-a=-\sigma e_1$, and $H$ carries $-\sigma e_1$ back to
# $\mu$. So begin at height $w$ on the axis $-\sigma e_1$.


# %%
def reflect(points, a, epsilon=0.0):
    a = a / (torch.linalg.vector_norm(a) + epsilon)
    return points - 2 * (points @ a)[:, None] * a


def lapack(mu):
    """Axis -sigma e1, and a vector a whose mirror carries it to mu."""
    axis = -torch.eye(len(mu))[0] * math.copysign(1, mu[0])
    return axis, mu - axis


def norm_error(a, epsilon=0.0):
    z = reflect(unit(torch.randn(200, len(a))), a, epsilon)
    return float((torch.linalg.vector_norm(z, dim=-1) - 1).abs().max())


axis, a = lapack(mu)
assert close(a @ a, 2 * (1 + abs(mu[0])))
assert close(reflect(axis[None], a), mu)
e1 = torch.eye(3)[0]
assert math.isnan(norm_error(e1 - e1))
assert norm_error(lapack(e1)[1]) < 1e-14

for distance in (1e-2, 1e-8, 2e-5):
    near = unit(torch.tensor([1.0, distance, 0.0]))
    error = norm_error(e1 - near, 1e-5)
    print(f"{distance:.0e} from e1: {error:.0e} off the sphere, if patched")
    assert norm_error(lapack(near)[1]) < 1e-14
assert error > 0.5

# %% [markdown]
# ## Is it right? The Kolmogorov-Smirnov test
#
# A wrong sampler looks right. So compare distribution functions: the true $F$, by numerical integration, and the share
# $F_n(y)$ of samples up to $y$:
#
# $$
# D=\max_y|F_n(y)-F(y)|.
# $$
#
# At fixed $y$, $F_n$ is the mean of $n$ coin flips, with standard error at most $1/(2\sqrt n)$. So $\sqrt n\,D$ is of
# order one for an exact sampler; a fault makes it grow like $\sqrt n$. Exact samples have uniform $F(y_i)$, so one law
# of $D$ serves every $F$. Massart (1990) proved
#
# $$
# P(\sqrt n\,D>t)\le2e^{-2t^2}.
# $$
#
# We borrow this bound, and check it. For $k$ tests, with a false alarm in one run of a thousand,
# solve $2ke^{-2t^2}=10^{-3}$.


# %%
def bridge(y, m, kappa):
    """F at the sorted samples, and sqrt(n) (F_n - F) just after each."""
    F = np.interp(np.sort(2 * np.arcsin(np.sqrt(np.asarray(y) / 2))), *marginal(m, kappa))
    return F, math.sqrt(len(F)) * (np.arange(1, len(F) + 1) / len(F) - F)


def ks(y, m, kappa):
    """sqrt(n) D, just after or just before a sample."""
    after = bridge(y, m, kappa)[1]
    return max(after.max(), -(after - 1 / math.sqrt(len(after))).min())


uniform = np.array([ks(2 * torch.rand(100), 3, 0.0) for _ in range(2000)])  # y is uniform for m = 3, kappa = 0
assert (uniform > 1.3).mean() < 0.08  # the bound is 0.068, the standard error 0.006

cases = [(m, kappa) for m in (2, 3, 4, 10, 41, 300) for kappa in (0.1, 5.0, 100.0, 1e4)]
limit = math.sqrt(math.log(2 * len(cases) / 1e-3) / 2)


def distance(m, kappa, draw):
    """The statistic of 10,000 points about a random direction."""
    mu = unit(torch.randn(m))
    return ks((draw(mu, kappa, 10_000) - mu).square().sum(-1) / 2, m, kappa)


values = [distance(*case, sample) for case in cases]
print(f"{len(cases)} laws: sqrt(n) D is at most {max(values):.1f}, limit {limit:.1f}")
assert max(values) < limit

assert ks(propose(10, 50.0, 10_000)[0], 10, 50.0) > 4 * limit  # without rejection: the test can fail

# %% [markdown]
# Fine faults need many samples. On the circle, draw the angle from a normal law instead, with the $\sigma$ that gives
# $w$ the right mean ($E\cos\theta=e^{-\sigma^2/2}$):

# %%
n, kappa = 100_000, 5.0
sigma = math.sqrt(-2 * math.log(A(2, kappa)))
wrapped, exact = 1 - torch.cos(sigma * torch.randn(n)), draw_y(2, kappa, n)
assert ks(exact, 2, kappa) < limit < ks(wrapped, 2, kappa)

figure, axes = plotting.subplots(size=(7, 3))
axes.axhspan(-limit, limit, color="0.92")
axes.plot(*bridge(wrapped, 2, kappa), color=ORANGE)
axes.plot(*bridge(exact, 2, kappa), color=BLUE)
axes.text(0.08, -3.6, "wrapped normal", color=ORANGE)
axes.text(0.1, 0.9, "rejection", color=BLUE)
axes.set(xlabel="$F(y)$", ylabel="$\\sqrt{n}\\,(F_n - F)$", xlim=(0, 1))
plotting.show(
    figure,
    "**Figure 4.4.** Two samplers at m = 2, κ = 5. The exact one stays in the grey band.",
    alt="The curve of the rejection sampler stays in the band; that of the wrapped normal law swings out of it.",
)

# %% [markdown]
# ## The envelope is a law of its own
#
# What are the proposals, before any is thrown away? A height from $g$ and a uniform direction make a point of the
# sphere. The factor $(1-w^2)^{(m-3)/2}/B$ is that of uniform points. So the density of the proposals, relative to the
# uniform law, is
#
# $$
# \left(\frac{\sqrt{1-x_0^2}}{1-x_0\,\mu\cdot z}\right)^{m-1}.
# $$
#
# This law has a name. It is the **spherical Cauchy law** of Kato and McCullagh (2020, equation 2), who write
# $x_0=2\rho/(1+\rho^2)$; on the circle it is the wrapped Cauchy law. It has become a rival of the von Mises-Fisher law
# in auto-encoders, because it needs no rejection (Sablica and Hornik 2025). In this light Ulrich's sampler says:
# **a von Mises-Fisher sample is a spherical Cauchy sample that was kept**, and the acceptance is the whole difference
# between the two.
#
# The zoom is plain in the *log-odds* of a height, $\ell=\log\frac{1+w}{1-w}$. We had
# $\frac{1-w}{1+w}=b\,\frac{1-x}{1+x}$, hence
#
# $$
# \ell_w=\ell_x-\log b .
# $$
#
# It is a **shift**. Concentration moves the law of the log-odds to the right, and changes nothing in its form.


# %%
def spherical_cauchy(mu, kappa, n):
    x = unit(torch.randn(n, len(mu)))  # uniform points; their height is x @ mu
    w = zoom(x @ mu, wood(len(mu), kappa)[1])
    v = unit(x - (x @ mu)[:, None] * mu)
    return w[:, None] * mu + torch.sqrt(1 - w**2)[:, None] * v


def log_odds(w):
    return torch.log((1 + w) / (1 - w))


m, kappa, n = 6, 12.0, 100_000
b, x0 = wood(m, kappa)
mu = unit(torch.randn(m))
z = spherical_cauchy(mu, kappa, n)
x = (z @ mu - x0) / (1 - x0 * (z @ mu))
kept = torch.rand(n) < acceptance(x, x0, m)
assert ks(1 - z[kept] @ mu, m, kappa) < limit < ks(1 - z @ mu, m, kappa)  # keeping some makes the other law
assert close(kept.double().mean(), acceptance_rate(m, kappa), 5 / math.sqrt(4 * n))
assert close(log_odds(zoom(x, x0)), log_odds(x) - math.log(b), 1e-6)
scale = (m - 1) / 2e5  # at kappa = 1e5
assert close((1 - spherical_cauchy(mu, 1e5, n) @ mu).median() / scale, 1, 0.03)
assert close((1 - A(m, 1e5)) / scale, 1, 0.01)

# %% [markdown]
# At one $\kappa$ both laws have the same scale near $\mu$: for large $\kappa$ the median of $1-w$ under the spherical
# Cauchy law and its mean under the von Mises-Fisher law are $\frac{m-1}{2\kappa}$. Far out they part. The von
# Mises-Fisher density falls off exponentially in $1-w$, the other like a power.

# %%
figure, (left, right) = plotting.subplots(1, 2, size=(8, 3.2))
angle = torch.linspace(0.002, math.pi - 0.002, 500)
w = torch.cos(angle)
flat = density(w, m, 0.0)
envelope, target = proposal_density(w, m, x0) / flat, density(w, m, kappa) / flat
left.semilogy(torch.rad2deg(angle), envelope, color=ORANGE)
left.semilogy(torch.rad2deg(angle), target, color=BLUE)
left.text(92, 0.3, "spherical Cauchy", color=ORANGE)
left.text(84, 1e-5, "von Mises-Fisher", color=BLUE, ha="right")
left.set(xlabel="angle to $\\mu$ (degrees)", ylabel="density / uniform", xticks=[0, 60, 120, 180])
grid = torch.linspace(-3.5, 8, 400)
tanh = torch.tanh(grid / 2)
jacobian = (1 - tanh**2) / 2
for other, colour in ((0.0, "0.5"), (kappa, ORANGE), (150.0, GREEN)):
    right.plot(grid, proposal_density(tanh, m, wood(m, other)[1]) * jacobian, color=colour)
    right.text(-math.log(wood(m, other)[0]), 0.43, f"κ = {other:.0f}", color=colour, ha="center")
right.set(xlabel="log-odds of $w$", ylabel="density", ylim=(0, 0.48), xlim=(-3.5, 8))
plotting.show(
    figure,
    "**Figure 4.5.** Left: the envelope and its target as laws on the sphere, m = 6, κ = 12. Right: proposals for "
    "three concentrations; in log-odds one curve, shifted.",
    alt="Left: two curves leave the mode together; at 180 degrees the von Mises-Fisher density is half a million "
    "times lower. Right: three equal bells at 0, 2.3 and 4.8.",
)
shifts = [-math.log(wood(m, other)[0]) for other in (0.0, 12.0, 150.0)]
assert close(torch.tensor(shifts), torch.tensor([0, 2.27, 4.79]), 0.01)
assert 4e5 < envelope[-1] / target[-1] < 6e5

# %% [markdown]
# ## The trap: five samplers that fail
#
# **One: a difference of large numbers.** Many codes write $b=(-2\kappa+\sqrt{4\kappa^2+(m-1)^2})/(m-1)$, which is
# equal on paper. In float32 the root rounds to $2\kappa$ from about $\kappa=10^4$ on. Then $b=0$, each proposal is at
# $w=1$, the test reads $\infty-\infty$, nothing is accepted, and the loop never ends. Worse: at
# $(m,\kappa)=(11,10^4)$, $b$ is off by a fifth, and samples do come, of a wrong law.


# %%
def float32(x):
    return torch.tensor(x, dtype=torch.float32)


def cancelling_b(m, kappa):
    kappa = float32(kappa)
    return (-2 * kappa + torch.sqrt(4 * kappa**2 + (m - 1) ** 2)) / (m - 1)


def textbook(m, kappa, b, n=20_000):
    """Wood's steps: heights, and which are accepted."""
    e = (1 - uniform_height(m, n, torch.float32)) / 2
    w, x0 = (1 - (1 + b) * e) / (1 - (1 - b) * e), (1 - b) / (1 + b)
    c = kappa * x0 + (m - 1) * torch.log(1 - x0**2)
    return w, kappa * w + (m - 1) * torch.log(1 - x0 * w) - c >= torch.log(torch.rand(n))


kappas = np.geomspace(1e2, 1e8, 49)
ways = [
    [
        textbook(5, k, cancelling_b(5, k))[1],
        textbook(5, k, float32(wood(5, k)[0]))[1],
        propose(5, k, 20_000, torch.float32)[1],
    ]
    for k in kappas
]
rates = np.array([[accepted.double().mean() for accepted in way] for way in ways])
assert rates[kappas > 1.1e4, 0].max() == 0
assert rates[-1, 1] == 0
assert rates[:, 2].min() > 0.67

b = cancelling_b(11, 1e4)
assert 0.75 < b / wood(11, 1e4)[0] < 0.81
w, accepted = textbook(11, 1e4, b, 200_000)
assert ks(1 - w[accepted].double(), 11, 1e4) > 2 * limit

figure, axes = plotting.subplots(size=(7, 3))
for rate, colour in zip(rates.T, (ORANGE, GREEN, BLUE), strict=True):
    axes.semilogx(kappas, rate, color=colour)
axes.text(1.4e4, 0.1, "cancelling b", color=ORANGE)
axes.text(8e6, 0.25, "stable b", color=GREEN, ha="right")
axes.text(1.2e8, 0.68, "with y", color=BLUE)
axes.set(xlabel="concentration κ", ylabel="accepted in float32", ylim=(0, 1))
plotting.show(
    figure,
    "**Figure 4.6.** One formula written in three ways, m = 5. The stable b lasts until 1 - w has no digits left.",
    alt="One acceptance rate falls to 0 at kappa = 1e4, the second at 1e7, the third stays at 0.69.",
)

# %% [markdown]
# **Two: NaN.** In float32 $w$ can round to 1, where $\sqrt{1-w^2}$ has an infinite slope. A step later the weights are
# NaN, then $\kappa$. Comparisons with NaN are false: training hangs without a message. Bound the rounds, and name the
# culprit.
#
# **Three: a normal law of standard deviation $1/\kappa$ on the circle.** Near $\mu$ the density is
# $e^{-\kappa\theta^2/2}$: it should be $1/\sqrt\kappa$. At $\kappa=5$ the mean of $w$ comes out as 0.980. The truth is
# 0.893.
#
# **Four: the mirror at $e_1$**, and its patch: see above.
#
# **Five: half of a formula replaced.** Both public releases of the S-VAE paper (Davidson et al. 2018)
# (`nicola-decao/s-vae-pytorch`, `hyperspherical_vae/distributions/von_mises_fisher.py`, and its TensorFlow twin) know
# of trap one. Above $\kappa=10$ they pass from $b$ to its limit for large $\kappa$, $\frac{m-1}{4\kappa}$, which they
# have reached at $11$. But that is good for $\kappa\gg m$ only, and Wood's other constants stay exact:
#
# $$
# a=\frac{m-1+2\kappa+s}4,\qquad t=\frac{2ab}{1-(1-b)e},\qquad
# \log P(\text{accept})=(m-1)\log t-t+\frac{4ab}{1+b}-(m-1)\log(m-1).
# $$
#
# With the exact $b$ this is our $(c\,e^{1-c})^{m-1}$. With another it can exceed zero. A probability above one is taken
# for one, too much is kept, and the samples have another law. Our test finds it.

# %%
w = textbook(5, 1e7, float32(wood(5, 1e7)[0]))[0].max().requires_grad_()
torch.sqrt(1 - w**2).backward()
assert w == 1
assert w.grad.isinf()
assert not propose(5, math.nan, 1000)[1].any()
assert close(math.exp(-((1 / 5) ** 2) / 2), 0.980, 0.0005)
assert close(A(2, 5.0), 0.893, 0.0005)


def public_heights(m, kappa, n):
    """Heights by Wood's steps with the limit of b for large kappa, as the public releases draw for kappa > 11."""
    s = math.hypot(m - 1, 2 * kappa)
    a, b, e = (m - 1 + 2 * kappa + s) / 4, (m - 1) / (4 * kappa), (1 - uniform_height(m, n)) / 2
    t = 2 * a * b / (1 - (1 - b) * e)
    log_accept = (m - 1) * torch.log(t) - t + 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    kept = torch.log(torch.rand(n)) < log_accept
    return ((1 - (1 + b) * e) / (1 - (1 - b) * e))[kept], log_accept.max().item()


for m, kappa in [(6, 12.0), (21, 12.0), (41, 12.0), (51, 11.0), (41, 100.0)]:
    w, highest = public_heights(m, kappa, 100_000)
    D, mean = ks(1 - w, m, kappa), w.mean().item()
    print(f"m = {m}, kappa = {kappa:3.0f}: mean of w {mean:6.3f}, should be {A(m, kappa):.3f}; sqrt(n) D = {D:.0f}")
    assert (limit < D) == (m > 6)
    assert (highest > 1) == (kappa < 100 and m > 20)
assert close(public_heights(41, 12.0, 200_000)[0].mean(), 0.088, 0.003)
assert public_heights(51, 11.0, 200_000)[0].mean() < 0  # the samples point away from mu

# %% [markdown]
# In few dimensions nothing is to be seen. In many, the samples of $\kappa=12$ are *less* concentrated than those of
# $\kappa=10$, and at $m=51$ they point away from $\mu$. Training that wants to raise $\kappa$ past $10$ meets a
# barrier there.

# %% [markdown]
# ## The library's version
#
# `VonMisesFisher.sample` takes the same steps, with LAPACK's mirror; `SphericalCauchy.sample` is the envelope.

# %%
from hvae_tutorial.distributions import HypersphericalUniform, SphericalCauchy, VonMisesFisher
from hvae_tutorial.sphere import project_to_tangent

g = torch.randn(10, 6)
assert close(project_to_tangent(g, mu), tangent(g, mu))


def seeded(function):
    torch.manual_seed(1)
    return function()


assert close(seeded(lambda: HypersphericalUniform(6).sample((9,))), seeded(lambda: unit(torch.randn(9, 6))))
law = VonMisesFisher(unit(torch.randn(3)), 5.0)
assert close(seeded(lambda: 1 - law.sample((9,)) @ law.loc), seeded(lambda: draw_y(3, 5.0, 9)))
assert max(distance(*case, lambda mu, k, n: VonMisesFisher(mu, k).sample((n,))) for case in cases) < limit
assert ks(1 - SphericalCauchy(law.loc, 5.0).sample((10_000,)) @ law.loc, 3, 5.0) > limit
z = unit(torch.randn(20, 6))
expected = torch.log(proposal_density(z[:, 0], 6, wood(6, 5.0)[1]) / density(z[:, 0], 6, 0.0))
cauchy, uniform_law = SphericalCauchy(torch.eye(6)[0], 5.0), HypersphericalUniform(6)
assert close(cauchy.log_prob(z) - uniform_law.log_prob(z), expected)

law = VonMisesFisher(float32([0, 0, 0, 0, 0, 1]), 1e8)  # in float32
y = (law.sample((10_000,)) - law.loc).square().sum(-1).double() / 2
assert close(y.mean() / mean_resultant_length_complement(torch.tensor(1e8), 6), 1, 5 * math.sqrt(2 / 5 / 10_000))
try:
    VonMisesFisher(mu, math.nan)
except ValueError as error:
    refusal = str(error)
assert "nan" in refusal

# %% [markdown]
# And the cost? The floor is to draw and normalise $m$ Gaussians: the uniform law. In units of its processor time:

# %% tags=["nbval-ignore-output"]
import time


def seconds(law):
    clock = [time.process_time()]
    for _ in range(9):
        law.sample((20_000,))
        clock.append(time.process_time())
    return np.diff(clock).min()


costs = {m: seconds(VonMisesFisher(unit(torch.randn(m)), 50.0)) / seconds(HypersphericalUniform(m)) for m in (2, 5, 41)}
for m, ratio in costs.items():
    print(f"m = {m:2}: {ratio:.1f}")

# %%
assert max(costs.values()) < 12
assert costs[41] < 4

# %% [markdown]
# ## Test yourself
#
# 1. A colleague normalises a Gaussian vector of $\mathbb R^m$ and takes it for $v$, without projecting. What happens?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# $|z|^2=1+2w\sqrt{1-w^2}\,\mu\cdot v\ne1$: points leave the sphere. Normalised, they have another law.
#
# </details>
#
# 2. The floor was computed for $m=2$ and $3$. Why is it not lower elsewhere?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# $r_{m+2}/r_m=e\,\frac m{m+1}\left(\frac{m-1}{m+1}\right)^{(m-1)/2}$. With $t=1/m$ the logarithm has the series
# $\sum_{k\ge1}t^{2k}/(2k(2k+1))>0$. So $r_2<r_4<\dots$ and $r_3<r_5<\dots$
#
# </details>

# %%
for m in range(2, 100):
    series = sum(m ** (-2.0 * k) / (2 * k * (2 * k + 1)) for k in range(1, 30))
    assert close(math.log(floor(m + 2) / floor(m)), series)

# %% [markdown]
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/04_sampling.ipynb),
# or in a terminal: `hvae exercise show ch04.1`.

# %% [markdown] tags=["exercise"]
# ch04.1

# %% [markdown] tags=["exercise"]
# ch04.2

# %% [markdown] tags=["exercise"]
# ch04.3

# %% [markdown] tags=["exercise"]
# ch04.4

# %% [markdown] tags=["exercise"]
# ch04.5

# %% [markdown] tags=["exercise"]
# ch04.6

# %% [markdown]
# ## Summary
#
# - $z=w\mu+\sqrt{1-w^2}\,v$: height and direction are independent, and only the height is hard.
# - Zoomed uniform points make an envelope, the spherical Cauchy law; Wood's constant is the best zoom.
# - A proposal is accepted with probability $(c\,e^{1-c})^{m-1}$; the rate exceeds 0.65.
# - Carry $y=1-w$, avoid cancelling differences, bound the rounds.
# - Trust a sampler after a test that could have failed.
#
# ## References
#
# - Ulrich (1984), *Applied Statistics* 33, 158-163: envelope; Beta variable.
# - Wood (1994), *Commun. Statist. Simul.* 23, 157-164, algorithm VM\*: $b$.
# - Mardia and Jupp (2000), *Directional Statistics*, section 9.3: tangent-normal decomposition.
# - Kato and McCullagh (2020), *Bernoulli* 26, 3224-3248, [arXiv 1510.07679](https://arxiv.org/abs/1510.07679): the
#   envelope's law.
# - Davidson et al. (2018), [arXiv 1804.00891](https://arxiv.org/abs/1804.00891): the S-VAE, whose public code has
#   trap five.
# - Sablica and Hornik (2025), [arXiv 2506.21278](https://arxiv.org/abs/2506.21278): it in auto-encoders.
# - Amos (1974), *Math. Comp.* 28, 239-251: $A_m\le x_0$.
# - Massart (1990), *Ann. Probab.* 18, 1269-1283: the bound on $D$.
# - Distributions.jl, issue 1423, pull requests 1918 and 1930: the mirror.
