"""One schema for every follow-up table: cells read without guessing, errors that name file, row and column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError

NULL = "null control"
"""Name of the cohort whose outcomes were dealt out without looking at the ECG."""

DAYS_PER_YEAR = 365.25
LONGEST_FOLLOW_UP = 100 * DAYS_PER_YEAR
"""Days. A longer time is a wrong unit or a wrong date."""
OLDEST = 120.0
"""Years."""
DAYS = {"days": 1.0, "weeks": 7.0, "months": DAYS_PER_YEAR / 12, "years": DAYS_PER_YEAR}
"""Length of a unit of time in days."""

_ISO = r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"


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


def read_follow_up(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    time_unit: str = "days",
    max_time: float = LONGEST_FOLLOW_UP,
    zero_time: str = "refuse",
    one_row_per_patient: bool = True,
    needs_ecg: bool = True,
) -> pd.DataFrame:
    """Read and check a follow-up csv (comma separated, header in the first row).

    Parameters
    ----------
    path
        The file.
    columns
        The file's names of the schema's columns, for example ``{"time": "days_to_death"}``.
    time_unit
        Unit of the time column: days, weeks, months or years. Whole months make many ties: days are better.
    max_time, zero_time, one_row_per_patient, needs_ecg
        As `validate_follow_up`; `max_time` in days.

    Raises
    ------
    InputError
        If the file is missing, is not a csv, or breaks a rule of the schema (file, row and column named).
    """
    file = Path(path)
    if time_unit not in DAYS:
        raise InputError(f"time_unit is {time_unit!r}: use one of {', '.join(DAYS)}.")
    table = read_table(file)
    for name, given in (columns or {}).items():
        if given not in table.columns:
            raise InputError(f"{file.name} has no column {given!r}, which was named as its {name}.")
        if name != given and name in table.columns:
            raise InputError(
                f"{file.name} has both {name!r} and {given!r}: drop the one that is not meant."
            )
    table = table.rename(columns={given: name for name, given in (columns or {}).items()})
    if time_unit != "days" and "time" in table.columns:
        numbers = pd.to_numeric(table["time"], errors="coerce")
        table["time"] = (numbers * DAYS[time_unit]).where(numbers.notna(), table["time"])
    return validate_follow_up(
        table,
        file.name,
        max_time=max_time,
        zero_time=zero_time,
        one_row_per_patient=one_row_per_patient,
        needs_ecg=needs_ecg,
    )


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
    the event early would stay, one who leaves early would not).
    """
    out = table.reset_index(drop=True).copy()
    if out.columns.has_duplicates:
        raise InputError(f"{source}: a column name occurs twice: rename or remove one.")
    require_columns(out, ("patient_id", "time", "event"), source)
    if needs_ecg and not {"ecg_id", "waveform"} & set(out.columns):
        raise InputError(
            f"{source} has neither ecg_id nor waveform: say which ECG belongs to a row."
        )
    if len(out) == 0:
        raise InputError(f"{source} has no rows: the cohort is empty.")
    keys = [name for name in ("patient_id", "ecg_id", "waveform") if name in out.columns]
    for column in keys:
        out[column] = identifiers(out[column], source)
    out["event"] = binary(out["event"], source, "1 seen, 0 censored").astype(np.int64)
    out["time"] = _times(out["time"], out["event"] == 1, source, max_time, zero_time)
    if "age" in out.columns:
        age = out["age"] = numbers(out["age"], source)
        remedy = f"give years from 0 to {OLDEST:g}, or leave the cell empty (PTB-XL's 300 means over 89 or unknown)"
        refuse_values((age < 0) | (age > OLDEST), source, age, remedy)
    if "sex" in out.columns:
        out["sex"] = binary(out["sex"], source, "0 male, 1 female", missing_allowed=True)
    if "competing" in out.columns:
        out["competing"] = binary(out["competing"], source, "1 another event came first").astype(
            np.int64
        )
        both = (out["competing"] == 1) & (out["event"] == 1)
        refuse(both, source, "competing", "is 1 where event is 1", "an outcome is one or the other")
    if one_row_per_patient:
        wrong = "holds a patient who stands in an earlier row"
        remedy = "keep one ECG a patient (the first after entry), or give one_row_per_patient=False"
        refuse(out["patient_id"].duplicated(), source, "patient_id", wrong, remedy)
    else:
        again = out.duplicated(subset=keys)
        refuse(again, source, " and ".join(keys), "repeat an earlier row", "remove one")
    if out["event"].sum() == 0:
        raise InputError(
            f"{source}: none of the {len(out)} rows has event 1: a cohort that is all censored cannot be used."
        )
    return out


def _times(
    column: pd.Series, event: pd.Series, source: str, max_time: float, zero_time: str
) -> pd.Series:
    if zero_time not in ("refuse", "half_day"):
        raise InputError(f"zero_time is {zero_time!r}: use 'refuse' or 'half_day'.")
    time = numbers(column, source)
    if zero_time == "half_day":
        time = time.mask(time == 0, 0.5)
    same_day = (
        "the event fell on the day of the ECG, so leave the patient out as prevalent, "
        "or give zero_time='half_day' to count it as half a day"
    )
    beyond = f"is beyond the end of follow-up ({max_time:g} days)"
    for mask, wrong, remedy in (
        (time.isna() & event, "is empty for an event", "give the days to the event"),
        (time.isna(), "is empty", "give the days to the end of observation"),
        (time < 0, "is negative", "leave out patients whose event came before the ECG"),
        (time == 0, "is 0", same_day),
        (time > max_time, beyond, "check the unit (days) and the dates"),
    ):
        refuse(mask, source, "time", wrong, remedy)
    return time


def read_table(file: Path) -> pd.DataFrame:
    """Read a csv without guessing; a missing, empty or ragged file is an `InputError` that names it."""
    try:
        table = pd.read_csv(file, low_memory=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file} is missing: check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not written in UTF-8: save it as csv in UTF-8.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is not a readable csv ({reason}): repair it.") from None
    for sign, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(table.columns) == 1 and sign in table.columns[0]:
            raise InputError(f"{file} is separated by {word}: save it with commas.")
    return table


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], source: str | Path) -> None:
    """Raise `InputError` that names the columns which `table` lacks, and those that it has."""
    if missing := [name for name in columns if name not in table.columns]:
        present = ", ".join(str(name) for name in table.columns) or "none"
        raise InputError(
            f"{source} has no column {', '.join(missing)} (it has {present}): rename or add it."
        )


def refuse(mask: npt.ArrayLike, source: str, column: str, wrong: str, remedy: str) -> None:
    """Raise `InputError` for the first row where `mask` is True: where it is, what is wrong, what to do.

    Rows are counted as an editor counts them: the header is row 1.
    """
    rows = np.flatnonzero(np.asarray(mask)) + 2
    if len(rows):
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        raise InputError(f"{source}, row {rows[0]}{more}: column {column} {wrong}: {remedy}.")


def refuse_values(mask: npt.ArrayLike, source: str, column: pd.Series, remedy: str) -> None:
    """Raise `InputError` where `mask` is True, and show the first such value of `column`."""
    wrong = np.asarray(mask, dtype=bool)
    if wrong.any():
        value = column[wrong].iloc[0]
        shown = f"{value:g}" if isinstance(value, float) else repr(str(value))
        refuse(wrong, source, str(column.name), f"is {shown}", remedy)


def is_blank(column: pd.Series) -> pd.Series:
    """Return True where a cell is missing, empty, or white space."""
    return column.isna() | (column.astype("string").str.strip() == "")


def identifiers(column: pd.Series, source: str) -> pd.Series:
    """Return whole numbers as int64, anything else as text; an empty cell is an `InputError`."""
    refuse(is_blank(column), source, str(column.name), "is empty", "every row needs it")
    if pd.api.types.is_float_dtype(column) and (column == column.round()).all():
        return column.astype(np.int64)
    return column if pd.api.types.is_integer_dtype(column) else column.astype("string").str.strip()


def numbers(column: pd.Series, source: str) -> pd.Series:
    """Return the column as float64; text that is not a number is an `InputError`, an empty cell is NaN."""
    values = pd.to_numeric(column, errors="coerce").astype(np.float64)
    wrong = (values.isna() & ~is_blank(column)) | np.isinf(values)
    refuse_values(wrong, source, column.astype("string"), "give a finite number")
    return values


def binary(
    column: pd.Series, source: str, meaning: str, missing_allowed: bool = False
) -> pd.Series:
    """Return 0.0, 1.0 or (where allowed) NaN; anything else is an `InputError` that says the coding."""
    blank, values = is_blank(column), pd.to_numeric(column, errors="coerce").astype(np.float64)
    remedy = f"give 0 or 1 ({meaning})"
    if not missing_allowed:
        refuse(blank, source, str(column.name), "is empty", remedy)
    refuse_values(~values.isin([0.0, 1.0]) & ~blank, source, column.astype("string"), remedy)
    return values


def true_or_false(column: pd.Series, source: str) -> pd.Series:
    """Return True/False, 1/0 or their text as float64; an empty cell is NaN, anything else `InputError`."""
    text = column.astype("string").str.strip()
    values = text.str.lower().map(
        {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
    )
    strange = values.isna() & text.notna() & (text != "")
    refuse_values(strange, source, text, "give True or False")
    return values.astype(np.float64)


def parse_dates(column: pd.Series, source: str) -> pd.Series:
    """Parse year-month-day text, with or without leading zeros (2018-07-04, 2018-7-4), to whole days.

    A time of day after the date is dropped.

    Raises
    ------
    InputError
        If a cell is empty, in another order (04/07/2018 may be April or July: it is not guessed), or no date.
    """
    text = column.astype("string").str.strip()
    refuse(is_blank(text), source, str(column.name), "is empty", "give the date")
    iso = text.str.fullmatch(_ISO).astype(bool)
    refuse_values(~iso, source, text, "write all dates as year-month-day (2018-07-04)")
    days = text.str.replace("T", " ").str.split(" ").str[0]
    dates = pd.to_datetime(days, format="%Y-%m-%d", errors="coerce")
    refuse_values(dates.isna(), source, text, "this is no day of the calendar, so correct it")
    return dates


def days_between(start: pd.Series, end: pd.Series) -> pd.Series:
    """Return whole days from `start` to `end` as float64 (negative where `end` comes first)."""
    return (end - start).dt.days.astype("float64")
