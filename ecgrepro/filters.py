"""Resampling and filtering along time: pure functions on arrays that bridge what was not recorded.

Shapes end in `(..., T)`: any batch and lead axes, T samples. No function writes into its input.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, resample_poly, sosfiltfilt

from ecgrepro.errors import InputError

Array = NDArray[Any]


def as_float(x: ArrayLike) -> Array:
    """Return `x` as floating point, integers as float32.

    Raises
    ------
    InputError
        There is no time axis, or no sample on it.
    """
    array = np.asarray(x)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(
            f"a signal needs at least one sample on its last axis, got shape {array.shape}: "
            "check what was read."
        )
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float32)


def seconds_to_samples(seconds: float, rate: float) -> int:
    """Return the samples that `seconds` last at `rate` Hz, at least 1 (S-26)."""
    if seconds < 0 or rate <= 0:
        raise InputError(f"seconds ({seconds}) must be >= 0 and rate ({rate}) > 0: check both.")
    return max(1, round(seconds * rate))


def fill_gaps(x: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return `x` with unrecorded samples interpolated linearly in time, and where they were."""
    gaps = ~np.isfinite(x)
    if not gaps.any():
        return x, gaps
    filled = x.copy()
    time = np.arange(x.shape[-1])
    for position in np.argwhere(gaps.any(axis=-1)):
        lead, gap = filled[tuple(position)], gaps[tuple(position)]
        lead[gap] = 0.0 if gap.all() else np.interp(time[gap], time[~gap], lead[~gap])
    return filled, gaps


def resample(x: ArrayLike, rate_in: float, rate_out: float) -> Array:
    """Change the sampling rate with a polyphase anti-aliasing filter (`scipy.signal.resample_poly`).

    Parameters
    ----------
    x
        Signal of shape `(..., T)`. NaN is bridged before filtering and set again in the output where
        the nearest input sample was NaN. A constant lead stays exactly constant.
    rate_in, rate_out
        Samples per second.

    Returns
    -------
    Array
        Shape `(..., ceil(T * rate_out / rate_in))`, floating dtype of `x`.
    """
    array = as_float(x)
    if not (rate_in > 0 and rate_out > 0):
        raise InputError(
            f"rates must be positive, got {rate_in} and {rate_out} Hz: check the header."
        )
    ratio = (Fraction(rate_out) / Fraction(rate_in)).limit_denominator(10_000)
    if ratio == 1:
        return array.copy()
    filled, gaps = fill_gaps(array)
    # "line" takes the straight line from first to last sample away first: no transient at the ends
    result: Array = resample_poly(
        filled, ratio.numerator, ratio.denominator, axis=-1, padtype="line"
    )
    result = result.astype(array.dtype)
    constant = np.ptp(filled, axis=-1) == 0
    result[constant] = filled[constant][..., :1]
    nearest = np.round(np.arange(result.shape[-1]) / float(ratio)).astype(int)
    result[gaps[..., np.minimum(nearest, array.shape[-1] - 1)]] = np.nan
    return result


def bandpass(x: ArrayLike, rate: float, low: float = 0.5, high: float = 40.0) -> Array:
    """Keep `low` to `high` Hz: Butterworth of order 2, forwards and backwards, so without delay.

    Parameters
    ----------
    x
        Signal of shape `(..., T)`. NaN is bridged for filtering and stays NaN in the output; a
        constant lead becomes exactly 0.
    rate
        Samples per second.
    low, high
        Corner frequencies in Hz, `0 < low < high < rate / 2`.

    Returns
    -------
    Array
        Same shape, floating dtype of `x`.
    """
    array = as_float(x)
    if not 0 < low < high < rate / 2:
        raise InputError(
            f"band {low} to {high} Hz at {rate} Hz is impossible: choose 0 < low < high < rate / 2."
        )
    filled, gaps = fill_gaps(array)
    sections = butter(2, (low, high), btype="bandpass", fs=rate, output="sos")
    # one period of the low corner settles the high-pass; the default pad is far shorter
    padding = min(array.shape[-1] - 1, seconds_to_samples(1 / low, rate))
    # even: a record that ends within a QRS would get a step of baseline from the default, odd
    result: Array = sosfiltfilt(sections, filled, axis=-1, padtype="even", padlen=padding)
    result = result.astype(array.dtype)
    result[np.ptp(filled, axis=-1) == 0] = 0.0
    result[gaps] = np.nan
    return result
