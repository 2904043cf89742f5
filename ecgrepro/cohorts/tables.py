"""Reading csv tables: what every adapter needs, with errors that name file, row and column."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro.cohorts.schema import name_rows
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


def flags(column: pd.Series, source: str) -> pd.Series:
    """Return True/False, 1/0 or their text as float64; an empty cell is NaN, anything else `InputError`."""
    text = column.astype("string").str.strip().str.lower()
    values = text.map({"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0})
    strange = values.isna() & text.notna() & (text != "")
    if strange.any():
        raise InputError(
            f"{source}, {name_rows(strange)}: column {column.name} is {text[strange].iloc[0]!r}: "
            "give True or False."
        )
    return values.astype(np.float64)
