"""Competing risks: the cumulative incidence of one cause where another may come first."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from ecgrepro.errors import InputError
from ecgrepro.survival.inputs import check_survival, check_vector


def cumulative_incidence(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    competing: npt.ArrayLike,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the Aalen-Johansen cumulative incidence of `event`, and of the competing event.

    One minus Kaplan-Meier, with the competing event taken as censoring, would count those who died of something
    else as if they could still have the event, and is always too high.

    Parameters
    ----------
    time
        Shape (n,).
    event, competing
        0/1, shape (n,); no patient has both.

    Returns
    -------
    DataFrame
        ``time`` (0 and every distinct time), ``at_risk`` (just before), ``event``, ``competing`` (cumulative
        incidences), ``low``, ``high`` (interval of ``event``: Aalen's variance on the log-log scale).

    References
    ----------
    Aalen (1978), Ann Stat 6: 534-545; Pintilie (2006), Competing Risks, equation 4.5.
    """
    times, events = check_survival(time, event)
    rivals = check_vector(competing, "competing", len(times)) == 1
    if (events & rivals).any():
        raise InputError("A patient has both the event and the competing event: keep the first.")
    steps = np.unique(np.r_[0.0, times])
    at = np.searchsorted(steps, times)
    total = np.bincount(at, minlength=len(steps)).astype(float)
    own = np.bincount(at[events], minlength=len(steps)).astype(float)
    both = own + np.bincount(at[rivals], minlength=len(steps)).astype(float)
    at_risk = np.cumsum(total[::-1])[::-1]
    free = np.cumprod(1 - both / at_risk)
    free_before = np.r_[1.0, free[:-1]]
    incidence = np.cumsum(own / at_risk * free_before)
    rival = np.cumsum((both - own) / at_risk * free_before)
    spread = np.sqrt(_aalen_variance(own, both, at_risk, free_before, incidence))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 1 - F on the log-log scale would not respect small F: the transformation acts on F itself
        reach = stats.norm.ppf(0.5 + level / 2) * spread / (incidence * np.abs(np.log(incidence)))
        low, high = incidence ** np.exp(reach), incidence ** np.exp(-reach)
    started = (incidence > 0) & (incidence < 1)
    return pd.DataFrame(
        {
            "time": steps,
            "at_risk": at_risk.astype(int),
            "event": incidence,
            "competing": rival,
            "low": np.where(started, low, incidence),
            "high": np.where(started, high, incidence),
        }
    )


def _aalen_variance(
    own: npt.NDArray[np.float64],
    both: npt.NDArray[np.float64],
    at_risk: npt.NDArray[np.float64],
    free_before: npt.NDArray[np.float64],
    incidence: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Variance of the cumulative incidence at each step, from running sums (expanding the squares)."""

    def ratio(
        top: npt.NDArray[np.float64], bottom: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)

    overall = ratio(both, (at_risk - 1) * (at_risk - both))
    single = ratio((at_risk - own) * own * free_before**2, (at_risk - 1) * at_risk**2)
    crossed = ratio(own * (at_risk - own) * free_before, at_risk * (at_risk - both) * (at_risk - 1))
    first = (
        incidence**2 * np.cumsum(overall)
        - 2 * incidence * np.cumsum(overall * incidence)
        + np.cumsum(overall * incidence**2)
    )
    third = incidence * np.cumsum(crossed) - np.cumsum(crossed * incidence)
    return np.maximum(first + np.cumsum(single) - 2 * third, 0.0)
