"""Boxes and arrows for diagrams, in inches."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from ecgrepro.plots.style import GREY, ORANGE, BookFigure, annotate_source, ink, new_figure

Point = tuple[float, float]


class Box(NamedTuple):
    """A box of the diagram: left, top, width, height in inches, a bold line, and lines below it."""

    x: float
    y: float
    width: float
    height: float
    head: str
    body: str
    color: str
    changed: bool = False
    art: bool = False

    def side(self, where: Literal["left", "right", "top", "bottom"], share: float = 0.5) -> Point:
        """Return the point on one side, at `share` of its length."""
        if where in ("left", "right"):
            return (self.x + self.width * (where == "right"), self.y + share * self.height)
        return (self.x + share * self.width, self.y + self.height * (where == "bottom"))


def draw_boxes(ax: Axes, boxes: Sequence[Box]) -> None:
    """Draw rounded boxes, their text centred; `changed` ones with a thick orange outline.

    A box with `art` keeps its text at the top, so that something can be drawn below it.
    """
    for box in boxes:
        shape = FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=_tint(box.color),
            edgecolor=ORANGE if box.changed else box.color,
            linewidth=3.0 if box.changed else 1.3,
        )
        ax.add_patch(shape)
        center = box.x + box.width / 2
        lines = box.body.count("\n") + 1 if box.body else 0
        middle = box.y + box.height / 2 - 0.5 * (0.2 + 0.175 * lines)
        top = box.y + 0.12 if box.art else middle
        style: dict[str, Any] = {"ha": "center", "va": "top"}
        ax.text(center, top, box.head, weight="bold", fontsize=11.5, color=ink(box.color), **style)
        ax.text(center, top + 0.22, box.body, fontsize=10.5, linespacing=1.15, **style)


def _tint(color: str) -> tuple[float, float, float]:
    rgb = np.array(ink(color))
    light = 1 - 0.1 * (1 - rgb)
    return (float(light[0]), float(light[1]), float(light[2]))


def arrow(ax: Axes, start: Point, end: Point, color: str = GREY) -> None:
    """Draw a straight arrow."""
    style = {"arrowstyle": "-|>,head_width=0.28,head_length=0.5", "color": color, "linewidth": 1.8}
    ax.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})


def canvas(height: float, source: str, note: str) -> tuple[BookFigure, Axes]:
    """Return a figure with one axis in inches, 7.5 wide, y pointing down."""
    fig = new_figure(height + 0.45)
    ax = fig.subplots()
    ax.set(xlim=(0, 7.5), ylim=(height, 0), aspect="equal")
    ax.set_axis_off()
    annotate_source(fig, source, note)
    return fig, ax
