"""What a risk rests on: hidden leads and windows, integrated gradients, and a check that an attribution can fail.

Every function takes what it explains as arguments (S-33): a model or a function from ECGs to one log risk each, and
the ECGs. A model is explained in evaluation mode and found afterwards as it was. Signs agree everywhere: positive
means that what is there raises the risk.
"""

import copy
import importlib
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgrepro.errors import InputError

RiskFunction = Callable[[Tensor], Any]
"""A module or function: (B, 12, T) to log risk (B,), or to an output with a field `log_risk` (B,)."""


def _captum() -> ModuleType:
    """Import captum, which asks for progress bars in a notebook and warns where there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("captum.attr")


def as_risk_function(model: RiskFunction) -> Callable[[Tensor], Tensor]:
    """Return a function from ECGs (B, 12, T) to log risk (B,), in evaluation mode; each part gets its own mode back."""
    parts = list(model.modules()) if isinstance(model, nn.Module) else []

    def log_risk(x: Tensor) -> Tensor:
        if x.ndim != 3 or not bool(torch.isfinite(x).all()):
            raise InputError(f"x is {tuple(x.shape)}: give finite ECGs (B, leads, T).")
        modes = [part.training for part in parts]
        for part in parts:
            part.training = False
        try:
            output = model(x)
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode
        risk: Any = getattr(output, "log_risk", output)
        if risk.shape != x.shape[:1]:  # (B, 1) would broadcast
            raise InputError(
                f"the model gave {tuple(risk.shape)} for {len(x)} ECGs: one log risk each."
            )
        return torch.as_tensor(risk)

    return log_risk


@torch.no_grad()
def lead_occlusion(model: RiskFunction, x: Tensor, baseline: float | Tensor = 0.0) -> Tensor:
    """Return what each lead adds to the log risk, (B, leads): silence it and see what is missing.

    Parameters
    ----------
    model
        Module or function giving one log risk for each ECG.
    x
        ECGs as the model takes them, (B, leads, T).
    baseline
        What stands in a lead's place; 0 is its own mean for z-scored input.
    """
    risk = as_risk_function(model)
    risk(x)  # refuses what cannot be explained
    mask = torch.arange(x.shape[1])[None, :, None].expand(1, *x.shape[1:])
    base = torch.as_tensor(baseline, dtype=x.dtype).expand_as(x)
    found: Tensor = _captum().FeatureAblation(risk).attribute(x, baselines=base, feature_mask=mask)
    return found[:, :, 0]


class WindowOcclusion(NamedTuple):
    """What each window of time, hidden in all leads at once, adds to the log risk."""

    change: Tensor
    """(B, 1, windows), log risk."""
    start_ms: NDArray[np.float64]
    """(windows,) begin of each window, in milliseconds of the recording."""
    stop_ms: NDArray[np.float64]
    """(windows,) its end (exclusive)."""


@torch.no_grad()
def window_occlusion(
    model: RiskFunction, x: Tensor, window: int, stride: int, rate: float, offset: int = 0
) -> WindowOcclusion:
    """Slide a hidden window over time, in all leads at once: redundant leads would cover for one another.

    Parameters
    ----------
    window, stride
        Samples. The last window is moved back to end with the signal, so that no sample is left out.
    rate
        Samples per second (Hz), for the times.
    offset
        Samples of padding before the recording begins (12 after `signals.prepare` of 1,000 to 1,024):
        times count from the recording's first sample.
    """
    if x.ndim != 3 or not 1 <= window <= x.shape[2] or stride < 1 or rate <= 0:
        raise InputError(
            f"window {window}, stride {stride} and rate {rate} do not fit x {tuple(x.shape)}: "
            "all must be positive and the window no longer than T."
        )
    risk, last = as_risk_function(model), x.shape[2] - window
    starts = np.unique([*range(0, last + 1, stride), last])
    plain, changes = risk(x), []
    for start in starts:
        hidden = x.clone()
        hidden[..., start : start + window] = 0.0
        changes.append(plain - risk(hidden))
    begin = (starts - offset) * 1000.0 / rate
    return WindowOcclusion(
        torch.stack(changes, dim=1)[:, None], begin, begin + window * 1000.0 / rate
    )


class IntegratedGradients(NamedTuple):
    """Attribution of the change from a flat ECG to this one, and how well it adds up."""

    values: Tensor
    """(B, leads, T), in units of log risk."""
    change: Tensor
    """(B,) f(x) - f(0), which the values of each ECG should add up to."""
    complete: Tensor
    """(B,) bool: do they, to 2 % of the change (of 0.1 where that is smaller)?"""


def integrated_gradients(model: RiskFunction, x: Tensor, steps: int = 128) -> IntegratedGradients:
    """Integrate the gradient along the straight line from zero to the ECG.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, by captum. Completeness is
    checked and reported, never assumed: raise `steps` where it fails.
    """
    risk = as_risk_function(model)
    with torch.enable_grad():
        values: Tensor = (
            _captum()
            .IntegratedGradients(risk)
            .attribute(
                x, n_steps=steps, method="gausslegendre", internal_batch_size=max(64, len(x))
            )
        )
    with torch.no_grad():
        change = risk(x) - risk(torch.zeros_like(x))
    error = values.detach().double().sum((1, 2)) - change
    complete = error.abs() <= 0.02 * change.abs().clamp(min=0.1)
    return IntegratedGradients(values.detach().to(x.dtype), change, complete)


def randomised_weights_check(
    attribute: Callable[[nn.Module, Tensor], Tensor],
    model: nn.Module,
    x: Tensor,
    seed: int,
    draws: int = 5,
) -> Tensor:
    """Ask whether an attribution depends on what the network has learned.

    All parameters of a copy are drawn anew, normal with each tensor's own mean and SD; `model` itself is
    left alone. An attribution that stays the same explains the input, not the model (Adebayo et al., "Sanity
    checks for saliency maps", NeurIPS 2018): correlations should be near 0, and near 1 is a failure.

    Parameters
    ----------
    attribute
        (model, x) to attribution (B, ...), for example `lead_occlusion`.
    seed
        Seed of the random weights.
    draws
        Number of random networks.

    Returns
    -------
    Tensor
        (draws, B) Spearman's correlation with the same attribution for networks of random weights.
    """
    generator = torch.Generator().manual_seed(seed)
    own = attribute(model, x).detach().flatten(1)
    found = []
    for _ in range(draws):
        stranger = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in stranger.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                alone = parameter.numel() == 1
                spread = parameter.abs().sum() if alone else parameter.std(correction=0)
                parameter.copy_(parameter.mean() + spread * noise.to(parameter))
        found.append(_rank_correlation(own, attribute(stranger, x).detach().flatten(1)))
    return torch.stack(found)


def _rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's correlation of each row of `a` (B, n) with that of `b`; NaN where one is constant."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(t.double().cpu().numpy(), axis=1)) for t in (a, b)]
    first, second = (r - r.mean(dim=1, keepdim=True) for r in ranks)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
