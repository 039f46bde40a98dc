"""What the transmitter minimises: squared error alone, or with perceptual distances."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.metrics.distortion import (
    CONTRAST_CONSTANT,
    LUMINANCE_CONSTANT,
    MS_SSIM_WEIGHTS,
    WINDOW_SIGMA,
    WINDOW_TAPS,
)
from lrisc.metrics.lpips import Lpips
from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights

logger = logging.getLogger(__name__)

ObjectiveName = Literal["perception", "distortion"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)


def check_objective(name: str) -> None:
    """Raise InputError for a name that is none of OBJECTIVES."""
    if name not in OBJECTIVES:
        raise InputError(f"the objective is {' or '.join(OBJECTIVES)}, not {name!r}")


@lru_cache(maxsize=2)
def objective(name: ObjectiveName, device: torch.device) -> Objective:
    """What a name means on this machine.

    Without LPIPS weights *perception* is *distortion* with MS-SSIM, and a line of the log says so.

    Raises:
        InputError: no such name.
    """
    check_objective(name)
    if name == "distortion":
        return Distortion()
    lpips = Lpips("alex")
    try:
        lpips.load_state_dict(resolve_weights("alex"))
    except LpipsUnavailableError as error:
        logger.warning("effort: squared error and MS-SSIM instead of perception: %s", error)
        return Distortion(STRUCTURE_WEIGHT)
    # nn.Module.to takes a memory format, its type stub does not know.
    lpips.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Perception(lpips)


@dataclass(frozen=True, eq=False)
class Target:
    """A source, and what an objective needs of it in every iteration.

    Attributes:
        source: (1, 3, H, W) in [-1, 1].
        weight: of every pixel, (1, 1, H, W), mean 1 over the whole picture; ``None``: all 1.
        features: of LPIPS; empty where it has no part.
        roughness: of the channel, see :class:`lrisc.refinement.payload.PayloadLink`.
    """

    source: Tensor
    weight: Tensor | None
    features: list[Tensor]
    roughness: float


class Objective(ABC):
    """A loss of a decoded picture against its source.

    Attributes:
        name: what it is called in reports.
    """

    name: ObjectiveName = "distortion"

    def target(self, source: Tensor, weight: Tensor | None, roughness: float) -> Target:
        """What is computed once of a source; arguments as for :class:`Target`."""
        return Target(source, weight, [], roughness)

    @abstractmethod
    def __call__(self, decoded: Tensor, target: Target, draws: Draws | None) -> Tensor:
        """The loss, a mean over pixels.

        Args:
            decoded: (1, 3, H, W) in [-1, 1].
            target: from :meth:`target`.
            draws: random views of both pictures; ``None`` for the pictures as they are.

        Returns:
            A scalar.
        """


class Distortion(Objective):
    """Squared error, and 1 - MS-SSIM where that is asked for.

    Args:
        structure: weight of 1 - MS-SSIM.
    """

    def __init__(self, structure: float = 0.0) -> None:
        self.structure = structure

    def __call__(self, decoded: Tensor, target: Target, draws: Draws | None) -> Tensor:
        """See :class:`Objective`."""
        source, weight = target.source, target.weight
        error = (decoded - source).square()
        loss = MSE_WEIGHT * (error if weight is None else error * weight).mean()
        if self.structure:
            # A variance is a small difference of large numbers: not in bfloat16.
            with torch.autocast(decoded.device.type, enabled=False):
                structure = structural_error(decoded, source, weight, FINEST_SCALE)
            loss = loss + self.structure * structure
        return loss


class Perception(Distortion):
    """Squared error, 1 - MS-SSIM, LPIPS, and LPIPS of random views of both pictures.

    A distance that is minimised finds what the distance does not see. Alex's first layer looks at
    every fourth pixel: shifted, scaled and mirrored views (E-LPIPS, Kettunen et al. 2019) and
    MS-SSIM see what it misses.

    Args:
        lpips: LPIPS with AlexNet, on the pictures' device.
    """

    name: ObjectiveName = "perception"

    def __init__(self, lpips: Lpips) -> None:
        super().__init__(STRUCTURE_WEIGHT)
        self.lpips = lpips

    def target(self, source: Tensor, weight: Tensor | None, roughness: float) -> Target:
        """See :class:`Objective`."""
        return Target(source, weight, self.lpips.unit_features(source), roughness)

    def __call__(self, decoded: Tensor, target: Target, draws: Draws | None) -> Tensor:
        """See :class:`Objective`."""
        loss = super().__call__(decoded, target, draws)
        share = ROUGH_WEIGHT**target.roughness
        seen = self._distance(decoded, target.features, target.weight)
        loss = loss + share * LPIPS_WEIGHT * seen
        if draws is not None:
            # Apart from the decoded one, so that nothing goes back into the source.
            source, weight = target.source, target.weight
            still = source if weight is None else torch.cat([source, weight.expand_as(source)])
            second, *rest = random_view(still, draws, self.lpips.min_side).split(1)
            first = random_view(decoded, draws, self.lpips.min_side)
            weight = rest[0][:, :1] if rest else None
            seen = self._distance(first, self.lpips.unit_features(second), weight)
            loss = loss + share * VIEW_WEIGHT * seen
        return loss

    def _distance(self, first: Tensor, second: list[Tensor], weight: Tensor | None) -> Tensor:
        if weight is None:
            return self.lpips.to_features(first, second).float().mean()
        return (self.lpips.to_features(first, second, spatial=True).float() * weight).mean()


def random_view(pictures: Tensor, draws: Draws, min_side: int) -> Tensor:
    """The same random part of all pictures, mirrored and enlarged the same way.

    Args:
        pictures: (B, C, H, W).
        draws: of one sample.
        min_side: no side of the view is shorter, as far as the pictures allow.

    Returns:
        (B, C, H', W').
    """
    numbers: list[float] = draws.uniform("view", (5,))[0].tolist()
    low, high = VIEW_SCALES
    scale = low * (high / low) ** numbers[0]
    height, width = pictures.shape[-2:]
    # A crop as much smaller as it is enlarged: no view costs more than the picture.
    sides = [math.ceil(side / scale) for side in (height, width)]
    # Also where all of it is seen it begins at another pixel of AlexNet's grid.
    spare = [
        max(side - new, min(VIEW_SHIFT, side - math.ceil(min_side / scale)), 0)
        for new, side in zip(sides, (height, width), strict=True)
    ]
    top, left = (int(u * (n + 1)) for u, n in zip(numbers[1:3], spare, strict=True))
    view = pictures[..., top : top + sides[0], left : left + sides[1]]
    dims = [dim for dim, number in zip((-1, -2), numbers[3:], strict=True) if number < 0.5]
    if dims:
        view = view.flip(dims)
    size = [max(round(side * scale), min(min_side, side)) for side in view.shape[-2:]]
    if size == list(view.shape[-2:]):
        return view.contiguous()
    return F.interpolate(view, size, mode="bilinear", align_corners=False)


def structural_error(
    decoded: Tensor, source: Tensor, weight: Tensor | None, finest: int = 0
) -> Tensor:
    """1 - MS-SSIM in float32, differentiable everywhere, with a weight for every pixel.

    Args:
        decoded: (1, 3, H, W) in [-1, 1].
        source: the same shape and range.
        weight: (1, 1, H, W), or ``None``.
        finest: first scale that counts; each one left out saves three quarters of the time.

    Returns:
        A scalar, with all scales 1 - :func:`lrisc.metrics.distortion.ms_ssim`, up to the type and
        to a mean that is not positive, which counts as 0.01 here.
    """
    first, second = decoded / 2 + 0.5, source / 2 + 0.5
    scales = 1
    while scales < len(MS_SSIM_WEIGHTS) and min(first.shape[-2:]) > (WINDOW_TAPS - 1) * 2**scales:
        scales += 1
    exponents = [w / sum(MS_SSIM_WEIGHTS[:scales]) for w in MS_SSIM_WEIGHTS[:scales]]
    similarity = torch.ones(3, device=first.device)
    for scale, exponent in enumerate(exponents):
        if scale >= finest:
            luminance, contrast = _ssim_maps(first, second)
            term = contrast if scale < scales - 1 else contrast * luminance
            similarity = similarity * _mean(term, weight).clamp_min(0.01) ** exponent
        first, second = _halve(first), _halve(second)
        weight = None if weight is None else _halve(weight)
    return 1 - similarity.mean()


def _ssim_maps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance and contrast-structure of SSIM, each (1, 3, H - 10, W - 10)."""
    moments = torch.cat([first, second, first * first, second * second, first * second], dim=1)
    offsets = torch.arange(WINDOW_TAPS, device=first.device) - WINDOW_TAPS // 2
    taps = torch.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    taps = (taps / taps.sum()).expand(moments.shape[1], 1, -1)
    smooth = F.conv2d(moments, taps[:, :, :, None], groups=moments.shape[1])
    smooth = F.conv2d(smooth, taps[:, :, None, :], groups=moments.shape[1])
    mean_1, mean_2, square_1, square_2, product = smooth.chunk(5, dim=1)
    variances = (square_1 - mean_1**2) + (square_2 - mean_2**2)
    covariance = product - mean_1 * mean_2
    contrast = (2 * covariance + CONTRAST_CONSTANT) / (variances + CONTRAST_CONSTANT)
    luminance = (2 * mean_1 * mean_2 + LUMINANCE_CONSTANT) / (
        mean_1**2 + mean_2**2 + LUMINANCE_CONSTANT
    )
    return luminance, contrast


def _mean(term: Tensor, weight: Tensor | None) -> Tensor:
    """Over the positions whose window lies inside the picture, one number per channel."""
    if weight is None:
        return term.mean((0, 2, 3))
    edge = WINDOW_TAPS // 2
    inside = weight[..., edge : edge + term.shape[-2], edge : edge + term.shape[-1]]
    return (term * inside).mean((0, 2, 3)) / inside.mean().clamp_min(1e-6)


def _halve(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return F.avg_pool2d(image, kernel_size=2, padding=(height % 2, width % 2))


MSE_WEIGHT = 6.0
"""Of the squared error of pictures in [-1, 1]."""
STRUCTURE_WEIGHT = 1.2
"""Of 1 - MS-SSIM."""
FINEST_SCALE = 1
"""Of MS-SSIM here: half resolution. The finest scale has 4 % of the weight, most of the cost."""
LPIPS_WEIGHT = 0.3
"""Of LPIPS (AlexNet) of the pictures as they are."""
VIEW_WEIGHT = 0.4
"""Of LPIPS (AlexNet) of a random view. All four are measured in docs/manual/effort.md."""
ROUGH_WEIGHT = 3.0
"""Both LPIPS count so many times as much at 0 dB, where squared error asks for blur."""
VIEW_SCALES = (1.0, 2.0)
"""Range of a view's scale, log-uniform. Enlarged, AlexNet's first layer sees what it steps over."""
VIEW_SHIFT = 16
"""Pixels that a view of the whole picture may begin after its edge."""
