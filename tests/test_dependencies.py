"""Editing a module reruns the chapters that stand on it, and no others."""

from ecgrepro import ROOT
from ecgrepro.dependencies import modules_behind


def test_direct_indirect_and_foreign_imports():
    modules = modules_behind("01_data")
    assert "ecgrepro/runs.py" in modules
    assert "ecgrepro/parameters.py" in modules  # through runs
    assert "ecgrepro/objectives.py" not in modules  # the data chapter knows no loss
    assert all((ROOT / path).is_file() for path in modules)
