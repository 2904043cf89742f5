"""Guards on the chapters: pairs agree, nothing is stored, references are complete, needs are declared."""

import ast
import re

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

from ecgrepro import ROOT
from ecgrepro.parameters import declared_parameters, profile_parameters
from ecgrepro.runs import ARTEFACTS, CHAPTERS, artefacts_of

NOTEBOOKS = ROOT / "notebooks"
REFERENCES = ROOT / "tests" / "reference"
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


def cells_of(notebook: NotebookNode) -> list[tuple[str, str, tuple[str, ...]]]:
    """(type, source, tags) of each cell: all that has to agree between two copies."""
    return [
        (c.cell_type, c.source.strip(), tuple(c.metadata.get("tags", []))) for c in notebook.cells
    ]


def read(chapter: str) -> NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4)


def needs() -> dict[str, list[str]]:
    """The table NEEDS of the Snakefile."""
    table = re.search(r"^NEEDS = (\{.*?^\})", (ROOT / "Snakefile").read_text(), re.M | re.S)
    assert table is not None
    return ast.literal_eval(table.group(1))


def test_chapters_are_the_notebooks():
    assert sorted(CHAPTERS) == sorted(path.stem for path in NOTEBOOKS.glob("*.py"))
    assert set(needs()) == set(CHAPTERS)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_script_and_notebook_agree(chapter):
    script = jupytext.read(NOTEBOOKS / f"{chapter}.py")
    assert cells_of(script) == cells_of(read(chapter)), "run `make notebooks`"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_notebook_stores_no_output(chapter):
    for cell in read(chapter).cells:
        assert not cell.get("outputs"), "clear the outputs"
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_one_parameters_cell_with_comments(chapter):
    tagged = [c for c in read(chapter).cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert declared_parameters(chapter)["run"] == "demo"
    for line in tagged[0].source.splitlines():
        assert "#" in line, f"say what it is and its unit: {line}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_snakefile_knows_what_the_chapter_reads_and_writes(chapter):
    source = (NOTEBOOKS / f"{chapter}.py").read_text()
    reads = set(re.findall(r'chapter\.read\("(\w+)"\)', source))
    if "chapter.source" in source:
        reads.add("release")
    own = {artefact.name for artefact in artefacts_of(chapter)}
    assert reads - own == set(needs()[chapter])
    assert set(re.findall(r'chapter\.write\("(\w+)"\)', source)) == own


def test_every_need_is_made_earlier():
    for chapter, names in needs().items():
        for name in names:
            assert CHAPTERS.index(ARTEFACTS[name].chapter) < CHAPTERS.index(chapter)


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_names_only_real_parameters(profile):
    for chapter, values in profile_parameters(profile).items():
        assert set(values) <= set(declared_parameters(chapter))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_reference_is_this_notebook_run_to_the_end(chapter):
    """nbval passes cells that were never run, so an incomplete reference would test nothing."""
    reference = nbformat.read(REFERENCES / f"{chapter}.ipynb", as_version=4)
    own = [c for c in reference.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    reference.cells = own
    assert cells_of(reference) == cells_of(read(chapter)), "run `make references`"
    code = [cell for cell in own if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    stored = (REFERENCES / f"{chapter}.ipynb").read_text()
    assert "image/png" not in stored
    assert str(ROOT) not in stored, "a path of one machine"
    assert "site-packages" not in stored, "a path of one machine"


def names_in(source: str, assigned: bool = False) -> set[str]:
    """Names that some code uses, or only those that it assigns."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
    return {node.id for node in found if not assigned or isinstance(node.ctx, ast.Store)}


@pytest.mark.parametrize("chapter", [name for name in CHAPTERS if name != "99_status"])
def test_what_is_not_compared_is_asserted(chapter):
    """Outputs that differ by machine are compared loosely or not at all, so properties must stand in their place.

    (Chapter 99 describes the machine itself.)
    """
    code = [cell for cell in read(chapter).cells if cell.cell_type == "code"]
    checks = "\n".join(cell.source for cell in code if "assert " in cell.source)
    trained = [cell for cell in code if "trained" in cell.metadata.get("tags", [])]
    if trained:
        assert re.search(r"assert .*[<>].* \d*\.\d", checks), (
            "assert what was trained, with numbers"
        )
    for position, cell in enumerate(code):
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            later = [c.source for c in code[position + 1 :] if c in trained]
            used = names_in(checks).union(*map(names_in, later))
            assert names_in(cell.source, assigned=True) & used, (
                f"asserted nowhere: {cell.source[:60]}"
            )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_has_its_parts(chapter):
    source = (NOTEBOOKS / f"{chapter}.py").read_text()
    for part in ("# # ", "## Checks", "## Provenance", "## Summary", "chapter.finish()"):
        assert part in source
    if chapter != "99_status":
        assert "assert " in source.split("## Checks")[1]
