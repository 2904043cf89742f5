"""One schema for every follow-up table, checked with errors that name file, row and column."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ecgrepro.cohorts.tables import binary, identifiers, numbers, refuse, refuse_values
from ecgrepro.errors import InputError

DAYS_PER_YEAR = 365.25
LONGEST_FOLLOW_UP = 100 * DAYS_PER_YEAR
"""Days. A longer time is a wrong unit or a wrong date."""
OLDEST = 120.0
"""Years."""


@dataclass(frozen=True)
class Cohort:
    """A validated follow-up table and what must be said about it.

    Attributes
    ----------
    name
        Short name, for example ``"HYP"``.
    table
        As `validate_follow_up` returns it. Left out of ``repr``: printing a cohort must not print patients.
    source_label
        Where the data come from, in the words that stand under a figure.
    restricted
        True where individual rows may not leave the run folder; `describe` then suppresses small counts.
    simulated
        True where outcomes or ECGs are simulated.
    flow
        How the table came about: (step, rows left after it), in order.
    """

    name: str
    table: pd.DataFrame = field(repr=False)
    source_label: str
    restricted: bool
    simulated: bool
    flow: tuple[tuple[str, int], ...] = ()


def validate_follow_up(
    table: pd.DataFrame,
    source: str,
    *,
    max_time: float = LONGEST_FOLLOW_UP,
    zero_time: str = "refuse",
    one_row_per_patient: bool = True,
    needs_ecg: bool = True,
) -> pd.DataFrame:
    """Check a follow-up table against the schema and return it with settled types.

    Parameters
    ----------
    table
        Columns ``patient_id``; ``ecg_id`` or ``waveform`` (a number or a file); ``time`` (days from the ECG
        to the event or to the end of observation); ``event`` (1 seen, 0 censored). Optional: ``age``
        (years), ``sex`` (0 male, 1 female), ``competing`` (1 where another event ended observation).
        Further columns are covariates and are kept as they are.
    source
        The file (or the words) that errors name.
    max_time
        Longest possible time in days, for example from the first ECG to the end of data collection.
    zero_time
        ``"refuse"``, or ``"half_day"``: a time of 0 (event on the day of the ECG) becomes 0.5 days, so that
        the patient stays at risk for an instant.
    one_row_per_patient
        Refuse a patient who occurs twice. With False, rows of one patient must differ in their ECG.
    needs_ecg
        Require ``ecg_id`` or ``waveform``; False for cohorts with clinical covariates alone.

    Returns
    -------
    DataFrame
        A copy: time and age float64, event and competing int64, sex float64 (NaN = unknown), identifiers
        int64 where all are whole numbers and text otherwise; rows in the order given, index 0, 1, ….

    Raises
    ------
    InputError
        For the first rule that is broken. Rows are counted as in the file: the header is row 1.

    Notes
    -----
    Patients are never removed for being censored early: that would condition on the future (a patient who has
    the event early would stay, one who leaves early would not). Use `landmark` to start the clock later.
    """
    out = table.reset_index(drop=True).copy()
    if out.columns.has_duplicates:
        raise InputError(f"{source}: a column name occurs twice: rename or remove one.")
    _require_columns(out, source, needs_ecg)
    if len(out) == 0:
        raise InputError(f"{source} has no rows: the cohort is empty.")
    for column in ("patient_id", "ecg_id", "waveform"):
        if column in out.columns:
            out[column] = identifiers(out[column], source)

    out["event"] = binary(out["event"], source).astype(np.int64)
    out["time"] = _times(out["time"], out["event"] == 1, source, max_time, zero_time)
    if "age" in out.columns:
        out["age"] = _ages(out["age"], source)
    if "sex" in out.columns:
        out["sex"] = binary(out["sex"], source, missing_allowed=True)
    if "competing" in out.columns:
        out["competing"] = binary(out["competing"], source).astype(np.int64)
        both = (out["competing"] == 1) & (out["event"] == 1)
        refuse(both, source, "competing", "is 1 where event is 1", "an outcome is one or the other")

    _refuse_duplicates(out, source, one_row_per_patient)
    if out["event"].sum() == 0:
        raise InputError(
            f"{source}: none of the {len(out)} rows has event 1: a cohort that is all censored cannot be used."
        )
    return out


def landmark(table: pd.DataFrame, days: float) -> pd.DataFrame:
    """Start the clock `days` later: drop everybody whose time is at most that, shorten the others' time.

    The only fair way to leave out early follow-up: events and censored patients go alike.

    Raises
    ------
    InputError
        If `days` is negative, or no event is left.
    """
    if days < 0:
        raise InputError(f"The landmark is {days:g} days: give 0 or more.")
    kept = table[table["time"] > days].copy()
    if len(kept) == 0 or kept["event"].sum() == 0:
        raise InputError(
            f"No event is left after a landmark of {days:g} days: choose an earlier one."
        )
    kept["time"] = kept["time"] - days
    return kept.reset_index(drop=True)


def attach_split(
    table: pd.DataFrame,
    seed: int,
    *,
    n_folds: int = 10,
    validation: Sequence[int] = (7, 8),
    test: Sequence[int] = (9, 10),
) -> pd.DataFrame:
    """Add columns ``fold`` (1 to n_folds) and ``split`` (train, validation, test), whole patients together.

    Parameters
    ----------
    table
        As from `validate_follow_up`. A column ``fold`` that exists already (PTB-XL's own, say) is kept.
    seed
        For dealing the folds (`ecgrepro.survival.assign_folds`).
    n_folds, validation, test
        Number of folds, and those for validation and test; all others are for training.

    Raises
    ------
    InputError
        If there are fewer events than folds, fold lists overlap, a part stays without rows or without
        events, or given folds divide a patient.
    """
    from ecgrepro.survival.folds import assign_folds

    if set(validation) & set(test):
        raise InputError(
            f"Folds {sorted(set(validation) & set(test))} are for validation and test: choose one."
        )
    out = table.copy()
    if "fold" not in out.columns:
        out["fold"] = assign_folds(out["patient_id"], out["event"], n_folds, seed) + 1
    elif (out.groupby("patient_id")["fold"].nunique() > 1).any():
        raise InputError("The column fold divides a patient: all rows of a patient need one fold.")
    out["split"] = np.select(
        [out["fold"].isin(list(validation)), out["fold"].isin(list(test))],
        ["validation", "test"],
        default="train",
    )
    for part in ("train", "validation", "test"):
        rows = out["split"] == part
        if not out.loc[rows, "event"].any():
            raise InputError(
                f"The {part} part has {int(rows.sum())} rows and no event: use other folds or another seed."
            )
    return out


def _require_columns(table: pd.DataFrame, source: str, needs_ecg: bool) -> None:
    missing = [name for name in ("patient_id", "time", "event") if name not in table.columns]
    if missing:
        present = ", ".join(str(name) for name in table.columns) or "none"
        raise InputError(
            f"{source} has no column {', '.join(missing)} (it has {present}): rename or add it."
        )
    if needs_ecg and not {"ecg_id", "waveform"} & set(table.columns):
        raise InputError(
            f"{source} has neither ecg_id nor waveform: say which ECG belongs to a row."
        )


def _times(
    column: pd.Series, event: pd.Series, source: str, max_time: float, zero_time: str
) -> pd.Series:
    if zero_time not in ("refuse", "half_day"):
        raise InputError(f"zero_time is {zero_time!r}: use 'refuse' or 'half_day'.")
    time = numbers(column, source)
    refuse(
        time.isna() & event, source, "time", "is empty for an event", "give the days to the event"
    )
    refuse(time.isna(), source, "time", "is empty", "give the days to the end of observation")
    refuse(
        time < 0,
        source,
        "time",
        "is negative",
        "leave out patients whose event came before the ECG",
    )
    if zero_time == "half_day":
        time = time.mask(time == 0, 0.5)
    refuse(
        time == 0,
        source,
        "time",
        "is 0",
        "the event fell on the day of the ECG, so leave the patient out as prevalent, "
        "or give zero_time='half_day' to count it as half a day",
    )
    refuse(
        time > max_time,
        source,
        "time",
        f"is beyond the end of follow-up ({max_time:g} days)",
        "check the unit (days) and the dates",
    )
    return time


def _ages(column: pd.Series, source: str) -> pd.Series:
    age = numbers(column, source)
    refuse_values(
        (age < 0) | (age > OLDEST),
        source,
        age,
        f"give years from 0 to {OLDEST:g}, or leave the cell empty (PTB-XL's 300 means over 89 or unknown)",
    )
    return age


def _refuse_duplicates(table: pd.DataFrame, source: str, one_row_per_patient: bool) -> None:
    if one_row_per_patient:
        again = table["patient_id"].duplicated()
        refuse(
            again,
            source,
            "patient_id",
            "holds a patient who stands in an earlier row",
            "keep one ECG a patient (the first after entry), or give one_row_per_patient=False",
        )
        return
    keys = [name for name in ("patient_id", "ecg_id", "waveform") if name in table.columns]
    again = table.duplicated(subset=keys)
    refuse(again, source, " and ".join(keys), "repeat an earlier row", "remove one")
