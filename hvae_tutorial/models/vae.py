"""The variational auto-encoder: one class for every latent space (Kingma and Welling 2014; Davidson et al. 2018).

    x --encoder--> h --posterior--> q(z|x) --draw--> z --decoder--> y --likelihood--> p(x|z)

Whether it is an N-VAE, an S-VAE or a plain autoencoder is decided by the posterior head it is handed.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributions import Distribution

from hvae_tutorial.files import write_atomically
from hvae_tutorial.models.layers import check_choice, check_integer, glorot_linear
from hvae_tutorial.models.likelihoods import BernoulliLikelihood, GaussianLikelihood, Likelihood
from hvae_tutorial.models.posteriors import POSTERIORS, Posterior, ProductPosterior

LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {"bernoulli": BernoulliLikelihood, "gaussian": GaussianLikelihood}

FILE_FORMAT = "hvae_tutorial.VAE"
FILE_VERSION = "1"


class VAE(nn.Module):
    """A variational auto-encoder: two networks, the posterior of z and the likelihood of x.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from hvae_tutorial.models import VAE, BernoulliLikelihood, VonMisesFisherPosterior
        >>> model = VAE(
        ...     encoder=nn.Sequential(nn.Linear(64, 32), nn.ReLU()),
        ...     decoder=nn.Linear(3, 64),
        ...     posterior=VonMisesFisherPosterior(32, d=2),
        ...     likelihood=BernoulliLikelihood(64),
        ... )
        >>> x = torch.zeros(5, 64)
        >>> model.encode(x).rsample().shape, model.reconstruct(x).shape, model.sample(7).shape
        (torch.Size([5, 3]), torch.Size([5, 64]), torch.Size([7, 64]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: Posterior,
        likelihood: Likelihood,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            encoder: module from x, (batch, x_dim), to features, (batch, in_features of the posterior).
            decoder: module from z, (..., ambient_dim), to the likelihood's parameters, (..., x_dim).
            posterior: head from features to q(z|x); it brings the prior.
            likelihood: from the decoder's output to p(x|z).
            settings: the arguments of `mlp_vae` or `mlp_product_vae`, if one builds this model; `save` stores them.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        self.settings = settings

    def encode(self, x: Tensor) -> Distribution:
        """Return q(z|x) for `x`, (batch, x_dim): batch shape (batch,), event shape (ambient_dim,).

        Raises:
            ValueError: if `x` has another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.likelihood.x_dim:
            raise ValueError(f"x must have shape (batch, {self.likelihood.x_dim}), got {tuple(x.shape)}")
        return self.posterior(self.encoder(x))

    def decode(self, z: Tensor) -> Distribution:
        """Return p(x|z) for `z`, (..., ambient_dim): batch shape (...), event shape (x_dim,).

        Raises:
            ValueError: if the last axis of `z` has another size.
        """
        if z.shape[-1:] != (self.posterior.ambient_dim,):
            raise ValueError(f"z must have shape (..., {self.posterior.ambient_dim}), got {tuple(z.shape)}")
        return self.likelihood(self.decoder(z))

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Return E[x|z] at `n` draws of z from the prior: (n, x_dim). For pixels these are grey values, as in pictures.

        Raises:
            NotImplementedError: for a plain autoencoder, which has no prior.
            ValueError: if `n` is not an integer >= 0.
        """
        return self.decode(self.posterior.prior().sample((check_integer("n", n, least=0),))).mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at the mode of q(z|x) for `x`, (batch, x_dim): (batch, x_dim).

        Raises:
            ValueError: if `x` has another shape.
        """
        return self.decode(self.encode(x).mode).mean

    def save(self, path: str | Path) -> None:
        """Write the weights as safetensors, with the arguments that the model was built with as JSON in the metadata.

        The file appears at once, never in part.

        Raises:
            ValueError: if neither `mlp_vae` nor `mlp_product_vae` built it, so that no settings say how to rebuild it.
            OSError: if `path` cannot be written.
        """
        if self.settings is None:
            raise ValueError(
                "only a VAE built by mlp_vae or mlp_product_vae can be saved: its settings say how to build it again; "
                "for other networks store state_dict() and build the VAE yourself"
            )
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        metadata = {"format": FILE_FORMAT, "version": FILE_VERSION, "settings": json.dumps(dict(self.settings))}
        write_atomically(path, safetensors.torch.save(tensors, metadata))

    @classmethod
    def load(cls, path: str | Path) -> "VAE":
        """Return the model that `save` wrote to `path`, on the CPU, in the precision it was saved in.

        Raises:
            FileNotFoundError: if there is no file at `path`.
            ValueError: if the file is not safetensors, not from `save`, or from another version of the format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no saved VAE at {path}: there is no such file")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                # Copies: what is mapped into memory stays open, and Windows does not replace an open file.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error
        if metadata.get("format") != FILE_FORMAT:
            raise ValueError(f"{path} was not written by VAE.save: its metadata lack format = {FILE_FORMAT!r}")
        if metadata.get("version") != FILE_VERSION:
            version = metadata.get("version")
            raise ValueError(f"{path} has version {version!r} of the format; this release reads {FILE_VERSION!r}")
        try:
            settings = json.loads(metadata["settings"])
            build = mlp_product_vae if isinstance(settings["d"], list) else mlp_vae
            model = build(**settings)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: its settings do not describe a model: {error}") from error
        try:
            model.load_state_dict(tensors, assign=True)  # assign keeps the saved precision
        except RuntimeError as error:
            raise ValueError(f"the weights in {path} do not fit its settings, {model.settings}: {error}") from error
        return model


def mlp_vae(
    kind: str,
    d: int,
    *,
    x_dim: int = 784,
    hidden: Sequence[int] = (256, 128),
    likelihood: str = "bernoulli",
) -> VAE:
    """Build the paper's network: x_dim-256-128 with ReLU, a posterior head, and the same sizes back.

    Weights are Glorot-uniform and biases zero.

    Args:
        kind: posterior, a letter of `POSTERIORS`: "s" von Mises-Fisher, "n" Gaussian, "ps" power spherical, "ae"
            deterministic (an autoencoder), ...
        d: dimension of the latent space, >= 1; on the sphere S^d, where "s" and "ps" live, z has d + 1 coordinates.
        x_dim: number of coordinates of x, >= 1.
        hidden: widths of the encoder's hidden layers, from x inwards; the decoder has them in reverse. May be empty.
        likelihood: "bernoulli" for pixels in {0, 1}, "gaussian" for real-valued data.

    Raises:
        ValueError: if `kind` or `likelihood` is unknown, or a size is not an integer >= 1.

    Examples:
        >>> from hvae_tutorial.models import mlp_vae
        >>> model = mlp_vae("s", 2, x_dim=64, hidden=(32,))
        >>> model.posterior.ambient_dim
        3
        >>> model.sample(7).shape
        torch.Size([7, 64])
    """
    widths = _widths(x_dim, hidden)
    posterior = POSTERIORS[check_choice("kind", kind, POSTERIORS)](widths[-1], d)
    return _mlp(posterior, widths, likelihood, kind=kind, d=posterior.d)


def mlp_product_vae(
    kind: str,
    d: Sequence[int],
    *,
    x_dim: int = 784,
    hidden: Sequence[int] = (256, 128),
    likelihood: str = "bernoulli",
) -> VAE:
    """Build the paper's network on a product of latent spaces, with a head for each (`ProductPosterior`).

    With "s" and d = (2, 2) it lives on S^2 x S^2, and z has 6 coordinates.

    Args:
        kind: posterior of every factor, as `mlp_vae` takes it.
        d: dimension of each factor, >= 1; at least one.
        x_dim: number of coordinates of x, >= 1.
        hidden: widths of the hidden layers, as `mlp_vae` takes them.
        likelihood: "bernoulli" for pixels in {0, 1}, "gaussian" for real-valued data.

    Raises:
        ValueError: if `kind` or `likelihood` is unknown, a size is not an integer >= 1, or `d` is no sequence of them.

    Examples:
        >>> from hvae_tutorial.models import mlp_product_vae
        >>> model = mlp_product_vae("s", (2, 2), x_dim=64)
        >>> model.posterior.d, model.posterior.ambient_dim
        (4, 6)
    """
    if not isinstance(d, Sequence) or isinstance(d, str) or not d:
        raise ValueError(f"d must be a sequence of integers >= 1, one for each factor, got {d!r}")
    widths = _widths(x_dim, hidden)
    head = POSTERIORS[check_choice("kind", kind, POSTERIORS)]
    factors = [head(widths[-1], part) for part in d]
    return _mlp(ProductPosterior(factors), widths, likelihood, kind=kind, d=[factor.d for factor in factors])


def _widths(x_dim: int, hidden: Sequence[int]) -> list[int]:
    """Return the widths of the encoder from x inwards, checked."""
    if not isinstance(hidden, Iterable) or isinstance(hidden, str):
        raise ValueError(f"hidden must be a sequence of integers >= 1, got {hidden!r}")
    return [check_integer("x_dim", x_dim), *(check_integer("every width in hidden", width) for width in hidden)]


def _mlp(posterior: Posterior, inwards: list[int], likelihood: str, **settings: Any) -> VAE:
    """Put an encoder with these widths before the head and a decoder with the same behind it."""
    x_dim, *hidden = inwards
    outwards = [posterior.ambient_dim, *reversed(hidden)]
    return VAE(
        encoder=nn.Sequential(*_hidden_layers(inwards)),
        decoder=nn.Sequential(*_hidden_layers(outwards), glorot_linear(outwards[-1], x_dim)),
        posterior=posterior,
        likelihood=LIKELIHOODS[check_choice("likelihood", likelihood, LIKELIHOODS)](x_dim),
        settings={**settings, "x_dim": x_dim, "hidden": hidden, "likelihood": likelihood},
    )


def _hidden_layers(sizes: Sequence[int]) -> list[nn.Module]:
    return [module for sizes_ in pairwise(sizes) for module in (glorot_linear(*sizes_), nn.ReLU())]
