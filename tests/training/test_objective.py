"""The loss of a step: physics of the link, what learns, and Eq. 11 by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrisc.latent_link import rate_levels
from lrisc.link.batched import cross_channel
from lrisc.link.draws import Draws
from lrisc.models.config import PRESETS
from lrisc.models.diffusion import loss_weight
from lrisc.models.entropy import embedding_bits
from lrisc.models.lrisc import Lrisc
from lrisc.roi.fusion import Steering
from lrisc.roi.region import Regions
from lrisc.roi.saliency import SaliencyConfig
from lrisc.training.conditions import draw_link, draw_regions, fixed_link
from lrisc.training.config.schema import LinkConfig, LossConfig, RoiConfig
from lrisc.training.objective import training_loss

PLAIN = LossConfig(lpips=0.0, source="none", one_step_fraction=1.0)


class BrightnessDistance(nn.Module):
    """Stands in for LPIPS: the squared difference of brightness, whole or as a map."""

    def forward(self, image: Tensor, other: Tensor, *, spatial: bool | None = None) -> Tensor:
        where = (image - other).square().mean(1, keepdim=True)
        return where if spatial else where.mean((1, 2, 3))


@pytest.fixture(scope="module")
def model() -> Lrisc:
    torch.manual_seed(0)
    return Lrisc(PRESETS["tiny"])


def loss_of(
    model: Lrisc, x: Tensor, config: LossConfig, *, rate: float = 0.0, **given: Any
) -> tuple[float, dict[str, float]]:
    """The loss and its terms, without a link and region unless they are given."""
    given = {"conditions": None, "draws": Draws(0, 0, range(len(x)))} | given
    perceptual = BrightnessDistance() if config.lpips else None
    loss, terms = training_loss(
        model, perceptual, x, given.pop("draws"), config, rate=rate, **given
    )
    return float(loss.detach()), {name: float(value) for name, value in terms.items()}


def image(batch: int = 4) -> Tensor:
    return Draws(1, 1, range(batch)).uniform("image", (3, 64, 64)) * 2 - 1


@pytest.mark.parametrize(("snr_db", "fading"), [(10.0, False), (0.0, False), (10.0, True)])
def test_channel_physics(snr_db: float, fading: bool) -> None:
    """Unit power per image, the SNR asked for, and the equaliser's known error."""
    draws = Draws(0, 0, range(2))
    symbols = 7 * draws.normal("symbols", (256, 64, 2))
    symbols[1] *= 3  # another scale in the same batch must not matter
    mask = torch.arange(64).expand(2, 256, 64) < 48
    link = fixed_link(2, snr_db, 1 / 24)
    if fading:
        link = replace(link, block_length=torch.full((2,), 16.0), channels=("rayleigh",))
    received, seen = cross_channel(symbols, mask, link, draws)
    sent = symbols * mask.unsqueeze(-1)
    scale = (sent.square().sum((1, 2, 3)) / mask.sum((1, 2))).rsqrt()
    error = (received - sent * scale[:, None, None, None]).square().sum((1, 2, 3))
    error = error / mask.sum((1, 2))
    n0 = 10 ** (-snr_db / 10)
    if not fading:
        expected = torch.tensor(n0 / (1 + n0))  # of an MMSE estimate, for Gaussian symbols
        assert seen.allclose(torch.full_like(seen, snr_db), atol=1e-4)
    else:
        gain = -torch.rand(1_000_000, generator=torch.Generator().manual_seed(0)).log()
        expected = (n0 / (gain + n0)).mean()
        assert float(seen.std()) > 0.3
    assert error.allclose(expected.expand(2), rtol=0.12 if fading else 0.03)
    assert bool((received[~mask] == 0).all())


def test_uneven_power_on_the_channel() -> None:
    """An embedding with power p has SNR p/N0, the image keeps unit power, the scale comes back."""
    draws = Draws(0, 0, range(2))
    counts = torch.tensor([[8] * 64 + [32] * 64 + [0]]).expand(2, -1)
    mask = torch.arange(32) < counts.unsqueeze(-1)
    symbols = 3 * draws.normal("symbols", (129, 32, 2))
    uneven = torch.tensor([True, False])
    received, seen = cross_channel(symbols, mask, fixed_link(2, 10.0, 1 / 24), draws, uneven)
    power = torch.tensor([8.0, 32.0]) * 40 / (8**2 + 32**2)
    expected = 10 + 10 * power.log10()
    assert seen[0, [0, 64]].allclose(expected, atol=1e-4)
    assert seen[0, 128] == seen[1, 0] == 10
    unit = symbols / 18**0.5  # of Gaussian parts of deviation 3
    error = ((received - unit).square().sum(-1) * mask).sum(-1) / mask.sum(-1)
    groups = error[0, :128].view(2, 64).mean(1)
    assert groups.allclose(0.1 / (power + 0.1), rtol=0.12)


def test_budgets_and_fixed_beta() -> None:
    values = PRESETS["tiny"].rate_values
    likelihood = Draws(0, 0, range(3)).uniform("p", (48, 8, 8)).clamp(min=1e-6)
    link = replace(fixed_link(3, 10.0, 1 / 24), beta=torch.tensor([torch.nan, 0.2, torch.nan]))
    sent = torch.tensor(values)[rate_levels(embedding_bits(likelihood), link, values, "paper")].sum(
        (1, 2)
    )
    budget = 3 * 128 * 128 / 24
    assert 0.9 * budget < int(sent[0]) <= budget
    bits = -likelihood[1].log2().sum()
    assert 0.2 * float(bits) * 0.9 < int(sent[1]) < 0.2 * float(bits) * 1.4


@pytest.mark.parametrize("steering", ["latent", "rate", "both", "power"])
def test_a_region_takes_symbols_from_its_background(steering: Steering) -> None:
    """At the same budget; the paper's way leaves the rule alone and changes the latent."""
    values = PRESETS["tiny"].rate_values
    likelihood = torch.full((1, 48, 8, 8), 0.5)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., :64] = 1
    regions = Regions(mask, torch.tensor([0.3]), steering)
    symbols = torch.tensor(values)[
        rate_levels(
            embedding_bits(likelihood), fixed_link(1, 10.0, 1 / 48), values, "paper", regions
        )
    ]
    assert 0.85 * 3 * 128 * 128 / 48 < int(symbols.sum()) <= 3 * 128 * 128 / 48
    inside, outside = symbols[..., :3].float().mean(), symbols[..., 5:].float().mean()
    if steering == "latent":
        assert inside == outside
    else:
        assert float(inside) > 2 * float(outside)


def test_only_the_papers_way_changes_the_latent() -> None:
    model = Lrisc(PRESETS["tiny"])
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1

    def bpp(steering: Steering | None) -> float:
        regions = Regions(mask, torch.tensor([0.2]), steering) if steering else None
        image = Draws(7, 0, range(1)).uniform("image", (3, 64, 64)) * 2 - 1
        link = fixed_link(1, 10.0, 1 / 48)
        return loss_of(model, image, PLAIN, rate=0.01, conditions=link, regions=regions)[1]["bpp"]

    assert bpp("rate") == bpp(None)
    assert bpp("latent") == bpp("both") != bpp(None)


def test_drawn_conditions() -> None:
    link = LinkConfig(favourite_fraction=0.25, channels={"awgn": 0.75, "rayleigh": 0.25})
    drawn = draw_link(Draws(0, 5, range(4000)), link, 5)
    assert drawn.channels == ("awgn", "rayleigh")
    assert drawn.which is not None
    assert -2 <= float(drawn.snr_db.min()) < -1.9
    assert 19.9 < float(drawn.snr_db.max()) < 20
    assert 1 / 96 <= float(drawn.cbr.min()) < 1 / 95
    assert 1 / 12.1 < float(drawn.cbr.max()) <= 1 / 12
    favourite = (drawn.cbr == torch.tensor(1 / 48)).float().mean()
    assert abs(float(favourite) - 0.25) < 0.03
    assert abs(float(drawn.which.float().mean()) - 0.25) < 0.03
    easy = draw_link(Draws(0, 5, range(4)), replace(link, easy_steps=6), 5)
    assert easy.channels == ("awgn",)
    assert easy.snr_db.tolist() == [10.0] * 4


def test_drawn_regions() -> None:
    black = torch.zeros(400, 3, 64, 64, dtype=torch.uint8)
    assert draw_regions(Draws(0, 0, range(400)), RoiConfig(), black) is None
    regions = draw_regions(Draws(0, 0, range(400)), RoiConfig(0.5, (0.2, 0.8)), black)
    assert regions is not None
    has = regions.gamma < 1
    assert 160 < int(has.sum()) < 240
    assert bool((regions.mask[~has] == 0).all())
    share = regions.mask[has].mean((1, 2, 3))
    assert 0 < float(share.min()) < 0.2
    assert float(share.max()) > 0.5


def test_some_regions_are_the_detectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own map where it finds something, the random mask where not; the same for every seed."""

    class Left(torch.nn.Module):
        """Finds the left half of pictures that are not black."""

        config = SaliencyConfig()

        def forward(self, pictures: Tensor) -> Tensor:
            logits = torch.full_like(pictures[:, :1, ::4, ::4], -20)
            logits[..., : logits.shape[-1] // 2] = 20
            return torch.where(pictures.amax((1, 2, 3), keepdim=True) > 0, logits, -20)

    monkeypatch.setattr("lrisc.training.conditions.embedded_detector", lambda device: Left())
    pictures = torch.full((200, 3, 64, 64), 255, dtype=torch.uint8)
    pictures[100:] = 0
    draws = Draws(0, 3, range(200))
    random = draw_regions(draws, RoiConfig(0.5), pictures)
    mixed = draw_regions(draws, RoiConfig(0.5, detector_fraction=0.5), pictures)
    again = draw_regions(Draws(0, 3, range(200)), RoiConfig(0.5, detector_fraction=0.5), pictures)
    assert random is not None
    assert mixed is not None
    assert again is not None
    assert torch.equal(mixed.mask, again.mask)
    assert torch.equal(mixed.gamma, random.gamma)
    changed = (mixed.mask != random.mask).flatten(1).any(1)
    assert 15 < int(changed[:100].sum()) < 35
    assert not bool(changed[100:].any())
    assert bool((mixed.mask[changed][..., :31] > 0.99).all())
    assert bool((mixed.mask[changed][..., 33:] < 0.01).all())


def test_mean_over_parts_is_the_joint_loss(model: Lrisc) -> None:
    """What makes two processes give the gradient of one."""
    loss = LossConfig(lpips=0.6, latent=0.1, source="share", one_step_fraction=0.5)
    pictures = image(4)

    def part(samples: range) -> float:
        draws = Draws(0, 40, samples)
        link = draw_link(draws, LinkConfig(channels={"awgn": 0.5, "rayleigh": 0.5}), 40)
        x = pictures[samples.start : samples.stop]
        regions = draw_regions(draws, RoiConfig(0.5), x)
        given = {"draws": draws, "conditions": link, "regions": regions}
        return loss_of(model, x, loss, rate=0.1, **given)[0]

    joint = part(range(4))
    assert (part(range(2)) + part(range(2, 4))) / 2 == pytest.approx(joint, rel=1e-5)
    assert part(range(2)) != pytest.approx(joint, rel=1e-3)


def test_eq_11_by_hand(model: Lrisc) -> None:
    """(1 - eta)[d + d'] + eta [d_p + d_p'] + lambda R, with the source reconstruction twice."""
    x, link = image(), fixed_link(4, 10.0, 1 / 24)
    terms: dict[str, float] = {}
    for source in ("none", "both"):
        for eta in (0.0, 1.0):
            loss = replace(PLAIN, source=source, eta=eta, mse=3.0, lpips=5.0)
            terms[f"{source} {eta:g}"] = loss_of(model, x, loss, conditions=link)[0]
    # The stand-in for LPIPS equals the MSE, so only the weights differ.
    assert terms["none 1"] / terms["none 0"] == pytest.approx(5 / 3, rel=1e-4)
    # Stage 1 decodes z itself: exactly the source term that "both" adds.
    squared = replace(PLAIN, eta=0.0, mse=3.0)
    stage1, _ = loss_of(model, x, squared)
    assert terms["both 0"] == pytest.approx(terms["none 0"] + stage1, rel=1e-4)
    rated, seen = loss_of(model, x, squared, rate=2.0)
    assert rated - stage1 == pytest.approx(2 * seen["bpp"] / 4, rel=1e-3)


def test_only_the_squared_error_is_weighted_by_time(model: Lrisc) -> None:
    """Eq. 7 weights the squared error by alpha/(1 - alpha), Eq. 11 leaves LPIPS alone."""
    ratios: list[float] = []
    for sample in range(8):
        draws = Draws(0, 0, range(sample, sample + 1))
        config = replace(PLAIN, one_step_fraction=0.0, mse=1.0, lpips=1.0)
        losses = [
            loss_of(model, image(1), replace(config, eta=eta), draws=draws)[0] for eta in (0.0, 1.0)
        ]
        # The stand-in for LPIPS equals the squared error, so only the weights differ.
        ratios.append(losses[0] / losses[1])
    times = Draws(0, 0, range(8)).uniform("time")
    assert ratios == pytest.approx(loss_weight(times).tolist(), rel=1e-4)
    assert max(ratios) == pytest.approx(5)
    assert min(ratios) < 0.2


def test_errors_are_logged_over_all_pictures_and_by_time(model: Lrisc) -> None:
    """Also where no picture is decoded in one step; what was not computed is not there."""
    x = image(16)

    def terms(**changed: object) -> dict[str, float]:
        loss = replace(PLAIN, mse=3.0, lpips=1.0, **changed)  # type: ignore[arg-type]
        return loss_of(model, x, loss, conditions=fixed_link(16, 10.0, 1 / 24))[1]

    found = terms(one_step_fraction=0.0, source="both")
    assert found["count@one step"] == 0
    bins = ("t<0.25", "t<0.5", "t<0.75", "t<1")
    assert sum(found[f"count@{name}"] for name in bins) == 16
    assert found["count@source"] == 16
    received = sum(found[f"mse@{name}"] for name in bins)
    assert found["mse"] == pytest.approx((received + found["mse@source"]) / 2, rel=1e-5)
    assert found["mse"] > 1
    assert found["weighted_mse"] != pytest.approx(3 * 0.5 * found["mse"], rel=0.05)
    assert found["weighted_lpips"] == pytest.approx(0.5 * 2 * found["lpips"], rel=1e-4)
    assert terms(one_step_fraction=1.0)["count@one step"] == 16
    _, plain = loss_of(model, x, PLAIN)
    assert not [name for name in plain if "lpips" in name or "latent" in name]


def test_regional_loss(model: Lrisc) -> None:
    """MSE alone inside, MSE and perception outside."""
    x, half = image(), torch.zeros(4, 1, 64, 64)
    half[..., :32] = 1
    losses: list[float] = []
    for mask in (torch.zeros_like(half), half, torch.ones_like(half)):
        regions = Regions(mask, torch.ones(4), "latent")  # gamma 1: the latent is the same
        config = replace(PLAIN, eta=0.5, mse=1.0, lpips=100.0)
        losses.append(loss_of(model, x, config, regions=regions)[0])
    plain, _ = loss_of(model, x, replace(PLAIN, eta=0.0, mse=1.0))
    assert losses[2] == pytest.approx(plain, rel=1e-4)
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2, rel=0.1)
    assert losses[0] == pytest.approx(50.5 * plain, rel=1e-4)


def test_weak_background_sends_fewer_symbols(model: Lrisc) -> None:
    """gamma reaches the rate rule: the background's entropy and so its rate fall."""
    mask = torch.zeros(4, 1, 64, 64)
    bpp: list[float] = []
    for gamma in (1.0, 0.2):
        regions = Regions(mask, torch.full((4,), gamma), "latent")
        amplified = model.analysis.stages[-1]
        handle = amplified.register_forward_hook(lambda *args: args[-1] * 40)
        bpp.append(loss_of(model, image(), PLAIN, rate=1.0, regions=regions)[1]["bpp"])
        handle.remove()
    assert bpp[1] < 0.9 * bpp[0]


def test_without_adaptation_the_codec_ignores_the_snr(model: Lrisc) -> None:
    with torch.no_grad():
        for part in (model.jscc_encoder.snr, model.jscc_decoder.snr):
            part.trunk[-1].get_parameter("weight").normal_()
    levels = torch.full((1, 4, 4), 5)
    latent = Draws(0, 0, range(1)).normal("z", (48, 4, 4))
    symbols = [
        model.jscc_encoder(latent, levels, torch.tensor([snr]), adapt=adapt)
        for adapt in (False, True)
        for snr in (0.0, 20.0)
    ]
    assert torch.equal(symbols[0], symbols[1])
    assert not torch.equal(symbols[2], symbols[3])
