"""Do predicted probabilities come true, and is acting on them worth it: calibration and decision curves."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.cox import breslow_survival, cox_maximum
from ecgrepro.survival.curves import (
    BoolArray,
    FloatArray,
    check_horizons,
    check_probabilities,
    check_survival,
    check_vector,
    kaplan_meier,
    survival_at,
)

FEWEST_EVENTS = 10
"""Events before the horizon below which a slope or a curve says nothing."""

GROUPS = 5
"""Groups of like prediction in which predicted and observed risk are compared."""


@dataclass(frozen=True)
class Calibration:
    """How predictions at one horizon compare with what was observed.

    Attributes
    ----------
    observed, expected
        Kaplan-Meier probability of the event by the horizon, and the mean prediction.
    ratio
        Observed over expected; 1 is ideal, above 1 the model predicts too little.
    slope
        Cox coefficient of the predicted log cumulative hazard; 1 is ideal, below 1 predictions are too extreme.
    ici
        Integrated calibration index: mean absolute difference between prediction and smooth curve.
    groups
        Quantile groups of prediction: ``group``, ``n``, ``events``, ``expected``, ``observed``, ``low``, ``high``
        (95 %; NaN where follow-up in a group ends before the horizon).
    curve
        Smooth curve: ``expected``, ``observed``, at 100 values over the range of prediction.
    """

    observed: float
    expected: float
    ratio: float
    slope: float
    ici: float
    groups: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)


def calibration_at(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    predicted: npt.ArrayLike,
    horizon: float,
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
    probability = check_probabilities(predicted, "predicted", len(times))
    until, seen = np.minimum(times, at), events & (times <= at)
    if seen.sum() < FEWEST_EVENTS:
        raise InputError(
            f"{int(seen.sum())} events fall before {at:g}: calibration needs at least {FEWEST_EVENTS}, "
            "so choose a later horizon."
        )
    if np.ptp(probability) < 1e-12:
        raise InputError("All predictions are equal: a calibration slope does not exist.")

    observed = float(1 - kaplan_meier(times, events, at=[at])["survival"].iloc[0])
    expected = float(probability.mean())
    log_hazard = _log_cumulative_hazard(probability)
    slope, _ = cox_maximum(log_hazard[:, None], until, seen, ridge=0.0)
    grid = np.linspace(probability.min(), probability.max(), 100)
    smooth = _smooth_observed(until, seen, probability, np.r_[probability, grid])
    return Calibration(
        observed=observed,
        expected=expected,
        ratio=observed / expected,
        slope=float(slope[0]),
        ici=float(np.abs(smooth[: len(times)] - probability).mean()),
        groups=_grouped(times, events, probability, at),
        curve=pd.DataFrame({"expected": grid, "observed": smooth[len(times) :]}),
    )


def net_benefit(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    predicted: npt.ArrayLike,
    horizon: float,
    thresholds: npt.ArrayLike,
) -> pd.DataFrame:
    """Return the decision curve: net benefit of treating those whose prediction reaches a threshold.

    Parameters
    ----------
    time, event, predicted, horizon
        As `calibration_at`.
    thresholds
        Probabilities between 0 and 1 (both excluded) at which one would act, shape (k,).

    Returns
    -------
    DataFrame
        ``threshold``; ``model``, ``all``, ``none``: true positives minus false positives weighted by the odds of the
        threshold, per patient; ``treated``: share at or above the threshold. NaN where follow-up of those treated
        ends before the horizon, because their outcome is then not known.

    References
    ----------
    Vickers, Cronin, Elkin, Gonen (2008). BMC Med Inform Decis Mak 8: 53 (the extension to censored data).
    """
    times, events = check_survival(time, event)
    at = float(check_horizons([horizon], times)[0])
    probability = check_probabilities(predicted, "predicted", len(times))
    cuts = check_vector(np.atleast_1d(thresholds), "thresholds")
    if ((cuts <= 0) | (cuts >= 1)).any():
        raise InputError("thresholds must lie between 0 and 1, both excluded: give probabilities.")
    rows = []
    for cut in cuts:
        treated = probability >= cut
        model = _benefit(times, events, treated, at, cut)
        everybody = _benefit(times, events, probability >= 0, at, cut)
        rows.append((cut, model, everybody, 0.0, float(treated.mean())))
    return pd.DataFrame(rows, columns=["threshold", "model", "all", "none", "treated"])


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
    coefficients, _ = cox_maximum(basis, until, seen, ridge=0.0)
    # The baseline at the horizon itself: everybody is followed just past it.
    past = np.where(until == until.max(), np.nextafter(until.max(), np.inf), until)
    past[seen] = until[seen]
    survival = breslow_survival(
        past, seen, basis @ coefficients, new_basis @ coefficients, [until.max()]
    )
    return 1 - survival[:, 0]


def _grouped(
    time: FloatArray, event: BoolArray, probability: FloatArray, at: float
) -> pd.DataFrame:
    # by value, not by rank: patients with one prediction stay in one group
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, GROUPS + 1)[1:-1]))
    group = np.searchsorted(edges, probability, side="right")
    rows = []
    for number, label in enumerate(np.unique(group), start=1):
        member = group == label
        seen = event[member] & (time[member] <= at)
        read = survival_at(time[member], event[member], at)
        observed, low, high = 1 - read[0], 1 - read[2], 1 - read[1]
        expected = float(probability[member].mean())
        rows.append((number, int(member.sum()), int(seen.sum()), expected, observed, low, high))
    return pd.DataFrame(
        rows, columns=["group", "n", "events", "expected", "observed", "low", "high"]
    )


def _benefit(
    time: FloatArray, event: BoolArray, treated: BoolArray, at: float, threshold: float
) -> float:
    """Net benefit of treating these patients; 0 where nobody is."""
    if not treated.any():
        return 0.0
    survival = survival_at(time[treated], event[treated], at)[0]
    share = treated.mean()
    return float(share * ((1 - survival) - survival * threshold / (1 - threshold)))
