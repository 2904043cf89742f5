"""Measurements against simulated truth, on bad input, and their properties."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ecgrepro import simulate
from ecgrepro.biomarkers import Measurements, delineate, find_beats, measure, measure_many
from ecgrepro.biomarkers.beats import AFTER, BEFORE, GRID
from ecgrepro.biomarkers.measure import intrinsicoid
from ecgrepro.data import signals
from ecgrepro.data.packing import Packed, open_packed, pack, pack_arrays
from ecgrepro.data.ptbxl import Release, open_release
from ecgrepro.errors import InputError
from ecgrepro.plots import plot_bland_altman, plot_distributions, plot_median_beat

INTERVALS = ["p_ms", "pr_ms", "qrs_ms", "qt_ms"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated release at both rates."""
    out = tmp_path_factory.mktemp("release")
    return simulate.write_release(out, n_patients=260, seed=5, rates=(100, 500), progress=False)


@pytest.fixture(scope="module")
def release(folder: Path) -> Release:
    return open_release(folder, rate=100)


@pytest.fixture(scope="module")
def packed(folder: Path, release: Release) -> Packed:
    pack(release, folder / "packed100", progress=False)
    return open_packed(folder / "packed100")


@pytest.fixture(scope="module")
def measured(packed: Packed) -> pd.DataFrame:
    return measure_many(packed, progress=False)


@pytest.fixture(scope="module")
def truth(folder: Path, measured: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(folder / "truth.csv").set_index("ecg_id").loc[measured.index]


@pytest.fixture(scope="module")
def sinus(packed: Packed, measured: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """One clean ECG in sinus rhythm, (12, 1000) mV."""
    plain = (measured.reason == "") & (truth.rhythm == "sinus") & (truth.pvc == 0)
    plain &= truth.qrs_ms.between(80, 100) & (truth.flat_t == 0)
    row = packed.rows([int(measured.index[plain][0])])[0]
    return signals.to_millivolts(packed.signals[row]).astype(float)


def difference(measured: pd.DataFrame, truth: pd.DataFrame, ours: str, theirs: str) -> pd.Series:
    gap = measured[ours] - truth[theirs]
    return ((gap + 180) % 360 - 180 if "deg" in ours else gap).dropna()


@pytest.mark.parametrize(
    ("ours", "theirs", "median", "bias", "tail"),
    [
        ("ventricular_rate", "heart_rate", 1.0, 1.0, 5.0),
        ("pr_ms", "pr_ms", 8.0, 5.0, 30.0),
        ("qrs_ms", "qrs_ms", 8.0, 8.0, 40.0),
        ("qt_ms", "qt_ms", 10.0, 8.0, 40.0),
        ("qrs_axis_deg", "axis_deg", 3.0, 2.0, 10.0),
    ],
)
def test_measurements_agree_with_the_simulated_truth(
    measured, truth, ours, theirs, median, bias, tail
):
    """Median absolute difference, bias and the 95 % point at 100 Hz, where samples are 10 ms apart."""
    gap = difference(measured, truth, ours, theirs)
    assert len(gap) > 0.85 * len(measured)
    assert gap.abs().median() < median
    assert abs(gap.mean()) < bias
    assert gap.abs().quantile(0.95) < tail


def test_both_rates_measure_the_same_heart(folder, measured):
    pack(open_release(folder, rate=500), folder / "packed500", progress=False)
    fine = measure_many(open_packed(folder / "packed500"), range(40), progress=False)
    coarse = measured.iloc[:40]
    for name in INTERVALS:
        assert (fine[name] - coarse[name]).abs().median() < 5, name
    assert (fine.ventricular_rate - coarse.ventricular_rate).abs().median() < 0.2


def test_other_rates_and_an_offset_do_not_matter(sinus):
    at_100 = measure(sinus, 100)
    at_400 = measure(signals.resample(sinus, 100, 400) + 2.0, 400)
    for name in ["ventricular_rate", *INTERVALS]:
        assert getattr(at_400, name) == pytest.approx(getattr(at_100, name), abs=6), name


def test_no_pr_interval_where_atria_and_ventricles_do_not_agree(measured, truth):
    apart = truth.rhythm.isin(["fibrillation", "avb3"])
    assert apart.sum() >= 5
    assert measured.pr_ms[apart].isna().mean() > 0.9
    assert measured.reason[apart & measured.pr_ms.isna()].str.contains("no P wave").all()
    assert measured.pr_ms[truth.rhythm == "sinus"].isna().mean() < 0.03
    assert measured.p_ms[truth.rhythm == "sinus"].between(60, 180).mean() > 0.95


def test_ectopic_beats_stay_out_of_the_median(packed, measured, truth):
    """Bigeminy: half of all beats are ventricular and twice as wide, and still the conducted ones are measured."""
    often = (truth.pvc > 1.0) & truth.rhythm.isin(["sinus"])
    assert often.any()
    gap = difference(measured[often], truth[often], "qrs_ms", "qrs_ms")
    assert gap.abs().median() < 10
    assert (measured.n_used[often] < measured.n_beats[often]).all()


def test_measurements_separate_what_readers_code(release, measured):
    codes = release.index.scp_codes.loc[measured.index]

    def area(score: pd.Series, *names: str) -> float:
        coded = codes.map(lambda own: bool(set(names) & set(own)))
        assert coded.sum() >= 3, names
        kept = score.notna()
        return float(roc_auc_score(coded[kept], score[kept]))

    assert area(measured.qrs_ms, "CLBBB", "CRBBB") > 0.9
    assert area(measured.rbbb, "CRBBB") > 0.8
    assert area(-measured.p_consistency, "AFIB") > 0.95
    assert area(measured.rr_irregularity, "AFIB") > 0.85
    assert area(measured.sokolow_lyon_mv, "LVH", "VCLVH") > 0.7
    assert area(-measured.ventricular_rate, "SBRAD") > 0.95


def test_every_missing_value_has_a_reason(measured):
    names = [
        *INTERVALS,
        "qrs_axis_deg",
        "t_axis_deg",
        "cornell_mv",
        "rbbb",
        "lbbb",
        "st_depressed_leads",
    ]
    missing = measured[names].isna().any(axis=1)
    assert (measured.reason[missing] != "").all()
    assert (measured.reason[~missing] == "").all()
    assert measured.qrs_t_angle_deg.dropna().between(0, 180).all()


@settings(max_examples=8, deadline=None)
@given(gain=st.floats(0.6, 2.5))
def test_intervals_do_not_depend_on_the_gain_and_voltages_do(sinus, gain):
    before, after = measure(sinus, 100), measure(gain * sinus, 100)
    for name in (*INTERVALS, "qrs_axis_deg", "p_axis_deg", "t_axis_deg"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=0.5)
    assert after.sokolow_lyon_mv == pytest.approx(gain * before.sokolow_lyon_mv, rel=1e-6)


def test_reversed_electrodes_turn_all_axes_by_half_a_circle(sinus):
    before, after = measure(sinus, 100), measure(-sinus, 100)
    assert after.qrs_ms == pytest.approx(before.qrs_ms, abs=1)
    assert abs(after.qrs_axis_deg - before.qrs_axis_deg) == pytest.approx(180, abs=1)
    assert after.qrs_t_angle_deg == pytest.approx(before.qrs_t_angle_deg, abs=2)


def test_drift_muscle_and_mains_change_little(sinus):
    time = np.arange(5000) / 500
    rng = np.random.default_rng(3)
    clean = signals.resample(sinus, 100, 500)
    noisy = clean + 0.4 * np.sin(2 * np.pi * 0.2 * time) + 0.05 * np.sin(2 * np.pi * 50 * time)
    noisy += 0.02 * rng.standard_normal(clean.shape)
    before, after = measure(clean, 500), measure(noisy, 500)
    assert after.n_beats == before.n_beats
    for name in INTERVALS:
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=16), name


def test_input_is_left_as_it_is_and_repeats_give_the_same(sinus):
    copy = sinus.copy()
    assert measure(sinus, 100) == measure(sinus, 100)
    assert np.array_equal(copy, sinus)


def one_beat() -> np.ndarray:
    ecg = np.zeros((12, 1000))
    ecg[:, 495:505] = np.hanning(10)
    return ecg


def noise() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((12, 1000)) * 0.1


BAD = {
    "flat": np.zeros((12, 1000)),
    "constant": np.full((12, 1000), 1.5),
    "all NaN": np.full((12, 1000), np.nan),
    "infinite": np.full((12, 1000), np.inf),
    "one beat": one_beat(),
    "short": noise()[:, :150],
    "no samples": np.zeros((12, 0)),
    "nine flat leads": noise() * (np.arange(12) > 8)[:, None],
    "impulses": (np.arange(1000) % 7 == 0) * np.ones((12, 1)),
    "tiny": noise() * 1e-9,
    "huge": noise() * 1e9,
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_give_missing_values_with_a_reason_and_no_exception(name):
    result = measure(BAD[name], 100)
    assert isinstance(result, Measurements)
    if name in ("flat", "constant", "all NaN", "infinite", "one beat", "short", "no samples"):
        assert result.reason
        assert np.isnan(result.qrs_ms)
        assert np.isnan(result.rbbb)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.01, 0.3, 20.0]),
    walk=st.booleans(),
    holes=st.floats(0, 0.4),
)
def test_no_noise_makes_it_raise(seed, scale, walk, holes):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((12, 1000))
    x = np.cumsum(x, axis=1) if walk else x
    x[rng.random(x.shape) < holes] = np.nan
    result = measure(x, 100)
    assert result.reason or np.isfinite([result.pr_ms, result.qrs_ms, result.qt_ms]).all()


def test_noise_alone_has_no_p_wave():
    assert np.isnan([measure(noise() * k, 100).pr_ms for k in (0.5, 1.0, 2.0)]).all()


def test_a_gap_is_bridged_and_a_flat_lead_costs_only_what_needs_it(sinus):
    gap = sinus.copy()
    gap[:, 300:330] = np.nan
    assert measure(gap, 100).qrs_ms == pytest.approx(measure(sinus, 100).qrs_ms, abs=4)
    flat = sinus.copy()
    flat[6] = 0.25
    result = measure(flat, 100)
    assert np.isnan([result.sokolow_lyon_mv, result.rbbb, result.lbbb]).all()
    assert np.isfinite([result.qrs_ms, result.qrs_axis_deg, result.cornell_mv]).all()
    assert "flat: V1" in result.reason


def test_padding_is_no_missing_signal(sinus, tmp_path):
    """A recording of 7 s in a field of 10 s, as in CODE, is measured like the recording of 7 s."""
    padded = np.full((1, *sinus.shape), signals.INVALID, dtype=np.int16)
    padded[0, :, 150:850] = np.round(1000 * sinus[:, 150:850])
    packed = pack_arrays(padded, [1], 100, tmp_path / "packed", "simulated")
    found = measure_many(packed, progress=False).iloc[0]
    alone = measure(signals.to_millivolts(padded[0, :, 150:850]), 100)
    assert found.reason == alone.reason == ""
    assert found[INTERVALS].tolist() == [getattr(alone, name) for name in INTERVALS]


@pytest.mark.parametrize(
    ("shape", "rate"), [((1000, 12), 100), ((12,), 100), ((8, 1000), 100), ((12, 1000), 50)]
)
def test_a_callers_mistake_is_an_error(shape, rate):
    with pytest.raises(InputError):
        measure(np.zeros(shape), rate)


def test_median_beat_has_its_middle_in_qrs_and_its_marks_in_order(sinus):
    beats = find_beats(sinus, 100)
    assert beats.median is not None
    assert beats.stack is not None
    assert beats.median.shape == (12, BEFORE + AFTER)
    assert beats.stack.shape == (beats.used.sum(), 8, BEFORE + AFTER)
    marks = delineate(beats.median, beats.stack, float(np.median(beats.rr_s)))
    order = [
        marks.p_on,
        marks.p_peak,
        marks.p_off,
        marks.qrs_on,
        BEFORE,
        marks.qrs_off,
        marks.t_peak,
        marks.t_off,
    ]
    assert order == sorted(order)


def test_intrinsicoid_deflection_is_the_last_r_peak_of_v5_or_v6():
    qrs = np.zeros((12, 60))
    rise = np.interp(np.arange(60), [0, 20, 40], [0, 1, 0])
    qrs[10] = rise
    assert intrinsicoid(qrs) == 40.0
    qrs[11] = rise + np.interp(
        np.arange(60), [22, 32, 42], [0, 1.5, 0]
    )  # notched, the second peak later
    assert intrinsicoid(qrs) == 64.0
    assert np.isnan(intrinsicoid(-qrs))


def test_figures_carry_their_source_and_refuse_nothing_to_draw(sinus, measured):
    beats = find_beats(sinus, 100)
    values = measured.qrs_ms.to_numpy()
    waves = {"P": (-150.0, -50.0), "QRS": (-45.0, 45.0), "T": (np.nan, np.nan)}
    figures = [
        plot_median_beat(beats.median, GRID, waves, "Simulated data", before_ms=420),
        plot_bland_altman({"QRS (ms)": (values, values + 1)}, "Simulated data"),
        plot_distributions(
            {"PR (ms)": measured.pr_ms}, "Simulated data", limits={"PR (ms)": [200]}
        ),
    ]
    for figure in figures:
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert "Simulated data" in figure.get_supxlabel()
    for draw in (plot_bland_altman, plot_distributions):
        with pytest.raises(InputError):
            draw({}, "Simulated data")
        with pytest.raises(InputError):
            draw(
                {"QRS (ms)": (values, values)} if draw is plot_bland_altman else {"a": values}, " "
            )
