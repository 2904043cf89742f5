# One rule a notebook: the only place that says which chapter needs what.
# `python -m ecgrepro.book` calls it (through make) with the run, whose parameters it has written, and the chapter.
import os

from ecgrepro import runs
from ecgrepro.dependencies import modules_behind
from ecgrepro.files import atomic_path
from ecgrepro.pages import dressed

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

# The longest first.
PRIORITY = {"13_protocol": 2, "09_risk": 1}

os.environ[runs.BY_MAKE] = "1"  # its jobs write to the run also where a chapter was edited
FOLDER = config["folder"]
CHAPTER = config.get("chapter")
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
        settings=["_config.yml", "_toc.yml", "book/references.bib", "_build/run.txt"],
    output:
        "_build/html/index.html",
    run:
        for path in input.executed:
            copy = Path("book/executed") / Path(path).name
            page = dressed(Path(path))
            if not copy.is_file() or copy.read_text() != page:
                with atomic_path(copy) as temporary:
                    temporary.write_text(page)
        shell("jupyter-book build . -W --keep-going --quiet")
        shell("touch {output}")


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
        # Snakemake hands it to OpenMP; the same everywhere, because the number of threads changes last digits.
        threads: 1
        priority: PRIORITY.get(chapter, 0)
        params:
            chapter=chapter,
        shell:
            "echo 'running {params.chapter}' && papermill {input.notebook:q} {output.executed:q} --kernel python3"
            " -f {input.parameters} --no-progress-bar --log-level WARNING"


rule chapters:
    """All chapters, and no pages."""
    input:
        EXECUTED,


rule needs:
    """All that one chapter stands on, so that it can be rerun alone."""
    input:
        needed_by(CHAPTER) if CHAPTER else [],


rule chapter:
    """One chapter and all that it stands on."""
    input:
        f"{FOLDER}/executed/{CHAPTER}.ipynb" if CHAPTER else [],


rule sweep:
    """What the arms of chapter 13 stand on; protocol.smk runs them."""
    input:
        needed_by("13_protocol"),
