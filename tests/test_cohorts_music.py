"""MUSIC: semicolons, decimal commas, blank exits, codes of causes, columns that tell the outcome."""

import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts import describe, music
from ecgrepro.errors import InputError

HEADER = (
    "Patient ID;Follow-up period from enrollment (days);days_4years;Exit of the study;Cause of death;Age;"
    "Gender (male=1);Weight (kg);NYHA class;Creatinine (?mol/L);ECG rhythm ;Average RR (ms);Holter  rhythm ;"
    "Holter onset (hh:mm:ss);Average RR (ms);Number of ventricular premature contractions per hour;"
)
ROWS = [
    "P0001;2065;1460;;0;55;1;83;2;112,5;0;750,2;0;'11:38:43';740;4,970,833,333;",  # survivor: blank exit
    "P0002;123;123;3;3;68;1;71,5;3;99;0;800;1;'09:00:00';810;0,5;",  # sudden death
    "P0003;900;900;3;6;70;0;65;3;NA;1;700;1;NA;705;1;",  # pump failure
    "P0004;800;800;3;7;>89;0;;2;130,25;1;690;1;NA;700;2;",  # pump failure, oldest
    "P0005;400;400;3;1;71;1;80;2;100;0;850;0;NA;840;3;",  # not cardiac
    "P0006;300;300;2;0;50;1;90;3;101;0;820;0;NA;830;4;",  # transplanted
    "P0007;200;200;1;0;60;1;77;2;95;0;900;0;NA;890;5;",  # lost
    "P0008;0;0;3;3;64;0;60;3;88;0;750;0;NA;745;6;",  # died on the first day
]


def write(folder, rows=ROWS, header=HEADER):
    # the release is Latin-1, and its μ was lost: one byte that is not UTF-8 must not stop the reader
    text = "\r\n".join([header, *rows, ""]).replace("(?mol/L)", "(\xb5mol/L)")
    (folder / "subject-info.csv").write_bytes(text.encode("latin-1"))
    return folder


@pytest.mark.parametrize(
    ("outcome", "events", "competing"),
    [
        ("cardiac", ["P0002", "P0003", "P0004", "P0008"], ["P0005", "P0006"]),
        ("sudden", ["P0002", "P0008"], ["P0003", "P0004", "P0005", "P0006"]),
        ("pump_failure", ["P0003", "P0004"], ["P0002", "P0005", "P0006", "P0008"]),
        ("all_cause", ["P0002", "P0003", "P0004", "P0005", "P0008"], ["P0006"]),
    ],
)
def test_outcomes_and_competing_events(tmp_path, outcome, events, competing):
    table = music.read_music(write(tmp_path), outcome).table
    assert table.loc[table["event"] == 1, "patient_id"].tolist() == events
    assert table.loc[table["competing"] == 1, "patient_id"].tolist() == competing
    censored = table[(table["event"] == 0) & (table["competing"] == 0)]
    assert {"P0001", "P0007"} <= set(censored["patient_id"])  # the survivor, the lost


def test_cells_become_numbers_and_nothing_tells_the_outcome(tmp_path):
    cohort = music.read_music(write(tmp_path))
    table = cohort.table
    assert table["time"].tolist() == [2065, 123, 900, 800, 400, 300, 200, 0.5]
    assert table["age"].tolist() == [55, 68, 70, 90, 71, 50, 60, 64]
    assert table["sex"].tolist() == [0, 0, 1, 1, 0, 0, 0, 1]
    assert table["Weight (kg)"].iloc[1] == 71.5
    assert np.isnan(table["Weight (kg)"].iloc[3])
    creatinine = next(name for name in table.columns if name.startswith("Creatinine"))
    assert table[creatinine].iloc[0] == 112.5
    assert table["Average RR (ms)"].iloc[0] == 750.2  # ECG and Holter share a header
    assert table["Average RR (ms).1"].iloc[0] == 740
    assert "ECG rhythm" in table.columns
    leaks = set(music.LEAKING) | set(music.UNUSABLE)
    assert not leaks & set(table.columns)
    assert not any(name.startswith("Unnamed") for name in table.columns)
    covariates = table.drop(columns="patient_id")
    assert all(pd.api.types.is_numeric_dtype(covariates[name]) for name in covariates)
    assert describe(cohort)["competing"] == 2


def test_wrong_cells_are_named(tmp_path):
    def broken(position, old, new):
        rows = list(ROWS)
        rows[position] = rows[position].replace(old, new, 1)
        return write(tmp_path, rows)

    with pytest.raises(
        InputError, match=r"row 3: column Exit of the study is '9': known codes are"
    ):
        music.read_music(broken(1, ";3;3;", ";9;3;"))
    with pytest.raises(InputError, match="row 3: column Cause of death gives no cause"):
        music.read_music(broken(1, ";3;3;", ";3;;"))
    with pytest.raises(
        InputError, match="row 2: column Cause of death gives a cause for a patient"
    ):
        music.read_music(broken(0, ";;0;55", ";;3;55"))
    with pytest.raises(InputError, match=r"row 2: column Weight \(kg\) is '1,234,5'"):
        music.read_music(broken(0, ";83;", ";1,234,5;"))
    with pytest.raises(InputError, match="row 3: column time is empty for an event"):
        music.read_music(broken(1, ";123;123;", ";;123;"))
    with pytest.raises(InputError, match="separated by semicolons"):
        music.read_music(write(tmp_path, [], HEADER.replace(";", ",")))
    with pytest.raises(InputError, match="no rows"):
        music.read_music(write(tmp_path, []))
    with pytest.raises(InputError, match="outcome is 'stroke'"):
        music.read_music(tmp_path, "stroke")
    with pytest.raises(InputError, match="is missing: download"):
        music.read_music(tmp_path / "elsewhere")
