"""How chapters are compared, and the genuine part of PTB-XL, when it lies beside the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # must be set before transformers is imported

from ecgrepro import ROOT
from ecgrepro.book.alive import MAKE
from ecgrepro.parameters import prepare_run
from ecgrepro.runs import CHAPTERS
from tests.compare_outputs import printed

os.environ[MAKE] = str(os.getpid())  # references are made from the chapters as they are now
REFERENCES = ROOT / "tests" / "reference"


def pytest_configure(config: pytest.Config) -> None:
    """Settle how `--nbval` runs chapters, where the command line does not; nothing with `-p no:nbval`."""
    if not config.pluginmanager.hasplugin("nbval"):
        return
    option = config.option
    if option.nbval_kernel_name is None:
        option.nbval_current_env = True
    if option.nbval_sanitize_with is None:
        option.nbval_sanitize_with = str(ROOT / "tests" / "sanitize.cfg")
    if option.nbval_cell_timeout == 2000:  # the plugin's default
        option.nbval_cell_timeout = 600
    from nbval.plugin import IPyNbCell

    exactly = IPyNbCell.sanitize

    def sanitize(cell: IPyNbCell, text: object) -> object:
        """Hand nbval text that is compared within the tolerance of its cell."""
        return printed(exactly(cell, text), "trained" in cell.cell.metadata.get("tags", []))

    IPyNbCell.sanitize = sanitize


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make what stored chapters read of the smoke run, unless all that comes before them is tested too."""
    chapters = {item.path.stem for item in session.items if item.path.parent == REFERENCES}
    if not chapters or session.config.option.collectonly:
        return
    prepare_run("smoke", {}, CHAPTERS)
    before = set(CHAPTERS[: max(CHAPTERS.index(chapter) for chapter in chapters)])
    if before <= chapters:
        return
    for chapter in sorted(chapters):
        environment = {**os.environ, "PROFILE": "smoke", "CHAPTER": chapter}
        command = [sys.executable, "-m", "ecgrepro.book.workflow", "needs"]
        subprocess.run(command, cwd=ROOT, check=True, env=environment)


@pytest.fixture(scope="session")
def real_ptbxl() -> Path:
    """Folder of genuine PTB-XL files: $PTBXL, or shared/ptbxl beside the repository."""
    folder = Path(os.environ.get("PTBXL", ROOT.parent / "shared" / "ptbxl"))
    if not (folder / "ptbxl_database.csv").is_file():
        pytest.skip(f"no genuine PTB-XL at {folder}: set PTBXL to a folder that has it")
    return folder
