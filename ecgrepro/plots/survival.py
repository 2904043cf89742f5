"""Time to event: Kaplan-Meier curves with numbers at risk, and follow-up in the aggregate."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    GREY,
    PALETTE,
    SKY,
    VERMILION,
    BookFigure,
    EndLabel,
    add_title,
    annotate_source,
    as_array,
    count,
    ink,
    label_ends,
    new_figure,
    require_columns,
    styled,
)

DAYS = {"days": 1.0, "months": 30.4375, "years": 365.25}


def days_in(unit: str) -> float:
    """Return how many days a unit of time has."""
    if unit not in DAYS:
        raise InputError(f"unit is {unit!r}: choose {', '.join(DAYS)}.")
    return DAYS[unit]


@styled
def plot_kaplan_meier(
    curves: Mapping[str, pd.DataFrame],
    source: str,
    *,
    unit: str = "years",
    ylim: tuple[float, float] | None = None,
    suppress_below: int = 0,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw Kaplan-Meier curves with their bands and, below, the numbers at risk.

    Parameters
    ----------
    curves
        Group to the table of `survival.kaplan_meier`: `time` (days), `survival`, `low`, `high` and
        `at_risk` (patients whose own time is at least `time`), one row a distinct time.
    unit
        Unit of the time axis: "days", "months" or "years".
    ylim
        Range of the survival axis; by default from just under the lowest band to 1, said in the axis
        label when it does not begin at 0.
    suppress_below
        Numbers at risk from 1 to below this are printed as "<10" (restricted cohorts).
    """
    if not curves:
        raise InputError("curves is empty: give at least one group.")
    scale = days_in(unit)
    for name, table in curves.items():
        columns = ["time", "survival", "low", "high", "at_risk"]
        require_columns(table, columns, f"the curve of {name}")
    fig = new_figure(4.5 + 0.34 * len(curves))
    grid = fig.add_gridspec(2, 1, height_ratios=[4.4, 0.45 + 0.36 * len(curves)])
    ax = fig.add_subplot(grid[0])
    ends: list[EndLabel] = []
    colors = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(curves)}
    lowest, latest = 1.0, 0.0
    for name, table in curves.items():
        time = table["time"].to_numpy(float) / scale
        survival, low, high = (table[c].to_numpy(float) for c in ("survival", "low", "high"))
        ax.fill_between(time, low, high, step="post", color=colors[name], alpha=0.18, linewidth=0)
        ax.step(time, survival, where="post", color=colors[name])
        ends.append(EndLabel(float(time[-1]), float(survival[-1]), name, colors[name]))
        bounds = np.append(low[np.isfinite(low)], survival)
        lowest, latest = min(lowest, float(bounds.min())), max(latest, float(time[-1]))
    bottom, top = ylim or (max(0.0, lowest - 0.08 * (1 - lowest) - 0.01), 1.0)
    ax.set(xlim=(0, latest), ylim=(bottom, top))
    cut = "" if bottom <= 0 else ",\naxis does not start at 0"
    ax.set_ylabel(f"Free of the event (%){cut}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=None))
    ticks = [tick for tick in ax.get_xticks() if 0 <= tick <= latest * 1.001]
    ax.set_xticks(ticks)
    ax.set_xlabel(f"Time since the ECG ({unit})")
    below = fig.add_subplot(grid[1], sharex=ax)
    below.set(ylim=(len(curves) - 0.4, -0.6), yticks=[])
    below.set_title("Number at risk", fontsize=11, pad=3)
    below.tick_params(bottom=False, labelbottom=False)
    below.grid(visible=False)
    below.spines[:].set_visible(False)
    for row, (name, table) in enumerate(curves.items()):
        for tick in ticks:
            number = _at_risk(table, tick * scale)
            hidden = 0 < number < suppress_below
            below.annotate(
                f"<{suppress_below}" if hidden else count(number),
                (tick, row),
                ha="center" if tick else "left",
                va="center",
                fontsize=10.5,
                color=ink(colors[name]),
                annotation_clip=False,
            )
        below.annotate(
            name,
            (1.0, row),
            xycoords=below.get_yaxis_transform(),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=11,
            color=ink(colors[name]),
            annotation_clip=False,
        )
    add_title(fig, title)
    annotate_source(fig, source, note)
    label_ends(ax, ends)
    return fig


def _at_risk(table: pd.DataFrame, time: float) -> int:
    """Patients whose own time is at least `time`: what the first row not before it says."""
    rows = table.loc[table["time"] >= time - 1e-9, "at_risk"]
    return int(rows.iloc[0]) if len(rows) else 0


@styled
def plot_follow_up(
    time: ArrayLike,
    event: ArrayLike,
    source: str,
    *,
    unit: str = "years",
    bins: int = 20,
    suppress_below: int = 0,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw follow-up in the aggregate: how many are still observed, and when events and censoring fall.

    No patient has a line of their own, so that the figure is fit for restricted cohorts.

    Parameters
    ----------
    time, event
        (N,) days of follow-up, and 1 for an event or 0 for censoring.
    suppress_below
        Bars of fewer people than this are left out (and the note says so), and the line of those still followed
        where it falls below; the axis then ends on a round number, not at the longest time, which is one patient's.
    """
    days, events = as_array(time, 1, "time"), as_array(event, 1, "event")
    if days.shape != events.shape or not days.size:
        raise InputError(
            f"time has {days.size} rows and event {events.size}: give one of each a patient."
        )
    t = days / days_in(unit)
    last = float(t.max()) or 1.0
    if suppress_below:
        digit = 10 ** (np.floor(np.log10(last)) - 1)
        last = float(np.ceil(last / digit) * digit)
    edges = np.linspace(0, last, bins + 1)
    fig = new_figure(5.4)
    top, ax = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.2])
    still = np.array([(t >= edge).sum() for edge in edges], dtype=float)
    still[still < suppress_below] = np.nan
    top.fill_between(edges, still, color=SKY, alpha=0.45, linewidth=0)
    top.plot(edges, still, color=BLUE)
    top.set(ylim=(0, None), ylabel="Still followed\n(patients)")
    width = edges[1] - edges[0]
    floor, hidden = np.zeros(bins), 0
    for code, color, word in ((1, VERMILION, "events"), (0, GREY, "censored")):
        heights = np.histogram(t[events == code], edges)[0]
        small = (heights > 0) & (heights < suppress_below)
        hidden += int(small.sum())
        heights = np.where(small, 0, heights)
        total = int((events == code).sum())
        label = f"{word}: {f'<{suppress_below}' if 0 < total < suppress_below else count(total)}"
        ax.bar(
            edges[:-1], heights, width * 0.92, bottom=floor, align="edge", color=color, label=label
        )
        floor = floor + heights
    ax.set(
        ylabel="Ended per bar\n(patients)",
        xlabel=f"Time since the ECG ({unit})",
        xlim=(0, edges[-1]),
    )
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    fig.align_ylabels([top, ax])
    add_title(fig, title)
    rule = f"{hidden} bars of fewer than {suppress_below} left out" if hidden else ""
    annotate_source(fig, source, "; ".join(part for part in (note, rule) if part))
    return fig
