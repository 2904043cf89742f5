"""What chapter 8 asks for: follow-up and ECGs of one source, its patients divided, and its negative control."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro import simulate
from ecgrepro.cohorts.brazil import read_code15, read_sami_trop, read_signals, to_packed
from ecgrepro.cohorts.describe import suppress_count
from ecgrepro.cohorts.ptbxl_longitudinal import SELECTION_BIAS, time_to_finding
from ecgrepro.cohorts.schema import (
    NULL,
    Cohort,
    read_follow_up,
    read_table,
    validate_follow_up,
)
from ecgrepro.cohorts.uk_biobank import HYP, MI, SOURCE, build_cohort, read_waveforms
from ecgrepro.data.packing import Packed, pack, pack_arrays
from ecgrepro.data.ptbxl import SPLITS, Release, open_release, split_by_fold
from ecgrepro.data.signals import INVALID, LEADS, MODEL_RATE
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.progress import progress_bar
from ecgrepro.survival import assign_folds

BLOCK = 256
"""Recordings in memory at once: about 50 MB of tracings."""

UNUSABLE = "unusable.csv"
"""Beside a pack of CardioSoft files: ecg_id, file and reason of each that could not be used."""

ATTEMPTS = 1000

DEFINITIONS = {"HYP": HYP, "MI": MI}

CHAGAS = "Every patient has Chagas cardiomyopathy: a normal ECG here is no healthy control."


Divide = Callable[[pd.DataFrame], pd.DataFrame]
"""Adds the column ``split`` (train, validation, test) to a follow-up table."""


@dataclass(frozen=True)
class Request:
    """What a source is opened with.

    Attributes
    ----------
    given
        Parameters of chapter 8, by name.
    about
        ``release.json`` of chapter 1: path, rate, simulated.
    root
        Folder that paths of parameters start from.
    out, clinic
        Folders for the pack, and for a simulated clinic.
    """

    given: Mapping[str, Any]
    about: Mapping[str, Any]
    root: Path
    out: Path
    clinic: Path

    def path(self, name: str) -> Path:
        """Return a parameter as a path."""
        return self.root / Path(self.given[name]).expanduser()

    def release(self, path: Path | None = None) -> Release:
        """Open a release, by default that of chapter 1, at the rate of chapter 1."""
        return open_release(path or self.root / self.about["path"], rate=self.about["rate"])


@dataclass(frozen=True)
class Source:
    """What became of a request.

    Attributes
    ----------
    origin
        Where the follow-up comes from, in words.
    cohorts
        By name, the main cohort first; each table has the column ``split``, and an ECG in the pack for every row.
    packed
        Their ECGs.
    oracles
        The true hazard by (cohort, patient_id) where outcomes are simulated, else None.
    notes
        Sentences that must stand on the page.
    """

    origin: str
    cohorts: dict[str, Cohort]
    packed: Packed
    oracles: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def main(self) -> str:
        """Name of the main cohort."""
        return next(iter(self.cohorts))

    @property
    def label(self) -> str:
        """The words under every figure."""
        patients = len(self.cohorts[self.main].table)
        return f"{self.origin[0].upper()}{self.origin[1:]}, {patients:,} patients"


def open_source(request: Request) -> Source:
    """Open what the parameters ask for.

    Raises
    ------
    InputError
        If the source is unknown, parameters contradict one another, a file is missing or breaks its format, or too few
        patients or events have an ECG.
    """
    given, simulated = request.given, bool(request.about["simulated"])
    kind = given["cohort"]
    if kind not in ("", *_NAMED):
        raise InputError(f"cohort is {kind!r}: use {', '.join(_NAMED)}, or leave it empty.")
    own = {name for name in ("follow_up", "waveforms") if given[name]}
    if kind and own:
        raise InputError(f"cohort {kind!r} has its own tables: leave {' and '.join(own)} empty.")
    if own == {"waveforms"}:
        raise InputError("waveforms holds the ECGs of your csv: give follow_up as well.")
    if (kind in _WITH_FOLDER) != bool(given["cohort_folder"]):
        raise InputError(
            f"cohort is {kind!r} and cohort_folder {given['cohort_folder']!r}: "
            f"{', '.join(_WITH_FOLDER)} need the folder of their files, no other source has one."
        )
    ecgs_of_chapter_1 = own == {"follow_up"} or (not own and not simulated)
    if given["restricted"] and not kind and ecgs_of_chapter_1:
        raise InputError(
            "restricted is set, but the ECGs are those of chapter 1, whose pages show single ECGs: give your ECGs in "
            "waveforms, and let chapter 1 keep an open release."
        )
    if kind:
        return _NAMED[kind](request)
    if own:
        return _own_csv(request)
    return _clinic(request) if simulated else _planted(request)


def _own_csv(request: Request) -> Source:
    table = read_follow_up(request.path("follow_up"))
    if "ecg_id" not in table.columns:
        raise InputError(f"{request.given['follow_up']} has no column ecg_id: add it.")
    apart = bool(request.given["waveforms"])
    release = request.release(request.path("waveforms") if apart else None)
    packed = pack(release, request.out, replace=True)
    flow = (("rows of the csv", len(table)),)
    cohort = Cohort("own", table, "own follow-up", restricted=False, simulated=False, flow=flow)
    divide = None if apart else divide_by_fold(release, packed)
    return _finish(request, "own follow-up", [cohort], packed, divide)


def _clinic(request: Request) -> Source:
    given, folder = request.given, request.clinic
    simulate.write_release(folder, n_patients=given["clinic_patients"], seed=given["seed"])
    sizes = ("learning_size", "learning_event_rate", "hyp_event_rate", "mi_size", "mi_event_rate")
    simulate.write_cohorts(folder, given["seed"], **{name: given[name] for name in sizes})
    packed = pack(request.release(folder), request.out, replace=True)
    tables = folder / "follow_up"
    files = {"learning": "learning", "hyp": "hyp", "mi": "mi", NULL: "null"}
    cohorts = [
        Cohort(name, read_follow_up(tables / f"{file}.csv"), "", restricted=False, simulated=True)
        for name, file in files.items()
    ]
    truth = read_table(tables / "truth.csv").set_index(["cohort", "patient_id"])
    return _finish(request, "simulated clinic", cohorts, packed, oracles=truth)


def _planted(request: Request) -> Source:
    given, release = request.given, request.release()
    packed = pack(release, request.out, replace=True)
    present = simulate.plantable_table(release.index.loc[packed.ecg_ids], given["seed"])
    outcomes = simulate.plant_outcomes(
        present, seed=given["seed"], event_rate=given["learning_event_rate"]
    )
    table = validate_follow_up(outcomes, "simulated outcomes")
    cohort = Cohort("learning", table, "", restricted=False, simulated=True)
    truth = simulate.oracle_hazards(present).assign(cohort="learning")
    return _finish(
        request,
        "simulated outcomes on genuine ECGs",
        [cohort],
        packed,
        divide_by_fold(release, packed),
        truth.set_index(["cohort", "patient_id"]),
    )


def _ptbxl_longitudinal(request: Request) -> Source:
    if request.about["simulated"]:
        raise InputError(
            "cohort 'ptbxl_longitudinal' needs the genuine ptbxl_database.csv, and the release of chapter 1 is "
            "simulated: give RELEASE."
        )
    finding, release = request.given["finding"], request.release()
    # a code that PTB-XL knows is a finding as well; anything else is refused with the list of names
    codes = [finding] if finding in release.statements.index else None
    cohort = time_to_finding(release.index, finding, codes)
    packed = pack(release, request.out, replace=True)
    divide = divide_by_fold(release, packed)
    notes = (SELECTION_BIAS,)
    return _finish(request, cohort.source_label, [cohort], packed, divide, notes=notes)


def _sami_trop(request: Request) -> Source:
    return _tracings(request, read_sami_trop(request.path("cohort_folder")), (CHAGAS,))


def _code15(request: Request) -> Source:
    return _tracings(request, read_code15(request.path("cohort_folder")), ())


def _tracings(request: Request, cohort: Cohort, notes: tuple[str, ...]) -> Source:
    """Pack a cohort's hdf5 tracings in the order in which they are stored."""
    folder, stored = request.path("cohort_folder"), cohort.table.sort_values(["waveform", "row"])
    packed = _pack(stored, partial(read_signals, folder), request.out, cohort.source_label)
    return _finish(request, cohort.source_label, [cohort], packed, notes=notes)


def _uk_biobank(request: Request) -> Source:
    given, folder = request.given, request.path("cohort_folder")
    wanted = given["definitions"]
    if not wanted or not set(wanted) <= set(DEFINITIONS):
        raise InputError(f"definitions is {wanted}: use one or more of {', '.join(DEFINITIONS)}.")
    exits = folder / "exits.csv"
    built = [
        build_cohort(
            folder / "ecgs.csv",
            folder / "diagnoses.csv",
            DEFINITIONS[name],
            given["end_of_follow_up"],
            exits if exits.is_file() else None,
        )
        for name in wanted
    ]
    files = sorted({name for cohort in built for name in cohort.table["waveform"]})
    numbers = {name: number for number, name in enumerate(files, 1)}
    cohorts = [
        replace(c, table=c.table.assign(ecg_id=c.table["waveform"].map(numbers))) for c in built
    ]
    ecgs = pd.DataFrame({"ecg_id": numbers.values(), "waveform": files})
    packed, unusable = _pack_cardiosoft(folder, ecgs, request.out)
    notes = (
        f"ECGs whose XML file could not be used: {suppress_count(unusable, True)}; {UNUSABLE} beside the packed "
        "signals says why.",
    )
    return _finish(request, built[0].source_label, cohorts, packed, notes=notes if unusable else ())


_NAMED = {
    "ptbxl_longitudinal": _ptbxl_longitudinal,
    "sami_trop": _sami_trop,
    "code15": _code15,
    "uk_biobank": _uk_biobank,
}
_WITH_FOLDER = ("sami_trop", "code15", "uk_biobank")


def _finish(
    request: Request,
    origin: str,
    cohorts: list[Cohort],
    packed: Packed,
    divide: Divide | None = None,
    oracles: pd.DataFrame | None = None,
    notes: tuple[str, ...] = (),
) -> Source:
    """Keep rows that have an ECG, divide them (`divide_anew` by default), add a negative control if there is none."""
    divide = divide or partial(divide_anew, request.given["seed"])
    usable = _usable_ids(packed)
    kept = {}
    for cohort in cohorts:
        table = cohort.table[cohort.table["ecg_id"].isin(usable)].reset_index(drop=True)
        if len(table) == 0:
            raise InputError(
                f"{origin}: none of the {len(cohort.table)} patients has a usable ECG, so check ecg_id and the folder."
            )
        restricted = cohort.restricted or request.given["restricted"]
        flow = (*cohort.flow, ("with a usable ECG", len(table))) if cohort.flow else ()
        kept[cohort.name] = replace(cohort, table=table, restricted=restricted, flow=flow)
    divided = {name: divide_cohort(cohort, divide) for name, cohort in kept.items()}
    if NULL not in divided:
        main = next(iter(kept.values()))
        divided[NULL] = null_control(main, divide, request.given["seed"])
    source = Source(origin, divided, packed, oracles, notes)
    labelled = {name: replace(c, source_label=source.label) for name, c in divided.items()}
    return replace(source, cohorts=labelled)


def divide_anew(seed: int, table: pd.DataFrame) -> pd.DataFrame:
    """Divide patients that no pretraining saw: half for testing, as in the study, a tenth for validation.

    Whole patients stay together, and events are dealt out evenly. Ten folds in a column ``fold`` are kept.

    Raises
    ------
    InputError
        If there are fewer events than folds, or given folds divide a patient.
    """
    out = table.copy()
    if "fold" not in out.columns:
        out["fold"] = assign_folds(out["patient_id"], out["event"], 10, seed) + 1
    elif (out.groupby("patient_id")["fold"].nunique() > 1).any():
        raise InputError("The column fold divides a patient: all rows of a patient need one fold.")
    parts = [out["fold"] == 5, out["fold"] > 5]
    return out.assign(split=np.select(parts, ["validation", "test"], "train"))


def divide_by_fold(release: Release, packed: Packed) -> Divide:
    """Leave patients of a release in the part in which pretraining had them."""
    labels = split_by_fold(release.index, packed.ecg_ids)
    return lambda table: table.assign(split=labels.loc[table["ecg_id"]].to_numpy())


def divide_cohort(cohort: Cohort, divide: Divide) -> Cohort:
    """Return the cohort with the column ``split``; a part without an event is an `InputError`."""
    divided = replace(cohort, table=divide(cohort.table))
    if empty := _parts_without_events(divided.table):
        raise InputError(
            f"The {empty[0]} part of cohort {cohort.name} has no event: choose another outcome, or add patients."
        )
    return divided


def null_control(cohort: Cohort, divide: Divide, seed: int) -> Cohort:
    """Return the negative control of a cohort: its outcomes dealt anew among its rows.

    Time, event and competing event stay together, so events, censoring and follow-up are those of the cohort, and
    nothing about a patient tells anything about the outcome. Every model must score 0.5 here. They are dealt until
    each part has an event: in given folds that may take a while.
    """
    columns = [name for name in ("time", "event", "competing") if name in cohort.table.columns]
    for attempt in range(ATTEMPTS):
        order = np.random.default_rng(seed + attempt).permutation(len(cohort.table))
        dealt = {name: cohort.table[name].to_numpy()[order] for name in columns}
        table = divide(cohort.table.assign(**dealt))
        if not _parts_without_events(table):
            return replace(cohort, name=NULL, table=table, simulated=True, flow=())
    raise InputError(
        f"Cohort {cohort.name} has too few events for a null cohort with an event in each part: add patients."
    )


def _parts_without_events(table: pd.DataFrame) -> list[str]:
    events = table.groupby("split")["event"].sum()
    return [part for part in SPLITS if not events.get(part, 0)]


def _pack_cardiosoft(folder: Path, table: pd.DataFrame, out: Path) -> tuple[Packed, int]:
    """Pack XML files (columns ``ecg_id``, ``waveform``); return how many of them could not be used, too.

    Such a file becomes a record without a single recorded sample, so that no file is read twice; the reason stands in
    `UNUSABLE`, in the folder of the pack.
    """
    unusable = []

    def read(part: pd.DataFrame) -> npt.NDArray[np.int16]:
        found, skipped = read_waveforms(folder, part["waveform"])
        rows = part.iloc[skipped["position"]][["ecg_id", "waveform"]].reset_index(drop=True)
        unusable.append(rows.assign(reason=skipped["reason"]))
        block = np.full((len(part), len(LEADS), 10 * MODEL_RATE), INVALID, dtype=np.int16)
        for position, ecg in found.items():
            block[position] = to_packed(*ecg)
        return block

    packed = _pack(table, read, out, SOURCE)
    with atomic_path(out / UNUSABLE) as temporary:
        pd.concat(unusable).to_csv(temporary, index=False)
    return packed, sum(map(len, unusable))


def _usable_ids(packed: Packed) -> npt.NDArray[np.int64]:
    """Return the ecg_ids of the records that have a recorded sample."""
    suspected = sorted(set(packed.flat) & set(packed.incomplete))
    rows = packed.rows(suspected)
    empty = (packed.signals[rows] == INVALID).all(axis=(1, 2))
    return np.setdiff1d(packed.ecg_ids, np.array(suspected, dtype=np.int64)[empty])


def _pack(
    table: pd.DataFrame,
    read: Callable[[pd.DataFrame], npt.NDArray[np.int16]],
    out: Path,
    source: str,
) -> Packed:
    def blocks() -> Iterator[npt.NDArray[np.int16]]:
        with progress_bar(len(table), "pack", "record") as bar:
            for start in range(0, len(table), BLOCK):
                part = table.iloc[start : start + BLOCK]
                yield read(part)
                bar.update(len(part))

    return pack_arrays(blocks(), table["ecg_id"], MODEL_RATE, out, source, replace=True)
