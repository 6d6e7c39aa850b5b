# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # The number that is too small to store
#
# *How do you compute $\log I_\nu(\kappa)$ and the ratio $I_{\nu+1}/I_\nu$ where `scipy.special.ive` fails?*
#
# **You will be able to**
#
# - say which of two faults breaks the textbook formula, and where;
# - evaluate the log normaliser by a series, and the mean by a recurrence in the right direction;
# - prove a bound by Amos in a few lines, and use it;
# - find the substitution after which all concentrations look alike, as the library does.
#
# **You need**: calculus, Taylor series, rounding errors, $\phi_m$ and $A_m$ from
# [chapter 2](02_von_mises_fisher.ipynb).
#
# **Time**

# %%
import mpmath
import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from scipy.special import gammaln, ive, roots_gegenbauer

from hvae_tutorial import plotting
from hvae_tutorial.special import log_partition, mean_resultant_length, mean_resultant_length_complement

mpmath.mp.dps = 40  # decimal digits of the references
BLUE, ORANGE, GREEN, PINK = plotting.CURVE_COLOURS[:4]

# %% [markdown]
# ## A number on the way
#
# Let $w$ be one coordinate of a uniform point on the unit sphere of $\mathbb{R}^m$. Its density is proportional to
# $(1-w^2)^{(m-3)/2}$. The von Mises-Fisher law needs one function and its derivative, the mean of $w=\mu\cdot z$
# ([chapter 2](02_von_mises_fisher.ipynb)):
#
# $$
# \phi_m(\kappa)=\log E\,e^{\kappa w}=\log\Gamma(\nu{+}1)+\nu\log\tfrac{2}{\kappa}+\log I_\nu(\kappa),\quad
# A_m=\phi_m'=\frac{I_{\nu+1}(\kappa)}{I_\nu(\kappa)},\quad\nu=\tfrac m2-1.
# $$
#
# SciPy's `ive(nu, kappa)` is $e^{-\kappa}I_\nu(\kappa)$; the factor prevents overflow. An S-VAE usually computes its
# concentration as `softplus(...) + 1`, so training starts near $\kappa=1+\log2\approx1.7$. Let us start one with
# $m=128$, in float32. For comparison we evaluate the same formulas with 40 digits.


# %%
@np.vectorize
def reference(kappa, m):
    """phi, A and 1 - A by the formulas above, with 40 digits, rounded at the end."""
    kappa, nu = mpmath.mpf(float(kappa)), mpmath.mpf(int(m)) / 2 - 1
    lower, upper = mpmath.besseli(nu, kappa), mpmath.besseli(nu + 1, kappa)
    phi = mpmath.loggamma(nu + 1) + nu * mpmath.log(2 / kappa) + mpmath.log(lower)
    return float(phi), float(upper / lower), float(1 - upper / lower)


kappa, nu = np.float32(1.7), np.float32(63)
with np.errstate(all="ignore"):
    lower, upper = ive(nu, kappa), ive(nu + 1, kappa)
    log_bessel, gradient = np.log(lower) + kappa, upper / lower
phi, mean, _ = reference(1.7, 128)
print(f"float32: ive = {lower}, log I = {log_bessel}, gradient of phi = {gradient}")
print(f"truth: ive = {ive(63, 1.7):.0e}, phi = {phi:.4f}, gradient = {mean:.4f}")


# %% tags=["checks"]
def close(a, b, rtol):
    """Whether the relative error is small."""
    return np.allclose(a, b, rtol=rtol, atol=0)


assert lower == 0
assert log_bessel == -np.inf
assert np.isnan(gradient)
assert np.float32(3e-93) == 0 < np.float32(2e-45)
assert ive(511, 50) == 0  # m = 1024: zero in float64 too
assert close(phi, gammaln(64) + 63 * np.log(2 / 1.7) + np.log(ive(63, 1.7)) + 1.7, 1e-10)  # float64 and 40 digits agree
print("Checked: ive is 0 in float32 here, and in float64 at m = 1024, kappa = 50; 40 digits agree with float64 at 1.7.")

# %% [markdown]
# The answer is 0.0113, an ordinary number. The number on the way is $3\cdot10^{-93}$, and float32 ends near
# $10^{-45}$. Its logarithm is $-\infty$, the gradient 0/0, and NaN spreads to every weight that it updates. A user met
# exactly this ([@pythae]), with $m=128$ and $\kappa$ between 1 and 2. Double precision moves the edge but does not
# remove it.
#
# ## The trap: underflow is not the fault
#
# It is tempting to look for a better Bessel function, one that returns $\log I_\nu$ and never underflows. Suppose we
# had a perfect one. S-VAE code needs the divergence $\mathrm{KL}=\kappa A_m-\phi_m$ from the uniform law
# ([chapter 6](06_kl_divergence.ipynb) derives it). Public code writes it as a sum of three parts (`_compute_kl` in
# pythae 0.1.2, `pythae/models/svae/svae_model.py`, lines 125 to 143; the authors' own release,
# `s-vae-pytorch`, commit 671c46c, `von_mises_fisher.py`, lines 176 to 210):
#
# $$
# \mathrm{KL}=\kappa A_m+\underbrace{\nu\log\kappa-\tfrac m2\log2\pi-\log I_\nu(\kappa)}_{\log C_m(\kappa)}
# +\underbrace{\log2+\tfrac m2\log\pi-\log\Gamma(\tfrac m2)}_{\log S_m}.
# $$
#
# For large $m$ the terms have the size of $\frac m2\log m$. Their sum, for small $\kappa$, is about $\kappa^2/2m$. Let
# us be generous: take the ratio and $\log I_\nu$ from 40-digit arithmetic, round them to float32, and add.


# %%
@np.vectorize
def exact_log_bessel(kappa, m):
    """log I, correctly rounded."""
    return float(mpmath.log(mpmath.besseli(mpmath.mpf(int(m)) / 2 - 1, float(kappa))))


def textbook_kl(kappa, m, ratio, log_bessel):
    """The sum, in float32, as pythae 0.1.2 writes it."""
    f = np.float32
    log_c = f(m / 2 - 1) * np.log(kappa) - f(m / 2 * np.log(2 * np.pi)) - f(log_bessel)
    return kappa * f(ratio) + log_c + f(np.log(2) + m / 2 * np.log(np.pi) - gammaln(m / 2))


k = np.float32(0.1)
dims = np.unique(np.geomspace(3, 1024, 40).astype(int))
phi, mean, _ = reference(k, dims)
log_bessel, kl = exact_log_bessel(k, dims), float(k) * mean - phi
wrong = np.array([abs(textbook_kl(k, *row[:3]) - row[3]) for row in zip(dims, mean, log_bessel, kl, strict=True)])

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5.5, 3.4))
axes.loglog(dims, abs(log_bessel), color=BLUE)
axes.loglog(dims, kl, color=GREEN)
axes.loglog(dims, wrong, "o", color=ORANGE, markersize=3)
axes.text(20, 3, "$|\\log I_\\nu|$, one of the terms", color=BLUE)
axes.text(3.2, 1.4e-4, "KL, the sum", color=GREEN)
axes.text(120, 2e-8, "error of the sum\nin float32", color=ORANGE)
axes.set(xlabel="dimension m", ylabel="nats")
first = dims[wrong > kl][0]
plotting.show(
    figure,
    "**Figure 3.1.** The textbook sum with a *perfect* Bessel function, at $\\kappa=0.1$.",
    alt=f"Log-log plot against the dimension. The largest term grows to {abs(log_bessel[-1]):,.0f} nats, the "
    f"divergence falls to {kl[-1]:.0e}; the error of the sum grows, and first exceeds it at m = {first}.",
)

# %% [markdown]
# The error follows the terms, not the sum. Beyond $m\approx200$ nothing is right: what float32 returns is rounding
# noise, or 0, which puts the error on the green line. Adding numbers that cancel has destroyed every digit, although
# each of the numbers was right to the last. Now count, on 96 points: 12 dimensions from 2 to 1024, 8 concentrations
# from $10^{-4}$ to $10^4$, float32. Wrong means not finite, or off by more than one part in a thousand. The last row is
# the library's, which is explained below.

# %% tags=["nbval-ignore-output"]
grid = np.array([1e-4, 1e-3, 1e-2, 0.1, 1, 1e2, 1e3, 1e4], dtype=np.float32)
count = {"textbook with ive": 0, "textbook, perfect Bessel": 0, "library": 0}
for m in (2, 3, 4, 8, 16, 32, 41, 64, 128, 256, 512, 1024):
    phi, mean, _ = reference(grid, m)
    truth, nu, kappa = grid * mean - phi, np.float32(m / 2 - 1), torch.tensor(grid)
    with np.errstate(all="ignore"):
        with_ive = textbook_kl(grid, m, ive(nu + 1, grid) / ive(nu, grid), np.log(ive(nu, grid)) + grid)
    perfect = textbook_kl(grid, m, mean, exact_log_bessel(grid, m))
    ours = (kappa * mean_resultant_length(kappa, m) - log_partition(kappa, m)).numpy()
    for name, values in zip(count, (with_ive, perfect, ours), strict=True):
        count[name] += np.sum(~(abs(values / truth - 1) <= 1e-3))
for name, bad in count.items():
    print(f"{name}: KL wrong on {bad} of 96")

# %% tags=["checks"]
assert abs(log_bessel[-1]) > 4000
assert close(kl[-1], 0.1**2 / (2 * 1024), 1e-3)
assert np.median((wrong / kl)[dims > 200]) > 0.9  # about 100 percent off, or more
phi, mean, _ = reference(2, 3)
assert close(textbook_kl(np.float32(2), 3, mean, exact_log_bessel(2, 3)), 2 * mean - phi, 1e-5)  # right here
assert count["library"] == 0
assert 45 <= count["textbook with ive"] <= 57
assert 38 <= count["textbook, perfect Bessel"] <= 48
print("Checked: the sum is right at m = 3, kappa = 2, and noise above m = 200; perfect Bessel functions cure little.")

# %% [markdown]
# A perfect Bessel function repairs only a few of the wrong points; most were lost by cancellation. **The cure** is not
# to compute $\log I_\nu$ at all. $\phi_m$ is what is left of it after the large terms have been cancelled on paper, and
# it is small where KL is small. The rest of the chapter computes $\phi_m$ and $A_m$ without ever touching $I_\nu$.
#
# ## A series without a minus sign
#
# [Chapter 2](02_von_mises_fisher.ipynb) expanded $E\,e^{\kappa w}$ in powers of $\kappa$. With
# $(b)_j=b(b+1)\cdots(b+j-1)$,
#
# $$
# f_m(\kappa):=E\,e^{\kappa w}=\sum_{j\ge0}\frac{(\kappa^2/4)^j}{j!\,(m/2)_j},\qquad\phi_m=\log f_m.
# $$
#
# (This is the hypergeometric function ${}_0F_1(;m/2;\kappa^2/4)$.) Every term is positive: nothing cancels. `log1p`
# keeps the first term, 1, away from the small rest.


# %%
def series(kappa, m, terms=60):
    """phi."""
    term = total = (kappa / 2) ** 2 / (m / 2)
    for j in range(2, terms + 1):
        term = term * (kappa / 2) ** 2 / (j * (m / 2 + j - 1))
        total = total + term
    return np.log1p(total)


for kappa, m in [(1.7, 128), (1e-6, 128), (200, 4)]:
    print(f"kappa = {kappa}, m = {m}: phi = {series(kappa, m):.6g}, truth {reference(kappa, m)[0]:.6g}")

# %% tags=["checks"]
assert close(series(1.7, 128), reference(1.7, 128)[0], 1e-14)
assert close(series(1e-6, 128), 1e-12 / (2 * 128), 1e-12)  # phi = kappa^2 / (2m) + ...
assert series(200, 4) < 0.9 * reference(200, 4)[0]  # too few terms
print("Checked: the series is right to 14 digits at small kappa; 60 terms are too few at kappa = 200.")

# %% [markdown]
# The limit is work. A term is $\kappa^2/4\,/\,(j(j+\nu))$ times the one before, so terms grow until
# $j(j+\nu)=\kappa^2/4$: at about $\kappa/2$ terms when $\kappa$ is large. The series is for small $\kappa$. For the
# rest we climb in dimension.
#
# ## A recurrence has a direction
#
# Compare $f_m$ with $f_{m+2}$ term by term. With $b=m/2$, $(b+1)_j=(b)_j\,(b+j)/b$, hence
#
# $$
# \frac1{(b)_j}-\frac1{(b+1)_j}=\frac{j}{b(b+1)\,(b+2)_{j-1}}.
# $$
#
# Multiply by $(\kappa^2/4)^j/j!$ and sum over $j\ge1$. Because $j/j!=1/(j-1)!$, the right side is the series of
# $f_{m+4}$, moved by one place. Differentiating the series of $f_m$ moves it in the same way:
#
# $$
# f_m=f_{m+2}+q\,f_{m+4},\quad q=\frac{\kappa^2}{m(m+2)},\qquad f_m'=\frac\kappa m\,f_{m+2}.
# $$
#
# (In Bessel's letters: $I_\nu-I_{\nu+2}=\frac{2(\nu+1)}\kappa I_{\nu+1}$.) The slope says
# $A_m=f_m'/f_m=(\kappa/m)\,a_m$ with $a_m=f_{m+2}/f_m$. Divide the first equation by $f_{m+2}$, and take logarithms:
#
# $$
# a_m=\frac1{1+q\,a_{m+2}},\qquad\phi_m=\phi_{m+2}+\log(1+q\,a_{m+2}).
# $$
#
# Only plus signs. And $a_m$ lies in $(0,1]$ and tends to 1 for small $\kappa$: no underflow.
#
# What becomes of an error? Differentiate $\log a_m$ by $\log a_{m+2}$: a relative error of $a_{m+2}$ reaches $a_m$
# multiplied by
#
# $$
# -\frac{q\,a_{m+2}}{1+q\,a_{m+2}}=-(1-a_m).
# $$
#
# Going **down** in $m$, each step shrinks it. Going **up**, $a_{m+2}=(1/a_m-1)/q$, each step divides it by $1-a_m$.
# So go down, from anywhere. A wrong start is an error like any other, and is forgotten: Miller's algorithm.


# %%
def downward(kappa, m, steps, start=1.0):
    """a_m, a_(m+2), ..., from a guess of the last."""
    path = [start]
    for n in range(m + 2 * steps - 2, m - 1, -2):
        path.append(1 / (1 + kappa**2 * path[-1] / (n * (n + 2))))
    return np.array(path[::-1])


ms = np.arange(2, 63, 2)
exact = reference(10, ms)[1] * ms / 10
up = [exact[0]]  # right to the last bit
for m in ms[:-1]:
    up.append((1 / up[-1] - 1) * m * (m + 2) / 10**2)
down, up = (abs(a / exact - 1) + 1e-17 for a in (downward(10, 2, 30), np.array(up)))

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(5.5, 3.2))
axes.semilogy(ms, down, "o-", ms, up, "o-", markersize=3)
axes.text(44, 8e-15, "downward,\nfrom a wrong start", color=BLUE, ha="right")
axes.text(3, 1e-4, "upward, from\nan exact start", color=ORANGE)
axes.set(xlabel="dimension m", ylabel="relative error of $a_m$", yticks=[1e-16, 1e-12, 1e-8, 1e-4, 1])
plotting.show(
    figure,
    "**Figure 3.2.** One recurrence, two directions, $\\kappa=10$.",
    alt=f"Error against dimension. Downward it falls from {down[-1]:.2f} at m = 62 to rounding level at m = 20 and "
    f"below; upward it rises from rounding level at m = 2 to {up[-1]:.0e}.",
)

# %% tags=["checks"]
assert down[0] < 1e-15 < 0.02 < down[-1]
assert max(down[ms <= 20]) < 1e-15
assert up[0] < 1e-15 < 1 < up[-1]
assert close(downward(10, 2, 1, exact[1] * (1 + 1e-6))[0] / exact[0] - 1, -1e-6 * (1 - exact[0]), 1e-4)
step = np.log1p(40 * reference(40, 7)[1] / 5)  # m = 5, kappa = 40: q a_7 = kappa A_7 / 5
assert close(reference(40, 5)[0], reference(40, 7)[0] + step, 1e-14)
assert close(ive(1.5, 40) - ive(3.5, 40), 2 * 2.5 / 40 * ive(2.5, 40), 1e-12)  # the same in Bessel's letters
print("Checked: both recurrences, the factor -(1 - a_m) of an error, and both directions of the figure.")

# %% [markdown]
# Read the blue line from right to left: it begins a few percent wrong and ends right but for the last bit. The orange
# line begins right and ends with nothing.
#
# How many steps are enough? Walk down from $M$ to 2 through $n=M,M-2,M-4,\dots$ At large $\kappa$, where
# $n\ll\kappa$, $a_n\approx n/\kappa$, and the error shrinks by
#
# $$
# \prod_{n=2,4,\dots}^{M}\Bigl(1-\frac n\kappa\Bigr)\approx\exp\Bigl(-\frac{2+4+\dots+M}\kappa\Bigr)
# \approx e^{-M^2/4\kappa}.
# $$
#
# For 16 digits $M\approx12\sqrt\kappa$, and there are $M/2$ steps: 600 at $\kappa=10^4$. A better start would help.
#
# ## A bound by Amos
#
# We follow the idea of [@amos1974]. The function $(1-w^2)^{(m-1)/2}e^{\kappa w}$ vanishes at both ends of $[-1,1]$, so
# its derivative integrates to zero. By the product rule the derivative is
#
# $$
# \bigl(\kappa\,(1-w^2)-(m-1)\,w\bigr)\,(1-w^2)^{(m-3)/2}e^{\kappa w},
# $$
#
# and the last two factors are, up to a constant, the density of $w$ under the von Mises-Fisher law. With $E_\kappa$ for
# averages under it,
#
# $$
# \kappa\,E_\kappa[1-w^2]=(m-1)\,E_\kappa[w]=(m-1)A_m.
# $$
#
# Now $A_m'=\phi_m''$ is the variance $E_\kappa[w^2]-A_m^2$ (chapter 2). Insert $E_\kappa[w^2]=1-(m-1)A_m/\kappa$:
#
# $$
# A_m'=1-A_m^2-\frac{m-1}\kappa A_m>0.
# $$
#
# A variance is positive, so $A_m$ lies below the positive root $x_0$ of $1-x^2-(m-1)x/\kappa$. That is the upper bound.
# For the lower one, put $a_m=(m/\kappa)\,A_m$ into the recurrence. As $q\,a_{m+2}=(\kappa/m)\,A_{m+2}$, it says
# $A_m=1/(m/\kappa+A_{m+2})$. Insert the upper bound of $A_{m+2}$, which is $(\sqrt{(m+1)^2+4\kappa^2}-(m+1))/2\kappa$:
#
# $$
# \frac{2\kappa}{m-1+\sqrt{(m+1)^2+4\kappa^2}}\le A_m(\kappa)\le\frac{2\kappa}{m-1+\sqrt{(m-1)^2+4\kappa^2}}=x_0.
# $$


# %%
def amos(kappa, m):
    """Lower and upper bound of A; the upper one is x0."""
    return np.array([2 * kappa / (m - 1 + np.hypot(n, 2 * kappa)) for n in (m + 1, m - 1)])


def error(steps, start):
    """Of a_2 at kappa = 10^4."""
    return abs(downward(1e4, 2, steps, start)[0] / 2 * 1e4 / reference(1e4, 2)[1] - 1)


middle = amos(1e4, 402).mean() * 402 / 1e4
print(f"error after 200 steps: {error(200, 1):.0e} from 1, {error(200, middle):.0e} from the middle of the bounds")

# %% tags=["checks"]
kappas = np.logspace(-2, 4, 61)
for m in (2, 3, 10, 100):
    low, high = amos(kappas, m)
    assert np.all((low < reference(kappas, m)[1]) & (reference(kappas, m)[1] < high))
    assert max(high / low - 1) < 1 / (m - 1)
assert error(200, middle) < 1e-9 < 1e-2 < error(200, 1)
assert error(600, 1) < 1e-13
A = reference([2.9999, 3, 3.0001], 5)[1]
assert close((A[2] - A[0]) / 0.0002, 1 - A[1] ** 2 - 4 / 3 * A[1], 1e-7)  # the equation for A'
ends = sorted(downward(3, 5, 10, a * 25 / 3)[0] for a in amos(3, 25))
assert ends[0] <= reference(3, 5)[1] * 5 / 3 <= ends[1] < ends[0] + 1e-12
print("Checked: both bounds and their gap on 244 points, the slope of A, 600 steps from 1, and the bracket.")

# %% [markdown]
# The relative gap between the bounds is below $1/(m-1)$, and closes at large $\kappa$, where the recurrence is slow.
# Here the bounds save eight digits. They also certify: a step is a decreasing function, so starts that bracket the
# truth end in values that bracket it.
#
# For numbers one at a time we could stop here. A library wants many $\kappa$ at once, on a GPU, with gradients, and no
# branches. Ideally it would look up one smooth curve. The next section finds one, and $x_0$ is the key to it.
#
# ## The peak that only moves
#
# $f_m$ is an integral of $e^{\kappa w}(1-w^2)^{(m-3)/2}$. For growing $\kappa$ its peak runs into the corner $w=1$ and
# gets ever narrower there (Figure 3.3, left). A quadrature rule with fixed nodes loses it. So stretch the corners to
# infinity: put $w=\tanh t$. With $1-w^2=1/\cosh^2t$ and $dw=dt/\cosh^2t$,
#
# $$
# e^{\kappa w}(1-w^2)^{(m-3)/2}\,dw=e^{h(t)}\,dt,\qquad h(t)=\kappa\tanh t-(m-1)\log\cosh t.
# $$
#
# Where is the peak now, and how wide is it? In terms of $w=\tanh t$, the first derivative is
#
# $$
# h'(t)=\kappa\,(1-w^2)-(m-1)\,w.
# $$
#
# It vanishes where $1-w^2=(m-1)w/\kappa$. That is the equation of $x_0$: **the peak is at $\tanh t=x_0$, Amos' bound.**
# For the second derivative use $dw/dt=1-w^2$. At the peak, where $\kappa\,(1-x_0^2)=(m-1)\,x_0$ by the same equation,
#
# $$
# h''(t)=-(1-w^2)\,(2\kappa w+m-1)=-2(m-1)\,x_0^2-(m-1)(1-x_0^2)=-(m-1)(1+x_0^2).
# $$
#
# This lies between $-(m-1)$ and $-2(m-1)$. From $\kappa=0$ to $\kappa=\infty$ the width of the hill, $1/\sqrt{-h''}$,
# changes by no more than a factor $\sqrt2$! The hill only moves (Figure 3.3, right).

# %% tags=["picture"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3))
m, t = 5, np.linspace(-2.2, 6.2, 1000)
for k, colour in zip((0, 10, 100, 1000), (BLUE, ORANGE, GREEN, PINK), strict=True):
    x0 = amos(k, m)[1] if k else 0.0
    w = np.sort(np.append(np.linspace(-1, 1, 1001), 1 - np.geomspace(1e-6, 0.2, 400)))[1:-1]
    flat = k * w + (m - 3) / 2 * np.log1p(-(w**2))
    left.plot(w, np.exp(flat - flat.max()), color=colour)
    bump = k * np.tanh(t) - (m - 1) * np.log(np.cosh(t))
    right.plot(t, np.exp(bump - bump.max()), color=colour)
    right.plot(np.arctanh(x0), 1, "o", color=colour, markersize=4)
    right.text(np.arctanh(x0), 1.06, f"κ = {k}" if k == 0 else f"{k}", color=colour, ha="center")
left.set(xlabel="$w$", ylabel="integrand, relative to its peak", ylim=(0, 1.2))
right.set(xlabel="$t=$ artanh $w$", ylim=(0, 1.2))
plotting.show(
    figure,
    "**Figure 3.3.** The same integrands for $m=5$ in two variables. Left: in $w$. Right: in $t$; dots are at "
    "artanh $x_0$.",
    alt="Left: for kappa = 0, 10, 100 and 1000 the integrand is squeezed more and more into the corner at w = 1. "
    "Right: in t the same four are hills of nearly one width, side by side; each has its peak at artanh x0.",
)

# %% [markdown]
# So move each hill back to the middle: write $t=\zeta+r$ with $\tanh\zeta=x_0$, and return from $r$ to a variable
# $x=\tanh r$ of $[-1,1]$. The addition theorem of $\tanh$ says
#
# $$
# w=\tanh(\zeta+r)=\frac{x_0+x}{1+x_0x}.
# $$
#
# The ends $\pm1$ stay, and $x=0$ goes to $w=x_0$. ([Chapter 4](04_sampling.ipynb) will draw this map as a zoom of the
# sphere.) What does the integral become? Let $c=1/(1+x_0x)$, so that $x_0x\,c=1-c$. The theorem
# $\cosh(\zeta+r)=\cosh\zeta\cosh r\,(1+x_0x)$, and $dw/(1-w^2)=dt=dr=dx/(1-x^2)$, give
#
# $$
# 1-w^2=(1-x_0^2)(1-x^2)\,c^2,\qquad dw=(1-x_0^2)\,c^2\,dx.
# $$
#
# And the exponent, by the equation of $x_0$, $(1-x_0^2)/x_0=(m-1)/\kappa$:
#
# $$
# w-x_0=(1-x_0^2)\,x\,c=\frac{1-x_0^2}{x_0}\,(1-c)=\frac{m-1}\kappa\,(1-c).
# $$
#
# Put these together, one factor after the other:
#
# $$
# e^{\kappa w}=e^{\kappa x_0}\,e^{(m-1)(1-c)},
# $$
#
# $$
# (1-w^2)^{(m-3)/2}\,dw=(1-x_0^2)^{(m-1)/2}\,c^{m-1}\,(1-x^2)^{(m-3)/2}\,dx.
# $$
#
# The last factor is the density of a uniform coordinate $x$ again. With $E_x$ for its average,
#
# $$
# \phi_m(\kappa)=\kappa x_0+\frac{m-1}2\log(1-x_0^2)+\log F_m(x_0),\qquad
# F_m(x_0)=E_x\bigl[(c\,e^{1-c})^{m-1}\bigr].
# $$
#
# The first two terms carry all that is large. $F_m$ is what is left. Nothing in it can overflow, since
# $c\,e^{1-c}\le1$ (the maximum is at $c=1$). It depends on $\kappa$ through $x_0$ alone. And it is smooth on the whole
# of $[0,1]$:
#
# - *Inside.* $c$ depends smoothly on $x_0$, with $\partial c/\partial x_0=-x\,c^2$.
# - *At $x_0=1$, which is $\kappa=\infty$.* There $c=1/(1+x)$ is infinite at $x=-1$. But each derivative of the average
#   by $x_0$ is the average of a polynomial in $x$ and $c$, times $c^{m-1}e^{(m-1)(1-c)}$, and the exponential beats
#   every power of $c$. So all derivatives stay bounded and are continuous up to the end.
# - *At $x_0=0$.* Changing the sign of $x_0$ is changing that of $x$, which has a symmetric law: $F_m$ is even, and
#   $F_m(0)=1$. So $-\log F_m/x_0^2$ is a smooth function of $x_0^2$.
#
# That is our curve. Put a polynomial through it, once per dimension, at Chebyshev points, which crowd towards the ends
# of the interval and keep the polynomial from swinging there. It is stored as a sum of Chebyshev polynomials, which are
# bounded by 1: no term contributes more than its coefficient. The averages $E_x$ are sums, by Gauss' rule for the
# weight $(1-x^2)^{(m-3)/2}$. SciPy calls it Gegenbauer's and writes $(1-x^2)^{\alpha-1/2}$, with $\alpha=\frac m2-1$.


# %%
def chebyshev_table(m):
    """-log F / x0^2 as a polynomial in x0^2."""
    x, weights = roots_gegenbauer(256, m / 2 - 1)  # for E_x

    def smooth(square):  # x0^2
        u = np.sqrt(square)[:, None] * x  # c = 1 / (1 + u)
        excess = np.expm1((m - 1) * (u / (1 + u) - np.log1p(u)))
        return -np.log1p(excess @ weights / weights.sum()) / square

    return Chebyshev.interpolate(smooth, 20 + 150 // m, domain=[0, 1])


def tabulated(kappa, m, table):
    """phi, for any array of kappa at once."""
    x0 = amos(kappa, m)[1]
    half_log = (m - 1) / 2 * np.log1p(kappa * x0 / (m - 1))  # -(m-1)/2 log(1 - x0^2)
    return kappa * x0 - half_log - x0**2 * table(x0**2)


tables = {m: chebyshev_table(m) for m in (2, 3, 10, 128)}
kappas = np.logspace(-4, 4, 41)
for m, table in tables.items():
    worst = max(abs(tabulated(kappas, m, table) / reference(kappas, m)[0] - 1))
    print(f"m = {m}: degree {table.degree()}; right to 11 digits from kappa = 1e-4 to 1e4: {worst < 1e-11}")

# %% tags=["picture"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3.1))
square = np.linspace(0, 1, 201)
for (m, table), colour in zip(tables.items(), (BLUE, ORANGE, GREEN, PINK), strict=True):
    left.plot(square, table(square), color=colour)
    left.text(-0.03, table(0), f"m = {m}", color=colour, va="center", ha="right")
    size = abs(table.coef)
    right.semilogy(np.arange(len(size)), size, "o-", color=colour, markersize=2)
    right.text(*{2: (40, 1e-9), 3: (31, 8e-15), 10: (26, 1.5e-17), 128: (2, 1e-12)}[m], f"{m}", color=colour)
left.set(xlabel="$x_0^2$, from κ = 0 to κ = ∞", ylabel="$-\\log F_m\\,/\\,x_0^2$", xlim=(-0.42, 1.02))
left.set_xticks([0, 0.5, 1])
right.set(xlabel="number of the coefficient", ylabel="size", yticks=[1, 1e-4, 1e-8, 1e-12, 1e-16])
plotting.show(
    figure,
    "**Figure 3.4.** Left: what the library tabulates. Right: the Chebyshev coefficients of these curves.",
    alt=f"Left: four smooth, slowly varying curves for m = 2, 3, 10 and 128, between "
    f"{min(table(square).min() for table in tables.values()):.2f} and "
    f"{max(table(square).max() for table in tables.values()):.2f}, as far as the end at 1. "
    "Right: their coefficients fall to rounding level, the faster the larger m is.",
)

# %% tags=["checks"]
for m, k in [(2, 0.3), (5, 10.0), (10, 1e3)]:  # the hill in t: its slope and curvature, by differences
    x0 = amos(k, m)[1]
    t = np.arctanh(x0) + np.array([-1, 0, 1]) * 1e-3
    h = k * np.tanh(t) - (m - 1) * np.log(np.cosh(t))
    assert abs(h[2] - h[0]) / 2e-3 < 1e-3
    assert close((h[2] - 2 * h[1] + h[0]) / 1e-6, -(m - 1) * (1 + x0**2), 1e-4)
x0, x = 0.6, -0.3  # the substitution
w, c = (x0 + x) / (1 + x0 * x), 1 / (1 + x0 * x)
assert close(w, np.tanh(np.arctanh(x0) + np.arctanh(x)), 1e-12)
assert close(1 - w**2, (1 - x0**2) * (1 - x**2) * c**2, 1e-12)
assert close(w - x0, (1 - x0**2) / x0 * (1 - c), 1e-12)
for m, table in tables.items():
    assert close(tabulated(kappas, m, table), reference(kappas, m)[0], 1e-11)
    end = gammaln(m / 2) - np.log(2 * np.sqrt(np.pi)) + (m - 1) / 2 * np.log(2 * np.e / (m - 1))
    assert close(table(1.0), -end, 1e-11)  # kappa infinite: log F is known, chapter 4
    assert min(abs(table.coef)) < 1e-12
    assert 0 < table(1.0) < 0.42
print("Checked: peak and curvature in t, the substitution, the table to 11 digits, and its end at infinite kappa.")

# %% [markdown]
# The coefficients fall fast, as they do for any smooth function, so a short table is enough. Underflow and cancellation
# were features of the formulas. The function itself is this tame.
#
# ## The library's version
#
# The library does what you just saw, for $\phi_m$ and its derivatives. Compare, and let us repeat the start of this
# chapter. Last, $1-A_m$ at large $\kappa$: there the library has a function of its own, because subtraction fails.

# %%
start = torch.tensor(1.7, requires_grad=True)  # where this chapter began, in float32
phi = log_partition(start, 128)
phi.backward()
print(f"m = 128, kappa = 1.7, float32: phi = {phi.item():.4f}, gradient = {start.grad.item():.4f}")

large = torch.tensor(1e7)
difference = (1 - mean_resultant_length(large, 3)).item()
complement = mean_resultant_length_complement(large, 3).item()
print(f"1 - A at m = 3, kappa = 1e7, float32: {difference:.2e} by subtraction, {complement:.2e} by the library")

# %% tags=["checks"]
for m, table in tables.items():
    assert close(log_partition(torch.tensor(kappas), m), tabulated(kappas, m, table), 1e-11)
    assert close(mean_resultant_length(torch.tensor(kappas), m), reference(kappas, m)[1], 1e-11)
assert close([phi.item(), start.grad.item()], reference(1.7, 128)[:2], 1e-6)
assert close(complement, reference(1e7, 3)[2], 1e-6)
assert abs(difference / complement - 1) > 0.1
print("Checked: the library agrees with our table and with 40 digits to 11 digits, and in float32 to 6.")

# %% [markdown]
# ## Test yourself
#
# **1.** In Figure 3.2, why does the orange line rise slowly up to $m\approx10$, and fast after?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# A step upward divides the error by $1-a_m$. For $m\ll\kappa=10$, $a_m$ is small. For $m\gg\kappa$,
# $1-a_m\approx\kappa^2/(m(m+2))$, which tends to zero.
#
# </details>
#
# **2.** You have a perfect $\log I_\nu$ in float64. How many digits of $\phi_m$ at $m=1024$, $\kappa=10^{-3}$ are
# right?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# About three. Terms of about 6,000 are rounded by about $5\cdot10^{-13}$; the result is
# $\kappa^2/2m\approx5\cdot10^{-10}$.
#
# </details>
#
# **3.** Why does $\log F_m$ not need many digits for $\phi_m$ at large $\kappa$, although $\phi_m$ is wanted to 11?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# $-\log F_m$ lies between 0 and 0.42, and $\phi_m$ grows like $\kappa$: an error of $10^{-11}$ in one is a
# relative error of $10^{-11}/\kappa$ in the other. At small $\kappa$ it counts in full, and there the factor $x_0^2$
# is kept outside the table.
#
# </details>
#
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/03_bessel.ipynb),
# or in a terminal: `hvae exercise show ch03.1`.

# %% [markdown] tags=["exercise"]
# ch03.1

# %% [markdown] tags=["exercise"]
# ch03.2

# %% [markdown] tags=["exercise"]
# ch03.3

# %% [markdown]
# ## Summary
#
# 1. At $m=128$, $\kappa=1.7$, `ive` is 0 in float32, its logarithm $-\infty$, the gradient NaN.
# 2. A perfect $\log I_\nu$ hardly helps: terms of size $\frac m2\log m$ sum to $\kappa^2/2m$. Compute $\phi_m$
#    directly.
# 3. The recurrence $a_m=1/(1+q\,a_{m+2})$ forgets errors downward and amplifies them upward; Amos' bounds start it.
# 4. In $t=\operatorname{artanh}w$ the integrand is a hill that only moves with $\kappa$; its peak is Amos' $x_0$.
# 5. Moved back by $w=(x_0+x)/(1+x_0x)$, it leaves $F_m(x_0)$, smooth on $[0,1]$: the library tabulates that.

# %% [markdown]
# ## Appendix: two expansions, and a map
#
# Two classical expansions are worth knowing: you will meet them in other code, and each is a few lines. Nothing later
# in the course needs them.
#
# ### Debye: large dimension
#
# Start from the equation for $A_m'$ above, with $m-1=2\nu+1$. The ratio $A_m$ enters it squared and multiplied by
# $2\nu+1$ over $\kappa$. Completing the square removes the linear term: put $B=\nu+\kappa A_m$. Then
# $\kappa B'=\kappa A_m+\kappa^2A_m'$, and the equation becomes
#
# $$
# \kappa B'+B^2=s^2,\qquad s=\sqrt{\nu^2+\kappa^2}.
# $$
#
# If $\nu$ is large, $\kappa B'$ is of the order of $s$ and $B^2$ of the order of $s^2$: so $B\approx s$. That suggests
# $s$ as the unit of $B$. What remains, $B/s$, is close to 1, with corrections in powers of $1/\nu$. They may depend on
# the proportion of $\nu$ and $\kappa$, for which we take $p=\nu/s\in(0,1]$. So try
#
# $$
# B=s\,b(p),\qquad b=1+\frac{b_1(p)}\nu+\frac{b_2(p)}{\nu^2}+\dots
# $$
#
# and write a dot for the derivative by $p$. Two derivatives by $\kappa$ are needed:
#
# $$
# \kappa s'=\frac{\kappa^2}s=s\,(1-p^2),\qquad\kappa p'=-\frac{\nu\,\kappa s'}{s^2}=-p\,(1-p^2).
# $$
#
# Therefore $\kappa B'=\kappa s'\,b+s\,\kappa p'\,\dot b=s\,(1-p^2)(b-p\,\dot b)$. Divide the equation by $s^2$ and
# replace $1/s$ by $p/\nu$:
#
# $$
# b^2=1-\frac p\nu\,(1-p^2)(b-p\,\dot b).
# $$
#
# Equal powers of $1/\nu$ give polynomials, one after the other (with $b_0=1$):
#
# $$
# 2b_j=-p(1-p^2)(b_{j-1}-p\,\dot b_{j-1})-\sum_{i=1}^{j-1}b_ib_{j-i},\qquad b_1=-\tfrac12p(1-p^2).
# $$
#
# Now integrate $\phi_m'=A_m=(B-\nu)/\kappa$ from $\kappa=0$, where $s=\nu$ and $p=1$. From $b_0$, with
# $\kappa\,d\kappa=s\,ds$:
#
# $$
# \int\frac{s-\nu}\kappa\,d\kappa=\int\frac{\kappa\,d\kappa}{s+\nu}=\int_\nu^s\frac{s\,ds}{s+\nu}
# =(s-\nu)-\nu\log\frac{s+\nu}{2\nu}.
# $$
#
# For the others use $d\kappa/\kappa=-dp/(p(1-p^2))$. From $b_1$, where $s\,b_1/\nu=b_1/p=-\frac12(1-p^2)$:
#
# $$
# \int-\frac{1-p^2}2\,\frac{d\kappa}\kappa=\int_1^p\frac{dp}{2p}=\frac12\log p=-\frac12\log\frac s\nu .
# $$
#
# (Laplace's method, a parabola at the peak, gives these three terms if the integral is taken over the angle, where the
# integrand is $e^{\kappa\cos\theta}\sin^{2\nu}\theta$, and divided by the same at $\kappa=0$.) In the same way
# $b_{j+1}$ gives $V_j/\nu^j$:
#
# $$
# \phi_m\approx(s-\nu)-\nu\log\frac{s+\nu}{2\nu}-\frac12\log\frac s\nu+\sum_{j\ge1}\frac{V_j(p)}{\nu^j},\qquad
# V_j(p)=\int_p^1\frac{b_{j+1}(t)}{t^2(1-t^2)}\,dt.
# $$
#
# The expansion is *uniform*: $p$ never leaves $(0,1]$, so the terms stay bounded for all $\kappa$. The textbook's
# polynomials $U_j(p)$ (DLMF 10.41.10) are the coefficients of its exponential, up to a factor free of $p$: divide
# $\sum_jU_j(p)/\nu^j$ by its value at $p=1$. That is a check.


# %%
def debye_polynomials(terms):
    """V_j / (1 - p), j = 1 ... terms."""
    p, b, result = Polynomial([0, 1]), [Polynomial([1.0])], []
    for j in range(1, terms + 2):
        products = sum(b[i] * b[j - i] for i in range(1, j))
        b.append((-p * (1 - p**2) * (b[-1] - p * b[-1].deriv()) - products) / 2)
    for bj in b[2:]:
        integral = (bj // (p**2 * (1 - p**2))).integ()
        result.append((integral(1) - integral) // (1 - p))
    return result


V = debye_polynomials(8)


def debye(kappa, m, terms=8):
    """phi."""
    nu = m / 2 - 1
    s = np.hypot(nu, kappa)
    p, excess = nu / s, kappa**2 / (s + nu)  # excess is s - nu
    laplace = excess - nu * np.log1p(excess / (2 * nu)) - np.log1p(excess / nu) / 2
    return laplace + excess / s * sum(Vj(p) / nu**j for j, Vj in enumerate(V[:terms], start=1))


# %% tags=["picture"]
dims, kappas = 2 ** np.arange(3, 9), np.logspace(-3, 4, 29)
truth = reference(kappas, dims[:, None])[0]
worst = {terms: abs(debye(kappas, dims[:, None], terms) / truth - 1).max(axis=1) for terms in (0, 1, 2, 4, 8)}
figure, axes = plotting.subplots(size=(5.5, 3.4))
for terms, errors in worst.items():
    line = axes.loglog(dims, errors, "o-", markersize=3, color="0.25" if terms == 8 else None)[0]
    axes.text(280, errors[-1] * 0.6, f"+ {terms}" if terms else "Laplace", color=line.get_color())
axes.set(xlabel="dimension m", ylabel="largest relative error of $\\phi_m$", xlim=(7, 480))
axes.set_xticks(dims, dims)
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 3.5.** Laplace's three terms and 1 to 8 of the others: largest error over $\\kappa$ from $10^{-3}$ to "
    "$10^4$.",
    alt=f"Error against dimension in log-log scale: lines that are steeper the more terms are used. With 8 terms it "
    f"falls from {worst[8][0]:.0e} at m = 8 to rounding level from m = 128 on.",
)

# %% tags=["checks"]
p = np.linspace(0.1, 1, 10)
U1, U2 = (3 * p - 5 * p**3) / 24, (81 * p**2 - 462 * p**4 + 385 * p**6) / 1152
for v, log_u in zip(V[:2], (U1, U2 - U1**2 / 2), strict=True):
    assert np.allclose((1 - p) * v(p), log_u - log_u[-1])
assert all(worst[0] < 2 / dims)
assert max(worst[8][dims >= 64]) < 1e-11 < 1e-5 < worst[8][0]
nu, k, A = 20.0, 30.0, reference([29.999, 30, 30.001], 42)[1]  # kappa B' + B^2 = s^2, by differences
B = nu + np.array([29.999, 30, 30.001]) * A
assert close(k * (B[2] - B[0]) / 0.002 + B[1] ** 2, nu**2 + k**2, 1e-8)
print("Checked: the equation for B, the first two terms against the DLMF, and 11 digits from m = 64 on.")

# %% [markdown]
# Each term makes the line steeper by one power. At $m=8$ eight terms are not enough; at $m=2$, $\nu=0$ and nothing is
# defined: the series is asymptotic, for large $\nu$, not for many terms. So start at $M\ge64$ and walk down with the
# recurrence, from $a_M=f_{M+2}/f_M=e^{\phi_{M+2}-\phi_M}$.


# %%
def debye_and_recurrence(kappa, m):
    """phi and A for every m >= 2."""
    top = m + 2 * max(0, (65 - m) // 2)
    phi = debye(kappa, top)
    a = np.exp(debye(kappa, top + 2) - phi)
    for n in range(top - 2, m - 1, -2):
        q = kappa**2 * a / (n * (n + 2))
        phi, a = phi + np.log1p(q), 1 / (1 + q)
    return phi, kappa * a / m


# %% [markdown]
# ### Hankel: large concentration
#
# For large $\kappa$ the mass sits next to $w=1$. Put $y=1-w$ and $\alpha=(m-3)/2$, so that $1-w^2=2y(1-y/2)$:
#
# $$
# E\,e^{\kappa w}=N\,2^\alpha e^\kappa\int_0^2e^{-\kappa y}y^\alpha(1-y/2)^\alpha dy,\qquad
# N=\frac{\Gamma(m/2)}{\sqrt\pi\,\Gamma(\alpha+1)}.
# $$
#
# Expand the last factor by the binomial series, $(1-y/2)^\alpha=\sum_j\binom\alpha j(-y/2)^j$, and let each integral
# run to infinity, at a cost of order $e^{-2\kappa}$. Each is a Gamma integral:
#
# $$
# \int_0^\infty e^{-\kappa y}y^{\alpha+j}\,dy=\frac{\Gamma(\alpha+j+1)}{\kappa^{\alpha+j+1}}.
# $$
#
# $\Gamma(\alpha+1)$ cancels. Take logarithms:
#
# $$
# \kappa-\phi_m\approx\frac{m-1}2\log\kappa+\frac12\log\pi-\alpha\log2-\log\Gamma(\tfrac m2)-\log\sum_jt_j,\qquad
# \frac{t_{j+1}}{t_j}=-\frac{(\alpha-j)(\alpha+j+1)}{2\kappa(j+1)},\quad t_0=1.
# $$
#
# For odd $m$ the sum ends. For even $m$ the terms fall, then grow without end: stop at the smallest.


# %%
def hankel(kappa, m, terms=25):
    """kappa - phi."""
    alpha = (m - 3) / 2
    t = total = np.ones_like(kappa)
    for j in range(terms):
        following = -t * (alpha - j) * (alpha + j + 1) / (2 * kappa * (j + 1))
        t = np.where(abs(following) < abs(t), following, 0)
        total = total + t
    constant = np.log(np.pi) / 2 - alpha * np.log(2) - gammaln(m / 2)
    return (m - 1) / 2 * np.log(kappa) + constant - np.log(total)


# %% [markdown]
# ### Who works where


# %% tags=["picture"]
def textbook(kappa, m, dtype):
    """phi by its formula."""
    nu, kappa = dtype(m / 2 - 1), kappa.astype(dtype)
    return dtype(gammaln(m / 2)) + nu * np.log(2 / kappa) + np.log(ive(nu, kappa)) + kappa


dims = np.unique(np.round(2 ** np.arange(1, 10.1, 0.25))).astype(int)
kappas = np.logspace(-4, 4, 41)
truth, mean, _ = reference(kappas, dims[:, None])
methods = {
    "ive, float32": lambda m: textbook(kappas, m, np.float32),
    "ive, float64": lambda m: textbook(kappas, m, np.float64),
    "series, 60 terms": lambda m: series(kappas, m),
    "Debye, 8 terms": lambda m: debye(kappas, m),
    "Hankel, 25 terms": lambda m: kappas - hankel(kappas, m),
    "Debye + recurrence": lambda m: debye_and_recurrence(kappas, int(m))[0],
}
figure, panels = plotting.subplots(2, 3, size=(7, 4.8), sharex=True, sharey=True)
errors = {}
for axes, (name, method) in zip(panels.flat, methods.items(), strict=True):
    with np.errstate(all="ignore"):
        found = np.array([method(m) for m in dims]) / truth - 1
    errors[name] = abs(np.where(np.isfinite(found), found, np.nan))
    axes.set_facecolor("0.6")  # where the value is not finite
    digits = np.log10(errors[name] + 1e-17)
    picture = axes.pcolormesh(np.log10(kappas), np.log2(dims), digits, cmap="viridis_r", vmin=-16, vmax=0)
    axes.set(xticks=[-4, -2, 0, 2, 4])
    axes.set_title(name, size=9)
    axes.set_yticks([1, 3, 5, 7, 9], [2, 8, 32, 128, 512])
figure.supxlabel("$\\log_{10}\\kappa$", size=10)
figure.supylabel("dimension m", size=10)
figure.colorbar(picture, ax=panels, label="$\\log_{10}$ of the relative error of $\\phi_m$")
bad = {name: np.mean(~(error < 1e-8)) for name, error in errors.items()}
plotting.show(
    figure,
    "**Figure 3.6.** Errors against 40 digits. Yellow is right, dark is wrong, grey is not finite.",
    alt="Six maps over concentration and dimension. The share of each that has fewer than 8 digits right: "
    + ", ".join(f"{name} {share:.0%}" for name, share in bad.items())
    + ". The last is right everywhere; the others are right in a region each.",
)

# %% tags=["checks"]
for m, k in [(2, 60.0), (3, 30.0), (10, 100.0)]:
    assert close(hankel(k, m), k - reference(k, m)[0], 1e-12)
assert errors["Debye + recurrence"].max() < 1e-12
assert all(close(debye_and_recurrence(kappas, int(m))[1], row, 1e-11) for m, row in zip(dims, mean, strict=True))
assert np.isnan(errors["ive, float32"]).sum() > np.isnan(errors["ive, float64"]).sum() > 0
assert np.nanmax(errors["ive, float32"]) > 1  # finite, and no digit right
assert np.nanmax(errors["ive, float64"]) > 1e-6
assert bad["series, 60 terms"] > 0.1 < bad["Debye, 8 terms"]
assert bad["Hankel, 25 terms"] > 0.1
print("Checked: Hankel to 12 digits where it holds; Debye with the recurrence to 11 digits on the whole map.")

# %% [markdown]
# Each method is right in a region, and Debye with the recurrence on the whole map. The first two panels show the trap
# once more. Beside the grey, where `ive` underflows, float32 has a dark field where `ive` is finite and $\phi_m$ is
# wrong all the same. In float64 more than half of the 16 digits are lost in places.
#
# ## References
#
# - [@dlmf] 10.39.9 ($\phi_m$ as ${}_0F_1$), 10.29.1 (recurrence), 10.41.3 and 10.41.10 (Debye), 10.40.1 (Hankel),
#   section 3.6 (Miller's algorithm).
# - [@amos1974] The bounds.
# - [@hornik2013] Which bounds of this form are best.
# - [@ruiz2016] Sharper bounds from the equation for $A_m'$.
# - [@davidson2018] Equation 8: the divergence.
# - [@pythae] NaN at $m=128$.
# - Code with the divergence as a sum: [pythae](https://github.com/clementchadebec/benchmark_VAE), version 0.1.2, and
#   [s-vae-pytorch](https://github.com/nicola-decao/s-vae-pytorch), commit 671c46c.
