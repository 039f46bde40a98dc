"""Bytes of the coded picture inside a HEIF file."""

import io

import pytest
from PIL import Image

from lrisc.baselines.bpg.heif import payload_bytes
from lrisc.errors import InputError

pillow_heif = pytest.importorskip("pillow_heif")


def heif_file(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=30, chroma=444)
    return file.getvalue()


def test_payload_is_the_data_box_without_its_header(portrait: Image.Image) -> None:
    data = heif_file(portrait.crop((150, 60, 278, 188)))
    start = data.index(b"mdat")
    assert payload_bytes(data) == int.from_bytes(data[start - 4 : start]) - 8
    assert 200 < len(data) - payload_bytes(data) < 800


@pytest.mark.parametrize("data", [b"", b"no picture at all", bytes(64)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        payload_bytes(data)


def test_a_file_cut_short_is_refused(portrait: Image.Image) -> None:
    with pytest.raises(InputError):
        payload_bytes(heif_file(portrait.crop((0, 0, 64, 64)))[:60])
