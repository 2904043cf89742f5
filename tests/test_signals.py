"""Tests of ecgrepro.data.signals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecgrepro.data import signals
from ecgrepro.data.signals import check_quality, resample
from ecgrepro.errors import InputError

RNG = np.random.default_rng(7)


def adu(n: int = 3, samples: int = 1000) -> np.ndarray:
    return RNG.integers(-3000, 3000, size=(n, 12, samples)).astype(np.int16)


def millivolts(n: int = 2, samples: int = 1000) -> np.ndarray:
    return signals.to_millivolts(adu(n, samples))


@pytest.mark.parametrize(
    "function",
    [
        signals.zscore,
        signals.lead_scale,
        lambda x: signals.fit_length(x, 1024),
        lambda x: signals.fit_length(x, 600),
        lambda x: signals.resample(x, 500, 100),
        lambda x: signals.reorder_leads(x, signals.LEADS[::-1]),
        lambda x: check_quality(x, 100),
        signals.to_millivolts,
    ],
)
def test_input_is_untouched_and_output_is_not_a_view(function):
    """S-9: the study standardised in place, so its input was already cleaned."""
    x = millivolts()
    x[0, 1, 5] = np.nan
    before = x.copy()
    result = function(x)
    np.testing.assert_array_equal(x, before)
    assert not (isinstance(result, np.ndarray) and np.shares_memory(result, x))


def test_prepare_leaves_its_input_untouched():
    """S-9."""
    for samples, rate in ((1000, 100), (5000, 500), (2000, 100)):
        x = adu(2, samples)
        before = x.copy()
        signals.prepare(x, rate)
        np.testing.assert_array_equal(x, before)


def test_zero_mean_signal_is_scaled():
    """S-10: a lead that sums to zero is not empty."""
    lead = np.tile([10.0, -10.0], 500)
    assert abs(lead.sum()) < 1e-5
    z = signals.zscore(np.stack([lead, lead * 0.707]))
    np.testing.assert_allclose(z.std(axis=-1), 1.0)


@pytest.mark.parametrize("level", [0.0, 0.1, -3.3, 1e6])
def test_flat_lead_gives_zeros(level):
    """S-10: only a truly flat lead becomes zeros, at any level, in either precision."""
    for dtype in (np.float32, np.float64):
        x = np.full((2, 1000), level, dtype)
        x[1, 3] = level + 0.5
        z = signals.zscore(x)
        assert not z[0].any()
        assert z[1].std() == pytest.approx(1, abs=1e-3)
        assert signals.lead_scale(x)[0] == 0


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=20),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_zscore_is_always_finite_and_standard(x):
    z = signals.zscore(x)
    assert z.shape == x.shape
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert np.all(z[~np.isfinite(x)] == 0)
    assert np.all(np.abs(z) <= np.sqrt(x.shape[-1]) + 1e-3)


def test_zscore_does_not_depend_on_unit_or_offset():
    x = millivolts()
    np.testing.assert_allclose(signals.zscore(x * 1000 + 70), signals.zscore(x), atol=1e-3)


def test_zscore_leaves_unrecorded_samples_out():
    x = millivolts(1)[0].astype(np.float64)
    holed = x.copy()
    holed[:, 100:200] = np.nan
    kept = np.delete(x, np.s_[100:200], axis=-1)
    z = signals.zscore(holed)
    np.testing.assert_allclose(np.delete(z, np.s_[100:200], axis=-1), signals.zscore(kept))
    assert not z[:, 100:200].any()
    np.testing.assert_allclose(signals.lead_scale(holed), kept.std(axis=-1))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
def test_fit_length_is_exact_and_agrees_with_valid_span(n, length):
    """S-25: an odd difference gave 607 and 1023; left + right must be the difference."""
    x = np.arange(1.0, n + 1)[None]
    fitted = signals.fit_length(x, length)
    span = signals.valid_span(n, length)
    assert fitted.shape == (1, length)
    assert span.stop - span.start == min(n, length)
    inside = fitted[0, span]
    start = int(inside[0]) - 1
    np.testing.assert_array_equal(inside, x[0, start : start + min(n, length)])
    assert abs(start - (n - (start + min(n, length)))) <= 1  # cropped from the centre
    outside = np.delete(fitted[0], span)
    assert not outside.any()


def test_standard_padding_is_twelve_and_twelve():
    """S-34: the loss is taken over the recorded samples, 12 zeros on each side."""
    assert signals.valid_span(1000, 1024) == slice(12, 1012)
    assert signals.valid_span(600, 608) == slice(4, 604)
    assert signals.valid_span(601, 608) == slice(3, 604)


def test_invalid_sample_becomes_nan():
    x = np.array([[-32768, -32767, 1000, 0]], np.int16)
    np.testing.assert_allclose(signals.to_millivolts(x), [[np.nan, -32.767, 1.0, 0.0]], rtol=1e-6)
    assert signals.to_millivolts(x, gain=200)[0, 2] == 5
    with pytest.raises(InputError, match="gain"):
        signals.to_millivolts(x, gain=0)


def test_leads_are_ordered_by_name():
    """S-36: lead order by name, whatever the case, as the release writes AVR and the book aVR."""
    order = [5, 3, 0, 1, 11, 10, 9, 8, 7, 6, 4, 2]
    x = millivolts()
    names = [signals.LEADS[i].upper() for i in order]
    np.testing.assert_array_equal(signals.reorder_leads(x[:, order], names), x)
    extra = np.concatenate([x[:, :1] * 0, x], axis=1)
    np.testing.assert_array_equal(signals.reorder_leads(extra, ["VX", *signals.LEADS]), x)
    with pytest.raises(InputError, match="V6 is missing"):
        signals.reorder_leads(x[:, :11], signals.LEADS[:11])
    with pytest.raises(InputError, match="more than once"):
        signals.reorder_leads(extra, ["v1", *signals.LEADS])
    with pytest.raises(InputError, match="do not fit"):
        signals.reorder_leads(x, signals.LEADS[:5])


def test_prepare_equals_its_definition():
    x = adu(5)
    x[0, 3] = 123  # flat
    x[1, 4] += 20000  # large offset
    z, scale = signals.prepare(x)
    expected = signals.fit_length(signals.zscore(signals.to_millivolts(x)), 1024)
    assert z.shape == (5, 12, 1024)
    assert z.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(z, expected, atol=2e-5)
    np.testing.assert_allclose(scale, signals.lead_scale(signals.to_millivolts(x)), rtol=1e-5)
    assert not z[0, 3].any()
    assert scale[0, 3] == 0
    one, one_scale = signals.prepare(x[2])
    np.testing.assert_array_equal(one, z[2])
    np.testing.assert_array_equal(one_scale, scale[2])


def test_prepare_turns_invalid_samples_into_zeros():
    x = adu(2)
    x[1, 2, 300:400] = signals.INVALID
    z, scale = signals.prepare(x)
    assert not z[1, 2, 312:412].any()
    rest = np.delete(x[1, 2].astype(float), np.s_[300:400])
    assert scale[1, 2] == pytest.approx(rest.std() / 1000, rel=1e-5)
    np.testing.assert_allclose(z[0], signals.prepare(x[:1])[0][0], atol=2e-5)


def test_prepare_resamples_and_crops():
    slow = (1000 * np.stack([sine(2, 500)] * 12)).astype(np.int16)[None]
    slow[0, 5] = 77
    z, _ = signals.prepare(slow, rate=500)
    expected = signals.zscore(sine(2, 100))
    np.testing.assert_allclose(z[0, 0, 32:-32], expected[20:-20], atol=0.03)
    assert not z[0, 5].any()
    assert signals.prepare(adu(2), length=608)[0].shape == (2, 12, 608)


def test_prepare_refuses_other_types_and_empty_signals():
    with pytest.raises(InputError, match="int16"):
        signals.prepare(millivolts())
    with pytest.raises(InputError, match="no samples"):
        signals.prepare(np.zeros((1, 12, 0), np.int16))
    assert signals.prepare(np.zeros((0, 12, 1000), np.int16))[0].shape == (0, 12, 1024)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int16, st.tuples(st.just(2), st.just(12), st.integers(1, 30))))
def test_prepare_is_finite_for_any_int16(x):
    z, scale = signals.prepare(x, length=32)
    assert np.isfinite(z).all()
    assert np.isfinite(scale).all()
    expected = signals.fit_length(signals.zscore(signals.to_millivolts(x)), 32)
    np.testing.assert_allclose(z, expected, atol=1e-3)


def sine(frequency: float, rate: int, seconds: float = 10) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def test_resample_keeps_a_sine_and_its_time():
    """S-36: the condition for resampling was reversed in the study."""
    x = sine(3, 500)
    y = resample(x, 500, 100)
    assert y.shape == (1000,)
    np.testing.assert_allclose(y[20:-20], sine(3, 100)[20:-20], atol=0.01)
    np.testing.assert_array_equal(resample(x, 500, 500), x)
    assert resample(np.zeros(1000), 360, 100).shape == (278,)


def test_resample_keeps_flat_leads_flat_and_holes_holes():
    x = np.full((2, 5000), 0.1, np.float32)
    x[1] = sine(2, 500) + 4
    x[1, 1000:1500] = np.nan
    y = resample(x, 500, 100)
    assert np.ptp(y[0]) == 0
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y[1])), np.arange(200, 300))
    assert not signals.zscore(y)[0].any()


def test_quality_names_missing_flat_and_clipped_leads():
    x = np.stack([sine(1.3, 100)] * 4)
    x[1] = 0.7
    x[2, 50:52] = np.nan
    x[3] = np.clip(x[3], -2, 0.9)
    found = check_quality(x, 100)
    assert found.flat.tolist() == [False, True, False, False]
    assert found.missing.tolist() == [False, False, True, False]
    assert found.clipped.tolist() == [False, False, False, True]
    assert np.array_equal(check_quality(x[None], 100), np.array(found)[:, None])
    assert not np.any(check_quality(x[:1, :2], 100))  # shorter than 60 ms
