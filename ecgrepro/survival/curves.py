"""Kaplan-Meier and competing risks; and what every survival file shares: guards at the door, and `Interval`."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import CumIncidenceRight

from ecgrepro.errors import InputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its limits; NaN where an interval cannot be given."""

    estimate: float
    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether `value` lies inside the interval."""
        return self.low <= value <= self.high


def kaplan_meier(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    at: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the Kaplan-Meier curve with its interval and the numbers at risk.

    Parameters
    ----------
    time, event
        Follow-up time and 0/1 event, shape (n,).
    at
        Times at which to read the curve, ascending; by default 0 and every distinct time.
    level
        Level of the pointwise interval.

    Returns
    -------
    DataFrame
        ``time``; ``at_risk``: patients under observation just before `time` (their own time is at least
        `time`), the convention of R's ``survfit``; ``events`` and ``censored`` since the row before (up to
        and including `time`); ``survival``; ``low``, ``high``: Greenwood variance on the log-log scale,
        which keeps the interval inside [0, 1]. Where the curve is 1 the interval is [1, 1], where it is 0
        the interval does not exist and is NaN.

    Raises
    ------
    InputError
        If an entry of `at` lies outside follow-up, where the curve is not known.
    """
    times, events = check_survival(time, event)
    read = np.unique(np.r_[0.0, times]) if at is None else check_vector(np.atleast_1d(at), "at")
    if (np.diff(read) <= 0).any():
        raise InputError("at is not ascending: give each time once, in order.")
    outside = read[(read < 0) | (read > times.max())]
    if len(outside):
        raise InputError(
            f"Time {outside[0]:g} lies outside follow-up (0 to {times.max():g}): the curve is not known there."
        )
    curve = stats.ecdf(stats.CensoredData.right_censored(times, ~events)).sf
    with warnings.catch_warnings():  # where the curve is 1 or 0, of which the docstring speaks
        warnings.simplefilter("ignore", RuntimeWarning)
        limits = curve.confidence_interval(level, method="log-log")
    row = np.searchsorted(curve.quantiles, read, side="right")
    survival, low, high = (
        np.r_[1.0, line.probabilities][row] for line in (curve, limits.low, limits.high)
    )
    for limit in (low, high):
        limit[survival == 1], limit[survival == 0] = 1.0, np.nan

    def gained(moments: FloatArray) -> IntArray:
        return np.diff(np.searchsorted(np.sort(moments), read, side="right"), prepend=0)

    return pd.DataFrame(
        {
            "time": read,
            "at_risk": _at_risk(times, read),
            "events": gained(times[events]),
            "censored": gained(times[~events]),
            "survival": survival,
            "low": low,
            "high": high,
        }
    )


def survival_at(time: npt.ArrayLike, event: npt.ArrayLike, at: float) -> tuple[float, float, float]:
    """Return the Kaplan-Meier survival at one time, with its 95 % interval, of a group that may end early.

    Parameters
    ----------
    time, event
        As `kaplan_meier`.
    at
        One time; unlike there, it may lie after the group's last.

    Returns
    -------
    survival, low, high
        NaN where follow-up ends before `at` with somebody event-free: the curve is not known there.
    """
    curve = kaplan_meier(time, event)
    if curve["time"].max() < at and curve["survival"].iloc[-1] > 0:
        return float("nan"), float("nan"), float("nan")
    row = curve.loc[curve["time"] <= at].iloc[-1]
    return float(row["survival"]), float(row["low"]), float(row["high"])


def cumulative_incidence(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    competing: npt.ArrayLike,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the Aalen-Johansen cumulative incidence of `event`, and of the competing event.

    One minus Kaplan-Meier, with the competing event taken as censoring, would count those who died of something
    else as if they could still have the event, and is always too high.

    Parameters
    ----------
    time
        Shape (n,).
    event, competing
        0/1, shape (n,); no patient has both.

    Returns
    -------
    DataFrame
        ``time`` (0 and every distinct time), ``at_risk`` (just before), ``event``, ``competing`` (cumulative
        incidences), ``low``, ``high`` (interval of ``event``: delta-method variance on the log-log scale;
        NaN where nobody is left).

    References
    ----------
    Aalen (1978), Ann Stat 6: 534-545; variance: Dinse, Larson (1986), Biometrika 73: 379-386, as in statsmodels.
    """
    times, events = check_survival(time, event)
    rivals = check_flags(competing, "competing", len(times))
    if (events & rivals).any():
        raise InputError("A patient has both the event and the competing event: keep the first.")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = CumIncidenceRight(times, np.select([events, rivals], [1, 2], 0))
        nobody = np.zeros(len(found.times))  # a cause that nobody had has no line of its own
        own, rival = [*found.cinc, nobody, nobody][:2]
        error = [*found.cinc_se, nobody][0]
        # 1 - F on the log-log scale would not respect small F: the transformation acts on F itself
        reach = stats.norm.ppf(0.5 + level / 2) * error / (own * np.abs(np.log(own)))
        low, high = (np.where(own > 0, own ** np.exp(side * reach), 0.0) for side in (1, -1))
    steps = np.unique(np.r_[0.0, times])
    row = np.searchsorted(found.times, steps, side="right")
    columns = {"event": own, "competing": rival, "low": low, "high": high}
    table = {name: np.r_[0.0, values][row] for name, values in columns.items()}
    return pd.DataFrame({"time": steps, "at_risk": _at_risk(times, steps), **table})


def _at_risk(time: FloatArray, at: FloatArray) -> IntArray:
    return len(time) - np.searchsorted(np.sort(time), at, side="left")


# ---- guards: shapes that would broadcast, values that mean nothing


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
    negative = np.flatnonzero(times < 0)
    if len(negative):
        raise InputError(
            f"time is negative at position {negative[0]}: count time from the ECG onward."
        )
    return times, check_flags(event, "event", len(times))


def check_flags(values: npt.ArrayLike, name: str, length: int | None = None) -> BoolArray:
    """Return 0/1 values as bool (n,); anything else is an `InputError`."""
    flags = check_vector(values, name, length)
    other = np.flatnonzero((flags != 0) & (flags != 1))
    if len(other):
        raise InputError(f"{name} is {flags[other[0]]:g} at position {other[0]}: use 0 or 1.")
    return flags == 1


def check_labels(values: npt.ArrayLike, length: int) -> npt.NDArray[np.object_]:
    """Return the group or patient of each row; a missing one is an `InputError`."""
    labels = np.asarray(values, dtype=object)
    if labels.shape != (length,):
        raise InputError(
            f"groups has shape {labels.shape} where ({length},) is needed: align the rows."
        )
    if pd.isna(labels).any():
        raise InputError("groups holds missing values: every row needs its own.")
    return labels


def check_horizons(horizons: npt.ArrayLike, time: FloatArray) -> FloatArray:
    """Return ascending horizons, shape (k,), that lie inside follow-up.

    Raises
    ------
    InputError
        If there is none, they do not ascend, or one lies before the first or not before the last observed
        time: there, nobody (or everybody) has an outcome, and what is asked for is not known.
    """
    values = check_vector(np.atleast_1d(horizons), "horizons")
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


def check_probabilities(values: npt.ArrayLike, name: str, length: int) -> FloatArray:
    """Return probabilities of the event as float64 (n,); outside [0, 1] is an `InputError`."""
    array = check_vector(values, name, length)
    if ((array < 0) | (array > 1)).any():
        raise InputError(f"{name} is not between 0 and 1: give probabilities, not a log risk.")
    return array
