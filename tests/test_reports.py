"""Structured reports: every genuine code, the policies for confidence 0, and codes nobody knows."""

import ast
import logging
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.text.reports import (
    CATEGORY,
    DESCRIPTION,
    code_weights,
    compose_report,
    compose_reports,
    statement_texts,
    unknown_codes,
)

SNAPSHOT = Path(__file__).parent / "data" / "structured_statements.csv"


@pytest.fixture(params=["genuine", "packaged"])
def statements(request: pytest.FixtureRequest) -> pd.DataFrame:
    if request.param == "genuine":
        path = request.getfixturevalue("real_ptbxl") / "scp_statements.csv"
    else:
        path = ROOT / "ecgrepro" / "simulate" / "scp_statements.csv"
        if not path.is_file():
            pytest.skip("no packaged scp_statements.csv")
    return pd.read_csv(path, index_col=0)


@pytest.fixture
def small() -> pd.DataFrame:
    return pd.DataFrame(
        {
            CATEGORY: ["Myocardial Infarction", "other rhythm statements"],
            DESCRIPTION: ["inferior myocardial infarction", "Prolonged PR interval"],
        },
        index=["IMI", "LPR"],
    )


def test_the_two_lines_of_the_study(statements: pd.DataFrame) -> None:
    assert compose_report({"IMI": 15.0, "LNGQT": 100.0}, statements) == (
        "Myocardial Infarction: Inferior myocardial infarction, Confidence score: 15.0\n"
        "Other ST-T descriptive statements: long QT-interval, Confidence score: 100.0"
    )


def test_all_71_statements_match_the_reviewed_snapshot(statements: pd.DataFrame) -> None:
    expected = pd.read_csv(SNAPSHOT, index_col="code", dtype=str)["statement"]
    composed = statement_texts(statements)
    assert len(composed) == 71
    assert composed.to_dict() == expected.to_dict()
    assert composed.is_unique


@pytest.mark.parametrize(
    ("category", "description", "expected"),
    [
        ("Big Words", "some block", "Big Words: Some block"),
        ("Two words", "some block", "Two words: some block"),
        ("Normal/abnormal", "some block", "Normal/abnormal: some block"),
        ("small words", "T-wave abnormality", "Small words: T-wave abnormality"),
        ("small words", "Q waves present", "Small words: Q waves present"),
        ("small words", "QT interval", "Small words: QT interval"),
        (
            "small words",
            "Wolff-Parkinson-White syndrome",
            "Small words: Wolff-Parkinson-White syndrome",
        ),
        (" small words ", " Prolonged PR interval ", "Small words: prolonged PR interval"),
    ],
)
def test_case_of_the_description(category: str, description: str, expected: str) -> None:
    table = pd.DataFrame({CATEGORY: [category], DESCRIPTION: [description]}, index=["X"])
    assert statement_texts(table)["X"] == expected


def test_lines_keep_the_order_of_the_codes(small: pd.DataFrame) -> None:
    forward = compose_report({"IMI": 50, "LPR": 0}, small).splitlines()
    backward = compose_report({"LPR": 0, "IMI": 50}, small).splitlines()
    assert forward == backward[::-1]
    assert forward[1].endswith("prolonged PR interval, Confidence score: 0.0")


def test_unknown_codes_are_reported_and_logged_once(
    small: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    index = pd.DataFrame(
        {"scp_codes": [{"IMI": 100.0}, {"XYZ": 35.0, "IMI": 0.0}, {"XYZ": 0.0, "QQQ": 1.0}]},
        index=[7, 8, 9],
    )
    with caplog.at_level(logging.WARNING):
        reports = compose_reports(index, small)
    assert reports[8].splitlines()[0] == "Unknown statement: XYZ, Confidence score: 35.0"
    assert len(caplog.records) == 2
    assert "'XYZ'" in caplog.text
    assert "2 record(s), e.g. ecg_id 8" in caplog.text
    table = unknown_codes(index, small)
    assert table["records"].to_dict() == {"XYZ": 2, "QQQ": 1}
    assert table.loc["QQQ", "example_ecg_id"] == 9
    assert unknown_codes(index.iloc[:1], small).empty


def test_reports_of_a_table_equal_single_reports(real_ptbxl: Path) -> None:
    statements = pd.read_csv(real_ptbxl / "scp_statements.csv", index_col=0)
    index = pd.read_csv(real_ptbxl / "ptbxl_database.csv", index_col="ecg_id", nrows=200)
    index["scp_codes"] = index["scp_codes"].map(ast.literal_eval)
    reports = compose_reports(index, statements)
    assert reports.to_dict() == {
        ecg_id: compose_report(codes, statements) for ecg_id, codes in index["scp_codes"].items()
    }


@pytest.mark.parametrize("value", [math.nan, -1.0, math.inf, "high", None])
def test_impossible_confidence_names_record_and_code(small: pd.DataFrame, value: object) -> None:
    index = pd.DataFrame({"scp_codes": [{"IMI": 100.0}, {"IMI": value}]}, index=[1, 42])
    with pytest.raises(InputError, match=r"Record 42.*'IMI'"):
        compose_reports(index, small)


def test_unusable_tables_are_refused_in_one_sentence(small: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="SCP-ECG Statement Description"):
        compose_report({"IMI": 1.0}, small[[CATEGORY]])
    with pytest.raises(InputError, match="'IMI' more than once"):
        statement_texts(pd.concat([small, small]))
    with pytest.raises(InputError, match="no text for the code 'IMI'"):
        statement_texts(small.assign(**{DESCRIPTION: math.nan}))
    with pytest.raises(InputError, match="scp_codes"):
        compose_reports(pd.DataFrame({"x": [1]}), small)
    with pytest.raises(InputError, match="record 5"):
        compose_reports(pd.DataFrame({"scp_codes": ["{'IMI': 1.0}"]}, index=[5]), small)


def test_no_codes_no_lines(small: pd.DataFrame) -> None:
    assert compose_report({}, small) == ""
    assert code_weights({}) == {}


def test_confidence_zero_is_unknown_not_absent() -> None:
    """S-6: under 'keep' the rhythm statement of {SR: 0, NORM: 100} stays; 'drop' is the study's policy."""
    assert code_weights({"SR": 0.0, "NORM": 100.0}, "keep") == {"SR": 0.5, "NORM": 0.5}
    assert code_weights({"SR": 0.0, "NORM": 100.0}, "drop") == {"NORM": 1.0}


@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_all_zero_records_get_equal_weights(policy: str) -> None:
    """S-6, R-7: no NaN, no division by zero."""
    assert code_weights({"SR": 0.0, "LVOLT": 0.0}, policy) == {"SR": 0.5, "LVOLT": 0.5}


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(InputError, match="'keep' or 'drop'"):
        code_weights({"SR": 0.0}, "ignore")


@given(
    codes=st.dictionaries(
        st.sampled_from(["SR", "NORM", "IMI", "LVH", "AFIB"]),
        st.sampled_from([0.0, 15.0, 35.0, 50.0, 100.0]),
    ),
    policy=st.sampled_from(["keep", "drop"]),
)
def test_weights_are_a_distribution_over_the_codes(codes: dict[str, float], policy: str) -> None:
    weights = code_weights(codes, policy)
    assert weights.keys() <= codes.keys()
    if codes:
        assert math.isclose(sum(weights.values()), 1.0)
        assert all(weight > 0 for weight in weights.values())
    if policy == "keep":
        assert weights.keys() == codes.keys()
