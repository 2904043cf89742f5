"""From which code, data and machine a result came."""

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ecgrepro import ROOT, __version__
from ecgrepro.files import sha256_file

PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "statsmodels",
)
"""Packages whose version can change a number in the book."""


def describe_environment() -> dict[str, Any]:
    """Commit, package versions and device, all as plain strings and numbers."""
    import torch  # heavy, and chapters on data and text do not need it before this line

    cuda = torch.cuda.is_available()
    return {
        "ecgrepro": __version__,
        "commit": _git("rev-parse", "HEAD") or "unknown (not a git checkout)",
        "uncommitted_changes": bool(
            _git("status", "--porcelain", "--", "ecgrepro", "notebooks", "profiles")
        ),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name()
        if cuda
        else f"CPU, {torch.get_num_threads()} threads",
        "machine": f"{platform.system()} {platform.machine()}",
    }


def hash_paths(paths: Mapping[str, Path], base: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every named file, with its path relative to `base`."""
    return {
        name: {"path": path.relative_to(base).as_posix(), "sha256": sha256_file(path)}
        for name, path in sorted(paths.items())
    }


def summarise(record: Mapping[str, Any]) -> str:
    """A chapter's provenance in a few lines, as its last cell prints it."""
    environment = record["environment"]
    lines = [
        f"run        {record['run']}, chapter {record['chapter']}",
        f"code       ecgrepro {environment['ecgrepro']}",
        *(f"read       {entry['path']}" for entry in record["inputs"].values()),
        *(f"wrote      {entry['path']}" for entry in record["outputs"].values()),
        f"recorded   provenance/{record['chapter']}.json (commit, versions, hashes, device, wall time)",
    ]
    return "\n".join(lines)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
