"""Who trains, who chooses and who is tested, and a cohort's negative control, whatever the source."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from ecgrepro.cohorts.schema import Cohort, attach_split
from ecgrepro.cohorts.simulated import null_cohort
from ecgrepro.data.packing import Packed
from ecgrepro.data.ptbxl import SPLITS, Release, split_by_fold
from ecgrepro.errors import InputError

NULL = "null control"
"""Name of the cohort whose outcomes were dealt out without looking at the ECG."""

ATTEMPTS = 1000

Divide = Callable[[pd.DataFrame], pd.DataFrame]
"""Adds the column ``split`` (train, validation, test) to a follow-up table."""


def divide_anew(seed: int) -> Divide:
    """Divide patients that no pretraining saw: half for testing, as in the study, a tenth for validation."""
    return lambda table: attach_split(table, seed, validation=(5,), test=(6, 7, 8, 9, 10))


def divide_by_fold(release: Release, packed: Packed) -> Divide:
    """Leave patients of a release in the part in which pretraining had them."""
    labels = split_by_fold(release.index, packed.ecg_ids)
    return lambda table: table.assign(split=labels.loc[table["ecg_id"]].to_numpy())


def divide_cohort(cohort: Cohort, divide: Divide) -> Cohort:
    """Return the cohort with the column ``split``; a part without an event is an `InputError`."""
    divided = replace(cohort, table=divide(cohort.table))
    if empty := parts_without_events(divided.table):
        raise InputError(
            f"The {empty[0]} part of cohort {cohort.name} has no event: choose another outcome, or add patients."
        )
    return divided


def null_control(cohort: Cohort, divide: Divide, seed: int) -> Cohort:
    """Deal the outcomes of a cohort anew, until each part has an event: in given folds that may take a while."""
    for attempt in range(ATTEMPTS):
        dealt = null_cohort(cohort, seed + attempt)
        control = replace(dealt, name=NULL, table=divide(dealt.table), flow=())
        if not parts_without_events(control.table):
            return control
    raise InputError(
        f"Cohort {cohort.name} has too few events for a null cohort with an event in each part: add patients."
    )


def parts_without_events(table: pd.DataFrame) -> list[str]:
    """Return the parts (column ``split``) in which nobody has an event."""
    events = table.groupby("split")["event"].sum()
    return [part for part in SPLITS if not events.get(part, 0)]
