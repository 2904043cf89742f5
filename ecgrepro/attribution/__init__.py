"""What the risk rests on: hiding leads and windows, integrated gradients, attention, and checks.

Every function takes what it explains as arguments (S-33): a model or a function from ECGs to one log risk
each, and the ECGs. A model is explained in evaluation mode and found afterwards as it was; nobody's
gradient buffers change. Signs agree everywhere: positive means that what is there raises the risk.
"""

from ecgrepro.attribution.attention import attention_entropy, received_attention, token_windows
from ecgrepro.attribution.checks import (
    RandomisedWeights,
    randomised_weights_check,
    rank_correlation,
)
from ecgrepro.attribution.gradients import (
    IntegratedGradients,
    input_gradient,
    integrated_gradients,
)
from ecgrepro.attribution.occlusion import (
    WindowOcclusion,
    lead_occlusion,
    mask_occlusion,
    window_occlusion,
)
from ecgrepro.attribution.risk import RiskFunction, as_risk_function, evaluating

__all__ = [
    "IntegratedGradients",
    "RandomisedWeights",
    "RiskFunction",
    "WindowOcclusion",
    "as_risk_function",
    "attention_entropy",
    "evaluating",
    "input_gradient",
    "integrated_gradients",
    "lead_occlusion",
    "mask_occlusion",
    "randomised_weights_check",
    "rank_correlation",
    "received_attention",
    "token_windows",
    "window_occlusion",
]
