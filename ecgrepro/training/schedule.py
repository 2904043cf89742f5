"""Learning rate by step, and one independent random stream for each step of each epoch.

Nothing random in training depends on what happened before: every draw comes from a seed made of
(seed, epoch, step, stream). So a run that was killed and resumed draws what an uninterrupted one
draws, without storing any generator state.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ecgrepro.errors import InputError

if TYPE_CHECKING:
    from ecgrepro.training.finetune import FinetuneConfig
    from ecgrepro.training.pretrain import PretrainConfig

STREAMS = ("order", "mask", "network")
"""What is drawn in a step: order of records, input masks, and dropout inside the network."""


def derived_seed(seed: int, epoch: int, step: int, stream: str, rank: int = 0) -> int:
    """Return a 63-bit seed that is a fixed function of its arguments.

    Parameters
    ----------
    seed
        Seed of the run, not negative.
    epoch, step
        Position in the run; order of records uses step 0.
    stream
        One of `STREAMS`, so that two uses of randomness in one step are independent.
    rank
        Number of the process, so that two processes mask differently.
    """
    words = [seed, epoch, step, STREAMS.index(stream), rank]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def step_generator(seed: int, epoch: int, step: int, stream: str, rank: int = 0) -> torch.Generator:
    """Return a CPU `torch.Generator` seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, step, stream, rank))


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: linear rise, then cosine to 0.

    Parameters
    ----------
    step
        0 ... total - 1.
    total
        Number of steps in the run.
    warmup
        Share of the steps that rise linearly, 0 <= warmup < 1 (the study: 0.2).

    Returns
    -------
    float
        In (0, 1]; 1 at the end of the rise, near 0 at the last step.
    """
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))


def check_optimizer_settings(config: "PretrainConfig | FinetuneConfig") -> None:
    """Raise `InputError` for settings no run can start with."""
    if config.epochs < 1:
        raise InputError(f"epochs is {config.epochs}: give at least 1.")
    if config.batch_size < 2:
        raise InputError(
            f"batch_size is {config.batch_size}: give at least 2, a loss compares records."
        )
    if not config.learning_rate > 0:
        raise InputError(f"learning_rate is {config.learning_rate}: give a number above 0.")
    if not 0 <= config.warmup < 1:
        raise InputError(f"warmup is {config.warmup}: give a share of the steps in [0, 1).")
    if config.seed < 0:
        raise InputError(f"seed is {config.seed}: give a number that is not negative.")
    if config.patience is not None and config.patience < 1:
        raise InputError(f"patience is {config.patience}: give at least 1, or None.")
