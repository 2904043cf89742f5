"""Measures of many resamples at once: what each resample gives by itself, and what scikit-survival gives."""

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
    bootstrap_interval,
    brier_score,
    calibration_at,
    combine,
    concordance_index,
    integrated_brier_score,
    kaplan_meier,
    paired_difference,
    replicates,
    resample_patients,
    resampled_auc,
    resampled_brier,
    resampled_calibration,
    resampled_concordance,
)

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
    return np.repeat(np.arange(len(sample.time)), sample.draws[number][sample.codes])


def test_intervals_and_differences_are_those_of_one_model_at_a_time(cohort):
    time, event, risks, patient = cohort
    sample = resample_patients(time, event, patient, 60, seed=4)
    found = resampled_concordance(sample, risks)
    for name, risk in risks.items():
        alone = bootstrap_interval(concordance_index, (time, event, risk), patient, 60, seed=4)
        assert found[name].interval() == alone
    gap = combine(np.subtract, found["good"], found["noisy"]).interval()
    paired = paired_difference(
        concordance_index, (time, event), risks["good"], risks["noisy"], patient, 60, seed=4
    )
    assert (gap.estimate, gap.low, gap.high) == (paired.estimate, paired.low, paired.high)
    assert found["good"].interval(0.5).low > found["good"].interval().low


@pytest.mark.parametrize("block", [500, 4_000_000])
def test_each_resample_gives_what_it_would_give_alone(cohort, block, monkeypatch):
    monkeypatch.setattr(replicates, "_CELLS", block)  # a few resamples at a time, or all
    time, event, risks, patient = cohort
    survival = {name: curves(time, event, risk, HORIZONS) for name, risk in risks.items()}
    by_then = {name: 1 - probability[:, 2] for name, probability in survival.items()}
    sample = resample_patients(time, event, patient, 12, seed=1)
    auc = resampled_auc(sample, risks, HORIZONS)
    brier = resampled_brier(sample, survival, HORIZONS)
    ratio = resampled_calibration(sample, by_then, HORIZONS[2])
    for name, risk in risks.items():
        np.testing.assert_array_equal(
            auc[name].estimate, auc_over_time(time, event, risk, HORIZONS)["auc"]
        )
        whole = calibration_at(time, event, by_then[name], HORIZONS[2])
        assert ratio[name].estimate == pytest.approx(whole.ratio)
        for number in range(12):
            rows = rows_of(sample, number)
            t, e = time[rows], event[rows]
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
    table = brier_score(time, event, survival, HORIZONS)
    assert integrated.estimate == pytest.approx(integrated_brier_score(table), abs=1e-15)


def test_a_subgroup_sees_the_same_draws(cohort):
    time, event, risks, patient = cohort
    sample = resample_patients(time, event, patient, 8, seed=5)
    old = np.arange(len(time)) % 3 > 0
    part = resampled_concordance(sample.of(old), {name: risk[old] for name, risk in risks.items()})[
        "good"
    ]
    assert part.units == len(np.unique(patient[old]))
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
    rare = Replicates(np.zeros(2), few, 6, 0.95)
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
