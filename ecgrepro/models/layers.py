"""Building blocks: batch-wise dropout, sinusoidal positions, pre-LN attention, leads computed together."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError


def _scaled_mask(shape: list[int], p: float, like: Tensor) -> Tensor:
    """Return a mask of 0 with probability `p`, else 1 / (1 - p), from the global torch generator.

    On a CPU a 64-bit draw is cut into four 16-bit ones, which is several times faster than a Bernoulli draw
    an element; `p` is then rounded to 1 / 65536, and the scale is that of the rounded value.
    """
    if like.device.type != "cpu":
        keep = torch.empty(shape, device=like.device, dtype=like.dtype).bernoulli_(1.0 - p)
        return keep / (1.0 - p)
    count = math.prod(shape)
    drop = round(p * 65_536)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[:count] >= drop - 32_768
    return kept.view(shape) * torch.tensor(65_536 / (65_536 - drop), dtype=like.dtype)


class BatchwiseDropout(nn.Module):
    """Dropout whose mask can be shared by the whole batch.

    Subjects of one Cox risk set are compared with each other, so they should be scored by the same
    sub-network: one Bernoulli mask over the features is drawn and used for every subject, scaled by
    1 / (1 - p) (the study's scheme, STUDY.md section 5).

    Parameters
    ----------
    p
        Probability of dropping a feature.
    batch_dim
        The axis of the subjects (0 for ``(B, features)``).
    batchwise
        True: one mask for all subjects. False: ordinary element-wise dropout. It is one class with a
        switch, so that a network has one dropout policy (`set_batchwise_dropout`).
    """

    def __init__(self, p: float = 0.25, batch_dim: int = 0, batchwise: bool = True) -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise InputError(f"dropout probability {p} is not in [0, 1).")
        self.p = p
        self.batch_dim = batch_dim
        self.batchwise = batchwise

    def forward(self, x: Tensor) -> Tensor:
        """Drop features in training mode; the identity in eval mode."""
        if not self.training or self.p == 0.0:
            return x
        shape = list(x.shape)
        if self.batchwise:
            shape[self.batch_dim] = 1
        return x * _scaled_mask(shape, self.p, x)

    def extra_repr(self) -> str:
        """Show the settings in the printed network."""
        return f"p={self.p}, batch_dim={self.batch_dim}, batchwise={self.batchwise}"


def set_batchwise_dropout(module: nn.Module, batchwise: bool) -> None:
    """Switch every dropout of a network between one mask a batch and one mask an element."""
    for part in module.modules():
        if isinstance(part, BatchwiseDropout):
            part.batchwise = batchwise


class TimeConv(nn.Conv2d):
    """Convolution along time of ``(rows, n_in, 1, N)``, padded to keep N (or N / stride).

    Two-dimensional with one row, because only then does PyTorch know the channels-last memory format, in
    which narrow convolutions are two to three times faster on a CPU (``benchmarks/encoders.py``).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        pad = (0, kernel // 2)
        super().__init__(n_in, n_out, (1, kernel), (1, stride), pad, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; one channel alone is given the strides that select the fast kernel."""
        if self.in_channels == 1:
            x = from_time_major(x.reshape(x.shape[0], -1, 1))
        return super().forward(x)


def doubling_conv(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution (kernel 4) that doubles N of ``(rows, n_in, 1, N)``."""
    return nn.ConvTranspose2d(n_in, n_out, (1, 4), stride=(1, 2), padding=(0, 1), bias=False)


def to_time_major(x: Tensor) -> Tensor:
    """View ``(rows, C, 1, N)``, channels last in memory, as ``(rows, N, C)``."""
    return x.permute(0, 2, 3, 1).squeeze(1)


def from_time_major(x: Tensor) -> Tensor:
    """View ``(rows, N, C)`` as ``(rows, C, 1, N)``, channels last in memory."""
    return x.unsqueeze(1).permute(0, 3, 1, 2)


class RowNorm(nn.Module):
    """Group normalisation with one group of ``(rows, C, 1, N)``: each lead of each record on its own.

    The same as ``nn.GroupNorm(1, C)``, which is slow for few channels in the channels-last format; a
    layer normalisation over the row is not.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over channels and time, then scale each channel."""
        rows = to_time_major(x)
        shape = rows.shape[1:]
        weight, bias = self.weight.expand(shape), self.bias.expand(shape)
        return from_time_major(F.layer_norm(rows, shape, weight, bias))


def sinusoidal_positions(count: int, width: int) -> Tensor:
    """Return the (count, width) sine and cosine position table of Vaswani et al. (2017)."""
    position = torch.arange(count, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table = torch.zeros(count, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : width // 2]
    return table


class StackedLinear(nn.Module):
    """L linear layers with their own weights, applied in one batched matrix product.

    Weight ``(L, in, out)``, bias ``(L, 1, out)``; input ``(L, ..., in)``, output ``(L, ..., out)``.
    """

    def __init__(self, layers: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layers, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(layers, 1, n_out))
        bound = math.sqrt(6.0 / (n_in + n_out))  # Xavier uniform of each layer on its own
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Apply layer l to slice l."""
        flat = x.reshape(x.shape[0], -1, x.shape[-1])
        return torch.baddbmm(self.bias, flat, self.weight).view(*x.shape[:-1], -1)


class StackedLayerNorm(nn.Module):
    """L layer normalisations over the last axis of ``(L, ..., width)``, each with its own gain and offset."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(layers, width))
        self.bias = nn.Parameter(torch.zeros(layers, width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every token, then scale and shift by its layer's own parameters."""
        shape = (x.shape[0],) + (1,) * (x.dim() - 2) + (x.shape[-1],)
        normal = F.layer_norm(x, x.shape[-1:])
        return torch.addcmul(self.bias.view(shape), normal, self.weight.view(shape))


class StackedTransformerLayer(nn.Module):
    """L independent pre-LN transformer layers, computed together.

    Each of the L layers attends within its own stream: ``x + attention(norm(x))`` followed by
    ``x + mlp(norm(x))`` (GELU), as in the study's temporal and cross-lead branches. With L = 1 it is
    an ordinary transformer layer.

    Parameters
    ----------
    layers
        Number of independent streams L.
    width
        Token width, a multiple of `heads`.
    heads
        Attention heads.
    dropout
        Probability after the positions, after the attention and in the MLP.
    """

    def __init__(self, layers: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = StackedLayerNorm(layers, width)
        self.qkv = StackedLinear(layers, width, 3 * width)
        self.out = StackedLinear(layers, width, width)
        self.norm_mlp = StackedLayerNorm(layers, width)
        self.expand = StackedLinear(layers, width, 4 * width)
        self.reduce = StackedLinear(layers, 4 * width, width)
        self.drop_position = BatchwiseDropout(dropout, batch_dim=1, batchwise=False)
        self.drop_attention = BatchwiseDropout(dropout, batch_dim=1, batchwise=False)
        self.drop_hidden = BatchwiseDropout(dropout, batch_dim=1, batchwise=False)
        self.drop_mlp = BatchwiseDropout(dropout, batch_dim=1, batchwise=False)

    def forward(
        self, x: Tensor, positions: Tensor, return_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the transformed tokens and, if asked, the attention averaged over heads.

        Parameters
        ----------
        x
            ``(L, B, N, width)``: L streams, B subjects, N tokens.
        positions
            ``(N, width)`` table added to every stream.
        return_attention
            Also return the softmax weights ``(L, B, N, N)``, rows (queries) summing to 1.
        """
        x = self.drop_position(x + positions)
        mixed, attention = self._attend(self.norm_attention(x), return_attention)
        x = x + self.drop_attention(self.out(mixed))
        hidden = self.drop_hidden(F.gelu(self.expand(self.norm_mlp(x))))
        return x + self.drop_mlp(self.reduce(hidden)), attention

    def _attend(self, x: Tensor, return_attention: bool) -> tuple[Tensor, Tensor | None]:
        layers, batch, tokens, width = x.shape
        qkv = self.qkv(x).view(layers * batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (L*B, heads, N, width / heads)
        if return_attention:
            score = query @ key.transpose(-1, -2) / math.sqrt(width // self.heads)
            weight = score.softmax(dim=-1)
            mixed = weight @ value
            attention = weight.mean(dim=1).view(layers, batch, tokens, tokens)
        else:
            mixed, attention = F.scaled_dot_product_attention(query, key, value), None
        return mixed.transpose(1, 2).reshape(layers, batch, tokens, width), attention


class ScaleBranch(nn.Module):
    """Turn the voltages that z-scoring erased back into a latent contribution.

    The per-lead standard deviations (mV) are log-transformed, centred and scaled by fixed constants
    (typical of PTB-XL; a flat lead counts as 0.01 mV), and passed through a small MLP.
    """

    TYPICAL_MV = 0.15
    LOG_SPREAD = 0.6
    FLOOR_MV = 0.01

    def __init__(self, latent: int, hidden: int = 64) -> None:
        super().__init__()
        self.expand = nn.Linear(12, hidden)
        self.project = nn.Linear(hidden, latent)

    def forward(self, scale: Tensor) -> Tensor:
        """Map lead scales ``(B, 12)`` in mV to ``(B, latent)``."""
        log_scale = torch.log(scale.clamp(min=self.FLOOR_MV) / self.TYPICAL_MV) / self.LOG_SPREAD
        return self.project(F.gelu(self.expand(log_scale)))
