"""Alignment pretraining: ECG and report embeddings drawn together, the ECG reconstructed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.losses import reconstruction_loss, soft_infonce
from ecgrepro.models import AlignmentModel
from ecgrepro.probing import chance_at_k, collapse_report, distinct_rows, retrieval_ranks
from ecgrepro.training.batches import mask_leads_and_time, shuffled_batches
from ecgrepro.training.data import AlignmentData, SignalFeed, recorded_span
from ecgrepro.training.devices import gather_with_grad, share_of
from ecgrepro.training.loop import FitConfig, Report, Row, fit

AlignmentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(e_ecg (B, D), e_text (B, D), text_ids (B,)) to a scalar; equal ids mean equal texts."""

RETRIEVAL_KS = (1, 10)


@dataclass(frozen=True)
class PretrainConfig(FitConfig):
    """Settings of the alignment pretraining; the study's values where it names them. See also `FitConfig`.

    Attributes
    ----------
    loss
        Any function (e_ecg, e_text, text_ids) to a scalar: one of `ecgrepro.losses`, or the reader's own.
    align_weight, recon_weight
        Weights of the two terms (the study: 1 and 1).
    """

    loss: AlignmentLoss = soft_infonce
    align_weight: float = 1.0
    recon_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that no training can start with."""
        super().__post_init__()
        if min(self.align_weight, self.recon_weight) < 0 or not (
            self.align_weight + self.recon_weight > 0
        ):
            raise InputError("align_weight and recon_weight must not be negative, nor both 0.")


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining leaves.

    `model` is a copy of the given one with the weights of the best epoch, in eval mode, on the CPU; `best_epoch` has
    the largest criterion. `history` by epoch (index; 0 is before training): learning_rate; train_total, train_align,
    train_recon; validation_total, validation_align, validation_recon; and the figures of `alignment_figures`.
    """

    model: AlignmentModel
    history: pd.DataFrame
    best_epoch: int


def pretrain(
    model: AlignmentModel,
    data: AlignmentData,
    config: PretrainConfig,
    folder: Path,
    report: Report | None = print,
) -> PretrainResult:
    """Train a copy of `model` on ECG-text pairs; the same training is found finished, or goes on where it stopped.

    The best epoch has the largest *criterion*: for each validation ECG, one over the rank of its own
    text among the distinct validation texts, averaged within each text and then over texts. It
    does not depend on the loss, so it compares losses, and a constant embedding gets
    no credit for the commonest text. Equal criteria are decided by the lower reconstruction loss.
    With align_weight 0 the criterion is minus the reconstruction loss.

    Parameters
    ----------
    model
        Left as it is; its weights are where the training starts.
    data
        See `AlignmentData` and `pair_records`.
    config
        Settings, the loss among them.
    folder, report
        See `fit`.
    """
    trained = copy.deepcopy(model).cpu()
    used = np.concatenate([data.train, data.validation])
    feed = SignalFeed(data.signals, data.rows, data.rate, data.length, used)
    valid = recorded_span(data.signals.shape[-1], data.rate, data.length)

    def texts(batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        z_text = np.asarray(data.z_text[batch], dtype=np.float32)
        ids = np.asarray(data.text_ids[batch], dtype=np.int64)
        return torch.from_numpy(z_text), torch.from_numpy(ids)

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        cut = shuffled_batches(len(data.train), config.batch_size, config.seed, epoch)
        return [data.train[batch] for batch in cut]

    def losses(
        network: nn.Module, batch: NDArray[np.int64], masks: torch.Generator, fabric: Any
    ) -> dict[str, Tensor]:
        x, scale = feed(batch)
        masked = mask_leads_and_time(x, masks, config)
        parts = (x, masked, scale, *texts(batch))
        x, masked, scale, z_text, ids = (share_of(fabric, part) for part in parts)
        output = network(masked, z_text, scale)
        embedded = (gather_with_grad(fabric, part) for part in (output.e_ecg, output.e_text, ids))
        aligned = config.loss(*embedded)
        # The target is the signal before masking (S-11). The factor makes the mean over processes
        # the mean over records where the batch does not divide evenly.
        share = len(x) * fabric.world_size / len(batch)
        recon = share * reconstruction_loss(output.reconstruction, x, valid)
        total = config.align_weight * aligned + config.recon_weight * recon
        return {"total": total, "align": aligned, "recon": recon}

    def validate(model: AlignmentModel, device: torch.device) -> tuple[Row, tuple[float, ...]]:
        align, recon, embedded = 0.0, 0.0, []
        count = -(-len(data.validation) // config.batch_size)
        with torch.inference_mode():
            for part in np.array_split(data.validation, count):
                x, scale, z_text, ids = (t.to(device) for t in (*feed(part), *texts(part)))
                output = model(x, z_text, scale)
                share = len(part) / len(data.validation)
                recon += share * float(reconstruction_loss(output.reconstruction, x, valid))
                align += share * float(config.loss(output.e_ecg, output.e_text, ids))
                embedded.append((output.e_ecg.float().cpu(), output.e_text.float().cpu()))
        e_ecg, e_text = (torch.cat(side).numpy() for side in zip(*embedded, strict=True))
        total = config.align_weight * align + config.recon_weight * recon
        row = {"validation_align": align, "validation_recon": recon, "validation_total": total}
        row |= alignment_figures(e_ecg, e_text, data.text_ids[data.validation])
        if config.align_weight == 0:
            row["criterion"] = -recon
        return row, (row["criterion"], -recon)

    history, best_epoch = fit(trained, batches, losses, validate, config, folder, report)
    return PretrainResult(trained, history, best_epoch)


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
    first = distinct_rows(text_ids)
    finite = bool(np.isfinite(e_ecg).all() and np.isfinite(e_text).all())
    ranks = np.full(len(e_ecg), np.nan)
    collapse: dict[str, float] = dict.fromkeys(COLLAPSE, np.nan)
    if finite:
        ranks = retrieval_ranks(e_ecg, e_text[first], text_ids, text_ids[first])
        measured = collapse_report(e_ecg)
        collapse = {name: getattr(measured, name) for name in COLLAPSE}
    row: Row = {}
    for k in RETRIEVAL_KS:
        found = np.where(np.isnan(ranks), np.nan, ranks <= k)
        row[f"retrieval_at_{k}"] = _mean_by_text(found, text_ids)
        row[f"chance_at_{k}"] = chance_at_k(1, len(first), k) if finite else np.nan
    return row | {"criterion": _mean_by_text(1.0 / ranks, text_ids)} | collapse


COLLAPSE = ("effective_rank", "uniformity", "mean_pairwise_cosine")


def _mean_by_text(values: NDArray[Any], text_ids: NDArray[np.int64]) -> float:
    """Average within each text, then over texts, so that the commonest text counts once."""
    return float(pd.Series(values, dtype=np.float64).groupby(np.asarray(text_ids)).mean().mean())
