"""Sizes of the networks: one dataclass, three presets that differ in numbers only.

A plain dataclass rather than pydantic: training must run on a bare machine that has only torch,
numpy, pillow, pyyaml, safetensors and accelerate.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from lrisc.errors import MAX_START_NOISE, MAX_STEPS, InputError, shown
from lrisc.registry import Registry

LATENT_STRIDE = 16
"""Pixels per side of the patch that one latent embedding stands for."""
RateRule = Literal["paper", "smooth", "uniform"]
"""How k_i follows from the bits, see :func:`lrisc.link.rate_control.shape_bits`."""
LINEAR_STEP = 0.16
"""One unit of a linear channel of the latent, in the units of the picture."""

Steering = Literal["latent", "rate", "both", "power"]
"""What a region's weight gamma is multiplied into, see `lrisc.roi.fusion`."""
STEERINGS: tuple[str, ...] = get_args(Steering)

_FORMER_NAMES = {"initial_noise": "sigma_start"}
"""Names in the configs of older checkpoints."""


_MOST, _MOST_VALUES = 4096, 64
"""Largest number of a config, longest list."""
_MOST_OF = {"blocks": 64, "layers": 64, "heads": 64, "window": 32}
"""Of what is built again and again, or whose memory grows with its fourth power."""
_MOST_INDICES = 2**24
"""Of the tables of the transformer blocks of f_e or f_d, which are no weights: int64."""
_MOST_MULTIPLE = 256
"""Pixels a side that the smallest picture would be padded to."""


def _check_numbers(name: str, value: object) -> None:
    """Whether sizes are whole numbers that a network can have.

    Raises:
        InputError: they are not.
    """
    numbers = cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)
    most = _MOST_OF.get(name.rpartition("_")[2], _MOST)
    whole = all(type(n) is int and 0 <= n <= most for n in numbers)
    if not whole or not 1 <= len(numbers) <= _MOST_VALUES:
        raise InputError(f"{name} must be whole numbers in [0, {most}]")


@dataclass(frozen=True)
class ModelConfig:
    """Numbers that fix the shape of every network.

    Attributes:
        patch: space-to-depth factor in front of g_e and the U-Net (1: pixels as they are).
        analysis_widths: channels of g_e, one per halving from ``patch`` to 16 pixels.
        analysis_blocks: ResNet blocks before each halving.
        analysis_tail_blocks: ResNet blocks at the latent resolution.
        latent_channels: C, length of an embedding z_i.
        hyper_channels: N, channels of the hyper-latent y.
        jscc_blocks: N_e, transformer blocks in f_e and in f_d.
        jscc_heads: attention heads of a transformer block.
        jscc_window: side of an attention window, in embeddings.
        rate_values: V, complex symbols an embedding may get; 2^n values, 0 first, rising.
        snr_layers: fully connected layers of the SNR-adaptive model (SM modules: one fewer).
        snr_hidden: hidden width of an SM module.
        snr_gains: whether every symbol slot also has a gain that follows the SNR, see
            :class:`lrisc.models.snr.SlotGains`.
        rate_layers: whether every rate has an FC layer of its own in f_e and f_d, as in the
            paper, and not the first rows of a common one.
        unet_widths: channels of the U-Net, one per level.
        unet_attention: attention heads per level, 0 for none.
        unet_stem_kernel: kernel of the very first convolution of the U-Net.
        unet_final_blocks: ResNet blocks at the finest level after the last upsampling.
        unet_final_kernel: kernel of the last convolution.
        context_widths: channels of the condition given to the first levels of the U-Net.
        time_channels: width of the time embedding.
        linear_channels: how many channels of the latent, the last ones, also carry a linear
            transform of their patch; the decoder adds another of them to the U-Net's picture.
        sigma_start: standard deviation of x_N that decoding starts from; 0: a zero picture, so
            that one step is all there is to gain.
        decode_steps: DDIM steps of decoding unless the user says otherwise.
        roi_steering: what the background's weight gamma was multiplied into in training, see
            `lrisc.roi.fusion`; empty: no region was ever trained.
        rate_rule: how the transmitter turns bits into symbols.
    """

    patch: int
    analysis_widths: tuple[int, ...]
    analysis_blocks: int
    analysis_tail_blocks: int
    latent_channels: int
    hyper_channels: int
    jscc_blocks: int
    jscc_heads: int
    jscc_window: int
    rate_values: tuple[int, ...]
    snr_hidden: int
    unet_widths: tuple[int, ...]
    unet_attention: tuple[int, ...]
    unet_stem_kernel: int
    unet_final_blocks: int
    unet_final_kernel: int
    context_widths: tuple[int, ...]
    time_channels: int
    sigma_start: float
    linear_channels: int
    rate_rule: RateRule
    snr_layers: int = 8
    snr_gains: bool = False
    rate_layers: bool = False
    decode_steps: int = 1
    roi_steering: Steering | Literal[""] = "power"

    def __post_init__(self) -> None:
        """Reject shapes that do not fit together.

        Raises:
            InputError: with what does not fit.
        """
        switches = ("snr_gains", "rate_layers")
        for name, value in asdict(self).items():
            if name not in ("sigma_start", "roi_steering", "rate_rule", *switches):
                _check_numbers(name, cast(object, value))
        values = self.rate_values
        if len(values) < 2 or len(values) & (len(values) - 1):
            raise InputError(f"rate_values needs 2^n values, got {len(values)}")
        if values[0] != 0 or any(a >= b for a, b in itertools.pairwise(values)):
            raise InputError("rate_values must start at 0 and rise")
        if self.rate_rule not in get_args(RateRule):
            rules = ", ".join(get_args(RateRule))
            raise InputError(f"rate_rule {shown(self.rate_rule)} is none of {rules}")
        for name in switches:
            if type(value := getattr(self, name)) is not bool:
                raise InputError(f"{name} must be true or false, not {shown(value)}")
        number = type(self.sigma_start) in (int, float)
        if not number or not 0 <= self.sigma_start <= MAX_START_NOISE:
            raise InputError(
                f"sigma_start must be in [0, {MAX_START_NOISE}], not {shown(self.sigma_start)}"
            )
        if not 1 <= self.decode_steps <= MAX_STEPS:
            raise InputError(f"decode_steps must be in [1, {MAX_STEPS}], not {self.decode_steps}")
        if self.roi_steering not in ("", *STEERINGS):
            raise InputError(
                f"roi_steering {shown(self.roi_steering)} is none of {', '.join(STEERINGS)}"
            )
        if not 0 <= self.linear_channels <= self.latent_channels:
            raise InputError("linear_channels cannot exceed latent_channels")
        if self.patch * 2 ** len(self.analysis_widths) != LATENT_STRIDE:
            raise InputError("patch · 2^len(analysis_widths) must be 16")
        if len(self.unet_attention) != len(self.unet_widths):
            raise InputError("unet_attention needs one number per U-Net level")
        if not 1 <= self.jscc_window**4 <= _MOST_INDICES // max(self.jscc_blocks, 1):
            raise InputError(
                f"no {self.jscc_blocks} transformer blocks have windows of {self.jscc_window}"
            )
        if self.multiple > _MOST_MULTIPLE:
            raise InputError(f"unet_widths has too many levels: {len(self.unet_widths)}")
        if len(self.context_widths) > len(self.unet_widths):
            raise InputError("context_widths has more levels than the U-Net")
        if self.patch * 2 ** (len(self.context_widths) - 1) > LATENT_STRIDE:
            raise InputError("the condition cannot be coarser than the latent")
        if not self.analysis_tail_blocks and self.analysis_widths[-1] != self.latent_channels:
            raise InputError("without tail blocks the last analysis width is the latent's")

    @property
    def max_symbols(self) -> int:
        """The most complex symbols one embedding may get."""
        return self.rate_values[-1]

    @property
    def multiple(self) -> int:
        """Pictures are padded to a multiple of this many pixels a side."""
        return max(LATENT_STRIDE, self.patch * 2 ** (len(self.unet_widths) - 1))

    def same_networks(self, other: ModelConfig) -> bool:
        """Whether weights fit both; how they are used may differ, and gains can start as 1."""
        names = ("decode_steps", "sigma_start", "roi_steering", "rate_rule", "snr_gains")
        return replace(other, **{name: getattr(self, name) for name in names}) == self

    def to_dict(self) -> dict[str, Any]:
        """The config as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Rebuild a config from :meth:`to_dict`.

        Raises:
            InputError: a name is unknown or missing.
        """
        values = {_FORMER_NAMES.get(name, name): value for name, value in values.items()}
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({f.name for f in fields(cls) if f.default is MISSING} - set(values))
        if missing == ["rate_rule"]:
            # The networks of 0.1 have the same shapes but other borders and another SNR model.
            raise InputError("this checkpoint was made by lrisc 0.1: use that release for it")
        if unknown or missing:
            raise InputError(f"model config: unknown {shown(unknown)}, missing {shown(missing)}")
        plain: dict[str, Any] = {
            k: tuple(cast(list[Any], v)) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**plain)


_RATE_VALUES = (0, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)

_PRESETS = {
    "tiny": ModelConfig(
        patch=4,
        analysis_widths=(24, 32),
        analysis_blocks=1,
        analysis_tail_blocks=1,
        latent_channels=48,
        hyper_channels=24,
        jscc_blocks=1,
        jscc_heads=2,
        jscc_window=8,
        rate_values=_RATE_VALUES,
        snr_hidden=16,
        unet_widths=(24, 32, 48),
        unet_attention=(0, 0, 1),
        unet_stem_kernel=3,
        unet_final_blocks=1,
        unet_final_kernel=3,
        context_widths=(24, 32, 48),
        time_channels=16,
        sigma_start=0.0,
        linear_channels=16,
        rate_rule="paper",
        snr_gains=True,
    ),
    "compact": ModelConfig(
        patch=4,
        analysis_widths=(96, 144),
        analysis_blocks=2,
        analysis_tail_blocks=1,
        latent_channels=160,
        hyper_channels=80,
        jscc_blocks=6,
        jscc_heads=5,
        jscc_window=8,
        rate_values=_RATE_VALUES,
        snr_hidden=64,
        unet_widths=(96, 144, 160),
        unet_attention=(0, 0, 1),
        unet_stem_kernel=3,
        unet_final_blocks=2,
        unet_final_kernel=3,
        context_widths=(64, 128, 160),
        time_channels=64,
        sigma_start=0.0,
        linear_channels=80,
        rate_rule="paper",
        snr_gains=True,
    ),
    "paper": ModelConfig(
        patch=1,
        analysis_widths=(64, 128, 192, 256),
        analysis_blocks=1,
        analysis_tail_blocks=0,
        latent_channels=256,
        hyper_channels=256,
        jscc_blocks=3,
        jscc_heads=8,
        jscc_window=16,
        rate_values=_RATE_VALUES,
        snr_hidden=256,
        unet_widths=(64, 128, 192, 256, 320, 384),
        unet_attention=(1, 1, 1, 1, 1, 1),
        unet_stem_kernel=7,
        unet_final_blocks=0,
        unet_final_kernel=7,
        context_widths=(64, 64, 128, 192),
        time_channels=64,
        sigma_start=0.8,
        linear_channels=0,
        rate_rule="paper",
        decode_steps=8,
    ),
}
PRESETS = Registry("preset", _PRESETS)
"""``tiny`` for tests, ``compact`` for two CPU cores, ``paper`` as published."""
