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
# Here it comes from one of several sources: **your own table**, open data with real outcomes, UK Biobank for those who
# have it, or, by default, it is **simulated**: planted with a known hazard, so that the next chapters can
# be compared with the truth. A simulated outcome says nothing about patients; it says whether a method works.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | time, event | days from the ECG to the event or to the end of observation; 1 if the event was seen | [below](the-table) |
# | hazard | the rate of events among those still at risk | {doc}`glossary </book/glossary>` |
# | null cohort | outcomes dealt out without looking at the ECG: the control for every claim | [below](the-null-cohort) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
cohort = ""  # ptbxl_longitudinal, sami_trop, code15, uk_biobank; empty: see below
cohort_folder = ""  # files of sami_trop, code15 or uk_biobank (folder)
finding = "atrial fibrillation"  # ptbxl_longitudinal: its event, or an SCP code
definitions = ["HYP", "MI"]  # uk_biobank: who enters; the main cohort first
end_of_follow_up = "2023-01-06"  # uk_biobank: last day with complete outcomes
follow_up = ""  # your csv (columns: see "The table"); empty: no table of your own
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
import textwrap
from dataclasses import asdict

import pandas as pd
from IPython.display import display

from ecgrepro import ROOT, plots, runs, simulate
from ecgrepro.biomarkers import measure_many
from ecgrepro.cohorts import describe, describe_parts, incidence_by_year
from ecgrepro.cohorts.ptbxl_longitudinal import (
    SELECTION_BIAS,
    longitudinal_cohorts,
)
from ecgrepro.cohorts.sources import NULL, Request, open_source
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.provenance import summarise
from ecgrepro.data import open_release
from ecgrepro.survival import kaplan_meier

chapter = runs.start("08_cohorts", globals())
plots.apply()
about = read_json(chapter.read("release"))
print(chapter.source)

# %% [markdown]
# ## Where patients and outcomes come from
#
# | Source | Patients and their ECGs | Event |
# |---|---|---|
# | your csv (`follow_up`) | yours | yours |
# | `sami_trop`, `code15` | Brazilian patients: Chagas cardiomyopathy (Zenodo 4905618), primary care (Zenodo 4916206) | death |
# | `uk_biobank` | participants with hypertension (HYP) or an infarction (MI), as in the study | heart failure |
# | `ptbxl_longitudinal` | those of the genuine release of chapter 1 with an ECG on a later day | a finding on a later ECG |
# | none of them, release simulated | a second, simulated **clinic** with other patients, so that no patient of the risk chapters was ever seen in pretraining, as in the study | simulated |
# | none of them, release genuine | those of the release | **simulated, planted on genuine ECGs** from their statements |
#
# How to get each source is said in {doc}`how to run </book/how_to_run>`.

# %%
opened = open_source(
    Request(
        given=chapter.parameters,
        about=about,
        root=ROOT,
        out=chapter.write("cohort_packed").parent,
        clinic=chapter.output / "cohorts" / "clinic",
    )
)
packed, cohorts, oracles = opened.packed, opened.cohorts, opened.oracles
main, source = opened.main, opened.label
closed = cohorts[main].restricted  # then only aggregates may be shown
print(f"{opened.origin}: {len(packed.ecg_ids):,} ECGs")
for note in opened.notes:
    print(textwrap.fill(note, 84))

# %% [markdown]
# (the-table)=
# ## The table
#
# Whatever the source, it becomes one table (`patient_id`, `ecg_id`, `time` in days, `event` 0 or 1, and where known
# `age` in years and `sex`, 0 male and 1 female), checked row by row: a duplicate patient, a missing time
# or a time of zero is an error that names the row.

# %%
tables = {name: cohort.table for name, cohort in cohorts.items()}
described = {name: describe(cohort) for name, cohort in cohorts.items()}
flow = pd.DataFrame(described[main]["flow"])
flow.set_index("step") if len(flow) else None

# %% [markdown]
# ## Split by patient
#
# Half of the patients are kept for testing, as in the study; the rest trains, and a tenth of all chooses the epoch.
# Events are dealt out evenly. Only patients of chapter 1 stay in the part in which pretraining had them.

# %%
print(source)
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
summary = pd.DataFrame(described).reindex(shown).dropna(how="all").T
summary.map(lambda value: round(value, 3) if isinstance(value, float) else value)

# %%
parts = describe_parts(cohorts[main])
parts.map(lambda value: round(value, 3) if isinstance(value, float) else value)

# %%
table = tables[main]
counts = {
    name: f"{value:,}" if isinstance(value, int) else value
    for name, value in described[main].items()
}
plots.plot_follow_up(
    table.time,
    table.event,
    source,
    suppress_below=10 if closed else 0,
    title=f"Follow-up of the {main} cohort",
    note=f"n = {counts['n']}, {counts['events']} events",
)

# %% [markdown]
# ## What was planted
#
# For simulated outcomes the hazard is a product of known ratios. *Severity* is the disease that the ECG shows,
# *frailty* is what no ECG shows: it keeps even a perfect ECG model away from the true hazard.

# %%
if oracles is None:
    print("real outcomes: nothing was planted")
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
null, first = tables[NULL], tables[main]
same_outcomes = sorted(zip(null.time, null.event, strict=True)) == sorted(
    zip(first.time, first.event, strict=True)
)
print(f"same outcomes, other patients: {same_outcomes}")

# %% [markdown]
# ## If something else comes first
#
# Whoever dies of another cause can no longer have the event. One minus Kaplan-Meier takes them for censored, as if
# they still could, and is too high; the cumulative incidence (Aalen-Johansen) is not.

# %%
rivals = described[main].get("competing", 0)
if rivals == 0:
    print("no competing event stands in this table")
else:
    print(f"patients with the competing event: {rivals}")
    incidence = incidence_by_year(cohorts[main])
    if len(incidence):
        display(incidence.round(3))
        last = incidence.iloc[-1]
        print(
            f"risk by {incidence.index[-1]} years: {last.incidence:.1%}, "
            f"not {last.one_minus_km:.1%}, as one minus Kaplan-Meier has it"
        )

# %% [markdown]
# ## Real follow-up inside PTB-XL
#
# Some patients of PTB-XL came back. From the csv alone: days from a first ECG without a finding to the first later one
# that shows it, or to the last. `cohort = "ptbxl_longitudinal"` takes one of these tables through the next chapters.

# %%
found = {}
if about["simulated"] or closed:
    print("This needs the genuine ptbxl_database.csv, and an open cohort.")
else:
    index = open_release(ROOT / about["path"], rate=about["rate"]).index
    found = longitudinal_cohorts(index)
    display(
        pd.DataFrame({name: describe(cohort) for name, cohort in found.items()})
        .reindex(["n", "events", "median_follow_up_days"])
        .T
    )

# %%
if found:
    followed = {
        name: kaplan_meier(cohort.table.time, cohort.table.event)
        for name, cohort in found.items()
    }
    figure = plots.plot_kaplan_meier(
        followed,
        chapter.source,
        title="Time to a new finding on a later ECG",
        note="only patients who were recorded again, without the finding at first; bands: 95 %",
    )
    display(figure)
if found and SELECTION_BIAS not in opened.notes:
    print(textwrap.fill(SELECTION_BIAS, 84))

# %% [markdown]
# ## What a cardiograph would print
#
# In the study, fifteen ECG measurements stand in the cohort's table, and a Cox model on them is its baseline.
# Here they are measured from the signals, so that every cohort has them; {doc}`11_biomarkers` shows how, and how far
# the rulers can be trusted.

# %%
measured_ids = sorted(
    {int(ecg_id) for table in tables.values() for ecg_id in table.ecg_id}
)
measured = measure_many(packed, packed.rows(measured_ids))
with atomic_path(chapter.write("biomarkers")) as temporary:
    measured.round(4).to_csv(temporary)
print(f"{len(measured):,} ECGs of the cohorts measured")
if not closed:
    print(
        f"without a QRS that can be measured: {measured.qrs_ms.isna().mean():.1%}"
    )

# %%
everything = pd.concat(
    [table.assign(cohort=name) for name, table in tables.items()], ignore_index=True
)
# What the columns of a true hazard are called is reserved for simulated outcomes.
truth = ["log_hazard", "log_hazard_ecg"]
everything = everything.drop(columns=truth, errors="ignore")
if oracles is not None:
    known = oracles[truth]
    everything = everything.join(known, on=["cohort", "patient_id"])
with atomic_path(chapter.write("follow_up")) as temporary:
    everything.to_csv(temporary, index=False)
write_json(
    chapter.write("cohorts"),
    {
        "source": source,
        "origin": opened.origin,
        "main": main,
        "restricted": closed,
        "simulated": cohorts[main].simulated,
        "cohorts": described,
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
assert same_outcomes

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
