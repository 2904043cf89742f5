"""Pure parts of training: batches, masks, schedule, pairing, feeds."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgrepro.data import signals
from ecgrepro.errors import InputError
from ecgrepro.training import (
    LEAD_SUBSETS,
    AlignmentData,
    FitConfig,
    RiskData,
    SignalFeed,
    has_comparable_pair,
    mask_leads_and_time,
    pair_records,
    shuffled_batches,
    stratified_event_batches,
    warmup_cosine,
)
from ecgrepro.training.data import recorded_span
from tests.watched_array import WatchedArray


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int]:
    n = draw(st.integers(2, 120))
    events = draw(st.integers(1, n))
    seed = draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    event = np.zeros(n, dtype=np.int64)
    event[rng.choice(n, events, replace=False)] = 1
    time = rng.integers(1, draw(st.sampled_from([3, 50, 10_000])), n).astype(float)
    return event, time, draw(st.integers(2, 40)), seed


@settings(max_examples=150, deadline=None)
@given(cohorts())
def test_stratified_batches_hold_events_and_everybody_once(
    cohort: tuple[np.ndarray, np.ndarray, int, int],
) -> None:
    """S-22, R-12, S-21: no batch without event or of one; each record once; own seed."""
    event, time, size, seed = cohort
    n = len(event)
    batches = stratified_event_batches(event, time, size, seed, epoch=3)
    assert len(batches) == min(-(-n // size), event.sum(), n // 2)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(n))
    sizes = [len(batch) for batch in batches]
    events = [int(event[batch].sum()) for batch in batches]
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert min(events) >= 1
    assert max(events) - min(events) <= 1
    again = stratified_event_batches(event, time, size, seed, epoch=3)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_stratified_batches_do_not_touch_or_read_the_global_generator() -> None:
    """S-22: the study's single-batch mode used Python's global generator."""
    event, time = np.tile([1, 0, 0, 0], 25), np.arange(1.0, 101.0)
    np.random.seed(0)  # noqa: NPY002 - the legacy global state is what must not matter
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = stratified_event_batches(event, time, 20, seed=1, epoch=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    other_epoch = stratified_event_batches(event, time, 20, seed=1, epoch=2)
    assert not all(np.array_equal(a, b) for a, b in zip(first, other_epoch, strict=True))


def test_every_batch_gets_a_comparable_pair_where_the_cohort_permits() -> None:
    """S-22: one record outlives the late events; each batch of them needs a partner."""
    # ten events at day 100, ten censored at day 200, eighty censored at day 5
    event = np.r_[np.ones(10, int), np.zeros(90, int)]
    time = np.r_[np.full(10, 100.0), np.full(10, 200.0), np.full(80, 5.0)]
    time[:10] += np.arange(10)  # no ties among events
    for epoch in range(30):
        batches = stratified_event_batches(event, time, 10, seed=0, epoch=epoch)
        assert len(batches) == 10
        for batch in batches:
            assert has_comparable_pair(event[batch].astype(bool), time[batch])


def test_comparable_pair_means_somebody_still_at_risk() -> None:
    yes, no = np.array([True, False]), np.array([False, False])
    assert has_comparable_pair(yes, np.array([1.0, 2.0]))
    assert has_comparable_pair(yes, np.array([2.0, 2.0]))
    assert not has_comparable_pair(yes, np.array([3.0, 2.0]))
    assert not has_comparable_pair(no, np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("event", "message"),
    [([], "holds 0 records"), ([1], "holds 1 records"), ([0, 0, 0], "no event")],
)
def test_cohorts_without_a_risk_are_refused(event: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stratified_event_batches(np.array(event), np.ones(len(event)), 8, 0, 0)


@given(st.integers(2, 300), st.integers(2, 64), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_shuffled_batches_are_even_and_complete(n: int, size: int, epoch: int) -> None:
    """S-21: never a batch of one; nothing dropped."""
    batches = shuffled_batches(n, size, seed=7, epoch=epoch)
    sizes = [len(batch) for batch in batches]
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(size, 3)
    assert np.array_equal(np.sort(np.concatenate(batches)), np.arange(n))


def test_masks_leave_the_target_alone_and_keep_known_subsets() -> None:
    """S-11, S-9: the input is a copy; the unmasked signal stays the target."""
    x = torch.ones(200, 12, 100)
    masked = mask_leads_and_time(
        x, torch.Generator().manual_seed(0), FitConfig(lead_mask=0.5, time_mask=0.0)
    )
    assert bool((x == 1).all())
    kept = {tuple(torch.nonzero(row).flatten().tolist()) for row in masked[:, :, 0]}
    assert kept == {*LEAD_SUBSETS, tuple(range(12))}
    share = float((masked[:, :, 0].sum(dim=1) < 12).float().mean())
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("rate", [100, 500])
def test_time_mask_lasts_as_long_as_configured_at_any_rate(rate: int) -> None:
    """S-26: the study's shortest mask was 80 samples whatever the rate."""
    x = torch.ones(300, 12, 5 * rate)
    settings = FitConfig(lead_mask=0, time_mask=1, time_mask_seconds=(0.1, 0.3))
    masked = mask_leads_and_time(x, torch.Generator().manual_seed(1), settings, rate=rate)
    hidden = (masked == 0).all(dim=1)
    seconds = hidden.sum(dim=1) / rate
    assert float(seconds.min()) >= 0.1 - 1e-6
    assert float(seconds.max()) <= 0.3 + 1e-6
    edges = (hidden[:, 1:] != hidden[:, :-1]).sum(dim=1) + hidden[:, 0].int() + hidden[:, -1].int()
    assert bool((edges == 2).all())  # one stretch each


def test_shared_mask_is_the_same_for_all_patients_of_a_batch() -> None:
    """S-18: patients of one risk set are compared on the same input."""
    x = torch.randn(9, 12, 64, generator=torch.Generator().manual_seed(0))
    masked = mask_leads_and_time(
        x, torch.Generator().manual_seed(3), FitConfig(lead_mask=1, time_mask=1), shared=True
    )
    pattern = masked == 0
    assert bool((pattern == pattern[:1]).all())
    assert bool(pattern.any())


def test_equal_generators_give_equal_masks() -> None:
    x = torch.randn(16, 12, 64, generator=torch.Generator().manual_seed(0))
    masks = [
        mask_leads_and_time(
            x, torch.Generator().manual_seed(s), FitConfig(lead_mask=0.5, time_mask=0.5)
        )
        for s in (5, 5, 6)
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(
    "arguments",
    [{"lead_mask": 1.5}, {"time_mask": -0.1}, {"time_mask_seconds": (0.5, 0.1)}],
)
def test_impossible_masks_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError):
        FitConfig(**arguments)


def test_rate_rises_linearly_then_falls_as_a_cosine() -> None:
    shares = [warmup_cosine(step, 100, 0.2) for step in range(100)]
    assert shares[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert shares[20] == 1.0
    assert shares[60] == pytest.approx(0.5)
    assert 0 < shares[99] < 0.001
    assert (np.diff(shares[20:]) < 0).all()


def test_a_missing_report_in_the_middle_shifts_nothing() -> None:
    """R-6, S-40: pairs are joined by ecg_id before training, and what has no partner is named."""
    packed_ids = [11, 12, 13, 14, 15, 16]
    packed = np.arange(6, dtype=np.int16)[:, None, None] * np.ones((1, 12, 64), np.int16)
    text_ids_by_ecg = [16, 11, 14, 12, 15, 99]  # 13 has no report; another order; 99 no signal
    z_text = np.array(text_ids_by_ecg, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    z_text[4] = np.nan  # 15
    split = pd.Series({11: "train", 12: "train", 14: "validation", 16: "validation"})
    data, paired, dropped = pair_records(
        *(packed, packed_ids, 100, z_text, np.arange(6), text_ids_by_ecg, split), length=64
    )
    assert paired.tolist() == [11, 12, 14, 16]
    assert data.z_text[:, 0].tolist() == paired.tolist()
    assert (data.signals[data.rows][:, 0, 0] + 11).tolist() == paired.tolist()
    assert paired[data.train].tolist() == [11, 12]
    assert paired[data.validation].tolist() == [14, 16]
    assert dict(zip(dropped.ecg_id, dropped.reason, strict=True)) == {
        13: "no text",
        15: "text vector not finite",
        99: "no signal",
    }


def test_a_batch_reads_each_of_its_records_once() -> None:
    """R-13: the earlier code loaded the whole batch once a row, and divided by 0 for a small one."""
    rng = np.random.default_rng(0)
    adu = rng.integers(-500, 500, (40, 12, 64)).astype(np.int16)
    watched = WatchedArray(adu)
    feed = SignalFeed(watched, np.arange(40)[::-1].copy(), 100, 64)
    positions = np.array([7, 0, 31, 19])
    x, scale = feed(positions)
    assert watched.count == len(positions)
    assert watched.read == {39 - position for position in positions}
    expected, expected_scale = signals.prepare(adu[39 - positions], length=64)  # in the order asked
    assert torch.equal(x, torch.from_numpy(expected))
    assert torch.equal(scale, torch.from_numpy(expected_scale))
    (whole,) = shuffled_batches(5, batch_size=128, seed=0, epoch=1)
    assert sorted(whole) == [0, 1, 2, 3, 4]


def test_duplicate_ecg_ids_are_refused() -> None:
    packed = np.zeros((2, 12, 64), np.int16)
    with pytest.raises(InputError, match="ecg_id 5 occurs twice"):
        pair_records(packed, [4, 5], 100, np.zeros((2, 3)), np.arange(2), [5, 5], {4: "train"})


def test_alignment_data_that_would_pair_wrongly_is_refused() -> None:
    """R-6: unequal lengths must not be cut to the shorter one."""
    packed, rows = np.zeros((8, 12, 64), np.int16), np.arange(8)
    parts = (np.arange(4), np.arange(4, 8))
    with pytest.raises(InputError, match="8 ECGs, 7 text vectors"):
        AlignmentData(packed, rows, 100, np.zeros((7, 3), np.float32), rows, *parts)
    with pytest.raises(InputError, match="share records"):
        AlignmentData(
            *(packed, rows, 100, np.zeros((8, 3), np.float32), rows, np.arange(5), parts[1])
        )
    with pytest.raises(InputError, match="rows reach from 0 to 8"):
        AlignmentData(packed, rows + (rows == 7), 100, np.zeros((8, 3), np.float32), rows, *parts)
    with pytest.raises(InputError, match="one text only"):
        AlignmentData(packed, rows, 100, np.zeros((8, 3), np.float32), rows * 0, *parts)


@pytest.mark.parametrize(
    ("event", "time", "message"),
    [
        ([0] * 8, [1.0] * 8, r"training part holds 0 event\(s\)"),
        ([1, 0, 0, 0, 1, 0, 0, 0], [1.0] * 8, r"training part holds 1 event\(s\)"),
        ([1, 1, 0, 0, 0, 0, 0, 0], [1.0] * 8, r"validation part holds 0 event\(s\)"),
        ([1, 1, 0, 0, 1, 0, 0, 0], [1.0] * 7 + [-3.0], "time of record 7 is -3.0"),
        ([2, 1, 0, 0, 1, 0, 0, 0], [1.0] * 8, "other than 0 and 1"),
    ],
)
def test_cohorts_that_cannot_be_learned_from_are_refused(
    event: list[int], time: list[float], message: str
) -> None:
    packed = np.zeros((8, 12, 64), np.int16)
    with pytest.raises(InputError, match=message):
        RiskData(
            *(packed, np.arange(8), 100, np.array(event), np.array(time)),
            *(np.arange(4), np.arange(4, 8)),
        )


def test_an_empty_cohort_is_refused() -> None:
    none = np.array([], dtype=np.int64)
    with pytest.raises(InputError, match="cohort is empty"):
        RiskData(np.zeros((8, 12, 64), np.int16), none, 100, none, none.astype(float), none, none)


@pytest.mark.parametrize("rate", [100, 500])
def test_feed_gives_the_rows_asked_for_with_and_without_cache(rate: int) -> None:
    rng = np.random.default_rng(0)
    packed = rng.integers(-900, 900, (9, 12, rate), dtype=np.int16)
    rows = np.array([8, 2, 5, 0])
    wanted = np.array([3, 0, 2])
    direct = signals.prepare(packed[rows[wanted]], rate=rate, length=128)
    for cache in (0, 1 << 30):
        x, scale = SignalFeed(packed, rows, rate, 128, np.arange(4), cache)(wanted)
        assert np.array_equal(x.numpy(), direct[0])
        assert np.array_equal(scale.numpy(), direct[1])
    span = recorded_span(packed.shape[-1], rate, 128)
    assert (span.start, span.stop) == (14, 114)
