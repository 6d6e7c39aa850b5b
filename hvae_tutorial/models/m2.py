r"""M2 and M1+M2: latent classes for semi-supervised learning (Kingma, Rezende, Mohamed and Welling 2014).

M2 explains x by a class y, one of C, and a latent z that knows nothing of the class:

    p(y) = 1 / C    p(z)    p(x|y,z)        q(y|x)    q(z|x,y)

M1+M2 puts M2 on top of a VAE (M1): x is explained by z1, and z1 by y and z2.

    p(y) = 1 / C    p(z2)    p(z1|y,z2)    p(x|z1)        q(z1|x)    q(y|z1)    q(z2|z1,y)

As in the VAE, what each latent space is (that of z, z1 and z2) is decided by the posterior head that it is handed. The
bounds are in `hvae_tutorial.objectives`; they need `class_terms` of a model and nothing else.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from hvae_tutorial.models.layers import at_least_float32, check_choice, check_integer, glorot_linear
from hvae_tutorial.models.likelihoods import Likelihood
from hvae_tutorial.models.posteriors import POSTERIORS, Posterior, laws
from hvae_tutorial.models.vae import LIKELIHOODS, VAE, mlp_vae

CLASSES = 10


class ClassTerms(NamedTuple):
    """What the bounds need of each point: the classifier's logits, and the bound's terms for every class."""

    logits: Tensor  # of q(y|x), not normalised: (batch, C)
    reconstruction: Tensor  # log-likelihood at the draw of the latent variables, were y the class: (C, batch)
    kl: Tensor  # log q - log p of the latent variables but y, were y the class, in expectation or at the draw: likewise

    def of_points(self, points: slice) -> "ClassTerms":
        """Return the terms of some of the points."""
        return ClassTerms(self.logits[points], self.reconstruction[:, points], self.kl[:, points])


class LatentLikelihood(Likelihood):
    r"""A latent space as the thing explained: p(z1|y,z2), with its parameters from a posterior head.

    The density is that of the head's own family: normal in the plane, von Mises-Fisher on the sphere with respect to
    its surface. It is the prior of z1 in M1+M2: a squared error in its place leaves out the logarithm of its integral
    over the space, by which the bound is off, and which pulls at a learned concentration.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import LatentLikelihood, VonMisesFisherPosterior
        >>> likelihood = LatentLikelihood(VonMisesFisherPosterior(in_features=8, d=2))
        >>> likelihood.x_dim
        3
        >>> likelihood.log_prob(torch.tensor([1.0, 0.0, 0.0]), torch.ones(5, 8)).shape
        torch.Size([5])
    """

    def __init__(self, head: Posterior) -> None:
        """Let `head` turn features into the distribution of z1, which has the head's `ambient_dim` coordinates."""
        super().__init__(head.ambient_dim)
        self.head = head

    def forward(self, output: Tensor) -> Distribution:
        """Return p(z1|y,z2) for features `output`, (..., in_features): batch shape (...), event shape (x_dim,)."""
        return self.head(output)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(z1|y,z2) in nats at z1 = `x`, (..., x_dim), for features `output`, (..., in_features)."""
        return self.head(output).log_prob(x)


class ClassConditional(nn.Module):
    """A network that reads a vector and a class: ReLU(W (x, y) + b), with y one-hot, and what follows.

    The part of W that multiplies x is applied once, whatever the number of classes that x is asked about.
    """

    def __init__(self, in_features: int, num_classes: int, hidden: int, last: Sequence[nn.Module] = ()) -> None:
        """Build a hidden layer of width `hidden` on vectors of `in_features` coordinates; `last` follows it."""
        super().__init__()
        self.in_features = in_features
        self.hidden = glorot_linear(in_features + num_classes, hidden)
        self.last = nn.Sequential(*last)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return what the last layer makes of it, (..., features).

        Args:
            x: (..., in_features).
            y: one-hot classes, (..., num_classes); its leading axes broadcast against those of `x`.
        """
        weight = self.hidden.weight
        of_x = F.linear(x, weight[:, : self.in_features], self.hidden.bias)
        return self.last(F.relu(of_x + F.linear(y, weight[:, self.in_features :])))


class M2(nn.Module):
    r"""A classifier and a class-conditional VAE with one bound (Kingma et al. 2014, section 2.2).

    $$\log p(x, y) \ge \mathcal{L}(x, y) =
      E_{q(z|x,y)}[\log p(x|y,z)] - \mathrm{KL}(q(z|x,y) \Vert p(z)) - \log C$$

    $$\log p(x) \ge \mathcal{U}(x) = \sum_y q(y|x)\, \mathcal{L}(x, y) + H[q(y|x)]$$

    (equations 6 and 7 there). The sum over classes is exact and is computed in one pass for all classes.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_m2
        >>> model = mlp_m2("s", 2, x_dim=64, hidden=32, num_classes=10)
        >>> x = torch.zeros(5, 64)
        >>> model.class_logits(x).shape
        torch.Size([5, 10])
        >>> model.class_terms(x).kl.shape  # a term for each class and point
        torch.Size([10, 5])
    """

    def __init__(
        self,
        classifier: nn.Module,
        encoder: nn.Module,
        posterior: Posterior,
        decoder: nn.Module,
        likelihood: Likelihood,
        num_classes: int = CLASSES,
    ) -> None:
        """Put the parts together.

        Args:
            classifier: module from x, (batch, x_dim), to the logits of q(y|x), (batch, num_classes).
            encoder: module from x and one-hot y, as `ClassConditional`, to features for the posterior.
            posterior: head from features to q(z|x,y); it brings the prior.
            decoder: module from z and one-hot y, as `ClassConditional`, to the likelihood's parameters.
            likelihood: from the decoder's output to p(x|y,z).
            num_classes: C, >= 1.

        Raises:
            ValueError: if `num_classes` is not an integer >= 1.
        """
        super().__init__()
        self.classifier = classifier
        self.encoder = encoder
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.num_classes = check_integer("num_classes", num_classes)

    @property
    def classes(self) -> Tensor:
        """All classes, one-hot: (C, 1, C), in the precision and on the device of the model's parameters."""
        like = next(self.parameters())
        return torch.eye(self.num_classes, dtype=like.dtype, device=like.device).unsqueeze(1)

    def class_logits(self, x: Tensor) -> Tensor:
        """Return the logits of q(y|x), not normalised, for `x`, (batch, x_dim): (batch, C)."""
        return at_least_float32(self.classifier(x))

    def class_terms(self, x: Tensor) -> ClassTerms:
        """Return the terms of the bound for `x`, (batch, x_dim), and every class, from one draw of z for each.

        Raises:
            ValueError: if `x` has another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.likelihood.x_dim:
            raise ValueError(f"x must have shape (batch, {self.likelihood.x_dim}), got {tuple(x.shape)}")
        classes = self.classes
        q = self.posterior(self.encoder(x, classes))  # batch shape (C, batch)
        z = q.rsample()  # (C, batch, ambient_dim)
        reconstruction = self.likelihood.log_prob(x, self.decoder(z, classes))
        return ClassTerms(self.class_logits(x), reconstruction, self.posterior.kl(q))


class M1M2(nn.Module):
    r"""M2 on the latent space of a VAE, with one bound for both, trained end to end (Davidson et al. 2018).

    $$\log p(x, y) \ge E_{q(z_1|x)}\left[\log p(x|z_1) + \mathcal{L}(z_1, y)\right] + H[q(z_1|x)]$$

    with $\mathcal{L}$ the bound of M2 on $\log p(z_1, y)$, and the same with $\mathcal{U}$ on $\log p(x)$. M2 takes the
    place of the VAE's prior: $-H[q(z_1|x)] - E[\log p(z_1|y,z_2)] + \mathrm{KL}(z_2)$ stands where the KL term was. The
    entropy is exact; the expectation over $z_1$ is one draw.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import M1M2, LatentLikelihood, VonMisesFisherPosterior, mlp_m1m2
        >>> model = mlp_m1m2("sn", 5, 8, x_dim=64, hidden=(32,), m2_hidden=16)
        >>> isinstance(model, M1M2), model.likelihood.x_dim, model.m2.likelihood.x_dim
        (True, 64, 6)
        >>> model.class_terms(torch.zeros(7, 64)).reconstruction.shape
        torch.Size([10, 7])
    """

    def __init__(self, m1: VAE, m2: M2) -> None:
        """Put `m2`, which explains the z1 of `m1`, on top of `m1`. The prior of m1's own posterior head is not used.

        Raises:
            ValueError: if m2 explains something else than m1's latent space.
        """
        super().__init__()
        if m2.likelihood.x_dim != m1.posterior.ambient_dim:
            raise ValueError(
                f"m2 must explain the {m1.posterior.ambient_dim} coordinates of m1's latent space, "
                f"but its likelihood has x_dim = {m2.likelihood.x_dim}"
            )
        self.m1 = m1
        self.m2 = m2

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood of the data, p(x|z1)."""
        return self.m1.likelihood

    @property
    def num_classes(self) -> int:
        """The number of classes, C."""
        return self.m2.num_classes

    def class_logits(self, x: Tensor) -> Tensor:
        """Return the logits of q(y|z1), not normalised, at the mode of q(z1|x) for `x`, (batch, x_dim): (batch, C)."""
        return self.m2.class_logits(self.m1.encode(x).mode)

    def class_terms(self, x: Tensor) -> ClassTerms:
        """Return the terms of the bound for `x`, (batch, x_dim), and every class, from one draw of z1 and of each z2.

        Raises:
            ValueError: if `x` has another shape.
        """
        q = self.m1.encode(x)
        z1 = q.rsample()  # (batch, ambient_dim)
        reconstruction = self.m1.likelihood.log_prob(x, self.m1.decoder(z1))  # (batch,)
        logits, log_prior, kl = self.m2.class_terms(z1)
        return ClassTerms(logits, reconstruction.expand_as(kl), kl - log_prior - q.entropy())


class StackedM1M2(M1M2):
    """M2 on draws of the latent space of a trained VAE, which stays as it is: Kingma's original M1+M2.

    Its bound is on log p(z1), not on log p(x).

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import StackedM1M2, mlp_m2, mlp_vae
        >>> m1 = mlp_vae("n", 5, x_dim=64)  # to be trained first
        >>> model = StackedM1M2(m1, mlp_m2("n", 5, x_dim=5, likelihood="gaussian"))
        >>> model.class_logits(torch.zeros(7, 64)).shape
        torch.Size([7, 10])
        >>> any(parameter.requires_grad for parameter in m1.parameters())
        False
    """

    def __init__(self, m1: VAE, m2: M2) -> None:
        """Put `m2` on top of a trained `m1`, whose parameters need no gradient from here on.

        Raises:
            ValueError: if m2 explains something else than m1's latent space.
        """
        super().__init__(m1, m2)
        m1.requires_grad_(False)

    def class_terms(self, x: Tensor) -> ClassTerms:
        """Return the terms of M2's bound for a draw of z1 for each of `x`, (batch, x_dim), and every class.

        Raises:
            ValueError: if `x` has another shape.
        """
        return self.m2.class_terms(self.m1.encode(x).sample())


def mlp_m2(
    kind: str,
    d: int,
    *,
    x_dim: int = 784,
    hidden: int = 128,
    likelihood: str = "bernoulli",
    num_classes: int = CLASSES,
) -> M2:
    """Build M2 on data, with one hidden layer in each network.

    Args:
        kind: posterior of z, as `mlp_vae` takes it.
        d: dimension of the latent space, >= 1.
        x_dim: number of coordinates of x, >= 1.
        hidden: width of the hidden layers, >= 1.
        likelihood: "bernoulli" for pixels in {0, 1}, "gaussian" for real-valued data.
        num_classes: C, >= 1.

    Raises:
        ValueError: if `kind` or `likelihood` is unknown, or a size is not an integer >= 1.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_m2
        >>> from hvae_tutorial.objectives import labelled_bound
        >>> model = mlp_m2("n", 3, x_dim=64, num_classes=4)
        >>> labelled_bound(model, torch.zeros(5, 64), torch.tensor([0, 1, 2, 3, 0])).elbo.shape
        torch.Size([5])
    """
    check_choice("likelihood", likelihood, LIKELIHOODS)
    hidden, x_dim = check_integer("hidden", hidden), check_integer("x_dim", x_dim)
    explained = LIKELIHOODS[likelihood](x_dim)
    return _m2(kind, d, explained, hidden, num_classes, last=[glorot_linear(hidden, x_dim)])


def mlp_m1m2(
    kinds: Sequence[str],
    d1: int,
    d2: int,
    *,
    x_dim: int = 784,
    hidden: Sequence[int] = (256, 128),
    m2_hidden: int = 128,
    num_classes: int = CLASSES,
) -> M1M2:
    """Build M1+M2: the paper's VAE, and an M2 with one hidden layer in each network on its latent space.

    Args:
        kinds: the posteriors of z1 and of z2, two letters of heads with a density (`posteriors.laws`): "sn" is the
            paper's S+N, von Mises-Fisher and Gaussian; ("ps", "n") has a Power Spherical z1.
        d1: dimension of the space of z1, >= 1.
        d2: dimension of the space of z2, >= 1.
        x_dim: number of coordinates of x, >= 1.
        hidden: widths of the VAE's hidden layers, as `mlp_vae` takes them.
        m2_hidden: width of M2's hidden layers, >= 1.
        num_classes: C, >= 1.

    Raises:
        ValueError: if `kinds` are not two known letters, or a size is not an integer >= 1.

    Examples:
        >>> from hvae_tutorial.models import mlp_m1m2
        >>> model = mlp_m1m2("sn", 5, 8, x_dim=64)
        >>> model.m1.posterior.ambient_dim, model.m2.posterior.ambient_dim, model.num_classes
        (6, 8, 10)
    """
    if len(kinds) != 2:
        raise ValueError(f"kinds must be two letters, for z1 and for z2, as 'sn' or ('ps', 'n'), got {kinds!r}")
    for kind in kinds:
        check_choice("every letter in kinds", kind, laws())
    m1 = mlp_vae(kinds[0], d1, x_dim=x_dim, hidden=hidden)
    m2_hidden = check_integer("m2_hidden", m2_hidden)
    explained = LatentLikelihood(POSTERIORS[kinds[0]](m2_hidden, d1))
    return M1M2(m1, _m2(kinds[1], d2, explained, m2_hidden, num_classes))


def _m2(
    kind: str, d: int, explained: Likelihood, hidden: int, num_classes: int, *, last: Sequence[nn.Module] = ()
) -> M2:
    """Build M2 with one hidden layer in each network; `last` ends the decoder."""
    check_choice("kind", kind, POSTERIORS)
    num_classes = check_integer("num_classes", num_classes)
    posterior = POSTERIORS[kind](hidden, d)
    x_dim = explained.x_dim
    return M2(
        classifier=nn.Sequential(glorot_linear(x_dim, hidden), nn.ReLU(), glorot_linear(hidden, num_classes)),
        encoder=ClassConditional(x_dim, num_classes, hidden),
        posterior=posterior,
        decoder=ClassConditional(posterior.ambient_dim, num_classes, hidden, last),
        likelihood=explained,
        num_classes=num_classes,
    )
