"""Figures of the translation chapter: how few words make a corpus, and what texts and codes agree on."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    GREY,
    LIGHT,
    PALETTE,
    BookFigure,
    add_title,
    annotate_source,
    as_array,
    count,
    ink,
    new_figure,
    require_columns,
    styled,
)


@styled
def plot_vocabulary(
    counts: Mapping[str, ArrayLike],
    source: str,
    *,
    marks: tuple[int, ...] = (100, 300),
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw what share of all words the k most frequent ones make.

    Parameters
    ----------
    counts
        (n_words,) occurrences of each distinct word, in any order, by language.
    marks
        Values of k at which the share is written.
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
        stated = ", ".join(f"{share[k - 1]:.0f} % by {k}" for k in marks if k <= share.size)
        text = f"{name}: {count(numbers.size)} words" + (f", {stated}" if stated else "")
        ax.text(
            0.98, 0.06 + 0.09 * (len(counts) - 1 - i), text, transform=ax.transAxes, ha="right", fontsize=11,
            color=ink(color),
        )  # fmt: skip
    for k in marks:
        ax.axvline(k, color=LIGHT, linewidth=1, zorder=0)
    ax.set(xscale="log", ylim=(0, 103), xlabel="Most frequent words taken together (number)")
    ax.set_ylabel("Share of all words (%)")
    ax.xaxis.set_major_formatter(lambda value, _: count(value))
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


@styled
def plot_agreement(
    tables: Mapping[str, pd.DataFrame],
    source: str,
    *,
    most: int = 16,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw in what share of the records that have a code the text mentions it, one dot a language.

    Parameters
    ----------
    tables
        By language, from `translation.agreement.scp_agreement`: index code, columns `records` and `recall`.
    most
        Draw the codes that most records have, this many of them.
    """
    if not tables:
        raise InputError("tables is empty: give the agreement of at least one language.")
    for name, table in tables.items():
        require_columns(table, ["records", "recall"], name)
    total = pd.concat([table["records"] for table in tables.values()]).groupby(level=0).sum()
    codes = total.sort_values(ascending=False, kind="stable").index[:most]
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
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig
