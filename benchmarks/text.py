"""Forward passes and speed of the text side: python benchmarks/text.py [--model NAME] [--csv ptbxl_database.csv].

Prints ratios and counts, no pass or fail. Without --model a tiny untrained BERT is built on the spot, which is
enough to count passes. Without a csv the codes are simulated.
"""

import argparse
import ast
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from ecgrepro.text import (
    TextModel,
    TransformerModel,
    embed_statements,
    load_text_model,
    statement_weights,
    text_ids,
)
from ecgrepro.text.reports import CATEGORY, DESCRIPTION, compose_reports, statement_texts


def tiny_model(texts: list[str], folder: Path) -> TextModel:
    """Build an untrained BERT of 2 layers, whose passes cost little and count as well as any."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    raw.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    )
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=400,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
        )
    ).save_pretrained(folder)
    return load_text_model(str(folder))


def read_tables(csv: Path | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a genuine release's tables, or make 21,799 records over 71 invented codes."""
    if csv is not None:
        statements = pd.read_csv(csv.parent / "scp_statements.csv", index_col=0)
        index = pd.read_csv(csv, index_col="ecg_id", usecols=["ecg_id", "scp_codes"])
        index["scp_codes"] = index["scp_codes"].map(ast.literal_eval)
        return index, statements
    codes = [f"C{number}" for number in range(71)]
    statements = pd.DataFrame(
        {CATEGORY: "invented category", DESCRIPTION: [f"statement {code}" for code in codes]},
        index=codes,
    )
    rng = np.random.default_rng(0)
    rows = [
        dict(
            zip(rng.choice(codes, 3, replace=False), rng.choice([0.0, 15.0, 100.0], 3), strict=True)
        )
        for _ in range(21799)
    ]
    return pd.DataFrame(
        {"scp_codes": rows}, index=pd.RangeIndex(1, 21800, name="ecg_id")
    ), statements


def main() -> None:
    """Count the passes for 100 and for all records, and time the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder or hub id; default: a tiny BERT built on the spot")
    parser.add_argument(
        "--csv", type=Path, help="genuine ptbxl_database.csv with scp_statements.csv beside it"
    )
    arguments = parser.parse_args()
    index, statements = read_tables(arguments.csv)
    texts = list(statement_texts(statements))
    with tempfile.TemporaryDirectory() as folder:
        model = (
            load_text_model(arguments.model) if arguments.model else tiny_model(texts, Path(folder))
        )
    sizes: list[int] = []
    if isinstance(model, TransformerModel):
        model.module.register_forward_hook(
            lambda module, inputs, kwargs, output: sizes.append(len(output.last_hidden_state)),
            with_kwargs=True,
        )
    for n_records in (100, len(index)):
        sizes.clear()
        part = index.iloc[:n_records]
        start = time.perf_counter()
        vectors = embed_statements(texts, model)
        embedded = time.perf_counter()
        weights = statement_weights(part, statements)
        weights @ vectors
        done = time.perf_counter()
        print(
            f"{n_records:>6} records: {len(sizes)} forward passes over {sum(sizes)} texts "
            f"({arguments.model if arguments.model else 'tiny BERT'}), "
            f"embedding {embedded - start:.2f} s, weights and product {done - embedded:.2f} s"
        )
    ids = text_ids(statement_weights(index, statements))
    start = time.perf_counter()
    loop = np.stack([
        sum(weight * vectors[column] for column, weight in zip(row.indices, row.data, strict=True))
        for row in (sparse.csr_matrix(weights[record]) for record in range(2000))
    ])  # fmt: skip
    looped = (time.perf_counter() - start) / len(loop)
    start = time.perf_counter()
    product = weights @ vectors
    print(
        f"one sparse product against a loop over records: {looped * len(index) / (time.perf_counter() - start):.0f} x"
    )
    print(f"largest difference between the two: {np.abs(product[:2000] - loop).max():.1e}")
    print(
        f"{ids.max() + 1} distinct texts; the commonest covers {100 * np.bincount(ids).max() / len(ids):.1f} %"
    )
    start = time.perf_counter()
    compose_reports(index, statements)
    print(f"structured reports: {len(index) / (time.perf_counter() - start):,.0f} a second")
    start = time.perf_counter()
    load_text_model("lexical")(texts)
    print(f"lexical: {len(texts) / (time.perf_counter() - start):,.0f} statements a second")


if __name__ == "__main__":
    main()
