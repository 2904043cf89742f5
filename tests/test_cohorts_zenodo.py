"""Zenodo downloads, from a local server that breaks off, serves a wrong byte, or lists a bad name."""

import hashlib
import io
import json
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ecgrepro.cohorts.zenodo import download_record, main, parse_record
from ecgrepro.errors import InputError

RECORD = 4905618


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as stream:
        stream.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def server():
    """Serves `state["files"]` as a record; `break_off` and `wrong` count the times to misbehave, by name."""
    state = {
        "files": {
            "exams.csv": b"exam_id,age\n1,50\n" * 12_000,
            "exams.zip": archive("exams.hdf5", b"tracings" * 1000),
        },
        "break_off": Counter(),
        "wrong": Counter(),
        "asked": [],
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Keep the test output quiet."""

        def reply(self, status, body, headers=(), length=None):
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.path == f"/api/records/{RECORD}":
                listing = [
                    {
                        "key": name,
                        "size": len(content),
                        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
                    }
                    for name, content in state["files"].items()
                ]
                self.reply(200, json.dumps({"files": listing}).encode())
                return
            name = self.path.rsplit("/", 1)[1]
            state["asked"].append((name, self.headers.get("Range", "")))
            content = state["files"].get(name)
            if content is None:
                self.reply(404, b"")
                return
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            if start >= len(content):
                self.reply(416, b"")
                return
            if state["wrong"][name] > 0:
                state["wrong"][name] -= 1
                content = content[:-1] + bytes([content[-1] ^ 1])
            body = content[start:]
            headers = (
                [("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")]
                if start
                else []
            )
            if state["break_off"][name] > 0:
                state["break_off"][name] -= 1
                self.reply(206 if start else 200, body[: len(body) // 2], headers, len(body))
                self.close_connection = True
                return
            self.reply(206 if start else 200, body, headers)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state["url"] = f"http://127.0.0.1:{http.server_address[1]}"
    yield state
    http.shutdown()
    http.server_close()


def fetch(server, out, names=("exams.csv", "exams.zip"), attempts=5):
    return download_record(
        RECORD, names, out, server["url"], attempts=attempts, pause=0.01, progress=False
    )


def test_files_arrive_verified_and_archives_unpacked(server, tmp_path):
    paths = fetch(server, tmp_path)
    assert [path.name for path in paths] == ["exams.csv", "exams.hdf5"]
    assert paths[0].read_bytes() == server["files"]["exams.csv"]
    assert paths[1].read_bytes() == b"tracings" * 1000
    assert not (tmp_path / "exams.zip").exists()
    server["asked"].clear()
    assert fetch(server, tmp_path) == paths
    assert server["asked"] == []  # nothing is fetched twice
    paths[1].write_bytes(b"cut short")
    assert fetch(server, tmp_path)[1].read_bytes() == b"tracings" * 1000


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server["break_off"]["exams.csv"] = 2
    fetch(server, tmp_path, ["exams.csv"])
    assert (tmp_path / "exams.csv").read_bytes() == server["files"]["exams.csv"]
    ranges = [given for name, given in server["asked"] if name == "exams.csv"]
    assert ranges[0] == ""
    assert all(given.startswith("bytes=") for given in ranges[1:])


def test_a_wrong_byte_is_never_kept(server, tmp_path):
    server["wrong"]["exams.csv"] = 1
    fetch(server, tmp_path, ["exams.csv"])
    assert (tmp_path / "exams.csv").read_bytes() == server["files"]["exams.csv"]
    (tmp_path / "exams.csv").unlink()
    server["wrong"]["exams.csv"] = 9
    with pytest.raises(InputError, match="wrong MD5, 2 times"):
        fetch(server, tmp_path, ["exams.csv"], attempts=2)
    assert list(tmp_path.iterdir()) == []


def test_missing_files_servers_and_bad_listings(server, tmp_path):
    with pytest.raises(InputError, match=r"has no file exams_part3\.zip"):
        fetch(server, tmp_path, ["exams_part3.zip"])
    with pytest.raises(InputError, match="not understood"):
        parse_record('{"files": [{"key": "a", "size": 1, "checksum": "sha1:0"}]}', RECORD)
    with pytest.raises(InputError, match="not understood"):
        parse_record("<html>", RECORD)
    for name in ("../a.csv", "a/b.csv", ".a.csv"):
        entry = {"key": name, "size": 1, "checksum": "md5:" + "0" * 32}
        with pytest.raises(InputError, match="may leave the folder"):
            parse_record(json.dumps({"files": [entry]}), RECORD)
    with pytest.raises(InputError, match="no connection"):
        download_record(RECORD, ["a"], tmp_path, "http://127.0.0.1:9", attempts=1, progress=False)


def test_archives_are_unpacked_by_name_only(server, tmp_path):
    server["files"]["exams.zip"] = archive("../../outside.hdf5", b"x")
    assert fetch(server, tmp_path / "in", ["exams.zip"])[0] == tmp_path / "in" / "outside.hdf5"
    assert not (tmp_path.parent / "outside.hdf5").exists()
    server["files"]["exams.zip"] = archive("readme.txt", b"x")
    with pytest.raises(InputError, match="holds 0 hdf5 files"):
        fetch(server, tmp_path / "in", ["exams.zip"])
    server["files"]["exams.zip"] = b"no archive at all"
    with pytest.raises(InputError, match="is not a zip archive"):
        fetch(server, tmp_path / "in", ["exams.zip"])


def test_command_line(server, tmp_path, capsys):
    assert main(["sami-trop", "--out", str(tmp_path), "--base-url", server["url"]]) == 0
    assert "exams.hdf5" in capsys.readouterr().out
    assert main(["code-15", "--out", str(tmp_path), "--base-url", server["url"]]) == 1
    assert capsys.readouterr().err.startswith("error: ")
