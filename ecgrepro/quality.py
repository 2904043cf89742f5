"""Quality of a recording, lead by lead: what is missing, flat, or cut off by the amplifier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgrepro.filters import Array, as_float, fill_gaps, seconds_to_samples


@dataclass(frozen=True)
class Quality:
    """Faults of a record by lead; each field is a bool array of shape `(..., leads)`.

    Attributes
    ----------
    missing
        Some sample is NaN or infinite.
    flat
        All recorded samples are equal (or none is recorded).
    clipped
        The signal rests at its own maximum or minimum for 60 ms or more, and that level is further from
        the median than a third of the range: an amplifier at its limit, not an isoelectric line.
    """

    missing: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    clipped: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """True where no lead has a fault; shape `(...)`."""
        fault: NDArray[np.bool_] = self.missing | self.flat | self.clipped
        return np.asarray(~fault.any(axis=-1))


def _rests_at(x: Array, level: Array, samples: int) -> NDArray[np.bool_]:
    """True where the last axis equals `level` for at least `samples` in a row."""
    if x.shape[-1] < samples:
        return np.zeros(x.shape[:-1], dtype=bool)
    windows = np.lib.stride_tricks.sliding_window_view(x == level, samples, axis=-1)
    return np.asarray(windows.all(axis=-1).any(axis=-1))


def check_quality(x: ArrayLike, rate: float) -> Quality:
    """Flag missing samples, flat leads and clipped leads of a signal `(..., leads, T)` at `rate` Hz."""
    array = as_float(x)
    filled, gaps = fill_gaps(array)
    low = filled.min(axis=-1, keepdims=True)
    high = filled.max(axis=-1, keepdims=True)
    median = np.median(filled, axis=-1, keepdims=True)
    third, samples = (high - low) / 3, max(3, seconds_to_samples(0.06, rate))
    at_top = _rests_at(filled, high, samples) & (high - median > third)[..., 0]
    at_bottom = _rests_at(filled, low, samples) & (median - low > third)[..., 0]
    flat = (high == low)[..., 0]
    return Quality(np.asarray(gaps.any(axis=-1)), flat, (at_top | at_bottom) & ~flat)
