"""Stop the smoke book at random moments, type `make book` again each time, compare with a run never stopped.

    make kills                          20 kills over all chapters and the rendering, in a clone in a temporary folder
    python -m tests.kills --kills 3 --seed 1 --folder /tmp/kills

Each kill waits for one chapter, then for a random moment of it, and hits at random what a user, an out-of-memory
killer or a time limit hits. The same folder goes on with what it has made.
A target that is done is taken away first, so that it runs again.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from ecgrepro import ROOT
from ecgrepro.files import read_json, sha256_file
from ecgrepro.runs import ARTEFACTS, CHAPTERS

TIMED = {"encoders"}
"""Artefacts that hold measured speeds, so that no two runs agree: encoders.csv (records a second)."""

RENDERING = "rendering"


def part(process: psutil.Process, word: str) -> list[psutil.Process]:
    """Descendants of `process` whose command line has an argument that ends in `word`."""
    found = []
    for child in process.children(recursive=True) if process.is_running() else []:
        try:
            if any(argument.endswith(word) for argument in child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def kill_all(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to each that is still there."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


KINDS: dict[str, Callable[[psutil.Process], None]] = {
    "Ctrl-C": lambda make: os.killpg(make.pid, signal.SIGINT),
    "SIGTERM to make": lambda make: make.terminate(),
    "kill -9 of the group": lambda make: os.killpg(make.pid, signal.SIGKILL),
    "kill -9 of make": lambda make: make.kill(),
    "kill -9 of snakemake": lambda make: kill_all(part(make, "snakemake")[:1]),
    "kill -9 of papermill": lambda make: kill_all(part(make, "papermill")[-1:]),
    "kill -9 of the kernel": lambda make: kill_all(part(make, "ipykernel_launcher")),
}


def start_make(clone: Path, log: Path) -> psutil.Process:
    """`make book PROFILE=smoke` in a process group of its own, as a terminal starts it."""
    command = ["make", "-o", ".venv/.ready", "book", "PROFILE=smoke"]
    environment = os.environ | {"PYTHONPATH": str(clone)}
    with log.open("a") as stream:
        return psutil.Popen(
            command,
            cwd=clone,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def at_work(make: psutil.Process) -> list[str]:
    """What runs at this moment: chapters, or the rendering."""
    running = [name for name in CHAPTERS if part(make, f"notebooks/{name}.ipynb")]
    return running + ([RENDERING] if part(make, "ecgrepro.pages") else [])


def kill_once(clone: Path, log: Path, target: str, delay: float, kind: str) -> str:
    """Kill `delay` seconds into `target`; return what was hit, or that make ended first."""
    done = clone / "runs" / "smoke" / "executed" / f"{target}.ipynb"
    make, since = start_make(clone, log), None
    while make.poll() is None:
        working = at_work(make)
        if since is None and (target in working or (working and done.is_file())):
            since = time.monotonic()  # a target that is done already stands for what runs now
        if since is not None and time.monotonic() - since >= delay:
            hit = ", ".join(at_work(make)) or "between two chapters"
            KINDS[kind](make)
            make.wait()
            return hit
        time.sleep(0.1)
    return f"nothing: make had ended, status {make.wait()}"


def finish(clone: Path, log: Path) -> int:
    """`make book` to its end."""
    return start_make(clone, log).wait()


def hashes(clone: Path) -> dict[str, str]:
    """SHA-256 of every artefact of the run, folders file by file, and whether the pages are there."""
    run, found = clone / "runs" / "smoke", {}
    for name, artefact in ARTEFACTS.items():
        path = run / artefact.path
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            key = f"{name}: {file.relative_to(run)}"
            found[key] = sha256_file(file) if file.is_file() else "missing"
    for page in sorted((clone / "_build" / "html").rglob("*.html")):
        found[f"page: {page.relative_to(clone / '_build' / 'html')}"] = "there"
    return found


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names of what differs or is missing on one side, without what holds measured times."""
    names = sorted(one.keys() | other.keys())
    return [n for n in names if one.get(n) != other.get(n) and n.split(":")[0] not in TIMED]


def prepare_clone(folder: Path) -> Path:
    """Clone the repository to `folder` if it is not there, with the environment of this one."""
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
    return folder


def seconds_of(clone: Path) -> dict[str, float]:
    """Seconds each chapter took, as its provenance records, and a guess for the rendering."""
    records = {name: clone / f"runs/smoke/provenance/{name}.json" for name in CHAPTERS}
    return {name: read_json(path)["seconds"] for name, path in records.items()} | {RENDERING: 15.0}


def ended(clone: Path) -> Callable[[str], float]:
    """When a chapter ended in a finished run, as a sorting key: Snakemake's order is not that of the pages."""
    run = clone / "runs" / "smoke" / "executed"
    times = {name: (run / f"{name}.ipynb").stat().st_mtime for name in CHAPTERS}
    return lambda place: times.get(place, float("inf"))


def forget(clone: Path, target: str) -> None:
    """Take away an executed notebook, and the front page without which nothing is asked of it: it runs again."""
    executed = clone / "runs" / "smoke" / "executed" / f"{target}.ipynb"
    for path in (executed, clone / "_build" / "html" / "index.html"):
        path.unlink(missing_ok=True)


def main() -> int:
    """Make the book twice, once with kills; print the table of kills and what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keeps both clones; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        whole, killed = (prepare_clone(folder / name) for name in ("whole", "killed"))
        if finish(whole, folder / "whole.log"):
            print(f"the run without kills failed: see {folder}/whole.log", file=sys.stderr)
            return 2
        return compare(whole, killed, folder / "killed.log", given.kills, random.Random(given.seed))


def compare(whole: Path, killed: Path, log: Path, kills: int, draw: random.Random) -> int:
    """Kill, go on, compare; the exit status is 1 where anything differs."""
    places, seconds = [*CHAPTERS, RENDERING], seconds_of(whole)
    extra = draw.choices(
        places, [seconds[place] for place in places], k=max(0, kills - len(places))
    )
    targets = sorted([*draw.sample(places, min(kills, len(places))), *extra], key=ended(whole))
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(kills)]
    draw.shuffle(kinds)
    print("| kill | what | waited for | after, s | hit |\n|---|---|---|---|---|", flush=True)
    for number, (target, kind) in enumerate(zip(targets, kinds, strict=True), 1):
        delay = draw.uniform(0, seconds[target])
        forget(killed, target)
        hit = kill_once(killed, log, target, delay, kind)
        print(
            f"| {number} | {kind} | {target} | {delay:.1f} | {hit} |",
            flush=True,
        )
    status = finish(killed, log)
    wrong = differences(hashes(whole), hashes(killed))
    print(
        f"make book at the end: exit status {status}; {len(wrong)} of {len(hashes(whole))} files differ"
    )
    print("\n".join(wrong))
    return int(bool(status or wrong))


if __name__ == "__main__":
    sys.exit(main())
