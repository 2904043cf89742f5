"""Signals of the Minas Gerais telehealth network: hdf5 tracings of SaMi-Trop and CODE-15 %."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecgrepro.data.signals import INVALID, LEADS, MODEL_RATE, PACKED_GAIN, fit_length, resample
from ecgrepro.errors import InputError

RATE = 400
"""Samples per second."""

UNIT_MV = 0.1
"""Millivolts per unit: the files are in 1e-4 V."""

SAMPLES = 4096
"""Stored samples: 10.24 s; shorter recordings (2,800 samples, 7 s) are padded with zeros on both sides.

The leads are in the order DI, DII, DIII, aVR, aVL, aVF, V1 to V6, which is `signals.LEADS`.
"""


def read_tracings(
    file: Path, rows: Sequence[int] | npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Read recordings from an hdf5 file, in mV.

    Parameters
    ----------
    file
        With a data set ``tracings`` of shape (N, 4096, 12).
    rows
        Positions along N, in any order.

    Returns
    -------
    float32 array (len(rows), 12, 4096)
        In mV, leads as `signals.LEADS`, at 400 Hz, padding as stored.

    Raises
    ------
    InputError
        If the file is missing or is no hdf5 file, has no such data set, or a row lies outside it.
    """
    wanted = np.asarray(rows, dtype=np.int64)
    with open_hdf5(file) as stream:
        tracings = dataset(stream, "tracings", file)
        if tracings.ndim != 3 or tracings.shape[2] != len(LEADS):
            raise InputError(f"{file}: tracings has shape {tracings.shape}, not (N, samples, 12).")
        outside = wanted[(wanted < 0) | (wanted >= len(tracings))]
        if len(outside):
            raise InputError(
                f"{file} has {len(tracings)} recordings: there is no row {outside[0]}."
            )
        order, back = np.unique(wanted, return_inverse=True)  # h5py wants ascending rows
        values = tracings[order][back] if len(order) else np.empty((0, *tracings.shape[1:]))
    return np.ascontiguousarray(values.transpose(0, 2, 1), dtype=np.float32) * np.float32(UNIT_MV)


def to_packed(tracing: npt.NDArray[np.float32], rate: float = RATE) -> npt.NDArray[np.int16]:
    """Bring one recording to the packed form: 10 s at 100 Hz, 1000 adu per mV.

    Zeros that pad a shorter recording are taken away before resampling (they would ring), and what lies outside the
    recording afterwards is marked as not recorded.

    Parameters
    ----------
    tracing
        Shape (12, samples), mV, for example from `read_tracings`.
    rate
        Samples per second.

    Returns
    -------
    int16 array (12, 1000)
        Centred; `signals.INVALID` where nothing was recorded, and everywhere for an empty recording.
    """
    span = recorded_span(tracing)
    length = 10 * MODEL_RATE
    if span.start == span.stop:
        return np.full((len(tracing), length), INVALID, dtype=np.int16)
    signal = resample(tracing[:, span], rate, MODEL_RATE)
    adu = np.clip(np.rint(signal * PACKED_GAIN), INVALID + 1, -INVALID - 1)
    # fit_length pads with zeros: shift the marker to zero, pad, and shift it back
    padded = fit_length(adu.astype(np.float64) - INVALID, length) + INVALID
    return padded.astype(np.int16)


def recorded_span(tracing: npt.NDArray[np.float32]) -> slice:
    """Return the samples between the first and the last that is not zero in every lead."""
    used = np.flatnonzero((tracing != 0).any(axis=0))
    return slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)


def open_hdf5(file: Path) -> Any:
    """Open an hdf5 file for reading; `InputError` where that is not possible."""
    import h5py

    try:
        return h5py.File(file, "r")
    except FileNotFoundError:
        raise InputError(f"{file} is missing: download and unpack it first.") from None
    except OSError as error:
        raise InputError(
            f"{file} is not a readable hdf5 file ({error}): download it again."
        ) from None


def dataset(stream: Any, name: str, file: Path) -> Any:
    """Return a data set of an open hdf5 file; `InputError` where there is none of that name."""
    if name not in stream:
        raise InputError(f"{file} has no data set {name!r} (it has {', '.join(stream) or 'none'}).")
    return stream[name]
