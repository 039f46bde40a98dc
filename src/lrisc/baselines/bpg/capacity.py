"""Bits per symbol that no code can exceed."""

from __future__ import annotations

from lrisc.errors import InputError
from lrisc.link.channels import CHANNELS


def capacity(channel: str, snr_db: float) -> float:
    """Shannon capacity in bits per complex symbol; of fading channels, where the fades are known.

    Args:
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: mean Es/N0 in dB.

    Example:
        >>> round(capacity("awgn", 10), 3)
        3.459

    Raises:
        InputError: an unknown channel, or one whose capacity is not known.
    """
    known = CHANNELS[channel].capacity
    if known is None:
        raise InputError(f"the capacity of the channel '{channel}' is not known")
    return known(snr_db)
