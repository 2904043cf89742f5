"""Kill the book at random moments, type the same command again, and compare what it made with an undisturbed run.

Run by `make kills`, in two copies of the repository at the smoke profile. Each attempt goes on where the last one was
killed, so that the moments spread over all chapters and the rendering. Victims: the whole process group by Ctrl-C,
SIGTERM or SIGKILL, the kernel of a chapter, papermill, Snakemake. Prints a table; fails where an artefact differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from ecgrepro.artefacts import ARTEFACTS
from ecgrepro.files import sha256_file
from tests.portable import copy_repository

VICTIMS = {
    "Ctrl-C": ("", signal.SIGINT),
    "SIGTERM": ("", signal.SIGTERM),
    "kill -9 of all": ("", signal.SIGKILL),
    "kill -9 of the kernel": ("ipykernel_launcher", signal.SIGKILL),
    "kill -9 of papermill": ("bin/papermill", signal.SIGKILL),
    "kill -9 of Snakemake": ("-m snakemake", signal.SIGKILL),
}


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Type the command, in a process group of its own as a terminal does."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PROFILE": "smoke", "RUN": ""}
    log = (folder / "log.txt").open("ab")
    command = [sys.executable, "-m", "ecgrepro.book", "book"]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def kill(process: "subprocess.Popen[bytes]", victim: str) -> str:
    """Send the signal; return which chapters were running."""
    name, number = VICTIMS[victim]
    family = psutil.Process(process.pid).children(recursive=True)
    lines = {child: " ".join(child.cmdline()) for child in family if child.is_running()}
    chapters = {w for line in lines.values() for w in line.split() if w.startswith("notebooks/")}
    if not name:
        os.killpg(process.pid, number)
    elif name in " ".join(psutil.Process(process.pid).cmdline()):
        os.kill(process.pid, number)
    else:
        for child, line in lines.items():
            if name in line:
                child.send_signal(number)
                break
    return ", ".join(sorted(Path(chapter).stem for chapter in chapters)) or "between chapters"


def wait_for_all(process: "subprocess.Popen[bytes]") -> int:
    """Wait until the command and whatever outlives it have ended."""
    status = process.wait()
    while any(
        p.info["name"] and _session(p.pid) == process.pid for p in psutil.process_iter(["name"])
    ):
        time.sleep(0.2)
    return status


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every artefact of the run."""
    run = folder / "runs" / "smoke"
    return {name: sha256_file(run / artefact.path) for name, artefact in ARTEFACTS.items()}


def main() -> int:
    """Run, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        undisturbed, disturbed = Path(first), Path(second)
        for folder in (undisturbed, disturbed):
            copy_repository(folder)
        started = time.monotonic()
        assert wait_for_all(start(undisturbed)) == 0, (undisturbed / "log.txt").read_text()
        whole = time.monotonic() - started
        print(f"undisturbed: {whole:.0f} s\n{'no.':>3} {'after':>6}  {'victim':24} while")
        for number in range(1, options.kills + 1):
            process = start(disturbed)
            moment = rng.uniform(0.02, 0.12) * whole
            try:
                process.wait(timeout=moment)
            except subprocess.TimeoutExpired:
                victim = rng.choice(list(VICTIMS))
                doing = kill(process, victim)
                status = wait_for_all(process)
                print(
                    f"{number:3} {moment:5.0f}s  {victim:24} {doing}; status {status}", flush=True
                )
            else:
                print(f"{number:3} {moment:5.0f}s  {'(had ended)':24} status {process.returncode}")
        status = wait_for_all(start(disturbed))
        print(f"once more, to the end: status {status}")
        expected, found = hashes(undisturbed), hashes(disturbed)
        different = [name for name in expected if expected[name] != found[name]]
        print(f"{len(expected) - len(different)} of {len(expected)} artefacts have the same bytes")
        print(*different, sep="\n")
        return int(bool(different) or status != 0)


if __name__ == "__main__":
    sys.exit(main())
