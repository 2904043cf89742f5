"""Checks that every survival function shares: shapes that would broadcast and values that mean nothing."""

import numpy as np
import numpy.typing as npt

from ecgrepro.errors import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def check_vector(values: npt.ArrayLike, name: str, length: int | None = None) -> FloatArray:
    """Return `values` as a finite float64 vector of shape (n,).

    Raises
    ------
    InputError
        If it is not one-dimensional, has another length, or holds NaN or infinite values. Shape (n, 1)
        is refused, never flattened: beside a vector of shape (n,) it would broadcast to (n, n).
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} is not numeric: give one number for each row.") from None
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}: give a vector of shape (n,).")
    if length is not None and len(array) != length:
        raise InputError(
            f"{name} has {len(array)} values where {length} are needed: align the rows."
        )
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise InputError(
            f"{name} has {len(bad)} values that are NaN or infinite (the first at position {bad[0]}): "
            "remove or repair these rows."
        )
    return array


def check_survival(time: npt.ArrayLike, event: npt.ArrayLike) -> tuple[FloatArray, BoolArray]:
    """Return time as float64 (n,) and event as bool (n,).

    Raises
    ------
    InputError
        If there is no row, shapes differ, a time is negative or not finite, or an event is not 0 or 1.
    """
    times = check_vector(time, "time")
    if len(times) == 0:
        raise InputError("time is empty: give at least one row.")
    if (times < 0).any():
        position = int(np.flatnonzero(times < 0)[0])
        raise InputError(
            f"time is negative at position {position}: count time from the ECG onward."
        )
    flags = check_vector(event, "event", len(times))
    if not np.isin(flags, (0.0, 1.0)).all():
        position = int(np.flatnonzero(~np.isin(flags, (0.0, 1.0)))[0])
        raise InputError(f"event is {flags[position]:g} at position {position}: use 0 or 1.")
    return times, flags == 1.0


def check_horizons(horizons: npt.ArrayLike, time: FloatArray) -> FloatArray:
    """Return ascending horizons, shape (k,), that lie inside follow-up.

    Raises
    ------
    InputError
        If there is none, they do not ascend, or one lies before the first or not before the last observed
        time: there, nobody (or everybody) has an outcome, and what is asked for is not known.
    """
    values = check_vector(np.atleast_1d(np.asarray(horizons, dtype=float)), "horizons")
    if len(values) == 0 or (np.diff(values) <= 0).any():
        raise InputError("horizons do not ascend: give each once, in order.")
    first, last = time.min(), time.max()
    outside = values[(values < first) | (values >= last)]
    if len(outside):
        raise InputError(
            f"Horizon {outside[0]:g} lies outside follow-up: times run from {first:g} to {last:g}, "
            "and a horizon must lie before the last of them."
        )
    return values


def check_probabilities(predicted: npt.ArrayLike, length: int) -> FloatArray:
    """Return predicted probabilities of the event by a horizon as float64 (n,).

    Raises
    ------
    InputError
        If there are not `length` of them, or one is not finite or not between 0 and 1.
    """
    values = check_vector(predicted, "predicted", length)
    if (values < 0).any() or (values > 1).any():
        raise InputError(
            "predicted is not between 0 and 1: give the probability of the event by the horizon, not a log risk."
        )
    return values
