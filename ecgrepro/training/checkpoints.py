"""Training folders: a run that can be killed at any moment and goes on from its last whole epoch.

A folder holds `state.json` (what run this is, history, which files count) and weights as
safetensors. Every file is written under a temporary name and renamed; `state.json` is renamed last
and names only files that are already there. So a kill leaves either the previous epoch or the new
one, never a mixture.
"""

import dataclasses
import hashlib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.training.identity import fingerprint

STATE = "state.json"
WEIGHTS = "model.safetensors"
_OURS = re.compile(r"\.?(state\.json|model\.safetensors|epoch_\d+\.safetensors)(\..*)?")

Row = dict[str, float]
Restart = bool | Literal["if_changed"]


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes
    ----------
    run
        What run this is; see `describe_run`.
    history
        One row an epoch; row 0 is the untrained network.
    best_epoch
        Best by validation so far, from 1.
    finished
        Whether the run has ended and `model.safetensors` holds its best weights.
    """

    run: dict[str, Any]
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    finished: bool = False

    @property
    def epoch(self) -> int:
        """Last complete epoch."""
        return len(self.history) - 1


def describe_run(
    kind: str,
    code: Sequence[Any],
    config: Any,
    model: nn.Module,
    arrays: Mapping[str, NDArray[Any]],
    note: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what makes two runs the same run: code, settings, data and initial weights.

    Parameters
    ----------
    kind
        "alignment" or "risk".
    code
        Functions that do the training; with what they name, they are part of the run (`identity.fingerprint`).
    config
        Frozen dataclass of settings.
    model
        With its initial weights.
    arrays
        Data by name; each goes in by its SHA-256.
    note
        Further plain values (sampling rate, length).
    """
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    data = {
        name: hashlib.sha256(
            f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes()
        ).hexdigest()[:16]
        for name, array in arrays.items()
    }
    settings: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        plain = list(value) if isinstance(value, tuple) else value
        settings[name] = fingerprint(value) if callable(value) else plain
    return {
        "kind": kind,
        "code": fingerprint(code, [type(part) for part in model.modules()]),
        "config": settings,
        "data": data | dict(note),
        "initial_weights": weights.hexdigest()[:16],
    }


def signal_sample(
    packed: NDArray[np.int16], rows: NDArray[np.int64], records: int = 64
) -> NDArray[np.int16]:
    """Return evenly spaced records: enough to recognise a dataset without reading all of it."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(records, len(rows))).astype(np.int64))
    return np.asarray(packed[rows[chosen]])


def open_run(folder: Path, run: dict[str, Any], restart: Restart) -> State | None:
    """Return the state of the run in `folder`, or None when it has no complete epoch.

    Parameters
    ----------
    folder
        Made if missing.
    run
        From `describe_run`.
    restart
        What to do with a run that is there: False refuses another one, True deletes any,
        "if_changed" deletes another one and goes on with the same.

    Raises
    ------
    InputError
        If the folder holds another run and `restart` is False: the sentence says what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STATE
    if restart is True:
        path.unlink(missing_ok=True)  # first: without it the other files count for nothing
    if not path.is_file():
        _remove(folder, keep=set())
        return None
    content = read_json(path)
    if content["run"] != run and restart == "if_changed":
        return open_run(folder, run, restart=True)
    if content["run"] != run:
        raise InputError(
            f"{folder} holds another run ({_difference(content['run'], run)}): "
            "choose another folder, or pass restart=True to delete that run."
        )
    state = State(
        run=run,
        history=[_as_floats(row) for row in content["history"]],
        best_epoch=content["best_epoch"],
        finished=content["finished"],
    )
    _remove(folder, keep=_counted(state))
    missing = [name for name in sorted(_counted(state)) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder / missing[0]} is missing although {STATE} counts on it: pass restart=True."
        )
    return state


def save_epoch(
    folder: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write a complete epoch, then drop the files that no longer count."""
    names = _parameter_names(model, optimizer)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            tensors[f"optimizer.{key}.{names[number]}"] = torch.as_tensor(value)
    _save_tensors(folder / _epoch_file(state.epoch), tensors)
    _save_state(folder, state)
    _remove(folder, keep=_counted(state))


def load_epoch(
    folder: Path, state: State, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Set model and optimiser to the end of the last complete epoch."""
    names = _parameter_names(model, optimizer)
    positions = {name: number for number, name in names.items()}
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _load_tensors(folder / _epoch_file(state.epoch)).items():
        kind, rest = name.split(".", 1)
        if kind == "model":
            weights[rest] = tensor
        else:
            key, parameter = rest.split(".", 1)
            moments.setdefault(positions[parameter], {})[key] = tensor
    model.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})


def finish(folder: Path, state: State) -> State:
    """Keep the weights of the best epoch as `model.safetensors` and mark the run as ended."""
    best = _load_tensors(folder / _epoch_file(state.best_epoch))
    weights = {
        name.removeprefix("model."): tensor
        for name, tensor in best.items()
        if name.startswith("model.")
    }
    _save_tensors(folder / WEIGHTS, weights)
    ended = dataclasses.replace(state, finished=True)
    _save_state(folder, ended)
    _remove(folder, keep=_counted(ended))
    return ended


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(own, str(temporary))
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())  # the name must not become durable before the content


def _load_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: train first, or check the path.") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): train with restart=True.") from None


def _save_state(folder: Path, state: State) -> None:
    rows = [
        {name: value if math.isfinite(value) else None for name, value in row.items()}
        for row in state.history
    ]
    content: dict[str, Any] = {"run": state.run, "history": rows}
    content |= {"best_epoch": state.best_epoch, "finished": state.finished}
    write_json(folder / STATE, content)


def _as_floats(row: Mapping[str, float | None]) -> Row:
    return {name: math.nan if value is None else float(value) for name, value in row.items()}


def _epoch_file(epoch: int) -> str:
    return f"epoch_{epoch:04d}.safetensors"


def _counted(state: State) -> set[str]:
    if state.finished:
        return {STATE, WEIGHTS}
    return {STATE, _epoch_file(state.epoch), _epoch_file(state.best_epoch)}


def _remove(folder: Path, keep: set[str]) -> None:
    """Delete files of training (and temporaries a kill left), except `keep`; nothing else."""
    for path in folder.iterdir():
        if path.name not in keep and _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, str]:
    """Name the optimiser's parameters in the order in which its state numbers them."""
    by_identity = {id(parameter): name for name, parameter in model.named_parameters()}
    flat = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {number: by_identity[id(parameter)] for number, parameter in enumerate(flat)}


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Name the first settings in which two runs differ."""
    found = []
    for name in sorted(set(there) | set(here)):
        old, new = there.get(name), here.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            changed = [key for key in sorted(set(old) | set(new)) if old.get(key) != new.get(key)]
            found += [f"{key}: {old.get(key)} there, {new.get(key)} here" for key in changed]
        elif old != new:
            found.append(f"{name}: {old} there, {new} here")
    return "; ".join(found[:3])
