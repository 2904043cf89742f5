"""Training: batches, one loop for pretraining and fine-tuning, checkpoints, resume, encoding."""

from ecgrepro.training.augment import LEAD_SUBSETS, mask_leads_and_time
from ecgrepro.training.batches import (
    has_comparable_pair,
    shuffled_batches,
    stratified_event_batches,
)
from ecgrepro.training.encode import Embeddings, embed, embed_text, encode, predict_risk
from ecgrepro.training.engine import Hardware, deterministic, gather_with_grad
from ecgrepro.training.feeds import AlignmentData, RiskData, pair_records, signal_feed
from ecgrepro.training.finetune import FinetuneConfig, FinetuneResult, RiskLoss, finetune
from ecgrepro.training.pretrain import AlignmentLoss, PretrainConfig, PretrainResult, pretrain
from ecgrepro.training.schedule import warmup_cosine

__all__ = [
    "LEAD_SUBSETS",
    "AlignmentData",
    "AlignmentLoss",
    "Embeddings",
    "FinetuneConfig",
    "FinetuneResult",
    "Hardware",
    "PretrainConfig",
    "PretrainResult",
    "RiskData",
    "RiskLoss",
    "deterministic",
    "embed",
    "embed_text",
    "encode",
    "finetune",
    "gather_with_grad",
    "has_comparable_pair",
    "mask_leads_and_time",
    "pair_records",
    "predict_risk",
    "pretrain",
    "shuffled_batches",
    "signal_feed",
    "stratified_event_batches",
    "warmup_cosine",
]
