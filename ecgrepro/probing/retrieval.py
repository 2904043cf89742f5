"""Does an ECG find its report, and a report its ECGs? Records with the same text count as hits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


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
