"""What can be read off an embedding linearly, and off statement embeddings without training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.probing.retrieval import patient_weights, unit_rows

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """Outcome of a linear probe.

    Attributes
    ----------
    table
        From `score_table`: one row a class and the row "macro".
    scores
        (n_test, K) log odds.
    penalty
        The chosen C.
    validation_log_loss
        Mean log-loss over classes on validation, by C.
    """

    table: pd.DataFrame
    scores: Array
    penalty: float
    validation_log_loss: pd.Series


def linear_probe(
    z_train: NDArray[np.floating],
    y_train: NDArray[np.integer],
    z_validation: NDArray[np.floating],
    y_validation: NDArray[np.integer],
    z_test: NDArray[np.floating],
    y_test: NDArray[np.integer],
    classes: Sequence[str],
    *,
    penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0),
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ProbeResult:
    """Fit one-vs-rest logistic regression on frozen embeddings and score the test records.

    The protocol of the ecg-fix benchmark (arXiv 2602.17531): features standardised by the training
    records alone, C chosen by log-loss on validation (one C for all classes), training records
    only in the fit, AUROC and AUPRC on the test records. Put a random encoder and age and sex
    through the same function, and show them on the same line.

    Parameters
    ----------
    z_train, z_validation, z_test
        (n, d) embeddings.
    y_train, y_validation, y_test
        (n, K) of 0 and 1.
    classes
        K names.
    penalties
        Values of C (inverse strength of the ridge penalty).
    groups, n_bootstrap, seed
        Patients of the test records, resamples, seed; see `score_table`.

    Raises
    ------
    InputError
        If shapes do not fit or no class has both outcomes among the training records.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for name, z, y in (
        ("training", z_train, y_train),
        ("validation", z_validation, y_validation),
        ("test", z_test, y_test),
    ):
        if len(z) != len(y) or np.ndim(y) != 2 or np.shape(y)[1] != len(classes):
            raise InputError(
                f"{name}: embeddings {np.shape(z)}, labels {np.shape(y)}, {len(classes)} classes "
                "do not fit: give (n, d), (n, K) and K names."
            )
    scaler = StandardScaler().fit(np.asarray(z_train, dtype=np.float64))
    train, validation, test = (
        scaler.transform(np.asarray(z, dtype=np.float64)) for z in (z_train, z_validation, z_test)
    )
    usable = [k for k in range(len(classes)) if 0 < np.sum(y_train[:, k]) < len(y_train)]
    if not usable:
        raise InputError("no class has both outcomes among the training records: use more records.")
    ordered = sorted(penalties)
    log_loss = np.full((len(ordered), len(usable)), np.nan)
    scores = np.full((len(ordered), len(test), len(classes)), np.nan)
    # One BLAS thread: these matrices are small, and spinning threads made a fit 60 times slower on
    # a machine with other work.
    with threadpool_limits(limits=1, user_api="blas"):
        for place, k in enumerate(usable):
            # From strong to weak penalty each fit starts where the last ended.
            model = LogisticRegression(max_iter=2000, warm_start=True)
            for number, penalty in enumerate(ordered):
                model.set_params(C=penalty).fit(train, y_train[:, k])
                log_odds = model.decision_function(validation)
                log_loss[number, place] = _log_loss(log_odds, y_validation[:, k])
                scores[number, :, k] = model.decision_function(test)
    mean_loss = pd.Series(log_loss.mean(axis=1), index=pd.Index(ordered, name="C"), name="log_loss")
    best = int(np.argmin(mean_loss.to_numpy()))
    table = score_table(
        scores[best], y_test, classes, groups=groups, n_bootstrap=n_bootstrap, seed=seed
    )
    return ProbeResult(table, scores[best], float(ordered[best]), mean_loss)


def zero_shot_scores(e_ecg: NDArray[np.floating], e_statements: NDArray[np.floating]) -> Array:
    """Return the cosine of each ECG with each embedded statement, (n, S), for `score_table`.

    No classifier is fitted. But an encoder aligned with reports made of these statements has seen
    their labels: it is not zero-shot in the sense of a model that never met the data set.
    """
    return unit_rows(e_ecg) @ unit_rows(e_statements).T


def score_table(
    scores: NDArray[np.floating],
    y: NDArray[np.integer],
    classes: Sequence[str],
    *,
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return AUROC and AUPRC by class and their macro mean, with bootstrap intervals by patient.

    Parameters
    ----------
    scores
        (n, K), higher means more likely; a column of NaN was not scored.
    y
        (n, K) of 0 and 1.
    classes
        K names.
    groups
        (n,) patients, drawn together; each record alone when None.
    n_bootstrap, seed
        Resamples and their seed.

    Returns
    -------
    DataFrame
        Index: classes and "macro" (mean over the classes that have both outcomes). Columns auroc,
        auroc_low, auroc_high, auprc, auprc_low, auprc_high (95 % percentile), n, positives. An
        AUPRC compares with positives / n, not with 0.5.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(y)
    if values.shape != truth.shape or values.ndim != 2 or values.shape[1] != len(classes):
        raise InputError(
            f"scores {values.shape}, labels {truth.shape}, {len(classes)} classes differ."
        )
    weights = np.vstack(
        [np.ones(len(values)), patient_weights(len(values), groups, n_bootstrap, seed)]
    )
    measures = np.full((2, len(weights), len(classes)), np.nan)
    for k in range(len(classes)):
        if 0 < truth[:, k].sum() < len(truth) and np.isfinite(values[:, k]).all():
            measures[:, :, k] = _weighted_areas(values[:, k], truth[:, k], weights)
    scored = np.isfinite(measures[0, 0])
    if not scored.any():
        raise InputError("no class has both outcomes among these records: use more records.")
    macro = _mean_of_finite(measures[:, :, scored])
    rows = {}
    for number, name in enumerate([*classes, "macro"]):
        own = macro if name == "macro" and number == len(classes) else measures[:, :, number]
        row: dict[str, float] = {}
        for place, measure in enumerate(("auroc", "auprc")):
            drawn = own[place, 1:][np.isfinite(own[place, 1:])]
            low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (np.nan, np.nan)
            row |= {measure: own[place, 0], f"{measure}_low": low, f"{measure}_high": high}
        positives = truth[:, scored].any(axis=1) if number == len(classes) else truth[:, number]
        rows[name] = row | {"n": len(truth), "positives": int(positives.sum())}
    return pd.DataFrame.from_dict(rows, orient="index")


def _weighted_areas(score: Array, y: NDArray[np.integer], weights: Array) -> tuple[Array, Array]:
    """Return AUROC and average precision for each row of record weights; ties in score are one step.

    Same definitions as scikit-learn's with sample_weight, for all resamples at once.
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = weights[:, order]
    positive = np.add.reduceat(ordered * y[order], starts, axis=1)
    everyone = np.add.reduceat(ordered, starts, axis=1)
    negative = everyone - positive
    true_positive, called = positive.cumsum(axis=1), everyone.cumsum(axis=1)
    n_positive, n_negative = positive.sum(axis=1), negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = (negative * (true_positive - 0.5 * positive)).sum(axis=1)
        auroc = wins / (n_positive * n_negative)
        precision = np.where(called > 0, true_positive / called, 0.0)
        auprc = (positive * precision).sum(axis=1) / n_positive
    return auroc, np.where(n_negative > 0, auprc, np.nan)


def _mean_of_finite(values: Array) -> Array:
    """Mean over the last axis without NaN; NaN where nothing is left."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    total = np.where(finite, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _log_loss(log_odds: Array, y: NDArray[np.integer]) -> float:
    """Mean negative log-likelihood of 0 and 1 labels under log odds."""
    return float(np.logaddexp(0.0, np.where(np.asarray(y) > 0, -log_odds, log_odds)).mean())
