"""Weights that arms start from: `python -m ecgrepro.protocol --run demo --encoder cnn --initialisation aligned`."""

import argparse
import sys

from ecgrepro import ROOT
from ecgrepro.book.alive import end_with_make
from ecgrepro.errors import InputError
from ecgrepro.protocol.arms import PRETRAINED
from ecgrepro.protocol.run import pretrain_start


def main(arguments: list[str] | None = None) -> int:
    """Pretrain one start; an `InputError` is one line, not a traceback."""
    parser = argparse.ArgumentParser(prog="python -m ecgrepro.protocol", description=__doc__)
    parser.add_argument("--run", required=True, help="name of the folder under runs/")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--initialisation", required=True, choices=PRETRAINED)
    given = parser.parse_args(arguments)
    end_with_make()
    try:
        pretrain_start(ROOT / "runs" / given.run, given.encoder, given.initialisation)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
