"""Draw the picture of the README from the demo run: `make picture`, after `make book`."""

import pandas as pd

from ecgrepro import ROOT, plots
from ecgrepro.files import atomic_path, read_json


def main() -> None:
    """Write `book/_static/result.png`."""
    run = ROOT / "runs" / "demo"
    table = pd.read_csv(run / "evaluation.csv")
    table = table[table.cohort.isin(["learning", "null control"])]
    figure = plots.plot_forest(
        table.assign(group=table.cohort.map("{} cohort".format)),
        read_json(run / "cohorts" / "cohorts.json")["source"],
        xlabel="C-index on held-out patients (0.5 = chance)",
        highlight=["fine-tuned"],
        title="Risk from the ECG, beside its controls",
        note="95 % interval, bootstrap by patient",
        digits=2,
    )
    with atomic_path(ROOT / "book" / "_static" / "result.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)


if __name__ == "__main__":
    main()
