"""Every printed number comes from the records or the publication that its row names."""

import pytest
from example_records import example_record
from scipy import stats

from hvae_tutorial import records
from hvae_tutorial.experiments import figure1, names, table1, table2, table3, table4
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.results import Cell, PValue, comparison, number, paired_p_value, welch_p_value
from hvae_tutorial.records import Record

# Three runs each: log-likelihoods whose means and sample standard deviations are found by hand.
N = (-17.0, -18.0, -19.0)  # mean -18, deviation 1
S = (-16.5, -16.6, -16.7)  # mean -16.6, deviation 0.1
GRAPH = {"d": 16, "hidden": 32, "dropout": 0.0, "pairs_per_edge": 10, "learning_rate": 0.01, "epochs": 200}
M1M2 = {"labels": 100, "labelled_batch_size": 16, "alpha": 0.1, "m2_hidden": 128, "scheme": "end-to-end"}


def runs(model: str, values: tuple[float, ...], **settings: object) -> list[Record]:
    return [
        example_record(
            model=model,
            seed=seed,
            results={
                "log_likelihood": {"mean": value, "standard_error": 0.1, "samples": 100},
                "knn": {
                    size: {"mean": accuracy + 0.01 * seed, "standard_deviation": 0.02, "draws": 20}
                    for size, accuracy in (("100", 0.8), ("600", 0.85), ("1000", 0.9))
                },
            },
            **settings,
        )
        for seed, value in enumerate(values)
    ]


def links(data: str, model: str, aucs: tuple[float, ...], **settings: object) -> list[Record]:
    return [
        example_record(
            experiment="table4",
            data=data,
            model=model,
            seed=seed,
            results={"auc": auc, "ap": auc - 0.1},
            **{**GRAPH, **settings},
        )
        for seed, auc in enumerate(aucs)
    ]


def pairs_of(model: str, accuracies: tuple[float, ...], d: list[int], **settings: object) -> list[Record]:
    return [
        example_record(
            experiment="table3",
            data="mnist",
            model=model,
            d=d,
            seed=seed,
            results={"accuracy": accuracy},
            **{**M1M2, **settings},
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def test_mean_and_sample_standard_deviation() -> None:
    assert Cell.of(N, digits=2) == Cell(-18.0, 1.0, 2)
    assert str(Cell.of(N, digits=2)) == "-18.00 ± 1.00"
    assert str(Cell.of([2.0, 4.0], digits=3)) == "3.000 ± 1.414"
    assert str(Cell.of([-17.0], digits=1)) == "-17.0"
    assert str(Cell.of([], digits=1)) == "n/a"
    assert str(Cell()) == ""


def test_welch_agrees_with_its_formula() -> None:
    """t = (mean difference) / sqrt(s1^2/n1 + s2^2/n2) with Welch and Satterthwaite's degrees of freedom."""
    u, v = 1.0 / 3, 0.1**2 / 3
    t = (-16.6 + 18.0) / (u + v) ** 0.5
    degrees = (u + v) ** 2 / (u**2 / 2 + v**2 / 2)
    assert welch_p_value(S, N) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-9)
    assert welch_p_value(S, N) == pytest.approx(stats.ttest_ind(S, N, equal_var=False).pvalue)
    assert welch_p_value(S, N) != pytest.approx(stats.ttest_ind(S, N).pvalue, rel=0.01)


@pytest.mark.parametrize(("a", "b"), [((1.0,), (1.0, 2.0)), ((1.0, 2.0), (1.0,)), ((), ()), ((1.0, 1.0), (2.0, 2.0))])
def test_welch_needs_two_runs_on_each_side_and_some_variation(a: tuple, b: tuple) -> None:
    assert welch_p_value(a, b) is None
    assert str(PValue(welch_p_value(a, b))) == "n/a"


def test_paired_runs_are_tested_by_the_differences_within_a_seed() -> None:
    """t = mean difference / (deviation of the differences / sqrt(n)); what both share does not count."""
    a, b = (81.0, 60.0, 72.0, 90.0), (80.0, 59.5, 70.0, 89.5)
    t = 1.0 / ((0.5**2 + 1 + 0.5**2) / 3 / 4) ** 0.5  # differences 1, 0.5, 2, 0.5
    assert paired_p_value(a, b) == pytest.approx(2 * stats.t.sf(t, 3), rel=1e-9)
    assert paired_p_value(a, b) < 0.07 < 0.9 < welch_p_value(a, b)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        paired_p_value(a, b[:3])


@pytest.mark.parametrize(("a", "b"), [((1.0,), (1.0,)), ((), ()), ((1.0, 3.0), (2.0, 4.0))])
def test_pairs_need_two_seeds_and_some_variation(a: tuple, b: tuple) -> None:
    assert paired_p_value(a, b) is None


def test_only_runs_whose_seed_is_on_both_sides_are_pairs() -> None:
    a, b = {5: 0.9, 1: 0.8, 7: 0.1, 0: 0.6}, {0: 0.55, 1: 0.7, 5: 0.85, 2: 0.2}
    cells = {
        ("cora", model): [example_record(seed=seed, results={"auc": auc}) for seed, auc in aucs.items()]
        for model, aucs in (("s", a), ("n", b))
    }
    *_, tested = comparison(cells, {"AUC": ("auc",)}, {}, digits=1, name=str, paired=True)
    assert tested.cells[0].mean == pytest.approx(stats.ttest_rel([0.6, 0.8, 0.9], [0.55, 0.7, 0.85]).pvalue)


@pytest.mark.parametrize(("p", "text"), [(0.034567, "0.035"), (0.5, "0.5"), (0.00012, "0.00012"), (1e-9, "< 0.0001")])
def test_p_values_have_two_digits(p: float, text: str) -> None:
    assert str(PValue(p)) == text


def test_table1_against_hand_computed_numbers() -> None:
    table = table1.table([*runs("s", S), *runs("n", N)])
    assert table.headers == ["d", "model", "runs", "LL (100)", "LL (10)", "ELBO", "RE", "KL"]
    constant = ["-17.50 ± 0.00", "-18.00 ± 0.00", "-12.00 ± 0.00", "6.00 ± 0.00"]
    assert table.cells[0] == ["2", "N-VAE", "3", "-18.00 ± 1.00", *constant]
    assert table.cells[1] == ["2", "S-VAE", "3", "-16.60 ± 0.10", *constant]
    p = stats.ttest_ind(S, N, equal_var=False).pvalue
    assert table.cells[2] == ["2", "p, S-VAE", "", f"{p:.2g}", *["n/a"] * 4]
    assert len(table.rows) == 3
    assert any("at most 60 epochs, warm-up over 15" in note for note in table.notes)


def test_single_runs_have_no_deviation_and_no_row_of_p_values() -> None:
    table = table1.table([*runs("n", N[:1]), *runs("s", S[:1])])
    assert table.cells[0][2:4] == ["1", "-17.00"]
    assert [cells[1] for cells in table.cells] == ["N-VAE", "S-VAE"]


def test_dimensions_are_sorted_as_numbers() -> None:
    table = table1.table([*runs("n", N, d=10), *runs("n", N, d=2), *runs("n", N, d=5)])
    assert [row.label for row in table.rows] == ["2", "5", "10"]


def test_the_papers_figures_stand_beside_ours_on_mnist_only() -> None:
    table = table1.table([*runs("n", N, data="mnist", d=5), *runs("s", S, data="mnist", d=5)])
    of_model = ["{}", "{}, paper", "{}, ours − paper"]
    assert [row.name for row in table.rows] == [n.format(m) for m in ("N-VAE", "S-VAE") for n in of_model] + [
        "p, S-VAE"
    ]
    assert [row.source for row in table.rows] == ["ours", "paper", "ours − paper"] * 2 + ["p"]
    assert table.cells[1][3:] == ["-110.21 ± 0.21", "", "-112.98 ± 0.21", "-100.16 ± 0.22", "12.82 ± 0.11"]
    for other in ("digits", "fashion-mnist", "mnist-5k"):
        for made in (table1.table, table2.table):
            assert "paper" not in made(runs("n", N, data=other, d=5), complete=True).text()
        assert (
            "paper"
            not in table3.table(
                [
                    example_record(
                        experiment="table3", data=other, model="nn", d=[5, 5], results={"accuracy": 0.9}, **M1M2
                    )
                ]
            ).text()
        )
    assert "paper" not in table1.table(runs("n", N, data="mnist", d=3)).text()  # not one of the paper's dimensions


def test_a_complete_table_has_the_cells_that_only_the_paper_has_and_those_that_only_we_have() -> None:
    table = table1.table(runs("n", N, data="mnist", d=3), complete=True)
    rows = {(row.label, row.name): cells for row, cells in zip(table.rows, table.cells, strict=True)}
    assert list(rows)[:2] == [("2", "N-VAE, paper"), ("2", "S-VAE, paper")]
    assert {d for d, _ in rows} == {"2", "3", "5", "10", "20", "40"}
    assert rows["3", "N-VAE"][2] == "3"
    assert ("40", "S-VAE") not in rows
    assert rows["40", "S-VAE, paper"][3:] == ["-90.87 ± 0.34", "", "-101.26 ± 0.33", "-67.75 ± 0.70", "33.50 ± 0.45"]
    assert not any(row.source == "p" for row in table.rows)
    second = table2.table(runs("n", N, data="mnist", d=3), complete=True)
    assert ["40", "S-VAE, paper", "", "67.7", "87.4", "90.4"] in second.cells


@pytest.mark.parametrize("complete", [True, False])
def test_a_table_has_the_differences_to_the_papers_figures(complete: bool) -> None:
    table = table1.table(runs("n", N, data="mnist", d=5), complete=complete)
    rows = {(row.label, row.name): cells for row, cells in zip(table.rows, table.cells, strict=True)}
    assert rows["5", "N-VAE, ours − paper"] == [
        "5",
        "N-VAE, ours − paper",
        "",
        "+92.21",
        "",
        "+94.98",
        "+88.16",
        "-6.82",
    ]
    assert "<td>N-VAE, ours − paper" in table.html()
    assert "<em>N-VAE, paper</em>" in table.html()
    assert "N-VAE,,ours − paper,," in table.csv()


def test_table2_is_in_per_cent_and_each_column_has_its_own_number_of_labels() -> None:
    better = runs("s", S, data="mnist")
    for run, more in zip(better, (0.01, 0.02, 0.04), strict=True):
        run.results["knn"]["100"]["mean"] += more
    table = table2.table([*runs("n", N, data="mnist"), *better])
    assert table.headers == ["d", "model", "runs", "100 labels", "600 labels", "1000 labels"]
    assert table.cells[0] == ["2", "N-VAE", "3", "81.0 ± 1.0", "86.0 ± 1.0", "91.0 ± 1.0"]
    assert table.cells[1] == ["2", "N-VAE, paper", "", "72.6", "80.8", "81.7"]
    assert table.cells[-1] == ["2", "p, S-VAE", "", f"{stats.ttest_1samp((1, 2, 4), 0).pvalue:.2g}", "n/a", "n/a"]
    assert any("the modes of the posteriors" in note for note in table.notes)


def test_table2_by_coordinates_needs_all_three_spaces() -> None:
    n, s = runs("n", N), runs("s", S)
    with pytest.raises(ValueError, match=r"no d with records of N-VAE on R\^d and of S-VAE on S\^d and on S\^\(d-1\)"):
        table2.by_coordinates([*n, *s])
    assert list(table2.tables([*n, *s])) == ["table2"]
    circle = runs("s", N, d=1)
    made = table2.tables([*n, *s, *circle])
    assert list(made) == ["table2", "table2-coordinates"]
    table = made["table2-coordinates"]
    assert table.headers[:5] == ["d of the plane", "model and space", "coordinates", "runs", "100 labels"]
    assert [cells[:4] for cells in table.cells] == [
        ["2", "N-VAE, R^2", "2", "3"],
        ["2", "S-VAE, S^2", "3", "3"],
        ["2", "S-VAE, S^1", "2", "3"],
    ]
    assert table.rows[2].records == [record.name for record in circle]


def test_figure1_names_beta_and_leaves_out_what_an_autoencoder_lacks() -> None:
    autoencoder = example_record(experiment="figure1", model="ae")
    for name in ("log_likelihood", "log_likelihood_10", "elbo", "kl"):
        del autoencoder.results[name]
    spherical = example_record(experiment="figure1", model="s", d=1)
    gaussian = [example_record(experiment="figure1", beta=beta) for beta in (1.0, 0.1)]
    table = figure1.table([spherical, *gaussian, autoencoder])
    assert [row.name for row in table.rows] == ["autoencoder", "N-VAE, β = 0.1", "N-VAE, β = 1", "S-VAE"]
    assert table.headers == ["model", "runs", "LL (100)", "ELBO", "RE", "KL", "circular correlation"]
    assert table.cells[0] == ["autoencoder", "1", "n/a", "n/a", "-12.00", "n/a", "0.900"]
    assert table.cells[3] == ["S-VAE", "1", "-17.00", "-18.00", "-12.00", "6.00", "0.900"]


@pytest.mark.parametrize("build", [table1.table, table2.table, figure1.table])
def test_records_that_cannot_be_compared_are_refused(build: object) -> None:
    with pytest.raises(ValueError, match="there are no records"):
        build([])
    other = example_record(seed=1, epochs=1000, importance_samples=500)
    with pytest.raises(ValueError, match="must agree in epochs, importance_samples; table1-digits-n-d2-seed1-"):
        build([example_record(), other])


def test_a_result_that_is_missing_is_named_with_its_record() -> None:
    record = example_record()
    with pytest.raises(ValueError, match=rf"the record {record.name} has no result knn\.600\.mean"):
        number(record, "knn", "600", "mean")
    with pytest.raises(ValueError, match=r"has no result elbo\.mean"):
        number(record, "elbo", "mean")


def test_ten_importance_samples_give_one_column() -> None:
    table = table1.table(runs("n", N, data="mnist", d=5, importance_samples=10))
    assert table.headers == ["d", "model", "runs", "LL (10)", "ELBO", "RE", "KL"]
    assert {len(cells) for cells in table.cells} == {7}
    assert table.cells[0][3] == "-18.00 ± 1.00"
    assert table.cells[1][3:5] == ["-110.21 ± 0.21", "-112.98 ± 0.21"]


def test_table3_has_pairs_of_dimensions_the_papers_figures_and_p_values_against_n_n() -> None:
    nn, sn = (0.90, 0.91, 0.92), (0.93, 0.95, 0.97)
    found = [*pairs_of("nn", nn, [10, 5]), *pairs_of("sn", sn, [10, 5]), *pairs_of("nn", (0.5,), [10, 50])]
    table = table3.table(found)
    assert [cells[:4] for cells in table.cells] == [
        ["10, 5", "N+N", "3", "91.00 ± 1.00"],
        ["10, 5", "N+N, paper", "", "90.7"],
        ["10, 5", "N+N, ours − paper", "", "+0.3"],
        ["10, 5", "S+N", "3", "95.00 ± 2.00"],
        ["10, 5", "S+N, paper", "", "94.0"],
        ["10, 5", "S+N, ours − paper", "", "+1.0"],
        ["10, 5", "p, S+N", "", f"{stats.ttest_rel(sn, nn).pvalue:.2g}"],
        ["10, 50", "N+N", "1", "50.00"],
        ["10, 50", "N+N, paper", "", "92.9"],
        ["10, 50", "N+N, ours − paper", "", "-42.9"],
    ]
    assert table.cells[0][4:] == ["-18.00 ± 0.00", "-12.00 ± 0.00", "6.00 ± 0.00"]  # nats, not per cent
    stacked = pairs_of("nn", (0.9,), [10, 5], scheme="stacked")
    with pytest.raises(ValueError, match=r"must agree in scheme; table3-mnist-nn"):
        table3.table([*found, *stacked])


@pytest.mark.parametrize(("scheme", "of_z1"), [("end-to-end", False), ("stacked", True)])
def test_table3_says_how_was_trained_and_what_the_elbo_bounds(scheme: str, of_z1: bool) -> None:
    notes = " ".join(table3.table(pairs_of("nn", (0.9,), [5, 5], scheme=scheme)).notes)
    assert f"Training: {scheme}" in notes
    assert ("of z1, not of the image" in notes) == of_z1


def test_table4_has_means_deviations_and_what_others_report() -> None:
    found = [*links("cora", "s", (0.92, 0.94)), *links("cora", "n", (0.90, 0.91)), *links("karate", "n", (0.7,))]
    table = table4.table(found)
    assert table.headers == ["graph", "model", "runs", "AUC", "AP"]
    assert table.cells == [
        ["cora", "N-VGAE", "2", "90.5 ± 0.7", "80.5 ± 0.7"],
        ["cora", "N-VGAE, paper", "", "92.7", "93.2"],
        ["cora", "N-VGAE, ours − paper", "", "-2.2", "-12.7"],
        ["cora", "N-VGAE, Kipf and Welling", "", "91.4", "92.6"],
        ["cora", "S-VGAE", "2", "93.0 ± 1.4", "83.0 ± 1.4"],
        ["cora", "S-VGAE, paper", "", "94.1", "94.1"],
        ["cora", "S-VGAE, ours − paper", "", "-1.1", "-11.1"],
        ["cora", "p, S-VGAE", "", "0.13", "0.13"],
        ["karate", "N-VGAE", "1", "70.0", "60.0"],
    ]
    assert any("from memory" in note for note in table.notes)
    assert any("200 epochs" in note and "step size 0.01" in note for note in table.notes)
    with pytest.raises(ValueError, match="must agree in dropout"):
        table4.table([*found, *links("cora", "s", (0.9,), dropout=0.5)])


def test_groups_share_all_settings_but_those_of_the_cell() -> None:
    short = example_record(epochs=3)
    n, s = runs("n", N), runs("s", S, d=5)
    assert groups([short, *n, *s], ("d", "model")) == [[*n, *s], [short]]
    assert groups([*n, *s], ("model",)) == [n, s]


def test_every_cell_of_the_packaged_tables_is_the_mean_of_the_records_that_its_row_names() -> None:
    """Recomputed from the JSON alone, by the names in the row."""
    paths = {
        "LL (500)": ("log_likelihood", "mean"),
        "LL (100)": ("log_likelihood", "mean"),
        "LL (10)": ("log_likelihood_10", "mean"),
        "ELBO": ("elbo",),
        "RE": ("reconstruction",),
        "KL": ("kl",),
        "accuracy": ("accuracy",),
        "AUC": ("auc",),
        "AP": ("ap",),
        **{f"{size} labels": ("knn", str(size), "mean") for size in (100, 600, 1000)},
    }
    sampled = {
        "ELBO": ("sampled_elbo",),
        "KL": ("sampled_kl",),
        "reported LL": ("reported_log_likelihood", "mean"),
        "reported ELBO": ("elbo",),
        "reported KL": ("kl",),
        "median κ": ("median_concentration",),
    }
    by_name = {record.name: record for record in records.load()}
    checked: set[str] = set()
    for experiment in EXPERIMENTS.values():
        for group in groups(records.load(experiment=experiment.records), experiment.by):
            for name, table in experiment.tables(group).items():
                if name == "barrier":  # it counts runs, see `test_barrier`
                    checked.update(record.name for record in group)
                    continue
                paths_here = paths | (sampled if name == "barrier-ends" else {})
                for row in (row for row in table.rows if row.source == "ours"):
                    assert row.runs == len(row.records) > 0
                    settings = [by_name[name].settings for name in row.records]
                    assert len({(str(s["d"]), s["model"], s["data"]) for s in settings}) == 1
                    kind, d = settings[0]["model"], settings[0]["d"]
                    if experiment.name == "products":  # its rows are named by their spaces
                        assert (row.label, row.model) == (str(names.coordinates(kind, d)), names.space(kind, d))
                    else:
                        assert row.model.startswith(experiment.model(kind))
                        assert row.label in {str(settings[0]["data"]), str(d).strip("[]"), "2"}
                    alone = settings[0].get("importance_samples") == 10  # the one column is the experiment's own
                    where = paths_here | ({"LL (10)": ("log_likelihood", "mean")} if alone else {})
                    for column, cell in zip(table.columns, row.cells, strict=True):
                        values = []
                        for name in row.records:
                            value = by_name[name].results
                            for part in where[column]:
                                value = value[part]
                            values.append(value)
                        factor = 100 if "labels" in column or column in ("accuracy", "AUC", "AP") else 1
                        assert cell.mean == pytest.approx(factor * sum(values) / len(values))
                        checked.update(row.records)
    assert checked == by_name.keys()
