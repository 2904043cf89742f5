"""Alignment pretraining: ECG and report embeddings drawn together, the ECG reconstructed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgrepro.errors import InputError
from ecgrepro.models import AlignmentModel
from ecgrepro.objectives import reconstruction_loss, soft_infonce
from ecgrepro.signals import MODEL_RATE
from ecgrepro.training.augment import check_masks, mask_leads_and_time
from ecgrepro.training.batches import shuffled_batches
from ecgrepro.training.checkpoints import WEIGHTS, Restart, Row, describe_run, signal_sample
from ecgrepro.training.engine import Hardware, gather_with_grad
from ecgrepro.training.feeds import AlignmentData, recorded_span, signal_feed
from ecgrepro.training.loop import Report, Task, schedule_of, train_in_folder
from ecgrepro.training.monitors import alignment_figures
from ecgrepro.training.schedule import check_optimizer_settings, step_generator

if TYPE_CHECKING:
    from lightning.fabric import Fabric


AlignmentLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(e_ecg (B, D), e_text (B, D), text_ids (B,)) to a scalar; equal ids mean equal texts."""


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of the alignment pretraining; the study's values where it names them.

    Attributes
    ----------
    loss
        Alignment loss: any function (e_ecg, e_text, text_ids) to a scalar. Its code is part of the run's identity.
    epochs
        Passes over the training records.
    batch_size
        Largest batch; batches are even, see `shuffled_batches`.
    learning_rate, betas, weight_decay
        Of AdamW.
    warmup
        Share of the steps with linearly rising rate; then cosine to 0.
    align_weight, recon_weight
        Weights of the two terms (the study: 1 and 1).
    lead_mask
        Probability that a record keeps a subset of its leads only (the study: 0.25 in effect).
    time_mask, time_mask_seconds
        Probability that a record loses one stretch of time, and shortest and longest stretch (s).
    clip
        Largest gradient norm; None for no limit.
    patience
        Stop after this many epochs without a better criterion; None never stops early.
    seed
        Of order, masks and dropout. Initial weights have their own seed, in `build_alignment_model`.
    """

    loss: AlignmentLoss = soft_infonce
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    warmup: float = 0.2
    align_weight: float = 1.0
    recon_weight: float = 1.0
    lead_mask: float = 0.25
    time_mask: float = 0.2
    time_mask_seconds: tuple[float, float] = (0.2, 1.0)
    clip: float | None = None
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that no run can start with."""
        check_optimizer_settings(self)
        check_masks(self.lead_mask, self.time_mask, self.time_mask_seconds)
        if min(self.align_weight, self.recon_weight) < 0 or not (
            self.align_weight + self.recon_weight > 0
        ):
            raise InputError("align_weight and recon_weight must not be negative, nor both 0.")


@dataclass(frozen=True)
class PretrainResult:
    """What a pretraining leaves.

    Attributes
    ----------
    model
        A copy of the given model with the weights of the best epoch, in eval mode, on the CPU.
    history
        By epoch (index; 0 is before training): learning_rate; train_total, train_align,
        train_recon; validation_total, validation_align, validation_recon; retrieval_at_1,
        retrieval_at_10 (ECG to distinct validation texts, averaged within each text and then over
        texts) with chance_at_1, chance_at_10; criterion; effective_rank, uniformity,
        mean_pairwise_cosine of the validation ECGs.
    best_epoch
        Epoch with the largest criterion.
    weights
        The safetensors file.
    """

    model: AlignmentModel
    history: pd.DataFrame
    best_epoch: int
    weights: Path


def pretrain(
    model: AlignmentModel,
    data: AlignmentData,
    config: PretrainConfig,
    folder: Path,
    *,
    progress: bool = True,
    report: Report | None = print,
    hardware: Hardware | None = None,
    restart: Restart = False,
) -> PretrainResult:
    """Train a copy of `model` on ECG-text pairs; go on where an earlier call in `folder` stopped.

    The best epoch has the largest *criterion*: for each validation ECG, one over the rank of its own
    text among the distinct validation texts, averaged within each text and then over texts. It
    does not depend on the loss, so it compares the three losses, and a constant embedding gets
    no credit for the commonest text. Equal criteria are decided by the lower reconstruction loss.
    With align_weight 0 the criterion is minus the reconstruction loss.

    Parameters
    ----------
    model
        Left as it is; its weights are where the run starts.
    data
        See `AlignmentData` and `pair_records`.
    config
        Settings.
    folder
        Of this run alone. A finished run is returned at once, an interrupted one continues from
        its last whole epoch to the same bytes (CPU, same machine and threads).
    progress
        Show a bar within the epoch where the output is a terminal.
    report
        Called with one line after each epoch; None for silence.
    hardware
        Devices; see `Hardware`.
    restart
        What to do with a run that is already in the folder: False continues the same run and
        refuses another one; "if_changed" continues the same and deletes another; True deletes any.

    Raises
    ------
    InputError
        If the folder holds a run with other settings, data or initial weights; if the loss is not
        finite.
    """
    trained = copy.deepcopy(model).cpu()
    parts = np.concatenate([data.train, data.validation])
    arrays: dict[str, NDArray[Any]] = {
        "rows": data.rows,
        "train": data.train,
        "validation": data.validation,
        "z_text": data.z_text,
        "text_ids": data.text_ids,
        "signals": signal_sample(data.signals, data.rows[parts]),
    }
    note = {"rate": data.rate, "length": data.length}
    run = describe_run("alignment", (_task, train_in_folder), config, trained, arrays, note)
    history, best_epoch = train_in_folder(
        trained,
        lambda fabric, wrapped: _task(fabric, trained, wrapped, data, config),
        schedule_of(config),
        folder,
        run,
        progress=progress,
        report=report,
        hardware=hardware,
        restart=restart,
    )
    return PretrainResult(trained, history, best_epoch, folder / WEIGHTS)


def _task(
    fabric: "Fabric",
    model: AlignmentModel,
    wrapped: torch.nn.Module,
    data: AlignmentData,
    config: PretrainConfig,
) -> Task:
    used = np.concatenate([data.train, data.validation])
    feed = signal_feed(data.signals, data.rows, data.rate, data.length, used=used)
    valid = recorded_span(data.signals.shape[-1], data.rate, data.length)
    z_text = torch.from_numpy(np.array(data.z_text, dtype=np.float32))
    text_ids = torch.from_numpy(np.array(data.text_ids, dtype=np.int64))

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        cut = shuffled_batches(len(data.train), config.batch_size, config.seed, epoch)
        return [data.train[batch] for batch in cut]

    def losses(batch: NDArray[np.int64], epoch: int, step: int) -> dict[str, Tensor]:
        mine = batch[fabric.global_rank :: fabric.world_size]
        x, scale = (part.to(fabric.device) for part in feed(mine))
        generator = step_generator(config.seed, epoch, step, "mask", fabric.global_rank)
        masked = mask_leads_and_time(
            x,
            generator,
            rate=MODEL_RATE,
            lead_mask=config.lead_mask,
            time_mask=config.time_mask,
            seconds=config.time_mask_seconds,
        )
        output = wrapped(masked, z_text[mine].to(fabric.device), scale)
        aligned = config.loss(
            gather_with_grad(fabric, output.e_ecg),
            gather_with_grad(fabric, output.e_text),
            gather_with_grad(fabric, text_ids[mine].to(fabric.device)),
        )
        # The target is the signal before masking (S-11). The factor makes the mean over processes
        # the mean over records where the batch does not divide evenly.
        share = len(mine) * fabric.world_size / len(batch)
        recon = share * reconstruction_loss(output.reconstruction, x, valid)
        total = config.align_weight * aligned + config.recon_weight * recon
        return {"total": total, "align": aligned, "recon": recon}

    def validate() -> Row:
        row, embedded_ecg, embedded_text = {"align": 0.0, "recon": 0.0}, [], []
        count = -(-len(data.validation) // config.batch_size)
        with torch.inference_mode():
            for part in np.array_split(data.validation, count):
                x, scale = (tensor.to(fabric.device) for tensor in feed(part))
                output = model(x, z_text[part].to(fabric.device), scale)
                share = len(part) / len(data.validation)
                recon = reconstruction_loss(output.reconstruction, x, valid)
                aligned = config.loss(output.e_ecg, output.e_text, text_ids[part].to(fabric.device))
                row["recon"] += share * float(recon)
                row["align"] += share * float(aligned)
                embedded_ecg.append(output.e_ecg.float().cpu().numpy())
                embedded_text.append(output.e_text.float().cpu().numpy())
        row["total"] = config.align_weight * row["align"] + config.recon_weight * row["recon"]
        figures = {f"validation_{name}": value for name, value in row.items()}
        e_ecg, e_text = np.concatenate(embedded_ecg), np.concatenate(embedded_text)
        figures |= alignment_figures(e_ecg, e_text, data.text_ids[data.validation])
        if config.align_weight == 0:
            figures["criterion"] = -row["recon"]
        return figures

    def training_mode() -> None:
        model.train()

    def headline(row: Row) -> str:
        return (
            f"epoch {row['epoch']:3.0f}/{config.epochs}  "
            f"total {row['train_total']:.4f} (validation {row['validation_total']:.4f})  "
            f"align {row['train_align']:.4f} ({row['validation_align']:.4f})  "
            f"recon {row['train_recon']:.4f} ({row['validation_recon']:.4f})  "
            f"R@10 {row['retrieval_at_10']:.3f} (chance {row['chance_at_10']:.3f})"
        )

    return Task(
        batches=batches,
        losses=losses,
        training_mode=training_mode,
        validate=validate,
        rank_key=lambda row: (row["criterion"], -row["validation_recon"]),
        headline=headline,
    )
