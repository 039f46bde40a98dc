"""What may be sent: bandwidth ratios and the symbols they allow."""

from __future__ import annotations

import math

from lrisc.errors import InputError


def parse_cbr(text: str) -> float:
    """``1/48`` or ``0.0208`` to a number.

    Raises:
        InputError: it is neither, or not positive and finite.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"cbr '{text}' is neither a fraction such as 1/48 nor a number") from error
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"cbr must be positive, not '{text}'")
    return value


def check_cbr(cbr: float) -> None:
    """Raise InputError unless the bandwidth ratio lies in (0, 1]."""
    if not 0 < cbr <= 1:
        raise InputError(f"cbr must lie in (0, 1], such as 1/48, not {cbr:g}")


def symbol_budget(cbr: float, height: int, width: int) -> int:
    """Complex symbols that a bandwidth ratio allows for a picture, floor(cbr · 3·H·W)."""
    return math.floor(cbr * (3 * height * width) + 1e-9)
