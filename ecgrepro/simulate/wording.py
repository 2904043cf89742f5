"""Reports as an ECG cart or a hurried reader writes them: German, English or Swedish, telegraphic.

The phrases follow the style of PTB-XL's reports, none of which is copied whole. As in the release,
text was lower-cased by a program that did not know umlauts, so that they stay capitals (Ä, Ö, Ü, Å).
"""

from collections.abc import Mapping

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

# order of a report: extra beats, rhythm, atria, axis, conduction, voltage, infarct, ST-T, interval
_PHRASES: dict[str, tuple[str, str, str]] = {
    "PVC": (
        "ventrikuläre extrasystole(n)",
        "premature ventricular contraction(s).",
        "ventrikulär(a) extrasystoli(er)",
    ),
    "PAC": (
        "supraventrikuläre extrasystole(n)",
        "premature atrial contraction(s).",
        "supraventrikulär(a) extrasystoli(er)",
    ),
    "PRC(S)": ("extrasystole(n)", "premature complex(es).", "extraslag"),
    "BIGU": ("bigeminus", "bigeminy.", "bigemini"),
    "TRIGU": ("trigeminus", "trigeminy.", "trigemini"),
    "SR": ("sinusrhythmus", "sinus rhythm.", "sinusrytm"),
    "SBRAD": ("sinusbradykardie", "sinus bradycardia.", "sinusbradykardi"),
    "STACH": ("sinustachykardie", "sinus tachycardia.", "sinustakykardi"),
    "SARRH": ("sinus arrhythmie", "sinus arrhythmia.", "sinusarytmi"),
    "SVARR": (
        "supraventrikuläre arrhythmie",
        "irregular supraventricular rhythm.",
        "supraventrikulär arytmi",
    ),
    "AFIB": ("vorhofflimmern/-flattern", "atrial fibrillation.", "förmaksflimmer/-fladder"),
    "AFLT": ("vorhofflattern", "atrial flutter.", "förmaksfladder"),
    "PACE": ("schrittmacher ekg", "pacemaker rhythm.", "pacemaker-ekg"),
    "SVTAC": (
        "supraventrikuläre tachykardie",
        "supraventricular tachycardia.",
        "supraventrikulär takykardi",
    ),
    "PSVT": (
        "paroxysmale supraventrikuläre tachykardie",
        "paroxysmal supraventricular tachycardia.",
        "paroxysmal supraventrikulär takykardi",
    ),
    "1AVB": ("a-v block i", "prolonged pr interval.", "av-block i"),
    "2AVB": ("av-block 2. grades typ i", "second degree av block.", "av-block ii"),
    "3AVB": ("av-block iii. grades", "complete av dissociation.", "totalt av-block"),
    "LPR": ("verlängertes pq-intervall", "prolonged pr interval.", "förlängt pq-intervall"),
    "LAO/LAE": ("p-sinistrocardiale", "possible left atrial enlargement.", "p-sinistrokardiale"),
    "RAO/RAE": ("p-dextrocardiale", "possible right atrial enlargement.", "p-dextrokardiale"),
    "AXIS:MID": ("lagetyp normal", "", "normal el-axel"),
    "AXIS:LAD": ("linkstyp", "left axis deviation.", "vänster el-axel"),
    "AXIS:ALAD": ("ueberdrehter linkstyp", "left axis deviation.", "extrem vänster el-axel"),
    "AXIS:RAD": ("rechtstyp", "right axis deviation.", "höger el-axel"),
    "AXIS:ARAD": ("ueberdrehter rechtstyp", "right axis deviation.", "extrem höger el-axel"),
    "WPW": ("wpw-syndrom", "wolff-parkinson-white syndrome.", "wpw-mönster"),
    "LAFB": (
        "linksanteriorer hemiblock",
        "left anterior fascicular block.",
        "vänster anteriort hemiblock",
    ),
    "LPFB": (
        "linksposteriorer hemiblock",
        "left posterior fascicular block.",
        "vänster posteriort hemiblock",
    ),
    "IRBBB": (
        "unvollständiger rechtsschenkelblock",
        "incomplete right bundle branch block.",
        "inkomplett högersidigt skänkelblock",
    ),
    "CRBBB": ("rechtsschenkelblock", "right bundle branch block.", "högersidigt skänkelblock"),
    "ILBBB": (
        "unvollständiger linksschenkelblock",
        "incomplete left bundle branch block.",
        "inkomplett vänstersidigt skänkelblock",
    ),
    "CLBBB": ("linksschenkelblock", "left bundle branch block.", "vänstersidigt skänkelblock"),
    "IVCD": (
        "unspezifischer intraventrikulärer block",
        "non-specific intraventricular conduction delay.",
        "ospecifikt intraventrikulärt block",
    ),
    "LVOLT": ("periphere niederspannung", "low limb lead voltage.", "låg qrs-voltage"),
    "HVOLT": ("hochspannung", "voltages are high in chest leads.", "hög qrs-voltage"),
    "LVH": (
        "linkshypertrophie",
        "voltages are high in limb leads suggesting lvh.",
        "vänsterkammarhypertrofi",
    ),
    "VCLVH": (
        "mässige amplitudenkriterien für linkshypertrophie",
        "voltage criteria for lvh.",
        "måttliga amplitudkriterier för vänsterhypertrofi",
    ),
    "SEHYP": ("septumhypertrophie möglich", "possible septal hypertrophy.", "septal hypertrofi"),
    "RVH": ("rechtshypertrophie", "right ventricular hypertrophy.", "högerkammarhypertrofi"),
    "ISC": ("{} ischämie oder linksbelastung", "{} ischaemia.", "{} ischemi"),
    "DIG": (
        "digitalisveränderung",
        "findings may be due to digitalis effect.",
        "digitalispåverkan",
    ),
    "EL": (
        "u-welle, elektrolytstörung möglich",
        "suggest exclude hypokalaemia.",
        "elektrolytrubbning",
    ),
    "ANEUR": (
        "aneurysma nicht auszuschliessen",
        "st elevation, consider ventricular aneurysm.",
        "aneurysm kan ej uteslutas",
    ),
    "NDT": ("unspezifisches abnormes t", "non-specific t wave changes.", "ospecifik t-förändring"),
    "NT_": (
        "unspezifische t-veränderung",
        "minor non-specific t wave changes.",
        "ospecifik t-förändring",
    ),
    "LOWT": ("t-abflachung", "t waves are low or flat.", "låga t-vågor"),
    "TAB_": ("abnormales t", "t wave abnormality.", "t-vågsförändring"),
    "INVT": ("t-negativierung", "t waves are inverted.", "negativa t-vågor"),
    "NST_": (
        "unspezifische st-veränderung",
        "non-specific st segment changes.",
        "ospecifik st-förändring",
    ),
    "STD_": ("st-senkung", "st segments are depressed.", "st-sänkning"),
    "STE_": ("st-hebung", "st segments are elevated.", "st-höjning"),
    "LNGQT": ("qt-verlängerung", "prolonged qt.", "qt förlängd"),
}
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
_ORDER = tuple(_PHRASES)
_BEFORE_INFARCT = _ORDER[: _ORDER.index("ISC")]
_AFTER_INFARCT = _ORDER[_ORDER.index("ISC") + 1 :]


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
    parts = [_PHRASES[code][k] for code in _BEFORE_INFARCT if code in present]
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
        phrase = _PHRASES["ISC"][k].format(_REGIONS[region][k])
        parts.append(phrase if language == "en" else f"   {phrase}")
    for code in scp_codes:
        if code.startswith("INJ"):
            parts.append(_INJURY[k].format(_REGIONS[code[3:]][k]))
    parts += [_PHRASES[code][k] for code in _AFTER_INFARCT if code in present]
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
