"""What a sweep consists of: arms, each one method on one cohort under one protocol and one seed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecgrepro.errors import InputError

PRETRAINED = ("reconstruction", "aligned")
"""Initialisations that start from weights of a pretraining."""

NETWORKS = ("scratch", *PRETRAINED, "random_encoder")
"""Initialisations of a network; the encoder of the last one stays random."""

COX = ("age_sex", "ecg_15", "age_sex_ecg_15")
"""Cox models: on age and sex, on the study's fifteen ECG measurements, and on all of them."""

ORACLES = {"oracle_ecg": "log_hazard_ecg", "oracle": "log_hazard"}
"""Column of the follow-up table that holds the true log hazard, or the part of it that the ECG carries."""

BASELINES = (*COX, *ORACLES)
"""Methods without an encoder; the oracles exist only where outcomes were simulated."""

NO_ENCODER = "none"


@dataclass(frozen=True)
class Arm:
    """One method on one cohort, under one protocol, with one seed: all folds of that seed.

    Attributes
    ----------
    cohort
        Name in the column `cohort` of `cohorts/follow_up.csv`.
    encoder
        "cnn", "dual_attention", or "none" for a baseline.
    initialisation
        One of `NETWORKS` or `BASELINES`.
    protocol
        "study": two stratified halves, each cut 80/20; "grouped": `n_folds` folds, stratified on the event and
        grouped by patient, a fifth of the rest for validation.
    seed
        Of the folds, and (with the fold) of heads, order, masks and dropout.
    labels
        Training events of a fold; 0 for all of them.
    n_folds
        Of "grouped"; "study" always has two.
    """

    cohort: str
    encoder: str
    initialisation: str
    protocol: str
    seed: int
    labels: int = 0
    n_folds: int = 5

    def __post_init__(self) -> None:
        """Refuse what no rule could run; the study's protocol has two folds whatever was given."""
        if self.protocol == "study":
            object.__setattr__(self, "n_folds", 2)
        known = (*NETWORKS, *BASELINES)
        if self.initialisation not in known:
            raise InputError(f"initialisation is {self.initialisation!r}: use {', '.join(known)}.")
        if (self.encoder == NO_ENCODER) != (self.initialisation in BASELINES):
            raise InputError(
                f"{self.initialisation} with encoder {self.encoder!r}: baselines have encoder "
                f"{NO_ENCODER!r}, networks have one of their own."
            )
        if self.protocol not in ("study", "grouped"):
            raise InputError(f"protocol is {self.protocol!r}: use 'study' or 'grouped'.")
        if self.labels < 0 or self.labels == 1:
            raise InputError(
                f"labels is {self.labels}: give 0 (all) or at least 2 training events."
            )

    @property
    def name(self) -> str:
        """A file name that differs whenever the arm does."""
        folds = f"{self.protocol}{self.n_folds if self.protocol == 'grouped' else ''}"
        parts = [self.cohort, self.encoder, self.initialisation, folds, f"seed{self.seed}"]
        if self.labels:
            parts.append(f"{self.labels}events")
        return "--".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part) for part in parts)

    def as_dict(self) -> dict[str, Any]:
        """Fields by name, ready for json."""
        return asdict(self)


def sweep_arms(
    cohorts: Sequence[str],
    methods: Sequence[tuple[str, str]],
    seeds: Mapping[str, Sequence[int]],
    labels: int = 0,
    curve: Sequence[int] = (),
    n_folds: int = 5,
) -> list[Arm]:
    """Return all arms of a sweep: every method on every cohort, under every protocol and seed.

    Parameters
    ----------
    cohorts, methods
        Names, and pairs of encoder and initialisation.
    seeds
        Of each protocol; a protocol without seeds is left out.
    labels
        Training events of a fold; 0 for all.
    curve
        Further training events, of the first cohort under the first protocol that has seeds.
    n_folds
        Of the grouped protocol.

    Raises
    ------
    InputError
        If there is no cohort, seed or method, or two arms would share a file name.
    """
    seeds = {protocol: given for protocol, given in seeds.items() if given}
    for name, needed in (("cohorts", cohorts), ("methods", methods), ("seeds", seeds)):
        if not needed:
            raise InputError(f"The sweep has no {name}: give at least one.")
    places = [(cohort, protocol, labels) for cohort in cohorts for protocol in seeds]
    whole = len(places)
    places += [(*places[0][:2], count) for count in curve]
    arms = []
    for number, (cohort, protocol, count) in enumerate(places):
        for encoder, start in methods:
            if start in ORACLES:  # learns nothing: one value, however many events others are given
                if number >= whole:
                    continue
                count = 0
            for seed in seeds[protocol]:
                arms.append(Arm(cohort, encoder, start, protocol, seed, count, n_folds))
    if len({arm.name for arm in arms}) < len(arms):
        raise InputError("Two arms of the sweep have the same name: give each value once.")
    return sorted(arms, key=lambda arm: arm.initialisation in ORACLES)
