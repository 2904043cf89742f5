"""What every Python of the book's environment starts with, however it was started.

`make env` writes a line into the environment (`python -m ecgrepro.book.environment`) that calls `prepare` whenever a
Python of it starts: papermill or JupyterLab by hand then run chapters as `make` does. The settings stand in
`settings.mk`, which the Makefile includes.
"""

import os
import re
import sys
import sysconfig
from pathlib import Path

from ecgrepro import ROOT


def settings() -> dict[str, str]:
    """Variables of `settings.mk` with their values; empty where the package has left its repository."""
    path = ROOT / "settings.mk"
    text = path.read_text() if path.is_file() else ""
    return dict(re.findall(r"^(\w+) \?= (\S+)$", text, re.M))


def prepare() -> None:
    """Set what is not set, and let this environment's own kernels win over those on JUPYTER_PATH."""
    for name, value in settings().items():
        os.environ.setdefault(name, value)
    own = os.path.join(sys.prefix, "share", "jupyter")
    others = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    if others != [""] and others[0] != own:
        os.environ["JUPYTER_PATH"] = os.pathsep.join([own, *others])


def main() -> None:
    """Write the line that Python's `site` runs at each start."""
    line = "import ecgrepro.book.environment; ecgrepro.book.environment.prepare()\n"
    (Path(sysconfig.get_path("purelib")) / "ecgrepro_environment.pth").write_text(line)


if __name__ == "__main__":
    main()
