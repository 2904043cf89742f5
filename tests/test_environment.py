"""The four files that describe the environment agree: environment.yml, requirements.*, pyproject.toml."""

import ast
import re
import tomllib
from functools import cache

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import ecgrepro
from ecgrepro import ROOT

PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!]+)")  # no local part such as +cpu
CONDA_SPEC = re.compile(r"[a-z0-9][a-z0-9._-]*(?:(?:[<>!]=?|=|==)\d[\w.*]*(?:,[<>!]=?\d[\w.*]*)*)?")

IMPORTED_AS = {
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "scikit-survival": "sksurv",
}
"""Names under which distributions are imported, where they differ."""

STARTED = {
    "ipykernel": ("Snakefile", "--kernel python3"),
    "jupyterlab": ("Makefile", "jupyter lab"),
    "mypy": ("Makefile", "mypy"),
    "papermill": ("Snakefile", "papermill {input.notebook}"),
    "pydata-sphinx-theme": ("_config.yml", "html_theme_options"),
    "ruff": ("Makefile", "ruff check"),
    "setuptools": ("pyproject.toml", "setuptools.build_meta"),
    "snakemake": ("ecgrepro/book/workflow.py", '"snakemake"'),
    "sphinx-book-theme": ("_config.yml", "show_navbar_depth"),
    "sphinxcontrib-bibtex": ("_config.yml", "bibtex_bibfiles"),
}
"""What is started or configured and never imported: a file, and the words in it."""


def pins(name: str) -> dict[str, str]:
    """Version by canonical name; every line of the file must be an exact pin."""
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found: dict[str, str] = {}
    for line in filter(None, lines):
        match = PIN.fullmatch(line)
        assert match is not None, f"{name}: {line!r} is not name==version"
        key = canonicalize_name(match[1])
        assert key not in found, f"{name} pins {key} twice"
        assert str(Version(match[2])), line
        found[key] = match[2]
    return found


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements() -> list[Requirement]:
    """Everything pyproject.toml asks for, extras included."""
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def test_direct_pins_are_those_of_the_lock():
    lock = pins("requirements.lock")
    direct = pins("requirements.in")
    assert {name: lock.get(name) for name in direct} == direct
    assert len(lock) > len(direct) > 30


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_ranges_contain_the_locked_versions(requirement: Requirement):
    name = canonicalize_name(requirement.name)
    assert name in pins("requirements.in"), f"pyproject.toml asks for {name}: add it to the pins"
    assert requirement.specifier.contains(pins("requirements.lock")[name], prereleases=True)


@cache
def imported(*folders: str) -> set[str]:
    """Top names that the Python files of some folders import, also late and by `import_module`."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                found.add(ast.literal_eval(node.args[0]).partition(".")[0])
    return found


@pytest.mark.parametrize("requirement", project()["dependencies"])
def test_the_package_or_a_chapter_imports_what_it_depends_on(requirement: str):
    name = canonicalize_name(Requirement(requirement).name)
    assert IMPORTED_AS.get(name, name.replace("-", "_")) in imported("ecgrepro", "notebooks")


@pytest.mark.parametrize("name", sorted(pins("requirements.in")))
def test_every_direct_pin_is_imported_or_started(name: str):
    if name in STARTED:
        file, words = STARTED[name]
        assert words in (ROOT / file).read_text()
    else:
        found = imported("ecgrepro", "notebooks", "tests", "benchmarks")
        assert IMPORTED_AS.get(name, name.replace("-", "_")) in found


def test_build_system_is_met_by_the_lock():
    """The package is installed without isolation, so the lock must hold what builds it."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for requirement in map(Requirement, build):
        locked = pins("requirements.lock")[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(locked)


def test_known_conflicts_stay_out():
    """Jupyter Book 2 downloads its theme; lifelines and neurokit2 force pandas below 3."""
    lock = pins("requirements.lock")
    assert Version(lock["jupyter-book"]) < Version("2")
    assert not {"lifelines", "neurokit2", "fastai"} & set(lock)


def test_conda_environment_defers_to_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "ecgrepro"
    assert environment["channels"] == ["conda-forge"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    for spec in conda:
        assert CONDA_SPEC.fullmatch(spec), f"{spec!r} is not a conda spec"
    assert {"pip", "make", "git"} <= set(conda)
    # conda hands this list to pip as a requirements file, in which `-e . --no-deps` would be an error
    assert pip == ["-r requirements.lock", "-e ."]


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ("python=3.11", True),
        ("numpy>=2.4,<3", True),
        ("make", True),
        ("-e .", False),
        ("a b", False),
    ],
)
def test_conda_spec_pattern(spec: str, valid: bool):
    assert bool(CONDA_SPEC.fullmatch(spec)) is valid


def test_conda_python_is_one_the_package_accepts():
    text = (ROOT / "environment.yml").read_text()
    python = re.search(r"- python=(\S+)", text)
    assert python is not None
    assert SpecifierSet(project()["requires-python"]).contains(f"{python[1]}.0")


def test_versions_of_the_package_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project()["version"] == ecgrepro.__version__
    assert citation["license"] == project()["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
