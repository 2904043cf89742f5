"""Decoders from the latent back to 12 leads over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError
from ecgrepro.models.encoder import HALVINGS, check_length
from ecgrepro.models.layers import (
    RowNorm,
    TimeConv,
    doubling_conv,
    from_time_major,
    to_time_major,
)

LEADS = 12


class SubPixelUp(nn.Module):
    """Convolve, then interleave r groups of channels in time: ``(B, n_in, 1, N)`` to r N."""

    def __init__(self, n_in: int, n_out: int, kernel: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.conv = TimeConv(n_in, n_out * factor, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Upsample by the factor."""
        times = to_time_major(self.conv(x))  # (B, N, r n_out)
        return from_time_major(times.unflatten(2, (self.factor, -1)).flatten(1, 2))


class Decoder(nn.Module):
    """Latent to ECG by a linear layer and three sub-pixel convolutions (x2, x2, x8).

    Nothing forces the mean or the variance of a lead, so amplitude and offset can be learned (S-34).
    Sub-pixel convolutions compute at the coarse rate, which is what makes this fast on a CPU.

    Parameters
    ----------
    latent
        Width of the latent.
    length
        Samples T of the output, a multiple of 32.
    width
        Channels at the coarsest rate.
    """

    def __init__(self, latent: int = 512, length: int = 1024, width: int = 64) -> None:
        super().__init__()
        self.length = check_length(length)
        self.latent = latent
        self.width = width
        self.tokens = length >> HALVINGS
        self.project = nn.Linear(latent, width * self.tokens)
        self.up1 = SubPixelUp(width, width, 5, 2)
        self.norm1 = nn.BatchNorm2d(width)
        self.up2 = SubPixelUp(width, width, 5, 2)
        self.norm2 = nn.BatchNorm2d(width)
        self.up3 = SubPixelUp(width, LEADS, 5, 8)

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(B, latent)`` to ``(B, 12, T)``."""
        x = from_time_major(F.gelu(self.project(z)).view(-1, self.tokens, self.width))
        x = F.gelu(self.norm1(self.up1(x)))
        x = F.gelu(self.norm2(self.up2(x)))
        return self.up3(x).squeeze(2).contiguous()


class StudyUpBlock(nn.Module):
    """Double the rate (optional), then two conv - norm - LeakyReLU with a 1x1 skip, then GELU."""

    def __init__(self, n_in: int, n_out: int, upsample: bool) -> None:
        super().__init__()
        self.up = doubling_conv(n_in, n_in) if upsample else None
        self.conv1 = TimeConv(n_in, n_out, 5, bias=False)
        self.norm1 = RowNorm(n_out)
        self.conv2 = TimeConv(n_out, n_out, 5, bias=False)
        self.norm2 = RowNorm(n_out)
        self.skip = TimeConv(n_in, n_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(12 B, n_in, 1, N)`` to ``(12 B, n_out, 1, 2 N)`` (or N)."""
        if self.up is not None:
            x = self.up(x)
        main = F.leaky_relu(self.norm1(self.conv1(x)))
        main = F.leaky_relu(self.norm2(self.conv2(main)))
        return F.gelu(main + self.skip(x))


class StudyDecoder(nn.Module):
    """The study's decoder (STUDY.md section 3), leads apart and in the batch axis.

    It ends in an instance normalisation without parameters: every lead it gives has mean 0 and
    variance 1 over the padded window, so that it cannot reproduce a zeroed lead (S-34). Kept for
    comparison with the published network; inner normalisation is by lead, not by batch.
    """

    def __init__(self, latent: int = 512, length: int = 1024) -> None:
        super().__init__()
        self.length = check_length(length)
        self.latent = latent
        self.tokens = length >> HALVINGS
        bottleneck = 4 * self.tokens  # 128 at 1,024 samples, 76 at 608
        self.project = nn.Sequential(
            nn.Linear(latent, bottleneck), nn.Linear(bottleneck, LEADS * self.tokens * 4)
        )
        self.blocks = nn.Sequential(
            *[StudyUpBlock(4, 4, upsample=True) for _ in range(HALVINGS)],
            StudyUpBlock(4, 1, upsample=False),
        )
        self.gain = nn.Parameter(torch.ones(LEADS, 1))
        self.offset = nn.Parameter(torch.zeros(LEADS, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Map ``(B, latent)`` to ``(B, 12, T)``."""
        rows = from_time_major(self.project(z).view(-1, self.tokens, 4))
        x = self.blocks(rows).view(-1, LEADS, self.length)
        return F.layer_norm(self.gain * x + self.offset, (self.length,))


DECODERS = ("light", "study")


def build_decoder(kind: str = "light", *, latent: int = 512, length: int = 1024) -> nn.Module:
    """Make a decoder ``(B, latent)`` -> ``(B, 12, length)``.

    Parameters
    ----------
    kind
        ``"light"`` (`Decoder`, the default) or ``"study"`` (`StudyDecoder`).
    latent, length
        Width of the latent and samples of the output.

    Raises
    ------
    InputError
        Unknown kind, or a length that is not a multiple of 32.
    """
    if kind == "light":
        return Decoder(latent, length)
    if kind == "study":
        return StudyDecoder(latent, length)
    raise InputError(f'decoder "{kind}" is unknown: use one of {", ".join(DECODERS)}.')
