import torch

from lrisc.models.config import PRESETS
from lrisc.models.snr import SlotGains, SnrAdaptive


def test_structure_is_the_published_one() -> None:
    adaptive = SnrAdaptive(32, PRESETS["paper"].snr_layers, 16)
    assert len(adaptive.trunk) == 8
    assert len(adaptive.modulations) == 7
    for module in adaptive.modulations:
        linear = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
        assert len(linear) == 3


def test_it_starts_as_the_identity_and_learns_to_depend_on_the_snr() -> None:
    torch.manual_seed(0)
    adaptive = SnrAdaptive(32, 8, 16)
    x = torch.randn(2, 5, 32)
    assert torch.equal(adaptive(x, torch.full((2, 5), 0.0)), x)
    torch.nn.init.orthogonal_(adaptive.trunk[-1].get_parameter("weight"))
    low = adaptive(x, torch.full((2, 5), 0.0))
    high = adaptive(x, torch.full((2, 5), 20.0))
    assert float((low - high).detach().abs().max()) > 1e-4
    gate = (low / x).detach()
    assert float(gate.min()) > 0
    assert float(gate.max()) < 2


def test_the_gate_cannot_saturate_whatever_the_features() -> None:
    """Features and weights far larger than any that training gives; the gradient stays."""
    torch.manual_seed(0)
    adaptive = SnrAdaptive(32, 8, 16)
    for parameter in adaptive.parameters():
        torch.nn.init.normal_(parameter, std=3.0)
    x = 100 * torch.randn(2, 5, 32)
    gate = adaptive.gate(x, torch.full((2, 5), 10.0))
    assert float(gate.detach().min()) > 0.03
    assert float(gate.detach().max()) < 1.97
    gate.sum().backward()
    slope = adaptive.get_parameter("modulations.0.layers.0.weight").grad
    assert slope is not None
    assert float(slope.abs().max()) > 1e-4


def test_slot_gains_start_as_one_and_follow_snr_and_rate() -> None:
    gains = SlotGains(4, 8)
    snr, levels = torch.tensor([[-20.0, 0.0, 10.0, 40.0]]), torch.tensor([[0, 1, 2, 3]])
    assert torch.equal(gains(snr, levels), torch.ones(1, 4, 8))
    torch.manual_seed(0)
    torch.nn.init.normal_(gains.log_gain, std=0.2)
    found = gains(snr, levels).detach()
    # Around 10 dB, where training starts, nothing changes; far away it stays bounded.
    torch.testing.assert_close(found[0, 2], torch.ones(8), rtol=1e-4, atol=1e-4)
    assert float((found[0, 1] - 1).abs().min()) > 0
    assert float(found.max()) < 8
    far = gains(torch.full((1, 4), -60.0), levels)
    assert bool(torch.isfinite(far).all())
    assert not torch.equal(gains(snr.flip(1), levels), gains(snr, levels))
