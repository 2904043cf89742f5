"""What was planted can be found again, and the negative control is empty."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.duration.hazard_regression import PHReg

from ecgrepro.errors import InputError
from ecgrepro.simulate import (
    HazardRatios,
    oracle_hazards,
    plant_outcomes,
    plantable_table,
    write_cohorts,
    write_release,
)
from ecgrepro.simulate.disease import draw_states
from ecgrepro.simulate.outcomes import null_outcomes, visible_severity

N = 5000


def concordance(time: pd.Series, event: pd.Series, risk: pd.Series) -> float:
    """Harrell's C by its definition, in blocks: pairs whose earlier time is an event."""
    t, e, r = (np.asarray(v, dtype=float) for v in (time, event, risk))
    good = pairs = 0.0
    for i in np.flatnonzero(e):
        later = t > t[i]
        pairs += later.sum()
        good += (r[later] < r[i]).sum() + 0.5 * (r[later] == r[i]).sum()
    return good / pairs


@pytest.fixture(scope="module")
def subjects() -> pd.DataFrame:
    """5,000 simulated people of 40 to 80 years, one ECG each."""
    rng = np.random.default_rng(5)
    age = np.clip(rng.normal(62, 9.5, N), 40, 80.9)
    male = (rng.uniform(size=N) < 0.52).astype(float)
    states = draw_states(np.arange(N), age, male, rng)
    return pd.DataFrame(
        {
            "patient_id": np.arange(N),
            "ecg_id": np.arange(1, N + 1),
            "age": age,
            "sex": (male == 0).astype(int),
            "severity": visible_severity(states),
            "frailty": rng.standard_normal(N),
        }
    )


@pytest.fixture(scope="module")
def planted(subjects: pd.DataFrame) -> pd.DataFrame:
    return plant_outcomes(subjects, seed=11, event_rate=0.4)


def test_a_cox_model_recovers_the_planted_ratios(
    subjects: pd.DataFrame, planted: pd.DataFrame
) -> None:
    x = np.column_stack(
        [
            subjects["severity"],
            (subjects["age"] - 60) / 10,
            subjects["sex"] == 0,
            subjects["frailty"],
        ]
    ).astype(float)
    fit = PHReg(planted["time"], x, status=planted["event"], ties="efron").fit()
    hazard = HazardRatios()
    wanted = np.log([hazard.severity, hazard.age, hazard.male, hazard.frailty])
    assert (np.abs(fit.params - wanted) < 3 * fit.bse).all(), (fit.params, wanted)
    assert (fit.bse < 0.06).all()


def test_oracles_rank_as_meant(subjects: pd.DataFrame, planted: pd.DataFrame) -> None:
    truth = oracle_hazards(subjects)
    time, event = planted["time"], planted["event"]
    ecg = concordance(time, event, truth["log_hazard_ecg"])
    full = concordance(time, event, truth["log_hazard"])
    background = truth["log_hazard"] - truth["log_hazard_ecg"] - np.log(1.3) * truth["frailty"]
    age_sex = concordance(time, event, background)
    assert 0.72 <= ecg <= 0.78
    assert 0.60 <= age_sex <= 0.66
    assert ecg + 0.01 < full < ecg + 0.06


def test_null_outcomes_know_nothing(subjects: pd.DataFrame, planted: pd.DataFrame) -> None:
    null = null_outcomes(planted, seed=3)
    pairs = ["time", "event"]
    assert sorted(map(tuple, null[pairs].to_numpy())) == sorted(
        map(tuple, planted[pairs].to_numpy())
    )
    assert null["patient_id"].equals(planted["patient_id"])
    truth = oracle_hazards(subjects)
    # 3 SE of C under independence with 2,000 events is about 0.022
    assert concordance(null["time"], null["event"], truth["log_hazard"]) == pytest.approx(
        0.5, abs=0.022
    )
    for name in ("severity", "age", "frailty"):
        assert stats.pearsonr(null["event"], subjects[name]).pvalue > 0.001
    assert not null[pairs].equals(planted[pairs])


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 400),
    rate=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**32 - 1),
)
def test_follow_up_is_always_valid(n: int, rate: float, seed: int) -> None:
    """S-28: whole days, nobody conditioned on the future, never an event without a time."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "ecg_id": np.arange(n),
            "age": rng.uniform(20, 95, n),
            "sex": rng.integers(0, 2, n),
            "severity": rng.standard_normal(n),
            "frailty": rng.standard_normal(n),
        }
    )
    out = plant_outcomes(table, seed=seed, event_rate=rate)
    assert list(out.columns) == ["patient_id", "ecg_id", "time", "event", "age", "sex"]
    assert out["event"].sum() == np.clip(round(rate * n), 1, n - 1)
    assert out["event"].isin([0, 1]).all()
    assert out["time"].between(1, 2678).all()
    assert out["time"].dtype.kind == "i"
    pd.testing.assert_frame_equal(out, plant_outcomes(table, seed=seed, event_rate=rate))


def test_oracle_formula(subjects: pd.DataFrame) -> None:
    one = subjects.iloc[:1].assign(age=80.0, sex=0, severity=2.0, frailty=-1.0)
    truth = oracle_hazards(one).iloc[0]
    assert truth["log_hazard_ecg"] == pytest.approx(2 * np.log(2.7))
    assert truth["log_hazard"] == pytest.approx(
        2 * np.log(2.7) + 2 * np.log(1.35) + np.log(1.25) - np.log(1.3)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"age": np.nan}, "age of ecg_id 1"),
        ({"severity": np.inf}, "severity of ecg_id 1"),
        ({"drop": "frailty"}, "frailty"),
    ],
)
def test_bad_tables_are_refused(
    subjects: pd.DataFrame, change: dict[str, float | str], words: str
) -> None:
    table = subjects.iloc[:50].copy()
    if "drop" in change:
        table = table.drop(columns=str(change["drop"]))
    else:
        for name, value in change.items():
            table.loc[table.index[0], name] = value
    with pytest.raises(InputError, match=words):
        plant_outcomes(table, seed=0, event_rate=0.2)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, np.nan])
def test_impossible_event_rates_are_refused(subjects: pd.DataFrame, rate: float) -> None:
    with pytest.raises(InputError, match="event_rate"):
        plant_outcomes(subjects, seed=0, event_rate=rate)
    with pytest.raises(InputError, match="rows"):
        plant_outcomes(subjects.iloc[:0], seed=0, event_rate=0.5)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Follow-up of a simulated release of 4,500 patients, whose signals no test reads."""
    folder = tmp_path_factory.mktemp("cohorts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecgrepro.simulate.release._write_records", lambda *_: None)
        write_release(folder, 4500, seed=2, progress=False)
    write_cohorts(folder, seed=2)
    return folder


def test_cohorts_have_the_studys_shape(cohorts: Path) -> None:
    tables = {p.stem: pd.read_csv(p) for p in (cohorts / "follow_up").glob("*.csv")}
    assert set(tables) == {"learning", "hyp", "mi", "null", "truth"}
    assert (len(tables["learning"]), tables["learning"]["event"].sum()) == (3000, 1200)
    assert (len(tables["mi"]), tables["mi"]["event"].sum()) == (800, 32)
    hyp = tables["hyp"]
    assert hyp["event"].sum() == round(0.014 * len(hyp))
    for name in ("learning", "hyp", "mi", "null"):
        table = tables[name]
        assert list(table.columns) == ["patient_id", "ecg_id", "time", "event", "age", "sex"]
        assert table["patient_id"].is_unique
        assert table.notna().all(axis=None)
        assert table["age"].between(40, 80).all()
        known = tables["truth"]
        known = known[known["cohort"] == ("learning" if name == "null" else name)]
        assert known["ecg_id"].tolist() == table["ecg_id"].tolist()
    assert tables["null"]["ecg_id"].equals(tables["learning"]["ecg_id"])
    assert 1500 < tables["mi"]["time"].median() < 1750  # months: 53 in the study


def test_cohorts_hold_first_ecgs_of_the_right_patients(cohorts: Path) -> None:
    truth = pd.read_csv(cohorts / "truth.csv")
    first = truth.drop_duplicates("patient_id").set_index("patient_id")
    database = pd.read_csv(cohorts / "ptbxl_database.csv").set_index("ecg_id")
    for name in ("learning", "hyp", "mi"):
        table = pd.read_csv(cohorts / "follow_up" / f"{name}.csv")
        assert (first.loc[table["patient_id"], "ecg_id"].to_numpy() == table["ecg_id"]).all()
        assert (database.loc[table["ecg_id"], "sex"].to_numpy() == table["sex"]).all()
        if name == "hyp":
            assert (first.loc[table["patient_id"], "hypertension"] == 1).all()
        if name == "mi":
            codes = database.loc[table["ecg_id"], "scp_codes"]
            assert codes.str.contains(r"MI'|'INJ").all()


def test_cohorts_are_cut_with_a_message(
    release: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("truth.csv", "ptbxl_database.csv"):
        (tmp_path / name).write_bytes((release / name).read_bytes())
    with caplog.at_level(logging.WARNING):
        write_cohorts(tmp_path, seed=1)
    assert "cohort learning: 3000 patients wanted" in caplog.text
    before = {p.name: p.read_bytes() for p in (tmp_path / "follow_up").iterdir()}
    write_cohorts(tmp_path, seed=1)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "follow_up").iterdir()}


def test_cohorts_need_a_simulated_release(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.csv"):
        write_cohorts(tmp_path, seed=0)


def test_outcomes_can_be_planted_on_an_index() -> None:
    index = pd.DataFrame(
        {
            "patient_id": [5.0, 5.0, 6.0, 7.0],
            "age": [60.0, 61.0, np.nan, 300.0],
            "sex": [0, 0, 1, 1],
            "scp_codes": [{"NORM": 100.0}, {"IMI": 100.0}, {"CLBBB": 100.0}, {"AFIB": 0.0}],
        },
        index=pd.Index([11, 12, 13, 14], name="ecg_id"),
    )
    table = plantable_table(index, seed=0)
    assert table["ecg_id"].tolist() == [11, 13, 14]
    assert table["patient_id"].tolist() == [5, 6, 7]
    assert table["age"].iloc[1:].between(90, 96).all()
    assert table["severity"].mean() == pytest.approx(0, abs=1e-12)
    assert table["severity"].iloc[0] == table["severity"].min()
    out = plant_outcomes(table, seed=0, event_rate=0.5)
    assert out["ecg_id"].tolist() == [11, 13, 14]
    with pytest.raises(InputError, match="scp_codes"):
        plantable_table(index.drop(columns="scp_codes"), seed=0)
