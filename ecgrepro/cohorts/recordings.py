"""ECGs of a cohort that is no PTB-XL release, as one pack: read in blocks, so that memory stays bounded."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.cohorts import code15, sami_trop
from ecgrepro.cohorts.tracings import to_packed
from ecgrepro.cohorts.uk_biobank import SOURCE, read_waveforms
from ecgrepro.data.packing import Packed, pack_arrays
from ecgrepro.data.signals import INVALID, LEADS, MODEL_RATE
from ecgrepro.files import atomic_path
from ecgrepro.progress import progress_bar

BLOCK = 256
"""Recordings in memory at once: about 50 MB of tracings."""

UNUSABLE = "unusable.csv"
"""Beside a pack of CardioSoft files: ecg_id, file and reason of each that could not be used."""


def pack_sami_trop(folder: Path, table: pd.DataFrame, out: Path) -> Packed:
    """Pack the exams of a table of `sami_trop.read_sami_trop`, at 100 Hz."""

    def read(part: pd.DataFrame) -> npt.NDArray[np.int16]:
        return sami_trop.read_signals(folder, part["row"].to_numpy())

    return _pack(table, read, out, sami_trop.SOURCE)


def pack_code15(folder: Path, table: pd.DataFrame, out: Path) -> Packed:
    """Pack the exams of a table of `code15.read_code15`, at 100 Hz, in the order in which they are stored."""
    stored = table.sort_values(["waveform", "row"])
    return _pack(stored, lambda part: code15.read_signals(folder, part), out, code15.SOURCE)


def pack_cardiosoft(folder: Path, table: pd.DataFrame, out: Path) -> Packed:
    """Pack XML files (columns ``ecg_id``, ``waveform``), at 100 Hz.

    A file that cannot be used becomes a record without a single recorded sample, so that no file is read twice; the
    reason stands in `UNUSABLE`, in the folder of the pack.
    """
    unusable = []

    def read(part: pd.DataFrame) -> npt.NDArray[np.int16]:
        found, skipped = read_waveforms(folder, part["waveform"])
        rows = part.iloc[skipped["position"]][["ecg_id", "waveform"]].reset_index(drop=True)
        unusable.append(rows.assign(reason=skipped["reason"]))
        block = np.full((len(part), len(LEADS), 10 * MODEL_RATE), INVALID, dtype=np.int16)
        for position, ecg in found.items():
            block[position] = to_packed(ecg.strip, ecg.rate)
        return block

    packed = _pack(table, read, out, SOURCE)
    with atomic_path(out / UNUSABLE) as temporary:
        pd.concat(unusable).to_csv(temporary, index=False)
    return packed


def usable_ids(packed: Packed) -> npt.NDArray[np.int64]:
    """Return the ecg_ids of the records that have a recorded sample."""
    suspected = sorted(set(packed.flat) & set(packed.incomplete))
    rows = packed.rows(suspected)
    empty = [
        ecg_id
        for ecg_id, row in zip(suspected, rows, strict=True)
        if (packed.signals[row] == INVALID).all()
    ]
    return packed.ecg_ids[~np.isin(packed.ecg_ids, empty)]


def _pack(
    table: pd.DataFrame,
    read: Callable[[pd.DataFrame], npt.NDArray[np.int16]],
    out: Path,
    source: str,
) -> Packed:
    def blocks() -> Iterator[npt.NDArray[np.int16]]:
        with progress_bar(len(table), "pack", "record") as bar:
            for start in range(0, len(table), BLOCK):
                part = table.iloc[start : start + BLOCK]
                yield read(part)
                bar.update(len(part))

    return pack_arrays(blocks(), table["ecg_id"], MODEL_RATE, out, source, replace=True)
