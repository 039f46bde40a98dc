"""Bits per symbol that no code can exceed."""

from __future__ import annotations

import numpy as np

from lrisc.errors import InputError

_ORDER = 100


def capacity(channel: str, snr_db: float) -> float:
    """Shannon capacity in bits per complex symbol.

    Args:
        channel: "awgn", or "rayleigh" for the ergodic capacity, the receiver knowing the fades.
        snr_db: mean Es/N0 in dB.

    Example:
        >>> round(capacity("awgn", 10), 3)
        3.459

    Raises:
        InputError: another channel.
    """
    snr = 10 ** (snr_db / 10)
    if channel == "awgn":
        return float(np.log2(1 + snr))
    if channel == "rayleigh":
        # The power of the fades is exponential, which is Gauss-Laguerre's own weight.
        power, weight = np.polynomial.laguerre.laggauss(_ORDER)
        return float(np.sum(weight * np.log2(1 + snr * power)))
    raise InputError(f"the capacity of the channel '{channel}' is not known")
