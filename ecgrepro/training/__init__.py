"""Training: data and batches, one loop for pretraining and fine-tuning, inference."""

from ecgrepro.training.alignment import AlignmentLoss, PretrainConfig, PretrainResult, pretrain
from ecgrepro.training.batches import (
    LEAD_SUBSETS,
    has_comparable_pair,
    mask_leads_and_time,
    shuffled_batches,
    stratified_event_batches,
    warmup_cosine,
)
from ecgrepro.training.data import AlignmentData, RiskData, SignalFeed, pair_records
from ecgrepro.training.inference import Embeddings, embed, embed_text, encode, predict_risk
from ecgrepro.training.loop import FitConfig, fit
from ecgrepro.training.risk import FinetuneConfig, FinetuneResult, RiskLoss, finetune

__all__ = [
    "LEAD_SUBSETS",
    "AlignmentData",
    "AlignmentLoss",
    "Embeddings",
    "FinetuneConfig",
    "FinetuneResult",
    "FitConfig",
    "PretrainConfig",
    "PretrainResult",
    "RiskData",
    "RiskLoss",
    "SignalFeed",
    "embed",
    "embed_text",
    "encode",
    "finetune",
    "fit",
    "has_comparable_pair",
    "mask_leads_and_time",
    "pair_records",
    "predict_risk",
    "pretrain",
    "shuffled_batches",
    "stratified_event_batches",
    "warmup_cosine",
]
