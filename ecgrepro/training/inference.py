"""From packed signals to embeddings and risk scores: eval mode, in batches, deterministic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.models import AlignmentModel, Encoder, RiskModel
from ecgrepro.progress import progress_bar
from ecgrepro.training.data import SignalFeed
from ecgrepro.training.loop import deterministic


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of n records: z_ecg (n, latent), e_ecg (n, shared), e_text (n, shared)."""

    z_ecg: NDArray[np.float32]
    e_ecg: NDArray[np.float32]
    e_text: NDArray[np.float32]


def encode(
    encoder: Encoder,
    signals: NDArray[np.int16],
    rows: NDArray[np.int64],
    rate: float,
    batch_size: int = 256,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Return the latent z_ecg of packed records.

    Parameters
    ----------
    encoder
        On any device; its mode is left as found.
    signals
        (M, 12, samples) int16, 1000 adu per mV.
    rows
        (n,) records wanted, in the order wanted.
    rate
        Samples per second.
    batch_size
        Records at a time; results do not depend on it beyond rounding.
    progress
        Show a bar where the output is a terminal.

    Returns
    -------
    array
        (n, latent) float32.
    """

    def forward(x: Tensor, scale: Tensor, _: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return (encoder(x, scale),)

    return _run(encoder, forward, signals, rows, rate, encoder.length, batch_size, progress)[0]


def embed(
    model: AlignmentModel,
    signals: NDArray[np.int16],
    rows: NDArray[np.int64],
    rate: float,
    z_text: NDArray[np.float32],
    batch_size: int = 256,
    progress: bool = False,
) -> Embeddings:
    """Return latent and shared-space embeddings of records and of their reports.

    `z_text` holds (n, D) text vectors, row i belonging to rows[i]; other arguments as in `encode`.
    """
    if len(z_text) != len(rows):
        raise InputError(f"{len(rows)} ECGs and {len(z_text)} text vectors: give one for each.")
    device = next(model.parameters()).device

    def forward(x: Tensor, scale: Tensor, part: NDArray[np.int64]) -> tuple[Tensor, ...]:
        text = torch.from_numpy(np.asarray(z_text[part], dtype=np.float32)).to(device)
        z_ecg = model.encoder(x, scale)
        return z_ecg, model.ecg_head(z_ecg), model.text_head(text)

    results = _run(model, forward, signals, rows, rate, model.length, batch_size, progress)
    return Embeddings(*results)


def embed_text(model: AlignmentModel, z_text: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return texts in the shared space, (n, shared) float32; e.g. statements for zero-shot."""
    device = next(model.parameters()).device
    with _inference(model):
        text = torch.from_numpy(np.array(z_text, dtype=np.float32)).to(device)
        return np.asarray(model.text_head(text).float().cpu().numpy())


def predict_risk(
    model: RiskModel,
    signals: NDArray[np.int16],
    rows: NDArray[np.int64],
    rate: float,
    batch_size: int = 256,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Return the log hazard of packed records, (n,) float64; higher means an earlier event.

    It is defined up to a constant for each model: compare and pool within one model only (S-4).
    Arguments as in `encode`.
    """

    def forward(x: Tensor, scale: Tensor, _: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return (model.risk_head(model.encoder(x, scale)),)

    scores = _run(model, forward, signals, rows, rate, model.length, batch_size, progress)[0]
    return scores.astype(np.float64)


@contextmanager
def _inference(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode without gradients, then restore every submodule's mode."""
    modes = {part: part.training for part in module.modules()}
    device = next(module.parameters()).device
    module.eval()
    try:
        with deterministic(device), torch.inference_mode():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _run(
    module: nn.Module,
    forward: Callable[[Tensor, Tensor, NDArray[np.int64]], tuple[Tensor, ...]],
    packed: NDArray[np.int16],
    rows: NDArray[np.int64],
    rate: float,
    length: int,
    batch_size: int,
    progress: bool,
) -> list[NDArray[np.float32]]:
    if len(rows) == 0:
        raise InputError("no record to encode: check the list of ecg_ids.")
    feed = SignalFeed(packed, np.asarray(rows), rate, length)
    device = next(module.parameters()).device
    parts = np.array_split(np.arange(len(rows)), -(-len(rows) // batch_size))
    collected: list[tuple[Tensor, ...]] = []
    with _inference(module), progress_bar(len(rows), "encode", "ECG", progress, leave=False) as bar:
        for part in parts:
            bar.update(len(part))
            x, scale = feed(part)
            outputs = forward(x.to(device), scale.to(device), part)
            collected.append(tuple(output.float().cpu() for output in outputs))
    return [torch.cat(pieces).numpy() for pieces in zip(*collected, strict=True)]
