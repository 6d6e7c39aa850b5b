r"""Foils: what public S-VAE code does in place of the von Mises-Fisher law and its gradient, written from the formulas.

The authors' releases draw $w = \mu \cdot z$ by Wood's rejection (1994), in their paper's letters: with
$e \sim \mathrm{Beta}(h, h)$, $h = (m-1)/2$,

$$w = \frac{1 - (1+b)\,e}{1 - (1-b)\,e}, \quad t = \frac{2ab}{1 - (1-b)\,e}, \quad
  \log\mathrm{acceptance} = (m-1) \log t - t + d, \quad d = \frac{4ab}{1+b} - (m-1) \log(m-1),$$

$$\rho = \sqrt{4\kappa^2 + (m-1)^2}, \quad a = \frac{m - 1 + 2\kappa + \rho}{4}, \quad
  b = \frac{m-1}{2\kappa + \rho} .$$

Two things are wrong in them. There is a foil for each, for experiments alone: no table of models has them.

**The gradient** (`PathwiseVonMisesFisher`) flows through w at the accepted e, as if acceptance did not depend on kappa.
All that depends on it is b, and $\partial w/\partial\kappa = -\frac12 (1 - w^2)\, d\log b/d\kappa$.

**The law** (`PublicVonMisesFisher`, which has that gradient as well). Above $\kappa = 10$ b passes linearly to the
approximation $(m-1)/(4\kappa)$, which it has reached at 11, while a and d keep their formulas. d then lets the
logarithm of the acceptance exceed 0, where it is clipped. In terms of $T = 4ab/(1+b)$, which is m - 1 for the exact b,
and of $x_0 = (1-b)/(1+b)$,

$$\text{density of proposals} = \frac1{S_m} \Bigl(\frac{\sqrt{1 - x_0^2}}{1 - x_0 w}\Bigr)^{m-1}, \quad
  \log\mathrm{acceptance} = (m-1) \log\frac{Tc}{m-1} - T(c-1), \quad c = \frac{1 - x_0 w}{1 - x_0^2} .$$

Where nothing is clipped the product is $\exp(a(1-b)\,w)$, the law of another concentration. Where all is, as at m = 41
and kappa = 12, proposals are the samples; and if $m > 4\kappa + 1$, then b > 1 and they point away from the mean. Up to
m = 63 the law of the samples has the smaller divergence from the uniform law: the ELBO that code reports, with the
divergence of the exact law, is still a bound there, a looser one.

For m = 3 the releases invert the distribution function instead, and are right; the foils do not.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Beta

from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.models import VonMisesFisherPosterior
from hvae_tutorial.sphere import log_surface_area

# Between these concentrations b passes from the exact value to the approximation.
BLEND = (10.0, 11.0)

_NODES = 1000
_PROPOSALS_A_ROUND = 8
_MAX_ROUNDS = 1000


class PathwiseVonMisesFisher(VonMisesFisher):
    """Exact samples whose gradient for the concentration is that of the accepted proposal alone."""

    @staticmethod
    def _rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
        """``-d theta / d kappa = sin(theta) / rho``, as ``d log b / d kappa = -2 / rho`` for the exact b."""
        return torch.sqrt(y * (2 - y)) / _rho(concentration, m)


class PublicVonMisesFisher(VonMisesFisher):
    """Samples of the authors' law, with its gradient; all else is the von Mises-Fisher law's, as in their code.

    So `log_prob` and the divergence to the uniform law are those of a law that is not sampled.
    """

    @property
    def sampled_mean_resultant_length(self) -> Tensor:
        """Mean of ``mu . z`` over the samples, shape (...), by quadrature."""
        b, e, probability = self._quadrature()[:3]
        return self._narrow((probability * (1 - (1 + b) * e) / (1 - (1 - b) * e)).sum(-1))

    @property
    def acceptance_rate(self) -> Tensor:
        """Share of the proposals that are accepted, shape (...), by quadrature.

        Where it is 1 nothing is left out of the pathwise gradient: it is the whole one, of that law.
        """
        return self._narrow(self._quadrature()[3].exp())

    def sampled_log_prob(self, value: Tensor) -> Tensor:
        """Log density of the samples with respect to surface area, in nats, at unit vectors (..., m): shape (...)."""
        kappa = self.concentration.double()
        b = _b(kappa, self.m)
        w = 1 - self._squared_distance(value).double() / 2
        log_c = torch.log(((1 + b) - (1 - b) * w) * (1 + b) / (4 * b))
        log_rate = self._quadrature()[3]
        return self._narrow(_log_weight(log_c, kappa, self.m) - log_rate - log_surface_area(self.m))

    def sampled_kl_to_uniform(self) -> Tensor:
        """Divergence of the law of the samples from the uniform law in nats, shape (...), by quadrature."""
        b, e, probability, log_rate = self._quadrature()
        log_weight = _log_weight(_log_c(b, e), self.concentration.double().unsqueeze(-1), self.m)
        return self._narrow((probability * log_weight).sum(-1) - log_rate)

    def _quadrature(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """B (..., 1), nodes e (nodes,), their probabilities (..., nodes), and the log of the rate of acceptance."""
        kappa = self.concentration.double().unsqueeze(-1)
        b = _b(kappa, self.m)
        e, log_proposal = (torch.as_tensor(column, device=kappa.device) for column in _beta_rule(self.m))
        log_p = log_proposal + _log_acceptance(_log_c(b, e), kappa, self.m)
        log_rate = log_p.logsumexp(-1)
        return b, e, (log_p - log_rate.unsqueeze(-1)).exp(), log_rate

    def _narrow(self, values: Tensor) -> Tensor:
        return values.to(self.concentration.dtype)

    @staticmethod
    def _sample_complement(kappa: Tensor, m: int, repeats: int = 1) -> Tensor:
        """Samples (repeats * n,) of ``y = 1 - w`` for concentrations (n,), in rounds until every value has one."""
        kappa = kappa.repeat(repeats)
        half = torch.full((), (m - 1) / 2, dtype=kappa.dtype, device=kappa.device)
        proposal = Beta(half, half, validate_args=False)
        result = torch.full_like(kappa, math.nan)
        left = torch.arange(len(kappa), device=kappa.device)
        for _ in range(_MAX_ROUNDS):
            b, e = _b(kappa, m), proposal.sample((_PROPOSALS_A_ROUND, len(kappa)))
            accepted = torch.rand_like(e).log() < _log_acceptance(_log_c(b, e), kappa, m)
            found, first = accepted.max(0, keepdim=True)
            y = 2 * b * e / (1 - (1 - b) * e)
            result[left] = y.gather(0, first).squeeze(0)
            missing = torch.nonzero(~found[0]).squeeze(-1)
            if len(missing) == 0:
                limits = torch.finfo(result.dtype)
                return result.clamp(limits.tiny, 2 - limits.eps)
            left, kappa = left[missing], kappa[missing]
        raise RuntimeError(f"no proposal was accepted in {_MAX_ROUNDS} rounds: is a concentration NaN or infinite?")

    @staticmethod
    def _rate(y: Tensor, concentration: Tensor, m: int) -> Tensor:
        """``-d theta / d kappa = -sin(theta) / 2 d log b / d kappa``; the slope of the blend is part of it."""
        exact, approximate, share = _parts(concentration, m)
        blending = ((share > 0) & (share < 1)).to(y.dtype)
        slope = blending * (approximate - exact) - (
            share * approximate / concentration + (1 - share) * 2 * exact / _rho(concentration, m)
        )
        return torch.sqrt(y * (2 - y)) * -slope / (2 * _b(concentration, m))


class SampledVonMisesFisher(PublicVonMisesFisher):
    """`PublicVonMisesFisher` with the density and the divergence of its samples: what it should report."""

    log_prob = PublicVonMisesFisher.sampled_log_prob
    kl_to_uniform = PublicVonMisesFisher.sampled_kl_to_uniform


class PathwisePosterior(VonMisesFisherPosterior):
    """The head of the S-VAE with `PathwiseVonMisesFisher`."""

    family = PathwiseVonMisesFisher


class PublicPosterior(VonMisesFisherPosterior):
    """The head of the S-VAE with `PublicVonMisesFisher`."""

    family = PublicVonMisesFisher


class SampledPosterior(VonMisesFisherPosterior):
    """The head of the S-VAE with `SampledVonMisesFisher`."""

    family = SampledVonMisesFisher


def _rho(kappa: Tensor, m: int) -> Tensor:
    return torch.sqrt(4 * kappa**2 + (m - 1) ** 2)


def _parts(kappa: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Wood's b, the approximation to it, and its share."""
    return (m - 1) / (2 * kappa + _rho(kappa, m)), (m - 1) / (4 * kappa), (kappa - BLEND[0]).clamp(0, 1)


def _b(kappa: Tensor, m: int) -> Tensor:
    exact, approximate, share = _parts(kappa, m)
    return torch.where(
        share > 0, share * approximate + (1 - share) * exact, exact
    )  # at 0 the approximation is infinite


def _log_c(b: Tensor, e: Tensor) -> Tensor:
    """Logarithm of c of a proposal."""
    return torch.log((1 + b) / (2 * (1 - (1 - b) * e)))


def _log_acceptance(log_c: Tensor, kappa: Tensor, m: int) -> Tensor:
    """Log probability of acceptance, clipped: proposals in which it is above 0 are always accepted."""
    b = _b(kappa, m)
    strength = (m - 1 + 2 * kappa + _rho(kappa, m)) * b / (1 + b)  # T
    return ((m - 1) * (log_c + torch.log(strength / (m - 1))) - strength * torch.expm1(log_c)).clamp(max=0)


def _log_weight(log_c: Tensor, kappa: Tensor, m: int) -> Tensor:
    """Log density of proposals relative to the uniform law, plus the log probability of acceptance."""
    b = _b(kappa, m)
    return _log_acceptance(log_c, kappa, m) - (m - 1) * (log_c + torch.log(2 * b.sqrt() / (1 + b)))


@cache
def _beta_rule(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes e for Beta(h, h), Gauss-Legendre in the angle whose cosine is 1 - 2 e, and their log probabilities."""
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    half_angle = (node + 1) * (math.pi / 4)
    log_p = np.log(weight) + (m - 2) * np.log(np.sin(2 * half_angle))
    return np.sin(half_angle) ** 2, log_p - np.logaddexp.reduce(log_p)
