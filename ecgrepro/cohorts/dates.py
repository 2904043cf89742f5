"""Dates as dates: one format a column, never compared as text."""

import pandas as pd

from ecgrepro.cohorts.tables import is_blank, refuse, refuse_values

_ISO = r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?"


def parse_dates(column: pd.Series, source: str, missing_allowed: bool = False) -> pd.Series:
    """Parse year-month-day dates, with or without leading zeros (2018-07-04, 2018-7-4), to whole days.

    Parameters
    ----------
    column
        Text, or dates already. A time of day after the date is dropped.
    source
        The file that errors name.
    missing_allowed
        Leave empty cells as missing in place of refusing them.

    Returns
    -------
    Series of datetime64
        At midnight, index as `column`.

    Raises
    ------
    InputError
        If a cell is in another order (04/07/2018 may be April or July: it is not guessed), or no date.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        dates = column.dt.normalize()
        blank = column.isna()
    else:
        text = column.astype("string").str.strip()
        blank = is_blank(text)
        iso = text.str.fullmatch(_ISO).fillna(False).astype(bool)
        refuse_values(~iso & ~blank, source, text, "write all dates as year-month-day (2018-07-04)")
        dates = pd.to_datetime(
            text.str.replace("T", " ").str.split(" ").str[0], format="%Y-%m-%d", errors="coerce"
        )
        impossible = dates.isna() & ~blank
        refuse_values(impossible, source, text, "this is no day of the calendar, so correct it")
    if not missing_allowed:
        refuse(blank, source, str(column.name), "is empty", "give the date")
    return dates


def days_between(start: pd.Series, end: pd.Series) -> pd.Series:
    """Return whole days from `start` to `end` as float64 (negative where `end` comes first)."""
    return (end - start).dt.days.astype("float64")
