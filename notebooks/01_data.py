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
# # 1 · The data: ECGs with statements
#
# PTB-XL holds 21,799 ECGs of ten seconds, each described by coded statements with a confidence and by a
# short report, mostly German {cite}`wagner2020`.
# *What exactly is in such a release, and what of it will a model get to see?*
# This chapter opens a release, looks at one ECG the way a clinician would, counts the statements, and packs
# all signals into one file that the later chapters read.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | 12-lead ECG | twelve views of one heart; the models must know which is which | {doc}`glossary </book/glossary>` |
# | SCP-ECG statements | the codes that become text in chapter 2 | {cite}`wagner2020` |
# | splits by patient | one patient's ECGs resemble each other; a split through a patient leaks | [below](split-by-patient) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
release = ""  # folder of a PTB-XL release; empty: simulate one
patients = 3000  # number of patients to simulate (no unit)
seed = 1  # of the simulation
rate = 100  # sampling rate of the files to read, Hz (100 or 500)
example = 0  # ecg_id of the ECG that is drawn; 0: the first of the release

# %%
import os
from pathlib import Path

import numpy as np
import pandas as pd

from ecgrepro import ROOT, plots, runs, signals, simulate
from ecgrepro.files import sha256_file, write_json
from ecgrepro.packing import pack
from ecgrepro.provenance import summarise
from ecgrepro.ptbxl import (
    SUPERCLASSES,
    open_release,
    split_by_fold,
    superclass_matrix,
)

chapter = runs.start("01_data", globals())
plots.apply()

# %% [markdown]
# ## A release on disk
#
# The book runs on whatever folder has the layout of PTB-XL.
# Without one it writes its own: a **simulated** release with the same files, columns and quirks, whose ECGs
# come from a moving dipole and whose diseases are planted, so that later chapters can compare what a model
# found with what is true.

# %%
simulated = release == ""
folder = (
    chapter.scratch("release")
    if simulated
    else (ROOT / Path(release).expanduser()).resolve()
)
if simulated:
    simulate.write_release(folder, n_patients=patients, seed=seed, rates=(rate,))
ptbxl = open_release(folder, rate=rate)
version = "simulated release" if simulated else f"release at {Path(release).name}"
print(
    f"{version}: {len(ptbxl.index):,} rows, {ptbxl.index.patient_id.nunique():,} patients"
)
print(f"rows that could not be read: {len(ptbxl.skipped)}")

# %% [markdown]
# Patients have between one and several ECGs, which is why every count in this book says whether it counts
# records or patients.

# %%
per_patient = ptbxl.index.patient_id.value_counts()
several = (per_patient > 1).mean()
print(
    f"{several:.1%} of patients have more than one ECG (at most {per_patient.max()})"
)
print(
    f"age: median {ptbxl.index.age.median():.0f} years; {ptbxl.index.age.isna().sum()} over 89 or unknown"
)
print(f"sex: {(ptbxl.index.sex == 0).mean():.0%} male")

# %% [markdown]
# ## Pack once, read fast
#
# A general reader parses some two hundred records a second; an epoch of training would wait for it.
# So the files are read once, their checksums verified, and stored as one array of 16-bit integers (1,000
# per millivolt) that the operating system maps into memory.
# Files that are missing or broken are counted and left out; the rest goes on.

# %%
packed = pack(ptbxl, chapter.write("packed").parent, replace=True)
n_records, n_leads, n_samples = packed.signals.shape
print(
    f"packed: {n_records:,} records x {n_leads} leads x {n_samples:,} samples at {packed.rate} Hz"
)
print(packed.summary())
packed.skipped.reason.str.replace(
    r"\d+", "#", regex=True
).value_counts().head().to_frame("records")

# %%
present = ptbxl.index.loc[packed.ecg_ids]
source = "Simulated data" if simulated else f"PTB-XL, {n_records:,} records"
content = {
    "path": os.path.relpath(folder, ROOT),
    "simulated": simulated,
    "source": source,
    "rate": rate,
    "records_listed": len(ptbxl.index),
    "records_packed": n_records,
    "patients": int(present.patient_id.nunique()),
    "csv_sha256": sha256_file(folder / "ptbxl_database.csv"),
}
write_json(chapter.write("release"), content)

# %% [markdown]
# ## One ECG on paper
#
# Clinicians read ECGs on a grid: one small square is 40 ms wide and 0.1 mV high.
# Three rows show the twelve leads for 2.5 seconds each, the fourth row lead II throughout.

# %%
shown = example or int(packed.ecg_ids[0])
millivolts = signals.to_millivolts(packed.signals[packed.rows([shown])[0]])
codes = ", ".join(
    f"{code} {value:.0f}" for code, value in present.scp_codes[shown].items()
)
plots.plot_paper(millivolts, packed.rate, source, title=f"ecg_id {shown}: {codes}")

# %% [markdown]
# Leads III, aVR, aVL and aVF carry no information of their own: they are sums and differences of I and II.
# A release in which these relations fail has swapped or mislabelled leads.

# %%
some = signals.to_millivolts(np.asarray(packed.signals[:500]))
lead = {name: some[:, i] for i, name in enumerate(signals.LEADS)}
einthoven = np.abs(lead["I"] + lead["III"] - lead["II"]).max(axis=1)
goldberger = np.abs(lead["aVR"] + (lead["I"] + lead["II"]) / 2).max(axis=1)
print(f"largest |I + III - II|, median record: {np.median(einthoven):.3f} mV")
print(f"largest |aVR + (I + II)/2|, median record: {np.median(goldberger):.3f} mV")

# %% [markdown]
# ## The statements, and a zero that does not mean absent
#
# Each record has SCP codes with a confidence from 0 to 100.
# In PTB-XL a confidence of **0 means that the confidence is not known**, not that the finding is absent.
# Rhythm and form statements carry it almost always, so a method that drops zeros (the study does) drops
# nearly all rhythms: the figure shows for each code the share of its entries with confidence 0.

# %%
entries = pd.DataFrame(
    [
        (ecg_id, code, value)
        for ecg_id, d in present.scp_codes.items()
        for code, value in d.items()
    ],
    columns=["ecg_id", "code", "confidence"],
)
group = ptbxl.statements.diagnostic_class.copy()
for kind in ("form", "rhythm"):
    group[group.isna() & (ptbxl.statements[kind] == 1)] = kind
entries["group"] = entries.code.map(group).fillna("unknown")
by_code = entries.groupby(["code", "group"], as_index=False).agg(
    records=("confidence", "size"),
    zero=("confidence", lambda c: int((c == 0).sum())),
)
print(
    f"{len(entries):,} statements, {len(entries) / n_records:.1f} a record, {len(by_code)} codes"
)
print("share with confidence 0:")
(entries.confidence == 0).groupby(entries.group).mean().round(3).to_frame(
    "confidence 0"
)

# %%
plots.plot_code_frequency(
    by_code, source, note=f"{len(entries):,} statements of {n_records:,} records"
)

# %% [markdown]
# Five diagnostic superclasses summarise the codes; a record can belong to several.

# %%
labels = superclass_matrix(present, ptbxl.statements)
pd.DataFrame(
    {"records": labels.sum(axis=0), "share": labels.mean(axis=0).round(3)},
    index=SUPERCLASSES,
)

# %% [markdown]
# (split-by-patient)=
# ## Split by patient
#
# PTB-XL assigns each *patient* to one of ten folds.
# Folds 1–8 train, 9 validates, 10 tests; in a partial download that lacks the last two, the two highest
# folds present take their place.

# %%
split = split_by_fold(ptbxl.index, packed.ecg_ids)
table = present.assign(split=split).groupby("split")
table.agg(
    records=("sex", "size"),
    patients=("patient_id", "nunique"),
    median_age=("age", "median"),
)

# %% [markdown]
# ## What the network sees
#
# Each lead is z-scored over its ten seconds and padded with zeros from 1,000 to 1,024 samples.
# That makes all leads equally loud, and it has a price: the *voltage* is gone, and with it the criterion for
# hypertrophy. The scale of each lead is therefore kept beside the signal.

# %%
inputs, scale = signals.prepare(
    packed.signals[packed.rows([shown])], rate=packed.rate
)
print(
    f"input {inputs.shape}, mean {inputs.mean():.3f}, scale by lead {scale.min():.2f} to {scale.max():.2f} mV"
)
plots.plot_leads(
    inputs[0], 100, source, unit="z", title="The same ECG as the network sees it"
)

# %% [markdown]
# ## Checks

# %%
assert len(set(packed.ecg_ids.tolist())) == n_records, "an ecg_id was packed twice"
assert (
    present.assign(split=split).groupby("patient_id").split.nunique().max() == 1
), "a patient crosses"
assert np.median(einthoven) < 0.02, "leads break Einthoven's relation"
assert np.isfinite(inputs).all()
assert np.allclose(inputs[0, :, :12], 0), "padding is not zero"
assert set(split.unique()) == {"train", "validation", "test"}

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - A release is an index, a statement table and signal files; every chapter that follows reads only the
#   packed copy.
# - Confidence 0 means unknown. Dropping those statements removes nearly all rhythms.
# - Splits follow patients. Z-scoring removes voltage, so its scale is kept.
#
# Next: {doc}`02_structured_reports`, where codes become sentences.
