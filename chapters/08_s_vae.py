# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # The S-VAE, assembled
#
# *Chapters 2 to 6 made the parts: a density, a sampler, its gradient, a KL. What has to change in a VAE to put them in,
# and what can still go wrong once it trains?*
#
# **You will be able to**
#
# - turn an N-VAE into an S-VAE by replacing one module, and check its likelihood against an exact integral;
# - read latent maps on a circle and on a sphere;
# - recognise six faults of published S-VAEs by their symptoms;
# - predict what a biased gradient does to a trained model, and test the prediction.
#
# **You need**: [chapter 2](02_von_mises_fisher.ipynb), [chapter 5](05_gradients.ipynb),
# [chapter 6](06_kl_divergence.ipynb) and [chapter 7](07_n_vae.ipynb).
#
# **Time**: 50 minutes.

# %%
import math

import numpy as np
import torch
from scipy.special import gammaln, ive
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from hvae_tutorial import plotting
from hvae_tutorial.data import binarize, load
from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher
from hvae_tutorial.models import VAE, BernoulliLikelihood, GaussianLikelihood
from hvae_tutorial.objectives import elbo, iwae_bound
from hvae_tutorial.special import kl_to_uniform, mean_resultant_length, mean_resultant_length_derivative
from hvae_tutorial.training import TrainingSettings, fit

BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]

# %% [markdown]
# ## Only the head changes
#
# Where did chapter 7 use that codes are Gaussian? The ELBO and $L_K$ hold for any densities $p(z)$ and $q(z|x)$, if
# both refer to the same measure. In $R^d$ that is volume; on the sphere it is surface area. A VAE asks four things of
# its latent space:
#
# | | N-VAE, $R^d$ | S-VAE, $S^d$ in $R^m$, $m = d + 1$ |
# |---|---|---|
# | prior $p$ | $N(0, I)$ | uniform: $\log p(z) = -\log S_m$ |
# | posterior $q$ | $N(\mu, \mathrm{diag}(\sigma^2))$ | $\log q = \kappa\, \mu \cdot z - \phi_m(\kappa) - \log S_m$ |
# | a draw with its gradient | $\mu + \sigma\varepsilon$ | rejection, and implicit reparameterisation |
# | KL | $\sum_i \frac12 (\mu_i^2 + \sigma_i^2 - 1) - \log\sigma_i$ | $\kappa A_m(\kappa) - \phi_m(\kappa)$ |
#
# The right column was made in chapters 2 (density), [4](04_sampling.ipynb) and 5 (draws), and 6 (KL). All four belong
# to the *posterior head*, the module that turns features into $q$. Here are both, side by side.


# %%
class GaussianHead(nn.Module):
    def __init__(self, features, d):
        super().__init__()
        self.d, self.ambient_dim = d, d
        self.mean = nn.Linear(features, d)
        self.raw_scale = nn.Linear(features, d)

    def forward(self, h):
        return Independent(Normal(self.mean(h), F.softplus(self.raw_scale(h))), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(self.d), 1.0), 1)

    def kl(self, q):
        return kl_divergence(q, self.prior())


class SphereHead(nn.Module):
    law = VonMisesFisher

    def __init__(self, features, d):
        super().__init__()
        self.d, self.ambient_dim = d, d + 1
        self.direction = nn.Linear(features, d + 1)
        self.raw_concentration = nn.Linear(features, 1)

    def forward(self, h):
        mu = F.normalize(self.direction(h), dim=-1)
        kappa = F.softplus(self.raw_concentration(h)).squeeze(-1) + 1
        return self.law(mu, kappa, validate_args=False)

    def prior(self):
        return HypersphericalUniform(self.ambient_dim)

    def kl(self, q):
        return kl_divergence(q, self.prior())


def assemble(head, d, x_dim=64, hidden=128, likelihood=BernoulliLikelihood):
    """A VAE with one hidden layer on either side."""
    posterior = head(hidden, d)
    encoder = nn.Sequential(nn.Linear(x_dim, hidden), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(posterior.ambient_dim, hidden), nn.ReLU(), nn.Linear(hidden, x_dim))
    return VAE(encoder, decoder, posterior, likelihood(x_dim))


# %% [markdown]
# Two lines need a word. `softplus + 1` keeps $\kappa$ positive, and above 1 (chapter 6 has the price). And
# `normalize` divides $u$, the output of the layer, by its length. Since $d|u| = \mu \cdot du$,
#
# $$
# \frac{\partial \mu}{\partial u} = \frac{I - \mu\mu^\top}{|u|} .
# $$
#
# The gradient for $u$ is orthogonal to $u$: there is no radial force. Only the direction is trained.

# %%
torch.manual_seed(0)
u = torch.randn(4)
mu = F.normalize(u, dim=0)
jacobian = torch.autograd.functional.jacobian(lambda u: F.normalize(u, dim=0), u)
assert torch.allclose(jacobian, (torch.eye(4) - torch.outer(mu, mu)) / u.norm(), atol=1e-6)

head, q = SphereHead(8, 5), SphereHead(8, 5)(torch.randn(3, 8))
kappa, z = q.concentration, q.sample()
log_ratio = q.log_prob(z) - head.prior().log_prob(z)  # the surface area cancels
phi = kappa * mean_resultant_length(kappa, 6) - kl_to_uniform(kappa, 6)
assert torch.allclose(log_ratio, kappa * (q.loc * z).sum(-1) - phi, atol=1e-5)
assert torch.allclose(head.kl(q), kl_to_uniform(kappa, 6))

# %% [markdown]
# ## The circle, found again
#
# The data of the paper's Figure 1 are a circle, bent into $R^{100}$ and blurred ([chapter 1](01_why_a_sphere.ipynb)).
# The S-VAE with $d = 1$ never sees the angle behind a point. Does it find it? It can do so only up to a rotation and a
# reflection, which the data do not fix.

# %%
circle = load("circle")


def train_circle(head, seed=0):
    """Train on the circle; the model, in evaluation mode."""
    torch.manual_seed(seed)
    model = assemble(head, 1, x_dim=100, hidden=32, likelihood=GaussianLikelihood)
    settings = TrainingSettings(
        epochs=80, warmup_epochs=0, batch_size=100, learning_rate=3e-3, dynamic_binarization=False, device="cpu"
    )
    fit(model, circle.train, circle.validation, settings, progress=False)
    return model


uncapped = train_circle(SphereHead)
with torch.no_grad():
    q = uncapped.encode(circle.train)
latent, true = torch.atan2(q.loc[:, 1], q.loc[:, 0]), circle.train_angles
# Undo reflection and rotation: e^{i (latent -+ true)} should point one way.
sign = max((1, -1), key=lambda sign: torch.polar(torch.ones(800), latent - sign * true).mean().abs())
offset = torch.polar(torch.ones(800), latent - sign * true).mean()
found = torch.rad2deg(torch.polar(torch.ones(800), sign * (latent - offset.angle())).angle())

# %% tags=["nbval-ignore-output"]
figure, axes = plotting.subplots(size=(7, 3.6))
axes.scatter(torch.rad2deg(true), found, s=6, c=plotting.ANGLE_COLOURS((true / math.tau) % 1), linewidths=0)
axes.plot([-180, 180], [-180, 180], color="0.75", linewidth=0.8, zorder=0)
axes.set(xlabel="true angle (degrees)", ylabel="angle of μ (degrees)", xlim=(-180, 180), ylim=(-180, 180))
axes.set(xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))
plotting.show(
    figure,
    "**Figure 8.1.** The circle behind 800 points of R¹⁰⁰, and where the S-VAE puts them on its own circle, turned to "
    "fit. The order around the circle is right; distances are stretched.",
    alt="Points along a rising curve near the diagonal, in three clusters, from minus 180 to 180 degrees.",
)

# %%
assert offset.abs() > 0.9  # 1: a perfect rotation

# %% [markdown]
# ## Digits on a sphere
#
# Now $d = 2$: the sphere $S^2$ against the plane, with the same networks, the same training, the same number of latent
# dimensions.

# %%
digits = load("digits")
validation, test = (
    binarize(part, torch.Generator().manual_seed(seed)) for seed, part in enumerate((digits.validation, digits.test))
)


def train_digits(head, d, seed=0, epochs=45):
    """Train on the digits; the model, in evaluation mode."""
    torch.manual_seed(seed)
    model = assemble(head, d)
    settings = TrainingSettings(
        epochs=epochs, warmup_epochs=10, batch_size=256, learning_rate=4e-3, seed=seed, device="cpu"
    )
    fit(model, digits.train, validation, settings, progress=False)
    return model


@torch.no_grad()
def measure(model):
    """Mean ELBO, RE and KL over the test images (10 draws of z); mean kappa, if there is one."""
    torch.manual_seed(0)
    terms = torch.stack([torch.stack(elbo(model, test)).mean(1) for _ in range(10)]).mean(0)
    return [*terms.tolist(), getattr(model.encode(test), "concentration", torch.tensor(math.nan)).mean().item()]


plane, sphere = (train_digits(head, 2, epochs=120) for head in (GaussianHead, SphereHead))

# %% tags=["nbval-ignore-output"]
for name, model in (("N-VAE", plane), ("S-VAE", sphere)):
    print("{}: ELBO {:.1f}, RE {:.1f}, KL {:.1f}".format(name, *measure(model)))
with torch.no_grad():
    on_sphere = sphere.encode(test).loc
plotting.show(
    plotting.latent_sphere(on_sphere, digits.test_labels, title="S-VAE, d = 2: mean directions of 500 test digits"),
    "**Figure 8.2.** The whole sphere on Hammer's map, which keeps areas. The left and the right edge are the same "
    "meridian.",
    alt="Ten colours cover the whole oval map; most digits have a region of their own, some overlap.",
)

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    in_plane = plane.encode(test).mean
plotting.show(
    plotting.latent_plane(in_plane, digits.test_labels, title="N-VAE, d = 2: means of the same digits"),
    "**Figure 8.3.** The same digits in the plane. Clusters crowd at the origin.",
    alt="Clusters of ten colours in a disc; some at the rim are well apart, those in the middle overlap.",
)


# %% tags=["nbval-ignore-output"]
def same_class(codes):
    """The share of points whose nearest neighbour shows the same digit."""
    nearest = torch.cdist(codes, codes).fill_diagonal_(math.inf).argmin(1)
    return (digits.test_labels[nearest] == digits.test_labels).float().mean()


print(f"nearest neighbour of the same class: plane {same_class(in_plane):.2f}, sphere {same_class(on_sphere):.2f}")

# %%
assert on_sphere.mean(0).norm() < 0.4  # the codes surround the centre
octants = (on_sphere > 0).long() @ torch.tensor([4, 2, 1])
assert len(octants.unique()) == 8  # no side of the sphere is empty
assert measure(sphere)[0] > measure(plane)[0]
assert same_class(on_sphere) > same_class(in_plane) - 0.03  # 0.03: one standard error

# %% [markdown]
# In the plane every cluster wants to be near the origin, and the middle is crowded. The sphere has no middle. At
# $d = 2$ the sphere is ahead here; [chapter 9](09_unsupervised.ipynb) asks for which $d$ that remains so.
#
# Is the likelihood right? For $m = 3$ we can integrate. As $z_3$ of a uniform point is uniform on $[-1, 1]$, a Gauss
# rule in $z_3$ and equal steps around give $p(x)$, the mean of $p(x|z)$ over the sphere.

# %%
height, weight = map(torch.from_numpy, np.polynomial.legendre.leggauss(48))
around = torch.arange(96) * math.tau / 96
rim = torch.sqrt(1 - height**2)[:, None]
z = torch.stack(torch.broadcast_tensors(rim * around.cos(), rim * around.sin(), height[:, None]), dim=-1).float()
with torch.no_grad():
    log_p_x_given_z = sphere.likelihood.log_prob(test[:, None], sphere.decoder(z.reshape(-1, 3)))  # (500, points)
exact = (log_p_x_given_z + torch.log(weight / 2 / 96).repeat_interleave(96).float()).logsumexp(-1)
torch.manual_seed(0)
bounds = [iwae_bound(sphere, test, K).mean() for K in (1, 10, 200)]
assert bounds[0] < bounds[1] - 0.05 < exact.mean()
assert abs(bounds[2] - exact.mean()) < 0.05

# %% [markdown]
# ## What a biased gradient does
#
# Public code differentiates through the accepted proposal, and so loses a part of $\partial/\partial\kappa$
# ([chapter 5](05_gradients.ipynb)). What does that do to a *trained model*? First a prediction. Suppose that the
# encoder has found the right direction $\mu$, and that near it $\log p(x|z)$ is linear in $w = \mu \cdot z$, with slope
# $a$. Only $\kappa$ is left to choose. The best one maximises
#
# $$
# f(\kappa) = a\, A_m(\kappa) - \mathrm{KL}(\kappa), \qquad f'(\kappa) = (a - \kappa)\, A_m'(\kappa),
# $$
#
# since $\mathrm{KL}' = \kappa A_m'$. So $\kappa^* = a$: *the concentration is what reconstruction pays*. The naive
# sampler moves $w$ at the rate $(1 - w^2)/\rho$ with $\rho = \sqrt{(m-1)^2 + 4\kappa^2}$. Its mean, by
# $\kappa\, E(1 - w^2) = (m-1) A_m$ (chapter 5), takes the place of $A_m'$ in the first term, while the KL's gradient is
# exact. Training then stops where
#
# $$
# a\, \frac{(m-1) A_m(\kappa)}{\kappa \rho} = \kappa A_m'(\kappa) .
# $$
#
# Reconstruction is paid too little, and $\kappa$ ends too low, by about the missing share of the gradient. But
# $f' = 0$ at the top: the loss of $f$ is about $\frac12 A_m'\, (\Delta\kappa)^2$, of second order.


# %%
def naive_slope(kappa, m):
    """The mean of (1 - w^2) / rho."""
    return (m - 1) * mean_resultant_length(kappa, m) / (kappa * torch.sqrt((m - 1) ** 2 + 4 * kappa**2))


kappa = torch.linspace(1, 40, 39_001, dtype=torch.float64)
for m in (3, 6, 11):
    a = 15.0
    f = a * mean_resultant_length(kappa, m) - kl_to_uniform(kappa, m)
    variance = mean_resultant_length_derivative(kappa, m)
    rest = (a * naive_slope(kappa, m) - kappa * variance).abs().argmin()
    loss = f.max() - f[rest]
    assert abs(kappa[f.argmax()] - a) < 0.01
    assert abs(loss / (0.5 * variance[f.argmax()] * (a - kappa[rest]) ** 2) - 1) < 0.25
    assert loss < 0.02
    print(f"m = {m:2}: kappa {kappa[rest]:.1f} instead of {a:.1f}, {loss:.3f} nats lost")

# %% [markdown]
# Now the experiment. The biased law has the same samples, and the same gradient in $\mu$. Only $\partial z/\partial
# \kappa$ is replaced: along the meridian $\frac{dz}{dw} = \frac{\mu - w z}{1 - w^2}$, so the naive rate gives
# $(\mu - w z)/\rho$.


# %%
class NaiveVonMisesFisher(VonMisesFisher):
    """The fault: exact samples, whose derivative in kappa lacks the correction."""

    def rsample(self, sample_shape=()):
        mu, kappa = self.loc, self.concentration
        z = VonMisesFisher(mu, kappa.detach(), validate_args=False).rsample(sample_shape)
        with torch.no_grad():
            w = (mu * z).sum(-1, keepdim=True)
            rate = (mu - w * z) / torch.sqrt((self.m - 1) ** 2 + 4 * kappa**2)[..., None]
        return z + (kappa - kappa.detach())[..., None] * rate  # adds zero, but with a slope


class NaiveHead(SphereHead):
    law = NaiveVonMisesFisher


torch.manual_seed(1)
kappa = torch.full((100_000,), 2.0, requires_grad=True)
for law, expected in ((VonMisesFisher, 0.1642), (NaiveVonMisesFisher, 0.0846)):  # chapter 5, m = 2
    (slopes,) = torch.autograd.grad(law(torch.eye(2)[0], kappa).rsample()[:, 0].sum(), kappa)
    assert abs(slopes.mean() - expected) < 0.002

dims, seeds = (2, 5, 10), (0, 1, 2)
runs = {
    head: np.array([[measure(train_digits(head, d, seed)) for seed in seeds] for d in dims])
    for head in (SphereHead, NaiveHead)
}  # (d, seed, [ELBO, RE, KL, kappa])
exact_runs, naive_runs = runs.values()
change = naive_runs - exact_runs

# %% tags=["nbval-ignore-output"]
figure, (left, right) = plotting.subplots(1, 2, size=(7, 3))
for place, (row, change_row) in enumerate(zip(exact_runs, change, strict=True)):
    left.plot(place + np.array([-0.08, 0, 0.08]), 100 * change_row[:, 3] / row[:, 3], "o", color=ORANGE)
    right.plot([place] * 2, np.array([-1, 1]) * np.ptp(row[:, 0]), color="0.88", linewidth=22, solid_capstyle="butt")
    right.plot(place + np.array([-0.08, 0, 0.08]), change_row[:, 0], "o", color=ORANGE)
for axes, label in ((left, "change of mean κ (%)"), (right, "change of test ELBO (nats)")):
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(xticks=range(3), xticklabels=[f"d = {d}" for d in dims], ylabel=label, xlim=(-0.5, 2.5))
left.set_ylim(-40, 5)
right.set_ylim(-1.2, 1.2)
plotting.show(
    figure,
    "**Figure 8.4.** Training with the biased instead of the exact gradient, three seeds each. Grey: how far apart "
    "seeds are with the exact gradient.",
    alt="Left: kappa is lower in every run, by 10 to 25 percent. Right: the ELBO changes by little, mostly downwards; "
    "the changes are smaller than the distances between seeds.",
)
for d, row in zip(dims, change, strict=True):
    print(f"d = {d:2}: mean change of ELBO {row[:, 0].mean():+.2f}, of KL {row[:, 2].mean():+.2f}")

# %%
assert (change[..., 3].mean(1) < 0).all()  # kappa is too low at every d
assert change[..., 2].mean() < -0.05  # and so is the KL
assert abs(change[..., 0].mean()) < 0.6  # the ELBO hardly notices

# %% [markdown]
# In direction the prediction holds. The biased model is reluctant to be sure: $\kappa$ and KL are too low at every $d$,
# and by more than in the toy, where no decoder learns from blurred codes. The ELBO tells little. At $d = 2$ there is no
# visible difference, at 5 and 10 a tenth or two of a nat, about as much as between seeds. And these runs are short:
# part of it may be slower learning. Three seeds decide no more than that.
#
# So a fault of 10% and more in $\kappa$ hides in the noise of the ELBO, and can stay unnoticed. It is no reason to keep
# it: whoever reads $\kappa$ as a measure of certainty reads a bias.
#
# ## The trap: five more faults, seen in training
#
# **NaN from the first step.** The textbook formula for $\phi_m$ contains $\log I_{m/2-1}(\kappa)$, and libraries offer
# $I_\nu(\kappa)\, e^{-\kappa}$ as `ive`. A fresh network has $\kappa \approx \log 2 + 1 = 1.69$. With $m = 128$:


# %%
def textbook_kl(kappa, m):
    """kappa A - phi by way of ive, in the precision of kappa."""
    v, kappa = kappa.dtype.type(m / 2 - 1), np.asarray(kappa)
    bessel, above = ive(v, kappa), ive(v + 1, kappa)
    with np.errstate(all="ignore"):
        log_bessel = np.log(bessel) + kappa
        phi = gammaln(kappa.dtype.type(m / 2)) + v * np.log(2 / kappa) + log_bessel
        return kappa * above / bessel - phi


start = torch.tensor(math.log(2) + 1, requires_grad=True)
print(f"textbook: {textbook_kl(np.float32(1.69), 128)}, library: {kl_to_uniform(start, 128):.4f}")
assert np.isnan(textbook_kl(np.float32(1.69), 128))
assert abs(textbook_kl(np.float64(1.69), 128) - kl_to_uniform(torch.tensor(1.69), 128)) < 1e-5  # float64 has room
kl_to_uniform(start, 128).backward()
assert abs(start.grad - start.item() / 128) < 1e-4  # kappa A' is nearly kappa / m

# %% [markdown]
# One NaN in the loss makes all weights NaN in one step of Adam. [Chapter 3](03_bessel.ipynb) has the cure.
#
# **NaN in the sampler.** At $w = 1$, which rounding reaches, $\sqrt{1 - w^2}$ has an infinite slope, and infinity times
# zero is NaN. In the next step $\kappa$ is NaN, no proposal is ever accepted, and a loop without a bound hangs. A
# sampler carries $y = 1 - w > 0$, bounds its rounds, and refuses NaN by name.

# %%
w = torch.ones(1, requires_grad=True)
(slope,) = torch.autograd.grad((0 * torch.sqrt(1 - w**2)).sum(), w)
assert slope.isnan()
mu, kappa = torch.eye(3)[0], torch.tensor(math.nan)
message = ""
try:
    VonMisesFisher(mu, kappa)
except ValueError as error:
    message = str(error)
assert "concentration" in message  # refused, by name
assert VonMisesFisher(mu, kappa, validate_args=False).rsample().isnan().all()  # unchecked, it still ends

# %% [markdown]
# **A cap on $\kappa$.** To keep a fragile sampler alive, a reproduction cut $\kappa$ at $100\, m$. Beyond the cap the
# gradient is zero, so the value cannot come back. Is $100\,m$ large? On our circle ($m = 2$) it is not:


# %%
class CappedHead(SphereHead):
    def forward(self, h):
        q = super().forward(h)
        return VonMisesFisher(q.loc, q.concentration.clamp(max=100.0 * self.ambient_dim), validate_args=False)


capped = train_circle(CappedHead)

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    kappas = {name: model.encode(circle.train).concentration for name, model in (("cap", capped), ("no", uncapped))}
figure, axes = plotting.subplots(size=(7, 2.6))
axes.hist(kappas["no"], bins=np.arange(100, 601, 10), color=BLUE)
axes.hist(kappas["cap"], bins=np.arange(100, 601, 10), color=ORANGE)
axes.text(214, 600, "capped: nearly all at 200", color=ORANGE)
axes.text(kappas["no"].mean(), 300, "no cap", color=BLUE, ha="center")
axes.set(xlabel="κ of a point", ylabel="points", xlim=(100, 600))
plotting.show(
    figure,
    "**Figure 8.5.** The concentrations that an S-VAE learns on the circle, with and without the cap at 100 m.",
    alt="With the cap nearly all points are in one bar at 200; without it they form a hump around 300 to 400.",
)

# %%
limit = kl_to_uniform(torch.tensor(200.0), 2)
assert (kappas["cap"] == 200).float().mean() > 0.5
assert kappas["no"].mean() > 220
with torch.no_grad():
    price = capped.posterior.kl(capped.encode(circle.train))
assert price.max() <= limit + 1e-4  # a KL that stands still in the log: the symptom
assert kl_to_uniform(kappas["no"], 2).mean() > limit + 0.1
assert abs(kl_to_uniform(torch.tensor(500.0), 5) - 10.0273) < 0.001  # the KL in that reproduction's log, for m = 5

# %% [markdown]
# **A kink.** Another library switched at $\kappa = 100$ from an exact normaliser to an approximation: for $m = 3$, with
# derivative $\kappa/\sqrt{\kappa^2 + 4}$ in place of $A_3$. The values were joined, the slopes were not. Fit the law to
# directions whose mean has the length $r$: the likelihood's slope is $r - A(\kappa)$, so the fit climbs while
# $A(\kappa) < r$ (chapter 2). And the slope jumps from 0.990 to 0.9998. So for all $r$ between, that is, for true
# $\kappa$ from 100 to 5000, it comes to rest at 100.

# %%
grid = torch.arange(20.0, 8000.0, dtype=torch.float64)
slope = torch.where(grid < 100, mean_resultant_length(grid, 3), grid / torch.sqrt(grid**2 + 4))
for truth in (50.0, 200.0, 4000.0):
    r = mean_resultant_length(torch.tensor(truth, dtype=torch.float64), 3)
    rest = grid[(slope < r).sum()]
    assert abs(rest - min(truth, 100)) <= 1  # kappa of a fit by gradient ascent

# %% [markdown]
# **The latent size, taken for $m$.** A configuration says `latent_dim = 2`. If the S-VAE takes it as $m$, it lives on a
# circle and is compared with a plane. [Chapter 1](01_why_a_sphere.ipynb) shows how this turns a result around. Our
# heads take $d$:

# %%
assert SphereHead(8, d=2)(torch.zeros(1, 8)).event_shape == (3,)
assert GaussianHead(8, d=2)(torch.zeros(1, 8)).event_shape == (2,)

# %% [markdown]
# ## A law without rejection
#
# De Cao and Aziz (2020) propose the **Power Spherical** law, with density proportional to $(1 + \mu \cdot z)^\kappa$.
# Put $e = (1 + w)/2$. Chapter 4's factor is $(1 - w^2)^{(m-3)/2} = (4 e (1 - e))^{(m-3)/2}$. So $e$ is a Beta variable
# with parameters $\beta = \frac{m-1}2$ for uniform points, and $\alpha = \kappa + \beta$, $\beta$ for this law. Nothing
# is rejected. The density against the uniform law is $e^\kappa B(\beta, \beta)/B(\alpha, \beta)$, and as
# $E \log e = \psi(\alpha) - \psi(\alpha + \beta)$ with the digamma function $\psi$,
#
# $$
# \mathrm{KL} = \kappa\, [\psi(\alpha) - \psi(\alpha + \beta)] + \log \frac{B(\beta, \beta)}{B(\alpha, \beta)} .
# $$


# %%
def log_beta(a, b):
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


kappa, beta = torch.tensor(20.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)  # m = 3
alpha = kappa + beta
kl = kappa * (torch.digamma(alpha) - torch.digamma(alpha + beta)) + log_beta(beta, beta) - log_beta(alpha, beta)
law = PowerSpherical(torch.eye(3, dtype=torch.float64)[0], kappa)
assert torch.isclose(kl_divergence(law, HypersphericalUniform(3, dtype=torch.float64)), kl)
e = (1 + law.sample((50_000,))[:, 0]) / 2
assert abs(e.mean() - alpha / (alpha + beta)) < 5 * e.std() / 50_000**0.5


class PowerHead(SphereHead):
    law = PowerSpherical


power = train_digits(PowerHead, 2, epochs=120)

# %% tags=["nbval-ignore-output"]
for name, model in (("von Mises-Fisher", sphere), ("Power Spherical", power)):
    print("{}: ELBO {:.1f}, RE {:.1f}, KL {:.1f}, mean kappa {:.0f}".format(name, *measure(model)))

# %%
assert abs(measure(power)[0] - measure(sphere)[0]) < 0.7
assert measure(power)[3] > 1.3 * measure(sphere)[3]

# %% [markdown]
# The ELBOs agree; the $\kappa$ do not, and need not: near $\mu$, $(1 + w)^\kappa \approx 2^\kappa e^{-\kappa (1-w)/2}$,
# so this $\kappa$ counts half. One warning: the density vanishes opposite $\mu$. Importance weights are then unbounded,
# and chapter 7's $v$ is infinite as soon as $\kappa \ge \frac{m-1}2$.
#
# ## The library's version
#
# Same heads, same terms. `mlp_vae("s", d)` builds the whole model, `"n"` and `"ps"` the others.

# %%
from hvae_tutorial.models import GaussianPosterior, PowerSphericalPosterior, VonMisesFisherPosterior, mlp_vae

x = test[:50]
for model, kind, head in [
    (plane, "n", GaussianPosterior),
    (sphere, "s", VonMisesFisherPosterior),
    (power, "ps", PowerSphericalPosterior),
]:
    library = mlp_vae(kind, 2, x_dim=64, hidden=(128,))
    assert isinstance(library.posterior, head)
    library.load_state_dict(dict(zip(library.state_dict(), model.state_dict().values(), strict=True)))
    with torch.no_grad():
        torch.manual_seed(2)
        theirs = torch.stack(elbo(library, x))
        torch.manual_seed(2)
        ours = torch.stack(elbo(model, x))
    assert torch.allclose(theirs, ours, atol=1e-3)
    torch.manual_seed(2)
    theirs = iwae_bound(library, x, 20)
    torch.manual_seed(2)
    assert torch.allclose(theirs, iwae_bound(model, x, 20), atol=1e-3)

# %% [markdown]
# ## Test yourself
#
# **1.** In the log of an S-VAE the KL is 10.0273 for every epoch from the twentieth on. What do you suspect?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# A cap. The KL depends on $\kappa$ alone, so a constant KL is a constant $\kappa$: here 500, the cap at $m = 5$.
#
# </details>
#
# **2.** Why can the S-VAE's ELBO gain at most what a single $\kappa$ per image allows, where the N-VAE has $d$ widths?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# The von Mises-Fisher law is round: equally wide in all $d$ tangent directions. If the posterior $p(z|x)$ is elongated,
# no $\kappa$ fits it, and the gap $\mathrm{KL}(q \Vert p(z|x))$ stays. This matters more for large $d$.
#
# </details>
#
# ## Exercises
#
# Coding exercises will stand here:
#
# - a head for the product of two circles (difficulty 3, 30 minutes);
# - a test that finds the biased gradient without knowing the truth (4, 40 minutes);
# - the best $\kappa$ of the toy objective for the Power Spherical law (3, 20 minutes).
#
# ## Summary
#
# 1. An S-VAE is a VAE with another head; ELBO, bound and training loop stay as they are.
# 2. Reconstruction buys concentration: $\kappa^* = a$. A biased gradient buys too little, and the ELBO hardly shows it.
# 3. NaN at the start: `ive`. NaN later, or a sampler that hangs: $\sqrt{1 - w^2}$.
# 4. A KL or a $\kappa$ that stands still: a cap or a kink.
# 5. Compare at equal $d$, never at equal numbers of coordinates.
#
# ## References
#
# - Davidson et al. (2018), [arXiv:1804.00891](https://arxiv.org/abs/1804.00891): section 3 (the model), Figure 1.
# - De Cao, Aziz (2020), [arXiv:2006.04437](https://arxiv.org/abs/2006.04437): the Power Spherical law.
# - Naesseth et al. (2017), [arXiv:1610.05683](https://arxiv.org/abs/1610.05683): the gradient through rejection.
# - pythae, issue 72 (NaN at $m = 128$); graphnet, issue 900 (the kink at 100).
