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
# # 4 · Text embeddings
#
# A language model turns each statement into a vector; a report is the weighted mean of its statements.
# *Do these vectors know more than the spelling of the words, and how few passes through the model are enough?*
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | token vectors and attention mask | a mean over padding is a mean over nothing | [below](masked-mean) |
# | Bio_ClinicalBERT | the study's language model, trained on clinical notes | {cite}`alsentzer2019` |
# | cosine similarity | how alike two vectors point, from −1 to 1 | {doc}`glossary </book/glossary>` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
text_source = "statements"  # to align with: "statements", "report_en", "both"
text_model = "lexical"  # hub id, folder, or "lexical" (no download, spelling only)
zero_confidence = "keep"  # confidence 0: "keep" as certain, "drop" as the study

# %%
import numpy as np
import pandas as pd

from ecgrepro import ROOT, plots, runs
from ecgrepro.files import atomic_path, read_json, write_json
from ecgrepro.data import open_packed, open_release
from ecgrepro.provenance import summarise
from ecgrepro.text.reports import statement_texts
from ecgrepro.text import (
    TransformerModel,
    describe_model,
    embed_statements,
    load_text_model,
    statement_weights,
    text_ids,
)

chapter = runs.start("04_text_embeddings", globals())
plots.apply()
source = chapter.source
print(source)

# %%
release = open_release(ROOT / read_json(chapter.read("release"))["path"])
packed = open_packed(chapter.read("packed").parent)
reports = pd.read_csv(chapter.read("reports"), index_col="ecg_id").report
index, statements = release.index.loc[reports.index], release.statements
model = load_text_model(text_model)
print(f"{len(reports):,} reports")
made_by = describe_model(model)
print(f"text model: {made_by['name']}, {made_by['description']}")

# %% [markdown]
# (masked-mean)=
# ## Each statement once
#
# 71 statements exist, so the model reads at most 71 texts, whatever the number of records.
# Token vectors are averaged under the attention mask: the study averages over 100 positions of which most are
# padding, which pulls short statements together.

# %%
texts = statement_texts(statements)
vectors = embed_statements(list(texts), model, cache=chapter.scratch("text/cache"))
print(f"{len(texts)} statements -> {vectors.shape}")
texts.head(4).to_frame("what the model reads")

# %% [markdown]
# The mean in a cell: 100 positions, of which seven hold tokens (any vectors will do) and the rest is padding. What
# stands on the padding changes nothing.


# %%
def masked_mean(tokens, mask):
    """Mean of token vectors (texts, length, D) where the mask (texts, length) is 1."""
    return (tokens * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]


padding = np.full((93, vectors.shape[1]), 7.0)
tokens, mask = np.vstack([vectors[:7], padding]), np.arange(100) < 7
mean = masked_mean(tokens[None], mask[None])
assert np.allclose(mean, vectors[:7].mean(axis=0), atol=1e-6)

# %% [markdown]
# With a transformer, the same mean of the vectors that Hugging Face's own classes give for all statements at once:

# %%
if isinstance(model, TransformerModel):
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    batch = tokenizer(list(texts), padding=True, return_tensors="pt")
    network = AutoModel.from_pretrained(model.folder)
    tokens = network(**batch).last_hidden_state.detach().numpy()
    mean = masked_mean(tokens, batch["attention_mask"].numpy())
    assert np.allclose(mean, vectors, atol=1e-5)

# %% [markdown]
# A text model is a function: texts in, one vector a text out. Yours can stand in its place; write it above, and
# `model = initials` in place of `load_text_model(text_model)`.


# %%
def initials(texts):
    """How often each letter begins a word: a text model of one's own."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    starts = [[word[0] for word in text.lower().split()] for text in texts]
    return np.array([[row.count(letter) for letter in letters] for row in starts])


assert embed_statements(list(texts), initials).shape == (len(texts), 26)

# %% [markdown]
# ## What the vectors know
#
# If a model understands statements, those of one superclass should point the same way.
# The heat map shows all pairs of diagnostic statements, gathered by superclass.

# %%
diagnostic = statements.diagnostic_class.dropna().sort_values()
positions = statements.index.get_indexer(diagnostic.index)
unit = vectors[positions] / np.linalg.norm(
    vectors[positions], axis=1, keepdims=True
)
cosine = unit @ unit.T
plots.plot_similarity(
    cosine,
    f"Statement vectors of {made_by['name']}",
    groups=list(diagnostic),
    title="Cosine similarity of diagnostic statements",
    note=f"{len(diagnostic)} statements",
)

# %%
same = diagnostic.to_numpy()[:, None] == diagnostic.to_numpy()[None, :]
other_pairs = ~np.eye(len(diagnostic), dtype=bool)
within, between = cosine[same & other_pairs].mean(), cosine[~same].mean()
print(
    f"mean cosine within a superclass {within:.2f}, between superclasses {between:.2f}"
)

# %% [markdown]
# Single pairs tell more.
# Left and right bundle branch block differ by one word and by everything a cardiologist cares about: a model
# that puts them close has read the words, not the heart.

# %%
where = {
    code: statements.index.get_loc(code)
    for code in ("IMI", "AMI", "CLBBB", "CRBBB", "NORM", "AFIB")
}
for one, other in [
    ("IMI", "AMI"),
    ("CLBBB", "CRBBB"),
    ("IMI", "NORM"),
    ("AFIB", "NORM"),
]:
    a, b = vectors[where[one]], vectors[where[other]]
    print(
        f"{one:>5} and {other:<5} {a @ b / np.linalg.norm(a) / np.linalg.norm(b):5.2f}"
    )

# %% [markdown]
# ## From statements to reports
#
# With $W$ the weights (records × statements, sparse) and $E$ the statement vectors, all report vectors are one
# product, $Z_\text{text} = W E$.
# A record without any known code has no text; it is left out here, together with its ECG.

# %%
weights = statement_weights(index, statements, zero_confidence)
has_text = weights.getnnz(axis=1) > 0
weights, ecg_ids = weights[has_text], index.index.to_numpy()[has_text]
z_statements = np.float32(weights @ vectors)
statement_ids = text_ids(weights)
filled = weights.nnz / np.prod(weights.shape)
print(f"W {weights.shape}, {filled:.1%} non-zero; Z_text {z_statements.shape}")
print(f"{(~has_text).sum()} records without text")

# %% [markdown]
# ## Or what was written at the time
#
# The free-text report, in English since {doc}`03_translation`, is a second text for the same ECG. It is embedded as a
# whole, each distinct wording once. *Both* is the mean of the two unit vectors.

# %%
written = pd.read_csv(
    chapter.read("reports_en"), index_col="ecg_id"
).report_en.fillna("")
written = written.loc[ecg_ids]
z_report = embed_statements(
    list(written), model, cache=chapter.scratch("text/cache")
)
report_ids = pd.factorize(written)[0]
unit_vectors = [
    z / np.linalg.norm(z, axis=1, keepdims=True).clip(1e-9)
    for z in (z_statements, z_report)
]
sources = {
    "statements": (z_statements, statement_ids),
    "report_en": (z_report, report_ids),
    "both": (
        np.mean(unit_vectors, axis=0, dtype=np.float32),
        pd.factorize(pd.Series(list(zip(statement_ids, report_ids, strict=True))))[
            0
        ],
    ),
}
z_text, ids = sources[text_source]
shares = {
    name: np.bincount(numbers) / len(numbers)
    for name, (_, numbers) in sources.items()
}
pd.DataFrame(
    {
        "distinct texts": {name: len(share) for name, share in shares.items()},
        "commonest text": {
            name: round(share.max(), 3) for name, share in shares.items()
        },
        "effective number": {
            name: round(1 / (share**2).sum(), 1) for name, share in shares.items()
        },
    }
)

# %%
print(f"this run aligns ECGs with: {text_source}")

# %% [markdown]
# The record with the most different confidences shows how they become weights under the two policies.

# %%
richest = index.scp_codes.map(lambda codes: len(set(codes.values()))).idxmax()
codes = index.scp_codes[richest]
policies = {
    policy: statement_weights(index.loc[[richest]], statements, policy).toarray()[0]
    for policy in ("keep", "drop")
}
shown = pd.DataFrame(policies, index=statements.index).loc[list(codes)]
shown.insert(0, "confidence", list(codes.values()))
shown.rename_axis(f"ecg_id {richest}").round(2)

# %%
arrays = {
    chapter.write("statement_vectors"): vectors,
    chapter.write("z_text"): z_text,
    chapter.write("text_ids"): ids,
    chapter.write("ecg_ids"): ecg_ids,
    chapter.write("z_report"): z_report,
    chapter.write("report_ids"): report_ids,
}
for path, array in arrays.items():
    with atomic_path(path) as temporary:
        np.save(temporary, array)
made_with = {
    "model": made_by,
    "zero_confidence": zero_confidence,
    "source": text_source,
}
write_json(chapter.write("text_model"), made_with)

# %% [markdown]
# ## Checks

# %%
assert z_text.shape == (len(ecg_ids), vectors.shape[1])
assert np.isfinite(z_text).all()
first = weights[0].toarray()[0] @ vectors
assert np.allclose(z_statements[0], first, atol=1e-5), (
    "a report is not its statements"
)
single = weights.getnnz(axis=1) == 1
assert np.allclose(
    z_statements[single], vectors[weights[single].indices], atol=1e-6
), "a report of one statement is not that statement"
assert all(
    np.ptp(z_text[ids == number], axis=0).max() < 1e-5
    for number in range(min(ids.max() + 1, 50))
)
assert set(ecg_ids) <= set(packed.ecg_ids.tolist())

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Statements need 71 passes at most; the rest is one sparse product, so no accelerator is needed.
# - The stand-in `lexical` reads spelling; swap it with `make book TEXT_MODEL=emilyalsentzer/Bio_ClinicalBERT`.
# - Records with the same statements have the same vector, and no alignment can tell them apart by it.
#
# Next: {doc}`05_encoders`, the other side of the bridge.
