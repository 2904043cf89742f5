"""Simulated follow-up beside a simulated release, and negative controls of any cohort."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro.cohorts.own_csv import read_follow_up
from ecgrepro.cohorts.schema import Cohort
from ecgrepro.cohorts.tables import read_table, require_columns
from ecgrepro.errors import InputError

FOLDER = "follow_up"
TRUTH = "truth.csv"


def read_simulated(release: Path | str, name: str) -> Cohort:
    """Read a follow-up table that `ecgrepro.simulate.write_cohorts` wrote beside a release.

    Parameters
    ----------
    release
        Folder of the simulated release.
    name
        ``learning``, ``hyp``, ``mi`` or ``null``.

    Raises
    ------
    InputError
        If there is no such table; the message lists those that exist.
    """
    folder = Path(release) / FOLDER
    file = folder / f"{name}.csv"
    if not file.is_file() or file.name == TRUTH:
        present = sorted(path.stem for path in folder.glob("*.csv") if path.name != TRUTH)
        raise InputError(
            f"{folder} has no cohort {name!r} (it has {', '.join(present) or 'none'}): simulate it first."
        )
    table = read_follow_up(file)
    label = f"simulated follow-up ({name})"
    if name == "null":
        label += ": outcomes unrelated to the ECG"
    flow = (("simulated patients", len(table)),)
    return Cohort(name, table, label, restricted=False, simulated=True, flow=flow)


def read_truth(release: Path | str, cohort: Cohort) -> pd.DataFrame:
    """Return what the simulator knows about each patient of a cohort, rows as ``cohort.table``.

    Columns include ``log_hazard`` (the true one: the best any model could do) and ``log_hazard_ecg`` (the part that the
    ECG shows). For checking alone.

    Raises
    ------
    InputError
        If the file is missing or lacks a patient of the cohort.
    """
    file = Path(release) / FOLDER / TRUTH
    truth = read_table(file)
    require_columns(truth, ("cohort", "patient_id", "log_hazard", "log_hazard_ecg"), file)
    own = truth[truth["cohort"] == cohort.name].set_index("patient_id")
    patients = cohort.table["patient_id"]
    absent = ~patients.isin(own.index)
    if absent.any():
        raise InputError(
            f"{file} lacks {int(absent.sum())} patients of cohort {cohort.name}: it belongs to another run."
        )
    return own.loc[patients].reset_index()


def null_cohort(cohort: Cohort, seed: int) -> Cohort:
    """Return the negative control of a cohort: its outcomes dealt anew among its rows.

    Time, event and competing event stay together, so events, censoring and follow-up are those of the cohort, and
    nothing about a patient tells anything about the outcome. Every model must score 0.5 here.
    """
    columns = [name for name in ("time", "event", "competing") if name in cohort.table.columns]
    table = cohort.table.copy()
    order = np.random.default_rng(seed).permutation(len(table))
    for column in columns:
        table[column] = cohort.table[column].to_numpy()[order]
    return replace(
        cohort,
        name=f"{cohort.name}-null",
        table=table,
        source_label=f"{cohort.source_label}; outcomes dealt anew (negative control)",
        simulated=True,
    )
