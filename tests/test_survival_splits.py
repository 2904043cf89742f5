"""Splits: whole patients, level event rates, scores of test rows alone, one scale before pooling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro.errors import InputError
from ecgrepro.survival import (
    STUDY_SEEDS,
    assign_folds,
    centre_by_fold,
    concordance_index,
    cross_validated_scores,
    grouped_folds,
    protocol_splits,
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


def test_both_protocols_come_from_one_function():
    event = np.arange(200) % 5 == 0
    assert len(protocol_splits("study", np.arange(200), event)) == 2 * len(STUDY_SEEDS)
    assert len(protocol_splits("grouped", np.arange(200), event, seeds=(1, 2))) == 10
    with pytest.raises(InputError, match="'study' or 'grouped'"):
        protocol_splits("kfold", np.arange(200), event)


def test_a_model_that_memorises_scores_at_chance():
    """S-3: each model scores the test rows of its own split, so remembering training rows gains nothing."""
    rng = np.random.default_rng(0)
    time, event = rng.permutation(200) + 1.0, rng.random(200) < 0.5

    def fit(train, validation):
        seen = np.concatenate([train, validation])
        return dict(zip(seen.tolist(), (-time[seen]).tolist(), strict=True))

    def predict(memory, rows):
        return np.array([memory.get(row, -100.0) for row in rows.tolist()])

    scores = cross_validated_scores(protocol_splits("study", None, event), fit, predict)
    assert len(scores) == 5 * 200
    assert not scores.duplicated(["seed", "row"]).any()
    for _, part in scores.groupby(["seed", "fold"]):
        rows = part["row"].to_numpy()
        assert concordance_index(time[rows], event[rows], part["risk"]) == 0.5
    # the study's mistake, one splitter for the models of all seeds, is what this guards against
    other = study_folds(event, 2021)[0]
    model = fit(other.train, other.validation)
    wrong = study_folds(event, 42)[0].test
    assert concordance_index(time[wrong], event[wrong], predict(model, wrong)) > 0.6


def test_overlapping_parts_and_short_predictions_are_refused():
    split = study_folds(np.arange(40) % 4 == 0)[0]
    leaky = type(split)(split.seed, split.fold, split.train, split.validation, split.train)
    with pytest.raises(InputError, match="overlap"):
        cross_validated_scores([leaky], lambda *_: None, lambda _, rows: rows)
    with pytest.raises(InputError, match="predicted risk has 3 values"):
        cross_validated_scores([split], lambda *_: None, lambda *_: np.zeros(3))


def test_pooling_does_not_depend_on_a_constant_per_fold():
    """S-4: a log risk is defined up to a constant of its model."""
    rng = np.random.default_rng(0)
    risk, fold = rng.normal(size=300), rng.integers(0, 2, 300)
    time, event = rng.exponential(np.exp(-risk)), np.ones(300)
    shifted = risk + np.where(fold == 1, 4.5, 0.0)
    for method in ("mean", "rank"):
        centred = centre_by_fold(risk, fold, method)
        np.testing.assert_allclose(centre_by_fold(shifted, fold, method), centred, atol=1e-12)
        assert concordance_index(time, event, centred) > concordance_index(time, event, shifted)
    top = np.argsort(-shifted)[:12]
    assert set(fold[top]) == {1}  # raw scores: the "high-risk" group is one fold
    assert set(fold[np.argsort(-centre_by_fold(shifted, fold))[:12]]) == {0, 1}
    for label in (0, 1):  # order within a fold, hence its C-index, is untouched
        rows = fold == label
        centred = centre_by_fold(risk, fold)[rows]
        assert concordance_index(time[rows], event[rows], centred) == concordance_index(
            time[rows], event[rows], risk[rows]
        )
    with pytest.raises(InputError, match="'mean' or 'rank'"):
        centre_by_fold(risk, fold, "z")
