"""What a run lends to the arms: its cohorts, its settings, and weights to start from."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.files import read_json
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
from ecgrepro.packed import Packed, open_packed
from ecgrepro.parameters import declared_parameters
from ecgrepro.protocol.arms import PRETRAINED
from ecgrepro.ptbxl import open_release, split_by_fold
from ecgrepro.training import (
    AlignmentLoss,
    FinetuneConfig,
    FitConfig,
    PretrainConfig,
    pair_records,
    pretrain,
)

FOLDER = "protocol"
ALIGNED = "alignment/model.safetensors"
FOLLOW_UP = "cohorts/follow_up.csv"
PACKED = "cohorts/packed/packed.json"
MEASURED = "cohorts/biomarkers.csv"
ORACLES = {"oracle_ecg": "log_hazard_ecg", "oracle": "log_hazard"}
"""Column of the follow-up table that holds the true log hazard, or the part of it that the ECG carries."""


@dataclass(frozen=True, eq=False)
class CohortData:
    """One cohort of a run: its table (rows in the order of the file), the packed ECGs, and how to speak of it."""

    table: pd.DataFrame
    packed: Packed
    source: str
    restricted: bool
    notes: tuple[str, ...]


def open_cohort(folder: Path, name: str) -> CohortData:
    """Open a cohort of the run in `folder`.

    Where the cohort's ECGs are those of the pretraining release, only patients of its test part are used: a
    network that has read a patient's ECG and report must not be tested on that patient. `notes` says so.

    Raises
    ------
    InputError
        If the run lacks a file, or has no such cohort.
    """
    table, about = read_cohorts(folder), read_json(folder / "cohorts" / "cohorts.json")
    own = table[table["cohort"] == name].reset_index(drop=True)
    if own.empty:
        known = ", ".join(map(str, table["cohort"].unique()))
        raise InputError(f"{folder / FOLLOW_UP} has no cohort {name!r}: it has {known}.")
    notes: tuple[str, ...] = ()
    if seen_in_pretraining(folder):
        own = own[own["split"] == "test"].reset_index(drop=True)
        notes = ("patients whose ECGs were used in pretraining are left out",)
    packed = open_packed((folder / PACKED).parent)
    return CohortData(own, packed, str(about["source"]), bool(about["restricted"]), notes)


def seen_in_pretraining(folder: Path) -> bool:
    """Whether the cohorts' ECGs are the very records of the pretraining release, by the packs' fingerprints."""
    prints = [
        read_json(folder / path).get("fingerprint") for path in ("packed/packed.json", PACKED)
    ]
    return prints[0] is not None and prints[0] == prints[1]


def run_parameters(folder: Path, chapter: str) -> dict[str, Any]:
    """Parameters of a chapter in the run: as recorded there, else the notebook's own."""
    recorded = folder / "parameters" / f"{chapter}.yaml"
    values = yaml.safe_load(recorded.read_text()) if recorded.is_file() else {}
    return {**declared_parameters(chapter), **values}


def finetune_settings(folder: Path, initialisation: str) -> FinetuneConfig:
    """Return the settings of chapter 9 in this run, alike for every network.

    Parameters
    ----------
    folder
        Of the run.
    initialisation
        With "random_encoder" only the head learns, at ten times the rate, as in chapter 9.
    """
    given = run_parameters(folder, "09_risk")
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
    if initialisation == "aligned" and aligned_encoder(folder) == encoder:
        return folder / ALIGNED
    return folder / FOLDER / initialisation / encoder / "model.safetensors"


def starting_model(folder: Path, encoder: str, initialisation: str, seed: int) -> RiskModel:
    """Return a fresh risk model: seeded weights, or a copy of pretrained ones with a seeded head.

    Raises
    ------
    InputError
        If the pretrained weights are missing.
    """
    made = read_config(folder / ALIGNED)
    if initialisation not in PRETRAINED:
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
    given, made = run_parameters(folder, "06_alignment"), read_config(folder / ALIGNED)
    packed = open_packed(folder / "packed")
    arrays = {
        name: np.load(folder / "text" / f"{name}.npy", allow_pickle=False)
        for name in ("ecg_ids", "z_text", "text_ids")
    }
    release = open_release(ROOT / read_json(folder / "release.json")["path"])
    split = split_by_fold(release.index, arrays["ecg_ids"])
    data, *_ = pair_records(
        packed.signals,
        packed.ecg_ids.tolist(),
        packed.rate,
        z_text=arrays["z_text"],
        text_ids=arrays["text_ids"],
        ecg_ids=arrays["ecg_ids"].tolist(),
        split=split,
    )
    weight = 0.0 if initialisation == "reconstruction" else 1.0
    config = PretrainConfig(
        loss=_loss(made["loss"], given),
        epochs=given["epochs"],
        align_weight=weight,
        **{name: given[name] for name in _SHARED},
    )
    start = build_alignment_model(
        encoder, text_dim=made["text_dim"], lead_scale=made["lead_scale"], seed=given["seed"]
    )
    result = pretrain(start, data, config, path.parent / "checkpoints", report=None)
    note = {"encoder": encoder, "initialisation": initialisation, "epoch": result.best_epoch}
    kept = {name: made[name] for name in ("text_dim", "lead_scale")}
    save_weights(
        result.model,
        path,
        {**note, **kept, "settings": {**settings_of(config), "loss": made["loss"]}},
    )
    return path


def settings_of(config: FitConfig) -> dict[str, Any]:
    """Settings that decide a training, as json gives them back; the loss, which is code, left out."""
    names = [f.name for f in dataclasses.fields(config) if f.compare and f.name != "loss"]
    values = {name: getattr(config, name) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


_SHARED = ("batch_size", "learning_rate", "recon_weight", "patience", "seed")


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


def aligned_encoder(folder: Path) -> str:
    """Return the kind of encoder that chapter 6 of the run aligned."""
    return str(read_config(folder / ALIGNED)["encoder"])


def read_cohorts(folder: Path) -> pd.DataFrame:
    """Return the follow-up of all cohorts of the run.

    Raises
    ------
    InputError
        If chapter 8 was not made.
    """
    path = folder / FOLLOW_UP
    if not path.is_file():
        raise InputError(f"{path} is missing: make chapter 8 of this run first (`make book`).")
    return pd.read_csv(path)
