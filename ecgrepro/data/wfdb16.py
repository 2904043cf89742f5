"""WFDB records on disk: the header parser and the reader of format 16, quick and strict.

The header format is that of https://physionet.org/physiotools/wag/header-5.htm. A record that cannot be
used raises `RecordError`, whose text is the reason that a skip list shows.
"""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgrepro.data.signals import INVALID, LEADS, PACKED_GAIN, lead_positions
from ecgrepro.errors import InputError

DEFAULT_GAIN = 200.0
"""adu per physical unit where a header names none or 0 (WFDB's own default)."""

CANONICAL = list(range(len(LEADS)))

_GAIN = re.compile(r"(?P<gain>[-+.\deE]+)(\((?P<baseline>[-+]?\d+)\))?(/(?P<units>\S+))?$")
_FORMAT = re.compile(r"(?P<format>\d+)(x(?P<per_frame>\d+))?(:(?P<skew>\d+))?(\+(?P<offset>\d+))?$")
_PER_MILLIVOLT = {"mv": 1.0, "uv": 1000.0, "µv": 1000.0, "μv": 1000.0, "v": 0.001}
# no link is followed, and a named pipe does not block; both flags are POSIX
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


class RecordError(InputError):
    """One record cannot be used; the text says why."""


class Lead(NamedTuple):
    """A signal line of a header: where the samples lie and how to turn them into a voltage.

    A named tuple, because twelve are made for each record and a frozen dataclass takes five times longer.
    """

    file: str
    format: int
    per_frame: int
    skew: int
    offset: int  # bytes before the first sample
    gain: float  # adu per unit
    baseline: int  # adu at 0 units
    units: str
    checksum: int | None  # sum of all samples modulo 65536
    name: str


@dataclass(frozen=True)
class Header:
    """A header file: record name, samples per second, samples per lead (0: not stated), leads."""

    name: str
    rate: float
    n_samples: int
    leads: tuple[Lead, ...]


@lru_cache(maxsize=4096)
def _inside(root: str, path: str) -> bool:
    """Say whether `path` (absolute, or from `root`), links and ".." followed, lies in `root` or is it."""
    top, real = os.path.realpath(root), os.path.realpath(os.path.join(root, path))
    return real == top or real.startswith(top.rstrip(os.sep) + os.sep)


def _read_bytes(root: str, relative: str, most: int | None = None) -> bytes:
    """Read a file below `root`, whole or its first `most` bytes; a link is followed if it stays below."""
    path, kind = f"{root}/{relative}", relative.rpartition(".")[2]
    try:
        try:
            handle = os.open(path, _OPEN_FLAGS)
        except OSError:
            if not os.path.islink(path):
                raise
            if not _inside(root, relative):
                raise RecordError(
                    f"the .{kind} file is a symbolic link out of the release"
                ) from None
            handle = os.open(os.path.realpath(path), _OPEN_FLAGS)
        try:
            size = os.fstat(handle).st_size
            return os.read(handle, size if most is None else min(size, most))
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise RecordError(f"no .{kind} file") from None
    except OSError as error:
        raise RecordError(f"the .{kind} file cannot be read ({error.strerror})") from None


def _as_text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:  # an old "µV"
        return content.decode("latin-1")


def _parse_gain(text: str) -> tuple[float, int | None, str]:
    match = _GAIN.match(text)
    if match is None:
        raise RecordError(f"gain {text!r} in the header is not understood")
    baseline = match["baseline"]
    try:
        gain = float(match["gain"]) or DEFAULT_GAIN
    except ValueError:
        raise RecordError(f"gain {text!r} in the header is not a number") from None
    return gain, None if baseline is None else int(baseline), match["units"] or "mV"


@lru_cache(maxsize=1024)
def _parse_coding(
    form: str, gain_text: str, zero: str
) -> tuple[int, int, int, int, float, int, str]:
    """Parse what is alike in all records of a release, hence cached: format, gain, baseline, unit."""
    match = _FORMAT.match(form)
    if match is None:
        raise RecordError(f"signal format {form!r} in the header is not understood")
    gain, baseline, units = _parse_gain(gain_text)
    zero_adu = int(zero) if baseline is None else baseline
    if abs(zero_adu) >= 2**31:
        raise RecordError("a baseline in the header is no 32-bit number")
    return (
        int(match["format"]),
        int(match["per_frame"] or 1),
        int(match["skew"] or 0),
        int(match["offset"] or 0),
        gain,
        zero_adu,
        units,
    )


def _parse_lead(line: str) -> Lead:
    fields = line.split(None, 8)
    if len(fields) == 9:
        file, form, gain, _, zero, _, checksum, _, name = fields
        coding = _parse_coding(form, gain, zero)
        return Lead._make((file, *coding, int(checksum) % 65536, name.rstrip()))
    if len(fields) < 2:
        raise RecordError(f"signal line {line!r} of the header is too short")
    gain = fields[2] if len(fields) > 2 else str(DEFAULT_GAIN)
    zero = fields[4] if len(fields) > 4 else "0"
    stated = int(fields[6]) % 65536 if len(fields) > 6 else None
    return Lead(fields[0], *_parse_coding(fields[1], gain, zero), stated, "")


def parse_header(text: str) -> Header:
    """Parse the text of a `.hea` file.

    Raises
    ------
    RecordError
        A line is not as the format says, or signal lines are missing.
    """
    lines = [line for line in text.splitlines() if line and not line.isspace() and line[0] != "#"]
    try:
        fields = lines[0].split()
        name, n_leads = fields[0], int(fields[1])
        rate = float(fields[2].partition("/")[0]) if len(fields) > 2 else 250.0
        n_samples = int(fields[3]) if len(fields) > 3 else 0
        if "/" in name:
            raise RecordError("the record has several segments, which is not supported")
        if len(lines) - 1 < n_leads:
            raise RecordError(f"the header names {n_leads} leads but describes {len(lines) - 1}")
        leads = tuple(_parse_lead(line) for line in lines[1 : 1 + n_leads])
    except (IndexError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"the header is not in WFDB format ({error})") from None
    return Header(name, rate, n_samples, leads)


def _signal_file(header: Header) -> Lead:
    """Return a lead that stands for all; raise where they are not interleaved in one format-16 file."""
    if not header.leads:
        raise RecordError("the header describes no lead")
    first = header.leads[0]
    for lead in header.leads:
        if lead[:5] == (first.file, 16, 1, 0, first.offset):
            continue
        if lead.format != 16 or lead.per_frame != 1 or lead.skew != 0:
            raise RecordError(f"signal format {lead.format} is not 16 (plain int16)")
        raise RecordError("the leads lie in several files, which is not supported")
    if first.file in ("-", "~", ".", "..") or "/" in first.file or "\\" in first.file:
        raise RecordError(f"the header points to {first.file!r}, outside its own folder")
    return first


@lru_cache(maxsize=256)
def _lead_order(names: tuple[str, ...]) -> list[int]:
    try:
        return lead_positions(names)
    except InputError as error:
        raise RecordError(str(error)) from None


def _to_packed(adu: NDArray[np.int16], leads: list[Lead]) -> NDArray[np.int16]:
    """Convert `(leads, T)` to 1000 adu per mV with baseline 0; the invalid sample stays invalid."""
    factors = []
    for lead in leads:
        per_millivolt = _PER_MILLIVOLT.get(lead.units.lower())
        if per_millivolt is None or not np.isfinite(lead.gain):
            raise RecordError(f"lead {lead.name} is in {lead.units}, which is not a voltage")
        factors.append(PACKED_GAIN / (lead.gain * per_millivolt))
    baselines = np.array([[lead.baseline] for lead in leads], dtype=np.float64)
    converted = np.rint((adu - baselines) * np.array(factors)[:, None])
    recorded = adu != INVALID
    if not np.abs(converted[recorded]).max(initial=0) <= 32767:  # so that NaN is refused as well
        raise RecordError("a voltage is beyond the 32.767 mV that fit in int16 at 1000 adu/mV")
    return np.where(recorded, converted, INVALID).astype(np.int16)


def read_record(
    root: str, relative: str, rate: float | None = None, n_samples: int | None = None
) -> NDArray[np.int16]:
    """Read one 12-lead record, verify it, and bring it to this project's convention.

    Parameters
    ----------
    root, relative
        Folder of the release, and the record's path below it without extension.
    rate, n_samples
        What the header must say (Hz, samples per lead); None accepts any.

    Returns
    -------
    NDArray[np.int16]
        `(12, T)` in the order of `signals.LEADS`, 1000 adu per mV, -32768 where not recorded.

    Raises
    ------
    RecordError
        A file is missing, the header is broken or says something else than expected, a lead is missing,
        the signal file has another size, or a lead's 16-bit sum differs from the header's checksum.
    """
    relative = relative.replace(os.sep, "/")
    folder = relative.rpartition("/")[0]
    if "\0" in relative or not _inside(root, folder):
        raise RecordError(f"the path {relative!r} leaves the release")
    header = parse_header(_as_text(_read_bytes(root, f"{relative}.hea")))
    if rate is not None and header.rate != rate:
        raise RecordError(f"the rate is {header.rate:g} Hz, not {rate:g}")
    if n_samples is not None and header.n_samples not in (0, n_samples):
        raise RecordError(f"{header.n_samples} samples, not {n_samples}")
    signal_file = _signal_file(header)
    frame = 2 * len(header.leads)
    stated = header.n_samples or n_samples
    most = signal_file.offset + stated * frame if stated else None
    content = _read_bytes(
        root, f"{folder}/{signal_file.file}" if folder else signal_file.file, most and most + 1
    )
    expected = stated or (len(content) - signal_file.offset) // frame
    size = signal_file.offset + expected * frame
    if len(content) != size:
        fault = f"truncated: {len(content)} of" if len(content) < size else "too long: more than"
        raise RecordError(f"the signal file is {fault} {size} bytes")
    stored = np.frombuffer(content, dtype="<i2", offset=signal_file.offset).reshape(expected, -1)
    adu = np.ascontiguousarray(stored.T)
    # unsigned 16-bit addition wraps, which is the checksum's own arithmetic
    sums = adu.view(np.uint16).sum(axis=1, dtype=np.uint16).tolist()
    wrong = [
        lead.name
        for lead, found in zip(header.leads, sums, strict=True)
        if lead.checksum is not None and lead.checksum != found
    ]
    if wrong:
        raise RecordError(f"checksum mismatch in lead {', '.join(wrong)}")
    order = _lead_order(tuple(lead.name for lead in header.leads))
    leads = [header.leads[position] for position in order]
    if order != CANONICAL or adu.shape[0] != len(LEADS):
        adu = adu[order]
    if {lead[5:8] for lead in leads} != {(PACKED_GAIN, 0, "mV")}:
        adu = _to_packed(adu, leads)
    return adu
