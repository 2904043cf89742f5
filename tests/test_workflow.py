"""What make accepts, and what it refuses in one line; runs that are stopped go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ecgrepro import ROOT, parameters
from ecgrepro.book import workflow
from ecgrepro.errors import InputError
from ecgrepro.parameters import fitted, prepare_run
from ecgrepro.runs import CHAPTERS


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with the real notebooks and profiles, and no runs."""
    for name in ("notebooks", "profiles"):
        (tmp_path / name).symlink_to(ROOT / name)
    for module in (parameters, workflow):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def settings(command: list[str]) -> dict[str, str]:
    """What Snakemake will read from the command line, as it reads it."""
    from snakemake.cli import parse_config

    start = command.index("--config") + 1
    return parse_config(command[start : command.index("--")])


@pytest.mark.parametrize("run", ["20261127", "5", "2026_11", "1e3", "007", "true", "null", "a.b-c"])
def test_any_plain_name_is_a_run(clone: Path, run: str):
    command = workflow.snakemake_command("book", {"RUN": run, "PROFILE": "smoke"})
    assert settings(command)["folder"] == f"runs/{run}"
    assert (clone / "runs" / run / "parameters" / "06_alignment.yaml").is_file()
    assert (clone / "_build" / "run.txt").read_text() == run


@pytest.mark.parametrize("run", ["../x", "a/b", ".hidden", "a..b", "a b", "-x", "a;b", "ü"])
def test_other_names_are_refused(clone: Path, run: str):
    with pytest.raises(InputError, match="RUN is"):
        workflow.snakemake_command("book", {"RUN": run})
    assert not (clone / "runs").exists()


@pytest.mark.parametrize(
    ("given", "near"),
    [("06_allignment", "06_alignment"), ("6", "06_alignment"), ("", "01_data"), ("risk", "_risk")],
)
@pytest.mark.parametrize("target", ["needs", "chapter"])
def test_a_mistyped_chapter_is_refused_with_the_near_names(
    clone: Path, target: str, given: str, near: str
):
    with pytest.raises(InputError, match=f"CHAPTER=.*{near}"):
        workflow.snakemake_command(target, {"CHAPTER": given})


@pytest.mark.parametrize(
    ("environment", "message"),
    [({"CORES": "all"}, "CORES"), ({"CORES": "0"}, "CORES"), ({"PROFILE": "demmo"}, "demo")],
)
def test_other_settings_are_refused_in_one_line(
    clone: Path, environment: dict[str, str], message: str
):
    with pytest.raises(InputError, match=message) as found:
        workflow.snakemake_command("book", environment)
    assert "\n" not in str(found.value)


def test_paths_are_taken_as_they_are(clone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(clone))
    for release in ("x; touch y", "my ptbxl/Übung", "~/ptbxl"):
        command = workflow.snakemake_command("book", {"RELEASE": release, "PROFILE": "smoke"})
        stored = clone / settings(command)["folder"] / "parameters" / "01_data.yaml"
        expected = release.replace("~", str(clone))
        assert yaml.safe_load(stored.read_text())["release"] == expected
    assert not (ROOT / "y").exists()


def test_two_releases_never_share_a_run(clone: Path):
    """Also where their last folder is called the same, and in any order of calls."""

    def run(release: str, name: str = "") -> str:
        return prepare_run("smoke", {"release": release}, CHAPTERS, name)

    first, second = run("a/ptbxl"), run("b/ptbxl")
    assert first == "smoke-ptbxl"
    assert second.startswith("smoke-ptbxl-")
    assert (run("a/ptbxl"), run("./b/ptbxl/")) == (first, second)
    assert prepare_run("smoke", {"text_model": "x/m"}, CHAPTERS) != prepare_run(
        "smoke", {"text_model": "y/m"}, CHAPTERS
    )
    with pytest.raises(InputError, match="was made with release 'a/ptbxl'"):
        run("b/ptbxl", first)


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        ("false", True, False),
        ("True", False, True),
        ("5", 3, 5),
        (5.0, 3, 5),
        (5, 0.5, 5.0),
        ("1e-3", 0.5, 0.001),
        (5, "demo", "5"),
        ("soft_infonce", ["a"], ["soft_infonce"]),
        ("[a, b]", ["c"], ["a", "b"]),
        ("[]", ["c"], []),
        ("16", [8], [16]),
        ("{a: 1}", {}, {"a": 1}),
        ("anything", None, "anything"),
    ],
)
def test_values_take_the_kind_of_their_default(value: object, default: object, expected: object):
    found = fitted("x", value, default)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "default"),
    [(5.5, 3), ("5.5", 3), (True, 3), ("yes please", True), (1, True), ("many", 0.5)],
)
def test_values_of_another_kind_are_refused(value: object, default: object):
    with pytest.raises(InputError, match="Parameter x is"):
        fitted("x", value, default)


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert fitted("release", "~/ptbxl", "") == "/somewhere/ptbxl"


HOLDER = """
import sys, time
from ecgrepro.book import workflow
workflow.ROOT = __import__("pathlib").Path(sys.argv[1])
try:
    workflow.keep_others_out()
except workflow.InputError as error:
    sys.exit(str(error))
print("held", flush=True)
import subprocess
if sys.argv[2:] == ["child"]:
    subprocess.Popen(["sleep", "60"], close_fds=False); print("child", flush=True)
time.sleep(60)
"""


def test_the_lock_lives_as_long_as_a_process_of_the_run(tmp_path: Path):
    """Nothing has to be removed after a kill; a run that is alive is named in one line."""

    def hold(*more: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOLDER, str(tmp_path), *more]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    first = hold("child")
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    assert first.stdout.readline() == "child\n"
    _, refused = hold().communicate(timeout=60)
    assert f"Another run is alive here (process {first.pid})" in refused
    assert refused.count("\n") == 1
    os.kill(first.pid, signal.SIGKILL)
    _, refused = hold().communicate(timeout=60)
    assert "Another run is alive" in refused, "a process of the killed run still works"
    os.killpg(first.pid, signal.SIGKILL)
    time.sleep(0.2)
    again = hold()
    assert again.stdout is not None
    assert again.stdout.readline() == "held\n"
    os.killpg(again.pid, signal.SIGKILL)
