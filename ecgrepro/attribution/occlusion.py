"""Hide a lead, a window or any region, and see what is missing from the log risk."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ecgrepro.attribution.risk import RiskFunction, check_input, evaluating, risk_of
from ecgrepro.errors import InputError


@torch.no_grad()
def mask_occlusion(
    model_fn: RiskFunction,
    x: Tensor,
    masks: Tensor,
    baseline: float | Tensor = 0.0,
    batch_size: int = 256,
) -> Tensor:
    """Return what each region contributes: log risk as it is, minus log risk with the region hidden.

    Parameters
    ----------
    model_fn
        Module or function giving one log risk for each ECG; a module runs in evaluation mode.
    x
        ECGs as the model takes them, shape (B, 12, T).
    masks
        Regions to hide, bool, shape (R, 12, T): a lead, a window, all T waves, ...
    baseline
        What stands in their place; 0 is the lead's own mean for z-scored input.
    batch_size
        Largest number of ECGs in one forward pass.

    Returns
    -------
    Tensor
        (B, R), in units of log risk. Positive: the region raises the risk.

    Raises
    ------
    InputError
        When shapes disagree, `x` is not finite, or the model does not return (B,).
    """
    base = check_input(x, baseline)
    if masks.dtype != torch.bool or masks.ndim != 3 or masks.shape[1:] != x.shape[1:]:
        raise InputError(
            f"masks are {masks.dtype} {tuple(masks.shape)}: bool (R, {x.shape[1]}, {x.shape[2]}) is needed."
        )
    n, step = x.shape[0], max(1, batch_size // x.shape[0])
    with evaluating(model_fn):
        plain = risk_of(model_fn, x)
        hidden = []
        for part in masks.to(x.device).split(step):
            occluded = torch.where(part[:, None], base, x).flatten(0, 1)  # (r * B, 12, T)
            chunks = [risk_of(model_fn, chunk) for chunk in occluded.split(batch_size)]
            hidden.append(torch.cat(chunks).view(-1, n))
        changed = torch.cat(hidden) if hidden else plain.new_empty(0, n)
    return plain[:, None] - changed.T


def lead_occlusion(
    model_fn: RiskFunction, x: Tensor, baseline: float | Tensor = 0.0, batch_size: int = 256
) -> Tensor:
    """Return what each lead contributes to the log risk: silence it and see what is missing.

    Returns
    -------
    Tensor
        (B, leads); see `mask_occlusion` for parameters, sign and errors.
    """
    if x.ndim != 3:
        raise InputError(f"x is {tuple(x.shape)}: (B, leads, T) is needed.")
    masks = torch.eye(x.shape[1], dtype=torch.bool)[:, :, None].expand(-1, -1, x.shape[2])
    return mask_occlusion(model_fn, x, masks, baseline, batch_size)


class WindowOcclusion(NamedTuple):
    """What each window of time contributes to the log risk."""

    change: Tensor
    """(B, leads, n_windows), or (B, 1, n_windows) when all leads were hidden together; log risk."""
    start_ms: np.ndarray
    """(n_windows,) begin of each window, in milliseconds of the recording."""
    stop_ms: np.ndarray
    """(n_windows,) its end (exclusive)."""


def window_occlusion(
    model_fn: RiskFunction,
    x: Tensor,
    window: int,
    stride: int,
    rate: float,
    *,
    per_lead: bool = True,
    offset: int = 0,
    baseline: float | Tensor = 0.0,
    batch_size: int = 256,
) -> WindowOcclusion:
    """Slide a hidden window over time, lead by lead or over all leads at once.

    Parameters
    ----------
    window, stride
        Samples. The last window is moved back to end with the signal, so that no sample is left out.
    rate
        Samples per second (Hz), for the times.
    per_lead
        False hides the window in all leads together: 12 times faster, and it sees what redundant leads
        hide from a search that always leaves eleven of them untouched.
    offset
        Samples of padding before the recording begins (12 after `signals.prepare` of 1,000 to 1,024):
        times count from the recording's first sample.

    Raises
    ------
    InputError
        As `mask_occlusion`; also when window, stride or rate are not positive or the window is too long.
    """
    if x.ndim != 3 or not 1 <= window <= x.shape[2] or stride < 1 or rate <= 0:
        raise InputError(
            f"window {window}, stride {stride} and rate {rate} do not fit x {tuple(x.shape)}: "
            "all must be positive and the window no longer than T."
        )
    leads, length = x.shape[1:]
    starts = list(range(0, length - window + 1, stride))
    if starts[-1] + window < length:
        starts.append(length - window)
    spans = torch.zeros(len(starts), length, dtype=torch.bool)
    for row, start in enumerate(starts):
        spans[row, start : start + window] = True
    if per_lead:
        each = torch.eye(leads, dtype=torch.bool)
        masks = (each[:, None, :, None] & spans[None, :, None, :]).flatten(0, 1)
    else:
        masks = spans[:, None, :].expand(-1, leads, -1)
    change = mask_occlusion(model_fn, x, masks, baseline, batch_size)
    begin = (np.array(starts) - offset) * 1000.0 / rate
    shape = (x.shape[0], leads if per_lead else 1, len(starts))
    return WindowOcclusion(change.reshape(shape), begin, begin + window * 1000.0 / rate)
