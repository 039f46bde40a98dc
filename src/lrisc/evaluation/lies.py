"""Checkpoints that are lied to: what a mechanism is worth is what a lie about it costs.

Each lie changes one thing that a network is told, and nothing else. A lie that costs nothing says
that the network does not listen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lrisc.checkpoint import LoadedCheckpoint
from lrisc.link.channels import channel
from lrisc.link.frame import Frame, parse_header, preamble
from lrisc.models.lrisc import Lrisc


@dataclass(frozen=True)
class Lie:
    """One lie.

    Attributes:
        name: as tables show it.
        tell: changes networks in place so that they are lied to.
    """

    name: str
    tell: Callable[[Lrisc], None]

    def told_to(self, checkpoint: LoadedCheckpoint) -> LoadedCheckpoint:
        """A copy of a checkpoint whose networks are lied to; frames still name the original."""
        model = copy.deepcopy(checkpoint.model)
        self.tell(model)
        return replace(checkpoint, model=model)


def _snr(shift_db: float, *parts: str) -> Callable[[Lrisc], None]:
    def tell(model: Lrisc) -> None:
        for part in parts:

            def shifted(_: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
                return (*args[:2], args[2] + shift_db)

            model.get_submodule(part).register_forward_pre_hook(shifted)

    return tell


def _uniform_map(model: Lrisc) -> None:
    model.config = replace(model.config, rate_rule="uniform")


def _shuffled_map(model: Lrisc) -> None:
    honest = model.embedding_bits

    def shuffled(latent: Tensor) -> Tensor:
        bits = honest(latent)
        order = torch.randperm(bits[0].numel(), generator=torch.Generator().manual_seed(0))
        return bits.flatten(1)[:, order.to(bits.device)].view_as(bits)

    # An attribute of the instance, found before the method of its class.
    object.__setattr__(model, "embedding_bits", shuffled)


def _no_tokens(model: Lrisc) -> None:
    for part in (model.jscc_encoder, model.jscc_decoder):
        torch.nn.init.zeros_(part.rate_tokens.weight)


def _wrong_time(model: Lrisc) -> None:
    def half(_: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*args[:2], 0.5 * args[2])

    model.unet.register_forward_pre_hook(half)


def without_region(frame: Frame) -> Frame:
    """A frame whose header says that its power is even, although it follows the region."""
    header = parse_header(channel("awgn", snr_db=60)(frame))
    start = preamble(replace(header, power_index=0))
    return replace(frame, symbols=torch.cat([start, frame.symbols[start.numel() :]]))


_BOTH = ("jscc_encoder", "jscc_decoder")
LIES = (
    Lie("f_e told 10 dB less", _snr(-10, "jscc_encoder")),
    Lie("f_e told 10 dB more", _snr(10, "jscc_encoder")),
    Lie("f_d told 10 dB less", _snr(-10, "jscc_decoder")),
    Lie("f_d told 10 dB more", _snr(10, "jscc_decoder")),
    Lie("both told 10 dB less", _snr(-10, *_BOTH)),
    Lie("both told 10 dB more", _snr(10, *_BOTH)),
    Lie("one rate for all", _uniform_map),
    Lie("rate map shuffled", _shuffled_map),
    Lie("rate tokens zeroed", _no_tokens),
    Lie("diffusion time halved", _wrong_time),
)
"""What `scripts/measure_lies.py` measures and `tests/test_mechanisms.py` holds."""
