"""The dual attention encoder as a diagram."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ecgrepro.plots.diagram import Box, arrow, canvas, draw_boxes
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    BookFigure,
    styled,
)


@styled
def plot_encoder(
    *, source: str = "This book's dual attention encoder", note: str = ""
) -> BookFigure:
    """Draw the dual attention encoder: leads kept apart, two parallel attentions, one latent vector.

    The small pictures in the two attentions are sketches, not results; sizes are those of an input
    of 12 x 1024 samples.
    """
    fig, ax = canvas(8.4, source, note or "the two small maps are sketches")
    wide, left = 5.1, 1.2
    stem = Box(
        left,
        1.05,
        wide,
        0.72,
        "Stem, each lead on its own",
        "grouped convolutions, 12 groups",
        BLUE,
    )
    blocks = "5 residual blocks along time, weights shared by the leads"
    residual = Box(left, 2.1, wide, 0.72, "12 leads × 16 features × 32 tokens", blocks, BLUE)
    when = "12 maps of 32 × 32 tokens:\nwhich part of each lead"
    temporal = Box(0.3, 3.25, 3.3, 2.45, "Temporal attention", when, GREEN, art=True)
    which = "1 map of 12 × 12 leads:\nwhich lead looks at which"
    cross = Box(3.9, 3.25, 3.3, 2.45, "Cross-lead attention", which, VERMILION, art=True)
    merge = Box(left, 6.15, wide, 0.72, "Sum of both branches", "192 channels × 32 tokens", PURPLE)
    pools = "mean over time (256) | maximum over time (256),\neach after a linear layer"
    latent = Box(left, 7.3, wide, 0.95, "z_ecg (512)", pools, PURPLE)
    draw_boxes(ax, [stem, residual, temporal, cross, merge, latent])
    t, beat = _beat()
    for i, gain in enumerate((0.6, 0.8, 0.5, -0.6, 0.35, 0.6)):
        ax.plot(
            left + 0.05 + i * 0.86 + 0.75 * t, 0.5 - 0.36 * gain * beat, color=BLACK, linewidth=1.3
        )
    ax.text(left - 0.08, 0.5, "12 leads", ha="right", va="center", fontsize=11)
    ax.text(left + wide + 0.06, 0.5, "12 × 1024", ha="left", va="center", fontsize=11)
    _sketch_windows(ax, 0.62, 5.45)
    _sketch_map(ax, 4.93, 4.2)
    arrow(ax, (left + wide / 2, 0.75), stem.side("top"))
    arrow(ax, stem.side("bottom"), residual.side("top"))
    for share, branch in ((0.15, temporal), (0.85, cross)):
        x = residual.side("bottom", share)[0]
        arrow(ax, residual.side("bottom", share), (x, branch.y))
        arrow(ax, (x, branch.y + branch.height), (x, merge.y))
    arrow(ax, merge.side("bottom"), latent.side("top"))
    return fig


def _beat() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One made-up heart beat of Gaussian waves, on a time axis from 0 to 1."""
    waves = ((0.3, 0.025, 0.12), (0.44, 0.008, -0.15), (0.47, 0.011, 1.0))
    t = np.linspace(0, 1, 400)
    beat = np.zeros_like(t)
    for center, width, height in (*waves, (0.5, 0.01, -0.25), (0.68, 0.04, 0.28)):
        beat += height * np.exp(-0.5 * ((t - center) / width) ** 2)
    return t, beat


def _sketch_windows(ax: Axes, x: float, base: float) -> None:
    """Token windows of different weight under a beat."""
    t, beat = _beat()
    for i, weight in enumerate((0.15, 0.2, 0.3, 0.75, 0.6, 0.3, 0.5, 0.25, 0.15, 0.15)):
        cell = Rectangle(
            (x + 0.266 * i, base - 1.25), 0.25, 1.25, color=GREEN, alpha=0.75 * weight, lw=0
        )
        ax.add_patch(cell)
    ax.plot(x + 2.65 * t, base - 0.28 - 0.85 * beat, color=BLACK, linewidth=1.5)


def _sketch_map(ax: Axes, x: float, top: float) -> None:
    """A 12 x 12 map with some weights larger than others."""
    weights = np.random.default_rng(3).dirichlet(np.full(12, 1.5), 12)
    size = 1.27 / 12
    for row, column in np.ndindex(12, 12):
        shade = float(np.clip(3.2 * weights[row, column], 0.04, 0.9))
        corner = (x + size * column, top + size * row)
        ax.add_patch(
            Rectangle(corner, size * 0.92, size * 0.92, color=VERMILION, alpha=shade, lw=0)
        )
    ax.text(
        x - 0.08,
        top + 0.63,
        "12 leads",
        rotation=90,
        ha="right",
        va="center",
        fontsize=10,
        color=GREY,
    )
