"""Files over HTTP: asked for again after a failure, continued where they broke off, kept only when verified."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import requests

from ecgrepro.errors import InputError

_BLOCK = 1 << 14

T = TypeVar("T")


class DownloadError(InputError):
    """One file cannot be fetched; the text names it."""


class TryAgainError(Exception):
    """The server's answer is of no use now but may be later; the text says what was wrong."""


@dataclass(frozen=True)
class Source:
    """How to ask a server.

    Attributes
    ----------
    url
        Folder on the server, ending in a slash.
    timeout
        Seconds to wait for a connection, and for the next bytes.
    attempts
        Tries a file.
    pause
        Seconds before the second try, doubled for each further one.
    """

    url: str
    timeout: tuple[float, float] = (10.0, 60.0)
    attempts: int = 5
    pause: float = 0.5
    _threads: threading.local = field(default_factory=threading.local, repr=False)

    def session(self) -> requests.Session:
        """Return this thread's session (a session is not safe to share)."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
            # a compressed answer would have other lengths than the ranges asked for
            self._threads.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._threads.session
        return session


def fetch_text(source: Source, name: str) -> str:
    """Fetch a small text file whole, with retries.

    Raises
    ------
    DownloadError
        The server cannot be reached, has no such file, or answers no try.
    """

    def attempt() -> str:
        with source.session().get(source.url + name, timeout=source.timeout) as response:
            _check_status(response, name)
            return response.content.decode("utf-8", errors="replace")

    return with_retries(source, name, attempt)


def fetch_file(
    source: Source,
    name: str,
    path: Path,
    digest: Callable[[Path], str],
    expected: str,
    algorithm: str,
    size: int | None = None,
) -> int:
    """Fetch one file into `path` + ``.part``, going on where it ends; rename it when its hash is right.

    Parameters
    ----------
    source, name
        Server, and the file's path below its `url`.
    path
        Final place; missing folders are made.
    digest
        Gives the hash of a file.
    expected
        The hash it must have.
    algorithm
        Name of the hash, for the message.
    size
        Bytes of the whole file where that is known: a shorter part is continued, not hashed.

    Returns
    -------
    int
        Bytes received, over all tries.

    Raises
    ------
    DownloadError
        No try gave the right bytes, or `path` cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    received = 0

    def attempt() -> None:
        nonlocal received
        received += append(source, name, part)
        if size is not None and part.stat().st_size < size:
            raise TryAgainError("the connection broke off")
        if digest(part) != expected:
            part.unlink()
            raise TryAgainError(f"the bytes have a wrong {algorithm}")
        part.replace(path)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with_retries(source, name, attempt)
    except OSError as error:
        raise DownloadError(f"{path} cannot be written ({error.strerror or error}).") from None
    return received


def append(source: Source, name: str, part: Path) -> int:
    """Ask for the bytes that `part` lacks and append them; return how many came.

    Where the server cannot continue a file, it is started over.

    Raises
    ------
    TryAgainError
        The server is busy, or answered another range.
    DownloadError
        The server refuses.
    """
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
            raise TryAgainError("the server answered another range than asked for")
        received = 0
        with part.open("ab" if goes_on else "wb") as stream:
            for block in response.iter_content(_BLOCK):
                stream.write(block)
                received += len(block)
    return received


def with_retries(source: Source, name: str, attempt: Callable[[], T]) -> T:
    """Call `attempt` until it succeeds; a broken connection, a wrong byte, a busy server are tried again.

    Raises
    ------
    DownloadError
        After `source.attempts` tries, or at once for an address that cannot be asked for.
    """
    trouble = ""
    for turn in range(source.attempts):
        if turn:
            time.sleep(source.pause * 2 ** (turn - 1))
        try:
            return attempt()
        except TryAgainError as error:
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


def _check_status(response: requests.Response, name: str) -> None:
    """Raise for an HTTP error: at once for the client's (404 ...), to try again for the server's."""
    status = response.status_code
    if status >= 500 or status in (408, 425, 429):
        raise TryAgainError(f"the server answered {status} {response.reason}")
    if status >= 400:
        raise DownloadError(
            f"{response.url}: the server answered {status} {response.reason}: check the address of {name}."
        )


def command_status(command: Callable[[], str]) -> int:
    """Run a download command and print what it returns; a bad input or Ctrl-C is one line on stderr.

    Returns
    -------
    int
        Exit status: 0, 1 after an `InputError`, 130 after an interruption.
    """
    try:
        print(command())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: run the same command again to go on", file=sys.stderr)
        return 130
    return 0
