"""The loop over epochs that pretraining and fine-tuning share: train, validate, save, go on."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.models import load_weights
from ecgrepro.progress import progress_bar
from ecgrepro.training.checkpoints import (
    WEIGHTS,
    Restart,
    Row,
    State,
    finish,
    load_epoch,
    open_run,
    save_epoch,
)
from ecgrepro.training.engine import Hardware, deterministic, launch
from ecgrepro.training.schedule import derived_seed, warmup_cosine

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from ecgrepro.training.finetune import FinetuneConfig
    from ecgrepro.training.pretrain import PretrainConfig

Report = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """Settings of the loop that pretraining and fine-tuning share."""

    epochs: int
    learning_rate: float
    warmup: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float | None
    seed: int
    patience: int | None = None


def schedule_of(config: "PretrainConfig | FinetuneConfig") -> Schedule:
    """Return the part of a configuration that the loop itself uses."""
    return Schedule(**{field.name: getattr(config, field.name) for field in fields(Schedule)})


@dataclass(frozen=True)
class Task:
    """What differs between pretraining and fine-tuning, as functions.

    Attributes
    ----------
    batches
        Epoch to list of batches (positions); each call gives the same.
    losses
        (batch, epoch, step) to losses: "total" is differentiated; the mean over processes of each
        is its value for the whole batch.
    training_mode
        Put the network into its training mode.
    validate
        Network in eval mode to one row of validation figures.
    rank_key
        Row to a tuple; the epoch with the largest is the best.
    headline
        Row to the line that is printed.
    """

    batches: Callable[[int], list[Any]]
    losses: Callable[[Any, int, int], dict[str, Tensor]]
    training_mode: Callable[[], None]
    validate: Callable[[], Row]
    rank_key: Callable[[Row], tuple[float, ...]]
    headline: Callable[[Row], str]


def train_in_folder(
    model: nn.Module,
    make_task: Callable[["Fabric", nn.Module], Task],
    schedule: Schedule,
    folder: Path,
    run: dict[str, Any],
    *,
    progress: bool,
    report: Report | None,
    hardware: Hardware | None,
    restart: Restart,
) -> tuple[pd.DataFrame, int]:
    """Bring the run in `folder` to its end and load its best weights into `model`.

    Parameters
    ----------
    model
        With the initial weights; parameters that require no gradient stay as they are.
    make_task
        (fabric, network as Fabric set it up) to `Task`.
    schedule
        Settings of loop and optimiser.
    folder, run
        Where the run lives and what it is; see `describe_run`.
    progress, report, hardware, restart
        As in `pretrain`.

    Returns
    -------
    history
        DataFrame indexed by epoch, read back from the folder, so that it is the same whether the
        run was interrupted, finished long ago, or just ended.
    best_epoch
        Number of the best epoch.
    """
    state = open_run(folder, run, restart)
    if state is None or not state.finished:

        def train(fabric: "Fabric") -> None:
            optimizer = torch.optim.AdamW(
                [parameter for parameter in model.parameters() if parameter.requires_grad],
                lr=schedule.learning_rate,
                betas=schedule.betas,
                weight_decay=schedule.weight_decay,
            )
            wrapped, driver = fabric.setup(model, optimizer)
            task = make_task(fabric, wrapped)
            run_epochs(
                *(fabric, model, wrapped, optimizer, driver, task, schedule, folder, run, state),
                progress=progress,
                report=report,
            )

        launch(hardware or Hardware(), train)
        state = open_run(folder, run, restart=False)
        if state is None or not state.finished:
            raise RuntimeError(f"training in {folder} ended without its last checkpoint")
    elif report is not None:
        print(f"found finished in {os.path.relpath(folder)}", flush=True)
    load_weights(model.cpu(), folder / WEIGHTS)
    model.eval()
    return _as_table(state.history), state.best_epoch


def run_epochs(
    fabric: "Fabric",
    model: nn.Module,
    wrapped: Any,
    optimizer: torch.optim.Optimizer,
    driver: Any,
    task: Task,
    schedule: Schedule,
    folder: Path,
    run: dict[str, Any],
    state: State | None,
    *,
    progress: bool,
    report: Report | None,
) -> None:
    """Train from the last complete epoch in `folder` to the end.

    Parameters
    ----------
    model, optimizer
        The plain module and optimiser, which are validated and saved.
    wrapped, driver
        The same two as Fabric set them up, which are trained.
    state
        From `open_run`; None starts at the beginning.
    report
        Called with one line after each saved epoch, in the first process.
    """
    per_epoch = len(task.batches(1))
    total = schedule.epochs * per_epoch
    with deterministic(fabric.device):
        if state is None:
            first: Row = {"epoch": 0.0, "learning_rate": 0.0}
            model.eval()
            first |= task.validate() if fabric.is_global_zero else {}
            state = State(run=run, history=[first])
        else:
            load_epoch(folder, state, model, optimizer)
        for epoch in range(state.epoch + 1, schedule.epochs + 1):
            if _stopped(state, schedule):
                break
            task.training_mode()
            batches = task.batches(epoch)
            sums: dict[str, float] = {}
            shown = progress and fabric.is_global_zero
            label = f"epoch {epoch}/{schedule.epochs}"
            bar = progress_bar(len(batches), label, "batch", shown, leave=False)
            for step, batch in enumerate(batches):
                bar.update()
                share = warmup_cosine((epoch - 1) * per_epoch + step, total, schedule.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = schedule.learning_rate * share
                torch.manual_seed(
                    derived_seed(schedule.seed, epoch, step, "network", fabric.global_rank)
                )
                losses = task.losses(batch, epoch, step)
                check_finite(losses["total"], epoch, step)
                fabric.backward(losses["total"])
                if schedule.clip is not None:
                    fabric.clip_gradients(wrapped, driver, max_norm=schedule.clip)
                driver.step()
                driver.zero_grad()
                for name, value in _mean_over_processes(fabric, losses).items():
                    sums[name] = sums.get(name, 0.0) + value / len(batches)
            model.eval()
            row = {"epoch": float(epoch), "learning_rate": schedule.learning_rate * share}
            row |= {f"train_{name}": value for name, value in sums.items()}
            row |= task.validate() if fabric.is_global_zero else {}
            row = fabric.broadcast(row) if fabric.world_size > 1 else row
            state = _with_epoch(state, row, task.rank_key)
            if fabric.is_global_zero:
                save_epoch(folder, state, model, optimizer)
                if report is not None:
                    report(task.headline(row))
            fabric.barrier()
        if fabric.is_global_zero:
            finish(folder, state)
        fabric.barrier()


def _as_table(history: list[Row]) -> pd.DataFrame:
    """Return the history by epoch: rate, training, validation, then the rest."""
    table = pd.DataFrame(history).astype({"epoch": int}).set_index("epoch")
    groups = ("learning_rate", "train_", "validation_", "")
    return table[sorted(table, key=lambda name: [not name.startswith(start) for start in groups])]


def _with_epoch(state: State, row: Row, rank_key: Callable[[Row], tuple[float, ...]]) -> State:
    """Append an epoch; it becomes the best one if it is strictly better than the best so far."""

    def key(candidate: Row) -> tuple[float, ...]:
        return tuple(-math.inf if math.isnan(value) else value for value in rank_key(candidate))

    history = [*state.history, row]
    best = state.best_epoch
    if best == 0 or key(row) > key(history[best]):
        best = len(history) - 1
    return replace(state, history=history, best_epoch=best)


def _stopped(state: State, schedule: Schedule) -> bool:
    if schedule.patience is None or state.epoch == 0:
        return False
    return state.epoch - state.best_epoch >= schedule.patience


def _mean_over_processes(fabric: Any, losses: dict[str, Tensor]) -> Row:
    values = {name: value.detach() for name, value in losses.items()}
    if fabric.world_size > 1:
        values = fabric.all_reduce(values, reduce_op="mean")
    return {name: float(value) for name, value in values.items()}


def check_finite(value: Tensor, epoch: int, step: int) -> None:
    """Raise `InputError` when a loss or score has left the numbers, and say what to change."""
    if not bool(torch.isfinite(value.detach()).all()):
        raise InputError(
            f"the loss is not finite at epoch {epoch}, step {step}: "
            "lower learning_rate, or set clip to 1."
        )
