"""The documented mixin makes the distributions Pyro's; everything Pyro needs of them is exercised once."""

import math

import pytest
import torch
from torch import Tensor

pyro = pytest.importorskip("pyro", reason="needs pyro-ppl, which the extra dev installs")

from pyro.distributions.torch_distribution import TorchDistributionMixin  # noqa: E402
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO  # noqa: E402
from pyro.optim import Adam, ClippedAdam  # noqa: E402
from torch.distributions import constraints  # noqa: E402

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher  # noqa: E402


class PyroVMF(VonMisesFisher, TorchDistributionMixin):
    pass


class PyroSphericalCauchy(SphericalCauchy, TorchDistributionMixin):
    pass


class PyroPowerSpherical(PowerSpherical, TorchDistributionMixin):
    pass


class PyroUniform(HypersphericalUniform, TorchDistributionMixin):
    pass


@pytest.fixture(autouse=True)
def _clean_parameters() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


def direction(m: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(m), dim=0)


@pytest.mark.parametrize("family", [PyroVMF, PyroPowerSpherical, PyroSphericalCauchy])
def test_a_call_samples(family):
    law = family(direction(4), 3.0)
    assert law().shape == (4,)
    assert law.shape() == (4,)
    assert law.has_rsample


@pytest.mark.parametrize(
    "law", [PyroVMF(torch.eye(3)[0], 3.0), PyroPowerSpherical(torch.eye(3)[0], 3.0), PyroUniform(3)]
)
def test_expand_by_and_to_event(law):
    wide = law.expand_by([5, 2])
    assert type(wide) is type(law)
    assert wide.batch_shape == (5, 2)
    assert wide.sample().shape == (5, 2, 3)
    event = wide.to_event(1)
    assert event.batch_shape == (5,)
    assert event.event_shape == (2, 3)
    z = event.rsample()
    torch.testing.assert_close(event.log_prob(z), wide.log_prob(z).sum(-1))
    masked = wide.mask(torch.tensor([True, False]))
    assert (masked.log_prob(z)[:, 1] == 0).all()


def test_model_with_a_plate():
    loc = direction(3)

    def model() -> Tensor:
        with pyro.plate("points", 6):
            return pyro.sample("z", PyroVMF(loc, 5.0))

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    assert z.shape == (6, 3)
    assert trace.nodes["z"]["log_prob"].shape == (6,)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], VonMisesFisher(loc, 5.0).log_prob(z))


def test_predictive_draws_from_a_model():
    def model() -> None:
        mu = pyro.sample("mu", PyroUniform(3))
        pyro.sample("z", PyroVMF(mu, 50.0))

    drawn = Predictive(model, num_samples=7)()
    assert drawn["mu"].shape[0] == drawn["z"].shape[0] == 7
    assert drawn["z"].shape[-1] == 3


@pytest.mark.parametrize("objective", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("family", [PyroVMF, PyroPowerSpherical, PyroSphericalCauchy])
def test_a_step_of_variational_inference(family, objective):
    data = VonMisesFisher(direction(3), 20.0).sample((30,))

    def model(data: Tensor) -> None:
        mu = pyro.sample("mu", PyroUniform(3))
        with pyro.plate("points", len(data)):
            pyro.sample("z", PyroVMF(mu, 20.0), obs=data)

    def guide(data: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor([1.0, 0.1, 0.0]))
        concentration = pyro.param("concentration", torch.tensor(10.0), constraint=constraints.positive)
        pyro.sample("mu", family(loc / loc.norm(), concentration))

    svi = SVI(model, guide, Adam({"lr": 0.1}), objective())
    assert math.isfinite(svi.step(data))
    assert not torch.equal(pyro.param("loc").detach(), torch.tensor([1.0, 0.1, 0.0]))
    assert pyro.param("concentration").detach() != 10.0


def test_variational_inference_finds_the_conjugate_posterior():
    """Uniform mean direction, known kappa: the posterior is vMF with theta = kappa times the sum of the data."""
    kappa, data = 4.0, VonMisesFisher(direction(3), 4.0).sample((10,))
    theta = kappa * data.sum(0)

    def model(data: Tensor) -> None:
        mu = pyro.sample("mu", PyroUniform(3))
        with pyro.plate("points", len(data)):
            pyro.sample("z", PyroVMF(mu, kappa), obs=data)

    def guide(data: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor([0.6, 0.0, 0.8]))
        log_concentration = pyro.param("log_concentration", torch.tensor(2.0))
        pyro.sample("mu", PyroVMF(loc / loc.norm(), log_concentration.exp()))

    optimizer = ClippedAdam({"lr": 0.1, "lrd": 0.985})
    svi = SVI(model, guide, optimizer, TraceMeanField_ELBO(num_particles=32, vectorize_particles=True))
    for _ in range(300):
        svi.step(data)
    loc, concentration = pyro.param("loc").detach(), pyro.param("log_concentration").detach().exp()
    torch.testing.assert_close(loc / loc.norm(), theta / theta.norm(), rtol=0, atol=0.01)
    torch.testing.assert_close(concentration, theta.norm(), rtol=0.05, atol=0)
