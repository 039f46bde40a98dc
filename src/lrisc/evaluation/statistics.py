"""What papers print beside a mean: bootstrap intervals and Bjøntegaard differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_RESAMPLES = 2000
_SEED = 0
_GRID = 200
Curve = Sequence[tuple[float, float]]
"""(CBR, quality), any order."""


def bootstrap_interval(
    pictures: Sequence[Sequence[float]], level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap of a mean over pictures and over draws of the channel.

    Pictures are resampled, each with all its draws: their means differ by picture and by draw, so
    that both are inside. Resampling the draws of a picture as well would count them twice (Davison
    and Hinkley 1997, section 3.8). Those of the only picture are resampled.

    Args:
        pictures: for each picture its values, one for every draw; two in all at least, else there
            is nothing to resample.
        level: share of the resampled means inside.

    Returns:
        Lower and upper end; both the only value, where there is one.
    """
    clusters = pictures if len(pictures) > 1 else [[value] for value in pictures[0]]
    sums = np.array([sum(values) for values in clusters], dtype=np.float64)
    counts = np.array([len(values) for values in clusters])
    rng = np.random.default_rng(_SEED)
    drawn = rng.integers(0, len(clusters), (_RESAMPLES, len(clusters)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Bjontegaard:
    """One scheme against another.

    Attributes:
        rate_percent: symbols at equal quality, more (+) or fewer (-) than the other's; NaN where
            they reach no quality both.
        quality: mean difference at equal CBR, in the metric's units.
    """

    rate_percent: float
    quality: float


def bjontegaard(scheme: Curve, anchor: Curve) -> Bjontegaard | None:
    """Bjøntegaard's differences (VCEG-M33) of curves over log CBR.

    Interpolated by monotone cubics (PCHIP), as CompressAI and JCT-VC's sheets do, not by one
    polynomial. Points of one CBR count as their mean: a codec may meet two targets with it.

    Args:
        scheme: two rates at least.
        anchor: the same.

    Returns:
        ``None`` where the two have no range of CBR in common, or one has a single rate.
    """
    from scipy.interpolate import PchipInterpolator

    def sorted_by(curve: Curve) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        rates, owner = np.unique([rate for rate, _ in curve], return_inverse=True)
        quality = np.bincount(owner, [value for _, value in curve]) / np.bincount(owner)
        return np.log(rates), quality

    if min(len({rate for rate, _ in curve}) for curve in (scheme, anchor)) < 2:
        return None
    (a_rate, a), (b_rate, b) = sorted_by(scheme), sorted_by(anchor)
    low, high = max(a_rate[0], b_rate[0]), min(a_rate[-1], b_rate[-1])
    if high <= low:
        return None
    grid = np.linspace(low, high, _GRID)
    difference = PchipInterpolator(a_rate, a)(grid) - PchipInterpolator(b_rate, b)(grid)
    return Bjontegaard(_rate_percent(a_rate, a, b_rate, b), float(difference.mean()))


def _rate_percent(
    a_rate: npt.NDArray[np.float64],
    a: npt.NDArray[np.float64],
    b_rate: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
) -> float:
    """Mean difference of log CBR at equal quality, in per cent."""
    from scipy.interpolate import PchipInterpolator

    # LPIPS falls with the rate; quality must rise to be an axis.
    sign = 1.0 if a[-1] > a[0] else -1.0
    a, b = sign * a, sign * b
    if not ((np.diff(a) > 0).all() and (np.diff(b) > 0).all()):
        return math.nan  # a curve that turns back has no rate of a quality
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if high <= low:
        return math.nan
    grid = np.linspace(low, high, _GRID)
    difference = PchipInterpolator(a, a_rate)(grid) - PchipInterpolator(b, b_rate)(grid)
    return float(np.expm1(difference.mean()) * 100)
