"""Every figure: its source and units are on it, nothing is cut off, and nothing leaks out of it."""

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from ecgrepro import plots
from ecgrepro.data import signals
from ecgrepro.errors import InputError
from ecgrepro.plots.style import LEADS, RC, ink, spread

SOURCE = "Simulated data"
RNG = np.random.default_rng(0)
N = 120
ECG = RNG.normal(0, 0.3, (12, 1000))
WINDOWS = np.stack([np.arange(0, 10_000, 500), np.arange(500, 10_500, 500)], axis=1)  # ms
MAPS = RNG.dirichlet(np.ones(12), 12)
LABELS = RNG.choice(["NORM", "MI", "CD"], N).tolist()
TIME = RNG.exponential(900, N)
EVENT = (RNG.random(N) < 0.4).astype(int)


def history(epochs: int = 8) -> pd.DataFrame:
    """A made-up loss history, as training gives it: index epoch."""
    fall = np.exp(-np.arange(epochs) / 3)
    columns = {"epoch": np.arange(1, epochs + 1), "rank": 10 * (1 - fall) + 1}
    for loss in ("total", "align", "recon"):
        columns |= {f"train_{loss}": fall, f"validation_{loss}": fall + 0.1}
    return pd.DataFrame(columns).set_index("epoch")


def survival_table(scale: float = 1.0) -> pd.DataFrame:
    """A Kaplan-Meier table in the form that `survival.kaplan_meier` gives."""
    time = np.concatenate([[0], np.sort(TIME)])
    at_risk = np.array([(time[1:] >= t).sum() for t in time])
    survival = np.exp(-scale * time / 1500)
    return pd.DataFrame(
        {
            "time": time,
            "survival": survival,
            "low": survival * 0.95,
            "high": np.minimum(1, survival * 1.05),
            "at_risk": at_risk,
        }
    )


FREQUENCY = pd.DataFrame(
    {
        "code": ["IMI", "ASMI", "ILMI", "AMI", "ALMI", "INJAS", "LMI", "SR"],
        "group": ["MI"] * 7 + ["rhythm"],
        "records": [2676, 2357, 478, 353, 289, 215, 201, 16748],
        "zero": [0, 3, 0, 0, 0, 0, 0, 16700],
    }
)
WEIGHTS = pd.DataFrame(
    {
        "statement": ["Inferior myocardial infarction", "sinus rhythm"],
        "confidence": [15.0, 0.0],
        "keep": [0.13, 0.87],
        "drop": [1.0, 0.0],
    }
)
RETRIEVAL = pd.DataFrame(
    {
        "recall": [0.1, 0.3, 0.4],
        "low": [0.05, 0.2, 0.3],
        "high": [0.15, 0.4, 0.5],
        "chance": [0.01, 0.05, 0.1],
    },
    index=pd.Index([1, 5, 10], name="k"),
)
BOTH_WAYS = pd.concat(
    {"ECG to report": RETRIEVAL, "report to ECG": RETRIEVAL.assign(chance=[0.02, 0.1, 0.2])},
    names=["direction"],
)
FOREST = pd.DataFrame(
    {
        "label": ["network", "age and sex", "published"],
        "group": ["ours", "ours", "study"],
        "estimate": [0.72, 0.66, 0.63],
        "low": [0.68, 0.61, np.nan],
        "high": [0.76, 0.71, np.nan],
        "n": [600, 600, np.nan],
        "events": [240, 240, np.nan],
    }
)
AUC = {"network": pd.DataFrame({"time": [365.25, 730.5], "auc": [0.7, 0.72]})}
LEARNING = pd.DataFrame({"label": "pretrained", "n": [100, 400], "estimate": [0.6, 0.7]})
CALIBRATION = pd.DataFrame(
    {"expected": [0.1, 0.3], "observed": [0.08, 0.33], "low": [0.05, np.nan], "high": [0.2, np.nan]}
)
BENEFIT = pd.DataFrame(
    {
        "threshold": [0.1, 0.2, 0.3, 0.4, 0.5],
        "model": [0.3, 0.2, 0.15, 0.1, np.nan],
        "all": [0.25, 0.1, -0.1, -0.4, -0.9],
    }
)


class Case(NamedTuple):
    """A figure, its data, and what must be readable on it."""

    function: Callable[..., Figure]
    args: tuple[Any, ...]
    options: dict[str, Any]
    texts: tuple[str, ...]


TWO_RUNS = {"cosine_positive": history(), "soft_infonce": history()}
CASES = [
    Case(plots.plot_paper, (ECG, 100), {"title": "An ECG"}, ("25 mm/s", "10 mm/mV", "aVR", "V6")),
    Case(plots.plot_leads, (ECG, 100), {}, ("Time (s)", "Amplitude (mV)", "V6")),
    Case(
        plots.plot_reconstruction,
        (ECG, ECG * 0.9, 100),
        {"title": "Both"},
        ("RMS error (z)", "Time (s)", "Amplitude (z)", "input", "reconstruction"),
    ),
    Case(
        plots.plot_age_sex,
        (RNG.normal(60, 15, N), RNG.integers(0, 2, N)),
        {},
        ("Age (years)", "Number of patients"),
    ),
    Case(
        plots.plot_code_frequency,
        (FREQUENCY,),
        {},
        ("Number of records", "1 rarer codes not drawn"),
    ),
    Case(
        plots.plot_similarity,
        (np.corrcoef(RNG.normal(size=(20, 5))),),
        {"groups": ["MI"] * 12 + ["CD"] * 7 + ["HYP"], "names": [f"C{i}" for i in range(20)]},
        ("Cosine similarity (no unit)", "MI", "HYP", "C19"),
    ),
    Case(plots.plot_weights, (WEIGHTS,), {}, ("sums to 1", "the statement is lost")),
    Case(
        plots.plot_text_ranks,
        ([40, 20, 5, 1, 1, 1],),
        {},
        ("Share of records (%)", "Rank of the text", "effective number"),
    ),
    Case(
        plots.plot_history,
        (history(), ["total", "align", "recon"]),
        {"best_epoch": 5},
        ("Epoch (number)", "total", "recon", "validation", "kept checkpoint"),
    ),
    Case(plots.plot_history, (TWO_RUNS, ["total"]), {}, ("soft_infonce", "training", "validation")),
    Case(
        plots.plot_monitors,
        (TWO_RUNS, {"rank": "Effective rank (dimensions)"}),
        {"references": {"rank": (1.0, "collapsed")}},
        ("Effective rank (dimensions)", "collapsed", "Epoch (number)"),
    ),
    Case(
        plots.plot_retrieval,
        (BOTH_WAYS,),
        {},
        ("Recall at k (%)", "k (number", "chance: report to ECG"),
    ),
    Case(plots.plot_similarity, (np.full((5, 5), 0.3),), {"names": list("abcde")}, ("0.30",)),
    Case(
        plots.plot_forest,
        (FOREST,),
        {"xlabel": "C-index (0.5 = chance)"},
        ("C-index (0.5 = chance)", "n = 600, 240 events", "0.720  (0.680–0.760)", "0.630", "study"),
    ),
    Case(
        plots.plot_projection,
        (RNG.normal(size=(N, 2)), LABELS),
        {"explained": (0.3, 0.1)},
        ("30 % of the variance", "NORM (", "MI ("),
    ),
    Case(
        plots.plot_lead_attention,
        ({"Low risk (n = 90)": MAPS, "High risk (n = 30)": MAPS.T},),
        {},
        ("uniform, 1/12 = 0.083", "High risk (n = 30)", "lead attended to"),
    ),
    Case(
        plots.plot_temporal_attention,
        (ECG, RNG.dirichlet(np.ones(20), 12), WINDOWS, 100),
        {"receptive_field": 3.81},
        ("Time (s)", "ECG (mV)", "uniform 1/20 = 0.050", "one token sees 3.8 s"),
    ),
    Case(plots.plot_lead_bars, (RNG.normal(size=(N, 12)),), {}, ("log hazard ratio", "V3")),
    Case(
        plots.plot_attribution,
        (ECG, RNG.normal(size=(12, 20)), WINDOWS, 100),
        {"seconds": 5},
        ("Time (s)", "Amplitude (mV)", "Contribution to the log risk"),
    ),
    Case(
        plots.plot_kaplan_meier,
        ({"low risk": survival_table(), "high risk": survival_table(3)},),
        {},
        ("Free of the event (%)", "Number at risk", "(years)", "high risk", "120"),
    ),
    Case(
        plots.plot_follow_up,
        (TIME, EVENT),
        {},
        ("(years)", "(patients)", "events:"),
    ),
    Case(
        plots.plot_calibration,
        ({"network": CALIBRATION},),
        {"horizon": "5 years"},
        ("Predicted risk by 5 years (%)", "Observed risk by 5 years (%)", "perfect"),
    ),
    Case(plots.plot_over_time, (AUC,), {}, ("AUC(t) (0.5 = chance)", "(years)", "chance")),
    Case(
        plots.plot_decision_curve,
        ({"network": BENEFIT},),
        {"horizon": "5 years"},
        ("Net benefit (per patient)", "acts (%)", "treat all", "treat nobody"),
    ),
    Case(
        plots.plot_risk_scatter,
        (np.arange(N), np.arange(N) ** 2),
        {"event": EVENT},
        ("True log hazard (no unit)", "rank correlation 1.00"),
    ),
    Case(
        plots.plot_learning_curve,
        (LEARNING,),
        {"references": {"oracle": 0.75}},
        ("Training patients (number)", "oracle", "400"),
    ),
    Case(plots.plot_encoder, (), {}, ("Cross-lead attention", "z_ecg (512)", "sketches")),
]


def texts_of(fig: Figure) -> list[Text]:
    """All texts that are really drawn (ticks outside the limits are not), empty ones left out."""
    drawn: list[Text] = []
    original = Text.draw

    def record(text: Text, renderer: Any) -> None:
        drawn.append(text)
        original(text, renderer)

    with mock.patch.object(Text, "draw", record):
        fig.draw_without_rendering()
    return [t for t in drawn if t.get_visible() and t.get_text().strip()]


def build(case: Case) -> Figure:
    """Make a case's figure."""
    if case.function is plots.plot_encoder:  # the one figure without data
        return case.function()
    return case.function(*case.args, SOURCE, **case.options)


def same(a: Any, b: Any) -> bool:
    """Equality through tuples, mappings, arrays and tables."""
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.function.__name__)
def test_figure(case: Case) -> None:
    """A figure says its source and units, cuts no text, uses no small type, and leaks nothing."""
    before, settings_before = copy.deepcopy(case.args), dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = build(case)
        texts = texts_of(fig)
    assert isinstance(fig, Figure)
    everything = "\n".join(t.get_text() for t in texts)
    sources = () if case.function is plots.plot_encoder else (SOURCE,)
    for wanted in (*sources, *case.texts):
        assert wanted in everything
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == settings_before
    assert same(before, case.args)
    page = fig.bbox.padded(1.5)
    for text in texts:
        assert text.get_fontsize() >= 9, text.get_text()
        box = text.get_window_extent()
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} is cut: {box} outside {page}"


def test_source_is_obligatory() -> None:
    with pytest.raises(InputError, match="source is empty"):
        plots.plot_leads(ECG, 100, " ")


def test_notes_are_wrapped_not_cut() -> None:
    fig = plots.plot_leads(ECG, 100, SOURCE, note="n = 600 patients, 240 events; " * 8)
    line = next(t for t in texts_of(fig) if SOURCE in t.get_text())
    assert "\n" in line.get_text()
    assert line.get_window_extent().x1 <= fig.bbox.x1


def test_leads_are_those_of_signals() -> None:
    assert tuple(signals.LEADS) == LEADS


def test_plots_import_neither_torch_nor_pyplot() -> None:
    """The rooms stay apart, and a figure made outside pyplot cannot pile up there."""
    code = (
        "import sys; before = set(sys.modules); "  # the environment's own line has run
        "import ecgrepro.plots; new = set(sys.modules) - before; "
        "assert not new & {'torch', 'matplotlib.pyplot'}, new; "
        "rooms = {m for m in new if m.startswith('ecgrepro.') and '.plots' not in m}; "
        "assert rooms <= {'ecgrepro.errors'}, rooms"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure_shows_itself_once_and_reproducibly() -> None:
    first, second = (plots.plot_follow_up(TIME, EVENT, SOURCE)._repr_png_() for _ in range(2))
    assert first.startswith(b"\x89PNG")
    assert first == second


def test_style_holds_without_apply_and_apply_sets_it() -> None:
    with mpl.rc_context({"font.size": 5, "xtick.labelsize": 4}):
        fig = plots.plot_age_sex([50, 60, 70], [0, 1, 1], SOURCE)
        assert min(t.get_fontsize() for t in texts_of(fig)) >= 9
    with mpl.rc_context():
        plots.apply()
        assert mpl.rcParams["font.size"] == RC["font.size"]


def test_paper_is_true_to_scale() -> None:
    """25 mm/s and 10 mm/mV: at the figure's own size, one data unit of the axis is one millimetre."""
    rate, signal = 100, np.zeros((12, 1000))
    signal[1, 100] = 1.0  # 1 mV in lead II at 1 s
    fig = plots.plot_paper(signal, rate, SOURCE)
    fig.draw_without_rendering()
    ax = fig.axes[0]
    mm = ax.transData.transform([(0, 0), (10, 10)])
    assert np.diff(mm, axis=0)[0] == pytest.approx(np.array([10, 10]) / 25.4 * fig.dpi, rel=1e-6)
    strip = next(line for line in ax.lines if len(line.get_xdata()) == 1000)
    x, y = (np.asarray(v, float) for v in strip.get_data())
    assert x[100] - x[0] == pytest.approx(25.0)
    assert y[100] - y[0] == pytest.approx(10.0)
    pulses = [line for line in ax.lines if len(line.get_xdata()) == 6]
    heights = {float(np.ptp(np.asarray(line.get_ydata(), float))) for line in pulses}
    widths = {float(np.ptp(np.asarray(line.get_xdata(), float)[2:4])) for line in pulses}
    assert heights == {10.0}  # 1 mV
    assert widths == {5.0}  # 0.2 s


@pytest.mark.parametrize("content", ["one odd lead of each kind", "all nan", "short"])
def test_odd_ecgs_are_drawn(content: str) -> None:
    """Flat leads, NaN, artefacts and short records are drawn as far as they go."""
    ecg = ECG[:, :180].copy() if content == "short" else ECG.copy()
    if content == "all nan":
        ecg[:] = np.nan
    elif content != "short":
        ecg[0], ecg[3], ecg[5, 100] = 0, np.nan, 300
    assert plots.plot_paper(ecg, 100, SOURCE)._repr_png_()
    attribution = np.zeros((1, len(WINDOWS)))
    assert plots.plot_attribution(ecg, attribution, WINDOWS, 100, SOURCE)._repr_png_()


def test_one_class_one_epoch_no_events() -> None:
    """The smallest inputs a run can give still make a figure."""
    assert plots.plot_projection(np.zeros((3, 2)), ["NORM"] * 3, SOURCE)._repr_png_()
    assert plots.plot_history(history(1), ["total"], SOURCE)._repr_png_()
    assert plots.plot_follow_up(TIME, np.zeros(N), SOURCE)._repr_png_()
    assert plots.plot_risk_scatter(np.ones(4), np.arange(4), SOURCE)._repr_png_()
    assert plots.plot_age_sex([np.nan, 40], [0, 1], SOURCE)._repr_png_()
    assert plots.plot_similarity(np.ones((1, 1)), SOURCE)._repr_png_()
    flat = pd.DataFrame(
        {"time": [0.0, 9.0], "survival": 1.0, "low": 1.0, "high": np.nan, "at_risk": 4}
    )
    assert plots.plot_kaplan_meier({"nobody": flat}, SOURCE)._repr_png_()


def test_epoch_may_be_a_column_and_a_broken_run_keeps_its_label() -> None:
    broken = history().reset_index()
    broken.loc[5:, ["train_total", "validation_total"]] = np.nan
    fig = plots.plot_history({"broken": broken, "whole": history()}, ["total"], SOURCE)
    assert {"broken", "whole"} <= {t.get_text() for t in texts_of(fig)}


def test_numbers_at_risk_agree_with_the_data() -> None:
    """At a tick stands how many have a time of at least the tick (R's convention); small ones hidden."""
    table = survival_table()
    fig = plots.plot_kaplan_meier({"all": table}, SOURCE, suppress_below=10)
    fig.draw_without_rendering()
    ax, below = fig.axes
    ticks = [t for t in ax.get_xticks() if t <= ax.get_xlim()[1]]
    shown = [t.get_text() for t in below.texts if t.get_text() != "all"]
    truth = [int((t * 365.25 <= TIME).sum()) for t in ticks]
    assert shown == [str(v) if v == 0 or v >= 10 else "<10" for v in truth]
    assert "<10" in shown


def test_calibration_without_groups_still_shows_the_whole_curve() -> None:
    """A restricted cohort leaves out the points of small groups."""
    curve = pd.DataFrame({"expected": [0.1, 0.6], "observed": [0.2, 0.5]})
    empty = CALIBRATION.iloc[:0]
    figure = plots.plot_calibration(
        {"network": empty}, SOURCE, horizon="5 years", curves={"network": curve}
    )
    assert figure.axes[0].get_xlim()[1] >= 60


def test_small_groups_are_suppressed() -> None:
    """With suppression on, no bar of a restricted cohort shows fewer people than allowed."""
    time = np.append(np.full(50, 100.0), [300.0, 310.0])
    fig = plots.plot_follow_up(time, np.zeros(52), SOURCE, suppress_below=10)
    heights = {round(p.get_height()) for p in fig.axes[1].patches} - {0}
    assert heights == {50}
    assert any("1 bars of fewer than 10 left out" in t.get_text() for t in texts_of(fig))


def test_lead_attention_shares_limits_and_attribution_is_not_stretched() -> None:
    """Panels of one figure have one colour scale (STUDY 7.3); a weak lead stays pale (STUDY 7.5)."""
    fig = plots.plot_lead_attention({"a": MAPS, "b": np.full((12, 12), 1 / 12)}, SOURCE)
    limits = {ax.images[0].get_clim() for ax in fig.axes if ax.images}
    assert len(limits) == 1
    attribution = np.zeros((12, 20))
    attribution[0, 3], attribution[7, 5] = 1.0, 0.01
    fig = plots.plot_attribution(ECG, attribution, WINDOWS, 100, SOURCE)
    meshes = {ax.texts[0].get_text(): ax.collections[0] for ax in fig.axes if ax.texts}
    assert {mesh.get_clim() for mesh in meshes.values()} == {(-1.0, 1.0)}
    assert np.abs(meshes["V2"].get_array()).max() == pytest.approx(0.01)


def test_overlapping_windows_show_their_mean() -> None:
    windows = np.array([[0.0, 2000.0], [1000.0, 3000.0]])
    fig = plots.plot_attribution(ECG, np.tile([1.0, 3.0], (12, 1)), windows, 100, SOURCE)
    mesh = fig.axes[0].collections[0]
    assert np.asarray(mesh.get_array()).ravel() == pytest.approx([1, 2, 3, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.plot_leads(ECG[:5], 100, SOURCE), "5 rows for 12 leads"),
        (lambda: plots.plot_leads(ECG[0], 100, SOURCE), "1 axes, 2 are needed"),
        (lambda: plots.plot_reconstruction(ECG, ECG[:, :9], 100, SOURCE), "differ in shape"),
        (lambda: plots.plot_history(history(), ["recno"], SOURCE), "train_recno"),
        (
            lambda: plots.plot_forest(FOREST.drop(columns="low"), SOURCE, xlabel="x"),
            "lacks the column low",
        ),
        (lambda: plots.plot_kaplan_meier({}, SOURCE), "curves is empty"),
        (lambda: plots.plot_lead_attention({"a": MAPS[:3]}, SOURCE), "one row a lead"),
        (lambda: plots.plot_similarity(MAPS[:3], SOURCE), "must be square"),
    ],
)
def test_bad_input_is_one_sentence(call: Callable[[], Figure], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 300), min_size=1, max_size=8),
    st.floats(5, 30),
)
def test_spread_labels_never_overlap(wanted: list[float], height: float) -> None:
    placed = spread(wanted, [height] * len(wanted))
    assert np.diff(np.sort(placed)).min(initial=height) >= height - 0.1
    assert np.mean(placed) == pytest.approx(np.mean(wanted), abs=1e-6)


@given(st.integers(0, 0xFFFFFF))
def test_ink_is_readable_on_white(color: int) -> None:
    """WCAG 2: contrast of 4.5 between text and white."""
    rgb = np.array(ink(f"#{color:06x}"))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.45
