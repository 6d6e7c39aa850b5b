r"""The variational graph auto-encoder: a latent for each node, an edge where two of them agree (Kipf and Welling 2016).

    x, A --graph convolutions--> h --posterior--> q(z_u|x, A) --draw--> z --decoder--> logit of each pair (u, v)

Whether it is an N-VGAE or an S-VGAE (Davidson et al. 2018, section 5.4) is decided by the posterior head it is handed.
"""

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from hvae_tutorial.models.layers import check_choice, check_integer, check_number
from hvae_tutorial.models.posteriors import POSTERIORS, Posterior, laws


def normalized_adjacency(edges: Tensor, num_nodes: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    r"""Return the matrix by which a graph convolution multiplies: sparse, (N, N), on the device of `edges`.

    $$\hat A = D^{-1/2} (A + I) D^{-1/2}, \qquad D_{uu} = \sum_v (A + I)_{uv}$$

    (Kipf and Welling 2017, arXiv 1609.02907, equation 2). The row of an isolated node has its one on the diagonal.

    Args:
        edges: each undirected edge once, without self-loops, int64 of shape (2, E).
        num_nodes: N.
        dtype: of the entries.

    Raises:
        TypeError: `edges` is no tensor of int64.
        ValueError: `edges` has another shape, names a node outside 0, ..., N - 1, joins a node to itself, or has an
            edge twice, in one direction or in both.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import normalized_adjacency
        >>> normalized_adjacency(torch.tensor([[0], [1]]), num_nodes=3).to_dense()
        tensor([[0.5000, 0.5000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 1.0000]])
    """
    check_pairs("edges", edges)
    num_nodes = check_integer("num_nodes", num_nodes)
    first, second = edges.aminmax(dim=0)
    if edges.numel() and not 0 <= int(first.min()) <= int(second.max()) < num_nodes:
        raise ValueError(
            f"edges must name nodes from 0 to {num_nodes - 1}, got {int(first.min())} to {int(second.max())}"
        )
    if bool((first == second).any()):
        raise ValueError(f"edges must join different nodes, got {int(first[first == second][0])} and itself")
    repeated = edges.shape[1] - len(torch.unique(first * num_nodes + second))
    if repeated:
        raise ValueError(
            f"edges must have each undirected edge once, but {repeated} of {edges.shape[1]} are there already, in this "
            "direction or the other: keep those with edges[0] < edges[1]"
        )
    loops = torch.arange(num_nodes, device=edges.device)
    rows = torch.cat([edges[0], edges[1], loops])
    columns = torch.cat([edges[1], edges[0], loops])
    degrees = torch.bincount(rows, minlength=num_nodes).to(dtype)
    values = (degrees[rows] * degrees[columns]).rsqrt()
    indices = torch.stack([rows, columns])
    return torch.sparse_coo_tensor(indices, values, (num_nodes, num_nodes), check_invariants=True).coalesce()


def check_pairs(name: str, pairs: Tensor, *, least: int = 0) -> None:
    """Refuse what is no tensor of at least so many pairs of nodes, int64 of shape (2, n), in a message with its name.

    Raises:
        TypeError: it is no tensor of int64.
        ValueError: it has another shape.
    """
    if not isinstance(pairs, Tensor) or pairs.dtype != torch.int64:
        kind = f"a tensor of {pairs.dtype}" if isinstance(pairs, Tensor) else type(pairs).__name__
        raise TypeError(f"{name} must be a tensor of int64, got {kind}")
    if pairs.ndim != 2 or pairs.shape[0] != 2 or pairs.shape[1] < least:
        few = f" with n >= {least}" if least else ""
        raise ValueError(f"{name} must have shape (2, n){few}, a pair in each column, got {tuple(pairs.shape)}")


class InnerProductDecoder(nn.Module):
    r"""The logit of an edge grows with the inner product of its ends.

    $$\ell_{uv} = s\, z_u \cdot z_v + b, \qquad s = e^{a} > 0$$

    with a and b learned; Kipf and Welling (2016, equation 2) have s = 1 and b = 0. The learned scale is what the
    authors of the S-VGAE name (nicola-decao/s-vae-pytorch, issue 12), the offset is ours. In the plane the latents can
    grow to any logit. On the sphere the inner product is in [-1, 1]: with s = 1 and b = 0 no pair gets a probability
    below 0.27 or above 0.73.

    Measured on Cora, means over the splits 0 to 4, d = 16, 200 epochs: AUC / AP on validation edges in %, and the
    negative reweighed ELBO in training (`objectives.graph`), in nats.

    | decoder | N-VGAE | | S-VGAE | |
    |---|---|---|---|---|
    | s = 1, b = 0 | 91.5 / 92.9 | 0.425 | 92.5 / 92.9 | 0.583 |
    | s = m, b = 0 | | | 92.3 / 93.1 | 0.911 |
    | learned from s = 1 | 91.0 / 92.7 | 0.178 | 91.7 / 93.1 | 0.178 |
    | learned from s = sqrt(m) | | | 91.9 / 93.2 | 0.175 |
    | learned from s = m | | | 92.1 / 93.3 | 0.194 |

    AUC and AP see the order of the pairs alone, which needs neither s nor b: by them the decoders hardly differ.
    Probabilities do need them. So both are learned, in the plane too, and `gcn_vgae` starts s where a draw from the
    prior has the mean square norm of as many standard normal coordinates: at 1 in the plane, at m on the sphere (as if
    its radius were sqrt(m)).

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import InnerProductDecoder
        >>> z = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> decoder = InnerProductDecoder(scale=2.0)
        >>> decoder(z, torch.tensor([[0, 0], [1, 2]])).detach()
        tensor([1.2000, 0.0000])
    """

    def __init__(self, scale: float = 1.0) -> None:
        """Start at b = 0 and s = `scale`.

        Raises:
            ValueError: if `scale` is not a positive, finite number.
        """
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(check_number("scale", scale, above=0)).log())
        self.offset = nn.Parameter(torch.zeros(()))

    @property
    def scale(self) -> Tensor:
        """The factor s > 0, of shape ()."""
        return self.log_scale.exp()

    def forward(self, z: Tensor, pairs: Tensor) -> Tensor:
        """Return the logits of pairs of nodes.

        Args:
            z: latents of the nodes, (N, ambient_dim).
            pairs: int64 of shape (2, n).

        Returns:
            Logits of p(a_uv = 1 | z), (n,).
        """
        # index_select: its gradient is twice as fast as that of z[u]
        # not vecdot: autocast would have it in half precision
        product = (z.index_select(0, pairs[0]) * z.index_select(0, pairs[1])).sum(-1)
        return self.scale * product + self.offset


class VGAE(nn.Module):
    r"""A variational graph auto-encoder with two graph convolutions.

    $$h = \hat A\, \mathrm{ReLU}(\hat A X W), \qquad q(z_u|X, A) = \mathrm{head}(h_u)$$

    Kipf and Welling's second layer is one convolution for the means and one for the scales, $\hat A H W_\mu$ and
    $\hat A H W_\sigma$. As $\hat A (H W) = (\hat A H) W$, both are linear maps of $h = \hat A H$: just what a posterior
    head does with its features.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import VGAE, InnerProductDecoder, VonMisesFisherPosterior, normalized_adjacency
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> model = VGAE(x_dim=4, hidden=8, posterior=VonMisesFisherPosterior(8, d=2), decoder=InnerProductDecoder())
        >>> z = model.encode(torch.eye(3, 4), normalized_adjacency(edges, num_nodes=3)).rsample()
        >>> z.shape, model.decode(z, edges).shape
        (torch.Size([3, 3]), torch.Size([2]))
    """

    def __init__(self, x_dim: int, hidden: int, posterior: Posterior, decoder: nn.Module, dropout: float = 0.0) -> None:
        """Put the parts together.

        Args:
            x_dim: number of features of a node, >= 1.
            hidden: width of the hidden layer, >= 1, which is the number of features that `posterior` reads.
            posterior: head from h to q(z|x, A) of each node; it brings the prior.
            decoder: module from z, (N, ambient_dim), and pairs, (2, n), to logits of edges, (n,).
            dropout: probability with which training zeroes each input of a convolution, in [0, 1).

        Raises:
            ValueError: if a size is not an integer >= 1, or `dropout` is out of range.
        """
        super().__init__()
        if check_number("dropout", dropout, least=0) >= 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout!r}")
        self.weight = nn.Parameter(torch.empty(check_integer("x_dim", x_dim), check_integer("hidden", hidden)))
        nn.init.xavier_uniform_(self.weight)
        self.posterior = posterior
        self.decoder = decoder
        self.dropout = dropout

    def encode(self, x: Tensor, adjacency: Tensor) -> Distribution:
        """Return q(z|x, A) of all nodes: batch shape (N,), event shape (ambient_dim,).

        Args:
            x: features, (N, x_dim), dense or sparse (COO, coalesced).
            adjacency: from `normalized_adjacency`, (N, N), sparse.

        Raises:
            ValueError: if `x` or `adjacency` has another shape.
        """
        if x.ndim != 2 or x.shape[1] != len(self.weight):
            raise ValueError(f"x must have shape (N, {len(self.weight)}), got {tuple(x.shape)}")
        if adjacency.shape != (len(x), len(x)):
            raise ValueError(f"adjacency must have shape {(len(x), len(x))}, got {tuple(adjacency.shape)}")
        hidden = torch.relu(adjacency @ (self._drop(x) @ self.weight))  # (N, hidden)
        return self.posterior(adjacency @ self._drop(hidden))

    def decode(self, z: Tensor, pairs: Tensor) -> Tensor:
        """Return the probability of an edge for each of the `pairs`, (2, n), of nodes with latents z: (n,)."""
        return torch.sigmoid(self.decoder(z, pairs))

    def _drop(self, inputs: Tensor) -> Tensor:
        if not (self.training and self.dropout):
            return inputs
        if not inputs.is_sparse:
            return F.dropout(inputs, self.dropout)
        kept = F.dropout(inputs.values(), self.dropout)
        return torch.sparse_coo_tensor(
            inputs.indices(),
            kept,
            inputs.shape,
            is_coalesced=True,
            check_invariants=False,  # they held before
        )

    def extra_repr(self) -> str:
        """The settings shown in the model's repr."""
        return f"x_dim={self.weight.shape[0]}, hidden={self.weight.shape[1]}, dropout={self.dropout}"


def gcn_vgae(kind: str, d: int, *, x_dim: int, hidden: int = 32, dropout: float = 0.0) -> VGAE:
    """Build the paper's network for graphs: x_dim-32 by graph convolutions, a posterior head, inner products.

    Args:
        kind: posterior, a letter of a head with a density (`posteriors.laws`): "s" von Mises-Fisher, "n" Gaussian,
            "ps" power spherical, ...
        d: dimension of the latent space, >= 1; on the sphere S^d, where "s" and "ps" live, z has d + 1 coordinates.
        x_dim: number of features of a node, >= 1.
        hidden: width of the hidden layer, >= 1.
        dropout: probability with which training zeroes each input of a convolution, in [0, 1). With 0 our figures on
            Cora and Citeseer are near those of Kipf and Welling, with 0.5 near those of Davidson et al. (Table 4).

    Raises:
        ValueError: if `kind` is unknown, a size is not an integer >= 1, or `dropout` is out of range.

    Examples:
        >>> from hvae_tutorial.models import gcn_vgae
        >>> model = gcn_vgae("s", 2, x_dim=4)
        >>> model.posterior.ambient_dim, round(model.decoder.scale.item(), 4)
        (3, 3.0)
    """
    posterior = POSTERIORS[check_choice("kind", kind, laws())](check_integer("hidden", hidden), d)
    # Of z under the prior, whose mean is 0: d in the plane, 1 on the sphere.
    square_norm = posterior.d if posterior.metric == "euclidean" else 1
    decoder = InnerProductDecoder(scale=posterior.ambient_dim / square_norm)
    return VGAE(x_dim, hidden, posterior, decoder, dropout=dropout)
