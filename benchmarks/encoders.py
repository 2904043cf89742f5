"""How fast the networks train on a CPU, and what computing all leads together buys.

Prints, in one run and under the same settings:

- forward + backward of the dual attention auto-encoder (batch 64 x 12 x 1024) against the same network
  written as a Python loop over leads, with the same weights and equal outputs;
- records per second of the CNN auto-encoder (batch 128).

Each is measured with and without the glibc settings that `make` exports, because returning large
tensors to the kernel at every step costs page faults. Run: ``python benchmarks/encoders.py``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.models import (
    DualAttentionEncoder,
    StudyDecoder,
    build_decoder,
    build_encoder,
)
from ecgrepro.models.assemble import StudyUpBlock
from ecgrepro.models.dual_attention import (
    LEADS,
    LeadBlock,
    RowNorm,
    StackedTransformerLayer,
    Stem,
)

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "1073741824",
}


def one_dimensional(ours: nn.Conv2d | nn.ConvTranspose2d, lead: int | None = None) -> nn.Module:
    """Make the 1-D convolution with the weights of one of ours (of one of its lead groups)."""
    weight = ours.weight.detach().squeeze(2)
    bias = None if ours.bias is None else ours.bias.detach()
    if lead is not None:
        per_lead = len(weight) // LEADS
        weight = weight[lead * per_lead : (lead + 1) * per_lead]
        bias = None if bias is None else bias[lead * per_lead : (lead + 1) * per_lead]
    if isinstance(ours, nn.ConvTranspose2d):
        conv: nn.Module = nn.ConvTranspose1d(
            weight.shape[0], weight.shape[1], 4, stride=2, padding=1, bias=False
        )
    else:
        n_out, n_in, kernel = weight.shape
        stride, padding = ours.stride[1], kernel // 2
        conv = nn.Conv1d(n_in, n_out, kernel, stride, padding, bias=bias is not None)
    conv.weight = nn.Parameter(weight.clone())
    if bias is not None:
        conv.bias = nn.Parameter(bias.clone())
    return conv


def norm_of(ours: nn.GroupNorm | RowNorm, lead: int | None = None) -> nn.GroupNorm:
    """Make the group normalisation of one lead."""
    channels = len(ours.weight) if lead is None else len(ours.weight) // LEADS
    part = slice(None) if lead is None else slice(lead * channels, (lead + 1) * channels)
    norm = nn.GroupNorm(1, channels)
    norm.weight = nn.Parameter(ours.weight[part].detach().clone())
    norm.bias = nn.Parameter(ours.bias[part].detach().clone())
    return norm


class LoopStem(nn.Module):
    """Stem of one lead: ``(B, 1, T)`` to ``(B, 4, T)``."""

    def __init__(self, ours: Stem, lead: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            one_dimensional(ours.conv1, lead),
            norm_of(ours.norm1, lead),
            nn.GELU(),
            one_dimensional(ours.conv2, lead),
            norm_of(ours.norm2, lead),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Filter one lead."""
        return self.net(x)


class LoopBlock(nn.Module):
    """Residual block (halving or doubling) as one would write it for one lead."""

    def __init__(self, ours: LeadBlock | StudyUpBlock) -> None:
        super().__init__()
        up = getattr(ours, "up", None)
        self.up = one_dimensional(up) if up is not None else nn.Identity()
        self.halve = nn.MaxPool1d(2) if isinstance(ours, LeadBlock) else nn.Identity()
        self.main = nn.Sequential(
            one_dimensional(ours.conv1),
            norm_of(ours.norm1),
            nn.LeakyReLU(),
            one_dimensional(ours.conv2),
            norm_of(ours.norm2),
            nn.LeakyReLU(),
        )
        self.skip = one_dimensional(ours.skip)

    def forward(self, x: Tensor) -> Tensor:
        """Main path plus skip."""
        x = self.up(x)
        return F.gelu(self.main(x) + self.skip(self.halve(x)))


class LoopTransformer(nn.Module):
    """One pre-LN transformer layer made of PyTorch's own modules."""

    def __init__(self, ours: StackedTransformerLayer, lead: int) -> None:
        super().__init__()
        width = ours.qkv.weight.shape[1]
        drop = ours.drop_mlp.p
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, ours.heads, batch_first=True)
        self.expand, self.reduce = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop = nn.Dropout(drop)
        copies = [
            (self.norm1, ours.norm_attention.weight[lead], ours.norm_attention.bias[lead]),
            (self.norm2, ours.norm_mlp.weight[lead], ours.norm_mlp.bias[lead]),
            (self.expand, ours.expand.weight[lead].T, ours.expand.bias[lead, 0]),
            (self.reduce, ours.reduce.weight[lead].T, ours.reduce.bias[lead, 0]),
            (self.attention.out_proj, ours.out.weight[lead].T, ours.out.bias[lead, 0]),
        ]
        for module, weight, bias in copies:
            module.weight = nn.Parameter(weight.detach().contiguous())
            module.bias = nn.Parameter(bias.detach().clone())
        self.attention.in_proj_weight = nn.Parameter(ours.qkv.weight[lead].T.detach().contiguous())
        self.attention.in_proj_bias = nn.Parameter(ours.qkv.bias[lead, 0].detach().clone())

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Attend over the tokens of ``(B, N, width)``."""
        x = self.drop(x + positions)
        normal = self.norm1(x)
        x = x + self.drop(self.attention(normal, normal, normal, need_weights=False)[0])
        return x + self.drop(self.reduce(self.drop(F.gelu(self.expand(self.norm2(x))))))


class LoopEncoder(nn.Module):
    """`DualAttentionEncoder` (lead-true) with every per-lead stage in a Python loop over leads."""

    def __init__(self, ours: DualAttentionEncoder) -> None:
        super().__init__()
        self.stems = nn.ModuleList(LoopStem(ours.stem, lead) for lead in range(LEADS))
        self.blocks = nn.Sequential(*[LoopBlock(block) for block in ours.blocks])
        self.temporal = nn.ModuleList(LoopTransformer(ours.temporal, i) for i in range(LEADS))
        self.cross_lead = LoopTransformer(ours.cross_lead, 0)
        self.pool_mean = nn.Linear(ours.pool_mean.in_features, ours.pool_mean.out_features)
        self.pool_max = nn.Linear(ours.pool_max.in_features, ours.pool_max.out_features)
        self.pool_mean.load_state_dict(ours.pool_mean.state_dict())
        self.pool_max.load_state_dict(ours.pool_max.state_dict())
        self.register_buffer("time_positions", ours.time_positions.clone())
        self.register_buffer("lead_positions", ours.lead_positions.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to the latent."""
        features, in_time = [], []
        for lead in range(LEADS):
            tokens = self.blocks(self.stems[lead](x[:, lead : lead + 1])).transpose(1, 2)
            features.append(tokens)
            in_time.append(self.temporal[lead](tokens, self.time_positions))
        leads = torch.stack(features, dim=1)  # (B, 12, T', 16)
        across = self.cross_lead(leads.flatten(2), self.lead_positions).view_as(leads)
        merged = (torch.stack(in_time, dim=1) + across).transpose(1, 2).flatten(2)
        return torch.cat([self.pool_mean(merged).mean(1), self.pool_max(merged).amax(1)], dim=1)


class LoopDecoder(nn.Module):
    """`StudyDecoder` with its blocks in a Python loop over leads."""

    def __init__(self, ours: StudyDecoder) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
        for mine, its in zip(self.project, ours.project, strict=True):
            mine.weight = nn.Parameter(its.weight.detach().clone())
            mine.bias = nn.Parameter(its.bias.detach().clone())
        self.blocks = nn.Sequential(*[LoopBlock(block) for block in ours.blocks])
        self.gain = nn.Parameter(ours.gain.detach().clone())
        self.offset = nn.Parameter(ours.offset.detach().clone())
        self.norm = nn.InstanceNorm1d(LEADS)

    def forward(self, z: Tensor) -> Tensor:
        """Map the latent to ``(B, 12, T)``."""
        tokens = self.project(z).view(z.shape[0], LEADS, -1, 4).transpose(2, 3)  # (B, 12, 4, T')
        leads = [self.blocks(tokens[:, lead]) for lead in range(LEADS)]
        return self.norm(self.gain * torch.cat(leads, dim=1) + self.offset)


def alternate(steps: list[Callable[[], None]], repeats: int) -> list[list[float]]:
    """Time the steps in turn, so that a busy machine hurts them alike; seconds by step."""
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(repeats + 2):
        for which, step in enumerate(steps):
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first turns warm up
                seconds[which].append(time.perf_counter() - start)
    return seconds


def train_step(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a function that runs forward and backward of the mean squared reconstruction error."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        F.mse_loss(model(x), x).backward()

    return step


def measure(repeats: int) -> None:
    """Print the figures of this process."""
    torch.manual_seed(0)
    encoder, decoder = DualAttentionEncoder(), StudyDecoder()
    ours = nn.Sequential(encoder, decoder)
    loop = nn.Sequential(LoopEncoder(encoder), LoopDecoder(decoder))
    parts = nn.Sequential(ours[0], decoder), nn.Sequential(loop[0], decoder)
    x = torch.randn(64, LEADS, 1024)
    with torch.inference_mode():
        difference = (ours.eval()(x) - loop.eval()(x)).abs().max().item()
    parameters = sum(p.numel() for p in ours.parameters())
    for model in (ours, loop):
        model.train()
    rows = alternate([train_step(m, x) for m in (ours, loop, parts[1])], repeats)
    together, looped, half = (1e3 * min(row) for row in rows)
    medians = [1e3 * statistics.median(row) for row in rows]
    print(
        f"  dual attention auto-encoder, {parameters:,} parameters, largest difference {difference:.1e}"
    )
    print(f"    leads together       {together:7.0f} ms (median {medians[0]:.0f})")
    print(
        f"    loop over leads      {looped:7.0f} ms (median {medians[1]:.0f}): "
        f"ratio {together / looped:.2f} (of medians {medians[0] / medians[1]:.2f})"
    )
    print(f"    loop in encoder only {half:7.0f} ms: ratio {together / half:.2f}")

    x = torch.randn(128, LEADS, 1024)
    cnn = nn.Sequential(build_encoder("cnn"), build_decoder("light"))
    dual = nn.Sequential(build_encoder("dual_attention"), build_decoder("light"))
    fast, slow = (min(row) for row in alternate([train_step(m, x) for m in (cnn, dual)], repeats))
    print(f"  cnn + light decoder             {128 / fast:7.0f} records/s")
    print(f"  dual attention + light decoder  {128 / slow:7.0f} records/s")


def main() -> None:
    """Run the measurements in two fresh processes, with and without the allocator settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        torch.set_num_threads(options.threads)
        measure(options.repeats)
        return
    for name, extra in (("allocator keeps memory (as make sets it)", MALLOC), ("plain", {})):
        print(f"{name}, {options.threads} threads, torch {torch.__version__}", flush=True)
        environment = {k: v for k, v in os.environ.items() if k not in MALLOC} | extra
        command = [sys.executable, __file__, "--here"]
        command += [f"--repeats={options.repeats}", f"--threads={options.threads}"]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
