"""Common phase error of OFDM symbols, where the comb pilots show one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from lrisc.link.waveform.sequences import ComplexArray

FloatArray = npt.NDArray[np.floating[Any]]

# Mean square of phase over its variance by noise: 1 without phase noise, with a standard deviation
# of about 0.13 over a block.
EVIDENCE = 1.6


def common_phase(
    received: ComplexArray,
    sent: ComplexArray,
    response: ComplexArray,
    comb: npt.NDArray[np.bool_],
    noise: float,
) -> tuple[FloatArray | None, npt.NDArray[np.float32]]:
    """Phase of each OFDM symbol against the estimated channel, by its comb pilots.

    θ_m = arg Σ_k (H x)* y has variance v_m = N0 / (2 Σ |H x|²). Where θ² stays at v there is
    nothing to correct; else θ is a random walk whose step maximises the likelihood, smoothed by a
    Kalman filter run forward and back (Rauch, Tung and Striebel).

    Args:
        received: complex64 (rows, occupied), y.
        sent: complex64 (rows, occupied), x.
        response: complex64 (rows, occupied), H.
        comb: bool (rows, occupied), where x is a pilot.
        noise: N0.

    Returns:
        phases float64 (rows,) in rad, or None without evidence; their error variance (rows,).
    """
    expected = np.where(comb, response * sent, 0)
    correlation = (expected.conj() * received).sum(axis=1).astype(np.complex128)
    energy = np.maximum((np.abs(expected) ** 2).sum(axis=1).astype(np.float64), 1e-30)
    theta = np.angle(correlation)
    none = np.zeros(theta.size, np.float32)
    # The residual holds the phase itself; what is across the phase is noise alone.
    across = np.where(comb, np.abs(received - expected * np.exp(1j * theta)[:, None]) ** 2, 0)
    pilots = int(comb[0].sum())
    inner = float(across.sum()) / max(theta.size * (pilots - 0.5), 1.0)
    variance = max(min(noise, inner), 1e-30) / (2 * energy)
    if theta.size < 4 or float(np.mean(theta**2 / variance)) < EVIDENCE:
        return None, none
    steps = variance.mean() * 10.0 ** np.arange(-3.0, 3.1, 0.5)
    best = max(steps, key=lambda q: _smooth(theta, variance, float(q))[2])
    phase, error, _ = _smooth(theta, variance, float(best))
    return phase, error.astype(np.float32)


def _smooth(
    theta: FloatArray, variance: FloatArray, step: float
) -> tuple[FloatArray, FloatArray, float]:
    """Smoothed random walk, its variance, and the log likelihood of the measurements."""
    n = theta.size
    mean, spread = np.zeros(n), np.zeros(n)
    ahead_mean, ahead = 0.0, float(np.mean(theta**2)) + float(variance.mean())
    log_likelihood = 0.0
    for i in range(n):
        if i:
            ahead_mean, ahead = float(mean[i - 1]), float(spread[i - 1]) + step
        total = ahead + float(variance[i])
        innovation = float(theta[i]) - ahead_mean
        log_likelihood -= 0.5 * (np.log(total) + innovation**2 / total)
        gain = ahead / total
        mean[i], spread[i] = ahead_mean + gain * innovation, (1 - gain) * ahead
    for i in range(n - 2, -1, -1):
        predicted = float(spread[i]) + step
        back = float(spread[i]) / predicted
        mean[i] += back * (float(mean[i + 1]) - float(mean[i]))
        spread[i] += back**2 * (float(spread[i + 1]) - predicted)
    return mean, spread, float(log_likelihood)
