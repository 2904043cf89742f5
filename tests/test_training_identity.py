"""A training is never answered with another one: what is passed in or patched is part of what it is."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ecgrepro import ROOT, losses
from ecgrepro.models import CNNEncoder
from ecgrepro.training import PretrainConfig, pretrain
from ecgrepro.training.identity import fingerprint
from tests.test_training_runs import alignment_data, alignment_model

LOSS = """
import torch.nn.functional as F
scale = 2.0

def helper(cosine):
    return 1 - cosine

def loss(e_ecg, e_text, text_ids):
    cosine = F.cosine_similarity(e_ecg, e_text)
    return scale * helper(cosine).mean()
"""


def cell(source: str) -> Callable[..., Any]:
    """Run a notebook cell and return its loss."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell>", "exec"), namespace)  # noqa: S102 - as a kernel does
    return namespace["loss"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("scale * helper", "scale + helper"),  # the loss itself
        ("1 - cosine", "2 - cosine"),  # a function it names
        ("scale = 2.0", "scale = 2.5"),  # a number it names
        ("cosine_similarity", "pairwise_distance"),  # a library's function
        ("text_ids)", "text_ids, power=2)"),  # its arguments
    ],
)
def test_a_loss_edited_in_a_cell_is_another(before: str, after: str) -> None:
    assert before in LOSS
    assert fingerprint(cell(LOSS)) != fingerprint(cell(LOSS.replace(before, after)))


def test_comments_docstrings_and_places_change_nothing() -> None:
    told = LOSS.replace("text_ids):", 'text_ids):\n    """Say it."""\n    # and again')
    assert fingerprint(cell(LOSS)) == fingerprint(cell("\n\n" + told))
    assert fingerprint(cell(told)) == fingerprint(cell(told.replace("Say", "Tell")))


def test_what_a_function_closes_over_counts() -> None:
    def tempered(temperature: Any) -> Callable[[Any], Any]:
        return lambda cosine: cosine / temperature

    assert fingerprint(tempered(0.07)) == fingerprint(tempered(0.07))
    different = [0.07, 0.1, 7, "7", [[1], 2], [[1, 2]], np.zeros(3), np.zeros(4), torch.ones(3)]
    assert len({fingerprint(tempered(value)) for value in different}) == len(different)


def test_patching_the_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(losses.soft_infonce), fingerprint(pretrain), fingerprint(CNNEncoder)
    monkeypatch.setattr(losses, "_check_pair", lambda *_: None)
    assert fingerprint(losses.soft_infonce) != before[0]
    monkeypatch.setattr("ecgrepro.data.signals.zscore", lambda x: x)
    assert fingerprint(pretrain) != before[1]
    monkeypatch.setattr("ecgrepro.models.cnn.ResidualBlock.forward", lambda self, x: x)
    assert fingerprint(CNNEncoder) != before[2]


def test_a_network_is_its_classes_settings_and_weights() -> None:
    base = fingerprint(nn.Sequential(nn.Flatten(), nn.Dropout(0.1)))
    assert base == fingerprint(nn.Sequential(nn.Flatten(), nn.Dropout(0.1)))
    assert base != fingerprint(nn.Sequential(nn.Flatten(), nn.Dropout(0.2)))
    model, patched = alignment_model(), alignment_model()
    assert fingerprint(model) == fingerprint(patched)
    patched.encoder.forward = types.MethodType(lambda self, x: x, patched.encoder)
    assert fingerprint(model) != fingerprint(patched)
    with torch.no_grad():
        model.ecg_head[0].bias[0] += 1e-6
    assert fingerprint(model) != fingerprint(alignment_model())


def test_it_depends_on_neither_process_nor_hash_seed() -> None:
    code = (
        "from ecgrepro.training import pretrain, finetune; from ecgrepro.training.identity import fingerprint;"
        "from ecgrepro.models import build_risk_model as b;"
        "print(fingerprint(pretrain, finetune, b('dual_attention', length=64), lambda x: x in {'a', 'b', 'c'}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


class Doubled(CNNEncoder):
    """An encoder of a reader's own, with the very weights of another."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Twice what the parent says."""
        return 2 * super().encode(x)


def test_the_same_training_is_found_finished_and_another_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(loss: Callable[..., Any], encoder: type[CNNEncoder] = CNNEncoder) -> str:
        model = alignment_model()
        model.encoder.__class__ = encoder
        config = PretrainConfig(loss=loss, epochs=1, batch_size=16)
        pretrain(model, alignment_data(), config, tmp_path)
        return capsys.readouterr().out

    assert "epoch" in train(cell(LOSS))
    (run,) = tmp_path.iterdir()
    assert train(cell(LOSS)) == f"found finished in {os.path.relpath(run)}\n"
    assert "epoch" in train(cell(LOSS.replace("2.0", "3.0")))
    assert "epoch" in train(cell(LOSS), Doubled)
    assert "found finished" in train(cell(LOSS), Doubled)
    monkeypatch.setattr(losses.F, "mse_loss", lambda a, b: (a - b).abs().mean())
    assert "epoch" in train(cell(LOSS), Doubled)
