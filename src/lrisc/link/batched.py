"""The link of a batch of pictures in slots, differentiable: what training sends through.

The same rules as a frame's (:mod:`lrisc.link.packing`, :func:`lrisc.link.channels.mmse`), without
header, rate map's code and FEC. Random numbers come from :mod:`lrisc.link.draws`, so that they
depend on seed, step and picture only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lrisc.link import packing
from lrisc.link.channels import CHANNELS, mmse, noise_variance
from lrisc.link.draws import Draws


@dataclass(frozen=True)
class Conditions:
    """Channel and budget of every picture of a batch.

    Attributes:
        snr_db: mean SNR in dB, (B,).
        cbr: payload symbols per (3·H·W), (B,).
        beta: symbols per bit where the picture has no budget, NaN where it has one, (B,).
        block_length: symbols per fade, (B,); without effect where the channel does not fade.
        channels: names in :data:`lrisc.link.channels.CHANNELS`.
        which: index into ``channels``, (B,) int64; ``None``: the first for all.
    """

    snr_db: Tensor
    cbr: Tensor
    beta: Tensor
    block_length: Tensor
    channels: tuple[str, ...] = ("awgn",)
    which: Tensor | None = None


def cross_channel(
    slots: Tensor,
    sent: Tensor,
    conditions: Conditions,
    draws: Draws,
    uneven: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Power, a channel per picture, and the equaliser.

    Args:
        slots: f_e's output, real and imaginary parts, (B, n, max(V), 2).
        sent: which slots are sent, (B, n, max(V)) bool.
        conditions: SNR and channel of every picture.
        draws: noise and fades.
        uneven: pictures whose power follows their rate map, (B,) bool; none if ``None``.

    Returns:
        MMSE estimates, zero where nothing is sent, like ``slots``; and SNR_i in dB, (B, n).
    """
    noise = torch.view_as_complex(draws.normal("channel noise", tuple(slots.shape[1:])) * 0.5**0.5)
    gains = draw_gains(sent, conditions, draws)
    if uneven is None:
        uneven = torch.zeros(len(slots), dtype=torch.bool, device=slots.device)
    return link(slots, sent, conditions.snr_db, gains, noise, uneven)


def link(
    slots: Tensor, sent: Tensor, snr_db: Tensor, gains: Tensor, noise: Tensor, uneven: Tensor
) -> tuple[Tensor, Tensor]:
    """What :func:`cross_channel` does, for gains and noise that are given.

    Args:
        slots: as for :func:`cross_channel`.
        sent: as for :func:`cross_channel`.
        snr_db: mean SNR in dB, (B,).
        gains: h of every slot, complex64 (B, n, max(V)).
        noise: CN(0, 1) of every slot, complex64 (B, n, max(V)).
        uneven: as for :func:`cross_channel`.

    Returns:
        As :func:`cross_channel`.
    """
    root = packing.amplitudes(sent.sum(-1), uneven)[..., None]
    slots = slots.float() * (sent * root)[..., None]
    count = sent.flatten(1).sum(1).clamp(min=1)
    power = slots.square().flatten(1).sum(1) / count
    symbols = torch.view_as_complex(slots) * power.clamp(min=1e-12).rsqrt()[:, None, None]
    n0 = noise_variance(snr_db.float())[:, None, None]
    received = gains * symbols + noise * n0.sqrt()
    gains = gains * root
    estimate = mmse(received, gains, n0) * sent
    return torch.view_as_real(estimate), packing.slot_snr_db(gains.abs().square() / n0, sent)


def draw_gains(sent: Tensor, conditions: Conditions, draws: Draws) -> Tensor:
    """Gains of every slot that is sent, 1 elsewhere, complex64 (B, n, max(V)).

    A channel draws them in the order of sending; as the frame's interleaver does, a permutation
    spreads every fade over the picture.
    """
    gains = torch.ones(sent.shape, dtype=torch.complex64)
    where, lengths = sent.bool().cpu(), conditions.block_length.round().int().tolist()
    which = [0] * len(sent) if conditions.which is None else conditions.which.tolist()
    for picture, seed in enumerate(draws.seeds("fades")):
        model = CHANNELS[conditions.channels[which[picture]]]
        generator = torch.Generator().manual_seed(seed)
        count = int(where[picture].sum())
        drawn = model.gains(count, lengths[picture], generator)
        gains[picture][where[picture]] = drawn[torch.randperm(count, generator=generator)]
    return gains.to(sent.device)
