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

import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.text.embed import load_pretrained
from ecgrepro.text.translation.checks import (
    broken_promises,
    count_words,
    coverage_table,
    review_sheet,
    scp_agreement,
    unmatched_words,
    validate_packaged,
)
from ecgrepro.text.translation.engine import Translator
from ecgrepro.text.translation.glossary import LANGUAGES, load_glossary, read_english_words
from ecgrepro.text.translation.tokens import repair, split_boilerplate

__all__ = [
    "LANGUAGES",
    "Backend",
    "broken_promises",
    "count_words",
    "coverage_table",
    "load_backend",
    "load_glossary",
    "load_translator",
    "review_sheet",
    "scp_agreement",
    "split_boilerplate",
    "translate_reports",
    "unmatched_words",
    "validate_packaged",
]

log = logging.getLogger(__name__)

Backend = Callable[[Sequence[str]], Sequence[str]]
"""A translator for whole reports: texts in, as many English texts out (from `load_backend`, or one's own)."""

_COLUMNS = {
    "report_en": "str", "report_en_source": "str", "coverage": "float64", "language": "str", "words": "int64",
    "unmatched": "str", "repaired": "str", "unconfirmed": "bool", "edit": "str", "consensus": "str",
}  # fmt: skip
_EMPTY = ("", "empty", math.nan, "empty", 0, "", "", False, "", "")


@lru_cache(maxsize=1)
def load_translator() -> Translator:
    """Compile the packaged glossaries, once."""
    return Translator({name: load_glossary(name) for name in LANGUAGES}, read_english_words())


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
    filled = [report if isinstance(report, str) else "" for report in series]
    rows = {report: _row(report, translator, mark) for report in dict.fromkeys(filled)}
    table = pd.DataFrame(
        [rows[report] for report in filled], columns=list(_COLUMNS), index=series.index
    ).astype(_COLUMNS)
    if backend is not None:
        _use_backend(table, filled, backend)
    return table


def _row(report: str, translator: Translator, mark: bool) -> tuple[object, ...]:
    """Translate one report into the columns of the table."""
    if not report.strip():
        return _EMPTY
    parts = split_boilerplate(repair(report))
    result = translator.translate(parts.body.lower())
    if result.changed:  # ended with a full stop, as English reports are
        english = result.english + ("" if result.english[-1:] in {*".!?", ""} else ".")
    else:
        english = " ".join(parts.body.split())
    if mark:
        for word in dict.fromkeys(result.unmatched):
            english = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", f"[{word}]", english)
    languages = [name for name in result.languages if name]
    source = "untouched" if not result.changed else "partial" if result.unmatched else "glossary"
    return (
        english,
        source if parts.body else "empty",
        result.covered / result.words if result.words else (1.0 if parts.body else math.nan),
        "empty" if not languages else languages[0] if len(languages) == 1 else "mixed",
        result.words,
        " ".join(result.unmatched),
        "; ".join(result.repaired),
        parts.unconfirmed,
        parts.edit,
        parts.consensus,
    )


def _use_backend(table: pd.DataFrame, reports: Sequence[str], backend: Backend) -> None:
    """Let another translator have what the glossary left, where it keeps every promise."""
    left = (table["coverage"] < 1.0) & ~table["language"].isin(["english", "empty"])
    bodies = pd.Series(
        [
            split_boilerplate(repair(report)).body if wanted else ""
            for report, wanted in zip(reports, left, strict=True)
        ],
        index=table.index,
        dtype="str",
    )
    distinct = list(dict.fromkeys(bodies[left]))
    if not distinct:
        return
    answers = list(backend(distinct))
    if len(answers) != len(distinct):
        raise InputError(
            f"The translation backend gave {len(answers)} texts for {len(distinct)}: it must answer each."
        )
    accepted = {
        body: " ".join(answer.split())
        for body, answer in zip(distinct, answers, strict=True)
        if answer.strip() and not broken_promises(body, answer)
    }
    if refused := len(distinct) - len(accepted):
        log.warning(
            "%d of %d backend translations lost a number, side or negation: not used.",
            refused,
            len(distinct),
        )
    chosen = left & bodies.isin(list(accepted))
    table.loc[chosen, "report_en"] = bodies[chosen].map(accepted)
    table.loc[chosen, "report_en_source"] = "model"


def load_backend(name: str) -> Backend:
    """Load a translation model as a backend of `translate_reports`, for text of other hospitals.

    Parameters
    ----------
    name
        Local folder, or hub id of a model that was downloaded before, such as 'Helsinki-NLP/opus-mt-de-en'. Marian
        models such as this one need the package sentencepiece.

    Returns
    -------
    callable
        Texts in, English texts out; greedy, hence the same for the same input.

    Raises
    ------
    InputError
        The model is not here or cannot be loaded.
    """
    import torch

    _, tokenizer, module = load_pretrained(name, None, "AutoModelForSeq2SeqLM")

    def translate(texts: Sequence[str]) -> list[str]:
        english: list[str] = []
        for start in range(0, len(texts), 16):
            batch = [" ".join(text.split()) for text in texts[start : start + 16]]
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
