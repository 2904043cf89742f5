"""Zenodo downloads, from a local server that breaks off, serves a wrong byte, or lists a bad name."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import pytest

from ecgrepro.data.zenodo import download_record, main, parse_record
from ecgrepro.errors import InputError
from tests.flaky_server import Server, serve

RECORD = 4905618
FOLDER = f"records/{RECORD}/files/"
CSV = f"{FOLDER}exams.csv"


def archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as stream:
        stream.writestr(name, content)
    return buffer.getvalue()


def publish(server: Server, **files: bytes) -> None:
    """Add files (exams_csv is exams.csv) to the record, and list all of them as Zenodo does."""
    server.files |= {FOLDER + name.replace("_", "."): content for name, content in files.items()}
    listing = [
        {
            "key": path.removeprefix(FOLDER),
            "size": len(content),
            "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
        }
        for path, content in server.files.items()
        if path.startswith(FOLDER)
    ]
    server.files[f"api/records/{RECORD}"] = json.dumps({"files": listing}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Server({})) as state:
        publish(
            state,
            exams_csv=b"exam_id,age\n1,50\n" * 12_000,
            exams_zip=archive("exams.hdf5", b"tracings" * 1000),
        )
        yield state


def fetch(server, out, names=("exams.csv", "exams.zip"), attempts=5):
    return download_record(
        RECORD, names, out, server.url, attempts=attempts, pause=0.01, progress=False
    )


def test_files_arrive_verified_and_archives_unpacked(server, tmp_path):
    paths = fetch(server, tmp_path)
    assert [path.name for path in paths] == ["exams.csv", "exams.hdf5"]
    assert paths[0].read_bytes() == server.files[CSV]
    assert paths[1].read_bytes() == b"tracings" * 1000
    assert not (tmp_path / "exams.zip").exists()
    server.asked.clear()
    assert fetch(server, tmp_path) == paths
    assert server.asked == [(f"api/records/{RECORD}", "")]  # nothing is fetched twice
    paths[1].write_bytes(b"cut short")
    assert fetch(server, tmp_path)[1].read_bytes() == b"tracings" * 1000


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.break_off[CSV] = 2
    fetch(server, tmp_path, ["exams.csv"])
    assert (tmp_path / "exams.csv").read_bytes() == server.files[CSV]
    ranges = server.asked_for(CSV)
    assert len(ranges) == 3
    assert ranges[0] == ""
    assert all(given.startswith("bytes=") for given in ranges[1:])


def test_a_wrong_byte_is_never_kept(server, tmp_path):
    server.wrong_byte[CSV] = 1
    fetch(server, tmp_path, ["exams.csv"])
    assert (tmp_path / "exams.csv").read_bytes() == server.files[CSV]
    (tmp_path / "exams.csv").unlink()
    server.wrong_byte[CSV] = 9
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
    publish(server, exams_zip=archive("../../outside.hdf5", b"x"))
    assert fetch(server, tmp_path / "in", ["exams.zip"])[0] == tmp_path / "in" / "outside.hdf5"
    assert not (tmp_path.parent / "outside.hdf5").exists()
    publish(server, exams_zip=archive("readme.txt", b"x"))
    with pytest.raises(InputError, match="holds 0 hdf5 files"):
        fetch(server, tmp_path / "in", ["exams.zip"])
    publish(server, exams_zip=b"no archive at all")
    with pytest.raises(InputError, match="is not a zip archive"):
        fetch(server, tmp_path / "in", ["exams.zip"])


def test_command_line(server, tmp_path, capsys):
    assert main(["sami-trop", "--out", str(tmp_path), "--base-url", server.url]) == 0
    assert "exams.hdf5" in capsys.readouterr().out
    assert main(["code-15", "--out", str(tmp_path), "--base-url", server.url]) == 1
    assert capsys.readouterr().err.startswith("error: ")
