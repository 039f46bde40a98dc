import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.images import load_image, to_pil


def grey_ramp() -> np.ndarray:
    return np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))


def test_rgb_files_come_through_exactly(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    assert image.shape == (3, 70, 90)
    assert np.array_equal(np.asarray(to_pil(image)), pixels)


def test_grey_palette_and_16_bit_agree(tmp_path: Path) -> None:
    ramp = grey_ramp()
    grey = Image.fromarray(ramp)
    expected = np.repeat(ramp[..., None], 3, axis=2)
    wide = Image.fromarray(ramp.astype(np.uint16) * 257)
    rgb = Image.fromarray(expected)
    colours = len(np.unique(ramp))
    palette = rgb.quantize(colours, dither=Image.Dither.NONE)
    for name, image in {"grey": grey, "wide": wide, "palette": palette}.items():
        image.save(tmp_path / f"{name}.png")
        read = np.asarray(to_pil(load_image(tmp_path / f"{name}.png")))
        assert np.abs(read.astype(int) - expected.astype(int)).max() <= (name == "palette") * 2


def test_alpha_is_laid_over_white() -> None:
    image = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 40, 80))
    read = load_image(image)
    assert read[:, 10, 60].tolist() == [1, 1, 1]
    assert read[:, 10, 10].tolist() == [0, 0, 1]


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (100, 80))
    image.paste((255, 255, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show rotated by 90 degrees clockwise
    buffer = io.BytesIO()
    image.save(buffer, "png", exif=exif)
    read = load_image(Image.open(buffer))
    assert read.shape == (3, 100, 80)
    assert float(read[0, 5, 75]) == 1
    assert float(read[0, 5, 5]) == 0


def test_cmyk_becomes_rgb() -> None:
    assert load_image(Image.new("CMYK", (64, 64))).shape == (3, 64, 64)


@pytest.mark.parametrize("size", [(63, 200), (200, 63), (4097, 64), (64, 4097)])
def test_absurd_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="64 to 4096"):
        load_image(Image.new("RGB", size))


@pytest.mark.parametrize("size", [(64, 64), (4096, 64)])
def test_limits_are_inclusive(size: tuple[int, int]) -> None:
    assert load_image(Image.new("RGB", size)).shape == (3, size[1], size[0])


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        load_image(tmp_path / "missing.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match="not a picture"):
        load_image(tmp_path / "text.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (100, 100, 3), np.uint8)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="broken"):
        load_image(tmp_path / "cut.jpg")
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((3, 64, 64), float("nan")),
        torch.full((3, 64, 64), 1.5),
        torch.full((3, 64, 64), -0.5),
        torch.zeros(64, 64),
        torch.zeros(3, 64, 64, dtype=torch.uint8),
    ],
)
def test_tensors_that_are_no_picture(tensor: torch.Tensor) -> None:
    with pytest.raises(InputError):
        load_image(tensor)
