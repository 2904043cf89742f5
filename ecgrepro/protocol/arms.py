"""What a sweep consists of: arms, each one method on one cohort under one protocol and one seed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ecgrepro.errors import InputError
from ecgrepro.survival import STUDY_SEEDS

PRETRAINED = ("reconstruction", "aligned")
"""Initialisations that start from weights of a pretraining."""

NETWORKS = ("scratch", *PRETRAINED, "random_encoder")
"""Initialisations of a network; the encoder of the last one stays random."""

COX = ("age_sex", "ecg_15", "age_sex_ecg_15")
"""Cox models: on age and sex, on the study's fifteen ECG measurements, and on all of them."""

BASELINES = (*COX, "oracle_ecg", "oracle")
"""Methods without an encoder; the oracles exist only where outcomes were simulated."""

PROTOCOLS = ("study", "grouped")

STUDY_AND_GROUPED = {"study": STUDY_SEEDS, "grouped": STUDY_SEEDS[:1]}
"""Seeds of the study's five pairs of halves, and of one division in which each patient is tested once."""

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
        if self.initialisation not in (*NETWORKS, *BASELINES):
            raise InputError(
                f"initialisation is {self.initialisation!r}: use {', '.join((*NETWORKS, *BASELINES))}."
            )
        if (self.encoder == NO_ENCODER) != (self.initialisation in BASELINES):
            raise InputError(
                f"{self.initialisation} with encoder {self.encoder!r}: baselines have encoder "
                f"{NO_ENCODER!r}, networks have one of their own."
            )
        if self.protocol not in PROTOCOLS:
            raise InputError(f"protocol is {self.protocol!r}: use {' or '.join(PROTOCOLS)}.")
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
    encoders: Sequence[str],
    initialisations: Sequence[str] = NETWORKS,
    seeds: Mapping[str, Sequence[int]] = STUDY_AND_GROUPED,
    *,
    baselines: Sequence[str] = COX,
    labels: int = 0,
    curve: Sequence[int] = (),
    n_folds: int = 5,
) -> list[Arm]:
    """Return all arms of a sweep, baselines included.

    Parameters
    ----------
    cohorts, encoders, initialisations
        Every combination is an arm under every protocol and seed. `initialisations` are networks.
    seeds
        Of each protocol; a protocol without seeds is left out.
    baselines
        Of `BASELINES`; each once a cohort, protocol and seed, since no encoder takes part.
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
    for name, given in (("cohorts", cohorts), ("seeds", seeds)):
        if not given:
            raise InputError(f"The sweep has no {name}: give at least one.")
    methods = [(encoder, start) for encoder in encoders for start in initialisations]
    methods += [(NO_ENCODER, baseline) for baseline in baselines]
    if not methods:
        raise InputError("The sweep has no method: give an encoder, or a baseline.")
    places = [(cohort, protocol, labels) for cohort in cohorts for protocol in seeds]
    places += [(*places[0][:2], count) for count in curve]
    arms = [
        Arm(cohort, *method, protocol, seed, count, n_folds)
        for cohort, protocol, count in places
        for method in methods
        for seed in seeds[protocol]
        if not method[1].startswith("oracle")
    ]
    arms += [  # an oracle learns nothing: one value, however many events are given to the others
        Arm(cohort, *method, protocol, seed, 0, n_folds)
        for cohort, protocol, _ in places[: len(cohorts) * len(seeds)]
        for method in methods
        for seed in seeds[protocol]
        if method[1].startswith("oracle")
    ]
    if len({arm.name for arm in arms}) < len(arms):
        raise InputError("Two arms of the sweep have the same name: give each value once.")
    return arms
