"""ECGs: on paper at true scale, as plain lead panels, and beside their reconstruction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    GREY,
    LEADS,
    VERMILION,
    BookFigure,
    add_title,
    annotate_source,
    as_array,
    new_figure,
    styled,
)

MM_PER_S, MM_PER_MV = 25.0, 10.0
PAPER, FINE, COARSE = "#FFF8F6", "#F9DCD6", "#EDA79B"
# columns of the usual 3 x 4 print: each column shows the same 2.5 s of three leads
LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))


def _twelve(ecg: ArrayLike, leads: Sequence[str], name: str) -> NDArray[np.float64]:
    array = as_array(ecg, 2, name)
    if array.shape[0] != len(leads):
        raise InputError(
            f"{name} has {array.shape[0]} rows for {len(leads)} leads: give (leads, samples)."
        )
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
    leads: Sequence[str] = LEADS,
    title: str = "",
    note: str = "",
    rhythm_lead: str = "II",
) -> BookFigure:
    """Draw a 10 s ECG as on paper: 25 mm/s, 10 mm/mV, 3 x 4 leads of 2.5 s and a rhythm strip.

    The figure's inches are those of the paper: printed at 100 %, a small square is 1 mm. On a
    screen it may be scaled, but both axes by the same factor.

    Parameters
    ----------
    ecg
        (12, samples) in mV. NaN leaves a gap. Shorter records are drawn as far as they go.
    rate
        Samples per second (Hz).
    source, note
        See `annotate_source`.
    leads
        Lead name of each row of `ecg`; all twelve standard leads must be among them.
    rhythm_lead
        Lead of the strip at the bottom.

    Raises
    ------
    InputError
        When shape and lead names disagree, a standard lead is missing, or the rate is not positive.
    """
    signal = _twelve(ecg, leads, "ecg")
    row_of = {name.lower(): i for i, name in enumerate(leads)}
    missing = [name for name in (*LEADS, rhythm_lead) if name.lower() not in row_of]
    if missing or rate <= 0:
        raise InputError(
            f"a paper ECG needs lead {missing[0]}: it is not among {', '.join(leads)}."
            if missing
            else f"rate is {rate}: give samples per second."
        )
    quarter = round(2.5 * rate)
    strips = [  # per row: (lead, first sample, last sample, x in mm where it starts)
        [(lead, i * quarter, (i + 1) * quarter, i * 62.5) for i, lead in enumerate(names)]
        for names in LAYOUT
    ] + [[(rhythm_lead, 0, 4 * quarter, 0.0)]]
    margin_left, margin_right, room = 15.0, 5.0, 7.0  # mm; room holds the lead's name
    extents = []
    for row in strips:
        parts = np.concatenate([signal[row_of[n.lower()], a:b] for n, a, b, _ in row]) * MM_PER_MV
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
            trace = signal[row_of[lead.lower()], first:last] * MM_PER_MV
            times = margin_left + x + np.arange(trace.size) / rate * MM_PER_S
            ax.plot(times, y + trace, color=BLACK, linewidth=1.15, solid_joinstyle="round")
            if x:
                ax.plot([margin_left + x] * 2, [y - 2, y + 2], color=BLACK, linewidth=1.0)
            ax.text(
                margin_left + x + 1.5,
                y + high + 0.8,
                lead,
                fontsize=15,
                weight="bold",
                va="bottom",
                zorder=1.5,  # under the traces: a name must not hide a wave
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
            )
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
    compare: ArrayLike | None = None,
    labels: tuple[str, str] = ("", ""),
    leads: Sequence[str] = LEADS,
    unit: str = "mV",
    seconds: float | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the leads in two columns on one common scale, large enough for a phone.

    Parameters
    ----------
    ecg
        (leads, samples) in `unit`.
    compare
        A second ECG of the same shape, drawn over the first in another colour.
    labels
        What the first and the second line are; written in their colours.
    seconds
        Show only the beginning of the record.
    """
    signal = _twelve(ecg, leads, "ecg")
    signals = [signal] if compare is None else [signal, _twelve(compare, leads, "compare")]
    n_rows = -(-len(leads) // 2)
    fig = new_figure(0.95 * n_rows + 1.3)
    axes = fig.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    _draw_leads(axes.T.ravel(), signals, rate, leads, seconds)
    for ax in axes[-1]:
        ax.set_xlabel("Time (s)")
    fig.supylabel(f"Amplitude ({unit})", fontsize=12)
    _head(fig, title, labels if compare is not None else ("", ""))
    annotate_source(fig, source, note)
    return fig


def _draw_leads(
    axes: Sequence[Axes] | NDArray[np.object_],
    signals: Sequence[NDArray[np.float64]],
    rate: float,
    leads: Sequence[str],
    seconds: float | None,
) -> None:
    shown = (
        signals[0].shape[1] if seconds is None else min(signals[0].shape[1], round(seconds * rate))
    )
    times = np.arange(shown) / rate
    for i, ax in enumerate(axes):
        if i >= len(leads):
            ax.set_visible(False)
            continue
        for signal, color, width in zip(signals, (GREY, VERMILION), (2.2, 1.3), strict=False):
            line = color if len(signals) > 1 else BLACK
            ax.plot(
                times, signal[i, :shown], color=line, linewidth=width if len(signals) > 1 else 1.3
            )
        ax.text(
            0.012,
            0.96,
            leads[i],
            transform=ax.transAxes,
            weight="bold",
            va="top",
            zorder=1.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.75},
        )
        ax.set_xlim(0, shown / rate)


def _head(fig: BookFigure, title: str, labels: tuple[str, str]) -> None:
    add_title(fig, title)
    if any(labels):
        handles = [Line2D([], [], color=c, linewidth=3) for c in (GREY, VERMILION)]
        fig.legend(handles, labels, loc="outside upper right", ncols=2, labelcolor="linecolor")


@styled
def plot_reconstruction(
    original: ArrayLike,
    reconstruction: ArrayLike,
    rate: float,
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    unit: str = "z",
    seconds: float | None = None,
    error: ArrayLike | None = None,
    error_label: str = "",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw input and reconstruction of every lead over each other, and the error of each lead below.

    Parameters
    ----------
    original, reconstruction
        (12, samples) in `unit`. Cut the padding off before: it is not part of the record.
    seconds
        Show only the beginning; the error still counts the whole record.
    error
        (12,) root mean square error of each lead, for example over a whole test set. Without it,
        that of the two arrays shown.
    error_label
        Says whose error it is, for example "RMS error over 252 test records".
    """
    pair = [_twelve(original, leads, "original"), _twelve(reconstruction, leads, "reconstruction")]
    if pair[0].shape != pair[1].shape:
        raise InputError(
            f"original {pair[0].shape} and reconstruction {pair[1].shape} differ in shape."
        )
    own = np.sqrt(np.nanmean((pair[1] - pair[0]) ** 2, axis=1))
    errors = own if error is None else as_array(error, 1, "error")
    n_rows = -(-len(leads) // 2)
    fig = new_figure(0.95 * n_rows + 3.4)
    grid = fig.add_gridspec(n_rows + 1, 2, height_ratios=[1.0] * n_rows + [2.0])
    axes: Any = np.empty((n_rows, 2), dtype=object)
    for i, j in np.ndindex(n_rows, 2):
        first = axes[0, 0]
        axes[i, j] = fig.add_subplot(grid[i, j], sharex=first, sharey=first)
        axes[i, j].tick_params(labelbottom=i == n_rows - 1, labelleft=j == 0)
        if i == n_rows - 1:
            axes[i, j].set_xlabel("Time (s)")
    _draw_leads(axes.T.ravel(), pair, rate, leads, seconds)
    axes[n_rows // 2, 0].set_ylabel(f"Amplitude ({unit})")
    bars = fig.add_subplot(grid[n_rows, :])
    bars.bar(range(len(leads)), errors, color=BLUE, width=0.7)
    for i, value in enumerate(errors):
        bars.text(i, value, f"{value:.2f}", ha="center", va="bottom", fontsize=10.5)
    bars.set_xticks(range(len(leads)), leads)
    bars.set_ylabel(f"RMS error ({unit})")
    bars.set_title(error_label or "RMS error of each lead, this record", fontsize=12)
    bars.margins(y=0.15)
    bars.grid(axis="x", visible=False)
    _head(fig, title, ("input", "reconstruction"))
    annotate_source(fig, source, note)
    return fig
