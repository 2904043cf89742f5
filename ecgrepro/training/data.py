"""What training reads: packed signals with their texts or their follow-up, row by row in step.

All arrays of one dataset are indexed by the same position, and `pair_records` makes them so by
ecg_id, not by order: a record without a report takes its own ECG out and shifts nothing (R-6).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecgrepro.data import signals
from ecgrepro.errors import InputError


@dataclass(frozen=True, eq=False)
class AlignmentData:
    """ECGs and the vectors of their reports.

    Attributes
    ----------
    signals
        (M, 12, samples) int16, 1000 adu per mV: the packed memory map, with any number of records.
    rows
        (N,) where pair i's ECG lies in `signals`.
    rate
        Samples per second of `signals`.
    z_text
        (N, D) text vector of pair i.
    text_ids
        (N,) pairs with equal numbers have the same text.
    train, validation
        Positions 0 ... N - 1 of the pairs to learn from and to choose the epoch on.
    length
        Samples of the network's input.
    """

    signals: NDArray[np.int16]
    rows: NDArray[np.int64]
    rate: float
    z_text: NDArray[np.float32]
    text_ids: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    length: int = 1024

    def __post_init__(self) -> None:
        """Refuse what would fail, or pair wrongly, in the middle of a run."""
        n = len(self.rows)
        if len(self.z_text) != n or len(self.text_ids) != n:
            raise InputError(
                f"{n} ECGs, {len(self.z_text)} text vectors and {len(self.text_ids)} text numbers: "
                "index all three by the same records (see pair_records)."
            )
        if not np.isfinite(self.z_text).all():
            bad = int(np.flatnonzero(~np.isfinite(self.z_text).all(axis=1))[0])
            raise InputError(f"the text vector of pair {bad} is not finite: embed it again.")
        _check_rows(self.signals, self.rows)
        _check_split(n, self.train, self.validation)
        if len(np.unique(self.text_ids[self.validation])) < 2:
            raise InputError(
                "the validation part holds one text only, so nothing can be retrieved: "
                "use more records."
            )

    def identity(self) -> dict[str, Any]:
        """What makes it the same data for a training: the pairs it uses."""
        return _used(self, z_text=self.z_text, text_ids=self.text_ids)


@dataclass(frozen=True, eq=False)
class RiskData:
    """ECGs and the follow-up of their patients.

    `event` (N,) is 1 where the event was seen and 0 where censored, `time` (N,) days from the ECG to either, above 0;
    patients must not cross from `train` to `validation`. The rest as in `AlignmentData`.
    """

    signals: NDArray[np.int16]
    rows: NDArray[np.int64]
    rate: float
    event: NDArray[np.int64]
    time: NDArray[np.float64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    length: int = 1024

    def __post_init__(self) -> None:
        """Refuse a cohort that no Cox loss can be computed on."""
        n = len(self.rows)
        if n == 0:
            raise InputError("the cohort is empty: check the follow-up table and the ecg_ids.")
        if self.event.shape != (n,) or self.time.shape != (n,):
            raise InputError(
                f"{n} ECGs, event {self.event.shape}, time {self.time.shape}: give one column each."
            )
        if not np.isin(self.event, (0, 1)).all():
            raise InputError("event holds values other than 0 and 1: code censored as 0.")
        if not (np.isfinite(self.time).all() and (self.time > 0).all()):
            bad = int(np.flatnonzero(~(np.isfinite(self.time) & (self.time > 0)))[0])
            raise InputError(f"time of record {bad} is {self.time[bad]} days: give a time above 0.")
        _check_rows(self.signals, self.rows)
        _check_split(n, self.train, self.validation)
        for name, part, least in (("training", self.train, 2), ("validation", self.validation, 1)):
            events = int(self.event[part].sum())
            if events < least:
                raise InputError(
                    f"the {name} part holds {events} event(s) among {len(part)} patients, and needs "
                    f"{least}: use a larger cohort or another split."
                )

    def identity(self) -> dict[str, Any]:
        """What makes it the same data for a training: the patients it uses."""
        return _used(self, event=self.event, time=self.time)


def pair_records(
    signals_packed: NDArray[np.int16],
    packed_ids: Sequence[int],
    rate: float,
    z_text: NDArray[np.float32],
    text_ids: NDArray[np.int64],
    ecg_ids: Sequence[int],
    split: Mapping[int, str],
    *,
    length: int = 1024,
) -> tuple[AlignmentData, NDArray[np.int64], pd.DataFrame]:
    """Join packed signals and text vectors by ecg_id, and say which records had to go.

    Parameters
    ----------
    signals_packed, packed_ids, rate
        (M, 12, samples) memory map, its M ecg_ids, samples per second.
    z_text, text_ids, ecg_ids
        (N, D) vectors, (N,) text numbers and the N ecg_ids they belong to, in any order.
    split
        ecg_id to "train", "validation" or "test" (a dict, or a Series indexed by ecg_id).
    length
        Samples of the network's input.

    Returns
    -------
    data
        Pairs that have signal, finite text vector and split; test records are in it too, in
        neither part.
    paired_ids
        (N',) ecg_id of each pair.
    dropped
        Columns ecg_id, reason.

    Raises
    ------
    InputError
        If an ecg_id occurs twice, or no record has both sides.
    """
    text_index, packed_index = pd.Index(ecg_ids), pd.Index(packed_ids)
    for name, index in (("text vectors", text_index), ("packed signals", packed_index)):
        if index.has_duplicates:
            twice = index[index.duplicated()][0]
            raise InputError(
                f"ecg_id {twice} occurs twice among the {name}: keep one row a record."
            )
    if len(text_index) != len(z_text) or len(text_index) != len(text_ids):
        raise InputError(
            f"{len(text_index)} ecg_ids, {len(z_text)} text vectors, {len(text_ids)} text numbers: "
            "give one row a record."
        )
    everything = text_index.union(packed_index)
    at_text, at_signal = text_index.get_indexer(everything), packed_index.get_indexer(everything)
    finite = np.asarray(np.isfinite(z_text).all(axis=1))
    labels = np.array([split.get(ecg_id, "") for ecg_id in everything], dtype=object)
    reasons = np.full(len(everything), "", dtype=object)
    for reason, absent in (  # the last one that holds is the one named
        ("no split", labels == ""),
        ("text vector not finite", ~finite[at_text]),
        ("no text", at_text < 0),
        ("no signal", at_signal < 0),
    ):
        reasons[absent] = reason
    kept = np.array([reason == "" for reason in reasons], dtype=bool)
    if not kept.any():
        raise InputError(
            f"none of {len(everything)} records has signal, text and split: check the ecg_ids."
        )
    dropped = pd.DataFrame({"ecg_id": everything[~kept], "reason": reasons[~kept]})
    labels = labels[kept]
    data = AlignmentData(
        signals=signals_packed,
        rows=at_signal[kept].astype(np.int64),
        rate=rate,
        z_text=np.asarray(z_text[at_text[kept]], dtype=np.float32),
        text_ids=np.asarray(text_ids[at_text[kept]], dtype=np.int64),
        train=np.flatnonzero(labels == "train"),
        validation=np.flatnonzero(labels == "validation"),
        length=length,
    )
    return data, np.asarray(everything[kept], dtype=np.int64), dropped


class SignalFeed:
    """Positions in the dataset to prepared input: x float32 (B, 12, length), lead scale float32 (B, 12) in mV.

    Preparing 128 records of 100 Hz takes 10 ms on one core, where a training step takes 0.6 s or
    more, so it is done each time from the memory map. From 500 Hz, with resampling, it takes
    280 ms: then the prepared records are kept, as long as they fit into `cache_bytes`. Both ways
    give the same bits.

    `used` are positions that will be asked for and may be kept; the rest as in `AlignmentData`.
    """

    def __init__(
        self,
        packed: NDArray[np.int16],
        rows: NDArray[np.int64],
        rate: float,
        length: int,
        used: NDArray[np.int64] | None = None,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.packed, self.rows, self.rate, self.length = packed, rows, rate, length
        self._wanted = np.unique([] if used is None else used).astype(np.int64)
        needed = len(self._wanted) * packed.shape[1] * (length + 1) * 4
        self._keep = rate != signals.MODEL_RATE and 0 < needed <= cache_bytes
        self._kept: tuple[Tensor, Tensor] | None = None

    def identity(self) -> tuple[float, int]:
        """What matters beside the records, which the dataset identifies (`training.identity`)."""
        return self.rate, self.length

    def __call__(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return x and scale of some positions, in the order asked."""
        if not self._keep or not np.isin(positions, self._wanted).all():
            return self._prepare(positions)
        if self._kept is None:
            count = -(-len(self._wanted) // 256)
            parts = [self._prepare(part) for part in np.array_split(self._wanted, count)]
            x, scale = zip(*parts, strict=True)
            self._kept = torch.cat(x), torch.cat(scale)
        chosen = torch.from_numpy(np.searchsorted(self._wanted, positions))
        return self._kept[0][chosen], self._kept[1][chosen]

    def _prepare(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        order = np.argsort(self.rows[positions], kind="stable")  # reads the map in one sweep
        adu = np.empty((len(positions), *self.packed.shape[1:]), dtype=self.packed.dtype)
        adu[order] = self.packed[self.rows[positions][order]]
        x, scale = signals.prepare(adu, rate=self.rate, length=self.length)
        return torch.from_numpy(x), torch.from_numpy(scale)


def recorded_span(samples: int, rate: float, length: int) -> slice:
    """Return which samples of the network's input were recorded; the rest is padding (S-34)."""
    return signals.valid_span(-(-samples * signals.MODEL_RATE // round(rate)), length)


def _check_rows(packed: NDArray[np.int16], rows: NDArray[np.int64]) -> None:
    if packed.ndim != 3 or packed.shape[1] != len(signals.LEADS):
        raise InputError(f"signals have shape {packed.shape}: give (records, 12, samples).")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(packed)):
        raise InputError(
            f"rows reach from {rows.min()} to {rows.max()}, but {len(packed)} signals are packed: "
            "take rows from the same packed folder."
        )


def _check_split(n: int, train: NDArray[np.int64], validation: NDArray[np.int64]) -> None:
    for name, part in (("training", train), ("validation", validation)):
        if len(part) < 2:
            raise InputError(f"the {name} part holds {len(part)} record(s): give at least 2.")
        if part.min() < 0 or part.max() >= n or len(np.unique(part)) != len(part):
            raise InputError(f"positions of the {name} part repeat or leave 0 ... {n - 1}.")
    if np.intersect1d(train, validation).size:
        raise InputError("training and validation share records: split them by patient.")


def _used(data: "AlignmentData | RiskData", **columns: NDArray[Any]) -> dict[str, Any]:
    """Describe the training and validation records of a dataset, and no others, for `training.identity`.

    Of the signals 64 evenly spaced records: enough to recognise a dataset without reading all of it.
    """
    used = np.concatenate([data.train, data.validation])
    rows = data.rows[used]
    sample = np.unique(np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(np.int64))
    described = {name: column[used] for name, column in columns.items()}
    parts = {"rows": rows, "train": data.train, "rate": data.rate, "length": data.length}
    return described | parts | {"signals": np.asarray(data.signals[rows[sample]])}
