"""Pictures in and out: whatever a user brings becomes RGB in [0, 1].

Only what makes tensors imports torch: the page's reader process does without.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import re
import struct
import warnings
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lrisc.errors import InputError, whole
from lrisc.files import check_regular

if TYPE_CHECKING:
    from torch import Tensor

MIN_SIDE, MAX_SIDE = 64, 4096
"""Pixels a side a picture may have."""
MAX_FILE_BYTES = 256 * 2**20
"""Size of a picture's file; the largest pictures take 200 MB without any compression."""
MAX_SCANS = 64
"""Scans a JPEG may have. Each costs the time of a whole picture and need only be 33 bytes long."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000") + (
    ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()
)
SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2"),
        *(".avif", ".heic", ".heif"),
    )
)


def pictures_in(folder: Path) -> list[Path]:
    """Files of a folder that have a picture's name, in order; it is not searched any deeper."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())


"""By which the pictures of a folder are known."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

ImageLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any] | Tensor"
)

# A JPEG's next marker: neither a stuffed byte nor a fill byte nor a restart marker.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_TEM, _SOI, _EOI, _SOS = 0x01, 0xD8, 0xD9, 0xDA


def load_image(source: ImageLike, max_side: int | None = None) -> Tensor:
    """Read a picture: EXIF rotation applied, alpha laid over white, 16 bits scaled to 8.

    Args:
        source: path; the bytes of a picture file, or a file open for reading them; PIL image;
            uint8 array (H, W), (H, W, 3) or (H, W, 4); float array (H, W, 3) or (3, H, W), or
            float tensor (3, H, W) or (1, 3, H, W), in [0, 1].
        max_side: scale a larger file or PIL image down to so many pixels, 64 to 4096, on its longer
            side; ``None``: refuse it.

    Returns:
        (3, H, W) float32 in [0, 1], 64 to 4096 pixels a side.

    Raises:
        InputError: missing, broken, too small or large, not finite, not a picture.
    """
    import torch

    check_max_side(max_side)
    if isinstance(source, torch.Tensor):
        return _from_tensor(source)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        with _told("the picture", "picture"):
            _, size = _sizes(source, "the picture", max_side)
            return _to_tensor(_pixels(source, "the picture", size))
    if isinstance(source, str | os.PathLike):
        return read_picture(Path(source), "picture", max_side=max_side)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif hasattr(source, "read"):
        data = source.read(MAX_FILE_BYTES + 1)
    else:
        data = None
    if not isinstance(data, bytes) or len(data) > MAX_FILE_BYTES:
        raise InputError(
            "a picture is a path, its file's bytes or an open binary file of at most "
            f"{MAX_FILE_BYTES // 2**20} MB, a PIL image, an array or a tensor, "
            f"not {type(source).__name__}"
        )
    with _opened(data, "the picture", "picture") as image:
        size = _draft(image, "the picture", max_side)
        return _to_tensor(_pixels(image, "the picture", size))


def read_picture(
    path: Path,
    what: str,
    background: int = 255,
    smallest: int = MIN_SIDE,
    max_side: int | None = None,
) -> Tensor:
    """Read a picture file.

    Args:
        path: of a JPEG, PNG, WebP, TIFF, BMP, GIF (first frame), PPM, JPEG 2000 or AVIF file, or
            HEIC with the extra ``heif``.
        what: what to call it in errors.
        background: grey level, 0 to 255, under transparent pixels.
        smallest: side in pixels that is still accepted.
        max_side: as for :func:`load_image`.

    Returns:
        (3, H, W) float32 in [0, 1].

    Raises:
        InputError: as for :func:`load_image`.
    """
    with _opened(path, str(path), what) as image:
        size = _draft(image, str(path), max_side, smallest)
        return _to_tensor(_pixels(image, str(path), size, background, smallest))


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture file as it is shown; only a PNG is decoded for them.

    Raises:
        InputError: it is no picture.
    """
    with _opened(path, str(path), "picture") as image:
        return _shown_size(image)


def check_picture(path: Path, max_side: int | None = None) -> tuple[tuple[int, int], ...]:
    """Refuse what :func:`load_image` would, as far as the start of the file tells.

    Returns:
        Width and height as the picture is shown, and those that it is scaled to.

    Raises:
        InputError: it is no picture, or has too many pixels or too few.
    """
    check_max_side(max_side)
    with _opened(path, str(path), "picture") as image:
        return _sizes(image, str(path), max_side)


def read_rgb(path: Path, max_side: int | None = None) -> Image.Image:
    """A picture file as :func:`to_pil` would show it, 8-bit RGB, without torch.

    Args:
        path: of the file.
        max_side: as for :func:`load_image`.

    Raises:
        InputError: as for :func:`load_image`.
    """
    with _opened(path, str(path), "picture") as image:
        pixels = _pixels(image, str(path), _draft(image, str(path), max_side))
    if pixels.ndim == 3:
        return Image.fromarray(pixels)
    return Image.fromarray((pixels * 255).round().astype(np.uint8)).convert("RGB")


def read_alpha(path: Path) -> Image.Image:
    """How opaque a picture file is, 8-bit grey.

    Raises:
        InputError: as for :func:`load_image`.
    """
    with _opened(path, str(path), "picture") as image:
        _check_size(*image.size, str(path), smallest=1)
        return image.convert("RGBA").getchannel("A")


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] to an 8-bit RGB picture."""
    import torch

    pixels = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def from_pil(image: Image.Image) -> Tensor:
    """A picture of any size as 8-bit RGB, (3, H, W) float32 in [0, 1]."""
    return _to_tensor(np.asarray(image.convert("RGB")))


def jpeg_scans(data: bytes | mmap.mmap) -> int:
    """Scans of a JPEG file, counted up to one more than ``MAX_SCANS``."""
    position, scans = 2, 0
    while scans <= MAX_SCANS and (found := _MARKER.search(data, position)):
        code, position = found[1][0], found.end()
        if code == _EOI:
            break
        if code not in (_TEM, _SOI):
            scans += code == _SOS
            # What follows a marker counts its own two bytes of length.
            position += max(int.from_bytes(data[position : position + 2], "big"), 2)
    return scans


@contextlib.contextmanager
def _opened(source: Path | bytes, name: str, what: str) -> Generator[Image.Image]:
    """The picture in a file or in its bytes, known to be safe to decode."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_told(name, what))
        if isinstance(source, Path):
            check_regular(source, what, MAX_FILE_BYTES)
            file: IO[bytes] = stack.enter_context(source.open("rb"))
        else:
            file = io.BytesIO(source)
        start = file.read(12)
        file.seek(0)
        formats = FORMATS
        if start[4:8] == b"ftyp" and start[8:] in _HEIF_BRANDS:
            formats = _with_heif(name)
        if start[:2] == b"\xff\xd8" and _scans(file) > MAX_SCANS:
            raise InputError(f"{name} is a JPEG of more than {MAX_SCANS} scans, which none needs")
        # Too many pixels are an error of ours; damaged metadata are none.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield stack.enter_context(Image.open(file, formats=formats))


def _with_heif(name: str) -> tuple[str, ...]:
    """Formats with HEIF among them."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise InputError(
            f"{name} is HEIC, which takes the extra heif: pip install 'lrisc[heif]'"
        ) from error
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _scans(file: IO[bytes]) -> int:
    if isinstance(file, io.BytesIO):
        return jpeg_scans(file.getvalue())
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return jpeg_scans(mapped)


@contextlib.contextmanager
def _told(name: str, what: str) -> Generator[None]:
    """Errors of decoding become one line."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{name} has too many pixels: {MIN_SIDE} to {MAX_SIDE} a side are possible"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a {what} that can be read") from error
    # Pillow's readers raise whatever a broken file leads them to.
    except MemoryError as error:
        raise InputError(f"{name} takes too much time or memory to decode") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} is broken or unreadable: {reason}") from error


def _shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as the picture is shown: of what EXIF turns, swapped."""
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    width, height = image.size
    return (height, width) if turned else (width, height)


def _sizes(
    image: Image.Image, name: str, max_side: int | None, smallest: int = MIN_SIDE
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height as a picture is shown, and those that it is scaled to.

    Raises:
        InputError: it has too many pixels or too few.
    """
    # Turned or not, the same sizes are refused; Pillow decodes a whole PNG to see if it is turned.
    _check_size(*scaled_size(*image.size, max_side), name, smallest)
    shown = _shown_size(image)
    return shown, scaled_size(*shown, max_side)


def _draft(
    image: Image.Image, name: str, max_side: int | None, smallest: int = MIN_SIDE
) -> tuple[int, int]:
    """Let a JPEG decode to a half or less, at a fraction of the time, where that is enough.

    Returns:
        What it is to be scaled to; it follows from the whole picture's size, not from the draft's.
    """
    _, size = _sizes(image, name, max_side, smallest)
    width, height = scaled_size(*image.size, max_side)
    image.draft(None, (2 * width, 2 * height))
    return size


def _check_size(width: int, height: int, name: str, smallest: int = MIN_SIDE) -> None:
    if min(width, height) < smallest or max(width, height) > MAX_SIDE:
        scaled = scaled_size(width, height, MAX_SIDE)
        helps = scaled != (width, height) and min(scaled) >= smallest
        mend = f"; --max-side {MAX_SIDE} scales it" if helps else ""
        raise InputError(
            f"{name} has {width}×{height} pixels; {smallest} to {MAX_SIDE} a side are possible"
            f"{mend}"
        )


def check_max_side(max_side: int | None) -> None:
    """Raise InputError unless a picture may be scaled to such a longer side, or none is."""
    if max_side is not None and not MIN_SIDE <= whole(max_side, "max_side") <= MAX_SIDE:
        raise InputError(f"max_side is {MIN_SIDE} to {MAX_SIDE} pixels, not {max_side}")


def scaled_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """Width and height of a picture that is scaled down to a longer side, if it is larger."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    return round(width * max_side / longer), round(height * max_side / longer)


def _pixels(
    image: Image.Image,
    name: str,
    size: tuple[int, int],
    background: int = 255,
    smallest: int = MIN_SIDE,
) -> npt.NDArray[Any]:
    """uint8 (H, W, 3), or float32 (H, W) in [0, 1] where the picture has more than 8 bits.

    It is turned as EXIF says, and then scaled to ``size``, (W, H).
    """
    # An array comes here unseen.
    _check_size(*size, name, smallest)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        grey = Image.fromarray(_wide_grey(image, name))
        return np.asarray(grey.resize(size, Image.Resampling.LANCZOS)).clip(0, 1)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        under = Image.new("RGBA", rgba.size, (background, background, background, 255))
        image = Image.alpha_composite(under, rgba)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def _to_tensor(pixels: npt.NDArray[Any]) -> Tensor:
    import torch

    if pixels.ndim == 2:
        return torch.from_numpy(pixels).expand(3, -1, -1).contiguous()
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _wide_grey(image: Image.Image, name: str) -> npt.NDArray[np.float32]:
    """16-bit (and 32-bit integer files holding 16 bits) grey, float32 (H, W) in [0, 1]."""
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are not finite")
    if image.mode == "F":
        if values.min() < 0 or values.max() > 1:
            raise InputError(f"{name} is a float picture with values outside [0, 1]")
        return values
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{name} holds values beyond 16 bits")
    return values / np.float32(65535)


def _from_array(array: npt.NDArray[Any]) -> Tensor:
    import torch

    if array.dtype == np.uint8 and (array.ndim == 2 or array.shape[2:] in ((3,), (4,))):
        image = Image.fromarray(np.ascontiguousarray(array))
        return _to_tensor(_pixels(image, "the picture", image.size))
    if array.dtype.kind == "f" and array.ndim == 3 and 3 in (array.shape[0], array.shape[2]):
        planes = array if array.shape[0] == 3 else array.transpose(2, 0, 1)
        return _from_tensor(torch.from_numpy(planes.astype(np.float32)))
    raise InputError(
        "an image array is uint8 (H, W), (H, W, 3) or (H, W, 4), or float (H, W, 3) or (3, H, W) "
        f"in [0, 1], not {array.dtype} {array.shape}"
    )


def _from_tensor(image: Tensor) -> Tensor:
    import torch

    if image.layout is not torch.strided or image.is_meta:
        raise InputError("an image tensor is dense and holds values")
    if image.dim() == 4 and image.shape[0] == 1:
        image = image[0]
    if image.dim() != 3 or image.shape[0] != 3 or not image.is_floating_point():
        raise InputError(f"an image tensor is float (3, H, W), not {tuple(image.shape)}")
    _check_size(image.shape[2], image.shape[1], "the picture")
    image = image.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(image).all()):
        raise InputError("the picture holds values that are not finite")
    if float(image.min()) < -1e-6 or float(image.max()) > 1 + 1e-6:
        raise InputError("the picture's values must lie in [0, 1]")
    return image.clamp(0, 1)
