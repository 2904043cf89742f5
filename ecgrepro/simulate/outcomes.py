"""How ill an ECG looks, and a simulated follow-up whose hazard is a known function of it, of age, sex and chance.

log h(t) = log h0(t) + b_severity * severity + b_age * (age - 60) / 10 + b_male * male
           + b_frailty * frailty,   with a Weibull baseline h0(t) = lambda * k * t^(k - 1).

`severity` is visible in the ECG, `frailty` is not: the part that no model can learn from the ECG.
"""

import ast
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.simulate.coding import read_statements
from ecgrepro.simulate.disease import (
    DISEASES,
    INJURY_REGIONS,
    ISCHEMIA_REGIONS,
    draw_ages,
    draw_states,
)

FloatArray = NDArray[np.float64]

log = logging.getLogger(__name__)

DAYS_A_MONTH = 365.25 / 12
MAX_DAYS = int(88 * DAYS_A_MONTH)
# administrative follow-up: recruitment was spread evenly over the years, the data close on one day
_ENTRY_MONTHS = (24.0, 88.0)
_DROP_OUT_PER_YEAR = 0.02
_SHAPE = 1.15  # of the Weibull distribution: the hazard rises slowly
_COLUMNS = ("patient_id", "ecg_id", "age", "sex", "severity", "frailty")
_OVER_89 = (90.0, 96.0)
# recruited as a cohort study does (UK Biobank's imaging visit: 44 to 82 years)
_AGES = (40.0, 81.0)
_MIN_SIZE = 20
_HYP_SIZE = 11_575  # of the study's UKB-HYP
_STREAMS = ("learning", "hyp", "mi", "null")

_RATE_WEIGHT = 0.30  # per 12 beats/min above 72, clipped to 48 below and 126 above
_QRS_WEIGHT = 0.10  # per 10 ms above 92
_T_WEIGHT = 0.25  # per unit of the flatness that everybody has some of
_CEILING = 4.5  # SDs: nobody is infinitely ill
_TYPICAL = 0.75  # mean severity of a coded case: what a code says about the size of its disease

_CODES: dict[str, tuple[str, ...]] = {
    "IMI": ("inferior",),
    "ILMI": ("inferior", "lateral"),
    "IPMI": ("inferior", "posterior"),
    "IPLMI": ("inferior", "posterior", "lateral"),
    "ASMI": ("anteroseptal",),
    "ALMI": ("anterior", "lateral"),
    **{f"INJ{region}": ("injury",) for region in INJURY_REGIONS},
    **{f"ISC{region or '_'}": ("ischemia",) for region in ISCHEMIA_REGIONS},
    **dict.fromkeys(("NDT", "NT_", "LOWT", "TAB_"), ("flat_t",)),
    **dict.fromkeys(("CRBBB", "IRBBB"), ("rbbb",)),
    **dict.fromkeys(("CLBBB", "ILBBB"), ("lbbb",)),
    "PMI": ("posterior",),
    "AMI": ("anterior",),
    "LMI": ("lateral",),
    "DIG": ("digitalis",),
    "LNGQT": ("long_qt",),
    "EL": ("electrolyte",),
    "ANEUR": ("aneurysm",),
    "LVH": ("lvh",),
    "RVH": ("rvh",),
    "LAO/LAE": ("left_atrium",),
    "LAFB": ("lafb",),
    "LPFB": ("lpfb",),
    "IVCD": ("ivcd",),
    "1AVB": ("av_delay",),
    "2AVB": ("avb2",),
    "3AVB": ("avb3",),
    "AFIB": ("fibrillation",),
    "AFLT": ("flutter",),
    "PACE": ("paced",),
    "PVC": ("pvc",),
}
"""The latent diseases that a code tells of."""
_RATE_CODES = {"STACH": 110.0, "SBRAD": 47.0, "SVTAC": 126.0, "PSVT": 126.0}
_PARTIAL = {"IRBBB": 0.6, "ILBBB": 0.5}
_WEIGHTS = {disease.name: disease.weight for disease in DISEASES}


@dataclass(frozen=True)
class HazardRatios:
    """Planted hazard ratios: per SD of severity, per decade of age, men to women, per SD of frailty."""

    severity: float = 2.7
    age: float = 1.35
    male: float = 1.25
    frailty: float = 1.3


def oracle_hazards(table: pd.DataFrame) -> pd.DataFrame:
    """What a perfect model would know about each row of `table`.

    Parameters
    ----------
    table
        Columns patient_id, ecg_id, age (years, true), sex (0 male, 1 female), severity, frailty.

    Returns
    -------
    DataFrame
        The columns of `table` and `log_hazard` (relative to a woman of 60 with severity and frailty
        0) and `log_hazard_ecg`, the part that the ECG carries: log hazard ratio * severity.

    Raises
    ------
    InputError
        When a column is missing or a value is not finite.
    """
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing from the table to plant outcomes on: add it."
        )
    for name in ("age", "sex", "severity", "frailty"):
        bad = ~np.isfinite(table[name].to_numpy(dtype=float))
        if bad.any():
            ecg = table["ecg_id"].iloc[int(np.argmax(bad))]
            raise InputError(f"{name} of ecg_id {ecg} is not a number: fill it in or drop the row.")
    hazard = HazardRatios()
    ratios = (hazard.severity, hazard.age, hazard.male, hazard.frailty)
    b_severity, b_age, b_male, b_frailty = np.log(ratios)
    result = table[list(_COLUMNS)].reset_index(drop=True)
    result["log_hazard_ecg"] = b_severity * result["severity"]
    result["log_hazard"] = (
        result["log_hazard_ecg"]
        + b_age * (result["age"] - 60.0) / 10.0
        + b_male * (result["sex"] == 0)
        + b_frailty * result["frailty"]
    )
    return result


def plant_outcomes(
    table: pd.DataFrame,
    *,
    seed: int,
    event_rate: float,
) -> pd.DataFrame:
    """Draw simulated event times for each row of a table.

    The baseline hazard is chosen so that exactly round(event_rate * n) events are observed: with the
    random numbers fixed, subject i has an event before its censoring time c_i if and only if lambda
    exceeds e_i / (exp(log h_i) c_i^k), e_i being standard exponential; lambda lies between the m-th
    and (m+1)-th smallest of these values.

    Parameters
    ----------
    table
        See `oracle_hazards`; one row a subject.
    seed
        Equal seeds give equal outcomes.
    event_rate
        Share of subjects with an observed event, above 0 and below 1.

    Returns
    -------
    DataFrame
        patient_id, ecg_id, time (whole days, 1 to 2678), event (1 event, 0 censored), age, sex. What
        a model may not see is in `oracle_hazards(table)`, in the same order of rows.

    Raises
    ------
    InputError
        For an event rate outside (0, 1), an empty table, and as in `oracle_hazards`.
    """
    if not 0 < event_rate < 1:
        raise InputError(f"event_rate is {event_rate}: it must lie between 0 and 1.")
    if len(table) < 2:
        raise InputError(f"the table to plant outcomes on has {len(table)} rows: give at least 2.")
    truth = oracle_hazards(table)
    n = len(truth)
    rng = np.random.default_rng(seed)
    entry = rng.uniform(*_ENTRY_MONTHS, n) * DAYS_A_MONTH
    drop_out = rng.exponential(365.25 / _DROP_OUT_PER_YEAR, n)
    censored = np.clip(np.minimum(entry, drop_out), 1.0, MAX_DAYS)
    risk = np.exp(truth["log_hazard"].to_numpy())
    unit = rng.exponential(1.0, n)
    critical = np.sort(unit / (risk * censored**_SHAPE))
    events = int(np.clip(round(event_rate * n), 1, n - 1))
    scale = 0.5 * (critical[events - 1] + critical[events])
    failed = (unit / (risk * scale)) ** (1 / _SHAPE)
    event = failed <= censored
    time = np.ceil(np.minimum(failed, censored)).clip(1, MAX_DAYS)
    return pd.DataFrame(
        {
            "patient_id": truth["patient_id"],
            "ecg_id": truth["ecg_id"],
            "time": time.astype(int),
            "event": event.astype(int),
            "age": truth["age"],
            "sex": truth["sex"].astype(int),
        }
    )


def null_outcomes(follow_up: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Deal the (time, event) pairs of a follow-up table anew: the negative control.

    Both marginal distributions stay; nothing links an outcome to an ECG, an age or a sex any more.
    """
    order = np.random.default_rng(seed).permutation(len(follow_up))
    result = follow_up.copy()
    result[["time", "event"]] = follow_up[["time", "event"]].to_numpy()[order]
    return result


def plantable_table(index: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Make the table that `plant_outcomes` needs from the index of a genuine (or simulated) release.

    An outcome planted on genuine ECGs is semi-synthetic: always call it simulated.

    Parameters
    ----------
    index
        By ecg_id, with columns patient_id, age (NaN or 300 where over 89), sex, and scp_codes (dicts).
    seed
        Draws the frailty, and an age of 90 to 96 for those over 89.

    Returns
    -------
    DataFrame
        The first ECG (lowest ecg_id) of each patient: patient_id, ecg_id, age, sex, severity (from
        codes, standardised over these rows) and frailty.
    """
    missing = [n for n in ("patient_id", "age", "sex", "scp_codes") if n not in index.columns]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing from the index: open it as a release.")
    first = index.sort_index()
    first = first[~first["patient_id"].duplicated()]
    rng = np.random.default_rng(seed)
    age = first["age"].to_numpy(dtype=float)
    old = rng.uniform(*_OVER_89, len(first))
    age = np.where(np.isnan(age) | (age > 89), old, age)
    raw = np.array([severity_from_codes(codes) for codes in first["scp_codes"]], dtype=float)
    spread = raw.std() if raw.size else 0.0
    severity = (raw - raw.mean()) / spread if spread > 0 else np.zeros(raw.size)
    return pd.DataFrame(
        {
            "patient_id": first["patient_id"].to_numpy().astype(int),
            "ecg_id": first.index.to_numpy().astype(int),
            "age": age,
            "sex": first["sex"].to_numpy().astype(int),
            "severity": severity,
            "frailty": rng.standard_normal(len(first)),
        }
    )


def write_cohorts(
    release_dir: Path,
    seed: int,
    *,
    learning_size: int = 3000,
    learning_event_rate: float = 0.4,
    hyp_event_rate: float = 0.014,
    mi_size: int = 800,
    mi_event_rate: float = 0.04,
) -> None:
    """Write simulated follow-up tables beside a simulated release.

    Each has one row a patient (the first ECG): patient_id, ecg_id, time (days), event, age (whole
    years), sex. All are recruited at 40 to 80 years. `learning.csv` is drawn from all of them, `hyp.csv`
    from hypertensive ones, `mi.csv` from those whose first ECG has an infarct code, `null.csv` has the
    patients of `learning.csv` with their outcomes dealt anew. `truth.csv` (by cohort: true age,
    severity, frailty, log_hazard, log_hazard_ecg) is for checking only.

    Parameters
    ----------
    release_dir
        Folder written by `write_release`.
    seed
        Choice of patients and outcomes.
    learning_size, mi_size
        Wanted numbers of patients (of hyp.csv: 11,575, as in the study); cut, with a message in the log, when the
        release has fewer.
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
        "hyp": (patients["hypertension"].to_numpy() == 1, _HYP_SIZE, hyp_event_rate),
        "mi": (patients["infarct"].to_numpy(), mi_size, mi_event_rate),
    }
    tables: dict[str, pd.DataFrame] = {}
    truths = []
    for name, (eligible, size, rate) in plans.items():
        chosen = _choose(patients[eligible], name, size, seed_of[name][0])
        tables[name] = plant_outcomes(chosen, seed=seed_of[name][1], event_rate=rate)
        truth = oracle_hazards(chosen)
        truth.insert(0, "cohort", name)
        truths.append(truth)
    tables["null"] = null_outcomes(tables["learning"], seed=seed_of["null"][0])
    folder = release_dir / "follow_up"
    for name, table in tables.items():
        table["age"] = np.floor(table["age"])
        write_csv(folder / f"{name}.csv", table)
    write_csv(folder / "truth.csv", pd.concat(truths, ignore_index=True).round(5))


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


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole or not at all, without its index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _raw(states: pd.DataFrame) -> FloatArray:
    total = np.zeros(len(states))
    for disease in DISEASES:
        name, s = disease.name, states[disease.name].to_numpy()
        if name in ("fibrillation", "flutter", "paced", "avb2", "avb3"):
            s = np.where(states["rhythm"].to_numpy() == name, 0.35 + 0.65 * s, 0.0)
        total += disease.weight * s
    rate = states["heart_rate"].to_numpy().clip(48, 126)
    own_width = (states["qrs_ms"].to_numpy() - 92.0) / 10.0
    total += _RATE_WEIGHT * (rate - 72) / 12 + _QRS_WEIGHT * own_width
    return total + _T_WEIGHT * states["x_flat_t"].to_numpy().clip(-6, 1.6)


@lru_cache(maxsize=1)
def _location_and_scale() -> tuple[float, float]:
    """Mean and SD of the weighted sum in a fixed reference population."""
    rng = np.random.default_rng(20_250_612)
    n = 30_000
    age = draw_ages(n, rng)
    male = (rng.uniform(size=n) < 0.52).astype(float)
    raw = _raw(draw_states(np.arange(n), age, male, rng))
    return float(raw.mean()), float(raw.std())


def visible_severity(states: pd.DataFrame) -> FloatArray:
    """Weighted sum of latent severities, with mean 0 and SD 1 over the simulated population, at most 4.5;
    shape (N,)."""
    mean, sd = _location_and_scale()
    return np.minimum((_raw(states) - mean) / sd, _CEILING)


def severity_from_codes(scp_codes: Mapping[str, float]) -> float:
    """Apply the same weights to the SCP codes of a record, for planting a simulated outcome on it.

    Parameters
    ----------
    scp_codes
        Code to confidence in percent; 0 means that the confidence is unknown and counts as 100.

    Returns
    -------
    float
        On the scale of `visible_severity`, as far as codes can tell. Codes without a weight
        (normal, sinus rhythm, voltage) add nothing.
    """
    size: dict[str, float] = {}
    total = _T_WEIGHT * -0.85  # the usual flatness (below onset) of somebody without T changes
    for code, confidence in scp_codes.items():
        certainty = (confidence if confidence > 0 else 100.0) / 100.0
        for name in _CODES.get(code, ()):
            s = _TYPICAL * certainty * _PARTIAL.get(code, 1.0)
            size[name] = max(size.get(name, 0.0), s)
        if code in _RATE_CODES:
            total += _RATE_WEIGHT * (_RATE_CODES[code] - 72) / 12
    total += sum(_WEIGHTS[name] * s for name, s in size.items())
    mean, sd = _location_and_scale()
    return (total - mean) / sd
