"""Tables and their cells: read without guessing, types settled, errors that name file, row and column."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError


def read_table(file: Path) -> pd.DataFrame:
    """Read a csv without guessing; a missing, empty or ragged file is an `InputError` that names it."""
    try:
        return pd.read_csv(file, low_memory=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file} is missing: check the path.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} is not a readable csv ({reason}): repair it.") from None


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], file: Path) -> None:
    """Raise `InputError` that names the columns which `table` lacks."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{file} has no column {', '.join(missing)}: rename or add it.")


def refuse(mask: npt.ArrayLike, source: str, column: str, wrong: str, remedy: str) -> None:
    """Raise `InputError` for the first row where `mask` is True: where it is, what is wrong, what to do."""
    if np.asarray(mask).any():
        raise InputError(f"{source}, {_name_rows(mask)}: column {column} {wrong}: {remedy}.")


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


def binary(column: pd.Series, source: str, missing_allowed: bool = False) -> pd.Series:
    """Return 0.0, 1.0 or (where allowed) NaN; anything else is an `InputError`."""
    values = numbers(column, source)
    if not missing_allowed:
        refuse(values.isna(), source, str(column.name), "is empty", "give 0 or 1")
    refuse_values(~values.isin([0.0, 1.0]) & values.notna(), source, values, "give 0 or 1")
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


def _name_rows(mask: npt.ArrayLike) -> str:
    """Say which rows of a file a mask means, as an editor counts them (the header is row 1)."""
    rows = np.flatnonzero(np.asarray(mask)) + 2
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    return f"row {rows[0]}{more}"
