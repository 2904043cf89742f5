"""Fine-tuning for risk: Cox partial likelihood on event-balanced batches, beside reconstruction."""

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
from ecgrepro.models import RiskModel, set_batchwise_dropout
from ecgrepro.objectives import cox_nll, reconstruction_loss, weighted_risk_loss
from ecgrepro.signals import MODEL_RATE
from ecgrepro.survival import concordance_index
from ecgrepro.training.augment import check_masks, mask_leads_and_time
from ecgrepro.training.batches import stratified_event_batches
from ecgrepro.training.checkpoints import WEIGHTS, Restart, Row, describe_run, signal_sample
from ecgrepro.training.engine import Hardware, gather_with_grad
from ecgrepro.training.feeds import Feed, RiskData, recorded_span, signal_feed
from ecgrepro.training.loop import Report, Task, check_finite, schedule_of, train_in_folder
from ecgrepro.training.schedule import check_optimizer_settings, step_generator

if TYPE_CHECKING:
    from lightning.fabric import Fabric


RiskLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(log_risk (B,), event (B,), time (B,)) to a scalar; the risk set is that of the batch."""


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of the fine-tuning.

    Attributes
    ----------
    epochs
        Largest number of passes.
    batch_size
        Wanted size; larger where events are few, see `stratified_event_batches`.
    learning_rate, betas, weight_decay
        Of AdamW, which holds every parameter, the decoder's too (R-10).
    warmup
        Share of the steps with linearly rising rate; then cosine to 0.
    recon_weight
        Weight a of L = a * L_recon + (1 - a) * L_risk. (The study's code mirrors the letter.)
    loss
        Risk loss: any function (log_risk, event, time) to a scalar. Its code is part of the run's identity.
    lead_mask, time_mask, time_mask_seconds
        As in `PretrainConfig`, but one draw for the whole batch, so that the patients of a risk
        set are compared on the same leads (the study: 0.5 in effect, time not masked).
    freeze_encoder
        Leave the encoder as it came, in eval mode, BatchNorm statistics included (S-14). With neither masks nor
        reconstruction, latents never change: they are computed once, and the losses of reconstruction are NaN.
    batchwise_dropout
        Give all patients of a batch the same dropout mask, in the whole network.
    patience
        Stop after this many epochs without a better one; None never stops early.
    clip
        Largest gradient norm; None for no limit.
    seed
        Of batches, masks and dropout.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    warmup: float = 0.1
    recon_weight: float = 0.5
    loss: RiskLoss = cox_nll
    lead_mask: float = 0.5
    time_mask: float = 0.0
    time_mask_seconds: tuple[float, float] = (0.2, 1.0)
    freeze_encoder: bool = False
    batchwise_dropout: bool = True
    patience: int | None = None
    clip: float | None = 100.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that no run can start with."""
        check_optimizer_settings(self)
        check_masks(self.lead_mask, self.time_mask, self.time_mask_seconds)
        if not 0 <= self.recon_weight <= 1:
            raise InputError(f"recon_weight is {self.recon_weight}: give a share in [0, 1].")


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning leaves.

    Attributes
    ----------
    model
        A copy of the given model with the weights of the best epoch, in eval mode, on the CPU.
    history
        By epoch (index; 0 is before training): learning_rate; train_total, train_recon,
        train_risk (means over batches: a training signal, not a metric, because the risk sets are
        those of a batch); validation_total, validation_recon, validation_risk (Cox loss per event
        over the whole validation cohort), validation_c_index; criterion.
    best_epoch
        Epoch with the lowest validation_risk.
    weights
        The safetensors file.
    """

    model: RiskModel
    history: pd.DataFrame
    best_epoch: int
    weights: Path


def finetune(
    model: RiskModel,
    data: RiskData,
    config: FinetuneConfig,
    folder: Path,
    *,
    progress: bool = True,
    report: Report | None = print,
    hardware: Hardware | None = None,
    restart: Restart = False,
) -> FinetuneResult:
    """Train a copy of `model` for risk; go on where an earlier call in `folder` stopped.

    The best epoch has the lowest Cox loss over the whole validation cohort (equal ones: the higher
    C-index). With a handful of validation events the C-index takes few values and jumps between
    them; the Cox loss moves with every score. The C-index stands beside it in the history.

    Parameters
    ----------
    model
        Left as it is, so that folds never share weights (R-10).
    data
        See `RiskData`.
    config
        Settings.
    folder, progress, report, hardware, restart
        As in `pretrain`.

    Raises
    ------
    InputError
        If the folder holds a run with other settings, data or initial weights; if the loss is not
        finite.
    """
    trained = copy.deepcopy(model).cpu()
    set_batchwise_dropout(trained, config.batchwise_dropout)
    parts = np.concatenate([data.train, data.validation])
    arrays: dict[str, NDArray[Any]] = {
        "rows": data.rows,
        "train": data.train,
        "validation": data.validation,
        "event": data.event,
        "time": data.time,
        "signals": signal_sample(data.signals, data.rows[parts]),
    }
    note = {"rate": data.rate, "length": data.length}
    run = describe_run("risk", (_task, train_in_folder), config, trained, arrays, note)
    if config.freeze_encoder:
        trained.encoder.requires_grad_(False)
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
    return FinetuneResult(trained.requires_grad_(True), history, best_epoch, folder / WEIGHTS)


def set_training_mode(model: RiskModel, freeze_encoder: bool) -> None:
    """Put a risk model into training mode, except a frozen encoder.

    A frozen encoder in training mode would still move its BatchNorm statistics and drop units.
    """
    model.train()
    if freeze_encoder:
        model.encoder.eval()


def _task(
    fabric: "Fabric",
    model: RiskModel,
    wrapped: torch.nn.Module,
    data: RiskData,
    config: FinetuneConfig,
) -> Task:
    used = np.concatenate([data.train, data.validation])
    feed = signal_feed(data.signals, data.rows, data.rate, data.length, used=used)
    valid = recorded_span(data.signals.shape[-1], data.rate, data.length)
    latents = None
    if fabric.world_size == 1 and _only_head_learns(config):
        latents = _latents(model, feed, used, len(data.rows), config.batch_size, fabric.device)
    event = torch.from_numpy(np.array(data.event, dtype=np.int64))
    time = torch.from_numpy(np.array(data.time, dtype=np.float64))

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        cut = stratified_event_batches(
            *(data.event[data.train], data.time[data.train]),
            *(config.batch_size, config.seed, epoch),
        )
        return [data.train[batch] for batch in cut]

    def losses(batch: NDArray[np.int64], epoch: int, step: int) -> dict[str, Tensor]:
        mine = batch[fabric.global_rank :: fabric.world_size]
        if latents is not None:
            log_risk = model.risk_head(latents[mine])
            check_finite(log_risk, epoch, step)
            here = fabric.device
            risk = config.loss(log_risk, event[mine].to(here), time[mine].to(here))
            return {"total": risk, "recon": torch.full_like(risk, float("nan")), "risk": risk}
        x, scale = (part.to(fabric.device) for part in feed(mine))
        masked = mask_leads_and_time(
            x,
            step_generator(config.seed, epoch, step, "mask"),  # one draw for all processes
            rate=MODEL_RATE,
            lead_mask=config.lead_mask,
            time_mask=config.time_mask,
            seconds=config.time_mask_seconds,
            shared=True,
        )
        output = wrapped(masked, scale)  # one forward for both terms
        check_finite(output.log_risk, epoch, step)
        risk = config.loss(
            gather_with_grad(fabric, output.log_risk),
            gather_with_grad(fabric, event[mine].to(fabric.device)),
            gather_with_grad(fabric, time[mine].to(fabric.device)),
        )
        share = len(mine) * fabric.world_size / len(batch)
        recon = share * reconstruction_loss(output.reconstruction, x, valid)
        total = weighted_risk_loss(recon, risk, config.recon_weight)
        return {"total": total, "recon": recon, "risk": risk}

    def validate() -> Row:
        recon, scores = (0.0, []) if latents is None else (float("nan"), [])
        count = -(-len(data.validation) // config.batch_size)
        with torch.inference_mode():
            for part in np.array_split(data.validation, count):
                if latents is not None:
                    scores.append(model.risk_head(latents[part]).double().cpu())
                    continue
                x, scale = (tensor.to(fabric.device) for tensor in feed(part))
                output = model(x, scale)
                value = float(reconstruction_loss(output.reconstruction, x, valid))
                recon += value * len(part) / len(data.validation)
                scores.append(output.log_risk.double().cpu())
        log_risk = torch.cat(scores)
        held = torch.from_numpy(data.validation)
        risk = float("nan")
        if bool(torch.isfinite(log_risk).all()):
            risk = float(config.loss(log_risk, event[held], time[held]))
        total = risk
        if latents is None:
            total = config.recon_weight * recon + (1 - config.recon_weight) * risk
        return {
            "validation_total": total,
            "validation_recon": recon,
            "validation_risk": risk,
            "validation_c_index": _c_index(data, log_risk.numpy()),
            "criterion": -risk,
        }

    def headline(row: Row) -> str:
        return (
            f"epoch {row['epoch']:3.0f}/{config.epochs}  "
            f"total {row['train_total']:.4f} (validation {row['validation_total']:.4f})  "
            f"L_recon {row['train_recon']:.4f} ({row['validation_recon']:.4f})  "
            f"L_risk {row['train_risk']:.4f} ({row['validation_risk']:.4f})  "
            f"validation C-index {row['validation_c_index']:.3f}"
        )

    return Task(
        batches=batches,
        losses=losses,
        training_mode=lambda: set_training_mode(model, config.freeze_encoder),
        validate=validate,
        rank_key=lambda row: (row["criterion"], row["validation_c_index"]),
        headline=headline,
    )


def _only_head_learns(config: FinetuneConfig) -> bool:
    return (
        config.freeze_encoder and config.recon_weight == config.lead_mask == config.time_mask == 0
    )


def _latents(
    model: RiskModel,
    feed: Feed,
    used: NDArray[np.int64],
    n: int,
    batch_size: int,
    device: torch.device,
) -> Tensor:
    """Return ``(n, latent)`` of a frozen encoder in eval mode; rows that are not `used` stay NaN."""
    latents = torch.full((n, model.encoder.latent), float("nan"), device=device)
    model.encoder.eval()
    with torch.no_grad():
        for part in np.array_split(used, -(-len(used) // batch_size)):
            x, scale = (tensor.to(device) for tensor in feed(part))
            latents[part] = model.encoder(x, scale)
    return latents


def _c_index(data: RiskData, log_risk: NDArray[np.float64]) -> float:
    """Return the C-index of the validation cohort, NaN where no pair is comparable."""
    time, event = data.time[data.validation], data.event[data.validation]
    try:
        return concordance_index(time, event, log_risk)
    except InputError:
        return float("nan")
