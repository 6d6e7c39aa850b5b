"""A picture shows the points, classes and curves that it was given, where they lie, with its words."""

import ast
import base64
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from hvae_tutorial import plotting
from hvae_tutorial.plotting import Figure

RANDOM = np.random.default_rng(0)
LABELS = np.arange(40) % 10
PLANE = RANDOM.standard_normal((40, 2))
CIRCLE = PLANE / np.linalg.norm(PLANE, axis=1, keepdims=True)
SPACE = RANDOM.standard_normal((40, 3))
SPHERE = SPACE / np.linalg.norm(SPACE, axis=1, keepdims=True)
IMAGES = RANDOM.random((10, 8, 6))
HISTORY: Mapping[str, Sequence[float]] = {
    "epoch": [1, 2],
    "validation_elbo": [-3.0, -2.0],
    "validation_kl": [1.0, 2.0],
    "beta": [0.5, 1.0],
}

PICTURES: dict[str, Callable[[], Figure]] = {
    "plane": lambda: plotting.latent_plane(PLANE, LABELS, title="plane"),
    "circle": lambda: plotting.latent_circle(CIRCLE, LABELS),
    "sphere": lambda: plotting.latent_sphere(SPHERE, LABELS),
    "space": lambda: plotting.sphere_scatter(SPHERE, SPHERE[:, 0], label="log density"),
    "panels": lambda: plotting.circle_panels({"a": PLANE, "b": CIRCLE}, PLANE[:, 0], on_circle={"b"}, title="both"),
    "curves": lambda: plotting.learning_curves({"N-VAE": [HISTORY, HISTORY], "S-VAE": [HISTORY]}, title="d = 2"),
    "reconstructions": lambda: plotting.reconstructions({"image": IMAGES, "N-VAE": IMAGES}, title="d = 2"),
    "samples": lambda: plotting.samples({"N-VAE": IMAGES, "S-VAE": IMAGES}, columns=4, title="d = 2"),
}


def pixels(figure: Figure, path: Path) -> np.ndarray:
    """What is saved, read back: (height, width, 3) in [0, 1]."""
    figure.savefig(path)
    return imread(path)[..., :3]


@pytest.mark.parametrize("name", PICTURES)
def test_what_a_picture_shows_is_seen_in_the_saved_file(name: str, tmp_path: Path) -> None:
    """Points, curves, images and names in their turn: taken away, they change the file wherever they stood."""
    figure = PICTURES[name]()
    assert isinstance(figure, Figure)
    whole = pixels(figure, tmp_path / "whole.png")
    assert whole.shape == pytest.approx((*(figure.get_size_inches() * figure.dpi)[::-1], 3), abs=1)
    assert (whole[[0, -1]] == 1).all()  # nothing is cut off at the edges
    assert (whole[:, [0, -1]] == 1).all()
    kinds = ("collections", "lines", "images", "texts")
    shown = {kind: [axes for axes in figure.axes if len(getattr(axes, kind))] for kind in kinds}
    assert any(shown.values())
    for kind, places in shown.items():
        artists = [artist for axes in places for artist in getattr(axes, kind)]
        for artist in artists:
            artist.set_visible(False)
        changed = (pixels(figure, tmp_path / "part.png") != whole).any(axis=-1)[::-1]  # from below, as extents are
        for artist in artists:
            artist.set_visible(True)
        for axes in places:
            x0, y0, x1, y1 = (round(edge) for edge in axes.get_window_extent().extents)
            assert changed[y0:y1, x0:x1].sum() > 20, (kind, axes)


@pytest.mark.parametrize("name", ["plane", "circle", "sphere", "panels"])
def test_a_unit_is_as_long_upwards_as_to_the_right(name: str, tmp_path: Path) -> None:
    """Else circles would be ellipses, and the map would not keep areas."""
    figure = PICTURES[name]()
    figure.savefig(tmp_path / "picture.png")  # which lays it out
    for axes in figure.axes:
        origin, right, up = axes.transData.transform([(0, 0), (1, 0), (0, 1)])
        assert right[0] - origin[0] == pytest.approx(up[1] - origin[1], rel=1e-6)


def test_the_lines_of_the_map_are_unbroken_and_its_border_is_on_both_sides() -> None:
    axes = PICTURES["sphere"]().axes[0]
    lines = [np.stack([np.asarray(line.get_xdata()), np.asarray(line.get_ydata())], axis=1) for line in axes.lines]
    assert len(lines) == 13 + 5
    for line in lines:  # a jump would be a line across the map
        assert np.linalg.norm(np.diff(line, axis=0), axis=1).max() < 0.1
    equator = [line[90, 0] for line in lines[:13]]
    assert [equator[0], equator[-1]] == pytest.approx([-(8**0.5), 8**0.5], abs=1e-5)
    assert equator == sorted(equator)


def test_plotting_does_not_touch_pyplot() -> None:
    """Pyplot keeps every figure in memory and may want a display."""
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(plotting))) if isinstance(node, ast.ImportFrom)]
    assert any(node.module == "matplotlib.figure" for node in imports)
    assert not any("pyplot" in str(node.module) or any(a.name == "pyplot" for a in node.names) for node in imports)


def test_a_figure_of_ones_own_has_the_style_of_the_others() -> None:
    figure, axes = plotting.subplots(2, 3, sharex=True)
    assert axes.shape == (2, 3)
    assert tuple(figure.get_size_inches()) == (7, 6.4)
    (line,) = axes[0, 0].plot([0, 1])
    assert line.get_color() == plotting.CURVE_COLOURS[0]
    assert not axes[0, 0].spines["top"].get_visible()


def test_show_displays_the_picture_with_its_description_and_a_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append((a, k)))
    for _ in range(2):
        plotting.show(PICTURES["plane"](), "**Figure 1.** A plane.", alt="Points in a plane")
    (picture,), options = shown[0]
    assert options["metadata"]["image/png"] == {"alt": "Points in a plane", "width": 500, "height": 500}
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert picture["text/plain"] == "Points in a plane"
    assert shown[1][0][0].data == "**Figure 1.** A plane."
    assert shown[2][0] == shown[0][0]  # the same bytes


def test_say_displays_a_sentence_in_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **k: shown.append((data, k)))
    plotting.say(r"At $\kappa=2$ the mean is **0.54**.")
    text = r"At $\kappa=2$ the mean is **0.54**."
    assert shown == [({"text/markdown": text, "text/plain": text}, {"raw": True})]


def test_tensors_are_taken_as_arrays_are() -> None:
    axes = plotting.latent_plane(torch.from_numpy(PLANE), torch.from_numpy(LABELS)).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), PLANE)


@pytest.mark.parametrize(
    ("draw", "size"), [(plotting.latent_plane, 2), (plotting.latent_circle, 2), (plotting.latent_sphere, 3)]
)
def test_points_of_the_wrong_dimension_are_refused(draw: Callable[..., Figure], size: int) -> None:
    with pytest.raises(ValueError, match=rf"z must have shape \(n, {size}\), got \(40, 5\)"):
        draw(np.zeros((40, 5)), LABELS)


def test_classes_are_named_as_well_as_coloured() -> None:
    for name in ("plane", "circle", "sphere"):
        figure = PICTURES[name]()
        assert [text.get_text() for text in figure.axes[0].texts] == [str(label) for label in range(10)]


def test_circle_points_are_drawn_at_their_own_angle() -> None:
    axes = plotting.latent_circle(CIRCLE, LABELS).axes[0]
    ends = np.array(axes.collections[0].get_segments())  # (n, 2 ends, 2)
    directions = ends / np.linalg.norm(ends, axis=-1, keepdims=True)
    np.testing.assert_allclose(directions, np.stack([CIRCLE, CIRCLE], axis=1), atol=1e-12)


def test_the_map_of_the_sphere_is_hammers() -> None:
    axes = plotting.latent_sphere(np.array([[1.0, 0, 0], [0, 0, 1.0]]), np.array([0, 1])).axes[0]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0, 0], [0, 2**0.5]], atol=1e-12)


def test_learning_curves_show_every_run_and_name_each_model_once() -> None:
    figure = PICTURES["curves"]()
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "validation ELBO (nats)",
        "validation KL (nats)",
        "β, weight of the KL term",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["N-VAE", "S-VAE"]


def test_epochs_are_whole_numbers_however_few() -> None:
    for axes in PICTURES["curves"]().axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_the_circles_of_the_prior_are_explained() -> None:
    figure = PICTURES["plane"]()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1 and 2 standard deviations of the prior"]
    assert [patch.get_radius() for patch in figure.axes[0].patches] == [1, 2]


def test_images_are_drawn_in_their_place() -> None:
    figure = plotting.reconstructions({"image": IMAGES, "N-VAE": 0.5 * IMAGES})
    assert len(figure.axes) == 20
    np.testing.assert_array_equal(figure.axes[13].images[0].get_array(), 0.5 * IMAGES[3])

    block = plotting.samples({"N-VAE": IMAGES}, columns=4).axes[0].images[0].get_array()
    assert block.shape == (3 * 9, 4 * 7)
    np.testing.assert_array_equal(block[9:17, 7:13], IMAGES[5])
    assert block[18:, 14:].sum() == 0  # the last line is not full
    for axes in figure.axes:  # an image has no axes
        assert not [*axes.get_xticks(), *axes.get_yticks()]
        assert not any(spine.get_visible() for spine in axes.spines.values())


def test_colours_differ_and_stand_out_from_white() -> None:
    assert len(set(plotting.CLASS_COLOURS)) == 10
    for colour in (*plotting.CLASS_COLOURS, *plotting.CURVE_COLOURS):
        luminance = np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722))
        assert luminance < 0.8, colour


def test_the_first_epochs_do_not_flatten_the_rest() -> None:
    elbo = [-500.0, -90.0, *[-30.0 + 0.1 * i for i in range(28)]]
    history: dict[str, list[float]] = {
        "epoch": list(range(30)),
        "validation_elbo": elbo,
        "validation_kl": elbo,
        "beta": [0.0] + 29 * [1.0],
    }
    figure = plotting.learning_curves({"N-VAE": [history]})
    low, high = figure.axes[0].get_ylim()
    assert -31 < low < -29.9
    assert -27.3 < high < -26
    assert figure.axes[2].get_ylim()[0] < 0  # beta is shown from its start


def test_a_class_is_named_at_one_of_its_own_points() -> None:
    """The mean of two opposite clusters on a sphere belongs to neither, and may not even have a direction."""
    z = np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 1.0], [0, 0, -1.0], [0, 0, -1.0], [0, 0, -1.0]])
    (text,) = plotting.latent_sphere(z, np.zeros(6, dtype=int)).axes[0].texts
    assert abs(text.get_position()[1]) == pytest.approx(2**0.5)
