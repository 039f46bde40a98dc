"""Send one picture over a simulated channel and measure what arrives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from lrisc._version import __version__
from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint
from lrisc.errors import OutageError, check_start_noise, check_steps
from lrisc.images import ImageLike, load_image, to_pil
from lrisc.link import channels
from lrisc.link.budget import SymbolCounts, symbol_budget
from lrisc.link.channels import Channel, Received
from lrisc.link.frame import VERSION as FRAME_VERSION
from lrisc.link.frame import Frame
from lrisc.link.multipath import Mobility
from lrisc.link.ofdm_link import make_link
from lrisc.link.waveform.numerology import SYMBOLS, on_the_air
from lrisc.metrics.quality import quality
from lrisc.metrics.region import region_gains, region_notes, region_quality, region_symbols
from lrisc.refinement.objective import ObjectiveName
from lrisc.refinement.objective import objective as refinement_objective
from lrisc.refinement.search import OnProgress, Progress
from lrisc.roi.masks import RoiLike
from lrisc.roi.region import Region
from lrisc.stopwatch import Stopwatch, part
from lrisc.system import (
    Receiver,
    Transmitter,
    fading_margin_db,
    one_rate,
    start_noise_of,
    steering_of,
)


@dataclass(frozen=True)
class RegionReport:
    """What a region of interest got.

    Attributes:
        roi_area: share of the picture, 0 to 1; 0 where nothing was found, and then there is no
            more to say.
        roi_strength: gamma.
        roi_steering: what gamma weighted.
        psnr_inside_db: over the pixels inside; ``None``: none, no error, or an outage.
        psnr_outside_db: over the others.
        lpips_inside: mean of the spatial map inside.
        lpips_outside: the same over the others.
        symbols_inside: complex symbols per embedding inside.
        symbols_outside: the same over the others.
        psnr_inside_gain_db: against the same picture sent without the region, at the same rate and
            noise; positive is better. ``None`` where that was not tried or is not known.
        psnr_outside_gain_db: the same over the others.
        lpips_inside_gain: likewise; negative is better.
        lpips_outside_gain: the same over the others.
        roi_notes: what a user should know of the region, one sentence each.
    """

    roi_area: float
    roi_strength: float | None = None
    roi_steering: str | None = None
    psnr_inside_db: float | None = None
    psnr_outside_db: float | None = None
    lpips_inside: float | None = None
    lpips_outside: float | None = None
    symbols_inside: float | None = None
    symbols_outside: float | None = None
    psnr_inside_gain_db: float | None = None
    psnr_outside_gain_db: float | None = None
    lpips_inside_gain: float | None = None
    lpips_outside_gain: float | None = None
    roi_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What was sent under which conditions, and what it is worth; report.json.

    Attributes:
        psnr_db: ``None`` for identical pictures, and in an outage.
        ms_ssim: ``None`` in an outage.
        lpips: ``None`` in an outage, and where there are no weights.
        lpips_reason: why there is no LPIPS.
        cbr: all symbols / (3·H·W).
        cbr_payload: payload symbols / (3·H·W).
        cbr_grid: resource elements with comb, training and preamble / (3·H·W).
        cbr_on_air: samples / (3·H·W).
        waveform: its name; with ``symbols`` all three count the same.
        counts: symbols by what they are for.
        snr_db: mean Es/N0, dB.
        margin_db: how much less the rate map's code counted on, dB.
        channel: its name.
        block_length: symbols per fade, 0 for one fade; ``None`` where the channel has none.
        height: of the picture in pixels.
        width: of the picture in pixels.
        model: the checkpoint, as it was asked for.
        model_sha256: of its weights.
        lrisc_version: of this package.
        frame_version: of the frame's format.
        cbr_ceiling: what ``cbr`` was not to exceed; ``None`` where ``beta`` ruled the rate.
        beta: symbols per bit, where it ruled the rate instead of a ceiling.
        steps: of the diffusion.
        sigma_start: standard deviation of the noise that decoding started from.
        effort: finished iterations that improved the payload.
        objective: what they improved; ``None`` without effort.
        seed: of channel, diffusion and effort.
        seconds: by part.
        outage_reason: ``None`` unless the frame was lost.
        region: ``None`` where nobody asked for one.
    """

    psnr_db: float | None
    ms_ssim: float | None
    lpips: float | None
    lpips_reason: str | None
    cbr: float
    cbr_payload: float
    cbr_grid: float
    cbr_on_air: float
    waveform: str
    counts: SymbolCounts
    snr_db: float
    margin_db: float
    channel: str
    block_length: int | None
    height: int
    width: int
    model: str
    model_sha256: str
    lrisc_version: str
    frame_version: int
    steps: int
    sigma_start: float
    effort: int
    objective: str | None
    seed: int
    seconds: dict[str, float]
    cbr_ceiling: float | None = None
    beta: float | None = None
    outage_reason: str | None = None
    region: RegionReport | None = None

    @property
    def outage(self) -> bool:
        """Whether the frame was lost."""
        return self.outage_reason is not None

    def to_dict(self) -> dict[str, Any]:
        """The entries of report.json: flat, and without what does not apply."""
        found: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "counts":
                found |= self.counts.to_dict()
            elif name == "region":
                found |= {key: v for key, v in (value or {}).items() if v is not None}
            elif value is not None or name in ("psnr_db", "ms_ssim", "lpips"):
                found[name] = value
        return found | {"outage": self.outage}


@dataclass(repr=False)
class TransmitResult:
    """What was sent and what came out.

    Attributes:
        source: the picture as the transmitter saw it, 8-bit RGB.
        reconstruction: the receiver's picture; ``None`` in an outage.
        report: conditions, accounting and quality.
        rate_map: complex symbols per embedding, (h, w).
        roi_mask: (H, W) in [0, 1], ``None`` without a region.
        received: what the channel delivered; ``None`` where no frame was found in it.
        frame: what was sent.
    """

    source: Image.Image
    reconstruction: Image.Image | None
    report: Report
    rate_map: npt.NDArray[np.int64]
    roi_mask: npt.NDArray[np.float32] | None
    received: Received | None
    frame: Frame

    def to_dict(self) -> dict[str, Any]:
        """The report, as in report.json."""
        return self.report.to_dict()

    def __repr__(self) -> str:
        """Size, conditions and quality in one line."""
        r = self.report
        told = [
            f"{r.width}×{r.height}",
            f"{r.channel} at {r.snr_db:g} dB",
            f"CBR 1/{1 / r.cbr:.1f}",
        ]
        if r.outage:
            told.append("outage")
        if r.psnr_db is not None:
            told.append(f"PSNR {r.psnr_db:.2f} dB")
        if r.lpips is not None:
            told.append(f"LPIPS {r.lpips:.4f}")
        return f"TransmitResult({', '.join(told)})"


class TransmitOptions(TypedDict, total=False):
    """The keywords of :func:`transmit`."""

    snr_db: float
    cbr: float | str | None
    beta: float | None
    channel: str
    block_length: int | None
    roi: Region | RoiLike | None
    steps: int | None
    sigma_start: float | None
    model: str | Path | LoadedCheckpoint
    effort: int
    objective: ObjectiveName
    seed: int
    measure: bool
    progress: OnProgress | None
    compare_region: bool
    waveform: str
    mobility: Mobility | None
    device: str
    precision: str
    max_side: int | None


@overload
def transmit(image: ImageLike, **options: Unpack[TransmitOptions]) -> TransmitResult: ...


@overload
def transmit(
    image: list[Any] | tuple[Any, ...], **options: Unpack[TransmitOptions]
) -> list[TransmitResult]: ...


def transmit(
    image: ImageLike | list[Any] | tuple[Any, ...],
    *,
    snr_db: float = 10.0,
    cbr: float | str | None = None,
    beta: float | None = None,
    channel: str = "awgn",
    block_length: int | None = None,
    roi: Region | RoiLike | None = None,
    steps: int | None = None,
    sigma_start: float | None = None,
    model: str | Path | LoadedCheckpoint = "compact",
    effort: int = 0,
    objective: ObjectiveName = "perception",
    seed: int = 0,
    measure: bool = True,
    progress: OnProgress | None = None,
    compare_region: bool = True,
    waveform: str = SYMBOLS,
    mobility: Mobility | None = None,
    device: str = "auto",
    precision: str = "fp32",
    max_side: int | None = None,
) -> TransmitResult | list[TransmitResult]:
    """Send a picture, or several, and measure what arrives.

    Args:
        image: whatever :func:`lrisc.images.load_image` takes, or a list or tuple of that, whose
            pictures are sent one by one, with the same options.
        snr_db: mean Es/N0 per complex symbol, dB.
        cbr: ceiling on all complex symbols sent, per 3·H·W, as a number or as "1/48";
            1/48 unless ``beta`` is given.
        beta: symbols per bit instead of ``cbr``, see :meth:`lrisc.system.Transmitter.encode`.
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        block_length: symbols per fade of channels that fade in blocks; default: the channel's.
        roi: region of interest; anything but a :class:`lrisc.roi.region.Region` is the mask of one
            with the default strength.
        steps: DDIM steps; default: what the checkpoint says.
        sigma_start: see :meth:`lrisc.system.Receiver.decode`.
        model: checkpoint, or its name.
        effort: iterations that improve the payload for this picture, 0 to 1000.
        objective: what effort improves, ``perception`` or ``distortion``.
        seed: of the channel, of the diffusion's starting noise and of effort.
        measure: whether to measure PSNR, MS-SSIM and LPIPS.
        progress: called after every iteration of effort.
        compare_region: where there is a region and it is measured, send the picture without it
            too, with the same effort, and report what the region gained.
        waveform: ``symbols``, one sample each over a channel that the receiver is told, or an OFDM
            waveform (:data:`lrisc.link.waveform.numerology.WAVEFORMS`), where it finds the frame
            and estimates everything from the samples.
        mobility: delay spread, speed and carrier frequency of channels with paths.
        device: where the networks of a checkpoint that is given by name run: ``auto``, ``cpu`` or
            ``cuda``; a loaded one stays where it is.
        precision: of the diffusion: ``fp32``, or ``bf16``, faster where the hardware has it.
        max_side: scale larger pictures down to so many pixels on the longer side.

    Returns:
        Pictures and report, or a list of them; in an outage ``reconstruction`` is ``None`` and the
        report says why.

    Raises:
        InputError: anything the user can mend.
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if name != "image"}
    if isinstance(image, list | tuple):
        if not isinstance(model, LoadedCheckpoint):
            given["model"] = load_checkpoint(model, device)
        return [transmit(one, **given) for one in image]
    check_steps(steps)
    check_start_noise(sigma_start)
    channel = channels.CHANNELS.key(channel)
    link = make_link(
        channel, snr_db, waveform=waveform, seed=seed, block_length=block_length, mobility=mobility
    )
    channels.check_block_length(channel, block_length)
    kind = channels.CHANNELS[channel]
    blocks = kind.fades and kind.blocks
    # Flat fading hardly changes while an OFDM frame lasts.
    fade_symbols = link.block_length if isinstance(link, Channel) else 0
    ceiling = one_rate(cbr, beta)
    region = Region.of(roi)
    finished = 0

    def count(done: Progress) -> None:
        nonlocal finished
        finished = done.iteration
        if progress is not None:
            progress(done)

    with Stopwatch() as watch:
        with part("load"):
            pixels = load_image(image, max_side)
            checkpoint = (
                model if isinstance(model, LoadedCheckpoint) else load_checkpoint(model, device)
            )
            transmitter, receiver = Transmitter(checkpoint), Receiver(checkpoint, precision)
            where = checkpoint.device
        with part("region"):
            mask = region.mask_on(pixels, where)
        most = 0 if ceiling is None else symbol_budget(ceiling, *pixels.shape[-2:])
        margin_db = fading_margin_db(channel, most, fade_symbols)
        rate: dict[str, Any] = {
            "snr_db": snr_db,
            "cbr": cbr,
            "beta": beta,
            "margin_db": margin_db,
            "effort": effort,
            "objective": objective,
            "channel": channel,
            "block_length": fade_symbols,
            "mobility": mobility,
            "seed": seed,
        }
        start: dict[str, Any] = {"steps": steps, "seed": seed, "sigma_start": sigma_start}
        frame = transmitter.encode(pixels, roi=replace(region, mask=mask), progress=count, **rate)
        received, reconstruction, outage = None, None, None
        try:
            with part("channel"):
                received = link(frame)
            reconstruction = receiver.decode(received, **start)
        except OutageError as error:
            outage = str(error)
        source = to_pil(pixels)
        figures: dict[str, Any] = {}
        inside: dict[str, Any] = {}
        with part("metrics"):
            if reconstruction is not None and measure:
                figures = quality(source, reconstruction, device=where)
                if mask is not None:
                    inside = region_quality(source, reconstruction, mask, device=where)
        if inside and mask is not None and compare_region:
            with part("without_region"), Stopwatch():
                try:
                    # As much effort as the other one had before Ctrl-C.
                    alike: dict[str, Any] = rate | {"effort": finished}
                    plain = link(transmitter.encode(pixels, progress=progress, **alike))
                    other = receiver.decode(plain, **start)
                except OutageError:
                    pass  # there is nothing to compare with
                else:
                    against = region_quality(source, other, mask, device=where)
                    inside |= region_gains(inside, against)
    report = Report(
        psnr_db=figures.get("psnr_db"),
        ms_ssim=figures.get("ms_ssim"),
        lpips=figures.get("lpips"),
        lpips_reason=figures.get("lpips_reason"),
        cbr=frame.cbr,
        cbr_payload=frame.cbr_payload,
        **_on_the_air(frame, waveform),
        counts=frame.counts,
        snr_db=float(snr_db),
        margin_db=margin_db,
        channel=channel,
        block_length=link.block_length if blocks and isinstance(link, Channel) else None,
        height=frame.height,
        width=frame.width,
        model=checkpoint.name,
        model_sha256=checkpoint.sha256,
        lrisc_version=__version__,
        frame_version=FRAME_VERSION,
        cbr_ceiling=ceiling,
        beta=beta,
        steps=checkpoint.model.config.decode_steps if steps is None else steps,
        sigma_start=start_noise_of(checkpoint, sigma_start),
        effort=finished,
        objective=refinement_objective(objective, checkpoint.device).name if effort else None,
        seed=seed,
        seconds={name: round(value, 4) for name, value in watch.seconds.items()},
        outage_reason=outage,
    )
    if region.mask is not None:
        report = replace(report, region=RegionReport(roi_area=0.0))
    if mask is not None:
        inside.update(region_symbols(frame.rate_map, mask))
        told = RegionReport(
            roi_area=float(mask.mean()),
            roi_strength=region.gamma,
            roi_steering=steering_of(checkpoint, region.steering, warn=False),
            **inside,
        )
        report = replace(report, region=replace(told, roi_notes=region_notes(asdict(told))))
    return TransmitResult(
        source=source,
        reconstruction=reconstruction,
        report=report,
        rate_map=frame.rate_map,
        roi_mask=None if mask is None else mask.numpy(),
        received=received,
        frame=frame,
    )


def _on_the_air(frame: Frame, waveform: str) -> dict[str, Any]:
    """What the waveform adds: elements with comb, training and preamble, and samples."""
    elements, samples = on_the_air(frame.symbols.numel(), waveform)
    values = 3 * frame.height * frame.width
    return {"waveform": waveform, "cbr_grid": elements / values, "cbr_on_air": samples / values}
