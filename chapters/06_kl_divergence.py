# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # The price of pointing
#
# *An encoder that says "about here" on a sphere pays for it, in nats. How much, for what, and can the bill be wrong?*
#
# **You will be able to**
#
# - derive the divergence of a von Mises-Fisher law from the uniform law in three ways, with its gradient;
# - say what a KL in a training log means: how sharp, how far from its floor, whether it hit a cap;
# - split the mean KL of a data set into the part that informs and the part that does not;
# - compute it in single precision where the closed form has no right digit;
# - recognise three faults of public code by their numbers.
#
# **You need**: calculus, expectations, $\phi_m$ and $A_m$ from [chapter 2](02_von_mises_fisher.ipynb), the acceptance
# rate of [chapter 4](04_sampling.ipynb), the variance $A_m'$ of [chapter 5](05_gradients.ipynb).
#
# **Time**

# %%
import math

import mpmath
import numpy as np
import torch
from scipy.special import roots_gegenbauer
from torch.distributions import Normal, kl_divergence

from hvae_tutorial import plotting
from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher
from hvae_tutorial.special import (
    log_partition,
    mean_resultant_length,
    mean_resultant_length_complement,
    mean_resultant_length_derivative,
)
from hvae_tutorial.sphere import log_surface_area

torch.set_default_dtype(torch.float64)
BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]

# %% [markdown]
# ## What a nat buys
#
# A VAE maximises reconstruction minus $\mathrm{KL}(q\,\|\,p)$. Here $q$ is the encoder's answer for one image and $p$
# the prior, on the sphere the uniform law:
#
# $$
# \mathrm{KL}(q\,\|\,p)=E_q\Bigl[\log\frac{q(z)}{p(z)}\Bigr]\ge-\log E_q\Bigl[\frac{p(z)}{q(z)}\Bigr]\ge0 .
# $$
#
# (Jensen's inequality; the last expectation integrates $p$ where $q>0$: at most 1.)
#
# Let $q$ be uniform on a share $s$ of the sphere. There $q=p/s$, so the divergence is $\log(1/s)$. Read backwards: a
# law with divergence KL is as sharp as the uniform law on a share $e^{-\mathrm{KL}}$ of the sphere.

# %% tags=["words"]
plotting.say(
    "An example: on MNIST the paper's S-VAE on $S^5$ has a mean KL of 13.35 nats (Table 1). So its posteriors are "
    f"about as sharp as the uniform law on one part in {math.exp(13.35):,.0f} of the sphere."
)

# %% [markdown]
# ## First way: the integral
#
# Let $q$ be the von Mises-Fisher law, with density $e^{\kappa w-\phi_m(\kappa)}/S_m$ and $w=\mu\cdot z$. The surface
# area $S_m$ cancels in the ratio $q/p$, so $\log(q/p)=\kappa w-\phi_m(\kappa)$. The mean of $w$ is $A_m$:
#
# $$
# \mathrm{KL}(\kappa)=\kappa A_m(\kappa)-\phi_m(\kappa).
# $$
#
# ([@davidson2018, equation 8] has it in Bessel functions.) The mean direction is not in it: all directions cost the
# same. On $S^2$ it reads
# $\kappa\coth\kappa-1-\log(\sinh\kappa/\kappa)$.
#
# **Small $\kappa$.** Chapter 2: $A_m\approx\kappa/m$ and $\phi_m\approx\kappa^2/(2m)$. Hence
# $\mathrm{KL}\approx\kappa^2/(2m)$.
#
# **Large $\kappa$.** Write $\mathrm{KL}=(\kappa-\phi_m)-\kappa(1-A_m)$. With $d=m-1$, chapter 2 found
# $\kappa-\phi_m\approx\frac d2\log\frac\kappa{2\pi}+\log S_m$ and $\kappa(1-A_m)\approx\frac d2$. Hence
#
# $$
# \mathrm{KL}(\kappa)\approx\frac d2\log\frac{\kappa}{2\pi e}+\log S_m .
# $$
#
# **Entropy.** From $\log q=\log(q/p)-\log S_m$ follows $H=-E_q\log q=\log S_m-\mathrm{KL}$. At large $\kappa$ this is
# $\frac d2\log(2\pi e/\kappa)$, the entropy of a Gaussian with variance $1/\kappa$ in $d$ dimensions.


# %%
def kl(kappa, m):
    """KL(vMF || uniform), as derived."""
    return kappa * mean_resultant_length(kappa, m) - log_partition(kappa, m)


def limit(kappa, m):
    """The same for large kappa."""
    return (m - 1) / 2 * torch.log(kappa / (2 * math.pi * math.e)) + log_surface_area(m)


for value in (0.1, 1.0, 10.0, 100.0, 1e4):
    kappa = torch.tensor(value)
    forms = f"small-kappa form {kappa**2 / 12:9.4g}, large-kappa form {limit(kappa, 6):6.2f}"
    print(f"m = 6, kappa = {value:7.1f}: {kl(kappa, 6):7.4f} nats; {forms}")

# %% tags=["checks"]
t, weight = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(300))
angle = math.pi / 2 * (t + 1)
w = angle.cos()
for m in (2, 3, 6, 41):
    p = ((m - 2) * angle.sin().log() + weight.log()).softmax(0)  # the uniform law of w
    for kappa in torch.tensor([0.1, 5.0, 100.0]):
        log_ratio = kappa * w - log_partition(kappa, m)
        q = p * log_ratio.exp()
        assert torch.isclose(q.sum(), torch.tensor(1.0))
        assert torch.isclose(q @ log_ratio, kl(kappa, m))  # the integral of q log(q/p)
        assert q @ log_ratio > 0
    small, large = torch.tensor(1e-3), torch.tensor(1e5)
    assert torch.isclose(kl(small, m), small**2 / (2 * m), rtol=1e-5)
    assert abs(kl(large, m) - limit(large, m)) < 0.01
kappa = torch.tensor(5.0)
assert torch.isclose(kl(kappa, 3), kappa / kappa.tanh() - 1 - (kappa.sinh() / kappa).log())
print("Checked: the formula is the integral of q log(q/p), for four m; both limits; the closed form on the sphere.")

# %% [markdown]
# Does it agree with samples? The log ratio $\kappa w-\phi_m$ has variance $\kappa^2A_m'$, so we even know the standard
# error.


# %%
torch.manual_seed(6)
m, n, kappa = 6, 100_000, torch.tensor(10.0)
mu = torch.eye(m)[0]
q, uniform = VonMisesFisher(mu, kappa), HypersphericalUniform(m)
z = q.sample((n,))
log_ratio = q.log_prob(z) - uniform.log_prob(z)
error = kappa * mean_resultant_length_derivative(kappa, m).sqrt() / math.sqrt(n)
print(f"KL: {log_ratio.mean():.2f} from samples, {kl(kappa, m):.2f} by formula, standard error {error:.3f}")

# %% tags=["checks"]
assert torch.isclose(log_ratio.std() / math.sqrt(n), error, rtol=0.02)
assert abs(log_ratio.mean() - kl(kappa, m)) < 4 * error
assert abs(-q.log_prob(z).mean() - (log_surface_area(m) - kl(kappa, m))) < 4 * error
print("Checked: KL and entropy are within four standard errors of the formulas, and the error is as predicted.")

# %% [markdown]
# ## Second way: the Legendre transform
#
# $\phi_m$ is convex: its second derivative is a variance. Fix $\kappa$, let $r=A_m(\kappa)$, and look at
# $t\mapsto t\,r-\phi_m(t)$. It is concave, with slope $r-A_m(t)$, which is zero at $t=\kappa$ alone. So
#
# $$
# \mathrm{KL}(\kappa)=\sup_t\,\bigl[t\,r-\phi_m(t)\bigr]=\phi_m^*(r),\qquad r=A_m(\kappa).
# $$
#
# $\phi_m^*$ is the Legendre transform of $\phi_m$. The von Mises-Fisher law $p_\kappa$ is the *cheapest* law whose mean
# of $w$ is $r$. Let $q$ be any law with $E_q w=r$, and insert $p_\kappa$ in the middle:
#
# $$
# \mathrm{KL}(q\,\|\,p)=E_q\Bigl[\log\frac q{p_\kappa}\Bigr]+E_q\Bigl[\log\frac{p_\kappa}p\Bigr]
#   =\mathrm{KL}(q\,\|\,p_\kappa)+\kappa\,r-\phi_m(\kappa)\ge\phi_m^*(r).
# $$
#
# (The last logarithm is $\kappa w-\phi_m$, and its mean needs only $E_qw=r$.) Equality holds for $q=p_\kappa$ only: no
# other shape says "the mean is $r\mu$" for so few nats.
#
# **The gradient.** Differentiate $\kappa A_m-\phi_m$. Two terms cancel, because $\phi_m'=A_m$:
#
# $$
# \frac{d}{d\kappa}\mathrm{KL}=A_m+\kappa A_m'-A_m=\kappa A_m'(\kappa)>0,\qquad
# \mathrm{KL}(\kappa)=\int_0^\kappa t\,A_m'(t)\,dt .
# $$
#
# With respect to $r$ the slope is $\kappa A_m'\,d\kappa/dr=\kappa$: concentration is the price, in nats, of one more
# unit of mean length.

# %% tags=["checks"]
m, kappa = 3, torch.tensor(4.0)
r, grid = mean_resultant_length(kappa, m), torch.linspace(0, 6, 301)
gain = grid * r - log_partition(grid, m)
assert torch.isclose(grid[gain.argmax()], kappa)
assert torch.isclose(gain.max(), kl(kappa, m))
# On S^2 the cap above height 2r - 1 has mean height r and share 1 - r, so the uniform law on it costs -log(1 - r).
cap = -(1 - r).log()
assert abs(cap - kl(kappa, m) - 0.31) < 0.01
nodes = kappa * (t + 1) / 2
strips = kappa / 2 * weight * nodes * mean_resultant_length_derivative(nodes, m)
assert torch.isclose(strips.sum(), kl(kappa, m))  # the integral
k = torch.tensor([0.1, 4.0, 100.0], requires_grad=True)
(slope,) = torch.autograd.grad(kl(k, m).sum(), k)
assert torch.allclose(slope, k * mean_resultant_length_derivative(k, m))
print("Checked: the supremum is at κ and has the value KL; the integral; the gradient by autograd.")

# %% tags=["words"]
plotting.say(
    f"An example for $m=3$, $\\kappa=4$. The uniform law on a cap can have the same mean, $r={r:.2f}$. It costs "
    f"{cap:.2f} nats, the von Mises-Fisher law {kl(kappa, m):.2f}."
)

# %% tags=["picture"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3.2))
left.plot(grid, log_partition(grid, m), color=BLUE)
left.plot(grid, kl(kappa, m).neg() + r * grid, color=ORANGE)
left.plot([4, 4], [-1.5, log_partition(kappa, m)], ":", color="0.5")
left.plot([0, 0], [-kl(kappa, m), 0], color=GREEN, linewidth=4, solid_capstyle="butt")
left.text(0.2, -0.4, "KL", color=GREEN, weight="bold")
left.text(0.9, 0.75, "$φ_m$", color=BLUE, ha="center")
left.text(4.15, 1.1, "tangent,\nslope $A_m(κ)$", color=ORANGE, va="top")
left.set(xlabel="t", xlim=(-0.15, 6), ylim=(-1.5, 3.8), xticks=(0, 4), xticklabels=("0", "κ"))
A = mean_resultant_length(grid, m)
inside = grid <= kappa
right.fill_between(grid[inside], A[inside], r, color=GREEN, alpha=0.25, linewidth=0)
right.fill_between(grid[inside], A[inside], color=BLUE, alpha=0.15, linewidth=0)
right.plot(grid, A, color=BLUE)
right.text(0.45, 0.57, "KL", color=GREEN, weight="bold")
right.text(2.4, 0.25, "$φ_m(κ)$", color=BLUE, ha="center")
right.text(5.9, 0.87, "$A_m(t)$", color=BLUE, ha="right")
right.set(xlabel="t", xlim=(0, 6), ylim=(0, 1))
right.set(xticks=(0, 4), xticklabels=("0", "κ"), yticks=(0, r), yticklabels=("0", "$A_m(κ)$"))
plotting.show(
    figure,
    "**Figure 6.1.** The divergence, twice, for $m=3$, $\\kappa=4$. Left: how far below zero the tangent of $\\phi_m$ "
    "meets the axis. Right: what $\\phi_m$, the area below $A_m$, leaves of the rectangle $\\kappa A_m$.",
    alt=f"Left, a convex curve and its tangent at 4, whose intercept is {-kl(kappa, m):.2f}, minus KL. Right, a "
    "rectangle cut by a rising curve into the area phi below and the area KL above.",
)

# %% [markdown]
# On the right, a thin horizontal strip of the green area has length $t$ and height $dA_m=A_m'(t)\,dt$: that is the
# integral above. The blue area has a meaning too. With the roles exchanged,
# $\mathrm{KL}(p\,\|\,q)=-E_p[\kappa w-\phi_m]=\phi_m(\kappa)$, for $w$ has mean zero under the uniform law. The
# rectangle is the sum of the two divergences.
#
# **From samples alone.** What if one can draw from $q$ and $p$, but knows neither density? There is a formula for this
# too, due to [@donsker1975]. The proof that $p_\kappa$ is cheapest did not use that $\kappa w$ is linear. Take any
# function $T(z)$ in its place, and the law $p_T=p\,e^T/E_p e^T$ in place of $p_\kappa$. The same insertion gives
#
# $$
# \mathrm{KL}(q\,\|\,p)=\mathrm{KL}(q\,\|\,p_T)+E_q\,T-\log E_p\,e^T.
# $$
#
# The first divergence on the right is not negative, and it is zero for $T=\log(q/p)$. So for any two laws whose ratio
# of densities exists
#
# $$
# \mathrm{KL}(q\,\|\,p)=\sup_T\,\bigl[\,E_q\,T(z)-\log E_p\,e^{T(z)}\bigr].
# $$
#
# Both expectations can be estimated from samples. [@belghazi2018] let a neural network be $T$, to estimate information.
# For a von Mises-Fisher law against the uniform one the best $T$ is $\kappa w$ plus a
# constant, so the lines $T=t\,w$ are enough, and the supremum over them is our Legendre transform. Below, both
# expectations are means over samples.

# %%
torch.manual_seed(7)
z_p, kappa = uniform.sample((n,)), torch.tensor(10.0)
w_q, w_p = z[:, 0], z_p[:, 0]
grid = torch.linspace(7, 13, 61)
log_means = (grid[:, None] * w_p).logsumexp(1) - math.log(n)
bound, best = (grid * w_q.mean() - log_means).max(0)
print(f"supremum at t = {grid[best]:.0f}: {bound:.2f} nats; formula: {kl(kappa, 6):.2f}")
reverse = uniform.log_prob(z_p) - q.log_prob(z_p)
print(f"the reverse divergence: {reverse.mean():.1f} from samples, {log_partition(kappa, 6):.1f} by formula")

# %% tags=["checks"]
spreads = grid[best] * w_q.std(), (grid[best] * w_p - log_means[best]).exp().std()
assert abs(bound - kl(kappa, 6)) < 4 * torch.hypot(*spreads) / math.sqrt(n)
assert abs(reverse.mean() - log_partition(kappa, 6)) < 4 * reverse.std() / math.sqrt(n)
height = torch.cos(angle)
p = (4 * angle.sin().log() + weight.log()).softmax(0)  # the uniform law of w, m = 6
p_kappa = (p.log() + 10 * height).softmax(0)
for T in (10 * height + 3, 5 * height, 10 * height - height**2, torch.sin(4 * height)):
    gap = kl(kappa, 6) - (p_kappa @ T - (p @ T.exp()).log())
    p_T = (p.log() + T).softmax(0)
    assert torch.isclose(gap, p_kappa @ (p_kappa / p_T).log(), atol=1e-9)  # KL(q || p_T)
print("Checked: both estimates within four standard errors; the gap is KL(q || p_T) for four functions T.")

# %% [markdown]
# ## Third way: a Bregman divergence
#
# Now two laws. Let $\theta=\kappa\mu$ and $F(\theta)=\phi_m(\lVert\theta\rVert)$. The density is
# $e^{\theta\cdot z-F(\theta)}/S_m$, and by the chain rule $\nabla F(\theta)=A_m(\kappa)\,\mu=E\,z$. So
#
# $$
# \mathrm{KL}(\theta_1\,\|\,\theta_2)=E_1\bigl[(\theta_1-\theta_2)\cdot z\bigr]-F(\theta_1)+F(\theta_2)
#   =F(\theta_2)-F(\theta_1)-\nabla F(\theta_1)\cdot(\theta_2-\theta_1).
# $$
#
# Lay the tangent plane of $F$ at $\theta_1$: the divergence is the gap between $F$ and the plane, at $\theta_2$. Such a
# gap is called a Bregman divergence; every exponential family has its own ([@banerjee2005bregman]). Spelled out,
#
# $$
# \mathrm{KL}=\phi_m(\kappa_2)-\phi_m(\kappa_1)+A_m(\kappa_1)\,(\kappa_1-\kappa_2\,\mu_1\cdot\mu_2).
# $$
#
# The uniform law is the point $\theta_2=0$. There $\phi_m=0$, and $\kappa_1A_m(\kappa_1)-\phi_m(\kappa_1)$ is left: the
# gap at the origin, which is Figure 6.1, left. Since $\mu_1\cdot\mu_2=1-\frac12\lVert\mu_1-\mu_2\rVert^2$, the
# divergence is also a sum of two parts, neither negative:
#
# $$
# \mathrm{KL}=\underbrace{\phi_m(\kappa_2)-\phi_m(\kappa_1)-A_m(\kappa_1)(\kappa_2-\kappa_1)}_{\text{other
#   concentration}}+\underbrace{A_m(\kappa_1)\,\kappa_2\,\tfrac12\lVert\mu_1-\mu_2\rVert^2}_{\text{other direction}}.
# $$
#
# The first is the gap of the convex $\phi_m$ above its tangent. The second, where both concentrations are large, is
# what two Gaussians with variance $1/\kappa_2$ would pay for their distance.


# %%
def kl_between(theta1, theta2, m):
    """KL of two von Mises-Fisher laws with natural parameters of shape (..., m)."""
    k1, k2 = theta1.norm(dim=-1), theta2.norm(dim=-1)
    slope = (mean_resultant_length(k1, m) / k1)[..., None] * theta1  # A mu
    return log_partition(k2, m) - log_partition(k1, m) - (slope * (theta2 - theta1)).sum(-1)


m, k1, k2 = 6, torch.tensor(10.0), torch.tensor(5.0)
mu2 = torch.tensor([0.5, math.sqrt(0.75), 0, 0, 0, 0])  # 60 degrees from mu
truth = kl_between(k1 * mu, k2 * mu2, m)
print(f"κ = 10 against κ = 5, 60 degrees apart: {truth:.2f} nats; reversed: {kl_between(k2 * mu2, k1 * mu, m):.2f}")

# %% tags=["checks"]
theta1 = (k1 * mu).requires_grad_()
(mean,) = torch.autograd.grad(log_partition(theta1.norm(), m), theta1)
assert torch.allclose(mean, q.mean)
A1, theta1 = mean_resultant_length(k1, m), theta1.detach()
assert torch.isclose(truth, log_partition(k2, m) - log_partition(k1, m) + A1 * (k1 - k2 * 0.5))
radial = log_partition(k2, m) - log_partition(k1, m) - A1 * (k2 - k1)
assert radial > 0
assert torch.isclose(truth, radial + A1 * k2 * (mu - mu2).square().sum() / 2)
assert torch.isclose(kl_between(theta1, 0 * mu, m), kl(k1, m))
torch.manual_seed(8)
z = q.sample((n,))
log_ratio = q.log_prob(z) - VonMisesFisher(mu2, k2).log_prob(z)
assert abs(log_ratio.mean() - truth) < 4 * log_ratio.std() / math.sqrt(n)
print("Checked: the gradient of F is the mean; all three forms agree, and samples within four standard errors.")

# %% tags=["picture"]
x, y = torch.meshgrid(torch.linspace(-5, 25, 241), torch.linspace(-7, 7, 141), indexing="xy")
theta2 = torch.stack([x, y, torch.zeros_like(x)], dim=-1)
theta1 = torch.tensor([6.0, 0.0, 0.0])
gap = kl_between(theta1, theta2, 3)
figure, axes = plotting.subplots(size=(5.5, 3))
for colour, levels in ((BLUE, [0.1, 0.3, 0.7]), (ORANGE, [kl(torch.tensor(6.0), 3)])):
    axes.clabel(axes.contour(x, y, gap, levels=levels, colors=colour), fmt="%.2g", fontsize=8)
axes.plot(6, 0, "o", color=BLUE)
axes.plot(0, 0, "o", color=ORANGE)
axes.text(6.4, 0.3, "$θ_1$", color=BLUE, va="center")
axes.text(-0.4, 0, "uniform", color=ORANGE, ha="right", va="center")
axes.set(xlabel="component of $θ_2$ along $μ_1$", ylabel="component across", aspect="equal", yticks=(-5, 0, 5))
plotting.show(
    figure,
    "**Figure 6.2.** $\\mathrm{KL}(\\theta_1\\,\\|\\,\\theta_2)$ in nats for $m=3$, $\\kappa_1=6$, as a function of "
    "$\\theta_2$. Orange: all laws as far from $\\theta_1$ as the uniform law.",
    alt="Contour lines around the point theta 1 at (6, 0), stretched away from the origin. The contour of "
    f"{kl(torch.tensor(6.0), 3):.2f} nats passes through the origin, where the uniform law is.",
)

# %% tags=["checks"]
inwards, outwards = kl_between(theta1, torch.tensor([[3.0, 0, 0], [9.0, 0, 0]]), 3)
assert gap.min() > -1e-12
assert inwards > 1.5 * outwards
for ratio in torch.tensor([0.25, 0.5, 1.5, 4.0]):
    far = kl_between(1e4 * theta1, 1e4 * ratio * theta1, 3)
    assert torch.isclose(far, ratio - 1 - ratio.log(), rtol=1e-3)  # d/2 = 1
print("Checked: no divergence in the picture is negative; on the axis, far out, the ratio decides.")

# %% [markdown]
# The lines are stretched away from the origin. On the axis only the concentration differs, and there its *ratio*
# counts, $g=\kappa_2/\kappa_1$. Put the forms for large $\kappa$ into the first part: it becomes
# $\frac d2\,(g-1-\log g)$, the same at every $\kappa_1$.

# %% tags=["words"]
plotting.say(
    f"Half the concentration, from $\\kappa=6$ to 3, makes {inwards:.2f} nats; half as much again, from 6 to 9, makes "
    f"{outwards:.2f}. The formula has {math.log(2) - 0.5:.2f} and {0.5 - math.log(1.5):.2f}."
)

# %% [markdown]
# ## What concentration costs
#
# Divide $d\,\mathrm{KL}=\kappa A_m'\,d\kappa$ by $d\log\kappa=d\kappa/\kappa$: a factor of $e$ in $\kappa$ costs about
# $\kappa^2A_m'$ nats. For large $\kappa$ that tends to $d/2$, the slope of the limit found above.

# %% tags=["picture"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3.4), width_ratios=(1.15, 1))
k = torch.logspace(-1.5, 4, 400)
for m in (2, 3, 6, 21, 41):
    (line,) = left.semilogx(k, kl(k, m), color="0.25" if m == 41 else None)
    late = k[k > 2 * m]
    left.semilogx(late, limit(late, m), ":", color="0.45", linewidth=0.9)
    nudge = {2: -3, 3: 2}.get(m, 0)  # two labels apart
    left.text(1.5e4, kl(k[-1], m) + nudge, f"m = {m}", color=line.get_color(), va="center")
dims, peaks = torch.arange(2, 129), {}
for value, up in ((10.0, 2.4), (40.0, 10.7), (100.0, 25.6)):
    cost = torch.stack([kl(torch.tensor(value), int(m)) for m in dims])
    peaks[value] = int(dims[cost.argmax()]), cost.max().item()
    (line,) = right.plot(dims, cost)
    right.text(76, up, f"κ = {value:.0f}", color=line.get_color(), ha="center")
left.set(xlabel="concentration κ", ylabel="KL to uniform (nats)", xlim=(0.03, 3e5))
left.set_xticks([0.1, 1, 10, 100, 1000, 10_000], ["0.1", "1", "10", "100", "1000", "10⁴"])
left.minorticks_off()
right.set(xlabel="dimension m", ylim=(0, 28))
plotting.show(
    figure,
    "**Figure 6.3.** The divergence against the concentration (dotted: the limit for large $\\kappa$) and against the "
    "dimension.",
    alt="Left, five curves, flat at zero, then rising along straight lines, steeper for larger m. Right, a rise to a "
    "maximum, then a slow fall: "
    + ", ".join(f"{cost:.1f} nats at m = {m} for kappa = {value:.0f}" for value, (m, cost) in peaks.items())
    + ".",
)

# %% tags=["checks"]
for m in (2, 3, 6, 21, 41):
    rate = k**2 * mean_resultant_length_derivative(k, m)
    assert abs(rate[-1] / ((m - 1) / 2) - 1) < 1e-2
    assert abs(kl(torch.tensor([1e5, 4e5]), m).diff() - (m - 1) * math.log(2)) < 1e-2 * (m - 1)
for value, (m, cost) in peaks.items():
    assert 0.7 * value < m < 0.85 * value
    assert abs(cost / value - 0.25) < 0.01
print("Checked: the slope d/2, the price d log 2 of half the width, and where and how high the three peaks are.")

# %% [markdown]
# Left: a small $\kappa$ is nearly free; from then on every factor costs the same. The angular width is $1/\sqrt\kappa$.
# Halving it takes four times the $\kappa$ and costs $d\log2$ nats: one bit for each dimension.
#
# Right: one $\kappa$ can say only so much. The divergence peaks near $m=\frac34\kappa$, at about $\kappa/4$ nats; then
# it falls, in the end like $\kappa^2/(2m)$.
#
# ## Both ends cancel
#
# Take $m=3$ in single precision. The closed form $\kappa\coth\kappa-1-\log(\sinh\kappa/\kappa)$ subtracts 1 from
# $1+\kappa^2/3$: at $\kappa=10^{-4}$, where the result is $\kappa^2/6$, no digit is left, nor in the gradient.
# $\kappa A_m-\phi_m$, with accurate $A_m$ and $\phi_m$, survives there: $\kappa^2/(2m)$ is subtracted from twice as
# much. At the other end both terms are close to $\kappa$, and their difference is of the size of $\log\kappa$.
#
# The cure is to cancel on paper. As in [chapter 4](04_sampling.ipynb), let $x_0=2\kappa/(d+\sqrt{d^2+4\kappa^2})$, let
# $x$ be a coordinate of a uniform point, $c=1/(1+x_0x)$, and $a=(c\,e^{1-c})^d$ the probability that the sampler
# accepts $x$. Chapter 4 found the acceptance rate $E[a]$, which contains $\phi_m$. Accepted points follow our law, with
# $w=x_0+\frac d\kappa(1-c)$ (the second of the two facts in [chapter 5](05_gradients.ipynb) that turn $x$ into $w$),
# and a mean over accepted points is a mean over all, weighted by $a$. So
#
# $$
# \phi_m=\kappa x_0+\tfrac d2\log(1-x_0^2)+\log E[a],\qquad
# A_m=x_0+\frac d\kappa\,\frac{E[(1-c)\,a]}{E[a]}.
# $$
#
# In $\kappa A_m-\phi_m$ the large term $\kappa x_0$ drops out. With $1-x_0^2=1/(1+\kappa x_0/d)$,
#
# $$
# \mathrm{KL}=\tfrac d2\log(1+\kappa x_0/d)+d\,\frac{E[(1-c)\,a]}{E[a]}-\log E[a] .
# $$
#
# No term is large when the sum is not. For the gradient, take $\kappa A_m'$ with the variance of chapter 5.


# %%
def cured_kl(kappa, m):
    """KL(vMF || uniform), with the term kappa x0 cancelled on paper."""
    d = m - 1
    x, weight = (torch.from_numpy(a) for a in roots_gegenbauer(200, m / 2 - 1))
    x0 = 2 * kappa / (d + torch.hypot(2 * kappa, torch.full_like(kappa, d)))
    u = x0[..., None] * x  # 1 - c = u / (1 + u)
    log_a = d * (u / (1 + u) - u.log1p())
    excess = log_a.expm1() @ weight / weight.sum()  # E[a] - 1
    gap = (log_a.exp() * u / (1 + u)) @ weight / weight.sum() / (1 + excess)
    return d / 2 * torch.log1p(kappa * x0 / d) + d * gap - excess.log1p()


# %% tags=["checks"]
def reference(kappa, m):
    """The same, from 50 digits."""
    with mpmath.workdps(50):
        kappa, b = mpmath.mpf(kappa), mpmath.mpf(m) / 2
        f, g = (mpmath.hyp0f1(c, kappa**2 / 4) for c in (b, b + 1))
        return float(kappa**2 / (2 * b) * g / f - mpmath.log(f))


k = torch.logspace(-6, 10, 9)
for m in (2, 3, 6, 41, 128):
    truth = torch.tensor([reference(value, m) for value in k.tolist()])
    assert torch.allclose(cured_kl(k, m), truth, rtol=1e-8, atol=0)
print("Checked: against 50 digits, for five m and κ from a millionth to ten thousand million.")


# %% tags=["picture"]
def closed_form(kappa):
    """For m = 3; log sinh so that it does not overflow."""
    return kappa / kappa.tanh() - 1 - (kappa + (-torch.expm1(-2 * kappa)).log() - (2 * kappa).log())


single = torch.logspace(-4, 8, 121).float().requires_grad_()
k = single.detach().double()
truth, errors = cured_kl(k, 3), {}
forms = {"closed form": closed_form(single), "$κA_m-φ_m$": kl(single, 3), "cured": truth.float()}
figure, axes = plotting.subplots(size=(5.5, 3.1))
for (name, value), (at, up), colour in zip(
    forms.items(), ((8e-2, 0.3), (3e5, 3e-2), (30, 2.5e-10)), (ORANGE, GREEN, BLUE), strict=True
):
    errors[name] = (value.detach() / truth - 1).abs()
    axes.loglog(k, errors[name].clamp(min=1e-9), color=colour, linewidth=1)
    axes.text(at, up, name, color=colour, ha="center")
axes.set(xlabel="concentration κ", ylabel="relative error in float32", ylim=(1e-10, 1e2))
plotting.show(
    figure,
    "**Figure 6.4.** Errors in float32 for $m=3$. The cure is evaluated in float64, and rounded.",
    alt="Relative errors against kappa. Largest for kappa below 0.01 and above 10 million: "
    + ", ".join(f"{name} {e[:20].max():.0e} and {e[-10:].max():.0e}" for name, e in errors.items())
    + ".",
)

# %% tags=["checks"]
assert errors["cured"].max() < 1e-7
assert errors["$κA_m-φ_m$"][:60].max() < 1e-5 < 0.1 < errors["$κA_m-φ_m$"][-10:].max()
(slope,) = torch.autograd.grad(forms["closed form"].sum(), single)
for wrong in (errors["closed form"], (slope / (k * mean_resultant_length_derivative(k, 3)) - 1).abs()):
    assert wrong[:10].max() > 0.5
doubles = torch.tensor([1e-8, 1e16])  # below and above the figure's range, in float64
assert doubles.dtype == torch.float64
wrong = closed_form(doubles) / cured_kl(doubles, 3)
assert wrong[0] == 0
assert abs(wrong[1] - 1) > 0.03
print("Checked: where each form fails, the closed form also in float64, and that its gradient fails with it.")

# %% [markdown]
# There is only one $\kappa$ for an image, so to compute in float64 costs next to nothing. But float64 alone would not
# have saved the closed form: in float64 it fails in the same way, at smaller and at larger $\kappa$. At
# $\kappa=10^{-8}$ it is 0.
#
# ## A floor and a ceiling
#
# A *head* is the last layer of the encoder. Networks return any real number $b$; the authors' head makes
# $\kappa=\log(1+e^b)+1$ of it: softplus, plus 1, which is there to "prevent collapsing behaviors", says a comment
# (`nicola-decao/s-vae-pytorch`, commit 671c46c, `examples/mnist.py`, line 68). KL grows with $\kappa$, so $\kappa>1$
# sets a **floor**, $\mathrm{KL}>\mathrm{KL}(1)\approx1/(2m)$. A Gaussian head has none. Its divergence from $N(0,I)$,
# the sum of $\frac12(\mu_i^2+\sigma_i^2-1)-\log\sigma_i$ over coordinates, is 0 at $\mu=0$, $\sigma=1$.
#
# Some heads also have a **ceiling**: they cap $\kappa$ from above. One reproduction of the paper
# (`raphaelrubrice/HVAE`, commit f394bd1, `svae/vae.py`, lines 64 to 70 and 113) clips it at $100\,m$, in fear that the
# sampler would reject too often. (It does not: [chapter 4](04_sampling.ipynb).) Do floor and ceiling matter?

# %%
paper = {2: 7.28, 5: 13.35, 10: 20.67, 20: 28.50, 40: 33.50}  # Table 1, S-VAE: d and the mean KL
dims = torch.arange(1, 101)
floor = torch.stack([kl(torch.tensor(1.0), m) for m in range(2, 102)])
ceiling = torch.stack([kl(torch.tensor(100.0 * m), m) for m in range(2, 102)])
for d, value in paper.items():
    print(f"d = {d:2}: floor {floor[d - 1]:.3f}, paper {value:.2f}, ceiling {ceiling[d - 1]:.2f}")

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5.5, 3.2))
axes.fill_between(dims, floor, ceiling, color=BLUE, alpha=0.1, linewidth=0)
axes.loglog(dims, floor, color=BLUE)
axes.loglog(dims, ceiling, color=ORANGE)
axes.loglog(list(paper), list(paper.values()), "ko", markersize=4)
axes.text(8, 0.085, "floor: κ = 1", color=BLUE)
axes.text(12, 50, "ceiling: κ = 100 m", color=ORANGE, ha="right")
axes.text(22, 14, "the paper's S-VAE on MNIST", ha="center", va="top")
axes.set(xlabel="dimension d of the sphere, m = d + 1", ylabel="KL to uniform (nats)")
axes.set_xticks(list(paper), list(paper))
axes.minorticks_off()
above = [d for d, value in paper.items() if value > ceiling[d - 1]]
plotting.show(
    figure,
    "**Figure 6.5.** What a head can express: above the floor set by softplus + 1, below the ceiling set by a cap at "
    "$100\\,m$. Dots: mean KL in the paper's Table 1.",
    alt="A band between a falling floor and a rising ceiling. The paper's values for d = "
    + " and ".join(map(str, above))
    + f" lie above the ceiling; all are at least {min(value / floor[d - 1] for d, value in paper.items()):.0f} times "
    "the floor.",
)

# %% tags=["checks"]
assert (floor[1:] * 2 * (dims[1:] + 1) - 1).abs().max() < 0.1  # 1 / (2m)
assert above == [2, 5]
by_torch = kl_divergence(Normal(0.7, 0.4), Normal(0.0, 1.0))
assert math.isclose(by_torch, (0.7**2 + 0.4**2 - 1) / 2 - math.log(0.4))
print("Checked: the floor is 1 / (2m) within a tenth from m = 3 on; the Gaussian formula agrees with torch.")

# %% tags=["words"]
plotting.say(
    f"On one sphere the floor is low: at $d=2$ it is {floor[1]:.2f} nats, {floor[1] / paper[2]:.0%} of the divergence "
    f"that the data ask for, and less for larger $d$. (If a latent space is made of many circles, as in chapter "
    f"13, each of them pays {floor[0]:.2f} nats.) The ceiling is another matter: at $d=2$ and $d=5$ the paper's mean "
    "KL lies above it."
)

# %% [markdown]
# ## Paying is not telling
#
# Does the floor prevent collapse? An N-VAE may pay nothing for an image. An S-VAE with this head **cannot pay zero, and
# its codes can still be ignored**: give every image the same $\mu$ and $\kappa=1$. Each pays $\mathrm{KL}(1)$, and $z$
# says nothing about the image. So what does a payment buy? [Chapter 1](01_why_a_sphere.ipynb) found two parts in the
# mean KL of its models, and saw in their samples what the second does. Here is where the parts come from.
#
# Let $q_n$ be the law of $z$ for image $n$ of $N$, and $\bar q=\frac1N\sum_nq_n$ their mixture, the **aggregate
# posterior**: the law of $z$ for an image drawn at random. Split the logarithm,
# $\log\frac{q_n}{p}=\log\frac{q_n}{\bar q}+\log\frac{\bar q}{p}$, and average over $z\sim q_n$ and over $n$. In the
# last term the average of the $E_{q_n}$ is $E_{\bar q}$, so
#
# $$
# \frac1N\sum_{n=1}^N\mathrm{KL}(q_n\,\|\,p)
# =\underbrace{\frac1N\sum_{n=1}^N\mathrm{KL}(q_n\,\|\,\bar q)}_{\text{information}}
# +\underbrace{\mathrm{KL}(\bar q\,\|\,p)}_{\text{mismatch}}
# $$
#
# ([@hoffman2016]). The first term is the mutual information of $z$ and the image's number. It is zero if all
# $q_n$ are equal, and at most $\log N$, since $\bar q\ge q_n/N$. The second does not depend on which image is where: it
# is the price for a crowd that does not fill the sphere evenly. It informs nobody.
#
# On the circle both can be computed on a grid of angles. Take $N=100$ images, all with $\kappa=20$, whose mean
# directions are spread evenly over an arc.

# %%
grid = torch.arange(720) * (2 * math.pi / 720)  # angles; sums over them are integrals, to all digits


def two_parts(mus, kappa):
    """Information and mismatch of codes on the circle with mean angles mus, in nats."""
    q = (kappa * torch.cos(grid - mus[:, None])).softmax(1)  # (N, 720); the uniform law is 1 / 720
    aggregate = q.mean(0)
    information = (q * (q / aggregate).log()).sum(1).mean()
    return information, (aggregate * (720 * aggregate).log()).sum()


arcs = torch.linspace(0, 360, 61)
centred = (torch.arange(100) + 0.5) / 100 - 0.5
parts = torch.tensor([two_parts(torch.deg2rad(arc) * centred, torch.tensor(20.0)) for arc in arcs])

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5.5, 3.1))
axes.fill_between(arcs, parts[:, 0], color=BLUE, alpha=0.35, linewidth=0)
axes.fill_between(arcs, parts[:, 0], parts.sum(1), color=ORANGE, alpha=0.35, linewidth=0)
axes.plot(arcs, parts.sum(1), color="0.4")
axes.text(215, 0.55, "information", ha="center")
axes.text(65, 1.45, "mismatch", ha="center")
axes.set(xlabel="arc over which the mean directions spread (degrees)", ylabel="nats", ylim=(0, 2.3))
axes.set_xticks(range(0, 361, 60))
axes.text(240, parts.sum(1)[0] + 0.05, "mean KL", color="0.4")
plotting.show(
    figure,
    "**Figure 6.6.** One mean KL, two uses: 100 codes on the circle with κ = 20.",
    alt=f"The mean KL is {parts[0].sum():.2f} nats for every arc. Information rises from {parts[0, 0]:.2f} for an arc "
    f"of 0 degrees over {parts[30, 0]:.2f} for 180 to {parts[-1, 0]:.2f} for 360; the mismatch is the rest.",
)

# %% tags=["checks"]
assert torch.allclose(parts.sum(1), kl(torch.tensor(20.0), 2))  # the split, for every arc
assert (parts[:, 0].diff() > 0).all()
assert abs(parts[0, 0]) < 1e-12
assert abs(parts[-1, 1]) < 1e-9
assert two_parts(torch.deg2rad(arcs), torch.tensor(300.0))[0] < math.log(61)
same = two_parts(torch.zeros(100), torch.tensor(1.0))
print("Checked: the two parts add up to the mean KL for every arc; information is at most log N.")

# %% tags=["words"]
plotting.say(
    f"Every code pays {parts[0].sum():.2f} nats. With one direction for all, all of it is mismatch; spread over "
    f"the whole circle, all of it is information; over half of it, {parts[30, 0]:.2f} nats are. At the floor, "
    f"$\\kappa=1$ and one direction for all, {same[1]:.2f} nats are paid and {same[0].abs():.2f} told."
)

# %% [markdown]
# So a training log that shows a healthy KL does not show that the code informs. The fourth exercise estimates both
# parts from samples, on any sphere.
#
# ## The trap
#
# **A cap.** Beyond the cap of Figure 6.5 the gradient is exactly zero: nothing pulls $\kappa$ back, and the KL is a
# constant. From a run of that reproduction with $m=5$ a KL of 10.0273 was logged epoch after epoch
# (`paper_experiments/Table2_exp.ipynb`, same commit). Is it the cap, at $\kappa=500$? The exact divergence there is
# close, but not equal. That code does not compute $A_m$. It takes the mean of two bounds (`svae/utils.py`, lines 69 to
# 85, after [@ruiz2016, section 3]). With $\nu=m/2$,
#
# $$
# A_m\approx\frac{B_0+B_2}2,\qquad B_j=\frac{\kappa}{\delta_j+\sqrt{\delta_j^2+\kappa^2}},\qquad
# \delta_j=\nu-\tfrac12+\frac{\lambda_j}{2\sqrt{\lambda_j^2+\kappa^2}},\qquad\lambda_j=\nu+\tfrac{j-1}2 .
# $$
#
# One is above $A_m$ and one below. We put their mean into $\kappa A_m-\phi_m$:

# %%
kappa = torch.tensor([500.0, 5000.0], requires_grad=True)
capped = kl(kappa.clamp(max=500.0), 5)
(slope,) = torch.autograd.grad(capped.sum(), kappa)
print(f"kappa = 500 and 5000 under the cap: KL {capped[0]:.4f} and {capped[1]:.4f}; slope beyond it {slope[1]:.0f}")

nu, k, bounds = 5 / 2, 500.0, []
for order in (nu - 0.5, nu + 0.5):  # lambda_0 and lambda_2
    delta = nu - 0.5 + order / (2 * math.hypot(order, k))
    bounds.append(k / (delta + math.hypot(delta, k)))
mean_of_bounds = k * sum(bounds) / 2 - log_partition(torch.tensor(k), 5)
print(f"with the mean of the bounds: {mean_of_bounds:.4f}")

# %% tags=["checks"]
assert torch.isclose(capped[0], capped[1], rtol=1e-12)  # but for rounding
assert slope[1] == 0
assert min(bounds) < mean_resultant_length(torch.tensor(k), 5) < max(bounds)
assert abs(capped[0] - 10.0278) < 5e-5
assert abs(mean_of_bounds - 10.0273) < 5e-5
print("Checked: the logged number is the cap, seen through the mean of the bounds; A lies between them.")

# %% [markdown]
# **A patch.** A library for neutrino telescopes ([@graphnet]) computed $\phi_3$ exactly up to $\kappa=100$,
# and beyond by an approximation, $\sqrt{4+\kappa^2}$ plus a constant that makes the *value* continuous. Learning
# follows the *slope*, and that jumps. Maximum likelihood wants the slope to be $r$, the length of the mean. If $r$ lies
# in the gap, descent is pushed up from the left and down from the right.


# %%
def patched(kappa):
    """phi for m = 3, with an approximation beyond 100."""
    shift = log_partition(torch.tensor(100.0), 3) - math.sqrt(4 + 100**2)
    return torch.where(kappa < 100, log_partition(kappa, 3), torch.sqrt(4 + kappa**2) + shift)


def learn(phi, start, r):
    """Maximum likelihood of kappa by gradient descent in log kappa."""
    log_kappa = torch.tensor(start).log().requires_grad_()
    for _ in range(1000):
        kappa = log_kappa.exp()
        (slope,) = torch.autograd.grad(phi(kappa) - kappa * r, log_kappa)
        log_kappa = (log_kappa - 0.02 * slope).detach().requires_grad_()
    return log_kappa.exp().item()


r, found = mean_resultant_length(torch.tensor(400.0), 3), {}
for start in (20.0, 1000.0):
    found[start] = [learn(phi, start, r) for phi in (lambda kappa: log_partition(kappa, 3), patched)]
    print(f"from {start:4.0f}: exact {found[start][0]:.0f}, patched {found[start][1]:.0f}; the truth is 400")

# %% tags=["picture"]
k = torch.logspace(1, 3.4, 500).requires_grad_()
(slope,) = torch.autograd.grad(patched(k).sum(), k)
k = k.detach()
before, after = mean_resultant_length(torch.tensor(100.0), 3).item(), 100 / math.hypot(2, 100)
figure, axes = plotting.subplots(size=(5.5, 3.1))
axes.loglog(k, mean_resultant_length_complement(k, 3), color=BLUE)
axes.loglog(k, 1 - slope, color=ORANGE, linewidth=2.4, alpha=0.8, zorder=1)
axes.axhline(1 - r, color="0.5", linewidth=0.8, linestyle="--")
axes.plot(400, 1 - r, "o", color=BLUE)
axes.text(11, (1 - r) * 1.15, "the data: 1 - r", color="0.4")
axes.text(430, 3e-3, "exact: κ = 400", color=BLUE)
axes.text(92, 4e-4, "patched", color=ORANGE, ha="right")
axes.set(xlabel="concentration κ", ylabel="1 - slope of φ")
plotting.show(
    figure,
    "**Figure 6.7.** Maximum likelihood for $m=3$ looks for the crossing with the dashed line. The patched $\\phi$ "
    "jumps over it at $\\kappa=100$, and both starts end there.",
    alt=f"The exact curve falls through the dashed line at {1 - r:.4f} at kappa 400. The patched curve drops from "
    f"{1 - before:.4f} to {1 - after:.4f}, below the line, in one vertical step at kappa 100.",
)

# %% tags=["checks"]
for exact, pinned in found.values():
    assert abs(exact - 400) < 1
    assert abs(pinned - 100) < 5
assert torch.isclose(patched(torch.tensor(100.0)), log_partition(torch.tensor(100.0), 3))
assert abs(slope[k < 100][-1] - before) < 2e-4
assert abs(slope[k >= 100][0] - after) < 1e-5
assert abs((after - before) * 100 - 0.98) < 0.02  # kappa A - phi jumps by a nat
wrong = {m: (m / 2 - 1) * math.log(2) for m in (2, 3, 6, 41, 128)}
for m, excess in wrong.items():
    theirs = math.lgamma(m / 2) - m / 2 * math.log(2 * math.pi)
    assert math.isclose(-log_surface_area(m) - theirs, excess, abs_tol=1e-9)
    assert kl(torch.tensor(0.0), m) == 0  # the formula has no surface area in it
    flat = VonMisesFisher(HypersphericalUniform(m).sample(), torch.tensor(0.0))
    estimate = (flat.log_prob(flat.sample((5,))) - theirs).mean()  # every log ratio is the constant
    assert math.isclose(estimate, excess, abs_tol=1e-9)
assert wrong[2] == 0 < min(wrong[m] for m in (3, 6, 41, 128))
assert abs(wrong[41] - 13.5) < 0.05
print("Checked: where both starts end, the jump, and for five m the constant of the next paragraph, and what sees it.")

# %% tags=["words"]
plotting.say(
    f"The slope jumps from {before:.4f} to {after:.4f}. (And $\\kappa A_m-\\phi_m$, were it computed from this "
    f"$\\phi$, by {(after - before) * 100:.2f} nats.)"
)

# %% [markdown]
# **A constant.** [Chapter 2](02_von_mises_fisher.ipynb) has a uniform log density that is $(m/2-1)\log2$ too low (HVAE,
# `svae/vae.py`, line 237). No gradient notices. But every KL that is estimated as the mean of $\log q-\log p$ is too
# high by that much, at $m=41$ by 13.5 nats.
#
# Four tests find all three: KL is 0 at $\kappa=0$, continuous, increasing, with slope $\kappa A_m'$. The constant
# fails the first alone, only if the KL is *estimated*, and only for $m\ne2$: no surface area stands in
# $\kappa A_m-\phi_m$, and at $m=2$ the constant is 0.
#
# ## The library's version
#
# `kl_to_uniform` is `cured_kl` with the two bounded terms tabulated as chapter 3 showed, and $\kappa A_m'$ as its
# gradient. torch's `kl_divergence` finds the formulas for each pair of laws.

# %%
from hvae_tutorial.special import kl_to_uniform

mu1, mu2 = HypersphericalUniform(6).sample((2,))
law1, law2, uniform = VonMisesFisher(mu1, 7.0), VonMisesFisher(mu2, 3.0), HypersphericalUniform(6)
for name, pair in {
    "law1, uniform": (law1, uniform),
    "uniform, law1": (uniform, law1),
    "law1, law2": (law1, law2),
}.items():
    print(f"kl_divergence({name}) = {kl_divergence(*pair):.2f}")

# %% tags=["checks"]
for m in (2, 3, 6, 41, 128):
    k = torch.logspace(-4, 8, 25, requires_grad=True)
    value = kl_to_uniform(k, m)
    (slope,) = torch.autograd.grad(value.sum(), k)
    assert torch.allclose(value, cured_kl(k, m), rtol=1e-7, atol=0)
    assert torch.allclose(slope, k * mean_resultant_length_derivative(k, m), rtol=1e-12)
    assert kl_to_uniform(torch.tensor(0.0), m) == 0
    assert torch.allclose(kl_to_uniform(k.float(), m).double(), value, rtol=1e-6, atol=0)

    mu1, mu2 = HypersphericalUniform(m).sample((2,))
    law1, law2, uniform = VonMisesFisher(mu1, 7.0), VonMisesFisher(mu2, 3.0), HypersphericalUniform(m)
    seven = torch.tensor(7.0)
    assert torch.isclose(kl_divergence(law1, uniform), cured_kl(seven, m))
    assert torch.isclose(kl_divergence(law1, law2), kl_between(7 * mu1, 3 * mu2, m))
    assert torch.isclose(kl_divergence(uniform, law1), log_partition(seven, m))
    assert torch.isclose(law1.entropy(), log_surface_area(m) - cured_kl(seven, m))
print("Checked: values, gradients and float32 for κ from 0.0001 to 100 million, and all pairs, for five m.")

# %% [markdown]
# [Chapter 8](08_s_vae.ipynb) trains with it.
#
# ## Test yourself
#
# **1.** At $d=10$ a posterior becomes half as wide. What does the ELBO lose?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Half the width is four times the $\kappa$: $10\log2\approx7$ nats, if $\kappa$ was large. The reconstruction has to
# gain more.
#
# </details>
#
# **2.** Ten circles, or one $S^{10}$: which has the higher floor?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Ten circles: each pays the floor of the circle, about a fifth of a nat, two nats together. $S^{10}$ pays about
# $1/(2m)=1/22$.
#
# </details>
#
# **3.** A log shows a KL of 12 nats for each of 50,000 images. How much can $z$ tell about which image it was?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# At most $\log50{,}000\approx11$ nats, whatever the sphere. So at least one nat is mismatch.
#
# </details>
#
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/06_kl_divergence.ipynb),
# or in a terminal: `hvae exercise show ch06.1`.

# %% [markdown] tags=["exercise"]
# ch06.1

# %% [markdown] tags=["exercise"]
# ch06.2

# %% [markdown] tags=["exercise"]
# ch06.3

# %% [markdown] tags=["exercise"]
# ch06.4

# %% [markdown]
# ## Summary
#
# 1. $\mathrm{KL}=\kappa A_m-\phi_m$: an integral, the Legendre transform of $\phi_m$, a Bregman gap at the origin.
# 2. Its gradient is $\kappa A_m'$; the von Mises-Fisher law is the cheapest with its mean.
# 3. It is $\kappa^2/(2m)$ when small; when large, half the width costs one bit a dimension. Subtraction loses it at
#    both ends: cancel $\kappa x_0$ on paper.
# 4. The mean KL of a data set is information plus mismatch, the aggregate's own KL: paying is not telling.
# 5. softplus + 1 sets a low floor; a cap at $100\,m$ is too low at $d=2$ and 5; a patch must match slopes too.
#
# ## References
#
# - [@davidson2018] Equation 8 (the divergence), Table 1 (its values).
# - [@banerjee2005bregman] Bregman divergences of exponential families.
# - [@donsker1975] The variational formula.
# - [@belghazi2018] A network as $T$.
# - [@hoffman2016] The two parts of the mean KL.
# - [@ruiz2016] Section 3: the two bounds.
# - [@graphnet] The jump at $\kappa=100$, and its cure in pull request 915.
