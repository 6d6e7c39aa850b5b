# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # A Gaussian VAE, and how to measure it
#
# *The likelihood of a variational autoencoder is an integral that nobody can do. How do you train such a model all the
# same, and how do you find out how good it is?*
#
# **You will be able to**
#
# - derive the ELBO and the importance-weighted bound, and say how far each is below $\log p(x)$;
# - build a Gaussian VAE in forty lines of PyTorch, and train it on pixels that are drawn anew for every batch;
# - recognise three mistakes that make a reported likelihood wrong or useless.
#
# **You need**: densities and expectations, a little PyTorch, the reparameterisation trick from
# [chapter 5](05_gradients.ipynb).
#
# **Time**: 50 minutes.

# %%
import math

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from hvae_tutorial import plotting
from hvae_tutorial.data import load

BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]

# %% [markdown]
# ## The integral
#
# The model tells a story about an image $x$: a code $z$ was drawn from the prior $p(z)$, and a decoder turned it into a
# law of images, $p(x|z)$. Nobody saw $z$. So the probability of the image is an average over all codes,
#
# $$
# p(x) = \int p(x|z)\, p(z)\, dz .
# $$
#
# For a neural decoder it has no formula. We begin where it can be done. Let $z \sim N(0, 1)$ be a single number and
# $x = a z + \tau\varepsilon$ with a known vector $a$ and noise $\varepsilon \sim N(0, I)$: a decoder with one linear
# layer. In $z$,
#
# $$
# \log p(x, z) = -\frac{z^2}{2} - \frac{\Vert x - a z \Vert^2}{2 \tau^2} + \ldots
#   = -\frac{(z - \bar z)^2}{2 s^2} + \ldots, \qquad
# \frac{1}{s^2} = 1 + \frac{\Vert a \Vert^2}{\tau^2}, \qquad \bar z = \frac{s^2\, a \cdot x}{\tau^2} .
# $$
#
# (Compare the coefficients of $z^2$ and of $z$.) So the **posterior** $p(z|x)$, the law of the code given the image, is
# $N(\bar z, s^2)$. And Bayes' rule gives the integral for free: $p(x) = p(x|z)\, p(z) / p(z|x)$, at any $z$.

# %%
a, tau = torch.tensor([1.0, -0.5, 0.8], dtype=torch.float64), 0.7
x = torch.tensor([1.6, -0.2, 1.1], dtype=torch.float64)
s = (1 + a @ a / tau**2) ** -0.5
z_bar = s**2 * (a @ x) / tau**2
prior = Normal(torch.zeros_like(s), 1.0)


def log_joint(z):
    """log p(x, z) of the tiny model; z of any shape."""
    return Normal(a * z[..., None], tau).log_prob(x).sum(-1) + prior.log_prob(z)


log_p = log_joint(z_bar) - Normal(z_bar, s).log_prob(z_bar)
z = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)
assert torch.allclose(log_joint(z) - Normal(z_bar, s).log_prob(z), log_p)  # at any z
grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
assert torch.allclose(torch.trapezoid(log_joint(grid).exp(), grid).log(), log_p)  # the integral
print(f"log p(x) = {log_p:.3f}")

# %% [markdown]
# ## The ELBO, and exactly what it loses
#
# Suppose we have any law $q(z)$ of codes from which we can draw. Multiply and divide by it, and the integral becomes an
# expectation of **weights**:
#
# $$
# p(x) = E_q[\omega], \qquad \omega = \frac{p(x|z)\, p(z)}{q(z)} .
# $$
#
# The logarithm lies below its tangents: $\log t \le \log c + (t - c)/c$. Put $t = \omega$ and $c = E_q[\omega]$, and
# take expectations: $E_q[\log \omega] \le \log E_q[\omega]$. This is Jensen's inequality, and here it says
#
# $$
# \log p(x) \ge E_q[\log \omega] = E_q[\log p(x|z)] - \mathrm{KL}(q \Vert p(z)) .
# $$
#
# with $\mathrm{KL}(q \Vert p) = E_q[\log(q/p)]$. The right-hand side is the **evidence lower bound**. Its first term
# rewards codes that explain the image (*reconstruction*, RE), its second charges for moving away from the prior. What
# is lost? Write the numerator of $\omega$ the other way around, $p(z|x)\, p(x)$:
#
# $$
# E_q[\log \omega] = \log p(x) - \mathrm{KL}\bigl(q \Vert p(z|x)\bigr) .
# $$
#
# The gap *is* the divergence of $q$ from the posterior. Whoever raises the ELBO by changing $q$ brings it closer to the
# posterior, without ever knowing it. An encoder does this for all images at once.
#
# In the tiny model let $q = N(\bar z + t s, s^2)$: the right width, but $t$ posterior standard deviations beside the
# mark. With $\zeta = (z - \bar z)/s$, the logarithm of $q/p(z|x)$ is
# $\zeta^2/2 - (\zeta - t)^2/2 = t\zeta - t^2/2$, and $E_q\zeta = t$. So the gap is $t^2/2$.


# %%
def elbo_of(q):
    """E_q log omega, by the trapezoidal rule."""
    return torch.trapezoid(q.log_prob(grid).exp() * (log_joint(grid) - q.log_prob(grid)), grid)


for t in (0, 1, 2):
    q = Normal(z_bar + t * s, s)
    reconstruction = torch.trapezoid(q.log_prob(grid).exp() * (log_joint(grid) - prior.log_prob(grid)), grid)
    kl = 0.5 * (q.mean**2 + q.variance - 1) - q.stddev.log()
    assert abs(elbo_of(q) - (reconstruction - kl)) < 1e-9
    assert abs(log_p - elbo_of(q) - t**2 / 2) < 1e-9  # the gap

figure, (left, right) = plotting.subplots(1, 2, size=(7, 3))
for law, colour in [(prior, "0.5"), (Normal(z_bar, s), BLUE), (Normal(z_bar + s, s), ORANGE)]:
    left.plot(grid, law.log_prob(grid).exp(), color=colour)
left.text(-1.35, 0.3, "prior", color="0.5", ha="right")
left.text(0.55, 0.86, "posterior", color=BLUE, ha="right")
left.text(1.75, 0.86, "$q$, t = 1", color=ORANGE)
left.set(xlabel="code $z$", ylabel="density", xlim=(-3, 3.6), ylim=(0, 1))
offsets = torch.linspace(-2.5, 2.5, 51, dtype=torch.float64)
right.plot(offsets, [elbo_of(Normal(z_bar + t * s, s)) for t in offsets], color=ORANGE)
right.axhline(log_p, color=BLUE)
right.annotate("", (1, log_p), (1, log_p - 0.5), arrowprops={"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0})
right.text(1.15, log_p - 0.36, "KL(q‖posterior)", fontsize=9)
right.text(-2.5, log_p + 0.1, "log p(x)", color=BLUE)
right.text(0, log_p - 1.4, "ELBO", color=ORANGE, ha="center")
right.set(xlabel="offset t of q (standard deviations)", ylabel="nats", ylim=(log_p - 3.3, log_p + 0.6))
plotting.show(
    figure,
    "**Figure 7.1.** One image in the tiny model. The ELBO touches log p(x) where q is the posterior, and falls short "
    "by KL(q‖posterior) elsewhere.",
    alt="Left: a wide prior and two equal narrow bumps, posterior and q, one standard deviation apart. Right: the ELBO "
    "is a parabola in the offset whose top touches the horizontal line log p(x).",
)

# %% [markdown]
# ## More draws, a better bound
#
# The ELBO takes the logarithm of one weight. Take the logarithm of the average of $K$ independent ones (Burda et al.
# 2016):
#
# $$
# L_K = \log \frac1K \sum_{k=1}^K \omega_k, \qquad E[L_1] = \mathrm{ELBO}, \qquad E[L_K] \le \log p(x) .
# $$
#
# The inequality is Jensen's again, since the average has the mean $p(x)$. *More draws never hurt*: the average of $K+1$
# weights is the average, over the $K+1$ ways of leaving one out, of averages of $K$. By Jensen its logarithm is at
# least the average of their logarithms, and each of these has the mean $E[L_K]$. So $E[L_{K+1}] \ge E[L_K]$.
#
# *How fast?* Let $R = \frac1K \sum_k \omega_k / p(x)$, so that $L_K = \log p(x) + \log R$. Then $E R = 1$, and
# $\mathrm{Var}\, R = v/K$ with $v = \mathrm{Var}\,\omega / p(x)^2$. Expand
# $\log R = (R - 1) - \frac12 (R-1)^2 + \ldots$ and average. The first term drops out, the cubes have the mean
# $E(\omega/p - 1)^3/K^2$. If the weights have these moments,
#
# $$
# \log p(x) - E[L_K] \approx \frac{v}{2K} .
# $$
#
# In the tiny model $\omega/p(x) = p(z|x)/q(z) = e^{t^2/2 - t\zeta}$. Under $q$, $\zeta = t + \varepsilon$ with
# $\varepsilon \sim N(0, 1)$, so this is $e^{-t^2/2 - t\varepsilon}$. As $E e^{b\varepsilon} = e^{b^2/2}$, its square
# has the mean $e^{-t^2} e^{2t^2}$. Hence
#
# $$
# v = e^{t^2} - 1 .
# $$
#
# Since $t^2/2$ is the ELBO's gap, the number of draws that is needed grows *exponentially* with the gap. And there is a
# worse case: $v = \infty$, when $q$ is too narrow. Let $q$ have the variance $s^2/4$. Then
# $\omega^2 q = p(x, z)^2/q$ is proportional to $\exp(-\zeta^2 + 2\zeta^2)$, whose integral diverges.
#
# We measure. As $E(R - 1) = 0$, we may subtract $R - 1$ from $\log R$, for less noise if $v$ is finite.

# %%
torch.manual_seed(7)
draws, Ks = 2**20, 2 ** np.arange(8)
bias, error = {}, {}
for name, scale, t in [("right width, t = 1", 1.0, 1.0), ("half the width", 0.5, 0.0)]:
    q = Normal(z_bar + t * s, scale * s)
    z = q.sample((draws,))
    weights = torch.exp(log_joint(z) - q.log_prob(z) - log_p)  # omega / p(x)
    R = [weights.view(-1, K).mean(1) for K in Ks]
    missing = [(r - 1 if scale == 1 else 0) - r.log() for r in R]  # log p(x) - L_K, with less noise if v is finite
    bias[name] = torch.stack([part.mean() for part in missing])
    error[name] = torch.stack([part.std() / len(part) ** 0.5 for part in missing])

v = math.e - 1
(measured, narrow), noise = bias.values(), error["right width, t = 1"]
assert abs(measured[0] - 0.5) < 5 * noise[0]  # K = 1: the ELBO's gap
for K, b, e in zip(Ks[4:], measured[4:], noise[4:], strict=True):
    assert abs(b - v / (2 * K)) < 0.1 * v / (2 * K) + 5 * e
assert (measured.diff() < 0).all()  # more draws never hurt
assert (narrow.diff() < 0).all()
assert narrow[0] < measured[0]
assert narrow[-1] > 5 * measured[-1]  # v is infinite: no 1/K

# %%
figure, axes = plotting.subplots(size=(7, 3))
axes.loglog(Ks, v / (2 * Ks), ":", color="0.4")
axes.loglog(Ks, measured, "o-", color=BLUE, markersize=4)
axes.loglog(Ks, narrow, "o-", color=ORANGE, markersize=4)
axes.text(24, 0.13, "half the width: v = ∞", color=ORANGE)
axes.text(7, 0.06, "right width, t = 1", color=BLUE, ha="right")
axes.text(1.5, 0.75, "v / 2K", color="0.4")
axes.set(xlabel="draws K", ylabel="log p(x) − E[L_K] (nats)", xticks=Ks, xticklabels=Ks)
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 7.2.** What is still missing after K draws. With the ELBO (K = 1) the narrow q looks better; with 128 "
    "draws it is far behind.",
    alt="Log-log plot of the bias against K from 1 to 128. One curve joins the line v over 2K; the other starts lower "
    "but falls much more slowly.",
)

# %% [markdown]
# So the bound is a ladder, and *K must be reported with it*. Of these two $q$ the ELBO prefers the narrow one, and
# importance sampling the other.
#
# ## The model, by hand
#
# The code has $d$ coordinates, the prior is $N(0, I)$, and the encoder answers an image with
# $q(z|x) = N(\mu, \mathrm{diag}(\sigma^2))$, its guess at the posterior. The KL is that of
# [chapter 1](01_why_a_sphere.ipynb): $\sum_i \frac12(\mu_i^2 + \sigma_i^2 - 1) - \log\sigma_i$. Pixels are 0 or 1, and
# independent given $z$. The decoder answers with a *logit* $l_i$ for each: pixel $i$ is 1 with probability
# $e^{l_i}/(1 + e^{l_i})$. One formula serves both values of $x_i$:
#
# $$
# \log p(x|z) = \sum_i x_i l_i - \log(1 + e^{l_i}) .
# $$


# %%
class GaussianVAE(nn.Module):
    """An N-VAE with one hidden layer on either side."""

    def __init__(self, d, x_dim=64, hidden=128):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(x_dim, hidden), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, x_dim))
        self.mean, self.raw_scale = nn.Linear(hidden, d), nn.Linear(hidden, d)
        for parameter in self.parameters():  # Glorot's weights, and biases of zero
            nn.init.xavier_uniform_(parameter) if parameter.ndim == 2 else nn.init.zeros_(parameter)

    def posterior(self, x):
        """Mean and scale of q(z|x), each (n, d)."""
        h = self.encoder(x)
        return self.mean(h), F.softplus(self.raw_scale(h))

    def log_likelihood(self, x, z):
        """log p(x|z): x (n, x_dim) against z (..., n, d)."""
        logits = self.decoder(z)
        return (x * logits - F.softplus(logits)).sum(-1)

    def terms(self, x):
        """Reconstruction, from one draw of z, and KL: each (n,)."""
        mu, sigma = self.posterior(x)
        z = mu + sigma * torch.randn_like(sigma)
        kl = (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).sum(-1)
        return self.log_likelihood(x, z), kl

    @torch.no_grad()
    def log_weights(self, x, K):
        """log omega for K draws of z, (K, n)."""
        mu, sigma = self.posterior(x)
        epsilon = torch.randn(K, *mu.shape)
        z = mu + sigma * epsilon
        # log p(z) - log q(z); the constants -(d/2) log(2 pi) cancel
        log_ratio = (-0.5 * z**2 + 0.5 * epsilon**2 + sigma.log()).sum(-1)
        return self.log_likelihood(x, z) + log_ratio


def bound(log_weights):
    """L_K of each image, (n,), from log weights (K, n)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


torch.manual_seed(0)
model = GaussianVAE(d=2)
x, z = torch.rand(5, 64).round(), torch.randn(5, 2)
pixels = torch.distributions.Bernoulli(logits=model.decoder(z))
assert torch.allclose(model.log_likelihood(x, z), pixels.log_prob(x).sum(-1), atol=1e-4)

# %% [markdown]
# ## Pixels drawn anew
#
# The digits of scikit-learn have $8 \times 8$ pixels that count ink, 0 to 16. We divide by 16 and read the grey value
# as the *probability* that the pixel is 1. The data set is then not 1,097 images but a law over binary images, and each
# epoch may see a fresh draw of it: **dynamic binarisation**. Validation and test images are drawn once, so that numbers
# can be compared.


# %%
def draw_pixels(grey, generator=None):
    """Binary pixels: 1 with probability `grey`."""
    return (torch.rand(grey.shape, generator=generator) < grey).float()


digits = load("digits")
validation, test = (draw_pixels(part, torch.Generator().manual_seed(1)) for part in (digits.validation, digits.test))
fresh = torch.stack([draw_pixels(digits.train[0]) for _ in range(2000)])
assert (fresh.mean(0) - digits.train[0]).abs().max() < 5 * 0.5 / 2000**0.5  # five standard errors

# %% [markdown]
# ## Training, with warm-up
#
# Each step draws a batch, its pixels, its codes ($z = \mu + \sigma\varepsilon$, so that gradients reach the encoder),
# and takes a step of Adam up the ELBO. At the start the decoder makes no use of $z$. Then the KL is all cost, and tells
# the encoder to say nothing. So it gets a weight $\beta_e$ that rises from 0 to 1 over the first $W$ epochs
# $e = 1, 2, \ldots$:
#
# $$
# \beta_e = \min\bigl(1, (e - 1)/W\bigr) .
# $$
#
# This is **warm-up**. Only with $\beta = 1$ is the objective a bound on $\log p(x)$. We keep the weights of the epoch
# with the best validation ELBO, at $\beta = 1$, among the epochs *after* warm-up. The trap below shows why.


# %%
def train(model, images, epochs, warmup, redraw=True, seed=0):
    """Train, keep the best weights; a row of beta, training ELBO, validation RE and KL for each epoch."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    rows, best = [], -math.inf
    for epoch in range(1, epochs + 1):
        beta = min(1, (epoch - 1) / warmup) if warmup else 1
        seen = []
        for index in torch.randperm(len(images)).split(128):
            x = draw_pixels(images[index]) if redraw else images[index]
            reconstruction, kl = model.terms(x)
            optimizer.zero_grad()
            (beta * kl - reconstruction).mean().backward()
            optimizer.step()
            seen.append((reconstruction - kl).detach())
        with torch.no_grad():
            reconstruction, kl = model.terms(validation)
        rows.append([beta, torch.cat(seen).mean(), reconstruction.mean(), kl.mean()])
        if epoch > warmup and (elbo := (reconstruction - kl).mean()) > best:
            best, weights = elbo, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    return torch.tensor(rows)


torch.manual_seed(0)
model = GaussianVAE(d=2)
untrained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
history = train(model, digits.train, epochs=60, warmup=15)

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    codes, widths = model.posterior(test)
plotting.show(
    plotting.latent_plane(codes, digits.test_labels, title="500 test digits"),
    "**Figure 7.3.** Posterior means of test digits, coloured by the digit, which the model never saw. Dashed: one and "
    "two standard deviations of the prior.",
    alt="Ten coloured clusters of points fill a disc around the origin of the plane; some overlap.",
)

# %%
assert history[0, 0] == 0
assert history[-1, 0] == 1
assert (history[-1, 2] - history[-1, 3]) > (history[0, 2] - history[0, 3]) + 10
# Neighbours are of one class far more often than by chance, 10%.
nearest = torch.cdist(codes, codes).fill_diagonal_(math.inf).argmin(1)
assert (digits.test_labels[nearest] == digits.test_labels).float().mean() > 0.4

# %% [markdown]
# What does warm-up change? We train $d = 5$ with and without it.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
runs = {warmup: train(GaussianVAE(d=5), digits.train, epochs=90, warmup=warmup) for warmup in (0, 60)}
elbos = {warmup: run[:, 2] - run[:, 3] for warmup, run in runs.items()}

figure, axes = plotting.subplots(size=(7, 2.8))
epochs = np.arange(1, 91)
axes.semilogy(epochs, runs[60][:, 3], color=BLUE)
axes.semilogy(epochs, runs[0][:, 3], color=ORANGE)
axes.text(14, 12, "warm-up over 60 epochs", color=BLUE)
axes.text(6, 0.45, "without warm-up", color=ORANGE)
axes.set(xlabel="epoch", ylabel="validation KL (nats)", xlim=(0, 91), ylim=(0.35, 30))
plotting.show(
    figure,
    "**Figure 7.4.** How much the codes say about the images, d = 5. Without warm-up the encoder first falls silent.",
    alt="KL on a logarithmic axis. With warm-up it starts above 10 nats and falls to 4; without, it dips below one nat "
    "and climbs back to the same level.",
)
print(f"best validation ELBO: {elbos[0].max():.1f} without, {elbos[60][60:].max():.1f} with warm-up")

# %%
assert runs[0][:12, 3].min() < 0.6 * runs[0][-1, 3]
assert runs[60][:12, 3].min() > 1.5 * runs[60][-1, 3]
assert abs(elbos[0].max() - elbos[60][60:].max()) < 1
assert torch.allclose(runs[60][:, 0], torch.from_numpy(np.minimum(1, (epochs - 1) / 60)).float())

# %% [markdown]
# Without warm-up the encoder falls silent first. Here it finds its voice again, and in the end the two differ by less
# than 1 nat: on these data warm-up is a safeguard, not a gain.
#
# ## How good is it?
#
# With two coordinates we can check the bound against the truth: the integral over $z$ is a sum over a grid of the
# plane.

# %% tags=["nbval-ignore-output"]
axis = torch.linspace(-6, 6, 121)
with torch.no_grad():
    z = torch.cartesian_prod(axis, axis)
    logits = model.decoder(z)
    log_cell = -0.5 * (z**2).sum(-1) - math.log(2 * math.pi) + 2 * math.log(axis[1] - axis[0])  # p(z) dz
    exact = (test @ logits.T - F.softplus(logits).sum(-1) + log_cell).logsumexp(-1)
    reconstruction, kl = model.terms(test)

torch.manual_seed(0)
log_weights = model.log_weights(test, 100)
ladder = {K: bound(log_weights.view(-1, K, len(test)).transpose(0, 1)).mean() for K in (1, 10, 100)}
for K, value in ladder.items():
    print(f"K = {K:3d}: L_K = {value:.2f}")
print(f"exact:   log p = {exact.mean():.2f}")

# %%
assert torch.allclose(log_cell.exp().sum(), torch.tensor(1.0), atol=1e-3)  # the prior has mass 1
assert abs(ladder[1] - (reconstruction - kl).mean()) < 0.3  # K = 1: the ELBO; five standard errors
assert ladder[1] + 0.05 < ladder[10] < ladder[100] < exact.mean() + 0.01
assert exact.mean() - ladder[100] < 0.05

# %% [markdown]
# The ladder ends at the truth. For large $d$ there is no grid, and one reports $L_K$ with its $K$: 500 in the paper.
#
# ## The trap: three ways to a wrong number
#
# **1. Early stopping during warm-up.** A public reproduction of the paper watched the quantity that it maximised,
# $\mathrm{RE} - \beta_e \mathrm{KL}$. It falls when $\beta_e$ rises, whatever the model does. So the "best" epoch lies
# where the KL was hardly weighed: epoch 24, at $\beta = 0.23$. Our run with a warm-up of 60 epochs, seen with those
# eyes:

# %% tags=["nbval-ignore-output"]
beta, _, reconstruction, kl = runs[60].T
watched, right = reconstruction - beta * kl, elbos[60]
wrong_epoch, right_epoch = watched.argmax() + 1, right[60:].argmax() + 61

figure, axes = plotting.subplots(size=(7, 3.1))
axes.axvspan(1, 61, color="0.93", linewidth=0)
axes.text(59, -30.5, "warm-up", ha="right", color="0.4")
axes.plot(epochs, watched, color=ORANGE)
axes.plot(epochs, right, color=BLUE)
axes.plot(wrong_epoch, watched[wrong_epoch - 1], "o", color=ORANGE)
axes.plot(wrong_epoch, right[wrong_epoch - 1], "o", color=ORANGE)
axes.plot(right_epoch, right[right_epoch - 1], "o", color=BLUE)
axes.text(wrong_epoch, watched[wrong_epoch - 1] + 0.4, "chosen by the wrong rule", color=ORANGE, ha="center")
axes.text(wrong_epoch + 1.5, right[wrong_epoch - 1] - 0.7, "what this model is worth", color=ORANGE)
axes.text(43, -21.9, r"watched: RE − $β_e$ KL", color=ORANGE)
axes.text(43, -25.1, "ELBO", color=BLUE)
axes.text(right_epoch, -23.1, "chosen rightly", color=BLUE, ha="center")
axes.set(xlabel="epoch", ylabel="validation (nats)", xlim=(0, 91), ylim=(-31, -20))
plotting.show(
    figure,
    "**Figure 7.5.** What was watched is best early in warm-up. The ELBO, with β = 1 throughout, says otherwise.",
    alt="The watched curve peaks near epoch 17 and then falls; the ELBO rises all the time from below. At the chosen "
    "epoch it is about three nats below its best.",
)
for name, epoch in (("wrong", wrong_epoch), ("right", right_epoch)):
    print(f"{name} rule: epoch {epoch}, beta {beta[epoch - 1]:.2f}, ELBO {right[epoch - 1]:.1f}")

# %%
assert wrong_epoch < 40
assert right[wrong_epoch - 1] < right[right_epoch - 1] - 1.5

# %% [markdown]
# The cure has two halves: judge by $\beta = 1$, and count only epochs after warm-up, for choosing and for stopping.
#
# **2. Pixels binarised once.** Draw the training pixels once, before training, and the model can learn the draw by
# heart. We take 300 images, to see it quickly.

# %% tags=["nbval-ignore-output"]
few = digits.train[:300]
once = draw_pixels(few, torch.Generator().manual_seed(2))
curves = {}
for name, images in (("drawn anew", few), ("drawn once", once)):
    torch.manual_seed(0)
    curves[name] = train(GaussianVAE(d=5), images, epochs=240, warmup=30, redraw=name == "drawn anew")

figure, panels = plotting.subplots(1, 2, size=(7, 3), sharey=True)
for axes, (name, run), colour in zip(panels, curves.items(), (BLUE, ORANGE), strict=True):
    axes.plot(run[:, 1], "--", color=colour)
    axes.plot(run[:, 2] - run[:, 3], color=colour)
    axes.set(title=f"pixels {name}", xlabel="epoch", ylim=(-31, -20), xlim=(0, 245))
panels[0].set_ylabel("ELBO (nats)")
panels[1].text(150, -21.6, "training", color=ORANGE, ha="right")
panels[1].text(150, -25.8, "validation", color=ORANGE, ha="right")
panels[0].text(235, -22.6, "training and validation", color=BLUE, ha="right")
plotting.show(
    figure,
    "**Figure 7.6.** Training (dashed) and validation (solid) with 300 images. Drawn once, they are learned by heart.",
    alt="Left: both curves rise together to about minus 23.5. Right: the training curve rises to minus 22; the "
    "validation curve stops near minus 24.7 and then falls.",
)

# %%
judged = {name: run[30:, 2] - run[30:, 3] for name, run in curves.items()}
gap = {name: (run[30:, 1] - judged[name])[-20:].mean() for name, run in curves.items()}
assert gap["drawn once"] > 2
assert gap["drawn anew"] < 1
assert judged["drawn anew"].max() > judged["drawn once"].max() + 0.3

# %% [markdown]
# Early stopping hides the turn, but not the loss: the best epoch is worse too.
#
# **3. Another likelihood in the estimate.** The same reproduction trained with the Bernoulli likelihood, but its
# importance weights used $N(x; y, I)$ around the decoded image $y$. There is a test without data: **the probabilities
# of all images sum to 1**. As $\frac1K\sum_k\omega_k$ has the mean $p(x)$, it can be run on images of
# $2 \times 2$ pixels, of which there are 16.


# %%
class WrongVAE(GaussianVAE):
    """The fault: a Gaussian around the pixel probabilities."""

    scale = 1.0

    def log_likelihood(self, x, z):
        return Normal(torch.sigmoid(self.decoder(z)), self.scale).log_prob(x).sum(-1)


images = torch.cartesian_prod(*4 * [torch.tensor([0.0, 1.0])])
totals = {}
for kind in (GaussianVAE, WrongVAE):
    torch.manual_seed(3)
    probabilities = kind(d=2, x_dim=4).log_weights(images, 20_000).exp().mean(0)
    totals[kind.__name__] = probabilities.sum().item()
    print(f"{kind.__name__}: {len(images)} images, total probability {totals[kind.__name__]:.2f}")
assert abs(totals["GaussianVAE"] - 1) < 0.03
assert totals["WrongVAE"] < 0.5

# %% tags=["nbval-ignore-output"]
wrong = WrongVAE(d=2)
wrong.load_state_dict(model.state_dict())  # the trained model of the digits
estimates = {}
for wrong.scale in (1.0, 0.5, 0.3):
    estimates[wrong.scale] = bound(wrong.log_weights(test, 100)).mean()
    print(f"scale {wrong.scale}: 'LL' = {estimates[wrong.scale]:.1f}, where the truth is {exact.mean():.1f}")

# %%
assert estimates[1.0] < exact.mean() - 20
assert abs(estimates[0.3] - exact.mean()) < 4  # it moves with a scale that the model does not have

# %% [markdown]
# One trained model, as many numbers as one likes. At 0.3 the wrong one happens to look right. A density and a
# probability cannot be compared. The cure is one function for $\log p(x|z)$, which training and measurement share.
#
# ## The library's version
#
# A `VAE` has four parts: encoder, decoder, posterior head and likelihood. `mlp_vae("n", ...)` builds one. From our
# weights and seed come the same terms, the same bound, and the same training.

# %%
from hvae_tutorial.data import binarize
from hvae_tutorial.models import VAE, BernoulliLikelihood, GaussianPosterior, mlp_vae
from hvae_tutorial.objectives import elbo, iwae_bound
from hvae_tutorial.training import TrainingSettings, fit

head = GaussianPosterior(128, d=2)
head.mean, head.raw_scale = model.mean, model.raw_scale
library = VAE(model.encoder, model.decoder, head, BernoulliLikelihood(64))  # of our own parts


def seeded(function, *arguments):
    """Call a function from a fixed seed, without gradients."""
    torch.manual_seed(1)
    with torch.no_grad():
        return function(*arguments)


theirs, (reconstruction, kl) = seeded(elbo, library, test), seeded(model.terms, test)
assert torch.allclose(theirs.reconstruction, reconstruction, atol=1e-3)
assert torch.allclose(theirs.kl, kl, atol=1e-4)
assert torch.allclose(theirs.elbo, reconstruction - kl, atol=1e-3)
assert torch.allclose(seeded(iwae_bound, library, test, 50), bound(seeded(model.log_weights, test, 50)), atol=1e-3)
assert torch.equal(seeded(binarize, digits.train), seeded(draw_pixels, digits.train))

model.load_state_dict(untrained)
library = mlp_vae("n", 2, x_dim=64, hidden=(128,))
for theirs, ours in zip(library.parameters(), model.parameters(), strict=True):
    theirs.data.copy_(ours)
settings = TrainingSettings(epochs=4, warmup_epochs=2, batch_size=128, learning_rate=3e-3, seed=5, device="cpu")
result = fit(library, digits.train, validation, settings, progress=False)
columns = [result.history[name] for name in ("beta", "train_elbo", "validation_reconstruction", "validation_kl")]
assert torch.allclose(torch.tensor(columns).T, train(model, digits.train, epochs=4, warmup=2, seed=5), atol=0.02)

# %% [markdown]
# ## Test yourself
#
# **1.** A model has the ELBO $-100$ and $L_{500} = -95$. What do you know about $\mathrm{KL}(q \Vert p(z|x))$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# It is $\log p(x)$ minus the ELBO, and $\log p(x)$ is at least $-95$ (up to noise): so at least 5 nats. It may be more:
# in the tiny model this gap has $v = e^{10} - 1$, and 500 draws do not suffice.
#
# </details>
#
# **2.** $\log p(x|z)$ is linear in $x$. May one then put grey values in its place?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# At a fixed $z$ it gives the mean over draws of the pixels. But the logarithm of an average over $z$ is not linear in
# $x$: the result is no likelihood of anything.
#
# </details>
#
# ## Exercises
#
# Coding exercises will stand here:
#
# - the ELBO of the tiny model for any normal $q$ (difficulty 2, 15 minutes);
# - $L_K$ in constant memory, from weights that arrive in blocks (3, 20 minutes);
# - a checker that sums a likelihood over all images (3, 25 minutes).
#
# ## Summary
#
# 1. $\log p(x) = \mathrm{ELBO} + \mathrm{KL}(q \Vert p(z|x))$: the gap is known exactly.
# 2. $E[L_K]$ rises with $K$; its bias is about $v/2K$, with $v$ the relative variance of the weights, if it is finite.
# 3. Draw the pixels anew for every batch; draw test pixels once.
# 4. Warm-up changes the objective. Judge by $\beta = 1$, after warm-up.
# 5. One likelihood for training and measurement; its probabilities sum to 1.
#
# ## References
#
# - Kingma, Welling (2014), [arXiv:1312.6114](https://arxiv.org/abs/1312.6114): equations 1 to 3 (ELBO and gap),
#   appendix B (the KL).
# - Burda, Grosse, Salakhutdinov (2016), [arXiv:1509.00519](https://arxiv.org/abs/1509.00519): equation 8 and theorem 1
#   ($L_K$ and its growth).
# - Domke, Sheldon (2018), [arXiv:1808.09034](https://arxiv.org/abs/1808.09034): theorem 3 (the limit of $K$ times the
#   bias).
# - Sønderby et al. (2016), [arXiv:1602.02282](https://arxiv.org/abs/1602.02282): warm-up.
# - Davidson et al. (2018), [arXiv:1804.00891](https://arxiv.org/abs/1804.00891): Table 1, the protocol.
