"""Picture files made to hang or fill a machine, and everything else that is no picture."""

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.images import load_image


def progressive(portrait: Image.Image, repeats: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    buffer = io.BytesIO()
    portrait.crop((0, 0, 256, 256)).save(buffer, "jpeg", progressive=True, quality=50)
    data = buffer.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + data[last:end] * repeats + data[end:]


def test_a_jpeg_of_many_scans_is_refused_at_once(portrait: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "bomb.jpg"
    path.write_bytes(progressive(portrait, 12_000))
    start = time.process_time()
    with pytest.raises(InputError, match="more than 64 scans"):
        load_image(path)
    assert time.process_time() - start < 1


def test_ordinary_progressive_jpegs_are_read(portrait: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "fine.jpg"
    path.write_bytes(progressive(portrait, 20))
    assert load_image(path).shape == (3, 256, 256)
    # A phone may append a film, and metadata may hold a small picture: neither is a scan.
    whole = progressive(portrait, 0)
    path.write_bytes(whole + b"\xff\xda" * 100)
    assert load_image(path).shape == (3, 256, 256)
    segment = b"\xff\xe1" + (2 + 2000).to_bytes(2, "big") + b"\xff\xda" * 1000
    path.write_bytes(whole[:2] + segment + whole[2:])
    assert load_image(path).shape == (3, 256, 256)


@pytest.mark.slow
def test_counting_scans_takes_no_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ff.jpg"
    path.write_bytes(b"\xff\xd8" + b"\xff" * 8_000_000 + b"\x00")
    start = time.process_time()
    with pytest.raises(InputError):
        load_image(path)
    assert time.process_time() - start < 5


@pytest.mark.slow
@pytest.mark.parametrize("size", [(30000, 30000), (5000, 100)])
def test_a_picture_that_is_too_large_is_told_so(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", size).save(path)
    with pytest.raises(InputError, match="64 to 4096"):
        load_image(path)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    # A reader that opens it waits forever: SIGALRM would end the test run, loudly.
    signal.alarm(60)
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(InputError, match="no regular file"):
            load_image(tmp_path / name)
    signal.alarm(0)
    with pytest.raises(InputError, match="folder"):
        load_image(tmp_path)
    with (tmp_path / "endless.png").open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(InputError, match="256 MB"):
        load_image(tmp_path / "endless.png")


def test_arrays_bytes_and_files_are_pictures_too(portrait: Image.Image, tmp_path: Path) -> None:
    image = portrait.crop((0, 0, 128, 96))
    pixels = np.asarray(image)
    expected = load_image(image)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    floats = pixels.astype(np.float64) / 255
    sources: list[Any] = [pixels, buffer.getvalue(), bytearray(buffer.getvalue())]
    sources += [floats, floats.transpose(2, 0, 1), io.BytesIO(buffer.getvalue())]
    sources += [str(tmp_path / "a.png"), np.dstack([pixels, np.full((96, 128), 255, np.uint8)])]
    for source in sources:
        assert torch.allclose(load_image(source), expected, atol=1e-6)
    with (tmp_path / "a.png").open("rb") as file:
        assert torch.equal(load_image(file), expected)
    assert load_image(pixels[:, :, 0]).shape == (3, 96, 128)


@pytest.mark.parametrize(
    "source",
    [
        None, 3, 1.5, [1, 2], {}, b"", b"no picture", io.StringIO("text"), bytearray(9),
        np.zeros((96, 128, 3), bool), np.zeros((96, 128, 3), np.int64), np.zeros((96, 128, 2)),
        np.zeros(5, np.uint8), np.zeros((96, 128, 3), complex), np.full((3, 96, 128), np.nan),
        np.array([None, 3]), torch.zeros(3, 96, 128).to_sparse(),
        torch.zeros(3, 96, 128, device="meta"), torch.zeros(3, 96, 128, dtype=torch.complex64),
        torch.zeros(96, 128, 3), np.zeros((3, 8, 8)), "a\0b", "x" * 5000,
        torch.full((3, 64, 64), float("nan")), torch.full((3, 64, 64), 1.5),
        torch.full((3, 64, 64), -0.5), torch.zeros(64, 64),
        torch.zeros(3, 64, 64, dtype=torch.uint8),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_one_line(source: Any) -> None:
    with pytest.raises(InputError) as told:
        load_image(source)
    assert "\n" not in str(told.value)


def test_a_picture_that_does_not_fit_into_memory_is_told(
    monkeypatch: pytest.MonkeyPatch, portrait: Image.Image, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    portrait.save(tmp_path / "a.png")
    monkeypatch.setattr("lrisc.images._pixels", full)
    with pytest.raises(InputError, match=r"a\.png takes too much time or memory to decode"):
        load_image(tmp_path / "a.png")


def test_bytes_and_open_files_are_of_sensible_size(
    monkeypatch: pytest.MonkeyPatch, portrait: Image.Image
) -> None:
    buffer = io.BytesIO()
    portrait.save(buffer, "png")
    monkeypatch.setattr("lrisc.images.MAX_FILE_BYTES", buffer.tell() - 1)
    for source in (buffer.getvalue(), io.BytesIO(buffer.getvalue())):
        with pytest.raises(InputError, match="file of at most"):
            load_image(source)
