"""Where P, QRS and T begin and end on a median beat, from all leads together.

Intervals are global: from the earliest onset to the latest offset in any lead, as the spatial velocity
shows them (Kligfield et al., Circulation 2007; 115: 1306; Surawicz et al., Circulation 2009; 119: e235).
Indices are samples of the median beat (`beats.GRID` per second); `ms` turns them into milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from ecgrepro.biomarkers.beats import BEFORE, GRID

FloatArray = NDArray[np.float64]

P_CONSISTENCY = 0.45
"""A P wave counts when a beat's PQ segment correlates so well with that of the other beats (median)."""

_QRS_SHARE = 0.06  # of the steepest slope: where QRS begins and ends
_TAIL = 1.45  # a bell's tangent falls from 61 % to 0 within 1 SD; its tail to 5 % within 1.45 SD
_P_SHARE = 0.10  # of the P wave's height: where it begins and ends


@dataclass(frozen=True)
class Marks:
    """Samples of the median beat; NaN where there is no such point.

    `p_consistency` is the median correlation of a beat's PQ segment with that of the others.
    """

    p_on: float
    p_peak: float
    p_off: float
    qrs_on: float
    qrs_off: float
    t_peak: float
    t_off: float
    p_consistency: float


def ms(samples: float) -> float:
    """Milliseconds of a number of samples on the grid."""
    return samples * 1000.0 / GRID


def samples(milliseconds: float) -> int:
    """Samples on the grid of a number of milliseconds."""
    return round(milliseconds * GRID / 1000)


def peaks(x: FloatArray) -> NDArray[np.intp]:
    """Samples higher than the next one and not lower than the one before, ends left out."""
    return np.flatnonzero((x[1:-1] >= x[:-2]) & (x[1:-1] > x[2:])) + 1


def delineate(
    median: FloatArray, stack: FloatArray, rr_s: float, p_consistency: float = P_CONSISTENCY
) -> Marks:
    """Find the points of a median beat.

    Parameters
    ----------
    median
        (12, L) in mV.
    stack
        (n, 8, L) the aligned beats of I, II, V1-V6: what is not in each of them is no P wave.
    rr_s
        Short interval between beats, s; says where the previous T and the next P may lie.
    p_consistency
        What the beats' PQ segments must reach for a P wave; see `P_CONSISTENCY`.
    """
    x = median[[0, 1, 6, 7, 8, 9, 10, 11]]
    qrs_on, qrs_off = _qrs(x)
    if not np.isfinite(qrs_on + qrs_off):
        nan = float("nan")
        return Marks(nan, nan, nan, qrs_on, qrs_off, nan, nan, nan)
    t_peak, t_off = _t_wave(x, int(qrs_on), int(qrs_off), rr_s)
    p_on, p_peak, p_off, consistency = _p_wave(
        x, stack, int(qrs_on), t_off - rr_s * GRID, p_consistency
    )
    return Marks(p_on, p_peak, p_off, qrs_on, qrs_off, t_peak, t_off, consistency)


def _velocity(x: FloatArray) -> FloatArray:
    """Spatial velocity: root of the summed squared slopes of all leads over 8 ms, mV per sample."""
    slope = np.zeros_like(x)
    slope[:, 2:-2] = (x[:, 4:] - x[:, :-4]) / 4
    return np.sqrt((slope**2).sum(axis=0))


def _crossing(v: FloatArray, i: int, step: int, level: float) -> float:
    """Position between samples at which `v`, above `level` at `i`, falls to it at `i + step`."""
    a, b = float(v[i]), float(v[i + step])
    return i + step * (a - level) / max(a - b, 1e-12) if a > level >= b else float(i)


def _qrs(x: FloatArray) -> tuple[float, float]:
    """Onset and offset of QRS: outwards from its steep parts to where the velocity reaches a low level.

    The level is `_QRS_SHARE` of the peak, or 1.6 times the calmest 20 ms beside QRS where a P or T wave
    leaves no calm. A pause of up to 16 ms belongs to QRS (the turn of a wave), and so does the top of a late,
    tall wave (R' in right bundle branch block), recognised by the steep return that follows within 50 ms.
    """
    v = _velocity(x)
    near = slice(BEFORE - samples(100), BEFORE + samples(100))
    peak = float(v[near].max())
    if not peak > 0:
        return float("nan"), float("nan")
    steep = _around_middle(np.flatnonzero(v[near] > 0.5 * peak) + near.start)
    calm = np.convolve(v, np.ones(samples(20)) / samples(20), mode="same")
    size = np.sqrt((x**2).sum(axis=0))
    tall = 0.25 * float(size[near].max())
    ends = []
    for start, step in ((int(steep[0]), -1), (int(steep[-1]), 1)):
        beside = start + step * np.arange(samples(14), samples(120 if step > 0 else 90))
        level = min(max(_QRS_SHARE * peak, 1.6 * float(calm[beside].min())), 0.25 * peak)
        last, quiet, i = start, 0, start
        for _ in range(samples(120)):
            i += step
            if v[i] > level:
                last, quiet = i, 0
            else:
                quiet += 1
                returns = size[i] > tall and v[i : i + samples(50)].max() > 2.5 * level
                if quiet > samples(16) and not (step > 0 and returns):
                    break
        ends.append(_crossing(v, last, step, level))
    return ends[0], _before_t(x, ends[0], ends[1])


def _before_t(x: FloatArray, onset: float, offset: float) -> float:
    """Correct an offset that lies on a T wave without a calm J point before it, as in left bundle branch block.

    Such an offset has a quarter of the height of QRS; J is then where the leads cross the baseline together.
    """
    i, j = int(onset), int(offset)
    level = x[:, max(i - samples(16), 0) : max(i - samples(4), 1)].mean(axis=1)
    size = np.sqrt(((x - level[:, None]) ** 2).sum(axis=0))
    top = i + int(np.argmax(size[i : j + 1]))
    if j - i > samples(120) and size[j] > 0.25 * size[top]:
        low = top + int(np.argmin(size[top : j + 1]))
        if size[low] < 0.25 * size[top] and low - i > samples(70):
            return float(min(offset, low + samples(8)))
    return offset


def _around_middle(steep: NDArray[np.intp]) -> NDArray[np.intp]:
    """The run of steep samples nearest the fiducial point; a pause of over 80 ms ends it (a steep T follows)."""
    runs = np.split(steep, np.flatnonzero(np.diff(steep) > samples(80)) + 1)
    return min(runs, key=lambda run: int(np.abs(run - BEFORE).min()))


def _strongest(x: FloatArray) -> FloatArray:
    """Weights (8,) of the direction with most power in a segment (8, w): its first principal axis."""
    weights: FloatArray = np.linalg.eigh(x @ x.T)[1][:, -1]
    return weights


def _t_wave(x: FloatArray, qrs_on: int, qrs_off: int, rr_s: float) -> tuple[float, float]:
    """Peak and end of T on its principal axis.

    The steepest tangent of the descending limb (Lepeschkin & Surawicz, Circulation 1952; 6: 378) meets the
    baseline where a bell-shaped wave still has 14 % of its height; the end marked by readers and by global
    intervals is later. The end here is where a bell with that tangent has fallen to 5 %: `_TAIL` times as far
    from its steepest point. The baseline is the level before QRS, or that after T when T does not return to it.
    """
    nan = float("nan")
    start = qrs_off + samples(40)
    limit = min(x.shape[1] - 5, qrs_on + int(GRID * min(0.48 * np.cbrt(rr_s), 0.8 * rr_s)))
    stop = min(x.shape[1] - 5, qrs_on + int(GRID * min(0.75, 0.98 * rr_s)))
    if limit - start < samples(80):
        return nan, nan
    level = x[:, max(qrs_on - samples(20), 0) : max(qrs_on - samples(6), 1)].mean(axis=1)
    part = x[:, start:stop] - level[:, None]
    axis = _strongest(np.diff(part[:, : limit - start], axis=1))
    wave = axis @ part
    peak = _last_wave(wave[: limit - start])
    if peak < 0:
        return nan, nan
    wave = wave * np.sign(wave[peak])
    slope = np.gradient(wave)
    steep = peak + int(np.argmin(slope[peak : peak + samples(160)]))
    after = float(wave[steep : steep + samples(140)].min())
    base = float(np.clip(after, -0.15 * wave[peak], 0.25 * wave[peak]))
    if slope[steep] >= 0 or wave[peak] - base < 0.05:
        return nan, nan
    end = steep + _TAIL * (wave[steep] - base) / -slope[steep]
    if end - peak > samples(240):
        return nan, nan
    return float(start + peak), float(min(start + end, stop))


def _last_wave(wave: FloatArray) -> int:
    """The last turning point that has at least half of the highest one's height, or -1."""
    size = np.abs(wave)
    inner = peaks(size)
    inner = inner[inner >= samples(16)]
    if not inner.size:
        return -1
    return int(inner[size[inner] >= 0.5 * size[inner].max()][-1])


def _p_wave(
    x: FloatArray, stack: FloatArray, qrs_on: int, previous_t: float, needed: float
) -> tuple[float, float, float, float]:
    """Onset, peak and end of P, and how alike the beats are there; NaN onset where there is no P."""
    nan = float("nan")
    previous_t = previous_t if np.isfinite(previous_t) else 0.0
    stop = qrs_on - samples(8)
    start = max(qrs_on - samples(330), min(int(previous_t) - samples(10), stop - samples(120)), 2)
    if stop - start < samples(70):
        return nan, nan, nan, nan
    consistency = _consistency(stack[:, :, start:stop])
    part = x[:, start:stop]
    edge = samples(10)
    right = part[:, -edge:].mean(axis=1)
    n = part.shape[1]
    flat = part - right[:, None]
    # P is where the leads bulge over a chord of 130 ms
    reach = samples(60)
    middle = np.arange(samples(24), n - samples(14))
    left_i, right_i = np.maximum(middle - reach, 0), np.minimum(middle + reach, n - 1)
    share = (middle - left_i) / np.maximum(right_i - left_i, 1)
    bulge = flat[:, middle] - (flat[:, left_i] * (1 - share) + flat[:, right_i] * share)
    power = np.sqrt((bulge**2).sum(axis=0))
    tops = peaks(power)
    if not tops.size:
        return nan, nan, nan, consistency
    centre = int(tops[np.argmax(power[tops])])
    height, peak, direction = float(power[centre]), int(middle[centre]), bulge[:, centre]
    if not (consistency > needed and height > 0.04):
        return nan, nan, nan, consistency
    wave = (direction / np.linalg.norm(direction)) @ flat
    on, off, top = _edges(wave, peak)
    if not np.isfinite(on + off):
        return nan, nan, nan, consistency
    return start + on, float(start + top), start + off, consistency


def _edges(wave: FloatArray, peak: int) -> tuple[float, float, int]:
    """Where a bump begins and ends over the chord between the feet beside it, and its top."""
    n = wave.size
    near = slice(max(peak - samples(24), 0), min(peak + samples(24), n))
    top = near.start + int(np.argmax(wave[near]))
    feet = []
    for step in (-1, 1):
        far = int(np.clip(top + step * samples(100), 0, n - 1))
        side = np.arange(top, far + step, step)
        drop = wave[side] - 0.08 * wave[top] / samples(100) * -np.arange(side.size)
        feet.append(int(side[np.argmin(drop)]))
    left, right = feet
    if left >= top - samples(14) or right <= top + samples(14):
        return float("nan"), float("nan"), top
    index = np.arange(left, right + 1)
    chord = np.interp(index, [left, right], [wave[left], wave[right]])
    over = wave[index] - chord
    level = _P_SHARE * float(over.max())
    above = np.flatnonzero(over > level)
    if above.size < 2 or over.max() <= 0:
        return float("nan"), float("nan"), top
    on = _crossing(over, int(above[0]), -1, level) if above[0] > 0 else 0.0
    off = _crossing(over, int(above[-1]), 1, level) if above[-1] < over.size - 1 else over.size - 1
    return left + on, left + float(off), top


def _consistency(parts: FloatArray) -> float:
    """Median correlation of each beat's segment with the mean of the other beats; (n, 8, w) in.

    Segments are freed of their straight line first: drift and the T wave's tail repeat from beat to beat,
    in fibrillation too.
    """
    n, _, w = parts.shape
    kernel = np.ones(samples(20)) / samples(20)
    parts = convolve1d(parts, kernel, axis=2, mode="nearest")
    t = np.linspace(-1, 1, w)
    flat = parts - parts.mean(axis=2, keepdims=True)
    flat = flat - (flat @ t / (t @ t))[..., None] * t
    rows = flat.reshape(n, -1)
    others = (rows.sum(axis=0) - rows) / max(n - 1, 1)
    norm = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    return float(np.median((rows * others).sum(axis=1) / np.maximum(norm, 1e-12)))
