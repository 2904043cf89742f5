"""Executed notebooks as pages of the book: `python -m ecgrepro.pages runs/demo/executed/*.ipynb`."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat

from ecgrepro import ROOT
from ecgrepro.book.alive import end_with_make
from ecgrepro.files import atomic_path


def dressed(path: Path) -> str:
    """Return the executed notebook at `path` as the page the book renders.

    Cells that a reader skips (what papermill gave, imports) are folded away. What was written to stderr is left
    out: it is a log, which stays in the run folder; the site would hide it on the page and still publish it beside
    the page, as the source of it.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "injected-parameters" in tags or "runs.start(" in cell.source:
            tags.append("hide-input")
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    return str(nbformat.writes(notebook))


def lay_out(executed: Iterable[Path], root: Path) -> None:
    """Write the pages that changed to `book/executed` under `root`, for Jupyter Book to find."""
    for path in executed:
        copy, page = root / "book" / "executed" / path.name, dressed(path)
        if not copy.is_file() or copy.read_text() != page:
            with atomic_path(copy) as temporary:
                temporary.write_text(page)


def render(root: Path) -> None:
    """Render the book to `_build/html` under `root`; a warning of Jupyter Book is an error.

    Sphinx takes a page for done by its time alone, also one half written when it was killed, and gives the warnings
    of a page once: so only what was rendered to the end is built upon.
    """
    from jupyter_book.cli.main import (
        main as jupyter_book,
    )  # takes a second, and only rendering needs it

    whole = root / "_build" / "whole"
    if not whole.is_file():
        for folder in ("html", ".doctrees", ".jupyter_cache"):
            shutil.rmtree(root / "_build" / folder, ignore_errors=True)
    whole.unlink(missing_ok=True)
    jupyter_book(["build", str(root), "-W", "--keep-going", "--quiet"], standalone_mode=False)
    whole.touch()


if __name__ == "__main__":
    end_with_make()
    lay_out(map(Path, sys.argv[1:]), ROOT)
    render(ROOT)
