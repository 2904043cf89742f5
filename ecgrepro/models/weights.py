"""Weights on disk: safetensors with a JSON configuration inside, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path


def save_weights(module: nn.Module, path: Path, config: dict[str, Any]) -> None:
    """Write all parameters and buffers of a module, and how it was made.

    Parameters
    ----------
    module
        Any module; if it has a `length`, it is stored too, because weights depend on it (S-39).
    path
        Name of the ``.safetensors`` file.
    config
        JSON-able description, for example the arguments of the builder.
    """
    described = dict(config)
    if isinstance(length := getattr(module, "length", None), int):
        described.setdefault("length", length)
    # One key only: safetensors writes several in arbitrary order, and equal weights must be equal bytes.
    metadata = {"config": json.dumps(described, sort_keys=True, allow_nan=False)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in module.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration stored in a weights file, without reading the weights."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("config", "{}"))
    except FileNotFoundError:
        raise InputError(f"weights {path} are missing: train first, or check the path.") from None
    except SafetensorError as error:
        raise InputError(
            f"weights {path} cannot be read ({error}): delete the file and train again."
        ) from None


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Load a file of `save_weights` into a module built like the one that was saved.

    Returns
    -------
    dict
        The stored configuration.

    Raises
    ------
    InputError
        File missing or damaged, made for another signal length, or of another architecture.
    """
    config = read_config(path)
    length = getattr(module, "length", None)
    if length is not None and config.get("length", length) != length:
        raise InputError(
            f"weights {path} were made for {config['length']} samples but this model has "
            f"length {length}: build it with length={config['length']}."
        )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = module.state_dict()
    differing = sorted(
        name
        for name in wanted.keys() | tensors.keys()
        if name not in wanted or name not in tensors or wanted[name].shape != tensors[name].shape
    )
    if differing:
        raise InputError(
            f"weights {path} do not fit this model ({len(differing)} of {len(wanted)} tensors differ, "
            f"first {differing[0]}): build the model with the stored configuration {config}."
        )
    module.load_state_dict(tensors)
    return config
