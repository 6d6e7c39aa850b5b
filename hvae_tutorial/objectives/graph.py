r"""The objective of a VGAE: a plain function of a model and a graph, as those of a VAE are of points.

A VGAE explains the adjacency matrix $A$ of a graph, with ones on its diagonal, by a latent $z_u$ for each of the $N$
nodes. With $\ell_{uv}$ the decoder's logit of the pair $(u, v)$,

$$\log p(A|z) = \sum_{u,v} a_{uv} \log\sigma(\ell_{uv}) + (1 - a_{uv}) \log(1 - \sigma(\ell_{uv})).$$

In a sparse graph the second term has a thousand times as many pairs as the first, and drowns it. Kipf and Welling
(2016, arXiv 1611.07308) therefore weigh the ones by $w = (N^2 - S) / S$, where $S = 2E$ is the number of ones off the
diagonal, divide by the number of pairs, $N^2$, and multiply by $N^2 / (2 (N^2 - S))$. (So their code; the paper says
no more than that it reweighs.) Written out, edges and non-edges then count alike, each with their mean:

$$\mathcal{L} = \frac12 \left[\frac1S \sum_{a_{uv} = 1} \log\sigma(\ell_{uv})
  + \frac{1}{N^2 - S} \sum_{a_{uv} = 0} \log(1 - \sigma(\ell_{uv}))\right]
  - \frac{1}{N^2} \sum_u \mathrm{KL}(q(z_u) \Vert p(z))$$

Times $N^2$ this is the ELBO of the unordered pairs, whence the half, but for one thing: an edge counts $N^2 / S$
times, as if it had been seen so often (817 times in Cora), and a non-edge about once. So $\mathcal{L}$ is no bound on
$\log p(A)$, and its KL term is weak beside the edges. It is what the figures of Kipf and Welling come from.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from hvae_tutorial.models.vgae import VGAE, check_pairs
from hvae_tutorial.objectives.vae import ElboTerms


def graph_elbo(model: VGAE, x: Tensor, adjacency: Tensor, edges: Tensor, pairs: Tensor) -> ElboTerms:
    r"""Return Kipf and Welling's reweighed ELBO of a graph, from one draw of z a node.

    Its sum over non-edges is that over all $N^2$ pairs less that over the ones, and that over all pairs is estimated
    from those given:

    $$\sum_{a_{uv} = 0} f_{uv} \approx \frac{N^2}{M} \sum_{i=1}^M f_{u_i v_i} - \sum_{a_{uv} = 1} f_{uv}$$

    With pairs drawn uniformly (`uniform_pairs`) the estimate is unbiased whatever M is, for the value and for the
    gradient, and memory grows with M instead of $N^2$. With all pairs, each once (`all_pairs`), it is exact.

    Args:
        model: the VGAE.
        x: features, (N, x_dim), dense or sparse.
        adjacency: what `normalized_adjacency` makes of the edges: (N, N), sparse.
        edges: the edges to be explained, each once, int64 of shape (2, E).
        pairs: ordered pairs of nodes, int64 of shape (2, M), uniform over all $N^2$, those with $u = v$ among them.

    Returns:
        Three tensors of shape (), with gradients for the model's parameters: reconstruction - kl, reconstruction (the
        bracket above, halved) and kl (the last term).

    Raises:
        TypeError: `edges` or `pairs` is no tensor of int64.
        ValueError: one of them has another shape, or is empty.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.objectives import all_pairs, graph_elbo
        >>> from hvae_tutorial.models import gcn_vgae, normalized_adjacency
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> model = gcn_vgae("s", 2, x_dim=4)
        >>> terms = graph_elbo(model, torch.eye(3, 4), normalized_adjacency(edges, 3), edges, all_pairs(3))
        >>> bool(terms.elbo < terms.reconstruction)
        True
    """
    check_pairs("edges", edges, least=1)
    check_pairs("pairs", pairs, least=1)
    q = model.encode(x, adjacency)
    return terms_of_pairs(model, q.rsample(), model.posterior.kl(q).sum(), edges, pairs)


def terms_of_pairs(model: VGAE, z: Tensor, total_kl: Tensor, edges: Tensor, pairs: Tensor) -> ElboTerms:
    """Return the terms of `graph_elbo` at given z, (N, ambient_dim), with the KL summed over the nodes, of shape ()."""
    num_pairs, num_edges = len(z) ** 2, edges.shape[1]
    diagonal = torch.arange(len(z), device=z.device).expand(2, -1)
    edge_logits, self_logits, pair_logits = (model.decoder(z, ends) for ends in (edges, diagonal, pairs))

    # An undirected edge is two of the ordered pairs.
    ones = 2 * F.logsigmoid(edge_logits).sum() + F.logsigmoid(self_logits).sum()
    zeros_at_ones = 2 * F.logsigmoid(-edge_logits).sum() + F.logsigmoid(-self_logits).sum()
    zeros = num_pairs * F.logsigmoid(-pair_logits).mean() - zeros_at_ones
    reconstruction = 0.5 * (ones / (2 * num_edges) + zeros / (num_pairs - 2 * num_edges))
    kl = total_kl / num_pairs
    return ElboTerms(reconstruction - kl, reconstruction, kl)


def held_out_elbo(model: VGAE, q: Distribution, edges: Tensor, non_edges: Tensor) -> ElboTerms:
    """Return the terms of `graph_elbo` for pairs held out: edges and non-edges alike, each with their mean.

    Args:
        model: the VGAE.
        q: the posterior of all nodes, as the model encodes them from the training edges alone.
        edges: edges held out, int64 of shape (2, n).
        non_edges: pairs that are no edges, int64 of shape (2, n').

    Returns:
        Three tensors of shape (), from one draw of z a node.

    Raises:
        TypeError: `edges` or `non_edges` is no tensor of int64.
        ValueError: one of them has another shape, or is empty.
    """
    check_pairs("edges", edges, least=1)
    check_pairs("non_edges", non_edges, least=1)
    z = q.rsample()
    ones, zeros = F.logsigmoid(model.decoder(z, edges)), F.logsigmoid(-model.decoder(z, non_edges))
    reconstruction = 0.5 * (ones.mean() + zeros.mean())
    kl = model.posterior.kl(q).sum() / len(z) ** 2
    return ElboTerms(reconstruction - kl, reconstruction, kl)


def uniform_pairs(num_nodes: int, count: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Draw ordered pairs of nodes uniformly, with replacement, from torch's generator: int64 of shape (2, count)."""
    return torch.randint(num_nodes, (2, count), device=device)


def all_pairs(num_nodes: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return all ordered pairs of nodes: int64 of shape (2, num_nodes^2)."""
    nodes = torch.arange(num_nodes, device=device)
    return torch.cartesian_prod(nodes, nodes).T
