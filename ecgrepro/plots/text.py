"""Statements as vectors: how alike they are, how they are weighted, how often texts repeat."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    GREY,
    GROUP_COLORS,
    LIGHT,
    PALETTE,
    SEQUENTIAL,
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

MARKS = (100, 300)
"""Numbers of most frequent words at which `plot_vocabulary` writes their share."""

MOST = 16
"""Codes that `plot_agreement` draws, those with most records."""


@styled
def plot_similarity(
    matrix: ArrayLike,
    source: str,
    *,
    groups: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    label: str = "Cosine similarity (no unit)",
    limits: tuple[float, float] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw a square similarity matrix as a heat map, its rows gathered by group.

    Used for statements by superclass and for records by class. Up to 12 rows, the numbers are written too.

    Parameters
    ----------
    matrix
        (N, N) similarities. Rows and columns are put in the same order.
    groups
        (N,) group of each row. Rows are sorted by it and the groups are marked along the axes.
    names
        (N,) name of each row, written when there are at most 30.
    limits
        Colour limits. By default the range of all entries, without the diagonal where that is 1
        throughout.
    """
    square = as_array(matrix, 2, "matrix")
    n = square.shape[0]
    if square.shape[1] != n or any(s is not None and len(s) != n for s in (groups, names)):
        raise InputError(
            f"matrix is {square.shape}: it must be square, with one group and name a row."
        )
    known = list(GROUP_COLORS)
    order = np.arange(n)
    if groups is not None:
        rank = {g: known.index(g) if g in known else len(known) for g in set(groups)}
        order = np.array(sorted(range(n), key=lambda i: (rank[groups[i]], groups[i])), dtype=int)
    square = square[np.ix_(order, order)]
    trivial = np.eye(n, dtype=bool) & np.allclose(np.diag(square), 1)
    off = square[~trivial & np.isfinite(square)]
    low, high = limits or ((float(off.min()), float(off.max())) if off.size else (0.0, 1.0))
    extend = "both" if limits else "max" if trivial.any() else "neither"
    fig = new_figure(6.6)
    ax = fig.subplots()
    image = ax.imshow(square, cmap=SEQUENTIAL, vmin=low, vmax=high, interpolation="nearest")
    bar = fig.colorbar(image, ax=ax, shrink=0.75, extend=extend, aspect=28)
    bar.set_label(label)
    bar.outline.set_visible(False)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    if names is not None and n <= 30:
        ordered = [names[int(i)] for i in order]
        ax.set_xticks(range(n), ordered, rotation=0 if n <= 8 else 90, fontsize=10)
        ax.set_yticks(range(n), ordered, fontsize=10)
    if n <= 12:
        for i, j in np.ndindex(n, n):
            light = square[i, j] > low + 0.55 * (high - low)
            number = f"{square[i, j]:.2f}".replace("-", "\u2212").replace("nan", "none")
            ax.text(j, i, number, ha="center", va="center", color="white" if light else BLACK)
    if groups is not None:
        ordered = [groups[int(i)] for i in order]
        _mark_groups(ax, ordered, outside=names is not None and n <= 30)
    return finish(fig, source, title, note)


def _mark_groups(ax: Axes, groups: Sequence[str], outside: bool) -> None:
    """Write each group's name beside its rows and draw thin lines between the groups."""
    n = len(groups)
    starts = [i for i in range(n) if i == 0 or groups[i] != groups[i - 1]]
    for i, (start, end) in enumerate(zip(starts, [*starts[1:], n], strict=True)):
        if start:
            ax.axhline(start - 0.5, color="white", linewidth=1.6)
            ax.axvline(start - 0.5, color="white", linewidth=1.6)
        color = ink(GROUP_COLORS.get(groups[start], PALETTE[i % len(PALETTE)]))
        middle = (start + end - 1) / 2
        style: dict[str, Any] = {"color": color, "weight": "bold", "fontsize": 11}
        style |= {"annotation_clip": False, "textcoords": "offset points"}
        narrow = (end - start) / n < 0.09
        turned: dict[str, Any] = {"ha": "left", "rotation": 45} if narrow else {"ha": "center"}
        place = (middle, -0.5)
        ax.annotate(groups[start], place, xytext=(0, 5), va="bottom", **turned, **style)
        if not outside:
            place = (-0.5, middle)
            ax.annotate(groups[start], place, xytext=(-5, 0), ha="right", va="center", **style)


@styled
def plot_weights(
    table: pd.DataFrame, source: str, *, title: str = "", note: str = ""
) -> BookFigure:
    """Show how one record's statements are weighted under one or several policies.

    Parameters
    ----------
    table
        Columns `statement` and `confidence` (%), then one column of weights a policy, which sum to 1.
    """
    check_columns(table, ["statement", "confidence"], "table")
    policies = [c for c in table.columns if c not in ("statement", "confidence")]
    if not policies:
        raise InputError(
            "table has no column of weights: add one a policy, for example keep and drop."
        )
    n = len(table)
    fig = new_figure(1.5 + n * (0.55 + 0.3 * len(policies)))
    ax = fig.subplots()
    height = 0.62 / len(policies)
    colors = (BLUE, VERMILION, *PALETTE[2:])
    for i, row in enumerate(table.to_dict("records")):
        confidence = row["confidence"]
        stated = "confidence 0 (not known)" if confidence == 0 else f"confidence {confidence:g} %"
        ax.text(0, i - 0.36, f"{row['statement']} – {stated}", va="bottom", fontsize=11)
        for j, policy in enumerate(policies):
            y = i - 0.34 + (j + 0.5) * height
            weight = float(row[policy])
            ax.barh(y, weight, height=height * 0.88, color=colors[j % len(colors)])
            words = f"{weight:.2f}" if weight else "0: the statement is lost"
            offset: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points"}
            ax.annotate(words, (weight, y), va="center", fontsize=10.5, **offset)
    ax.set(xlim=(0, 1.12), ylim=(n - 0.55, -0.75), yticks=[])
    ax.set_xticks(np.linspace(0, 1, 6))
    ax.set_xlabel("Weight in the text vector (share, sums to 1)")
    ax.spines["left"].set_visible(False)
    handles = [Patch(color=colors[j % len(colors)]) for j in range(len(policies))]
    fig.legend(
        handles, [f"confidence 0: {p}" for p in policies], loc="outside upper right", ncols=3
    )
    return finish(fig, source, title, note)


@styled
def plot_text_ranks(
    counts: dict[str, ArrayLike] | ArrayLike, source: str, *, title: str = "", note: str = ""
) -> BookFigure:
    """Draw how often identical texts occur: share of records against the rank of the text.

    Parameters
    ----------
    counts
        (n_texts,) records a distinct text, in any order; or several such arrays by name.
    """
    curves = counts if isinstance(counts, dict) else {"": counts}
    fig = new_figure(4.6)
    ax = fig.subplots()
    for i, (name, values) in enumerate(curves.items()):
        numbers = np.sort(as_array(values, 1, name or "counts"))[::-1]
        numbers = numbers[numbers > 0]
        if not numbers.size:
            raise InputError(
                f"counts {name!r} hold no text: give the number of records of each text."
            )
        share = 100 * numbers / numbers.sum()
        effective = 1 / float(np.sum((share / 100) ** 2))
        color = PALETTE[i % len(PALETTE)]
        ax.plot(np.arange(1, share.size + 1), share, color=color, marker="o", markersize=3.5)
        ax.plot([1], [share[0]], "o", color=color, markersize=9)
        lead_in = f"{name}: " if name else ""
        words = (
            f"{lead_in}most frequent text {share[0]:.1f} % of records\n"
            f"{count(share.size)} distinct texts, effective number {effective:.1f}"
        )
        corner: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "top"}
        ax.text(0.98, 0.97 - 0.19 * i, words, fontsize=11, color=ink(color), **corner)
    ax.set(xscale="log", yscale="log", xlabel="Rank of the text (1 = most frequent)")
    ax.set_ylabel("Share of records (%)")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(lambda value, _: count(value))
    ax.spines["left"].set_color(GREY)
    return finish(fig, source, title, note)


@styled
def plot_vocabulary(
    counts: Mapping[str, ArrayLike],
    source: str,
    *,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw what share of all words the k most frequent ones make.

    Parameters
    ----------
    counts
        (n_words,) occurrences of each distinct word, in any order, by language.
    """
    if not counts:
        raise InputError(
            "counts is empty: give the occurrences of each word of at least one language."
        )
    fig = new_figure(4.4)
    ax = fig.subplots()
    for i, (name, values) in enumerate(counts.items()):
        numbers = np.sort(as_array(values, 1, name))[::-1]
        if not numbers.size or numbers.sum() <= 0:
            raise InputError(f"counts {name!r} hold no word: give the occurrences of each word.")
        share = 100 * np.cumsum(numbers) / numbers.sum()
        color = PALETTE[i % len(PALETTE)]
        ax.plot(np.arange(1, share.size + 1), share, color=color, linewidth=2)
        stated = ", ".join(f"{share[k - 1]:.0f} % by {k}" for k in MARKS if k <= share.size)
        text = f"{name}: {count(numbers.size)} words" + (f", {stated}" if stated else "")
        place: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "fontsize": 11}
        ax.text(0.98, 0.06 + 0.09 * (len(counts) - 1 - i), text, color=ink(color), **place)
    for k in MARKS:
        ax.axvline(k, color=LIGHT, linewidth=1, zorder=0)
    ax.set(xscale="log", ylim=(0, 103), xlabel="Most frequent words taken together (number)")
    ax.set_ylabel("Share of all words (%)")
    ax.xaxis.set_major_formatter(lambda value, _: count(value))
    return finish(fig, source, title, note)


@styled
def plot_agreement(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw in what share of the records that have a code the text mentions it, one dot a language.

    Parameters
    ----------
    tables
        By language, from `translation.agreement.scp_agreement`: index code, columns `records` and `recall`.
    """
    if not tables:
        raise InputError("tables is empty: give the agreement of at least one language.")
    for name, table in tables.items():
        check_columns(table, ["records", "recall"], name)
    total = pd.concat([table["records"] for table in tables.values()]).groupby(level=0).sum()
    codes = total.sort_values(ascending=False, kind="stable").index[:MOST]
    fig = new_figure(1.3 + 0.3 * len(codes))
    ax = fig.subplots()
    for i, (name, table) in enumerate(tables.items()):
        present = [(y, code) for y, code in enumerate(codes) if code in table.index]
        recall = [100 * float(table.loc[code, "recall"]) for _, code in present]
        color = PALETTE[i % len(PALETTE)]
        ax.plot(
            recall, [y for y, _ in present], "os^D"[i % 4], color=color, markersize=8, label=name
        )
    ax.set_yticks(
        range(len(codes)), [f"{code} ({count(total[code])})" for code in codes], fontsize=10.5
    )
    ax.set(xlim=(-3, 103), ylim=(len(codes) - 0.4, -0.6))
    ax.set_xlabel("Records with the code whose text mentions it (%)")
    ax.tick_params(axis="y", colors=ink(GREY))
    ax.legend(loc="lower left", title="language of the report")
    return finish(fig, source, title, note)
