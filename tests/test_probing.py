"""Retrieval against chance, collapse monitors, linear probes, similarity."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ecgrepro.errors import InputError
from ecgrepro.probing import (
    _weighted_areas,
    chance_at_k,
    collapse_report,
    distinct_rows,
    effective_rank,
    linear_probe,
    nearest_reports,
    retrieval,
    retrieval_both_ways,
    retrieval_ranks,
    score_table,
    similarity_matrix,
    zero_shot_scores,
)


@given(st.integers(1, 60), st.data())
@settings(max_examples=80, deadline=None)
def test_chance_is_the_hypergeometric_one(gallery: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, gallery))
    k = data.draw(st.integers(1, gallery))
    exact = 1 - math.comb(gallery - hits, k) / math.comb(gallery, k)
    assert chance_at_k(hits, gallery, k) == pytest.approx(exact, abs=1e-12)
    assert chance_at_k(hits, gallery, gallery + 5) == pytest.approx(float(hits > 0))


def test_ranks_count_what_is_nearer_and_split_ties() -> None:
    gallery = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.0, 2.0]])
    query = np.array([[1.0, 0.1], [1.0, 0.1], [0.0, 0.0], [1.0, 0.0]])
    ranks = retrieval_ranks(query, gallery, np.array([7, 9, 7, 5]), np.array([7, 8, 9, 8]))
    assert ranks.tolist() == [1.0, 3.5, 2.5, np.inf]  # equal cosines: as in random order


def test_a_collapsed_network_gets_chance_not_the_share_of_the_commonest_text() -> None:
    """S-16: a constant embedding must not look like retrieval where 41 % share one text."""
    rng = np.random.default_rng(0)
    ids = np.where(rng.random(400) < 0.41, 0, rng.integers(1, 60, 400))
    constant = np.ones((400, 8))
    table = retrieval_both_ways(constant, constant, ids, ks=(1, 10), n_bootstrap=50)
    forth = table.loc["ECG to report"]
    assert forth.loc[1, "recall"] == 0.0
    assert forth.loc[1, "chance"] == pytest.approx(1 / 60)
    assert 0.35 < forth.loc[1, "constant"] < 0.47
    # an ordered list with the commonest text first is what `constant` says, and chance by text
    first = distinct_rows(ids)
    gallery = np.zeros((len(first), 2))
    gallery[:, 0] = 1
    gallery[:, 1] = np.arange(len(first)) + 1.0
    gallery[ids[first] == 0, 1] = 0.0
    favourite = retrieval(np.tile([1.0, 0.0], (400, 1)), gallery, ids, ids[first], ks=(1,))
    assert favourite.loc[1, "recall"] == pytest.approx(favourite.loc[1, "constant"])
    assert favourite.loc[1, "by_text"] == pytest.approx(1 / 60)


def test_perfect_retrieval_counts_same_texts_as_hits() -> None:
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 30, 200)
    centre = rng.normal(size=(30, 16))
    e_text, e_ecg = centre[ids], centre[ids] + 0.01 * rng.normal(size=(200, 16))
    table = retrieval_both_ways(e_ecg, e_text, ids, groups=np.arange(200) // 2)
    assert (table["recall"] == 1).all()
    assert (table["low"] == 1).all()
    assert (table["by_text"] == 1).all()
    back = table.loc[("report to ECG", 1)]
    frequency = np.bincount(ids) / 200
    assert back["chance"] == pytest.approx(frequency.mean())  # m hits among all ECGs, by text
    assert table.loc[("ECG to report", 5), "ratio"] == pytest.approx(30 / 5)
    assert back["n_gallery"] == 200


def test_chance_agrees_with_random_embeddings() -> None:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 20, 3000)
    gallery_ids = np.repeat(np.arange(20), rng.integers(1, 6, 20))
    gallery = rng.normal(size=(len(gallery_ids), 64))
    table = retrieval(rng.normal(size=(3000, 64)), gallery, ids, gallery_ids, ks=(1, 5))
    for k in (1, 5):
        assert table.loc[k, "recall"] == pytest.approx(table.loc[k, "chance"], abs=0.05)


def test_bootstrap_by_patient_is_wider_than_by_record() -> None:
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(30), 10)
    good = np.repeat(rng.random(30) < 0.5, 10)  # all ECGs of a patient succeed or fail together
    ids = np.arange(300)
    query = np.eye(300)[np.where(good, ids, (ids + 150) % 300)]
    by_record = retrieval(query, np.eye(300), ids, ids, ks=(1,)).loc[1]
    by_patient = retrieval(query, np.eye(300), ids, ids, ks=(1,), groups=patient).loc[1]
    assert by_record["recall"] == by_patient["recall"]
    ratio = (by_patient["high"] - by_patient["low"]) / (by_record["high"] - by_record["low"])
    assert 2 < ratio < 4.5  # sqrt(10)


def test_retrieval_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="one number an embedding"):
        retrieval_ranks(np.ones((2, 3)), np.ones((2, 3)), np.arange(2), np.arange(3))
    with pytest.raises(InputError, match="finite"):
        retrieval_ranks(np.full((1, 2), np.nan), np.ones((1, 2)), np.arange(1), np.arange(1))


def test_nearest_reports_shows_each_text_once() -> None:
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    reports = ["a", "a", "b", "c"]
    ids = np.array([0, 0, 1, 2])
    table = nearest_reports(np.array([[0.5, 0.9]]), gallery, reports, ids, np.array([1]), k=2)
    assert table.report.tolist() == ["b", "c"]
    assert table["rank"].tolist() == [1, 2]
    assert table.same_text.tolist() == [True, False]
    assert table.cosine.is_monotonic_decreasing


def test_collapse_is_flagged_and_health_is_not() -> None:
    """S-16: cosine shows collapse to a point, rank collapse to a line."""
    rng = np.random.default_rng(4)
    healthy = collapse_report(rng.normal(size=(500, 32)))
    assert not healthy.collapsed
    assert abs(healthy.mean_pairwise_cosine) < 0.01
    assert healthy.effective_rank > 28
    assert healthy.uniformity < -3
    point = collapse_report(np.ones((50, 8)) + 1e-3 * rng.normal(size=(50, 8)))
    assert point.collapsed
    assert point.mean_pairwise_cosine > 0.999
    assert point.uniformity > -0.01
    line = collapse_report(np.outer(rng.choice([-1.0, 1.0], 60), np.ones(8)))
    assert line.collapsed
    assert abs(line.mean_pairwise_cosine) < 0.1
    with pytest.raises(InputError):
        collapse_report(np.ones((1, 4)))


@given(st.integers(0, 1000), st.integers(2, 20), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_monitors_agree_with_their_definitions(seed: int, n: int, d: int) -> None:
    e = np.random.default_rng(seed).normal(size=(n, d))
    unit = e / np.linalg.norm(e, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    report = collapse_report(e)
    assert report.mean_pairwise_cosine == pytest.approx(
        np.mean([unit[i] @ unit[j] for i, j in pairs]), abs=1e-9
    )
    apart = [np.exp(-2 * np.sum((unit[i] - unit[j]) ** 2)) for i, j in pairs]
    assert report.uniformity == pytest.approx(np.log(np.mean(apart)), abs=1e-9)
    values = np.linalg.svd(unit, compute_uv=False)
    share = values[values > 1e-6] / values.sum()
    assert report.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    assert effective_rank(np.zeros((n, d))) == 1.0


def test_similarity_matrix_is_the_mean_over_pairs_without_self() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(size=(12, 5))
    member = pd.DataFrame(rng.integers(0, 2, (12, 3)), columns=["MI", "NORM", "HYP"])
    member.iloc[:2] = 1
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    matrix = similarity_matrix(z, member)
    for a in member:
        for b in member:
            values = [
                unit[i] @ unit[j]
                for i in np.flatnonzero(member[a])
                for j in np.flatnonzero(member[b])
                if i != j
            ]
            assert matrix.loc[a, b] == pytest.approx(np.mean(values))
    lone = similarity_matrix(z, np.array(["x"] * 11 + ["y"]))
    assert np.isnan(lone.loc["y", "y"])
    assert np.isfinite(lone.loc["x", "y"])


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40, deadline=None)
def test_weighted_areas_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, 2, 40)]
    score = rng.normal(size=42).round(0 if ties else 9)
    weights = rng.integers(0, 4, (3, 42)).astype(float)
    weights[:, :2] = 1
    auroc, auprc = _weighted_areas(score, y, weights)
    for place, weight in enumerate(weights):
        assert auroc[place] == pytest.approx(roc_auc_score(y, score, sample_weight=weight))
        assert auprc[place] == pytest.approx(
            average_precision_score(y, score, sample_weight=weight)
        )


def test_linear_probe_reads_a_linear_label_and_not_noise() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(size=(600, 12)) * np.logspace(-2, 2, 12)  # scales must not matter
    linear = (z[:, 0] / 0.01 + 0.3 * rng.normal(size=600) > 0.5).astype(int)
    y = np.column_stack([linear, rng.integers(0, 2, 600), np.zeros(600, int)])
    parts = (slice(0, 300), slice(300, 400), slice(400, 600))
    arguments = [array[part] for part in parts for array in (z, y)]
    result = linear_probe(*arguments, ["signal", "noise", "absent"], groups=np.arange(200) // 2)
    table = result.table
    assert table.loc["signal", "auroc"] > 0.95
    assert table.loc["noise", "auroc_low"] < 0.5 < table.loc["noise", "auroc_high"]
    assert np.isnan(table.loc["absent", "auroc"])
    assert table.loc["macro", "auroc"] == pytest.approx(
        table.loc[["signal", "noise"], "auroc"].mean()
    )
    assert table.loc["macro", "auroc_low"] < table.loc["macro", "auroc"]
    assert result.penalty == result.validation_log_loss.idxmin()
    assert list(result.validation_log_loss.index) == [0.01, 0.1, 1.0, 10.0]
    assert table.loc["signal", "positives"] == linear[400:].sum()
    # neither scaling nor penalty may look at the test part
    moved = arguments.copy()
    moved[4] = z[parts[2]] * 0 + 5.0
    assert linear_probe(*moved, ["signal", "noise", "absent"]).penalty == result.penalty


def test_linear_probe_refuses_what_it_cannot_fit() -> None:
    z, y = np.ones((4, 2)), np.zeros((4, 1), int)
    with pytest.raises(InputError, match="no class has both outcomes"):
        linear_probe(z, y, z, y, z, y, ["a"])
    with pytest.raises(InputError, match="validation: embeddings"):
        linear_probe(z, y, z, y[:2], z, y, ["a"])


def test_zero_shot_scores_are_cosines_for_the_score_table() -> None:
    statements = np.eye(3)
    y = np.random.default_rng(7).integers(0, 2, (80, 3))
    e_ecg = y - 0.5  # equal norms, so that the cosine has the label's sign
    scores = zero_shot_scores(e_ecg, statements)
    assert scores.shape == (80, 3)
    assert np.abs(scores).max() <= 1 + 1e-12
    table = score_table(scores, y, ["a", "b", "c"], n_bootstrap=100)
    assert table.loc["macro", "auroc"] == 1.0
    with pytest.raises(InputError, match="differ"):
        score_table(scores, y[:, :2], ["a", "b", "c"])
