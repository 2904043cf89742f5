"""From latent states to SCP-ECG codes with confidences, as a fallible reader writes them."""

from collections.abc import Iterator
from importlib import resources

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.simulate.disease import (
    COMPLETE_LBBB,
    COMPLETE_RBBB,
    INJURY_REGIONS,
    ISCHEMIA_REGIONS,
    scales,
)

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_READING_SD = 0.08  # of a reader's error, on the scale of severity
_LEVELS = np.array([15.0, 35.0, 50.0, 80.0, 100.0])
_GRADED = (0.15, 0.03, 0.20, 0.07, 0.55)  # shares of the levels: infarcts, hypertrophy, atria
_SURE = (0.003, 0.002, 0.06, 0.015, 0.92)  # blocks, ischaemia
_NORMAL = (0.004, 0.004, 0.053, 0.185, 0.754)
_UNKNOWN = 0.0


def read_statements() -> pd.DataFrame:
    """Return the 71 genuine SCP statements by code.

    The table is `scp_statements.csv` of PTB-XL 1.0.3 (Wagner et al., Sci Data 2020; 7: 154;
    https://physionet.org/content/ptb-xl/1.0.3/), unchanged, licensed CC BY 4.0.
    """
    table = resources.files("ecgrepro.simulate") / "scp_statements.csv"
    with resources.as_file(table) as path:
        return pd.read_csv(path, index_col=0)


class _Codes:
    """What a reader sees of N ECGs, and the codes given so far.

    `read` is the reading of each disease's size, `found` whether it is large enough to be coded, `margin` by how much;
    `confidence` is by code and ECG, NaN where a code is absent.
    """

    def __init__(self, states: pd.DataFrame, rng: np.random.Generator) -> None:
        self.n, self.rng = len(states), rng
        self.state = {name: states[name].to_numpy() for name in states.columns}
        self.rhythm = self.state["rhythm"]
        self.confidence: dict[str, FloatArray] = {}
        self.read = {
            name: self.state[f"x_{name}"] + _READING_SD * rng.standard_normal(self.n)
            for name in scales()
        }
        self.margin = {name: self.read[name] - scale.coded for name, scale in scales().items()}
        self.found = {name: self.read[name] > scale.coded for name, scale in scales().items()}
        for name in self.found:
            if name not in ("paced", "pvc", "fibrillation"):
                self.found[name] &= (self.rhythm != "paced") | self.chance(0.1)

    def chance(self, share: float) -> BoolArray:
        """Toss a coin for each ECG."""
        return self.rng.uniform(size=self.n) < share

    def has(self, code: str) -> BoolArray:
        values = self.confidence.get(code)
        return np.zeros(self.n, dtype=bool) if values is None else ~np.isnan(values)

    def any(self, *codes: str) -> BoolArray:
        return np.logical_or.reduce([self.has(code) for code in codes])

    def set(self, code: str, where: BoolArray, value: FloatArray | float) -> None:
        column = self.confidence.setdefault(code, np.full(self.n, np.nan))
        column[where] = np.broadcast_to(np.asarray(value, dtype=float), self.n)[where]

    def levels(self, shares: tuple[float, ...], margin: FloatArray | None = None) -> FloatArray:
        """Draw confidences; with a margin (n,) the surer ones go to the clearer findings."""
        u = self.rng.uniform(size=self.n)
        if margin is not None:
            clear = 1 - np.exp(-1.6 * np.clip(margin, 0, None))  # about uniform among the coded
            u = np.clip(0.55 * clear + 0.45 * u, 0, 0.999)
        share = np.cumsum(np.asarray(shares) / np.sum(shares))
        return _LEVELS[np.minimum(np.searchsorted(share, u, side="right"), 4)]

    def graded(self, code: str, where: BoolArray, margin: FloatArray) -> None:
        self.set(code, where, self.levels(_GRADED, margin))

    def certain(self, code: str, where: BoolArray, share: float) -> None:
        """Code with confidence 100 in this share, and with an unknown one otherwise."""
        self.set(code, where, np.where(self.chance(share), 100.0, _UNKNOWN))

    def sure(self, code: str, where: BoolArray) -> None:
        self.set(code, where, self.levels(_SURE))

    def form(self, code: str, where: BoolArray) -> None:
        self.set(code, where, _UNKNOWN)


def assign_codes(
    states: pd.DataFrame, axis: FloatArray, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Code every ECG.

    Parameters
    ----------
    states
        From `disease.draw_states`, one row an ECG.
    axis
        Frontal QRS axis in degrees, shape (N,).
    rng
        The reader's errors and confidences.

    Returns
    -------
    list of dict
        SCP code to confidence (0 for unknown, the rule for form and rhythm; else 15 to 100),
        diagnoses before form before rhythm, surer ones first: the order of the release.
    """
    codes = _Codes(states, rng)
    _infarcts(codes)
    _repolarization(codes)
    _hypertrophy(codes)
    _conduction(codes)
    _beats(codes)
    _form(codes, axis)
    _normal(codes)
    return list(_rows(codes))


def _infarcts(codes: _Codes) -> None:
    f, m = codes.found, codes.margin
    low, side, back = f["inferior"], f["lateral"], f["posterior"]
    front, tip = f["anteroseptal"], f["anterior"]
    wide = side & ~low & (front | tip)
    codes.graded("IPLMI", low & side & back, m["inferior"])
    codes.graded("IPMI", low & ~side & back, m["inferior"])
    codes.graded("ILMI", low & side & ~back, m["inferior"])
    codes.graded("IMI", low & ~side & ~back, m["inferior"])
    codes.graded("PMI", back & ~low, m["posterior"])
    codes.graded("ALMI", wide, m["lateral"])
    codes.graded("LMI", side & ~low & ~wide, m["lateral"])
    codes.graded("ASMI", front & ~wide, m["anteroseptal"])
    codes.graded("AMI", tip & ~wide, m["anterior"])
    for region in INJURY_REGIONS:
        codes.sure(f"INJ{region}", f["injury"] & (codes.state["injury_region"] == region))


def _repolarization(codes: _Codes) -> None:
    f, read = codes.found, codes.read
    for region in ISCHEMIA_REGIONS:
        here = f["ischemia"] & (codes.state["ischemia_region"] == region)
        if not region:  # strain of a hypertrophied wall is read as ischaemia about as often as not
            here |= f["lvh"] & (read["lvh"] > 0.8) & codes.chance(0.45) & ~f["ischemia"]
        codes.sure(f"ISC{region or '_'}", here)
    codes.sure("DIG", f["digitalis"])
    codes.sure("LNGQT", (f["long_qt"] | (codes.state["qtc_ms"] > 500)) & ~codes.has("CLBBB"))
    codes.graded("EL", f["electrolyte"], read["electrolyte"])
    codes.set("ANEUR", f["aneurysm"], np.where(codes.chance(0.85), 50.0, 100.0))
    flat = f["flat_t"]
    kind = codes.rng.uniform(size=codes.n)
    codes.sure("NDT", flat & (kind < 0.66))
    codes.form("NT_", flat & (kind >= 0.66) & (kind < 0.82))
    codes.form("TAB_", flat & (kind >= 0.82) & (kind < 0.833))
    codes.form("LOWT", flat & (kind >= 0.55) & (kind < 0.61) | (flat & (kind >= 0.86)))
    st = 0.075 * read["ischemia"].clip(0, 2) + 0.15 * read["digitalis"].clip(0, 2)
    st += 0.19 * read["injury"].clip(0, 2) + 0.06 * read["lvh"].clip(0, 2)
    st += 0.02 * codes.rng.standard_normal(codes.n)
    st += 0.03 * read["flat_t"].clip(0, 2)
    depressed = st > 0.080
    codes.form("STD_", depressed & codes.chance(0.70))
    vague = (st > 0.035) & ~depressed & codes.chance(0.30)
    codes.set("NST_", vague, np.where(codes.chance(0.27), _UNKNOWN, 100.0))
    codes.form("INVT", f["ischemia"] & (read["ischemia"] > 0.9) & codes.chance(0.50))
    raised = (codes.state["acute"] > 0.5) & (f["inferior"] | f["anteroseptal"])
    codes.form("STE_", raised & codes.chance(0.10))


def _hypertrophy(codes: _Codes) -> None:
    f, m = codes.found, codes.margin
    voltage_only = f["lvh"] & codes.chance(0.06)
    codes.graded("LVH", f["lvh"] & ~voltage_only, m["lvh"])
    codes.form("VCLVH", voltage_only | (f["lvh"] & codes.chance(0.33)))
    codes.graded("SEHYP", f["lvh"] & codes.chance(0.013), m["lvh"])
    codes.graded("RVH", f["rvh"], m["rvh"])
    codes.graded("LAO/LAE", f["left_atrium"], m["left_atrium"])
    codes.graded("RAO/RAE", f["right_atrium"], m["right_atrium"])


def _conduction(codes: _Codes) -> None:
    f, read, rhythm = codes.found, codes.read, codes.rhythm
    codes.sure("LAFB", f["lafb"])
    codes.sure("LPFB", f["lpfb"])
    complete = read["rbbb"] > COMPLETE_RBBB
    codes.sure("CRBBB", f["rbbb"] & complete)
    codes.sure("IRBBB", f["rbbb"] & ~complete)
    complete = read["lbbb"] > COMPLETE_LBBB
    codes.sure("CLBBB", f["lbbb"] & complete)
    codes.sure("ILBBB", f["lbbb"] & ~complete)
    codes.sure("IVCD", f["ivcd"])
    codes.sure("WPW", f["preexcitation"])
    codes.sure("2AVB", rhythm == "avb2")
    codes.sure("3AVB", rhythm == "avb3")
    long_pr = (codes.state["pr_ms"] + 4 * codes.rng.standard_normal(codes.n)) > 199
    long_pr &= rhythm == "sinus"
    kind = codes.rng.uniform(size=codes.n)
    codes.sure("1AVB", long_pr & (kind < 0.85))
    codes.form("LPR", long_pr & (kind > 0.60))


def _beats(codes: _Codes) -> None:
    f, rhythm, rate = codes.found, codes.rhythm, codes.state["heart_rate"]
    codes.certain("AFIB", rhythm == "fibrillation", 0.03)
    codes.certain("AFLT", rhythm == "flutter", 0.77)
    codes.certain("PACE", rhythm == "paced", 0.98)
    paroxysmal = codes.chance(0.47)
    codes.set("PSVT", (rhythm == "svt") & paroxysmal, 100.0)
    codes.form("SVTAC", (rhythm == "svt") & ~paroxysmal)
    sinus = rhythm == "sinus"
    fast, slow = sinus & (rate > 100), sinus & (rate < 51)
    uneven = sinus & f["sinus_arrhythmia"] & ~fast & ~slow
    codes.form("STACH", fast)
    codes.form("SBRAD", slow)
    codes.form("SARRH", uneven)
    wandering = sinus & ~fast & ~slow & ~uneven & codes.chance(0.009)
    codes.form("SVARR", wandering)
    named = codes.rng.uniform(size=codes.n) > 0.018  # some reports name no rhythm at all
    codes.form("SR", sinus & ~fast & ~slow & ~uneven & ~wandering & named)
    codes.form("SR", (rhythm == "avb2") & named)
    codes.certain("PVC", f["pvc"] & (rhythm != "paced"), 0.9)
    codes.certain("PAC", f["pac"], 0.09)
    often = codes.state["pvc"]
    codes.certain("BIGU", f["pvc"] & (often > 1.55), 0.3)
    codes.form("TRIGU", f["pvc"] & (often > 1.42) & (often <= 1.55))
    codes.form("PRC(S)", (f["pvc"] | f["pac"]) & codes.chance(0.007))


def _form(codes: _Codes, axis: FloatArray) -> None:
    f = codes.found
    infarct = f["inferior"] | f["anteroseptal"] | f["anterior"] | f["lateral"]
    codes.form("ABQRS", infarct & codes.chance(0.60))
    odd = ~infarct & ((axis < -45) | (codes.state["qrs_ms"] > 115))
    codes.form("ABQRS", odd & codes.chance(0.06))
    codes.form("QWAVE", infarct & ~codes.has("ABQRS") & codes.chance(0.24))
    voltage = codes.state["u_voltage"]
    codes.form("LVOLT", f["low_voltage"] | (voltage < -3.1))
    codes.form("HVOLT", (voltage > 2.65) & ~f["lvh"])


def _normal(codes: _Codes) -> None:
    """Call normal what has no diagnosis; minor findings are now and then called normal too."""
    table = read_statements()
    diagnoses = [c for c in table.index[table["diagnostic"] == 1.0] if c != "NORM"]
    has_diagnosis = codes.any(*diagnoses)
    rhythm_only = codes.any("AFIB", "AFLT", "SVTAC", "PSVT", "BIGU", "PVC", "STD_", "INVT")
    u = codes.rng.uniform(size=codes.n)
    normal = ~has_diagnosis & ~codes.has("PACE") & np.where(rhythm_only, u < 0.7, u < 0.985)
    minor = codes.any("IRBBB", "NDT", "1AVB") & ~codes.any("IMI", "ASMI", "LVH", "ISC_", "CRBBB")
    normal |= minor & (u < 0.03)
    codes.set("NORM", normal, codes.levels(_NORMAL))


def _rows(codes: _Codes) -> Iterator[dict[str, float]]:
    """One dict an ECG, ordered by kind (diagnosis, form, rhythm), then by falling confidence."""
    order = [code for code in read_statements().index if code in codes.confidence]
    rank = {code: i for i, code in enumerate(order)}
    kind = {code: k for k, part in enumerate(_kinds()) for code in part}
    table = np.stack([codes.confidence[code] for code in order], axis=1)
    rows: list[list[tuple[int, float, int, str]]] = [[] for _ in range(codes.n)]
    for i, j in zip(*np.nonzero(~np.isnan(table)), strict=True):
        code, value = order[j], float(table[i, j])
        rows[i].append((kind[code], -value, rank[code], code))
    for row in rows:
        yield {code: -value for _, value, _, code in sorted(row)}


def _kinds() -> tuple[list[str], list[str], list[str]]:
    table = read_statements()
    diagnostic = table["diagnostic"] == 1.0
    form = (table["form"] == 1.0) & ~diagnostic
    rest = ~diagnostic & ~form
    return list(table.index[diagnostic]), list(table.index[form]), list(table.index[rest])
