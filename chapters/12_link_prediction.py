# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The links that are missing
#
# *Rub out a few links of a network. Can a model that puts every node on a sphere, near to its friends, say where they
# were?*
#
# **You will be able to**
#
# - build a graph convolution from an adjacency matrix, and say why it never explodes;
# - write down the ELBO of a graph, and what the usual reweighing does to it;
# - put the nodes on a sphere, and give the inner product the scale and the offset that it needs there;
# - read the paper's Table 4 beside ours.
#
# **You need**: calculus, matrices, chapters [7](07_n_vae.ipynb) and [8](08_s_vae.ipynb);
# [chapter 9](09_unsupervised.ipynb) for the table.
#
# **Time**

# %%
import math

import networkx as nx
import numpy as np
import torch
from IPython.display import Markdown, display
from sklearn.metrics import average_precision_score, roc_auc_score
from torch.nn import functional as F

from hvae_tutorial import plotting, records
from hvae_tutorial.data import load, split_edges
from hvae_tutorial.distributions import HypersphericalUniform
from hvae_tutorial.experiments import paper, results, table4
from hvae_tutorial.models import GaussianPosterior, VonMisesFisherPosterior

BLUE, ORANGE, GREEN, PINK = plotting.CURVE_COLOURS[:4]
COLOUR, NAME = {"n": BLUE, "s": ORANGE}, {"n": "N-VGAE", "s": "S-VGAE"}

# %% [markdown]
# ## A network as a matrix
#
# In 1977 W. W. Zachary described a karate club of 34 members. 78 pairs met outside the lessons. Then the club split in
# two. A graph of $N$ nodes is a symmetric matrix: $a_{uv}=1$ where $u$ and $v$ are linked, else 0.

# %%
karate = load("karate")
N = karate.num_nodes
u, v = karate.edges  # each link once
a = torch.zeros(N, N, dtype=torch.float64)
a[u, v] = a[v, u] = 1
assert torch.equal(a, a.T)
assert a.sum() == 2 * 78
place = np.array([*nx.spring_layout(nx.Graph(karate.edges.T.tolist()), seed=12).values()])
place = place[np.argsort([*nx.Graph(karate.edges.T.tolist())])]  # in the order of the numbers


def draw(axes, colours, **options):
    """Draw the club: a dot for each member."""
    for ends in karate.edges.T:
        axes.plot(*place[ends].T, color="0.8", linewidth=0.7, zorder=1)
    dots = axes.scatter(*place.T, c=colours, s=55, zorder=2, edgecolors="white", linewidths=0.7, **options)
    axes.set_axis_off()
    return dots


# %%
figure, axes = plotting.subplots(size=(7, 3.6))
draw(axes, [BLUE if side == 0 else ORANGE for side in karate.labels])
for member, name, corner in ((0, "the instructor", (0.7, 0.88)), (33, "the president", (0.02, 0.92))):
    line = {"arrowstyle": "-", "color": "0.4", "shrinkB": 4}
    axes.annotate(name, place[member], corner, textcoords="axes fraction", arrowprops=line)
plotting.show(
    figure,
    "**Figure 12.1.** Zachary's Karate club. Colours: the side that each member took when the club split.",
    alt="A network of 34 dots. Blue dots lie around the instructor, orange dots around the president, with few links "
    "between the colours.",
)

# %% [markdown]
# Friends of friends are often friends. A model that is to guess links must see the neighbourhood of a node.
#
# ## A convolution without left and right
#
# On an image, a convolution replaces each pixel by a weighted sum of its neighbours. On a graph no neighbour is left or
# right, so all must count alike. Let the rows of $X$ be features of the nodes. Then $(AX)_u=\sum_v a_{uv}x_v$ sums over
# the neighbours of $u$. Two repairs. The node itself is missing: take $\tilde A=A+I$. And a node with many
# neighbours gets a large sum: with $d_u=\sum_v\tilde a_{uv}$, divide by $\sqrt{d_ud_v}$,
#
# $$
# \hat A=D^{-1/2}(A+I)\,D^{-1/2},\qquad \hat a_{uv}=\frac{\tilde a_{uv}}{\sqrt{d_ud_v}} .
# $$
#
# Why not by $d_u$, a plain mean? Because this $\hat A$ stays symmetric, and its eigenvalues can be bounded. For any
# vector $x$, expand the square, and use $\sum_v\tilde a_{uv}=d_u$:
#
# $$
# \frac12\sum_{u,v}\tilde a_{uv}\Big(\frac{x_u}{\sqrt{d_u}}\mp\frac{x_v}{\sqrt{d_v}}\Big)^2
# =\sum_u x_u^2\mp\sum_{u,v}\hat a_{uv}x_ux_v=x^\top(I\mp\hat A)\,x .
# $$
#
# The left side is not negative. With the minus sign: no eigenvalue of $\hat A$ is above 1, and $x_u=\sqrt{d_u}$ has
# just 1. With the plus sign: none is below $-1$; and $-1$ itself would need $x_u/\sqrt{d_u}=-x_u/\sqrt{d_u}$, because
# every node is its own neighbour, so $x=0$. **The eigenvalues lie in $(-1,1]$**: layers may be stacked, and nothing
# explodes.

# %%
with_self = a + torch.eye(N)
d = with_self.sum(1)
A_hat = with_self / (d[:, None] * d).sqrt()

x = torch.randn(N, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
scaled = x / d.sqrt()
for sign in (1, -1):
    squares = 0.5 * (with_self * (scaled[:, None] - sign * scaled) ** 2).sum()
    assert torch.isclose(squares, x @ (torch.eye(N) - sign * A_hat) @ x)
assert torch.allclose(A_hat @ d.sqrt(), d.sqrt())
eigenvalues = torch.linalg.eigvalsh(A_hat)
print(f"eigenvalues from {eigenvalues[0]:.2f} to {eigenvalues[-1]:.2f}")
assert -1 < eigenvalues[0] < eigenvalues[-1] < 1 + 1e-12

# %%
spread = [torch.eye(N, dtype=torch.float64)[16]]  # one member, on the rim
for _ in range(2):
    spread.append(A_hat @ spread[-1])
steps = nx.single_source_shortest_path_length(nx.Graph(karate.edges.T.tolist()), 16)
for k, values in enumerate(spread):
    assert {node for node in range(N) if values[node] > 0} == {node for node, far in steps.items() if far <= k}

figure, axes = plotting.subplots(1, 3, size=(7, 2.6))
for k, (panel, values) in enumerate(zip(axes, spread, strict=True)):
    dots = draw(panel, values, cmap="Blues", vmin=-0.05, vmax=0.4)
    panel.set_title(("x", "$\\hat{A}$x", "$\\hat{A}^2$x")[k])
plotting.show(
    figure,
    "**Figure 12.2.** A one at a single member, and what one and two multiplications make of it. The darker, the more.",
    alt="Three copies of the network. In the first one dot is dark, in the second its neighbours have colour too, "
    "in the third a handful of dots two steps away.",
)

# %% [markdown]
# Each multiplication carries news one step further. A **graph convolution** is $\hat A$, then a linear map of each row,
# then a nonlinearity. Kipf and Welling (2016) use two of them,
#
# $$
# H=\mathrm{ReLU}(\hat AXW),\qquad \mu=\hat AHW_\mu,\qquad \rho=\hat AHW_\rho,
# $$
#
# and $\mu_u$, $\rho_u$ are the parameters of $q(z_u)$. Products of matrices may be bracketed as we like,
# $\hat A(HW_\mu)=(\hat AH)W_\mu$. So the second layer is nothing but **the posterior head of
# [chapter 7](07_n_vae.ipynb) or [8](08_s_vae.ipynb) on the features $\hat AH$**: again the head alone decides between
# plane and sphere. A graph without features has $X=I$: then $\hat AXW=\hat AW$, and each node has a learned vector that
# its neighbours hear of.
#
# ## The ELBO of a graph
#
# Give each node its $z_u$ from the prior, and link $u$ and $v$ with the probability $\sigma(\ell_{uv})$,
# $\ell_{uv}=z_u\cdot z_v$, $\sigma(\ell)=1/(1+e^{-\ell})$: nodes that point the same way are friends. As
# $1-\sigma(\ell)=\sigma(-\ell)$, Jensen's inequality of chapter 7 gives, with an independent $q(z_u)$ for each node,
#
# $$
# \log p(A)\ \ge\ E_q\Big[\sum_{u<v}a_{uv}\log\sigma(\ell_{uv})+(1-a_{uv})\log\sigma(-\ell_{uv})\Big]
# -\sum_u\mathrm{KL}(q(z_u)\Vert p) .
# $$
#
# It is rarely used as it stands: most pairs are no links. In the citation graph Cora, 4,488 of 3.7 million pairs are
# training links, and a model that always says no looks excellent. Kipf and Welling weigh the ones. With $a_{uu}=1$, and
# $S=\sum_{u\ne v}a_{uv}$, their loss over all ordered pairs is
#
# $$
# \mathcal C=\frac{N^2}{2(N^2-S)}\cdot\frac1{N^2}\sum_{u,v}\Big[-w\,a_{uv}\log\sigma(\ell_{uv})
# -(1-a_{uv})\log\sigma(-\ell_{uv})\Big]+\frac1{N^2}\sum_u\mathrm{KL}_u,\qquad w=\frac{N^2-S}S .
# $$
#
# Put $w$ in, and the factors cancel:
#
# $$
# \mathcal C=\frac12\Big[\frac1S\sum_{a_{uv}=1}-\log\sigma(\ell_{uv})
# +\frac1{N^2-S}\sum_{a_{uv}=0}-\log\sigma(-\ell_{uv})\Big]+\frac1{N^2}\sum_u\mathrm{KL}_u .
# $$
#
# Links and non-links count alike, each with (nearly) its mean. Multiplied by $N^2$, it is the bound above, negated,
# except that **each link counts as if it had been seen $N^2/S$ times**. The KL is counted once. So $-\mathcal C$ is no
# bound on $\log p(A)$: it is a bound on another, much larger story, in which the prior hardly matters.
#
# What do the weights do to the answer? For a pair that is linked with probability $p$, the loss
# $-wp\log\sigma(\ell)-(1-p)\log\sigma(-\ell)$ has the derivative $-wp\,\sigma(-\ell)+(1-p)\,\sigma(\ell)$, zero where
# $\sigma(\ell)/\sigma(-\ell)=e^\ell=wp/(1-p)$:
#
# $$
# \ell=\log\frac p{1-p}+\log w .
# $$
#
# All logits are too high by $\log w$. The order of the pairs stays; to read probabilities, subtract it.
#
# Karate has few links to hide. For the rest we take the 77 characters of *Les Misérables* and the 254 pairs who meet in
# a chapter. `split_edges` hides a tenth for test and a twentieth for validation, and draws as many pairs that are no
# links.

# %%
novel = load("les-miserables")
N = novel.num_nodes
split = split_edges(novel, seed=0)
E = split.train.shape[1]


def matrix(edges, N):
    """a with its ones on the diagonal, and A_hat."""
    a = torch.eye(N)
    a[edges[0], edges[1]] = a[edges[1], edges[0]] = 1
    return a, a / (a.sum(1)[:, None] * a.sum(1)).sqrt()


a, A_hat = matrix(split.train, N)
S = 2 * E
w = (N**2 - S) / S


def cost_of(logits, kl):
    """C, in the form with the two means."""
    ones, zeros = (F.logsigmoid(logits) * a).sum(), (F.logsigmoid(-logits) * (1 - a)).sum()
    return -0.5 * (ones / S + zeros / (N**2 - S)) + kl.sum() / N**2


logits, kl = 3 * torch.randn(N, N), torch.rand(N)  # any
entropy = F.binary_cross_entropy_with_logits(logits, a, pos_weight=torch.tensor(w))  # a mean over pairs
assert torch.isclose(cost_of(logits, kl), N**2 / (2 * (N**2 - S)) * entropy + kl.mean() / N)
p, ell = 0.02, torch.linspace(-6, 8, 100_001)
loss = -w * p * F.logsigmoid(ell) - (1 - p) * F.logsigmoid(-ell)
assert abs(ell[loss.argmin()] - math.log(p / (1 - p)) - math.log(w)) < 0.01
print(f"{E} training links, {N**2 - S} ordered pairs without: w = {w:.0f}")


# %% [markdown]
# The whole model, on dense matrices. `s` and `b` are for later: now $\ell=s\,z_u\cdot z_v+b$ with $s=1$, $b=0$.


# %%
def train(kind, s=1.0, learned=False, epochs=200, d=8, seed=0):
    """Train a VGAE; return q(z) of all nodes, s, b and the last cost."""
    torch.manual_seed(seed)
    W = torch.nn.init.xavier_uniform_(torch.empty(N, 32)).requires_grad_()  # X = I
    head = {"n": GaussianPosterior, "s": VonMisesFisherPosterior}[kind](32, d)
    log_s, b = torch.tensor(s).log(), torch.zeros(())
    parameters = [W, *head.parameters()]
    if learned:
        parameters += [log_s.requires_grad_(), b.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, lr=0.01)
    for _ in range(epochs):
        q = head(A_hat @ torch.relu(A_hat @ W))
        z = q.rsample()
        cost = cost_of(log_s.exp() * z @ z.T + b, head.kl(q))
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
    with torch.no_grad():
        return head(A_hat @ torch.relu(A_hat @ W)), log_s.exp(), b.detach(), cost.item()


def logits_of(model, pairs=None):
    """Logits at the posterior means: of some pairs, or of all."""
    q, s, b, _ = model
    logits = (s * q.mean @ q.mean.T + b).detach()
    return logits if pairs is None else logits[pairs[0], pairs[1]]


def auc_and_ap(model):
    """Areas under the ROC and the precision-recall curve, for the hidden links and as many non-links."""
    scores = torch.cat([logits_of(model, split.test), logits_of(model, split.test_non_edges)])
    truth = [1] * split.test.shape[1] + [0] * split.test.shape[1]
    return roc_auc_score(truth, scores), average_precision_score(truth, scores)


plain = {kind: train(kind) for kind in "ns"}
# %% tags=["nbval-ignore-output"]
for kind, model in plain.items():
    auc, ap = auc_and_ap(model)
    print(f"{NAME[kind]}: AUC {100 * auc:.0f}%, AP {100 * ap:.0f}% on {split.test.shape[1]} hidden links")
# %%
assert all(auc_and_ap(model)[0] > 0.75 for model in plain.values())

# %% [markdown]
# AUC is the probability that a hidden link gets a higher logit than a non-link: 50% is guessing. Both models find links
# that they never saw. The decoder is linear in each end, and the ends are independent under $q$, so the logit at the
# means $E[z_u]$, $E[z_v]$ is the *expected* logit: $E[z_u\cdot z_v]=E[z_u]\cdot E[z_v]$. On the sphere the means lie
# inside it, nearer to the centre where $\kappa$ is small ([chapter 2](02_von_mises_fisher.ipynb)).

# %%
q = plain["s"][0]
draws = torch.einsum("kud,kvd->uv", *(q.sample((4000,)) for _ in range(2))) / 4000
error = (draws - (q.mean @ q.mean.T).detach()).abs()
assert error.max() < 0.1  # six standard errors: an inner product of unit vectors has a deviation below 1
assert (q.mean.norm(dim=1) < 1).all()

# %% [markdown]
# ## The trap
#
# The S-VGAE above has a good AUC. Now ask it for probabilities. On the sphere $z_u\cdot z_v$ is a cosine, in $[-1,1]$:
#
# $$
# 0.27\approx\sigma(-1)\le\sigma(z_u\cdot z_v)\le\sigma(1)\approx0.73 .
# $$
#
# **It cannot say no.** Two characters at opposite poles, who never meet, are linked with probability 0.27, whatever it
# learns. Each pair costs at least $\log(1+e^{-1})=0.313$ nats. A model that knows nothing but the share $r$ of links
# pays $-r\log r-(1-r)\log(1-r)$ for a pair:

# %%
floor = math.log(1 + math.exp(-1))
for name, links, nodes in (("les-miserables", E, N), ("cora", 4488, 2708)):
    pairs = nodes * (nodes - 1) // 2
    r = links / pairs
    knows_nothing = -r * math.log(r) - (1 - r) * math.log(1 - r)
    print(f"{name}: at least {floor:.3f} nats a pair; the share alone: {knows_nothing:.3f}")
    assert floor > 1.1 * knows_nothing
assert abs(floor / knows_nothing - 33) < 1  # on Cora
p = torch.sigmoid(logits_of(plain["s"]))
assert 0.268 < p.min() < p.max() < 0.732

# %% [markdown]
# The best sphere without a scale explains Cora 33 times worse than a constant does. Nobody notices, because AUC and AP
# see the order of the pairs alone, and $\sigma(\cos)$ orders as well as anything. In the plane this does not happen:
# $|z|$ can grow. The sphere gave the radius away, and has to get it back once, for all nodes together:
#
# $$
# \ell_{uv}=s\,z_u\cdot z_v+b,\qquad s=e^{\alpha}>0 ,
# $$
#
# with $\alpha$ and $b$ learned: one scale, one offset. The logits now range over $[b-s,b+s]$.
#
# Where should $s$ start? Take $z$, $z'$ from the prior. In the plane $z\cdot z'$ is a sum of $d$ products of
# independent standard normals, with mean 0 and variance $d$. On the sphere $E[z'z'^\top]$ commutes with every rotation,
# so it is a multiple of $I$, and its trace is $E|z'|^2=1$: it is $I/m$. Hence
#
# $$
# E\big[(z\cdot z')^2\big]=E\big[z^\top E[z'z'^\top]\,z\big]=\frac1m .
# $$
#
# With $s=m$ the logits have variance $m^2/m=m$: as in a plane of $m$ coordinates, and as on a sphere of radius
# $\sqrt m$.

# %%
torch.manual_seed(2)
for m in (3, 9, 17):
    z, other = HypersphericalUniform(m).sample((2, 200_000))
    variance = (m * (z * other).sum(1)).square().mean()
    assert abs(variance / m - 1) < 0.02  # five standard errors
cured = {"n": train("n", learned=True), "s": train("s", s=9.0, learned=True)}

# %% tags=["nbval-ignore-output"]
for title, models in (("s = 1, b = 0", plain), ("learned", cured)):
    for kind, model in models.items():
        print(f"{title:12s} {NAME[kind]}: cost {model[3]:.2f}, AUC {100 * auc_and_ap(model)[0]:.0f}%")
print(f"the sphere's s = {cured['s'][1]:.1f}, b = {cured['s'][2]:.1f}")

# %%
assert cured["s"][3] < plain["s"][3] - 0.1  # the cost: lower
assert all(abs(auc_and_ap(cured[kind])[0] - auc_and_ap(plain[kind])[0]) < 0.12 for kind in "ns")  # the order: as good

# %%
off = ~torch.eye(N, dtype=torch.bool)
figure, axes = plotting.subplots(1, 2, size=(7, 3), sharey=True)
for panel, (title, model) in zip(axes, (("s = 1, b = 0", plain["s"]), ("s and b learned", cured["s"])), strict=True):
    p = torch.sigmoid(logits_of(model))
    bins = np.linspace(0, 1, 41)
    panel.hist(p[off & (a == 0)], bins, density=True, color="0.6", label="no link")
    panel.hist(p[off & (a == 1)], bins, density=True, color=ORANGE, alpha=0.7, label="link")
    panel.set(xlabel=r"$\sigma(\ell)$ at the means", title=title, xlim=(0, 1), ylim=(0, 13))
axes[0].set_ylabel("density")
axes[0].text(0.18, 9.5, "no link", color="0.4")
axes[0].text(0.76, 9.5, "link", color=ORANGE)
plotting.show(
    figure,
    "**Figure 12.3.** What two S-VGAEs say of the pairs that they were trained on.",
    alt="Left: both histograms lie between 0.27 and 0.73. Right: pairs without a link gather near 0, links near 1.",
)
p = torch.sigmoid(logits_of(cured["s"]))
assert p[off & (a == 0)].median() < 0.25  # at s = 1, b = 0 none was below 0.27
assert p[off & (a == 1)].median() > 0.75

# %% [markdown]
# These are probabilities in a world with as many links as non-links. For this novel, subtract $\log w$ from the logits.
#
# ## Twenty thousand nodes
#
# Pubmed has 19,717 nodes and 389 million ordered pairs: too many for every step. Links are few, so their sums are done
# exactly. For the others write $f_{uv}=-\log\sigma(-\ell_{uv})$, draw $M$ pairs uniformly from all $N^2$, and subtract
# what the links contribute:
#
# $$
# \sum_{a_{uv}=0}f_{uv}=\sum_{u,v}f_{uv}-\sum_{a_{uv}=1}f_{uv}
# \approx\frac{N^2}M\sum_{i=1}^Mf_{u_iv_i}-\sum_{a_{uv}=1}f_{uv} .
# $$
#
# Each term of the sum over $i$ has the mean $\frac1{N^2}\sum_{u,v}f_{uv}$, so the estimate is unbiased, for any $M$,
# and so is its gradient. Ten pairs for each link will do.

# %%
f = -F.logsigmoid(-logits_of(cured["s"])).double()
exact = (f * (1 - a)).sum()
M = 10 * E
i = torch.randint(N, (2, 2000, M), generator=torch.Generator().manual_seed(3))
estimates = N**2 * f[i[0], i[1]].mean(1) - (f * a).sum()
print(f"exact {exact:.0f}; one estimate is off by {100 * estimates.std() / exact:.0f}%, as a standard deviation")
assert abs(estimates.mean() - exact) < 4 * estimates.std() / math.sqrt(2000)  # four standard errors

# %% [markdown]
# ## The library's version
#
# `gcn_vgae` puts the parts together, with a sparse $\hat A$; `graph_elbo` is $-\mathcal C$. Handed all pairs instead of
# random ones, it is exact.

# %%
from hvae_tutorial.models import gcn_vgae, normalized_adjacency
from hvae_tutorial.objectives import all_pairs, graph_elbo, uniform_pairs

sparse = normalized_adjacency(split.train, N)
assert torch.allclose(sparse.to_dense(), A_hat)
for kind in "ns":
    torch.manual_seed(4)
    model = gcn_vgae(kind, d=8, x_dim=N)
    assert math.isclose(model.decoder.scale.item(), {"n": 1, "s": 9}[kind], rel_tol=1e-6)
    q = model.posterior(A_hat @ torch.relu(A_hat @ model.weight))  # ours
    assert torch.allclose(q.mean, model.encode(novel.features, sparse).mean, atol=1e-6)
    torch.manual_seed(5)
    z = q.rsample()
    mine = cost_of(model.decoder.scale * z @ z.T + model.decoder.offset, model.posterior.kl(q))
    torch.manual_seed(5)
    theirs = graph_elbo(model, novel.features, sparse, split.train, all_pairs(N))
    assert torch.isclose(-theirs.elbo, mine, rtol=1e-5)
    some = graph_elbo(model, novel.features, sparse, split.train, uniform_pairs(N, M))
    assert abs(some.elbo / theirs.elbo - 1) < 0.5  # another draw of z, and of the pairs

# %% [markdown]
# What does it think is missing? The pairs without a link, the most probable first:

# %% tags=["nbval-ignore-output"]
names = [*nx.les_miserables_graph()]
free = logits_of(cured["s"]).masked_fill(a == 1, -torch.inf).triu()
for code in free.flatten().topk(6).indices.tolist():
    pair = divmod(code, N)
    hidden = list(pair) in novel.edges.T.tolist()
    print(" and ".join(names[node] for node in pair), "(hidden by us)" if hidden else "")

# %%
best = free.flatten().masked_fill(free.flatten() == 0, -torch.inf).topk(30).indices
hits = sum([code // N, code % N] in novel.edges.T.tolist() for code in best.tolist())
assert hits >= 3  # by chance one of 30: 37 of 2,709 pairs without a training link are links

# %% [markdown]
# ## Table 4
#
# The paper's graphs are citations between papers: Cora, Citeseer, Pubmed, with words as features. $d=16$, 32 hidden
# units, 200 epochs, Adam with step 0.01, the last epoch, ten random splits. From a shell:
#
# ```sh
# hvae reproduce table4 --data cora citeseer pubmed --preset paper
# ```
#
# Kipf and Welling (2016) invented the N-VGAE and report their own figures. Davidson et al. (2018) report both models.
# Ours come from the records, whose number of runs is shown.

# %% tags=["nbval-ignore-output"]
ours = records.load(experiment="table4", dropout=0.0)
display(Markdown(table4.table(ours).markdown()))

# %%
cell = {}
for data, kind in paper.TABLE4:
    found = [r.results for r in ours if (r.settings["data"], r.settings["model"]) == (data, kind)]
    cell[data, kind] = {name: 100 * np.array([r[name] for r in found]) for name in ("auc", "ap")}
assert all("dirty" not in r.provenance["commit"] for r in ours)
assert cell["cora", "n"]["auc"].mean() >= 90.4  # one point below Kipf and Welling: less would be a mistake of ours

# %%
figure, axes = plotting.subplots(1, 3, size=(7, 3.2), sharey=True)
for panel, data in zip(axes, ("cora", "citeseer", "pubmed"), strict=True):
    for x, kind in enumerate("ns"):
        values = cell[data, kind]["auc"]
        panel.plot(np.linspace(x - 0.12, x + 0.12, len(values)), values, "o", color=COLOUR[kind], markersize=4)
        panel.plot(x + 0.3, paper.TABLE4[data, kind]["auc"], "_", color="black", markersize=14, markeredgewidth=2)
    panel.plot(0.3, paper.KIPF_WELLING[data, "n"]["auc"], "_", color="0.55", markersize=14, markeredgewidth=2)
    panel.set(xticks=(0, 1), xticklabels=("N-VGAE", "S-VGAE"), xlim=(-0.4, 1.6), title=data.capitalize())
axes[0].set_ylabel("AUC on test edges (%)")
plotting.show(
    figure,
    "**Figure 12.4.** A dot for each of our runs; a black bar for the paper, a grey one for Kipf and Welling.",
    alt="Three panels with dots for the runs of the two models, and bars for the published figures.",
)

# %% [markdown]
# Which published figures are more than two of our standard deviations from our mean?

# %%
for (data, kind), measured in cell.items():
    for source, table in (("paper", paper.TABLE4), ("Kipf and Welling", paper.KIPF_WELLING)):
        for name, values in measured.items():
            if (data, kind) in table:
                gap = values.mean() - table[data, kind][name]
                if abs(gap) > 2 * values.std(ddof=1):
                    print(f"{data}, {NAME[kind]}, {name.upper()}: ours {gap:+.1f} against {source}")

# %% [markdown]
# Here is a suspect. Each link counts $N^2/S$ times, the KL once: nothing keeps the model from learning its training
# links by heart. Then AUC on the validation edges should rise and fall. And what fights such learning should lift
# the end of the curve: *dropout* sets each input of a convolution to zero with a probability, here 1/2, anew in every
# step. The protocol has none.

# %%
dropped, fallen = records.load(experiment="table4", dropout=0.5), {}
figure, axes = plotting.subplots(1, 2, size=(7, 3), sharey=True)
for panel, data in zip(axes, ("cora", "citeseer"), strict=True):
    for kind in "ns":
        for found, style in ((ours, "-"), (dropped, "--")):
            runs = [r for r in found if (r.settings["data"], r.settings["model"]) == (data, kind)]
            runs = [r.history for r in runs if r.settings["seed"] < 3]  # the same splits
            curve = 100 * np.mean([h["validation_auc"] for h in runs], axis=0)
            panel.plot(runs[0]["epoch"], curve, style, color=COLOUR[kind])
            fallen[data, kind, style] = curve.max() - curve[-1]
    panel.set(xlabel="epoch", title=data.capitalize(), ylim=(84, 98))
axes[0].set_ylabel("validation AUC (%)")
axes[1].text(75, 84.8, "solid: as in the table\ndashed: with dropout 0.5", color="0.3")
for height, kind in ((87.6, "n"), (86.3, "s")):
    axes[0].text(150, height, NAME[kind], color=COLOUR[kind])
plotting.show(
    figure,
    "**Figure 12.5.** AUC on the validation edges during training, means over the splits 0, 1 and 2.",
    alt="In both panels the dashed S-VGAE ends highest. Solid curves of the N-VGAE rise fast and then fall slowly; "
    "dashed, it ends higher on Cora and lower on Citeseer.",
)
assert all(fallen[data, "n", "-"] > 0.4 for data in ("cora", "citeseer"))  # the plane learns by heart
assert all(fallen[data, "s", "--"] < 0.2 for data in ("cora", "citeseer"))  # the sphere with dropout still rises

# %% tags=["nbval-ignore-output"]
display(Markdown(table4.table(dropped).markdown()))

# %%
with_dropout, on_validation = {}, {}
for data in ("cora", "citeseer"):
    for kind in "ns":
        for found in (ours, dropped):
            runs = [r for r in found if (r.settings["data"], r.settings["model"]) == (data, kind)]
            runs = [r.results for r in runs if r.settings["seed"] < 3]
            if found is dropped:
                with_dropout[data, kind] = 100 * np.mean([r["auc"] for r in runs])
            on_validation[data, kind, found is dropped] = 100 * np.mean([r["validation_auc"] for r in runs])
assert all(abs(auc - paper.TABLE4[cell_]["auc"]) < 1.5 for cell_, auc in with_dropout.items())
assert all(with_dropout[data, "s"] > cell[data, "s"]["auc"].mean() + 0.7 for data in ("cora", "citeseer"))
assert paper.KIPF_WELLING["pubmed", "n"]["auc"] < cell["pubmed", "n"]["auc"].mean() < paper.TABLE4["pubmed", "n"]["auc"]
assert cell["pubmed", "s"]["auc"].min() > paper.TABLE4["pubmed", "s"]["auc"]
assert abs(cell["pubmed", "s"]["auc"].mean() - cell["pubmed", "n"]["auc"].mean()) < 0.6
for data in ("cora", "citeseer"):
    assert results.welch_p_value(*(list(cell[data, kind]["auc"]) for kind in "sn")) < 0.001
    assert cell[data, "s"]["auc"].mean() > cell[data, "n"]["auc"].mean() + 1
    assert with_dropout[data, "s"] > with_dropout[data, "n"] + 1
missed = [abs(cell[key]["auc"].mean() - paper.TABLE4[key]["auc"]) > 1.5 for key in with_dropout]
assert sum(missed) == 3  # without dropout
assert paper.TABLE4["cora", "n"]["auc"] > paper.KIPF_WELLING["cora", "n"]["auc"] + 1
assert paper.TABLE4["citeseer", "n"]["auc"] < paper.KIPF_WELLING["citeseer", "n"]["auc"]
assert on_validation["citeseer", "s", True] > on_validation["citeseer", "s", False] + 1
assert on_validation["citeseer", "n", True] < on_validation["citeseer", "n", False]

# %% [markdown]
# The plane without dropout does rise and fall. With dropout the sphere gains a point or two on both graphs, and all
# four cells come within 1.5 points of the paper's AUC, which three of them did not before. The likeliest reading: **the
# paper's models were trained with dropout**, or with something that does the same. That would also explain why its
# N-VGAE is better than Kipf and Welling's on Cora, and not on Citeseer: there dropout does not help the plane, on the
# validation edges either. Three splits are few, and a reading is no proof.
#
# On Pubmed our N-VGAE lies between Kipf and Welling's figure and the paper's, and our S-VGAE above the paper's. We do
# not know why. The paper has the plane ahead there by a point; our splits do not show it.
#
# What stands without any choice of ours: at equal settings the sphere is ahead on Cora and on Citeseer, with and
# without dropout; on Pubmed the two are level.
#
# ## Test yourself
#
# **1.** Double every logit. What happens to AUC, AP and $\mathcal C$?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# AUC and AP stay: the order does. $\mathcal C$ changes. So they cannot tell whether a scale is right.
#
# </details>
#
# **2.** An isolated node has no neighbours. What is its row of $\hat A$, and what does its $q(z_u)$ depend on?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# A one on the diagonal, as $d_u=1$. On its own features alone. Citeseer has 48 such nodes, and 15 of them have no
# features either: their posterior is the same for all.
#
# </details>
#
# ## Exercises
#
# Coding exercises will stand here: $\hat A$ as a sparse matrix (difficulty 2, 15 minutes); the unbiased sum over
# non-links (3, 20 minutes); the best epoch by validation instead of the last (3, 30 minutes).
#
# ## Summary
#
# 1. A graph convolution is $\hat A$, a linear map, a nonlinearity; $\hat A$ has its eigenvalues in $(-1,1]$.
# 2. The second layer is a posterior head on $\hat AH$: plane or sphere is decided there, as always.
# 3. The reweighed loss counts each link $N^2/S$ times: no bound, a weak prior, logits too high by $\log w$.
# 4. On the sphere a logit needs a scale and an offset. AUC does not notice when they are missing; probabilities do.
# 5. Ours repeats Kipf and Welling on Cora and Citeseer; with dropout 0.5 it repeats the paper. The sphere is ahead.
#
# ## References
#
# - Kipf and Welling (2016), *Variational Graph Auto-Encoders*, arXiv:1611.07308: sections 1 (model) and 2 (Table 1).
# - Kipf and Welling (2017), arXiv:1609.02907: equation 2 (the convolution), section 3.
# - Davidson et al. (2018), arXiv:1804.00891: section 5.4, Table 4. We quote its N-VGAE figures from memory.
# - Zachary (1977), *J. Anthropological Research* 33, 452-473; Knuth (1993), *The Stanford GraphBase*: the two graphs.
