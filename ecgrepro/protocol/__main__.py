"""Steps of the sweep that are no notebook: `python -m ecgrepro.protocol pretrain|collect --run demo ...`."""

import argparse
import sys
from pathlib import Path

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path
from ecgrepro.protocol.arms import PRETRAINED
from ecgrepro.protocol.starts import FOLDER, pretrain_start
from ecgrepro.protocol.table import collect, paired_differences, summarise


def write_tables(folder: Path) -> None:
    """Write `protocol/folds.csv`, `summary.csv` and `differences.csv` of the run in `folder`."""
    folds = collect(folder)
    tables = {"folds": folds, "summary": summarise(folds), "differences": paired_differences(folds)}
    for name, table in tables.items():
        with atomic_path(folder / FOLDER / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)


def main(arguments: list[str] | None = None) -> int:
    """Run one step; an `InputError` is one line, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m ecgrepro.protocol", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    weights = steps.add_parser(
        "pretrain", help="weights to start from, by reconstruction alone or aligned"
    )
    weights.add_argument("--encoder", required=True)
    weights.add_argument("--initialisation", required=True, choices=PRETRAINED)
    weights.add_argument("--epochs", type=int, default=0, help="0: as in chapter 6 of the run")
    steps.add_parser("collect", help="all finished arms into one table, with intervals")
    for step in steps.choices.values():
        step.add_argument("--run", required=True, help="name of the folder under runs/")
    given = parser.parse_args(arguments)
    folder = ROOT / "runs" / given.run
    try:
        if given.step == "pretrain":
            pretrain_start(folder, given.encoder, given.initialisation, given.epochs)
        else:
            write_tables(folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
