"""Known sequences of the OFDM waveform: preamble, training, comb pilots.

The digits come from ``scripts/make_sequences.py``: phases in sixteenths of a turn, one hexadecimal
digit a carrier from the lowest frequency up. The training has random-like phases because a chirp or
Zadoff-Chu sequence confuses delay with Doppler.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lrisc.link.waveform.numerology import PREAMBLE_SIGNS, TRAINING_PERIODS, IntArray, Numerology

ComplexArray = npt.NDArray[np.complex64]

TRAINING_DIGITS = {
    208: (
        "157b1e988573b9f9a99a588f0d98a03ca9d2f9ff0bf875e0a6e07ba374d5b96d25ee72ff"
        "6b8ad2e1be188aa3857c9a5f59fa258e1423471e815788b0905b3a3f1bf46738924b2d4f"
        "cd7f957e607552d011c4e1c05b78aec9181061f98d3eb50aa68bfe8245974ba5"
    ),
    416: (
        "5a1ddbc9d854d0dad32a639f060351734e4e6c5a84fcee32068375f9a886dccac0fff63b"
        "1b6e08f51b86b6fc875e63144462d00c7b7cc29c468ef782de0ca9db4db23956e621ea3a"
        "0660a585c62e0b96472b0510c05c303703bda671fd216a667ad1a7d018ac2aa795fcf914"
        "7eb16cf5f784acb828a39ef87459007dc4c28149608136a69e5527b334f823aa4de76527"
        "e761381395e21710e36b1ed5f81e3788295ff855f562e7e76ff1163b38df3254b5e4447a"
        "b1586d29898da33796c2a181c24535da1bbb8f9853b1be9dcd969b21"
    ),
}
"""Training phases by the number of occupied carriers."""
PREAMBLE_DIGITS = {
    208: "7be34f231242ab18172fac83f7",
    416: "60dedfc4deb9e57acbce20e57f209b0557830bf97fc493cf6e4e",
}
"""Phases of the preamble's block, on carriers that are multiples of 8, by occupied carriers."""

PILOT_SEED = 1
ROTATION_SEED = 2
_GOLD_ADVANCE = 1600


@lru_cache(maxsize=8)
def training_carriers(numerology: Numerology) -> ComplexArray:
    """Training on the carriers, complex64 (occupied,), each of power 1."""
    return _phases(TRAINING_DIGITS[numerology.occupied])


@lru_cache(maxsize=8)
def start_waveform(numerology: Numerology) -> ComplexArray:
    """Preamble and training, complex64 (start_samples,), of mean power occupied / N."""
    n, block = numerology.fft_size, numerology.block
    carriers = numerology.carriers
    spectrum = np.zeros(block, np.complex64)
    spectrum[carriers[carriers % 8 == 0] // 8 % block] = _phases(
        PREAMBLE_DIGITS[numerology.occupied]
    )
    # One period of a block at the power of the OFDM symbols.
    period = np.fft.ifft(spectrum) * block * np.sqrt(8.0 / n)
    signs = np.cumprod((1, *PREAMBLE_SIGNS))
    full = np.zeros(n, np.complex64)
    full[carriers % n] = training_carriers(numerology)
    training = np.tile(np.fft.ifft(full, norm="ortho"), TRAINING_PERIODS)
    return np.concatenate(
        [np.kron(signs, period), training[-numerology.training_prefix :], training]
    ).astype(np.complex64)


def gold_sequence(c_init: int, length: int) -> npt.NDArray[np.uint8]:
    """Pseudo-random bits c(0), c(1), … of TS 38.211, 5.2.1, uint8 (length,)."""
    total = length + _GOLD_ADVANCE + 31
    x1, x2 = np.zeros(total, np.uint8), np.zeros(total, np.uint8)
    x1[0] = 1
    x2[:31] = [c_init >> i & 1 for i in range(31)]
    # Every new bit depends on ones at least 28 back, so 28 at a time can be made.
    for at in range(31, total, 28):
        stop = min(at + 28, total)
        back, width = at - 31, stop - at
        x1[at:stop] = x1[back + 3 : back + 3 + width] ^ x1[back : back + width]
        x2[at:stop] = x2[back : back + width]
        for tap in (1, 2, 3):
            x2[at:stop] ^= x2[back + tap : back + tap + width]
    return (x1 ^ x2)[_GOLD_ADVANCE : _GOLD_ADVANCE + length]


def known_elements(count: int) -> ComplexArray:
    """The first QPSK values of the comb pilots and of the filling, complex64 (count,)."""
    bits = _cached_gold(PILOT_SEED, _grown(2 * count))[: 2 * count].astype(np.float32)
    signs = 1.0 - 2.0 * bits
    return ((signs[::2] + 1j * signs[1::2]) / np.sqrt(2.0)).astype(np.complex64)


def rotations(count: int, modulus: int) -> IntArray:
    """How far the data carriers of each OFDM symbol are turned, int64 (count,).

    16 bits a symbol, most significant first, modulo the number of data carriers.
    """
    bits = _cached_gold(ROTATION_SEED, _grown(16 * count))[: 16 * count].astype(np.int64)
    return bits.reshape(count, 16) @ (1 << np.arange(15, -1, -1)) % modulus


def _phases(digits: str) -> ComplexArray:
    turns = np.array([int(digit, 16) for digit in digits]) / 16.0
    return np.exp(2j * np.pi * turns).astype(np.complex64)


def _grown(length: int) -> int:
    """A power of two at least as long: few different lengths are made, and kept."""
    return 1 << max(12, (max(length, 1) - 1).bit_length())


@lru_cache(maxsize=4)
def _cached_gold(c_init: int, length: int) -> npt.NDArray[np.uint8]:
    return gold_sequence(c_init, length)
