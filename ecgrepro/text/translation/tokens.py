"""Repair encodings, take out what stands around a report, and cut it into tokens."""

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

_MOJIBAKE = {
    "Ã¤": "ä", "Ã„": "Ä", "Ã¶": "ö", "Ã–": "Ö", "Ã¼": "ü", "Ãœ": "Ü", "ÃŸ": "ß", "Ã¥": "å", "Ã…": "Å",
    "ã¤": "ä", "ã„": "ä", "ã¶": "ö", "ã–": "ö", "ã¼": "ü", "ãœ": "ü", "ãŸ": "ß", "ã¥": "å", "ã…": "å",
}  # fmt: skip
"""UTF-8 read as Latin-1 (or Windows-1252), also after lower-casing."""

_ISO646_SE = str.maketrans({"{": "ä", "|": "ö", "}": "å"})
_ISO646 = re.compile(r"(?<=[a-z])[{|}](?=[a-z])|(?<!\S)[{|}](?=[a-z]{2})", re.IGNORECASE)

LETTER = r"[^\W\d_]"
_TOKEN = re.compile(
    rf"(?<!{LETTER})v\d(?!\d)"  # a chest lead
    r"|\d+(?:[.,:]\d+)*"  # a number, a date, a ratio
    rf"|[#\ufffd¿]?{LETTER}+(?:[#\ufffd¿?]{LETTER}+)*"  # a word, also one with a letter lost to an encoding
    r"|[^\s\w]|_"
)
SENTENCE_ENDS = frozenset(".!?;")
WIDE_GAP = 3
"""Spaces that mark a new line of the ECG machine's print-out."""
_GAP_CHARS = "-–—\xad"

_FOLD = str.maketrans({
    "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "é": "e", "\ufffd": "#", "¿": "#", "?": "#",
})  # fmt: skip
_STRIP = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss", "å": "a", "é": "e"})
_HOLE = str.maketrans(dict.fromkeys("äöüßå", "#"))


class Token(NamedTuple):
    """A word, number or sign of a report (a named tuple, because hundreds of thousands are made).

    Attributes
    ----------
    key
        Folded spelling, by which the glossary is searched.
    gap
        What stood between the previous token and this one: spaces and hyphens.
    text
        The token as it was written.
    words
        How many words of the report it stands for: 0 for numbers and signs.
    """

    key: str
    gap: str
    text: str
    words: int


def repair(text: str) -> str:
    """Undo the common damages of encodings; the length may change, the words do not.

    UTF-8 read as Latin-1 ('mÃ¶glich'), the Swedish ISO 646 ('}lder'), an sz of code page 437 ('schweiá'), and letters
    that Unicode can write in two ways.
    """
    text = unicodedata.normalize("NFC", text)
    if "Ã" in text or "ã" in text:
        for broken, letter in _MOJIBAKE.items():
            text = text.replace(broken, letter)
    if "á" in text:
        text = re.sub(rf"(?<={LETTER})á(?={LETTER}|\b)", "ß", text)
    if "{" in text or "}" in text or "|" in text:
        text = _ISO646.sub(lambda match: match[0].translate(_ISO646_SE), text)
    return text


def fold(word: str) -> str:
    """Spell a word for comparison: lower case, umlauts as two letters, '#' for a letter lost to an encoding."""
    return word.lower().translate(_FOLD)


def spellings(word: str) -> set[str]:
    """List the keys under which a glossary word is found: folded, without its dots, and with a lost letter."""
    lower = word.lower()
    return {lower.translate(_FOLD), lower.translate(_STRIP), lower.translate(_HOLE)}


def tokenize(text: str) -> list[Token]:
    """Cut a lower-case text into tokens; hyphens and spaces become gaps, other signs are tokens."""
    tokens: list[Token] = []
    last = 0
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in _GAP_CHARS:
            continue
        key = sign if len(sign) == 1 or (sign.isascii() and "?" not in sign) else fold(sign)
        tokens.append(
            Token(
                key, text[last : match.start()], sign, 1 if key[0].isalpha() or is_word(key) else 0
            )
        )
        last = match.end()
    return tokens


def is_word(key: str) -> bool:
    """Tell a word (or a lead) from a number and a sign."""
    return key[0].isalpha() or (len(key) > 1 and not key[0].isdigit())


_EDIT = re.compile(r"\bedit:\s*(.*)", re.IGNORECASE | re.DOTALL)
_CONSENSUS = re.compile(r"consensus label derived from:?\s*(.*)", re.IGNORECASE | re.DOTALL)
_MACHINE = re.compile(
    r"(?:(?<!\S)4\.46\s{0,60})?(?<!\w)(?:unbest[äa#]e?tigter bericht|obekr[äa#]e?ftad rapport)",
    re.IGNORECASE,
)
_MACHINE_END = re.compile(r"(?<!\S)4\.46(?:\s{1,60}u\w{0,14}(?:\s{1,9}b\w{0,7})?)?$", re.IGNORECASE)
_MACHINE_CUT = re.compile(r"\s4(?:\.4?)?$")
_PRINT_OUT = 240
"""A print-out is cut off at 255 characters; a last '4' is the beginning of '4.46' only in one that long."""


@dataclass(frozen=True)
class Boilerplate:
    """A report, and what stood around it.

    Attributes
    ----------
    body
        The report itself.
    unconfirmed
        Whether the machine printed 'unbestätigter bericht' or 'obekräftad rapport' (unconfirmed report).
    edit
        What a later reader added after 'Edit:', as it was written: codes of the re-annotation and remarks. It is a
        label, not a report, and must not reach a text encoder.
    consensus
        The label table after 'consensus label derived from:'.
    """

    body: str
    unconfirmed: bool
    edit: str
    consensus: str


def split_boilerplate(report: str) -> Boilerplate:
    """Take the machine's and the annotators' additions out of a report."""
    body, edit, consensus = report, "", ""
    if (found := _EDIT.search(body)) is not None:
        body, edit = body[: found.start()], " ".join(found[1].split())
    if (found := _CONSENSUS.search(body)) is not None:
        body, consensus = body[: found.start()], " ".join(found[1].split())
    shorter = _MACHINE.sub(" ", body).rstrip()
    endings = [_MACHINE_END, _MACHINE_CUT] if len(report) >= _PRINT_OUT else [_MACHINE_END]
    for ending in endings:
        if (found := ending.search(shorter, max(0, len(shorter) - 90))) is not None:
            shorter = shorter[: found.start()].rstrip()
    unconfirmed = shorter != body.rstrip()
    return Boilerplate(shorter.strip(), unconfirmed, edit, consensus)
