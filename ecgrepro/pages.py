"""An executed notebook as a page of the book."""

from pathlib import Path

import nbformat


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
