"""The circle in R^100 is what it says: clusters on S^1, a map that is no linear one, noise of the stated size."""

import math

import numpy as np
import torch
from scipy import stats

from hvae_tutorial.data import CircleDataset, load
from hvae_tutorial.data.circle import CONCENTRATION


def joined(data: CircleDataset, suffix: str = "") -> torch.Tensor:
    return torch.cat([getattr(data, part + suffix) for part in ("train", "validation", "test")])


def test_shapes_and_split() -> None:
    data = load("circle")
    for part, n in (("train", 800), ("validation", 100), ("test", 100)):
        assert getattr(data, part).shape == (n, 100)
        assert getattr(data, part).dtype == torch.float32
        assert getattr(data, f"{part}_angles").shape == (n,)
        assert getattr(data, f"{part}_angles").dtype == torch.float32
        labels = getattr(data, f"{part}_labels")
        assert labels.dtype == torch.int64
        counts = labels.bincount()
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1
    assert data.image_shape is None
    assert data.name == "circle"


def test_same_data_every_time_whatever_the_global_seeds() -> None:
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = load("circle")
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert load("circle").sha256 == expected.sha256
    first = torch.tensor([0.265362, 2.148132, -2.757377, 0.117946])
    torch.testing.assert_close(expected.train_angles[:4], first, rtol=0, atol=1e-5)


def test_angles_follow_the_clusters() -> None:
    """Kolmogorov-Smirnov in each cluster, on fixed data; other draws of the same law would fail in 0.3% of cases."""
    data = load("circle")
    angles, labels = joined(data, "_angles").double().numpy(), joined(data, "_labels").numpy()
    assert np.abs(angles).max() <= np.float32(math.pi)
    for cluster in range(3):
        centred = np.angle(np.exp(1j * (angles[labels == cluster] - 2 * math.pi * cluster / 3)))
        assert stats.kstest(centred, stats.vonmises(CONCENTRATION).cdf).pvalue > 1e-3


def test_neighbours_in_the_data_are_neighbours_on_the_circle() -> None:
    """The map is injective with room for the noise: otherwise no model could recover the circle."""
    data = load("circle")
    x, angles = joined(data).double(), joined(data, "_angles").double()
    distance = torch.cdist(x, x).fill_diagonal_(math.inf)
    error = angles - angles[distance.argmin(dim=1)]
    assert torch.atan2(error.sin(), error.cos()).abs().max() < 0.2


def test_map_is_not_linear_and_the_noise_is_as_stated() -> None:
    """Regress on cos(k theta), sin(k theta): k = 1 leaves structure, k <= 15 the noise (standard error 0.0002)."""
    data = load("circle")
    x, angles = joined(data).double().numpy(), joined(data, "_angles").double().numpy()

    def residual_scale(order: int) -> float:
        waves = [f(k * angles) for k in range(order + 1) for f in (np.cos, np.sin)]
        design = np.stack(waves, axis=1)
        fitted = design @ np.linalg.lstsq(design, x, rcond=None)[0]
        return math.sqrt(((x - fitted) ** 2).sum() / ((len(x) - 2 * order - 1) * x.shape[1]))

    assert residual_scale(1) > 1.5 * data.noise_scale
    assert abs(residual_scale(15) - data.noise_scale) < 0.02 * data.noise_scale
