"""A residual one-dimensional CNN: the small, fast encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.models.encoder import Encoder
from ecgrepro.models.layers import time_conv


class ResidualBlock(nn.Module):
    """conv (stride 2) - norm - ReLU - conv - norm, plus an average-pooled 1x1 skip, then ReLU."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = time_conv(n_in, n_out, kernel, stride=2, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = time_conv(n_out, n_out, kernel, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.skip = time_conv(n_in, n_out, 1, bias=False)
        self.norm_skip = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_in, 1, N)`` to ``(B, n_out, 1, N / 2)``."""
        main = F.relu(self.norm1(self.conv1(x)))
        main = self.norm2(self.conv2(main))
        skip = self.norm_skip(self.skip(F.avg_pool2d(x, (1, 2))))
        return F.relu(main + skip)


class CNNEncoder(Encoder):
    """Residual CNN: stem with stride 4, three stride-2 blocks, average and maximum over time.

    The stride comes early because the cost of a convolution is proportional to the samples it sees;
    at 100 Hz a token of the last stage sees 2.8 s (a few beats) and steps by 0.32 s.

    Parameters
    ----------
    length
        Samples T of the input, a multiple of 32.
    latent
        Width of the latent, even.
    lead_scale
        Whether the voltages of the leads are an auxiliary input.
    widths
        Channels of the stem and of the first two blocks; the last has ``latent / 2``.
    """

    kind = "cnn"

    def __init__(
        self,
        *,
        length: int = 1024,
        latent: int = 512,
        lead_scale: bool = False,
        widths: tuple[int, int, int] = (32, 64, 128),
    ) -> None:
        super().__init__(length=length, latent=latent, lead_scale=lead_scale)
        stem, first, second = widths
        self.stem = time_conv(12, stem, 15, stride=4, bias=False)
        self.norm_stem = nn.BatchNorm2d(stem)
        self.blocks = nn.Sequential(
            ResidualBlock(stem, first, 7),
            ResidualBlock(first, second, 5),
            ResidualBlock(second, latent // 2, 3),
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")

    def encode(self, x: Tensor) -> Tensor:
        """Map ``(B, 12, T)`` to the pooled ``(B, latent)``."""
        x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        features = self.blocks(F.relu(self.norm_stem(self.stem(x))))
        return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
