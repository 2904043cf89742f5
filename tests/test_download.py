"""Tests of ecgrepro.data.download against a local server that misbehaves in each known way."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ecgrepro import ROOT
from ecgrepro.data import download, open_release, pack
from ecgrepro.data.download import download_ptbxl, download_zenodo, main, parse_sums
from ecgrepro.errors import InputError
from tests.flaky_server import Server, serve
from tests.wfdb_fixture import write_small_release

RECORD = "records100/00000/00002_lr.dat"
TABLE = "ptbxl_database.csv"
SUMS = "SHA256SUMS.txt"
ZENODO = 4905618
FOLDER = f"records/{ZENODO}/files/"
CSV = f"{FOLDER}exams.csv"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once, and a stalled server is given up soon."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(download, "TIMEOUT", 0.4)


def sums(files: dict[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items())
    return "".join(lines).encode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    source = write_small_release(tmp_path / "source", n=3)
    write_small_release(tmp_path / "high", n=1, rate=500)
    files = {}
    for folder in (tmp_path / "high", source):
        for path in sorted(folder.rglob("*.*")):
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    files["LICENSE.txt"] = b"CC BY 4.0\n"
    files[SUMS] = sums(files)
    with serve(Server(files, "/ptb-xl/1.0.3/")) as state:
        yield state


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def fetch(server: Server, out: Path) -> list[Path]:
    return download_ptbxl(out, server.url, progress=False)


def assert_complete(server: Server, out: Path) -> None:
    wanted = {n: c for n, c in server.files.items() if not n.startswith("records500")}
    found = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    assert found == wanted


def test_everything_of_one_rate_is_fetched_and_readable(server, out, tmp_path):
    assert len(fetch(server, out)) == 9
    assert_complete(server, out)
    assert (out / RECORD).stat().st_mode & 0o777 == 0o644
    assert len(pack(open_release(out), tmp_path / "packed", progress=False).ecg_ids) == 3


def test_only_what_is_lost_or_damaged_is_fetched_again(server, out):
    fetch(server, out)
    content = (out / RECORD).read_bytes()
    (out / RECORD).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    (out / TABLE).write_bytes((out / TABLE).read_bytes()[:-5])
    (out / "LICENSE.txt").unlink()
    server.asked.clear()
    assert len(fetch(server, out)) == 9
    assert_complete(server, out)
    assert {name for name, _ in server.asked} == {SUMS, RECORD, TABLE, "LICENSE.txt"}


@pytest.mark.parametrize("trouble", ["break_off", "wrong_byte", "stall", "status", "slow"])
def test_trouble_that_passes_is_overcome(server, out, trouble):
    if trouble == "status":
        server.status = {RECORD: [503, 429], SUMS: [500]}
    elif trouble == "slow":
        server.slow = 0.03
    else:
        getattr(server, trouble)[RECORD] = 2
    fetch(server, out)
    assert_complete(server, out)
    assert len(server.asked_for(RECORD)) == (1 if trouble == "slow" else 3)


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("wrong_byte", r"SHA256 hash of downloaded file \(00002_lr.dat\) does not match"),
        ("stall", "Read timed out"),
        ("absent", rf"404 Client Error: Not Found for url: .*{RECORD}"),
    ],
)
def test_trouble_that_stays_is_one_sentence_and_costs_nothing_else(server, out, trouble, sentence):
    if trouble == "absent":
        kept = server.files.pop(RECORD)
    else:
        getattr(server, trouble)[RECORD] = 1000
    with pytest.raises(InputError, match=rf"{sentence}.* Run the same command again") as caught:
        fetch(server, out)
    assert "\n" not in str(caught.value)
    assert not (out / RECORD).exists()
    assert (out / TABLE).exists()
    if trouble == "absent":
        server.files[RECORD] = kept
    else:
        getattr(server, trouble).clear()
    fetch(server, out)
    assert_complete(server, out)


def test_no_server_or_another_is_one_sentence(server, out):
    with pytest.raises(InputError, match=r"9/ to .*out: HTTPConnectionPool"):
        download_ptbxl(out, "http://127.0.0.1:9/")
    with pytest.raises(InputError, match="No connection adapters"):
        download_ptbxl(out, "nonsense://x")
    with pytest.raises(InputError, match=r"404 .*SHA256SUMS.txt"):
        download_ptbxl(out, server.url + "elsewhere")
    with pytest.raises(InputError, match="250 Hz"):
        download_ptbxl(out, rate=250)
    out.rmdir()
    out.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"Not a directory|File exists"):
        fetch(server, out)


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/etc/evil", "a/../../evil", "C:\\evil", "a\\..\\evil", "a//b", "x/."),
        *(".hidden", "a/.git/config", "a\x1b[2J", "~/evil", "con:", "a b", "ä"),
    ],
)
def test_listed_path_that_may_leave_the_folder_is_refused(server, out, name):
    server.files[SUMS] += f"{'0' * 64}  {name}\n".encode()
    with pytest.raises(InputError, match=r"SHA256SUMS.txt line 1\d lists .* may leave"):
        fetch(server, out)
    assert [asked for asked, _ in server.asked] == [SUMS]


def test_sums_that_are_no_sums(server, out):
    text = f"{'A' * 64} *x.csv\n{'b' * 64}  ./a/y-z.dat\n\n"
    assert parse_sums(text, "u/") == {"x.csv": "a" * 64, "a/y-z.dat": "b" * 64}
    server.files[SUMS] = b"<html>please log in</html>"
    with pytest.raises(InputError, match="line 1 is not a SHA-256"):
        fetch(server, out)
    server.files[SUMS] = sums({"readme.txt": b""})
    with pytest.raises(InputError, match=f"lists no {TABLE}"):
        fetch(server, out)


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
    server.files[f"api/records/{ZENODO}"] = json.dumps({"files": listing}).encode()


@pytest.fixture
def zenodo() -> Iterator[Server]:
    with serve(Server({})) as state:
        publish(
            state,
            exams_csv=b"exam_id,age\n1,50\n" * 12_000,
            exams_zip=archive("exams.hdf5", b"tracings" * 1000),
        )
        yield state


def fetch_zenodo(server, out, names=("exams.csv", "exams.zip")):
    return download_zenodo(ZENODO, names, out, server.url, progress=False)


def test_zenodo_files_arrive_verified_and_archives_unpacked(zenodo, out):
    paths = fetch_zenodo(zenodo, out)
    assert [path.name for path in paths] == ["exams.csv", "exams.hdf5"]
    assert paths[0].read_bytes() == zenodo.files[CSV]
    assert paths[1].read_bytes() == b"tracings" * 1000
    assert {path.name for path in out.iterdir()} == {"exams.csv", "exams.hdf5"}
    zenodo.asked.clear()
    assert fetch_zenodo(zenodo, out) == paths
    assert zenodo.asked == [(f"api/records/{ZENODO}", "")]  # nothing is fetched twice


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_big_file_goes_on_where_it_stopped(zenodo, out, ignores_ranges):
    zenodo.ignore_range = ignores_ranges
    zenodo.break_off[CSV] = 2
    fetch_zenodo(zenodo, out, ["exams.csv"])
    assert (out / "exams.csv").read_bytes() == zenodo.files[CSV]
    ranges = [given.removeprefix("bytes=").removesuffix("-") for given in zenodo.asked_for(CSV)]
    assert len(ranges) == 3
    assert ranges[0] == ""
    assert int(ranges[1]) > 100_000


@pytest.mark.parametrize("part", [b"half", b"whole", b"foreign", b"x" * 10**6])
def test_what_an_earlier_run_left(zenodo, out, part):
    content = zenodo.files[CSV]
    out.mkdir()
    kept = {b"half": content[:50_000], b"whole": content}.get(part, part)
    (out / "exams.csv.part").write_bytes(kept)
    fetch_zenodo(zenodo, out, ["exams.csv"])
    assert (out / "exams.csv").read_bytes() == content
    assert zenodo.asked_for(CSV)[0] == f"bytes={len(kept)}-"
    assert len(zenodo.asked_for(CSV)) == (1 if part in (b"half", b"whole") else 2)


def test_wrong_byte_is_never_kept(zenodo, out):
    zenodo.wrong_byte[CSV] = 1
    fetch_zenodo(zenodo, out, ["exams.csv"])
    assert (out / "exams.csv").read_bytes() == zenodo.files[CSV]
    (out / "exams.csv").unlink()
    zenodo.wrong_byte[CSV] = 9
    with pytest.raises(InputError, match=r"MD5 hash of downloaded file \(exams.csv\)"):
        fetch_zenodo(zenodo, out, ["exams.csv"])
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "answer", [b"<html>", b"[]", b'{"files": [{"key": "a"}]}', b"[" * 100_000, b'{"files": 3}']
)
def test_listing_that_is_none(zenodo, out, answer):
    zenodo.files[f"api/records/{ZENODO}"] = answer
    with pytest.raises(InputError, match="not understood"):
        fetch_zenodo(zenodo, out)


def test_missing_files_and_servers(zenodo, out):
    with pytest.raises(InputError, match=r"has no file exams_part3\.zip"):
        fetch_zenodo(zenodo, out, ["exams_part3.zip"])
    with pytest.raises(InputError, match="HTTPConnectionPool"):
        download_zenodo(ZENODO, ["a"], out, "http://127.0.0.1:9", progress=False)


def test_archives_are_unpacked_by_name_only(zenodo, tmp_path):
    publish(zenodo, exams_zip=archive("../../exams.hdf5", b"x"))
    assert fetch_zenodo(zenodo, tmp_path / "a" / "in", ["exams.zip"])[0].read_bytes() == b"x"
    assert [path.name for path in tmp_path.rglob("*.hdf5")] == ["exams.hdf5"]
    encrypted = bytearray(archive("exams.hdf5", b"x"))
    encrypted[6] |= 1  # flag of the local header
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1  # and of the directory
    for content, fault in (
        (archive("readme.txt", b"x"), r"holds 0 files exams\.hdf5"),
        (b"no archive at all", "cannot be unpacked"),
        (bytes(encrypted), "cannot be unpacked .*encrypted"),
    ):
        publish(zenodo, exams_zip=content)
        with pytest.raises(InputError, match=fault):
            fetch_zenodo(zenodo, tmp_path / "b", ["exams.zip"])


def test_command_line(server, zenodo, out, capsys):
    arguments = ["ptb-xl", "--out", str(out), "--base-url", server.url]
    assert main([*arguments, "--rate", "500"]) == 0
    assert "5 files complete" in capsys.readouterr().out
    assert (out / "records500/00000/00001_hr.dat").exists()
    server.files.pop(RECORD)
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")
    arguments = ["--out", str(out), "--base-url", zenodo.url]
    assert main(["sami-trop", *arguments]) == 0
    assert main(["code-15", *arguments, "--parts", "0", "17"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("file", ["Makefile", "book/how_to_run.md", "ecgrepro/data/download.py"])
def test_commands_that_we_give_are_accepted(file, monkeypatch):
    for name in ("download_ptbxl", "download_zenodo"):
        monkeypatch.setattr(download, name, lambda *_: [])
    given = re.findall(
        r"python -m ecgrepro\.data\.download ([^`\n]*--[^`\n]*)", (ROOT / file).read_text()
    )
    assert given
    for arguments in given:
        assert main(arguments.split()) == 0
