"""Quality of one reconstruction, for reports."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from PIL import Image

from lrisc.device import CPU
from lrisc.images import from_pil
from lrisc.metrics.distortion import ms_ssim, psnr
from lrisc.metrics.lpips import published_lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError

logger = logging.getLogger(__name__)


def quality(
    source: Image.Image,
    reconstruction: Image.Image,
    device: torch.device = CPU,
) -> dict[str, Any]:
    """PSNR, MS-SSIM and LPIPS (AlexNet) of 8-bit RGB pictures of one size.

    Args:
        source: what was sent.
        reconstruction: what arrived.
        device: where LPIPS runs.

    Returns:
        ``psnr_db`` (``None`` for identical pictures), ``ms_ssim``, ``lpips`` (``None`` with
        ``lpips_reason`` where its weights are not on this machine).
    """
    a, b = from_pil(source)[None], from_pil(reconstruction)[None]
    decibels = float(psnr(a, b))
    report: dict[str, Any] = {
        "psnr_db": decibels if np.isfinite(decibels) else None,
        "ms_ssim": float(ms_ssim(a, b)),
    }
    try:
        with torch.no_grad():
            pair = (2 * x.to(device) - 1 for x in (a, b))
            report["lpips"] = float(published_lpips("alex", device)(*pair))
    except LpipsUnavailableError as error:
        report["lpips"], report["lpips_reason"] = None, str(error)
    return report
