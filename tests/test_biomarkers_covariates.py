"""The study's fifteen covariates: thresholds, missing values, and nothing learned from other rows."""

import numpy as np
import pandas as pd
import pytest

from ecgrepro.biomarkers import (
    COVARIATES,
    baseline_columns,
    study_covariates,
    with_covariates,
)
from ecgrepro.errors import InputError
from ecgrepro.survival import fit_cox

NORMAL = {
    "ventricular_rate": 70.0,
    "p_ms": 110.0,
    "pr_ms": 160.0,
    "qrs_ms": 90.0,
    "qtc_fridericia_ms": 410.0,
    "p_axis_deg": 50.0,
    "qrs_axis_deg": 40.0,
    "qrs_t_angle_deg": 20.0,
    "intrinsicoid_ms": 40.0,
    "sokolow_lyon_mv": 2.5,
    "cornell_mv": 1.2,
    "limb_voltage_mv": 1.0,
    "chest_voltage_mv": 2.0,
    "st_depressed_leads": 0.0,
    "t_inverted_leads": 0.0,
    "rbbb": 0.0,
    "lbbb": 0.0,
}


def covariate(name: str, sex: float = 0.0, **changed: float) -> float:
    table = pd.DataFrame([{**NORMAL, **changed}])
    return float(study_covariates(table, [sex])[name].iloc[0])


def test_there_are_the_studys_fifteen_and_a_normal_ecg_has_no_flag():
    """STUDY section 5: ventricular rate and 14 binary flags."""
    assert len(COVARIATES) == 15
    table = study_covariates(pd.DataFrame([NORMAL]), [0])
    assert list(table.columns) == list(COVARIATES)
    assert table.ventricular_rate.iloc[0] == 70.0
    assert (table.iloc[0, 1:] == 0).all()


@pytest.mark.parametrize(
    ("flag", "column", "normal", "abnormal"),
    [
        ("long_p", "p_ms", 120.0, 120.1),
        ("long_pr", "pr_ms", 200.0, 200.1),
        ("wide_qrs", "qrs_ms", 100.0, 100.1),
        ("long_qt", "qtc_fridericia_ms", 449.9, 450.0),
        ("abnormal_p_axis", "p_axis_deg", 75.0, 75.1),
        ("abnormal_p_axis", "p_axis_deg", 0.0, -0.1),
        ("left_axis", "qrs_axis_deg", -30.0, -30.1),
        ("left_axis", "qrs_axis_deg", -90.1, -90.0),
        ("right_axis", "qrs_axis_deg", 90.0, 90.1),
        ("right_axis", "qrs_axis_deg", -90.0, -90.1),
        ("abnormal_qrs_t_angle", "qrs_t_angle_deg", 90.0, 90.1),
        ("rbbb", "rbbb", 0.0, 1.0),
        ("lbbb", "lbbb", 0.0, 1.0),
        ("lvh", "sokolow_lyon_mv", 3.49, 3.5),
        ("lvh", "cornell_mv", 2.8, 2.81),
        ("low_voltage", "limb_voltage_mv", 0.51, 0.5),
        ("low_voltage", "chest_voltage_mv", 1.01, 1.0),
        ("st_t", "st_depressed_leads", 1.0, 2.0),
        ("st_t", "t_inverted_leads", 1.0, 2.0),
        ("delayed_intrinsicoid", "intrinsicoid_ms", 49.9, 50.0),
    ],
)
def test_threshold(flag, column, normal, abnormal):
    assert covariate(flag, **{column: normal}) == 0.0
    assert covariate(flag, **{column: abnormal}) == 1.0


def test_sex_moves_qt_and_cornell_and_an_unknown_one_gets_the_stricter_limits():
    assert covariate("long_qt", sex=1, qtc_fridericia_ms=455.0) == 0.0
    assert covariate("long_qt", sex=1, qtc_fridericia_ms=460.0) == 1.0
    assert covariate("long_qt", sex=np.nan, qtc_fridericia_ms=455.0) == 0.0
    assert covariate("lvh", sex=1, cornell_mv=2.1) == 1.0
    assert covariate("lvh", sex=np.nan, cornell_mv=2.1) == 0.0


def test_what_is_not_measured_is_missing_unless_another_criterion_decides():
    for flag, column in (("long_pr", "pr_ms"), ("st_t", "st_depressed_leads"), ("rbbb", "rbbb")):
        assert np.isnan(covariate(flag, **{column: np.nan}))
    assert covariate("lvh", sokolow_lyon_mv=np.nan, cornell_mv=3.5) == 1.0
    assert np.isnan(covariate("lvh", sokolow_lyon_mv=np.nan, cornell_mv=1.0))
    assert np.isnan(covariate("low_voltage", limb_voltage_mv=np.nan))


def test_nothing_is_learned_from_other_rows():
    """S-32: the study scaled all patients before splitting; here a row's covariates are its own alone."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame([NORMAL] * 40)
    table["ventricular_rate"] = rng.normal(70, 10, 40)
    whole = study_covariates(table, np.zeros(40))
    part = study_covariates(table.iloc[:7], np.zeros(7))
    pd.testing.assert_frame_equal(whole.iloc[:7], part)


def test_constant_columns_are_left_out_of_the_model():
    """S-32: binary columns without variance; the fit drops them and says so."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame([NORMAL] * 120)
    table["ventricular_rate"] = rng.normal(70, 10, 120)
    table.loc[::3, "qrs_ms"] = 130.0
    train = study_covariates(table, np.zeros(120)).assign(
        time=rng.exponential(500, 120) + 1, event=(rng.random(120) < 0.5).astype(int)
    )
    model = fit_cox(train, COVARIATES)
    assert set(model.covariates) == {"ventricular_rate", "wide_qrs"}
    assert sum("constant" in note for note in model.notes) == 13


def test_mistakes_are_errors_in_one_sentence():
    table = pd.DataFrame([NORMAL, NORMAL])
    with pytest.raises(InputError, match="sex has 1 values"):
        study_covariates(table, [0])
    with pytest.raises(InputError, match="qrs_ms"):
        study_covariates(table.drop(columns="qrs_ms"))


def test_covariates_join_a_follow_up_by_ecg_and_sex():
    """Rows in another order, an ECG of two patients' tables, and the threshold that sex moves."""
    measured = pd.DataFrame([NORMAL, {**NORMAL, "cornell_mv": 2.5}]).set_axis([7, 3])
    follow_up = pd.DataFrame({"ecg_id": [3, 7, 3], "sex": [0, 1, 1], "time": 9}, index=[5, 6, 8])
    table = with_covariates(follow_up, measured)
    assert table.index.tolist() == [5, 6, 8]
    assert list(table.columns) == ["ecg_id", "sex", "time", *COVARIATES]
    assert table.lvh.tolist() == [0, 0, 1]
    assert with_covariates(follow_up.drop(columns="sex"), measured).lvh.tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="1 ECGs of the follow-up were not measured"):
        with_covariates(follow_up.assign(ecg_id=[3, 7, 4]), measured)


def test_baselines_are_those_that_the_table_knows():
    table = pd.DataFrame({"age": [60.0, np.nan], "sex": [0.0, 1.0]})
    methods = baseline_columns(table)
    assert list(methods) == ["age and sex", "15 ECG measurements", "age, sex and 15 measurements"]
    assert [len(columns) for columns in methods.values()] == [2, 15, 17]
    for unknown in (table.drop(columns="sex"), table.assign(age=np.nan)):
        assert list(baseline_columns(unknown)) == ["15 ECG measurements"]
