"""Concordance, Kaplan-Meier, log-rank, hazard ratios: against scikit-survival, statsmodels and by hand."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sksurv.compare import compare_survival
from sksurv.datasets import load_whas500
from sksurv.metrics import concordance_index_censored
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.survival import (
    concordance_counts,
    concordance_index,
    hazard_ratio,
    kaplan_meier,
    logrank_test,
    numbers_at_risk,
)


@pytest.fixture(scope="module")
def whas():
    """500 patients after a heart attack, 215 deaths, many tied days."""
    covariates, outcome = load_whas500()
    return covariates, outcome["lenfol"].astype(float), outcome["fstat"].astype(int)


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
    counts = concordance_counts(time, event, risk)
    assert (counts.concordant, counts.discordant, counts.tied) == tuple(expected[1:4])
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


def test_numbers_at_risk_by_group():
    table = numbers_at_risk([1, 2, 3, 4], [0, 2, 5], group=["b", "a", "a", "b"])
    assert table.index.tolist() == ["a", "b"]
    assert table.to_numpy().tolist() == [[2, 2, 0], [2, 1, 0]]
    assert numbers_at_risk([1, 2, 3], [2])[2.0].tolist() == [2]


# ------------------------------------------------------------------------- log-rank and hazard ratios


def test_logrank_equals_scikit_survival(whas):
    covariates, time, event = whas
    for group in (covariates["gender"].astype(int), np.digitize(covariates["age"], [60, 75])):
        found = logrank_test(time, event, group)
        statistic, p_value = compare_survival(Surv.from_arrays(event, time), group)
        assert found.statistic == pytest.approx(statistic, rel=1e-9)
        assert found.p_value == pytest.approx(p_value, rel=1e-6)
        assert found.degrees_of_freedom == len(np.unique(group)) - 1
    with pytest.raises(InputError, match="one value"):
        logrank_test(time, event, np.zeros(len(time)))


def test_hazard_ratio_of_groups_and_of_a_number(whas):
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    covariates, time, event = whas
    old = np.where(covariates["age"] > 70, "old", "young")
    found = hazard_ratio(time, event, old, reference="young")
    oracle = CoxPHSurvivalAnalysis(ties="efron", tol=1e-12).fit(
        (old == "old").astype(float)[:, None], Surv.from_arrays(event, time)
    )
    assert np.log(found.ratio) == pytest.approx(oracle.coef_[0], abs=1e-6)
    assert found.low < found.ratio < found.high
    assert found.label == "old against young"
    assert (found.n, found.events) == (500, 215)
    swapped = hazard_ratio(time, event, old, reference="old")
    assert swapped.ratio == pytest.approx(1 / found.ratio, rel=1e-6)

    age = covariates["age"].to_numpy()
    unit, sd = hazard_ratio(time, event, age), hazard_ratio(time, event, age, per_sd=True)
    assert np.log(sd.ratio) == pytest.approx(np.log(unit.ratio) * age.std(), rel=1e-6)


def test_hazard_ratio_refuses_a_group_without_events():
    time, event = np.arange(1.0, 9.0), np.array([1, 1, 1, 0, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r"Group low has no events \(4 patients\)"):
        hazard_ratio(time, event, ["high"] * 4 + ["low"] * 4, reference="low")
    with pytest.raises(InputError, match="constant"):
        hazard_ratio(time, event, np.ones(8))
    with pytest.raises(InputError, match="which one is the reference"):
        hazard_ratio(time, event, ["high"] * 4 + ["low"] * 4)
    with pytest.raises(InputError, match="no finite estimate"):
        hazard_ratio(time, np.ones(8), -np.arange(8.0))
