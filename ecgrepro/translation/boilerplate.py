"""What stands around a report: the machine's version line, a later edit, a consensus label."""

import re
from dataclasses import dataclass

_EDIT = re.compile(r"\bedit:\s*(.*)", re.IGNORECASE | re.DOTALL)
_CONSENSUS = re.compile(r"consensus label derived from:?\s*(.*)", re.IGNORECASE | re.DOTALL)
_MACHINE = re.compile(
    r"(?:(?<!\S)4\.46\s{0,60})?(?<!\w)(?:unbest[äa#]e?tigter bericht|obekr[äa#]e?ftad rapport)",
    re.IGNORECASE,
)
_MACHINE_END = re.compile(r"(?<!\S)4\.46(?:\s{1,60}u\w{0,14}(?:\s{1,9}b\w{0,7})?)?$", re.IGNORECASE)
_MACHINE_CUT = re.compile(r"\s4(?:\.4?)?$")
_FULL_LENGTH = 240
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
    endings = [_MACHINE_END, _MACHINE_CUT] if len(report) >= _FULL_LENGTH else [_MACHINE_END]
    for ending in endings:
        if (found := ending.search(shorter, max(0, len(shorter) - 90))) is not None:
            shorter = shorter[: found.start()].rstrip()
    unconfirmed = shorter != body.rstrip()
    return Boilerplate(shorter.strip(), unconfirmed, edit, consensus)
