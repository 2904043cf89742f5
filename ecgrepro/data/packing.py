"""WFDB files, or arrays, to one int16 memory map: read once, verified; opened by `open_packed`.

A pack is a folder:

=================  =====================================================================================
`signals.npy`      int16 `(N, 12, samples)`, leads as in `signals.LEADS`, 1000 adu per mV, -32768 = invalid
`ecg_ids.npy`      int64 `(N,)`, ascending: row of each record
`skipped.csv`      `ecg_id`, `file`, `reason` of each record that is not in `signals.npy`
`sources.sha256`   state of the files that a release's pack was made from (names, sizes, times of change)
`packed.json`      provenance; written last, so a folder without it is not finished
=================  =====================================================================================

Equal input gives equal bytes. A pack that was killed is made again from the start: all of PTB-XL takes seconds.
"""

import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecgrepro.data.ptbxl import DATABASE, Release
from ecgrepro.data.signals import INVALID, LEADS, PACKED_GAIN
from ecgrepro.data.wfdb16 import RecordError, read_record
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, sha256_file, write_json
from ecgrepro.progress import progress_bar

FORMAT = 2
"""Version of the layout above; a pack of another version is made again."""

SECONDS = 10
"""Length of every PTB-XL record."""

NO_FILE = "no file"
"""Reason of a record that has neither header nor signals: it was not downloaded."""

SIGNALS, PART, IDS = "signals.npy", "signals.part", "ecg_ids.npy"
SKIPPED, SOURCES, PROVENANCE = "skipped.csv", "sources.sha256", "packed.json"

BLOCK = 256
"""Records that are looked at together."""


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
        wanted = pd.Index(list(ecg_ids))
        positions = pd.Index(self.ecg_ids).get_indexer(wanted)
        if (positions < 0).any():
            unknown = wanted[positions < 0][0]
            known = self.skipped.loc[self.skipped["ecg_id"] == unknown, "reason"]
            why = f" ({known.iloc[0]})" if len(known) else ""
            raise InputError(
                f"ecg_id {unknown} is not packed in {self.folder}{why}: use only Packed.ecg_ids."
            )
        return np.asarray(positions, dtype=np.int64)

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
    try:
        provenance = read_json(folder / PROVENANCE)
        ecg_ids = np.load(folder / IDS, allow_pickle=False)
        signals = np.load(folder / SIGNALS, mmap_mode="r", allow_pickle=False)
        skipped = pd.read_csv(folder / SKIPPED, keep_default_na=False)
        expected = (provenance["records"], len(LEADS), provenance["samples"])
        if signals.shape != expected or signals.dtype != np.int16:
            raise ValueError(f"signals {signals.shape} {signals.dtype}, expected {expected} int16")
        if (
            ecg_ids.shape != expected[:1]
            or ecg_ids.dtype != np.int64
            or (np.diff(ecg_ids) < 1).any()
        ):
            raise ValueError(f"{ecg_ids.size} ids, expected {expected[0]} whole, ascending ones")
        skipped[["ecg_id", "file", "reason"]]
        odd = [tuple(map(int, provenance[name])) for name in ("flat", "incomplete")]
        return Packed(folder, int(provenance["rate"]), ecg_ids, signals, skipped, *odd)
    except Exception as error:  # whatever json, numpy and pandas say of damaged files
        raise InputError(
            f"the pack in {folder} is damaged ({error}): delete it, pack again."
        ) from None


def pack(release: Release, out: Path | str, progress: bool = True, replace: bool = False) -> Packed:
    """Read all records of `release` into the pack `out`; a record that cannot be used is skipped.

    A finished pack of the same records is opened at once, unless files were added or changed since.

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
    out, samples = Path(out), SECONDS * release.rate
    column = release.index[release.path_column].sort_index()
    files = dict(zip(column.index.tolist(), column.tolist(), strict=True))
    fingerprint: dict[str, Any] = {
        "format": FORMAT,
        "csv_sha256": sha256_file(release.path / DATABASE),
        "rate": release.rate,
        "records_sha256": hashlib.sha256(repr(files).encode()).hexdigest(),
    }
    there = _files_there(release.path, {os.path.dirname(file) for file in column})
    sources = hashlib.sha256(repr(sorted(there.items())).encode()).hexdigest()
    held = _held(out)
    unchanged = (out / SOURCES).is_file() and (out / SOURCES).read_bytes() == sources.encode()
    if unchanged and fingerprint.items() <= held.items():
        return open_packed(out)
    _refuse_other(out, held, fingerprint, replace)
    kept: list[int] = []
    skipped: list[tuple[int, str, str]] = []
    with _part(out) as part:
        with (
            part.open("wb") as stream,
            progress_bar(len(files), "pack", "record", progress) as bar,
        ):
            _write_header(stream, (len(files), len(LEADS), samples))
            for ecg_id, file in files.items():
                bar.update()
                if f"{file}.hea" not in there and f"{file}.dat" not in there:
                    skipped.append((ecg_id, file, NO_FILE))
                    continue
                try:
                    record = read_record(str(release.path), file, release.rate, samples)
                except RecordError as error:
                    skipped.append((ecg_id, file, str(error)))
                else:
                    stream.write(record.data)
                    kept.append(ecg_id)
            stream.seek(0)  # a header has one length, whatever the count
            _write_header(stream, (len(kept), len(LEADS), samples))
        if not kept:
            first = f" (ecg_id {skipped[0][0]}: {skipped[0][2]})" if skipped else ""
            raise InputError(
                f"none of the {len(files):,} records listed in {release.path} has usable files at "
                f"{release.rate} Hz{first}: download them, or check the folder and the rate."
            )
        return _finish(out, np.array(kept), skipped, fingerprint, sources)


def pack_arrays(
    signals: NDArray[np.int16] | Iterable[NDArray[np.int16]],
    ecg_ids: ArrayLike,
    rate: int,
    out: Path | str,
    source: str,
    replace: bool = False,
) -> Packed:
    """Write signals that come from no PTB-XL release (another cohort's, say) as the pack `out`.

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
    ids = np.asarray(ecg_ids)
    whole = ids.ndim == 1 and np.issubdtype(ids.dtype, np.integer)
    if not whole or len(ids) == 0 or len(np.unique(ids)) < len(ids):
        raise InputError(
            f"ecg_ids {ids[:3]} are not distinct whole numbers, one a record: check the table."
        )
    if not isinstance(rate, int | np.integer) or rate < 1:
        raise InputError(f"rate is {rate!r}: give whole samples per second.")
    fingerprint: dict[str, Any] = {"format": FORMAT, "rate": int(rate), "source": source}
    _refuse_other(out, _held(out), fingerprint, replace)
    place, start = np.argsort(np.argsort(ids)), 0
    with _part(out) as part:
        for block in _blocks(signals):
            if start == 0:
                shape = (len(ids), *block.shape[1:])
                stored = np.lib.format.open_memmap(part, "w+", np.dtype("<i2"), shape)
            stop = start + len(block)
            if stop > len(ids):
                raise InputError(f"there are more signals than {len(ids)} ecg_ids: align the rows.")
            stored[place[start:stop]] = block
            start = stop
        if start < len(ids):
            raise InputError(f"{start} signals do not fit {len(ids)} ecg_ids: align the rows.")
        stored.flush()
        return _finish(out, np.sort(ids), [], fingerprint, sources="")


def _blocks(
    signals: NDArray[np.int16] | Iterable[NDArray[np.int16]],
) -> Iterator[NDArray[np.int16]]:
    """Yield blocks `(k, 12, samples)` with k > 0, all checked and of one length."""
    samples = None
    for block in [signals] if isinstance(signals, np.ndarray) else signals:
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


def _held(out: Path) -> dict[str, Any]:
    """Return the fingerprint of the pack in `out`; empty where there is none that can be read."""
    try:
        return dict(read_json(out / PROVENANCE)["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _refuse_other(
    out: Path, held: dict[str, Any], fingerprint: dict[str, Any], replace: bool
) -> None:
    """Raise where `out` holds a pack of another release, source or rate and `replace` is not set."""
    same = all(held.get(key) == fingerprint.get(key) for key in ("csv_sha256", "source", "rate"))
    if held and not same and not replace:
        raise InputError(
            f"{out} holds the pack of another release or rate ({held.get('rate')} Hz): "
            "give another folder, or pass replace=True to lose it."
        )


def _files_there(root: Path, folders: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return size and time of change (ns) of the files in some folders, by path below `root`."""
    found = {}
    for folder in folders:
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    found[name] = (state.st_size, state.st_mtime_ns)
        except (OSError, ValueError):  # nothing of it was downloaded
            continue
    return found


@contextmanager
def _part(out: Path) -> Iterator[Path]:
    """Give the name under which signals are written, always the same: a kill leaves at most one."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield out / PART
    finally:
        (out / PART).unlink(missing_ok=True)


def _write_header(stream: BinaryIO, shape: tuple[int, int, int]) -> None:
    header = {"descr": "<i2", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _finish(
    out: Path,
    ecg_ids: NDArray[np.int64],
    skipped: list[tuple[int, str, str]],
    fingerprint: dict[str, Any],
    sources: str,
) -> Packed:
    """Give the part file its name, and write ids, skip list and, last, provenance."""
    with (out / PART).open("rb+") as part:
        os.fsync(part.fileno())
    (out / PROVENANCE).unlink(missing_ok=True)  # an earlier pack ends here; its open maps stay
    (out / SOURCES).write_text(sources)
    (out / PART).replace(out / SIGNALS)
    with atomic_path(out / IDS) as temporary:
        np.save(temporary, ecg_ids.astype("<i8"), allow_pickle=False)
    with atomic_path(out / SKIPPED) as temporary:
        table = pd.DataFrame(skipped, columns=["ecg_id", "file", "reason"])
        table.to_csv(temporary, index=False)
    signals = np.load(out / SIGNALS, mmap_mode="r", allow_pickle=False)
    flat, incomplete = np.zeros((2, len(signals)), dtype=bool)
    checksum = zlib.crc32(ecg_ids.astype("<i8").tobytes())
    for start in range(0, len(signals), BLOCK):
        block = np.ascontiguousarray(signals[start : start + BLOCK])
        low, high = block.min(axis=-1), block.max(axis=-1)
        flat[start : start + BLOCK] = (low == high).any(axis=-1)
        incomplete[start : start + BLOCK] = (low == INVALID).any(axis=-1)
        checksum = zlib.crc32(block.data, checksum)
    write_json(
        out / PROVENANCE,
        {
            "fingerprint": fingerprint | {"content_crc32": checksum},
            "flat": ecg_ids[flat].tolist(),
            "gain_adu_per_mv": PACKED_GAIN,
            "incomplete": ecg_ids[incomplete].tolist(),
            "leads": list(LEADS),
            "rate": fingerprint["rate"],
            "records": len(ecg_ids),
            "samples": signals.shape[2],
            "skipped": len(skipped),
        },
    )
    return open_packed(out)
