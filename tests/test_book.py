"""Guards on the prose: pages, contents, commands and citations name only what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecgrepro import ROOT, runs

PAGES = sorted((ROOT / "book").glob("*.md"))
FRONT = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home|root|tmp|mnt|Users|data|scratch)/|\b[A-Z]:\\")


def contents() -> list[str]:
    """Every file that _toc.yml names, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]


def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "_config.yml").read_text())


def code_in(path: Path) -> str:
    """Fenced blocks and inline code of a page, one a line: where commands stand."""
    text = path.read_text()
    fenced = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return "\n".join([*fenced, *inline])


def table_rows(path: Path) -> list[list[str]]:
    """Cells of every table row of a page."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]


# Contents


def test_contents_name_pages_and_chapters_that_exist():
    for entry in contents():
        folder, _, name = entry.rpartition("/")
        source = (
            ROOT / "notebooks" / f"{name}.py" if folder == "book/executed" else ROOT / f"{entry}.md"
        )
        assert source.is_file(), f"_toc.yml names {entry}, but {source.name} does not exist"


def test_every_page_and_chapter_is_in_the_contents_once():
    expected = [f"book/{page.stem}" for page in PAGES]
    expected += [f"book/executed/{chapter}" for chapter in runs.CHAPTERS]
    assert sorted(contents()) == sorted(expected)


def test_pages_and_chapters_have_one_title_in_the_first_line():
    for page in [*PAGES, *FRONT]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        assert page.read_text().startswith("# "), page.name
        assert len(re.findall(r"^# ", text, re.M)) == 1, page.name


# What pages say


@pytest.mark.parametrize("page", [*PAGES, *FRONT, *NOTEBOOKS], ids=lambda p: p.name)
def test_no_machine_path(page: Path):
    found = MACHINE_PATH.findall(page.read_text())
    assert not found, f"{page.name} names a path of one machine: {found[0]}"


def test_machine_paths_are_recognised():
    assert MACHINE_PATH.search("see /home/ada/ptbxl")
    assert MACHINE_PATH.search(r"see C:\data")
    assert not MACHINE_PATH.search(
        "make book RELEASE=data/ptbxl and https://a.org/data/x, runs/tmp/"
    )


@pytest.mark.parametrize("page", [*PAGES, *FRONT], ids=lambda p: p.name)
def test_make_commands_exist(page: Path):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.M))
    for target, rest in re.findall(r"\bmake ([a-z]+)([^\n#]*)", code_in(page)):
        assert target in targets, f"{page.name}: `make {target}` is no target"
        unknown = set(re.findall(r"\b([A-Z_]+)=", rest)) - variables
        assert not unknown, f"{page.name}: `make {target}` does not know {unknown}"


@pytest.mark.parametrize("page", [*PAGES, *FRONT], ids=lambda p: p.name)
def test_chapters_and_profiles_named_exist(page: Path):
    code = code_in(page)
    named = re.findall(r"\b(?:CHAPTER=|notebooks/|provenance/|executed/)(\d\d_\w+)", code)
    unknown = set(named) - set(runs.CHAPTERS)
    assert not unknown, f"{page.name} names chapters that do not exist: {unknown}"
    known = {path.stem for path in (ROOT / "profiles").glob("*.yaml")}
    written = set(re.findall(r"# profiles/(\w+)\.yaml", code))  # examples the page itself shows
    missing = set(re.findall(r"PROFILE=(\w+)", code)) - known - written
    assert not missing, f"{page.name} names profiles that do not exist: {missing}"


def test_papermill_commands_name_real_parameters():
    from ecgrepro.parameters import declared_parameters

    commands = re.findall(
        r"papermill notebooks/(\w+)\.ipynb \S+ -p (\w+) \S+",
        "\n".join(code_in(page) for page in [*PAGES, *FRONT]),
    )
    assert commands
    for chapter, name in commands:
        assert name in declared_parameters(chapter), f"{chapter} has no parameter {name}"


def test_links_in_the_readme_exist():
    for page in FRONT:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (ROOT / target).is_file(), f"{page.name} links to {target}"


def test_every_citation_is_in_the_bibliography():
    keys = re.findall(r"^@\w+\{([^,\s]+),", (ROOT / "book/references.bib").read_text(), re.M)
    assert len(keys) == len(set(keys)), "a key occurs twice in references.bib"
    for page in [*PAGES, *NOTEBOOKS]:
        for group in re.findall(r"\{cite(?::[a-z]+)?\}`([^`]+)`", page.read_text()):
            unknown = {key.strip() for key in group.split(",")} - set(keys)
            assert not unknown, f"{page.name} cites {unknown}: add it to book/references.bib"


# The table of outputs


def test_table_of_outputs_is_the_table_of_artefacts():
    rows = [row for row in table_rows(ROOT / "book/outputs.md") if row[0].startswith("`")]
    listed = []
    for path, name, chapter, content in rows:
        link = re.fullmatch(r"\{doc\}`(\d+) <executed/(\w+)>`", chapter)
        assert link is not None, f"outputs.md, {path}: the chapter cell is {chapter!r}"
        assert int(link[1]) == int(link[2][:2]), f"outputs.md, {path}: number and link differ"
        assert content, f"outputs.md, {path}: say what the file holds"
        listed.append((path.strip("`"), name.strip("`"), link[2]))
    expected = [(a.path, a.name, a.chapter) for a in runs.ARTEFACTS.values()]
    assert sorted(listed) == sorted(expected)


# The audit


def audit() -> dict[str, str]:
    """Guard of each point of the audit, by id."""
    rows = [row for row in table_rows(ROOT / "book/study.md") if len(row) == 4]
    points = [(row[0].strip("*"), row[3]) for row in rows]
    return {name: guard for name, guard in points if re.fullmatch(r"[SR]-\d+", name)}


def test_audit_is_complete():
    expected = [f"S-{i}" for i in range(1, 41)] + [f"R-{i}" for i in range(1, 16)]
    assert sorted(audit()) == sorted(expected)


@pytest.mark.parametrize("name", sorted(audit()))
def test_every_guard_of_the_audit_exists(name: str):
    """The page promises a test whose text names the id; "none" says that there is no such code."""
    if audit()[name].startswith("none"):
        return
    pattern = re.compile(rf"\b{name}\b")
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any(pattern.search(path.read_text()) for path in tests), f"no test names {name}"


# Rendering


def test_pages_render_without_the_network():
    settings = config()["sphinx"]["config"]
    static = ROOT / settings["html_static_path"][0]
    assert (static / settings["mathjax_path"]).stat().st_size > 1_000_000
    assert (static / "mathjax" / "LICENSE").is_file()
    for name in settings["html_css_files"]:
        assert "http" not in (static / name).read_text()
    assert config()["execute"]["execute_notebooks"] == "off"


def test_images_of_the_pages_exist():
    for page in PAGES:
        for target in re.findall(r"```\{(?:image|figure)\} (\S+)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name} shows {target}"


def test_published_figures_agree_with_one_another():
    """The ten folds quoted on the page have the mean that the abstract reports (STUDY: 0.5805)."""
    folds = [
        float(cell)
        for row in table_rows(ROOT / "book/study.md")
        if row[0].startswith("Fold ")
        for cell in row[1:]
    ]
    assert len(folds) == 10
    assert round(sum(folds) / 10, 4) == 0.5805
    assert round(sum(folds) / 10, 5) == 0.58052
    assert "0.58052" in (ROOT / "book/study.md").read_text()
