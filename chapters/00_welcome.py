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
# *What becomes of a neural network's map of its data when the map is not a plane but a globe, and what do you have to
# know to make one yourself?*
#
# **You will be able to**
#
# - run the chapters, in Jupyter or in Colab;
# - choose your way through the course;
# - read its letters.
#
# **You need**: Python and a little PyTorch, calculus, basic probability.
#
# **Time**

# %% [markdown]
# ## A globe that draws
#
# <div class="explorable" data-explorable="globe"></div>
#
# On the course's site you can turn a globe here. A neural network draws the digit under the needle while you turn:
# nearby places give similar digits, and there is no edge to fall off. In a notebook, Figure 0.1 stands in for it, with
# a smaller network that you train yourself in a few seconds.
#
# ## Set-up
#
# **In Jupyter.** Open a chapter and run its first cell, which installs the library if it is missing and names the
# device. Everything else comes with the library: after that cell nothing is downloaded. A processor is enough, and no
# chapter computes for more than a minute or so. A CUDA device is used where there is one.
#
# **In Colab.** Open the chapter from its page on the site, or upload the notebook, and run the first cell. If that cell
# installs from a file that ends in `.whl`, download the file from the same page and upload it too, beside the notebook.
# Your Colab machine keeps the PyTorch that it has.

# %%
import math

import torch

from hvae_tutorial import plotting
from hvae_tutorial.data import binarize, load
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.models import mlp_vae
from hvae_tutorial.special import kl_to_uniform, log_partition, mean_resultant_length
from hvae_tutorial.training import TrainingSettings, fit

# %% [markdown]
# A *variational autoencoder* squeezes each image into a few numbers $z$, in such a way that the image can be drawn
# again from $z$. Most of them put $z$ in a Gaussian cloud. The hyperspherical one (S-VAE) of [@davidson2018]
# puts $z$ on a sphere. Here is one whose sphere is an ordinary globe. It sees 1,097 small pictures of digits, and is
# never told which digit is which.

# %%
digits = load("digits")
torch.manual_seed(0)
model = mlp_vae("s", d=2, x_dim=64)  # 8 x 8 pixels; a sphere of two dimensions
validation = binarize(digits.validation, torch.Generator().manual_seed(0))
fit(model, digits.train, validation, TrainingSettings(epochs=50, warmup_epochs=15), progress=False)
model.cpu()
with torch.no_grad():
    codes = model.encode(digits.test).loc  # where on the globe: 500 unit vectors, of images that it has not seen

# %% tags=["picture", "nbval-ignore-output"]
from matplotlib.colors import to_rgb

TILES = 10  # drawings across the globe
figure, (left, right) = plotting.subplots(1, 2, size=(6.6, 3.5))
plotting.globe(left)
turned = codes.roll(-1, dims=1)  # a globe is seen from the third axis: this one from the first of the codes
front = turned[:, 2] > 0
seen, names = turned[front], digits.test_labels[front]
for point, name in zip(seen.tolist(), names.tolist(), strict=True):
    colour = [0.6 * channel for channel in to_rgb(plotting.CLASS_COLOURS[name])]  # darker: these marks are thin
    left.text(point[0], point[1], str(name), color=colour, fontsize=6, ha="center", va="center")
left.set_title("unseen images, by their digit")

middle = (torch.arange(TILES) + 0.5) / TILES * 2 - 1
y, x = torch.meshgrid(middle.flip(0), middle, indexing="ij")
inside = x**2 + y**2 < 0.9
places = torch.stack([x, y, (1 - x**2 - y**2).clamp(min=0).sqrt()], dim=-1)[inside]
canvas = torch.zeros(TILES, TILES, 10, 10)  # a margin of a pixel
with torch.no_grad():
    drawn = model.decode(places.roll(1, dims=1)).mean.reshape(-1, 8, 8)
canvas[inside] = torch.nn.functional.pad(drawn, (1, 1, 1, 1))
right.imshow(
    canvas.transpose(1, 2).reshape(10 * TILES, 10 * TILES), cmap="gray_r", vmin=0, vmax=1, extent=(-1, 1, -1, 1)
)
plotting.globe(right)
right.set_title("what the network draws there")
plotting.show(
    figure,
    "**Figure 0.1.** The same half of the globe twice. Left: where the network has put images of digits. Right: what "
    "it draws at these places.",
    alt=f"Two globes. On the left {len(seen)} of 500 images as small numerals in ten colours, most of them in groups "
    f"of one digit. On the right {len(places)} small drawings, which change gradually from one digit to the next.",
)

# %% [markdown]
# Look at a place on the left and at the same place on the right. Where one digit has a place to itself, the drawing is
# that digit. Where groups meet or overlap it is a blend, and sometimes a blob. How well are the digits kept apart? Ask
# each image for its nearest neighbour on the globe. How often is it the same digit?

# %%
angles = model.posterior.distance(codes, codes).fill_diagonal_(math.inf)
same = (digits.test_labels[angles.argmin(1)] == digits.test_labels).float()
shares = {digit: same[digits.test_labels == digit].mean().item() for digit in range(10)}

# %% tags=["picture", "nbval-ignore-output"]
figure = plotting.latent_sphere(codes, digits.test_labels)
plotting.show(
    figure,
    "**Figure 0.2.** All 500 images, on a map that keeps areas. The left and the right border are the same line. "
    "Colours and numbers were added afterwards; a number stands at the most central image of its digit, which may be "
    "among images of another.",
    alt="An oval world map with points in ten colours. Images of the same digit tend to lie together, in regions that "
    "cover the whole map without a centre; some regions overlap.",
)
ranked = sorted(shares, key=lambda digit: -shares[digit])
plotting.say(
    "Nearest neighbour of the same digit: "
    + ", ".join(f"**{digit}** {shares[digit]:.0%}" for digit in ranked)
    + f". By chance it would be one in ten. In this one run {ranked[0]} and {ranked[1]} have regions of their own; "
    f"{ranked[-2]} and {ranked[-1]} share theirs with others."
)

# %% tags=["checks"]
assert min(shares.values()) > 0.2  # twice as often as by chance, for every digit
assert max(shares.values()) > 0.85
assert min(shares.values()) < 0.6  # two numbers do not keep all ten apart
assert torch.allclose(codes.norm(dim=-1), torch.ones(500), atol=1e-5)
print(
    "Checked: codes are unit vectors; every digit finds its like more often than by chance, and not all find it often."
)

# %% [markdown]
# Two dimensions are few for ten digits, and this network has trained for seconds. Later chapters take more of both, and
# measure what it brings.
#
# ## A bump on a sphere
#
# The network does not put an image at a point. It says "about there": a bump of probability, narrow or wide. Everything
# in this course is built on the law of that bump (*law* is short for probability distribution). The *von Mises-Fisher
# law* is what a Gaussian becomes when the points live on the unit sphere. It has a mean direction $\mu$ and a
# concentration $\kappa$, and its density at the unit vector $z$ is proportional to $\exp(\kappa\, \mu \cdot z)$
# [@mardia2000, section 9.3.2].

# %%
mu = torch.nn.functional.normalize(torch.tensor([0.35, 0.3, 0.9], dtype=torch.float64), dim=0)
torch.manual_seed(0)
samples = {k: VonMisesFisher(mu, torch.tensor(k, dtype=torch.float64)).sample((400,)) for k in (1.0, 10.0, 100.0)}

# %% tags=["picture"]
figure, axes = plotting.subplots(1, 3, size=(7, 2.7))
hidden = {}
for globe, (kappa, z) in zip(axes, samples.items(), strict=True):
    plotting.globe(globe, lambda points, kappa=kappa: 0.7 * (kappa * (points @ mu - 1)).exp())  # relative to the peak
    seen = z[z[:, 2] > 0]
    hidden[kappa] = 400 - len(seen)
    globe.scatter(seen[:, 0], seen[:, 1], s=3, color=plotting.CURVE_COLOURS[1], linewidths=0, zorder=3)
    globe.set_title(f"κ = {kappa:g}")
plotting.show(
    figure,
    "**Figure 0.3.** The von Mises-Fisher law at three concentrations: its density in blue, relative to its peak, and "
    "400 samples each in orange. Samples on the far side are hidden.",
    alt=f"Three globes. At concentration 1 samples are spread over the globe, and {hidden[1.0]} of 400 are on the far "
    f"side; at 10 they fill a cap to the upper right of the centre, and {hidden[10.0]} are on the far side; at 100 "
    "they crowd in a small spot.",
)

# %% [markdown]
# The larger $\kappa$, the tighter the bump. How tight? The mean of $\mu \cdot z$ says it: 0 if the points are spread
# evenly over the sphere, 1 if all are at $\mu$. On this sphere it is $\coth\kappa - 1/\kappa$. That is a claim, and in
# this course a claim is followed by an `assert`: a line that stops the program if it is false. You need not believe
# what you can run.

# %%
for kappa, z in samples.items():
    w = z @ mu
    formula = 1 / math.tanh(kappa) - 1 / kappa
    print(f"kappa = {kappa:3g}: mean of mu.z over the samples {w.mean():.2f}, formula {formula:.2f}")
    assert abs(w.mean() - formula) < 4 * w.std() / math.sqrt(400)  # four standard errors

# %% [markdown]
# Longer checks are folded. What you see of them is one line that says what was checked, such as the one under Figure
# 0.2; open the cell to read how. Code that only draws is folded too.
#
# At the end of the course you will have built every part of this: the density, the sampler, its gradient, the price
# that the sphere charges, the model and its table of results. And you will know where published code got them wrong,
# because you will have seen it fail.
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
# equal to yours. Then questions whose answers are hidden until you click, and exercises that a checker looks at. Change
# the numbers as you go. Where an assertion stops you, you have found the reason for it.
#
# ## Letters
#
# Text, formulas and code use the same letters. These are the most frequent; the notation page of the site has more.
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
# Three quantities carry the whole course: two of these letters and a divergence. Here they are in plain words.
#
# - The log normaliser $\phi_m(\kappa)$ makes probabilities add up to one. The higher the bump, the more it has to be
#   divided by; $\phi$ is the logarithm of that divisor (for the density relative to the uniform law).
# - The mean resultant length $A_m(\kappa)$ says how far along $\mu$ the draws are on average: the number that is
#   printed under Figure 0.3. It is the slope of $\phi$.
# - The KL divergence is what the model pays for saying "about there" rather than "anywhere". It is counted in nats: to
#   name one of $n$ equally likely places costs $\log n$ of them.
#
# $$
# A_m(\kappa) = \phi_m'(\kappa), \qquad \mathrm{KL} = \kappa A_m(\kappa) - \phi_m(\kappa) .
# $$
#
# Why this is so is the matter of chapters 2 and 6. That it is so, you can have now: differentiate the library's $\phi$.

# %%
kappa = torch.tensor([0.5, 5.0, 50.0], dtype=torch.float64, requires_grad=True)
phi, A = log_partition(kappa, 3), mean_resultant_length(kappa, 3)
(slope,) = torch.autograd.grad(phi.sum(), kappa)
for row in torch.stack([kappa, slope, A, kappa * A - phi, kl_to_uniform(kappa, 3)], dim=1).tolist():
    print("kappa = {:4.1f}: slope of phi {:.4f}, A {:.4f}; kappa A - phi {:.4f}, KL {:.4f}".format(*row))

# %% tags=["checks"]
for m in (2, 3, 10, 100):
    phi, mean = log_partition(kappa, m), mean_resultant_length(kappa, m)
    (slope,) = torch.autograd.grad(phi.sum(), kappa)
    steps = (log_partition(kappa + 1e-4, m) - log_partition(kappa - 1e-4, m)) / 2e-4  # without autograd's word for it
    assert torch.allclose(slope, mean)
    assert torch.allclose(steps, mean, atol=1e-7)
    assert torch.allclose(kl_to_uniform(kappa, m), kappa * mean - phi)
w = torch.linspace(-1, 1, 20_001, dtype=torch.float64)  # for m = 3 uniform: phi and KL once more, as integrals
for k, phi, kl in zip(kappa.tolist(), log_partition(kappa, 3).tolist(), kl_to_uniform(kappa, 3).tolist(), strict=True):
    density = (k * w).exp() / 2
    assert abs(torch.trapezoid(density, w).log() - phi) < 1e-5
    density = density / torch.trapezoid(density, w)  # of w under the law; 1/2 under the uniform law
    assert abs(torch.trapezoid(density * (2 * density).log(), w) - kl) < 1e-4
print("Checked: both formulas at twelve places, by autograd and by finite differences; for m = 3 also by integrals.")

# %% [markdown]
# ## References
#
# - [@davidson2018] The paper that this course rebuilds.
# - [@mardia2000] Section 9.3.2: the von Mises-Fisher law.
#
# Turn the page: [why a sphere?](01_why_a_sphere.ipynb)
