"""Tests of ecgrepro.filters and ecgrepro.quality."""

import numpy as np
import pytest

from ecgrepro import signals
from ecgrepro.errors import InputError
from ecgrepro.filters import bandpass, resample, seconds_to_samples
from ecgrepro.quality import check_quality


def test_masks_follow_the_rate():
    """S-26: 0.1 s is 10 samples at 100 Hz and 50 at 500 Hz, not 80 at any rate."""
    assert seconds_to_samples(0.1, 100) == 10
    assert seconds_to_samples(0.1, 500) == 50
    assert seconds_to_samples(0.0001, 100) == 1


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


def test_bandpass_keeps_the_heart_and_drops_drift_and_mains():
    x = np.stack([sine(8, 500), 3 * sine(0.05, 500), sine(50, 500) + sine(120, 500), np.ones(5000)])
    y = bandpass(x, 500)
    middle = np.s_[500:-500]
    assert np.corrcoef(y[0, middle], x[0, middle])[0, 1] > 0.999  # no delay
    assert np.abs(y[0, middle]).max() == pytest.approx(1, abs=0.02)
    assert np.abs(y[1, middle]).max() < 0.05
    assert not y[3].any()
    assert np.abs(bandpass(sine(120, 500), 500)[middle]).max() < 0.05
    for low, high in ((0, 40), (0.5, 50), (40, 5)):
        with pytest.raises(InputError, match="impossible"):
            bandpass(x, 100, low, high)
    assert bandpass(np.ones((12, 1)), 100).shape == (12, 1)


def test_quality_names_missing_flat_and_clipped_leads():
    x = np.stack([sine(1.3, 100)] * 4)
    x[1] = 0.7
    x[2, 50:52] = np.nan
    x[3] = np.clip(x[3], -2, 0.9)
    found = check_quality(x, 100)
    assert found.flat.tolist() == [False, True, False, False]
    assert found.missing.tolist() == [False, False, True, False]
    assert found.clipped.tolist() == [False, False, False, True]
    assert not found.usable
    assert check_quality(np.stack([x[:1], x[1:2]]), 100).usable.tolist() == [True, False]
