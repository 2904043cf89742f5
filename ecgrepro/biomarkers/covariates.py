"""The study's fifteen covariates: the ventricular rate and fourteen flags, each with its threshold and source.

The study's names say three thresholds (P > 120 ms, PR > 200 ms, QRS > 100 ms) and no source for the others. Its list
resembles that of O'Neal et al. (J Am Heart Assoc 2017; 6: e006023), who followed such markers to heart failure.
Where the study gives no number, ours are the common clinical ones below.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ecgrepro.errors import InputError

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

COVARIATES = (
    "ventricular_rate",
    "long_p",
    "long_pr",
    "wide_qrs",
    "long_qt",
    "abnormal_p_axis",
    "left_axis",
    "right_axis",
    "abnormal_qrs_t_angle",
    "rbbb",
    "lbbb",
    "lvh",
    "low_voltage",
    "st_t",
    "delayed_intrinsicoid",
)
"""Columns of `study_covariates`, in the study's order."""


@dataclass(frozen=True)
class Thresholds:
    """Where a measurement becomes a flag; a flag is set beyond the value, unless its text says "or more".

    Attributes
    ----------
    p_ms, pr_ms, qrs_ms
        120, 200 and 100 ms: named by the study itself.
    qtc_male_ms, qtc_female_ms
        QTc (Fridericia) of 450 ms or more in men and 460 ms or more in women, also where sex is unknown
        (Rautaharju et al., Circulation 2009; 119: e241).
    p_axis_low_deg, p_axis_high_deg
        P axis outside 0 to 75 degrees (Li et al., Am J Cardiol 2014; 113: 372).
    left_axis_deg, right_axis_deg
        QRS axis of -90 to beyond -30 degrees; beyond +90 degrees, the right upper quadrant included
        (Surawicz et al., Circulation 2009; 119: e235), so that no axis is left without a name.
    qrs_t_deg
        Frontal QRS-T angle over 90 degrees (Aro et al., Europace 2012; 14: 872, who call 0 to 90 normal).
    sokolow_lyon_mv
        3.5 mV or more (Sokolow & Lyon, Am Heart J 1949; 37: 161).
    cornell_male_mv, cornell_female_mv
        Over 2.8 mV in men (also where sex is unknown), over 2.0 mV in women
        (Casale et al., Circulation 1987; 75: 565). Left ventricular hypertrophy is either criterion.
    limb_mv, chest_mv
        Low voltage: no limb lead over 0.5 mV, or no chest lead over 1.0 mV peak to peak (Minnesota code 9-1).
    st_t_leads
        This number of leads or more with depressed ST, or with an inverted T (Minnesota codes 4-1, 4-2, 5-1, 5-2;
        two leads, so that noise in one does not decide).
    intrinsicoid_ms
        50 ms or more; measured in V5 and V6 as by O'Neal et al. (Clin Cardiol 2016; 39: 531).
    """

    p_ms: float = 120.0
    pr_ms: float = 200.0
    qrs_ms: float = 100.0
    qtc_male_ms: float = 450.0
    qtc_female_ms: float = 460.0
    p_axis_low_deg: float = 0.0
    p_axis_high_deg: float = 75.0
    left_axis_deg: float = -30.0
    right_axis_deg: float = 90.0
    qrs_t_deg: float = 90.0
    sokolow_lyon_mv: float = 3.5
    cornell_male_mv: float = 2.8
    cornell_female_mv: float = 2.0
    limb_mv: float = 0.5
    chest_mv: float = 1.0
    st_t_leads: int = 2
    intrinsicoid_ms: float = 50.0


def study_covariates(
    measurements: pd.DataFrame,
    sex: ArrayLike | None = None,
    thresholds: Thresholds = Thresholds(),
) -> pd.DataFrame:
    """Turn measurements into the study's 15 covariates.

    Parameters
    ----------
    measurements
        From `measure_many`, N rows.
    sex
        (N,) 0 male, 1 female, NaN unknown; in the order of the rows. It moves two thresholds: QTc and Cornell.
    thresholds
        See `Thresholds`.

    Returns
    -------
    DataFrame
        Index as `measurements`, columns `COVARIATES`: the rate in beats per minute, **not** standardised (that
        belongs into the training fold: S-32), and flags 0 or 1, NaN where the measurement is.

    Raises
    ------
    InputError
        When `sex` has another length than `measurements`, or a column is missing.
    """
    m, t = measurements, thresholds
    if missing := [name for name in _NEEDED if name not in m.columns]:
        raise InputError(
            f"the measurements lack {', '.join(missing)}: make them with measure_many."
        )
    known = np.full(len(m), np.nan) if sex is None else np.asarray(sex, dtype=np.float64)
    if known.shape != (len(m),):
        raise InputError(
            f"sex has {known.size} values for {len(m)} measurements: give one a row, NaN if unknown."
        )
    female = known == 1
    c = {name: m[name].to_numpy(dtype=np.float64) for name in _NEEDED}
    axis = (c["qrs_axis_deg"] + 180) % 360 - 180
    qtc_limit = np.where(known == 0, t.qtc_male_ms, t.qtc_female_ms)
    cornell_limit = np.where(female, t.cornell_female_mv, t.cornell_male_mv)
    p_axis = c["p_axis_deg"]
    small = (c["limb_voltage_mv"] <= t.limb_mv) | (c["chest_voltage_mv"] <= t.chest_mv)
    tall = (c["sokolow_lyon_mv"] >= t.sokolow_lyon_mv) | (c["cornell_mv"] > cornell_limit)
    both = c["sokolow_lyon_mv"] + c["cornell_mv"]
    st_t = (c["st_depressed_leads"] >= t.st_t_leads) | (c["t_inverted_leads"] >= t.st_t_leads)
    values = {
        "ventricular_rate": c["ventricular_rate"],
        "long_p": _flag(c["p_ms"] > t.p_ms, c["p_ms"]),
        "long_pr": _flag(c["pr_ms"] > t.pr_ms, c["pr_ms"]),
        "wide_qrs": _flag(c["qrs_ms"] > t.qrs_ms, c["qrs_ms"]),
        "long_qt": _flag(c["qtc_fridericia_ms"] >= qtc_limit, c["qtc_fridericia_ms"]),
        "abnormal_p_axis": _flag(
            (p_axis < t.p_axis_low_deg) | (p_axis > t.p_axis_high_deg), p_axis
        ),
        "left_axis": _flag((axis >= -90) & (axis < t.left_axis_deg), axis),
        "right_axis": _flag((axis > t.right_axis_deg) | (axis < -90), axis),
        "abnormal_qrs_t_angle": _flag(c["qrs_t_angle_deg"] > t.qrs_t_deg, c["qrs_t_angle_deg"]),
        "rbbb": c["rbbb"],
        "lbbb": c["lbbb"],
        # one criterion that is met is enough; none can be denied while the other is unknown
        "lvh": np.where(tall, 1.0, _flag(tall, both)),
        "low_voltage": np.where(
            small, 1.0, _flag(small, c["limb_voltage_mv"] + c["chest_voltage_mv"])
        ),
        "st_t": _flag(st_t, c["st_depressed_leads"]),
        "delayed_intrinsicoid": _flag(
            c["intrinsicoid_ms"] >= t.intrinsicoid_ms, c["intrinsicoid_ms"]
        ),
    }
    return pd.DataFrame(values, index=m.index)[list(COVARIATES)]


def with_covariates(follow_up: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """Add the study's 15 covariates to a table of follow-up.

    Parameters
    ----------
    follow_up
        One row a patient, with ``ecg_id``; ``sex`` where it is known, as for `study_covariates`.
    measurements
        From `measure_many`, index ``ecg_id``.

    Raises
    ------
    InputError
        When an ECG of the table was not measured.
    """
    missing = ~follow_up["ecg_id"].isin(measurements.index)
    if missing.any():
        raise InputError(
            f"{int(missing.sum())} ECGs of the follow-up were not measured: measure the cohort's ECGs first."
        )
    own = study_covariates(measurements.loc[follow_up["ecg_id"]], follow_up.get("sex"))
    return follow_up.assign(**{name: own[name].to_numpy() for name in COVARIATES})


def baseline_columns(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the Cox baselines that a table with the covariates can carry: what a page calls one, and its columns.

    Those with age and sex are left out where the table has no column for them, or not one value in it.
    """
    methods: dict[str, tuple[str, ...]] = {"15 ECG measurements": COVARIATES}
    known = ("age", "sex")
    if set(known) <= set(table.columns) and table[list(known)].notna().any().all():
        both = {"age, sex and 15 measurements": (*known, *COVARIATES)}
        methods = {"age and sex": known} | methods | both
    return methods


_NEEDED = (
    *("ventricular_rate", "p_ms", "pr_ms", "qrs_ms", "qtc_fridericia_ms", "p_axis_deg"),
    *("qrs_axis_deg", "qrs_t_angle_deg", "intrinsicoid_ms", "sokolow_lyon_mv", "cornell_mv"),
    *("limb_voltage_mv", "chest_voltage_mv", "st_depressed_leads", "t_inverted_leads"),
    *("rbbb", "lbbb"),
)


def _flag(set_: BoolArray, measured: FloatArray) -> FloatArray:
    """1 or 0, NaN where the measurement is."""
    return np.where(np.isnan(measured), np.nan, set_.astype(np.float64))
