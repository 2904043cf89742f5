"""Time the concordance index against scikit-survival, and the bootstrap against a plain loop.

Run: ``python benchmarks/concordance.py`` from the repository root. Prints ratios; nothing is asserted.
"""

import time
from collections.abc import Callable

import numpy as np

from ecgrepro.survival import concordance_index, resample_patients, resampled_concordance


def best_of(function: Callable[[], object], repeats: int = 3) -> float:
    """Shortest wall time of a few calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def cohort(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated whole-day times (many ties), 30 % events, a risk with signal."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    time_to_event = np.ceil(3000 * rng.exponential(np.exp(-0.7 * risk)))
    censoring = rng.integers(1, 2500, n)
    return np.minimum(time_to_event, censoring), time_to_event <= censoring, risk


def main() -> None:
    """Print one line a size."""
    from sksurv.metrics import concordance_index_censored

    print("concordance index, one call")
    for n in (1_000, 20_000, 100_000):
        times, events, risk = cohort(n)
        ours = best_of(lambda: concordance_index(times, events, risk))  # noqa: B023
        line = f"  n = {n:>7,}: {ours * 1000:8.1f} ms"
        if n <= 20_000:
            theirs = best_of(lambda: concordance_index_censored(events, times, risk), 1)  # noqa: B023
            line += f"; scikit-survival {theirs * 1000:8.1f} ms = {theirs / ours:5.1f} x"
        print(line)

    print("interval by bootstrap of patients")
    for n, resamples in ((600, 500), (11_575, 1000)):
        times, events, risk = cohort(n)
        start = time.perf_counter()
        sample = resample_patients(times, events, None, resamples)
        interval = resampled_concordance(sample, {"risk": risk})["risk"].interval()
        wall = time.perf_counter() - start
        each = best_of(lambda: concordance_index(times, events, risk))  # noqa: B023
        print(
            f"  n = {n:>6,}, {int(events.sum()):,} events, {resamples} resamples: {wall:5.2f} s; "
            f"a loop of single calls would take {resamples * each:6.2f} s = {resamples * each / wall:4.1f} x; "
            f"C = {interval.estimate:.3f} ({interval.low:.3f} to {interval.high:.3f})"
        )


if __name__ == "__main__":
    main()
