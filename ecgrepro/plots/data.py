"""What a release holds: people, statements, confidence, and how many of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    GREY,
    GROUP_COLORS,
    ORANGE,
    PALETTE,
    VERMILION,
    BookFigure,
    as_array,
    check_columns,
    count,
    finish,
    ink,
    new_figure,
    styled,
)

YEARS = 5.0  # in one bar of an age pyramid
PER_GROUP = 6
"""Codes of a group that `plot_code_frequency` draws, the most frequent ones."""


@styled
def plot_age_sex(
    age: ArrayLike,
    sex: ArrayLike,
    source: str,
    *,
    unit: str = "patients",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the age pyramid: men to the left, women to the right.

    Parameters
    ----------
    age
        (N,) years; NaN (over 89 or unknown) is left out and counted under the figure.
    sex
        (N,) 0 male, 1 female; anything else is left out and counted.
    unit
        What a row is: "patients" or "records".
    """
    years, sexes = as_array(age, 1, "age"), as_array(sex, 1, "sex")
    if years.shape != sexes.shape:
        raise InputError(f"age has {years.size} rows and sex {sexes.size}: give one of each a row.")
    known = np.isfinite(years) & np.isin(sexes, (0, 1))
    top = max(float(years[known].max()), YEARS) if known.any() else 100.0
    edges = np.arange(0, top + 2 * YEARS, YEARS)
    fig = new_figure(4.6)
    ax = fig.subplots()
    limit = 1.0
    for code, sign, color, word in ((0, -1, BLUE, "men"), (1, 1, ORANGE, "women")):
        chosen = years[known & (sexes == code)]
        heights, _ = np.histogram(chosen, edges)
        limit = max(limit, float(heights.max(initial=0)))
        ax.barh(edges[:-1], sign * heights, height=YEARS * 0.9, align="edge", color=color)
        middle = f", median {np.median(chosen):.0f} years" if chosen.size else ""
        words = f"{count(chosen.size)} {word}{middle}"
        side: dict[str, Any] = {"ha": "right" if sign < 0 else "left", "va": "bottom"}
        bold: dict[str, Any] = {"color": ink(color), "weight": "bold", **side}
        ax.text(0.5 + 0.02 * sign, 1.02, words, transform=ax.transAxes, **bold)
    ax.axvline(0, color="white", linewidth=1.5)
    ax.set(xlim=(-1.08 * limit, 1.08 * limit), ylabel="Age (years)", xlabel=f"Number of {unit}")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, symmetric=True))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(abs(value))))
    ax.grid(axis="y", visible=False)
    left_out = int((~known).sum())
    missing = f"{count(left_out)} without a known age or sex left out" if left_out else ""
    return finish(fig, source, title, note, missing)


@styled
def plot_code_frequency(
    table: pd.DataFrame, source: str, *, title: str = "", note: str = ""
) -> BookFigure:
    """Draw how many records carry each SCP code, by group, and how often its confidence is 0.

    Parameters
    ----------
    table
        Columns `code`, `group` (a superclass, "form" or "rhythm"), `records` (number of records with
        the code) and `zero` (those of them in which its confidence is 0, "not known").
    """
    check_columns(table, ["code", "group", "records", "zero"], "table")
    order = [g for g in GROUP_COLORS if (table["group"] == g).any()]
    order += sorted(set(table["group"]) - set(order))
    parts = [
        table[table["group"] == group].sort_values("records", ascending=False).head(PER_GROUP)
        for group in order
    ]
    shown = pd.concat(parts) if parts else table
    fig = new_figure(1.4 + 0.27 * len(shown) + 0.16 * len(order))
    ax = fig.subplots()
    y, ticks, names = 0.0, [], []
    for i, (group, part) in enumerate(zip(order, parts, strict=True)):
        color = GROUP_COLORS.get(group, PALETTE[i % len(PALETTE)])
        start = y
        for row in part.itertuples():
            ax.barh(y, row.records - row.zero, color=color, height=0.78)
            hatched: dict[str, Any] = {"alpha": 0.32, "hatch": "////", "edgecolor": "white"}
            stated = row.records - row.zero
            ax.barh(y, row.zero, left=stated, color=color, height=0.78, linewidth=0, **hatched)
            share = 100 * row.zero / row.records if row.records else 0.0
            extra = f"  ({share:.0f} % at 0)" if row.zero else ""
            offset: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points"}
            words = f"{count(row.records)}{extra}"
            ax.annotate(words, (row.records, y), va="center", fontsize=10, **offset)
            ticks.append(y)
            names.append(row.code)
            y += 1
        beside: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right"}
        beside |= {"va": "center", "weight": "bold", "fontsize": 13, "color": ink(color)}
        ax.text(0.995, (start + y - 1) / 2, group, **beside)
        y += 0.6
    ax.set_yticks(ticks, names, fontsize=10.5)
    ax.set(ylim=(y - 0.8, -0.8), xlabel="Number of records")
    ax.margins(x=0.32)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.grid(axis="y", visible=False)
    handles = [
        Patch(facecolor=GREY),
        Patch(facecolor=GREY, alpha=0.32, hatch="////", edgecolor="white"),
    ]
    fig.legend(handles, ["confidence stated", "confidence 0"], loc="outside upper right", ncols=2)
    hidden = len(table) - len(shown)
    rest = f"{hidden} rarer codes not drawn" if hidden else ""
    return finish(fig, source, title, note, rest)


@styled
def plot_bland_altman(
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
    rule = "differences beyond the panel lie on its edge"
    return finish(fig, source, title, note, rule)


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
    rule = "dashed: thresholds; the outermost 0.2 % at each side lie in the end bars"
    return finish(fig, source, title, note, rule)
