"""Coverage, promises and speed of the report translation: python benchmarks/translate.py --csv ptbxl_database.csv.

Without a csv a simulated release is written on the spot, whose wording was not made with this glossary.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pandas as pd

from ecgrepro import simulate
from ecgrepro.text.translation import (
    LANGUAGES,
    broken_promises,
    coverage_table,
    split_boilerplate,
    translate_reports,
    unmatched_words,
)
from ecgrepro.text.translation.engine import Translator
from ecgrepro.text.translation.glossary import load_glossary, read_english_words
from ecgrepro.text.translation.tokens import repair


def fresh_translator() -> Translator:
    """Compile the glossaries anew, without the memory of `load_translator`."""
    return Translator({name: load_glossary(name) for name in LANGUAGES}, read_english_words())


def read_reports(csv: Path | None) -> pd.Series:
    """Read the reports of a release, or simulate one of 2,000 patients."""
    if csv is not None:
        return pd.read_csv(csv, index_col="ecg_id")["report"]
    with tempfile.TemporaryDirectory() as folder:
        release = simulate.write_release(
            Path(folder) / "release", n_patients=2000, seed=0, progress=False
        )
        return pd.read_csv(release / "ptbxl_database.csv", index_col="ecg_id")["report"]


def main() -> None:
    """Measure on one core: wall time, and processor time where other work shares the machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, help="genuine ptbxl_database.csv")
    reports = read_reports(parser.parse_args().csv)
    start, cpu = time.perf_counter(), time.process_time()
    translator = fresh_translator()
    compiled = time.process_time() - cpu
    distinct = reports.drop_duplicates()
    table = translate_reports(reports, translator)
    wall, processor = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"{len(reports):,} reports, {len(distinct):,} distinct; glossaries compiled in {1000 * compiled:.0f} ms"
    )
    print(
        f"cold, compiling included:    {len(reports) / wall:>9,.0f} reports/s ({len(reports) / processor:,.0f} by CPU)"
    )
    for label, texts in (
        ("warm, second run:", reports),
        ("warm, distinct reports only:", distinct),
    ):
        start, cpu = time.perf_counter(), time.process_time()
        translate_reports(texts, translator)
        wall, processor = time.perf_counter() - start, time.process_time() - cpu
        print(
            f"{label:<28} {len(texts) / wall:>9,.0f} reports/s ({len(texts) / processor:,.0f} by CPU)"
        )
    start = time.perf_counter()
    translate_reports(["sinusrhythmus lagetyp normal " * 3500], translator)
    print(f"one cell of 100 kB: {time.perf_counter() - start:.1f} s")
    print(coverage_table(table).to_string(float_format="{:.4f}".format))
    broken = sum(
        bool(broken_promises(split_boilerplate(repair(report)).body, table["report_en"][ecg_id]))
        for ecg_id, report in distinct.items()
        if isinstance(report, str)
    )
    again = translate_reports(table["report_en"], translator)
    print(f"reports with a broken promise: {broken}")
    print(
        f"translations that a second run changes: {(again['report_en'] != table['report_en']).sum()}"
    )
    print("most frequent unmatched words, English left out:")
    todo = unmatched_words(
        table[table["language"] != "english"], reports[table["language"] != "english"]
    )
    print(todo.head(12).drop(columns="example").to_string())


if __name__ == "__main__":
    main()
