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
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecgrepro.data.ptbxl import DATABASE, Release
from ecgrepro.data.signals import INVALID, LEADS, PACKED_GAIN
from ecgrepro.data.wfdb16 import RecordError, folder_problem, path_problem, read_record
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, sha256_file, write_json
from ecgrepro.progress import progress_bar


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


FORMAT = 1
"""Version of the layout that `ecgrepro.data.packing` describes; a pack of another version is made again."""

NO_FILE = "no file"
"""Reason of a record that has neither header nor signals: it was not downloaded."""

SIGNALS, PART, IDS = "signals.npy", "signals.part", "ecg_ids.npy"
SKIPPED, PROVENANCE, JOURNAL = "skipped.csv", "packed.json", "journal.jsonl"

Skip = tuple[int, str, str]  # ecg_id, file, reason


def survey(release: Release) -> tuple[list[tuple[int, str]], list[Skip], dict[str, Any], str]:
    """Return records with files, those without, what identifies the input, and the files' state.

    Sizes belong to the fingerprint; times of change do not (a copy of a release is the same release),
    but they tell within one machine that a file was repaired.
    """
    root = str(release.path)
    listings: dict[str, dict[str, tuple[int, int]]] = {}
    problems: dict[str, str | None] = {}
    records: list[tuple[int, str]] = []
    skipped: list[Skip] = []
    sizes, states = hashlib.sha256(), hashlib.sha256()
    for ecg_id, relative in release.index[release.path_column].sort_index().items():
        problem = path_problem(relative)
        folder, _, name = relative.rpartition("/")
        if problem is None:
            if folder not in listings:
                problems[folder] = folder_problem(root, folder)
                listings[folder] = {} if problems[folder] else _list_folder(f"{root}/{folder}")
            problem = problems[folder]
        if problem is None:
            header = listings[folder].get(f"{name}.hea")
            signal = listings[folder].get(f"{name}.dat")
            sizes.update(
                f"{ecg_id} {relative} {header and header[0]} {signal and signal[0]}\n".encode()
            )
            states.update(f"{header} {signal}\n".encode())
            if header and signal:
                records.append((int(ecg_id), relative))
                continue
            problem = NO_FILE if header == signal else f"no .{'dat' if header else 'hea'} file"
        skipped.append((int(ecg_id), relative, problem))
    fingerprint = {
        "format": FORMAT,
        "csv_sha256": sha256_file(release.path / DATABASE),
        "rate": release.rate,
        "files_sha256": sizes.hexdigest(),
    }
    return records, skipped, fingerprint, states.hexdigest()


def _list_folder(folder: str) -> dict[str, tuple[int, int]]:
    """Return size and time of change (ns) of each file of a folder; of a missing folder, nothing."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError:  # a link to nowhere is a missing file
                    continue
                found[entry.name] = (status.st_size, status.st_mtime_ns)
    except OSError:
        return {}
    return found


def journal_entries(out: Path) -> list[dict[str, Any]]:
    """Return the journal's entries up to the first that a kill left unfinished."""
    entries: list[dict[str, Any]] = []
    try:
        content = (out / JOURNAL).read_bytes()
    except FileNotFoundError:
        return entries
    for line in content.split(b"\n")[:-1]:
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not isinstance(entry, dict):
            break
        entries.append(entry)
    return entries


def is_finished(out: Path, fingerprint: dict[str, Any], sources: str) -> bool:
    """Say whether `out` is a finished pack of exactly this input, in its present state."""
    if not (out / PROVENANCE).is_file() or not (out / SIGNALS).is_file():
        return False
    if read_json(out / PROVENANCE).get("fingerprint") != fingerprint:
        return False
    entries = journal_entries(out)
    return not entries or entries[0].get("sources") == sources


def refuse_other(out: Path, fingerprint: dict[str, Any], replace: bool) -> None:
    """Raise where `out` holds (part of) a pack of another release or rate and `replace` is not set."""
    if replace:
        return
    held = (
        [read_json(out / PROVENANCE)] if (out / PROVENANCE).is_file() else journal_entries(out)[:1]
    )
    for entry in held:
        other = entry.get("fingerprint", {})
        keys = ("csv_sha256", "source", "rate")  # of a release, of arrays, of both
        if any(other.get(key) != fingerprint.get(key) for key in keys):
            raise InputError(
                f"{out} holds the pack of another release or rate ({other.get('rate')} Hz): "
                "give another folder, or pass replace=True to lose it."
            )


def resume(out: Path, head: dict[str, Any], samples: int) -> list[dict[str, Any]]:
    """Make part file and journal agree; return the chunks that need not be read again.

    A chunk counts when its bytes have the CRC of its journal entry: that holds after a kill, and also
    after a power failure, when the journal may have reached the disk before the signals.
    """
    part = out / PART
    entries = journal_entries(out)
    same = bool(entries) and entries[0] == head
    if same and not part.exists() and (out / SIGNALS).exists():
        (out / SIGNALS).replace(part)  # killed between the last rename and packed.json
    chunks: list[dict[str, Any]] = []
    if same and part.exists():
        stride = samples * 2 * len(LEADS)
        with part.open("rb") as stream:
            stream.seek(len(npy_header(0, samples)))
            for entry in entries[1:]:
                content = stream.read(len(entry["ecg_ids"]) * stride)
                if zlib.crc32(content) != entry["crc32"]:
                    break
                chunks.append(entry)
    else:
        part.unlink(missing_ok=True)  # a new file: somebody may still have the old one mapped
        part.write_bytes(npy_header(0, samples))
    with atomic_path(out / JOURNAL) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in [head, *chunks]))
    return chunks


def npy_header(records: int, samples: int) -> bytes:
    """Return the .npy header for `(records, 12, samples)`; numpy pads it to one length for any count."""
    stream = io.BytesIO()
    shape = (records, len(LEADS), samples)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<i2", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def write_all(stream: BinaryIO, content: bytes | memoryview) -> None:
    """Write everything: an unbuffered file may take less than it is given."""
    rest = memoryview(content)
    while rest:
        rest = rest[stream.write(rest) :]


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
