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
# # 2 · Structured reports
#
# A code such as `IMI` means nothing to a language model; *Myocardial Infarction: Inferior myocardial
# infarction* does.
# *How do coded statements become text, and how much of a record survives the translation?*
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | SCP-ECG statement table | holds the words for each of the 71 codes | {doc}`01_data` |
# | confidence | 0–100, given by the reader of the ECG; 0 stands for unknown | {doc}`01_data` |
# | report | what the ECG will be aligned with | {doc}`06_alignment` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
examples = 3  # records whose report is shown

# %%
import logging
import re

import numpy as np
import pandas as pd

from ecgrepro import ROOT, plots, runs
from ecgrepro.files import atomic_path, read_json
from ecgrepro.data import open_packed, open_release
from ecgrepro.provenance import summarise
from ecgrepro.text import reports, statement_weights, text_ids

chapter = runs.start("02_structured_reports", globals())
plots.apply()
logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
source = chapter.source
print(source)

# %%
release = open_release(ROOT / read_json(chapter.read("release"))["path"])
packed = open_packed(chapter.read("packed").parent)
index, statements = release.index.loc[packed.ecg_ids], release.statements
print(
    f"{len(index):,} records with a signal, {len(statements)} statements in the table"
)

# %% [markdown]
# ## One line a statement
#
# The study writes each statement as its category and its description; ours adds the confidence, so that a
# reader sees what the weights of chapter 4 are made of {cite}`chen2025`.
# The category starts with a capital; the description follows the case of its category.

# %%
example = {"IMI": 15.0, "LNGQT": 100.0}
print(reports.compose_report(example, statements))

# %% [markdown]
# The whole rule fits in a cell. `"Myocardial Infarction"` is a title and `"Atrial statements"` is not; `"T-wave"` keeps
# its capital.

# %%
words = statements[[reports.CATEGORY, reports.DESCRIPTION]].T.to_dict("list")


def line(code, confidence):
    category, text = words.get(code, ("Unknown statement", code))
    if category.istitle():
        text = text[0].upper() + text[1:]
    elif re.match("[A-Z][a-z]+ ", text):
        text = text[0].lower() + text[1:]
    return f"{category[0].upper()}{category[1:]}: {text}, Confidence score: {float(confidence)}"


# %% [markdown]
# The package does the same to every record; these are the first ones:

# %%
structured = reports.compose_reports(index, statements)
for ecg_id in index.index[:examples]:
    print(f"ecg_id {ecg_id}\n{structured[ecg_id]}\n")
assert structured.to_list() == [
    "\n".join(line(*entry) for entry in codes.items()) for codes in index.scp_codes
]

# %% [markdown]
# The free-text report of the same records, as the machine or the physician left it:

# %%
pd.set_option("display.max_colwidth", 90)
index.report.head(examples).to_frame()

# %% [markdown]
# ## Nothing is lost silently
#
# A code that the table lacks is written as *Unknown statement* and counted, because a report without it would
# look complete.

# %%
unknown = reports.unknown_codes(index, statements)
lines = structured.str.count("\n") + 1
print(f"unknown codes: {len(unknown)}")
print(f"lines: {lines.sum():,} for {index.scp_codes.map(len).sum():,} statements")

# %% [markdown]
# ## What the two policies for confidence 0 leave
#
# The study drops statements of confidence 0; our default keeps them, counting *unknown* like a certain one.
# The table shows what each policy leaves for the text side.

# %%
weights = {
    policy: statement_weights(index, statements, policy)
    for policy in ("keep", "drop")
}
ids = {policy: text_ids(matrix) for policy, matrix in weights.items()}
counts = {
    policy: np.sort(np.bincount(number))[::-1] for policy, number in ids.items()
}
policies = pd.DataFrame(
    {
        policy: {
            "codes that can appear": int((matrix.sum(axis=0) > 0).sum()),
            "distinct texts": len(counts[policy]),
            "share of records with the commonest text": round(
                counts[policy][0] / len(index), 3
            ),
            "effective number of texts": round(
                1 / ((counts[policy] / len(index)) ** 2).sum(), 1
            ),
        }
        for policy, matrix in weights.items()
    }
)
policies

# %% [markdown]
# The *effective number* is how many equally frequent texts would collide as often as these do.
# It bounds what any alignment can learn: records with one text cannot be told apart by it.

# %%
labels = {
    "confidence 0 kept": counts["keep"],
    "confidence 0 dropped": counts["drop"],
}
plots.plot_text_ranks(
    labels,
    source,
    title="How often the same text occurs",
    note=f"n = {len(index):,} records",
)

# %% [markdown]
# ## A wrinkle: confidence is relative
#
# Weights are confidences divided by their sum within the record.
# A record with a single statement gets weight 1 whether its confidence is 15 or 100, so the confidence then
# changes nothing.

# %%
used = {policy: np.diff(matrix.indptr) for policy, matrix in weights.items()}
for policy, number in used.items():
    print(
        f"{policy}: {(number == 1).mean():.1%} of records have exactly one weighted statement"
    )

# %%
table = structured.rename("report").to_frame()
with atomic_path(chapter.write("reports")) as temporary:
    table.to_csv(temporary)

# %% [markdown]
# ## Checks

# %%
assert reports.compose_report(example, statements).splitlines() == [
    "Myocardial Infarction: Inferior myocardial infarction, Confidence score: 15.0",
    "Other ST-T descriptive statements: long QT-interval, Confidence score: 100.0",
]
assert (lines == index.scp_codes.map(len).clip(lower=1)).all(), (
    "a statement vanished"
)
assert (
    policies.loc["distinct texts", "keep"] >= policies.loc["distinct texts", "drop"]
)
sums = [m.sum(axis=1)[m.getnnz(axis=1) > 0] for m in weights.values()]
assert all(np.allclose(one, 1) for one in sums), "weights do not sum to 1"

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Every code becomes one line with its confidence; unknown codes are shown, not swallowed.
# - Dropping confidence 0 removes codes for good and leaves fewer distinct texts.
# - Confidence acts only where a record has several statements that differ in it.
#
# Next: {doc}`03_translation`, the reports that were written at the time.
