"""Editing a module reruns the chapters that stand on it, and no others."""

from ecgrepro import ROOT, models, objectives, training
from ecgrepro.data import signals
from ecgrepro.dependencies import modules_behind
from ecgrepro.training.checkpoints import CODE


def test_direct_indirect_and_foreign_imports():
    modules = modules_behind("01_data")
    assert "ecgrepro/runs.py" in modules
    assert "ecgrepro/parameters.py" in modules  # through runs
    assert "ecgrepro/objectives.py" not in modules  # the data chapter knows no loss
    assert all((ROOT / path).is_file() for path in modules)


def test_code_that_decides_a_training_is_part_of_its_fingerprint():
    """A training must not go on with other code than it began with, wherever a function lives."""
    for function in (
        *(signals.prepare, signals.zscore, signals.resample),
        *(models.build_risk_model, objectives.cox_nll, training.finetune),
    ):
        module = function.__module__.removeprefix("ecgrepro.").replace(".", "/")
        assert module.startswith(CODE), f"{function.__name__} lives in {module}"


def test_tables_beside_the_modules_count():
    """A new row in the glossary reruns the chapter that translates, and not the encoders' chapter."""
    assert "ecgrepro/text/translation/german.csv" in modules_behind("03_translation")
    assert "ecgrepro/text/translation/german.csv" not in modules_behind("05_encoders")
