"""What a pack is made from and how far it got: survey of the files, fingerprint, journal, resume."""

import hashlib
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, sha256_file
from ecgrepro.ptbxl import DATABASE, Release
from ecgrepro.signals import LEADS
from ecgrepro.wfdb_files import folder_problem, path_problem

FORMAT = 1
"""Version of the layout that `ecgrepro.packing` describes; a pack of another version is made again."""

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
