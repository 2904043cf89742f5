"""Masks for leads and for stretches of time: what the network must do without."""

import torch
from torch import Tensor

from ecgrepro.errors import InputError

LEAD_SUBSETS = (
    (0, 1),  # I, II
    (0, 1, 7),  # I, II, V2
    (0, 1, 2, 7),  # I, II, III, V2
    (0, 1, 2, 3, 4, 5),  # the six limb leads
    (0, 1, 6, 7, 8, 9, 10, 11),  # I, II, V1-V6: the independent ones
)
"""Leads that stay, as positions in `signals.LEADS`; the five subsets of the study."""


def mask_leads_and_time(
    x: Tensor,
    generator: torch.Generator,
    *,
    rate: float,
    lead_mask: float = 0.25,
    time_mask: float = 0.0,
    seconds: tuple[float, float] = (0.2, 1.0),
    shared: bool = False,
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
    rate
        Samples per second of `x`, which turns `seconds` into samples.
    lead_mask
        Probability that a record keeps one of `LEAD_SUBSETS` only.
    time_mask
        Probability that a record loses one stretch of time in all leads.
    seconds
        Shortest and longest stretch, in seconds.
    shared
        Draw once for the whole batch, so that the patients of a risk set are compared on the same
        leads (the study does so in fine-tuning).

    Returns
    -------
    Tensor
        (B, 12, T), a new tensor.

    Raises
    ------
    InputError
        If a probability is outside [0, 1], or the stretch is not 0 < shortest <= longest.
    """
    check_masks(lead_mask, time_mask, seconds)
    records, leads, samples = x.shape
    draws = 1 if shared else records
    subsets = torch.zeros(len(LEAD_SUBSETS), leads, dtype=torch.bool)
    for number, subset in enumerate(LEAD_SUBSETS):
        subsets[number, list(subset)] = True
    # All draws are made whatever the probabilities, so switching one mask leaves the other alone.
    chosen = torch.randint(0, len(LEAD_SUBSETS), (draws,), generator=generator)
    lead_hit = torch.rand(draws, generator=generator) < lead_mask
    time_hit = torch.rand(draws, generator=generator) < time_mask
    length_share = torch.rand(draws, generator=generator)
    start_share = torch.rand(draws, generator=generator)

    keep_lead = subsets[chosen] | ~lead_hit[:, None]
    width = ((seconds[0] + length_share * (seconds[1] - seconds[0])) * rate).round()
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
