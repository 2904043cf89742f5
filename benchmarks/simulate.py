"""Print how many simulated records are written each second, csv tables included.

    OMP_NUM_THREADS=1 python -m benchmarks.simulate [patients]

Wall time depends on the disk and on what else runs; CPU time much less.
"""

import sys
import tempfile
import time
from pathlib import Path

from ecgrepro.simulate import write_release
from ecgrepro.simulate.disease import scales
from ecgrepro.simulate.outcomes import severity_from_codes


def main(n_patients: int) -> None:
    """Write releases at both rates into a temporary folder and print records/s."""
    scales()  # calibrated once for each process, not for each release
    severity_from_codes({})
    for rate in (100, 500):
        with tempfile.TemporaryDirectory() as folder:
            start, cpu = time.perf_counter(), time.process_time()
            out = write_release(Path(folder), n_patients, seed=1, rates=(rate,), progress=False)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            records = sum(1 for _ in out.glob("records*/*/*.dat"))
        print(
            f"{rate} Hz: {records} records in {seconds:.1f} s = {records / seconds:.0f} records/s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
