"""Every figure of the book. Arrays and tables in, a figure out; no files, no models, no pyplot.

A figure shows itself when it is the last line of a notebook cell; inside a loop, call `display`.
"""

from ecgrepro.plots.attention import plot_encoder, plot_lead_attention, plot_temporal_attention
from ecgrepro.plots.data import (
    plot_age_sex,
    plot_bland_altman,
    plot_code_frequency,
    plot_distributions,
)
from ecgrepro.plots.ecg import (
    plot_attribution,
    plot_lead_bars,
    plot_leads,
    plot_median_beat,
    plot_paper,
    plot_reconstruction,
)
from ecgrepro.plots.forest import plot_forest, plot_projection, plot_retrieval
from ecgrepro.plots.style import BookFigure, apply
from ecgrepro.plots.survival import (
    plot_calibration,
    plot_decision_curve,
    plot_follow_up,
    plot_kaplan_meier,
    plot_learning_curve,
    plot_over_time,
    plot_risk_scatter,
)
from ecgrepro.plots.text import (
    plot_agreement,
    plot_similarity,
    plot_text_ranks,
    plot_vocabulary,
    plot_weights,
)
from ecgrepro.plots.training import plot_history, plot_monitors

__all__ = [
    "BookFigure",
    "apply",
    "plot_age_sex",
    "plot_agreement",
    "plot_attribution",
    "plot_bland_altman",
    "plot_calibration",
    "plot_code_frequency",
    "plot_decision_curve",
    "plot_distributions",
    "plot_encoder",
    "plot_follow_up",
    "plot_forest",
    "plot_history",
    "plot_kaplan_meier",
    "plot_lead_attention",
    "plot_lead_bars",
    "plot_leads",
    "plot_learning_curve",
    "plot_median_beat",
    "plot_monitors",
    "plot_over_time",
    "plot_paper",
    "plot_projection",
    "plot_reconstruction",
    "plot_retrieval",
    "plot_risk_scatter",
    "plot_similarity",
    "plot_temporal_attention",
    "plot_text_ranks",
    "plot_vocabulary",
    "plot_weights",
]
