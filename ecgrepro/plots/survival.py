"""Time to event: Kaplan-Meier curves with numbers at risk, and follow-up in the aggregate."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BESIDE,
    BLUE,
    DASHED,
    GREY,
    PALETTE,
    SKY,
    VERMILION,
    BookFigure,
    EndLabel,
    as_array,
    check_columns,
    count,
    finish,
    ink,
    label_ends,
    new_figure,
    styled,
)

YEAR = 365.25  # days
BINS = 20  # of a histogram of follow-up


@styled
def plot_kaplan_meier(
    curves: Mapping[str, pd.DataFrame],
    source: str,
    *,
    suppress_below: int = 0,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw Kaplan-Meier curves with their bands and, below, the numbers at risk.

    Parameters
    ----------
    curves
        Group to the table of `survival.kaplan_meier`: `time` (days), `survival`, `low`, `high` and
        `at_risk` (patients whose own time is at least `time`), one row a distinct time. The survival axis begins just
        under the lowest band, and says so.
    suppress_below
        Numbers at risk from 1 to below this are printed as "<10" (restricted cohorts).
    """
    if not curves:
        raise InputError("curves is empty: give at least one group.")
    for name, table in curves.items():
        columns = ["time", "survival", "low", "high", "at_risk"]
        check_columns(table, columns, f"the curve of {name}")
    fig = new_figure(4.5 + 0.34 * len(curves))
    grid = fig.add_gridspec(2, 1, height_ratios=[4.4, 0.45 + 0.36 * len(curves)])
    ax = fig.add_subplot(grid[0])
    ends: list[EndLabel] = []
    colors = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(curves)}
    lowest, latest = 1.0, 0.0
    for name, table in curves.items():
        time = table["time"].to_numpy(float) / YEAR
        survival, low, high = (table[c].to_numpy(float) for c in ("survival", "low", "high"))
        ax.fill_between(time, low, high, step="post", color=colors[name], alpha=0.18, linewidth=0)
        ax.step(time, survival, where="post", color=colors[name])
        ends.append(EndLabel(float(time[-1]), float(survival[-1]), name, colors[name]))
        bounds = np.append(low[np.isfinite(low)], survival)
        lowest, latest = min(lowest, float(bounds.min())), max(latest, float(time[-1]))
    bottom = max(0.0, lowest - 0.08 * (1 - lowest) - 0.01)
    ax.set(xlim=(0, latest), ylim=(bottom, 1.0))
    cut = "" if bottom <= 0 else ",\naxis does not start at 0"
    ax.set_ylabel(f"Free of the event (%){cut}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="", decimals=None))
    ticks = [tick for tick in ax.get_xticks() if 0 <= tick <= latest * 1.001]
    ax.set_xticks(ticks)
    ax.set_xlabel("Time since the ECG (years)")
    below = fig.add_subplot(grid[1], sharex=ax)
    below.set(ylim=(len(curves) - 0.4, -0.6), yticks=[])
    below.set_title("Number at risk", fontsize=11, pad=3)
    below.tick_params(bottom=False, labelbottom=False)
    below.grid(visible=False)
    below.spines[:].set_visible(False)
    for row, (name, table) in enumerate(curves.items()):
        style: dict[str, Any] = {"color": ink(colors[name]), "annotation_clip": False}
        for tick in ticks:
            number = _at_risk(table, tick * YEAR)
            shown = f"<{suppress_below}" if 0 < number < suppress_below else count(number)
            side = "center" if tick else "left"
            below.annotate(shown, (tick, row), ha=side, va="center", fontsize=10.5, **style)
        edge = below.get_yaxis_transform()
        below.annotate(name, (1.0, row), xycoords=edge, fontsize=11, **BESIDE, **style)
    finish(fig, source, title, note)
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
    t = days / YEAR
    last = float(t.max()) or 1.0
    if suppress_below:
        digit = 10 ** (np.floor(np.log10(last)) - 1)
        last = float(np.ceil(last / digit) * digit)
    edges = np.linspace(0, last, BINS + 1)
    fig = new_figure(5.4)
    top, ax = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.2])
    still = np.array([(t >= edge).sum() for edge in edges], dtype=float)
    still[still < suppress_below] = np.nan
    top.fill_between(edges, still, color=SKY, alpha=0.45, linewidth=0)
    top.plot(edges, still, color=BLUE)
    top.set(ylim=(0, None), ylabel="Still followed\n(patients)")
    width = edges[1] - edges[0]
    floor, hidden = np.zeros(BINS), 0
    for code, color, word in ((1, VERMILION, "events"), (0, GREY, "censored")):
        heights = np.histogram(t[events == code], edges)[0]
        small = (heights > 0) & (heights < suppress_below)
        hidden += int(small.sum())
        heights = np.where(small, 0, heights)
        total = int((events == code).sum())
        label = f"{word}: {f'<{suppress_below}' if 0 < total < suppress_below else count(total)}"
        bars: dict[str, Any] = {"align": "edge", "color": color, "label": label}
        ax.bar(edges[:-1], heights, width * 0.92, bottom=floor, **bars)
        floor = floor + heights
    ax.set(xlabel="Time since the ECG (years)", xlim=(0, edges[-1]))
    ax.set_ylabel("Ended per bar\n(patients)")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    fig.align_ylabels([top, ax])
    rule = f"{hidden} bars of fewer than {suppress_below} left out" if hidden else ""
    return finish(fig, source, title, note, rule)


def _check_tables(tables: Mapping[str, pd.DataFrame], columns: list[str]) -> None:
    if not tables:
        raise InputError(f"tables is empty: give at least one table with {', '.join(columns)}.")
    for name, table in tables.items():
        check_columns(table, columns, f"the table of {name}")


@styled
def plot_calibration(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    horizon: str,
    curves: Mapping[str, pd.DataFrame] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw observed against predicted risk at one horizon, in groups of predicted risk.

    Parameters
    ----------
    tables
        Model to the `groups` of `survival.calibration_at`: `expected` (mean prediction) and `observed`,
        shares between 0 and 1, and `low`, `high` (interval of `observed`) where known.
    horizon
        For example "5 years".
    curves
        Model to its smooth `curve` (`expected`, `observed`), drawn as a line; without it the groups'
        points are joined.
    """
    _check_tables(tables, ["expected", "observed"])
    fig = new_figure(5.9)
    ax = fig.subplots()
    top = 0.01
    for i, (name, table) in enumerate(tables.items()):
        rows = table.sort_values("expected")
        color = PALETTE[i % len(PALETTE)]
        x, y = 100 * rows["expected"].to_numpy(float), 100 * rows["observed"].to_numpy(float)
        if {"low", "high"} <= set(rows.columns):
            ax.vlines(x, 100 * rows["low"], 100 * rows["high"], color=color, linewidth=2, alpha=0.5)
        ax.plot(x, y, "o", color=color, markersize=7)
        line = (curves or {}).get(name, rows)
        ax.plot(100 * line["expected"], 100 * line["observed"], color=color, linewidth=1.4)
        spot = (0.97, 0.05 + 0.065 * i)  # the corner below the diagonal is the emptiest
        ax.text(*spot, name, transform=ax.transAxes, ha="right", color=ink(color), weight="bold")
        for drawn in (rows, line):
            columns = [c for c in ("expected", "observed", "high") if c in drawn]
            top = max(top, 104 * float(np.nanmax(drawn[columns].to_numpy(float), initial=0.01)))
    ax.plot([0, top], [0, top], zorder=1, **DASHED)
    place: dict[str, Any] = {"ha": "right", "va": "bottom", "rotation": 45}
    ax.text(0.97 * top, 0.94 * top, "perfect", color=GREY, fontsize=11, **place)
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.set(xlabel=f"Predicted risk by {horizon} (%)", ylabel=f"Observed risk by {horizon} (%)")
    return finish(fig, source, title, note)


@styled
def plot_over_time(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    column: str = "auc",
    ylabel: str = "AUC(t) (0.5 = chance)",
    reference: tuple[float, str] | None = (0.5, "chance"),
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw a measure by horizon: the time-dependent AUC, or the Brier score.

    Parameters
    ----------
    tables
        Model to a table with `time` (days), `column`, and `low`, `high` where known, for example of
        `survival.auc_over_time` or `survival.brier_score`.
    column
        What to draw; `ylabel` must say what it is, with its unit.
    reference
        (value, what it means), drawn as a dashed line.
    """
    _check_tables(tables, ["time", column])
    fig = new_figure(4.6)
    ax = fig.subplots()
    ends: list[EndLabel] = []
    for i, (name, table) in enumerate(tables.items()):
        rows = table.sort_values("time")
        x, y = rows["time"].to_numpy(float) / YEAR, rows[column].to_numpy(float)
        color = PALETTE[i % len(PALETTE)]
        if {"low", "high"} <= set(rows.columns):
            ax.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.16, linewidth=0)
        ax.plot(x, y, color=color, marker="o", markersize=4)
        ends.append(EndLabel(x[-1], y[-1], name, color))
    if reference is not None:
        ax.axhline(reference[0], zorder=1, **DASHED)
        ends.append(EndLabel(0.0, reference[0], reference[1], GREY))
    ax.set(xlabel="Horizon after the ECG (years)", ylabel=ylabel)
    ax.margins(x=0.03, y=0.08)
    finish(fig, source, title, note)
    label_ends(ax, ends)
    return fig


@styled
def plot_decision_curve(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    horizon: str,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the net benefit of acting on the risk, against treating everybody and nobody.

    Parameters
    ----------
    tables
        Model to the table of `survival.net_benefit`: `threshold` (0 to 1), `model` and `all` (net
        benefit per patient of acting on the model, and of treating everybody).
    horizon
        For example "5 years".
    """
    _check_tables(tables, ["threshold", "model", "all"])
    fig = new_figure(4.8)
    ax = fig.subplots()
    ends: list[EndLabel] = []
    everybody = next(iter(tables.values())).sort_values("threshold")
    x, y = everybody["threshold"].to_numpy(float), everybody["all"].to_numpy(float)
    tops = [np.nanmax(table[["model", "all"]].to_numpy(float)) for table in tables.values()]
    best = max(float(np.nanmax(tops)), 1e-3)
    ax.plot(x, y, color=GREY, linestyle=(0, (1, 1.2)))
    # the line soon leaves the axis: name it where it crosses 0
    visible = np.flatnonzero(y > 0.02 * best)
    at = int(visible[-1]) if visible.size else 0
    offset: dict[str, Any] = {"xytext": (8, 2), "textcoords": "offset points"}
    ax.annotate("treat all", (x[at], max(float(y[at]), 0.0)), color=ink(GREY), **offset)
    for i, (name, table) in enumerate(tables.items()):
        rows = table.sort_values("threshold")
        x, y = rows["threshold"].to_numpy(float), rows["model"].to_numpy(float)
        color = PALETTE[i % len(PALETTE)]
        ax.plot(x, y, color=color)
        known = np.flatnonzero(np.isfinite(y))  # NaN where follow-up ends before the horizon
        if known.size:
            last = known[-1]
            ends.append(EndLabel(x[last], float(np.clip(y[last], -0.15 * best, best)), name, color))
    ax.axhline(0, **DASHED)
    ends.append(EndLabel(float(x[-1]), 0.0, "treat nobody", GREY))
    ax.set_ylim(-0.15 * best, 1.1 * best)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    ax.set(xlabel=f"Risk by {horizon} from which one acts (%)", ylabel="Net benefit (per patient)")
    finish(fig, source, title, note)
    label_ends(ax, ends)
    return fig


@styled
def plot_risk_scatter(
    truth: ArrayLike,
    risk: ArrayLike,
    source: str,
    *,
    event: ArrayLike | None = None,
    xlabel: str = "True log hazard (no unit)",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the predicted risk against the true hazard, which only simulated data has.

    Parameters
    ----------
    truth, risk
        (N,) true and predicted log hazard. The Spearman rank correlation is written in the figure.
    event
        (N,) 1 with an event; those are drawn in colour.
    """
    x, y = as_array(truth, 1, "truth"), as_array(risk, 1, "risk")
    if x.shape != y.shape:
        raise InputError(f"truth has {x.size} rows and risk {y.size}: give one of each a patient.")
    fig = new_figure(5.2)
    ax = fig.subplots()
    size = float(np.clip(9000 / max(x.size, 1), 7, 40))
    had = np.zeros(x.size, bool) if event is None else as_array(event, 1, "event") == 1
    for chosen, color in ((~had, BLUE), (had, VERMILION)):
        ax.scatter(x[chosen], y[chosen], s=size, color=color, alpha=0.45, linewidths=0)
    both = np.isfinite(x) & np.isfinite(y)
    ranks = [pd.Series(values[both]).rank() for values in (x, y)]
    varied = both.sum() > 2 and all(r.nunique() > 1 for r in ranks)
    rho = float(np.corrcoef(*ranks)[0, 1]) if varied else float("nan")
    text = f"rank correlation {rho:.2f}" if varied else "no rank correlation: a constant"
    ax.text(0.0, 1.02, text, transform=ax.transAxes, va="bottom", weight="bold")
    if event is not None:
        for x_end, word, color in ((0.76, "with event", VERMILION), (1.0, "without event", BLUE)):
            bold: dict[str, Any] = {"color": ink(color), "weight": "bold", "ha": "right"}
            ax.text(x_end, 1.02, word, transform=ax.transAxes, va="bottom", **bold)
    ax.set(xlabel=xlabel, ylabel="Predicted log risk (no unit)")
    return finish(fig, source, title, note or f"n = {count(int(both.sum()))}")


@styled
def plot_learning_curve(
    table: pd.DataFrame,
    source: str,
    *,
    xlabel: str = "Training patients (number)",
    ylabel: str = "C-index on held-out patients (0.5 = chance)",
    references: dict[str, float] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw what more training data buys, on a logarithmic axis of patients.

    Parameters
    ----------
    table
        Columns `label`, `n`, `estimate`, and where known `low`, `high`.
    references
        Name to value of levels drawn as dashed lines: an oracle, chance.
    """
    check_columns(table, ["label", "n", "estimate"], "table")
    fig = new_figure(4.8)
    ax = fig.subplots()
    ends: list[EndLabel] = []
    for i, (label, part) in enumerate(table.groupby("label", sort=False)):
        rows = part.sort_values("n")
        x, y = rows["n"].to_numpy(float), rows["estimate"].to_numpy(float)
        color = PALETTE[i % len(PALETTE)]
        if {"low", "high"} <= set(rows.columns):
            ax.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.16, linewidth=0)
        ax.plot(x, y, "o-", color=color, markersize=6)
        ends.append(EndLabel(x[-1], y[-1], str(label), color))
    for name, value in (references or {}).items():
        ax.axhline(value, zorder=1, **DASHED)
        ends.append(EndLabel(float(table["n"].max()), value, name, GREY))
    sizes = sorted(table["n"].unique())
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(sizes, [count(n) for n in sizes])
    ax.minorticks_off()
    finish(fig, source, title, note)
    label_ends(ax, ends)
    return fig
