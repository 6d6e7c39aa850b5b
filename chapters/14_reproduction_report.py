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
# # The report
#
# *The paper prints about 150 numbers. Which of them stand, which do not, and how would you catch us if we were wrong?*
#
# **You will be able to**
#
# - say how far a run may lie from a published mean before it means something;
# - read what we find beside what the paper claims, table by table;
# - say what each known fault of public code does to such a table;
# - repeat any number here, and see where it came from.
#
# **You need**: chapters [9](09_unsupervised.ipynb) to [12](12_link_prediction.ipynb); Student's law.
#
# **Time**

# %%
import math
from collections import defaultdict

import numpy as np
import torch
from IPython.display import Markdown, display
from scipy.special import ive
from scipy.stats import t as student

from hvae_tutorial import plotting, records
from hvae_tutorial.experiments import barrier, names, paper, results, table1, table2, table3, table4
from hvae_tutorial.special import kl_to_uniform
from hvae_tutorial.sphere import log_surface_area

BLUE, ORANGE, GREEN = plotting.CURVE_COLOURS[:3]
COLOUR = {"n": BLUE, "s": ORANGE}

# %% [markdown]
# ## When is a difference a difference?
#
# The paper gives a mean $\bar x$ and a standard deviation $s$ over $n$ runs. We have $k$ runs with the mean $\bar y$.
# If ours are draws from the same normal law, then $\bar y - \bar x$ has the variance $\sigma^2(1/k+1/n)$, and
#
# $$
# t=\frac{\bar y-\bar x}{s\sqrt{1/k+1/n}}
# $$
#
# has Student's law with $n-1$ degrees of freedom, since $s$ is estimated from the paper's runs alone.


# %%
def t_value(ours, mean, deviation, paper_runs):
    return (np.mean(ours) - mean) / (deviation * math.sqrt(1 / len(ours) + 1 / paper_runs))


rng = np.random.default_rng(0)
theirs, ours = rng.standard_normal((40_000, 10)), rng.standard_normal((40_000, 2))
simulated = (ours.mean(1) - theirs.mean(1)) / (theirs.std(1, ddof=1) * math.sqrt(1 / 2 + 1 / 10))
outside = np.mean(np.abs(simulated) > student.isf(0.025, 9))
print(f"outside of Student's 95%: {100 * outside:.1f}% of 40,000 honest comparisons")
assert abs(outside - 0.05) < 0.005  # standard error 0.001
assert t_value([1.0, 3.0], 1.0, 2.0, 10) == 1 / (2 * math.sqrt(0.6))

beyond_two = 2 * student.sf(2, 9)
print(f"|t| > 2 by chance: {100 * beyond_two:.1f}% of cells; of 40 cells, {40 * beyond_two:.0f} on average")

# %% [markdown]
# Two standard errors are no proof: of forty honest cells about three lie beyond them. So a table must be read whole.
# Are the differences scattered about zero, or do they lean to one side?
#
# ## Table 1: unsupervised learning
#
# **The claim.** On MNIST the S-VAE has the higher likelihood for $d\le10$, and falls behind at 20 and 40.
#
# **What we have.** Records of the full protocol. Seeds cost hours, so each cell says how many runs it has; where it has
# one, so does the text.

# %% tags=["nbval-ignore-output", "words"]
mnist = records.load(experiment="table1", data="mnist")
display(Markdown(table1.table(mnist).markdown()))

# %%
cells = defaultdict(list)
for record in mnist:
    cells[record.settings["d"], record.settings["model"]].append(record.results)
measures = {
    "ELBO": lambda r: r["elbo"],
    "RE": lambda r: r["reconstruction"],
    "KL": lambda r: r["kl"],
    "LL, K = 10": lambda r: r["log_likelihood_10"]["mean"],
    "LL, K = 500": lambda r: r["log_likelihood"]["mean"],
}
terms = {"ELBO": "elbo", "RE": "reconstruction", "KL": "kl"}
ts = {
    (d, model, name): t_value([get(r) for r in runs], *paper.TABLE1[d, model][terms.get(name, "log_likelihood")], 10)
    for (d, model), runs in sorted(cells.items())
    for name, get in measures.items()
}

rows = [cell for cell in sorted(cells) if cell[0] <= 10]  # what the text speaks of

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(7, 3.4))
places = {name: len(measures) - i for i, name in enumerate(measures)}
for (d, model, name), value in ((key, value) for key, value in ts.items() if key[:2] in rows):
    shift = 0.12 * (rows.index((d, model)) - (len(rows) - 1) / 2)
    axes.plot(value, places[name] - shift, {2: "o", 5: "s", 10: "^"}[d], color=COLOUR[model], markersize=7)
axes.axvspan(-2, 2, color="0.5", alpha=0.15, linewidth=0)
axes.axvline(0, color="0.5", linewidth=0.8)
axes.set_yticks(list(places.values()), labels=list(places))
axes.set(xlabel="t: our mean minus the paper's, in standard errors", ylim=(0.4, 5.6))
axes.text(5, 5.2, "N-VAE", color=BLUE, weight="bold")
axes.text(5, 4.75, "S-VAE", color=ORANGE, weight="bold")
axes.text(5, 3.95, "circle d = 2\nsquare d = 5\ntriangle d = 10", fontsize=9, va="center")
close = [c for c in rows if all(abs(ts[*c, name]) < 2 for name in ("ELBO", "RE"))]
leaning = sum(ts[*c, "KL"] > 0 for c in rows)
plotting.show(
    figure,
    "**Figure 14.1.** Our runs of Table 1 against the paper's means. Grey: two standard errors.",
    alt=f"ELBO and RE of {len(close)} of {len(rows)} models lie in the grey band; {leaning} of {len(rows)} KL and all "
    "log-likelihoods with 500 samples lie to the right of zero.",
)

# %% tags=["words"]
for d, model in rows:
    run = cells[d, model][0]
    gaps = [run[name]["mean"] - run["elbo"] for name in ("log_likelihood_10", "log_likelihood")]
    theirs = paper.TABLE1[d, model]["log_likelihood"][0] - paper.TABLE1[d, model]["elbo"][0]
    print(
        f"d = {d:2} {names.vae(model)}, {len(cells[d, model])} run: ELBO {run['elbo']:.2f} "
        f"({run['elbo'] - paper.TABLE1[d, model]['elbo'][0]:+.2f} against the paper), "
        f"KL {run['kl'] - paper.TABLE1[d, model]['kl'][0]:+.2f}; "
        f"LL - ELBO: K = 10 {gaps[0]:.2f}, K = 500 {gaps[1]:.2f}, the paper {theirs:.2f}"
    )
sphere_5 = cells[5, "s"][0]["elbo"] - paper.TABLE1[5, "s"]["elbo"][0]
sign_test = 2 / 2 ** len(rows)
plotting.say(
    f"**What we find.** ELBO and RE of {len(close)} models of {len(rows)} lie within two standard errors of the paper; "
    f"so does the S-VAE at $d=2$ to a hundredth of a nat. **The S-VAE at $d=5$ does not**: its ELBO is "
    f"{-sphere_5:.2f} nats worse, where the paper's spread is {paper.TABLE1[5, 's']['elbo'][1]:.2f}. This is one run, "
    f"which cannot tell a bad seed from a difference in the protocol. And all {len(rows)} KL **lean upwards**: fair "
    f"coins do that, to one side or the other, in {100 * sign_test:.0f}% of tables. The models share a split and a "
    "binarisation of the test images, so this is less than six independent witnesses."
)

# %% tags=["checks"]
for d, model in rows:
    run = cells[d, model][0]
    gaps = [run[name]["mean"] - run["elbo"] for name in ("log_likelihood_10", "log_likelihood")]
    theirs = paper.TABLE1[d, model]["log_likelihood"][0] - paper.TABLE1[d, model]["elbo"][0]
    assert ts[d, model, "LL, K = 500"] > (0 if (d, model) == (10, "s") else 2)
    assert (abs(gaps[0] - theirs) < 0.25) == (d == 5)
    assert (gaps[1] - theirs > 0.6) == ((d, model) != (10, "s"))
    assert abs(run["elbo"] - paper.TABLE1[d, model]["elbo"][0]) < 1.3
assert leaning == len(rows) == 6
assert set(rows) - set(close) == {(5, "s")}
assert abs(cells[2, "s"][0]["elbo"] - paper.TABLE1[2, "s"]["elbo"][0]) < 0.02
assert ts[5, "s", "ELBO"] < -5
assert cells[10, "s"][0]["kl"] - paper.TABLE1[10, "s"]["kl"][0] > 0.45
print("Checked: one model of six is off in ELBO and RE, all KL lean, and ten samples explain the LL at d = 5 alone.")

# %% [markdown]
# LL is another matter. With 500 samples every run of ours lies above the paper's, least so the S-VAE at $d=10$. The
# guess of [chapter 9](09_unsupervised.ipynb), ten samples, can be tried on LL − ELBO, which does not mind a model that
# is a little better or worse; the numbers stand above. At $d=5$ ten samples fit. At $d=2$ the paper's bound gains even
# less from its samples than ours from ten. At $d=10$ 500 samples fit the S-VAE, and neither number the N-VAE. We do not
# know how that LL was estimated.

# %% [markdown]
# ## Table 2: neighbours in the latent space
#
# **The claim.** k-NN on the latent means of a few labelled images is better on the sphere, up to $d=20$. A student
# reproduction found the opposite: 57.2% for the N-VAE against 50.8% at $d=2$ with 100 labels.
#
# **What we have.** The same runs as for Table 1, with 20 draws of the labels each:

# %% tags=["nbval-ignore-output", "words"]
display(Markdown(table2.table(mnist).markdown()))

# %% tags=["picture"]
figure, axes = plotting.subplots(1, 2, size=(7, 3.2), sharey=True)
for axis, d in zip(axes, sorted({d for d, _ in rows}), strict=False):
    for model in "ns":
        sizes = list(paper.TABLE2[d, model])
        axis.semilogx(sizes, list(paper.TABLE2[d, model].values()), "--", color=COLOUR[model], linewidth=1)
        for r in cells.get((d, model), []):
            ours = [100 * r["knn"][str(size)]["mean"] for size in sizes]
            spread = [100 * r["knn"][str(size)]["standard_deviation"] for size in sizes]
            axis.errorbar(sizes, ours, yerr=spread, fmt="o", color=COLOUR[model], markersize=5, capsize=2)
    axis.set(title=f"d = {d}", xlabel="labelled images")
    axis.set_xticks(sizes, labels=[str(size) for size in sizes])
    axis.minorticks_off()
axes[0].set_ylabel("accuracy (%)")
axes[0].text(300, 74, "N-VAE", color=BLUE, weight="bold")
axes[0].text(180, 83, "S-VAE", color=ORANGE, weight="bold")
plotting.show(
    figure,
    "**Figure 14.2.** Points: our runs, with the spread over 20 draws of the labels. Dashed: the paper.",
    alt="At d = 5 orange lies above blue, most clearly with 100 labels. At d = 2 the points of both models lie "
    "together, while the dashed lines of the paper are four points apart.",
)


# %% tags=["words"]
def accuracy(d, model, size):
    """Mean over runs, in per cent."""
    return 100 * np.mean([r["knn"][str(size)]["mean"] for r in cells[d, model]])


lead = {(d, size): accuracy(d, "s", size) - accuracy(d, "n", size) for d in (2, 5) for size in (100, 600, 1000)}
over_labels = 100 * max(cells[2, model][0]["knn"]["100"]["standard_deviation"] for model in "ns")
plotting.say(
    f"**What we find**, in one run a cell. At $d=5$ the sphere leads in every column, by {lead[5, 100]:.1f}, "
    f"{lead[5, 600]:.1f} and {lead[5, 1000]:.1f} points. At $d=2$ it leads by {lead[2, 600]:.1f} and "
    f"{lead[2, 1000]:.1f} points with 600 and 1000 labels, where the paper has four; with 100 labels our plane leads "
    f"by {-lead[2, 100]:.1f}, less than the spread over the labels drawn ({over_labels:.1f}). Our plane is better than "
    "the paper's here, as it is in Table 1."
)

# %% [markdown]
# What of the reversal? The student program hands both models the same number of coordinates. Its S-VAE "with $d=2$"
# lives on $S^1$, a dimension less than the paper's. We trained all three spaces on a tenth of MNIST, which is what it
# had:

# %% tags=["nbval-ignore-output", "words"]
tenth = records.load(experiment="table1", data="mnist-5k")
display(Markdown(table2.by_coordinates(tenth).markdown()))

# %%
by_space = defaultdict(list)
for record in tenth:
    by_space[record.settings["model"], record.settings["d"]].append(
        [100 * record.results["knn"][str(size)]["mean"] for size in (100, 600, 1000)]
    )
plane, sphere, circle = (np.array(by_space[cell]) for cell in (("n", 2), ("s", 2), ("s", 1)))
print("runs a space:", len(plane), "- the student's circle − plane, 100 labels:", round(50.8 - 57.2, 1))
print("circle − plane:", (circle.mean(0) - plane.mean(0)).round(1))
print("sphere − plane:", (sphere.mean(0) - plane.mean(0)).round(1))

# %% tags=["checks"]
assert (circle.max(0) < plane.min(0) - 4).all()  # every run of one below every run of the other
assert (abs(sphere.mean(0) - plane.mean(0)) < 4).all()
assert min(lead[cell] for cell in ((2, 600), (2, 1000), (5, 100), (5, 600), (5, 1000))) > 0
assert 0 < -lead[2, 100] < over_labels
assert all(accuracy(2, "n", size) > theirs for size, theirs in paper.TABLE2[2, "n"].items())
assert ts[2, "n", "ELBO"] > 0
assert min(map(len, (plane, sphere, circle))) == 3
print("Checked: every run of the circle is at least four points below every run of the plane, with 100 to 1000 labels.")

# %% [markdown]
# Three runs a space are few, but here they do not overlap: the circle is behind the plane in every run, and by no less
# than in the student's table. The sphere $S^2$ is level with the plane. So a missing coordinate is enough for the
# reversal ([chapter 10](10_semi_supervised_m1.ipynb)); that the sphere leads by four points at $d=2$ we do not find.
#
# ## Table 3: M1+M2
#
# **The claim.** With 100 labels, end to end, S+N (spherical $z_1$, Gaussian $z_2$) reaches 93 to 97%, N+N 90 to 93%.
#
# **What we have.** Records from a tenth of the images, one run a cell. On all of MNIST a run takes about ten times as
# long, and the paper's table has 27 cells of ten runs:

# %% tags=["nbval-ignore-output", "words"]
m1m2 = records.load(experiment="table3")
display(Markdown(table3.table(m1m2).markdown()))

# %%
pairs = defaultdict(list)
student_pairs = {"nn": 61.5, "ss": 63.0, "sn": 65.3}  # raphaelrubrice/HVAE, (5, 5), a tenth of MNIST
for record in m1m2:
    pairs[tuple(record.settings["d"]), record.settings["model"]].append(100 * record.results["accuracy"])
hours = np.mean([record.training["seconds"] for record in m1m2]) / 3600
print(f"{hours:.1f} hours a run on a tenth (busy machine): about {10 * hours:.0f} on all of MNIST")
for (d, pair), values in sorted(pairs.items()):
    print(
        f"{d} {names.pair(pair)}: {np.mean(values):.1f} in {len(values)} run(s), {paper.TABLE3[d, pair]} in the paper"
        + (f", {student_pairs[pair]} in the student's program" if d == (5, 5) else "")
    )


# %% tags=["words"]
def percent(d, pair):
    return np.mean(pairs[d, pair])


plotting.say(
    "**What we find**, in one run a cell: an order and no test. It is the same at $(5,5)$ and $(10,10)$. S+N has the "
    f"highest accuracy, {percent((5, 5), 'sn'):.1f} and {percent((10, 10), 'sn'):.1f}%; N+N follows with "
    f"{percent((5, 5), 'nn'):.1f} and {percent((10, 10), 'nn'):.1f}%. **S+S is last**, with "
    f"{percent((5, 5), 'ss'):.1f} and {percent((10, 10), 'ss'):.1f}%, although its bound is better than that of N+N. "
    f"The paper has S+S level with S+N, {paper.TABLE3[(5, 5), 'ss'] - percent((5, 5), 'ss'):.0f} and "
    f"{paper.TABLE3[(10, 10), 'ss'] - percent((10, 10), 'ss'):.0f} points above ours. It is the largest disagreement "
    "of this report. A tenth of the images is one reason for lower figures; it is none for another order."
)

# %% [markdown]
# Where to look: at $\alpha=0.1$ a classifier on a sphere may not even learn its own hundred labels, and a spherical
# $z_2$ may never start ([chapter 11](11_semi_supervised_m1m2.ipynb)). Records of new runs hold the accuracy on the
# labelled images and the KL of $z_2$, so that both can be seen. The student program, with as many images, has 61.5%
# (N+N), 63.0% (S+S) and 65.3% (S+N) at $(5,5)$: low, and in the claimed order.

# %% tags=["checks"]
bound = {(tuple(r.settings["d"]), r.settings["model"]): r.results["elbo"] for r in m1m2}
for d in ((5, 5), (10, 10)):
    accuracy = {pair: np.mean(pairs[d, pair]) for pair in ("nn", "ss", "sn")}
    assert accuracy["sn"] > accuracy["nn"] > accuracy["ss"] + 4
    assert bound[d, "sn"] > bound[d, "ss"] + 0.5
    assert bound[d, "ss"] > bound[d, "nn"] + 1
    assert accuracy["ss"] < paper.TABLE3[d, "ss"] - 10
    assert min(accuracy.values()) > 75
ours = [[np.mean(pairs[d, pair]) for pair in ("nn", "ss", "sn")] for d in ((5, 5), (10, 10))]
assert np.allclose(ours, [[84.8, 78.4, 87.0], [90.6, 85.4, 91.3]], atol=0.06)
print("Checked: S+N, N+N, S+S is the order of accuracy in both cells, S+N, S+S, N+N that of the bound.")

# %% [markdown]
# ## Table 4: link prediction
#
# **The claim.** An S-VGAE finds missing citations better than an N-VGAE on Cora and Citeseer, and worse on Pubmed. Of
# the paper's figures we could confirm those of the S-VGAE in a second source, not those of its N-VGAE, so no argument
# here rests on the latter. Kipf and Welling's own table has the N-VGAE, too.
#
# **What we have.** Ten splits of Cora and of Citeseer, three of Pubmed:

# %% tags=["nbval-ignore-output", "words"]
links = records.load(experiment="table4", dropout=0.0)
display(Markdown(table4.table(links).markdown()))

# %%
auc = defaultdict(list)
for record in links:
    auc[record.settings["data"], record.settings["model"]].append(100 * record.results["auc"])
graphs = ("cora", "citeseer", "pubmed")

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(7, 3.0))
for i, graph in enumerate(graphs):
    for model, shift in (("n", -0.12), ("s", 0.12)):
        values = auc[graph, model]
        axes.plot(np.full(len(values), i + shift), values, "o", color=COLOUR[model], alpha=0.6, markersize=5)
    axes.plot(i + 0.12, paper.TABLE4[graph, "s"]["auc"], "_", color=COLOUR["s"], markersize=26, mew=2)
    axes.plot(i - 0.12, paper.KIPF_WELLING[graph, "n"]["auc"], "x", color="0.4", markersize=8, mew=2)
axes.set_xticks(range(3), labels=[graph.capitalize() for graph in graphs])
axes.set(ylabel="AUC (%)", xlim=(-0.6, 3.2), ylim=(88.5, 97.8))
axes.text(2.3, 94.4, "Kipf, Welling: ×", color="0.4", va="center")
axes.text(2.3, 95.1, "paper, S-VGAE: —", color=ORANGE, va="center")
axes.text(-0.5, 96.9, "N-VGAE", color=BLUE, weight="bold")
axes.text(-0.5, 95.9, "S-VGAE", color=ORANGE, weight="bold")
plotting.show(
    figure,
    "**Figure 14.3.** One point a split: area under the ROC curve on held-out edges.",
    alt="Points of ten splits a model: on Cora and Citeseer the orange ones lie above the blue ones, on Pubmed both "
    "lie together near 96.",
)

# %% tags=["words"]
gain = {graph: np.mean(auc[graph, "s"]) - np.mean(auc[graph, "n"]) for graph in graphs}
short = {graph: paper.TABLE4[graph, "s"]["auc"] - np.mean(auc[graph, "s"]) for graph in graphs}
p_value = {graph: results.welch_p_value(auc[graph, "s"], auc[graph, "n"]) for graph in graphs}
plotting.say(
    f"**What we find.** The sphere leads by {gain['cora']:.1f} points of AUC on Cora (Welch, p = {p_value['cora']:.0e})"
    f" and by {gain['citeseer']:.1f} on Citeseer (p = {p_value['citeseer']:.0e}), over ten splits each; on Pubmed, "
    f"three splits, by {gain['pubmed']:.1f}, where the paper has the plane ahead. The paper's S-VGAE is "
    f"{short['cora']:.1f} points above ours on Cora and {short['citeseer']:.1f} on Citeseer. Our N-VGAE agrees with "
    "Kipf and Welling's on these two graphs, and is "
    f"{np.mean(auc['pubmed', 'n']) - paper.KIPF_WELLING['pubmed', 'n']['auc']:.1f} points above theirs on Pubmed, "
    "for which we have no reason. It has a learned scale, which theirs has not."
)

# %%
dropped = defaultdict(list)
for record in records.load(experiment="table4", dropout=0.5):
    dropped[record.settings["data"], record.settings["model"]].append(100 * record.results["auc"])
for cell, values in sorted(dropped.items()):
    print(f"{cell} with dropout 0.5: {np.mean(values):.1f} in {len(values)} splits, without {np.mean(auc[cell]):.1f}")

# %% [markdown]
# With dropout 0.5 the S-VGAE comes within a point of the paper's figures on both graphs, in three splits. The paper
# does not say which dropout it used; of the three programs that its lost code was made of, one has 0.5 and one has none
# ([chapter 12](12_link_prediction.ipynb)). So it is plausible, and unproven.

# %% tags=["checks"]
assert 1 < gain["cora"] < 2.5
assert 1 < gain["citeseer"] < 3
assert abs(gain["pubmed"]) < 1
for graph in ("cora", "citeseer"):
    assert len(auc[graph, "n"]) == len(auc[graph, "s"]) == 10
    assert p_value[graph] < 1e-3
    assert short[graph] > 1
    spread = np.std(auc[graph, "n"], ddof=1)
    assert abs(np.mean(auc[graph, "n"]) - paper.KIPF_WELLING[graph, "n"]["auc"]) < 2 * spread
    assert abs(np.mean(dropped[graph, "s"]) - paper.TABLE4[graph, "s"]["auc"]) < 1
    assert len(dropped[graph, "s"]) == 3
print("Checked: the sphere leads on Cora and Citeseer over ten splits; dropout 0.5 closes its distance to the paper.")

# %% [markdown]
# ## The trap
#
# **A constant that nobody sees** (the student reproduction, raphaelrubrice/HVAE, has it). The likelihood of an S-VAE
# needs the uniform density on the sphere,
#
# $$
# \log p(z)=-\log S_m=\log\Gamma(\tfrac m2)-\log2-\tfrac m2\log\pi
# $$
#
# A public program has $\log\Gamma(\tfrac m2)-\tfrac m2\log(2\pi)$. Training does not notice: a constant has no
# gradient, and the KL term is computed elsewhere. The samples do not notice. The table does: the difference is
#
# $$
# (1-\tfrac m2)\log2
# $$
#
# for every image, as the prior is a factor of every importance weight.

# %%
dims = (2, 5, 10, 20, 40)
shift = {}
for d in dims:
    m = d + 1
    wrong = math.lgamma(m / 2) - m / 2 * math.log(2 * math.pi)
    shift[d] = wrong + log_surface_area(m)
    assert abs(shift[d] - (1 - m / 2) * math.log(2)) < 1e-12

lead = {d: paper.TABLE1[d, "s"]["log_likelihood"][0] - paper.TABLE1[d, "n"]["log_likelihood"][0] for d in dims}
for d in dims:
    print(f"d = {d:2d}: S − N {lead[d]:+.2f} in the paper, {lead[d] + shift[d]:+.2f} with the wrong constant")
assert [d for d in dims if lead[d] > 0] == [2, 5, 10]
assert [d for d in dims if lead[d] + shift[d] > 0] == [2, 5]

# %% tags=["picture"]
figure, axes = plotting.subplots(size=(6, 3.0))
axes.axhline(0, color="0.5", linewidth=0.8)
axes.plot(dims, list(lead.values()), "o-", color=ORANGE)
axes.plot(dims, [lead[d] + shift[d] for d in dims], "s--", color=GREEN)
axes.text(24, 0.8, "the paper", color=ORANGE, weight="bold")
axes.text(21.5, -10.6, "the same models,\nwrong constant", color=GREEN, weight="bold", ha="right")
axes.set(xlabel="d", ylabel="LL of S − LL of N (nats)")
plotting.show(
    figure,
    f"**Figure 14.4.** One constant, and the sphere loses from d = 10 on, and by {-lead[40] - shift[40]:.0f} nats at "
    "40.",
    alt=f"The paper's differences stay within {max(map(abs, lead.values())):.1f} nats of zero; with the wrong constant "
    f"they fall to {lead[40] + shift[40]:.0f}.",
)

# %% [markdown]
# The cure is a check that everybody knows: a density integrates to one. Here, the area from the share of a cube that
# lies in the unit ball:

# %%
m = 6
inside = (torch.rand(200_000, m, generator=torch.manual_seed(1)) * 2 - 1).norm(dim=1) < 1
ball = 2**m * inside.double().mean().item()  # volume of the unit ball, and S_m is m times that
assert abs(math.log(m * ball) - log_surface_area(m)) < 0.05  # standard error 0.008

# %% [markdown]
# ## The faults, and what each does to the tables
#
# Every one of these was found in code that people use. Each has a test in this library, and a place in this course.
#
# | fault | effect on the results | where |
# |---|---|---|
# | gradient without its correction | learned $\kappa$ lower, at $d=5$ the ELBO on digits, too | [8](08_s_vae.ipynb) |
# | $b$ approximated in one place of two | another law above $\kappa=10$; runs that never start | below |
# | $I_\nu$ underflows | zero, then NaN, from $m=66$ on in float32; not in the paper's tables | [3](03_bessel.ipynb) |
# | wrapped normal for von Mises at $m=2$ | every S-VAE on the circle has the wrong posterior | [4](04_sampling.ipynb) |
# | a normaliser in two pieces | $\kappa$ is pinned at the joint | [3](03_bessel.ipynb) |
# | $\kappa$ capped at $100m$ | KL cannot pass a ceiling that the paper's own KL lies above | below |
# | early stopping during warm-up | a model chosen for its reconstruction alone | [7](07_n_vae.ipynb) |
# | pixels drawn once | an easier problem, other numbers | [7](07_n_vae.ipynb) |
# | another likelihood, or the wrong constant, in LL | 1 to 14 nats, by dimension | above |
# | reflection with $\mu=e_1$ | NaN for one direction | [4](04_sampling.ipynb) |
# | $b$ by cancellation, NaN without end | wrong law, or a sampler that hangs | [4](04_sampling.ipynb) |
# | $m=d$ for the sphere | Table 2 turned around | [10](10_semi_supervised_m1.ipynb) |
#
# Three of them in numbers. The ceiling first: with $\kappa\le100m$,

# %%
for d in (2, 5, 10):
    ceiling = kl_to_uniform(torch.tensor(100.0 * (d + 1), dtype=torch.float64), d + 1).item()
    print(f"d = {d:2d}: KL <= {ceiling:.2f} under the cap, {paper.TABLE1[d, 's']['kl'][0]:.2f} in the paper")
    assert (ceiling < paper.TABLE1[d, "s"]["kl"][0]) == (d < 10)

smallest = next(m for m in range(2, 400) if ive(np.float32(m / 2 - 1), np.float32(1.0)) == 0)
print(f"ive(m/2 - 1, 1) is 0 in float32 from m = {smallest} on")
assert smallest == 66  # the paper's largest m is 41

# %% [markdown]
# With the cap an S-VAE cannot have the KL of the paper's Table 1, at $d=2$ or at $d=5$; nor can ours: its mean $\kappa$
# on MNIST is far above $100m$.

# %%
for d in (2, 5):
    found = [r["mean_concentration"] for r in cells.get((d, "s"), [])]
    print(f"d = {d}: mean kappa {np.mean(found):.0f}, the cap would be {100 * (d + 1)}")
    assert min(found) > 100 * (d + 1)

# %% [markdown]
# And the one that nobody seems to have reported: above $\kappa=10$ both public programs of the authors draw from
# another law, whose samples get *less* concentrated as $\kappa$ grows, from $m=14$ on ([chapter 4](04_sampling.ipynb)).
# A posterior on its way to the $\kappa$ that it needs meets a barrier. On a tenth of MNIST, ten seeds a dimension, the
# same program otherwise:

# %% tags=["nbval-ignore-output", "words"]
tried = records.load(experiment="barrier", data="mnist-5k", initial_bias=0.0, warmup_epochs=50, until="decided")
display(Markdown(barrier.shares(tried).markdown()))

# %% tags=["words"]
stuck = {
    (d, model): [barrier.is_stuck(r) for r in tried if (r.settings["d"], r.settings["model"]) == (d, model)]
    for d in (20, 30, 40)
    for model in ("s", "s-clip")
}
plotting.say(
    f"At $d=40$ {sum(stuck[40, 's-clip'])} of {len(stuck[40, 's-clip'])} runs with the public sampler never start, and "
    f"{sum(stuck[40, 's'])} of {len(stuck[40, 's'])} with the right one; at $d=20$ and $30$ none. So it is no steady "
    "loss but a lottery. The paper's row for $d=40$, with its KL of "
    f"{paper.TABLE1[40, 's']['kl'][0]:.1f} nats, looks like runs that crossed."
)

# %% tags=["checks"]
assert all(len(runs) >= 10 for runs in stuck.values())
assert sum(stuck[40, "s-clip"]) >= 4
assert not any(sum(stuck[cell]) for cell in stuck if cell != (40, "s-clip"))
print("Checked: runs that never start are there at d = 40 with the public sampler, and nowhere else.")

# %% [markdown]
# ## Claim by claim
#
# Each verdict rests on records (`hvae records table N` prints them, and the page of results has them all), and on a
# test in `tests/experiments` that would fail if the numbers were made wrongly.
#
# - **S-VAE ahead for $d\le10$ in LL.** The order stands, in one run a cell; $d=20$ and $40$ are not run to the end.
#   Records: `hvae records table 1 --data mnist`; test: `test_table1_against_hand_computed_numbers`.
# - **Its ELBO, RE and KL.** Within two standard errors, but for the S-VAE at $d=5$; all KL lean upwards. The same
#   records; test: `test_table_1_adds_up`.
# - **Its LL.** Not repeated: 500 samples give more. The same records; test:
#   `test_ten_importance_samples_give_one_column`.
# - **k-NN better on the sphere.** Stands at $d=5$, in one run; not at $d=2$ with 100 labels. Records: `hvae records
#   table 2 --data mnist`; test: `test_table2_is_in_per_cent_and_each_column_has_its_own_number_of_labels`.
# - **S+S and S+N ahead of N+N.** S+N as claimed, S+S not; one run a cell, on a tenth of the images. Records: `hvae
#   records table 3 --data mnist-5k`; test:
#   `test_table3_has_pairs_of_dimensions_the_papers_figures_and_p_values_against_n_n`.
# - **S-VGAE ahead on Cora and Citeseer.** Stands, over ten splits each. Records: `hvae records table 4`; test:
#   `test_table4_has_means_deviations_and_what_others_report`.
# - **S-VGAE behind on Pubmed.** Not seen: level, over three splits. The same.
#
# ## What we could not settle
#
# - **Seeds.** Table 1 has one run a cell here, and none yet at $d=20$ and $40$. The S-VAE at $d=5$ needs more before
#   its distance in the ELBO means anything.
# - **The KL that leans.** The binarisation of test images, the split, early stopping, or the initial weights could do
#   it; no experiment of ours tells them apart yet.
# - **The paper's LL.** Ten samples would explain it at $d=5$, not at $d=2$, and at $d=10$ for neither model.
# - **S+S in Table 3.** Ten points and more behind the paper, in another order. Suspects are named above, no record yet
#   convicts one; and a tenth of the images is not the paper's experiment.
# - **The plane at $d=2$ in Table 2**, which is better here than in the paper.
# - **Pubmed**: our N-VGAE is two points above Kipf and Welling's.
# - **Dropout in Table 4**: which one the paper used. And a row of their plain N-VGAE, without a learned scale, is
#   missing.
# - **What the public sampler did to the paper's own rows.** We can say what it does in our runs.
# - **Where the paper is silent** we chose, and wrote down what: the binarisation of test images, $k$ of the neighbours,
#   the labelled images in a batch, the decoder's scale on the sphere, dropout.
#
# ## The library's version
#
# Every number above comes from a record, and a record says where it comes from.

# %%
everything = records.load()
counts = defaultdict(int)
for record in everything:
    counts[record.experiment, record.settings["data"]] += 1
    origin = record.provenance
    assert "dirty" not in origin["commit"]
    version = origin["versions"]["hvae_tutorial"]
    assert record.key == records.settings_key(record.experiment, record.settings, version)
for (experiment, data), count in sorted(counts.items()):
    print(f"{experiment}, {data}: {count} records")

# %% [markdown]
# The key is a hash of the settings and the version: a record whose settings were changed is refused when it is read.

# %%
content = {name: getattr(everything[0], name) for name in ("settings", "results", "training", "provenance", "history")}
try:
    records.Record(
        experiment=everything[0].experiment,
        key=everything[0].key,
        **content | {"settings": {**content["settings"], "seed": 7}},
    )
    raise SystemExit("a forged record was taken")
except ValueError as error:
    print(error)

# %% [markdown]
# It does not protect the results: only doing the run again does. That is one command. On the same machine with the same
# versions it gives the same digits (the S-VAE at $d=2$ was trained twice on MNIST, with equal results and learning
# curves), elsewhere numbers within the spread of seeds:
#
# ```sh
# hvae records list
# hvae reproduce table1 --data mnist --preset paper --dims 2 --seeds 1
# hvae reproduce table2 --data mnist-5k --preset paper --dims 2 --equal-coordinates
# hvae reproduce table3 --data mnist-5k --preset paper --configs 10,10
# hvae reproduce table4 --data cora citeseer pubmed --preset paper
# ```
#
# `results.welch_p_value` tests two groups of runs, as `scipy.stats` does:

# %%
from scipy.stats import ttest_ind

if min(len(auc["cora", model]) for model in "ns") > 1:
    p = results.welch_p_value(auc["cora", "s"], auc["cora", "n"])
    assert np.isclose(p, ttest_ind(auc["cora", "s"], auc["cora", "n"], equal_var=False).pvalue)
    print(f"Cora, S against N: p = {p:.1g}")

# %% [markdown]
# ## Test yourself
#
# **1.** Of 40 cells four lie beyond two standard errors. Is the reproduction broken?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# No: about three are expected by chance. Look whether the differences lean to one side.
#
# </details>
#
# **2.** Why can the wrong constant in $\log p(z)$ not be seen in the learning curves?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# The training loss has the KL term in closed form, and no gradient of a constant. Only the importance weights contain
# $\log p(z)$ itself.
#
# </details>
#
# **3.** A program reports an S-VAE "with a latent size of 10". What do you ask first?
#
# <details markdown="1">
# <summary>Answer</summary>
#
# Whether 10 is $m$ or $d$. With $m=10$ the sphere is $S^9$, and its partner in the plane is $\mathbb{R}^9$.
#
# </details>
#
# ## Exercises
#
# Three claims of this page to check against the records, with no code: that all KL lean upwards (`hvae records table 1
# --data mnist`); that the circle is behind the plane in every run (`hvae records table 2 --data mnist-5k`); that S+S
# has the better bound and the lower accuracy than N+N (`hvae records table 3 --data mnist-5k`). Then, with code:

# %% [markdown] tags=["exercise"]
# ch14.1

# %% [markdown] tags=["exercise"]
# ch14.2

# %% [markdown] tags=["exercise"]
# ch14.3

# %% [markdown]
# ## Summary
#
# - A run is compared with a published mean by $t$ with $s\sqrt{1/k+1/n}$; of many cells some lie outside.
# - Table 1, one run a cell: ELBO and RE of five models of six stand, the S-VAE at $d=5$ does not; all KL lean upwards,
#   and the LL we cannot repeat.
# - Table 2 stands at $d=5$ in one run; at $d=2$ and 100 labels the plane is ahead. Forgetting a coordinate costs the
#   sphere more than it wins.
# - Table 4 stands in its order on Cora and Citeseer. In Table 3, on a tenth of the data, S+N leads as claimed, and S+S
#   is last: our largest disagreement.
# - A constant without a gradient can turn a table around: check that densities integrate to one.
#
# ## References
#
# - [@davidson2018] Tables 1 to 4.
# - [@kipf2016] Table 1.
# - [@kingma2014semi] Equations 6 to 9.
# - [@rubrice] A student reproduction of Figure 1 and Tables 1 to 3 on a tenth of the data.
# - [@welch1947] The test.
