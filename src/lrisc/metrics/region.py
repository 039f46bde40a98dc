"""What a region of interest gets: quality and symbols inside and outside of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.device import CPU
from lrisc.images import from_pil
from lrisc.metrics.lpips import published_lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError
from lrisc.models.config import LATENT_STRIDE

INSIDE = 0.5
"""Pixels and patches whose mask is above this count as inside."""


def region_quality(
    source: Image.Image,
    reconstruction: Image.Image,
    mask: Tensor,
    device: torch.device = CPU,
) -> dict[str, float | None]:
    """PSNR and LPIPS (AlexNet) over the pixels inside and over those outside a region.

    LPIPS is the mean of its spatial map over those pixels; over all pixels that would be the
    usual number, up to the enlargement of the layers.

    Args:
        source: 8-bit RGB.
        reconstruction: 8-bit RGB of the same size.
        mask: (H, W) in [0, 1]; inside is above 0.5.
        device: where LPIPS runs.

    Returns:
        ``psnr_inside_db``, ``psnr_outside_db``, ``lpips_inside``, ``lpips_outside``; ``None``
        where there are no such pixels, no error, or no LPIPS weights.
    """
    a, b = from_pil(source)[None], from_pil(reconstruction)[None]
    inside = mask > INSIDE
    error = (a.double() - b.double()).square().mean(1)[0]
    distance: Tensor | None = None
    try:
        with torch.no_grad():
            pair = (2 * x.to(device) - 1 for x in (a, b))
            distance = published_lpips("alex", device)(*pair, spatial=True)[0, 0].double().cpu()
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


def region_gains(
    favoured: Mapping[str, float | None], plain: Mapping[str, float | None]
) -> dict[str, float | None]:
    """What a region changed against the same picture sent without it.

    Args:
        favoured: of :func:`region_quality`, sent with the region.
        plain: the same, sent without it, over the same mask.

    Returns:
        ``psnr_inside_gain_db`` and ``psnr_outside_gain_db`` (positive is better),
        ``lpips_inside_gain`` and ``lpips_outside_gain`` (negative is better); ``None`` where one
        of the two is.
    """
    gains: dict[str, float | None] = {}
    for place in ("inside", "outside"):
        for name, gain in (
            (f"psnr_{place}_db", f"psnr_{place}_gain_db"),
            (f"lpips_{place}", f"lpips_{place}_gain"),
        ):
            now, before = favoured[name], plain[name]
            gains[gain] = None if now is None or before is None else now - before
    return gains


def region_notes(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What a user should know of the region, one sentence each.

    Args:
        report: with ``roi_area`` and, where they are known, :func:`region_gains`.
    """
    notes: list[str] = []
    if report["roi_area"] > 0.5:
        notes.append(
            f"the region covers {report['roi_area']:.0%} of the picture: little is left to take "
            "symbols from"
        )
    psnr, lpips = report.get("psnr_inside_gain_db"), report.get("lpips_inside_gain")
    if psnr is not None and psnr <= 0 and (lpips is None or lpips >= 0):
        notes.append("the region gains nothing inside against none")
    return tuple(notes)
