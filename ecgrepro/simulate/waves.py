"""Gaussian waves of a vectorcardiogram, and rotations of the heart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Waves:
    """Gaussian waves of one anchor: centre and width in s (N, K), vector in mV (N, K, 3)."""

    centre: FloatArray
    width: FloatArray
    vector: FloatArray

    def take(self, rows: slice | NDArray[np.intp]) -> "Waves":
        """The same for some of the records."""
        return Waves(self.centre[rows], self.width[rows], self.vector[rows])


def vec(x: object, y: object, z: object, n: int) -> FloatArray:
    """Stack three components (numbers or (n,) arrays) to (n, 3)."""
    return np.stack([np.broadcast_to(np.asarray(c, dtype=float), n) for c in (x, y, z)], axis=1)


def rotation(frontal: FloatArray, horizontal: FloatArray, sagittal: FloatArray) -> FloatArray:
    """Rotation matrices (N, 3, 3) from angles in degrees about Z, then Y, then X.

    A positive frontal angle turns the axis clockwise on paper (towards the feet), a positive
    horizontal one turns it to the back.
    """
    a, b, c = (np.deg2rad(angle) for angle in (frontal, horizontal, sagittal))
    one, zero = np.ones_like(a), np.zeros_like(a)
    z = [np.cos(a), -np.sin(a), zero, np.sin(a), np.cos(a), zero, zero, zero, one]
    y = [np.cos(b), zero, -np.sin(b), zero, one, zero, np.sin(b), zero, np.cos(b)]
    x = [one, zero, zero, zero, np.cos(c), -np.sin(c), zero, np.sin(c), np.cos(c)]
    rz, ry, rx = (np.stack(m, axis=-1).reshape(-1, 3, 3) for m in (z, y, x))
    return rx @ ry @ rz
