"""Simulated follow-up as `simulate.write_cohorts` lays it out, and negative controls."""

import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts.sources import null_cohort, read_simulated, read_truth
from ecgrepro.errors import InputError
from ecgrepro.survival import bootstrap_interval, concordance_index


@pytest.fixture
def release(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    hazard = rng.normal(size=n)
    latent = 1000 * rng.exponential(np.exp(-2 * hazard))
    folder = tmp_path / "follow_up"
    folder.mkdir()
    table = pd.DataFrame(
        {
            "patient_id": np.arange(n),
            "ecg_id": np.arange(n) + 1,
            "time": np.ceil(np.minimum(latent, 1500)),
            "event": (latent < 1500).astype(int),
            "age": 60.0,
            "sex": 1,
        }
    )
    table.to_csv(folder / "learning.csv", index=False)
    truth = table[["patient_id"]].assign(
        cohort="learning", log_hazard=2 * hazard, log_hazard_ecg=hazard
    )
    other = truth.assign(cohort="hyp", log_hazard=0.0)
    pd.concat([other, truth.iloc[::-1]]).to_csv(folder / "truth.csv", index=False)
    return tmp_path


def test_cohort_and_truth_line_up(release):
    cohort = read_simulated(release, "learning")
    assert cohort.simulated
    assert "simulated" in cohort.source_label
    truth = read_truth(release, cohort)
    table = cohort.table
    assert truth["patient_id"].tolist() == table["patient_id"].tolist()
    assert concordance_index(table["time"], table["event"], truth["log_hazard"]) > 0.8


def test_missing_cohorts_and_patients(release):
    with pytest.raises(InputError, match=r"no cohort 'mi' \(it has learning\)"):
        read_simulated(release, "mi")
    with pytest.raises(InputError, match="no cohort 'truth'"):
        read_simulated(release, "truth")
    cohort = read_simulated(release, "learning")
    pd.read_csv(release / "follow_up" / "truth.csv").iloc[:500].to_csv(
        release / "follow_up" / "truth.csv", index=False
    )
    with pytest.raises(InputError, match="lacks 300 patients"):
        read_truth(release, cohort)


def test_the_negative_control_keeps_outcomes_and_loses_the_signal(release):
    cohort = read_simulated(release, "learning")
    control = null_cohort(cohort, seed=1)
    assert control.name == "learning-null"
    assert "negative control" in control.source_label
    columns = ["time", "event"]
    before = cohort.table[columns].sort_values(columns).to_numpy()
    np.testing.assert_array_equal(control.table[columns].sort_values(columns).to_numpy(), before)
    assert control.table["patient_id"].equals(cohort.table["patient_id"])
    risk = read_truth(release, cohort)["log_hazard"]
    outcome = (control.table["time"], control.table["event"], risk)
    assert bootstrap_interval(concordance_index, outcome, None, 200).contains(0.5)
    assert control.table.equals(null_cohort(cohort, seed=1).table)
