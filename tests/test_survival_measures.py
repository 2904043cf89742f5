"""Measures of risk: against scikit-survival, on the data and on each resample; what a bootstrap must be."""

import numpy as np
import pytest
from sksurv import metrics
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from ecgrepro.errors import InputError
from ecgrepro.survival import (
    Replicates,
    auc_over_time,
    breslow_survival,
    brier_score,
    calibration_at,
    combine,
    concordance_index,
    kaplan_meier,
    measures,
    resample_patients,
    resampled_auc,
    resampled_brier,
    resampled_calibration,
    resampled_concordance,
    uno_concordance,
)

TIMES = np.array([5.0, 20.0, 40.0, 60.0])


def follow_up(seed: int, n: int = 200):
    """Simulated follow-up: tied times, tied scores, a third censored."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=n), 1)
    latent = np.ceil(50 * rng.exponential(np.exp(-risk)))
    censoring = rng.integers(20, 120, n)
    return np.minimum(latent, censoring).astype(float), latent <= censoring, risk


@pytest.mark.parametrize("seed", range(8))
def test_measures_equal_scikit_survival(seed):
    time, event, risk = follow_up(seed)
    outcome = Surv.from_arrays(event, time)

    expected, _ = metrics.cumulative_dynamic_auc(outcome, outcome, risk, TIMES)
    auc = auc_over_time(time, event, risk, TIMES)
    np.testing.assert_allclose(auc["auc"], expected, atol=1e-12)
    assert auc["cases"].tolist() == [int((event & (time <= h)).sum()) for h in TIMES]

    uno = metrics.concordance_index_ipcw(outcome, outcome, risk, tau=50.0)[0]
    assert uno_concordance(time, event, risk, horizon=50.0) == pytest.approx(uno, abs=1e-12)

    curves = BreslowEstimator().fit(risk, event, time).get_survival_function(risk)
    survival = np.array([[curve(h) for h in TIMES] for curve in curves])
    np.testing.assert_allclose(
        breslow_survival(time, event, risk, risk, TIMES), survival, atol=1e-12
    )
    _, scores = metrics.brier_score(outcome, outcome, survival, TIMES)
    found = brier_score(time, event, survival, TIMES)
    np.testing.assert_allclose(found["brier"], scores, atol=1e-12)


def test_censoring_may_be_learned_from_other_patients():
    time, event, risk = follow_up(1, 300)
    train = np.arange(300) < 200
    learned = (time[train], event[train])
    outcome = Surv.from_arrays(event, time)
    horizons = TIMES[:3]
    expected = metrics.cumulative_dynamic_auc(
        outcome[train], outcome[~train], risk[~train], horizons
    )[0]
    found = auc_over_time(time[~train], event[~train], risk[~train], horizons, train=learned)
    np.testing.assert_allclose(found["auc"], expected, atol=1e-12)
    survival = np.full((100, 3), 0.7)
    _, expected = metrics.brier_score(outcome[train], outcome[~train], survival, horizons)
    found = brier_score(time[~train], event[~train], survival, horizons, train=learned)
    np.testing.assert_allclose(found["brier"], expected, atol=1e-12)
    expected = metrics.concordance_index_ipcw(outcome[train], outcome[~train], risk[~train], 40.0)
    found = uno_concordance(time[~train], event[~train], risk[~train], 40.0, train=learned)
    assert found == pytest.approx(expected[0], abs=1e-12)


def test_without_censoring_the_weights_vanish():
    time, _, risk = follow_up(2)
    event = np.ones(len(time))
    harrell = concordance_index(time, event, risk)
    assert uno_concordance(time, event, risk) == pytest.approx(harrell, abs=1e-12)
    survival = np.full(len(time), 0.5)
    assert brier_score(time, event, survival, [20.0])["brier"].iloc[0] == pytest.approx(0.25)


def test_the_reference_of_the_brier_score_gains_nothing():
    time, event, _ = follow_up(3)
    curve = kaplan_meier(time, event, at=TIMES)["survival"].to_numpy()
    found = brier_score(time, event, np.tile(curve, (len(time), 1)), TIMES)
    np.testing.assert_allclose(found["scaled"], 0, atol=1e-12)
    perfect = (time[:, None] > TIMES).astype(float)
    assert (brier_score(time, event, perfect, TIMES)["scaled"] > 0.7).all()


@pytest.mark.parametrize("horizon", [0.5, 500.0])
def test_horizons_outside_follow_up_are_refused(horizon):
    time, event, risk = follow_up(4)
    for call in (
        lambda: auc_over_time(time, event, risk, [horizon]),
        lambda: brier_score(time, event, np.full(len(time), 0.5), [horizon]),
        lambda: breslow_survival(time, event, risk, risk, [horizon]),
    ):
        with pytest.raises(InputError, match="outside follow-up"):
            call()
    with pytest.raises(InputError, match="outside follow-up"):
        auc_over_time(time, event, risk, [time.max()])  # nobody is left as a control


def test_bad_horizons_and_weights_are_refused():
    time, event, risk = follow_up(5)
    with pytest.raises(InputError, match="ascend"):
        auc_over_time(time, event, risk, [20.0, 10.0])
    with pytest.raises(InputError, match="survival is not between 0 and 1"):
        brier_score(time, event, risk, [20.0])
    with pytest.raises(InputError, match=r"survival has shape \(200,\) where \(200, 2\)"):
        brier_score(time, event, np.full(200, 0.5), [10.0, 20.0])
    with pytest.raises(InputError, match="before the horizon"):
        uno_concordance(time, event, risk, horizon=time.min())
    late = np.array([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError, match="weight is 1/0"):
        uno_concordance(late, [1, 1, 1, 1], late, train=([1.0, 2.0], [0, 1]))
    with pytest.raises(InputError, match="weight is 1/0"):
        uno_concordance(late, [1, 1, 1, 1], late, train=([1.0, 2.0], [1, 0]))


def test_auc_before_any_event_is_not_a_number():
    time, event = np.array([1.0, 2, 3, 4, 5]), np.array([0, 1, 0, 1, 0])
    table = auc_over_time(time, event, [0, 5, 1, 4, 2], [1.0, 2.0, 4.0])
    assert np.isnan(table["auc"].iloc[0])
    assert table["auc"].iloc[1:].tolist() == [1.0, 1.0]


# ------------------------------------------------------------------------------- on many resamples

HORIZONS = np.array([10.0, 20.0, 40.0, 60.0])


@pytest.fixture(scope="module")
def cohort():
    """Simulated follow-up with tied times and scores, and patients with several rows; two scores."""
    rng = np.random.default_rng(3)
    n = 160
    risk = np.round(rng.normal(size=n), 1)
    latent = np.ceil(50 * rng.exponential(np.exp(-risk)))
    censoring = rng.integers(15, 120, n)
    time, event = np.minimum(latent, censoring).astype(float), latent <= censoring
    noisy = np.round(risk + rng.normal(size=n), 1)
    return time, event, {"good": risk, "noisy": noisy}, rng.integers(0, 110, n)


def curves(time, event, risk, horizons):
    """Survival probabilities of each row, by scikit-survival."""
    found = BreslowEstimator().fit(risk, event, time).get_survival_function(risk)
    return np.array([[curve(h) for h in horizons] for curve in found])


def rows_of(sample, number):
    """Rows of one resample, each as often as it was drawn."""
    return np.repeat(np.arange(len(sample.time)), sample.weights[1 + number])


@pytest.mark.parametrize("block", [500, 4_000_000])
def test_each_resample_gives_what_it_would_give_alone(cohort, block, monkeypatch):
    monkeypatch.setattr(measures, "_CELLS", block)  # a few resamples at a time, or all
    time, event, risks, patient = cohort
    survival = {name: curves(time, event, risk, HORIZONS) for name, risk in risks.items()}
    by_then = {name: 1 - probability[:, 2] for name, probability in survival.items()}
    sample = resample_patients(time, event, patient, 12, seed=1)
    order = resampled_concordance(sample, risks)
    auc = resampled_auc(sample, risks, HORIZONS)
    brier = resampled_brier(sample, survival, HORIZONS)
    ratio = resampled_calibration(sample, by_then, HORIZONS[2])
    for name, risk in risks.items():
        expected = auc_over_time(time, event, risk, HORIZONS)["auc"]
        np.testing.assert_allclose(auc[name].estimate, expected, atol=1e-14)
        assert order[name].estimate == concordance_index(time, event, risk)
        whole = calibration_at(time, event, by_then[name], HORIZONS[2])
        assert ratio[name].estimate == pytest.approx(whole.ratio)
        for number in range(12):
            rows = rows_of(sample, number)
            t, e = time[rows], event[rows]
            assert order[name].values[number] == concordance_index(t, e, risk[rows])
            expected = auc_over_time(t, e, risk[rows], HORIZONS)["auc"]
            np.testing.assert_allclose(auc[name].values[number], expected, atol=1e-12)
            expected = brier_score(t, e, survival[name][rows], HORIZONS)["brier"]
            np.testing.assert_allclose(brier[name].values[number], expected, atol=1e-12)
            observed = 1 - kaplan_meier(t, e, at=[HORIZONS[2]])["survival"].iloc[0]
            expected = observed / by_then[name][rows].mean()
            assert ratio[name].values[number] == pytest.approx(expected, abs=1e-12)


def test_resamples_equal_scikit_survival(cohort):
    time, event, risks, patient = cohort
    sample = resample_patients(time, event, patient, 5, seed=2)
    survival = curves(time, event, risks["good"], HORIZONS)
    auc = resampled_auc(sample, risks, HORIZONS)["good"]
    brier = resampled_brier(sample, {"good": survival}, HORIZONS)["good"]
    span = HORIZONS[-1] - HORIZONS[0]
    integrated = combine(lambda score: np.trapezoid(score, HORIZONS) / span, brier)
    for number in range(5):
        rows = rows_of(sample, number)
        outcome = Surv.from_arrays(event[rows], time[rows])
        expected, _ = metrics.cumulative_dynamic_auc(
            outcome, outcome, risks["good"][rows], HORIZONS
        )
        np.testing.assert_allclose(auc.values[number], expected, atol=1e-12)
        expected = metrics.integrated_brier_score(outcome, outcome, survival[rows], HORIZONS)
        assert integrated.values[number] == pytest.approx(expected, abs=1e-12)
        steps, probability = kaplan_meier_estimator(event[rows], time[rows])
        observed = 1 - probability[steps <= 40.0][-1]
        ratio = resampled_calibration(sample, {"half": np.full(len(time), 0.5)}, 40.0)["half"]
        assert ratio.values[number] == pytest.approx(observed / 0.5, abs=1e-12)


def test_a_subgroup_sees_the_same_draws(cohort):
    time, event, risks, patient = cohort
    sample = resample_patients(time, event, patient, 8, seed=5)
    old = np.arange(len(time)) % 3 > 0
    part = resampled_concordance(sample.of(old), {name: risk[old] for name, risk in risks.items()})[
        "good"
    ]
    for number in range(8):
        rows = rows_of(sample, number)
        rows = rows[old[rows]]
        expected = concordance_index(time[rows], event[rows], risks["good"][rows])
        assert part.values[number] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="True or False"):
        sample.of(np.flatnonzero(old))


def test_the_truth_is_calibrated_and_beats_no_covariates():
    """Known hazards: observed over expected is 1, and the Brier score is under that of Kaplan-Meier."""
    rng = np.random.default_rng(0)
    risk = rng.normal(size=1500)
    latent = rng.exponential(np.exp(-risk))
    censoring = rng.uniform(0.2, 3, 1500)
    time, event = np.minimum(latent, censoring), latent <= censoring
    sample = resample_patients(time, event, None, 200, seed=0)
    times = np.array([0.25, 0.5, 1.0])
    true = np.exp(-times * np.exp(risk)[:, None])
    alone = kaplan_meier(time, event, at=times)["survival"].to_numpy()
    ratio = resampled_calibration(
        sample, {"truth": 1 - true[:, 2], "half": 0.5 * (1 - true[:, 2])}, 1
    )
    assert ratio["truth"].interval().contains(1.0)
    assert ratio["half"].interval().low > 1.5
    brier = resampled_brier(sample, {"truth": true, "none": np.tile(alone, (1500, 1))}, times)
    gain = combine(np.subtract, brier["none"], brier["truth"])
    assert (gain.band()["low"] > 0).all()
    assert (gain.band()["low"] < gain.estimate).all()
    assert (gain.estimate < gain.band()["high"]).all()


def test_what_a_resample_does_not_know_is_missing_not_zero():
    time, event = np.array([1.0, 2, 3, 4, 5, 6]), np.array([0, 1, 0, 1, 0, 0])
    risk = np.arange(6.0)
    sample = resample_patients(time, event, None, 200, seed=0)
    drawn = [rows_of(sample, number) for number in range(200)]
    cases = np.array([event[rows][time[rows] <= 2].any() for rows in drawn])
    followed = np.array([time[rows].max() > 5 for rows in drawn])
    auc = resampled_auc(sample, {"risk": risk}, [2.0, 5.0])["risk"]
    np.testing.assert_array_equal(np.isnan(auc.values[:, 0]), ~cases)
    assert np.isnan(auc.values[~followed, 1]).all()
    brier = resampled_brier(sample, {"risk": np.full((6, 2), 0.5)}, [2.0, 5.0])["risk"]
    np.testing.assert_array_equal(np.isnan(brier.values[:, 1]), ~followed)
    assert 0.3 < followed.mean() < 0.9
    at_last = np.array([time[rows].max() >= 5 for rows in drawn])
    ratio = resampled_calibration(sample, {"half": np.full(6, 0.5)}, 5.0)["half"]
    gone = np.array([event[rows][time[rows] == time[rows].max()].all() for rows in drawn])
    np.testing.assert_array_equal(np.isnan(ratio.values), ~(at_last | gone))
    few = np.where(np.arange(200)[:, None] < 90, np.zeros((200, 2)), np.nan)
    rare = Replicates(np.vstack([np.zeros(2), few]))
    assert rare.band().isna().all(axis=None)  # under half of the resamples are known


def test_bad_input_is_refused(cohort):
    time, event, risks, _ = cohort
    sample = resample_patients(time, event, None, 5)
    with pytest.raises(InputError, match="outside follow-up"):
        resampled_auc(sample, risks, [500.0])
    with pytest.raises(InputError, match="survival is not between 0 and 1"):
        resampled_brier(sample, risks, [20.0])
    with pytest.raises(InputError, match="not between 0 and 1"):
        resampled_calibration(sample, risks, 20.0)
    with pytest.raises(InputError, match="is a curve"):
        resampled_auc(sample, risks, HORIZONS)["good"].interval()
    with pytest.raises(InputError, match="n_resamples"):
        resample_patients(time, event, None, 0)


# ----------------------------------------------------------------------------------------- bootstrap


def interval_of(time, event, risk, patient=None, n_resamples=200, seed=0):
    sample = resample_patients(time, event, patient, n_resamples, seed)
    return resampled_concordance(sample, {"risk": risk})["risk"].interval()


def test_interval_depends_on_the_seed_and_on_nothing_else(cohort):
    time, event, risks, _ = cohort
    one, again, other = (interval_of(time, event, risks["noisy"], seed=s) for s in (1, 1, 2))
    assert one == again
    assert one.low != other.low
    assert one.low < one.estimate < one.high


def test_patients_are_drawn_whole():
    """Ten copies of each patient carry no more information than one: the interval must not shrink."""
    rng = np.random.default_rng(0)
    risk, patient = rng.normal(size=60), np.arange(60)
    time, event = rng.permutation(60) + 1.0, np.ones(60)
    copies = [np.tile(x, 10) for x in (time, event, risk, patient)]
    single, copied = interval_of(time, event, risk, patient), interval_of(*copies)
    ignored = interval_of(*copies[:3])
    assert copied.high - copied.low == pytest.approx(single.high - single.low)
    assert ignored.high - ignored.low < 0.5 * (single.high - single.low)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    hits = sum(
        interval_of(rng.exponential(size=60), np.ones(60), rng.normal(size=60), seed=seed).contains(
            0.5
        )
        for seed in range(100)
    )
    assert 86 <= hits <= 99


def test_paired_difference_of_a_model_with_itself_is_zero(cohort):
    time, event, risks, patient = cohort
    sample = resample_patients(time, event, patient, 300)
    noise = np.random.default_rng(0).normal(size=len(time))
    own = risks["good"]
    found = resampled_concordance(sample, {"one": own, "scaled": 3 * own, "noise": noise})
    same = combine(np.subtract, found["one"], found["scaled"]).interval()
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    assert combine(np.subtract, found["one"], found["noise"]).interval().low > 0


def test_resamples_without_events_are_left_out_or_the_interval_is_refused():
    time, event = np.arange(1.0, 21), np.arange(20) == 0
    sample = resample_patients(time, event, None, 200)
    found = resampled_concordance(sample, {"risk": time})["risk"]
    known = np.isfinite(found.values).sum()
    assert 100 < known < 200  # about 1 - 1/e of the resamples hold the single event
    assert found.interval().high <= 1
    with pytest.raises(InputError, match="failed on"):
        interval_of([1.0, 2.0], [1, 0], [1.0, 2.0])
    with pytest.raises(InputError, match="comparable"):
        interval_of(time, np.zeros(20), time)
    with pytest.raises(InputError, match="groups has shape"):
        resample_patients(time, event, groups=[1])


def test_the_area_under_the_roc_curve_is_the_c_index_of_equal_times(cohort):
    from sklearn.metrics import roc_auc_score

    _, coded, risks, _ = cohort
    area = concordance_index(np.zeros(len(coded)), coded, risks["noisy"])
    assert area == pytest.approx(roc_auc_score(coded, risks["noisy"]), abs=1e-12)
