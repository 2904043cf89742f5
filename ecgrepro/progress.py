"""Progress on the terminal that started the work, and never inside a page.

Chapters are run by papermill and compared by nbval, so a bar must not end up among their outputs. It is drawn
on the process's own stderr, which under `make` is the reader's terminal, and only if that is a terminal.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm


def progress_bar(
    total: int, label: str, unit: str, show: bool = True, **options: Any
) -> "tqdm[Any]":
    """Return a tqdm bar on the terminal; silent where there is none or `show` is False."""
    terminal = sys.__stderr__
    visible = show and terminal is not None and terminal.isatty()
    return tqdm(total=total, desc=label, unit=unit, disable=not visible, file=terminal, **options)


def line_reporter(label: str) -> Callable[[str], None]:
    """Return a function for one line after each epoch of a long training.

    In JupyterLab the lines are printed under the cell. Under `make` (ECGREPRO_PROGRESS=terminal) they go to the
    terminal, so that the page shows the curve in place of a long list.
    """
    on_terminal = os.environ.get("ECGREPRO_PROGRESS") == "terminal"
    stream = sys.__stderr__ if on_terminal else None

    def report(line: str) -> None:
        print(f"{label}: {line}", file=stream, flush=True)

    return report
