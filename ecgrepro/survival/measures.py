"""Measures of predicted risk, each written once as a function of resampling weights: the estimate is the row of ones.

Weights ``w`` have shape (r, n): how often each of n rows counts in each of r versions of the data. What cannot be
had of a version is NaN there. `resample_patients` draws once; each `resampled_*` gives the measure of several models
on the same draws, which then cancel in a difference (`combine`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.curves import (
    BoolArray,
    FloatArray,
    IntArray,
    Interval,
    check_horizons,
    check_labels,
    check_probabilities,
    check_survival,
    check_vector,
    kaplan_meier,
)

TIED_TOLERANCE = 1e-8
"""Two risks this close count as tied: the value scikit-survival uses, so that figures can be compared."""

_LIMITS = (0.025, 0.975)
"""Quantiles of the resamples that make an interval: nominal coverage 95 %."""

_CELLS = 4_000_000
"""Largest intermediate matrix, in cells (32 MB of float64)."""

Outcome = tuple[npt.ArrayLike, npt.ArrayLike]
"""(time, event) of the patients from whom the censoring distribution is learned."""


Weights = npt.NDArray[np.floating]


# ---- one value on the data as they are


def concordance_index(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    tied_tolerance: float = TIED_TOLERANCE,
) -> float:
    """Return the probability that, of two comparable patients, the one with more risk has the earlier event.

    Parameters
    ----------
    time
        Follow-up time, shape (n,), any unit.
    event
        1 where the event was seen, 0 where censored, shape (n,).
    risk
        Score, shape (n,); higher means an earlier event (log risk and hazard ratio alike, a survival
        time must be negated).
    tied_tolerance
        Risks that differ by at most this much are tied and count one half.

    Returns
    -------
    float
        1 for a perfect order, 0.5 for a constant score, 0 for the reverse.

    Raises
    ------
    InputError
        If shapes differ, a value is not finite, or no pair is comparable.

    Notes
    -----
    A pair is comparable when the earlier time is an event; at equal times, an event is comparable with a
    censored patient (who outlived it) and two events are not comparable [1]_. The same rules, and the same
    tolerance, as ``sksurv.metrics.concordance_index_censored``.

    References
    ----------
    .. [1] Harrell, Lee, Mark (1996). Multivariable prognostic models. Stat Med 15: 361-387.
    """
    times, events = check_survival(time, event)
    risks = check_vector(risk, "risk", len(times))
    value = _concordance(times, events, risks, tied_tolerance, _once(times))[0]
    return _comparable(float(value), times, events)


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
    time, event, risk, tied_tolerance
        As `concordance_index`.
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
    w = _once(times)
    rows, won, later = _pairs(times, events, risks, tied_tolerance, w)
    early = np.ones(len(rows), dtype=bool) if horizon is None else times[rows] < horizon
    if later[:, early].sum() == 0:
        raise InputError("No two patients are comparable before the horizon: choose a later one.")
    inverse, _ = _inverse_censoring(times, events, np.empty(0), w, train)
    weight = _known(inverse[:, rows[early]]) ** 2
    return float((weight * won[:, early]).sum() / (weight * later[:, early]).sum())


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
    auc = _auc(times, events, scores, reads, _once(times), train)[0]
    cases = (events[:, None] & (times[:, None] <= reads)).sum(axis=0)
    controls = (times[:, None] > reads).sum(axis=0)
    _known(auc[cases > 0])
    return pd.DataFrame({"time": reads, "auc": auc, "cases": cases, "controls": controls})


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
    curve = kaplan_meier(times, events, at=reads)["survival"].to_numpy()
    predicted = _by_horizon(survival, "survival", len(times), len(reads))
    brier, reference = (
        _known(_brier(times, events, own, reads, _once(times), train)[0])
        for own in (predicted, np.tile(curve, (len(times), 1)))
    )
    scaled = 1 - _ratio(brier, reference)
    return pd.DataFrame({"time": reads, "brier": brier, "reference": reference, "scaled": scaled})


# ---- several models on the same resampled patients


@dataclass(frozen=True)
class Replicates:
    """A measure on the data (first row) and on each resample.

    Attributes
    ----------
    rows
        Shape (1 + resamples,) for a number, (1 + resamples, k) for a curve; NaN where it does not exist.
    """

    rows: FloatArray

    @property
    def estimate(self) -> FloatArray:
        """The measure on the data as they are."""
        return np.asarray(self.rows[0])

    @property
    def values(self) -> FloatArray:
        """The measure on the resamples."""
        return self.rows[1:]

    def interval(self) -> Interval:
        """Return a number with its 95 % percentile interval (Davison and Hinkley 1997, section 3.8).

        Raises
        ------
        InputError
            If more than half of the resamples have no value, or the measure is a curve.
        """
        if self.rows.ndim != 1:
            raise InputError("The measure is a curve: use `band`, or pick a point with `combine`.")
        kept = self.values[~np.isnan(self.values)]
        if len(kept) * 2 < len(self.values):
            raise InputError(
                f"The measure failed on {len(self.values) - len(kept)} of {len(self.values)} resamples: "
                "there are too few events for an interval."
            )
        low, high = np.quantile(kept, _LIMITS)
        return Interval(float(self.rows[0]), float(low), float(high))

    def band(self) -> pd.DataFrame:
        """Return ``low`` and ``high`` (95 %) of each point of a curve; NaN where most resamples have none."""
        known = np.isfinite(self.values).mean(axis=0) >= 0.5
        limits = np.full((2, len(known)), np.nan)
        limits[:, known] = np.nanquantile(self.values[:, known], _LIMITS, axis=0)
        return pd.DataFrame({"low": limits[0], "high": limits[1]})


@dataclass(frozen=True)
class Resamples:
    """Follow-up of a cohort, and how often each row counts: (1 + resamples, n), the first time once each."""

    time: FloatArray
    event: BoolArray
    weights: npt.NDArray[np.int32]

    def of(self, rows: npt.ArrayLike) -> "Resamples":
        """Return the same resamples as seen in some rows (a mask): a subgroup."""
        mask = np.asarray(rows)
        if mask.dtype != bool or mask.shape != self.time.shape:
            raise InputError(
                f"rows has shape {mask.shape}: give True or False for each of {len(self.time)} rows."
            )
        return Resamples(self.time[mask], self.event[mask], self.weights[:, mask])

    def measure(self, function: Callable[..., FloatArray], *given: object) -> Replicates:
        """Return ``function(time, event, *given, w)`` for all resamples, some at a time to bound memory."""
        size = max(1, _CELLS // len(self.time))
        blocks = [self.weights[start : start + size] for start in range(0, len(self.weights), size)]
        parts = [function(self.time, self.event, *given, w.astype(np.float64)) for w in blocks]
        return Replicates(np.concatenate(parts))


def resample_patients(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Resamples:
    """Draw whole patients with replacement, `n_resamples` times.

    Parameters
    ----------
    time, event
        Shape (n,).
    groups
        Patient of each row, shape (n,): all rows of a drawn patient come along. By default each row is
        its own patient.
    n_resamples, seed
        Number of resamples, and of what draws them.

    Raises
    ------
    InputError
        If shapes differ, a patient is missing, or nothing is drawn.
    """
    times, events = check_survival(time, event)
    if n_resamples < 1:
        raise InputError(f"n_resamples is {n_resamples}: draw at least one (1000 is usual).")
    labels = np.arange(len(times)) if groups is None else check_labels(groups, len(times))
    codes, patients = pd.factorize(labels)
    rng, count = np.random.default_rng(seed), len(patients)
    draws = np.ones((1 + n_resamples, count), dtype=np.int32)
    for row in draws[1:]:
        row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
    return Resamples(times, events, draws[:, codes])


def combine(function: Callable[..., FloatArray], *parts: Replicates) -> Replicates:
    """Apply a function to measures, on the data and resample by resample.

    Parameters
    ----------
    function
        Of arrays whose last axis is the points of a curve, if they are curves: ``np.subtract`` for a paired
        difference, ``lambda auc: auc[..., 3]`` for one point.
    parts
        Measures on the same resamples.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.asarray(function(*(part.rows for part in parts)))
    return Replicates(rows)


def resampled_concordance(
    sample: Resamples, risks: Mapping[str, npt.ArrayLike]
) -> dict[str, Replicates]:
    """Return Harrell's C of each risk score; as `concordance_index`."""
    n = len(sample.time)
    scores = {name: check_vector(risk, name, n) for name, risk in risks.items()}
    found = {
        name: sample.measure(_concordance, score, TIED_TOLERANCE) for name, score in scores.items()
    }
    for one in found.values():
        _comparable(float(one.estimate), sample.time, sample.event)
    return found


def resampled_auc(
    sample: Resamples, risks: Mapping[str, npt.ArrayLike], horizons: npt.ArrayLike
) -> dict[str, Replicates]:
    """Return the time-dependent AUC of each risk score, a curve over the horizons; as `auc_over_time`."""
    reads, n = check_horizons(horizons, sample.time), len(sample.time)
    return {
        name: sample.measure(_auc, _by_horizon(risk, name, n, len(reads)), reads)
        for name, risk in risks.items()
    }


def resampled_brier(
    sample: Resamples, survival: Mapping[str, npt.ArrayLike], horizons: npt.ArrayLike
) -> dict[str, Replicates]:
    """Return the Brier score of each model's survival probabilities, a curve over the horizons; as `brier_score`."""
    reads, n = check_horizons(horizons, sample.time), len(sample.time)
    return {
        name: sample.measure(_brier, _by_horizon(curve, "survival", n, len(reads)), reads)
        for name, curve in survival.items()
    }


def resampled_calibration(
    sample: Resamples, predicted: Mapping[str, npt.ArrayLike], horizon: float
) -> dict[str, Replicates]:
    """Return observed over expected events by a horizon; 1 is ideal, above 1 the model predicts too little.

    Parameters
    ----------
    sample
        From `resample_patients`, or a subgroup of it.
    predicted
        Model to its probability of the event by the horizon, shape (n,).
    horizon
        A time inside follow-up.

    Notes
    -----
    Observed is one minus the Kaplan-Meier estimate, expected the mean prediction: the ratio of `calibration_at`.
    Without ten events it exists too, with a wide interval.
    """
    at = float(check_horizons([horizon], sample.time)[0])
    n = len(sample.time)
    return {
        name: sample.measure(
            _observed_over_expected, check_probabilities(values, "predicted", n), at
        )
        for name, values in predicted.items()
    }


# ---- the measures: inputs are checked, weights (r, n), results (r,) or (r, k)


def _concordance(
    time: FloatArray, event: BoolArray, risk: FloatArray, tolerance: float, w: FloatArray
) -> FloatArray:
    """Harrell's C: of comparable pairs, the share in the right order, ties one half; whole numbers, hence exact."""
    rows, won, later = _pairs(time, event, risk, tolerance, w)
    return _ratio((w[:, rows] * won).sum(axis=1), (w[:, rows] * later).sum(axis=1))


def _pairs(
    time: FloatArray, event: BoolArray, risk: FloatArray, tolerance: float, w: FloatArray
) -> tuple[IntArray, Weights, Weights]:
    """For each event, weigh the comparable patients with less risk (equal risk one half), and all comparable ones.

    Returns
    -------
    rows (events,), won (r, events), comparable (r, events)
        O(r n log n) time.
    """
    # At equal times events come first, so that everybody comparable with an event stands after the block
    # of events at its time: comparable patients are always a suffix of this order.
    order = np.lexsort((~event, time))
    at_event = np.flatnonzero(event[order])
    rows = order[at_event]
    moments = np.sort(time[rows])
    start = np.searchsorted(time[order], time[rows], side="left")
    start += np.searchsorted(moments, time[rows], side="right")
    start -= np.searchsorted(moments, time[rows], side="left")

    ladder = np.sort(risk)
    rank = np.empty(len(risk), dtype=np.int64)
    rank[np.argsort(risk, kind="stable")] = np.arange(len(risk))
    below = np.searchsorted(ladder, risk[rows] - tolerance, side="left")
    up_to = np.searchsorted(ladder, risk[rows] + tolerance, side="right")
    ordered = w[:, order].astype(np.float32)  # whole numbers far below 2^24, hence exact
    later = _running(ordered)
    won = _smaller_after(rank[order], ordered, start, np.stack([below, up_to]))
    return rows, won / 2, later[:, [-1]] - later[:, start]


def _smaller_after(rank: IntArray, w: Weights, start: IntArray, thresholds: IntArray) -> Weights:
    """For each query q, sum the weights of positions j >= start[q] with rank[j] < threshold[q], over two thresholds.

    A merge sort from below: at level k, blocks of 2^k positions are sorted by rank, and the suffix from `start`
    takes at most one whole block of each level, so all queries are answered by one binary search a level.
    """
    n = len(rank)
    at = np.argsort(rank)  # position of each rank
    position, sums, ranks = start.copy(), np.zeros((len(w), len(start)), dtype=w.dtype), rank
    width = 1
    while (position < n).any():
        offset = np.arange(n) // width * (n + 1)
        keys = np.sort(offset + ranks, kind="stable")
        ranks = keys - offset
        taken = np.flatnonzero((position < n) & ((position & width > 0) | (width >= n)))
        if len(taken):
            first = position[taken]
            below, up_to = np.searchsorted(keys, first // width * (n + 1) + thresholds[:, taken])
            running = _running(w.take(at[ranks], axis=1))
            sums[:, taken] += running[:, below] + running[:, up_to] - 2 * running[:, first]
            position[taken] += width
        width *= 2
    return sums


def _auc(
    time: FloatArray,
    event: BoolArray,
    risk: FloatArray,
    horizons: FloatArray,
    w: FloatArray,
    train: Outcome | None = None,
) -> FloatArray:
    """Cumulative/dynamic AUC at each horizon, risk (n, k)."""
    inverse, _ = _inverse_censoring(time, event, horizons, w, train)
    auc = np.full((len(w), len(horizons)), np.nan)
    for k, horizon in enumerate(horizons):
        score, cases, controls = risk[:, k], event & (time <= horizon), time > horizon
        # Controls of less risk than a case: a running sum of weights along the ladder of risk.
        ladder = np.flatnonzero(controls)[np.argsort(score[controls], kind="stable")]
        running, rungs = _running(w[:, ladder]), score[ladder]
        below = np.searchsorted(rungs, score[cases] - TIED_TOLERANCE, side="left")
        up_to = np.searchsorted(rungs, score[cases] + TIED_TOLERANCE, side="right")
        weighted = inverse[:, cases]
        won = (weighted * (running[:, below] + running[:, up_to])).sum(axis=1) / 2
        auc[:, k] = _ratio(won, weighted.sum(axis=1) * running[:, -1])
    return auc


def _brier(
    time: FloatArray,
    event: BoolArray,
    survival: FloatArray,
    horizons: FloatArray,
    w: FloatArray,
    train: Outcome | None = None,
) -> FloatArray:
    """Squared error of survival probabilities (n, k), weighted for censoring; NaN where nobody is followed so far."""
    inverse, at_horizon = _inverse_censoring(time, event, horizons, w, train)
    brier = np.empty((len(w), len(horizons)))
    for k, horizon in enumerate(horizons):
        cases, controls = event & (time <= horizon), time > horizon
        error = inverse[:, cases] @ survival[cases, k] ** 2
        error += w[:, controls] @ (1 - survival[controls, k]) ** 2 * at_horizon[:, k]
        followed = w[:, controls].sum(axis=1) > 0
        brier[:, k] = np.where(followed, error / w.sum(axis=1), np.nan)
    return brier


def _observed_over_expected(
    time: FloatArray, event: BoolArray, predicted: FloatArray, at: float, w: FloatArray
) -> FloatArray:
    """One minus Kaplan-Meier over the mean prediction; NaN where follow-up ends before with somebody left."""
    steps, at_risk, died, _ = _steps(time, event, w)
    share = np.divide(died, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    survival = np.prod(1 - share[:, steps <= at], axis=1)
    followed = at_risk[:, np.searchsorted(steps, at, side="left")] > 0
    observed = np.where(followed | (survival == 0), 1 - survival, np.nan)
    return _ratio(observed, _ratio(w @ predicted, w.sum(axis=1)))


def _inverse_censoring(
    time: FloatArray,
    event: BoolArray,
    horizons: FloatArray,
    w: FloatArray,
    train: Outcome | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return w / G(own time), shape (r, n), and 1 / G(horizon), shape (r, k); NaN where G is 0.

    G is the probability of not yet being censored: Kaplan-Meier with the roles of event and censoring exchanged; at
    equal times events come first, so those who had the event are no longer at risk of being censored.
    """
    learned = time, event, w
    if train is not None:
        times, events = check_survival(*train)
        learned = times, events, _once(times)
    steps, at_risk, died, ended = _steps(*learned)
    left = at_risk - died
    share = np.divide(ended - died, left, out=np.zeros_like(left), where=left > 0)
    uncensored = np.hstack([np.ones((len(share), 1)), np.cumprod(1 - share, axis=1)])
    read = np.r_[time, horizons]
    g = uncensored[:, np.searchsorted(steps, read, side="right")]
    g[:, read > steps[-1]] = np.nan  # nobody of `train` was followed so far
    own, at_horizon = g[:, : len(time)], g[:, len(time) :]
    return np.where(w > 0, _ratio(w, own), 0.0), _ratio(np.ones_like(at_horizon), at_horizon)


def _steps(
    time: FloatArray, event: BoolArray, w: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Distinct times, and for each version at each of them: at risk, events, all who end there."""
    order = np.argsort(time, kind="stable")
    steps, first = np.unique(time[order], return_index=True)
    ended = np.add.reduceat(w[:, order], first, axis=1)
    died = np.add.reduceat((w * event)[:, order], first, axis=1)
    return steps, ended[:, ::-1].cumsum(axis=1)[:, ::-1], died, ended


def _once(time: FloatArray) -> FloatArray:
    return np.ones((1, len(time)))


def _running(w: Weights) -> Weights:
    """Running sums along the second axis, from 0: (r, n + 1)."""
    sums = np.zeros((len(w), w.shape[1] + 1), dtype=w.dtype)
    np.cumsum(w, axis=1, out=sums[:, 1:])
    return sums


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _comparable(value: float, time: FloatArray, event: BoolArray) -> float:
    if np.isnan(value):
        raise InputError(
            f"No two of the {len(time)} patients are comparable ({int(event.sum())} events): "
            "a concordance index needs an event that somebody else outlived."
        )
    return value


def _known(values: FloatArray) -> FloatArray:
    if np.isnan(values).any():
        raise InputError(
            "The probability of not being censored is 0 or unknown at an event or a horizon, so a weight is 1/0: "
            "choose an earlier horizon."
        )
    return values


def _by_horizon(values: npt.ArrayLike, name: str, rows: int, columns: int) -> FloatArray:
    """Return the values as (rows, columns), one column copied where all horizons share it."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1 and (columns == 1 or name != "survival"):
        array = np.repeat(array[:, None], columns, axis=1)
    if array.shape != (rows, columns):
        raise InputError(f"{name} has shape {array.shape} where ({rows}, {columns}) is needed.")
    check_vector(array.ravel(), name)
    if name == "survival" and ((array < 0) | (array > 1)).any():
        raise InputError("survival is not between 0 and 1: give probabilities of no event.")
    return array
