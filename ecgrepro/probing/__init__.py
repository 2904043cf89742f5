"""What a representation knows: retrieval, collapse monitors, linear probes, zero-shot scores."""

from ecgrepro.probing.collapse import (
    Collapse,
    collapse_report,
    effective_rank,
    similarity_matrix,
)
from ecgrepro.probing.linear import ProbeResult, linear_probe, score_table, zero_shot_scores
from ecgrepro.probing.retrieval import (
    chance_at_k,
    distinct_rows,
    nearest_reports,
    retrieval,
    retrieval_both_ways,
    retrieval_ranks,
)

__all__ = [
    "Collapse",
    "ProbeResult",
    "chance_at_k",
    "collapse_report",
    "distinct_rows",
    "effective_rank",
    "linear_probe",
    "nearest_reports",
    "retrieval",
    "retrieval_both_ways",
    "retrieval_ranks",
    "score_table",
    "similarity_matrix",
    "zero_shot_scores",
]
