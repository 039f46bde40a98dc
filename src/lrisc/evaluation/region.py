"""What a region of interest gets: quality and symbols inside and outside of it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.evaluation.lpips import Backbone, Lpips
from lrisc.evaluation.lpips_weights import LpipsUnavailableError, resolve_weights
from lrisc.models.config import LATENT_STRIDE

if TYPE_CHECKING:
    from lrisc.system import TransmitResult

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
        rate_map: symbols of every embedding, (h, w): one embedding for 16x16 pixels of
            the picture as the preset pads it.
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


def draw_region_figure(without: TransmitResult, favoured: TransmitResult, path: Path) -> None:
    """Picture, region map and reconstructions without and with it, as in Fig. 5 of the paper's v2.

    Args:
        without: sent without a region.
        favoured: the same picture sent with one, at the same CBR.
        path: of the PNG.

    Raises:
        ValueError: one is an outage, or the second has no region.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if without.reconstruction is None or favoured.reconstruction is None:
        raise ValueError("an outage has no picture to show")
    if favoured.roi_mask is None:
        raise ValueError("the second transmission has no region")
    mask = favoured.roi_mask
    plain = region_quality(without.source, without.reconstruction, torch.from_numpy(mask))
    width, height = without.source.size
    panel = 4.5
    figure = Figure(
        figsize=(4 * panel, panel * min(max(height / width, 0.4), 2.5) + 1.0), layout="compressed"
    )
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(1, 4)
    axes[0].imshow(np.asarray(without.source))
    axes[0].set_title("source")
    axes[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
    axes[1].set_title(f"region map\n{mask.mean():.0%} of the picture")
    shown = (("no region", without, plain), ("region", favoured, favoured.report))
    for axis, (name, result, quality) in zip(axes[2:], shown, strict=True):
        axis.imshow(np.asarray(result.reconstruction))
        axis.contour(mask, levels=[INSIDE], colors="white", linewidths=0.6)
        axis.set_title(f"{name}\n{_quality(quality)}")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    report = favoured.report
    figure.suptitle(f"{report['channel']}, {report['snr_db']:g} dB, CBR {report['cbr']:.4f}")
    figure.savefig(path, format="png", dpi=100)


def _quality(report: dict[str, Any]) -> str:
    parts: list[str] = []
    for name in ("inside", "outside"):
        decibels, distance = report[f"psnr_{name}_db"], report[f"lpips_{name}"]
        text = name if decibels is None else f"{name} {decibels:.2f} dB"
        parts.append(text if distance is None else f"{text} / {distance:.3f}")
    return ", ".join(parts)
