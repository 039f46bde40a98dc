"""A picture cache that is not as it was written is made again, whatever happened to it."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrisc.errors import InputError
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.squares import open_pictures


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def lying(old: bytes) -> bytes:
    return old[:128].replace(b"(4, 64", b"(9, 64") + old[128:]


SQUARES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda old: b"",
    "cut": lambda old: old[:-1],
    "cut in the header": lambda old: old[:50],
    "longer": lambda old: old + b"x",
    "garbage": lambda old: b"garbage" * 99,
    "pickle": lambda old: pickle.dumps({}),
    "objects": lambda old: npy(np.array([{}, 1], dtype=object), allow_pickle=True),
    "lying header": lying,
    "header of brackets": lambda old: old[:10] + b"(" * 118 + old[128:],
    "another type": lambda old: npy(np.zeros((4, 64, 64, 3), np.float32)),
    "another side": lambda old: npy(np.zeros((4, 32, 32, 3), np.uint8)),
    "one axis": lambda old: npy(np.zeros(4 * 64 * 64 * 3, np.uint8)),
    "another count": lambda old: npy(np.zeros((3, 64, 64, 3), np.uint8)),
    "other order": lambda old: npy(np.asfortranarray(np.zeros((4, 64, 64, 3), np.uint8)))[:-1],
}
FACTS = [b"", b"[]", b"{}", b"null", b"text", b'{"squares": "4", "skipped": 0}',
         b"[" * 100_000, b'{"squares": 4, "skipped": -1}', b'{"squares": 4, "skipped": "x"}', 
         b"9" * 5000]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def check(folder: Path, cache: Path, damage: Callable[[Path, Path], None]) -> None:
    data = DataConfig(cache=str(cache), square=64, crop=64)
    expected = np.array(open_pictures((str(folder),), data, 4).squares)
    (path,), (facts,) = cache.glob("*.npy"), cache.glob("*.json")
    written = path.read_bytes()
    damage(path, facts)
    assert np.array_equal(open_pictures((str(folder),), data, 4).squares, expected)
    assert path.read_bytes() == written
    assert json.loads(facts.read_text()) == {"squares": 4, "skipped": 0}


@pytest.mark.parametrize("name", SQUARES)
def test_damaged_squares(name: str, folder: Path, tmp_path: Path) -> None:
    check(folder, tmp_path, lambda path, _: _rewrite(path, SQUARES[name](path.read_bytes())))


@pytest.mark.parametrize("text", FACTS, ids=lambda text: text[:20])
def test_damaged_facts(text: bytes, folder: Path, tmp_path: Path) -> None:
    check(folder, tmp_path, lambda _, facts: _rewrite(facts, text))


@pytest.mark.parametrize("name", [n for n in SQUARES if n not in ("longer", "another count")])
def test_a_file_of_squares_of_the_user_s_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npy"
    path.write_bytes(SQUARES[name](npy(np.zeros((4, 64, 64, 3), np.uint8))))
    with pytest.raises(InputError):
        open_pictures((str(path),), DataConfig(square=64, crop=64), 4)


def _rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)
