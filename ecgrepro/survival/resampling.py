"""Intervals from resampling: bootstrap by patient, and paired differences between models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.concordance import TIED_TOLERANCE, concordance_index
from ecgrepro.survival.inputs import FloatArray, IntArray, check_survival, check_vector

Metric = Callable[..., float]
"""A figure of merit of aligned vectors, such as ``concordance_index(time, event, risk)``."""

_CELLS = 8_000_000
"""Largest intermediate matrix of the fast path, in cells (32 MB of float32)."""


@dataclass(frozen=True)
class Interval:
    """An estimate, its interval, and what the interval rests on.

    Attributes
    ----------
    estimate
        The metric on the data as they are (or the mean over folds).
    low, high
        Limits; NaN where an interval cannot be given.
    level
        Nominal coverage.
    standard_error
        Standard deviation over resamples, or the standard error behind a t interval.
    units
        Number of patients resampled, or number of folds.
    resamples
        Resamples that gave a value; 0 where none were drawn.
    method
        In words, for a caption.
    """

    estimate: float
    low: float
    high: float
    level: float
    standard_error: float
    units: int
    resamples: int
    method: str

    def contains(self, value: float) -> bool:
        """Whether `value` lies inside the interval."""
        return self.low <= value <= self.high


def bootstrap_interval(
    metric: Metric,
    data: Sequence[npt.ArrayLike],
    groups: npt.ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return `metric(*data)` with a percentile interval from resampling whole patients.

    Parameters
    ----------
    metric
        Called with the arrays of `data`, rows resampled. `concordance_index` takes a fast path that gives
        the same values.
    data
        Aligned arrays, first axis = rows, in the order that `metric` takes them.
    groups
        Patient of each row, shape (n,): all rows of a drawn patient come along. By default each row is
        its own patient.
    n_resamples, seed, level
        Number of resamples, seed, nominal coverage.

    Raises
    ------
    InputError
        If arrays do not align, or `metric` fails on the data or on more than half of the resamples.
        (A resample without events has no C-index; it is left out and `Interval.resamples` says so.)

    Notes
    -----
    Percentile interval of the non-parametric cluster bootstrap: Davison and Hinkley (1997), Bootstrap
    Methods, section 3.8.
    """
    arrays, codes = aligned(data, groups)
    estimate = float(metric(*arrays))
    draws = draw_patients(codes.max() + 1, n_resamples, seed)
    values = _metric_over(metric, arrays, codes, draws)
    return percentile_interval(estimate, values, level, len(draws[0]), "bootstrap by patient")


def paired_difference(
    metric: Metric,
    outcome: Sequence[npt.ArrayLike],
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return `metric(*outcome, first) - metric(*outcome, second)` with a paired bootstrap interval.

    Both models are scored on the same resampled patients, so what they share cancels. Parameters and errors
    as `bootstrap_interval`; for a C-index, `outcome` is ``(time, event)`` and the models' risks follow.
    """
    arrays, codes = aligned((*outcome, first, second), groups)
    shared, one, two = arrays[:-2], arrays[-2], arrays[-1]
    estimate = float(metric(*shared, one)) - float(metric(*shared, two))
    draws = draw_patients(codes.max() + 1, n_resamples, seed)
    values = _metric_over(metric, [*shared, one], codes, draws)
    values = values - _metric_over(metric, [*shared, two], codes, draws)
    return percentile_interval(
        estimate, values, level, len(draws[0]), "paired bootstrap by patient"
    )


def aligned(
    data: Sequence[npt.ArrayLike], groups: npt.ArrayLike | None
) -> tuple[list[npt.NDArray[np.generic]], IntArray]:
    """Return the arrays, and the patient of each row as a number."""
    arrays = [np.asarray(array) for array in data]
    if not arrays or len({array.shape[:1] for array in arrays}) != 1 or arrays[0].ndim == 0:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise InputError(f"The arrays to resample have shapes {shapes}: their rows must align.")
    n = len(arrays[0])
    if n == 0:
        raise InputError("There is nothing to resample: the arrays are empty.")
    if groups is None:
        return arrays, np.arange(n)
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise InputError(
            f"groups has shape {labels.shape} where ({n},) is needed: one patient a row."
        )
    if pd.isna(labels).any():
        raise InputError("groups holds missing values: every row needs its patient.")
    return arrays, pd.factorize(labels)[0].astype(np.int64)


def draw_patients(n_patients: int, n_resamples: int, seed: int) -> npt.NDArray[np.int32]:
    """Return how often each patient is drawn, shape (n_resamples, n_patients); each row sums to n_patients."""
    if n_resamples < 1:
        raise InputError(f"n_resamples is {n_resamples}: draw at least one (1000 is usual).")
    rng = np.random.default_rng(seed)
    drawn = np.empty((n_resamples, n_patients), dtype=np.int32)
    for row in drawn:  # one resample at a time: the draws stay small, the counts are all we keep
        row[:] = np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)
    return drawn


def _metric_over(
    metric: Metric,
    arrays: Sequence[npt.NDArray[np.generic]],
    codes: IntArray,
    draws: npt.NDArray[np.int32],
) -> FloatArray:
    """Return the metric of each resample; NaN where it does not exist."""
    if metric is concordance_index and len(arrays) == 3:
        time, event, risk = arrays
        return concordance_over(time, event, [risk], codes, draws)[:, 0]
    values = np.full(len(draws), np.nan)
    for position, counts in enumerate(draws):
        rows = np.repeat(np.arange(len(codes)), counts[codes])
        try:
            values[position] = metric(*(array[rows] for array in arrays))
        except InputError:  # no events drawn, say: counted by the caller through NaN
            continue
    return values


def concordance_over(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risks: Sequence[npt.ArrayLike],
    codes: IntArray,
    draws: npt.NDArray[np.int32],
) -> FloatArray:
    """C-index of all resamples at once, one column a risk score; NaN where no pair is comparable.

    With w the number of times that each row was drawn, the pairs of a resample are w'Nw concordant (ties
    one half) of w'Dw comparable, where N and D say which pairs of the original rows are. Two draws of one
    row share time and event, so they are never comparable, and the identity is exact.
    """
    times, events = check_survival(time, event)
    scores = [check_vector(risk, "risk", len(times)) for risk in risks]
    n, rows = len(times), np.flatnonzero(events)
    won, comparable = np.zeros((len(scores), len(draws))), np.zeros(len(draws))
    block = max(1, _CELLS // n)
    for first in range(0, len(draws), block):
        weights = draws[first : first + block][:, codes].astype(np.float32)
        for start in range(0, len(rows), block):
            at = rows[start : start + block]
            later = (times > times[at, None]) | ((times == times[at, None]) & ~events)
            comparable[first : first + block] += _pairs_drawn(weights, at, later)
            for score, total in zip(scores, won, strict=True):
                gap = score[at, None] - score
                order = (gap > TIED_TOLERANCE) + 0.5 * (np.abs(gap) <= TIED_TOLERANCE)
                total[first : first + block] += _pairs_drawn(weights, at, order * later)
    missing = np.full(won.shape, np.nan)
    return np.divide(won, comparable, out=missing, where=comparable > 0).T


def _pairs_drawn(
    weights: npt.NDArray[np.float32], at: IntArray, matrix: npt.NDArray[np.generic]
) -> FloatArray:
    """Sum the matrix over its pairs, each as often as a resample holds it; shape (resamples,)."""
    # Products are whole or half numbers far below 2^23, hence exact in float32.
    product = weights[:, at] @ matrix.astype(np.float32)
    return np.einsum("ij,ij->i", product, weights, dtype=np.float64)


def percentile_interval(
    estimate: float, values: FloatArray, level: float, units: int, method: str
) -> Interval:
    kept = values[~np.isnan(values)]
    if len(kept) * 2 < len(values):
        raise InputError(
            f"The metric failed on {len(values) - len(kept)} of {len(values)} resamples: "
            "there are too few events for an interval."
        )
    low, high = np.quantile(kept, [0.5 - level / 2, 0.5 + level / 2])
    error = float(kept.std(ddof=1)) if len(kept) > 1 else float("nan")
    return Interval(estimate, float(low), float(high), level, error, units, len(kept), method)
