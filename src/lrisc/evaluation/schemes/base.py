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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
from torch import Tensor

from lrisc.errors import InputError
from lrisc.link.budget import check_beta, symbol_budget
from lrisc.link.multipath import Mobility
from lrisc.link.ofdm_link import Link, make_link
from lrisc.link.waveform.numerology import SYMBOLS
from lrisc.models.config import Steering
from lrisc.refinement.objective import ObjectiveName
from lrisc.registry import Registry


@dataclass(frozen=True)
class Options:
    """What a sweep says to all of its schemes; each takes what concerns it.

    Attributes:
        roi: region of interest for schemes that have one: a box, "auto", a mask, or a folder of
            masks named as the pictures.
        roi_strength: gamma in (0, 1]; ``None`` for the scheme's own default.
        roi_steering: what gamma weights; ``None`` for what the checkpoint was trained with.
        steps: diffusion steps; ``None`` for what the checkpoint says.
        beta: symbols per bit, for schemes whose rate then follows the picture and keeps no
            ceiling; ``None``: the ceiling rules.
        effort: iterations of the scheme that has them.
        objective: what these improve.
        device: where networks run: ``auto``, ``cpu`` or ``cuda``.
    """

    roi: str | None = None
    roi_strength: float | None = None
    roi_steering: Steering | None = None
    steps: int | None = None
    beta: float | None = None
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

    follows_beta = False
    """Whether a fixed beta may rule the rate instead of a ceiling."""

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


_BETA = "@beta="

SCHEMES: Registry[type[Scheme]] = Registry(
    "scheme",
    modules=[f"lrisc.evaluation.schemes.{module}" for module in ("lrisc", "bpg", "deepjscc")],
)


def split_beta(spec: str) -> tuple[str, float | None]:
    """A scheme's spec without its ``@beta=``, and that beta.

    Raises:
        InputError: it is no number that can be one.
    """
    name, found, text = spec.partition(_BETA)
    if not found:
        return spec, None
    try:
        beta = float(text)
    except ValueError as error:
        raise InputError(f"scheme {spec}: '{text}' is no beta") from error
    check_beta(beta)
    return name, beta


def with_betas(specs: Iterable[str], betas: Sequence[float]) -> list[str]:
    """A spec ``SCHEME@beta=B`` for every beta and every scheme that can follow one.

    Raises:
        InputError: none can.
    """
    able = [spec for spec in specs if SCHEMES[spec.partition(":")[0]].follows_beta]
    if betas and not able:
        raise InputError("--beta: none of --schemes follows a fixed beta; lrisc does")
    return [f"{spec}{_BETA}{beta:g}" for spec in able for beta in betas]


def create_scheme(spec: str, options: Options) -> Scheme:
    """Make the scheme that ``name``, ``name:variant`` or either with ``@beta=0.2`` means.

    Raises:
        InputError: nothing is registered under the name, or it cannot be used.
    """
    plain, beta = split_beta(spec)
    name, colon, variant = plain.partition(":")
    kind = SCHEMES[name]
    if beta is not None:
        if not kind.follows_beta:
            raise InputError(f"scheme {spec}: {name} does not follow a fixed beta")
        options = replace(options, beta=beta)
    try:
        return kind(variant if colon else None, options)
    except InputError as error:
        raise InputError(f"scheme {spec}: {error}") from error
