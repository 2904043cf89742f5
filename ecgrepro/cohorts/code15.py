"""CODE-15 %: 345,779 ECGs of 233,770 Brazilian primary-care patients; death, known for a patient's first exam.

Zenodo record 4916206 (Ribeiro and others 2021, doi 10.5281/zenodo.4916206): ``exams.csv`` and eighteen parts
``exams_part0.zip`` … ``exams_part17.zip``, each with one hdf5 file (``exam_id``, ``tracings``) whose last row is a
dummy of zeros. Parts may be missing: exams without a recording are left out and counted.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.cohorts.schema import DAYS_PER_YEAR, Cohort, validate_follow_up
from ecgrepro.cohorts.tables import read_table, require_columns, true_or_false
from ecgrepro.cohorts.tracings import dataset, open_hdf5, read_tracings, to_packed
from ecgrepro.errors import InputError

ZENODO_RECORD = 4916206
CSV = "exams.csv"
PARTS = tuple(f"exams_part{number}.hdf5" for number in range(18))
FINDINGS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
COLUMNS = (
    *("exam_id", "age", "is_male", "nn_predicted_age", *FINDINGS),
    *("patient_id", "death", "timey", "normal_ecg", "trace_file"),
)
SOURCE = "CODE-15 % (Zenodo 4916206), death from any cause"


def read_code15(folder: Path | str) -> Cohort:
    """Read the cohort: event = death, a patient's first exam (the only one with an outcome).

    A time of 0 (death on the day of the exam, in years with few digits) counts as half a day. Columns beside the
    schema's: ``waveform`` (hdf5 file), ``row`` (position in it), the six findings, ``normal_ecg``,
    ``nn_predicted_age`` (the output of a network).

    Raises
    ------
    InputError
        If the csv or every part is missing, or a row breaks the schema.
    """
    file = Path(folder) / CSV
    exams = read_table(file)
    require_columns(exams, COLUMNS, file)
    flow = [("exams", len(exams))]
    exams["file_row"] = np.arange(len(exams))
    followed = exams[exams["death"].notna()]
    flow.append(("with an outcome (first exam of a patient)", len(followed)))
    recordings = index_recordings(folder)
    matched = followed.merge(recordings, on="exam_id", how="inner", validate="one_to_one")
    flow.append(("with a recording on disk", len(matched)))
    if len(matched) == 0:
        raise InputError(
            f"{folder}: no exam with an outcome has a recording here: download more parts."
        )
    matched = matched.sort_values("file_row")
    table = pd.DataFrame(
        {
            "patient_id": matched["patient_id"],
            "ecg_id": matched["exam_id"],
            "waveform": matched["waveform"],
            "row": matched["row"],
            "time": pd.to_numeric(matched["timey"], errors="coerce") * DAYS_PER_YEAR,
            "event": true_or_false(matched["death"], file.name),
            "age": matched["age"],
            "sex": 1 - true_or_false(matched["is_male"], file.name),
            "normal_ecg": true_or_false(matched["normal_ecg"], file.name),
            "nn_predicted_age": matched["nn_predicted_age"],
        }
        | {name: true_or_false(matched[name], file.name) for name in FINDINGS}
    )
    checked = validate_follow_up(
        table, f"{file.name} (exams with a recording)", zero_time="half_day"
    )
    return Cohort("CODE-15", checked, SOURCE, restricted=False, simulated=False, flow=tuple(flow))


def index_recordings(folder: Path | str) -> pd.DataFrame:
    """Return ``exam_id``, ``waveform``, ``row`` of every recording in the parts on disk, dummies left out.

    Raises
    ------
    InputError
        If no part is there, a part cannot be read, or an exam stands in two places.
    """
    found = []
    for name in PARTS:
        path = Path(folder) / name
        if not path.is_file():
            continue
        with open_hdf5(path) as stream:
            ids = np.asarray(dataset(stream, "exam_id", path)[:]).astype(np.int64)
            if len(dataset(stream, "tracings", path)) != len(ids):
                raise InputError(
                    f"{path}: exam_id and tracings differ in length: download it again."
                )
        real = np.flatnonzero(ids > 0)
        found.append(pd.DataFrame({"exam_id": ids[real], "waveform": name, "row": real}))
    if not found:
        raise InputError(
            f"{folder} holds no exams_part*.hdf5: download and unpack at least one part."
        )
    table = pd.concat(found, ignore_index=True)
    if table["exam_id"].duplicated().any():
        raise InputError(
            f"{folder}: an exam stands in two places of the parts: download them again."
        )
    return table


def read_signals(folder: Path | str, table: pd.DataFrame) -> npt.NDArray[np.int16]:
    """Return the packed signals (n, 12, 1000) of rows of the cohort's table, in their order.

    About 200 kB a recording pass through memory while reading: call it in chunks of some thousands.
    """
    signals = np.empty((len(table), 12, 1000), dtype=np.int16)
    for name, rows in table.groupby("waveform").indices.items():
        if name not in PARTS:
            raise InputError(f"{name} is not a part of CODE-15 %: use the table of read_code15.")
        tracings = read_tracings(Path(folder) / str(name), table["row"].to_numpy()[rows])
        signals[rows] = [to_packed(tracing) for tracing in tracings]
    return signals
