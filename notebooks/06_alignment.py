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
# # 6 · Alignment
#
# Two networks learn to put an ECG and its report at the same place.
# *Does drawing matching pairs together teach the encoder anything, or does it only teach both sides to agree on
# one constant answer?*
# The published loss has no negatives, so a constant is among its best solutions.
# We train with it, and with two losses that do have negatives, and let validation choose.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | cosine similarity | the losses pull it up for pairs and push it down for others | {doc}`04_text_embeddings` |
# | collapse | all inputs get the same output; the loss looks perfect | {cite}`wang2020` |
# | retrieval | rank all reports for an ECG; where does its own stand? | [below](retrieval-on-held-out-patients) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
encoder = "cnn"  # "cnn" or "dual_attention"
losses = ["cosine_positive", "cosine_pairs", "soft_infonce"]  # to compare
epochs = 12  # largest number of passes over the training records, for each loss
patience = 4  # stop a loss after this many epochs without a better criterion
batch_size = 128  # records a step
learning_rate = 1e-3  # peak of AdamW's learning rate
temperature = 0.07  # of soft_infonce (no unit)
margin = 0.2  # of cosine_pairs (cosine, no unit)
compare_texts = ["report_en", "both"]  # texts to train with besides the run's
recon_weight = 1.0  # reconstruction, beside an alignment of weight 1
lead_scale = False  # give the encoder the voltages that z-scoring erased
seed = 0  # of weights, order and masks
accelerator = "auto"  # "auto", "cpu", "cuda" or "mps"
devices = 1  # processes that share each batch

# %%
import copy
import dataclasses
import json

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

import ecgrepro.losses
from ecgrepro import ROOT, plots, probing, runs
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.models import build_alignment_model, save_weights
from ecgrepro.data import (
    SUPERCLASSES,
    open_packed,
    open_release,
    split_by_fold,
    superclass_matrix,
)
from ecgrepro.progress import line_reporter
from ecgrepro.provenance import summarise
from ecgrepro.training import (
    PretrainConfig,
    SignalFeed,
    embed,
    mask_leads_and_time,
    pair_records,
    pretrain,
)

chapter = runs.start("06_alignment", globals())
plots.apply()
source = chapter.source
print(source)

# %% [markdown]
# ## Pairs
#
# ECGs and reports are joined by `ecg_id`, never by position: a record without a report may not shift its
# neighbours' pairs. Patients stay within their fold.

# %%
release = open_release(ROOT / read_json(chapter.read("release"))["path"])
packed = open_packed(chapter.read("packed").parent)
ecg_ids = np.load(chapter.read("ecg_ids"))
z_text, text_ids = (
    np.load(chapter.read("z_text")),
    np.load(chapter.read("text_ids")),
)
index = release.index.loc[ecg_ids]
split = split_by_fold(release.index, ecg_ids)
data, kept, dropped = pair_records(
    packed.signals, packed.ecg_ids, packed.rate, z_text, text_ids, ecg_ids, split
)
test = np.flatnonzero(split.loc[kept].to_numpy() == "test")
print(
    f"pairs: {len(data.train):,} train, {len(data.validation):,} validation, {len(test):,} test"
)
print(f"records without a partner: {len(dropped)}")

# %% [markdown]
# ## Three losses
#
# With $c_{ij}$ the cosine between ECG $i$ and report $j$ in the shared space:
#
# - `cosine_positive`, as published: $\frac1n\sum_i (1 - c_{ii})$.
# - `cosine_pairs`: the same for all pairs with equal text, and $\max(0, c_{ij} - m)$ for pairs whose texts differ.
# - `soft_infonce`: a softmax over $c_{ij}/\tau$, whose target is shared equally by all reports with the *same*
#   text. In a batch of real records a fifth share one text; they must never count as negatives.
#
# The functions below are what is trained: edit one, run the chapter from here, and the new one is.


# %%
def cosine_positive(e_ecg, e_text, text_ids):
    return (1 - F.cosine_similarity(e_ecg, e_text)).mean()


def cosine_pairs(e_ecg, e_text, text_ids):
    cosine = F.normalize(e_ecg) @ F.normalize(e_text).T
    same = text_ids == text_ids[:, None]
    pull = ((1 - cosine) * same).sum() / same.sum()
    push = (F.relu(cosine - margin) * ~same).sum() / (~same).sum().clamp(min=1)
    return pull + push


# %%
def soft_infonce(e_ecg, e_text, text_ids):
    logits = F.normalize(e_ecg) @ F.normalize(e_text).T / temperature
    same = (text_ids == text_ids[:, None]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


alignment = {f.__name__: f for f in (cosine_positive, cosine_pairs, soft_infonce)}

# %% [markdown]
# ## One training step
#
# The alignment is added to the error of reconstructing the unmasked ECG from a masked one.
# Pretraining repeats this step with ever other batches, at a learning rate that rises and falls.

# %%
config = PretrainConfig(
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=learning_rate,
    recon_weight=recon_weight,
    patience=patience,
    seed=seed,
    accelerator=accelerator,
    devices=devices,
)
start = build_alignment_model(
    encoder, text_dim=z_text.shape[1], lead_scale=lead_scale, seed=seed
)

# %%
network, batch = copy.deepcopy(start), data.train[:batch_size]
feed = SignalFeed(data.signals, data.rows, packed.rate, data.length)
x, scale = feed(batch)
z = torch.from_numpy(data.z_text[batch])
ids = torch.from_numpy(data.text_ids[batch])
optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
masks = torch.Generator().manual_seed(seed)


# %%
def training_step(align):
    out = network(mask_leads_and_time(x, masks, config), z, scale)
    recon = F.mse_loss(
        out.reconstruction[..., 12:1012], x[..., 12:1012]
    )  # not the padding
    loss = align(out.e_ecg, out.e_text, ids) + recon_weight * recon
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


falling = [training_step(alignment[losses[-1]]) for _ in range(6)]
print(f"six steps on one batch lower its loss: {min(falling[-2:]) < falling[0]}")

# %% [markdown]
# ## Training with each loss

# %% tags=["nbval-ignore-output"]
results = {}
for loss in losses:
    folder = chapter.scratch(f"alignment/checkpoints/{loss}")
    settings = dataclasses.replace(config, loss=alignment[loss])
    results[loss] = pretrain(start, data, settings, folder, line_reporter(loss))

# %% tags=["trained"]
for loss, result in results.items():
    history = result.history
    first, last = history.iloc[0], history.iloc[-1]
    print(
        f"{loss:>15}: validation alignment {first.validation_align:5.2f} -> {last.validation_align:5.2f}, "
        f"reconstruction {first.validation_recon:4.2f} -> {last.validation_recon:4.2f}"
    )

# %%
histories = {loss: result.history for loss, result in results.items()}
columns = {"total": "Total loss", "align": "Alignment loss"}
columns["recon"] = "Reconstruction (z²)"
best = {loss: result.best_epoch for loss, result in results.items()}
plots.plot_history(
    histories,
    columns,
    source,
    best_epoch=best,
    title="Losses by epoch",
    note=f"{len(data.train):,} training, {len(data.validation):,} validation records",
)

# %% [markdown]
# Alignment losses have different scales and cannot be compared with one another; what they leave behind can.
#
# ## Collapse, watched
#
# Three monitors of the validation ECGs in the shared space: the mean cosine between *different* records (1 means
# that all ECGs get the same answer), the effective number of dimensions {cite}`garrido2023`, and uniformity
# {cite}`wang2020` (0 is the worst).

# %%
monitors = {
    "mean_pairwise_cosine": "Mean cosine",
    "effective_rank": "Effective rank",
    "criterion": "Criterion",
}
collapsed = {"mean_pairwise_cosine": (1.0, "collapsed")}
plots.plot_monitors(histories, monitors, source, references=collapsed)

# %% tags=["trained"]
ends = pd.DataFrame(
    {loss: history.loc[best[loss]] for loss, history in histories.items()}
).T
watched = ["criterion", "retrieval_at_10", "chance_at_10"]
watched += ["mean_pairwise_cosine", "effective_rank", "uniformity"]
ends[watched].astype(float).round(2)

# %% [markdown]
# ## Validation chooses
#
# The criterion is the mean reciprocal rank of an ECG's own text among all distinct validation texts, averaged
# over texts, so that guessing the commonest text earns next to nothing. A loss that no longer improves it is stopped.
# It does not depend on the loss; test patients have no part in it.

# %% tags=["trained"]
chosen = str(ends.criterion.astype(float).idxmax())
model = results[chosen].model
print(f"validation chooses {chosen}, epoch {best[chosen]} of {epochs}")

# %% [markdown]
# (retrieval-on-held-out-patients)=
# ## Retrieval on held-out patients
#
# For every test ECG, all distinct test texts are ranked. Two controls stand beside the result: *chance*, a random
# order, and *commonest first*, which ignores the ECG and ranks texts by their frequency in training.
# The second is the harder one, because many records share a text.

# %% tags=["trained"]
vectors = embed(model, data.signals, data.rows, packed.rate, data.z_text)
patients = index.patient_id.loc[kept].to_numpy()
tested = (vectors.e_ecg[test], vectors.e_text[test], data.text_ids[test])
retrieval = probing.retrieval_both_ways(*tested, groups=patients[test], seed=seed)
shown = ["recall", "low", "high", "chance", "constant", "by_text"]
retrieval[[*shown, "n_queries", "n_gallery"]].round(2)

# %%
note = f"{len(test):,} test ECGs of {len(np.unique(patients[test])):,} patients, 95 % interval by patient"
plots.plot_retrieval(
    retrieval, source, title="Recall at k on held-out patients", note=note
)

# %% tags=["trained"]
forth = retrieval.loc["ECG to report"]
for k in forth.index:
    row = forth.loc[k]
    verdict = "above" if row.low > row.constant else "not clearly above"
    print(
        f"R@{k}: {row.recall:.2f}, {row.ratio:.1f} times chance, {verdict} the commonest texts ({row.constant:.2f})"
    )

# %% [markdown]
# A report that several patients share cannot be told apart, so 100 % at rank 1 is out of reach for any model; the
# column `by_text`, where each text counts once, shows how much of the recall comes from rare texts.

# %% [markdown]
# ## Statements, reports, or both
#
# The same loss with another text: the translated free-text report, and the mean of both. Retrieval is measured
# among each source's own distinct texts, so the rows have different chances; the probe (a logistic regression of
# the five superclasses on the frozen encoder) has the same labels in all rows.

# %% tags=["nbval-ignore-output"]
own_text = read_json(chapter.read("text_model"))["source"]
z_report, report_ids = (
    np.load(chapter.read("z_report")),
    np.load(chapter.read("report_ids")),
)
unit = [
    z / np.linalg.norm(z, axis=1, keepdims=True).clip(1e-9)
    for z in (z_text, z_report)
]
pairs_of_texts = pd.factorize(
    pd.Series(list(zip(text_ids, report_ids, strict=True)))
)[0]
others = {
    "report_en": (z_report, report_ids),
    "both": (np.mean(unit, axis=0, dtype=np.float32), pairs_of_texts),
}
embedded = {own_text: (vectors, data.text_ids)}
for name in compare_texts if own_text == "statements" else []:
    other = dataclasses.replace(
        data, z_text=others[name][0], text_ids=others[name][1]
    )
    folder = chapter.scratch(f"alignment/checkpoints/text-{name}")
    settings = dataclasses.replace(config, loss=alignment[chosen])
    result = pretrain(start, other, settings, folder, line_reporter(name))
    made = embed(result.model, data.signals, data.rows, packed.rate, other.z_text)
    embedded[name] = (made, other.text_ids)

# %% tags=["trained"]
labels = superclass_matrix(index.loc[kept], release.statements)
parts = (data.train, data.validation, test)
rows = []
for name, (made, ids) in embedded.items():
    found = probing.retrieval_both_ways(
        made.e_ecg[test],
        made.e_text[test],
        ids[test],
        groups=patients[test],
        seed=seed,
    ).loc[("ECG to report", 10)]
    probe = probing.linear_probe(
        *(array[part] for part in parts for array in (made.z_ecg, labels)),
        SUPERCLASSES,
        groups=patients[test],
        n_bootstrap=200,
        seed=seed,
    ).table.loc["macro"]
    rows.append(
        {
            "text": name,
            "distinct test texts": int(found.n_gallery),
            "R@10": found.recall,
            "chance": found.chance,
            "R@10 by text": found.by_text,
            "probe AUROC": probe.auroc,
            "low": probe.auroc_low,
            "high": probe.auroc_high,
        }
    )
by_source = pd.DataFrame(rows).set_index("text")
with atomic_path(chapter.write("text_comparison")) as temporary:
    by_source.round(4).to_csv(temporary)
by_source.round(2)

# %% [markdown]
# ## What the decoder gives back
#
# Grey is the ECG as recorded (in units of its own standard deviation), orange what the decoder makes of
# 512 numbers.
#
# On ten-second strips the dual attention network draws a flat line: its latent is pooled over time, so no decoder can
# place a beat. The CNN keeps half of its latent in the order of time for that reason.

# %%
x, scale = feed(test[:64])
with torch.inference_mode():
    output = model(x, torch.from_numpy(data.z_text[test[:64]]), scale)
errors = (output.reconstruction - x).square().mean(dim=-1).numpy()
typical = int(np.argsort(errors.mean(axis=1))[len(errors) // 2])
plots.plot_reconstruction(
    x[typical].numpy(),
    output.reconstruction[typical].numpy(),
    100,
    source,
    seconds=4,
    title="A test ECG, and its reconstruction",
    note=f"ecg_id {kept[test[typical]]}, the median error of {len(errors)} test ECGs; encoder {encoder}, {chosen}",
)

# %% tags=["trained"]
print(
    f"mean squared error on {len(errors)} test ECGs: {errors.mean():.2f} (1 = drawing a flat line)"
)

# %%
with atomic_path(chapter.write("alignment_history")) as temporary:
    pd.concat(histories, names=["loss"]).to_csv(temporary)
for path, array in (
    (chapter.write("z_ecg"), vectors.z_ecg),
    (chapter.write("e_ecg"), vectors.e_ecg),
    (chapter.write("e_text"), vectors.e_text),
):
    with atomic_path(path) as temporary:
        np.save(temporary, array)
made_from = {
    "encoder": encoder,
    "text_dim": z_text.shape[1],
    "lead_scale": lead_scale,
    "loss": chosen,
    "epoch": best[chosen],
}
save_weights(model, chapter.write("alignment_model"), made_from)
metrics = {
    **made_from,
    "criterion": {loss: round(float(ends.criterion[loss]), 4) for loss in losses},
    "retrieval": json.loads(retrieval.reset_index().to_json(orient="records")),
    "reconstruction_mse": float(errors.mean()),
    "first": json.loads(histories[chosen].iloc[0].to_json()),
    "last": json.loads(histories[chosen].iloc[-1].to_json()),
}
write_json(chapter.write("alignment_metrics"), metrics)

# %% [markdown]
# ## Checks

# %%
assert not set(patients[data.train]) & set(patients[test]), (
    "a patient is in train and test"
)
assert not set(patients[data.train]) & set(patients[data.validation])
assert vectors.z_ecg.shape[1] == 512
assert vectors.e_ecg.shape == vectors.e_text.shape == (len(kept), 512)
assert (kept == ecg_ids).all(), "rows of the arrays must stay those of ecg_ids"
for loss, result in results.items():
    assert np.isfinite(result.history.validation_total).all(), f"{loss} diverged"
assert 0.3 < errors.mean() < 1.3, "the decoder does worse than a flat line"
if epochs >= 8 and {"cosine_positive", "soft_infonce"} <= set(losses):
    without, within = ends.loc["cosine_positive"], ends.loc["soft_infonce"]
    assert without.mean_pairwise_cosine > 0.9, "without negatives, no collapse?"
    assert within.mean_pairwise_cosine < without.mean_pairwise_cosine - 0.1
    assert within.criterion > without.criterion, "negatives do not help retrieval"
assert min(falling[-2:]) < falling[0]

# %%
few = [torch.from_numpy(part[:64]) for part in tested]
package = {
    "cosine_positive": ecgrepro.losses.cosine_positive(*few),
    "cosine_pairs": ecgrepro.losses.cosine_pairs(*few, margin),
    "soft_infonce": ecgrepro.losses.soft_infonce(*few, temperature),
}
for name, value in package.items():
    same = torch.allclose(alignment[name](*few), value)
    assert same, f"{name} was edited: if you meant it, leave this check out"

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Change it
#
# A loss and an encoder of your own are passed in. A loss gets both embeddings and the numbers of the texts, and gives
# one number; an encoder is any module from ECGs `(B, 12, 1024)` to `(B, 512)`. The same training is found finished
# when it is run again; another loss, even one edited in its cell, never is.


# %%
def margin_loss(e_ecg, e_text, text_ids):
    cosine = F.normalize(e_ecg) @ F.normalize(e_text).T
    other = (
        text_ids != text_ids[:, None]
    )  # another text stays 0.3 behind the ECG's own
    return F.relu(0.3 + cosine - cosine.diagonal()[:, None])[other].mean()


def small_encoder():
    nn = torch.nn
    return nn.Sequential(nn.AvgPool1d(16), nn.Flatten(), nn.Linear(768, 512))


# %% tags=["nbval-ignore-output"]
mine = build_alignment_model(small_encoder, text_dim=z_text.shape[1], seed=seed)
settings = PretrainConfig(loss=margin_loss, epochs=1, batch_size=batch_size)
tried = pretrain(
    mine, data, settings, chapter.scratch("alignment/checkpoints/mine")
)
assert np.isfinite(tried.history.validation_total).all()

# %% [markdown]
# ## Summary
#
# - A loss without negatives can be met by a constant; the monitors show how near each loss comes to it.
# - Records that share a text are no negatives; the soft target says so.
# - Validation chose the loss and the epoch; the test patients were looked at once.
#
# Next: {doc}`07_representation` asks what the 512 numbers know.
