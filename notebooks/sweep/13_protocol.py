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
# Chapter 10 tested each method once, on one division of the patients.
# *Does the order of the methods survive other divisions, and from how few events does reading reports first pay?*
# Every method here was fitted and tested on every fold of two protocols: the study's (two stratified halves, each cut
# 80/20, under five seeds) and one that divides whole patients into folds.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | fold | each patient is tested once a seed, by a model that never saw them | {doc}`10_evaluation` |
# | overlap | folds share training patients, so the usual interval of a mean is too narrow | [below](one-line-a-method) |
# | paired difference | two methods on the same folds: what the folds share cancels | [below](differences-over-the-same-folds) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
cohort = ""  # cohort of the figures; empty: the run's main cohort
level = 0.95  # nominal coverage of all intervals (share)

# %%
import numpy as np
import pandas as pd

from ecgrepro import ROOT, plots
from ecgrepro.cohorts import suppress_table
from ecgrepro.files import read_json
from ecgrepro.parameters import check_names, declared_parameters
from ecgrepro.protocol import collect, learning_curve, paired_differences, summarise

check_names(
    "sweep/13_protocol", declared_parameters("sweep/13_protocol"), globals()
)
plots.apply()
folder = ROOT / "runs" / run
about = read_json(folder / "cohorts" / "cohorts.json")
source, restricted = about["source"], about["restricted"]
main = cohort or about["main"]
folds = collect(folder)
small = 10 if restricted else 0
print(read_json(folder / "release.json")["source"])
print(source)
print(
    f"{len(folds):,} folds of {len(folds.groupby(['cohort', 'encoder', 'initialisation'])):,} lines"
)

# %% [markdown]
# ## All folds
#
# One row a line and seed, one column a fold: nothing is averaged yet.
# A fold in which no two test patients are comparable has no C-index; it stays empty and is left out of means.

# %%
whole = folds[folds.labels == 0]
keys = ["cohort", "protocol", "encoder", "initialisation", "seed"]
wide = whole.pivot_table(
    index=keys, columns="fold", values="c_index", dropna=False
).dropna(how="all")
per_fold = whole.groupby(keys)[["n", "events"]].sum()
with pd.option_context("display.max_rows", None):
    table = wide.round(3).join(
        suppress_table(per_fold, ["n", "events"], restricted)
    )
    display(table.fillna(""))  # noqa: F821

# %% [markdown]
# (one-line-a-method)=
# ## One line a method
#
# The mean over folds, its interval, and on the same line every baseline: Cox on age and sex, Cox on fifteen ECG
# measurements, a random encoder, the oracle where the hazard is known, and the same method on the null cohort.
# Folds share training patients; the variance $(1/k + n_\text{test}/n_\text{train})\,s^2$ allows for it.

# %%
summary = summarise(folds, level)
full = summary[summary.labels == 0]
columns = [
    "protocol",
    "initialisation",
    "n",
    "events",
    "folds",
    "without_value",
    "estimate",
    "low",
    "high",
]
columns += [
    "sd_folds",
    "pooled",
    "age_sex",
    "ecg_15",
    "random_encoder",
    "oracle_ecg",
    "oracle",
    "null",
]
lines = full.set_index(["cohort", "encoder"])[
    [name for name in columns if name in full]
].round(3)
suppress_table(lines.dropna(axis=1, how="all"), ["n", "events"], restricted)

# %%
several = full.encoder.nunique() > 2
names = {"age_sex": "Cox: age and sex", "ecg_15": "Cox: 15 ECG measurements"}
names |= {
    "random_encoder": "random encoder",
    "reconstruction": "reconstruction only",
}
names |= {"oracle_ecg": "oracle: ECG part", "oracle": "oracle: true hazard"}
label = full.initialisation.replace(names)
if several:
    label = label + full.encoder.map(
        lambda name: "" if name == "none" else f", {name}"
    )
forest = full.assign(
    label=label, group=full.cohort + ", " + full.protocol + " protocol"
)
if restricted:
    forest = forest.drop(columns=["n", "events"])
plots.plot_forest(
    forest.sort_values("group", kind="stable"),
    source,
    xlabel="C-index, mean over folds (0.5 = chance)",
    highlight=list(label[full.initialisation == "aligned"]),
    digits=2,
    title="Every method, every fold",
    note=f"{level:.0%} interval over folds, corrected for shared training patients",
)

# %% [markdown]
# ## The study's protocol beside folds grouped by patient
#
# Halves leave less to learn from than four fifths, and fewer folds leave a wider interval; neither protocol flatters
# by itself. Where a patient has several rows, the study's protocol would, and is refused.

# %%
both = full.pivot_table(
    index=["cohort", "encoder", "initialisation"],
    columns="protocol",
    values=["estimate", "low", "high"],
)
both.swaplevel(axis=1).sort_index(axis=1).round(3)

# %% [markdown]
# (differences-over-the-same-folds)=
# ## Differences over the same folds

# %%
differences = paired_differences(folds, level=level)
verdict = np.select(
    [differences.low > 0, differences.high < 0],
    ["better", "worse"],
    "no clear difference",
)
verdicts = differences[differences.labels == 0].drop(
    columns=["labels", "events_train"]
)
verdicts = verdicts.assign(verdict=verdict[differences.labels == 0])
verdicts.set_index(["cohort", "protocol", "encoder", "first", "second"]).round(3)

# %% [markdown]
# ## How few events?
#
# The same folds, with fewer and fewer training patients: events and everybody else in the same proportion, the small
# parts inside the large ones, the test part unchanged.

# %%
limited = summary[(summary.cohort == main) & (summary.labels > 0)]
encoder = next((name for name in summary.encoder if name != "none"), "none")
if limited.empty:
    print(
        "This sweep has no learning curve: give `labels`, for example labels='[20,40,80]'."
    )
else:
    protocol = limited.protocol.iloc[0]
    curve = learning_curve(summary, main, encoder, protocol)
    oracles = summary[
        (summary.cohort == main) & (summary.initialisation == "oracle_ecg")
    ]
    references = {"chance": 0.5}
    if len(oracles):
        references["oracle: ECG part"] = oracles.estimate.iloc[0]
    shown = curve[curve.label.isin(["aligned", "scratch", "age_sex"])].replace(
        {"label": names}
    )
    figure = plots.plot_learning_curve(
        shown,
        source,
        xlabel="Events in a training part (number)",
        ylabel="C-index, mean over folds (0.5 = chance)",
        references=references,
        title="What each event is worth",
        note=f"{main} cohort, {protocol} protocol; bands: {level:.0%}, corrected for overlap",
    )
    display(figure)  # noqa: F821

# %%
gaps = differences[
    (differences.cohort == main)
    & (differences["first"] == "aligned")
    & (differences["second"] == "scratch")
].sort_values(["protocol", "events_train"])
for row in gaps.itertuples():
    count = "<10" if row.events_train < small else f"{row.events_train:.0f}"
    word = (
        "better"
        if row.low > 0
        else "worse"
        if row.high < 0
        else "not clearly different"
    )
    print(
        f"{row.protocol}, {count} training events: aligned - scratch = {row.estimate:+.3f} "
        f"({row.low:+.3f} to {row.high:+.3f}), {word}; ahead in {row.wins} of {row.folds} folds"
    )

# %% [markdown]
# ## The negative control
#
# On the null cohort every interval should contain 0.5, except about one in twenty by chance.

# %%
null = full[full.cohort == "null control"]
for row in null.itertuples():
    inside = "contains" if row.low <= 0.5 <= row.high else "EXCLUDES"
    print(
        f"{row.protocol}, {row.initialisation}: {row.estimate:.3f}, the interval {inside} 0.5"
    )
if null.empty:
    print("this run has no null cohort")

# %% [markdown]
# ## Checks

# %%
assert not folds.duplicated(
    ["cohort", "encoder", "initialisation", "protocol", "labels", "seed", "fold"]
).any()
assert folds.c_index.dropna().between(0, 1).all()
tested = folds.groupby(
    ["cohort", "protocol", "labels", "seed", "fold"]
).test_rows.nunique()
assert (tested == 1).all(), "methods were tested on different patients"
assert (summary.low.isna() | (summary.low <= summary.estimate)).all()
assert (summary.folds - summary.without_value >= 0).all()

# %% [markdown]
# ## Provenance
#
# Each arm has its own record, `protocol/arms/<arm>/provenance.json`: arm, settings, hashes of what it read and
# wrote, code, versions, device and wall time.

# %%
print(
    f"run {run}, arms: {len(list((folder / 'protocol' / 'arms').glob('*/provenance.json')))}"
)

# %% [markdown]
# ## Summary
#
# - Every fold of every method is in one table; means come second.
# - Intervals allow for shared patients; differences are paired over the same folds.
# - The learning curve says from how many events on it matters where a network starts.
