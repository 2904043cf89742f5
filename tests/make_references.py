"""Rewrite `tests/reference/`: the chapters at the smoke profile, as nbval compares them.

Run by `make references`, after a change that is meant to change what a chapter prints.
"""

import os
import subprocess
import sys

import nbformat
from nbformat import NotebookNode

from ecgrepro import ROOT
from ecgrepro.runs import CHAPTERS

REFERENCES = ROOT / "tests" / "reference"


def strip(notebook: NotebookNode) -> NotebookNode:
    """Keep what nbval compares; drop pictures (it does not look at them) and times of papermill.

    Cells that it does not compare lose their warnings, which name paths of the machine that made the reference.
    """
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"c{number:03d}"
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
        if "nbval-ignore-output" in cell.metadata.tags:
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
            output.metadata = {}
    return notebook


def main() -> None:
    """Run every chapter at the smoke profile and store it stripped."""
    command = [sys.executable, "-m", "ecgrepro.book.workflow", "chapters"]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "PROFILE": "smoke"})
    REFERENCES.mkdir(exist_ok=True)
    for chapter in CHAPTERS:
        executed = ROOT / "runs" / "smoke" / "executed" / f"{chapter}.ipynb"
        notebook = strip(nbformat.read(executed, as_version=4))
        nbformat.write(notebook, REFERENCES / executed.name)
        print(f"tests/reference/{executed.name}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main()
