"""The hash behind every random number: distribution, independence, batch invariance."""

import pytest
import torch

from lrisc.link.draws import Draws


def test_samples_do_not_depend_on_their_batch() -> None:
    joint = Draws(5, 17, range(8))
    parts = [Draws(5, 17, range(0, 3)), Draws(5, 17, range(3, 8))]
    for draw in (Draws.normal, Draws.uniform):
        whole = draw(joint, "noise", (3, 7))
        assert torch.equal(whole, torch.cat([draw(part, "noise", (3, 7)) for part in parts]))


def test_moments() -> None:
    normal = Draws(0, 0, range(8)).normal("n", (1 << 17,)).double()
    assert abs(float(normal.mean())) < 4e-3
    assert abs(float(normal.square().mean()) - 1) < 6e-3
    assert abs(float(normal.pow(4).mean()) - 3) < 0.05
    uniform = Draws(0, 0, range(8)).uniform("u", (1 << 17,))
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    counts = torch.histc(uniform, 64, 0, 1)
    expected = uniform.numel() / 64
    # Chi-square with 63 degrees of freedom.
    assert float(((counts - expected) ** 2 / expected).sum()) < 120


@pytest.mark.slow
def test_every_position_is_uniform_over_samples_and_steps() -> None:
    over_samples = Draws(0, 0, range(1 << 15)).uniform("u", (6,))
    steps = [Draws(3, step, range(2)).uniform("u", (6,)) for step in range(1 << 10)]
    for numbers in (over_samples, torch.cat(steps)):
        for position in range(6):
            counts = torch.histc(numbers[:, position], 16, 0, 1)
            expected = len(numbers) / 16
            assert float(((counts - expected) ** 2 / expected).sum()) < 45  # 15 degrees of freedom


@pytest.mark.parametrize(
    "other",
    [
        lambda: Draws(1, 3, range(1)).normal("a", (1 << 16,)),
        lambda: Draws(0, 4, range(1)).normal("a", (1 << 16,)),
        lambda: Draws(0, 3, range(1, 2)).normal("a", (1 << 16,)),
        lambda: Draws(0, 3, range(1)).normal("b", (1 << 16,)),
        lambda: Draws(0, 3, range(1)).normal("a", (1 << 16,)).roll(1, 1),
        lambda: Draws(0, 3, range(1)).normal("a", (1 << 16,)).roll(1 << 15, 1),
    ],
    ids=["seed", "step", "sample", "stream", "neighbour", "halves"],
)
def test_streams_are_uncorrelated(other) -> None:
    first = Draws(0, 3, range(1)).normal("a", (1 << 16,))
    correlation = float((first * other()).mean())
    assert abs(correlation) < 5 / 256  # five standard deviations


def test_a_subset_draws_what_the_whole_draws_for_it() -> None:
    whole = Draws(3, step=5, samples=range(6))
    chosen = torch.tensor([True, False, False, True, True, False])
    part = whole.subset(chosen).normal("noise", (3, 4))
    assert torch.equal(part, whole.normal("noise", (3, 4))[chosen])
    assert whole.subset(torch.zeros(6, dtype=torch.bool)).normal("noise", (2,)).shape == (0, 2)
