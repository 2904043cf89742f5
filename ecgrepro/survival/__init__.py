"""Survival statistics, from concordance to decision curves; pure functions, no torch."""

from ecgrepro.survival.calibration import (
    Calibration,
    breslow_survival,
    calibration_at,
)
from ecgrepro.survival.competing import cumulative_incidence
from ecgrepro.survival.concordance import PairCounts, concordance_counts, concordance_index
from ecgrepro.survival.curves import (
    HazardRatio,
    LogRank,
    hazard_ratio,
    kaplan_meier,
    logrank_test,
    numbers_at_risk,
)
from ecgrepro.survival.decisions import net_benefit
from ecgrepro.survival.folds import mean_interval, nadeau_bengio_interval, summarize_folds
from ecgrepro.survival.regression import CoxModel, cox_baseline, fit_cox, predict_cox
from ecgrepro.survival.replicates import (
    Replicates,
    Resamples,
    combine,
    resample_patients,
    resampled_auc,
    resampled_brier,
    resampled_calibration,
    resampled_concordance,
)
from ecgrepro.survival.resampling import (
    Interval,
    bootstrap_interval,
    paired_difference,
)
from ecgrepro.survival.splits import (
    STUDY_SEEDS,
    Split,
    assign_folds,
    centre_by_fold,
    cross_validated_scores,
    grouped_folds,
    protocol_splits,
    study_folds,
)
from ecgrepro.survival.weighted import (
    auc_over_time,
    brier_score,
    censoring_survival,
    integrated_brier_score,
    mean_auc,
    uno_concordance,
)

__all__ = [
    "STUDY_SEEDS",
    "Calibration",
    "CoxModel",
    "HazardRatio",
    "Interval",
    "LogRank",
    "PairCounts",
    "Replicates",
    "Resamples",
    "Split",
    "assign_folds",
    "auc_over_time",
    "bootstrap_interval",
    "breslow_survival",
    "brier_score",
    "calibration_at",
    "censoring_survival",
    "centre_by_fold",
    "combine",
    "concordance_counts",
    "concordance_index",
    "cox_baseline",
    "cross_validated_scores",
    "cumulative_incidence",
    "fit_cox",
    "grouped_folds",
    "hazard_ratio",
    "integrated_brier_score",
    "kaplan_meier",
    "logrank_test",
    "mean_auc",
    "mean_interval",
    "nadeau_bengio_interval",
    "net_benefit",
    "numbers_at_risk",
    "paired_difference",
    "predict_cox",
    "protocol_splits",
    "resample_patients",
    "resampled_auc",
    "resampled_brier",
    "resampled_calibration",
    "resampled_concordance",
    "study_folds",
    "summarize_folds",
    "uno_concordance",
]
