"""Uno's C, AUC over time, Brier scores, competing risks: against scikit-survival; horizons inside follow-up."""

import numpy as np
import pytest
from sksurv import metrics
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.nonparametric import (
    CensoringDistributionEstimator,
    cumulative_incidence_competing_risks,
)
from sksurv.util import Surv

from ecgrepro.errors import InputError
from ecgrepro.survival import (
    auc_over_time,
    breslow_survival,
    brier_score,
    censoring_survival,
    concordance_index,
    cumulative_incidence,
    integrated_brier_score,
    kaplan_meier,
    mean_auc,
    uno_concordance,
)

HORIZONS = np.array([5.0, 20.0, 40.0, 60.0])


def cohort(seed: int, n: int = 200):
    """Simulated follow-up: tied times, tied scores, a third censored."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=n), 1)
    latent = np.ceil(50 * rng.exponential(np.exp(-risk)))
    censoring = rng.integers(20, 120, n)
    return np.minimum(latent, censoring).astype(float), latent <= censoring, risk


@pytest.mark.parametrize("seed", range(8))
def test_measures_equal_scikit_survival(seed):
    time, event, risk = cohort(seed)
    outcome = Surv.from_arrays(event, time)

    expected, average = metrics.cumulative_dynamic_auc(outcome, outcome, risk, HORIZONS)
    auc = auc_over_time(time, event, risk, HORIZONS)
    np.testing.assert_allclose(auc["auc"], expected, atol=1e-12)
    assert mean_auc(auc, time, event) == pytest.approx(average, abs=1e-12)
    assert auc["cases"].tolist() == [int((event & (time <= h)).sum()) for h in HORIZONS]

    uno = metrics.concordance_index_ipcw(outcome, outcome, risk, tau=50.0)[0]
    assert uno_concordance(time, event, risk, horizon=50.0) == pytest.approx(uno, abs=1e-12)

    curves = BreslowEstimator().fit(risk, event, time).get_survival_function(risk)
    survival = np.array([[curve(h) for h in HORIZONS] for curve in curves])
    np.testing.assert_allclose(
        breslow_survival(time, event, risk, risk, HORIZONS), survival, atol=1e-12
    )
    _, scores = metrics.brier_score(outcome, outcome, survival, HORIZONS)
    found = brier_score(time, event, survival, HORIZONS)
    np.testing.assert_allclose(found["brier"], scores, atol=1e-12)
    integrated = metrics.integrated_brier_score(outcome, outcome, survival, HORIZONS)
    assert integrated_brier_score(found) == pytest.approx(integrated, abs=1e-12)


def test_censoring_may_be_learned_from_other_patients():
    time, event, risk = cohort(1, 300)
    train = np.arange(300) < 200
    learned = (time[train], event[train])
    outcome = Surv.from_arrays(event, time)
    horizons = HORIZONS[:3]
    expected = metrics.cumulative_dynamic_auc(
        outcome[train], outcome[~train], risk[~train], horizons
    )[0]
    found = auc_over_time(time[~train], event[~train], risk[~train], horizons, train=learned)
    np.testing.assert_allclose(found["auc"], expected, atol=1e-12)
    weights = CensoringDistributionEstimator().fit(outcome[train])
    np.testing.assert_allclose(
        censoring_survival(*learned, horizons), weights.predict_proba(horizons), atol=1e-12
    )


def test_without_censoring_the_weights_vanish():
    time, _, risk = cohort(2)
    event = np.ones(len(time))
    harrell = concordance_index(time, event, risk)
    assert uno_concordance(time, event, risk) == pytest.approx(harrell, abs=1e-12)
    assert (censoring_survival(time, event, HORIZONS) == 1).all()
    survival = np.full(len(time), 0.5)
    assert brier_score(time, event, survival, [20.0])["brier"].iloc[0] == pytest.approx(0.25)


def test_the_reference_of_the_brier_score_gains_nothing():
    time, event, _ = cohort(3)
    curve = kaplan_meier(time, event, at=HORIZONS)["survival"].to_numpy()
    found = brier_score(time, event, np.tile(curve, (len(time), 1)), HORIZONS)
    np.testing.assert_allclose(found["scaled"], 0, atol=1e-12)
    perfect = (time[:, None] > HORIZONS).astype(float)
    assert (brier_score(time, event, perfect, HORIZONS)["scaled"] > 0.7).all()


@pytest.mark.parametrize("horizon", [0.5, 500.0])
def test_horizons_outside_follow_up_are_refused(horizon):
    time, event, risk = cohort(4)
    for call in (
        lambda: auc_over_time(time, event, risk, [horizon]),
        lambda: brier_score(time, event, np.full(len(time), 0.5), [horizon]),
        lambda: breslow_survival(time, event, risk, risk, [horizon]),
    ):
        with pytest.raises(InputError, match="outside follow-up"):
            call()
    with pytest.raises(InputError, match="outside follow-up"):
        auc_over_time(time, event, risk, [time.max()])  # nobody is left as a control


def test_bad_input_is_refused():
    time, event, risk = cohort(5)
    with pytest.raises(InputError, match="ascend"):
        auc_over_time(time, event, risk, [20.0, 10.0])
    with pytest.raises(InputError, match="survival is not between 0 and 1"):
        brier_score(time, event, risk, [20.0])
    with pytest.raises(InputError, match=r"survival has shape \(200,\) where \(200, 2\)"):
        brier_score(time, event, np.full(200, 0.5), [10.0, 20.0])
    with pytest.raises(InputError, match="at least two horizons"):
        integrated_brier_score(brier_score(time, event, np.full(200, 0.5), [20.0]))
    with pytest.raises(InputError, match="before the horizon"):
        uno_concordance(time, event, risk, horizon=time.min())
    late = np.array([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="lies after the last one"):
        uno_concordance(late, [1, 1, 1, 1], late, train=([1.0, 2.0], [0, 1]))
    with pytest.raises(InputError, match="weight is 1/0"):
        uno_concordance(late, [1, 1, 1, 1], late, train=([1.0, 2.0], [1, 0]))


def test_auc_before_any_event_is_not_a_number_and_has_no_weight():
    time, event = np.array([1.0, 2, 3, 4, 5]), np.array([0, 1, 0, 1, 0])
    table = auc_over_time(time, event, [0, 5, 1, 4, 2], [1.0, 2.0, 4.0])
    assert np.isnan(table["auc"].iloc[0])
    assert mean_auc(table, time, event) == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_cumulative_incidence_equals_scikit_survival(seed):
    time, event, _ = cohort(seed)
    event &= time < time.max()  # scikit-survival has no variance where nobody is left
    rival = ~event & (np.random.default_rng(seed).random(len(time)) < 0.4)
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
