"""A run's sweep: which arms it consists of, and all of them one after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecgrepro.cohorts.schema import NULL
from ecgrepro.errors import InputError
from ecgrepro.files import read_json
from ecgrepro.protocol.arms import BASELINES, PRETRAINED, Arm, sweep_arms
from ecgrepro.protocol.evaluate import splits_of
from ecgrepro.protocol.run import ArmResult, run_arm
from ecgrepro.protocol.starts import (
    ORACLES,
    aligned_encoder,
    open_cohort,
    pretrain_start,
    read_cohorts,
)


def sweep_of(folder: Path, parameters: Mapping[str, Any]) -> tuple[list[Arm], list[str]]:
    """Return the arms of chapter 13 in the run of `folder`, and what had to be left out.

    A protocol is left out for a cohort that it cannot divide (too few events, several rows a patient). Where a
    cohort has fewer training events than are asked for, `labels` becomes 0 (all of them), and the points of the
    learning curve that cannot be reached are left out. An oracle is an arm only where the hazard is known.

    Parameters
    ----------
    folder
        Of a run whose chapters 6 and 8 were made.
    parameters
        Of chapter 13: cohorts (empty: the main one, and the null cohort), encoders (empty: the run's),
        initialisations, study_seeds, grouped_seeds, n_folds, labels, curve.

    Returns
    -------
    arms, notes
        Notes are sentences without counts, so that a restricted cohort may show them.

    Raises
    ------
    InputError
        If the run lacks a file or a cohort, or no arm is left.
    """
    table = read_cohorts(folder)
    main = str(read_json(folder / "cohorts" / "cohorts.json")["main"])
    control = [NULL] if (table["cohort"] == NULL).any() else []
    has_age = {"age", "sex"} <= set(table.columns)
    wanted = sweep_arms(
        parameters["cohorts"] or [main, *control],
        parameters["encoders"] or [aligned_encoder(folder)],
        parameters["initialisations"],
        {"study": parameters["study_seeds"], "grouped": parameters["grouped_seeds"]},
        baselines=[name for name in BASELINES if has_age or not name.startswith("age_sex")],
        labels=parameters["labels"],
        curve=parameters["curve"],
        n_folds=parameters["n_folds"],
    )
    most = _most_labels(folder, wanted)
    arms: list[Arm] = []
    notes: dict[str, None] = {}  # a set that keeps its order
    for arm in wanted:
        where = f"cohort {arm.cohort}, {arm.protocol} protocol"
        if (arm.cohort, arm.protocol) not in most:
            notes[f"{where}: left out, too few events or several rows a patient"] = None
            continue
        column = ORACLES.get(arm.initialisation)
        if column and (
            column not in table or table.loc[table["cohort"] == arm.cohort, column].isna().any()
        ):
            continue
        if arm.labels > most[arm.cohort, arm.protocol]:
            if arm.labels != parameters["labels"]:
                notes[
                    f"{where}: fewer than {arm.labels} training events, that point is left out"
                ] = None
                continue
            notes[f"{where}: fewer than {arm.labels} training events, all are used"] = None
            arm = replace(arm, labels=0)
        arms.append(arm)
    if not arms:
        raise InputError(f"No arm of the sweep can be run: {'; '.join(notes)}.")
    return arms, list(notes)


def starts_of(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Return the pairs of encoder and initialisation whose weights the arms start from."""
    pairs = {(arm.encoder, arm.initialisation) for arm in arms}
    return sorted(pair for pair in pairs if pair[1] in PRETRAINED)


def run_sweep(
    arms: Sequence[Arm], folder: Path, report: Callable[[str], None] | None = None
) -> list[ArmResult]:
    """Run all arms that are not finished yet, after the pretrainings that they start from.

    Arms are also a matter of `protocol.smk`, which runs them side by side; here they are found finished then.

    Parameters
    ----------
    arms, folder
        From `sweep_of`, and its run.
    report
        Called with one line an arm.
    """
    for encoder, initialisation in starts_of(arms):
        pretrain_start(folder, encoder, initialisation)
    results = []
    for number, arm in enumerate(arms, 1):
        results.append(run_arm(arm, folder))
        if report is not None:
            report(f"{number}/{len(arms)} {arm.name}")
    return results


def _most_labels(folder: Path, arms: Sequence[Arm]) -> dict[tuple[str, str], int]:
    """Smallest number of training events in any fold, by cohort and protocol; without those that cannot be divided."""
    tables = {name: open_cohort(folder, name).table for name in {arm.cohort for arm in arms}}
    divisions = {(arm.cohort, arm.protocol, arm.seed): arm for arm in arms}
    most: dict[tuple[str, str], int] = {}
    impossible = set()
    for (cohort, protocol, _), arm in divisions.items():
        try:
            splits = splits_of(arm, tables[cohort])
        except InputError:
            impossible.add((cohort, protocol))
            continue
        event = tables[cohort]["event"].to_numpy()
        found = min(int(event[split.train].sum()) for split in splits)
        most[cohort, protocol] = min(found, most.get((cohort, protocol), found))
    return {place: count for place, count in most.items() if place not in impossible}
