"""The disturbances of a ward: breathing, muscle, mains, bursts and loose electrodes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]


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
        return Disturbances(
            self.drift[rows],
            self.muscle[rows],
            self.mains[rows],
            self.burst_lead[rows],
            self.burst_start[rows],
            self.loose_lead[rows],
        )


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
