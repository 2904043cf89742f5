"""Nothing in the package is there for its tests alone: a chapter or a command of `make` reaches every public name.

Names are followed through the syntax trees: from the chapters, and from what the Makefile and the Snakefiles start,
through the package. A function, class or constant is reached where reached code mentions it; to be imported, listed
in `__all__` or described in a docstring is no use of it. Methods are not looked at.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgrepro import ROOT

RELIED_ON = {"ecgrepro.survival.measures.auc_over_time", "ecgrepro.survival.measures.brier_score"}
"""Promised to readers' own code by a room's face; chapters call the forms that resample."""

NOT_YET_SHOWN = {
    "ecgrepro.attribution.IntegratedGradients",
    "ecgrepro.attribution.integrated_gradients",
    "ecgrepro.plots.data.YEARS",
    "ecgrepro.plots.data.plot_age_sex",
    "ecgrepro.plots.text.plot_weights",
    "ecgrepro.survival.folds.STUDY_SEEDS",
}
"""Wait for a place in a chapter, or for their end. This list only gets shorter."""

STARTED = "__main__"
DOTTED = re.compile(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


class Module:
    """A file: the statements behind each name that it defines, and what its imports mean by a name."""

    def __init__(self, name: str, source: str, is_package: bool = False) -> None:
        tree = ast.parse(source)
        self.name = name
        self.meaning = meanings(tree, name if is_package else name.rpartition(".")[0])
        # the empty name stands for what an import runs, STARTED for what `python -m` runs
        self.behind: dict[str, list[ast.AST]] = {"": [], STARTED: []}
        for node in tree.body:
            for key in names_of(node):
                self.behind.setdefault(key, []).append(node)
        for key in self.defined:
            self.meaning[key] = f"{name}.{key}"

    @property
    def defined(self) -> list[str]:
        return [key for key in self.behind if key not in ("", STARTED)]


def names_of(node: ast.stmt) -> list[str]:
    """Names that a statement at the top of a file defines; the empty one where it only does something."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        stored = [n for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return [name.id for name in stored if name.id != "__all__"]
    if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
        return [STARTED]
    return [] if isinstance(node, ast.Import | ast.ImportFrom) else [""]


def meanings(tree: ast.AST, package: str) -> dict[str, str]:
    """Full name of each name that is imported anywhere in a file."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                found |= {alias.asname: alias.name} if alias.asname else {top: top}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            found |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
    return found


def mentioned(node: ast.AST, meaning: dict[str, str]) -> Iterator[str]:
    """Full names that a piece of code mentions, also in strings of code; docstrings are no code."""
    described = {
        id(inner.value)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
    }
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute):
            root, *rest = ast.unparse(inner).split(".")
            if root in meaning:
                yield ".".join([meaning[root], *rest])
        elif isinstance(inner, ast.Constant) and id(inner) not in described:
            yield from DOTTED.findall(str(inner.value))


def mentioned_in_rules(text: str) -> Iterator[str]:
    """Full names that a Snakefile or a Makefile mentions; what it starts with `python -m` ends in STARTED."""
    yield from (f"{name}.{STARTED}" for name in re.findall(r"python -m ([\w.]+)", text))
    text = re.sub(r"#.*", "", text)
    imports = "\n".join(re.findall(r"^(?:import|from) .+$", text, re.M))
    meaning = meanings(ast.parse(imports), "")
    for dotted in DOTTED.findall(re.sub(r"^(?:import|from) .+$", "", text, flags=re.M)):
        root, *rest = dotted.split(".")
        if root in meaning:
            yield ".".join([meaning[root], *rest])


def read_package(folder: Path) -> dict[str, Module]:
    """Every module of a package by its full name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, path.read_text(), is_package)
    return found


def unreached(package: Path, scripts: list[Path], rules: list[Path]) -> set[str]:
    """Full names of public definitions that neither the scripts nor the rules reach."""
    modules = read_package(package)
    waiting = [name for path in rules for name in mentioned_in_rules(path.read_text())]
    for path in scripts:
        tree = ast.parse(path.read_text())
        waiting += mentioned(tree, meanings(tree, ""))
    reached: set[tuple[str, str]] = set()
    while waiting:
        for module, key in definition(waiting.pop(), modules):
            if (module.name, key) not in reached:
                reached.add((module.name, key))
                for node in module.behind[key]:
                    waiting += mentioned(node, module.meaning)
    return {
        f"{module.name}.{key}"
        for module in modules.values()
        for key in module.defined
        if not key.startswith("_") and (module.name, key) not in reached
    }


def definition(dotted: str, modules: dict[str, Module]) -> Iterator[tuple[Module, str]]:
    """What a full name leads to, through the faces that hand it on, with what importing it runs."""
    parts = dotted.split(".")
    if parts[-1] == STARTED:
        # a package is started by the file of that name in it
        if module := modules.get(dotted) or modules.get(".".join(parts[:-1])):
            yield from ((module, ""), (module, STARTED))
        return
    for length in range(len(parts), 0, -1):
        if (module := modules.get(".".join(parts[:length]))) is None:
            continue
        yield module, ""
        rest = parts[length:]
        if rest and rest[0] in module.defined:
            yield module, rest[0]
        elif rest and (handed_on := module.meaning.get(rest[0])):
            yield from definition(".".join([handed_on, *rest[1:]]), modules)
        return


def test_every_public_name_is_reached_by_a_chapter_or_a_command():
    scripts = [*(ROOT / "notebooks").rglob("*.py"), ROOT / "book" / "make_picture.py"]
    rules = [ROOT / name for name in ("Makefile", "Snakefile", "protocol.smk")]
    left = unreached(ROOT / "ecgrepro", scripts, rules)
    known = RELIED_ON | NOT_YET_SHOWN
    assert sorted(left - known) == [], "only tests reach these: show them, or delete them"
    assert sorted(known - left) == [], "these are reached, or gone: take them off the list"


PACKAGE = {
    "pack/__init__.py": "from pack.room import handed_on, unused\n__all__ = ['handed_on', 'unused']\n",
    "pack/room.py": (
        "from pack import far\n"
        "LIMIT = 3\n"
        "SPARE = 4\n"
        "far.register()\n"
        "def handed_on(): return _helper()\n"
        "def _helper(): return LIMIT, far.deep()\n"
        "def unused():\n"
        "    'Like handed_on, and pack.far.alone.'\n"
        "    return far.alone()\n"
    ),
    "pack/far.py": "def register(): ...\ndef deep(): ...\ndef alone(): ...\ndef quoted(): ...\n",
    "pack/tool.py": (
        "LINE = 'import pack.far; pack.far.quoted()'\n"
        "def main(): return LINE\n"
        "def idle(): ...\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    ),
    "chapter.py": "import pack\npack.handed_on()\n",
    "Snakefile": "from pack import room\nrule:\n    shell: 'python -m pack.tool'  # room.SPARE\n",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Write a package of four files, a chapter and a rule."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def left_in(folder: Path) -> set[str]:
    return unreached(folder / "pack", [folder / "chapter.py"], [folder / "Snakefile"])


def test_uses_are_followed_and_mentions_that_are_no_use_are_not(small: Path):
    """Neither an import, `__all__`, a docstring, a comment nor another unreached function is a use."""
    assert left_in(small) == {
        "pack.room.SPARE",
        "pack.room.unused",
        "pack.far.alone",
        "pack.tool.idle",
    }


@pytest.mark.parametrize(
    ("file", "more", "freed"),
    [
        ("chapter.py", "pack.unused()", {"pack.room.unused", "pack.far.alone"}),
        (
            "chapter.py",
            "from pack.room import unused as u\nmap(u, [])",
            {"pack.room.unused", "pack.far.alone"},
        ),
        ("Snakefile", "THREADS = room.SPARE", {"pack.room.SPARE"}),
        (
            "pack/far.py",
            "def deep():\n    from pack.tool import idle\n    idle()",
            {"pack.tool.idle"},
        ),
    ],
)
def test_a_use_frees_what_stands_behind_it(small: Path, file: str, more: str, freed: set[str]):
    before = left_in(small)
    (small / file).write_text((small / file).read_text() + more)
    assert before - left_in(small) == freed


def test_without_its_chapter_a_function_is_left(small: Path):
    (small / "chapter.py").write_text("from pack import handed_on\n")
    assert {"pack.room.handed_on", "pack.room.LIMIT", "pack.far.deep"} <= left_in(small)
