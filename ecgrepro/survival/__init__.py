"""Survival statistics, from concordance to decision curves; pure functions of arrays and tables."""

from ecgrepro.survival.calibration import calibration_at, net_benefit
from ecgrepro.survival.cox import (
    breslow_survival,
    fit_cox,
    hazard_ratio,
    predict_cox,
)
from ecgrepro.survival.curves import cumulative_incidence, kaplan_meier
from ecgrepro.survival.folds import (
    STUDY_SEEDS,
    Split,
    assign_folds,
    grouped_folds,
    mean_interval,
    nadeau_bengio_interval,
    study_folds,
)
from ecgrepro.survival.measures import (
    Replicates,
    auc_over_time,
    brier_score,
    combine,
    concordance_index,
    resample_patients,
    resampled_auc,
    resampled_brier,
    resampled_calibration,
    resampled_concordance,
    uno_concordance,
)

__all__ = [
    "STUDY_SEEDS",
    "Replicates",
    "Split",
    "assign_folds",
    "auc_over_time",
    "breslow_survival",
    "brier_score",
    "calibration_at",
    "combine",
    "concordance_index",
    "cumulative_incidence",
    "fit_cox",
    "grouped_folds",
    "hazard_ratio",
    "kaplan_meier",
    "mean_interval",
    "nadeau_bengio_interval",
    "net_benefit",
    "predict_cox",
    "resample_patients",
    "resampled_auc",
    "resampled_brier",
    "resampled_calibration",
    "resampled_concordance",
    "study_folds",
    "uno_concordance",
]
