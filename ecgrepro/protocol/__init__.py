"""The evaluation protocol as a sweep: cohort x encoder x initialisation x protocol x seed, one table at the end.

`sweep_of` lists what is to be run, `run_arm` runs one of them (all its folds), `run_sweep` all that are missing,
`collect` puts them into one table with a row a fold, `summarise` and `paired_differences` give intervals. Files lie
in `runs/<run>/protocol/`.
"""

from ecgrepro.protocol.arms import BASELINES, NETWORKS, PROTOCOLS, Arm, sweep_arms
from ecgrepro.protocol.evaluate import evaluate_folds, limit_labels, pooled_c_index
from ecgrepro.protocol.run import ArmResult, read_arm, run_arm
from ecgrepro.protocol.starts import (
    CohortData,
    finetune_settings,
    open_cohort,
    pretrain_start,
    starting_model,
)
from ecgrepro.protocol.sweep import run_sweep, sweep_of
from ecgrepro.protocol.table import (
    LABELS,
    collect,
    learning_curve,
    name_lines,
    paired_differences,
    summarise,
)

__all__ = [
    "BASELINES",
    "LABELS",
    "NETWORKS",
    "PROTOCOLS",
    "Arm",
    "ArmResult",
    "CohortData",
    "collect",
    "evaluate_folds",
    "finetune_settings",
    "learning_curve",
    "limit_labels",
    "name_lines",
    "open_cohort",
    "paired_differences",
    "pooled_c_index",
    "pretrain_start",
    "read_arm",
    "run_arm",
    "run_sweep",
    "starting_model",
    "summarise",
    "sweep_arms",
    "sweep_of",
]
