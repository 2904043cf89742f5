"""Cox baseline: statsmodels' likelihood, everything learned from the training rows, always an answer."""

import numpy as np
import pandas as pd
import pytest
from sksurv.datasets import load_whas500
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from ecgrepro.errors import InputError
from ecgrepro.survival import concordance_index, cox_baseline, fit_cox, predict_cox


@pytest.fixture(scope="module")
def whas() -> pd.DataFrame:
    covariates, outcome = load_whas500()
    table = covariates.astype(float)
    return table.assign(time=outcome["lenfol"].astype(float), event=outcome["fstat"].astype(int))


def test_plain_cox_equals_scikit_survival_and_statsmodels(whas):
    from statsmodels.duration.hazard_regression import PHReg

    names = ["age", "bmi", "hr", "afb", "av3", "mitype"]
    model = fit_cox(whas, names, ridge=0.0)
    assert model.covariates == tuple(names)
    outcome = Surv.from_arrays(whas["event"] == 1, whas["time"])
    oracle = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(whas[names], outcome)
    slopes = np.array(model.coefficients) / model.scales
    np.testing.assert_allclose(slopes, oracle.coef_, atol=1e-4)
    fitted = PHReg(whas["time"], whas[names], status=whas["event"], ties="efron").fit(disp=0)
    np.testing.assert_allclose(slopes, fitted.params, rtol=1e-6)
    np.testing.assert_allclose(
        np.array(model.standard_errors) / model.scales, fitted.bse, rtol=1e-6
    )


def test_the_default_ridge_changes_little_with_few_events(whas):
    few = whas.assign(event=whas["event"] * (np.arange(500) % 15 == 0))
    assert few["event"].sum() < 20
    plain, ridged = fit_cox(few, ["age"], ridge=0.0), fit_cox(few, ["age"])
    assert ridged.coefficients[0] == pytest.approx(plain.coefficients[0], rel=0.02)
    assert any("under 10 a covariate" in note for note in fit_cox(few, ["age", "hr"]).notes)


def test_separation_gives_a_finite_estimate_with_ridge_and_an_error_without(whas):
    table = whas.assign(flag=whas["event"].astype(float))
    assert abs(fit_cox(table, ["flag"]).coefficients[0]) < 20
    with pytest.raises(InputError, match="no finite estimate"):
        fit_cox(whas.assign(copy=whas["age"]), ["age", "copy"], ridge=0.0)
    one_event = table.assign(event=(np.arange(500) == 7).astype(int))
    assert np.isfinite(cox_baseline(one_event, one_event, ["age", "gender"])).all()


def test_scaling_and_imputation_come_from_the_training_rows_alone(whas):
    """S-32: changing, shuffling or dropping test rows moves nobody else's risk."""
    train, test = whas.iloc[:300].copy(), whas.iloc[300:].copy()
    train.loc[train.index[:30], "age"] = np.nan
    test.loc[test.index[0], "age"] = np.nan
    risk = cox_baseline(train, test, ["age", "gender"])
    assert risk.index.equals(test.index)
    alone = cox_baseline(train, test.iloc[[0]], ["age", "gender"])
    assert alone.iloc[0] == risk.iloc[0]
    shifted = test.copy()
    shifted.iloc[1:, shifted.columns.get_loc("age")] += 1000.0
    assert cox_baseline(train, shifted, ["age", "gender"]).iloc[0] == risk.iloc[0]
    median = test.iloc[[0]].assign(age=train["age"].median())
    assert cox_baseline(train, median, ["age", "gender"]).iloc[0] == pytest.approx(risk.iloc[0])
    assert concordance_index(test["time"], test["event"], risk) > 0.6


def test_constant_columns_are_left_out_with_a_note(whas):
    """S-32: a binary column without variance neither warns nor breaks the fit."""
    table = whas.assign(flat=1.0, empty=np.nan)
    model = fit_cox(table, ["age", "flat", "empty"])
    assert model.covariates == ("age",)
    assert [note for note in model.notes if "flat is constant" in note]
    assert [note for note in model.notes if "empty is constant" in note]
    with pytest.raises(InputError, match="All covariates"):
        fit_cox(table, ["flat"])


def test_bad_tables_are_refused(whas):
    with pytest.raises(InputError, match="no column 'sex'"):
        fit_cox(whas)
    with pytest.raises(InputError, match="None of the 500 training rows"):
        fit_cox(whas.assign(event=0), ["age"])
    with pytest.raises(InputError, match="not numeric"):
        fit_cox(whas.assign(age="old"), ["age"])
    with pytest.raises(InputError, match="no column 'age'"):
        predict_cox(fit_cox(whas, ["age"]), whas.drop(columns="age"))
