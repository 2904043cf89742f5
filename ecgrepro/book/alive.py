"""One `make` at a time is at work in a clone, and what it started ends with it.

The locks are the operating system's (flock): they end with the processes that hold them, however these end, so none
is ever removed by hand. `make` holds one alone; every chapter that it runs holds another together with the rest.
The next `make` needs both, so it never writes beside a chapter that outlived a kill. Such a chapter ends itself
within a second: its kernel watches the process that `make` started.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ecgrepro import ROOT
from ecgrepro.errors import InputError

RUNS = ROOT / "runs"
MAKE = "ECGREPRO_MAKE"
"""Environment variable with the process that a chapter must not outlive; unset where one is run by hand."""

_held: list[IO[str]] = []


@contextmanager
def only_one(folder: Path, patience: float = 60.0) -> Iterator[int]:
    """Hold the locks of `folder`, or refuse in one line.

    Parameters
    ----------
    folder
        Where the lock files lie.
    patience
        Seconds to wait for what a `make` that is gone has left behind.

    Yields
    ------
    int
        File descriptor of the lock, for a child that counts as alive after this process is gone.

    Raises
    ------
    InputError
        Another `make` is at work, or what it left behind does not end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock, (folder / ".chapters").open("a+") as chapters:
        _take(lock, patience)
        _take(chapters, patience)
        fcntl.flock(chapters, fcntl.LOCK_UN)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()


def end_with_make(folder: Path | None = None) -> None:
    """End this process within a second once the `make` that started it, or its own parent, is gone."""
    if MAKE not in os.environ or _held:
        return
    make, parent = int(os.environ[MAKE]), os.getppid()

    def watch() -> None:
        while os.getppid() == parent and _alive(make):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    folder = folder or RUNS
    folder.mkdir(parents=True, exist_ok=True)
    _held.append((folder / ".chapters").open("a+"))
    fcntl.flock(_held[0], fcntl.LOCK_SH)


def _take(lock: IO[str], patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read()
        if holder and _alive(int(holder)):
            raise InputError(
                f"Another make (process {holder}) is at work in this folder: "
                f"wait for it, or stop it with `kill {holder}`."
            )
        if time.monotonic() > deadline:
            raise InputError(
                f"What a make that was stopped has left behind is still at work (`fuser {lock.name}` names it): "
                "wait for it, or stop it."
            )
        time.sleep(0.2)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
