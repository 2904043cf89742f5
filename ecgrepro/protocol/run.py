"""Run arms: what a run lends them, their folds, one arm (written whole, found finished the next time), a sweep."""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import yaml

from ecgrepro import ROOT
from ecgrepro.biomarkers import COVARIATES, with_covariates
from ecgrepro.cohorts.schema import NULL
from ecgrepro.data.packing import Packed, open_packed
from ecgrepro.data.ptbxl import open_release, split_by_fold
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, read_json, sha256_file, write_json
from ecgrepro.losses import cosine_pairs, cosine_positive, soft_infonce
from ecgrepro.models import (
    RiskModel,
    build_alignment_model,
    build_risk_model,
    load_alignment,
    read_config,
    risk_model_from,
    save_weights,
)
from ecgrepro.parameters import declared_parameters
from ecgrepro.protocol.arms import (
    BASELINES,
    COX,
    NO_ENCODER,
    ORACLES,
    PRETRAINED,
    Arm,
    sweep_arms,
)
from ecgrepro.provenance import describe_environment
from ecgrepro.survival import (
    Split,
    concordance_index,
    fit_cox,
    grouped_folds,
    predict_cox,
    study_folds,
)
from ecgrepro.training import (
    AlignmentLoss,
    FinetuneConfig,
    FitConfig,
    PretrainConfig,
    RiskData,
    finetune,
    pair_records,
    predict_risk,
    pretrain,
)
from ecgrepro.training.identity import fingerprint

IntArray = npt.NDArray[np.int64]
Fit = Callable[[IntArray, IntArray, int], Any]
Predict = Callable[[Any, IntArray], npt.ArrayLike]

FOLDER = "protocol"
ALIGNED = "alignment/model.safetensors"
FOLLOW_UP = "cohorts/follow_up.csv"
PACKED = "cohorts/packed/packed.json"
MEASURED = "cohorts/biomarkers.csv"
FOLDS, SCORES, RECORD = "folds.csv", "scores.csv", "provenance.json"

NO_PAIR = "no two test patients are comparable"

_COLUMNS = {
    "age_sex": ("age", "sex"),
    "ecg_15": COVARIATES,
    "age_sex_ecg_15": ("age", "sex", *COVARIATES),
}

_SHARED = ("batch_size", "learning_rate", "recon_weight", "patience", "seed")
"""Parameters of chapter 6 that every pretraining of the run takes over."""


# ---- what a run lends: its cohorts, its settings, and weights to start from


@dataclass(frozen=True, eq=False)
class CohortData:
    """One cohort of a run: its table (rows in the order of the file), the packed ECGs, and how to speak of it."""

    table: pd.DataFrame
    packed: Packed
    about: dict[str, Any]


def open_cohort(folder: Path, name: str) -> CohortData:
    """Open a cohort of the run in `folder`.

    Where the cohort's ECGs are those of the pretraining release, by the packs' fingerprints, only patients of its
    test part are used: a network that has read a patient's ECG and report must not be tested on that patient.

    Raises
    ------
    InputError
        If the run lacks a file, or has no such cohort.
    """
    table, about = _follow_up(folder), read_json(folder / "cohorts" / "cohorts.json")
    own = table[table["cohort"] == name].reset_index(drop=True)
    if own.empty:
        known = ", ".join(map(str, table["cohort"].unique()))
        raise InputError(f"{folder / FOLLOW_UP} has no cohort {name!r}: it has {known}.")
    told = {"source": str(about["source"]), "restricted": bool(about["restricted"]), "notes": []}
    read, cohort = (
        read_json(folder / path).get("fingerprint") for path in ("packed/packed.json", PACKED)
    )
    if read is not None and read == cohort:
        own = own[own["split"] == "test"].reset_index(drop=True)
        told["notes"] = ["patients whose ECGs were used in pretraining are left out"]
    return CohortData(own, open_packed((folder / PACKED).parent), told)


def finetune_settings(folder: Path, initialisation: str) -> FinetuneConfig:
    """Return the settings of chapter 9 in this run, alike for every network.

    With "random_encoder" only the head learns, at ten times the rate, as in chapter 9.
    """
    given = _parameters(folder, "09_risk")
    frozen = initialisation == "random_encoder"
    return FinetuneConfig(
        epochs=given["epochs"],
        batch_size=given["batch_size"],
        learning_rate=given["learning_rate"] * (10 if frozen else 1),
        recon_weight=0.0 if frozen else given["recon_weight"],
        lead_mask=0.0 if frozen else FinetuneConfig.lead_mask,
        patience=given["patience"],
        freeze_encoder=frozen,
    )


def start_path(folder: Path, encoder: str, initialisation: str) -> Path:
    """Return the weights that an initialisation starts from: chapter 6's, or those of `pretrain_start`."""
    if initialisation == "aligned" and read_config(folder / ALIGNED)["encoder"] == encoder:
        return folder / ALIGNED
    return folder / FOLDER / initialisation / encoder / "model.safetensors"


def starting_model(folder: Path, encoder: str, initialisation: str, seed: int) -> RiskModel:
    """Return a fresh risk model: seeded weights, or a copy of pretrained ones with a seeded head."""
    if initialisation not in PRETRAINED:
        made = read_config(folder / ALIGNED)
        return build_risk_model(encoder, lead_scale=made["lead_scale"], seed=seed)
    path = start_path(folder, encoder, initialisation)
    return risk_model_from(load_alignment(path), seed=seed)


def pretrain_start(folder: Path, encoder: str, initialisation: str) -> Path:
    """Pretrain as chapter 6 did, with another encoder, or by reconstruction alone (no report is then used).

    Parameters
    ----------
    folder
        Of the run, with its texts and its release.
    encoder
        "cnn" or "dual_attention".
    initialisation
        "reconstruction" sets the weight of the alignment to 0; "aligned" uses the loss that chapter 6 chose.

    Returns
    -------
    Path
        Weights in `protocol/<initialisation>/<encoder>/`. An interrupted pretraining goes on where it stood.
    """
    if initialisation not in PRETRAINED:
        raise InputError(f"{initialisation!r} is not pretrained: use {' or '.join(PRETRAINED)}.")
    path = start_path(folder, encoder, initialisation)
    if path == folder / ALIGNED:
        return path
    given, made = _parameters(folder, "06_alignment"), read_config(folder / ALIGNED)
    packed = open_packed(folder / "packed")
    ecg_ids, z_text, text_ids = (
        np.load(folder / "text" / f"{name}.npy", allow_pickle=False)
        for name in ("ecg_ids", "z_text", "text_ids")
    )
    release = open_release(ROOT / read_json(folder / "release.json")["path"])
    data, *_ = pair_records(
        packed.signals,
        packed.ecg_ids.tolist(),
        packed.rate,
        z_text=z_text,
        text_ids=text_ids,
        ecg_ids=ecg_ids.tolist(),
        split=split_by_fold(release.index, ecg_ids),
    )
    config = PretrainConfig(
        loss=_loss(made["loss"], given),
        epochs=given["epochs"],
        align_weight=0.0 if initialisation == "reconstruction" else 1.0,
        **{name: given[name] for name in _SHARED},
    )
    kept = {name: made[name] for name in ("text_dim", "lead_scale")}
    start = build_alignment_model(encoder, **kept, seed=given["seed"])
    result = pretrain(start, data, config, path.parent / "checkpoints", report=None)
    note = {"encoder": encoder, "initialisation": initialisation, "epoch": result.best_epoch}
    settings = {**settings_of(config), "loss": made["loss"]}
    save_weights(result.model, path, {**note, **kept, "settings": settings})
    return path


def settings_of(config: FitConfig) -> dict[str, Any]:
    """Settings that decide a training, as json gives them back; the loss, which is code, left out."""
    names = [f.name for f in dataclasses.fields(config) if f.compare and f.name != "loss"]
    values = {name: getattr(config, name) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _loss(name: str, given: Mapping[str, Any]) -> AlignmentLoss:
    """The package's loss of the name that chapter 6 recorded, with that chapter's parameters."""
    known: dict[str, AlignmentLoss] = {
        "cosine_positive": cosine_positive,
        "cosine_pairs": partial(cosine_pairs, margin=given["margin"]),
        "soft_infonce": partial(soft_infonce, temperature=given["temperature"]),
    }
    if name not in known:
        raise InputError(
            f"the loss {name!r} of chapter 6 is the reader's own, and arms know {', '.join(known)} only: "
            "leave out the pretrained starts of other encoders."
        )
    return known[name]


def _parameters(folder: Path, chapter: str) -> dict[str, Any]:
    """Parameters of a chapter in the run: as recorded there, else the notebook's own."""
    recorded = folder / "parameters" / f"{chapter}.yaml"
    values = yaml.safe_load(recorded.read_text()) if recorded.is_file() else {}
    return {**declared_parameters(chapter), **values}


def _follow_up(folder: Path) -> pd.DataFrame:
    """Follow-up of all cohorts of the run."""
    path = folder / FOLLOW_UP
    if not path.is_file():
        raise InputError(f"{path} is missing: make chapter 8 of this run first (`make book`).")
    return pd.read_csv(path)


# ---- folds: fit on the training part, select on validation, score the test rows and no others


def splits_of(arm: Arm, table: pd.DataFrame) -> list[Split]:
    """Return the folds of an arm's seed.

    Raises
    ------
    InputError
        If nobody has an event, there are fewer patients with an event than the parts of the division, or the
        study's division, which is blind to patients, would meet a patient twice.
    """
    where = f"cohort {arm.cohort!r}"
    if table["event"].sum() == 0:
        raise InputError(
            f"None of the {len(table)} rows of {where} has an event: nothing can be learned or evaluated."
        )
    if arm.protocol == "study" and table["patient_id"].duplicated().any():
        raise InputError(
            f"{where} has patients with several rows, and the study's protocol does not group by patient: "
            "use protocol 'grouped', or one row a patient."
        )
    try:
        if arm.protocol == "study":
            return study_folds(table["event"], arm.seed)
        return grouped_folds(table["patient_id"], table["event"], arm.n_folds, arm.seed)
    except InputError as error:
        raise InputError(f"{where}, protocol {arm.protocol!r}: {error}") from None


def limit_labels(split: Split, event: npt.ArrayLike, labels: int) -> Split:
    """Keep `labels` training events of a fold (0: all), and of everything else the same share.

    Smaller numbers give subsets of larger ones, so that a learning curve adds patients and does not exchange
    them. Validation shrinks too (it keeps at least two of its events, where it has them): who has few labels has
    few to select on. The test part stays whole.
    """
    if labels == 0:
        return split
    flags = np.asarray(event)
    available = int(flags[split.train].sum())
    if labels > available:
        raise InputError(
            f"Seed {split.seed}, fold {split.fold}: {available} training events, {labels} were asked for."
        )

    def keep(rows: IntArray, least: int, part: int) -> IntArray:
        rng = np.random.default_rng([split.seed, split.fold, part])
        chosen = []
        for value, floor in ((1, least), (0, 1)):
            kind = rng.permutation(rows[flags[rows] == value])
            chosen.append(kind[: max(round(labels / available * len(kind)), floor)])
        return np.sort(np.concatenate(chosen))

    train, validation = keep(split.train, labels, 0), keep(split.validation, 2, 1)
    return dataclasses.replace(split, train=train, validation=validation)


def evaluate_folds(
    table: pd.DataFrame, splits: Sequence[Split], fit: Fit, predict: Predict, labels: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit and score each fold; every value is kept.

    Parameters
    ----------
    table
        Columns ``patient_id``, ``time`` (days), ``event``.
    splits
        From `splits_of`; positions in `table`.
    fit
        ``fit(train, validation, fold) -> model``. It is never told the test rows.
    predict
        ``predict(model, rows) -> risk``, called with the test rows of the fold.
    labels
        As `limit_labels`.

    Returns
    -------
    folds
        One row a fold: seed, fold, n and events (test), n_train, events_train, n_validation, events_validation,
        n_development (rows outside the test part, before `labels` cut them), c_index, test_rows (a fingerprint
        of who was tested), note. A fold without a comparable pair has no C-index: NaN, and the note says so.
    scores
        One row a test row: seed, fold, row, risk, patient_id, time, event, and centred: the risk less the mean of
        its fold (S-4), so that folds can be pooled.
    """
    event = table["event"].to_numpy()
    folds, scores = [], []
    for whole in splits:
        split = limit_labels(whole, event, labels)
        parts = {"": split.test, "_train": split.train, "_validation": split.validation}
        named = {"seed": split.seed, "fold": split.fold}
        if len(np.unique(np.concatenate(list(parts.values())))) < sum(map(len, parts.values())):
            raise InputError(f"{named}: train, validation and test overlap.")
        risk = predict(fit(split.train, split.validation, split.fold), split.test)
        tested = table[["patient_id", "time", "event"]].iloc[split.test].reset_index(drop=True)
        scored = pd.DataFrame({**named, "row": split.test, "risk": np.asarray(risk, dtype=float)})
        scores.append(scored.join(tested))
        c_index = c_index_of(scores[-1], "risk")
        sizes: dict[str, int] = {}
        for part, rows in parts.items():
            sizes |= {f"n{part}": len(rows), f"events{part}": int(event[rows].sum())}
        folds.append(
            {
                **named,
                **sizes,
                "n_development": len(whole.train) + len(whole.validation),
                "c_index": c_index,
                "test_rows": hashlib.sha256(np.sort(split.test).tobytes()).hexdigest()[:12],
                "note": NO_PAIR if np.isnan(c_index) else "",
            }
        )
    pooled = pd.concat(scores, ignore_index=True)
    by_model = pooled.groupby(["seed", "fold"])["risk"]
    pooled["centred"] = pooled["risk"] - by_model.transform("mean")
    return pd.DataFrame(folds), pooled


def c_index_of(scores: pd.DataFrame, column: str) -> float:
    """Return the C-index of a column of the scores; NaN without a comparable pair.

    Of "risk" within one fold; of "centred" over all folds of a seed.
    """
    time, event = scores["time"].to_numpy(float), scores["event"].to_numpy() == 1
    first = time[event].min(initial=np.inf)
    if not ((time > first) | ((time == first) & ~event)).any():
        return float("nan")
    return concordance_index(time, event, scores[column])


# ---- one arm


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
    network = arm.encoder != NO_ENCODER
    settings = finetune_settings(folder, arm.initialisation) if network else None
    key = {
        "arm": arm.as_dict(),
        "settings": settings and settings_of(settings),
        "inputs": _inputs(arm, folder),
        "code": fingerprint(evaluate_folds, _network, _cox, _oracle, settings),
    }
    if (place / RECORD).is_file():
        record = read_json(place / RECORD)
        if all(record.get(name) == value for name, value in key.items()):
            return read_arm(place)
    data = open_cohort(folder, arm.cohort)
    if settings is not None:
        fit, predict = _network(arm, folder, data, settings)
    else:
        fit, predict = _cox(arm, folder, data) if arm.initialisation in COX else _oracle(arm, data)
    with _one_thread():
        splits = splits_of(arm, data.table)
        folds, scores = evaluate_folds(data.table, splits, fit, predict, arm.labels)
    for name, table in ((FOLDS, folds), (SCORES, scores)):
        with atomic_path(place / name) as temporary:
            table.to_csv(temporary, index=False)
    pooled = c_index_of(scores, "centred")
    record = {
        **key,
        **data.about,
        "pooled_c_index": None if np.isnan(pooled) else pooled,
        "seconds": round(time.perf_counter() - began, 1),
        "environment": describe_environment(),
        "outputs": {name: sha256_file(place / name) for name in (FOLDS, SCORES)},
    }
    write_json(place / RECORD, record)
    # one network a fold would fill the disk
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    return read_arm(place)


def read_arm(place: Path) -> ArmResult:
    """Read a finished arm from its folder; an `InputError` if its tables were changed since."""
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


def files_behind(arm: Arm, folder: Path) -> list[str]:
    """Return what an arm reads, as paths in the run. The pack's own record stands for the signals."""
    paths = {FOLLOW_UP, PACKED}
    if arm.initialisation in COX:
        paths.add(MEASURED)
    if arm.encoder != NO_ENCODER:
        paths.add(ALIGNED)  # tells every network whether it is given the lead scales
    if arm.initialisation in PRETRAINED:
        start = start_path(folder, arm.encoder, arm.initialisation)
        paths.add(start.relative_to(folder).as_posix())
    return sorted(paths)


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


def _network(
    arm: Arm, folder: Path, data: CohortData, settings: FinetuneConfig
) -> tuple[Fit, Predict]:
    checkpoints = folder / FOLDER / "arms" / arm.name / "checkpoints"

    def fit(train: IntArray, validation: IntArray, fold: int) -> RiskModel:
        seed = 100 * arm.seed + fold
        return finetune(
            starting_model(folder, arm.encoder, arm.initialisation, seed),
            risk_data(data, train, validation),
            dataclasses.replace(settings, seed=seed),
            checkpoints / f"fold{fold}",
            report=None,
        ).model

    def predict(model: RiskModel, rows: IntArray) -> npt.ArrayLike:
        packed_rows = data.packed.rows(data.table["ecg_id"].iloc[rows])
        return predict_risk(model, data.packed.signals, packed_rows, data.packed.rate)

    return fit, predict


def _cox(arm: Arm, folder: Path, data: CohortData) -> tuple[Fit, Predict]:
    measured = pd.read_csv(folder / MEASURED, index_col="ecg_id")
    table, columns = with_covariates(data.table, measured), _COLUMNS[arm.initialisation]
    return (
        lambda train, validation, fold: fit_cox(table.iloc[np.r_[train, validation]], columns),
        lambda model, rows: predict_cox(model, table.iloc[rows]),
    )


def _oracle(arm: Arm, data: CohortData) -> tuple[Fit, Predict]:
    if not _hazard_known(data.table, arm.initialisation):
        raise InputError(
            f"The true hazard of cohort {arm.cohort!r} is not known: leave {arm.initialisation} out."
        )
    truth = data.table[ORACLES[arm.initialisation]].to_numpy(float)
    return lambda train, validation, fold: truth, lambda model, rows: model[rows]


def _hazard_known(table: pd.DataFrame, oracle: str) -> bool:
    column = ORACLES[oracle]
    return column in table and bool(table[column].notna().all())


def _inputs(arm: Arm, folder: Path) -> dict[str, str]:
    """SHA-256 of what the arm reads."""
    paths = files_behind(arm, folder)
    for path in paths:
        if not (folder / path).is_file():
            raise InputError(f"{folder / path} is missing: arm {arm.name} needs it, make it first.")
    return {path: sha256_file(folder / path) for path in paths}


# ---- a run's sweep


def sweep_of(folder: Path, parameters: Mapping[str, Any]) -> tuple[list[Arm], list[str]]:
    """Return the arms of chapter 13 in the run of `folder`, and what had to be left out.

    A protocol is left out for a cohort that it cannot divide (too few events, several rows a patient). Where a
    cohort has fewer training events than are asked for, `labels` becomes 0 (all of them), and the points of the
    learning curve that cannot be reached are left out. An oracle is an arm only where the hazard is known.

    Parameters
    ----------
    folder
        Of a run whose chapters 6 and 8 were made.
    parameters
        Of chapter 13: cohorts (empty: the main one, and the null cohort), encoders (empty: the run's),
        initialisations, study_seeds, grouped_seeds, n_folds, labels, curve.

    Returns
    -------
    arms, notes
        Notes are sentences without counts, so that a restricted cohort may show them.

    Raises
    ------
    InputError
        If the run lacks a file or a cohort, or no arm is left.
    """
    table = _follow_up(folder)
    main = str(read_json(folder / "cohorts" / "cohorts.json")["main"])
    control = [NULL] if (table["cohort"] == NULL).any() else []
    has_age = {"age", "sex"} <= set(table.columns)
    encoders = parameters["encoders"] or [str(read_config(folder / ALIGNED)["encoder"])]
    methods = [(encoder, start) for encoder in encoders for start in parameters["initialisations"]]
    methods += [
        (NO_ENCODER, name) for name in BASELINES if has_age or not name.startswith("age_sex")
    ]
    wanted = sweep_arms(
        parameters["cohorts"] or [main, *control],
        methods,
        {"study": parameters["study_seeds"], "grouped": parameters["grouped_seeds"]},
        parameters["labels"],
        parameters["curve"],
        parameters["n_folds"],
    )
    tables = {name: open_cohort(folder, name).table for name in {arm.cohort for arm in wanted}}
    most = _most_labels(tables, wanted)
    arms: list[Arm] = []
    notes: dict[str, None] = {}  # a set that keeps its order
    for arm in wanted:
        where = f"cohort {arm.cohort}, {arm.protocol} protocol"
        if (arm.cohort, arm.protocol) not in most:
            notes[f"{where}: left out, too few events or several rows a patient"] = None
            continue
        if arm.initialisation in ORACLES and not _hazard_known(
            table[table["cohort"] == arm.cohort], arm.initialisation
        ):
            continue
        if arm.labels > most[arm.cohort, arm.protocol]:
            few = f"{where}: fewer than {arm.labels} training events"
            if arm.labels != parameters["labels"]:
                notes[f"{few}, that point is left out"] = None
                continue
            notes[f"{few}, all are used"] = None
            arm = dataclasses.replace(arm, labels=0)
        arms.append(arm)
    if not arms:
        raise InputError(f"No arm of the sweep can be run: {'; '.join(notes)}.")
    return arms, list(notes)


def starts_of(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs of encoder and initialisation whose weights the arms start from."""
    pairs = {(arm.encoder, arm.initialisation) for arm in arms}
    return sorted(pair for pair in pairs if pair[1] in PRETRAINED)


def run_sweep(
    arms: Sequence[Arm], folder: Path, report: Callable[[str], None] = print
) -> list[ArmResult]:
    """Run all arms that are not finished yet, after the pretrainings that they start from.

    Arms are also a matter of `protocol.smk`, which runs them side by side; here they are found finished then.

    Parameters
    ----------
    arms, folder
        From `sweep_of`, and its run.
    report
        Called with one line an arm.
    """
    for encoder, initialisation in starts_of(arms):
        pretrain_start(folder, encoder, initialisation)
    results = []
    for number, arm in enumerate(arms, 1):
        results.append(run_arm(arm, folder))
        report(f"{number}/{len(arms)} {arm.name}")
    return results


def _most_labels(
    tables: Mapping[str, pd.DataFrame], arms: Sequence[Arm]
) -> dict[tuple[str, str], int]:
    """Smallest number of training events in any fold, by cohort and protocol; without those that cannot be divided."""
    divisions = {(arm.cohort, arm.protocol, arm.seed): arm for arm in arms}
    found: dict[tuple[str, str], list[int]] = {}
    impossible = set()
    for (cohort, protocol, _), arm in divisions.items():
        event = tables[cohort]["event"].to_numpy()
        try:
            counts = [int(event[split.train].sum()) for split in splits_of(arm, tables[cohort])]
        except InputError:
            impossible.add((cohort, protocol))
            continue
        found.setdefault((cohort, protocol), []).extend(counts)
    return {place: min(counts) for place, counts in found.items() if place not in impossible}
