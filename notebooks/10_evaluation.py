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
from statsmodels.duration.survfunc import survdiff
import torch

from ecgrepro import attribution, plots, runs
from ecgrepro.data import open_packed, signals
from ecgrepro.biomarkers import baseline_columns, with_covariates
from ecgrepro.cohorts import suppress_count, suppress_table
from ecgrepro.files import atomic_path, read_json
from ecgrepro.models import build_risk_model, load_weights, read_config
from ecgrepro.provenance import summarise
from ecgrepro.survival import (
    Replicates,
    breslow_survival,
    calibration_at,
    combine,
    concordance_index,
    fit_cox,
    hazard_ratio,
    kaplan_meier,
    net_benefit,
    predict_cox,
    resample_patients,
    resampled_auc,
    resampled_brier,
    resampled_calibration,
    resampled_concordance,
    uno_concordance,
)

chapter = runs.start("10_evaluation", globals())
plots.apply()
about = read_json(chapter.read("cohorts"))
source, main, restricted = about["source"], about["main"], about["restricted"]
print(chapter.source)
print(source)

# %%
measured = pd.read_csv(chapter.read("biomarkers"), index_col="ecg_id")
follow_up = with_covariates(pd.read_csv(chapter.read("follow_up")), measured)
risk_scores = pd.read_csv(chapter.read("risk_scores"))
test = follow_up[follow_up.split == "test"]
sizes = test.groupby("cohort", sort=False).agg(
    n=("event", "size"),
    events=("event", "sum"),
    median_years=("time", lambda days: round(days.median() / 365.25, 1)),
)
suppress_table(sizes, ["n", "events"], restricted)

# %% [markdown]
# ## Every arm beside its controls
#
# *Age and sex*, the study's *15 ECG measurements* ({doc}`11_biomarkers`) and both together are Cox models fitted on
# the training patients of each cohort. The two oracles exist only where outcomes are simulated: the true hazard, and
# the part of it that the ECG carries.
#
# A network trained from scratch and a random encoder stand on the main cohort's lines only, because chapter 9 trains
# them there alone, for the time it takes. {doc}`13_protocol` runs every arm on the null cohort too, fold by fold.


# %%
def scores_of(table: pd.DataFrame, cohort: str) -> pd.DataFrame:
    """One column of risk a method, for all patients of a cohort, by patient."""
    own = risk_scores[risk_scores.cohort == cohort]
    columns = own.pivot(index="patient_id", columns="arm", values="risk")
    columns = columns.loc[table.index]
    for name, covariates in baseline_columns(table).items():
        model = fit_cox(table[table.split == "train"], covariates)
        columns[name] = predict_cox(model, table)
    for name, column in {
        "oracle: ECG part": "log_hazard_ecg",
        "oracle: true hazard": "log_hazard",
    }.items():
        if column in table and table[column].notna().all():
            columns[name] = table[column]
    return columns


patients = {
    cohort: part.set_index("patient_id")
    for cohort, part in follow_up.groupby("cohort", sort=False)
}
scores = {cohort: scores_of(part, cohort) for cohort, part in patients.items()}

# %% [markdown]
# The test patients of a cohort are resampled once, and every method and measure of this page is computed on the
# same resamples.


# %% tags=["trained"]
def limits(found: Replicates) -> dict[str, float]:
    """Estimate and interval, as columns of a table."""
    c = found.interval()
    return {"estimate": c.estimate, "low": c.low, "high": c.high}


def counted(part: pd.DataFrame) -> str:
    """Number and events of some patients, in words."""
    counts = [
        suppress_count(int(x), restricted) for x in (len(part), part.event.sum())
    ]
    n, events = (f"{x:,}" if isinstance(x, int) else x for x in counts)
    return f"n = {n}, {events} events"


rows, methods, samples, concordance = [], {}, {}, {}
for cohort, part in patients.items():
    held_out = part[part.split == "test"]
    methods[cohort] = scores[cohort].loc[held_out.index]
    samples[cohort] = resample_patients(
        held_out.time, held_out.event, held_out.index, resamples, seed
    )
    concordance[cohort] = resampled_concordance(
        samples[cohort], dict(methods[cohort])
    )
    rows += [
        {"cohort": cohort, "label": label}
        | limits(found)
        | {"n": len(held_out), "events": int(held_out.event.sum())}
        for label, found in concordance[cohort].items()
    ]
evaluation = pd.DataFrame(rows)
shown = evaluation.set_index(["cohort", "label"]).round(2)
suppress_table(shown, ["n", "events"], restricted)

# %%
in_words = {
    cohort: f"{cohort} cohort, {counted(patients[cohort].loc[part.index])}"
    for cohort, part in methods.items()
}
plots.plot_forest(
    evaluation.assign(group=evaluation.cohort.map(in_words)).drop(
        columns=["n", "events"]
    ),
    source,
    xlabel="C-index on held-out patients (0.5 = chance)",
    highlight=["fine-tuned"],
    title="Every arm, every control",
    note="95 % interval, bootstrap by patient",
    digits=2,
)

# %% [markdown]
# ### What the number counts
#
# A pair of patients is comparable when one had the event while the other was still followed without it. The C-index
# is the share of such pairs in which the one with the earlier event has the higher risk; equal risks count one half.

# %% tags=["trained"]
outcome = patients[main].loc[methods[main].index]
time, event = outcome.time.to_numpy(), outcome.event.to_numpy() == 1
risk = methods[main]["fine-tuned"].to_numpy()
won = comparable = 0.0
for i in np.flatnonzero(event):
    later = risk[(time > time[i]) | ((time == time[i]) & ~event)]
    won += (risk[i] > later).sum() + 0.5 * (risk[i] == later).sum()
    comparable += len(later)
c_index = won / comparable
assert np.isclose(c_index, concordance_index(time, event, risk), atol=1e-4)
print(f"C-index, counted by hand: {c_index:.3f}")

# %% [markdown]
# Which pairs are comparable depends on who was censored when. Uno's C gives every pair the weight that makes up for
# it {cite}`uno2011`; the latest events, after nine in ten patients are no longer followed, are left out because their
# weights run away. Where both numbers agree, censoring does not decide.

# %% tags=["trained"]
late = outcome.time.quantile(0.9)
uno = {
    name: uno_concordance(time, event, own, horizon=late)
    for name, own in methods[main].items()
}
harrell = evaluation[evaluation.cohort == main].set_index("label").estimate
pd.DataFrame({"Harrell": harrell, "Uno": uno}).loc[list(uno)].round(2)

# %% [markdown]
# ## Differences, paired
#
# Two intervals that overlap do not show that methods are equal. The difference is therefore taken resample by
# resample, on the same patients. The table asks many questions at once: where nothing differs, about one in twenty
# of its intervals excludes 0 all the same.

# %% tags=["trained"]
differences = pd.DataFrame(
    [
        {"cohort": cohort, "fine-tuned against": other}
        | limits(combine(np.subtract, found["fine-tuned"], found[other]))
        for cohort, found in concordance.items()
        for other in found
        if other != "fine-tuned"
    ]
).set_index(["cohort", "fine-tuned against"])
verdict = np.select(
    [differences.low > 0, differences.high < 0],
    ["better", "worse"],
    "no clear difference",
)
differences.rename(columns={"estimate": "ΔC"}).round(3).assign(verdict=verdict)

# %% [markdown]
# ## The negative control
#
# In the null cohort events and times were drawn without looking at the ECG. An interval that excludes 0.5 there
# would mean that the pipeline leaks (or the one in twenty that does so by chance).

# %% tags=["trained"]
null = evaluation[evaluation.cohort == "null control"]
for row in null.itertuples():
    inside = "contains" if row.low <= 0.5 <= row.high else "EXCLUDES"
    print(
        f"{row.label}: C-index {row.estimate:.2f}, its 95 % interval {inside} 0.5"
    )

# %% [markdown]
# ## What the size allows
#
# Sizes were not calculated beforehand, so it has to be said afterwards what they allow. For learning, count the
# events of the training part for each *candidate* parameter of a Cox model: under about ten, it follows its own
# patients. For testing, look at the width of the interval, and at the smallest difference to the first baseline
# that could have been seen (half the width of the paired interval).

# %% tags=["trained"]
size, sentences = {}, []
for cohort, part in patients.items():
    events = part.groupby("split").event.sum()
    few = restricted and events["train"] < 10
    lines = {"training events": suppress_count(int(events["train"]), restricted)}
    candidates = baseline_columns(part)
    for name, covariates in candidates.items():
        each = f"{events['train'] / len(covariates):.1f}"
        lines[f"… a parameter: {name}"] = "suppressed" if few else each
    lines["test events"] = suppress_count(int(events["test"]), restricted)
    c = concordance[cohort]["fine-tuned"].interval()
    first = next(iter(candidates))
    gap = differences.loc[(cohort, first)]
    visible = f"{(gap.high - gap.low) / 2:.2f}"
    lines |= {
        "C-index, fine-tuned": f"{c.estimate:.2f}",
        "width of its interval": f"{c.high - c.low:.2f}",
        "smallest visible ΔC": visible,
    }
    size[cohort] = lines
    told = "cannot be told" if c.contains(0.5) else "is told"
    sentences.append(
        f"{cohort}: {c.estimate:.2f} {told} from chance;\n"
        f"  a difference to {first} of less than about {visible} would not show"
    )
print(*sentences, sep="\n")
pd.DataFrame(size)

# %% [markdown]
# **Optimism**: the C-index on the very patients from whom a method learned, less that on the test patients. All
# other numbers of this page are from test patients.

# %% tags=["nbval-ignore-output"]
optimism = {}
for cohort, part in patients.items():
    train = part[part.split == "train"]
    optimism[cohort] = {
        name: concordance_index(
            train.time, train.event, scores[cohort][name][train.index]
        )
        - float(concordance[cohort][name].estimate)
        for name in methods[cohort]
        if not name.startswith("oracle")
    }
(pd.DataFrame(optimism).round(2) + 0.0).astype(object).fillna("")

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
grid = np.arange(0, outcome.time.max(), 182.625) if restricted else None
curves = {}
for name in names:
    time, event = outcome.time[group == name], outcome.event[group == name]
    curves[name] = kaplan_meier(
        time, event, at=None if grid is None else grid[grid <= time.max()]
    )
ends = [names[0], names[-1]]
_, p = survdiff(outcome.time, outcome.event, group)
tested = f"log-rank {'p < 0.001' if p < 0.001 else f'p = {p:.3f}'}"
if outcome.event.groupby(group).sum()[ends].min() > 0:
    kept = group.isin(ends)
    ratio = hazard_ratio(
        outcome.time[kept], outcome.event[kept], group[kept] == names[-1]
    )
    tested += f"; hazard ratio {names[-1]} to {names[0]} {ratio.estimate:.1f} ({ratio.low:.1f} to {ratio.high:.1f})"
if restricted and outcome.event.groupby(group).sum().min() < 10:
    print(
        "a group has fewer than 10 events: its curve would give their number away"
    )
else:
    figure = plots.plot_kaplan_meier(
        curves,
        source,
        suppress_below=10 if restricted else 0,
        title=f"Event-free survival by predicted risk, {main} cohort",
        note=f"{counted(outcome)}; {tested}; bands: 95 %",
    )
    display(figure)

# %% [markdown]
# ## Beyond order: probabilities at a horizon
#
# A C-index knows only order. A probability of the event by a horizon needs a baseline and a scale, and the
# network's own are too sure of themselves on the patients it was trained on. Both are therefore taken from the
# *validation* patients; test patients are only judged. *No covariates* gives everybody the same probability, the
# Kaplan-Meier curve of the validation patients.

# %%
horizon, by_then = horizon_years * 365.25, f"{horizon_years:g} years"
validation = patients[main][patients[main].split == "validation"]
# Sixths of the horizon, and as many beyond it as a tenth of the test patients is still followed.
times = horizon * np.arange(1, 100) / 6
cases = np.array(
    [((outcome.event == 1) & (outcome.time <= t)).sum() for t in times]
)
controls = np.array([(outcome.time > t).sum() for t in times])
followed = (times <= outcome.time.quantile(0.9)) | (times <= horizon)
for part in (outcome, validation):
    followed &= (times >= part.time.min()) & (times < part.time.max())
times = times[followed & (cases >= 10) & (controls >= 10)]
judged = horizon in times and times[0] < horizon and validation.event.sum() > 0
if not judged:
    print(
        f"fewer than 10 events by {by_then}, or fewer than 10 patients followed so far: no probabilities"
    )

# %% tags=["nbval-ignore-output"]
compared = [
    name
    for name in ("fine-tuned", "age and sex", "15 ECG measurements")
    if judged and name in methods[main]
]
surviving, predicted = {}, {}
for name in compared:
    on_validation, on_test = (
        pd.DataFrame({"score": scores[main][name][part.index]})
        for part in (validation, outcome)
    )
    scale = fit_cox(validation.join(on_validation), ["score"])
    surviving[name] = breslow_survival(
        validation.time,
        validation.event,
        predict_cox(scale, on_validation),
        predict_cox(scale, on_test),
        times,
    )
    predicted[name] = 1 - surviving[name][:, list(times).index(horizon)]
calibrations = {
    name: calibration_at(outcome.time, outcome.event, probability, horizon)
    for name, probability in predicted.items()
}
if judged:
    lines = {
        name: {
            "expected": c.expected,
            "observed": c.observed,
            "observed / expected": c.ratio,
            "slope (1 is ideal)": c.slope,
            "mean error (ICI)": c.ici,
        }
        for name, c in calibrations.items()
    }
    display(pd.DataFrame(lines).T.round(2))

# %%
if judged:
    # of a restricted cohort, a share of few patients would give their number away
    least = 10 if restricted else 0
    figure = plots.plot_calibration(
        {
            name: c.groups[(c.groups.n >= least) & (c.groups.events >= least)]
            for name, c in calibrations.items()
        },
        source,
        horizon=by_then,
        curves={name: c.curve for name, c in calibrations.items()},
        title=f"Predicted and observed risk by {by_then}",
        note=f"{counted(outcome)}; bars: 95 %",
    )
    display(figure)

# %% [markdown]
# Is the order as good early as late? The time-dependent AUC compares, at each horizon, those who had the event by
# then with those who had not. Censored patients are made up for by weights, learned anew in each resample.


# %%
def over_time(found: Replicates, column: str) -> pd.DataFrame:
    """A curve over the horizons with its band, as a table."""
    return pd.DataFrame({"time": times, column: found.estimate}).join(found.band())


auc = {}
if judged:
    risks = {name: methods[main][name] for name in compared}
    auc = resampled_auc(samples[main], risks, times)
    figure = plots.plot_over_time(
        {name: over_time(found, "auc") for name, found in auc.items()},
        source,
        title="Discrimination by horizon",
        note=f"{counted(outcome)}; bands: 95 % at each horizon, bootstrap by patient",
    )
    display(figure)

# %% [markdown]
# The Brier score is the mean squared error of the probabilities: it asks for order and calibration together. Its
# level depends on how common the event is, so the share of the error that covariates take away is the number to
# read; below 0 a model is worse than none.


# %%
def gain(own: np.ndarray, none: np.ndarray) -> np.ndarray:
    """Share of the error without covariates that a model takes away, in %."""
    return 100 * (1 - own / none)


brier = {}
if judged:
    alone = kaplan_meier(validation.time, validation.event, at=times)
    surviving["no covariates"] = np.tile(alone.survival, (len(outcome), 1))
    brier = resampled_brier(samples[main], surviving, times)
    gained = {
        name: combine(gain, brier[name], brier["no covariates"])
        for name in compared
    }
    figure = plots.plot_over_time(
        {name: over_time(found, "gain") for name, found in gained.items()},
        source,
        column="gain",
        ylabel="Brier score: error taken away (%)",
        reference=(0.0, "no covariates"),
        title="What covariates take away from the error",
        note=f"{counted(outcome)}; bands: 95 % at each horizon, bootstrap by patient",
    )
    display(figure)


# %% tags=["nbval-ignore-output"]
def with_interval(found: Replicates, digits: int) -> str:
    """Estimate and interval, in words."""
    c = found.interval()
    return f"{c.estimate:.{digits}f} ({c.low:.{digits}f} to {c.high:.{digits}f})"


until = times[times <= horizon]
integrated = {
    name: combine(
        lambda score: np.trapezoid(score[..., : len(until)], until) / np.ptp(until),
        found,
    )
    for name, found in brier.items()
}
lines = {}
for name, found in integrated.items():
    lines[name] = {f"integrated Brier score to {by_then}": with_interval(found, 3)}
    if name in auc:
        less = combine(gain, found, integrated["no covariates"])
        at_horizon = combine(lambda curve: curve[..., len(until) - 1], auc[name])
        lines[name] |= {
            "error taken away (%)": with_interval(less, 1),
            f"AUC at {by_then}": with_interval(at_horizon, 2),
        }
if judged:
    display(pd.DataFrame(lines).T.fillna(""))

# %% [markdown]
# Would acting on it do good? Net benefit weighs patients rightly and wrongly treated by the risk from which one
# would act {cite}`vickers2006`.

# %%
if judged:
    thresholds = np.linspace(0.05, 0.6, 23)
    figure = plots.plot_decision_curve(
        {
            name: net_benefit(
                outcome.time, outcome.event, probability, horizon, thresholds
            )
            for name, probability in predicted.items()
        },
        source,
        horizon=by_then,
        title=f"Net benefit of acting on the risk by {by_then}",
        note=counted(outcome),
    )
    display(figure)

# %% [markdown]
# ## Is it as good for everyone?
#
# Order and calibration again, for women and men, and for patients under and over the median age of the training
# patients. Within such a group age and sex know less, so their own C-index falls there; it stands beside the
# model's. A characteristic is left out where one of its groups has fewer than 10 events (in a restricted cohort also
# where a count under 10 could be worked out).

# %%
characteristics = {}
if "sex" in outcome:
    characteristics["sex"] = outcome.sex.map({0: "men", 1: "women"})
if "age" in outcome and outcome.age.notna().any():
    cut = round(patients[main].age[patients[main].split == "train"].median())
    older = (outcome.age >= cut).map(
        {True: f"{cut} years and older", False: f"under {cut} years"}
    )
    characteristics["age"] = older.where(outcome.age.notna())
parts = {"everyone": np.ones(len(outcome), dtype=bool)}
pairs = {}
for characteristic, label in characteristics.items():
    counts = outcome.groupby(label).event.agg(["size", "sum"])
    cells = list(counts["sum"])
    if restricted:
        cells += list(counts["size"] - counts["sum"])
        cells += [label.isna().sum()] if label.isna().any() else []
    followed = outcome.time.groupby(label).max().min()
    if len(counts) < 2 or min(cells) < 10 or (judged and followed <= horizon):
        print(f"{characteristic}: left out, its groups are too small")
        continue
    pairs[characteristic] = list(counts.index)
    parts |= {name: (label == name).to_numpy() for name in counts.index}

# %% tags=["trained"]
beside = [name for name in ("fine-tuned", "age and sex") if name in methods[main]]
order, ratio, lines = {}, {}, []
for name, mask in parts.items():
    part, sample = outcome[mask], samples[main].of(mask)
    order[name] = resampled_concordance(
        sample, dict(methods[main].loc[mask, beside])
    )
    if judged:
        ratio[name] = resampled_calibration(
            sample, {method: predicted[method][mask] for method in beside}, horizon
        )
    for method in beside:
        line = {
            "group": name,
            "label": method,
            "n": len(part),
            "events": int(part.event.sum()),
            "C-index": with_interval(order[name][method], 2),
        }
        if judged:
            line["observed / expected"] = with_interval(ratio[name][method], 2)
        lines.append(line)
shown = pd.DataFrame(lines).set_index(["group", "label"])
suppress_table(shown, ["n", "events"], restricted)

# %%
plots.plot_forest(
    pd.DataFrame(
        [
            {"group": f"{name}, {counted(outcome[mask])}", "label": method}
            | limits(order[name][method])
            for name, mask in parts.items()
            for method in beside
        ]
    ),
    source,
    xlabel="C-index on held-out patients (0.5 = chance)",
    highlight=["fine-tuned"],
    title=f"By sex and age, {main} cohort",
    note="95 % interval, bootstrap by patient",
    digits=2,
)

# %% tags=["nbval-ignore-output"]
clear, asked = [], 0
for characteristic, (one, two) in pairs.items():
    for what, found in (("C-index", order), ("observed / expected", ratio)):
        if not found:
            continue
        gap = combine(
            np.subtract, found[one]["fine-tuned"], found[two]["fine-tuned"]
        ).interval()
        asked += 1
        clear += [] if gap.contains(0) else [f"{what} by {characteristic}"]
        print(
            f"{what}, {one} less {two}: {gap.estimate:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})"
        )
if asked:
    print(
        f"{asked} differences between groups were looked at; with an interval that excludes 0:\n  {', '.join(clear) or 'none'}"
    )
    print(
        "the intervals are not corrected for their number: without any difference, one in twenty excludes 0"
    )

# %% [markdown]
# Where observed over expected differs, probabilities would have to be set for each group before anybody used them.
# A C-index may be lower in a half of the ages because patients there are more alike.

# %% [markdown]
# ## Risk and truth
#
# Only simulated patients have a hazard that can be known. The scatter shows how far the predicted risk follows
# the part of it that the ECG carries.

# %%
if "oracle: ECG part" in methods[main] and not restricted:
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
    note=f"n = {suppress_count(len(top), restricted)} test patients with the highest predicted risk; mean and 95 % interval",
)

# %% [markdown]
# And one patient of them in detail: windows of 200 ms are hidden in all leads at once. Red raises the risk.
# A restricted cohort shows nobody, so this figure is then left out.

# %%
windows = attribution.window_occlusion(risk_of, x[:1], 20, 10, 100, offset=12)
if restricted:
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

# %% tags=["trained"]
sanity = attribution.randomised_weights_check(
    lambda network, ecg: attribution.lead_occlusion(
        attribution.as_risk_function(network), ecg
    ),
    model,
    x[:16],
    seed=seed,
)
print(
    f"rank correlation with random weights: {float(sanity.nanmean()):.1f} (1 would be a failure)"
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
assert {"fine-tuned", "from scratch", "random encoder"} <= set(methods[main])
for cohort, part in patients.items():
    assert {"fine-tuned", *baseline_columns(part)} <= set(methods[cohort])
for found in integrated.values():
    assert 0 < found.estimate < 1
for c in calibrations.values():
    assert 0.05 < c.ratio < 20, "observed and expected are worlds apart"
assert -0.2 < optimism[main]["fine-tuned"] < 0.5, "train and test were mixed up"
assert asked == len(pairs) * (2 if judged else 1), "a difference was not looked at"
assert {c.split(" by ")[1] for c in clear} <= set(pairs)
assert sanity.nanmean() < 0.9, "the explanation is not of the model"
for row in null[null.label == "fine-tuned"].itertuples():
    assert row.low - 0.1 < 0.5 < row.high + 0.1, (
        "the null cohort is told from chance"
    )
if "oracle: true hazard" in methods[main]:
    assert concordance[main]["oracle: true hazard"].estimate > 0.6
for one, two in pairs.values():
    assert not (parts[one] & parts[two]).any(), "a patient is in both groups"

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Every number stands with n, events, an interval and its controls.
# - Differences are paired; the null cohort says whether the pipeline can be trusted.
# - What the size cannot tell is said, and whether sex and age make a difference.
# - An explanation is of the model; it passed a check that it could have failed.
#
# Next: {doc}`11_biomarkers`, what a cardiologist's ruler knows of the same patients.
