"""DeepJSCC: its geometry and power, the SNR it really sees, its checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from lrisc import checkpoint
from lrisc.baselines.deepjscc import codec as codec_module
from lrisc.baselines.deepjscc.codec import DeepJscc, embedded_names, nearest, save
from lrisc.baselines.deepjscc.network import PRESETS, DeepJsccConfig, DeepJsccNetwork
from lrisc.errors import InputError
from lrisc.images import load_image
from lrisc.link.channels import CHANNELS, noise_variance
from lrisc.metrics.distortion import psnr


def codec(channels: int = 2, seed: int = 0) -> DeepJscc:
    torch.manual_seed(seed)
    network = DeepJsccNetwork(DeepJsccConfig(channels)).eval()
    return DeepJscc("random", network, (-2.0, 20.0), {})


def picture(height: int = 64, width: int = 96, seed: int = 1) -> Tensor:
    """Smooth colours with some noise, (3, H, W) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    return (smooth + 0.02 * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize(("preset", "inverse"), [(1, 96), (2, 48), (4, 24), (8, 12)])
def test_the_cbr_is_exact(preset: int, inverse: int) -> None:
    config = PRESETS[f"deepjscc-{preset}"]
    symbols = codec(preset).encode(picture(64, 96))
    assert config.cbr == pytest.approx(1 / inverse)
    assert symbols.numel() * inverse == 3 * 64 * 96


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 66), (67, 101)])
def test_any_size_comes_back_and_every_real_is_sent(channels: int, height: int, width: int) -> None:
    image, sender = picture(height, width), codec(channels)
    made, symbols = sender.transmit(image, 10.0, "awgn", 0)
    assert made.shape == image.shape
    assert made.dtype == torch.float32
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert symbols == -(-channels * -(-height // 4) * -(-width // 4) // 2)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_every_picture_has_power_one(channels: int) -> None:
    for seed in range(3):
        symbols = codec(channels).encode(picture(seed=seed) * 0.3 * seed)
        assert symbols.dtype == torch.complex64
        assert float(symbols.abs().square().mean()) == pytest.approx(1, abs=1e-5)


def test_encoder_and_decoder_are_inverse_in_order() -> None:
    """Without noise the decoder sees what the encoder made, up to the power."""
    sender, image = codec(1), picture(68, 100)  # 25 * 17 reals: one is padded
    reals = sender.network.encode(image[None])
    scale = reals.square().sum(-1).mean().rsqrt()
    expected = sender.network.decode(reals * scale, 68, 100)[0]
    torch.testing.assert_close(sender.decode(sender.encode(image), 68, 100), expected)


def test_balance_changes_scales_only() -> None:
    """Layers that have grown come back to where they started; symbols and pictures stay."""
    sender, image = codec(), picture()
    start = {key: t.square().mean() for key, t in sender.network.state_dict().items()}
    for index, (key, tensor) in enumerate(sender.network.state_dict().items()):
        if tensor.dim() == 4 and key != "decoder.1.3.weight":
            tensor.mul_(1.5 + index)
        elif tensor.numel() > 1:
            tensor.normal_()
    symbols = sender.encode(image)
    made = sender.decode(symbols, 64, 96)
    sender.network.balance()
    torch.testing.assert_close(sender.encode(image), symbols, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sender.decode(symbols, 64, 96), made, rtol=1e-4, atol=1e-4)
    for key, tensor in sender.network.state_dict().items():
        if tensor.dim() == 4 and key != "decoder.1.3.weight":
            assert float(tensor.square().mean()) == pytest.approx(float(start[key]), rel=0.2)


def test_a_batch_does_not_mix() -> None:
    network = codec().network
    images = torch.stack([picture(seed=s) for s in range(3)])
    together = network.decode(network.encode(images), 64, 96)
    for image, expected in zip(images, together, strict=True):
        alone = network.decode(network.encode(image[None]), 64, 96)[0]
        torch.testing.assert_close(alone, expected)


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_the_snr_is_that_of_complex_symbols(monkeypatch: pytest.MonkeyPatch, snr_db: float) -> None:
    """What reaches the decoder, less the MMSE gain, has noise of variance N0 per symbol."""
    sender, image, seen = codec(8), picture(256, 256), []
    monkeypatch.setattr(
        DeepJscc, "decode", lambda self, symbols, h, w: seen.append(symbols) or image
    )
    sender.transmit(image, snr_db, "awgn", 3)
    n0 = noise_variance(snr_db)
    noise = seen[0] * (1 + n0) - sender.encode(image)
    assert float(noise.abs().square().mean()) == pytest.approx(n0, rel=0.05)
    assert float(noise.real.square().mean()) == pytest.approx(n0 / 2, rel=0.05)


def test_a_codec_for_one_snr_keeps_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off its SNR the decoder still sees the gain it was trained with."""
    image, seen = picture(), []
    monkeypatch.setattr(
        DeepJscc, "decode", lambda self, symbols, h, w: seen.append(symbols) or image
    )
    sender = replace(codec(), snr_db=(0.0, 0.0))
    sender.transmit(image, 60.0, "awgn", 3)
    torch.testing.assert_close(seen[0], sender.encode(image) / 2, atol=0.01, rtol=0)


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_the_seed_decides_everything(channel: str) -> None:
    sender, image = codec(), picture()
    first, _ = sender.transmit(image, 5.0, channel, 7)
    again, _ = sender.transmit(image, 5.0, channel, 7)
    other, _ = sender.transmit(image, 5.0, channel, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bad_input_is_named() -> None:
    with pytest.raises(InputError, match="unknown channel"):
        codec().transmit(picture(), 5.0, "sea", 0)
    with pytest.raises(InputError, match="SNR"):
        codec().transmit(picture(), float("nan"), "awgn", 0)
    with pytest.raises(InputError, match=r"channels must be a whole number in \[1, 96\]"):
        DeepJsccConfig(0)
    with pytest.raises(InputError, match="no DeepJSCC nowhere: give a folder or one of"):
        DeepJscc.from_pretrained("nowhere")


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    sender = codec(4)
    save(tmp_path, sender.network, {"snr_db": [0, 0]})
    loaded = DeepJscc.from_pretrained(tmp_path)
    assert loaded.snr_db == (0.0, 0.0)
    assert (tmp_path / "model.safetensors").stat().st_size < 300_000
    for key, tensor in sender.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[key], tensor, rtol=1e-3, atol=1e-6)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedded codecs of three CBRs, one of them also for single SNRs."""
    wide, names = [-2, 20], {1: "deepjscc-1-96", 2: "deepjscc-1-48", 4: "deepjscc-1-24"}
    for channels, name in names.items():
        save(tmp_path / name, codec(channels).network, {"snr_db": wide})
    for snr in (0, 10):
        save(tmp_path / f"deepjscc-1-48-{snr}db", codec().network, {"snr_db": [snr, snr]})
    for module in (codec_module, checkpoint):
        monkeypatch.setattr(module, "EMBEDDED", tmp_path)


@pytest.mark.usefixtures("shelf")
def test_the_nearest_codec() -> None:
    assert nearest(1 / 48) == "deepjscc-1-48"
    assert nearest(0.017) == "deepjscc-1-48"
    assert nearest(1 / 90) == "deepjscc-1-96"
    assert nearest(0.04) == "deepjscc-1-24"
    assert nearest(1 / 48, 0) == "deepjscc-1-48-0db"
    assert nearest(1 / 48, 5) == "deepjscc-1-48-10db"
    assert nearest(1 / 48, 18) == "deepjscc-1-48-10db"
    for wrong in (1 / 12, 1 / 32, 0.005):
        with pytest.raises(InputError, match=r"no DeepJSCC within 25 % of CBR"):
            nearest(wrong)
    with pytest.raises(InputError, match="for a single SNR within"):
        nearest(1 / 24, 10)
    with pytest.raises(InputError, match="must be positive"):
        nearest(0)


@pytest.mark.usefixtures("shelf")
def test_codecs_and_checkpoints_are_listed_apart() -> None:
    assert len(embedded_names()) == 5
    assert checkpoint.embedded_names() == []
    with pytest.raises(InputError, match="another format"):
        checkpoint.load_checkpoint(checkpoint.EMBEDDED / "deepjscc-1-48")


@pytest.mark.slow
def test_every_step_of_snr_and_cbr_helps_the_embedded_codecs(portrait: Image.Image) -> None:
    face = load_image(portrait.crop((96, 32, 416, 288)))

    def at(name: str, snr_db: float) -> float:
        made, _ = DeepJscc.from_pretrained(name).transmit(face, snr_db, "awgn", 0)
        return float(psnr(made[None], face[None]))

    by_cbr: list[float] = []
    for inverse in (96, 48, 24, 12):
        by_snr = [at(nearest(1 / inverse), snr_db) for snr_db in (-2, 4, 10, 16)]
        assert by_snr == sorted(by_snr), inverse
        by_cbr.append(by_snr[1])
    assert by_cbr == sorted(by_cbr)
    single = [nearest(1 / 48, snr_db) for snr_db in (0, 10, 20)]
    assert single == [f"deepjscc-1-48-{snr_db}db" for snr_db in (0, 10, 20)]
    assert max(single, key=lambda name: at(name, 0)) == single[0]
    assert max(single, key=lambda name: at(name, 20)) == single[2]


@pytest.mark.parametrize("name", embedded_names())
def test_the_example_of_a_card_works(name: str) -> None:
    """Its import, and the name that it loads."""
    card = (codec_module.EMBEDDED / name / "README.md").read_text()
    imported, _, made = card.split("```python\n")[1].splitlines()[:3]
    scope: dict[str, object] = {}
    exec(f"{imported}\n{made}", scope)
    assert isinstance(scope["codec"], DeepJscc)
