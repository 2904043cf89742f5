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
from ecgrepro.simulate.disease import NAMES, draw_states
from ecgrepro.simulate.heart import Hearts, build_hearts, frontal_axis
from ecgrepro.simulate.metadata import build_database, draw_patients
from ecgrepro.simulate.noise import Disturbances, add_disturbances, draw_disturbances
from ecgrepro.simulate.recording import (
    LEADS,
    SECONDS,
    digitize,
    project,
    twelve_leads,
    vectorcardiogram,
)
from ecgrepro.simulate.rhythm import Beats, draw_beats
from ecgrepro.simulate.severity import visible_severity

log = logging.getLogger(__name__)

_CHUNK = 128  # part of what the bytes depend on: random numbers are drawn by chunk
_SUFFIX = {100: "lr", 500: "hr"}
_STREAMS = (
    "people",
    "states",
    "beats",
    "hearts",
    "noise",
    "codes",
    "metadata",
    "frailty",
    "signal",
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

    people = draw_patients(n_patients, rng["people"])
    states = draw_states(
        people["patient"].to_numpy(),
        people["age"].to_numpy(),
        people["male"].to_numpy(),
        rng["states"],
    )
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
        _write_records(out, names, rate, hearts, beats, noise, streams["signal"], progress)
    statements = resources.files("ecgrepro.simulate") / "scp_statements.csv"
    with atomic_path(out / "scp_statements.csv") as temporary:
        temporary.write_bytes(statements.read_bytes())
    frailty = rng["frailty"].standard_normal(n_patients)[people["patient"].to_numpy()]
    _write_csv(out / "truth.csv", _truth(people, states, axis, frailty))
    _write_csv(out / "ptbxl_database.csv", database)
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


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _write_records(
    out: Path,
    names: list[str],
    rate: int,
    hearts: Hearts,
    beats: Beats,
    noise: Disturbances,
    stream: np.random.SeedSequence,
    progress: bool,
) -> None:
    """Write every record at one rate, `_CHUNK` at a time."""
    for folder in sorted({str(Path(name).parent) for name in names}):
        (out / folder).mkdir(parents=True, exist_ok=True)
    starts = range(0, len(names), _CHUNK)
    children = np.random.SeedSequence(stream.entropy, spawn_key=(*stream.spawn_key, 0)).spawn(
        len(starts)
    )
    with progress_bar(len(names), f"simulate {rate} Hz", "ECG", progress) as bar:
        for start, child in zip(starts, children, strict=True):
            rows = slice(start, min(start + _CHUNK, len(names)))
            waves, disturbance = (np.random.default_rng(c) for c in _twins(child))
            eight = project(vectorcardiogram(hearts.take(rows), beats.take(rows), rate, waves))
            add_disturbances(eight, noise.take(rows), rate, disturbance)
            write_wfdb(out, names[rows], digitize(twelve_leads(eight)), rate)
            bar.update(rows.stop - rows.start)


def _twins(child: np.random.SeedSequence) -> list[np.random.SeedSequence]:
    """Two independent streams of one chunk, the same at every rate."""
    return [
        np.random.SeedSequence(child.entropy, spawn_key=(*child.spawn_key, k)) for k in range(2)
    ]


def write_wfdb(out: Path, names: Sequence[str], samples: NDArray[np.int16], rate: int) -> None:
    """Write WFDB records of format 16 (16-bit little-endian, leads interleaved) as the release has them.

    Parameters
    ----------
    out
        Root of the release; the folders of `names` must exist.
    names
        Paths below `out` without suffix, N of them.
    samples
        Shape (N, 10 * rate, 12), 1000 units per mV, leads in the order of `recording.LEADS`.
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
            for a, c, lead in zip(start, check, LEADS, strict=True)
        ]
        # unbuffered writes of whole files: opening is what costs time here
        with open(f"{root}/{name}.dat", "wb", buffering=0) as stream:
            stream.write(record.tobytes())
        with open(f"{root}/{name}.hea", "wb", buffering=0) as stream:
            stream.write(("\n".join(lines) + "\n").encode("ascii"))
