"""Tests of ecgrepro.data.download against a local server that misbehaves in each known way."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgrepro.data import download
from ecgrepro.data.download import Downloaded, download_release, parse_sums
from ecgrepro.data.packing import pack
from ecgrepro.data.ptbxl import open_release
from ecgrepro.errors import InputError
from tests.flaky_server import Server, serve
from tests.wfdb_fixture import write_small_release

RECORD = "records100/00000/00002_lr.dat"
TABLE = "ptbxl_database.csv"


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
    files["SHA256SUMS.txt"] = sums(files)
    with serve(Server(files, "/ptb-xl/1.0.3/")) as state:
        yield state


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def fetch(server: Server, out: Path, attempts: int = 4, wait: float = 5.0) -> Downloaded:
    return download_release(
        out, server.url, progress=False, timeout=(wait, wait), attempts=attempts, pause=0.001
    )


def assert_complete(server: Server, out: Path) -> None:
    wanted = {
        name: content
        for name, content in server.files.items()
        if not name.startswith(("records500", "SHA256"))
    }
    found = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != ".verified.tsv"
    }
    assert found == wanted


def test_everything_of_one_rate_is_fetched_and_readable(server, out, tmp_path):
    done = fetch(server, out)
    assert_complete(server, out)
    assert (done.fetched, done.present) == (9, 0)
    assert done.received == sum(
        (out / name).stat().st_size for name in server.files if (out / name).exists()
    )
    assert "9 files complete and verified (9 fetched" in done.summary()
    assert len(pack(open_release(out), tmp_path / "packed", progress=False).ecg_ids) == 3


def test_complete_files_are_neither_fetched_nor_hashed_again(server, out, monkeypatch):
    fetch(server, out)
    server.asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(download, "sha256_file", lambda path: pytest.fail(f"{path} was hashed again"))
        done = fetch(server, out)
    assert (done.fetched, done.present) == (0, 9)
    assert [name for name, _ in server.asked] == ["SHA256SUMS.txt"]
    (out / ".verified.tsv").unlink()  # without the log, hashing is enough
    assert fetch(server, out).fetched == 0


def test_damaged_or_lost_files_are_fetched_again(server, out):
    fetch(server, out)
    content = (out / RECORD).read_bytes()
    (out / RECORD).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    (out / TABLE).unlink()
    assert fetch(server, out).fetched == 2
    assert_complete(server, out)


def test_half_a_file_is_continued(server, out):
    half = server.files[RECORD][:10_000]
    (out / RECORD).parent.mkdir(parents=True)
    (out / f"{RECORD}.part").write_bytes(half)
    done = fetch(server, out)
    assert_complete(server, out)
    assert server.asked_for(RECORD) == ["bytes=10000-"]
    assert done.received == sum(
        len(content)
        for name, content in server.files.items()
        if not name.startswith(("records500", "SHA256"))
    ) - len(half)


def test_connection_that_breaks_off_is_continued_where_it_broke(server, out):
    server.break_off[RECORD] = 2
    fetch(server, out)
    assert_complete(server, out)
    asked = server.asked_for(RECORD)
    assert len(asked) == 3
    assert asked[0] == ""
    assert int(asked[1].removeprefix("bytes=").removesuffix("-")) > 10_000


def test_server_that_ignores_ranges_means_a_fresh_start(server, out):
    server.ignore_range = True
    server.break_off[RECORD] = 1
    fetch(server, out)
    assert_complete(server, out)


def test_complete_or_foreign_part_files(server, out):
    (out / RECORD).parent.mkdir(parents=True)
    (out / f"{RECORD}.part").write_bytes(server.files[RECORD])  # killed before the rename
    (out / f"{TABLE}.part").write_bytes(b"x" * 10)  # of another release
    (out / "LICENSE.txt.part").write_bytes(b"y" * 100)  # longer than the file
    fetch(server, out)
    assert_complete(server, out)


def test_wrong_byte_once_is_fetched_again(server, out):
    server.wrong_byte[RECORD] = 1
    fetch(server, out)
    assert_complete(server, out)
    assert server.asked_for(RECORD) == ["", ""]


def test_wrong_byte_always_names_the_file_and_keeps_the_rest(server, out):
    server.wrong_byte[RECORD] = 1000
    with pytest.raises(InputError, match=rf"{RECORD}: the bytes have a wrong SHA-256, 4 times"):
        fetch(server, out)
    assert not (out / RECORD).exists()
    assert (out / TABLE).exists()
    server.wrong_byte.clear()
    server.asked.clear()
    fetch(server, out)
    assert_complete(server, out)
    assert {name for name, _ in server.asked} == {"SHA256SUMS.txt", RECORD}


def test_slow_server_is_waited_for(server, out):
    server.slow = 0.03
    fetch(server, out, wait=0.5)
    assert_complete(server, out)


def test_server_that_stalls_is_asked_again(server, out):
    server.stall[RECORD] = 1
    fetch(server, out, wait=0.2)
    assert_complete(server, out)
    assert len(server.asked_for(RECORD)) == 2


def test_stalled_for_ever_is_one_sentence(server, out):
    server.stall["SHA256SUMS.txt"] = 1000
    with pytest.raises(InputError, match=r"SHA256SUMS.txt: no connection or no answer in time"):
        fetch(server, out, attempts=2, wait=0.1)


def test_absent_file_is_named_and_not_asked_for_again(server, out):
    del server.files[RECORD]
    with pytest.raises(InputError, match=rf"{RECORD}: the server answered 404"):
        fetch(server, out)
    assert len(server.asked_for(RECORD)) == 1
    with pytest.raises(InputError, match=r"SHA256SUMS.txt: the server answered 404"):
        download_release(out, server.url + "elsewhere", progress=False)


def test_busy_server_is_asked_again(server, out):
    server.status = {RECORD: [503, 429], "SHA256SUMS.txt": [500]}
    fetch(server, out)
    assert_complete(server, out)
    server.status = {"SHA256SUMS.txt": [503] * 10}
    with pytest.raises(InputError, match=r"the server answered 503 .* 2 times"):
        fetch(server, out, attempts=2)


def test_no_server_is_one_sentence(out):
    with pytest.raises(InputError, match="no connection"):
        download_release(out, "http://127.0.0.1:9/", attempts=2, pause=0.001)
    with pytest.raises(InputError, match="cannot be asked for"):
        download_release(out, "nonsense://x", attempts=2)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "C:\\evil",
        "a\\..\\evil",
        ".verified.tsv",
        "a\x1b[2J",
    ],
)
def test_listed_path_that_leaves_the_folder_is_refused(server, out, name):
    server.files["SHA256SUMS.txt"] += f"{'0' * 64}  {name}\n".encode()
    with pytest.raises(InputError, match=r"SHA256SUMS.txt line 1\d lists .* may leave"):
        fetch(server, out)
    assert [asked for asked, _ in server.asked] == ["SHA256SUMS.txt"]


def test_link_in_the_folder_that_leads_outside_is_refused(server, out, tmp_path):
    (tmp_path / "outside").mkdir()
    (out / "records100").mkdir(parents=True)
    (out / "records100" / "00000").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="symbolic link"):
        fetch(server, out)
    assert not any((tmp_path / "outside").iterdir())


def test_sums_that_are_no_sums(server, out):
    text = f"{'A' * 64} *x.csv\n{'b' * 64}  ./a/y z.dat\n\n"
    assert parse_sums(text, "u/") == {"x.csv": "a" * 64, "a/y z.dat": "b" * 64}
    server.files["SHA256SUMS.txt"] = b"<html>please log in</html>"
    with pytest.raises(InputError, match="line 1 is not a SHA-256"):
        fetch(server, out)
    server.files["SHA256SUMS.txt"] = sums({"readme.txt": b""})
    with pytest.raises(InputError, match=f"lists no {TABLE}"):
        fetch(server, out)


def test_dead_server_does_not_cost_one_wait_a_file(server, out):
    many = {f"records100/{i}.dat": b"x" for i in range(200)}
    tables = {name: server.files[name] for name in (TABLE, "scp_statements.csv")}
    server.files = {**tables, "SHA256SUMS.txt": sums({**tables, **many})}
    with pytest.raises(InputError, match=r"and 9 more"):
        fetch(server, out)
    assert len(server.asked) < 100
    assert (out / TABLE).exists()


def test_bad_parameters(out):
    with pytest.raises(InputError, match="250 Hz"):
        download_release(out, rate=250)
    with pytest.raises(InputError, match="workers"):
        download_release(out, workers=0)


def test_command_line(server, out, capsys):
    arguments = ["--out", str(out), "--base-url", server.url]
    assert download.main([*arguments, "--rate", "500"]) == 0
    assert "5 files complete" in capsys.readouterr().out
    assert (out / "records500/00000/00001_hr.dat").exists()
    server.files.pop(RECORD)
    assert download.main(arguments) == 1
    assert capsys.readouterr().err.startswith("error: ")
