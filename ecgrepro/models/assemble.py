"""Whole models: alignment with text, and risk; made from parts, with seeded weights."""

import copy
import difflib
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ecgrepro.errors import InputError
from ecgrepro.models.cnn import CNNEncoder
from ecgrepro.models.decoder import build_decoder
from ecgrepro.models.dual_attention import DualAttentionEncoder
from ecgrepro.models.encoder import Encoder
from ecgrepro.models.heads import ProjectionHead, RiskHead

ENCODERS = ("cnn", "dual_attention")


class AlignmentOutput(NamedTuple):
    """What `AlignmentModel` gives: ``(B, latent)``, ``(B, shared)`` twice, ``(B, 12, T)``."""

    z_ecg: Tensor
    e_ecg: Tensor
    e_text: Tensor
    reconstruction: Tensor


class RiskOutput(NamedTuple):
    """What `RiskModel` gives: ``(B,)``, ``(B, latent)``, ``(B, 12, T)``."""

    log_risk: Tensor
    z_ecg: Tensor
    reconstruction: Tensor


class AlignmentModel(nn.Module):
    """Encoder, decoder and the two projection heads of the alignment pretraining."""

    def __init__(
        self, encoder: Encoder, decoder: nn.Module, ecg_head: nn.Module, text_head: nn.Module
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.ecg_head = ecg_head
        self.text_head = text_head
        self.length = encoder.length

    def forward(self, x: Tensor, z_text: Tensor, scale: Tensor | None = None) -> AlignmentOutput:
        """Encode once; project and reconstruct from the same latent.

        Parameters
        ----------
        x
            ``(B, 12, T)`` z-scored (and possibly masked) ECGs.
        z_text
            ``(B, text_dim)`` text embeddings of the same records.
        scale
            ``(B, 12)`` lead scales in mV, for an encoder built with ``lead_scale=True``.
        """
        if z_text.dim() != 2 or z_text.shape[0] != x.shape[0]:
            raise InputError(
                f"z_text has shape {tuple(z_text.shape)} for {x.shape[0]} ECGs: give one row per ECG."
            )
        z = self.encoder(x, scale)
        return AlignmentOutput(z, self.ecg_head(z), self.text_head(z_text), self.decoder(z))


class RiskModel(nn.Module):
    """Encoder, decoder and risk head of the fine-tuning."""

    def __init__(self, encoder: Encoder, decoder: nn.Module, risk_head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.risk_head = risk_head
        self.length = encoder.length

    def forward(self, x: Tensor, scale: Tensor | None = None) -> RiskOutput:
        """Encode once (R-10); score and reconstruct from the same latent.

        Parameters
        ----------
        x
            ``(B, 12, T)`` z-scored (and possibly masked) ECGs.
        scale
            ``(B, 12)`` lead scales in mV, for an encoder built with ``lead_scale=True``.
        """
        z = self.encoder(x, scale)
        return RiskOutput(self.risk_head(z), z, self.decoder(z))


def unknown_choice(what: str, given: str, known: tuple[str, ...]) -> InputError:
    """Return an `InputError` that names the near matches of a mistyped choice."""
    near = difflib.get_close_matches(given, known, n=2, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f'{what} "{given}" is unknown: {hint}Known are {", ".join(known)}.')


def build_encoder(
    kind: str,
    *,
    length: int = 1024,
    latent: int = 512,
    lead_scale: bool = False,
) -> Encoder:
    """Make an encoder ``(B, 12, length)`` -> ``(B, latent)``.

    Parameters
    ----------
    kind
        ``"cnn"`` or ``"dual_attention"``.
    length
        Samples of the input, a multiple of 32.
    latent
        Width of the latent, even.
    lead_scale
        Whether the lead voltages that z-scoring erases are an auxiliary input.

    Raises
    ------
    InputError
        Unknown kind (the near matches are named), bad length or latent.
    """
    if kind == "cnn":
        return CNNEncoder(length=length, latent=latent, lead_scale=lead_scale)
    if kind == "dual_attention":
        return DualAttentionEncoder(length=length, latent=latent, lead_scale=lead_scale)
    raise unknown_choice("encoder", kind, ENCODERS)


def build_alignment_model(
    encoder_kind: str,
    *,
    text_dim: int = 768,
    shared: int = 512,
    length: int = 1024,
    latent: int = 512,
    lead_scale: bool = False,
    decoder_kind: str = "light",
    seed: int = 0,
) -> AlignmentModel:
    """Make an `AlignmentModel` whose weights depend on `seed` only.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AlignmentModel(
            build_encoder(encoder_kind, length=length, latent=latent, lead_scale=lead_scale),
            build_decoder(decoder_kind, latent=latent, length=length),
            ProjectionHead(latent, 256, shared),
            ProjectionHead(text_dim, 256, shared),
        )


def build_risk_model(
    encoder_kind: str,
    *,
    length: int = 1024,
    latent: int = 512,
    lead_scale: bool = False,
    decoder_kind: str = "light",
    hidden: int = 64,
    dropout: float = 0.25,
    seed: int = 0,
) -> RiskModel:
    """Make a `RiskModel` from scratch, whose weights depend on `seed` only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RiskModel(
            build_encoder(encoder_kind, length=length, latent=latent, lead_scale=lead_scale),
            build_decoder(decoder_kind, latent=latent, length=length),
            RiskHead(latent, hidden, dropout),
        )


def risk_model_from(
    alignment: AlignmentModel, *, hidden: int = 64, dropout: float = 0.25, seed: int = 0
) -> RiskModel:
    """Make a `RiskModel` with *copies* of a pretrained encoder and decoder and a fresh risk head.

    Copies, so that folds never share what one of them has learned (R-10).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = RiskHead(alignment.encoder.latent, hidden, dropout)
    return RiskModel(copy.deepcopy(alignment.encoder), copy.deepcopy(alignment.decoder), head)
