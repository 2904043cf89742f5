"""ECG measurements: the median beat with its points, agreement with the truth, distributions."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    GREEN,
    GREY,
    LEADS,
    ORANGE,
    PURPLE,
    VERMILION,
    BookFigure,
    annotate_source,
    as_array,
    count,
    ink,
    new_figure,
    styled,
)

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


@styled
def plot_agreement(
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]],
    source: str,
    *,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw measured minus true against true, with the bias and the limits that hold 95 % of the differences.

    Limits are quantiles and not 1.96 SD, because the differences have heavy tails. After Bland & Altman,
    Lancet 1986; 1: 307.

    Parameters
    ----------
    pairs
        "PR interval (ms)" to (measured, true), (N,) each; pairs with NaN are left out. One panel each.
    """
    if not pairs:
        raise InputError("pairs is empty: give at least one measurement with its truth.")
    rows = (len(pairs) + 1) // 2
    fig = new_figure(0.9 + 2.75 * rows)
    axes = np.atleast_2d(fig.subplots(rows, 2)).ravel()
    for ax, (name, (measured, true)) in zip(axes, pairs.items(), strict=False):
        y, x = as_array(measured, 1, name), as_array(true, 1, name)
        if x.shape != y.shape:
            raise InputError(f"{name}: {y.size} measured and {x.size} true values do not pair.")
        kept = np.isfinite(x + y)
        x, gap = x[kept], (y - x)[kept]
        ax.set_title(f"{name}, n = {count(x.size)}", fontsize=11)
        ax.set_xlabel("true", fontsize=11)
        ax.set_ylabel("measured − true", fontsize=11)
        if x.size < 2:
            continue
        low, high = np.quantile(gap, [0.025, 0.975])
        reach = 2.2 * max(abs(low), abs(high), 1e-9)
        ax.scatter(x, np.clip(gap, -reach, reach), s=7, color=BLUE, alpha=0.35, linewidths=0)
        for value, style in ((gap.mean(), "-"), (low, (0, (4, 2))), (high, (0, (4, 2)))):
            ax.axhline(float(value), color=VERMILION, linewidth=1.4, linestyle=style)
        text = f"bias {gap.mean():+.1f}; 95 % {low:+.0f} to {high:+.0f}".replace("-", "−")
        ax.text(0.5, 0.97, text, transform=ax.transAxes, ha="center", va="top", fontsize=10,
                color=ink(VERMILION), bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
        ax.set_ylim(-1.1 * reach, 1.1 * reach)
    for ax in axes[len(pairs) :]:
        ax.set_axis_off()
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
    rule = "differences beyond the panel lie on its edge"
    annotate_source(fig, source, "; ".join(part for part in (note, rule) if part))
    return fig


@styled
def plot_distributions(
    values: Mapping[str, ArrayLike],
    source: str,
    *,
    limits: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw histograms of measurements, each with the thresholds from which it counts as abnormal.

    Parameters
    ----------
    values
        "QRS duration (ms)" to (N,) values; NaN is left out and its share written.
    limits
        The same names to thresholds, drawn dashed.
    """
    if not values:
        raise InputError("values is empty: give at least one measurement.")
    rows = (len(values) + 1) // 2
    fig = new_figure(0.9 + 2.2 * rows)
    axes = np.atleast_2d(fig.subplots(rows, 2)).ravel()
    for ax, (name, column) in zip(axes, values.items(), strict=False):
        x = as_array(column, 1, name)
        seen = x[np.isfinite(x)]
        missing = 1 - seen.size / max(x.size, 1)
        ax.set_title(name + (f"\n{missing:.1%} not measured" if missing > 0 else ""), fontsize=11)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        if seen.size:
            inner = np.quantile(seen, [0.002, 0.998])
            edges = np.histogram_bin_edges(np.clip(seen, *inner), 40)
            heights = np.histogram(np.clip(seen, *inner), edges)[0]
            ax.stairs(heights, edges, fill=True, color=BLUE, alpha=0.5)
        for limit in (limits or {}).get(name, ()):
            ax.axvline(limit, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.4)
    for ax in axes[len(values) :]:
        ax.set_axis_off()
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
    rule = "dashed: thresholds; the outermost 0.2 % at each side lie in the end bars"
    annotate_source(fig, source, "; ".join(part for part in (note, rule) if part))
    return fig
