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
from scipy.stats import fisher_exact
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
# **The claim.** On MNIST the S-VAE has the higher likelihood for $d\le10$, is level at 20, and behind at 40.
#
# **What we have.** Records of the full protocol. Seeds cost hours, so each cell says how many runs it has.

# %%
mnist = [r for r in records.load(experiment="table1", data="mnist", warmup_epochs=100) if r.settings["model"] in "ns"]

# %% tags=["nbval-ignore-output", "words"]
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
rows = sorted(cells)


def distances(runs_of):
    """T of each cell and measure."""
    return {
        (*cell, name): t_value([get(r) for r in runs], *paper.TABLE1[cell][terms.get(name, "log_likelihood")], 10)
        for cell, runs in runs_of.items()
        for name, get in measures.items()
    }


ts = distances(cells)


def points(leads, digits=1):
    return ", ".join(f"${x:+.{digits}f}$" for x in leads)


# %% tags=["picture"]
figure, axes = plotting.subplots(size=(7, 3.4))
places = {name: len(measures) - i for i, name in enumerate(measures)}
markers = {
    d: marker for d, marker in zip((2, 5, 10, 20, 40), "os^Dv", strict=True) if any(d == cell[0] for cell in rows)
}
for (d, model, name), value in ts.items():
    shift = 0.72 / len(rows) * (rows.index((d, model)) - (len(rows) - 1) / 2)
    axes.plot(value, places[name] - shift, markers[d], color=COLOUR[model], markersize=7)
axes.axvspan(-2, 2, color="0.5", alpha=0.15, linewidth=0)
axes.axvline(0, color="0.5", linewidth=0.8)
axes.set_yticks(list(places.values()), labels=list(places))
axes.set(xlabel="t: our mean minus the paper's, in standard errors", ylim=(0.4, 5.6))
right = axes.get_xlim()[1]
axes.set_xlim(right=right + 5)
axes.text(right + 1, 5.2, "N-VAE", color=BLUE, weight="bold")
axes.text(right + 1, 4.75, "S-VAE", color=ORANGE, weight="bold")
for i, (d, marker) in enumerate(markers.items()):
    axes.plot(right + 1.3, 4.2 - 0.4 * i, marker, color="0.3", markersize=6)
    axes.text(right + 1.8, 4.2 - 0.4 * i, f"d = {d}", fontsize=9, va="center")
close = [c for c in rows if all(abs(ts[*c, name]) < 2 for name in ("ELBO", "RE"))]
leaning = sum(ts[*c, "KL"] > 0 for c in rows)
plotting.show(
    figure,
    "**Figure 14.1.** Our runs of Table 1 against the paper's means. Grey: two standard errors.",
    alt=f"ELBO and RE of {len(close)} of {len(rows)} models lie in the grey band; {leaning} of {len(rows)} KL and "
    f"{sum(ts[*c, 'LL, K = 500'] > 0 for c in rows)} of the log-likelihoods with 500 samples lie to the right of zero.",
)


# %% tags=["words"]
def difference(cell, name):
    """Our mean less the paper's."""
    return np.mean([measures[name](r) for r in cells[cell]]) - paper.TABLE1[cell][terms[name]][0]


def counted(n):
    return f"{n} run{'s' if n > 1 else ''}"


def names_of(models):
    *some, last = map(the_model, models)
    return f"{', '.join(some)} and {last}" if some else last


def the_model(cell):
    return f"the {names.vae(cell[1])} at $d={cell[0]}$"


for d, model in rows:
    gaps = [np.mean([measures[f"LL, K = {K}"](r) - r["elbo"] for r in cells[d, model]]) for K in (10, 500)]
    theirs = paper.TABLE1[d, model]["log_likelihood"][0] - paper.TABLE1[d, model]["elbo"][0]
    print(
        f"d = {d:2} {names.vae(model)}, {counted(len(cells[d, model]))}: ELBO "
        f"{difference((d, model), 'ELBO'):+.2f} against the paper, KL {difference((d, model), 'KL'):+.2f}; "
        f"LL - ELBO: K = 10 {gaps[0]:.2f}, K = 500 {gaps[1]:.2f}, the paper {theirs:.2f}"
    )
most = max(leaning, len(rows) - leaning)
sign_test = min(1, 2 * sum(math.comb(len(rows), k) for k in range(most, len(rows) + 1)) / 2 ** len(rows))
few, many = min(map(len, cells.values())), max(map(len, cells.values()))
in_each = (counted(few) if few == many else f"{few} {'or' if many == few + 1 else 'to'} {many} runs") + " a cell"
off = []
for c in rows:
    if c not in close:
        beyond = [f"{name} ${difference(c, name):+.2f}$" for name in ("ELBO", "RE") if abs(ts[*c, name]) >= 2]
        off.append(f"{the_model(c)} ({', '.join(beyond)} nats)")
dear = [f"{the_model(c)} (${difference(c, 'KL'):+.2f}$ nats)" for c in rows if abs(ts[*c, "KL"]) > 2]
plotting.say(
    f"**What we find.** ELBO and RE of {len(close)} models of {len(rows)} lie within two standard errors of the paper."
    + (f" **Not so:** {', '.join(off)}." if off else "")
    + f" The KL **lean**: {leaning} of {len(rows)} are above the paper's. Fair coins lean as far, to one side or the "
    f"other, in {100 * sign_test:.1g}% of tables; but the models share a split and a binarisation of the test images, "
    f"so they are fewer than {len(rows)} independent witnesses."
    + (f" Beyond two standard errors is the KL of {', '.join(dear)}." if dear else "")
    + (f" Where a cell has {counted(few)}, ours cannot say why it is off." if few < 5 else "")
)
plotting.say(
    f"LL is another matter. With 500 samples {sum(ts[*c, 'LL, K = 500'] > 0 for c in rows)} models of {len(rows)} lie "
    "above the paper."
)

# %% tags=["checks"]
first = {cell: runs[:1] for cell, runs in cells.items() if cell[0] <= 10}  # seed 0, to d = 10
of_first = distances(first)
for d, model in first:
    (run,) = first[d, model]
    gaps = [run[name]["mean"] - run["elbo"] for name in ("log_likelihood_10", "log_likelihood")]
    theirs = paper.TABLE1[d, model]["log_likelihood"][0] - paper.TABLE1[d, model]["elbo"][0]
    assert of_first[d, model, "LL, K = 500"] > (0 if (d, model) == (10, "s") else 2)
    assert (abs(gaps[0] - theirs) < 0.25) == (d == 5)
    assert (gaps[1] - theirs > 0.6) == ((d, model) != (10, "s"))
    assert of_first[d, model, "KL"] > 0
    assert (max(abs(of_first[d, model, name]) for name in ("ELBO", "RE")) > 2) == ((d, model) == (5, "s"))
    assert (of_first[d, model, "KL"] > 2) == ((d, model) == (10, "s"))
assert len(first) == 6
assert of_first[5, "s", "ELBO"] < -5
twenty = distances({cell: runs[:1] for cell, runs in cells.items() if cell[0] == 20})
assert all(abs(twenty[20, "s", name]) < 2 for name in terms)
assert twenty[20, "n", "KL"] > 4
assert abs(twenty[20, "n", "LL, K = 500"]) < 1
assert abs(cells[20, "s"][0]["elbo"] - paper.TABLE1[20, "s"]["elbo"][0]) < 0.1
assert abs(cells[20, "s"][0]["log_likelihood"]["mean"] - paper.TABLE1[20, "s"]["log_likelihood"][0] + 1.6) < 0.05
forty = distances({cell: runs[:1] for cell, runs in cells.items() if cell[0] == 40})
for model, of_ll in (("n", -0.23), ("s", -6.85)):
    assert abs(forty[40, model, "ELBO"]) < 2
    assert abs(cells[40, model][0]["kl"] - paper.TABLE1[40, model]["kl"][0] - 2.1) < 0.05
    assert abs(forty[40, model, "LL, K = 500"] - of_ll) < 0.05
assert cells[40, "s"][0]["elbo"] < cells[40, "n"][0]["elbo"] - 5
assert abs(cells[40, "s"][0]["log_likelihood"]["mean"] - paper.TABLE1[40, "s"]["log_likelihood"][0] + 2.4) < 0.05
print(
    "Checked: of the first seeds to d = 10 one model of six is off in ELBO and RE, one in KL, all KL lean, and ten "
    "samples explain LL − ELBO at d = 5 alone."
)

# %% [markdown]
# The guess of [chapter 9](09_unsupervised.ipynb), ten samples, can be tried on LL − ELBO; the numbers stand above (the
# paper's LL − ELBO is the last of each line). At $d=5$ ten samples fit. At $d=2$ the paper's bound gains even less from
# its samples than ours from ten. At $d=10$, 500 samples fit the S-VAE, and neither number the N-VAE. We do not know how
# that LL was estimated.

# %% [markdown]
# ### Why do the KL lean?
#
# Four suspects: the images that are measured, the part of the data they are from, the epoch at which training stops,
# and the training itself. The first three can be heard without a new run. The KL term of a trained model on given
# images is no random number: the saved models were measured again, on other images. And a record keeps the learning
# curve.

# %% tags=["nbval-ignore-output", "words"]
IMAGES = {
    "binarized_anew": "other random pixels",
    "thresholded": "pixels cut at 1/2",
    "intensities": "grey pixels",
    "validation": "validation images",
    "train": "training images",
}
measured_again = {c: runs[0] for c, runs in cells.items() if "kl_by_images" in runs[0] and difference(c, "KL") > 0}
moves = {
    name: [run["kl_by_images"][name] - run["kl"] for run in measured_again.values()] for name in IMAGES
}  # in nats, a number for each model
surplus = [difference(c, "KL") for c in measured_again]
print(f"{len(measured_again)} models that lean up: KL on ... less KL on the binarised test images, in nats")
print(f"{'model, d':23}: " + " ".join(f"{model.upper() + ', ' + str(d):>6}" for d, model in measured_again))
for name, words in IMAGES.items():
    print(f"{words:23}: " + " ".join(f"{move:+6.3f}" for move in moves[name]))
print("our KL less the paper's: " + " ".join(f"{s:+6.3f}" for s in surplus))
pixels = [abs(move) for move in moves["binarized_anew"]]
parts = [abs(move) for name in ("validation", "train") for move in moves[name]]
plotting.say(
    f"**It is not the images**, no one of these kinds alone, in the {len(measured_again)} of {leaning} models whose "
    f"weights were kept. Other random pixels move the KL by at most {max(pixels):.3f} nats, another part of the data "
    f"by at most {max(parts):.2f}; the paper's KL lie {min(surplus):.2f} to {max(surplus):.2f} below ours."
    + (" Pixels cut at 1/2 raise the KL." if min(moves["thresholded"]) > 0 else "")
    + (
        f" Grey pixels lower it by up to {-min(moves['intensities']):.2f} nats, and nowhere as far as the paper's."
        if min(np.add(surplus, moves["intensities"])) > 0
        else ""
    )
)


def stopped_earlier(record):
    """Epochs after the warm-up, with ELBO and KL of the test images as the validation images let us guess them."""
    columns = {name: np.array(column) for name, column in record.history.items()}
    at_best = abs(columns["epoch"] - record.training["best_epoch"]).argmin()
    smooth = {}
    for name in ("elbo", "kl"):  # means of nine neighbours; shifted, so that the best epoch has the test images' number
        column = columns[f"validation_{name}"]
        smooth[name] = np.convolve(np.pad(column, 4, mode="edge"), np.full(9, 1 / 9), "valid")
        smooth[name] += record.results[name] - column[at_best]
    return [x[columns["epoch"] > record.settings["warmup_epochs"]] for x in (columns["epoch"], *smooth.values())]


stops = {}  # where the KL was last the paper's, or None: epoch, and ELBO less the paper's
for record in mnist:
    cell = record.settings["d"], record.settings["model"]
    if record.settings["seed"] == 0 and cell in paper.TABLE1 and difference(cell, "KL") > 0:
        epoch, bound, kl = stopped_earlier(record)
        low = np.flatnonzero(kl <= paper.TABLE1[cell]["kl"][0])
        stops[cell] = (epoch[low[-1]], bound[low[-1]] - paper.TABLE1[cell]["elbo"][0]) if len(low) else None
        print(
            f"{the_model(cell).replace('$', ''):18}: "
            + (
                f"KL as in the paper for the last time after {stops[cell][0]:.0f} epochs of "
                f"{record.training['epochs']}, ELBO then {stops[cell][1]:+.2f} against the paper"
                if stops[cell]
                else "KL above the paper's from the warm-up to the end"
            )
        )
never = [c for c, stop in stops.items() if stop is None]
late = [c for c, stop in stops.items() if stop and abs(stop[1]) > 2 * paper.TABLE1[c]["elbo"][1] * math.sqrt(1.1)]
fits = [c for c in stops if c not in (*never, *late)]
plotting.say(
    f"**Nor is it, alone, the epoch.** Of the {len(stops)} models that lean the KL of {len(never)} never comes down to "
    "the paper's after the warm-up."
    + (
        f" That of {names_of(late)} was there once, with a bound more than two standard errors from the paper's."
        if late
        else ""
    )
    + (f" Stopped there, {names_of(fits)} would fit." if fits else "")
)

# %% [markdown]
# The fourth suspect is the training itself, and of it the warm-up: 100 epochs in the paper's text, and in our runs. Was
# it so in the paper's program? In the plane a coordinate can be switched off
# ([chapter 9](09_unsupervised.ipynb)): it costs nothing and tells nothing. Warm-up lets coordinates find something to
# tell before they have to pay. On the sphere none can be switched off alone. So we trained N-VAEs once more, **with no
# warm-up** and all else as it was: five seeds on a tenth of MNIST, one run for each $d$ on all of it.

# %% tags=["nbval-ignore-output", "words"]
unwarmed, warmed = defaultdict(dict), defaultdict(dict)  # data, d: the results of each seed
for r in records.load(experiment="table1", model="n"):
    if r.settings["data"] in ("mnist", "mnist-5k") and r.settings["warmup_epochs"] in (0, 100):
        (warmed if r.settings["warmup_epochs"] else unwarmed)[r.settings["data"], r.settings["d"]][
            r.settings["seed"]
        ] = r.results
seeds = {run: sorted(unwarmed[run].keys() & warmed[run].keys()) for run in unwarmed}
bare, usual = ({run: found[run][0] for run in seeds} for found in (unwarmed, warmed))  # seed 0
lines = ["| N-VAE | runs | ELBO | RE | KL |", "|---|---|---|---|---|"]
for (data, d), common in seeds.items():
    numbers = {}
    for name, found in (("with warm-up", warmed), ("without", unwarmed)):
        columns = ([found[data, d][seed][key] for seed in common] for key in terms.values())
        numbers[f"{data}, $d={d}$, {name}"] = [str(len(common)), *(str(results.Cell.of(x, digits=2)) for x in columns)]
    if data == "mnist":
        published = (paper.TABLE1[d, "n"][key] for key in terms.values())
        numbers[f"the paper, $d={d}$"] = ["10", *(f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in published)]
    lines += [f"| {name} | {' | '.join(cells_).replace('-', '−')} |" for name, cells_ in numbers.items()]
display(Markdown("\n".join(lines)))

# %% tags=["nbval-ignore-output", "words"]
saved, bound = (
    {
        run: np.mean([warmed[run][seed][key] - unwarmed[run][seed][key] for seed in common])
        for run, common in seeds.items()
    }
    for key in ("kl", "elbo")
)
tenth = {
    key: results.paired_p_value(
        *([found["mnist-5k", 20][seed][key] for seed in seeds["mnist-5k", 20]] for found in (warmed, unwarmed))
    )
    for key in ("kl", "elbo")
}
whole = [d for data, d in bare if data == "mnist"]


def in_errors(result, d):
    return [t_value([result[key]], *paper.TABLE1[d, "n"][key], 10) for key in terms.values()]


plotting.say(
    f"**It can be the warm-up.** Without it the N-VAE's KL is {min(saved.values()):.1f} to {max(saved.values()):.1f} "
    "nats lower, and its bound worse (on the tenth of MNIST, "
    f"{len(seeds['mnist-5k', 20])} pairs, p-values {results.PValue(tenth['kl'])} and {results.PValue(tenth['elbo'])}). "
    "On all of MNIST ELBO, RE and KL are then "
    + "; ".join(
        f"{points(in_errors(bare['mnist', d], d))} standard errors from the paper's at $d={d}$ (with warm-up "
        f"{points(in_errors(usual['mnist', d], d))})"
        for d in whole
    )
    + "."
)
used = {d: [runs_["mnist", d]["active_units"] for runs_ in (usual, bare)] for d in whole}
changes = {
    "the paper's": [paper.TABLE1[40, "n"][key][0] - paper.TABLE1[20, "n"][key][0] for key in terms.values()],
    "ours without warm-up": [bare["mnist", 40][key] - bare["mnist", 20][key] for key in terms.values()],
    "ours with it": [usual["mnist", 40][key] - usual["mnist", 20][key] for key in terms.values()],
}
plotting.say(
    "At $d=40$ the run without warm-up goes past the paper: KL is lower than the paper's, and the bound worse, by "
    "about two standard errors. A shorter warm-up might lie between; we have tried none."
)
plotting.say(
    "Coordinates are switched off, indeed. Active ([chapter 7](07_n_vae.ipynb)) are "
    + "; ".join(f"{one} of {d} with warm-up, {two} without" for d, (one, two) in used.items())
    + ". **But this speaks against it**: from $d=20$ to 40 ELBO, RE and KL change by "
    + "; by ".join(f"{points(change, 2)} ({name})" for name, change in changes.items())
    + " nats. The paper's changes are nearer to those of our runs *with* warm-up."
)
rivals = {"with": usual["mnist", 20], "without": bare["mnist", 20]}
ahead_in_re = {name: cells[20, "s"][0]["reconstruction"] - result["reconstruction"] for name, result in rivals.items()}
claimed_in_re = paper.TABLE1[20, "s"]["reconstruction"][0] - paper.TABLE1[20, "n"]["reconstruction"][0]
plotting.say(
    "That would bear on the claim, too. At $d=20$ the paper's S-VAE reconstructs better than its N-VAE by "
    f"{claimed_in_re:.1f} nats; ours is ahead by "
    + " and by ".join(f"{gap:.1f} of the N-VAE {name} warm-up" for name, gap in ahead_in_re.items())
    + ". Our S-VAE had a warm-up in both; one without we have not trained at $d=20$. For the conjecture its KL must "
    f"stay near the paper's {paper.TABLE1[20, 's']['kl'][0]:.1f}."
)

# %% tags=["checks"]
assert saved["mnist-5k", 20] > saved["mnist", 20] > 2
assert bound["mnist-5k", 20] > 1
assert min(bound.values()) > 0
assert whole == [20, 40]
assert max(map(abs, in_errors(bare["mnist", 20], 20))) < 1
assert all(-2.5 < t < -1.8 for t in in_errors(bare["mnist", 40], 40))
for d, off_ in ((20, -1.6), (40, -2.6)):
    of_ll = t_value([bare["mnist", d]["log_likelihood"]["mean"]], *paper.TABLE1[d, "n"]["log_likelihood"], 10)
    assert abs(of_ll - off_) < 0.05
    assert in_errors(usual["mnist", d], d)[2] > 4
assert used == {20: [20, 15], 40: [25, 14]}
for theirs, without, with_it in zip(*changes.values(), strict=True):
    assert abs(theirs - with_it) < abs(theirs - without)
assert ahead_in_re["with"] < 1.5
assert ahead_in_re["without"] > 3.5
print(
    f"Checked: what leaving out the warm-up does to the N-VAE at d = {', '.join(map(str, whole))}, in one run of each."
)

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
figure, axes = plotting.subplots(1, 5, size=(7.4, 3.0), sharey=True)
for axis, d in zip(axes, (2, 5, 10, 20, 40), strict=True):
    for model in "ns":
        sizes = list(paper.TABLE2[d, model])
        axis.semilogx(sizes, list(paper.TABLE2[d, model].values()), "--", color=COLOUR[model], linewidth=1)
        for r in cells.get((d, model), []):
            ours = [100 * r["knn"][str(size)]["mean"] for size in sizes]
            spread = [100 * r["knn"][str(size)]["standard_deviation"] for size in sizes]
            axis.errorbar(sizes, ours, yerr=spread, fmt="o", color=COLOUR[model], markersize=5, capsize=2)
    axis.set(title=f"d = {d}", xlabel="labelled images")
    axis.set_xticks((100, 1000), labels=("100", "1000"))
    axis.minorticks_off()
axes[0].set_ylabel("accuracy (%)")
axes[3].text(190, 72, "N-VAE", color=BLUE, weight="bold")
axes[4].text(190, 66, "S-VAE", color=ORANGE, weight="bold")
plotting.show(
    figure,
    "**Figure 14.2.** Points: our runs, with the spread over 20 draws of the labels. Dashed: the paper.",
    alt="From d = 5 on orange lies above blue, most clearly with 100 labels. At d = 2 the points of both models lie "
    "together, while the dashed lines of the paper are four to five points apart. At d = 20 and 40 the points lie "
    "below the dashed lines.",
)


# %% tags=["words"]
def accuracy(d, model, size):
    """Mean over runs, in per cent."""
    return 100 * np.mean([r["knn"][str(size)]["mean"] for r in cells[d, model]])


SIZES = (100, 600, 1000)
both = [d for d, model in rows if model == "n" and (d, "s") in cells]
margin = {d: [accuracy(d, "s", size) - accuracy(d, "n", size) for size in SIZES] for d in both}
published = {d: [paper.TABLE2[d, "s"][size] - paper.TABLE2[d, "n"][size] for size in SIZES] for d in both}
over_labels = 100 * max(cells[2, model][0]["knn"]["100"]["standard_deviation"] for model in "ns")


plotting.say(
    "**What we find.** S − N in points, with 100, 600 and 1,000 labels: "
    + "; ".join(f"at $d={d}$: {points(margin[d])} (the paper's: {points(published[d])})" for d in both)
    + f". At $d=2$ the spread over the labels drawn is {over_labels:.1f} points with 100 of them, and of our two runs "
    "one has the plane ahead and one the sphere. With 600 and 1,000 labels our plane is better than the paper's, as it "
    "is in Table 1." + f" There are {in_each}."
)

# %% [markdown]
# At $d=20$ and 40 both models are behind the paper's. Does the warm-up bear on that, too? The run without it at $d=20$
# was made for its KL, and its neighbours were looked at afterwards. The run at $d=40$ was then made as a test of what
# the first had shown: the paper's KL, and better neighbours.

# %% tags=["nbval-ignore-output", "words"]
near = {
    d: [100 * run["mnist", d]["knn"]["100"]["mean"] for run in (usual, bare)] + [paper.TABLE2[d, "n"][100]]
    for d in whole
}
plotting.say(
    "k-NN with 100 labels in the plane, with warm-up, without, and in the paper: "
    + "; ".join(f"at $d={d}$ {one:.1f}, {two:.1f}, {three:.1f}%" for d, (one, two, three) in near.items())
    + ". Without warm-up they are nearer to the paper, and not there. One run each."
)
sphere_at_40 = 100 * cells[40, "s"][0]["knn"]["100"]["mean"]
(cold,) = (r.results for r in records.load(experiment="table1", data="mnist", model="s", d=40, warmup_epochs=0))
cold_at_40 = 100 * cold["knn"]["100"]["mean"]
cold_t = t_value([cold["elbo"]], *paper.TABLE1[40, "s"]["elbo"], 10)
plotting.say(
    "The order of the two models at $d=40$ hangs on it. S − N is "
    f"{points([sphere_at_40 - near[40][0]])} points where both had a warm-up, and {points([cold_at_40 - near[40][1]])} "
    f"where neither had; the paper's is {points([published[40][0]])}. The S-VAE without warm-up has the paper's KL: "
    + ", ".join(
        f"{name} ${cold[key]:.2f}$ (the paper ${paper.TABLE1[40, 's'][key][0]:.2f}$)"
        for name, key in (("KL", "kl"), ("RE", "reconstruction"), ("ELBO", "elbo"))
    )
    + f" nats. Its ELBO is {cold_t:.1f} standard errors above the paper's, farther than with warm-up, and its bound is "
    "better than with it, not worse. One run each."
)

# %% tags=["checks"]
for with_warmup, without, in_paper in near.values():
    assert with_warmup + 2 < without < in_paper
for d in whole:
    assert all(100 * cells[d, model][0]["knn"]["100"]["mean"] < paper.TABLE2[d, model][100] for model in "ns")
    assert cells[d, "s"][0]["knn"]["100"]["mean"] > cells[d, "n"][0]["knn"]["100"]["mean"]
assert near[40][0] + 5 < sphere_at_40
assert -8 < cold_at_40 - near[40][1] < -5
assert abs(cold["kl"] - paper.TABLE1[40, "s"]["kl"][0]) < 0.1
warm = cells[40, "s"][0]
assert cold_t > 2 > t_value([warm["elbo"]], *paper.TABLE1[40, "s"]["elbo"], 10) > 0
assert cold["elbo"] > warm["elbo"]
assert cold["log_likelihood"]["mean"] > warm["log_likelihood"]["mean"]
print("Checked: in the plane at d = 20 and 40, k-NN is better after training without warm-up.")

# %% [markdown]
# What of the reversal? The student program hands both models the same number of coordinates. Its S-VAE "with $d=2$"
# lives on $S^1$, a dimension less than the paper's. We trained all three spaces on a tenth of the training images,
# which is what it had:

# %%
tenth = records.load(experiment="table1", data="mnist-5k", importance_samples=100)

# %% tags=["nbval-ignore-output", "words"]
display(Markdown(table2.by_coordinates(tenth).markdown()))

# %%
by_space = defaultdict(list)
for record in tenth:
    by_space[record.settings["model"], record.settings["d"]].append(
        [100 * record.results["knn"][str(size)]["mean"] for size in (100, 600, 1000)]
    )
plane, sphere, circle = (np.array(by_space[cell]) for cell in (("n", 2), ("s", 2), ("s", 1)))
print("circle − plane:", (circle.mean(0) - plane.mean(0)).round(1))
print("sphere − plane:", (sphere.mean(0) - plane.mean(0)).round(1))

# %% tags=["words"]
p_circle = results.PValue(results.paired_p_value(list(circle[:, 0]), list(plane[:, 0])))
plotting.say(
    f"With 100 labels the circle is behind the plane by {plane[:, 0].mean() - circle[:, 0].mean():.1f} points (paired, "
    f"p-value {p_circle}, {len(plane)} runs a space), the student's by {57.2 - 50.8:.1f}. The sphere $S^2$ and the "
    f"plane differ by {abs(sphere[:, 0].mean() - plane[:, 0].mean()):.1f} points. No circle reaches a plane. So a "
    "missing coordinate is enough for the reversal ([chapter 10](10_semi_supervised_m1.ipynb)); a lead of the sphere "
    "of four to five points at $d=2$ we do not find on MNIST; on digits there is one."
)

# %% tags=["checks"]
assert (circle[:3].max(0) < plane[:3].min(0) - 4).all()  # the first seeds do not overlap
assert (abs(sphere.mean(0) - plane.mean(0)) < 4).all()
knn = {cell: [100 * run["knn"][str(size)]["mean"] for size in SIZES] for cell, (run,) in first.items()}
lead_of_first = {d: np.subtract(knn[d, "s"], knn[d, "n"]) for d in (2, 5, 10)}
assert all((lead_of_first[d] > 0).all() for d in (5, 10))
assert lead_of_first[2][0] < 0 < lead_of_first[2][1:].min()
assert all(np.greater(knn[2, "n"], list(paper.TABLE2[2, "n"].values())))
assert of_first[2, "n", "ELBO"] > 0
print("Checked: the circle is behind the plane; S − N of our first seeds is below zero at d = 2 with 100 labels alone.")

# %% [markdown]
# ## Table 3: M1+M2
#
# **The claim.** With 100 labels, end to end, S+N (spherical $z_1$, Gaussian $z_2$) reaches 93 to 97%, N+N 90 to 93%.
#
# **What we have.** Records from a tenth of the images. On all of MNIST a run takes about ten times as long, and the
# paper's table has 27 cells:

# %%
kept = records.load(experiment="table3", scheme="end-to-end", epochs=1000, warmup_epochs=100)
kept = [r for r in kept if (tuple(r.settings["d"]), r.settings["model"]) in paper.TABLE3]
by_alpha = {
    alpha: [r for r in kept if (r.settings["data"], r.settings["alpha"]) == ("mnist-5k", alpha)] for alpha in (0.1, 1.0)
}
m1m2 = by_alpha[0.1]

# %% tags=["nbval-ignore-output", "words"]
display(Markdown("\n\n".join(table3.table(some).markdown() for some in by_alpha.values() if some)))

# %%
pairs = defaultdict(list)
student_pairs = {"nn": 61.5, "ss": 63.0, "sn": 65.3}  # raphaelrubrice/HVAE, (5, 5), a tenth of MNIST
for record in m1m2:
    pairs[tuple(record.settings["d"]), record.settings["model"]].append(100 * record.results["accuracy"])
hours = np.mean([record.training["seconds"] for record in m1m2]) / 3600
print(f"{hours:.1f} hours a run on a tenth (busy machine): about {10 * hours:.0f} on all of MNIST")
for (d, pair), values in sorted(pairs.items()):
    print(
        f"{d} {names.pair(pair)}: {np.mean(values):.1f} (runs: {len(values)}), "
        f"{paper.TABLE3[d, pair]} in the paper"
        + (f", {student_pairs[pair]} in the student's program" if d == (5, 5) else "")
    )

# %% tags=["words"]
orders = {
    d: sorted(((np.mean(pairs[d, pair]), names.pair(pair)) for pair in ("nn", "ss", "sn")), reverse=True)
    for d in sorted({d for d, _ in pairs})
    if {(d, "nn"), (d, "ss"), (d, "sn")} <= pairs.keys()
}


def against_nn(some, d, pair="ss"):
    """Mean lead over N+N in points, the p-value of the pairs of one seed, and their number."""
    sides = [
        {
            r.settings["seed"]: 100 * r.results["accuracy"]
            for r in some
            if (*r.settings["d"], r.settings["model"]) == cell
        }
        for cell in ((*d, pair), (*d, "nn"))
    ]
    a, b = ([side[seed] for seed in sorted(sides[0].keys() & sides[1].keys())] for side in sides)
    return np.mean(a) - np.mean(b), results.PValue(results.paired_p_value(a, b)), len(a)


def tested(lead, p_value, n):
    return f"${lead:+.1f}$ points (" + ("one run" if n == 1 else f"{n} seeds, paired, p-value {p_value}") + ")"


plotting.say(
    "**What we find** with $\\alpha=0.1$: "
    + "; ".join(
        f"at ${d}$ " + ", ".join(f"{pair} {percent:.1f}%" for percent, pair in order) for d, order in orders.items()
    )
    + "."
    + (" **S+S is last.**" if all(order[-1][1] == "S+S" for order in orders.values()) else "")
    + " At these pairs the paper has S+S level with S+N. S+S − N+N is "
    + " and ".join(
        f"{tested(*against_nn(m1m2, d))} at ${d}$ (the paper's ${paper.TABLE3[d, 'ss'] - paper.TABLE3[d, 'nn']:+.1f}$)"
        for d in orders
    )
    + ": the largest disagreement of this report."
)
whole_mnist = {
    r.settings["model"]: 100 * r.results["accuracy"]
    for r in kept
    if (r.settings["data"], r.settings["alpha"], tuple(r.settings["d"])) == ("mnist", 1.0, (5, 5))
}
nn_on_tenth = [100 * r.results["accuracy"] for r in by_alpha[1.0] if r.settings["model"] == "nn"]
plotting.say(
    "**On all of MNIST**, with $\\alpha=1$ at $(5, 5)$, one run each: "
    + ", ".join(
        f"{names.pair(pair)} {percent:.1f}% (the paper's {paper.TABLE3[(5, 5), pair]:.1f})"
        for pair, percent in whole_mnist.items()
    )
    + f". On the tenth N+N has {np.mean(nn_on_tenth):.1f}% with that $\\alpha$. So many images lift the accuracy by "
    "more than any of our changes. S+S has there what it has in the paper, N+N has it, too, and no lead is left. The "
    "paper does not say its $\\alpha$."
)

named = {
    (alpha, pair): [
        round(100 * r.results["labelled_accuracy"])
        for r in some
        if r.settings["model"] == pair and "labelled_accuracy" in r.results
    ]
    for alpha, some in by_alpha.items()
    for pair in ("nn", "ss", "sn")
}
small = {  # S+S, alpha = 0.1, with z2 on S^2 and on S^5: accuracy by seed
    d2: {
        r.settings["seed"]: 100 * r.results["accuracy"]
        for r in records.load(experiment="table3", data="mnist-5k", model="ss", d=[5, d2], alpha=0.1)
        if r.settings["scheme"] == "end-to-end" and r.settings["warmup_epochs"] == 100
    }
    for d2 in (2, 5)
}
common = sorted(small[2].keys() & small[5].keys())
sides = [[small[d2][seed] for seed in common] for d2 in (2, 5)]
cheaper = np.mean(sides[0]) - np.mean(sides[1]), results.PValue(results.paired_p_value(*sides)), len(common)
plotting.say(
    "Where to look: with $\\alpha=0.1$ the S+S at $(5, 5)$ names "
    f"{min(named[0.1, 'ss'])} to {max(named[0.1, 'ss'])} of its own hundred labels rightly, N+N "
    f"{min(named[0.1, 'nn'])} to {max(named[0.1, 'nn'])} and S+N {min(named[0.1, 'sn'])} to {max(named[0.1, 'sn'])}. "
    "Its $z_2$ is not on its floor, and four runs of it lose the same three digits. With $\\alpha=1$ every run "
    f"names at least {min(map(min, (named[1.0, pair] for pair in ('nn', 'ss', 'sn'))))}, and S+S − N+N is "
    f"{tested(*against_nn(by_alpha[1.0], (5, 5)))} ([chapter 11](11_semi_supervised_m1m2.ipynb)). A von Mises-Fisher "
    "$z_2$ has one concentration for all its directions, and pays for all of them. With $z_2$ on $S^2$ in place of "
    f"$S^5$ its KL is larger, and S+S, $\\alpha=0.1$, gains {tested(*cheaper).replace('+', '')}. That may be a part of "
    "why it is behind S+N here. It does not explain the disagreement: the paper's S+S pays, too, and in its table the "
    "lag does not grow with the dimension of $z_2$."
)

# %% [markdown]
# The student program, with as many images, has 61.5% (N+N), 63.0% (S+S) and 65.3% (S+N) at $(5,5)$: low, and both
# models with a sphere ahead of N+N, as claimed; at $(50,50)$ both are behind it.

# %% tags=["checks"]
seed_0 = {(*r.settings["d"], r.settings["model"]): r.results for r in m1m2 if r.settings["seed"] == 0}
ours = {cell: 100 * result["accuracy"] for cell, result in seed_0.items()}
for d in (5, 10):
    assert ours[d, d, "sn"] > ours[d, d, "nn"] > ours[d, d, "ss"] + 4
    assert seed_0[d, d, "sn"]["elbo"] > seed_0[d, d, "ss"]["elbo"] + 0.2
    assert seed_0[d, d, "ss"]["elbo"] > seed_0[d, d, "nn"]["elbo"] + 1
    assert ours[d, d, "ss"] < paper.TABLE3[(d, d), "ss"] - 10
of_seed = {(r.settings["model"], r.settings["seed"]): 100 * r.results["accuracy"] for r in by_alpha[1.0]}
assert of_seed["ss", 0] > of_seed["nn", 0] + 1
assert of_seed["ss", 1] < of_seed["nn", 1] - 2
assert min(of_seed["ss", seed] for seed in (0, 1)) > ours[5, 5, "ss"] + 3
assert min(n for pair in ("nn", "ss", "sn") for n in named[1.0, pair]) >= 98
assert sum("accuracy_by_class" in r.results for r in m1m2 if r.settings["model"] == "ss") == 4
assert against_nn(m1m2, (5, 5))[2] == cheaper[2] == 5
assert cheaper[0] > 3
assert abs(whole_mnist["ss"] - paper.TABLE3[(5, 5), "ss"]) < 1
assert abs(whole_mnist["ss"] - whole_mnist["nn"]) < 0.5
assert whole_mnist["nn"] > max(paper.TABLE3[(5, 5), "nn"] + 4, np.mean(nn_on_tenth) + 8)
assert cheaper[1].mean < 0.05
assert against_nn(m1m2, (5, 5))[0] < -4
assert against_nn(m1m2, (5, 5))[1].mean < 0.05 < against_nn(m1m2, (5, 5), "sn")[1].mean
print(
    "Checked: of the first seeds S+N, N+N, S+S is the order of accuracy in both cells, S+N, S+S, N+N of the bound; "
    "with alpha = 1 S+S is ahead with one seed, behind with another."
)

# %% [markdown]
# ## Table 4: link prediction
#
# **The claim.** An S-VGAE finds missing citations better than an N-VGAE on Cora and Citeseer, and worse on Pubmed. Of
# the paper's figures we could confirm those of the S-VGAE in a second source; those of its N-VGAE we quote from memory.
# Kipf and Welling's own table has the N-VGAE, too.
#
# **What we have.** Random splits of three graphs:

# %%
links = records.load(experiment="table4", dropout=0.0)

# %% tags=["nbval-ignore-output", "words"]
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
    alt="On Cora and Citeseer most orange points lie above the blue ones, on Pubmed both lie together near 96.",
)

# %% tags=["words"]
gain = {graph: np.mean(auc[graph, "s"]) - np.mean(auc[graph, "n"]) for graph in graphs}
short = {graph: paper.TABLE4[graph, "s"]["auc"] - np.mean(auc[graph, "s"]) for graph in graphs}
p_value = {graph: results.paired_p_value(auc[graph, "s"], auc[graph, "n"]) for graph in graphs}
plotting.say(
    "**What we find.** S − N is "
    + ", ".join(
        f"${gain[graph]:+.1f}$ points of AUC on {graph.capitalize()} (paired, p-value "
        f"{results.PValue(p_value[graph])}, {len(auc[graph, 's'])} splits)"
        for graph in graphs
    )
    + f". The paper's S-VGAE is {short['cora']:.1f} points above ours on Cora and {short['citeseer']:.1f} on Citeseer. "
    "Our N-VGAE is within a point of Kipf and Welling's on these two graphs, and "
    f"{np.mean(auc['pubmed', 'n']) - paper.KIPF_WELLING['pubmed', 'n']['auc']:.1f} points above theirs on Pubmed, "
    "for which we have no reason. It has a learned scale, which theirs has not."
)

# %%
dropped = defaultdict(list)
for record in records.load(experiment="table4", dropout=0.5):
    dropped[record.settings["data"], record.settings["model"]].append(100 * record.results["auc"])
for cell, values in sorted(dropped.items()):
    print(
        f"{cell[0]}, {names.vgae(cell[1])}, dropout 0.5: {np.mean(values):.1f} in {len(values)} splits, "
        f"without {np.mean(auc[cell]):.1f} in {len(auc[cell])}, paper {paper.TABLE4[cell]['auc']:.1f}"
    )

# %% [markdown]
# With dropout 0.5 both models come near the paper's figures on Cora and Citeseer (those of the N-VGAE are quoted from
# memory). The paper does not say which dropout it used; of the three programs that its lost code was made of, one has
# 0.5 and one has none ([chapter 12](12_link_prediction.ipynb)). So it is plausible, and unproven.

# %% tags=["checks"]
assert 1 < gain["cora"] < 2.5
assert 1 < gain["citeseer"] < 3
assert abs(gain["pubmed"]) < 1
for graph in ("cora", "citeseer"):
    assert len(auc[graph, "n"]) == len(auc[graph, "s"]) >= 10
    assert p_value[graph] < 1e-3
    assert short[graph] > 1
    assert abs(np.mean(auc[graph, "n"]) - paper.KIPF_WELLING[graph, "n"]["auc"]) < 1
    assert abs(np.mean(dropped[graph, "s"][:3]) - paper.TABLE4[graph, "s"]["auc"]) < 1
    assert np.mean(dropped[graph, "s"]) > np.mean(auc[graph, "s"])
print("Checked: the sphere leads on Cora and Citeseer over ten splits; dropout 0.5 brings it near the paper.")

# %% [markdown]
# ## The trap
#
# **A constant that nobody sees.** The likelihood of an S-VAE needs the uniform density on the sphere,
#
# $$
# \log p(z)=-\log S_m=\log\Gamma(\tfrac m2)-\log2-\tfrac m2\log\pi
# $$
#
# The student reproduction has $\log\Gamma(\tfrac m2)-\tfrac m2\log(2\pi)$ ([@rubrice, commit f394bd1], `svae/vae.py`,
# lines 237 and 238). Training does not notice: a constant has no gradient, and the KL term is computed elsewhere. The
# samples do not notice. The table does: the difference is
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
# | gradient without its correction | $\kappa$ lower in twelve short runs of twelve | [8](08_s_vae.ipynb) |
# | a sampler's constant, approximated in one of two places | another law above $\kappa=10$; runs that stick | below |
# | $I_\nu$ underflows | at $\kappa=1$ zero, then NaN, from $m=66$ on in float32; in no table | [3](03_bessel.ipynb) |
# | wrapped normal for von Mises at $m=2$ | every S-VAE on the circle has the wrong posterior | [4](04_sampling.ipynb) |
# | a normaliser in two pieces | $\kappa$ is pinned at the joint | [3](03_bessel.ipynb) |
# | $\kappa$ capped at $100m$ | a ceiling that the paper's KL lies above at $d=2$ and 5 | [6](06_kl_divergence.ipynb) |
# | early stopping during warm-up | a model chosen for its reconstruction alone | [7](07_n_vae.ipynb) |
# | pixels drawn once | an easier problem, other numbers | [7](07_n_vae.ipynb) |
# | another likelihood, or the wrong constant, in LL | for the constant 0.3 to 14 nats, by dimension | above |
# | reflection with $\mu=e_1$ | NaN for one direction | [4](04_sampling.ipynb) |
# | a difference that cancels, NaN without end | wrong law, or a sampler that hangs | [4](04_sampling.ipynb) |
# | $m=d$ for the sphere | Table 2 turned around at $d=2$ | [10](10_semi_supervised_m1.ipynb) |
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
# on MNIST is above $100m$.

# %%
for d in (2, 5):
    found = [r["mean_concentration"] for r in cells.get((d, "s"), [])]
    print(f"d = {d}: mean kappa {np.mean(found):.0f}, the cap would be {100 * (d + 1)}")
    assert min(found) > 100 * (d + 1)

# %% [markdown]
# And the one that nobody seems to have reported: above $\kappa=10$ both public programs of the authors draw from
# another law. From $m=14$ on its samples at $\kappa=11$ are *less* concentrated than at 10, and catch up only later
# ([chapter 4](04_sampling.ipynb)). A posterior on its way to the $\kappa$ that it needs meets a barrier
# ([chapter 9](09_unsupervised.ipynb) has the table).

# %% tags=["words"]
tried = records.load(experiment="barrier", data="mnist-5k", initial_bias=0.0, warmup_epochs=50, until="decided")
stuck = {
    (d, model): [barrier.is_stuck(r) for r in tried if (r.settings["d"], r.settings["model"]) == (d, model)]
    for d in (20, 30, 40, 60)
    for model in ("s", "s-clip")
}
counts = [[sum(stuck[40, model]), len(stuck[40, model]) - sum(stuck[40, model])] for model in ("s-clip", "s")]
p_stuck = results.PValue(fisher_exact(counts).pvalue)
plotting.say(
    f"On a tenth of MNIST at $d=40$, {counts[0][0]} of {sum(counts[0])} runs with the public sampler never get over "
    f"it, and {counts[1][0]} of {sum(counts[1])} with the right one (Fisher's exact test: p-value "
    f"{p_stuck}); at $d=20$ and $30$ none; at $d=60$ {sum(stuck[60, 's-clip'])} of {len(stuck[60, 's-clip'])}, and "
    f"{sum(stuck[60, 's']) or 'none'} with the right one. The paper's row for $d=40$, with its KL of "
    f"{paper.TABLE1[40, 's']['kl'][0]:.1f} nats, looks like runs that got over it."
)

# %% tags=["checks"]
assert all(len(runs) >= 10 for runs in stuck.values())
assert (sum(stuck[40, "s-clip"]), len(stuck[40, "s-clip"])) == (10, 30)
assert sum(stuck[60, "s-clip"]) == 10
assert not any(sum(stuck[cell]) for cell in stuck if cell not in {(40, "s-clip"), (60, "s-clip")})
print("Checked: runs that stick are there at d = 40 and 60 with the public sampler, and nowhere else.")

# %% [markdown]
# ## Claim by claim
#
# Each verdict rests on records (`hvae records table N` prints them, and the page of results has them all), and on a
# test in `tests/experiments` that would fail if the numbers were made wrongly.

# %% tags=["nbval-ignore-output", "words"]
leads = {
    d: np.mean([measures["LL, K = 500"](r) for r in cells[d, "s"]])
    - np.mean([measures["LL, K = 500"](r) for r in cells[d, "n"]])
    for d in both
}
claimed = {d: paper.TABLE1[d, "s"]["log_likelihood"][0] - paper.TABLE1[d, "n"]["log_likelihood"][0] for d in leads}
agree = [d for d in both if margin[d][0] * published[d][0] > 0]


def at(dims):
    return "$d=" + "$, $".join(map(str, dims)) + "$"


def over_nn(pair):
    return points(np.mean(pairs[d, pair]) - np.mean(pairs[d, "nn"]) for d in orders)


told = [c for c in rows if abs(ts[*c, "LL, K = 500"]) < 2]
plotting.say(f"""
- **S-VAE ahead for $d\\le10$ in LL, level at 20, behind at 40.** Seen at $d=2$ and 5, and behind at 40, by more than in
  the paper; at 10 too close to tell; level at 20 not seen. S − N is
  {", ".join(f"${x:+.2f}$ nats at $d={d}$ (paper ${claimed[d]:+.2f}$)" for d, x in leads.items())}, in
  {in_each}. Records:
  `hvae records table 1 --data mnist`; test: `test_table1_against_hand_computed_numbers`.
- **Its ELBO, RE and KL.** Within two standard errors: ELBO and RE of {len(close)} models of {len(rows)}, KL of
  {len(rows) - len(dear)}; {leaning} KL of {len(rows)} are above the paper's. The same records; test:
  `test_table_1_adds_up`.
- **Its LL.** Within two standard errors for {names_of(told)} alone. The same records; test:
  `test_ten_importance_samples_give_one_column`.
- **k-NN better on the sphere, up to $d=20$.** With 100 labels the paper's order is seen, on average, at
  {at(agree)}, though at 2 in one run of two only, and not at 40, where the sphere leads and the paper's does not;
  {in_each}. Records:
  `hvae records table 2 --data mnist`; test:
  `test_table2_is_in_per_cent_and_each_column_has_its_own_number_of_labels`.
- **S+S and S+N ahead of N+N.** With $\\alpha=0.1$ on a tenth of the images S+N − N+N is {over_nn("sn")} points and
  S+S − N+N is {over_nn("ss")}, at $(5, 5)$ and $(10, 10)$. Records: `hvae records table 3 --data mnist-5k`; test:
  `test_table3_has_pairs_of_dimensions_the_papers_figures_and_p_values_against_n_n`.
- **S-VGAE ahead on Cora and Citeseer.** Stands, over {len(auc["cora", "s"])} splits each. Records:
  `hvae records table 4`; test: `test_table4_has_means_deviations_and_what_others_report`.
- **S-VGAE behind on Pubmed.** Not seen: S − N is ${gain["pubmed"]:+.1f}$ over {len(auc["pubmed", "s"])} splits. Same
  records.
""")

# %% tags=["checks"]
assert min(leads[2], leads[5]) > 0.5
assert abs(leads[10]) < 0.3
assert leads[20] < -1 < claimed[20]
assert leads[40] < 2 * claimed[40] < 0
assert agree == [2, 5, 10, 20]
at_two = [[100 * r["knn"]["100"]["mean"] for r in cells[2, model]] for model in "sn"]
assert [s > n for s, n in zip(*at_two, strict=True)] == [False, True]
assert margin[40][0] > 0 > published[40][0]
print("Checked: what is said of each claim on likelihoods and neighbours.")

# %% [markdown]
# ## What we could not settle
#
# - **Seeds.** Each table says how many runs a cell has. One run cannot say why it is off. But the ELBO of the S-VAE at
#   $d=5$ is too far off for an ordinary bad seed, if runs are normal ([chapter 9](09_unsupervised.ipynb)).
# - **The KL that leans.** It is not the binarisation of the test images. Training on another split we have not tried.
#   Of the N-VAE at $d=20$ one run without warm-up has the paper's ELBO, RE, KL and LL; at $d=40$ one goes past them.
#   The S-VAE at $d=40$ without warm-up has the paper's KL, too. The paper prints a warm-up of 100 epochs. That its
#   table was made otherwise is a conjecture, from one run each. What makes KL lean by up to half a nat at $d\le10$ we
#   do not know.
# - **The paper's LL.** Ten samples would explain LL − ELBO at $d=5$, not at $d=2$, and at $d=10$ for neither model. At
#   $d=20$ our S-VAE has the paper's ELBO to a tenth of a nat, and an LL that is more than a nat lower; at $d=40$ a
#   better ELBO, and an LL that is more than two nats lower.
# - **S+S in Table 3.** On a tenth of the images it is behind N+N, in the paper ahead. On all of them, with
#   $\alpha=1$, one run of each is level with the paper's S+S. More seeds there would tell.
# - **The plane at $d=2$ in Table 2**, which with 600 and 1,000 labels is better here than in the paper.
# - **Pubmed**: our N-VGAE is one and a half points above Kipf and Welling's.
# - **Dropout in Table 4**: which one the paper used. And with Kipf and Welling's own decoder our N-VGAE on Citeseer is
#   more than a point below theirs.
# - **What the public sampler did to the paper's own rows.** In our runs on a tenth of MNIST it does nothing visible at
#   $d=20$. At $d=40$ a third of the runs never start, and those that do lose half a nat and more ([chapter
#   9](09_unsupervised.ipynb)).
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
# It does not protect the results: only doing the run again does. That is one command, here for each kind of row. On the
# same machine with the same versions it gives the same digits (a test trains twice and compares), elsewhere numbers
# within the spread of seeds:
#
# ```sh
# hvae records list
# hvae reproduce table1 --data mnist --preset paper --dims 2 --seeds 1
# hvae reproduce table1 --data mnist --preset paper --dims 20 40 --models n --warmup-epochs 0 --seeds 1
# hvae reproduce table1 --data mnist --preset paper --dims 40 --models s --warmup-epochs 0 --seeds 1
# hvae reproduce table2 --data mnist-5k --preset paper --dims 2 --equal-coordinates --importance-samples 100 --seeds 3
# hvae reproduce table3 --data mnist-5k --preset paper --configs 10,10
# hvae reproduce table3 --data mnist-5k --preset paper --configs 5,5 --alpha 1
# hvae reproduce table4 --data cora citeseer pubmed --preset paper
# hvae reproduce table4 --data cora citeseer --preset paper --models n-plain
# hvae reproduce table4 --data cora citeseer --preset paper --dropout 0.5
# ```
#
# `results.paired_p_value` tests two groups of runs that share their splits, as `scipy.stats` does:

# %%
from scipy.stats import ttest_rel

if min(len(auc["cora", model]) for model in "ns") > 1:
    p = results.paired_p_value(auc["cora", "s"], auc["cora", "n"])
    assert np.isclose(p, ttest_rel(auc["cora", "s"], auc["cora", "n"]).pvalue)
    print(f"Cora, S against N: p-value {results.PValue(p)}")

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
# Three claims of this page to check against the records, with no code: that the KL lean upwards (`hvae records table 1
# --data mnist`); that the circle is behind the plane (`hvae records table 2 --data mnist-5k`); that S+S has a better
# bound and a lower accuracy than N+N (`hvae records table 3 --data mnist-5k`). Then, with code:

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
# - Table 1: of our first runs to $d=10$ five of six stand in ELBO and RE, not the S-VAE at $d=5$; all six KL lean
#   upwards, that of the S-VAE at $d=10$ by far. At $d=20$ the S-VAE stands in ELBO, RE and KL; the N-VAE's KL is 1.8
#   nats higher, and stands, with ELBO and RE, where the warm-up is left out (one run). At $d=40$ both KL are two nats
#   higher, the ELBO are as good or better, and the sphere is behind, as claimed. The LL stands for the S-VAE at $d=10$
#   and the N-VAE at $d=20$ and 40.
# - Table 2: with 100 labels our runs have on average the paper's sign up to $d=20$ (at 2 in one run of two), not at
#   40. At $d=40$ it is
#   the pair without warm-up that stands as the paper's (one run each). At $d=2$ forgetting a coordinate costs
#   the sphere more than it wins (three runs a space, a tenth of MNIST).
# - Table 4 stands in its order on Cora and Citeseer. In Table 3, on a tenth of the data and at $(5,5)$, S+N leads as
#   claimed, though five seeds do not settle it, and S+S is last, which they do at the 5% level: our largest
#   disagreement. On all of the data, with $\alpha=1$, S+S has what it has in the paper, and N+N has it, too (one
#   run each).
# - A constant without a gradient can turn a table around: check that densities integrate to one.
#
# ## References
#
# - [@davidson2018] Tables 1 to 4.
# - [@kipf2016] Table 1.
# - [@rubrice] A student reproduction of Figure 1 and Tables 1 to 3 on a tenth of the data.
