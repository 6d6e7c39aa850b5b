# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Why a sphere?
#
# *A variational autoencoder has to put its data somewhere. Nearly everybody puts them in a Gaussian cloud. What does
# the cloud do to them, and what changes on a sphere?*
#
# **You will be able to**
#
# - compute the pull of a Gaussian prior to the origin, and show that a uniform prior on a sphere has none;
# - say where the samples of a Gaussian in $d$ dimensions are, and where they are not;
# - name the price, in nats, of a circle in the plane and of the same circle on a circle;
# - say when a Gaussian prior is the wrong prior, and compare the two kinds of model fairly.
#
# **You need**: calculus, means and variances, and an idea of what an autoencoder is. Formulas of the sphere that appear
# here in passing are derived in [chapter 2](02_von_mises_fisher.ipynb) and [chapter 6](06_kl_divergence.ipynb).
#
# **Time**: 40 minutes.

# %%
import math

import numpy as np
import torch
from scipy.stats import chi2
from torch.distributions import kl_divergence

from hvae_tutorial import plotting
from hvae_tutorial.data import load
from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher
from hvae_tutorial.experiments.knn import knn_accuracies
from hvae_tutorial.experiments.protocol import binarized, latent_means
from hvae_tutorial.models import GaussianPosterior, VonMisesFisherPosterior, mlp_vae
from hvae_tutorial.objectives import elbo
from hvae_tutorial.training import TrainingSettings, fit

BLUE, ORANGE, GREEN, PINK = plotting.CURVE_COLOURS[:4]

# %% [markdown]
# ## A variational autoencoder in one paragraph
#
# Data are $x$, their latent code is $z$. An encoder turns each $x$ into a distribution $q(z|x)$, the *posterior*; a
# decoder turns a draw of $z$ into a distribution $p(x|z)$; and a fixed distribution $p(z)$, the *prior*, says where
# codes should be. Encoder and decoder are trained to make
#
# $$
# \mathrm{ELBO} = E_q[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x) \Vert p(z)), \qquad
#   \mathrm{KL}(q \Vert p) = E_q\Bigl[\log \frac{q(z)}{p(z)}\Bigr]
# $$
#
# large, on average over the data. At $\beta = 1$ it is a lower bound on $\log p(x)$
# ([chapter 7](07_n_vae.ipynb) derives it). The first term wants to know $z$ precisely. The second is the price of that
# knowledge: how far the posterior of one $x$ is from the prior of all. It is measured in nats, the unit of natural
# logarithms: a posterior that is $e$ times narrower in one coordinate costs about one nat more.
#
# This chapter compares three ways to choose $q$ and $p$.
#
# - **N-VAE**: $q = N(\mu, \mathrm{diag}(\sigma^2))$ and $p = N(0, I)$, in the plane or space $\mathbb{R}^d$.
# - **S-VAE**: $p$ is uniform on the unit sphere, and $q$ is the von Mises-Fisher law, whose density is proportional to
#   $\exp(\kappa\, \mu \cdot z)$: a round bump at the direction $\mu$, the narrower the larger $\kappa$.
# - **Autoencoder**: $q$ is a single point, and there is no price.
#
# The sphere $S^d$ has $d$ dimensions and lies in a space of $m = d + 1$ coordinates. The circle is $S^1$, in
# $\mathbb{R}^2$.

# %% [markdown]
# ## Gravity of the origin
#
# Take one coordinate of the Gaussian posterior. With $\log q = -\log\sigma - (z-\mu)^2 / (2\sigma^2) + c$,
# $\log p = -z^2/2 + c$ and the same constant $c$, we need only $E_q (z-\mu)^2 = \sigma^2$ and
# $E_q z^2 = \mu^2 + \sigma^2$. The sum over coordinates is
#
# $$
# \mathrm{KL}(q \Vert p) = \sum_{i=1}^d \tfrac12 (\mu_i^2 + \sigma_i^2 - 1) - \log \sigma_i,
#   \qquad \frac{\partial\, \mathrm{KL}}{\partial \mu_i} = \mu_i .
# $$
#
# The gradient is a spring: every mean is pulled to the origin, the harder the further out it is. Reconstruction pulls
# back. Near the place $a$ where the decoder would like a point to be, $E_q \log p(x|z)$ falls like
# $-(\mu - a)^2 / (2 s^2)$ for some width $s$. The sum of both is largest where its derivative
# $-(\mu - a)/s^2 - \beta\mu$ is zero:
#
# $$
# \mu^* = \frac{a}{1 + \beta s^2} .
# $$
#
# Points that the decoder can place loosely (large $s$) fall in. Points that it must keep apart stay out.


# %%
def gaussian_kl(mean, scale):
    """KL(N(mean, diag(scale^2)) || N(0, I)) in nats; both arguments (..., d)."""
    return (0.5 * (mean**2 + scale**2 - 1) - torch.log(scale)).sum(-1)


mean = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
scale = torch.tensor([0.3, 0.6], dtype=torch.float64)
(pull,) = torch.autograd.grad(gaussian_kl(mean, scale), mean)
assert torch.equal(pull, mean)  # the spring

# The formula is the integral of q log(q/p): sum over a fine grid of the plane.
z = torch.cartesian_prod(*2 * [torch.linspace(-7, 7, 701, dtype=torch.float64)])
log_q = torch.distributions.Normal(mean.detach(), scale).log_prob(z).sum(-1)
log_p = torch.distributions.Normal(0, 1).log_prob(z).sum(-1)
integral = (log_q.exp() * (log_q - log_p)).sum() * 0.02**2
assert abs(integral - gaussian_kl(mean, scale)) < 1e-6

# The balance of both forces: the best mean on a grid is a / (1 + beta s^2).
a, s, beta = 3.0, 0.8, 1.0
grid = torch.linspace(0, 4, 4001, dtype=torch.float64)
objective = -((grid - a) ** 2) / (2 * s**2) - beta * grid**2 / 2
assert abs(grid[objective.argmax()] - a / (1 + beta * s**2)) < 1e-3

# %% [markdown]
# Now the circle. The uniform prior has the same density $1/(2\pi)$ everywhere, so $\mathrm{KL} = E_q[\log q] +
# \log 2\pi$. To turn $\mu$ is to turn $q$ as a whole. A rotation keeps lengths, so it does not change the integral of
# $q \log q$. The price does not depend on $\mu$ at all: only the concentration $\kappa$ pays. The same holds on every
# sphere. In code the integral is a mean over 720 angles.


# %%
def circle_kl(kappa, direction=0.0):
    """KL(vMF(mu, kappa) || uniform) on the circle, in nats, with mu at the angle `direction`."""
    t = 2 * np.pi * np.arange(720) / 720
    q = np.exp(kappa * (np.cos(t - direction) - 1))
    q = q / q.mean()  # density relative to the uniform law
    return (q * np.log(np.maximum(q, 1e-300))).mean()


prices = [circle_kl(100.0, direction) for direction in (0.0, 0.7, 2.0, 4.5)]
assert np.ptp(prices) < 1e-12  # no pull
print(f"on the circle {prices[0]:.2f} nats, wherever the bump is")

# %%
figure, axes = plotting.subplots(size=(7, 2.8))
moved = np.linspace(-np.pi, np.pi, 101)
along = torch.stack([torch.from_numpy(moved), torch.zeros(101)], dim=-1)
axes.plot(moved, gaussian_kl(along, torch.full((2,), 0.1)), color=BLUE)
axes.plot(moved, [circle_kl(100.0, direction) for direction in moved], color=ORANGE)
axes.text(0, 5, "in the plane, along a line through 0", color=BLUE, ha="center")
axes.text(0, 2.4, "once around the circle", color=ORANGE, ha="center", va="top")
axes.set(xlabel=r"position of $\mu$ (radius of the circle = 1)", ylabel="KL (nats)", ylim=(0, 9))
plotting.show(
    figure,
    "**Figure 1.1.** What the prior charges for a posterior of width 0.1 (on the circle: κ = 100). The slope of the "
    "blue curve is the pull to the origin. On the circle no place is dearer than another.",
    alt="Price against position: in the plane a parabola, from 3.6 nats at the origin to 8.5 at distance 3; around the "
    "circle a flat line at 2.7.",
)

# %% [markdown]
# If the data form clusters, the plane's prior wants them all in the middle, and the reconstruction must hold them apart
# against it. The circle's prior has no opinion on where a cluster lies. It only asks that clusters be no narrower than
# needed.

# %% [markdown]
# ## The soap bubble
#
# The origin is where the Gaussian density is highest. Yet in high dimensions hardly any sample is there. Let
# $z \sim N(0, I)$ in $\mathbb{R}^d$. For one coordinate, $E z_i^2 = 1$. Integration by parts with
# $\frac{d}{dz} e^{-z^2/2} = -z\, e^{-z^2/2}$ gives $E z_i^4 = E[z_i^3 \cdot z_i] = 3\, E z_i^2 = 3$. So $z_i^2$ has
# variance $3 - 1 = 2$, and as coordinates are independent,
#
# $$
# E |z|^2 = d, \qquad \mathrm{Var}\, |z|^2 = 2 d .
# $$
#
# For the norm itself, use $|z|^2 - d = (|z| - \sqrt d)(|z| + \sqrt d)$ and $|z| + \sqrt d \ge \sqrt d$:
#
# $$
# E\bigl(|z| - \sqrt d\bigr)^2 \le \frac{E(|z|^2 - d)^2}{d} = \frac{2d}{d} = 2 .
# $$
#
# The radius of the cloud grows like $\sqrt d$, and its thickness does not grow. For large $d$ the factor
# $|z| + \sqrt d$ is nearly $2\sqrt d$ instead of $\sqrt d$, so the mean square tends to $2d / (4d) = 1/2$.
#
# In the middle, the density is nowhere above $(2\pi)^{-d/2}$, and the unit ball has the volume
# $\pi^{d/2} / \Gamma(d/2 + 1)$. Hence
#
# $$
# P(|z| \le 1) \le \frac{1}{2^{d/2}\, \Gamma(d/2 + 1)} .
# $$

# %%
rng = np.random.default_rng(1)
norms = {d: np.linalg.norm(rng.standard_normal((20_000, d)), axis=1) for d in (2, 10, 40, 100)}
print("  d   sqrt(d)   mean |z|   E(|z| - sqrt d)^2   P(|z| <= 1)")
for d, norm in norms.items():
    bound = 1 / (2 ** (d / 2) * math.gamma(d / 2 + 1))
    inside = chi2(d).cdf(1)  # the law of |z|^2 is called chi-squared
    print(f"{d:3d}   {d**0.5:7.2f}   {norm.mean():8.2f}   {((norm - d**0.5) ** 2).mean():17.2f}   {inside:11.0e}")
    # Standard errors: sqrt(2d/20000) for the mean of |z|^2, and 2% of 2d or less for its variance.
    assert abs((norm**2).mean() - d) < 5 * math.sqrt(2 * d / 20_000)
    assert abs((norm**2).var() / (2 * d) - 1) < 0.15
    assert ((norm - d**0.5) ** 2).mean() < 2
    assert inside <= bound
assert abs(((norms[100] - 10) ** 2).mean() - 0.5) < 0.03

# %%
figure, axes = plotting.subplots(size=(7, 2.8))
for colour, (d, norm) in zip((BLUE, ORANGE, GREEN, PINK), norms.items(), strict=True):
    axes.hist(norm, bins=np.arange(0, 13.01, 0.2), density=True, color=colour, alpha=0.7)
    axes.text(d**0.5, 0.7, f"d = {d}", color=colour, ha="center", weight="bold")
    axes.plot([d**0.5] * 2, [0, 0.65], color="0.2", linewidth=0.8, linestyle=":")
axes.set(xlabel="|z|, distance from the origin", ylabel="density of |z|", xlim=(0, 13), ylim=(0, 0.78))
plotting.show(
    figure,
    "**Figure 1.2.** Distance from the origin of 20,000 samples of N(0, I) in d dimensions. Dotted: √d. "
    "The hump moves out and keeps its width: the cloud is a soap bubble.",
    alt="Four histograms of the norm, for d = 2, 10, 40 and 100. Each is centred near the square root of d, "
    "and all have about the same width; near zero only d = 2 has any samples.",
)

# %% [markdown]
# The density of $N(0, I)$ depends on $|z|$ alone, so the direction $z/|z|$ is uniform on the sphere. In high dimensions
# a Gaussian prior thus *is* a uniform prior on a sphere, of radius $\sqrt d$, plus a small noise in the radius. The
# pull on a mean still goes to the centre of the bubble. There is no contradiction: not the mean of a posterior but its
# draws, mean plus noise, have to look like draws of the prior. The posterior $N(0, I)$ costs nothing, and its draws are
# on the bubble.
#
# It matters whenever you compute with codes. The midpoint of two independent samples is $N(0, I/2)$: its norm is near
# $\sqrt{d/2}$. A straight walk from one code to another leaves the bubble, and the decoder has never been trained
# there. On the sphere one walks along a great circle.

# %%
first, second = rng.standard_normal((2, 20_000, 100))
middle = np.linalg.norm((first + second) / 2, axis=1)
print(f"d = 100: samples at {norms[100].mean():.1f}, midpoints at {middle.mean():.1f}")
assert abs(middle.mean() - math.sqrt(50)) < 0.1
assert middle.max() < np.quantile(norms[100], 0.2)

assert torch.equal(gaussian_kl(torch.zeros(100), torch.ones(100)), torch.tensor(0.0))  # N(0, I) costs nothing

# %% [markdown]
# ## A circle squeezed into a plane
#
# Suppose that the data come from a circle:
# hue, the hour of the day, an object that turns. An N-VAE can lay this circle into the plane as a ring of radius $r$,
# where each point has the posterior $N(\mu, \sigma^2 I)$ with $|\mu| = r$. What does the ring cost?
#
# To compare, both models must know the angle equally well. Seen from the origin, a bump of width $\sigma$ at distance
# $r$ has an angular width of about $\sigma / r$. On the circle $\mu \cdot z = \cos t \approx 1 - t^2/2$ at the angle
# $t$ from $\mu$, so $\exp(\kappa\, \mu \cdot z)$ is close to a normal density of width $1/\sqrt\kappa$. Equal precision
# is $\kappa = r^2/\sigma^2$. At this $\kappa$ the price of the ring is, with
# $\mu_1^2 + \mu_2^2 = r^2 = \kappa \sigma^2$,
#
# $$
# \mathrm{KL} = \tfrac12 (\kappa\sigma^2 + 2\sigma^2 - 2) - \log \sigma^2 .
# $$
#
# The derivative in $\sigma^2$ is $(\kappa+2)/2 - 1/\sigma^2$, zero at $\sigma^2 = 2/(\kappa+2)$. The cheapest ring has
#
# $$
# r^2 = \frac{2\kappa}{\kappa+2}, \qquad \mathrm{KL}_{\text{plane}} = \log\Bigl(1 + \frac{\kappa}{2}\Bigr) .
# $$
#
# Its radius tends to $\sqrt 2 = \sqrt d$: the bubble again. On the circle, for large $\kappa$, $q$ is a normal density
# of variance $s^2 = 1/\kappa$ in the angle $t$. For such a density
# $E_q \log q = -\tfrac12 \log(2\pi s^2) - E_q[t^2]/(2 s^2) = -\tfrac12 \log(2\pi/\kappa) - \tfrac12$. With the
# prior's $\log 2\pi$,
#
# $$
# \mathrm{KL}_{\text{circle}} \approx \tfrac12 \log\frac{2\pi\kappa}{e} .
# $$
#
# The plane pays $\log\kappa$ and the circle $\tfrac12\log\kappa$. The plane has to pin down two coordinates to know one
# angle: half of its nats buy a radius that says nothing.

# %%
kappas = np.geomspace(1, 3000, 60)
plane_price, circle_price = np.log1p(kappas / 2), np.array([circle_kl(kappa) for kappa in kappas])

variance = np.linspace(1e-4, 2, 200_001)  # the cheapest ring at kappa = 100, by search
ring = 0.5 * (100 * variance + 2 * variance - 2) - np.log(variance)
assert abs(ring.min() - np.log1p(50)) < 1e-6
assert abs(variance[ring.argmin()] - 2 / 102) < 1e-4

assert abs(circle_kl(1000.0) - 0.5 * math.log(2 * math.pi * 1000 / math.e)) < 1e-3
assert (circle_price < plane_price).all()  # the circle is cheaper at every precision here
print(f"at kappa = 100: plane {np.log1p(50):.2f} nats, circle {circle_kl(100.0):.2f}")

# %%
figure, axes = plotting.subplots(size=(7, 2.9))
degrees = np.degrees(1 / np.sqrt(kappas))
axes.semilogx(degrees, plane_price, color=BLUE)
axes.semilogx(degrees, circle_price, color=ORANGE)
axes.text(3.4, 5.3, "ring in the plane\nlog(1 + κ/2)", color=BLUE, ha="right", va="bottom")
axes.text(1.5, 2.7, "circle\nabout ½ log(2πκ/e)", color=ORANGE, ha="right", va="top")
axes.set(xlabel="angular precision 1/√κ (degrees)", ylabel="KL (nats)", xlim=(60, 1), ylim=(0, 7.8))
axes.set_xticks([60, 30, 10, 3, 1], labels=["60°", "30°", "10°", "3°", "1°"], minor=False)
axes.set_xticks([], minor=True)
plotting.show(
    figure,
    "**Figure 1.3.** The price of knowing an angle, with finer precision to the right. Each halving of the error costs "
    "log 4 = 1.4 nats in the plane and log 2 = 0.7 on the circle.",
    alt="Two rising curves of the price in nats against angular precision, from 60 degrees to 1. "
    "The plane's curve is above the circle's and rises twice as steeply, to 7.3 against 4.4 nats.",
)

# %% [markdown]
# Would a single Gaussian coordinate do, as an angle is one number? No. Let $f$ be any continuous map from the circle to
# the line, and $g(t) = f(t) - f(t + \pi)$. Then $g(t + \pi) = -g(t)$, so $g$ changes its sign and is zero somewhere:
# two *opposite* points of the circle get the same code. An encoder onto a line must fold the circle, or nearly tear it
# where there are no data.

# %% [markdown]
# ## Four models and a circle
#
# Now train. `load("circle")` has 1,000 points from three clusters on a circle, bent into $\mathbb{R}^{100}$ by a random
# smooth map, plus noise, as in Figure 1 of Davidson et al. (2018). The models see the 100 coordinates and never
# the angle. All have one hidden layer of 32 and the same training; only the latent space differs. With $\beta = 0.1$
# the N-VAE's prior pulls a tenth as hard. The fifth model is the N-VAE on a line.

# %%
circle = load("circle")


def train(kind, d, beta=1.0):
    """A model of the circle's data: "ae" autoencoder, "n" N-VAE or "s" S-VAE, with a latent space of d dimensions."""
    torch.manual_seed(0)
    model = mlp_vae(kind, d, x_dim=100, hidden=(32,), likelihood="gaussian")
    settings = TrainingSettings(
        epochs=60, batch_size=100, learning_rate=3e-3, warmup_epochs=0, beta=beta, dynamic_binarization=False
    )
    fit(model, circle.train, circle.validation, settings, progress=False)
    return model.cpu()


models = {
    "autoencoder": train("ae", 2),
    "N-VAE, β = 0.1": train("n", 2, beta=0.1),
    "N-VAE, β = 1": train("n", 2),
    "N-VAE on a line": train("n", 1),
    "S-VAE": train("s", 1),
}
codes = {name: latent_means(model, circle.train) for name, model in models.items()}

# %%
true = torch.stack([circle.train_angles.cos(), circle.train_angles.sin()], dim=-1)
colours = plotting.ANGLE_COLOURS((circle.train_angles.numpy() / (2 * np.pi)) % 1)
figure, axes = plotting.subplots(2, 3, size=(7, 5))
figure.set_layout_engine("constrained", wspace=0.08, hspace=0.06)
for panel, (name, points) in zip(axes.flat, {"the true circle": true, **codes}.items(), strict=True):
    panel.set_title(name)
    if "β" in name:
        panel.scatter(*models[name].posterior.prior().sample((500,)).T, s=3, color="0.8", linewidths=0)
    if points.shape[1] == 1:
        panel.scatter(points[:, 0], np.zeros(800), c=colours, s=100, marker="|", linewidths=0.6)
        panel.set(box_aspect=1, xlabel="$z_1$", yticks=[])
        panel.spines["left"].set_visible(False)
    else:
        panel.scatter(*points.T, c=colours, s=5, linewidths=0)
        panel.set(aspect="equal", adjustable="datalim", box_aspect=1, xlabel="$z_1$", ylabel="$z_2$")
    panel.locator_params(nbins=4)
plotting.show(
    figure,
    "**Figure 1.4.** 800 codes in five latent spaces, coloured by the true angle, which no model has seen. "
    "Grey: samples of the prior in the plane. Mind the different scales.",
    alt="Six panels. The true circle with three clusters; the autoencoder's wide ring; two Gaussian rings, of radius "
    "about 3.3 and 2, with grey prior samples in the hole; a line with blue at both ends, since the circle is cut "
    "open there; and the S-VAE's unit circle with colours in order.",
)

# %% [markdown]
# Look at the scales first. The autoencoder's ring is as large as it likes. The weaker spring lets the ring out to more
# than 3, the full one holds it near 2. This is the gravity.
#
# Then the order of colours. The plane keeps it: two coordinates are enough for a ring. The line has cut the
# circle open in a gap between two clusters. Its ends are neighbours on the true circle, and it reconstructs much worse.
# Last, the grey. In the plane the prior is densest in the hole of the ring, where no code is. The S-VAE's prior
# has no hole to fill, because the circle is all there is.

# %% tags=["nbval-ignore-output"]
# Root mean square of the codes' distances from the origin, price, and reconstruction term of the ELBO.
radius = {name: points.square().sum(-1).mean().sqrt().item() for name, points in codes.items()}
torch.manual_seed(0)
with torch.no_grad():
    terms = {name: elbo(model, circle.validation) for name, model in models.items()}
for name in models:
    kl, reconstruction = terms[name].kl.mean(), terms[name].reconstruction.mean()
    print(f"{name:16s} radius {radius[name]:5.2f}   KL {kl:5.2f}   reconstruction {reconstruction:6.1f}")

# %%
assert radius["autoencoder"] > 1.5 * radius["N-VAE, β = 0.1"]
assert radius["N-VAE, β = 0.1"] > 1.3 * radius["N-VAE, β = 1"]  # the stronger the spring, the smaller the ring
assert terms["S-VAE"].kl.mean() < 0.6 * terms["N-VAE, β = 1"].kl.mean()  # half the price
assert terms["N-VAE on a line"].reconstruction.mean() < terms["S-VAE"].reconstruction.mean() - 20

# The ends of the line: what the ten outermost codes on either side have for true angles.
order = codes["N-VAE on a line"][:, 0].argsort()
ends = true[order[:10]].mean(0), true[order[-10:]].mean(0)
assert torch.cosine_similarity(*ends, dim=0) > math.cos(math.radians(100))  # neighbours across a gap, not opposite

# The ring's price as the formula has it: kappa = r^2 / sigma^2 from the trained encoder.
with torch.no_grad():
    q = models["N-VAE, β = 1"].encode(circle.train)
kappa = q.mean.square().sum(-1) / q.variance.mean(-1)
assert abs(torch.log1p(kappa / 2).mean() - terms["N-VAE, β = 1"].kl.mean()) < 1

# %% [markdown]
# Why does the hole matter? A generative model is used by drawing $z$ from the prior. So draw 1,000 codes from each
# prior, decode them, and measure how far each result is from the nearest training point. Data that were held out give
# the yardstick.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
furthest = torch.cdist(circle.validation, circle.train).amin(1).max()
astray = {}
for name in ("N-VAE, β = 0.1", "N-VAE, β = 1", "S-VAE"):
    distance = torch.cdist(models[name].sample(1000), circle.train).amin(1)
    astray[name] = (distance > furthest).float().mean().item()
    print(f"{name:16s} {100 * astray[name]:3.0f}% of prior samples are further from the data than any held-out point")

# %%
assert astray["S-VAE"] < 0.5 < 0.7 < astray["N-VAE, β = 1"] < astray["N-VAE, β = 0.1"]
assert abs(terms["S-VAE"].elbo.mean() - terms["N-VAE, β = 1"].elbo.mean()) < 12

# %% [markdown]
# A smaller $\beta$ makes it worse, not better: it widens the ring, and the prior stays where it was. The S-VAE's prior
# knows the circle, though not where on it the clusters are.
#
# One warning. The two ELBOs, $\beta = 1$ and S-VAE, are close here, and which is ahead changes with learning rate and
# epochs. What the geometry decides is the price and the hole.

# %% [markdown]
# ## The trap: the same number for both
#
# It is tempting to write `latent_dim = 2` once and hand it to both models. A public reproduction of the paper did, and
# its S-VAE took the number as $m$, the *coordinates* of $z$. Its "S-VAE with 2 dimensions" lived on the circle $S^1$,
# which has one dimension, against a plane, which has two. For data from a circle that is what we want, as above. Digits
# are not a circle. There it takes a dimension away from one side; the paper compares $S^d$ with $\mathbb{R}^d$. We
# train all three on 8x8 digits, and ask how well five nearest neighbours recognise a digit from its code, with ten
# labelled examples of each.

# %%
digits, binary = load("digits"), binarized(load("digits"))


def accuracy(kind, d):
    """Train a model of the digits; share of the test digits that are recognised from their codes."""
    torch.manual_seed(0)
    model = mlp_vae(kind, d, x_dim=64)
    settings = TrainingSettings(epochs=60, warmup_epochs=15)
    fit(model, digits.train, binary.validation, settings, progress=False)
    model.cpu()
    found = knn_accuracies(
        latent_means(model, binary.train).numpy(),
        binary.train_labels.numpy(),
        latent_means(model, binary.test).numpy(),
        binary.test_labels.numpy(),
        metric=model.posterior.metric,  # straight distances in the plane, angles on the sphere
        labels=(100,),
    )
    return found["100"]["mean"]


scores = {
    "S-VAE, m = 2 (circle)": accuracy("s", 1),
    "N-VAE, d = 2 (plane)": accuracy("n", 2),
    "S-VAE, m = 3 (sphere)": accuracy("s", 2),
}

# %% tags=["nbval-ignore-output"]
for name, score in scores.items():
    print(f"{name}: {100 * score:.0f}% of the digits recognised")

# %%
wrong, gaussian, right = scores.values()
assert wrong < gaussian < right

# %% [markdown]
# The same data, the same two kinds of model, and the conclusion has turned around. (This is one seed. Seeds 1, 2 and 3
# give the same order.) The cure is to count dimensions, not
# coordinates. This library's models take $d$ for both; its distributions work with vectors, and say $m$.

# %% [markdown]
# ## The library's version
#
# A *posterior head* maps features to $q(z|x)$, and knows its prior, its price and how to measure distances. The
# formulas of this chapter are its `kl`.

# %%
plane_head, sphere_head = GaussianPosterior(8, d=2), VonMisesFisherPosterior(8, d=2)
assert (plane_head.ambient_dim, sphere_head.ambient_dim) == (2, 3)  # equal d: the trap cannot be walked into

with torch.no_grad():
    q = plane_head(torch.randn(5, 8))
    assert torch.allclose(plane_head.kl(q), gaussian_kl(q.mean, q.stddev), atol=1e-5)

turned = torch.tensor([0.0, 0.7, 2.0, 4.5], dtype=torch.float64)
mu = torch.stack([turned.cos(), turned.sin()], dim=-1)
kl = kl_divergence(VonMisesFisher(mu, torch.full((4,), 100.0).double()), HypersphericalUniform(2, dtype=torch.float64))
assert torch.allclose(kl, torch.tensor(prices, dtype=torch.float64), atol=1e-9)

# %% [markdown]
# ## When is a Gaussian the wrong prior?
#
# When the data go around, like angles and rotations; when they form clusters and the latent space has few dimensions;
# when codes are compared by the cosine of their angle. In high dimensions it is hard to beat: in the paper's Table 1
# the S-VAE leads at $d = 2$, 5 and 10, and the N-VAE at $d = 40$. A large Gaussian is nearly a sphere by itself, and
# its posterior has $d$ widths where the von Mises-Fisher law has one $\kappa$. [Chapter 9](09_unsupervised.ipynb) looks
# at both sides.

# %% [markdown]
# ## Test yourself
#
# **1.** A decoder wants a point at $a = 4$ with width $s = 1$. Where is its mean with $\beta = 1$, and with
# $\beta = 0.1$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# At $4 / (1 + 1) = 2$, and at $4 / 1.1 = 3.6$: the weaker spring leaves it nearer to $a$.
#
# </details>
#
# **2.** A program prints `z.shape == (64, 10)` for its S-VAE. Which N-VAE do you compare it with?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# With $d = 9$. Ten coordinates are $m$, and the sphere in $\mathbb{R}^{10}$ has nine dimensions.
#
# </details>

# %% [markdown]
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/01_why_a_sphere.ipynb),
# or in a terminal: `hvae exercise show ch01.1`.

# %% [markdown] tags=["exercise"]
# ch01.1

# %% [markdown] tags=["exercise"]
# ch01.2

# %% [markdown] tags=["exercise"]
# ch01.3

# %% [markdown]
# ## Summary
#
# - A Gaussian prior pulls every mean to the origin with the force $\mu$; a uniform prior on a sphere pulls none.
# - In $d$ dimensions $|z|$ is $\sqrt d$ give or take 0.7: the cloud is a bubble, and its centre is empty.
# - A ring in the plane costs $\log(1 + \kappa/2)$ nats, the same knowledge on the circle about half.
# - A prior that fills the disc around a ring draws most of its samples from the hole.
# - Compare $S^d$ with $\mathbb{R}^d$: dimensions, not coordinates.

# %% [markdown]
# ## References
#
# - T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak (2018). *Hyperspherical Variational Auto-Encoders*.
#   UAI, arXiv:1804.00891. Section 2.2 (gravity and soap bubble), Figure 1, Table 1.
# - D. P. Kingma, M. Welling (2014). *Auto-Encoding Variational Bayes*. ICLR, arXiv:1312.6114. Equation 3 (the ELBO);
#   appendix B (the Gaussian KL).
# - R. Vershynin (2018). *High-Dimensional Probability*. Cambridge University Press. Section 3.1 (concentration of the
#   norm).
# - K. V. Mardia, P. E. Jupp (2000). *Directional Statistics*. Wiley. Section 3.5.4 (the von Mises law and its normal
#   limit).
