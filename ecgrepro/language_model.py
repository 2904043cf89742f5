"""Language models by hub id, from a local folder, or the lexical stand-in; nothing is downloaded unless asked."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgrepro.errors import InputError, first_line
from ecgrepro.files import sha256_file
from ecgrepro.lexical import LexicalModel
from ecgrepro.model_hub import find_snapshot, weight_files

log = logging.getLogger(__name__)

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
