"""Every file of a run: its name for chapters, its path, the chapter that makes it, what it holds."""

from dataclasses import dataclass

from ecgrepro.errors import InputError


@dataclass(frozen=True)
class Artefact:
    """One file (or folder) of a run: its name for chapters, its path in the run, its maker, its content."""

    name: str
    path: str
    chapter: str
    content: str


_DATA, _REPORTS = "01_data", "02_structured_reports"
_TRANSLATION, _TEXT = "03_translation", "04_text_embeddings"
_ENCODERS, _ALIGNMENT, _KNOWS = "05_encoders", "06_alignment", "07_representation"
_COHORTS, _RISK, _EVALUATION = "08_cohorts", "09_risk", "10_evaluation"
_BIOMARKERS, _STUDY = "11_biomarkers", "12_published_and_ours"
_PROTOCOL, _STATUS = "13_protocol", "99_status"

CHAPTERS = (
    *(_DATA, _REPORTS, _TRANSLATION, _TEXT, _ENCODERS, _ALIGNMENT, _KNOWS),
    *(_COHORTS, _RISK, _EVALUATION, _BIOMARKERS, _STUDY, _PROTOCOL, _STATUS),
)
"""Chapters in the order in which they can be run one after the other."""

ARTEFACTS = {
    artefact.name: artefact
    for artefact in (
        Artefact(
            "release",
            "release.json",
            _DATA,
            "the release that was read: folder, simulated or not, counts",
        ),
        Artefact(
            "packed",
            "packed/packed.json",
            _DATA,
            "all signals as one int16 memory map, (N, 12, samples), 1000 adu/mV",
        ),
        Artefact("reports", "reports.csv", _REPORTS, "structured report of each record, by ecg_id"),
        Artefact(
            "reports_en",
            "translation/reports_en.csv",
            _TRANSLATION,
            "free-text reports in English, with source, coverage and language, by ecg_id",
        ),
        Artefact(
            "translation_todo",
            "translation/todo.csv",
            _TRANSLATION,
            "words that the glossary lacks, most frequent first",
        ),
        Artefact(
            "translation_review",
            "translation/review.csv",
            _TRANSLATION,
            "200 reports laid out for a human reader",
        ),
        Artefact(
            "statement_vectors",
            "text/statement_vectors.npy",
            _TEXT,
            "one vector a statement, (71, 768)",
        ),
        Artefact(
            "z_text", "text/z_text.npy", _TEXT, "report vectors, (N, 768), rows as in `ecg_ids`"
        ),
        Artefact(
            "text_ids",
            "text/text_ids.npy",
            _TEXT,
            "records with the same number have the same report",
        ),
        Artefact(
            "z_report",
            "text/z_report.npy",
            _TEXT,
            "vectors of the free-text reports in English, (N, 768), the second text source",
        ),
        Artefact(
            "report_ids",
            "text/report_ids.npy",
            _TEXT,
            "records with the same number have the same free-text report",
        ),
        Artefact("ecg_ids", "text/ecg_ids.npy", _TEXT, "ecg_id of each row of every (N, …) array"),
        Artefact(
            "text_model",
            "text/text_model.json",
            _TEXT,
            "language model, revision, policy for confidence 0",
        ),
        Artefact("encoders", "encoders.csv", _ENCODERS, "parameters and speed of the encoders"),
        Artefact(
            "alignment_history",
            "alignment/history.csv",
            _ALIGNMENT,
            "losses and monitors by epoch, for each alignment loss",
        ),
        Artefact(
            "alignment_metrics",
            "alignment/metrics.json",
            _ALIGNMENT,
            "chosen loss, retrieval, collapse monitors",
        ),
        Artefact(
            "alignment_model",
            "alignment/model.safetensors",
            _ALIGNMENT,
            "weights of the chosen encoder, decoder and heads",
        ),
        Artefact(
            "text_comparison",
            "alignment/text_sources.csv",
            _ALIGNMENT,
            "what each text source leaves in the encoder: retrieval and probe",
        ),
        Artefact("z_ecg", "alignment/z_ecg.npy", _ALIGNMENT, "ECG embeddings, (N, 512)"),
        Artefact("e_ecg", "alignment/e_ecg.npy", _ALIGNMENT, "ECGs in the shared space, (N, 512)"),
        Artefact(
            "e_text", "alignment/e_text.npy", _ALIGNMENT, "reports in the shared space, (N, 512)"
        ),
        Artefact(
            "probes", "probes.csv", _KNOWS, "linear probes of the embeddings beside their controls"
        ),
        Artefact(
            "cohorts",
            "cohorts/cohorts.json",
            _COHORTS,
            "cohorts: n, events, where the ECGs and follow-up came from",
        ),
        Artefact(
            "cohort_packed",
            "cohorts/packed/packed.json",
            _COHORTS,
            "signals of the cohort patients, packed",
        ),
        Artefact(
            "follow_up",
            "cohorts/follow_up.csv",
            _COHORTS,
            "patient_id, ecg_id, time, event, age, sex, split, by cohort",
        ),
        Artefact(
            "biomarkers",
            "cohorts/biomarkers.csv",
            _COHORTS,
            "ECG measurements of the cohorts, by ecg_id",
        ),
        Artefact(
            "risk_history",
            "risk/history.csv",
            _RISK,
            "total, L_recon and L_risk by epoch, for each arm",
        ),
        Artefact(
            "risk_scores",
            "risk/risk_scores.csv",
            _RISK,
            "log risk of each patient, by arm; higher is earlier",
        ),
        Artefact(
            "risk_model", "risk/model.safetensors", _RISK, "weights of the fine-tuned risk model"
        ),
        Artefact(
            "evaluation",
            "evaluation.csv",
            _EVALUATION,
            "C-index of every arm: n, events, 95 % interval",
        ),
        Artefact(
            "biomarker_baseline",
            "biomarker_baseline.csv",
            _BIOMARKERS,
            "C-index of Cox on 15 ECG measurements, beside age and sex: n, events, 95 % interval",
        ),
        Artefact("published", "published_and_ours.csv", _STUDY, "published figures beside ours"),
        Artefact(
            "protocol_folds",
            "protocol/folds.csv",
            _PROTOCOL,
            "every fold of every arm of the sweep: C-index, n, events",
        ),
        Artefact(
            "protocol_summary",
            "protocol/summary.csv",
            _PROTOCOL,
            "one line a method: mean over folds, corrected interval, baselines beside it",
        ),
        Artefact(
            "protocol_differences",
            "protocol/differences.csv",
            _PROTOCOL,
            "paired differences between methods over the same folds",
        ),
    )
}


def artefacts_of(chapter: str) -> list[Artefact]:
    """The artefacts a chapter makes, in the order of the table."""
    return [artefact for artefact in ARTEFACTS.values() if artefact.chapter == chapter]


def artefact_named(name: str) -> Artefact:
    """The artefact of that name; an unknown one is an `InputError` that lists them."""
    if name not in ARTEFACTS:
        raise InputError(
            f"{name!r} is no artefact: artefacts.ARTEFACTS lists them ({', '.join(ARTEFACTS)})."
        )
    return ARTEFACTS[name]
