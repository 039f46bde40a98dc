"""How good a saliency detector is: maximum F-measure and mean absolute error against masks.

    python -m lrisc.training.saliency.measure FOLDER [--detector auto] [--plugin MODULE]
        [--maps MAPS.npy]

FOLDER holds photographs and, under the same stem, masks as .png (ECSSD's layout).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from lrisc.errors import InputError
from lrisc.registry import add_plugin_option, import_plugins

BETA_SQUARED = 0.3
"""Weight of recall in the F-measure, 0.3 in all of the saliency literature."""
_PHOTOGRAPHS = (".webp", ".jpg", ".jpeg")

Map = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SaliencyFigures:
    """Figures of a detector over a set of pictures.

    Attributes:
        max_f: largest F-measure over 255 thresholds, of precision and recall averaged over the
            pictures.
        mae: mean absolute error, averaged over the pictures.
        pictures: how many.
    """

    max_f: float
    mae: float
    pictures: int


def saliency_figures(pairs: Iterator[tuple[Map, Map]]) -> SaliencyFigures:
    """Maximum F-measure (beta² = 0.3) and mean absolute error.

    Args:
        pairs: map and mask of every picture, (H, W) in [0, 1]; a mask is inside above 0.5.

    Raises:
        InputError: there are no pairs.
    """
    precision, recall, errors = np.zeros(255), np.zeros(255), []
    for found, mask in pairs:
        inside = mask > 0.5
        levels = np.rint(found * 255).astype(np.int64).clip(0, 255)
        # How many pixels lie at or above each threshold 1 to 255, by histograms.
        hits = np.bincount(levels[inside], minlength=256)[::-1].cumsum()[::-1][1:]
        chosen = np.bincount(levels.ravel(), minlength=256)[::-1].cumsum()[::-1][1:]
        precision += hits / np.maximum(chosen, 1)
        recall += hits / max(int(inside.sum()), 1)
        errors.append(float(np.abs(found - inside).mean()))
    if not errors:
        raise InputError("no pictures with masks to measure on")
    precision, recall = precision / len(errors), recall / len(errors)
    weighted = BETA_SQUARED * precision + recall
    f = (1 + BETA_SQUARED) * precision * recall / np.maximum(weighted, 1e-12)
    return SaliencyFigures(float(f.max()), float(np.mean(errors)), len(errors))


def masked_photographs(folder: Path) -> list[tuple[Path, Path]]:
    """Photographs and their masks, by stem.

    Raises:
        InputError: there are none.
    """
    photos = {p.stem: p for p in folder.glob("*") if p.suffix.lower() in _PHOTOGRAPHS}
    pairs = [(photos[s], folder / f"{s}.png") for s in sorted(photos)]
    pairs = [(photo, mask) for photo, mask in pairs if mask.is_file()]
    if not pairs:
        raise InputError(f"no photographs with masks of the same name (.png) in {folder}")
    return pairs


def read_mask(path: Path) -> Map:
    """A mask picture as (H, W) in [0, 1]."""
    with Image.open(path) as mask:
        return np.asarray(mask.convert("L"), np.float32) / np.float32(255)


def _stored(maps: Path, masks: list[Path]) -> Iterator[tuple[Map, Map]]:
    """Maps of tools/saliency/teacher_maps.py, enlarged to their masks and stretched to [0, 1]."""
    stored = np.load(maps, mmap_mode="r")
    for small, path in zip(stored, masks, strict=True):
        mask = read_mask(path)
        x = torch.from_numpy(small.astype(np.float32))[None, None]
        found = F.interpolate(x, mask.shape, mode="bilinear")[0, 0]
        found = (found - found.min()) / (found.max() - found.min()).clamp(min=1)
        yield found.numpy(), mask


def main() -> int:
    """Print the figures; returns the exit code."""
    from lrisc.images import load_image
    from lrisc.roi.detectors import find_detector

    parser = argparse.ArgumentParser(
        prog="python -m lrisc.training.saliency.measure", description=__doc__
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="auto", help="as after --roi; default: auto")
    parser.add_argument("--maps", type=Path, help="maps by tools/saliency/teacher_maps.py instead")
    add_plugin_option(parser)
    arguments = parser.parse_args()
    try:
        import_plugins(arguments.plugin)
        pairs = masked_photographs(arguments.folder)
        if arguments.maps:
            maps = _stored(arguments.maps, [mask for _, mask in pairs])
        else:
            detect = find_detector(arguments.detector)
            maps = ((detect(load_image(p)).numpy(), read_mask(m)) for p, m in pairs)
        figures = saliency_figures(maps)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{figures.pictures} pictures: max F {figures.max_f:.4f}, MAE {figures.mae:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
