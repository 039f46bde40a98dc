"""Quality of one reconstruction, for reports."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lrisc.metrics.distortion import ms_ssim, psnr
from lrisc.metrics.lpips import Backbone, Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights

logger = logging.getLogger(__name__)


def quality(
    source: Image.Image, reconstruction: Image.Image, backbone: Backbone = "alex"
) -> dict[str, Any]:
    """PSNR, MS-SSIM and LPIPS of 8-bit RGB pictures of one size.

    Args:
        source: what was sent.
        reconstruction: what arrived.
        backbone: of LPIPS.

    Returns:
        ``psnr_db`` (``None`` for identical pictures), ``ms_ssim``, ``lpips`` (``None`` with
        ``lpips_reason`` where its weights are not on this machine).
    """
    a, b = _tensor(source), _tensor(reconstruction)
    decibels = float(psnr(a, b))
    report: dict[str, Any] = {
        "psnr_db": decibels if np.isfinite(decibels) else None,
        "ms_ssim": float(ms_ssim(a, b)),
    }
    try:
        with torch.no_grad():
            report["lpips"] = float(_lpips(backbone)(a * 2 - 1, b * 2 - 1))
    except LpipsUnavailableError as error:
        report["lpips"], report["lpips_reason"] = None, str(error)
    return report


@lru_cache(maxsize=2)
def _lpips(backbone: Backbone) -> Lpips:
    lpips = Lpips(backbone)
    lpips.load_state_dict(resolve_weights(backbone))
    return lpips


def _tensor(image: Image.Image) -> Tensor:
    pixels = np.asarray(image.convert("RGB")).copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
