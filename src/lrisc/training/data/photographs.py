"""Crops straight from encoded photographs: nothing is rescaled, unpacked or kept decoded.

::

    folders, tar shards, COCO ─ read headers once ─► index: file, offset, length, size
                                                        └─ epoch's order, Draws: where, flip
    file ─ read its bytes ─ decode (a pool of threads) ─ cut at its own scale ─► crops

Shards, such as WebDataset's, are read in place, a few at a time: an epoch is a shuffled order of
shards, and within a window of :data:`WINDOW` shards a shuffled order of pictures.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import logging
import os
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lrisc.errors import InputError, one_line
from lrisc.files import write_atomically
from lrisc.link.draws import Draws
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.crops import CROP_NUMBERS, cut_crop
from lrisc.training.data.masks import MaskFolder
from lrisc.training.data.sources import SUFFIXES, Listing, decoded, list_pictures, place_in
from lrisc.training.data.squares import Squares, cache_of, too_few

logger = logging.getLogger(__name__)

WINDOW = 8
"""Shards whose pictures are mixed, so that reading stays near one place."""
_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """Where the bytes of a photograph are.

    Attributes:
        file: of the photograph or of its shard, an index into the listing's.
        name: of the photograph.
        offset: in the file, bytes.
        length: in bytes; 0: all of the file, which is no shard.
    """

    file: int
    name: str
    offset: int
    length: int


class Photographs:
    """Encoded photographs that give crops.

    Args:
        files: photographs and shards.
        entries: the photographs in them, by file.
        masks: of the photographs; ``None``: crops come without.
        data: side of a crop, downscales and threads.
        name: of the source, for the model card.
        key: hash of the listing.
        skipped: pictures that are corrupt or smaller than a crop.
    """

    def __init__(
        self,
        files: Sequence[Path],
        entries: Sequence[Entry],
        masks: MaskFolder | None,
        data: DataConfig,
        name: str,
        key: str,
        skipped: int,
    ) -> None:
        self._files, self._entries, self._masks, self._data = files, entries, masks, data
        self.name, self.key, self.skipped = name, key, skipped
        self._pool = ThreadPoolExecutor(data.workers)
        self._broken: set[int] = set()
        shards = [e.file if e.length else -1 for e in entries]
        self._counts = tuple(int(n) for n in np.unique(shards, return_counts=True)[1])

    def __len__(self) -> int:
        """Number of photographs."""
        return len(self._entries)

    def without(self, last: int) -> Photographs:
        """All but the last so many."""
        kept = self._entries[: len(self._entries) - last]
        return Photographs(
            self._files, kept, self._masks, self._data, self.name, self.key, self.skipped
        )

    def crops(self, first: int, draws: Draws, seed: int) -> Tensor:
        """Crops at consecutive places of the endless shuffled sequence of photographs.

        Every photograph comes once an epoch. One that turns out to be corrupt gives way to the
        next.

        Args:
            first: place of the first crop, counted from the start of training.
            draws: of these samples, on the CPU.
            seed: of the order.

        Returns:
            (B, 3, crop, crop) uint8, with a fourth channel for the mask where there are masks;
            channels last in memory.
        """
        numbers = draws.uniform("crops", (CROP_NUMBERS,)).double().numpy()
        which = [self._at(first + i, seed) for i in range(len(draws))]
        cuts = self._pool.map(self._crop, which, numbers)
        return torch.from_numpy(np.stack(list(cuts))).permute(0, 3, 1, 2)

    def squares(self, which: Sequence[int], side: int) -> Squares:
        """Centre squares at the photographs' own scale, (n, side, side, 3 or 4) uint8."""

        def centre(index: int) -> Squares:
            pixels = self._decode(index, side)
            top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
            return pixels[top : top + side, left : left + side]

        return np.stack(list(self._pool.map(centre, which)))

    def _at(self, place: int, seed: int) -> int:
        epoch, within = divmod(place, len(self))
        return int(_order(self._counts, seed, epoch)[within])

    def _crop(self, index: int, numbers: npt.NDArray[np.float64]) -> Squares:
        return cut_crop(self._decode(index, self._data.crop), numbers, self._data)

    def _decode(self, index: int, least: int) -> Squares:
        """Pixels (h, w, 3 or 4) of a photograph, or of the next one that can be decoded."""
        for step in range(len(self)):
            at = (index + step) % len(self)
            if at in self._broken:
                continue
            try:
                pixels = self._pixels(self._entries[at])
            # Pillow's decoders raise almost anything on broken input.
            except Exception as error:
                reason = one_line(error)[:100]
            else:
                if min(pixels.shape[:2]) >= least:
                    return pixels
                reason = f"it is smaller than {least} pixels"
            self._broken.add(at)
            logger.warning("%s is passed over: %s", self._entries[at].name, reason)
        raise InputError(f"data: no picture of {self.name} can be decoded")

    def _pixels(self, entry: Entry) -> Squares:
        with self._files[entry.file].open("rb") as file:
            file.seek(entry.offset)
            raw = file.read(entry.length or -1)
        picture = decoded(raw)
        if self._masks is None:
            return np.asarray(picture)
        mask = self._masks.read(_place(self._files, entry), picture.size)
        return np.dstack([np.asarray(picture), np.asarray(mask)])


@lru_cache(maxsize=2)
def _order(counts: tuple[int, ...], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Order of an epoch's photographs: shards shuffled, then pictures within windows of shards."""
    rng = np.random.default_rng([seed, epoch])
    starts = [0, *itertools.accumulate(counts)]
    shards = rng.permutation(len(counts))
    windows = [shards[i : i + WINDOW] for i in range(0, len(shards), WINDOW)]
    mixed = [
        rng.permutation(np.concatenate([np.arange(starts[s], starts[s + 1]) for s in window]))
        for window in windows
    ]
    return np.concatenate(mixed)


def _place(files: Sequence[Path], entry: Entry) -> str:
    """Path of a photograph, through its shard if it is in one."""
    file = files[entry.file]
    return place_in(file, entry.name) if entry.length else str(file)


def open_photographs(
    paths: tuple[str, ...], data: DataConfig, masks: str = "", least: int = 1
) -> Photographs:
    """Find photographs of at least a crop's size; their index is kept in the cache folder.

    Args:
        paths: folders, tar shards, a COCO root.
        data: side of a crop, limits and the cache's folder.
        masks: folder for :class:`~lrisc.training.data.masks.MaskFolder`; empty: none.
        least: fewest photographs that are enough.

    Raises:
        InputError: nothing is there, too few are usable, or the cache is not writable.
    """
    if not paths:
        raise InputError("data: name a folder of pictures (data=/path/to/pictures)")
    name = ", ".join(Path(p).name for p in paths)
    listing = list_pictures(paths)
    files = [*listing.files, *listing.shards]
    key = _index_key(listing, data)
    with cache_of(data) as folder:
        path = folder / f"{key[:20]}.index.json"
        if not path.is_file():
            logger.info("reading the headers of the pictures of %s", name)
            write_atomically(path, json.dumps(_index(listing, data.crop)).encode())
        found = json.loads(path.read_text())
    entries = [Entry(*entry) for entry in found["entries"]]
    entries = _limit(entries, data.pictures)
    if found["skipped"]:
        logger.warning(
            "%d pictures of %s are corrupt or too small and are skipped", found["skipped"], name
        )
    folder_of_masks = MaskFolder(masks) if masks else None
    if folder_of_masks is not None:
        folder_of_masks.check([_place(files, entry) for entry in entries])
    if len(entries) < least:
        raise too_few(len(entries), "pictures", data.crop, name, found["skipped"], least)
    key = photographs_key(paths, data, masks)
    return Photographs(files, entries, folder_of_masks, data, name, key, found["skipped"])


def photographs_key(paths: tuple[str, ...], data: DataConfig, masks: str = "") -> str:
    """The ``key`` of :func:`open_photographs`, without reading a picture.

    Raises:
        InputError: a path does not exist or cannot be used.
    """
    what = [_index_key(list_pictures(paths), data), data.pictures]
    if masks:
        what.append(MaskFolder(masks).key)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _index_key(listing: Listing, data: DataConfig) -> str:
    what = json.dumps([_FORMAT, "photographs", listing.key, data.crop])
    return hashlib.sha256(what.encode()).hexdigest()


def _limit(entries: list[Entry], most: int) -> list[Entry]:
    """A fixed subset, the same whatever folder the pictures lie in."""
    if not most or len(entries) <= most:
        return entries
    digests = [hashlib.sha256(Path(e.name).name.encode()).digest() for e in entries]
    chosen = sorted(sorted(range(len(entries)), key=digests.__getitem__)[:most])
    return [entries[i] for i in chosen]


def _index(listing: Listing, least: int) -> dict[str, list[tuple[int, str, int, int]] | int]:
    """Every picture whose header says that it is large enough."""
    entries: list[tuple[int, str, int, int]] = []
    skipped = 0

    def loose(path: Path) -> bool:
        return _short_side(path) >= least

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, good in enumerate(pool.map(loose, listing.files)):
            skipped += not good
            if good:
                entries.append((number, listing.files[number].name, 0, 0))
    for number, shard in enumerate(listing.shards, start=len(listing.files)):
        # A truncated shard gives the pictures before the break and counts as one corrupt picture.
        try:
            for name, offset, length, head in _members(shard):
                good = _short_side(head) >= least
                skipped += not good
                if good:
                    entries.append((number, name, offset, length))
        except (OSError, tarfile.TarError, EOFError):
            skipped += 1
    return {"entries": entries, "skipped": skipped}


def _members(shard: Path) -> Iterator[tuple[str, int, int, io.BytesIO]]:
    size = shard.stat().st_size
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            if not member.isfile() or Path(member.name).suffix.lower() not in SUFFIXES:
                continue
            if member.offset_data + member.size > size:
                raise EOFError
            file = tar.extractfile(member)
            if file is not None:
                yield member.name, member.offset_data, member.size, io.BytesIO(file.read())


def _short_side(source: Path | io.BytesIO) -> int:
    """Shorter side in pixels as the header says, 0 where there is none."""
    try:
        with Image.open(source) as opened:
            return min(opened.size)
    # As above: any broken picture is passed over.
    except Exception:
        return 0
