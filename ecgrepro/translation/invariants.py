"""What a translation must never lose: numbers, units, lead names, sides, negation and doubt."""

import re
from collections import Counter

from ecgrepro.translation.normalize import fold, repair

_NUMBER = re.compile(r"\d+")
_LEAD = re.compile(r"\b(?:av[rlf]|v[1-6]|iii|ii)\b")
_UNIT = re.compile(
    r"(?<![^\W\d_])(?:mv|mm|sek|sec|ms|min|hz|bpm|mg|ml|kg|cm|mmhg|watt)(?![^\W\d_])|%"
)

_NEGATION = re.compile(
    r"\b(?:kein\w*|ohne|nicht|fehl(?:end\w*|t|ed\w*)|ej|inte|inga|inget|ingen|utan|saknas|avsaknad)\b"
)
_NEGATION_EN = re.compile(
    r"\b(?:no|not|nothing|without|cannot|absent|absence|missing|never|none|nor)\b"
)

_DOUBT = re.compile(
    r"\bv\.\s?a\.|\bvd\.|\b(?:verdacht|moeglich\w*|mogl\w*|moegl\b|wahrscheinlich\w*|fraglich\w*|fragl|evt|eventuell\w*"
    r"|ehesten|nicht auszuschlie\w+|nicht ausgeschlossen|uteslutas|misstaenkt|misstanke|moejligen|moejlig\w*"
    r"|sannolik\w*|troligen|oevervaeg\w*)\b"
)
_DOUBT_EN = re.compile(
    r"\b(?:suspected|suspicion|possibl[ey]|probabl[ey]|likely|questionable|may|might|consider(?:ed)?"
    r"|cannot be excluded|not excluded|cannot rule out)\b"
)
_LEFT = re.compile(r"\b(?:links\w*|linke\w*|vaenster\w*)")
_LEFT_EN = re.compile(r"\bleft\w*")
_RIGHT = re.compile(r"\b(?:rechts\w*|rechte\w*|hoeger\w*)")
_RIGHT_EN = re.compile(r"\bright\w*")

_COUNTED = (
    ("negation", _NEGATION, _NEGATION_EN),
    ("doubt", _DOUBT, _DOUBT_EN),
    ("left", _LEFT, _LEFT_EN),
    ("right", _RIGHT, _RIGHT_EN),
)


def broken_promises(source: str, english: str) -> list[str]:
    """Compare a text with its translation and name what was lost.

    Parameters
    ----------
    source
        German, Swedish or English text, without boilerplate.
    english
        Its translation.

    Returns
    -------
    list of str
        One line for each loss; empty when every promise is kept. Words that were left untranslated count as kept.
        The lead I is not checked, for 'i' is also a word (Swedish 'in') and a degree ('av-block i').
    """
    before, after = fold_text(source), fold_text(english)
    broken = []
    for name, pattern in (("number", _NUMBER), ("lead", _LEAD), ("unit", _UNIT)):
        lost = Counter(pattern.findall(before)) - Counter(pattern.findall(after))
        broken += [f"{name} {found!r} is lost" for found in lost]
    for name, pattern, english_pattern in _COUNTED:
        found = pattern.findall(before)
        kept = len(english_pattern.findall(after)) + len(pattern.findall(after))
        if len(found) > kept:
            broken.append(f"{name} {found[0]!r} is lost ({len(found)} before, {kept} after)")
    return broken


def fold_text(text: str) -> str:
    """Fold a text for comparison: lower case, umlauts as two letters, single spaces."""
    return " ".join(fold(repair(text)).split())
