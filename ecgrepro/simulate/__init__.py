"""A simulated PTB-XL release with a follow-up whose truth is known.

`write_release` writes the genuine layout (csv tables with their quirks, WFDB records) with ECGs from a
dipole model; `write_cohorts` adds follow-up tables whose hazard is a known function of what the ECG
shows, of age, of sex and of a frailty that no ECG shows. Nothing here is a patient.

`scp_statements.csv` in this folder is the table of PTB-XL 1.0.3, unchanged (Wagner, Strodthoff,
Bousseljot, Samek & Schaeffter, PhysioNet, https://doi.org/10.13026/kfzx-aw45, CC BY 4.0).
"""

from ecgrepro.simulate.outcomes import (
    HazardRatios,
    oracle_hazards,
    plant_outcomes,
    plantable_table,
    write_cohorts,
)
from ecgrepro.simulate.release import write_release

__all__ = [
    "HazardRatios",
    "oracle_hazards",
    "plant_outcomes",
    "plantable_table",
    "write_cohorts",
    "write_release",
]
