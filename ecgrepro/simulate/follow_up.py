"""Follow-up tables of a simulated release: cohorts shaped like the study's, and a negative control."""

import ast
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path, write_json
from ecgrepro.simulate.coding import read_statements
from ecgrepro.simulate.outcomes import (
    DEFAULT_HAZARD,
    null_outcomes,
    oracle_hazards,
    plant_outcomes,
)

log = logging.getLogger(__name__)

# recruited as a cohort study does (UK Biobank's imaging visit: 44 to 82 years)
_AGES = (40.0, 81.0)
_MIN_SIZE = 20
_STREAMS = ("learning", "hyp", "mi", "null")


def write_cohorts(
    release_dir: Path,
    seed: int,
    *,
    learning_size: int = 3000,
    learning_event_rate: float = 0.4,
    hyp_size: int = 11_575,
    hyp_event_rate: float = 0.014,
    mi_size: int = 800,
    mi_event_rate: float = 0.04,
) -> None:
    """Write simulated follow-up tables beside a simulated release.

    Each has one row a patient (the first ECG): patient_id, ecg_id, time (days), event, age (whole
    years), sex. All are recruited at 40 to 80 years. `learning.csv` is drawn from all of them, `hyp.csv`
    from hypertensive ones, `mi.csv` from those whose first ECG has an infarct code, `null.csv` has the
    patients of `learning.csv` with their outcomes dealt anew. `truth.csv` (by cohort: true age,
    severity, frailty, log_hazard, log_hazard_ecg) and `hazard_ratios.json` are for checking only.

    Parameters
    ----------
    release_dir
        Folder written by `write_release`.
    seed
        Choice of patients and outcomes.
    learning_size, hyp_size, mi_size
        Wanted numbers of patients; cut, with a message in the log, when the release has fewer.
    learning_event_rate, hyp_event_rate, mi_event_rate
        Share with an event; the number of events is exactly round(rate * size), at least 1.

    Raises
    ------
    InputError
        When the folder has no `truth.csv` (not simulated) or a cohort has fewer than 20 patients.
    """
    release_dir = Path(release_dir)
    patients = _first_ecgs(release_dir)
    seeds = np.random.SeedSequence(seed).generate_state(2 * len(_STREAMS)).tolist()
    seed_of = {name: tuple(seeds[2 * k : 2 * k + 2]) for k, name in enumerate(_STREAMS)}
    plans = {
        "learning": (np.ones(len(patients), dtype=bool), learning_size, learning_event_rate),
        "hyp": (patients["hypertension"].to_numpy() == 1, hyp_size, hyp_event_rate),
        "mi": (patients["infarct"].to_numpy(), mi_size, mi_event_rate),
    }
    tables: dict[str, pd.DataFrame] = {}
    truths, facts = [], {}
    for name, (eligible, size, rate) in plans.items():
        chosen = _choose(patients[eligible], name, size, seed_of[name][0])
        tables[name] = plant_outcomes(chosen, seed=seed_of[name][1], event_rate=rate)
        truth = oracle_hazards(chosen)
        truth.insert(0, "cohort", name)
        truths.append(truth)
    tables["null"] = null_outcomes(tables["learning"], seed=seed_of["null"][0])
    folder = release_dir / "follow_up"
    for name, table in tables.items():
        facts[name] = {"patients": len(table), "events": int(table["event"].sum())}
        table["age"] = np.floor(table["age"])
        _write(folder / f"{name}.csv", table)
    _write(folder / "truth.csv", pd.concat(truths, ignore_index=True).round(5))
    write_json(
        folder / "hazard_ratios.json",
        {
            "simulated": True,
            "hazard_ratios": asdict(DEFAULT_HAZARD),
            "units": {
                "severity": "per SD of what the ECG shows",
                "age": "per 10 years",
                "male": "men to women",
                "frailty": "per SD of what no ECG shows",
            },
            "null_hazard_ratios": dict.fromkeys(asdict(DEFAULT_HAZARD), 1.0),
            "cohorts": facts,
        },
    )


def _first_ecgs(release_dir: Path) -> pd.DataFrame:
    """Truth of the first ECG of each patient, with `infarct` read from its codes."""
    for name in ("truth.csv", "ptbxl_database.csv"):
        if not (release_dir / name).is_file():
            raise InputError(
                f"{release_dir / name} is missing: follow-up can only be simulated beside a release "
                "that simulate.write_release has written whole."
            )
    truth = pd.read_csv(release_dir / "truth.csv")
    codes = pd.read_csv(release_dir / "ptbxl_database.csv", usecols=["ecg_id", "scp_codes"])
    diagnostic_class = read_statements()["diagnostic_class"]
    infarcts = set(diagnostic_class.index[diagnostic_class == "MI"])
    has_infarct = codes["scp_codes"].map(
        lambda text: not infarcts.isdisjoint(ast.literal_eval(text))
    )
    truth["infarct"] = truth["ecg_id"].map(dict(zip(codes["ecg_id"], has_infarct, strict=True)))
    truth = truth.sort_values("ecg_id", ignore_index=True)
    first = truth[~truth["patient_id"].duplicated()]
    return first[first["age"].between(*_AGES, inclusive="left")].reset_index(drop=True)


def _choose(eligible: pd.DataFrame, name: str, size: int, seed: int) -> pd.DataFrame:
    if len(eligible) < _MIN_SIZE:
        raise InputError(
            f"cohort {name} would have {len(eligible)} patients: simulate a release with more than "
            f"{_MIN_SIZE} eligible ones."
        )
    if size > len(eligible):
        log.warning("cohort %s: %d patients wanted, the release has %d", name, size, len(eligible))
    rows = np.random.default_rng(seed).permutation(len(eligible))[:size]
    return eligible.iloc[np.sort(rows)].reset_index(drop=True)


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
