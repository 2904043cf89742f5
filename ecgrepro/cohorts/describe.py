"""What may be said about a cohort: aggregates, with small counts suppressed where it is restricted."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ecgrepro.cohorts.schema import Cohort

SMALLEST_CELL = 10
"""Counts below this are not shown for a restricted cohort (UK Biobank's rule)."""

SUPPRESSED = f"<{SMALLEST_CELL}"
HIDDEN = "suppressed"


def describe(cohort: Cohort) -> dict[str, Any]:
    """Return a cohort's aggregates, ready for json and for a page.

    Keys: ``name``, ``source``, ``restricted``, ``simulated``, ``n`` (rows), ``patients``, ``events``,
    ``event_rate`` (events / n), ``median_follow_up_days`` (reverse Kaplan-Meier: the median time to
    censoring, events taken as censored; None where half were not censored), ``age_mean``, ``age_sd``,
    ``age_known``, ``female``, ``male``, ``competing``, ``flow``. Keys of absent columns are left out.

    For a restricted cohort, a count under 10 is given as the text ``"<10"``. What would give it away is
    ``"suppressed"``: rates and means over such a count, and the other sex.
    """
    table, hide = cohort.table, cohort.restricted
    n, events = len(table), int(table["event"].sum())
    out: dict[str, Any] = {
        "name": cohort.name,
        "source": cohort.source_label,
        "restricted": cohort.restricted,
        "simulated": cohort.simulated,
        "n": suppress_count(n, hide),
        "patients": suppress_count(int(table["patient_id"].nunique()), hide),
        "events": _suppress_part(events, n, hide),
        "event_rate": HIDDEN if _small(hide, events, n - events) else events / n,
        "median_follow_up_days": HIDDEN if _small(hide, n) else median_follow_up(table),
    }
    if "age" in table.columns:
        known = table["age"].dropna()
        secret = _small(hide, len(known)) or (len(known) < n and _small(hide, n - len(known)))
        out["age_mean"] = HIDDEN if _small(hide, len(known)) else _number(known.mean())
        out["age_sd"] = HIDDEN if _small(hide, len(known)) else _number(known.std())
        out["age_known"] = HIDDEN if secret else len(known)
    if "sex" in table.columns:
        female, male = int((table["sex"] == 1).sum()), int((table["sex"] == 0).sum())
        unknown = n - female - male
        secret = _small(hide, female, male, *([unknown] if unknown else []))
        out["female"] = HIDDEN if secret else female
        out["male"] = HIDDEN if secret else male
    if "competing" in table.columns:
        out["competing"] = _suppress_part(int(table["competing"].sum()), n, hide)
    out["flow"] = [
        {"step": step, "rows": count}
        for (step, _), count in zip(
            cohort.flow, _suppress_flow([rows for _, rows in cohort.flow], hide), strict=True
        )
    ]
    return out


def median_follow_up(table: pd.DataFrame) -> float | None:
    """Return the median follow-up in days by reverse Kaplan-Meier (Schemper and Smith 1996), or None."""
    from ecgrepro.survival.curves import kaplan_meier

    curve = kaplan_meier(table["time"], 1 - table["event"])
    below = curve.loc[curve["survival"] <= 0.5, "time"]
    return float(below.iloc[0]) if len(below) else None


def suppress_count(count: int, restricted: bool) -> int | str:
    """Return the count, or ``"<10"`` where it is smaller than that and the cohort is restricted."""
    return SUPPRESSED if _small(restricted, count) else count


def suppress_table(table: pd.DataFrame, counts: Sequence[str], restricted: bool) -> pd.DataFrame:
    """Return `table` with the named count columns suppressed, for numbers at risk and the like."""
    out = table.copy()
    for column in counts:
        shown = [suppress_count(int(value), restricted) for value in table[column]]
        out[column] = pd.Series(shown, index=table.index, dtype=object)
    return out


def _small(restricted: bool, *counts: int) -> bool:
    return restricted and min(counts) < SMALLEST_CELL


def _suppress_part(count: int, whole: int, restricted: bool) -> int | str:
    """Suppress a small count, and one whose complement is small: the whole is shown beside it."""
    if _small(restricted, count):
        return SUPPRESSED
    return HIDDEN if _small(restricted, whole - count) else count


def _suppress_flow(rows: list[int], restricted: bool) -> list[int | str]:
    """Suppress what would give away a step that removed few patients: a difference of counts is a count.

    The last count is the cohort's n and stays, so the counts before it are the ones to go.
    """
    shown: list[int | str] = []
    following: int | None = None
    for count in reversed(rows):
        if restricted and following is not None and 0 < abs(count - following) < SMALLEST_CELL:
            shown.append(HIDDEN)
            continue
        shown.append(suppress_count(count, restricted))
        following = count
    return shown[::-1]


def _number(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
