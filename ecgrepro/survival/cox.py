"""Cox regression as a baseline, fitted on training rows alone; the hazard ratio of two groups; Breslow's baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.curves import (
    BoolArray,
    FloatArray,
    Interval,
    check_flags,
    check_horizons,
    check_survival,
    check_vector,
)

RIDGE = 0.1
"""Penalty 0.05·|β|² on standardised covariates: a normal prior with SD 3.2 for the log hazard ratio per SD.
With 13 events it shrinks an estimate by under 1 %, and under separation it keeps the estimate finite."""


@dataclass(frozen=True, eq=False)
class CoxModel:
    """A fitted Cox model with all that was learned from its training rows.

    Attributes
    ----------
    covariates
        Columns in the model, in the order of the arrays below.
    medians
        Value put in place of a missing one, by covariate.
    means, scales
        Mean and standard deviation by which a covariate is standardised.
    coefficients, standard_errors
        Log hazard ratio per standard deviation, and its standard error (from the penalised information).
    n, events
        Training rows and events.
    notes
        What a reader should know: columns dropped, values imputed, too few events.
    """

    covariates: tuple[str, ...]
    medians: FloatArray
    means: FloatArray
    scales: FloatArray
    coefficients: FloatArray
    standard_errors: FloatArray
    n: int
    events: int
    notes: tuple[str, ...]


def fit_cox(
    train: pd.DataFrame, covariates: Sequence[str] = ("age", "sex"), ridge: float = RIDGE
) -> CoxModel:
    """Fit a ridge-penalised Cox model with Efron ties.

    Everything is learned from `train`: the median that replaces a missing value, the mean and standard
    deviation that scale a covariate, and which columns are constant and therefore left out with a note.

    Parameters
    ----------
    train
        Columns ``time``, ``event`` and each of `covariates` (numeric or bool; missing allowed).
    covariates
        Columns to use.
    ridge
        Weight of the penalty ``ridge / 2 · |β|²`` on standardised covariates; 0 gives the plain estimate.

    Raises
    ------
    InputError
        If a column is missing or not numeric, nobody has an event, every covariate is constant, or the
        estimate does not exist (``ridge=0`` under separation).
    """
    time, event = check_survival(*_numbers(train, ("time", "event")).T)
    raw = _numbers(train, covariates)
    if not event.any():
        raise InputError(
            f"None of the {len(time)} training rows has an event: a Cox model cannot be fitted."
        )
    notes = []
    seen = ~np.isnan(raw)
    medians = np.array(
        [np.median(x[s]) if s.any() else 0.0 for x, s in zip(raw.T, seen.T, strict=True)]
    )
    filled = np.where(seen, raw, medians)
    scales = filled.std(axis=0)
    usable = scales > 1e-12 * np.maximum(1.0, np.abs(medians))
    for name, keep, missing in zip(covariates, usable, (~seen).sum(axis=0), strict=True):
        if not keep:
            notes.append(f"{name} is constant in the training rows and was left out")
        elif missing:
            notes.append(f"{name} is missing in {missing} training rows: their median stands in")
    if not usable.any():
        raise InputError(
            f"All covariates ({', '.join(covariates)}) are constant in the training rows."
        )
    if event.sum() < 10 * usable.sum():
        notes.append(
            f"{int(event.sum())} events for {int(usable.sum())} covariates: under 10 a covariate"
        )

    means = filled.mean(axis=0)
    standardised = (filled - means)[:, usable] / scales[usable]
    coefficients, errors = cox_maximum(standardised, time, event, ridge)
    return CoxModel(
        covariates=tuple(np.array(covariates)[usable].tolist()),
        medians=medians[usable],
        means=means[usable],
        scales=scales[usable],
        coefficients=coefficients,
        standard_errors=errors,
        n=len(time),
        events=int(event.sum()),
        notes=tuple(notes),
    )


def predict_cox(model: CoxModel, table: pd.DataFrame) -> pd.Series:
    """Return the log risk of each row (0 = a training patient of average covariates), index as `table`.

    Raises
    ------
    InputError
        If a covariate of the model is missing from `table`.
    """
    raw = _numbers(table, model.covariates)
    filled = np.where(np.isnan(raw), model.medians, raw)
    log_risk = (filled - model.means) / model.scales @ model.coefficients
    return pd.Series(log_risk, index=table.index, name="risk")


def hazard_ratio(time: npt.ArrayLike, event: npt.ArrayLike, member: npt.ArrayLike) -> Interval:
    """Return the hazard ratio of a group to everybody else (Cox regression, Efron ties, 95 % Wald interval).

    Parameters
    ----------
    time, event
        Follow-up time and 0/1 event, shape (n,).
    member
        Who belongs to the group, bool, shape (n,).

    Raises
    ------
    InputError
        If the group, or the rest, has no events (its hazard ratio would be 0 or infinite).
    """
    times, events = check_survival(time, event)
    inside = check_flags(member, "member", len(times))
    for name, rows in (("The group", inside), ("The rest", ~inside)):
        if not events[rows].any():
            raise InputError(
                f"{name} has no events ({int(rows.sum())} patients): the hazard ratio is 0 or infinite, "
                "so report the counts or choose another cut."
            )
    slope, error = cox_maximum(inside[:, None].astype(np.float64), times, events, ridge=0.0)
    reach = stats.norm.ppf(0.975) * error
    low, ratio, high = (float(np.exp(x[0])) for x in (slope - reach, slope, slope + reach))
    return Interval(ratio, low, high)


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


def _numbers(table: pd.DataFrame, columns: Sequence[str]) -> FloatArray:
    """Columns of a table as float64 (n, p), NaN where missing."""
    found = []
    for column in columns:
        if column not in table.columns:
            raise InputError(f"The table has no column {column!r}: add it or leave it out.")
        try:
            found.append(table[column].to_numpy(dtype=np.float64, na_value=np.nan))
        except (TypeError, ValueError):
            raise InputError(
                f"Column {column!r} is not numeric: a Cox model needs numbers or 0/1 flags."
            ) from None
        if np.isinf(found[-1]).any():
            raise InputError(f"Column {column!r} holds infinite values: repair these rows.")
    return np.column_stack(found)


def cox_maximum(
    x: FloatArray, time: FloatArray, event: BoolArray, ridge: float
) -> tuple[FloatArray, FloatArray]:
    """Maximise the penalised log partial likelihood (Efron): the loss that trains the network, `cox_nll`.

    Parameters
    ----------
    x
        Covariates, shape (n, p), best on the scale of their standard deviation.
    time, event
        Shape (n,).
    ridge
        Weight of the penalty ``ridge / 2 · |β|²``.

    Returns
    -------
    tuple of float64 arrays, each (p,)
        Coefficients, and standard errors from the penalised information.

    Raises
    ------
    InputError
        If the estimate is not finite or not unique.
    """
    import torch  # here: a chapter that fits no Cox model need not wait for it

    from ecgrepro.losses import cox_nll

    design, times = torch.from_numpy(np.array(x)), torch.from_numpy(np.array(time))
    events = torch.from_numpy(np.array(event))

    def loss(beta: torch.Tensor) -> torch.Tensor:
        likelihood = cox_nll(design @ beta, events, times, reduction="sum")
        return likelihood + 0.5 * ridge * beta.square().sum()

    beta = torch.zeros(design.shape[1], dtype=torch.double, requires_grad=True)
    climb = torch.optim.LBFGS(
        [beta], max_iter=100, tolerance_grad=1e-3, line_search_fn="strong_wolfe"
    )

    def gradient() -> torch.Tensor:
        climb.zero_grad()
        value = loss(beta)
        value.backward()
        return value

    climb.step(gradient)
    for _ in range(5):  # Newton steps from close by: each doubles the digits
        gradient()
        information = torch.autograd.functional.hessian(loss, beta.detach(), vectorize=True)
        if not information.isfinite().all() or torch.linalg.cond(information) > 1e12:
            break
        step = torch.linalg.solve(information, beta.grad)
        if step.abs().max() < 1e-8:
            errors = torch.linalg.inv(information).diagonal().sqrt()
            return (beta.detach() - step).numpy(), errors.numpy()
        beta.data -= step  # under separation it never gets smaller than a whole unit
    raise InputError(
        "The Cox model has no finite estimate (covariates separate the events or repeat each other): "
        "give ridge > 0 or fewer covariates."
    )
