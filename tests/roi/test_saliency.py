import json
from pathlib import Path

import pytest
import torch
from tests.helpers import picture

from lrisc.roi.saliency import (
    EMBEDDED,
    SaliencyConfig,
    SaliencyNet,
    detect,
    load_detector,
    network_size,
    saliency,
    save_detector,
)

SMALL = SaliencyConfig(widths=(8, 8, 16, 16), depths=(0, 1, 1, 1), pixels=64 * 64)


@pytest.mark.parametrize("size", [(64, 64), (200, 333), (64, 2000)])
def test_a_map_of_the_pictures_size(size: tuple[int, int]) -> None:
    found = detect(picture(*size))
    assert found.shape == size
    assert found.dtype == torch.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_the_network_sees_the_pictures_aspect() -> None:
    assert network_size(512, 768, 240 * 240) == (192, 288)
    assert network_size(768, 512, 240 * 240) == (288, 192)
    height, width = network_size(64, 4096, 240 * 240)
    assert height >= 96
    assert width <= 512


def test_the_embedded_one_fits_its_budget() -> None:
    assert (EMBEDDED / "model.safetensors").stat().st_size <= 1_000_000
    assert sum(p.numel() for p in SaliencyNet(SaliencyConfig()).parameters()) < 500_000


def test_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SaliencyNet(SMALL)
    with torch.no_grad():
        network.train()(torch.rand(4, 3, 64, 64))  # statistics of the batch norms
    network.eval()
    save_detector(tmp_path, network, {"steps": 3})
    x = torch.rand(1, 3, 96, 64)
    torch.testing.assert_close(
        saliency(x, load_detector(tmp_path)), saliency(x, network), atol=5e-3, rtol=0
    )
    assert json.loads((tmp_path / "config.json").read_text())["training"] == {"steps": 3}


def test_a_mirrored_picture_has_the_mirrored_map() -> None:
    x = picture(96, 160)
    torch.testing.assert_close(detect(x.flip(2)), detect(x).flip(1), atol=1e-4, rtol=0)


def test_it_finds_a_bright_disc_on_a_dull_ground() -> None:
    y, x = torch.meshgrid(torch.arange(256), torch.arange(384), indexing="ij")
    disc = ((y - 130) ** 2 + (x - 200) ** 2 < 60**2).float()
    ground = 0.4 + 0.05 * picture(256, 384)
    colour = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
    found = detect(ground * (1 - disc) + colour * disc)
    assert float(found[disc > 0].mean()) > float(found[disc == 0].mean()) + 0.4
