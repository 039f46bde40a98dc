"""The overview picture: source, region of interest, rate map, reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lrisc.transmission import TransmitResult


def draw_overview(result: TransmitResult, path: Path) -> None:
    """Write the four panels as a PNG.

    Args:
        result: a transmission that was no outage.
        path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    report = result.report
    height, width = report.height, report.width
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    panel = 5.0
    aspect = min(max(height / width, 0.4), 2.5)  # panels of very long pictures have margins
    figure = Figure(figsize=(2 * panel, 2 * panel * aspect + 1.9), layout="compressed")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 2)
    source = np.asarray(result.source)
    axes[0, 0].imshow(source)
    axes[0, 0].set_title("source")

    if result.roi_mask is None:
        axes[0, 1].imshow(source, alpha=0.25)
        axes[0, 1].set_title("region of interest: none")
    else:
        grey = source.mean(axis=2, keepdims=True) * 0.35
        inside = result.roi_mask[:, :, None]
        axes[0, 1].imshow((source * inside + grey * (1 - inside)).astype(np.uint8))
        axes[0, 1].set_title(f"region of interest\n{result.roi_mask.mean():.0%} of the picture")

    rate_map = result.rate_map
    shown = axes[1, 0].imshow(
        rate_map,
        cmap="viridis",
        vmin=0,
        extent=(-0.5, rate_map.shape[1] * 16 - 0.5, rate_map.shape[0] * 16 - 0.5, -0.5),
        interpolation="nearest",
    )
    axes[1, 0].set_xlim(extent[:2])
    axes[1, 0].set_ylim(extent[2:])
    axes[1, 0].set_title(f"rate map\nsymbols per 16×16 patch, mean {rate_map.mean():.1f}")
    figure.colorbar(shown, ax=axes[1, 0], orientation="horizontal", shrink=0.8, aspect=40, pad=0.02)

    axes[1, 1].imshow(np.asarray(result.reconstruction))
    quality = [f"PSNR {report.psnr_db:.2f} dB"] if report.psnr_db is not None else []
    quality.append(f"MS-SSIM {report.ms_ssim:.4f}")
    if report.lpips is not None:
        quality.append(f"LPIPS {report.lpips:.3f}")
    axes[1, 1].set_title("reconstruction\n" + ", ".join(quality))
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(
        f"{report.channel.upper() if report.channel == 'awgn' else report.channel}, "
        f"{report.snr_db:g} dB, {report.counts.total:,} channel symbols, CBR 1/{1 / report.cbr:.1f}"
    )
    figure.savefig(path, format="png", dpi=100)
