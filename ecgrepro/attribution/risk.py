"""The thing that is explained: a function from ECGs to one log risk each, in evaluation mode."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ecgrepro.errors import InputError

RiskFunction = Callable[[Tensor], Any]
"""A module or function: (B, 12, T) to log risk (B,), or to an output with a field `log_risk` (B,)."""


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """Put a module and its parts in evaluation mode; give each part its own mode back at the end."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for (
            part,
            training,
        ) in modes:  # part by part: a frozen block may be in eval inside a training model
            part.training = training


def as_risk_function(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from ECGs (B, 12, T) to log risk (B,) that runs `model` in evaluation mode."""

    def log_risk(x: Tensor) -> Tensor:
        with evaluating(model):
            return risk_of(model, x)

    return log_risk


def risk_of(model_fn: RiskFunction, x: Tensor) -> Tensor:
    """Call the model and refuse anything but one log risk for each ECG (R-1: (B, 1) broadcasts)."""
    output = model_fn(x)
    risk = getattr(output, "log_risk", output)
    if not isinstance(risk, Tensor) or risk.shape != (x.shape[0],):
        shape = tuple(risk.shape) if isinstance(risk, Tensor) else type(risk).__name__
        raise InputError(
            f"model_fn returned {shape} for {x.shape[0]} ECGs: one log risk each, shape (B,), is needed."
        )
    return risk


def check_input(x: Tensor, baseline: float | Tensor) -> Tensor:
    """Return the baseline with the shape of `x`, after checking both."""
    if x.ndim != 3 or not x.is_floating_point() or x.numel() == 0:
        raise InputError(f"x is {x.dtype} {tuple(x.shape)}: float (B, leads, T) is needed.")
    if not torch.isfinite(x).all():
        raise InputError("x holds NaN or infinity: prepare the ECGs first (signals.prepare).")
    base = torch.as_tensor(baseline, dtype=x.dtype, device=x.device)
    try:
        return base.expand_as(x)
    except RuntimeError:
        raise InputError(
            f"baseline {tuple(base.shape)} does not fit x {tuple(x.shape)}: give a number or (leads, T)."
        ) from None
