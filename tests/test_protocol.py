"""The sweep: which arms, what a fold may see, what is kept, and what stands in the table at the end."""

import dataclasses
import json
import shutil
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from ecgrepro import ROOT
from ecgrepro.biomarkers import measure_many
from ecgrepro.data.packing import open_packed, pack_arrays
from ecgrepro.errors import InputError
from ecgrepro.files import write_json
from ecgrepro.models import build_alignment_model, save_weights
from ecgrepro.protocol import (
    Arm,
    collect,
    learning_curve,
    name_lines,
    paired_differences,
    run_arm,
    run_sweep,
    summarise,
    sweep_of,
)
from ecgrepro.protocol.arms import NETWORKS, sweep_arms
from ecgrepro.protocol.run import (
    NO_PAIR,
    ArmResult,
    c_index_of,
    evaluate_folds,
    finetune_settings,
    limit_labels,
    open_cohort,
    pretrain_start,
    read_arm,
    risk_data,
    splits_of,
    starting_model,
)
from ecgrepro.survival import STUDY_SEEDS, Split, concordance_index, nadeau_bengio_interval
from ecgrepro.training import FinetuneConfig
from tests.watched_array import WatchedArray

N = 60
CHAPTER = {
    "cohorts": [],
    "encoders": [],
    "initialisations": ["scratch", "aligned"],
    "study_seeds": [1],
    "grouped_seeds": [1],
    "n_folds": 4,
    "labels": 0,
    "curve": [],
}
STUDY = Arm("learning", "none", "age_sex", "study", 42)


def follow_up(n: int = N, seed: int = 0, events: float = 0.5) -> pd.DataFrame:
    """Times that depend on age alone, one row a patient."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 10, n)
    return pd.DataFrame(
        {
            "patient_id": np.arange(1, n + 1) + 100,
            "ecg_id": np.arange(1, n + 1),
            "time": np.ceil(1000 * rng.exponential(np.exp(-(age - 60) / 10))) + 1,
            "event": (rng.permutation(n) < events * n).astype(int),
            "age": age,
            "sex": rng.integers(0, 2, n),
            "log_hazard": (age - 60) / 10,
            "log_hazard_ecg": (age - 60) / 10,
            "split": np.where(np.arange(n) % 2, "test", "train"),
        }
    )


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two cohorts of simulated patients, small signals and an untrained alignment."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    table = follow_up()
    null = table.assign(time=table.time.to_numpy()[::-1], event=table.event.to_numpy()[::-1])
    null[["log_hazard", "log_hazard_ecg"]] = np.nan
    (folder / "cohorts").mkdir(parents=True)
    both = pd.concat([table.assign(cohort="learning"), null.assign(cohort="null control")])
    both.to_csv(folder / "cohorts" / "follow_up.csv", index=False)
    about = {"source": "Simulated clinic", "restricted": False, "main": "learning"}
    write_json(folder / "cohorts" / "cohorts.json", about)
    rng = np.random.default_rng(1)
    wave = rng.normal(0, 300, (N, 12, 1000)).astype(np.int16)
    pack_arrays(wave, table.ecg_id, 100, folder / "cohorts" / "packed", "simulated clinic")
    pack_arrays(wave[:40], table.ecg_id[:40], 100, folder / "packed", "simulated release")
    measured = measure_many(open_packed(folder / "cohorts" / "packed"), progress=False)
    measured.to_csv(folder / "cohorts" / "biomarkers.csv")
    model = build_alignment_model("cnn", text_dim=16)
    made = {"encoder": "cnn", "text_dim": 16, "lead_scale": False, "loss": "soft_infonce"}
    save_weights(model, folder / "alignment" / "model.safetensors", made)
    (folder / "parameters").mkdir()
    risk = {"epochs": 1, "batch_size": 64, "patience": 1}
    (folder / "parameters" / "09_risk.yaml").write_text(yaml.safe_dump(risk))
    return folder


# ---- the arms


CNN = [("cnn", start) for start in NETWORKS]
ORACLE = [("none", "oracle")]


def test_sweep_has_every_combination_once():
    arms = sweep_arms(
        ["a", "null control"],
        [*CNN, ("dual_attention", "scratch"), ("none", "age_sex"), *ORACLE],
        {"study": STUDY_SEEDS, "grouped": [42]},
    )
    assert len(arms) == 2 * (5 + 1) * (4 + 3)
    assert len({arm.name for arm in arms}) == len(arms)
    assert {arm.seed for arm in arms if arm.protocol == "study"} == set(STUDY_SEEDS)
    assert all("/" not in arm.name and " " not in arm.name for arm in arms)


def test_learning_curve_belongs_to_the_first_cohort_and_protocol_and_leaves_oracles_out():
    arms = sweep_arms(["a", "b"], CNN + ORACLE, {"study": [], "grouped": [1]}, 8, [16, 0])
    assert {arm.protocol for arm in arms} == {"grouped"}, "a protocol without seeds is left out"
    further = [arm for arm in arms if arm.labels != 8 and arm.initialisation != "oracle"]
    assert len(further) == 2 * 4
    assert {arm.cohort for arm in further} == {"a"}
    oracles = [arm for arm in arms if arm.initialisation == "oracle"]
    assert [(arm.cohort, arm.labels) for arm in oracles] == [("a", 0), ("b", 0)]


@pytest.mark.parametrize(
    "change",
    [
        {"initialisation": "pretrained"},
        {"encoder": "cnn"},
        {"protocol": "loo"},
        {"labels": 1},
        {"labels": -3},
    ],
)
def test_an_arm_that_cannot_be_run_is_refused(change):
    with pytest.raises(InputError):
        dataclasses.replace(STUDY, **change)


def test_empty_or_doubled_lists_are_refused():
    with pytest.raises(InputError, match="seeds"):
        sweep_arms(["a"], CNN, {"study": []})
    with pytest.raises(InputError, match="once"):
        sweep_arms(["a"], CNN, {"study": [1, 1]})
    with pytest.raises(InputError, match="methods"):
        sweep_arms(["a"], [], {"study": [1]})


def test_sweep_of_a_run_leaves_out_unknown_hazards(run_folder):
    arms, notes = sweep_of(run_folder, CHAPTER)
    assert not notes
    oracles = {arm.cohort for arm in arms if arm.initialisation.startswith("oracle")}
    assert oracles == {"learning"}
    assert {arm.encoder for arm in arms} == {"cnn", "none"}
    assert {arm.cohort for arm in arms} == {"learning", "null control"}
    with pytest.raises(InputError, match="missing"):
        sweep_of(run_folder / "nowhere", CHAPTER)


def test_sweep_asks_for_no_more_events_than_a_fold_has(run_folder):
    """30 events: 12 in a training part of halves, 18 in one of four folds."""
    arms, notes = sweep_of(run_folder, {**CHAPTER, "labels": 6, "curve": [12, 14]})
    assert notes == [
        "cohort learning, study protocol: fewer than 14 training events, that point is left out"
    ]
    assert {arm.labels for arm in arms if not arm.initialisation.startswith("oracle")} == {6, 12}
    arms, notes = sweep_of(run_folder, {**CHAPTER, "labels": 14, "curve": [6]})
    kept = {
        (arm.protocol, arm.labels)
        for arm in arms
        if arm.cohort == "null control" and not arm.initialisation.startswith("oracle")
    }
    assert kept == {("study", 0), ("grouped", 14)}, "too many for a training part: all of them"
    assert "cohort null control, study protocol" in notes[1]


def test_a_cohort_that_cannot_be_divided_is_left_out_and_said(run_folder, tmp_path):
    """Fewer events than folds; nobody with an event."""
    shutil.copytree(run_folder, tmp_path / "run", ignore=shutil.ignore_patterns("protocol"))
    path = tmp_path / "run" / "cohorts" / "follow_up.csv"
    table = pd.read_csv(path)
    null = table.cohort == "null control"
    table.loc[null, "event"] = [1] * 4 + [0] * (null.sum() - 4)
    table.to_csv(path, index=False)
    arms, notes = sweep_of(tmp_path / "run", {**CHAPTER, "n_folds": 5})
    assert {(arm.cohort, arm.protocol) for arm in arms} == {
        ("learning", "study"),
        ("learning", "grouped"),
        ("null control", "study"),
    }
    assert notes == [
        "cohort null control, grouped protocol: left out, too few events or several rows a patient"
    ]
    table.assign(event=0).to_csv(path, index=False)
    with pytest.raises(InputError, match="No arm"):
        sweep_of(tmp_path / "run", CHAPTER)


# ---- folds


@pytest.mark.parametrize(("protocol", "count"), [("study", 2), ("grouped", 5)])
def test_everybody_is_tested_once_a_seed(protocol, count):
    table = follow_up()
    splits = splits_of(dataclasses.replace(STUDY, protocol=protocol, n_folds=5), table)
    assert len(splits) == count
    assert sorted(np.concatenate([s.test for s in splits])) == list(range(N))


def test_grouped_protocol_keeps_a_patient_together_and_study_refuses_several_rows():
    """S-5: a patient's ECGs on both sides of a split."""
    table = follow_up()
    table["patient_id"] = np.arange(N) // 2
    for split in splits_of(dataclasses.replace(STUDY, protocol="grouped", n_folds=5), table):
        parts = [set(table.patient_id.iloc[p]) for p in (split.train, split.validation, split.test)]
        assert len(set.union(*parts)) == sum(map(len, parts)), "a patient is on two sides"
    with pytest.raises(InputError, match="group by patient"):
        splits_of(STUDY, table)


def test_all_censored_and_too_few_events_are_named():
    with pytest.raises(InputError, match=r"cohort 'learning'.*event"):
        splits_of(STUDY, follow_up(events=0))
    table = follow_up()
    table["event"] = (np.arange(N) < 3).astype(int)
    for protocol in ("study", "grouped"):
        with pytest.raises(InputError, match=f"cohort 'learning', protocol '{protocol}': 3"):
            splits_of(dataclasses.replace(STUDY, protocol=protocol, n_folds=5), table)


def test_limited_labels_are_nested_and_leave_the_test_part_whole():
    table = follow_up(400)
    (split, _) = splits_of(STUDY, table)
    few, more = (limit_labels(split, table.event, count) for count in (10, 30))
    assert table.event.iloc[few.train].sum() == 10
    assert set(few.train) < set(more.train) < set(split.train)
    assert set(few.validation) < set(split.validation)
    assert (few.test == split.test).all()
    rate = table.event.iloc[split.train].mean()
    assert abs(table.event.iloc[few.train].mean() - rate) < 0.05
    assert limit_labels(split, table.event, 0) is split
    with pytest.raises(InputError, match="were asked for"):
        limit_labels(split, table.event, 1000)


# ---- one fold after the other


def test_a_memorising_model_scores_one_half_on_test():
    """S-3, S-31: what was learned by heart of training and validation patients is worth nothing on test rows."""
    table = follow_up(300)

    def fit(train, validation, fold):
        known = np.concatenate([train, validation])
        return dict(zip(known, -table.time.iloc[known], strict=True))

    for protocol in ("study", "grouped"):
        splits = splits_of(dataclasses.replace(STUDY, protocol=protocol, n_folds=5), table)
        folds, scores = evaluate_folds(
            table, splits, fit, lambda model, rows: [model.get(row, 0.0) for row in rows]
        )
        assert (folds.c_index == 0.5).all()
        assert c_index_of(scores, "centred") == 0.5
        train = fit(splits[0].train, splits[0].validation, 0)
        own = table.iloc[list(train)]
        assert concordance_index(own.time, own.event, list(train.values())) > 0.99


def test_a_constant_for_each_fold_changes_nothing():
    """S-4: log risks of two models cannot be compared before they are centred."""
    table = follow_up(200)
    splits = splits_of(dataclasses.replace(STUDY, protocol="grouped", n_folds=5), table)
    tables = []
    for shift in (0.0, 50.0):
        folds, scores = evaluate_folds(
            table,
            splits,
            lambda train, validation, fold, shift=shift: shift * fold,
            lambda model, rows: table.age.iloc[rows] / 10 + model,
        )
        tables.append((folds, scores))
    (folds, scores), (shifted, moved) = tables
    pd.testing.assert_frame_equal(folds, shifted)
    np.testing.assert_allclose(scores.centred, moved.centred, atol=1e-9)
    assert c_index_of(scores, "centred") == pytest.approx(c_index_of(moved, "centred"))
    raw = concordance_index(moved.time, moved.event, moved.risk)
    assert abs(raw - c_index_of(moved, "centred")) > 0.1, "the shift would not have been noticed"


def test_a_fold_without_a_comparable_pair_is_kept_with_a_note():
    table = follow_up(8)
    table["time"], table["event"] = np.arange(1, 9), [1, 0, 1, 0, 0, 0, 0, 1]
    rows = np.arange(8)
    splits = [
        Split(1, 0, rows[4:6], rows[6:], rows[:4]),
        Split(1, 1, rows[:2], rows[2:4], rows[4:7]),  # no event
        Split(1, 2, rows[:2], rows[2:4], rows[7:]),  # one event, nobody to compare it with
    ]
    folds, scores = evaluate_folds(
        table, splits, lambda train, validation, fold: None, lambda model, rows: -1.0 * rows
    )
    assert folds.c_index.isna().tolist() == [False, True, True]
    assert folds.note.tolist() == ["", NO_PAIR, NO_PAIR]
    assert len(scores) == 8
    assert folds.c_index[0] == 1.0


def test_overlapping_parts_are_refused():
    rows = np.arange(8)
    leaky = Split(1, 0, rows[:4], rows[4:6], rows[3:])
    with pytest.raises(InputError, match="overlap"):
        evaluate_folds(follow_up(8), [leaky], lambda *_: None, lambda _, part: -1.0 * part)


# ---- whole arms


@pytest.fixture(scope="module")
def swept(run_folder: Path) -> list[ArmResult]:
    """All arms of the study's protocol for one seed, networks for one epoch."""
    lines: list[str] = []
    arms, _ = sweep_of(run_folder, {**CHAPTER, "study_seeds": [42], "grouped_seeds": []})
    results = run_sweep(arms, run_folder, lines.append)
    assert [result.arm for result in results] == arms
    assert len(lines) == len(arms)
    return results


@pytest.fixture(scope="module")
def trained(run_folder: Path, swept: list[ArmResult]) -> Path:
    """The run in which `swept` was run."""
    return run_folder


def test_an_arm_is_recorded_and_found_finished(trained, monkeypatch):
    arm = Arm("learning", "cnn", "aligned", "study", 42)
    place = trained / "protocol" / "arms" / arm.name
    record = json.loads((place / "provenance.json").read_text())
    assert record["arm"] == arm.as_dict()
    assert {"alignment/model.safetensors", "cohorts/follow_up.csv"} <= set(record["inputs"])
    assert record["environment"]["packages"]
    assert not (place / "checkpoints").exists()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a finished arm was trained again")

    monkeypatch.setattr(torch.optim.AdamW, "step", never)
    again = run_arm(arm, trained)
    assert again.record == record
    assert len(again.folds) == 2
    assert len(again.scores) == N
    monkeypatch.setattr("ecgrepro.protocol.run.finetune_settings", lambda *_: FinetuneConfig())
    with pytest.raises(AssertionError, match="trained again"):
        run_arm(arm, trained)  # other settings: not the same arm
    monkeypatch.undo()
    monkeypatch.setattr(torch.optim.AdamW, "step", never)
    monkeypatch.setattr("ecgrepro.losses.SAFE_RANGE", 400.0)
    with pytest.raises(AssertionError, match="trained again"):
        run_arm(arm, trained)  # patched code: not the same arm either


def test_an_arm_gives_the_same_numbers_on_any_number_of_threads(trained, tmp_path):
    arm = Arm("learning", "cnn", "scratch", "study", 42)
    copy = tmp_path / "run"
    shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("arms"))
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        again = run_arm(arm, copy)
        assert torch.get_num_threads() == (2 if threads == 1 else 1), "left as it was"
    finally:
        torch.set_num_threads(threads)
    first = run_arm(arm, trained)
    assert again.record["outputs"] == first.record["outputs"]


def test_a_changed_result_is_refused(trained, tmp_path):
    arm = Arm("learning", "none", "age_sex", "study", 42)
    copy = tmp_path / "arm"
    shutil.copytree(trained / "protocol" / "arms" / arm.name, copy)
    assert read_arm(copy).arm == arm
    (copy / "folds.csv").write_text((copy / "folds.csv").read_text().replace("0.", "0.9", 1))
    with pytest.raises(InputError, match="delete"):
        read_arm(copy)


def test_training_cannot_reach_test_rows(trained):
    """S-3: selection on test. Neither outcomes nor ECGs of the test part are in what training is given."""
    data = open_cohort(trained, "learning")
    split = splits_of(STUDY, data.table)[0]
    given = risk_data(data, split.train, split.validation)
    assert not set(given.rows) & set(data.packed.rows(data.table.ecg_id.iloc[split.test]))
    development = data.table.iloc[np.concatenate([split.train, split.validation])]
    assert given.time.tolist() == development.time.tolist()
    assert given.event[given.validation].sum() == data.table.event.iloc[split.validation].sum()


def test_selection_reads_no_test_ecg(trained, monkeypatch):
    """S-3, S-31: of all packed ECGs, fitting a fold reads those of its training and validation rows only."""
    read: list[set[int]] = []

    def watched(model, data, *args, **kwargs):
        packed = WatchedArray(np.asarray(data.signals))
        result = original(model, dataclasses.replace(data, signals=packed), *args, **kwargs)
        read.append(packed.read)
        return result

    from ecgrepro.protocol import run

    original = run.finetune
    monkeypatch.setattr("ecgrepro.protocol.run.finetune", watched)
    arm = Arm("learning", "cnn", "random_encoder", "study", 7)
    run_arm(arm, trained)
    data = open_cohort(trained, "learning")
    for split, seen in zip(splits_of(arm, data.table), read, strict=True):
        allowed = np.concatenate([split.train, split.validation])
        assert seen == set(data.packed.rows(data.table.ecg_id.iloc[allowed]))
    shutil.rmtree(trained / "protocol" / "arms" / arm.name)


def test_each_fold_starts_from_fresh_copies(trained):
    """R-10: a fold that trains changes no other fold's start; pretrained weights differ from scratch."""
    first = starting_model(trained, "cnn", "aligned", 1)
    kept = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    with torch.no_grad():
        for parameter in first.parameters():
            parameter += 1
    second = starting_model(trained, "cnn", "aligned", 1)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in second.state_dict().items())
    scratch = starting_model(trained, "cnn", "scratch", 1)
    name = next(iter(dict(scratch.encoder.named_parameters())))
    assert not torch.equal(scratch.encoder.get_parameter(name), second.encoder.get_parameter(name))


def test_networks_differ_in_their_start_only(trained):
    assert finetune_settings(trained, "aligned") == finetune_settings(trained, "scratch")
    frozen = finetune_settings(trained, "random_encoder")
    assert frozen.freeze_encoder
    assert finetune_settings(trained, "scratch").epochs == 1


def test_missing_weights_are_named(trained):
    with pytest.raises(InputError, match="reconstruction"):
        run_arm(Arm("learning", "cnn", "reconstruction", "study", 42), trained)
    with pytest.raises(InputError, match="no cohort 'hyp'"):
        run_arm(Arm("hyp", "none", "age_sex", "study", 42), trained)
    with pytest.raises(InputError, match="true hazard"):
        run_arm(Arm("null control", "none", "oracle", "study", 42), trained)


def test_patients_seen_in_pretraining_are_left_out(run_folder, tmp_path):
    """S-31: a cohort on the pretraining release is tested on patients that the network has not read."""
    copy = tmp_path / "run"
    shutil.copytree(run_folder / "cohorts", copy / "cohorts")
    shutil.copytree(run_folder / "cohorts" / "packed", copy / "packed")
    data = open_cohort(copy, "learning")
    assert set(data.table.split) == {"test"}
    assert data.about["notes"]
    assert len(open_cohort(run_folder, "learning").table) == N


def test_reconstruction_start_uses_no_report(run_folder, tmp_path, monkeypatch):
    """Other texts give the same weights: the alignment has weight 0."""
    rng = np.random.default_rng(0)
    found = []
    monkeypatch.setattr(
        "ecgrepro.protocol.run.open_release", lambda path: type("R", (), {"index": None})
    )
    halves = dict(zip(range(1, 41), ["train"] * 28 + ["validation"] * 12, strict=True))
    monkeypatch.setattr("ecgrepro.protocol.run.split_by_fold", lambda index, ids: halves)
    for number in range(2):
        copy = tmp_path / str(number)
        for name in ("alignment", "packed", "parameters"):
            shutil.copytree(run_folder / name, copy / name)
        (copy / "text").mkdir()
        write_json(copy / "release.json", {"path": "release"})
        np.save(copy / "text" / "ecg_ids.npy", np.arange(1, 41))
        np.save(copy / "text" / "text_ids.npy", rng.integers(0, 9, 40))
        np.save(copy / "text" / "z_text.npy", rng.normal(size=(40, 16)).astype(np.float32))
        path = pretrain_start(copy, "cnn", "reconstruction")
        assert path == copy / "protocol" / "reconstruction" / "cnn" / "model.safetensors"
        found.append(starting_model(copy, "cnn", "reconstruction", 0).encoder.state_dict())
        assert pretrain_start(copy, "cnn", "aligned") == copy / "alignment" / "model.safetensors"
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


# ---- one table


def test_one_table_with_all_folds(swept):
    folds = collect(swept)
    first = ["cohort", "encoder", "initialisation", "protocol", "seed", "fold"]
    assert list(folds.columns[:9]) == [*first, "n", "events", "c_index"]
    assert len(folds) == (2 * 5 + 2) * 2
    assert not folds.duplicated([*first, "labels"]).any()
    assert (folds.groupby(["cohort", "initialisation"]).n.sum() == N).all()
    oracle = folds[folds.initialisation == "oracle"]
    assert (oracle.c_index > 0.6).all()


def test_summary_has_intervals_and_baselines_on_every_line(swept):
    folds = collect(swept)
    summary = summarise(folds).set_index(["cohort", "initialisation"])
    for (cohort, start), line in summary.iterrows():
        own = folds[(folds.cohort == cohort) & (folds.initialisation == start)]
        assert line.estimate == pytest.approx(own.c_index.mean())
        interval = nadeau_bengio_interval(own.c_index, float((own.n / own.n_development).mean()))
        expected = max(interval.low, 0.0), min(interval.high, 1.0)
        assert (line.low, line.high) == pytest.approx(expected)
        assert line.age_sex == summary.estimate[cohort, "age_sex"]
        assert (line.n, line.folds) == (N, 2)
    assert summary.null["learning", "aligned"] == summary.estimate["null control", "aligned"]
    assert summary.oracle["learning"].notna().all()
    assert summary.oracle["null control"].isna().all()


def test_paired_differences_are_over_the_same_folds(swept):
    folds = collect(swept)
    gaps = paired_differences(folds).set_index(["cohort", "first", "second"])
    own = folds[folds.cohort == "learning"].pivot(
        index=["seed", "fold"], columns="initialisation", values="c_index"
    )
    found = gaps.loc[("learning", "aligned", "scratch")]
    assert found.estimate == pytest.approx((own.aligned - own.scratch).mean())
    assert found.folds == 2
    other = folds.copy()
    other.loc[other.initialisation == "scratch", "test_rows"] = "other"
    with pytest.raises(InputError, match="different patients"):
        paired_differences(other)


def table_of_folds(labels=(10, 20), seeds=(1, 2, 3)) -> pd.DataFrame:
    """A made-up table: the aligned start is ahead by 0.1 at few labels, by nothing at many."""
    rng = np.random.default_rng(0)
    rows = []
    for label in labels:
        for seed in seeds:
            for fold in range(2):
                base = 0.6 + 0.02 * rng.normal()
                for start, gain in (("scratch", 0.0), ("aligned", 0.1 if label == 10 else 0.0)):
                    row = {
                        "cohort": "learning",
                        "encoder": "cnn",
                        "initialisation": start,
                        "protocol": "study",
                        "labels": label,
                        "seed": seed,
                        "fold": fold,
                        "n": 50,
                        "n_development": 50,
                        "events": 20,
                        "events_train": label,
                        "c_index": base + gain + 0.001 * rng.normal(),
                        "pooled_c_index": base,
                        "test_rows": f"{seed}{fold}",
                    }
                    rows.append(row)
    return pd.DataFrame(rows)


def test_learning_curve_and_its_paired_gap():
    folds = table_of_folds()
    curve = learning_curve(summarise(folds), "learning", "cnn", "study")
    assert curve.n.tolist() == [10, 20, 10, 20]
    assert curve.label.tolist() == ["aligned", "aligned", "scratch", "scratch"]
    gaps = paired_differences(folds).set_index("labels")
    assert gaps.low[10] > 0
    assert gaps.loc[10, "estimate"] == pytest.approx(0.1, abs=0.01)
    assert gaps.low[20] < 0.01
    spread = curve.high - curve.low
    assert (gaps.high - gaps.low < spread.min()).all(), "pairing must remove what folds share"


def test_lines_of_the_forest_are_named_apart(swept):
    summary = summarise(collect(swept))
    lines = name_lines(summary)
    assert len(lines) == len(summary)
    assert not lines.duplicated(["group", "label"]).any()
    assert "learning, study, all events" in set(lines.group)
    assert lines.group[lines.initialisation == "oracle"].tolist() == ["learning, study, the truth"]
    two = pd.concat([summary, summary[summary.encoder == "cnn"].assign(encoder="dual_attention")])
    named = name_lines(two.reset_index(drop=True))
    assert not named.duplicated(["group", "label"]).any()
    assert {"scratch, cnn", "scratch, dual_attention", "Cox: age and sex"} <= set(named.label)


def test_folds_without_value_are_counted_and_left_out():
    folds = table_of_folds(labels=(10,))
    folds.loc[folds.seed == 1, "c_index"] = np.nan
    summary = summarise(folds).set_index("initialisation")
    assert summary.without_value.tolist() == [2, 2]
    assert summary.estimate.notna().all()
    assert paired_differences(folds).folds.tolist() == [4]
    nothing = summarise(folds.assign(c_index=np.nan))
    assert nothing[["estimate", "low", "high"]].isna().all().all()


def test_doubled_folds_are_refused():
    with pytest.raises(InputError, match="twice"):
        summarise(pd.concat([table_of_folds(), table_of_folds()]))


# ---- the notebook of an arm


def test_script_and_notebook_agree_and_store_nothing():
    script = jupytext.read(ROOT / "notebooks" / "sweep" / "arm.py")
    notebook = nbformat.read(ROOT / "notebooks" / "sweep" / "arm.ipynb", as_version=4)
    cells = [
        [(c.cell_type, c.source.strip(), tuple(c.metadata.get("tags", []))) for c in book.cells]
        for book in (script, notebook)
    ]
    assert cells[0] == cells[1], "run jupytext --update --to ipynb notebooks/sweep/*.py"
    assert not any(cell.get("outputs") for cell in notebook.cells)
