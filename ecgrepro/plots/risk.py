"""The risk score: who has it, how it follows the true hazard, what more patients or a threshold buy."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    GREY,
    PALETTE,
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


@styled
def plot_risk_histogram(
    risk: ArrayLike,
    event: ArrayLike,
    source: str,
    *,
    xlabel: str = "Risk score (SD, standardised per fold)",
    bins: int = 28,
    suppress_below: int = 0,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the distribution of the risk with and without a later event, each adding up to 100 %.

    Scores of several folds must be standardised per fold before (log risk is known only up to a constant
    for each model): pooled raw scores show two humps that are an artefact.

    Parameters
    ----------
    risk, event
        (N,) score, and 1 with an event, 0 without.
    suppress_below
        Bars of fewer people than this are left out (restricted cohorts).
    """
    score, events = as_array(risk, 1, "risk"), as_array(event, 1, "event")
    if score.shape != events.shape:
        raise InputError(
            f"risk has {score.size} rows and event {events.size}: give one of each a patient."
        )
    kept = np.isfinite(score)
    fig = new_figure(4.6)
    ax = fig.subplots()
    edges = (
        np.histogram_bin_edges(score[kept], bins) if kept.any() else np.linspace(-1, 1, bins + 1)
    )
    hidden = 0
    for i, (code, color, word) in enumerate(
        ((0, BLUE, "without an event"), (1, VERMILION, "with an event"))
    ):
        part = score[kept & (events == code)]
        heights = np.histogram(part, edges)[0]
        small = (heights > 0) & (heights < suppress_below)
        hidden += int(small.sum())
        share = 100 * np.where(small, 0, heights) / max(part.size, 1)
        ax.stairs(share, edges, fill=True, color=color, alpha=0.22)
        ax.stairs(share, edges, color=color, linewidth=2)
        middle = f"{count(part.size)} {word}"
        if part.size:
            middle += f"\nmedian {np.median(part):.2f}".replace("-", "\u2212")
            ax.axvline(float(np.median(part)), color=color, linestyle=(0, (4, 2)), linewidth=1.5)
        side = (0.015, "left") if code == 0 else (0.985, "right")
        ax.text(
            side[0],
            0.97,
            middle,
            transform=ax.transAxes,
            ha=side[1],
            va="top",
            color=ink(color),
            weight="bold",
            zorder=4 + i,
        )
    low, high = ax.get_ylim()
    ax.set(ylim=(low, high * 1.22), xlabel=xlabel, ylabel="Share of the group (%)")
    add_title(fig, title)
    rule = f"{hidden} bars of fewer than {suppress_below} left out" if hidden else ""
    annotate_source(
        fig, source, "; ".join(part for part in (note, "dashed: medians", rule) if part)
    )
    return fig


@styled
def plot_risk_scatter(
    truth: ArrayLike,
    risk: ArrayLike,
    source: str,
    *,
    event: ArrayLike | None = None,
    xlabel: str = "True log hazard (no unit)",
    ylabel: str = "Predicted log risk (no unit)",
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
            style: dict[str, Any] = {
                "color": ink(color),
                "weight": "bold",
                "ha": "right",
                "va": "bottom",
            }
            ax.text(x_end, 1.02, word, transform=ax.transAxes, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    add_title(fig, title)
    annotate_source(fig, source, note or f"n = {count(int(both.sum()))}")
    return fig


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
    require_columns(table, ["label", "n", "estimate"], "table")
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
        ax.axhline(value, color=GREY, linestyle=(0, (4, 2)), linewidth=1.4, zorder=1)
        ends.append(EndLabel(float(table["n"].max()), value, name, GREY))
    sizes = sorted(table["n"].unique())
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.set_xticks(sizes, [count(n) for n in sizes])
    ax.minorticks_off()
    add_title(fig, title)
    annotate_source(fig, source, note)
    label_ends(ax, ends)
    return fig
