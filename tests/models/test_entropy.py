import math

import pytest
import torch

from lrisc.models.config import PRESETS
from lrisc.models.entropy import (
    LIKELIHOOD_FLOOR,
    FactorizedPrior,
    GaussianConditional,
    Hyperprior,
    bits,
    embedding_bits,
    lower_bound,
)


def test_gaussian_with_uniform_is_a_density() -> None:
    """p(z | y) of Eq. 2 integrates to one over z, as a convolution of densities does."""
    z = torch.linspace(-60, 60, 120001, dtype=torch.float64)
    for mean, scale in [(0.0, 0.1), (0.3, 1.0), (-2.0, 7.0)]:
        p = GaussianConditional()(z, torch.full_like(z, mean), torch.full_like(z, scale))
        assert abs(float(p.sum()) * 1e-3 - 1) < 1e-3


def test_gaussian_matches_the_closed_form_far_in_the_tail() -> None:
    z = torch.tensor([0.0, 2.0, 5.0])
    p = GaussianConditional()(z, torch.zeros(3), torch.ones(3))
    upper, lower = (z + 0.5) / math.sqrt(2), (z - 0.5) / math.sqrt(2)
    expected = 0.5 * (torch.erfc(lower.double()) - torch.erfc(upper.double()))
    torch.testing.assert_close(p, expected.float(), rtol=1e-3, atol=0)


def test_likelihood_floor_keeps_the_gradient() -> None:
    z = torch.tensor([50.0], requires_grad=True)
    p = GaussianConditional()(z, torch.zeros(1), torch.ones(1))
    assert float(p.detach()) == float(torch.tensor(LIKELIHOOD_FLOOR))
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    (-lower_bound(x, 0.5).log()).sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).all())


def test_lower_bound_blocks_only_what_would_sink_further() -> None:
    x = torch.tensor([0.1], requires_grad=True)
    lower_bound(x, 0.5).sum().backward()
    assert x.grad is not None
    assert float(x.grad) == 0.0


def test_factorized_prior_is_a_density() -> None:
    torch.manual_seed(0)
    prior = FactorizedPrior(3)
    y = torch.arange(-400.0, 401.0).reshape(1, 1, 801, 1).expand(1, 3, 801, 1)
    total = prior(y).sum(dim=(0, 2, 3))
    torch.testing.assert_close(total, torch.ones(3), rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_training_the_factorized_prior_finds_the_distribution() -> None:
    torch.manual_seed(0)
    prior = FactorizedPrior(1)
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-2)
    for _ in range(300):
        y = 3 + 2 * torch.randn(1, 1, 512, 1) + torch.rand(1, 1, 512, 1) - 0.5
        loss = bits(prior(y)).mean() / 512
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Differential entropy of N(3, 4), in bits, which the noisy rate approaches.
    assert abs(float(loss.detach()) - 0.5 * math.log2(2 * math.pi * math.e * 4)) < 0.12


def test_any_latent_size_and_no_noise_is_repeatable() -> None:
    torch.manual_seed(0)
    hyper = Hyperprior(PRESETS["tiny"])
    z = torch.randn(2, 48, 5, 7) * 3
    first = hyper(z, noisy=False)
    assert first.p_latent.shape == z.shape
    assert first.p_hyper_latent.shape == (2, 24, 2, 2)
    assert torch.equal(first.latent, z)
    again = hyper(z, noisy=False)
    assert torch.equal(first.p_latent, again.p_latent)
    noise = hyper(z, noisy=True).latent - z
    assert float(noise.abs().max()) <= 0.5 + 1e-5
    assert float(noise.std()) > 0.25
    assert embedding_bits(first.p_latent).shape == (2, 5, 7)


def test_a_flat_latent_looks_the_same_everywhere() -> None:
    """With zeros around the picture, borders and corners would differ from the inside."""
    torch.manual_seed(0)
    hyper = Hyperprior(PRESETS["tiny"])
    with torch.no_grad():
        y = hyper.encoder(torch.randn(1, 48, 1, 1).expand(1, 48, 24, 16))
        torch.testing.assert_close(y, y[..., 2:3, 2:3].expand_as(y), rtol=1e-4, atol=1e-5)


def test_the_inside_of_a_picture_equals_its_tile_with_context() -> None:
    torch.manual_seed(0)
    hyper = Hyperprior(PRESETS["tiny"])
    z = 3 * torch.randn(1, 48, 48, 48)
    whole = embedding_bits(hyper(z, noisy=False).p_latent)
    tile = embedding_bits(hyper(z[..., 8:40, 8:40], noisy=False).p_latent)
    torch.testing.assert_close(tile[:, 12:20, 12:20], whole[:, 20:28, 20:28])
