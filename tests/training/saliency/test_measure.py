from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrisc.errors import InputError
from lrisc.training.saliency.measure import masked_photographs, saliency_figures


def test_a_perfect_map() -> None:
    mask = np.zeros((10, 10), np.float32)
    mask[2:5, 3:7] = 1
    figures = saliency_figures(iter([(mask, mask)]))
    assert figures.max_f == pytest.approx(1)
    assert figures.mae == 0


def test_figures_by_hand() -> None:
    """Half right at one threshold: precision 1/2, recall 1; beta² = 0.3."""
    mask = np.zeros((4, 4), np.float32)
    mask[0] = 1
    found = np.zeros((4, 4), np.float32)
    found[:2] = 0.8
    figures = saliency_figures(iter([(found, mask)]))
    assert figures.max_f == pytest.approx(1.3 * 0.5 / (0.3 * 0.5 + 1))
    assert figures.mae == pytest.approx((4 * 0.2 + 4 * 0.8) / 16)
    assert figures.pictures == 1


def test_precision_and_recall_are_averaged_before_f() -> None:
    mask = np.zeros((2, 2), np.float32)
    mask[0, 0] = 1
    nothing = np.zeros((2, 2), np.float32)
    figures = saliency_figures(iter([(mask, mask), (nothing, mask)]))
    assert figures.max_f == pytest.approx(0.5)


def test_pairs_by_stem(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no photographs with masks"):
        masked_photographs(tmp_path)
    for name in ("a.webp", "a.png", "b.webp", "c.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert masked_photographs(tmp_path) == [(tmp_path / "a.webp", tmp_path / "a.png")]
    with pytest.raises(InputError, match="no pictures"):
        saliency_figures(iter([]))
