"""What the figures of a notebook show, written down while it runs: on a page they are pixels, which nobody can search.

A kernel in which `watch` was called appends one line of json a figure to the file named by the environment variable
WATCHED_FIGURES: every word, and the coordinates of everything drawn, with what their axis says.
"""

import json
import os
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.transforms import Transform


def watch() -> None:
    """From now on, write down each figure when its picture is made."""
    render = FigureCanvasBase.print_figure

    @wraps(render)
    def watched(self: FigureCanvasBase, *args: Any, **options: Any) -> Any:
        done = render(self, *args, **options)
        with Path(os.environ["WATCHED_FIGURES"]).open("a") as file:
            file.write(json.dumps(content(self.figure)) + "\n")
        return done

    FigureCanvasBase.print_figure = watched  # type: ignore[method-assign]


def content(figure: Figure) -> dict[str, Any]:
    """Return the figure's words, and its points: (axis label, coordinates along that axis) of each thing drawn."""
    points = []
    for axes in figure.axes:
        labels = (axes.get_xlabel(), axes.get_ylabel())
        for artist in (*axes.lines, *axes.patches, *axes.collections):
            places, transform = drawn(artist)
            # a line that marks a level is data in y only
            along = transform.contains_branch_seperately(axes.transData)
            for column, label in enumerate(labels):
                if along[column]:
                    points += [(label, place[:, column].tolist()) for place in places]
        for image in axes.images:
            points.append(("", np.ma.filled(np.ma.asarray(image.get_array()), 0).ravel().tolist()))
    return {"words": [text.get_text() for text in figure.findobj(Text)], "points": points}


def drawn(artist: Artist) -> tuple[list[np.ndarray], Transform]:
    """Return arrays (N, 2) of what a line, patch or collection draws, and what takes them to the page."""
    if isinstance(artist, Line2D):
        return [np.asarray(artist.get_xydata(), dtype=float)], artist.get_transform()
    if isinstance(artist, Patch):
        shape = artist.get_path().transformed(artist.get_patch_transform())
        return [np.asarray(shape.vertices)], artist.get_data_transform()
    assert isinstance(artist, Collection)
    assert isinstance(artist.axes, Axes)
    scattered = artist.get_offset_transform()
    if scattered == artist.axes.transData:  # its paths are the marker, drawn at each place
        return [np.ma.filled(np.ma.asarray(artist.get_offsets()), np.nan)], scattered
    return [np.asarray(path.vertices) for path in artist.get_paths()], artist.get_transform()
