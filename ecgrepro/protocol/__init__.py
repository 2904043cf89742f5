"""The evaluation protocol as a sweep: cohort x encoder x initialisation x protocol x seed, one table at the end.

`sweep_of` lists what is to be run, `run_arm` runs one of them (all its folds), `run_sweep` all that are missing,
`collect` puts them into one table with a row a fold, `summarise` and `paired_differences` give intervals. Files lie
in `runs/<run>/protocol/`.
"""

from ecgrepro.protocol.arms import Arm
from ecgrepro.protocol.run import run_arm, run_sweep, sweep_of
from ecgrepro.protocol.table import (
    LABELS,
    collect,
    learning_curve,
    name_lines,
    paired_differences,
    summarise,
)

__all__ = [
    "LABELS",
    "Arm",
    "collect",
    "learning_curve",
    "name_lines",
    "paired_differences",
    "run_arm",
    "run_sweep",
    "summarise",
    "sweep_of",
]
