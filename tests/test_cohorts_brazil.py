"""SaMi-Trop and CODE-15 %: files written in the exact layout of the releases."""

import h5py
import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts import brazil
from ecgrepro.cohorts.brazil import read_tracings, to_packed, unpadded_span
from ecgrepro.data.signals import INVALID
from ecgrepro.errors import InputError

N = 12


def tracing(seed: int, samples: int = 4096) -> np.ndarray:
    """A recording in units of 1e-4 V, (4096, 12): a 1 mV sine of 5 Hz, scaled by lead, padded both sides."""
    left = (4096 - samples) // 2
    out = np.zeros((4096, 12))
    wave = 10 * np.sin(2 * np.pi * 5 * np.arange(samples) / 400 + seed + 0.1)
    out[left : left + samples] = wave[:, None] * np.arange(1, 13)
    return out


@pytest.fixture
def sami(tmp_path):
    """The release's two files for a few patients: booleans as words, float64 tracings, no ids inside."""
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "exam_id": np.arange(291, 291 + N),
            "age": rng.integers(40, 90, N),
            "is_male": np.arange(N) % 3 == 0,
            "normal_ecg": False,
            "death": np.arange(N) % 4 == 0,
            "timey": np.round(rng.uniform(0.1, 2.2, N), 6),
            "nn_predicted_age": rng.uniform(40, 90, N),
        }
    ).to_csv(tmp_path / "exams.csv", index=False)
    with h5py.File(tmp_path / "exams.hdf5", "w") as file:
        file["tracings"] = np.stack([tracing(k, 2800 if k % 2 else 4096) for k in range(N)])
    return tmp_path


@pytest.fixture
def code(tmp_path):
    """Two of eighteen parts: repeated exams without an outcome, a time of 0, a dummy row at the end of each."""
    rows = [
        # exam, patient, death, timey, part
        (11, 1, "False", 3.2, 0),
        (12, 1, "", "", 0),
        (13, 2, "True", 0.0, 0),
        (21, 3, "False", 1.5, 1),
        (22, 4, "True", 2.5, 1),
        (31, 5, "False", 4.0, 2),
    ]
    table = pd.DataFrame(rows, columns=["exam_id", "patient_id", "death", "timey", "part"])
    table["trace_file"] = [f"exams_part{part}.hdf5" for part in table.pop("part")]
    table = table.assign(age=50, is_male="True", nn_predicted_age=51.5, normal_ecg="False")
    for name in brazil.CODE15_FINDINGS:
        table[name] = "False"
    table["AF"] = ["True", *["False"] * 5]
    table[["patient_id", *brazil.EXAM_COLUMNS, *brazil.CODE15_FINDINGS, "trace_file"]].to_csv(
        tmp_path / "exams.csv", index=False
    )
    for part, ids in ((0, [13, 12, 11]), (1, [21, 22])):
        with h5py.File(tmp_path / f"exams_part{part}.hdf5", "w") as file:
            file["exam_id"] = np.array([*ids, 0])
            stack = [*(tracing(k) for k in ids), np.zeros((4096, 12))]
            file["tracings"] = np.stack(stack).astype(np.float32)
    return tmp_path


def test_sami_trop(sami):
    cohort = brazil.read_sami_trop(sami)
    exams = pd.read_csv(sami / "exams.csv")
    table = cohort.table
    assert table["ecg_id"].tolist() == exams["exam_id"].tolist()
    assert table["event"].sum() == exams["death"].sum() == 3
    np.testing.assert_allclose(table["time"], exams["timey"] * 365.25)
    assert (table["sex"] == 1 - exams["is_male"].astype(int)).all()  # 1 is female here
    assert not cohort.restricted
    assert not cohort.simulated

    signals = brazil.read_signals(sami, table.iloc[[3, 0]])
    assert signals.shape == (2, 12, 1000)
    assert signals.dtype == np.int16
    assert (signals[0] == INVALID).sum() == 12 * 300  # 7 s of 10 s recorded
    assert (signals[1] == INVALID).sum() == 0
    for row in (0, 1):  # amplitude in adu of 1/1000 mV, lead by lead
        recorded = signals[row][:, signals[row][0] != INVALID]
        np.testing.assert_allclose(recorded.max(axis=1), 1000 * np.arange(1, 13), rtol=0.02)


def test_sami_trop_refuses_what_does_not_fit(sami):
    exams = pd.read_csv(sami / "exams.csv")
    exams.iloc[:-1].to_csv(sami / "exams.csv", index=False)
    with pytest.raises(InputError, match=r"has 11 exams and exams\.hdf5 12 recordings"):
        brazil.read_sami_trop(sami)
    exams.assign(death="perhaps").to_csv(sami / "exams.csv", index=False)
    with pytest.raises(InputError, match=r"^exams\.csv, row 2 .*column death is 'perhaps'"):
        brazil.read_sami_trop(sami)
    exams.drop(columns="timey").to_csv(sami / "exams.csv", index=False)
    with pytest.raises(InputError, match="no column timey"):
        brazil.read_sami_trop(sami)
    (sami / "exams.hdf5").write_bytes(b"not hdf5")
    exams.to_csv(sami / "exams.csv", index=False)
    with pytest.raises(InputError, match="not a readable hdf5 file"):
        brazil.read_sami_trop(sami)
    (sami / "exams.hdf5").unlink()
    with pytest.raises(InputError, match="is missing: download and unpack"):
        brazil.read_sami_trop(sami)


def test_code15(code):
    cohort = brazil.read_code15(code)
    table = cohort.table
    # exam 12 is a repeat without an outcome, exam 31 lies in a part that is not here
    assert table["ecg_id"].tolist() == [11, 13, 21, 22]
    assert table["event"].tolist() == [0, 1, 0, 1]
    assert table["time"].tolist() == [3.2 * 365.25, 0.5, 1.5 * 365.25, 2.5 * 365.25]
    assert table["row"].tolist() == [2, 0, 0, 1]
    assert table["waveform"].tolist() == ["exams_part0.hdf5"] * 2 + ["exams_part1.hdf5"] * 2
    assert table["AF"].tolist() == [1, 0, 0, 0]
    assert [count for _, count in cohort.flow] == [6, 5, 4]
    signals = brazil.read_signals(code, table)
    for row, seed in enumerate((11, 13, 21, 22)):
        expected = to_packed((0.1 * tracing(seed).T).astype(np.float32))
        np.testing.assert_array_equal(signals[row], expected)


def test_code15_needs_a_part_and_unique_exams(code):
    with h5py.File(code / "exams_part2.hdf5", "w") as file:
        file["exam_id"] = np.array([11, 0])
        file["tracings"] = np.zeros((2, 4096, 12), np.float32)
    with pytest.raises(InputError, match="stands in two places"):
        brazil.read_code15(code)
    for part in range(3):
        (code / f"exams_part{part}.hdf5").unlink()
    with pytest.raises(InputError, match="download and unpack at least one part"):
        brazil.read_code15(code)


def test_padding_is_taken_away_and_rows_are_checked(sami):
    signals = read_tracings(sami / "exams.hdf5", [1, 5, 1])
    assert signals.shape == (3, 12, 4096)
    np.testing.assert_array_equal(signals[0], signals[2])
    assert unpadded_span(signals[0]) == slice(648, 3448)
    np.testing.assert_allclose(np.abs(signals[0]).max(axis=1), np.arange(1, 13), rtol=0.01)  # mV
    assert (to_packed(np.zeros((12, 4096), np.float32)) == INVALID).all()
    with pytest.raises(InputError, match="there is no row 12"):
        read_tracings(sami / "exams.hdf5", [12])
