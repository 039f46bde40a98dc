"""Frames and recordings for the tests of the waveform."""

import numpy as np
import numpy.typing as npt
import torch

from lrisc.link import fec
from lrisc.link.frame import Header, build_frame
from lrisc.link.impairments import Impairments
from lrisc.link.multipath import Realisation
from lrisc.link.waveform.modulator import modulate
from lrisc.link.waveform.numerology import PRESETS, Numerology

Samples = npt.NDArray[np.complex64]
OFDM = PRESETS["ofdm"]
GUARD = 700


def gold(c_init: int, length: int) -> list[int]:
    """The Gold sequence of TS 38.211, 5.2.1, bit by bit as written there."""
    x1, x2 = [1] + [0] * 30, [c_init >> i & 1 for i in range(31)]
    for n in range(length + 1600):
        x1.append((x1[n + 3] + x1[n]) % 2)
        x2.append((x2[n + 3] + x2[n + 2] + x2[n + 1] + x2[n]) % 2)
    return [(x1[n + 1600] + x2[n + 1600]) % 2 for n in range(length)]


def frame_symbols(
    snr_db: float, payload: int = 6000, side_bits: int = 800, seed: int = 0
) -> Samples:
    """Symbols of a frame with a random payload."""
    header = Header(256, 384, 1, side_bits, payload, 99, fec.mcs_for(snr_db).index)
    bits = np.random.default_rng(seed).integers(0, 2, side_bits).astype(np.uint8)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(payload, dtype=torch.complex64, generator=generator)
    return build_frame(header, bits, values).numpy()


def recorded(
    symbols: Samples,
    snr_db: float,
    numerology: Numerology = OFDM,
    *,
    impairments: Impairments | None = None,
    multipath: Realisation | None = None,
    seed: int = 0,
    clip_db: float | None = None,
    guard: int = GUARD,
) -> Samples:
    """A recording with silence before and after the frame, and noise all along."""
    samples = modulate(symbols, numerology, clip_db)
    silence = np.zeros(guard, np.complex64)
    return (impairments or Impairments()).apply(
        np.concatenate([silence, samples, silence]),
        numerology.sample_rate,
        numerology.occupied / numerology.fft_size,
        10 ** (-snr_db / 10),
        seed,
        multipath,
    )


def effective_snr_db(sent: Samples, equalised: torch.Tensor) -> float:
    """SNR whose MMSE estimate has the mean square error that was reached, dB."""
    return snr_of(float(np.mean(np.abs(equalised.numpy() - sent) ** 2)))


def snr_of(error: float) -> float:
    """SNR whose MMSE estimate has a mean square error, dB."""
    return -10 * float(np.log10(error / (1 - error)))
