"""Measures weighted by the inverse probability of censoring: Uno's C, AUC over time, Brier scores."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.concordance import TIED_TOLERANCE, pairs_by_event
from ecgrepro.survival.curves import kaplan_meier
from ecgrepro.survival.inputs import (
    BoolArray,
    FloatArray,
    check_horizons,
    check_survival,
    check_vector,
)

Outcome = tuple[npt.ArrayLike, npt.ArrayLike]
"""(time, event) of the patients from whom the censoring distribution is learned."""


def censoring_survival(time: npt.ArrayLike, event: npt.ArrayLike, at: npt.ArrayLike) -> FloatArray:
    """Return G(t), the probability of not yet being censored at each time of `at`.

    Kaplan-Meier with the roles of event and censoring exchanged; at equal times events come first, so those who
    had the event are no longer at risk of being censored.

    Raises
    ------
    InputError
        If a time of `at` lies after the last observed one and G has not reached 0 there.
    """
    times, events = check_survival(time, event)
    read = check_vector(at, "at")
    steps = np.unique(times)
    total = np.bincount(np.searchsorted(steps, times), minlength=len(steps))
    had_event = np.bincount(np.searchsorted(steps, times[events]), minlength=len(steps))
    at_risk = len(times) - np.r_[0, np.cumsum(total)[:-1]] - had_event
    share = np.divide(total - had_event, at_risk, out=np.zeros(len(steps)), where=at_risk > 0)
    survival = np.cumprod(1.0 - share)
    if survival[-1] > 0 and (read > steps[-1]).any():
        raise InputError(
            f"Time {read.max():g} lies after the last one ({steps[-1]:g}) of the patients from whom censoring "
            "is learned: restrict the horizon."
        )
    # After the last observed time only G = 0 remains possible, and the last step already is 0.
    return np.r_[1.0, survival][np.searchsorted(steps, read, side="right")]


def uno_concordance(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizon: float | None = None,
    train: Outcome | None = None,
    tied_tolerance: float = TIED_TOLERANCE,
) -> float:
    """Return Uno's C, whose limit does not depend on how patients are censored.

    Parameters
    ----------
    time, event, risk
        As `ecgrepro.survival.concordance_index`.
    horizon
        Only events before this time count. Without it, late events among the last few patients at risk may carry
        very large weights.
    train
        (time, event) from which censoring is learned; by default the data themselves.

    Raises
    ------
    InputError
        If no pair is comparable, or an event has weight 1/0.

    References
    ----------
    Uno, Cai, Pencina, D'Agostino, Wei (2011). Stat Med 30: 1105-1117.
    """
    times, events = check_survival(time, event)
    risks = check_vector(risk, "risk", len(times))
    rows, concordant, tied, comparable = pairs_by_event(times, events, risks, tied_tolerance)
    early = np.ones(len(rows), dtype=bool) if horizon is None else times[rows] < horizon
    if comparable[early].sum() == 0:
        raise InputError("No two patients are comparable before the horizon: choose a later one.")
    weights = _inverse(times[rows][early], train or (times, events)) ** 2
    won = (weights * (concordant + 0.5 * tied)[early]).sum()
    return float(won / (weights * comparable[early]).sum())


def auc_over_time(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    horizons: npt.ArrayLike,
    train: Outcome | None = None,
) -> pd.DataFrame:
    """Return the cumulative/dynamic AUC: events up to a horizon against those without an event beyond it.

    Parameters
    ----------
    time, event
        Shape (n,).
    risk
        Shape (n,), or (n, k) with one score a horizon; higher means an earlier event.
    horizons
        Ascending, shape (k,), inside follow-up.
    train
        As `uno_concordance`.

    Returns
    -------
    DataFrame
        ``time``, ``auc``, ``cases`` (events up to the horizon), ``controls`` (observed beyond it). Without any
        case, ``auc`` is NaN.

    References
    ----------
    Uno, Cai, Tian, Wei (2007). J Am Stat Assoc 102: 527-537; Hung, Chiang (2010). Can J Stat 38: 8-26.
    """
    times, events = check_survival(time, event)
    reads = check_horizons(horizons, times)
    scores = _by_horizon(risk, "risk", len(times), len(reads))
    rows = []
    for column, horizon in enumerate(reads):
        cases, controls = events & (times <= horizon), times > horizon
        auc = float("nan")
        if cases.any():
            weights = _inverse(times[cases], train or (times, events))
            ladder = np.sort(scores[controls, column])
            score = scores[cases, column]
            below = np.searchsorted(ladder, score - TIED_TOLERANCE, side="left")
            up_to = np.searchsorted(ladder, score + TIED_TOLERANCE, side="right")
            auc = float((weights * (below + up_to) / 2).sum() / (weights.sum() * len(ladder)))
        rows.append((horizon, auc, int(cases.sum()), int(controls.sum())))
    return pd.DataFrame(rows, columns=["time", "auc", "cases", "controls"])


def mean_auc(table: pd.DataFrame, time: npt.ArrayLike, event: npt.ArrayLike) -> float:
    """Average the AUC over its horizons, each weighted by the share of events that fall to it.

    Parameters
    ----------
    table
        From `auc_over_time` on the patients of `time` and `event`.

    References
    ----------
    Lambert, Chevret (2014). Stat Methods Med Res 25: 2088-2102.
    """
    if len(table) == 1:
        return float(table["auc"].iloc[0])
    survival = kaplan_meier(time, event, at=table["time"])["survival"].to_numpy()
    weights = -np.diff(np.r_[1.0, survival])
    used = weights > 0  # horizons before the first event have no AUC and no weight
    if not used.any():
        raise InputError("No event falls before the last horizon: there is nothing to average.")
    return float((table["auc"].to_numpy()[used] * weights[used]).sum() / (1.0 - survival[-1]))


def brier_score(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    survival: npt.ArrayLike,
    horizons: npt.ArrayLike,
    train: Outcome | None = None,
) -> pd.DataFrame:
    """Return the Brier score at each horizon, and how much of the reference it takes away.

    Parameters
    ----------
    time, event
        Shape (n,).
    survival
        Predicted probability of no event up to each horizon, shape (n, k), or (n,) for one horizon. Not a risk.
    horizons
        Ascending, shape (k,), inside follow-up.
    train
        As `uno_concordance`.

    Returns
    -------
    DataFrame
        ``time``; ``brier``: mean squared error weighted for censoring (0 is perfect); ``reference``: the same for
        a prediction that ignores covariates (the Kaplan-Meier curve of the data); ``scaled``: 1 - brier/reference,
        0 for no gain, negative for harm (the index of prediction accuracy).

    References
    ----------
    Graf, Schmoor, Sauerbrei, Schumacher (1999). Stat Med 18: 2529-2545.
    """
    times, events = check_survival(time, event)
    reads = check_horizons(horizons, times)
    predicted = _by_horizon(survival, "survival", len(times), len(reads))
    if (predicted < 0).any() or (predicted > 1).any():
        raise InputError(
            "survival is not between 0 and 1: give probabilities of no event, not risks."
        )
    learned = train or (times, events)
    curve = kaplan_meier(times, events, at=reads)["survival"].to_numpy()
    rows = []
    for column, horizon in enumerate(reads):
        cases, controls = events & (times <= horizon), times > horizon
        weights = np.zeros(len(times))
        weights[cases] = _inverse(times[cases], learned)
        weights[controls] = _inverse(np.array([horizon]), learned)[0]
        score = _weighted_error(predicted[:, column], cases, controls, weights)
        reference = _weighted_error(np.full(len(times), curve[column]), cases, controls, weights)
        scaled = 1 - score / reference if reference > 0 else float("nan")
        rows.append((horizon, score, reference, scaled))
    return pd.DataFrame(rows, columns=["time", "brier", "reference", "scaled"])


def integrated_brier_score(table: pd.DataFrame, column: str = "brier") -> float:
    """Average a column of `brier_score` over its horizons by the trapezoidal rule.

    Raises
    ------
    InputError
        If there are fewer than two horizons.
    """
    if len(table) < 2:
        raise InputError("An integrated Brier score needs at least two horizons.")
    times = table["time"].to_numpy()
    return float(np.trapezoid(table[column].to_numpy(), times) / (times[-1] - times[0]))


def _inverse(at: FloatArray, learned: Outcome) -> FloatArray:
    """Return 1 / G(t); a weight that does not exist is an error."""
    probability = censoring_survival(*learned, at)
    if (probability <= 0).any():
        raise InputError(
            f"At time {at[probability <= 0].min():g} everybody left is censored, so its weight is 1/0: "
            "choose an earlier horizon."
        )
    return 1.0 / probability


def _by_horizon(values: npt.ArrayLike, name: str, rows: int, columns: int) -> FloatArray:
    """Return the values as (rows, columns), one column copied where all horizons share it."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1 and (columns == 1 or name == "risk"):
        array = np.repeat(array[:, None], columns, axis=1)
    if array.shape != (rows, columns):
        raise InputError(f"{name} has shape {array.shape} where ({rows}, {columns}) is needed.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or infinite values: remove or repair these rows.")
    return array


def _weighted_error(
    survival: FloatArray, cases: BoolArray, controls: BoolArray, weights: FloatArray
) -> float:
    return float(np.mean(weights * (survival**2 * cases + (1 - survival) ** 2 * controls)))
