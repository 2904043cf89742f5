"""What is drawn for a step: which records go together, what is masked, and at which learning rate it is learned.

Everything is a fixed function of (seed, epoch, step), so that a training that goes on after a stop draws the same.
"""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgrepro.data.signals import MODEL_RATE
from ecgrepro.errors import InputError

Indices = NDArray[np.int64]


def shuffled_batches(n: int, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Shuffle 0 ... n - 1 and cut it into batches whose sizes differ by one at most.

    Even batches use every record in every epoch and leave no batch of one behind, where cutting
    at `batch_size` would drop the rest or make a batch of one.

    Returns positions, whose union is 0 ... n - 1, each once; the order is a function of seed and epoch.
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


LEAD_SUBSETS = (
    (0, 1),  # I, II
    (0, 1, 7),  # I, II, V2
    (0, 1, 2, 7),  # I, II, III, V2
    (0, 1, 2, 3, 4, 5),  # the six limb leads
    (0, 1, 6, 7, 8, 9, 10, 11),  # I, II, V1-V6: the independent ones
)
"""Leads that stay, as positions in `signals.LEADS`; the five subsets of the study."""


class Masks(Protocol):
    """The settings of `mask_leads_and_time`; see `FitConfig`."""

    @property
    def lead_mask(self) -> float: ...
    @property
    def time_mask(self) -> float: ...
    @property
    def time_mask_seconds(self) -> tuple[float, float]: ...


def mask_leads_and_time(
    x: Tensor,
    generator: torch.Generator,
    settings: Masks,
    *,
    shared: bool = False,
    rate: float = MODEL_RATE,
) -> Tensor:
    """Zero leads and one stretch of time in a copy of `x`; `x` itself stays the target.

    Zero is the mean of a z-scored lead, so a masked sample says nothing. The caller keeps `x` as
    the reconstruction target: the network has to fill in what it did not see.

    Parameters
    ----------
    x
        (B, 12, T), z-scored.
    generator
        CPU generator: equal generator state gives equal masks.
    settings
        A `FitConfig`, or whatever has `lead_mask` (probability that a record keeps one of `LEAD_SUBSETS` only),
        `time_mask` (that it loses one stretch of time in all leads) and `time_mask_seconds` (shortest, longest).
    shared
        Draw once for the whole batch, so that the patients of a risk set are compared on the same
        leads (the study does so in fine-tuning).
    rate
        Samples per second of `x`.

    Returns
    -------
    Tensor
        (B, 12, T), a new tensor.
    """
    records, leads, samples = x.shape
    draws = 1 if shared else records
    subsets = torch.zeros(len(LEAD_SUBSETS), leads, dtype=torch.bool)
    for number, subset in enumerate(LEAD_SUBSETS):
        subsets[number, list(subset)] = True
    # All draws are made whatever the probabilities, so switching one mask leaves the other alone.
    chosen = torch.randint(0, len(LEAD_SUBSETS), (draws,), generator=generator)
    lead_hit = torch.rand(draws, generator=generator) < settings.lead_mask
    time_hit = torch.rand(draws, generator=generator) < settings.time_mask
    length_share = torch.rand(draws, generator=generator)
    start_share = torch.rand(draws, generator=generator)

    keep_lead = subsets[chosen] | ~lead_hit[:, None]
    shortest, longest = settings.time_mask_seconds
    width = ((shortest + length_share * (longest - shortest)) * rate).round()
    width = width.clamp(1, samples)
    start = (start_share * (samples - width + 1)).floor()
    position = torch.arange(samples)
    hidden = (position >= start[:, None]) & (position < (start + width)[:, None])
    keep_time = ~(hidden & time_hit[:, None])
    keep = keep_lead[:, :, None] & keep_time[:, None, :]
    return x * keep.to(device=x.device, dtype=x.dtype)


def check_masks(lead_mask: float, time_mask: float, seconds: tuple[float, float]) -> None:
    """Raise `InputError` for probabilities outside [0, 1] or an empty stretch of time."""
    for name, probability in (("lead_mask", lead_mask), ("time_mask", time_mask)):
        if not 0 <= probability <= 1:
            raise InputError(f"{name} is {probability}: give a probability between 0 and 1.")
    if not 0 < seconds[0] <= seconds[1]:
        raise InputError(f"time mask of {seconds} s: give 0 < shortest <= longest.")


STREAMS = ("order", "mask", "network")
"""What is drawn in a step: order of records, input masks, and dropout inside the network."""


def derived_seed(seed: int, epoch: int, step: int, stream: str) -> int:
    """Return a 63-bit seed that is a fixed function of its arguments.

    `stream` is one of `STREAMS`, so that two uses of randomness in one step are independent; the order of
    records uses step 0.
    """
    words = [seed, epoch, step, STREAMS.index(stream), 0]  # 0: all processes draw the same
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def step_generator(seed: int, epoch: int, step: int, stream: str) -> torch.Generator:
    """Return a CPU `torch.Generator` seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch, step, stream))


def warmup_cosine(step: int, total: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: linear rise, then cosine to 0.

    `step` is 0 ... total - 1, `warmup` the share of the steps that rise (the study: 0.2). In (0, 1]; 1 at the
    end of the rise, near 0 at the last step.
    """
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))
