# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Welcome
#
# *What does a neural network see when its inner map is not a plane but a globe, and what do you have to know to draw
# that map yourself?*
#
# **You will be able to**
#
# - run the chapters, in Jupyter or in Colab;
# - choose your way through the course;
# - read its letters.
#
# **You need**: Python and a little PyTorch, calculus, basic probability.
#
# **Time**: 15 minutes.

# %%
import math

import numpy as np
import torch

from hvae_tutorial import plotting
from hvae_tutorial.data import binarize, load
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.models import mlp_vae
from hvae_tutorial.special import kl_to_uniform, log_partition, mean_resultant_length
from hvae_tutorial.training import TrainingSettings, fit

# %% [markdown]
# ## A bump on a sphere
#
# Everything here is built on one distribution. The von Mises-Fisher law is what a Gaussian becomes when the points live
# on the unit sphere. It has a mean direction $\mu$ and a concentration $\kappa$, and its density at the unit vector $z$
# is proportional to $\exp(\kappa\, \mu \cdot z)$. We look at a globe from the front, with $\mu$ a little to the upper
# right.

# %%
mu = torch.nn.functional.normalize(torch.tensor([0.35, 0.3, 0.9], dtype=torch.float64), dim=0)
laws = {kappa: VonMisesFisher(mu, torch.tensor(kappa, dtype=torch.float64)) for kappa in (1.0, 10.0, 100.0)}
torch.manual_seed(0)
samples = {kappa: law.sample((400,)) for kappa, law in laws.items()}

x, y = torch.meshgrid(*2 * [torch.linspace(-1, 1, 301, dtype=torch.float64)], indexing="xy")
front = torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0).sqrt()], dim=-1)  # the half of the globe that we see
front = torch.nn.functional.normalize(front, dim=-1)
outside = x**2 + y**2 > 1
arc = np.radians(np.linspace(-90, 90, 91))
lines = [(np.cos(arc) * np.sin(lon), np.sin(arc)) for lon in np.radians(range(-90, 91, 30))]  # meridians
lines += [(np.cos(lat) * np.sin(arc), np.full(91, np.sin(lat))) for lat in np.radians(range(-60, 61, 30))]  # parallels

figure, axes = plotting.subplots(1, 3, size=(7, 2.7))
for globe, (kappa, law) in zip(axes, laws.items(), strict=True):
    density = (law.log_prob(front) - law.log_prob(mu)).exp().masked_fill(outside, math.nan)  # relative to the peak
    globe.imshow(density, cmap="Blues", vmin=0, vmax=1.3, origin="lower", extent=(-1, 1, -1, 1))
    seen = samples[kappa][samples[kappa][:, 2] > 0]
    for line in lines:
        globe.plot(*line, color="0.6", linewidth=0.4)
    globe.scatter(seen[:, 0], seen[:, 1], s=3, color=plotting.CURVE_COLOURS[1], linewidths=0, zorder=3)
    globe.set_title(f"κ = {kappa:g}")
    globe.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
    globe.set_axis_off()
plotting.show(
    figure,
    "**Figure 0.1.** The von Mises-Fisher law on the sphere at three concentrations: its density in blue, relative to "
    "its peak, and 400 samples each in orange. Samples on the far side are hidden.",
    alt="Three globes. At concentration 1 samples are spread over the globe, at 10 they fill a cap around the upper "
    "right of the centre, and at 100 they crowd in a small spot.",
)

# %% [markdown]
# The larger $\kappa$, the tighter the bump. How tight? The mean of $\mu \cdot z$ says it: 0 for points anywhere, 1 for
# points at $\mu$. On this sphere it is $\coth\kappa - 1/\kappa$. That is a claim, and in this course a claim is
# followed by an `assert`: a line that stops the program if it is false. You need not believe what you can run.

# %%
for kappa, z in samples.items():
    w = z @ mu
    formula = 1 / math.tanh(kappa) - 1 / kappa
    print(f"kappa = {kappa:3g}: mean of mu.z over the samples {w.mean():.2f}, formula {formula:.2f}")
    assert abs(w.mean() - formula) < 4 * w.std() / math.sqrt(400)  # four standard errors
    assert torch.allclose(torch.linalg.vector_norm(z, dim=-1), torch.ones(400, dtype=torch.float64))

# %% [markdown]
# ## A globe of digits
#
# Now give this law to a neural network. A *variational autoencoder* squeezes each image into a few numbers $z$, in such
# a way that the image can be drawn again from $z$. Most of them put $z$ in a Gaussian cloud. The hyperspherical one
# (S-VAE) of Davidson et al. (2018) gives each image a von Mises-Fisher bump on a sphere. Here is one with an ordinary
# globe inside. It trains for a few seconds on 1,097 small pictures of digits, and is never told which digit is which.

# %%
digits = load("digits")
torch.manual_seed(0)
model = mlp_vae("s", d=2, x_dim=64)
settings = TrainingSettings(epochs=50, warmup_epochs=15)
generator = torch.Generator().manual_seed(0)
fit(model, digits.train, binarize(digits.validation, generator), settings, progress=False)
model.cpu()

with torch.no_grad():
    bumps = model.encode(digits.test)  # 500 images that it has not seen
figure = plotting.latent_sphere(bumps.loc, digits.test_labels)
plotting.show(
    figure,
    "**Figure 0.2.** 500 unseen digits on the S-VAE's globe, on a map that keeps areas. Each point is the mean "
    "direction of an image; colours and numbers were added afterwards.",
    alt="An oval world map with points in ten colours. Images of the same digit lie together in regions, "
    "which cover the whole map without a centre.",
)

# %% [markdown]
# Digits of a kind have gathered in countries of their own. The globe has no centre and no edge: the left and the right
# border of the map are the same line, and a country may lie across it. To see what is in between, walk once around the
# equator and let the network draw what it finds.

# %%
longitude = torch.linspace(-math.pi, math.pi, 13)[:-1]
equator = torch.stack([longitude.cos(), longitude.sin(), 0 * longitude], dim=-1)
with torch.no_grad():
    walk = model.decode(equator).mean.reshape(-1, 8, 8)
figure = plotting.reconstructions({"equator": walk})
plotting.show(
    figure,
    "**Figure 0.3.** Once around the equator in steps of 30 degrees. After the last picture comes the first.",
    alt="Twelve small grey pictures in a row, each a digit or a blend of two, changing gradually into the next.",
)

# %%
# Is a digit's nearest neighbour on the globe of the same class? By chance this would be so one time in ten.
angles = model.posterior.distance(bumps.loc, bumps.loc).fill_diagonal_(math.inf)
same = (digits.test_labels[angles.argmin(1)] == digits.test_labels).float().mean()
assert same > 0.4
# The circle closes: the step from the last picture to the first is as smooth as the others.
steps = (walk - walk.roll(1, 0)).flatten(1).norm(dim=1)
assert steps[0] < 2 * steps.median()

# %% [markdown]
# At the end of the course you will have built every part of this: the density, the sampler, its gradient, the price
# that the sphere charges, the model and its table of results. And you will know where published code gets each of them
# wrong, because you will have seen it fail.
#
# ## The map
#
# | chapter | the question |
# |---|---|
# | [1 Why a sphere?](01_why_a_sphere.ipynb) | What does a Gaussian cloud do to data, and what does a sphere? |
# | [2 The von Mises-Fisher law](02_von_mises_fisher.ipynb) | How do you say "about there" of a direction? |
# | [3 Bessel functions](03_bessel.ipynb) | How do you compute a number that is too small to store? |
# | [4 Sampling](04_sampling.ipynb) | How do you draw exactly, in any dimension and at any concentration? |
# | [5 Gradients](05_gradients.ipynb) | How do you differentiate through a sampler that rejects? |
# | [6 The KL divergence](06_kl_divergence.ipynb) | What does the sphere charge for a bump? |
# | [7 The N-VAE](07_n_vae.ipynb) | How does a Gaussian VAE work, and how good is it? |
# | [8 The S-VAE](08_s_vae.ipynb) | What changes when the pieces of chapters 2 to 6 replace the Gaussian? |
# | [9 Unsupervised learning](09_unsupervised.ipynb) | Where does the sphere win, where does it lose, and why? |
# | [10 A hundred labels](10_semi_supervised_m1.ipynb) | Which latent space lets a few labels speak for the rest? |
# | [11 A class behind the code](11_semi_supervised_m1m2.ipynb) | How does one bound learn with and without labels? |
# | [12 Links](12_link_prediction.ipynb) | Can nodes on a sphere say where a link was rubbed out? |
# | [13 Beyond one sphere](13_beyond.ipynb) | At d = 40 the sphere loses. Is it the sphere's fault? |
# | [14 The report](14_reproduction_report.ipynb) | Which of the paper's numbers stand? |
#
# ## How to read
#
# From 1 to 14, if you have the time: each chapter uses what the earlier ones have built. If you want the mathematics of
# the sphere and no networks, read 2 to 6. If you know the law and want models, read 1 and 7 to 13. If you are in a
# hurry, read 1 and 14.
#
# Each chapter goes the same way. A derivation, the same in a few lines of code, a figure and what it says. Then *the
# trap*: something that real code got wrong, run so that it fails, and its cure. Then the library's version, asserted
# equal to yours. Then questions whose answers are hidden until you click. Change the numbers as you go. Where an
# assertion stops you, you have found the reason for it.
#
# ## Set-up
#
# **In Jupyter.** Open a chapter and run its first cell, which installs the library if it is missing and names the
# device. Everything else comes with the library; no chapter needs a network. A processor is enough, and no chapter
# computes for more than a minute or so. A CUDA device is used where there is one.
#
# **In Colab.** Open the chapter from its page on the site, or upload the notebook, and run the first cell. If that cell
# installs from a file that ends in `.whl`, download the file from the same page and upload it too, beside the notebook.
# Your Colab machine keeps the PyTorch that it has.
#
# ## Letters
#
# Text, formulas and code use the same letters. These are the most frequent; the notation page of the site has all.
#
# | letter | in code | meaning |
# |---|---|---|
# | $m$ | `m` | number of coordinates: the sphere lies in $\mathbb{R}^m$ |
# | $d$ | `d` | dimension of the sphere, $d = m - 1$: a globe has $d = 2$ and $m = 3$ |
# | $\mu$ | `mu`, `loc` | mean direction, a unit vector |
# | $\kappa$ | `kappa`, `concentration` | concentration; 0 is the uniform law |
# | $z$ | `z` | a point on the sphere, the code of an image |
# | $w$ | `w` | $\mu \cdot z$, how far along $\mu$ a point is |
# | $\phi_m(\kappa)$ | `log_partition(kappa, m)` | $\log E\, e^{\kappa w}$ for uniform points: the log normaliser |
# | $A_m(\kappa)$ | `mean_resultant_length(kappa, m)` | the mean of $w$ |
# | $x$ | `x` | data, an image |
# | $q(z \mid x)$, $p(z)$ | `model.encode(x)`, `model.posterior.prior()` | posterior and prior |
#
# One function carries the whole course. Its derivative is the mean of $w$, and what the sphere charges is
#
# $$
# A_m(\kappa) = \phi_m'(\kappa), \qquad \mathrm{KL} = \kappa A_m(\kappa) - \phi_m(\kappa) .
# $$
#
# Why this is so is the matter of chapters 2 and 6. That it is so, you can have now.

# %%
for m in (2, 3, 10, 100):
    kappa = torch.tensor([0.5, 5.0, 50.0], dtype=torch.float64, requires_grad=True)
    phi, mean = log_partition(kappa, m), mean_resultant_length(kappa, m)
    (derivative,) = torch.autograd.grad(phi.sum(), kappa)
    steps = (log_partition(kappa + 1e-4, m) - log_partition(kappa - 1e-4, m)) / 2e-4  # without autograd's word for it
    assert torch.allclose(derivative, mean)
    assert torch.allclose(steps, mean, atol=1e-7)
    assert torch.allclose(kl_to_uniform(kappa, m), kappa * mean - phi)
print("phi' = A, and KL = kappa A - phi, at twelve places")

# %% [markdown]
# ## References
#
# - T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf, J. M. Tomczak (2018). *Hyperspherical Variational Auto-Encoders*.
#   UAI, arXiv:1804.00891. The paper that this course rebuilds.
# - K. V. Mardia, P. E. Jupp (2000). *Directional Statistics*. Wiley. Section 9.3.2 (the von Mises-Fisher law).
#
# Turn the page: [why a sphere?](01_why_a_sphere.ipynb)
