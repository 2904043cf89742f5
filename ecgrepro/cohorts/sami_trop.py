"""SaMi-Trop: 1,631 patients with chronic Chagas cardiomyopathy, ECG and death within about two years.

Zenodo record 4905618 (Ribeiro and others 2021, doi 10.5281/zenodo.4905618): ``exams.csv`` and ``exams.zip`` with
``exams.hdf5``, whose rows follow the csv. Every patient has the disease: a normal ECG here is no healthy control.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.cohorts.schema import DAYS_PER_YEAR, Cohort, validate_follow_up
from ecgrepro.cohorts.tables import read_table, require_columns, true_or_false
from ecgrepro.cohorts.tracings import dataset, open_hdf5, read_tracings, to_packed
from ecgrepro.errors import InputError

ZENODO_RECORD = 4905618
CSV, TRACINGS, ARCHIVE = "exams.csv", "exams.hdf5", "exams.zip"
COLUMNS = ("exam_id", "age", "is_male", "normal_ecg", "death", "timey", "nn_predicted_age")
SOURCE = "SaMi-Trop (Zenodo 4905618), death from any cause"


def read_sami_trop(folder: Path | str) -> Cohort:
    """Read the cohort: event = death, one exam a patient.

    Columns beside the schema's: ``row`` (position in the hdf5 file), ``normal_ecg``, ``nn_predicted_age`` (the output
    of a network, not an observation).

    Raises
    ------
    InputError
        If a file or column is missing, csv and hdf5 differ in length, or a row breaks the schema.
    """
    file = Path(folder) / CSV
    exams = read_table(file)
    require_columns(exams, COLUMNS, file)
    with open_hdf5(Path(folder) / TRACINGS) as stream:
        recordings = len(dataset(stream, "tracings", Path(folder) / TRACINGS))
    if recordings != len(exams):
        raise InputError(
            f"{file} has {len(exams)} exams and {TRACINGS} {recordings} recordings: "
            "rows are matched by position, so download both again."
        )
    table = pd.DataFrame(
        {
            "patient_id": exams["exam_id"],
            "ecg_id": exams["exam_id"],
            "time": pd.to_numeric(exams["timey"], errors="coerce") * DAYS_PER_YEAR,
            "event": true_or_false(exams["death"], file.name),
            "age": exams["age"],
            "sex": 1 - true_or_false(exams["is_male"], file.name),
            "row": np.arange(len(exams)),
            "normal_ecg": true_or_false(exams["normal_ecg"], file.name),
            "nn_predicted_age": exams["nn_predicted_age"],
        }
    )
    checked = validate_follow_up(table, file.name, zero_time="half_day")
    return Cohort(
        "SaMi-Trop",
        checked,
        SOURCE,
        restricted=False,
        simulated=False,
        flow=(("exams", len(exams)),),
    )


def read_signals(folder: Path | str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int16]:
    """Return the packed signals (len(rows), 12, 1000) of the exams at `rows` (column ``row`` of the cohort)."""
    tracings = read_tracings(Path(folder) / TRACINGS, rows)
    return np.stack([to_packed(tracing) for tracing in tracings])
