r"""Which formula is where: the function that computes it, the chapter that derives it, the test that holds it.

`hooks.py` makes a page of this map; tests/site/test_formulas.py proves it: everything named is there, and each test
fails where the function's result is off by the stated error.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """A formula and its places.

    Attributes:
        tex: the formula, for KaTeX; without a bar, which would end the cell of the table.
        source: where it is from: a paper with its equation, a section, or a number of the DLMF.
        function: dotted name of what computes it; a class stands for what calling it does.
        chapter: slug of the chapter that derives or uses it.
        test: node id, below tests/, of a test that fails if it is wrong.
        error: a relative error of the result at which the test fails.
    """

    tex: str
    source: str
    function: str
    chapter: str
    test: str
    error: float = 1e-3


_SPECIAL = "hvae_tutorial.special"
_LAWS = "hvae_tutorial.distributions"
_ACCURACY = "test_special.py::test_accuracy[{}-float64-grid]"

FORMULAS: dict[str, tuple[Formula, ...]] = {
    "The special function": (
        Formula(
            r"\phi_m(\kappa) = \log\Gamma(\tfrac m2) + (\tfrac m2 - 1) \log\tfrac2\kappa + \log I_{m/2-1}(\kappa)",
            "DLMF 10.39.9",
            f"{_SPECIAL}.log_partition",
            "03_bessel",
            _ACCURACY.format("log_partition"),
        ),
        Formula(
            r"A_m(\kappa) = \phi_m'(\kappa) = I_{m/2}(\kappa) / I_{m/2-1}(\kappa)",
            "Mardia and Jupp (2000), section 9.3.2",
            f"{_SPECIAL}.mean_resultant_length",
            "03_bessel",
            _ACCURACY.format("mean_resultant_length"),
        ),
        Formula(
            r"1 - A_m(\kappa) \to \frac{m - 1}{2 \kappa}",
            "DLMF 10.40.1",
            f"{_SPECIAL}.mean_resultant_length_complement",
            "03_bessel",
            _ACCURACY.format("mean_resultant_length_complement"),
        ),
        Formula(
            r"A_m'(\kappa) = 1 - A_m^2 - \frac{m - 1}{\kappa} A_m",
            "DLMF 10.29.2",
            f"{_SPECIAL}.mean_resultant_length_derivative",
            "05_gradients",
            _ACCURACY.format("mean_resultant_length_derivative"),
        ),
        Formula(
            r"A_m(\kappa) = r,\quad \kappa = A_m^{-1}(r)",
            "Mardia and Jupp (2000), section 10.3.1",
            f"{_SPECIAL}.concentration_from_mean_resultant_length",
            "02_von_mises_fisher",
            "test_special.py::test_inverse_is_accurate_next_to_one[float64]",
        ),
    ),
    "The sphere": (
        Formula(
            r"S_m = 2 \pi^{m/2} / \Gamma(\tfrac m2)",
            "DLMF 5.19.4",
            "hvae_tutorial.sphere.log_surface_area",
            "02_von_mises_fisher",
            "test_special.py::test_log_surface_area_against_mpmath[5]",
        ),
        Formula(
            r"2 \arctan\frac{\lVert a - b \rVert}{\lVert a + b \rVert}",
            "Kahan (2006)",
            "hvae_tutorial.sphere.geodesic_distance",
            "10_semi_supervised_m1",
            "distributions/test_sphere.py::test_distance_is_accurate_next_to_both_poles[0.1]",
        ),
        Formula(
            r"\frac{(2 \sqrt2 \cos\beta \sin\frac\lambda2,\ \sqrt2 \sin\beta)}{\sqrt{1 + \cos\beta \cos\frac\lambda2}}",
            "Snyder (1987), equations 24-1 and 24-2",
            "hvae_tutorial.sphere.hammer_projection",
            "02_von_mises_fisher",
            "distributions/test_sphere.py::test_hammer_projection_of_known_points",
        ),
    ),
    "The laws": (
        Formula(
            r"\log p(z) = \kappa\, \mu \cdot z - \phi_m(\kappa) - \log S_m",
            "Davidson et al. (2018), equation 2",
            f"{_LAWS}.VonMisesFisher.log_prob",
            "02_von_mises_fisher",
            "distributions/test_von_mises_fisher.py::test_log_prob_is_accurate[3-1.0-torch.float64-1e-10]",
        ),
        Formula(
            r"H = \log S_m - \mathrm{KL}(\kappa)",
            "Davidson et al. (2018), equation 8",
            f"{_LAWS}.VonMisesFisher.entropy",
            "06_kl_divergence",
            "distributions/test_von_mises_fisher.py::test_entropy_by_quadrature[5-30.0]",
        ),
        Formula(
            r"\mathrm{Cov}\, z = A_m' \mu \mu^\top + \frac{1 - A_m^2 - A_m'}{m - 1} (I - \mu \mu^\top)",
            "symmetry about $\\mu$, and $A_m' = \\mathrm{Var}\\, w$",
            f"{_LAWS}.VonMisesFisher.covariance_matrix",
            "02_von_mises_fisher",
            "distributions/test_von_mises_fisher.py::test_moments_by_quadrature[5-30.0]",
        ),
        Formula(
            r"p(z) \propto (1 + \mu \cdot z)^\kappa",
            "De Cao and Aziz (2020), equations 6 to 9",
            f"{_LAWS}.PowerSpherical.log_prob",
            "13_beyond",
            "distributions/test_power_spherical.py::test_density_by_quadrature[5-30.0]",
        ),
        Formula(
            r"p(z) = \frac{1}{S_m} \Bigl(\frac{\sqrt{1 - x_0^2}}{1 - x_0\, \mu \cdot z}\Bigr)^{m-1}",
            "Kato and McCullagh (2020), equation 2",
            f"{_LAWS}.SphericalCauchy.log_prob",
            "04_sampling",
            "distributions/test_spherical_cauchy.py::test_density_by_quadrature[5-30.0]",
        ),
    ),
    "Samples and their gradients": (
        Formula(
            r"P(\mathrm{accept}) = (c\, e^{1 - c})^{m - 1},\quad c = \frac{1}{1 + x_0 x}",
            "Ulrich (1984); Wood (1994)",
            f"{_LAWS}._sampling._propose",
            "04_sampling",
            "distributions/test_sampling_law.py::test_von_mises_fisher_law[5-10.0-float64]",
            error=0.05,
        ),
        Formula(
            r"y = -\tfrac1\kappa \log\bigl(1 - u\, (1 - e^{-2\kappa})\bigr),\quad m = 3",
            "inverse of the distribution function",
            f"{_LAWS}._sampling._invert_sphere",
            "04_sampling",
            "distributions/test_sampling_law.py::test_von_mises_fisher_law[3-10.0-float64]",
            error=0.05,
        ),
        Formula(
            r"z - \mu = \sqrt{1 - w^2}\, v - (1 - w) \mu",
            "Mardia and Jupp (2000), section 9.1",
            f"{_LAWS}._sampling.displacement",
            "04_sampling",
            "distributions/test_sampling_law.py::test_von_mises_fisher_law_about_every_axis[3-1.0-float64]",
        ),
        Formula(
            r"-\frac{d\theta}{d\kappa} = \frac{1}{f(\theta)} \int_0^\theta s f\, dt,\quad s = \partial_\kappa \log f",
            "Figurnov et al. (2018), section 3",
            f"{_LAWS}._implicit.von_mises_fisher_rate",
            "05_gradients",
            "distributions/test_implicit_gradients.py::test_von_mises_fisher_rate_against_30_digits",
        ),
    ),
    "Divergences": (
        Formula(
            r"\mathrm{KL}(\mathrm{vMF} \,\Vert\, U) = \kappa A_m(\kappa) - \phi_m(\kappa)",
            "Davidson et al. (2018), equation 8",
            f"{_SPECIAL}.kl_to_uniform",
            "06_kl_divergence",
            _ACCURACY.format("kl_to_uniform"),
        ),
        Formula(
            r"\phi(\kappa_2) - \phi(\kappa_1) + A(\kappa_1)\, (\kappa_1 - \kappa_2\, \mu_1 \cdot \mu_2)",
            "the Bregman divergence of $\\phi$",
            f"{_LAWS}.divergences._kl_von_mises_fisher",
            "06_kl_divergence",
            "distributions/test_divergences.py::test_two_von_mises_fisher_laws_against_integration_of_the_projection[10-1.0-50.0]",
        ),
        Formula(
            r"-E_{\mathrm{PS}} \log\tfrac{1 + \mu_2 \cdot z}{2}",
            "Barnes's integral, DLMF 15.6.6",
            f"{_LAWS}._logarithm.power_spherical_excess",
            "13_beyond",
            "distributions/test_power_spherical_divergences.py::test_values_on_a_grid[PowerSpherical-PowerSpherical-3]",
        ),
        Formula(
            r"\mathrm{KL}(\mathrm{SC} \,\Vert\, U) = \tfrac{m-1}{2} E \log(1 + \sinh^2\zeta\, (1 - x^2))",
            "the Moebius map of Kato and McCullagh (2020)",
            f"{_LAWS}.SphericalCauchy.kl_to_uniform",
            "13_beyond",
            "distributions/test_spherical_cauchy.py::test_statistics_on_the_reference_grid[kl]",
        ),
        Formula(
            r"E_{\mathrm{PS}} \log(1 + \beta (1 - \mu_2 \cdot z))",
            "the derivative of Appell's $F_1$ by Euler's integral, DLMF 16.15.1",
            f"{_LAWS}._appell.power_spherical_log_mean",
            "13_beyond",
            "distributions/test_spherical_cauchy.py::test_divergences_on_a_grid[PowerSpherical-3]",
        ),
        Formula(
            r"\mathrm{KL}(q \,\Vert\, N(0, I)) = \sum_i \tfrac12 (\mu_i^2 + \sigma_i^2 - 1) - \log\sigma_i",
            "Kingma and Welling (2014), appendix B",
            "hvae_tutorial.models.GaussianPosterior.kl",
            "07_n_vae",
            "models/test_product_posterior.py::test_kl_is_the_sum_the_registered_one_and_that_of_samples[all]",
        ),
    ),
    "Models and bounds": (
        Formula(
            r"\log p(x \mid z) = x \cdot l - \sum_i \log(1 + e^{l_i})",
            "Kingma and Welling (2014), appendix C.1",
            "hvae_tutorial.models.BernoulliLikelihood.log_prob",
            "07_n_vae",
            "models/test_likelihoods.py::test_bernoulli_log_prob_is_torchs",
        ),
        Formula(
            r"E_q \log p(x \mid z) - \beta\, \mathrm{KL}(q(z \mid x) \,\Vert\, p(z))",
            "Kingma and Welling (2014), equation 3",
            "hvae_tutorial.objectives.elbo",
            "07_n_vae",
            "objectives/test_vae_objectives.py::test_beta_weighs_the_kl_term",
        ),
        Formula(
            r"\log \frac1K \sum_k \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}",
            "Burda et al. (2016), equation 8",
            "hvae_tutorial.objectives.iwae_bound",
            "07_n_vae",
            "objectives/test_vae_objectives.py::test_with_the_exact_posterior_the_bound_is_the_evidence[5-7-3]",
        ),
        Formula(
            r"\mathcal{L}(x, y) = E_q \log p(x \mid y, z) - \mathrm{KL}(q(z \mid x, y) \,\Vert\, p(z)) - \log C",
            "Kingma et al. (2014), equation 6",
            "hvae_tutorial.objectives.bound_of_class",
            "11_semi_supervised_m1m2",
            "objectives/test_class_bounds.py::test_the_bounds_with_classes_are_sums_over_the_classes[1.0]",
        ),
        Formula(
            r"\mathcal{U}(x) = \sum_y q(y \mid x)\, \mathcal{L}(x, y) + H[q(y \mid x)]",
            "Kingma et al. (2014), equation 7",
            "hvae_tutorial.objectives.bound_over_classes",
            "11_semi_supervised_m1m2",
            "objectives/test_class_bounds.py::test_the_bounds_with_classes_are_sums_over_the_classes[0.3]",
        ),
        Formula(
            r"\sum_u \mathcal{U}(x_u) + \sum_l \mathcal{L}(x_l, y_l)"
            r" + \alpha N\, \tfrac1{N_l} \sum_l \log q(y_l \mid x_l)",
            "Kingma et al. (2014), equation 9",
            "hvae_tutorial.objectives.SemiSupervised",
            "11_semi_supervised_m1m2",
            "objectives/test_semi_supervised.py::test_the_objective_is_kingmas_over_the_number_of_unlabelled_points[1.0]",
        ),
        Formula(
            r"\beta_e = \beta\, \min(1, (e - 1) / W)",
            "Davidson et al. (2018), section 5",
            "hvae_tutorial.training.TrainingSettings.kl_weight",
            "09_unsupervised",
            "training/test_training.py::test_warmup",
        ),
    ),
    "Graphs": (
        Formula(
            r"\hat A = D^{-1/2} (A + I) D^{-1/2}",
            "Kipf and Welling (2017), equation 2",
            "hvae_tutorial.models.normalized_adjacency",
            "12_link_prediction",
            "models/test_vgae.py::test_adjacency_is_the_formula",
        ),
        Formula(
            r"\ell_{uv} = s\, z_u \cdot z_v + b",
            "Kipf and Welling (2016), equation 2",
            "hvae_tutorial.models.InnerProductDecoder.forward",
            "12_link_prediction",
            "models/test_vgae.py::test_decoder_is_the_formula",
        ),
        Formula(
            r"\tfrac12 \bigl[\mathrm{mean}_{a_{uv} = 1} \log p_{uv} + \mathrm{mean}_{a_{uv} = 0} \log(1 - p_{uv})\bigr]"
            r" - \tfrac1{N^2} \sum_u \mathrm{KL}_u",
            "Kipf and Welling (2016), reweighed as in their code",
            "hvae_tutorial.objectives.graph_elbo",
            "12_link_prediction",
            "objectives/test_graph_objectives.py::test_all_pairs_give_kipf_and_wellings_loss[s]",
        ),
    ),
    "What the tables print": (
        Formula(
            r"\frac{\sum_{i<j} \sin(a_i - a_j) \sin(b_i - b_j)}"
            r"{\sqrt{\sum_{i<j} \sin^2(a_i - a_j) \sum_{i<j} \sin^2(b_i - b_j)}}",
            "Fisher and Lee (1983)",
            "hvae_tutorial.experiments.studies.circle.circular_correlation",
            "14_reproduction_report",
            "experiments/studies/test_circle_study.py::test_circular_correlation_is_the_sum_over_pairs",
        ),
        Formula(
            r"t = \frac{\bar a - \bar b}{\sqrt{s_a^2 / n_a + s_b^2 / n_b}}",
            "Welch (1947)",
            "hvae_tutorial.experiments.results.welch_p_value",
            "09_unsupervised",
            "experiments/test_results.py::test_welch_agrees_with_its_formula",
        ),
        Formula(
            r"t = \frac{\bar D}{\sqrt{s_D^2 / n}}, \quad D_i = x_i - y_i",
            "Student (1908)",
            "hvae_tutorial.experiments.results.paired_p_value",
            "10_semi_supervised_m1",
            "experiments/test_results.py::test_paired_runs_are_tested_by_the_differences_within_a_seed",
        ),
    ),
}
