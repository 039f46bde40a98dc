"""How many bytes of a HEIF file are coded picture, and how many are container."""

from __future__ import annotations

from collections.abc import Iterator

from lrisc.errors import InputError

_CONTAINER_HEADERS = {b"meta": 4}


def payload_bytes(file: bytes) -> int:
    """Bytes of the primary item: what its extents in the ``iloc`` box add up to.

    ISO/IEC 14496-12 section 8.11. For HEVC these are the slices with a length of four bytes before
    each; parameter sets live in the container.

    Args:
        file: a HEIF file with one coded picture.

    Raises:
        InputError: it is not such a file.
    """
    boxes = dict(_boxes(file, 0, len(file)))
    try:
        primary = int.from_bytes(_body(file, boxes[b"pitm"])[4:6])
        return _item_length(_body(file, boxes[b"iloc"]), primary)
    except (KeyError, IndexError) as error:
        raise InputError("this is not a HEIF file with one coded picture") from error


def _boxes(file: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Types and extents of the boxes, those inside ``meta`` included."""
    while start + 8 <= end:
        size = int.from_bytes(file[start : start + 4])
        kind = file[start + 4 : start + 8]
        if size < 8:  # to the end of the file, or a 64-bit length: nothing we look for
            return
        yield kind, (start + 8, start + size)
        if kind in _CONTAINER_HEADERS:
            yield from _boxes(file, start + 8 + _CONTAINER_HEADERS[kind], start + size)
        start += size


def _body(file: bytes, extent: tuple[int, int]) -> bytes:
    return file[extent[0] : extent[1]]


class _Reader:
    """Big-endian fields one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> int:
        """An unsigned number of ``size`` bytes; 0 for size 0, as absent fields are."""
        self.position += size
        if self.position > len(self.data):
            raise IndexError("the box is cut short")
        return int.from_bytes(self.data[self.position - size : self.position])


def _item_length(iloc: bytes, item: int) -> int:
    """Bytes of one item: the lengths of its extents."""
    read = _Reader(iloc)
    version = read.take(4) >> 24
    sizes = read.take(2)
    offset_size, length_size = sizes >> 12, (sizes >> 8) & 15
    base_size, index_size = (sizes >> 4) & 15, sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    for _ in range(read.take(wide)):
        number = read.take(wide)
        read.take((2 if version else 0) + 2 + base_size)
        total = 0
        for _ in range(read.take(2)):
            read.take(index_size + offset_size)
            total += read.take(length_size)
        if number == item:
            return total
    raise KeyError(item)
