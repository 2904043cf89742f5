"""A finished pack, as `ecgrepro.packing` wrote it: opened in no time, records found by ecg_id."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError
from ecgrepro.files import read_json
from ecgrepro.packing_state import IDS, NO_FILE, PROVENANCE, SIGNALS, SKIPPED
from ecgrepro.signals import LEADS


@dataclass(frozen=True)
class Packed:
    """A finished pack.

    Attributes
    ----------
    folder
        Where it lies.
    rate
        Samples per second.
    ecg_ids
        int64 `(N,)`, ascending.
    signals
        Read-only memory map, int16 `(N, 12, samples)`, 1000 adu per mV; -32768 (WFDB's invalid sample)
        becomes NaN in `signals.to_millivolts` and 0 in `signals.prepare`.
    skipped
        `ecg_id`, `file`, `reason` of each record of the index that is not packed.
    flat, incomplete
        ecg_ids of packed records with a flat lead, and with unrecorded samples.
    """

    folder: Path
    rate: int
    ecg_ids: NDArray[np.int64]
    signals: NDArray[np.int16]
    skipped: pd.DataFrame
    flat: tuple[int, ...]
    incomplete: tuple[int, ...]

    def rows(self, ecg_ids: Iterable[int]) -> NDArray[np.int64]:
        """Return the positions of `ecg_ids` in `signals`, in the order given.

        Raises
        ------
        InputError
            Names the first id that is not packed, with the reason where one is on record.
        """
        ids = whole_numbers(list(ecg_ids))
        positions = np.searchsorted(self.ecg_ids, ids)
        found = self.ecg_ids[np.minimum(positions, len(self.ecg_ids) - 1)] == ids
        if not found.all():
            unknown = int(ids[~found][0])
            known = self.skipped.loc[self.skipped["ecg_id"] == unknown, "reason"]
            why = f" ({known.iloc[0]})" if len(known) else ""
            raise InputError(
                f"ecg_id {unknown} is not packed in {self.folder}{why}: use only Packed.ecg_ids."
            )
        return positions.astype(np.int64)

    def summary(self) -> str:
        """Return one line a reader wants to see: what is packed, missing, skipped, odd."""
        listed = len(self.ecg_ids) + len(self.skipped)
        missing = int((self.skipped["reason"] == NO_FILE).sum())
        parts = [f"{len(self.ecg_ids):,} of {listed:,} records packed"]
        if missing:
            parts.append(f"{missing:,} of {listed:,} records have no file")
        if len(self.skipped) > missing:
            parts.append(f"{len(self.skipped) - missing:,} skipped for another reason")
        if self.flat:
            parts.append(f"{len(self.flat):,} with a flat lead")
        if self.incomplete:
            parts.append(f"{len(self.incomplete):,} with unrecorded samples")
        return "; ".join(parts)


def whole_numbers(ecg_ids: ArrayLike) -> NDArray[np.int64]:
    """Return ids as int64; text, fractions and missing values raise `InputError`."""
    wanted = np.asarray(ecg_ids, dtype=object)
    try:
        ids = wanted.astype(np.int64)
        whole = bool((ids == wanted).all())
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise InputError(f"ecg_ids must be whole numbers, got {wanted[:3]}: check the table.")
    return ids


def open_packed(folder: Path | str) -> Packed:
    """Open a finished pack; nothing is read but the ids and the skip list.

    Raises
    ------
    InputError
        The folder holds no finished pack, or its files do not fit together.
    """
    folder = Path(folder)
    if not (folder / PROVENANCE).is_file():
        raise InputError(
            f"{folder} holds no finished pack ({PROVENANCE} is missing): run pack first."
        )
    provenance = read_json(folder / PROVENANCE)
    try:
        ecg_ids = np.load(folder / IDS, allow_pickle=False)
        signals = np.load(folder / SIGNALS, mmap_mode="r", allow_pickle=False)
        skipped = pd.read_csv(folder / SKIPPED, keep_default_na=False)
        expected = (provenance["records"], len(LEADS), provenance["samples"])
        fits = (
            signals.shape == expected and signals.dtype == np.int16 and len(ecg_ids) == len(signals)
        )
        rate = int(provenance["rate"])
        flat, incomplete = provenance["flat"], provenance["incomplete"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the pack in {folder} is damaged ({error}): delete it, pack again."
        ) from None
    if not fits:
        raise InputError(
            f"the pack in {folder} is damaged (signals {signals.shape} {signals.dtype}, "
            f"{len(ecg_ids)} ids, expected {expected} int16): delete it, pack again."
        )
    return Packed(folder, rate, ecg_ids, signals, skipped, tuple(flat), tuple(incomplete))
