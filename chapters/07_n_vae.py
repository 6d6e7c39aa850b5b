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
# - build a Gaussian VAE in forty lines of PyTorch, train it, look at what it draws, and say what its codes know;
# - explain why more draws make a better bound and a worse gradient, and mend the gradient;
# - recognise three mistakes that make a reported likelihood wrong or useless.
#
# **You need**: densities and expectations, a little PyTorch, the reparameterisation trick from
# [chapter 5](05_gradients.ipynb).
#
# **Time**

# %%
import math
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from hvae_tutorial import plotting
from hvae_tutorial.data import load

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
prior, grid = Normal(torch.zeros_like(s), 1.0), torch.linspace(-6, 6, 4001, dtype=torch.float64)  # grid of codes


def log_joint(z):
    """log p(x, z) of the tiny model; z of any shape."""
    return Normal(a * z[..., None], tau).log_prob(x).sum(-1) + prior.log_prob(z)


log_p = log_joint(z_bar) - Normal(z_bar, s).log_prob(z_bar)  # Bayes' rule at z = z_bar
print(f"log p(x) = {log_p:.3f}")

# %% tags=["checks"]
z = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)
assert torch.allclose(log_joint(z) - Normal(z_bar, s).log_prob(z), log_p)  # at any z
assert torch.allclose(torch.trapezoid(log_joint(grid).exp(), grid).log(), log_p)  # the integral
print("Checked: Bayes' rule gives the same log p(x) at four codes, and so does the integral over a grid.")

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
# \log p(x) \ge E_q[\log \omega] = E_q[\log p(x|z)] - \mathrm{KL}(q \Vert p(z)) ,
# $$
#
# with $\mathrm{KL}(q \Vert p) = E_q[\log(q/p)]$. The right-hand side is the **evidence lower bound** ([@kingma2014,
# equation 3]). Its first term rewards codes that explain the image (*reconstruction*, RE), its second charges for
# moving away from the prior. What is lost? Write the numerator of $\omega$ the other way around, $p(z|x)\, p(x)$:
#
# $$
# E_q[\log \omega] = \log p(x) - \mathrm{KL}\bigl(q \Vert p(z|x)\bigr) .
# $$
#
# The gap *is* the divergence of $q$ from the posterior. Whoever raises the ELBO by changing $q$ brings it closer to the
# posterior, without ever knowing it. An encoder does this for all images at once.
#
# In the tiny model let $q = N(\bar z + t s, s^2)$: the right width, but $t$ posterior standard deviations beside the
# mark. With $\xi = (z - \bar z)/s$, the logarithm of $q/p(z|x)$ is
# $\xi^2/2 - (\xi - t)^2/2 = t\xi - t^2/2$, and $E_q\xi = t$. So the gap is $t^2/2$.


# %%
def elbo_of(q):
    """E_q log omega, by the trapezoidal rule."""
    return torch.trapezoid(q.log_prob(grid).exp() * (log_joint(grid) - q.log_prob(grid)), grid)


print("gaps at t = 0, 1, 2:", *(f"{abs(log_p - elbo_of(Normal(z_bar + t * s, s))):.3f}" for t in (0, 1, 2)))

# %% tags=["picture"]
BLUE, ORANGE = plotting.CURVE_COLOURS[:2]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3))
for law, colour in [(prior, "0.6"), (Normal(z_bar, s), BLUE), (Normal(z_bar + s, s), ORANGE)]:
    left.plot(grid[1000:3201], law.log_prob(grid[1000:3201]).exp(), color=colour)
left.text(-1.35, 0.3, "prior", color="0.4", ha="right")
left.text(0.55, 0.86, "posterior", color=BLUE, ha="right")
left.text(1.75, 0.86, "$q$, t = 1", color=ORANGE)
left.set(xlabel="code $z$", ylabel="density", ylim=(0, 1))
offsets = torch.linspace(-2.5, 2.5, 51, dtype=torch.float64)
right.plot(offsets, [elbo_of(Normal(z_bar + t * s, s)) for t in offsets], color=ORANGE)
right.axhline(log_p, color=BLUE)
right.annotate("", (1, log_p), (1, log_p - 0.5), arrowprops={"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0})
right.text(1.15, log_p - 0.36, "KL(q‖posterior)", fontsize=9)
right.text(-2.5, log_p + 0.1, "log p(x)", color=BLUE)
right.text(0, log_p - 1.4, "ELBO", color=ORANGE, ha="center")
right.set(xlabel="offset t of q (standard deviations)", ylabel="nats")
plotting.show(
    figure,
    "**Figure 7.1.** One image in the tiny model. The ELBO touches log p(x) where q is the posterior, and falls short "
    "by KL(q‖posterior) elsewhere.",
    alt="Left: a wide prior and two equal narrow bumps, posterior and q, one standard deviation apart. Right: the ELBO "
    f"is a parabola in the offset whose top touches the horizontal line log p(x) = {log_p:.2f}.",
)

# %% tags=["checks"]
for t in (0, 1, 2):
    q = Normal(z_bar + t * s, s)
    reconstruction = torch.trapezoid(q.log_prob(grid).exp() * (log_joint(grid) - prior.log_prob(grid)), grid)
    kl = 0.5 * (q.mean**2 + q.variance - 1) - q.stddev.log()
    assert abs(elbo_of(q) - (reconstruction - kl)) < 1e-9
    assert abs(log_p - elbo_of(q) - t**2 / 2) < 1e-9  # the gap
print("Checked: ELBO = RE - KL, and the gap is t²/2, to nine digits.")

# %% [markdown]
# ## More draws, a better bound
#
# The ELBO takes the logarithm of one weight. Take the logarithm of the average of $K$ independent ones
# ([@burda2016, equation 8]):
#
# $$
# L_K = \log \frac1K \sum_{k=1}^K \omega_k, \qquad E[L_1] = \mathrm{ELBO}, \qquad E[L_K] \le \log p(x) .
# $$
#
# The inequality is Jensen's again, since the average has the mean $p(x)$. *More draws never hurt the bound*: the
# average of $K+1$ weights is the average, over the $K+1$ ways of leaving one out, of averages of $K$. By Jensen its
# logarithm is at least the average of their logarithms, and each of these has the mean $E[L_K]$. So
# $E[L_{K+1}] \ge E[L_K]$.
#
# *How fast does it rise?* Write $\delta_k = \omega_k/p(x) - 1$, which has the mean 0, and
# $R = 1 + \frac1K \sum_k \delta_k$. Then $L_K = \log p(x) + \log R$. Expand
#
# $$
# \log R = (R - 1) - \tfrac12 (R-1)^2 + \tfrac13 (R - 1)^3 - \ldots
# $$
#
# and average each power. The first has the mean 0. The second has the mean $v/K$ with
# $v = E\,\delta^2 = \mathrm{Var}\,\omega/p(x)^2$. The third is $K^{-3}$ times a sum over triples
# $\delta_i\delta_j\delta_k$. If one index differs from the other two, the triple has the mean 0, as draws are
# independent. Only the $K$ triples with $i = j = k$ are left, so the mean of the cubes is $E\,\delta^3/K^2$: smaller
# than the second by a factor $1/K$. Hence
#
# $$
# \log p(x) - E[L_K] \approx \frac{v}{2K} .
# $$
#
# One thing could spoil this, even where the powers of $\delta$ have means. Near $R = 0$ the logarithm falls without
# limit, and no power of $R - 1$ does. It is enough that $E[1/R]$ stays bounded as $K$ grows ([@domke2018, theorem 3]).
# As $1/R$ is convex, its mean does not grow with $K$, by the argument above. So it is enough that a single weight has
# $E[p(x)/\omega] < \infty$.
#
# In the tiny model $\omega/p(x) = p(z|x)/q(z) = e^{t^2/2 - t\xi}$. Under $q$, $\xi = t + \varepsilon$ with
# $\varepsilon \sim N(0, 1)$, so this is $e^{-t^2/2 - t\varepsilon}$. As $E e^{b\varepsilon} = e^{b^2/2}$, its square
# has the mean $e^{-t^2} e^{2t^2}$, and its inverse the mean $e^{t^2}$, which is finite. Hence
#
# $$
# v = e^{t^2} - 1 .
# $$
#
# Since $t^2/2$ is the ELBO's gap, the number of draws that is needed grows *exponentially* with the gap. And there is a
# worse case: $v = \infty$, when $q$ is too narrow. Let $q$ have the variance $s^2/4$. Then
# $\omega^2 q = p(x, z)^2/q$ is proportional to $\exp(-\xi^2 + 2\xi^2)$, whose integral diverges.
#
# We measure. As $E(R - 1) = 0$, we may subtract $R - 1$ from $\log R$, for less noise if $v$ is finite.

# %%
torch.manual_seed(7)
draws, Ks = 2**20, 2 ** np.arange(8)
missing = {}
for scale, t in [(1.0, 1.0), (0.5, 0.0)]:  # the right width at t = 1, and half the width
    q = Normal(z_bar + t * s, scale * s)
    z = q.sample((draws,))
    weights = torch.exp(log_joint(z) - q.log_prob(z) - log_p)  # omega / p(x)
    R = [weights.view(-1, K).mean(1) for K in Ks]
    missing[scale] = [(r - 1 if scale == 1 else 0) - r.log() for r in R]  # log p(x) - L_K

# %% tags=["picture"]
v = math.e - 1
measured, narrow = (torch.stack([part.mean() for part in parts]) for parts in missing.values())
noise = torch.stack([part.std() / len(part) ** 0.5 for part in missing[1.0]])
figure, axes = plotting.subplots(size=(6, 3))
axes.loglog(Ks, v / (2 * Ks), ":", color="0.6")
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
    alt=f"Log-log plot of the bias against K from 1 to 128. One curve falls from {measured[0]:.2f} to "
    f"{measured[-1]:.4f} nats and joins the line v over 2K; the other starts at {narrow[0]:.2f} but is still at "
    f"{narrow[-1]:.3f}.",
)

# %% tags=["checks"]
assert abs(measured[0] - 0.5) < 5 * noise[0]  # K = 1: the ELBO's gap
for K, b, e in zip(Ks[4:], measured[4:], noise[4:], strict=True):
    assert abs(b - v / (2 * K)) < 0.1 * v / (2 * K) + 5 * e
assert (measured.diff() < 0).all()  # more draws never hurt
assert (narrow.diff() < 0).all()
assert narrow[0] < measured[0]
assert narrow[-1] > 5 * measured[-1]  # v is infinite: no 1/K
epsilon = torch.randn(draws, dtype=torch.float64)  # E[p/omega] at t = 1, to five standard errors
inverse = torch.exp(0.5 + epsilon)
assert abs(inverse.mean() - math.e) < 5 * inverse.std() / draws**0.5
for K in (2, 8):  # the mean of the cubes, to five standard errors
    d = torch.exp(-0.125 - 0.5 * epsilon) - 1  # t = 1/2, where noise is small
    cubes, single = d.view(-1, K).mean(1) ** 3, d**3
    spread = cubes.std() / len(cubes) ** 0.5 + single.std() / draws**0.5 / K**2
    assert abs(cubes.mean() - single.mean() / K**2) < 5 * spread
print("Checked: the bias falls with K and joins v/2K from K = 16 on; the cubes have the mean E[δ³]/K².")

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
        h = self.encoder(x)
        return self.mean(h), F.softplus(self.raw_scale(h))  # mean and scale of q(z|x), each (n, d)

    def log_likelihood(self, x, z):
        logits = self.decoder(z)  # x (n, x_dim) against z (..., n, d)
        return (x * logits - F.softplus(logits)).sum(-1)

    def terms(self, x):
        mu, sigma = self.posterior(x)
        z = mu + sigma * torch.randn_like(sigma)
        kl = (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).sum(-1)
        return self.log_likelihood(x, z), kl  # RE from one draw of z, and KL: each (n,)

    @torch.no_grad()
    def log_weights(self, x, K):
        mu, sigma = self.posterior(x)
        epsilon = torch.randn(K, *mu.shape)
        z = mu + sigma * epsilon
        log_ratio = (-0.5 * z**2 + 0.5 * epsilon**2 + sigma.log()).sum(-1)  # log p(z) - log q(z)
        return self.log_likelihood(x, z) + log_ratio  # log omega, (K, n)


def bound(log_weights):
    return log_weights.logsumexp(0) - math.log(len(log_weights))  # L_K of each image, (n,)


# %% tags=["checks"]
torch.manual_seed(0)
model = GaussianVAE(d=2)
x, z = torch.rand(5, 64).round(), torch.randn(5, 2)
pixels = torch.distributions.Bernoulli(logits=model.decoder(z))
assert torch.allclose(model.log_likelihood(x, z), pixels.log_prob(x).sum(-1), atol=1e-4)
print("Checked: log p(x|z) is that of torch's Bernoulli law.")

# %% [markdown]
# ## Pixels drawn anew
#
# The digits of scikit-learn have $8 \times 8$ pixels that count ink, 0 to 16. We divide by 16 and read the grey value
# as the *probability* that the pixel is 1. The data set is then not a list of images but a law over binary images, and
# each epoch may see a fresh draw of it: **dynamic binarisation**. Validation and test images are drawn once, so that
# numbers can be compared.


# %%
def draw_pixels(grey, generator=None):
    return (torch.rand(grey.shape, generator=generator) < grey).float()  # 1 with probability grey


digits = load("digits")
validation, test = (draw_pixels(part, torch.Generator().manual_seed(1)) for part in (digits.validation, digits.test))

# %% [markdown]
# ## Training, with warm-up
#
# Each step draws a batch, pixels for its images, and codes ($z = \mu + \sigma\varepsilon$, so that gradients reach the
# encoder). Then Adam takes a step up the ELBO. At the start the decoder makes no use of $z$. Then the KL is all cost,
# and tells the encoder to say nothing. So it gets a weight $\beta_e$ that rises from 0 to 1 over the first $W$ epochs
# $e = 1, 2, \ldots$:
#
# $$
# \beta_e = \min\bigl(1, (e - 1)/W\bigr) .
# $$
#
# This is **warm-up**, or KL annealing. It has been needed for sentences ([@bowman2016]) and for deep models
# ([@sonderby2016]). With $\beta < 1$ the objective is no bound on $\log p(x)$. We keep the weights of the epoch with
# the best validation ELBO, at $\beta = 1$, among the epochs *after* warm-up. The trap below shows why.


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
history = train(model, digits.train, epochs=60, warmup=15)

# %% [markdown]
# What has it learned? We show it test images, decode their codes, and decode codes drawn from the prior. A decoder
# answers with probabilities of pixels; these are drawn as grey values.

# %% tags=["picture", "nbval-ignore-output"]
with torch.no_grad():
    means, _ = model.posterior(test)
    decoded = torch.sigmoid(model.decoder(means))  # reconstructions
    torch.manual_seed(1)
    drawn = torch.sigmoid(model.decoder(torch.randn(10, 2)))  # samples
chosen = [int((digits.test_labels == label).nonzero()[0]) for label in range(10)]
rows = {"test image": digits.test[chosen], "its pixels": test[chosen], "decoded": decoded[chosen], "sample": drawn}
right = sum(
    int(digits.test_labels[torch.cdist(picture[None], digits.test).argmin()]) == label
    for label, picture in enumerate(decoded[chosen])
)
plotting.show(
    plotting.reconstructions({name: images.view(-1, 8, 8) for name, images in rows.items()}),
    "**Figure 7.3.** From above: a test image of each digit; pixels drawn from it, which is all that the model sees; "
    "what the decoder makes of their code, two numbers; and ten samples, decoded from codes drawn from the prior.",
    alt="Four rows of ten small pictures. The decoded ones are blurred digits; of the ten, the test image that is "
    f"nearest shows the same digit for {right}. The samples look like blurred digits too, some between two digits.",
)

# %% tags=["picture", "nbval-ignore-output"]
plotting.show(
    plotting.latent_plane(means, digits.test_labels, title="500 test digits"),
    "**Figure 7.4.** Posterior means of test digits, coloured by the digit, which the model never saw. Dashed: one and "
    "two standard deviations of the prior.",
    alt=f"Ten coloured clusters of points fill a disc around the origin of the plane; some overlap. The farthest is "
    f"{means.norm(dim=1).max():.1f} from the origin.",
)

# %% tags=["checks"]
fresh = torch.stack([draw_pixels(digits.train[0]) for _ in range(2000)])
assert (fresh.mean(0) - digits.train[0]).abs().max() < 5 * 0.5 / 2000**0.5  # five standard errors
assert history[0, 0] == 0
assert history[-1, 0] == 1
assert (history[-1, 2] - history[-1, 3]) > (history[0, 2] - history[0, 3]) + 10
# Neighbours are of one class far more often than by chance, 10%.
nearest = torch.cdist(means, means).fill_diagonal_(math.inf).argmin(1)
assert (digits.test_labels[nearest] == digits.test_labels).float().mean() > 0.4
# A decoded image is nearer to its own image than to most others.
distance = torch.cdist(decoded, digits.test)
assert (distance.diagonal()[:, None] < distance).float().mean() > 0.8
assert drawn.std(0).mean() > 0.05  # samples differ
print(
    "Checked: fresh pixels have the grey values as means; the ELBO rose by more than 10 nats; neighbours in the plane "
    "show the same digit far more often than by chance; decoded images resemble their own more than others."
)

# %% [markdown]
# ## What do the codes know?
#
# The KL is what an encoder pays, and not what it says. [Chapter 6](06_kl_divergence.ipynb) has split its mean over
# images into *information* and *mismatch* ([@hoffman2016]). With the aggregate posterior $q(z)$, the average of
# $q(z|x)$ over all images,
#
# $$
# E_x\,\mathrm{KL}\bigl(q(z|x) \Vert p(z)\bigr) = I(x; z) + \mathrm{KL}\bigl(q(z) \Vert p(z)\bigr) .
# $$
#
# With $n$ images $q(z)$ is a mixture of $n$ normal laws, so both parts can be computed from draws.
#
# And how many of the coordinates are used at all? [@burda2016] call a coordinate **active** if its mean $\mu_i$ varies
# from image to image, with a variance above 0.01. Where reconstruction does not pay for a coordinate, its KL goes to
# zero: the unit falls silent.


# %%
@torch.no_grad()
def what_codes_know(model, x, draws=8):
    mu, sigma = model.posterior(x)
    z = mu + sigma * torch.randn(draws, *mu.shape)
    log_q = Normal(mu, sigma).log_prob(z[:, :, None]).sum(-1)  # draws of each image under each q(z|x'): (draws, n, n)
    aggregate = log_q.logsumexp(-1) - math.log(len(x))
    information = log_q.diagonal(dim1=1, dim2=2) - aggregate
    mismatch = aggregate - Normal(0.0, 1.0).log_prob(z).sum(-1)
    return information.mean().item(), mismatch.mean().item(), int((mu.var(0) > 0.01).sum())


# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
wide = GaussianVAE(d=20)
train(wide, digits.train, epochs=60, warmup=15)
knows = {name: what_codes_know(each, test) for name, each in (("d = 2", model), ("d = 20", wide))}
for name, (information, mismatch, active) in knows.items():
    print(f"{name}: information {information:.2f}, mismatch {mismatch:.2f} nats; {active} active units")

# %% tags=["words", "nbval-ignore-output"]
with torch.no_grad():
    mu, sigma = wide.posterior(test)
prices = (0.5 * (mu**2 + sigma**2 - 1) - sigma.log()).mean(0)  # of each unit
weakest = prices[mu.var(0) > 0.01].min()
share = {name: mismatch / (information + mismatch) for name, (information, mismatch, _) in knows.items()}
strongest = prices.sort(descending=True).values[:8].sum() / prices.sum()
plotting.say(
    f"Mismatch is {share['d = 2']:.0%} of the mean KL at $d=2$, and {share['d = 20']:.0%} at $d=20$. There "
    f"{knows['d = 20'][2]} of 20 units count as active. But the eight strongest carry {strongest:.0%} of the KL, and "
    f"the weakest that counts costs {weakest:.3f} nats."
)

# %% tags=["checks", "nbval-ignore-output"]
for each, (information, mismatch, _) in zip((model, wide), knows.values(), strict=True):
    kl = each.terms(test)[1].mean().item()
    assert abs(information + mismatch - kl) < 0.2  # the same KL, by draws: five standard errors
    assert 0 < information <= math.log(len(test))
    assert -0.02 < mismatch < 0.3 * kl
assert knows["d = 2"][2] == 2
assert share["d = 2"] < 0.1
assert share["d = 20"] > 2 * share["d = 2"]
assert strongest > 0.6
assert weakest < 0.05
print(
    "Checked: both parts add up to the exact KL; mismatch is less than a tenth at d = 2, and at d = 20 more than twice "
    "that share; there eight units carry more than 0.6 of the KL, and one that counts costs less than 0.05 nats."
)

# %% [markdown]
# In both models, one run each, most of the price buys information. At $d = 2$ little else is paid: the codes fill the
# prior's two dashed circles (Figure 7.4). In twenty dimensions the mismatch is a larger share. There, after 60 epochs,
# the threshold is too low to tell much: some units pass it that cost next to nothing. Look at the KL of each unit.
#
# ## Does warm-up help?
#
# We train $d = 5$ with and without it, five seeds each.

# %% tags=["nbval-ignore-output"]
seeds, runs = range(5), {}
for warmup, seed in product((0, 60), seeds):
    torch.manual_seed(seed)
    runs[warmup, seed] = train(GaussianVAE(d=5), digits.train, epochs=90, warmup=warmup, seed=seed)

# %% tags=["picture", "nbval-ignore-output"]
elbos = {key: run[:, 2] - run[:, 3] for key, run in runs.items()}
best = {warmup: torch.stack([elbos[warmup, seed][warmup:].max() for seed in seeds]) for warmup in (0, 60)}
gain = best[60] - best[0]
dip = [float(runs[0, seed][:12, 3].min() / runs[0, seed][-1, 3]) for seed in seeds]
figure, axes = plotting.subplots(size=(6, 2.8))
epochs = np.arange(1, 91)
for (warmup, _), run in runs.items():
    axes.semilogy(epochs, run[:, 3], color=BLUE if warmup else ORANGE, linewidth=0.8)
axes.text(14, 14, "warm-up over 60 epochs", color=BLUE)
axes.text(12, 0.95, "without warm-up", color=ORANGE)
axes.set(xlabel="epoch", ylabel="validation KL (nats)")
plotting.show(
    figure,
    "**Figure 7.5.** How much is paid for codes, d = 5, five seeds each. Without warm-up the encoder first pays "
    "less and less.",
    alt="KL on a logarithmic axis. With warm-up it rises to "
    f"{min(runs[60, seed][:, 3].max() for seed in seeds):.0f} nats or more and falls; without, it dips in the first "
    f"epochs to between {min(dip):.2f} and {max(dip):.2f} of its final value, and climbs back. In the end both "
    f"are at about {runs[0, 0][-1, 3]:.1f} nats.",
)
plotting.say(
    f"Without warm-up the KL dips to {100 * min(dip):.0f} to {100 * max(dip):.0f}% of its final value. Best validation "
    f"ELBO: {best[0].mean():.2f} without and {best[60].mean():.2f} with warm-up, means of five seeds. Seed by seed "
    f"warm-up gains {gain.min():+.2f} to {gain.max():+.2f} nats, {gain.mean():+.2f} on average, with a standard error "
    f"of {gain.std() / 5**0.5:.2f}."
)

# %% tags=["checks"]
for seed in seeds:
    assert runs[0, seed][:12, 3].min() < 0.6 * runs[0, seed][-1, 3]
    assert runs[60, seed][:12, 3].min() > 1.5 * runs[60, seed][-1, 3]
    assert torch.allclose(runs[60, seed][:, 0], torch.from_numpy(np.minimum(1, (epochs - 1) / 60)).float())
assert gain.abs().max() < 1
print("Checked: in each of five runs without warm-up the KL dips below 0.6 of its final value; gains are below 1 nat.")

# %% [markdown]
# Without warm-up the encoder nearly falls silent first. Here it recovers, and in the end five seeds show no more than a
# hint of a gain. With a stronger decoder, such as one that writes sentences word by word, the silence can last
# ([@bowman2016]).
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

torch.manual_seed(0)
log_weights = model.log_weights(test, 100)
ladder = {K: bound(log_weights.view(-1, K, len(test)).transpose(0, 1)).mean() for K in (1, 10, 100)}
print(*(f"L_{K} = {value:.2f}," for K, value in ladder.items()), f"exact log p = {exact.mean():.2f}")

# %% tags=["checks"]
with torch.no_grad():
    reconstruction, kl = model.terms(test)
assert torch.allclose(log_cell.exp().sum(), torch.tensor(1.0), atol=1e-3)  # the prior has mass 1
assert abs(ladder[1] - (reconstruction - kl).mean()) < 0.3  # K = 1: the ELBO; five standard errors
assert ladder[1] + 0.05 < ladder[10] < ladder[100] < exact.mean() + 0.01
assert exact.mean() - ladder[100] < 0.05
print("Checked: L_K rises with K, and at K = 100 it is within 0.05 nats of the exact log p.")

# %% [markdown]
# The ladder ends at the truth. For large $d$ there is no grid, and one reports $L_K$ with its $K$: 500 in
# [@davidson2018].
#
# ## Why not train on the better bound?
#
# [@burda2016] did: their importance-weighted autoencoder climbs $L_K$. For the decoder that is better. For the encoder
# it can be worse. As $K$ grows, $L_K$ goes to $\log p(x)$ *for every* $q$. Its derivative with respect to $q$ is that
# of the gap, about $v/2K$, and vanishes as $1/K$. The estimate's noise falls only as $1/\sqrt K$. So the ratio of
# signal to noise falls as $1/\sqrt K$ ([@rainforth2018]): the encoder learns ever less.
#
# Look at the gradient. Let $z_k$ depend on an output $\eta$ of the encoder by reparameterisation, and let
# $r_k = \omega_k/\sum_j\omega_j$ be the *shares* of the weights. Then $\partial L_K/\partial\eta$ is
# $\sum_k r_k\, d\log\omega_k/d\eta$, and $\eta$ enters $\log\omega_k$ twice, through $z_k$ and as a parameter of $q$:
#
# $$
# \frac{\partial L_K}{\partial\eta} = \sum_k r_k \left( \frac{\partial\log\omega_k}{\partial z_k}
#   \frac{\partial z_k}{\partial\eta} - \frac{\partial\log q(z_k)}{\partial\eta} \right) .
# $$
#
# The second part is a score. For one draw $r_1 = 1$, a score has the mean 0, and one may drop it ([@roeder2017]). For
# more draws its factor $r_k$ depends on $z_k$. The cure is to reparameterise *again* ([@tucker2019]): for any $f$,
# $E[f(z)\,\partial_\eta\log q(z)] = \partial_{\eta} E[f] = E[f'(z)\,\partial z/\partial\eta]$, where $f$ itself is held
# fixed. With $f = r_k$ as a function of $z_k$, and
# $\partial r_k/\partial z_k = r_k (1 - r_k)\,\partial\log\omega_k/\partial z_k$, the score becomes a path. Of $r_k$ in
# the first part and $r_k(1-r_k)$ in the second, the square is left:
#
# $$
# E\,\frac{\partial L_K}{\partial\eta} = E \sum_k r_k^2\, \frac{\partial\log\omega_k}{\partial z_k}\,
#   \frac{\partial z_k}{\partial\eta} .
# $$
#
# This is the **doubly reparameterised gradient** (DReG). In the tiny model, with respect to the mean of $q$, both are
# one line: $\log\omega = -\xi^2/2 + \varepsilon^2/2 + \ldots$ with $\xi = t + \varepsilon$, and the mean moves $z$
# at the rate 1, and $\xi$ at $1/s$.

# %%
torch.manual_seed(8)
t, slopes = 0.5, {}
for K in Ks:
    epsilon = torch.randn(2**20 // K, K, dtype=torch.float64)
    share = (-t * epsilon).softmax(1)  # of the weights, which are proportional to exp(-t epsilon)
    slopes["plain", K] = (share * -(t + epsilon) / s).sum(1)  # d log omega / d mean is -xi / s: epsilon stands still
    slopes["DReG", K] = (share**2 * (epsilon - (t + epsilon)) / s).sum(1)  # d log omega / dz: q falls with z as well

# %% tags=["picture"]
mean = {key: slope.mean().item() for key, slope in slopes.items()}
spread = {key: slope.std().item() for key, slope in slopes.items()}
ratio = {key: abs(mean[key]) / max(spread[key], 1e-12) for key in slopes}
figure, axes = plotting.subplots(size=(6, 3))
for name, colour, first in (("plain", ORANGE, 1), ("DReG", BLUE, 2)):
    shown = Ks[Ks >= first]
    axes.loglog(shown, [ratio[name, K] for K in shown], "o-", color=colour, markersize=4)
axes.text(20, 0.17, "plain gradient", color=ORANGE)
axes.text(12, 12.5, "doubly reparameterised", color=BLUE, ha="right")
axes.set(xlabel="draws K", ylabel="signal / noise", xticks=Ks, xticklabels=Ks)
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 7.6.** Mean of the encoder's gradient over its standard deviation, in the tiny model at t = 1/2. More "
    "draws drown the plain gradient in noise; from K = 4 on they help the other. (At K = 1 the second has no noise at "
    "all here.)",
    alt=f"Log-log plot against K. The plain gradient falls from {ratio['plain', 1]:.2f} at K = 1 to "
    f"{ratio['plain', 128]:.2f} at 128. The doubly reparameterised one is at {ratio['DReG', 2]:.1f} for K = 2, "
    f"dips to {ratio['DReG', 4]:.1f} and rises to {ratio['DReG', 128]:.1f}.",
)

# %% tags=["checks"]
for K in Ks:  # the same mean, to five standard errors
    error = math.hypot(spread["plain", K], spread["DReG", K]) / (2**20 / K) ** 0.5
    assert abs(mean["plain", K] - mean["DReG", K]) < 5 * error
assert abs(mean["plain", 1] + t / s) < 5 * spread["plain", 1] / 2**10  # the slope of the gap t²/2, negated
assert spread["DReG", 1] < 1e-6
assert 0.4 < math.log(ratio["plain", 2] / ratio["plain", 32]) / math.log(16) < 0.6  # as 1/sqrt(K)
assert all(ratio["DReG", 2 * K] > ratio["DReG", K] for K in Ks[2:-1])
print("Checked: both have the same mean; the plain one's ratio falls as the root of 1/K, the other's rises from K = 4.")

# %% [markdown]
# Measuring is another matter: there no gradient is taken, and $K$ is as large as one can pay.
#
# ## The trap: three ways to a wrong number
#
# All three are in a public reproduction of the paper ([@rubrice, commit f394bd1]).
#
# **1. Early stopping during warm-up.** The reproduction watched the quantity that it maximised, $\mathrm{RE} - \beta_e
# \mathrm{KL}$ (`svae/training.py`, lines 154 and 169). Each rise of $\beta_e$ lowers it, even for a model that stays as
# it is. So the "best" epoch may lie where the KL was hardly weighed: in one of its logs it is epoch 24 of a warm-up
# over 100, at $\beta = 0.23$ (`paper_experiments/Table2_exp.ipynb`). Our runs with a warm-up of 60 epochs, seen with
# those eyes:

# %% tags=["picture", "nbval-ignore-output"]
chosen = {}
for seed in seeds:
    beta, _, reconstruction, kl = runs[60, seed].T
    watched, right = reconstruction - beta * kl, elbos[60, seed]
    chosen[seed] = int(watched.argmax()), int(right[60:].argmax()) + 60  # by the wrong rule, by the right one
loss = [float(elbos[60, seed][right] - elbos[60, seed][wrong]) for seed, (wrong, right) in chosen.items()]
early = [wrong + 1 for wrong, _ in chosen.values()]
beta, _, reconstruction, kl = runs[60, 0].T
watched, right = reconstruction - beta * kl, elbos[60, 0]
wrong_epoch, right_epoch = (epoch + 1 for epoch in chosen[0])
figure, axes = plotting.subplots(size=(6, 3.1))
axes.axvspan(10, 61, color="0.6", alpha=0.2, linewidth=0)
axes.text(59, right[9:].min(), "warm-up", ha="right")
axes.plot(epochs[9:], watched[9:], color=ORANGE)
axes.plot(epochs[9:], right[9:], color=BLUE)
axes.plot([wrong_epoch] * 2, [watched[wrong_epoch - 1], right[wrong_epoch - 1]], "o", color=ORANGE)
axes.plot(right_epoch, right[right_epoch - 1], "o", color=BLUE)
axes.text(wrong_epoch - 6, watched[wrong_epoch - 1] + 0.35, "chosen by the wrong rule", color=ORANGE)
axes.text(wrong_epoch + 2, right[wrong_epoch - 1] - 0.7, "what this model is worth", color=ORANGE)
axes.text(59, -22.2, r"watched: RE − $β_e$ KL", color=ORANGE, ha="right")
axes.text(43, -25.3, "ELBO", color=BLUE)
axes.text(62.5, -24.6, "chosen rightly", color=BLUE)
axes.set(xlabel="epoch", ylabel="validation (nats)", ylim=(None, watched.max() + 1.3))
plotting.show(
    figure,
    "**Figure 7.7.** The first of the five runs, from epoch 10 on. What was watched is best early in "
    "warm-up. The ELBO, with β = 1 throughout, says otherwise.",
    alt=f"The watched curve peaks at epoch {wrong_epoch}, where β is {beta[wrong_epoch - 1]:.2f}, and then falls; the "
    f"ELBO rises from below, from {right[9]:.1f} nats at epoch 10 to {right[60]:.1f} at epoch 61, the first after "
    f"warm-up, and then stays between {right[60:].min():.1f} and {right[60:].max():.1f}. At the epoch chosen by the "
    f"wrong rule it is {loss[0]:.1f} nats below its best, which is at epoch {right_epoch}.",
)
plotting.say(
    f"The wrong rule chooses epochs {min(early)} to {max(early)} in five runs, all of them in warm-up. What it chooses "
    f"is {min(loss):.1f} to {max(loss):.1f} nats worse than the model that the right rule keeps."
)

# %% tags=["checks"]
assert round(np.linspace(0, 1, 100)[24 - 1], 2) == 0.23  # beta of the reproduction's epoch
assert max(early) < 40
assert min(loss) > 1.5
print("Checked: in each of five runs the wrong rule chooses an epoch before 40, and loses more than 1.5 nats.")

# %% [markdown]
# The cure has two halves: judge by $\beta = 1$, and count only epochs after warm-up, for choosing and for stopping.
#
# **2. Pixels binarised once.** Draw the training pixels once, before training, and the model can learn the draw by
# heart. The reproduction does so (`paper_experiments/load_MNIST.py`, lines 17 to 46, where it is called dynamic): all
# epochs read one tensor. We take 300 images, to see it quickly.

# %% tags=["nbval-ignore-output"]
few, curves = digits.train[:300], {}
for name, seed in product(("drawn anew", "drawn once"), seeds):
    torch.manual_seed(seed)
    images = few if name == "drawn anew" else draw_pixels(few)
    curves[name, seed] = train(GaussianVAE(d=5), images, 240, 30, redraw=name == "drawn anew", seed=seed)

# %% tags=["picture", "nbval-ignore-output"]
judged = {key: run[30:, 2] - run[30:, 3] for key, run in curves.items()}  # validation ELBO after warm-up
gap = {key: float((run[30:, 1] - judged[key])[-20:].mean()) for key, run in curves.items()}
cost = [float(judged["drawn anew", seed].max() - judged["drawn once", seed].max()) for seed in seeds]
figure, panels = plotting.subplots(1, 2, size=(7, 3), sharey=True)
for axes, name, colour in zip(panels, ("drawn anew", "drawn once"), (BLUE, ORANGE), strict=True):
    for seed in seeds:
        run = curves[name, seed][30:]
        axes.plot(np.arange(31, 241), run[:, 1], "--", color="0.5", linewidth=0.7)
        axes.plot(np.arange(31, 241), run[:, 2] - run[:, 3], color=colour, linewidth=0.7)
    axes.set(title=f"pixels {name}", xlabel="epoch")
panels[0].set_ylabel("ELBO (nats)")
plotting.show(
    figure,
    "**Figure 7.8.** Training (grey, dashed) and validation (colour, solid) with 300 images after warm-up, five seeds. "
    "Drawn once, the training curve leaves the validation curve behind.",
    alt="Left: both kinds of curves rise together. Right: the training curves rise farther, and at the end are "
    f"{min(gap['drawn once', seed] for seed in seeds):.1f} nats or more above the validation curves, which reach a "
    "top and then fall.",
)
ends = {name: [gap[name, seed] for seed in seeds] for name in ("drawn anew", "drawn once")}
plotting.say(
    f"At the end the training ELBO is above that of validation by {min(ends['drawn anew']):.1f} to "
    f"{max(ends['drawn anew']):.1f} nats where pixels are drawn anew, and by {min(ends['drawn once']):.1f} to "
    f"{max(ends['drawn once']):.1f} where they are drawn once. The best validation ELBO is {min(cost):.2f} to "
    f"{max(cost):.2f} nats lower in the second case, in five pairs."
)

# %% tags=["checks"]
assert min(gap["drawn once", seed] for seed in seeds) > 1.5
assert max(gap["drawn anew", seed] for seed in seeds) < 1
assert min(cost) > 0
assert all(judged["drawn once", seed][-20:].mean() < judged["drawn once", seed].max() - 0.3 for seed in seeds)
print("Checked: for each of five seeds, drawn once, the gap is larger than 1.5 nats, and the best model is worse.")

# %% [markdown]
# Early stopping hides the turn, but not the loss: the best epoch is worse too.
#
# **3. Another likelihood in the estimate.** The reproduction trained with the Bernoulli likelihood (`svae/vae.py`,
# lines 35 and 94), but its importance weights used the normal law $N(x; y, I)$ (lines 232 and 438), where $y$ are the
# decoder's *logits*, not even probabilities (lines 117 and 118). There is a test without data: **the probabilities of
# all images sum to 1**. As $\frac1K\sum_k\omega_k$ has the mean $p(x)$, it can be run on images of $2 \times 2$ pixels,
# of which there are 16. We try the fault in this form, and in a milder one, around the probabilities.


# %%
class WrongVAE(GaussianVAE):
    around, scale = "logits", 1.0

    def log_likelihood(self, x, z):  # the fault: a Gaussian
        y = self.decoder(z).sigmoid() if self.around == "probabilities" else self.decoder(z)
        return Normal(y, self.scale).log_prob(x).sum(-1)


images, totals = torch.cartesian_prod(*4 * [torch.tensor([0.0, 1.0])]), []
for kind in (GaussianVAE, WrongVAE):
    torch.manual_seed(3)
    totals.append(kind(d=2, x_dim=4).log_weights(images, 20_000).exp().mean(0).sum().item())
print("total probability: {:.2f} right, {:.2f} wrong".format(*totals))

# %% tags=["nbval-ignore-output"]
wrong = WrongVAE(d=2)
wrong.load_state_dict(model.state_dict())  # the trained model of the digits
for wrong.around, wrong.scale in [("logits", 1.0), *product(["probabilities"], (1.0, 0.5, 0.3))]:
    print(f"around the {wrong.around}, scale {wrong.scale}: 'LL' = {bound(wrong.log_weights(test, 100)).mean():.1f}")

# %% tags=["checks"]
assert abs(totals[0] - 1) < 0.03
assert totals[1] < 0.5
estimates = {}
for wrong.around, wrong.scale in product(("logits", "probabilities"), (1.0, 0.3)):
    estimates[wrong.around, wrong.scale] = bound(wrong.log_weights(test, 100)).mean()
assert estimates["logits", 1.0] < estimates["probabilities", 1.0] < exact.mean() - 20
assert abs(estimates["probabilities", 0.3] - exact.mean()) < 4  # it moves with a scale that the model does not have
print(
    "Checked: the right total is 1, the wrong one is not; around the probabilities, at scale 0.3, the wrong LL comes "
    "near the truth by chance."
)

# %% tags=["words"]
plotting.say(f"The truth for this model is {exact.mean():.1f}, the exact mean of $\\log p(x)$ from above.")

# %% [markdown]
# One trained model, as many numbers as one likes. Around the logits the result is absurd; around the probabilities, at
# 0.3, it happens to look right. A density and a probability cannot be compared. The cure is one function for
# $\log p(x|z)$, which training and measurement share.
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

library = mlp_vae("n", d=2, x_dim=64, hidden=(128,))

# %% tags=["checks"]
head = GaussianPosterior(128, d=2)
head.mean, head.raw_scale = model.mean, model.raw_scale


def seeded(function, *arguments):
    """Call a function from a fixed seed, without gradients."""
    torch.manual_seed(1)
    with torch.no_grad():
        return function(*arguments)


ours = VAE(model.encoder, model.decoder, head, BernoulliLikelihood(64))  # of our own parts
theirs, (reconstruction, kl) = seeded(elbo, ours, test), seeded(model.terms, test)
assert torch.allclose(theirs.reconstruction, reconstruction, atol=1e-3)
assert torch.allclose(theirs.kl, kl, atol=1e-4)
assert torch.allclose(theirs.elbo, reconstruction - kl, atol=1e-3)
assert torch.allclose(seeded(iwae_bound, ours, test, 50), bound(seeded(model.log_weights, test, 50)), atol=1e-3)
assert torch.equal(seeded(binarize, digits.train), seeded(draw_pixels, digits.train))

torch.manual_seed(0)
model = GaussianVAE(d=2)  # as it was before training
for theirs, ours in zip(library.parameters(), model.parameters(), strict=True):
    theirs.data.copy_(ours)
settings = TrainingSettings(epochs=4, warmup_epochs=2, batch_size=128, learning_rate=3e-3, seed=5, device="cpu")
result = fit(library, digits.train, validation, settings, progress=False)
columns = [result.history[name] for name in ("beta", "train_elbo", "validation_reconstruction", "validation_kl")]
assert torch.allclose(torch.tensor(columns).T, train(model, digits.train, epochs=4, warmup=2, seed=5), atol=0.02)
print("Checked: from our weights and seed the library has the same terms, bound, pixels and training.")

# %% [markdown]
# ## Test yourself
#
# **1.** A model has the ELBO $-100$ and $L_{500} = -95$. What do you know about $\mathrm{KL}(q \Vert p(z|x))$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# It is $\log p(x)$ minus the ELBO, and $\log p(x)$ is at least $-95$ (up to noise): so it is at least $100 - 95$. It
# may be more: in the tiny model this gap has $v = e^{10} - 1$, and 500 draws do not suffice.
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
# **3.** An encoder has a mean KL of three nats, and its aggregate posterior is the prior. What does a code tell about
# its image? And if all images had the same $q(z|x)$, with the same KL?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# In the first case three nats: there is no mismatch. In the second the aggregate posterior is that common law, the
# information is zero, and everything that is paid is mismatch.
#
# </details>
#
# ## Exercises
#
# Write each function and have it checked, in the [notebook without solutions](student/07_n_vae.ipynb),
# or in a terminal: `hvae exercise show ch07.1`.

# %% [markdown] tags=["exercise"]
# ch07.1

# %% [markdown] tags=["exercise"]
# ch07.2

# %% [markdown] tags=["exercise"]
# ch07.3

# %% [markdown] tags=["exercise"]
# ch07.4

# %% [markdown]
# ## Summary
#
# 1. $\log p(x) = \mathrm{ELBO} + \mathrm{KL}(q \Vert p(z|x))$: the gap is known exactly.
# 2. $E[L_K]$ rises with $K$; its bias is about $v/2K$, with $v$ the relative variance of the weights, if it is finite.
#    Its plain gradient for the encoder gets worse.
# 3. Draw the pixels anew for every batch; draw test pixels once. Look at what the decoder draws.
# 4. Warm-up changes the objective. Judge by $\beta = 1$, after warm-up.
# 5. One likelihood for training and measurement; its probabilities sum to 1.
#
# ## References
#
# - [@kingma2014] Equations 1 to 3: ELBO and gap; appendix B: the KL.
# - [@burda2016] Equation 8 and theorem 1: $L_K$ and its growth; active units.
# - [@domke2018] Theorem 3: the limit of $K$ times the bias.
# - [@bowman2016] Annealing of the KL, and codes that fall silent.
# - [@sonderby2016] Warm-up.
# - [@hoffman2016] The mean KL in two parts.
# - [@roeder2017] Dropping the score.
# - [@rainforth2018] Signal to noise in $K$.
# - [@tucker2019] The doubly reparameterised gradient.
# - [@davidson2018] Table 1: the protocol.
# - [@rubrice] At commit f394bd1: early stopping during warm-up, pixels drawn once, and a normal law in the importance
#   weights.
