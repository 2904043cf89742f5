"""Bootstrap by patient, paired differences, intervals over folds."""

import time as clock

import numpy as np
import pandas as pd
import pytest

from ecgrepro.errors import InputError
from ecgrepro.survival import (
    bootstrap_interval,
    concordance_index,
    mean_interval,
    nadeau_bengio_interval,
    paired_difference,
    summarize_folds,
)

PUBLISHED = [0.4943, 0.6701, 0.5874, 0.5479, 0.6468, 0.6093, 0.6478, 0.3953, 0.5656, 0.6407]
"""The study's ten folds on UKB-MI (STUDY section 6), two a seed."""


def plain_concordance(time, event, risk):
    """The same metric by another name, so that the general path is taken."""
    return concordance_index(time, event, risk)


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(3)
    n = 150
    risk = rng.normal(size=n)
    latent = rng.exponential(np.exp(-0.7 * risk)) * 1000
    time = np.ceil(np.minimum(latent, 800) / 30)  # whole months: many ties
    event = (latent < 800).astype(int)
    patient = rng.integers(0, 100, n)
    return time, event, np.round(risk, 1), patient


def test_fast_path_equals_the_general_one_exactly(cohort):
    time, event, risk, patient = cohort
    for groups in (None, patient):
        fast = bootstrap_interval(concordance_index, (time, event, risk), groups, 40, seed=5)
        slow = bootstrap_interval(plain_concordance, (time, event, risk), groups, 40, seed=5)
        assert fast == slow
    fast = paired_difference(concordance_index, (time, event), risk, -time, patient, 40, seed=5)
    slow = paired_difference(plain_concordance, (time, event), risk, -time, patient, 40, seed=5)
    assert fast == slow


def test_interval_depends_on_the_seed_and_on_nothing_else(cohort):
    time, event, risk, _ = cohort
    one = bootstrap_interval(concordance_index, (time, event, risk), None, 100, seed=1)
    again = bootstrap_interval(concordance_index, (time, event, risk), None, 100, seed=1)
    other = bootstrap_interval(concordance_index, (time, event, risk), None, 100, seed=2)
    assert one == again
    assert one.low != other.low
    assert one.low < one.estimate < one.high
    assert (one.units, one.resamples) == (150, 100)


def test_patients_are_drawn_whole():
    """Ten copies of each patient carry no more information than one: the interval must not shrink."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    patient = np.arange(60)
    single = bootstrap_interval(np.mean, (values,), patient, 400, seed=1)
    copied = bootstrap_interval(np.mean, (np.tile(values, 10),), np.tile(patient, 10), 400, seed=1)
    ignored = bootstrap_interval(np.mean, (np.tile(values, 10),), None, 400, seed=1)
    assert copied.high - copied.low == pytest.approx(single.high - single.low)
    assert ignored.high - ignored.low < 0.5 * (single.high - single.low)
    assert single.standard_error == pytest.approx(values.std() / np.sqrt(60), rel=0.15)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    hits = sum(
        bootstrap_interval(np.mean, (rng.normal(size=40),), None, 200, seed=seed).contains(0.0)
        for seed in range(100)
    )
    assert 86 <= hits <= 99


def test_paired_difference_of_a_model_with_itself_is_zero(cohort):
    time, event, risk, patient = cohort
    same = paired_difference(concordance_index, (time, event), risk, 3 * risk, patient, 50, seed=0)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=len(risk))
    better = paired_difference(concordance_index, (time, event), risk, noise, patient, 300, seed=0)
    assert better.low > 0


def test_few_events_are_counted_or_refused():
    time, event, risk = np.arange(1.0, 21), np.zeros(20), np.arange(20.0)
    event[0] = 1
    found = bootstrap_interval(concordance_index, (time, event, risk), None, 200, seed=0)
    assert 100 < found.resamples < 200  # about 1 - 1/e of the resamples hold the single event
    one, two = np.array([1.0, 2.0]), np.array([1, 0])
    with pytest.raises(InputError, match="failed on"):
        bootstrap_interval(concordance_index, (one, two, one), None, 200, seed=0)
    with pytest.raises(InputError, match="must align"):
        bootstrap_interval(np.mean, (one, time))
    with pytest.raises(InputError, match="groups has shape"):
        bootstrap_interval(np.mean, (one,), groups=[1])


def test_the_fast_path_is_fast():
    """600 patients, 500 resamples: a few seconds at the very most, on any machine."""
    rng = np.random.default_rng(0)
    data = (rng.integers(1, 2000, 600), rng.random(600) < 0.3, rng.normal(size=600))
    start = clock.perf_counter()
    bootstrap_interval(concordance_index, data, None, 500, seed=0)
    assert clock.perf_counter() - start < 5


def test_intervals_over_the_published_folds():
    """S-31: all values, both spreads named for what they are, and an interval that allows for overlap."""
    table = pd.DataFrame(
        {
            "seed": np.repeat([42, 2021, 2022, 2023, 2024], 2),
            "fold": [0, 1] * 5,
            "value": PUBLISHED,
        }
    )
    found = summarize_folds(table, test_to_train=1.0)
    assert found["mean"] == pytest.approx(0.58052, abs=5e-6)
    assert found["values"] == PUBLISHED
    assert found["sd_folds"] == pytest.approx(0.085, abs=5e-4)
    assert found["sd_seed_means"] == pytest.approx(0.040, abs=5e-4)
    seeds = mean_interval(table.groupby("seed")["value"].mean())
    assert (seeds.low, seeds.high) == pytest.approx((0.531, 0.630), abs=1e-3)
    corrected, naive = found["corrected"], found["naive"]
    # (1/10 + 1)·s² in place of s²/10: the honest interval is √11 times as wide, and holds 0.5
    assert corrected.high - corrected.low == pytest.approx(np.sqrt(11) * (naive.high - naive.low))
    assert corrected.contains(0.5)
    with pytest.raises(InputError, match="at least two"):
        nadeau_bengio_interval([0.6], 1.0)
    with pytest.raises(InputError, match="test_to_train"):
        nadeau_bengio_interval(PUBLISHED, 0.0)
