"""What a representation knows: retrieval, collapse monitors, linear probes, zero-shot scores, similarity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

COSINE_LIMIT = 0.98
RANK_LIMIT = 2.0


def unit_rows(e: NDArray[np.floating]) -> Array:
    """Scale rows to length 1 in float64; a row of zeros stays zero."""
    wide = np.asarray(e, dtype=np.float64)
    if wide.ndim != 2 or not np.isfinite(wide).all():
        raise InputError(f"embeddings of shape {wide.shape} must be (n, d) and finite.")
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    return wide / np.where(length > 0, length, 1.0)


def distinct_rows(ids: NDArray[np.integer]) -> Ids:
    """Return the position of the first record of each text, in order of appearance."""
    return np.sort(np.unique(np.asarray(ids), return_index=True)[1]).astype(np.int64)


def retrieval_ranks(
    e_query: NDArray[np.floating],
    e_gallery: NDArray[np.floating],
    query_ids: NDArray[np.integer],
    gallery_ids: NDArray[np.integer],
) -> Array:
    """Return the rank of each query's first hit in the gallery, ordered by cosine.

    Parameters
    ----------
    e_query, e_gallery
        (Q, d) and (M, d) embeddings of any norm.
    query_ids, gallery_ids
        (Q,) and (M,) text numbers; a gallery item with the query's number is a hit.

    Returns
    -------
    array
        (Q,) ranks from 1. Equal cosines count as in random order: with t others tied with m hits
        the first hit is expected t / (m + 1) places down, so a constant embedding gets chance,
        not first place. Infinite where the gallery holds no hit.
    """
    if len(e_query) != len(query_ids) or len(e_gallery) != len(gallery_ids):
        raise InputError(
            f"{len(e_query)} queries with {len(query_ids)} numbers, {len(e_gallery)} gallery items "
            f"with {len(gallery_ids)}: give one number an embedding."
        )
    if len(e_query) == 0 or len(e_gallery) == 0:
        raise InputError("retrieval needs at least one query and one gallery item.")
    query, gallery = unit_rows(e_query), unit_rows(e_gallery)
    ranks = np.empty(len(query))
    step = max(1, 20_000_000 // len(gallery))
    for start in range(0, len(query), step):
        part = slice(start, start + step)
        # Twelve decimals: equal vectors give equal cosines whatever the order of summation.
        cosine = np.round(query[part] @ gallery.T, 12)
        hit = np.asarray(query_ids)[part, None] == np.asarray(gallery_ids)[None, :]
        best = np.where(hit, cosine, -np.inf).max(axis=1, keepdims=True)
        above = (~hit & (cosine > best)).sum(axis=1)
        tied = (~hit & (cosine == best)).sum(axis=1)
        tied_hits = (hit & (cosine == best)).sum(axis=1)
        ranks[part] = np.where(hit.any(axis=1), 1 + above + tied / (tied_hits + 1), np.inf)
    return ranks


def chance_at_k(hits: int, gallery: int, k: int) -> float:
    """Return the probability that k of `gallery` items, drawn at random, include a hit.

    1 - C(M - m, k) / C(M, k) with m hits among M items.
    """
    if not 0 <= hits <= gallery or k < 1:
        raise InputError(f"{hits} hits among {gallery} items at k = {k} is impossible.")
    draws = np.arange(min(k, gallery))
    return float(1.0 - np.prod(np.maximum(gallery - hits - draws, 0) / (gallery - draws)))


def retrieval(
    e_query: NDArray[np.floating],
    e_gallery: NDArray[np.floating],
    query_ids: NDArray[np.integer],
    gallery_ids: NDArray[np.integer],
    ks: Sequence[int] = (1, 5, 10),
    *,
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return recall at k with its interval, beside what chance and a constant answer reach.

    Parameters
    ----------
    e_query, e_gallery, query_ids, gallery_ids
        As in `retrieval_ranks`. Make the gallery distinct with `distinct_rows`, unless the point
        is to find any of several records.
    ks
        How many of the nearest items may hold the hit.
    groups
        (Q,) patient of each query, drawn together by the bootstrap; each query alone when None.
    n_bootstrap, seed
        Resamples of the queries (the gallery stays) and their seed.

    Returns
    -------
    DataFrame
        Index k; columns

        * recall, low, high: share of queries with a hit, 95 % percentile interval;
        * chance: exact for a random order, from each query's number of hits;
        * ratio: recall / chance;
        * constant: share of queries that one fixed answer list hits, the commonest texts first,
          which is what a collapsed network can reach at best;
        * by_text, by_text_low, by_text_high: recall averaged within each text, then over texts,
          where the commonest text counts once;
        * n_queries, n_gallery, n_texts.
    """
    ranks = retrieval_ranks(e_query, e_gallery, query_ids, gallery_ids)
    texts, text_of = np.unique(np.asarray(query_ids), return_inverse=True)
    hits_of = np.array([(np.asarray(gallery_ids) == text).sum() for text in texts])
    share = np.bincount(text_of) / len(ranks)
    reachable = np.sort(np.where(hits_of > 0, share, 0.0))[::-1]
    weights = patient_weights(len(ranks), groups, n_bootstrap, seed)
    member = np.zeros((len(ranks), len(texts)))
    member[np.arange(len(ranks)), text_of] = 1.0
    weight_by_text = weights @ member
    rows = []
    for k in ks:
        hit = (ranks <= k).astype(np.float64)
        chances = np.array([chance_at_k(int(m), len(e_gallery), k) for m in hits_of])
        recall, chance = float(hit.mean()), float(chances @ share)
        drawn = (weights @ hit) / weights.sum(axis=1)
        with np.errstate(invalid="ignore"):
            drawn_by_text = np.nanmean((weights @ (member * hit[:, None])) / weight_by_text, axis=1)
        low, high = np.percentile(drawn, (2.5, 97.5))
        text_low, text_high = np.percentile(drawn_by_text, (2.5, 97.5))
        rows.append(
            {
                "k": k,
                "recall": recall,
                "low": float(low),
                "high": float(high),
                "chance": chance,
                "ratio": recall / chance if chance > 0 else np.nan,
                "constant": float(reachable[:k].sum()),
                "by_text": float(np.mean(np.bincount(text_of, hit) / np.bincount(text_of))),
                "by_text_low": float(text_low),
                "by_text_high": float(text_high),
                "n_queries": len(ranks),
                "n_gallery": len(e_gallery),
                "n_texts": len(texts),
            }
        )
    return pd.DataFrame(rows).set_index("k")


def retrieval_both_ways(
    e_ecg: NDArray[np.floating],
    e_text: NDArray[np.floating],
    text_ids: NDArray[np.integer],
    ks: Sequence[int] = (1, 5, 10),
    *,
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return `retrieval` from ECGs to distinct reports and from distinct reports to ECGs.

    Parameters
    ----------
    e_ecg, e_text, text_ids
        (n, d), (n, d) and (n,): row i of each is one record.
    ks, groups, n_bootstrap, seed
        As in `retrieval`; groups (n,) apply to ECG queries.

    Returns
    -------
    DataFrame
        Index (direction, k) with direction "ECG to report" or "report to ECG".
    """
    first = distinct_rows(text_ids)
    ids = np.asarray(text_ids)
    forth = retrieval(
        e_ecg, e_text[first], ids, ids[first], ks, groups=groups, n_bootstrap=n_bootstrap, seed=seed
    )
    back = retrieval(e_text[first], e_ecg, ids[first], ids, ks, n_bootstrap=n_bootstrap, seed=seed)
    return pd.concat({"ECG to report": forth, "report to ECG": back}, names=["direction"])


def nearest_reports(
    e_ecg: NDArray[np.floating],
    e_text: NDArray[np.floating],
    reports: Sequence[str],
    gallery_ids: NDArray[np.integer],
    query_ids: NDArray[np.integer],
    k: int = 3,
) -> pd.DataFrame:
    """Return the k reports nearest to each ECG, each distinct text once.

    Parameters
    ----------
    e_ecg, query_ids
        (Q, d) ECGs and the numbers of their own texts.
    e_text, reports, gallery_ids
        (M, d) embedded reports, their wording and their numbers.
    k
        Reports a query.

    Returns
    -------
    DataFrame
        Columns query (0 ... Q - 1), rank (from 1), cosine, report, same_text.
    """
    first = distinct_rows(gallery_ids)
    cosine = unit_rows(e_ecg) @ unit_rows(e_text[first]).T
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    rows = [
        {
            "query": query,
            "rank": rank + 1,
            "cosine": float(cosine[query, place]),
            "report": reports[first[place]],
            "same_text": bool(gallery_ids[first[place]] == query_ids[query]),
        }
        for query in range(len(order))
        for rank, place in enumerate(order[query])
    ]
    return pd.DataFrame(rows, columns=["query", "rank", "cosine", "report", "same_text"])


def patient_weights(
    n: int, groups: NDArray[np.generic] | None, n_bootstrap: int, seed: int
) -> Array:
    """Return (n_bootstrap, n) counts of each record when patients are drawn with replacement."""
    if groups is not None and len(groups) != n:
        raise InputError(f"{len(groups)} groups for {n} records: give one patient a record.")
    labels = (
        np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    patients = int(labels.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(patients, np.full(patients, 1 / patients), size=n_bootstrap)
    return counts[:, labels].astype(np.float64)


@dataclass(frozen=True)
class Collapse:
    """Monitors of an embedding of n records.

    Attributes
    ----------
    mean_pairwise_cosine
        Over all pairs of different records; 1 means that all point one way.
    effective_rank
        RankMe (Garrido et al. 2023): exp of the entropy of the normalised singular values of the
        unit vectors, not centred; 1 means one direction, at most min(n, d).
    uniformity
        Log of the mean of exp(-2 |u - v|^2) over pairs of unit vectors (Wang and Isola 2020);
        0 for a point, lower is more spread.
    collapsed
        Mean cosine above 0.98 or effective rank below 2. (Entropy rank alone missed the collapse
        of the published loss when it was centred: it is scale-free. The cosine shows it.)
    """

    mean_pairwise_cosine: float
    effective_rank: float
    uniformity: float
    collapsed: bool


def collapse_report(e: NDArray[np.floating], max_pairs_of: int = 2048) -> Collapse:
    """Measure how far an embedding has collapsed.

    Parameters
    ----------
    e
        (n, d) embeddings of any norm, n at least 2.
    max_pairs_of
        Uniformity takes pairs among this many evenly spaced records at most.
    """
    unit = unit_rows(e)
    n = len(unit)
    if n < 2:
        raise InputError(f"{n} embedding(s): collapse is a statement about at least 2.")
    lengths = float((unit**2).sum())
    cosine = float(((unit.sum(axis=0) ** 2).sum() - lengths) / (n * (n - 1)))
    rank = effective_rank(unit)
    chosen = unit[np.unique(np.linspace(0, n - 1, min(n, max_pairs_of)).astype(int))]
    inner = (chosen @ chosen.T)[np.triu_indices(len(chosen), k=1)]
    squared = np.maximum(2.0 - 2.0 * inner, 0.0)
    uniformity = float(np.log(np.exp(-2.0 * squared).mean()))
    return Collapse(cosine, rank, uniformity, cosine > COSINE_LIMIT or rank < RANK_LIMIT)


def effective_rank(e: NDArray[np.floating]) -> float:
    """Return RankMe of (n, d) embeddings: exp of the entropy of their singular values' shares."""
    wide = np.asarray(e, dtype=np.float64)
    # Singular values from the smaller Gram matrix: 512 x 512 whatever the number of records.
    gram = wide.T @ wide if wide.shape[0] > wide.shape[1] else wide @ wide.T
    values = np.linalg.eigvalsh(gram)
    # Squaring loses half the digits: below 1e-7 of the largest, a singular value is rounding.
    values = np.where(values > values.max(initial=0.0) * 1e-14, values, 0.0)
    singular = np.sqrt(values)
    if singular.sum() == 0:
        return 1.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def similarity_matrix(
    z: NDArray[np.floating], labels: NDArray[np.generic] | pd.DataFrame
) -> pd.DataFrame:
    """Return the mean cosine between records of each pair of classes.

    Parameters
    ----------
    z
        (n, d) embeddings.
    labels
        (n,) one class a record, or a DataFrame (n, K) of 0 and 1 with a column for each class, so
        that a record may belong to several.

    Returns
    -------
    DataFrame
        (K, K), symmetric; a record is never compared with itself. NaN where no pair exists.
    """
    table = labels if isinstance(labels, pd.DataFrame) else pd.get_dummies(pd.Series(labels))
    member = table.to_numpy(dtype=np.float64)
    if len(member) != len(z):
        raise InputError(f"{len(z)} embeddings and {len(member)} labels: give one a record.")
    unit = unit_rows(z)
    sums = member.T @ unit
    own = member.T @ (member * (unit**2).sum(axis=1, keepdims=True))
    size = member.sum(axis=0)
    pairs = np.outer(size, size) - member.T @ member
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(pairs > 0, (sums @ sums.T - own) / pairs, np.nan)
    return pd.DataFrame(mean, index=table.columns, columns=table.columns)


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """Outcome of a linear probe.

    Attributes
    ----------
    table
        From `score_table`: one row a class and the row "macro".
    scores
        (n_test, K) log odds.
    penalty
        The chosen C.
    validation_log_loss
        Mean log-loss over classes on validation, by C.
    """

    table: pd.DataFrame
    scores: Array
    penalty: float
    validation_log_loss: pd.Series


def linear_probe(
    z_train: NDArray[np.floating],
    y_train: NDArray[np.integer],
    z_validation: NDArray[np.floating],
    y_validation: NDArray[np.integer],
    z_test: NDArray[np.floating],
    y_test: NDArray[np.integer],
    classes: Sequence[str],
    *,
    penalties: Sequence[float] = (0.01, 0.1, 1.0, 10.0),
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ProbeResult:
    """Fit one-vs-rest logistic regression on frozen embeddings and score the test records.

    The protocol of the ecg-fix benchmark (arXiv 2602.17531): features standardised by the training
    records alone, C chosen by log-loss on validation (one C for all classes), training records
    only in the fit, AUROC and AUPRC on the test records. Put a random encoder and age and sex
    through the same function, and show them on the same line.

    Parameters
    ----------
    z_train, z_validation, z_test
        (n, d) embeddings.
    y_train, y_validation, y_test
        (n, K) of 0 and 1.
    classes
        K names.
    penalties
        Values of C (inverse strength of the ridge penalty).
    groups, n_bootstrap, seed
        Patients of the test records, resamples, seed; see `score_table`.

    Raises
    ------
    InputError
        If shapes do not fit or no class has both outcomes among the training records.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    for name, z, y in (
        ("training", z_train, y_train),
        ("validation", z_validation, y_validation),
        ("test", z_test, y_test),
    ):
        if len(z) != len(y) or np.ndim(y) != 2 or np.shape(y)[1] != len(classes):
            raise InputError(
                f"{name}: embeddings {np.shape(z)}, labels {np.shape(y)}, {len(classes)} classes "
                "do not fit: give (n, d), (n, K) and K names."
            )
    scaler = StandardScaler().fit(np.asarray(z_train, dtype=np.float64))
    train, validation, test = (
        scaler.transform(np.asarray(z, dtype=np.float64)) for z in (z_train, z_validation, z_test)
    )
    usable = [k for k in range(len(classes)) if 0 < np.sum(y_train[:, k]) < len(y_train)]
    if not usable:
        raise InputError("no class has both outcomes among the training records: use more records.")
    ordered = sorted(penalties)
    log_loss = np.full((len(ordered), len(usable)), np.nan)
    scores = np.full((len(ordered), len(test), len(classes)), np.nan)
    # One BLAS thread: these matrices are small, and spinning threads made a fit 60 times slower on
    # a machine with other work.
    with threadpool_limits(limits=1, user_api="blas"):
        for place, k in enumerate(usable):
            # From strong to weak penalty each fit starts where the last ended.
            model = LogisticRegression(max_iter=2000, warm_start=True)
            for number, penalty in enumerate(ordered):
                model.set_params(C=penalty).fit(train, y_train[:, k])
                log_odds = model.decision_function(validation)
                log_loss[number, place] = _log_loss(log_odds, y_validation[:, k])
                scores[number, :, k] = model.decision_function(test)
    mean_loss = pd.Series(log_loss.mean(axis=1), index=pd.Index(ordered, name="C"), name="log_loss")
    best = int(np.argmin(mean_loss.to_numpy()))
    table = score_table(
        scores[best], y_test, classes, groups=groups, n_bootstrap=n_bootstrap, seed=seed
    )
    return ProbeResult(table, scores[best], float(ordered[best]), mean_loss)


def zero_shot_scores(e_ecg: NDArray[np.floating], e_statements: NDArray[np.floating]) -> Array:
    """Return the cosine of each ECG with each embedded statement, (n, S), for `score_table`.

    No classifier is fitted. But an encoder aligned with reports made of these statements has seen
    their labels: it is not zero-shot in the sense of a model that never met the data set.
    """
    return unit_rows(e_ecg) @ unit_rows(e_statements).T


def score_table(
    scores: NDArray[np.floating],
    y: NDArray[np.integer],
    classes: Sequence[str],
    *,
    groups: NDArray[np.generic] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return AUROC and AUPRC by class and their macro mean, with bootstrap intervals by patient.

    Parameters
    ----------
    scores
        (n, K), higher means more likely; a column of NaN was not scored.
    y
        (n, K) of 0 and 1.
    classes
        K names.
    groups
        (n,) patients, drawn together; each record alone when None.
    n_bootstrap, seed
        Resamples and their seed.

    Returns
    -------
    DataFrame
        Index: classes and "macro" (mean over the classes that have both outcomes). Columns auroc,
        auroc_low, auroc_high, auprc, auprc_low, auprc_high (95 % percentile), n, positives. An
        AUPRC compares with positives / n, not with 0.5.
    """
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(y)
    if values.shape != truth.shape or values.ndim != 2 or values.shape[1] != len(classes):
        raise InputError(
            f"scores {values.shape}, labels {truth.shape}, {len(classes)} classes differ."
        )
    weights = np.vstack(
        [np.ones(len(values)), patient_weights(len(values), groups, n_bootstrap, seed)]
    )
    measures = np.full((2, len(weights), len(classes)), np.nan)
    for k in range(len(classes)):
        if 0 < truth[:, k].sum() < len(truth) and np.isfinite(values[:, k]).all():
            measures[:, :, k] = _weighted_areas(values[:, k], truth[:, k], weights)
    scored = np.isfinite(measures[0, 0])
    if not scored.any():
        raise InputError("no class has both outcomes among these records: use more records.")
    macro = _mean_of_finite(measures[:, :, scored])
    rows = {}
    for number, name in enumerate([*classes, "macro"]):
        own = macro if name == "macro" and number == len(classes) else measures[:, :, number]
        row: dict[str, float] = {}
        for place, measure in enumerate(("auroc", "auprc")):
            drawn = own[place, 1:][np.isfinite(own[place, 1:])]
            low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (np.nan, np.nan)
            row |= {measure: own[place, 0], f"{measure}_low": low, f"{measure}_high": high}
        positives = truth[:, scored].any(axis=1) if number == len(classes) else truth[:, number]
        rows[name] = row | {"n": len(truth), "positives": int(positives.sum())}
    return pd.DataFrame.from_dict(rows, orient="index")


def _weighted_areas(score: Array, y: NDArray[np.integer], weights: Array) -> tuple[Array, Array]:
    """Return AUROC and average precision for each row of record weights; ties in score are one step.

    Same definitions as scikit-learn's with sample_weight, for all resamples at once.
    """
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ordered = weights[:, order]
    positive = np.add.reduceat(ordered * y[order], starts, axis=1)
    everyone = np.add.reduceat(ordered, starts, axis=1)
    negative = everyone - positive
    true_positive, called = positive.cumsum(axis=1), everyone.cumsum(axis=1)
    n_positive, n_negative = positive.sum(axis=1), negative.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = (negative * (true_positive - 0.5 * positive)).sum(axis=1)
        auroc = wins / (n_positive * n_negative)
        precision = np.where(called > 0, true_positive / called, 0.0)
        auprc = (positive * precision).sum(axis=1) / n_positive
    return auroc, np.where(n_negative > 0, auprc, np.nan)


def _mean_of_finite(values: Array) -> Array:
    """Mean over the last axis without NaN; NaN where nothing is left."""
    finite = np.isfinite(values)
    count = finite.sum(axis=-1)
    total = np.where(finite, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _log_loss(log_odds: Array, y: NDArray[np.integer]) -> float:
    """Mean negative log-likelihood of 0 and 1 labels under log odds."""
    return float(np.logaddexp(0.0, np.where(np.asarray(y) > 0, -log_odds, log_odds)).mean())
