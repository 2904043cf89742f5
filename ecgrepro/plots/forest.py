"""What the learned vectors know: retrieval, probes and comparisons, projections."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    DASHED,
    GREY,
    GROUP_COLORS,
    PALETTE,
    BookFigure,
    EndLabel,
    as_array,
    check_columns,
    count,
    finish,
    ink,
    label_ends,
    new_figure,
    spread,
    styled,
)


@styled
def plot_retrieval(
    table: pd.DataFrame, source: str, *, title: str = "", note: str = ""
) -> BookFigure:
    """Draw recall at k against chance, one line a direction.

    Parameters
    ----------
    table
        Of `probing.retrieval_both_ways`: index (direction, k), columns `recall`, `chance`, and `low` and `high` where
        known. Shares between 0 and 1, drawn in percent. Where the galleries differ in size, each direction has its own
        chance, in its colour.
    """
    check_columns(table, ["recall", "chance"], "the table of recall")
    rows = {
        str(name): part.droplevel(0).reset_index().sort_values("k")
        for name, part in table.groupby(level=0, sort=False)
    }
    fig = new_figure(4.6)
    ax = fig.subplots()
    ends: list[EndLabel] = []
    for i, (name, part) in enumerate(rows.items()):
        color = PALETTE[i % len(PALETTE)]
        k, recall = part["k"].to_numpy(float), 100 * part["recall"].to_numpy(float)
        if {"low", "high"} <= set(part.columns):
            low, high = 100 * part["low"], 100 * part["high"]
            ax.fill_between(k, low, high, color=color, alpha=0.18, lw=0)
        ax.plot(k, recall, color=color, marker="o", markersize=5)
        ends.append(EndLabel(k[-1], recall[-1], name, color))
    chances = [(part["k"].tolist(), part["chance"].tolist()) for part in rows.values()]
    shared = all(chance == chances[0] for chance in chances)
    for i, (name, (k, share)) in enumerate(zip(rows, chances, strict=True)):
        color = GREY if shared else PALETTE[i % len(PALETTE)]
        percent = 100 * np.array(share)
        ax.plot(k, percent, color=color, linestyle=(0, (4, 2)), linewidth=1.6)
        ends.append(EndLabel(k[-1], percent[-1], "chance" if shared else f"chance: {name}", color))
        if shared:
            break
    ax.set(
        xscale="log", xlabel="k (number of nearest candidates looked at)", ylabel="Recall at k (%)"
    )
    ks = sorted({k for part in rows.values() for k in part["k"]})
    ax.set_xticks(ks, [count(k) for k in ks])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    finish(fig, source, title, note)
    label_ends(ax, ends)
    return fig


@styled
def plot_forest(
    table: pd.DataFrame,
    source: str,
    *,
    xlabel: str,
    reference: float | None = 0.5,
    reference_label: str = "chance",
    highlight: Sequence[str] = (),
    log: bool = False,
    digits: int = 3,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw estimates with their intervals, one row each, the numbers written beside them.

    Parameters
    ----------
    table
        Columns `label`, `estimate`, `low`, `high`; `n` and `events` are written under the label where
        they exist, and a column `group` puts a heading over the rows of each group. NaN in `low` or
        `high`: no interval is drawn, and none is claimed.
    xlabel
        What the estimate is, with its unit: "C-index (0.5 = chance)", "Hazard ratio (no unit)".
    reference
        Value of no effect, drawn as a dashed line; None for none.
    highlight
        Labels drawn in colour; all of them when empty.
    log
        Logarithmic axis, for ratios.
    """
    check_columns(table, ["label", "estimate", "low", "high"], "table")
    if table.empty:
        raise InputError("table is empty: there is no estimate to draw.")
    fig = new_figure(
        1.25 + 0.5 * len(table) + (0.4 * table["group"].nunique() if "group" in table else 0)
    )
    ax = fig.subplots()
    y, ticks, names, previous = 0.0, [], [], None
    for row in table.to_dict("records"):
        if "group" in row and row["group"] != previous:
            y += 0.25 if previous is not None else 0
            heading: dict[str, Any] = {"weight": "bold", "va": "center", "fontsize": 11.5}
            white = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            offset: dict[str, Any] = {"xytext": (6, 0), "textcoords": "offset points"}
            edge = ax.get_yaxis_transform()
            ax.annotate(str(row["group"]), (0, y), xycoords=edge, bbox=white, **offset, **heading)
            previous = row["group"]
            y += 0.75
        color = BLUE if not highlight or row["label"] in highlight else GREY
        interval = bool(np.isfinite(row["low"]) and np.isfinite(row["high"]))
        if interval:
            ax.plot([row["low"], row["high"]], [y, y], color=color, linewidth=2.4)
        ax.plot(row["estimate"], y, "o", color=color, markersize=8.5, markeredgecolor="white")
        text = f"{row['estimate']:.{digits}f}"
        if interval:
            text += f"  ({row['low']:.{digits}f}–{row['high']:.{digits}f})"
        beside: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center"}
        ax.text(1.02, y, text, fontsize=11, color=ink(color), **beside)
        sizes = [
            f"{word} = {count(row[word])}" if word == "n" else f"{count(row[word])} {word}"
            for word in ("n", "events")
            if word in row and np.isfinite(row[word])
        ]
        names.append(f"{row['label']}\n{', '.join(sizes)}" if sizes else str(row["label"]))
        ticks.append(y)
        y += 1
    if reference is not None:
        ax.axvline(reference, zorder=1, **DASHED)
        above: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "ha": "center"}
        label = f"{reference_label} {reference:g}"
        ax.text(reference, 1.01, label, va="bottom", fontsize=10.5, color=ink(GREY), **above)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_formatter(lambda value, _: "")
    ax.set_yticks(ticks, names)
    ax.set(ylim=(y - 0.4, -0.6), xlabel=xlabel)
    ax.margins(x=0.08)
    ax.grid(axis="y", visible=False)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return finish(fig, source, title, note)


@styled
def plot_projection(
    points: ArrayLike,
    labels: Sequence[str],
    source: str,
    *,
    explained: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Scatter a two-dimensional projection, each class named at its median point.

    Parameters
    ----------
    points
        (N, 2) coordinates, for example principal components. A row with NaN is left out.
    labels
        (N,) class of each point.
    explained
        Share of the variance that each component holds, between 0 and 1.
    """
    xy = as_array(points, 2, "points")
    names = np.asarray(labels, dtype=object)
    if xy.shape[1] != 2 or names.shape != (xy.shape[0],):
        raise InputError(
            f"points are {xy.shape} with {names.size} labels: give (N, 2) and N labels."
        )
    fig = new_figure(6.0)
    ax = fig.subplots()
    classes = sorted(
        set(names), key=lambda c: (list(GROUP_COLORS).index(c) if c in GROUP_COLORS else 99, c)
    )
    shades = {c: GROUP_COLORS.get(c, PALETTE[i % 7]) for i, c in enumerate(classes)}
    size = float(np.clip(9000 / max(len(xy), 1), 7, 40))
    order = np.random.default_rng(0).permutation(len(xy))  # no class always on top of the others
    shade = [shades[c] for c in names[order]]
    x, y = xy[order].T
    ax.scatter(x, y, s=size, c=shade, alpha=0.55, linewidths=0)
    ax.set_aspect("equal", adjustable="datalim")
    shares = (
        [f" ({100 * share:.0f} % of the variance)" for share in explained]
        if explained
        else ["", ""]
    )
    ax.set(xlabel=f"Component 1{shares[0]}, no unit", ylabel=f"Component 2{shares[1]}, no unit")
    finish(fig, source, title, note or f"n = {count(len(xy))}")
    fig.draw_without_rendering()
    centers = {
        c: np.nanmedian(xy[names == c], axis=0)
        for c in classes
        if np.isfinite(xy[names == c]).any()
    }
    pixels = {c: ax.transData.transform(center) for c, center in centers.items()}
    line = 1.6 * 14 * fig.dpi / 72
    heights = spread([pixels[c][1] for c in pixels], [line] * len(pixels))
    for (c, pixel), y in zip(pixels.items(), heights, strict=True):
        name = f"{c} ({count(int((names == c).sum()))})"
        place = tuple(ax.transData.inverted().transform((pixel[0], y)))
        halo = [withStroke(linewidth=3.5, foreground="white")]
        middle: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 13}
        color = ink(shades[c])
        ax.annotate(name, place, weight="bold", color=color, path_effects=halo, **middle)
    return fig
