"""What is watched on validation: does an ECG find its text, and has the embedding collapsed?"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.probing import chance_at_k, collapse_report, distinct_rows, retrieval_ranks
from ecgrepro.training.checkpoints import Row

RETRIEVAL_KS = (1, 10)
FIGURES = (
    *(f"{name}_at_{k}" for k in RETRIEVAL_KS for name in ("retrieval", "chance")),
    *("criterion", "effective_rank", "uniformity", "mean_pairwise_cosine"),
)


def alignment_figures(
    e_ecg: NDArray[np.float32], e_text: NDArray[np.float32], text_ids: NDArray[np.int64]
) -> Row:
    """Return what the history says about embedded validation records.

    Parameters
    ----------
    e_ecg, e_text
        (n, d) embeddings of the same records.
    text_ids
        (n,) records with equal numbers have the same text.

    Returns
    -------
    dict
        retrieval_at_k and chance_at_k for `RETRIEVAL_KS`: ECG to distinct texts, averaged within
        each text and then over texts, so that a collapsed network gets chance even where one text
        has 40 % of the records; criterion: the same average of 1 / rank; effective_rank,
        uniformity and mean_pairwise_cosine of the ECGs. All NaN where an embedding is not finite.
    """
    if not (np.isfinite(e_ecg).all() and np.isfinite(e_text).all()):
        return dict.fromkeys(FIGURES, np.nan)
    first = distinct_rows(text_ids)
    ranks = retrieval_ranks(e_ecg, e_text[first], text_ids, text_ids[first])
    row: Row = {}
    for k in RETRIEVAL_KS:
        row[f"retrieval_at_{k}"] = _mean_by_text(ranks <= k, text_ids)
        row[f"chance_at_{k}"] = chance_at_k(1, len(first), k)
    row["criterion"] = _mean_by_text(1.0 / ranks, text_ids)
    collapse = collapse_report(e_ecg)
    row["effective_rank"] = collapse.effective_rank
    row["uniformity"] = collapse.uniformity
    row["mean_pairwise_cosine"] = collapse.mean_pairwise_cosine
    return row


def _mean_by_text(values: NDArray[np.generic], text_ids: NDArray[np.int64]) -> float:
    """Average within each text, then over texts, so that the commonest text counts once."""
    return float(pd.Series(values, dtype=np.float64).groupby(np.asarray(text_ids)).mean().mean())
