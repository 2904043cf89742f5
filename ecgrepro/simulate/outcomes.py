"""Simulated follow-up: the hazard is a known function of what the ECG shows, age, sex and chance.

log h(t) = log h0(t) + b_severity * severity + b_age * (age - 60) / 10 + b_male * male
           + b_frailty * frailty,   with a Weibull baseline h0(t) = lambda * k * t^(k - 1).

`severity` is visible in the ECG, `frailty` is not: the part that no model can learn from the ECG.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.simulate.severity import severity_from_codes

FloatArray = NDArray[np.float64]

DAYS_A_MONTH = 365.25 / 12
MAX_DAYS = int(88 * DAYS_A_MONTH)
# administrative follow-up: recruitment was spread evenly over the years, the data close on one day
_ENTRY_MONTHS = (24.0, 88.0)
_DROP_OUT_PER_YEAR = 0.02
_SHAPE = 1.15  # of the Weibull distribution: the hazard rises slowly
_COLUMNS = ("patient_id", "ecg_id", "age", "sex", "severity", "frailty")
_OVER_89 = (90.0, 96.0)


@dataclass(frozen=True)
class HazardRatios:
    """Planted hazard ratios: per SD of severity, per decade of age, men to women, per SD of frailty."""

    severity: float = 2.7
    age: float = 1.35
    male: float = 1.25
    frailty: float = 1.3


DEFAULT_HAZARD = HazardRatios()


def oracle_hazards(table: pd.DataFrame, hazard: HazardRatios = DEFAULT_HAZARD) -> pd.DataFrame:
    """What a perfect model would know about each row of `table`.

    Parameters
    ----------
    table
        Columns patient_id, ecg_id, age (years, true), sex (0 male, 1 female), severity, frailty.
    hazard
        Planted hazard ratios.

    Returns
    -------
    DataFrame
        The columns of `table` and `log_hazard` (relative to a woman of 60 with severity and frailty
        0) and `log_hazard_ecg`, the part that the ECG carries: log(hazard.severity) * severity.

    Raises
    ------
    InputError
        When a column is missing, a value is not finite, or a hazard ratio is not positive.
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
    ratios = (hazard.severity, hazard.age, hazard.male, hazard.frailty)
    if min(ratios) <= 0:
        raise InputError(f"hazard ratios are {ratios}: each must be above 0 (1 means no effect).")
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
    hazard: HazardRatios = DEFAULT_HAZARD,
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
    hazard
        Planted hazard ratios.

    Returns
    -------
    DataFrame
        patient_id, ecg_id, time (whole days, 1 to 2678), event (1 event, 0 censored), age, sex. What
        a model may not see is in `oracle_hazards(table, hazard)`, in the same order of rows.

    Raises
    ------
    InputError
        For an event rate outside (0, 1), an empty table, and as in `oracle_hazards`.
    """
    if not 0 < event_rate < 1:
        raise InputError(f"event_rate is {event_rate}: it must lie between 0 and 1.")
    if len(table) < 2:
        raise InputError(f"the table to plant outcomes on has {len(table)} rows: give at least 2.")
    truth = oracle_hazards(table, hazard)
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
    raw = np.array([_severity(codes) for codes in first["scp_codes"]], dtype=float)
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


def _severity(codes: object) -> float:
    if not isinstance(codes, Mapping):
        raise InputError(f"scp_codes holds {codes!r}, not a dict: parse the column first.")
    return severity_from_codes(codes)
