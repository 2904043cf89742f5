"""Attention maps in absolute weights: nothing is stretched to look more certain than it is."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import FancyBboxPatch, Rectangle
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    DIVERGING,
    GREEN,
    GREY,
    LEADS,
    ORANGE,
    PURPLE,
    SEQUENTIAL,
    VERMILION,
    BookFigure,
    add_title,
    annotate_source,
    as_array,
    ink,
    new_figure,
    styled,
)


@styled
def plot_lead_attention(
    maps: Mapping[str, ArrayLike],
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    difference: bool = False,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw cross-lead attention maps with shared colour limits and uniform attention marked.

    The study's panels have a colour scale each, so its groups cannot be compared; here they can.

    Parameters
    ----------
    maps
        Panel title (state the number of subjects in it) to (12, 12) weights. Rows are the asking lead,
        columns the lead attended to; a row sums to 1, so uniform attention is 1/12 = 0.083.
    difference
        The maps are differences between groups: a two-sided scale around 0, no uniform reference.
    """
    if not maps:
        raise InputError("maps is empty: give at least one named (12, 12) map.")
    arrays = {name: as_array(values, 2, name) for name, values in maps.items()}
    n = len(leads)
    for name, array in arrays.items():
        if array.shape != (n, n):
            raise InputError(
                f"the map {name!r} is {array.shape}: {(n, n)} is needed, one row a lead."
            )
    columns = min(2, len(arrays))
    rows = -(-len(arrays) // columns)
    fig = new_figure(1.0 + (5.6 if columns == 1 else 3.75) * rows)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    stacked = np.stack(list(arrays.values()))
    top = float(np.nanmax(np.abs(stacked), initial=0)) or 1.0
    norm = Normalize(-top, top) if difference else Normalize(0, max(top, 1 / n))
    for i, (ax, (name, array)) in enumerate(zip(axes, arrays.items(), strict=False)):
        ax.imshow(array, cmap=DIVERGING if difference else SEQUENTIAL, norm=norm)
        ax.set_xticks(range(n), leads, rotation=90, fontsize=10)
        ax.set_yticks(range(n), leads, fontsize=10)
        ax.set_title(name, fontsize=12)
        ax.set_xlabel("lead attended to")
        if i % columns == 0:
            ax.set_ylabel("asking lead")
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    for ax in axes[len(arrays) :]:
        ax.set_visible(False)
    mappable = ScalarMappable(norm, DIVERGING if difference else SEQUENTIAL)
    bar = fig.colorbar(
        mappable, ax=list(axes), location="bottom", aspect=40, fraction=0.04, pad=0.02
    )
    bar.outline.set_visible(False)
    if difference:
        bar.set_label("Difference of attention weights (share)")
    else:
        bar.set_label(f"Attention weight (share of a row); dashed: uniform, 1/{n} = {1 / n:.3f}")
        bar.ax.axvline(1 / n, color=VERMILION, linewidth=2, linestyle=(0, (2, 1)))
    add_title(fig, title)
    annotate_source(fig, source, note)
    fig.draw_without_rendering()  # square panels and a colour bar settle only in the second layout
    return fig


@styled
def plot_temporal_attention(
    ecg: ArrayLike,
    weights: ArrayLike,
    windows_ms: ArrayLike,
    rate: float,
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    show: Sequence[str] = ("II", "V2", "V5"),
    receptive_field: float | None = None,
    unit: str = "mV",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw temporal attention as the token windows it is made of, under the ECG, in absolute weights.

    A token stands for a window of time, not for a sample, and it has seen far more than its window: the
    receptive field is drawn as a bar. The uniform weight 1/T' is a line in every panel, and all panels
    share one axis, so that a flat map looks flat.

    Parameters
    ----------
    ecg
        (12, samples) in `unit`, without padding.
    weights
        (12, T') weight that each token receives (the map's mean over queries); a row sums to 1.
    windows_ms
        (T', 2) begin and end of each token's window in milliseconds of `ecg`, as
        `attribution.token_windows` gives them; parts outside it are cut.
    show
        Leads to draw, one panel each.
    receptive_field
        Seconds of signal that one token depends on.
    """
    signal, share = as_array(ecg, 2, "ecg"), as_array(weights, 2, "weights")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    if share.shape != (len(leads), len(spans)) or signal.shape[0] != len(leads):
        raise InputError(
            f"ecg {signal.shape}, weights {share.shape} and windows {spans.shape} do not fit "
            f"{len(leads)} leads."
        )
    uniform = 1 / len(spans)
    rows = [list(leads).index(name) for name in show]
    duration = signal.shape[1] / rate
    top = 1.08 * max(float(np.nanmax(share[rows])), 1.5 * uniform)
    fig = new_figure(0.9 + 2.2 * len(rows))
    axes = fig.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    times = np.arange(signal.shape[1]) / rate
    for ax, row in zip(axes, rows, strict=True):
        ax.bar(
            spans[:, 0],
            share[row],
            width=np.diff(spans, axis=1)[:, 0],
            align="edge",
            color=BLUE,
            alpha=0.35,
            edgecolor="white",
            linewidth=1,
        )
        ax.axhline(uniform, color=VERMILION, linestyle=(0, (3, 1.5)), linewidth=1.5)
        ax.set(ylim=(0, top), xlim=(0, duration))
        ax.set_ylabel("Attention\n(share)", color=ink(BLUE))
        ax.set_title(f"Lead {leads[row]}", fontsize=12)
        ax.grid(visible=False)
        trace = ax.twinx()
        trace.plot(times, signal[row], color=BLACK, linewidth=1.4)
        trace.set_ylabel(f"ECG ({unit})")
        trace.grid(visible=False)
        trace.spines["right"].set_visible(True)
        trace.margins(y=0.12)
    axes[0].annotate(
        f"uniform 1/{len(spans)} = {uniform:.3f}",
        (0.995, 1.03),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        color=ink(VERMILION),
        fontsize=11,
    )
    axes[-1].set_xlabel("Time (s)")
    if receptive_field is not None:
        width = min(receptive_field, duration)
        bar = Rectangle((0, 0.955 * top), width, 0.045 * top, color=GREY, alpha=0.85, linewidth=0)
        axes[-1].add_patch(bar)
        axes[-1].annotate(
            f"grey bar: one token sees {receptive_field:.2g} s",
            (0.995, 1.03),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            color=GREY,
            fontsize=11,
        )
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


Point = tuple[float, float]


class Box(NamedTuple):
    """A box of the diagram: left, top, width, height in inches, a bold line, and lines below it."""

    x: float
    y: float
    width: float
    height: float
    head: str
    body: str
    color: str
    changed: bool = False
    art: bool = False

    def side(self, where: Literal["left", "right", "top", "bottom"], share: float = 0.5) -> Point:
        """Return the point on one side, at `share` of its length."""
        if where in ("left", "right"):
            return (self.x + self.width * (where == "right"), self.y + share * self.height)
        return (self.x + share * self.width, self.y + self.height * (where == "bottom"))


def draw_boxes(ax: Axes, boxes: Sequence[Box]) -> None:
    """Draw rounded boxes, their text centred; `changed` ones with a thick orange outline.

    A box with `art` keeps its text at the top, so that something can be drawn below it.
    """
    for box in boxes:
        shape = FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=_tint(box.color),
            edgecolor=ORANGE if box.changed else box.color,
            linewidth=3.0 if box.changed else 1.3,
        )
        ax.add_patch(shape)
        center = box.x + box.width / 2
        lines = box.body.count("\n") + 1 if box.body else 0
        middle = box.y + box.height / 2 - 0.5 * (0.2 + 0.175 * lines)
        top = box.y + 0.12 if box.art else middle
        style: dict[str, Any] = {"ha": "center", "va": "top"}
        ax.text(center, top, box.head, weight="bold", fontsize=11.5, color=ink(box.color), **style)
        ax.text(center, top + 0.22, box.body, fontsize=10.5, linespacing=1.15, **style)


def _tint(color: str) -> tuple[float, float, float]:
    rgb = np.array(ink(color))
    light = 1 - 0.1 * (1 - rgb)
    return (float(light[0]), float(light[1]), float(light[2]))


def arrow(ax: Axes, start: Point, end: Point, color: str = GREY) -> None:
    """Draw a straight arrow."""
    style = {"arrowstyle": "-|>,head_width=0.28,head_length=0.5", "color": color, "linewidth": 1.8}
    ax.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})


def canvas(height: float, source: str, note: str) -> tuple[BookFigure, Axes]:
    """Return a figure with one axis in inches, 7.5 wide, y pointing down."""
    fig = new_figure(height + 0.45)
    ax = fig.subplots()
    ax.set(xlim=(0, 7.5), ylim=(height, 0), aspect="equal")
    ax.set_axis_off()
    annotate_source(fig, source, note)
    return fig, ax


@styled
def plot_encoder(
    *, source: str = "This book's dual attention encoder", note: str = ""
) -> BookFigure:
    """Draw the dual attention encoder: leads kept apart, two parallel attentions, one latent vector.

    The small pictures in the two attentions are sketches, not results; sizes are those of an input
    of 12 x 1024 samples.
    """
    fig, ax = canvas(8.4, source, note or "the two small maps are sketches")
    wide, left = 5.1, 1.2
    stem = Box(
        left,
        1.05,
        wide,
        0.72,
        "Stem, each lead on its own",
        "grouped convolutions, 12 groups",
        BLUE,
    )
    blocks = "5 residual blocks along time, weights shared by the leads"
    residual = Box(left, 2.1, wide, 0.72, "12 leads × 16 features × 32 tokens", blocks, BLUE)
    when = "12 maps of 32 × 32 tokens:\nwhich part of each lead"
    temporal = Box(0.3, 3.25, 3.3, 2.45, "Temporal attention", when, GREEN, art=True)
    which = "1 map of 12 × 12 leads:\nwhich lead looks at which"
    cross = Box(3.9, 3.25, 3.3, 2.45, "Cross-lead attention", which, VERMILION, art=True)
    merge = Box(left, 6.15, wide, 0.72, "Sum of both branches", "192 channels × 32 tokens", PURPLE)
    pools = "mean over time (256) | maximum over time (256),\neach after a linear layer"
    latent = Box(left, 7.3, wide, 0.95, "z_ecg (512)", pools, PURPLE)
    draw_boxes(ax, [stem, residual, temporal, cross, merge, latent])
    t, beat = _beat()
    for i, gain in enumerate((0.6, 0.8, 0.5, -0.6, 0.35, 0.6)):
        ax.plot(
            left + 0.05 + i * 0.86 + 0.75 * t, 0.5 - 0.36 * gain * beat, color=BLACK, linewidth=1.3
        )
    ax.text(left - 0.08, 0.5, "12 leads", ha="right", va="center", fontsize=11)
    ax.text(left + wide + 0.06, 0.5, "12 × 1024", ha="left", va="center", fontsize=11)
    _sketch_windows(ax, 0.62, 5.45)
    _sketch_map(ax, 4.93, 4.2)
    arrow(ax, (left + wide / 2, 0.75), stem.side("top"))
    arrow(ax, stem.side("bottom"), residual.side("top"))
    for share, branch in ((0.15, temporal), (0.85, cross)):
        x = residual.side("bottom", share)[0]
        arrow(ax, residual.side("bottom", share), (x, branch.y))
        arrow(ax, (x, branch.y + branch.height), (x, merge.y))
    arrow(ax, merge.side("bottom"), latent.side("top"))
    return fig


def _beat() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One made-up heart beat of Gaussian waves, on a time axis from 0 to 1."""
    waves = ((0.3, 0.025, 0.12), (0.44, 0.008, -0.15), (0.47, 0.011, 1.0))
    t = np.linspace(0, 1, 400)
    beat = np.zeros_like(t)
    for center, width, height in (*waves, (0.5, 0.01, -0.25), (0.68, 0.04, 0.28)):
        beat += height * np.exp(-0.5 * ((t - center) / width) ** 2)
    return t, beat


def _sketch_windows(ax: Axes, x: float, base: float) -> None:
    """Token windows of different weight under a beat."""
    t, beat = _beat()
    for i, weight in enumerate((0.15, 0.2, 0.3, 0.75, 0.6, 0.3, 0.5, 0.25, 0.15, 0.15)):
        cell = Rectangle(
            (x + 0.266 * i, base - 1.25), 0.25, 1.25, color=GREEN, alpha=0.75 * weight, lw=0
        )
        ax.add_patch(cell)
    ax.plot(x + 2.65 * t, base - 0.28 - 0.85 * beat, color=BLACK, linewidth=1.5)


def _sketch_map(ax: Axes, x: float, top: float) -> None:
    """A 12 x 12 map with some weights larger than others."""
    weights = np.random.default_rng(3).dirichlet(np.full(12, 1.5), 12)
    size = 1.27 / 12
    for row, column in np.ndindex(12, 12):
        shade = float(np.clip(3.2 * weights[row, column], 0.04, 0.9))
        corner = (x + size * column, top + size * row)
        ax.add_patch(
            Rectangle(corner, size * 0.92, size * 0.92, color=VERMILION, alpha=shade, lw=0)
        )
    ax.text(
        x - 0.08,
        top + 0.63,
        "12 leads",
        rotation=90,
        ha="right",
        va="center",
        fontsize=10,
        color=GREY,
    )
