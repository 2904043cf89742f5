"""UK Biobank: incident heart failure after a resting ECG, in people with hypertension or a past infarction.

The data need an approved application, so every cohort made here is marked restricted. Tables are csv files that a user
exports: dates as year-month-day, participants by ``eid``. ECGs (field 20205) are XML files of GE CardioSoft.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.cohorts.schema import (
    Cohort,
    days_between,
    parse_dates,
    read_table,
    refuse_values,
    require_columns,
    validate_follow_up,
)
from ecgrepro.data.signals import reorder_leads
from ecgrepro.errors import InputError

_MICROVOLT = {"uvperlsb": 1.0, "mvperlsb": 1000.0}

SOURCE = "UK Biobank (restricted: aggregates only)"


@dataclass(frozen=True)
class CohortDefinition:
    """Who enters a cohort, and what counts as its event.

    Attributes
    ----------
    name
        ``"HYP"`` or ``"MI"``, say.
    entry
        Beginnings of the codes that put a participant into the cohort when dated up to the day of the ECG.
    event
        Beginnings of the codes of the outcome: heart failure by ICD-10, ICD-9 (428) or the first occurrence of I50
        (field 131354).
    """

    name: str
    entry: tuple[str, ...]
    event: tuple[str, ...] = ("I50", "I110", "I130", "I132", "428", "field:131354")


HYP = CohortDefinition(
    "HYP", ("I10", "I11", "I12", "I13", "I15", "401", "402", "403", "404", "405")
)
"""Hypertension by ICD-10 or ICD-9. The study does not publish its definition: this one is ours."""

MI = CohortDefinition("MI", ("I21", "I22", "I23", "I252", "410", "412", "field:42000"))
"""Infarction by ICD-10 or ICD-9, or by UK Biobank's algorithm (field 42000, written as the code ``field:42000``)."""


def build_cohort(
    ecgs: Path | str,
    diagnoses: Path | str,
    definition: CohortDefinition,
    end_of_follow_up: str,
    exits: Path | str | None = None,
) -> Cohort:
    """Build a cohort from exported tables.

    Parameters
    ----------
    ecgs
        csv with ``eid``, ``ecg_date`` and ``waveform`` (the XML file's name); optional ``age``, ``sex`` as in
        field 31 (0 female, 1 male: turned into this project's coding) and covariates. Of several ECGs the first counts.
    diagnoses
        csv with ``eid``, ``code`` (ICD-10 without a point, or ``field:…``) and ``date``, one row a diagnosis.
    definition
        `HYP`, `MI` or another.
    end_of_follow_up
        Last day for which outcomes are complete (the study used 2023-01-06).
    exits
        Optional csv with ``eid``, ``date``, ``reason`` (``death`` or ``lost``); a death without the event is the
        competing event.

    Returns
    -------
    Cohort
        Restricted. Events on or before the day of the ECG are prevalent and left out; everybody else stays, however
        short the follow-up. `Cohort.flow` counts the steps.

    Raises
    ------
    InputError
        If a file or column is missing, a date is not written year-month-day, an ECG lies after the end of follow-up,
        or nobody enters.
    """
    first = _read_dated(Path(ecgs), ("eid", "ecg_date", "waveform"), "ecg_date")
    first = first.drop_duplicates("eid").reset_index(drop=True)
    flow = [("participants with an ECG", len(first))]
    dated = _read_dated(Path(diagnoses), ("eid", "code", "date"), "date")
    dated["code"] = dated["code"].astype("string").str.strip().str.replace(".", "", regex=False)
    end = parse_dates(pd.Series([end_of_follow_up], name="end_of_follow_up"), "parameters").iloc[0]
    if late := int((first["ecg_date"] > end).sum()):
        raise InputError(
            f"{late} ECGs lie after the end of follow-up ({end.date()}): give a later end."
        )

    entered = _first_date(dated, definition.entry).reindex(first["eid"]).to_numpy()
    first = first[entered <= first["ecg_date"].to_numpy()]
    flow.append((f"in {definition.name} up to the ECG", len(first)))
    failed = _first_date(dated, definition.event).reindex(first["eid"]).to_numpy()
    prevalent = failed <= first["ecg_date"].to_numpy()
    first, failed = first[~prevalent], failed[~prevalent]
    flow.append(("without the event up to the ECG", len(first)))
    if len(first) == 0:
        raise InputError(f"Nobody enters the cohort {definition.name}: check codes and dates.")

    left, died = _read_exits(exits, first["eid"])
    stop = np.minimum(left.fillna(end).to_numpy(), np.datetime64(end))
    event = (~np.isnat(failed)) & (failed <= stop)
    table = first.rename(columns={"eid": "patient_id"}).drop(columns="ecg_date")
    start = first["ecg_date"].reset_index(drop=True)
    table["time"] = days_between(start, pd.Series(np.where(event, failed, stop))).to_numpy()
    if "sex" in table.columns:
        table["sex"] = 1 - pd.to_numeric(table["sex"], errors="coerce")
    table["event"] = event.astype(int)
    table["competing"] = (died & ~event & (left.to_numpy() <= np.datetime64(end))).astype(int)
    table = table[table["time"] >= 0]
    flow.append(("under observation at the ECG", len(table)))
    checked = validate_follow_up(table, f"cohort {definition.name}", zero_time="half_day")
    return Cohort(
        definition.name, checked, SOURCE, restricted=True, simulated=False, flow=tuple(flow)
    )


def _read_dated(file: Path, columns: tuple[str, ...], date: str) -> pd.DataFrame:
    """Return a table by date."""
    table = read_table(file)
    require_columns(table, columns, file)
    table[date] = parse_dates(table[date], file.name)
    return table.sort_values(date, kind="stable")


def _read_exits(
    file: Path | str | None, eids: pd.Series
) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
    """Return the day each participant left (NaT = stayed), and whether by death."""
    if file is None:
        return pd.Series(pd.NaT, index=eids, dtype="datetime64[ns]"), np.zeros(len(eids), bool)
    table = _read_dated(Path(file), ("eid", "date", "reason"), "date")
    strange = ~table["reason"].sort_index().isin(["death", "lost"])
    refuse_values(strange, Path(file).name, table["reason"].sort_index(), "use death or lost")
    earliest = table.drop_duplicates("eid").set_index("eid").reindex(eids)
    return earliest["date"], (earliest["reason"] == "death").to_numpy()


def _first_date(dated: pd.DataFrame, codes: tuple[str, ...]) -> pd.Series:
    """Return the first date, by eid, of a code that begins with one of `codes`."""
    matching = dated[dated["code"].str.startswith(codes).fillna(False).astype(bool)]
    return matching.groupby("eid")["date"].min()


def read_waveforms(
    folder: Path | str, names: pd.Series
) -> tuple[dict[int, tuple[npt.NDArray[np.float32], float]], pd.DataFrame]:
    """Read the XML files of a cohort; one that cannot be used is skipped and recorded.

    Returns
    -------
    tuple
        ECGs as `read_cardiosoft` by position in `names`, and the skipped ones: ``position``, ``reason``. File names
        carry participants' identifiers, so the table belongs in the run folder, and reasons name no file.
    """
    base = Path(folder).resolve()
    found = {}
    skipped = []
    for position, name in enumerate(names):
        path = (base / str(name)).resolve()
        if not path.is_relative_to(base):
            skipped.append((position, "the path leaves the folder of waveforms"))
            continue
        try:
            found[position] = read_cardiosoft(path)
        except InputError as error:
            skipped.append((position, str(error).replace(str(path), "the file")))
    return found, pd.DataFrame(skipped, columns=["position", "reason"])


def read_cardiosoft(file: Path | str) -> tuple[npt.NDArray[np.float32], float]:
    """Read the rhythm strip of a file; leads are placed by name, voltages scaled by the file's own resolution.

    Returns
    -------
    tuple
        The strip in mV, (12, samples), leads as `signals.LEADS`; samples per second.

    Raises
    ------
    InputError
        If the file is missing, is no such XML (or defines entities, which an export never does), lacks the strip or a
        lead, or a sample is no number.
    """
    path = Path(file)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is missing: check the path.") from None
    if b"<!ENTITY" in content:
        raise InputError(
            f"{path} defines XML entities, which no export does: do not use this file."
        )
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f"{path} is not readable XML ({error}): export it again.") from None
    if root.tag != "CardiologyXML":
        raise InputError(
            f"{path} starts with <{root.tag}>, not <CardiologyXML>: it is another format."
        )
    for generation in ("StripData", "Strip/StripData"):
        if (strip := root.find(generation)) is not None:
            return _signal(strip, path)
    raise InputError(f"{path} has no StripData: it holds no resting ECG.")


def _signal(block: ElementTree.Element, path: Path) -> tuple[npt.NDArray[np.float32], float]:
    """Return signal (12, samples) in mV and rate of a block with SampleRate, Resolution and WaveformData."""
    rate = _number(block, "SampleRate", path)
    resolution = _number(block, "Resolution", path)
    scale = block.find("Resolution")
    unit = (scale.get("units", "uVperLsb") if scale is not None else "").lower()
    if unit not in _MICROVOLT or not rate > 0 or not resolution > 0:
        raise InputError(
            f"{path}: SampleRate {rate:g} or Resolution {resolution:g} {unit} is not usable."
        )
    names, rows = [], []
    for waveform in block.findall("WaveformData"):
        names.append(waveform.get("lead") or "")
        cells = re.sub(r"\s", "", waveform.text or "").strip(",").split(",")
        try:
            rows.append(np.array(cells, dtype=np.float64))
        except ValueError:
            raise InputError(
                f"{path}: lead {names[-1]} holds a sample that is no number."
            ) from None
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise InputError(f"{path}: leads differ in length ({sorted(lengths)}): export it again.")
    try:
        ordered = reorder_leads(np.stack(rows), names)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return (ordered * (resolution * _MICROVOLT[unit] / 1000.0)).astype(np.float32), rate


def _number(block: ElementTree.Element, tag: str, path: Path) -> float:
    try:
        return float((block.findtext(tag) or "").strip())
    except ValueError:
        raise InputError(f"{path}: {block.tag} has no numeric {tag}: export it again.") from None
