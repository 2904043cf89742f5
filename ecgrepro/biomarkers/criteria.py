"""Criteria on the shape of the median beat: bundle branch blocks, intrinsicoid deflection, ST and T."""

import numpy as np
from numpy.typing import NDArray

from ecgrepro.biomarkers.delineation import Marks, ms, samples

FloatArray = NDArray[np.float64]
NAN = float("nan")

_I, _V1, _V2, _V5, _V6 = 0, 6, 7, 10, 11
_ST_T_LEADS = (0, 1, 4, 8, 9, 10, 11)  # I, II, aVL, V3 to V6


def intrinsicoid(qrs: FloatArray) -> float:
    """Time in ms from QRS onset to the last R peak, the later one of V5 and V6; NaN where neither has an R.

    Parameters
    ----------
    qrs
        (12, w) from QRS onset to offset in mV. A peak counts from 0.1 mV and from half of the lead's tallest.
    """
    times = [NAN]
    for lead in qrs[[_V5, _V6]]:
        inner = np.flatnonzero((lead[1:-1] >= lead[:-2]) & (lead[1:-1] > lead[2:])) + 1
        inner = inner[lead[inner] > max(0.1, 0.5 * float(lead.max()))] if inner.size else inner
        if inner.size:
            times.append(ms(float(inner[-1])))
    return float(np.nanmax(times)) if len(times) > 1 else NAN


def right_block(qrs: FloatArray, qrs_ms: float) -> float:
    """Complete right bundle branch block, 0 or 1 (NaN where V1 or V6 is flat).

    QRS of 120 ms or more that ends to the right and front: over its last 40 ms V1 (or V2) is positive, I and V6
    are negative. After Surawicz et al., Circulation 2009; 119: e235.
    """
    end = qrs[:, -samples(40) :].mean(axis=1)
    if not np.isfinite(qrs_ms + end[_V1] + end[_V6] + end[_I]):
        return NAN
    front = max(float(end[_V1]), float(np.nan_to_num(end[_V2])))
    return float(qrs_ms >= 120 and front > 0.05 and end[_I] < 0 and end[_V6] < 0)


def left_block(qrs: FloatArray, qrs_ms: float, delay_ms: float) -> float:
    """Complete left bundle branch block, 0 or 1 (NaN where V1, V5 and V6 are flat).

    QRS of 120 ms or more, rS or QS in V1, I and V6 (or V5) mainly positive without q (under 0.1 mV), and R peaking
    later than 60 ms in V5 or V6. After Surawicz et al., Circulation 2009; 119: e235. Pacing from the right
    ventricle often looks the same.
    """
    if not np.isfinite(qrs_ms + qrs[_V1].sum() + qrs[_I].sum()):
        return NAN
    area = qrs.sum(axis=1)
    early = qrs[:, : samples(40)].min(axis=1)
    left = np.nan_to_num(area[[_V5, _V6]]).max() > 0 and area[_I] > 0 and early[_I] > -0.1
    right = area[_V1] < 0 and qrs[_V1].max() < -qrs[_V1].min()
    return float(qrs_ms >= 120 and bool(left) and bool(right) and delay_ms > 60)


def st_t(x: FloatArray, m: Marks, tall: FloatArray) -> tuple[float, float]:
    """Count the leads of I, II, aVL, V3 to V6 with depressed ST, and with an inverted T.

    Parameters
    ----------
    x
        (12, L) median beat in mV over the level before QRS.
    m
        Its points.
    tall
        (12,) height of R in mV: T counts where it is 0.5 mV or taller.
    """
    if not np.isfinite(m.t_peak + m.t_off):
        return NAN, NAN
    leads = list(_ST_T_LEADS)
    j60 = min(round(m.qrs_off) + samples(60), x.shape[1] - 1)
    st = np.nan_to_num(x[leads, j60])
    near = slice(max(round(m.t_peak) - samples(60), j60), round(m.t_off))
    part = np.nan_to_num(x[leads, near])
    if part.shape[1] == 0:
        return NAN, NAN
    turned = (part.min(axis=1) <= -0.1) & (-part.min(axis=1) > part.max(axis=1))
    return float((st <= -0.05).sum()), float((turned & (np.nan_to_num(tall[leads]) >= 0.5)).sum())
