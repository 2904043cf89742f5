"""Decoders, heads and whole models; made with seeded weights, kept as safetensors."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.models.cnn import CNNEncoder
from ecgrepro.models.dual_attention import (
    HALVINGS,
    LEADS,
    BatchwiseDropout,
    DualAttentionEncoder,
    Encoder,
    RowNorm,
    TimeConv,
    check_length,
    from_time_major,
    to_time_major,
)

ENCODERS: dict[str, type[Encoder]] = {"cnn": CNNEncoder, "dual_attention": DualAttentionEncoder}
DECODERS = ("light", "study")


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
        """Encode once, project and reconstruct; `x` and `scale` as in `Encoder`, `z_text` ``(B, text_dim)``."""
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
        """Encode once (R-10), score and reconstruct; `x` and `scale` as in `Encoder`."""
        z = self.encoder(x, scale)
        return RiskOutput(self.risk_head(z), z, self.decoder(z))


class GivenEncoder(Encoder):
    """A network of the reader's own, ``(B, 12, length)`` to ``(B, latent)``, as an encoder."""

    def __init__(self, network: nn.Module, **shape: Any) -> None:
        super().__init__(**shape)
        self.network = network
        self.kind = type(network).__name__

    def encode(self, x: Tensor) -> Tensor:
        """Call the network, and check what it gives."""
        z: Tensor = self.network(x)
        if z.shape != (len(x), self.latent):
            raise InputError(
                f"{self.kind} maps {tuple(x.shape)} to {tuple(z.shape)}: "
                f"let it give (B, {self.latent}), or say latent=... where the model is built."
            )
        return z


EncoderChoice = str | nn.Module | Callable[[], nn.Module]
"""A name in `ENCODERS`, a class (or function) that makes a network, or a network that is made."""


def build_encoder(
    encoder: EncoderChoice, *, length: int = 1024, latent: int = 512, lead_scale: bool = False
) -> Encoder:
    """Make an encoder ``(B, 12, length)`` -> ``(B, latent)``.

    Parameters
    ----------
    encoder
        ``"cnn"``, ``"dual_attention"``, or one of the reader's own: a class whose instances, made without
        arguments, are modules from z-scored ECGs ``(B, 12, length)`` to ``(B, latent)``, or such a module (of
        which a copy is used). A subclass of `Encoder` is made with ``length``, ``latent`` and ``lead_scale``.
    length
        Samples of the input, a multiple of 32.
    latent
        Width of the latent, even.
    lead_scale
        Whether the lead voltages that z-scoring erases are an auxiliary input; also to the reader's own.

    Raises
    ------
    InputError
        Unknown name, bad length or latent.
    """
    shape: dict[str, Any] = {"length": length, "latent": latent, "lead_scale": lead_scale}
    if isinstance(encoder, str):
        if encoder not in ENCODERS:
            raise InputError(f'encoder "{encoder}" is unknown: use {" or ".join(ENCODERS)}.')
        return ENCODERS[encoder](**shape)
    if isinstance(encoder, type) and issubclass(encoder, Encoder):
        return encoder(**shape)
    network: Any = copy.deepcopy(encoder if isinstance(encoder, nn.Module) else encoder())
    return network if isinstance(network, Encoder) else GivenEncoder(network, **shape)


def build_alignment_model(
    encoder: EncoderChoice,
    *,
    text_dim: int = 768,
    shared: int = 512,
    length: int = 1024,
    latent: int = 512,
    lead_scale: bool = False,
    decoder_kind: str = "light",
    seed: int = 0,
) -> AlignmentModel:
    """Make an `AlignmentModel` whose weights depend on `seed` only; for `encoder` see `build_encoder`.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AlignmentModel(
            build_encoder(encoder, length=length, latent=latent, lead_scale=lead_scale),
            build_decoder(decoder_kind, latent=latent, length=length),
            ProjectionHead(latent, 256, shared),
            ProjectionHead(text_dim, 256, shared),
        )


def build_risk_model(
    encoder: EncoderChoice,
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
            build_encoder(encoder, length=length, latent=latent, lead_scale=lead_scale),
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


def build_decoder(kind: str = "light", *, latent: int = 512, length: int = 1024) -> nn.Module:
    """Make a decoder ``(B, latent)`` -> ``(B, 12, length)``: "light" (`Decoder`) or "study" (`StudyDecoder`)."""
    if kind == "light":
        return Decoder(latent, length)
    if kind == "study":
        return StudyDecoder(latent, length)
    raise InputError(f'decoder "{kind}" is unknown: use one of {", ".join(DECODERS)}.')


class ProjectionHead(nn.Sequential):
    """Linear - ReLU - Linear into the space that ECGs and texts share.

    The study has ECG 512-256-128 and text 768-256-128; here the shared space has 512 dimensions by
    default. The output is not normalised: the losses do that.
    """

    def __init__(self, n_in: int, hidden: int = 256, out: int = 512) -> None:
        super().__init__(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, out))


class RiskHead(nn.Module):
    """Batch-wise dropout - Linear - ReLU - batch-wise dropout - Linear, giving one log hazard per subject.

    No last bias: a constant added to all log hazards changes nothing in a Cox model.
    """

    def __init__(self, n_in: int = 512, hidden: int = 64, dropout: float = 0.25) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_in)
        self.drop_in = BatchwiseDropout(dropout)
        self.hidden = nn.Linear(n_in, hidden)
        self.drop_hidden = BatchwiseDropout(dropout)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map the latent ``(B, n_in)`` to log hazards ``(B,)``: flat, never ``(B, 1)`` (R-1)."""
        hidden = self.hidden(self.drop_in(self.norm(z))).relu()
        return self.score(self.drop_hidden(hidden)).squeeze(-1)


class Decoder(nn.Module):
    """Latent to ECG by a linear layer and three sub-pixel convolutions (x2, x2, x8).

    Nothing forces the mean or the variance of a lead, so amplitude and offset can be learned (S-34).
    Sub-pixel convolutions compute at the coarse rate, which is what makes this fast on a CPU.
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


class StudyUpBlock(nn.Module):
    """Double the rate (optional), then two conv - norm - LeakyReLU with a 1x1 skip, then GELU."""

    def __init__(self, n_in: int, n_out: int, upsample: bool) -> None:
        super().__init__()
        self.up = None
        if upsample:
            self.up = nn.ConvTranspose2d(
                n_in, n_in, (1, 4), stride=(1, 2), padding=(0, 1), bias=False
            )
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


def save_weights(module: nn.Module, path: Path, config: dict[str, Any]) -> None:
    """Write all parameters and buffers of a module as safetensors, and how it was made.

    `config` is JSON-able, for example the arguments of the builder; a module's `length` is stored too, because
    weights depend on it (S-39).
    """
    described = dict(config)
    if isinstance(length := getattr(module, "length", None), int):
        described.setdefault("length", length)
    # One key only: safetensors writes several in arbitrary order, and equal weights must be equal bytes.
    metadata = {"config": json.dumps(described, sort_keys=True, allow_nan=False)}
    tensors = {name: tensor.contiguous().cpu() for name, tensor in module.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration stored in a weights file, without reading the weights."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("config", "{}"))
    except FileNotFoundError:
        raise InputError(f"weights {path} are missing: train first, or check the path.") from None
    except SafetensorError as error:
        raise InputError(
            f"weights {path} cannot be read ({error}): delete the file and train again."
        ) from None


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Load a file of `save_weights` into a module built like the one that was saved; return its configuration.

    A file that is missing or damaged, or made for another length or architecture, raises `InputError`.
    """
    config = read_config(path)
    length = getattr(module, "length", None)
    if length is not None and config.get("length", length) != length:
        raise InputError(
            f"weights {path} were made for {config['length']} samples but this model has "
            f"length {length}: build it with length={config['length']}."
        )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = module.state_dict()
    differing = sorted(
        name
        for name in wanted.keys() | tensors.keys()
        if name not in wanted or name not in tensors or wanted[name].shape != tensors[name].shape
    )
    if differing:
        raise InputError(
            f"weights {path} do not fit this model ({len(differing)} of {len(wanted)} tensors differ, "
            f"first {differing[0]}): build the model with the stored configuration {config}."
        )
    module.load_state_dict(tensors)
    return config


def load_alignment(path: Path, encoder: EncoderChoice | None = None) -> AlignmentModel:
    """Build the alignment model that a weights file describes, with those weights, in eval mode.

    Parameters
    ----------
    path
        Written by `save_weights` with ``encoder``, ``text_dim`` and ``lead_scale`` in its configuration.
    encoder
        Needed where it was the reader's own; see `build_encoder`.
    """
    made = read_config(path)
    model = build_alignment_model(
        encoder or made["encoder"], text_dim=made["text_dim"], lead_scale=made["lead_scale"]
    )
    load_weights(model, path)
    return model.eval()
