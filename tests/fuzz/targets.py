"""What is fuzzed: a function of bytes each, and valid inputs to start from.

A target may raise the errors that are written for the user, in one line; anything else is a fault.
"""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lrisc.checkpoint import load_checkpoint, save_checkpoint
from lrisc.errors import LriscError
from lrisc.evaluation.results import ResultsFolder, Row
from lrisc.images import load_image
from lrisc.link.frame import Header, build_frame, parse_body, parse_header
from lrisc.link.header import HEADER_BITS
from lrisc.link.iq import estimate_channel, write_recording
from lrisc.link.rate_map import RateMapPrior
from lrisc.link.recording import open_recording
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.schedule import read_schedule

COUNTS: Counter[str] = Counter()
"""Inputs tried, by target."""

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """Something that takes whatever a stranger sends.

    Attributes:
        run: takes one input and a folder to write to.
        seeds: valid inputs, of which others are made.
        share: of all inputs.
    """

    run: Callable[[bytes, Path], None]
    seeds: Callable[[], list[bytes]]
    share: float

    def __call__(self, data: bytes, folder: Path) -> None:
        """One input: it is taken, or refused in one line."""
        try:
            self.run(data, folder)
        except LriscError as error:
            message = str(error)
            assert "\n" not in message
            assert len(message) < 2000


HEADER = Header(64, 96, 0xBEEF, 40, 300, 40, 0)


def _header(data: bytes, folder: Path) -> None:
    bits = np.unpackbits(np.frombuffer(data[:16].ljust(16, b"\0"), np.uint8))[:HEADER_BITS]
    header = Header.unpack(bits)
    assert np.array_equal(header.pack(), bits)
    assert header.frame_symbols > 0


def _header_seeds() -> list[bytes]:
    headers = (HEADER, Header(4096, 4096, 0, 2**19, 2**23, 127, 8, 1), Header(1, 1, 1, 1, 1, 0, 0))
    return [np.packbits(header.pack()).tobytes() for header in headers]


def _frame(data: bytes, folder: Path) -> None:
    data = data[: len(data) // 8 * 8]
    received = estimate_channel(torch.from_numpy(np.frombuffer(data, "<c8").copy()))
    header = parse_header(received)
    bits, payload = parse_body(received, header)
    assert bits.size == header.side_info_bits
    assert payload.symbols.numel() == header.payload_symbols


@lru_cache(maxsize=1)
def _frame_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    frames: list[bytes] = []
    for mcs in (0, 5):
        header = Header(64, 96, 0xBEEF, 40, 300, 40, mcs)
        bits = rng.integers(0, 2, header.side_info_bits).astype(np.uint8)
        payload = rng.normal(size=(header.payload_symbols, 2)).astype(np.float32)
        symbols = build_frame(header, bits, torch.view_as_complex(torch.from_numpy(payload)))
        frames.append(symbols.numpy().astype("<c8").tobytes())
    return frames


@lru_cache(maxsize=1)
def _prior() -> RateMapPrior:
    return RateMapPrior.default(16)


def _rate_map(data: bytes, folder: Path) -> None:
    height, width, cut, *rest = data.ljust(3, b"\0")
    bits = np.unpackbits(np.array(rest, dtype=np.uint8))
    bits = bits[: max(0, bits.size - cut % 8)]
    h, w = 1 + height % 32, 1 + width % 32
    levels = _prior().decode(bits, h, w)
    assert levels.shape == (h, w)
    assert levels.min() >= 0
    assert levels.max() < 16
    assert np.array_equal(_prior().encode(levels), bits)


def _rate_map_seeds() -> list[bytes]:
    seeds: list[bytes] = []
    for h, w in ((4, 6), (16, 24), (1, 1)):
        bits = _prior().encode(np.add.outer(np.arange(h), np.arange(w)) // 2 % 16)
        seeds.append(bytes((h - 1, w - 1, -bits.size % 8)) + np.packbits(bits).tobytes())
    return seeds


def _sigmf(data: bytes, folder: Path) -> None:
    if not (folder / "a.sigmf-data").exists():
        write_recording(folder / "a", torch.ones(4, dtype=torch.complex64))
    (folder / "a.sigmf-meta").write_bytes(data)
    assert open_recording(folder / "a").source.read(0, 4).size == 4


@lru_cache(maxsize=1)
def _sigmf_seeds() -> list[bytes]:
    plain = {
        "global": {"core:datatype": "cf32_le", "core:version": "1.2.0", "core:num_channels": 1},
        "captures": [{"core:sample_start": 0}],
        "annotations": [],
    }
    rich = json.loads(json.dumps(plain))
    rich["captures"][0] |= {"core:header_bytes": 0, "core:datetime": "2026-01-01T00:00:00Z"}
    rich["annotations"] = [{"core:sample_start": 1, "core:sample_count": 2, "core:label": "x"}]
    rich["global"] |= {"core:sha512": "0" * 128, "core:author": "x", "core:offset": 3}
    return [json.dumps(meta).encode() for meta in (plain, rich)]


def _picture(data: bytes, folder: Path) -> None:
    pixels = load_image(data)
    assert pixels.shape[0] == 3
    assert 64 <= min(pixels.shape[1:]) <= max(pixels.shape[1:]) <= 4096
    assert bool(torch.isfinite(pixels).all())


@lru_cache(maxsize=1)
def _picture_seeds() -> list[bytes]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8)).resize((72, 64))
    clear = noise.copy()
    clear.putalpha(Image.linear_gradient("L").resize((72, 64)))
    wide = Image.fromarray(rng.integers(0, 65536, (64, 72)).astype(np.uint16))
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (noise, "png", {}), (clear, "png", {}), (wide, "png", {}), (noise.quantize(9), "png", {}),
        (noise, "jpeg", {"quality": 20}), (noise, "jpeg", {"progressive": True, "quality": 30}),
        (noise.convert("CMYK"), "jpeg", {}), (noise, "webp", {}),
        (clear, "webp", {"lossless": True}), (noise.quantize(9), "gif", {}),
        (noise, "tiff", {}), (noise, "tiff", {"compression": "tiff_lzw"}), (wide, "tiff", {}),
        (noise, "tiff", {"compression": "jpeg"}), (noise, "bmp", {}),
        (noise, "ppm", {}), (noise, "jpeg2000", {}), (wide.convert("I"), "tiff", {}),
        (noise.convert("L").convert("F").point(lambda v: v / 255), "tiff", {}),
        (noise.convert("1"), "png", {}),
    ]  # fmt: skip
    seeds: list[bytes] = []
    for picture, kind, options in kinds:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        seeds.append(buffer.getvalue())
    return seeds


def _results(data: bytes, folder: Path) -> None:
    kind, rest = data[:1], data[1:]
    seeds = _results_seeds()
    (folder / "results.csv").write_bytes(rest if kind != b"s" else seeds[0][1:])
    (folder / "sweep.json").write_bytes(rest if kind == b"s" else seeds[1][1:])
    results = ResultsFolder(folder)
    results.info()
    for row in results.rows():
        assert row.cells()
        for path in (results.picture_path(row.key, ".png"), results.source_path(row.image)):
            assert (folder / "pictures") in path.parents
            assert ".." not in path.parts


@lru_cache(maxsize=1)
def _results_seeds() -> list[bytes]:
    import tempfile

    row = Row(
        "mine", "a.png", "awgn", 10.0, 1 / 48, 0, "sent", False, 30.0, 0.95, 0.1, None,
        *[0.02] * 3, 1.5,
    )  # fmt: skip
    lost = Row(
        "mine", "b.png", "awgn", 5.0, 0.1, 2, "outage", True, 13.0, 0.1, 0.9, 0.8,
        *[0.1] * 3, 1.5, "x",
    )  # fmt: skip
    none = Row("lrisc", "a.png", "awgn", 5.0, 0.1, 0, "impossible", False, *[None] * 7, 0.1)
    with tempfile.TemporaryDirectory() as name:
        results = ResultsFolder(Path(name))
        results.prepare({"lpips_vgg": False}, {"a.png": "1"}, {"mine": "x"})
        for one in (row, lost, none):
            results.append(one)
        rows, info = (Path(name, file).read_bytes() for file in ("results.csv", "sweep.json"))
    return [b"r" + rows, b"s" + info]


def _yaml(data: bytes, folder: Path) -> None:
    (folder / "a.yaml").write_bytes(data)
    for stage in (REPOSITORY / "configs" / "tiny").glob("stage*.yaml"):
        if not (folder / stage.name).exists():
            shutil.copy(stage, folder)
    read_schedule(folder / "a.yaml", [])


@lru_cache(maxsize=1)
def _yaml_seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(REPOSITORY.glob("configs/tiny/*.yaml"))]


@lru_cache(maxsize=1)
def _tiny() -> tuple[bytes, bytes]:
    import tempfile

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        save_checkpoint(Path(name), Lrisc(PRESETS["tiny"]))
        files = ("config.json", "model.safetensors")
        config, weights = (Path(name, file).read_bytes() for file in files)
    return config, weights


def _checkpoint(data: bytes, folder: Path) -> None:
    config, weights = _tiny()
    kind, rest = data[:1], data[1:]
    if kind == b"w":
        # The head of the weights: names, types, shapes and places of the tensors.
        length = int.from_bytes(weights[:8], "little")
        weights = len(rest).to_bytes(8, "little") + rest + weights[8 + length :]
    else:
        config = rest
    (folder / "config.json").write_bytes(config)
    (folder / "model.safetensors").write_bytes(weights)
    loaded = load_checkpoint(folder)
    assert all(bool(torch.isfinite(p).all()) for p in loaded.model.parameters())


@lru_cache(maxsize=1)
def _checkpoint_seeds() -> list[bytes]:
    config, weights = _tiny()
    length = int.from_bytes(weights[:8], "little")
    return [b"c" + config, b"w" + weights[8 : 8 + length]]


TARGETS = {
    "header": Target(_header, _header_seeds, 0.30),
    "frame": Target(_frame, _frame_seeds, 0.04),
    "rate map": Target(_rate_map, _rate_map_seeds, 0.20),
    "SigMF metadata": Target(_sigmf, _sigmf_seeds, 0.14),
    "picture": Target(_picture, _picture_seeds, 0.12),
    "results": Target(_results, _results_seeds, 0.12),
    "YAML": Target(_yaml, _yaml_seeds, 0.05),
    "checkpoint": Target(_checkpoint, _checkpoint_seeds, 0.03),
}
