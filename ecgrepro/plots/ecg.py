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
    add_title,
    annotate_source,
    as_array,
    ink,
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


@styled
def plot_lead_bars(
    values: ArrayLike,
    source: str,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    leads: Sequence[str] = LEADS,
    xlabel: str = "Contribution to the log risk (log hazard ratio; right: raises it)",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw one number a lead, for example what silencing it does to the risk, around zero.

    Parameters
    ----------
    values
        (12,) values; (N, 12) are averaged over N, with a 95 % normal interval of the mean.
    low, high
        (12,) interval, where it was worked out elsewhere.
    """
    array = np.array(values, dtype=float)
    if array.ndim == 2 and len(array) > 1:
        half = 1.96 * array.std(axis=0, ddof=1) / np.sqrt(len(array))
        center = array.mean(axis=0)
        low, high = center - half, center + half
    else:
        center = array.reshape(-1)
    if center.shape != (len(leads),):
        raise InputError(
            f"values are {array.shape}: one number for each of {len(leads)} leads is needed."
        )
    fig = new_figure(5.2)
    ax = fig.subplots()
    y = np.arange(len(leads))
    ax.barh(y, center, color=[VERMILION if v > 0 else BLUE for v in center], height=0.72)
    if low is not None and high is not None:
        bounds = np.stack([as_array(low, 1, "low"), as_array(high, 1, "high")])
        ax.hlines(y, bounds[0], bounds[1], color=BLACK, linewidth=1.6)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(y, leads)
    ax.invert_yaxis()
    ax.set(xlabel=xlabel, ylabel="Lead")
    ax.grid(axis="y", visible=False)
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


@styled
def plot_attribution(
    ecg: ArrayLike,
    attribution: ArrayLike,
    windows_ms: ArrayLike,
    rate: float,
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    unit: str = "mV",
    seconds: float | None = None,
    limit: float | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the ECG over the attribution of each window, one colour scale for all leads.

    Nothing is rescaled by lead: a lead that does not matter stays white.

    Parameters
    ----------
    ecg
        (12, samples) in `unit`, without padding.
    attribution
        (12, n_windows) signed change of the log risk; (1, n_windows) when all leads were hidden at once.
    windows_ms
        (n_windows, 2) begin and end in milliseconds of `ecg`. Of overlapping windows the mean is drawn.
    limit
        Colour limit of either sign; by default the largest absolute value of this figure. Set it to
        compare figures.
    """
    signal, values = as_array(ecg, 2, "ecg"), as_array(attribution, 2, "attribution")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    n = len(leads)
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
    top = limit or float(np.nanmax(np.abs(values), initial=0)) or 1.0
    norm = Normalize(-top, top)
    n_rows = -(-n // 2)
    fig = new_figure(0.95 * n_rows + 1.9)
    axes = fig.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    finite = signal[:, :shown][np.isfinite(signal[:, :shown])]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 1.0)
    low, high = (
        low - 0.08 * (high - low or 1.0),
        high + 0.25 * (high - low or 1.0),
    )  # room for names
    for i, ax in enumerate(axes.T.ravel()[:n]):
        ax.pcolormesh(edges, [low, high], cells[i : i + 1], cmap=DIVERGING, norm=norm)
        ax.plot(times, signal[i, :shown], color=BLACK, linewidth=1.3)
        ax.set(xlim=(0, end), ylim=(low, high))
        ax.text(0.012, 0.96, leads[i], transform=ax.transAxes, weight="bold", va="top")
        ax.grid(visible=False)
    for ax in axes[-1]:
        ax.set_xlabel("Time (s)")
    fig.supylabel(f"Amplitude ({unit})", fontsize=12)
    bar = fig.colorbar(
        ScalarMappable(norm, DIVERGING),
        ax=list(axes.ravel()),
        location="top",
        aspect=50,
        fraction=0.03,
    )
    bar.outline.set_visible(False)
    bar.set_label("Contribution to the log risk (red: raises it)")
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


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
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
    annotate_source(fig, source, "; ".join(part for part in (note, "other leads grey") if part))
    return fig
