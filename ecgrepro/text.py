"""Text embeddings: each distinct statement once through a language model, then one sparse product.

A structured report is a confidence-weighted set of at most 71 statements, so z_text = W @ E with W (records x
statements, rows sum to 1) sparse and E (statements x 768) from at most 71 forward passes, whatever the number of
records. Free-text reports go the same way: each distinct text once, cached by its content.
"""

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ecgrepro.errors import InputError, first_line
from ecgrepro.files import atomic_path
from ecgrepro.language_model import (
    BIO_CLINICAL_BERT,
    BIO_CLINICAL_BERT_REVISION,
    TextModel,
    TransformerModel,
    describe_model,
    load_text_model,
)
from ecgrepro.reports import ZeroConfidence, code_column, code_weights, warn_unknown

__all__ = [
    "BIO_CLINICAL_BERT",
    "BIO_CLINICAL_BERT_REVISION",
    "TextModel",
    "TransformerModel",
    "aggregate",
    "covered",
    "describe_model",
    "embed_statements",
    "load_text_model",
    "statement_weights",
    "text_ids",
]

log = logging.getLogger(__name__)


def _cache_file(cache: Path, model: TextModel) -> Path:
    """Name the cache of a model: another model, revision, set of weights or pooling is another file."""
    identity = json.dumps([describe_model(model), "masked mean, version 1"], sort_keys=True)
    label = re.sub(r"[^\w.-]+", "-", model.name).strip("-.")[-40:]
    return cache / f"{label}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"


def _read_cache(path: Path, dimension: int) -> dict[str, NDArray[np.float32]]:
    """Read cached vectors by text hash; a broken file is reported and made again."""
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            keys, vectors = stored["keys"], stored["vectors"]
        if vectors.shape != (len(keys), dimension) or not np.isfinite(vectors).all():
            raise ValueError("its arrays do not fit")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning(
            "The embedding cache %s is unreadable (%s): it is made again.", path, first_line(error)
        )
        return {}
    return {str(key): vector for key, vector in zip(keys, vectors, strict=True)}


def embed_statements(
    texts: Sequence[str], model: TextModel, cache: Path | None = None
) -> NDArray[np.float32]:
    """Embed statements or free-text reports, each distinct text exactly once.

    Parameters
    ----------
    texts
        n texts, repeats allowed: 71 statements, or 21,799 reports of which 9,887 differ.
    model
        From `load_text_model`.
    cache
        A folder for the vectors of texts seen before, by content hash, one file a model; None for no cache.

    Returns
    -------
    ndarray
        Shape (n, model.dimension), float32, in the order of `texts`.

    Raises
    ------
    InputError
        An entry is not a text, or the model gives something that is not finite.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"Text {row} is {text!r}, not a text: fill or drop missing reports first."
            )
    distinct = {
        text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts
    }
    path = None if cache is None else _cache_file(cache, model)
    known = {} if path is None else _read_cache(path, model.dimension)
    missing = [text for text, key in distinct.items() if key not in known]
    if missing:
        vectors = model.embed(missing)
        if not np.isfinite(vectors).all():
            worst = missing[int((~np.isfinite(vectors)).any(axis=1).argmax())]
            raise InputError(
                f"The text model {model.name!r} gives no finite vector for {worst[:60]!r}."
            )
        known.update(
            {distinct[text]: vector for text, vector in zip(missing, vectors, strict=True)}
        )
        if path is not None:
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    if not len(texts):
        return np.zeros((0, model.dimension), dtype=np.float32)
    return np.stack([known[distinct[text]] for text in texts])


def statement_weights(
    index: pd.DataFrame, statements: pd.DataFrame, zero_confidence: ZeroConfidence = "keep"
) -> sparse.csr_matrix:
    """Build the records x statements matrix of confidence weights.

    Parameters
    ----------
    index
        N records by ecg_id with the column `scp_codes` (a dict in each row).
    statements
        S statements by code; column j of the result is row j of this table.
    zero_confidence
        'keep' or 'drop', see `reports.code_weights`. Under 'drop' a record whose confidences are all 0 keeps its
        codes with equal weights.

    Returns
    -------
    scipy.sparse.csr_matrix
        Shape (N, S), float64, rows sum to 1. A record without a single known code has an all-zero row and is
        logged: drop it jointly with its ECG, see `covered`. Codes that the table lacks are logged and left out
        before normalising, for they have no text.

    Raises
    ------
    InputError
        A confidence is not a number of 0 or more, or the table lists a code twice.
    """
    if not statements.index.is_unique:
        twice = statements.index[statements.index.duplicated()][0]
        raise InputError(
            f"The statement table lists the code {twice!r} more than once: keep one row a code."
        )
    codes = code_column(index)
    warn_unknown(index, statements, "left out of the text")
    column = {code: position for position, code in enumerate(statements.index)}
    pointer, columns = [0], list[int]()
    values: list[float] = []
    for ecg_id, entry in codes.items():
        known = {
            code: entry[code]
            for code in sorted(entry.keys() & column.keys(), key=column.__getitem__)
        }
        try:
            weights = code_weights(known, zero_confidence)
        except InputError as error:
            raise InputError(f"Record {ecg_id}: {error}") from None
        columns += [column[code] for code in weights]
        values += weights.values()
        pointer.append(len(columns))
    matrix = sparse.csr_matrix(
        (
            np.asarray(values, dtype=np.float64),
            np.asarray(columns, dtype=np.int64),
            np.asarray(pointer),
        ),
        shape=(len(index), len(statements)),
    )
    empty = ~covered(matrix)
    if empty.any():
        log.warning(
            "%d record(s) have no known SCP code, e.g. ecg_id %s: their text vector is zero, drop them jointly.",
            int(empty.sum()),
            index.index[empty.argmax()],
        )
    return matrix


def covered(weights: sparse.csr_matrix) -> NDArray[np.bool_]:
    """Tell which records have a text at all.

    Returns
    -------
    ndarray
        Shape (N,), bool: False where the row is empty. Select ECGs and texts with it together.
    """
    return np.asarray(np.diff(weights.indptr) > 0)


def aggregate(weights: sparse.csr_matrix, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Average statement vectors by confidence, z_text = W @ E, as one sparse product.

    Parameters
    ----------
    weights
        Shape (N, S), from `statement_weights`.
    vectors
        Shape (S, D), from `embed_statements`.

    Returns
    -------
    ndarray
        Shape (N, D), float32.
    """
    if weights.shape[1] != len(vectors):
        raise InputError(
            f"The weights have {weights.shape[1]} statements and the vectors {len(vectors)}: "
            "make both from the same statement table."
        )
    return np.asarray(weights @ vectors, dtype=np.float32)


def text_ids(weights: sparse.csr_matrix) -> NDArray[np.int64]:
    """Number the distinct texts: records with identical weights share an id.

    Parameters
    ----------
    weights
        Shape (N, S), from `statement_weights`.

    Returns
    -------
    ndarray
        Shape (N,), int64, ids 0, 1, 2, ... in order of first appearance. Weights count as equal to 9 decimals.
    """
    matrix = sparse.csr_matrix(weights, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    values = np.round(matrix.data, 9)
    ids: dict[bytes, int] = {}
    numbered = np.zeros(matrix.shape[0], dtype=np.int64)
    for row, (start, stop) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        key = matrix.indices[start:stop].astype(np.int64).tobytes() + values[start:stop].tobytes()
        numbered[row] = ids.setdefault(key, len(ids))
    return numbered
