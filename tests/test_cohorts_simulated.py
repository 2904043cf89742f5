"""The negative control of a cohort."""

import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts import Cohort
from ecgrepro.cohorts.sources import divide_anew, null_control
from ecgrepro.survival import concordance_index


def test_the_negative_control_keeps_outcomes_and_loses_the_signal():
    rng = np.random.default_rng(0)
    hazard = rng.normal(size=400)
    latent = 1000 * rng.exponential(np.exp(-2 * hazard))
    table = pd.DataFrame(
        {
            "patient_id": np.arange(400),
            "ecg_id": np.arange(400) + 1,
            "time": np.ceil(np.minimum(latent, 1500)),
            "event": (latent < 1500).astype(int),
        }
    )
    cohort = Cohort("learning", table, "simulated", restricted=False, simulated=False)
    assert concordance_index(table["time"], table["event"], 2 * hazard) > 0.8

    def control_of(seed: int) -> Cohort:
        return null_control(cohort, lambda table: divide_anew(0, table), seed)

    control = control_of(1)
    assert control.name == "null control"
    assert control.simulated
    columns = ["time", "event"]
    before = table[columns].sort_values(columns).to_numpy()
    np.testing.assert_array_equal(control.table[columns].sort_values(columns).to_numpy(), before)
    assert control.table["patient_id"].equals(table["patient_id"])
    controls = [control_of(100 * seed).table for seed in range(20)]
    found = [concordance_index(c["time"], c["event"], 2 * hazard) for c in controls]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)  # the SE of one is about 0.02
    assert control.table.equals(control_of(1).table)
