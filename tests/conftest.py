"""How chapters are compared, and the genuine part of PTB-XL, when it lies beside the repository."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # must be set before transformers is imported

from ecgrepro import ROOT


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


@pytest.fixture(scope="session")
def real_ptbxl() -> Path:
    """Folder of genuine PTB-XL files: $PTBXL, or shared/ptbxl beside the repository."""
    folder = Path(os.environ.get("PTBXL", ROOT.parent / "shared" / "ptbxl"))
    if not (folder / "ptbxl_database.csv").is_file():
        pytest.skip(f"no genuine PTB-XL at {folder}: set PTBXL to a folder that has it")
    return folder
