# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A hundred labels
#
# *You have thousands of images and can afford to label a hundred. A VAE has seen all of them. Which of its latent
# spaces lets the hundred speak for the rest?*
#
# **You will be able to**
#
# - classify by nearest neighbours on latent means, and say which distance belongs to which space;
# - draw labelled sets fairly, and say how much of an accuracy is luck of the draw;
# - read the paper's Table 2, and say what may help the sphere at $d=2$ and leave it at $d=40$;
# - see that an S-VAE has one coordinate more than dimensions, and what happens to those who forget it.
#
# **You need**: calculus, means and variances, chapters [2](02_von_mises_fisher.ipynb), [6](06_kl_divergence.ipynb) and
# [9](09_unsupervised.ipynb).
#
# **Time**: 45 minutes.

# %%
import math

import numpy as np
import torch
from IPython.display import Markdown, display
from torch.distributions import Independent, Normal, kl_divergence

from hvae_tutorial import plotting, records
from hvae_tutorial.data import balanced_indices, load
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.experiments import paper, table2
from hvae_tutorial.experiments.knn import DRAWS, NEIGHBOURS, knn_accuracies
from hvae_tutorial.experiments.protocol import binarized, latent_means
from hvae_tutorial.models import mlp_vae
from hvae_tutorial.special import kl_to_uniform, mean_resultant_length
from hvae_tutorial.training import TrainingSettings, fit

BLUE, ORANGE, GREEN, PINK = plotting.CURVE_COLOURS[:4]
rng = np.random.default_rng(10)

# %% [markdown]
# ## M1: first a code, then a classifier
#
# Kingma et al. (2014) call this M1. Train a VAE on all images, without labels. Then replace each image by the mode of
# its posterior: $\mu$ in $\mathbb{R}^d$ for the N-VAE, the mean direction $\mu$ in $S^d$ for the S-VAE. A test image
# gets the class that is most frequent among the $k$ labelled images with the nearest codes. We take $k=5$.
#
# Three models of the 8x8 digits, three seeds each: the plane, the sphere $S^2$, and for later the circle $S^1$.

# %%
digits = load("digits")
images = binarized(digits)
train_labels, test_labels = digits.train_labels.numpy(), digits.test_labels.numpy()


def trained(kind, d, seed=0):
    """A model of the digits; d is the dimension of its latent space."""
    torch.manual_seed(seed)
    model = mlp_vae(kind, d, x_dim=64)
    settings = TrainingSettings(epochs=40, warmup_epochs=10, batch_size=128, learning_rate=2e-3, seed=seed)
    fit(model, digits.train, images.validation, settings, progress=False)
    return model.cpu()


def codes_of(model):
    """Latent means of training and test images, in double precision."""
    return [latent_means(model, x).double().numpy() for x in (images.train, images.test)]


SPACES = {"N-VAE, plane": ("n", 2), "S-VAE, sphere": ("s", 2), "S-VAE, circle": ("s", 1)}
plane, sphere, circle = SPACES
COLOUR = dict(zip(SPACES, (BLUE, ORANGE, GREEN), strict=True))
models = {(name, seed): trained(*space, seed) for name, space in SPACES.items() for seed in range(3)}
codes = {key: codes_of(model) for key, model in models.items()}
assert [codes[name, 0][0].shape[1] for name in SPACES] == [2, 3, 2]  # coordinates, not dimensions

# %% [markdown]
# The classifier in ten lines. Of equally frequent classes it takes the smallest.


# %%
def euclidean(a, b):
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))


def cosine(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return 1 - a @ b.T


def classify(labelled, labels, test, distance, k=5):
    """The most frequent class among the k nearest labelled points."""
    nearest = np.argsort(distance(test, labelled), axis=1)[:, :k]
    votes = (labels[nearest][:, :, None] == np.arange(10)).sum(1)  # (n_test, 10 classes)
    return votes.argmax(1)


# %% [markdown]
# ## Which distance, and why
#
# On the sphere there are three candidates for $a$ and $b$ with $w=a\cdot b$: the *geodesic* distance
# $\theta=\arccos w$, the angle that one walks; software's *cosine distance* $1-w$; and the *chord*, the straight line
# through the ball. By $|a-b|^2=|a|^2+|b|^2-2\,a\cdot b$, and $|a|=|b|=1$,
#
# $$
# |a-b|=\sqrt{2-2w}=\sqrt{2\,(1-\cos\theta)}=2\sin\tfrac\theta2 .
# $$
#
# For $0\le\theta\le\pi$ the derivative of $1-\cos\theta$ is $\sin\theta\ge0$, zero only at the ends; the root and the
# factor 2 are increasing too. So all three are increasing functions of $\theta$: **they rank neighbours alike**, and
# k-NN asks for nothing but ranks. This needs unit vectors. The trap below is what happens without.

# %%
a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in codes[sphere, 0])  # exact lengths
theta = np.arccos(np.clip(a[:200] @ b.T, -1, 1))
assert np.allclose(euclidean(a[:200], b), 2 * np.sin(theta / 2), atol=1e-7)
assert np.allclose(cosine(a[:200], b), 1 - np.cos(theta))
by_angle = classify(b, test_labels, a[:200], lambda *_: theta)
assert (by_angle == classify(b, test_labels, a[:200], cosine)).all()
assert (by_angle == classify(b, test_labels, a[:200], euclidean)).all()

# %% [markdown]
# Why the angle here and Euclid there? Ask the models: how different are two posteriors? For normal laws with one width
# $\sigma$ the log ratio of densities at $z$ is $(|z-\mu_2|^2-|z-\mu_1|^2)/(2\sigma^2)$. Under the first law
# $E|z-\mu_2|^2=|\mu_1-\mu_2|^2+E|z-\mu_1|^2$. For von Mises-Fisher laws with one $\kappa$ the log ratio is
# $\kappa(\mu_1-\mu_2)\cdot z$, and $E z=A_m(\kappa)\mu_1$. Hence
#
# $$
# \mathrm{KL}_N=\frac{|\mu_1-\mu_2|^2}{2\sigma^2},\qquad
# \mathrm{KL}_S=\kappa A_m(\kappa)\,(1-\mu_1\cdot\mu_2).
# $$
#
# Up to a factor (and a square), each space's distance is the divergence between posteriors of equal width.

# %%
u, v = (torch.nn.functional.normalize(torch.tensor(rng.standard_normal(6)), dim=0) for _ in range(2))
kappa, sigma = torch.tensor(30.0, dtype=torch.float64), 0.3
KL_S = kl_divergence(VonMisesFisher(u, kappa), VonMisesFisher(v, kappa))
assert torch.isclose(KL_S, kappa * mean_resultant_length(kappa, 6) * (1 - u @ v))
KL_N = kl_divergence(*(Independent(Normal(x, sigma * torch.ones(6).double()), 1) for x in (u, v)))
assert torch.isclose(KL_N, (u - v).square().sum() / (2 * sigma**2))

# %% [markdown]
# ## The luck of the draw
#
# Which hundred images? Among 20 drawn at random a given digit is missing with probability $0.9^{20}=12\%$: one or two
# digits are missing, and always wrong. Hence the labelled set is drawn *balanced*, equally many of each class.
# It remains luck which images they are. Write the accuracy of run $r$ with the labelled set $l$ as $a+R_r+L_{rl}$, with
# independent deviations of variances $\sigma_R^2$ (seeds) and $\sigma_L^2$ (draws). Variances of independent numbers
# add, and that of a mean of $n$ is divided by $n$; so with $n$ draws the mean of a run has the variance
#
# $$
# \sigma_R^2+\frac{\sigma_L^2}{n}.
# $$
#
# With one draw, $\sigma_L$ is taken for a difference between models. The protocol takes $n=20$.

# %%
counts = rng.multinomial(20, [0.1] * 10, size=100_000)
assert abs((counts == 0).sum(1).mean() - 10 * 0.9**20) < 0.02  # 1.2 digits are missing; more than five standard errors


def balanced(labels, size, rng):
    """Indices of equally many labelled images of each class."""
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), size // 10, replace=False) for c in range(10)])


def accuracies(pair, metric, size, rng, draws=20):
    """Accuracy on all test images, for each of some drawn labelled sets."""
    train, test = pair
    found = []
    for _ in range(draws):
        chosen = balanced(train_labels, size, rng)
        predicted = classify(train[chosen], train_labels[chosen], test, metric)
        found.append((predicted == test_labels).mean())
    return np.array(found)


DISTANCE = {plane: euclidean, sphere: cosine, circle: cosine}
SIZES = (20, 100)
luck = {
    (name, size): accuracies(codes[name, 0], DISTANCE[name], size, rng, draws=200)
    for name in (plane, sphere)
    for size in SIZES
}

# %% tags=["nbval-ignore-output"]
figure, axes = plotting.subplots(1, 2, size=(7, 2.6), sharey=True)
for panel, size in zip(axes, SIZES, strict=True):
    for name in (plane, sphere):
        values = 100 * luck[name, size]
        panel.hist(values, bins=np.arange(20, 75, 1), color=COLOUR[name], alpha=0.6)
        edge, side = (22, "left") if name == plane else (78, "right")
        panel.text(edge, 36, f"{name[:5]}\n{values.mean():.0f} ± {values.std(ddof=1):.1f}", color=COLOUR[name], ha=side)
    panel.set(xlabel="accuracy (%)", title=f"{size} labels", xlim=(20, 80))
axes[0].set_ylabel("labelled sets")
plotting.show(
    figure,
    "**Figure 10.1.** One N-VAE and one S-VAE, d = 2, 200 labelled sets each. ±: standard deviation over the draws.",
    alt="Two pairs of histograms. With 20 labels wide and overlapping; with 100 labels narrow and apart.",
)

# %%
spread = {key: values.std(ddof=1) for key, values in luck.items()}
for name in (plane, sphere):
    assert spread[name, 20] > 1.4 * spread[name, 100]
one_draw = {size: np.mean(luck[sphere, size] < luck[plane, size]) for size in SIZES}
assert one_draw[20] > 0.02  # one draw each: the wrong model wins now and then
assert one_draw[100] == 0

# %% [markdown]
# One draw of 20 labels tells nothing here; a mean of 20 draws is $\sqrt{20}\approx4.5$ times as sharp. $\sigma_R$
# remains: only seeds count as runs in a t-test ([chapter 9](09_unsupervised.ipynb)).
#
# ## Curves over the number of labels

# %%
LABELS = (20, 50, 100, 200, 500, 1000)
curves = {
    (name, seed): {size: accuracies(pair, DISTANCE[name], size, np.random.default_rng([seed, size])) for size in LABELS}
    for (name, seed), pair in codes.items()
}
mean_curve = {
    name: np.array([np.mean([curves[name, seed][size].mean() for seed in range(3)]) for size in LABELS])
    for name in SPACES
}

# %% tags=["nbval-ignore-output"]
figure, axes = plotting.subplots(size=(7, 3.2))
for name in (plane, sphere):
    for seed in range(3):
        found = curves[name, seed]
        centre = 100 * np.array([found[size].mean() for size in LABELS])
        width = 100 * np.array([found[size].std(ddof=1) for size in LABELS])
        axes.fill_between(LABELS, centre - width, centre + width, color=COLOUR[name], alpha=0.12, linewidth=0)
        axes.semilogx(LABELS, centre, "o-", color=COLOUR[name], markersize=3)
    axes.text(1080, 100 * mean_curve[name][-1], name, color=COLOUR[name], va="center", weight="bold")
axes.set(xlabel="labelled images", ylabel="accuracy (%)", xlim=(18, 2600))
axes.set_xticks(LABELS, labels=LABELS)
axes.minorticks_off()
plotting.show(
    figure,
    "**Figure 10.2.** Digits, d = 2, three seeds. Bands: one standard deviation over 20 labelled sets.",
    alt="Two groups of three rising curves that flatten after 100 labels; the sphere's are higher from 50 labels on.",
)

# %%
gap = mean_curve[sphere] - mean_curve[plane]
assert (gap[LABELS.index(50) :] > 0.03).all()
for name in (plane, sphere):
    assert mean_curve[name][2] - mean_curve[name][0] > 0.08 > 0.05 > mean_curve[name][5] - mean_curve[name][2]

# %% [markdown]
# More labels help at first; then the curves level off. What stays wrong lies among codes of another class. No number of
# labels repairs that: the space is too crowded.
#
# ## Why the sphere can help at $d=2$
#
# Crowded where? In [chapter 1](01_why_a_sphere.ipynb) the Gaussian prior pulled every code to the origin. Suppose that
# $n$ codes fill the prior. In the plane their density at radius $r$ is $n\,e^{-r^2/2}/(2\pi)$, highest in the middle.
# On $S^2$ it is $n/(4\pi)$ everywhere.
#
# Now count the codes within one's own blur. A Gaussian bump of width $s$ covers an area of about $2\pi s^2$, which
# contains $n\,s^2e^{-r^2/2}$ codes. Averaged over the codes, $E\,e^{-r^2/2}=\int_0^\infty e^{-r^2/2}\,r\,e^{-r^2/2}dr
# =\tfrac12$. On $S^2$ a sharp bump has $s^2=1/\kappa$, which makes $2\pi/\kappa\cdot n/(4\pi)=n/(2\kappa)$.
#
# Compare at equal price $I$ (KL, in nats). In the plane means have variance $1-s^2$ in each coordinate if codes with
# their blur fill the prior: $I=\tfrac12\bigl(2(1-s^2)+2s^2-2\bigr)-2\log s=-2\log s$. On $S^2$,
# $I\approx\log\frac\kappa{2\pi e}+\log4\pi=\log\frac{2\kappa}e$ (chapter 9). So
#
# $$
# \text{overlap in the plane}=\tfrac12\,n\,e^{-I},\qquad
# \text{on the sphere}=\tfrac1e\,n\,e^{-I}.
# $$
#
# For the same nats a code on the sphere shares its blur with $2/e=0.74$ times as many others as in the plane, where the
# average hides a crowded middle. In the paper the nats at $d=2$ *are* the same.

# %%
kappa = torch.tensor(2000.0, dtype=torch.float64)
price = kl_to_uniform(kappa, 3).item()
assert abs(price - math.log(2 * 2000 / math.e)) < 1e-3
s2, n = math.exp(-price), 1_000_000
z = math.sqrt(1 - s2) * rng.standard_normal((n, 2))  # codes that fill the plane's prior
average = s2 * np.exp(-(z**2).sum(1) / 2).mean()
cap = rng.uniform(-1, 1, n) > 1 - 1 / 2000  # a cap of the area 2 pi / kappa: on S^2, w is uniform in [-1, 1]
assert abs(average * math.exp(price) - 1 / 2) < 0.005
assert abs(cap.mean() * math.exp(price) - 1 / math.e) < 0.15
assert abs(paper.TABLE1[2, "n"]["kl"][0] - paper.TABLE1[2, "s"]["kl"][0]) < 0.05

# %% [markdown]
# In our models: how often is a test image recognised, by the place of its code?


# %%
def hits(name, seed):
    """For each test image, the share of 20 labelled sets of 100 with which it is recognised."""
    train, test = codes[name, seed]
    draws = [balanced(train_labels, 100, rng) for _ in range(20)]
    return np.mean([classify(train[i], train_labels[i], test, DISTANCE[name]) == test_labels for i in draws], axis=0)


def by_place(place, hit):
    """Mean accuracy in five groups of equal size, ordered by place."""
    return np.array([hit[group].mean() for group in np.array_split(np.argsort(place), 5)])


places = {
    plane: [by_place(np.linalg.norm(codes[plane, s][1], axis=1), hits(plane, s)) for s in range(3)],
    sphere: [by_place(codes[sphere, s][1][:, i], hits(sphere, s)) for s in range(3) for i in range(3)],
}

# %% tags=["nbval-ignore-output"]
figure, axes = plotting.subplots(1, 2, size=(7, 2.8), sharey=True)
what = {plane: "distance from 0", sphere: "$z_1$, $z_2$ or $z_3$"}
for panel, (name, lines) in zip(axes, places.items(), strict=True):
    for line in lines:
        panel.plot(range(1, 6), 100 * line, color=COLOUR[name], alpha=0.35)
    panel.plot(range(1, 6), 100 * np.mean(lines, axis=0), "o-", color=COLOUR[name], linewidth=2.2)
    panel.set(xlabel=f"fifth of the codes, by {what[name]}", title=name, xticks=range(1, 6), ylim=(0, 100))
axes[0].set_ylabel("accuracy (%)")
plotting.show(
    figure,
    "**Figure 10.3.** Where test digits are recognised, 100 labels. Thin: single seeds (on the sphere also each of "
    "three axes); thick: their mean.",
    alt="In the plane accuracy rises from a third near the origin to nine tenths far out. On the sphere the mean "
    "curve is nearly level, near sixty per cent.",
)

# %%
middle_out = np.mean(places[plane], axis=0)
assert middle_out[-1] - middle_out[0] > 0.4
assert np.ptp(np.mean(places[sphere], axis=0)) < 0.25
assert middle_out[0] < np.mean(places[sphere], axis=0).min() - 0.1  # the plane's middle is the worst place of all

# %% [markdown]
# In the plane the middle is worst, where classes are pressed together. The sphere has no middle.
#
# ## And why not at $d=40$
#
# The paper's Table 2, as differences S − N:

# %%
DIMS = (2, 5, 10, 20, 40)
ahead = {n: np.array([paper.TABLE2[d, "s"][n] - paper.TABLE2[d, "n"][n] for d in DIMS]) for n in (100, 600, 1000)}
figure, axes = plotting.subplots(size=(7, 3))
axes.axhline(0, color="0.4", linewidth=0.8)
for values, colour in zip(ahead.values(), (PINK, BLUE, GREEN), strict=True):
    axes.plot(range(5), values, "o-", color=colour)
for n, colour, height in ((100, PINK, -4.6), (600, BLUE, -0.9), (1000, GREEN, 0.5)):
    axes.text(4.1, height, f"{n} labels", color=colour, va="center")
axes.set(xlabel="d", ylabel="accuracy, S − N (points)", xlim=(-0.2, 5), ylim=(-6, 7))
axes.set_xticks(range(5), labels=DIMS)
plotting.show(
    figure,
    "**Figure 10.4.** The paper's Table 2. Above zero the sphere is ahead.",
    alt="Three curves over d. With 100 labels plus 5 points at d = 2 to 10, then falling to minus 5 at d = 40. With "
    "600 and 1000 labels from plus 4 to about zero.",
)
assert all((values[:4] > 0).all() for values in ahead.values())
assert ahead[100][-1] < -4
assert abs(ahead[600][-1]) < 1
assert abs(ahead[1000][-1]) < 0.2

# %% [markdown]
# At $d=40$ the sphere is behind with 100 labels and level with 600 and 1,000. An explanation has to say both.
#
# **Everything is far from everything.** Let $a$ be a random direction and $b$ fixed. Along an orthonormal basis that
# begins with $b$ the coordinates of $a$ are alike, and their squares sum to 1. So $E\,w^2=1/m$, and $E\,w=0$ by
# symmetry. At $m=41$ unrelated codes are at $90^\circ\pm9^\circ$. This alone
# does not hurt: codes of one class that lean together stand out the better from a narrow crowd. What counts is what the
# coordinates are spent on.
#
# **Coordinates that say nothing.** Let $j$ coordinates of a code be independent of the class, with standard deviation
# $\tau$. In the squared distance of two codes each contributes the square of a normal number with variance $2\tau^2$:
# mean $2\tau^2$, variance $2(2\tau^2)^2=8\tau^4$ ([chapter 1](01_why_a_sphere.ipynb)). Together
#
# $$
# 2j\tau^2\pm\sqrt{8j}\,\tau^2 .
# $$
#
# The mean is the same for all neighbours. The spread is noise in the ranking, and it grows with $\sqrt j$.

# %%
m, n = 41, 200_000
unit = rng.standard_normal((n, m))
w = unit[:, 0] / np.linalg.norm(unit, axis=1)
assert abs((w**2).mean() * m - 1) < 5 * math.sqrt(2 / n)
assert abs(np.degrees(np.arccos(w)).std() - 9) < 0.1
j, tau = 37, 0.5
junk = 2 * tau**2 * (rng.standard_normal((n, j)) ** 2).sum(1)
assert abs(junk.mean() / (2 * j * tau**2) - 1) < 0.01
assert abs(junk.std() / (math.sqrt(8 * j) * tau**2) - 1) < 0.02

centres = rng.standard_normal((10, 3))  # ten classes in three coordinates
classes = {part: np.arange(size) % 10 for part, size in (("train", 1000), ("test", 500))}
signal = {part: centres[y] + 0.35 * rng.standard_normal((len(y), 3)) for part, y in classes.items()}
JUNK = (0, 2, 7, 17, 37, 97)
toy = {size: [] for size in (100, 600)}
for j in JUNK:
    codes_j = {part: np.hstack([x, tau * rng.standard_normal((len(x), j))]) for part, x in signal.items()}
    for size, found in toy.items():
        predictions = []
        for _ in range(5):
            i = balanced(classes["train"], size, rng)
            predictions.append(classify(codes_j["train"][i], classes["train"][i], codes_j["test"], cosine))
        found.append(np.mean(np.array(predictions) == classes["test"]))
loss = {size: found[0] - np.array(found) for size, found in toy.items()}

# %%
figure, axes = plotting.subplots(size=(7, 2.8))
for (size, found), colour in zip(toy.items(), (PINK, BLUE), strict=True):
    axes.plot(range(6), 100 * np.array(found), "o-", color=colour)
    axes.text(3, 100 * found[3] + (6 if size == 600 else -8), f"{size} labels", color=colour, ha="center", va="center")
axes.set(xlabel="coordinates without a class, j", ylabel="accuracy (%)", ylim=(20, 90))
axes.set_xticks(range(6), labels=JUNK)
plotting.show(
    figure,
    "**Figure 10.5.** Ten classes in three coordinates, and j others that say nothing; cosine distance.",
    alt="Two falling curves; with 100 labels accuracy falls faster than with 600.",
)
assert (np.diff(toy[100]) < 0.02).all()
assert loss[100][4] > 0.1
assert loss[100][4] > loss[600][4] + 0.03  # more labels make up for a part

# %% [markdown]
# The pattern of the table: silent coordinates cost most where labels are few. Now the priors. A direction that the
# decoder does not need still has its term $\tfrac12\mu_i^2$ in the Gaussian KL: the pull sets $\mu_i=0$, and the
# direction drops out of Euclidean distance. **The force that packs the classes at $d=2$ cleans up at $d=40$.** On the
# sphere KL does not depend on $\mu$: nothing holds unneeded coordinates at zero. And with one $\kappa$ for all
# directions it pays 33.5 nats against the plane's 23.8, in the paper.
#
# The first half can be measured on digits:

# %%
wide = {kind: trained(kind, 40) for kind in "ns"}
spectrum = np.linalg.eigvalsh(np.cov(codes_of(wide["n"])[0].T))[::-1]  # variances along principal axes
share = spectrum[:10].sum() / spectrum.sum()
print(f"N-VAE, d = 40: ten principal axes hold {share:.0%} of the variance of the means")
assert share > 0.9
assert paper.TABLE1[40, "s"]["kl"][0] - paper.TABLE1[40, "n"]["kl"][0] > 9

kappas = wide["s"].encode(images.test).concentration.detach()
print(f"S-VAE, d = 40: largest kappa {kappas.max():.1f}")

# %% [markdown]
# The second half cannot: our S-VAE on $S^{40}$ has not started. Its $\kappa$ stays where it began, so $z$ is noise with
# a mean of length $A_m(\kappa)\approx\kappa/m$. In the paper it has started: $\mathrm{KL}=33.5$. So for $S^{40}$ the
# explanation fits the figures and is not proven. A proof would take MNIST runs at $d=40$, and k-NN on principal
# components.

# %%
assert kappas.max() < 2
assert abs(mean_resultant_length(torch.tensor(1.0), 41).item() * 41 - 1) < 0.01

# %% [markdown]
# ## The trap: the same number of coordinates
#
# A public reproduction of the paper hands one `latent_dim` to both models, and takes it as $m$. Its "S-VAE with 2
# dimensions" has two coordinates and lives on the *circle* $S^1$, against a plane. It found the plane ahead at $d=2$
# and 5, the opposite of Table 2. The paper's S-VAE with $d=2$ has three coordinates. On digits:

# %% tags=["nbval-ignore-output"]
figure, axes = plotting.subplots(size=(7, 2.6))
for height, name in enumerate((sphere, plane, circle)):
    values = [100 * curves[name, seed][100].mean() for seed in range(3)]
    axes.plot(values, [height] * 3, "o", color=COLOUR[name], alpha=0.7)
    axes.plot(np.mean(values), height, "|", color=COLOUR[name], markersize=24, markeredgewidth=2)
names = ["S-VAE on $S^2$\n3 coordinates", "N-VAE on $R^2$\n2 coordinates", "S-VAE on $S^1$\n2 coordinates"]
axes.set(xlabel="accuracy with 100 labels (%)", yticks=range(3), yticklabels=names, ylim=(-0.6, 2.6))
plotting.show(
    figure,
    "**Figure 10.6.** Digits, three seeds (dots) and their mean (bar). Equal dimension: sphere against plane. Equal "
    "number of coordinates: circle against plane.",
    alt="Three rows of dots. The sphere's are furthest to the right, then the plane's, then the circle's.",
)

# %%
at = {name: np.array([curves[name, s][100].mean() for s in range(3)]) for name in SPACES}
assert at[sphere].mean() > at[plane].mean() + 0.03  # equal dimension
assert at[circle].mean() < at[plane].mean()  # equal coordinates: the opposite order
assert at[circle].max() < at[sphere].min()

# %% [markdown]
# One line of a program takes the sphere's lead away, and turns the order of the means. (Three seeds each: the order,
# and no more.) The cure: name the number. `mlp_vae("s", d)` takes the *dimension*, and makes $m=d+1$ coordinates.
#
# **A smaller trap: the wrong distance.** Rank by Euclidean distance, but of vectors that are not normalised, say of the
# posterior's *mean* $A_m(\kappa)\mu$ instead of its mode $\mu$. For $a=r_1\mu_1$, $b=r_2\mu_2$
#
# $$
# |a-b|^2=r_1^2+r_2^2-2r_1r_2w=(r_1-r_2)^2+2r_1r_2(1-w):
# $$
#
# two codes in one direction are apart if their lengths differ. The other way round, cosine distance in the plane.

# %%
with torch.no_grad():
    means = [models[sphere, 0].encode(x).mean.double().numpy() for x in (images.train, images.test)]
variants = {
    "sphere, cosine": (codes[sphere, 0], cosine),
    "sphere, posterior mean, Euclidean": (means, euclidean),
    "plane, Euclidean": (codes[plane, 0], euclidean),
    "plane, cosine": (codes[plane, 0], cosine),
}
score = {
    name: accuracies(pair, metric, 1000, np.random.default_rng(0)).mean() for name, (pair, metric) in variants.items()
}

# %% tags=["nbval-ignore-output"]
for name, value in score.items():
    print(f"{name:35s} {100 * value:.1f}%")

# %%
r = [np.linalg.norm(x, axis=1) for x in means]
expansion = (r[0][:, None] - r[1]) ** 2 + 2 * np.outer(*r) * cosine(*means)
assert np.allclose(euclidean(*means) ** 2, expansion)
assert r[1].min() > 0.7  # sharp posteriors at m = 3: mean lengths are all alike,
assert abs(score["sphere, posterior mean, Euclidean"] - score["sphere, cosine"]) < 0.02  # and it hardly matters
assert score["plane, cosine"] < score["plane, Euclidean"] - 0.03  # the radius is information

# %% [markdown]
# ## The library's version
#
# `balanced_indices` draws as our `balanced`, and `knn_accuracies` does all the rest, with scikit-learn's classifier.

# %%
assert (NEIGHBOURS, DRAWS) == (5, 20)
assert np.array_equal(*(draw(train_labels, 100, np.random.default_rng(5)) for draw in (balanced, balanced_indices)))
for name in SPACES:
    train, test = codes[name, 0]
    library = knn_accuracies(
        train, train_labels, test, test_labels, metric=DISTANCE[name].__name__, labels=(20, 100), seed=7
    )
    generator = np.random.default_rng(7)
    for size in (20, 100):
        ours = accuracies((train, test), DISTANCE[name], size, generator)
        assert abs(ours.mean() - library[str(size)]["mean"]) < 1e-9
        assert abs(ours.std(ddof=1) - library[str(size)]["standard_deviation"]) < 1e-9

# %% [markdown]
# ## Table 2, beside ours
#
# MNIST, the paper's full protocol, as far as there are records:

# %% tags=["nbval-ignore-output"]
found = records.load(experiment="table1")
by_data = {data: [r for r in found if r.settings["data"] == data] for data in ("mnist", "mnist-5k")}
display(Markdown(table2.table(by_data["mnist"]).markdown()))


# %%
def cell(data, model, d):
    """Mean accuracy over the runs of a cell, in %, by number of labels."""
    runs = [r.results["knn"] for r in by_data[data] if (r.settings["model"], r.settings["d"]) == (model, d)]
    return {n: 100 * np.mean([run[str(n)]["mean"] for run in runs]) for n in (100, 600, 1000)} if runs else None


lead = {}
for place, d in enumerate(DIMS):
    N, S = (cell("mnist", model, d) for model in "ns")
    if N and S:
        lead[d] = {n: S[n] - N[n] for n in N}
        pairs = ", ".join(f"{lead[d][n]:+.1f} ({ahead[n][place]:+.1f})" for n in N)
        print(f"d = {d}: S - N with 100, 600, 1000 labels, in brackets the paper's: {pairs}")
        for model, ours in (("n", N), ("s", S)):
            assert all(abs(ours[n] - paper.TABLE2[d, model][n]) < 5 for n in ours)
assert all(0 < lead[5][n] < 0.5 * ahead[n][1] for n in lead[5])
assert lead[2][100] < 0 < min(lead[2][600], lead[2][1000])
assert all(lead[2][n] < ahead[n][0] - 2 for n in lead[2])

# %% [markdown]
# One run each. At $d=5$ the sphere is ahead throughout, by half of the paper's lead or less. **At $d=2$ we do not find
# the paper's lead**: one point with 600 and 1,000 labels, and with 100 the plane is ahead. Our N-VAE is two to three
# points better than the paper's. Seeds may explain it, or what the paper leaves open: $k$, and how labels were drawn.
#
# The trap, with real runs: `mnist-5k` has the first 5,000 training images, a tenth, as the reproduction had. Made from
# records of
#
# ```sh
# hvae reproduce table2 --data mnist-5k --dims 2 --equal-coordinates
# ```

# %% tags=["nbval-ignore-output"]
display(Markdown(table2.by_coordinates(by_data["mnist-5k"]).markdown()))

# %%
N, S, S_less = (cell("mnist-5k", model, d) for model, d in (("n", 2), ("s", 2), ("s", 1)))
assert all(0 < S[n] - N[n] < 2.5 for n in N)  # equal dimension
assert all(S_less[n] < N[n] - 6 for n in N)  # equal coordinates
assert S_less[100] - N[100] < 50.8 - 57.2

# %% [markdown]
# At equal dimension the sphere is ahead by a point, within the spread of seeds; at equal coordinates nine behind. The
# reproduction has 50.8 against 57.2. So at $d=2$ the coordinate is enough for the reversal; $d=5$ has not been run.
#
# ## Test yourself
#
# **1.** Someone ranks neighbours on the sphere by $|a-b|^4$. What changes?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Nothing: it increases with the angle.
#
# </details>
#
# **2.** Where would you expect a *wider* Gaussian prior, $N(0,4I)$, to help k-NN in the plane?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Nowhere: scale all codes and widths by two, and every rank is as before. The crowd in the middle comes from the shape
# of the prior, not from its width.
#
# </details>
#
# ## Exercises
#
# Coding exercises will stand here: k-NN by geodesic distance (difficulty 1, 10 minutes); both variances from accuracies
# (2, 20 minutes); k-NN on principal components of codes (3, 30 minutes).
#
# ## Summary
#
# 1. M1: a VAE without labels, then nearest neighbours on the modes of its posteriors.
# 2. On unit vectors cosine, chord and geodesic rank alike; each space's distance is the KL of equally wide posteriors.
# 3. Balanced labels, 20 draws, several seeds: an accuracy from one draw is luck.
# 4. The pull to the origin crowds classes at $d=2$ and silences coordinates at $d=40$; on MNIST our lead at $d=2$ is
#    smaller than the paper's, and none with 100 labels.
# 5. $S^d$ has $d+1$ coordinates: an equal number for both models puts the sphere behind, also on MNIST.
#
# ## References
#
# - Davidson et al. (2018), arXiv:1804.00891: section 5.3 and Table 2 (M1, k-NN).
# - Kingma et al. (2014), arXiv:1406.5298, section 2: model M1.
# - Davidson, Tomczak and Gavves (2019), arXiv:1910.02912: one $\kappa$.
