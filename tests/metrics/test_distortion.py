"""Metrics against closed forms and against a slow reference on numpy and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from lrisc.errors import InputError
from lrisc.metrics.distortion import ms_ssim, psnr, round_to_8_bit


def picture(height: int, width: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    """Smooth shapes with texture, (B, 3, H, W) in [0, 1]."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((batch, 3, height, width))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 6, 6))
    smooth = 0.5 + 0.15 * smooth / smooth.std() + 0.03 * noise
    return torch.from_numpy(np.clip(smooth, 0, 1)).float()


def noisy(image: torch.Tensor, sigma: float, seed: int = 1) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + sigma * noise).clamp(0, 1)


def reference_ssim_maps(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luminance, contrast and structure of one channel, each as Wang et al. 2004 defines it."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 0.01**2, 0.03**2
    patches_1 = np.lib.stride_tricks.sliding_window_view(first, (11, 11))
    patches_2 = np.lib.stride_tricks.sliding_window_view(second, (11, 11))
    mean_1 = np.einsum("yxij,ij->yx", patches_1, window)
    mean_2 = np.einsum("yxij,ij->yx", patches_2, window)
    centred_1 = patches_1 - mean_1[..., None, None]
    centred_2 = patches_2 - mean_2[..., None, None]
    variance_1 = np.einsum("yxij,ij->yx", centred_1**2, window)
    variance_2 = np.einsum("yxij,ij->yx", centred_2**2, window)
    covariance = np.einsum("yxij,ij->yx", centred_1 * centred_2, window)
    deviations = np.sqrt(variance_1 * variance_2)
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    contrast = (2 * deviations + c2) / (variance_1 + variance_2 + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    return luminance, contrast, structure


def reference_ms_ssim(first: np.ndarray, second: np.ndarray, scales: int = 5) -> float:
    """One (H, W, 3) pair in float64; per channel, then the mean."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # their sum is 1.0001
    if scales < 5:
        weights = weights[:scales] / weights[:scales].sum()
    per_channel = []
    for channel in range(3):
        one, two = first[..., channel], second[..., channel]
        value = 1.0
        for scale in range(scales):
            luminance, contrast, structure = reference_ssim_maps(one, two)
            maps = contrast * structure
            if scale == scales - 1:
                maps = luminance * maps
            value *= max(float(maps.mean()), 0.0) ** weights[scale]
            one, two = (
                ndimage.correlate(
                    np.pad(plane, [(side % 2, side % 2) for side in plane.shape]),
                    np.full((2, 2), 0.25),
                    origin=-1,
                    mode="constant",
                )[::2, ::2][: side_after(plane.shape[0]), : side_after(plane.shape[1])]
                for plane in (one, two)
            )
        per_channel.append(value)
    return float(np.mean(per_channel))


def side_after(side: int) -> int:
    return side // 2 if side % 2 == 0 else (side + 1) // 2


def as_array(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


@pytest.mark.parametrize("step", [1 / 255, 0.1, 0.5, 1.0])
def test_psnr_of_a_constant_error_is_its_square_in_db(step):
    image = torch.zeros(2, 3, 16, 24)
    value = psnr(image, image + step)
    assert value.shape == (2,)
    assert value.tolist() == pytest.approx([-20 * math.log10(step)] * 2, abs=1e-4)


def test_psnr_of_one_wrong_pixel():
    image = torch.zeros(1, 3, 10, 10)
    other = image.clone()
    other[0, 1, 4, 7] = 1.0
    assert psnr(image, other).item() == pytest.approx(10 * math.log10(300))


def test_psnr_of_equal_pictures_is_infinite():
    image = picture(32, 32)
    assert psnr(image, image).item() == math.inf


def test_metrics_do_not_mix_the_pictures_of_a_batch():
    image = picture(176, 180, batch=3)
    other = torch.stack([noisy(image[i], 0.02 * (i + 1)) for i in range(3)])
    for metric in (psnr, ms_ssim):
        whole = metric(image, other)
        apart = torch.cat([metric(image[i : i + 1], other[i : i + 1]) for i in range(3)])
        assert torch.equal(whole, apart)
        assert whole[0] > whole[1] > whole[2]


def test_rounding_to_8_bit():
    image = torch.tensor([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 127.6 / 255, 1.0, 1.7])
    assert (round_to_8_bit(image) * 255).tolist() == pytest.approx([0, 0, 0, 1, 128, 255, 255])
    levels = torch.arange(256) / 255
    assert torch.equal(round_to_8_bit(levels), levels)


def test_uniform_rounding_costs_what_theory_says():
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    expected = 10 * math.log10(12 * 255**2)
    assert psnr(image, round_to_8_bit(image)).item() == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(161, 176), (192, 256), (177, 203)])
@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_ms_ssim_equals_the_slow_reference(height, width, sigma):
    image = picture(height, width)
    other = noisy(image, sigma)
    expected = reference_ms_ssim(as_array(image[0]), as_array(other[0]))
    assert ms_ssim(image, other).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("side", "scales"), [(160, 4), (81, 4), (80, 3), (41, 3), (21, 2), (11, 1)]
)
def test_small_pictures_use_fewer_scales_with_renormalised_weights(side, scales):
    image = picture(side, side + 9)
    other = noisy(image, 0.05)
    expected = reference_ms_ssim(as_array(image[0]), as_array(other[0]), scales)
    assert ms_ssim(image, other).item() == pytest.approx(expected, abs=1e-9)


def test_ms_ssim_of_equal_pictures_is_one():
    image = picture(192, 192, batch=2)
    assert ms_ssim(image, image).tolist() == [1.0, 1.0]


def test_ms_ssim_of_flat_pictures_is_the_luminance_term():
    dark, bright = torch.full((1, 3, 256, 256), 0.25), torch.full((1, 3, 256, 256), 0.75)
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ms_ssim(dark, bright).item() == pytest.approx(luminance**0.1333, abs=1e-9)


def test_ms_ssim_of_a_negative_is_zero():
    image = picture(192, 192)
    assert ms_ssim(image, 1 - image).item() == 0.0


def test_ms_ssim_is_symmetric():
    image = picture(176, 176)
    other = noisy(image, 0.05)
    assert ms_ssim(image, other).item() == pytest.approx(ms_ssim(other, image).item(), abs=1e-12)


def test_reduced_precision_around_the_call_changes_nothing():
    image = picture(176, 176)
    other = noisy(image, 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = psnr(image, other), ms_ssim(image, other)
    assert inside[0].dtype == inside[1].dtype == torch.float64
    assert torch.equal(inside[0], psnr(image, other))
    assert torch.equal(inside[1], ms_ssim(image, other))


@pytest.mark.parametrize("metric", [psnr, ms_ssim])
@pytest.mark.parametrize(
    ("image", "other", "message"),
    [
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 32), "one shape"),
        (torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32), "one shape"),
        (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 33), "one shape"),
        (torch.zeros(0, 3, 32, 32), torch.zeros(0, 3, 32, 32), "not empty"),
        (torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), -1.0), r"in \[0, 1\]"),
        (torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 255.0), r"in \[0, 1\]"),
        (torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), math.nan), r"in \[0, 1\]"),
        (
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
            torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
            "floating-point",
        ),
    ],
)
def test_wrong_input_is_named(metric, image, other, message):
    with pytest.raises(InputError, match=message):
        metric(image, other)


def test_ms_ssim_refuses_a_picture_smaller_than_its_window():
    with pytest.raises(InputError, match="at least 11"):
        ms_ssim(torch.zeros(1, 3, 10, 64), torch.zeros(1, 3, 10, 64))
