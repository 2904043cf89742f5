"""How ill the ECG looks: one number from the latent diseases, and the same from SCP codes.

Weights favour what survives a per-lead z-score (shape, width, rhythm, ST-T, rate); diseases that show
mainly in voltage weigh little.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.simulate.disease import draw_ages, draw_states

FloatArray = NDArray[np.float64]

WEIGHTS: dict[str, float] = {
    "inferior": 1.0,
    "anteroseptal": 1.1,
    "anterior": 1.2,
    "lateral": 1.0,
    "posterior": 0.5,
    "injury": 1.0,
    "ischemia": 1.0,
    "flat_t": 0.5,
    "digitalis": 0.5,
    "long_qt": 0.5,
    "electrolyte": 0.4,
    "aneurysm": 0.6,
    "lvh": 0.35,
    "rvh": 0.5,
    "left_atrium": 0.2,
    "lafb": 0.35,
    "lpfb": 0.35,
    "rbbb": 0.45,
    "lbbb": 1.2,
    "ivcd": 0.9,
    "av_delay": 0.3,
    "avb2": 1.0,
    "avb3": 1.2,
    "fibrillation": 1.2,
    "flutter": 1.0,
    "paced": 1.2,
    "pvc": 0.5,
}
"""Contribution of severity 1 of a latent disease, before standardisation."""

_RATE_WEIGHT = 0.30  # per 12 beats/min above 72, clipped to 48 below and 126 above
_QRS_WEIGHT = 0.10  # per 10 ms above 92
_T_WEIGHT = 0.25  # per unit of the flatness that everybody has some of
_CEILING = 4.5  # SDs: nobody is infinitely ill
_TYPICAL = 0.75  # mean severity of a coded case: what a code says about the size of its disease

_CODES: dict[str, tuple[str, ...]] = {
    "IMI": ("inferior",),
    "ILMI": ("inferior", "lateral"),
    "IPMI": ("inferior", "posterior"),
    "IPLMI": ("inferior", "posterior", "lateral"),
    "PMI": ("posterior",),
    "ASMI": ("anteroseptal",),
    "AMI": ("anterior",),
    "ALMI": ("anterior", "lateral"),
    "LMI": ("lateral",),
    **{f"INJ{region}": ("injury",) for region in ("AS", "AL", "IN", "LA", "IL")},
    **{f"ISC{region}": ("ischemia",) for region in ("_", "AL", "IN", "IL", "AS", "LA", "AN")},
    "NDT": ("flat_t",),
    "NT_": ("flat_t",),
    "LOWT": ("flat_t",),
    "TAB_": ("flat_t",),
    "DIG": ("digitalis",),
    "LNGQT": ("long_qt",),
    "EL": ("electrolyte",),
    "ANEUR": ("aneurysm",),
    "LVH": ("lvh",),
    "RVH": ("rvh",),
    "LAO/LAE": ("left_atrium",),
    "LAFB": ("lafb",),
    "LPFB": ("lpfb",),
    "CRBBB": ("rbbb",),
    "IRBBB": ("rbbb",),
    "CLBBB": ("lbbb",),
    "ILBBB": ("lbbb",),
    "IVCD": ("ivcd",),
    "1AVB": ("av_delay",),
    "2AVB": ("avb2",),
    "3AVB": ("avb3",),
    "AFIB": ("fibrillation",),
    "AFLT": ("flutter",),
    "PACE": ("paced",),
    "PVC": ("pvc",),
}
_RATE_CODES = {"STACH": 110.0, "SBRAD": 47.0, "SVTAC": 126.0, "PSVT": 126.0}
_PARTIAL = {"IRBBB": 0.6, "ILBBB": 0.5}


def _raw(states: pd.DataFrame) -> FloatArray:
    total = np.zeros(len(states))
    for name, weight in WEIGHTS.items():
        s = states[name].to_numpy()
        if name in ("fibrillation", "flutter", "paced", "avb2", "avb3"):
            s = np.where(states["rhythm"].to_numpy() == name, 0.35 + 0.65 * s, 0.0)
        total += weight * s
    rate = states["heart_rate"].to_numpy().clip(48, 126)
    own_width = (states["qrs_ms"].to_numpy() - 92.0) / 10.0
    total += _RATE_WEIGHT * (rate - 72) / 12 + _QRS_WEIGHT * own_width
    return total + _T_WEIGHT * states["x_flat_t"].to_numpy().clip(-6, 1.6)


@lru_cache(maxsize=1)
def _location_and_scale() -> tuple[float, float]:
    """Mean and SD of the weighted sum in a fixed reference population."""
    rng = np.random.default_rng(20_250_612)
    n = 30_000
    age = draw_ages(n, rng)
    male = (rng.uniform(size=n) < 0.52).astype(float)
    raw = _raw(draw_states(np.arange(n), age, male, rng))
    return float(raw.mean()), float(raw.std())


def visible_severity(states: pd.DataFrame) -> FloatArray:
    """Weighted sum of latent severities, with mean 0 and SD 1 over the simulated population, at most 4.5;
    shape (N,)."""
    mean, sd = _location_and_scale()
    return np.minimum((_raw(states) - mean) / sd, _CEILING)


def severity_from_codes(scp_codes: Mapping[str, float]) -> float:
    """Apply the same weights to the SCP codes of a record, for planting a simulated outcome on it.

    Parameters
    ----------
    scp_codes
        Code to confidence in percent; 0 means that the confidence is unknown and counts as 100.

    Returns
    -------
    float
        On the scale of `visible_severity`, as far as codes can tell. Codes without a weight
        (normal, sinus rhythm, voltage) add nothing.
    """
    size: dict[str, float] = {}
    total = _T_WEIGHT * -0.85  # the usual flatness (below onset) of somebody without T changes
    for code, confidence in scp_codes.items():
        certainty = (confidence if confidence > 0 else 100.0) / 100.0
        for name in _CODES.get(code, ()):
            s = _TYPICAL * certainty * _PARTIAL.get(code, 1.0)
            size[name] = max(size.get(name, 0.0), s)
        if code in _RATE_CODES:
            total += _RATE_WEIGHT * (_RATE_CODES[code] - 72) / 12
    total += sum(WEIGHTS[name] * s for name, s in size.items())
    mean, sd = _location_and_scale()
    return (total - mean) / sd
