"""The header of a frame: what the receiver must know first, as few bits as possible."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError
from lrisc.link import fec
from lrisc.link.budget import SymbolCounts

Bits = npt.NDArray[np.uint8]

VERSION = 2
PILOT_SYMBOLS = 32

# Width in bits of each header field, in sending order; height and width are sent minus one.
_FIELD_BITS = {
    "version": 4,
    "height": 12,
    "width": 12,
    "checkpoint_id": 16,
    "side_info_bits": 20,
    "payload_symbols": 24,
    "rate_scale_index": 7,
    "power_index": 1,
    "mcs_index": 4,
}
_SENT_MINUS_ONE = ("height", "width")
HEADER_BITS = sum(_FIELD_BITS.values())
HEADER_SYMBOLS = fec.symbol_count(HEADER_BITS, fec.MOST_ROBUST)

# A 16x16 patch costs at most this much in any preset. Presets pad pictures to multiples of 16 or
# 32 pixels; the bound below rounds up to 64.
_PATCH_BITS = 8
_PATCH_SYMBOLS = 256

_SCALE_LOG2 = (-12.0, 4.0)


def rate_scale_to_index(rate_scale: float) -> int:
    """Nearest of 128 rate scales spaced evenly in log2 from 2^-12 to 2^4 (steps of 9.1 %)."""
    low, high = _SCALE_LOG2
    if not (math.isfinite(rate_scale) and rate_scale > 0):
        raise InputError(f"a rate scale must be positive, not {rate_scale}")
    return min(127, max(0, round((math.log2(rate_scale) - low) / (high - low) * 127)))


@dataclass(frozen=True)
class Header:
    """What the receiver must know before anything else.

    Attributes:
        height, width: of the picture in pixels, 1..4096, without padding.
        checkpoint_id: 16 bits that name the networks.
        side_info_bits: length of the coded rate map.
        payload_symbols: complex symbols of the JSCC encoder.
        rate_scale_index: see ``rate_scale_to_index``.
        power_index: 0 for equal power throughout, 1 where it follows the rate map, see
            `lrisc.link.packing`.
        mcs_index: scheme of the side information.
        version: of this format.
    """

    height: int
    width: int
    checkpoint_id: int
    side_info_bits: int
    payload_symbols: int
    rate_scale_index: int
    mcs_index: int
    power_index: int = 0
    version: int = VERSION

    @property
    def mcs(self) -> fec.Mcs:
        """Scheme of the side information."""
        return fec.MCS_TABLE[self.mcs_index]

    @property
    def counts(self) -> SymbolCounts:
        """What the frame's symbols are for."""
        side_info = fec.symbol_count(self.side_info_bits, self.mcs)
        return SymbolCounts(PILOT_SYMBOLS, HEADER_SYMBOLS, side_info, self.payload_symbols)

    @property
    def frame_symbols(self) -> int:
        """Complex symbols of the whole frame."""
        return self.counts.total

    def pack(self) -> Bits:
        """Bits of the header, uint8 (HEADER_BITS,), most significant first."""
        bits: list[str] = []
        for name, width in _FIELD_BITS.items():
            value = int(getattr(self, name)) - (name in _SENT_MINUS_ONE)
            if not 0 <= value < 1 << width:
                raise InputError(f"the header cannot carry {name} = {getattr(self, name)}")
            bits.append(format(value, f"0{width}b"))
        if not self._is_possible():
            raise InputError("the header would describe no possible picture")
        return np.array([int(bit) for bit in "".join(bits)], dtype=np.uint8)

    @classmethod
    def unpack(cls, bits: Bits) -> "Header":
        """Read packed bits.

        Raises:
            InputError: another version of the format, or contents no transmitter would send.
        """
        if bits.shape != (HEADER_BITS,):
            raise InputError(f"a header has {HEADER_BITS} bits, not {bits.size}")
        text = "".join(str(int(bit)) for bit in bits)
        values: dict[str, int] = {}
        for name, width in _FIELD_BITS.items():
            values[name] = int(text[:width], 2) + (name in _SENT_MINUS_ONE)
            text = text[width:]
        header = cls(**values)
        if header.version != VERSION:
            raise InputError(
                f"the frame has format version {header.version}; this receiver reads {VERSION}"
            )
        if not header._is_possible():
            raise InputError("the frame's header passes its CRC but describes no possible picture")
        return header

    def _is_possible(self) -> bool:
        patches = math.ceil(self.height / 64) * math.ceil(self.width / 64) * 16
        return (
            self.mcs_index < len(fec.MCS_TABLE)
            and self.side_info_bits <= _PATCH_BITS * patches
            and self.payload_symbols <= _PATCH_SYMBOLS * patches
        )
