"""LMMSE estimation of a doubly selective channel, with its statistics found by evidence.

The channel at carrier k and time u in [0, 1] of a block is modelled as

    H(k, u) = Σ_l Σ_q a_lq · exp(-j2π k τ_l / N) · c_q(u),    c_0 = 1, c_q = √2 cos(π q u),
    a_lq ~ CN(0, p_l d_q),                                    y = H x + w,  w ~ CN(0, N0)

on delay taps τ_l and cosines in time. The delay profile p, the Doppler profile d and N0 maximise
the evidence p(y) (type-II maximum likelihood: MacKay's fixed point, Neural Computation 1992), and
so does the number of cosines: the Doppler spread need not be known.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lrisc.link.waveform.numerology import IntArray
from lrisc.link.waveform.sequences import ComplexArray

FloatArray = npt.NDArray[np.floating[Any]]
ComplexMatrix = npt.NDArray[np.complex128]

# One more octave of cosines must raise the log evidence by this to be believed.
EVIDENCE_STEP = 3.0
ITERATIONS = 6
# N0 is never taken for less than this share of the received power.
NOISE_FLOOR = 1e-6
# A tap is dropped whose prior is this little against the error of measuring it.
_NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Observations:
    """Known elements of a block.

    Attributes:
        received: complex64 (n,), y.
        sent: complex64 (n,), x.
        carriers: int64 (n,), k.
        times: float64 (n,), u in [0, 1].
    """

    received: ComplexArray
    sent: ComplexArray
    carriers: IntArray
    times: FloatArray


@dataclass(frozen=True)
class ChannelEstimate:
    """Posterior of the channel given the observations.

    Attributes:
        delays: int64 (L,), τ in samples after the start of the FFT window.
        profile: float64 (L,), p, power of each tap.
        doppler: float64 (Q,), d, share of each cosine; d_0 = 1.
        mean: complex128 (L, Q), posterior mean of a.
        covariance: complex128 (L·Q, L·Q), tap-major.
        noise: N0 per element.
        log_evidence: of the observations, in nats.
        fft_size: N.
    """

    delays: IntArray
    profile: FloatArray
    doppler: FloatArray
    mean: ComplexMatrix
    covariance: ComplexMatrix
    noise: float
    log_evidence: float
    fft_size: int

    def response(self, carriers: IntArray, times: FloatArray) -> ComplexArray:
        """Posterior mean of H, complex64 (len(times), len(carriers))."""
        taps = _cosines(times, self.doppler.size) @ self.mean.T
        return (taps @ self._steering(carriers).T).astype(np.complex64)

    def error_variance(self, carriers: IntArray, times: FloatArray) -> npt.NDArray[np.float32]:
        """Posterior variance of H, float32 (len(times), len(carriers))."""
        count, order = self.delays.size, self.doppler.size
        steering = self._steering(carriers)
        cosines = _cosines(times, order)
        blocks = self.covariance.reshape(count, order, count, order)
        half = np.einsum("lqmr,tr->tlqm", blocks, cosines, optimize=True)
        per_time = np.einsum("tlqm,tq->tlm", half, cosines, optimize=True)
        turned = steering[None] @ per_time
        variance = np.einsum("tkm,km->tk", turned, steering.conj(), optimize=True).real
        return np.maximum(variance, 0.0).astype(np.float32)

    def _steering(self, carriers: IntArray) -> npt.NDArray[np.complex128]:
        return np.exp(-2j * np.pi / self.fft_size * np.outer(carriers, self.delays))


def estimate(
    observations: Observations,
    delays: IntArray,
    profile: FloatArray,
    noise: float,
    fft_size: int,
    max_order: int,
) -> ChannelEstimate:
    """Estimate the channel of a block, its profiles and its noise.

    Args:
        observations: known elements.
        delays: int64 (L,) taps that are possible, ascending.
        profile: float64 (L,) power of each to begin with, all positive.
        noise: N0 to begin with.
        fft_size: N.
        max_order: largest number of cosines Q.
    """
    best: ChannelEstimate | None = None
    order = min(2, max_order)
    while True:
        fitted = _fit(observations, delays, profile, noise, fft_size, order)
        if best is not None and fitted.log_evidence < best.log_evidence + EVIDENCE_STEP:
            return best
        best = fitted
        if order >= max_order:
            return best
        delays, profile, noise = fitted.delays, fitted.profile, fitted.noise
        order = min(2 * order, max_order)


@dataclass(frozen=True)
class _Posterior:
    """Posterior of the coefficients for given profiles and noise; ``inverse`` is (I + PG/N0)^-1."""

    mean: ComplexMatrix
    covariance: ComplexMatrix
    inverse: ComplexMatrix
    explained: float
    residual: float
    log_evidence: float


def _fit(
    observations: Observations,
    delays: IntArray,
    profile: FloatArray,
    noise: float,
    fft_size: int,
    order: int,
) -> ChannelEstimate:
    """Profiles and noise of most evidence for a fixed number of cosines."""
    n = observations.received.size
    energy = float(np.sum(np.abs(observations.received.astype(np.complex128)) ** 2))
    weights = np.abs(observations.sent.astype(np.complex128)) ** 2
    floor = max(NOISE_FLOOR * energy / n, 1e-30)
    noise = max(noise, floor)
    doppler: FloatArray = 0.5 / np.maximum(np.arange(order), 0.5) ** 2
    doppler[0] = 1.0
    gram, matched = _normal_equations(observations, weights, delays, fft_size, order)
    for _ in range(ITERATIONS):
        now = _posterior(gram, matched, np.outer(profile, doppler).reshape(-1), noise, energy, n)
        # How far each coefficient is determined by what was seen, 0 to 1.
        determined = np.clip(1.0 - np.real(np.diagonal(now.inverse)), 1e-12, 1.0)
        determined = determined.reshape(-1, order)
        power = np.abs(now.mean.reshape(-1, order)) ** 2
        noise = max(now.residual / max(n - float(determined.sum()), 1.0), floor)
        profile = (power / doppler).sum(axis=1) / determined.sum(axis=1)
        shares = (power / np.maximum(profile, 1e-300)[:, None]).sum(axis=0)
        shares = shares / determined.sum(axis=0)
        doppler = np.clip(shares / max(float(shares[0]), 1e-30), 1e-9, 10.0)
        keep = profile * weights.sum() > _NEGLIGIBLE * noise
        keep[int(profile.argmax())] = True
        if not keep.all():
            delays, profile = delays[keep], profile[keep]
            index = np.flatnonzero(np.repeat(keep, order))
            gram, matched = gram[np.ix_(index, index)], matched[index]
    last = _posterior(gram, matched, np.outer(profile, doppler).reshape(-1), noise, energy, n)
    return ChannelEstimate(
        delays,
        profile,
        doppler,
        last.mean.reshape(-1, order),
        last.covariance,
        noise,
        last.log_evidence,
        fft_size,
    )


def _posterior(
    gram: ComplexMatrix,
    matched: ComplexMatrix,
    prior: FloatArray,
    noise: float,
    energy: float,
    n: int,
) -> _Posterior:
    # On first use: it takes a seventh of a second, and most frames need none of it.
    from scipy.linalg import cho_factor, cho_solve

    root = np.sqrt(prior)
    system = np.eye(prior.size) + root[:, None] * gram * root[None, :] / noise
    factor = cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    identity = np.eye(prior.size, dtype=np.complex128)
    inverse: ComplexMatrix = cho_solve(factor, identity, check_finite=False)
    covariance = root[:, None] * inverse * root[None, :]
    mean = covariance @ matched / noise
    explained = float(np.real(np.vdot(matched, mean)))
    log_determinant = 2.0 * float(np.log(np.real(np.diagonal(factor[0]))).sum())
    log_evidence = -n * math.log(math.pi * noise) - log_determinant - (energy - explained) / noise
    residual = energy - 2 * explained + float(np.real(np.vdot(mean, gram @ mean)))
    return _Posterior(mean, covariance, inverse, explained, residual, log_evidence)


def _normal_equations(
    observations: Observations, weights: FloatArray, delays: IntArray, fft_size: int, order: int
) -> tuple[ComplexMatrix, ComplexMatrix]:
    """A^H A and A^H y for A = x · (taps ⊗ cosines), both tap-major.

    The product of two taps depends on their distance alone, that of two cosines on sum and
    difference of their orders; so A^H A comes from a small table instead of from A.
    """
    carriers, times = observations.carriers, observations.times
    span = int(delays[-1] - delays[0]) + 1
    lags = np.exp(2j * np.pi / fft_size * np.outer(np.arange(span), carriers))
    harmonics = np.cos(np.pi * np.outer(times, np.arange(2 * order - 1)))
    table = (lags * weights) @ harmonics
    lag = delays[:, None] - delays[None, :]
    by_lag = table[np.abs(lag)]
    by_lag = np.where(lag[..., None] < 0, by_lag.conj(), by_lag)
    q = np.arange(order)
    scale = np.where(q > 0, np.sqrt(2.0), 1.0)
    sums, differences = q[:, None] + q[None, :], np.abs(q[:, None] - q[None, :])
    gram = 0.5 * (by_lag[..., sums] + by_lag[..., differences]) * np.outer(scale, scale)
    size = delays.size * order
    gram = gram.transpose(0, 2, 1, 3).reshape(size, size).astype(np.complex128)
    steering = np.exp(2j * np.pi / fft_size * np.outer(delays, carriers))
    turned = observations.received * observations.sent.conj().astype(np.complex128)
    matched = (steering * turned) @ _cosines(times, order)
    return gram, matched.reshape(-1)


def _cosines(times: FloatArray, order: int) -> FloatArray:
    """c_q(u), float64 (len(times), order)."""
    values = np.cos(np.pi * np.outer(times, np.arange(order)))
    values[:, 1:] *= np.sqrt(2.0)
    return values
