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
# # 13 · The whole protocol
#
# Chapter 10 tested each method once, on one division of the patients, with all events that there were.
# *Does the order of the methods survive other divisions, and with how few events does it pay to have read reports?*
# Every method here is fitted and tested on every fold of two protocols: the study's (two stratified halves, each cut
# 80/20, under several seeds) and one that divides whole patients into folds.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | fold | each patient is tested once a seed, by a model that never saw them | {doc}`10_evaluation` |
# | overlap | folds share training patients, so the usual interval of a mean is too narrow | [below](one-line-a-method) |
# | paired difference | two methods on the same folds: what the folds share cancels | [below](differences-over-the-same-folds) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
cohorts = []  # names in chapter 8; empty: the main and the null cohort
encoders = []  # "cnn", "dual_attention"; empty: the encoder of chapter 6
initialisations = ["scratch", "aligned", "random_encoder"]  # or "reconstruction"
study_seeds = [42, 2021]  # of the study's two halves; it used 42, 2021 to 2024
grouped_seeds = [42]  # of folds that keep patients together; empty: not run
n_folds = 5  # of them (number)
labels = 20  # training events of a fold; 0: all
curve = [80]  # more of them, main cohort and first protocol only; 0: all
level = 0.95  # nominal coverage of all intervals (share)

# %%
import numpy as np
import pandas as pd
from IPython.display import display

from ecgrepro import plots, runs
from ecgrepro.cohorts import suppress_count, suppress_table
from ecgrepro.files import atomic_path, read_json
from ecgrepro.progress import line_reporter
from ecgrepro.protocol import (
    LABELS,
    collect,
    learning_curve,
    name_lines,
    paired_differences,
    run_sweep,
    summarise,
    sweep_of,
)
from ecgrepro.provenance import summarise as summarise_record

chapter = runs.start("13_protocol", globals())
plots.apply()
about = read_json(chapter.read("cohorts"))
source, main, restricted = about["source"], about["main"], about["restricted"]
print(chapter.source)
print(source)

# %% [markdown]
# ## The arms
#
# An arm is one method on one cohort, under one protocol and one seed: all folds of that seed.
# Each fold starts from its own copy of the weights, learns on its training part and chooses its epoch on its
# validation part, with the settings of {doc}`09_risk`. Three baselines learn from both parts and choose nothing: Cox on
# age and sex, on the study's fifteen ECG measurements ({doc}`11_biomarkers`), and on all of them.
# An arm that is finished is found again; `make protocol` runs many of them side by side.
#
# Training events are few here on purpose: who has thousands of events hardly needs pretraining, and the study's
# UKB-MI had about 13 in a training part.

# %%
# What arms and pretrainings read stands in the record of this chapter.
chapter.read("follow_up")
chapter.read("cohort_packed")
chapter.read("biomarkers")
chapter.read("alignment_model")
chapter.read("packed")
chapter.read("ecg_ids")
chapter.read("z_text")
chapter.read("text_ids")
arms, left_out = sweep_of(chapter.folder, chapter.parameters)
for note in left_out:
    print(note)
print(pd.Series([arm.initialisation for arm in arms]).value_counts().to_string())

# %% tags=["nbval-ignore-output"]
results = run_sweep(arms, chapter.folder, report=line_reporter("arms"))
folds = collect(results)

# %% [markdown]
# ## All folds
#
# One row a method and seed, one column a fold: nothing is averaged yet.
# A fold in which no two test patients are comparable has no C-index; it stays empty and is left out of means.
# The column *labels* gives the training events of a fold, 0 meaning all; *n* and *events* are those tested.

# %% tags=["output_scroll", "nbval-ignore-output"]
keys = ["cohort", "protocol", "labels", "encoder", "initialisation", "seed"]
wide = folds.pivot_table(index=keys, columns="fold", values="c_index")
per_seed = folds.groupby(keys)[["n", "events"]].sum()
with pd.option_context("display.max_rows", None):
    table = wide.round(2).join(
        suppress_table(per_seed, ["n", "events"], restricted)
    )
    display(table.astype(object).fillna(""))

# %% [markdown]
# (one-line-a-method)=
# ## One line a method
#
# The mean over folds, its interval, and on the same line every baseline: Cox on age and sex, Cox on fifteen ECG
# measurements, a random encoder, the oracle where the hazard is known, and the same method on the null cohort.
# Folds share training patients; the variance $(1/k + n_\text{test}/n_\text{train})\,s^2$ allows for it
# {cite}`nadeau2003`. It takes the patients outside the test part for $n_\text{train}$, also where only some of them
# are used: with few labels the intervals are too wide rather than too narrow.

# %% tags=["output_scroll", "nbval-ignore-output"]
summary = summarise(folds, level)
beside = ["age_sex", "ecg_15", "age_sex_ecg_15", "random_encoder"]
beside += ["oracle_ecg", "oracle", "null"]
columns = ["n", "events", "folds", "without_value", "estimate", "low", "high"]
columns += ["sd_folds", "pooled", *beside]
lines = summary.set_index(keys[:-1])[[name for name in columns if name in summary]]
with pd.option_context("display.max_rows", None):
    display(
        suppress_table(
            lines.dropna(axis=1, how="all").round(2),
            ["n", "events"],
            restricted,
        )
        .astype(object)
        .fillna("")
    )

# %%
forest = name_lines(summary)
if restricted and summary[["n", "events"]].to_numpy().min() < 10:
    forest = forest.drop(columns=["n", "events"])
plots.plot_forest(
    forest,
    source,
    xlabel="C-index, mean over folds (0.5 = chance)",
    highlight=list(forest.label[forest.initialisation == "aligned"]),
    digits=2,
    title="Every method, every fold",
    note=f"{level:.0%} interval over folds, corrected for shared training patients",
)

# %% [markdown]
# ## The study's protocol beside folds grouped by patient
#
# Halves leave less to learn from than four fifths, and fewer folds leave a wider interval; neither protocol flatters
# by itself. Where a patient has several rows, the study's protocol would, and is left out.

# %% tags=["output_scroll", "nbval-ignore-output"]
both = summary.pivot_table(
    index=["cohort", "labels", "encoder", "initialisation"],
    columns="protocol",
    values=["estimate", "low", "high"],
)
both = both.swaplevel(axis=1).sort_index(axis=1)
with pd.option_context("display.max_rows", None):
    display(both.dropna().round(2))

# %% [markdown]
# (differences-over-the-same-folds)=
# ## Differences over the same folds

# %% tags=["output_scroll", "nbval-ignore-output"]
differences = paired_differences(folds, level=level)
verdict = np.select(
    [differences.low > 0, differences.high < 0],
    ["better", "worse"],
    "no clear difference",
)
shown = ["cohort", "protocol", "labels", "encoder", "first", "second"]
with pd.option_context("display.max_rows", None):
    display(
        differences.drop(columns="events_train")
        .assign(verdict=verdict)
        .set_index(shown)
        .round(3)
    )

# %% [markdown]
# ## How few events?
#
# The same folds, with fewer and more training patients: events and everybody else in the same proportion, the small
# parts inside the large ones, the test part unchanged.

# %%
encoder = next((name for name in summary.encoder if name != "none"), "none")
protocol = "study" if study_seeds else "grouped"
points = learning_curve(summary, main, encoder, protocol)
references = {"chance": 0.5}
truth = summary[(summary.cohort == main) & (summary.protocol == protocol)]
truth = truth[truth.initialisation == "oracle_ecg"]
if len(truth):
    references["oracle: ECG part"] = truth.estimate.iloc[0]
first = {"aligned": 0, "scratch": 1}
points = points.sort_values(
    "label", key=lambda label: label.map(first).fillna(2), kind="stable"
)
# Bands of the two that are compared only: more would hide one another.
points.loc[~points.label.isin(["aligned", "scratch"]), ["low", "high"]] = np.nan
if restricted:  # where a point stands tells how many events it has
    points = points[points.n >= 10]
if points.empty:
    print("fewer than 10 events in a training part: no curve is shown")
else:
    figure = plots.plot_learning_curve(
        points.replace({"label": LABELS}),
        source,
        xlabel="Events in a training part (number)",
        ylabel="C-index, mean over folds (0.5 = chance)",
        references=references,
        title="What each event is worth",
        note=f"{main} cohort, {protocol} protocol; bands: {level:.0%}, corrected for overlap",
    )
    display(figure)

# %% tags=["nbval-ignore-output"]
gaps = differences[
    (differences["first"] == "aligned") & (differences["second"] == "scratch")
].sort_values(["cohort", "protocol", "events_train"])
for row in gaps.itertuples():
    count = suppress_count(round(row.events_train), restricted)
    word = (
        "better"
        if row.low > 0
        else "worse"
        if row.high < 0
        else "not clearly different"
    )
    print(
        f"{row.cohort}, {row.protocol}, {count} training events: {word},\n"
        f"  aligned - scratch {row.estimate:+.2f} ({row.low:+.2f} to {row.high:+.2f}), ahead in {row.wins} of {row.folds} folds"
    )

# %% [markdown]
# ## The negative control
#
# On the null cohort every interval should contain 0.5, except about one in twenty by chance.

# %% tags=["nbval-ignore-output"]
null = summary[summary.cohort == "null control"]
for row in null.itertuples():
    inside = "contains" if row.low <= 0.5 <= row.high else "EXCLUDES"
    print(
        f"{row.protocol}, {row.initialisation}: {row.estimate:.2f}, the interval {inside} 0.5"
    )
if null.empty:
    print("this sweep has no null cohort")

# %%
tables = {
    chapter.write("protocol_folds"): folds,
    chapter.write("protocol_summary"): summary,
    chapter.write("protocol_differences"): differences,
}
for path, table in tables.items():
    with atomic_path(path) as temporary:
        table.round(6).to_csv(temporary, index=False)

# %% [markdown]
# ## Checks

# %%
print(f"{len(folds)} folds, {len(arms)} arms, {len(summary)} lines")
print(f"{len(differences)} paired differences, {len(points)} points of the curve")
assert not folds.duplicated([*keys, "fold"]).any()
assert folds.c_index.dropna().between(0, 1).all()
tested = folds.groupby(["cohort", "protocol", "seed", "fold"]).test_rows.nunique()
assert (tested == 1).all(), "methods were tested on different patients"
assert (summary.low.isna() | (summary.low <= summary.estimate)).all()
assert (summary.folds - summary.without_value >= 0).all()
assert wide.stack().dropna().between(0, 1).all()
assert len(lines) == len(summary)
assert set(both.index.get_level_values("initialisation")) <= set(
    summary.initialisation
)
assert (differences.wins <= differences.folds).all()
assert set(gaps.index) <= set(differences.index)
oracle = summary[summary.initialisation == "oracle"]
assert (oracle.estimate > 0.6).all(), "the planted hazard does not order patients"
assert (null.low.isna() | ((null.low - 0.1 < 0.5) & (null.high + 0.1 > 0.5))).all()
for result in results:
    assert not result.scores.row.duplicated().any(), "a patient was scored twice"

# %% [markdown]
# ## Provenance
#
# Each arm has its own record, `protocol/arms/<arm>/provenance.json`: arm, settings, hashes of what it read and
# wrote, code, versions, device and wall time.

# %%
print(summarise_record(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Every fold of every method is in one table; means come second.
# - Intervals allow for shared patients; differences are paired over the same folds.
# - The learning curve says with how few events it matters where a network starts.
#
# Next: {doc}`99_status`.
