"""One loop over epochs: train, validate, keep the best weights; a killed training goes on after its last whole epoch.

Nothing random depends on what happened before: each step draws from a seed made of (seed, epoch, step), so a training
that was killed draws what an uninterrupted one draws, and no generator state is stored.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.models import load_weights, save_weights
from ecgrepro.progress import progress_bar
from ecgrepro.training.batches import check_masks, derived_seed, step_generator, warmup_cosine
from ecgrepro.training.devices import in_fork, joint_statistics, open_devices
from ecgrepro.training.identity import fingerprint

if TYPE_CHECKING:
    from lightning.fabric import Fabric

RESUME, WEIGHTS, HISTORY = "resume.pt", "model.safetensors", "history.json"

Row = dict[str, float]
Report = Callable[[str], None]
Batches = Callable[[int], list[NDArray[np.int64]]]
Losses = Callable[[nn.Module, NDArray[np.int64], torch.Generator, "Fabric"], dict[str, Tensor]]
Validate = Callable[[Any, torch.device], tuple[Row, tuple[float, ...]]]


@dataclass(frozen=True)
class FitConfig:
    """Settings that pretraining and fine-tuning share.

    Attributes
    ----------
    epochs
        Largest number of passes over the training records.
    batch_size
        Largest batch; batches are even, see `batches`.
    learning_rate, betas, weight_decay
        Of AdamW, which holds every parameter that learns, the decoder's too (R-10).
    warmup
        Share of the steps with linearly rising rate; then cosine to 0.
    lead_mask
        Probability that a record keeps a subset of its leads only.
    time_mask, time_mask_seconds
        Probability that a record loses one stretch of time, and shortest and longest stretch (s).
    clip
        Largest gradient norm; None for no limit.
    patience
        Stop after this many epochs without a better one; None never stops early.
    seed
        Of order, masks and dropout. Initial weights have their own seed, in the builders.
    accelerator, devices
        Where it runs, which is no part of what it is: "auto", "cpu", "cuda" or "mps", and how many of them. A batch
        is shared out among devices, and losses that compare records are computed on the whole of it.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    warmup: float = 0.2
    lead_mask: float = 0.25
    time_mask: float = 0.2
    time_mask_seconds: tuple[float, float] = (0.2, 1.0)
    clip: float | None = None
    patience: int | None = None
    seed: int = 0
    accelerator: str = field(default="auto", compare=False)
    devices: int = field(default=1, compare=False)

    def __post_init__(self) -> None:
        """Refuse settings that no training can start with."""
        check_masks(self.lead_mask, self.time_mask, self.time_mask_seconds)
        for name, fits, wanted in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 2, "at least 2, a loss compares records"),
            ("learning_rate", self.learning_rate > 0, "a number above 0"),
            ("warmup", 0 <= self.warmup < 1, "a share of the steps in [0, 1)"),
            ("patience", self.patience is None or self.patience >= 1, "at least 1, or None"),
            ("seed", self.seed >= 0, "a number that is not negative"),
            ("devices", self.devices >= 1, "at least 1"),
        ):
            if not fits:
                raise InputError(f"{name} is {getattr(self, name)}: give {wanted}.")


def fit(
    model: nn.Module,
    batches: Batches,
    losses: Losses,
    validate: Validate,
    config: FitConfig,
    folder: Path,
    report: Report | None = print,
) -> tuple[pd.DataFrame, int]:
    """Train `model` in place to its best epoch, or give it the weights of the same training, found finished.

    Parameters
    ----------
    model
        With its initial weights. Parameters that require no gradient stay as they are, and a part that has no
        others stays in eval mode: BatchNorm statistics of a frozen encoder do not move (S-14).
    batches
        Epoch, from 1, to a list of batches (positions); each call gives the same.
    losses
        (network, batch, generator of the masks, fabric) to a dict of losses; "total" is differentiated. Each
        process is given the whole batch; see `devices.share_of` and `devices.gather_with_grad`.
    validate
        (model in eval mode, device) to a row of figures and a key; the epoch with the largest key is the best.
    config
        Settings.
    folder
        This training gets a folder of its own inside, named by the fingerprint of all of the above: another loss,
        network, setting or dataset is another training, and never mistaken for this one.
    report
        Called with one line after each epoch; None for silence.

    Returns
    -------
    history
        By epoch; row 0 is the untrained network. Rate, training, validation, then other figures.
    best_epoch
        Number of the best epoch, from 1.

    Raises
    ------
    InputError
        If the loss is not finite.
    """
    run = folder / fingerprint(fit, model, batches, losses, validate, config)

    def steps(network: nn.Module, driver: Any, fabric: "Fabric", epoch: int) -> Row:
        """One pass over the training records: learning rate at its end, and mean losses."""
        row: Row = {"epoch": epoch}
        cut = batches(epoch)
        shown = report is not None and fabric.is_global_zero
        bar = progress_bar(len(cut), f"epoch {epoch}/{config.epochs}", "batch", shown, leave=False)
        for step, batch in enumerate(cut):
            bar.update()
            done = (epoch - 1) * len(cut) + step
            share = warmup_cosine(done, config.epochs * len(cut), config.warmup)
            row["learning_rate"] = config.learning_rate * share
            for group in driver.param_groups:
                group["lr"] = row["learning_rate"]
            torch.manual_seed(derived_seed(config.seed, epoch, step, "network"))
            masks = step_generator(config.seed, epoch, step, "mask")
            loss = losses(network, batch, masks, fabric)
            if not bool(torch.isfinite(loss["total"])):
                raise InputError(
                    f"the loss is not finite at epoch {epoch}, step {step}: "
                    "lower learning_rate, or set clip to 1."
                )
            fabric.backward(loss["total"])
            if config.clip is not None:
                fabric.clip_gradients(network, driver, max_norm=config.clip)
            driver.step()
            driver.zero_grad()
            for name, value in loss.items():
                mean: Any = fabric.all_reduce(value.detach(), reduce_op="mean")
                row[f"train_{name}"] = row.get(f"train_{name}", 0.0) + float(mean) / len(cut)
        return row

    def train(fabric: "Fabric") -> None:
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            *(learning, config.learning_rate, config.betas), weight_decay=config.weight_decay
        )
        joint_statistics(model, fabric)
        network, driver = fabric.setup(model, optimizer)
        with deterministic(fabric.device):
            state = _load(run / RESUME, model, optimizer)
            if state is None:
                row, _ = validate(model.eval(), fabric.device)
                first = {"epoch": 0, "learning_rate": 0.0} | _floats(row)
                state = {"history": [first], "best_epoch": 0, "best_key": (), "best": {}}
            while not _ended(state, config):
                _train_mode(model)
                row = steps(network, driver, fabric, epoch=len(state["history"]))
                figures, order = fabric.broadcast(validate(model.eval(), fabric.device))
                state["history"].append(row | _floats(figures))
                key = tuple(-math.inf if math.isnan(value) else float(value) for value in order)
                if not state["best_epoch"] or key > state["best_key"]:
                    best = {
                        name: t.detach().cpu().clone() for name, t in model.state_dict().items()
                    }
                    epoch = len(state["history"]) - 1
                    state |= {"best_epoch": epoch, "best_key": key, "best": best}
                if fabric.is_global_zero:
                    _save(run / RESUME, state, model, optimizer)
                    if report is not None:
                        report(_line(state["history"][-1], config.epochs))
                fabric.barrier()
        if fabric.is_global_zero:
            _finish(run, state, model)
        fabric.barrier()

    if not (run / HISTORY).is_file():
        fabric = open_devices(config.accelerator, config.devices)
        if config.devices == 1:
            train(fabric)
        else:
            fabric.launch(in_fork(train))
    elif report is not None:
        print(f"found finished in {os.path.relpath(run)}", flush=True)
    load_weights(model.cpu(), run / WEIGHTS)
    model.eval()
    done = read_json(run / HISTORY)
    return _table(done["history"]), int(done["best_epoch"])


def _floats(figures: Row) -> Row:
    return {name: float(value) for name, value in figures.items()}


def _ended(state: dict[str, Any], config: FitConfig) -> bool:
    """Whether all epochs are done, or as many as `patience` were no better than the best."""
    epoch, best = len(state["history"]) - 1, state["best_epoch"]
    patience = config.patience or config.epochs
    return epoch >= config.epochs or (epoch > 0 and epoch - best >= patience)


def _train_mode(model: nn.Module) -> None:
    """Put a network into training mode, except parts that learn nothing: those would still move their statistics."""
    model.train()
    for part in model.children():
        if list(part.parameters()) and not any(p.requires_grad for p in part.parameters()):
            part.eval()


def _line(row: Row, epochs: int) -> str:
    """Return what is reported of an epoch: training losses, validation losses in brackets, figures."""
    losses = [name.removeprefix("train_") for name in row if name.startswith("train_")]
    parts = [
        f"{name} {row[f'train_{name}']:.4f} ({row.get(f'validation_{name}', math.nan):.4f})"
        for name in losses
    ]
    others = [
        name for name in row if not name.startswith(("train_", "validation_", "epoch", "learn"))
    ]
    parts += [f"{name} {row[name]:.3f}" for name in others]
    return f"epoch {row['epoch']:3.0f}/{epochs}  " + "  ".join(parts)


def _table(rows: list[Row]) -> pd.DataFrame:
    table = pd.DataFrame(rows).astype(float).astype({"epoch": int}).set_index("epoch")
    groups = ("learning_rate", "train_", "validation_", "")
    return table[sorted(table, key=lambda name: [not name.startswith(start) for start in groups])]


def _save(
    path: Path, state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    whole = state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    with atomic_path(path) as temporary:
        torch.save(whole, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())  # the name must not become durable before the content


def _finish(run: Path, state: dict[str, Any], model: nn.Module) -> None:
    """Keep the best weights, then the history, which says that all is done; only then drop what to go on from."""
    model.load_state_dict(state["best"])
    save_weights(model, run / WEIGHTS, {})
    finite = [{k: v if math.isfinite(v) else None for k, v in r.items()} for r in state["history"]]
    write_json(run / HISTORY, {"history": finite, "best_epoch": state["best_epoch"]})
    (run / RESUME).unlink(missing_ok=True)


def _load(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Set model and optimiser to the end of the last whole epoch, if there is one."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}): delete it and train again.") from None
    model.load_state_dict(state.pop("model"))
    optimizer.load_state_dict(state.pop("optimizer"))
    return state


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Ask torch for deterministic algorithms, and leave its settings and random state as found."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # On GPUs some gradients (pooling, interpolation) have no deterministic form: warn there.
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        memory.fill_uninitialized_memory = False  # costs time, changes nothing
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
            memory.fill_uninitialized_memory = fill
