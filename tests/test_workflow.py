"""What make accepts, that it goes on after any stop, and what every Python of the environment starts with."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from packaging.specifiers import SpecifierSet

from ecgrepro import ROOT, pages, parameters
from ecgrepro.book import environment, workflow
from ecgrepro.book.alive import MAKE, only_one
from ecgrepro.errors import InputError
from ecgrepro.runs import ARTEFACTS, CHAPTERS
from tests.kills import KINDS, differences, part

# What is typed


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("06_allignment", "no chapter '06_allignment': did you mean 06_alignment"),
        ("6", "no chapter '6': did you mean 06_alignment"),
        ("", "CHAPTER= is missing: did you mean 01_data or"),
        ("zzz", "did you mean 01_data or"),
        ("[", "no chapter '\\['"),
    ],
)
def test_a_mistyped_chapter_is_refused_with_the_near_names(typed: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        workflow.chapter_named(typed)


def test_chapters_and_cores_that_exist_pass() -> None:
    assert [workflow.chapter_named(name) for name in CHAPTERS] == list(CHAPTERS)
    assert [workflow.cores_named(cores) for cores in ("1", "16", "all")] == ["1", "16", "all"]
    for cores in ("0", "-1", "two", "2; touch x"):
        with pytest.raises(InputError, match="number of cores"):
            workflow.cores_named(cores)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one tiny chapter that takes a release."""
    for folder in ("notebooks", "profiles"):
        (tmp_path / folder).mkdir()
    cell = '# %% tags=["parameters"]\nrun = "demo"  # run\nrelease = ""  # folder\n'
    (tmp_path / "notebooks" / "01_data.py").write_text(cell)
    (tmp_path / "profiles" / "demo.yaml").write_text("")
    monkeypatch.setattr(parameters, "ROOT", tmp_path)
    return tmp_path


def prepare(release: str = "", run: str = "") -> str:
    return parameters.prepare_run("demo", {"release": release}, ("01_data",), run)


@pytest.mark.parametrize("run", ["20261127", "5", "1e3", "2026_11", "a.b-c", "_x"])
def test_run_names_that_look_like_numbers_are_names(root: Path, run: str) -> None:
    assert prepare(run=run) == prepare(run=run) == run
    assert parameters.effective_parameters("01_data", run)["run"] == run


@pytest.mark.parametrize("run", ["..", ".x", "a/b", "../x", "/tmp", "a b", "ä", "x;y", "a\n"])
def test_other_run_names_are_refused(root: Path, run: str) -> None:
    for release in ("", "data"):
        with pytest.raises(InputError, match="cannot name a run"):
            prepare(release, run)
    assert not (root / "runs").exists()


def test_two_releases_of_one_name_never_share_a_run(root: Path) -> None:
    for hospital in ("a", "b"):
        (root / hospital / "ptbxl").mkdir(parents=True)
    first, second = prepare("a/ptbxl"), prepare("b/ptbxl")
    assert first == "demo-ptbxl"
    assert re.fullmatch(r"demo-ptbxl-[0-9a-f]{6}", second)
    assert [prepare("a/ptbxl"), prepare("b/ptbxl")] == [first, second]
    assert prepare(str(root / "a" / "ptbxl")) == first, "the same folder, typed otherwise"
    assert parameters.effective_parameters("01_data", second)["release"] == "b/ptbxl"
    with pytest.raises(InputError, match="was made with release"):
        prepare("b/ptbxl", run=first)
    assert prepare("ä/my ptbxl") == "demo-my-ptbxl"


def test_what_is_typed_is_never_run(tmp_path: Path) -> None:
    """Neither a shell nor make itself reads a value: it arrives letter by letter."""
    trap = tmp_path / "trap"
    values = [f"CHAPTER=x; touch {trap} #", f"RELEASE=$(shell touch {trap})", f"RUN=`touch {trap}`"]
    done = make(ROOT, "needs", *values)
    assert done.returncode != 0
    assert f"There is no chapter 'x; touch {trap} #'" in done.stderr
    assert not trap.exists()


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["make", "-o", ".venv/.ready", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(folder)},
    )


# Stops


BY_HAND = {name: value for name, value in os.environ.items() if name != MAKE}


def process(code: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    """A Python process that has printed a line, so that it is where `code` printed it."""
    started = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env=BY_HAND | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout.readline() == "ready\n"
    return started


BEGIN = "import sys, time; from pathlib import Path; from ecgrepro.book import alive; folder = Path(sys.argv[1]);"
HOLD = BEGIN + "\nwith alive.only_one(folder): print('ready', flush=True); time.sleep(600)"
CHAPTER = BEGIN + "alive.end_with_make(folder); print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start processes that do not outlive the test."""
    all_of_them: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        all_of_them.append(process(*arguments, **variables))
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        one.kill()
        one.wait()


def test_another_make_is_named_and_a_killed_one_leaves_no_lock(tmp_path: Path, started) -> None:
    holder = started(HOLD, tmp_path)
    with pytest.raises(InputError, match=f"process {holder.pid}\\) is at work"), only_one(tmp_path):
        pass
    holder.kill()
    holder.wait()
    for _ in range(2):
        with only_one(tmp_path, patience=0):
            pass


def test_a_chapter_ends_with_its_make_and_is_waited_for(tmp_path: Path, started) -> None:
    holder = started(HOLD, tmp_path)
    chapter = started(CHAPTER, tmp_path, ECGREPRO_MAKE=str(holder.pid))
    time.sleep(1.2)
    assert chapter.poll() is None
    holder.kill()
    holder.wait()
    with only_one(tmp_path, patience=30):
        assert chapter.wait(timeout=5) == 1


def test_what_does_not_end_is_said(tmp_path: Path, started) -> None:
    started(CHAPTER, tmp_path, ECGREPRO_MAKE=str(os.getpid()))
    with pytest.raises(InputError, match="left behind is still at work"), only_one(tmp_path, 0.3):
        pass


def test_a_chapter_by_hand_is_not_watched(tmp_path: Path, started) -> None:
    chapter = started(CHAPTER, tmp_path)
    with only_one(tmp_path, patience=0):
        assert chapter.poll() is None


TINY = """
from pathlib import Path
import os, time
from ecgrepro import ROOT, runs
chapter = runs.start("01_data", globals())
with (ROOT / "kernels").open("a") as stream:
    stream.write(f"{os.getpid()}\\n")
chapter.write("release").write_text("half")
time.sleep(4)
chapter.write("release").write_text("whole")
chapter.write("packed").write_text("whole")
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, in a folder with a space and an umlaut, whose chapter 1 is tiny."""
    folder = tmp_path_factory.mktemp("clone") / "my bücher"
    folder.mkdir()
    for name in ("ecgrepro", "notebooks", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "Snakefile", "settings.mk"):
        shutil.copy(ROOT / name, folder)
    notebook = nbformat.read(folder / "notebooks" / "01_data.ipynb", as_version=4)
    kept = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells = [*kept, nbformat.v4.new_code_cell(TINY)]
    nbformat.write(notebook, folder / "notebooks" / "01_data.ipynb")
    return folder


@pytest.mark.parametrize("kind", ["kill -9 of snakemake", "SIGTERM to make"])
def test_make_goes_on_after_a_kill(clone: Path, kind: str) -> None:
    """In the middle of a chapter; its half-written file and what outlived the kill do no harm."""
    arguments = (
        "chapter",
        "CHAPTER=01_data",
        "PROFILE=smoke",
        f"RUN={CHAPTERS.index('01_data')}{len(kind)}",
    )
    kernels = clone / "kernels"
    kernels.unlink(missing_ok=True)
    with (clone / "first.log").open("w") as log:
        first = psutil.Popen(
            ["make", "-o", ".venv/.ready", *arguments],
            cwd=clone,
            env=os.environ | {"PYTHONPATH": str(clone)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while not kernels.is_file() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert kernels.is_file(), (clone / "first.log").read_text()
    assert part(first, "ipykernel_launcher")
    KINDS[kind](first)
    assert first.wait() != 0
    run = clone / "runs" / arguments[-1].removeprefix("RUN=")
    assert not (run / "executed" / "01_data.ipynb").exists()
    again = make(clone, *arguments)
    assert again.returncode == 0, again.stderr
    orphan, kernel = map(int, kernels.read_text().split())
    assert orphan != kernel
    assert not psutil.pid_exists(orphan)
    assert (run / ARTEFACTS["release"].path).read_text() == "whole"
    assert (run / "executed" / "01_data.ipynb").is_file()


def test_pages_half_rendered_are_rendered_again(tmp_path: Path, monkeypatch) -> None:
    import jupyter_book.cli.main as jupyter_book

    page = tmp_path / "_build" / "html" / "page.html"

    def build(arguments: list[str], standalone_mode: bool) -> None:
        page.parent.mkdir(parents=True, exist_ok=True)
        assert not page.exists() or page.read_text() == "whole", "built upon what was half written"
        page.write_text("half")
        if fails:
            raise RuntimeError("a warning")
        page.write_text("whole")

    monkeypatch.setattr(jupyter_book, "main", build)
    for fails in (True, False, False, True):
        try:
            pages.render(tmp_path)
        except RuntimeError:
            assert fails
        assert (tmp_path / "_build" / "whole").exists() is not fails


def test_what_kills_compares() -> None:
    one = {"release: release.json": "1", "encoders: encoders.csv": "1", "page: a.html": "there"}
    assert differences(one, one | {"encoders: encoders.csv": "2"}) == []
    assert differences(one, one | {"release: release.json": "2"}) == ["release: release.json"]
    assert differences(one, {}) == ["page: a.html", "release: release.json"]


# The environment


def test_settings_are_read_by_make_and_by_python() -> None:
    settings = environment.settings()
    assert settings["OMP_NUM_THREADS"] == "1"
    assert settings["OMP_WAIT_POLICY"] == "passive"
    assert len(settings) == (ROOT / "settings.mk").read_text().count("?=")
    code = "all:\n\t@env\ninclude settings.mk\nexport $(shell sed -n 's/ ?=.*//p' settings.mk)\n"
    outside = {name: value for name, value in os.environ.items() if name not in settings}
    done = subprocess.run(
        ["make", "-f", "-"], cwd=ROOT, input=code, env=outside, capture_output=True, text=True
    )
    assert {f"{name}={value}" for name, value in settings.items()} <= set(done.stdout.split("\n"))


def test_every_python_of_the_environment_has_the_settings_and_its_own_kernel(
    tmp_path: Path,
) -> None:
    """As the line that `make env` writes lets it start, also below a hub whose JUPYTER_PATH has a python3."""
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["/bin/false"], "display_name": "other"}')
    code = (
        "import os, sys; from ecgrepro.book import environment; environment.prepare(); environment.prepare()\n"
        "from jupyter_client.kernelspec import KernelSpecManager as Manager\n"
        "print(Manager().get_kernel_spec('python3').argv[0], os.environ['OMP_NUM_THREADS'], "
        "os.environ['OMP_WAIT_POLICY'], os.environ['JUPYTER_PATH'].count(sys.prefix))"
    )
    outside = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    outside |= {"JUPYTER_PATH": str(tmp_path), "OMP_NUM_THREADS": "3", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=outside, capture_output=True, text=True, check=True
    )
    kernel, threads, wait, own = done.stdout.split()
    assert "python" in Path(kernel).name
    assert (threads, wait, own) == ("3", "passive", "1"), "what is set stays"


@pytest.mark.parametrize("version", ["3.12.1", "3.13.0", "3.10.4"])
def test_another_python_is_refused_in_one_line_before_anything_is_made(
    tmp_path: Path, version: str
) -> None:
    for name in ("Makefile", "settings.mk", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    numbers = tuple(map(int, version.split(".")))
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = {numbers}; exec(sys.argv[1])" "$2"\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "env", "PYTHON=./python"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    assert f"needs Python 3.11, this is {version.rsplit('.', 1)[0]}" in said[0]
    assert not (tmp_path / ".venv").exists()


def test_the_python_of_make_is_that_of_the_package() -> None:
    import tomllib

    accepted = SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )
    assert [v for v in ("3.10", "3.11", "3.12", "3.13") if accepted.contains(v)] == ["3.11"]
    assert "(3, 11)" in (ROOT / "Makefile").read_text()
