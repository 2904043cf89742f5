"""Small cohorts as files in their sources' layout, for tests."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ecgrepro import simulate


def sine(number: int, seconds: np.ndarray) -> np.ndarray:
    """A wave of 5 Hz and height 1, whose phase tells recordings apart."""
    wave: np.ndarray = np.sin(2 * np.pi * 5 * seconds + number + 0.1)
    return wave


def write_sami_trop(folder: Path, exams: int) -> None:
    """SaMi-Trop's two files: waves of 5 Hz, 1 mV high in lead I, 2 mV in lead II and so on; every other has 7 s."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pd.DataFrame(
        {
            "exam_id": np.arange(291, 291 + exams),
            "age": rng.integers(40, 90, exams),
            "is_male": np.arange(exams) % 3 == 0,
            "normal_ecg": False,
            "death": rng.permutation(exams) % 3 == 0,
            "timey": np.round(rng.uniform(0.1, 2.2, exams), 6),
            "nn_predicted_age": rng.uniform(40, 90, exams),
        }
    ).to_csv(folder / "exams.csv", index=False)
    time, heights = np.arange(4096) / 400, np.arange(1, 13)
    tracings = np.stack(
        [10 * sine(exam, time)[:, None] * heights for exam in range(exams)]
    )  # 1e-4 V
    tracings[1::2, :648] = tracings[1::2, 3448:] = 0
    with h5py.File(folder / "exams.hdf5", "w") as file:
        file["tracings"] = tracings


def returning_patients(folder: Path) -> None:
    """A simulated release in which each patient comes back once, half of them with new atrial fibrillation."""
    simulate.write_release(folder, n_patients=120, seed=3, progress=False)
    table = pd.read_csv(folder / "ptbxl_database.csv").drop_duplicates("patient_id")
    pairs = []
    for _, fold in table.groupby("strat_fold"):
        own = fold.iloc[: len(fold) // 2 * 2].copy()
        first = np.repeat(np.arange(0, len(own), 2), 2)
        again = np.arange(len(own)) % 2 == 1
        number = first // 2 + 1
        own["patient_id"] = own.patient_id.to_numpy()[first]
        day = pd.Timestamp("1990-01-01 10:00") + pd.to_timedelta(again * number * 40, unit="D")
        own["recording_date"] = day.strftime("%Y-%m-%d %H:%M:%S")
        code = np.where(again & (number % 2 == 1), "{'AFIB': 0.0}", "{'NORM': 100.0}")
        own["scp_codes"] = code
        pairs.append(own)
    pd.concat(pairs).to_csv(folder / "ptbxl_database.csv", index=False)
