"""Free-text reports into English: phrases, promises, bad input, and the whole genuine table."""

import ast
import logging
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro.errors import InputError
from ecgrepro.text.translation import (
    broken_promises,
    coverage_table,
    load_translator,
    split_boilerplate,
    translate_reports,
    unmatched_words,
)
from ecgrepro.text.translation.checks import scp_agreement
from ecgrepro.text.translation.tokens import repair


def english(report: str) -> str:
    return translate_reports([report])["report_en"][0]


GERMAN = {
    "sinusrhythmus lagetyp normal normales ekg": "sinus rhythm. normal axis. normal ecg.",
    "sinusbradykardie linkstyp sonst normales ekg": (
        "sinus bradycardia. left axis deviation. otherwise normal ecg."
    ),
    "sinusrhythmus verdacht auf p-sinistrocardiale ueberdrehter linkstyp": (
        "sinus rhythm. suspected left atrial enlargement. extreme left axis deviation."
    ),
    "sinusrhythmus periphere niederspannung": "sinus rhythm. peripheral low voltage.",
    "tachykardes vorhofflimmern rechtstyp linksschenkelblock": (
        "atrial fibrillation with rapid ventricular response. right axis deviation. left bundle branch block."
    ),
    "sinusrhythmus linkstyp qrs(t) abnorm    inferiorer infarkt     wahrscheinlich alt": (
        "sinus rhythm. left axis deviation. abnormal qrs(t), inferior infarction, probably old."
    ),
    "sinusrhythmus qrs(t) abnorm    anteroseptaler infarkt     alter unbest. qt-verlängerung": (
        "sinus rhythm. abnormal qrs(t), anteroseptal infarction, age undetermined. qt prolongation."
    ),
    "vorhofflimmern/-flattern st & t abnorm, wahrscheinlich    anterolaterale ischämie oder linksbelastung": (
        "atrial fibrillation/flutter. st & t abnormality, probably anterolateral ischemia or left ventricular strain."
    ),
    "sinusrhythmus t abnorm in anterolateralen ableitungen    inferolateralen ableitungen": (
        "sinus rhythm. t wave abnormality in anterolateral leads, inferolateral leads."
    ),
    "sinusrhythmus septaler infarkt nicht auszuschliessen": (
        "sinus rhythm. septal infarction cannot be excluded."
    ),
    "a-v block i unspezifisches abnormales t": (
        "first degree av block. non-specific t wave abnormality."
    ),
    "av-block 1.grades llt t neg in v2-3, flach in iii": (
        "1st degree av block. left axis deviation. t wave negative in v2-3, flat in iii."
    ),
    "regelmässiger rhythmus, keine p-welle erkannt": "regular rhythm, no p wave detected.",
    "infarkt inferior chronisch moeglich kammerhypertrophie lvh sicher grenzbefund": (
        "possible chronic inferior infarction. definite left ventricular hypertrophy. borderline finding."
    ),
    "schenkelblock partiell rechts st- hebung v1, v2 ekg wahrscheinlich normal": (
        "partial right bundle branch block. st elevation v1, v2. probably normal ecg."
    ),
    "intraventr. leitungsstoerung ii,iii,avf keine r- progression v1 - v4": (
        "intraventricular conduction disturbance ii,iii,avf. no r wave progression v1 - v4."
    ),
    "ventrikuläre extrasystole(n), bigeminus sinus arrhythmie": (
        "ventricular extrasystole(s), bigeminy. sinus arrhythmia."
    ),
    "vorhofsueberlastung links moeglich pathologisch": "possible left atrial overload. pathological ecg.",
}
SWEDISH = {
    "sinusrytm normalt ekg": "sinus rhythm. normal ecg.",
    "sinusrytm vänster el-axel eljest normalt ekg": (
        "sinus rhythm. left axis deviation. otherwise normal ecg."
    ),
    "sinusrytm avvikande qrs(t) förlopp    inferior myokardskada kan ej uteslutas": (
        "sinus rhythm. abnormal qrs(t), inferior myocardial damage cannot be excluded."
    ),
    "förmaksflimmer/-fladder hög lateral infarkt bör övervägas": (
        "atrial fibrillation/flutter. high lateral infarction should be considered."
    ),
    "regelbunden rytm, inga p-våg funna misstänkt vänster kammarhypertrofi": (
        "regular rhythm, no p waves found. suspected left ventricular hypertrophy."
    ),
    "t-förändring v5/v6 samt avl och i, såsom vid ischemi": (
        "t wave change v5/v6 and avl and i, as in ischemia."
    ),
}


@pytest.mark.parametrize("report", GERMAN)
def test_german(report: str) -> None:
    assert english(report) == GERMAN[report]


@pytest.mark.parametrize("report", SWEDISH)
def test_swedish(report: str) -> None:
    assert english(report) == SWEDISH[report]


@pytest.mark.parametrize(
    "report",
    [
        "sinus rhythm. normal ecg.",
        "trace only requested.",
        "atrial fibrillation. t waves are low or flat in i, avl, v5,6. non-specific but consistent with ischaemia.",
        "Sinus Rhythm, 62/min. QTc 440 ms.",
        "",
        "62.",
    ],
)
def test_english_is_never_touched(report: str) -> None:
    assert english(report) == report
    assert translate_reports([report])["report_en_source"][0] in {"untouched", "empty"}


def test_statements_of_two_languages_in_one_report() -> None:
    table = translate_reports(
        [
            "sinus rhythm. left axis deviation. verdacht auf linkshypertrophie. no definite pathology."
        ]
    )
    assert table["report_en"][0] == (
        "sinus rhythm. left axis deviation. suspected left ventricular hypertrophy. no definite pathology."
    )
    assert table["language"][0] == "mixed"


# --- spelling ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "report",
    [
        "mässige amplitudenkriterien für linkshypertrophie",
        "MÄSSIGE AMPLITUDENKRITERIEN FÜR LINKSHYPERTROPHIE",
        "maessige amplitudenkriterien fuer linkshypertrophie",
        "massige amplitudenkriterien fur linkshypertrophie",
        "m#ssige amplitudenkriterien f#r linkshypertrophie",
        "m\ufffdssige amplitudenkriterien f\ufffdr linkshypertrophie",
        "m?ssige amplitudenkriterien f?r linkshypertrophie",
        "mÃ¤ssige amplitudenkriterien fÃ¼r linkshypertrophie",
        "ma\u0308ssige amplitudenkriterien fu\u0308r linkshypertrophie",
        "mässige  amplitudenkriterien\tfür\nlinkshypertrophie",
    ],
)
def test_umlauts_in_every_disguise(report: str) -> None:
    assert english(report) == "moderate voltage criteria for left ventricular hypertrophy."


@pytest.mark.parametrize(
    ("report", "expected", "repaired"),
    [
        ("vorhoffllimmern", "atrial fibrillation.", 1),  # a letter too many
        ("sinusrhyhtmus", "sinus rhythm.", 1),  # two letters exchanged
        ("sinus-bradykardie", "sinus bradycardia.", 0),
        ("vollständiger rechts-schenkelblock", "complete right bundle branch block.", 0),
        ("rechtsschen- kelblock", "right bundle branch block.", 0),  # a word cut by the line
        ("linksanteriorer hemiblocksinusrhythmus", "left anterior hemiblock. sinus rhythm.", 0),
        (
            "sinusrhythmus t abnorm in anterioren ableitu",
            "sinus rhythm. t wave abnormality in anterior leads.",
            1,
        ),
        ("laterale ischämie oder linksbelas", "lateral ischemia or left ventricular strain.", 1),
    ],
)
def test_spelling_is_repaired_and_recorded(report: str, expected: str, repaired: int) -> None:
    table = translate_reports([report])
    assert table["report_en"][0] == expected
    assert len(table["repaired"][0].split("; ")) - (table["repaired"][0] == "") == repaired


def test_repair_never_drops_a_negating_prefix() -> None:
    assert "incomplete" in english("unvolständiger rechtsschenkelblock")
    assert english("unregelmäsiger rhythmus") == "irregular rhythm."


def test_unknown_words_are_left_and_marked() -> None:
    report = "sinusrhythmus quetschbefund in v3"
    plain, marked = translate_reports([report]), translate_reports([report], mark=True)
    assert plain["report_en"][0] == "sinus rhythm quetschbefund in v3."
    assert marked["report_en"][0] == "sinus rhythm [quetschbefund] in v3."
    assert plain["report_en_source"][0] == "partial"
    assert plain["unmatched"][0] == "quetschbefund"
    assert plain["coverage"][0] == pytest.approx(3 / 4)


def test_to_do_list_is_ranked() -> None:
    reports = pd.Series(
        ["sinusrhythmus foobar", "linkstyp foobar", "rechtstyp bazquux"], index=[3, 5, 9]
    )
    todo = unmatched_words(translate_reports(reports), reports)
    assert todo["reports"].to_dict() == {"foobar": 2, "bazquux": 1}
    assert todo.loc["bazquux", "example"] == "rechtstyp bazquux"


# --- boilerplate ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report", "body", "unconfirmed", "edit", "consensus"),
    [
        ("normales ekg 4.46       unbestÄtigter bericht", "normales ekg", True, "", ""),
        ("normales ekg 4.46       unbestätigter beri", "normales ekg", True, "", ""),
        ("normales ekg 4.46", "normales ekg", True, "", ""),
        ("normalt ekg      obekrÄftad rapport", "normalt ekg", True, "", ""),
        (
            "normal ecg. Edit: NORM 100, (NORM 100)",
            "normal ecg.",
            False,
            "NORM 100, (NORM 100)",
            "",
        ),
        (
            "normalt ekgconsensus label derived from: {'SR': 0.0}",
            "normalt ekg",
            False,
            "",
            "{'SR': 0.0}",
        ),
        ("q in v2, v3-4 4", "q in v2, v3-4 4", False, "", ""),
    ],
)
def test_boilerplate_becomes_fields(
    report: str, body: str, unconfirmed: bool, edit: str, consensus: str
) -> None:
    parts = split_boilerplate(report)
    assert (parts.body, parts.unconfirmed, parts.edit, parts.consensus) == (
        body,
        unconfirmed,
        edit,
        consensus,
    )


def test_labels_of_the_annotators_do_not_reach_the_text() -> None:
    """The re-annotation after 'Edit:' is the label itself: in the text it would leak what is to be learnt."""
    table = translate_reports(["sinusrhythmus normales ekg Edit: LVH 100, ISC, Sokolow 4,2"])
    assert table["report_en"][0] == "sinus rhythm. normal ecg."
    assert table["edit"][0] == "LVH 100, ISC, Sokolow 4,2"


def test_report_is_never_overwritten() -> None:
    reports = pd.Series(["sinusrhythmus", None], index=[10, 20], name="report")
    before = reports.copy()
    table = translate_reports(reports)
    pd.testing.assert_series_equal(reports, before)
    assert "report" not in table.columns
    assert table.index.tolist() == [10, 20]


# --- promises ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("pq 0,20 sec", "pq 0,2 sec"),
        ("t neg in v2", "t negative in v3"),
        ("kein infarkt", "infarction"),
        ("v.a. infarkt", "infarction"),
        ("infarkt möglich", "infarction"),
        ("misstänkt infarkt", "infarction"),
        ("linkstyp", "axis deviation"),
        ("höger el-axel", "left axis deviation"),
        ("sokolow 3,3mv", "sokolow 3,3"),
    ],
)
def test_a_broken_promise_is_noticed(source: str, translation: str) -> None:
    assert broken_promises(source, translation)


@pytest.mark.parametrize(
    ("source", "cue"),
    [
        ("keine ischämie", "no ischemia"),
        ("ohne kompensatorische pause", "without compensatory pause"),
        ("infarkt nicht auszuschliessen", "cannot be excluded"),
        ("q in iii nicht signifikant", "not significant"),
        ("v.a. vorderwandinfarkt", "suspected anterior wall infarction"),
        ("verdacht auf wpw", "suspected wpw"),
        ("inferiorer infarkt möglich", "possible inferior infarction"),
        ("kammerhypertrophie lvh wahrscheinlich", "probable left ventricular hypertrophy"),
        ("infarkt kan ej uteslutas", "cannot be excluded"),
        ("inga p-vågor", "no p waves"),
    ],
)
def test_negation_and_doubt_survive(source: str, cue: str) -> None:
    assert cue in english(source)
    assert broken_promises(source, english(source)) == []


@settings(deadline=None, max_examples=150)
@given(data=st.data(), language=st.sampled_from(["german", "swedish"]))
def test_any_chain_of_phrases_keeps_its_promises(data: st.DataObject, language: str) -> None:
    """Phrases of one glossary in any order: nothing is lost, all is known, and a second run changes nothing."""
    sources = sorted(
        entry.source
        for entry in load_translator().glossaries[language].entries
        if not set(entry.source) & set("<~(:")
        and len(entry.source) > 3
        and entry.part not in {"link", "name"}
    )
    chosen = data.draw(st.lists(st.sampled_from(sources), min_size=1, max_size=6))
    numbers = data.draw(
        st.lists(st.sampled_from(["in v2-4", "v1", "ii,iii,avf", "0,12 sec"]), max_size=2)
    )
    report = "    ".join([*chosen, *numbers])
    table = translate_reports([report])
    if table["language"][0] in {language, "mixed"}:
        assert broken_promises(report, table["report_en"][0]) == []
    assert english(table["report_en"][0]) == table["report_en"][0]
    pd.testing.assert_frame_equal(translate_reports([report]), table)


# --- bad input -----------------------------------------------------------------------------------------------


def test_empty_and_missing_cells() -> None:
    table = translate_reports(
        ["", "   ", None, float("nan"), pd.NA, 7, "4.46    unbestätigter bericht"]
    )
    assert (table["report_en"] == "").all()
    assert (table["report_en_source"] == "empty").all()
    assert table["coverage"].isna().all()
    assert table["unconfirmed"].tolist() == [False] * 6 + [True]


def test_no_reports_no_rows() -> None:
    table = translate_reports([])
    assert len(table) == 0
    assert coverage_table(table).empty


@pytest.mark.parametrize(
    "report",
    [
        "rythme sinusal, bloc de branche droit complet",
        "ritmo sinusale, tracciato nei limiti",
        "窦性心律 正常心电图",
        "12345 67890 !!!",
        "\x00\x01\x02",
        "((((((",
    ],
)
def test_other_languages_and_rubbish_are_kept_and_marked(report: str) -> None:
    table = translate_reports([report])
    assert table["report_en"][0] == report
    assert table["report_en_source"][0] == "untouched"
    if any(character.isalpha() for character in report):
        assert table["coverage"][0] < 0.5
        assert table["unmatched"][0] != ""


@pytest.mark.parametrize(
    "report", ["<location> infarkt ~", "a\udcffb sinusrhythmus", "<side> {0} %s"]
)
def test_signs_with_a_meaning_elsewhere_are_only_text(report: str) -> None:
    table = translate_reports([report], mark=True)
    assert (
        "infarction" in table["report_en"][0]
        or "sinus rhythm" in table["report_en"][0]
        or "{0}" in report
    )


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_no_text_raises(report: str) -> None:
    first, second = translate_reports([report]), translate_reports([report])
    pd.testing.assert_frame_equal(first, second)
    coverage = first["coverage"][0]
    assert np.isnan(coverage) or 0 <= coverage <= 1


@pytest.mark.parametrize(
    "unit",
    [
        "sinusrhythmus lagetyp normal ",
        "x",
        "a ",
        " ",
        "t neg. ",
        "4.46 ",
        "unbestätigter ",
        "äöü",
        "(",
        "1,2,3,",
        "- ",
    ],
)
def test_a_cell_of_100_kb_does_not_hang(unit: str) -> None:
    report = "sinusrhythmus " + unit * (100_000 // len(unit))
    start = time.perf_counter()
    table = translate_reports([report])
    assert (
        time.perf_counter() - start < 10
    )  # linear work takes a second; a quadratic step would take minutes
    assert table["report_en"][0].startswith("sinus rhythm")


# --- back-end ------------------------------------------------------------------------------------------------


def test_backend_gets_only_what_is_left() -> None:
    asked: list[str] = []

    def backend(texts: list[str]) -> list[str]:
        asked.extend(texts)
        return [f"translated: {text}" for text in texts]

    reports = ["sinusrhythmus", "sinus rhythm.", "sinusrhythmus quetschbefund v2", None]
    table = translate_reports(reports, backend=backend)
    assert asked == ["sinusrhythmus quetschbefund v2"]
    assert table["report_en_source"].tolist() == ["glossary", "untouched", "model", "empty"]


def test_backend_that_breaks_a_promise_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        table = translate_reports(
            ["kein quetschbefund in v2"], backend=lambda texts: ["a finding in v2"]
        )
    assert table["report_en_source"][0] == "partial"
    assert table["report_en"][0] == "no quetschbefund in v2."
    assert "1 of 1 backend translations" in caplog.text


def test_backend_must_answer_each_text() -> None:
    with pytest.raises(InputError, match="0 texts for 1"):
        translate_reports(["sinusrhythmus quetschbefund"], backend=lambda texts: [])


# --- the genuine table ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def genuine(real_ptbxl: Path) -> pd.DataFrame:
    return pd.read_csv(
        real_ptbxl / "ptbxl_database.csv",
        index_col="ecg_id",
        usecols=["ecg_id", "report", "scp_codes"],
    )


@pytest.fixture(scope="module")
def translated(genuine: pd.DataFrame) -> pd.DataFrame:
    return translate_reports(genuine["report"])


def test_genuine_coverage(translated: pd.DataFrame) -> None:
    coverage = coverage_table(translated)
    assert len(translated) == 21799
    assert coverage.loc["german", "word_coverage"] >= 0.99
    assert coverage.loc["german", "fully_covered"] >= 0.97
    assert coverage.loc["swedish", "word_coverage"] >= 0.95
    assert coverage.loc["english", "word_coverage"] >= 0.99
    assert coverage.loc["german", "reports"] > 13_900


def test_genuine_promises_are_all_kept(genuine: pd.DataFrame, translated: pd.DataFrame) -> None:
    pairs = zip(genuine["report"], translated["report_en"], strict=True)
    broken = {
        report: promises
        for report, text in dict(pairs).items()
        if (promises := broken_promises(split_boilerplate(repair(report)).body, text))
    }
    assert broken == {}


def test_genuine_translation_is_idempotent(translated: pd.DataFrame) -> None:
    again = translate_reports(translated["report_en"])
    changed = again["report_en"] != translated["report_en"]
    assert not changed.any(), translated.loc[changed, "report_en"].head().tolist()


def test_genuine_english_is_untouched(genuine: pd.DataFrame, translated: pd.DataFrame) -> None:
    is_english = translated["language"] == "english"
    bodies = genuine.loc[is_english, "report"].map(
        lambda report: " ".join(split_boilerplate(repair(report)).body.split())
    )
    assert is_english.sum() > 7000
    assert (bodies == translated.loc[is_english, "report_en"]).all()


def test_genuine_boilerplate(translated: pd.DataFrame) -> None:
    assert translated["unconfirmed"].sum() > 7000
    assert (translated["edit"] != "").sum() == 555
    assert (translated["consensus"] != "").sum() == 16
    assert (
        not translated["report_en"].str.contains(r"unbest.tigt|edit:|consensus", case=False).any()
    )


def test_genuine_texts_agree_with_their_codes(
    genuine: pd.DataFrame, translated: pd.DataFrame
) -> None:
    """What the machine coded itself must be found again: rhythm, and the words that only one code has."""
    codes = genuine["scp_codes"].map(ast.literal_eval)
    german = translated["language"] == "german"
    table = scp_agreement(translated.loc[german, "report_en"], codes[german])
    for code in ("SR", "AFIB", "STACH", "SBRAD", "SARRH", "SVARR", "PACE", "ABQRS"):
        assert table.loc[code, "recall"] > 0.97, code
        assert table.loc[code, "precision"] > 0.89, code
    english_table = scp_agreement(
        translated.loc[translated["language"] == "english", "report_en"],
        codes[translated["language"] == "english"],
    )
    common = table.index.intersection(english_table.index)[:10]
    # translated German finds its codes as often as English does, on average over the commonest
    assert table.loc[common, "recall"].mean() > english_table.loc[common, "recall"].mean() - 0.1
