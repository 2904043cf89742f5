"""Several measures of several models on the same resampled patients, all resamples at once.

`resample_patients` draws once. Each `resampled_*` then gives, by model, the measure on the data and on every
resample (`Replicates`): intervals, pointwise bands, and differences of anything in which the draws cancel.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.concordance import TIED_TOLERANCE, concordance_index
from ecgrepro.survival.curves import survival_at
from ecgrepro.survival.inputs import (
    BoolArray,
    FloatArray,
    IntArray,
    check_horizons,
    check_probabilities,
    check_survival,
    check_vector,
)
from ecgrepro.survival.resampling import (
    Interval,
    aligned,
    concordance_over,
    draw_patients,
    percentile_interval,
)
from ecgrepro.survival.weighted import auc_over_time, brier_score

_CELLS = 4_000_000
"""Largest intermediate matrix, in cells (32 MB of float64)."""


@dataclass(frozen=True)
class Replicates:
    """A measure on the data and on each resample.

    Attributes
    ----------
    estimate
        On the data as they are: shape () for a number, (k,) for a curve.
    values
        On the resamples: shape (n_resamples,) or (n_resamples, k); NaN where it does not exist.
    units, level
        Patients resampled, nominal coverage.
    """

    estimate: FloatArray
    values: FloatArray
    units: int
    level: float

    def interval(self, level: float | None = None) -> Interval:
        """Return the percentile interval of a number; errors as `bootstrap_interval`."""
        if self.values.ndim != 1:
            raise InputError("The measure is a curve: use `band`, or pick a point with `combine`.")
        return percentile_interval(
            float(self.estimate),
            self.values,
            self.level if level is None else level,
            self.units,
            "bootstrap by patient",
        )

    def band(self) -> pd.DataFrame:
        """Return ``low`` and ``high`` of each point of a curve; NaN where over half of the resamples have none."""
        known = np.isfinite(self.values).mean(axis=0) >= 0.5
        limits = np.full((2, len(known)), np.nan)
        ends = [0.5 - self.level / 2, 0.5 + self.level / 2]
        limits[:, known] = np.nanquantile(self.values[:, known], ends, axis=0)
        return pd.DataFrame({"low": limits[0], "high": limits[1]})


@dataclass(frozen=True)
class Resamples:
    """Follow-up of a cohort, and how often each of its patients was drawn in each resample."""

    time: FloatArray
    event: BoolArray
    codes: IntArray
    draws: npt.NDArray[np.int32]
    level: float

    def of(self, rows: npt.ArrayLike) -> "Resamples":
        """Return the same resamples as seen in some rows (a mask): a subgroup."""
        mask = np.asarray(rows)
        if mask.dtype != bool or mask.shape != self.time.shape:
            raise InputError(
                f"rows has shape {mask.shape}: give True or False for each of {len(self.time)} rows."
            )
        return Resamples(
            self.time[mask], self.event[mask], self.codes[mask], self.draws, self.level
        )


def resample_patients(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Resamples:
    """Draw whole patients; parameters, draws and errors as `bootstrap_interval`."""
    times, events = check_survival(time, event)
    _, codes = aligned((times, events), groups)
    return Resamples(times, events, codes, draw_patients(codes.max() + 1, n_resamples, seed), level)


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
    first = parts[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.asarray(function(*(part.estimate for part in parts)))
        values = np.asarray(function(*(part.values for part in parts)))
    return Replicates(estimate, values, first.units, first.level)


def resampled_concordance(
    sample: Resamples, risks: Mapping[str, npt.ArrayLike]
) -> dict[str, Replicates]:
    """Return Harrell's C of each risk score; as `bootstrap_interval` gives it one by one."""
    values = concordance_over(
        sample.time, sample.event, list(risks.values()), sample.codes, sample.draws
    )
    return {
        name: _replicates(
            sample, concordance_index(sample.time, sample.event, risk), values[:, column]
        )
        for column, (name, risk) in enumerate(risks.items())
    }


def resampled_auc(
    sample: Resamples, risks: Mapping[str, npt.ArrayLike], horizons: npt.ArrayLike
) -> dict[str, Replicates]:
    """Return the time-dependent AUC of each risk score, a curve over the horizons; as `auc_over_time`."""
    reads = check_horizons(horizons, sample.time)
    scores = [check_vector(risk, name, len(sample.time)) for name, risk in risks.items()]
    values = np.full((len(scores), len(sample.draws), len(reads)), np.nan)
    for part, weights in _blocks(sample):
        inverse, _ = _weights_for_censoring(sample, weights, reads)
        for k, horizon in enumerate(reads):
            cases = sample.event & (sample.time <= horizon)
            controls = sample.time > horizon
            weighted = inverse[:, cases]
            for score, filled in zip(scores, values, strict=True):
                # Controls of less risk than a case: a running sum of weights along the ladder of risk.
                ladder = np.flatnonzero(controls)[np.argsort(score[controls], kind="stable")]
                running = np.cumsum(weights[:, ladder], axis=1)
                running = np.concatenate([np.zeros((len(running), 1)), running], axis=1)
                rungs = score[ladder]
                below = np.searchsorted(rungs, score[cases] - TIED_TOLERANCE, side="left")
                up_to = np.searchsorted(rungs, score[cases] + TIED_TOLERANCE, side="right")
                won = (weighted * (running[:, below] + running[:, up_to])).sum(axis=1) / 2
                pairs = weighted.sum(axis=1) * running[:, -1]
                filled[part, k] = _ratio(won, pairs)
    return {
        name: _replicates(
            sample, auc_over_time(sample.time, sample.event, risk, reads)["auc"], values[i]
        )
        for i, (name, risk) in enumerate(risks.items())
    }


def resampled_brier(
    sample: Resamples, survival: Mapping[str, npt.ArrayLike], horizons: npt.ArrayLike
) -> dict[str, Replicates]:
    """Return the Brier score of each model's survival probabilities, a curve over the horizons; as `brier_score`."""
    reads = check_horizons(horizons, sample.time)
    estimates = {
        name: brier_score(sample.time, sample.event, predicted, reads)["brier"]
        for name, predicted in survival.items()
    }
    models = [np.asarray(p, dtype=float).reshape(len(sample.time), -1) for p in survival.values()]
    values = np.full((len(models), len(sample.draws), len(reads)), np.nan)
    for part, weights in _blocks(sample):
        inverse, at_horizon = _weights_for_censoring(sample, weights, reads)
        rows = weights.sum(axis=1)
        for k, horizon in enumerate(reads):
            cases, controls = sample.event & (sample.time <= horizon), sample.time > horizon
            probability = np.column_stack([model[:, k] for model in models])
            error = inverse[:, cases] @ probability[cases] ** 2
            later = weights[:, controls] @ (1 - probability[controls]) ** 2
            error = error + later * at_horizon[:, [k]]
            error[weights[:, controls].sum(axis=1) == 0] = np.nan  # nobody is followed so far
            values[:, part, k] = (error / rows[:, None]).T
    return {
        name: _replicates(sample, estimate, values[i])
        for i, (name, estimate) in enumerate(estimates.items())
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
    expected = {
        name: check_probabilities(values, len(sample.time)) for name, values in predicted.items()
    }
    observed = 1 - survival_at(sample.time, sample.event, at)[0]
    drawn = np.full((len(expected), len(sample.draws)), np.nan)
    for part, weights in _blocks(sample):
        rows = weights.sum(axis=1)
        died = 1 - _survival_at(sample, weights, at)
        for probability, filled in zip(expected.values(), drawn, strict=True):
            filled[part] = _ratio(died, _ratio(weights @ probability, rows))
    return {
        name: _replicates(sample, observed / probability.mean(), drawn[i])
        for i, (name, probability) in enumerate(expected.items())
    }


def _replicates(sample: Resamples, estimate: npt.ArrayLike, values: FloatArray) -> Replicates:
    units = len(np.unique(sample.codes))
    return Replicates(np.asarray(estimate, float), values, units, sample.level)


def _blocks(sample: Resamples) -> Iterator[tuple[slice, FloatArray]]:
    """Give resamples some at a time, as how often each row is drawn: (resamples, rows)."""
    size = max(1, _CELLS // len(sample.time))
    for start in range(0, len(sample.draws), size):
        part = slice(start, start + size)
        yield part, sample.draws[part][:, sample.codes].astype(np.float64)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _steps(
    sample: Resamples, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Distinct times, and for each resample at each of them: at risk, events, all who end there."""
    order = np.argsort(sample.time, kind="stable")
    steps, first = np.unique(sample.time[order], return_index=True)
    total = np.add.reduceat(weights[:, order], first, axis=1)
    events = np.add.reduceat((weights * sample.event)[:, order], first, axis=1)
    at_risk = total[:, ::-1].cumsum(axis=1)[:, ::-1]
    return steps, at_risk, events, total


def _weights_for_censoring(
    sample: Resamples, weights: FloatArray, horizons: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return draws of each row over G at its own time, and 1 / G at each horizon, of each resample.

    G is that of `censoring_survival`, learned from the resample. NaN where it is needed and 0.
    """
    steps, at_risk, events, total = _steps(sample, weights)
    left = at_risk - events
    share = np.divide(total - events, left, out=np.zeros_like(left), where=left > 0)
    uncensored = np.cumprod(1 - share, axis=1)
    own = uncensored[:, np.searchsorted(steps, sample.time)]
    inverse = np.where(weights > 0, _ratio(weights, own), 0.0)
    read = uncensored[:, np.searchsorted(steps, horizons, side="right") - 1]
    return inverse, _ratio(np.ones_like(read), read)


def _survival_at(sample: Resamples, weights: FloatArray, at: float) -> FloatArray:
    """Kaplan-Meier estimate at a time, of each resample; NaN where its follow-up ends before with somebody left."""
    steps, at_risk, events, _ = _steps(sample, weights)
    share = np.divide(events, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    survival = np.prod(1 - share[:, steps <= at], axis=1)
    followed = at_risk[:, np.searchsorted(steps, at, side="left")] > 0
    return np.where(followed | (survival == 0), survival, np.nan)
