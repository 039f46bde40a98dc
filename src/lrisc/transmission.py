"""Send one picture over a simulated channel and measure what arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint
from lrisc.errors import OutageError
from lrisc.images import ImageLike, load_image, to_pil
from lrisc.link import channels
from lrisc.link.channels import Received
from lrisc.link.frame import Frame
from lrisc.metrics.quality import quality
from lrisc.metrics.region import region_quality, region_symbols
from lrisc.roi.fusion import Steering
from lrisc.roi.masks import RoiLike, region_mask
from lrisc.system import (
    DEFAULT_ROI_STEERING,
    DEFAULT_ROI_STRENGTH,
    FADING_MARGIN_DB,
    Receiver,
    Stopwatch,
    Transmitter,
    check_steps,
)


@dataclass
class TransmitResult:
    """What was sent and what came out.

    Attributes:
        source: the picture as the transmitter saw it, 8-bit RGB.
        reconstruction: the receiver's picture; ``None`` in an outage.
        report: the entries of report.json.
        rate_map: complex symbols per embedding, (h, w).
        roi_mask: (H, W) in [0, 1], ``None`` without a region.
        received: what the channel delivered.
        frame: what was sent.
    """

    source: Image.Image
    reconstruction: Image.Image | None
    report: dict[str, Any]
    rate_map: npt.NDArray[np.int64]
    roi_mask: npt.NDArray[np.float32] | None
    received: Received = field(repr=False)
    frame: Frame = field(repr=False)


def transmit(
    image: ImageLike,
    snr_db: float = 10.0,
    cbr: float | str = 1 / 48,
    channel: str = "awgn",
    roi: RoiLike | None = None,
    steps: int = 1,
    model: str | Path | LoadedCheckpoint = "compact",
    seed: int = 0,
    roi_strength: float = DEFAULT_ROI_STRENGTH,
    block_length: int | None = None,
    roi_steering: Steering = DEFAULT_ROI_STEERING,
    measure: Callable[[Image.Image, Image.Image], dict[str, Any]] | None = None,
) -> TransmitResult:
    """Send one picture and measure what arrives.

    Args:
        image: whatever :func:`lrisc.images.load_image` takes.
        snr_db: mean Es/N0 per complex symbol, dB.
        cbr: ceiling on all complex symbols sent, per 3·H·W, as a number or as "1/48".
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        roi: region of interest, see :func:`lrisc.roi.masks.region_mask`.
        steps: DDIM steps.
        model: checkpoint, or its name.
        seed: of the channel and of the diffusion's starting noise.
        roi_strength: gamma in (0, 1].
        block_length: symbols per fade on fading channels; default: the channel's.
        roi_steering: see :meth:`Transmitter.encode`.
        measure: (source, reconstruction) -> more entries for the report; default: PSNR, MS-SSIM
            and LPIPS.

    Returns:
        Pictures and report; in an outage ``reconstruction`` is ``None`` and the report says why.

    Raises:
        InputError: anything the user can mend.
    """
    watch = Stopwatch()
    options = {} if block_length is None else {"block_length": block_length}
    check_steps(steps)
    channel = channels.CHANNELS.key(channel)
    link = channels.channel(channel, snr_db, seed=seed, **options)
    with watch.part("load"):
        checkpoint = model if isinstance(model, LoadedCheckpoint) else load_checkpoint(model)
        pixels = load_image(image)
    _, height, width = pixels.shape
    with watch.part("region"):
        mask = region_mask(roi, pixels)
    margin_db = FADING_MARGIN_DB if channels.CHANNELS[channel].fades else 0.0
    frame = Transmitter(checkpoint).encode(
        pixels, snr_db, cbr, mask, roi_strength, margin_db, watch, roi_steering
    )
    with watch.part("channel"):
        received = link(frame)
    reconstruction, outage = None, None
    try:
        reconstruction = Receiver(checkpoint).decode(received, steps, seed, watch)
    except OutageError as error:
        outage = str(error)
    source = to_pil(pixels)
    report: dict[str, Any] = {"psnr_db": None, "ms_ssim": None, "lpips": None}
    if reconstruction is not None:
        with watch.part("metrics"):
            report.update((measure or quality)(source, reconstruction))
            if mask is not None:
                report.update(region_quality(source, reconstruction, mask))
    report.update(
        {
            "cbr": frame.cbr,
            "cbr_payload": frame.cbr_payload,
            "payload_symbols": frame.payload_symbols,
            "side_info_symbols": frame.side_info_symbols,
            "header_symbols": frame.header_symbols,
            "pilot_symbols": frame.pilot_symbols,
            "snr_db": float(snr_db),
            "channel": channel,
            "height": height,
            "width": width,
            "model": checkpoint.name,
            "model_sha256": checkpoint.sha256,
            "steps": steps,
            "seed": seed,
            "seconds": {name: round(value, 4) for name, value in watch.seconds.items()},
            "outage": outage is not None,
        }
    )
    if roi is not None:
        report["roi_area"] = 0.0 if mask is None else float(mask.mean())
    if mask is not None:
        report["roi_strength"], report["roi_steering"] = roi_strength, roi_steering
        report.update(region_symbols(frame.rate_map, mask))
    if outage is not None:
        report["outage_reason"] = outage
    return TransmitResult(
        source=source,
        reconstruction=reconstruction,
        report=report,
        rate_map=frame.rate_map,
        roi_mask=None if mask is None else mask.numpy(),
        received=received,
        frame=frame,
    )
