"""Plausibility on genuine PTB-XL records: what readers coded, and what healthy hearts look like."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ecgrepro.biomarkers import measure, study_covariates
from ecgrepro.data import signals
from ecgrepro.data.ptbxl import open_release
from ecgrepro.data.wfdb16 import read_record

CODES = {"CLBBB", "CRBBB", "1AVB", "LVOLT", "SBRAD", "STACH", "AFIB", "LAFB"}
NORMALS = 220


@pytest.fixture(scope="module")
def table(real_ptbxl: Path) -> pd.DataFrame:
    """Measurements of all records with one of the codes and of some normal ones, with sex and codes."""
    release = open_release(real_ptbxl, rate=100)
    rows = release.index
    present = rows[[(real_ptbxl / f"{name}.dat").is_file() for name in rows.filename_lr]]
    coded = present.scp_codes.map(lambda own: bool(CODES & set(own)))
    normal = present.scp_codes.map(lambda own: own.get("NORM", 0) >= 100) & ~coded
    chosen = pd.concat([present[coded], present[normal].iloc[:NORMALS]])
    results = {}
    for ecg_id, name in chosen.filename_lr.items():
        adu = read_record(str(real_ptbxl), name, 100, 1000)
        results[ecg_id] = measure(signals.to_millivolts(np.asarray(adu)), 100)
    measured = pd.DataFrame.from_dict(results, orient="index")
    return measured.assign(
        sex=chosen.sex, codes=chosen.scp_codes, normal=normal.reindex(chosen.index)
    )


def coded(table: pd.DataFrame, code: str) -> pd.Series:
    return table.codes.map(lambda own: code in own)


def area(table: pd.DataFrame, code: str, score: pd.Series) -> float:
    kept = score.notna()
    return float(roc_auc_score(coded(table, code)[kept], score[kept]))


def test_nearly_everything_can_be_measured(table):
    assert table.qrs_ms.notna().mean() > 0.99
    assert table.qt_ms.notna().mean() > 0.98
    assert table.p_ms[table.normal].notna().mean() > 0.95


@pytest.mark.parametrize(
    ("column", "low", "high", "spread"),
    [
        # medians of healthy adults: Mason et al., J Electrocardiol 2007; 40: 228 (79,743 ECGs), widened by 10 %
        ("ventricular_rate", 58, 76, (40, 110)),
        ("p_ms", 90, 122, (60, 170)),
        ("pr_ms", 138, 176, (105, 260)),
        ("qrs_ms", 78, 100, (60, 125)),
        ("qtc_fridericia_ms", 375, 425, (330, 470)),
        ("qrs_axis_deg", 5, 65, (-60, 100)),
        ("p_axis_deg", 30, 70, (-20, 90)),
        ("t_axis_deg", 20, 60, (-30, 100)),
    ],
)
def test_normal_ecgs_have_normal_measurements(table, column, low, high, spread):
    values = table.loc[table.normal, column].dropna()
    assert low < values.median() < high
    assert values.between(*spread).mean() > 0.95


def test_rate_agrees_with_the_rhythm_statements(table):
    assert table.ventricular_rate[coded(table, "SBRAD")].quantile(0.9) < 62
    assert table.ventricular_rate[coded(table, "STACH")].quantile(0.1) > 95


def test_blocks_agree_with_the_statements(table):
    flags = study_covariates(table, table.sex)
    for code, flag, sensitivity in (
        ("CLBBB", "lbbb", 0.75),
        ("CRBBB", "rbbb", 0.7),
        ("1AVB", "long_pr", 0.7),
    ):
        here = coded(table, code)
        assert here.sum() >= 15, code
        assert (flags[flag][here] == 1).mean() > sensitivity, code
        assert (flags[flag][table.normal] == 1).mean() < 0.15, code
    wide = coded(table, "CLBBB") | coded(table, "CRBBB")
    assert roc_auc_score(wide, table.qrs_ms.fillna(90)) > 0.95
    assert area(table, "1AVB", table.pr_ms) > 0.85
    assert (flags.left_axis[coded(table, "LAFB")] == 1).mean() > 0.8


def test_fibrillation_has_no_p_wave_and_an_irregular_rate(table):
    here = coded(table, "AFIB")
    assert table.pr_ms[here].isna().mean() > 0.85
    assert area(table, "AFIB", -table.p_consistency) > 0.93
    assert area(table, "AFIB", table.rr_irregularity) > 0.88


def test_low_voltage_is_low(table):
    """Readers code LVOLT more generously than 0.5 mV in all limb leads, so the order counts, not the flag."""
    assert area(table, "LVOLT", -table.limb_voltage_mv) > 0.9
