"""Folds: stratified on the event, whole patients together; and intervals over the values of folds or seeds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.curves import IntArray, Interval, check_flags, check_labels, check_vector

STUDY_SEEDS = (42, 2021, 2022, 2023, 2024)
"""Seeds of the study's five repetitions."""


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
    flags = check_flags(event, "event")
    if n_folds < 2:
        raise InputError(f"n_folds is {n_folds}: give at least 2.")
    codes, patients = pd.factorize(check_labels(patient_id, len(flags)))
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
    training. Errors as `assign_folds`, for the outer and for the inner division.
    """
    ids, flags = np.asarray(patient_id), np.asarray(event)
    folds = assign_folds(ids, flags, n_folds, seed)
    splits = []
    for fold in range(n_folds):
        rest, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        inner = assign_folds(ids[rest], flags[rest], 5, seed)
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

    flags = check_flags(event, "event")
    fewest = int(min(flags.sum(), (~flags).sum()))
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


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of independent values (one a seed, say) with Student's t interval.

    For folds of repeated cross-validation this is too narrow, because folds share training rows: use
    `nadeau_bengio_interval`.
    """
    return _t_interval(values, 0.0, level)


def nadeau_bengio_interval(
    values: npt.ArrayLike, test_to_train: float, level: float = 0.95
) -> Interval:
    """Return the mean over the folds of (repeated) cross-validation with the corrected t interval.

    Parameters
    ----------
    values
        The metric on each fold of each repetition, shape (k,).
    test_to_train
        Test rows divided by training rows of a fold: 1 for the study's two folds, 1/4 for five folds.
    level
        Nominal coverage.

    Notes
    -----
    The variance of the mean is taken as (1/k + n_test/n_train)·s² in place of s²/k, which allows for
    the overlap of training sets: Nadeau and Bengio (2003), Machine Learning 52: 239-281, section 4.
    """
    if not test_to_train > 0:
        raise InputError(
            f"test_to_train is {test_to_train:g}: give test rows divided by training rows."
        )
    return _t_interval(values, test_to_train, level)


def _t_interval(values: npt.ArrayLike, overlap: float, level: float) -> Interval:
    found = check_vector(values, "values")
    if len(found) < 2:
        raise InputError(
            f"{len(found)} value has no spread: an interval over folds needs at least two."
        )
    error = float(np.sqrt((1 / len(found) + overlap) * found.var(ddof=1)))
    reach = float(stats.t.ppf(0.5 + level / 2, len(found) - 1)) * error
    mean = float(found.mean())
    return Interval(mean, mean - reach, mean + reach)
