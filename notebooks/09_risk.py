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
# # 9 · Risk
#
# The encoder has learned from reports; now it learns from what happened to patients.
# *Can the ECG tell who will have an event sooner, and does it help to have read reports before?*
# The same fine-tuning runs on a cohort whose outcome has nothing to do with the ECG, because a method that finds
# something there would find it anywhere.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | censoring | most patients leave the study without an event; their time still counts | {doc}`08_cohorts` |
# | Cox partial likelihood | compares each patient who has an event with all still at risk | {cite}`cox1972` |
# | log risk | a score without unit or zero; only its order and differences mean something | {doc}`glossary </book/glossary>` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
epochs = 20  # largest number of passes over the training patients
batch_size = 128  # wanted patients a step; batches without events do not exist
learning_rate = 3e-4  # peak of AdamW's learning rate
recon_weight = 0.1  # α, the share of the reconstruction; the Cox loss has the rest
patience = 4  # stop after this many epochs without a better validation loss
seed = 0  # of heads, order, masks and the random encoder
accelerator = "auto"  # "auto", "cpu", "cuda" or "mps"
devices = 1  # processes that share each batch

# %%
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from ecgrepro import plots, runs
from ecgrepro.cohorts import suppress_columns
from ecgrepro.files import atomic_path, read_json
from ecgrepro.losses import cox_nll
from ecgrepro.models import (
    build_risk_model,
    load_alignment,
    read_config,
    risk_model_from,
    save_weights,
)
from ecgrepro.data import open_packed
from ecgrepro.progress import line_reporter
from ecgrepro.provenance import summarise
from ecgrepro.survival import concordance_index
from ecgrepro.training import FinetuneConfig, RiskData, finetune, predict_risk

chapter = runs.start("09_risk", globals())
plots.apply()
about = read_json(chapter.read("cohorts"))
source = about["source"]
print(chapter.source)
print(source)

# %%
packed = open_packed(chapter.read("cohort_packed").parent)
follow_up = pd.read_csv(chapter.read("follow_up"))
made = read_config(chapter.read("alignment_model"))
aligned = load_alignment(chapter.read("alignment_model"))
sizes = follow_up.groupby(["cohort", "split"], sort=False).agg(
    n=("event", "size"), events=("event", "sum")
)
sizes = suppress_columns(sizes, ["n", "events"], about["restricted"])
sizes

# %% [markdown]
# ## The loss
#
# $L = \alpha L_\text{recon} + (1-\alpha) L_\text{risk}$, with $L_\text{risk}$ the negative log partial likelihood
# per event, ties after Efron {cite}`efron1977`:
#
# $$-\frac{1}{d}\sum_{i:\,\text{event}} \Big(\theta_i - \log\sum_{j:\,t_j \ge t_i} e^{\theta_j}\Big)$$
#
# (The study's code uses the letter for the other term; `recon_weight` says what it weighs.)
# Batches hold events and censored patients in the cohort's proportion, and dropout uses one mask for a whole
# batch, so that patients of one risk set are compared by one network.
#
# In tensors, with equal times counted as Breslow did:


# %%
def cox_breslow(log_risk, event, time):
    at_risk = time >= time[:, None]  # row i: who is still there at time i
    log_sum = torch.where(at_risk, log_risk, -torch.inf).logsumexp(dim=1)
    return ((log_sum - log_risk) * event).sum() / event.sum()


def combined(recon, risk):
    return recon_weight * recon + (1 - recon_weight) * risk


risk_loss = (
    cox_nll  # after Efron; put cox_breslow or your own function here to train it
)

# %%
part = follow_up[(follow_up.cohort == about["main"]) & (follow_up.split == "train")]
event, time = (
    torch.tensor(part.event.to_numpy()),
    torch.tensor(part.time.to_numpy()),
)
guess = torch.from_numpy(np.random.default_rng(seed).normal(size=len(part)))
breslow, efron = cox_breslow(guess, event, time), cox_nll(guess, event, time)
print(f"a random order: {breslow:.2f} after Breslow, {efron:.2f} after Efron")

# %%
config = FinetuneConfig(
    loss=risk_loss,
    accelerator=accelerator,
    devices=devices,
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=learning_rate,
    recon_weight=recon_weight,
    patience=patience,
    seed=seed,
)
frozen = FinetuneConfig(
    loss=risk_loss,
    accelerator=accelerator,
    devices=devices,
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=10 * learning_rate,
    recon_weight=0.0,
    lead_mask=0.0,
    patience=patience,
    freeze_encoder=True,
    seed=seed,
)
build = {"lead_scale": made["lead_scale"], "seed": seed}
starts = {
    "fine-tuned": (risk_model_from(aligned, seed=seed), config),
    "from scratch": (build_risk_model(made["encoder"], **build), config),
    "random encoder": (build_risk_model(made["encoder"], **build), frozen),
}
main = about["main"]
arms = [(main, arm) for arm in starts]
arms += [
    (cohort, "fine-tuned") for cohort in follow_up.cohort.unique() if cohort != main
]

# %% [markdown]
# ## Fine-tuning
#
# *Fine-tuned* starts from chapter 6, *from scratch* from random weights; *random encoder* trains only a head on
# an encoder that stays random. Every other cohort, the null cohort among them, gets the fine-tuned arm.


# %%
def assemble(table: pd.DataFrame) -> RiskData:
    """The rows of one cohort, with their signals."""
    return RiskData(
        signals=packed.signals,
        rows=packed.rows(table.ecg_id),
        rate=packed.rate,
        event=table.event.to_numpy(np.int64),
        time=table.time.to_numpy(float),
        train=np.flatnonzero(table.split == "train"),
        validation=np.flatnonzero(table.split == "validation"),
    )


# %% tags=["nbval-ignore-output"]
results, scores = {}, []
for cohort, arm in arms:
    table = follow_up[follow_up.cohort == cohort].reset_index(drop=True)
    data = assemble(table)
    folder = chapter.scratch(f"risk/checkpoints/{cohort}-{arm.replace(' ', '-')}")
    model, settings = starts[arm]
    report = line_reporter(f"{cohort}, {arm}")
    result = finetune(model, data, settings, folder, report)
    risk = predict_risk(result.model, data.signals, data.rows, data.rate)
    results[cohort, arm] = result
    scores.append(
        table[["cohort", "patient_id", "ecg_id", "split"]].assign(
            arm=arm, risk=risk
        )
    )

# %% tags=["trained"]
for (cohort, arm), result in results.items():
    last = result.history.loc[result.best_epoch]
    print(
        f"{cohort:>9}, {arm:<14}: best epoch {result.best_epoch:2d}, validation total "
        f"{last.validation_total:5.2f}, L_recon {last.validation_recon:4.2f}, L_risk {last.validation_risk:4.2f}"
    )

# %% [markdown]
# ## Losses by epoch
#
# The epoch is chosen by the Cox loss of the whole validation part, not by its C-index, which moves in steps when
# events are few.
# Training values are means over batches: a signal for training, not a measure, because a risk set of a batch is
# not the risk set of the cohort.

# %%
shown = {arm: results[main, arm].history for arm in starts}
columns = {
    "total": "Total loss",
    "recon": "L_recon (z²)",
    "risk": "L_risk (a unit per event)",
}
count = {
    (part, what): sizes.loc[(main, part), what]
    for part in ("train", "validation")
    for what in ("n", "events")
}
plots.plot_history(
    shown,
    columns,
    source,
    best_epoch={arm: results[main, arm].best_epoch for arm in starts},
    title=f"Fine-tuning on the {main} cohort",
    note=f"train n = {count['train', 'n']}, {count['train', 'events']} events; "
    f"validation n = {count['validation', 'n']}, {count['validation', 'events']} events",
)

# %% tags=["trained"]
chosen = results[main, "fine-tuned"]
keep = [
    "train_total",
    "train_recon",
    "train_risk",
    "validation_total",
    "validation_recon",
    "validation_risk",
]
chosen.history[keep].round(2).rename(columns=lambda name: name.replace("_", " "))

# %% [markdown]
# ## A risk for each patient
#
# Each patient now has one number per arm. Training patients' scores are kept too, for the record, and never used
# in an evaluation.

# %% tags=["trained"]
risk_scores = pd.concat(scores, ignore_index=True)
on_validation = []
for (cohort, arm), part in risk_scores[risk_scores.split == "validation"].groupby(
    ["cohort", "arm"], sort=False
):
    truth = (
        follow_up[follow_up.cohort == cohort]
        .set_index("patient_id")
        .loc[part.patient_id]
    )
    c_index = concordance_index(truth.time, truth.event, part.risk)
    on_validation.append(
        {
            "cohort": cohort,
            "arm": arm,
            "n": len(part),
            "events": truth.event.sum(),
            "C-index": round(c_index, 2),
        }
    )
validated = pd.DataFrame(on_validation).set_index(["cohort", "arm"])
suppress_columns(validated, ["n", "events"], about["restricted"])

# %% [markdown]
# These are validation figures, which also chose the epoch, and therefore flatter.
# The test patients are opened in the next chapter, once.

# %%
with atomic_path(chapter.write("risk_scores")) as temporary:
    risk_scores.to_csv(temporary, index=False)
with atomic_path(chapter.write("risk_history")) as temporary:
    pd.concat(
        {key: result.history for key, result in results.items()},
        names=["cohort", "arm"],
    ).to_csv(temporary)
save_weights(
    chosen.model,
    chapter.write("risk_model"),
    made | {"cohort": main, "epoch": chosen.best_epoch},
)

# %% [markdown]
# ## Checks

# %%
package = cox_nll(guess, event, time, ties="breslow")
assert torch.allclose(breslow, package, rtol=1e-10), (
    "the cell is not the package's Cox loss"
)
splits = follow_up.groupby(["cohort", "patient_id"]).split.nunique()
assert splits.max() == 1, "a patient crosses a split"
assert np.isfinite(risk_scores.risk).all()
tuned = results[main, "fine-tuned"]
before, after = tuned.history.loc[0], tuned.history.loc[tuned.best_epoch]
assert after.validation_risk < before.validation_risk + 0.2, "tuning made it worse"
assert 0.3 < after.validation_recon < 1.3, "the decoder does worse than a flat line"
assert len(risk_scores) == sum(
    (follow_up.cohort == cohort).sum() for cohort, _ in arms
)
for result in results.values():
    history = result.history
    recomputed = combined(history.validation_recon, history.validation_risk)
    if history is not results[main, "random encoder"].history:
        assert np.allclose(history.validation_total, recomputed, atol=1e-4), (
            "L is not what the text says"
        )

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Change it
#
# Any function of scores, events and times is a risk loss. This one asks of every pair only that the patient with the
# earlier event has the higher score.


# %% tags=["nbval-ignore-output"]
def ranking_loss(log_risk, event, time):
    first = event[:, None].bool() & (
        time[:, None] < time
    )  # i's event, j still followed
    return F.softplus(log_risk - log_risk[:, None])[first].mean()


mine = assemble(follow_up[follow_up.cohort == main].reset_index(drop=True))
settings = FinetuneConfig(loss=ranking_loss, epochs=1, batch_size=batch_size)
start, folder = starts["fine-tuned"][0], chapter.scratch("risk/checkpoints/mine")
tried = finetune(start, mine, settings, folder)
assert np.isfinite(tried.history.validation_total).all()

# %% [markdown]
# ## Summary
#
# - One loss, two terms, and a name for what each weight weighs.
# - Every arm, the controls too, went through the same code with the same patients.
# - Validation chose; test has not been seen yet.
#
# Next: {doc}`10_evaluation`.
