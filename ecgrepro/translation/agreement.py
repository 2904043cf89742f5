"""Do the texts say what the SCP codes say? A check that a translation loses nothing, German and English alike."""

import csv
import re

import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.translation.glossary import packaged


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
    rows = {}
    for code in said.columns:
        has = scp_codes.map(lambda codes, code=code: code in codes).to_numpy(dtype=bool)
        mentioned = said[code].to_numpy(dtype=bool)
        if has.sum() < minimum:
            continue
        both = int((has & mentioned).sum())
        rows[code] = {
            "records": int(has.sum()),
            "texts": int(mentioned.sum()),
            "recall": both / int(has.sum()),
            "precision": both / int(mentioned.sum()) if mentioned.any() else float("nan"),
        }
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["records", "texts", "recall", "precision"]
    )
    return table.rename_axis("code").sort_values(["records", "texts"], ascending=False)
