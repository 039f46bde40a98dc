"""LPIPS v0.1, the learned perceptual distance, on PyTorch alone.

R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", CVPR 2018 (arXiv 1801.03924). The numbers are those of the
``lpips`` package 0.1.4 with ``version="0.1"``; the AlexNet and VGG16 feature trunks are written
out here because torchvision is not a dependency.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrisc.device import CPU
from lrisc.errors import InputError
from lrisc.metrics.lpips_weights import resolve_weights

Backbone = Literal["alex", "vgg"]

NORMALISATION_EPS = 1e-10

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class _Conv(NamedTuple):
    """One convolution (with bias, followed by ReLU)."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 1


class _Stage(NamedTuple):
    """A max pooling (window, 0 for none; stride is always 2) and convolutions; one LPIPS layer."""

    pool: int
    convs: tuple[_Conv, ...]


class _Trunk(NamedTuple):
    """A feature trunk and the smallest picture side that reaches its last layer."""

    stages: tuple[_Stage, ...]
    min_side: int


_TRUNKS: dict[Backbone, _Trunk] = {
    "alex": _Trunk(
        stages=(
            _Stage(0, (_Conv(64, 11, stride=4, padding=2),)),
            _Stage(3, (_Conv(192, 5, padding=2),)),
            _Stage(3, (_Conv(384, 3),)),
            _Stage(0, (_Conv(256, 3),)),
            _Stage(0, (_Conv(256, 3),)),
        ),
        min_side=31,
    ),
    "vgg": _Trunk(
        stages=(
            _Stage(0, (_Conv(64, 3),) * 2),
            _Stage(2, (_Conv(128, 3),) * 2),
            _Stage(2, (_Conv(256, 3),) * 3),
            _Stage(2, (_Conv(512, 3),) * 3),
            _Stage(2, (_Conv(512, 3),) * 3),
        ),
        min_side=16,
    ),
}


class Lpips(nn.Module):
    """LPIPS v0.1: a perceptual distance between pictures, 0 for equal ones, lower is better.

    ::

        image ─► (x - shift) / scale ─► trunk ─► 5 feature maps ─► unit length over channels ─┐
        other ─► (x - shift) / scale ─► trunk ─► 5 feature maps ─► unit length over channels ─┴►
              (difference)² ─► 1×1 head, one per layer ─► mean over pixels ─► sum over layers

    Zhang et al., CVPR 2018 (arXiv 1801.03924). The parameters are frozen, and the distance is
    differentiable in both pictures. Under autocast the convolutions run in the autocast type, the
    normalisation and everything after it in the module's own type (float32).

    The constructor leaves the weights random; use `from_weights`.

    Args:
        backbone: ``"alex"`` (the usual one for reported numbers) or ``"vgg"`` (about 2.7 times
            larger numbers).

    Example:
        >>> distance = Lpips.from_weights("alex")
        >>> distance(reconstruction * 2 - 1, image * 2 - 1)  # pictures in [0, 1]
        tensor([0.0563])
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone = "alex") -> None:
        super().__init__()
        if backbone not in _TRUNKS:
            raise InputError(f"LPIPS backbone {backbone!r} is unknown: use 'alex' or 'vgg'.")
        self.backbone: Backbone = backbone
        self._stages = _TRUNKS[backbone].stages
        self.min_side = _TRUNKS[backbone].min_side
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.convs = nn.ModuleList()
        self.heads = nn.ParameterList()
        channels = 3
        for stage in self._stages:
            for conv in stage.convs:
                self.convs.append(
                    nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, conv.padding)
                )
                channels = conv.channels
            self.heads.append(nn.Parameter(torch.full((channels,), 1.0 / channels)))
        self.requires_grad_(False)

    @classmethod
    def from_weights(cls, backbone: Backbone = "alex", path: str | Path | None = None) -> Lpips:
        """Build the distance with its published weights.

        Args:
            backbone: ``"alex"`` or ``"vgg"``.
            path: A weights file, or a folder with one; see
                `lrisc.metrics.lpips_weights.resolve_weights` for what is tried without it.

        Returns:
            The module, on the CPU, in float32, frozen.

        Raises:
            LpipsUnavailableError: No weights could be found; the message says what to do.
        """
        module = cls(backbone)
        module.load_state_dict(resolve_weights(backbone, path))
        return module

    def forward(self, image: Tensor, other: Tensor, *, spatial: bool = False) -> Tensor:
        """Measure the distance; it is symmetric.

        Args:
            image: (B, 3, H, W) in [-1, 1]; H and W at least 31 (alex) or 16 (vgg).
            other: The same shape and range.
            spatial: return a map instead of one number per picture.

        Returns:
            (B,) distances; with ``spatial``, (B, 1, H, W): every layer's map, bilinearly enlarged
            to the picture, summed over layers.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape != other.shape:
            raise InputError(
                "LPIPS needs two (B, 3, H, W) tensors of one shape, "
                f"not {tuple(image.shape)} and {tuple(other.shape)}."
            )
        if min(image.shape[-2:]) < self.min_side:
            raise InputError(
                f"LPIPS ({self.backbone}) needs pictures of at least {self.min_side} pixels "
                f"a side, not {image.shape[-2]}x{image.shape[-1]}."
            )
        return self.to_features(image, self.unit_features(other), spatial=spatial)

    def to_features(
        self, image: Tensor, features: list[Tensor], *, spatial: bool = False
    ) -> Tensor:
        """The distance to a picture whose features are known already.

        Args:
            image: (B, 3, H, W) in [-1, 1].
            features: of the other picture, from :meth:`unit_features`.
            spatial: see :meth:`forward`.

        Returns:
            As :meth:`forward`, unchecked.
        """
        total: Tensor | None = None
        for head, first, second in zip(
            self.heads, self.unit_features(image), features, strict=True
        ):
            difference = (first - second).square()
            layer = (difference * head.view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
            if spatial:
                layer = functional.interpolate(
                    layer, size=image.shape[-2:], mode="bilinear", align_corners=False
                )
            else:
                layer = layer.mean(dim=(1, 2, 3))
            total = layer if total is None else total + layer
        assert total is not None
        return total

    def unit_features(self, image: Tensor) -> list[Tensor]:
        """The trunk's five feature maps, every position's of unit length; see :meth:`features`."""
        return [_unit_length(feature) for feature in self.features(image)]

    def features(self, image: Tensor) -> list[Tensor]:
        """The trunk's five feature maps.

        Args:
            image: (B, 3, H, W) in [-1, 1], large enough, see :meth:`forward`.

        Returns:
            Each (B, C, h, w), after its ReLU, in the module's own type.
        """
        feature = (image.to(self.shift.dtype) - self.shift) / self.scale
        features: list[Tensor] = []
        convs = iter(self.convs)
        for stage in self._stages:
            if stage.pool:
                feature = functional.max_pool2d(feature, stage.pool, stride=2)
            for _ in stage.convs:
                feature = functional.relu(next(convs)(feature), inplace=True)
            features.append(feature.to(self.shift.dtype))
        return features


@lru_cache(maxsize=4)
def published_lpips(backbone: Backbone, device: torch.device = CPU) -> Lpips:
    """The distance with its published weights, loaded once per device.

    Raises:
        LpipsUnavailableError: they are not on this machine.
    """
    return Lpips.from_weights(backbone).to(device)


def _unit_length(feature: Tensor) -> Tensor:
    """Scale every pixel's feature vector to length 1; a zero vector stays zero.

    The clamp changes no value above rounding; it keeps the gradient of the root finite where all
    channels are off.
    """
    energy = feature.square().sum(dim=1, keepdim=True)
    return feature / (energy.clamp_min(NORMALISATION_EPS**2).sqrt() + NORMALISATION_EPS)
