import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import picture

from lrisc.images import to_pil
from lrisc.metrics.quality import quality
from lrisc.metrics.region import region_quality, region_symbols


def test_psnr_inside_and_outside_by_hand() -> None:
    source = Image.new("RGB", (100, 80), (100, 100, 100))
    pixels = np.asarray(source).copy()
    pixels[:, :50] += 10
    pixels[:, 50:] += 2
    mask = torch.zeros(80, 100)
    mask[:, :50] = 1
    report = region_quality(source, Image.fromarray(pixels), mask)
    assert report["psnr_inside_db"] == pytest.approx(20 * np.log10(255 / 10))
    assert report["psnr_outside_db"] == pytest.approx(20 * np.log10(255 / 2))


def test_lpips_of_both_parts_is_that_of_the_whole() -> None:
    source, other = (to_pil(picture(96, 96, seed)) for seed in (0, 1))
    mask = torch.zeros(96, 96)
    mask[:, :40] = 1
    whole = quality(source, other)["lpips"]
    if whole is None:
        pytest.skip("no LPIPS weights on this machine")
    parts = region_quality(source, other, mask)
    inside, outside = parts["lpips_inside"], parts["lpips_outside"]
    assert inside is not None
    assert outside is not None
    # The layers' enlargement reaches over the border between the two.
    assert (40 * inside + 56 * outside) / 96 == pytest.approx(whole, rel=0.1)


def test_no_pixels_and_no_error_have_no_number() -> None:
    source = Image.new("RGB", (64, 64))
    report = region_quality(source, source, torch.zeros(64, 64))
    assert report["psnr_inside_db"] is None
    assert report["lpips_inside"] is None
    assert report["psnr_outside_db"] is None


def test_symbols_inside_and_outside() -> None:
    rate_map = np.full((4, 8), 3)
    rate_map[0, 0] = 11
    mask = torch.zeros(60, 100)
    mask[:16, :16] = 1
    # 60×100 pixels have 4×7 patches; the eighth column is padding.
    assert region_symbols(rate_map, mask) == {"symbols_inside": 11, "symbols_outside": 3}
    tiny = torch.zeros(60, 100)
    tiny[4:6, 4:6] = 1
    assert region_symbols(rate_map, tiny)["symbols_inside"] == 11
