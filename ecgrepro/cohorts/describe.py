"""What may be said about a cohort: aggregates, with small counts suppressed where it is restricted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ecgrepro.cohorts.schema import DAYS_PER_YEAR, Cohort
from ecgrepro.survival import cumulative_incidence, kaplan_meier

SMALLEST_CELL = 10
"""Counts below this are not shown for a restricted cohort (UK Biobank's rule)."""

PART_COLUMNS = ("n", "events", "median_follow_up_days", "age_mean", "female_share")
"""What `describe_parts` says of each part."""

SUPPRESSED = f"<{SMALLEST_CELL}"
HIDDEN = "suppressed"


def describe(cohort: Cohort) -> dict[str, Any]:
    """Return a cohort's aggregates, ready for json and for a page.

    Keys: ``name``, ``source``, ``restricted``, ``simulated``, ``n`` (rows), ``patients``, ``events``,
    ``event_rate`` (events / n), ``median_follow_up_days`` (reverse Kaplan-Meier: the median time to
    censoring, events taken as censored; None where half were not censored), ``age_mean``, ``age_sd``,
    ``age_known``, ``female``, ``male``, ``competing``, ``flow``. Keys of absent columns are left out.

    For a restricted cohort, a count under 10 is given as the text ``"<10"``. What would give it away is
    ``"suppressed"``: rates and means over such a count, and the other sex. The median is rounded to ten days.
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
    if hide and isinstance(out["median_follow_up_days"], float):
        # the median is one participant's time
        out["median_follow_up_days"] = round(out["median_follow_up_days"], -1)
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


def describe_parts(cohort: Cohort) -> pd.DataFrame:
    """Return who is in which part (column ``split``): one row a part, aggregates as `describe` makes them.

    Columns: ``n``, ``events``, ``median_follow_up_days``, ``age_mean``, ``female_share`` (of those whose sex is
    known). In a restricted cohort, what is hidden for one part is hidden for all: the whole is shown elsewhere, and a
    difference of counts is a count.
    """
    rows = {}
    for part in ("train", "validation", "test"):
        own = replace(cohort, table=cohort.table[cohort.table["split"] == part], flow=())
        about = describe(own)
        if "female" in about:
            hidden = isinstance(about["female"], str)
            about["female_share"] = HIDDEN if hidden else _number(own.table["sex"].mean())
        rows[part] = {name: about[name] for name in PART_COLUMNS if name in about}
    table = pd.DataFrame.from_dict(rows, orient="index").astype(object)
    for column in table.columns:
        if any(isinstance(value, str) for value in table[column]):
            table[column] = HIDDEN
    return table


def incidence_by_year(cohort: Cohort) -> pd.DataFrame:
    """Return the risk of the event by full years, with and without regard to the competing event.

    Returns
    -------
    DataFrame
        Index ``years``; ``at_risk`` (still observed), ``one_minus_km`` (the competing event taken as censoring),
        ``incidence`` (Aalen-Johansen), ``competing`` (its incidence). Of a restricted cohort only years between which
        10 people or more had each outcome; there may be none.
    """
    table = cohort.table
    time, event, rival = (table[name].to_numpy() for name in ("time", "event", "competing"))
    counted = np.stack([event, rival, np.ones(len(table), dtype=int)])
    shown, before = [], np.zeros(3, dtype=int)
    for year in range(1, int(time.max() // DAYS_PER_YEAR) + 1):
        until = counted[:, time <= year * DAYS_PER_YEAR].sum(axis=1)
        apart = np.concatenate([until - before, counted.sum(axis=1) - until])
        if not _small(cohort.restricted, *apart):
            shown.append(year)
            before = until
    curves, naive = cumulative_incidence(time, event, rival), kaplan_meier(time, event)
    days = np.array(shown) * DAYS_PER_YEAR
    at = np.searchsorted(curves["time"], days, side="right") - 1
    return pd.DataFrame(
        {
            "at_risk": [int((time >= day).sum()) for day in days],
            "one_minus_km": 1 - naive["survival"].to_numpy()[at],
            "incidence": curves["event"].to_numpy()[at],
            "competing": curves["competing"].to_numpy()[at],
        },
        index=pd.Index(shown, name="years", dtype=int),
    )


def median_follow_up(table: pd.DataFrame) -> float | None:
    """Return the median follow-up in days by reverse Kaplan-Meier (Schemper and Smith 1996), or None."""
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


def suppress_columns(table: pd.DataFrame, counts: Sequence[str], restricted: bool) -> pd.DataFrame:
    """Return `table` of parts of a whole with each named column hidden in which one count is small.

    The whole is shown elsewhere, and a difference of counts is a count.
    """
    out = table.copy()
    for column in counts:
        if _small(restricted, *table[column].astype(int)):
            out[column] = HIDDEN
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
