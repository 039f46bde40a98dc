"""What can be compared: one small class per scheme, found by its name.

A scheme gets a picture and a condition, and delivers what a receiver would show::

    from lrisc.evaluation.schemes import Condition, Delivery, Picture, Scheme, SCHEMES

    @SCHEMES.register("grey")
    class Grey(Scheme):
        '''Sends nothing.'''

        def send(self, picture: Picture, condition: Condition) -> Delivery:
            return Delivery(torch.full_like(picture.pixels, 0.5), symbols=0)

``lrisc evaluate --plugin MODULE`` imports the module that registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link.budget import symbol_budget
from lrisc.link.multipath import Mobility
from lrisc.link.waveform.link import Link, make_link
from lrisc.link.waveform.numerology import SYMBOLS
from lrisc.refinement.objective import ObjectiveName
from lrisc.registry import Registry


@dataclass(frozen=True)
class Options:
    """What a sweep says to all of its schemes; each takes what concerns it.

    Attributes:
        roi: region of interest for schemes that have one: a box, "auto", a mask, or a folder of
            masks named as the pictures.
        roi_strength: gamma in (0, 1]; ``None`` for the scheme's own default.
        steps: diffusion steps.
        effort: iterations of the scheme that has them.
        objective: what these improve.
        device: where networks run: ``auto``, ``cpu`` or ``cuda``.
    """

    roi: str | None = None
    roi_strength: float | None = None
    steps: int = 1
    effort: int = 0
    objective: ObjectiveName = "perception"
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Picture:
    """What is to be sent.

    Attributes:
        name: its file's name.
        pixels: float32 (3, H, W) in [0, 1], whole multiples of 1/255.
    """

    name: str
    pixels: Tensor

    def budget(self, cbr: float) -> int:
        """Complex symbols that a bandwidth ratio allows for this picture."""
        return symbol_budget(cbr, *self.pixels.shape[-2:])


@dataclass(frozen=True)
class Condition:
    """How a picture is to be sent.

    Attributes:
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: mean Es/N0 per complex symbol, dB.
        cbr: ceiling on all complex symbols, per 3·H·W.
        seed: of everything random; another for every picture and condition.
        waveform: ``symbols``, or one whose receiver estimates everything from samples.
        mobility: delay spread, speed and carrier frequency of channels with paths.
    """

    channel: str
    snr_db: float
    cbr: float
    seed: int
    waveform: str = SYMBOLS
    mobility: Mobility | None = None

    def link(self) -> Link:
        """The channel with its waveform."""
        return make_link(
            self.channel,
            self.snr_db,
            waveform=self.waveform,
            seed=self.seed,
            mobility=self.mobility,
        )


@dataclass(frozen=True, eq=False)
class Delivery:
    """What came out.

    Attributes:
        reconstruction: float (3, H, W) in [0, 1]; ``None`` in an outage.
        symbols: complex symbols that were really sent, everything included.
        note: one line for the row, such as the modulation and coding scheme.
        rate_map: symbols per patch (h, w), where the scheme has one.
        roi_mask: (H, W) in [0, 1], where a region was favoured.
    """

    reconstruction: Tensor | None
    symbols: int
    note: str = ""
    rate_map: npt.NDArray[Any] | None = None
    roi_mask: npt.NDArray[Any] | None = None


class Scheme(ABC):
    """One way of sending pictures.

    Args:
        variant: what follows the colon in ``name:variant``; ``None`` without one.
        options: of the sweep.

    Raises:
        InputError: the variant or an option cannot be used.
    """

    def __init__(self, variant: str | None, options: Options) -> None:
        if variant is not None:
            raise InputError(f"this scheme has no variants such as '{variant}'")

    @property
    def fingerprint(self) -> str:
        """Changes when the scheme's numbers do: other weights, another codec."""
        return ""

    @abstractmethod
    def send(self, picture: Picture, condition: Condition) -> Delivery:
        """Send one picture.

        Raises:
            InputError: it cannot be sent so; the sweep marks the row and goes on.
            OutageError: it was sent and lost.
        """


SCHEMES: Registry[type[Scheme]] = Registry(
    "scheme",
    modules=[f"lrisc.evaluation.schemes.{module}" for module in ("lrisc", "bpg", "deepjscc")],
)


def create_scheme(spec: str, options: Options) -> Scheme:
    """Make the scheme that ``name`` or ``name:variant`` means.

    Raises:
        InputError: nothing is registered under the name, or it cannot be used.
    """
    name, colon, variant = spec.partition(":")
    kind = SCHEMES[name]
    try:
        return kind(variant if colon else None, options)
    except InputError as error:
        raise InputError(f"scheme {spec}: {error}") from error
