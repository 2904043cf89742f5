"""Units, leads, z-score, padding, rates and quality of 12-lead ECGs: pure functions on arrays.

Shapes end in `(..., 12, T)`: any batch axes, 12 leads in the order of `LEADS`, T samples. No function
writes into its input; what was not recorded is NaN (in mV), and is bridged or left out.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import resample_poly

from ecgrepro.errors import InputError

Array = NDArray[Any]


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The one lead order of this project."""

PACKED_GAIN = 1000.0
"""Analogue-to-digital units (adu) per mV in packed signals, as in PTB-XL's own files."""

INVALID = -32768
"""The int16 value by which WFDB format 16 marks a sample that was not recorded."""

MODEL_RATE = 100
"""Samples per second that the encoders are built for."""


def _as_float(x: ArrayLike) -> Array:
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


def _moments(x: Array) -> tuple[Array, Array, Array]:
    """Return (range, centred unit signal, its SD) over finite samples, in float64.

    Mapping to [0, 1] first makes the SD exact at any offset and amplitude: a tiny signal on a large
    offset keeps its shape, and only a lead whose samples are all equal has range 0 (S-10).
    """
    wide = x.astype(np.float64)
    finite = np.isfinite(wide)
    low = np.where(finite, wide, np.inf).min(axis=-1, keepdims=True)
    high = np.where(finite, wide, -np.inf).max(axis=-1, keepdims=True)
    low, high = np.where(low > high, 0.0, low), np.where(low > high, 0.0, high)
    span = high - low
    unit = np.where(finite, wide - low, 0.0) / np.where(span > 0, span, 1.0)
    count = np.maximum(finite.sum(axis=-1, keepdims=True), 1)
    centred = np.where(finite, unit - unit.sum(axis=-1, keepdims=True) / count, 0.0)
    sd = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count)
    return span, centred, sd


def zscore(x: ArrayLike) -> Array:
    """Scale each lead to mean 0 and SD 1 over its last axis.

    Parameters
    ----------
    x
        Signal of shape `(..., T)`, any unit. NaN and infinite samples are left out of mean and SD.

    Returns
    -------
    Array
        Same shape; float32 (float64 where the input is). Unrecorded samples are 0, and so is a lead
        whose recorded samples are all equal; a lead that merely sums to 0 is scaled like any other.
    """
    array = _as_float(x)
    span, centred, sd = _moments(array)
    scaled: Array = np.where(span > 0, centred / np.where(sd > 0, sd, 1.0), 0.0)
    return scaled.astype(array.dtype)


def lead_scale(x: ArrayLike) -> Array:
    """Return the SD of each lead (population form, unrecorded samples left out), shape `(...)`.

    This is what `zscore` divides by: it carries the voltage that z-scoring erases. Unit of `x`.
    """
    array = _as_float(x)
    span, _, sd = _moments(array)
    scale: Array = (sd * span)[..., 0]
    return scale.astype(array.dtype)


def valid_span(n_samples: int, length: int) -> slice:
    """Return where the recorded samples lie in a window that `fit_length` filled.

    A loss on a padded window is taken over this slice, so that padding does not count (S-34).
    """
    if n_samples < 1 or length < 1:
        raise InputError(
            f"n_samples and length must be positive, got {n_samples} and {length}: check the shapes."
        )
    if n_samples >= length:
        return slice(0, length)
    left = (length - n_samples) // 2
    return slice(left, left + n_samples)


def fit_length(x: ArrayLike, length: int) -> Array:
    """Centre a signal in `length` samples: pad with zeros, or crop when it is longer.

    An odd difference puts the extra sample on the right, so the result is always `length` long (S-25).

    Parameters
    ----------
    x
        Signal of shape `(..., T)`.
    length
        Samples wanted.

    Returns
    -------
    Array
        New array of shape `(..., length)`, dtype of `x`.
    """
    array = np.asarray(x)
    n_samples = array.shape[-1]
    span = valid_span(n_samples, length)
    fitted = np.zeros((*array.shape[:-1], length), dtype=array.dtype)
    start = max(0, (n_samples - length) // 2)
    fitted[..., span] = array[..., start : start + length]
    return fitted


def to_millivolts(adu: ArrayLike, gain: float = PACKED_GAIN) -> NDArray[np.float32]:
    """Turn analogue-to-digital units into mV; WFDB's invalid sample (int16 -32768) becomes NaN.

    Parameters
    ----------
    adu
        Integers of any shape.
    gain
        adu per mV.
    """
    if not gain > 0:
        raise InputError(f"gain must be positive (adu per mV), got {gain}: check the header.")
    array = np.asarray(adu)
    millivolts = array.astype(np.float32) / np.float32(gain)
    if array.dtype == np.int16:
        millivolts[array == INVALID] = np.nan
    return millivolts


def lead_positions(names: Sequence[str]) -> list[int]:
    """Return where each of `LEADS` stands in `names`, whatever the case (the release writes AVR).

    Raises
    ------
    InputError
        A lead is absent, or named twice.
    """
    known = [name.strip().upper() for name in names]
    missing = [lead for lead in LEADS if lead.upper() not in known]
    if missing:
        raise InputError(
            f"lead {', '.join(missing)} is missing among {', '.join(names) or 'no names'}: "
            "leave this record out, or give all 12 leads."
        )
    twice = [lead for lead in LEADS if known.count(lead.upper()) > 1]
    if twice:
        raise InputError(f"lead {', '.join(twice)} is named more than once: correct the header.")
    return [known.index(lead.upper()) for lead in LEADS]


def reorder_leads(x: ArrayLike, names: Sequence[str]) -> Array:
    """Bring leads into the order of `LEADS` by their names; leads beyond the 12 are left out.

    Parameters
    ----------
    x
        Signal of shape `(..., L, T)`.
    names
        The L lead names, in any case.

    Returns
    -------
    Array
        New array of shape `(..., 12, T)`.
    """
    array = np.asarray(x)
    if array.ndim < 2 or array.shape[-2] != len(names):
        raise InputError(
            f"{len(names)} lead names do not fit a signal of shape {array.shape}: "
            "the last but one axis must hold the leads."
        )
    reordered: Array = array[..., lead_positions(names), :]
    return reordered


def _fill_gaps(x: Array) -> tuple[Array, NDArray[np.bool_]]:
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
    array = _as_float(x)
    if not (rate_in > 0 and rate_out > 0):
        raise InputError(
            f"rates must be positive, got {rate_in} and {rate_out} Hz: check the header."
        )
    ratio = (Fraction(rate_out) / Fraction(rate_in)).limit_denominator(10_000)
    if ratio == 1:
        return array.copy()
    filled, gaps = _fill_gaps(array)
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


def prepare(
    adu: ArrayLike, rate: float = MODEL_RATE, length: int = 1024
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn packed records into network input: z-score by lead, then zero-pad (or crop) to `length`.

    Equal to `fit_length(zscore(to_millivolts(adu)), length)` with `lead_scale`, but several times
    faster, because it runs on every batch of a training. Other rates are resampled to 100 Hz first.

    Parameters
    ----------
    adu
        int16 of shape `(..., 12, T)`, 1000 adu per mV; -32768 marks an unrecorded sample.
    rate
        Samples per second of `adu`.
    length
        Samples of the window; 1,000 recorded samples lie at `valid_span(1000, length)`.

    Returns
    -------
    x
        float32 `(..., 12, length)`; unrecorded samples, flat leads and padding are 0.
    scale
        float32 `(..., 12)`: SD of each lead over its recorded samples, in mV.
    """
    array = np.asarray(adu)
    if array.dtype != np.int16:
        raise InputError(
            f"prepare takes int16 adu as packed, got {array.dtype}: use zscore for mV."
        )
    if array.ndim == 0 or array.shape[-1] == 0:
        raise InputError(f"a signal of shape {array.shape} has no samples: check what was read.")
    n_samples = array.shape[-1]
    low = array.min(axis=-1, keepdims=True)
    if rate != MODEL_RATE or n_samples > length or (low == INVALID).any():
        millivolts = resample(to_millivolts(array), rate, MODEL_RATE)
        return fit_length(zscore(millivolts), length), lead_scale(millivolts)
    window = np.zeros((*array.shape[:-1], length), dtype=np.float32)
    inner = window[..., valid_span(n_samples, length)]
    # the lead's minimum is an exact integer: once it is gone, float32 sums lose next to nothing
    np.subtract(array, low, out=inner, dtype=np.float32)
    inner -= inner.mean(axis=-1, keepdims=True)
    sd = np.sqrt(np.einsum("...t,...t->...", inner, inner) / np.float32(n_samples))
    flat = (array.max(axis=-1, keepdims=True) == low)[..., 0]
    sd[flat] = 0.0
    inner *= np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd)).astype(np.float32)[..., None]
    return window, sd / np.float32(PACKED_GAIN)


class Quality(NamedTuple):
    """Faults of a recording by lead; each field is a bool array `(..., leads)`.

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


def check_quality(x: ArrayLike, rate: float) -> Quality:
    """Flag missing samples, flat leads and clipped leads of a signal `(..., leads, T)` at `rate` Hz."""
    filled, gaps = _fill_gaps(_as_float(x))
    low, high = filled.min(axis=-1, keepdims=True), filled.max(axis=-1, keepdims=True)
    median, third = np.median(filled, axis=-1, keepdims=True), (high - low) / 3
    run = min(max(3, round(0.06 * rate)), filled.shape[-1])

    def rests_at(level: Array) -> NDArray[np.bool_]:
        runs = np.lib.stride_tricks.sliding_window_view(filled == level, run, axis=-1)
        far = (np.abs(level - median) > third)[..., 0]
        return np.asarray(runs.all(axis=-1).any(axis=-1) & far)

    flat = (high == low)[..., 0]
    return Quality(np.asarray(gaps.any(axis=-1)), flat, (rests_at(high) | rests_at(low)) & ~flat)
