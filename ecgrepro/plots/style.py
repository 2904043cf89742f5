"""One look for every figure: colours, sizes, source line, direct labels.

Figures are built without pyplot. So nothing is registered globally (no figure to close, no memory
that grows in a long notebook), and a figure shows exactly once: as the last line of a cell.
"""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Lead names in the package's order; a test holds them equal to `signals.LEADS`."""

WIDTH = 7.5
"""Figure width in inches. At 390 px (a phone) 12 pt text is then 8.7 px high, 10 pt 7.2 px."""

# Okabe and Ito, "Color Universal Design" (2008): eight colours that stay apart for colour-blind readers.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT = "#6B7075", "#E3E6E8"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)

GROUP_COLORS: Mapping[str, str] = MappingProxyType(
    {
        "NORM": GREEN,
        "MI": VERMILION,
        "STTC": ORANGE,
        "CD": BLUE,
        "HYP": PURPLE,
        "form": SKY,
        "rhythm": GREY,
    }
)
"""One colour a diagnostic superclass (and for form and rhythm statements) in every figure."""

DASHED: Any = MappingProxyType({"color": GREY, "linestyle": (0, (4, 2)), "linewidth": 1.4})
"""A level to compare with: chance, no effect, a threshold."""

BESIDE: Any = MappingProxyType({"xytext": (7, 0), "textcoords": "offset points", "va": "center"})
"""Of a text just right of a point."""

SEQUENTIAL = "YlGnBu"
DIVERGING = LinearSegmentedColormap.from_list(
    "book_diverging", ["#2B7BBA", "#92C5DE", "#FAFAFA", "#F4A582", "#D6483C"]
)
"""Blue below, white at, red above zero; its ends stay light enough for a black trace over them."""

RC: Any = MappingProxyType(  # Any: matplotlib types its keys one by one
    {
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "figure.figsize": (WIDTH, 4.2),
        "figure.constrained_layout.use": True,
        "font.family": "DejaVu Sans",
        "font.size": 12,
        "axes.titlesize": 13,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.labelsize": 12,
        "axes.labelcolor": "#24292E",
        "axes.edgecolor": "#8A9096",
        "axes.linewidth": 0.9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.prop_cycle": cycler(color=PALETTE),
        "grid.color": LIGHT,
        "grid.linewidth": 0.8,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "xtick.color": "#3C4248",
        "ytick.color": "#3C4248",
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "legend.fontsize": 11,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
        "image.cmap": SEQUENTIAL,
    }
)


class BookFigure(Figure):
    """A figure that keeps the book's style while it is drawn, and shows itself in a notebook.

    Ticks are made when a figure is drawn, after the plotting function has returned; without the
    style at that moment they would take whatever the reader's session has set.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw with the book's settings, leaving the session's own as they are."""
        with mpl.rc_context(RC):
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """Give the picture to a notebook, also where no matplotlib backend was ever started."""
        with io.BytesIO() as stream, mpl.rc_context(RC):
            self.savefig(stream, format="png", metadata={"Software": None})
            return stream.getvalue()


P = ParamSpec("P")


def styled(function: Callable[P, BookFigure]) -> Callable[P, BookFigure]:
    """Run a plotting function under the book's settings and put the session's back afterwards."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> BookFigure:
        with mpl.rc_context(RC):
            return function(*args, **kwargs)

    return wrapper


def apply() -> None:
    """Set the book's style for the whole session (for figures that a reader draws with pyplot)."""
    mpl.rcParams.update(RC)


def new_figure(height: float, width: float = WIDTH) -> BookFigure:
    """Return an empty figure of `width` x `height` inches whose layout avoids overlaps."""
    return BookFigure(figsize=(width, height), layout="constrained")


def finish(fig: BookFigure, source: str, title: str, *notes: str) -> BookFigure:
    """Put `title` over a figure, and under it where the data are from, n, events, and the kind of interval.

    Parameters
    ----------
    fig
        The figure. Room around its axes is made by the constrained layout.
    source
        For example "Simulated data" or "PTB-XL 1.0.3".
    title
        An empty one takes no room.
    notes
        For example "n = 600 patients, 240 events, 95 % interval"; empty ones are left out.

    Raises
    ------
    InputError
        When `source` is empty: a figure without its source must not reach a page.
    """
    if not source.strip():
        raise InputError("source is empty: say where the figure's data are from.")
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=13, weight="bold")
    note = "; ".join(note for note in notes if note)
    line = f"{source} · {note}" if note else source
    width = int(fig.get_figwidth() * 13.2)  # characters of 9 pt DejaVu Sans that fit
    fig.supxlabel(textwrap.fill(line, width), x=0.01, ha="left", fontsize=9, color=GREY)
    return fig


def ink(color: str) -> tuple[float, float, float]:
    """Darken a colour until text in it reads well on white (WCAG contrast of 4.5 or more)."""
    rgb = np.array(to_rgb(color))
    for _ in range(40):
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
        if 1.05 / (luminance + 0.05) >= 4.5:
            break
        rgb = rgb * 0.95
    return (float(rgb[0]), float(rgb[1]), float(rgb[2]))


class EndLabel(NamedTuple):
    """A text to stand right of the axis at the height of a line's last value, in the line's colour."""

    x: float
    y: float
    text: str
    color: str


def label_ends(ax: Axes, labels: Sequence[EndLabel], size: float = 11) -> None:
    """Write labels right of their lines' ends, moved apart vertically where they would touch.

    Call it last: limits must be final, since positions are worked out from them.
    """
    labels = [label for label in labels if np.isfinite(label.y)]
    if not labels:
        return
    figure = ax.get_figure(root=True)
    assert figure is not None  # an axis always hangs in a figure
    figure.draw_without_rendering()
    height = ax.get_position().height * figure.get_figheight() * 72  # in points
    inverse = ax.transAxes.inverted()
    wanted = [
        inverse.transform(ax.transData.transform((label.x, label.y)))[1] * height
        for label in labels
    ]
    lines = [label.text.count("\n") + 1 for label in labels]
    placed = spread(wanted, [size * 1.3 * n for n in lines])
    for label, y in zip(labels, placed, strict=True):
        ax.annotate(
            label.text,
            (1.0, y / height),
            xycoords="axes fraction",
            color=ink(label.color),
            fontsize=size,
            annotation_clip=False,
            **BESIDE,
        )


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Move positions apart as little as possible so that blocks of these heights do not overlap."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [float(w) for w in wanted]
    for _ in range(200):
        moved = False
        for low, high in pairwise(order):
            overlap = (heights[low] + heights[high]) / 2 - (placed[high] - placed[low])
            if overlap > 1e-6:
                placed[low] -= overlap / 2
                placed[high] += overlap / 2
                moved = True
        if not moved:
            break
    return placed


def as_array(values: ArrayLike, ndim: int, name: str) -> NDArray[np.float64]:
    """Return a float copy with `ndim` axes; anything else is refused in one sentence."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != ndim:
        raise InputError(
            f"{name} has {array.ndim} axes, {ndim} are needed: its shape is {array.shape}."
        )
    return array


def check_columns(table: Any, columns: Sequence[str], name: str) -> None:
    """Refuse a table in which a needed column is missing, naming what is there."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{name} lacks the column {', '.join(missing)}: it has {', '.join(map(str, table.columns))}."
        )


def count(number: float) -> str:
    """Write a count with a thin space between thousands: 21 799."""
    return f"{int(number):,}".replace(",", "\u2009")
