"""Attention maps in numbers: how spread, which key is attended to, where a token lies in time."""

import numpy as np
import torch
from torch import Tensor

from ecgrepro.errors import InputError


def attention_entropy(maps: Tensor) -> Tensor:
    """Return how spread each row of attention is: 1 for uniform, 0 for a single key.

    Parameters
    ----------
    maps
        (..., queries, keys), rows adding up to 1.

    Returns
    -------
    Tensor
        (..., queries): entropy divided by that of a uniform row, log(keys). 1 for a single key.

    Raises
    ------
    InputError
        When a row is negative or does not add up to 1 (then it is not attention).
    """
    sums = maps.sum(dim=-1)
    if bool((maps < 0).any()) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise InputError(
            "maps hold rows that are negative or do not add up to 1: give attention weights."
        )
    keys = maps.shape[-1]
    if keys == 1:
        return torch.ones_like(sums)
    return torch.special.entr(maps).sum(dim=-1) / float(np.log(keys))


def received_attention(maps: Tensor) -> Tensor:
    """Return how much each key is attended to: the mean over queries, (..., T', T') to (..., T').

    Absolute weights, which add up to 1; uniform attention gives 1/T' everywhere. Not stretched to [0, 1].
    """
    return maps.mean(dim=-2)


def token_windows(tokens: int, length: int, rate: float, offset: int = 0) -> np.ndarray:
    """Return begin and end of each token's window in milliseconds of the recording, shape (tokens, 2).

    A token depends on more than its window: on the receptive field of the convolutions before it.

    Parameters
    ----------
    tokens, length
        Tokens that the network makes from `length` samples.
    rate
        Samples per second (Hz).
    offset
        Samples of padding before the recording begins.
    """
    if tokens < 1 or length % tokens or rate <= 0:
        raise InputError(f"{tokens} tokens do not divide {length} samples at rate {rate}.")
    edges = (np.arange(tokens + 1) * (length // tokens) - offset) * 1000.0 / rate
    return np.stack([edges[:-1], edges[1:]], axis=1)
