"""The Cox loss against torchsurv 0.2.0: speed at n = 100,000, and exactness under stress.

Both are run in turn in one process. The stress table multiplies the scores by 1 to 1000 with and without
ties; the reference is the definition evaluated in 50 digits (mpmath). Run: ``python benchmarks/cox.py``.
"""

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mpmath
import torch
from torch import Tensor
from torchsurv.loss.cox import neg_partial_log_likelihood

from ecgrepro.losses import cox_nll


def cohort(n: int, distinct: int | None, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Simulate scores (float32), events (10 %) and times; few distinct times make ties."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(n, generator=generator)
    event = torch.rand(n, generator=generator) < 0.1
    moments = torch.rand(n, generator=generator)
    if distinct is not None:
        return theta, event, (moments * distinct).floor()
    return theta, event, torch.argsort(moments).float()


def best_ms(steps: list[Callable[[], None]], repeats: int) -> list[float]:
    """Time the steps in turn; the smallest time of each in milliseconds."""
    best = [math.inf] * len(steps)
    for turn in range(repeats + 1):
        for which, step in enumerate(steps):
            start = time.perf_counter()
            step()
            if turn > 0:
                best[which] = min(best[which], 1e3 * (time.perf_counter() - start))
    return best


def exact(theta: Tensor, event: Tensor, moments: Tensor, ties: str) -> float:
    """Return the summed loss by its definition in 50 digits."""
    mpmath.mp.dps = 50
    hazard = [mpmath.exp(mpmath.mpf(value)) for value in theta.double().tolist()]
    total = mpmath.mpf(0)
    for moment in sorted(set(moments[event].tolist())):
        at_risk = mpmath.fsum(hazard[i] for i in torch.nonzero(moments >= moment)[:, 0].tolist())
        tied = [hazard[i] for i in torch.nonzero((moments == moment) & event)[:, 0].tolist()]
        tied_sum = mpmath.fsum(tied)
        for rank, value in enumerate(tied):
            share = mpmath.mpf(rank) / len(tied) if ties == "efron" else mpmath.mpf(0)
            total += mpmath.log(at_risk - share * tied_sum) - mpmath.log(value)
    return float(total)


def speed(n: int, repeats: int) -> None:
    """Print forward + backward times."""
    print(f"forward + backward, n = {n:,}, 10 % events, {torch.get_num_threads()} threads")
    for label, ties, distinct in (
        ("efron, 2,500 distinct times", "efron", 2500),
        ("breslow, 2,500 distinct times", "breslow", 2500),
        ("efron, no ties", "efron", None),
    ):
        theta, event, moments = cohort(n, distinct)
        theta.requires_grad_()

        def ours(
            theta: Tensor = theta,
            event: Tensor = event,
            moments: Tensor = moments,
            ties: str = ties,
        ) -> None:
            cox_nll(theta, event, moments, ties, "sum").backward()

        def theirs(
            theta: Tensor = theta,
            event: Tensor = event,
            moments: Tensor = moments,
            ties: str = ties,
        ) -> None:
            neg_partial_log_likelihood(
                theta, event, moments, ties_method=ties, reduction="sum"
            ).backward()

        a, b = best_ms([ours, theirs], repeats)
        print(f"  {label:32s} ours {a:6.1f} ms   torchsurv {b:6.1f} ms   ratio {a / b:.2f}")


def stress(n: int = 300) -> None:
    """Print values and relative errors in float32 against 50 digits."""
    print(f"float32 against 50 digits, n = {n}, sum over events (relative error)")
    print(f"  {'':26s} {'exact':>14s} {'ours':>22s} {'torchsurv':>24s}")
    for distinct in (None, 12):
        for ties in ("efron", "breslow"):
            for scale in (1, 10, 100, 1000):
                theta, event, moments = cohort(n, distinct, seed=1)
                theta = theta * scale
                truth = exact(theta, event, moments, ties)
                values = [
                    cox_nll(theta, event, moments, ties, "sum").item(),
                    neg_partial_log_likelihood(
                        theta, event, moments, ties_method=ties, reduction="sum"
                    ).item(),
                ]
                shown = [f"{v:12.5g} ({abs(v / truth - 1):8.1e})" for v in values]
                label = f"{'ties' if distinct else 'no ties'}, {ties}, theta x {scale}"
                print(f"  {label:26s} {truth:14.6g} {shown[0]:>22s} {shown[1]:>24s}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="Ties in `time` detected")
    speed(options.n, options.repeats)
    stress()


if __name__ == "__main__":
    main()
