"""What every encoder shares: its checked input, its maps, and the optional voltage input."""

from typing import NamedTuple

from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.models.layers import ScaleBranch

HALVINGS = 5
"""Both encoders and decoders halve or double the time axis five times in all."""


class AttentionMaps(NamedTuple):
    """Attention averaged over heads; every row (query) sums to 1.

    lead
        ``(B, 12, 12)``: how much each lead reads from each lead.
    temporal
        ``(B, 12, T', T')``: within each lead, how much each of the T' = T / 32 time tokens reads from each.
    """

    lead: Tensor
    temporal: Tensor


def check_length(length: int) -> int:
    """Return `length` if it is a positive multiple of 32, else raise `InputError`."""
    step = 2**HALVINGS
    if length <= 0 or length % step:
        raise InputError(
            f"length {length} is not a positive multiple of {step}: pad or crop the signal to one "
            "(1,000 samples to 1,024; 600 to 608)."
        )
    return length


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
