"""Competing risks: the cumulative incidence of one cause where another may come first."""

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.duration.survfunc import CumIncidenceRight

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
        incidences), ``low``, ``high`` (interval of ``event``: delta-method variance on the log-log scale;
        NaN where nobody is left).

    References
    ----------
    Aalen (1978), Ann Stat 6: 534-545; variance: Dinse, Larson (1986), Biometrika 73: 379-386, as in statsmodels.
    """
    times, events = check_survival(time, event)
    rivals = check_vector(competing, "competing", len(times)) == 1
    if (events & rivals).any():
        raise InputError("A patient has both the event and the competing event: keep the first.")
    with np.errstate(divide="ignore", invalid="ignore"):
        found = CumIncidenceRight(times, np.select([events, rivals], [1, 2], 0))
        blank = np.zeros(len(found.times))  # a cause that nobody had
        (incidence, rival), (spread, _) = (
            [*lines, blank, blank][:2] for lines in (found.cinc, found.cinc_se)
        )
        # 1 - F on the log-log scale would not respect small F: the transformation acts on F itself
        reach = stats.norm.ppf(0.5 + level / 2) * spread / (incidence * np.abs(np.log(incidence)))
        low, high = incidence ** np.exp(reach), incidence ** np.exp(-reach)
    started = incidence > 0
    columns = {
        "event": incidence,
        "competing": rival,
        "low": np.where(started, low, 0.0),
        "high": np.where(started, high, 0.0),
    }
    steps = np.unique(np.r_[0.0, times])
    row = np.searchsorted(found.times, steps, side="right")
    table = {name: np.r_[0.0, values][row] for name, values in columns.items()}
    at_risk = len(times) - np.searchsorted(np.sort(times), steps, side="left")
    return pd.DataFrame({"time": steps, "at_risk": at_risk, **table})
