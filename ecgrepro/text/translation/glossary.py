"""The glossary: a table that a cardiologist can read, compiled into a search tree, and its validator.

One row a phrase: source, English, part. Three conventions keep it short:

* ``~`` after a word stands for every adjective ending: ``inferior~`` is inferior, inferiore, inferiorer, ...;
* ``<location>``, ``<side>``, ``<stage>`` and ``<certainty>`` stand for any entry of that part, and the English
  side repeats them where the translation goes;
* hyphens and spaces are the same, a full stop after an abbreviation may be missing, and umlauts may be written
  as ae, oe, ue or lost.
"""

import csv
import re
from dataclasses import dataclass, field
from importlib import resources
from itertools import product
from pathlib import Path

from ecgrepro.errors import InputError
from ecgrepro.text.translation.tokens import spellings, tokenize

LANGUAGES = ("german", "swedish")
HEADS = frozenset({
    "rhythm", "axis", "conduction", "infarct", "ST-T", "hypertrophy", "voltage", "wave", "verdict", "opener",
})  # fmt: skip
"""Parts that can stand alone as a finding; an opener is one that the next line completes."""
MODIFIERS = frozenset({"quality", "certainty", "stage", "location", "side", "negation"})
PARTS = HEADS | MODIFIERS | {"link", "unit", "name", "other"}
NEUTRAL = frozenset({
    "i", "ii", "iii", "avr", "avl", "avf", "v", "r", "l", "f", "ll", "lll", "iavr", "avlf", "iiiavf",  # leads
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9",
    "mv", "mm", "sec", "sek", "ms", "min", "hz", "bpm", "ppm", "mg", "ml", "kg", "cm", "mmhg", "watt", "amp",
    "p", "q", "s", "t", "u", "qrs", "rr", "pr", "pq", "qt", "qs", "rs", "rsr", "qr", "ecg",  # waves
    "n", "a", "b", "x", "si", "lv", "rv",
})  # fmt: skip
"""Words that are the same in every language: leads, units, waves, intervals."""
SLOTS = ("location", "side", "stage", "certainty")
ENDINGS = {"german": ("", "e", "er", "en", "es", "em"), "swedish": ("", "t", "a", "e")}

_SLOT = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table."""

    source: str
    english: str
    part: str
    slots: tuple[str, ...] = ()


@dataclass(slots=True)
class Node:
    """A node of the search tree: what may follow, and the entry that ends here."""

    words: dict[str, "Node"] = field(default_factory=dict)
    slots: dict[str, "Node"] = field(default_factory=dict)
    entry: Entry | None = None


@dataclass
class Glossary:
    """A compiled table of one language."""

    language: str
    entries: list[Entry]
    root: Node
    classes: dict[str, Node]
    words: frozenset[str]
    """Every single word of the source side, folded: used to tell the language and to repair spelling."""
    ordered: list[str]
    """The same words in order, to complete a word that was cut off."""


def packaged(name: str) -> Path:
    """Path of a table that comes with the package."""
    return Path(str(resources.files("ecgrepro.text.translation") / f"{name}.csv"))


def read_english_words() -> frozenset[str]:
    """Read the English words of the field, with which English text is recognised."""
    with packaged("english_words").open(encoding="utf-8", newline="") as stream:
        return frozenset(row["word"] for row in csv.DictReader(stream))


def read_rows(path: Path, language: str) -> list[Entry]:
    """Read a glossary table; an empty cell raises `InputError` with its line."""
    entries = []
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            cells = [(row[column] or "").strip() for column in (language, "english", "part")]
            if not all(cells):
                raise InputError(
                    f"{path}, line {reader.line_num}: a cell is empty, fill in all three columns."
                )
            entries.append(Entry(cells[0], cells[1], cells[2], tuple(_SLOT.findall(cells[1]))))
    return entries


def _spell_out(source: str, language: str) -> list[list[str]]:
    """Spell out a source: a list of alternatives for each of its tokens; slots stay '<name>'."""
    for piece in _SLOT.split(source)[1::2]:
        if piece not in SLOTS:
            raise InputError(
                f"The glossary row {source!r} has the unknown slot <{piece}>: use one of {SLOTS}."
            )
    tokens: list[list[str]] = []
    for index, piece in enumerate(_SLOT.split(source)):
        if index % 2:
            tokens.append([f"<{piece}>"])
            continue
        for token in tokenize(piece):
            if token.key == "~":
                stems = tokens.pop()
                tokens.append([stem + ending for stem in stems for ending in ENDINGS[language]])
            elif token.key != ".":
                tokens.append(sorted(spellings(token.text)))
    return tokens


def _insert(root: Node, tokens: list[list[str]], entry: Entry, replace: bool) -> None:
    """Add an entry under every combination of its spellings."""
    for combination in product(*tokens):
        node = root
        for key in combination:
            if key.startswith("<"):
                node = node.slots.setdefault(key.strip("<>"), Node())
            else:
                node = node.words.setdefault(key, Node())
        if node.entry is None or replace:
            node.entry = entry


def compile_glossary(entries: list[Entry], language: str) -> Glossary:
    """Build the search tree of a language."""
    root = Node()
    classes = {slot: Node() for slot in SLOTS}
    words: set[str] = set()
    for entry in entries:
        tokens = _spell_out(entry.source, language)
        if not tokens:
            raise InputError(
                f"The glossary row {entry.source!r} has no word: correct or remove it."
            )
        exact = "~" not in entry.source  # a row that is spelt out comes before one with endings
        _insert(root, tokens, entry, exact)
        if entry.part in classes and "<" not in entry.source:
            _insert(classes[entry.part], tokens, entry, exact)
        words.update(
            key
            for alternatives in tokens
            for key in alternatives
            if key[0].isalpha() or key[0] == "#"
        )
    return Glossary(language, entries, root, classes, frozenset(words), sorted(words))


def load_glossary(language: str) -> Glossary:
    """Read and compile the packaged table of a language, 'german' or 'swedish'."""
    return compile_glossary(read_rows(packaged(language), language), language)


# --- the longest phrase at a place of a text -----------------------------------------------------------------

Fillings = tuple[tuple[str, Entry], ...]
"""Slots of a phrase, in order, with what fills them."""
Found = tuple[int, Entry, Fillings]
"""Where a phrase ends, its entry, its fillings."""


def reads_as_in(keys: list[str], position: int, end: int) -> bool:
    """Tell the Swedish 'i' (in) from the lead I: only the word is followed by what it points at."""
    if end > position + 1:
        return True
    follows = keys[position + 1] if position + 1 < len(keys) else ""
    before = keys[position - 1] if position else ""
    return (
        bool(follows)
        and follows[0].isalpha()
        and before not in {"och", ",", "avl", "avf", "avr", "block"}
    )


def longest(glossary: Glossary, keys: list[str], position: int) -> Found | None:
    """Find the longest entry that starts here; a literal word comes before a slot of the same length."""
    best: Found | None = None
    reached = 0
    length = len(keys)
    waiting: list[tuple[Node, int, Fillings]] = [(glossary.root, position, ())]
    while waiting:
        node, at, fillings = waiting.pop()
        while True:
            if node.entry is not None and at > reached:
                best, reached = (at, node.entry, fillings), at
            if at >= length:
                break
            key = keys[at]
            if key == "." and at > position and "." not in node.words:
                at += 1  # the full stop of an abbreviation, only where the phrase goes on
                if at >= length:
                    break
                key = keys[at]
            for slot, follow in node.slots.items():
                if key in glossary.classes[slot].words:
                    for end, filling in class_matches(glossary.classes[slot], keys, at):
                        waiting.append((follow, end, (*fillings, (slot, filling))))
            child = node.words.get(key)
            if child is None:
                break
            node, at = child, at + 1
    if best is None:
        return None
    end, entry, fillings = best
    last = fillings[-1][1] if fillings and entry.source.endswith(">") else entry
    if last.source.endswith(".") and end < len(keys) and keys[end] == ".":
        end += 1  # the full stop belongs to the abbreviation
    return end, entry, fillings


def class_matches(root: Node, keys: list[str], at: int) -> list[tuple[int, Entry]]:
    """List every entry of a slot's class that starts here."""
    matches: list[tuple[int, Entry]] = []
    node: Node | None = root
    while node is not None and at < len(keys):
        if keys[at] == "." and node is not root and "." not in node.words:
            at += 1
            continue
        node = node.words.get(keys[at])
        at += 1
        if node is not None and node.entry is not None:
            matches.append((at, node.entry))
    return matches[::-1]
