"""What chapter 8 asks for: follow-up and ECGs of one source, its patients divided, and its negative control."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ecgrepro import simulate
from ecgrepro.cohorts.code15 import read_code15
from ecgrepro.cohorts.describe import suppress_count
from ecgrepro.cohorts.division import (
    NULL,
    Divide,
    divide_anew,
    divide_by_fold,
    divide_cohort,
    null_control,
)
from ecgrepro.cohorts.own_csv import read_follow_up
from ecgrepro.cohorts.ptbxl_longitudinal import SELECTION_BIAS, time_to_finding
from ecgrepro.cohorts.recordings import (
    UNUSABLE,
    pack_cardiosoft,
    pack_code15,
    pack_sami_trop,
    usable_ids,
)
from ecgrepro.cohorts.sami_trop import read_sami_trop
from ecgrepro.cohorts.schema import Cohort, validate_follow_up
from ecgrepro.cohorts.tables import read_table
from ecgrepro.cohorts.uk_biobank import HYP, MI, build_cohort
from ecgrepro.errors import InputError
from ecgrepro.packing import Packed, pack
from ecgrepro.ptbxl import Release, open_release

DEFINITIONS = {"HYP": HYP, "MI": MI}

CHAGAS = "Every patient has Chagas cardiomyopathy: a normal ECG here is no healthy control."


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
    given = request.given
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
    if (
        given["restricted"]
        and not kind
        and own != {"follow_up", "waveforms"}
        and not _made(request)
    ):
        raise InputError(
            "restricted is set, but the ECGs are those of chapter 1, whose pages show single ECGs: give your ECGs in "
            "waveforms, and let chapter 1 keep an open release."
        )
    if kind:
        return _NAMED[kind](request)
    if given["follow_up"]:
        return _own_csv(request)
    return _clinic(request) if request.about["simulated"] else _planted(request)


def _made(request: Request) -> bool:
    """Whether outcomes and ECGs will both be simulated."""
    return bool(request.about["simulated"]) and not request.given["follow_up"]


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
    folder = request.path("cohort_folder")
    cohort = read_sami_trop(folder)
    packed = pack_sami_trop(folder, cohort.table, request.out)
    notes = (CHAGAS,)
    return _finish(request, cohort.source_label, [cohort], packed, notes=notes)


def _code15(request: Request) -> Source:
    folder = request.path("cohort_folder")
    cohort = read_code15(folder)
    packed = pack_code15(folder, cohort.table, request.out)
    return _finish(request, cohort.source_label, [cohort], packed)


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
    packed = pack_cardiosoft(folder, ecgs, request.out)
    unusable = len(read_table(request.out / UNUSABLE))
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
    """Keep the rows that have an ECG, divide them, and add the negative control where there is none.

    Without `divide`, patients are divided as those whom no pretraining saw.
    """
    divide = divide or divide_anew(request.given["seed"])
    usable = usable_ids(packed)
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
