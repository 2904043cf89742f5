"""Dates are compared as dates, and never guessed."""

import pandas as pd
import pytest

from ecgrepro.cohorts.schema import days_between, parse_dates
from ecgrepro.errors import InputError


def column(*cells: object) -> pd.Series:
    return pd.Series(list(cells), name="ecg_date", dtype="object")


def test_leading_zeros_do_not_matter():
    """S-27: 2018-07-04 comes after 2018-3-4 and after 2017-12-31, which text comparison denies."""
    dates = parse_dates(
        column("2018-07-04", "2018-3-4", "2017-12-31", "2018-10-1 23:59:01"), "a.csv"
    )
    assert dates.iloc[0] > dates.iloc[1] > dates.iloc[2]
    assert not "2018-07-04" > "2018-3-4"
    assert dates.iloc[3] == pd.Timestamp("2018-10-01")
    gap = days_between(parse_dates(column("2018-3-4"), "a"), parse_dates(column("2018-07-04"), "a"))
    assert gap.tolist() == [122.0]
    assert parse_dates(pd.to_datetime(column("2020-02-29 12:00")), "a").iloc[0] == pd.Timestamp(
        "2020-02-29"
    )


@pytest.mark.parametrize("cell", ["04/07/2018", "4 July 2018", "20180704", "2018-07-04T", 43285])
def test_other_formats_are_refused_not_guessed(cell):
    with pytest.raises(InputError, match=r"^a\.csv, row 3: column ecg_date is .*year-month-day"):
        parse_dates(column("2018-07-04", cell), "a.csv")


def test_impossible_and_missing_days():
    with pytest.raises(InputError, match=r"row 2: .* '2019-02-29': this is no day"):
        parse_dates(column("2019-02-29"), "a.csv")
    with pytest.raises(InputError, match="row 3: column ecg_date is empty"):
        parse_dates(column("2019-02-28", None), "a.csv")
