"""Structured reports: SCP codes and their confidences as readable English lines, and as weights.

PTB-XL annotates a record with SCP-ECG codes and a likelihood of 0 to 100, where 0 means "unknown", not
"absent". A structured report writes one line a code. The line without its confidence is the statement: the
text that a language model embeds; the confidence never enters that text, it only weighs it.
"""

import logging
import math
import re
from collections.abc import Mapping
from typing import Literal, get_args

import pandas as pd

from ecgrepro.errors import InputError

log = logging.getLogger(__name__)

ZeroConfidence = Literal["keep", "drop"]

CATEGORY = "Statement Category"
DESCRIPTION = "SCP-ECG Statement Description"

_PLAIN_CAPITAL = re.compile(r"[A-Z][a-z]+(?=\s)")
"""A first word with a capital of its own making, unlike 'T-wave', 'QT interval' and 'Wolff-Parkinson-White'."""


def statement_texts(statements: pd.DataFrame) -> pd.Series:
    """Write every SCP code as 'Category: description', the text that a language model embeds.

    The category starts with a capital. The description does where its category is in title case ('Myocardial
    Infarction'), and starts with a small letter elsewhere, unless its first word has capitals for a reason.

    Parameters
    ----------
    statements
        The release's scp_statements.csv, indexed by code.

    Returns
    -------
    pandas.Series
        Text by code, in the table's order: the rows that `embed_statements` embeds and the columns that
        `statement_weights` weighs.

    Raises
    ------
    InputError
        The table lacks one of the two columns, or a code's row is empty or stands there twice.
    """
    if missing := {CATEGORY, DESCRIPTION} - set(statements.columns):
        raise InputError(
            f"The statement table has no column {min(missing)!r}: "
            "read the genuine scp_statements.csv with its first column as index."
        )
    if (twice := statements.index.duplicated()).any():
        raise InputError(
            f"The statement table lists the code {statements.index[twice][0]!r} more than once: keep one row a code."
        )
    texts = {}
    for code, category, text in zip(
        statements.index, statements[CATEGORY], statements[DESCRIPTION], strict=True
    ):
        if not (isinstance(category, str) and isinstance(text, str) and category and text):
            raise InputError(
                f"The statement table has no text for the code {code!r}: fill in its row."
            )
        category, text = category.strip(), text.strip()
        if category.istitle():
            text = text[0].upper() + text[1:]
        elif _PLAIN_CAPITAL.match(text):
            text = text[0].lower() + text[1:]
        texts[code] = f"{category[0].upper()}{category[1:]}: {text}"
    return pd.Series(texts, index=statements.index, name="statement", dtype="str")


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
        Lines 'Category: description, Confidence score: c' (see `statement_texts`), joined by newlines. A code
        that the table lacks becomes 'Unknown statement: <code>, Confidence score: c' and is logged. A record
        without codes gives an empty string.

    Raises
    ------
    InputError
        A confidence is not a number of 0 or more, or the table is unusable.
    """
    return compose_reports(pd.DataFrame({"scp_codes": [scp_codes]}), statements).iloc[0]


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
    reports = [
        "\n".join(
            f"{texts.get(code, f'Unknown statement: {code}')}, Confidence score: {float(confidence)}"
            for code, confidence in scp_codes.items()
        )
        for scp_codes in codes
    ]
    return pd.Series(reports, index=index.index, name="structured_report", dtype="str")


def code_column(index: pd.DataFrame) -> pd.Series:
    """Return the column `scp_codes`, or say which record's codes or confidences cannot be used."""
    if "scp_codes" not in index.columns:
        raise InputError("The index has no column 'scp_codes': read the release with open_release.")
    for ecg_id, scp_codes in index["scp_codes"].items():
        if not isinstance(scp_codes, dict):
            raise InputError(
                f"The scp_codes of record {ecg_id} are not a dict: read the release with open_release, "
                "which parses the column."
            )
        for code, value in scp_codes.items():
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise InputError(
                    f"Record {ecg_id}: the confidence of the code {code!r} is {value!r}: "
                    "it must be a number of 0 or more (0 is 'unknown')."
                )
    return index["scp_codes"]


def unknown_codes(index: pd.DataFrame, statements: pd.DataFrame) -> pd.DataFrame:
    """Count the codes that the statement table lacks.

    Returns
    -------
    pandas.DataFrame
        Indexed by code, most frequent first: `records` (how many hold it) and `example_ecg_id` (the first one).
    """
    known = set(statements.index)
    found = [
        (code, ecg_id)
        for ecg_id, scp_codes in index["scp_codes"].items()
        for code in scp_codes
        if code not in known
    ]
    grouped = pd.DataFrame(found, columns=["code", "ecg_id"]).groupby("code")["ecg_id"]
    counted = grouped.agg(records="size", example_ecg_id="first")
    return counted.sort_values("records", ascending=False, kind="stable")


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
        The policy has another name.
    """
    if zero_confidence not in get_args(ZeroConfidence):
        raise InputError(f"zero_confidence is {zero_confidence!r}: choose 'keep' or 'drop'.")
    if zero_confidence == "keep":
        scp_codes = {code: value or 100.0 for code, value in scp_codes.items()}
    elif not any(scp_codes.values()):
        scp_codes = dict.fromkeys(scp_codes, 1.0)
    total = math.fsum(scp_codes.values())
    return {code: value / total for code, value in scp_codes.items() if value > 0}
