"""Cox regression as a baseline: fitted on training rows alone, penalised just enough to always exist."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import BoolArray, FloatArray, check_survival

LOGGER = logging.getLogger(__name__)

RIDGE = 0.1
"""Penalty 0.05·|β|² on standardised covariates: a normal prior with SD 3.2 for the log hazard ratio per SD.
With 13 events it shrinks an estimate by under 1 %, and under separation it keeps the estimate finite."""


@dataclass(frozen=True)
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
    medians: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]
    standard_errors: tuple[float, ...]
    ridge: float
    n: int
    events: int
    notes: tuple[str, ...]


def cox_baseline(
    train: pd.DataFrame,
    test: pd.DataFrame,
    covariates: Sequence[str] = ("age", "sex"),
    ridge: float = RIDGE,
) -> pd.Series:
    """Fit a Cox model on `train` and return the log risk of each row of `test`, index as `test`.

    `train` needs the columns ``time``, ``event`` and `covariates`; of `test` only `covariates` are read.
    See `fit_cox` for what is learned and refused.
    """
    return predict_cox(fit_cox(train, covariates, ridge), test)


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
    for column in ("time", "event", *covariates):
        if column not in train.columns:
            raise InputError(
                f"The training table has no column {column!r}: add it or leave it out."
            )
    time, event = check_survival(train["time"], train["event"])
    if not event.any():
        raise InputError(
            f"None of the {len(time)} training rows has an event: a Cox model cannot be fitted."
        )

    raw = np.column_stack([_numbers(train, column) for column in covariates])
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
    coefficients, errors = cox_newton(standardised, time, event, ridge)
    for note in notes:
        LOGGER.info("Cox model: %s", note)
    return CoxModel(
        covariates=tuple(name for name, keep in zip(covariates, usable, strict=True) if keep),
        medians=tuple(medians[usable].tolist()),
        means=tuple(means[usable].tolist()),
        scales=tuple(scales[usable].tolist()),
        coefficients=tuple(coefficients.tolist()),
        standard_errors=tuple(errors.tolist()),
        ridge=ridge,
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
    for column in model.covariates:
        if column not in table.columns:
            raise InputError(
                f"The table has no column {column!r}, which the Cox model was fitted on."
            )
    raw = np.column_stack([_numbers(table, column) for column in model.covariates])
    filled = np.where(np.isnan(raw), model.medians, raw)
    log_risk = (filled - model.means) / model.scales @ np.array(model.coefficients)
    return pd.Series(log_risk, index=table.index, name="risk")


def _numbers(table: pd.DataFrame, column: str) -> FloatArray:
    try:
        values = table[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise InputError(
            f"Column {column!r} is not numeric: a Cox model needs numbers or 0/1 flags."
        ) from None
    if np.isinf(values).any():
        raise InputError(f"Column {column!r} holds infinite values: repair these rows.")
    return values


def cox_newton(
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

    from ecgrepro.objectives import cox_nll

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
