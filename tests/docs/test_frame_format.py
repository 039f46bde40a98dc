"""A receiver written from docs/reference/frame-format.md alone reads the package's frames.

QAM, LDPC and CRC are the standard's, and Sionna's implementation of them is what both use. The
rate map is read by the example, which was written from that page, too.
"""

import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sionna.phy.fec.crc import CRCDecoder, CRCEncoder
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import Demapper
from tests.helpers import load_script, picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.link import fec

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "frame-format.md").read_text()

pytest.importorskip("onnxruntime")  # which the example imports


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_script("examples/receiver.py")


def decode_block(example: ModuleType, symbols: torch.Tensor, n: int, mcs: int) -> np.ndarray:
    m = example.MCS[mcs][0]
    segments, per_segment, coded = example.segments_of(n, mcs)
    k = per_segment + 24
    place: dict[str, Any] = {"device": "cpu", "precision": "single"}
    crc = CRCEncoder("CRC24A", k=per_segment, **place)
    encoder = LDPC5GEncoder(k, coded, num_bits_per_symbol=m, **place)
    llr = Demapper("app", "qam", m, **place)(symbols.reshape(segments, -1), torch.tensor(0.05))
    bits = LDPC5GDecoder(encoder, num_iter=30, **place)(llr)
    bits[:, -24:] = 1 - bits[:, -24:]
    message, valid = CRCDecoder(crc, **place)(bits)
    assert bool(valid.all())
    return message.reshape(-1)[:n].numpy().astype(np.uint8)


def test_page_example_and_package_have_the_same_schemes(example: ModuleType) -> None:
    names = {"QPSK": 2, "16QAM": 4, "64QAM": 6}
    rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d)/(\d+) \| (\S+).*? \| (\S+)", PAGE, re.MULTILINE)
    table = [(mcs.index, mcs.bits_per_symbol, *mcs.rate) for mcs in fec.MCS_TABLE]
    assert [(int(i), names[name], int(a), int(b)) for i, name, a, b, *_ in rows] == table
    assert [(i, *row) for i, row in enumerate(example.MCS)] == table
    for mcs, (*_, long, short) in zip(fec.MCS_TABLE, rows, strict=True):
        assert (float(long), float(short)) == (mcs.min_snr_db, mcs.short_snr_db)


@pytest.mark.slow
@pytest.mark.parametrize("snr_db", [0.0, 12.0])
def test_a_receiver_from_the_page_alone(
    tiny: LoadedCheckpoint, tiny_folder: Path, example: ModuleType, snr_db: float
) -> None:
    frame = lrisc.Transmitter(tiny).encode(picture(130, 200), snr_db=snr_db, cbr=1 / 12)
    symbols = frame.symbols
    pi_bits = f"{0x243F6A8885A308D3:064b}"
    signs = torch.tensor([1.0 - 2 * int(bit) for bit in pi_bits]) / math.sqrt(2)
    ratio = symbols[:32] / torch.complex(signs[::2], signs[1::2])
    assert float((ratio - ratio[0]).abs().max()) < 1e-4

    text = "".join(map(str, decode_block(example, symbols[32:342], 100, 0).tolist()))
    header: dict[str, int] = {}
    for name, width in example.FIELDS:
        header[name], text = int(text[:width], 2), text[width:]
    assert (header["version"], header["height"] + 1, header["width"] + 1) == (2, 130, 200)
    assert header["checkpoint"] == tiny.checkpoint_id

    side = example.block_symbols(header["map_bits"], header["mcs"])
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
    bits = decode_block(example, body[:side], header["map_bits"], header["mcs"])
    rate_map = np.array(config["rate_values"])[example.decode_map(bits, h, w, table)]
    np.testing.assert_array_equal(rate_map, frame.rate_map)
    assert rate_map.sum() == header["payload"]

    # The scale, from what is decoded: the payload must come out at mean power 1.
    scale = float(ratio[0].abs())
    payload = body[side:] / scale
    assert float(payload.abs().square().mean()) == pytest.approx(1, abs=1e-3)
    energy = float((body[:side] / scale).abs().square().sum())
    total = symbols.numel()
    assert scale == pytest.approx(math.sqrt(total / (total - side + energy)), rel=1e-5)
