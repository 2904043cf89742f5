"""The run folder: how a chapter reads and writes there, and what it records.

A run is `runs/<name>/`. Chapters pass files to one another through it and in no other way. A chapter that
is rerun by hand with other parameters, or whose cells were edited, writes to a trial folder inside the run, so that
an experiment never overwrites what the book shows.
"""

import os
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgrepro import ROOT
from ecgrepro.artefacts import ARTEFACTS, CHAPTERS, artefact_named, artefacts_of
from ecgrepro.book.alive import MAKE, end_with_make
from ecgrepro.book.notebooks import edited_cells
from ecgrepro.errors import InputError
from ecgrepro.files import read_json, write_json
from ecgrepro.parameters import (
    check_names,
    declared_parameters,
    effective_parameters,
    fitted,
    slug,
)
from ecgrepro.provenance import describe_environment, hash_paths

__all__ = ["ARTEFACTS", "CHAPTERS", "Run", "artefacts_of", "start"]


@dataclass
class Run:
    """A chapter's view of a run folder: where it reads, where it writes, what it has to record."""

    name: str
    chapter: str
    folder: Path
    output: Path
    parameters: dict[str, Any]
    namespace: MutableMapping[str, Any] = field(default_factory=dict, repr=False)
    started: float = field(default_factory=time.perf_counter)
    inputs: dict[str, Path] = field(default_factory=dict)
    outputs: dict[str, Path] = field(default_factory=dict)

    def read(self, name: str) -> Path:
        """Path of an artefact that must exist; the error names the command that makes it."""
        artefact = artefact_named(name)
        path = self.output / artefact.path
        if artefact.chapter != self.chapter or not path.exists():
            path = self.folder / artefact.path
        if not path.exists():
            raise InputError(
                f"{_shown(path)} is missing: `make needs CHAPTER={self.chapter} RUN={self.name}` "
                f"makes all that this chapter stands on (here, chapter {artefact.chapter})."
            )
        if artefact.chapter != self.chapter:
            self.inputs[name] = path
        return path

    def write(self, name: str) -> Path:
        """Path of an artefact of this chapter, its folder made; write it through `files.atomic_path`."""
        artefact = artefact_named(name)
        if artefact.chapter != self.chapter:
            raise InputError(
                f"Chapter {self.chapter} may not write {artefact.path}: chapter {artefact.chapter} owns it."
            )
        self._leave_the_run_if_edited()
        path = self.output / artefact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.outputs[name] = path
        return path

    def scratch(self, name: str) -> Path:
        """Folder for files that nobody reads after the chapter: checkpoints, simulated releases."""
        self._leave_the_run_if_edited()
        path = self.output / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _leave_the_run_if_edited(self) -> None:
        """From the first edited cell on, write to a trial, as with other parameters."""
        if self.output != self.folder or MAKE in os.environ:
            return
        edited = edited_cells(self.chapter, self.namespace.get("In", []))
        if edited:
            self.output = self.folder / "trials" / slug(self.chapter, {"edited": edited})
            self.outputs = {}
            first = edited[0].strip().splitlines()[0]
            print(f"Edited cells ({first} ...): results go to {_shown(self.output)}.")

    @property
    def source(self) -> str:
        """The words every figure and page must carry about where the ECGs came from."""
        return str(read_json(self.read("release"))["source"])

    def finish(self) -> dict[str, Any]:
        """Record from which code, data and parameters this chapter's artefacts came.

        Returns
        -------
        dict
            What was written to `provenance/<chapter>.json`: chapter, parameters, environment (commit,
            versions, device), wall time in seconds, and the SHA-256 of every input and output.
        """
        missing = [str(_shown(path)) for path in self.outputs.values() if not path.exists()]
        if missing:
            raise InputError(
                f"Chapter {self.chapter} never wrote {', '.join(missing)}: rerun it whole."
            )
        record = {
            "chapter": self.chapter,
            "run": self.name,
            "parameters": self.parameters,
            "seconds": round(time.perf_counter() - self.started, 1),
            "environment": describe_environment(),
            "inputs": hash_paths(self.inputs, self.folder),
            "outputs": hash_paths(self.outputs, self.output),
        }
        write_json(self.output / "provenance" / f"{self.chapter}.json", record)
        return record


def start(chapter: str, namespace: MutableMapping[str, Any]) -> Run:
    """Open the run folder for a chapter: refuse mistyped parameters, choose where results go.

    Values that a command line gave as text are put back into the namespace in the kind of their default.

    Parameters
    ----------
    chapter
        Name of the notebook without its ending, for example "06_alignment".
    namespace
        `globals()` of the notebook, after its parameters cell.

    Returns
    -------
    Run
        Writes go to `runs/<run>/` when all parameters are those of the run and no cell that ran before was edited,
        else to `runs/<run>/trials/<chapter>-<what differs>/`. `make` itself always writes to the run.

    Raises
    ------
    InputError
        A parameter that the chapter does not have, or whose value is of another kind.
    """
    end_with_make()
    declared = declared_parameters(chapter)
    check_names(chapter, declared, namespace)
    given = {name: fitted(name, namespace[name], default) for name, default in declared.items()}
    namespace.update(given)
    name = given["run"]
    folder = ROOT / "runs" / name
    expected = effective_parameters(chapter, name)
    changed = {key: value for key, value in given.items() if value != expected[key]}
    output = folder
    if changed:
        output = folder / "trials" / slug(chapter, changed)
        print(f"Other parameters than run {name!r} ({changed}): results go to {_shown(output)}.")
    return Run(name, chapter, folder, output, given, namespace)


def _shown(path: Path) -> Path:
    """A path as a reader at the top of the repository would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
