"""The heart as one moving dipole: Gaussian waves on a vectorcardiogram, seen from twelve leads.

Each wave is a Gaussian in time times a vector (X to the left, Y to the feet, Z to the back, in mV).
Disease changes vectors, times and widths. The eight independent leads are Dower's projection
(Dower, Machado & Osborne, Clin Cardiol 1980; 3: 87); the other four follow from Einthoven and
Goldberger. Amplitude-modulated Gaussians as ECG waves: McSharry et al., IEEE Trans Biomed Eng 2003.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgrepro.simulate.disease import COMPLETE_LBBB, COMPLETE_RBBB

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


DOWER = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],  # V2
        [0.882, 0.098, -1.277],  # V3
        [1.213, 0.127, -0.601],  # V4
        [1.125, 0.127, -0.086],  # V5
        [0.831, 0.076, 0.230],  # V6
    ]
)
"""Leads I, II, V1-V6 from X, Y, Z; shape (8, 3)."""


@dataclass(frozen=True)
class Hearts:
    """What a beat looks like: waves timed from R (qrs, t, ectopic), from the P wave (p).

    `ectopic` holds QRS (first two) and T (last) of a ventricular beat; `fibrillation` (N,) and
    `flutter` (N,) are amplitudes in mV of the atrial activity between beats.
    """

    qrs: Waves
    t: Waves
    p: Waves
    spike: Waves
    ectopic: Waves
    fibrillation: FloatArray
    flutter: FloatArray

    def take(self, rows: slice) -> "Hearts":
        """The same for some of the records."""
        parts: dict[str, Any] = {
            name: part.take(rows) if isinstance(part, Waves) else part[rows]
            for name, part in vars(self).items()
        }
        return Hearts(**parts)


def build_hearts(states: pd.DataFrame, rng: np.random.Generator) -> Hearts:
    """Turn latent states into waves; individual variation of gain, width and orientation included."""
    n = len(states)
    s = {
        name: states[name].to_numpy(dtype=float)
        for name in states.columns
        if name[0] != "x" and states[name].dtype.kind == "f"
    }
    tilt = -3.0 - 0.45 * (s["age"] - 60) - 8.0 * s["lvh"] + 14.0 * s["u_frontal"]
    turn = rotation(tilt, 10.0 * s["u_horizontal"] - 4.0, 7.0 * s["u_sagittal"])
    qrs = _qrs_waves(s, states["rhythm"].to_numpy(), n, rng)
    t = _t_waves(s, states, n, rng)
    qrs = Waves(qrs.centre, qrs.width, np.einsum("nij,nkj->nki", turn, qrs.vector))
    half = rotation(0.5 * tilt, 5.0 * s["u_horizontal"], 4.0 * s["u_sagittal"])
    t = Waves(t.centre, t.width, np.einsum("nij,nkj->nki", half, t.vector))
    p, spike = _p_waves(s, states["rhythm"].to_numpy(), n, rng)
    rhythm = states["rhythm"].to_numpy()
    coarse = 0.035 + 0.045 * s["fibrillation"] + rng.uniform(0.0, 0.03, n)
    return Hearts(
        qrs,
        t,
        p,
        spike,
        _ectopic_waves(n, rng),
        np.where(rhythm == "fibrillation", coarse, 0.0),
        np.where(rhythm == "flutter", rng.uniform(0.09, 0.2, n), 0.0),
    )


def _qrs_waves(
    s: dict[str, FloatArray], rhythm: NDArray[np.str_], n: int, rng: np.random.Generator
) -> Waves:
    """Depolarisation: septum, free wall, base; then what infarct, block and hypertrophy do."""
    gain = np.exp(0.25 * s["u_voltage"] + 0.02 * rng.standard_normal(n))
    gain *= np.clip(1 - 0.62 * s["low_voltage"], 0.3, 1)
    paced = (rhythm == "paced").astype(float)
    left = np.maximum(np.minimum(s["lbbb"] / COMPLETE_LBBB, 1.0), paced)
    right = np.minimum(s["rbbb"] / COMPLETE_RBBB, 1.3)
    lvh, rvh = s["lvh"], s["rvh"]
    septal = vec(-0.14, -0.04, -0.30, n) * np.exp(0.30 * s["u_septum"])[:, None]
    main = vec(1.26, 0.80, 0.26, n)
    basal = vec(-0.06, -0.10, 0.70, n) * np.exp(0.22 * s["u_basal"])[:, None]
    terminal = vec(-0.16, -0.12, 0.12, n) * rng.uniform(0.2, 1.6, (n, 1))
    main *= (1 + 0.72 * lvh[:, None]) * np.array([1.0, 0.85, 1.1])
    basal *= 1 + 0.60 * lvh[:, None]
    # left bundle branch block: no septal q, two broad humps to the left and back
    septal *= (1 - left)[:, None]
    septal += left[:, None] * vec(0.20, 0.05, 0.30, n)
    main = main * (1 - 0.85 * left[:, None]) + left[:, None] * vec(0.62, 0.32, 1.05, n)
    basal = basal * (1 - 0.9 * left[:, None])
    second = left[:, None] * (
        vec(0.66, 0.10, 1.20, n) * (1 - paced)[:, None] + paced[:, None] * vec(0.35, -0.75, 0.6, n)
    )
    main -= paced[:, None] * vec(0.25, 1.05, 0.2, n)
    terminal *= (1 - left)[:, None]
    # right bundle branch block: a late force to the right and front (rSR' in V1, broad S in I, V6)
    late = right[:, None] * vec(-0.62, 0.02, -0.62, n)
    terminal *= np.clip(1 - right, 0, 1)[:, None]
    # intraventricular delay: a slurred second hump
    second += s["ivcd"][:, None] * vec(0.22, -0.05, 0.30, n)
    # fascicular blocks: early force one way, main and terminal the other, in the frontal plane
    up, down = np.minimum(s["lafb"], 1.3), np.minimum(s["lpfb"], 1.3)
    septal += up[:, None] * vec(-0.08, 0.22, 0.0, n) + down[:, None] * vec(0.12, -0.25, 0.0, n)
    main += up[:, None] * vec(0.05, -0.62, 0.02, n) + down[:, None] * vec(-0.95, 0.25, 0.05, n)
    second += up[:, None] * vec(0.02, -0.58, 0.12, n) + down[:, None] * vec(-0.25, 0.30, 0.0, n)
    # right ventricular hypertrophy: forces to the right and front
    main += rvh[:, None] * vec(-0.95, 0.08, -1.15, n)
    basal += rvh[:, None] * vec(-0.35, 0.05, -0.25, n)
    # infarcts: early forces point away from the dead wall, and the wall's R wave shrinks
    low, front, tip, side, back = (
        s[name][:, None]
        for name in ("inferior", "anteroseptal", "anterior", "lateral", "posterior")
    )
    necrosis = (
        low * vec(0.05, -0.72, 0.03, n)
        + front * vec(0.02, 0.02, 0.66, n)
        + tip * vec(-0.40, 0.0, 0.62, n)
        + side * vec(-0.62, 0.03, 0.02, n)
    )
    septal *= np.clip(1 - 0.75 * front - 0.5 * tip, 0.05, 1)
    main *= 1 - np.concatenate(
        [0.30 * np.clip(side + tip, 0, 1.8), 0.42 * np.clip(low, 0, 1.6), 0 * low], axis=1
    )
    main += front * vec(0.0, 0.0, 0.34, n) + tip * vec(-0.12, 0.0, 0.32, n)
    main += back * vec(0.0, 0.0, -0.65, n)
    basal += back * vec(0.0, 0.0, -0.45, n)
    # pre-excitation: a slow start along the accessory pathway
    fast = np.minimum(s["preexcitation"], 1.4)[:, None]
    delta = fast * (vec(0.33, 0.10, -0.18, n) + vec(0, 1, 0, n) * rng.uniform(-0.4, 0.2, (n, 1)))
    septal *= np.clip(1 - fast, 0.1, 1)

    stretch = s["qrs_ms"] / 92.0
    ms = np.array([-22.0, 0.0, 19.0, 31.0, -17.0, 30.0, 40.0, -40.0])
    width = np.array([8.0, 10.5, 9.0, 8.0, 10.5, 13.0, 14.5, 14.0])
    jitter = np.exp(0.06 * rng.standard_normal((n, ms.size)))
    slurred = 1 + 0.45 * left[:, None] * np.array([1, 1, 0, 0, 0, 0.6, 0, 0])
    # a right block adds time after a normal start, so only the late wave moves and widens
    normal_start = np.where(s["rbbb"] > 0, np.minimum(stretch, 1.06), stretch)[:, None]
    times = ms * np.concatenate([normal_start.repeat(6, 1), stretch[:, None], normal_start], axis=1)
    times[:, 1] -= 6.0 * left
    times[:, 5] -= 2.0 * left
    centre = (times * 1e-3).astype(float)
    vector = np.stack([septal, main, basal, terminal, necrosis, second, late, delta], axis=1)
    widths = width * 1e-3 * jitter * slurred * normal_start
    widths[:, 6] *= (stretch / normal_start[:, 0]) ** 0.5
    return Waves(centre, widths, vector * gain[:, None, None])


_REGION_AXIS = {  # direction in which a subendocardial lesion turns T (and, smaller, ST)
    "": (-0.62, -0.50, 0.25),
    "AL": (-0.85, -0.05, 0.25),
    "IN": (-0.05, -0.95, 0.05),
    "IL": (-0.65, -0.70, 0.0),
    "AS": (0.05, 0.0, 0.95),
    "LA": (-0.95, 0.10, -0.10),
    "AN": (-0.40, 0.0, 0.85),
}


def _axes(regions: pd.Series) -> FloatArray:
    """Direction by ECG, shape (N, 3)."""
    return np.array([_REGION_AXIS[region] for region in regions])


def _t_waves(
    s: dict[str, FloatArray], states: pd.DataFrame, n: int, rng: np.random.Generator
) -> Waves:
    """Repolarisation: ST, an asymmetric T, U; then ischaemia, strain, block, drugs, salts."""
    gain = np.exp(0.24 * s["u_t_axis"] - 0.16 * states["x_flat_t"].to_numpy().clip(-6, 1.6))
    gain *= np.clip(1 - 0.35 * s["flat_t"], 0.25, 1) * np.clip(1 - 0.35 * s["low_voltage"], 0.4, 1)
    gain *= np.where(states["male"].to_numpy() > 0, 1.06, 0.90) * 0.80
    t = vec(0.31, 0.23, -0.20, n) * gain[:, None]
    t += 0.035 * rng.standard_normal((n, 3))
    st = vec(0.015, 0.012, -0.035, n) * (1.0 + 0.5 * rng.standard_normal((n, 1)))
    ischemia = s["ischemia"][:, None] * _axes(states["ischemia_region"])
    injury = s["injury"][:, None] * _axes(states["injury_region"])
    t += 0.40 * ischemia + 0.15 * injury
    st += 0.075 * ischemia + 0.19 * injury
    walls = (
        s["inferior"][:, None] * np.array([0.0, -1.0, 0.0])
        + s["anteroseptal"][:, None] * np.array([0.0, 0.0, 0.9])
        + s["anterior"][:, None] * np.array([-0.4, 0.0, 0.9])
        + s["lateral"][:, None] * np.array([-1.0, 0.0, 0.0])
        + s["posterior"][:, None] * np.array([0.0, 0.0, -0.9])
    )
    acute = s["acute"][:, None]
    t += walls * (0.13 + 0.10 * acute)
    st -= walls * 0.22 * acute  # a fresh infarct pulls ST towards its wall
    st += s["aneurysm"][:, None] * np.array([0.08, 0.0, -0.24])
    strain = np.clip(s["lvh"] - 0.35, 0, 2)[:, None]
    t += strain * np.array([-0.46, -0.22, 0.14])
    st += strain * np.array([-0.10, -0.05, 0.09])
    t += s["rvh"][:, None] * np.array([0.12, -0.05, 0.35])
    paced = states["rhythm"].to_numpy() == "paced"
    left = np.maximum(np.minimum(s["lbbb"] / COMPLETE_LBBB, 1.0), paced)[:, None]
    t = t * (1 - 0.5 * left) + left * np.array([-0.32, 0.02, -0.52])
    st += left * np.array([-0.12, 0.0, -0.20])
    t += paced[:, None] * np.array([0.08, 0.30, 0.1])
    right = np.minimum(s["rbbb"], 1.2)[:, None]
    t += right * np.array([0.06, 0.0, 0.24])
    t += np.minimum(s["preexcitation"], 1.3)[:, None] * np.array([-0.25, -0.08, 0.12])
    dig, salt = s["digitalis"][:, None], s["electrolyte"][:, None]
    st += dig * np.array([-0.19, -0.15, 0.07])
    st += salt * np.array([-0.05, -0.04, 0.02])
    t *= np.clip(1 - 0.45 * dig - 0.5 * salt, 0.1, 1)
    u = vec(0.012, 0.012, -0.03, n) * rng.uniform(0, 1.5, (n, 1)) + salt * [0.08, 0.06, -0.15]

    qt = s["qt_ms"] * 1e-3 - 0.5 * s["qrs_ms"] * 1e-3  # from R to the end of T
    sigma = (0.118 * s["qt_ms"] * 1e-3) * np.exp(0.10 * rng.standard_normal(n))
    peak = qt - 1.95 * sigma
    junction = 0.5 * s["qrs_ms"] * 1e-3
    st_centre = junction + 0.38 * (peak - junction)
    centre = np.stack([st_centre, peak - 1.25 * sigma, peak, qt + 0.07], axis=1)
    width = np.stack([0.30 * (peak - junction), 1.15 * sigma, 0.86 * sigma, 0.035 + 0 * qt], axis=1)
    width = np.maximum(width, 0.018)
    return Waves(centre, width, np.stack([st, 0.38 * t, 0.86 * t, u], axis=1))


def _p_waves(
    s: dict[str, FloatArray], rhythm: NDArray[np.str_], n: int, rng: np.random.Generator
) -> tuple[Waves, Waves]:
    """Atria: right then left; and the pacing spike, timed from R."""
    size = np.exp(0.25 * rng.standard_normal((n, 1)))
    dilated = s["left_atrium"] + 0.25 * s["fibrillation"]
    right = vec(0.030, 0.085, -0.035, n) * (size + 1.1 * s["right_atrium"][:, None])
    left = vec(0.055, 0.050, 0.030, n) * size
    left += dilated[:, None] * np.array([0.025, 0.012, 0.075])
    gap = 0.013 + 0.012 * dilated + 0.002 * rng.standard_normal(n)
    width = np.stack([0.016 + 0 * gap, 0.017 + 0.003 * dilated], axis=1)
    p = Waves(np.stack([-gap, gap], axis=1), width, np.stack([right, left], axis=1))
    height = np.where(rhythm == "paced", rng.uniform(0.7, 2.2, n), 0.0)
    spike = Waves(
        -(0.5 * s["qrs_ms"] * 1e-3)[:, None] - 0.014,
        np.full((n, 1), 0.0016),
        (vec(0.25, -0.8, 0.3, n) * height[:, None])[:, None, :],
    )
    return p, spike


def _ectopic_waves(n: int, rng: np.random.Generator) -> Waves:
    """A ventricular beat: two broad humps from a random focus, T the other way."""
    focus = rng.uniform(size=n) < 0.65  # from the right ventricle: like a left block
    axis = vec(
        np.where(focus, 0.75, -0.65),
        rng.uniform(-1.1, 1.1, n),
        np.where(focus, 0.85, -0.75),
        n,
    ) * rng.uniform(0.75, 1.35, (n, 1))
    tweak = 0.22 * rng.standard_normal((n, 3))
    stretch = rng.uniform(0.85, 1.2, (n, 1))
    centre = np.array([-0.018, 0.030, 0.275]) * stretch
    width = np.array([0.024, 0.026, 0.058]) * stretch
    vector = np.stack([axis + tweak, 0.7 * axis - tweak, -0.42 * axis], axis=1)
    return Waves(centre, width, vector)


def frontal_axis(hearts: Hearts) -> FloatArray:
    """Mean QRS axis in the frontal plane in degrees (0 to the left, 90 to the feet); shape (N,).

    From the net areas of leads I and aVF: a = atan2(2 aVF / sqrt(3), I).
    """
    area = (hearts.qrs.vector * hearts.qrs.width[..., None]).sum(axis=1)
    lead_1, lead_2 = area @ DOWER[0], area @ DOWER[1]
    return np.rad2deg(np.arctan2((lead_2 - lead_1 / 2) * 2 / np.sqrt(3.0), lead_1))
