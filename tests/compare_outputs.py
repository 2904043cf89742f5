"""How a chapter is compared with its stored reference: words exactly, numbers as far as any machine can promise.

Another processor or another number of threads adds in another order, so the last bits of a sum differ, and a training
multiplies such differences. A stored output is therefore cut into words and numbers:

- words and whole numbers (counts, shapes, ranks) must be equal;
- a decimal may be off by `UNITS` of its last printed place: 0.58 and 0.59 are alike, 0.58 and 0.60 are not;
- in a cell tagged `trained`, whose numbers were trained or computed from something trained, a decimal may be off by
  `TRAINED`, by `TRAINED_UNITS` of its last place or by `TRAINED_SHARE` of its size (what the smoke profile's small
  trainings moved on three processors, and half as much again), and a verdict (above, better, the best epoch) may turn.
  Such a cell alone says little: what must hold on every machine its chapter asserts under *Checks*.

Spaces, and lines drawn under a heading, follow the width of the numbers and are not compared.
"""

import re
from typing import Any

NUMBER = re.compile(r"(?<![\w.])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\w)", re.I)
VERDICTS = re.compile(
    r"not clearly above|above|below|better|worse|no clear difference|contains|EXCLUDES|cannot be told|is told"
    r"|epoch +\d+"
)
UNITS = 1.5
TRAINED = 0.2
TRAINED_UNITS = 20
TRAINED_SHARE = 0.25


class Printed(str):
    """Text of an output that equals another one as far as any machine can promise."""

    trained = False

    def __eq__(self, other: object) -> bool:
        """Compare piece by piece; see the module."""
        return isinstance(other, str) and alike(self, other, self.trained)

    def __ne__(self, other: object) -> bool:
        """Tell nbval, which asks with `!=`."""
        return not self == other

    __hash__ = str.__hash__


def printed(text: Any, trained: bool) -> Any:
    """Mark what nbval is about to compare; anything but text stays as it is."""
    if not isinstance(text, str):
        return text
    marked = Printed(text)
    marked.trained = trained
    return marked


def alike(one: str, two: str, trained: bool = False) -> bool:
    """Whether two outputs agree in their words, and in their numbers within the tolerance."""
    first, second = (_pieces(text, trained) for text in (one, two))
    return len(first) == len(second) and all(
        a == b or _near(a, b, trained) for a, b in zip(first, second, strict=True)
    )


def _pieces(text: str, trained: bool) -> list[str]:
    """Numbers, and the words between them."""
    if trained:
        text = VERDICTS.sub("VERDICT", text)
    found, end = [], 0
    for number in NUMBER.finditer(text):
        found += [*text[end : number.start()].split(), number.group()]
        end = number.end()
    return [piece for piece in [*found, *text[end:].split()] if piece.strip("-─")]


def _near(one: str, two: str, trained: bool) -> bool:
    if not (NUMBER.fullmatch(one) and NUMBER.fullmatch(two) and "." in one and "." in two):
        return False
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (one, two))
    unit = max(_unit(one), _unit(two))
    allowed = UNITS * unit
    if trained:
        allowed = max(TRAINED_UNITS * unit, TRAINED, TRAINED_SHARE * abs(a))
    return abs(a - b) <= allowed


def _unit(number: str) -> float:
    """Size of the last printed place: 0.01 for 1.25, 100 for 1.25e4."""
    mantissa, _, exponent = number.lower().partition("e")
    return float(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))
