"""Concordance, curves, Cox regression: against scikit-survival, statsmodels and by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.datasets import load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.metrics import concordance_index_censored
from sksurv.nonparametric import cumulative_incidence_competing_risks, kaplan_meier_estimator
from sksurv.util import Surv

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.survival import (
    concordance_index,
    cumulative_incidence,
    fit_cox,
    hazard_ratio,
    kaplan_meier,
    predict_cox,
)


@pytest.fixture(scope="module")
def whas():
    """500 patients after a heart attack, 215 deaths, many tied days."""
    covariates, outcome = load_whas500()
    return covariates, outcome["lenfol"].astype(float), outcome["fstat"].astype(int)


@pytest.fixture(scope="module")
def patients(whas) -> pd.DataFrame:
    """The same as one table."""
    covariates, time, event = whas
    return covariates.astype(float).assign(time=time, event=event)


def test_the_room_needs_no_torch():
    code = "import sys, ecgrepro.survival, ecgrepro.cohorts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# ----------------------------------------------------------------------------------------- concordance


def test_higher_risk_means_earlier_event():
    time, event = np.array([1.0, 2, 3, 4]), np.ones(4)
    assert concordance_index(time, event, [4, 3, 2, 1]) == 1.0
    assert concordance_index(time, event, [1, 2, 3, 4]) == 0.0
    assert concordance_index(time, event, [7, 7, 7, 7]) == 0.5


rows = st.tuples(st.integers(1, 6), st.booleans(), st.integers(-3, 3))


@settings(max_examples=200, deadline=None)
@given(st.lists(rows, min_size=2, max_size=40))
def test_concordance_equals_scikit_survival_on_heavy_ties(table):
    time, event, risk = (np.array(column) for column in zip(*table, strict=True))
    time, event, risk = time.astype(float), event.astype(bool), risk.astype(float)
    comparable = ((time[:, None] < time) | ((time[:, None] == time) & ~event)) & event[:, None]
    np.fill_diagonal(comparable, False)
    if not comparable.any():
        with pytest.raises(InputError, match="comparable"):
            concordance_index(time, event, risk)
        return
    expected = concordance_index_censored(event, time, risk)
    assert concordance_index(time, event, risk) == pytest.approx(expected[0], abs=1e-12)


@pytest.mark.parametrize("n", [3, 64, 65, 1000, 3000])
def test_concordance_equals_scikit_survival_on_continuous_scores(n):
    rng = np.random.default_rng(n)
    time, event = rng.integers(1, n, n).astype(float), rng.random(n) < 0.4
    event[np.argmin(time)] = True
    risk = rng.normal(size=n)
    expected = concordance_index_censored(event, time, risk)[0]
    assert concordance_index(time, event, risk) == pytest.approx(expected, abs=1e-12)


def test_concordance_ignores_order_scale_and_shift():
    rng = np.random.default_rng(1)
    time, event, risk = rng.integers(1, 30, 200), rng.random(200) < 0.3, rng.normal(size=200)
    value = concordance_index(time, event, risk)
    shuffled = rng.permutation(200)
    assert concordance_index(time[shuffled], event[shuffled], risk[shuffled]) == value
    assert concordance_index(np.log(time), event, 100 * risk + 7) == value
    assert concordance_index(time, event, -risk) == pytest.approx(1 - value, abs=1e-12)


def test_concordance_refuses_what_it_cannot_use():
    """R-1: a column of shape (n, 1) is refused, never broadcast."""
    time, event, risk = np.array([1.0, 2, 3]), np.array([1, 0, 1]), np.zeros(3)
    with pytest.raises(InputError, match="comparable"):
        concordance_index(time, np.zeros(3), risk)
    with pytest.raises(InputError, match="comparable"):
        concordance_index([5.0, 5.0], [1, 1], [1, 2])
    with pytest.raises(InputError, match="risk has 1 values that are NaN"):
        concordance_index(time, event, [0, np.nan, 1])
    with pytest.raises(InputError, match=r"risk has shape \(3, 1\)"):
        concordance_index(time, event, risk[:, None])
    with pytest.raises(InputError, match="time is negative at position 1"):
        concordance_index([1, -2, 3], event, risk)
    with pytest.raises(InputError, match="event is 2 at position 0"):
        concordance_index(time, [2, 0, 1], risk)
    with pytest.raises(InputError, match="risk has 2 values where 3"):
        concordance_index(time, event, [0, 1])
    with pytest.raises(InputError, match="empty"):
        concordance_index([], [], [])


# ---------------------------------------------------------------------------------------- Kaplan-Meier


def test_kaplan_meier_by_hand():
    curve = kaplan_meier([1, 2, 2, 3, 4], [1, 1, 0, 0, 1])
    assert curve["time"].tolist() == [0, 1, 2, 3, 4]
    assert curve["at_risk"].tolist() == [5, 5, 4, 2, 1]
    assert curve["events"].tolist() == [0, 1, 1, 0, 1]
    assert curve["censored"].tolist() == [0, 0, 1, 1, 0]
    np.testing.assert_allclose(curve["survival"], [1, 0.8, 0.6, 0.6, 0])
    assert curve.loc[0, ["low", "high"]].tolist() == [1, 1]
    assert curve.loc[4, ["low", "high"]].isna().all()  # no interval where nobody is left


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_kaplan_meier_equals_scikit_survival(whas, level):
    _, time, event = whas
    steps, survival, (low, high) = kaplan_meier_estimator(
        event.astype(bool), time, conf_level=level, conf_type="log-log"
    )
    curve = kaplan_meier(time, event, level=level).iloc[1:]
    np.testing.assert_array_equal(curve["time"], steps)
    np.testing.assert_allclose(curve["survival"], survival, atol=1e-12)
    inside = (survival < 1) & (survival > 0)
    np.testing.assert_allclose(curve["low"][inside], low[inside], atol=1e-10)
    np.testing.assert_allclose(curve["high"][inside], high[inside], atol=1e-10)


def test_kaplan_meier_read_at_times(whas):
    """At risk is counted just before a time, so a patient whose time it is still counts."""
    _, time, event = whas
    at = [0.0, 182.0, 365.0, 1000.0]
    read, full = kaplan_meier(time, event, at=at), kaplan_meier(time, event)
    for row, moment in enumerate(at):
        assert read["survival"][row] == full.loc[full["time"] <= moment, "survival"].iloc[-1]
        assert read["at_risk"][row] == (time >= moment).sum()
    assert read["events"].sum() == event[time <= 1000].sum()
    assert read["censored"].sum() == (1 - event)[time <= 1000].sum()
    with pytest.raises(InputError, match="outside follow-up"):
        kaplan_meier(time, event, at=[10.0, time.max() + 1])
    with pytest.raises(InputError, match="ascending"):
        kaplan_meier(time, event, at=[10.0, 5.0])


@pytest.mark.parametrize("seed", range(4))
def test_cumulative_incidence_equals_scikit_survival(seed):
    rng = np.random.default_rng(seed)
    latent, censoring = np.ceil(50 * rng.exponential(size=200)), rng.integers(20, 120, 200)
    time, event = np.minimum(latent, censoring).astype(float), latent <= censoring
    event &= time < time.max()  # scikit-survival has no variance where nobody is left
    rival = ~event & (rng.random(200) < 0.4) & (time < time.max())
    code = np.where(event, 1, np.where(rival, 2, 0))
    steps, incidence, interval = cumulative_incidence_competing_risks(
        code, time, conf_type="log-log", var_type="Dinse_Approx"
    )
    found = cumulative_incidence(time, event, rival).iloc[1:]
    np.testing.assert_array_equal(found["time"], steps)
    np.testing.assert_allclose(found["event"], incidence[1], atol=1e-12)
    np.testing.assert_allclose(found["competing"], incidence[2], atol=1e-12)
    started = incidence[1] > 0
    np.testing.assert_allclose(found["low"][started], interval[1, 0, started], atol=1e-9)
    np.testing.assert_allclose(found["high"][started], interval[1, 1, started], atol=1e-9)
    alone = 1 - kaplan_meier(time, event)["survival"].to_numpy()[1:]
    assert (alone >= found["event"] - 1e-12).all()  # 1 - Kaplan-Meier is too high
    with pytest.raises(InputError, match="both"):
        cumulative_incidence(time, event, np.ones(len(time)))


# ----------------------------------------------------------------------------------------------- Cox


def test_hazard_ratio_equals_scikit_survival(whas):
    covariates, time, event = whas
    old = covariates["age"].to_numpy() > 70
    found = hazard_ratio(time, event, old)
    oracle = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(
        old.astype(float)[:, None], Surv.from_arrays(event, time)
    )
    assert np.log(found.estimate) == pytest.approx(oracle.coef_[0], abs=1e-6)
    assert found.low < found.estimate < found.high
    assert hazard_ratio(time, event, ~old).estimate == pytest.approx(1 / found.estimate, rel=1e-6)


def test_hazard_ratio_refuses_a_group_without_events():
    time, event = np.arange(1.0, 9.0), np.array([1, 1, 1, 0, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r"The rest has no events \(4 patients\)"):
        hazard_ratio(time, event, np.arange(8) < 4)
    with pytest.raises(InputError, match="The rest has no events"):
        hazard_ratio(time, event, np.ones(8))
    with pytest.raises(InputError, match="no finite estimate"):
        hazard_ratio(time, np.ones(8), np.arange(8) < 4)


def test_plain_cox_equals_scikit_survival_and_statsmodels(patients):
    from statsmodels.duration.hazard_regression import PHReg

    names = ["age", "bmi", "hr", "afb", "av3", "mitype"]
    model = fit_cox(patients, names, ridge=0.0)
    assert model.covariates == tuple(names)
    outcome = Surv.from_arrays(patients["event"] == 1, patients["time"])
    oracle = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(patients[names], outcome)
    slopes = np.array(model.coefficients) / model.scales
    np.testing.assert_allclose(slopes, oracle.coef_, atol=1e-4)
    fitted = PHReg(patients["time"], patients[names], status=patients["event"], ties="efron").fit(
        disp=0
    )
    np.testing.assert_allclose(slopes, fitted.params, rtol=1e-6)
    np.testing.assert_allclose(
        np.array(model.standard_errors) / model.scales, fitted.bse, rtol=1e-6
    )


def test_the_default_ridge_changes_little_with_few_events(patients):
    few = patients.assign(event=patients["event"] * (np.arange(500) % 15 == 0))
    assert few["event"].sum() < 20
    plain, ridged = fit_cox(few, ["age"], ridge=0.0), fit_cox(few, ["age"])
    assert ridged.coefficients[0] == pytest.approx(plain.coefficients[0], rel=0.02)
    assert any("under 10 a covariate" in note for note in fit_cox(few, ["age", "hr"]).notes)


def test_separation_gives_a_finite_estimate_with_ridge_and_an_error_without(patients):
    table = patients.assign(flag=patients["event"].astype(float))
    assert abs(fit_cox(table, ["flag"]).coefficients[0]) < 20
    with pytest.raises(InputError, match="no finite estimate"):
        fit_cox(patients.assign(copy=patients["age"]), ["age", "copy"], ridge=0.0)
    one_event = table.assign(event=(np.arange(500) == 7).astype(int))
    assert np.isfinite(predict_cox(fit_cox(one_event, ["age", "gender"]), one_event)).all()


def test_scaling_and_imputation_come_from_the_training_rows_alone(patients):
    """S-32: changing, shuffling or dropping test rows moves nobody else's risk."""
    train, test = patients.iloc[:300].copy(), patients.iloc[300:].copy()
    train.loc[train.index[:30], "age"] = np.nan
    test.loc[test.index[0], "age"] = np.nan
    risk = predict_cox(fit_cox(train, ["age", "gender"]), test)
    assert risk.index.equals(test.index)
    alone = predict_cox(fit_cox(train, ["age", "gender"]), test.iloc[[0]])
    assert alone.iloc[0] == pytest.approx(
        risk.iloc[0], rel=1e-12
    )  # a sum's order may hang on its length
    shifted = test.copy()
    shifted.iloc[1:, shifted.columns.get_loc("age")] += 1000.0
    moved = predict_cox(fit_cox(train, ["age", "gender"]), shifted)
    assert moved.iloc[0] == pytest.approx(risk.iloc[0], rel=1e-12)
    median = test.iloc[[0]].assign(age=train["age"].median())
    assert predict_cox(fit_cox(train, ["age", "gender"]), median).iloc[0] == pytest.approx(
        risk.iloc[0]
    )
    assert concordance_index(test["time"], test["event"], risk) > 0.6


def test_constant_columns_are_left_out_with_a_note(patients):
    """S-32: a binary column without variance neither warns nor breaks the fit."""
    table = patients.assign(flat=1.0, empty=np.nan)
    model = fit_cox(table, ["age", "flat", "empty"])
    assert model.covariates == ("age",)
    assert [note for note in model.notes if "flat is constant" in note]
    assert [note for note in model.notes if "empty is constant" in note]
    with pytest.raises(InputError, match="All covariates"):
        fit_cox(table, ["flat"])


def test_bad_tables_are_refused(patients):
    with pytest.raises(InputError, match="no column 'sex'"):
        fit_cox(patients)
    with pytest.raises(InputError, match="None of the 500 training rows"):
        fit_cox(patients.assign(event=0), ["age"])
    with pytest.raises(InputError, match="not numeric"):
        fit_cox(patients.assign(age="old"), ["age"])
    with pytest.raises(InputError, match="no column 'age'"):
        predict_cox(fit_cox(patients, ["age"]), patients.drop(columns="age"))
