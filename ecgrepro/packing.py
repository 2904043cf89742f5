"""WFDB files, or arrays, to one int16 memory map: read once, verified, resumable; opened by `open_packed`.

A pack is a folder:

=================  =====================================================================================
`signals.npy`      int16 `(N, 12, samples)`, leads as in `signals.LEADS`, 1000 adu per mV, -32768 = invalid
`ecg_ids.npy`      int64 `(N,)`, ascending: row of each record
`skipped.csv`      `ecg_id`, `file`, `reason` of each record that is not in `signals.npy`
`packed.json`      provenance; written last, so a folder without it is not finished
`journal.jsonl`    what was read of a release so far; by it a killed pack goes on where it stood
=================  =====================================================================================

No file holds a time of day, so that equal input gives equal bytes, interrupted or not.
"""

import csv
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, write_json
from ecgrepro.packed import Packed, open_packed, whole_numbers
from ecgrepro.packing_state import (
    FORMAT,
    IDS,
    JOURNAL,
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

__all__ = ["Packed", "open_packed", "pack", "pack_arrays"]

SECONDS = 10
"""Length of every PTB-XL record."""

CHUNK = 128
"""Records between two entries of the journal: at most so many are read twice after a kill."""


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
        _finish(out, part, chunks, skipped, fingerprint, samples)
    return open_packed(out)


def pack_arrays(
    signals: NDArray[np.int16] | Iterable[NDArray[np.int16]],
    ecg_ids: ArrayLike,
    rate: int,
    out: Path | str,
    source: str,
    replace: bool = False,
) -> Packed:
    """Write signals that come from no PTB-XL release (another cohort's, say) as the pack `out`.

    Nothing of an earlier pack in `out` is touched before the last signal has come.

    Parameters
    ----------
    signals
        int16 `(n, 12, samples)` as `signals.LEADS`, 1000 adu per mV, -32768 where not recorded; or blocks
        `(k, 12, samples)` one after another, so that not all need to be in memory.
    ecg_ids
        `(n,)` whole numbers, in the order of the signals; the pack itself is in ascending order.
    rate
        Samples per second.
    out
        Folder of the pack; made where missing.
    source
        Where the signals come from, in words; a pack of the same source is replaced.
    replace
        Allow `out` to hold the pack of another source or release, which is then lost.

    Raises
    ------
    InputError
        A block is not int16 `(k, 12, samples)`, ids repeat or do not fit the signals, or `out` holds another pack.
    """
    out = Path(out)
    ids = whole_numbers(ecg_ids)
    order = np.argsort(ids, kind="stable")
    if ids.ndim != 1 or len(ids) == 0 or (np.diff(ids[order]) == 0).any():
        raise InputError("ecg_ids are empty or repeat: give one whole number a record.")
    if not isinstance(rate, int | np.integer) or rate < 1:
        raise InputError(f"rate is {rate!r}: give whole samples per second.")
    fingerprint: dict[str, Any] = {"format": FORMAT, "rate": int(rate), "source": source}
    refuse_other(out, fingerprint, replace)
    place = np.empty(len(ids), dtype=np.int64)
    place[order] = np.arange(len(ids))
    flat, incomplete = np.zeros((2, len(ids)), dtype=bool)
    digest = hashlib.sha256(ids.astype("<i8").tobytes())
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / PART) as temporary, temporary.open("r+b", buffering=0) as part:
        start = samples = 0
        for block in _blocks(signals):
            stop, samples = start + len(block), block.shape[2]
            if stop > len(ids):
                raise InputError(f"there are more signals than {len(ids)} ecg_ids: align the rows.")
            content = np.ascontiguousarray(block, dtype="<i2")
            digest.update(content.data)
            here = place[start:stop]
            flat[here], incomplete[here] = _oddities(content)
            stride = len(LEADS) * samples * 2
            for position, record in zip(here.tolist(), content, strict=True):
                part.seek(len(npy_header(0, samples)) + position * stride)
                write_all(part, record.data.cast("B"))
            start = stop
        if start < len(ids):
            raise InputError(f"{start} signals do not fit {len(ids)} ecg_ids: align the rows.")
    for stale in (PROVENANCE, JOURNAL):
        (out / stale).unlink(missing_ok=True)
    ids = ids[order]
    fingerprint["content_sha256"] = digest.hexdigest()
    entry = {
        "ecg_ids": ids.tolist(),
        "skipped": [],
        "flat": ids[flat].tolist(),
        "incomplete": ids[incomplete].tolist(),
    }
    with (out / PART).open("r+b", buffering=0) as part:
        _finish(out, part, [entry], [], fingerprint, samples)
    return open_packed(out)


def _blocks(
    signals: NDArray[np.int16] | Iterable[NDArray[np.int16]],
) -> Iterator[NDArray[np.int16]]:
    """Yield blocks `(k, 12, samples)` with k > 0, all checked and of one length."""
    if isinstance(signals, np.ndarray):
        whole, starts = signals, range(0, len(signals), CHUNK)
        signals = (whole[start : start + CHUNK] for start in starts)
    samples = None
    for block in signals:
        if block.ndim != 3 or block.shape[1] != len(LEADS) or block.dtype != np.int16:
            raise InputError(
                f"signals have shape {block.shape} and type {block.dtype}: "
                "give int16 (records, 12, samples)."
            )
        if block.shape[2] == 0 or block.shape[2] != (samples or block.shape[2]):
            raise InputError(
                f"signals of {block.shape[2]} samples follow {samples or 'none'}: "
                "give one length above 0 for all."
            )
        samples = block.shape[2]
        if len(block):
            yield block


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
    flat, incomplete = _oddities(block)
    ids = np.array(ecg_ids, dtype=np.int64)
    content = block.data.cast("B") if ecg_ids else memoryview(b"")
    entry = {
        "ecg_ids": ecg_ids,
        "skipped": skipped,
        "flat": ids[flat].tolist(),
        "incomplete": ids[incomplete].tolist(),
        "crc32": zlib.crc32(content),
    }
    return content, entry


def _oddities(block: NDArray[np.int16]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which records `(n, 12, samples)` have a flat lead, and which have unrecorded samples."""
    low, high = block.min(axis=-1), block.max(axis=-1)
    return (low == high).any(axis=-1), (low == INVALID).any(axis=-1)


def _finish(
    out: Path,
    part: BinaryIO,
    chunks: list[dict[str, Any]],
    missing: list[Skip],
    fingerprint: dict[str, Any],
    samples: int,
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
            "rate": fingerprint["rate"],
            "records": len(ecg_ids),
            "samples": samples,
            "skipped": len(skipped),
        },
    )
