"""The way most users come: their own csv, one row a patient."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ecgrepro.cohorts.schema import DAYS_PER_YEAR, LONGEST_FOLLOW_UP, validate_follow_up
from ecgrepro.cohorts.tables import read_table
from ecgrepro.errors import InputError

DAYS = {"days": 1.0, "weeks": 7.0, "months": DAYS_PER_YEAR / 12, "years": DAYS_PER_YEAR}
"""Length of a unit of time in days."""


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
