"""Text embeddings: each distinct statement once through a language model, then one sparse product.

A structured report is a confidence-weighted set of at most 71 statements, so z_text = W @ E with W (records x
statements, rows sum to 1) sparse and E (statements x 768) from at most 71 forward passes, whatever the number of
records. Free-text reports go the same way: each distinct text once, cached by its content.
"""

import hashlib
import json
import logging
import math
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from ecgrepro.errors import InputError, first_line
from ecgrepro.files import atomic_path, sha256_file
from ecgrepro.text.reports import ZeroConfidence, code_column, code_weights, warn_unknown

log = logging.getLogger(__name__)


# --- the lexical stand-in ---

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

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
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


# --- where a hub model lies ---

_CONFIG_FILES = ["*.json", "*.txt", "*.model", "*.spm"]
_REACH_SECONDS = 1.5


def weight_files(folder: Path) -> list[Path]:
    """List a model folder's weights: safetensors where there are any, else PyTorch's .bin."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def find_snapshot(name: str, revision: str | None, allow_download: bool) -> Path:
    """Find a hub model's snapshot on this machine, downloading it only if allowed.

    Everything is then loaded from that folder, so transformers itself never asks the network (its own search
    takes 20 to 50 s before it gives up).

    Raises
    ------
    InputError
        The model is not here and may not, or cannot, be fetched; the text names the ways out.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        if (folder / "config.json").is_file() and weight_files(folder):
            return folder
    except (OSError, ValueError):
        pass
    if not allow_download:
        raise InputError(
            f"The text model {name!r} is not on this machine: {_ways_out(name, revision)}"
        )
    if HF_HUB_OFFLINE or not _reachable(ENDPOINT):
        raise InputError(
            f"The text model {name!r} is not on this machine and {ENDPOINT} cannot be reached: "
            f"{_ways_out(name, revision)}"
        )
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=[*_CONFIG_FILES, "*.safetensors"]
            )
        )
        if not list(folder.glob("*.safetensors")):
            snapshot_download(name, revision=revision, allow_patterns=["pytorch_model*.bin"])
    except (OSError, ValueError) as error:
        raise InputError(
            f"The download of {name!r} failed ({first_line(error)}): {_ways_out(name, revision)}"
        ) from error
    return folder


def _ways_out(name: str, revision: str | None) -> str:
    """Name the three ways to get a text model, for an error message."""
    pin = f" --revision {revision}" if revision else ""
    return (
        f"either (1) download it once where there is a network with `.venv/bin/hf download {name}{pin}` "
        "(or pass allow_download=True), (2) give the path of a local folder that holds the model, "
        "or (3) use 'lexical', the stand-in that needs no download."
    )


def _reachable(endpoint: str) -> bool:
    """Ask the hub for an answer of any kind, within seconds."""
    import requests

    try:
        requests.head(endpoint, timeout=_REACH_SECONDS)
    except requests.RequestException:
        return False
    return True


# --- language models ---


BIO_CLINICAL_BERT = "emilyalsentzer/Bio_ClinicalBERT"
BIO_CLINICAL_BERT_REVISION = "d5892b39a4adaed74b92212a44081509db72f87b"
PINNED_REVISIONS = {BIO_CLINICAL_BERT: BIO_CLINICAL_BERT_REVISION}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class TextModel(Protocol):
    """What the rest of the package needs of a language model."""

    @property
    def name(self) -> str:
        """Hub id, folder, or 'lexical'."""

    @property
    def revision(self) -> str | None:
        """The exact version, where there is one."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def description(self) -> str:
        """One line for the reader: what embedded the text."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts, shape (n, dimension), float32."""


@dataclass(frozen=True)
class TransformerModel:
    """A Hugging Face encoder, in evaluation mode, with the mask-aware mean of its last layer as embedding.

    The tokenizer adds its own special tokens. The mean runs over the tokens of the text alone, so padding and the
    other texts of a batch change nothing (beyond float32 rounding, about 1e-7).
    """

    name: str
    revision: str | None
    dimension: int
    description: str
    folder: Path
    tokenizer: Any = field(repr=False)
    module: Any = field(repr=False)
    max_tokens: int = 512
    batch_size: int = 32

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts in batches of similar length.

        Returns
        -------
        ndarray
            Shape (n, dimension), float32, in the order of `texts`.
        """
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not len(texts):
            return vectors
        # a lone surrogate (broken encoding) would stop the tokenizer
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        tokens = self.tokenizer(readable, truncation=True, max_length=self.max_tokens)
        lengths = np.array([len(ids) for ids in tokens["input_ids"]])
        if (full := int((lengths >= self.max_tokens).sum())) > 0:
            log.warning(
                "%d text(s) fill all %d tokens: any words beyond are cut.", full, self.max_tokens
            )
        order = np.argsort(lengths, kind="stable")
        was_training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                for start in range(0, len(order), self.batch_size):
                    rows = order[start : start + self.batch_size]
                    batch = self.tokenizer.pad(
                        {key: [tokens[key][row] for row in rows] for key in tokens},
                        return_tensors="pt",
                    )
                    hidden = self.module(**batch).last_hidden_state.float()
                    mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
                    vectors[rows] = mean.numpy()
        finally:
            self.module.train(was_training)
        return vectors


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or ":" in name


def load_text_model(
    name: str, *, revision: str | None = None, allow_download: bool = False
) -> TextModel:
    """Load a language model by hub id or from a local folder, or make the lexical stand-in.

    Weights are read as safetensors where the model has them. Older models, Bio_ClinicalBERT among them, ship only
    `pytorch_model.bin`; that is a pickle, and is read with `weights_only=True`, which refuses everything but
    tensors. Code that comes with a model is never run (`trust_remote_code=False`).

    Parameters
    ----------
    name
        'lexical', a folder with a saved model and tokenizer, or a hub id such as
        'emilyalsentzer/Bio_ClinicalBERT'. A folder of that name comes before a hub id.
    revision
        Commit, tag or branch of a hub model. Bio_ClinicalBERT is pinned when none is given.
    allow_download
        Whether a hub model that this machine lacks may be fetched. Nothing is fetched otherwise.

    Returns
    -------
    TextModel

    Raises
    ------
    InputError
        The model is not here, in under two seconds and with the three ways out, or it cannot be used.
    """
    if name == "lexical":
        return LexicalModel()
    folder = find_model_folder(name, revision, allow_download)
    # a hub snapshot's folder is named by its commit, also when a branch or no revision was asked for
    commit = None if folder == Path(name).expanduser() else folder.name
    return _load_folder(name, folder, commit)


def find_model_folder(name: str, revision: str | None, allow_download: bool) -> Path:
    """Find the folder of a model: a local one, or a hub model's snapshot on this machine.

    Raises
    ------
    InputError
        It is not here, with the three ways out.
    """
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        return folder
    if _looks_like_path(name) or not _HUB_ID.fullmatch(name):
        raise InputError(
            f"The text model {name!r} is neither a folder nor a hub id: give the path of an existing folder, "
            f"a hub id such as {BIO_CLINICAL_BERT!r}, or 'lexical'."
        )
    return find_snapshot(name, revision or PINNED_REVISIONS.get(name), allow_download)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep loading bars and reports off the page; what matters of them is checked below."""
    from transformers.utils import logging as hf_logging

    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def _load_folder(name: str, folder: Path, revision: str | None) -> TransformerModel:
    """Load tokenizer and encoder from a folder, without any network."""
    if not (folder / "config.json").is_file():
        raise InputError(
            f"The folder {folder} has no config.json: give a folder written by save_pretrained."
        )
    if not weight_files(folder):
        raise InputError(
            f"The folder {folder} has neither *.safetensors nor pytorch_model*.bin: copy the weights there."
        )
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        with _quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            module, loaded = AutoModel.from_pretrained(
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
    missing = sorted(key for key in loaded["missing_keys"] if "pooler" not in key)
    if missing:
        raise InputError(
            f"The weights in {folder} lack {len(missing)} tensors, e.g. {missing[0]!r}: "
            "they belong to another architecture or are incomplete, copy or download the model again."
        )
    if tokenizer.pad_token is None:
        raise InputError(
            f"The tokenizer in {folder} has no padding token: use an encoder such as BERT."
        )
    module.eval().requires_grad_(False)
    dimension = int(module.config.hidden_size)
    positions = getattr(module.config, "max_position_embeddings", None) or 512
    return TransformerModel(
        name=name,
        revision=revision,
        dimension=dimension,
        description=f"{type(module).__name__} {name}: mask-aware mean of the last layer, {dimension} numbers",
        folder=folder,
        tokenizer=tokenizer,
        module=module,
        max_tokens=min(int(tokenizer.model_max_length), int(positions)),
    )


def describe_model(model: TextModel) -> dict[str, Any]:
    """Describe a model for a provenance record.

    Returns
    -------
    dict
        `name`, `revision`, `dimension`, `description`, and `weights_sha256` (hash by file; empty for 'lexical').
    """
    files = weight_files(model.folder) if isinstance(model, TransformerModel) else []
    return {
        "name": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
        "description": model.description,
        "weights_sha256": {path.name: sha256_file(path) for path in files},
    }


# --- from texts to vectors ---


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
