"""The study's dual attention network: attention over time within each lead, and over leads.

Two variants of the stem exist (STUDY.md section 3, defects S-1 and S-2):

- ``lead_true`` (default): every convolution before the cross-lead attention is per lead, and channels
  keep their lead. Changing lead j changes temporal map j alone.
- ``mixing``: as published. The second convolution mixes all leads and the lead-major channels are then
  read as feature-major, so that "lead" slots do not denote leads. Kept for the audit only.

From the top: what every encoder shares, the network, its parts, and the layers they are made of.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError

LEADS = 12
HALVINGS = 5
"""Both encoders and decoders halve or double the time axis five times in all."""
STEM_WIDTH = 4
"""Filters per lead in the stem (the study's base feature dimension)."""
BLOCK_WIDTHS = (8, 16, 16, 16, 16)
HEADS = 8


class AttentionMaps(NamedTuple):
    """Attention averaged over heads; every row (query) sums to 1.

    lead
        ``(B, 12, 12)``: how much each lead reads from each lead.
    temporal
        ``(B, 12, T', T')``: within each lead, how much each of the T' = T / 32 time tokens reads from each.
    """

    lead: Tensor
    temporal: Tensor


class Encoder(nn.Module):
    """Base of the encoders: ``forward(x, scale=None, return_attention=False)`` -> latent.

    Attributes
    ----------
    length, latent, lead_scale
        As built; `length` is kept because the weights depend on it.
    """

    kind = "abstract"

    def __init__(self, *, length: int, latent: int, lead_scale: bool) -> None:
        super().__init__()
        if latent <= 0 or latent % 2:
            raise InputError(
                f"latent {latent} is not a positive even number: both encoders make it of two halves."
            )
        self.length = check_length(length)
        self.latent = latent
        self.lead_scale = lead_scale
        self.scale_branch = ScaleBranch(latent) if lead_scale else None

    def encode(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(B, latent)``, before the voltages are added."""
        raise NotImplementedError

    def encode_with_attention(self, x: Tensor) -> tuple[Tensor, AttentionMaps]:
        """Map ``(B, 12, T)`` to the latent and the attention maps, where the network has them."""
        raise InputError(
            f'the "{self.kind}" encoder has no attention maps: use build_encoder("dual_attention").'
        )

    def forward(
        self, x: Tensor, scale: Tensor | None = None, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, AttentionMaps]:
        """Encode ECGs.

        Parameters
        ----------
        x
            ``(B, 12, T)`` float, z-scored per lead, T as the encoder was built.
        scale
            ``(B, 12)`` standard deviation of each lead in mV. Read only by an encoder built with
            ``lead_scale=True``, which needs it.
        return_attention
            Also return `AttentionMaps` (dual attention only).

        Returns
        -------
        Tensor or (Tensor, AttentionMaps)
            Latent ``(B, latent)``, with the maps if asked.

        Raises
        ------
        InputError
            Wrong shape or length, a missing scale, or maps asked of a network without attention.
        """
        self._check(x, scale)
        maps = None
        if return_attention:
            z, maps = self.encode_with_attention(x)
        else:
            z = self.encode(x)
        if self.scale_branch is not None and scale is not None:
            z = z + self.scale_branch(scale)
        return z if maps is None else (z, maps)

    def _check(self, x: Tensor, scale: Tensor | None) -> None:
        if x.dim() != 3 or x.shape[1] != 12:
            raise InputError(f"ECG batch has shape {tuple(x.shape)}: give (B, 12, {self.length}).")
        if x.shape[2] != self.length:
            raise InputError(
                f"ECG batch has {x.shape[2]} samples but this encoder was built for "
                f"{self.length}: fit the signals to that length, or build an encoder for theirs."
            )
        if not self.lead_scale:
            return
        if scale is None:
            raise InputError(
                "this encoder was built with lead_scale=True: give the lead scales (B, 12) in mV."
            )
        if scale.shape != x.shape[:2]:
            raise InputError(
                f"lead scales have shape {tuple(scale.shape)}: give ({x.shape[0]}, 12) in mV."
            )


class DualAttentionEncoder(Encoder):
    """Stem, five residual blocks, temporal and cross-lead attention in parallel, two poolings.

    Parameters
    ----------
    length
        Samples T, a multiple of 32; the weights of the cross-lead attention (token width
        ``16 T / 32``) depend on it.
    latent
        Width of the latent, even.
    lead_scale
        Whether the voltages of the leads are an auxiliary input.
    stem
        ``"lead_true"`` or ``"mixing"`` (as published, with batch normalisation; for the audit).
    dropout
        Probability in both transformer layers.
    batchwise_dropout
        One dropout mask for the whole batch; see `BatchwiseDropout`.
    """

    kind = "dual_attention"

    def __init__(
        self,
        *,
        length: int = 1024,
        latent: int = 512,
        lead_scale: bool = False,
        stem: str = "lead_true",
        dropout: float = 0.2,
        batchwise_dropout: bool = False,
    ) -> None:
        super().__init__(length=length, latent=latent, lead_scale=lead_scale)
        if stem not in ("lead_true", "mixing"):
            raise InputError(f'stem "{stem}" is unknown: use "lead_true" or "mixing".')
        mixing = stem == "mixing"
        self.stem = Stem(lead_true=not mixing)
        widths = pairwise((STEM_WIDTH, *BLOCK_WIDTHS))
        self.blocks = nn.Sequential(*[LeadBlock(a, b, batch_norm=mixing) for a, b in widths])
        self.tokens = length >> HALVINGS
        self.width = BLOCK_WIDTHS[-1]
        lead_width = self.width * self.tokens
        self.temporal = StackedTransformerLayer(LEADS, self.width, HEADS, dropout)
        self.cross_lead = StackedTransformerLayer(1, lead_width, HEADS, dropout)
        times = sinusoidal_positions(self.tokens, self.width)
        leads = sinusoidal_positions(LEADS, lead_width)
        self.register_buffer("time_positions", times, persistent=False)
        self.register_buffer("lead_positions", leads, persistent=False)
        self.pool_mean = nn.Linear(LEADS * self.width, latent // 2)
        self.pool_max = nn.Linear(LEADS * self.width, latent // 2)
        for part in (*self.stem.modules(), *self.blocks.modules(), self.pool_mean, self.pool_max):
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)
        set_batchwise_dropout(self, batchwise_dropout)

    def lead_features(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(B, 12, 16, T / 32)``, the features before any attention.

        With the lead-true stem, slot l depends on lead l only: its Jacobian to other leads is exactly 0.
        """
        return self._streams(x).permute(1, 0, 3, 2)  # (12, B, T', 16) to (B, 12, 16, T')

    def encode(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(B, latent)``."""
        return self._attend_and_pool(self._streams(x), return_attention=False)[0]

    def encode_with_attention(self, x: Tensor) -> tuple[Tensor, AttentionMaps]:
        """Map ``(B, 12, T)`` to ``(B, latent)`` and the two kinds of map."""
        z, lead, temporal = self._attend_and_pool(self._streams(x), return_attention=True)
        assert lead is not None
        assert temporal is not None
        return z, AttentionMaps(lead=lead[0], temporal=temporal.transpose(0, 1))

    def _streams(self, x: Tensor) -> Tensor:
        """Return the features before attention as ``(12, B, T', 16)``: a stream a lead."""
        rows = self.blocks(self.stem(x))  # (12 B, 16, 1, T')
        return to_time_major(rows).unflatten(0, (x.shape[0], LEADS)).transpose(0, 1)

    def _attend_and_pool(
        self, streams: Tensor, return_attention: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        batch = streams.shape[1]
        in_time, temporal = self.temporal(streams, self.time_positions, return_attention)
        leads = streams.transpose(0, 1).reshape(1, batch, LEADS, -1)  # one stream of 12 tokens
        across, lead = self.cross_lead(leads, self.lead_positions, return_attention)
        across = across.view(batch, LEADS, self.tokens, self.width)
        merged = in_time.permute(1, 2, 0, 3) + across.transpose(1, 2)
        merged = merged.reshape(batch, self.tokens, LEADS * self.width)
        # The 1x1 convolutions are linear layers over time; the mean may be taken before its own.
        pooled = [self.pool_mean(merged.mean(dim=1)), self.pool_max(merged).amax(dim=1)]
        return torch.cat(pooled, dim=1), lead, temporal


class Stem(nn.Module):
    """Two convolutions over 48 lead-major channels, then one slot of 4 channels per lead.

    `lead_true`: both convolutions are per lead, and slot l holds the channels of lead l. Otherwise, for the
    audit, as published: the second convolution joins all leads (S-2) and the channels are read as
    (feature, lead), so that slot s takes channels s, 12 + s, 24 + s and 36 + s (S-1).
    """

    def __init__(self, lead_true: bool) -> None:
        super().__init__()
        width = LEADS * STEM_WIDTH
        self.lead_true = lead_true
        self.conv1 = TimeConv(LEADS, width, 5, groups=LEADS)
        self.norm1 = nn.GroupNorm(LEADS, width)
        self.conv2 = TimeConv(width, width, 5, groups=LEADS if lead_true else 1)
        self.norm2 = nn.GroupNorm(LEADS, width)

    def slots(self, channels: Tensor) -> Tensor:
        """Map ``(B, 48, 1, T)`` to ``(B, 12, T, 4)``."""
        times = to_time_major(channels)
        if self.lead_true:
            return times.unflatten(2, (LEADS, STEM_WIDTH)).transpose(1, 2)
        return times.unflatten(2, (STEM_WIDTH, LEADS)).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(12 B, 4, 1, T)``, channels last in memory."""
        x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        x = F.gelu(self.norm1(self.conv1(x)))
        slots = self.slots(F.gelu(self.norm2(self.conv2(x))))
        return from_time_major(slots.flatten(0, 1).contiguous())


class LeadBlock(nn.Module):
    """Residual block with kernels along time only, shared by all leads.

    conv (stride 2) - norm - LeakyReLU - conv - norm - LeakyReLU, plus max-pool and 1x1 convolution as
    skip, then GELU. Leads lie in the batch axis, so that no kernel can join them.

    With `batch_norm`, batch statistics normalise, as published; they mix leads and subjects while training.
    Otherwise each lead of each record is normalised on its own, over channels and time.
    """

    def __init__(self, n_in: int, n_out: int, batch_norm: bool = False) -> None:
        super().__init__()
        norms = [nn.BatchNorm2d(n_out) if batch_norm else RowNorm(n_out) for _ in range(2)]
        self.conv1 = TimeConv(n_in, n_out, 5, stride=2, bias=False)
        self.norm1 = norms[0]
        self.conv2 = TimeConv(n_out, n_out, 5, bias=False)
        self.norm2 = norms[1]
        self.skip = TimeConv(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(12 B, n_in, 1, N)`` to ``(12 B, n_out, 1, N / 2)``."""
        main = F.leaky_relu(self.norm1(self.conv1(x)))
        main = F.leaky_relu(self.norm2(self.conv2(main)))
        return F.gelu(main + self.skip(F.max_pool2d(x, (1, 2))))


class StackedTransformerLayer(nn.Module):
    """L independent pre-LN transformer layers, computed together.

    Each of the L layers attends within its own stream: ``x + attention(norm(x))`` followed by
    ``x + mlp(norm(x))`` (GELU), as in the study's temporal and cross-lead branches. With L = 1 it is
    an ordinary transformer layer. Dropout follows the positions, the attention and both layers of the MLP.
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


class BatchwiseDropout(nn.Module):
    """Dropout whose mask can be shared by the whole batch.

    Subjects of one Cox risk set are compared with each other, so they should be scored by the same
    sub-network: one Bernoulli mask over the features is drawn and used for every subject, scaled by
    1 / (1 - p) (the study's scheme, STUDY.md section 5). Without `batchwise` it is ordinary element-wise
    dropout: one class with a switch, so that a network has one dropout policy (`set_batchwise_dropout`).
    `batch_dim` is the axis of the subjects.
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


def to_time_major(x: Tensor) -> Tensor:
    """View ``(rows, C, 1, N)``, channels last in memory, as ``(rows, N, C)``."""
    return x.permute(0, 2, 3, 1).squeeze(1)


def from_time_major(x: Tensor) -> Tensor:
    """View ``(rows, N, C)`` as ``(rows, C, 1, N)``, channels last in memory."""
    return x.unsqueeze(1).permute(0, 3, 1, 2)


def sinusoidal_positions(count: int, width: int) -> Tensor:
    """Return the (count, width) sine and cosine position table of Vaswani et al. (2017)."""
    position = torch.arange(count, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    table = torch.zeros(count, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)[:, : width // 2]
    return table


def check_length(length: int) -> int:
    """Return `length` if it is a positive multiple of 32, else raise `InputError`."""
    step = 2**HALVINGS
    if length <= 0 or length % step:
        raise InputError(
            f"length {length} is not a positive multiple of {step}: pad or crop the signal to one "
            "(1,000 samples to 1,024; 600 to 608)."
        )
    return length
