"""Harrell's concordance index, exact on ties, in O(n log n)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import (
    BoolArray,
    FloatArray,
    IntArray,
    check_survival,
    check_vector,
)

TIED_TOLERANCE = 1e-8
"""Two risks this close count as tied: the value scikit-survival uses, so that figures can be compared."""


@dataclass(frozen=True)
class PairCounts:
    """Comparable pairs of a cohort by what the risk score says about them."""

    concordant: int
    discordant: int
    tied: int

    @property
    def comparable(self) -> int:
        """Number of comparable pairs."""
        return self.concordant + self.discordant + self.tied


def concordance_index(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    tied_tolerance: float = TIED_TOLERANCE,
) -> float:
    """Return the probability that, of two comparable patients, the one with more risk has the earlier event.

    Parameters
    ----------
    time
        Follow-up time, shape (n,), any unit.
    event
        1 where the event was seen, 0 where censored, shape (n,).
    risk
        Score, shape (n,); higher means an earlier event (log risk and hazard ratio alike, a survival
        time must be negated).
    tied_tolerance
        Risks that differ by at most this much are tied and count one half.

    Returns
    -------
    float
        1 for a perfect order, 0.5 for a constant score, 0 for the reverse.

    Raises
    ------
    InputError
        If shapes differ, a value is not finite, or no pair is comparable.

    Notes
    -----
    A pair is comparable when the earlier time is an event; at equal times, an event is comparable with a
    censored patient (who outlived it) and two events are not comparable [1]_. The same rules, and the same
    tolerance, as ``sksurv.metrics.concordance_index_censored``.

    References
    ----------
    .. [1] Harrell, Lee, Mark (1996). Multivariable prognostic models. Stat Med 15: 361-387.
    """
    counts = concordance_counts(time, event, risk, tied_tolerance)
    return (counts.concordant + 0.5 * counts.tied) / counts.comparable


def concordance_counts(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    risk: npt.ArrayLike,
    tied_tolerance: float = TIED_TOLERANCE,
) -> PairCounts:
    """Count concordant, discordant and tied pairs; parameters and errors as `concordance_index`."""
    times, events = check_survival(time, event)
    risks = check_vector(risk, "risk", len(times))
    _, concordant, tied, comparable = pairs_by_event(times, events, risks, tied_tolerance)
    if comparable.sum() == 0:
        raise InputError(
            f"No two of the {len(times)} patients are comparable ({int(events.sum())} events): "
            "a concordance index needs an event that somebody else outlived."
        )
    total = int(comparable.sum())
    won, even = int(concordant.sum()), int(tied.sum())
    return PairCounts(concordant=won, discordant=total - won - even, tied=even)


def pairs_by_event(
    time: FloatArray, event: BoolArray, risk: FloatArray, tied_tolerance: float
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """For each event, count the later patients with less risk, with equal risk, and in all.

    Returns
    -------
    tuple of int64 arrays, each of shape (events,)
        Row of the event in the input, concordant pairs, tied pairs, comparable pairs.
    """
    # At equal times events come first, so that everybody comparable with an event stands after the block
    # of events at its time: comparable patients are always a suffix of this order.
    order = np.lexsort((~event, time))
    sorted_time, sorted_event = time[order], event[order]
    events_before = np.r_[0, np.cumsum(sorted_event)]
    at_event = np.flatnonzero(sorted_event)
    first = np.searchsorted(sorted_time, sorted_time[at_event], side="left")
    last = np.searchsorted(sorted_time, sorted_time[at_event], side="right")
    start = first + events_before[last] - events_before[first]

    ladder = np.sort(risk)
    rank = np.empty(len(risk), dtype=np.int64)
    rank[np.argsort(risk, kind="stable")] = np.arange(len(risk))
    event_risk = risk[order][at_event]
    below = np.searchsorted(ladder, event_risk - tied_tolerance, side="left")
    up_to = np.searchsorted(ladder, event_risk + tied_tolerance, side="right")
    concordant, not_above = _count_smaller_after(rank[order], start, below, up_to)
    return order[at_event], concordant, not_above - concordant, len(risk) - start


def _count_smaller_after(
    rank: IntArray, start: IntArray, *thresholds: IntArray
) -> tuple[IntArray, ...]:
    """Count, for each query q, the positions j >= start[q] with rank[j] < threshold[q].

    A merge sort from below: at level k, blocks of 2^k positions are sorted, and the suffix from `start`
    takes at most one whole block of each level, so all queries are answered by one binary search a level.
    """
    n = len(rank)
    size = 1 << max(n - 1, 0).bit_length()
    blocks = np.full(
        size, n, dtype=np.int64
    )  # padding ranks above everybody, so it is never counted
    blocks[:n] = rank
    position = start.copy()
    counts = tuple(np.zeros(len(start), dtype=np.int64) for _ in thresholds)
    width = 1
    while width <= size and (position < n).any():
        blocks = np.sort(blocks.reshape(-1, width), axis=1, kind="stable").reshape(-1)
        taken = np.flatnonzero((position < n) & (((position & width) > 0) | (width == size)))
        if len(taken):
            offset = (position[taken] // width) * (n + 1)
            keys = blocks + np.arange(size) // width * (n + 1)
            for count, threshold in zip(counts, thresholds, strict=True):
                found = np.searchsorted(keys, offset + threshold[taken], side="left")
                count[taken] += found - position[taken]
            position[taken] += width
        width *= 2
    return counts
