"""What happened during training: losses and monitors by epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLUE,
    DASHED,
    GREY,
    PALETTE,
    VERMILION,
    BookFigure,
    EndLabel,
    check_columns,
    finish,
    ink,
    label_ends,
    new_figure,
    styled,
)

_LINES: dict[bool, dict[str, Any]] = {
    True: {"linestyle": (0, (3, 1.6)), "linewidth": 1.5},  # training
    False: {"linestyle": "-", "linewidth": 2.2},  # validation
}


@styled
def plot_history(
    history: pd.DataFrame | Mapping[str, pd.DataFrame],
    columns: Sequence[str] | Mapping[str, str],
    source: str,
    *,
    best_epoch: int | Mapping[str, int] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw losses by epoch, one panel each, training dashed and validation solid.

    Parameters
    ----------
    history
        One row an epoch, the epoch as index or column `epoch`; or several runs by name, drawn over each other.
    columns
        Losses to draw ("total", "align", ...), or a mapping from them to what the axis should say. In the table a loss
        is called `train_total` and `validation_total`; either may be missing.
    best_epoch
        Epoch of the kept checkpoint (by run, if there are several), marked with a dot.
    """
    runs = {"": history} if isinstance(history, pd.DataFrame) else dict(history)
    names = dict(columns) if isinstance(columns, Mapping) else {c: c for c in columns}
    best = best_epoch if isinstance(best_epoch, Mapping) else dict.fromkeys(runs, best_epoch)
    if not runs or not names:
        raise InputError("there is nothing to draw: give at least one run and one column.")
    fig = new_figure(1.1 + 2.15 * len(names))
    axes = fig.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    labels: list[list[EndLabel]] = []
    for ax, (column, label) in zip(axes, names.items(), strict=True):
        ends: list[EndLabel] = []
        found = False
        for i, (run, table) in enumerate(runs.items()):
            epochs = _epochs(table, run)
            for split, prefix in (("training", "train_"), ("validation", "validation_")):
                if prefix + column not in table:
                    continue
                found = True
                values = table[prefix + column].to_numpy(float)
                dashed = split == "training"
                own = BLUE if dashed else VERMILION
                color = own if len(runs) == 1 else PALETTE[i % 7]
                marker = "o" if epochs.size == 1 else None
                ax.plot(epochs, values, color=color, marker=marker, **_LINES[dashed])
                if len(runs) == 1:
                    ends.append(_end(epochs, values, split, color))
                elif not dashed or f"validation_{column}" not in table:
                    ends.append(_end(epochs, values, run, color))
                chosen = best.get(run)
                if chosen is not None and not dashed and (epochs == chosen).any():
                    value = float(values[epochs == chosen][0])
                    ax.plot(chosen, value, "o", color=color, markersize=8, markeredgecolor="white")
        if not found:
            raise InputError(
                f"history has no column train_{column} or validation_{column}: check the names."
            )
        ax.set_ylabel(label)
        _epoch_axis(ax, runs)
        labels.append(ends)
    axes[-1].set_xlabel("Epoch (number)")
    fig.align_ylabels(axes)
    if len(runs) > 1:
        handles = [Line2D([], [], color=GREY, **_LINES[dashed]) for dashed in (True, False)]
        fig.legend(handles, ["training", "validation"], loc="outside upper right", ncols=2)
    marked = "dot: kept checkpoint" if any(v is not None for v in best.values()) else ""
    finish(fig, source, title, note, marked)
    for ax, ends in zip(axes, labels, strict=True):
        label_ends(ax, ends)
    return fig


def _epochs(table: pd.DataFrame, run: str) -> NDArray[np.float64]:
    if table.index.name == "epoch":
        return table.index.to_numpy(float)
    check_columns(table, ["epoch"], f"history {run}".strip())
    return table["epoch"].to_numpy(float)


def _end(
    epochs: NDArray[np.float64], values: NDArray[np.float64], text: str, color: str
) -> EndLabel:
    """Label the last finite value: a run that broke off keeps its name."""
    known = np.flatnonzero(np.isfinite(values))
    last = int(known[-1]) if known.size else -1
    return EndLabel(float(epochs[last]), float(values[last]), text, color)


def _epoch_axis(ax: Axes, runs: Mapping[str, pd.DataFrame]) -> None:
    epochs = np.concatenate([_epochs(table, run) for run, table in runs.items()])
    low, high = (float(epochs.min()), float(epochs.max())) if epochs.size else (0.0, 1.0)
    ax.set_xlim(low - 0.02 * (high - low or 1), high + 0.02 * (high - low or 1))
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))


@styled
def plot_monitors(
    history: pd.DataFrame | Mapping[str, pd.DataFrame],
    columns: Mapping[str, str],
    source: str,
    *,
    references: Mapping[str, tuple[float, str]] | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw monitors against collapse by epoch, each with the value that would be bad news.

    Parameters
    ----------
    history
        One row an epoch, the epoch as index or column `epoch`; or several runs by name.
    columns
        Column to axis label, for example {"effective_rank": "Effective rank (dimensions)"}.
    references
        Column to (value, what it means), drawn as a dashed line: (1.0, "collapsed").
    """
    runs = {"": history} if isinstance(history, pd.DataFrame) else dict(history)
    if not runs or not columns:
        raise InputError("there is nothing to draw: give at least one run and one column.")
    fig = new_figure(0.9 + 2.05 * len(columns))
    axes = fig.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    labels: list[list[EndLabel]] = []
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        ends: list[EndLabel] = []
        for i, (run, table) in enumerate(runs.items()):
            check_columns(table, [column], f"history {run}".strip())
            epochs, values = _epochs(table, run), table[column].to_numpy(float)
            color = PALETTE[i % len(PALETTE)]
            ax.plot(epochs, values, color=color, marker="o" if epochs.size == 1 else None)
            if run and epochs.size:
                ends.append(_end(epochs, values, run, color))
        ax.set_ylabel(label)
        ax.margins(y=0.12)
        _epoch_axis(ax, runs)
        if references and column in references:
            value, text = references[column]
            ax.axhline(value, **DASHED)
            low, high = ax.get_ylim()
            above = value < (low + high) / 2
            offset: dict[str, Any] = {"xytext": (0, 3 if above else -3), "ha": "right"}
            offset |= {"textcoords": "offset points", "va": "bottom" if above else "top"}
            halo = [withStroke(linewidth=3, foreground="white")]
            look: dict[str, Any] = {"fontsize": 10.5, "color": ink(GREY), "path_effects": halo}
            ax.annotate(text, (0.99, value), xycoords=ax.get_yaxis_transform(), **offset, **look)
        labels.append(ends)
    axes[-1].set_xlabel("Epoch (number)")
    fig.align_ylabels(axes)
    finish(fig, source, title, note)
    for ax, ends in zip(axes, labels, strict=True):
        label_ends(ax, ends)
    return fig
