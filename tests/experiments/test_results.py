import pytest
from example_records import example_record
from scipy import stats

from hvae_tutorial.experiments import paper, results
from hvae_tutorial.experiments.results import Table, format_p_value, mean_and_deviation, welch_p_value
from hvae_tutorial.records import Record

# Three runs each: log-likelihoods whose means and sample standard deviations are found by hand.
N = (-17.0, -18.0, -19.0)  # mean -18, deviation 1
S = (-16.5, -16.6, -16.7)  # mean -16.6, deviation 0.1


def runs(model: str, values: tuple[float, ...], **settings: object) -> list[Record]:
    return [
        example_record(
            model=model,
            seed=seed,
            results={
                "log_likelihood": {"mean": value, "standard_error": 0.1, "samples": 100},
                "knn": {"100": {"mean": 0.8 + 0.01 * seed, "standard_deviation": 0.02, "draws": 20}},
            },
            **settings,
        )
        for seed, value in enumerate(values)
    ]


def test_mean_and_sample_standard_deviation() -> None:
    assert mean_and_deviation(N, digits=2) == "-18.00 ± 1.00"
    assert mean_and_deviation([2.0, 4.0], digits=3) == "3.000 ± 1.414"
    assert mean_and_deviation([-17.0], digits=1) == "-17.0"
    assert mean_and_deviation([], digits=1) == "n/a"


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
    assert format_p_value(welch_p_value(a, b)) == "n/a"


@pytest.mark.parametrize(("p", "text"), [(0.034567, "0.035"), (0.5, "0.5"), (0.00012, "0.00012"), (1e-9, "< 0.0001")])
def test_p_values_have_two_digits(p: float, text: str) -> None:
    assert format_p_value(p) == text


def test_table1_against_hand_computed_numbers() -> None:
    table = results.table1([*runs("s", S), *runs("n", N)])
    assert table.headers == ["d", "model", "runs", "LL (100)", "LL (10)", "ELBO", "RE", "KL"]
    constant = ["-17.50 ± 0.00", "-18.00 ± 0.00", "-12.00 ± 0.00", "6.00 ± 0.00"]
    assert table.rows[0] == ["2", "N-VAE", "3", "-18.00 ± 1.00", *constant]
    assert table.rows[1] == ["2", "S-VAE", "3", "-16.60 ± 0.10", *constant]
    assert table.rows[2] == ["2", "p, S-VAE", "", format_p_value(welch_p_value(S, N)), *["n/a"] * 4]
    assert len(table.rows) == 3
    assert any("at most 60 epochs, warm-up over 15" in note for note in table.notes)


def test_single_runs_have_no_deviation_and_no_p_value() -> None:
    table = results.table1([*runs("n", N[:1]), *runs("s", S[:1])])
    assert table.rows[0][2:4] == ["1", "-17.00"]
    assert table.rows[2] == ["2", "p, S-VAE", "", *["n/a"] * 5]


def test_dimensions_are_sorted_as_numbers() -> None:
    table = results.table1([*runs("n", N, d=10), *runs("n", N, d=2), *runs("n", N, d=5)])
    assert [row[0] for row in table.rows] == ["2", "5", "10"]


def test_the_papers_figures_stand_beside_ours_on_mnist_only() -> None:
    table = results.table1([*runs("n", N, data="mnist", d=5), *runs("s", S, data="mnist", d=5)])
    assert [row[1] for row in table.rows] == ["N-VAE", "N-VAE, paper", "S-VAE", "S-VAE, paper", "p, S-VAE"]
    assert table.rows[1][3:] == ["-110.21 ± 0.21", "", "-112.98 ± 0.21", "-100.16 ± 0.22", "12.82 ± 0.11"]
    for other in ("digits", "fashion-mnist"):
        assert "paper" not in results.table1(runs("n", N, data=other, d=5)).text()
        assert "paper" not in results.table2(runs("n", N, data=other, d=5)).text()
    assert "paper" not in results.table1(runs("n", N, data="mnist", d=3)).text()  # not one of the paper's dimensions


def test_table2_is_in_per_cent() -> None:
    table = results.table2([*runs("n", N, data="mnist"), *runs("s", S, data="mnist")])
    assert table.headers == ["d", "model", "runs", "100 labels"]
    assert table.rows[0] == ["2", "N-VAE", "3", "81.0 ± 1.0"]
    assert table.rows[1] == ["2", "N-VAE, paper", "", "72.6"]
    assert table.rows[-1] == ["2", "p, S-VAE", "", "1"]


def test_figure1_names_beta_and_leaves_out_what_an_autoencoder_lacks() -> None:
    autoencoder = example_record(experiment="figure1", model="ae")
    for name in ("log_likelihood", "log_likelihood_10", "elbo", "kl"):
        del autoencoder.results[name]  # type: ignore[attr-defined]
    spherical = example_record(experiment="figure1", model="s", d=1)
    gaussian = [example_record(experiment="figure1", beta=beta) for beta in (1.0, 0.1)]
    table = results.figure1([spherical, *gaussian, autoencoder])
    assert [row[0] for row in table.rows] == ["autoencoder", "N-VAE, β = 0.1", "N-VAE, β = 1", "S-VAE"]
    assert table.rows[0] == ["autoencoder", "1", "n/a", "n/a", "-12.00", "n/a", "0.900"]
    assert table.rows[3] == ["S-VAE", "1", "-17.00", "-18.00", "-12.00", "6.00", "0.900"]


@pytest.mark.parametrize("build", [results.table1, results.table2, results.figure1])
def test_records_that_cannot_be_compared_are_refused(build: object) -> None:
    with pytest.raises(ValueError, match="there are no records"):
        build([])
    other = example_record(seed=1, epochs=1000, importance_samples=500)
    with pytest.raises(ValueError, match="must agree in epochs, importance_samples; table1-digits-n-d2-seed1-"):
        build([example_record(), other])


def test_text_and_markdown() -> None:
    table = Table("A title", ["d", "LL"], [["2", "-1.50"], ["10", "n/a"]], ["A note."])
    assert table.text().splitlines() == [
        "A title",
        "",
        "d    LL",
        "---  -----",
        "2    -1.50",
        "10   n/a",
        "",
        "- A note.",
    ]
    assert table.markdown().splitlines()[2:6] == [
        "| d   | LL    |",
        "|-----|-------|",
        "| 2   | -1.50 |",
        "| 10  | n/a   |",
    ]


def test_the_papers_numbers_are_those_of_its_tables() -> None:
    assert paper.TABLE1[5, "s"]["log_likelihood"] == (-108.43, 0.09)
    assert paper.TABLE1[40, "s"]["kl"] == (33.50, 0.45)
    assert paper.TABLE2[2, "n"][100] == 72.6
    for numbers in paper.TABLE1.values():  # ELBO = RE - KL up to rounding: a wrong digit shows
        elbo, reconstruction, kl = (numbers[name][0] for name in ("elbo", "reconstruction", "kl"))
        assert elbo == pytest.approx(reconstruction - kl, abs=0.03)
    assert paper.TABLE1.keys() == paper.TABLE2.keys()


def test_ten_importance_samples_give_one_column() -> None:
    table = results.table1(runs("n", N, data="mnist", d=5, importance_samples=10))
    assert table.headers == ["d", "model", "runs", "LL (10)", "ELBO", "RE", "KL"]
    assert {len(row) for row in table.rows} == {7}
    assert table.rows[1][3:5] == ["-110.21 ± 0.21", "-112.98 ± 0.21"]


def test_table3_has_pairs_of_dimensions_the_papers_figures_and_p_values_against_n_n() -> None:
    extra = {"labels": 100, "labelled_batch_size": 16, "alpha": 0.1, "m2_hidden": 128, "scheme": "end-to-end"}
    accuracies = {"nn": (0.90, 0.91, 0.92), "sn": (0.93, 0.95, 0.97)}
    found = [
        example_record(
            experiment="table3", data="mnist", model=pair, d=[10, 5], seed=seed, results={"accuracy": value}, **extra
        )
        for pair, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    table = results.table3(found)
    assert [row[:4] for row in table.rows[:4]] == [
        ["10, 5", "N+N", "3", "91.00 ± 1.00"],
        ["10, 5", "N+N, paper", "", "90.7"],
        ["10, 5", "S+N", "3", "95.00 ± 2.00"],
        ["10, 5", "S+N, paper", "", "94.0"],
    ]
    p = stats.ttest_ind(accuracies["sn"], accuracies["nn"], equal_var=False).pvalue
    assert table.rows[4][:4] == ["10, 5", "p, S+N", "", format_p_value(p)]
    assert any("Training: end-to-end." in note for note in table.notes)
    extra["scheme"] = "stacked"
    stacked = example_record(
        experiment="table3", data="mnist", model="nn", d=[10, 5], results={"accuracy": 0.9}, **extra
    )
    with pytest.raises(ValueError, match=r"must agree in scheme; table3-mnist-nn"):
        results.table3([*found, stacked])


def test_table2_by_coordinates_needs_all_three_spaces() -> None:
    n, s = runs("n", N), runs("s", S)
    with pytest.raises(ValueError, match=r"no d with records of N-VAE on R\^d and of S-VAE on S\^d and on S\^\(d-1\)"):
        results.table2_coordinates([*n, *s])
    table = results.table2_coordinates([*n, *s, *runs("s", S, d=1)])
    assert [row[:4] for row in table.rows] == [
        ["2", "N-VAE, R^2", "2", "3"],
        ["2", "S-VAE, S^2", "3", "3"],
        ["2", "S-VAE, S^1", "2", "3"],
    ]
