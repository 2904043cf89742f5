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
# # 8 · Cohorts
#
# Risk needs patients who were followed: who had the event, when, and who left without it.
# *Which patients, which outcome, and what would chance alone look like?*
# The study's follow-up comes from UK Biobank, which cannot be shared.
# Here it is either **your own table** or **simulated**: planted with a known hazard, so that the next chapters can
# be compared with the truth. A simulated outcome says nothing about patients; it says whether a method works.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | time, event | days from the ECG to the event or to the end of observation; 1 if the event was seen | [below](the-table) |
# | hazard | the rate of events among those still at risk | {doc}`glossary </book/glossary>` |
# | null cohort | outcomes dealt out without looking at the ECG: the control for every claim | [below](the-null-cohort) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
follow_up = ""  # your csv (columns: see "The table"); empty: simulated outcomes
waveforms = ""  # its ECGs, a folder as PTB-XL; empty: the release of chapter 1
restricted = False  # True: no page shows an individual or a count under 10
clinic_patients = 6000  # patients of the simulated clinic (number)
learning_size = 4000  # patients of the cohort to learn from (number)
learning_event_rate = 0.4  # share of them with an event
hyp_event_rate = 0.014  # as in the study's UKB-HYP (162 of 11,575)
mi_size = 800  # as in the study's UKB-MI (number)
mi_event_rate = 0.04  # as in the study's UKB-MI (about 32 of 800)
seed = 2  # of clinic, outcomes and split

# %%
from dataclasses import asdict

import pandas as pd
from IPython.display import display

from ecgrepro import ROOT, plots, runs, simulate
from ecgrepro.cohorts import (
    Cohort,
    attach_split,
    describe,
    read_follow_up,
    validate_follow_up,
)
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.packing import pack
from ecgrepro.provenance import summarise
from ecgrepro.ptbxl import open_release, split_by_fold
from ecgrepro.survival import kaplan_meier

chapter = runs.start("08_cohorts", globals())
plots.apply()
about = read_json(chapter.read("release"))
print(chapter.source)

# %% [markdown]
# ## Where patients and outcomes come from
#
# - A csv of your own: its outcomes are used as they are.
# - None, and the release of chapter 1 is simulated: a second, simulated **clinic** with other patients is made, so
#   that no patient of the risk chapters was ever seen in pretraining, as in the study.
# - None, and the release is genuine: **simulated outcomes are planted on the genuine ECGs**, from their statements.
#   Patients keep their fold, so that pretraining has not seen the test patients either.

# %%
if follow_up:
    origin = "own follow-up"
    folder = ROOT / (waveforms or about["path"])
elif about["simulated"]:
    origin = "simulated clinic"
    folder = chapter.scratch("cohorts/clinic")
    simulate.write_release(folder, n_patients=clinic_patients, seed=seed)
    simulate.write_cohorts(
        folder,
        seed,
        learning_size=learning_size,
        learning_event_rate=learning_event_rate,
        hyp_event_rate=hyp_event_rate,
        mi_size=mi_size,
        mi_event_rate=mi_event_rate,
    )
else:
    origin = "simulated outcomes on genuine ECGs"
    folder = ROOT / about["path"]
release = open_release(folder, rate=about["rate"])
packed = pack(release, chapter.write("cohort_packed").parent, replace=True)
print(f"{origin}: {len(packed.ecg_ids):,} ECGs")

# %% [markdown]
# (the-table)=
# ## The table
#
# Whatever the source, it becomes one table (`patient_id`, `ecg_id`, `time` in days, `event` 0 or 1, and where known
# `age` in years and `sex`, 0 male and 1 female), checked row by row: a duplicate patient, a missing time
# or a time of zero is an error that names the row.

# %%
oracles = None
if follow_up:
    tables = {"own": read_follow_up(ROOT / follow_up)}
elif about["simulated"]:
    names = {
        "learning": "learning",
        "hyp": "hyp",
        "mi": "mi",
        "null": "null control",
    }
    tables = {
        label: read_follow_up(folder / "follow_up" / f"{file}.csv")
        for file, label in names.items()
    }
    oracles = pd.read_csv(folder / "follow_up" / "truth.csv").set_index(
        ["cohort", "patient_id"]
    )
else:
    present = simulate.plantable_table(release.index.loc[packed.ecg_ids], seed)
    outcomes = simulate.plant_outcomes(
        present, seed=seed, event_rate=learning_event_rate
    )
    dealt = simulate.null_outcomes(outcomes, seed=seed)
    tables = {
        "learning": validate_follow_up(outcomes, "simulated outcomes"),
        "null control": validate_follow_up(dealt, "simulated null outcomes"),
    }
    truth = simulate.oracle_hazards(present).assign(cohort="learning")
    oracles = truth.set_index(["cohort", "patient_id"])

# %% [markdown]
# ## Split by patient
#
# Half of the patients are kept for testing, as in the study; the rest trains, and a tenth of all chooses the epoch.
# Events are dealt out evenly.

# %%
own_clinic = (bool(follow_up) and bool(waveforms)) or (
    not follow_up and about["simulated"]
)
for name, table in tables.items():
    table = table[table.ecg_id.isin(packed.ecg_ids)]
    if own_clinic:
        table = attach_split(table, seed, validation=(5,), test=(6, 7, 8, 9, 10))
    else:
        fold_split = split_by_fold(release.index, packed.ecg_ids)
        table = table.assign(split=fold_split.loc[table.ecg_id].to_numpy())
    tables[name] = table.reset_index(drop=True)
main = next(iter(tables))
source = f"{origin[0].upper()}{origin[1:]}, {len(tables[main]):,} patients"
print(source)

# %%
cohorts = {
    name: Cohort(
        name, table, source, restricted=restricted, simulated=not follow_up
    )
    for name, table in tables.items()
}
shown = [
    "n",
    "events",
    "event_rate",
    "median_follow_up_days",
    "age_mean",
    "age_sd",
    "female",
    "male",
]
summary = (
    pd.DataFrame({name: describe(cohort) for name, cohort in cohorts.items()})
    .loc[shown]
    .T
)
summary.map(lambda value: round(value, 3) if isinstance(value, float) else value)

# %%
table = tables[main]
plots.plot_follow_up(
    table.time,
    table.event,
    source,
    suppress_below=10 if restricted else 0,
    title=f"Follow-up of the {main} cohort",
    note=f"n = {describe(cohorts[main])['n']:,}, {describe(cohorts[main])['events']:,} events",
)

# %% [markdown]
# ## What was planted
#
# For simulated outcomes the hazard is a product of known ratios. *Severity* is the disease that the ECG shows,
# *frailty* is what no ECG shows: it keeps even a perfect ECG model away from the true hazard.

# %%
if oracles is None:
    print("own follow-up: nothing was planted")
else:
    for name, ratio in asdict(simulate.HazardRatios()).items():
        print(f"hazard ratio of {name}: {ratio}")

# %% [markdown]
# Time to event by planted severity shows that the hazard does what it says.

# %%
if oracles is not None:
    carried = oracles.loc[main].log_hazard_ecg.reindex(table.patient_id).to_numpy()
    third = pd.qcut(carried, 3, labels=["low", "middle", "high"]).astype(str)
    curves = {
        name: kaplan_meier(table.time[third == name], table.event[third == name])
        for name in ("low", "middle", "high")
    }
    figure = plots.plot_kaplan_meier(
        curves,
        source,
        title="Simulated events by what the ECG carries of the hazard",
        note=f"n = {len(table):,}, {int(table.event.sum()):,} events, bands: 95 %",
    )
    display(figure)

# %% [markdown]
# (the-null-cohort)=
# ## The null cohort
#
# The same patients, with times and events dealt out again at random. Everything about it is alike, except that
# nothing can be learned from the ECG. If a model finds something there, the pipeline is wrong.

# %%
if "null control" in tables:
    null, first = tables["null control"], tables[main]
    same_outcomes = sorted(zip(null.time, null.event, strict=True)) == sorted(
        zip(first.time, first.event, strict=True)
    )
    print(f"same outcomes, other patients: {same_outcomes}")
else:
    print(
        "own follow-up: no null cohort is made; chapter 10 shows the controls that remain"
    )

# %%
everything = pd.concat(
    [table.assign(cohort=name) for name, table in tables.items()], ignore_index=True
)
if oracles is not None:
    known = oracles[["log_hazard", "log_hazard_ecg"]]
    everything = everything.join(known, on=["cohort", "patient_id"])
with atomic_path(chapter.write("follow_up")) as temporary:
    everything.to_csv(temporary, index=False)
write_json(
    chapter.write("cohorts"),
    {
        "source": source,
        "origin": origin,
        "main": main,
        "restricted": restricted,
        "simulated": not follow_up,
        "cohorts": {name: describe(cohort) for name, cohort in cohorts.items()},
    },
)

# %% [markdown]
# ## Checks

# %%
for name, table in tables.items():
    assert table.patient_id.is_unique, f"{name}: a patient occurs twice"
    assert (table.time > 0).all()
    assert set(table.split) == {"train", "validation", "test"}
    assert table.groupby("split").event.sum().min() > 0, (
        f"{name}: a part has no events"
    )
if "null control" in tables:
    assert same_outcomes or not about["simulated"]

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - One schema, whatever the source; errors name the row.
# - Simulated outcomes have a known hazard, part of which no ECG shows.
# - The null cohort goes through everything that follows.
#
# Next: {doc}`09_risk`.
