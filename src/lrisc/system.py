"""Transmitter and receiver, each in named steps.

Nothing passes between them but the frame's symbols.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Required, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint
from lrisc.device import check_precision
from lrisc.errors import (
    MAX_SAMPLES,
    InputError,
    OutageError,
    check_margin,
    check_start_noise,
    check_steps,
)
from lrisc.images import ImageLike, load_image, to_pil
from lrisc.link import channels, packing
from lrisc.link.budget import DEFAULT_CBR, check_beta, check_cbr, symbol_budget
from lrisc.link.channels import DEFAULT_BLOCK_LENGTH, Received
from lrisc.link.frame import Bits, Frame, Header, parse_body, parse_header, rate_scale_to_index
from lrisc.link.multipath import Mobility
from lrisc.link.rate_control import BudgetError, RateController, RateDecision, shape_bits
from lrisc.models.config import LATENT_STRIDE, Steering
from lrisc.models.jscc import symbol_mask
from lrisc.refinement.objective import ObjectiveName, check_objective
from lrisc.refinement.objective import objective as refinement_objective
from lrisc.refinement.payload import PayloadLink, payload_fades
from lrisc.refinement.search import OnProgress, Refined, check_effort, refine
from lrisc.roi.fusion import smooth
from lrisc.roi.masks import RoiLike
from lrisc.roi.region import DEFAULT_STEERING, Region, Regions
from lrisc.stopwatch import part

logger = logging.getLogger(__name__)

ENCODER_SNR_DB = (-2.0, 20.0)
"""The range of mean SNRs f_e is trained for; others are clamped to it."""
FADING_MARGIN_DB = 12.0
"""How much less than the mean SNR the rate map's code counts on when the channel fades.

Measured with OFDM at 15 dB, 500 frames each: 2 rate maps were lost over TDL-A, none over TDL-C."""
MANY_FADES = 100
"""So many independent fades in a frame average out for the rate map, which lies all over it."""
MANY_FADES_MARGIN_DB = 5.0
"""The margin there: `scripts/measure_margin.py`, docs/decisions/ablation.md."""


def fading_margin_db(channel: str, symbols: int, block_length: int) -> float:
    """How much less than the mean SNR a rate map's code counts on, dB.

    Args:
        channel: a key of :data:`lrisc.link.channels.CHANNELS`.
        symbols: of the frame.
        block_length: symbols per fade; 0: one fade for all.
    """
    model = channels.CHANNELS[channel]
    if not model.fades:
        return 0.0
    fades = symbols / block_length if model.blocks and block_length else 1.0
    return MANY_FADES_MARGIN_DB if fades >= MANY_FADES else FADING_MARGIN_DB


class EncodeOptions(TypedDict, total=False):
    """The keywords of :meth:`Transmitter.encode`."""

    snr_db: Required[float]
    cbr: float | str | None
    beta: float | None
    roi: Region | RoiLike | None
    margin_db: float
    effort: int
    objective: ObjectiveName
    channel: str
    block_length: int | None
    mobility: Mobility | None
    seed: int
    progress: OnProgress | None


class Transmitter:
    """Everything left of the channel.

    ::

        image ─ g_e ─► z ─(ROI)─► z' ─ h_e, h_d ─► bits ─ budget ─► rate map ─ coder, FEC ─┐
                                   └─ f_e(z', rate map, SNR) ─► payload ───────────────────┴► frame

    The steps of :meth:`encode` in order: :meth:`analyse`, :meth:`decide`, :meth:`modulate`,
    :meth:`assemble`.
    """

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        self.checkpoint = checkpoint

    @classmethod
    def from_pretrained(cls, name: str | Path = "compact", device: str = "auto") -> Transmitter:
        """Load an embedded checkpoint, a folder, or a Hugging Face id, see `load_checkpoint`."""
        return cls(load_checkpoint(name, device))

    def to(self, device: str) -> Transmitter:
        """Move the networks, see :meth:`LoadedCheckpoint.to`; returns the transmitter itself."""
        self.checkpoint.to(device)
        return self

    @overload
    def encode(self, image: ImageLike, **options: Unpack[EncodeOptions]) -> Frame: ...

    @overload
    def encode(
        self, image: list[Any] | tuple[Any, ...], **options: Unpack[EncodeOptions]
    ) -> list[Frame]: ...

    def encode(
        self,
        image: ImageLike | list[Any] | tuple[Any, ...],
        *,
        snr_db: float,
        cbr: float | str | None = None,
        beta: float | None = None,
        roi: Region | RoiLike | None = None,
        margin_db: float = 0.0,
        effort: int = 0,
        objective: ObjectiveName = "perception",
        channel: str = "awgn",
        block_length: int | None = None,
        mobility: Mobility | None = None,
        seed: int = 0,
        progress: OnProgress | None = None,
    ) -> Frame | list[Frame]:
        """Make the frame of a picture, or of several.

        Args:
            image: whatever :func:`lrisc.images.load_image` takes, 64 to 4096 pixels a side; or a
                list or tuple of that, whose pictures are encoded one by one, with the same options.
            snr_db: Es/N0 the channel is expected to have, dB.
            cbr: ceiling on all symbols sent, per 3·H·W, as a number or as "1/48"; met within 1 %
                from below, of pictures below 256×256 at low SNR within 4 %. 1/48 where neither it
                nor ``beta`` is given.
            beta: symbols per bit, instead of ``cbr``: the rate of Eq. 3, which follows the picture.
            roi: region of interest; anything but a :class:`lrisc.roi.region.Region` is the mask of
                one with the default strength.
            margin_db: protect the rate map for an SNR this much lower, 0 to 60 dB, for fading
                channels.
            effort: iterations that improve the payload for this picture, 0 to 1000; see
                :meth:`refine`.
            objective: what effort improves, ``perception`` or ``distortion``.
            channel: what effort prepares for, a name in
                :data:`lrisc.link.channels.CHANNELS`.
            block_length: symbols per fade of that channel; default: its own.
            mobility: delay spread, speed and carrier frequency of that channel, if it has paths.
            seed: of effort's random numbers.
            progress: called after every iteration of effort.

        Returns:
            The symbols and their accounting, or a list of that.

        Raises:
            InputError: a picture, SNR, CBR or region that cannot be used.
        """
        given: dict[str, Any] = {
            name: value for name, value in locals().items() if name not in ("self", "image")
        }
        if isinstance(image, list | tuple):
            return [self.encode(one, **given) for one in image]
        channels.check_snr(snr_db)
        ceiling = one_rate(cbr, beta)
        check_margin(margin_db)
        check_effort(effort)
        check_objective(objective)
        channels.check_seed(seed)
        link = channels.channel(
            channel,
            snr_db,
            block_length=DEFAULT_BLOCK_LENGTH if block_length is None else block_length,
            mobility=mobility,
        )
        region = Region.of(roi)
        pixels = load_image(image)
        _, height, width = pixels.shape
        with part("region"):
            regions = self._on_picture(region, pixels)
        latent, bits = self.analyse(pixels, regions)
        survive_db = snr_db - margin_db
        if ceiling is None:
            decision = self.decide_by(bits, snr_db=survive_db, beta=beta or 0.0)
        else:
            decision = self.decide(bits, snr_db=survive_db, cbr=ceiling, height=height, width=width)
        uneven = regions is not None and bool(regions.uneven())
        payload = self.modulate(latent, decision, snr_db=snr_db, uneven=uneven)
        if effort and payload.numel():
            payload = self.refine(
                payload,
                decision,
                pixels,
                link,
                effort=effort,
                objective=objective,
                regions=regions,
                seed=seed,
                progress=progress,
            ).payload
        return self.assemble(
            decision, payload, height=height, width=width, snr_db=snr_db, uneven=uneven
        )

    def analyse(self, pixels: Tensor, regions: Regions | None = None) -> tuple[Tensor, Tensor]:
        """g_e, the region's weights, and the entropy model.

        Args:
            pixels: (3, H, W) in [0, 1].
            regions: of a batch of one, padded as the picture is; ``None``: no region.

        Returns:
            z', (1, C, h, w), where the networks are, and the bits that the rate rule sees, (h, w),
            on the CPU.
        """
        with part("analysis"), torch.no_grad():
            model = self.checkpoint.model
            padded = pad_to_multiple(pixels[None] * 2 - 1, model.config.multiple)
            latent = model.analysis(padded.to(self.checkpoint.device))
            if regions is not None:
                latent = regions.weigh_latent(latent)
            bits = shape_bits(model.embedding_bits(latent), model.config.rate_rule)
            if regions is not None:
                bits = regions.weigh_bits(bits)
        return latent, bits[0].cpu()

    def decide(
        self, bits: Tensor, *, snr_db: float, cbr: float, height: int, width: int
    ) -> RateDecision:
        """How many symbols every embedding gets, within the budget of all that is sent.

        Args:
            bits: from :meth:`analyse`, (h, w).
            snr_db: what the rate map's code must survive, dB.
            cbr: ceiling on all symbols, per 3·H·W.
            height: of the picture in pixels.
            width: of the picture in pixels.

        Raises:
            InputError: no frame fits the budget, or the largest is much smaller.
        """
        pixels = 3 * height * width
        with part("rate_control"):
            try:
                return self._controller(snr_db).decide(
                    bits.double().numpy(), symbol_budget(cbr, height, width)
                )
            except BudgetError as error:
                # Rounded so that what is told is possible.
                small = error.which == "smallest"
                whole = math.ceil if small else math.floor
                possible = f"{whole(error.symbols / pixels * 1e6) / 1e6:.6f}"
                limit = f"too {'small: at least' if small else 'large: at most'} {possible}"
                raise InputError(
                    f"cbr {cbr:.6g} is {limit} is possible for this picture of {width}×{height}"
                ) from error

    def decide_by(self, bits: Tensor, *, snr_db: float, beta: float) -> RateDecision:
        """How many symbols every embedding gets at a fixed beta, Eq. 3.

        Args:
            bits: from :meth:`analyse`, (h, w).
            snr_db: what the rate map's code must survive, dB.
            beta: symbols per bit.
        """
        with part("rate_control"):
            return self._controller(snr_db).at_scale(bits.double().numpy(), beta)

    def _controller(self, snr_db: float) -> RateController:
        values = self.checkpoint.model.config.rate_values
        return RateController(self.checkpoint.prior, values, snr_db)

    def modulate(
        self, latent: Tensor, decision: RateDecision, *, snr_db: float, uneven: bool
    ) -> Tensor:
        """f_e, and each embedding's share of the power.

        Args:
            latent: z', (1, C, h, w).
            decision: from :meth:`decide`.
            snr_db: Es/N0 the channel is expected to have, dB.
            uneven: whether the power follows the rate map.

        Returns:
            Packed payload symbols, complex64 (Σ k_i,), of any mean power, on the CPU.
        """
        with part("jscc_encoder"), torch.no_grad():
            model = self.checkpoint.model
            device = self.checkpoint.device
            levels = torch.from_numpy(decision.levels)[None].to(device)
            designed_for = torch.tensor([float(np.clip(snr_db, *ENCODER_SNR_DB))], device=device)
            slots = model.jscc_encoder(latent, levels, designed_for)
            sent = symbol_mask(levels.flatten(1), model.config.rate_values)
            root = packing.amplitudes(sent.sum(-1), torch.tensor([uneven], device=device))
            return packing.pack(slots * root[..., None, None], sent).cpu()

    def refine(
        self,
        payload: Tensor,
        decision: RateDecision,
        pixels: Tensor,
        link: channels.Channel,
        *,
        effort: int,
        objective: ObjectiveName = "perception",
        regions: Regions | None = None,
        seed: int = 0,
        progress: OnProgress | None = None,
    ) -> Refined:
        """Improve the payload for this picture by gradient descent through the receiver.

        Nothing else of the frame changes, and the receiver need not know.

        Args:
            payload: from :meth:`modulate`.
            decision: from :meth:`decide`.
            pixels: (3, H, W) in [0, 1].
            link: channel that the frame is designed for.
            effort: iterations, at least 1.
            objective: ``perception`` or ``distortion``.
            regions: as for :meth:`analyse`; pixels outside weigh less, gamma at the least.
            seed: of all random numbers.
            progress: called after every iteration.

        Raises:
            InputError: the picture is too large for this machine's memory.
        """
        with part("effort"):
            model = self.checkpoint.model
            device = self.checkpoint.device
            _, height, width = pixels.shape
            weight = None
            if regions is not None:
                gamma = regions.gamma[:, None, None, None]
                weight = gamma + (1 - gamma) * smooth(regions.mask)[..., :height, :width]
                weight = weight / weight.mean()
            return refine(
                PayloadLink(
                    model,
                    torch.from_numpy(decision.levels).to(device),
                    link.snr_db,
                    uneven=regions is not None and bool(regions.uneven()),
                    fades=payload_fades(link, decision)
                    if channels.CHANNELS[link.name].fades
                    else None,
                ),
                payload,
                pixels[None] * 2 - 1,
                refinement_objective(objective, device),
                effort,
                seed=seed,
                weight=weight,
                progress=progress,
            )

    def assemble(
        self,
        decision: RateDecision,
        payload: Tensor,
        *,
        height: int,
        width: int,
        snr_db: float,
        uneven: bool,
    ) -> Frame:
        """Header, coded rate map and payload in one frame.

        Args:
            decision: from :meth:`decide`.
            payload: from :meth:`modulate`.
            height: of the picture in pixels.
            width: of the picture in pixels.
            snr_db: what the frame is designed for, dB; for the record only.
            uneven: as for :meth:`modulate`.
        """
        with part("fec_encoder"):
            header = Header(
                height=height,
                width=width,
                checkpoint_id=self.checkpoint.checkpoint_id,
                side_info_bits=decision.side_info_bits.size,
                payload_symbols=decision.payload_symbols,
                rate_scale_index=rate_scale_to_index(decision.rate_scale),
                mcs_index=decision.mcs.index,
                power_index=int(uneven),
            )
            rate_map = np.array(self.checkpoint.model.config.rate_values)[decision.levels]
            return Frame.assemble(header, decision.side_info_bits, payload, rate_map, snr_db)

    def _on_picture(self, region: Region, pixels: Tensor) -> Regions | None:
        mask = region.mask_on(pixels, self.checkpoint.device)
        if mask is None:
            return None
        padded = pad_to_multiple(mask[None, None], self.checkpoint.model.config.multiple)
        device = self.checkpoint.device
        gamma = torch.tensor([region.gamma], device=device)
        return Regions(padded.to(device), gamma, steering_of(self.checkpoint, region.steering))


class Receiver:
    """Everything right of the channel.

    ::

        symbols, channel state ─ header ─ rate map ─► f_d(payload, rate map, SNR_i) ─► ẑ ─ DDIM ─► x̂

    The steps of :meth:`decode` in order: :meth:`read_header`, :meth:`read_rate_map`,
    :meth:`equalise` and :meth:`decode_latent`, :meth:`paint`.
    """

    def __init__(self, checkpoint: LoadedCheckpoint, precision: str = "fp32") -> None:
        check_precision(precision)
        self.checkpoint = checkpoint
        self.precision = precision

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "compact", device: str = "auto", precision: str = "fp32"
    ) -> Receiver:
        """Load an embedded checkpoint, a folder, or a Hugging Face id, see `load_checkpoint`.

        Args:
            name: of the checkpoint.
            device: ``auto``, ``cpu`` or ``cuda``.
            precision: of the diffusion: ``fp32``, or ``bf16``, faster where the hardware has it.

        Raises:
            InputError: no such checkpoint or device, or they do not fit together.
        """
        return cls(load_checkpoint(name, device), precision)

    def to(self, device: str) -> Receiver:
        """Move the networks, see :meth:`LoadedCheckpoint.to`; returns the receiver itself."""
        self.checkpoint.to(device)
        return self

    def decode(
        self,
        received: Received,
        *,
        steps: int | None = None,
        seed: int = 0,
        sigma_start: float | None = None,
    ) -> Image.Image:
        """Paint the picture of a received frame.

        Args:
            received: symbols and channel state, nothing else.
            steps: DDIM steps, at least 1; default: what the checkpoint says.
            seed: of the diffusion's starting noise, where it starts from noise.
            sigma_start: standard deviation of that noise; default: what the checkpoint was trained
                with.

        Returns:
            8-bit RGB picture of the size the header says.

        Raises:
            OutageError: header or side information fails its CRC.
            InputError: cut short, not finite, or made with another checkpoint.
        """
        check_steps(steps)
        channels.check_seed(seed)
        sigma = start_noise_of(self.checkpoint, sigma_start)
        header, latent = self._estimate(received)
        with part("diffusion_decoder"):
            return to_pil(self._painted(header, latent, steps, seed, sigma))

    def sample(
        self,
        received: Received,
        count: int,
        *,
        steps: int | None = None,
        seed: int = 0,
        sigma_start: float | None = None,
    ) -> Samples:
        """Paint several pictures that the received frame allows, each from noise of its own.

        Where they agree the frame decides; where they differ the decoder invents.

        Args:
            received: symbols and channel state, nothing else.
            count: of pictures, 2 to 100.
            steps: as in :meth:`decode`.
            seed: of the first picture, which is that of :meth:`decode`; each next one has the next
                seed.
            sigma_start: as in :meth:`decode`; not 0.

        Raises:
            OutageError: header or side information fails its CRC.
            InputError: decoding does not start from noise, or as in :meth:`decode`.
        """
        check_steps(steps)
        check_samples(self.checkpoint, count, sigma_start)
        channels.check_seed(seed)
        sigma = start_noise_of(self.checkpoint, sigma_start)
        header, latent = self._estimate(received)
        made = [self._painted(header, latent, steps, seed + i, sigma) for i in range(count)]
        spread = torch.stack(made).var(0).mean(0).sqrt()
        return Samples([to_pil(picture) for picture in made], spread.numpy())

    def _painted(
        self, header: Header, latent: Tensor, steps: int | None, seed: int, sigma: float
    ) -> Tensor:
        """x̂0 cut to the picture's size, (3, H, W) in [0, 1]."""
        with torch.no_grad():
            picture = self.paint(latent, steps=steps, seed=seed, sigma_start=sigma)
        return (picture[0, :, : header.height, : header.width] / 2 + 0.5).clamp(0, 1).cpu()

    def _estimate(self, received: Received) -> tuple[Header, Tensor]:
        """Everything up to ẑ, (1, C, h, w)."""
        with part("fec_decoder"):
            header = self.read_header(received)
            side_info_bits, payload = parse_body(received, header)
            levels = self.read_rate_map(header, side_info_bits)
        with part("jscc_decoder"), torch.no_grad():
            slots, snr_db = self.equalise(header, payload, levels)
            return header, self.decode_latent(slots, levels, snr_db)

    def read_header(self, received: Received) -> Header:
        """The header of a frame that was made with this checkpoint.

        Raises:
            OutageError: it fails its CRC.
            InputError: cut short, not finite, or made with another checkpoint.
        """
        header = parse_header(received)
        if header.checkpoint_id != self.checkpoint.checkpoint_id:
            raise InputError(
                f"the frame was made with checkpoint {header.checkpoint_id:04x}, "
                f"this is {self.checkpoint.checkpoint_id:04x}: decode it with that one"
            )
        return header

    def read_rate_map(self, header: Header, side_info_bits: Bits) -> Tensor:
        """Index into V of every embedding, (1, h, w) int64.

        Raises:
            OutageError: the bits are no rate map.
            InputError: it does not fit the payload's length.
        """
        config = self.checkpoint.model.config
        grid = tuple(
            -(-side // config.multiple) * config.multiple // LATENT_STRIDE
            for side in (header.height, header.width)
        )
        levels = torch.from_numpy(self.checkpoint.prior.decode(side_info_bits, *grid))[None]
        sent = symbol_mask(levels.flatten(1), config.rate_values)
        if int(sent.sum()) != header.payload_symbols:
            raise InputError("the frame's rate map and payload do not fit together")
        return levels

    def equalise(self, header: Header, payload: Received, levels: Tensor) -> tuple[Tensor, Tensor]:
        """MMSE estimates in their slots, (1, n, max(V), 2), and SNR_i in dB, (1, n)."""
        sent = symbol_mask(levels.flatten(1), self.checkpoint.model.config.rate_values)
        counts = sent[0].sum(1)
        root = packing.amplitudes(counts[None], torch.tensor([bool(header.power_index)]))[0]
        payload = replace(payload, gains=payload.gains * root.repeat_interleave(counts))
        snr_db = packing.effective_snr_db(payload.snr_linear(), counts)
        return packing.unpack(payload.equalised(), sent), snr_db[None]

    def decode_latent(self, slots: Tensor, levels: Tensor, snr_db: Tensor) -> Tensor:
        """f_d: ẑ, (1, C, h, w), where the networks are."""
        device = self.checkpoint.device
        return self.checkpoint.model.jscc_decoder(
            slots.to(device), levels.to(device), snr_db.to(device)
        )

    def paint(
        self,
        latent: Tensor,
        *,
        steps: int | None = None,
        seed: int = 0,
        sigma_start: float | None = None,
    ) -> Tensor:
        """Diffusion from ẑ to a picture in [-1, 1], (1, 3, 16h, 16w).

        Raises:
            OutageError: the picture is not finite.
        """
        # A stream of its own: the channel's noise may come from the same seed.
        state = np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
        noise = int(state[0]) >> 1
        device = self.checkpoint.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            picture = self.checkpoint.model.synthesise(latent, steps, noise, sigma_start)
        picture = picture.float()
        if not bool(torch.isfinite(picture).all()):
            raise OutageError("outage: the received symbols decode to no finite picture")
        return picture


@dataclass(frozen=True, eq=False)
class Samples:
    """Pictures that one frame allows.

    Attributes:
        pictures: 8-bit RGB, of one size.
        uncertainty: standard deviation of every pixel over the pictures, root mean square over
            its colours, (H, W) float32 in units of the full range.
    """

    pictures: list[Image.Image]
    uncertainty: npt.NDArray[np.float32]

    def uncertainty_picture(self) -> Image.Image:
        """The map as 8-bit grey: black where samples agree, white from an eighth of the range."""
        grey = (self.uncertainty * 8 * 255).clip(0, 255).round()
        return Image.fromarray(grey.astype(np.uint8))


def one_rate(cbr: float | str | None, beta: float | None) -> float | None:
    """The ceiling that applies, ``None`` where ``beta`` rules.

    Raises:
        InputError: both are given, or one cannot be.
    """
    if beta is not None:
        if cbr is not None:
            raise InputError("give a ceiling cbr or beta, not both")
        check_beta(beta)
        return None
    chosen = DEFAULT_CBR if cbr is None else cbr
    return check_cbr(chosen)


def steering_of(
    checkpoint: LoadedCheckpoint, asked: Steering | None, *, warn: bool = True
) -> Steering:
    """What a region's weight is multiplied into: what was asked for, or what was trained.

    Args:
        checkpoint: whose config says what was trained.
        asked: by the user.
        warn: where it was not trained.
    """
    trained = checkpoint.model.config.roi_steering
    steering = asked or trained or DEFAULT_STEERING
    if warn and steering != trained:
        how = f"with roi steering {trained!r}" if trained else "without any region"
        _warn_once(f"checkpoint {checkpoint.name} was trained {how}: {steering!r} may gain less")
    return steering


def start_noise_of(checkpoint: LoadedCheckpoint, asked: float | None) -> float:
    """Standard deviation of x_N: what was asked for, with a warning, or what was trained.

    Raises:
        InputError: it is negative, or more than any picture needs.
    """
    trained = checkpoint.model.config.sigma_start
    if asked is None:
        return trained
    check_start_noise(asked)
    if asked != trained:
        _warn_once(
            f"checkpoint {checkpoint.name} was trained to decode from noise of {trained:g}, not of "
            f"{asked:g}"
        )
    return asked


def check_samples(checkpoint: LoadedCheckpoint, count: int, sigma_start: float | None) -> None:
    """Raise InputError unless several samples can be drawn, and can differ."""
    if not 2 <= count <= MAX_SAMPLES:
        raise InputError(f"samples: 2 to {MAX_SAMPLES} can be painted and differ, not {count}")
    if start_noise_of(checkpoint, sigma_start) == 0:
        raise InputError(
            f"checkpoint {checkpoint.name} decodes from a zero picture (sigma_start 0): its "
            "samples are all the same; they need a checkpoint that starts from noise"
        )


@cache
def _warn_once(message: str) -> None:
    logger.warning("%s", message)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend (B, C, H, W) at the right and bottom by its own border pixels."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
