"""Put translated phrases together as English statements."""

from typing import NamedTuple

from ecgrepro.translation.glossary import HEADS, MODIFIERS
from ecgrepro.translation.normalize import SENTENCE_ENDS, WIDE_GAP

_NO_SPACE_BEFORE = frozenset(",.;:!?)]}%\"'")
_NO_SPACE_AFTER = frozenset("([{")
_LISTED = frozenset({"infarct", "ST-T", "stage"})
"""Parts whose print-out lists several findings under one heading, a line each."""


class Item(NamedTuple):
    """A piece of the output: a translated phrase, or a token that stays as it is.

    `words` counts the words of the report that it covers, `known` says whether they needed no help.
    """

    text: str
    part: str
    gap: str
    words: int
    known: bool
    phrase: bool


def write(items: list[Item]) -> str:
    """Put items together as English sentences: a finding after a finding starts a new one."""
    leads = [False] * (len(items) + 1)
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        follow = items[index + 1] if index + 1 < len(items) else None
        if item.phrase and item.part in MODIFIERS and follow is not None and follow.phrase:
            leads[index] = (follow.part in HEADS and follow.part != "verdict") or leads[index + 1]
    pieces: list[str] = []
    for index, item in enumerate(items):
        if index == 0:
            pieces.append(item.text)
            continue
        before = items[index - 1]
        pieces.append(_joint(before, item, leads[index - 1], leads[index]) + item.text)
    return "".join(pieces).strip()


def _joint(before: Item, item: Item, before_leads: bool, leads: bool) -> str:
    """Choose what stands between two items."""
    if item.text in _NO_SPACE_BEFORE or before.text in _NO_SPACE_AFTER:
        return "" if item.gap.strip() == "" or item.text in _NO_SPACE_BEFORE else item.gap
    if item.text.startswith("-"):
        return ""
    open_end = (
        before.part in {"link", "opener"}
        or before_leads
        or before.text in {",", ":", "/", "+", "&", "-"}
    )
    starts = item.phrase and (item.part in HEADS or leads)
    if before.text in SENTENCE_ENDS:
        return " "
    wide = len(item.gap) >= WIDE_GAP
    if starts and not open_end:
        listed = wide and item.part in _LISTED and before.part in _LISTED
        return ", " if listed else ". "
    if wide and item.phrase and not open_end:
        return ", "
    if item.phrase or before.phrase:
        tight = item.gap == "" and (before.text == "/" or item.text == "/")
        return "" if tight else " "
    gap = " ".join(f"|{item.gap}|".split()).strip("|")
    if "-" in gap or "–" in gap or "—" in gap:
        return (
            " - "
            if gap.startswith(" ") and gap.endswith(" ")
            else "-"
            if gap[0] == "-" and gap[-1] == "-"
            else gap
        )
    return " " if gap else ""


def join_pieces(parts: list[str]) -> str:
    """Join pieces of several languages as sentences."""
    joined = ""
    for part in parts:
        if not part:
            continue
        if joined and joined[-1] not in ".!?;:,(" and part[0] not in ".,;:!?)":
            joined += "."
        joined += (" " if joined and part[0] not in ".,;:!?)" else "") + part
    return joined
