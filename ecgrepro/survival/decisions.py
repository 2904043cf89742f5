"""Is a prediction worth acting on: net benefit by threshold, with censored follow-up."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecgrepro.errors import InputError
from ecgrepro.survival.curves import survival_at
from ecgrepro.survival.inputs import (
    BoolArray,
    FloatArray,
    check_horizons,
    check_probabilities,
    check_survival,
    check_vector,
)


def net_benefit(
    time: npt.ArrayLike,
    event: npt.ArrayLike,
    predicted: npt.ArrayLike,
    horizon: float,
    thresholds: npt.ArrayLike,
) -> pd.DataFrame:
    """Return the decision curve: net benefit of treating those whose prediction reaches a threshold.

    Parameters
    ----------
    time, event, predicted, horizon
        As `calibration_at`.
    thresholds
        Probabilities between 0 and 1 (both excluded) at which one would act, shape (k,).

    Returns
    -------
    DataFrame
        ``threshold``; ``model``, ``all``, ``none``: true positives minus false positives weighted by the odds of the
        threshold, per patient; ``treated``: share at or above the threshold. NaN where follow-up of those treated
        ends before the horizon, because their outcome is then not known.

    References
    ----------
    Vickers, Cronin, Elkin, Gonen (2008). BMC Med Inform Decis Mak 8: 53 (the extension to censored data).
    """
    times, events = check_survival(time, event)
    at = float(check_horizons([horizon], times)[0])
    probability = check_probabilities(predicted, len(times))
    cuts = check_vector(np.atleast_1d(np.asarray(thresholds, dtype=float)), "thresholds")
    if ((cuts <= 0) | (cuts >= 1)).any():
        raise InputError("thresholds must lie between 0 and 1, both excluded: give probabilities.")
    rows = []
    for cut in cuts:
        treated = probability >= cut
        model = _benefit(times, events, treated, at, cut)
        everybody = _benefit(times, events, np.ones(len(times), dtype=bool), at, cut)
        rows.append((cut, model, everybody, 0.0, float(treated.mean())))
    return pd.DataFrame(rows, columns=["threshold", "model", "all", "none", "treated"])


def _benefit(
    time: FloatArray, event: BoolArray, treated: BoolArray, at: float, threshold: float
) -> float:
    """Net benefit of treating these patients; 0 where nobody is."""
    if not treated.any():
        return 0.0
    survival = survival_at(time[treated], event[treated], at)[0]
    share = treated.mean()
    return float(share * ((1 - survival) - survival * threshold / (1 - threshold)))
