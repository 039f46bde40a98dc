"""The presets' published figures, shapes for any size, and independence of pictures in a batch."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def paper() -> Lrisc:
    with torch.device("meta"):
        return Lrisc(PRESETS["paper"])


def kmac_per_pixel(run: object, side: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()  # type: ignore[operator]
    return counter.get_total_flops() / 2 / side**2 / 1e3


def test_the_paper_preset_has_the_published_structure(paper: Lrisc) -> None:
    config = paper.config
    assert config.unet_widths == tuple(64 * j for j in range(1, 7))
    assert config.analysis_widths == (64, 128, 192, 256)
    assert len(config.context_widths) == 4
    image = torch.zeros(1, 3, 256, 256, device="meta")
    latent = paper.analysis(image)
    assert latent.shape == (1, 256, 16, 16)
    y = paper.hyperprior.encoder(latent)
    assert y.shape[-2:] == (4, 4)
    condition = paper.context(latent)
    assert condition.base is None
    assert [tuple(c.shape[1:]) for c in condition.levels] == [
        (64, 256, 256),
        (64, 128, 128),
        (128, 64, 64),
        (192, 32, 32),
    ]
    assert paper.unet(image, condition, torch.ones(1, device="meta")).shape == image.shape


def test_the_paper_preset_has_the_published_size_and_cost(paper: Lrisc) -> None:
    assert parameters(paper.unet) == pytest.approx(40e6, rel=0.03)
    # 54 M for everything but the JSCC codec.
    codec = parameters(paper.jscc_encoder) + parameters(paper.jscc_decoder)
    assert parameters(paper) - codec == pytest.approx(54e6, rel=0.02)
    latent = torch.zeros(1, 256, 16, 16, device="meta")
    condition = paper.context(latent)
    image, time = torch.zeros(1, 3, 256, 256, device="meta"), torch.ones(1, device="meta")
    cost = kmac_per_pixel(lambda: paper.unet(image, condition, time), 256)
    assert cost == pytest.approx(984, rel=0.005)


@pytest.mark.slow
def test_compact_stays_within_its_limits() -> None:
    with torch.device("meta"):
        model = Lrisc(PRESETS["compact"])
    assert parameters(model) <= 20e6
    assert 2 * parameters(model) <= 40e6
    image, snr = torch.zeros(1, 3, 256, 256, device="meta"), torch.zeros(1, device="meta")
    levels = torch.zeros(1, 16, 16, dtype=torch.int64, device="meta")

    def everything() -> None:
        latent = model.analysis(image)
        model.hyperprior(latent, noisy=False)
        model.jscc_encoder(latent, levels, snr)
        symbols = torch.zeros(1, 256, 128, 2, device="meta")
        guide = model.jscc_decoder(symbols, levels, torch.zeros(1, 256, device="meta"))
        model.unet(image, model.context(guide), torch.ones(1, device="meta"))

    assert kmac_per_pixel(everything, 256) <= 180


def test_tiny_is_tiny() -> None:
    assert parameters(Lrisc(PRESETS["tiny"])) < 1e6


@pytest.fixture(scope="module")
def tiny_model() -> Lrisc:
    torch.manual_seed(0)
    return Lrisc(PRESETS["tiny"]).eval()


@pytest.mark.parametrize("size", [(64, 64), (80, 208), (16 * 9, 16 * 17)])
def test_any_multiple_of_sixteen_works(tiny_model: Lrisc, size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size) * 2 - 1
    with torch.no_grad():
        latent = tiny_model.analysis(image)
        assert latent.shape[-2:] == (size[0] // 16, size[1] // 16)
        assert tiny_model.embedding_bits(latent).shape == (1, size[0] // 16, size[1] // 16)
        assert tiny_model.synthesise(latent, steps=2).shape == image.shape


def test_a_picture_does_not_depend_on_its_neighbours(tiny_model: Lrisc) -> None:
    torch.manual_seed(1)
    images = torch.rand(3, 3, 80, 112) * 2 - 1
    levels = torch.randint(0, 16, (3, 5, 7))
    snr = torch.tensor([0.0, 10.0, 20.0])

    def chain(at: slice) -> list[torch.Tensor]:
        with torch.no_grad():
            latent = tiny_model.analysis(images[at])
            bits = tiny_model.embedding_bits(latent)
            symbols = tiny_model.jscc_encoder(latent, levels[at], snr[at])
            per_embedding = snr[at, None].expand(-1, 35)
            guide = tiny_model.jscc_decoder(symbols, levels[at], per_embedding)
            return [latent, bits, symbols, guide, tiny_model.synthesise(guide, steps=2)]

    for together, alone in zip(chain(slice(0, 3)), chain(slice(1, 2)), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def test_decoding_is_repeatable_by_seed(tiny_model: Lrisc) -> None:
    latent = torch.randn(1, 48, 4, 4)

    def decode(seed: int) -> torch.Tensor:
        with torch.no_grad():
            return tiny_model.synthesise(latent, 2, seed, sigma_start=0.8)

    assert torch.equal(decode(1), decode(1))
    assert not torch.equal(decode(1), decode(2))
