"""The uniform law has the density one over the area, the moments 0 and I / m, and is the law of concentration zero."""

import math

import numpy as np
import pytest
import torch

from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher


def area(m: int) -> float:
    """Surface area of the unit sphere in R^m, built up by integrating over latitudes from the circle's 2 pi."""
    value = 2 * math.pi
    nodes, weights = np.polynomial.legendre.leggauss(100)
    theta = math.pi / 2 * (nodes + 1)
    for dimension in range(3, m + 1):
        value *= (math.pi / 2 * weights * np.sin(theta) ** (dimension - 2)).sum()
    return value


@pytest.mark.parametrize("m", [2, 3, 4, 5, 10, 41])
def test_density_is_the_reciprocal_of_the_area(m):
    law = HypersphericalUniform(m, dtype=torch.float64)
    z = law.sample((5,))
    torch.testing.assert_close(law.log_prob(z), torch.full((5,), -math.log(area(m)), dtype=torch.float64))
    torch.testing.assert_close(law.entropy(), torch.tensor(math.log(area(m)), dtype=torch.float64))


@pytest.mark.parametrize("m", [2, 3, 41])
def test_it_is_the_von_mises_fisher_law_of_concentration_zero(m):
    uniform, zero = HypersphericalUniform(m), VonMisesFisher(torch.eye(m)[0], 0.0)
    z = uniform.sample((4,))
    torch.testing.assert_close(uniform.log_prob(z), zero.log_prob(z))
    torch.testing.assert_close(uniform.entropy(), zero.entropy())
    torch.testing.assert_close(uniform.mean, zero.mean)
    torch.testing.assert_close(uniform.variance, zero.variance)
    torch.testing.assert_close(uniform.covariance_matrix, zero.covariance_matrix)


def test_moments():
    law = HypersphericalUniform(4, (2, 3))
    assert torch.equal(law.mean, torch.zeros(2, 3, 4))
    assert torch.equal(law.variance, torch.full((2, 3, 4), 0.25))
    assert torch.equal(law.covariance_matrix, (torch.eye(4) / 4).expand(2, 3, 4, 4))
    assert torch.equal(law.stddev, torch.full((2, 3, 4), 0.5))


def test_default_type_is_torchs():
    assert HypersphericalUniform(3).sample().dtype == torch.get_default_dtype()
    assert HypersphericalUniform(3).log_prob(torch.eye(3)[0]).dtype == torch.get_default_dtype()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_type_is_kept(dtype):
    law = HypersphericalUniform(5, dtype=dtype)
    z = law.sample((1000,))
    assert {z.dtype, law.mean.dtype, law.variance.dtype, law.covariance_matrix.dtype, law.entropy().dtype} == {dtype}
    assert law.log_prob(z).dtype == dtype
    assert (torch.linalg.vector_norm(z.double(), dim=-1) - 1).abs().max() <= 2 * torch.finfo(dtype).eps


def test_device_is_kept():
    law = HypersphericalUniform(3, device="meta")
    assert law.mean.device.type == "meta"
    assert law.entropy().device.type == "meta"
    assert law.sample().device.type == "meta"
    assert law.expand((2,)).sample().device.type == "meta"
    assert HypersphericalUniform(3).sample().device == torch.get_default_device()


def test_repr_names_the_dimension():
    assert repr(HypersphericalUniform(4, (2,))) == "HypersphericalUniform(m: 4, batch_shape: (2,))"


@pytest.mark.parametrize("batch", [(), (3,), (2, 0)])
def test_mode_is_a_point_of_the_sphere(batch):
    law = HypersphericalUniform(4, batch, dtype=torch.float64)
    assert law.mode.shape == (*batch, 4)
    assert law.mode.dtype == torch.float64
    assert law.support.check(law.mode).all()
    assert torch.equal(law.mode, torch.eye(4, dtype=torch.float64)[0].expand(*batch, 4))
    assert torch.equal(law.log_prob(law.mode), law.log_prob(-law.mode))
