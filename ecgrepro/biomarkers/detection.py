"""Where the QRS complexes are: from the steepness of all leads together, whatever their shape."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DETECTION = 100  # samples/s of the detection function


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
