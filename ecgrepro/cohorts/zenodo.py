"""Files of a Zenodo record: resumed, verified against the record's MD5 sums, unpacked.

python -m ecgrepro.cohorts.zenodo sami-trop --out data/sami-trop
"""

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.progress import progress_bar
from ecgrepro.transfer import Source, command_status, fetch_file, fetch_text

ZENODO = "https://zenodo.org"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a record: name, bytes, MD5 as Zenodo publishes it."""

    name: str
    size: int
    md5: str


def download_record(
    record: int,
    names: Collection[str],
    out: Path | str,
    base_url: str = ZENODO,
    timeout: tuple[float, float] = (10.0, 60.0),
    attempts: int = 5,
    pause: float = 0.5,
    progress: bool = True,
) -> list[Path]:
    """Fetch files of a Zenodo record; call it again to go on after any interruption.

    Parameters
    ----------
    record
        Number of the record.
    names
        Files wanted. A ``.zip`` is unpacked beside itself and then removed; where what it holds is there already, it is
        not fetched again.
    out
        Folder; made where missing.
    base_url, timeout, attempts, pause
        Server; seconds to connect and to wait for bytes; tries a file; seconds before the second try.
    progress
        Show a bar where stderr is a terminal.

    Returns
    -------
    list of Path
        The complete files, archives as what they held.

    Raises
    ------
    InputError
        If the server cannot be reached, the record lacks a file, or bytes stay wrong. What is complete stays.
    """
    folder = Path(out)
    server = base_url.rstrip("/")
    listing = Source(f"{server}/api/records/", timeout, attempts, pause)
    listed = parse_record(fetch_text(listing, str(record)), record)
    absent = [name for name in names if name not in listed]
    if absent:
        raise InputError(f"Zenodo record {record} has no file {', '.join(absent)}: check the name.")
    source = replace(listing, url=f"{server}/records/{record}/files/")
    folder.mkdir(parents=True, exist_ok=True)
    complete = []
    with progress_bar(len(names), f"Zenodo {record}", "file", progress) as bar:
        for name in names:
            remote = listed[name]
            done = _unpacked(folder, remote)
            if done is None:
                _fetch(source, folder, remote)
                done = _unpack(folder, remote) if name.endswith(".zip") else folder / name
            complete.append(done)
            bar.update()
    return complete


def parse_record(text: str, record: int) -> dict[str, RemoteFile]:
    """Parse the answer of Zenodo's API (``files``: ``key``, ``size``, ``checksum`` as ``md5:…``), by name.

    Raises
    ------
    InputError
        If it is no such answer, or a name could leave the folder.
    """
    try:
        files = {}
        for entry in json.loads(text)["files"]:
            kind, _, value = str(entry["checksum"]).partition(":")
            if kind != "md5" or len(value) != 32:
                raise ValueError(f"checksum {entry['checksum']!r}")
            files[str(entry["key"])] = RemoteFile(str(entry["key"]), int(entry["size"]), value)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Zenodo's answer about record {record} is not understood ({error}): try again later."
        ) from None
    for name in files:
        if name != Path(name).name or "\\" in name or name.startswith("."):
            raise InputError(
                f"Zenodo record {record} lists {name!r}, which may leave the folder: stop."
            )
    return files


def _fetch(source: Source, folder: Path, remote: RemoteFile) -> None:
    """Fetch one file, unless it is here already."""
    path = folder / remote.name
    if path.is_file() and path.stat().st_size == remote.size and _md5(path) == remote.md5:
        return
    fetch_file(source, remote.name, path, _md5, remote.md5, "MD5", remote.size)


def _receipt(folder: Path, remote: RemoteFile) -> Path:
    """Return the note of an unpacked archive: its MD5, and name and size of what it held."""
    return folder / f".{remote.name}.unpacked"


def _unpacked(folder: Path, remote: RemoteFile) -> Path | None:
    """Return what an archive held, if it was unpacked here and is still of the size noted."""
    try:
        md5, size, name = _receipt(folder, remote).read_text().splitlines()
    except (FileNotFoundError, ValueError):
        return None
    path = folder / name
    fits = md5 == remote.md5 and path.is_file() and str(path.stat().st_size) == size
    return path if fits else None


def _unpack(folder: Path, remote: RemoteFile) -> Path:
    """Unpack the one file of an archive (its own name, never its path), then remove the archive."""
    archive = folder / remote.name
    try:
        with zipfile.ZipFile(archive) as stream:
            members = [item for item in stream.infolist() if item.filename.endswith(".hdf5")]
            if len(members) != 1:
                raise InputError(
                    f"{archive} holds {len(members)} hdf5 files, not one: check the record."
                )
            path = folder / Path(members[0].filename).name
            with (
                stream.open(members[0]) as inside,
                atomic_path(path) as temporary,
                temporary.open("wb") as out,
            ):
                shutil.copyfileobj(inside, out, 1 << 20)
    except zipfile.BadZipFile:
        raise InputError(f"{archive} is not a zip archive: delete it and run again.") from None
    with atomic_path(_receipt(folder, remote)) as note:
        note.write_text(f"{remote.md5}\n{path.stat().st_size}\n{path.name}\n")
    archive.unlink()
    return path


def _md5(path: Path) -> str:
    """Return the MD5 of a file: Zenodo publishes nothing stronger; it guards against accidents alone."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ecgrepro.cohorts.zenodo", description=__doc__)
    parser.add_argument("cohort", choices=("sami-trop", "code-15"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the cohort")
    parser.add_argument(
        "--parts", type=int, nargs="+", default=[0], help="CODE-15 %%: parts 0 to 17, 2.7 GB each"
    )
    parser.add_argument("--base-url", default=ZENODO, help="server")
    given = parser.parse_args(arguments)
    if given.cohort == "sami-trop":
        record, names = 4905618, ["exams.csv", "exams.zip"]
    else:
        record = 4916206
        names = ["exams.csv", *(f"exams_part{part}.zip" for part in given.parts)]
    return command_status(
        lambda: "\n".join(map(str, download_record(record, names, given.out, given.base_url)))
    )


if __name__ == "__main__":
    sys.exit(main())
