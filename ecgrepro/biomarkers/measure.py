"""Measurements of an ECG, and the flags that follow from them by published criteria.

Amplitudes are in mV over the level just before QRS. What cannot be measured is NaN, with a reason.
"""

from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecgrepro.biomarkers.beats import Beats, find_beats
from ecgrepro.biomarkers.delineation import P_CONSISTENCY, Marks, delineate, ms, peaks, samples
from ecgrepro.data import signals
from ecgrepro.data.packing import Packed
from ecgrepro.progress import progress_bar

FloatArray = NDArray[np.float64]
NAN = float("nan")

IRREGULAR = 0.10
"""Median change from one RR interval to the next, as a share of RR, from which a rhythm is irregular."""

_P_CONSISTENCY_IRREGULAR = 0.75  # fibrillation waves correlate by chance: ask for more
_LONGEST_QRS_MS = 250  # longer than any heart's: noise
_LIMB, _CHEST = slice(0, 6), slice(6, 12)
_I, _II, _AVL, _V1, _V2, _V3, _V5, _V6 = 0, 1, 4, 6, 7, 8, 10, 11
_ST_T_LEADS = [0, 1, 4, 8, 9, 10, 11]  # I, II, aVL, V3 to V6


@dataclass(frozen=True)
class Measurements:
    """What was measured on one ECG; NaN where it could not be.

    Attributes
    ----------
    n_beats, n_used
        Beats found, and beats in the median.
    ventricular_rate
        60 / mean RR, per minute; every beat counts, ectopic ones too.
    rr_irregularity
        Median of |change of RR| over median RR (no unit); about 0.02 in sinus rhythm, 0.15 in fibrillation.
    p_consistency
        Median correlation of the PQ segment of a beat with that of the others (no unit).
    p_ms, pr_ms, qrs_ms, qt_ms
        P duration, and intervals from P onset to QRS onset, QRS onset to offset, QRS onset to T end, ms.
    qtc_fridericia_ms, qtc_bazett_ms
        QT / RR^(1/3) (Fridericia, Acta Med Scand 1920; 53: 469) and QT / RR^(1/2) (Bazett, Heart 1920; 7: 353),
        RR in s from `ventricular_rate`. The flags use Fridericia's, which depends less on rate.
    p_axis_deg, qrs_axis_deg, t_axis_deg
        Direction in the frontal plane, degrees (0 to the left, 90 to the feet), from the net areas of leads I and
        aVF: atan2(2 aVF / sqrt(3), I), aVF = II - I / 2.
    qrs_t_angle_deg
        Smaller angle between the QRS and T axes in the frontal plane, 0 to 180 degrees.
    intrinsicoid_ms
        QRS onset to the peak of R (the last one of a notched R) in V5 or V6, whichever is later, ms.
    sokolow_lyon_mv
        S in V1 + the taller R of V5 and V6 (Sokolow & Lyon, Am Heart J 1949; 37: 161).
    cornell_mv
        R in aVL + S in V3 (Casale et al., J Am Coll Cardiol 1985; 6: 572).
    limb_voltage_mv, chest_voltage_mv
        Largest peak-to-peak QRS amplitude among the limb leads, and among the chest leads.
    st_depressed_leads, t_inverted_leads
        Number of leads of I, II, aVL, V3 to V6 with ST (60 ms after J) at -0.05 mV or lower, and with T at
        -0.1 mV or lower where R is 0.5 mV or taller: Minnesota codes 4-1, 4-2 and 5-1, 5-2
        (Prineas et al., The Minnesota Code Manual, 2010).
    rbbb, lbbb
        Complete bundle branch block, 0 or 1: see `right_block` and `left_block`.
    reason
        Why something is NaN; empty where everything was measured.
    """

    n_beats: int
    n_used: int
    ventricular_rate: float = NAN
    rr_irregularity: float = NAN
    p_consistency: float = NAN
    p_ms: float = NAN
    pr_ms: float = NAN
    qrs_ms: float = NAN
    qt_ms: float = NAN
    qtc_fridericia_ms: float = NAN
    qtc_bazett_ms: float = NAN
    p_axis_deg: float = NAN
    qrs_axis_deg: float = NAN
    t_axis_deg: float = NAN
    qrs_t_angle_deg: float = NAN
    intrinsicoid_ms: float = NAN
    sokolow_lyon_mv: float = NAN
    cornell_mv: float = NAN
    limb_voltage_mv: float = NAN
    chest_voltage_mv: float = NAN
    st_depressed_leads: float = NAN
    t_inverted_leads: float = NAN
    rbbb: float = NAN
    lbbb: float = NAN
    reason: str = ""


def measure(ecg_mv: ArrayLike, rate: float) -> Measurements:
    """Measure one ECG.

    Parameters
    ----------
    ecg_mv
        (12, T) in mV, leads as in `signals.LEADS`, 2 s or longer; NaN is bridged.
    rate
        Samples per second, 100 or more.

    Returns
    -------
    Measurements
        NaN with a reason for what cannot be measured: a flat lead, noise, too few beats, no P wave.

    Raises
    ------
    InputError
        For another shape or a lower rate: mistakes of the caller, not of the recording.
    """
    beats = find_beats(ecg_mv, rate)
    ecg = np.asarray(ecg_mv, dtype=np.float64)
    flat = np.array([np.ptp(x[np.isfinite(x)]) == 0 if np.isfinite(x).any() else True for x in ecg])
    n_beats, n_used = beats.onsets_s.size, int(beats.used.sum())
    if beats.median is None or beats.stack is None:
        return Measurements(n_beats, n_used, *_rhythm(beats), reason=beats.reason)
    rhythm_rate, irregularity = _rhythm(beats)
    needed = _P_CONSISTENCY_IRREGULAR if irregularity > IRREGULAR else P_CONSISTENCY
    marks = delineate(beats.median, beats.stack, float(np.quantile(beats.rr_s, 0.25)), needed)
    if not 0 < marks.qrs_off - marks.qrs_on < samples(_LONGEST_QRS_MS):
        return Measurements(n_beats, n_used, rhythm_rate, irregularity, reason="no end of QRS")
    beat = np.where(flat[:, None], np.nan, beats.median)
    reasons = [] if not flat.any() else [f"flat: {' '.join(np.array(signals.LEADS)[flat])}"]
    if not np.isfinite(marks.p_on):
        reasons.append("no P wave in a fixed relation to QRS")
    if not np.isfinite(marks.t_off):
        reasons.append("no T end")
    values = _values(beat, marks, rhythm_rate)
    return Measurements(
        n_beats,
        n_used,
        rhythm_rate,
        irregularity,
        marks.p_consistency,
        **values,
        reason="; ".join(reasons),
    )


def measure_many(
    packed: Packed, rows: ArrayLike | None = None, progress: bool = True
) -> pd.DataFrame:
    """Measure packed ECGs.

    Parameters
    ----------
    packed
        From `packing.open_packed`; its rate is used.
    rows
        Positions in `packed.signals` (see `Packed.rows`); all of them when None.
    progress
        Show a bar where stderr is a terminal.

    Returns
    -------
    DataFrame
        One row an ECG, index `ecg_id`, the fields of `Measurements` as columns.
    """
    chosen = np.arange(len(packed.ecg_ids)) if rows is None else np.asarray(rows, dtype=np.int64)
    found = []
    with progress_bar(chosen.size, "measure", "ECG", progress) as bar:
        for row in chosen.tolist():
            millivolts = signals.to_millivolts(np.asarray(packed.signals[row]))
            recorded = np.flatnonzero(np.isfinite(millivolts).any(axis=0))  # some are padded
            if recorded.size:
                millivolts = millivolts[:, recorded[0] : recorded[-1] + 1]
            found.append(asdict(measure(millivolts, packed.rate)))
            bar.update(1)
    columns = [field.name for field in fields(Measurements)]
    index = pd.Index(packed.ecg_ids[chosen], name="ecg_id")
    return pd.DataFrame(found, columns=columns, index=index)


def _rhythm(beats: Beats) -> tuple[float, float]:
    """Ventricular rate per minute and irregularity; NaN for fewer than two and three intervals."""
    rr = beats.rr_s
    if rr.size < 2:
        return (NAN if rr.size == 0 else 60.0 / float(rr.mean())), NAN
    return 60.0 / float(rr.mean()), float(np.median(np.abs(np.diff(rr))) / np.median(rr))


def _values(beat: FloatArray, m: Marks, rate: float) -> dict[str, float]:
    """All fields that come from the median beat (12, L)."""
    on, off = round(m.qrs_on), round(m.qrs_off)
    level = beat[:, max(on - samples(20), 0) : max(on - samples(6), 1)].mean(axis=1, keepdims=True)
    x = beat - level
    qrs = x[:, on : off + 1]
    tall, deep = np.maximum(qrs.max(axis=1), 0), np.maximum(-qrs.min(axis=1), 0)
    rr = 60.0 / rate
    qt, qrs_ms = ms(m.t_off - m.qrs_on), ms(m.qrs_off - m.qrs_on)
    qrs_axis, t_axis = _axis(qrs), _t_axis(x, m)
    delay = intrinsicoid(qrs)
    depressed, inverted = st_t(x, m, tall)
    return {
        "p_ms": ms(m.p_off - m.p_on),
        "pr_ms": ms(m.qrs_on - m.p_on),
        "qrs_ms": qrs_ms,
        "qt_ms": qt,
        "qtc_fridericia_ms": qt / float(np.cbrt(rr)),
        "qtc_bazett_ms": qt / float(np.sqrt(rr)),
        "p_axis_deg": _p_axis(beat, m),
        "qrs_axis_deg": qrs_axis,
        "t_axis_deg": t_axis,
        "qrs_t_angle_deg": abs((qrs_axis - t_axis + 180) % 360 - 180),
        "intrinsicoid_ms": delay,
        "sokolow_lyon_mv": float(deep[_V1] + np.fmax(tall[_V5], tall[_V6])),
        "cornell_mv": float(tall[_AVL] + deep[_V3]),
        "limb_voltage_mv": float(np.ptp(qrs[_LIMB], axis=1).max()),
        "chest_voltage_mv": float(np.ptp(qrs[_CHEST], axis=1).max()),
        "st_depressed_leads": depressed,
        "t_inverted_leads": inverted,
        "rbbb": right_block(qrs, qrs_ms),
        "lbbb": left_block(qrs, qrs_ms, delay),
    }


def _axis(x: FloatArray) -> float:
    """Frontal axis in degrees of the net areas of a segment (12, w); NaN where I or II is flat."""
    area_1, area_2 = float(x[_I].sum()), float(x[_II].sum())
    if not np.isfinite(area_1 + area_2) or area_1 == area_2 == 0:
        return NAN
    return float(np.rad2deg(np.arctan2((area_2 - area_1 / 2) * 2 / np.sqrt(3.0), area_1)))


def _p_axis(beat: FloatArray, m: Marks) -> float:
    """Axis of P over the chord from its onset to its offset."""
    if not np.isfinite(m.p_on + m.p_off):
        return NAN
    part = beat[:, round(m.p_on) : round(m.p_off) + 1]
    return _axis(part - np.linspace(part[:, 0], part[:, -1], part.shape[1], axis=1))


def _t_axis(x: FloatArray, m: Marks) -> float:
    """Axis of T from halfway between J and its peak to its end, where ST counts little."""
    if not np.isfinite(m.t_peak + m.t_off):
        return NAN
    return _axis(x[:, round((m.qrs_off + m.t_peak) / 2) : round(m.t_off) + 1])


def intrinsicoid(qrs: FloatArray) -> float:
    """Time in ms from QRS onset to the last R peak, the later one of V5 and V6; NaN where neither has an R.

    Parameters
    ----------
    qrs
        (12, w) from QRS onset to offset in mV. A peak counts from 0.1 mV and from half of the lead's tallest.
    """
    times = [NAN]
    for lead in qrs[[_V5, _V6]]:
        inner = peaks(lead)
        inner = inner[lead[inner] > max(0.1, 0.5 * float(lead.max()))]
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
    j60 = min(round(m.qrs_off) + samples(60), x.shape[1] - 1)
    st = np.nan_to_num(x[_ST_T_LEADS, j60])
    near = slice(max(round(m.t_peak) - samples(60), j60), round(m.t_off))
    part = np.nan_to_num(x[_ST_T_LEADS, near])
    if part.shape[1] == 0:
        return NAN, NAN
    turned = (part.min(axis=1) <= -0.1) & (-part.min(axis=1) > part.max(axis=1))
    return float((st <= -0.05).sum()), float(
        (turned & (np.nan_to_num(tall[_ST_T_LEADS]) >= 0.5)).sum()
    )
