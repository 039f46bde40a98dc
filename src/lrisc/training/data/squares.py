"""From pictures to squares, decoded once into a memory-mapped file.

::

    folders, tar shards, COCO ─ decode, scale, cut ─► cache/KEY.npy (n, side, side, 3) uint8
                             `lrisc.training.data.crops` ◄─ Draws: which, where, flip ─┘
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lrisc.errors import InputError, reason
from lrisc.files import UnwritableError, cache_folder
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.masks import MaskFolder
from lrisc.training.data.sources import Encoded, Listing, decoded, list_pictures, read_pictures

logger = logging.getLogger(__name__)

MIN_PICTURES = 16
# What numpy and json raise of files that are not what their names say.
DAMAGED = (ValueError, EOFError, SyntaxError, TokenError, RecursionError, MemoryError)
_FORMAT = 1
Squares = npt.NDArray[np.uint8]
Cached = TypeVar("Cached")


@dataclass(frozen=True)
class Pictures:
    """Decoded squares and where they came from.

    Attributes:
        squares: (n, side, side, 3) uint8, usually memory-mapped; a fourth channel is the mask.
        name: of the source, for the model card.
        key: hash of the content's listing.
        skipped: pictures that were corrupt or smaller than a square.
    """

    squares: Squares
    name: str
    key: str
    skipped: int

    def __len__(self) -> int:
        """Number of squares."""
        return self.squares.shape[0]


def open_pictures(
    paths: tuple[str, ...], data: DataConfig, least: int = MIN_PICTURES, masks: str = ""
) -> Pictures:
    """Open the cache of some pictures, after building it if needed.

    Args:
        paths: folders, tar files, a COCO root; or one .npy file of squares (n, S, S, 3) uint8.
        data: side and number of the squares, and the cache's folder.
        least: fewest squares that are enough.
        masks: folder for :class:`~lrisc.training.data.masks.MaskFolder`, whose masks become the
            fourth channel of the squares; empty: none.

    Returns:
        The squares, memory-mapped.

    Raises:
        InputError: nothing is there, too few pictures are usable, or the cache is not writable.
    """
    if not paths:
        raise InputError("data: name a folder of pictures (data=/path/to/pictures)")
    name = ", ".join(Path(p).name for p in paths)
    if len(paths) == 1 and paths[0].endswith(".npy"):
        if masks:
            raise InputError("roi.masks: needs pictures with names, not a file of squares")
        squares = _open_npy(Path(paths[0]), data.crop)
        found = Pictures(squares, name, _npy_key(squares), 0)
    else:
        found = _open_cache(paths, name, data, MaskFolder(masks) if masks else None)
    if len(found) < least:
        raise too_few(len(found), "squares", data.square, name, found.skipped, least)
    return found


def too_few(count: int, what: str, side: int, name: str, skipped: int, least: int) -> InputError:
    """The error that says so."""
    return InputError(
        f"data: only {count} usable {what} of {side} pixels in {name} "
        f"({skipped} pictures skipped), at least {least} are needed"
    )


@contextmanager
def cache_of(data: DataConfig) -> Generator[Path]:
    """The folder of the picture cache, made if needed; what fails in it becomes an InputError."""
    folder = Path(data.cache).expanduser() if data.cache else cache_folder() / "pictures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except (OSError, UnwritableError) as error:
        raise InputError(
            f"cannot write or read the picture cache {folder}: {reason(error)}; "
            "choose another with crops.cache=FOLDER"
        ) from error


def cached(
    folder: Path,
    names: tuple[str, str],
    read: Callable[[Path, Path], Cached | None],
    make: Callable[[Path, Path], None],
) -> Cached:
    """What two files of a cache hold, after making them if they are not as they were written.

    Args:
        folder: of the cache.
        names: of the files.
        read: from their paths to what they hold; ``None``: they must be made.
        make: writes both.
    """
    first, second = (folder / name for name in names)
    found = read(first, second)
    if found is None:
        # Under a temporary name until complete: another process may build the same file.
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as building:
            made = [Path(building, name) for name in names]
            make(*made)
            os.replace(made[1], second)
            os.replace(made[0], first)
        found = read(first, second)
        if found is None:
            raise OSError(errno.EIO, "what was written cannot be read")
    return found


def pictures_key(paths: tuple[str, ...], data: DataConfig, masks: str = "") -> str:
    """The ``key`` that :func:`open_pictures` would give, without decoding a picture.

    Raises:
        InputError: a path does not exist or cannot be used.
    """
    if len(paths) == 1 and paths[0].endswith(".npy"):
        return _npy_key(_open_npy(Path(paths[0]), data.crop))
    return _cache_key(list_pictures(paths), data, MaskFolder(masks) if masks else None)


def _npy_key(squares: Squares) -> str:
    return hashlib.sha256(f"{squares.shape}".encode() + squares[:8].tobytes()).hexdigest()


def _cache_key(listing: Listing, data: DataConfig, masks: MaskFolder | None) -> str:
    what = [_FORMAT, listing.key, data.square, data.squares_per_picture, data.pictures]
    if masks is not None:
        what.append(masks.key)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _open_npy(path: Path, crop: int) -> Squares:
    try:
        squares = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *DAMAGED) as error:
        raise InputError(f"data: cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(squares, np.ndarray):
        raise InputError(f"data: {path} holds more than one array")
    shape = squares.shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or squares.dtype != np.uint8:
        raise InputError(f"data: {path} must hold (n, side, side, 3) uint8, not {shape}")
    if shape[1] < crop:
        raise InputError(f"data: {path} holds squares of {shape[1]} pixels, crops.crop is {crop}")
    return squares


def _open_cache(
    paths: tuple[str, ...], name: str, data: DataConfig, masks: MaskFolder | None
) -> Pictures:
    listing = list_pictures(paths)
    key = _cache_key(listing, data, masks)
    shape = _square_shape(data, masks)

    def make(path: Path, facts: Path) -> None:
        logger.info("decoding the pictures of %s into the cache", name)
        count, skipped = _build(_chosen(listing, data), path, data, masks)
        facts.write_text(json.dumps({"squares": count, "skipped": skipped}))

    with cache_of(data) as folder:
        names = f"{key[:20]}.npy", f"{key[:20]}.json"
        squares, skipped = cached(folder, names, partial(_read_cache, shape=shape), make)
    if skipped:
        logger.warning("%d pictures of %s are corrupt or too small and are skipped", skipped, name)
    return Pictures(squares, name, key, skipped)


def _square_shape(data: DataConfig, masks: MaskFolder | None) -> tuple[int, ...]:
    return data.square, data.square, 3 if masks is None else 4


def _read_cache(path: Path, facts: Path, shape: tuple[int, ...]) -> tuple[Squares, int] | None:
    """Squares of a finished cache and how many pictures were skipped.

    ``None`` where there is none, or where its files are not as they were written: it is a copy,
    and made again.
    """
    if not (path.is_file() and facts.is_file()):
        return None
    try:
        known = json.loads(facts.read_text())
        count, skipped = known["squares"], known["skipped"]
        squares = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = path.stat().st_size == squares.offset + squares.nbytes
    except (KeyError, TypeError, AttributeError, *DAMAGED) as error:
        logger.warning("the picture cache %s is damaged and is made again: %s", path, error)
        return None
    fits = squares.shape == (count, *shape) and squares.dtype == np.uint8
    if not (whole and fits and isinstance(skipped, int) and skipped >= 0):
        logger.warning("the picture cache %s is not whole and is made again", path)
        return None
    return squares, skipped


def _chosen(listing: Listing, data: DataConfig) -> Iterator[Encoded]:
    """The pictures a config asks for, a fixed subset if it limits them."""
    if not data.pictures or listing.shards:
        for number, item in enumerate(read_pictures(listing)):
            if data.pictures and number >= data.pictures:
                return
            yield item
        return
    order = sorted(listing.files, key=lambda p: hashlib.sha256(os.fsencode(p.name)).digest())
    chosen = frozenset(order[: data.pictures])
    files = tuple(path for path in listing.files if path in chosen)
    yield from read_pictures(type(listing)(files, (), listing.key))


def _build(
    pictures: Iterator[Encoded],
    path: Path,
    data: DataConfig,
    masks: MaskFolder | None,
) -> tuple[int, int]:
    """Decode everything into an .npy file; returns the number of squares and of skipped."""
    count = skipped = 0
    shape = _square_shape(data, masks)
    places: list[str] = []
    with path.open("w+b") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        _write_header(file, (0, *shape))
        start = file.tell()

        def store(pending: Future[list[Squares]]) -> None:
            nonlocal count, skipped
            made = pending.result()
            skipped += not made
            count += len(made)
            for square in made:
                file.write(square.tobytes())

        waiting: deque[Future[list[Squares]]] = deque()
        for picture in pictures:
            places.append(picture.place)
            waiting.append(pool.submit(_squares, picture, data, masks))
            if len(waiting) > 64:
                store(waiting.popleft())
        while waiting:
            store(waiting.popleft())
        file.seek(0)
        _write_header(file, (count, *shape))
        # numpy leaves room in the header for the first axis to grow.
        assert file.tell() == start
    if masks is not None:
        masks.check(places)
    return count, skipped


def _write_header(file: io.BufferedRandom, shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _squares(encoded: Encoded, data: DataConfig, masks: MaskFolder | None) -> list[Squares]:
    """Squares of one picture, none if it is corrupt or too small.

    The scale is random between "the short side fits" and the picture's own; a picture's squares
    depend on its name only.
    """
    if encoded.raw is None:
        return []
    side = data.square
    try:
        picture = decoded(encoded.raw)
        mask = None if masks is None else masks.read(encoded.place, picture.size)
    # Pillow's decoders raise almost anything on broken input; the picture is counted and skipped.
    except Exception:
        return []
    short = min(picture.size)
    if short < side:
        return []
    rng = np.random.default_rng(list(hashlib.sha256(os.fsencode(encoded.name)).digest()[:16]))
    made: list[Squares] = []
    for _ in range(data.squares_per_picture):
        window = round(side * (short / side) ** rng.random())
        left = int(rng.integers(picture.width - window + 1))
        top = int(rng.integers(picture.height - window + 1))
        box = (left, top, left + window, top + window)
        cut = np.asarray(
            picture.resize((side, side), Image.Resampling.BICUBIC, box, reducing_gap=3.0)
        )
        if mask is not None:
            inside = mask.resize((side, side), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
            cut = np.dstack([cut, np.asarray(inside)])
        made.append(cut)
    return made
