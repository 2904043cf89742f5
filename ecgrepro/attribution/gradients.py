"""Gradients of the log risk by the ECG, plain and integrated, with the completeness check."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ecgrepro.attribution.risk import RiskFunction, check_input, evaluating, risk_of
from ecgrepro.errors import InputError


def input_gradient(model_fn: RiskFunction, x: Tensor) -> Tensor:
    """Return d log risk / d x, shape (B, leads, T): each entry for its own lead and sample (S-33)."""
    check_input(x, 0.0)
    with evaluating(model_fn):
        return _gradient(model_fn, x)[0]


def _gradient(model_fn: RiskFunction, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        point = x.detach().clone().requires_grad_(True)
        risk = risk_of(model_fn, point)
        if not risk.requires_grad:
            return torch.zeros_like(x), risk.detach()
        # ECGs do not influence each other in evaluation mode: the sum's gradient is each one's own
        (slope,) = torch.autograd.grad(risk.sum(), point, allow_unused=True)
    return torch.zeros_like(x) if slope is None else slope, risk.detach()


class IntegratedGradients(NamedTuple):
    """Attribution of the change from the baseline to the ECG, and how well it adds up."""

    values: Tensor
    """(B, leads, T), in units of log risk."""
    change: Tensor
    """(B,) f(x) - f(baseline), which the values of each ECG should add up to."""
    error: Tensor
    """(B,) sum of the values minus `change`."""
    complete: Tensor
    """(B,) bool: is the error within the tolerance?"""


def integrated_gradients(
    model_fn: RiskFunction,
    x: Tensor,
    baseline: float | Tensor = 0.0,
    steps: int = 128,
    tolerance: float = 0.02,
) -> IntegratedGradients:
    """Integrate the gradient along the straight line from the baseline to the ECG.

    values = (x - baseline) * integral over a in [0, 1] of df/dx(baseline + a (x - baseline)) da, by
    Gauss-Legendre quadrature in u = sqrt(a) (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks",
    ICML 2017). Completeness is checked and reported, never assumed: raise `steps` where it fails.

    Parameters
    ----------
    steps
        Points of the quadrature; one forward and backward pass each.
    tolerance
        Largest |error| that counts as complete, as a share of |f(x) - f(baseline)|, or of 0.1 log risk
        units where that change is smaller.

    Raises
    ------
    InputError
        When shapes disagree, `x` is not finite, or the model does not return (B,).
    """
    if steps < 1:
        raise InputError(f"steps is {steps}: at least one point is needed.")
    base = check_input(x, baseline)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    difference = x.detach() - base
    total = torch.zeros_like(x, dtype=torch.float64)
    with evaluating(model_fn):
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            # a = u^2 sets points closely near the baseline, where networks that divide by an ECG's
            # own scale (group normalisation of a nearly flat signal) turn sharply; da = 2 u du
            slope, _ = _gradient(model_fn, base + float(node**2) * difference)
            total += float(2 * node * weight) * slope
        with torch.no_grad():
            change = (risk_of(model_fn, x) - risk_of(model_fn, base)).double()
    values = difference * total
    error = values.sum(dim=(1, 2)) - change
    complete = error.abs() <= tolerance * change.abs().clamp(min=0.1)
    return IntegratedGradients(values.to(x.dtype), change.to(x.dtype), error.to(x.dtype), complete)
