"""A receiver written from docs/reference/frame-format.md alone reads the package's frames.

QAM, LDPC and CRC are the standard's, and Sionna's implementation of them is what both use.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sionna.phy.fec.crc import CRCDecoder, CRCEncoder
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint

# Bits per symbol, and the code rate's numerator and denominator.
MCS = [(2, 1, 5), (2, 1, 3), (2, 1, 2), (2, 2, 3)]
MCS += [(4, 1, 2), (4, 2, 3), (4, 3, 4), (6, 2, 3), (6, 3, 4)]
FIELDS = {"version": 4, "height": 12, "width": 12, "checkpoint": 16}
FIELDS |= {"map_bits": 20, "payload": 24, "scale": 7, "power": 1, "mcs": 4}


def block_symbols(n: int, mcs: int) -> int:
    m, a, b = MCS[mcs]
    segments = math.ceil(n / 3800) if n else 0
    return segments * ((math.ceil(n / segments) + 24) * b // (a * m)) if n else 0


def decode_block(symbols: torch.Tensor, n: int, mcs: int) -> list[int]:
    m, a, b = MCS[mcs]
    segments = math.ceil(n / 3800)
    per_segment = math.ceil(n / segments)
    k = per_segment + 24
    place: dict[str, Any] = {"device": "cpu", "precision": "single"}
    crc = CRCEncoder("CRC24A", k=per_segment, **place)
    encoder = LDPC5GEncoder(k, k * b // (a * m) * m, num_bits_per_symbol=m, **place)
    llr = Demapper("app", "qam", m, **place)(symbols.reshape(segments, -1), torch.tensor(0.05))
    bits = LDPC5GDecoder(encoder, num_iter=30, **place)(llr)
    bits[:, -24:] = 1 - bits[:, -24:]
    message, valid = CRCDecoder(crc, **place)(bits)
    assert bool(valid.all())
    return [int(bit) for bit in message.reshape(-1)[:n]]


def left_edges(frequencies: np.ndarray) -> list[int]:
    levels = len(frequencies)
    scale = np.float32((1 << 24) - levels) / np.float32(1 << 16)
    sums = np.concatenate([[0], np.cumsum(frequencies)[:-1]]).astype(np.float32)
    return [int(np.float32(s * scale)) + i for i, s in enumerate(sums)] + [1 << 24]


def decode_map(bits: list[int], h: int, w: int, table: np.ndarray) -> np.ndarray:
    text = "".join(map(str, bits)) + "0" * 96

    def word(i: int) -> int:
        return int(text[32 * i : 32 * i + 32].ljust(32, "0") or "0", 2)

    wrap = (1 << 64) - 1
    lower, size, point, following = 0, wrap, word(0) << 32 | word(1), 2
    levels = table.shape[1]
    rate_map = np.zeros((h, w), dtype=int)
    for r, c in sorted(np.ndindex(h, w), key=lambda at: (at[1] + 2 * at[0], at[0])):
        if r == c == 0:
            context = len(table) - 1
        else:

            def at(down: int, right: int, other: int, r: int = r, c: int = c) -> int:
                inside = r + down >= 0 and 0 <= c + right < w
                return int(rate_map[r + down, c + right]) if inside else other

            west = at(0, -1, at(-1, 0, 0))
            north = at(-1, 0, west)
            values = [at(0, -2, west), west, at(-1, -1, north), north]
            values += [at(-1, 1, north), at(-2, 0, north)]
            mean = sum(g * v for g, v in zip((2, 6, 0, 5, 2, 1), values, strict=True))
            spread = sum(abs(16 * v - mean) for v in values)
            kind = sum(limit <= spread for limit in (24, 48, 72, 96, 144, 192))
            kind = 7 if r == 0 or c == 0 else kind
            context = kind * (4 * (levels - 1) + 1) + (mean + 2) // 4
        left = left_edges(table[context])
        scale = size >> 24
        quantile = ((point - lower) & wrap) // scale
        level = max(i for i in range(levels) if left[i] <= quantile)
        rate_map[r, c] = level
        lower = (lower + scale * left[level]) & wrap
        size = scale * (left[level + 1] - left[level])
        if size < 1 << 32:
            lower, size = (lower << 32) & wrap, size << 32
            point = (point << 32) & wrap | word(following)
            following += 1
    return rate_map


@pytest.mark.parametrize("snr_db", [0.0, 12.0])
def test_a_receiver_from_the_page_alone(
    tiny: LoadedCheckpoint, tiny_folder: Path, snr_db: float
) -> None:
    frame = lrisc.Transmitter(tiny).encode(picture(130, 200), snr_db=snr_db, cbr=1 / 12)
    symbols = frame.symbols
    pi_bits = f"{0x243F6A8885A308D3:064b}"
    signs = torch.tensor([1.0 - 2 * int(bit) for bit in pi_bits]) / math.sqrt(2)
    ratio = symbols[:32] / torch.complex(signs[::2], signs[1::2])
    assert float((ratio - ratio[0]).abs().max()) < 1e-4

    text = "".join(map(str, decode_block(symbols[32:342], 100, 0)))
    header: dict[str, int] = {}
    for name, width in FIELDS.items():
        header[name], text = int(text[:width], 2), text[width:]
    assert (header["version"], header["height"] + 1, header["width"] + 1) == (2, 130, 200)
    assert header["checkpoint"] == tiny.checkpoint_id

    side = block_symbols(header["map_bits"], header["mcs"])
    length = side + header["payload"]
    assert 342 + length == symbols.numel()
    step = round(length * (math.sqrt(5) - 1) / 2)
    while math.gcd(step, length) != 1:
        step += 1
    body = symbols[342:][torch.arange(length) * step % length]

    config = json.loads((tiny_folder / "config.json").read_text())["model"]
    multiple = max(16, config["patch"] * 2 ** (len(config["unet_widths"]) - 1))
    h, w = (math.ceil(header[side] + 1) for side in ("height", "width"))
    h, w = (-(-n // multiple) * multiple // 16 for n in (h, w))
    table = load_file(tiny_folder / "model.safetensors")["rate_map_prior"]
    bits = decode_block(body[:side], header["map_bits"], header["mcs"])
    rate_map = np.array(config["rate_values"])[decode_map(bits, h, w, table)]
    np.testing.assert_array_equal(rate_map, frame.rate_map)
    assert rate_map.sum() == header["payload"]

    # The scale, from what is decoded: the payload must come out at mean power 1.
    scale = float(ratio[0].abs())
    payload = body[side:] / scale
    assert float(payload.abs().square().mean()) == pytest.approx(1, abs=1e-3)
    energy = float((body[:side] / scale).abs().square().sum())
    total = symbols.numel()
    assert scale == pytest.approx(math.sqrt(total / (total - side + energy)), rel=1e-5)
