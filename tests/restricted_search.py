"""The search for individuals, and for counts of fewer than ten of them, in all that a restricted run shows.

Patients of the run are simulated. Their numbers have eight digits and their times and ages four decimals, so that
nothing else on a page can be mistaken for one of them.
"""

import html
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from bs4 import BeautifulSoup, Tag
from PIL import Image

FIRST_ECG, FIRST_PATIENT = 55_010_000, 77_310_000
UNITS = {"days": 1.0, "months": 30.4375, "years": 365.25}
SPACE = r"[,_'’ \u00a0\u2009\u202f]"
"""What may stand between thousands."""

DECIMAL = r"(?<![\d.])(?<!\d:)(\d{1,5})\.(\d+)(?![\d.]*\d)"
"""A number with decimals; not the seconds of a clock."""

# The fewest decimals with which a value is told from any other number of a page.
TOLD = {"days": 1, "months": 2, "years": 3, "age": 3}


@dataclass(frozen=True)
class Individuals:
    """What must not be found: the patients' times (days), ages (years), dates, risks and ECGs (adu)."""

    times: np.ndarray
    ages: np.ndarray
    dates: frozenset[str]
    signals: np.ndarray
    risks: np.ndarray = field(default_factory=lambda: np.empty(0))

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """By kind, all numbers that belong to one patient, sorted."""
        kinds = {f"time in {unit}": self.times / length for unit, length in UNITS.items()}
        kinds |= {"age": self.ages, "risk": self.risks}
        return {kind: np.sort(numbers) for kind, numbers in kinds.items()}

    @cached_property
    def written(self) -> dict[str, str]:
        """Every way to write a time or an age that is like no other number, and what it would be."""
        out: dict[str, str] = {}
        for unit, length in UNITS.items():
            for places in range(TOLD[unit], 5):
                out |= {f"{time / length:.{places}f}": f"time in {unit}" for time in self.times}
        for places in range(TOLD["age"], 5):
            out |= {f"{age:.{places}f}": "age" for age in self.ages}
        # the youngest and the oldest are apart from the others, so that little is enough
        return out | {f"{age:.1f}": "age" for age in (self.ages.min(), self.ages.max())}

    @cached_property
    def beats(self) -> bytes:
        """All ECGs of the cohort as differences between samples, which no offset changes."""
        return np.diff(self.signals.astype(np.int32), axis=-1).astype(np.int16).tobytes()

    def in_text(self, text: str) -> list[str]:
        """Identifiers, dates, times and ages of patients in words, however they are written."""
        text = unescaped(text)
        found = list(identifiers(text))
        found += [
            f"date {date}" for date in re.findall(r"\d{4}-\d\d-\d\d", text) if date in self.dates
        ]
        text = re.sub(rf"(?<=\d){SPACE}(?=\d{{3}}(?:\D|$))", "", text)
        for whole, decimals in re.findall(DECIMAL, text):
            number = f"{whole}.{decimals}"
            number = f"{float(number):.4f}" if len(decimals) > 4 else number
            if number in self.written:
                found.append(f"{self.written[number]} {number}")
        return found

    def in_figure(self, figure: dict[str, Any]) -> list[str]:
        """What a figure tells of patients: its words, points that are one patient's value, a patient's ECG."""
        found = self.in_text("\n".join(figure["words"]))
        for _, points in figure["points"]:
            numbers = np.array(points)
            numbers = numbers[np.isfinite(numbers)]
            for kind, secret in self.values.items():
                hits = exactly(numbers, secret)
                found += [f"{kind} {hit:.4f}, drawn" for hit in hits[:3]]
            if len(numbers) > 100 and self.is_ecg(numbers):
                found.append(f"an ECG of {len(numbers)} samples, drawn")
        return found

    def is_ecg(self, drawn: np.ndarray) -> bool:
        """Whether a curve is a piece of a patient's ECG in mV, or in mm of ECG paper, at any height of the axis."""
        start = int(np.abs(np.diff(drawn)).argmax())
        for adu in (1000, 100):
            piece = np.round(adu * np.diff(drawn))[max(start - 10, 0) : start + 10]
            told = len(np.unique(piece)) > 3 and np.abs(piece).max() < 32_000
            if told and piece.astype(np.int16).tobytes() in self.beats:
                return True
        return False


def exactly(numbers: np.ndarray, secret: np.ndarray) -> np.ndarray:
    """Those of `numbers` that are one of the sorted `secret` ones (but for rounding), each once."""
    if not len(secret) or not len(numbers):
        return np.empty(0)
    right = np.searchsorted(secret, numbers).clip(1, len(secret) - 1)
    gap = np.minimum(abs(numbers - secret[right - 1]), abs(numbers - secret[right]))
    return np.unique(numbers[(gap < 1e-9 * np.abs(numbers)) & (numbers != 0)])


def unescaped(text: str) -> str:
    """Characters in place of what html and json write for them: a thin space, a comma."""
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), html.unescape(text))


def identifiers(text: str) -> Iterator[str]:
    """Numbers of patients and ECGs: plain, padded, in a file name, with thousands apart, or as a power of ten."""
    numbers = [int(digits) for digits in re.findall(r"\d{8,}", text)]
    grouped = rf"(?<!\d)(\d\d)({SPACE}|\.)(\d{{3}})\2(\d{{3}})(?!\d)"
    numbers += [int(a + b + c) for a, _, b, c in re.findall(grouped, text)]
    numbers += [round(float(power)) for power in re.findall(r"\d\.\d{4,}e\+?0?7\b", text)]
    for kind, first in (("ecg_id", FIRST_ECG), ("patient_id", FIRST_PATIENT)):
        yield from (f"{kind} {number}" for number in numbers if first < number < first + 1_000)


def words_of(path: Path) -> str:
    """All text of a file: of a picture what is stored beside the pixels, of a page also what its tags part."""
    raw = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return "\n".join(f"{key}: {value}" for key, value in picture.info.items())
    if path.name == "objects.inv":
        head, packed = raw.rsplit(b"zlib.\n", 1)
        raw = head + zlib.decompress(packed)
    text = raw.decode("utf-8", "replace")
    return text + "\n" + re.sub(r"<[^>]*>", "", text) if path.suffix == ".html" else text


def figures_in(watched: Path) -> list[dict[str, Any]]:
    """Figures as `watched_figures` wrote them down."""
    return [json.loads(line) for line in watched.read_text().splitlines()]


# Counts

PEOPLE = re.compile(
    r"(?:n|n_(?!folds).+|events?|events_\w+|\w+_events|patients|female|male|set|not known|age_known|at_risk"
    r"|censored|competing|size|sum|rows|count)"
)
"""Columns and rows that count people."""

SAID = re.compile(
    r"\bn\s*=\s*([1-9])\b(?![.,]\d)"
    r"|(?<![\d.,\u2009\-–=])\b([1-9])\s(?:\w+\s)?(?:events?|patients?|participants?|people|women|men)\b"
    r"|\b(?:events|patients)\s*[=:]\s*([1-9])\b(?![.,]\d)"
)
"""A count of 1 to 9 in a sentence."""

COUNTED = re.compile(r"\(patients\)|(?:patients|events)\b.*\(number\)", re.I | re.S)
"""In the label of an axis that counts people."""


def small(text: str) -> bool:
    """Whether a cell holds a count of 1 to 9."""
    return bool(re.fullmatch(r"[1-9](?:\.0+)?", text.strip()))


def small_counts_in_tables(page: str) -> list[str]:
    """Counts of 1 to 9 people in the tables of a page, by the name of their column or of their row."""
    found = []
    for table in BeautifulSoup(page, "html.parser").find_all("table"):
        above = [spread(row) for row in table.select("thead tr")]
        for row in table.select("tbody tr"):
            cells = [cell.get_text(" ", strip=True) for cell in row.find_all("td")]
            if not cells:
                continue
            of_row = [cell.get_text(" ", strip=True) for cell in row.find_all("th")]
            of_column = [names[-len(cells) :] for names in above if len(names) >= len(cells)]
            for place, cell in enumerate(cells):
                names = [*of_row, *(names[place] for names in of_column)]
                counts = [name for name in names if PEOPLE.fullmatch(name)]
                if counts and small(cell):
                    found.append(f"{counts[0]} = {cell}")
            if of_column:
                found += small_rests(dict(zip(of_column[0], cells, strict=True)))
    return found


def small_rests(row: dict[str, str]) -> list[str]:
    """Counts so near to the whole, n, that fewer than ten are left, whom the row gives away."""
    known = {name: int(cell) for name, cell in row.items() if re.fullmatch(r"\d+", cell)}
    return [
        f"{name} = {known[name]} of n = {known['n']}"
        for name in ("events", "female", "male", "set", "not known", "competing")
        if name in known and "n" in known and 0 < known["n"] - known[name] < 10
    ]


def spread(row: Tag) -> list[str]:
    """Cells of a heading, one that spans several columns repeated."""
    return [
        cell.get_text(" ", strip=True)
        for cell in row.find_all(["th", "td"])
        for _ in range(int(str(cell.get("colspan", "1"))))
    ]


def small_counts_said(text: str) -> list[str]:
    """Counts of 1 to 9 people in sentences."""
    return [match.group() for match in SAID.finditer(text)]


def small_counts_drawn(figure: dict[str, Any]) -> list[str]:
    """Counts of 1 to 9 people in a figure: said, or drawn along an axis that counts people."""
    found = small_counts_said("\n".join(figure["words"]))
    for label, points in figure["points"]:
        if COUNTED.search(label):
            found += [f"{label}: {p:g}" for p in sorted({p for p in points if 0.5 < p < 9.5})[:3]]
    return found
