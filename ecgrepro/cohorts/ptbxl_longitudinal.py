"""Time to a new ECG finding, from ``ptbxl_database.csv`` alone: real follow-up, available at once, selected.

About 2,100 of PTB-XL's 18,900 patients have several recordings. For each, the clock starts at the first ECG and stops
at the first later one that shows the finding, or at the last one.
"""

from collections.abc import Collection

import pandas as pd

from ecgrepro.cohorts.schema import Cohort, days_between, validate_follow_up
from ecgrepro.errors import InputError

FINDINGS = {
    "atrial fibrillation": ("AFIB", "AFLT"),
    "bundle branch block": ("CLBBB", "ILBBB", "CRBBB", "IRBBB"),
    "left ventricular hypertrophy": ("LVH",),
    "ST-T change": (
        *("NST_", "NDT", "STD_", "ISC_"),
        *("ISCAL", "ISCAN", "ISCAS", "ISCIL", "ISCIN", "ISCLA"),
    ),
    "myocardial infarction": (
        *("AMI", "ASMI", "ALMI", "LMI", "IMI", "ILMI", "IPMI", "IPLMI", "PMI"),
        *("INJAL", "INJAS", "INJIL", "INJIN", "INJLA"),
    ),
}
"""A few findings by their SCP codes; any other set of codes will do."""

SELECTION_BIAS = (
    "Patients are followed only by the ECGs that somebody chose to record: a second ECG is taken because something was "
    "suspected, so those with one are sicker than those without, censoring depends on the disease, and the time of "
    "a finding is the time of its recording, not of its onset. Risks from this table describe re-recorded patients, "
    "and no one else."
)
"""To be shown wherever this cohort is."""

_NEEDED = ("patient_id", "recording_date", "scp_codes", "age", "sex", "strat_fold")


def time_to_finding(
    index: pd.DataFrame, finding: str, codes: Collection[str] | None = None
) -> Cohort:
    """Build the time from a first ECG without a finding to the first later ECG with it.

    A statement counts at any likelihood (0 means unknown in PTB-XL, not absent). ECGs of the first day belong to the
    baseline: a patient who shows the finding on that day is prevalent and left out.

    Parameters
    ----------
    index
        As ``ptbxl.open_release(...).index``: by ecg_id, with patient_id, recording_date, scp_codes (dicts), age, sex,
        strat_fold.
    finding
        A key of `FINDINGS`, or any name when `codes` are given.
    codes
        SCP codes that count as the finding.

    Returns
    -------
    Cohort
        ``ecg_id`` is the baseline ECG; ``fold`` is PTB-XL's own; ``later_ecgs`` counts the recordings that a patient
        was followed by. `Cohort.flow` says who was left out; show `SELECTION_BIAS` beside it.

    Raises
    ------
    InputError
        If the finding is unknown or never seen anew, or a column is missing.
    """
    wanted = set(codes if codes is not None else FINDINGS.get(finding, ()))
    if not wanted:
        raise InputError(
            f"finding is {finding!r}: use one of {', '.join(FINDINGS)}, or give its SCP codes."
        )
    missing = [name for name in _NEEDED if name not in index.columns]
    if missing:
        raise InputError(f"The index has no column {', '.join(missing)}: use PTB-XL's index.")
    ecgs = index.reset_index()[["ecg_id", *_NEEDED]].copy()
    flow = [("patients", int(ecgs["patient_id"].nunique()))]
    ecgs = ecgs[ecgs["patient_id"].notna() & ecgs["recording_date"].notna()]
    ecgs["shown"] = [bool(wanted & set(record)) for record in ecgs["scp_codes"]]
    ecgs["day"] = ecgs["recording_date"].dt.normalize()
    ecgs = ecgs.sort_values(["patient_id", "recording_date", "ecg_id"])

    first_day = ecgs.groupby("patient_id")["day"].transform("min")
    ecgs["later"] = ecgs["day"] > first_day
    ecgs["first_day"] = first_day
    followed = ecgs[ecgs.groupby("patient_id")["later"].transform("any")]
    flow.append(("with an ECG on a later day", int(followed["patient_id"].nunique())))
    shown_at_first = (followed["shown"] & ~followed["later"]).groupby(followed["patient_id"])
    at_risk = followed[~shown_at_first.transform("any")]
    flow.append((f"without {finding} on the first day", int(at_risk["patient_id"].nunique())))

    table = at_risk.groupby("patient_id").first()
    later = at_risk[at_risk["later"]]
    seen = later[later["shown"]].groupby("patient_id")["day"].min()
    stop = seen.reindex(table.index).fillna(later.groupby("patient_id")["day"].max())
    rows = pd.DataFrame(
        {
            "patient_id": table.index.astype("int64"),
            "ecg_id": table["ecg_id"].to_numpy(),
            "time": days_between(table["first_day"], stop).to_numpy(),
            "event": table.index.isin(seen.index).astype(int),
            "age": table["age"].to_numpy(),
            "sex": table["sex"].to_numpy(),
            "fold": table["strat_fold"].to_numpy(),
            "later_ecgs": later.groupby("patient_id").size().reindex(table.index).to_numpy(),
        }
    )
    checked = validate_follow_up(rows, f"ptbxl_database.csv (time to {finding})")
    label = f"PTB-XL, first recording of {finding} on a later ECG"
    return Cohort("PTB-XL", checked, label, restricted=False, simulated=False, flow=tuple(flow))


def longitudinal_cohorts(index: pd.DataFrame) -> dict[str, Cohort]:
    """Return `time_to_finding` for each of `FINDINGS`, by name; one that is never seen anew is left out."""
    found = {}
    for finding in FINDINGS:
        try:
            found[finding] = time_to_finding(index, finding)
        except InputError:  # all censored, or nobody is followed: nothing to show
            continue
    return found
