"""Edits of notebooks are neither lost nor mixed up with the run of the book."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ecgrepro import ROOT, runs
from ecgrepro.book import notebooks

CHAPTER = "02_structured_reports"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one chapter, in place of this one."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for ending in ("py", "ipynb"):
        shutil.copy(ROOT / "notebooks" / f"{CHAPTER}.{ending}", folder)
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b.c commit -qm first"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", folder)
    return tmp_path


def code_cells() -> list[str]:
    book = json.loads((ROOT / "notebooks" / f"{CHAPTER}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]


def test_cells_that_only_the_notebook_has_are_shown(
    repository: Path, capsys: pytest.CaptureFixture[str]
):
    assert notebooks.main() == 0
    path = repository / "notebooks" / f"{CHAPTER}.ipynb"
    book = json.loads(path.read_text())
    book["cells"].insert(2, {**book["cells"][0], "source": ["An hour of work"]})
    path.write_text(json.dumps(book))
    assert notebooks.main() == 1
    said = capsys.readouterr().err
    assert "An hour of work" in said
    assert f"notebooks/{CHAPTER}.ipynb" in said
    script = path.with_suffix(".py")
    script.write_text(script.read_text() + "\n# %% [markdown]\n# An hour of work\n")
    assert notebooks.main() == 0, "the .py has it: nothing would be lost"


def test_a_cell_changed_in_the_script_alone_is_no_loss(repository: Path):
    script = repository / "notebooks" / f"{CHAPTER}.py"
    script.write_text(script.read_text().replace("chapter.finish()", "chapter.finish( )"))
    assert notebooks.main() == 0


@pytest.mark.parametrize("git", [True, False])
def test_edited_cells_are_found(repository: Path, git: bool):
    if not git:
        shutil.rmtree(repository / ".git")
    cells = code_cells()
    assert notebooks.edited_cells(CHAPTER, ["", *cells, "# Parameters\nrun = 'x'\n"]) == []
    looks = ["print(1)", "reports.head()\n"]
    assert notebooks.edited_cells(CHAPTER, [*cells, *looks]) == []
    timed = "get_ipython().run_cell_magic('time', '', 'epochs = 5\\n')\n"
    changed = [
        cells[0],
        cells[1] + "\nreports = None",
        "loss = 1",
        timed,
        "t.drop(1, inplace=True)",
    ]
    assert notebooks.edited_cells(CHAPTER, changed) == changed[1:]


def test_an_edited_chapter_writes_to_a_trial(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(runs, "ROOT", repository)
    namespace: dict[str, object] = {"In": code_cells()}
    folder = repository / "runs" / "demo"
    run = runs.Run("demo", CHAPTER, folder, folder, {}, namespace)
    monkeypatch.setenv(runs.MAKE, "1")
    namespace["In"] = [*code_cells(), "x = 1"]
    assert run.write("reports").parent == folder, "make itself writes to the run"
    monkeypatch.delenv(runs.MAKE)
    namespace["In"] = code_cells()
    assert run.write("reports").parent == folder
    namespace["In"] = [*code_cells(), "x = 1"]
    path = run.write("reports")
    assert path.parent.parent == folder / "trials"
    assert "Edited cells (x = 1 ...)" in capsys.readouterr().out
