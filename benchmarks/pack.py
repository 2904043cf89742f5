"""How much faster packing is than wfdb.rdsamp, and how much slower opening than pd.read_csv: one core, one run.

    python -m benchmarks.pack data/ptbxl [--rate 100] [--records 300]
    python -m benchmarks.pack runs/demo/release

Both read files that were read once before (page cache warm). Packing is single-threaded and includes
header parsing, checksums and writing the memory map; it starts from an opened release.
wfdb only reads. Opening also checks every cell and parses each record's statements. Also prints the
records per second of the packed array through `signals.prepare`.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import wfdb

from ecgrepro import ROOT
from ecgrepro.data import Release, open_release, pack, signals
from ecgrepro.data.ptbxl import DATABASE
from ecgrepro.errors import InputError

REPEATS = 5


def measure(actions: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the shortest wall and CPU times in seconds; turns alternate, so that load hits all alike."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(REPEATS):
        for name, action in actions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            action()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (min(w for w, _ in seen), min(c for _, c in seen)) for name, seen in times.items()
    }


def prepare_batch(rate: int, batch: int) -> Callable[[], object]:
    """Return a call of `signals.prepare` on a batch of random records."""
    shape = (batch, len(signals.LEADS), 10 * rate)
    adu = np.random.default_rng(0).integers(-2000, 2000, size=shape).astype(np.int16)
    return lambda: signals.prepare(adu, rate)


def main() -> int:
    """Print the speeds and the ratios; the exit status is 1 where one is not as wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path, nargs="?", default=ROOT / "runs/demo/release")
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--records", type=int, default=300, help="records that wfdb reads")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        release = open_release(given.release, given.rate)
        rows = len(release.index)
        names = release.index[release.path_column]
        there = [(release.path / f"{name}.hea").is_file() for name in names]
        release = replace(release, index=release.index[there])
        with tempfile.TemporaryDirectory() as folder:
            times, n = compare(release, Path(folder), given.records)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sample = min(given.records, n)
    print(f"one core, page cache warm, best of {REPEATS}, {given.rate} Hz, 12 leads, 10 s")
    print("                   records/s    records/s of CPU time")
    for name, count in (
        ("wfdb.rdsamp", sample),
        ("pack", n),
        ("prepare 64", 64),
        ("prepare 128", 128),
    ):
        wall, cpu = times[name]
        print(f"{name:<16s} {count / wall:11,.0f} {count / cpu:14,.0f}   ({count:,} records)")
    (_, plain), (_, ours) = times["pd.read_csv"], times["open_release"]
    print(
        f"pd.read_csv {plain:.3f} s, open_release {ours:.3f} s of CPU time for the csv's {rows:,} rows"
    )
    print(
        f"{'open : read_csv':<16s} {ours / plain:11.1f}   (wanted: 1.5 or less for 10,000 rows or more)"
    )
    ratios = [n / times["pack"][i] / (sample / times["wfdb.rdsamp"][i]) for i in (0, 1)]
    print(f"{'pack : wfdb':<16s} {ratios[0]:11.1f} {ratios[1]:14.1f}   (wanted: 20 or more)")
    return int(ratios[0] < 20 or (rows >= 10_000 and ours > 1.5 * plain))


def compare(
    release: Release, folder: Path, records: int
) -> tuple[dict[str, tuple[float, float]], int]:
    """Return the times of all actions, and how many records a pack holds."""
    n = len(pack(release, folder / "first", progress=False).ecg_ids)
    paths = [str(release.path / name) for name in release.index[release.path_column][:records]]
    numbers = itertools.count()
    times = measure(
        {
            "wfdb.rdsamp": lambda: [wfdb.rdsamp(path) for path in paths],
            "pd.read_csv": lambda: pd.read_csv(release.path / DATABASE),
            "open_release": lambda: open_release(release.path, release.rate),
            "pack": lambda: pack(release, folder / str(next(numbers)), progress=False),
            "prepare 64": prepare_batch(release.rate, 64),
            "prepare 128": prepare_batch(release.rate, 128),
        }
    )
    return times, n


if __name__ == "__main__":
    sys.exit(main())
