"""What every picture of a batch meets: SNR, budget, fading, region of interest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lrisc.link.batched import Conditions
from lrisc.link.draws import Draws
from lrisc.roi.masks import SALIENT
from lrisc.roi.region import Regions
from lrisc.roi.saliency import embedded_detector, saliency
from lrisc.training.config.schema import LinkConfig, RoiConfig


def draw_link(draws: Draws, link: LinkConfig, step: int) -> Conditions:
    """Conditions of a batch at a step."""
    one = torch.ones(len(draws), device=draws.device)
    if step < link.easy_steps:
        return fixed_link(len(draws), link.easy_snr_db, link.easy_cbr, draws.device)
    low, high = (math.log(cbr) for cbr in link.cbr)
    favourite = draws.chance("favourite", link.favourite_fraction)
    cbr = torch.where(favourite, link.favourite_cbr, draws.between("cbr", low, high).exp())
    fixed = draws.chance("fixed beta", link.beta_fraction)
    low, high = (math.log(length) for length in link.block_length)
    names = tuple(name for name, share in link.channels.items() if share > 0)
    # The last takes what rounding leaves of 1.
    ends = torch.tensor([link.channels[name] for name in names]).cumsum(0)[:-1]
    return Conditions(
        snr_db=draws.between("snr", *link.snr_db),
        cbr=cbr,
        beta=torch.where(fixed, link.beta, math.nan * one),
        block_length=draws.between("block length", low, high).exp(),
        channels=names,
        which=torch.bucketize(draws.uniform("channel"), ends.to(draws.device), right=True),
    )


def fixed_link(
    batch: int, snr_db: float, cbr: float, device: torch.device | str = "cpu"
) -> Conditions:
    """AWGN at one SNR and one payload CBR for a whole batch."""
    one = torch.ones(batch, device=device)
    return Conditions(snr_db * one, cbr * one, math.nan * one, 256 * one)


def draw_regions(
    draws: Draws, roi: RoiConfig, pictures: Tensor, masks: Tensor | None = None
) -> Regions | None:
    """Random soft-edged regions, or what a detector finds in a picture.

    A random one is the union of an ellipse and a rectangle, one often tiny; it also stands in where
    the detector finds nothing.

    Args:
        draws: of these samples.
        roi: how often and how strong.
        pictures: (B, 3, H, W) uint8.
        masks: what a detector found in them offline, (B, 1, H, W) uint8, 255 inside; ``None``:
            the embedded detector looks at the pictures.

    Returns:
        Regions of the batch, or ``None`` where regions are switched off.
    """
    if roi.fraction == 0:
        return None
    has = draws.chance("has region", roi.fraction)
    mask = _random_masks(draws, *pictures.shape[-2:])
    by_detector = has & draws.chance("detector mask", roi.detector_fraction)
    if bool(by_detector.any()):
        if masks is not None:
            found = masks[by_detector] / 255
        else:
            found = saliency(pictures[by_detector] / 255, embedded_detector(pictures.device))
        nothing = found.amax((1, 2, 3), keepdim=True) < SALIENT
        mask[by_detector] = torch.where(nothing, mask[by_detector], found)
    gamma = torch.where(has, draws.between("gamma", *roi.gamma), 1.0)
    return Regions(mask * has[:, None, None, None], gamma, roi.steering)


def _random_masks(draws: Draws, height: int, width: int) -> Tensor:
    """(B, 1, height, width) in [0, 1]."""
    y = torch.linspace(0, 1, height, device=draws.device)[:, None]
    x = torch.linspace(0, 1, width, device=draws.device)[None, :]
    numbers = draws.uniform("regions", (2, 5))[..., None, None]
    distances: list[Tensor] = []
    for shape in range(2):
        cx, cy, rx, ry, _ = numbers[:, shape].unbind(1)
        dx, dy = (x - cx).abs() / (0.05 + 0.4 * rx**2), (y - cy).abs() / (0.05 + 0.4 * ry**2)
        distances.append((dx**2 + dy**2).sqrt() if shape == 0 else torch.maximum(dx, dy))
    sharpness = 4 + 28 * numbers[:, 0, 4]
    return torch.sigmoid((1 - torch.minimum(*distances)) * sharpness).unsqueeze(1)
