"""Sum up a table of translations: coverage, the to-do list, word counts, a sheet for a human reader."""

from collections import Counter

import numpy as np
import pandas as pd

from ecgrepro.translation.boilerplate import split_boilerplate
from ecgrepro.translation.glossary import NEUTRAL
from ecgrepro.translation.normalize import repair, tokenize


def coverage_table(table: pd.DataFrame) -> pd.DataFrame:
    """Sum up a table of `translate_reports` by language.

    Returns
    -------
    pandas.DataFrame
        By language: `reports`, `words`, `word_coverage` (share of words known) and `fully_covered` (share of reports).
    """
    filled = table[table["language"] != "empty"]
    known = (filled["coverage"] * filled["words"]).fillna(0.0)
    grouped = filled.assign(known=known, full=filled["unmatched"].eq("")).groupby(
        "language", sort=True
    )
    summary = grouped.agg(
        reports=("words", "size"),
        words=("words", "sum"),
        known=("known", "sum"),
        full=("full", "mean"),
    )
    summary["word_coverage"] = summary["known"] / summary["words"].where(summary["words"] > 0)
    return summary.rename(columns={"full": "fully_covered"})[
        ["reports", "words", "word_coverage", "fully_covered"]
    ]


def unmatched_words(table: pd.DataFrame, reports: pd.Series) -> pd.DataFrame:
    """List the words that no glossary knows, most frequent first: the contributor's to-do list.

    Returns
    -------
    pandas.DataFrame
        By word: `reports` (how many have it), `language` and an `example` report.
    """
    counts: Counter[str] = Counter()
    example: dict[str, tuple[str, str]] = {}
    rows = table.loc[table["unmatched"] != "", ["unmatched", "language"]]
    for position, (unmatched, language) in zip(
        (table["unmatched"] != "").to_numpy().nonzero()[0],
        rows.itertuples(index=False),
        strict=True,
    ):
        for word in set(unmatched.split()):
            counts[word] += 1
            example.setdefault(word, (language, str(reports.iloc[position])))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return pd.DataFrame(
        {
            "reports": pd.array([counts[word] for word in ranked], dtype="int64"),
            "language": [example[word][0] for word in ranked],
            "example": [example[word][1] for word in ranked],
        },
        index=pd.Index(ranked, name="word", dtype="str"),
    )


def count_words(reports: pd.Series) -> pd.Series:
    """Count the words of reports, boilerplate left out.

    Returns
    -------
    pandas.Series
        Occurrences by word, most frequent first; leads and units are not words here.
    """
    counts: Counter[str] = Counter()
    for report, times in reports.dropna().value_counts().items():
        body = split_boilerplate(repair(str(report))).body.lower()
        for token in tokenize(body):
            if token.words and token.key not in NEUTRAL:
                counts[token.text] += int(times)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return pd.Series(
        [times for _, times in ranked],
        index=pd.Index([word for word, _ in ranked], name="word", dtype="str"),
        dtype="int64",
    )


def review_sheet(
    reports: pd.Series, table: pd.DataFrame, n: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Draw reports for a human reader, evenly over language, completeness, doubt and length.

    Returns
    -------
    pandas.DataFrame
        At most `n` different translated reports with the columns `language`, `report`, `report_en`, `unmatched`, and
        the empty columns `correct`, `error` and `comment` for the reader; English is left out, as nobody translated it.
    """
    foreign = table[~table["language"].isin(["english", "empty", "other"])]
    foreign = foreign[~reports.loc[foreign.index].duplicated()]
    strata = pd.DataFrame(
        {
            "language": foreign["language"],
            "complete": foreign["unmatched"] == "",
            "doubt": foreign["report_en"].str.contains(r"possibl|probabl|suspect|cannot|consider"),
            "long": foreign["words"] > foreign["words"].median(),
        }
    )
    order = np.random.default_rng(seed).permutation(len(foreign))
    shuffled = strata.iloc[order]
    # the k-th of every stratum before the (k+1)-th of any
    turn = shuffled.groupby(list(strata.columns)).cumcount()
    chosen = turn.sort_values(kind="stable").index[:n]
    sheet = foreign.loc[chosen, ["language", "report_en", "unmatched"]]
    sheet.insert(1, "report", reports.loc[chosen])
    return sheet.assign(correct="", error="", comment="").sort_index()
