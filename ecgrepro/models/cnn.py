"""A residual one-dimensional CNN: the small, fast encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError
from ecgrepro.models.dual_attention import HALVINGS, Encoder, TimeConv


class ResidualBlock(nn.Module):
    """conv (stride 2) - norm - ReLU - conv - norm, plus an average-pooled 1x1 skip, then ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = TimeConv(n_in, n_out, kernel, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = TimeConv(n_out, n_out, kernel, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.skip = TimeConv(n_in, n_out, 1, bias=False)
        self.norm_skip = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_in, 1, N)`` to ``(B, n_out, 1, N / 2)``."""
        main = F.relu(self.norm1(self.conv1(x)))
        main = self.norm2(self.conv2(main))
        skip = self.norm_skip(self.skip(F.avg_pool2d(x, (1, 2))))
        return F.relu(main + skip)


class CNNEncoder(Encoder):
    """Residual CNN whose latent says both what is in the record and where.

    A stem with stride 4 and three stride-2 blocks give 256 channels at T / 32 tokens. Half of the latent
    comes from their average and maximum over time, which is what a diagnosis needs; the other
    half from the tokens in their order, without which no decoder can place a beat: with pooling alone the
    reconstruction error of real 10-second strips stays at the variance of the signal.

    The strides come early because the cost of a convolution is proportional to the samples it sees;
    at 100 Hz a token sees 2.8 s (a few beats) and steps by 0.32 s. Parameters as in `Encoder`.
    """

    kind = "cnn"
    WIDTHS = (32, 64, 128, 256)

    def __init__(self, *, length: int = 1024, latent: int = 512, lead_scale: bool = False) -> None:
        super().__init__(length=length, latent=latent, lead_scale=lead_scale)
        stem, first, second, last = self.WIDTHS
        self.stem = TimeConv(12, stem, 15, stride=4, bias=False)
        self.norm_stem = nn.BatchNorm2d(stem)
        self.blocks = nn.Sequential(
            ResidualBlock(stem, first, 7),
            ResidualBlock(first, second, 5),
            ResidualBlock(second, last, 3),
        )
        tokens = length >> HALVINGS
        channels = max(1, latent // (2 * tokens))  # 8 at 1,024 samples and a latent of 512
        if latent <= channels * tokens:
            raise InputError(
                f"latent {latent} is too narrow for {tokens} tokens: use a shorter length than "
                f"{length} or a wider latent."
            )
        self.where = TimeConv(last, channels, 1)
        self.what = nn.Linear(2 * last, latent - channels * tokens)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def encode(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to ``(B, latent)``."""
        x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        tokens = self.blocks(F.relu(self.norm_stem(self.stem(x))))  # (B, 256, 1, T / 32)
        pooled = torch.cat([tokens.mean(dim=(2, 3)), tokens.amax(dim=(2, 3))], dim=1)
        return torch.cat([self.what(pooled), self.where(tokens).flatten(1)], dim=1)
