"""Which modules a chapter stands on, found by following its imports.

The Snakefile lists them as inputs of the chapter's rule, so that editing a module reruns the chapters that
use it and no others.
"""

import ast
from functools import cache
from pathlib import Path

from ecgrepro import ROOT


def modules_behind(chapter: str) -> list[str]:
    """Files under `ecgrepro/` that `notebooks/<chapter>.py` imports, directly or through one another.

    Returns
    -------
    list of str
        Sorted paths relative to the repository, including package data (csv) beside those modules.
    """
    found: set[Path] = set()
    waiting = _imports(ROOT / "notebooks" / f"{chapter}.py")
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting |= _imports(path) - found
    data = {table for path in found for table in path.parent.glob("*.csv")}
    return sorted(path.relative_to(ROOT).as_posix() for path in found | data)


@cache
def _parsed(path: Path, modified: int) -> ast.Module:
    return ast.parse(path.read_text())


def _imports(path: Path) -> set[Path]:
    """Files of the package that one file imports (a package stands for its `__init__.py`)."""
    names: set[str] = set()
    for node in ast.walk(_parsed(path, path.stat().st_mtime_ns)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        if name == "ecgrepro" or not name.startswith("ecgrepro."):
            continue
        base = ROOT.joinpath(*name.split("."))
        files |= {f for f in (base.with_suffix(".py"), base / "__init__.py") if f.is_file()}
    return files
