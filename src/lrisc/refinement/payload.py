"""From a payload to the picture its receiver paints, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lrisc.link import packing
from lrisc.link.channels import Channel, mmse, noise_variance
from lrisc.link.draws import Draws
from lrisc.link.frame import interleaver
from lrisc.link.header import HEADER_SYMBOLS, PILOT_SYMBOLS
from lrisc.link.rate_control import RateDecision
from lrisc.models.config import LATENT_STRIDE
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc
from lrisc.refinement.tiles import Tile

CALM_DB = 10.0
"""From this SNR on a gradient says more about the picture than about the noise it is drawn with."""

Fades = Callable[[int, int], Tensor]
"""Seed and number of a draw -> gains of the payload's symbols, complex64 (n,)."""


@dataclass(frozen=True)
class Arrival:
    """What a receiver has of the payload before f_d.

    Attributes:
        symbols: equalised, (h, w, max(V), 2), zero where nothing was sent.
        snr_db: SNR_i in dB, (h, w).
    """

    symbols: Tensor
    snr_db: Tensor


class PayloadLink:
    """Channel, equaliser, f_d and one step of the diffusion decoder, for one frame's payload.

    ::

        payload ─ fades, noise ─ MMSE ─► slots of the embeddings ─ f_d ─► ẑ ─ g_d ─► picture

    Args:
        model: the receiver's networks, without gradient.
        levels: index into V per embedding, (h, w) int64: the rate map.
        snr_db: mean Es/N0 that the frame is designed for, dB.
        uneven: whether power follows the rate map.
        fades: gains of the payload's symbols by seed and number of the draw; ``None`` without
            fading.

    Attributes:
        roughness: of the channel: 0 from CALM_DB on, 1 from 0 dB down, linear between.
    """

    def __init__(
        self,
        model: Lrisc,
        levels: Tensor,
        snr_db: float,
        *,
        uneven: bool,
        fades: Fades | None,
    ) -> None:
        self.model, self.levels, self.fades = model, levels, fades
        self.roughness = min(max(1 - snr_db / CALM_DB, 0.0), 1.0)
        self.noise_variance = noise_variance(snr_db)
        self.sent = symbol_mask(levels, model.config.rate_values)
        self.counts = self.sent.sum(-1)
        counts = self.counts.flatten()
        root = packing.amplitudes(counts[None], torch.tensor([uneven], device=counts.device))[0]
        self.amplitudes = root.repeat_interleave(counts)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.levels.device

    @property
    def symbols(self) -> int:
        """n, complex symbols of the payload."""
        return int(self.counts.sum())

    def receive(self, payload: Tensor, seed: int, draw: int) -> Arrival:
        """The payload over one realisation of the channel.

        Draws 2k and 2k + 1 have opposite noise (antithetic variates): what is odd in the noise
        cancels in the sum of their gradients.

        Args:
            payload: real and imaginary parts, float32 (n, 2), mean power 1.
            seed: of all realisations.
            draw: number of this one, from 0.
        """
        draws = Draws(seed, draw // 2, range(1), self.device)
        noise = draws.normal("channel noise", (self.symbols, 2))[0] * (-1) ** draw
        noise = torch.view_as_complex(noise * (self.noise_variance / 2) ** 0.5)
        gains = torch.ones_like(noise)
        if self.fades is not None:
            gains = self.fades(seed, draw).to(noise.device)
        received = gains * torch.view_as_complex(payload) + noise
        gains = gains * self.amplitudes
        slots = packing.unpack(mmse(received, gains, self.noise_variance), self.sent)
        snr = gains.abs().square() / self.noise_variance
        snr_db = packing.effective_snr_db(snr, self.counts.flatten())
        return Arrival(slots, snr_db.view(self.counts.shape))

    def paint(self, arrival: Arrival, tile: Tile, seed: int, draw: int) -> Tensor:
        """The picture of a tile's core, (1, 3, 16·rows, 16·columns) in [-1, 1].

        Args:
            arrival: of the whole frame.
            tile: which part.
            seed: of the start noise, where the checkpoint starts from noise.
            draw: number of the realisation.
        """
        at = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        latent = self.model.jscc_decoder(
            arrival.symbols[at].flatten(0, 1)[None],
            self.levels[at][None],
            arrival.snr_db[at].flatten()[None],
        )
        # Only a checkpoint that starts from noise draws from it.
        noise = (seed << 20) + draw & (1 << 62) - 1
        picture = self.model.synthesise(latent.float(), 1, noise)
        top, bottom, left, right = tile.core
        rows = slice((top - tile.top) * LATENT_STRIDE, (bottom - tile.top) * LATENT_STRIDE)
        columns = slice((left - tile.left) * LATENT_STRIDE, (right - tile.left) * LATENT_STRIDE)
        return picture[..., rows, columns].float()


def payload_fades(channel: Channel, decision: RateDecision) -> Fades:
    """What fading does to a frame's payload, where the interleaver puts its symbols.

    Args:
        channel: that fades; its own seed has no part in it.
        decision: lengths of the frame's parts.
    """
    total = decision.frame_symbols
    start = PILOT_SYMBOLS + HEADER_SYMBOLS
    side_info = total - start - decision.payload_symbols
    position = torch.argsort(interleaver(total - start))[side_info:] + start

    def draw(seed: int, number: int) -> Tensor:
        state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
        own = int(state[0]) >> 1
        generator = torch.Generator().manual_seed(own)
        return replace(channel, seed=own).gains(total, generator)[position]

    return draw
