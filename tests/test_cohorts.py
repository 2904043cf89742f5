"""The schema of a follow-up table: what is refused, in which words, and what may be shown."""

import json

import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts import (
    Cohort,
    describe,
    read_follow_up,
    suppress_columns,
    suppress_table,
    validate_follow_up,
)
from ecgrepro.cohorts.describe import median_follow_up
from ecgrepro.cohorts.sources import divide_anew
from ecgrepro.errors import InputError


def follow_up(n: int = 60, seed: int = 0) -> pd.DataFrame:
    """A valid table: n patients, a third with the event."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient_id": np.arange(1000, 1000 + n),
            "ecg_id": np.arange(n),
            "time": rng.integers(1, 2000, n).astype(float),
            "event": (np.arange(n) % 3 == 0).astype(int),
            "age": rng.uniform(40, 80, n),
            "sex": np.arange(n) % 2,
        }
    )


def broken(column: str, value: object, row: int = 4) -> pd.DataFrame:
    table = follow_up()
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


def test_a_valid_table_comes_back_with_settled_types_and_its_rows():
    table = follow_up()
    table["event"] = table["event"].astype(bool)
    table["patient_id"] = table["patient_id"].astype(float)
    table["bmi"] = 25.0
    before = table.copy()
    out = validate_follow_up(table.iloc[::-1], "ours.csv")
    assert out["patient_id"].tolist() == list(range(1059, 999, -1))
    assert out.index.tolist() == list(range(60))
    assert [str(out[c].dtype) for c in ("time", "event", "age", "sex")] == [
        *("float64", "int64", "float64", "float64")
    ]
    assert out["bmi"].eq(25.0).all()
    pd.testing.assert_frame_equal(table, before)
    named = validate_follow_up(follow_up().astype({"patient_id": str}), "ours.csv")
    assert named["patient_id"].iloc[0] == "1000"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("event", 2, r"column event is '2': give 0 or 1 \(1 seen, 0 censored\)"),
        ("event", "yes", r"column event is 'yes': give 0 or 1 \(1 seen"),
        ("event", None, "column event is empty"),
        ("time", -3, "column time is negative: leave out patients whose event came before"),
        ("time", 0, "column time is 0: .*zero_time='half_day'"),
        ("time", "12,5", "column time is '12,5'"),
        ("time", float("inf"), "column time is 'inf'"),
        ("time", 60_000, r"column time is beyond the end of follow-up \(36525 days\)"),
        ("patient_id", 1001, "column patient_id holds a patient who stands in an earlier row"),
        ("patient_id", None, "column patient_id is empty"),
        ("ecg_id", "", "column ecg_id is empty"),
        ("age", 300, "column age is 300: .*leave the cell empty"),
        ("age", -1, "column age is -1"),
        ("sex", 3, r"column sex is '3': give 0 or 1 \(0 male, 1 female\)"),
        ("sex", "M", r"column sex is 'M': give 0 or 1 \(0 male, 1 female\)"),
    ],
)
def test_errors_name_file_row_and_column(column, value, words):
    with pytest.raises(InputError, match=rf"^ours\.csv, row 6: {words}"):
        validate_follow_up(broken(column, value), "ours.csv")


def test_events_without_time_are_told_from_censored_rows_without_time():
    with pytest.raises(InputError, match="row 5: column time is empty for an event"):
        validate_follow_up(broken("time", np.nan, row=3), "ours.csv")
    with pytest.raises(InputError, match="row 6: column time is empty: give the days to the end"):
        validate_follow_up(broken("time", np.nan, row=4), "ours.csv")


def test_several_bad_rows_are_counted():
    table = follow_up()
    table.loc[[4, 9, 11], "time"] = -1.0
    with pytest.raises(InputError, match=r"row 6 \(and 2 more\)"):
        validate_follow_up(table, "ours.csv")


def test_missing_columns_empty_and_all_censored_tables():
    table = follow_up()
    with pytest.raises(
        InputError, match=r"ours\.csv has no column time, event \(it has patient_id"
    ):
        validate_follow_up(table.drop(columns=["time", "event"]), "ours.csv")
    with pytest.raises(InputError, match="neither ecg_id nor waveform"):
        validate_follow_up(table.drop(columns="ecg_id"), "ours.csv")
    clinical = validate_follow_up(table.drop(columns="ecg_id"), "ours.csv", needs_ecg=False)
    assert len(clinical) == 60
    with pytest.raises(InputError, match="no rows: the cohort is empty"):
        validate_follow_up(table.iloc[:0], "ours.csv")
    with pytest.raises(InputError, match="none of the 60 rows has event 1"):
        validate_follow_up(table.assign(event=0), "ours.csv")


def test_half_day_policy_for_zero_times():
    out = validate_follow_up(broken("time", 0), "ours.csv", zero_time="half_day")
    assert out["time"].iloc[4] == 0.5
    assert (out["time"] > 0).all()
    with pytest.raises(InputError, match="'refuse' or 'half_day'"):
        validate_follow_up(follow_up(), "ours.csv", zero_time="drop")


def test_follow_up_end_is_a_parameter():
    table = follow_up()
    assert len(validate_follow_up(table, "ours.csv", max_time=2000)) == 60
    with pytest.raises(InputError, match=r"beyond the end of follow-up \(1000 days\)"):
        validate_follow_up(table, "ours.csv", max_time=1000)


def test_patients_with_several_ecgs_only_when_asked_for():
    table = pd.concat([follow_up(), follow_up().assign(ecg_id=lambda t: t["ecg_id"] + 500)])
    with pytest.raises(InputError, match="one_row_per_patient=False"):
        validate_follow_up(table, "ours.csv")
    assert len(validate_follow_up(table, "ours.csv", one_row_per_patient=False)) == 120
    twice = pd.concat([follow_up(), follow_up()])
    with pytest.raises(InputError, match=r"row 62 .*repeat an earlier row"):
        validate_follow_up(twice, "ours.csv", one_row_per_patient=False)


def test_an_outcome_is_an_event_or_a_competing_event():
    table = follow_up().assign(competing=0)
    table.loc[1, "competing"] = 1
    assert validate_follow_up(table, "ours.csv")["competing"].sum() == 1
    table.loc[3, "competing"] = 1
    with pytest.raises(InputError, match="row 5: column competing is 1 where event is 1"):
        validate_follow_up(table, "ours.csv")


def test_early_censored_patients_are_never_removed():
    """S-28: no row is dropped for short follow-up, which would condition on the future."""
    table = follow_up(300)
    assert len(validate_follow_up(table, "ours.csv")) == 300


# -------------------------------------------------------------------------------------------- own csv


def test_reading_ones_own_csv(tmp_path):
    file = tmp_path / "ours.csv"
    follow_up().rename(columns={"time": "years"}).assign(
        years=lambda t: t["years"] / 365.25
    ).to_csv(file, index=False)
    out = read_follow_up(file, columns={"time": "years"}, time_unit="years")
    np.testing.assert_allclose(out["time"], follow_up()["time"])
    with pytest.raises(InputError, match=r"ours\.csv has no column time"):
        read_follow_up(file)
    with pytest.raises(InputError, match=r"ours\.csv has no column 'duration'"):
        read_follow_up(file, columns={"time": "duration"})
    with pytest.raises(InputError, match="both 'age' and 'sex'"):
        read_follow_up(file, columns={"age": "sex"})
    with pytest.raises(InputError, match="time_unit is 'hours'"):
        read_follow_up(file, time_unit="hours")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv is missing"):
        read_follow_up(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv is not a readable csv"):
        read_follow_up(tmp_path / "empty.csv")
    (tmp_path / "ragged.csv").write_text("patient_id,time\n1,2\n1,2,3,4\n")
    with pytest.raises(InputError, match=r"ragged\.csv is not a readable csv .*line 3"):
        read_follow_up(tmp_path / "ragged.csv")
    for text, word in (
        ("a;b\n1;2\n", "semicolons"),
        ("sep=;\na;b\n", "semicolons"),
        ("a\tb\n", "tabs"),
    ):
        (tmp_path / "other.csv").write_text(text)
        with pytest.raises(InputError, match=rf"other\.csv is separated by {word}: save it with"):
            read_follow_up(tmp_path / "other.csv")
    (tmp_path / "wide.csv").write_text("patient_id,time\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"wide\.csv is not written in UTF-8"):
        read_follow_up(tmp_path / "wide.csv")
    (tmp_path / "bad.csv").write_text("patient_id,ecg_id,time,event\n7,1,30,1\n8,2,-4,0\n")
    with pytest.raises(InputError, match=r"^bad\.csv, row 3: column time is negative"):
        read_follow_up(tmp_path / "bad.csv")


# ---------------------------------------------------------------------------------------------- splits


def test_split_keeps_patients_whole_and_events_everywhere():
    """S-29: train, validation and test share no patient."""
    table = pd.concat([follow_up(150), follow_up(150).assign(ecg_id=lambda t: t["ecg_id"] + 500)])
    out = divide_anew(1, table)
    assert out.groupby("patient_id")["split"].nunique().max() == 1
    share = out["split"].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.5, abs=0.02)
    assert share["validation"] == pytest.approx(0.1, abs=0.02)
    rates = out.groupby("split")["event"].mean()
    assert np.ptp(rates) < 0.05
    assert set(out.loc[out["split"] == "test", "fold"]) == {6, 7, 8, 9, 10}
    assert "split" not in table.columns


def test_split_keeps_given_folds_and_refuses_bad_ones():
    table = follow_up().assign(fold=lambda t: t["ecg_id"] % 10 + 1)
    assert divide_anew(0, table)["fold"].equals(table["fold"])
    divided = table.assign(patient_id=lambda t: t["patient_id"] // 2)
    with pytest.raises(InputError, match="divides a patient"):
        divide_anew(0, divided)
    with pytest.raises(InputError, match="cannot fill 10 folds"):
        divide_anew(0, follow_up(24))


# -------------------------------------------------------------------------------------- what is shown


def cohort_of(table: pd.DataFrame, restricted: bool, flow: tuple = ()) -> Cohort:
    return Cohort("HYP", table, "simulated follow-up", restricted, simulated=True, flow=flow)


def test_describe_gives_aggregates_as_json():
    table = follow_up(90)
    table.loc[0, "age"] = np.nan
    found = describe(
        cohort_of(table, restricted=False, flow=(("with an ECG", 95), ("at risk", 90)))
    )
    assert (found["n"], found["events"], found["female"], found["age_known"]) == (90, 30, 45, 89)
    assert found["event_rate"] == pytest.approx(1 / 3)
    assert found["age_mean"] == pytest.approx(table["age"].mean())
    assert found["flow"] == [{"step": "with an ECG", "rows": 95}, {"step": "at risk", "rows": 90}]
    json.dumps(found, allow_nan=False)


def test_median_follow_up_is_reverse_kaplan_meier():
    table = pd.DataFrame({"time": [1.0, 2, 3, 4, 5], "event": [1, 0, 0, 1, 0]})
    assert median_follow_up(table) == 3.0
    assert median_follow_up(pd.DataFrame({"time": [1.0, 2], "event": [1, 1]})) is None


def test_restricted_cohorts_show_no_small_count_and_nothing_that_gives_one_away():
    table = follow_up(60)
    table["event"] = (np.arange(60) < 7).astype(int)
    table["sex"] = (np.arange(60) < 4).astype(int)
    table["competing"] = (np.arange(60) >= 55).astype(int)
    flow = (("with an ECG", 200), ("without a median beat", 63), ("at risk", 60))
    found = describe(cohort_of(table, restricted=True, flow=flow))
    assert found["events"] == "<10"
    assert found["event_rate"] == "suppressed"
    assert (found["female"], found["male"]) == ("suppressed", "suppressed")
    assert found["competing"] == "<10"
    assert [step["rows"] for step in found["flow"]] == [200, "suppressed", 60]
    assert describe(cohort_of(table, restricted=False))["events"] == 7
    nearly_all = follow_up(60).assign(event=(np.arange(60) >= 3).astype(int))
    assert describe(cohort_of(nearly_all, restricted=True))["events"] == "suppressed"
    tiny = describe(cohort_of(follow_up(9), restricted=True))
    assert tiny["n"] == "<10"
    assert tiny["age_mean"] == tiny["median_follow_up_days"] == "suppressed"


def test_printing_a_cohort_prints_no_patient():
    """Privacy: the study's notebooks print participants; a cohort's repr holds none."""
    shown = repr(cohort_of(follow_up(), restricted=True))
    assert "HYP" in shown
    assert "1000" not in shown


def test_counts_of_parts_are_hidden_together():
    """With the whole known, one hidden part is the difference of the others."""
    parts = pd.DataFrame({"n": [40, 15, 45], "events": [12, 8, 20]}, index=["a", "b", "c"])
    shown = suppress_columns(parts, ["n", "events"], restricted=True)
    assert shown["n"].tolist() == [40, 15, 45]
    assert set(shown["events"]) == {"suppressed"}
    pd.testing.assert_frame_equal(suppress_columns(parts, ["events"], restricted=False), parts)


def test_tables_of_counts_are_suppressed_cell_by_cell():
    table = pd.DataFrame({"time": [0.0, 1.0], "at_risk": [30, 9]})
    assert suppress_table(table, ["at_risk"], restricted=True)["at_risk"].tolist() == [30, "<10"]
    assert suppress_table(table, ["at_risk"], restricted=False)["at_risk"].tolist() == [30, 9]
    assert table["at_risk"].tolist() == [30, 9]
