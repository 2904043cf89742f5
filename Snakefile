# One rule a notebook: the only place that says which chapter needs what.
# Settings: profile, run, and parameters that hold for every chapter that declares them (release, text_model).
from ecgrepro import runs
from ecgrepro.dependencies import modules_behind
from ecgrepro.files import atomic_path
from ecgrepro.pages import dressed
from ecgrepro.parameters import prepare_run

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

# Threads that Snakemake hands to OpenMP; fixed, because their number changes last digits. Alone on the machine,
# chapter 6 uses two; the risk chapters run side by side with one each.
THREADS = {"06_alignment": 2}
# The longest first.
PRIORITY = {"13_protocol": 2, "09_risk": 1}

RUN = prepare_run(
    config.get("profile") or "demo",
    {name: config.get(name) or "" for name in ("release", "text_model")},
    runs.CHAPTERS,
    config.get("run") or "",
)
FOLDER = f"runs/{RUN}"
PAGES = glob_wildcards("book/{page}.md").page
EXECUTED = [f"{FOLDER}/executed/{chapter}.ipynb" for chapter in NEEDS]

# Switching to another run must render again: this file changes only then.
rendered_run = Path("_build/run.txt")
if not rendered_run.is_file() or rendered_run.read_text() != RUN:
    with atomic_path(rendered_run.absolute()) as temporary:
        temporary.write_text(RUN)


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
        threads: THREADS.get(chapter, 1)
        priority: PRIORITY.get(chapter, 0)
        params:
            chapter=chapter,
        shell:
            "echo 'running {params.chapter}' && papermill {input.notebook} {output.executed} --kernel python3"
            " -f {input.parameters} --no-progress-bar --log-level WARNING"


rule needs:
    """All that one chapter stands on, so that it can be rerun alone: --config chapter=06_alignment."""
    input:
        needed_by(config["chapter"]) if config.get("chapter") in NEEDS else [],


rule sweep:
    """What the arms of chapter 13 stand on; protocol.smk runs them."""
    input:
        needed_by("13_protocol"),


rule chapter:
    """One chapter and all that it stands on: --config chapter=06_alignment."""
    input:
        f"{FOLDER}/executed/{config.get('chapter')}.ipynb" if config.get("chapter") in NEEDS else [],
