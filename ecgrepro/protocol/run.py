"""Run one arm: all folds of one seed, written whole, found finished the next time."""

import dataclasses
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from ecgrepro.biomarkers import COVARIATES, with_covariates
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, sha256_file, write_json
from ecgrepro.models import RiskModel
from ecgrepro.protocol.arms import COX, PRETRAINED, Arm
from ecgrepro.protocol.evaluate import evaluate_folds, pooled_c_index, splits_of
from ecgrepro.protocol.starts import (
    ALIGNED,
    FOLDER,
    FOLLOW_UP,
    MEASURED,
    ORACLES,
    PACKED,
    CohortData,
    finetune_settings,
    open_cohort,
    settings_of,
    start_path,
    starting_model,
)
from ecgrepro.provenance import describe_environment
from ecgrepro.survival import CoxModel, fit_cox, predict_cox
from ecgrepro.training import FinetuneConfig, RiskData, finetune, predict_risk
from ecgrepro.training.identity import fingerprint

IntArray = npt.NDArray[np.int64]

FOLDS, SCORES, RECORD = "folds.csv", "scores.csv", "provenance.json"

_COLUMNS = {
    "age_sex": ("age", "sex"),
    "ecg_15": COVARIATES,
    "age_sex_ecg_15": ("age", "sex", *COVARIATES),
}


@dataclass(frozen=True, eq=False)
class ArmResult:
    """A finished arm: its folds and scores (see `evaluate_folds`), and its record."""

    arm: Arm
    folds: pd.DataFrame
    scores: pd.DataFrame
    record: dict[str, Any]


def run_arm(arm: Arm, folder: Path) -> ArmResult:
    """Run an arm of the run in `folder`, or return it if it was finished under the same circumstances.

    Each fold starts from its own fresh copy of the weights, learns on the training part and chooses its epoch on
    the validation part; outcomes and ECGs of the test part do not reach the training function. A Cox baseline
    chooses nothing, so it learns from both parts. An arm that was interrupted goes on in the fold, and at the
    epoch, where it stood.

    Parameters
    ----------
    arm
        What to run.
    folder
        Of the run. Results: `protocol/arms/<arm>/folds.csv`, `scores.csv` and, written last, `provenance.json`.

    Raises
    ------
    InputError
        If the run lacks a file, or the cohort has too few events for the protocol.
    """
    began = time.perf_counter()
    place = folder / FOLDER / "arms" / arm.name
    network = arm.encoder != "none"
    settings = finetune_settings(folder, arm.initialisation) if network else None
    key = {
        "arm": arm.as_dict(),
        "settings": _plain(settings),
        "inputs": _inputs(arm, folder),
        "code": fingerprint(_network_folds, _cox_folds, _oracle_folds, settings),
    }
    finished = _finished(place, key)
    if finished is not None:
        return finished
    data = open_cohort(folder, arm.cohort)
    with _one_thread():
        if settings is not None:
            folds, scores = _network_folds(arm, folder, data, settings, place / "checkpoints")
        elif arm.initialisation in COX:
            folds, scores = _cox_folds(arm, folder, data)
        else:
            folds, scores = _oracle_folds(arm, data)
    for name, table in ((FOLDS, folds), (SCORES, scores)):
        with atomic_path(place / name) as temporary:
            table.to_csv(temporary, index=False)
    pooled = pooled_c_index(scores)
    record = {
        **key,
        "source": data.source,
        "restricted": data.restricted,
        "notes": list(data.notes),
        "pooled_c_index": None if np.isnan(pooled) else pooled,
        "seconds": round(time.perf_counter() - began, 1),
        "environment": describe_environment(),
        "outputs": {name: sha256_file(place / name) for name in (FOLDS, SCORES)},
    }
    write_json(place / RECORD, record)
    shutil.rmtree(
        place / "checkpoints", ignore_errors=True
    )  # one network a fold would fill the disk
    return read_arm(place)


def read_arm(place: Path) -> ArmResult:
    """Read a finished arm from its folder.

    Raises
    ------
    InputError
        If it was never finished, or its tables were changed since.
    """
    record = read_json(place / RECORD)
    for name, digest in record["outputs"].items():
        if not (place / name).is_file() or sha256_file(place / name) != digest:
            raise InputError(f"{place / name} is not what its record says: delete {place}, rerun.")
    folds = pd.read_csv(place / FOLDS, keep_default_na=False, na_values={"c_index": ""})
    return ArmResult(Arm(**record["arm"]), folds, pd.read_csv(place / SCORES), record)


def risk_data(data: CohortData, train: IntArray, validation: IntArray) -> RiskData:
    """Return the training and validation rows of a cohort as `RiskData`: test rows are not in it at all."""
    rows = np.concatenate([train, validation])
    part = data.table.iloc[rows]
    return RiskData(
        signals=data.packed.signals,
        rows=data.packed.rows(part["ecg_id"]),
        rate=data.packed.rate,
        event=part["event"].to_numpy(np.int64),
        time=part["time"].to_numpy(float),
        train=np.arange(len(train)),
        validation=np.arange(len(train), len(rows)),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread: with few patients the last digits, which threads change, grow to whole points.

    Arms are meant to run side by side anyway.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _network_folds(
    arm: Arm, folder: Path, data: CohortData, settings: FinetuneConfig, checkpoints: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    def fit(train: IntArray, validation: IntArray, fold: int) -> RiskModel:
        seed = 100 * arm.seed + fold
        return finetune(
            starting_model(folder, arm.encoder, arm.initialisation, seed),
            risk_data(data, train, validation),
            dataclasses.replace(settings, seed=seed),
            checkpoints / f"fold{fold}",
            report=None,
        ).model

    def predict(model: RiskModel, rows: IntArray) -> npt.NDArray[np.float64]:
        packed_rows = data.packed.rows(data.table["ecg_id"].iloc[rows])
        return predict_risk(model, data.packed.signals, packed_rows, data.packed.rate)

    return evaluate_folds(data.table, splits_of(arm, data.table), fit, predict, arm.labels)


def _cox_folds(arm: Arm, folder: Path, data: CohortData) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = pd.read_csv(folder / MEASURED, index_col="ecg_id")
    table = with_covariates(data.table, measured)
    columns = _COLUMNS[arm.initialisation]

    def fit(train: IntArray, validation: IntArray, fold: int) -> CoxModel:
        return fit_cox(table.iloc[np.concatenate([train, validation])], columns)

    def predict(model: CoxModel, rows: IntArray) -> npt.NDArray[np.float64]:
        return predict_cox(model, table.iloc[rows]).to_numpy()

    return evaluate_folds(table, splits_of(arm, table), fit, predict, arm.labels)


def _oracle_folds(arm: Arm, data: CohortData) -> tuple[pd.DataFrame, pd.DataFrame]:
    column = ORACLES[arm.initialisation]
    if column not in data.table or data.table[column].isna().any():
        raise InputError(
            f"The true hazard of cohort {arm.cohort!r} is not known: leave {arm.initialisation} out."
        )
    truth = data.table[column].to_numpy(float)
    return evaluate_folds(
        data.table,
        splits_of(arm, data.table),
        lambda train, validation, fold: truth,
        lambda model, rows: model[rows],
        arm.labels,
    )


def files_behind(arm: Arm, folder: Path) -> list[str]:
    """Return what an arm reads, as paths in the run. The pack's own record stands for the signals."""
    paths = [FOLLOW_UP, PACKED]
    if arm.initialisation in COX:
        paths.append(MEASURED)
    if arm.encoder != "none":
        paths.append(ALIGNED)  # tells every network whether it is given the lead scales
    if arm.initialisation in PRETRAINED:
        start = start_path(folder, arm.encoder, arm.initialisation)
        paths.append(start.relative_to(folder).as_posix())
    return sorted(set(paths))


def _inputs(arm: Arm, folder: Path) -> dict[str, str]:
    """SHA-256 of what the arm reads."""
    paths = files_behind(arm, folder)
    for path in paths:
        if not (folder / path).is_file():
            raise InputError(f"{folder / path} is missing: arm {arm.name} needs it, make it first.")
    return {path: sha256_file(folder / path) for path in paths}


def _finished(place: Path, key: dict[str, Any]) -> ArmResult | None:
    """The arm in `place`, if it was finished and everything that could change its numbers is as it was."""
    if not (place / RECORD).is_file():
        return None
    record = read_json(place / RECORD)
    if any(record.get(name) != value for name, value in key.items()):
        return None
    return read_arm(place)


def _plain(settings: FinetuneConfig | None) -> dict[str, Any] | None:
    """Settings without the seed, which each fold sets."""
    if settings is None:
        return None
    return {name: value for name, value in settings_of(settings).items() if name != "seed"}
