"""ecgrepro: the thin helper under a runnable book on ECGs, clinical language and heart-failure risk."""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parent.parent
"""The repository: notebooks take every path from here, so the working folder never matters."""
