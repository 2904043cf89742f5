"""What `make` calls: check what was typed, take the lock, write the run's parameters, start Snakemake.

    python -m ecgrepro.book.workflow book|chapters|chapter|needs|protocol

What was typed after `make` comes in through the environment (RUN=..., RELEASE=...), so that no shell ever reads it.
"""

import difflib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from ecgrepro import ROOT
from ecgrepro.artefacts import CHAPTERS
from ecgrepro.book import environment
from ecgrepro.book.alive import MAKE, RUNS, only_one
from ecgrepro.errors import InputError
from ecgrepro.parameters import prepare_run

STEPS = {
    "book": [("Snakefile", "book")],
    "chapters": [("Snakefile", "chapters")],
    "chapter": [("Snakefile", "chapter")],
    "needs": [("Snakefile", "needs")],
    "protocol": [("Snakefile", "sweep"), ("protocol.smk", "arms"), ("Snakefile", "book")],
}
"""Snakemake file and rule of each step of a goal."""


def main(goal: str, typed: Mapping[str, str]) -> int:
    """Make a goal; what cannot be used is refused in one line.

    Parameters
    ----------
    goal
        A key of `STEPS`.
    typed
        Variables as `make` was given them; what is missing or empty has its default.

    Returns
    -------
    int
        Exit status: 0 made, 2 refused, else that of Snakemake.
    """
    try:
        chapter = chapter_named(typed.get("CHAPTER", "")) if goal in ("chapter", "needs") else ""
        cores = cores_named(typed.get("CORES") or "2")
        overrides = {name: typed.get(name.upper(), "") for name in ("release", "text_model")}
        with only_one(RUNS) as lock:
            profile = typed.get("PROFILE") or "demo"
            run = prepare_run(profile, overrides, CHAPTERS, typed.get("RUN", ""))
            for snakefile, rule in STEPS[goal]:
                command = ["--snakefile", snakefile, "--cores", cores]
                # the folder, because Snakemake takes a run named 5 or 1e3 for a number
                command += ["--config", f"folder=runs/{run}", f"chapter={chapter}", "--", rule]
                if status := _snakemake(command, lock):
                    return status
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def chapter_named(typed: str) -> str:
    """Return the chapter of exactly this name; else refuse with the names that come near."""
    if typed in CHAPTERS:
        return typed
    near = [name for name in CHAPTERS if re.match(rf"0*{re.escape(typed)}_", name)] if typed else []
    near = near or difflib.get_close_matches(typed, CHAPTERS, n=3, cutoff=0.5) or list(CHAPTERS)
    said = f"There is no chapter {typed!r}" if typed else "CHAPTER= is missing"
    raise InputError(f"{said}: did you mean {' or '.join(near)}?")


def cores_named(typed: str) -> str:
    """Return the number of cores for Snakemake, a whole number above 0 or "all"."""
    if not re.fullmatch(r"all|[1-9]\d*", typed):
        raise InputError(f"CORES={typed} is not a number of cores: give 1 or more, or all.")
    return typed


def _snakemake(arguments: list[str], lock: int) -> int:
    """Run Snakemake; it, too, holds the lock. Our end is its end, also where only we are told to stop."""
    command = [sys.executable, "-m", "snakemake", "--nolock", "--rerun-incomplete"]
    command += [
        "--quiet",
        "host",
        "progress",
        "rules",
        "reason",
        "--rerun-triggers",
        "mtime",
        "input",
    ]
    # PATH: the rules find papermill in this environment, also where it was not activated
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    variables = os.environ | {MAKE: str(os.getpid()), "PATH": path}
    process = subprocess.Popen([*command, *arguments], cwd=ROOT, env=variables, pass_fds=(lock,))

    def stop(number: int, frame: FrameType | None) -> None:
        process.kill()  # its chapters notice that we are gone
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    make = os.getppid()
    try:
        while process.poll() is None:
            time.sleep(0.2)
            if os.getppid() != make:  # killed without a chance to tell us
                stop(signal.SIGKILL, None)
    except KeyboardInterrupt:  # Snakemake had it too, and ends its chapters
        try:
            process.wait(timeout=20)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.kill()
        return 130
    return process.returncode


if __name__ == "__main__":
    environment.prepare()  # also where `make env` has not made the environment
    sys.exit(main(sys.argv[1], os.environ))
