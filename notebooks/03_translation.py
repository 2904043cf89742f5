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
# # 3 · Reports in three languages
#
# *lagetyp normal, sonst normales ekg*: two thirds of the reports beside PTB-XL's ECGs are German, the rest English
# and some Swedish, all in the clipped style of an ECG machine or of a physician with thirty more to read.
# *Can they be put into English without losing a negation, a doubt or a lead?*
#
# | What you need to know | Why | Where to read |
# |---|---|---|
# | free-text report | what was written about the ECG at the time | {doc}`01_data` |
# | structured report | the later coding, in English by construction | {doc}`02_structured_reports` |
# | glossary | a table of phrases that you can read and correct | `ecgrepro/text/translation/german.csv` |

# %% tags=["parameters"]
run = "demo"  # run folder: runs/<run>
examples = 6  # reports shown in full
review = 200  # reports laid out for a human reader
seed = 0  # of the draw of the reports to review
text_backend = ""  # hub id or folder of a translator for what the glossary leaves

# %%
import pandas as pd
from IPython.display import display

from ecgrepro import ROOT, plots, runs
from ecgrepro.files import atomic_path, read_json
from ecgrepro.data import open_packed, open_release
from ecgrepro.plots import plot_agreement, plot_vocabulary
from ecgrepro.provenance import summarise
from ecgrepro.text.translation import (
    LANGUAGES,
    broken_promises,
    count_words,
    coverage_table,
    load_backend,
    load_glossary,
    review_sheet,
    scp_agreement,
    split_boilerplate,
    translate_reports,
    unmatched_words,
    validate_packaged,
)

chapter = runs.start("03_translation", globals())
plots.apply()
pd.set_option("display.max_colwidth", 110)
source = chapter.source
print(source)

# %%
release = open_release(ROOT / read_json(chapter.read("release"))["path"])
packed = open_packed(chapter.read("packed").parent)
index = release.index.loc[packed.ecg_ids]
backend = load_backend(text_backend) if text_backend else None
table = translate_reports(index.report, backend=backend)
print(f"{len(table):,} reports, {index.report.nunique():,} of them different")

# %% [markdown]
# ## What it looks like
#
# German on the left, English on the right. Findings follow one another without punctuation in the original; the
# glossary knows where one ends, and puts a full stop there.

# %%
shown = table[table.language.isin(LANGUAGES)].drop_duplicates("report_en")
longest = shown.sort_values("words", ascending=False, kind="stable").head(examples)
pd.DataFrame(
    {"report": index.report[longest.index], "report_en": longest.report_en}
)

# %% [markdown]
# ## A closed little language
#
# A language model needs billions of words because language is open. A report is not: a few hundred words make
# nearly all of it, so a table that a cardiologist can read in an evening is a complete answer.

# %%
words = {
    name: count_words(index.report[table.language == name])
    for name in (*LANGUAGES, "english")
}
words = {name: counts for name, counts in words.items() if len(counts)}
plot_vocabulary(
    {name: counts.to_numpy() for name, counts in words.items()},
    source,
    title="A few hundred words make nearly every report",
    note="words of each language, boilerplate left out",
)

# %%
commonest = {
    name: counts.head(12).index.to_list() for name, counts in words.items()
}
pd.DataFrame({name: pd.Series(rows) for name, rows in commonest.items()}).fillna("")

# %% [markdown]
# The glossary, by the part of the report a phrase belongs to. A row such as *`<location> infarkt möglich` →
# possible `<location>` infarction* stands for every wall of the heart, and `inferior~` for every German ending.

# %%
entries = {name: load_glossary(name).entries for name in LANGUAGES}
parts = {
    name: pd.Series([entry.part for entry in rows]).value_counts()
    for name, rows in entries.items()
}
display(pd.DataFrame(parts).fillna(0).astype(int).rename_axis("part"))
print(f"problems found by the validator: {len(validate_packaged())}")

# %% [markdown]
# ## How much is covered
#
# A word is covered when the glossary knew it, alone or in a phrase; a report, when all its words were. What is not
# covered is left as it stands and listed, never guessed. For reports of other hospitals the parameter `text_backend`
# names a neural translator, such as `Helsinki-NLP/opus-mt-de-en`, that is asked for the rest and believed only
# where it keeps every promise below.

# %%
coverage = coverage_table(table)
coverage.round(4)

# %% [markdown]
# The most frequent words that no glossary knows are the to-do list of whoever wants to help. English words
# are in it only where they are misspelt or cut off, for English is never changed.

# %%
todo = unmatched_words(table, index.report)
with atomic_path(chapter.write("translation_todo")) as temporary:
    todo.to_csv(temporary)
todo.head(8)

# %% [markdown]
# ## What must never be lost
#
# A translation that drops a *not* is worse than none. Every report is checked: each number, unit and lead of
# the original stands in the translation; so do left and right, each negation (*kein, ohne, nicht; ej, inga*) and each
# doubt (*v.a., möglich, wahrscheinlich, nicht auszuschliessen; misstänkt, bör övervägas*).

# %%
broken = {
    ecg_id: lost
    for ecg_id, report in index.report.drop_duplicates().items()
    if (
        lost := broken_promises(
            split_boilerplate(report).body, table.report_en[ecg_id]
        )
    )
}
again = translate_reports(table.report_en)
print(f"reports with something lost: {len(broken)}")
print(
    f"translations that a second run would change: {(again.report_en != table.report_en).sum()}"
)

# %% [markdown]
# ## What the machine printed around it
#
# Three things in the report column are no report: the machine's *unbestätigter bericht* (unconfirmed report), the label
# table of a consensus, and what a reader added after *Edit:*. The last one holds codes, that is, the very
# label that is to be learnt; they become columns of their own, and no text encoder sees them.

# %%
fields = {
    "unconfirmed by a physician": table.unconfirmed,
    "edited later": table.edit != "",
    "consensus label": table.consensus != "",
}
pd.DataFrame(
    {"reports": {name: int(column.sum()) for name, column in fields.items()}}
)

# %% [markdown]
# ## Do the texts say what the codes say?
#
# Codes and texts were not written together: readers revised the codes and left the texts. So neither can
# contain all of the other. But if translation lost findings, German would agree with its codes less often than English,
# which was never translated.

# %%
agreement = {
    name: scp_agreement(table.report_en[rows], index.scp_codes[rows])
    for name in ("german", "english")
    if (rows := table.language == name).sum() > 50
}
plot_agreement(
    agreement,
    source,
    title="How often a text mentions its codes",
    note="codes of at least 10 records in a language; number of records in brackets",
)

# %%
tables = list(agreement.values())
common = tables[0].index.intersection(tables[-1].index)
recall = {name: rows.loc[common, "recall"] for name, rows in agreement.items()}
weights = sum(rows.loc[common, "records"] for rows in agreement.values())
for name, values in recall.items():
    print(
        f"{name}: {(values * weights).sum() / weights.sum():.0%} of codes are mentioned, {len(common)} codes"
    )

# %% [markdown]
# ## The hardest cases
#
# Reports with the lowest coverage, and words whose spelling was repaired (a letter off, or cut off at
# the machine's 255 characters). Repairs are recorded, so that a reader can disagree.

# %%
foreign = table[table.language != "english"]
hardest = (
    foreign[foreign.coverage < 1]
    .sort_values("coverage", kind="stable")
    .head(examples)
)
display(hardest[["report_en", "unmatched", "coverage"]].round(2))
repaired = (
    table.repaired[table.repaired != ""].str.split("; ").explode().value_counts()
)
print(f"{len(repaired)} spellings repaired, e.g. {', '.join(repaired.index[:5])}")

# %% [markdown]
# ## For a second reader
#
# A machine cannot vouch for itself. This sheet draws reports by language, certain and doubtful, short and long, and
# leaves three columns for a cardiologist: correct, what is wrong, comment.

# %%
sheet = review_sheet(index.report, table, n=review, seed=seed)
with atomic_path(chapter.write("translation_review")) as temporary:
    sheet.to_csv(temporary)
with atomic_path(chapter.write("reports_en")) as temporary:
    table.to_csv(temporary)
print(f"{len(sheet)} reports to review: {sheet.language.value_counts().to_dict()}")

# %% [markdown]
# ## Checks

# %%
assert broken == {}, "a number, lead, side, negation or doubt was lost"
assert (again.report_en == table.report_en).all(), (
    "a second run changes a translation"
)
english = table.index[table.language == "english"]
bodies = index.report[english].map(
    lambda report: " ".join(split_boilerplate(report).body.split())
)
assert (bodies == table.report_en[english]).all(), "English was changed"
assert coverage.loc["german", "word_coverage"] > 0.99
assert coverage.loc["german", "fully_covered"] > 0.97
assert coverage.word_coverage.drop(["mixed", "other"], errors="ignore").min() > 0.95
assert validate_packaged() == []

# %% [markdown]
# ## Provenance

# %%
print(summarise(chapter.finish()))

# %% [markdown]
# ## Summary
#
# - A glossary of phrases covers nearly every word of the German and Swedish reports, in milliseconds and without a network.
# - Numbers, leads, sides, negation and doubt are checked in every single report; none is lost.
# - The report itself is never overwritten; what was left untranslated is listed for the next contributor.
#
# Next: {doc}`04_text_embeddings`, where statements, and now reports too, become vectors.
