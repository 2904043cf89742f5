"""Whole trainings on tiny simulated signals: results, resume after a kill, several processes."""

import copy
import json
import os
import signal
import subprocess
import sys
import time as clock
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.losses import cosine_positive, cox_nll
from ecgrepro.models import (
    AlignmentModel,
    BatchwiseDropout,
    RiskModel,
    build_alignment_model,
    build_risk_model,
)
from ecgrepro.probing import collapse_report
from ecgrepro.survival import concordance_index
from ecgrepro.training import (
    AlignmentData,
    FinetuneConfig,
    FitConfig,
    PretrainConfig,
    RiskData,
    embed,
    embed_text,
    encode,
    finetune,
    fit,
    predict_risk,
    pretrain,
    warmup_cosine,
)
from ecgrepro.training.alignment import alignment_figures
from ecgrepro.training.devices import gather_with_grad
from tests.watched_array import WatchedArray

N, TEXTS, LENGTH = 48, 5, 96
CONFIG = PretrainConfig(epochs=3, batch_size=16, lead_mask=0.5, time_mask=0.5, seed=3)
RISK_CONFIG = FinetuneConfig(epochs=3, batch_size=12, learning_rate=3e-3, seed=4)


def simulated_signals(n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sines whose frequency is given by the text's number; int16 (n, 12, 90)."""
    rng = np.random.default_rng(seed)
    ids = np.arange(n) % TEXTS
    phase = rng.uniform(0, 0.5, (n, 12, 1))
    wave = np.sin(2 * np.pi * (1 + ids)[:, None, None] * np.arange(90) / 90 + phase)
    return (500 * wave).astype(np.int16), ids


def alignment_data() -> AlignmentData:
    packed, ids = simulated_signals()
    vectors = np.random.default_rng(1).normal(size=(TEXTS, 10)).astype(np.float32)
    return AlignmentData(
        *(packed, np.arange(N), 100, vectors[ids], ids),
        *(np.arange(32), np.arange(32, N)),
        length=LENGTH,
    )


def risk_data() -> RiskData:
    packed, ids = simulated_signals()
    rng = np.random.default_rng(2)
    time = rng.exponential(100 * np.exp(-1.0 * ids)) + 1
    event = (rng.random(N) < 0.5).astype(np.int64)
    return RiskData(
        *(packed, np.arange(N), 100, event, time),
        *(np.arange(32), np.arange(32, N)),
        length=LENGTH,
    )


def alignment_model(seed: int = 0) -> AlignmentModel:
    return build_alignment_model("cnn", text_dim=10, shared=8, length=LENGTH, latent=16, seed=seed)


def risk_model() -> RiskModel:
    return build_risk_model("cnn", length=LENGTH, latent=16, hidden=8)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads; equal bytes need an equal number of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    pretrain(alignment_model(), alignment_data(), CONFIG, folder, report=None)
    return folder


def only_run(folder: Path) -> Path:
    """The folder of the only training in a folder."""
    (run,) = folder.iterdir()
    return run


def same_result(folder: Path, reference: Path) -> bool:
    """The same training, which its name says, with the same bytes."""
    return only_run(folder).name == only_run(reference).name and all(
        (only_run(folder) / name).read_bytes() == (only_run(reference) / name).read_bytes()
        for name in ("model.safetensors", "history.json")
    )


def test_alignment_learns_and_reports_every_epoch(tmp_path: Path) -> None:
    """S-15: both terms are validated, and the best epoch is chosen by retrieval of texts."""
    lines: list[str] = []
    model = alignment_model()
    before = copy.deepcopy(model.state_dict())
    config = PretrainConfig(epochs=8, batch_size=16, lead_mask=0, time_mask=0)
    result = pretrain(model, alignment_data(), config, tmp_path, report=lines.append)
    history = result.history
    assert list(history.index) == list(range(9))
    assert len(lines) == 8
    assert lines[0].startswith("epoch   1/8  total ")
    assert "criterion" in lines[0]
    assert history.loc[8, "validation_align"] < 0.7 * history.loc[0, "validation_align"]
    assert history.loc[8, "validation_recon"] < history.loc[0, "validation_recon"]
    assert history.loc[8, "retrieval_at_1"] > 3 * history.loc[8, "chance_at_1"]
    assert result.best_epoch == history.loc[1:, "criterion"].idxmax() or (
        history.loc[result.best_epoch, "criterion"] == history.loc[1:, "criterion"].max()
    )
    total = history["validation_align"] + history["validation_recon"]
    assert np.allclose(history["validation_total"], total)
    for name, value in model.state_dict().items():  # the caller's model is left alone
        assert torch.equal(value, before[name])
    data = alignment_data()
    part = data.validation
    found = embed(result.model, data.signals, data.rows[part], 100, data.z_text[part])
    figures = alignment_figures(found.e_ecg, found.e_text, data.text_ids[part])
    assert figures["criterion"] == pytest.approx(history.loc[result.best_epoch, "criterion"])


def test_equal_seeds_give_equal_bytes_and_another_seed_does_not(
    uninterrupted: Path, tmp_path: Path
) -> None:
    torch.manual_seed(999)  # the global generator must not matter
    state = torch.get_rng_state()
    pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path / "same", report=None)
    assert torch.equal(state, torch.get_rng_state())  # nor be moved
    assert not torch.are_deterministic_algorithms_enabled()
    assert same_result(tmp_path / "same", uninterrupted)
    other = PretrainConfig(**{**CONFIG.__dict__, "seed": 4})
    pretrain(alignment_model(), alignment_data(), other, tmp_path / "other", report=None)
    assert not same_result(tmp_path / "other", uninterrupted)


class Killed(BaseException):
    """Stands for a kill: nothing in the package may catch it."""


@pytest.mark.parametrize("at_call", [1, 2, 4, 6])
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_in_the_same_bytes(
    at_call: int, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, calls = torch.optim.AdamW.step, 0

    def failing(self: torch.optim.AdamW, *arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise Killed
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", failing)  # a patched network would be another run
        with pytest.raises(Killed):
            pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)
    pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)
    assert same_result(tmp_path, uninterrupted)


@pytest.mark.parametrize("renamed", [True, False])
@pytest.mark.parametrize("at_write", range(1, 6))
def test_a_run_stopped_at_any_write_ends_in_the_same_bytes(
    at_write: int,
    renamed: bool,
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three epochs write what to go on from, then come best weights and history: five renames."""
    replace, writes = Path.replace, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal writes
        writes += 1
        if writes == at_write:
            if renamed:
                replace(self, target)
            raise Killed
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(Killed):
            pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)
    done: list[str] = []
    pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=done.append)
    assert len(done) == 3 - min(3, at_write - (not renamed))  # whole epochs are not repeated
    assert same_result(tmp_path, uninterrupted)
    names = {path.name for path in only_run(tmp_path).iterdir()}
    assert names - {"resume.pt"} == {"model.safetensors", "history.json"}


def test_a_finished_run_is_returned_at_once(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: pytest.fail("trained again"))
    result = pretrain(alignment_model(), alignment_data(), CONFIG, uninterrupted)
    assert "found finished in" in capsys.readouterr().out
    assert list(result.history.index) == [0, 1, 2, 3]
    assert not result.model.training


def test_other_settings_data_and_weights_are_other_runs(uninterrupted: Path) -> None:
    class Trained(BaseException):
        """Instead of training."""

    def stop(*_: object, **__: object) -> None:
        raise Trained

    data = alignment_data()
    faster = PretrainConfig(**{**CONFIG.__dict__, "learning_rate": 0.1})
    other = AlignmentData(**{**data.__dict__, "text_ids": (data.text_ids + 1) % TEXTS})
    for model, records, config in (
        (alignment_model(), data, faster),
        (alignment_model(seed=1), data, CONFIG),
        (alignment_model(), other, CONFIG),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "__init__", stop)
            with pytest.raises(Trained):
                pretrain(model, records, config, uninterrupted, report=None)
            # where it runs is no part of what it is
            elsewhere = PretrainConfig(**{**CONFIG.__dict__, "accelerator": "cpu", "devices": 2})
            pretrain(alignment_model(), data, elsewhere, uninterrupted, report=None)


def test_a_damaged_checkpoint_is_named(uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / only_run(uninterrupted).name
    run.mkdir()
    (run / "resume.pt").write_bytes(b"half")
    with pytest.raises(InputError, match=r"resume\.pt cannot be read"):
        pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)
    (run / "history.json").write_bytes((only_run(uninterrupted) / "history.json").read_bytes())
    with pytest.raises(InputError, match=r"model\.safetensors are missing"):
        pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)
    (run / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        pretrain(alignment_model(), alignment_data(), CONFIG, tmp_path, report=None)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    model = alignment_model()
    with torch.no_grad():
        model.text_head[0].weight.fill_(torch.nan)
    with pytest.raises(InputError, match="epoch 1, step 0: lower learning_rate"):
        pretrain(model, alignment_data(), CONFIG, tmp_path / "alignment", report=None)
    risky = risk_model()
    with torch.no_grad():
        risky.risk_head.score.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="epoch 1, step 0: lower learning_rate"):
        finetune(risky, risk_data(), RISK_CONFIG, tmp_path / "risk", report=None)


def test_the_published_loss_is_flagged_when_it_collapses() -> None:
    """S-16: constant projectors reach alignment 0; the monitors say so and give chance retrieval."""
    ids = np.r_[np.zeros(20, int), np.arange(1, 21)]  # half the records share one text
    constant = np.tile(np.arange(1.0, 9.0, dtype=np.float32), (40, 1))
    assert float(cosine_positive(torch.from_numpy(constant), torch.from_numpy(constant))) < 1e-6
    assert collapse_report(constant).collapsed
    figures = alignment_figures(constant, constant, ids)
    assert figures["retrieval_at_10"] == 0.0  # mid-rank of 21 texts
    assert figures["criterion"] == pytest.approx(1 / 11)
    assert figures["mean_pairwise_cosine"] == pytest.approx(1)
    assert figures["effective_rank"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"align_weight": 0.0, "recon_weight": 0.0},
        {"seed": -1},
        {"patience": 0},
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        PretrainConfig(**arguments)


@pytest.mark.parametrize("arguments", [{"recon_weight": 1.2}, {"patience": 0}, {"epochs": -1}])
def test_impossible_risk_settings_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        FinetuneConfig(**arguments)


def test_fine_tuning_learns_and_trains_the_decoder_too(tmp_path: Path) -> None:
    """R-10: every parameter moves; S-15: history has both terms; risk is chosen on validation."""
    model, data = risk_model(), risk_data()
    config = FinetuneConfig(epochs=10, batch_size=16, learning_rate=3e-3, lead_mask=0)
    result = finetune(model, data, config, tmp_path, report=None)
    history = result.history
    assert history.loc[10, "train_risk"] < history.loc[1, "train_risk"]
    assert history.loc[10, "validation_recon"] < history.loc[0, "validation_recon"]
    assert (
        history.loc[result.best_epoch, "validation_risk"]
        == history.loc[1:, "validation_risk"].min()
    )
    # Sixteen validation patients say little: the order is judged on many that were never seen.
    packed, ids = simulated_signals(n=400, seed=9)
    risk = predict_risk(result.model, packed, np.arange(400), 100)
    time = np.random.default_rng(10).exponential(100 * np.exp(-1.0 * ids)) + 1
    assert concordance_index(time, np.ones(400), risk) > 0.6
    expected = 0.5 * history["validation_recon"] + 0.5 * history["validation_risk"]
    assert np.allclose(history["validation_total"], expected)
    before = dict(model.named_parameters())
    for name, parameter in result.model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    held = data.validation
    risk = predict_risk(result.model, data.signals, data.rows[held], 100)
    assert risk.dtype == np.float64
    loss = cox_nll(
        torch.from_numpy(risk),
        torch.from_numpy(data.event[held]),
        torch.from_numpy(data.time[held]),
    )
    assert float(loss) == pytest.approx(history.loc[result.best_epoch, "validation_risk"], rel=1e-5)


def test_test_patients_have_no_part_in_a_fine_tuning(tmp_path: Path) -> None:
    """S-5: the epoch is chosen on validation alone; test outcomes and test ECGs change nothing."""
    given = risk_data()
    parts = {"train": np.arange(24), "validation": np.arange(24, 36)}
    test = np.arange(36, N)
    config = FinetuneConfig(epochs=6, batch_size=12, learning_rate=1e-2, seed=4)

    def result(name: str, **changes: np.ndarray) -> tuple[pd.DataFrame, int, bytes, set[int]]:
        fields = {**given.__dict__, **parts, **changes}
        watched = WatchedArray(fields["signals"])
        data = RiskData(**{**fields, "signals": watched})
        found = finetune(risk_model(), data, config, tmp_path / name, report=None)
        weights = only_run(tmp_path / name) / "model.safetensors"
        return found.history, found.best_epoch, weights.read_bytes(), watched.read

    history, best, weights, read = result("as it is")
    event, time, ecgs = given.event.copy(), given.time.copy(), given.signals.copy()
    event[test], time[test] = 1 - event[test], time[test][::-1] * 3
    ecgs[test] = 12_345
    other_history, other_best, other_weights, other_read = result(
        "other test patients", event=event, time=time, signals=ecgs
    )
    assert other_best == best
    assert other_weights == weights
    pd.testing.assert_frame_equal(other_history, history)
    assert read == other_read == set(range(36))

    # the same change to validation patients does move the choice, so the comparison can fail
    held = parts["validation"]
    event, time = given.event.copy(), given.time.copy()
    event[held], time[held] = 1 - event[held], time[held].max() + 1 - time[held]
    moved, moved_best, *_ = result("other validation patients", event=event, time=time)
    assert moved_best != best
    assert not np.allclose(moved["validation_risk"], history["validation_risk"])
    assert np.allclose(moved["train_risk"].loc[1:], history["train_risk"].loc[1:])


def test_recon_weight_weighs_reconstruction(tmp_path: Path) -> None:
    """R-11: with weight 1 the risk head gets no gradient, with weight 0 the decoder gets none."""
    config = {**RISK_CONFIG.__dict__, "epochs": 1, "weight_decay": 0.0}
    for weight, still in ((1.0, "risk_head"), (0.0, "decoder")):
        model = risk_model()
        settings = FinetuneConfig(**{**config, "recon_weight": weight})
        result = finetune(model, risk_data(), settings, tmp_path / still, report=None)
        before = dict(model.named_parameters())
        for name, parameter in result.model.named_parameters():
            assert torch.equal(parameter, before[name]) == name.startswith(still), name


def test_a_frozen_encoder_stays_as_it_came(tmp_path: Path) -> None:
    """S-14: no parameter, no BatchNorm buffer moves, and its dropout is off."""
    model = risk_model()
    config = FinetuneConfig(**{**RISK_CONFIG.__dict__, "freeze_encoder": True})
    result = finetune(model, risk_data(), config, tmp_path, report=None)
    before = model.state_dict()
    for name, value in result.model.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
    assert any("running_mean" in name for name in before)
    assert not torch.equal(result.model.risk_head.hidden.weight, model.risk_head.hidden.weight)


def test_latents_of_a_frozen_encoder_computed_once_give_the_same_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"freeze_encoder": True, "recon_weight": 0.0, "lead_mask": 0.0, "time_mask": 0.0}
    config = FinetuneConfig(**{**RISK_CONFIG.__dict__, **settings})
    once = finetune(risk_model(), risk_data(), config, tmp_path / "once", report=None)
    monkeypatch.setattr(FinetuneConfig, "only_head_learns", False)
    every = finetune(risk_model(), risk_data(), config, tmp_path / "every", report=None)
    assert once.best_epoch == every.best_epoch
    for name in ("train_risk", "validation_risk", "validation_c_index"):
        np.testing.assert_allclose(once.history[name], every.history[name], rtol=1e-4)
    for name, value in every.model.risk_head.state_dict().items():
        # a whole step of AdamW may hang on the sign of a gradient that is next to nothing
        torch.testing.assert_close(
            once.model.risk_head.state_dict()[name], value, rtol=0, atol=5e-3
        )
    assert once.history["validation_recon"].isna().all(), "nothing is reconstructed"


def test_dropout_is_one_mask_a_batch_in_fine_tuning(tmp_path: Path) -> None:
    """S-17, S-19: one policy for every dropout of the network, set by the configuration."""
    for wanted in (True, False):
        config = FinetuneConfig(
            **{**RISK_CONFIG.__dict__, "batchwise_dropout": wanted, "epochs": 1}
        )
        model = build_risk_model("dual_attention", length=LENGTH, latent=16, hidden=8)
        result = finetune(model, risk_data(), config, tmp_path / str(wanted), report=None)
        parts = [m for m in result.model.modules() if isinstance(m, BatchwiseDropout)]
        assert len(parts) > 2
        assert {part.batchwise for part in parts} == {wanted}


def test_fine_tuning_resumes_and_stops_early(tmp_path: Path) -> None:
    config = FinetuneConfig(
        **{**RISK_CONFIG.__dict__, "epochs": 40, "patience": 2, "learning_rate": 0.02}
    )
    whole = finetune(risk_model(), risk_data(), config, tmp_path / "whole", report=None)
    assert whole.history.index[-1] == whole.best_epoch + 2 < 40

    def stop(line: str) -> None:
        if line.startswith("epoch   2/"):
            raise Killed

    with pytest.raises(Killed):
        finetune(risk_model(), risk_data(), config, tmp_path / "cut", report=stop)
    finetune(risk_model(), risk_data(), config, tmp_path / "cut", report=None)
    assert same_result(tmp_path / "cut", tmp_path / "whole")


def test_encoding_does_not_depend_on_companions_and_restores_the_mode() -> None:
    data, model = alignment_data(), alignment_model()
    model.train()
    model.ecg_head.eval()
    whole = encode(model.encoder, data.signals, np.arange(N), 100)
    few = encode(model.encoder, data.signals, np.array([40, 3, 17]), 100, batch_size=2)
    assert whole.shape == (N, 16)
    assert whole.dtype == np.float32
    assert np.allclose(few, whole[[40, 3, 17]], atol=1e-6)
    assert np.array_equal(whole, encode(model.encoder, data.signals, np.arange(N), 100))
    assert model.encoder.training
    assert not model.ecg_head.training
    both = embed(model, data.signals, data.rows, 100, data.z_text)
    assert np.array_equal(both.z_ecg, whole)
    assert both.e_ecg.shape == both.e_text.shape == (N, 8)
    assert np.allclose(embed_text(model, data.z_text), both.e_text, atol=1e-6)


def test_nothing_to_encode_is_refused() -> None:
    with pytest.raises(InputError, match="no record"):
        encode(alignment_model().encoder, alignment_data().signals, np.array([], int), 100)


def test_gathering_in_one_process_is_the_identity() -> None:
    class Alone:
        world_size = 1

    tensor = torch.ones(3, requires_grad=True)
    assert gather_with_grad(Alone(), tensor) is tensor


ONE = {"epochs": 2, "batch_size": 11, "learning_rate": 1e-3}
TWO = {**ONE, "accelerator": "cpu", "devices": 2}


def plain_steps(weights: object, rate: float, betas: object, weight_decay: float) -> object:
    """In place of AdamW, which makes whole steps of the rounding errors of a gradient that is nearly 0."""
    return torch.optim.SGD(weights, rate)


def _child(folder: Path) -> None:
    """What the child process does: train in two processes, then pretrain until killed."""
    adamw, torch.optim.AdamW = torch.optim.AdamW, plain_steps
    torch.set_num_threads(2)  # the forks must not wait for a second thread
    torch.randn(300, 300) @ torch.randn(300, 300)
    finetune(risk_model(), risk_data(), FinetuneConfig(**TWO), folder / "risk", report=None)
    config = PretrainConfig(**TWO, lead_mask=0.5, time_mask=0.5)
    pretrain(alignment_model(), alignment_data(), config, folder / "alignment", report=None)
    torch.set_num_threads(1)
    torch.optim.AdamW = adamw

    def slowly(_: str) -> None:
        clock.sleep(0.2)  # so that the kill comes before the end

    pretrain(alignment_model(), alignment_data(), CONFIG, folder / "killed", report=slowly)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One child process for three tests, because importing torch and Fabric takes seconds."""
    folder = tmp_path_factory.mktemp("child")
    code = (
        "import sys; from pathlib import Path; from tests.test_training_runs import _child; "
        "_child(Path(sys.argv[1]))"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )
        deadline = clock.monotonic() + 240
        while not list(folder.glob("killed/*/resume.pt")) and process.poll() is None:
            assert clock.monotonic() < deadline, (folder / "log").read_text()
            clock.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(folder.glob("killed/*/resume.pt")), (folder / "log").read_text()
    return folder


def test_a_killed_process_is_resumed_to_the_same_bytes(child: Path, uninterrupted: Path) -> None:
    """kill -9 of a real process between two epochs."""
    folder = child / "killed"
    assert not list(folder.glob("*/history.json"))
    done: list[str] = []
    pretrain(alignment_model(), alignment_data(), CONFIG, folder, report=done.append)
    assert 0 < len(done) < CONFIG.epochs
    assert same_result(folder, uninterrupted)


@pytest.mark.parametrize("kind", ["risk", "alignment"])
def test_two_processes_train_what_one_does(
    kind: str, child: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANCHORS V6: risk sets, negatives and batch statistics are those of the whole batch, also with
    unequal shards (11 = 6 + 5); masks and batch-wise dropout are those of one process."""
    monkeypatch.setattr(torch.optim, "AdamW", plain_steps)
    if kind == "risk":
        finetune(risk_model(), risk_data(), FinetuneConfig(**ONE), tmp_path, report=None)
    else:
        config = PretrainConfig(**ONE, lead_mask=0.5, time_mask=0.5)
        pretrain(alignment_model(), alignment_data(), config, tmp_path, report=None)
    one, two = only_run(tmp_path), only_run(child / kind)
    assert one.name == two.name
    weights = [load_file(run / "model.safetensors") for run in (one, two)]
    rows = [json.loads((run / "history.json").read_text())["history"] for run in (one, two)]
    for mine, other in zip(*rows, strict=True):
        for name, value in mine.items():
            if name.startswith(("train_", "validation_")) and "c_index" not in name:
                assert other[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-5, atol=1e-5, msg=name)
    assert rows[0][2]["train_total"] != pytest.approx(rows[0][1]["train_total"], abs=1e-4)


def test_fit_is_the_loop_that_one_would_write(tmp_path: Path) -> None:
    """The reader's own network, batches and loss; the same steps by hand end in the same bits."""
    x, y = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 4)
    by_hand = copy.deepcopy(model)
    config = FitConfig(epochs=2, learning_rate=0.1, betas=(0.9, 0.999), weight_decay=0.01)

    def batches(epoch: int) -> list[np.ndarray]:
        return np.array_split(np.arange(12), 3)

    def losses(
        network: torch.nn.Module, batch: np.ndarray, masks: torch.Generator, fabric: object
    ) -> dict[str, torch.Tensor]:
        return {"total": (network(x[batch]) - y[batch]).square().mean()}

    def validate(model: torch.nn.Module, device: torch.device) -> tuple[dict, tuple]:
        error = float((model(x) - y).square().mean().detach())
        return {"validation_total": error, "criterion": -error}, (-error,)

    history, best_epoch = fit(model, batches, losses, validate, config, tmp_path, report=None)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.1, weight_decay=0.01)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.1 * warmup_cosine(step, 6, 0.2)
        (by_hand(x[4 * (step % 3) :][:4]) - y[4 * (step % 3) :][:4]).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert best_epoch == 2 == history.validation_total.idxmin()
    assert list(history.columns) == [
        "learning_rate",
        "train_total",
        "validation_total",
        "criterion",
    ]
    assert all(map(torch.equal, model.parameters(), by_hand.parameters()))
