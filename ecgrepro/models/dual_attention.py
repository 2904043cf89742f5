"""The study's dual attention network: attention over time within each lead, and over leads.

Two variants of the stem exist (STUDY.md section 3, defects S-1 and S-2):

- ``lead_true`` (default): every convolution before the cross-lead attention is per lead, and channels
  keep their lead. Changing lead j changes temporal map j alone.
- ``mixing``: as published. The second convolution mixes all leads and the lead-major channels are then
  read as feature-major, so that "lead" slots do not denote leads. Kept for the audit only.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError
from ecgrepro.models.encoder import HALVINGS, AttentionMaps, Encoder
from ecgrepro.models.layers import (
    RowNorm,
    StackedTransformerLayer,
    TimeConv,
    from_time_major,
    set_batchwise_dropout,
    sinusoidal_positions,
    to_time_major,
)

LEADS = 12
STEM_WIDTH = 4
"""Filters per lead in the stem (the study's base feature dimension)."""
BLOCK_WIDTHS = (8, 16, 16, 16, 16)
HEADS = 8


class LeadBlock(nn.Module):
    """Residual block with kernels along time only, shared by all leads.

    conv (stride 2) - norm - LeakyReLU - conv - norm - LeakyReLU, plus max-pool and 1x1 convolution as
    skip, then GELU. Leads lie in the batch axis, so that no kernel can join them.

    Parameters
    ----------
    n_in, n_out
        Channels per lead.
    batch_norm
        Normalise with batch statistics, as published. Otherwise each lead of each record is normalised
        on its own, over channels and time: batch statistics mix leads and subjects while training.
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


class Stem(nn.Module):
    """Two convolutions over 48 lead-major channels, then one slot of 4 channels per lead.

    Parameters
    ----------
    lead_true
        True: both convolutions are per lead, and slot l holds the channels of lead l. False, for the
        audit: as published, the second convolution joins all leads (S-2) and the channels are read as
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
