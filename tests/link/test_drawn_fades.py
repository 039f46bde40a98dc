"""Fading from the table: power, the channels it was drawn from, and what training makes of it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from tests.helpers import load_script

from lrisc.link.batched import draw_gains
from lrisc.link.channels import CHANNELS, channel
from lrisc.link.drawn_fades import responses, selective_gains, table
from lrisc.link.draws import Draws
from lrisc.link.multipath import draw
from lrisc.link.waveform.numerology import PRESETS
from lrisc.training.conditions import draw_link, fixed_link
from lrisc.training.config.read import build
from lrisc.training.config.schema import LriscStage


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return load_script("scripts/make_fades.py")


def test_mean_power_is_one_and_single_channels_are_not_normalised() -> None:
    powers = torch.stack([responses(i).abs().square().mean() for i in range(table()[0].shape[0])])
    assert float(powers.mean()) == pytest.approx(1, abs=0.05)
    assert float(powers.std()) > 0.2
    drawn = [
        selective_gains(500, 0, torch.Generator().manual_seed(seed)).abs().square()
        for seed in range(400)
    ]
    assert float(torch.cat(drawn).mean()) == pytest.approx(1, abs=0.12)
    # Within one frame it fades, which one gain for all would not.
    assert float(torch.stack([d.std() / d.mean() for d in drawn]).median()) > 0.3


@pytest.mark.slow
def test_the_table_is_what_sionna_draws(maker: ModuleType) -> None:
    """H of the table is H of the realisations on the grid, up to float16 and one scale for all."""
    pytest.importorskip("sionna")
    ofdm, times = PRESETS["ofdm"], np.linspace(0, maker.DURATION, maker.TIMES)
    scales: list[complex] = []
    for number in (0, 2, 7, maker.REALISATIONS - 1):
        name = maker.PROFILES[number % len(maker.PROFILES)]
        drawn = draw(name, maker.mobility(number), maker.DURATION, number)
        turns = np.exp(-2j * np.pi * np.outer(drawn.delays, ofdm.carriers * ofdm.spacing))
        expected, found = drawn.at(times) @ turns, responses(number).numpy()
        scale = complex(np.vdot(expected, found) / np.vdot(expected, expected))
        assert np.abs(found - scale * expected).max() < 5e-3 * np.abs(expected).max()
        scales.append(scale)
    assert np.allclose(scales, scales[0], rtol=1e-3)


def test_symbols_meet_places_of_one_grid() -> None:
    """What the waveform's interleaver does: no two neighbours share a fade."""
    gains = selective_gains(2000, 64, torch.Generator().manual_seed(3))
    again = selective_gains(2000, 64, torch.Generator().manual_seed(3))
    assert bool((gains == again).all())
    which = int(
        torch.randint(0, table()[0].shape[0], (1,), generator=torch.Generator().manual_seed(3))
    )
    assert bool(torch.isin(torch.view_as_real(gains), torch.view_as_real(responses(which))).all())
    steps = (gains[1:] - gains[:-1]).abs().square().mean()
    assert float(steps / (2 * gains.var())) == pytest.approx(1, abs=0.15)


def test_training_draws_it() -> None:
    stage = build(
        LriscStage,
        {
            "name": "a", "output": "b", "preset": "tiny",
            "link": {"channels": {"awgn": 0.5, "selective": 0.5}},
        },
    )  # fmt: skip
    assert isinstance(stage, LriscStage)
    draws = Draws(0, 3, range(64))
    conditions = draw_link(draws, stage.link, 0)
    assert conditions.which is not None
    gains = draw_gains(torch.ones(64, 5, 8, dtype=torch.bool), conditions, draws)
    fading = torch.tensor([conditions.channels[int(i)] == "selective" for i in conditions.which])
    assert 16 < int(fading.sum()) < 48
    assert bool((gains[~fading] == 1).all())
    assert bool((gains[fading].flatten(1).std(1) > 0).all())
    # The same numbers whatever batch a picture is in.
    alone = replace(
        conditions,
        **{
            name: getattr(conditions, name)[40:44]
            for name in ("snr_db", "cbr", "beta", "block_length", "which")
        },
    )
    part = draw_gains(torch.ones(4, 5, 8, dtype=torch.bool), alone, Draws(0, 3, range(40, 44)))
    assert bool((part == gains[40:44]).all())


def test_batched_and_packed_meet_the_same_statistics() -> None:
    """The training link and the product's channel of the same name."""
    conditions = replace(fixed_link(300, 10.0, 1 / 24), channels=("selective",))
    batched = draw_gains(
        torch.ones(300, 4, 50, dtype=torch.bool), conditions, Draws(0, 0, range(300))
    )
    packed = torch.stack(
        [channel("selective", 10.0, seed=s)(torch.ones(200) + 0j).gains for s in range(300)]
    )
    for power in (batched.flatten(1).abs().square(), packed.abs().square()):
        assert float(power.mean()) == pytest.approx(1, abs=0.15)
        assert float(power.mean(1).std()) == pytest.approx(0.6, abs=0.3)
    assert CHANNELS["selective"].fades
