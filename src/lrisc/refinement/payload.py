"""From a payload to the picture its receiver paints, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lrisc.link.channels import effective_snr_db, noise_variance
from lrisc.link.power import embedding_power
from lrisc.models.config import LATENT_STRIDE
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc
from lrisc.refinement.tiles import Tile
from lrisc.training.draws import Draws

Fades = Callable[[int], Tensor]
"""Number of a draw -> gains of the payload's symbols, complex64 (n,)."""


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
        fades: gains of the payload's symbols by number of the draw; ``None`` without fading.
        snr_limits: range that SNR_i is clamped to, dB.
    """

    def __init__(
        self,
        model: Lrisc,
        levels: Tensor,
        snr_db: float,
        *,
        uneven: bool,
        fades: Fades | None,
        snr_limits: tuple[float, float],
    ) -> None:
        self.model, self.levels, self.fades = model, levels, fades
        self.noise_variance = noise_variance(snr_db)
        self.snr_limits = snr_limits
        self.sent = symbol_mask(levels, model.config.rate_values)
        self.counts = self.sent.sum(-1)
        amplitude = embedding_power(self.counts.flatten()).sqrt() if uneven else None
        counts = self.counts.flatten()
        self.amplitudes = None if amplitude is None else amplitude.repeat_interleave(counts)

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

        Args:
            payload: real and imaginary parts, float32 (n, 2), mean power 1.
            seed: of all realisations.
            draw: number of this one.
        """
        draws = Draws(seed, draw, range(1), self.device)
        noise = draws.normal("channel noise", (self.symbols, 2))[0]
        noise = torch.view_as_complex(noise * (self.noise_variance / 2) ** 0.5)
        gains = torch.ones_like(noise) if self.fades is None else self.fades(draw).to(noise.device)
        received = gains * torch.view_as_complex(payload) + noise
        if self.amplitudes is not None:
            gains = gains * self.amplitudes
        estimate = gains.conj() * received / (gains.abs().square() + self.noise_variance)
        slots = torch.zeros(*self.sent.shape, 2, device=self.device)
        slots = slots.masked_scatter(self.sent.unsqueeze(-1), torch.view_as_real(estimate))
        snr = effective_snr_db(gains.abs().square() / self.noise_variance, self.counts.flatten())
        return Arrival(slots, snr.clamp(*self.snr_limits).view(self.counts.shape))

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
        generator = torch.Generator(self.device).manual_seed((seed << 20) + draw & (1 << 62) - 1)
        picture = self.model.synthesise(latent.float(), 1, generator)
        top, bottom, left, right = tile.core
        rows = slice((top - tile.top) * LATENT_STRIDE, (bottom - tile.top) * LATENT_STRIDE)
        columns = slice((left - tile.left) * LATENT_STRIDE, (right - tile.left) * LATENT_STRIDE)
        return picture[..., rows, columns].float()
