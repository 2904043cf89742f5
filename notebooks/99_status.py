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
# # Status of this copy
#
# *When was each page computed, from which code and with which versions, and how long did it take?*
# Every chapter leaves a provenance record in the run folder; this page reads them all.
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | run folder | each chapter's files and records lie there | {doc}`outputs </book/outputs>` |
# | provenance | tells whether two numbers may be compared | [below](one-code-one-data) |
# | trial | a chapter rerun with other parameters; it never reaches this page | {doc}`how to run </book/how_to_run>` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>

# %%
import pandas as pd

from ecgrepro import runs
from ecgrepro.files import read_json
from ecgrepro.provenance import summarise

chapter = runs.start("99_status", globals())
print(chapter.source)
last_made = [
    chapter.read("encoders"),
    chapter.read("probes"),
    chapter.read("evaluation"),
    chapter.read("published"),
    chapter.read("protocol_summary"),
]
print(f"all chapters have run: {all(path.is_file() for path in last_made)}")

# %% [markdown]
# ## Chapters

# %% tags=["nbval-ignore-output"]
others = [name for name in runs.CHAPTERS if name != chapter.chapter]
records = [
    read_json(chapter.folder / "provenance" / f"{name}.json") for name in others
]
table = pd.DataFrame(
    {
        "chapter": [record["chapter"] for record in records],
        "seconds": [record["seconds"] for record in records],
        "code": [record["environment"]["commit"][:8] for record in records],
        "as committed": [
            not record["environment"]["uncommitted_changes"] for record in records
        ],
        "files written": [len(record["outputs"]) for record in records],
    }
).set_index("chapter")
print(f"all chapters together: {table.seconds.sum() / 60:.1f} minutes")
table

# %% [markdown]
# ## Machine and versions

# %% tags=["nbval-ignore-output"]
environment = records[-1]["environment"]
versions = {"python": environment["python"], **environment["packages"]}
print(f"{environment['machine']}, {environment['device']}")
pd.Series(versions, name="version").to_frame()

# %% [markdown]
# (one-code-one-data)=
# ## One chain of data
#
# A chapter records the SHA-256 of what it read; the chapter that made the file recorded it too.
# If both agree for every file, all pages of this copy belong together.

# %%
made = {
    name: entry["sha256"]
    for record in records
    for name, entry in record["outputs"].items()
}
read = [
    (r["chapter"], name, e["sha256"])
    for r in records
    for name, e in r["inputs"].items()
]
broken = [
    f"{reader} read another {name}"
    for reader, name, digest in read
    if made[name] != digest
]
print(
    f"{len(made)} files written, {len(read)} hand-overs between chapters, {len(broken)} broken"
)

# %% [markdown]
# ## Checks

# %%
assert not broken, broken
assert set(made) == {
    a.name for a in runs.ARTEFACTS.values() if a.chapter != chapter.chapter
}

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - Every number of this copy comes from the code and versions named above.
# - The hand-overs between chapters are verified by hash.
# - Rerun any page: {doc}`how to run </book/how_to_run>`.
