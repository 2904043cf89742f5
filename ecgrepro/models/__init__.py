"""Encoders, decoders and heads as plain `nn.Module`s; no losses, no training."""

from ecgrepro.models.assemble import (
    ENCODERS,
    AlignmentModel,
    AlignmentOutput,
    RiskModel,
    RiskOutput,
    build_alignment_model,
    build_encoder,
    build_risk_model,
    risk_model_from,
)
from ecgrepro.models.cnn import CNNEncoder
from ecgrepro.models.decoder import DECODERS, Decoder, StudyDecoder, build_decoder
from ecgrepro.models.dual_attention import DualAttentionEncoder
from ecgrepro.models.encoder import AttentionMaps, Encoder
from ecgrepro.models.heads import ProjectionHead, RiskHead
from ecgrepro.models.layers import BatchwiseDropout, set_batchwise_dropout
from ecgrepro.models.weights import load_weights, read_config, save_weights

__all__ = [
    "DECODERS",
    "ENCODERS",
    "AlignmentModel",
    "AlignmentOutput",
    "AttentionMaps",
    "BatchwiseDropout",
    "CNNEncoder",
    "Decoder",
    "DualAttentionEncoder",
    "Encoder",
    "ProjectionHead",
    "RiskHead",
    "RiskModel",
    "RiskOutput",
    "StudyDecoder",
    "build_alignment_model",
    "build_decoder",
    "build_encoder",
    "build_risk_model",
    "load_weights",
    "read_config",
    "risk_model_from",
    "save_weights",
    "set_batchwise_dropout",
]
