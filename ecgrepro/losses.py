"""Losses as pure functions of tensors: alignment, reconstruction, Cox partial likelihood."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ecgrepro.errors import InputError

SAFE_RANGE = 500.0  # exp(-500) and its inverse are ordinary float64 numbers


def cosine_positive(e_ecg: Tensor, e_text: Tensor, text_ids: Tensor | None = None) -> Tensor:
    """Return the study's alignment loss, mean of 1 - cos over matching pairs.

    There are no negatives and both sides are trained, so a constant embedding is a global optimum
    (S-16): expect collapse, and monitor it.

    Parameters
    ----------
    e_ecg, e_text
        ``(B, D)`` embeddings of the same records, of any norm.
    text_ids
        Not used; there so that all alignment losses are called alike.

    Returns
    -------
    Tensor
        Scalar in [0, 2].
    """
    _check_pair(e_ecg, e_text, text_ids)
    return (1.0 - F.cosine_similarity(e_ecg, e_text, dim=1)).mean()


def cosine_pairs(e_ecg: Tensor, e_text: Tensor, text_ids: Tensor, margin: float = 0.2) -> Tensor:
    """Return the cosine embedding loss over all pairs of a batch.

    Pairs with the same text are positives (1 - cos), pairs with different texts negatives
    (max(0, cos - margin)). The two means are added, so that the many negatives do not drown the
    positives. A batch with one text only has no negatives and reduces to its positives.

    Parameters
    ----------
    e_ecg, e_text
        ``(B, D)`` embeddings of the same records.
    text_ids
        ``(B,)`` integers; equal where the texts are equal.
    margin
        Cosine below which a negative pair is left alone.
    """
    _check_pair(e_ecg, e_text, text_ids)
    cosine = F.normalize(e_ecg) @ F.normalize(e_text).T
    same = text_ids == text_ids[:, None]
    positive = ((1.0 - cosine) * same).sum() / same.sum()
    negative = (F.relu(cosine - margin) * ~same).sum() / (~same).sum().clamp(min=1)
    return positive + negative


def soft_infonce(
    e_ecg: Tensor, e_text: Tensor, text_ids: Tensor, temperature: float = 0.07
) -> Tensor:
    """Return the symmetric temperature-scaled softmax loss whose targets share equal texts.

    For each record the target is uniform over all batch-mates with the *same* text, itself included:
    in a batch of 128 PTB-XL records about 22 share one's text, and calling them negatives
    would push equal texts apart. Without equal texts it is InfoNCE (CLIP; Radford et al. 2021).
    The smallest reachable value is the entropy of the targets, not 0, where texts are shared.

    Parameters
    ----------
    e_ecg, e_text, text_ids
        As in `cosine_pairs`.
    temperature
        Divisor of the cosines, positive.
    """
    _check_pair(e_ecg, e_text, text_ids)
    if not temperature > 0:
        raise InputError(f"temperature {temperature} is not positive: use for example 0.07.")
    logits = F.normalize(e_ecg) @ F.normalize(e_text).T / temperature
    same = (text_ids == text_ids[:, None]).to(logits.dtype)
    target = same / same.sum(1, keepdim=True)  # `same` is symmetric: one target serves both ways
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def reconstruction_loss(
    reconstruction: Tensor, target: Tensor, valid: slice = slice(None)
) -> Tensor:
    """Return the mean squared error over real samples.

    Parameters
    ----------
    reconstruction, target
        ``(B, 12, T)``. The target is the *unmasked* signal: a network asked to reproduce its own
        masked input learns zeros (S-11).
    valid
        The samples that were recorded, e.g. ``slice(12, 1012)``; padding is left out (S-34).
    """
    if reconstruction.shape != target.shape:
        raise InputError(
            f"reconstruction {tuple(reconstruction.shape)} and target {tuple(target.shape)} "
            "differ in shape: decode to the length of the target."
        )
    return F.mse_loss(reconstruction[..., valid], target[..., valid])


def cox_nll(
    log_risk: Tensor, event: Tensor, time: Tensor, ties: str = "efron", reduction: str = "mean"
) -> Tensor:
    """Return the negative log partial likelihood of the Cox model, exact at any scale.

    Risk sets are cumulative log-sum-exps in float64 over subjects sorted by time; nothing is shifted by
    a global maximum (S-12) and subjects with equal times share their risk set (R-9). Efron's term for the
    l-th of d tied events is ``log(R - l/d E) = log R + log1p(-l/d exp(log E - log R))``, with R the
    sum of hazards at risk and E that of the tied events. O(n log n) time, O(n) memory.

    Parameters
    ----------
    log_risk
        ``(n,)`` linear predictors; higher means earlier.
    event
        ``(n,)`` of 0 and 1 (any integer, floating or boolean type), 1 where the event was seen.
    time
        ``(n,)`` follow-up times, not negative, in any unit.
    ties
        ``"efron"`` or ``"breslow"``; equal without tied events.
    reduction
        ``"mean"`` is per event; ``"sum"``.

    Returns
    -------
    Tensor
        Scalar of the type of `log_risk`. Without events it is 0, connected to the graph.

    Raises
    ------
    InputError
        Shapes other than three times ``(n,)`` (they would broadcast, R-1), n = 0, non-finite values,
        negative time, an event other than 0 or 1, unknown `ties` or `reduction`.

    References
    ----------
    Breslow (1974) Biometrics 30:89-99. Efron (1977) J Am Stat Assoc 72:557-565.
    """
    for name, given, known in (
        ("ties", ties, ("efron", "breslow")),
        ("reduction", reduction, ("mean", "sum")),
    ):
        if given not in known:
            raise InputError(f'{name} "{given}" is unknown: use {" or ".join(known)}.')
    observed = _check_survival(log_risk, event, time)
    n_events = int(observed.sum())
    if n_events == 0:
        return log_risk.sum() * 0.0

    order = torch.argsort(time, descending=True)
    theta = log_risk[order].double()
    observed = observed[order]
    _, group, size = torch.unique_consecutive(time[order], return_inverse=True, return_counts=True)
    last = size.cumsum(0) - 1
    risk_set = _log_cumulative_sum(theta)[last]  # one a distinct time, ties included

    theta_event, group_event = theta[observed], group[observed]
    log_denominator = risk_set[group_event]
    if ties == "efron":
        log_denominator = log_denominator + _efron_correction(theta_event, group_event, risk_set)
    total = (log_denominator - theta_event).sum()
    return (total / n_events if reduction == "mean" else total).to(log_risk.dtype)


def _log_cumulative_sum(theta: Tensor) -> Tensor:
    """Return log(cumsum(exp(theta))) of float64 scores, exact to rounding at any scale."""
    top = theta.detach().max()
    if bool(top - theta.detach().min() < SAFE_RANGE):
        return torch.exp(theta - top).cumsum(dim=0).log() + top
    return torch.logcumsumexp(theta, dim=0)


def _efron_correction(theta: Tensor, group: Tensor, risk_set: Tensor) -> Tensor:
    """Return log(1 - l/d E/R) for every event, given in order of its tie group.

    theta, group
        ``(events,)`` log hazard and index of the distinct time, groups contiguous.
    risk_set
        ``(times,)`` log of the sum of hazards at risk.
    """
    deaths = torch.zeros_like(risk_set).index_add(0, group, torch.ones_like(theta))
    if int(deaths.max()) == 1:
        return torch.zeros_like(theta)
    # Each group is shifted by its own maximum: exact, and no group can underflow.
    top = torch.full_like(risk_set, -torch.inf).scatter_reduce(0, group, theta.detach(), "amax")
    tied = torch.zeros_like(risk_set).index_add(0, group, torch.exp(theta - top[group]))
    log_tied = tied[group].log() + top[group]
    first = deaths.cumsum(0) - deaths
    rank = torch.arange(len(theta), device=theta.device, dtype=theta.dtype) - first[group]
    # rank / deaths <= 1 - 1/d keeps the argument above -1 even if E / R rounds to a little over 1.
    return torch.log1p(-rank / deaths[group] * torch.exp(log_tied - risk_set[group]))


def _check_pair(e_ecg: Tensor, e_text: Tensor, text_ids: Tensor | None) -> None:
    if e_ecg.dim() != 2 or e_ecg.shape != e_text.shape:
        raise InputError(
            f"embeddings have shapes {tuple(e_ecg.shape)} and {tuple(e_text.shape)}: "
            "give two (B, D) tensors of the same shape."
        )
    if text_ids is not None and text_ids.shape != e_ecg.shape[:1]:
        raise InputError(
            f"text_ids have shape {tuple(text_ids.shape)}: give one id per record, ({e_ecg.shape[0]},)."
        )


def _check_survival(log_risk: Tensor, event: Tensor, time: Tensor) -> Tensor:
    """Return the events as booleans after checking all three arguments of `cox_nll`."""
    shapes = [tuple(value.shape) for value in (log_risk, event, time)]
    if log_risk.dim() != 1 or len(set(shapes)) != 1 or len(log_risk) == 0:
        raise InputError(
            f"log_risk, event and time have shapes {shapes[0]}, {shapes[1]} and {shapes[2]}: "
            "give three of shape (n,), n at least 1; flatten a (n, 1) score with squeeze(-1)."
        )
    if not torch.is_floating_point(log_risk):
        raise InputError(f"log_risk has type {log_risk.dtype}: give floating-point scores.")
    observed = event.bool()
    for name, value, bad, wanted in (
        ("log_risk", log_risk, ~torch.isfinite(log_risk), "finite numbers"),
        ("time", time, ~torch.isfinite(time) | (time < 0), "finite times, not negative"),
        ("event", event, observed.to(event.dtype) != event, "0 or 1"),
    ):
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            raise InputError(f"{name} of subject {row} is {float(value[row])}: give {wanted}.")
    return observed
