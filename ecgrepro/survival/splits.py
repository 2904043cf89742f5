"""Cross-validation splits: stratified on the event, whole patients together, test outcomes out of reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import FloatArray, IntArray, check_vector

STUDY_SEEDS = (42, 2021, 2022, 2023, 2024)
"""Seeds of the study's five repetitions."""

Model = TypeVar("Model")


@dataclass(frozen=True)
class Split:
    """Row positions of one train/validation/test division, kept together with what it is called."""

    seed: int
    fold: int
    train: IntArray
    validation: IntArray
    test: IntArray


def assign_folds(
    patient_id: npt.ArrayLike, event: npt.ArrayLike, n_folds: int, seed: int
) -> IntArray:
    """Deal patients into folds of equal size and equal event rate, all rows of a patient into one.

    Parameters
    ----------
    patient_id
        Shape (n,); rows with one id belong to one patient.
    event
        0/1, shape (n,); a patient counts as an event if any of their rows does.
    n_folds
        Number of folds, at least 2.
    seed
        The same seed gives the same folds.

    Returns
    -------
    int64 array (n,)
        Fold of each row, 0 to n_folds - 1. Patients (with and without event apart) are shuffled, those with
        the most rows first, and each goes to the fold with the fewest rows of its kind.

    Raises
    ------
    InputError
        If fewer patients with an event exist than folds, so that some fold would have none.
    """
    flags = check_vector(event, "event")
    if not np.isin(flags, (0.0, 1.0)).all():
        raise InputError("event holds values other than 0 and 1.")
    ids = np.asarray(patient_id)
    if ids.shape != flags.shape:
        raise InputError(f"patient_id has shape {ids.shape}, event {flags.shape}: align the rows.")
    if pd.isna(ids).any():
        raise InputError("patient_id holds missing values: every row needs its patient.")
    if n_folds < 2:
        raise InputError(f"n_folds is {n_folds}: give at least 2.")
    codes, patients = pd.factorize(ids)
    rows = np.bincount(codes, minlength=len(patients))
    any_event = np.bincount(codes, weights=flags, minlength=len(patients)) > 0
    if any_event.sum() < n_folds:
        raise InputError(
            f"{int(any_event.sum())} patients with an event cannot fill {n_folds} folds: use fewer folds."
        )
    rng = np.random.default_rng(seed)
    fold = np.empty(len(patients), dtype=np.int64)
    load = np.zeros(n_folds)  # carried on from events to censored, so that totals stay level too
    for kind in (True, False):
        members = rng.permutation(np.flatnonzero(any_event == kind))
        members = members[np.argsort(-rows[members], kind="stable")]
        own_load = np.zeros(n_folds)
        for patient in members:
            target = np.lexsort((load, own_load))[0]
            fold[patient] = target
            own_load[target] += rows[patient]
            load[target] += rows[patient]
    return fold[codes]


def grouped_folds(
    patient_id: npt.ArrayLike, event: npt.ArrayLike, n_folds: int = 5, seed: int = 42
) -> list[Split]:
    """Return k-fold splits, stratified on the event and grouped by patient.

    Of the rows outside the test fold, a fifth (dealt by the same rules) is for validation, the rest for
    training.

    Raises
    ------
    InputError
        As `assign_folds`, for the outer and for the inner division.
    """
    ids, flags = np.asarray(patient_id), np.asarray(event)
    folds = assign_folds(ids, flags, n_folds, seed)
    splits = []
    for fold in range(n_folds):
        rest = np.flatnonzero(folds != fold)
        inner = assign_folds(ids[rest], flags[rest], 5, seed)
        test = np.flatnonzero(folds == fold)
        splits.append(Split(seed, fold, rest[inner > 0], rest[inner == 0], test))
    return splits


def study_folds(event: npt.ArrayLike, seed: int = 42) -> list[Split]:
    """Return the study's own division: two stratified halves, each training half cut 80/20.

    Stratified on the event alone and blind to patients, as published: for reference, with one row a patient.

    Raises
    ------
    InputError
        If there are too few events (or censored rows) for one in each part.
    """
    from sklearn.model_selection import StratifiedKFold, train_test_split

    flags = check_vector(event, "event")
    fewest = int(min((flags == 1).sum(), (flags == 0).sum()))
    if fewest < 4:
        raise InputError(
            f"{fewest} rows of the rarer outcome cannot fill two halves cut 80/20: at least 4 are needed."
        )
    splits = []
    halves = StratifiedKFold(2, shuffle=True, random_state=seed).split(flags, flags)
    for fold, (development, test) in enumerate(halves):
        train, validation = train_test_split(
            development, test_size=0.2, stratify=flags[development], random_state=seed
        )
        splits.append(Split(seed, fold, np.sort(train), np.sort(validation), test))
    return splits


def protocol_splits(
    protocol: str,
    patient_id: npt.ArrayLike,
    event: npt.ArrayLike,
    seeds: Sequence[int] = STUDY_SEEDS,
    n_folds: int = 5,
) -> list[Split]:
    """Return all splits of a protocol: ``"study"`` (`study_folds`) or ``"grouped"`` (`grouped_folds`), by seed."""
    if protocol == "study":
        return [split for seed in seeds for split in study_folds(event, seed)]
    if protocol == "grouped":
        return [
            split for seed in seeds for split in grouped_folds(patient_id, event, n_folds, seed)
        ]
    raise InputError(f"protocol is {protocol!r}: use 'study' or 'grouped'.")


def cross_validated_scores(
    splits: Sequence[Split],
    fit: Callable[[IntArray, IntArray], Model],
    predict: Callable[[Model, IntArray], npt.ArrayLike],
) -> pd.DataFrame:
    """Fit on each split and score its test rows, and those alone.

    Parameters
    ----------
    splits
        From `protocol_splits`, `grouped_folds` or `study_folds`.
    fit
        ``fit(train_rows, validation_rows) -> model``; it is never told the test rows.
    predict
        ``predict(model, rows) -> risk`` of shape (len(rows),).

    Returns
    -------
    DataFrame
        ``seed``, ``fold``, ``row``, ``risk``: which model scored whom stays on record, so that a row is never
        scored by a model that saw it.

    Raises
    ------
    InputError
        If the parts of a split overlap, or a prediction has the wrong length or is not finite.
    """
    parts = []
    for split in splits:
        rows = np.concatenate([split.train, split.validation, split.test])
        if len(np.unique(rows)) != len(rows):
            raise InputError(
                f"Seed {split.seed}, fold {split.fold}: train, validation and test overlap."
            )
        model = fit(split.train, split.validation)
        risk = check_vector(predict(model, split.test), "predicted risk", len(split.test))
        parts.append(
            pd.DataFrame({"seed": split.seed, "fold": split.fold, "row": split.test, "risk": risk})
        )
    return pd.concat(parts, ignore_index=True)


def centre_by_fold(risk: npt.ArrayLike, fold: npt.ArrayLike, method: str = "mean") -> FloatArray:
    """Put the scores of several Cox models on one scale before they are pooled.

    A log risk is defined up to a constant of its model, so raw scores of two folds cannot be compared.

    Parameters
    ----------
    risk
        Log risk, shape (n,), each from the model of its fold.
    fold
        Fold (or model) of each row, shape (n,).
    method
        ``"mean"`` subtracts the fold's mean; ``"rank"`` gives the mid-rank within the fold in (0, 1).

    Returns
    -------
    float64 array (n,)
        Unchanged when any constant is added to the scores of any fold.
    """
    from scipy.stats import rankdata

    scores = check_vector(risk, "risk")
    labels = np.asarray(fold)
    if labels.shape != scores.shape:
        raise InputError(f"fold has shape {labels.shape}, risk {scores.shape}: align the rows.")
    if method not in ("mean", "rank"):
        raise InputError(f"method is {method!r}: use 'mean' or 'rank'.")
    centred = np.empty_like(scores)
    for label in pd.unique(labels):
        rows = labels == label
        if method == "mean":
            centred[rows] = scores[rows] - scores[rows].mean()
        else:
            centred[rows] = (rankdata(scores[rows]) - 0.5) / rows.sum()
    return centred
