"""GE CardioSoft XML, as UK Biobank exports resting 12-lead ECGs (field 20205)."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from ecgrepro.data.signals import reorder_leads
from ecgrepro.errors import InputError

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
