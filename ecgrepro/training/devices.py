"""Several devices that compute what one would: shared batches, gathered losses, joint batch statistics."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def open_devices(accelerator: str, devices: int) -> "Fabric":
    """Return Lightning Fabric. Processes are forks: functions made in a notebook cannot be sent to a new one."""
    from lightning.fabric import Fabric  # takes seconds: only who trains waits for it

    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # importing them sets INFO
    strategy = "auto" if devices == 1 else "ddp_fork"
    return Fabric(accelerator=accelerator, devices=devices, strategy=strategy)


def in_fork(train: Callable[["Fabric"], None]) -> Callable[["Fabric"], None]:
    """Hold a fork to one thread: it inherits OpenMP's locks but not its threads, and would wait for them for ever.

    It returns nothing: results go through files, which all processes and the caller see.
    """

    def function(fabric: "Fabric") -> None:
        torch.set_num_threads(1)
        train(fabric)

    return function


def share_of(fabric: Any, whole: Tensor) -> Tensor:
    """Return this process's rows of a batch, on its device."""
    mine: Tensor = whole[fabric.global_rank :: fabric.world_size].to(fabric.device)
    return mine


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


def gather_with_grad(fabric: Any, tensor: Tensor) -> Tensor:
    """Return the rows of all processes, differentiable; with one process, the tensor itself.

    A Cox or contrastive loss on each process's own records is another objective. Every process
    computes the loss of the whole batch from the gathered rows; the gradient that comes back is
    the sum over processes, and DistributedDataParallel's average over processes then makes it
    exactly the gradient of one process with the whole batch.
    Rows (b, ...) become (B, ...) in order of process; b may differ between processes.
    """
    if fabric.world_size == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor)
    return gathered


def joint_statistics(model: nn.Module, fabric: Any) -> None:
    """Let batch normalisations use the whole batch, where several processes hold a share of it each."""
    for part in model.modules() if fabric.world_size > 1 else []:
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            object.__setattr__(part, "forward", _joint_forward(part, fabric))


def _joint_forward(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, fabric: Any
) -> Callable[[Tensor], Tensor]:
    alone = norm.forward

    def forward(x: Tensor) -> Tensor:
        if not norm.training or norm.running_mean is None or norm.running_var is None:
            return alone(x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        wide = x.double()
        sums = torch.stack(
            [torch.ones_like(wide).sum(axes), wide.sum(axes), wide.square().sum(axes)]
        )
        count, total, squares = gather_with_grad(fabric, sums[None]).sum(dim=0)
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            momentum = norm.momentum or 0.1
            unbiased = variance * count / (count - 1)
            norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
            norm.running_var.lerp_(unbiased.to(norm.running_var), momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked += 1
        shape = [1, -1, *[1] * (x.dim() - 2)]
        gain = norm.weight / (variance + norm.eps).sqrt().to(x.dtype)
        return (x - mean.to(x.dtype).view(shape)) * gain.view(shape) + norm.bias.view(shape)

    return forward
