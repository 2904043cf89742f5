"""The words beside an ECG: reports from codes, reports in English, and text vectors."""

from ecgrepro.text.embed import (
    BIO_CLINICAL_BERT,
    BIO_CLINICAL_BERT_REVISION,
    TextModel,
    TransformerModel,
    describe_model,
    embed_statements,
    load_text_model,
    statement_weights,
    text_ids,
)
from ecgrepro.text.reports import compose_report, compose_reports, statement_texts, unknown_codes
from ecgrepro.text.translation import translate_reports

__all__ = [
    "BIO_CLINICAL_BERT",
    "BIO_CLINICAL_BERT_REVISION",
    "TextModel",
    "TransformerModel",
    "compose_report",
    "compose_reports",
    "describe_model",
    "embed_statements",
    "load_text_model",
    "statement_texts",
    "statement_weights",
    "text_ids",
    "translate_reports",
    "unknown_codes",
]
