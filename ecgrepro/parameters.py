"""Parameters of chapters: what a notebook declares, what a profile sets, what a run uses.

The parameters cell of `notebooks/<chapter>.py` holds the defaults (the demo). `profiles/<name>.yaml` changes
some of them, by chapter. What a run really uses is written to `runs/<run>/parameters/<chapter>.yaml`, the
file papermill is given.
"""

import ast
import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ecgrepro import ROOT
from ecgrepro.errors import InputError
from ecgrepro.files import atomic_path

_PARAMETERS_CELL = re.compile(r'^# %% tags=\["parameters"\]\n(.*?)(?=^# %%|\Z)', re.M | re.S)


def declared_parameters(chapter: str) -> dict[str, Any]:
    """Names and default values in the parameters cell of a chapter, read without running it."""
    path = ROOT / "notebooks" / f"{chapter}.py"
    if not path.is_file():
        known = sorted(p.stem for p in (ROOT / "notebooks").glob("*.py"))
        raise InputError(f"There is no chapter {chapter!r}: the chapters are {', '.join(known)}.")
    cell = _PARAMETERS_CELL.search(path.read_text())
    if cell is None:
        raise InputError(f"notebooks/{chapter}.py has no cell tagged `parameters`: add one.")
    defaults = {}
    for statement in ast.parse(cell.group(1)).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            defaults[statement.targets[0].id] = ast.literal_eval(statement.value)
    return defaults


def check_names(chapter: str, declared: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Refuse a parameter that papermill injected but the chapter does not have.

    Papermill itself only prints a warning, so that `-p epoch 5` would quietly run with the default
    number of epochs. The injected cell starts with "# Parameters" and is in IPython's history.
    """
    for source in namespace.get("In", []):
        if source.startswith("# Parameters\n"):
            for statement in ast.parse(source).body:
                if not isinstance(statement, ast.Assign):
                    continue
                name = ast.unparse(statement.targets[0])
                if not name.startswith("PAPERMILL_"):  # what --inject-paths adds
                    _require_known(name, declared, f"chapter {chapter}")


def fitted(name: str, value: Any, default: Any) -> Any:
    """Return a parameter's value in the kind of its default: a command line knows text and numbers only.

    "false" becomes False, "5" a number, a bare name where a list is asked for the list of that name, and a leading
    "~" the home folder. A default of None takes anything.

    Raises
    ------
    InputError
        The value cannot be of that kind; the sentence says how to write it.
    """
    if isinstance(value, str) and isinstance(default, list | dict) and value.startswith(("[", "{")):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"Parameter {name} is {value!r}: a bracket is not closed.") from None
    if isinstance(default, list) and isinstance(value, str | int | float):
        value = [value]
    if isinstance(default, list) and isinstance(value, list | tuple):
        return [fitted(name, entry, default[0] if default else None) for entry in value]
    if isinstance(value, str) and isinstance(default, bool | int | float):
        value = _number_or_truth(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int):
        fits = number and float(value).is_integer()
    elif isinstance(default, float):
        fits = number
    elif isinstance(default, str):
        value = os.path.expanduser(str(value)) if number else value
        fits = isinstance(value, str)
    else:
        fits = default is None or isinstance(value, type(default))
    if not fits:
        raise InputError(
            f"Parameter {name} is {value!r}: give {_KINDS[type(default)]}, for example {default!r}."
        )
    if isinstance(default, str):
        return os.path.expanduser(value)
    return value if default is None or isinstance(default, dict) else type(default)(value)


def _number_or_truth(text: str) -> bool | float | str:
    """What a word on a command line means, if it means a number or a truth value."""
    truth = {"true": True, "false": False}.get(text.lower())
    try:
        return float(text) if truth is None else truth
    except ValueError:
        return text


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "names with values",
}


def profile_parameters(profile: str) -> dict[str, dict[str, Any]]:
    """Parameters by chapter from `profiles/<profile>.yaml`, every name checked against its notebook."""
    path = ROOT / "profiles" / f"{profile}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in (ROOT / "profiles").glob("*.yaml"))
        raise InputError(f"There is no profile {profile!r}: the profiles are {', '.join(known)}.")
    content = yaml.safe_load(path.read_text()) or {}
    for chapter, values in content.items():
        declared = declared_parameters(chapter)
        for name, value in values.items():
            _require_known(name, declared, f"chapter {chapter}, profiles/{path.name}")
            values[name] = fitted(name, value, declared[name])
    return content


def effective_parameters(chapter: str, run: str) -> dict[str, Any]:
    """Parameters that chapter uses in run: as recorded when the run was made, else as its profile says."""
    recorded = ROOT / "runs" / run / "parameters" / f"{chapter}.yaml"
    if recorded.is_file():
        return {**declared_parameters(chapter), **yaml.safe_load(recorded.read_text())}
    return _compose(chapter, run, run, {})


def prepare_run(
    profile: str, overrides: Mapping[str, Any], chapters: tuple[str, ...], run: str = ""
) -> str:
    """Write the parameters of every chapter of a run, leaving unchanged files untouched.

    Parameters
    ----------
    profile
        Name of a file in `profiles/`.
    overrides
        Parameter name to value, for every chapter that declares the name; empty strings are ignored.
    chapters
        The chapters that exist.
    run
        Name of the run folder; empty: the profile's name, followed by what the overrides change, and by a short
        hash where a run of that name was made of something else.

    Returns
    -------
    str
        The run's name.

    Raises
    ------
    InputError
        A name that is none, or that a run made of something else already has.
    """
    overrides = {name: _expanded(value) for name, value in overrides.items() if value != ""}
    if run and not overrides and run != profile and (ROOT / "runs" / run / "parameters").is_dir():
        return _plain_name(run)
    known = {name for chapter in chapters for name in declared_parameters(chapter)}
    for name in overrides:
        _require_known(name, dict.fromkeys(known), "any chapter")
    run = _run_for(profile, overrides, chapters, run)
    for chapter in chapters:
        text = yaml.safe_dump(_compose(chapter, run, profile, overrides), sort_keys=True)
        path = ROOT / "runs" / run / "parameters" / f"{chapter}.yaml"
        if not path.is_file() or path.read_text() != text:
            with atomic_path(path) as temporary:
                temporary.write_text(text)
    return run


def slug(chapter: str, changed: Mapping[str, Any]) -> str:
    """A folder name for a trial that can be read, and that differs whenever the parameters do."""
    text = json.dumps(changed, sort_keys=True, default=str)
    words = re.sub(
        r"[^A-Za-z0-9=.]+", "-", ",".join(f"{k}={v}" for k, v in sorted(changed.items()))
    )
    return f"{chapter}-{words[:60].strip('-')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _run_for(
    profile: str, overrides: Mapping[str, Any], chapters: tuple[str, ...], run: str
) -> str:
    """Name of the run of these overrides: two folders or models with one last name never share a run."""
    parts = [profile, *(Path(str(value)).name for value in overrides.values())]
    name = run or re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))
    mixed = [
        f"{key} {_shown(made[key])}"
        for made in _recorded(_plain_name(name), chapters)
        for key, value in overrides.items()
        if key in made and _what(made[key]) != _what(value)
    ]
    if not mixed:
        return name
    if run:
        raise InputError(
            f"Run {run!r} was made with {mixed[0]}: give another RUN, or delete runs/{run} first."
        )
    meant = json.dumps({key: _what(value) for key, value in overrides.items()}, sort_keys=True)
    return f"{name}-{hashlib.sha256(meant.encode()).hexdigest()[:6]}"


def _recorded(run: str, chapters: tuple[str, ...]) -> list[dict[str, Any]]:
    paths = [ROOT / "runs" / run / "parameters" / f"{chapter}.yaml" for chapter in chapters]
    return [yaml.safe_load(path.read_text()) for path in paths if path.is_file()]


def _what(value: Any) -> str:
    """A folder however it was typed, else the value itself."""
    path = ROOT / str(value)
    return str(path.resolve()) if value != "" and path.exists() else str(value)


def _shown(value: Any) -> str:
    return repr(value) if value != "" else "the default"


def _plain_name(run: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", run):
        raise InputError(
            f"{run!r} cannot name a run: use letters, digits, '.', '_' and '-', the first no '.'."
        )
    return run


def _expanded(value: Any) -> Any:
    """Text with a leading "~" as the home folder it means."""
    return os.path.expanduser(value) if isinstance(value, str) else value


def _compose(chapter: str, run: str, profile: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    values = declared_parameters(chapter)
    changes = {**profile_parameters(profile).get(chapter, {}), **overrides, "run": run}
    return values | {name: value for name, value in changes.items() if name in values}


def _require_known(name: str, declared: Mapping[str, Any], where: str) -> None:
    if name not in declared:
        near = difflib.get_close_matches(name, declared, n=3, cutoff=0.5) or sorted(declared)
        raise InputError(f"{where} has no parameter {name!r}: did you mean {' or '.join(near)}?")
