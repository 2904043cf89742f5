"""Folds: whole patients, level event rates, the study's sizes; intervals over folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro.errors import InputError
from ecgrepro.survival import (
    assign_folds,
    grouped_folds,
    mean_interval,
    nadeau_bengio_interval,
    study_folds,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(30, 120))
def test_folds_never_divide_a_patient_and_level_events(seed, n_folds, n_patients):
    """S-29, R-15: stratified and grouped."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 5, n_patients)
    patient = np.repeat(rng.permutation(n_patients), rows)
    event = np.repeat(rng.random(n_patients) < 0.3, rows)
    if len(np.unique(patient[event])) < n_folds:
        with pytest.raises(InputError, match="cannot fill"):
            assign_folds(patient, event, n_folds, seed)
        return
    folds = assign_folds(patient, event, n_folds, seed)
    assert all(len(np.unique(folds[patient == one])) == 1 for one in np.unique(patient))
    assert set(folds) == set(range(n_folds))
    events = np.bincount(folds, weights=event, minlength=n_folds)
    assert np.ptp(events) <= 4  # rows of one patient, the unit that cannot be cut
    assert np.ptp(np.bincount(folds, minlength=n_folds)) <= 8
    np.testing.assert_array_equal(folds, assign_folds(patient, event, n_folds, seed))


def test_folds_follow_the_seed_and_refuse_what_they_cannot_do():
    patient, event = np.arange(100), np.arange(100) % 10 == 0
    assert (assign_folds(patient, event, 5, 1) != assign_folds(patient, event, 5, 2)).any()
    with pytest.raises(InputError, match="10 patients with an event cannot fill 11 folds"):
        assign_folds(patient, event, 11, 0)
    with pytest.raises(InputError, match="at least 2"):
        assign_folds(patient, event, 1, 0)
    with pytest.raises(InputError, match="missing values"):
        assign_folds(np.r_[np.nan, patient[1:]], event, 2, 0)
    with pytest.raises(InputError, match="align"):
        assign_folds(patient[:9], event, 2, 0)


def test_grouped_folds_keep_patients_apart_in_the_inner_split_too():
    """S-29: neither test nor validation shares a patient with training."""
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 120, 400)
    event = np.isin(patient, np.arange(40))
    splits = grouped_folds(patient, event, n_folds=5, seed=42)
    tested = np.concatenate([split.test for split in splits])
    assert sorted(tested) == list(range(400))
    for split in splits:
        parts = [set(patient[rows]) for rows in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert len(split.train) + len(split.validation) + len(split.test) == 400
        assert event[split.validation].any()


@pytest.mark.parametrize(
    ("n", "events", "sizes", "numbers"),
    [(800, 32, (320, 80, 400), (13, 3, 16)), (11575, 162, (4629, 1158, 5788), (65, 16, 81))],
)
def test_study_folds_have_the_studys_sizes(n, events, sizes, numbers):
    """Sizes and events by part as the study's notebooks print them."""
    event = np.arange(n) < events
    split = study_folds(event, seed=42)[0]
    for rows, size, number in zip(
        (split.train, split.validation, split.test), sizes, numbers, strict=True
    ):
        assert len(rows) == size
        assert event[rows].sum() == number
    with pytest.raises(InputError, match="at least 4"):
        study_folds(np.arange(100) < 3)


PUBLISHED = [0.4943, 0.6701, 0.5874, 0.5479, 0.6468, 0.6093, 0.6478, 0.3953, 0.5656, 0.6407]
"""The study's ten folds on UKB-MI (STUDY section 6), two a seed."""


def test_intervals_over_the_published_folds():
    """S-31: all values, both spreads, and an interval that allows for overlap."""
    values = np.array(PUBLISHED)
    by_seed = values.reshape(5, 2).mean(axis=1)
    assert values.mean() == pytest.approx(0.58052, abs=5e-6)
    assert values.std(ddof=1) == pytest.approx(0.085, abs=5e-4)
    assert by_seed.std(ddof=1) == pytest.approx(0.040, abs=5e-4)
    seeds = mean_interval(by_seed)
    assert (seeds.low, seeds.high) == pytest.approx((0.531, 0.630), abs=1e-3)
    corrected, naive = nadeau_bengio_interval(PUBLISHED, 1.0), mean_interval(PUBLISHED)
    # (1/10 + 1)·s² in place of s²/10: the honest interval is √11 times as wide, and holds 0.5
    assert corrected.high - corrected.low == pytest.approx(np.sqrt(11) * (naive.high - naive.low))
    assert corrected.contains(0.5)
    with pytest.raises(InputError, match="at least two"):
        nadeau_bengio_interval([0.6], 1.0)
    with pytest.raises(InputError, match="test_to_train"):
        nadeau_bengio_interval(PUBLISHED, 0.0)
