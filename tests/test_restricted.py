"""A restricted run: nothing that it writes outside its own folder shows a patient, or a count under ten.

Chapters are executed on a small closed cohort and rendered to a site; every file is searched, and every figure by the
words and points it was drawn from. The same searches must find what a chapter with planted leaks shows.
"""

from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.restricted_run import (
    RUN,
    chapter_with,
    execute,
    files_outside,
    lay_out,
    render,
    with_risks,
)
from tests.restricted_search import (
    FIRST_ECG,
    FIRST_PATIENT,
    Individuals,
    figures_in,
    identifiers,
    small_counts_drawn,
    small_counts_in_tables,
    small_counts_said,
    small_rests,
    unescaped,
    words_of,
)

CHAPTERS = {
    "08_cohorts": {"follow_up": "closed.csv", "waveforms": "closed", "restricted": True},
    "09_risk": {"epochs": 1, "batch_size": 64},
    "10_evaluation": {"resamples": 20},
    "11_biomarkers": {"records": 30, "resamples": 20},
    "12_published_and_ours": {},
    "13_protocol": {"initialisations": ["scratch"], "study_seeds": [42], "grouped_seeds": []},
}
"""Every chapter that reads the cohort, and its parameters, in the order in which they are run."""


@dataclass(repr=False)
class Made:
    """A restricted run with its site: where, whom it must not show, and the files it left outside its folder."""

    root: Path
    individuals: Individuals
    outside: list[Path]
    site: str = "_build/html"

    def page(self, chapter: str) -> str:
        return (self.root / self.site / "book" / "executed" / f"{chapter}.html").read_text()

    def text(self, chapter: str) -> str:
        return BeautifulSoup(self.page(chapter), "html.parser").get_text(" ")

    def figures(self, chapter: str) -> list[dict]:
        return figures_in(self.root / "figures" / f"{chapter}.jsonl")

    def shown_in(self, path: Path) -> list[str]:
        """Individuals in one file. Scripts of theme and MathJax hold all sorts of decimals, but no identifier."""
        words = words_of(path)
        if "_static" in path.parts:
            return list(identifiers(unescaped(words)))
        return self.individuals.in_text(words)


def outputs_of(made: Made, chapter: str) -> list[NotebookNode]:
    """All that the page of a chapter shows under its cells."""
    page = nbformat.read(made.root / "book" / "executed" / f"{chapter}.ipynb", as_version=4)
    return [out for cell in page.cells for out in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("restricted")
    individuals = lay_out(root)
    chapters = {name: chapter_with(root, name, given) for name, given in CHAPTERS.items()}
    execute(root, chapters)
    render(root, chapters)
    return Made(root, with_risks(individuals, root), files_outside(root))


def test_the_site_is_whole(made):
    names = {path.relative_to(made.root).as_posix() for path in made.outside}
    for chapter in CHAPTERS:
        assert f"book/executed/{chapter}.ipynb" in names
        assert f"_build/html/_sources/book/executed/{chapter}.ipynb" in names
        pictures = made.page(chapter).count("data:image/png") + made.page(chapter).count("_images/")
        assert pictures >= len(made.figures(chapter)) > 0, chapter
    assert {"_build/html/searchindex.js", "_build/html/objects.inv"} <= names
    assert len([name for name in names if name.startswith("logs/")]) == 2


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_chapter_ran_without_an_error(made, chapter):
    outputs = outputs_of(made, chapter)
    assert outputs
    assert not [out.evalue for out in outputs if out.output_type == "error"]


def test_no_file_outside_the_run_folder_shows_an_individual(made):
    found = {path.relative_to(made.root).as_posix(): made.shown_in(path) for path in made.outside}
    leaks = {name: shown[:3] for name, shown in found.items() if shown}
    assert not leaks


def test_no_data_lie_outside_the_run_folder(made):
    kinds = {path.suffix for path in made.outside if not path.is_relative_to(made.root / "_build")}
    assert not kinds & {".csv", ".json", ".npy", ".safetensors", ".dat", ".hea", ".pkl"}


def test_no_page_names_the_folder_of_the_run(made):
    published = (made.root / made.site, made.root / "book")
    pages = [path for path in made.outside if any(map(path.is_relative_to, published))]
    named = [path.name for path in pages if str(made.root).encode() in path.read_bytes()]
    assert not named


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_figure_shows_an_individual(made, chapter):
    shown = [made.individuals.in_figure(figure) for figure in made.figures(chapter)]
    assert not [leak for leaks in shown for leak in leaks[:3]]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_page_shows_a_count_under_ten(made, chapter):
    found = small_counts_in_tables(made.page(chapter)) + small_counts_said(made.text(chapter))
    assert not found


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_figure_shows_a_count_under_ten(made, chapter):
    found = [leak for figure in made.figures(chapter) for leak in small_counts_drawn(figure)]
    assert not found


# The same searches, on what must not be shown

LEAKS = {
    "start": "import sys; import pandas as pd; from ecgrepro import ROOT, plots\n"
    "from ecgrepro.data import open_packed, signals; from ecgrepro.survival import kaplan_meier\n"
    "folder = ROOT / 'runs' / 'restricted' / 'cohorts'\n"
    "rows = pd.read_csv(folder / 'follow_up.csv'); first = rows.iloc[0]; ecg_id = first.ecg_id",
    "rows": "rows[['patient_id', 'ecg_id', 'time', 'age']].head()",
    "sentence": "print(f'ecg_id {ecg_id:,} of {folder}')",
    "stderr": "print(f'ecg_id {ecg_id}', file=sys.stderr)",
    "table": "pd.DataFrame({'events': [3, '<10'], 'n': [150, 150]}, index=['train', 'test'])",
    "count": "print('n = 150, 7 training events')",
    "curve": "curve = kaplan_meier(rows.time, rows.event)\n"
    "plots.plot_kaplan_meier({'all': curve}, 'Simulated data', title=f'ecg_id {ecg_id}')",
    "end": "plots.plot_follow_up(rows.time, rows.event, 'Simulated data')",
    "dots": "scores = pd.read_csv(folder.parent / 'risk' / 'risk_scores.csv').risk\n"
    "plots.plot_risk_scatter(scores, scores, 'Simulated data')",
    "strip": "packed = open_packed(folder / 'packed')\n"
    "plots.plot_paper(signals.to_millivolts(packed.signals[7]), packed.rate, 'Simulated data')",
    "error": "rows.set_index('ecg_id').loc[int(first.patient_id)]",
}
"""Cells of a chapter that tells what it must not."""


@pytest.fixture(scope="module")
def leaking(made: Made) -> Made:
    """The same run with a chapter of leaks, rendered apart."""
    cells = [new_code_cell(source, metadata={"tags": [name]}) for name, source in LEAKS.items()]
    cells[-1].metadata.tags.append("raises-exception")
    execute(made.root, {"leaks": new_notebook(cells=cells)})
    render(made.root, ["leaks"], output="planted")
    written = [path for path in files_outside(made.root) if path not in made.outside]
    return Made(made.root, made.individuals, written, "planted/_build/html")


def test_a_leak_is_found_in_every_file_that_repeats_it(leaking):
    found = {
        path.relative_to(leaking.root).as_posix(): leaking.shown_in(path)
        for path in leaking.outside
    }
    for name in (
        "book/executed/leaks.ipynb",
        f"{leaking.site}/book/executed/leaks.html",
        f"{leaking.site}/_sources/book/executed/leaks.ipynb",
        "planted/_build/.doctrees/book/executed/leaks.doctree",
        "planted/_build/jupyter_execute/book/executed/leaks.ipynb",
    ):
        kinds = {leak.rsplit(" ", 1)[0] for leak in found[name]}
        assert kinds >= {"patient_id", "ecg_id", "time in days", "age"}, name
    assert str(leaking.root) in leaking.page("leaks")


def test_a_leak_is_found_in_every_kind_of_output(leaking):
    executed = leaking.root / "runs" / RUN / "executed" / "leaks.ipynb"
    shown = {
        cell.metadata.tags[0]: leaking.individuals.in_text("\n".join(map(str, cell.outputs)))
        for cell in nbformat.read(executed, as_version=4).cells
    }
    assert {name for name, leaks in shown.items() if leaks} == {
        "rows",
        "sentence",
        "stderr",
        "error",
    }


def test_stderr_reaches_the_run_folder_and_no_page(leaking):
    stderr = [out for out in outputs_of(leaking, "leaks") if out.get("name") == "stderr"]
    assert not stderr
    assert "sys.stderr" in leaking.text("leaks")


def test_leaks_are_found_in_figures(leaking):
    curve, end, dots, strip = (
        leaking.individuals.in_figure(fig) for fig in leaking.figures("leaks")
    )
    assert any(leak.startswith("ecg_id") for leak in curve)
    assert any(leak.startswith("time in years") for leak in curve)
    assert any(leak.startswith("time in years") for leak in end)
    assert any(leak.startswith("risk") for leak in dots)
    assert any(leak.startswith("an ECG of") for leak in strip)


def test_small_counts_are_found(leaking):
    assert small_counts_in_tables(leaking.page("leaks")) == ["events = 3"]
    assert set(small_counts_said(leaking.text("leaks"))) == {"7 training events"}
    drawn = small_counts_drawn(leaking.figures("leaks")[1])
    assert any("Still followed" in leak for leak in drawn)


@pytest.mark.parametrize(
    "text",
    [
        f"{FIRST_ECG + 3:,}",
        f"{FIRST_ECG + 3:,}".replace(",", "&thinsp;"),
        f"{FIRST_ECG + 3:,}".replace(",", "&#44;"),
        f"{FIRST_ECG + 3:,}".replace(",", "\\u2009"),
        f"{FIRST_ECG + 3:,}".replace(",", "."),
        f"records100/55010/00{FIRST_ECG + 3}_lr.dat",
        f"{FIRST_ECG + 3:.7e}",
        f"{float(FIRST_ECG + 3)}",
    ],
)
def test_identifiers_are_found_however_they_are_written(text):
    assert list(identifiers(unescaped(f"ECG {text}, 12 leads"))) == [f"ecg_id {FIRST_ECG + 3}"]
    assert not list(identifiers(f"1,{FIRST_ECG + 3}0 and 55,010"))


def test_identifiers_are_found_beside_pixels_and_between_tags(tmp_path):
    stored = PngInfo()
    stored.add_text("Title", f"patient {FIRST_PATIENT + 5}", zip=True)
    Image.new("L", (1, 1)).save(tmp_path / "figure.png", pnginfo=stored)
    (tmp_path / "page.html").write_text(
        f"<b>{str(FIRST_PATIENT + 5)[:3]}</b>{str(FIRST_PATIENT + 5)[3:]}"
    )
    for name in ("figure.png", "page.html"):
        assert list(identifiers(words_of(tmp_path / name))) == [f"patient_id {FIRST_PATIENT + 5}"]


def test_dates_and_extremes_are_found():
    times, ages = np.array([1871.3947, 912.5521]), np.array([21.7364, 63.4271, 103.6182])
    someone = Individuals(times, ages, frozenset({"1984-12-16"}), np.zeros((1, 12, 10), np.int16))
    assert someone.in_text("seen 1984-12-16, after 1,871.4 days or 5.124 years, oldest 103.6") == [
        "date 1984-12-16",
        "time in days 1871.4",
        "time in years 5.124",
        "age 103.6",
    ]
    assert someone.in_text("1984-12-17, 1,871 days, 63.4 years, 5.12, at 12:09:912.5521") == []


def test_counts_of_ten_and_more_are_no_leak():
    table = "<table><thead><tr><th></th><th>events</th><th>folds</th></tr></thead><tbody>{}</tbody></table>"
    rows = "<tr><th>{}</th><td>{}</td><td>5</td></tr>"
    assert (
        small_counts_in_tables(table.format(rows.format("train", 12) + rows.format("test", "<10")))
        == []
    )
    assert small_counts_in_tables(table.format(rows.format("train", "3.0"))) == ["events = 3.0"]
    assert small_counts_in_tables(table.format(rows.format("n", 12))) == ["n = 5"]
    assert small_rests({"n": "150", "set": "142", "not known": "<10"}) == ["set = 142 of n = 150"]
    assert small_rests({"n": "150", "set": "140", "events": "150", "C": "0.9"}) == []
    assert small_counts_said("n = 1,234, 17 events, n = 1.5, 0.7 events a year") == []
    assert small_counts_said("n = 8; events: 9") == ["n = 8", "events: 9"]
