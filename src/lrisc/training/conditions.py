"""What every picture of a batch meets: SNR, budget, fading, region of interest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lrisc.link.draws import Draws
from lrisc.roi.masks import SALIENT
from lrisc.roi.region import Regions
from lrisc.roi.saliency import embedded_detector, saliency
from lrisc.training.config.schema import LinkConfig, RoiConfig


@dataclass(frozen=True)
class LinkConditions:
    """Channel and budget of every picture.

    Attributes:
        snr_db: mean SNR in dB, (B,).
        cbr: payload symbols per (3·H·W), (B,).
        beta: symbols per bit where the picture has no budget, NaN where it has one, (B,).
        fading: which pictures cross Rayleigh block fading, (B,) bool; ``None``: no one does.
        block_length: length of a fading block in symbols, (B,).
        shortest_block: lower bound of ``block_length``.
    """

    snr_db: Tensor
    cbr: Tensor
    beta: Tensor
    fading: Tensor | None
    block_length: Tensor
    shortest_block: int


def draw_link(draws: Draws, link: LinkConfig, step: int) -> LinkConditions:
    """Conditions of a batch at a step."""
    one = torch.ones(len(draws), device=draws.device)
    if step < link.easy_steps:
        return fixed_link(len(draws), link.easy_snr_db, link.easy_cbr, draws.device)
    low, high = (math.log(cbr) for cbr in link.cbr)
    favourite = draws.chance("favourite", link.favourite_fraction)
    cbr = torch.where(favourite, link.favourite_cbr, draws.between("cbr", low, high).exp())
    fixed = draws.chance("fixed beta", link.beta_fraction)
    fading = link.rayleigh_fraction > 0
    low, high = (math.log(length) for length in link.block_length)
    return LinkConditions(
        snr_db=draws.between("snr", *link.snr_db),
        cbr=cbr,
        beta=torch.where(fixed, link.beta, math.nan * one),
        fading=draws.chance("fading", link.rayleigh_fraction) if fading else None,
        block_length=draws.between("block length", low, high).exp(),
        shortest_block=link.block_length[0],
    )


def fixed_link(
    batch: int, snr_db: float, cbr: float, device: torch.device | str = "cpu"
) -> LinkConditions:
    """AWGN at one SNR and one payload CBR for a whole batch."""
    one = torch.ones(batch, device=device)
    return LinkConditions(snr_db * one, cbr * one, math.nan * one, None, 256 * one, 256)


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
            found = saliency(pictures[by_detector] / 255, embedded_detector(str(pictures.device)))
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
