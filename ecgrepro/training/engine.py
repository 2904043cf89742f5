"""The one place that starts Lightning Fabric: devices, processes, gathering, determinism."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from lightning.fabric import Fabric


@dataclass(frozen=True)
class Hardware:
    """Where a training runs; it is no part of a run's identity.

    Attributes
    ----------
    accelerator
        "auto", "cpu", "cuda" or "mps". On the CPU equal seeds give equal bytes.
    devices
        Processes, one a device. A batch is shared out among them, and losses that compare records
        are computed on the whole of it.
    strategy
        How Fabric starts processes: "auto", "ddp" (script), "ddp_fork" (notebook on CPU).
    """

    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"


class Processes(Protocol):
    """What `gather_with_grad` needs of Fabric."""

    @property
    def world_size(self) -> int:
        """Number of processes."""


def launch(hardware: Hardware, function: Callable[["Fabric"], None]) -> None:
    """Run `function(fabric)` on every device asked for.

    The function returns nothing: results go through the training folder, which all processes and
    the caller see, so nothing has to be sent back from a process.
    """
    from lightning.fabric import Fabric  # takes seconds: only who trains waits for it

    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # importing them sets INFO
    fabric = Fabric(
        accelerator=hardware.accelerator, devices=hardware.devices, strategy=hardware.strategy
    )
    fabric.launch(function)


class _Gather(torch.autograd.Function):
    """Concatenate unequal shards of all processes; gradients flow back to the shard's owner."""

    @staticmethod
    def forward(ctx: Any, shard: Tensor) -> Tensor:
        count = torch.tensor([len(shard)], device=shard.device)
        counts = [torch.zeros_like(count) for _ in range(dist.get_world_size())]
        dist.all_gather(counts, count)
        lengths = [int(value) for value in counts]
        padded = shard.new_zeros((max(lengths), *shard.shape[1:]))
        padded[: len(shard)] = shard
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        ctx.start = sum(lengths[: dist.get_rank()])
        ctx.count = len(shard)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.count]


def gather_with_grad(fabric: Processes, tensor: Tensor) -> Tensor:
    """Return the rows of all processes, differentiable; with one process, the tensor itself.

    A Cox or contrastive loss on each process's own records is another objective. Every process
    computes the loss of the whole batch from the gathered rows; the gradient that comes back is
    the sum over processes, and DistributedDataParallel's average over processes then makes it
    exactly the gradient of one process with the whole batch.

    Parameters
    ----------
    fabric
        Fabric, or anything with `world_size`.
    tensor
        (b, ...) rows of this process; b may differ between processes.

    Returns
    -------
    Tensor
        (B, ...) in order of process.
    """
    if fabric.world_size == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)
    return gathered


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
