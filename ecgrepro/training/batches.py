"""Which records go together: even batches, and batches that all hold events."""

import numpy as np
from numpy.typing import NDArray

from ecgrepro.errors import InputError
from ecgrepro.training.schedule import derived_seed

Indices = NDArray[np.int64]


def shuffled_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Shuffle 0 ... n - 1 and cut it into batches whose sizes differ by one at most.

    Even batches use every record in every epoch and leave no batch of one behind, where cutting
    at `batch_size` would drop the rest or make a batch of one.

    Parameters
    ----------
    n
        Number of records, at least 2.
    batch_size
        Largest batch, at least 2.
    seed, epoch
        The order is a function of both.

    Returns
    -------
    list of arrays
        Positions; their union is 0 ... n - 1, each once.

    Raises
    ------
    InputError
        If fewer than 2 records or a batch size below 2 is asked for.
    """
    if n < 2 or batch_size < 2:
        raise InputError(f"{n} records in batches of {batch_size}: training needs 2 of each.")
    rng = np.random.default_rng(derived_seed(seed, epoch, 0, "order"))
    order = rng.permutation(n).astype(np.int64)
    return np.array_split(order, min(-(-n // batch_size), n // 2))


def stratified_event_batches(
    event: NDArray[np.generic],
    time: NDArray[np.generic],
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[Indices]:
    """Cut a cohort into batches that all hold events, in the proportion of the cohort.

    A batch without an event has no Cox loss, and an event after which nobody is left has none
    either. The number of batches is min(ceil(N / batch_size), events), so with few events the
    batches are larger than `batch_size` in place of empty of events. Where a batch holds no
    comparable pair (someone else still at risk at the time of an event), members are exchanged
    with other batches until it does, as far as the cohort permits.

    Parameters
    ----------
    event
        (N,) 1 where the event was seen, 0 where censored.
    time
        (N,) days.
    batch_size
        Wanted size, at least 2.
    seed, epoch
        The cut is a function of both.

    Returns
    -------
    list of arrays
        Positions; sizes and numbers of events differ by one at most; union is 0 ... N - 1, each
        once; no batch of one.

    Raises
    ------
    InputError
        If the cohort is empty, holds one record, or holds no event.
    """
    status = np.asarray(event).astype(bool)
    days = np.asarray(time, dtype=np.float64)
    if status.ndim != 1 or status.shape != days.shape:
        raise InputError(f"event {status.shape} and time {days.shape} must be one column each.")
    n, events = len(status), int(status.sum())
    if n < 2:
        raise InputError(f"the cohort holds {n} records: a risk is learned by comparing several.")
    if events == 0:
        raise InputError(f"the cohort of {n} records holds no event: choose another outcome.")
    if batch_size < 2:
        raise InputError(f"batch_size is {batch_size}: give at least 2.")
    rng = np.random.default_rng(derived_seed(seed, epoch, 0, "order"))
    count = min(-(-n // batch_size), events, n // 2)
    with_event = np.array_split(rng.permutation(np.flatnonzero(status)), count)
    sizes = [len(part) for part in np.array_split(np.arange(n), count)]
    # Both splits put their larger parts first, so a batch is never smaller than its events.
    ends = np.cumsum([size - len(part) for size, part in zip(sizes, with_event, strict=True)])
    without = np.split(rng.permutation(np.flatnonzero(~status)), ends[:-1])
    batches = [
        rng.permutation(np.concatenate(pair)).astype(np.int64)
        for pair in zip(with_event, without, strict=True)
    ]
    _exchange_for_pairs(batches, status, days)
    return [batches[position] for position in rng.permutation(count)]


def has_comparable_pair(event: NDArray[np.bool_], time: NDArray[np.float64]) -> bool:
    """Say whether some event has another record at risk, that is with an equal or later time."""
    if len(time) < 2 or not event.any():
        return False
    events = np.flatnonzero(event)
    first = events[np.argmin(time[events])]
    return bool(np.delete(time, first).max() >= time[first])


def _exchange_for_pairs(
    batches: list[Indices], event: NDArray[np.bool_], time: NDArray[np.float64]
) -> None:
    """Swap members of equal status in place until every batch that can has a comparable pair."""

    def good(batch: Indices) -> bool:
        return has_comparable_pair(event[batch], time[batch])

    home = np.empty(len(event), dtype=np.int64)
    for number, batch in enumerate(batches):
        home[batch] = number
    for number, batch in enumerate(batches):
        if good(batch):
            continue
        # Such a batch has one event, later than all its other members: bring either somebody
        # followed longer, or an earlier event. Nearest candidates first, to leave the extremes.
        lone = batch[event[batch]][0]
        others = batch[batch != lone]
        longest = others[np.argmax(time[others])]
        later = np.flatnonzero(~event & (time >= time[lone]) & (home != number))
        earlier = np.flatnonzero(event & (time <= time[longest]) & (home != number))
        swaps = [(longest, other) for other in later[np.argsort(time[later], kind="stable")]]
        swaps += [(lone, other) for other in earlier[np.argsort(-time[earlier], kind="stable")]]
        for mine, other in swaps:
            donor = int(home[other])
            trial = np.where(batches[donor] == other, mine, batches[donor])
            if good(trial):
                batches[donor] = trial
                batches[number] = np.where(batches[number] == mine, other, batches[number])
                home[mine], home[other] = donor, number
                break
