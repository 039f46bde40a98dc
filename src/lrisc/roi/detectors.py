"""Which saliency detector a user means.

A detector is a function: a picture (3, H, W) in [0, 1] in, saliency (H, W) in [0, 1] out.

| name | detector |
|---|---|
| ``auto`` | the package's own, :func:`lrisc.roi.saliency.detect` |
| ``rembg:MODEL`` | any model of the rembg library: u2net, isnet-general-use, birefnet-general |
| ``detector:NAME`` | one of :data:`DETECTORS`, from a plug-in module or an installed package |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from lrisc.device import CPU
from lrisc.errors import InputError, one_line
from lrisc.images import to_pil
from lrisc.registry import Registry

Detector = Callable[[Tensor], Tensor]
"""Picture (3, H, W) in [0, 1] -> saliency (H, W) in [0, 1]."""

DETECTORS: Registry[Detector] = Registry("detector")
"""Detectors that others offer, by name."""
_NAME = re.compile(r"auto|(?:rembg|detector):[\w.-]+")


def is_detector(name: str) -> bool:
    """Whether a region's text names a detector rather than a box or a file."""
    return bool(_NAME.fullmatch(name))


def find_detector(name: str, device: torch.device = CPU) -> Detector:
    """The detector of a name, see the table at the top of this module.

    Args:
        name: of a detector.
        device: where the package's own runs; others run where they like.

    Raises:
        InputError: there is none, or the extra it needs is not installed.
    """
    if name == "auto":
        from lrisc.roi.saliency import detect

        return partial(detect, device=device)
    kind, _, which = name.partition(":")
    if kind == "rembg" and which:
        return _rembg(which)
    if kind == "detector" and which:
        return DETECTORS[which]
    raise InputError(f"no detector {name!r}: there are auto, rembg:MODEL and detector:NAME")


def detector_version(name: str) -> str:
    """What a detector's maps depend on: a hash of our own weights, or the version of a package."""
    kind, _, which = name.partition(":")
    if kind == "auto":
        weights = files("lrisc") / "weights" / "saliency" / "model.safetensors"
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    if kind == "rembg":
        try:
            return f"rembg {version('rembg')}"
        except PackageNotFoundError:
            return "rembg"
    return DETECTORS.origin(which) or "unknown"


@lru_cache(maxsize=1)
def _rembg(model: str) -> Detector:
    try:
        from rembg import new_session, remove  # pyright: ignore
    # rembg ends the process where its own onnxruntime is missing.
    except (ImportError, SystemExit) as error:
        raise InputError(
            f"roi rembg:{model} needs the extra rembg: pip install 'lrisc[rembg]'"
        ) from error
    try:
        session: Any = new_session(model)
    except ValueError as error:
        raise InputError(f"rembg has no model {model}: {one_line(error)[:200]}") from error
    # Downloads fail with errors of many libraries.
    except Exception as error:
        raise InputError(
            f"rembg could not fetch its model {model} (it downloads on first use): "
            f"{one_line(error)[:200]}"
        ) from error

    def detect(picture: Tensor) -> Tensor:
        import numpy as np

        found: Any = remove(to_pil(picture), session=session, only_mask=True)
        return torch.from_numpy(np.asarray(found.convert("L"), np.float32) / 255)

    return detect
