import pytest
import torch
from torch import nn

from lrisc.training.muon import Muon, is_hidden_matrix, orthogonalise


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(32, 48, 3)
        self.linear = nn.Linear(64, 32)
        self.rate_tokens = nn.Embedding(64, 64)


def make(weight_decay: float = 0.0) -> tuple[Net, Muon]:
    torch.manual_seed(0)
    net = Net()
    return net, Muon(net, 0.1, (0.9, 0.99), weight_decay, fused=False)


@pytest.mark.parametrize("shape", [(40, 200), (200, 40), (64, 64)])
def test_orthogonalise_brings_all_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape) * 1e-3).float())
    # The smallest of a square random matrix are nearly zero and may stay behind.
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_only_hidden_matrices_are_orthogonalised() -> None:
    net, _ = make()
    chosen = {n for n, p in net.named_parameters() if is_hidden_matrix(n, p)}
    assert chosen == {"conv.weight", "linear.weight"}


def test_update_has_the_size_of_an_update_of_adam_whatever_the_gradient() -> None:
    for size in (1e-6, 1e3):
        net, optimiser = make()
        before = net.conv.weight.detach().clone()
        for p in net.parameters():
            p.grad = size * torch.randn_like(p)
        optimiser.step()
        moved = (net.conv.weight - before).square().mean().sqrt().item()
        # 0.2 · sqrt(n) of an orthonormal 48 × 288 matrix, whose entries have rms 1 / sqrt(288).
        assert moved == pytest.approx(0.1 * 0.2, rel=0.25)


def test_every_parameter_learns_and_decay_shrinks() -> None:
    net, optimiser = make(weight_decay=0.5)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for name, p in net.named_parameters():
        assert torch.allclose(p, 0.95 * before[name], atol=1e-6), name


def test_learning_rate_set_from_outside_reaches_both_halves() -> None:
    net, optimiser = make()
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimiser.step()
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]), name


def test_channels_last_weights_move_like_contiguous_ones() -> None:
    moved: list[torch.Tensor] = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net, optimiser = make()
        net.to(memory_format=layout)  # pyright: ignore
        generator = torch.Generator().manual_seed(1)
        grads = [torch.randn(p.shape, generator=generator) for p in net.parameters()]
        for p, grad in zip(net.parameters(), grads, strict=True):
            p.grad = torch.empty_like(p).copy_(grad)
        optimiser.step()
        moved.append(net.conv.weight.detach().clone(memory_format=torch.contiguous_format))
    assert torch.allclose(moved[0], moved[1], atol=2e-3)
