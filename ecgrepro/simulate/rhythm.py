"""When the heart beats: R waves, P waves and ectopic beats of ten seconds, for many ECGs at once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.simulate.disease import scales

FloatArray = NDArray[np.float64]

N_BEATS = 54  # from -1.5 s to beyond 10 s at 195 beats/min
_START = -1.5
_MIN_RR = 0.30


@dataclass(frozen=True)
class BeatTimes:
    """Event times in seconds (0 is the first sample), all of shape (N, N_BEATS), ascending.

    Attributes
    ----------
    r
        R waves.
    p
        P waves (centre); a suppressed one repeats its predecessor, so that rows stay rectangular.
    qt_scale
        Length of the repolarisation that follows a beat, relative to the record's usual one.
    ventricular
        True for a beat of ventricular origin.
    """

    r: FloatArray
    p: FloatArray
    qt_scale: FloatArray
    ventricular: NDArray[np.bool_]

    def take(self, rows: slice) -> "BeatTimes":
        """The same for some of the records."""
        return BeatTimes(self.r[rows], self.p[rows], self.qt_scale[rows], self.ventricular[rows])


def _coded(states: pd.DataFrame, name: str) -> NDArray[np.bool_]:
    return states[f"x_{name}"].to_numpy() > scales()[name].coded


def draw_beats(states: pd.DataFrame, rng: np.random.Generator) -> BeatTimes:
    """Draw the event times of every ECG from its latent state.

    Sinus rhythm breathes (respiratory arrhythmia), fibrillation is irregular (log-normal RR),
    flutter is locked to its atrial cycle, second degree block is Wenckebach's, third degree block
    has two independent clocks, premature beats come early and (ventricular ones) pause after.
    """
    n = len(states)
    rhythm = states["rhythm"].to_numpy()
    mean = 60.0 / states["heart_rate"].to_numpy()
    s_arrhythmia = states["sinus_arrhythmia"].to_numpy()
    column = np.arange(N_BEATS)
    breathing = rng.uniform(0.18, 0.32, n)
    phase = rng.uniform(0, 2 * np.pi, n)
    depth = (
        0.012
        + 0.012 * rng.gamma(2.0, 1.0, n) * (states["age"].to_numpy() < 50)
        + (0.17 * s_arrhythmia)
    )
    depth = np.where(np.isin(rhythm, ("sinus", "avb2")), np.minimum(depth, 0.26), 0.004)
    wave = np.sin(2 * np.pi * breathing[:, None] * column * mean[:, None] + phase[:, None])
    rr = mean[:, None] * (1 + depth[:, None] * wave + 0.008 * rng.standard_normal((n, N_BEATS)))
    steady = np.isin(rhythm, ("paced", "svt", "avb3"))
    rr[steady] = mean[steady, None]
    irregular = rhythm == "fibrillation"
    spread = (0.15 + 0.07 * np.minimum(states["fibrillation"].to_numpy()[irregular], 1.5))[:, None]
    noise = rng.standard_normal((int(irregular.sum()), N_BEATS))
    rr[irregular] = mean[irregular, None] * np.exp(spread * noise - spread**2 / 2)
    flutter = rhythm == "flutter"  # mostly constant conduction, sometimes one atrial cycle longer
    cycle = mean[flutter] / np.round(mean[flutter] * 300.0 / 60.0).clip(2, 4)
    extra = rng.uniform(size=(int(flutter.sum()), N_BEATS)) < 0.08
    rr[flutter] = mean[flutter, None] + extra * cycle[:, None]
    rr = np.maximum(rr, _MIN_RR)

    ventricular, atrial = _ectopy(states, mean, rng)
    early_v, early_a = rng.uniform(0.56, 0.68, (n, 1)), rng.uniform(0.62, 0.76, (n, 1))
    after_v = np.roll(ventricular, 1, axis=1)
    # an early beat must not fall on the T wave of its predecessor
    floor = states["qt_ms"].to_numpy()[:, None] / 1000 + 0.03
    base = mean[:, None]
    rr = np.where(ventricular, np.minimum(np.maximum(early_v * base, floor), 0.9 * base), rr)
    pause = np.where(irregular[:, None], base * 1.25, base * (2.0 - early_v))
    rr = np.where(after_v & ~ventricular, pause, rr)
    rr = np.where(atrial, np.minimum(np.maximum(early_a * base, floor), 0.9 * base), rr)
    rr = np.where(np.roll(atrial, 1, axis=1) & ~atrial & ~ventricular, base * 1.08, rr)

    start = _START - rng.uniform(0, 1, n) * mean
    r = start[:, None] + np.cumsum(rr, axis=1) - rr[:, :1]
    pr = states["pr_ms"].to_numpy() / 1000
    # the P centre lies about 50 ms after P onset; PR runs to QRS onset, half a QRS before R
    lead_time = pr - 0.050 + 0.5 * states["qrs_ms"].to_numpy() / 1000
    p = r - np.nan_to_num(lead_time, nan=0.0)[:, None]
    p[ventricular] = -np.inf
    without_p = np.isin(rhythm, ("fibrillation", "flutter", "svt"))
    without_p |= (rhythm == "paced") & (rng.uniform(size=n) < 0.5)
    p[without_p] = -100.0
    qt_scale = np.cbrt(np.clip(rr, 0.5 * base, 1.5 * base) / base)
    qt_scale = np.clip(np.roll(qt_scale, -1, axis=1), 0.85, 1.06)
    _second_degree(rhythm == "avb2", r, rng)
    _third_degree(rhythm == "avb3", p, rng)
    p = np.maximum.accumulate(np.maximum(p, -100.0), axis=1)
    return BeatTimes(r, p, qt_scale, ventricular)


def _ectopy(
    states: pd.DataFrame, mean: FloatArray, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark ventricular and atrial premature beats, shape (N, N_BEATS) each."""
    n = mean.size
    result = []
    for name, rate in (("pvc", 0.10), ("pac", 0.07)):
        coded = _coded(states, name)
        severity = states[name].to_numpy()
        often = np.where(coded, rate * severity, 0.0)
        marks = rng.uniform(size=(n, N_BEATS)) < often[:, None]
        # a coded one shows at least once, between 2 and 8 s
        when = rng.uniform(2.0, 8.0, n)
        column = np.clip(np.round((when - _START) / mean), 2, N_BEATS - 3).astype(int)
        bigeminy = coded & (severity > 1.55)
        marks[bigeminy] = np.arange(N_BEATS) % 2 == 0
        trigeminy = coded & (severity > 1.42) & ~bigeminy
        marks[trigeminy] = np.arange(N_BEATS) % 3 == 0
        marks[:, 1:] &= ~marks[:, :-1] | bigeminy[:, None]
        marks[:, :2] = False
        rows = np.flatnonzero(coded & ~bigeminy & ~trigeminy)
        for shift in (-1, 0, 1):  # one that is certain, with ordinary neighbours
            marks[rows, column[rows] + shift] = shift == 0
        result.append(marks)
    ventricular, atrial = result
    return ventricular, atrial & ~ventricular & ~np.roll(ventricular, 1, axis=1)


def _second_degree(rows: NDArray[np.bool_], r: FloatArray, rng: np.random.Generator) -> None:
    """Wenckebach, in place: PR grows by 60 ms a beat until one P wave is not conducted."""
    for i in np.flatnonzero(rows):
        group = int(rng.integers(3, 6))
        position = (np.arange(N_BEATS) + int(rng.integers(group))) % group
        delay = 0.06 * position
        conducted = position != group - 1
        r[i] = np.where(conducted, r[i] + delay, -100.0)
        r[i] = np.maximum.accumulate(r[i])


def _third_degree(rows: NDArray[np.bool_], p: FloatArray, rng: np.random.Generator) -> None:
    """Complete dissociation, in place: P waves at their own 70 to 95 /min."""
    for i in np.flatnonzero(rows):
        cycle = 60.0 / rng.uniform(70, 95)
        p[i] = _START + rng.uniform(0, 1) * cycle + cycle * np.arange(N_BEATS)
