"""Edits of notebooks: found before they could be lost, or mixed up with what the book shows."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ecgrepro import ROOT

NOTEBOOKS = ROOT / "notebooks"


def edited_cells(chapter: str, executed: Sequence[str]) -> list[str]:
    """Return the executed cells that the committed chapter lacks, in order.

    What papermill gave, and cells that only look (expressions, such as a print), do not count.

    Parameters
    ----------
    chapter
        Name of the notebook.
    executed
        IPython's `In`: the source of every cell that ran.
    """
    known = set(_committed(NOTEBOOKS / f"{chapter}.ipynb")) or set(_script(chapter))
    return [
        source
        for source in executed
        if source.strip() not in known
        and not source.startswith("# Parameters\n")
        and not _only_looks(source)
    ]


def unsaved_cells(notebook: Path) -> list[str]:
    """Return the cells of an .ipynb that neither its .py nor git's HEAD has: rewriting it would lose them."""
    known = {*_script(notebook.stem, notebook.parent), *_committed(notebook)}
    return [source for source in _sources(notebook.read_text()) if source and source not in known]


def main() -> int:
    """Say which notebooks hold edits that only they have; return 1 if any does."""
    found = 0
    for notebook in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if not notebook.with_suffix(".py").is_file() or ".ipynb_checkpoints" in notebook.parts:
            continue
        for source in unsaved_cells(notebook):
            found = 1
            print(f"{notebook.relative_to(ROOT)} has a cell that its .py lacks:", file=sys.stderr)
            print("    " + source.replace("\n", "\n    "), file=sys.stderr)
    if found:
        print(
            "error: these edits would be lost; nothing was written. Keep them with "
            "`.venv/bin/jupytext --to py:percent NOTEBOOK.ipynb`, or drop them with `git checkout NOTEBOOK.ipynb`.",
            file=sys.stderr,
        )
    return found


def _sources(text: str) -> list[str]:
    return ["".join(cell["source"]).strip() for cell in json.loads(text)["cells"]]


def _script(chapter: str, folder: Path = NOTEBOOKS) -> list[str]:
    import jupytext  # takes a moment, and is not needed where git knows the chapter

    path = folder / f"{chapter}.py"
    return [cell.source.strip() for cell in jupytext.read(path).cells] if path.is_file() else []


def _committed(notebook: Path) -> list[str]:
    """Cells of the notebook in git's HEAD; none without git."""
    name = f"HEAD:{notebook.relative_to(ROOT).as_posix()}"
    command = ["git", "show", name]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return _sources(done.stdout.decode())


def _only_looks(source: str) -> bool:
    """Whether a cell holds expressions alone, none of them one that is known to change what it names.

    IPython hands over a cell under a magic (%%time) as a call of `get_ipython()`: it may hold anything.
    """
    try:
        plain = all(isinstance(node, ast.Expr) for node in ast.parse(source).body)
    except SyntaxError:
        return False
    return plain and not re.search(r"get_ipython\(|:=|inplace|setattr", source)


if __name__ == "__main__":
    sys.exit(main())
