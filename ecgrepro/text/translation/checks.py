"""Check translations: what must never be lost, what is covered, what the codes say, and the glossary itself."""

import csv
import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.text.translation.glossary import (
    _SLOT,
    LANGUAGES,
    NEUTRAL,
    PARTS,
    Entry,
    compile_glossary,
    load_glossary,
    packaged,
    read_english_words,
)
from ecgrepro.text.translation.tokens import fold, repair, split_boilerplate, tokenize

# --- promises ---------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+")
_LEAD = re.compile(r"\b(?:av[rlf]|v[1-6]|iii|ii)\b")
_UNIT = re.compile(
    r"(?<![^\W\d_])(?:mv|mm|sek|sec|ms|min|hz|bpm|mg|ml|kg|cm|mmhg|watt)(?![^\W\d_])|%"
)

_NEGATION = re.compile(
    r"\b(?:kein\w*|ohne|nicht|fehl(?:end\w*|t|ed\w*)|ej|inte|inga|inget|ingen|utan|saknas|avsaknad)\b"
)
_NEGATION_EN = re.compile(
    r"\b(?:no|not|nothing|without|cannot|absent|absence|missing|never|none|nor)\b"
)

_DOUBT = re.compile(
    r"\bv\.\s?a\.|\bvd\.|\b(?:verdacht|moeglich\w*|mogl\w*|moegl\b|wahrscheinlich\w*|fraglich\w*|fragl|evt|eventuell\w*"
    r"|ehesten|nicht auszuschlie\w+|nicht ausgeschlossen|uteslutas|misstaenkt|misstanke|moejligen|moejlig\w*"
    r"|sannolik\w*|troligen|oevervaeg\w*)\b"
)
_DOUBT_EN = re.compile(
    r"\b(?:suspected|suspicion|possibl[ey]|probabl[ey]|likely|questionable|may|might|consider(?:ed)?"
    r"|cannot be excluded|not excluded|cannot rule out)\b"
)
_LEFT = re.compile(r"\b(?:links\w*|linke\w*|vaenster\w*)")
_LEFT_EN = re.compile(r"\bleft\w*")
_RIGHT = re.compile(r"\b(?:rechts\w*|rechte\w*|hoeger\w*)")
_RIGHT_EN = re.compile(r"\bright\w*")

_COUNTED = (
    ("negation", _NEGATION, _NEGATION_EN),
    ("doubt", _DOUBT, _DOUBT_EN),
    ("left", _LEFT, _LEFT_EN),
    ("right", _RIGHT, _RIGHT_EN),
)


def broken_promises(source: str, english: str) -> list[str]:
    """Compare a text with its translation and name what was lost.

    Parameters
    ----------
    source
        German, Swedish or English text, without boilerplate.
    english
        Its translation.

    Returns
    -------
    list of str
        One line for each loss; empty when every promise is kept. Words that were left untranslated count as kept.
        The lead I is not checked, for 'i' is also a word (Swedish 'in') and a degree ('av-block i').
    """
    before, after = fold_text(source), fold_text(english)
    broken = []
    for name, pattern in (("number", _NUMBER), ("lead", _LEAD), ("unit", _UNIT)):
        lost = Counter(pattern.findall(before)) - Counter(pattern.findall(after))
        broken += [f"{name} {found!r} is lost" for found in lost]
    for name, pattern, english_pattern in _COUNTED:
        found = pattern.findall(before)
        kept = len(english_pattern.findall(after)) + len(pattern.findall(after))
        if len(found) > kept:
            broken.append(f"{name} {found[0]!r} is lost ({len(found)} before, {kept} after)")
    return broken


def fold_text(text: str) -> str:
    """Fold a text for comparison: lower case, umlauts as two letters, single spaces."""
    return " ".join(fold(repair(text)).split())


# --- summaries --------------------------------------------------------------------------------------------------


def coverage_table(table: pd.DataFrame) -> pd.DataFrame:
    """Sum up a table of `translate_reports` by language.

    Returns
    -------
    pandas.DataFrame
        By language: `reports`, `words`, `word_coverage` (share of words known) and `fully_covered` (share of reports).
    """
    filled = table[table["language"] != "empty"]
    known = (filled["coverage"] * filled["words"]).fillna(0.0)
    grouped = filled.assign(known=known, full=filled["unmatched"] == "").groupby("language")
    sums = grouped[["words", "known"]].sum()
    return pd.DataFrame(
        {
            "reports": grouped.size(),
            "words": sums["words"],
            "word_coverage": sums["known"] / sums["words"].where(sums["words"] > 0),
            "fully_covered": grouped["full"].mean(),
        }
    )


def unmatched_words(table: pd.DataFrame, reports: pd.Series) -> pd.DataFrame:
    """List the words that no glossary knows, most frequent first: the contributor's to-do list.

    Returns
    -------
    pandas.DataFrame
        By word: `reports` (how many have it), `language` and an `example` report.
    """
    left = pd.DataFrame(
        {
            "word": [list(dict.fromkeys(words.split())) for words in table["unmatched"]],
            "language": table["language"].to_list(),
            "example": reports.astype(str).to_list(),
        }
    ).explode("word")
    listed = left.dropna(subset="word").groupby("word")  # in the order of the alphabet
    ranked = listed.agg(
        reports=("language", "size"), language=("language", "first"), example=("example", "first")
    )
    return ranked.sort_values("reports", ascending=False, kind="stable")


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
    ranked = pd.Series(counts, dtype="int64").rename_axis("word").sort_index()
    return ranked.sort_values(ascending=False, kind="stable")


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


# --- agreement with the codes -----------------------------------------------------------------------------------


def read_mentions() -> dict[str, re.Pattern[str]]:
    """Read how an English report mentions each SCP code (a regular expression a code)."""
    with packaged("scp_mentions").open(encoding="utf-8", newline="") as stream:
        return {row["code"]: re.compile(row["mentions"]) for row in csv.DictReader(stream)}


def mentions(texts: pd.Series) -> pd.DataFrame:
    """Tell which codes each English text mentions.

    Returns
    -------
    pandas.DataFrame
        Index of `texts`, a bool column a code. A doubtful mention ('possible ...') counts, for codes carry their doubt
        as a confidence.
    """
    distinct = texts.drop_duplicates()
    lower = distinct.str.lower()
    table = pd.DataFrame(
        {
            code: [pattern.search(text) is not None for text in lower]
            for code, pattern in read_mentions().items()
        },
        index=pd.Index(distinct, dtype="object"),
    )
    return table.loc[texts.tolist()].set_axis(texts.index)


def scp_agreement(texts: pd.Series, scp_codes: pd.Series, minimum: int = 10) -> pd.DataFrame:
    """Compare what texts mention with what their codes say.

    Parameters
    ----------
    texts
        English reports by ecg_id, e.g. `report_en` of one language.
    scp_codes
        Codes of the same records (a dict each).
    minimum
        Codes with fewer records are left out.

    Returns
    -------
    pandas.DataFrame
        By code: `records` (that have the code), `texts` (that mention it), `recall` (share of the former that mention
        it), `precision` (share of the latter that have it); most frequent codes first. Neither can be perfect: codes
        were revised by readers whose words do not stand in the report.
    """
    if not texts.index.equals(scp_codes.index):
        raise InputError(
            "Texts and codes are not of the same records: select both by the same ecg_ids."
        )
    said = mentions(texts)
    has = pd.DataFrame(
        {code: [code in codes for codes in scp_codes] for code in said.columns}, index=said.index
    )
    both = (said & has).sum()
    table = pd.DataFrame(
        {
            "records": has.sum(),
            "texts": said.sum(),
            "recall": both / has.sum(),
            "precision": both / said.sum(),
        }
    ).rename_axis("code")
    frequent = table[table["records"] >= minimum]
    return frequent.sort_values(["records", "texts"], ascending=False)


# --- the glossary itself ----------------------------------------------------------------------------------------


def validate_glossary(entries: list[Entry], language: str, english: frozenset[str]) -> list[str]:
    """Check a table as a reviewer would, and list what is wrong; an empty list is a clean table.

    Parts and slots are known, no source stands twice, slots agree on both sides, numbers and lead names of the source
    stand in the English, negation and doubt of the source survive, and the English side holds no word
    that is German or Swedish only (or a second run would translate it again).
    """
    problems: list[str] = []
    seen: dict[tuple[Any, ...], str] = {}
    source_words = compile_glossary(entries, language).words
    english_side = {key for entry in entries for key in _words_of(entry.english)}
    names = {word for entry in entries if entry.part == "name" for word in _words_of(entry.source)}
    for entry in entries:
        where = f"{entry.source!r} -> {entry.english!r}"
        if entry.part not in PARTS:
            problems.append(f"{where}: unknown part {entry.part!r}")
        if sorted(_SLOT.findall(entry.source)) != sorted(entry.slots):
            problems.append(f"{where}: the slots differ")
        key = tuple(token.key for token in tokenize(entry.source) if token.key != ".")
        if key in seen:
            problems.append(f"{where}: stands twice, also as {seen[key]!r}")
        seen[key] = entry.source
        problems += [
            f"{where}: {promise}" for promise in broken_promises(entry.source, entry.english)
        ]
    for word in sorted((source_words & english_side) - english - NEUTRAL - names):
        problems.append(
            f"{word!r} is on both sides and not in english_words.csv: add it there or change the row"
        )
    return problems


def _words_of(text: str) -> set[str]:
    return {
        token.key
        for token in tokenize(_SLOT.sub(" ", text).replace("~", ""))
        if token.key[0].isalpha()
    }


def validate_packaged() -> list[str]:
    """Validate both packaged glossaries; an empty list means that they are clean."""
    english = read_english_words()
    return [
        f"{language}: {problem}"
        for language in LANGUAGES
        for problem in validate_glossary(load_glossary(language).entries, language, english)
    ]
