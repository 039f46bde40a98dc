"""What a region of interest gets: quality and symbols inside and outside of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.metrics.lpips import Backbone, Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights
from lrisc.models.config import LATENT_STRIDE

INSIDE = 0.5
"""Pixels and patches whose mask is above this count as inside."""


def region_quality(
    source: Image.Image, reconstruction: Image.Image, mask: Tensor, backbone: Backbone = "alex"
) -> dict[str, float | None]:
    """PSNR and LPIPS over the pixels inside and over those outside a region.

    LPIPS is the mean of its spatial map over those pixels; over all pixels that would be the
    usual number, up to the enlargement of the layers.

    Args:
        source: 8-bit RGB.
        reconstruction: 8-bit RGB of the same size.
        mask: (H, W) in [0, 1]; inside is above 0.5.
        backbone: of LPIPS.

    Returns:
        ``psnr_inside_db``, ``psnr_outside_db``, ``lpips_inside``, ``lpips_outside``; ``None``
        where there are no such pixels, no error, or no LPIPS weights.
    """
    a, b = _tensor(source), _tensor(reconstruction)
    inside = mask > INSIDE
    error = (a.double() - b.double()).square().mean(1)[0]
    distance: Tensor | None = None
    try:
        with torch.no_grad():
            distance = _spatial(backbone)(a * 2 - 1, b * 2 - 1)[0, 0].double()
    except LpipsUnavailableError:
        pass  # the reason is told beside the whole picture's LPIPS
    report: dict[str, float | None] = {}
    for name, chosen in (("inside", inside), ("outside", ~inside)):
        mse = float(error[chosen].mean()) if bool(chosen.any()) else 0.0
        report[f"psnr_{name}_db"] = -10 * float(np.log10(mse)) if mse > 0 else None
        report[f"lpips_{name}"] = None
        if distance is not None and bool(chosen.any()):
            report[f"lpips_{name}"] = float(distance[chosen].mean())
    return report


@lru_cache(maxsize=1)
def _spatial(backbone: Backbone) -> Lpips:
    lpips = Lpips(backbone, spatial=True)
    lpips.load_state_dict(resolve_weights(backbone))
    return lpips


def _tensor(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def region_symbols(rate_map: npt.NDArray[np.int64], mask: Tensor) -> dict[str, float | None]:
    """Complex symbols per embedding inside and outside a region.

    Args:
        rate_map: symbols of every embedding, (h, w), h ≥ ceil(H/16), w ≥ ceil(W/16).
        mask: (H, W) in [0, 1].

    Returns:
        ``symbols_inside`` and ``symbols_outside``: means over the patches whose mask is above 0.5
        on average, and over the others; padding beyond the picture counts for neither. ``None``
        where there are no such patches. A region smaller than any patch is where it is largest.
    """
    rows, columns = (-(-side // LATENT_STRIDE) for side in mask.shape)
    height, width = mask.shape
    pad = (0, columns * LATENT_STRIDE - width, 0, rows * LATENT_STRIDE - height)
    padded = F.pad(mask[None, None].float(), pad, mode="replicate")
    share = F.avg_pool2d(padded, LATENT_STRIDE)[0, 0].numpy()
    inside = share > min(INSIDE, 0.999 * float(share.max()))
    symbols = rate_map[:rows, :columns]
    return {
        f"symbols_{name}": float(symbols[chosen].mean()) if chosen.any() else None
        for name, chosen in (("inside", inside), ("outside", ~inside))
    }
