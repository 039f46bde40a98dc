"""Intervals and Bjøntegaard differences against what can be worked out by hand."""

import math

import numpy as np
import pytest

from lrisc.evaluation.statistics import Bjontegaard, Curve, bjontegaard, bootstrap_interval


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(3.0, 1.0, (24, 1)).tolist())
        assert low < high
        inside += low <= 3.0 <= high
    assert 0.88 <= inside / 200 <= 0.99  # percentile intervals of 24 values are a little narrow


def test_several_draws_of_a_picture_are_not_several_pictures() -> None:
    """Taken for pictures of their own, 24 x 3 values would hold the mean 75 % of the time."""
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        draws = rng.normal(3.0, 1.0, (24, 1)) + rng.normal(0.0, 0.3, (24, 3))
        low, high = bootstrap_interval(draws.tolist())
        inside += low <= 3.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_one_picture_has_the_interval_of_its_draws() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(200):
        low, high = bootstrap_interval([rng.normal(3.0, 1.0, 24).tolist()])
        inside += low <= 3.0 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_equal_values_have_no_width() -> None:
    assert bootstrap_interval([[2.0], [2.0, 2.0]]) == (2.0, 2.0)


def curve(scale: float, shift: float = 0.0) -> list[tuple[float, float]]:
    """PSNR that grows by 3 dB an octave."""
    return [(scale * cbr, 30 + 3 * math.log2(48 * cbr) + shift) for cbr in (1 / 96, 1 / 48, 1 / 24)]


def difference(scheme: Curve, anchor: Curve) -> Bjontegaard:
    found = bjontegaard(scheme, anchor)
    assert found is not None
    return found


def test_a_scheme_that_needs_twice_the_symbols() -> None:
    found = difference(curve(2.0), curve(1.0))
    assert found.rate_percent == pytest.approx(100, abs=0.1)
    assert found.quality == pytest.approx(-3, abs=0.01)
    other = difference(curve(1.0), curve(2.0))
    assert other.rate_percent == pytest.approx(-50, abs=0.1)


def test_lpips_that_falls_with_the_rate() -> None:
    anchor = [(1 / 96, 0.4), (1 / 48, 0.3), (1 / 24, 0.2)]
    better = [(cbr, value - 0.05) for cbr, value in anchor]
    found = difference(better, anchor)
    assert found.quality == pytest.approx(-0.05)
    assert found.rate_percent == pytest.approx(100 * (2**-0.5 - 1), abs=0.1)


def test_nothing_in_common() -> None:
    low, high = curve(1.0), curve(100.0)
    assert bjontegaard(low, high) is None
    assert bjontegaard(low[:1], low) is None
    far = difference(low, curve(1.0, shift=50.0))
    assert math.isnan(far.rate_percent)
    assert far.quality == pytest.approx(-50)
    turning = [(1 / 96, 30.0), (1 / 48, 31.0), (1 / 24, 30.5)]
    assert math.isnan(difference(turning, low).rate_percent)


def test_two_targets_that_one_codec_meets_with_the_same_symbols() -> None:
    """DeepJSCC sends 1/48 for the targets 0.017 and 1/48 alike."""
    twice = [*curve(1.0), (1 / 48, 30.2)]
    once = [(cbr, value + 0.1 * (cbr == 1 / 48)) for cbr, value in curve(1.0)]
    assert difference(twice, curve(2.0)) == difference(once, curve(2.0))
    assert bjontegaard([(1 / 48, 30.0), (1 / 48, 30.0)], curve(1.0)) is None
