"""ECGs: on paper at true scale, as plain lead panels, and beside their reconstruction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
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
    VERMILION,
    BookFigure,
    as_array,
    finish,
    ink,
    new_figure,
    styled,
)

MM_PER_S, MM_PER_MV = 25.0, 10.0
_ROWS = 6  # of two columns of leads
PAPER, FINE, COARSE = "#FFF8F6", "#F9DCD6", "#EDA79B"
# columns of the usual 3 x 4 print: each column shows the same 2.5 s of three leads
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))


def _twelve(ecg: ArrayLike, name: str) -> NDArray[np.float64]:
    array = as_array(ecg, 2, name)
    if array.shape[0] != len(LEADS):
        raise InputError(f"{name} has {array.shape[0]} rows for 12 leads: give (leads, samples).")
    return array


def _grid(width: float, height: float, step: float, skip: float) -> list[list[tuple[float, float]]]:
    """Lines every `step` mm, without those that fall on a multiple of `skip` mm."""
    xs = [x for x in np.arange(0, width + 0.01, step) if not skip or x % skip]
    ys = [y for y in np.arange(0, height + 0.01, step) if not skip or y % skip]
    return [[(x, 0), (x, height)] for x in xs] + [[(0, y), (width, y)] for y in ys]


@styled
def plot_paper(
    ecg: ArrayLike,
    rate: float,
    source: str,
    *,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw a 10 s ECG as on paper: 25 mm/s, 10 mm/mV, 3 x 4 leads of 2.5 s and a rhythm strip.

    The figure's inches are those of the paper: printed at 100 %, a small square is 1 mm. On a
    screen it may be scaled, but both axes by the same factor.

    Parameters
    ----------
    ecg
        (12, samples) in mV, leads as `signals.LEADS`. NaN leaves a gap. Shorter records are drawn as far as they go.
    rate
        Samples per second (Hz).
    source, note
        See `style.finish`.

    Raises
    ------
    InputError
        When the shape is another, or the rate is not positive.
    """
    signal = _twelve(ecg, "ecg")
    if rate <= 0:
        raise InputError(f"rate is {rate}: give samples per second.")
    quarter = round(2.5 * rate)
    strips = [  # per row: (lead, first sample, last sample, x in mm where it starts)
        [(lead, i * quarter, (i + 1) * quarter, i * 62.5) for i, lead in enumerate(names)]
        for names in LAYOUT
    ] + [[("II", 0, 4 * quarter, 0.0)]]
    margin_left, margin_right, room = 15.0, 5.0, 7.0  # mm; room holds the lead's name
    extents = []
    for row in strips:
        parts = np.concatenate([signal[LEADS.index(n), a:b] for n, a, b, _ in row]) * MM_PER_MV
        parts = parts[np.isfinite(parts)]
        high, low = (parts.max(), parts.min()) if parts.size else (0.0, 0.0)
        # a spike of an artefact must not stretch the page: it may cross into the next row, as on paper
        extents.append((float(np.clip(high, 10, 22)), float(np.clip(-low, 6, 20))))
    width = margin_left + 250 + margin_right
    height = 5 * np.ceil((sum(h + lo + room for h, lo in extents) + 4) / 5)
    head = 13.0 if title else 4.0
    foot = 13.0
    fig = BookFigure(figsize=(width / 25.4, (height + head + foot) / 25.4))
    fig.set_layout_engine("none")  # the axis is placed in millimetres
    total = height + head + foot
    ax = fig.add_axes((0.0, foot / total, 1.0, height / total))
    ax.set(xlim=(0, width), ylim=(0, height), facecolor=PAPER, aspect="equal")
    ax.set_axis_off()
    sheet = Rectangle((0, 0), width, height, facecolor=PAPER, edgecolor=COARSE, linewidth=1.2)
    ax.add_patch(sheet)
    ax.add_collection(LineCollection(_grid(width, height, 1, 5), colors=FINE, linewidths=0.45))
    ax.add_collection(LineCollection(_grid(width, height, 5, 0), colors=COARSE, linewidths=0.8))
    y = height - 2.0
    for row, (high, low) in zip(strips, extents, strict=True):
        y -= room + high
        pulse_x = np.array([3, 5, 5, 10, 10, 12]) + 0.0
        ax.plot(pulse_x, y + np.array([0, 0, 10, 10, 0, 0]), color=BLACK, linewidth=1.3)
        for lead, first, last, x in row:
            trace = signal[LEADS.index(lead), first:last] * MM_PER_MV
            times = margin_left + x + np.arange(trace.size) / rate * MM_PER_S
            ax.plot(times, y + trace, color=BLACK, linewidth=1.15, solid_joinstyle="round")
            if x:
                ax.plot([margin_left + x] * 2, [y - 2, y + 2], color=BLACK, linewidth=1.0)
            # under the traces: a name must not hide a wave
            paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
            name: dict[str, Any] = {"fontsize": 15, "weight": "bold", "zorder": 1.5, "bbox": paper}
            ax.text(margin_left + x + 1.5, y + high + 0.8, lead, va="bottom", **name)
        y -= low
    if title:
        fig.text(0.012, 1 - 3.0 / total, title, fontsize=17, weight="bold", va="top")
    scale = "25 mm/s · 10 mm/mV" if not note else f"25 mm/s · 10 mm/mV · {note}"
    fig.text(0.012, 6.5 / total, f"{source} · {scale}", fontsize=13, color=GREY, va="center")
    return fig


@styled
def plot_leads(
    ecg: ArrayLike,
    rate: float,
    source: str,
    *,
    unit: str = "mV",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the leads in two columns on one common scale, large enough for a phone.

    Parameters
    ----------
    ecg
        (12, samples) in `unit`.
    """
    signal = _twelve(ecg, "ecg")
    fig = new_figure(0.95 * _ROWS + 1.3)
    axes = fig.subplots(_ROWS, 2, sharex=True, sharey=True)
    for i, ax in enumerate(axes.T.ravel()):
        _draw_lead(ax, [signal[i]], (BLACK,), rate, LEADS[i])
    for ax in axes[-1]:
        ax.set_xlabel("Time (s)")
    fig.supylabel(f"Amplitude ({unit})", fontsize=12)
    return finish(fig, source, title, note)


def _draw_lead(
    ax: Axes, traces: Sequence[NDArray[np.float64]], colors: Sequence[str], rate: float, name: str
) -> None:
    """Draw one lead, or a thin line over a broad one."""
    widths = (1.3,) if len(traces) == 1 else (2.2, 1.3)
    times = np.arange(traces[0].size) / rate
    for trace, color, width in zip(traces, colors, widths, strict=True):
        ax.plot(times, trace, color=color, linewidth=width)
    place: dict[str, Any] = {"transform": ax.transAxes, "weight": "bold", "va": "top"}
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.75}
    ax.text(0.012, 0.96, name, zorder=1.5, bbox=white, **place)
    ax.set_xlim(0, traces[0].size / rate)


@styled
def plot_reconstruction(
    original: ArrayLike,
    reconstruction: ArrayLike,
    rate: float,
    source: str,
    *,
    seconds: float | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw input and reconstruction of every lead over each other, and the error of each lead below.

    Parameters
    ----------
    original, reconstruction
        (12, samples), z-scored. Cut the padding off before: it is not part of the record.
    seconds
        Show only the beginning; the error still counts the whole record.
    """
    pair = [_twelve(original, "original"), _twelve(reconstruction, "reconstruction")]
    if pair[0].shape != pair[1].shape:
        raise InputError(
            f"original {pair[0].shape} and reconstruction {pair[1].shape} differ in shape."
        )
    errors = np.sqrt(np.nanmean((pair[1] - pair[0]) ** 2, axis=1))
    shown = None if seconds is None else round(seconds * rate)
    fig = new_figure(0.95 * _ROWS + 3.4)
    grid = fig.add_gridspec(_ROWS + 1, 2, height_ratios=[1.0] * _ROWS + [2.0])
    axes: Any = np.empty((_ROWS, 2), dtype=object)
    for i, j in np.ndindex(_ROWS, 2):
        first = axes[0, 0]
        axes[i, j] = fig.add_subplot(grid[i, j], sharex=first, sharey=first)
        axes[i, j].tick_params(labelbottom=i == _ROWS - 1, labelleft=j == 0)
        if i == _ROWS - 1:
            axes[i, j].set_xlabel("Time (s)")
    for i, ax in enumerate(axes.T.ravel()):
        traces = [signal[i, :shown] for signal in pair]
        _draw_lead(ax, traces, (GREY, VERMILION), rate, LEADS[i])
    axes[_ROWS // 2, 0].set_ylabel("Amplitude (z)")
    bars = fig.add_subplot(grid[_ROWS, :])
    bars.bar(range(12), errors, color=BLUE, width=0.7)
    for i, value in enumerate(errors):
        bars.text(i, value, f"{value:.2f}", ha="center", va="bottom", fontsize=10.5)
    bars.set_xticks(range(12), LEADS)
    bars.set_ylabel("RMS error (z)")
    bars.set_title("RMS error of each lead, this record", fontsize=12)
    bars.margins(y=0.15)
    bars.grid(axis="x", visible=False)
    handles = [Line2D([], [], color=c, linewidth=3) for c in (GREY, VERMILION)]
    names = ["input", "reconstruction"]
    finish(fig, source, title, note)
    fig.legend(handles, names, loc="outside upper right", ncols=2, labelcolor="linecolor")
    return fig


@styled
def plot_lead_bars(
    values: ArrayLike, source: str, *, title: str = "", note: str = ""
) -> BookFigure:
    """Draw one number a lead around zero: what silencing it does to the risk.

    Parameters
    ----------
    values
        (12,) changes of the log risk; (N, 12) are averaged over N, with a 95 % normal interval of the mean.
    """
    array = np.array(values, dtype=float)
    if array.ndim not in (1, 2) or array.shape[-1] != len(LEADS):
        raise InputError(f"values are {array.shape}: one number for each of 12 leads is needed.")
    center = array.mean(axis=0) if array.ndim == 2 else array
    fig = new_figure(5.2)
    ax = fig.subplots()
    y = np.arange(len(LEADS))
    ax.barh(y, center, color=[VERMILION if v > 0 else BLUE for v in center], height=0.72)
    if array.ndim == 2 and len(array) > 1:
        half = 1.96 * array.std(axis=0, ddof=1) / np.sqrt(len(array))
        ax.hlines(y, center - half, center + half, color=BLACK, linewidth=1.6)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(y, LEADS)
    ax.invert_yaxis()
    ax.set(
        xlabel="Contribution to the log risk (log hazard ratio; right: raises it)", ylabel="Lead"
    )
    ax.grid(axis="y", visible=False)
    return finish(fig, source, title, note)


@styled
def plot_attribution(
    ecg: ArrayLike,
    attribution: ArrayLike,
    windows_ms: ArrayLike,
    rate: float,
    source: str,
    *,
    seconds: float | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the ECG over the attribution of each window, one colour scale for all leads.

    Nothing is rescaled by lead: a lead that does not matter stays white.

    Parameters
    ----------
    ecg
        (12, samples) in mV, without padding.
    attribution
        (12, n_windows) signed change of the log risk; (1, n_windows) when all leads were hidden at once.
    windows_ms
        (n_windows, 2) begin and end in milliseconds of `ecg`. Of overlapping windows the mean is drawn.
    """
    signal, values = as_array(ecg, 2, "ecg"), as_array(attribution, 2, "attribution")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    n = len(LEADS)
    if signal.shape[0] != n or values.shape[0] not in (1, n) or values.shape[1] != len(spans):
        raise InputError(
            f"ecg {signal.shape}, attribution {values.shape} and windows {spans.shape} do not fit {n} leads."
        )
    values = np.broadcast_to(values, (n, len(spans)))
    shown = signal.shape[1] if seconds is None else min(signal.shape[1], round(seconds * rate))
    times = np.arange(shown) / rate
    end = shown / rate
    edges = np.unique(np.clip(np.append(spans.ravel(), (0, end)), 0, end))
    middle = (edges[:-1] + edges[1:]) / 2
    inside = (spans[:, :1] <= middle) & (middle < spans[:, 1:])  # (n_windows, cells)
    cover = inside.sum(axis=0)
    cells = np.where(cover > 0, values @ inside / np.maximum(cover, 1), 0.0)
    top = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    norm = Normalize(-top, top)
    fig = new_figure(0.95 * _ROWS + 1.9)
    axes = fig.subplots(_ROWS, 2, sharex=True, sharey=True)
    finite = signal[:, :shown][np.isfinite(signal[:, :shown])]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 1.0)
    room = high - low or 1.0
    low, high = low - 0.08 * room, high + 0.25 * room  # for names
    for i, ax in enumerate(axes.T.ravel()):
        ax.pcolormesh(edges, [low, high], cells[i : i + 1], cmap=DIVERGING, norm=norm)
        ax.plot(times, signal[i, :shown], color=BLACK, linewidth=1.3)
        ax.set(xlim=(0, end), ylim=(low, high))
        ax.text(0.012, 0.96, LEADS[i], transform=ax.transAxes, weight="bold", va="top")
        ax.grid(visible=False)
    for ax in axes[-1]:
        ax.set_xlabel("Time (s)")
    fig.supylabel("Amplitude (mV)", fontsize=12)
    scale = ScalarMappable(norm, DIVERGING)
    bar = fig.colorbar(scale, ax=list(axes.ravel()), location="top", aspect=50, fraction=0.03)
    bar.outline.set_visible(False)
    bar.set_label("Contribution to the log risk (red: raises it)")
    return finish(fig, source, title, note)


_SHOWN = (("II", BLUE), ("V2", VERMILION), ("V5", GREEN))


@styled
def plot_median_beat(
    beat: ArrayLike,
    rate: float,
    waves: Mapping[str, tuple[float, float]],
    source: str,
    *,
    before_ms: float,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw all leads of a median beat over one another, with the time of each wave shaded.

    Parameters
    ----------
    beat
        (12, samples) in mV. Leads II, V2 and V5 are in colour.
    rate
        Samples per second.
    waves
        Name ("P", "QRS", "T") to its begin and end in ms after the fiducial point; waves with NaN are left out.
    before_ms
        Time of the fiducial point, in ms after the first sample.
    """
    x = as_array(beat, 2, "beat")
    if x.shape[0] != len(LEADS):
        raise InputError(f"beat has {x.shape[0]} rows, 12 leads are needed: check its axes.")
    time = np.arange(x.shape[1]) * 1000 / rate - before_ms
    fig = new_figure(4.8)
    ax = fig.subplots()
    for name, color in zip(waves, (PURPLE, ORANGE, GREY), strict=False):
        start, stop = waves[name]
        if np.isfinite(start + stop):
            ax.axvspan(start, stop, color=color, alpha=0.16, linewidth=0)
            label = f"{name}\n{stop - start:.0f} ms"
            ax.text((start + stop) / 2, 1.0, label, transform=ax.get_xaxis_transform(),
                    ha="center", va="bottom", color=ink(color), weight="bold")  # fmt: skip
    for lead in x:
        ax.plot(time, lead, color=GREY, linewidth=0.8, alpha=0.4)
    for i, (name, color) in enumerate(_SHOWN):
        ax.plot(time, x[LEADS.index(name)], color=color, linewidth=1.8)
        ax.text(0.985, 0.95 - 0.08 * i, name, transform=ax.transAxes, ha="right", va="top",
                color=ink(color), weight="bold")  # fmt: skip
    ax.set(xlim=(time[0], time[-1]), xlabel="Time from the middle of QRS (ms)", ylabel="mV")
    return finish(fig, source, title, note, "other leads grey")
