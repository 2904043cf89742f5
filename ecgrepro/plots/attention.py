"""Attention maps in absolute weights: nothing is stretched to look more certain than it is."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    DIVERGING,
    GREY,
    LEADS,
    SEQUENTIAL,
    VERMILION,
    BookFigure,
    add_title,
    annotate_source,
    as_array,
    ink,
    new_figure,
    styled,
)


@styled
def plot_lead_attention(
    maps: Mapping[str, ArrayLike],
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    difference: bool = False,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw cross-lead attention maps with shared colour limits and uniform attention marked.

    The study's panels have a colour scale each, so its groups cannot be compared; here they can.

    Parameters
    ----------
    maps
        Panel title (state the number of subjects in it) to (12, 12) weights. Rows are the asking lead,
        columns the lead attended to; a row sums to 1, so uniform attention is 1/12 = 0.083.
    difference
        The maps are differences between groups: a two-sided scale around 0, no uniform reference.
    """
    if not maps:
        raise InputError("maps is empty: give at least one named (12, 12) map.")
    arrays = {name: as_array(values, 2, name) for name, values in maps.items()}
    n = len(leads)
    for name, array in arrays.items():
        if array.shape != (n, n):
            raise InputError(
                f"the map {name!r} is {array.shape}: {(n, n)} is needed, one row a lead."
            )
    columns = min(2, len(arrays))
    rows = -(-len(arrays) // columns)
    fig = new_figure(1.0 + (5.6 if columns == 1 else 3.75) * rows)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    stacked = np.stack(list(arrays.values()))
    top = float(np.nanmax(np.abs(stacked), initial=0)) or 1.0
    norm = Normalize(-top, top) if difference else Normalize(0, max(top, 1 / n))
    for i, (ax, (name, array)) in enumerate(zip(axes, arrays.items(), strict=False)):
        ax.imshow(array, cmap=DIVERGING if difference else SEQUENTIAL, norm=norm)
        ax.set_xticks(range(n), leads, rotation=90, fontsize=10)
        ax.set_yticks(range(n), leads, fontsize=10)
        ax.set_title(name, fontsize=12)
        ax.set_xlabel("lead attended to")
        if i % columns == 0:
            ax.set_ylabel("asking lead")
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    for ax in axes[len(arrays) :]:
        ax.set_visible(False)
    mappable = ScalarMappable(norm, DIVERGING if difference else SEQUENTIAL)
    bar = fig.colorbar(
        mappable, ax=list(axes), location="bottom", aspect=40, fraction=0.04, pad=0.02
    )
    bar.outline.set_visible(False)
    if difference:
        bar.set_label("Difference of attention weights (share)")
    else:
        bar.set_label(f"Attention weight (share of a row); dashed: uniform, 1/{n} = {1 / n:.3f}")
        bar.ax.axvline(1 / n, color=VERMILION, linewidth=2, linestyle=(0, (2, 1)))
    add_title(fig, title)
    annotate_source(fig, source, note)
    fig.draw_without_rendering()  # square panels and a colour bar settle only in the second layout
    return fig


@styled
def plot_temporal_attention(
    ecg: ArrayLike,
    weights: ArrayLike,
    windows_ms: ArrayLike,
    rate: float,
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    show: Sequence[str] = ("II", "V2", "V5"),
    receptive_field: float | None = None,
    unit: str = "mV",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw temporal attention as the token windows it is made of, under the ECG, in absolute weights.

    A token stands for a window of time, not for a sample, and it has seen far more than its window: the
    receptive field is drawn as a bar. The uniform weight 1/T' is a line in every panel, and all panels
    share one axis, so that a flat map looks flat.

    Parameters
    ----------
    ecg
        (12, samples) in `unit`, without padding.
    weights
        (12, T') weight that each token receives (the map's mean over queries); a row sums to 1.
    windows_ms
        (T', 2) begin and end of each token's window in milliseconds of `ecg`; parts
        outside it are cut.
    show
        Leads to draw, one panel each.
    receptive_field
        Seconds of signal that one token depends on.
    """
    signal, share = as_array(ecg, 2, "ecg"), as_array(weights, 2, "weights")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    if share.shape != (len(leads), len(spans)) or signal.shape[0] != len(leads):
        raise InputError(
            f"ecg {signal.shape}, weights {share.shape} and windows {spans.shape} do not fit "
            f"{len(leads)} leads."
        )
    uniform = 1 / len(spans)
    rows = [list(leads).index(name) for name in show]
    duration = signal.shape[1] / rate
    top = 1.08 * max(float(np.nanmax(share[rows])), 1.5 * uniform)
    fig = new_figure(0.9 + 2.2 * len(rows))
    axes = fig.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    times = np.arange(signal.shape[1]) / rate
    for ax, row in zip(axes, rows, strict=True):
        ax.bar(
            spans[:, 0],
            share[row],
            width=np.diff(spans, axis=1)[:, 0],
            align="edge",
            color=BLUE,
            alpha=0.35,
            edgecolor="white",
            linewidth=1,
        )
        ax.axhline(uniform, color=VERMILION, linestyle=(0, (3, 1.5)), linewidth=1.5)
        ax.set(ylim=(0, top), xlim=(0, duration))
        ax.set_ylabel("Attention\n(share)", color=ink(BLUE))
        ax.set_title(f"Lead {leads[row]}", fontsize=12)
        ax.grid(visible=False)
        trace = ax.twinx()
        trace.plot(times, signal[row], color=BLACK, linewidth=1.4)
        trace.set_ylabel(f"ECG ({unit})")
        trace.grid(visible=False)
        trace.spines["right"].set_visible(True)
        trace.margins(y=0.12)
    axes[0].annotate(
        f"uniform 1/{len(spans)} = {uniform:.3f}",
        (0.995, 1.03),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        color=ink(VERMILION),
        fontsize=11,
    )
    axes[-1].set_xlabel("Time (s)")
    if receptive_field is not None:
        width = min(receptive_field, duration)
        bar = Rectangle((0, 0.955 * top), width, 0.045 * top, color=GREY, alpha=0.85, linewidth=0)
        axes[-1].add_patch(bar)
        axes[-1].annotate(
            f"grey bar: one token sees {receptive_field:.2g} s",
            (0.995, 1.03),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            color=GREY,
            fontsize=11,
        )
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig
