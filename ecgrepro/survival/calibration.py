"""Do predicted probabilities come true: observed over expected, slope, and curves."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.curves import kaplan_meier, survival_at
from ecgrepro.survival.inputs import (
    BoolArray,
    FloatArray,
    check_horizons,
    check_probabilities,
    check_survival,
    check_vector,
)
from ecgrepro.survival.regression import cox_newton

FEWEST_EVENTS = 10
"""Events before the horizon below which a slope or a curve says nothing."""


@dataclass(frozen=True)
class Calibration:
    """How predictions at one horizon compare with what was observed.

    Attributes
    ----------
    horizon, n, events
        Time, patients, events up to that time.
    observed, expected
        Kaplan-Meier probability of the event by the horizon, and the mean prediction.
    ratio, ratio_low, ratio_high
        Observed over expected with its interval (that of the Kaplan-Meier estimate); 1 is ideal, above 1 the model
        predicts too little.
    slope, slope_low, slope_high
        Cox coefficient of the predicted log cumulative hazard; 1 is ideal, below 1 predictions are too extreme.
    ici
        Integrated calibration index: mean absolute difference between prediction and smooth curve.
    groups
        Quantile groups of prediction: ``group``, ``n``, ``events``, ``expected``, ``observed``, ``low``, ``high``
        (NaN where follow-up in a group ends before the horizon).
    curve
        Smooth curve: ``expected``, ``observed``, at 100 values over the range of prediction.
    """

    horizon: float
    n: int
    events: int
    observed: float
    expected: float
    ratio: float
    ratio_low: float
    ratio_high: float
    slope: float
    slope_low: float
    slope_high: float
    ici: float
    groups: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)


def breslow_survival(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    new_risk: npt.ArrayLike,
    horizons: npt.ArrayLike,
) -> FloatArray:
    """Turn log risks into survival probabilities with Breslow's baseline hazard.

    Parameters
    ----------
    time, event, risk
        Outcome and log risk (linear predictor) of the training patients, shape (n,).
    new_risk
        Log risks from the same model, shape (m,).
    horizons
        Ascending, shape (k,), inside the training patients' follow-up.

    Returns
    -------
    float64 array (m, k)
        Probability of no event up to each horizon.
    """
    times, events = check_survival(time, event)
    risks, new = check_vector(risk, "risk", len(times)), check_vector(new_risk, "new_risk")
    reads = check_horizons(horizons, times)
    shift = risks.max()  # a log risk is defined up to a constant, so that no exponential overflows
    steps = np.unique(times[events])
    order = np.argsort(times)
    tail = np.cumsum(np.exp(risks[order] - shift)[::-1])[::-1]
    at_risk = tail[np.searchsorted(times[order], steps, side="left")]
    died = np.bincount(np.searchsorted(steps, times[events]), minlength=len(steps))
    hazard = np.r_[0.0, np.cumsum(died / at_risk)][np.searchsorted(steps, reads, side="right")]
    with np.errstate(over="ignore", invalid="ignore"):
        cumulative = np.where(hazard > 0, hazard * np.exp(new - shift)[:, None], 0.0)
    return np.exp(-cumulative)


def calibration_at(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    predicted: npt.ArrayLike,
    horizon: float,
    n_groups: int = 5,
    level: float = 0.95,
) -> Calibration:
    """Compare predicted probabilities of the event by `horizon` with what was observed.

    Parameters
    ----------
    time, event
        Shape (n,).
    predicted
        Probability of the event up to the horizon, shape (n,), between 0 and 1 (one minus a survival
        probability).
    horizon
        A time inside follow-up.
    n_groups
        Quantile groups for the grouped comparison.
    level
        Level of the intervals.

    Raises
    ------
    InputError
        If the horizon lies outside follow-up, a prediction is not a probability, all predictions are equal, or
        fewer than 10 events fall before the horizon.

    Notes
    -----
    Slope and smooth curve follow Austin, Harrell, van Klaveren (2020), Stat Med 39: 2714-2742: Cox regression of
    the outcome, followed to the horizon, on log(-log(1-predicted)), linear for the slope and a restricted cubic
    spline with three knots for the curve. Predictions are kept between 1e-8 and 1 - 1e-8 for the logarithm.
    """
    times, events = check_survival(time, event)
    at = float(check_horizons([horizon], times)[0])
    probability = check_probabilities(predicted, len(times))
    until, seen = np.minimum(times, at), events & (times <= at)
    if seen.sum() < FEWEST_EVENTS:
        raise InputError(
            f"{int(seen.sum())} events fall before {at:g}: calibration needs at least {FEWEST_EVENTS}, "
            "so choose a later horizon."
        )
    if np.ptp(probability) < 1e-12:
        raise InputError("All predictions are equal: a calibration slope does not exist.")

    overall = kaplan_meier(times, events, at=[at], level=level).iloc[0]
    observed, expected = 1 - overall["survival"], float(probability.mean())
    log_hazard = _log_cumulative_hazard(probability)
    coefficient, error = cox_newton(log_hazard[:, None], until, seen, ridge=0.0)
    reach = stats.norm.ppf(0.5 + level / 2) * error[0]
    grid = np.linspace(probability.min(), probability.max(), 100)
    smooth = _smooth_observed(until, seen, probability, np.r_[probability, grid])
    return Calibration(
        horizon=at,
        n=len(times),
        events=int(seen.sum()),
        observed=float(observed),
        expected=expected,
        ratio=float(observed / expected),
        ratio_low=float((1 - overall["high"]) / expected),
        ratio_high=float((1 - overall["low"]) / expected),
        slope=float(coefficient[0]),
        slope_low=float(coefficient[0] - reach),
        slope_high=float(coefficient[0] + reach),
        ici=float(np.abs(smooth[: len(times)] - probability).mean()),
        groups=_grouped(times, events, probability, at, n_groups, level),
        curve=pd.DataFrame({"expected": grid, "observed": smooth[len(times) :]}),
    )


def _log_cumulative_hazard(probability: FloatArray) -> FloatArray:
    """Return log(-log(1 - p)), the scale on which a Cox model is linear."""
    return np.log(-np.log1p(-np.clip(probability, 1e-8, 1 - 1e-8)))


def _spline(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Return the basis of a restricted cubic spline with three knots: x, and one cubic term (Harrell)."""
    low, middle, high = knots
    bend = np.maximum(x - low, 0) ** 3
    bend -= np.maximum(x - middle, 0) ** 3 * (high - low) / (high - middle)
    bend += np.maximum(x - high, 0) ** 3 * (middle - low) / (high - middle)
    return np.column_stack([x, bend / (high - low) ** 2])


def _smooth_observed(
    until: FloatArray, seen: BoolArray, probability: FloatArray, read: FloatArray
) -> FloatArray:
    """Return the smooth observed probability of the event by the horizon, at each prediction of `read`."""
    x, new = _log_cumulative_hazard(probability), _log_cumulative_hazard(read)
    knots = np.quantile(x, [0.1, 0.5, 0.9])
    if np.diff(knots).min() > 1e-9:
        basis, new_basis = _spline(x, knots), _spline(new, knots)
    else:  # too few distinct predictions for a bend
        basis, new_basis = x[:, None], new[:, None]
    mean, scale = basis.mean(axis=0), basis.std(axis=0)
    basis, new_basis = (basis - mean) / scale, (new_basis - mean) / scale
    coefficients, _ = cox_newton(basis, until, seen, ridge=0.0)
    # The baseline at the horizon itself: everybody is followed just past it.
    past = np.where(until == until.max(), np.nextafter(until.max(), np.inf), until)
    past[seen] = until[seen]
    survival = breslow_survival(
        past, seen, basis @ coefficients, new_basis @ coefficients, [until.max()]
    )
    return 1 - survival[:, 0]


def _grouped(
    time: FloatArray,
    event: BoolArray,
    probability: FloatArray,
    at: float,
    n_groups: int,
    level: float,
) -> pd.DataFrame:
    if not 2 <= n_groups <= len(time):
        raise InputError(
            f"n_groups is {n_groups}: give at least 2 and at most the number of patients."
        )
    # by value, not by rank: patients with one prediction stay in one group
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, n_groups + 1)[1:-1]))
    group = np.searchsorted(edges, probability, side="right")
    rows = []
    for number, label in enumerate(np.unique(group), start=1):
        member = group == label
        seen = event[member] & (time[member] <= at)
        read = survival_at(time[member], event[member], at, level)
        observed, low, high = 1 - read[0], 1 - read[2], 1 - read[1]
        expected = float(probability[member].mean())
        rows.append((number, int(member.sum()), int(seen.sum()), expected, observed, low, high))
    return pd.DataFrame(
        rows, columns=["group", "n", "events", "expected", "observed", "low", "high"]
    )
