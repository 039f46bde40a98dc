"""QPSK, 16QAM and 64QAM of TS 38.211 section 5.1: Gray mapped, of unit mean power."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def modulate(bits: Tensor, bits_per_symbol: int) -> Tensor:
    """Bits to symbols.

    Args:
        bits: 0 and 1, (B, n), n a multiple of ``bits_per_symbol``.
        bits_per_symbol: 2, 4 or 6.

    Returns:
        complex64 (B, n / bits_per_symbol).
    """
    half = bits_per_symbol // 2
    # Even bits are the real part's, odd ones the imaginary part's, the first the sign.
    axes = bits.to(torch.int64).unflatten(1, (-1, half, 2))
    weights = 2 ** torch.arange(half - 1, -1, -1)
    levels = _levels(half)[(axes * weights[:, None]).sum(2)]
    return torch.view_as_complex(levels.contiguous())


def soft_bits(symbols: Tensor, noise_variance: Tensor | float, bits_per_symbol: int) -> Tensor:
    """Exact log p(0) / p(1) of every bit, all symbols alike likely.

    Args:
        symbols: equalised, complex64 (B, n).
        noise_variance: of each symbol, (B, n), or of all.
        bits_per_symbol: 2, 4 or 6.

    Returns:
        float32 (B, n · bits_per_symbol).
    """
    half = bits_per_symbol // 2
    levels = _levels(half)
    variance = torch.as_tensor(noise_variance, dtype=torch.float32)[..., None, None]
    axes = torch.view_as_real(symbols)[..., None]
    likely = -(axes - levels).square() / variance  # (B, n, 2, 2^half)
    labels = torch.arange(len(levels))
    found = []
    for bit in range(half - 1, -1, -1):
        one = (labels >> bit & 1).bool()
        found.append(likely[..., ~one].logsumexp(-1) - likely[..., one].logsumexp(-1))
    return torch.stack(found, dim=-2).flatten(1)


@lru_cache(maxsize=3)
def _levels(half: int) -> Tensor:
    """Amplitudes of the two axes by their bits, most significant first, float32 (2^half,)."""
    labels = torch.arange(2**half)
    signs = [1.0 - 2.0 * (labels >> bit & 1) for bit in range(half - 1, -1, -1)]
    levels = torch.ones(2**half)
    for size, sign in zip([2**i for i in range(1, half)], reversed(signs[1:]), strict=True):
        levels = size - sign * levels
    levels = signs[0] * levels
    return levels / (2 * levels.square().mean()).sqrt()
