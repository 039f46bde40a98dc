"""Distortion metrics, one number per picture.

Every function takes two (B, 3, H, W) floating-point tensors in [0, 1] (a picture in [-1, 1] is
refused: halving the peak by mistake costs 6 dB) and computes in float64, so that autocast and TF32
do not change a reported number. The pictures are taken as given; published numbers are those of
8-bit pictures, see `round_to_8_bit`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lrisc.errors import InputError

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_TAPS = 11
WINDOW_SIGMA = 1.5
LUMINANCE_CONSTANT = 0.01**2
CONTRAST_CONSTANT = 0.03**2

RANGE_TOLERANCE = 1e-3


def round_to_8_bit(image: Tensor) -> Tensor:
    """Clamp to [0, 1] and round to the 256 levels an 8-bit picture has.

    Args:
        image: Any shape, floating point.

    Returns:
        The same shape and type; multiples of 1/255 in [0, 1].
    """
    return image.clamp(0, 1).mul(255).round().div(255)


def psnr(image: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all pixels and the three channels, for a peak of 1.

    Args:
        image: (B, 3, H, W) in [0, 1].
        other: The same shape and range.

    Returns:
        (B,) in dB, float64; infinity for equal pictures.
    """
    _check(image, other)
    error = (image.double() - other.double()).square().mean(dim=(1, 2, 3))
    return -10 * error.log10()


def ms_ssim(image: Tensor, other: Tensor) -> Tensor:
    """Multi-scale structural similarity: 1 for equal pictures, higher is better.

    Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality
    assessment", Asilomar 2003, with its five scales and weights, an 11-tap Gaussian window
    (sigma 1.5, no padding), and the choices of pytorch-msssim, which CompressAI reports: each RGB
    channel by itself, then their mean; negative terms count as 0; 2×2 average pooling between
    scales, odd sides zero-padded by one pixel at both ends.

    Pictures with a side under 161 pixels do not have five scales: they use the n scales that fit
    (side at least 10·2^(n-1) + 1) with those scales' weights divided by their sum. Such a
    number is not comparable with a five-scale one.

    Args:
        image: (B, 3, H, W) in [0, 1]; H and W at least 11.
        other: The same shape and range.

    Returns:
        (B,) in [0, 1], float64.
    """
    _check(image, other)
    # Channel by channel: all at once, a picture of 4096 pixels a side would take 7 GB.
    channels = [
        _channel_similarity(image[:, c : c + 1].double(), other[:, c : c + 1].double())
        for c in range(image.shape[1])
    ]
    return torch.cat(channels, dim=1).mean(dim=1)


def _channel_similarity(first: Tensor, second: Tensor) -> Tensor:
    """MS-SSIM of every channel by itself: (B, C, H, W) twice, float64, to (B, C)."""
    scales = _scale_count(min(first.shape[-2:]))
    weights = torch.tensor(MS_SSIM_WEIGHTS[:scales], dtype=first.dtype, device=first.device)
    if scales < len(MS_SSIM_WEIGHTS):
        weights = weights / weights.sum()
    similarity = torch.ones(first.shape[:2], dtype=first.dtype, device=first.device)
    for scale in range(scales):
        full, contrast = _ssim_terms(first, second)
        term = full if scale == scales - 1 else contrast
        similarity = similarity * term.clamp_min(0) ** weights[scale]
        if scale < scales - 1:
            first, second = _halve(first), _halve(second)
    return similarity


def _check(image: Tensor, other: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or image.shape != other.shape:
        raise InputError(
            "metrics need two (B, 3, H, W) tensors of one shape, "
            f"not {tuple(image.shape)} and {tuple(other.shape)}."
        )
    for tensor in (image, other):
        if not tensor.is_floating_point():
            raise InputError(f"metrics need floating-point pictures in [0, 1], not {tensor.dtype}.")
        if tensor.numel() == 0:
            raise InputError(f"metrics need pictures that are not empty, not {tuple(image.shape)}.")
        low, high = (float(value) for value in tensor.aminmax())
        if not (low >= -RANGE_TOLERANCE and high <= 1 + RANGE_TOLERANCE):
            raise InputError(f"metrics need pictures in [0, 1], not in [{low:.3g}, {high:.3g}].")


def _scale_count(side: int) -> int:
    """How many scales a picture with this smaller side has, 1 to 5."""
    if side < WINDOW_TAPS:
        raise InputError(f"MS-SSIM needs pictures of at least {WINDOW_TAPS} pixels a side.")
    scales = 1
    while scales < len(MS_SSIM_WEIGHTS) and side > (WINDOW_TAPS - 1) * 2**scales:
        scales += 1
    return scales


def _gaussian_taps() -> list[float]:
    """The window along one side: 11 taps, sum 1."""
    offsets = range(-(WINDOW_TAPS // 2), WINDOW_TAPS // 2 + 1)
    taps = [math.exp(-(offset**2) / (2 * WINDOW_SIGMA**2)) for offset in offsets]
    return [tap / sum(taps) for tap in taps]


def _smooth(image: Tensor) -> Tensor:
    """The Gaussian window over the last two dimensions, (…, H, W) to (…, H-10, W-10).

    Shifted sums: several times faster than a float64 convolution on a CPU.
    """
    taps = _gaussian_taps()
    for dim in (-2, -1):
        length = image.shape[dim] - WINDOW_TAPS + 1
        smooth = image.narrow(dim, 0, length) * taps[0]
        for offset in range(1, WINDOW_TAPS):
            smooth.add_(image.narrow(dim, offset, length), alpha=taps[offset])
        image = smooth
    return image


def _ssim_terms(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor, each (B, C), averaged over pixels."""
    moments = torch.stack((first, second, first * first, second * second, first * second))
    mean_1, mean_2, square_1, square_2, product = _smooth(moments)
    variances = (square_1 - mean_1**2) + (square_2 - mean_2**2)
    covariance = product - mean_1 * mean_2
    contrast = (2 * covariance + CONTRAST_CONSTANT) / (variances + CONTRAST_CONSTANT)
    luminance = (2 * mean_1 * mean_2 + LUMINANCE_CONSTANT) / (
        mean_1**2 + mean_2**2 + LUMINANCE_CONSTANT
    )
    return (luminance * contrast).mean(dim=(2, 3)), contrast.mean(dim=(2, 3))


def _halve(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return functional.avg_pool2d(image, kernel_size=2, padding=(height % 2, width % 2))
