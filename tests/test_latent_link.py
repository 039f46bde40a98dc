"""The differentiable link as a user of the library meets it."""

import pytest
import torch
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError


@pytest.fixture
def latents(tiny: LoadedCheckpoint) -> torch.Tensor:
    pictures = torch.stack([picture(96, 128, i) for i in range(3)])
    with torch.no_grad():
        return tiny.model.analysis(pictures * 2 - 1)


@pytest.mark.parametrize("channel", ["awgn", "rayleigh"])
def test_estimates_have_gradients(
    tiny: LoadedCheckpoint, latents: torch.Tensor, channel: str
) -> None:
    link = lrisc.LatentLink(tiny, channel)
    leaf = latents.clone().requires_grad_()
    snr_db = torch.tensor([0.0, 10.0, 20.0])
    found = link(leaf, snr_db=snr_db, cbr=1 / 12)
    assert found.estimate.shape == latents.shape
    assert found.levels.shape == (3, 6, 8)
    budget = torch.full((3,), 3 * 96 * 128 / 12)
    assert bool((found.symbols <= budget).all())
    assert bool((found.symbols > 0.7 * budget).all())
    found.estimate.square().mean().backward()
    assert leaf.grad is not None
    assert bool(leaf.grad.flatten(1).abs().sum(1).gt(0).all())
    assert all(p.grad is None for p in tiny.model.parameters())


def test_noise_follows_seed_and_step_and_snr(tiny: LoadedCheckpoint, latents: torch.Tensor) -> None:
    link = lrisc.LatentLink(tiny)

    def send(snr_db: float, **draws: int) -> torch.Tensor:
        return link(latents, snr_db=snr_db, cbr=1 / 12, **draws).estimate

    clean = send(100)
    assert torch.equal(send(5), send(5))
    assert not torch.equal(send(5), send(5, seed=1))
    assert not torch.equal(send(5), send(5, step=1))
    far, near = ((send(snr_db) - clean).square().mean() for snr_db in (15, 30))
    assert float(far) > float(near)


def test_what_cannot_be_is_told(tiny: LoadedCheckpoint, latents: torch.Tensor) -> None:
    link = lrisc.LatentLink(tiny)
    with pytest.raises(InputError, match="latents are"):
        link(latents[:, :3], snr_db=10)
    with pytest.raises(InputError, match="snr_db is"):
        link(latents, snr_db=torch.zeros(2))
    with pytest.raises(InputError, match="cbr must lie"):
        link(latents, snr_db=10, cbr=0.0)
    with pytest.raises(InputError, match="snr_db is"):
        link(latents, snr_db=float("nan"))
    with pytest.raises(InputError, match="unknown channel"):
        lrisc.LatentLink(tiny, "wire")
