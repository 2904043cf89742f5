"""Editing a module reruns the chapters that stand on it, and no others."""

from ecgrepro import ROOT
from ecgrepro.dependencies import modules_behind


def test_direct_indirect_and_foreign_imports():
    modules = modules_behind("01_data")
    assert "ecgrepro/runs.py" in modules
    assert "ecgrepro/parameters.py" in modules  # through runs
    assert "ecgrepro/losses.py" not in modules  # the data chapter knows no loss
    assert all((ROOT / path).is_file() for path in modules)


def test_tables_beside_the_modules_count():
    """A new row in the glossary reruns the chapter that translates, and not the encoders' chapter."""
    assert "ecgrepro/text/translation/german.csv" in modules_behind("03_translation")
    assert "ecgrepro/text/translation/german.csv" not in modules_behind("05_encoders")
