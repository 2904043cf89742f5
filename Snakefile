# One rule a notebook: the only place that says which chapter needs what.
# Settings: folder, that of a run whose parameters `python -m ecgrepro.book.workflow` has written, and chapter.
import os

from ecgrepro import runs
from ecgrepro.dependencies import modules_behind

NEEDS = {
    "01_data": [],
    "02_structured_reports": ["release", "packed"],
    "03_translation": ["release", "packed"],
    "04_text_embeddings": ["release", "packed", "reports", "reports_en"],
    "05_encoders": ["release", "packed"],
    "06_alignment": [
        "release", "packed", "ecg_ids", "z_text", "text_ids", "z_report", "report_ids", "text_model"
    ],
    "07_representation": [
        "release", "packed", "reports", "statement_vectors", "ecg_ids", "text_ids",
        "alignment_model", "z_ecg", "e_ecg", "e_text",
    ],
    "08_cohorts": ["release"],
    "09_risk": ["release", "follow_up", "cohorts", "cohort_packed", "alignment_model"],
    "10_evaluation": [
        "release", "follow_up", "cohorts", "cohort_packed", "biomarkers", "risk_scores", "risk_model"
    ],
    "11_biomarkers": ["release", "packed", "cohorts", "follow_up", "biomarkers"],
    "12_published_and_ours": [
        "release", "alignment_metrics", "probes", "cohorts", "evaluation", "biomarker_baseline"
    ],
    "13_protocol": [
        "release", "cohorts", "follow_up", "cohort_packed", "biomarkers",
        "alignment_model", "packed", "ecg_ids", "z_text", "text_ids",
    ],
    "99_status": ["release", "encoders", "probes", "evaluation", "published", "protocol_summary"],
}

# Threads of one chapter, which Snakemake hands to OpenMP: as settings.mk or the caller says.
THREADS = int(os.environ.get("OMP_NUM_THREADS", 1))
# The longest first.
PRIORITY = {"13_protocol": 3, "06_alignment": 2, "09_risk": 1}

FOLDER = config.get("folder", "runs/demo")
PAGES = glob_wildcards("book/{page}.md").page
EXECUTED = [f"{FOLDER}/executed/{chapter}.ipynb" for chapter in NEEDS]


def made_by(chapter):
    return [f"{FOLDER}/{artefact.path}" for artefact in runs.artefacts_of(chapter)]


def needed_by(chapter):
    return [f"{FOLDER}/{runs.ARTEFACTS[name].path}" for name in NEEDS[chapter]]


rule book:
    input:
        executed=EXECUTED,
        pages=[f"book/{page}.md" for page in PAGES],
        settings=["_config.yml", "_toc.yml", "book/references.bib"],
    output:
        "_build/html/index.html",
    shell:
        "echo 'rendering' && python -m ecgrepro.pages {input.executed} && touch {output}"


rule chapters:
    input:
        EXECUTED,


for chapter in NEEDS:

    rule:
        name:
            chapter
        input:
            notebook=f"notebooks/{chapter}.ipynb",
            parameters=f"{FOLDER}/parameters/{chapter}.yaml",
            modules=modules_behind(chapter),
            artefacts=needed_by(chapter),
        output:
            executed=f"{FOLDER}/executed/{chapter}.ipynb",
            artefacts=made_by(chapter),
        threads: THREADS
        priority: PRIORITY.get(chapter, 0)
        params:
            chapter=chapter,
            unfinished=f"{FOLDER}/executed/{chapter}.unfinished.ipynb",
        # papermill writes after every cell; the name of a result is given to whole ones only
        shell:
            "echo 'running {params.chapter}' && papermill {input.notebook} {params.unfinished} --kernel python3"
            " -f {input.parameters} --no-progress-bar --log-level WARNING && mv {params.unfinished} {output.executed}"


rule needs:
    """All that one chapter stands on, so that it can be rerun alone: --config chapter=06_alignment."""
    input:
        needed_by(config["chapter"]) if config.get("chapter") else [],


rule sweep:
    """What the arms of chapter 13 stand on; protocol.smk runs them."""
    input:
        needed_by("13_protocol"),


rule chapter:
    """One chapter and all that it stands on: --config chapter=06_alignment."""
    input:
        f"{FOLDER}/executed/{config.get('chapter')}.ipynb",
