"""The numbers of an OFDM waveform, and where in its grid everything lies.

    | 14 blocks of N/8, signs | 2 prefixes, 2 × N: training | OFDM symbols, prefix + N each |
      preamble                                                comb pilots and data

The grid has one row per OFDM symbol and one column per occupied carrier, lowest frequency first.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError

IntArray = npt.NDArray[np.int64]

PREAMBLE_SIGNS: tuple[int, ...] = (1, -1, -1, -1, -1, 1, 1, -1, 1, 1, 1, -1, 1)
"""Block i + 1 of the preamble is block i times sign i. The signs sum to 1, so that a tone hardly
correlates, and their autocorrelation has no sidelobe above 2 of 13."""
TRAINING_PERIODS = 2


@dataclass(frozen=True)
class Numerology:
    """Sizes of an OFDM waveform; samples and carriers unless another unit is given.

    Attributes:
        name: how the command line calls it.
        sample_rate: samples per second (Hz).
        fft_size: N, samples of an OFDM symbol without its prefix.
        cyclic_prefix: samples; the longest delay spread without interference between symbols.
        edge: carriers -edge to -1 and 1 to edge are occupied; the one at 0 Hz is empty.
        comb: pilots of every OFDM symbol; divides 2 · edge.
    """

    name: str
    sample_rate: float
    fft_size: int
    cyclic_prefix: int
    edge: int
    comb: int

    @property
    def occupied(self) -> int:
        """Occupied carriers of a symbol."""
        return 2 * self.edge

    @property
    def data_carriers(self) -> int:
        """Carriers of a symbol that are no pilots."""
        return self.occupied - self.comb

    @property
    def carriers(self) -> IntArray:
        """Carrier numbers of the grid's columns, int64 (occupied,), ascending, without 0."""
        return np.concatenate([np.arange(-self.edge, 0), np.arange(1, self.edge + 1)])

    @property
    def spacing(self) -> float:
        """Carrier spacing in Hz."""
        return self.sample_rate / self.fft_size

    @property
    def block(self) -> int:
        """Samples of one block of the preamble, N/8: its repetition tells CFO up to 4 carriers."""
        return self.fft_size // 8

    @property
    def preamble_samples(self) -> int:
        """Samples of the preamble."""
        return (len(PREAMBLE_SIGNS) + 1) * self.block

    @property
    def training_prefix(self) -> int:
        """Samples of the prefix before the training: two, to estimate a delay profile."""
        return 2 * self.cyclic_prefix

    @property
    def training_samples(self) -> int:
        """Samples of the training with its prefix."""
        return self.training_prefix + TRAINING_PERIODS * self.fft_size

    @property
    def start_samples(self) -> int:
        """Samples before the first OFDM symbol."""
        return self.preamble_samples + self.training_samples

    @property
    def symbol_samples(self) -> int:
        """Samples of an OFDM symbol with its prefix."""
        return self.fft_size + self.cyclic_prefix

    def ofdm_symbols(self, symbols: int) -> int:
        """OFDM symbols that carry so many symbols of a frame."""
        return -(-symbols // self.data_carriers)

    def samples(self, symbols: int) -> int:
        """Samples on the air for so many symbols of a frame."""
        return self.start_samples + self.ofdm_symbols(symbols) * self.symbol_samples

    def elements(self, symbols: int) -> int:
        """Occupied resource elements for so many symbols of a frame, training and comb included.

        The preamble counts as what it takes: N/8 · 14 samples are 14/8 symbols' worth of carriers.
        """
        rows = self.ofdm_symbols(symbols) + TRAINING_PERIODS
        return rows * self.occupied + math.ceil(
            self.preamble_samples / self.fft_size * self.occupied
        )

    def comb_columns(self, rows: IntArray) -> IntArray:
        """Columns of the comb pilots, int64 (len(rows), comb).

        Pilot p of OFDM symbol m lies in column p · D + (m · step mod D), with D = occupied / comb
        and ``step`` next to the golden section of D: any run of symbols samples all carriers.
        """
        distance = self.occupied // self.comb
        shift = rows * coprime_near_golden(distance) % distance
        return shift[:, None] + distance * np.arange(self.comb)[None, :]

    def is_comb(self, rows: IntArray) -> npt.NDArray[np.bool_]:
        """Where the comb pilots are, bool (len(rows), occupied)."""
        mask = np.zeros((rows.size, self.occupied), dtype=np.bool_)
        np.put_along_axis(mask, self.comb_columns(rows), True, axis=1)
        return mask


PRESETS: dict[str, Numerology] = {
    preset.name: preset
    for preset in (
        Numerology("ofdm", 2e6, 256, 16, 104, 8),
        Numerology("ofdm-long", 2e6, 512, 64, 208, 16),
        Numerology("ofdm-narrow", 48e3, 256, 16, 104, 8),
    )
}
"""``ofdm``: 2 MS/s, delays up to 8 µs, 1.6 MHz wide. ``ofdm-long``: delays up to 32 µs, the same
width. ``ofdm-narrow``: the first at 48 kS/s, 39 kHz wide, delays up to 333 µs."""
SYMBOLS = "symbols"
"""The waveform of one sample a symbol."""
WAVEFORMS: tuple[str, ...] = (SYMBOLS, *PRESETS)
"""What ``--waveform`` takes."""


def numerology(name: str) -> Numerology:
    """The preset of a name; raises InputError for another."""
    if name not in PRESETS:
        raise InputError(f"unknown waveform '{name}'; choose one of {', '.join(WAVEFORMS)}")
    return PRESETS[name]


def on_the_air(symbols: int, waveform: str) -> tuple[int, int]:
    """What so many symbols of a frame take on the air.

    Args:
        symbols: complex symbols of a frame.
        waveform: a name in ``WAVEFORMS``.

    Returns:
        Resource elements (:meth:`Numerology.elements`) and samples; with ``symbols`` both are the
        symbols themselves.
    """
    if waveform == SYMBOLS or symbols == 0:
        return symbols, symbols
    used = numerology(waveform)
    return used.elements(symbols), used.samples(symbols)


@lru_cache(maxsize=16)
def coprime_near_golden(length: int) -> int:
    """The first number from round(length · (√5 - 1)/2) upwards that shares no factor with it."""
    step = max(1, round(length * (math.sqrt(5.0) - 1.0) / 2.0))
    while math.gcd(step, max(length, 1)) != 1:
        step += 1
    return step
