"""The simulated population looks like PTB-XL's: prevalences, ages, sexes, confidences."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgrepro.simulate.coding import read_statements
from ecgrepro.simulate.disease import DISEASES, MAX_SEVERITY, NAMES, draw_states, scales
from ecgrepro.simulate.outcomes import severity_from_codes, visible_severity
from ecgrepro.simulate.release import deal_folds, draw_people, superclass_sets
from tests.simulate.conftest import Population

SUPERCLASSES = {"NORM": 0.436, "MI": 0.251, "STTC": 0.240, "CD": 0.225, "HYP": 0.122}


def test_superclasses_have_ptbxls_prevalence(population: Population) -> None:
    sets = superclass_sets(population.codes)
    for name, share in SUPERCLASSES.items():
        assert np.mean([name in s for s in sets]) == pytest.approx(share, abs=0.04), name


def test_codes_have_ptbxls_prevalence(population: Population, real_ptbxl: Path) -> None:
    genuine = pd.read_csv(real_ptbxl / "ptbxl_database.csv")["scp_codes"].map(ast.literal_eval)
    ours = pd.Series([code for row in population.codes for code in row]).value_counts()
    theirs = pd.Series([code for row in genuine for code in row]).value_counts()
    ours, theirs = ours / len(population.codes), theirs / len(genuine)
    assert set(ours.index) <= set(theirs.index)
    assert len(ours) >= 65
    common = theirs.index[theirs > 0.015]
    ratio = ours.reindex(common).fillna(0) / theirs[common]
    assert ratio.between(0.6, 1.67).all(), ratio[~ratio.between(0.6, 1.67)]
    mean = np.mean([len(row) for row in population.codes])
    assert mean == pytest.approx(np.mean([len(row) for row in genuine]), abs=0.25)


def test_confidence_zero_is_the_rule_for_rhythm_and_form(population: Population) -> None:
    """S-6: confidence 0 means unknown, and the simulated release must hold as much of it."""
    table = read_statements()
    shares = {}
    for kind in ("diagnostic", "form", "rhythm"):
        members = set(table.index[table[kind] == 1.0])
        values = [v for row in population.codes for c, v in row.items() if c in members]
        shares[kind] = np.mean(np.asarray(values) == 0)
    assert shares["diagnostic"] < 0.03
    assert shares["form"] == pytest.approx(0.69, abs=0.06)
    assert shares["rhythm"] == pytest.approx(0.98, abs=0.012)


def test_disease_rises_with_age_and_men_have_more_infarcts(population: Population) -> None:
    sets = superclass_sets(population.codes)
    infarct = np.array(["MI" in s for s in sets])
    normal = np.array(["NORM" in s for s in sets])
    age, male = population.states["age"], population.states["male"]
    by_age = [infarct[(age >= a) & (age < a + 15)].mean() for a in (30, 45, 60, 75)]
    assert (np.diff(by_age) > 0).all()
    assert infarct[male == 1].mean() > 1.3 * infarct[male == 0].mean()
    assert normal[age < 40].mean() > 2 * normal[age > 75].mean()


def test_codes_are_fallible_readings_of_severity(population: Population) -> None:
    coded = np.array(["LVH" in row for row in population.codes])
    severity = population.states["lvh"].to_numpy()
    assert severity[coded].mean() > 0.4
    assert (severity[coded] == 0).mean() < 0.02
    uncoded_but_ill = (~coded & (severity > 0.05)).sum()
    assert uncoded_but_ill > 0.1 * coded.sum()


def test_surer_infarcts_are_larger(population: Population) -> None:
    frame = pd.DataFrame(
        {
            "confidence": [row.get("ASMI", np.nan) for row in population.codes],
            "size": population.states["anteroseptal"],
        }
    ).dropna()
    means = frame.groupby(frame["confidence"] >= 80)["size"].mean()
    assert means[True] > means[False] + 0.1


def test_normal_ecgs_have_no_diagnosis_but_minor_ones(population: Population) -> None:
    forbidden = {"IMI", "ASMI", "LVH", "ISC_", "CLBBB", "CRBBB", "PACE", "LAFB"}
    assert not any("NORM" in row and forbidden & set(row) for row in population.codes)


def test_severities_and_intervals_are_plausible(population: Population) -> None:
    s = population.states
    values = s[list(NAMES)].to_numpy()
    assert values.min() == 0
    assert values.max() <= MAX_SEVERITY
    assert s["heart_rate"].between(30, 200).all()
    assert s["qrs_ms"].between(70, 190).all()
    assert s["pr_ms"].dropna().between(80, 345).all()
    assert 88 < s["qrs_ms"].median() < 98
    assert 66 < s["heart_rate"].median() < 76
    assert 395 < s["qtc_ms"].median() < 425
    blocked = s["lbbb"] > 0.5
    assert s.loc[blocked, "qrs_ms"].median() > 125
    assert s["rhythm"].isin(["fibrillation"]).mean() == pytest.approx(0.07, abs=0.015)


def test_ecgs_of_one_patient_are_alike() -> None:
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(1500), 2)
    states = draw_states(patient, np.full(3000, 65.0), np.ones(3000), rng)
    x = states["x_anteroseptal"].to_numpy().reshape(-1, 2)
    assert 0.75 < np.corrcoef(x.T)[0, 1] < 0.97
    assert (states["hypertension"].to_numpy().reshape(-1, 2).std(axis=1) == 0).all()


def test_every_disease_has_a_scale() -> None:
    assert set(scales()) == set(NAMES)


def test_severity_is_standardised_and_led_by_shape(population: Population) -> None:
    severity = visible_severity(population.states)
    assert severity.mean() == pytest.approx(0, abs=0.06)
    assert severity.std() == pytest.approx(1, abs=0.08)
    norm = np.array(["NORM" in row for row in population.codes])
    assert severity[~norm].mean() - severity[norm].mean() > 0.8
    weights = {disease.name: disease.weight for disease in DISEASES}
    assert weights["lvh"] < weights["inferior"] < weights["lbbb"]


def test_severity_from_codes_agrees_with_the_latent_one(population: Population) -> None:
    by_codes = np.array([severity_from_codes(row) for row in population.codes])
    latent = visible_severity(population.states)
    assert np.corrcoef(by_codes, latent)[0, 1] > 0.8
    assert abs(by_codes.mean() - latent.mean()) < 0.25


def test_severity_from_codes_orders_patients() -> None:
    """S-6: a confidence of 0 is unknown, so it counts, and certainty adds."""
    healthy = severity_from_codes({"NORM": 100.0, "SR": 0.0})
    assert healthy == severity_from_codes({})
    assert healthy == severity_from_codes({"NOT_A_CODE": 100.0})
    doubtful = severity_from_codes({"IMI": 15.0, "SR": 0.0})
    certain = severity_from_codes({"IMI": 100.0, "SR": 0.0})
    assert healthy < doubtful < certain
    assert severity_from_codes({"AFIB": 0.0}) == severity_from_codes({"AFIB": 100.0}) > healthy
    assert certain < severity_from_codes({"IMI": 100.0, "CLBBB": 100.0})


def test_folds_are_stratified() -> None:
    rng = np.random.default_rng(1)
    people = draw_people(3000, rng)
    classes = pd.Series(
        [{"MI"} if u < 0.25 else {"NORM"} for u in rng.uniform(size=len(people))], dtype=object
    )
    fold = deal_folds(people["patient"].to_numpy(), classes, rng)
    share = classes.map(lambda s: "MI" in s).groupby(fold).mean()
    assert share.max() - share.min() < 0.03
    sizes = np.bincount(fold)[1:]
    assert sizes.max() / sizes.min() < 1.05
