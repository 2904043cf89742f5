"""Time to a new finding from PTB-XL's csv: by hand, and on the genuine table."""

import pandas as pd
import pytest

from ecgrepro import ROOT
from ecgrepro.cohorts.ptbxl_longitudinal import (
    FINDINGS,
    SELECTION_BIAS,
    time_to_finding,
)
from ecgrepro.data.ptbxl import open_release
from ecgrepro.errors import InputError


def index(*records: tuple) -> pd.DataFrame:
    """PTB-XL's index from (ecg_id, patient, time, codes)."""
    table = pd.DataFrame(records, columns=["ecg_id", "patient_id", "recording_date", "scp_codes"])
    table["recording_date"] = pd.to_datetime(table["recording_date"], format="ISO8601")
    table["scp_codes"] = [dict.fromkeys(codes, 0.0) for codes in table["scp_codes"]]
    return table.assign(age=60.0, sex=1, strat_fold=3).set_index("ecg_id")


def test_the_clock_by_hand():
    cohort = time_to_finding(
        index(
            (5, 1, "2000-01-10 08:00", ["NORM"]),  # rows need not be in order
            (4, 1, "2000-01-01 09:00", ["NORM"]),
            (6, 1, "2000-03-01 09:00", ["AFIB"]),  # event after 60 days; likelihood 0 counts
            (7, 1, "2000-05-01 09:00", ["NORM"]),
            (8, 2, "2000-01-01 23:00", ["NORM"]),
            (9, 2, "2000-01-02 01:00", ["NORM"]),  # censored after 1 day (2 hours)
            (10, 3, "2000-01-01 08:00", ["AFIB"]),  # prevalent
            (11, 3, "2000-02-01 08:00", ["NORM"]),
            (12, 4, "2000-01-01 08:00", ["NORM"]),  # prevalent: seen later on the first day
            (13, 4, "2000-01-01 18:00", ["AFLT"]),
            (14, 4, "2000-02-01 18:00", ["AFLT"]),
            (15, 5, "2000-01-01 08:00", ["NORM"]),  # two ECGs, one day: no follow-up
            (16, 5, "2000-01-01 09:00", ["AFIB"]),
            (17, 6, "2000-01-01 08:00", ["NORM"]),  # one ECG: no follow-up
        ),
        "atrial fibrillation",
    )
    table = cohort.table
    assert table["patient_id"].tolist() == [1, 2]
    assert table["ecg_id"].tolist() == [4, 8]
    assert table["time"].tolist() == [60.0, 1.0]
    assert table["event"].tolist() == [1, 0]
    assert table["later_ecgs"].tolist() == [3, 1]
    assert [count for _, count in cohort.flow] == [6, 4, 2]
    assert "sicker" in SELECTION_BIAS


def test_unknown_findings_and_missing_columns():
    table = index((1, 1, "2000-01-01", ["NORM"]), (2, 1, "2000-02-01", ["NORM"]))
    with pytest.raises(InputError, match="finding is 'stroke': use one of atrial fibrillation"):
        time_to_finding(table, "stroke")
    with pytest.raises(InputError, match="none of the 1 rows has event 1"):
        time_to_finding(table, "long QT", codes=["LNGQT"])
    with pytest.raises(InputError, match="no column strat_fold"):
        time_to_finding(table.drop(columns="strat_fold"), "atrial fibrillation")


def test_findings_are_scp_codes():
    known = set(
        pd.read_csv(ROOT / "ecgrepro" / "simulate" / "scp_statements.csv", index_col=0).index
    )
    for codes in FINDINGS.values():
        assert set(codes) <= known


def test_on_the_genuine_table(real_ptbxl):
    """Version 1.0.3: 18,869 patients, 2,042 of them with ECGs on several days."""
    cohort = time_to_finding(open_release(real_ptbxl).index, "atrial fibrillation")
    assert [count for _, count in cohort.flow] == [18869, 2042, 1813]
    assert cohort.table["event"].sum() == 86
    assert cohort.table["patient_id"].is_unique
    assert (cohort.table["time"] >= 1).all()
