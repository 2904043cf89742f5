"""The study's line from ECG to risk and this book's, drawn with the same boxes."""

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ecgrepro.errors import InputError
from ecgrepro.plots.attention import Box, arrow, canvas, draw_boxes
from ecgrepro.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    BookFigure,
    styled,
)


def _panel(ax: Axes, top: float, bottom: float, text: str) -> None:
    ax.add_patch(Rectangle((0.02, top), 7.46, bottom - top, facecolor="#F5F6F7", edgecolor="none"))
    ax.text(0.5, top + 0.1, text, weight="bold", fontsize=12.5, va="top", color=BLACK)


STUDY = {
    "ecg": "PTB-XL+ median beats at 500 Hz,\nor 10 s at 100 Hz",
    "input": "12 × 608 (or 12 × 1024),\nvoltage is lost",
    "codes": "PTB-XL code and confidence,\nfor example IMI 15, LNGQT 100",
    "report": "category and description of a code;\nconfidence 0 is dropped",
    "encoder": "dual attention; leads are mixed\nbefore it → z_ecg (512)",
    "text": "Bio_ClinicalBERT, mean also over\npadding → z_text (768)",
    "head_dim": "128",
    "loss": "cosine embedding, positive pairs only",
    "cohort": "UK Biobank, not public: 800 with\nMI, about 11,500 with hypertension",
    "cox": "risk sets within a batch\nL = α · L_risk + (1 − α) · L_recon",
    "evaluation": "C-index, mean over 2 folds × 5 seeds; Cox model on 15 ECG markers",
}
OURS = {
    "ecg": "PTB-XL, or a simulated release in\nits layout: 10 s at 100 Hz",
    "input": "12 × 1024; the scale of each lead\nis kept as an optional input",
    "codes": "PTB-XL code and confidence,\nfor example IMI 15, LNGQT 100",
    "report": "category: description, confidence;\nconfidence 0 is kept (a parameter)",
    "encoder": "residual CNN, or dual attention with\nleads kept apart → z_ecg (512)",
    "text": "any encoder, or lexical; mean under\nthe mask → z_text (768)",
    "head_dim": "512",
    "loss": "cosine_positive (published) · cosine_pairs · soft_infonce",
    "cohort": "simulated, true hazard known;\na null cohort as negative control",
    "cox": "exact risk sets, ties by Efron\nL = α · L_recon + (1 − α) · L_risk",
    "evaluation": "C-index with interval beside oracles, age and sex, random encoder, null",
}


@styled
def plot_pipeline(
    kind: Literal["study", "ours"] = "ours", *, source: str = "", note: str = ""
) -> BookFigure:
    """Draw the line from ECG and statements to a risk, as published or as this book builds it.

    Parameters
    ----------
    kind
        "study" for the published line, "ours" for this book's; in the latter an orange outline marks
        every step that differs from the study.
    source
        By default says what the diagram shows.
    """
    if kind not in ("study", "ours"):
        raise InputError(f"kind is {kind!r}: choose 'study' or 'ours'.")
    words = STUDY if kind == "study" else OURS
    changed = {key: kind == "ours" and STUDY[key] != OURS[key] for key in words}
    legend = "orange outline: differs from the study" if kind == "ours" else ""
    fallback = (
        "The study as published (Chen et al. 2025)" if kind == "study" else "This book's line"
    )
    fig, ax = canvas(10.15, source or fallback, "; ".join(part for part in (note, legend) if part))
    left, right, wide, tall = 0.5, 4.0, 3.2, 0.88
    y = [0.5 + 1.2 * i for i in range(5)]
    _panel(ax, 0.05, 6.3, "1  Pretraining: align the ECG with its report")
    _panel(ax, 6.5, 10.1, "2  Fine-tuning: risk of heart failure")
    ecg = Box(left, y[0], wide, tall, "12-lead ECG", words["ecg"], BLUE, changed["ecg"])
    scaled = Box(left, y[1], wide, tall, "z-score, pad", words["input"], BLUE, changed["input"])
    encoder = Box(left, y[2], wide, tall, "ECG encoder", words["encoder"], BLUE, changed["encoder"])
    decoder = Box(left, y[3], 1.5, tall, "Decoder", "reconstruction\nloss", BLUE)
    head = Box(
        left + 1.7, y[3], 1.5, tall, "Head", f"e_ecg ({words['head_dim']})", BLUE, kind == "ours"
    )
    codes = Box(right, y[0], wide, tall, "SCP statements", words["codes"], GREEN, changed["codes"])
    report = Box(
        right, y[1], wide, tall, "Structured report", words["report"], GREEN, changed["report"]
    )
    text = Box(
        right, y[2], wide, tall, "Language model, frozen", words["text"], GREEN, changed["text"]
    )
    text_dim = f"e_text ({words['head_dim']})"
    text_head = Box(right, y[3], wide, tall, "Head", text_dim, GREEN, kind == "ours")
    align = Box(
        left + 1.0, y[4], 5.7, 0.7, "Alignment loss", words["loss"], PURPLE, changed["loss"]
    )
    same = Box(left, 6.9, wide, tall, "Same encoder", "pretrained → z_ecg (512)", BLUE)
    cohort = Box(right, 6.9, wide, tall, "Follow-up", words["cohort"], VERMILION, changed["cohort"])
    risk = Box(left, 8.1, wide, tall, "Risk head", "one log risk a patient", VERMILION)
    cox = Box(
        right, 8.1, wide, tall, "Cox partial likelihood", words["cox"], VERMILION, changed["cox"]
    )
    judged = Box(
        left, 9.3, 6.7, 0.68, "Evaluation", words["evaluation"], GREY, changed["evaluation"]
    )
    boxes = [ecg, scaled, encoder, decoder, head, codes, report, text, text_head, align]
    draw_boxes(ax, [*boxes, same, cohort, risk, cox, judged])
    pairs = [(ecg, scaled), (scaled, encoder), (codes, report), (report, text), (text, text_head)]
    for above, below in [*pairs, (same, risk), (cohort, cox)]:
        arrow(ax, above.side("bottom"), below.side("top"))
    arrow(ax, encoder.side("bottom", 0.235), decoder.side("top"))
    arrow(ax, encoder.side("bottom", 0.765), head.side("top"))
    arrow(ax, head.side("bottom"), (head.side("bottom")[0], align.y))
    arrow(ax, text_head.side("bottom"), (text_head.side("bottom")[0], align.y))
    arrow(ax, risk.side("right"), cox.side("left"))
    arrow(ax, risk.side("bottom"), (risk.side("bottom")[0], judged.y))
    rail = 0.24  # the weights travel along the left edge
    start, end = encoder.side("left"), same.side("left")
    ax.plot([start[0], rail, rail], [start[1], start[1], end[1]], color=BLUE, linewidth=1.8)
    arrow(ax, (rail, end[1]), end, color=BLUE)
    return fig
