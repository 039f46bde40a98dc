"""Which saliency detector a user means.

A detector is a function: a picture (3, H, W) in [0, 1] in, saliency (H, W) in [0, 1] out.

| name | detector |
|---|---|
| ``auto`` | the package's own, :func:`lrisc.roi.saliency.detect` |
| ``rembg:MODEL`` | any model of the rembg library: u2net, isnet-general-use, birefnet-general |
| ``detector:NAME`` | one that an installed package offers, entry point group ``lrisc.detectors`` |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from lrisc.errors import InputError
from lrisc.images import to_pil

Detector = Callable[[Tensor], Tensor]
"""Picture (3, H, W) in [0, 1] -> saliency (H, W) in [0, 1]."""

ENTRY_POINTS = "lrisc.detectors"
_NAME = re.compile(r"auto|(?:rembg|detector):[\w.-]+")


def is_detector(name: str) -> bool:
    """Whether a region's text names a detector rather than a box or a file."""
    return bool(_NAME.fullmatch(name))


def find_detector(name: str) -> Detector:
    """The detector of a name, see the table at the top of this module.

    Raises:
        InputError: there is none, or the extra it needs is not installed.
    """
    if name == "auto":
        from lrisc.roi.saliency import detect

        return detect
    kind, _, which = name.partition(":")
    if kind == "rembg" and which:
        return _rembg(which)
    if kind == "detector" and which:
        return _installed(which)
    raise InputError(f"no detector {name!r}: there are auto, rembg:MODEL and detector:NAME")


def detector_version(name: str) -> str:
    """What a detector's maps depend on: a hash of our own weights, or the version of a package.

    Raises:
        InputError: as `find_detector`.
    """
    kind, _, which = name.partition(":")
    if kind == "auto":
        weights = files("lrisc") / "weights" / "saliency" / "model.safetensors"
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    if kind == "rembg":
        try:
            return f"rembg {version('rembg')}"
        except PackageNotFoundError:
            return "rembg"
    package = _entry(which).dist
    return "unknown" if package is None else f"{package.name} {package.version}"


def _installed(name: str) -> Detector:
    try:
        detector: Detector = _entry(name).load()
    # A package may fail to import in any way.
    except (ImportError, AttributeError) as error:
        raise InputError(f"the detector {name} cannot be loaded: {_one_line(error)}") from error
    return detector


def _entry(name: str) -> EntryPoint:
    offered = entry_points(group=ENTRY_POINTS)
    for entry in offered:
        if entry.name == name:
            return entry
    names = ", ".join(sorted(entry.name for entry in offered)) or "none"
    raise InputError(f"no installed package offers the detector {name}; installed: {names}")


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
        raise InputError(f"rembg has no model {model}: {_one_line(error)}") from error
    # Downloads fail with errors of many libraries.
    except Exception as error:
        raise InputError(
            f"rembg could not fetch its model {model} (it downloads on first use): "
            f"{_one_line(error)}"
        ) from error

    def detect(picture: Tensor) -> Tensor:
        import numpy as np

        found: Any = remove(to_pil(picture), session=session, only_mask=True)
        return torch.from_numpy(np.asarray(found.convert("L"), np.float32) / 255)

    return detect


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
