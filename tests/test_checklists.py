"""The two checklist pages: no item is missing, each is answered, and each link leads somewhere."""

import re
from pathlib import Path

import pytest
from docutils.nodes import make_id  # type: ignore[import-untyped]

from ecgrepro import ROOT, runs

BOOK = ROOT / "book"
TRIPOD, PROBAST = BOOK / "tripod_ai.md", BOOK / "probast_ai.md"

# sub-items of each of the 27 items: "" for an item without letters
TRIPOD_LETTERS = {
    **dict.fromkeys(range(1, 28), ""),
    3: "abc",
    5: "ab",
    6: "abc",
    8: "abc",
    9: "abc",
    12: "abcdefg",
    18: "abcdef",
    20: "abc",
    23: "ab",
    27: "abc",
}
TRIPOD_ITEMS = [
    f"{number}{letter}" for number, letters in TRIPOD_LETTERS.items() for letter in letters or [""]
]
# questions in the domains participants, predictors, outcome, analysis
PROBAST_QUESTIONS = {"Development": (3, 4, 4, 5), "Evaluation": (3, 4, 4, 7)}
ANSWER = re.compile(r"\*\*(Yes|Probably yes|Probably no|No|No information|Not applicable)\*\*: \S")
NOT_MET = re.compile(r"(?:\*\*not met\*\*|not met), because \S")
DOC = re.compile(r"\{doc\}`(?:[^`<]*<)?([^`<>]+)>?`")
REF = re.compile(r"\{ref\}`[^`<]*<([^`<>]+)>`")
SECTION = re.compile(r"\[([^\]]+)\]\(([^)#]+)\.html#([^)]+)\)\{\.external\}")


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows that begin with the number of an item."""
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [row for row in cells if row[0][:1].isdigit()]


def probast(part: str) -> list[list[str]]:
    """Rows of one of the two parts of the PROBAST+AI page."""
    return rows(re.split(r"^## ", PROBAST.read_text(), flags=re.M)[_headings(PROBAST).index(part)])


def _headings(page: Path) -> list[str]:
    """Titles at the second level, preceded by the page's own, as `re.split` sees them."""
    return ["", *re.findall(r"^## (.+)$", page.read_text(), re.M)]


def source_of(target: str) -> Path:
    """The file behind a {doc} target of a page in book/."""
    folder, _, name = target.rpartition("/")
    if folder == "executed":
        return ROOT / "notebooks" / f"{name}.py"
    return BOOK / f"{target}.md"


def prose(path: Path) -> str:
    """A page, or the Markdown of a chapter."""
    text = path.read_text()
    return re.sub(r"^# ?", "", text, flags=re.M) if path.suffix == ".py" else text


def all_rows() -> list[tuple[str, list[str]]]:
    items = [(f"TRIPOD+AI {row[0].split()[0]}", row) for row in rows(TRIPOD.read_text())]
    for part in PROBAST_QUESTIONS:
        items += [(f"PROBAST+AI {part} {row[0]}", row) for row in probast(part)]
    return items


# Completeness


def test_tripod_items_are_complete_and_in_order() -> None:
    listed = [row[0].split()[0] for row in rows(TRIPOD.read_text())]
    assert listed == TRIPOD_ITEMS
    assert len({re.match(r"\d+", item)[0] for item in listed}) == 27  # type: ignore[index]
    assert len(listed) == 52


@pytest.mark.parametrize(("part", "total"), [("Development", 16), ("Evaluation", 18)])
def test_probast_questions_are_complete_and_in_order(part: str, total: int) -> None:
    expected = [
        f"{domain}.{question}"
        for domain, count in enumerate(PROBAST_QUESTIONS[part], start=1)
        for question in range(1, count + 1)
    ]
    assert [row[0] for row in probast(part)] == expected
    assert len(expected) == total


# Answers


@pytest.mark.parametrize(("item", "row"), all_rows(), ids=[item for item, _ in all_rows()])
def test_item_is_answered(item: str, row: list[str]) -> None:
    assert all(row), f"{item}: a cell is empty"
    answer = row[2]
    assert DOC.search(answer) or NOT_MET.search(answer), (
        f"{item}: link to the answer, or say 'not met, because'"
    )


def test_probast_answers_are_those_of_the_tool() -> None:
    for part in PROBAST_QUESTIONS:
        for row in probast(part):
            assert len(row) == 4, f"{part} {row[0]}: what has a user with own data to do?"
            found = ANSWER.match(row[2])
            assert found, f"{part} {row[0]}: the answer is {row[2][:30]!r}"
            if found[1] == "No":
                assert NOT_MET.search(row[2]), f"{part} {row[0]}: 'no' needs its reason"


@pytest.mark.parametrize("page", [TRIPOD, PROBAST], ids=lambda page: page.stem)
def test_page_says_that_it_judges_a_method(page: Path) -> None:
    head = page.read_text().split("\n## ")[0]
    assert "simulated" in head
    assert "method" in head
    assert "own words" in head or "wording is ours" in head


# Links


@pytest.mark.parametrize("page", [TRIPOD, PROBAST], ids=lambda page: page.stem)
def test_targets_exist(page: Path) -> None:
    targets = DOC.findall(page.read_text())
    assert targets
    for target in targets:
        assert source_of(target).is_file(), f"{page.name} links to {target}"
    chapters = {target.split("/")[1] for target in targets if target.startswith("executed/")}
    assert chapters <= set(runs.CHAPTERS)


@pytest.mark.parametrize(("item", "row"), all_rows(), ids=[item for item, _ in all_rows()])
def test_sections_and_anchors_stand_in_the_page_that_is_linked(item: str, row: list[str]) -> None:
    for cell in row[2:]:
        linked = DOC.findall(cell)
        for title, target, anchor in SECTION.findall(cell):
            assert target in linked, f"{item}: link {target} as a page too"
            heading = re.compile(rf"^##+ {re.escape(title)}$", re.M)
            assert heading.search(prose(source_of(target))), f"{item}: {target} has no {title!r}"
            assert anchor == make_id(title), f"{item}: the anchor of {title!r} is {make_id(title)}"
        for label in REF.findall(cell):
            place = re.compile(rf"^\({re.escape(label)}\)=$", re.M)
            assert any(place.search(prose(source_of(target))) for target in linked), (
                f"{item}: no anchor {label!r} in {linked}"
            )


@pytest.mark.parametrize("page", [TRIPOD, PROBAST], ids=lambda page: page.stem)
def test_links_have_one_of_the_forms_that_are_checked(page: Path) -> None:
    text = page.read_text()
    assert len(SECTION.findall(text)) == text.count("](")
    assert len(REF.findall(text)) == text.count("{ref}")
    assert len(DOC.findall(text)) == text.count("{doc}")


# The pages may not fall behind the chapters


@pytest.mark.parametrize(
    "call", ["calibration_at", "resampled_auc", "resampled_brier", "net_benefit"]
)
def test_measures_are_shown_where_the_pages_say(call: str) -> None:
    places = [row for _, row in all_rows() if "net benefit" in row[2]]
    assert len(places) == 2
    for row in places:
        chapters = [source_of(target) for target in DOC.findall(row[2])]
        assert any(f"{call}(" in chapter.read_text() for chapter in chapters), row[0]


def test_what_is_called_missing_is_missing() -> None:
    """No page may go on denying what a chapter does by now."""
    row = dict(all_rows())["TRIPOD+AI 27a"]
    chapters = [name for name in runs.CHAPTERS if re.search(r"check_quality\(", chapter_text(name))]
    assert ("no chapter acts on it" in row[2]) != bool(chapters), f"see {chapters}: update the page"


@pytest.mark.parametrize(
    ("item", "chapter", "code"),
    [
        ("PROBAST+AI Evaluation 4.6", "13_protocol", r"run_sweep\(arms"),
        ("TRIPOD+AI 12c", "13_protocol", r"from ecgrepro\.protocol import"),
        ("TRIPOD+AI 10", "10_evaluation", r"baseline_columns\(part\)"),
        ("TRIPOD+AI 20c", "08_cohorts", r"describe_parts\("),
        ("TRIPOD+AI 23a", "10_evaluation", r"resampled_calibration\(\s*sample"),
    ],
)
def test_what_is_called_met_is_done_there(item: str, chapter: str, code: str) -> None:
    row = dict(all_rows())[item]
    assert source_of(f"executed/{chapter}") in map(source_of, DOC.findall(row[2]))
    assert re.search(code, chapter_text(chapter)), f"{chapter} no longer does it: update {item}"


def chapter_text(name: str) -> str:
    return (ROOT / "notebooks" / f"{name}.py").read_text()


def test_functions_that_the_page_recommends_exist() -> None:
    from ecgrepro import survival

    named = re.findall(r"`survival\.(\w+)`", PROBAST.read_text())
    assert named
    for name in named:
        assert callable(getattr(survival, name))
