"""The glossary tables: clean, readable, extensible, and what a broken one says."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from ecgrepro.errors import InputError
from ecgrepro.text.translation import (
    LANGUAGES,
    load_backend,
    load_translator,
    translate_reports,
    validate_packaged,
)
from ecgrepro.text.translation.checks import (
    mentions,
    read_mentions,
    scp_agreement,
    validate_glossary,
)
from ecgrepro.text.translation.glossary import (
    PARTS,
    Entry,
    compile_glossary,
    load_glossary,
    packaged,
    read_english_words,
    read_rows,
)


def test_packaged_tables_are_clean() -> None:
    assert validate_packaged() == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_tables_can_be_reviewed_as_they_are(language: str) -> None:
    with packaged(language).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == [language, "english", "part"]
    assert all(len(row) == 3 for row in rows)
    assert all(row[2] in PARTS for row in rows[1:])
    assert all(row[0] == row[0].strip() and row[0] == row[0].lower() for row in rows[1:])
    assert all(row[1].isascii() for row in rows[1:])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_row_translates_as_it_says(language: str) -> None:
    """A row without slots, endings or neighbours comes out as its own English side."""
    translator = load_translator()
    rows = load_glossary(language).entries
    tested = 0
    for entry in rows:
        if (
            set(entry.source) & set("<~")
            or entry.part in {"link", "opener", "name"}
            or len(entry.source) < 5
        ):
            continue
        result = translator.translate(entry.source)
        if language not in result.languages:
            continue  # also a word of another language: it takes a neighbour to tell
        assert result.english.rstrip(".") == entry.english.rstrip("."), entry
        tested += 1
    assert tested > 0.6 * len(rows)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (Entry("linkstyp", "left axis deviation", "axes"), "unknown part 'axes'"),
        (Entry("kein block", "block", "conduction"), "negation 'kein' is lost"),
        (Entry("block möglich", "block", "conduction"), "doubt"),
        (Entry("linkstyp", "axis deviation", "axis"), "left"),
        (Entry("block 2", "block", "conduction"), "number '2' is lost"),
        (Entry("<location> infarkt", "infarction", "infarct"), "the slots differ"),
        (
            Entry("niederspannung", "niederspannung of limb leads", "voltage"),
            "'niederspannung' is on both sides",
        ),
    ],
)
def test_validator_finds_each_mistake(entry: Entry, problem: str) -> None:
    (found,) = validate_glossary([entry], "german", read_english_words())
    assert problem in found


def test_validator_finds_a_row_that_stands_twice() -> None:
    rows = [Entry("st-hebung", "st elevation", "ST-T"), Entry("st hebung", "st elevation", "ST-T")]
    (found,) = validate_glossary(rows, "german", read_english_words())
    assert "stands twice, also as 'st-hebung'" in found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("linkstyp,,axis", "line 2: a cell is empty"),
        ("<lokation> infarkt,infarct,infarct", "unknown slot <lokation>"),
        (".,dot,other", "has no word"),
    ],
)
def test_broken_table_is_named_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    table = tmp_path / "broken.csv"
    table.write_text(f"german,english,part\n{row}\n")
    with pytest.raises(InputError, match=message):
        compile_glossary(read_rows(table, "german"), "german")


def test_endings_slots_and_abbreviations() -> None:
    rows = [
        Entry("hochlateral~", "high lateral", "location"),
        Entry("part.", "partial", "quality"),
        Entry("<location> infarkt", "<location> infarction", "infarct", ("location",)),
    ]
    glossary = compile_glossary(rows, "german")
    assert {"hochlateraler", "hochlateralen", "hochlateral", "part", "infarkt"} <= glossary.words
    translator = load_translator()
    for written in (
        "part. hochlateraler infarkt",
        "part hochlateraler infarkt",
        "part.hochlateraler infarkt",
    ):
        assert translator.translate(f"sinusrhythmus {written}").english.endswith(
            "partial high lateral infarction"
        )


def test_mentions_count_each_code_once() -> None:
    texts = pd.Series(
        [
            "sinus rhythm. incomplete right bundle branch block.",
            "atrial fibrillation/flutter. lvh.",
            "normal ecg.",
        ],
        index=[1, 2, 5],
    )
    said = mentions(texts)
    assert said.columns[said.loc[1]].tolist() == ["SR", "IRBBB"]
    assert said.columns[said.loc[2]].tolist() == ["AFIB", "LVH"]
    assert said.columns[said.loc[5]].tolist() == ["NORM"]
    assert set(read_mentions()) == set(said.columns)


def test_agreement_is_precision_and_recall() -> None:
    texts = pd.Series(["sinus rhythm.", "sinus rhythm.", "atrial fibrillation.", "nothing."])
    codes = pd.Series([{"SR": 0.0}, {"AFIB": 0.0}, {"AFIB": 0.0}, {"SR": 0.0}])
    table = scp_agreement(texts, codes, minimum=1)
    assert table.loc["SR"].tolist() == [2, 2, 0.5, 0.5]
    assert table.loc["AFIB"].tolist() == [2, 1, 0.5, 1.0]
    with pytest.raises(InputError, match="not of the same records"):
        scp_agreement(texts, codes.iloc[:2])


def test_missing_neural_model_names_the_ways_out() -> None:
    with pytest.raises(InputError, match="hf download Helsinki-NLP/opus-mt-de-en"):
        load_backend("Helsinki-NLP/opus-mt-de-en")


def test_neural_backend_runs_a_local_model(tmp_path: Path) -> None:
    """A tiny untrained BART: what it writes is noise, and noise that breaks a promise is not used."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "sinusrhythmus", "quetschbefund", "v2", "in"]
    raw = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(words), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=300,
        pad_token_id=0, bos_token_id=2, eos_token_id=3, decoder_start_token_id=2, forced_eos_token_id=3,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    backend = load_backend(str(tmp_path))
    texts = ["sinusrhythmus quetschbefund in v2", "quetschbefund"]
    first = backend(texts)
    assert len(first) == 2
    assert backend(texts) == first  # greedy, hence reproducible
    table = translate_reports(["sinusrhythmus quetschbefund in v2"], backend=backend)
    assert table["report_en_source"][0] in {"partial", "model"}
