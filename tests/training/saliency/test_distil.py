from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.training.saliency.distil import (
    MaskedSquares,
    Shares,
    open_teacher,
    read_masked,
    saliency_loss,
    training_batch,
)


def squares(n: int, value: int) -> MaskedSquares:
    """Pictures whose left half is bright and salient."""
    pictures = np.full((n, 64, 64, 3), value, np.uint8)
    pictures[:, :, :32] = 240
    maps = np.zeros((n, 64, 64), np.uint8)
    maps[:, :, :32] = 255
    return MaskedSquares(pictures, maps)


def test_a_batch_is_a_pure_function_of_the_draws() -> None:
    data = squares(5, 20)
    x, y = training_batch(data, data, Shares(0.5), Draws(0, 1, range(6)), 32)
    again, _ = training_batch(data, data, Shares(0.5), Draws(0, 1, range(6)), 32)
    other, _ = training_batch(data, data, Shares(0.5), Draws(0, 2, range(6)), 32)
    assert x.shape == (6, 3, 32, 32)
    assert y.shape == (6, 1, 8, 8)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_masks_move_with_their_pictures() -> None:
    x, y = training_batch(squares(5, 20), squares(5, 20), Shares(0.5), Draws(0, 1, range(40)), 32)
    bright = torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 4)
    bright = (bright > bright.mean((1, 2, 3), keepdim=True)).float()
    assert float((bright - y).abs().mean()) < 0.1


def test_the_share_of_exact_masks() -> None:
    exact = squares(3, 20)
    teacher = MaskedSquares(exact.squares, np.full_like(exact.maps, 100))
    _, y = training_batch(teacher, exact, Shares(0.25), Draws(0, 1, range(400)), 32)
    assert abs(float((y == 100 / 255).flatten(1).all(1).float().mean()) - 0.75) < 0.08
    empty = MaskedSquares(teacher.squares[:0], teacher.maps[:0])
    _, y = training_batch(empty, exact, Shares(0.0), Draws(0, 1, range(8)), 32)
    assert not bool((y == 100 / 255).any())


def test_the_loss_is_zero_for_certainty() -> None:
    target = torch.zeros(2, 1, 8, 8)
    target[:, :, :3] = 1
    assert float(saliency_loss(60 * target - 30, target)) == pytest.approx(0, abs=1e-5)
    assert float(saliency_loss(30 - 60 * target, target)) > 10
    nothing = torch.zeros(1, 1, 8, 8)
    assert float(saliency_loss(nothing - 30, nothing)) == pytest.approx(0, abs=1e-5)


def test_files(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "a.webp")
    Image.new("L", (40, 30), 255).save(tmp_path / "a.png")
    masked = read_masked(tmp_path)
    assert masked.squares.shape == (1, 256, 256, 3)
    assert masked.maps.min() == 255
    np.save(tmp_path / "s.npy", np.zeros((5, 8, 8, 3), np.uint8))
    np.save(tmp_path / "m.npy", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(InputError, match="cannot read"):
        open_teacher(tmp_path / "s.npy", tmp_path / "m.npy")
    (tmp_path / "m.done").write_text("3")
    assert len(open_teacher(tmp_path / "s.npy", tmp_path / "m.npy")) == 3
