"""Fine-tuning for risk: a loss over the batch's risk sets, on event-balanced batches, beside reconstruction."""

import copy
import functools
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
from ecgrepro.losses import cox_nll, reconstruction_loss
from ecgrepro.models import RiskModel, set_batchwise_dropout
from ecgrepro.survival import concordance_index
from ecgrepro.training.batches import mask_leads_and_time, stratified_event_batches
from ecgrepro.training.data import RiskData, SignalFeed, recorded_span
from ecgrepro.training.devices import gather_with_grad, share_of
from ecgrepro.training.inference import encode
from ecgrepro.training.loop import FitConfig, Report, Row, fit

RiskLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(log_risk (B,), event (B,), time (B,)) to a scalar; the risk sets are those of the batch."""


@dataclass(frozen=True)
class FinetuneConfig(FitConfig):
    """Settings of the fine-tuning; see also `FitConfig`.

    `batch_size` is the wanted size; batches are larger where events are few (`stratified_event_batches`). Masks are
    drawn once for the whole batch, so that the patients of a risk set are compared on the same leads.

    Attributes
    ----------
    loss
        Any function (log_risk, event, time) to a scalar: `losses.cox_nll`, or the reader's own.
    recon_weight
        Weight a of L = a * L_recon + (1 - a) * L_risk. (The study's code mirrors the letter, R-11.)
    freeze_encoder
        Leave the encoder as it came, in eval mode, BatchNorm statistics included (S-14). With neither masks nor
        reconstruction, latents never change: they are computed once, and the losses of reconstruction are NaN.
    batchwise_dropout
        Give all patients of a batch the same dropout mask, in the whole network.
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: float = 0.1
    lead_mask: float = 0.5
    time_mask: float = 0.0
    clip: float | None = 100.0
    loss: RiskLoss = cox_nll
    recon_weight: float = 0.5
    freeze_encoder: bool = False
    batchwise_dropout: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that no training can start with."""
        super().__post_init__()
        if not 0 <= self.recon_weight <= 1:
            raise InputError(f"recon_weight is {self.recon_weight}: give a share in [0, 1].")

    @property
    def only_head_learns(self) -> bool:
        """Whether latents never change."""
        return self.freeze_encoder and self.recon_weight == self.lead_mask == self.time_mask == 0


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning leaves.

    `model` is a copy of the given one with the weights of the best epoch, in eval mode, on the CPU; `best_epoch` has
    the lowest validation_risk. `history` by epoch (index; 0 is before training): learning_rate; train_total,
    train_recon, train_risk (means over batches: a training signal, not a metric, because the risk sets are those of a
    batch); validation_total, validation_recon, validation_risk (loss over the whole validation cohort),
    validation_c_index; criterion.
    """

    model: RiskModel
    history: pd.DataFrame
    best_epoch: int


def finetune(
    model: RiskModel,
    data: RiskData,
    config: FinetuneConfig,
    folder: Path,
    report: Report | None = print,
) -> FinetuneResult:
    """Train a copy of `model` for risk; the same training is found finished, or goes on where it stopped.

    The best epoch has the lowest risk loss over the whole validation cohort (equal ones: the higher
    C-index). With a handful of validation events the C-index takes few values and jumps between
    them; the Cox loss moves with every score. The C-index stands beside it in the history.

    Parameters
    ----------
    model
        Left as it is, so that folds never share weights (R-10).
    data
        See `RiskData`.
    config
        Settings, the loss among them.
    folder, report
        See `fit`.
    """
    trained = copy.deepcopy(model).cpu()
    set_batchwise_dropout(trained, config.batchwise_dropout)
    trained.encoder.requires_grad_(not config.freeze_encoder)
    used = np.concatenate([data.train, data.validation])
    feed = SignalFeed(data.signals, data.rows, data.rate, data.length, used)
    valid = recorded_span(data.signals.shape[-1], data.rate, data.length)

    @functools.cache
    def latents() -> Tensor:
        """(N, latent) of a frozen encoder; rows that are not used stay NaN."""
        found = torch.full((len(data.rows), trained.encoder.latent), torch.nan)
        signals, rows = data.signals, data.rows[used]
        found[used] = torch.from_numpy(
            encode(trained.encoder, signals, rows, data.rate, config.batch_size)
        )
        return found

    def outcome(batch: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        event = np.asarray(data.event[batch], dtype=np.int64)
        return torch.from_numpy(event), torch.from_numpy(np.asarray(data.time[batch], float))

    def batches(epoch: int) -> list[NDArray[np.int64]]:
        event, time = data.event[data.train], data.time[data.train]
        cut = stratified_event_batches(event, time, config.batch_size, config.seed, epoch)
        return [data.train[batch] for batch in cut]

    def risk_of(log_risk: Tensor, event: Tensor, time: Tensor) -> Tensor:
        """The loss; NaN, which stops the training, where a score has left the numbers."""
        finite = bool(torch.isfinite(log_risk.detach()).all())
        return config.loss(log_risk, event, time) if finite else log_risk.sum() * torch.nan

    def losses(
        network: nn.Module, batch: NDArray[np.int64], masks: torch.Generator, fabric: Any
    ) -> dict[str, Tensor]:
        event, time = (gather_with_grad(fabric, share_of(fabric, part)) for part in outcome(batch))
        if config.only_head_learns and fabric.world_size == 1:
            z = share_of(fabric, latents()[batch])
            risk = risk_of(trained.risk_head(z), event, time)
            return {"total": risk, "recon": torch.full_like(risk, torch.nan), "risk": risk}
        x, scale = feed(batch)
        masked = mask_leads_and_time(x, masks, config, shared=True)
        x, masked, scale = (share_of(fabric, part) for part in (x, masked, scale))
        output = network(masked, scale)  # one forward for both terms
        risk = risk_of(gather_with_grad(fabric, output.log_risk), event, time)
        share = len(x) * fabric.world_size / len(batch)
        recon = share * reconstruction_loss(output.reconstruction, x, valid)
        total = config.recon_weight * recon + (1.0 - config.recon_weight) * risk
        return {"total": total, "recon": recon, "risk": risk}

    def validate(model: RiskModel, device: torch.device) -> tuple[Row, tuple[float, ...]]:
        recon, scores = float("nan") if config.only_head_learns else 0.0, []
        count = -(-len(data.validation) // config.batch_size)
        with torch.inference_mode():
            for part in np.array_split(data.validation, count):
                if config.only_head_learns:
                    scores.append(model.risk_head(latents()[part].to(device)).double().cpu())
                    continue
                x, scale = (tensor.to(device) for tensor in feed(part))
                output = model(x, scale)
                value = float(reconstruction_loss(output.reconstruction, x, valid))
                recon += value * len(part) / len(data.validation)
                scores.append(output.log_risk.double().cpu())
        log_risk = torch.cat(scores)
        risk = float(risk_of(log_risk, *outcome(data.validation)))
        total = config.recon_weight * recon + (1 - config.recon_weight) * risk
        c_index = _c_index(data, log_risk.numpy())
        row = {
            "validation_total": risk if config.only_head_learns else total,
            "validation_recon": recon,
            "validation_risk": risk,
            "validation_c_index": c_index,
            "criterion": -risk,
        }
        return row, (-risk, c_index)

    history, best_epoch = fit(trained, batches, losses, validate, config, folder, report)
    return FinetuneResult(trained.requires_grad_(True), history, best_epoch)


def _c_index(data: RiskData, log_risk: NDArray[np.float64]) -> float:
    """Return the C-index of the validation cohort, NaN where no pair is comparable."""
    time, event = data.time[data.validation], data.event[data.validation]
    try:
        return concordance_index(time, event, log_risk)
    except InputError:
        return float("nan")
