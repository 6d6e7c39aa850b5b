r"""Figure 1's data: a circle with three clusters, bent into R^100."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hvae_tutorial.data.dataset import Dataset

NUM_CLUSTERS = 3
CONCENTRATION = 10.0  # kappa of each cluster: a standard deviation of about 19 degrees
SPLIT = (800, 100, 100)  # train, validation, test: the 1,000 points of the paper's figure
X_DIM = 100
HIDDEN = 100
NOISE_SCALE = 0.1  # sigma; the noiseless coordinates have a standard deviation of about 0.66
SEED = 2018


@dataclass(frozen=True, eq=False)
class CircleDataset(Dataset):
    """`load("circle")`: real-valued data, clusters as labels, and the angle behind each point.

    Attributes:
        train_angles: True angles of the training data in (-pi, pi], float32 of shape (n_train,).
        validation_angles: True angles of the validation data, likewise (n_validation,).
        test_angles: True angles of the test data, likewise (n_test,).
        noise_scale: The standard deviation sigma of the noise in each of the x_dim coordinates.
    """

    train_angles: Tensor
    validation_angles: Tensor
    test_angles: Tensor
    noise_scale: float


def load_circle() -> CircleDataset:
    r"""Draw 1,000 points from three von Mises-Fisher clusters on the circle and bend the circle into R^100.

    Point $i$ belongs to cluster $c_i = i \bmod 3$, so that each part of the split holds the clusters in equal numbers,
    and

    $$ \theta_i \sim \mathrm{vM}(2 \pi c_i / 3, \kappa), \quad z_i = (\cos\theta_i, \sin\theta_i), \quad
       x_i = W_2 \tanh(3 (W_1 z_i + b)) + \sigma \varepsilon_i, $$

    with $\kappa = 10$, $\sigma = 0.1$, 100 hidden units, $\varepsilon_i \sim N(0, I_{100})$, the entries of $W_1$ and
    $b$ from $N(0, 1)$ and those of $W_2$ from $N(0, 1/100)$. The first 800 points are for training, the next 100 for
    validation, the last 100 for test. The paper (Davidson et al. 2018, Figure 1) speaks of a noisy, non-linear map and
    three clusters; the map, the concentration and the split are this package's choice.
    """
    # RandomState, not default_rng: NumPy promises that its stream never changes.
    random = np.random.RandomState(SEED)
    labels = np.arange(sum(SPLIT)) % NUM_CLUSTERS
    theta = 2 * math.pi * labels / NUM_CLUSTERS + random.vonmises(0.0, CONCENTRATION, labels.shape)
    z = np.stack([np.cos(theta), np.sin(theta)], axis=1)  # (n, 2)

    w1, b = random.standard_normal((HIDDEN, 2)), random.standard_normal(HIDDEN)
    w2 = random.standard_normal((X_DIM, HIDDEN)) / math.sqrt(HIDDEN)
    x = np.tanh(3 * (z @ w1.T + b)) @ w2.T  # (n, x_dim)
    x += NOISE_SCALE * random.standard_normal(x.shape)

    train, validation, test = torch.from_numpy(x).float().split(SPLIT)
    train_labels, validation_labels, test_labels = torch.from_numpy(labels).split(SPLIT)
    angles = torch.from_numpy(np.arctan2(z[:, 1], z[:, 0])).float()
    train_angles, validation_angles, test_angles = angles.split(SPLIT)
    return CircleDataset(
        name="circle",
        train=train,
        validation=validation,
        test=test,
        train_labels=train_labels,
        validation_labels=validation_labels,
        test_labels=test_labels,
        image_shape=None,
        train_angles=train_angles,
        validation_angles=validation_angles,
        test_angles=test_angles,
        noise_scale=NOISE_SCALE,
    )
