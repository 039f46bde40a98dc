"""One link at two speeds: a batch in slots, and a frame's packed symbols, by the same rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.helpers import picture
from torch import Tensor

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.latent_link import rate_levels
from lrisc.link import packing
from lrisc.link.batched import cross_channel, link
from lrisc.link.channels import Received, noise_variance
from lrisc.link.draws import Draws
from lrisc.link.frame import Header
from lrisc.models.config import PRESETS
from lrisc.models.entropy import embedding_bits
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc
from lrisc.roi.region import Region, Regions
from lrisc.training.conditions import fixed_link

HEIGHT, WIDTH = 128, 192


def regions_of(region: Region) -> Regions | None:
    mask = region.mask_on(picture(HEIGHT, WIDTH))
    if mask is None:
        return None
    assert region.steering is not None
    return Regions(mask[None, None], torch.tensor([region.gamma]), region.steering)


def complex_normal(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


# 40 and -25 dB lie beyond what f_d is told.
@pytest.mark.parametrize("snr_db", [10.0, 40.0, -25.0])
@pytest.mark.parametrize("fading", [False, True])
@pytest.mark.parametrize(
    "region", [None, Region("0,0,64,64", 0.3, "power")], ids=["no region", "region"]
)
def test_batched_and_packed_agree(
    tiny: LoadedCheckpoint, snr_db: float, fading: bool, region: Region | None
) -> None:
    sender, receiver = lrisc.Transmitter(tiny), lrisc.Receiver(tiny)
    regions = regions_of(Region.of(region))
    uneven = regions is not None
    latent, bits = sender.analyse(picture(HEIGHT, WIDTH), regions)
    decision = sender.decide(bits, snr_db=10, cbr=1 / 12, height=HEIGHT, width=WIDTH)
    # Some embeddings get nothing: there is a rule for those too.
    decision.levels[2:4, 3:9] = 0
    levels = torch.from_numpy(decision.levels)[None]
    sent = symbol_mask(levels.flatten(1), tiny.model.config.rate_values)

    gains = complex_normal(tuple(sent.shape), 1) if fading else torch.ones(sent.shape) + 0j
    noise = complex_normal(tuple(sent.shape), 2)
    designed_for = torch.tensor([min(max(snr_db, -2.0), 20.0)])
    with torch.no_grad():
        slots = tiny.model.jscc_encoder(latent, levels, designed_for)
        estimate, told = link(
            slots, sent, torch.tensor([snr_db]), gains, noise, torch.tensor([uneven])
        )

    payload = sender.modulate(latent, decision, snr_db=snr_db, uneven=uneven)
    payload = payload / payload.abs().square().mean().sqrt()
    n0 = noise_variance(snr_db)
    over_the_air = gains[sent] * payload + noise[sent] * n0**0.5
    header = Header(HEIGHT, WIDTH, 0, 1, payload.numel(), 0, 0, power_index=int(uneven))
    packed, packed_told = receiver.equalise(header, Received(over_the_air, gains[sent], n0), levels)
    root = packing.amplitudes(sent.sum(-1), torch.tensor([uneven]))[..., None]
    power = slots.square().sum(-1) * root.square()
    sent_power = payload.abs().square()
    torch.testing.assert_close(power[sent] / power[sent].mean(), sent_power, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told, packed_told, rtol=0, atol=1e-3)
    torch.testing.assert_close(estimate, packed, rtol=1e-4, atol=1e-5)
    assert -10 <= float(told.min()) <= float(told.max()) <= 25


@pytest.mark.parametrize(
    "region", [None, Region("0,0,64,64", 0.3, "power")], ids=["no region", "region"]
)
def test_both_choose_the_same_levels(tiny: LoadedCheckpoint, region: Region | None) -> None:
    """Up to what the frame's budget leaves for single embeddings."""
    regions = regions_of(Region.of(region))
    sender = lrisc.Transmitter(tiny)
    latent, bits = sender.analyse(picture(HEIGHT, WIDTH), regions)
    decision = sender.decide(bits, snr_db=10, cbr=1 / 12, height=HEIGHT, width=WIDTH)
    payload_cbr = decision.payload_symbols / (3 * HEIGHT * WIDTH)
    likelihood = tiny.model.hyperprior(latent, noisy=False).p_latent
    conditions = fixed_link(1, 10.0, payload_cbr)
    values = tiny.model.config.rate_values
    levels = rate_levels(embedding_bits(likelihood), conditions, values, "paper", regions)[0]
    packed = torch.from_numpy(decision.levels)
    assert float((levels == packed).float().mean()) > 0.9
    symbols = torch.tensor(values)[levels].sum()
    assert float(symbols) == pytest.approx(decision.payload_symbols, rel=0.05)


@pytest.mark.parametrize("channel", ["awgn", "rayleigh", "selective"])
def test_gradients_reach_the_encoder(channel: str) -> None:
    """All the way, and with the values that finite differences give."""
    torch.manual_seed(0)
    model = Lrisc(PRESETS["tiny"])
    latent = Draws(0, 0, range(2)).normal("latent", (48, 8, 8))
    levels = torch.arange(64).view(1, 8, 8).expand(2, 8, 8) % 5
    sent = symbol_mask(levels.flatten(1), model.config.rate_values)
    conditions = replace(fixed_link(2, 10.0, 1 / 24), channels=(channel,))

    def loss() -> Tensor:
        slots = model.jscc_encoder(latent, levels, conditions.snr_db)
        estimate, _ = cross_channel(slots, sent, conditions, Draws(0, 1, range(2)))
        return (estimate - 0.3).square().mean()

    loss().backward()
    parameters = [p for p in model.jscc_encoder.parameters() if p.grad is not None]
    slope = sum(float(p.grad.double().square().sum()) for p in parameters if p.grad is not None)
    assert slope > 0
    step = 0.02
    with torch.no_grad():
        ends: list[float] = []
        for sign in (1, -2):
            for p in parameters:
                assert p.grad is not None
                p.add_(p.grad, alpha=sign * step / slope**0.5)
            ends.append(float(loss()))
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope**0.5, rel=0.05)
