"""Reports as an ECG cart or a hurried reader writes them: German, English or Swedish, telegraphic.

The phrases follow the style of PTB-XL's reports, none of which is copied whole. As in the release,
text was lower-cased by a program that did not know umlauts, so that they stay capitals (Ä, Ö, Ü, Å).
"""

import csv
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

LANGUAGES = ("de", "en", "sv")
_LANGUAGE_SHARES = (0.66, 0.31, 0.03)
_MACHINE_SHARE = 0.47  # of German and Swedish reports: unconfirmed output of the cart
_TRACE_ONLY_SHARE = 0.05  # of English ones
_BOILERPLATE = {
    "de": " 4.46                          unbestätigter bericht",
    "sv": "                          obekräftad rapport",
}
_UMLAUTS = str.maketrans("äöüå", "ÄÖÜÅ")

_QRS_LEAD = {"de": "qrs(t) abnorm", "en": "", "sv": "avvikande qrs(t) förlopp"}
_ST_LEAD = {"de": "st & t abnorm, wahrscheinlich", "en": "", "sv": "avvikande st-t förlopp"}
_WALLS: dict[str, tuple[str, str, str]] = {
    "IMI": ("inferiorer", "inferior", "inferior"),
    "ILMI": ("inferolateraler", "inferolateral", "inferolateral"),
    "IPMI": ("inferoposteriorer", "inferoposterior", "inferoposterior"),
    "IPLMI": ("inferoposterolateraler", "inferoposterolateral", "inferoposterolateral"),
    "PMI": ("posteriorer", "posterior", "posterior"),
    "ASMI": ("anteroseptaler", "anteroseptal", "anteroseptal"),
    "AMI": ("anteriorer", "anterior", "anterior"),
    "ALMI": ("anterolateraler", "anterolateral", "anterolateral"),
    "LMI": ("lateraler", "lateral", "lateral"),
}
_REGIONS: dict[str, tuple[str, str, str]] = {
    "_": ("anterolaterale", "findings are likely to be due to myocardial", "anterolateral"),
    "AL": ("anterolaterale", "anterolateral", "anterolateral"),
    "IN": ("inferiore", "inferior", "inferior"),
    "IL": ("inferolaterale", "inferolateral", "inferolateral"),
    "AS": ("anteroseptale", "anteroseptal", "anteroseptal"),
    "LA": ("laterale", "lateral", "lateral"),
    "AN": ("anteriore", "anterior", "anterior"),
}
_INJURY = (
    "{} innenschichtsschaden möglich",
    "{} subendocardial injury.",
    "{} subendokardiell skada",
)
_LIKELY = {
    "de": ("{} infarkt     wahrscheinlich alt", "{} infarkt     alter unbest."),
    "en": (
        "consistent with old {} myocardial infarction.",
        "q waves consistent with {} myocardial infarction of uncertain age.",
    ),
    "sv": ("{} infarkt     sannolikt gammal", "{} infarkt     ålder ej bestämmbar"),
}
_UNLIKELY = {
    "de": ("{} myokardschaden möglich", "{} myokardschaden nicht auszuschliessen"),
    "en": ("possible old {} infarct.", "cannot rule out {} infarct."),
    "sv": ("{} myokardskada möjlig", "{} myokardskada bör övervägas"),
}
_NORMAL = ("normales ekg", "normal ecg.", "normalt ekg")
_OTHERWISE = ("sonst normales ekg", "otherwise normal ecg.", "i övrigt normalt ekg")
_PATHOLOGICAL = {
    "de": ("pathologisch", "pathologisches ekg", "ekg pathologisch"),
    "sv": ("patologiskt ekg",),
}


@lru_cache(maxsize=1)
def _phrases() -> dict[str, tuple[str, ...]]:
    """Words for a code in each of `LANGUAGES`, in the order of a report.

    Extra beats, rhythm, atria, axis, conduction, voltage, infarct (which goes before ``ISC``), ST-T, interval.
    """
    text = (resources.files("ecgrepro.simulate") / "phrases.csv").read_text(encoding="utf-8")
    return {code: tuple(words) for code, *words in list(csv.reader(text.splitlines()))[1:]}


def draw_languages(n: int, rng: np.random.Generator) -> NDArray[np.str_]:
    """Draw the language of each report, shape (n,)."""
    return rng.choice(LANGUAGES, n, p=_LANGUAGE_SHARES)


def write_report(
    scp_codes: Mapping[str, float], axis: str, language: str, rng: np.random.Generator
) -> tuple[str, bool]:
    """Word one report.

    Parameters
    ----------
    scp_codes
        Codes with confidences; doubtful infarcts are worded as doubtful.
    axis
        Axis as in `heart_axis` ("MID", "LAD", ...), mentioned in German and Swedish, or when deviating.
    language
        One of `LANGUAGES`.
    rng
        Choice between equal wordings, boilerplate.

    Returns
    -------
    str, bool
        The report, and whether it is the cart's unconfirmed output.
    """
    k = LANGUAGES.index(language)
    pick = rng.uniform(size=4)
    if language == "en" and pick[3] < _TRACE_ONLY_SHARE:
        return "trace only requested.", False
    present = set(scp_codes) | {f"AXIS:{axis}"}
    phrases = _phrases()
    order = list(phrases)
    ischemia = order.index("ISC")
    parts = [phrases[code][k] for code in order[:ischemia] if code in present]
    infarcts = [code for code in scp_codes if code in _WALLS]
    if infarcts and _QRS_LEAD[language]:
        parts.append(_QRS_LEAD[language])
    for code in infarcts:
        words = _LIKELY if scp_codes[code] >= 80 else _UNLIKELY
        phrase = words[language][int(pick[0] < 0.5)].format(_WALLS[code][k])
        parts.append(phrase if language == "en" else f"   {phrase}")
    regions = [code[3:] for code in scp_codes if code.startswith("ISC")]
    if regions and _ST_LEAD[language]:
        parts.append(_ST_LEAD[language])
    for region in regions:
        phrase = phrases["ISC"][k].format(_REGIONS[region][k])
        parts.append(phrase if language == "en" else f"   {phrase}")
    for code in scp_codes:
        if code.startswith("INJ"):
            parts.append(_INJURY[k].format(_REGIONS[code[3:]][k]))
    parts += [phrases[code][k] for code in order[ischemia + 1 :] if code in present]
    if "NORM" in scp_codes:
        plain = not (present - {"NORM", "SR", f"AXIS:{axis}"}) and axis in ("MID", "")
        parts.append((_NORMAL if plain else _OTHERWISE)[k])
    elif language in _PATHOLOGICAL and pick[1] < 0.12:
        ends = _PATHOLOGICAL[language]
        parts.append(ends[int(pick[0] * len(ends))])
    text = " ".join(dict.fromkeys(part for part in parts if part))
    machine = language in _BOILERPLATE and pick[2] < _MACHINE_SHARE
    if machine:
        text += _BOILERPLATE[language]
    elif pick[1] > 0.985:
        text += " Edit: " + ", ".join(f"{c} {v:.0f}" for c, v in scp_codes.items() if v > 0)
    return (text or "ekg").translate(_UMLAUTS), machine
