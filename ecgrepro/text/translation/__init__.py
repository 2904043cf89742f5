"""Free-text reports in German, Swedish or English into English.

normalise -> take out what the machine printed around the report -> cut into statements and tag the language of each
-> phrase table, longest match first -> word table -> an optional translator for what is left -> else left as it is,
and marked. English is never touched, and `report` is never overwritten.
"""

import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import pandas as pd

from ecgrepro.errors import InputError, first_line
from ecgrepro.text.embed import find_model_folder
from ecgrepro.text.translation.checks import (
    broken_promises,
    count_words,
    coverage_table,
    review_sheet,
    scp_agreement,
    unmatched_words,
    validate_glossary,
)
from ecgrepro.text.translation.engine import Result, Translator
from ecgrepro.text.translation.glossary import load_glossary, read_english_words
from ecgrepro.text.translation.tokens import Boilerplate, repair, split_boilerplate

__all__ = [
    "Backend",
    "Boilerplate",
    "broken_promises",
    "count_words",
    "coverage_table",
    "load_backend",
    "load_translator",
    "review_sheet",
    "scp_agreement",
    "split_boilerplate",
    "translate_report",
    "translate_reports",
    "unmatched_words",
    "validate_packaged",
]

log = logging.getLogger(__name__)

Backend = Callable[[Sequence[str]], Sequence[str]]
"""A translator for whole statements: texts in, as many English texts out (see `load_backend`)."""

LANGUAGES = ("german", "swedish")
COLUMNS = (
    "report_en",
    "report_en_source",
    "coverage",
    "language",
    "words",
    "unmatched",
    "repaired",
    "unconfirmed",
    "edit",
    "consensus",
)

_MEMORY = 50_000


@lru_cache(maxsize=4)
def load_translator(german: Path | None = None, swedish: Path | None = None) -> Translator:
    """Compile the packaged glossaries, with tables of one's own before them.

    Parameters
    ----------
    german, swedish
        csv files with the columns `german` (or `swedish`), `english` and `part`; their rows win over packaged ones.
    """
    extra = {"german": german, "swedish": swedish}
    return Translator(
        {name: load_glossary(name, extra[name]) for name in LANGUAGES}, read_english_words()
    )


def translate_report(report: str, translator: Translator | None = None) -> Result:
    """Translate one report without its boilerplate; see `translate_reports` for many."""
    body = split_boilerplate(repair(report)).body
    return _finish(body, (translator or load_translator()).translate(body.lower()))


def _finish(body: str, result: Result) -> Result:
    """End a translation with a full stop, as English reports do; give untouched text back as it was written."""
    if not result.changed:
        english = " ".join(body.split())
    elif result.english and result.english[-1] not in ".!?":
        english = result.english + "."
    else:
        english = result.english
    return Result(
        english,
        result.languages,
        result.words,
        result.covered,
        result.unmatched,
        result.repaired,
        result.changed,
    )


def _row(report: object, translator: Translator, mark: bool) -> tuple[object, ...]:
    """Translate one cell of any content into the columns of the table."""
    if not isinstance(report, str) or not report.strip():
        return ("", "empty", math.nan, "empty", 0, "", "", False, "", "")
    parts = split_boilerplate(repair(report))
    result = _finish(parts.body, translator.translate(parts.body.lower()))
    languages = [name for name in result.languages if name]
    language = "empty" if not languages else languages[0] if len(languages) == 1 else "mixed"
    source = "untouched" if not result.changed else "partial" if result.unmatched else "glossary"
    coverage = result.covered / result.words if result.words else (1.0 if parts.body else math.nan)
    english = result.english
    if mark:
        for word in dict.fromkeys(result.unmatched):
            english = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", f"[{word}]", english)
    return (
        english,
        source if parts.body else "empty",
        coverage,
        language,
        result.words,
        " ".join(result.unmatched),
        "; ".join(result.repaired),
        parts.unconfirmed,
        parts.edit,
        parts.consensus,
    )


def translate_reports(
    reports: pd.Series | Iterable[object],
    translator: Translator | None = None,
    backend: Backend | None = None,
    mark: bool = False,
) -> pd.DataFrame:
    """Translate reports into English, each distinct one once.

    Parameters
    ----------
    reports
        Texts; empty and missing ones are allowed.
    translator
        From `load_translator`; the packaged glossaries by default.
    backend
        A translator for reports that the glossary does not cover wholly, see `load_backend`. Its answer is
        taken only where it keeps numbers, leads, sides, negation and doubt.
    mark
        Put words that were left as they are in square brackets.

    Returns
    -------
    pandas.DataFrame
        With the index of `reports` and the columns

        * `report_en`: the English text, lower case, statements ended by full stops;
        * `report_en_source`: 'untouched' (English or another language), 'glossary', 'partial' (some words were left),
          'model' (the backend's) or 'empty';
        * `coverage`: share of words, leads and units that were known, 0 to 1 (NaN for an empty report);
        * `language`: 'german', 'swedish', 'english', 'mixed', 'other' or 'empty';
        * `words`: how many words the coverage refers to;
        * `unmatched`: the words left as they are; `repaired`: spelling that was corrected or completed;
        * `unconfirmed`, `edit`, `consensus`: see `Boilerplate`.
    """
    series = reports if isinstance(reports, pd.Series) else pd.Series(list(reports), dtype=object)
    translator = translator or load_translator()
    memory: dict[str, tuple[object, ...]] = {}
    rows: list[tuple[object, ...]] = []
    for report in series.tolist():
        if not isinstance(report, str):
            rows.append(_row(report, translator, mark))
            continue
        row = memory.get(report)
        if row is None:
            row = _row(report, translator, mark)
            if len(memory) < _MEMORY:
                memory[report] = row
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(COLUMNS), index=series.index)
    for column in (
        "report_en",
        "report_en_source",
        "language",
        "unmatched",
        "repaired",
        "edit",
        "consensus",
    ):
        table[column] = table[column].astype("str")
    table = table.astype({"coverage": "float64", "words": "int64", "unconfirmed": "bool"})
    if backend is not None:
        _use_backend(table, series, backend)
    return table


def _use_backend(table: pd.DataFrame, reports: pd.Series, backend: Backend) -> None:
    """Let a neural translator have what the glossary left, where it keeps every promise."""
    left = (table["coverage"] < 1.0) & ~table["language"].isin(["english", "empty"])
    bodies = [
        split_boilerplate(repair(report)).body if isinstance(report, str) else ""
        for report in reports
    ]
    wanted = pd.Series(bodies, index=table.index)[left]
    distinct = list(dict.fromkeys(wanted))
    if not distinct:
        return
    answers = list(backend(distinct))
    if len(answers) != len(distinct):
        raise InputError(
            f"The translation backend gave {len(answers)} texts for {len(distinct)}: it must answer each."
        )
    refused = 0
    accepted: dict[str, str] = {}
    for body, answer in zip(distinct, answers, strict=True):
        if answer.strip() and not broken_promises(body, answer):
            accepted[body] = " ".join(answer.split())
        else:
            refused += 1
    if refused:
        log.warning(
            "%d of %d backend translations lost a number, side or negation: not used.",
            refused,
            len(distinct),
        )
    chosen = left & pd.Series(bodies, index=table.index).isin(list(accepted))
    table.loc[chosen, "report_en"] = wanted[chosen[left]].map(accepted)
    table.loc[chosen, "report_en_source"] = "model"


def validate_packaged() -> list[str]:
    """Validate both packaged glossaries; an empty list means that they are clean."""
    english = read_english_words()
    problems = []
    for name in LANGUAGES:
        found = validate_glossary(load_glossary(name).entries, name, english)
        problems += [f"{name}: {problem}" for problem in found]
    return problems


OPUS_MT_DE_EN = "Helsinki-NLP/opus-mt-de-en"


def load_backend(
    name: str = OPUS_MT_DE_EN,
    *,
    revision: str | None = None,
    allow_download: bool = False,
    batch_size: int = 16,
) -> Callable[[Sequence[str]], list[str]]:
    """Load a sequence-to-sequence model as a backend of `translate_reports`.

    Parameters
    ----------
    name
        Hub id or local folder. Marian models such as opus-mt need the package sentencepiece.
    revision, allow_download
        As in `load_text_model`.
    batch_size
        Texts a pass.

    Returns
    -------
    callable
        Texts in, English texts out; greedy, hence the same for the same input.

    Raises
    ------
    InputError
        The model is not here or cannot be loaded.
    """
    folder = find_model_folder(name, revision, allow_download)
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        module = AutoModelForSeq2SeqLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, weights_only=True
        )
    except Exception as error:  # transformers raises many kinds for a broken folder
        hint = (
            "install it with `.venv/bin/pip install sentencepiece`"
            if "sentencepiece" in str(error).lower()
            else "copy or download it again"
        )
        raise InputError(
            f"The translator in {Path(folder)} cannot be loaded ({first_line(error)}): {hint}."
        ) from error
    module.eval().requires_grad_(False)

    def translate(texts: Sequence[str]) -> list[str]:
        english: list[str] = []
        for start in range(0, len(texts), batch_size):
            batch = [re.sub(r"\s+", " ", text) for text in texts[start : start + batch_size]]
            tokens = tokenizer(
                batch, return_tensors="pt", padding=True, truncation=True, max_length=512
            )
            with torch.no_grad():
                generated = module.generate(
                    input_ids=tokens["input_ids"],
                    attention_mask=tokens["attention_mask"],
                    max_new_tokens=256,
                    num_beams=1,
                    do_sample=False,
                )
            english += tokenizer.batch_decode(generated, skip_special_tokens=True)
        return english

    return translate
