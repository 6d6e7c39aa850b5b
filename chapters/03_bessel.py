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
# - evaluate the log normaliser and the mean by a series, a recurrence and two expansions;
# - prove a bound by Amos in a few lines, and use it;
# - read how the library does all this without a Bessel function.
#
# **You need**: calculus, Taylor series, rounding errors, $\phi_m$ and $A_m$ from
# [chapter 2](02_von_mises_fisher.ipynb).
#
# **Time**: 60 minutes.

# %% [markdown]
# ## A number on the way
#
# Let $w$ be one coordinate of a uniform point on the unit sphere of $\mathbb{R}^m$. Its density is proportional to
# $(1-w^2)^{(m-3)/2}$. The von Mises-Fisher law needs one function and its derivative, the mean of $w=\mu\cdot z$:
#
# $$
# \phi_m(\kappa)=\log E\,e^{\kappa w}=\log\Gamma(\nu{+}1)+\nu\log\tfrac{2}{\kappa}+\log I_\nu(\kappa),\quad
# A_m=\phi_m'=\frac{I_{\nu+1}(\kappa)}{I_\nu(\kappa)},\quad\nu=\tfrac m2-1.
# $$
#
# SciPy's `ive(nu, kappa)` is $e^{-\kappa}I_\nu(\kappa)$; the factor prevents overflow. An S-VAE usually computes its
# concentration as `softplus(...) + 1`, so training starts near $\kappa=1+\log2\approx1.7$. Let us start one with
# $m=128$, in float32.

# %%
import mpmath
import numpy as np
import torch
from numpy.polynomial import Chebyshev, Polynomial
from scipy.integrate import quad
from scipy.special import gammaln, ive, roots_gegenbauer

from hvae_tutorial import plotting
from hvae_tutorial.special import log_partition, mean_resultant_length, mean_resultant_length_complement

mpmath.mp.dps = 40  # decimal digits of the references
BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]


def close(a, b, rtol):
    """Whether the relative error is small."""
    return np.allclose(a, b, rtol=rtol, atol=0)


@np.vectorize
def reference(kappa, m):
    """phi, A and 1 - A, rounded at the end."""
    kappa, b = mpmath.mpf(float(kappa)), mpmath.mpf(int(m)) / 2
    f, g = (mpmath.hyp0f1(c, kappa**2 / 4) for c in (b, b + 1))
    mean = kappa / (2 * b) * g / f
    return float(mpmath.log(f)), float(mean), float(1 - mean)


kappa, nu = np.float32(1.7), np.float32(63)
with np.errstate(all="ignore"):
    lower, upper = ive(nu, kappa), ive(nu + 1, kappa)
    log_bessel, gradient = np.log(lower) + kappa, upper / lower
phi, mean, _ = reference(1.7, 128)
print(f"ive = {lower}, log I = {log_bessel}, gradient of phi = {gradient}")
print(f"truth: phi = {phi:.4f}, gradient = {mean:.4f}")

assert lower == 0
assert log_bessel == -np.inf
assert np.isnan(gradient)
assert np.float32(3e-93) == 0 < np.float32(2e-45)
assert 1e-93 < ive(63, 1.7) < 1e-92  # in float64
assert ive(511, 50) == 0  # m = 1024: zero in float64 too
assert close(phi, gammaln(64) + 63 * np.log(2 / 1.7) + np.log(ive(63, 1.7)) + 1.7, 1e-10)

# %% [markdown]
# The answer is 0.0113, an ordinary number. The number on the way is $3\cdot10^{-93}$, and float32 ends at $10^{-45}$.
# Its logarithm is $-\infty$, the gradient 0/0, and NaN spreads to every weight that it updates. Users of real libraries
# have met this (pythae, issue 72: $m=128$, $\kappa$ between 1 and 2). Double precision moves the edge but does not
# remove it. Let us go around $I_\nu$.
#
# ## A series without a minus sign
#
# Expand $E\,e^{\kappa w}$ in powers of $\kappa$. Odd moments vanish by symmetry. For the even ones take a standard
# Gaussian vector $g=ru$ in $\mathbb{R}^m$. Its length $r$ and direction $u$ are independent, so
# $E\,g_1^{2j}=E\,r^{2j}\,E\,w^{2j}$. Now $g_1^2/2$ is a Gamma variable of shape $1/2$, and $r^2/2$ one of shape $m/2$.
# The $j$-th moment of a Gamma variable of shape $b$ is $(b)_j=b(b+1)\cdots(b+j-1)$. Divide, and use
# $(2j)!=4^j\,j!\,(1/2)_j$:
#
# $$
# E\,w^{2j}=\frac{(1/2)_j}{(m/2)_j},\qquad
# f_m(\kappa):=E\,e^{\kappa w}=\sum_{j\ge0}\frac{(\kappa^2/4)^j}{j!\,(m/2)_j},\qquad\phi_m=\log f_m.
# $$
#
# This is the hypergeometric function ${}_0F_1(;m/2;\kappa^2/4)$. Every term is positive: nothing cancels. `log1p` keeps
# the first term, 1, away from the small rest.


# %%
def series(kappa, m, terms=60):
    """phi."""
    term = total = (kappa / 2) ** 2 / (m / 2)
    for j in range(2, terms + 1):
        term = term * (kappa / 2) ** 2 / (j * (m / 2 + j - 1))
        total = total + term
    return np.log1p(total)


moments = [quad(lambda w, n=n: w**n * (1 - w**2) ** 2, -1, 1)[0] for n in (0, 4)]  # m = 7
assert close(moments[1] / moments[0], 0.75 / 15.75, 1e-12)  # the formula for j = 2
assert close(series(1.7, 128), phi, 1e-14)
assert close(series(1e-6, 128), 1e-12 / (2 * 128), 1e-12)  # phi = kappa^2 / (2m) + ...
assert series(200, 4) < 0.9 * reference(200, 4)[0]  # too few terms

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
# (In Bessel's letters: $I_{\nu-1}-I_{\nu+1}=(2\nu/\kappa)I_\nu$.) The slope says $A_m=f_m'/f_m=(\kappa/m)\,a_m$ with
# $a_m=f_{m+2}/f_m$. Divide the first equation by $f_{m+2}$, and take logarithms:
#
# $$
# a_m=\frac1{1+q\,a_{m+2}},\qquad\phi_m=\phi_{m+2}+\log(1+q\,a_{m+2}).
# $$
#
# Only plus signs. And $a_m$ lies in $(0,1]$ and tends to 1 for small $\kappa$: no underflow.
#
# What becomes of an error? Differentiate $\log a_m$ by $\log a_{m+2}$: a relative error of $a_{m+2}$ reaches $a_m$
# multiplied by $-q\,a_{m+2}/(1+q\,a_{m+2})=-(1-a_m)$. Going **down** in $m$, each step shrinks it. Going **up**,
# $a_{m+2}=(1/a_m-1)/q$, each step divides it by $1-a_m$.
#
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

figure, axes = plotting.subplots()
axes.semilogy(ms, down, "o-", ms, up, "o-", markersize=3)
axes.text(48, 1e-17, "← downward,\nfrom a wrong start", color=BLUE)
axes.text(12, 1e-7, "upward, from\nan exact start →", color=ORANGE)
axes.set(xlabel="dimension m", ylabel="relative error of $a_m$", ylim=(1e-18, None))
plotting.show(
    figure,
    "**Figure 3.1.** One recurrence, two directions, $\\kappa=10$.",
    alt="Error against dimension. Downward it falls from one to rounding level; upward it rises from rounding level.",
)

assert down[0] < 1e-15 < 0.02 < down[-1]
assert up[0] < 1e-15 < 1 < up[-1]
assert close(downward(10, 2, 1, exact[1] * (1 + 1e-6))[0] / exact[0] - 1, -1e-6 * (1 - exact[0]), 1e-4)
step = np.log1p(40 * reference(40, 7)[1] / 5)  # m = 5, kappa = 40: q a_7 = kappa A_7 / 5
assert close(reference(40, 5)[0], reference(40, 7)[0] + step, 1e-14)

# %% [markdown]
# Read the blue line from right to left: it begins a few percent wrong and ends with all bits right. The orange line
# begins right and ends with nothing. How many steps are enough? For $m\ll\kappa$, $a_m\approx m/\kappa$, and errors
# shrink by $\prod(1-m/\kappa)\approx e^{-M^2/4\kappa}$ on the way down from $M$. For 16 digits $M\approx12\sqrt\kappa$:
# 600 steps at $\kappa=10^4$. A better start would help.
#
# ## A bound by Amos
#
# The derivative of $e^{\kappa w}(1-w^2)^{(m-1)/2}$ integrates to zero over $[-1,1]$. Written with averages under the
# density proportional to $e^{\kappa w}(1-w^2)^{(m-3)/2}$: $\kappa E[1-w^2]=(m-1)E[w]=(m-1)A_m$. Now $A_m'=\phi_m''$ is
# the variance $E[w^2]-A_m^2$. Insert $E[w^2]$:
#
# $$
# A_m'=1-A_m^2-\frac{m-1}\kappa A_m>0.
# $$
#
# A variance is positive, so $A_m$ lies below the positive root $x_0$ of $1-x^2-(m-1)x/\kappa$. That is the upper bound.
# For the lower one write the recurrence as $A_m=1/(m/\kappa+A_{m+2})$ and insert the upper bound of $A_{m+2}$, which is
# $(\sqrt{(m+1)^2+4\kappa^2}-(m+1))/2\kappa$:
#
# $$
# \frac{2\kappa}{m-1+\sqrt{(m+1)^2+4\kappa^2}}\le A_m(\kappa)\le\frac{2\kappa}{m-1+\sqrt{(m-1)^2+4\kappa^2}}=x_0.
# $$


# %%
def amos(kappa, m):
    """Lower and upper bound of A."""
    return np.array([2 * kappa / (m - 1 + np.hypot(n, 2 * kappa)) for n in (m + 1, m - 1)])


def error(steps, start):
    """Of a_2 at kappa = 10^4."""
    return abs(downward(1e4, 2, steps, start)[0] / 2 * 1e4 / reference(1e4, 2)[1] - 1)


kappas = np.logspace(-2, 4, 61)
for m in (2, 3, 10, 100):
    low, high = amos(kappas, m)
    assert np.all((low < reference(kappas, m)[1]) & (reference(kappas, m)[1] < high))
    assert max(high / low - 1) < 1 / (m - 1)
middle = amos(1e4, 402).mean() * 402 / 1e4
print(f"error after 200 steps: {error(200, 1):.0e} from 1, {error(200, middle):.0e} from the middle of the bounds")
assert error(200, middle) < 1e-9 < 1e-2 < error(200, 1)
assert error(600, 1) < 1e-13
A = reference([2.9999, 3, 3.0001], 5)[1]
assert close((A[2] - A[0]) / 0.0002, 1 - A[1] ** 2 - 4 / 3 * A[1], 1e-7)  # the equation for A'
ends = sorted(downward(3, 5, 10, a * 25 / 3)[0] for a in amos(3, 25))
assert ends[0] <= reference(3, 5)[1] * 5 / 3 <= ends[1] < ends[0] + 1e-12

# %% [markdown]
# The gap is below $1/(m-1)$, and closes at large $\kappa$, where the recurrence is slow. Here the bounds save eight
# digits. They also certify: a step is a decreasing function, so starts that bracket the truth end in values that
# bracket it. Remember $x_0$; it will return.
#
# ## Debye: large dimension
#
# The recurrence of $\phi$ needs a start at large $m$. With $s=\sqrt{\nu^2+\kappa^2}$, the integrand of
# $E\,e^{\kappa w}$ is $e^{h(w)}(1-w^2)^{-1/2}$, $h=\kappa w+\nu\log(1-w^2)$: a narrow peak when $\nu$ is large.
# Laplace's method takes the parabola of $h$ at the peak, and the other factor's value there.
#
# 1. $h'=\kappa-2\nu w/(1-w^2)=0$ at $w_*=\kappa/(\nu+s)$, where $1-w_*^2=2\nu/(\nu+s)$ and $\kappa w_*=s-\nu$.
# 2. $h''=-2\nu(1+w^2)/(1-w^2)^2$ is $-s(\nu+s)/\nu$ there, since $1+w_*^2=2s/(\nu+s)$.
# 3. The integral is about $e^{h(w_*)}(1-w_*^2)^{-1/2}\sqrt{2\pi/|h''|}=e^{h(w_*)}\sqrt{\pi/s}$.
# 4. At $\kappa=0$ this is $\sqrt{\pi/\nu}$. The expectation is the quotient of the two:
#
# $$
# \phi_m\approx(s-\nu)-\nu\log\frac{s+\nu}{2\nu}-\frac12\log\frac s\nu,\qquad s-\nu=\frac{\kappa^2}{s+\nu}.
# $$
#
# **Higher terms** come from the equation for $A_m'$. Put $B=\nu+\kappa A_m$, multiply by $\kappa^2$, and use
# $m-1=2\nu+1$: it becomes $\kappa B'+B^2=s^2$. So $B\approx s$ for large $\nu$. Let $p=\nu/s$ and try $B=s\,b(p)$,
# $b=\sum_jb_j(p)\nu^{-j}$, $b_0=1$. With $\kappa s'=s(1-p^2)$, $\kappa p'=-p(1-p^2)$ and $1/s=p/\nu$, the equation is
# $b^2=1-(p/\nu)(1-p^2)(b-p\,b')$. Equal powers of $1/\nu$ give polynomials, one after the other:
#
# $$
# 2b_j=-p(1-p^2)(b_{j-1}-p\,b_{j-1}')-\sum_{i=1}^{j-1}b_ib_{j-i}.
# $$
#
# Integrate $\phi_m'=(B-\nu)/\kappa$ from 0, with $d\kappa/\kappa=-dp/(p(1-p^2))$. From $b_0$ and $b_1$ come Laplace's
# three terms; the others add
#
# $$
# \sum_{j\ge1}\frac{V_j(p)}{\nu^j},\qquad V_j(p)=\int_p^1\frac{b_{j+1}(t)}{t^2(1-t^2)}\,dt.
# $$
#
# The expansion is *uniform*: $p$ never leaves $(0,1]$, so the terms stay bounded for all $\kappa$. The textbook's $U_j$
# (DLMF 10.41.10) are the coefficients of its exponential: a check.


# %%
def debye_polynomials(terms):
    """V_j / (1 - p), j = 1 ... terms."""
    p, b, result = Polynomial([0, 1]), [Polynomial([1.0])], []
    for j in range(1, terms + 2):
        products = sum(b[i] * b[j - i] for i in range(1, j))
        b.append((-p * (1 - p**2) * (b[-1] - p * b[-1].deriv()) - products) / 2)
    for bj in b[2:]:
        integral, rest = divmod(bj, p**2 * (1 - p**2))
        integral, rest2 = divmod(integral.integ()(1) - integral.integ(), 1 - p)
        assert max(*abs(rest.coef), *abs(rest2.coef)) < 1e-8  # no remainders
        result.append(integral)
    return result


V = debye_polynomials(8)


def debye(kappa, m, terms=8):
    """phi for large m."""
    nu = m / 2 - 1
    s = np.hypot(nu, kappa)
    e = kappa**2 / (s + nu)  # s - nu; and 1 - p = e / s
    laplace = e - nu * np.log1p(e / (2 * nu)) - np.log1p(e / nu) / 2
    return laplace + sum(v(nu / s) * e / s / nu ** (j + 1) for j, v in enumerate(V[:terms]))


p = np.linspace(0.1, 1, 10)
U1, U2 = (3 * p - 5 * p**3) / 24, (81 * p**2 - 462 * p**4 + 385 * p**6) / 1152
for v, log_u in zip(V[:2], (U1, U2 - U1**2 / 2), strict=True):
    assert np.allclose((1 - p) * v(p), log_u - log_u[-1])

dims = 2 ** np.arange(3, 9)
kappas = np.logspace(-3, 4, 29)
truth = reference(kappas, dims[:, None])[0]
figure, axes = plotting.subplots()
for terms in (0, 1, 2, 4, 8):
    worst = abs(debye(kappas, dims[:, None], terms) / truth - 1).max(axis=1)
    line = axes.loglog(dims, worst, "o-", markersize=3)[0]
    axes.text(275, worst[-1] * 0.6, f"+ {terms}" if terms else "Laplace", color=line.get_color())
    assert terms > 0 or all(worst < 2 / dims)
assert max(worst[dims >= 64]) < 1e-11 < 1e-5 < worst[0]
axes.set(xlabel="dimension m", ylabel="largest relative error of $\\phi_m$", xlim=(7, 400))
axes.set_xticks(dims, dims)
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 3.2.** Laplace's terms and 1 to 8 of the others: largest error over $\\kappa$ from $10^{-3}$ to $10^4$.",
    alt="Error against dimension in log-log scale: lines that are steeper the more terms are used.",
)

# %% [markdown]
# Each term makes the line steeper by one power. At $m=8$ eight terms still leave $10^{-4}$; at $m=2$, $\nu=0$ and
# nothing is defined: the series is asymptotic, for large $\nu$, not for many terms. So start at $M\ge64$ and walk down.
#
# ## Hankel: large concentration
#
# For large $\kappa$ the mass sits next to $w=1$. Put $y=1-w$ and $\alpha=(m-3)/2$, so that $1-w^2=2y(1-y/2)$:
#
# $$
# E\,e^{\kappa w}=N\,2^\alpha e^\kappa\int_0^2e^{-\kappa y}y^\alpha(1-y/2)^\alpha dy,\qquad
# N=\frac{\Gamma(m/2)}{\sqrt\pi\,\Gamma(\alpha+1)}.
# $$
#
# Expand the last factor by the binomial series and let each integral run to infinity, at a cost of order
# $e^{-2\kappa}$. Each is $\Gamma(\alpha+j+1)/\kappa^{\alpha+j+1}$; $\Gamma(\alpha+1)$ cancels, and
#
# $$
# \kappa-\phi_m\approx\frac{m-1}2\log\kappa+\frac12\log\pi-\alpha\log2-\log\Gamma(m/2)-\log\sum_jt_j,\qquad
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


for m, k in [(2, 60.0), (3, 30.0), (10, 100.0)]:
    assert close(hankel(k, m), k - reference(k, m)[0], 1e-12)

# %% [markdown]
# ## A map of who works where
#
# `by_hand` combines Debye at $M\ge64$ with the recurrences, and $a_M=f_{M+2}/f_M=e^{\phi_{M+2}-\phi_M}$.


# %%
def by_hand(kappa, m):
    """phi and A for every m >= 2."""
    top = m + 2 * max(0, (65 - m) // 2)
    phi = debye(kappa, top)
    a = np.exp(debye(kappa, top + 2) - phi)
    for n in range(top - 2, m - 1, -2):
        q = kappa**2 * a / (n * (n + 2))
        phi, a = phi + np.log1p(q), 1 / (1 + q)
    return phi, kappa * a / m


def textbook(kappa, m, dtype):
    """phi by its formula."""
    nu, kappa = dtype(m / 2 - 1), kappa.astype(dtype)
    return dtype(gammaln(m / 2)) + nu * np.log(2 / kappa) + np.log(ive(nu, kappa)) + kappa


dims = np.unique(np.round(2 ** np.arange(1, 10.1, 0.25))).astype(int)
kappas = np.logspace(-4, 4, 41)
truth, mean, _ = reference(kappas, dims[:, None])
tools = {
    "ive, float32": lambda m: textbook(kappas, m, np.float32),
    "ive, float64": lambda m: textbook(kappas, m, np.float64),
    "series, 60 terms": lambda m: series(kappas, m),
    "Debye, 8 terms": lambda m: debye(kappas, m),
    "Hankel, 25 terms": lambda m: kappas - hankel(kappas, m),
    "Debye and recurrence": lambda m: by_hand(kappas, int(m))[0],
}
figure, panels = plotting.subplots(2, 3, size=(7.5, 5), sharex=True, sharey=True)
errors = {}
for axes, (name, tool) in zip(panels.flat, tools.items(), strict=True):
    with np.errstate(all="ignore"):
        found = np.array([tool(m) for m in dims]) / truth - 1
    errors[name] = abs(np.where(np.isfinite(found), found, np.nan))
    axes.set_facecolor("0.6")  # where the value is not finite
    digits = np.log10(errors[name] + 1e-17)
    picture = axes.pcolormesh(np.log10(kappas), np.log2(dims), digits, cmap="viridis_r", vmin=-16, vmax=0)
    axes.set(title=name, xticks=[-4, -2, 0, 2, 4])
    axes.set_yticks([1, 3, 5, 7, 9], [2, 8, 32, 128, 512])
figure.supxlabel("$\\log_{10}\\kappa$", size=10)
figure.supylabel("dimension m", size=10)
figure.colorbar(picture, ax=panels, label="$\\log_{10}$ of the relative error of $\\phi_m$")
plotting.show(
    figure,
    "**Figure 3.3.** Errors against 40-digit references. Yellow is right, dark is wrong, grey is not finite.",
    alt="Six maps over concentration and dimension. Only Debye with the recurrence is right everywhere.",
)

assert errors["Debye and recurrence"].max() < 1e-12
assert all(close(by_hand(kappas, int(m))[1], row, 1e-11) for m, row in zip(dims, mean, strict=True))
assert np.isnan(errors["ive, float32"]).sum() > np.isnan(errors["ive, float64"]).sum() > 0
assert np.nanmax(errors["ive, float32"]) > 1  # finite, and no digit right
assert np.nanmax(errors["ive, float64"]) > 1e-6

# %% [markdown]
# Three tools own a region each, and the combination owns the map. The first two panels show something else. Beside the
# grey, where `ive` underflows, float32 has a dark field where `ive` is finite and $\phi_m$ is wrong all the same. In
# float64 more than ten of 16 digits are lost in places.
#
# ## The trap
#
# The trap is to think that underflow was the fault. S-VAE code needs the divergence $\mathrm{KL}=\kappa A_m-\phi_m$
# from the uniform law ([chapter 6](06_kl_divergence.ipynb) derives it). Public code writes
# `kappa * ratio + log C + const`:
#
# $$
# \log C_m=\nu\log\kappa-\tfrac m2\log2\pi-\log I_\nu(\kappa),\qquad
# \mathrm{const}=\log2+\tfrac m2\log\pi-\log\Gamma(m/2).
# $$
#
# These terms have size $m\log m$. For small $\kappa$ their sum is $\kappa^2/2m$. Let us be generous: take ratio and
# $\log I_\nu$ from 40-digit arithmetic, round them to float32, and add.


# %%
@np.vectorize
def exact_log_bessel(kappa, m):
    """log I, correctly rounded."""
    return float(mpmath.log(mpmath.besseli(mpmath.mpf(int(m)) / 2 - 1, float(kappa))))


def textbook_kl(kappa, m, ratio, log_bessel):
    """The sum, in float32."""
    f = np.float32
    log_c = f(m / 2 - 1) * np.log(kappa) - f(m / 2 * np.log(2 * np.pi)) - f(log_bessel)
    return kappa * f(ratio) + log_c + f(np.log(2) + m / 2 * np.log(np.pi) - gammaln(m / 2))


k = np.float32(0.1)
dims = np.unique(np.geomspace(3, 1024, 40).astype(int))
phi, mean, _ = reference(k, dims)
log_bessel, kl = exact_log_bessel(k, dims), float(k) * mean - phi
wrong = [abs(textbook_kl(k, *row[:3]) - row[3]) for row in zip(dims, mean, log_bessel, kl, strict=True)]
figure, axes = plotting.subplots()
axes.loglog(dims, abs(log_bessel), color=BLUE)
axes.loglog(dims, kl, color=GREEN)
axes.loglog(dims, wrong, "o", color=ORANGE, markersize=3)
axes.text(60, 10, "$|\\log I_\\nu|$, one of the terms", color=BLUE)
axes.text(3, 1e-4, "KL, the sum", color=GREEN)
axes.text(22, 1e-8, "error of the sum in float32", color=ORANGE)
axes.set(xlabel="dimension m", ylabel="nats", ylim=(1e-9, 1e5))
plotting.show(
    figure,
    "**Figure 3.4.** The textbook sum with *exact* Bessel functions, $\\kappa=0.1$.",
    alt="With growing dimension the terms and the error grow, the divergence falls; they meet near m = 200.",
)
assert abs(log_bessel[-1]) > 4000
assert close(kl[-1], 0.1**2 / (2 * 1024), 1e-3)
phi, mean, _ = reference(2, 3)
assert close(textbook_kl(np.float32(2), 3, mean, exact_log_bessel(2, 3)), 2 * mean - phi, 1e-5)  # right here
assert np.median((wrong / kl)[dims > 200]) > 0.9  # about 100 percent off, or more

# %% [markdown]
# Beyond $m\approx200$ nothing is right: the sum is rounding noise, or 0, which puts the error on the green line. Now
# count, on 96 points: 12 dimensions from 2 to 1024, 8 concentrations from $10^{-4}$ to $10^4$, float32. Wrong means not
# finite, or off by more than 0.1%. Into the last row goes the library, which is explained below.

# %% tags=["nbval-ignore-output"]
k = np.array([1e-4, 1e-3, 1e-2, 0.1, 1, 1e2, 1e3, 1e4], dtype=np.float32)
wrong = {"textbook with ive": 0, "textbook, exact Bessel": 0, "library": 0}
for m in (2, 3, 4, 8, 16, 32, 41, 64, 128, 256, 512, 1024):
    phi, mean, _ = reference(k, m)
    kl, nu, kappa = k * mean - phi, np.float32(m / 2 - 1), torch.tensor(k)
    with np.errstate(all="ignore"):
        with_ive = textbook_kl(k, m, ive(nu + 1, k) / ive(nu, k), np.log(ive(nu, k)) + k)
    with_exact = textbook_kl(k, m, mean, exact_log_bessel(k, m))
    ours = (kappa * mean_resultant_length(kappa, m) - log_partition(kappa, m)).numpy()
    for name, values in zip(wrong, (with_ive, with_exact, ours), strict=True):
        wrong[name] += np.sum(~(abs(values / kl - 1) <= 1e-3))
for name, count in wrong.items():
    print(f"{name}: KL wrong on {count} of 96")

# %%
assert wrong["library"] == 0
assert 45 <= wrong["textbook with ive"] <= 57
assert 38 <= wrong["textbook, exact Bessel"] <= 48

# %% [markdown]
# A perfect Bessel function repairs only about 8 of 51. **The cure**: do not compute $\log I_\nu$ at all. $\phi_m$ is
# what is left of it after the large terms have been cancelled on paper. Compute that, as each method of this chapter
# does.
#
# ## The library's version
#
# The library has no regions. It makes Laplace's method exact. Take Amos' $x_0$ and substitute $w=(x_0+x)/(1+x_0x)$:
# this moves $x=0$ to $w=x_0$ and keeps $\pm1$. With $c=1/(1+x_0x)$,
#
# $$
# 1-w^2=(1-x_0^2)(1-x^2)c^2,\qquad dw=(1-x_0^2)c^2dx,\qquad w-x_0=\frac{1-x_0^2}{x_0}(1-c).
# $$
#
# By the quadratic equation of $x_0$, $(1-x_0^2)/x_0=(m-1)/\kappa$. So $\kappa w=\kappa x_0+(m-1)(1-c)$, and
# $(1-w^2)^{(m-3)/2}dw$ gives $c^{m-1}$ times the density of a uniform coordinate $x$, times a constant:
#
# $$
# \phi_m(\kappa)=\kappa x_0+\frac{m-1}2\log(1-x_0^2)+\log E_x\bigl[(c\,e^{1-c})^{m-1}\bigr].
# $$
#
# Nothing can overflow: $c\,e^{1-c}\le1$. The expectation depends on $\kappa$ through $x_0\in[0,1)$ alone. It is even in
# $x_0$, because $x$ is symmetric, and 1 at $x_0=0$. So $-\log E_x[\ldots]/x_0^2$ is a smooth function of $x_0^2$ on
# $[0,1]$. Interpolate it at Chebyshev points, once per dimension:


# %%
def chebyshev_table(m):
    """Interpolant in x0^2."""
    x, weights = roots_gegenbauer(256, m / 2 - 1)  # Gauss' rule for E_x

    def smooth(square):  # x0^2
        u = np.sqrt(square)[:, None] * x  # c = 1 / (1 + u)
        excess = np.expm1((m - 1) * (u / (1 + u) - np.log1p(u)))
        return -np.log1p(excess @ weights / weights.sum()) / square

    return Chebyshev.interpolate(smooth, 20 + 150 // m, domain=[0, 1])


def small_log_partition(kappa, m, table):
    """phi."""
    x0 = amos(kappa, m)[1]
    half_log = (m - 1) / 2 * np.log1p(kappa * x0 / (m - 1))  # -(m-1)/2 log(1 - x0^2)
    return kappa * x0 - half_log - x0**2 * table(x0**2)


x0, x = 0.6, -0.3  # the substitution
w, c = (x0 + x) / (1 + x0 * x), 1 / (1 + x0 * x)
assert close(1 - w**2, (1 - x0**2) * (1 - x**2) * c**2, 1e-12)
assert close(w - x0, (1 - x0**2) / x0 * (1 - c), 1e-12)

square = np.linspace(0, 1, 201)
figure, axes = plotting.subplots()
for m in (2, 3, 10, 128):
    table = chebyshev_table(m)
    assert close(small_log_partition(kappas, m, table), reference(kappas, m)[0], 1e-11)
    line = axes.plot(square, table(square))[0]
    axes.text(-0.02, table(0), f"m = {m}", color=line.get_color(), va="center", ha="right")
axes.set(xlabel="$x_0^2$, from κ = 0 to κ = ∞", ylabel="tabulated function", xlim=(-0.15, 1), ylim=(0, 0.55))
plotting.show(
    figure,
    "**Figure 3.5.** What the library tabulates for $\\phi_m$: $-\\log E_x[(c\\,e^{1-c})^{m-1}]/x_0^2$.",
    alt="Four smooth, slowly varying curves for m = 2, 3, 10 and 128, between 0.25 and 0.5.",
)

# %% [markdown]
# Underflow, dark bands and regions were features of the formulas. The function itself is this tame. Now the library
# against our own values, and $1-A_m$ where subtraction fails:

# %%
kappa = torch.tensor(kappas)
for m in (2, 10, 128):
    phi, mean = by_hand(kappas, m)
    assert close(log_partition(kappa, m), phi, 1e-12)
    assert close(mean_resultant_length(kappa, m), mean, 1e-11)

start = torch.tensor(1.7, requires_grad=True)  # where this chapter began, in float32
phi = log_partition(start, 128)
phi.backward()
assert close([phi.item(), start.grad.item()], reference(1.7, 128)[:2], 1e-6)

large = torch.tensor(1e7)
difference = (1 - mean_resultant_length(large, 3)).item()
complement = mean_resultant_length_complement(large, 3).item()
print(f"1 - A at m = 3, kappa = 1e7, float32: {difference:.2e} by subtraction, {complement:.2e} by the library")
assert close(complement, reference(1e7, 3)[2], 1e-6)
assert abs(difference / complement - 1) > 0.1

# %% [markdown]
# ## Test yourself
#
# **1.** In Figure 3.1, why does the orange line rise slowly up to $m\approx10$, and fast after?
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
# 2. A perfect $\log I_\nu$ does not help: terms of size $m\log m$ sum to $\kappa^2/2m$. Compute $\phi_m$ directly.
# 3. The recurrence $a_m=1/(1+q\,a_{m+2})$ forgets errors downward and amplifies them upward; Amos' bounds start it.
# 4. The series serves small $\kappa$, Hankel large $\kappa$, Debye large $m$; Debye with the recurrence serves all.
# 5. The library makes Laplace's method exact by $w=(x_0+x)/(1+x_0x)$, and tabulates a smooth correction.
#
# ## References
#
# - NIST Digital Library of Mathematical Functions, [dlmf.nist.gov](https://dlmf.nist.gov): 10.39.9 ($\phi_m$ as
#   ${}_0F_1$), 10.29.1 (recurrence), 10.41.3 and 10.41.10 (Debye), 10.40.1 (Hankel), section 3.6 (Miller's algorithm).
# - Amos (1974), Computation of modified Bessel functions and their ratios, *Mathematics of Computation* 28, 239-251:
#   the bounds.
# - Hornik and Grün (2013), Amos-type bounds for modified Bessel function ratios, *J. Math. Anal. Appl.* 408, 91-101:
#   which bounds of this form are best.
# - Ruiz-Antolín and Segura (2016), [arXiv 1606.02008](https://arxiv.org/abs/1606.02008): sharper bounds from the
#   equation for $A_m'$.
# - Davidson et al. (2018), [arXiv 1804.00891](https://arxiv.org/abs/1804.00891), equation 8: the divergence.
