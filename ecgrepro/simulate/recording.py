"""From waves and beat times to twelve leads, sampled at any rate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgrepro.simulate.heart import DOWER, Hearts, Waves
from ecgrepro.simulate.rhythm import BeatTimes

Float32Array = NDArray[np.float32]

SECONDS = 10
_BLUR = 0.33  # samples: SD of the Gaussian that stands for the anti-aliasing low-pass
HEADER_LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Lead names and order of the release's headers."""


def _last_event(events: NDArray[np.float64], rate: int, samples: int) -> NDArray[np.intp]:
    """Index of the last event at or before each sample, shape (N, samples); -1 where none."""
    n = events.shape[0]
    first = np.clip(np.ceil(events * rate), 0, samples).astype(np.intp)
    flat = (np.arange(n)[:, None] * (samples + 1) + first).ravel()
    counts = np.bincount(flat, minlength=n * (samples + 1)).reshape(n, samples + 1)
    return np.cumsum(counts[:, :samples], axis=1) - 1


def _gather(values: NDArray, index: NDArray[np.intp]) -> NDArray:
    return np.take_along_axis(values, np.clip(index, 0, values.shape[1] - 1), axis=1)


def _sum_waves(waves: Waves, tau: Float32Array, rate: int) -> Float32Array:
    """Sum of Gaussians times vectors at times tau (N, T); returns (N, 3, T).

    A Gaussian low-passed by a Gaussian is a Gaussian: wider, and lower by the ratio of the widths.
    """
    wide = np.sqrt(waves.width**2 + (_BLUR / rate) ** 2)
    vector = waves.vector * (waves.width / wide)[..., None]
    g = np.empty((tau.shape[0], wide.shape[1], tau.shape[1]), dtype=np.float32)
    for k in range(wide.shape[1]):
        np.subtract(tau, waves.centre[:, k, None].astype(np.float32), out=g[:, k])
        g[:, k] *= (np.sqrt(0.5) / wide[:, k, None]).astype(np.float32)
    np.square(g, out=g)
    np.negative(g, out=g)
    np.exp(g, out=g)
    return np.matmul(vector.transpose(0, 2, 1).astype(np.float32), g)


def vectorcardiogram(
    hearts: Hearts, beats: BeatTimes, rate: int, rng: np.random.Generator
) -> Float32Array:
    """Render the noise-free dipole in mV.

    Parameters
    ----------
    hearts, beats
        What the beats look like and when they happen, N records.
    rate
        Samples per second.
    rng
        Phases of fibrillation and flutter waves; independent of the rate.

    Returns
    -------
    float32 array (N, 3, 10 * rate)
    """
    samples = SECONDS * rate
    time = np.arange(samples, dtype=np.float64) / rate
    last = _last_event(beats.r, rate, samples)
    since = (time - _gather(beats.r, last)).astype(np.float32)
    until = (time - _gather(beats.r, last + 1)).astype(np.float32)
    next_is_near = -until < since
    near = np.where(next_is_near, until, since)
    t_time = since / _gather(beats.qt_scale, last).astype(np.float32)
    qrs = _sum_waves(hearts.qrs, near, rate)
    recovery = _sum_waves(hearts.t, t_time, rate)
    rows = np.flatnonzero(beats.ventricular.any(axis=1))
    if rows.size:
        own_near = _gather(beats.ventricular[rows], (last + next_is_near)[rows])[:, None]
        own_last = _gather(beats.ventricular[rows], last[rows])[:, None]
        e = hearts.ectopic.take(rows)
        hump = Waves(e.centre[:, :2], e.width[:, :2], e.vector[:, :2])
        late = Waves(e.centre[:, 2:], e.width[:, 2:], e.vector[:, 2:])
        qrs[rows] = np.where(own_near, _sum_waves(hump, near[rows], rate), qrs[rows])
        ectopic_t = _sum_waves(late, since[rows], rate)
        recovery[rows] = np.where(own_last, ectopic_t, recovery[rows])
    last_p = _last_event(beats.p, rate, samples)
    since_p = (time - _gather(beats.p, last_p)).astype(np.float32)
    until_p = (time - _gather(beats.p, last_p + 1)).astype(np.float32)
    p = _sum_waves(hearts.p, np.where(-until_p < np.abs(since_p), until_p, since_p), rate)
    vcg = qrs + recovery + p
    rows = np.flatnonzero(hearts.spike.vector.any(axis=(1, 2)))
    if rows.size:
        vcg[rows] += _sum_waves(hearts.spike.take(rows), until[rows], rate)
    _add_atrial(vcg, hearts, beats, time, rng)
    return vcg


def _add_atrial(
    vcg: Float32Array,
    hearts: Hearts,
    beats: BeatTimes,
    time: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Add fibrillation waves (4 to 8 Hz, wandering) and flutter's saw teeth, in place."""
    for i in np.flatnonzero(hearts.fibrillation):
        wave = np.zeros_like(time)
        for _ in range(3):
            frequency, wander = rng.uniform(4.2, 7.8), rng.uniform(0.2, 0.6)
            phase, phase_2 = rng.uniform(0, 2 * np.pi, 2)
            swing = 1.6 * np.sin(2 * np.pi * wander * time + phase_2)
            wave += rng.uniform(0.4, 1.0) * np.sin(2 * np.pi * frequency * time + phase + swing)
        direction = np.array([0.25, 0.45, -0.75]) * hearts.fibrillation[i] * 0.6
        vcg[i] += (direction[:, None] * wave).astype(np.float32)
    for i in np.flatnonzero(hearts.flutter):
        rr = np.diff(beats.r[i]).min()
        cycle = rr / max(2, round(rr * 300 / 60))
        angle = 2 * np.pi * (time - beats.r[i, 0]) / cycle + rng.uniform(0, 2 * np.pi)
        saw = sum(np.sin(k * angle) / k * np.exp(-0.25 * (k - 1)) for k in range(1, 5))
        direction = np.array([0.05, 0.75, -0.30]) * hearts.flutter[i]
        vcg[i] += (direction[:, None] * saw).astype(np.float32)


def project(vcg: Float32Array) -> Float32Array:
    """Dower's eight independent leads I, II, V1-V6 of a dipole (N, 3, T): (N, 8, T)."""
    return np.matmul(DOWER.astype(np.float32), vcg)


def twelve_leads(eight: Float32Array) -> Float32Array:
    """Complete I, II, V1-V6 (N, 8, T) to twelve leads (N, 12, T), in the order of `HEADER_LEADS`.

    Einthoven: III = II - I. Goldberger: aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
    """
    n, _, samples = eight.shape
    out = np.empty((n, 12, samples), dtype=eight.dtype)
    one, two = eight[:, 0], eight[:, 1]
    out[:, 0], out[:, 1] = one, two
    np.subtract(two, one, out=out[:, 2])
    np.multiply(one + two, -0.5, out=out[:, 3])
    np.subtract(one, 0.5 * two, out=out[:, 4])
    np.subtract(two, 0.5 * one, out=out[:, 5])
    out[:, 6:] = eight[:, 2:]
    return out


def digitize(leads: Float32Array) -> NDArray[np.int16]:
    """Millivolts (N, 12, T) to samples of 1 microvolt, time-major as on disk: (N, T, 12) int16."""
    scaled = np.rint(leads * np.float32(1000.0))
    np.clip(scaled, -32767, 32767, out=scaled)
    return np.ascontiguousarray(scaled.transpose(0, 2, 1).astype("<i2"))


@dataclass(frozen=True)
class Disturbances:
    """Noise of N records; SDs in mV, shape (N,), flags, and a burst or loose electrode by lead.

    `burst_lead` and `loose_lead` index I, II, V1-V6 (only chest leads), -1 for none.
    """

    drift: NDArray[np.float64]
    muscle: NDArray[np.float64]
    mains: NDArray[np.float64]
    burst_lead: NDArray[np.intp]
    burst_start: NDArray[np.float64]
    loose_lead: NDArray[np.intp]

    def take(self, rows: slice) -> "Disturbances":
        """The same for some of the records."""
        return Disturbances(**{name: values[rows] for name, values in vars(self).items()})


def draw_disturbances(n: int, rng: np.random.Generator) -> Disturbances:
    """Draw how disturbed each of n records is; most are clean, some of each kind are not."""
    burst = rng.uniform(size=n) < 0.028
    loose = rng.uniform(size=n) < 0.0014
    return Disturbances(
        drift=0.028 * np.exp(0.75 * rng.standard_normal(n)),
        muscle=0.0052 * np.exp(0.62 * rng.standard_normal(n)),
        mains=0.004 * np.exp(0.8 * rng.standard_normal(n)),
        burst_lead=np.where(burst, rng.integers(2, 8, n), -1),
        burst_start=rng.uniform(0.5, 7.5, n),
        loose_lead=np.where(loose, rng.integers(2, 8, n), -1),
    )


def add_disturbances(
    eight: Float32Array, noise: Disturbances, rate: int, rng: np.random.Generator
) -> None:
    """Disturb I, II, V1-V6 (N, 8, T) in place.

    Acting on the independent leads keeps Einthoven's law, as electrodes do. Mains (50 Hz) is added
    from 200 samples/s on: at 100 it is the Nyquist frequency, which the recorder's low-pass removes.
    The loose electrode's lead is flat from somewhere on.
    """
    n, leads, samples = eight.shape
    time = np.arange(samples, dtype=np.float32) / rate
    slow = np.empty((n, 3, samples), dtype=np.float32)
    for k, (low, high) in enumerate(((0.15, 0.35), (0.03, 0.10), (0.4, 0.7))):
        f, phase = rng.uniform(low, high, (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
        slow[:, k] = np.sin((2 * np.pi * f).astype(np.float32) * time + phase.astype(np.float32))
    weight = rng.standard_normal((n, leads, 3)) * np.array([0.8, 0.9, 0.25])
    eight += np.matmul((weight * noise.drift[:, None, None]).astype(np.float32), slow)
    grain = rng.standard_normal((n, leads, samples), dtype=np.float32)
    if rate > 100:  # muscle noise reaches about 100 Hz: average neighbours at higher rates
        grain[..., 1:] += grain[..., :-1]
        grain *= np.float32(0.75)
    uneven = np.exp(0.3 * rng.standard_normal((n, leads, 1)))
    grain *= (noise.muscle[:, None, None] * uneven).astype(np.float32)
    eight += grain
    phases = rng.uniform(0, 2 * np.pi, (n, 1))
    if rate >= 200:
        hum = np.sin(2 * np.pi * 50 * time[None] + phases).astype(np.float32)
        part = rng.uniform(0.3, 1.0, (n, leads, 1)) * noise.mains[:, None, None]
        eight += part.astype(np.float32) * hum[:, None]
    for i in np.flatnonzero(noise.burst_lead >= 0):
        a = int(noise.burst_start[i] * rate)
        b = min(samples, a + int(1.6 * rate))
        eight[i, noise.burst_lead[i], a:b] += np.float32(0.28) * rng.standard_normal(
            b - a, dtype=np.float32
        )
    for i in np.flatnonzero(noise.loose_lead >= 0):
        eight[i, noise.loose_lead[i], int(noise.burst_start[i] * rate * 0.5) :] = 0.0
