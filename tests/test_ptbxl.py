"""Tests of ecgrepro.data.ptbxl."""

import numpy as np
import pandas as pd
import pytest

from ecgrepro.data import ptbxl
from ecgrepro.data.ptbxl import parse_scp_codes
from ecgrepro.errors import InputError
from tests.wfdb_fixture import COLUMNS, row, write_tables


@pytest.fixture
def folder(tmp_path):
    write_tables(tmp_path, [row(ecg_id) for ecg_id in range(1, 21)])
    return tmp_path


def rewrite(folder, *rows):
    write_tables(folder, rows)
    return ptbxl.open_release(folder)


def test_types(tmp_path):
    release = rewrite(
        tmp_path,
        row(1, age="300.0", sex="0", height="", weight="63.0", nurse="2.0", validated_by=""),
        row(2, age="", second_opinion="True", static_noise=" , I-V1,  ", report=""),
    )
    index = release.index
    assert index.index.name == "ecg_id"
    assert index.index.dtype == np.int64
    assert str(index["patient_id"].dtype) == "Int64"
    assert index["patient_id"].tolist() == [101, 102]
    assert index["age"].isna().tolist() == [True, True]
    assert index["age_over_89_or_unknown"].tolist() == [True, True]
    assert index["sex"].tolist() == [0, 1]
    assert index["second_opinion"].tolist() == [False, True]
    assert index["second_opinion"].dtype == bool
    assert index.loc[1, "recording_date"] == pd.Timestamp("1984-11-09 09:17:34")
    assert index.loc[1, "scp_codes"] == {"NORM": 100.0, "SR": 0.0}
    assert index.loc[2, "report"] == ""
    assert index.loc[2, "static_noise"] == " , I-V1,  "
    assert index.loc[1, "static_noise"] is np.nan or pd.isna(index.loc[1, "static_noise"])
    assert index.loc[1, "nurse"] == 2
    assert release.skipped.empty
    assert release.path_column == "filename_lr"
    assert ptbxl.open_release(tmp_path, 500).path_column == "filename_hr"


def test_dates_are_compared_as_dates(tmp_path):
    """S-27: 2018-07-04 against 2018-3-4 as text is wrong; dates are parsed, broken ones skipped."""
    release = rewrite(
        tmp_path,
        row(1, recording_date="2018-07-04 08:00:00"),
        row(2, recording_date="2018-03-04"),
        row(3, recording_date="soon"),
        row(4, recording_date=""),
    )
    dates = release.index["recording_date"]
    assert dates[1] > dates[2]
    assert dates.isna().tolist() == [False, False, True]
    assert release.skipped["row"].tolist() == [4]


def test_dicts_are_not_shared_between_records(folder):
    index = ptbxl.open_release(folder).index
    index.loc[1, "scp_codes"]["NORM"] = 1.0
    assert index.loc[2, "scp_codes"]["NORM"] == 100.0


def test_statements_are_indexed_by_code(folder):
    """S-30: the first header of the official csv is empty."""
    statements = ptbxl.open_release(folder).statements
    assert statements.loc["IMI", "diagnostic_class"] == "MI"
    assert statements.index[0] == "NORM"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scp_codes": "{'NORM': 100.0"}, "scp_codes"),
        ({"scp_codes": "__import__('os').getcwd()"}, "scp_codes"),
        ({"scp_codes": "['NORM']"}, "scp_codes"),
        ({"scp_codes": "{'NORM': 'much'}"}, "scp_codes"),
        ({"scp_codes": "{'NORM': -1}"}, "scp_codes"),
        ({"scp_codes": "(" * 3000}, "scp_codes"),
        ({"ecg_id": "three"}, "ecg_id 'three' is not a positive whole number"),
        ({"ecg_id": "3.5"}, "ecg_id"),
        ({"ecg_id": "1e+16"}, "ecg_id"),
        ({"ecg_id": "inf"}, "ecg_id"),
        ({"patient_id": ""}, "patient_id"),
        ({"strat_fold": "11"}, "strat_fold '11' is not a fold from 1 to 10"),
        ({"strat_fold": ""}, "strat_fold"),
        ({"sex": "m"}, "sex"),
        ({"age": "-3"}, "age"),
        ({"second_opinion": "perhaps"}, "second_opinion"),
        ({"filename_lr": ""}, "filename_lr '' is not a path"),
    ],
)
def test_unreadable_row_is_a_recorded_skip(tmp_path, changes, reason):
    release = rewrite(tmp_path, row(1), row(2), row(3, **changes), row(4))
    assert release.index.index.tolist() == [1, 2, 4]
    assert release.skipped["row"].tolist() == [4]  # the header is row 1
    assert release.skipped["ecg_id"].tolist() == [changes.get("ecg_id", "3")]
    assert release.skipped["reason"].str.contains(reason).all()


def test_odd_cells_of_other_columns_cost_nothing(tmp_path):
    release = rewrite(
        tmp_path,
        row(1, nurse="1e300", recording_date="2001-01-01T12:00:00+02:00"),
        row(2, height="tall", nurse="2.0"),
    )
    assert release.skipped.empty
    assert release.index["recording_date"].tolist() == [
        pd.Timestamp("2001-01-01 10:00:00"),
        pd.Timestamp("1984-11-09 09:17:34"),
    ]
    assert release.index["nurse"].tolist() == [1e300, 2.0]
    assert release.index["height"].isna().all()


def test_rows_are_numbered_as_an_editor_does(folder):
    """Blank lines and line breaks within a cell count as lines."""
    file = folder / "ptbxl_database.csv"
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace("sinusrhythmus", '"sinus\nrhythmus"')  # lines 4 and 5
    lines[4] = lines[4].replace("{'NORM': 100.0", "{'NORM': ")
    lines.insert(2, "")  # line 3
    file.write_text("\n".join(lines) + "\n\n")
    release = ptbxl.open_release(folder)
    assert release.index.loc[3, "report"] == "sinus\nrhythmus"
    assert file.read_text().splitlines()[6].startswith("4,")
    assert release.skipped[["row", "ecg_id"]].values.tolist() == [[7, "4"]]
    assert len(release.index) == 19


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [*lines[:2], lines[2] + ",surplus", *lines[3:]], "row 3: 29 fields, not 28"),
        (lambda lines: [lines[0], *(line + ",x" for line in lines[1:])], "row 2: 29 fields"),
        (lambda lines: [*lines, "", '21,"never closed'], "row 23: not readable"),
        (lambda lines: [*lines, '21,"' + "\xff" * 200_000], "row 22: not readable"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused_by_number(folder, damage, message):
    """Nobody can tell which cell of such a row belongs to which column."""
    file = folder / "ptbxl_database.csv"
    file.write_text("\n".join(damage(file.read_text().splitlines())))
    with pytest.raises(InputError, match=f"ptbxl_database.csv, {message}"):
        ptbxl.open_release(folder)


def test_short_row_and_commas_at_line_ends(folder):
    file = folder / "ptbxl_database.csv"
    lines = file.read_text().splitlines()
    lines[4] = lines[4][:40]
    file.write_text("\n".join([lines[0], *(line + "," for line in lines[1:])]))
    release = ptbxl.open_release(folder)
    assert release.skipped["row"].tolist() == [5]
    assert len(release.index) == 19


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_read(folder, separator):
    expected = ptbxl.open_release(folder).index
    file = folder / "ptbxl_database.csv"
    pd.read_csv(file, dtype=str).to_csv(file, sep=separator, index=False)
    pd.testing.assert_frame_equal(ptbxl.open_release(folder).index, expected)
    file.write_text(file.read_text(), encoding="utf-16")
    with pytest.raises(InputError, match="not text in UTF-8"):
        ptbxl.open_release(folder)


def test_bad_bytes_do_not_stop_the_reading(folder):
    file = folder / "ptbxl_database.csv"
    file.write_bytes(file.read_bytes().replace(b"sinusrhythmus", b"sinus\xc4rhythmus", 1))
    assert ptbxl.open_release(folder).index.loc[1, "report"] == "sinus�rhythmus"


def test_missing_things_are_named(folder):
    with pytest.raises(InputError, match="nowhere is not a folder"):
        ptbxl.open_release(folder / "nowhere")
    with pytest.raises(InputError, match="250 Hz"):
        ptbxl.open_release(folder, 250)
    statements = folder / "scp_statements.csv"
    text = statements.read_text()
    statements.write_text(text.replace("diagnostic_class", "class"))
    with pytest.raises(InputError, match=r"scp_statements.csv lacks column diagnostic_class"):
        ptbxl.open_release(folder)
    statements.write_text(text.replace("NORM,normal ECG,1.0", "NORM,normal ECG,yes"))
    with pytest.raises(InputError, match="diagnostic of NORM is 'yes'"):
        ptbxl.open_release(folder)
    statements.write_text(text + "NORM,twice" + "," * 11 + "\n")
    with pytest.raises(InputError, match="NORM twice"):
        ptbxl.open_release(folder)
    statements.unlink()
    with pytest.raises(InputError, match=r"scp_statements.csv is missing"):
        ptbxl.open_release(folder)
    (folder / "ptbxl_database.csv").unlink()
    with pytest.raises(InputError, match=r"ptbxl_database.csv is missing"):
        ptbxl.open_release(folder)


@pytest.mark.parametrize("column", ["scp_codes", "strat_fold", "filename_lr", "validated_by_human"])
def test_missing_column_is_named(tmp_path, column):
    rows = [{k: v for k, v in row(i).items() if k != column} for i in (1, 2)]
    with pytest.raises(InputError, match=f"ptbxl_database.csv lacks column {column}"):
        rewrite(tmp_path, *rows)


def test_duplicate_ecg_id_is_refused_with_both_rows(tmp_path):
    with pytest.raises(InputError, match="ecg_id 2 in rows 3, 5"):
        rewrite(tmp_path, row(1), row(2), row(3), row(2))


def test_no_usable_row_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no usable row \(row 2"):
        rewrite(tmp_path, row(1, sex="x"))
    (tmp_path / "ptbxl_database.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(InputError, match="no usable row"):
        ptbxl.open_release(tmp_path)
    (tmp_path / "ptbxl_database.csv").write_text("")
    with pytest.raises(InputError, match="lacks column"):
        ptbxl.open_release(tmp_path)


def test_older_release_reads_alike(tmp_path):
    """v1.0.1 differs in rows and in number formats, not in columns."""
    release = rewrite(tmp_path, row(1, patient_id="15709", strat_fold="3.0", sex="1.0"), row(2))
    assert release.index.loc[1, "patient_id"] == 15709
    assert release.index.loc[1, "strat_fold"] == 3


def test_parse_scp_codes():
    assert parse_scp_codes("{'IMI': 15.0, 'LNGQT': 100}") == {"IMI": 15.0, "LNGQT": 100.0}
    assert parse_scp_codes("{}") == {}
    for text in ("{'A': True}", "{'A': 1e999}", "{'A': NaN}", "{'A': '1'}", "[" * 100_000):
        assert parse_scp_codes(text) == text


def test_superclasses_in_one_order(tmp_path):
    """S-24: the study's metric named the classes in another order than its labels."""
    codes = ["{'CRBBB': 0.0}", "{'LVH': 100.0}", "{'IMI': 15.0, 'SR': 0}", "{'NORM': 80}"]
    codes += ["{'LNGQT': 100.0, 'CRBBB': 50.0}", "{'SR': 0.0, 'UNKNOWN': 100}"]
    release = rewrite(tmp_path, *(row(i + 1, scp_codes=text) for i, text in enumerate(codes)))
    matrix = ptbxl.superclass_matrix(release.index, release.statements)
    assert ptbxl.SUPERCLASSES == ("CD", "HYP", "MI", "NORM", "STTC")
    assert matrix.dtype == np.uint8
    named = [[c for c, on in zip(ptbxl.SUPERCLASSES, r, strict=True) if on] for r in matrix]
    assert named == [["CD"], ["HYP"], ["MI"], ["NORM"], ["CD", "STTC"], []]


def test_folds_nine_and_ten(folder):
    index = ptbxl.open_release(folder).index
    labels = ptbxl.split_by_fold(index)
    assert (labels[index["strat_fold"] <= 8] == "train").all()
    assert (labels[index["strat_fold"] == 9] == "validation").all()
    assert (labels[index["strat_fold"] == 10] == "test").all()
    assert set(labels) == set(ptbxl.SPLITS)


@pytest.mark.parametrize(
    ("absent", "expected"), [((9, 10), (7, 8)), ((10,), (8, 9)), ((9,), (8, 10))]
)
def test_partial_download_takes_the_highest_folds_present(folder, absent, expected):
    index = ptbxl.open_release(folder).index
    present = index.index[~index["strat_fold"].isin(absent)][::-1]
    labels = ptbxl.split_by_fold(index, present)
    assert labels.index.tolist() == present.tolist()
    assert set(index.loc[labels.index[labels == "validation"], "strat_fold"]) == {expected[0]}
    assert set(index.loc[labels.index[labels == "test"], "strat_fold"]) == {expected[1]}


def test_no_patient_crosses_a_split(tmp_path):
    """S-29: a patient with records in two splits is leakage, so it is refused by name."""
    rows = [row(i) for i in range(1, 21)]
    index = rewrite(tmp_path, *rows).index
    labels = ptbxl.split_by_fold(index)
    assert labels.groupby(index["patient_id"]).nunique().max() == 1
    rows[3]["patient_id"] = rows[8]["patient_id"]  # folds 5 and 10
    with pytest.raises(InputError, match="patient 109"):
        ptbxl.split_by_fold(rewrite(tmp_path, *rows).index)


def test_split_needs_three_folds_and_known_ids(folder):
    index = ptbxl.open_release(folder).index
    with pytest.raises(InputError, match="three are needed"):
        ptbxl.split_by_fold(index, [1, 2, 11])
    with pytest.raises(InputError, match="ecg_id 999"):
        ptbxl.split_by_fold(index, [1, 999])


def test_genuine_release(real_ptbxl):
    release = ptbxl.open_release(real_ptbxl)
    assert len(release.index) == 21_799
    assert len(release.statements) == 71
    assert release.skipped.empty
    assert release.index["patient_id"].nunique() == 18_869
    assert release.index["age_over_89_or_unknown"].sum() == 293
    labels = ptbxl.split_by_fold(release.index)
    assert labels.value_counts().to_dict() == {"train": 17_418, "test": 2_198, "validation": 2_183}
    assert labels.groupby(release.index["patient_id"]).nunique().max() == 1
    matrix = ptbxl.superclass_matrix(release.index, release.statements)
    assert matrix.sum(axis=0).tolist() == [4898, 2649, 5469, 9514, 5235]
    assert (matrix.sum(axis=1) == 0).sum() == 411
