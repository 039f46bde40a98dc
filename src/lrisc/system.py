"""The public API: transmitter, receiver, and both with a channel between them.

Nothing passes between transmitter and receiver but the frame's symbols.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint
from lrisc.errors import InputError, OutageError, finite, whole
from lrisc.images import ImageLike, load_image, to_pil
from lrisc.link import channels
from lrisc.link.budget import check_cbr, symbol_budget
from lrisc.link.channels import Received, effective_snr_db
from lrisc.link.frame import Frame, Header, parse_body, parse_header, rate_scale_to_index
from lrisc.link.power import embedding_power
from lrisc.link.rate_control import BudgetError, RateController, RateDecision, smooth_bits
from lrisc.models.config import LATENT_STRIDE
from lrisc.models.jscc import symbol_mask
from lrisc.roi.fusion import FUSING, STEERINGS, Steering, fuse, steer_bits
from lrisc.roi.masks import RoiLike, region_mask

logger = logging.getLogger(__name__)

ENCODER_SNR_DB = (-2.0, 20.0)
"""The range of mean SNRs f_e is trained for; others are clamped to it."""
DECODER_SNR_DB = (-10.0, 25.0)
"""The same for SNR_i at f_d, which fading spreads further."""
FADING_MARGIN_DB = 12.0
"""How much less than the mean SNR the rate map's code counts on when the channel fades.

Measured with OFDM over TDL-A and TDL-C at 15 dB, 60 frames each: 4 dB lost 9 and 11 rate maps, 8 dB
4 and 1, 12 dB none; it costs 0.05 dB PSNR where the channel does not fade after all."""
DEFAULT_ROI_STRENGTH = 0.45
"""gamma: weight of the background when a region is given; smaller favours the region more."""
DEFAULT_ROI_STEERING: Steering = "power"
"""What gamma weights; measured in docs/roi.md."""


class Stopwatch:
    """Seconds per part of a transmission."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """Add the time spent inside to ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


class Transmitter:
    """Everything left of the channel.

    ::

        image ─ g_e ─► z ─(ROI)─► z' ─ h_e, h_d ─► bits ─ budget ─► rate map ─ coder, FEC ─┐
                                   └─ f_e(z', rate map, SNR) ─► payload ───────────────────┴► frame
    """

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        self.checkpoint = checkpoint

    @classmethod
    def from_pretrained(cls, name: str | Path = "compact") -> Transmitter:
        """Load an embedded checkpoint, a folder, or a Hugging Face id."""
        return cls(load_checkpoint(name))

    def encode(
        self,
        image: ImageLike,
        snr_db: float,
        cbr: float | str,
        roi: RoiLike | None = None,
        roi_strength: float = DEFAULT_ROI_STRENGTH,
        margin_db: float = 0.0,
        stopwatch: Stopwatch | None = None,
        roi_steering: Steering = DEFAULT_ROI_STEERING,
    ) -> Frame:
        """Make the frame of a picture.

        Args:
            image: path, PIL image, or tensor in [0, 1]; 64 to 4096 pixels a side.
            snr_db: Es/N0 the channel is expected to have, dB.
            cbr: ceiling on all symbols sent, per 3·H·W, as a number or as "1/48"; met within 1 %
                from below.
            roi: see :func:`lrisc.roi.masks.region_mask`.
            roi_strength: gamma in (0, 1]; smaller favours the region more.
            margin_db: protect the rate map for an SNR this much lower, for fading channels.
            stopwatch: collects the seconds per part.
            roi_steering: what the region's weight is multiplied into, ``latent``, ``rate`` (the
                bits of the rate rule), ``both``, or ``power`` (``rate``, and the power follows).

        Returns:
            The symbols and their accounting.

        Raises:
            InputError: a picture, SNR, CBR or region that cannot be used.
        """
        watch = stopwatch or Stopwatch()
        config = self.checkpoint.model.config
        channels.check_snr(snr_db)
        cbr = check_cbr(cbr)
        finite(margin_db, "the margin")
        check_strength(roi_strength)
        if roi_steering not in STEERINGS:
            raise InputError(f"roi steering {roi_steering!r} is none of {', '.join(STEERINGS)}")
        pixels = load_image(image)
        _, height, width = pixels.shape
        with watch.part("region"):
            mask = region_mask(roi, pixels)
        with watch.part("analysis"), torch.no_grad():
            padded = pad_to_multiple(pixels[None] * 2 - 1, config.multiple)
            latent = self.checkpoint.model.analysis(padded)
            inside = None
            gamma = torch.tensor([roi_strength])
            if mask is not None:
                inside = pad_to_multiple(mask[None, None], config.multiple)
                if roi_steering in FUSING:
                    latent = fuse(latent, inside, gamma)
            bits = smooth_bits(self.checkpoint.model.embedding_bits(latent))
            if inside is not None and roi_steering != "latent":
                bits = steer_bits(bits, inside, gamma)
        with watch.part("rate_control"):
            decision = self._decide(bits[0], snr_db - margin_db, cbr, height, width)
        with watch.part("jscc_encoder"), torch.no_grad():
            levels = torch.from_numpy(decision.levels)[None]
            designed_for = torch.tensor([float(np.clip(snr_db, *ENCODER_SNR_DB))])
            symbols = self.checkpoint.model.jscc_encoder(latent, levels, designed_for)
            mask_sent = symbol_mask(levels.flatten(1), config.rate_values)
            uneven = inside is not None and roi_steering == "power" and roi_strength < 1
            if uneven:
                symbols = symbols * embedding_power(mask_sent.sum(-1)).sqrt()[..., None, None]
            payload = torch.view_as_complex(symbols[mask_sent].float().contiguous())
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
        with watch.part("fec_encoder"):
            rate_map = np.array(config.rate_values)[decision.levels]
            return Frame.assemble(header, decision.side_info_bits, payload, rate_map, snr_db)

    def _decide(
        self, bits: Tensor, snr_db: float, cbr: float, height: int, width: int
    ) -> RateDecision:
        controller = RateController(
            self.checkpoint.prior, self.checkpoint.model.config.rate_values, snr_db
        )
        pixels = 3 * height * width
        try:
            return controller.decide(bits.double().numpy(), symbol_budget(cbr, height, width))
        except BudgetError as error:
            # Rounded so that what is told is possible.
            if error.which == "smallest":
                limit = f"too small: at least {math.ceil(error.symbols / pixels * 1e6) / 1e6:.6f}"
            else:
                limit = f"too large: at most {math.floor(error.symbols / pixels * 1e6) / 1e6:.6f}"
            raise InputError(
                f"cbr {cbr:.6g} is {limit} is possible for this picture of {width}×{height}"
            ) from error


class Receiver:
    """Everything right of the channel.

    ::

        symbols, channel state ─ header ─ rate map ─► f_d(payload, rate map, SNR_i) ─► ẑ ─ DDIM ─► x̂
    """

    def __init__(self, checkpoint: LoadedCheckpoint) -> None:
        self.checkpoint = checkpoint

    @classmethod
    def from_pretrained(cls, name: str | Path = "compact") -> Receiver:
        """Load an embedded checkpoint, a folder, or a Hugging Face id."""
        return cls(load_checkpoint(name))

    def decode(
        self,
        received: Received,
        steps: int = 1,
        seed: int = 0,
        stopwatch: Stopwatch | None = None,
    ) -> Image.Image:
        """Paint the picture of a received frame.

        Args:
            received: symbols and channel state, nothing else.
            steps: DDIM steps, at least 1.
            seed: of the diffusion's starting noise, where the checkpoint starts from noise.
            stopwatch: collects the seconds per part.

        Returns:
            8-bit RGB picture of the size the header says.

        Raises:
            OutageError: header or side information fails its CRC.
            InputError: cut short, not finite, or made with another checkpoint.
        """
        check_steps(steps)
        channels.check_seed(seed)
        watch = stopwatch or Stopwatch()
        model = self.checkpoint.model
        with watch.part("fec_decoder"):
            header = parse_header(received)
            if header.checkpoint_id != self.checkpoint.checkpoint_id:
                raise InputError(
                    f"the frame was made with checkpoint {header.checkpoint_id:04x}, "
                    f"this is {self.checkpoint.checkpoint_id:04x}: choose the same with --model"
                )
            side_info_bits, body = parse_body(received, header)
            grid = tuple(
                -(-side // model.config.multiple) * model.config.multiple // LATENT_STRIDE
                for side in (header.height, header.width)
            )
            levels = torch.from_numpy(self.checkpoint.prior.decode(side_info_bits, *grid))[None]
        sent = symbol_mask(levels.flatten(1), model.config.rate_values)
        if int(sent.sum()) != header.payload_symbols:
            raise InputError("the frame's rate map and payload do not fit together")
        with watch.part("jscc_decoder"), torch.no_grad():
            counts = sent[0].sum(1)
            if header.power_index:
                amplitudes = embedding_power(counts).sqrt().repeat_interleave(counts)
                body = replace(body, gains=body.gains * amplitudes)
            symbols = torch.zeros(*sent.shape, 2)
            symbols[sent] = torch.view_as_real(body.equalised())
            snr_db = effective_snr_db(body.snr_linear(), counts).clamp(*DECODER_SNR_DB)
            latent = model.jscc_decoder(symbols, levels, snr_db[None])
        with watch.part("diffusion_decoder"), torch.no_grad():
            # A stream of its own: the channel's noise may come from the same seed.
            state = np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(state[0]) >> 1)
            picture = model.synthesise(latent, steps, generator)
        if not bool(torch.isfinite(picture).all()):
            raise OutageError("outage: the received symbols decode to no finite picture")
        return to_pil(picture[0, :, : header.height, : header.width] / 2 + 0.5)


def check_strength(roi_strength: float) -> None:
    """Raise InputError unless gamma lies in (0, 1]."""
    if not 0 < finite(roi_strength, "roi strength") <= 1:
        raise InputError(f"roi strength must lie in (0, 1], not {roi_strength:g}")


def check_steps(steps: int) -> None:
    """Raise InputError unless at least one step is asked for."""
    if whole(steps, "steps") < 1:
        raise InputError(f"steps must be at least 1, not {steps}")


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extend (B, C, H, W) at the right and bottom by its own border pixels."""
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
