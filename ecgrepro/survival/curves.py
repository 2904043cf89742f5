"""Kaplan-Meier curves with numbers at risk, the log-rank test, and hazard ratios."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import FloatArray, check_survival, check_vector
from ecgrepro.survival.regression import cox_newton


@dataclass(frozen=True)
class LogRank:
    """Result of a log-rank test."""

    statistic: float
    degrees_of_freedom: int
    p_value: float


@dataclass(frozen=True)
class HazardRatio:
    """A hazard ratio with its interval, and what it rests on."""

    label: str
    ratio: float
    low: float
    high: float
    p_value: float
    level: float
    n: int
    events: int


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
    read = np.unique(np.r_[0.0, times]) if at is None else _check_horizons(at, times.max())
    curve = stats.ecdf(stats.CensoredData.right_censored(times, ~events)).sf
    with warnings.catch_warnings():  # scipy warns where the curve is 1 or 0, of which the docstring speaks
        warnings.simplefilter("ignore", RuntimeWarning)
        limits = curve.confidence_interval(level, method="log-log")
    survival, low, high = (
        np.r_[1.0, line.probabilities][np.searchsorted(curve.quantiles, read, side="right")]
        for line in (curve, limits.low, limits.high)
    )

    def gained(moments: FloatArray) -> npt.NDArray[np.int64]:
        return np.diff(np.searchsorted(np.sort(moments), read, side="right"), prepend=0)

    known = np.select([survival == 1, survival == 0], [1.0, np.nan], 0.0)
    return pd.DataFrame(
        {
            "time": read,
            "at_risk": _still_at_risk(times, read),
            "events": gained(times[events]),
            "censored": gained(times[~events]),
            "survival": survival,
            "low": np.where(known == 0, low, known),
            "high": np.where(known == 0, high, known),
        }
    )


def survival_at(
    time: npt.ArrayLike, event: npt.ArrayLike, at: float, level: float = 0.95
) -> tuple[float, float, float]:
    """Return the Kaplan-Meier survival at one time, with its interval, of a group that may end early.

    Parameters
    ----------
    time, event, level
        As `kaplan_meier`.
    at
        One time; unlike there, it may lie after the group's last.

    Returns
    -------
    survival, low, high
        NaN where follow-up ends before `at` with somebody event-free: the curve is not known there.
    """
    curve = kaplan_meier(time, event, level=level)
    if curve["time"].max() < at and curve["survival"].iloc[-1] > 0:
        return float("nan"), float("nan"), float("nan")
    row = curve.loc[curve["time"] <= at].iloc[-1]
    return float(row["survival"]), float(row["low"]), float(row["high"])


def numbers_at_risk(
    time: npt.ArrayLike, at: npt.ArrayLike, group: npt.ArrayLike | None = None
) -> pd.DataFrame:
    """Return the table that stands under a Kaplan-Meier plot: one row a group, one column a time of `at`.

    Counted just before each time (own time at least that large), as in `kaplan_meier`. Times after the
    end of follow-up give 0.
    """
    times = check_vector(time, "time")
    read = np.atleast_1d(check_vector(np.atleast_1d(np.asarray(at, dtype=float)), "at"))
    labels = np.full(len(times), "all") if group is None else _check_labels(group, len(times))
    table = {label: _still_at_risk(times[labels == label], read) for label in pd.unique(labels)}
    frame = pd.DataFrame(table, index=pd.Index(read, name="time")).T
    frame.index.name = "group"
    return frame.sort_index()


def logrank_test(time: npt.ArrayLike, event: npt.ArrayLike, group: npt.ArrayLike) -> LogRank:
    """Test whether two or more groups share one survival curve (log-rank, by statsmodels).

    Raises
    ------
    InputError
        If there is one group only, or nobody has an event.
    """
    from statsmodels.duration.survfunc import survdiff

    times, events = check_survival(time, event)
    labels = _check_labels(group, len(times))
    codes, names = pd.factorize(labels, sort=True)
    if len(names) < 2:
        raise InputError(
            f"group holds one value ({names[0]}): a log-rank test compares at least two."
        )
    if not events.any():
        raise InputError("Nobody has an event: a log-rank test has nothing to compare.")
    statistic, p_value = survdiff(times, events.astype(int), codes)
    return LogRank(float(statistic), len(names) - 1, float(p_value))


def hazard_ratio(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    covariate: npt.ArrayLike,
    reference: object | None = None,
    per_sd: bool = False,
    level: float = 0.95,
) -> HazardRatio:
    """Return the hazard ratio of one covariate (Cox regression, Efron ties, Wald interval).

    Parameters
    ----------
    time, event
        Follow-up time and 0/1 event, shape (n,).
    covariate
        Shape (n,): numbers (the ratio is per unit), or two group labels.
    reference
        Which of two values is the comparator. Needed for labels; given for numbers, it makes them labels.
    per_sd
        For numbers: give the ratio per standard deviation, so that scores on different scales compare.
    level
        Level of the interval.

    Raises
    ------
    InputError
        If the covariate is constant, a group has no events (its hazard ratio would be 0 or infinite), the
        covariate separates the events, or labels come without a reference.
    """
    times, events = check_survival(time, event)
    if not events.any():
        raise InputError("Nobody has an event: a hazard ratio cannot be estimated.")
    values, label = _design(covariate, reference, per_sd, events)
    coefficients, errors = cox_newton(values[:, None], times, events, ridge=0.0)
    slope, error = float(coefficients[0]), float(errors[0])
    reach = stats.norm.ppf(0.5 + level / 2) * error
    low, ratio, high = (float(np.exp(x)) for x in (slope - reach, slope, slope + reach))
    p_value = float(2 * stats.norm.sf(abs(slope / error)))
    return HazardRatio(label, ratio, low, high, p_value, level, len(times), int(events.sum()))


def _still_at_risk(time: FloatArray, at: FloatArray) -> npt.NDArray[np.int64]:
    return len(time) - np.searchsorted(np.sort(time), at, side="left")


def _check_horizons(at: npt.ArrayLike, end: float) -> FloatArray:
    read = check_vector(np.atleast_1d(np.asarray(at, dtype=float)), "at")
    if (np.diff(read) <= 0).any():
        raise InputError("at is not ascending: give each time once, in order.")
    outside = read[(read < 0) | (read > end)]
    if len(outside):
        raise InputError(
            f"Time {outside[0]:g} lies outside follow-up (0 to {end:g}): the curve is not known there."
        )
    return read


def _check_labels(group: npt.ArrayLike, length: int) -> npt.NDArray[np.object_]:
    labels = np.asarray(group, dtype=object)
    if labels.shape != (length,):
        raise InputError(
            f"group has shape {labels.shape} where ({length},) is needed: align the rows."
        )
    if pd.isna(labels).any():
        raise InputError("group holds missing values: give every patient a group.")
    return labels


def _design(
    covariate: npt.ArrayLike, reference: object | None, per_sd: bool, events: npt.NDArray[np.bool_]
) -> tuple[FloatArray, str]:
    """Turn the covariate into one column, and say in words what a unit of it is."""
    raw = np.asarray(covariate)
    if reference is None and raw.dtype.kind not in "biuf":
        raise InputError("covariate holds labels: say which one is the reference.")
    if reference is None:
        values = check_vector(raw, "covariate", len(events))
        if values.std() == 0:
            raise InputError("covariate is constant: there is nothing to compare.")
        if set(np.unique(values)) == {0.0, 1.0}:
            _refuse_group_without_events(values == 1.0, events, ("1", "0"))
            return values, "1 against 0"
        return (values / values.std(), "per SD") if per_sd else (values, "per unit")
    labels = _check_labels(covariate, len(events))
    names = [name for name in pd.unique(labels) if name != reference]
    if len(names) != 1 or not (labels == reference).any():
        raise InputError(
            f"covariate must hold the reference {reference!r} and one other label, not {list(pd.unique(labels))}."
        )
    member = labels == names[0]
    _refuse_group_without_events(member, events, (str(names[0]), str(reference)))
    return member.astype(np.float64), f"{names[0]} against {reference}"


def _refuse_group_without_events(
    member: npt.NDArray[np.bool_], events: npt.NDArray[np.bool_], names: tuple[str, str]
) -> None:
    for name, rows in zip(names, (member, ~member), strict=True):
        if not events[rows].any():
            raise InputError(
                f"Group {name} has no events ({int(rows.sum())} patients): its hazard ratio is 0 or infinite, "
                "so report the counts or choose another cut."
            )
