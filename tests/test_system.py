"""The chain from picture to picture, with a tiny random checkpoint: mechanics, not quality."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.helpers import picture

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError, OutageError
from lrisc.link.channels import Received
from lrisc.link.frame import (
    HEADER_SYMBOLS,
    PILOT_SYMBOLS,
    VERSION,
    Header,
    parse_body,
    parse_header,
)
from lrisc.link.packing import embedding_power
from lrisc.models.config import Steering
from lrisc.roi.region import Region
from lrisc.system import FADING_MARGIN_DB, MANY_FADES_MARGIN_DB, fading_margin_db
from lrisc.transmission import RegionReport, Report


@pytest.fixture(scope="module")
def transmitter(tiny: LoadedCheckpoint) -> lrisc.Transmitter:
    return lrisc.Transmitter(tiny)


@pytest.fixture(scope="module")
def receiver(tiny: LoadedCheckpoint) -> lrisc.Receiver:
    return lrisc.Receiver(tiny)


def test_the_frame_is_all_there_is(
    transmitter: lrisc.Transmitter, receiver: lrisc.Receiver
) -> None:
    """Size, rate map and scale reach the receiver through the symbols alone."""
    frame = transmitter.encode(picture(130, 203), snr_db=10, cbr=1 / 12)
    parts = frame.counts.body
    assert frame.symbols.numel() == parts + HEADER_SYMBOLS + PILOT_SYMBOLS
    assert frame.counts.payload == frame.rate_map.sum()
    assert frame.rate_map.shape == (9, 13)
    assert frame.cbr == frame.symbols.numel() / (3 * 130 * 203)
    power = frame.symbols.abs().double().square().mean()
    assert float(power) == pytest.approx(1, abs=1e-5)
    bare = Received(frame.symbols.clone(), torch.ones_like(frame.symbols), 0.1)
    assert receiver.decode(bare).size == (203, 130)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_budget_is_a_ceiling_on_everything_sent(
    transmitter: lrisc.Transmitter, receiver: lrisc.Receiver, seed: int
) -> None:
    """200 random sizes, CBRs and SNRs (50 here a seed), through the whole chain."""
    rng = np.random.default_rng(seed)
    for i in range(50):
        height, width = (int(v) for v in rng.integers(256, 400, 2))
        snr_db, cbr = rng.uniform(0, 20), 2 ** rng.uniform(0, 3) / 96
        frame = transmitter.encode(picture(height, width, i), snr_db=snr_db, cbr=cbr)
        sent = frame.symbols.numel() / (3 * height * width)
        assert 0.99 * cbr <= sent <= cbr, (height, width, snr_db, cbr)
        assert float(frame.symbols.abs().double().square().mean()) == pytest.approx(1, abs=1e-5)
        if i % 10 == 0:
            received = lrisc.channel("awgn", snr_db, seed=i)(frame)
            assert receiver.decode(received).size == (width, height)


def test_small_pictures_work_and_say_what_is_too_small(transmitter: lrisc.Transmitter) -> None:
    image = picture(64, 64)
    with pytest.raises(InputError, match=r"too small: at least 0\.0.*64×64") as e:
        transmitter.encode(image, snr_db=10, cbr=1 / 96)
    smallest = float(str(e.value).split("at least ")[1].split(" ")[0])
    assert transmitter.encode(image, snr_db=10, cbr=smallest).counts.payload > 0


def test_results_repeat_by_seed(tiny: LoadedCheckpoint) -> None:
    def run(seed: int) -> np.ndarray:
        result = lrisc.transmit(picture(96, 96), snr_db=5, cbr=1 / 12, model=tiny, seed=seed)
        return np.asarray(result.reconstruction)

    assert np.array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


@pytest.mark.slow
def test_region_of_interest_moves_symbols(tiny: LoadedCheckpoint) -> None:
    image = picture(256, 256)
    plain = lrisc.transmit(image, snr_db=10, cbr=1 / 24, model=tiny)
    boxed = lrisc.transmit(image, snr_db=10, cbr=1 / 24, model=tiny, roi=Region("0,0,128,128", 0.2))
    assert boxed.roi_mask is not None
    assert boxed.rate_map[:7, :7].sum() > plain.rate_map[:7, :7].sum()
    assert boxed.report.cbr == pytest.approx(plain.report.cbr, rel=0.01)


def _inside_to_outside(report: Report) -> float:
    assert report.region is not None
    inside, outside = report.region.symbols_inside, report.region.symbols_outside
    assert inside is not None
    assert outside
    return inside / outside


@pytest.mark.slow
@pytest.mark.parametrize("steering", ["latent", "rate", "both", "power"])
def test_every_steering_favours_the_region(tiny: LoadedCheckpoint, steering: Steering) -> None:
    image = picture(256, 256)
    results = [
        lrisc.transmit(
            image, snr_db=10, cbr=1 / 24, model=tiny, roi=Region("0,0,128,128", strength, steering),
        )
        for strength in (1.0, 0.8, 0.6, 0.4, 0.2)
    ]  # fmt: skip
    ratios = [_inside_to_outside(r.report) for r in results]
    assert ratios == sorted(ratios)
    assert ratios[-1] > (1.05 if steering == "latent" else 2) * ratios[0]


def test_power_follows_the_rate_map_only_where_asked(tiny: LoadedCheckpoint) -> None:
    """The header says so, the frame keeps unit power, and the region's symbols get more of it."""
    image, transmitter = picture(256, 256), lrisc.Transmitter(tiny)

    def encode(steering: Steering, strength: float) -> tuple[Header, torch.Tensor, np.ndarray]:
        frame = transmitter.encode(
            image, snr_db=10, cbr=1 / 24, roi=Region("0,0,128,128", strength, steering)
        )
        assert float(frame.symbols.abs().square().mean()) == pytest.approx(1, abs=1e-5)
        sent = lrisc.channel("awgn", 60)(frame)
        header = parse_header(sent)
        return header, parse_body(sent, header)[1].symbols.abs().square(), frame.rate_map

    flags: dict[tuple[Steering, float], int] = {
        ("power", 0.4): 1,
        ("power", 1.0): 0,
        ("rate", 0.4): 0,
        ("both", 0.4): 0,
    }
    for (steering, strength), flag in flags.items():
        assert encode(steering, strength)[0].power_index == flag
    (_, even, counts), (_, uneven, same) = encode("rate", 0.4), encode("power", 0.4)
    assert np.array_equal(counts, same)
    owner = torch.from_numpy(np.repeat(np.arange(counts.size), counts.ravel()))
    ratio = torch.zeros(counts.size).index_add(0, owner, uneven / even.clamp(min=1e-9))
    ratio = ratio / torch.from_numpy(counts.ravel()).clamp(min=1)
    power = embedding_power(torch.from_numpy(counts.ravel()))
    sent = torch.from_numpy(counts.ravel() > 0)
    factor = (ratio / power)[sent]
    assert float(factor.max() / factor.min()) < 1.1


def test_uneven_power_is_undone_at_the_receiver(tiny: LoadedCheckpoint) -> None:
    """What f_d gets is the same up to one gain per picture, which the normalised power leaves."""
    image = picture(128, 128)
    equalised: list[torch.Tensor] = []
    maps: list[np.ndarray] = []
    for steering in cast(list[Steering], ["rate", "power"]):
        roi = Region("0,0,64,64", 0.4, steering)
        frame = lrisc.Transmitter(tiny).encode(image, snr_db=60, cbr=1 / 24, roi=roi)
        received = lrisc.channel("awgn", snr_db=60)(frame)
        header = parse_header(received)
        _, body = parse_body(received, header)
        levels = torch.from_numpy(
            np.searchsorted(tiny.model.config.rate_values, frame.rate_map)[None]
        )
        slots, _ = lrisc.Receiver(tiny).equalise(header, body, levels)
        equalised.append(slots)
        maps.append(frame.rate_map)
    assert np.array_equal(*maps)
    even, uneven = equalised
    gain = (even * uneven).sum() / even.square().sum()
    assert 0.8 < float(gain) < 1
    assert float((uneven - gain * even).square().sum() / uneven.square().sum()) < 1e-4


def test_the_report_tells_inside_from_outside(tiny: LoadedCheckpoint) -> None:
    result = lrisc.transmit(picture(128, 160), snr_db=10, cbr=1 / 24, model=tiny, roi="0,0,64,64")
    region = result.report.region
    assert region is not None
    assert region.roi_area == pytest.approx(0.2)
    assert (region.roi_strength, region.roi_steering) == (0.45, "power")
    assert region.psnr_inside_db is not None
    assert region.symbols_inside is not None
    assert region.symbols_outside is not None
    mean = (region.symbols_inside * 16 + region.symbols_outside * 64) / 80
    assert mean <= result.report.counts.payload / 80 + 1e-9
    assert {"roi_area", "psnr_inside_db", "symbols_outside"} < result.report.to_dict().keys()


def test_sixteen_pixels_are_a_region_and_nothing_salient_is_none(tiny: LoadedCheckpoint) -> None:
    image = picture(128, 160)
    result = lrisc.transmit(image, snr_db=10, cbr=1 / 24, model=tiny, roi=Region("100,50,4,4", 0.2))
    assert _inside_to_outside(result.report) > 1
    nothing = lrisc.transmit(
        image, snr_db=10, cbr=1 / 24, model=tiny, roi=lambda _: torch.zeros(128, 160)
    )
    assert nothing.roi_mask is None
    assert nothing.report.region == RegionReport(roi_area=0.0)
    assert "psnr_inside_db" not in nothing.report.to_dict()


def test_report_holds_what_is_promised(tiny: LoadedCheckpoint) -> None:
    report = lrisc.transmit(picture(128, 160), snr_db=12.5, cbr=1 / 24, model=tiny, steps=2).report
    assert "block_length" not in report.to_dict()
    assert report.counts.total == report.to_dict()["cbr"] * 3 * 128 * 160
    assert (report.height, report.width, report.steps) == (128, 160, 2)
    assert report.outage is False


@pytest.mark.parametrize("effort", [0, 1])
def test_a_report_is_enough_to_repeat_its_run(tiny: LoadedCheckpoint, effort: int) -> None:
    asked: dict[str, Any] = {
        "snr_db": 7.5,
        "cbr": "1/12",
        "channel": "rayleigh",
        "block_length": 16,
        "steps": 2,
    }
    image = picture(96, 96)
    first = lrisc.transmit(
        image, **asked, seed=5, effort=effort, objective="distortion", model=tiny, measure=False
    )
    told = json.loads(json.dumps(first.report.to_dict()))
    again: dict[str, Any] = {"cbr": told["cbr_ceiling"]}
    names = ("snr_db", "channel", "block_length", "steps", "sigma_start", "seed", "effort")
    again |= {name: told[name] for name in names}
    if effort:
        again["objective"] = told["objective"]
    second = lrisc.transmit(image, **again, model=tiny, measure=False)
    assert first.reconstruction is not None
    assert np.array_equal(np.asarray(first.reconstruction), np.asarray(second.reconstruction))
    assert told["lrisc_version"] == lrisc.__version__
    assert told["frame_version"] == VERSION
    assert told["margin_db"] == MANY_FADES_MARGIN_DB


@pytest.mark.parametrize(
    ("channel", "symbols", "block_length", "margin_db"),
    [
        ("awgn", 24_576, 64, 0.0),
        ("rayleigh", 24_576, 64, MANY_FADES_MARGIN_DB),
        ("rician", 24_576, 64, MANY_FADES_MARGIN_DB),
        ("rayleigh", 6_400, 64, MANY_FADES_MARGIN_DB),
        ("rayleigh", 6_399, 64, FADING_MARGIN_DB),
        ("rayleigh", 24_576, 0, FADING_MARGIN_DB),
        ("tdl-a", 24_576, 64, FADING_MARGIN_DB),
        ("selective", 24_576, 64, FADING_MARGIN_DB),
    ],
)
def test_the_margin_follows_how_many_fades_a_frame_spans(
    channel: str, symbols: int, block_length: int, margin_db: float
) -> None:
    assert fading_margin_db(channel, symbols, block_length) == margin_db


@pytest.mark.parametrize(("waveform", "margin_db"), [("symbols", 5.0), ("ofdm", 12.0)])
def test_a_map_over_many_fades_has_a_smaller_margin(
    tiny: LoadedCheckpoint, waveform: str, margin_db: float
) -> None:
    asked = {"snr_db": 15.0, "cbr": 1 / 12, "channel": "rayleigh", "waveform": waveform}
    result = lrisc.transmit(picture(192, 192), model=tiny, measure=False, **asked)  # type: ignore[call-overload]
    assert result.report.margin_db == margin_db


@pytest.mark.parametrize("channel", ["awgn", "rayleigh"])
def test_channels(tiny: LoadedCheckpoint, channel: str) -> None:
    result = lrisc.transmit(
        picture(256, 256), snr_db=15, cbr=1 / 24, channel=channel, model=tiny, block_length=16
    )
    assert result.reconstruction is not None
    assert result.received is not None
    assert result.received.symbols.numel() <= 8192
    fading = channel == "rayleigh"
    assert result.report.block_length == (16 if fading else None)
    assert result.report.margin_db == (MANY_FADES_MARGIN_DB if fading else 0)


@pytest.mark.parametrize("channel", ["selective", "tdl-a"])
def test_channels_without_blocks_have_no_block_length(tiny: LoadedCheckpoint, channel: str) -> None:
    asked: dict[str, Any] = {"channel": channel, "model": tiny, "measure": False}
    report = lrisc.transmit(picture(64, 64), snr_db=25, cbr=1 / 6, **asked).report
    assert "block_length" not in report.to_dict()
    with pytest.raises(InputError, match=f"fades of {channel} have no block length"):
        lrisc.transmit(picture(64, 64), block_length=64, **asked)


def test_outage_is_told_and_makes_no_picture(tiny: LoadedCheckpoint) -> None:
    result = lrisc.transmit(picture(128, 128), snr_db=-10, cbr=1 / 12, model=tiny)
    assert result.reconstruction is None
    assert result.report.outage is True
    assert result.report.psnr_db is None
    assert "CRC" in str(result.report.outage_reason)


def test_side_information_lost_is_an_outage(
    transmitter: lrisc.Transmitter, receiver: lrisc.Receiver
) -> None:
    """A frame made for 20 dB that meets 3 dB: the header survives, the rate map does not."""
    frame = transmitter.encode(picture(256, 256), snr_db=20, cbr=1 / 24)
    with pytest.raises(OutageError, match="rate map"):
        receiver.decode(lrisc.channel("awgn", 3)(frame))


@pytest.mark.slow
def test_received_frames_that_are_no_use(
    transmitter: lrisc.Transmitter, receiver: lrisc.Receiver, tmp_path: Path
) -> None:
    frame = transmitter.encode(picture(128, 128), snr_db=10, cbr=1 / 12)
    received = lrisc.channel("awgn", 10)(frame)
    cut = Received(received.symbols[:-1], received.gains[:-1], 0.1)
    with pytest.raises(InputError, match="cut short"):
        receiver.decode(cut)
    noise = torch.randn(4000, dtype=torch.complex64)
    with pytest.raises(OutageError, match="header"):
        receiver.decode(Received(noise, torch.ones_like(noise), 0.1))
    from lrisc.checkpoint import load_checkpoint, save_checkpoint
    from lrisc.models.lrisc import Lrisc

    save_checkpoint(tmp_path, Lrisc(receiver.checkpoint.model.config))
    with pytest.raises(InputError, match="was made with checkpoint"):
        lrisc.Receiver(load_checkpoint(tmp_path)).decode(received)
    with pytest.raises(InputError, match="steps"):
        receiver.decode(received, steps=0)


def test_channel_and_diffusion_draw_from_different_streams(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[torch.Tensor] = []

    def synthesise(latent: torch.Tensor, steps: int, seed: int, sigma: float) -> torch.Tensor:
        starts.append(torch.randn(3 * 96 * 96, generator=torch.Generator().manual_seed(seed)))
        return torch.zeros(1, 3, 96, 96)

    monkeypatch.setattr(tiny.model, "synthesise", synthesise)
    silent = torch.zeros(3000, dtype=torch.complex64)
    noise = torch.view_as_real(lrisc.channel("awgn", 0, seed=7)(silent).symbols).flatten()
    lrisc.transmit(picture(96, 96), snr_db=10, cbr=1 / 12, model=tiny, seed=7)
    count = min(noise.numel(), starts[0].numel())
    correlation = torch.corrcoef(torch.stack([noise[:count], starts[0][:count]]))[0, 1]
    assert abs(float(correlation)) < 0.1


def test_rayleigh_hands_every_embedding_its_own_snr(
    tiny: LoadedCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, torch.Tensor] = {}
    decoder = tiny.model.jscc_decoder
    forward = decoder.forward

    def spy(symbols: torch.Tensor, levels: torch.Tensor, snr_db: torch.Tensor) -> torch.Tensor:
        seen["snr"] = snr_db
        return forward(symbols, levels, snr_db)

    monkeypatch.setattr(decoder, "forward", spy)
    lrisc.transmit(picture(256, 256), snr_db=15, cbr=1 / 24, model=tiny)
    torch.testing.assert_close(seen["snr"], torch.full((1, 256), 15.0), atol=0.1, rtol=0)
    lrisc.transmit(picture(256, 256), snr_db=15, cbr=1 / 24, channel="rayleigh", model=tiny)
    assert float(seen["snr"].std()) > 0.5
    mean = 10 * torch.log10((10 ** (seen["snr"] / 10)).mean())
    assert abs(float(mean) - 15) < 1.5


@pytest.mark.slow
def test_the_paper_preset_goes_through_a_frame() -> None:
    """Padding to 32 pixels, window 16, noise at the start: numbers differ, the chain does not."""
    from lrisc.link.rate_map import RateMapPrior
    from lrisc.models.config import PRESETS
    from lrisc.models.lrisc import Lrisc

    torch.manual_seed(0)
    model = Lrisc(PRESETS["paper"]).eval()
    checkpoint = LoadedCheckpoint("paper", model, RateMapPrior.default(16), "ab" * 32, {})
    result = lrisc.transmit(picture(70, 100), snr_db=15, cbr=1 / 6, model=checkpoint)
    assert result.reconstruction is not None
    assert result.reconstruction.size == (100, 70)
    assert result.rate_map.shape == (6, 8)
