r"""Semi-supervised learning: few points with a class, many without, one objective (Kingma et al. 2014).

With bounds $\mathcal{L}$ and $\mathcal{U}$ as in `models.m2`, labelled points $l$ and unlabelled points $u$,
$N = N_l + N_u$ in all,

$$J = \sum_u \mathcal{U}(x_u) + \sum_l \mathcal{L}(x_l, y_l) + \alpha N \; \frac1{N_l} \sum_l \log q(y_l|x_l)$$

(equation 9 there, with $\alpha = 0.1$). The last term is there because $\mathcal{L}$ does not contain the classifier:
without it the labels would reach $q(y|x)$ only through the unlabelled points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hvae_tutorial.checkpoints import fingerprint
from hvae_tutorial.data import binarize
from hvae_tutorial.models import M1M2, M2
from hvae_tutorial.models.layers import check_integer, check_number
from hvae_tutorial.objectives.classes import bound_of_class, bound_over_classes, check_classes
from hvae_tutorial.objectives.vae import ElboTerms


@dataclass(frozen=True, eq=False)
class SemiSupervised:
    """The objective J, divided by the number of unlabelled points, for `training.fit`, whose `train` they are.

    Every batch of unlabelled points is joined by a batch of labelled ones, drawn with replacement, and goes through the
    model with them. For validation there is the unlabelled bound alone, `unlabelled_bound`.

    Attributes:
        x: labelled data, (n, x_dim), on the model's device; intensities with dynamic binarisation.
        y: their classes in 0, ..., C - 1, int64, (n,).
        num_unlabelled: number of unlabelled points in an epoch, >= 1.
        batch_size: labelled points in a batch, >= 1.
        alpha: weight of the classifier's log-likelihood, >= 0.
        dynamic_binarization: draw binary pixels from the intensities anew for every batch, as `fit` does.

    Raises:
        ValueError: if shapes do not fit or a number is out of range.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_m2
        >>> from hvae_tutorial.objectives import SemiSupervised
        >>> objective = SemiSupervised(torch.zeros(3, 64), torch.tensor([0, 1, 2]), num_unlabelled=100)
        >>> model = mlp_m2("n", 2, x_dim=64, num_classes=3)
        >>> objective(model, torch.zeros(5, 64), beta=1.0).elbo.shape
        torch.Size([5])
    """

    x: Tensor
    y: Tensor
    num_unlabelled: int
    batch_size: int = 16
    alpha: float = 0.1
    dynamic_binarization: bool = True

    def __post_init__(self) -> None:
        """Check shapes and ranges."""
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or len(self.x) == 0:
            raise ValueError(
                f"x and y must have shapes (n, x_dim) and (n,) with n >= 1, got {tuple(self.x.shape)} and "
                f"{tuple(self.y.shape)}"
            )
        for name in ("num_unlabelled", "batch_size"):
            object.__setattr__(self, name, check_integer(name, getattr(self, name)))
        object.__setattr__(self, "alpha", check_number("alpha", self.alpha, least=0))
        check_classes(self.y)
        if int(self.y.min()) < 0:
            raise ValueError(f"y must be classes from 0 on, got {int(self.y.min())}")

    def __repr__(self) -> str:
        """All that decides the weights of a run with this objective."""
        return (
            f"{type(self).__name__}(x={fingerprint(self.x)}, y={fingerprint(self.y)}, "
            f"num_unlabelled={self.num_unlabelled}, batch_size={self.batch_size}, alpha={self.alpha}, "
            f"dynamic_binarization={self.dynamic_binarization})"
        )

    def __call__(self, model: M2 | M1M2, x: Tensor, beta: float) -> ElboTerms:
        """Return the terms of each unlabelled point of `x`, (batch, x_dim); `elbo` has the labelled terms added.

        Args:
            model: M2 or M1+M2.
            x: unlabelled data as the likelihood takes them, (batch, x_dim).
            beta: weight of the KL terms.
        """
        index = torch.randint(len(self.x), (self.batch_size,), device=x.device)
        x_labelled, y = self.x.index_select(0, index), self.y.index_select(0, index)
        if self.dynamic_binarization:
            x_labelled = binarize(x_labelled)

        # One pass for all points: small networks wait for Python more than for their tensors.
        terms = model.class_terms(torch.cat([x, x_labelled]))
        n = len(x)
        unlabelled = bound_over_classes(terms.of_points(slice(None, n)), beta)
        labelled = bound_of_class(terms.of_points(slice(n, None)), y, beta)
        log_q = -torch.nn.functional.cross_entropy(terms.logits[n:], y)
        share = len(self.x) / self.num_unlabelled
        extra = share * labelled.elbo.mean() + self.alpha * (1 + share) * log_q
        return unlabelled._replace(elbo=unlabelled.elbo + extra)
