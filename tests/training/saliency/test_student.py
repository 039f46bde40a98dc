"""The detector's hints: what they ask for, and that they only steer the training."""

import pytest
import torch
from torch.nn import functional as F

from lrisc.metrics.lpips import Lpips
from lrisc.roi.saliency import SaliencyConfig, SaliencyNet
from lrisc.training.saliency.student import HINT_CHANNELS, Student, hint_loss, hints

SMALL = SaliencyConfig(widths=(8, 8, 12, 16), depths=(0, 1, 1, 1))


@pytest.mark.slow
def test_shapes_and_the_detectors_own_logits() -> None:
    student = Student(SaliencyNet(SMALL)).eval()
    pictures = torch.rand(2, 3, 64, 96)
    logits, guesses = student(pictures)
    assert logits.shape == (2, 1, 16, 24)
    assert [g.shape for g in guesses] == [(2, HINT_CHANNELS, 4, 6), (2, HINT_CHANNELS, 2, 3)]
    torch.testing.assert_close(logits, student.network(pictures))


def test_hints_are_directions_of_alexnets_last_features() -> None:
    torch.manual_seed(0)
    trunk = Lpips("alex")  # random weights: the geometry is what is tested
    wanted = hints(trunk, torch.rand(2, 3, 128, 96))
    assert wanted.shape == (2, HINT_CHANNELS, 7, 5)
    lengths = wanted.norm(dim=1)
    assert bool((((lengths - 1).abs() < 1e-4) | (lengths == 0)).all())


def test_loss_is_zero_for_the_direction_and_two_a_level_against_it() -> None:
    wanted = F.normalize(torch.randn(2, HINT_CHANNELS, 6, 6), dim=1)
    assert float(hint_loss([3 * wanted, wanted], wanted)) == pytest.approx(0, abs=1e-5)
    assert float(hint_loss([-wanted, wanted], wanted)) == pytest.approx(2, abs=1e-5)
    coarse = torch.ones(2, HINT_CHANNELS, 3, 3)
    even = F.normalize(torch.ones(2, HINT_CHANNELS, 6, 6), dim=1)
    assert float(hint_loss([coarse], even)) == pytest.approx(0, abs=1e-5)
