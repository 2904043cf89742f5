"""A run on a restricted cohort, as a user makes it: chapters run by papermill, their pages rendered to a site.

Everything lies in one folder with a copy of the package, so that whatever is written there, temporary files and
histories included, can be found and searched.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
import pandas as pd
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from papermill.parameterize import parameterize_notebook

from ecgrepro import ROOT, simulate
from ecgrepro.data.packing import pack
from ecgrepro.data.ptbxl import open_release
from ecgrepro.files import write_json
from ecgrepro.models import build_alignment_model, save_weights
from ecgrepro.pages import dressed
from tests.restricted_search import FIRST_ECG, FIRST_PATIENT, Individuals

RUN = "restricted"
PATIENTS, EVENTS = 150, 21
"""So few events that the training part has under ten, and the test part a few more."""

INSIDE = (
    "ecgrepro",
    "notebooks",
    "profiles",
    "open",
    "closed",
    "closed.csv",
    "figures",
    f"runs/{RUN}",
)
"""What a run reads, what the test notes down, and the run's own folder: there individuals may be."""


def lay_out(root: Path) -> Individuals:
    """Write what a restricted run reads: a public release with an untrained alignment, and a closed cohort."""
    shutil.copytree(ROOT / "ecgrepro", root / "ecgrepro")
    for name in ("notebooks", "profiles"):
        (root / name).symlink_to(ROOT / name)
    prepare_rendering(root)
    for name in ("temporary", "logs", "figures", f"runs/{RUN}/parameters"):
        (root / name).mkdir(parents=True)
    for name, seed, count in (("open", 1, 40), ("closed", 2, PATIENTS)):
        simulate.write_release(root / name, n_patients=count, seed=seed, progress=False)
    lay_out_first_chapters(root, root / "runs" / RUN)
    return lay_out_cohort(root)


def lay_out_first_chapters(root: Path, run: Path) -> None:
    """Write what chapters 1 to 7 would have: the public release packed, weights, and numbers for chapter 12."""
    about = {"source": "Simulated data", "path": "open", "rate": 100, "simulated": True}
    pack(open_release(root / "open", rate=100), run / "packed", progress=False)
    write_json(run / "release.json", about | {"records_packed": 47, "patients": 40})
    made = {"encoder": "cnn", "text_dim": 16, "lead_scale": False}
    model = build_alignment_model("cnn", text_dim=16)
    save_weights(model, run / "alignment" / "model.safetensors", made)
    found = {"direction": "ECG to report", "k": 10, "recall": 0.5, "chance": 0.4, "constant": 0.5}
    metrics = {"loss": "soft_infonce", "encoder": "cnn", "retrieval": [found]}
    write_json(run / "alignment" / "metrics.json", metrics)
    probes = pd.DataFrame({"label": ["aligned encoder", "random encoder", "age and sex"]})
    probes.assign(estimate=0.6, low=0.5, high=0.7).to_csv(run / "probes.csv", index=False)
    (run / "text").mkdir()
    for name in ("ecg_ids", "z_text", "text_ids"):
        np.save(run / "text" / f"{name}.npy", np.zeros(1))


def lay_out_cohort(root: Path) -> Individuals:
    """Write the closed release's follow-up, and return what nobody may see of it."""
    index = root / "closed" / "ptbxl_database.csv"
    release = pd.read_csv(index).drop_duplicates("patient_id").reset_index(drop=True)
    release["ecg_id"] += FIRST_ECG
    release["patient_id"] += FIRST_PATIENT
    release["filename_lr"] = [
        rename(root / "closed", name, f"records100/{ecg_id}_lr")
        for name, ecg_id in zip(release.filename_lr, release.ecg_id, strict=True)
    ]
    release.to_csv(index, index=False)
    rng = np.random.default_rng(0)
    event = rng.permutation(np.arange(PATIENTS) < EVENTS)
    time = np.where(event, rng.uniform(400, 900, PATIENTS), rng.uniform(900, 5000, PATIENTS))
    age = rng.uniform(40, 89, PATIENTS)
    age[:2] = 21.7364, 103.6182
    outcome = release[["patient_id", "ecg_id", "sex"]].astype(int)
    outcome = outcome.assign(time=time.round(4), event=event.astype(int), age=age.round(4))
    outcome.to_csv(root / "closed.csv", index=False)
    packed = pack(open_release(root / "closed", rate=100), root / "signals", progress=False)
    signals = np.array(packed.signals)
    shutil.rmtree(root / "signals")
    dates = frozenset(release.recording_date.str[:10])
    return Individuals(outcome.time.to_numpy(), outcome.age.to_numpy(), dates, signals)


def rename(folder: Path, old: str, new: str) -> str:
    """Give a WFDB record another name, on disk and in its header."""
    for suffix in (".hea", ".dat"):
        (folder / old).with_suffix(suffix).rename((folder / new).with_suffix(suffix))
    header = (folder / new).with_suffix(".hea")
    header.write_text(header.read_text().replace(Path(old).name, Path(new).name))
    return new


def execute(root: Path, notebooks: Mapping[str, NotebookNode]) -> None:
    """Run notebooks as papermill does, all in one kernel that forgets each before the next.

    They are written to the run folder with what they show, their figures to `figures`, the kernel's log to `logs`.
    Lines of progress are asked for, as by somebody who starts papermill by hand.
    """
    whole = new_notebook()
    for name, notebook in notebooks.items():
        whole.cells.append(new_code_cell(FRESH.format(figures=root / "figures" / f"{name}.jsonl")))
        whole.cells += notebook.cells
    with (root / "logs" / f"kernel_{next(iter(notebooks))}.log").open("w") as log:
        client = NotebookClient(whole, timeout=300, kernel_name="python3")
        client.execute(cwd=str(root), env=environment(root), stdout=log, stderr=log)
    executed = root / "runs" / RUN / "executed"
    executed.mkdir(exist_ok=True)
    for name, notebook in notebooks.items():
        nbformat.write(notebook, executed / f"{name}.ipynb")


FRESH = """import os
import matplotlib.backend_bases
from tests.watched_figures import watch
if "WATCHED_FIGURES" not in os.environ:
    watch()
os.environ["WATCHED_FIGURES"] = "{figures}"
open("{figures}", "a").close()
get_ipython().reset()
"""
"""Before each notebook: forget the one before, and keep its figures apart."""


def chapter_with(root: Path, chapter: str, parameters: Mapping[str, Any]) -> NotebookNode:
    """Return a chapter with parameters of the run, which are also written where the run records them."""
    given = {"run": RUN, **parameters}
    recorded = root / "runs" / RUN / "parameters" / f"{chapter}.yaml"
    recorded.write_text(yaml.safe_dump(given))
    notebook = jupytext.read(ROOT / "notebooks" / f"{chapter}.py")
    notebook.metadata["papermill"] = {}
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    return parameterize_notebook(notebook, given)


def prepare_rendering(root: Path) -> None:
    """Lay the book's settings and what they name beside the pages to come."""
    (root / "book" / "executed").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    shutil.copy(ROOT / "book" / "references.bib", root / "book")
    (root / "book" / "_static").symlink_to(ROOT / "book" / "_static")


def render(root: Path, chapters: Iterable[str], output: str = ".") -> None:
    """Render executed chapters as the Snakefile does, to `output`/_build/html; what it prints goes to `logs`."""
    pages = []
    for chapter in chapters:
        page = dressed(root / "runs" / RUN / "executed" / f"{chapter}.ipynb")
        (root / "book" / "executed" / f"{chapter}.ipynb").write_text(page)
        pages.append({"file": f"book/executed/{chapter}"})
    contents: dict[str, Any] = {"format": "jb-book", "root": pages[0]["file"]}
    if pages[1:]:
        contents["chapters"] = pages[1:]
    (root / "_toc.yml").write_text(yaml.safe_dump(contents))
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*start, "build", ".", "--path-output", output]
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True)
    name = Path(pages[0]["file"]).name
    (root / "logs" / f"render_{name}.log").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr


def environment(root: Path) -> dict[str, str]:
    """Variables under which the copy of the package is used, and temporary files and histories stay in `root`."""
    given = {name: value for name, value in os.environ.items() if name != "ECGREPRO_PROGRESS"}
    return given | {
        "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)]),
        "IPYTHONDIR": str(root / "ipython"),
        "TMPDIR": str(root / "temporary"),
        "OMP_NUM_THREADS": "1",
    }


def files_outside(root: Path) -> list[Path]:
    """All files that the run wrote outside its own folder."""
    inside = [root / name for name in INSIDE]
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(own) for own in inside)
    ]


def with_risks(individuals: Individuals, root: Path) -> Individuals:
    """Add the risk that each patient was given, which is known once chapter 9 has run."""
    risks = pd.read_csv(root / "runs" / RUN / "risk" / "risk_scores.csv").risk.to_numpy()
    kept = (individuals.times, individuals.ages, individuals.dates, individuals.signals)
    return Individuals(*kept, risks=risks)
