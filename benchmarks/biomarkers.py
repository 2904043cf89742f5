"""Print how many ECGs are measured each second, and how far the measurements are from simulated truth.

    OMP_NUM_THREADS=1 python -m benchmarks.biomarkers [patients]

CPU time is printed too: wall time depends on what else runs.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro.biomarkers import measure_many
from ecgrepro.data.packing import open_packed, pack
from ecgrepro.data.ptbxl import open_release
from ecgrepro.simulate import write_release

PAIRS = {
    "rate (/min)": ("ventricular_rate", "heart_rate"),
    "PR (ms)": ("pr_ms", "pr_ms"),
    "QRS (ms)": ("qrs_ms", "qrs_ms"),
    "QT (ms)": ("qt_ms", "qt_ms"),
    "axis (deg)": ("qrs_axis_deg", "axis_deg"),
}


def main(n_patients: int) -> None:
    """Simulate both rates in a temporary folder, measure, and print a line each."""
    with tempfile.TemporaryDirectory() as folder:
        out = write_release(Path(folder), n_patients, seed=7, rates=(100, 500), progress=False)
        truth = pd.read_csv(out / "truth.csv").set_index("ecg_id")
        for rate in (100, 500):
            pack(open_release(out, rate=rate), out / f"packed{rate}", progress=False)
            packed = open_packed(out / f"packed{rate}")
            start, cpu = time.perf_counter(), time.process_time()
            found = measure_many(packed, progress=False)
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            n = len(found)
            print(f"{rate} Hz: {n} ECGs, {n / wall:.0f} a second, {n / cpu:.0f} a CPU second")
            for name, (ours, theirs) in PAIRS.items():
                gap = (found[ours] - truth.loc[found.index, theirs]).to_numpy()
                gap = (gap + 180) % 360 - 180 if "deg" in name else gap
                low, high = np.nanquantile(gap, [0.025, 0.975])
                print(
                    f"  {name:11} bias {np.nanmean(gap):+5.1f}, median |difference| "
                    f"{np.nanmedian(np.abs(gap)):4.1f}, 95 % {low:+.0f} to {high:+.0f}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
