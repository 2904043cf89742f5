"""The folds of one arm: fit on the training part, select on validation, score the test rows and no others."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.protocol.arms import Arm
from ecgrepro.survival import Split, concordance_index, grouped_folds, study_folds

IntArray = npt.NDArray[np.int64]
Model = TypeVar("Model")

NO_PAIR = "no two test patients are comparable"


def splits_of(arm: Arm, table: pd.DataFrame) -> list[Split]:
    """Return the folds of an arm's seed.

    Raises
    ------
    InputError
        If nobody has an event, there are fewer patients with an event than the parts of the division, or the
        study's division, which is blind to patients, would meet a patient twice.
    """
    where = f"cohort {arm.cohort!r}"
    if table["event"].sum() == 0:
        raise InputError(
            f"None of the {len(table)} rows of {where} has an event: nothing can be learned or evaluated."
        )
    if arm.protocol == "study" and table["patient_id"].duplicated().any():
        raise InputError(
            f"{where} has patients with several rows, and the study's protocol does not group by patient: "
            "use protocol 'grouped', or one row a patient."
        )
    try:
        if arm.protocol == "study":
            return study_folds(table["event"], arm.seed)
        return grouped_folds(table["patient_id"], table["event"], arm.n_folds, arm.seed)
    except InputError as error:
        raise InputError(f"{where}, protocol {arm.protocol!r}: {error}") from None


def limit_labels(split: Split, event: npt.ArrayLike, labels: int) -> Split:
    """Keep `labels` training events of a fold, and of everything else the same share.

    Smaller numbers give subsets of larger ones, so that a learning curve adds patients and does not exchange
    them. Validation shrinks too (it keeps at least two of its events, where it has them): who has few labels has
    few to select on. The test part stays whole.

    Raises
    ------
    InputError
        If the training part has fewer events than `labels`.
    """
    if labels == 0:
        return split
    flags = np.asarray(event)
    available = int(flags[split.train].sum())
    if labels > available:
        raise InputError(
            f"Seed {split.seed}, fold {split.fold}: {available} training events, {labels} were asked for."
        )
    share = labels / available

    def keep(rows: IntArray, least: int, part: int) -> IntArray:
        rng = np.random.default_rng([split.seed, split.fold, part])
        chosen = []
        for value, floor in ((1, least), (0, 1)):
            kind = rng.permutation(rows[flags[rows] == value])
            chosen.append(kind[: max(round(share * len(kind)), floor)])
        return np.sort(np.concatenate(chosen))

    train, validation = keep(split.train, labels, 0), keep(split.validation, 2, 1)
    return Split(split.seed, split.fold, train, validation, split.test)


def evaluate_folds(
    table: pd.DataFrame,
    splits: Sequence[Split],
    fit: Callable[[IntArray, IntArray, int], Model],
    predict: Callable[[Model, IntArray], npt.ArrayLike],
    labels: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit and score each fold; every value is kept.

    Parameters
    ----------
    table
        Columns ``patient_id``, ``time`` (days), ``event``.
    splits
        From `splits_of`; positions in `table`.
    fit
        ``fit(train, validation, fold) -> model``. It is never told the test rows.
    predict
        ``predict(model, rows) -> risk``, called with the test rows of the fold.
    labels
        As `limit_labels`.

    Returns
    -------
    folds
        One row a fold: seed, fold, n and events (test), n_train, events_train, n_validation, events_validation,
        n_development (rows outside the test part, before `labels` cut them), c_index, test_rows (a fingerprint
        of who was tested), note. A fold without a comparable pair has no C-index: NaN, and the note says so.
    scores
        One row a test row: seed, fold, row, patient_id, time, event, risk, and centred: the risk less the mean of
        its fold (S-4), so that folds can be pooled.
    """
    folds, scores = [], []
    for whole in splits:
        split = limit_labels(whole, table["event"], labels)

        parts = [split.train, split.validation, split.test]
        if len(np.unique(np.concatenate(parts))) != sum(map(len, parts)):
            raise InputError(
                f"Seed {split.seed}, fold {split.fold}: train, validation and test overlap."
            )
        model = fit(split.train, split.validation, split.fold)
        scored = table.iloc[split.test][["patient_id", "time", "event"]].reset_index(drop=True)
        risk = np.asarray(predict(model, split.test), dtype=float)
        for place, column in enumerate((split.seed, split.fold, split.test, risk)):
            scored.insert(place, ("seed", "fold", "row", "risk")[place], column)
        scores.append(scored)
        c_index, note = _c_index(scored)
        event = table["event"].to_numpy()
        folds.append(
            {
                "seed": split.seed,
                "fold": split.fold,
                "n": len(split.test),
                "events": int(event[split.test].sum()),
                "n_train": len(split.train),
                "events_train": int(event[split.train].sum()),
                "n_validation": len(split.validation),
                "events_validation": int(event[split.validation].sum()),
                "n_development": len(whole.train) + len(whole.validation),
                "c_index": c_index,
                "test_rows": hashlib.sha256(np.sort(split.test).tobytes()).hexdigest()[:12],
                "note": note,
            }
        )
    pooled = pd.concat(scores, ignore_index=True)
    by_model = pooled.groupby(["seed", "fold"])["risk"]
    pooled["centred"] = pooled["risk"] - by_model.transform("mean")
    return pd.DataFrame(folds), pooled


def pooled_c_index(scores: pd.DataFrame) -> float:
    """Return the C-index of all test rows of one seed, on scores centred by fold; NaN without a comparable pair."""
    if scores["seed"].nunique() != 1:
        raise InputError(
            "Scores of several seeds hold each patient several times: pool one seed at a time."
        )
    return _c_index(scores, "centred")[0]


def _c_index(scored: pd.DataFrame, column: str = "risk") -> tuple[float, str]:
    """C-index, and why there is none."""
    time, event = scored["time"].to_numpy(float), scored["event"].to_numpy()
    comparable = event.any() and bool(
        ((time > time[event == 1].min()) | ((time == time[event == 1].min()) & (event == 0))).any()
    )
    if not comparable:
        return float("nan"), NO_PAIR
    return concordance_index(time, event, scored[column]), ""
