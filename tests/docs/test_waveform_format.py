"""The OFDM waveform, written from docs/reference/frame-format.md and not from the package."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from tests.link.waveform.signals import frame_symbols, gold

from lrisc.link.waveform.modulator import modulate
from lrisc.link.waveform.numerology import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "frame-format.md").read_text()
SECTION = PAGE[PAGE.index("## OFDM waveform") :]


def digits(title: str) -> np.ndarray:
    block = re.search(rf"{title}.*?```text\n([0-9a-f\n]+)```", SECTION, re.S)
    assert block
    return np.array([int(d, 16) for d in block[1].replace("\n", "")])


def table() -> dict[str, tuple[float, int, int, int, int, int]]:
    rows = re.findall(
        r"\| `(ofdm[a-z-]*)` \| (\d+) ([Mk])Hz \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|",
        SECTION,
    )
    scale = {"M": 1e6, "k": 1e3}
    return {
        name: (float(rate) * scale[unit], int(n), int(g), int(k), int(c), int(d))
        for name, rate, unit, n, g, k, c, d in rows
    }


def period(carriers: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    time = np.arange(n)
    return (np.exp(2j * np.pi * np.outer(time, carriers) / n) @ values) / math.sqrt(n)


def transmit(symbols: np.ndarray, n: int, g: int, k: int, c: int, d: int) -> np.ndarray:
    occupied = np.array([*range(-k, 0), *range(1, k + 1)])
    eighth = np.array([q for q in occupied if q % 8 == 0])
    phases = np.exp(2j * np.pi * digits(f"Preamble, K = {k}") / 16)
    block = period(eighth, math.sqrt(8) * phases, n)[: n // 8]
    signs = re.search(r"```text\n([+ -]+)\n```", SECTION)
    assert signs
    parts = [block]
    for sign in signs[1].split():
        parts.append(parts[-1] * (1 if sign == "+" else -1))
    training = period(occupied, np.exp(2j * np.pi * digits(f"Training, K = {k}") / 16), n)
    parts += [training[-2 * g :], training, training]

    rows = -(-len(symbols) // d)
    bits = gold(1, 2 * max(rows * c, rows * d - len(symbols)))
    pilots = [
        ((1 - 2 * bits[2 * i]) + 1j * (1 - 2 * bits[2 * i + 1])) / math.sqrt(2)
        for i in range(len(bits) // 2)
    ]
    turns = gold(2, 16 * rows)
    spacing = 2 * k // c
    step = round(spacing * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, spacing) > 1:
        step += 1
    assert (spacing, step) == (26, 17)
    places = [*symbols, *pilots[: rows * d - len(symbols)]]
    for m in range(rows):
        values = np.zeros(2 * k, complex)
        combs = [p * spacing + m * step % spacing for p in range(c)]
        values[combs] = [pilots[m * c + p] for p in range(c)]
        free = [column for column in range(2 * k) if column not in combs]
        turn = int("".join(map(str, turns[16 * m : 16 * m + 16])), 2) % d
        for i in range(d):
            values[free[(i + turn) % d]] = places[m * d + i]
        samples = period(occupied, values, n)
        parts += [samples[-g:], samples]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", ["ofdm", "ofdm-long", "ofdm-narrow"])
def test_a_transmitter_from_the_page_alone(name: str) -> None:
    rate, n, g, k, c, d = table()[name]
    preset = PRESETS[name]
    assert (rate, d) == (preset.sample_rate, preset.data_carriers)
    symbols = frame_symbols(10, 1500, 100)
    ours = modulate(symbols, preset, None)
    theirs = transmit(symbols, n, g, k, c, d)
    assert ours.size == theirs.size
    assert float(np.abs(ours - theirs).max()) < 1e-4


def test_a_receiver_reads_what_the_page_s_transmitter_sends() -> None:
    from lrisc.link.finding import receive_all
    from lrisc.link.ofdm_receiver import Reception
    from lrisc.link.waveform.source import ArraySource

    _, n, g, k, c, d = table()["ofdm"]
    symbols = frame_symbols(10, 1500, 100)
    samples = np.concatenate([np.zeros(333), transmit(symbols, n, g, k, c, d)])
    ((_, one),) = receive_all(ArraySource(samples.astype(np.complex64)), tuple(PRESETS.values()))
    assert isinstance(one, Reception)
    assert one.detection.start == 333
    assert np.abs(one.received.equalised().numpy() - symbols).max() < 0.05
