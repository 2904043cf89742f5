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
# # 5 · Encoders
#
# An encoder maps twelve leads of 1,024 samples to 512 numbers.
# *When a figure says that the network looks at lead V2, is it really lead V2?*
# The study's attention has one stream for each lead on paper, but its code mixes the leads before the streams
# begin. This chapter shows it with derivatives, and builds the network so that the drawing is true.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | convolution, residual block | both encoders are made of them | {cite}`chen2025` |
# | attention | weights that say which token reads from which | {doc}`glossary </book/glossary>` |
# | Jacobian | the derivative of each output with respect to each input | [below](is-lead-v2-lead-v2) |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
batch = 8  # records that are passed through the networks
seed = 0  # of the weights

# %%
import time

import numpy as np
import pandas as pd
from IPython.display import display
import torch
from torch.nn import functional as F

from ecgrepro import plots, runs
from ecgrepro.data import open_packed, signals
from ecgrepro.files import atomic_path
from ecgrepro.models import (
    DualAttentionEncoder,
    build_alignment_model,
    build_decoder,
)
from ecgrepro.provenance import summarise

chapter = runs.start("05_encoders", globals())
plots.apply()
source = chapter.source
print(source)

# %%
packed = open_packed(chapter.read("packed").parent)
inputs, scale = signals.prepare(packed.signals[:batch], rate=packed.rate)
x = torch.from_numpy(inputs)
print(f"input {tuple(x.shape)}: records x leads x samples")

# %% [markdown]
# ## Two encoders, one latent
#
# The residual CNN is small and fast; the dual attention network follows the study: a stem, five residual
# blocks, attention over time within each lead, attention over leads, pooled to 512.
# Both are trained together with a decoder that has to give the ECG back.

# %%
models = {
    kind: build_alignment_model(kind, seed=seed).eval()
    for kind in ("cnn", "dual_attention")
}
sizes = pd.DataFrame(
    {
        kind: {
            "encoder": sum(p.numel() for p in model.encoder.parameters()),
            "decoder": sum(p.numel() for p in model.decoder.parameters()),
            "projection heads": sum(
                p.numel()
                for head in (model.ecg_head, model.text_head)
                for p in head.parameters()
            ),
        }
        for kind, model in models.items()
    }
).T.rename_axis("encoder kind")
sizes

# %%
plots.plot_encoder()

# %%
with torch.inference_mode():
    latents = {kind: model.encoder(x) for kind, model in models.items()}
    back = {kind: model.decoder(latents[kind]) for kind, model in models.items()}
for kind in models:
    print(
        f"{kind:>14}: {tuple(x.shape)} -> {tuple(latents[kind].shape)} -> {tuple(back[kind].shape)}"
    )

# %% [markdown]
# The published decoder is kept as a choice. It ends in a normalisation that forces every reconstructed lead to
# mean 0 and variance 1, so amplitude and offset cannot be reproduced by construction.

# %%
with torch.inference_mode():
    forced = build_decoder("study").eval()(latents["cnn"])
print(
    f"study decoder: SD of each lead between {forced.std(-1).min():.2f} and {forced.std(-1).max():.2f}"
)

# %% [markdown]
# (is-lead-v2-lead-v2)=
# ## Is lead V2 lead V2?
#
# For each of the twelve streams we ask how much of its derivative comes from each input lead.
# In the published stem a stream reads from all leads almost evenly; in the lead-true stem from its own lead
# and, exactly, from no other.


# %%
def lead_shares(encoder: DualAttentionEncoder, record: torch.Tensor) -> np.ndarray:
    """Share of each input lead in the squared derivative of each stream, (12 streams, 12 leads)."""
    probe = torch.randn(
        encoder.lead_features(record).shape[2:],
        generator=torch.Generator().manual_seed(0),
    )
    rows = []
    for stream in range(12):
        leaf = record.clone().requires_grad_()
        (encoder.lead_features(leaf)[:, stream] * probe).sum().backward()
        rows.append(leaf.grad.square().sum(dim=(0, 2)).numpy())
    energy = np.stack(rows)
    return energy / energy.sum(axis=1, keepdims=True)


with torch.random.fork_rng():
    torch.manual_seed(seed)
    published = DualAttentionEncoder(stem="mixing").eval()
shares = {
    "published": lead_shares(published, x[:4]),
    "lead-true": lead_shares(models["dual_attention"].encoder, x[:4]),
}
own = {name: np.diag(matrix) for name, matrix in shares.items()}
for name, diagonal in own.items():
    print(
        f"{name:>10}: a stream's own lead holds {diagonal.min():.3f} to {diagonal.max():.3f} of its derivative"
    )
print(f"chance: {1 / 12:.3f}")

# %%
for name, matrix in shares.items():
    figure = plots.plot_similarity(
        matrix,
        source,
        names=list(signals.LEADS),
        label="Share of the derivative (no unit)",
        limits=(0, 1),
        title=f"{name}: stream (row) and the lead it reads (column)",
        note=f"{min(4, batch)} records, untrained weights",
    )
    display(figure)

# %% [markdown]
# ## Attention maps
#
# `return_attention=True` also returns the maps: one of 12 × 12 over leads, and for each lead one over 32 time
# tokens. Rows sum to 1. If lead V2 alone changes, only the temporal map of V2 changes.

# %%
encoder = models["dual_attention"].encoder
changed = x.clone()
changed[:, signals.LEADS.index("V2")] = changed[:, signals.LEADS.index("V2")].flip(
    -1
)
with torch.inference_mode():
    _, maps = encoder(x, return_attention=True)
    _, other = encoder(changed, return_attention=True)
moved = (maps.temporal - other.temporal).abs().amax(dim=(0, 2, 3))
print(
    f"lead map {tuple(maps.lead.shape)}, temporal maps {tuple(maps.temporal.shape)}"
)
print(
    "temporal maps that moved:",
    [lead for lead, size in zip(signals.LEADS, moved, strict=True) if size > 0],
)

# %% [markdown]
# Attention is a weighted mean: each lead asks with a query $q$, every lead answers with a key $k$ and a value $v$, and
# $\mathrm{softmax}(QK^\top/\sqrt d)\,V$ is what the asking lead reads. Here it is, from the network's own weights.

# %%
layer = encoder.cross_lead
with torch.inference_mode():
    leads = (
        encoder.lead_features(x).transpose(2, 3).flatten(2)
    )  # (B, 12 tokens, 512)
    tokens = (leads + encoder.lead_positions)[None]
    qkv = layer.qkv(layer.norm_attention(tokens))[0].chunk(3, dim=-1)
    q, k, v = (
        part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in qkv
    )
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)  # (B, heads, 12, 12)
    read = weights @ v
difference = float((weights.mean(dim=1) - maps.lead).abs().max())
print(
    f"{layer.heads} heads, d = {q.shape[-1]}; the network's own map: {difference < 1e-5}"
)

# %%
plots.plot_lead_attention(
    {f"mean of {len(x)} records": maps.lead.mean(0).numpy()},
    source,
    title="Which lead reads from which",
    note="untrained weights: near uniform, as it should be",
)

# %%
received = maps.temporal[0].mean(dim=1).numpy()  # by each token, from all
edges = 10 * (
    np.arange(33) * 32 - 12
)  # ms from the begin of the recording: 12 samples of padding
windows = np.column_stack([edges[:-1], edges[1:]])
millivolts = signals.to_millivolts(packed.signals[0])
plots.plot_temporal_attention(
    signals.resample(millivolts, packed.rate, 100),
    received,
    windows,
    100,
    source,
    receptive_field=3.81,
    title="Which part of each lead is read: one record, untrained weights",
)

# %% [markdown]
# ## A patient's output must not depend on the others
#
# Earlier code gave attention the batch as its sequence, so a patient's output changed with the company.
# Here each record is passed alone and together with the rest.

# %%
company = {}
for kind, model in models.items():
    with torch.inference_mode():
        alone = torch.cat([model.encoder(record[None]) for record in x])
    company[kind] = float((alone - latents[kind]).abs().max())
    print(f"{kind:>14}: alone and in company agree to 1e-4: {company[kind] < 1e-4}")

# %% [markdown]
# ## Speed on this machine


# %% tags=["nbval-ignore-output"]
def milliseconds(model: torch.nn.Module, repeats: int = 3) -> float:
    """Best time of a training step (forward and backward) for a batch of 64, in ms."""
    signal, text = x[:1].expand(64, -1, -1).clone(), torch.zeros(64, 768)
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        out = model(signal, text)
        (out.reconstruction.square().mean() + out.e_ecg.mean()).backward()
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


for kind in models:
    best = milliseconds(build_alignment_model(kind, seed=seed))
    print(
        f"{kind:>14}: {best:6.0f} ms a batch of 64, {64_000 / best:6.0f} records/s"
    )

# %%
with atomic_path(chapter.write("encoders")) as temporary:
    sizes.to_csv(temporary)

# %% [markdown]
# ## Checks

# %%
assert all(latent.shape == (len(x), 512) for latent in latents.values())
assert all(decoded.shape == x.shape for decoded in back.values())
assert (shares["lead-true"][~np.eye(12, dtype=bool)] == 0).all(), (
    "a stream reads another lead"
)
assert own["published"].max() < 0.5, "the published stem should mix"
assert torch.allclose(maps.lead.sum(-1), torch.ones(()), atol=1e-5)
assert [
    lead for lead, size in zip(signals.LEADS, moved, strict=True) if size > 0
] == ["V2"]
assert max(company.values()) < 1e-4
assert best > 0, "no time was measured"
assert difference < 1e-5
with torch.inference_mode():
    mid = tokens + layer.out(read.transpose(1, 2).flatten(2)[None])
    end = mid + layer.reduce(F.gelu(layer.expand(layer.norm_mlp(mid))))
    expected, _ = layer(leads[None], encoder.lead_positions)
assert torch.allclose(end, expected, atol=1e-4)

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Change it
#
# An encoder of your own is a class that is passed in; the rest of the model is built around it. This one is the
# dual attention network with lead II alone.


# %%
class OnlyLeadII(DualAttentionEncoder):
    def encode(self, x):
        return super().encode(x * (torch.arange(12) == 1)[:, None])


one_lead = build_alignment_model(OnlyLeadII, seed=seed).eval()
same = torch.equal(one_lead.encoder(x), one_lead.encoder(changed))
print(f"latent {tuple(one_lead.encoder(x).shape)}; it does not hang on V2: {same}")

# %% [markdown]
# ## Summary
#
# - The published streams do not denote leads; ours do, exactly, by construction.
# - Every output depends on its own record alone.
# - An untrained encoder is not an empty one: it is the control that every result in
#   {doc}`07_representation` and {doc}`10_evaluation` has to beat.
#
# Next: {doc}`06_alignment`, where ECGs meet their reports.
