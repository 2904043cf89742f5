"""Intervals over folds or seeds: Student's t, and the correction for training sets that overlap."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import check_vector
from ecgrepro.survival.resampling import Interval


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Return the mean of independent values (one a seed, say) with Student's t interval.

    For folds of repeated cross-validation this is too narrow, because folds share training rows: use
    `nadeau_bengio_interval`.
    """
    return _t_interval(values, 0.0, level, "t interval of the mean")


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
    return _t_interval(values, test_to_train, level, "corrected resampled t interval")


def summarize_folds(
    table: pd.DataFrame, test_to_train: float, value: str = "value", level: float = 0.95
) -> dict[str, object]:
    """Summarise a metric over the folds of repeated cross-validation, every value kept.

    Parameters
    ----------
    table
        One row a fold: ``seed``, ``fold`` and the column named by `value`.
    test_to_train
        As `nadeau_bengio_interval`.

    Returns
    -------
    dict
        ``mean``; ``values`` (all folds); ``sd_folds`` (over all folds, ddof 1); ``sd_seed_means`` (over the
        seeds' means, ddof 1; None for one seed); ``naive`` and ``corrected``: `Interval`. The two standard
        deviations are different quantities and are named for what they are.
    """
    for column in ("seed", "fold", value):
        if column not in table.columns:
            raise InputError(f"The table of folds has no column {column!r}.")
    values = check_vector(table[value], value)
    seed_means = table.groupby("seed")[value].mean()
    return {
        "mean": float(values.mean()),
        "values": [float(x) for x in values],
        "sd_folds": float(values.std(ddof=1)) if len(values) > 1 else None,
        "sd_seed_means": float(seed_means.std(ddof=1)) if len(seed_means) > 1 else None,
        "naive": mean_interval(values, level),
        "corrected": nadeau_bengio_interval(values, test_to_train, level),
    }


def _t_interval(values: npt.ArrayLike, overlap: float, level: float, method: str) -> Interval:
    found = check_vector(values, "values")
    if len(found) < 2:
        raise InputError(
            f"{len(found)} value has no spread: an interval over folds needs at least two."
        )
    error = float(np.sqrt((1 / len(found) + overlap) * found.var(ddof=1)))
    reach = float(stats.t.ppf(0.5 + level / 2, len(found) - 1)) * error
    mean = float(found.mean())
    return Interval(mean, mean - reach, mean + reach, level, error, len(found), 0, method)
