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
# # One arm of the sweep
#
# One method on one cohort, under one protocol, with one seed: all folds of that seed.
# `make protocol` runs this notebook once for each arm, side by side; chapter 13 puts them into one table.
# What it writes lies in `runs/<run>/protocol/arms/<arm>/`.

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
cohort = "learning"  # name in cohorts/follow_up.csv of the run
encoder = "cnn"  # "cnn", "dual_attention", or "none" for a baseline
initialisation = "aligned"  # scratch, reconstruction, aligned, random_encoder; age_sex, ecg_15, age_sex_ecg_15, oracle_ecg, oracle
protocol = "grouped"  # "study": two halves, each cut 80/20; "grouped": folds grouped by patient
seed = 42  # of folds, heads, order, masks
labels = 0  # training events of a fold; 0: all
n_folds = 5  # of the grouped protocol (number)

# %%
from ecgrepro import ROOT
from ecgrepro.book.alive import end_with_make
from ecgrepro.cohorts import suppress_table
from ecgrepro.parameters import check_names, declared_parameters
from ecgrepro.protocol import Arm, run_arm

end_with_make()
check_names("sweep/arm", declared_parameters("sweep/arm"), globals())
arm = Arm(cohort, encoder, initialisation, protocol, seed, labels, n_folds)
result = run_arm(arm, ROOT / "runs" / run)
print(result.record["source"])
for note in result.record["notes"]:
    print(note)

# %% [markdown]
# Every fold, with what it was trained and tested on.

# %%
shown = result.folds.drop(columns="test_rows").round({"c_index": 4})
counts = [
    name for name in shown if name.startswith(("n", "events")) and name != "note"
]
suppress_table(shown, counts, result.record["restricted"])

# %%
pooled = result.record["pooled_c_index"]
if pooled is None:
    print("no two test patients are comparable in any fold")
else:
    print(
        f"pooled over the folds of seed {seed}, scores centred by fold: {pooled:.3f}"
    )

# %% [markdown]
# ## Checks

# %%
scores = result.scores
assert scores.groupby(["seed", "fold"]).centred.mean().abs().max() < 1e-6
assert not scores.row.duplicated().any(), (
    "a patient was scored by two models of one seed"
)
assert len(result.folds) == scores.fold.nunique()
