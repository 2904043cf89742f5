"""Each disease does to the ECG what its code says, and the leads obey the laws of the body surface."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro.simulate.disease import NAMES, draw_states
from ecgrepro.simulate.heart import DOWER, build_hearts, frontal_axis
from ecgrepro.simulate.recording import HEADER_LEADS, project, twelve_leads, vectorcardiogram
from ecgrepro.simulate.rhythm import draw_beats
from tests.simulate.conftest import Population

RATE = 500
N = 24
INDEX = {name: i for i, name in enumerate(HEADER_LEADS)}


def healthy() -> pd.DataFrame:
    """N healthy people who differ in nothing but what build_hearts draws."""
    states = draw_states(np.arange(N), np.full(N, 60.0), np.ones(N), np.random.default_rng(0))
    for name in NAMES:
        states[name], states[f"x_{name}"] = 0.0, -0.5
    for name in states.columns[states.columns.str.startswith("u_")]:
        states[name] = 0.0
    states["age"], states["male"], states["acute"] = 60.0, 1.0, 0.0
    states["rhythm"], states["ischemia_region"], states["injury_region"] = "sinus", "", "AS"
    states["heart_rate"], states["pr_ms"], states["qrs_ms"] = 66.0, 155.0, 92.0
    states["qt_ms"] = states["qtc_ms"] = 400.0
    return states


def ill(**changes: float | str) -> pd.DataFrame:
    states = healthy()
    for name, value in changes.items():
        states[name] = value
        if name in NAMES:
            states[f"x_{name}"] = value
    return states


def clean_leads(states: pd.DataFrame, rate: int = RATE) -> np.ndarray:
    """Noise-free leads (N, 12, T) in mV; the same random numbers whatever the disease."""
    hearts = build_hearts(states, np.random.default_rng(1))
    beats = draw_beats(states, np.random.default_rng(2))
    vcg = vectorcardiogram(hearts, beats, rate, np.random.default_rng(3))
    return twelve_leads(project(vcg))


def beat(states: pd.DataFrame) -> np.ndarray:
    """The beat around the R wave nearest 5 s: (N, 12, 0.9 s), R at 0.3 s."""
    r = draw_beats(states, np.random.default_rng(2)).r
    at = np.take_along_axis(r, np.abs(r - 5).argmin(axis=1)[:, None], axis=1)[:, 0]
    x = clean_leads(states)
    start = np.round((at - 0.3) * RATE).astype(int)
    return np.stack([x[i, :, s : s + int(0.9 * RATE)] for i, s in enumerate(start)])


def lead(x: np.ndarray, name: str, start: float = 0.0, stop: float = 0.9) -> np.ndarray:
    return x[:, INDEX[name], int(start * RATE) : int(stop * RATE)]


def r_wave(x: np.ndarray, name: str) -> float:
    return float(np.median(lead(x, name, 0.2, 0.42).max(axis=1)))


def trough(x: np.ndarray, name: str) -> float:
    return float(np.median(lead(x, name, 0.2, 0.42).min(axis=1)))


def q_wave(x: np.ndarray, name: str) -> float:
    return float(np.median(lead(x, name, 0.24, 0.3).min(axis=1)))


def t_wave(x: np.ndarray, name: str) -> float:
    return float(np.median(lead(x, name, 0.50, 0.62).mean(axis=1)))


def st_level(x: np.ndarray, name: str) -> float:
    return float(np.median(lead(x, name, 0.37, 0.42).mean(axis=1)))


def p_wave(x: np.ndarray, name: str) -> float:
    return float(np.median(np.ptp(lead(x, name, 0.08, 0.24), axis=1)))


def rr_intervals(states: pd.DataFrame) -> np.ndarray:
    r = draw_beats(states, np.random.default_rng(2)).r
    return np.diff(r[:, :10], axis=1)


Change = tuple[dict[str, float | str], Callable[[np.ndarray], float], float]

MORPHOLOGY: dict[str, Change] = {
    # code: what is set, what is measured on a beat, and by how much (signed, mV) it moves at least
    "IMI": ({"inferior": 1.0}, lambda x: q_wave(x, "AVF"), -0.25),
    "ASMI": ({"anteroseptal": 1.0}, lambda x: q_wave(x, "V2"), -0.25),
    "AMI": ({"anterior": 1.0}, lambda x: q_wave(x, "V3"), -0.25),
    "LMI": ({"lateral": 1.0}, lambda x: q_wave(x, "I"), -0.15),
    "ALMI": ({"lateral": 1.0, "anterior": 1.0}, lambda x: r_wave(x, "V5"), -0.3),
    "ILMI": ({"lateral": 1.0, "inferior": 1.0}, lambda x: q_wave(x, "II"), -0.25),
    "PMI": ({"posterior": 1.0}, lambda x: r_wave(x, "V2"), 0.3),
    "INJAS": ({"injury": 1.0, "injury_region": "AS"}, lambda x: st_level(x, "V2"), -0.1),
    "ISCAL": ({"ischemia": 1.0, "ischemia_region": "AL"}, lambda x: t_wave(x, "V5"), -0.2),
    "ISCIN": ({"ischemia": 1.0, "ischemia_region": "IN"}, lambda x: t_wave(x, "AVF"), -0.2),
    "ISC_": ({"ischemia": 1.0}, lambda x: t_wave(x, "II"), -0.2),
    "INVT": ({"ischemia": 1.5}, lambda x: t_wave(x, "V5"), -0.25),
    "NDT": ({"flat_t": 1.0}, lambda x: t_wave(x, "V4"), -0.08),
    "DIG": ({"digitalis": 1.0}, lambda x: st_level(x, "V5"), -0.1),
    "EL": ({"electrolyte": 1.2}, lambda x: t_wave(x, "II"), -0.08),
    "ANEUR": ({"aneurysm": 1.0}, lambda x: st_level(x, "V3"), 0.1),
    "LVH": ({"lvh": 1.0}, lambda x: r_wave(x, "V5"), 0.5),
    "STD_ (strain)": ({"lvh": 1.3}, lambda x: st_level(x, "V6"), -0.03),
    "RVH": ({"rvh": 1.0}, lambda x: r_wave(x, "V1"), 0.3),
    "LAO/LAE": ({"left_atrium": 1.2}, lambda x: p_wave(x, "V1"), 0.03),
    "RAO/RAE": ({"right_atrium": 1.2}, lambda x: p_wave(x, "II"), 0.05),
    "CLBBB": ({"lbbb": 0.6, "qrs_ms": 145.0}, lambda x: trough(x, "V2"), -0.4),
    "CLBBB notch": ({"lbbb": 0.6, "qrs_ms": 145.0}, lambda x: -q_wave(x, "V6"), -0.05),
    "CRBBB": ({"rbbb": 1.1, "qrs_ms": 130.0}, lambda x: r_wave(x, "V1"), 0.3),
    "IRBBB": ({"rbbb": 0.5, "qrs_ms": 102.0}, lambda x: r_wave(x, "V1"), 0.03),
    "LAFB": ({"lafb": 1.0}, lambda x: trough(x, "III"), -0.3),
    "LPFB": ({"lpfb": 1.0}, lambda x: r_wave(x, "I"), -0.2),
    "WPW": (
        {"preexcitation": 1.0},
        lambda x: float(np.median(lead(x, "V4", 0.24, 0.27).mean(axis=1))),
        0.1,
    ),
    "LVOLT": ({"low_voltage": 1.0}, lambda x: r_wave(x, "II"), -0.3),
    "HVOLT": ({"u_voltage": 2.8}, lambda x: r_wave(x, "V5"), 0.5),
    "AFIB": (
        {"fibrillation": 1.0, "rhythm": "fibrillation", "pr_ms": np.nan},
        lambda x: p_wave(x, "II"),
        -0.02,
    ),
}


@pytest.mark.parametrize("code", MORPHOLOGY)
def test_a_disease_changes_what_its_code_stands_for(code: str) -> None:
    changes, measure, least = MORPHOLOGY[code]
    change = measure(beat(ill(**changes))) - measure(beat(healthy()))
    assert change * np.sign(least) >= abs(least), f"{code}: {change:+.3f} mV"


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("inferior", lambda x: -q_wave(x, "AVF")),
        ("anteroseptal", lambda x: -q_wave(x, "V2")),
        ("lvh", lambda x: r_wave(x, "V5")),
        ("ischemia", lambda x: -t_wave(x, "V5")),
        ("lafb", lambda x: -trough(x, "III")),
        ("rbbb", lambda x: r_wave(x, "V1")),
    ],
)
def test_severity_is_continuous(name: str, measure: Callable[[np.ndarray], float]) -> None:
    values = [measure(beat(ill(**{name: s}))) for s in (0.0, 0.4, 0.8, 1.2)]
    assert (np.diff(values) > 0.01).all()


def width_ms(states: pd.DataFrame) -> float:
    """Time in ms for which the leads are large around R: a QRS width that needs no landmark."""
    x = beat(states)[:, [0, 1, 6, 7, 8, 9, 10, 11], 100:205]  # 100 ms before R to 110 ms after
    size = np.sqrt((x**2).sum(axis=1))
    return float(np.median((size > 0.17 * size.max(axis=1, keepdims=True)).sum(axis=1) * 2.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"lbbb": 0.6, "qrs_ms": 145.0},
        {"rbbb": 1.1, "qrs_ms": 130.0},
        {"ivcd": 1.0, "qrs_ms": 115.0},
        {"rhythm": "paced", "qrs_ms": 158.0},
    ],
)
def test_blocks_widen_qrs(changes: dict[str, float | str]) -> None:
    assert width_ms(ill(**changes)) > width_ms(healthy()) + 12


def test_long_qt_moves_the_t_wave() -> None:
    def peak(states: pd.DataFrame) -> float:
        return float(np.median(lead(beat(states), "II", 0.42, 0.88).argmax(axis=1))) / RATE

    assert peak(ill(qt_ms=480.0)) - peak(healthy()) > 0.05


def test_pr_moves_the_p_wave() -> None:
    def peak(states: pd.DataFrame) -> float:
        return float(np.median(lead(beat(states), "II", 0.0, 0.25).argmax(axis=1))) / RATE

    assert peak(healthy()) - peak(ill(pr_ms=220.0)) == pytest.approx(0.065, abs=0.012)


def test_rates_are_kept() -> None:
    for rate in (45.0, 120.0):
        states = ill(heart_rate=rate, qt_ms=400 * (60 / rate) ** (1 / 3))
        assert np.median(rr_intervals(states)) == pytest.approx(60 / rate, rel=0.03)


def test_rhythms_differ_in_regularity() -> None:
    def spread(states: pd.DataFrame) -> float:
        rr = rr_intervals(states)
        return float(np.median(rr.std(axis=1) / rr.mean(axis=1)))

    assert spread(healthy()) < 0.05
    assert spread(ill(rhythm="paced")) < 1e-6
    assert spread(ill(sinus_arrhythmia=1.0)) > 0.08
    assert spread(ill(rhythm="fibrillation", fibrillation=1.0, pr_ms=np.nan)) > 0.15


def test_flutter_shows_saw_teeth_at_300_per_minute() -> None:
    x = clean_leads(ill(rhythm="flutter", flutter=1.0, heart_rate=75.0, pr_ms=np.nan))[:, 1]
    spectrum = np.abs(np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1))
    hertz = np.fft.rfftfreq(x.shape[1], 1 / RATE)
    plain = np.abs(np.fft.rfft(clean_leads(healthy())[:, 1], axis=1))
    band = (hertz > 4.85) & (hertz < 5.15)
    assert np.median(spectrum[:, band].max(axis=1)) > 2 * np.median(plain[:, band].max(axis=1))


def test_premature_beats_come_early_and_ventricular_ones_are_wide_and_pause() -> None:
    for name in ("pvc", "pac"):
        states = ill(**{name: 0.6})
        beats = draw_beats(states, np.random.default_rng(2))
        inside = (beats.r[:, 1:] > 0) & (beats.r[:, 1:] < 10)
        rr = np.where(inside, np.diff(beats.r, axis=1), np.nan)
        mean = 60 / 66
        assert np.nanmin(rr, axis=1).max() < 0.92 * mean
        assert beats.ventricular.any() == (name == "pvc")
        if name == "pvc":
            assert np.nanmax(rr, axis=1).min() > 1.25 * mean


def test_second_degree_block_drops_beats() -> None:
    states = ill(rhythm="avb2", avb2=1.0)
    beats = draw_beats(states, np.random.default_rng(2))
    for r, p in zip(beats.r, beats.p, strict=True):
        conducted = np.unique(r[(r > 0) & (r < 10)]).size
        atrial = np.unique(p[(p > 0) & (p < 10)]).size
        assert atrial > conducted
        gaps = np.diff(np.unique(r[(r > 0) & (r < 10)]))
        assert gaps.max() > 1.4 * gaps.min()


def test_third_degree_block_has_two_clocks() -> None:
    beats = draw_beats(ill(rhythm="avb3", heart_rate=38.0, pr_ms=np.nan), np.random.default_rng(2))
    assert (np.diff(beats.p, axis=1)[:, 5] < 0.9).all()
    assert (np.diff(beats.r, axis=1)[:, 5] > 1.4).all()


def test_pacing_spikes_precede_qrs() -> None:
    x = beat(ill(rhythm="paced", qrs_ms=158.0))

    def jump(x: np.ndarray) -> float:
        """Largest change from sample to sample between 150 and 60 ms before R."""
        steps = np.abs(np.diff(x, axis=-1))[..., int(0.15 * RATE) : int(0.24 * RATE)]
        return float(np.median(steps.max(axis=(1, 2))))

    assert jump(x) > 3 * jump(beat(healthy()))


def test_limb_leads_obey_einthoven_and_goldberger(population: Population) -> None:
    rows = slice(0, 200)
    vcg = vectorcardiogram(
        population.hearts.take(rows), population.beats.take(rows), 100, np.random.default_rng(0)
    )
    x = twelve_leads(project(vcg))
    one, two, three, avr, avl, avf = (x[:, i] for i in range(6))
    np.testing.assert_array_equal(three, two - one)
    np.testing.assert_array_equal(avr, -(one + two) / 2)
    np.testing.assert_array_equal(avl, one - two / 2)
    np.testing.assert_array_equal(avf, two - one / 2)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-5)
    assert np.isfinite(x).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_projection_is_dowers(dipole: list[float]) -> None:
    v = np.asarray(dipole, dtype=np.float32)
    x = twelve_leads(project(v[None, :, None]))[0, :, 0]
    np.testing.assert_allclose(x[[0, 1, 6, 7, 8, 9, 10, 11]], DOWER @ v, atol=1e-5)


def test_normal_voltages_are_those_of_adults() -> None:
    x = beat(healthy())
    assert 0.9 < r_wave(x, "V5") < 1.6
    assert 0.5 < r_wave(x, "II") < 1.3
    assert -1.3 < trough(x, "V1") < -0.4
    assert r_wave(x, "V1") < r_wave(x, "V3") < r_wave(x, "V5")
    assert trough(x, "AVR") < -0.5
    assert t_wave(x, "V4") > 0.1
    assert 60 < width_ms(healthy()) < 105


def test_measured_axis_follows_the_fascicles() -> None:
    def axis(states: pd.DataFrame) -> float:
        return float(np.median(frontal_axis(build_hearts(states, np.random.default_rng(1)))))

    assert 20 < axis(healthy()) < 60
    assert axis(ill(lafb=1.0)) < -20
    assert axis(ill(lpfb=1.0)) > 80


def test_low_pass_keeps_area_at_100_samples() -> None:
    """A wave narrower than the sampling interval must not appear and vanish with its phase."""
    states = healthy()
    hearts = build_hearts(states, np.random.default_rng(1))
    beats = draw_beats(states, np.random.default_rng(2))
    shifted = replace(beats, r=beats.r + 0.005, p=beats.p + 0.005)
    heights = [
        twelve_leads(project(vectorcardiogram(hearts, b, 100, np.random.default_rng(3))))[
            :, 10
        ].max(axis=1)
        for b in (beats, shifted)
    ]
    assert np.abs(heights[0] / heights[1] - 1).max() < 0.25
