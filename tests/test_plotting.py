"""A picture shows the points, classes and curves that it was given, where they lie, with its words."""

import ast
import base64
import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from hvae_tutorial import plotting
from hvae_tutorial.plotting import CLASS_COLOURS, Figure

SVG = "{http://www.w3.org/2000/svg}"
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


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What is displayed, and how."""
    displayed: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: displayed.append((data, options)))
    return displayed


def svg(shown: list[tuple[Any, dict[str, Any]]], figure: Figure, **words: str) -> str:
    """What `show` makes of a figure."""
    plotting.show(figure, "A caption.", **{"alt": "A picture", **words})
    return shown[-2][0]["image/svg+xml"]


def test_show_displays_the_picture_with_its_description_and_a_caption(shown: list) -> None:
    for _ in range(2):
        plotting.show(PICTURES["plane"](), "**Figure 1.** A plane.", alt="Points in a <plane>")
    picture, options = shown[0]
    assert options["metadata"]["image/svg+xml"] == {"alt": "Points in a <plane>", "width": 500, "height": 500}
    assert picture["text/plain"] == "Points in a <plane>"
    assert shown[1][0].data == "**Figure 1.** A plane."
    assert shown[2][0] == picture  # the same bytes
    root = ElementTree.fromstring(picture["image/svg+xml"])
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "Points in a <plane>"
    assert (root.attrib["width"], root.attrib["height"]) == ("500", "500")
    assert "1 and 2 standard deviations of the prior" in [text.text for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_of_the_library_can_be_shown(name: str, shown: list) -> None:
    assert 3_000 < len(svg(shown, PICTURES[name]())) < 30_000


def test_a_line_plot_is_light(shown: list) -> None:
    figure, axes = plotting.subplots()
    x = np.linspace(0, 10, 5000)
    for phase in range(6):
        axes.plot(x, np.sin(x + phase), label=str(phase))
    axes.legend()
    assert len(svg(shown, figure)) < 15_000


def scattered(n: int) -> Figure:
    figure, axes = plotting.subplots()
    axes.scatter(*np.random.default_rng(0).normal(size=(2, n)), s=4)
    return figure


def test_marks_are_drawn_one_by_one_until_they_are_too_many(shown: list) -> None:
    few, many = svg(shown, scattered(1000)), svg(shown, scattered(1001))
    assert few.count("<use ") > 1000
    assert "<image" not in few
    assert many.count("<use ") < 50
    assert many.count("<image") == 1
    assert len(many) < 60_000


def test_marks_that_all_differ_are_sooner_too_many(shown: list) -> None:
    figure, axes = plotting.subplots()
    axes.scatter(*np.random.default_rng(0).normal(size=(2, 800)), s=4, c=np.arange(800))
    classes, other = plotting.subplots()
    other.scatter(*np.random.default_rng(0).normal(size=(2, 800)), s=4, c=[CLASS_COLOURS[i % 10] for i in range(800)])
    assert svg(shown, figure).count("<image") == 1
    assert svg(shown, classes).count("<use ") > 800


def test_meshes_become_pictures_and_pixels_stay_what_they_are(shown: list) -> None:
    figure, axes = plotting.subplots()
    mesh = axes.pcolormesh(np.random.default_rng(0).random((50, 50)), cmap="viridis")
    figure.colorbar(mesh)
    drawn = svg(shown, figure)
    assert drawn.count("<image") == 2  # its key is made in the same way
    image = svg(shown, plotting.reconstructions({"image": IMAGES}))
    encoded = re.findall(r"data:image/png;base64,([^\"]+)", image)
    assert imread(io.BytesIO(base64.b64decode(encoded[0]))).shape[:2] == IMAGES.shape[1:]


def plain(draw: Callable[[Any], Any]) -> Figure:
    figure, axes = plotting.subplots()
    axes.set(xlim=(1, 2), ylim=(1, 2), title="narrow")
    draw(axes)
    axes.set(xlim=(1, 2), ylim=(1, 2))
    return figure


OUTSIDE: dict[str, Callable[[Any], Any]] = {
    "line": lambda axes: axes.plot([1, 2], [1, 2.05]),
    "points": lambda axes: axes.scatter([1.5, 0.9], [1.5, 1.5]),
    "segments": lambda axes: axes.vlines([1.5], 1, 3),
    "bars": lambda axes: axes.errorbar([1.5], [1.5], [0.6]),
    "zero on a logarithmic axis": lambda axes: (axes.set_yscale("log"), axes.plot([1, 2], [0, 1.5])),
}
INSIDE: dict[str, Callable[[Any], Any]] = {
    "to the edge": lambda axes: axes.plot([1, 2], [1, 2]),
    "whole width": lambda axes: (axes.axhline(5), axes.axvline(0)),
    "nothing": lambda axes: axes.plot([1, 1.5, 2], [1, np.nan, 2]),
    "words and areas": lambda axes: (axes.text(1.5, 1.5, "in"), axes.fill_between([0, 3], 0, 3)),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_points_outside_the_axes_are_refused_or_owned_up_to(name: str, shown: list) -> None:
    with pytest.raises(ValueError, match="points lie outside the axes 'narrow': widen the limits, or say what is cut"):
        svg(shown, plain(OUTSIDE[name]))
    svg(shown, plain(OUTSIDE[name]), outside="The rest lies above.")
    assert shown[-1][0].data == "A caption. The rest lies above."


@pytest.mark.parametrize("name", INSIDE)
def test_what_lies_inside_needs_no_word(name: str, shown: list) -> None:
    svg(shown, plain(INSIDE[name]))
    with pytest.raises(ValueError, match="nothing lies outside the axes, but outside='The rest'"):
        svg(shown, plain(INSIDE[name]), outside="The rest")


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


def test_a_globe_shows_the_half_that_looks_at_us() -> None:
    _, axes = plotting.subplots()
    plotting.globe(axes, lambda z: z[..., 0].clamp(min=0))
    (image,) = axes.images
    shade = np.ma.filled(image.get_array().astype(float), np.nan)
    coordinate = np.linspace(-1, 1, 201)
    square = coordinate[:, None] ** 2 + coordinate**2
    inside, outside = square < 1 - 1e-9, square > 1 + 1e-9
    assert image.get_extent() == [-1, 1, -1, 1]
    assert np.isnan(shade[outside]).all()
    expected = np.broadcast_to(coordinate.clip(min=0), (201, 201))  # the first coordinate grows to the right
    np.testing.assert_allclose(shade[inside], expected[inside], atol=1e-12)
    whole = [line.get_xydata() for line in axes.lines if np.isfinite(line.get_xydata()).all()]
    assert len(whole) == 7  # meridians in front, from limb to limb; every parallel goes behind
    for line in whole:
        np.testing.assert_allclose(line[[0, -1]], [[0, -1], [0, 1]], atol=1e-5)  # from pole to pole
        np.testing.assert_array_less(np.linalg.norm(line, axis=1), 1 + 1e-9)


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


@pytest.mark.parametrize("columns", [2, 20])
def test_a_picture_of_samples_has_the_shape_of_its_blocks(columns: int, tmp_path: Path) -> None:
    """High or wide, a block is four inches wide but for its margins, and little of the picture is left empty."""
    figure = plotting.samples({"N-VAE": IMAGES[[0] * 20], "S-VAE": IMAGES[[1] * 20]}, columns=columns)
    figure.savefig(tmp_path / "picture.png")  # which lays it out
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        block = axes.get_window_extent()
        assert 0.8 * width / 2 < block.width <= width / 2
        assert 0.85 * (height - figure.dpi) < block.height < height  # the title takes less than an inch


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


def test_names_of_classes_do_not_touch() -> None:
    """Three medoids in a hundredth of the width move apart; one by itself stays."""
    middles = np.array([[0, 0], [0.01, 0], [0, 0.01], [4, 4]])
    ring = 0.2 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    z = (middles[:, None] + ring).reshape(-1, 2)
    texts = plotting.latent_plane(z, np.repeat(np.arange(4), 5)).axes[0].texts
    at = np.array([text.get_position() for text in texts])
    assert [text.get_text() for text in texts] == list("0123")
    distances = np.linalg.norm(at[:, None] - at, axis=-1)[~np.eye(4, dtype=bool)]
    assert distances.min() > 0.05 * 4.4  # of what the points span
    np.testing.assert_allclose(at[3], (4, 4))
    assert np.linalg.norm(at[:3], axis=1).max() < 0.3
