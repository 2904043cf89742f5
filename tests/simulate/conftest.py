"""One small simulated release, and one large table of latent states, shared by the tests."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgrepro.simulate import write_release
from ecgrepro.simulate.coding import assign_codes
from ecgrepro.simulate.disease import draw_ages, draw_states
from ecgrepro.simulate.heart import Hearts, build_hearts, frontal_axis
from ecgrepro.simulate.rhythm import BeatTimes, draw_beats

SEED = 7


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated release of 260 patients at both rates."""
    folder = tmp_path_factory.mktemp("simulated")
    return write_release(folder, 260, seed=SEED, rates=(100, 500), progress=False)


@pytest.fixture(scope="session")
def database(release: Path) -> pd.DataFrame:
    return pd.read_csv(release / "ptbxl_database.csv")


@pytest.fixture(scope="session")
def truth(release: Path) -> pd.DataFrame:
    return pd.read_csv(release / "truth.csv")


@dataclass(frozen=True)
class Population:
    """Latent states, hearts, beats and codes of 8,000 simulated people, without signals."""

    states: pd.DataFrame
    hearts: Hearts
    beats: BeatTimes
    codes: list[dict[str, float]]
    axis: np.ndarray


@pytest.fixture(scope="session")
def population() -> Population:
    n = 8000
    rng = np.random.default_rng(SEED)
    age = draw_ages(n, rng)
    male = (rng.uniform(size=n) < 0.52).astype(float)
    states = draw_states(np.arange(n), age, male, rng)
    states["age"], states["male"] = age, male
    beats = draw_beats(states, rng)
    hearts = build_hearts(states, rng)
    axis = frontal_axis(hearts)
    return Population(states, hearts, beats, assign_codes(states, axis, rng), axis)
