"""Write a simulated release in the layout of PTB-XL 1.0.3: csv tables, WFDB headers and signals."""

import logging
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.progress import progress_bar
from ecgrepro.simulate.coding import assign_codes, read_statements
from ecgrepro.simulate.disease import NAMES, draw_ages, draw_states
from ecgrepro.simulate.heart import Hearts, build_hearts, frontal_axis
from ecgrepro.simulate.outcomes import visible_severity, write_csv
from ecgrepro.simulate.recording import (
    HEADER_LEADS,
    SECONDS,
    Disturbances,
    add_disturbances,
    digitize,
    draw_disturbances,
    project,
    twelve_leads,
    vectorcardiogram,
)
from ecgrepro.simulate.rhythm import BeatTimes, draw_beats
from ecgrepro.simulate.wording import draw_languages, write_report

log = logging.getLogger(__name__)

_CHUNK = 128  # part of what the bytes depend on: random numbers are drawn by chunk
_SUFFIX = {100: "lr", 500: "hr"}
_STREAMS = (
    *("people", "states", "beats", "hearts", "noise", "codes", "metadata", "frailty", "signal"),
)


def write_release(
    out: Path,
    n_patients: int,
    seed: int,
    rates: Sequence[int] = (100,),
    progress: bool = True,
) -> Path:
    """Write a simulated PTB-XL release.

    Parameters
    ----------
    out
        Folder to write to; made when missing. Records of the same number are overwritten.
    n_patients
        Number of patients, at least 10; they own about 1.18 ECGs each.
    seed
        Equal seed and arguments give equal bytes (on one machine: the last bit of `exp` may differ
        between processors).
    rates
        Sampling rates to write: 100, 500 or both. Both show the same beats and the same slow
        disturbances; muscle noise is drawn for each.
    progress
        Show a progress bar.

    Returns
    -------
    Path
        `out`, which holds `ptbxl_database.csv` (written last, so that a broken-off release has none),
        `scp_statements.csv`, `truth.csv`, `records100/` and, when asked for, `records500/`.

    Raises
    ------
    InputError
        For fewer than 10 patients or an unknown rate.
    """
    if n_patients < 10:
        raise InputError(f"n_patients is {n_patients}: ten folds need at least 10 patients.")
    if not rates or not set(rates) <= set(_SUFFIX):
        raise InputError(f"rates is {tuple(rates)}: PTB-XL has 100 and 500 samples/s only.")
    out = Path(out)
    streams = dict(zip(_STREAMS, np.random.SeedSequence(seed).spawn(len(_STREAMS)), strict=True))
    rng = {name: np.random.default_rng(stream) for name, stream in streams.items()}

    people = draw_people(n_patients, rng["people"])
    patient, age, male = (people[name].to_numpy() for name in ("patient", "age", "male"))
    states = draw_states(patient, age, male, rng["states"])
    states["age"], states["male"] = people["age"], people["male"]
    beats = draw_beats(states, rng["beats"])
    hearts = build_hearts(states, rng["hearts"])
    noise = draw_disturbances(len(people), rng["noise"])
    axis = frontal_axis(hearts)
    codes = assign_codes(states, axis, rng["codes"])
    classes = superclass_sets(codes)
    database = build_database(people, states, codes, axis, noise, classes, rng["metadata"])

    (out / "ptbxl_database.csv").unlink(missing_ok=True)
    for rate in rates:
        names = database[f"filename_{_SUFFIX[rate]}"].tolist()
        _write_records(out, names, rate, (hearts, beats, noise), streams["signal"], progress)
    statements = resources.files("ecgrepro.simulate") / "scp_statements.csv"
    with atomic_path(out / "scp_statements.csv") as temporary:
        temporary.write_bytes(statements.read_bytes())
    frailty = rng["frailty"].standard_normal(n_patients)[people["patient"].to_numpy()]
    write_csv(out / "truth.csv", _truth(people, states, axis, frailty))
    write_csv(out / "ptbxl_database.csv", database)
    log.info("simulated release: %d ECGs of %d patients at %s", len(database), n_patients, out)
    return out


def superclass_sets(codes: Iterable[dict[str, float]]) -> pd.Series:
    """Diagnostic superclasses of each record, whatever the confidence: a Series of sets."""
    by_code = read_statements()["diagnostic_class"].dropna().to_dict()
    return pd.Series([{by_code[c] for c in code if c in by_code} for code in codes], dtype=object)


def _truth(
    people: pd.DataFrame,
    states: pd.DataFrame,
    axis: NDArray[np.float64],
    frailty: NDArray[np.float64],
) -> pd.DataFrame:
    """What the simulator knows and the release does not tell."""
    truth = people[["ecg_id", "patient_id", "age"]].copy()
    truth["age"] = truth["age"].round(2)
    truth["sex"] = (people["male"] == 0).astype(int)
    truth["severity"] = visible_severity(states).round(5)
    truth["frailty"] = frailty.round(5)
    truth["hypertension"] = states["hypertension"].astype(int)
    truth["rhythm"] = states["rhythm"]
    for name in ("heart_rate", "pr_ms", "qrs_ms", "qt_ms"):
        truth[name] = states[name].round(1)
    truth["axis_deg"] = axis.round(1)
    for name in NAMES:
        truth[name] = states[name].round(4)
    return truth


def _write_records(
    out: Path,
    names: list[str],
    rate: int,
    drawn: tuple[Hearts, BeatTimes, Disturbances],
    stream: np.random.SeedSequence,
    progress: bool,
) -> None:
    """Write every record at one rate, `_CHUNK` at a time."""
    for folder in sorted({str(Path(name).parent) for name in names}):
        (out / folder).mkdir(parents=True, exist_ok=True)
    hearts, beats, noise = drawn
    starts = range(0, len(names), _CHUNK)
    # two independent streams a chunk, the same at every rate
    seeds = [
        [
            np.random.SeedSequence(stream.entropy, spawn_key=(*stream.spawn_key, 0, chunk, k))
            for k in range(2)
        ]
        for chunk in range(len(starts))
    ]
    with progress_bar(len(names), f"simulate {rate} Hz", "ECG", progress) as bar:
        for start, chunk in zip(starts, seeds, strict=True):
            rows = slice(start, min(start + _CHUNK, len(names)))
            waves, disturbance = map(np.random.default_rng, chunk)
            eight = project(vectorcardiogram(hearts.take(rows), beats.take(rows), rate, waves))
            add_disturbances(eight, noise.take(rows), rate, disturbance)
            write_wfdb(out, names[rows], digitize(twelve_leads(eight)), rate)
            bar.update(rows.stop - rows.start)


def write_wfdb(out: Path, names: Sequence[str], samples: NDArray[np.int16], rate: int) -> None:
    """Write WFDB records of format 16 (16-bit little-endian, leads interleaved) as the release has them.

    Parameters
    ----------
    out
        Root of the release; the folders of `names` must exist.
    names
        Paths below `out` without suffix, N of them.
    samples
        Shape (N, 10 * rate, 12), 1000 units per mV, leads in the order of `recording.HEADER_LEADS`.
    rate
        Samples per second.
    """
    root = str(out)
    # the checksum of a signal is the sum of its samples modulo 65536 (WFDB header(5))
    checksums = samples.sum(axis=1, dtype=np.int64) % 65536
    first = samples[:, 0].tolist()
    for name, record, start, check in zip(names, samples, first, checksums.tolist(), strict=True):
        stem = name.rsplit("/", 1)[-1]
        lines = [f"{stem} 12 {rate} {SECONDS * rate}"]
        lines += [
            f"{stem}.dat 16 1000.0(0)/mV 16 0 {a} {c} 0 {lead}"
            for a, c, lead in zip(start, check, HEADER_LEADS, strict=True)
        ]
        # unbuffered writes of whole files: opening is what costs time here
        with open(f"{root}/{name}.dat", "wb", buffering=0) as stream:
            stream.write(record.tobytes())
        with open(f"{root}/{name}.hea", "wb", buffering=0) as stream:
            stream.write(("\n".join(lines) + "\n").encode("ascii"))


FloatArray = NDArray[np.float64]

COLUMNS = (
    *("ecg_id", "patient_id", "age", "sex", "height", "weight", "nurse", "site", "device"),
    *("recording_date", "report", "scp_codes", "heart_axis"),
    *("infarction_stadium1", "infarction_stadium2", "validated_by", "second_opinion"),
    *("initial_autogenerated_report", "validated_by_human", "baseline_drift", "static_noise"),
    *("burst_noise", "electrodes_problems", "extra_beats", "pacemaker", "strat_fold"),
    *("filename_lr", "filename_hr"),
)
"""The 28 columns of PTB-XL 1.0.3, in its order."""

_ECGS = np.array([1, 2, 3, 4, 5, 6, 8])
_ECG_SHARES = np.array([0.868, 0.099, 0.021, 0.007, 0.003, 0.001, 0.001])
_DEVICES = np.array(["CS100    3", "CS-12", "AT-6 C 5.5", "CS-12   E", "AT-6     6", "AT-60    3"])
_DEVICE_SHARES = np.array([0.30, 0.20, 0.19, 0.14, 0.12, 0.05])
_INFARCTS = ("IMI", "ILMI", "IPMI", "IPLMI", "PMI", "ASMI", "AMI", "ALMI", "LMI")
_SUPERCLASS_ORDER = ("MI", "HYP", "CD", "STTC", "NORM")  # rare before common, for the folds
_BLANK = ""


def draw_people(n_patients: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draw who was recorded when.

    Returns
    -------
    DataFrame
        One row an ECG in order of `recording_date`: `patient` (0-based index), `patient_id`,
        `ecg_id` (ascending, with gaps), `age` (true, in years), `male`, `recording_date`.
    """
    ecgs = rng.choice(_ECGS, n_patients, p=_ECG_SHARES)
    patient = np.repeat(np.arange(n_patients), ecgs)
    first_age = draw_ages(n_patients, rng)
    male = (rng.uniform(size=n_patients) < 0.52).astype(float)
    numbers = rng.choice(int(n_patients * 1.15) + 10, n_patients, replace=False) + 1
    start = pd.Timestamp("1984-11-09").value // 10**9
    span = int(16.6 * 365.25 * 86_400)
    later = np.zeros(patient.size)
    repeat = np.r_[False, patient[1:] == patient[:-1]]
    later[repeat] = rng.exponential(0.9 * 365.25 * 86_400, int(repeat.sum()))
    first = rng.uniform(0, 0.9 * span, n_patients)
    groups = pd.Series(later).groupby(patient).cumsum().to_numpy()
    seconds = np.minimum((first[patient] + groups).astype(np.int64), span)
    table = pd.DataFrame(
        {
            "patient": patient,
            "patient_id": numbers[patient],
            "age": first_age[patient] + groups / (365.25 * 86_400),
            "male": male[patient],
            "seconds": start + seconds,
        }
    ).sort_values(["seconds", "patient"], kind="stable", ignore_index=True)
    table["recording_date"] = pd.to_datetime(table.pop("seconds"), unit="s").dt.strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    withdrawn = rng.uniform(size=len(table)) < 0.002  # ids are not row numbers
    table.insert(0, "ecg_id", np.arange(1, len(table) + 1) + np.cumsum(withdrawn))
    return table


def deal_folds(
    patient: NDArray[np.intp], superclasses: pd.Series, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal patients into folds 1 to 10, stratified by diagnosis and number of ECGs.

    Parameters
    ----------
    patient
        Index of the patient by ECG, shape (N,).
    superclasses
        Set of diagnostic superclasses by ECG, N entries.
    rng
        Order within a stratum.

    Returns
    -------
    int array (N,)
        Fold by ECG; all ECGs of a patient share one.
    """
    n_patients = int(patient.max()) + 1
    stratum = np.zeros((n_patients, len(_SUPERCLASS_ORDER)), dtype=int)
    for j, name in enumerate(_SUPERCLASS_ORDER):
        has = np.fromiter((name in s for s in superclasses), dtype=int, count=len(superclasses))
        np.maximum.at(stratum[:, j], patient, has)
    ecgs = np.bincount(patient, minlength=n_patients)
    order = np.lexsort((rng.uniform(size=n_patients), *stratum.T[::-1], -ecgs))
    deal = np.concatenate([rng.permutation(10) for _ in range(n_patients // 10 + 1)]) + 1
    fold = np.empty(n_patients, dtype=np.intp)
    fold[order] = deal[:n_patients]
    return fold[patient]


def axis_label(axis: FloatArray) -> NDArray[np.str_]:
    """Name the frontal axis (degrees) as `heart_axis` does."""
    conditions = [axis < -90, axis < -30, axis < 20, axis <= 95, axis <= 125]
    return np.select(conditions, ["AXR", "ALAD", "LAD", "MID", "RAD"], "ARAD")


def build_database(
    people: pd.DataFrame,
    states: pd.DataFrame,
    codes: list[dict[str, float]],
    axis: FloatArray,
    noise: Disturbances,
    superclasses: pd.Series,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Assemble the table that is written as `ptbxl_database.csv` (all columns ready for text)."""
    n = len(people)
    blank = rng.uniform(size=(8, n))
    age = np.floor(people["age"].to_numpy())
    age = np.where(age > 89, 300.0, age)
    male = people["male"].to_numpy()
    table = pd.DataFrame({"ecg_id": people["ecg_id"], "patient_id": people["patient_id"] * 1.0})
    table["age"] = age
    table["sex"] = (male == 0).astype(int)
    height = np.round(rng.normal(163 + 11 * male, 7, n))
    weight = np.round(np.clip(rng.normal(66 + 11 * male, 13, n), 35, 160))
    table["height"] = np.where(blank[0] < 0.68, np.nan, height)
    table["weight"] = np.where(blank[1] < 0.57, np.nan, weight)
    table["nurse"] = np.where(blank[2] < 0.068, np.nan, rng.choice(12, n, p=_nurse_shares()) * 1.0)
    table["site"] = np.where(
        blank[3] < 0.001, np.nan, rng.choice(6, n, p=[0.41, 0.29, 0.235, 0.035, 0.02, 0.01]) * 1.0
    )
    table["device"] = rng.choice(_DEVICES, n, p=_DEVICE_SHARES)
    table["recording_date"] = people["recording_date"]
    label = axis_label(axis)
    language = draw_languages(n, rng)
    reports = [
        write_report(code, lab, lan, rng)
        for code, lab, lan in zip(codes, label, language, strict=True)
    ]
    machine = np.array([m for _, m in reports])
    table["report"] = [text for text, _ in reports]
    table["scp_codes"] = [repr(code) for code in codes]
    table["heart_axis"] = np.where(blank[4] < 0.385, _BLANK, label)
    stage_1, stage_2 = _stages(codes, states["acute"].to_numpy(), rng)
    table["infarction_stadium1"], table["infarction_stadium2"] = stage_1, stage_2
    fold = deal_folds(people["patient"].to_numpy(), superclasses, rng)
    human = (rng.uniform(size=n) < 0.67) | (fold >= 9)  # the release checked its last folds
    doctor = rng.choice(7, n, p=[0.497, 0.417, 0.046, 0.014, 0.010, 0.008, 0.008]) * 1.0
    table["validated_by"] = np.where(blank[5] < 0.43, np.nan, doctor)
    table["second_opinion"] = rng.uniform(size=n) < 0.025
    table["initial_autogenerated_report"] = machine
    table["validated_by_human"] = human
    table = table.assign(**_noise_columns(noise, rng))
    table["extra_beats"] = _extra_beats(codes, rng)
    table["pacemaker"] = ["ja, pacemaker" if "PACE" in code else _BLANK for code in codes]
    table["strat_fold"] = fold
    for folder, suffix, column in (("100", "lr", "filename_lr"), ("500", "hr", "filename_hr")):
        table[column] = [
            f"records{folder}/{i // 1000 * 1000:05d}/{i:05d}_{suffix}" for i in people["ecg_id"]
        ]
    return table[list(COLUMNS)]


def _nurse_shares() -> FloatArray:
    shares = np.array([0.41, 0.28] + [0.031] * 10)
    return shares / shares.sum()


def _stages(
    codes: list[dict[str, float]], acute: FloatArray, rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Age of the infarct in the release's terms; the second column dates a second infarct."""
    first, second = [], []
    for code, fresh, u in zip(codes, acute, rng.uniform(size=len(codes)), strict=True):
        walls = sum(c in code for c in _INFARCTS)
        stage = _BLANK
        if walls and fresh > 0.7:
            stage = "Stadium I"
        elif walls and fresh > 0.45:
            stage = "Stadium I-II" if u < 0.1 else "Stadium II"
        elif walls and u < 0.38:
            stage = "Stadium III" if u < 0.19 else "Stadium II-III"
        elif walls or any(c.startswith("INJ") for c in code):
            stage = "unknown"
        first.append(stage)
        second.append("Stadium III" if walls > 1 and u < 0.06 else _BLANK)
    return first, second


def _noise_columns(noise: Disturbances, rng: np.random.Generator) -> dict[str, list[str]]:
    """Words for the noise that was really added, in the release's spelling."""
    n = noise.drift.size
    chest = ("", "", "V1", "V2", "V3", "V4", "V5", "V6")
    drift_places = (
        *(" , V6", " , V1", " , II-AVF", " , V3", " , V2", " , V5,V6", " , alles", " , v6"),
    )
    static_places = (
        *(" , I-AVR,  ", " , I-AVF,  ", " , alles,  ", " , I-V1,  ", " , I-V2,  "),
        *(" , I-AVL,  ", " , noisy recording,", "leicht,  ,  "),
    )
    where = rng.integers(0, 8, (2, n))
    drifting = noise.drift > 0.028 * np.exp(0.75 * 1.45)  # the upper 7.3 %
    grainy = noise.muscle > 0.0052 * np.exp(0.62 * 1.04)  # the upper 15 %
    problem = [
        f"{chest[lead]}{'???' if u < 0.3 else ''}" if lead >= 0 else _BLANK
        for lead, u in zip(noise.loose_lead, rng.uniform(size=n), strict=True)
    ]
    burst = [
        (chest[lead].lower() if u < 0.25 else chest[lead]) if lead >= 0 else _BLANK
        for lead, u in zip(noise.burst_lead, rng.uniform(size=n), strict=True)
    ]
    return {
        "baseline_drift": [
            drift_places[k] if d else _BLANK for d, k in zip(drifting, where[0], strict=True)
        ],
        "static_noise": [
            static_places[k] if g else _BLANK for g, k in zip(grainy, where[1], strict=True)
        ],
        "burst_noise": burst,
        "electrodes_problems": problem,
    }


def _extra_beats(codes: list[dict[str, float]], rng: np.random.Generator) -> list[str]:
    result = []
    for code, u in zip(codes, rng.uniform(size=len(codes)), strict=True):
        if "PVC" in code:
            result.append(("VES", "1ES", "VES1,alles", "2ES", "VES2,alles")[int(u * 5)])
        elif "PAC" in code:
            result.append("SVES")
        else:
            result.append("1ES" if u < 0.02 else _BLANK)
    return result
