"""LRISC: a photograph over a noisy channel in very few symbols.

>>> import lrisc
>>> result = lrisc.transmit("photo.jpg", snr_db=10, cbr=1 / 48)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lrisc._version import __version__
from lrisc.errors import InputError, LriscError, OutageError

if TYPE_CHECKING:
    from lrisc.checkpoint import load_checkpoint
    from lrisc.images import load_image
    from lrisc.latent_link import LatentLink
    from lrisc.link.channels import Received, channel
    from lrisc.link.frame import Frame
    from lrisc.system import Receiver, Transmitter
    from lrisc.transmission import TransmitResult, transmit

_LAZY = {
    "Frame": "lrisc.link.frame",
    "LatentLink": "lrisc.latent_link",
    "Received": "lrisc.link.channels",
    "Receiver": "lrisc.system",
    "TransmitResult": "lrisc.transmission",
    "Transmitter": "lrisc.system",
    "channel": "lrisc.link.channels",
    "load_checkpoint": "lrisc.checkpoint",
    "load_image": "lrisc.images",
    "transmit": "lrisc.transmission",
}

__all__ = [
    "Frame",
    "InputError",
    "LatentLink",
    "LriscError",
    "OutageError",
    "Received",
    "Receiver",
    "TransmitResult",
    "Transmitter",
    "__version__",
    "channel",
    "load_checkpoint",
    "load_image",
    "transmit",
]


def __dir__() -> list[str]:
    """The API, whether imported yet or not."""
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the parts that need torch only when they are used."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'lrisc' has no attribute '{name}'")
