# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 · ECG biomarkers
#
# A cardiograph measures intervals, axes and voltages. The study sets a Cox model on fifteen such covariates
# against its network {cite}`chen2025`, with the values that UK Biobank's machine printed.
# *How far does what a clinician measures get, measured by ourselves from the signal, and can our rulers be trusted?*
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | P, QRS, T | the waves whose begin and end are measured | {doc}`glossary </book/glossary>` |
# | median beat | noise averages out, rare beats do not disturb it | [below](the-median-beat) |
# | Cox regression | turns covariates into a risk | {cite}`cox1972` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
records = 1500  # ECGs of the release of chapter 1 to measure, evenly spread (number; 0: all)
resamples = 1000  # bootstrap resamples, by patient
example = 0  # ecg_id of the beat that is drawn; 0: the first of the release
seed = 0  # of the bootstrap

# %%
import numpy as np
import pandas as pd
from IPython.display import display

from ecgrepro import ROOT, plots, runs
from ecgrepro.data import open_packed, open_release, signals
from ecgrepro.biomarkers import (
    COVARIATES,
    Thresholds,
    baseline_columns,
    delineate,
    find_beats,
    measure_many,
    study_covariates,
    with_covariates,
)
from ecgrepro.biomarkers.beats import BEFORE, GRID
from ecgrepro.biomarkers.delineation import ms
from ecgrepro.cohorts import suppress_count, suppress_table
from ecgrepro.files import atomic_path, read_json
from ecgrepro.plots import (
    plot_bland_altman,
    plot_distributions,
    plot_median_beat,
)
from ecgrepro.provenance import summarise
from ecgrepro.survival import (
    combine,
    fit_cox,
    predict_cox,
    resample_patients,
    resampled_concordance,
)

chapter = runs.start("11_biomarkers", globals())
plots.apply()
about, cohorts = (
    read_json(chapter.read("release")),
    read_json(chapter.read("cohorts")),
)
release = open_release(ROOT / about["path"], rate=about["rate"])
packed = open_packed(chapter.read("packed").parent)
print(chapter.source)

# %% [markdown]
# ## Measuring
#
# Every ECG is measured by the same rules; what cannot be measured stays missing and says why.

# %%
step = max(1, len(packed.ecg_ids) // records) if records else 1
rows = np.arange(0, len(packed.ecg_ids), step)
measured = measure_many(packed, rows)
table = release.index.loc[measured.index]
covariates = study_covariates(measured, table.sex)
print(f"{len(measured):,} ECGs measured")
print(f"without a QRS that can be measured: {measured.qrs_ms.isna().sum()}")
print(
    f"without a P wave in a fixed relation to QRS: {measured.pr_ms.isna().mean():.1%}"
)

# %% [markdown]
# (the-median-beat)=
# ## The median beat
#
# Beats are found in all leads together, sorted by shape, aligned, and the median of the most frequent shape is taken:
# ectopic beats do not count, noise shrinks. On that one beat the earliest onset and the latest offset over
# all leads are looked for, which is how a cardiograph defines its intervals.

# %%
shown = example or int(measured.index[measured.reason == ""][0])
millivolts = signals.to_millivolts(packed.signals[packed.rows([shown])[0]])
beats = find_beats(millivolts, packed.rate)
marks = delineate(beats.median, beats.stack, float(np.median(beats.rr_s)))
level = beats.median[:, int(marks.qrs_on) - 5]
spans = {
    "P": (marks.p_on, marks.p_off),
    "QRS": (marks.qrs_on, marks.qrs_off),
    "ST-T": (marks.qrs_off, marks.t_off),
}
plot_median_beat(
    beats.median - level[:, None],
    GRID,
    {name: (ms(a - BEFORE), ms(b - BEFORE)) for name, (a, b) in spans.items()},
    chapter.source,
    before_ms=ms(BEFORE),
    title=f"Median of {beats.used.sum()} beats, ecg_id {shown}",
    note="0 mV: the level before QRS",
)

# %% [markdown]
# ## Against the truth
#
# Only a simulated heart knows its own intervals. Differences are drawn as Bland and Altman do; the limits hold 95 %
# of them.

# %%
pairs = {
    "Ventricular rate (/min)": ("ventricular_rate", "heart_rate"),
    "PR interval (ms)": ("pr_ms", "pr_ms"),
    "QRS duration (ms)": ("qrs_ms", "qrs_ms"),
    "QT interval (ms)": ("qt_ms", "qt_ms"),
    "QRS axis (degrees)": ("qrs_axis_deg", "axis_deg"),
}
truth = None
if about["simulated"]:
    truth = (
        pd.read_csv(release.path / "truth.csv")
        .set_index("ecg_id")
        .loc[measured.index]
    )
    compared, lines = {}, {}
    for name, (ours, theirs) in pairs.items():
        true = truth[theirs].to_numpy()
        gap = measured[ours].to_numpy() - true
        gap = (gap + 180) % 360 - 180 if "degrees" in name else gap
        compared[name] = (true + gap, true)
        low, high = np.nanquantile(gap, [0.025, 0.975])
        lines[name] = {
            "n": int(np.isfinite(gap).sum()),
            "bias": np.nanmean(gap),
            "median |difference|": np.nanmedian(np.abs(gap)),
            "95 % from": low,
            "95 % to": high,
        }
    agreement = pd.DataFrame(lines).T.round(1)
    display(agreement)
    display(
        plot_bland_altman(
            compared, chapter.source, title="Measured against simulated truth"
        )
    )
else:
    print(
        "Genuine ECGs: nobody knows the true intervals; see the plausibility checks below."
    )

# %% [markdown]
# The tails belong to ECGs in which the wave itself is ambiguous: QRS that runs into T without a corner in bundle
# branch block, flat T waves, pacing. Fibrillation has no PR, and none is reported.
#
# ## What the measurements look like
#
# The thresholds that turn a measurement into one of the study's flags are dashed. The study names three of them (P
# 120 ms, PR 200 ms, QRS 100 ms); the others are the usual clinical ones, each with its source in
# `ecgrepro.biomarkers.Thresholds`. QT is corrected after Fridericia.

# %%
limits = Thresholds()
plot_distributions(
    {
        "Ventricular rate (/min)": measured.ventricular_rate,
        "P duration (ms)": measured.p_ms,
        "PR interval (ms)": measured.pr_ms,
        "QRS duration (ms)": measured.qrs_ms,
        "QTc, Fridericia (ms)": measured.qtc_fridericia_ms,
        "QRS axis (degrees)": measured.qrs_axis_deg,
        "QRS-T angle (degrees)": measured.qrs_t_angle_deg,
        "Sokolow-Lyon voltage (mV)": measured.sokolow_lyon_mv,
    },
    chapter.source,
    limits={
        "P duration (ms)": [limits.p_ms],
        "PR interval (ms)": [limits.pr_ms],
        "QRS duration (ms)": [limits.qrs_ms],
        "QTc, Fridericia (ms)": [limits.qtc_male_ms, limits.qtc_female_ms],
        "QRS axis (degrees)": [limits.left_axis_deg, limits.right_axis_deg],
        "QRS-T angle (degrees)": [limits.qrs_t_deg],
        "Sokolow-Lyon voltage (mV)": [limits.sokolow_lyon_mv],
    },
    note=f"n = {len(measured):,} ECGs",
)

# %% [markdown]
# ## Do they agree with the statements?
#
# A reader who coded a block, a long PR or fibrillation saw what these numbers measure. The area under the ROC curve
# asks how well one measurement alone separates ECGs with the statement from those without; 0.5 is chance.

# %%
claims = {
    "bundle branch block by QRS duration": ("qrs_ms", 1, {"CLBBB", "CRBBB"}),
    "long PR by PR interval": ("pr_ms", 1, {"1AVB", "LPR"}),
    "fibrillation by P consistency": ("p_consistency", -1, {"AFIB"}),
    "hypertrophy by Sokolow-Lyon": ("sokolow_lyon_mv", 1, {"LVH", "VCLVH"}),
    "low voltage by limb-lead voltage": ("limb_voltage_mv", -1, {"LVOLT"}),
    "sinus tachycardia by rate": ("ventricular_rate", 1, {"STACH"}),
    "sinus bradycardia by rate": ("ventricular_rate", -1, {"SBRAD"}),
}
lines = []
for name, (column, sign, codes) in claims.items():
    coded = table.scp_codes.map(
        lambda own, codes=codes: bool(codes & set(own))
    ).to_numpy()
    known = measured[column].notna().to_numpy()
    if coded[known].sum() < 5:
        continue
    # The area is the C-index of ECGs that all "end" at once: each coded one against each that is not.
    sample = resample_patients(
        np.zeros(known.sum()),
        coded[known],
        table.patient_id.to_numpy()[known],
        min(resamples, 300),
        seed,
    )
    score = sign * measured[column].to_numpy()[known]
    interval = resampled_concordance(sample, {name: score})[name].interval()
    lines.append(
        {
            "label": name,
            "estimate": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "n": int(known.sum()),
            "coded": int(coded[known].sum()),
        }
    )
statements = pd.DataFrame(
    lines, columns=["label", "estimate", "low", "high", "n", "coded"]
)
statements.set_index("label").round(2)

# %%
if len(statements):
    figure = plots.plot_forest(
        statements.assign(
            label=statements.label + " (" + statements.coded.astype(str) + " coded)"
        ),
        chapter.source,
        xlabel="Area under the ROC curve (0.5 = chance)",
        digits=2,
        title="One measurement, one statement",
        note="95 % interval, bootstrap by patient; ECGs with the measurement only",
    )
    display(figure)

# %% [markdown]
# The flags themselves, against the statement that means the same:

# %%
same = {
    "rbbb": {"CRBBB"},
    "lbbb": {"CLBBB"},
    "long_pr": {"1AVB", "LPR"},
    "lvh": {"LVH", "VCLVH"},
    "low_voltage": {"LVOLT"},
}
lines = {}
for flag, codes in same.items():
    coded = table.scp_codes.map(lambda own, codes=codes: bool(codes & set(own)))
    found = covariates[flag] == 1
    lines[flag] = {
        "coded": int(coded.sum()),
        "sensitivity": found[coded].mean(),
        "specificity": 1 - found[~coded].mean(),
    }
flags = pd.DataFrame(lines).T.round(2)
flags

# %% [markdown]
# A voltage criterion is known to miss much hypertrophy, and a reader's *low voltage* is a looser notion than 0.5 mV
# in every limb lead: disagreement there is the criterion's, not the ruler's.
#
# ## The study's fifteen covariates on the cohort
#
# One rate and fourteen flags. A flag that cannot be known (no P wave, so no PR) is missing; the Cox model puts the
# median of the training patients in its place, and standardises on training patients only (the study scaled all patients
# before splitting them). Constant columns are dropped.

# %%
biomarkers = pd.read_csv(chapter.read("biomarkers"), index_col="ecg_id")
everyone = with_covariates(pd.read_csv(chapter.read("follow_up")), biomarkers)
source, main = cohorts["source"], cohorts["main"]
restricted = cohorts["restricted"]
own = everyone[everyone.cohort == main]
print(source)
print(f"{len(biomarkers):,} ECGs of the cohorts, measured in chapter 8")


# %%
def counts_of(flag: pd.Series) -> dict[str, int | str]:
    """How many have a flag; hidden in a restricted cohort where that, or the rest, is a small count."""
    known = [int((flag == value).sum()) for value in (1, 0)]
    small = restricted and min(known) < 10
    unknown = suppress_count(int(flag.isna().sum()), restricted)
    return {"set": "suppressed" if small else known[0], "not known": unknown}


pd.DataFrame({name: counts_of(own[name]) for name in COVARIATES[1:]}).T.assign(
    n=len(own)
)

# %% [markdown]
# ## Cox regression on them
#
# Fitted on the training patients, scored on the test patients, beside age and sex. The ridge penalty is fixed
# in advance; the study searched it with a particle swarm over seven decades on a handful of validation events.
# The null cohort is the control: there is nothing to find in it.

# %%
lines, models, concordance = [], {}, {}
for cohort, part in everyone.groupby("cohort", sort=False):
    train, test = part[part.split == "train"], part[part.split == "test"]
    sample = resample_patients(
        test.time, test.event, test.patient_id, resamples, seed
    )
    for label, columns in baseline_columns(part).items():
        models[cohort, label] = model = fit_cox(train, columns)
        scored = {label: predict_cox(model, test)}
        concordance[cohort, label] = resampled_concordance(sample, scored)[label]
        c = concordance[cohort, label].interval()
        lines.append(
            {
                "cohort": cohort,
                "label": label,
                "estimate": c.estimate,
                "low": c.low,
                "high": c.high,
                "n": len(test),
                "events": int(test.event.sum()),
                "train_events": int(train.event.sum()),
                "covariates": len(model.covariates),
            }
        )
baseline = pd.DataFrame(lines)
with atomic_path(chapter.write("biomarker_baseline")) as temporary:
    baseline.round(4).to_csv(temporary, index=False)
counts = ["n", "events", "train_events"]
suppress_table(baseline.set_index(["cohort", "label"]).round(2), counts, restricted)

# %%
hidden = restricted & (baseline[["n", "events"]] < 10)
plots.plot_forest(
    baseline.assign(
        group=baseline.cohort + " cohort",
        **baseline[["n", "events"]].mask(hidden),
    ),
    source,
    xlabel="C-index on held-out patients (0.5 = chance)",
    highlight=["15 ECG measurements"],
    digits=2,
    title="Fifteen measurements, beside age and sex",
    note="95 % interval, bootstrap by patient",
)

# %% [markdown]
# Overlapping intervals do not show that two models are equal; the paired difference on the same patients says more.

# %%
held_out = own[own.split == "test"]
if (main, "age and sex") in concordance:
    gap = combine(
        np.subtract,
        concordance[main, "age, sex and 15 measurements"],
        concordance[main, "age and sex"],
    ).interval()
    verdict = (
        "add to"
        if gap.low > 0
        else "take away from"
        if gap.high < 0
        else "do not clearly add to"
    )
    print(f"ΔC = {gap.estimate:.2f} (95 % {gap.low:.2f} to {gap.high:.2f})")
    n, events = (
        suppress_count(int(x), restricted)
        for x in (len(held_out), held_out.event.sum())
    )
    print(
        f"{main} cohort: the measurements {verdict} age and sex, n = {n}, events = {events}"
    )
else:
    print("This follow-up has no age and sex: there is nothing to compare with.")
null = baseline[
    (baseline.cohort == "null control") & (baseline.label == "15 ECG measurements")
]
for row in null.itertuples():
    inside = "contains" if row.low <= 0.5 <= row.high else "EXCLUDES"
    print(f"null cohort: the interval {inside} 0.5")

# %% [markdown]
# ## Which of them carry risk?
#
# Hazard ratios from the training patients: of having the flag, or of ten beats per minute. With few events their intervals
# are wide; the study's own figures run from 0.4 to 3.0 on 65 events.

# %%
model = models[main, "15 ECG measurements"]
beta, error = np.array(model.coefficients), np.array(model.standard_errors)
unit = np.array(
    [10.0 if name == "ventricular_rate" else 1.0 for name in model.covariates]
)
per = unit / np.array(model.scales)
carriers = own.loc[own.split == "train", list(model.covariates)].fillna(0).sum()
rare = [name for name in model.covariates if carriers[name] < 10]
ratios = pd.DataFrame(
    {
        "name": model.covariates,
        "label": [name.replace("_", " ") for name in model.covariates],
        "estimate": np.exp(beta * per),
        "low": np.exp((beta - 1.96 * error) * per),
        "high": np.exp((beta + 1.96 * error) * per),
    }
)
few = restricted and model.events < 10
for note in model.notes:
    if "constant" in note or ("under 10" in note and not few):
        print(note)
print(
    f"not drawn, fewer than 10 training patients have them: {', '.join(rare) or 'none'}"
)
plots.plot_forest(
    ratios[~ratios.name.isin(rare)],
    source,
    xlabel="Hazard ratio (no unit); rate: per 10 beats/min",
    reference=1.0,
    reference_label="no effect",
    log=True,
    digits=2,
    title=f"What raises the hazard, {main} cohort",
    note=f"training patients, n = {suppress_count(model.n, restricted)}, "
    f"{suppress_count(model.events, restricted)} events; 95 % Wald interval, lightly penalised",
)

# %% [markdown]
# ## Checks

# %%
assert set(COVARIATES) <= set(everyone.columns)
assert everyone[list(COVARIATES[1:])].stack().dropna().isin([0, 1]).all()
assert (
    measured.loc[measured.reason == "", ["pr_ms", "qrs_ms", "qt_ms"]]
    .notna()
    .all()
    .all()
)
assert (measured.reason != "").loc[measured.pr_ms.isna()].all(), (
    "something is missing without a reason"
)
assert measured.qrs_ms.dropna().between(40, 250).all()
if truth is not None and len(measured) >= 50:
    assert agreement.loc["Ventricular rate (/min)", "median |difference|"] < 1
    assert (
        agreement.loc[
            ["PR interval (ms)", "QRS duration (ms)", "QT interval (ms)"],
            "median |difference|",
        ]
        < 20
    ).all()
    assert agreement.loc["QRS axis (degrees)", "median |difference|"] < 10
assert baseline.estimate.between(0, 1).all()
assert not set(own[own.split == "train"].patient_id) & set(held_out.patient_id), (
    "a patient is in train and test"
)

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - The measurements come from the signal, by rules that are written down, and were checked against a heart whose
#   intervals are known and against readers' statements.
# - Where something cannot be measured it is missing, with a reason; nothing is imputed before the training fold.
# - They are the clinical baseline that a network has to beat, with the same patients, events and intervals.
#
# Next: {doc}`12_published_and_ours`.
