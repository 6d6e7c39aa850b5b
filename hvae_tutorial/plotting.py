"""Pictures: latent spaces on circle, sphere and plane, reconstructions, samples, learning curves.

Every function takes arrays (or CPU tensors) and returns a `matplotlib.figure.Figure` made without pyplot: nothing is
shown, no state is kept, no display is needed. Save one with `figure.savefig("picture.png")`, or `show` it in a
notebook. Colours can be told apart with the common forms of colour blindness, and classes carry their number as well.
"""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context, rcsetup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from hvae_tutorial import _svg
from hvae_tutorial.sphere import hammer_projection

__all__ = [
    "Figure",
    "circle_panels",
    "globe",
    "latent_circle",
    "latent_plane",
    "latent_sphere",
    "learning_curves",
    "reconstructions",
    "samples",
    "say",
    "show",
    "sphere_scatter",
    "subplots",
]

# Classes: the "muted" scheme of Tol (2021, technical note SRON/EPS/TN/09-002), its pale grey replaced by a dark one.
CLASS_COLOURS = (
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#555555",
)  # fmt: skip
# Models and other few curves: Okabe and Ito (2008), from dark to light.
CURVE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# Angles: a cycle through four of the same, whose lightness rises and falls once.
ANGLE_COLOURS = LinearSegmentedColormap.from_list(
    "angle", ["#0B3C6F", "#0072B2", "#56B4E9", "#E8B400", "#D55E00", "#7A1F4B", "#0B3C6F"]
)

# Of figures as SVG: dots an inch of what is not drawn in lines, and the most marks that are drawn one by one.
_DOTS = 200
_MARKS = 1000  # a quarter of it, if all have colours of their own
_EDGE = 0.01  # of the axes: half a mark or a line's width beyond the limits is not outside

_STYLE: dict[Any, Any] = {
    "axes.prop_cycle": rcsetup.cycler(color=CURVE_COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "figure.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}

# What `learning_curves` draws by default.
_CURVES = {
    "validation_elbo": "validation ELBO (nats)",
    "validation_kl": "validation KL (nats)",
    "beta": "β, weight of the KL term",
}


@rc_context(_STYLE)
def subplots(rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **options: Any) -> Any:
    """Begin a figure of your own in the style of the others.

    Name colours by `CURVE_COLOURS`: "C0" means matplotlib's own blue to some of its functions.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height in inches; by default 7 wide, and 3.2 high for each row.
        **options: as `matplotlib.figure.Figure.subplots` takes them: `sharex`, `subplot_kw`, ...

    Returns:
        The figure, and its axes: one, or an array of them.
    """
    figure = Figure(figsize=size or (7, 3.2 * rows))
    return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, caption: str, *, alt: str, outside: str = "") -> None:
    """Show a figure in a notebook as SVG, with a caption below.

    Text stays text. Meshes, and marks too many to be drawn one by one, become pictures of 200 dots an inch inside.

    Args:
        figure: any figure.
        caption: what is to be seen, in Markdown.
        alt: what a reader who cannot see the figure has to know, in plain words.
        outside: what is not to be seen, because it lies outside the axes: a sentence, which is added to the caption.

    Raises:
        ValueError: Points of a line or of a scatter plot lie outside their axes and `outside` is empty, or none do and
            it is not.
    """
    from IPython.display import Markdown, display  # comes with Jupyter

    buffer = io.StringIO()
    for artist in _dense(figure):
        artist.set_rasterized(True)
    for axes in figure.axes:
        for image in axes.images:
            image.set_interpolation("none")  # its own pixels, which browsers enlarge
    # The same bytes from the same picture.
    with rc_context({**_STYLE, "svg.fonttype": "none", "svg.hashsalt": "hvae", "path.simplify_threshold": 0.2}):
        figure.savefig(buffer, format="svg", dpi=_DOTS, metadata={"Date": None, "Creator": None})
    cut = _cut_axes(figure)  # now that limits and layout are settled
    if cut and not outside:
        raise ValueError(
            f"points lie outside the axes {', '.join(cut)}: widen the limits, or say what is cut by outside=..."
        )
    if outside and not cut:
        raise ValueError(f"nothing lies outside the axes, but outside={outside!r}")
    width, height = (round(100 * inches) for inches in figure.get_size_inches())
    svg = _svg.compact(buffer.getvalue(), alt=alt, size=(width, height))
    metadata = {"alt": alt, "width": width, "height": height}
    display({"image/svg+xml": svg, "text/plain": alt}, metadata={"image/svg+xml": metadata}, raw=True)
    display(Markdown(f"{caption} {outside}".strip()))


def say(text: str) -> None:
    """Show a sentence in a notebook: prose whose numbers the code has computed, by an f-string.

    Args:
        text: in Markdown, formulas included.
    """
    from IPython.display import display  # comes with Jupyter

    display({"text/markdown": text, "text/plain": text}, raw=True)


@rc_context(_STYLE)
def latent_plane(z: ArrayLike, labels: ArrayLike, *, title: str = "") -> Figure:
    """Draw points of the plane, with circles of one and two standard deviations of the Gaussian prior.

    Args:
        z: points, `(n, 2)`.
        labels: classes, `(n,)`, integers.
        title: shown above.
    """
    z, labels = _points(z, 2), np.asarray(labels)
    figure = Figure(figsize=(5, 5))
    axes = _square(figure.add_subplot(title=title))
    dashed: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "linestyle": "--"}
    for radius in (1, 2):
        axes.add_patch(Circle((0, 0), radius, fill=False, zorder=0, **dashed))
    prior = Line2D([], [], label="1 and 2 standard deviations of the prior", **dashed)
    figure.legend(handles=[prior], loc="outside lower center", fontsize="small")
    _scatter(axes, z, _class_colours(labels))
    medoids = _medoids(z, labels)
    places = _apart(np.array(list(medoids.values())), least=0.06 * np.ptp(z, axis=0).max())
    for label, place in zip(medoids, places, strict=True):
        _write(axes, place, str(label))
    return figure


@rc_context(_STYLE)
def latent_circle(z: ArrayLike, labels: ArrayLike, *, title: str = "") -> Figure:
    """Draw points of the circle S^1 as ticks around it, one ring of ticks for each class.

    Args:
        z: unit vectors, `(n, 2)`.
        labels: classes, `(n,)`, integers.
        title: shown above.
    """
    z, labels = _points(z, 2), np.asarray(labels)
    figure = Figure(figsize=(5, 5))
    axes = _square(figure.add_subplot(title=title))
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8))
    radii = 1.03 + 0.07 * np.searchsorted(np.unique(labels), labels)
    _ticks(axes, z, radii, colours=_class_colours(labels), length=0.055)
    limit = radii.max() + 0.2
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    for label, position in _medoids(z, labels).items():
        _write(axes, (radii[labels == label][0] + 0.03) * position, str(label))
    return figure


@rc_context(_STYLE)
def latent_sphere(z: ArrayLike, labels: ArrayLike, *, title: str = "") -> Figure:
    """Draw points of the sphere S^2 on Hammer's map, which keeps areas: uniform points look uniform.

    Args:
        z: unit vectors, `(n, 3)`.
        labels: classes, `(n,)`, integers.
        title: shown above.
    """
    z, labels = _points(z, 3), np.asarray(labels)
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot(aspect="equal", title=title)
    axes.set_axis_off()
    for meridian in _graticule():
        axes.plot(*_hammer(meridian).T, color="0.8", linewidth=0.5, zorder=0)
    _scatter(axes, _hammer(z), _class_colours(labels))
    for label, position in _medoids(z, labels).items():
        _write(axes, _hammer(position), str(label))
    return figure


@rc_context(_STYLE)
def globe(axes: Axes, values: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
    """Draw the half of the sphere S^2 that is seen from the third axis: a point z of it, z_3 > 0, is at (z_1, z_2).

    Args:
        axes: where; ticks and frame are taken off.
        values: function from unit vectors, `(..., 3)`, to numbers from 0 to 1, `(...)`, shown as transparent to blue.
    """
    for z in _graticule():
        x, y, depth = np.roll(z, -1, axis=1).T  # the poles of meridians and parallels are up and down
        axes.plot(np.where(depth >= 0, x, np.nan), y, color="0.6", linewidth=0.4)
    axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8))
    if values is not None:
        x, y = torch.meshgrid(*2 * [torch.linspace(-1, 1, 201, dtype=torch.float64)], indexing="xy")
        depth = (1 - x**2 - y**2).clamp(min=0).sqrt()
        front = torch.nn.functional.normalize(torch.stack([x, y, depth], dim=-1), dim=-1)
        shade = np.where(depth > 0, values(front), np.nan)
        blues = LinearSegmentedColormap.from_list("blues", [(*to_rgb(CURVE_COLOURS[0]), alpha) for alpha in (0, 1)])
        axes.imshow(shade, cmap=blues, vmin=0, vmax=1, origin="lower", extent=(-1, 1, -1, 1))
    axes.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
    axes.set_axis_off()


@rc_context(_STYLE)
def sphere_scatter(z: ArrayLike, values: ArrayLike, *, title: str = "", label: str = "") -> Figure:
    """Draw points of the sphere S^2 in space, coloured by a number such as a log density.

    Args:
        z: unit vectors, `(n, 3)`.
        values: one number a point, `(n,)`.
        title: shown above.
        label: what the colours mean.
    """
    z = _points(z, 3)
    figure = Figure(figsize=(5.5, 5))
    axes = figure.add_subplot(projection="3d", title=title, xlabel="$z_1$", ylabel="$z_2$", zlabel="$z_3$")
    for line in _graticule():
        axes.plot(*line.T, color="0.8", linewidth=0.5)
    points = axes.scatter(*z.T, c=np.asarray(values), cmap="viridis", s=8, linewidths=0)
    ticks = (-1, 0, 1)
    axes.set(xticks=ticks, yticks=ticks, zticks=ticks, box_aspect=(1, 1, 1))
    figure.colorbar(points, ax=axes, shrink=0.6, pad=0.1, label=label)
    return figure


@rc_context(_STYLE)
def circle_panels(
    panels: Mapping[str, ArrayLike], angles: ArrayLike, *, on_circle: Collection[str] = (), title: str = ""
) -> Figure:
    """Draw Figure 1: one panel for each latent space, points coloured by the angle of the circle that they come from.

    Args:
        panels: for each panel its title and points, `(n, 2)`.
        angles: the true angles in radians, `(n,)`, in the order of the points.
        on_circle: titles of the panels whose points are unit vectors.
        title: shown above all.
    """
    angles = np.asarray(angles)
    colours = ANGLE_COLOURS((angles / (2 * np.pi)) % 1)
    figure = Figure(figsize=(2.6 * len(panels), 3))
    figure.set_layout_engine("constrained", wspace=0.06)
    if title:
        figure.suptitle(title)
    for axes, (name, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        points = _points(points, 2)
        _square(axes).set_title(name)
        if name in on_circle:
            axes.add_patch(Circle((0, 0), 1, fill=False, color="0.6", linewidth=0.8))
            _ticks(axes, points, np.ones(len(points)), colours=colours, length=0.15)
            axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        else:
            _scatter(axes, points, colours)
    return figure


@rc_context(_STYLE)
def learning_curves(
    curves: Mapping[str, Sequence[Mapping[str, Sequence[float]]]],
    *,
    columns: Mapping[str, str] = _CURVES,
    title: str = "",
) -> Figure:
    """Draw what was measured after each epoch: by default ELBO and KL on the validation data, and the weight of the KL.

    The vertical range is that of all epochs but the first tenth: these would flatten the rest.

    Args:
        curves: for each model its runs, each with `epoch` and the columns: lists of one length, as a record's `history`
            has them.
        columns: what to draw, with the label of each.
        title: shown above.
    """
    figure = Figure(figsize=(9, 3))
    figure.set_layout_engine("constrained", wspace=0.06)
    if title:
        figure.suptitle(title)
    for axes, (column, label) in zip(figure.subplots(1, len(columns)), columns.items(), strict=True):
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        for colour, (name, runs) in zip(CURVE_COLOURS, curves.items(), strict=False):
            for i, history in enumerate(runs):
                axes.plot(history["epoch"], history[column], color=colour, label=name if i == 0 else None, alpha=0.8)
        if column != "beta":
            axes.set_ylim(_range_after_the_start([history for runs in curves.values() for history in runs], column))
    figure.axes[0].legend()
    return figure


@rc_context(_STYLE)
def reconstructions(rows: Mapping[str, ArrayLike], *, title: str = "") -> Figure:
    """Draw images above their reconstructions.

    Args:
        rows: for each row its name and images, `(n, height, width)` in [0, 1], with the same n in each.
        title: shown above.
    """
    stacked = np.stack([np.asarray(images) for images in rows.values()])  # (rows, n, height, width)
    figure = Figure(figsize=(0.6 * stacked.shape[1] + 1, 0.65 * stacked.shape[0] + 0.4))
    if title:
        figure.suptitle(title, fontsize=11)
    grid = figure.subplots(*stacked.shape[:2], squeeze=False)
    for name, images, line in zip(rows, stacked, grid, strict=True):
        for image, axes in zip(images, line, strict=True):
            _show(axes, image)
        line[0].set_ylabel(name, rotation=0, horizontalalignment="right", verticalalignment="center")
    return figure


@rc_context(_STYLE)
def samples(grids: Mapping[str, ArrayLike], *, columns: int = 10, title: str = "") -> Figure:
    """Draw samples of one or several models, a block of images each.

    Args:
        grids: for each model its name and images, `(n, height, width)` in [0, 1].
        columns: images in a line.
        title: shown above.
    """
    blocks = {name: _tiled(np.asarray(images), columns) for name, images in grids.items()}
    height, width = next(iter(blocks.values())).shape
    figure = Figure(figsize=(4 * len(blocks), 4 * height / width + 0.6))
    figure.set_layout_engine("constrained", wspace=0.08)  # between models, wider than between images
    if title:
        figure.suptitle(title, fontsize=11)
    for axes, (name, block) in zip(figure.subplots(1, len(blocks), squeeze=False)[0], blocks.items(), strict=True):
        _show(axes, block)
        axes.set_title(name)
    return figure


def _dense(figure: Figure) -> list[Artist]:
    """Return what would be large as SVG: meshes, and collections of very many marks, or of many that differ."""
    found: list[Artist] = []
    for axes in figure.axes:
        for collection in axes.collections:
            marks = max(len(np.asarray(collection.get_offsets())), len(collection.get_paths()))
            values = collection.get_array()
            looks = collection.get_facecolor() if values is None else values
            differ = marks > _MARKS // 4 and len(np.unique(looks, axis=0)) > 20
            if isinstance(collection, QuadMesh) or marks > _MARKS or differ:
                found.append(collection)
    return found


def _cut_axes(figure: Figure) -> list[str]:
    """Return the axes outside of which points of lines or scatter plots lie: their titles, labels or numbers.

    Lines over the whole width or height (`axhline`, `axvline`), areas, text and axes in three dimensions do not count.
    """
    cut = []
    for number, axes in enumerate(figure.axes, start=1):
        if isinstance(axes, Axes3D):
            continue
        drawn = [line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData]
        for collection in axes.collections:
            if isinstance(collection, PathCollection) and collection.get_offset_transform() == axes.transData:
                drawn.append(collection.get_offsets())
            elif isinstance(collection, LineCollection) and collection.get_transform() == axes.transData:
                drawn += collection.get_segments()
        points = np.concatenate([np.empty((0, 2)), *(np.ma.filled(np.ma.asarray(xy, float), np.nan) for xy in drawn)])
        points = points[np.isfinite(points).all(axis=1)]
        relative = axes.transAxes.inverted().transform(axes.transData.transform(points))
        if not ((relative > -_EDGE) & (relative < 1 + _EDGE)).all():
            cut.append(repr(axes.get_title() or axes.get_ylabel() or axes.get_xlabel() or number))
    return cut


def _points(z: ArrayLike, size: int) -> np.ndarray:
    z = np.asarray(z, dtype=float)
    if z.ndim != 2 or z.shape[1] != size:
        raise ValueError(f"z must have shape (n, {size}), got {z.shape}")
    return z


def _square(axes: Axes) -> Axes:
    """Give a plot of the latent plane a square box and the same scale on both axes."""
    axes.set(aspect="equal", adjustable="datalim", box_aspect=1, xlabel="$z_1$", ylabel="$z_2$")
    return axes


def _class_colours(labels: np.ndarray) -> np.ndarray:
    return np.array(CLASS_COLOURS)[labels % len(CLASS_COLOURS)]


def _scatter(axes: Axes, points: np.ndarray, colours: np.ndarray) -> None:
    size = np.clip(6000 / max(len(points), 1), 4, 14)  # in square points: smaller where there are many
    axes.scatter(points[:, 0], points[:, 1], c=colours, s=size, linewidths=0, alpha=0.8)


def _write(axes: Axes, position: np.ndarray, text: str) -> None:
    """Write in bold with a white edge, legible on top of points."""
    edge = [withStroke(linewidth=2.5, foreground="white")]
    axes.text(position[0], position[1], text, weight="bold", ha="center", va="center", path_effects=edge)


def _medoids(z: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Return for each class its member with the least sum of distances to the others: where to write its name."""
    medoids = {}
    for label in np.unique(labels):
        members = z[labels == label]
        medoids[int(label)] = members[cdist(members, members).sum(0).argmin()]
    return medoids


def _apart(places: np.ndarray, least: float) -> np.ndarray:
    """Return places moved from those nearer than `least`, as far as a few steps move them; equal places stay equal."""
    places = places.copy()
    for _ in range(50):
        steps = places[:, None] - places
        distances = np.linalg.norm(steps, axis=-1, keepdims=True)
        lack = np.clip(least - distances, 0, None)
        places += 0.5 * (lack * steps / np.where(distances > 0, distances, 1)).sum(1)
    return places


def _range_after_the_start(histories: Sequence[Mapping[str, Sequence[float]]], column: str) -> tuple[float, float]:
    """Return what a column spans, with a margin, in all epochs but the first tenth."""
    values = np.concatenate([np.asarray(history[column])[len(history[column]) // 10 :] for history in histories])
    margin = 0.05 * np.ptp(values) or 0.5
    return values.min() - margin, values.max() + margin


def _ticks(axes: Axes, z: np.ndarray, radii: np.ndarray, *, colours: np.ndarray, length: float) -> None:
    """Draw a short radial line outside the circle of the given radius for each unit vector."""
    starts = radii[:, None] * z
    segments = np.stack([starts, starts + length * z], axis=1)  # (n, 2 ends, 2 coordinates)
    axes.add_collection(LineCollection(list(segments), colors=colours, linewidths=0.8, alpha=0.7))


def _graticule() -> list[np.ndarray]:
    """Return meridians and parallels of the sphere every 30 degrees, each an array of unit vectors."""
    fine, edge = np.linspace(-np.pi, np.pi, 181), np.pi - 1e-6  # the map's border is a meridian seen from inside
    meridians = [(np.full(181, longitude), fine / 2) for longitude in np.linspace(-edge, edge, 13)]
    parallels = [(fine * (edge / np.pi), np.full(181, latitude)) for latitude in np.radians(range(-60, 61, 30))]
    return [
        np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        for lon, lat in meridians + parallels
    ]


def _hammer(z: np.ndarray) -> np.ndarray:
    return hammer_projection(torch.from_numpy(z)).numpy()


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Return one image of all, `columns` in a line, with a white border of one pixel between them."""
    n, height, width = images.shape
    lines = -(-n // columns)
    padded = np.zeros((lines * columns, height + 1, width + 1))
    padded[:n, :height, :width] = images
    return padded.reshape(lines, columns, height + 1, width + 1).swapaxes(1, 2).reshape(lines * (height + 1), -1)
