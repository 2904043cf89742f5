"""From ten seconds of twelve leads to one median beat: filter, find the QRS complexes, group, align, take the median.

Everything runs on a grid of 500 samples/s, whatever the recording had. Beats fall on different phases of a
coarse sampling grid, so that their median, once aligned, is known more finely than any single beat.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import find_peaks

from ecgrepro.data import signals
from ecgrepro.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GRID = 500
"""Samples per second of the median beat."""

BEFORE, AFTER = 210, 350
"""Samples of the median beat before and after its fiducial point: 420 and 700 ms."""

LOW_CUT = 0.5
"""Hz; a filter without phase distortion may cut up to 0.67 Hz (Kligfield et al., Circulation 2007; 115: 1306)."""

MIN_BEATS = 3
"""Fewer beats of one shape have no meaningful median."""

_LOWEST_RATE = 100
_DETECTION = 100  # samples/s of the function that finds QRS complexes
_INDEPENDENT = (0, 1, 6, 7, 8, 9, 10, 11)  # I, II, V1-V6; the others are sums and differences
_PAD = 1.0  # s of mirrored signal at both ends, so that filters settle outside the record
_SAME_SHAPE = 0.85  # correlation over all leads from which two beats are of one kind


@dataclass(frozen=True)
class Beats:
    """The beats of one record.

    Attributes
    ----------
    onsets_s
        Time of each QRS complex (its centre) in s, ascending; (n,).
    used
        True for those that went into the median; (n,).
    regular
        True for all beats of the dominant shape, early ones and those at the ends included; (n,).
    median
        (12, BEFORE + AFTER) in mV at `GRID` samples/s, or None where no median can be had.
    stack
        (n_used, 8, BEFORE + AFTER) the aligned beats in I, II, V1-V6, or None.
    reason
        Why `median` is None; else empty.
    """

    onsets_s: FloatArray
    used: NDArray[np.bool_]
    regular: NDArray[np.bool_]
    median: FloatArray | None
    stack: FloatArray | None
    reason: str = ""

    @property
    def rr_s(self) -> FloatArray:
        """Intervals between successive beats in s, (n - 1,)."""
        return np.diff(self.onsets_s)


def find_beats(ecg_mv: ArrayLike, rate: float) -> Beats:
    """Find the QRS complexes of a record and build its median beat.

    Parameters
    ----------
    ecg_mv
        (12, T) in mV, leads as in `signals.LEADS`; NaN and infinite samples are bridged.
    rate
        Samples per second, 100 or more.

    Raises
    ------
    InputError
        For another shape, or a rate below 100. A record without measurable beats is no error: see `reason`.
    """
    raw = np.asarray(ecg_mv, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[0] != len(signals.LEADS):
        raise InputError(f"an ECG of 12 leads has shape (12, T), got {raw.shape}: check the axes.")
    if rate < _LOWEST_RATE:
        raise InputError(f"rate is {rate} Hz: intervals need at least {_LOWEST_RATE} samples/s.")
    if raw.shape[1] < 2 * rate:
        return _nothing("the record is shorter than 2 s")
    finite = np.isfinite(raw)
    if finite.mean() < 0.8:
        return _nothing("more than a fifth of the samples is missing")
    raw = _bridged(raw, finite)
    usable = np.ptp(raw, axis=1) > 0
    if usable[list(_INDEPENDENT)].sum() < 4 or not usable[:2].any():
        return _nothing("too many leads are flat")
    fine = to_grid(raw, rate)
    centres = find_qrs(fine[list(_INDEPENDENT)], GRID)
    if centres.size < MIN_BEATS:
        return Beats(centres / GRID, *_false(centres.size), None, None, "fewer than 3 beats")
    return _median_beat(fine, centres)


def _bridged(raw: FloatArray, finite: NDArray[np.bool_]) -> FloatArray:
    """Put straight lines through unrecorded samples; a lead without any sample becomes 0."""
    if finite.all():
        return raw
    bridged, time = raw.copy(), np.arange(raw.shape[1])
    for lead, known in zip(bridged, finite, strict=True):
        lead[~known] = np.interp(time[~known], time[known], lead[known]) if known.any() else 0.0
    return bridged


def _nothing(reason: str) -> Beats:
    return Beats(np.empty(0), *_false(0), None, None, reason)


def _false(n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)


def to_grid(raw: FloatArray, rate: float) -> FloatArray:
    """Take drift and mains away and bring a signal (leads, T) to `GRID` samples/s, in one Fourier transform.

    The gain is 0 at 0 Hz, rises like a Butterworth filter of order 2 run both ways with its corner at
    `LOW_CUT`, and falls from 1 at 25 Hz to 0 at 49 Hz along a cosine; it has no phase. So 100 and 500 Hz
    recordings of one heart look alike.
    """
    pad = int(_PAD * rate)
    wide = np.pad(raw - np.median(raw, axis=1, keepdims=True), ((0, 0), (pad, pad)), mode="reflect")
    n = wide.shape[1]
    f = np.fft.rfftfreq(n, 1 / rate)
    gain = f**4 / (f**4 + LOW_CUT**4)
    gain *= np.where(f < 25, 1.0, np.where(f > 49, 0.0, 0.5 + 0.5 * np.cos(np.pi * (f - 25) / 24)))
    keep = f <= 50
    spectrum = np.fft.rfft(wide)[:, keep] * gain[keep]
    n_out = round(n * GRID / rate)
    fine = np.fft.irfft(spectrum, n_out) * (n_out / n)
    start = round(pad * GRID / rate)
    return fine[:, start : start + round(raw.shape[1] * GRID / rate)]


def _segments(x: FloatArray, centres: IntArray, before: int, after: int) -> FloatArray:
    """Cut (n, leads, before + after) around `centres`, zeros beyond the ends."""
    padded = np.pad(x, ((0, 0), (before, after)))
    index = np.clip(centres[:, None] + np.arange(before + after), 0, padded.shape[1] - 1)
    return padded[:, index].transpose(1, 0, 2)


def _lags(segments: FloatArray, template: FloatArray) -> tuple[IntArray, FloatArray]:
    """Best shift and correlation of each segment (n, leads, w + 2 m) to a template (leads, w).

    Returns the shift (n,) in samples, -m to m, and the correlation over all leads (n,) there.
    """
    width = template.shape[1]
    m = (segments.shape[2] - width) // 2
    size = 2 ** int(np.ceil(np.log2(segments.shape[2])))
    cross = np.fft.irfft(
        (np.fft.rfft(segments, size) * np.conj(np.fft.rfft(template, size))).sum(axis=1), size
    )[:, : 2 * m + 1]
    power = np.cumsum((segments**2).sum(axis=1), axis=1)
    power = np.pad(power, ((0, 0), (1, 0)))
    local = np.maximum(power[:, width:] - power[:, :-width], 1e-12)[:, : 2 * m + 1]
    correlation = cross / np.sqrt(local * max(float((template**2).sum()), 1e-12))
    best = np.argmax(correlation, axis=1)
    return best - m, correlation[np.arange(best.size), best]


def _dominant(fine: FloatArray, centres: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Align the beats to one another; return refined centres and which are of the dominant shape.

    The shape with most beats wins; within one beat of that, the shape with the narrower QRS, so that in
    bigeminy the conducted beats are measured.
    """
    x = fine[list(_INDEPENDENT)]
    x = x[:, 1:] - x[:, :-1]  # slopes: blind to ST, T and drift
    half, m = 40, 25  # 160 ms of QRS, up to 50 ms of shift
    wide = _segments(x, centres, half + m, half + m)
    best: tuple[float, IntArray, NDArray[np.bool_]] | None = None
    left = np.ones(centres.size, dtype=bool)
    most = 0
    for _ in range(6):  # shapes; more are noise
        if not left.any():
            break
        seed = int(np.flatnonzero(left)[0])
        template = wide[seed, :, m:-m]
        for _ in range(2):
            shift, r = _lags(wide, template)
            alike = r > _SAME_SHAPE
            alike[seed] = True
            aligned = _segments(x, centres + shift, half, half)
            template = np.median(aligned[alike], axis=0)
        energy = (template**2).sum(axis=0)
        width = float((energy > 0.05 * energy.max()).sum())
        count = int(alike.sum())
        if best is None or count > most + 1 or (count >= most - 1 and width < 0.75 * best[0]):
            best, most = (width, centres + shift, alike), count
        left &= ~alike
        left[seed] = False
    assert best is not None  # there is at least one beat
    return best[1] + _middle(fine, best[1], best[2]), best[2]


def _middle(fine: FloatArray, centres: IntArray, alike: NDArray[np.bool_]) -> int:
    """Samples from the aligned centres to the middle of the QRS complex: halfway between its steep ends."""
    x = fine[list(_INDEPENDENT)]
    beat = np.median(_segments(x, centres[alike], 80, 80), axis=0)
    speed = np.sqrt((np.diff(beat, axis=1) ** 2).sum(axis=0))
    steep = np.flatnonzero(speed > 0.6 * speed.max())
    return round(float(steep[0] + steep[-1]) / 2) - 80


def _median_beat(fine: FloatArray, centres: IntArray) -> Beats:
    """Choose the beats that count and take their median."""
    refined, regular = _dominant(fine, centres)
    refined = np.where(regular, refined, centres)
    refined, first = np.unique(refined, return_index=True)
    regular = regular[first]
    if refined.size < MIN_BEATS:
        return Beats(refined / GRID, *_false(refined.size), None, None, "fewer than 3 beats")
    rr = np.diff(refined)
    usual = float(np.median(rr))
    early = np.append(False, rr < 0.82 * usual)
    if early.mean() > 0.25:  # an irregular rhythm has no early beats
        early[:] = False
    inside = (refined >= 0.75 * BEFORE) & (refined + 0.65 * AFTER < fine.shape[1])
    used = regular & ~early & inside
    if used.sum() < MIN_BEATS:
        used = regular & inside
    onsets = refined / GRID
    if used.sum() < MIN_BEATS:
        return Beats(onsets, used, regular, None, None, "fewer than 3 beats of one shape")
    whole = _segments(fine, refined[used], BEFORE, AFTER)
    time = refined[used][:, None] + np.arange(-BEFORE, AFTER)
    beyond = (time < 0) | (time >= fine.shape[1])
    if beyond.all(axis=0).any():
        return Beats(onsets, used, regular, None, None, "no beat is recorded whole")
    if beyond.any():  # a beat at an end counts as far as it was recorded
        median = np.nanmedian(np.where(beyond[:, None, :], np.nan, whole), axis=0)
        whole = np.where(beyond[:, None, :], median, whole)
    else:
        median = np.median(whole, axis=0)
    return Beats(onsets, used, regular, median, whole[:, list(_INDEPENDENT)])


def find_qrs(fine: FloatArray, rate: int) -> IntArray:
    """Return the centre of each QRS complex, in samples.

    Each lead is scaled by its own steepest moments, weighted by how much those stand out of the rest and
    capped, so that neither a tall nor a noisy lead decides alone. Threshold, 250 ms of refractoriness,
    T-wave rule and search back follow Pan & Tompkins (IEEE Trans Biomed Eng 1985; 32: 230).

    Parameters
    ----------
    fine
        (leads, T) without drift; independent leads.
    rate
        Samples per second, a multiple of 100.
    """
    step = rate // _DETECTION
    x = fine[:, ::step]
    slope = np.abs(x[:, 2:] - x[:, :-2])
    top = np.quantile(slope, 0.97, axis=1, keepdims=True)
    top = np.where(top > 0, top, np.inf)
    weight = np.clip(1 - np.median(slope, axis=1, keepdims=True) / (0.5 * top), 0.05, 1) ** 2
    energy = (weight * np.minimum(slope / top, 1.2)).sum(axis=0) / weight.sum()
    energy = np.convolve(energy, np.hanning(15) / np.hanning(15).sum(), mode="same")
    peaks, _ = find_peaks(energy, distance=int(0.25 * _DETECTION))
    if peaks.size == 0:
        return np.empty(0, dtype=np.int64)
    height = energy[peaks]
    window = int(1.5 * _DETECTION)
    tops = [energy[i : i + window].max() for i in range(0, energy.size - window // 2, window)]
    typical = float(np.median(tops))
    chosen = peaks[height > 0.42 * typical]
    chosen = _without_t_waves(chosen, energy)
    if chosen.size >= 2:
        size = np.sqrt((x**2).sum(axis=0))
        chosen = _search_back(chosen, peaks[height > 0.2 * typical], size)
    return ((chosen + 1) * step).astype(np.int64)


def _without_t_waves(peaks: NDArray[np.intp], energy: FloatArray) -> NDArray[np.intp]:
    """Drop a peak within 380 ms of a predecessor that is much steeper."""
    kept: list[int] = []
    for p in peaks.tolist():
        if kept and p - kept[-1] < 0.38 * _DETECTION:
            if energy[p] < 0.6 * energy[kept[-1]]:
                continue
            if energy[kept[-1]] < 0.5 * energy[p]:
                kept.pop()
        kept.append(p)
    return np.array(kept, dtype=np.intp)


def _search_back(
    chosen: NDArray[np.intp], weak: NDArray[np.intp], size: FloatArray
) -> NDArray[np.intp]:
    """Add weak peaks between beats: those of long gaps, and those as tall as beats (broad ectopic ones).

    `size` is the distance of all leads from their baseline; T waves are kept out by their time.
    """
    usual = float(np.median(np.diff(chosen)))
    reach = int(0.08 * _DETECTION)

    def height(peak: int) -> float:
        return float(size[max(peak - reach, 0) : peak + reach].max())

    typical = float(np.median([height(p) for p in chosen.tolist()]))
    found = []
    ends = [*chosen[1:].tolist(), size.size + int(0.25 * _DETECTION)]
    for a, b in zip(chosen.tolist(), ends, strict=True):
        inside = weak[(weak > a + 0.38 * _DETECTION) & (weak < b - 0.25 * _DETECTION)].tolist()
        tallest = max(inside, key=height, default=-1)
        if tallest >= 0 and height(tallest) > (0.3 if b - a > 1.66 * usual else 0.55) * typical:
            found.append(tallest)
    return np.sort(np.append(chosen, np.array(found, dtype=np.intp)))
