"""UK Biobank: dated exports, CardioSoft XML; restricted, so nothing shows a participant."""

import logging

import numpy as np
import pandas as pd
import pytest

from ecgrepro.cohorts import describe
from ecgrepro.cohorts.uk_biobank import (
    HYP,
    MI,
    build_cohort,
    read_cardiosoft,
    read_waveforms,
)
from ecgrepro.data.signals import LEADS
from ecgrepro.errors import InputError


def block(tag: str, rate: int, samples: np.ndarray, names: list[str], resolution: str = "5") -> str:
    """A block of an export: integers in lines of eight, tabs and newlines between, as the device writes them."""
    waves = []
    for name, row in zip(names, samples, strict=True):
        cells = [str(int(value)) for value in row]
        lines = [",".join(cells[k : k + 8]) for k in range(0, len(cells), 8)]
        waves.append(
            f'<WaveformData lead="{name}">\n\t\t' + ",\n\t\t".join(lines) + "\n</WaveformData>"
        )
    return (
        f"<{tag}><NumberOfLeads>{len(names)}</NumberOfLeads>"
        f'<SampleRate units="Hz">{rate}</SampleRate>'
        f"<ChannelSampleCountTotal>{samples.shape[1]}</ChannelSampleCountTotal>"
        f'<Resolution units="uVperLsb">{resolution}</Resolution>' + "".join(waves) + f"</{tag}>"
    )


def export(strip: np.ndarray, median: np.ndarray | None, names: list[str]) -> str:
    beat = "" if median is None else block("MedianSamples", 500, median, names)
    return (
        '<?xml version="1.0" encoding="ISO8859-1" ?>\n<CardiologyXML>'
        "<ObservationType>RestECG</ObservationType>"
        "<ObservationDateTime><Hour>9</Hour><Minute>5</Minute><Second>1</Second>"
        "<Day>4</Day><Month>3</Month><Year>2017</Year></ObservationDateTime>"
        f'<RestingECGMeasurements><QOnset units="ms">400</QOnset>{beat}</RestingECGMeasurements>'
        + block("StripData", 500, strip, names)
        + "</CardiologyXML>"
    )


@pytest.fixture
def ecg():
    rng = np.random.default_rng(0)
    return rng.integers(-300, 300, (12, 5000)), rng.integers(-300, 300, (12, 600))


# ------------------------------------------------------------------------------------------ CardioSoft


def test_cardiosoft_in_millivolts_with_leads_by_name(tmp_path, ecg):
    """S-36: leads are placed by name, whatever their order in the file."""
    strip, median = ecg
    order = [7, 3, 0, 11, 5, 1, 9, 2, 10, 4, 8, 6]
    names = [LEADS[k].upper() for k in order]
    (tmp_path / "a.xml").write_text(export(strip[order], median[order], names), "latin-1")
    found, rate = read_cardiosoft(tmp_path / "a.xml")
    np.testing.assert_allclose(found, strip * 0.005, atol=1e-6)
    assert rate == 500.0
    assert found.shape == (12, 5000)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<CardiologyXML>", "<RestingECG>", "not readable XML"),
        ('lead="V6"', 'lead="V5"', "lead V6 is missing"),
        ("uVperLsb", "dB", "is not usable"),
        ('<SampleRate units="Hz">500', '<SampleRate units="Hz">fast', "no numeric SampleRate"),
        ("StripData", "Nothing", "has no StripData"),
        ("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>', "defines XML entities"),
    ],
)
def test_cardiosoft_refuses_broken_files(tmp_path, ecg, old, new, words):
    (tmp_path / "a.xml").write_text(export(*ecg, list(LEADS)).replace(old, new))
    with pytest.raises(InputError, match=words):
        read_cardiosoft(tmp_path / "a.xml")


def test_cardiosoft_other_faults(tmp_path, ecg):
    text = export(ecg[0], None, list(LEADS))
    (tmp_path / "a.xml").write_text(text.replace("</WaveformData>", ",x</WaveformData>", 1))
    with pytest.raises(InputError, match="lead I holds a sample that is no number"):
        read_cardiosoft(tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text(text.replace("</WaveformData>", ",7</WaveformData>", 1))
    with pytest.raises(InputError, match="leads differ in length"):
        read_cardiosoft(tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text("<Other/>")
    with pytest.raises(InputError, match="starts with <Other>"):
        read_cardiosoft(tmp_path / "a.xml")
    with pytest.raises(InputError, match="is missing"):
        read_cardiosoft(tmp_path / "none.xml")


def test_waveforms_of_a_cohort_skip_and_record(tmp_path, ecg):
    folder = tmp_path / "xml"
    folder.mkdir()
    (folder / "1000037_20205_2_0.xml").write_text(export(*ecg, list(LEADS)))
    (folder / "1000038_20205_2_0.xml").write_text("<Other/>")
    (tmp_path / "outside.xml").write_text(export(*ecg, list(LEADS)))
    names = pd.Series(
        [
            "1000037_20205_2_0.xml",
            "1000038_20205_2_0.xml",
            "../outside.xml",
            "1000039_20205_2_0.xml",
        ]
    )
    found, skipped = read_waveforms(folder, names)
    assert list(found) == [0]
    assert skipped["position"].tolist() == [1, 2, 3]
    assert "leaves the folder" in skipped["reason"].iloc[1]
    assert not skipped["reason"].str.contains("10000").any()  # no identifier in a reason


# ----------------------------------------------------------------------------------------- dated export


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "ecgs.csv").write_text(
        "eid,ecg_date,waveform,age,sex\n"
        "1000001,2017-3-4,1.xml,60,1\n"
        "1000001,2019-03-04,1b.xml,62,1\n"  # a second ECG: the first counts
        "1000002,2018-03-04,2.xml,61,0\n"
        "1000003,2018-03-04,3.xml,62,0\n"
        "1000004,2018-03-04,4.xml,63,1\n"
        "1000005,2018-03-04,5.xml,64,1\n"
        "1000006,2018-03-04,6.xml,65,1\n"
        "1000007,2018-03-04,7.xml,66,1\n"
    )
    (tmp_path / "diagnoses.csv").write_text(
        "eid,code,date\n"
        "1000001,I10,2010-01-01\n"
        "1000001,I50.0,2018-07-04\n"  # event, 487 days after 2017-3-4
        "1000002,I10,2018-03-04\n"  # hypertension on the day of the ECG: enters
        "1000002,I500,2018-3-4\n"  # heart failure on that day: prevalent
        "1000003,I10,2018-03-05\n"  # a day too late
        "1000004,I10,2001-01-01\n"  # censored at the end
        "1000005,I10,2001-01-01\n"
        "1000005,I50,2020-01-01\n"  # after being lost: not observed
        "1000006,I10,2001-01-01\n"  # dies without the event
        "1000007,I21,2001-01-01\n"  # infarction alone: not in HYP
    )
    (tmp_path / "exits.csv").write_text(
        "eid,date,reason\n1000005,2019-03-04,lost\n1000006,2018-03-14,death\n"
    )
    return tmp_path


def test_incident_events_by_date(tables):
    """S-27: dates with and without zeros; prevalent cases leave, early censored ones stay (S-28)."""
    cohort = build_cohort(
        tables / "ecgs.csv", tables / "diagnoses.csv", HYP, "2023-01-06", tables / "exits.csv"
    )
    table = cohort.table.set_index("patient_id")
    assert table.index.tolist() == [1000001, 1000004, 1000005, 1000006]
    assert table["event"].tolist() == [1, 0, 0, 0]
    assert table["competing"].tolist() == [0, 0, 0, 1]
    assert table["time"].tolist() == [487.0, 1769.0, 365.0, 10.0]
    assert table["sex"].tolist() == [0, 0, 0, 0]  # field 31 has 1 for male
    assert table.loc[1000001, "waveform"] == "1.xml"
    assert [count for _, count in cohort.flow] == [7, 5, 4, 4]
    assert cohort.restricted
    with pytest.raises(InputError, match="is all censored"):
        build_cohort(tables / "ecgs.csv", tables / "diagnoses.csv", MI, "2023-01-06")


def test_bad_exports(tables):
    arguments = (tables / "ecgs.csv", tables / "diagnoses.csv", HYP)
    with pytest.raises(InputError, match="7 ECGs lie after the end"):
        build_cohort(*arguments, "2016-01-01")
    text = (tables / "diagnoses.csv").read_text()
    (tables / "diagnoses.csv").write_text(text.replace("2010-01-01", "01/01/2010"))
    with pytest.raises(InputError, match=r"diagnoses\.csv, row 2: column date is '01/01/2010'"):
        build_cohort(*arguments, "2023-01-06")
    (tables / "diagnoses.csv").write_text(text.replace("code", "icd"))
    with pytest.raises(InputError, match="no column code"):
        build_cohort(*arguments, "2023-01-06")
    (tables / "diagnoses.csv").write_text(text)
    (tables / "exits.csv").write_text("eid,date,reason\n1000005,2019-03-04,moved\n")
    with pytest.raises(InputError, match="is 'moved': use death or lost"):
        build_cohort(*arguments, "2023-01-06", tables / "exits.csv")


def test_nothing_shown_names_a_participant(tables, caplog):
    caplog.set_level(logging.DEBUG)
    cohort = build_cohort(tables / "ecgs.csv", tables / "diagnoses.csv", HYP, "2023-01-06")
    shown = f"{cohort!r} {describe(cohort)} {caplog.text}"
    for eid in pd.read_csv(tables / "ecgs.csv")["eid"]:
        assert str(eid) not in shown
    assert describe(cohort)["events"] == "<10"
