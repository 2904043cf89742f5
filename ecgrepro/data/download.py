"""PTB-XL from PhysioNet: resumed, verified against its SHA256SUMS.txt, nothing fetched twice.

python -m ecgrepro.data.download --out data/ptbxl --rate 100
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from ecgrepro.data.ptbxl import DATABASE, PATH_COLUMNS, STATEMENTS
from ecgrepro.data.transfer import DownloadError, Source, command_status, fetch_file, fetch_text
from ecgrepro.data.wfdb16 import folder_problem, path_problem
from ecgrepro.errors import InputError
from ecgrepro.files import sha256_file
from ecgrepro.progress import progress_bar

PTBXL_URL = "https://physionet.org/files/ptb-xl/1.0.3/"

SUMS = "SHA256SUMS.txt"

_VERIFIED = ".verified.tsv"
"""What was hashed: sha256, size, time of change, path; so that a second run hashes nothing again."""

_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<path>\S.*)$")
_GIVE_UP = 10


@dataclass(frozen=True)
class Downloaded:
    """What a download did: files fetched, files that were there already, bytes received."""

    out: Path
    fetched: int
    present: int
    received: int

    def summary(self) -> str:
        """Return one line for a reader."""
        return (
            f"{self.out}: {self.fetched + self.present:,} files complete and verified "
            f"({self.fetched:,} fetched, {self.received / 1e6:,.1f} MB; {self.present:,} there before)"
        )


def download_release(
    out: Path | str,
    base_url: str = PTBXL_URL,
    rate: int = 100,
    progress: bool = True,
    workers: int = 4,
    timeout: tuple[float, float] = (10.0, 60.0),
    attempts: int = 5,
    pause: float = 0.5,
) -> Downloaded:
    """Fetch the tables and the signals of one rate; call it again to go on after any interruption.

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
        Files fetched at the same time, 1 to 16.
    timeout
        Seconds to wait for a connection, and for the next bytes.
    attempts
        Tries a file; each goes on where the last one broke off.
    pause
        Seconds before the second try, doubled for each further one.

    Raises
    ------
    InputError
        Server not reachable, a file missing there, wrong bytes at every try, or a listed path that
        leaves the folder. What was fetched before stays and is not fetched again.
    """
    out = Path(out)
    if rate not in PATH_COLUMNS:
        raise InputError(f"PTB-XL has no {rate} Hz signals: choose 100 or 500.")
    if not 1 <= workers <= 16 or attempts < 1:
        raise InputError(
            f"workers ({workers}) must be 1 to 16 and attempts ({attempts}) at least 1."
        )
    source = Source(f"{base_url.rstrip('/')}/", timeout, attempts, pause)
    out.mkdir(parents=True, exist_ok=True)
    sums = parse_sums(fetch_text(source, SUMS), source.url)
    tables = [name for name in sums if "/" not in name]
    records = [name for name in sums if name.startswith(f"records{rate}/")]
    absent = {DATABASE, STATEMENTS} - set(tables)
    if absent or not records:
        what = ", ".join(sorted(absent)) or f"file of records{rate}"
        raise InputError(
            f"{source.url}{SUMS} lists no {what}: give the address of a PTB-XL release."
        )
    for folder in {name.rpartition("/")[0] for name in records}:
        if problem := folder_problem(str(out), folder):
            raise InputError(f"{out}: {problem}: choose another folder for the download.")
    wanted = [*sorted(tables), *sorted(records)]
    known = _read_verified(out)
    todo, present = [], 0
    with (out / _VERIFIED).open("a", encoding="utf-8") as log:
        for name in wanted:
            if _is_verified(out, name, sums[name], known, log.write):
                present += 1
            else:
                todo.append(name)
        received = _fetch_all(
            source, out, {name: sums[name] for name in todo}, workers, progress, log.write
        )
    return Downloaded(out, len(todo), present, received)


def parse_sums(text: str, url: str) -> dict[str, str]:
    """Parse SHA256SUMS.txt: path to SHA-256; a path that leaves the folder is refused.

    Raises
    ------
    InputError
        A line that is not `<64 hexadecimal digits>  <path>`, or a path with `..`, absolute or empty.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.match(line)
        if match is None:
            raise InputError(
                f"{url}{SUMS} line {number} is not a SHA-256 and a path: check the address."
            )
        name = match["path"].strip().removeprefix("./")
        # ordinary names only: a dot file could be this module's own log, a backslash a Windows path
        if path_problem(name) or "\\" in name or name.startswith(".") or not name.isprintable():
            raise InputError(
                f"{url}{SUMS} line {number} lists {name!r}, which may leave the download folder: "
                "do not use this server."
            )
        sums[name] = match["sha256"].lower()
    return sums


def _fetch_all(
    source: Source,
    out: Path,
    sums: dict[str, str],
    workers: int,
    progress: bool,
    note: Callable[[str], object],
) -> int:
    """Fetch all files, several at a time; return the bytes received.

    One file's failure does not stop the others, but `_GIVE_UP` of them do: the server is down.
    """
    failures: list[DownloadError] = []
    received = 0
    pool = ThreadPoolExecutor(workers)
    bar = progress_bar(len(sums), "download", "file", progress)
    try:
        futures = {
            pool.submit(
                fetch_file, source, name, out / name, sha256_file, sums[name], "SHA-256"
            ): name
            for name in sums
        }
        for future in as_completed(futures):
            bar.update()
            name = futures[future]
            try:
                received += future.result()
            except DownloadError as error:
                failures.append(error)
                if len(failures) >= _GIVE_UP or "/" not in name:
                    break
            else:
                note(_verified_line(out, name, sums[name]))
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise InputError(
            f"{failures[0]}{more} Run the same command again to fetch what is missing in {out}."
        )
    return received


def _verified_line(out: Path, name: str, sha256: str) -> str:
    status = (out / name).stat()
    return f"{sha256}\t{status.st_size}\t{status.st_mtime_ns}\t{name}\n"


def _read_verified(out: Path) -> dict[str, str]:
    """Return the last log line of each file; a line that a kill cut short fits no file and is ignored."""
    try:
        lines: Iterable[str] = (
            (out / _VERIFIED).read_text(encoding="utf-8").splitlines(keepends=True)
        )
    except FileNotFoundError:
        return {}
    return {line.rstrip("\n").rpartition("\t")[2]: line for line in lines}


def _is_verified(
    out: Path, name: str, sha256: str, known: dict[str, str], note: Callable[[str], object]
) -> bool:
    """Say whether a local file has the hash; hash it only if it changed since it was last hashed."""
    path = out / name
    if not path.is_file():
        return False
    if known.get(name) == _verified_line(out, name, sha256):
        return True
    if sha256_file(path) != sha256:
        return False
    note(_verified_line(out, name, sha256))
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ecgrepro.data.download", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the release")
    parser.add_argument("--rate", type=int, default=100, choices=sorted(PATH_COLUMNS), help="Hz")
    parser.add_argument("--base-url", default=PTBXL_URL, help="folder that holds SHA256SUMS.txt")
    parser.add_argument("--workers", type=int, default=4, help="files at the same time")
    given = parser.parse_args(arguments)
    return command_status(
        lambda: download_release(
            given.out, given.base_url, given.rate, workers=given.workers
        ).summary()
    )


if __name__ == "__main__":
    sys.exit(main())
