"""Run the numeric tests and every chapter as another processor would, and compare the chapters with their references.

Run by `make portable`. Other instruction sets and another number of threads add in another order; here they are
forced upon the libraries by their own switches. The chapters run at the smoke profile in a copy of the repository,
so that they train anew, and a table says how many outputs moved and how many moved too far.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from ecgrepro import ROOT
from ecgrepro.runs import CHAPTERS
from tests.compare_outputs import alike

SETTINGS = {
    "no vector instructions, two threads": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": " ".join(
            name for name in __cpu_dispatch__ if __cpu_features__[name]
        ),
        "OMP_NUM_THREADS": "2",
    },
    "AVX2, one thread": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OMP_NUM_THREADS": "1",
    },
}
"""Name to environment; the chapters run under the first, the numeric tests under both."""

NUMERIC = [
    "attribution",
    "losses",
    "models",
    "probing",
    "survival",
    "text",
    "training",
    "biomarkers",
]
COPIED = [
    "ecgrepro",
    "notebooks",
    "profiles",
    "tests",
    "Snakefile",
    "book",
    "_config.yml",
    "_toc.yml",
]


def numeric_tests() -> list[str]:
    """Test files of the numeric parts; a part without any was renamed, and would be left out without a word."""
    found = {part: sorted((ROOT / "tests").glob(f"test_{part}*.py")) for part in NUMERIC}
    if lacking := [part for part, files in found.items() if not files]:
        raise FileNotFoundError(f"No tests/test_{lacking[0]}*.py: correct NUMERIC.")
    return [str(path) for files in found.values() for path in files]


def texts(cell: NotebookNode) -> list[str]:
    """What a cell printed and displayed, as text: a list in which equal kinds keep their order."""
    found = {"stdout": "", "text/plain": "", "text/html": ""}
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stdout":
            found["stdout"] += output.text
        for kind in ("text/plain", "text/html"):
            found[kind] += output.get("data", {}).get(kind, "")
    return list(found.values())


def compare(executed: Path, reference: Path) -> tuple[int, int, list[str]]:
    """Count compared cells and those with any other character; name those beyond the tolerance."""
    compared, moved, beyond = 0, 0, []
    pair = (nbformat.read(path, as_version=4).cells for path in (executed, reference))
    for number, (new, old) in enumerate(zip(*pair, strict=True)):
        tags = old.metadata.get("tags", [])
        if old.cell_type != "code" or "nbval-ignore-output" in tags:
            continue
        compared += 1
        moved += texts(new) != texts(old)
        for one, two in zip(texts(new), texts(old), strict=True):
            if not alike(one, two, "trained" in tags):
                beyond.append(
                    f"{reference.stem}, cell {number}:\n--- stored\n{two}\n--- here\n{one}"
                )
    return compared, moved, beyond


def copy_repository(folder: Path) -> None:
    """Copy what the book is made of into an empty folder: it then stands on nothing that was made before."""
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shutil.rmtree(folder / "book" / "executed", ignore_errors=True)


def run_chapters(folder: Path, environment: dict[str, str]) -> list[str]:
    """Run the smoke profile in a copy of the repository; print the table, return what moved too far."""
    copy_repository(folder)
    environment = {**environment, "PYTHONPATH": str(folder), "PROFILE": "smoke", "RUN": ""}
    command = [sys.executable, "-m", "ecgrepro.book.workflow", "chapters"]
    subprocess.run(command, cwd=folder, check=True, env=environment)
    found = []
    for chapter in CHAPTERS:
        stored = ROOT / "tests" / "reference" / f"{chapter}.ipynb"
        compared, moved, beyond = compare(folder / f"runs/smoke/executed/{chapter}.ipynb", stored)
        print(f"{chapter:24} {compared:3} outputs, {moved:2} moved, {len(beyond):2} too far")
        found += beyond
    return found


def main() -> int:
    """Run everything; the exit status is that of a test run."""
    status = 0
    for position, (name, setting) in enumerate(SETTINGS.items()):
        started = time.monotonic()
        print(f"== {name}: {' '.join(f'{k}={v!r}' for k, v in setting.items())}", flush=True)
        environment = {**os.environ, **setting}
        command = [sys.executable, "-m", "pytest", "-q", *numeric_tests()]
        done = subprocess.run(command, env=environment, cwd=ROOT)
        status |= done.returncode
        if position == 0:
            with tempfile.TemporaryDirectory() as folder:
                beyond = run_chapters(Path(folder), environment)
            print(*beyond, sep="\n\n")
            status |= bool(beyond)
        print(f"== {name}: {time.monotonic() - started:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
