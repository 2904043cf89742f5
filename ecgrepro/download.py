"""PTB-XL from PhysioNet: resumed, verified against its SHA256SUMS.txt, nothing fetched twice.

python -m ecgrepro.download --out data/ptbxl --rate 100
"""

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import requests

from ecgrepro.errors import InputError
from ecgrepro.files import sha256_file
from ecgrepro.progress import progress_bar
from ecgrepro.ptbxl import DATABASE, PATH_COLUMNS, STATEMENTS
from ecgrepro.wfdb_files import folder_problem, path_problem

PTBXL_URL = "https://physionet.org/files/ptb-xl/1.0.3/"

SUMS = "SHA256SUMS.txt"

_VERIFIED = ".verified.tsv"
"""What was hashed: sha256, size, time of change, path; so that a second run hashes nothing again."""

_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<path>\S.*)$")
_BLOCK = 1 << 14
_GIVE_UP = 10


class DownloadError(InputError):
    """One file cannot be fetched; the text names it."""


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


@dataclass(frozen=True)
class _Source:
    """How to ask the server: address, patience, and one HTTP session a thread."""

    url: str
    timeout: tuple[float, float]
    attempts: int
    pause: float
    sessions: threading.local

    def session(self) -> requests.Session:
        """Return this thread's session (a session is not safe to share)."""
        if not hasattr(self.sessions, "session"):
            self.sessions.session = requests.Session()
            # a compressed answer would have other lengths than the ranges asked for
            self.sessions.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self.sessions.session
        return session


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
    source = _Source(f"{base_url.rstrip('/')}/", timeout, attempts, pause, threading.local())
    out.mkdir(parents=True, exist_ok=True)
    sums = parse_sums(_fetch_text(source, SUMS), source.url)
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


def _fetch_text(source: _Source, name: str) -> str:
    """Fetch a small text file whole, with retries."""

    def attempt() -> str:
        with source.session().get(source.url + name, timeout=source.timeout) as response:
            _check_status(response, name)
            return response.content.decode("utf-8", errors="replace")

    return _with_retries(source, name, attempt)


def _with_retries(source: _Source, name: str, attempt: Callable[[], str]) -> str:
    """Call `attempt` until it succeeds; a broken connection, a wrong byte, a busy server are tried again."""
    trouble = ""
    for turn in range(source.attempts):
        if turn:
            time.sleep(source.pause * 2 ** (turn - 1))
        try:
            return attempt()
        except _TryAgain as error:
            trouble = str(error)
        except (requests.ConnectionError, requests.Timeout) as error:
            trouble = f"no connection or no answer in time ({type(error).__name__})"
        except requests.exceptions.ChunkedEncodingError:
            trouble = "the connection broke off"
        except requests.RequestException as error:
            raise DownloadError(f"{source.url}{name} cannot be asked for ({error}).") from None
    raise DownloadError(
        f"{source.url}{name}: {trouble}, {source.attempts} times: try again later, what is complete stays."
    )


class _TryAgain(Exception):
    """The server's answer is of no use now but may be later."""


def _check_status(response: requests.Response, name: str) -> None:
    """Raise for an HTTP error: at once for the client's (404 ...), to try again for the server's."""
    status = response.status_code
    if status >= 500 or status in (408, 425, 429):
        raise _TryAgain(f"the server answered {status} {response.reason}")
    if status >= 400:
        raise DownloadError(
            f"{response.url}: the server answered {status} {response.reason}: check the address of {name}."
        )


def _fetch_all(
    source: _Source,
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
        futures = {pool.submit(_fetch_file, source, out, name, sums[name]): name for name in sums}
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


def _fetch_file(source: _Source, out: Path, name: str, sha256: str) -> int:
    """Fetch one file into `name.part`, going on where it ends, and rename it when its hash is right."""
    path = out / name
    part = path.with_name(f"{path.name}.part")
    received = 0

    def attempt() -> str:
        nonlocal received
        received += _append(source, name, part)
        found = sha256_file(part)
        if found != sha256:
            part.unlink()
            raise _TryAgain("the bytes have a wrong SHA-256")
        part.replace(path)
        return found

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _with_retries(source, name, attempt)
    except OSError as error:
        raise DownloadError(f"{path} cannot be written ({error.strerror or error}).") from None
    return received


def _append(source: _Source, name: str, part: Path) -> int:
    """Ask for the bytes that `part` lacks and append them; start over where the server cannot do that."""
    have = part.stat().st_size if part.exists() else 0
    asked = {"Range": f"bytes={have}-"} if have else {}
    with source.session().get(
        source.url + name, headers=asked, stream=True, timeout=source.timeout
    ) as response:
        if response.status_code == 416:  # nothing follows: the hash tells if the part is complete
            return 0
        _check_status(response, name)
        goes_on = response.status_code == 206 and response.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {have}-")
        if response.status_code == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise _TryAgain("the server answered another range than asked for")
        received = 0
        with part.open("ab" if goes_on else "wb") as stream:
            for block in response.iter_content(_BLOCK):
                stream.write(block)
                received += len(block)
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
    parser = argparse.ArgumentParser(prog="python -m ecgrepro.download", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the release")
    parser.add_argument("--rate", type=int, default=100, choices=sorted(PATH_COLUMNS), help="Hz")
    parser.add_argument("--base-url", default=PTBXL_URL, help="folder that holds SHA256SUMS.txt")
    parser.add_argument("--workers", type=int, default=4, help="files at the same time")
    given = parser.parse_args(arguments)
    try:
        done = download_release(given.out, given.base_url, given.rate, workers=given.workers)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on", file=sys.stderr)
        return 130
    print(done.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
