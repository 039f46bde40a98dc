"""The linear channels start as principal components of the training pictures."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.data.crops import to_signal
from lrisc.training.linear_init import start_transforms, start_way


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth random pictures, (count, 64, 64, 3) uint8."""
    noise = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, size=(64, 64), mode="bicubic", align_corners=False).clamp(0, 1)
    return (smooth * 255).byte().permute(0, 2, 3, 1).numpy()


def signals(count: int, seed: int) -> torch.Tensor:
    """Such pictures as the networks get them."""
    return to_signal(torch.from_numpy(pictures(count, seed)).permute(0, 3, 1, 2))


@pytest.fixture
def model() -> Lrisc:
    torch.manual_seed(0)
    made = Lrisc(PRESETS["tiny"]).eval()
    start_transforms(made, pictures(48, 0))
    return made


def test_both_transforms_are_one_projection_that_fits_the_pictures(model: Lrisc) -> None:
    assert model.analysis.linear is not None
    assert model.context.linear is not None
    down, up = model.analysis.linear.weight[:, :, 0, 0], model.context.linear.weight[:, :, 0, 0]
    n = PRESETS["tiny"].linear_channels
    assert torch.allclose(down @ up, torch.eye(n), atol=1e-4)

    patches = F.pixel_unshuffle(signals(8, 1), 16).flatten(2).transpose(1, 2).reshape(-1, 768)
    fitted = (patches @ down.T).square().sum()
    anywhere = torch.linalg.qr(torch.randn(768, n)).Q
    assert fitted > 3 * (patches @ anywhere).square().sum()


def test_the_linear_part_crosses_the_latent_in_its_own_units(model: Lrisc) -> None:
    image = signals(1, 2)
    with torch.no_grad():
        for parameter in model.analysis.stages.parameters():
            parameter.zero_()
        base = model.context(model.analysis(image)).base
        assert base is not None
        again = model.context(model.analysis(base)).base
    assert torch.allclose(base, again, atol=1e-4)
    assert base.square().mean() > 0.01 * image.square().mean()


def test_the_way_carries_every_linear_channel_once_there_are_symbols_enough(model: Lrisc) -> None:
    start_way(model, pictures(48, 0))
    n, values = PRESETS["tiny"].linear_channels, PRESETS["tiny"].rate_values
    with torch.no_grad():
        latent = model.analysis(signals(6, 3))
        errors: list[float] = []
        for symbols in (8, 128):
            levels = torch.full((6, 4, 4), values.index(symbols))
            sent = model.jscc_encoder(latent, levels, torch.full((6,), 20.0))
            sent[:, :, symbols:] = 0
            power = sent.square().sum((1, 2, 3)) / (16 * symbols)
            sent = sent / power.sqrt()[:, None, None, None]
            estimate = model.jscc_decoder(sent, levels, torch.full((6, 16), 20.0))
            error = (estimate - latent)[:, -n:].square().mean((0, 2, 3))
            errors.append(float((error / latent[:, -n:].var((0, 2, 3))).mean()))
    few, many = errors
    assert many < 0.5
    assert many < 0.5 * few
