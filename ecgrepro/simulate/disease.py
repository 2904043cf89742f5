"""Latent disease: who is ill, how badly, and what the heart's clock does about it.

Every disease is a continuous liability (normal, with an age slope, a sex difference and two factors
shared between diseases), not a flag. Liability above an onset makes a severity, severity moves the
ECG, and a reader codes it when it looks large enough. So severity exists below the coding threshold,
codes are fallible, and an ECG carries more than its codes.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_SEVERITY = 1.6
"""Severity is 0 without disease, 0.6 for the median coded case, and never above this."""

COMPLETE_RBBB = 0.85
COMPLETE_LBBB = 0.28
"""Severities from which a bundle branch block is complete (the shares of CRBBB and CLBBB)."""

_PATIENT_SHARE = 0.8  # of the variance of a liability: the rest varies between ECGs of one patient
_SUBCLINICAL = 1.4  # share of ECGs with severity above 0, as a multiple of the coded share
_REFERENCE_SIZE = 40_000
_REFERENCE_SEED = 20_250_611


@dataclass(frozen=True)
class Disease:
    """One latent disease.

    Attributes
    ----------
    name
        Column name of its severity in `truth.csv`.
    prevalence
        Share of ECGs on which it is large enough to be coded (PTB-XL 1.0.3 counts).
    age
        Change of liability per decade.
    male
        Liability of men minus that of women.
    vascular, coronary
        Loadings on the two shared factors (pressure and degeneration; coronary artery disease).
    hypertension
        Added liability of hypertensive patients.
    weight
        What severity 1 adds to how ill the ECG looks (`outcomes.visible_severity`), before standardisation. Weights
        favour what survives a per-lead z-score (shape, width, rhythm, ST-T); what shows in voltage alone weighs little.
    """

    name: str
    prevalence: float
    age: float = 0.1
    male: float = 0.0
    vascular: float = 0.0
    coronary: float = 0.0
    hypertension: float = 0.0
    weight: float = 0.0


DISEASES: tuple[Disease, ...] = (
    Disease("inferior", 0.152, 0.22, 0.45, 0.15, 0.55, weight=1.0),
    Disease("anteroseptal", 0.122, 0.22, 0.35, 0.15, 0.50, weight=1.1),
    Disease("anterior", 0.019, 0.20, 0.35, 0.20, 0.50, weight=1.2),
    Disease("lateral", 0.045, 0.20, 0.35, 0.20, 0.70, weight=1.0),
    Disease("posterior", 0.006, 0.20, 0.35, 0.10, 0.60, weight=0.5),
    Disease("injury", 0.020, 0.15, 0.20, 0.20, 0.45, weight=1.0),
    Disease("ischemia", 0.112, 0.18, -0.05, 0.35, 0.30, 0.2, weight=1.0),
    Disease("flat_t", 0.145, 0.08, -0.25, 0.30, 0.15, 0.1, weight=0.5),
    Disease("digitalis", 0.0085, 0.35, 0.0, 0.40, 0.20, weight=0.5),
    Disease("long_qt", 0.006, 0.10, -0.20, 0.30, 0.20, weight=0.5),
    Disease("electrolyte", 0.0045, 0.10, -0.10, 0.20, 0.0, weight=0.4),
    Disease("aneurysm", 0.0048, 0.15, 0.50, 0.10, 0.65, weight=0.6),
    Disease("lvh", 0.106, 0.18, 0.15, 0.30, 0.05, 0.7, weight=0.35),
    Disease("rvh", 0.006, 0.05, 0.10, 0.20, 0.0, weight=0.5),
    Disease("left_atrium", 0.025, 0.20, 0.10, 0.50, 0.0, 0.4, weight=0.2),
    Disease("right_atrium", 0.0045, 0.10, 0.10, 0.20, 0.0),
    Disease("lafb", 0.082, 0.25, 0.30, 0.25, 0.15, weight=0.35),
    Disease("lpfb", 0.013, 0.15, 0.20, 0.20, 0.10, weight=0.35),
    Disease("rbbb", 0.084, 0.12, 0.45, 0.10, 0.0, weight=0.45),
    Disease("lbbb", 0.0275, 0.32, 0.05, 0.45, 0.20, weight=1.2),
    Disease("ivcd", 0.048, 0.12, 0.45, 0.25, 0.15, weight=0.9),
    Disease("av_delay", 0.055, 0.25, 0.30, 0.30, 0.15, weight=0.3),
    Disease("avb2", 0.0008, 0.25, 0.10, 0.30, 0.10, weight=1.0),
    Disease("avb3", 0.0008, 0.30, 0.10, 0.30, 0.10, weight=1.2),
    Disease("preexcitation", 0.0038, -0.20, 0.15),
    Disease("fibrillation", 0.072, 0.42, 0.15, 0.45, 0.05, 0.2, weight=1.2),
    Disease("flutter", 0.0036, 0.30, 0.35, 0.30, 0.10, weight=1.0),
    Disease("svt", 0.0024, 0.05, -0.10, 0.10, 0.0),
    Disease("paced", 0.0138, 0.40, 0.15, 0.40, 0.10, weight=1.2),
    Disease("pvc", 0.055, 0.18, 0.15, 0.30, 0.25, weight=0.5),
    Disease("pac", 0.021, 0.25, 0.05, 0.25, 0.0),
    Disease("sinus_arrhythmia", 0.040, -0.20, 0.10),
    Disease("low_voltage", 0.0085, 0.10, 0.0, 0.20, 0.05),
)
NAMES = tuple(disease.name for disease in DISEASES)

ISCHEMIA_REGIONS = ("", "AL", "IN", "IL", "AS", "LA", "AN")
_ISCHEMIA_SHARES = np.array([0.486, 0.250, 0.083, 0.068, 0.064, 0.0325, 0.0165])
INJURY_REGIONS = ("AS", "AL", "IN", "LA", "IL")
_INJURY_SHARES = np.array([0.51, 0.35, 0.05, 0.05, 0.04])

RHYTHMS = ("sinus", "paced", "avb3", "avb2", "flutter", "fibrillation", "svt")


@dataclass(frozen=True)
class Scale:
    """Turns a liability z into x = (z - onset) / unit; a reader codes it above `coded`."""

    onset: float
    unit: float
    coded: float


def _shared(rng: np.random.Generator, patient: NDArray[np.intp], share: float) -> FloatArray:
    """Standard normal by ECG, of whose variance `share` belongs to the patient; shape (N,)."""
    of_patient = rng.standard_normal(int(patient.max()) + 1)[patient]
    return np.sqrt(share) * of_patient + np.sqrt(1 - share) * rng.standard_normal(patient.size)


def _liabilities(
    patient: NDArray[np.intp], age: FloatArray, male: FloatArray, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], NDArray[np.bool_]]:
    """Draw every disease's liability, shape (N,) each, and the patient's hypertension, (N,)."""
    decades = (age - 60.0) / 10.0
    n_patients = int(patient.max()) + 1
    vascular = rng.standard_normal(n_patients)[patient]
    coronary = rng.standard_normal(n_patients)[patient]
    pressure = rng.standard_normal(n_patients)
    # one age a patient (that of the last ECG), so that the diagnosis does not flip between ECGs
    decades_of_patient = np.zeros(n_patients)
    np.maximum.at(decades_of_patient, patient, decades)
    hypertensive = (0.35 * decades_of_patient + pressure)[patient] + 0.7 * vascular > 0.35
    values: dict[str, FloatArray] = {}
    for disease in DISEASES:
        own = np.sqrt(1.0 - disease.vascular**2 - disease.coronary**2)
        values[disease.name] = (
            disease.age * decades
            + disease.male * (male - 0.5)
            + disease.vascular * vascular
            + disease.coronary * coronary
            + disease.hypertension * hypertensive
            + own * _shared(rng, patient, _PATIENT_SHARE)
        )
    return values, hypertensive


def draw_ages(n: int, rng: np.random.Generator) -> FloatArray:
    """Draw ages in years like PTB-XL's (median 62, 5-95 % 27 to 85, a few over 89); shape (n,)."""
    young = rng.uniform(size=n) < 0.16
    age = np.where(young, rng.normal(31, 9, n), rng.normal(65, 12.6, n))
    return np.clip(age, 3.0, 97.0)


@lru_cache(maxsize=1)
def scales() -> dict[str, Scale]:
    """Onset, unit and coding threshold by disease, from a fixed reference population.

    Thresholds are quantiles, so that the prevalences hold whatever the slopes and loadings are.
    """
    rng = np.random.default_rng(_REFERENCE_SEED)
    patient = np.arange(_REFERENCE_SIZE)
    age = draw_ages(_REFERENCE_SIZE, rng)
    male = (rng.uniform(size=_REFERENCE_SIZE) < 0.52).astype(float)
    values, _ = _liabilities(patient, age, male, rng)
    result = {}
    for disease in DISEASES:
        p = disease.prevalence
        onset, coded, median_case = np.quantile(
            values[disease.name], [1 - _SUBCLINICAL * p, 1 - p, 1 - p / 2]
        )
        unit = (median_case - onset) / 0.6
        result[disease.name] = Scale(float(onset), float(unit), float((coded - onset) / unit))
    return result


def _rhythm(x: dict[str, FloatArray]) -> NDArray[np.str_]:
    """Name the rhythm: the first of `RHYTHMS` (after sinus) whose liability passes its threshold."""
    rhythm = np.full(x["paced"].size, "sinus", dtype="<U12")
    for name in reversed(RHYTHMS[1:]):
        rhythm[x[name] > scales()[name].coded] = name
    return rhythm


def _resolve(x: dict[str, FloatArray], rhythm: NDArray[np.str_]) -> None:
    """Make what excludes each other exclusive, in place: one bundle branch, one rhythm."""
    below = -1.0
    for name in RHYTHMS[1:]:
        out = (rhythm != name) & (x[name] > scales()[name].coded)
        x[name][out] = below
    left = x["lbbb"] > 0
    for name in ("rbbb", "lafb", "lpfb", "ivcd", "preexcitation"):
        x[name][left] = np.minimum(x[name][left], below)
    x["lpfb"][x["lafb"] > 0] = below
    x["ivcd"][x["rbbb"] > scales()["rbbb"].coded] = below
    fast_path = x["preexcitation"] > 0
    for name in ("rbbb", "lafb", "lpfb", "ivcd", "av_delay"):
        x[name][fast_path] = np.minimum(x[name][fast_path], below)
    no_p = (rhythm == "fibrillation") | (rhythm == "flutter") | (rhythm == "svt")
    for name in ("sinus_arrhythmia", "left_atrium", "right_atrium", "av_delay", "pac"):
        x[name][no_p] = np.minimum(x[name][no_p], below)
    x["sinus_arrhythmia"][rhythm != "sinus"] = below
    for name in ("pvc", "preexcitation"):
        x[name][rhythm == "paced"] = below


def draw_states(
    patient: NDArray[np.intp], age: FloatArray, male: FloatArray, rng: np.random.Generator
) -> pd.DataFrame:
    """Draw the latent state of every ECG.

    Parameters
    ----------
    patient
        Index of the patient, 0-based, shape (N,); ECGs of one patient share most of their latents.
    age
        True age in years, shape (N,).
    male
        1 for men, 0 for women, shape (N,).
    rng
        Source of randomness.

    Returns
    -------
    DataFrame
        One row an ECG: severity by disease (columns `NAMES`, 0 to `MAX_SEVERITY`), what a reader
        could see of it (`x_` + name; unclipped, negative without disease), `rhythm`, regions,
        `acute` (0 old infarct to 1 fresh), intervals (`heart_rate` /min; `pr_ms`, `qrs_ms`, `qt_ms`,
        `qtc_ms`; PR is NaN where there is none), `hypertension`, and normal variation (`u_` columns).
    """
    n = patient.size
    values, hypertension = _liabilities(patient, age, male, rng)
    x = {name: (values[name] - s.onset) / s.unit for name, s in scales().items()}
    rhythm = _rhythm(x)
    _resolve(x, rhythm)
    severity = {name: np.clip(x[name], 0.0, MAX_SEVERITY) for name in NAMES}
    columns: dict[str, NDArray] = {**severity, **{f"x_{name}": x[name] for name in NAMES}}
    columns["rhythm"] = rhythm
    columns["hypertension"] = hypertension
    columns["ischemia_region"] = rng.choice(ISCHEMIA_REGIONS, n, p=_ISCHEMIA_SHARES)
    columns["injury_region"] = rng.choice(INJURY_REGIONS, n, p=_INJURY_SHARES)
    columns["acute"] = np.where(rng.uniform(size=n) < 0.12, rng.uniform(0.2, 1.0, n), 0.0)
    variations = "rate", "frontal", "horizontal", "sagittal", "voltage", "t_axis", "septum", "basal"
    for name in variations:
        columns[f"u_{name}"] = _shared(rng, patient, 0.7)
    columns.update(_intervals(severity, rhythm, age, male, columns["u_rate"], patient, rng))
    return pd.DataFrame(columns)


def _intervals(
    s: dict[str, FloatArray],
    rhythm: NDArray[np.str_],
    age: FloatArray,
    male: FloatArray,
    u_rate: FloatArray,
    patient: NDArray[np.intp],
    rng: np.random.Generator,
) -> dict[str, FloatArray]:
    """Heart rate (/min) and PR, QRS, QT (ms); QT = QTc * RR^(1/3) (Fridericia 1920, RR in s)."""
    n = age.size
    heavy = u_rate * np.sqrt(6.0 / rng.chisquare(6.0, n))  # Student's t: tachycardias are its tail
    rate = (70.0 + 1.5 * (1 - male)) * np.exp(0.155 * heavy)
    rate += 9.0 * s["injury"] + 2.5 * (s["anteroseptal"] + s["anterior"]) + 2.0 * s["ischemia"]
    rate = np.where(age < 15, rate * 1.25, rate)
    rate = np.clip(rate, 38.0, 150.0)
    rate = np.where(rhythm == "fibrillation", np.clip(rate * 1.18, 45, 165), rate)
    flutter_rate = 300.0 / rng.choice([2.0, 3.0, 4.0], n, p=[0.4, 0.2, 0.4])
    rate = np.where(rhythm == "flutter", flutter_rate * rng.uniform(0.9, 1.02, n), rate)
    rate = np.where(rhythm == "svt", rng.uniform(150, 195, n), rate)
    rate = np.where(rhythm == "paced", rng.normal(70, 5, n), rate)
    rate = np.where(rhythm == "avb3", rng.uniform(34, 45, n), rate)
    rr = 60.0 / rate
    pr = 152.0 + 0.25 * (age - 60) + 15.0 * _shared(rng, patient, 0.8) + 90.0 * s["av_delay"] ** 0.6
    pr = np.where(s["preexcitation"] > 0, rng.uniform(85, 112, n), np.clip(pr, 110, 340))
    no_pr = np.isin(rhythm, ("fibrillation", "flutter", "svt", "avb3"))
    pr = np.where(no_pr, np.nan, pr)
    qrs = 86.0 + 7.0 * male + 6.5 * _shared(rng, patient, 0.9)
    qrs = np.clip(qrs, 72, 112) + 6.0 * s["lvh"] + 5.0 * s["lafb"] + 5.0 * s["lpfb"]
    qrs += 16.0 * s["rbbb"] + np.where(s["rbbb"] > COMPLETE_RBBB, 14.0, 0.0)
    qrs += 26.0 * np.minimum(s["ivcd"], 1.4)
    qrs += 46.0 * np.minimum(s["lbbb"] / COMPLETE_LBBB, 1.0) + 14.0 * s["lbbb"]
    qrs += 30.0 * np.minimum(s["preexcitation"], 1.3)
    qrs = np.where(rhythm == "paced", rng.normal(158, 9, n), qrs)
    qrs = np.clip(qrs, 72.0, 185.0)
    qtc = 404.0 + 9.0 * (1 - male) + 13.0 * _shared(rng, patient, 0.7) + 62.0 * s["long_qt"]
    qtc += (
        0.45 * (qrs - 92.0) + 8.0 * s["ischemia"] - 28.0 * s["digitalis"] + 12.0 * s["electrolyte"]
    )
    qt = np.clip(qtc, 345, 620) * np.cbrt(rr)
    return {"heart_rate": rate, "pr_ms": pr, "qrs_ms": qrs, "qt_ms": qt, "qtc_ms": qt / np.cbrt(rr)}
