"""UK Biobank: incident heart failure after a resting ECG, in people with hypertension or a past infarction.

The data need an approved application, so every cohort made here is marked restricted. Tables are csv files that a user
exports: dates as year-month-day, participants by ``eid``.
"""

import re
from dataclasses import dataclass
from datetime import date
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
from ecgrepro.errors import InputError
from ecgrepro.signals import reorder_leads

_MICROVOLT = {"uvperlsb": 1.0, "mvperlsb": 1000.0}
_STRIP = ("StripData", "Strip/StripData")  # two generations of the export
_MEDIAN = ("RestingECGMeasurements/MedianSamples",)


@dataclass(frozen=True)
class CardiosoftECG:
    """One exported ECG.

    Attributes
    ----------
    recorded
        Day of the recording, None where the file has none.
    rate, strip
        Samples per second, and the rhythm strip in mV, (12, samples), leads as `signals.LEADS`.
    median_rate, median
        The same of the device's median beat, None where the file has none.
    """

    recorded: date | None
    rate: float
    strip: npt.NDArray[np.float32]
    median_rate: float | None
    median: npt.NDArray[np.float32] | None


def read_cardiosoft(file: Path | str) -> CardiosoftECG:
    """Read a file; leads are placed by name, voltages scaled by the file's own resolution.

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
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not readable XML ({error}): export it again.") from None
    except (LookupError, ValueError) as error:
        raise InputError(f"{path} has an unknown encoding ({error}): export it again.") from None
    if root.tag != "CardiologyXML":
        raise InputError(
            f"{path} starts with <{root.tag}>, not <CardiologyXML>: it is another format."
        )
    strip = _first(root, _STRIP)
    if strip is None:
        raise InputError(f"{path} has no StripData: it holds no resting ECG.")
    rate, signal = _waveforms(strip, path)
    median = _first(root, _MEDIAN)
    if median is None or median.find("WaveformData") is None:
        return CardiosoftECG(_recorded(root, path), rate, signal, None, None)
    return CardiosoftECG(_recorded(root, path), rate, signal, *_waveforms(median, path))


def _first(root: ElementTree.Element, paths: tuple[str, ...]) -> ElementTree.Element | None:
    return next((found for path in paths if (found := root.find(path)) is not None), None)


def _waveforms(block: ElementTree.Element, path: Path) -> tuple[float, npt.NDArray[np.float32]]:
    """Return rate and signal (12, samples) in mV of a block with SampleRate, Resolution and WaveformData."""
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
    return rate, (ordered * (resolution * _MICROVOLT[unit] / 1000.0)).astype(np.float32)


def _number(block: ElementTree.Element, tag: str, path: Path) -> float:
    try:
        return float((block.findtext(tag) or "").strip())
    except ValueError:
        raise InputError(f"{path}: {block.tag} has no numeric {tag}: export it again.") from None


def _recorded(root: ElementTree.Element, path: Path) -> date | None:
    when = root.find("ObservationDateTime")
    if when is None:
        return None
    parts = [(when.findtext(tag) or "").strip() for tag in ("Year", "Month", "Day")]
    try:
        year, month, day = (int(part) for part in parts)
        return date(year, month, day)
    except ValueError:
        raise InputError(f"{path}: ObservationDateTime {'-'.join(parts)} is no date.") from None


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
    first = _read_ecgs(Path(ecgs))
    flow = [("participants with an ECG", len(first))]
    dated = _read_dated(Path(diagnoses), ("eid", "code", "date"), "date")
    dated["code"] = dated["code"].astype("string").str.strip().str.replace(".", "", regex=False)
    end = parse_dates(pd.Series([end_of_follow_up], name="end_of_follow_up"), "parameters").iloc[0]
    if (first["ecg_date"] > end).any():
        late = int((first["ecg_date"] > end).sum())
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


def read_study_tables(folder: Path | str, name: str) -> Cohort:
    """Read tables in the study's own shape: ``y.npy`` (N, 3) with event, duration in days, eid, or ``y.csv``.

    The csv has the columns ``event``, ``duration``, ``eid``. Signals, if any, are ``x.npy`` of shape (N, 12, samples),
    read by `read_study_signals`; the column ``row`` is the position there.

    Raises
    ------
    InputError
        If there is no such file, its shape is another, or a row breaks the schema.
    """
    base = Path(folder)
    array_file, csv_file = base / "y.npy", base / "y.csv"
    if array_file.is_file():
        values = _load_array(array_file)
        if values.ndim != 2 or values.shape[1] != 3:
            raise InputError(
                f"{array_file} has shape {values.shape}: (N, 3) with event, duration, eid is needed."
            )
        raw, source = pd.DataFrame(values, columns=["event", "duration", "eid"]), array_file.name
    elif csv_file.is_file():
        raw, source = read_table(csv_file), csv_file.name
        require_columns(raw, ("event", "duration", "eid"), csv_file)
    else:
        raise InputError(f"{base} has neither y.npy nor y.csv: give the study's table.")
    raw["row"] = np.arange(len(raw))
    table = raw.rename(columns={"duration": "time", "eid": "patient_id"})
    table["ecg_id"] = table["row"]
    checked = validate_follow_up(table, source, zero_time="half_day")
    return Cohort(
        name, checked, SOURCE, restricted=True, simulated=False, flow=(("participants", len(raw)),)
    )


def read_study_signals(folder: Path | str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return signals (len(rows), 12, samples) of ``x.npy``, in the units of the file."""
    values = _load_array(Path(folder) / "x.npy")
    if values.ndim != 3 or values.shape[1] != 12:
        raise InputError(
            f"{Path(folder) / 'x.npy'} has shape {values.shape}: (N, 12, samples) is needed."
        )
    return np.asarray(values[rows], dtype=np.float32)


def read_waveforms(
    folder: Path | str, names: pd.Series
) -> tuple[dict[int, CardiosoftECG], pd.DataFrame]:
    """Read the XML files of a cohort; one that cannot be used is skipped and recorded.

    Returns
    -------
    tuple
        ECGs by position in `names`, and the skipped ones: ``position``, ``reason``. File names carry participants'
        identifiers, so the table belongs in the run folder, and reasons name no file.
    """
    base = Path(folder).resolve()
    found: dict[int, CardiosoftECG] = {}
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


def _read_ecgs(file: Path) -> pd.DataFrame:
    table = read_table(file)
    require_columns(table, ("eid", "ecg_date", "waveform"), file)
    table["ecg_date"] = parse_dates(table["ecg_date"], file.name)
    return (
        table.sort_values("ecg_date", kind="stable").drop_duplicates("eid").reset_index(drop=True)
    )


def _read_dated(file: Path, columns: tuple[str, ...], date: str) -> pd.DataFrame:
    table = read_table(file)
    require_columns(table, columns, file)
    table[date] = parse_dates(table[date], file.name)
    return table


def _read_exits(
    file: Path | str | None, eids: pd.Series
) -> tuple[pd.Series, npt.NDArray[np.bool_]]:
    """Return the day each participant left (NaT = stayed), and whether by death."""
    if file is None:
        return pd.Series(pd.NaT, index=eids, dtype="datetime64[ns]"), np.zeros(
            len(eids), dtype=bool
        )
    table = _read_dated(Path(file), ("eid", "date", "reason"), "date")
    strange = ~table["reason"].isin(["death", "lost"])
    refuse_values(strange, Path(file).name, table["reason"], "use death or lost")
    earliest = table.sort_values("date").drop_duplicates("eid").set_index("eid").reindex(eids)
    return earliest["date"], (earliest["reason"] == "death").to_numpy()


def _first_date(dated: pd.DataFrame, codes: tuple[str, ...]) -> pd.Series:
    """Return the first date, by eid, of a code that begins with one of `codes`."""
    matching = dated[dated["code"].str.startswith(codes).fillna(False).astype(bool)]
    return matching.groupby("eid")["date"].min()


def _load_array(file: Path) -> npt.NDArray[np.generic]:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{file} is missing: check the folder.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not a plain numpy array ({error}): save it again.") from None
