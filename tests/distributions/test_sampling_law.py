"""Samples against the laws integrated numerically. Error rate of all p-values together: `error_rate.OVERALL`."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from error_rate import check_p_values, kolmogorov_smirnov_p_value, mean_p_value
from projection_law import ProjectionLaw, power_spherical, von_mises_fisher
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher

DIMENSIONS = (2, 3, 4, 5, 10, 20, 41, 128, 1024)
CONCENTRATIONS = (0.0, 1e-2, 1.0, 10.0, 100.0, 1e4, 1e8)
DTYPES = (torch.float32, torch.float64)
NORM_TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def directions(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Random unit vectors."""
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1).to(dtype)


def sample_size(m: int) -> int:
    return min(50_000, 2_500_000 // m)


def exactly(loc: Tensor) -> np.ndarray:
    """The direction that loc stands for, of unit norm in float64."""
    mu = loc.double().numpy()
    return mu / np.linalg.norm(mu, axis=-1, keepdims=True)


def check_norm(z: Tensor) -> None:
    norm = torch.linalg.vector_norm(z.double(), dim=-1)
    assert (norm - 1).abs().max() <= NORM_TOLERANCE[z.dtype]


def check_projection(z: np.ndarray, mu: np.ndarray, law: ProjectionLaw) -> None:
    """The law of y = |z - mu|^2 / 2, its mean and its variance."""
    y = np.square(z - mu).sum(-1) / 2
    check_p_values(
        y=kolmogorov_smirnov_p_value(y, law.cdf),
        mean=mean_p_value(y, law.mean),
        variance=mean_p_value((y - law.mean) ** 2, law.central_moment(2)),
    )


def check_tangent(z: np.ndarray, mu: np.ndarray, law: ProjectionLaw) -> None:
    """The tangent direction is uniform on S^(m-2), and independent of y."""
    m = z.shape[1]
    tangent = z - (z @ mu)[:, None] * mu
    length = np.linalg.norm(tangent, axis=1)
    v = tangent[length > 0] / length[length > 0, None]
    axis = np.arange(1.0, m + 1)  # any vector will do
    axis -= (axis @ mu) * mu
    first = v @ axis / np.linalg.norm(axis)
    if m == 2:
        p_first = stats.binomtest(int((first > 0).sum()), len(first)).pvalue
    else:
        p_first = kolmogorov_smirnov_p_value((1 + first) / 2, stats.beta((m - 2) / 2, (m - 2) / 2).cdf)
    y = np.square(z - mu).sum(-1)[length > 0] / 2
    check_p_values(
        first=p_first,
        # the mean of n uniform directions is nearly Gaussian with covariance I / (n (m-1)) in the tangent space
        mean=stats.chi2.sf(len(v) * (m - 1) * np.square(v.mean(axis=0)).sum(), m - 1),
        independence=mean_p_value(first * (y - law.mean), 0.0),
    )


def check_moments(z: np.ndarray, law: Distribution) -> None:
    """Mean and covariance of z along two random directions against the closed forms."""
    mean, covariance = law.mean.numpy(), law.covariance_matrix.numpy()
    for a in directions((2, z.shape[1])).numpy():
        centred = (z - mean) @ a
        check_p_values(mean=mean_p_value(centred, 0.0), covariance=mean_p_value(centred**2, a @ covariance @ a))


def check_law(
    family: Callable[..., Distribution], projection: Callable[[float, int], ProjectionLaw], loc: Tensor, kappa: float
) -> None:
    m = loc.shape[-1]
    drawn = family(loc, kappa).sample((sample_size(m),))
    assert drawn.dtype == loc.dtype
    check_norm(drawn)
    z, mu = drawn.double().numpy(), exactly(loc)
    check_projection(z, mu, projection(kappa, m))
    check_tangent(z, mu, projection(kappa, m))
    check_moments(z, family(torch.from_numpy(mu), kappa))


@every_dtype
@pytest.mark.parametrize("kappa", CONCENTRATIONS)
@pytest.mark.parametrize("m", DIMENSIONS)
def test_von_mises_fisher_law(m, kappa, dtype):
    check_law(VonMisesFisher, von_mises_fisher, directions((m,), dtype), kappa)


@every_dtype
@pytest.mark.parametrize("kappa", [0.0, 0.3, 10.0, 1e4, 1e8])
@pytest.mark.parametrize("m", [2, 3, 5, 41])
def test_power_spherical_law(m, kappa, dtype):
    check_law(PowerSpherical, power_spherical, directions((m,), dtype), kappa)


@every_dtype
@pytest.mark.parametrize("kappa", [0.0, 1.0, 100.0, 1e8])
@pytest.mark.parametrize("m", [2, 3, 10])
def test_von_mises_fisher_law_about_every_axis(m, kappa, dtype):
    loc = torch.cat([torch.eye(m, dtype=dtype), -torch.eye(m, dtype=dtype)])
    drawn = VonMisesFisher(loc, kappa).sample((50_000 // (2 * m),))
    check_norm(drawn)
    for i in range(2 * m):
        check_tangent(drawn[:, i].double().numpy(), exactly(loc[i]), von_mises_fisher(kappa, m))
    pooled = drawn.double().reshape(-1, m).numpy()
    check_projection(pooled, np.tile(exactly(loc), (drawn.shape[0], 1)), von_mises_fisher(kappa, m))


@every_dtype
@pytest.mark.parametrize("m", [2, 3, 20, 1024])
def test_hyperspherical_uniform_law(m, dtype):
    law = HypersphericalUniform(m, dtype=dtype)
    drawn = law.sample((sample_size(m),))
    check_norm(drawn)
    z, mu = drawn.double().numpy(), directions((m,)).numpy()
    check_projection(z, mu, von_mises_fisher(0.0, m))
    check_tangent(z, mu, von_mises_fisher(0.0, m))
    check_moments(z, HypersphericalUniform(m, dtype=torch.float64))


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical])
def test_every_row_of_a_batch_has_its_own_law(family):
    # One batch with all concentrations, so that late rounds of the rejection serve rows of all kinds at once.
    m, n = 5, 20_000
    kappa = torch.tensor(CONCENTRATIONS, dtype=torch.float64)
    loc = directions((len(CONCENTRATIONS), m))
    drawn = family(loc, kappa).sample((n,))
    projection = von_mises_fisher if family is VonMisesFisher else power_spherical
    for i, k in enumerate(CONCENTRATIONS):
        check_projection(drawn[:, i].numpy(), exactly(loc[i]), projection(k, m))
        check_tangent(drawn[:, i].numpy(), exactly(loc[i]), projection(k, m))


@pytest.mark.parametrize("n", [1, 7, 64, 600])
def test_small_batches_have_the_same_law(n):
    # Small batches try several proposals a round and keep one of those accepted.
    m, kappa = 4, 3.0
    law = VonMisesFisher(directions((m,)), kappa)
    z = torch.cat([law.sample((n,)) for _ in range(max(2_000 // n, 60))]).numpy()
    check_projection(z, law.loc.numpy(), von_mises_fisher(kappa, m))


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
@pytest.mark.parametrize("m", [2, 3, 7])
def test_rotation_equivariance(m, family):
    """Q z has the law about Q mu when z has the law about mu."""
    rotation, _ = torch.linalg.qr(torch.randn(m, m, dtype=torch.float64))
    mu = directions((m,))
    turned = family(mu, 4.0).sample((20_000,)) @ rotation.T
    direct = family(rotation @ mu, 4.0).sample((20_000,))
    for a in directions((3, m)):
        check_p_values(p=stats.ks_2samp((turned @ a).numpy(), (direct @ a).numpy(), method="asymp").pvalue)


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_rsample_draws_what_sample_draws(family):
    law = family(directions((3, 6)), torch.tensor([0.0, 1.0, 1e3], dtype=torch.float64))
    torch.manual_seed(1)
    drawn = law.sample((5,))
    torch.manual_seed(1)
    assert torch.equal(drawn, law.rsample((5,)))


@pytest.mark.parametrize("m", [2, 3, 5, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_samples(m, dtype):
    kappa = 20.0
    loc = directions((m,), dtype)
    drawn = VonMisesFisher(loc, kappa).sample((20_000,))
    assert drawn.dtype == dtype
    norm = torch.linalg.vector_norm(drawn.double(), dim=-1)
    assert (norm - 1).abs().max() <= 2 * torch.finfo(dtype).eps
    # Rounding moves the mean by much less than the sampling error of 20,000 draws times this level.
    y = (1 - drawn.double() @ torch.from_numpy(exactly(loc))).numpy()
    law = von_mises_fisher(kappa, m)
    assert abs(y.mean() - law.mean) < 6 * math.sqrt(law.central_moment(2) / 20_000) + torch.finfo(dtype).eps / 4
