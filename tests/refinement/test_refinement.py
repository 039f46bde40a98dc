"""Effort: what goes out is better by its own estimate, and nothing but the payload changes."""

import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.images import to_pil
from lrisc.link.draws import Draws
from lrisc.link.frame import Frame, parse_body, parse_header
from lrisc.link.multipath import Mobility
from lrisc.metrics.distortion import ms_ssim
from lrisc.metrics.lpips import Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError
from lrisc.models.jscc import symbol_mask
from lrisc.models.layers import ChannelNorm
from lrisc.models.lrisc import Lrisc
from lrisc.refinement import objective as objectives
from lrisc.refinement import search
from lrisc.refinement.objective import Distortion, ObjectiveName, random_view, structural_error
from lrisc.refinement.payload import Arrival, PayloadLink
from lrisc.refinement.search import Progress, refine
from lrisc.refinement.tiles import CORE, tiles


def encode(tiny: LoadedCheckpoint, effort: int = 0, **options: object) -> Frame:
    given: dict[str, object] = {"snr_db": 10, "cbr": 1 / 12, "objective": "distortion", **options}
    return lrisc.Transmitter(tiny).encode(picture(96, 130), effort=effort, **given)  # type: ignore[arg-type]


def transmit(tiny: LoadedCheckpoint, effort: int, **options: object) -> None:
    given: dict[str, object] = {"cbr": 1 / 12, "objective": "distortion", **options}
    lrisc.transmit(to_pil(picture(96, 130)), model=tiny, effort=effort, **given)  # type: ignore[call-overload]


def squared_error(tiny: LoadedCheckpoint, frame: Frame, channel: str = "awgn") -> float:
    total = 0.0
    for seed in range(6):
        received = lrisc.channel(channel, 10, seed=seed)(frame)
        painted = lrisc.Receiver(tiny).decode(received)
        pixels = torch.tensor(list(painted.tobytes())).view(96, 130, 3).permute(2, 0, 1) / 255
        total += float((pixels - picture(96, 130)).square().mean())
    return total


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["awgn", "rayleigh"])
def test_the_unchanged_receiver_paints_a_better_picture(
    tiny: LoadedCheckpoint, channel: str
) -> None:
    plain = encode(tiny, channel=channel, margin_db=12)
    tried = encode(tiny, 12, channel=channel, margin_db=12)
    assert squared_error(tiny, tried, channel) < 0.97 * squared_error(tiny, plain, channel)


@pytest.mark.slow
def test_nothing_but_the_payload_changes(tiny: LoadedCheckpoint) -> None:
    plain, tried = encode(tiny), encode(tiny, 3)
    assert tried.symbols.shape == plain.symbols.shape
    assert (tried.rate_map == plain.rate_map).all()
    assert tried.counts == plain.counts
    power = tried.symbols.abs().double().square().mean()
    assert float(power) == pytest.approx(1, abs=1e-5)
    before, after = (lrisc.channel("awgn", 90)(frame) for frame in (plain, tried))
    header = parse_header(before)
    assert parse_header(after) == header
    bits, payload = parse_body(before, header)
    same_bits, other = parse_body(after, header)
    assert (bits == same_bits).all()
    assert float((payload.symbols - other.symbols).abs().mean()) > 0.01
    means = [float(p.equalised().abs().square().mean()) for p in (payload, other)]
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_a_receiver_without_effort_paints_the_same(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of this package runs in the receiver (the frame's format: link/test_frame.py)."""
    received = lrisc.channel("awgn", 10, seed=1)(encode(tiny, 2))
    with_it = lrisc.Receiver(tiny).decode(received)

    def gone(*_: object, **__: object) -> None:
        raise AssertionError("the transmitter's search was used")

    modules = [module for name, module in sys.modules.items() if "lrisc.refinement" in name]
    for module in (*modules, sys.modules["lrisc.system"]):
        for name, value in list(vars(module).items()):
            if "lrisc.refinement" in str(getattr(value, "__module__", "")) and callable(value):
                monkeypatch.setattr(module, name, gone)
    assert lrisc.Receiver(tiny).decode(received).tobytes() == with_it.tobytes()
    with pytest.raises(AssertionError, match="search"):
        encode(tiny, 2)


def test_draws_come_in_opposite_pairs(tiny: LoadedCheckpoint) -> None:
    """The mean of draws 2k and 2k + 1 has no noise; the next pair has other noise."""
    link, payload, _ = setup(tiny)
    link.amplitudes = torch.ones_like(link.amplitudes)
    sent = torch.view_as_real(payload / payload.abs().square().mean().sqrt())
    noisy = [link.receive(sent, 3, draw).symbols for draw in range(4)]
    clean = (noisy[0] + noisy[1]) / 2
    torch.testing.assert_close((noisy[2] + noisy[3]) / 2, clean, rtol=0, atol=1e-6)
    noise = [(draw - clean).flatten() for draw in noisy]
    assert abs(float(torch.cosine_similarity(noise[0], noise[2], dim=0))) < 0.2
    # N0 = 0.1, after the MMSE equaliser 1 / (1 + N0).
    assert float(noise[0].square().sum()) / link.symbols == pytest.approx(0.1 / 1.1**2, rel=0.1)


def test_start_noise_comes_from_the_cpu_wherever_the_networks_are(tiny: LoadedCheckpoint) -> None:
    link, _, _ = setup(tiny)
    noisy = Lrisc(replace(tiny.model.config, sigma_start=0.8))
    link.model, link.levels = noisy.to("meta"), link.levels.to("meta")
    slots = max(noisy.config.rate_values)
    arrival = Arrival(torch.empty(6, 8, slots, 2, device="meta"), torch.empty(6, 8, device="meta"))
    (tile,) = tiles(6, 8, noisy.config.jscc_window)
    assert link.paint(arrival, tile, seed=3, draw=1).shape == (1, 3, 96, 128)


@pytest.mark.gpu
@pytest.mark.parametrize("sigma_start", [0.0, 0.8])
@pytest.mark.parametrize("objective", ["perception", "distortion"])
def test_it_improves_on_a_gpu(
    tiny_folder: Path, objective: ObjectiveName, sigma_start: float
) -> None:
    checkpoint = lrisc.Transmitter.from_pretrained(tiny_folder, device="cuda").checkpoint
    checkpoint.model.config = replace(checkpoint.model.config, sigma_start=sigma_start)
    link, payload, source = setup(checkpoint)
    distance = objectives.objective(objective, checkpoint.device)
    found = refine(link, payload, source, distance, 5)
    assert found.loss < found.loss_before
    assert found.payload.device.type == "cpu"


@pytest.mark.slow
def test_it_repeats_by_seed(tiny: LoadedCheckpoint) -> None:
    first, again, other = (encode(tiny, 2, seed=seed).symbols for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def setup(
    tiny: LoadedCheckpoint, levels: tuple[int, int] = (6, 8)
) -> tuple[PayloadLink, torch.Tensor, torch.Tensor]:
    rates = torch.randint(0, 9, levels, generator=torch.Generator().manual_seed(0))
    rates = rates.to(tiny.device)
    link = PayloadLink(tiny.model, rates, 10.0, uneven=True, fades=None)
    sent = int(symbol_mask(rates, tiny.model.config.rate_values).sum())
    payload = torch.randn(sent, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    return link, payload, picture(16 * levels[0], 16 * levels[1])[None] * 2 - 1


@pytest.mark.parametrize(
    ("snr_db", "roughness"), [(-7.0, 1.0), (0.0, 1.0), (2.5, 0.75), (10.0, 0.0), (60.0, 0.0)]
)
def test_a_channel_is_rough_below_ten_decibels(
    tiny: LoadedCheckpoint, snr_db: float, roughness: float
) -> None:
    levels = torch.full((6, 8), 3, device=tiny.device)
    link = PayloadLink(tiny.model, levels, snr_db, uneven=False, fades=None)
    assert link.roughness == roughness


def test_a_first_step_is_the_gradient_and_later_ones_are_alike() -> None:
    gradient = torch.tensor([1.0, -4.0, 0.01])
    adam = search._Adam(shared=0.0)
    first = adam.step(gradient, 0.1)
    assert float(first.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-4)
    torch.testing.assert_close(first / first[0], gradient)
    for _ in range(400):
        last = adam.step(gradient, 0.1)
    assert last.abs().tolist() == pytest.approx([0.1] * 3, rel=0.05)


def test_a_shared_second_mean_leaves_all_steps_in_proportion() -> None:
    gradient = torch.tensor([1.0, -4.0, 0.01])
    between, rough = search._Adam(0.5), search._Adam(1.0)
    for _ in range(400):
        some, all_of_it = between.step(gradient, 0.1), rough.step(gradient, 0.1)
    torch.testing.assert_close(all_of_it / all_of_it[0], gradient)
    assert some[0] / some[2] == pytest.approx(10, rel=0.05)
    assert float(all_of_it.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("level", [1, 8])
def test_a_first_step_has_the_same_energy_for_an_embedding_at_every_rate(
    tiny: LoadedCheckpoint, level: int, steps: list[torch.Tensor]
) -> None:
    _, _, source = setup(tiny)
    levels = torch.full((6, 8), level, device=tiny.device)
    link = PayloadLink(tiny.model, levels, 10.0, uneven=False, fades=None)
    payload = torch.randn(link.symbols, dtype=torch.complex64)
    refine(link, payload, source, Distortion(), 2)
    energy = float(steps[0].square().sum()) / levels.numel()
    assert energy == pytest.approx(search.STEP_ENERGY, rel=1e-3)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Of the optimiser, as it makes them."""
    made: list[torch.Tensor] = []
    step = search._Adam.step

    def seen(self: search._Adam, gradient: torch.Tensor, size: float) -> torch.Tensor:
        made.append(step(self, gradient, size))
        return made[-1]

    monkeypatch.setattr(search._Adam, "step", seen)
    return made


@pytest.mark.parametrize(("snr_db", "shared"), [(0.0, search.SHARED), (5.0, 0.25), (10.0, 0.0)])
def test_steps_share_a_second_mean_on_a_rough_channel_only(
    tiny: LoadedCheckpoint, snr_db: float, shared: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, payload, source = setup(tiny)
    link = PayloadLink(tiny.model, link.levels, snr_db, uneven=False, fades=None)
    told: list[float] = []
    adam = search._Adam
    monkeypatch.setattr(search, "_Adam", lambda share: told.append(share) or adam(share))
    refine(link, payload, source, Distortion(), 1)
    assert told == [shared]


@pytest.mark.parametrize("weighted", [False, True])
def test_on_a_rough_channel_perception_counts_more(weighted: bool) -> None:
    """LPIPS and that of views; squared error and MS-SSIM stay."""
    torch.manual_seed(0)
    perception = objectives.Perception(Lpips("alex"))
    source = picture(96, 96)[None] * 2 - 1
    decoded = picture(96, 96, seed=1)[None] * 2 - 1
    weight = torch.ones(1, 1, 96, 96) if weighted else None
    calm_target = objectives.Target(source, None, [], 0.0)
    rest = float(Distortion(objectives.STRUCTURE_WEIGHT)(decoded, calm_target, None))
    for draws in (None, Draws(0, 3, range(1))):
        calm, rough = (
            float(perception(decoded, perception.target(source, weight, roughness), draws)) - rest
            for roughness in (0.0, 1.0)
        )
        assert calm > 1e-3
        assert rough == pytest.approx(objectives.ROUGH_WEIGHT * calm, rel=1e-3)


@pytest.mark.slow
def test_a_single_iteration_gains(compact: LoadedCheckpoint, portrait: Image.Image) -> None:
    """Its step was twice as long, and the estimate refused it."""
    crop = portrait.crop((160, 300, 416, 556))
    plain, tried = (
        lrisc.transmit(crop, cbr=1 / 48, model=compact, effort=n, objective="distortion").report
        for n in (0, 1)
    )
    assert plain.psnr_db is not None
    assert tried.psnr_db is not None
    assert tried.psnr_db > plain.psnr_db + 0.05


def test_never_worse_than_without(tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that only harm: what f_e made goes out."""
    link, payload, source = setup(tiny)
    cosine = search._cosine
    monkeypatch.setattr(search, "_cosine", lambda *at: -7 * cosine(*at))  # uphill
    found = refine(link, payload, source, Distortion(), 2)
    assert found.loss == found.loss_before
    scale = payload.abs().square().mean().sqrt()
    torch.testing.assert_close(found.payload, payload / scale)


def test_ctrl_c_returns_the_best_so_far(
    tiny: LoadedCheckpoint, caplog: pytest.LogCaptureFixture
) -> None:
    link, payload, source = setup(tiny)
    seen: list[Progress] = []

    def stop(done: Progress) -> None:
        seen.append(done)
        if done.iteration == 6:
            raise KeyboardInterrupt

    found = refine(link, payload, source, Distortion(), 900, progress=stop)
    assert (found.iterations, found.interrupted, len(seen)) == (6, True, 6)
    assert found.loss < found.loss_before
    assert seen[-1].seconds_left > 10 * seen[-1].seconds
    assert "6 of 900" in caplog.text


def test_an_iteration_cut_short_does_not_count(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, payload, source = setup(tiny)
    gradient = search._Search.gradient

    def cut(self: search._Search, symbols: torch.Tensor, draw: int) -> torch.Tensor:
        if draw == 2:
            raise KeyboardInterrupt
        return gradient(self, symbols, draw)

    monkeypatch.setattr(search._Search, "gradient", cut)
    found = refine(link, payload, source, Distortion(), 9)
    assert (found.iterations, found.interrupted) == (2, True)


def test_the_norm_of_frozen_weights_has_autograds_gradient() -> None:
    norm = ChannelNorm(7)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 7, 5, 3, requires_grad=True)
    way = torch.randn(2, 7, 5, 3)
    (slow,) = torch.autograd.grad((norm(x) * way).sum(), x)
    (fast,) = torch.autograd.grad((norm.requires_grad_(False)(x) * way).sum(), x)
    torch.testing.assert_close(fast, slow)


def test_structural_error_is_that_of_the_metric() -> None:
    first = picture(200, 180)[None]
    second = first + 0.1 * torch.randn(1, 3, 200, 180, generator=torch.Generator().manual_seed(0))
    second = second.clamp(0, 1)
    error = float(structural_error(first * 2 - 1, second * 2 - 1, None))
    assert error == pytest.approx(1 - float(ms_ssim(first, second)), abs=1e-4)
    coarse = float(structural_error(first * 2 - 1, second * 2 - 1, None, finest=1))
    assert 0 < coarse < error
    even = torch.ones(1, 1, 200, 180)
    assert float(structural_error(first * 2 - 1, second * 2 - 1, even)) == pytest.approx(
        error, abs=1e-4
    )


@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 300), (512, 768)])
def test_views_are_the_same_for_both_pictures(height: int, width: int) -> None:
    image = picture(height, width)[None]
    views: set[bytes] = set()
    for step in range(20):
        view = random_view(torch.cat([image, image]), Draws(0, step, range(1)), 31)
        assert torch.equal(view[0], view[1])
        assert min(view.shape[-2:]) >= 31
        assert view[0].numel() <= 1.1 * image.numel()
        views.add(view[0].numpy().tobytes())
    assert len(views) == 20


@pytest.mark.parametrize(("height", "width"), [(4, 4), (64, 64), (65, 64), (256, 256), (4, 256)])
def test_tiles_share_out_the_grid(height: int, width: int) -> None:
    seen = torch.zeros(height, width)
    for tile in tiles(height, width, 8):
        top, bottom, left, right = tile.core
        seen[top:bottom, left:right] += 1
        assert tile.top % 8 == tile.left % 8 == 0
        assert tile.top <= top < bottom <= tile.bottom
        assert tile.left <= left < right <= tile.right
        assert height * width <= 64 * 64 or max(bottom - top, right - left) <= CORE
    assert bool((seen == 1).all())


@pytest.mark.slow
def test_tiles_give_nearly_the_whole_pictures_gradient(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, payload, source = setup(tiny, (24, 24))
    variable = torch.view_as_real(payload / payload.abs().square().mean().sqrt())

    def gradient() -> torch.Tensor:
        return search._Search(link, source, Distortion(), 0, None).gradient(variable, 1)

    whole = gradient()
    monkeypatch.setattr("lrisc.refinement.tiles.WHOLE", 1)
    monkeypatch.setattr("lrisc.refinement.tiles.CORE", 8)
    similarity = torch.cosine_similarity(whole.flatten(), gradient().flatten(), dim=0)
    assert float(similarity) > 0.95


def test_without_lpips_weights_a_line_says_so(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise LpipsUnavailableError("no weights here")

    monkeypatch.setattr(objectives, "resolve_weights", nowhere)
    objectives.objective.cache_clear()
    try:
        report = lrisc.transmit(
            picture(96, 96), cbr=1 / 12, model=tiny, effort=1, measure=False
        ).report
    finally:
        objectives.objective.cache_clear()
    assert (report.effort, report.objective) == (1, "distortion")
    assert report.seconds["effort"] > 0
    assert [r.levelno for r in caplog.records if "no weights here" in r.message] == [
        logging.WARNING
    ]


@pytest.mark.slow
def test_a_region_weighs_its_pixels_more(tiny: LoadedCheckpoint) -> None:
    """The same symbols to start with; the weight leaves less error where it is large."""
    link, payload, source = setup(tiny)
    weight = torch.full((1, 1, 96, 128), 0.1)
    weight[..., :64] = 1.9
    left: list[float] = []
    for given in (None, weight):
        found = refine(link, payload, source, Distortion(), 15, weight=given).payload
        arrival = link.receive(torch.view_as_real(found), 7, 0)
        (tile,) = tiles(6, 8, 8)
        error = (link.paint(arrival, tile, 0, 0) - source).square()
        left.append(float(error[..., :64].mean()))
    assert left[1] < left[0]


@pytest.mark.parametrize(
    "options", [{"effort": -1}, {"effort": 10**6}, {"effort": 1, "objective": "beauty"}]
)
def test_bad_requests(tiny: LoadedCheckpoint, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        lrisc.transmit(picture(96, 96), cbr=1 / 12, model=tiny, **options)  # type: ignore[arg-type]


def test_too_little_memory_is_one_line(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 GB")

    link, payload, source = setup(tiny)
    monkeypatch.setattr(search._Search, "gradient", full)
    with pytest.raises(InputError, match=r"128×96 is too large"):
        refine(link, payload, source, Distortion(), 1)


@pytest.fixture
def arrivals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, torch.Tensor]]:
    """Of every channel drawn: whether for a gradient, and SNR_i of all embeddings."""
    seen: list[tuple[bool, torch.Tensor]] = []
    receive = PayloadLink.receive

    def spy(self: PayloadLink, payload: torch.Tensor, seed: int, draw: int) -> Arrival:
        arrival = receive(self, payload, seed, draw)
        seen.append((payload.requires_grad, arrival.snr_db))
        return arrival

    monkeypatch.setattr(PayloadLink, "receive", spy)
    return seen


def test_no_candidate_is_judged_by_fades_it_was_fitted_to(
    tiny: LoadedCheckpoint, arrivals: list[tuple[bool, torch.Tensor]]
) -> None:
    encode(tiny, 2, channel="rayleigh", margin_db=12)
    fitted = [snr for gradient, snr in arrivals if gradient]
    judged = [snr for gradient, snr in arrivals if not gradient]
    assert len(fitted) == 2
    assert len(judged) == 4
    assert not any(torch.equal(one, other) for one in fitted for other in judged)
    # Both candidates over the same.
    assert torch.equal(judged[0], judged[2])


@pytest.mark.parametrize(
    ("channel", "waveform"), [("tdl-a", "symbols"), ("tdl-a", "ofdm"), ("rayleigh", "ofdm")]
)
def test_effort_prepares_for_the_channel_that_is_sent_over(
    tiny: LoadedCheckpoint,
    arrivals: list[tuple[bool, torch.Tensor]],
    channel: str,
    waveform: str,
) -> None:
    """One path at rest: one fade for all of a frame, another for every draw."""
    at_rest = Mobility(delay_spread=0.0, speed=0.0)
    transmit(tiny, 1, channel=channel, waveform=waveform, mobility=at_rest, measure=False)
    for _, snr_db in arrivals:
        assert float(snr_db.max() - snr_db.min()) < 0.01
    assert not torch.equal(arrivals[0][1], arrivals[1][1])


def test_after_an_interruption_the_region_is_compared_with_as_much_effort(
    tiny: LoadedCheckpoint,
) -> None:
    told: list[Progress] = []

    def interrupt_once(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:
            raise KeyboardInterrupt

    transmit(tiny, 7, roi="20,20,40,40", progress=interrupt_once)
    assert [(p.iteration, p.iterations) for p in told] == [(1, 7), (2, 7), (1, 2), (2, 2)]
