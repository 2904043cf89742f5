"""MUSIC: 992 patients with chronic heart failure, clinical covariates, and how each left the study.

PhysioNet ``music-sudden-cardiac-death`` 1.0.1 (Martin-Yebra and others 2024, doi 10.13026/cec2-9w70; ODbL):
``subject-info.csv``, separated by semicolons, with decimal commas. Its ECGs are 3-lead Holter and XYZ recordings,
not 12-lead, so the cohort serves clinical covariates and competing risks.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro.cohorts.schema import Cohort, refuse, refuse_values, validate_follow_up
from ecgrepro.errors import InputError

CSV = "subject-info.csv"
PATIENT, FOLLOW_UP = "Patient ID", "Follow-up period from enrollment (days)"
EXIT, CAUSE = "Exit of the study", "Cause of death"
AGE, MALE = "Age", "Gender (male=1)"

SURVIVED, LOST, TRANSPLANTED, DIED = 0, 1, 2, 3
"""Codes of `EXIT`; survivors are left blank in the release, with cause 0."""

NO_DEATH, NON_CARDIAC, SUDDEN, PUMP_FAILURE = 0, 1, 3, (6, 7)
"""Codes of `CAUSE`."""

OUTCOMES = {
    "all_cause": (NON_CARDIAC, SUDDEN, *PUMP_FAILURE),
    "cardiac": (SUDDEN, *PUMP_FAILURE),
    "sudden": (SUDDEN,),
    "pump_failure": PUMP_FAILURE,
}
"""Outcome: the causes of death that count as the event."""

LEAKING = (FOLLOW_UP, "days_4years", EXIT, CAUSE)
"""Columns that tell the outcome, never covariates."""

UNUSABLE = ("Number of ventricular premature contractions per hour", "Holter onset (hh:mm:ss)")
"""The first lost its decimal point in export (it is the 24 h count divided by 24); the second is a time of day."""

OLDEST = 90.0
"""Years given for ages that the release writes as ``>89``."""


def read_music(folder: Path | str, outcome: str = "cardiac") -> Cohort:
    """Read the cohort for one outcome.

    Parameters
    ----------
    folder
        Holds ``subject-info.csv``.
    outcome
        ``"cardiac"`` (sudden or pump failure: the study's primary outcome), ``"all_cause"``, ``"sudden"`` or
        ``"pump_failure"``. Another death, or a transplant, is the competing event; lost and surviving patients are
        censored.

    Returns
    -------
    Cohort
        Covariates keep the release's names, as numbers (NaN where empty); sex 0 male, 1 female. Columns that tell the
        outcome are removed.

    Raises
    ------
    InputError
        If the file or a column is missing, a cell is no number, or a code is unknown; file, row, column are named.
    """
    if outcome not in OUTCOMES:
        raise InputError(f"outcome is {outcome!r}: use one of {', '.join(OUTCOMES)}.")
    file = Path(folder) / CSV
    raw = _read_text(file)
    numbers = {name: _numbers(raw[name], file.name) for name in (FOLLOW_UP, EXIT, CAUSE, MALE)}
    left, cause = numbers[EXIT].fillna(SURVIVED), numbers[CAUSE].fillna(NO_DEATH)
    _check_codes(left, cause, raw, file.name)

    event = (left == DIED) & cause.isin(OUTCOMES[outcome])
    table = pd.DataFrame(
        {
            "patient_id": raw[PATIENT],
            "time": numbers[FOLLOW_UP],
            "event": event.astype(int),
            "competing": (left.isin([DIED, TRANSPLANTED]) & ~event).astype(int),
            "age": _numbers(
                raw[AGE].str.replace(r"^>\s*89$", f"{OLDEST:g}", regex=True), file.name
            ),
            "sex": 1 - numbers[MALE],
        }
    )
    known = {PATIENT, AGE, MALE, *LEAKING, *UNUSABLE}
    covariates = {name: _numbers(raw[name], file.name) for name in raw.columns if name not in known}
    checked = validate_follow_up(
        pd.concat([table, pd.DataFrame(covariates, index=raw.index)], axis=1),
        file.name,
        zero_time="half_day",
        needs_ecg=False,
    )
    label = f"MUSIC (PhysioNet 1.0.1), {outcome.replace('_', ' ')} death"
    return Cohort(
        "MUSIC", checked, label, restricted=False, simulated=False, flow=(("patients", len(raw)),)
    )


def _read_text(file: Path) -> pd.DataFrame:
    """Return all cells as text, headers without stray spaces (the release has "ECG rhythm " and the like)."""
    try:
        raw = pd.read_csv(file, sep=";", dtype=str, encoding="utf-8-sig", encoding_errors="replace")
    except FileNotFoundError:
        raise InputError(f"{file} is missing: download it from PhysioNet.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(
            f"{file} is not a readable csv ({' '.join(str(error).split())})."
        ) from None
    raw.columns = [" ".join(str(name).split()) for name in raw.columns]
    raw = raw.loc[:, [not name.startswith("Unnamed") for name in raw.columns]]
    missing = [n for n in (PATIENT, FOLLOW_UP, EXIT, CAUSE, AGE, MALE) if n not in raw.columns]
    if missing:
        raise InputError(
            f"{file} has no column {', '.join(missing)}: it must be the release's file, separated by semicolons."
        )
    if len(raw) == 0:
        raise InputError(f"{file} has no rows: the cohort is empty.")
    return raw.apply(lambda column: column.str.strip().str.strip("'"))


def _numbers(column: pd.Series, source: str) -> pd.Series:
    """Return the column as float64, decimal commas read; empty and NA cells are NaN."""
    text = column.mask(column.str.upper().isin(["", "NA", "NAN"]))
    numbers = pd.to_numeric(text.str.replace(",", "."), errors="coerce").astype(np.float64)
    strange = numbers.isna() & text.notna()
    refuse_values(strange, source, text, "a number with at most one decimal comma is needed")
    return numbers


def _check_codes(left: pd.Series, cause: pd.Series, raw: pd.DataFrame, source: str) -> None:
    """Refuse codes that the release does not define, and deaths without a cause."""
    for name, values, known in (
        (EXIT, left, (SURVIVED, LOST, TRANSPLANTED, DIED)),
        (CAUSE, cause, (NO_DEATH, *OUTCOMES["all_cause"])),
    ):
        refuse_values(
            ~values.isin(known), source, raw[name], f"known codes are {', '.join(map(str, known))}"
        )
    for wrong, words in (
        ((left == DIED) & (cause == NO_DEATH), "gives no cause for a death"),
        ((left != DIED) & (cause != NO_DEATH), "gives a cause for a patient who did not die"),
    ):
        refuse(wrong, source, CAUSE, words, "correct one of the two codes")
