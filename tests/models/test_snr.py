import torch

from lrisc.models.config import PRESETS
from lrisc.models.snr import SnrAdaptive


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
