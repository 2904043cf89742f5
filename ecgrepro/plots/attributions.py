"""Attribution: what hiding a lead or a window does to the risk, on one scale for all leads."""

from collections.abc import Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import ArrayLike

from ecgrepro.errors import InputError
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    DIVERGING,
    GREY,
    LEADS,
    VERMILION,
    BookFigure,
    add_title,
    annotate_source,
    as_array,
    new_figure,
    styled,
)


@styled
def plot_lead_bars(
    values: ArrayLike,
    source: str,
    *,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    leads: Sequence[str] = LEADS,
    xlabel: str = "Contribution to the log risk (log hazard ratio; right: raises it)",
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw one number a lead, for example what silencing it does to the risk, around zero.

    Parameters
    ----------
    values
        (12,) values; (N, 12) are averaged over N, with a 95 % normal interval of the mean.
    low, high
        (12,) interval, where it was worked out elsewhere.
    """
    array = np.array(values, dtype=float)
    if array.ndim == 2 and len(array) > 1:
        half = 1.96 * array.std(axis=0, ddof=1) / np.sqrt(len(array))
        center = array.mean(axis=0)
        low, high = center - half, center + half
    else:
        center = array.reshape(-1)
    if center.shape != (len(leads),):
        raise InputError(
            f"values are {array.shape}: one number for each of {len(leads)} leads is needed."
        )
    fig = new_figure(5.2)
    ax = fig.subplots()
    y = np.arange(len(leads))
    ax.barh(y, center, color=[VERMILION if v > 0 else BLUE for v in center], height=0.72)
    if low is not None and high is not None:
        bounds = np.stack([as_array(low, 1, "low"), as_array(high, 1, "high")])
        ax.hlines(y, bounds[0], bounds[1], color=BLACK, linewidth=1.6)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(y, leads)
    ax.invert_yaxis()
    ax.set(xlabel=xlabel, ylabel="Lead")
    ax.grid(axis="y", visible=False)
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig


@styled
def plot_attribution(
    ecg: ArrayLike,
    attribution: ArrayLike,
    windows_ms: ArrayLike,
    rate: float,
    source: str,
    *,
    leads: Sequence[str] = LEADS,
    unit: str = "mV",
    seconds: float | None = None,
    limit: float | None = None,
    title: str = "",
    note: str = "",
) -> BookFigure:
    """Draw the ECG over the attribution of each window, one colour scale for all leads.

    Nothing is rescaled by lead: a lead that does not matter stays white.

    Parameters
    ----------
    ecg
        (12, samples) in `unit`, without padding.
    attribution
        (12, n_windows) signed change of the log risk; (1, n_windows) when all leads were hidden at once.
    windows_ms
        (n_windows, 2) begin and end in milliseconds of `ecg`. Of overlapping windows the mean is drawn.
    limit
        Colour limit of either sign; by default the largest absolute value of this figure. Set it to
        compare figures.
    """
    signal, values = as_array(ecg, 2, "ecg"), as_array(attribution, 2, "attribution")
    spans = as_array(windows_ms, 2, "windows_ms") / 1000
    n = len(leads)
    if signal.shape[0] != n or values.shape[0] not in (1, n) or values.shape[1] != len(spans):
        raise InputError(
            f"ecg {signal.shape}, attribution {values.shape} and windows {spans.shape} do not fit {n} leads."
        )
    values = np.broadcast_to(values, (n, len(spans)))
    shown = signal.shape[1] if seconds is None else min(signal.shape[1], round(seconds * rate))
    times = np.arange(shown) / rate
    end = shown / rate
    edges = np.unique(np.clip(np.append(spans.ravel(), (0, end)), 0, end))
    middle = (edges[:-1] + edges[1:]) / 2
    inside = (spans[:, :1] <= middle) & (middle < spans[:, 1:])  # (n_windows, cells)
    cover = inside.sum(axis=0)
    cells = np.where(cover > 0, values @ inside / np.maximum(cover, 1), 0.0)
    top = limit or float(np.nanmax(np.abs(values), initial=0)) or 1.0
    norm = Normalize(-top, top)
    n_rows = -(-n // 2)
    fig = new_figure(0.95 * n_rows + 1.9)
    axes = fig.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    finite = signal[:, :shown][np.isfinite(signal[:, :shown])]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 1.0)
    low, high = (
        low - 0.08 * (high - low or 1.0),
        high + 0.25 * (high - low or 1.0),
    )  # room for names
    for i, ax in enumerate(axes.T.ravel()[:n]):
        ax.pcolormesh(edges, [low, high], cells[i : i + 1], cmap=DIVERGING, norm=norm)
        ax.plot(times, signal[i, :shown], color=BLACK, linewidth=1.3)
        ax.set(xlim=(0, end), ylim=(low, high))
        ax.text(0.012, 0.96, leads[i], transform=ax.transAxes, weight="bold", va="top")
        ax.grid(visible=False)
    for ax in axes[-1]:
        ax.set_xlabel("Time (s)")
    fig.supylabel(f"Amplitude ({unit})", fontsize=12)
    bar = fig.colorbar(
        ScalarMappable(norm, DIVERGING),
        ax=list(axes.ravel()),
        location="top",
        aspect=50,
        fraction=0.03,
    )
    bar.outline.set_visible(False)
    bar.set_label("Contribution to the log risk (red: raises it)")
    add_title(fig, title)
    annotate_source(fig, source, note)
    return fig
