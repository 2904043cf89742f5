"""Units, leads, z-score and padding of 12-lead ECGs, to the network's input: pure functions on arrays.

Shapes end in `(..., 12, T)`: any batch axes, 12 leads in the order of `LEADS`, T samples. No function
writes into its input. Resampling and filtering are those of `ecgrepro.filters`, offered here as well.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError
from ecgrepro.filters import Array, as_float, bandpass, resample, seconds_to_samples

__all__ = [
    "INVALID",
    "LEADS",
    "MODEL_RATE",
    "PACKED_GAIN",
    "bandpass",
    "fit_length",
    "lead_positions",
    "lead_scale",
    "prepare",
    "reorder_leads",
    "resample",
    "seconds_to_samples",
    "to_millivolts",
    "valid_span",
    "zscore",
]

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The one lead order of this project."""

PACKED_GAIN = 1000.0
"""Analogue-to-digital units (adu) per mV in packed signals, as in PTB-XL's own files."""

INVALID = -32768
"""The int16 value by which WFDB format 16 marks a sample that was not recorded."""

MODEL_RATE = 100
"""Samples per second that the encoders are built for."""


def _moments(x: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Return (lowest, range, unit signal, its mean, its SD) over finite samples, in float64.

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
    mean = unit.sum(axis=-1, keepdims=True) / count
    centred = np.where(finite, unit - mean, 0.0)
    sd = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count)
    return low, span, centred, mean, sd


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
    array = as_float(x)
    _, span, centred, _, sd = _moments(array)
    scaled: Array = np.where(span > 0, centred / np.where(sd > 0, sd, 1.0), 0.0)
    return scaled.astype(array.dtype)


def lead_scale(x: ArrayLike) -> Array:
    """Return the SD of each lead (population form, unrecorded samples left out), shape `(...)`.

    This is what `zscore` divides by: it carries the voltage that z-scoring erases. Unit of `x`.
    """
    array = as_float(x)
    _, span, _, _, sd = _moments(array)
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
