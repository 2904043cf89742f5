"""Text embeddings: each distinct statement once through a language model, then one sparse product.

A structured report is a confidence-weighted set of at most 71 statements, so z_text = W @ E with W (records x
statements, rows sum to 1) sparse and E (statements x 768) from at most 71 forward passes, whatever the number of
records. Free-text reports go the same way: each distinct text once. A text model is a function: texts in, one
vector a text out; nothing is downloaded.
"""

import hashlib
import json
import logging
import math
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ecgrepro.errors import InputError, first_line
from ecgrepro.files import atomic_path, sha256_file
from ecgrepro.text.reports import ZeroConfidence, code_column, code_weights, warn_unknown

log = logging.getLogger(__name__)

TextModel = Callable[[Sequence[str]], NDArray[np.floating]]
"""What the rest of the package needs of a language model: n texts in, an array (n, D) out."""

BIO_CLINICAL_BERT = "emilyalsentzer/Bio_ClinicalBERT"
BIO_CLINICAL_BERT_REVISION = "d5892b39a4adaed74b92212a44081509db72f87b"
PINNED_REVISIONS = {BIO_CLINICAL_BERT: BIO_CLINICAL_BERT_REVISION}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_MOST_TOKENS = 512
"""More than any report has, and no more than the positions of BERT, RoBERTa and their kin."""
_BATCH = 32
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm")


# --- from texts to vectors -----------------------------------------------------------------------------------


def embed_statements(
    texts: Sequence[str], model: TextModel, cache: Path | None = None
) -> NDArray[np.float32]:
    """Embed statements or free-text reports, each distinct text exactly once.

    Parameters
    ----------
    texts
        n texts, repeats allowed: 71 statements, or 21,799 reports of which 9,887 differ.
    model
        From `load_text_model`, or any function of one's own: a list of texts in, an array (texts, D) out.
    cache
        A folder for the vectors of texts that a transformer has seen before, by content hash; None for no cache.

    Returns
    -------
    ndarray
        Shape (n, D), float32, in the order of `texts`.

    Raises
    ------
    InputError
        An entry is not a text, or the model does not give one finite vector a text.
    """
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(
                f"Text {row} is {text!r}, not a text: fill or drop missing reports first."
            )
    distinct = list(dict.fromkeys(texts))
    if cache is not None and isinstance(model, TransformerModel):
        vectors = _embed_cached(distinct, model, cache)
    else:
        vectors = np.asarray(model(distinct), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(distinct):
        raise InputError(
            f"The text model gave an array of shape {vectors.shape} for {len(distinct)} texts: "
            "it must give one row a text."
        )
    if (bad := ~np.isfinite(vectors).all(axis=1)).any():
        raise InputError(
            f"The text model gives no finite vector for {distinct[bad.argmax()][:60]!r}: "
            "try it on that text alone."
        )
    row_of = {text: row for row, text in enumerate(distinct)}
    return vectors[np.array([row_of[text] for text in texts], dtype=np.int64)]


def _embed_cached(texts: list[str], model: "TransformerModel", folder: Path) -> NDArray[np.float32]:
    """Embed what the cache lacks; another model, revision or set of weights has another file."""
    identity = json.dumps(describe_model(model), sort_keys=True)
    path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"
    known: dict[str, NDArray[np.float32]] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning(
            "The embedding cache %s is unreadable (%s): it is made again.", path, first_line(error)
        )
    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts]
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if missing:
        known |= dict(zip(missing, model(list(missing.values())), strict=True))
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, keys=np.array(list(known)), vectors=np.stack(list(known.values())))
    return np.stack([known[key] for key in keys]) if keys else model([])


def statement_weights(
    index: pd.DataFrame, statements: pd.DataFrame, zero_confidence: ZeroConfidence = "keep"
) -> sparse.csr_matrix:
    """Build the records x statements matrix W of confidence weights; report vectors are W @ E.

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
        Shape (N, S), float64, rows sum to 1. A record without a single known code has an empty row (select with
        `weights.getnnz(axis=1) > 0`) and is logged: drop it jointly with its ECG. Codes that the table lacks are
        logged and left out before normalising, for they have no text.

    Raises
    ------
    InputError
        A confidence is not a number of 0 or more.
    """
    codes = code_column(index)
    warn_unknown(index, statements, "left out of the text")
    column = {code: position for position, code in enumerate(statements.index)}
    entries: list[tuple[int, int, float]] = []
    for row, scp_codes in enumerate(codes):
        known = {code: value for code, value in scp_codes.items() if code in column}
        weights = code_weights(known, zero_confidence)
        entries += [(row, column[code], weight) for code, weight in weights.items()]
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    matrix = sparse.csr_matrix(
        (values, (rows, columns)), shape=(len(index), len(statements)), dtype=np.float64
    )
    if (empty := matrix.getnnz(axis=1) == 0).any():
        log.warning(
            "%d record(s) have no known SCP code, e.g. ecg_id %s: their text vector is zero, drop them jointly.",
            int(empty.sum()),
            index.index[empty.argmax()],
        )
    return matrix


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
    rows = [slice(*ends) for ends in pairwise(matrix.indptr)]
    keys = [matrix.indices[row].tobytes() + values[row].tobytes() for row in rows]
    return pd.factorize(pd.Series(keys, dtype=object))[0]


# --- language models -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TransformerModel:
    """A Hugging Face encoder, in evaluation mode, with the mask-aware mean of its last layer as embedding.

    The tokenizer adds its own special tokens. The mean runs over the tokens of the text alone, so padding and the
    other texts of a batch change nothing (beyond float32 rounding, about 1e-7).
    """

    name: str
    revision: str | None
    folder: Path
    dimension: int
    max_tokens: int
    tokenizer: Any = field(repr=False)
    module: Any = field(repr=False)

    @property
    def description(self) -> str:
        """One line for the reader: what embedded the text."""
        kind = type(self.module).__name__
        return f"{kind} {self.name}: mask-aware mean of the last layer, {self.dimension} numbers"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts in batches of similar length: shape (n, dimension), in the order of `texts`."""
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        # a lone surrogate (broken encoding) would stop the tokenizer
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        order, full = np.argsort([len(text) for text in readable], kind="stable"), 0
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            batch = self.tokenizer(
                [readable[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
            )
            with torch.no_grad():
                tokens = self.module(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            length = mask.sum(dim=1)
            vectors[rows] = ((tokens * mask).sum(dim=1) / length.clamp(min=1)).numpy()
            full += int((length >= self.max_tokens).sum())
        if full:
            log.warning(
                "%d text(s) fill all %d tokens: any words beyond are cut.", full, self.max_tokens
            )
        return vectors


def load_text_model(name: str, revision: str | None = None) -> "TransformerModel | LexicalModel":
    """Load a language model by hub id or from a local folder, or make the lexical stand-in.

    Weights are read as safetensors where the model has them. Older models, Bio_ClinicalBERT among them, ship only
    `pytorch_model.bin`; that is a pickle, and is read with `weights_only=True`, which refuses everything but
    tensors. Code that comes with a model is never run (`trust_remote_code=False`).

    Parameters
    ----------
    name
        'lexical', a folder with a saved model and tokenizer, or the hub id of a model that was downloaded before,
        such as 'emilyalsentzer/Bio_ClinicalBERT'. A folder of that name comes before a hub id.
    revision
        Commit, tag or branch of a hub model. Bio_ClinicalBERT is pinned when none is given.

    Raises
    ------
    InputError
        The model is not here (with the three ways out), or it cannot be used.
    """
    if name == "lexical":
        return LexicalModel()
    folder, tokenizer, module = load_pretrained(name, revision, "AutoModel")
    if tokenizer.pad_token is None:
        raise InputError(
            f"The tokenizer in {folder} has no padding token: use an encoder such as BERT."
        )
    positions = getattr(module.config, "max_position_embeddings", None) or _MOST_TOKENS
    return TransformerModel(
        name=name,
        # a hub snapshot's folder is named by its commit, also when a branch or no revision was asked for
        revision=None if folder == Path(name).expanduser() else folder.name,
        folder=folder,
        dimension=int(module.config.hidden_size),
        max_tokens=min(tokenizer.model_max_length, positions, _MOST_TOKENS),
        tokenizer=tokenizer,
        module=module,
    )


def load_pretrained(name: str, revision: str | None, kind: str) -> tuple[Path, Any, Any]:
    """Find and load a transformer by hub id or folder, frozen: its folder, tokenizer and network.

    `kind` is the class of transformers that reads it, 'AutoModel' for an encoder. Raises `InputError` where the
    model is not here, or is not whole.
    """
    folder = find_model_folder(name, revision)
    if problem := _what_is_wrong(folder):
        raise InputError(f"The folder {folder} {problem}.")
    import torch
    import transformers
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()  # what matters of its loading report is checked below
    hf_logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        module, loaded = getattr(transformers, kind).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises many kinds for a broken folder
        raise InputError(
            f"The text model in {folder} cannot be loaded ({first_line(error)}): copy or download it again."
        ) from error
    # transformers fills missing weights at random; only the pooler, which is not used, may be missing
    if missing := sorted(key for key in loaded["missing_keys"] if "pooler" not in key):
        raise InputError(
            f"The weights in {folder} lack {len(missing)} tensors, e.g. {missing[0]!r}: "
            "they belong to another architecture or are incomplete, copy or download the model again."
        )
    return folder, tokenizer, module.eval().requires_grad_(False)


def find_model_folder(name: str, revision: str | None = None) -> Path:
    """Find the folder of a model: a local one, or the snapshot of a hub model that was downloaded before.

    Everything is then loaded from that folder, so transformers itself never asks the network (its own search
    takes 20 to 50 s before it gives up).

    Raises
    ------
    InputError
        It is not here, with the three ways out.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(name):
        raise InputError(
            f"The text model {name!r} is neither a folder nor a hub id: give the path of an existing folder, "
            f"a hub id such as {BIO_CLINICAL_BERT!r}, or 'lexical'."
        )
    from huggingface_hub import snapshot_download

    revision = revision or PINNED_REVISIONS.get(name)
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (OSError, ValueError) as error:
        pin = f" --revision {revision}" if revision else ""
        raise InputError(
            f"The text model {name!r} is not on this machine: either (1) download it once where there is a network "
            f"with `.venv/bin/hf download {name}{pin}`, (2) give the path of a local folder that holds the model, "
            "or (3) use 'lexical', the stand-in that needs no download."
        ) from error


def weight_files(folder: Path) -> list[Path]:
    """List a model folder's weights: safetensors where there are any, else PyTorch's .bin."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _what_is_wrong(folder: Path) -> str:
    """Say what a folder lacks to be a model; transformers would guess, or fail with another reason."""
    if (folder / "snapshots").is_dir():
        return "is the outer folder of the hub's cache: give the folder inside its 'snapshots'"
    if not (folder / "config.json").is_file():
        return "has no config.json: give a folder written by save_pretrained"
    if '"model_type"' not in (folder / "config.json").read_text(encoding="utf-8"):
        return 'has a config.json without model_type: add it, for example "model_type": "bert"'
    weights = weight_files(folder)
    if not weights:
        return "has neither *.safetensors nor pytorch_model*.bin: copy the weights there"
    for path in weights:
        with path.open("rb") as stream:
            if stream.read(30).startswith(b"version https://git-lfs"):
                return f"holds a Git LFS pointer in place of {path.name}: run `git lfs pull` there"
    if not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        return f"has no tokenizer (one of {', '.join(_TOKENIZER_FILES)}): copy it there"
    return ""


def describe_model(model: TextModel) -> dict[str, Any]:
    """Describe a text model, or a function of one's own, for a provenance record.

    Returns
    -------
    dict
        `name`, `revision`, `dimension`, `description`, and `weights_sha256` (hash by file; empty without files).
    """
    files = weight_files(model.folder) if isinstance(model, TransformerModel) else []
    return {
        "name": getattr(model, "name", getattr(model, "__name__", type(model).__name__)),
        "revision": getattr(model, "revision", None),
        "dimension": getattr(model, "dimension", None),
        "description": getattr(model, "description", "a function of one's own"),
        "weights_sha256": {path.name: sha256_file(path) for path in files},
    }


# --- the lexical stand-in ------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[^\W_]+")
_POSITIONS = 8
_MAX_WORD = 64
"""Letters of a word that are read: a cell of 100 kB without a space must not make 300,000 n-grams."""


def ngrams(word: str, sizes: Sequence[int] = (3, 4, 5)) -> list[str]:
    """Cut a word, marked as '<word>', into its character n-grams; the marked word itself is one of them."""
    marked = f"<{word[:_MAX_WORD]}>"
    pieces = {marked}
    for size in sizes:
        pieces.update(marked[start : start + size] for start in range(len(marked) - size + 1))
    return sorted(pieces)


@lru_cache(maxsize=65536)
def _word_positions(word: str, dimension: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Hash a word to (position, signed count) pairs, ordered by position.

    blake2b, not Python's hash(): the latter differs between processes.
    """
    key = seed.to_bytes(8, "little", signed=True)
    counts: Counter[int] = Counter()
    for piece in ngrams(word):
        digest = hashlib.blake2b(
            piece.encode("utf-8", "surrogatepass"), digest_size=4 * _POSITIONS, key=key
        ).digest()
        for value in struct.unpack(f"<{_POSITIONS}I", digest):
            counts[(value >> 1) % dimension] += 1 if value & 1 else -1
    return tuple(sorted(counts.items()))


def _embed_one(text: str, dimension: int, seed: int) -> NDArray[np.float32]:
    """Embed one text; sums run in a fixed order and in float64, so that every machine gets the same bits."""
    vector = [0.0] * dimension
    for word, count in sorted(Counter(_TOKEN.findall(text.lower())).items()):
        damped = math.sqrt(count)
        for position, value in _word_positions(word, dimension, seed):
            vector[position] += damped * value
    norm = math.sqrt(math.fsum(value * value for value in vector))
    scaled = vector if norm == 0.0 else [value / norm for value in vector]
    return np.asarray(scaled, dtype=np.float32)


@dataclass(frozen=True)
class LexicalModel:
    """Hashed character n-grams (3 to 5, within words), projected to `dimension`, of length 1.

    Attributes
    ----------
    dimension
        Length of a vector; 768 by default, like BERT's.
    seed
        Chooses the projection.
    """

    dimension: int = 768
    seed: int = 0
    name: str = "lexical"
    revision: str | None = "1"
    description: str = "lexical stand-in: hashed character n-grams, projected at random; knows spelling, not meaning"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts of any language.

        Returns
        -------
        ndarray
            Shape (n, dimension), float32, rows of length 1 (a text without a letter or digit gives zeros).
        """
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row] = _embed_one(text, self.dimension, self.seed)
        return vectors
