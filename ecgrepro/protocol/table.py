"""From arms to one table: a row a fold, then intervals, paired differences and the learning curve."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecgrepro.cohorts.schema import NULL
from ecgrepro.errors import InputError
from ecgrepro.protocol.arms import COX, NO_ENCODER, ORACLES
from ecgrepro.protocol.run import ArmResult
from ecgrepro.survival import nadeau_bengio_interval

METHOD = ["cohort", "protocol", "labels", "encoder", "initialisation"]
"""Columns that name a line of the summary."""

BESIDE = (*COX, "random_encoder", *ORACLES)
"""Baselines that stand on every line, where they were run."""


def collect(results: Sequence[ArmResult]) -> pd.DataFrame:
    """Put finished arms, at least one, into one table.

    Returns
    -------
    DataFrame
        One row a fold: cohort, encoder, initialisation, protocol, seed, fold, n, events, c_index (NaN where no pair of
        the fold is comparable, with a note), then labels, n_folds, the sizes of `evaluate_folds`, and
        pooled_c_index: that of the whole seed, on scores centred by fold.
    """
    tables = []
    for result in results:
        pooled = result.record["pooled_c_index"]
        known = {"pooled_c_index": np.nan if pooled is None else pooled, **result.arm.as_dict()}
        tables.append(result.folds.assign(**known))
    everything = pd.concat(tables, ignore_index=True)
    first = ["cohort", "encoder", "initialisation", "protocol", "seed", "fold"]
    first += ["n", "events", "c_index"]
    ordered = everything[first + [name for name in everything if name not in first]]
    return ordered.sort_values([*METHOD, "seed", "fold"], ignore_index=True)


def summarise(folds: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return one line a method, with its interval and with all baselines beside it.

    Returns
    -------
    DataFrame
        `METHOD`, then n and events (patients and events of the cohort, each tested once a seed), events_train
        (mean of the folds), seeds, folds, without_value (folds without a comparable pair: left out of the mean),
        estimate (mean over folds), low, high, sd_folds, fold_low and fold_high (smallest and largest fold), pooled
        (mean over seeds of the C-index of centred scores), one column for each of `BESIDE`, and null, null_low,
        null_high: the same method on the null cohort.

    Notes
    -----
    The interval allows for the overlap of folds (Nadeau and Bengio 2003, see `nadeau_bengio_interval`) and is cut to
    the range of a C-index, which a t interval of two folds can leave. Its ratio
    of test to training rows is that of the division, also where `labels` cut the training part afterwards: it
    measures which rows folds share.
    """
    _refuse_doubled(folds)
    rows = []
    for names, part in folds.groupby(METHOD, sort=False):
        estimate, low, high = _interval(part, part["c_index"], level, (0.0, 1.0))
        once = part[part["seed"] == part["seed"].iloc[0]]
        values = part["c_index"].dropna()
        rows.append(
            {
                **dict(zip(METHOD, names, strict=True)),
                "n": int(once["n"].sum()),
                "events": int(once["events"].sum()),
                "events_train": float(part["events_train"].mean()),
                "seeds": int(part["seed"].nunique()),
                "folds": len(part),
                "without_value": int(part["c_index"].isna().sum()),
                "estimate": estimate,
                "low": low,
                "high": high,
                "sd_folds": float(values.std(ddof=1)),
                "fold_low": float(values.min()),
                "fold_high": float(values.max()),
                "pooled": float(part.groupby("seed")["pooled_c_index"].first().mean()),
            }
        )
    table = pd.DataFrame(rows)
    for name in BESIDE:
        # an oracle learns nothing and stands beside any number of labels; of several encoders, the first
        on = ["cohort", "protocol", *([] if name in ORACLES else ["labels"])]
        lines = table[table["initialisation"] == name].drop_duplicates(on)
        beside = lines[[*on, "estimate"]].rename(columns={"estimate": name})
        table = table.merge(beside, on=on, how="left", validate="m:1")
    method = [name for name in METHOD if name != "cohort"]
    null = table.loc[table["cohort"] == NULL, [*method, "estimate", "low", "high"]]
    null = null.rename(columns={"estimate": "null", "low": "null_low", "high": "null_high"})
    return table.merge(null, on=method, how="left", validate="m:1")


LABELS = {
    "age_sex": "Cox: age and sex",
    "ecg_15": "Cox: 15 ECG measurements",
    "age_sex_ecg_15": "Cox: age, sex and 15",
    "random_encoder": "random encoder",
    "reconstruction": "reconstruction only",
    "oracle_ecg": "oracle: ECG part",
    "oracle": "oracle: true hazard",
}
"""What a figure calls a method."""


def name_lines(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with what a forest plot needs besides: `label` and `group` in words, groups together.

    The encoder is named only where there are several; oracles learn from no events and have a group of their own.
    """
    label = summary["initialisation"].replace(LABELS)
    networks = summary["encoder"] != NO_ENCODER
    if summary.loc[networks, "encoder"].nunique() > 1:
        label = label.mask(networks, label + ", " + summary["encoder"])
    given = summary["labels"].map(
        lambda count: f"{count} training events" if count else "all events"
    )
    given = given.mask(summary["initialisation"].isin(list(ORACLES)), "the truth")
    group = summary["cohort"] + ", " + summary["protocol"] + ", " + given
    return summary.assign(label=label, group=group).sort_values("group", kind="stable")


PAIRS = (
    ("aligned", "scratch"),
    ("aligned", "reconstruction"),
    ("reconstruction", "scratch"),
    *(("aligned", control) for control in ("random_encoder", *COX)),
)
"""What is compared, the first with the second."""


def paired_differences(folds: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return differences of the C-index over the same folds, `first` less `second`, for all `PAIRS` that were run.

    Returns
    -------
    DataFrame
        cohort, protocol, labels, encoder, first, second, estimate, low, high (corrected as in `summarise`), folds,
        wins (folds in which the first is better), events_train.

    Raises
    ------
    InputError
        If two arms tested other patients under the same seed and fold.
    """
    _refuse_doubled(folds)
    place, rows = ["cohort", "protocol", "labels"], []
    for names, part in folds.groupby(place, sort=False):
        for encoder in [name for name in part["encoder"].unique() if name != NO_ENCODER]:
            own = part[part["encoder"].isin([encoder, NO_ENCODER])]
            for first, second in PAIRS:
                one, two = (own[own["initialisation"] == name] for name in (first, second))
                both = one.merge(two, on=["seed", "fold"], suffixes=("", "_second"))
                if both.empty:
                    continue
                if (both["test_rows"] != both["test_rows_second"]).any():
                    raise InputError(
                        f"Cohort {names[0]!r}: {first} and {second} tested different patients in the same fold: "
                        "delete the protocol folder of the run and sweep again."
                    )
                gap = both["c_index"] - both["c_index_second"]
                interval = _interval(both, gap, level, (-1.0, 1.0))
                counts = int(gap.notna().sum()), int((gap > 0).sum())
                events = float(both["events_train"].mean())
                rows.append((*names, encoder, first, second, *interval, *counts, events))
    columns = [*place, "encoder", "first", "second", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=[*columns, "folds", "wins", "events_train"])


def learning_curve(summary: pd.DataFrame, cohort: str, encoder: str, protocol: str) -> pd.DataFrame:
    """Return the lines of one cohort by number of training events, for `plots.plot_learning_curve`.

    Returns
    -------
    DataFrame
        label (initialisation), n (training events, mean of the folds), estimate, low, high. Networks with
        `encoder`, and Cox baselines; ascending.
    """
    chosen = summary[
        (summary["cohort"] == cohort)
        & (summary["protocol"] == protocol)
        & summary["encoder"].isin([encoder, "none"])
        & ~summary["initialisation"].isin(list(ORACLES))
    ]
    curve = chosen.assign(label=chosen["initialisation"], n=chosen["events_train"].round())
    columns = ["label", "n", "estimate", "low", "high"]
    return curve[columns].sort_values(["label", "n"], ignore_index=True)


def _interval(
    part: pd.DataFrame, values: pd.Series, level: float, bounds: tuple[float, float]
) -> tuple[float, float, float]:
    """Mean with corrected limits, cut to what is possible; without limits where fewer than two folds have a value."""
    known = values.dropna().to_numpy(float)
    if len(known) < 2:
        return float(known.mean()) if len(known) else np.nan, np.nan, np.nan
    found = nadeau_bengio_interval(known, float((part["n"] / part["n_development"]).mean()), level)
    return found.estimate, max(found.low, bounds[0]), min(found.high, bounds[1])


def _refuse_doubled(folds: pd.DataFrame) -> None:
    if folds.duplicated([*METHOD, "seed", "fold"]).any():
        raise InputError(
            "The table of folds holds a fold twice: were arms with another number of folds left behind?"
        )
