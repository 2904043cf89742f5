"""Pages of a restricted run: chapters 8 to 11 are executed on a small cohort, and all they show is searched.

The cells run in this process, so that the words inside figures are searched too, which a rendered page has only as
pixels. Patients are simulated; their numbers are long, so that no count or measurement can be mistaken for one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from matplotlib.text import Text

import ecgrepro

# All that a chapter imports is imported before the fixture moves ROOT, so that no module keeps the moved one.
from ecgrepro import (
    ROOT,
    attribution,
    biomarkers,
    cohorts,
    plots,
    runs,
    simulate,
    survival,
    training,
)
from ecgrepro.files import write_json
from ecgrepro.models import build_alignment_model, save_weights
from ecgrepro.packing import pack
from ecgrepro.ptbxl import open_release

IMPORTED = (attribution, biomarkers, cohorts, plots, runs, survival, training)
RUN = "restricted"
FIRST_ECG, FIRST_PATIENT = 55_010_000, 77_310_000
PATIENTS = 150


@dataclass
class Page:
    """What a reader of one chapter sees: words (those of figures too) and tables."""

    texts: list[str] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)

    def show(self, *things: Any) -> None:
        """Take the place of IPython's display."""
        for thing in things:
            figure = getattr(thing, "figure", thing)
            if isinstance(figure, Figure):
                figure.canvas.draw()
                self.texts += [found.get_text() for found in figure.findobj(Text)]
            elif isinstance(thing, pd.DataFrame | pd.Series):
                table = thing.to_frame() if isinstance(thing, pd.Series) else thing
                self.tables.append(table)
                self.texts += [table.to_html(), table.to_string()]
            elif thing is not None:
                self.texts.append(repr(thing))


def render(chapter: str, parameters: dict[str, Any]) -> Page:
    """Run all code cells of a chapter, and keep what it prints and shows."""
    notebook = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text())
    page = Page()
    shell = InteractiveShell(user_ns={"display": page.show})
    shell.displayhook.write_format_data = lambda *_: None
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        sources = ["".join(cell["source"])]
        if "parameters" in cell["metadata"].get("tags", []):
            values = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
            sources.append(f"# Parameters\n{values}")
        for source in sources:
            with capture_output() as captured:
                result = shell.run_cell(source, store_history=True)
            result.raise_error()
            page.texts += [captured.stdout, captured.stderr]
            page.show(result.result)
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Page]]:
    """Chapters 8 to 11 of a run on a restricted cohort, with an untrained alignment."""
    root = tmp_path_factory.mktemp("book")
    for name in ("notebooks", "profiles"):
        (root / name).symlink_to(ROOT / name)
    run = root / "runs" / RUN
    for name, seed in (("open", 1), ("closed", 2)):
        count = PATIENTS if name == "closed" else 40
        simulate.write_release(root / name, n_patients=count, seed=seed, progress=False)
    release = pd.read_csv(root / "closed" / "ptbxl_database.csv").drop_duplicates("patient_id")
    release["ecg_id"] += FIRST_ECG
    release["patient_id"] += FIRST_PATIENT
    release.to_csv(root / "closed" / "ptbxl_database.csv", index=False)
    rng = np.random.default_rng(0)
    time = rng.integers(100, 5000, len(release))
    end = 3000  # of the study: whoever is left is censored then
    outcome = pd.DataFrame(
        {
            "patient_id": release.patient_id.astype(int),
            "ecg_id": release.ecg_id,
            "time": time.clip(max=end),
            "event": rng.integers(0, 2, len(release)) * (time < end),
            "age": release.age.clip(upper=89),
            "sex": release.sex,
        }
    )
    outcome.to_csv(root / "closed.csv", index=False)
    pack(open_release(root / "open", rate=100), run / "packed", progress=False)
    about = {"source": "Simulated data", "path": "open", "rate": 100, "simulated": True}
    write_json(run / "release.json", about)
    made = {"encoder": "cnn", "text_dim": 16, "lead_scale": False}
    save_weights(
        build_alignment_model("cnn", text_dim=16), run / "alignment" / "model.safetensors", made
    )
    given: dict[str, dict[str, Any]] = {
        "08_cohorts": {"follow_up": "closed.csv", "waveforms": "closed", "restricted": True},
        "09_risk": {"epochs": 1, "batch_size": 64},
        "10_evaluation": {"resamples": 20},
        "11_biomarkers": {"records": 30, "resamples": 20},
    }
    patch = pytest.MonkeyPatch()
    patch.setattr(ecgrepro, "ROOT", root)
    for module in ("runs", "parameters"):
        patch.setattr(f"ecgrepro.{module}.ROOT", root)
    patch.setenv("ECGREPRO_PROGRESS", "")
    matplotlib.use("Agg")
    (run / "parameters").mkdir()
    try:
        for chapter, values in given.items():
            values["run"] = RUN
            (run / "parameters" / f"{chapter}.yaml").write_text(yaml.safe_dump(values))
        yield {chapter: render(chapter, values) for chapter, values in given.items()}
    finally:
        patch.undo()


def numbers_shown(page: Page) -> set[int]:
    """All whole numbers of a page, thousands separators taken out."""
    text = re.sub(r"(?<=\d)[,_  ](?=\d{3}\b)", "", "\n".join(page.texts))
    return {int(number) for number in re.findall(r"\d+", text)}


CHAPTERS = ("08_cohorts", "09_risk", "10_evaluation", "11_biomarkers")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_page_of_a_restricted_run_shows_an_identifier(pages, chapter):
    shown = numbers_shown(pages[chapter])
    assert len(shown) > 5, "the page was not captured"
    for name, first in (("ecg_id", FIRST_ECG), ("patient_id", FIRST_PATIENT)):
        leaked = {number for number in shown if first < number < first + 100_000}
        assert not leaked, f"{len(leaked)} times a {name}"


def test_the_search_would_find_an_identifier(pages):
    page = Page(texts=[f"patient {FIRST_PATIENT + 12:,} had an event"])
    assert FIRST_PATIENT + 12 in numbers_shown(page)
    figure = Figure()
    figure.text(0.5, 0.5, f"ecg_id {FIRST_ECG + 3}")
    page.show(figure)
    assert FIRST_ECG + 3 in numbers_shown(page)


COUNTS = {"n", "events", "patients", "female", "male", "set", "not known", "at_risk", "size", "sum"}


def small_counts(page: Page) -> list[str]:
    """Counts of 1 to 9 people, in tables and in sentences."""
    found = []
    for table in page.tables:
        flat = table.reset_index()
        for column in COUNTS & set(flat.columns):
            values = pd.to_numeric(flat[column], errors="coerce")
            found += [f"{column} = {value:.0f}" for value in values[(values > 0) & (values < 10)]]
    said = r"n = ([1-9])\b(?![.,]\d)|\b(?<![\d.,])([1-9]) (?:events|patients)\b"
    found += [match.group() for text in page.texts for match in re.finditer(said, text)]
    return found


@pytest.mark.parametrize(
    "chapter",
    [
        "08_cohorts",
        "09_risk",
        "10_evaluation",
        "11_biomarkers",
    ],
)
def test_no_page_of_a_restricted_run_shows_a_count_under_ten(pages, chapter):
    shown = small_counts(pages[chapter])
    assert not shown, f"{len(shown)} small counts, such as {shown[:3]}"


def test_the_search_would_find_a_small_count():
    page = Page(texts=["n = 150, 7 events"], tables=[pd.DataFrame({"events": [3, "<10"]})])
    assert small_counts(page) == ["events = 3", "7 events"]
    assert small_counts(Page(texts=["n = 1,234, 17 events, n = 1.5"])) == []
