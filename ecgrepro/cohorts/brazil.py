"""Brazilian ECGs with death as outcome: SaMi-Trop and CODE-15 %, of the Minas Gerais telehealth network.

SaMi-Trop (Zenodo 4905618): 1,631 patients with chronic Chagas cardiomyopathy, followed for about two years;
``exams.csv`` and ``exams.hdf5``, whose rows follow the csv. A normal ECG there is no healthy control.

CODE-15 % (Zenodo 4916206): 345,779 ECGs of 233,770 primary-care patients, the outcome known for a patient's first exam;
``exams.csv`` and eighteen parts ``exams_part0.hdf5`` … ``exams_part17.hdf5`` (``exam_id``, ``tracings``) whose last
row is a dummy of zeros. Parts may be missing: exams without a recording are left out and counted.

Both: Ribeiro and others 2021, doi 10.5281/zenodo.4905618 and 10.5281/zenodo.4916206.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.cohorts.schema import (
    DAYS_PER_YEAR,
    Cohort,
    read_table,
    require_columns,
    true_or_false,
    validate_follow_up,
)
from ecgrepro.data.signals import INVALID, LEADS, MODEL_RATE, PACKED_GAIN, fit_length, resample
from ecgrepro.errors import InputError

CSV = "exams.csv"
SAMI_TROP_TRACINGS = "exams.hdf5"
CODE15_PARTS = tuple(f"exams_part{number}.hdf5" for number in range(18))
CODE15_FINDINGS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
EXAM_COLUMNS = ("exam_id", "age", "is_male", "nn_predicted_age", "normal_ecg", "death", "timey")

RATE = 400
"""Samples per second."""

UNIT_MV = 0.1
"""Millivolts per unit: the files are in 1e-4 V.

A recording has 4,096 samples (10.24 s); shorter ones (2,800 samples, 7 s) are padded with zeros on both sides.
The leads are in the order DI, DII, DIII, aVR, aVL, aVF, V1 to V6, which is `signals.LEADS`.
"""


def read_sami_trop(folder: Path | str) -> Cohort:
    """Read SaMi-Trop: event = death, one exam a patient.

    Columns beside the schema's: ``waveform`` and ``row`` (where the recording is), ``normal_ecg``, ``nn_predicted_age``
    (the output of a network, not an observation).

    Raises
    ------
    InputError
        If a file or column is missing, csv and hdf5 differ in length, or a row breaks the schema.
    """
    file, tracings = Path(folder) / CSV, Path(folder) / SAMI_TROP_TRACINGS
    exams = read_table(file)
    table = _follow_up(exams, file)
    with open_hdf5(tracings) as stream:
        recordings = len(dataset(stream, "tracings", tracings))
    if recordings != len(exams):
        raise InputError(
            f"{file} has {len(exams)} exams and {SAMI_TROP_TRACINGS} {recordings} recordings: "
            "rows are matched by position, so download both again."
        )
    table.insert(0, "patient_id", exams["exam_id"])
    table = table.assign(waveform=SAMI_TROP_TRACINGS, row=np.arange(len(exams)))
    checked = validate_follow_up(table, file.name, zero_time="half_day")
    label = "SaMi-Trop (Zenodo 4905618), death from any cause"
    flow = (("exams", len(exams)),)
    return Cohort("SaMi-Trop", checked, label, restricted=False, simulated=False, flow=flow)


def read_code15(folder: Path | str) -> Cohort:
    """Read CODE-15 %: event = death, a patient's first exam (the only one with an outcome).

    A time of 0 (death on the day of the exam, in years with few digits) counts as half a day. Columns beside the
    schema's: as `read_sami_trop`, and the six findings.

    Raises
    ------
    InputError
        If the csv or every part is missing, or a row breaks the schema.
    """
    file = Path(folder) / CSV
    exams = read_table(file)
    require_columns(exams, ("patient_id", *CODE15_FINDINGS), file)
    table = _follow_up(exams, file)
    for name in CODE15_FINDINGS:
        table[name] = true_or_false(exams[name], file.name)
    table.insert(0, "patient_id", exams["patient_id"])
    followed = table[table["event"].notna()]
    found = _index_recordings(Path(folder))
    matched = followed.merge(found, on="ecg_id", how="inner", validate="one_to_one")
    if len(matched) == 0:
        raise InputError(
            f"{folder}: no exam with an outcome has a recording here: download more parts."
        )
    flow = (
        ("exams", len(exams)),
        ("with an outcome (first exam of a patient)", len(followed)),
        ("with a recording on disk", len(matched)),
    )
    words = f"{file.name} (exams with a recording)"
    checked = validate_follow_up(matched, words, zero_time="half_day")
    label = "CODE-15 % (Zenodo 4916206), death from any cause"
    return Cohort("CODE-15", checked, label, restricted=False, simulated=False, flow=flow)


def read_signals(folder: Path | str, table: pd.DataFrame) -> npt.NDArray[np.int16]:
    """Return the packed signals (n, 12, 1000) of rows of a cohort's table, in their order.

    About 200 kB a recording pass through memory while reading: call it in chunks of some thousands.
    """
    signals = np.empty((len(table), len(LEADS), 10 * MODEL_RATE), dtype=np.int16)
    for name, rows in table.groupby("waveform").indices.items():
        tracings = read_tracings(Path(folder) / str(name), table["row"].to_numpy()[rows])
        signals[rows] = [to_packed(tracing) for tracing in tracings]
    return signals


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
    span = unpadded_span(tracing)
    length = 10 * MODEL_RATE
    if span.start == span.stop:
        return np.full((len(tracing), length), INVALID, dtype=np.int16)
    signal = resample(tracing[:, span], rate, MODEL_RATE)
    adu = np.clip(np.rint(signal * PACKED_GAIN), INVALID + 1, -INVALID - 1)
    # fit_length pads with zeros: shift the marker to zero, pad, and shift it back
    padded = fit_length(adu.astype(np.float64) - INVALID, length) + INVALID
    return padded.astype(np.int16)


def unpadded_span(tracing: npt.NDArray[np.float32]) -> slice:
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


def _follow_up(exams: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return what both csv files say of an exam, in the schema's names and units; an unknown outcome is NaN."""
    require_columns(exams, EXAM_COLUMNS, file)
    return pd.DataFrame(
        {
            "ecg_id": exams["exam_id"],
            "time": pd.to_numeric(exams["timey"], errors="coerce") * DAYS_PER_YEAR,
            "event": true_or_false(exams["death"], file.name),
            "age": exams["age"],
            "sex": 1 - true_or_false(exams["is_male"], file.name),
            "normal_ecg": true_or_false(exams["normal_ecg"], file.name),
            "nn_predicted_age": exams["nn_predicted_age"],
        }
    )


def _index_recordings(folder: Path) -> pd.DataFrame:
    """Return ``ecg_id``, ``waveform``, ``row`` of every recording in the parts on disk, dummies left out."""
    found = []
    for name in CODE15_PARTS:
        path = folder / name
        if not path.is_file():
            continue
        with open_hdf5(path) as stream:
            ids = np.asarray(dataset(stream, "exam_id", path)[:]).astype(np.int64)
            if len(dataset(stream, "tracings", path)) != len(ids):
                raise InputError(
                    f"{path}: exam_id and tracings differ in length: download it again."
                )
        real = np.flatnonzero(ids > 0)
        found.append(pd.DataFrame({"ecg_id": ids[real], "waveform": name, "row": real}))
    if not found:
        raise InputError(
            f"{folder} holds no exams_part*.hdf5: download and unpack at least one part."
        )
    table = pd.concat(found, ignore_index=True)
    if table["ecg_id"].duplicated().any():
        raise InputError(
            f"{folder}: an exam stands in two places of the parts: download them again."
        )
    return table
