"""Chapter 8 itself, cell by cell, on files of two sources: what it writes is what chapters 9 to 11 read."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import ecgrepro

# All that the chapter imports is imported before ROOT moves, so that no module keeps the moved one.
from ecgrepro import ROOT, biomarkers, cohorts, plots, runs, simulate
from ecgrepro.cohorts import sources
from ecgrepro.data.packing import open_packed
from ecgrepro.files import read_json, write_json
from tests.cohort_files import returning_patients, write_sami_trop

IMPORTED = (biomarkers, cohorts, plots, runs, simulate, sources)


def run_chapter(
    root: Path, monkeypatch: pytest.MonkeyPatch, about: dict[str, Any], **given: Any
) -> tuple[str, Path]:
    """Execute chapter 8 in `root`; return what it printed and displayed, and its run folder."""
    for name in ("notebooks", "profiles"):
        (root / name).symlink_to(ROOT / name)
    run = root / "runs" / "small"
    write_json(run / "release.json", {"path": "release", "rate": 100} | about)
    parameters = {"run": "small"} | given
    (run / "parameters").mkdir()
    (run / "parameters" / "08_cohorts.yaml").write_text(yaml.safe_dump(parameters))
    monkeypatch.setattr(ecgrepro, "ROOT", root)
    for module in ("runs", "parameters"):
        monkeypatch.setattr(f"ecgrepro.{module}.ROOT", root)
    matplotlib.use("Agg")
    shown: list[str] = []
    shell = InteractiveShell(user_ns={"display": lambda thing: shown.append(repr(thing))})
    shell.displayhook.write_format_data = lambda *_: None
    notebook = json.loads((root / "notebooks" / "08_cohorts.ipynb").read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        codes = ["".join(cell["source"])]
        if "parameters" in cell["metadata"].get("tags", []):
            values = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            codes.append(f"# Parameters\n{values}")
        for code in codes:
            with capture_output() as captured:
                result = shell.run_cell(code, store_history=True)
            result.raise_error()
            shown += [captured.stdout, repr(result.result)]
    return "\n".join(shown), run


def check_artefacts(run: Path, main: str, size: int) -> None:
    """Check that the chapter's files fit together, and that no trial was made of the run."""
    about = read_json(run / "cohorts" / "cohorts.json")
    assert (about["main"], about["simulated"], about["restricted"]) == (main, False, False)
    follow_up = pd.read_csv(run / "cohorts" / "follow_up.csv")
    assert follow_up.groupby("cohort", sort=False).size().to_dict() == {
        main: size,
        "null control": size,
    }
    packed = open_packed(run / "cohorts" / "packed")
    measured = pd.read_csv(run / "cohorts" / "biomarkers.csv", index_col="ecg_id")
    assert set(follow_up.ecg_id) == set(measured.index) <= set(packed.ecg_ids)
    assert not (run / "trials").exists()


def test_with_sami_trop(tmp_path, monkeypatch):
    write_sami_trop(tmp_path / "data" / "sami-trop", 40)
    about = {"source": "Simulated data", "simulated": True}
    given = {"cohort": "sami_trop", "cohort_folder": "data/sami-trop"}
    page, run = run_chapter(tmp_path, monkeypatch, about, **given)
    check_artefacts(run, "SaMi-Trop", 40)
    assert "SaMi-Trop (Zenodo 4905618), death from any cause, 40 patients" in page
    assert "no healthy control" in page
    assert "needs the genuine ptbxl_database.csv" in page
    assert "same outcomes, other patients: True" in page


def test_with_ptbxl_longitudinal(tmp_path, monkeypatch):
    returning_patients(tmp_path / "release")
    about = {"source": "Simulated data, taken for genuine", "simulated": False}
    page, run = run_chapter(tmp_path, monkeypatch, about, cohort="ptbxl_longitudinal")
    size = pd.read_csv(run / "cohorts" / "follow_up.csv").patient_id.nunique()
    check_artefacts(run, "PTB-XL", size)
    assert "first recording of atrial fibrillation on a later ECG" in page
    assert page.count("sicker") == 1
    assert "median_follow_up_days" in page


def test_with_a_competing_event(tmp_path, monkeypatch):
    simulate.write_release(tmp_path / "release", n_patients=120, seed=1, progress=False)
    index = pd.read_csv(tmp_path / "release" / "ptbxl_database.csv")
    index = index.drop_duplicates("patient_id").reset_index(drop=True)
    own = index[["patient_id", "ecg_id"]].astype(int)
    own = own.assign(time=200 + 20 * own.index, event=(own.index % 3 == 0).astype(int))
    own.assign(competing=(own.index % 3 == 1).astype(int)).to_csv(tmp_path / "own.csv", index=False)
    about = {"source": "Simulated data", "simulated": True}
    given = {"follow_up": "own.csv", "waveforms": "release"}
    page, run = run_chapter(tmp_path, monkeypatch, about, **given)
    check_artefacts(run, "own", len(own))
    assert f"patients with the competing event: {(own.index % 3 == 1).sum()}" in page
    assert "as one minus Kaplan-Meier has it" in page
