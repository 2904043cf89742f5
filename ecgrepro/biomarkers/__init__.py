"""Measurements that a cardiograph makes, from our own delineation of the median beat, and the study's covariates.

From 12 leads of ten seconds: beats (`find_beats`), points of the median beat (`delineate`), measurements
(`measure`, `measure_many`), and the fifteen covariates of the study's Cox baseline (`study_covariates`, and
`with_covariates` for a table of follow-up).
Numpy and scipy only. Not a medical device: for research on cohorts, never for one patient.
"""

from ecgrepro.biomarkers.beats import Beats, find_beats
from ecgrepro.biomarkers.covariates import (
    COVARIATES,
    Thresholds,
    baseline_columns,
    study_covariates,
    with_covariates,
)
from ecgrepro.biomarkers.delineation import Marks, delineate
from ecgrepro.biomarkers.measure import Measurements, measure, measure_many

__all__ = [
    "COVARIATES",
    "Beats",
    "Marks",
    "Measurements",
    "Thresholds",
    "baseline_columns",
    "delineate",
    "find_beats",
    "measure",
    "measure_many",
    "study_covariates",
    "with_covariates",
]
