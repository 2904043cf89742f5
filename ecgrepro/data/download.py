"""Public ECG releases over HTTP: verified against the hashes that their servers publish, nothing fetched twice.

    python -m ecgrepro.data.download ptb-xl --out data/ptbxl --rate 100
    python -m ecgrepro.data.download sami-trop --out data/sami-trop
    python -m ecgrepro.data.download code-15 --out data/code-15 --parts 0 1

Call it again to go on after any interruption.
"""

import argparse
import re
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pooch
import requests

from ecgrepro.data.ptbxl import DATABASE, PATH_COLUMNS, STATEMENTS
from ecgrepro.errors import InputError, first_line
from ecgrepro.files import atomic_path
from ecgrepro.progress import progress_bar

PTBXL_URL = "https://physionet.org/files/ptb-xl/1.0.3/"

SUMS = "SHA256SUMS.txt"

ZENODO = "https://zenodo.org"

RECORDS = {"sami-trop": 4905618, "code-15": 4916206}
"""Zenodo records; what they hold is described in `cohorts.sami_trop` and `cohorts.code15`."""

RETRIES = 4
"""Times that a file is asked for again."""

TIMEOUT = 60.0
"""Seconds to wait for a connection, and for the next bytes."""

# names that stay below the folder on any system, and are no hidden files
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)*", re.ASCII)
_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(?P<path>\S.*)")
_threads = threading.local()


def download_ptbxl(
    out: Path | str,
    base_url: str = PTBXL_URL,
    rate: int = 100,
    progress: bool = True,
    workers: int = 4,
) -> list[Path]:
    """Fetch the tables and the signals of one rate.

    Parameters
    ----------
    out
        Folder of the release; made where missing.
    base_url
        Folder on the server that holds `SHA256SUMS.txt`.
    rate
        100 (about 0.5 GB) or 500 (about 2.5 GB) Hz.
    progress
        Show a bar where stderr is a terminal.
    workers
        Files fetched at the same time.

    Returns
    -------
    list of Path
        All files, complete and verified.

    Raises
    ------
    InputError
        Server not reachable, a file missing there, wrong bytes at every try, or a listed name that could
        leave the folder. What was fetched before stays and is not fetched again.
    """
    if rate not in PATH_COLUMNS:
        raise InputError(f"PTB-XL has no {rate} Hz signals: choose 100 or 500.")
    url = f"{base_url.rstrip('/')}/"
    with _one_sentence(url, out):
        (Path(out) / SUMS).unlink(missing_ok=True)
        server = _server(out, url, {SUMS: None})
        listing = Path(server.fetch(SUMS, downloader=_download))
        sums = parse_sums(listing.read_text(encoding="utf-8", errors="replace"), url)
        records = [name for name in sums if name.startswith(f"records{rate}/")]
        tables = [name for name in sums if "/" not in name]
        absent = {DATABASE, STATEMENTS} - set(tables)
        if absent or not records:
            what = ", ".join(sorted(absent)) or f"file of records{rate}"
            raise InputError(f"{url}{SUMS} lists no {what}: give the address of a PTB-XL release.")
        server.registry = sums
        return _fetch_all(server, [*sorted(tables), *sorted(records)], workers, progress)


def parse_sums(text: str, url: str) -> dict[str, str]:
    """Parse SHA256SUMS.txt: path to SHA-256; a path that could leave the folder is refused.

    Raises
    ------
    InputError
        A line that is not `<64 hexadecimal digits>  <path>`, or a path that is not plain.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            if not line.strip():
                continue
            raise InputError(
                f"{url}{SUMS} line {number} is not a SHA-256 and a path: check the address."
            )
        if not _PLAIN.fullmatch(match["path"]):
            raise InputError(
                f"{url}{SUMS} line {number} lists {match['path']!r}, which may leave the download "
                "folder: do not use this server."
            )
        sums[match["path"]] = match["sha256"].lower()
    return sums


def download_zenodo(
    record: int,
    names: Collection[str],
    out: Path | str,
    base_url: str = ZENODO,
    progress: bool = True,
) -> list[Path]:
    """Fetch files of a Zenodo record; a broken-off file is continued at its last byte.

    Parameters
    ----------
    record
        Number of the record.
    names
        Files wanted. Of a ``.zip``, the one ``.hdf5`` of its name is unpacked beside it and the archive
        removed; where that is there already, the archive is not fetched again.
    out
        Folder; made where missing.
    base_url
        Server.
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
    folder, url = Path(out), f"{base_url.rstrip('/')}/records/{record}/files/"
    complete = []
    with _one_sentence(url, out), progress_bar(len(names), "Zenodo", "file", progress) as bar:
        sums = _zenodo_sums(f"{base_url.rstrip('/')}/api/records/{record}")
        absent = [name for name in names if name not in sums]
        if absent:
            raise InputError(
                f"Zenodo record {record} has no file {', '.join(absent)}: check the name."
            )
        server = _server(out, url, sums)
        for name in names:
            path = folder / name
            unpacked = path.with_suffix(".hdf5")
            if path.suffix != ".zip" or not unpacked.is_file():
                part = folder / f"{name}.part"
                server.fetch(name, downloader=partial(_download, part=part))
            if path.suffix == ".zip":
                if path.is_file():
                    _unpack(path, unpacked)
                path = unpacked
            complete.append(path)
            bar.update()
    return complete


def _zenodo_sums(url: str) -> dict[str, str]:
    """Return the MD5 of each file of a record (``md5:…``): Zenodo publishes nothing stronger."""
    answer = requests.get(url, timeout=TIMEOUT)
    answer.raise_for_status()
    try:
        return {file["key"]: str(file["checksum"]) for file in answer.json()["files"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{url}: the answer is not understood: try again later.") from None


def _unpack(archive: Path, path: Path) -> None:
    """Unpack the file called as `path` (its own name, never its folder), then remove the archive."""
    try:
        with zipfile.ZipFile(archive) as stream:
            members = [name for name in stream.namelist() if Path(name).name == path.name]
            if len(members) != 1:
                raise InputError(
                    f"{archive} holds {len(members)} files {path.name}, not one: check the record."
                )
            with (
                stream.open(members[0]) as inside,
                atomic_path(path) as temporary,
                temporary.open("wb") as out,
            ):
                shutil.copyfileobj(inside, out, 1 << 20)
    except (zipfile.BadZipFile, RuntimeError) as error:  # broken, encrypted, unknown method
        raise InputError(
            f"{archive} cannot be unpacked ({error}): delete it and run again."
        ) from None
    archive.unlink()


def _server(out: Path | str, url: str, sums: Mapping[str, str | None]) -> pooch.Pooch:
    pooch.get_logger().setLevel("WARNING")
    return pooch.create(path=out, base_url=url, registry=dict(sums), retry_if_failed=RETRIES)


def _fetch_all(server: pooch.Pooch, names: list[str], workers: int, progress: bool) -> list[Path]:
    """Fetch files, several at a time; the first that fails stops the others."""
    for folder in {server.abspath / Path(name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)  # several threads that make one would collide
    pool = ThreadPoolExecutor(workers)
    with progress_bar(len(names), "download", "file", progress) as bar:
        try:
            tasks = [pool.submit(server.fetch, name, downloader=_download) for name in names]
            for task in as_completed(tasks):
                task.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)
    return [Path(task.result()) for task in tasks]


def _download(url: str, output_file: str, _server: pooch.Pooch, part: Path | None = None) -> None:
    """Download one file, as `pooch` asks for it; with `part`, go on where that file ends."""
    target = part or Path(output_file)
    have = part.stat().st_size if part is not None and part.exists() else 0
    if not hasattr(_threads, "session"):
        _threads.session = requests.Session()  # one a thread: it is not safe to share
        # a compressed answer would have other lengths than the ranges asked for
        _threads.session.headers["Accept-Encoding"] = "identity"
    asked = {"Range": f"bytes={have}-"} if have else {}
    with _threads.session.get(url, headers=asked, stream=True, timeout=TIMEOUT) as answer:
        if (
            answer.status_code != 416
        ):  # nothing follows: the hash tells whether the part is complete
            answer.raise_for_status()
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            with target.open("ab" if have and goes_on else "wb") as stream:
                for block in answer.iter_content(1 << 16):
                    stream.write(block)
    if part is not None:
        part.replace(output_file)
    Path(output_file).chmod(0o644)  # pooch's temporary files are private


@contextmanager
def _one_sentence(url: str, out: Path | str) -> Iterator[None]:
    """Turn whatever stops a download into one sentence."""
    try:
        yield
    except InputError:
        raise
    except (requests.RequestException, ValueError, OSError) as error:
        raise InputError(
            f"{url} to {out}: {first_line(error)}. Run the same command again to go on: "
            "what is complete stays."
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 1 after an `InputError`, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m ecgrepro.data.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("release", choices=("ptb-xl", *RECORDS))
    parser.add_argument("--out", type=Path, required=True, help="folder of the release")
    parser.add_argument("--rate", type=int, default=100, choices=sorted(PATH_COLUMNS), help="Hz")
    parser.add_argument(
        "--parts", type=int, nargs="+", default=[0], help="CODE-15 %%: parts 0 to 17, 2.7 GB each"
    )
    parser.add_argument("--base-url", help="another server")
    given = parser.parse_args(arguments)
    fetch: Callable[[], list[Path]]
    if given.release == "ptb-xl":
        fetch = partial(download_ptbxl, given.out, given.base_url or PTBXL_URL, given.rate)
    else:
        zips = [f"exams_part{part}.zip" for part in given.parts]
        names = ["exams.csv", *(zips if given.release == "code-15" else ["exams.zip"])]
        record = RECORDS[given.release]
        fetch = partial(download_zenodo, record, names, given.out, given.base_url or ZENODO)
    try:
        print(f"{given.out}: {len(fetch()):,} files complete and verified")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
