"""A local HTTP server that misbehaves on request, for the tests of downloads."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """What is served, how it misbehaves (by path), and what was asked for."""

    files: dict[str, bytes]  # by path below the root
    root: str = "/"
    url: str = ""  # of the root
    break_off: Counter[str] = field(default_factory=Counter)  # path: times to stop half-way
    wrong_byte: Counter[str] = field(default_factory=Counter)
    stall: Counter[str] = field(default_factory=Counter)
    status: dict[str, list[int]] = field(default_factory=dict)  # path: answers to give first
    ignore_range: bool = False
    slow: float = 0.0  # seconds between the pieces of each file
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range header

    def asked_for(self, name: str) -> list[str]:
        return [given for path, given in self.asked if path == name]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""

    def do_GET(self) -> None:
        state, name = self.state, self.path.removeprefix(self.state.root)
        given = self.headers.get("Range", "")
        state.asked.append((name, given))
        if state.status.get(name):
            self.answer(state.status[name].pop(0), b"")
            return
        if name not in state.files:
            self.answer(404, b"not here")
            return
        content, start = state.files[name], 0
        if state.wrong_byte[name] > 0:
            state.wrong_byte[name] -= 1
            content = bytes([content[0] ^ 1]) + content[1:]
        if given and not state.ignore_range:
            start = int(given.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.answer(416, b"")
                return
        part = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if state.stall[name] > 0:
            state.stall[name] -= 1
            time.sleep(0.6)
            self.close_connection = True
            return
        if state.break_off[name] > 0:
            state.break_off[name] -= 1
            self.wfile.write(part[: len(part) * 3 // 4])
            self.close_connection = True
            return
        pieces = 4 if state.slow else 1
        size = -(-len(part) // pieces) or 1
        for offset in range(0, len(part), size):
            self.wfile.write(part[offset : offset + size])
            time.sleep(state.slow)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing of clients which hang up early: what a command prints is tested."""

    def handle_error(self, *_: object) -> None:
        """Print no traceback."""


@contextmanager
def serve(state: Server) -> Iterator[Server]:
    """Serve `state` on a free port until the end of the block."""
    handler = type("Bound", (Handler,), {"state": state})
    http = QuietServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}{state.root}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
