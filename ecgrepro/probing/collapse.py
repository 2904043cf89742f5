"""Has an embedding collapsed? Cosine between pairs, effective rank, uniformity; and similarity."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.probing.retrieval import unit_rows

COSINE_LIMIT = 0.98
RANK_LIMIT = 2.0


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
