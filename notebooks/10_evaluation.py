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
# # 10 · Evaluation
#
# The test patients are opened once.
# *How well does the ECG order patients by their time to event; how much of that do age and sex know; and how much
# could any model know?*
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | C-index | share of comparable pairs in the right order; 0.5 is chance | {cite}`harrell1982` |
# | bootstrap by patient | the interval of every number on this page | {doc}`glossary </book/glossary>` |
# | oracle | the true hazard of simulated patients: the best that can be reached | {doc}`08_cohorts` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
resamples = 1000  # bootstrap resamples, by patient
groups = 3  # risk groups in the Kaplan-Meier figure
horizon_years = 3.0  # at which probabilities are judged (years from the ECG)
seed = 0  # of the bootstrap

# %%
import numpy as np
import pandas as pd
from IPython.display import display
import torch

from ecgrepro import attribution, plots, runs, signals
from ecgrepro.cohorts import suppress_table
from ecgrepro.files import atomic_path, read_json
from ecgrepro.models import build_risk_model, load_weights, read_config
from ecgrepro.packing import open_packed
from ecgrepro.provenance import summarise
from ecgrepro.survival import (
    auc_over_time,
    bootstrap_interval,
    breslow_survival,
    calibration_at,
    concordance_index,
    cox_baseline,
    fit_cox,
    hazard_ratio,
    kaplan_meier,
    logrank_test,
    net_benefit,
    paired_difference,
    predict_cox,
)

chapter = runs.start("10_evaluation", globals())
plots.apply()
about = read_json(chapter.read("cohorts"))
source, main = about["source"], about["main"]
print(chapter.source)
print(source)

# %%
follow_up = pd.read_csv(chapter.read("follow_up"))
risk_scores = pd.read_csv(chapter.read("risk_scores"))
test = follow_up[follow_up.split == "test"]
sizes = test.groupby("cohort", sort=False).agg(
    n=("event", "size"),
    events=("event", "sum"),
    median_time_days=("time", "median"),
)
suppress_table(sizes, ["n", "events"], about["restricted"])

# %% [markdown]
# ## Every arm beside its controls
#
# *Age and sex* is a Cox model fitted on the training patients. The two oracles exist only where outcomes are
# simulated: the true hazard, and the part of it that the ECG carries.


# %%
def test_scores(cohort: str) -> pd.DataFrame:
    """One column of risk a method, for the test patients of a cohort, by patient."""
    table = follow_up[follow_up.cohort == cohort]
    held_out = table[table.split == "test"].set_index("patient_id")
    own = risk_scores[
        (risk_scores.cohort == cohort) & (risk_scores.split == "test")
    ]
    columns = own.pivot(index="patient_id", columns="arm", values="risk").loc[
        held_out.index
    ]
    if {"age", "sex"} <= set(table.columns):
        train = table[table.split == "train"]
        columns["age and sex"] = cox_baseline(
            train, held_out.reset_index()
        ).to_numpy()
    for name, column in {
        "oracle: ECG part": "log_hazard_ecg",
        "oracle: true hazard": "log_hazard",
    }.items():
        if column in held_out and held_out[column].notna().all():
            columns[name] = held_out[column]
    return columns


rows, methods = [], {}
for cohort, part in test.groupby("cohort", sort=False):
    methods[cohort] = test_scores(cohort)
    outcome = part.set_index("patient_id").loc[methods[cohort].index]
    for label, risk in methods[cohort].items():
        c = bootstrap_interval(
            concordance_index,
            (outcome.time, outcome.event, risk),
            groups=outcome.index,
            n_resamples=resamples,
            seed=seed,
        )
        rows.append(
            {
                "cohort": cohort,
                "label": label,
                "estimate": c.estimate,
                "low": c.low,
                "high": c.high,
                "n": len(outcome),
                "events": int(outcome.event.sum()),
            }
        )
evaluation = pd.DataFrame(rows)
shown = evaluation.set_index(["cohort", "label"]).round(
    {"estimate": 2, "low": 2, "high": 2}
)
suppress_table(shown, ["n", "events"], about["restricted"])

# %%
small_cells = (
    about["restricted"] and evaluation[["n", "events"]].to_numpy().min() < 10
)
plots.plot_forest(
    evaluation.assign(group=evaluation.cohort + " cohort").drop(
        columns=["n", "events"] if small_cells else []
    ),
    source,
    xlabel="C-index on held-out patients (0.5 = chance)",
    highlight=["fine-tuned"],
    title="Every arm, every control",
    note="95 % interval, bootstrap by patient",
    digits=2,
)

# %% [markdown]
# ## Differences, paired
#
# Two intervals that overlap do not show that methods are equal. The difference is therefore resampled on the
# same patients.

# %%
outcome = test[test.cohort == main].set_index("patient_id").loc[methods[main].index]
differences = []
for other in methods[main].columns.drop("fine-tuned"):
    gap = paired_difference(
        concordance_index,
        (outcome.time, outcome.event),
        methods[main]["fine-tuned"],
        methods[main][other],
        groups=outcome.index,
        n_resamples=resamples,
        seed=seed,
    )
    verdict = (
        "better"
        if gap.low > 0
        else "worse"
        if gap.high < 0
        else "no clear difference"
    )
    differences.append(
        {
            "fine-tuned against": other,
            "ΔC": gap.estimate,
            "low": gap.low,
            "high": gap.high,
            "verdict": verdict,
        }
    )
pd.DataFrame(differences).set_index("fine-tuned against").round(3)

# %% [markdown]
# ## The negative control
#
# In the null cohort events and times were drawn without looking at the ECG. An interval that excludes 0.5 there
# would mean that the pipeline leaks.

# %%
null = evaluation[
    (evaluation.cohort == "null control") & (evaluation.label == "fine-tuned")
]
for row in null.itertuples():
    verdict = "contains" if row.low <= 0.5 <= row.high else "EXCLUDES"
    print(
        f"null control: C-index {row.estimate:.2f}, its 95 % interval {verdict} 0.5"
    )

# %% [markdown]
# ## Risk groups over time
#
# Test patients are cut into groups of equal size by their predicted risk: never by a threshold chosen on the same
# patients' outcome.

# %%
names = {2: ["low", "high"], 3: ["low", "middle", "high"]}.get(
    groups, [f"group {i + 1}" for i in range(groups)]
)
rank = methods[main]["fine-tuned"].rank(method="first", pct=True)
group = pd.cut(
    rank, np.linspace(0, 1, groups + 1), labels=names, include_lowest=True
).astype(str)
# A restricted cohort is drawn on a grid of half years, which shows no individual event time.
grid = np.arange(0, outcome.time.max(), 182.625) if about["restricted"] else None
curves = {}
for name in names:
    time, event = outcome.time[group == name], outcome.event[group == name]
    curves[name] = kaplan_meier(
        time, event, at=None if grid is None else grid[grid <= time.max()]
    )
ends = group.isin([names[0], names[-1]])
test_of_all = logrank_test(outcome.time, outcome.event, group)
ratio = hazard_ratio(
    outcome.time[ends], outcome.event[ends], group[ends], reference=names[0]
)
small = 10 if about["restricted"] else 0
p_value = (
    "p < 0.001" if test_of_all.p_value < 0.001 else f"p = {test_of_all.p_value:.3f}"
)
plots.plot_kaplan_meier(
    curves,
    source,
    suppress_below=small,
    title=f"Event-free survival by predicted risk, {main} cohort",
    note=f"n = {len(outcome):,}, {int(outcome.event.sum()):,} events; log-rank {p_value}; hazard ratio "
    f"{names[-1]} to {names[0]} {ratio.ratio:.1f} ({ratio.low:.1f} to {ratio.high:.1f}); bands: 95 %",
)

# %% [markdown]
# ## Beyond order: probabilities at a horizon
#
# A C-index knows only order. A probability of the event within three years needs a baseline and a scale, and the
# network's own are too sure of themselves on the patients it was trained on. Both are therefore taken from the
# *validation* patients; test patients are only judged.

# %%
horizon = horizon_years * 365.25
table = follow_up[follow_up.cohort == main]
validation = table[table.split == "validation"].set_index("patient_id")
own = risk_scores[(risk_scores.cohort == main) & (risk_scores.arm == "fine-tuned")]
own = own.set_index("patient_id").risk
compared = {"fine-tuned": (own.loc[validation.index], methods[main]["fine-tuned"])}
if "age and sex" in methods[main]:
    baseline = cox_baseline(table[table.split == "train"], validation.reset_index())
    compared["age and sex"] = (baseline.to_numpy(), methods[main]["age and sex"])
predicted = {}
for name, (on_validation, on_test) in compared.items():
    scale = fit_cox(validation.assign(score=np.asarray(on_validation)), ["score"])
    scaled = [
        predict_cox(scale, pd.DataFrame({"score": np.asarray(score)})).to_numpy()
        for score in (on_validation, on_test)
    ]
    surviving = breslow_survival(
        validation.time, validation.event, *scaled, [horizon]
    )
    predicted[name] = 1 - surviving[:, 0]
calibrations = {
    name: calibration_at(outcome.time, outcome.event, probability, horizon)
    for name, probability in predicted.items()
}
pd.DataFrame(
    {
        name: {
            "expected": c.expected,
            "observed": c.observed,
            "observed / expected": c.ratio,
            "slope (1 is ideal)": c.slope,
            "mean error (ICI)": c.ici,
        }
        for name, c in calibrations.items()
    }
).T.round(2)

# %%
by_then = f"{horizon_years:g} years"
note = f"n = {len(outcome):,}, {int(outcome.event.sum()):,} events; bars: 95 %"
plots.plot_calibration(
    {name: c.groups for name, c in calibrations.items()},
    source,
    horizon=by_then,
    curves={name: c.curve for name, c in calibrations.items()},
    title=f"Predicted and observed risk by {by_then}",
    note=note,
)

# %% [markdown]
# Is the order as good early as late? The time-dependent AUC compares, at each horizon, those who had the event by
# then with those who had not.

# %%
times = np.quantile(outcome.time[outcome.event == 1], np.linspace(0.2, 0.9, 8))
plots.plot_over_time(
    {
        name: auc_over_time(outcome.time, outcome.event, methods[main][name], times)
        for name in compared
    },
    source,
    title="Discrimination by horizon",
    note=note.split(";")[0],
)

# %% [markdown]
# Would acting on it do good? Net benefit weighs patients rightly and wrongly treated by the risk from which one
# would act {cite}`vickers2006`.

# %%
thresholds = np.linspace(0.05, 0.6, 23)
plots.plot_decision_curve(
    {
        name: net_benefit(
            outcome.time, outcome.event, probability, horizon, thresholds
        )
        for name, probability in predicted.items()
    },
    source,
    horizon=by_then,
    title=f"Net benefit of acting on the risk by {by_then}",
    note=note.split(";")[0],
)

# %% [markdown]
# ## Risk and truth
#
# Only simulated patients have a hazard that can be known. The scatter shows how far the predicted risk follows
# the part of it that the ECG carries.

# %%
if "oracle: ECG part" in methods[main]:
    figure = plots.plot_risk_scatter(
        methods[main]["oracle: ECG part"],
        methods[main]["fine-tuned"],
        source,
        event=outcome.event,
        xlabel="True log hazard carried by the ECG (no unit)",
        note=f"n = {len(outcome):,} test patients",
    )
    display(figure)
else:
    print("The outcomes of this cohort are real: nobody knows the true hazard.")

# %% [markdown]
# ## Why is a risk high?
#
# Silencing one lead at a time and looking at what is missing from the log risk shows which leads the model leans on,
# here for the tenth of test patients with the highest risk.
# It describes the model, not the disease, and leads that repeat each other share their credit.

# %%
packed = open_packed(chapter.read("cohort_packed").parent)
made = read_config(chapter.read("risk_model"))
model = build_risk_model(made["encoder"], lead_scale=made["lead_scale"])
load_weights(model, chapter.read("risk_model"))
risk_of = attribution.as_risk_function(model.eval())
ranked = methods[main]["fine-tuned"].sort_values(ascending=False).index
top = ranked[: max(len(ranked) // 10, 10)]
rows_of_top = packed.rows(outcome.ecg_id.loc[top])
inputs, _ = signals.prepare(packed.signals[rows_of_top], rate=packed.rate)
x = torch.from_numpy(inputs)
by_lead = attribution.lead_occlusion(risk_of, x).numpy()
plots.plot_lead_bars(
    by_lead,
    source,
    title="What each lead adds to a high risk",
    note=f"n = {len(top)} test patients with the highest predicted risk; mean and 95 % interval",
)

# %% [markdown]
# And one patient of them in detail: windows of 200 ms are hidden in all leads at once. Red raises the risk.
# A restricted cohort shows nobody, so this figure is then left out.

# %%
windows = attribution.window_occlusion(
    risk_of, x[:1], 20, 10, 100, per_lead=False, offset=12
)
if about["restricted"]:
    print("restricted cohort: no individual is shown")
else:
    shown = signals.resample(
        signals.to_millivolts(packed.signals[rows_of_top[0]]), packed.rate, 100
    )
    figure = plots.plot_attribution(
        shown,
        windows.change[0].numpy(),
        np.column_stack([windows.start_ms, windows.stop_ms]),
        100,
        source,
        seconds=4,
        title="Where the risk of one patient comes from",
        note=f"the highest predicted risk of the test part of the {main} cohort",
    )
    display(figure)

# %% [markdown]
# An attribution that stays the same when the network's weights are replaced by random ones explains the ECG, not
# the model. The rank correlation between both should therefore be small.

# %%
sanity = attribution.randomised_weights_check(
    lambda network, ecg: attribution.lead_occlusion(
        attribution.as_risk_function(network), ecg
    ),
    model,
    x[:16],
    seed=seed,
)
print(
    f"rank correlation with random weights: {float(sanity.signed.nanmean()):.1f} (1 would be a failure)"
)

# %%
with atomic_path(chapter.write("evaluation")) as temporary:
    evaluation.round(4).to_csv(temporary, index=False)

# %% [markdown]
# ## Checks

# %%
assert evaluation.estimate.between(0, 1).all()
assert (evaluation.low <= evaluation.estimate).all()
assert (evaluation.estimate <= evaluation.high).all()
assert set(test.patient_id[test.cohort == main]) == set(outcome.index)
trained = follow_up[(follow_up.cohort == main) & (follow_up.split != "test")]
assert not set(trained.patient_id) & set(outcome.index), (
    "a patient is in train and test"
)
assert set(evaluation.cohort) == set(about["cohorts"]), "a cohort is missing"
assert {"fine-tuned", "from scratch", "random encoder", "age and sex"} <= set(
    methods[main]
)

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Every number stands with n, events, an interval and its controls.
# - Differences are paired; the null cohort says whether the pipeline can be trusted.
# - An explanation is of the model; it passed a check that it could have failed.
#
# Next: {doc}`11_biomarkers`, what a cardiologist's ruler knows of the same patients.
