"""Searches the preamble and training sequences of the OFDM waveform; prints them as hex digits.

A digit is a phase in sixteenths of a turn, one a carrier. Each is the best of many random starts
whose peaks were flattened by clipping and projecting back to unit carriers: first the lowest
peak-to-average power ratio, then, of the best of those, the lowest sidelobe of the delay-Doppler
ambiguity. Deterministic: `python scripts/make_sequences.py` gives what the package ships.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

OVERSAMPLING = 4


def waveform(phases: npt.NDArray[np.float64], carriers: npt.NDArray[np.int64], size: int):
    """One period, oversampled, of unit mean power."""
    spectrum = np.zeros(size * OVERSAMPLING, complex)
    spectrum[carriers % spectrum.size] = np.exp(1j * phases)
    return np.fft.ifft(spectrum) * spectrum.size / np.sqrt(carriers.size)


def papr_db(digits: npt.NDArray[np.int64], carriers: npt.NDArray[np.int64], size: int) -> float:
    return 10 * np.log10((np.abs(waveform(digits * np.pi / 8, carriers, size)) ** 2).max())


def flattened(
    phases: npt.NDArray[np.float64], carriers: npt.NDArray[np.int64], size: int, rounds: int
) -> npt.NDArray[np.int64]:
    for i in range(rounds):
        x = waveform(phases, carriers, size)
        limit = 1.0 + 0.25 * (1 - i / rounds)
        x /= np.maximum(np.abs(x) / limit, 1.0)
        phases = np.angle(np.fft.fft(x)[carriers % x.size])
    return np.round(phases / (np.pi / 8)).astype(np.int64) % 16


def ambiguity(digits: npt.NDArray[np.int64], carriers: npt.NDArray[np.int64], size: int) -> float:
    """Largest |delay-Doppler ambiguity| of two periods away from the main lobe, 0 to 1."""
    spectrum = np.zeros(size, complex)
    spectrum[carriers % size] = np.exp(1j * digits * np.pi / 8)
    x = np.tile(np.fft.ifft(spectrum) * size / np.sqrt(carriers.size), 2)
    worst = 0.0
    for delay in range(3, size // 2):
        product = x * np.conj(np.roll(x, delay))
        spread = np.abs(np.fft.fft(product, 4 * x.size)) / x.size
        worst = max(worst, float(np.max(np.r_[spread[:33], spread[-32:]])))
    return worst


def search(carriers: npt.NDArray[np.int64], size: int, seed: int, starts: int, rounds: int) -> str:
    rng = np.random.default_rng(seed)
    found: list[tuple[float, npt.NDArray[np.int64]]] = []
    for _ in range(starts):
        digits = flattened(rng.uniform(0, 2 * np.pi, carriers.size), carriers, size, rounds)
        found.append((papr_db(digits, carriers, size), digits))
    found.sort(key=lambda item: item[0])
    best = min(found[:12], key=lambda item: ambiguity(item[1], carriers, size))
    print(
        f"# {carriers.size} carriers of {size}: PAPR {best[0]:.2f} dB, "
        f"ambiguity {ambiguity(best[1], carriers, size):.2f}"
    )
    return "".join(f"{digit:x}" for digit in best[1])


def main() -> None:
    for size, edge in ((256, 104), (512, 208)):
        occupied = np.r_[-edge:0, 1 : edge + 1]
        print(search(occupied, size, size, 100, 300))
        block = size // 8
        print(search(occupied[occupied % 8 == 0] // 8, block, block, 400, 300))


if __name__ == "__main__":
    main()
