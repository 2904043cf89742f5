"""Sanity check: an attribution must change when the network's weights are random."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ecgrepro.errors import InputError


class RandomisedWeights(NamedTuple):
    """Rank correlation of an attribution with the same one for networks of random weights."""

    signed: Tensor
    """(draws, B) Spearman correlation of the values."""
    absolute: Tensor
    """(draws, B) Spearman correlation of their absolute values."""


def randomised_weights_check(
    attribute: Callable[[nn.Module, Tensor], Tensor],
    model: nn.Module,
    x: Tensor,
    seed: int,
    draws: int = 5,
) -> RandomisedWeights:
    """Ask whether an attribution depends on what the network has learned.

    All parameters of a copy are drawn anew, normal with each tensor's own mean and SD; `model` itself is
    left alone. An attribution that stays the same explains the input, not the model (Adebayo et al., "Sanity
    checks for saliency maps", NeurIPS 2018): correlations should be near 0, and near 1 is a failure.

    Parameters
    ----------
    attribute
        (model, x) to attribution (B, ...), for example ``lambda m, x: integrated_gradients(m, x).values``.
    seed
        Seed of the random weights.
    draws
        Number of random networks.
    """
    if draws < 1:
        raise InputError(f"draws is {draws}: at least one random network is needed.")
    generator = torch.Generator().manual_seed(seed)
    own = attribute(model, x).detach().flatten(1)
    signed, absolute = [], []
    for _ in range(draws):
        stranger = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in stranger.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                spread = (
                    parameter.std(correction=0) if parameter.numel() > 1 else parameter.abs().sum()
                )
                parameter.copy_(parameter.mean() + spread * noise.to(parameter))
        other = attribute(stranger, x).detach().flatten(1)
        signed.append(rank_correlation(own, other))
        absolute.append(rank_correlation(own.abs(), other.abs()))
    return RandomisedWeights(torch.stack(signed), torch.stack(absolute))


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return Spearman's correlation of each row of `a` (B, n) with that of `b`; NaN where one is constant."""
    from scipy.stats import rankdata

    ranks = [torch.from_numpy(rankdata(t.double().cpu().numpy(), axis=1)) for t in (a, b)]
    first, second = (r - r.mean(dim=1, keepdim=True) for r in ranks)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))
