"""Structured reports: SCP codes and their confidences as readable English lines.

PTB-XL annotates a record with SCP-ECG codes and a likelihood of 0 to 100, where 0 means "unknown", not
"absent". A structured report writes one line a code. The line without its confidence is the statement: the
text that a language model embeds; the confidence never enters that text, it only weighs it.
"""

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal, get_args

import pandas as pd

from ecgrepro.errors import InputError

log = logging.getLogger(__name__)

ZeroConfidence = Literal["keep", "drop"]

CATEGORY = "Statement Category"
DESCRIPTION = "SCP-ECG Statement Description"

_MINOR_WORDS = frozenset(
    {"a", "an", "and", "as", "at", "by", "for", "in", "of", "on", "or", "the", "to", "with"}
)
_WORD = re.compile(r"[^\s/,;:()]+")


def is_title_case(category: str) -> bool:
    """Tell whether a category is written in title case, as 'Myocardial Infarction' is.

    It is when it has at least two words (separated by spaces, slashes or punctuation) and each of them,
    apart from small words such as 'and' and 'of', starts with a capital. So 'Normal/abnormal', 'Atrial
    statements' and 'Intraventricular and intra-atrial Conduction disturbances' are not. A single word could be
    either case and counts as not.
    """
    words = [word for word in _WORD.findall(category) if word not in _MINOR_WORDS]
    return len(words) >= 2 and all(word[0].isupper() for word in words)


def _capitalize(text: str) -> str:
    """Make the first letter a capital and leave every other character as it is."""
    for position, character in enumerate(text):
        if character.isalpha():
            return text[:position] + character.upper() + text[position + 1 :]
    return text


def _decapitalize(text: str) -> str:
    """Make the first letter small, unless the first word is an abbreviation or a compound name.

    'Prolonged PR interval' loses its capital; 'Q waves', 'T-wave', 'QT interval', 'ST-T changes' and
    'Wolff-Parkinson-White syndrome' are left alone: a single letter, or other capitals in the first word.
    """
    word = _WORD.search(text)
    if word is None or not re.match(r"[^\W\d_]{2}", word[0]) or not word[0][1:].islower():
        return text
    return text[: word.start()] + word[0].lower() + text[word.end() :]


def _check_statements(statements: pd.DataFrame) -> None:
    missing = [column for column in (CATEGORY, DESCRIPTION) if column not in statements.columns]
    if missing:
        raise InputError(
            f"The statement table has no column {missing[0]!r}: "
            "read the genuine scp_statements.csv with its first column as index."
        )


def compose_statement(code: str, statements: pd.DataFrame) -> str:
    """Write one SCP code as 'Category: description', the text that a language model embeds.

    The category starts with a capital. The description follows the case style of its category: it starts with a
    capital where the category is in title case (`is_title_case`) and with a small letter elsewhere. Words with
    capitals of their own keep them ('long QT-interval', 'Q waves present', 'Wolff-Parkinson-White syndrome').

    Parameters
    ----------
    code
        An SCP code, e.g. 'IMI'.
    statements
        The release's scp_statements.csv, indexed by code.

    Returns
    -------
    str
        E.g. 'Myocardial Infarction: Inferior myocardial infarction'; for a code that the table lacks,
        'Unknown statement: <code>', so that nothing is lost in silence.

    Raises
    ------
    InputError
        The table lacks one of the two columns, or the code's row is empty or stands there twice.
    """
    _check_statements(statements)
    if code not in statements.index:
        return f"Unknown statement: {code}"
    row = statements.loc[code]
    if isinstance(row, pd.DataFrame):
        raise InputError(
            f"The statement table lists the code {code!r} {len(row)} times: keep one row a code."
        )
    category, description = row[CATEGORY], row[DESCRIPTION]
    if not isinstance(category, str) or not isinstance(description, str):
        raise InputError(f"The statement table has no text for the code {code!r}: fill in its row.")
    category, description = category.strip(), description.strip()
    styled = _capitalize(description) if is_title_case(category) else _decapitalize(description)
    return f"{_capitalize(category)}: {styled}"


def statement_texts(statements: pd.DataFrame) -> pd.Series:
    """Compose every statement of the table.

    Returns
    -------
    pandas.Series
        Text by code, in the table's order: the rows that `text.embed_statements` embeds and the columns that
        `text.statement_weights` weighs.
    """
    texts = [compose_statement(str(code), statements) for code in statements.index]
    return pd.Series(texts, index=statements.index, name="statement", dtype="str")


def _confidence(code: str, value: float) -> float:
    """Check a confidence: a finite number, not negative."""
    try:
        confidence = float(value)
    except (TypeError, ValueError):
        confidence = math.nan
    if not (math.isfinite(confidence) and confidence >= 0):
        raise InputError(
            f"The confidence of the code {code!r} is {value!r}: it must be a number of 0 or more (0 is 'unknown')."
        )
    return confidence


def _lines(scp_codes: Mapping[str, float], texts: Mapping[str, str]) -> str:
    """Join the lines of a report, taking known statements from `texts`."""
    return "\n".join(
        f"{texts.get(code, f'Unknown statement: {code}')}, Confidence score: {_confidence(code, value)}"
        for code, value in scp_codes.items()
    )


def compose_report(scp_codes: Mapping[str, float], statements: pd.DataFrame) -> str:
    """Write the structured report of a record, one line a code, in the order of `scp_codes`.

    Parameters
    ----------
    scp_codes
        Confidence (0 to 100; 0 is 'unknown') by SCP code, as PTB-XL's column of that name holds it.
    statements
        The release's scp_statements.csv, indexed by code.

    Returns
    -------
    str
        Lines 'Category: description, Confidence score: c' (see `compose_statement`), joined by newlines. A
        code that the table lacks becomes 'Unknown statement: <code>, Confidence score: c' and is logged. A
        record without codes gives an empty string.

    Raises
    ------
    InputError
        A confidence is not a number of 0 or more, or the table is unusable.
    """
    _check_statements(statements)
    unknown = [code for code in scp_codes if code not in statements.index]
    for code in unknown:
        log.warning("SCP code %r is not in the statement table: reported as unknown.", code)
    return _lines(scp_codes, {code: compose_statement(code, statements) for code in scp_codes})


def unknown_codes(index: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """Count the codes that the statement table lacks.

    Parameters
    ----------
    index
        Records by ecg_id with the column `scp_codes` (a dict in each row).
    statements
        The release's scp_statements.csv, indexed by code.

    Returns
    -------
    pandas.DataFrame
        Indexed by code, most frequent first: `records` (how many hold it) and `example_ecg_id` (the first one).
    """
    known = set(statements.index)
    counts: Counter[str] = Counter()
    example: dict[str, object] = {}
    for ecg_id, codes in code_column(index).items():
        for code in codes:
            if code not in known:
                counts[code] += 1
                example.setdefault(code, ecg_id)
    ranked = sorted(counts, key=lambda code: (-counts[code], code))
    return pd.DataFrame(
        {
            "records": pd.array([counts[code] for code in ranked], dtype="int64"),
            "example_ecg_id": [example[code] for code in ranked],
        },
        index=pd.Index(ranked, name="code", dtype="str"),
    )


def code_column(index: pd.DataFrame) -> pd.Series:
    """Return the column of parsed codes, or say what is wrong with it."""
    if "scp_codes" not in index.columns:
        raise InputError(
            "The index has no column 'scp_codes': read the release with ptbxl.open_release."
        )
    codes = index["scp_codes"]
    parsed = codes.map(lambda entry: isinstance(entry, Mapping)).to_numpy(dtype=bool)
    if not parsed.all():
        ecg_id = codes.index[(~parsed).argmax()]
        raise InputError(
            f"The scp_codes of record {ecg_id} are not a dict: read the release with ptbxl.open_release, "
            "which parses the column."
        )
    return codes


def warn_unknown(index: pd.DataFrame, statements: pd.DataFrame, consequence: str) -> None:
    """Log one line for each code that the statement table lacks, with its count and an example record."""
    for code, row in unknown_codes(index, statements).iterrows():
        log.warning(
            "SCP code %r is not in the statement table: %d record(s), e.g. ecg_id %s; %s.",
            code,
            row["records"],
            row["example_ecg_id"],
            consequence,
        )


def compose_reports(index: pd.DataFrame, statements: pd.DataFrame) -> pd.Series:
    """Write the structured report of every record.

    Parameters
    ----------
    index
        Records by ecg_id with the column `scp_codes` (a dict in each row).
    statements
        The release's scp_statements.csv, indexed by code.

    Returns
    -------
    pandas.Series
        Report by ecg_id (see `compose_report`). Unknown codes are logged once each, not once a record.
    """
    codes = code_column(index)
    warn_unknown(index, statements, "reported as unknown")
    texts: dict[str, str] = statement_texts(statements).to_dict()
    reports: list[str] = []
    for ecg_id, entry in codes.items():
        try:
            reports.append(_lines(entry, texts))
        except InputError as error:
            raise InputError(f"Record {ecg_id}: {error}") from None
    return pd.Series(reports, index=index.index, name="structured_report", dtype="str")


def code_weights(
    scp_codes: Mapping[str, float], zero_confidence: ZeroConfidence = "keep"
) -> dict[str, float]:
    """Turn confidences into weights that sum to 1.

    Parameters
    ----------
    scp_codes
        Confidence by SCP code.
    zero_confidence
        'keep': a confidence of 0, which PTB-XL uses for 'unknown', counts like a certain 100. 'drop': such codes
        get no weight, as in the study; a record that would lose every code gets equal weights over its codes
        instead, so that no record divides by zero.

    Returns
    -------
    dict
        Weight by code, w_i = c_i / sum_j c_j, without the codes of weight 0; empty for a record without codes.

    Raises
    ------
    InputError
        A confidence is not a number of 0 or more, or the policy has another name.
    """
    if zero_confidence not in get_args(ZeroConfidence):
        raise InputError(f"zero_confidence is {zero_confidence!r}: choose 'keep' or 'drop'.")
    checked = {code: _confidence(code, value) for code, value in scp_codes.items()}
    if zero_confidence == "keep":
        checked = {code: value or 100.0 for code, value in checked.items()}
    elif not any(checked.values()):
        checked = dict.fromkeys(checked, 1.0)
    total = math.fsum(checked.values())
    return {code: value / total for code, value in checked.items() if value > 0}
