"""What may be sent: bandwidth ratios and the symbols they allow."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from lrisc.errors import InputError, finite, shown

DEFAULT_CBR = 1 / 48
"""Ceiling on everything sent, where neither a ceiling nor beta is given."""


def parse_cbr(text: str) -> float:
    """``1/48``, ``0.0208``, ``0,0208`` or ``2 %`` to a number.

    Raises:
        InputError: it is none of them, or not positive and finite.
    """
    plain, percent, rest = text.strip().partition("%")
    if rest or plain.count(",") > 1:
        raise InputError(f"cbr {shown(text)} is neither a fraction such as 1/48 nor a number")
    numerator, slash, denominator = plain.replace(",", ".").partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"cbr {shown(text)} is neither a fraction such as 1/48 nor a number"
        ) from error
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"cbr must be positive, not {shown(text)}")
    return value / 100 if percent else value


def check_cbr(cbr: float | str) -> float:
    """A bandwidth ratio, of a number or of a text such as ``1/48``.

    Raises:
        InputError: it does not lie in (0, 1].
    """
    ratio = parse_cbr(cbr) if isinstance(cbr, str) else finite(cbr, "cbr")
    if not 0 < ratio <= 1:
        raise InputError(f"cbr must lie in (0, 1], such as 1/48, not {ratio:g}")
    return ratio


def check_beta(beta: float) -> None:
    """Raise InputError unless beta can be the rate scale of a frame's header."""
    if not 2**-12 <= finite(beta, "beta") <= 2**4:
        raise InputError(f"beta must lie in [2^-12, 16], such as 0.2, not {beta:g}")


def symbol_budget(cbr: float, height: int, width: int) -> int:
    """Complex symbols that a bandwidth ratio allows for a picture, floor(cbr · 3·H·W)."""
    return math.floor(cbr * (3 * height * width) + 1e-9)


@dataclass(frozen=True)
class SymbolCounts:
    """Complex symbols of one frame, by what they are for; nothing else is sent.

    Attributes:
        pilots: known to the receiver.
        header: size of the picture, lengths, checkpoint.
        side_info: the coded rate map.
        payload: what f_e made of the picture.
    """

    pilots: int
    header: int
    side_info: int
    payload: int

    @property
    def total(self) -> int:
        """Everything that goes over the air."""
        return self.pilots + self.header + self.side_info + self.payload

    @property
    def body(self) -> int:
        """What follows the header."""
        return self.side_info + self.payload

    def to_dict(self) -> dict[str, int]:
        """The four kinds as report.json names them, such as ``pilot_symbols``."""
        return {f"{kind.removesuffix('s')}_symbols": n for kind, n in asdict(self).items()}

    def by_name(self) -> dict[str, int]:
        """The four kinds by what people call them, the payload first."""
        return {
            "payload": self.payload,
            "rate map": self.side_info,
            "header": self.header,
            "pilots": self.pilots,
        }
