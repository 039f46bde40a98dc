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
