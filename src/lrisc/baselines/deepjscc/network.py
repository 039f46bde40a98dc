"""The networks of DeepJSCC, Bourtsoulatze, Kurka and Gündüz, IEEE TCCN 2019.

::

    image ─ 16,5×5,/2 ─ 32,5×5,/2 ─ 32,5×5 ─ 32,5×5 ─ c,5×5 ─► c·H/4·W/4 reals, as complex symbols
    image ◄ 3,5×5,×2 ─ 16,5×5,×2 ─ 32,5×5 ─ 32,5×5 ─ 32,5×5 ◄───────────────────────┘

A PReLU follows every layer but the last, which ends in a sigmoid.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrisc.errors import InputError

STRIDE = 4
"""Pixels a side per position of the feature map that is sent."""

_MOST_CHANNELS = 96  # a complex symbol per colour value
_PRELU_GAIN = 2 / (1 + 0.25**2)
"""What a PReLU at its start takes from the variance of a centred signal, inverted."""


@dataclass(frozen=True)
class DeepJsccConfig:
    """Size of a DeepJSCC.

    Attributes:
        channels: c, feature maps that are sent; the CBR is c/96.
    """

    channels: int = 2

    def __post_init__(self) -> None:
        """Reject what is no codec.

        Raises:
            InputError: there is nothing to send, or more than the picture.
        """
        if type(self.channels) is not int or not 1 <= self.channels <= _MOST_CHANNELS:
            raise InputError(f"channels must be a whole number in [1, {_MOST_CHANNELS}]")

    @property
    def multiple(self) -> int:
        """What the sides of a picture are padded to a multiple of."""
        return STRIDE

    @property
    def cbr(self) -> float:
        """Complex symbols per (3·H·W), for pictures that need no padding."""
        return self.channels / (2 * STRIDE**2 * 3)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for config.json."""
        return asdict(self)


PRESETS: dict[str, DeepJsccConfig] = {f"deepjscc-{c}": DeepJsccConfig(c) for c in (1, 2, 4, 8)}
"""By the number of feature maps: CBR 1/96, 1/48, 1/24 and 1/12."""


class DeepJsccNetwork(nn.Module):
    """Encoder and decoder; what lies between them is the caller's.

    Args:
        config: sizes.
    """

    def __init__(self, config: DeepJsccConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        # The bodies are the same in every size: the layers beside them are what the CBR changes.
        body = (_down(3, 16, 2), _down(16, 32, 2), _down(32, 32, 1), _down(32, 32, 1))
        self.encoder = nn.Sequential(nn.Sequential(*body), _down(32, c, 1))
        body = (_up(32, 32, 1), _up(32, 32, 1), _up(32, 16, 2))
        output = nn.ConvTranspose2d(16, 3, 5, 2, padding=2, output_padding=1)
        self.decoder = nn.Sequential(_up(c, 32, 1), nn.Sequential(*body, output, nn.Sigmoid()))
        # torch's default shrinks the signal by more than half per layer: the first thousands of
        # steps would only undo that.
        for layer in _layers(self):
            nn.init.normal_(layer.weight, std=_initial_rms(layer))
            nn.init.zeros_(cast(Tensor, layer.bias))

    @torch.no_grad()
    def balance(self) -> None:
        """Bring the layers back to the scale they start from; the codec stays what it is.

        Power normalisation leaves the encoder's scale free, and PReLUs pass any factor on. Steps
        of a fixed size let such scales grow, until a step hardly turns the weights any more.
        """
        for layers, last in ((_layers(self.encoder), None), (_layers(self.decoder), -1)):
            gain = torch.ones(())
            for layer in layers[:last]:
                factor = _initial_rms(layer) / layer.weight.square().mean().sqrt()
                gain = gain * factor
                layer.weight.mul_(factor)
                cast(Tensor, layer.bias).mul_(gain)
            if last is not None:
                layers[last].weight.div_(gain)

    def encode(self, image: Tensor) -> Tensor:
        """Symbols before power normalisation.

        Args:
            image: (B, 3, H, W) in [0, 1], sides multiples of 4.

        Returns:
            Real and imaginary parts, float32 (B, n, 2), n = ceil(c·H·W/32): an odd number of
            reals is completed by a zero.
        """
        reals = self.encoder(2 * image - 1).float().flatten(1)
        return functional.pad(reals, (0, reals.shape[1] % 2)).unflatten(1, (-1, 2))

    def decode(self, symbols: Tensor, height: int, width: int) -> Tensor:
        """Picture from equalised symbols.

        Args:
            symbols: (B, n, 2), see :meth:`encode`.
            height: of the picture, a multiple of 4.
            width: the same.

        Returns:
            (B, 3, H, W) in (0, 1).
        """
        shape = (self.config.channels, height // STRIDE, width // STRIDE)
        maps = symbols.flatten(1)[:, : math.prod(shape)].unflatten(1, shape)
        return self.decoder(maps.contiguous(memory_format=torch.channels_last))


def _down(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, stride, padding=2), nn.PReLU())


def _up(inputs: int, outputs: int, stride: int) -> nn.Module:
    layer = nn.ConvTranspose2d(inputs, outputs, 5, stride, padding=2, output_padding=stride - 1)
    return nn.Sequential(layer, nn.PReLU())


def _layers(module: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """Convolutions in the way of the data."""
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def _initial_rms(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Of weights that keep the variance of a signal through the layer and its PReLU."""
    taps = layer.in_channels * 25
    if isinstance(layer, nn.ConvTranspose2d):
        taps //= layer.stride[0] ** 2
    return (_PRELU_GAIN / taps) ** 0.5
