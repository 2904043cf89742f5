"""Every source through the one function that chapter 8 calls: files in the source's layout to a pack and tables."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from ecgrepro import simulate
from ecgrepro.cohorts import Cohort, describe, describe_parts, incidence_by_year, validate_follow_up
from ecgrepro.cohorts.brazil import CODE15_FINDINGS, EXAM_COLUMNS
from ecgrepro.cohorts.ptbxl_longitudinal import SELECTION_BIAS, longitudinal_cohorts
from ecgrepro.cohorts.sources import NULL, Request, Source, divide_cohort, null_control, open_source
from ecgrepro.data.ptbxl import open_release, split_by_fold
from ecgrepro.data.signals import INVALID, LEADS, prepare
from ecgrepro.errors import InputError
from ecgrepro.parameters import declared_parameters
from ecgrepro.survival import cumulative_incidence
from tests.cohort_files import returning_patients, sine, write_sami_trop
from tests.test_cohorts_uk_biobank import export


def opened(root: Path, about: dict[str, Any] | None = None, **given: Any) -> Source:
    """Open a source with the defaults of chapter 8, but for `given`."""
    parameters = declared_parameters("08_cohorts") | given
    known = {"path": "release", "rate": 100, "simulated": True} | (about or {})
    return open_source(Request(parameters, known, root, root / "packed", root / "clinic"))


def check(source: Source) -> pd.DataFrame:
    """Check what must hold for every source; return the main cohort's table."""
    for name, cohort in source.cohorts.items():
        table = cohort.table
        assert table.patient_id.is_unique
        assert cohort.name == name
        assert cohort.source_label == source.label
        assert (
            (table.groupby("split").event.sum() > 0).reindex(["train", "validation", "test"]).all()
        )
        inputs, _ = prepare(
            source.packed.signals[source.packed.rows(table.ecg_id)], source.packed.rate
        )
        assert np.isfinite(inputs).all()
        assert (inputs != 0).any(axis=(1, 2)).all(), "an ECG without a recorded sample"
    main, null = source.cohorts[source.main].table, source.cohorts[NULL].table
    outcome = [name for name in ("time", "event", "competing") if name in main]
    assert main.ecg_id.tolist() == null.ecg_id.tolist()
    assert sorted(map(tuple, main[outcome].values)) == sorted(map(tuple, null[outcome].values))
    assert (main.time != null.time).mean() > 0.5
    assert source.cohorts[NULL].restricted == source.cohorts[source.main].restricted
    assert source.cohorts[NULL].simulated
    return main


def test_sami_trop_arrives_in_millivolts_and_in_our_lead_order(tmp_path):
    write_sami_trop(tmp_path / "sami", 40)
    source = opened(tmp_path, cohort="sami_trop", cohort_folder="sami")
    table = check(source)
    assert source.main == "SaMi-Trop"
    assert not source.cohorts["SaMi-Trop"].simulated
    assert "Chagas" in source.notes[0]
    assert source.packed.rate == 100
    signals = source.packed.signals[source.packed.rows(table.ecg_id)]
    for patient in (0, 2, 38):  # 4,096 samples at 400 Hz are 1,024, of which the middle 1,000 stay
        truth = sine(patient, np.arange(1000) / 100 + 12 / 100)
        for lead in range(12):
            wanted = 1000 * (lead + 1) * truth
            np.testing.assert_allclose(
                signals[patient, lead, 60:-60], wanted[60:-60], atol=4 + 2 * lead
            )
    assert (signals[1] == INVALID).mean() == pytest.approx(0.3)  # 7 s of 10 s
    assert (
        opened(tmp_path, cohort="sami_trop", cohort_folder="sami", restricted=True)
        .cohorts[NULL]
        .restricted
    )


def write_code15(folder: Path) -> None:
    """Two of eighteen parts, 24 first exams each, a repeat, a time of 0, an empty recording, dummies at the end."""
    folder.mkdir()
    rows = []
    for part in (0, 1):
        ids = np.arange(1000 * part + 1, 1000 * part + 25)
        rows += [(i, i, str(i % 3 == 0), 0.5 + i % 7, part) for i in ids]
        stack = np.stack([*(_tracing(int(i)) for i in ids), np.zeros((4096, 12))])
        stack[5] = 0
        with h5py.File(folder / f"exams_part{part}.hdf5", "w") as file:
            file["exam_id"] = np.array([*ids, 0])
            file["tracings"] = stack.astype(np.float32)
    rows[2] = (*rows[2][:3], 0.0, 0)
    rows.append((5000, 1, "", "", 0))  # a later exam of patient 1
    table = pd.DataFrame(rows, columns=["exam_id", "patient_id", "death", "timey", "part"])
    table["trace_file"] = [f"exams_part{part}.hdf5" for part in table.pop("part")]
    for name in (*EXAM_COLUMNS, *CODE15_FINDINGS):
        if name not in table:
            table[name] = {"age": 50, "nn_predicted_age": 51.5, "is_male": "True"}.get(
                name, "False"
            )
    table.to_csv(folder / "exams.csv", index=False)


def _tracing(number: int) -> np.ndarray:
    return 10 * sine(number, np.arange(4096) / 400)[:, None] * np.ones(12)


def test_code15_takes_first_exams_with_a_recording(tmp_path):
    write_code15(tmp_path / "code")
    source = opened(tmp_path, cohort="code15", cohort_folder="code")
    table = check(source)
    assert len(table) == 46  # an empty recording in each part
    assert set(table.ecg_id) == set(source.packed.ecg_ids) - {6, 1006}
    assert table.set_index("ecg_id").time[3] == 0.5
    assert [rows for _, rows in source.cohorts["CODE-15"].flow] == [49, 48, 48, 46]
    for ecg_id in (1, 24, 1001, 1024):  # rows keep their ECG across parts
        truth = 1000 * sine(ecg_id, np.arange(1000) / 100 + 12 / 100)
        own = source.packed.signals[source.packed.rows([ecg_id])[0], 7]
        np.testing.assert_allclose(own[60:-60], truth[60:-60], atol=4)


def write_uk_biobank(folder: Path) -> None:
    """Sixty participants: 1 to 40 with hypertension, 31 to 60 with an infarction; two XML files are of no use."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    eids = 1_000_000 + rng.permutation(60) + 1
    ecgs = pd.DataFrame({"eid": eids, "ecg_date": "2016-01-01", "age": 60, "sex": eids % 2})
    ecgs["waveform"] = [f"{eid * 7919 % 1000:03d}_{eid}.xml" for eid in eids]
    ecgs.to_csv(folder / "ecgs.csv", index=False)
    lines = [(eid, "I10", "2010-01-01") for eid in range(1_000_001, 1_000_041)]
    lines += [(eid, "I21", "2010-01-01") for eid in range(1_000_031, 1_000_061)]
    lines += [
        (eid, "I50", f"201{7 + eid % 3}-02-03") for eid in range(1_000_001, 1_000_061) if eid % 2
    ]
    pd.DataFrame(lines, columns=["eid", "code", "date"]).to_csv(
        folder / "diagnoses.csv", index=False
    )
    (folder / "exits.csv").write_text(
        "eid,date,reason\n"
        + "".join(f"{eid},2018-05-05,death\n" for eid in range(1_000_002, 1_000_061, 4))
    )
    time = np.arange(5000) / 500
    for eid, name in zip(eids, ecgs.waveform, strict=True):
        strip = np.stack([200 * (eid - 1_000_000) * sine(lead, time) / 60 for lead in range(12)])
        (folder / name).write_text(export(np.rint(strip), None, list(LEADS)))
    (folder / ecgs.waveform[ecgs.eid == 1_000_005].iloc[0]).unlink()
    (folder / ecgs.waveform[ecgs.eid == 1_000_006].iloc[0]).write_text("<Other/>")


def test_uk_biobank_makes_both_cohorts_of_the_study(tmp_path):
    write_uk_biobank(tmp_path / "ukb")
    source = opened(tmp_path, cohort="uk_biobank", cohort_folder="ukb")
    table = check(source)
    assert list(source.cohorts) == ["HYP", "MI", NULL]
    assert all(cohort.restricted for cohort in source.cohorts.values())
    assert len(table) == 38
    assert table.competing.sum() == 9  # 10 deaths without the event, one of them without an ECG
    unusable = pd.read_csv(tmp_path / "packed" / "unusable.csv")
    assert len(unusable) == 2
    assert "<10" in source.notes[0]
    shared = set(table.patient_id) & set(source.cohorts["MI"].table.patient_id)
    assert shared == set(range(1_000_031, 1_000_041))
    for cohort in source.cohorts.values():  # each participant has their own ECG
        rows = source.packed.rows(cohort.table.ecg_id)
        height = source.packed.signals[rows][:, :, 50:-50].max(axis=(1, 2))
        wanted = 1000 * (cohort.table.patient_id - 1_000_000) / 60
        np.testing.assert_allclose(height, wanted, atol=6, rtol=0.02)
    alone = opened(tmp_path, cohort="uk_biobank", cohort_folder="ukb", definitions=["MI"])
    assert list(alone.cohorts) == ["MI", NULL]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Folder with a simulated release, and a csv of follow-up on its first ECGs."""
    root = tmp_path_factory.mktemp("own")
    simulate.write_release(root / "release", n_patients=120, seed=1, progress=False)
    index = open_release(root / "release").index.reset_index().drop_duplicates("patient_id")
    rng = np.random.default_rng(0)
    outcome = pd.DataFrame(
        {
            "patient_id": index.patient_id,
            "ecg_id": index.ecg_id,
            "time": rng.integers(100, 3000, len(index)),
            "event": np.arange(len(index)) % 2,
        }
    )
    outcome["competing"] = (1 - outcome.event) * (rng.random(len(index)) < 0.5)
    outcome.to_csv(root / "own.csv", index=False)
    return root


def test_own_csv_with_ecgs_of_its_own_or_of_chapter_1(release):
    apart = opened(release, follow_up="own.csv", waveforms="release")
    table = check(apart)
    assert apart.main == "own"
    assert not apart.cohorts["own"].simulated
    assert (table.split == "test").mean() == pytest.approx(0.5, abs=0.05)
    together = opened(release, follow_up="own.csv")
    kept = check(together)
    folds = split_by_fold(open_release(release / "release").index, together.packed.ecg_ids)
    assert kept.split.tolist() == folds.loc[kept.ecg_id].tolist()


def test_rows_without_an_ecg_are_left_out_and_counted(release):
    table = pd.read_csv(release / "own.csv")
    more = table.assign(ecg_id=table.ecg_id + 10_000, patient_id=table.patient_id + 10_000)
    pd.concat([table, more]).to_csv(release / "more.csv", index=False)
    source = opened(release, follow_up="more.csv", waveforms="release")
    assert [rows for _, rows in source.cohorts["own"].flow] == [240, 120]
    assert len(check(source)) == 120
    more.to_csv(release / "none.csv", index=False)
    with pytest.raises(InputError, match="none of the 120 patients has a usable ECG"):
        opened(release, follow_up="none.csv", waveforms="release")
    few = table.assign(event=(table.ecg_id == table.ecg_id.min()).astype(int), competing=0)
    few.to_csv(release / "few.csv", index=False)
    with pytest.raises(InputError, match="part of cohort own has no event"):
        opened(release, follow_up="few.csv")


def test_without_a_source_the_outcomes_are_simulated(release):
    clinic = opened(
        release, clinic_patients=240, learning_size=150, hyp_event_rate=0.3, mi_event_rate=0.4
    )
    assert list(clinic.cohorts) == ["learning", "hyp", "mi", NULL]
    planted = opened(release, {"simulated": False})
    assert list(planted.cohorts) == ["learning", NULL]
    for source in (clinic, planted):
        table = check(source)
        assert source.cohorts["learning"].simulated
        known = source.oracles.loc["learning"].log_hazard.reindex(table.patient_id)
        assert known.notna().all()


def test_ptbxl_patients_stay_in_the_part_of_pretraining(tmp_path):
    returning_patients(tmp_path / "release")
    genuine = {"simulated": False}
    source = opened(tmp_path, genuine, cohort="ptbxl_longitudinal")
    table = check(source)
    assert source.notes == (SELECTION_BIAS,)
    assert not source.cohorts["PTB-XL"].simulated
    index = open_release(tmp_path / "release").index
    pretrained = split_by_fold(index, source.packed.ecg_ids)
    everything = index.patient_id.to_frame().join(pretrained)
    seen = set(everything.patient_id[everything.split != "test"])
    assert not seen & set(table.patient_id[table.split == "test"])
    by_code = opened(tmp_path, genuine, cohort="ptbxl_longitudinal", finding="AFIB")
    assert by_code.cohorts["PTB-XL"].table.event.sum() == table.event.sum()
    with pytest.raises(InputError, match="finding is 'gout': use one of atrial fibrillation"):
        opened(tmp_path, genuine, cohort="ptbxl_longitudinal", finding="gout")
    with pytest.raises(InputError, match="release of chapter 1 is simulated: give RELEASE"):
        opened(tmp_path, cohort="ptbxl_longitudinal")
    assert list(longitudinal_cohorts(index)) == ["atrial fibrillation"]


def test_on_genuine_ecgs(real_ptbxl, tmp_path):
    """Folds 1 to 8 are partly here: the two highest take the place of 9 and 10."""
    genuine = {"path": str(real_ptbxl), "simulated": False}
    source = opened(tmp_path, genuine, cohort="ptbxl_longitudinal", finding="ST-T change")
    table = check(source)
    assert [rows for _, rows in source.cohorts["PTB-XL"].flow] == [18869, 2042, 1449, len(table)]
    index = open_release(real_ptbxl).index
    assert set(table.fold[table.split == "test"]) == {8}
    first = index.groupby("patient_id").recording_date.min().loc[table.patient_id]
    assert (index.recording_date.loc[table.ecg_id].to_numpy() == first.to_numpy()).all()
    with pytest.raises(InputError, match="The validation part of cohort PTB-XL has no event"):
        opened(tmp_path, genuine, cohort="ptbxl_longitudinal", finding="LVH")
    events = {name: c.table.event.sum() for name, c in longitudinal_cohorts(index).items()}
    assert events["atrial fibrillation"] == 86
    assert len(events) == 5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cohort": "framingham"}, "cohort is 'framingham': use ptbxl_longitudinal, sami_trop"),
        ({"cohort": "sami_trop"}, "need the folder of their files"),
        ({"cohort_folder": "sami"}, "need the folder of their files"),
        ({"cohort": "ptbxl_longitudinal", "cohort_folder": "x"}, "no other source has one"),
        ({"cohort": "sami_trop", "cohort_folder": "none"}, "exams.csv is missing"),
        ({"cohort": "code15", "cohort_folder": "none"}, "exams.csv is missing"),
        ({"cohort": "uk_biobank", "cohort_folder": "none"}, "ecgs.csv is missing"),
        ({"cohort": "code15", "cohort_folder": "x", "follow_up": "a.csv"}, "leave follow_up empty"),
        ({"waveforms": "ecgs"}, "give follow_up as well"),
        ({"follow_up": "none.csv"}, "none.csv is missing"),
        (
            {"cohort": "uk_biobank", "cohort_folder": "x", "definitions": ["AF"]},
            "use one or more of HYP, MI",
        ),
    ],
)
def test_requests_that_cannot_be_met(tmp_path, given, words):
    with pytest.raises(InputError, match=words) as caught:
        opened(tmp_path, **given)
    assert "\n" not in str(caught.value)


def test_a_csv_that_names_files_instead_of_ecgs(tmp_path):
    (tmp_path / "own.csv").write_text("patient_id,waveform,time,event\n1,a.xml,3,1\n")
    with pytest.raises(InputError, match=r"own\.csv has no column ecg_id"):
        opened(tmp_path, follow_up="own.csv")


# ------------------------------------------------------------------------------------------- what is shown


def cohort_of(n: int, restricted: bool) -> Cohort:
    rng = np.random.default_rng(1)
    kind = rng.integers(0, 3, n)
    table = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "ecg_id": np.arange(n),
            "time": rng.integers(30, 2000, n),
            "event": (kind == 1).astype(int),
            "competing": (kind == 2).astype(int),
            "age": rng.uniform(40, 80, n),
            "sex": rng.integers(0, 2, n),
        }
    )
    return Cohort("a", validate_follow_up(table, "a"), "a", restricted, simulated=True)


def parted(cohort: Cohort) -> Cohort:
    order = np.arange(len(cohort.table)) % 10
    named = np.select([order < 4, order == 4], ["train", "validation"], "test")
    return divide_cohort(cohort, lambda table: table.assign(split=named))


def test_who_is_in_which_part():
    cohort = parted(cohort_of(400, restricted=False))
    parts = describe_parts(cohort)
    assert list(parts.index) == ["train", "validation", "test"]
    assert parts.n.tolist() == [160, 40, 200]
    assert parts.events.sum() == cohort.table.event.sum()
    test = cohort.table[cohort.table.split == "test"]
    assert parts.age_mean["test"] == pytest.approx(test.age.mean())
    assert parts.female_share["test"] == pytest.approx(test.sex.mean())


def test_one_small_part_hides_a_count_in_all_parts_of_a_restricted_cohort():
    cohort = parted(cohort_of(200, restricted=True))
    small = cohort.table.groupby("split").event.sum()
    assert small["validation"] < 10 < small["train"]
    parts = describe_parts(cohort)
    assert parts.n.tolist() == [80, 20, 100]
    assert set(parts.events) == {"suppressed"}
    assert set(parts.female_share) == {"suppressed"}


def test_incidence_with_a_competing_event():
    cohort = cohort_of(600, restricted=False)
    table = cohort.table
    shown = incidence_by_year(cohort)
    curve = cumulative_incidence(table.time, table.event, table.competing)
    assert shown.index.tolist() == [1, 2, 3, 4, 5]
    for year, row in shown.iterrows():
        last = curve[curve.time <= year * 365.25].iloc[-1]
        assert row.incidence == last.event
        assert row.competing == last.competing
        assert row.at_risk == (table.time >= year * 365.25).sum()
        assert row.one_minus_km > row.incidence


def test_years_between_which_few_people_had_an_outcome_are_not_shown():
    cohort = cohort_of(100, restricted=True)
    shown = incidence_by_year(cohort)
    assert 0 < len(shown) < 5
    table = cohort.table
    edges = [0.0, *(shown.index * 365.25), table.time.max()]
    for outcome in ("event", "competing"):
        counts = np.histogram(table.time[table[outcome] == 1], edges)[0]
        assert (counts >= 10).all()
    assert incidence_by_year(cohort_of(20, restricted=True)).empty
    assert describe(cohort)["competing"] == table.competing.sum()


def test_a_null_cohort_needs_events():
    cohort = cohort_of(400, restricted=False)
    table = cohort.table.assign(event=(cohort.table.index < 2).astype(int), competing=0)
    rare = Cohort("rare", table, "", restricted=False, simulated=False)
    with pytest.raises(InputError, match="Cohort rare has too few events for a null cohort"):
        null_control(rare, lambda t: t.assign(split=np.resize(["train", "test"], len(t))), 0)


def test_a_restricted_cohort_needs_ecgs_of_its_own(tmp_path):
    """Chapters 1 to 7 show single ECGs of the release: it must be another, open one."""
    for about in ({"simulated": True}, {"simulated": False}):
        with pytest.raises(InputError, match="waveforms"):
            opened(tmp_path, about, follow_up="own.csv", restricted=True)
    with pytest.raises(InputError, match="waveforms"):
        opened(tmp_path, {"simulated": False}, restricted=True)
