"""What `make` asks for: settings checked, one run at a time, and Snakemake told what to make.

Settings are read from the environment, where make puts them: no shell ever sees what stands in them. A run that was
stopped, however hard, leaves nothing that must be cleaned up: the lock belongs to the living processes only, and what
Snakemake had not finished it makes again.
"""

import difflib
import fcntl
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.parameters import prepare_run
from ecgrepro.runs import CHAPTERS

RENDERED = Path("_build/run.txt")
"""Which run the pages show; written only when it changes, so that another run renders them again."""

TARGETS = ("book", "chapters", "chapter", "needs", "sweep", "arms")
QUIET = ("--quiet", "host", "progress", "rules", "reason")


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Make one target and do not come back; return 2 after one line that says what cannot be done.

    Parameters
    ----------
    arguments
        One of `TARGETS`: the book; all chapters; one chapter; what it reads; what the protocol's arms read; the arms.
    environment
        PROFILE, RUN, RELEASE, TEXT_MODEL, CHAPTER, CORES; empty or missing ones have their defaults.
    """
    try:
        command = snakemake_command(" ".join(arguments), environment)
        keep_others_out()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    os.execv(sys.executable, command)  # signals for make then reach Snakemake itself


def snakemake_command(target: str, environment: Mapping[str, str]) -> list[str]:
    """Check what was asked for, write the run's parameters, and return the command that makes it.

    Raises
    ------
    InputError
        A target, chapter, profile, run, release or number of cores that cannot be used.
    """
    if target not in TARGETS:
        raise InputError(f"{target!r} is no target: choose {', '.join(TARGETS)}.")
    given = {name: environment.get(name, "").strip() for name in ("PROFILE", "RUN", "CHAPTER")}
    chapter = known_chapter(given["CHAPTER"]) if target in ("chapter", "needs") else ""
    cores = environment.get("CORES", "") or "2"
    if not (cores.isdecimal() and int(cores) > 0):
        raise InputError(f"CORES is {cores!r}: give a whole number from 1 on, for example CORES=2.")
    paths = {
        "release": environment.get("RELEASE", ""),
        "text_model": environment.get("TEXT_MODEL", ""),
    }
    run = prepare_run(given["PROFILE"] or "demo", paths, CHAPTERS, given["RUN"])
    if not (ROOT / RENDERED).is_file() or (ROOT / RENDERED).read_text() != run:
        with atomic_path(ROOT / RENDERED) as temporary:
            temporary.write_text(run)
    command = [sys.executable, "-m", "snakemake", "--cores", cores, *QUIET, "--nolock"]
    command += ["--rerun-incomplete", "--rerun-triggers", "mtime", "input"]
    if target == "arms":
        command += ["--snakefile", "protocol.smk"]
    # The folder, because Snakemake would read a number or a truth value into some names of runs.
    return [*command, "--config", f"folder=runs/{run}", f"chapter={chapter}", "--", target]


def known_chapter(name: str) -> str:
    """Return the name if a chapter has it, else raise `InputError` with those that come near."""
    if name in CHAPTERS:
        return name
    number = name.split("_")[0].lstrip("0")
    near = [chapter for chapter in CHAPTERS if chapter.split("_")[0].lstrip("0") == number]
    near = near or difflib.get_close_matches(name, CHAPTERS, n=3, cutoff=0.4) or list(CHAPTERS)
    what = f"There is no chapter {name!r}" if name else "No chapter was named"
    raise InputError(f"{what}: try CHAPTER={' or CHAPTER='.join(near)}.")


def keep_others_out() -> None:
    """Hold the one lock of this repository for as long as this process, or one that it becomes, lives.

    Raises
    ------
    InputError
        Another run is alive. A run that was killed is not, and holds nothing.
    """
    path = ROOT / "_build" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = path.read_text().strip() or "unknown"
        raise InputError(
            f"Another run is alive here (process {owner}): wait for its end, or stop it."
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    os.set_inheritable(handle, True)
