"""Where networks run. What needs a GPU is skipped where there is none."""

import numpy as np
import pytest
import torch
from PIL import Image

import lrisc
from lrisc.checkpoint import load_checkpoint
from lrisc.device import find_device
from lrisc.errors import InputError
from lrisc.link.frame import parse_header

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
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


@needs_gpu
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


@needs_gpu
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
