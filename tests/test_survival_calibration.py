"""Calibration and decision curves: against cases whose answer is known."""

import numpy as np
import pytest

from ecgrepro.errors import InputError
from ecgrepro.survival import breslow_survival, calibration_at, kaplan_meier, net_benefit

HORIZON = 40.0


@pytest.fixture(scope="module")
def cohort():
    """Simulated follow-up whose true probability of the event by the horizon is known."""
    rng = np.random.default_rng(0)
    risk = rng.normal(size=4000)
    latent = rng.exponential(50 * np.exp(-risk))
    censoring = rng.uniform(20, 120, 4000)
    time, event = np.minimum(latent, censoring), latent <= censoring
    return time, event, risk, 1 - np.exp(-HORIZON / 50 * np.exp(risk))


def test_the_true_probability_is_calibrated(cohort):
    time, event, _, truth = cohort
    found = calibration_at(time, event, truth, HORIZON)
    assert found.ratio == pytest.approx(1, abs=0.04)
    assert found.slope == pytest.approx(1, abs=0.06)
    assert found.ici < 0.02
    assert len(found.groups) == 5
    assert (found.groups["low"] <= found.groups["expected"]).sum() >= 4
    assert (found.groups["high"] >= found.groups["expected"]).sum() >= 4
    np.testing.assert_allclose(found.curve["observed"], found.curve["expected"], atol=0.06)
    assert found.observed == 1 - kaplan_meier(time, event, at=[HORIZON])["survival"].iloc[0]
    assert found.groups["n"].sum() == 4000
    assert found.groups["events"].sum() == (event & (time <= HORIZON)).sum()


def test_too_extreme_and_too_low_predictions_are_told_apart(cohort):
    """Halving the log hazard doubles the slope; shifting it moves observed over expected alone."""
    time, event, _, truth = cohort
    log_hazard = np.log(-np.log1p(-truth))
    base = calibration_at(time, event, truth, HORIZON)
    timid = calibration_at(time, event, 1 - np.exp(-np.exp(log_hazard / 2)), HORIZON)
    assert timid.slope == pytest.approx(2 * base.slope, rel=1e-4)
    low = calibration_at(time, event, 1 - np.exp(-0.5 * np.exp(log_hazard)), HORIZON)
    assert low.slope == pytest.approx(base.slope, rel=1e-4)
    assert low.ratio > 1.2
    assert low.ici > 0.1
    assert (low.curve["observed"] > low.curve["expected"]).mean() > 0.9


def test_log_risks_become_calibrated_probabilities(cohort):
    time, event, risk, _ = cohort
    half = np.arange(4000) % 2 == 0
    survival = breslow_survival(time[half], event[half], risk[half], risk[~half], [HORIZON])
    found = calibration_at(time[~half], event[~half], 1 - survival[:, 0], HORIZON)
    assert found.ratio == pytest.approx(1, abs=0.06)
    shifted = breslow_survival(
        time[half], event[half], risk[half] + 900, risk[~half] + 900, [HORIZON]
    )
    np.testing.assert_allclose(
        shifted, survival, atol=1e-10
    )  # defined up to a constant, no overflow


def test_few_events_and_constant_predictions_are_refused(cohort):
    time, event, _, truth = cohort
    rare = event & (np.arange(4000) % 500 == 0)
    with pytest.raises(InputError, match="calibration needs at least 10"):
        calibration_at(time, rare, truth, HORIZON)
    with pytest.raises(InputError, match="All predictions are equal"):
        calibration_at(time, event, np.full(4000, 0.3), HORIZON)
    with pytest.raises(InputError, match="not a log risk"):
        calibration_at(time, event, np.log(truth), HORIZON)
    with pytest.raises(InputError, match="outside follow-up"):
        calibration_at(time, event, truth, 500.0)


def test_net_benefit_without_censoring_is_the_plain_one():
    rng = np.random.default_rng(1)
    time = rng.uniform(1, 100, 500)
    predicted = np.clip(1 - time / 100 + rng.normal(0, 0.2, 500), 0, 1)
    died = time <= HORIZON
    table = net_benefit(time, np.ones(500), predicted, HORIZON, [0.1, 0.3, 0.6])
    for _, row in table.iterrows():
        cut, treated = row["threshold"], predicted >= row["threshold"]
        odds = cut / (1 - cut)
        plain = (treated & died).mean() - (treated & ~died).mean() * odds
        assert row["model"] == pytest.approx(plain, abs=1e-12)
        assert row["all"] == pytest.approx(died.mean() - (1 - died.mean()) * odds, abs=1e-12)
        assert row["treated"] == treated.mean()
    assert (table["none"] == 0).all()


def test_net_benefit_of_the_truth_beats_all_and_none(cohort):
    time, event, _, truth = cohort
    table = net_benefit(time, event, truth, HORIZON, np.linspace(0.1, 0.8, 8))
    assert (table["model"] > table[["all", "none"]].max(axis=1)).all()
    nobody = net_benefit(time, event, 0.5 * truth, HORIZON, [0.99]).iloc[0]
    assert (nobody["model"], nobody["treated"]) == (0, 0)
    with pytest.raises(InputError, match="between 0 and 1, both excluded"):
        net_benefit(time, event, truth, HORIZON, [0.0])


def test_what_is_not_known_is_not_a_number():
    """The one patient treated is censored before the horizon: benefit and group are unknown, not guessed."""
    time = np.r_[10.0, np.full(30, 20.0), np.full(30, 60.0)]
    event = np.r_[0, np.ones(30), np.zeros(30)]
    predicted = np.r_[0.9, np.full(30, 0.6), np.full(30, 0.1)]
    assert np.isnan(net_benefit(time, event, predicted, HORIZON, [0.8])["model"].iloc[0])
    assert net_benefit(time, event, predicted, HORIZON, [0.5])["model"].iloc[0] > 0
