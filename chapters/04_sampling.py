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
# **You need**: change of variables; $\phi_m$ and $A_m$ from [chapter 2](02_von_mises_fisher.ipynb), the substitution
# with $x_0$ from [chapter 3](03_bessel.ipynb).
#
# **Time**

# %%
import math

import numpy as np
import torch

from hvae_tutorial import plotting, records
from hvae_tutorial.special import log_partition, mean_resultant_length, mean_resultant_length_complement

torch.set_default_dtype(torch.float64)
torch.manual_seed(4)
BLUE, ORANGE, GREEN, PINK = plotting.CURVE_COLOURS[:4]


def unit(x):
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def phi(m, kappa):
    return log_partition(torch.tensor(kappa), m)


def A(m, kappa):
    return mean_resultant_length(torch.tensor(kappa), m)


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
# the *tangent-normal decomposition*. The directions $v$ form the unit sphere of a space of $m-1$ dimensions.

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5, 3.4))
turn = torch.linspace(0, 2 * math.pi, 200)
tilt, w, at = 0.35, 0.55, -0.6  # how far we look from above; height and longitude of z


def seen(longitude, height):
    """Where a point of the unit sphere is seen, from a little above the equator."""
    radius = np.sqrt(1 - np.square(height))
    return radius * np.cos(longitude), height * math.cos(tilt) + radius * np.sin(longitude) * math.sin(tilt)


axes.plot(torch.cos(turn), torch.sin(turn), color="0.6")
for height, colour in ((0.0, "0.75"), (w, ORANGE)):
    axes.plot(*seen(turn.numpy(), height), color=colour, linewidth=1)
(zx, zy), centre, top = seen(at, w), w * math.cos(tilt), math.cos(tilt)
axes.plot([0, 0], [0, centre], color=BLUE, linewidth=3)
axes.plot([0, zx], [centre, zy], color=ORANGE, linewidth=3)
axes.plot([0, 0], [centre, top], color="0.6", linestyle=":")
axes.plot([0, zx], [0, zy], color="black", linewidth=1)
axes.plot([0, zx], [top, zy], "ko")
axes.text(0.06, 1.02, r"$\mu$")
axes.text(zx + 0.06, zy - 0.02, "$z$")
axes.text(-0.3, 0.04, r"$w\,\mu$", color=BLUE)
axes.text(0.1, 0.6, r"$(1-w^2)^{1/2}\,v$", color=ORANGE)
axes.text(1.0, 0.5, "all directions $v$\nare equally likely", color=ORANGE)
axes.set(aspect="equal", xlim=(-1.1, 2.3), ylim=(-1.1, 1.2))
axes.set_axis_off()
plotting.show(
    figure,
    "**Figure 4.1.** A point $z$ is a height $w$ along $\\mu$ and a step to the side. The points of one height form "
    "the orange circle; in $m$ coordinates, a sphere with $m-2$ dimensions.",
    alt="A sphere with its equator and, higher up, an orange circle of latitude. z lies on that circle; it is the sum "
    "of w mu, along the axis, and of a horizontal arrow of length sqrt(1 - w^2).",
)

# %% [markdown]
# The density $e^{\kappa w-\phi}/S_m$ sees the height and not $v$. Turning the sphere about $\mu$ changes $v$ and
# leaves $w$ and the law as they are. So **$w$ and $v$ are independent, and $v$ is uniform**. The heights of *uniform*
# points have the density $(1-w^2)^{(m-3)/2}/B$, by slices of the sphere ([chapter 2](02_von_mises_fisher.ipynb)). Hence
#
# $$
# f(w)=e^{\kappa w-\phi_m(\kappa)}\,\frac{(1-w^2)^{(m-3)/2}}{B},\qquad
# B=\frac{\sqrt\pi\,\Gamma(\frac{m-1}2)}{\Gamma(\frac m2)}.
# $$
#
# A law on a sphere of any dimension has become a law on an interval.


# %%
def density(w, m, kappa):
    B = math.sqrt(math.pi) * math.exp(math.lgamma((m - 1) / 2) - math.lgamma(m / 2))
    return torch.exp(kappa * w - phi(m, kappa)) * (1 - w**2) ** ((m - 3) / 2) / B


# %% tags=["checks"]
def close(a, b, error=1e-9):
    return bool(torch.as_tensor(a - b).abs().max() < error)


mu, z = unit(torch.randn(2, 6))
w = mu @ z
v = (z - w * mu) / torch.sqrt(1 - w**2)
assert close(v @ mu, 0)
assert close(v.norm(), 1)
for m, kappa in [(3, 1.0), (10, 50.0), (41, 200.0)]:
    theta = torch.linspace(0, math.pi, 20_001)
    mass = density(torch.cos(theta), m, kappa) * torch.sin(theta)
    assert close(torch.trapezoid(mass, theta), 1, 1e-6)
    assert close(torch.trapezoid(mass * torch.cos(theta), theta), A(m, kappa), 1e-6)
print("Checked: v is a unit vector across mu; f integrates to 1, and its mean is A.")

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

# %% [markdown]
# Exact and useless: uniform points rarely hit the cap that matters.
#
# ## Ulrich's envelope: zoom in
#
# [@ulrich1984] takes uniform points and *moves* them towards $\mu$. How do you move all points of a sphere at once,
# without a tear? Flatten it first. Look from the point $-\mu$, opposite to $\mu$, through each point $z$ onto the plane
# through the centre that is orthogonal to $\mu$ (Figure 4.2, left). This is the **stereographic map about $\mu$**. A
# point at the angle $\theta$ from $\mu$ is seen from $-\mu$ under the angle $\theta/2$, by the theorem on inscribed
# angles, and the plane is at distance 1. So it lands at the distance $\tan(\theta/2)$ from the centre. In the plane a
# zoom is easy: multiply all distances by $\sqrt b<1$. Then wrap the plane up again, by the same lines of sight.

# %% tags=["picture"]
figure, panels = plotting.subplots(1, 3, size=(7, 2.6), width_ratios=[1.5, 1, 1])
left, b = panels[0], 0.25
left.plot(torch.cos(turn), torch.sin(turn), color="0.6")
left.plot([-1.45, 2.45], [0, 0], color="0.6", linewidth=0.8)
for theta in (2.15, 1.2):
    start, end = math.tan(theta / 2), math.sqrt(b) * math.tan(theta / 2)
    zoomed = 2 * math.atan(end)
    point, image = (math.sin(theta), math.cos(theta)), (math.sin(zoomed), math.cos(zoomed))
    left.plot(*np.transpose([(0, -1), (start, 0) if theta > math.pi / 2 else point]), color="0.6", linewidth=0.8)
    left.plot(*np.transpose([(0, -1), image]), color=BLUE, linewidth=0.8)
    left.plot(*point, "o", color="0.5")
    left.plot(start, 0, "o", color="0.5", markersize=3)
    left.plot(end, 0, "o", color=BLUE, markersize=3)
    left.plot(*image, "o", color=BLUE)
    left.annotate("", (end, 0), (start, 0), arrowprops={"arrowstyle": "->", "color": ORANGE})
left.plot([0, 0], [1, -1], "ko", markersize=4)
left.text(0, 1.12, r"$\mu$", ha="center")
left.text(0, -1.35, r"$-\mu$", ha="center")
left.text(1.3, 0.13, r"times $b^{1/2}$", color=ORANGE)
left.text(1.95, -0.3, "plane", color="0.4")
left.set(aspect="equal", xlim=(-1.55, 2.5), ylim=(-1.5, 1.35))
points, x0 = unit(torch.randn(700, 3)), (1 - b) / (1 + b)
height = (x0 + points[:, 2]) / (1 + x0 * points[:, 2])
moved = torch.cat([unit(points[:, :2]) * torch.sqrt(1 - height**2)[:, None], height[:, None]], dim=1)
counts = []
for axes, cloud, colour, title in ((panels[1], points, "0.5", "before"), (panels[2], moved, BLUE, "after")):
    front = cloud[cloud[:, 2] > 0]
    counts.append(len(front))
    axes.plot(torch.cos(turn), torch.sin(turn), color="0.6", linewidth=0.8)
    axes.plot(*front[:, :2].T, "o", color=colour, markersize=1.5)
    axes.plot(0, 0, "ko", markersize=4)
    axes.set(aspect="equal", title=title)
for axes in panels:
    axes.set_axis_off()
plotting.show(
    figure,
    f"**Figure 4.2.** The zoom, for $b={b}$. Left: a cut through the sphere. A grey point is seen from $-\\mu$ on the "
    "plane, moved inwards (orange), and seen back on the sphere (blue). Right: the upper half of a sphere with 700 "
    "uniform points, from above $\\mu$, before and after.",
    alt="Left: a circle with mu on top; from -mu at the bottom lines of sight run through two grey points to the "
    "horizontal line, arrows move these inwards, and other lines lead to two blue points closer to mu. Right: of 700 "
    f"points {counts[0]} are on the upper half before the zoom, and {counts[1]} after, crowded around mu.",
)

# %% [markdown]
# In formulas: the half-angle formula says $\tan^2(\theta/2)=\frac{1-\cos\theta}{1+\cos\theta}$. With the height $x$ of
# a uniform point and the height $w$ of the moved one, the zoom reads
#
# $$
# \frac{1-w}{1+w}=b\,\frac{1-x}{1+x}.
# $$
#
# Solve for $w$:
#
# $$
# w=\frac{(1+x)-b\,(1-x)}{(1+x)+b\,(1-x)}=\frac{x_0+x}{1+x_0x},\qquad x_0=\frac{1-b}{1+b}.
# $$
#
# It is the substitution of [chapter 3](03_bessel.ipynb). Most codes write it with $e=(1-x)/2$, where $1-x=2e$ and
# $1+x=2\,(1-e)$:
#
# $$
# w=\frac{1-(1+b)\,e}{1-(1-b)\,e}.
# $$
#
# **The density of the proposals.** Chapter 3 has, with $c=1/(1+x_0x)$,
#
# $$
# 1-w^2=(1-x_0^2)(1-x^2)\,c^2,\qquad dw=(1-x_0^2)\,c^2\,dx.
# $$
#
# Both contain $(1-x_0^2)\,c^2$. Express it by $w$:
#
# $$
# 1-x_0w=\frac{1+x_0x-x_0^2-x_0x}{1+x_0x}=(1-x_0^2)\,c,\qquad\text{so}\quad(1-x_0^2)\,c^2=\frac{(1-x_0w)^2}{1-x_0^2}.
# $$
#
# In $(1-x^2)^{(m-3)/2}\,dx/B$ it enters with the power $-\frac{m-3}2-1=-\frac{m-1}2$:
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
# *In $w$*, $L$ is concave. Its slope $\kappa-(m-1)x_0/(1-x_0w)$ vanishes **at $w=x_0$ itself** if
#
# $$
# \kappa\,(1-x_0^2)=(m-1)\,x_0,\qquad x_0=\frac{2\kappa}{m-1+\sqrt{(m-1)^2+4\kappa^2}}.
# $$
#
# This is chapter 3's $x_0$ once more. Call this value $x_*$. Then $\max_wL(w,x_*)=L(x_*,x_*)$.
#
# *In $x_0$*, at fixed $w=x_*$, the slope is
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
# $s=\sqrt{4\kappa^2+(m-1)^2}$ (cross-multiply, and use $s^2-4\kappa^2=(m-1)^2$),
#
# $$
# b=\frac{1-x_0}{1+x_0}=\frac{m-1+s-2\kappa}{m-1+s+2\kappa}=\frac{m-1}{2\kappa+s}.
# $$
#
# This is the constant of [@wood1994], who corrected Ulrich's published algorithm. Printed formulas can be wrong: that
# is why we derive this one here and test it below. On the circle, $m=2$, it is the sampler of [@best1979], which
# NumPy's and PyTorch's von Mises laws use; their constant $r$ is $1/x_0$.


# %%
def wood(m, kappa):
    b = (m - 1) / (2 * kappa + math.sqrt(4 * kappa**2 + (m - 1) ** 2))
    return b, (1 - b) / (1 + b)


def zoom(x, x0):
    return (x0 + x) / (1 + x0 * x)


def proposal_density(w, m, x0):
    return (1 - x0**2) ** ((m - 1) / 2) / (1 - x0 * w) ** (m - 1) * density(w, m, 0.0)


# %% tags=["picture"]
m, kappa = 5, 3.0
x0 = wood(m, kappa)[1]


def darts(axes, w, rate, proposal):
    grid, heights = torch.linspace(-0.999, 0.999, 201), torch.rand(len(w)) * proposal(w) / rate
    axes.scatter(w, heights, s=4, c=np.where(heights <= density(w, m, kappa), BLUE, "0.75"), linewidths=0)
    axes.plot(grid, proposal(grid) / rate, color="0.35")
    axes.plot(grid, density(grid, m, kappa), color=BLUE, linewidth=2)
    axes.set(xlabel="height $w$", title=f"{rate:.0%} accepted")


def L(w, x0, m, kappa):
    return kappa * w + (m - 1) * torch.log(1 - x0 * w) - (m - 1) / 2 * torch.log1p(-(torch.as_tensor(x0) ** 2))


figure, (left, right) = plotting.subplots(1, 2, size=(7, 3.2))
x = unit(torch.randn(800, m))[:, 0]
rates = [torch.exp(phi(m, kappa) - kappa), torch.exp(phi(m, kappa) - L(torch.tensor(x0), x0, m, kappa))]
darts(left, x, rates[0], lambda w: density(w, m, 0.0))
darts(right, zoom(x, x0), rates[1], lambda w: proposal_density(w, m, x0))
left.set_ylabel("dart's height $u\\,M g(w)$")
left.text(-0.98, 6, "envelope", color="0.35")
right.text(-0.1, 1, "target", color=BLUE)
plotting.show(
    figure,
    "**Figure 4.3.** Each proposal $w$ is a dart at a random height $u\\,Mg(w)$ below the envelope, and is kept if it "
    "lies below the target; $m=5$, $\\kappa=3$. Left: uniform points. Right: zoomed, and another scale.",
    alt=f"Left a tall parabola with few darts below the target: {rates[0]:.0%} are accepted; right an envelope that "
    f"touches the target at w = {x0:.2f}: {rates[1]:.0%} are accepted.",
)

# %% tags=["checks"]
b = wood(m, kappa)[0]
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
assert close(tries[L(peak, tries, m, kappa).argmin()], x0, 1e-3)  # the best is where the formula says
tau = 1 + math.sqrt(1 + 4 * kappa**2)  # Best and Fisher's constants
rho = (tau - math.sqrt(2 * tau)) / (2 * kappa)
assert close(2 * rho / (1 + rho**2), wood(2, kappa)[1])
print("Checked: the zoom in three forms, the density of proposals, the best x0 by search, the r of Best and Fisher.")

# %% [markdown]
# On the course's site, darts fly here: set $m$ and $\kappa$, and compare the share that is kept with the exact rate,
# which comes next. In a notebook, change `m` and `kappa` in the cell of Figure 4.3.

# %% [markdown]
# <div class="explorable" data-explorable="darts"></div>

# %% [markdown]
# ## The acceptance rate, exactly
#
# A proposal is accepted with probability $\exp(L(w,x_0)-L(x_0,x_0))$. Both differences that it contains are known, in
# terms of $c=1/(1+x_0x)$:
#
# $$
# \kappa\,(w-x_0)=(m-1)(1-c)\quad\text{(chapter 3)},\qquad
# \log\frac{1-x_0w}{1-x_0^2}=\log c\quad\text{(above)}.
# $$
#
# Add the first and $m-1$ times the second. With $E_x$ for the mean over heights $x$ of uniform points:
#
# $$
# P(\text{accept}\mid x)=\left(c\,e^{1-c}\right)^{m-1},\qquad\frac1M=E_x\left[(c\,e^{1-c})^{m-1}\right].
# $$
#
# Since $c\,e^{1-c}\le1$, this is a probability at a glance. It needs $\kappa$ through $x_0$ alone, and nothing large
# cancels. And the rate $1/M$ is the function $F_m(x_0)$ from which the library computes $\phi$: **what chapter 3 could
# not cancel on paper is the rate of this sampler.**


# %%
def acceptance(x, x0, m):
    c = 1 / (1 + x0 * x)
    return (c * torch.exp(1 - c)) ** (m - 1)


def acceptance_rate(m, kappa):
    """The expectation over x, by the midpoint rule in its angle."""
    theta = (torch.arange(4000) + 0.5) * math.pi / 4000
    weight = torch.sin(theta) ** (m - 2)
    return weight @ acceptance(torch.cos(theta), wood(m, kappa)[1], m) / weight.sum()


# %% [markdown]
# **How low can the rate fall?** Its logarithm is
#
# $$
# \log\frac1M=\phi_m(\kappa)-H,\qquad H(\kappa,x_0)=L(x_0,x_0)=\kappa x_0+\tfrac{m-1}2\log(1-x_0^2).
# $$
#
# $H$ depends on $\kappa$ in two ways, directly and through $x_0$. But its slope in $x_0$ is
#
# $$
# \frac{\partial H}{\partial x_0}=\kappa-\frac{(m-1)\,x_0}{1-x_0^2}=0,
# $$
#
# by the equation of $x_0$. So only the direct way counts (this is the *envelope theorem*), and
#
# $$
# \frac d{d\kappa}\log\frac1M=A_m(\kappa)-x_0\le0,
# $$
#
# for $A_m\le x_0$ is Amos' bound ([chapter 3](03_bessel.ipynb)). The rate falls with $\kappa$, and its floor is the
# limit $x_0\to1$, $c\to1/(1+x)$. There substitute $q=\frac{1-x}{1+x}$, which runs from $\infty$ to 0:
#
# $$
# x=\frac{1-q}{1+q},\qquad c=\frac{1+q}2,\qquad1-c=\frac{1-q}2,
# $$
#
# $$
# 1-x^2=\frac{4q}{(1+q)^2},\qquad dx=-\frac{2\,dq}{(1+q)^2}.
# $$
#
# In the integral of $c^{m-1}e^{(m-1)(1-c)}(1-x^2)^{(m-3)/2}/B$ all powers of $1+q$ cancel, and of the powers of 2 one
# half is left:
#
# $$
# r_m=\frac1{2B}\int_0^\infty q^{(m-3)/2}\,e^{(m-1)(1-q)/2}\,dq
# =\frac{e^{(m-1)/2}}{2B}\,\Gamma\Bigl(\frac{m-1}2\Bigr)\Bigl(\frac2{m-1}\Bigr)^{(m-1)/2}.
# $$
#
# With $B$ from the first section,
#
# $$
# r_m=\frac{\Gamma(\frac m2)}{2\sqrt\pi}\left(\frac{2e}{m-1}\right)^{(m-1)/2},
# \qquad r_2=\sqrt{\tfrac e{2\pi}},\quad r_3=\tfrac e4,\quad r_\infty=\tfrac1{\sqrt2}.
# $$


# %%
def floor(m):
    power = (m - 1) / 2 * math.log(2 * math.e / (m - 1))
    return math.exp(math.lgamma(m / 2) + power) / (2 * math.sqrt(math.pi))


print(", ".join(f"r_{m} = {floor(m):.3f}" for m in (2, 3, 10, 1000)))

# %% [markdown]
# At worst about two proposals in three are good, in every dimension and at every concentration.
#
# ## A Beta variable from two uniforms
#
# Proposals need $x$, or $e=(1-x)/2$, which is Beta$(\frac{m-1}2,\frac{m-1}2)$. Many codes draw it by another
# rejection. It takes no more than two uniform numbers. On the circle, $m=2$, a coordinate of a uniform point is the
# cosine of a uniform angle. For $m\ge3$ take the first *two* coordinates of a uniform point, $x_1$ and $x_2$. The first
# has the density
#
# $$
# p(x_1)\propto(1-x_1^2)^{(m-3)/2}.
# $$
#
# By the first section, with $\mu$ along the first axis, $x_2=\sqrt{1-x_1^2}\;t$, where $t$ is a coordinate of $v$, a
# uniform point in one dimension less. For $m\ge4$, where $t$ has a density,
#
# $$
# p(t)\propto(1-t^2)^{(m-4)/2}=\left(\frac{1-x_1^2-x_2^2}{1-x_1^2}\right)^{(m-4)/2},\qquad
# dt=\frac{dx_2}{\sqrt{1-x_1^2}}.
# $$
#
# Multiply. The powers of $1-x_1^2$ add up to $\frac{m-3}2-\frac{m-4}2-\frac12=0$:
#
# $$
# p(x_1,x_2)\propto(1-s^2)^{(m-4)/2},\qquad s^2=x_1^2+x_2^2.
# $$
#
# Only $s$ appears: the angle of $(x_1,x_2)$ is uniform. In polar coordinates $dx_1\,dx_2=s\,ds\,d\alpha$, and
# $s\,ds=-\frac12\,d(1-s^2)$. So the density of $1-s^2$ on $(0,1)$ is proportional to its own power $(m-4)/2$, and
#
# $$
# P(1-s^2\le q)=q^{(m-2)/2}.
# $$
#
# Set this to a uniform $u_1$, and take the uniform angle $2\pi u_2$:
#
# $$
# x=s\,\cos(2\pi u_2),\qquad s=\sqrt{1-u_1^{2/(m-2)}}.
# $$
#
# (For $m=3$, $t=\pm1$ has no density, but the result holds: $s=\sqrt{1-u_1^2}$ is what a uniform third coordinate $u_1$
# leaves.) It is Box and Muller's trick on the sphere.


# %%
def uniform_height(m, n, dtype=torch.float64):
    u1, u2 = torch.rand(2, n, dtype=dtype)
    s = torch.sqrt(1 - u1 ** (2 / (m - 2))) if m > 2 else 1
    return s * torch.cos(2 * math.pi * u2)


# %% tags=["picture"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3.2))
ratio = np.geomspace(1e-2, 1e3, 60)
for m, colour in zip((2, 3, 10, 1000), (BLUE, ORANGE, GREEN, PINK), strict=True):
    left.semilogx(ratio, [acceptance_rate(m, k * (m - 1)) for k in ratio], color=colour)
    left.text(1300, {2: 0.645, 3: 0.672, 10: 0.695, 1000: 0.718}[m], f"m = {m}", color=colour)
left.set(xlabel="κ / (m - 1)", ylabel="acceptance rate, computed", xlim=(1e-2, 3e4), yticks=[0.7, 0.8, 0.9, 1])
left.set_xticks([1e-2, 1, 1e2])
n, off = 20_000, []
for m, colour in zip((2, 3, 10, 1000), (BLUE, ORANGE, GREEN, PINK), strict=True):
    for k in np.geomspace(1e-2, 1e3, 11) * (m - 1):
        rate = acceptance_rate(m, k)
        share = (torch.rand(n) < acceptance(uniform_height(m, n), wood(m, k)[1], m)).double().mean()
        off.append(float((share - rate) / torch.sqrt(rate * (1 - rate) / n)))
        right.semilogx(k / (m - 1), off[-1], "o", color=colour, markersize=3)
right.set(xlabel="κ / (m - 1)", ylabel="measured - computed\n(standard errors)", yticks=[-3, -2, -1, 0, 1, 2, 3])
plotting.show(
    figure,
    "**Figure 4.4.** Left: the acceptance rate. Right: the rate measured with 20,000 proposals, less the computed one, "
    "in standard errors.",
    alt="Left: four curves fall together from 1 to their floors near 0.7, between kappa = 0.1 and 10 times m - 1. "
    f"Right: {len(off)} dots scatter evenly about 0; the largest is {max(map(abs, off)):.1f} standard errors off.",
)

# %% tags=["checks"]
x = torch.linspace(-1, 1, 101)
for m, kappa in [(2, 0.1), (3, 5.0), (10, 50.0), (200, 30.0)]:
    x0 = wood(m, kappa)[1]
    best = L(torch.tensor(x0), x0, m, kappa)
    assert close(acceptance(x, x0, m), torch.exp(L(zoom(x, x0), x0, m, kappa) - best))
    by_phi = torch.exp(phi(m, kappa) - kappa * x0) * (1 - x0**2) ** (-(m - 1) / 2)
    assert close(acceptance_rate(m, kappa), by_phi, 1e-5)
    slope = torch.log(acceptance_rate(m, kappa + 1e-3) / acceptance_rate(m, kappa - 1e-3)) / 2e-3
    assert close(slope, A(m, kappa) - x0, 1e-4)
    assert A(m, kappa) <= x0
    assert close(acceptance_rate(m, 1e9), floor(m), 1e-5)
assert close(floor(2), math.sqrt(math.e / 2 / math.pi))
assert close(floor(3), math.e / 4)
assert close(floor(10**6), math.sqrt(0.5), 1e-6)
assert 0.65 < floor(2) < 2 / 3
for m in (2, 3, 4, 41):
    x4 = uniform_height(m, 100_000) ** 4
    assert close(x4.mean(), 3 / (m * (m + 2)), 4 * x4.std() / math.sqrt(100_000))  # a Beta variable's
assert max(map(abs, off)) < 4.2  # 44 comparisons; a false alarm in one run of a thousand
print("Checked: the acceptance probability, its mean by two ways, its slope, its floor; a moment of the Beta variable.")

# %% [markdown]
# What counts is $\kappa/(m-1)$, how sharp the law is for its dimension. The middle of the fall is near 1, and the
# dimension itself hardly matters.
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


def sample(mu, kappa, n):
    y, g = draw_y(len(mu), kappa, n)[:, None], torch.randn(n, len(mu))
    v = unit(g - (g @ mu)[:, None] * mu)
    return (1 - y) * mu + torch.sqrt(y * (2 - y)) * v


# %% tags=["checks"]
x, (b, x0) = torch.linspace(-1, 1, 11), wood(5, 8.0)
assert close(2 * b / (1 + b) * (1 - x) / (1 + x0 * x), 1 - zoom(x, x0))
n = 100_000
z = sample(mu, 10.0, n)
assert close(torch.linalg.vector_norm(z, dim=-1), 1)
assert close((z - mu).square().sum(-1), 2 * (1 - z @ mu))
assert close(z.mean(0), A(6, 10.0) * mu, 5 / math.sqrt(n))  # over five standard errors
print("Checked: y without subtraction, unit vectors, and the mean A mu of 100,000 samples.")

# %% [markdown]
# **Or turn with a mirror.** One may also draw about the first axis $e_1$, where tangent vectors begin with a zero, and
# carry the result to $\mu$. Householder's reflection swaps the two:
#
# $$
# H=I-2\,uu^\top,\qquad u=\frac{e_1-\mu}{|e_1-\mu|}.
# $$
#
# At $\mu=e_1$ it divides zero by zero: Distributions.jl gave NaN there for years (issues 1423, 1464 and 2018), and
# so did TensorFlow Probability (issue 1211). The authors of the S-VAE paper add a small number (`s-vae-pytorch`, commit
# 671c46c, `von_mises_fisher.py`, line 172):
#
# ```python
# u = u / (u.norm(dim=-1, keepdim=True) + 1e-5)
# ```
#
# So do pythae (`1e-8`, version 0.1.2, `svae_model.py`, line 162) and a proposed cure for Distributions.jl (pull request
# 1918). But *near* $e_1$ this $u$ is shorter than one, and $H$ is no mirror: points leave the sphere.


# %%
def reflect(points, a, epsilon=0.0):
    u = a / (torch.linalg.vector_norm(a) + epsilon)
    return points - 2 * (points @ u)[:, None] * u


def off_sphere(a, epsilon=0.0):
    z = reflect(unit(torch.randn(200, len(a))), a, epsilon)
    return float((torch.linalg.vector_norm(z, dim=-1) - 1).abs().max())


e1 = torch.eye(3)[0]
for gap in (1e-2, 1e-4, 1e-5):
    error = off_sphere(e1 - unit(torch.tensor([1.0, gap, 0.0])), epsilon=1e-5)
    print(f"mu {gap:.0e} from e1: samples up to {error:.0e} off the sphere with 1e-5 added")

# %% [markdown]
# LAPACK, the common library of linear algebra, picks, of the mirrors that carry $e_1$ to $\mu$ or to $-\mu$, the one
# without cancellation:
#
# $$
# a=\mu+\sigma e_1,\qquad\sigma=\operatorname{sign}\mu_1\;(1\text{ at }0),\qquad|a|^2=2\,(1+|\mu_1|)\ge2.
# $$
#
# As $a\cdot\mu=1+|\mu_1|$ is half of $|a|^2$, we get $H\mu=\mu-a=-\sigma e_1$, and $H$ carries $-\sigma e_1$ back to
# $\mu$. So begin at height $w$ on the axis $-\sigma e_1$.


# %% tags=["checks"]
def lapack(mu):
    """Axis -sigma e1, and a vector a whose mirror carries it to mu."""
    axis = -torch.eye(len(mu))[0] * math.copysign(1, mu[0])
    return axis, mu - axis


axis, a = lapack(mu)
assert close(a @ a, 2 * (1 + abs(mu[0])))
assert close(reflect(axis[None], a), mu)
assert math.isnan(off_sphere(e1 - e1))
assert off_sphere(lapack(e1)[1]) < 1e-14
for gap in (1e-2, 1e-4, 1e-5):
    near = unit(torch.tensor([1.0, gap, 0.0]))
    assert off_sphere(lapack(near)[1]) < 1e-14
assert off_sphere(e1 - near, 1e-5) > 0.3
print("Checked: the mirror of LAPACK carries its axis to mu and keeps norms, at e1 and near it, where the patch fails.")

# %% [markdown]
# ## Is it right? The Kolmogorov-Smirnov test
#
# A wrong sampler looks right. A test needs something that is known whatever the law is. Put each sample into its own
# distribution function $F$. For a continuous law and $0<q<1$,
#
# $$
# P\bigl(F(y)\le q\bigr)=P\bigl(y\le F^{-1}(q)\bigr)=F\bigl(F^{-1}(q)\bigr)=q:
# $$
#
# **$F(y)$ is uniform.** This is the *probability integral transform*. So one test serves all laws: are the $F(y_i)$
# uniform? Compare the share $F_n(y)$ of samples up to $y$ with $F(y)$ where they differ most:
#
# $$
# D=\max_y|F_n(y)-F(y)|.
# $$
#
# At fixed $y$, $F_n$ is the mean of $n$ coin flips, with standard error at most $1/(2\sqrt n)$. So $\sqrt n\,D$ is of
# order one for an exact sampler; a fault makes it grow like $\sqrt n$. [@massart1990] proved
#
# $$
# P(\sqrt n\,D>t)\le2e^{-2t^2}.
# $$
#
# We borrow this bound, and check it. For $k$ tests, with a false alarm in one run of a thousand,
# solve $2ke^{-2t^2}=10^{-3}$.


# %%
def marginal(m, kappa):
    """Angles, and the distribution function there, by the trapezoidal rule."""
    end = min(math.pi, 1.6 * (math.sqrt(m) + 8) / math.sqrt(max(kappa, 1)))  # beyond, nothing is left
    theta = torch.linspace(0, end, 20_001)
    log_f = torch.xlogy(torch.tensor(m - 2.0), torch.sin(theta)) - 2 * kappa * torch.sin(theta / 2) ** 2
    cdf = torch.cumulative_trapezoid(torch.exp(log_f - log_f.max()), theta)
    return theta, torch.cat([torch.zeros(1), cdf]) / cdf[-1]


def transform(y, m, kappa):
    """F(y), sorted."""
    return np.interp(np.sort(2 * np.arcsin(np.sqrt(np.asarray(y) / 2))), *marginal(m, kappa))


def ks(y, m, kappa):
    """sqrt(n) D: F_n is i/n just after the i-th sample, and (i-1)/n just before."""
    F, n = transform(y, m, kappa), len(y)
    steps = np.arange(n + 1) / n
    return math.sqrt(n) * max((steps[1:] - F).max(), (F - steps[:-1]).max())


def distance(m, kappa, draw):
    """The statistic of 10,000 points about a random direction."""
    mu = unit(torch.randn(m))
    return ks((draw(mu, kappa, 10_000) - mu).square().sum(-1) / 2, m, kappa)


cases = [(m, kappa) for m in (2, 3, 4, 10, 41, 300) for kappa in (0.1, 5.0, 100.0, 1e4)]
limit = math.sqrt(math.log(2 * len(cases) / 1e-3) / 2)
values = [distance(*case, sample) for case in cases]
print(f"{len(cases)} laws: sqrt(n) D is at most {max(values):.1f}, limit {limit:.1f}")

# %% tags=["checks"]
uniform = np.array([ks(2 * torch.rand(100), 3, 0.0) for _ in range(2000)])  # y is uniform for m = 3, kappa = 0
assert (uniform > 1.3).mean() < 0.08  # the bound is 0.068, the standard error 0.006
assert max(values) < limit
assert ks(propose(10, 50.0, 10_000)[0], 10, 50.0) > 4 * limit  # without rejection: the test can fail
print("Checked: the bound of Massart at 1.3, our sampler at 24 laws; the proposals without rejection fail by far.")

# %% [markdown]
# Fine faults need many samples. On the circle, draw the angle from a normal law instead, with the $\sigma$ that gives
# $w$ the right mean ($E\cos\theta=e^{-\sigma^2/2}$):

# %% tags=["picture"]
n, kappa = 100_000, 5.0
sigma = math.sqrt(-2 * math.log(A(2, kappa)))
wrapped, exact = 1 - torch.cos(sigma * torch.randn(n)), draw_y(2, kappa, n)
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3))
right.axhspan(-limit, limit, color="0.5", alpha=0.15)
for y, colour in ((wrapped, ORANGE), (exact, BLUE)):
    F = transform(y, 2, kappa)
    left.stairs(*np.histogram(F, bins=20, range=(0, 1), density=True), baseline=None, color=colour)
    right.plot(F[::50], math.sqrt(n) * (np.arange(1, n + 1) / n - F)[::50], color=colour)
left.set(xlabel="$F(y)$", ylabel="density of $F(y_i)$")
left.text(0.05, 1.05, "wrapped normal", color=ORANGE)
left.text(0.05, 1.035, "rejection", color=BLUE)
right.set(xlabel="$F(y)$", ylabel="$\\sqrt{n}\\,(F_n - F)$", xlim=(0, 1))
values = ks(wrapped, 2, kappa), ks(exact, 2, kappa)
plotting.show(
    figure,
    "**Figure 4.5.** Two samplers at $m=2$, $\\kappa=5$, 100,000 samples each. Left: the transforms; uniform is 1. "
    "Right: their distribution function, less that of the uniform law. The exact sampler stays within the limit "
    "above (grey).",
    alt="Left: the histogram of the rejection sampler is flat, that of the wrapped normal law bends by some percent. "
    f"Right: sqrt(n) D is {values[1]:.1f} for the rejection sampler and {values[0]:.1f} for the wrapped normal law; "
    f"the limit is {limit:.1f}.",
)

# %% tags=["checks"]
assert ks(exact, 2, kappa) < limit < ks(wrapped, 2, kappa)
print("Checked: the exact sampler passes, and the wrapped normal law of the right mean fails.")

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
# This law has a name. It is the **spherical Cauchy law** of [@kato2020, equation 2], who write
# $x_0=2\rho/(1+\rho^2)$; on the circle it is the wrapped Cauchy law. It has become a rival of the von Mises-Fisher law
# in auto-encoders, because it needs no rejection: see [@sablica2025]. In this light Ulrich's sampler says:
# **a von Mises-Fisher sample is a spherical Cauchy sample that was kept.** Here the spherical Cauchy law is named by
# the $\kappa$ that its $x_0$ belongs to.


# %%
def spherical_cauchy(mu, kappa, n):
    x = unit(torch.randn(n, len(mu)))  # uniform points; their height is x @ mu
    w = zoom(x @ mu, wood(len(mu), kappa)[1])
    v = unit(x - (x @ mu)[:, None] * mu)
    return w[:, None] * mu + torch.sqrt(1 - w**2)[:, None] * v


# %% tags=["picture"]
m, kappa = 6, 12.0
angle = torch.linspace(0.002, math.pi - 0.002, 500)
w = torch.cos(angle)
flat = density(w, m, 0.0)
envelope, target = proposal_density(w, m, wood(m, kappa)[1]) / flat, density(w, m, kappa) / flat
figure, axes = plotting.subplots(size=(5.5, 3.2))
axes.semilogy(torch.rad2deg(angle), envelope, color=ORANGE)
axes.semilogy(torch.rad2deg(angle), target, color=BLUE)
axes.text(95, 0.4, "spherical Cauchy", color=ORANGE)
axes.text(84, 1e-5, "von Mises-Fisher", color=BLUE, ha="right")
axes.set(xlabel="angle to $\\mu$ (degrees)", ylabel="density / uniform", xticks=[0, 60, 120, 180])
crossings = torch.rad2deg(angle[1:][(envelope > target).diff()])
plotting.show(
    figure,
    "**Figure 4.6.** Envelope and target as laws on the sphere, $m=6$, $\\kappa=12$.",
    alt=f"At the mode the spherical Cauchy density is {envelope[0] / target[0]:.1f} times the von Mises-Fisher one. "
    f"From {crossings[0]:.0f} to {crossings[1]:.0f} degrees it is lower, by up to {1 - (envelope / target).min():.0%}. "
    f"Farther out it is higher, at 180 degrees by a factor of {envelope[-1] / target[-1]:,.0f}.",
)

# %% tags=["checks"]
n, mu = 100_000, unit(torch.randn(m))
b, x0 = wood(m, kappa)
z = spherical_cauchy(mu, kappa, n)
x = (z @ mu - x0) / (1 - x0 * (z @ mu))
kept = torch.rand(n) < acceptance(x, x0, m)
assert ks(1 - z[kept] @ mu, m, kappa) < limit < ks(1 - z @ mu, m, kappa)  # keeping some makes the other law
assert close(kept.double().mean(), acceptance_rate(m, kappa), 5 / math.sqrt(4 * n))
scale = (m - 1) / 2e5  # at kappa = 1e5
assert close((1 - spherical_cauchy(mu, 1e5, n) @ mu).median() / scale, 1, 0.03)
assert close((1 - A(m, 1e5)) / scale, 1, 0.01)
assert len(crossings) == 2
assert close((envelope / target).min(), acceptance_rate(m, kappa), 1e-4)  # where they touch, if scaled by M
print("Checked: spherical Cauchy samples that were kept pass the test for von Mises-Fisher, all of them do not.")

# %% [markdown]
# At one $\kappa$ both laws have the same scale near $\mu$: for large $\kappa$ the median of $1-w$ under the spherical
# Cauchy law and its mean under the von Mises-Fisher law are $\frac{m-1}{2\kappa}$. Far out they part. The von
# Mises-Fisher density falls off exponentially in $1-w$, the other like a power.
#
# ## The trap: five samplers that fail
#
# **One: a difference of large numbers.** Many codes write
#
# $$
# b=\frac{-2\kappa+\sqrt{4\kappa^2+(m-1)^2}}{m-1},
# $$
#
# equal on paper (pythae 0.1.2, `svae_model.py`, line 172; `raphaelrubrice/HVAE`, a reproduction of the paper, commit
# f394bd1, `svae/sampling.py`, lines 27 and 112; SciPy 1.17.1 in float64, `_multivariate.py`, `_rejection_sampling`,
# with another formula where the result is exactly 0). The difference is about $(m-1)^2/4\kappa$. In float32 $2\kappa$
# is rounded by a few $10^{-8}$ of itself, so it can be lost once $\kappa$ exceeds $m-1$ by a factor of about 1,500, and
# is lost from twice that on:


# %%
def cancelling_b(m, kappa, dtype=torch.float32):
    kappa = torch.tensor(kappa, dtype=dtype)
    return (-2 * kappa + torch.sqrt(4 * kappa**2 + (m - 1) ** 2)) / (m - 1)


for m in (3, 5, 11, 41):
    kappas = np.geomspace(1e2, 1e6, 4001)
    lost = np.array([cancelling_b(m, kappa).item() == 0 for kappa in kappas])
    first, last = kappas[lost][0] / (m - 1), kappas[~lost][-1] / (m - 1)
    print(f"m = {m:2}: b is 0 for many kappa from {first:,.0f} times m - 1 on, for all from {last:,.0f} times")
b, exact_b = cancelling_b(11, 1e4), wood(11, 1e4)[0]
double = cancelling_b(4, 1e8, torch.float64) / wood(4, 1e8)[0]
print(f"m = 11, kappa = 1e4: b is off by {b / exact_b - 1:.0%}; float64, m = 4, kappa = 1e8: {double - 1:.0%}")

# %% [markdown]
# With $b=0$ each proposal is at $w=1$, the test reads $\infty-\infty$, nothing is accepted, and a loop without a bound
# never ends. Before that it is worse: samples do come, of a wrong law.


# %% tags=["picture", "nbval-ignore-output"]
def textbook(m, kappa, b, n=20_000):
    """Wood's steps in float32: heights, and which are accepted."""
    e, kappa = (1 - uniform_height(m, n, torch.float32)) / 2, torch.tensor(kappa, dtype=torch.float32)
    w, x0 = (1 - (1 + b) * e) / (1 - (1 - b) * e), (1 - b) / (1 + b)
    c = kappa * x0 + (m - 1) * torch.log(1 - x0**2)
    return w, kappa * w + (m - 1) * torch.log(1 - x0 * w) - c >= torch.log(torch.rand(n))


kappas = np.geomspace(1e2, 1e8, 49)
stable = {k: torch.tensor(wood(5, k)[0], dtype=torch.float32) for k in kappas}
units = np.array([float(1 - (1 - b) / (1 + b)) * 2**24 for b in stable.values()])  # of 1 - x0 in float32
ways = [
    [textbook(5, k, cancelling_b(5, k))[1], textbook(5, k, stable[k])[1], propose(5, k, 20_000, torch.float32)[1]]
    for k in kappas
]
rates = np.array([[accepted.double().mean() for accepted in way] for way in ways])
figure, axes = plotting.subplots(size=(6, 3.2))
for rate, colour in zip(rates.T, (ORANGE, GREEN, BLUE), strict=True):
    axes.semilogx(kappas, rate, color=colour)
axes.text(1.4e4, 0.1, "cancelling b", color=ORANGE)
axes.text(6e6, 0.25, "stable b,\nstored w", color=GREEN, ha="right")
axes.text(1.3e8, 0.66, "with y", color=BLUE)
axes.set(xlabel="concentration κ", ylabel="accepted in float32", xlim=(70, 1.5e9), yticks=[0, 0.5, 1])
axes.set_xticks([1e2, 1e4, 1e6, 1e8])
beyond = rates[kappas > 1e6, 1]
low, high = beyond[beyond > 0].min(), beyond.max()
million, ten_million = (units[np.argmin(abs(kappas - k))] for k in (1e6, 1e7))
true_units = [2**25 * b / (1 + b) for b in (wood(5, k)[0] for k in (1e6, 1e7))]
gone = [kappas[np.argmax(column == 0)] for column in rates.T[:2]]
plotting.show(
    figure,
    "**Figure 4.7.** One formula written in three ways, $m=5$. It should be a level line.",
    alt=f"All three begin at 0.7. With the cancelling b the rate falls to 0 at kappa = {gone[0]:.0e}. With the stable "
    f"b it goes down to {low:.2f}, up to {high:.2f} at {kappas[rates[:, 1].argmax()]:.0e}, and to 0 at {gone[1]:.0e}. "
    "With y it stays level.",
)
plotting.say(
    f"The green line is as telling. Its $b$ is right, but $x_0$ and $w$ are stored as numbers just below 1, in units "
    f"of $2^{{-24}}$. Between $x_0$ and 1 there should be {true_units[0]:.1f} such units at $\\kappa=10^6$, and "
    f"{true_units[1]:.1f} at $10^7$; stored are {million:.0f} and {ten_million:.0f}. Where $x_0$ is rounded "
    "to the wrong unit, the log acceptance is shifted, by order one: downwards, and the rate drops to "
    f"{low:.2f}; or upwards, above zero, and it rises to {high:.2f}, since too much is kept. From "
    f"$\\kappa={gone[1] / 1e7:.0f}\\cdot10^7$ on, $x_0$ is 1. Carrying $y$ avoids all of it."
)

# %% tags=["checks"]
assert rates[kappas > 1.1e4, 0].max() == 0
assert rates[-1, 1] == 0
assert rates[:, 2].min() > 0.67
assert low < 0.5 < 0.9 < high
assert np.all(abs(np.subtract(true_units, [million, ten_million])) > 0.5)  # both are rounded to the wrong unit
assert 0.75 < b / exact_b < 0.81
w, accepted = textbook(11, 1e4, b, 200_000)
assert ks(1 - w[accepted].double(), 11, 1e4) > 2 * limit
print("Checked: the three rates; with the cancelling b at m = 11, kappa = 1e4 the law is wrong by our test.")

# %% [markdown]
# **Two: NaN, and the loop that waits for it.** In float32 $w$ can round to 1, where $\sqrt{1-w^2}$ has an infinite
# slope. A step later the weights are NaN, then $\kappa$ (`s-vae-pytorch`, issue 1, cured by a clamp in pull request
# 8; pythae, pull request 79). `s-vae-tf`, commit b05e8e2, line 150, has no clamp; its issue 3 reports NaN without
# naming a cause. Comparisons with NaN are false, so nothing is accepted any more, and training hangs without a
# message. PyTorch's own `VonMises` hung, for small $\kappa$ in float32 (issue 88443). Bound the rounds, and name the
# culprit. pythae does bound them, at 100, and then returns $w=0$ for what was not accepted (lines 179 to 209): points
# on the equator, without a message.
#
# **Three: a normal law of standard deviation $1/\kappa$ on the circle** (HVAE, `svae/sampling.py`, lines 20 and 80).
# Near $\mu$ the density is $e^{-\kappa\theta^2/2}$: it should be $1/\sqrt\kappa$.
#
# **Four: the mirror at $e_1$**, and its patch: see above.

# %%
wrapped = torch.cos(torch.randn(100_000) / 5)
print(f"kappa = 5: mean of w {wrapped.mean():.2f} with 1/kappa, should be {A(2, 5.0):.2f}")

# %% [markdown]
# **Five: half of a formula replaced.** Both public releases of the paper [@davidson2018] know of trap one
# (`s-vae-pytorch`, commit 671c46c, `von_mises_fisher.py`, lines 88 to 100; `s-vae-tf`, commit b05e8e2, lines 163 to
# 169). Above $\kappa=10$ they pass from $b$ to its limit for large $\kappa$, $\frac{m-1}{4\kappa}$, which they have
# reached at $11$. But that is good for $\kappa\gg m$ only. And their test of a proposal, the paper's rewriting of
# Wood's, has more letters, whose formulas stay those of the exact $b$, with $s=\sqrt{4\kappa^2+(m-1)^2}$ once more.
# (The paper writes $d$ for $\delta$; here $d$ is the dimension.)
#
# $$
# a=\frac{m-1+2\kappa+s}4,\qquad t=\frac{2ab}{1-(1-b)e},\qquad\delta=\frac{4ab}{1+b}-(m-1)\log(m-1).
# $$
#
# The code accepts with probability $\exp((m-1)\log t-t+\delta)$. With the exact $b$, $4a=(1+b)(2\kappa+s)$, and so
# $\frac{4ab}{1+b}=m-1$. The denominator of $t$ is $1-(1-b)e=\frac12(1+b)(1+x_0x)$, and so $t=(m-1)\,c$: this is our
# $(c\,e^{1-c})^{m-1}$. With another $b$ neither holds.


# %%
def public_heights(m, kappa, n):
    """Heights as both public releases draw them, and the largest log acceptance."""
    s, approximate = math.hypot(m - 1, 2 * kappa), (m - 1) / (4 * kappa)
    share = min(max(kappa - 10, 0), 1)
    b = share * approximate + (1 - share) * wood(m, kappa)[0]
    a, e = (m - 1 + 2 * kappa + s) / 4, (1 - uniform_height(m, n)) / 2
    t, delta = 2 * a * b / (1 - (1 - b) * e), 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    log_accept = (m - 1) * torch.log(t) - t + delta
    kept = torch.log(torch.rand(n)) < log_accept
    return ((1 - (1 + b) * e) / (1 - (1 - b) * e))[kept], log_accept.max()


for m, kappa in [(6, 12.0), (21, 12.0), (41, 10.0), (41, 12.0), (51, 11.0), (41, 100.0)]:
    w, highest = public_heights(m, kappa, 100_000)
    print(
        f"m = {m:2}, kappa = {kappa:3.0f}: mean of w {w.mean():6.3f}, should be {A(m, kappa):.3f}; sqrt(n) D = "
        f"{ks(1 - w, m, kappa):.0f}; largest 'probability' {highest.exp():.3g}"
    )

# %% [markdown]
# Our test finds it, and the last column says why. The limit is larger than the exact $b$, so the proposals are zoomed
# less than the other constants assume. The "probability" exceeds one. A program takes it for one and keeps too many. At
# $m=41$, $\kappa=12$ it keeps nearly all, and they have almost the law of the proposals. At $m=51$, $\kappa=11$ the
# limit is $50/44>1$: the zoom is away from $\mu$. In few dimensions the fault is there too (1.05 at $m=6$), but it is
# too small for 100,000 samples; and few dimensions are where one looks first.

# %% tags=["picture"]
grid = np.concatenate([np.linspace(5, 10, 11), np.linspace(10.1, 11, 10), np.linspace(12, 40, 29)])
figure, axes = plotting.subplots(size=(5.5, 3.4))
lowest = {}
for m, colour in zip((6, 21, 41, 51), (PINK, GREEN, ORANGE, BLUE), strict=True):
    means = np.array([public_heights(m, k, 40_000)[0].mean() for k in grid])
    truth = np.array([A(m, k) for k in grid])
    axes.plot(grid, truth, color=colour, linestyle=":")
    axes.plot(grid, means, color=colour)
    axes.text(40.8, means[-1], f"m = {m}", color=colour, va="center")
    lowest[m] = means[grid > 10].min()
axes.axhline(0, color="0.6", linewidth=0.8)
axes.set(xlabel="concentration κ", ylabel="mean height of the samples", xlim=(4, 48), xticks=[10, 20, 30, 40])
plotting.show(
    figure,
    "**Figure 4.8.** The mean of $w$ by the public sampler (lines) and by the law (dotted).",
    alt="For m = 6 the lines agree. For m = 21, 41 and 51 the sampler's mean drops between kappa = 10 and 11, to "
    f"{lowest[21]:.2f}, {lowest[41]:.2f} and {lowest[51]:.2f}, and climbs back towards the law's only slowly.",
)

# %% [markdown]
# From $m=14$ on the samples of $\kappa=11$ are less concentrated than those of $\kappa=10$. This is a **barrier**: an
# encoder that asks for more gets less. What does it do to training? The records of the course have S-VAEs on 5,000
# MNIST images, ten seeds and more, with our sampler and with theirs (its law and its gradient). A run has *passed* when
# its mean KL on the validation images reaches that of $\kappa=22$, twice the $\kappa$ where the barrier is deepest,
# and ends there; *stuck* means that it never did. The p of Fisher's exact test says how probable so uneven a split is
# if the sampler does not matter.

# %%
from scipy.stats import fisher_exact


def load_runs(d, model, **changed):
    """Recorded runs, and those of them that are stuck."""
    settings = {"d": d, "model": model, "until": "decided", "warmup_epochs": 50, "initial_bias": 0.0, **changed}
    runs = records.load(experiment="barrier", data="mnist-5k", **settings)
    return runs, [run for run in runs if max(run.history["validation_kl"]) < run.results["barrier_kl"]]


for d in (20, 30, 40, 60):
    theirs, ours = ([len(stuck), len(runs) - len(stuck)] for runs, stuck in map(load_runs, (d, d), ("s-clip", "s")))
    print(
        f"d = {d}: stuck with their sampler {theirs[0]} of {sum(theirs)}, with ours {ours[0]} of {sum(ours)}, "
        f"Fisher's exact test p = {fisher_exact([theirs, ours]).pvalue:.1g}"
    )

# %% tags=["words"]
runs, stuck = load_runs(40, "s-clip")
cold, above = load_runs(40, "s-clip", warmup_epochs=0), load_runs(40, "s-clip", initial_bias=20.0)
concentrations = [run.results["median_concentration"] for run in stuck]
epochs = min(run.training["epochs"] for run in stuck)
plotting.say(
    f"The {len(stuck)} runs that are stuck at $d=40$ have trained for {epochs} epochs or more. Their median $\\kappa$ "
    f"is between {min(concentrations):.1f} and {max(concentrations):.1f}: just below the barrier. Without warm-up "
    f"{len(cold[1])} of {len(cold[0])} are stuck after {max(run.training['epochs'] for run in cold[1])} epochs. Of "
    f"{len(above[0])} runs that *begin* above the barrier, at $\\kappa\\approx{1 + math.log1p(math.exp(20)):.0f}$, "
    f"{len(above[0]) - len(above[1])} have passed after one epoch."
)

# %% tags=["checks"]
counts = {20: (10, 0), 30: (10, 0), 40: (30, 10), 60: (10, 10)}  # runs, and those that are stuck
assert {d: tuple(map(len, load_runs(d, "s-clip"))) for d in counts} == counts
assert not any(load_runs(d, "s")[1] for d in counts)
assert tuple(map(len, load_runs(40, "s-path"))) == (30, 0)  # our law, their gradient
assert (len(cold[0]), len(above[0])) == (10, 10)
assert {run.training["epochs"] for run in above[0]} == {1}
for m, kappa in [(6, 12.0), (21, 12.0), (41, 10.0), (41, 12.0), (51, 11.0), (41, 100.0)]:
    w, highest = public_heights(m, kappa, 100_000)
    assert (ks(1 - w, m, kappa) > limit) == (m > 6 and kappa > 10)
    assert (highest > 1) == (m > 20 and 10 < kappa < 100)
assert 1.045 < public_heights(6, 12.0, 100_000)[1].exp() < 1.055
for m, kappa in [(2, 3.0), (6, 12.0), (41, 12.0)]:  # the paper's letters with the exact b
    b, x0 = wood(m, kappa)
    s, x = math.hypot(m - 1, 2 * kappa), torch.linspace(-1, 1, 11)
    a, e = (m - 1 + 2 * kappa + s) / 4, (1 - x) / 2
    assert close(4 * a, (1 + b) * (2 * kappa + s))
    assert close(4 * a * b / (1 + b), m - 1)
    assert close(1 - (1 - b) * e, (1 + b) * (1 + x0 * x) / 2)
    assert close(2 * a * b / (1 - (1 - b) * e), (m - 1) / (1 + x0 * x))
kept = public_heights(41, 12.0, 200_000)[0]
assert len(kept) > 198_000  # nearly all
assert close(kept.mean(), 0.088, 0.003)


def public_mean(m, kappa):
    """The mean of w in the law of `public_heights`, by the midpoint rule in the angle of x."""
    angle, share = (torch.arange(4000) + 0.5) * math.pi / 4000, min(max(kappa - 10, 0), 1)
    b = share * (m - 1) / (4 * kappa) + (1 - share) * wood(m, kappa)[0]
    a, e = (m - 1 + 2 * kappa + math.hypot(m - 1, 2 * kappa)) / 4, (1 - torch.cos(angle)) / 2
    t, delta = 2 * a * b / (1 - (1 - b) * e), 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    weight = torch.sin(angle) ** (m - 2) * torch.exp(((m - 1) * torch.log(t) - t + delta).clamp(max=0))
    return (weight @ ((1 - (1 + b) * e) / (1 - (1 - b) * e)) / weight.sum()).item()


assert [m for m in range(2, 62) if public_mean(m, 11.0) < A(m, 10.0)] == list(range(14, 62))
above_10 = [*np.linspace(10, 12, 41).round(2), *np.linspace(12.5, 40, 56)]
assert all(min(above_10, key=lambda kappa: public_mean(m, kappa)) == 11 for m in (21, 31, 41, 51))  # the deepest place
for d, model in [(20, "s"), (20, "s-clip"), (30, "s"), (30, "s-clip")]:  # all pass within the first epoch
    assert all(run.history["validation_kl"][0] >= run.results["barrier_kl"] for run in load_runs(d, model)[0])
assert close(public_mean(41, 12.0), 0.088, 0.001)
assert public_heights(51, 11.0, 200_000)[0].mean() < 0  # the samples point away from mu
assert close(wrapped.mean(), math.exp(-((1 / 5) ** 2) / 2), 5 * wrapped.std() / math.sqrt(100_000))
w = textbook(5, 1e7, stable[kappas[np.argmin(abs(kappas - 1e7))]])[0].max().requires_grad_()
torch.sqrt(1 - w**2).backward()
assert w == 1
assert w.grad.isinf()
assert not propose(5, math.nan, 1000)[1].any()
print(
    "Checked: traps two, three and five; where the barrier is; how many are stuck; at d = 20 and 30 "
    "all pass in the first epoch, at d = 60 none with their sampler and all with ours."
)

# %% [markdown]
# At $d=60$, where samples of $\kappa=11$ even point *away* from $\mu$, no run passes with their sampler, and each does
# with ours. At $d=40$ it is a lottery: a third of the runs lost. At $d=20$ and $30$, where the law is wrong too, all
# pass within the first epoch. Their gradient differs as well ([chapter 5](05_gradients.ipynb)). With our law and their
# gradient none of thirty runs at $d=40$ is stuck: it takes the law. [Chapter 9](09_unsupervised.ipynb) asks what it
# costs those that pass, and what it means for the paper's tables.
#
# ## The library's version
#
# `VonMisesFisher.sample` takes the steps of this chapter; `SphericalCauchy.sample` is the envelope. The same tests:

# %%
from hvae_tutorial.distributions import HypersphericalUniform, SphericalCauchy, VonMisesFisher

values = [distance(*case, lambda mu, k, n: VonMisesFisher(mu, k).sample((n,))) for case in cases]
print(f"the library, {len(cases)} laws: sqrt(n) D is at most {max(values):.1f}, limit {limit:.1f}")

# %% tags=["checks"]
from hvae_tutorial.sphere import project_to_tangent

g = torch.randn(10, 6)
assert close(project_to_tangent(g, mu), g - (g @ mu)[:, None] * mu)


def seeded(function):
    torch.manual_seed(1)
    return function()


assert close(seeded(lambda: HypersphericalUniform(6).sample((9,))), seeded(lambda: unit(torch.randn(9, 6))))
law = VonMisesFisher(unit(torch.randn(3)), 5.0)
assert close(seeded(lambda: 1 - law.sample((9,)) @ law.loc), seeded(lambda: draw_y(3, 5.0, 9)))
assert max(values) < limit
assert ks(1 - SphericalCauchy(law.loc, 5.0).sample((10_000,)) @ law.loc, 3, 5.0) > limit
z = unit(torch.randn(20, 6))
expected = torch.log(proposal_density(z[:, 0], 6, wood(6, 5.0)[1]) / density(z[:, 0], 6, 0.0))
cauchy, uniform_law = SphericalCauchy(torch.eye(6)[0], 5.0), HypersphericalUniform(6)
assert close(cauchy.log_prob(z) - uniform_law.log_prob(z), expected)
law = VonMisesFisher(torch.eye(6, dtype=torch.float32)[5], 1e8)
y = (law.sample((10_000,)) - law.loc).square().sum(-1).double() / 2
assert close(y.mean() / mean_resultant_length_complement(torch.tensor(1e8), 6), 1, 5 * math.sqrt(2 / 5 / 10_000))
try:
    VonMisesFisher(mu, math.nan)
except ValueError as error:
    refusal = str(error)
assert "nan" in refusal
print("Checked: equal samples from equal seeds, both laws, kappa = 1e8 in float32, and a NaN concentration is refused.")

# %% [markdown]
# ## Test yourself
#
# **1.** A colleague normalises a Gaussian vector of $\mathbb R^m$ and takes it for $v$, without projecting. What
# happens?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# $|z|^2=1+2w\sqrt{1-w^2}\,\mu\cdot v\ne1$: points leave the sphere. Normalised, they have another law.
#
# </details>
#
# **2.** Four floors $r_m$ were printed. Why is none lower than $r_2$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# $r_{m+2}/r_m=e\,\frac m{m+1}\left(\frac{m-1}{m+1}\right)^{(m-1)/2}$. With $t=1/m$ the logarithm has the series
# $\sum_{k\ge1}t^{2k}/(2k(2k+1))>0$. So $r_2<r_4<\dots$ and $r_2<r_3<r_5<\dots$
#
# </details>

# %% tags=["checks"]
for m in range(2, 100):
    terms = sum(m ** (-2.0 * k) / (2 * k * (2 * k + 1)) for k in range(1, 30))
    assert close(math.log(floor(m + 2) / floor(m)), terms)
print("Checked: the series in the second answer, for m from 2 to 99.")

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
# - A proposal is accepted with probability $(c\,e^{1-c})^{m-1}$; at worst about two in three are.
# - Carry $y=1-w$, avoid cancelling differences, bound the rounds; replace all constants of a formula or none.
# - Trust a sampler after a test that could have failed, in as many dimensions as you will use.
#
# ## References
#
# - [@ulrich1984] Envelope; Beta variable.
# - [@wood1994] Algorithm VM\*: $b$.
# - [@best1979] The sampler for $m=2$.
# - [@mardia2000] Section 9.3: tangent-normal decomposition.
# - [@kato2020] The envelope's law.
# - [@sablica2025] The same law in auto-encoders.
# - [@massart1990] The bound on $D$.
# - [@davidson2018] The S-VAE, whose public code has trap five.
# - [@rubrice] Commit f394bd1, `svae/sampling.py`: traps one and three.
# - [@distributionsjl] The mirror, with issues 1464 and 2018 and pull requests 1918 and 1930.
# - Other code, at the versions named: [s-vae-pytorch](https://github.com/nicola-decao/s-vae-pytorch),
#   [s-vae-tf](https://github.com/nicola-decao/s-vae-tf), [pythae](https://github.com/clementchadebec/benchmark_VAE),
#   [TensorFlow Probability](https://github.com/tensorflow/probability), [SciPy](https://github.com/scipy/scipy),
#   [PyTorch](https://github.com/pytorch/pytorch).
