"""Uploaded pictures are decoded elsewhere, within limits."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrisc.app import reader
from lrisc.app.reader import read_upload_paint, read_upload_picture
from lrisc.errors import InputError
from lrisc.images import load_image, to_pil


@pytest.mark.slow
def test_it_reads_what_load_image_reads(portrait: Image.Image, tmp_path: Path) -> None:
    small = portrait.crop((0, 0, 200, 100))
    grey = np.arange(100 * 200, dtype=np.uint16).reshape(100, 200) * 3
    clear = small.copy()
    clear.putalpha(Image.linear_gradient("L").resize((200, 100)))
    for name, picture in {
        "a.jpg": small, "b.png": Image.fromarray(grey), "c.png": clear, "d.webp": small,
    }.items():  # fmt: skip
        picture.save(tmp_path / name)
        expected = to_pil(load_image(tmp_path / name))
        picture, size = read_upload_picture(tmp_path / name)
        assert np.array_equal(picture, expected)
        assert size == (200, 100)
    alpha = read_upload_paint(tmp_path / "c.png")
    assert np.array_equal(alpha, clear.getchannel("A"))


def test_errors_are_sentences_without_the_server_s_folders(tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"^the file broken\.png is not a picture") as told:
        read_upload_picture(path)
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("limit", ["CPU_SECONDS = 0", "MEMORY_BYTES = 2**26"])
def test_time_and_memory_are_bounded(
    limit: str, portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.png"
    portrait.save(path)
    script = f"from lrisc.app import reader; reader.{limit}; raise SystemExit(reader.main())"
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        return real([command[0], "-c", script, *command[4:]], **options)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InputError, match="too much time or memory"):
        read_upload_picture(path)


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Less than Python takes to start; without the limit, a missing file would be told.
    monkeypatch.setattr(reader, "WALL_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"photo\.png takes too much time"):
        read_upload_picture(tmp_path / "photo.png")


def test_it_writes_no_file(
    portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, left = tmp_path / "photo.png", tmp_path / "left"
    portrait.save(path)
    script = (
        "from pathlib import Path; from lrisc.app import reader\n"
        f"reader.read_rgb = lambda path, side: Path({str(left)!r}).write_text('x')\n"
        "raise SystemExit(reader.main())"
    )
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        done = real([command[0], "-c", script, *command[4:]], **options)
        assert b"File too large" in done.stderr
        return done

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InputError, match="too much time or memory"):
        read_upload_picture(path)
    assert left.read_text() == ""


def test_it_imports_nothing_from_where_the_server_was_started(
    portrait: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    portrait.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    picture, _ = read_upload_picture(tmp_path / "photo.png")
    assert picture.size == portrait.size
