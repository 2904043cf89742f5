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
# # 7 · What the representation knows
#
# The encoder has been trained; nobody told it what it should be good for.
# *What can be read off its 512 numbers, and how much of that was there before training?*
# Every answer stands beside an encoder with random weights, the voltages alone, and age and sex.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | linear probe | a logistic regression on frozen numbers; what it finds was there | [below](linear-probe) |
# | AUROC | probability that a record with the finding scores above one without | {doc}`glossary </book/glossary>` |
# | labels in the text | in PTB-XL the reports are made of the labels, so alignment is a kind of supervision | [below](zero-shot) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
resamples = 500  # bootstrap resamples, by patient
queries = 2  # test ECGs whose nearest reports are shown
seed = 0  # of the random encoder and the bootstrap

# %%
import numpy as np
import pandas as pd

from ecgrepro import ROOT, plots, probing, runs
from ecgrepro.data import (
    SUPERCLASSES,
    open_packed,
    open_release,
    signals,
    split_by_fold,
    superclass_matrix,
)
from ecgrepro.files import atomic_path, read_json
from ecgrepro.models import build_alignment_model, load_weights, read_config
from ecgrepro.provenance import summarise
from ecgrepro.training import embed_text, encode

chapter = runs.start("07_representation", globals())
plots.apply()
source = chapter.source
print(source)

# %%
release = open_release(ROOT / read_json(chapter.read("release"))["path"])
packed = open_packed(chapter.read("packed").parent)
ecg_ids, text_ids = (
    np.load(chapter.read("ecg_ids")),
    np.load(chapter.read("text_ids")),
)
z_ecg, e_ecg, e_text = (
    np.load(path)
    for path in (
        chapter.read("z_ecg"),
        chapter.read("e_ecg"),
        chapter.read("e_text"),
    )
)
reports = pd.read_csv(chapter.read("reports"), index_col="ecg_id").report.loc[
    ecg_ids
]
index = release.index.loc[ecg_ids]
made = read_config(chapter.read("alignment_model"))
model = build_alignment_model(
    made["encoder"], text_dim=made["text_dim"], lead_scale=made["lead_scale"]
)
load_weights(model, chapter.read("alignment_model"))
split = split_by_fold(release.index, ecg_ids).loc[ecg_ids].to_numpy()
patients = index.patient_id.to_numpy()
print(
    f"{made['encoder']} trained with {made['loss']}; {(split == 'test').sum():,} test records"
)

# %% [markdown]
# ## The nearest reports
#
# For an ECG of a held-out patient, all distinct reports are ranked by cosine.
# Retrieval is generous company: a near miss usually shares the rhythm or the wall.

# %% tags=["nbval-ignore-output"]
test = np.flatnonzero(split == "test")
abnormal = [i for i in test if "NORM" not in index.scp_codes.iloc[i]][:queries]
nearest = probing.nearest_reports(
    e_ecg[abnormal],
    e_text[test],
    list(reports.iloc[test]),
    text_ids[test],
    text_ids[abnormal],
    k=3,
)
for query, rows in nearest.groupby("query"):
    print(f"ECG {ecg_ids[abnormal[query]]}, its own report:")
    print("   " + reports.iloc[abnormal[query]].replace("\n", "\n   "))
    for row in rows.itertuples():
        mark = "same" if row.same_text else "other"
        print(
            f" {row.rank}. cosine {row.cosine:.2f} ({mark} text): "
            + row.report.replace("\n", "; ")
        )
    print()

# %% [markdown]
# (linear-probe)=
# ## Linear probe of five superclasses
#
# Features are standardised on training records, the penalty is chosen on validation, and the test patients are
# scored once. The four controls go through the same function.

# %%
labels = superclass_matrix(index, release.statements)
rows = packed.rows(ecg_ids)
random_encoder = build_alignment_model(
    made["encoder"],
    text_dim=made["text_dim"],
    lead_scale=made["lead_scale"],
    seed=seed + 1,
).encoder
z_random = encode(random_encoder, packed.signals, rows, packed.rate)
scales = np.log(
    signals.lead_scale(signals.to_millivolts(packed.signals[rows])) + 1e-3
)
people = (
    index[["age", "sex"]]
    .fillna(index.age[split == "train"].median())
    .to_numpy(float)
)
features = {
    "aligned encoder": z_ecg,
    "aligned + voltages": np.hstack([z_ecg, scales]),
    "random encoder": z_random,
    "voltages alone": scales,
    "age and sex": people,
}

# %% tags=["trained"]
parts = [np.flatnonzero(split == part) for part in ("train", "validation", "test")]
probes = {
    name: probing.linear_probe(
        *(array[part] for part in parts for array in (z, labels)),
        SUPERCLASSES,
        groups=patients[test],
        n_bootstrap=resamples,
        seed=seed,
    ).table
    for name, z in features.items()
}
table = pd.concat(probes, names=["label", "class"]).reset_index()
table.pivot(index="label", columns="class", values="auroc").loc[
    list(features)
].round(2)

# %%
macro = table[table["class"] == "macro"].rename(
    columns={"auroc": "estimate", "auroc_low": "low", "auroc_high": "high"}
)
macro["task"] = "linear probe"
plots.plot_forest(
    macro[["label", "estimate", "low", "high", "n"]],
    source,
    xlabel="Macro AUROC of five superclasses (0.5 = chance)",
    highlight=["aligned encoder", "aligned + voltages"],
    title="What can be read off, and what was there before",
    note="held-out patients, 95 % interval by patient",
)

# %% [markdown]
# Hypertrophy is judged by voltage, which z-scoring erased. The column HYP of the table shows what each input
# still knows of it: compare the rows with and without voltages.

# %% tags=["trained"]
hyp = table[table["class"] == "HYP"].set_index("label").auroc
print(
    f"HYP: aligned {hyp['aligned encoder']:.2f}, with voltages {hyp['aligned + voltages']:.2f}, "
    f"voltages alone {hyp['voltages alone']:.2f}"
)
best_control = (
    macro.set_index("label")
    .estimate.drop(["aligned encoder", "aligned + voltages"])
    .max()
)
aligned = macro.set_index("label").loc["aligned encoder"]
verdict = "above" if aligned.low > best_control else "not clearly above"
print(
    f"aligned {aligned.estimate:.2f} is {verdict} the best control, {best_control:.2f}"
)

# %% [markdown]
# (zero-shot)=
# ## Asking in words
#
# In the shared space a statement is a point, so its cosine with an ECG is a score that needs no classifier.
# One caution belongs to every such figure on PTB-XL: the reports *are* the labels, so these statements were seen
# in training. It is not zero-shot in the sense of a finding nobody ever named.

# %% tags=["nbval-ignore-output"]
asked = ["NORM", "IMI", "CLBBB", "CRBBB", "LVH", "AFIB", "LAFB", "1AVB"]
vectors = np.load(chapter.read("statement_vectors"))
statements = release.statements.index
present = np.stack(
    [index.scp_codes.map(lambda d, c=c: int(c in d)).to_numpy() for c in asked],
    axis=1,
)
e_statements = embed_text(model, vectors[statements.get_indexer(asked)])
scores = probing.zero_shot_scores(e_ecg[test], e_statements)
words = probing.score_table(
    scores,
    present[test],
    asked,
    groups=patients[test],
    n_bootstrap=resamples,
    seed=seed,
)
words[["auroc", "auroc_low", "auroc_high", "positives"]].round(2)

# %% [markdown]
# ## Similarity of classes
#
# Mean cosine between test records of two superclasses, after removing the mean of all: positive where two
# classes lie on the same side, negative where they are opposed.

# %%
centred = z_ecg - z_ecg[split == "train"].mean(axis=0)
similarity = probing.similarity_matrix(
    centred[test], pd.DataFrame(labels[test], columns=SUPERCLASSES)
)
plots.plot_similarity(
    similarity.to_numpy(),
    source,
    names=list(SUPERCLASSES),
    label="Mean cosine (no unit)",
    title="Similarity of superclasses in the latent space",
    note=f"n = {len(test):,} test records",
)

# %% [markdown]
# Two principal components, fitted on training records, drawn for the test records with exactly one superclass.

# %%
_, spread, axes = np.linalg.svd(centred[split == "train"], full_matrices=False)
explained = (spread**2 / (spread**2).sum())[:2]
single = test[labels[test].sum(axis=1) == 1]
plots.plot_projection(
    centred[single] @ axes[:2].T,
    [SUPERCLASSES[k] for k in labels[single].argmax(axis=1)],
    source,
    explained=(float(explained[0]), float(explained[1])),
    title="Test ECGs in two of 512 dimensions",
    note=f"n = {len(single):,} test records with one superclass",
)

# %%
words_macro = words.loc[["macro"]].rename(
    columns={"auroc": "estimate", "auroc_low": "low", "auroc_high": "high"}
)
words_macro = words_macro.assign(
    label="statements as questions", task="asking in words"
)
stored = pd.concat([macro, words_macro])[
    ["task", "label", "estimate", "low", "high", "n"]
]
with atomic_path(chapter.write("probes")) as temporary:
    stored.round(4).to_csv(temporary, index=False)

# %% [markdown]
# ## Checks

# %%
assert stored.estimate.between(0, 1).all()
assert (stored.low <= stored.estimate).all()
assert (stored.estimate <= stored.high).all()
assert not set(patients[parts[0]]) & set(patients[test]), (
    "a patient is in train and test"
)
assert set(table["class"]) <= {*SUPERCLASSES, "macro"}
assert aligned.estimate > 0.5, "the encoder knows less of the labels than a coin"
assert words.auroc.dropna().between(0, 1).all()
for _, ranked in nearest.groupby("query"):
    assert ranked.report.is_unique, "a report is offered twice"
    assert ranked.cosine.is_monotonic_decreasing
    assert ranked.cosine.le(1.001).all()

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - A random encoder and twelve voltages already know a good deal; only the distance from them was learned.
# - Z-scoring removes voltage; the row *voltages alone* shows what hypertrophy loses by it.
# - On PTB-XL, text is made of labels: call alignment what it is, supervision through words.
#
# Next: {doc}`08_cohorts`, where patients are followed.
