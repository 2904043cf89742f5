"""Shared fixtures: the genuine part of PTB-XL, when it lies beside the repository."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # must be set before transformers is imported

from ecgrepro import ROOT


@pytest.fixture(scope="session")
def real_ptbxl() -> Path:
    """Folder of genuine PTB-XL files: $PTBXL, or shared/ptbxl beside the repository."""
    folder = Path(os.environ.get("PTBXL", ROOT.parent / "shared" / "ptbxl"))
    if not (folder / "ptbxl_database.csv").is_file():
        pytest.skip(f"no genuine PTB-XL at {folder}: set PTBXL to a folder that has it")
    return folder
