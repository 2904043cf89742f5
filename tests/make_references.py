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
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PROFILE": "smoke"}, check=True)
    targets = [ROOT / f"runs/smoke/executed/{chapter}.ipynb" for chapter in CHAPTERS]
    REFERENCES.mkdir(exist_ok=True)
    for target in targets:
        notebook = strip(nbformat.read(target, as_version=4))
        nbformat.write(notebook, REFERENCES / target.name)
        print(f"tests/reference/{target.name}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main()
