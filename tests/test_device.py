"""Where networks run. What needs a GPU is skipped where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lrisc
from lrisc.baselines.deepjscc import codec
from lrisc.baselines.deepjscc.codec import DeepJscc
from lrisc.checkpoint import load_checkpoint
from lrisc.device import find_device
from lrisc.errors import InputError
from lrisc.evaluation.schemes import Condition, Options, Picture, create_scheme
from lrisc.evaluation.schemes.deepjscc import _model as deepjscc_scheme
from lrisc.images import load_image
from lrisc.link.frame import parse_header
from lrisc.metrics import quality, region
from lrisc.roi import saliency
from lrisc.roi.detectors import find_detector

FACE = (96, 32, 416, 288)


def test_names() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="one of auto, cpu, cuda, not tpu"):
        find_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match="there is no GPU"):
        lrisc.Receiver.from_pretrained("compact", device="cuda")
    with pytest.raises(InputError, match="one of fp32, bf16"):
        lrisc.Receiver.from_pretrained("compact", precision="fp8")


def test_there_and_back() -> None:
    sender = lrisc.Transmitter.from_pretrained("compact", device="auto").to("cpu")
    assert sender.checkpoint.device.type == "cpu"


@pytest.mark.slow
def test_all_networks_of_a_command_are_asked_to_run_there(
    portrait: Image.Image, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector, LPIPS and DeepJSCC go where the checkpoint goes."""
    asked: dict[str, torch.device] = {}

    def note(name: str, module: object, function: str) -> None:
        original = getattr(module, function)

        def noted(*arguments: Any) -> Any:
            asked[name] = arguments[-1]
            return original(*arguments)

        monkeypatch.setattr(module, function, noted)

    note("detector", saliency, "embedded_detector")
    note("lpips", quality, "published_lpips")
    note("lpips of the region", region, "published_lpips")
    note("deepjscc", codec, "find_device")
    face = portrait.crop(FACE)
    lrisc.transmit(face, model=tiny_folder, roi=["auto", "0,0,64,64"], device="cpu", cbr=1 / 6)
    # Another test may have loaded the codec already.
    deepjscc_scheme.cache_clear()
    condition = Condition("awgn", 10.0, 1 / 48, 0)
    create_scheme("deepjscc", Options(device="cpu")).send(
        Picture("face", load_image(face)), condition
    )
    assert {name: str(where) for name, where in asked.items()} == dict.fromkeys(
        ("detector", "lpips", "lpips of the region", "deepjscc"), "cpu"
    )
    with pytest.raises(InputError, match="one of auto, cpu, cuda, not tpu"):
        DeepJscc.from_pretrained("deepjscc-1-48", "tpu")


@pytest.mark.gpu
def test_the_detector_finds_the_same(portrait: Image.Image) -> None:
    picture = load_image(portrait.crop(FACE))
    slow, fast = (find_detector("auto", torch.device(d))(picture) for d in ("cpu", "cuda"))
    assert fast.device.type == "cpu"
    torch.testing.assert_close(slow, fast, rtol=0, atol=1e-2)


@pytest.mark.gpu
def test_lpips_measures_the_same(portrait: Image.Image) -> None:
    face = portrait.crop(FACE)
    other = face.resize((80, 64)).resize(face.size)
    mask = torch.zeros(face.height, face.width)
    mask[:64] = 1
    where = torch.device("cuda")
    assert quality.quality(face, other, device=where) == pytest.approx(
        quality.quality(face, other), rel=1e-3
    )
    assert region.region_quality(face, other, mask, device=where) == pytest.approx(
        region.region_quality(face, other, mask), rel=1e-3
    )


@pytest.mark.gpu
def test_deepjscc_paints_the_same(portrait: Image.Image) -> None:
    picture = load_image(portrait.crop(FACE))
    made = [
        DeepJscc.from_pretrained("deepjscc-1-48", device).transmit(picture, 10.0, "awgn", 0)[0]
        for device in ("cpu", "cuda")
    ]
    assert made[1].device.type == "cpu"
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("roi", [None, "64,64,128,128"])
def test_both_devices_send_the_same_frame(portrait: Image.Image, roi: str | None) -> None:
    """Levels, header and map to the bit; the payload up to rounding."""
    frames = [
        lrisc.Transmitter.from_pretrained("compact", device).encode(
            portrait.crop(FACE), snr_db=10, cbr=1 / 48, roi=roi
        )
        for device in ("cpu", "cuda")
    ]
    assert np.array_equal(frames[0].rate_map, frames[1].rate_map)
    headers = [parse_header(lrisc.channel("awgn", 60)(frame)) for frame in frames]
    assert headers[0] == headers[1]
    torch.testing.assert_close(frames[0].symbols, frames[1].symbols, rtol=0, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "most"), [("fp32", 0.2), ("bf16", 2.0)])
def test_both_devices_paint_the_same_picture(
    portrait: Image.Image, precision: str, most: float
) -> None:
    sent = lrisc.Transmitter.from_pretrained("compact", "cpu").encode(
        portrait.crop(FACE), snr_db=10, cbr=1 / 48
    )
    received = lrisc.channel("awgn", 10)(sent)
    slow = lrisc.Receiver(load_checkpoint("compact")).decode(received)
    fast = lrisc.Receiver.from_pretrained("compact", "cuda", precision).decode(received)
    difference = np.abs(np.asarray(slow, float) - np.asarray(fast, float)).mean()
    assert difference < most


@pytest.mark.slow
def test_bf16_on_a_cpu_loses_nothing_that_is_seen(portrait: Image.Image) -> None:
    source = portrait.crop(FACE)
    sent = lrisc.Transmitter.from_pretrained("compact", "cpu").encode(source, snr_db=10, cbr=1 / 48)
    received = lrisc.channel("awgn", 10)(sent)
    exact, quick = (
        np.asarray(lrisc.Receiver.from_pretrained("compact", "cpu", precision).decode(received))
        for precision in ("fp32", "bf16")
    )
    assert not np.array_equal(exact, quick)
    pixels = np.asarray(source, float)
    error, quick_error = (np.mean((picture - pixels) ** 2) for picture in (exact, quick))
    assert abs(10 * np.log10(quick_error / error)) < 0.1  # dB of PSNR
