"""How good predicted risks are: calibration, accuracy over time, net benefit of acting on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    GREY,
    PALETTE,
    BookFigure,
    EndLabel,
    add_title,
    annotate_source,
    ink,
    label_ends,
    new_figure,
    require_columns,
    styled,
)
from ecgrepro.plots.survival import days_in


def _check_tables(tables: Mapping[str, pd.DataFrame], columns: list[str]) -> None:
    if not tables:
        raise InputError(f"tables is empty: give at least one table with {', '.join(columns)}.")
    for name, table in tables.items():
        require_columns(table, columns, f"the table of {name}")


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
    ax.plot([0, top], [0, top], color=GREY, linestyle=(0, (4, 2)), linewidth=1.4, zorder=1)
    place: dict[str, Any] = {"ha": "right", "va": "bottom", "rotation": 45}
    ax.text(0.97 * top, 0.94 * top, "perfect", color=GREY, fontsize=11, **place)
    ax.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    ax.set(xlabel=f"Predicted risk by {horizon} (%)", ylabel=f"Observed risk by {horizon} (%)")
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


@styled
def plot_over_time(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    column: str = "auc",
    ylabel: str = "AUC(t) (0.5 = chance)",
    unit: str = "years",
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
    scale = days_in(unit)
    fig = new_figure(4.6)
    ax = fig.subplots()
    ends: list[EndLabel] = []
    for i, (name, table) in enumerate(tables.items()):
        rows = table.sort_values("time")
        x, y = rows["time"].to_numpy(float) / scale, rows[column].to_numpy(float)
        color = PALETTE[i % len(PALETTE)]
        if {"low", "high"} <= set(rows.columns):
            ax.fill_between(x, rows["low"], rows["high"], color=color, alpha=0.16, linewidth=0)
        ax.plot(x, y, color=color, marker="o", markersize=4)
        ends.append(EndLabel(x[-1], y[-1], name, color))
    if reference is not None:
        ax.axhline(reference[0], color=GREY, linestyle=(0, (4, 2)), linewidth=1.4, zorder=1)
        ends.append(EndLabel(0.0, reference[0], reference[1], GREY))
    ax.set(xlabel=f"Horizon after the ECG ({unit})", ylabel=ylabel)
    ax.margins(x=0.03, y=0.08)
    add_title(fig, title)
    annotate_source(fig, source, note)
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
    best = float(
        np.nanmax([np.nanmax(t[["model", "all"]].to_numpy(float)) for t in tables.values()])
    )
    best = max(best, 1e-3)
    ax.plot(x, y, color=GREY, linestyle=(0, (1, 1.2)))
    visible = np.flatnonzero(
        y > 0.02 * best
    )  # the line soon leaves the axis: name it where it crosses 0
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
            ends.append(
                EndLabel(
                    x[known[-1]], float(np.clip(y[known[-1]], -0.15 * best, best)), name, color
                )
            )
    ax.axhline(0, color=GREY, linewidth=1.4, linestyle=(0, (4, 2)))
    ends.append(EndLabel(float(x[-1]), 0.0, "treat nobody", GREY))
    ax.set_ylim(-0.15 * best, 1.1 * best)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    ax.set(xlabel=f"Risk by {horizon} from which one acts (%)", ylabel="Net benefit (per patient)")
    add_title(fig, title)
    annotate_source(fig, source, note)
    label_ends(ax, ends)
    return fig
