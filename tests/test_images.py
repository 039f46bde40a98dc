import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from lrisc.errors import InputError
from lrisc.images import (
    check_picture,
    load_image,
    picture_size,
    read_rgb,
    scaled_size,
    to_pil,
)


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


def test_scaling_is_offered_where_it_helps(tmp_path: Path) -> None:
    Image.new("L", (8000, 10)).save(tmp_path / "long.png")
    with pytest.raises(InputError, match="8000×10 pixels") as told:
        load_image(tmp_path / "long.png")
    assert "--max-side" not in str(told.value)


def test_absurd_sizes_are_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PNG of 12000×12000 was decoded whole, 550 MB, to see whether EXIF turns it."""
    Image.new("L", (8000, 5000)).save(tmp_path / "huge.png")

    def loaded(_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(PngImageFile, "load", loaded)
    path = tmp_path / "huge.png"
    for read in (load_image, read_rgb, check_picture, lambda p: load_image(p.read_bytes())):
        with pytest.raises(InputError, match="8000×5000 pixels"):
            read(path)
    with Image.open(path) as opened, pytest.raises(InputError, match="8000×5000 pixels"):
        load_image(opened)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_larger_picture_is_scaled_where_that_is_asked_for(tmp_path: Path, suffix: str) -> None:
    """What was a gradient stays one; a turned camera's sides are swapped first."""
    ramp = np.tile(np.linspace(0, 255, 4400).astype(np.uint8), (1100, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"large.{suffix}"
    Image.fromarray(np.stack([ramp] * 3, 2)).save(path, exif=exif, quality=95)
    with pytest.raises(InputError, match="--max-side 4096 scales it"):
        load_image(path)
    read = load_image(path, max_side=1000)
    assert read.shape == (3, 1000, 250)
    expected = torch.linspace(0, 1, 1000).expand(3, 250, -1).transpose(1, 2)
    torch.testing.assert_close(read, expected, rtol=0, atol=0.02)
    assert torch.equal(load_image(path.read_bytes(), max_side=1000), read)


@pytest.mark.parametrize(("orientation", "size"), [(1, (512, 341)), (6, (341, 512))])
def test_the_size_that_is_told_is_the_size_that_is_read(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    """A JPEG that decodes to an eighth first came out a pixel larger."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "large.jpg"
    Image.new("RGB", (5000, 3333)).save(path, exif=exif)
    assert scaled_size(*picture_size(path), 512) == size
    assert load_image(path, max_side=512).shape == (3, *size[::-1])
    assert read_rgb(path, max_side=512).size == size


def test_scaling_is_only_down_and_wide_grey_keeps_its_range() -> None:
    small = Image.new("RGB", (100, 80))
    assert load_image(small, max_side=4096).shape == (3, 80, 100)
    steps = np.zeros((200, 5000), np.uint16)
    steps[:, ::7] = 65535
    read = load_image(Image.fromarray(steps), max_side=2000)
    assert read.shape == (3, 80, 2000)
    assert 0 <= float(read.min()) <= float(read.max()) <= 1
    for side in (63, 4097, 10**9, 64.5, "64"):
        with pytest.raises(InputError, match="max_side"):
            load_image(small, max_side=side)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="64 to 4096"):
        load_image(Image.new("RGB", (5000, 70)), max_side=2000)


def test_scaling_a_picture_in_memory_leaves_it_as_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (1000, 800)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert load_image(image, max_side=100).shape == (3, 80, 100)
        assert image.size == (1000, 800)


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_camera_formats(tmp_path: Path, kind: str) -> None:
    if kind == "avif":
        pytest.importorskip("PIL.AvifImagePlugin")
    else:
        pytest.importorskip("pillow_heif").register_heif_opener()
    pixels = np.zeros((96, 128, 3), np.uint8)
    pixels[:, 64:] = (250, 120, 30)
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}", quality=95)
    read = np.asarray(to_pil(load_image(tmp_path / f"a.{kind}"))).astype(int)
    assert np.abs(read - pixels).mean() < 4
    (tmp_path / "cut").write_bytes((tmp_path / f"a.{kind}").read_bytes()[:300])
    with pytest.raises(InputError):
        load_image(tmp_path / "cut")


def test_heic_without_its_extra_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(InputError, match=r"lrisc\[heif\]"):
        load_image(tmp_path / "a.heic")
