"""Pictures in and out: whatever a user brings becomes RGB in [0, 1]."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lrisc.errors import InputError

MIN_SIDE, MAX_SIDE = 64, 4096
"""Pixels a side a picture may have."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")

ImageLike = str | Path | Image.Image | Tensor


def load_image(source: ImageLike) -> Tensor:
    """Read a picture: EXIF rotation applied, alpha laid over white, 16 bits scaled to 8.

    Args:
        source: path, PIL image, or float tensor (3, H, W) or (1, 3, H, W) in [0, 1].

    Returns:
        (3, H, W) float32 in [0, 1], 64 to 4096 pixels a side.

    Raises:
        InputError: missing, broken, too small or large, not finite, not a picture.
    """
    if isinstance(source, Tensor):
        return _from_tensor(source)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the picture")
    return read_picture(Path(source), "picture")


def read_picture(path: Path, what: str, background: int = 255, smallest: int = MIN_SIDE) -> Tensor:
    """Read a picture file.

    Args:
        path: of a JPEG, PNG, WebP, TIFF, BMP, GIF (first frame), PPM or JPEG 2000 file.
        what: what to call it in errors.
        background: grey level, 0 to 255, under transparent pixels.
        smallest: side in pixels that is still accepted.

    Returns:
        (3, H, W) float32 in [0, 1].

    Raises:
        InputError: as for :func:`load_image`.
    """
    try:
        with warnings.catch_warnings():
            # Too many pixels are an error of ours, told in one line.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                return _from_pil(image, str(path), background, smallest)
    except FileNotFoundError as error:
        raise InputError(f"there is no {what} {path}") from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a {what} that can be read") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} is broken or unreadable: {error}") from error


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] to an 8-bit RGB picture."""
    pixels = (image.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def _check_size(width: int, height: int, name: str, smallest: int = MIN_SIDE) -> None:
    if min(width, height) < smallest or max(width, height) > MAX_SIDE:
        raise InputError(
            f"{name} has {width}×{height} pixels; {smallest} to {MAX_SIDE} a side are possible"
        )


def _from_pil(
    image: Image.Image, name: str, background: int = 255, smallest: int = MIN_SIDE
) -> Tensor:
    # Before any pixel is decoded: absurd sizes must cost nothing.
    _check_size(*image.size, name, smallest)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        pixels = _wide_grey(image, name)
        return torch.from_numpy(pixels).expand(3, -1, -1).contiguous()
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        under = Image.new("RGBA", rgba.size, (background, background, background, 255))
        image = Image.alpha_composite(under, rgba)
    pixels = np.asarray(image.convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _wide_grey(image: Image.Image, name: str) -> np.ndarray:
    """16-bit (and 32-bit integer files holding 16 bits) grey, float32 (1, H, W) in [0, 1]."""
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are not finite")
    if image.mode == "F":
        if values.min() < 0 or values.max() > 1:
            raise InputError(f"{name} is a float picture with values outside [0, 1]")
        return values[None]
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"{name} holds values beyond 16 bits")
    return values[None] / 65535


def _from_tensor(image: Tensor) -> Tensor:
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
