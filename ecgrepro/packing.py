"""WFDB files to one int16 memory map: read once, verified, resumable; then opened in no time.

A pack is a folder:

=================  =====================================================================================
`signals.npy`      int16 `(N, 12, samples)`, leads as in `signals.LEADS`, 1000 adu per mV, -32768 = invalid
`ecg_ids.npy`      int64 `(N,)`, ascending: row of each record
`skipped.csv`      `ecg_id`, `file`, `reason` of each record that is not in `signals.npy`
`packed.json`      provenance; written last, so a folder without it is not finished
`journal.jsonl`    what was read so far; by it a killed pack goes on where it stood
=================  =====================================================================================

No file holds a time of day, so that equal input gives equal bytes, interrupted or not.
"""

import csv
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.packing_state import (
    IDS,
    JOURNAL,
    NO_FILE,
    PART,
    PROVENANCE,
    SIGNALS,
    SKIPPED,
    Skip,
    is_finished,
    npy_header,
    refuse_other,
    resume,
    survey,
    write_all,
)
from ecgrepro.progress import progress_bar
from ecgrepro.ptbxl import Release
from ecgrepro.signals import INVALID, LEADS, PACKED_GAIN
from ecgrepro.wfdb_files import RecordError, read_record

SECONDS = 10
"""Length of every PTB-XL record."""

CHUNK = 128
"""Records between two entries of the journal: at most so many are read twice after a kill."""


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
        wanted = np.asarray(list(ecg_ids), dtype=object)
        try:
            ids = wanted.astype(np.int64)
            whole = bool((ids == wanted).all())
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise InputError(f"ecg_ids must be whole numbers, got {wanted[:3]}: check the table.")
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


def pack(release: Release, out: Path | str, progress: bool = True, replace: bool = False) -> Packed:
    """Read all records of `release` into the pack `out`; a record that cannot be used is skipped.

    A finished pack of the same files is opened at once. A killed one goes on where it stood. When files
    of the same release were added or changed since, it is made again.

    Parameters
    ----------
    release
        From `ptbxl.open_release`; only the rows of its index are packed.
    out
        Folder of the pack; made where missing.
    progress
        Show a bar where stderr is a terminal.
    replace
        Allow `out` to hold the pack of another release, which is then lost.

    Raises
    ------
    InputError
        `out` holds the pack of another release, or no record can be used.
    """
    out = Path(out)
    records, skipped, fingerprint, sources = survey(release)
    if is_finished(out, fingerprint, sources):
        return open_packed(out)
    refuse_other(out, fingerprint, replace)
    if not records:
        raise InputError(
            f"none of the {len(skipped):,} records listed in {release.path} has usable files at "
            f"{release.rate} Hz ({skipped[0][2] if skipped else 'the index is empty'}): "
            "download them, or check the folder and the rate."
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / PROVENANCE).unlink(missing_ok=True)
    samples = SECONDS * release.rate
    head = {"fingerprint": fingerprint, "sources": sources, "chunk": CHUNK}
    chunks = resume(out, head, samples)
    header = len(npy_header(0, samples))
    with (
        (out / PART).open("r+b", buffering=0) as part,
        (out / JOURNAL).open("ab", buffering=0) as journal,
        progress_bar(len(records), "pack", "record", progress) as bar,
    ):
        bar.update(min(len(chunks) * CHUNK, len(records)))
        part.seek(
            header + sum(len(chunk["ecg_ids"]) for chunk in chunks) * samples * 2 * len(LEADS)
        )
        for start in range(len(chunks) * CHUNK, len(records), CHUNK):
            batch = records[start : start + CHUNK]
            content, entry = _read_chunk(release, batch, samples)
            write_all(part, content)
            write_all(journal, json.dumps(entry).encode() + b"\n")
            chunks.append(entry)
            bar.update(len(batch))
        _finish(out, part, chunks, skipped, fingerprint, release.rate)
    return open_packed(out)


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


def _read_chunk(
    release: Release, batch: Sequence[tuple[int, str]], samples: int
) -> tuple[memoryview, dict[str, Any]]:
    """Read records; return the bytes of those that are sound, and the journal's entry."""
    root = str(release.path)
    block = np.empty((len(batch), len(LEADS), samples), dtype="<i2")
    ecg_ids: list[int] = []
    skipped: list[Skip] = []
    for ecg_id, relative in batch:
        try:
            block[len(ecg_ids)] = read_record(root, relative, release.rate, samples)
        except RecordError as error:
            skipped.append((ecg_id, relative, str(error)))
        else:
            ecg_ids.append(ecg_id)
    block = block[: len(ecg_ids)]
    low, high = block.min(axis=-1), block.max(axis=-1)
    ids = np.array(ecg_ids, dtype=np.int64)
    content = block.data.cast("B") if ecg_ids else memoryview(b"")
    entry = {
        "ecg_ids": ecg_ids,
        "skipped": skipped,
        "flat": ids[(low == high).any(axis=-1)].tolist(),
        "incomplete": ids[(low == INVALID).any(axis=-1)].tolist(),
        "crc32": zlib.crc32(content),
    }
    return content, entry


def _finish(
    out: Path,
    part: BinaryIO,
    chunks: list[dict[str, Any]],
    missing: list[Skip],
    fingerprint: dict[str, Any],
    rate: int,
) -> None:
    """Write ids, skip list and header, give the part file its name, and provenance last."""
    ecg_ids = [ecg_id for chunk in chunks for ecg_id in chunk["ecg_ids"]]
    skipped = sorted([*missing, *(tuple(row) for chunk in chunks for row in chunk["skipped"])])
    with atomic_path(out / SKIPPED) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([("ecg_id", "file", "reason"), *skipped])
    if not ecg_ids:
        raise InputError(
            f"none of the records could be packed (ecg_id {skipped[0][0]}: {skipped[0][2]}): "
            f"{out / SKIPPED} has the reasons."
        )
    with atomic_path(out / IDS) as temporary, temporary.open("wb") as binary:
        np.save(binary, np.array(ecg_ids, dtype="<i8"), allow_pickle=False)
    samples = SECONDS * rate
    header = npy_header(len(ecg_ids), samples)
    part.truncate(len(header) + len(ecg_ids) * len(LEADS) * samples * 2)
    part.seek(0)
    write_all(part, header)
    os.fsync(part.fileno())
    (out / PART).replace(out / SIGNALS)
    write_json(
        out / PROVENANCE,
        {
            "fingerprint": fingerprint,
            "flat": [ecg_id for chunk in chunks for ecg_id in chunk["flat"]],
            "gain_adu_per_mv": PACKED_GAIN,
            "incomplete": [ecg_id for chunk in chunks for ecg_id in chunk["incomplete"]],
            "leads": list(LEADS),
            "rate": rate,
            "records": len(ecg_ids),
            "samples": samples,
            "skipped": len(skipped),
        },
    )
