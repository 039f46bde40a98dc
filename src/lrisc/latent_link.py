"""From latents to their estimates over a channel: batched, differentiable, without a frame.

What training sends through, and the public way into the link for a training loop of one's own. The
rules are those of a frame; header, rate map's code and FEC, which have no gradient, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.link.batched import Conditions, cross_channel
from lrisc.link.budget import DEFAULT_CBR, check_cbr
from lrisc.link.channels import CHANNELS, DEFAULT_BLOCK_LENGTH
from lrisc.link.draws import Draws
from lrisc.link.rate_control import quantise_rate, rate_scale_for, shape_bits
from lrisc.models.config import RateRule
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc
from lrisc.roi.region import Regions


@dataclass(frozen=True)
class LinkResult:
    """What the receiver makes of a batch of latents.

    Attributes:
        estimate: ẑ, (B, C, h, w) float32.
        levels: index into V of every embedding, (B, h, w).
        symbols: complex symbols sent, (B,).
    """

    estimate: Tensor
    levels: Tensor
    symbols: Tensor


def rate_levels(
    bits_per_embedding: Tensor,
    conditions: Conditions,
    rate_values: tuple[int, ...],
    rule: RateRule,
    regions: Regions | None = None,
) -> Tensor:
    """The rate rule of Eq. 3 for a budget, or for a fixed beta where a picture has no budget.

    Args:
        bits_per_embedding: -log2 p(z_i | y), (B, h, w).
        conditions: budgets and betas.
        rate_values: V.
        rule: how symbols follow from bits.
        regions: regions of interest whose weight the rule sees, if any.

    Returns:
        Index into V of every embedding, (B, h, w) int64.
    """
    wanted = shape_bits(bits_per_embedding, rule)
    if regions is not None:
        wanted = regions.weigh_bits(wanted)
    pixels = 16 * wanted.shape[1] * 16 * wanted.shape[2]
    scale = rate_scale_for(wanted.flatten(1), conditions.cbr * (3 * pixels), rate_values)
    fixed = conditions.beta[:, None]
    scale = torch.where(fixed.isnan(), scale, fixed)
    return quantise_rate(wanted * scale[:, :, None], rate_values)


def send(
    model: Lrisc,
    latent: Tensor,
    bits_per_embedding: Tensor,
    conditions: Conditions,
    draws: Draws,
    adapt: bool = True,
    regions: Regions | None = None,
) -> LinkResult:
    """Rate allocation, f_e, channel and f_d.

    Args:
        model: the networks.
        latent: z', (B, C, h, w).
        bits_per_embedding: -log2 p(z'_i | y), (B, h, w).
        conditions: channel and budget of every picture.
        draws: noise and fades.
        adapt: whether the SNR-adaptive models take part.
        regions: regions of interest, if any.
    """
    config = model.config
    levels = rate_levels(
        bits_per_embedding, conditions, config.rate_values, config.rate_rule, regions
    )
    mask = symbol_mask(levels.flatten(1), config.rate_values)
    symbols = model.jscc_encoder(latent, levels, conditions.snr_db, adapt=adapt)
    uneven = None if regions is None else regions.uneven()
    received, snr_db = cross_channel(symbols, mask, conditions, draws, uneven)
    estimate = model.jscc_decoder(received, levels, snr_db, adapt=adapt).float()
    return LinkResult(estimate, levels, mask.flatten(1).sum(1))


class LatentLink(nn.Module):
    """f_e, a channel and f_d as one differentiable module.

    ::

        z (B, C, h, w) ─ rate rule ─► levels
                 └─ f_e ─ power 1 ─► channel of every picture ─ MMSE ─ f_d ─► ẑ (B, C, h, w)

    Gradients reach the latents, and f_e and f_d where they are unfrozen; the rate rule has none.
    The networks of a loaded checkpoint are frozen; ``link.requires_grad_()`` unfreezes them.

    Args:
        checkpoint: whose f_e, f_d and hyperprior are used.
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        block_length: symbols per fade where it fades; default: the channel's.

    Example:
        >>> link = LatentLink(lrisc.load_checkpoint("compact"), "rayleigh")  # doctest: +SKIP
        >>> found = link(latents, snr_db=torch.tensor([0.0, 10.0]), cbr=1 / 48)  # doctest: +SKIP
        >>> (found.estimate - latents).square().mean().backward()  # doctest: +SKIP
    """

    def __init__(
        self, checkpoint: LoadedCheckpoint, channel: str = "awgn", block_length: int | None = None
    ) -> None:
        super().__init__()
        self.channel = CHANNELS.key(channel)
        self.block_length = DEFAULT_BLOCK_LENGTH if block_length is None else block_length
        self._model = checkpoint.model

    def forward(
        self,
        latent: Tensor,
        *,
        snr_db: Tensor | float,
        cbr: Tensor | float = DEFAULT_CBR,
        seed: int = 0,
        step: int = 0,
    ) -> LinkResult:
        """Send a batch.

        Args:
            latent: z, (B, C, h, w) float32, where the networks are.
            snr_db: mean Es/N0 in dB, (B,) or one for all.
            cbr: ceiling on the payload per 3·H·W, (B,) or one for all.
            seed: of noise and fades.
            step: another step has other noise and fades.

        Returns:
            Estimates with gradients, levels, and how many symbols each picture took.

        Raises:
            InputError: shapes that do not fit, or an SNR or CBR that cannot be.
        """
        config = self._model.config
        if latent.dim() != 4 or latent.shape[1] != config.latent_channels:
            raise InputError(
                f"latents are (B, {config.latent_channels}, h, w), not {tuple(latent.shape)}"
            )
        count, device = len(latent), latent.device
        ratio = _each(cbr, count, device, "cbr")
        for value in ratio.tolist():
            check_cbr(value)
        conditions = Conditions(
            snr_db=_each(snr_db, count, device, "snr_db"),
            cbr=ratio,
            beta=torch.full((count,), math.nan, device=device),
            block_length=torch.full((count,), float(self.block_length), device=device),
            channels=(self.channel,),
        )
        with torch.no_grad():
            bits = self._model.embedding_bits(latent)
        return send(self._model, latent, bits, conditions, Draws(seed, step, range(count), device))


def _each(value: Tensor | float, count: int, device: torch.device, name: str) -> Tensor:
    """A finite value for every picture, float32 (B,)."""
    found = torch.as_tensor(value, dtype=torch.float32, device=device)
    if found.dim() > 1 or found.numel() not in (1, count) or not bool(found.isfinite().all()):
        raise InputError(f"{name} is a finite number, or one for each of {count} pictures")
    return found.expand(count)
