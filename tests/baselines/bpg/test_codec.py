"""HEVC as the stand-in for BPG, and the search for a quality that fits."""

import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrisc.baselines.bpg.codec import (
    BpgCodec,
    CodedPicture,
    HevcCodec,
    PictureCodec,
    Pixels,
    default_codec,
)
from lrisc.baselines.bpg.fitting import FittedPicture
from lrisc.errors import InputError

pytest.importorskip("pillow_heif")


@pytest.fixture(scope="module")
def face(portrait: Image.Image) -> Pixels:
    return np.asarray(portrait.crop((150, 60, 278, 188)))


def decibels(a: Pixels, b: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="module")
def fitted(face: Pixels) -> FittedPicture:
    return FittedPicture(HevcCodec(), face)


def test_more_quality_takes_more_bytes_and_looks_better(
    fitted: FittedPicture, face: Pixels
) -> None:
    qualities = (0, 12, 40, 80, 140, fitted.codec.qualities - 1)
    sizes = [fitted.coded(q).size for q in qualities]
    assert sizes == sorted(set(sizes))
    psnrs = [decibels(face, fitted.decoded(q)) for q in qualities]
    assert psnrs == sorted(psnrs)
    assert psnrs[-1] > 44


def test_steps_between_whole_qps_are_on_the_same_curve(fitted: FittedPicture, face: Pixels) -> None:
    quality = 12 + 4 * (51 - 34)
    sizes, psnrs = zip(
        *((fitted.coded(q).size, decibels(face, fitted.decoded(q))) for q in
          range(quality, quality + 5)),
        strict=True,
    )  # fmt: skip
    assert list(sizes) == sorted(sizes)
    line = np.interp(np.log(sizes), np.log([sizes[0], sizes[-1]]), [psnrs[0], psnrs[-1]])
    assert np.all(np.array(psnrs) > line - 0.15)


def test_a_picture_codes_alike_after_another(fitted: FittedPicture, face: Pixels) -> None:
    # x265 keeps its multipliers in globals
    codec = fitted.codec
    first = codec.encode(face, 61)
    codec.encode(face, 3)
    assert codec.encode(face, 61).file == first.file


@pytest.mark.parametrize("size", [(65, 67), (64, 200)])
def test_any_size(size: tuple[int, int], portrait: Image.Image) -> None:
    pixels = np.asarray(portrait.crop((100, 50, 100 + size[0], 50 + size[1])))
    codec = default_codec()
    decoded = codec.decode(codec.encode(pixels, codec.qualities * 3 // 4))
    assert decoded.shape == pixels.shape
    assert decibels(pixels, decoded) > 30


class Ladder:
    """A codec without pictures: sizes as given."""

    name = "ladder"

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.qualities = len(sizes)
        self.encoded: list[int] = []

    def encode(self, pixels: Pixels, quality: int) -> CodedPicture:
        self.encoded.append(quality)
        return CodedPicture(b"", self.sizes[quality], str(quality))

    def decode(self, coded: CodedPicture) -> Pixels:
        raise NotImplementedError


def symbols(bits: int) -> int:
    return -(-bits // 2)


@pytest.mark.parametrize("slope", [0.02, 0.03, 0.05])
def test_search_fills_the_budget(slope: float, face: Pixels) -> None:
    ladder = Ladder([int(300 * np.exp(slope * q)) for q in range(201)])
    codec: PictureCodec = ladder
    for budget in (1300, 5000, 24576, 60000):
        ladder.encoded.clear()
        found = FittedPicture(codec, face).best(budget, symbols)
        assert symbols(8 * ladder.sizes[found]) <= budget
        if found < 200:
            assert symbols(8 * ladder.sizes[found + 1]) > 0.985 * budget
        assert len(set(ladder.encoded)) <= 8


def test_search_does_not_depend_on_what_was_asked_before(face: Pixels) -> None:
    rng = np.random.default_rng(0)
    bumpy = np.sort(np.exp(np.cumsum(rng.uniform(0, 0.07, 201)) + 6)).astype(int).tolist()
    budgets = [3000, 9000, 30000, 100000, 9500]
    fresh = [FittedPicture(Ladder(bumpy), face).best(b, symbols) for b in budgets]
    shared = FittedPicture(Ladder(bumpy), face)
    assert [shared.best(b, symbols) for b in reversed(budgets)] == fresh[::-1]


def test_ends_of_the_ladder(face: Pixels) -> None:
    ladder = Ladder([100 + 10 * q for q in range(20)])
    assert FittedPicture(ladder, face).best(400, symbols) == 0
    assert FittedPicture(ladder, face).best(10**6, symbols) == 19
    with pytest.raises(InputError, match="at least 400 symbols"):
        FittedPicture(ladder, face).best(399, symbols)


def test_bpgenc_is_used_where_it_is_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Pixels
) -> None:
    # programs of the same names and options, which copy
    scripts = {
        "bpgenc": '[ "$1" = -q ] && [ "$3 $4" = "-f 444" ] && cp "$7" "$6"',
        "bpgdec": '[ "$1" = -o ] && cp "$3" "$2"',
    }
    for name, line in scripts.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    default_codec.cache_clear()
    try:
        codec = default_codec()
        assert isinstance(codec, BpgCodec)
        coded = codec.encode(face, 20)
        assert coded.label == "QP 31"
        assert np.array_equal(codec.decode(coded), face)
        (tmp_path / "bpgdec").write_text("#!/bin/sh\necho no such luck >&2; exit 1\n")
        with pytest.raises(InputError, match="bpgdec failed: no such luck"):
            codec.decode(coded)
    finally:
        default_codec.cache_clear()
