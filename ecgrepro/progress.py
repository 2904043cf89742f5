"""Progress on the terminal that started the work, and never inside a page.

Chapters are run by papermill and compared by nbval, so neither a bar nor a growing list of epochs may end up
among their outputs. A bar is drawn only on a real terminal; the lines of a long training go to the terminal that
`make` was typed in, whose device it hands over, because a notebook kernel has none of its own.
"""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
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
    """Return a function that shows one line after each epoch of a long training.

    Where it goes is in the environment variable ECGREPRO_PROGRESS: unset (JupyterLab, papermill by hand) under
    the cell; the device of a terminal (set by `make`) there; anything else nowhere.
    """
    device = os.environ.get("ECGREPRO_PROGRESS")

    def report(line: str) -> None:
        if device is None:
            print(f"{label}: {line}", flush=True)
        elif _is_terminal(device):
            with Path(device).open("w") as terminal:
                terminal.write(f"{label}: {line}\n")

    return report


def _is_terminal(device: str) -> bool:
    path = Path(device)
    return path.exists() and stat.S_ISCHR(path.stat().st_mode)
