"""Attention maps in absolute weights: nothing is stretched to look more certain than it is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    PURPLE,
    SEQUENTIAL,
    VERMILION,
    BookFigure,
    as_array,
    finish,
    ink,
    new_figure,
    styled,
)


@styled
def plot_lead_attention(
    maps: Mapping[str, ArrayLike],
    source: str,
    *,
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
    n = len(LEADS)
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
        ax.set_xticks(range(n), LEADS, rotation=90, fontsize=10)
        ax.set_yticks(range(n), LEADS, fontsize=10)
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
    finish(fig, source, title, note)
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
    receptive_field: float,
    title: str = "",
) -> BookFigure:
    """Draw temporal attention as the token windows it is made of, under the ECG, in absolute weights.

    A token stands for a window of time, not for a sample, and it has seen far more than its window: the
    receptive field is drawn as a bar. The uniform weight 1/T' is a line in every panel, and all panels
    share one axis, so that a flat map looks flat.

    Parameters
    ----------
    ecg
        (12, samples) in mV, without padding.
    weights
        (12, T') weight that each token receives (the map's mean over queries); a row sums to 1.
    windows_ms
        (T', 2) begin and end of each token's window in milliseconds of `ecg`; parts outside it are cut.
    receptive_field
        Seconds of signal that one token depends on.
    """
    signal, share = as_array(ecg, 2, "ecg"), as_array(weights, 2, "weights")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    if share.shape != (len(LEADS), len(spans)) or signal.shape[0] != len(LEADS):
        raise InputError(
            f"ecg {signal.shape}, weights {share.shape} and windows {spans.shape} do not fit "
            "12 leads."
        )
    uniform = 1 / len(spans)
    rows = [LEADS.index(name) for name in ("II", "V2", "V5")]
    duration = signal.shape[1] / rate
    top = 1.08 * max(float(np.nanmax(share[rows])), 1.5 * uniform)
    fig = new_figure(0.9 + 2.2 * len(rows))
    axes = fig.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    times = np.arange(signal.shape[1]) / rate
    for ax, row in zip(axes, rows, strict=True):
        widths = np.diff(spans, axis=1)[:, 0]
        look: dict[str, Any] = {"color": BLUE, "alpha": 0.35, "edgecolor": "white"}
        ax.bar(spans[:, 0], share[row], width=widths, align="edge", linewidth=1, **look)
        ax.axhline(uniform, color=VERMILION, linestyle=(0, (3, 1.5)), linewidth=1.5)
        ax.set(ylim=(0, top), xlim=(0, duration))
        ax.set_ylabel("Attention\n(share)", color=ink(BLUE))
        ax.set_title(f"Lead {LEADS[row]}", fontsize=12)
        ax.grid(visible=False)
        trace = ax.twinx()
        trace.plot(times, signal[row], color=BLACK, linewidth=1.4)
        trace.set_ylabel("ECG (mV)")
        trace.grid(visible=False)
        trace.spines["right"].set_visible(True)
        trace.margins(y=0.12)
    above: dict[str, Any] = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
    words = f"uniform 1/{len(spans)} = {uniform:.3f}"
    axes[0].annotate(words, (0.995, 1.03), color=ink(VERMILION), fontsize=11, **above)
    axes[-1].set_xlabel("Time (s)")
    width = min(receptive_field, duration)
    bar = Rectangle((0, 0.955 * top), width, 0.045 * top, color=GREY, alpha=0.85, linewidth=0)
    axes[-1].add_patch(bar)
    words = f"grey bar: one token sees {receptive_field:.2g} s"
    axes[-1].annotate(words, (0.995, 1.03), color=GREY, fontsize=11, **above)
    return finish(fig, source, title)


class _Box(NamedTuple):
    """A box of the drawing: left, top, width, height in inches, a bold line, and lines below it.

    With `art` the text stays at the top, so that something can be drawn below it.
    """

    x: float
    y: float
    width: float
    height: float
    head: str
    body: str
    color: str
    art: bool = False

    def top(self, share: float = 0.5) -> tuple[float, float]:
        """Return a point on the upper edge."""
        return self.x + share * self.width, self.y

    def bottom(self, share: float = 0.5) -> tuple[float, float]:
        """Return a point on the lower edge."""
        return self.x + share * self.width, self.y + self.height

    def draw(self, ax: Axes) -> None:
        """Draw a rounded box and its text."""
        red, green, blue = (1 - 0.1 * (1 - c) for c in ink(self.color))
        shape = FancyBboxPatch(
            (self.x, self.y),
            self.width,
            self.height,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=(red, green, blue),
            edgecolor=self.color,
            linewidth=1.3,
        )
        ax.add_patch(shape)
        center = self.x + self.width / 2
        lines = self.body.count("\n") + 1 if self.body else 0
        middle = self.y + self.height / 2 - 0.5 * (0.2 + 0.175 * lines)
        top = self.y + 0.12 if self.art else middle
        bold: dict[str, Any] = {"weight": "bold", "fontsize": 11.5, "color": ink(self.color)}
        ax.text(center, top, self.head, ha="center", va="top", **bold)
        plain: dict[str, Any] = {"fontsize": 10.5, "linespacing": 1.15}
        ax.text(center, top + 0.22, self.body, ha="center", va="top", **plain)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>,head_width=0.28,head_length=0.5", "color": GREY, "linewidth": 1.8}
    ax.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})


@styled
def plot_encoder() -> BookFigure:
    """Draw the dual attention encoder: leads kept apart, two parallel attentions, one latent vector.

    The small pictures in the two attentions are sketches, not results; sizes are those of an input
    of 12 x 1024 samples.
    """
    fig = new_figure(8.85)
    ax = fig.subplots()
    ax.set(xlim=(0, 7.5), ylim=(8.4, 0), aspect="equal")  # inches, y pointing down
    ax.set_axis_off()
    finish(fig, "This book's dual attention encoder", "", "the two small maps are sketches")
    wide, left = 5.1, 1.2
    channels = "grouped convolutions, 12 groups"
    stem = _Box(left, 1.05, wide, 0.72, "Stem, each lead on its own", channels, BLUE)
    blocks = "5 residual blocks along time, weights shared by the leads"
    residual = _Box(left, 2.1, wide, 0.72, "12 leads × 16 features × 32 tokens", blocks, BLUE)
    when = "12 maps of 32 × 32 tokens:\nwhich part of each lead"
    temporal = _Box(0.3, 3.25, 3.3, 2.45, "Temporal attention", when, GREEN, art=True)
    which = "1 map of 12 × 12 leads:\nwhich lead looks at which"
    cross = _Box(3.9, 3.25, 3.3, 2.45, "Cross-lead attention", which, VERMILION, art=True)
    merge = _Box(left, 6.15, wide, 0.72, "Sum of both branches", "192 channels × 32 tokens", PURPLE)
    pools = "mean over time (256) | maximum over time (256),\neach after a linear layer"
    latent = _Box(left, 7.3, wide, 0.95, "z_ecg (512)", pools, PURPLE)
    for box in (stem, residual, temporal, cross, merge, latent):
        box.draw(ax)
    t, beat = _beat()
    for i, gain in enumerate((0.6, 0.8, 0.5, -0.6, 0.35, 0.6)):
        ax.plot(
            left + 0.05 + i * 0.86 + 0.75 * t, 0.5 - 0.36 * gain * beat, color=BLACK, linewidth=1.3
        )
    ax.text(left - 0.08, 0.5, "12 leads", ha="right", va="center", fontsize=11)
    ax.text(left + wide + 0.06, 0.5, "12 × 1024", ha="left", va="center", fontsize=11)
    _sketch_windows(ax, 0.62, 5.45)
    _sketch_map(ax, 4.93, 4.2)
    _arrow(ax, (left + wide / 2, 0.75), stem.top())
    _arrow(ax, stem.bottom(), residual.top())
    for share, branch in ((0.15, temporal), (0.85, cross)):
        x = residual.bottom(share)[0]
        _arrow(ax, residual.bottom(share), (x, branch.y))
        _arrow(ax, (x, branch.y + branch.height), (x, merge.y))
    _arrow(ax, merge.bottom(), latent.top())
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
    beside: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "center", "color": GREY}
    ax.text(x - 0.08, top + 0.63, "12 leads", fontsize=10, **beside)
