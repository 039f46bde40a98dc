"""Sionna's blocks of error correction, without the rest of Sionna.

``import sionna.phy.fec`` runs every ``__init__`` on the way, and those import all of Sionna:
channels, MIMO, OFDM, and with them torch's compiler. Here the packages on the way are entered
without their ``__init__``; the modules of the blocks are Sionna's own, unchanged. Afterwards
``sys.modules`` is as it was: whoever imports Sionna later gets all of it, and a copy of its own.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from sionna.phy.fec.crc import CRCDecoder, CRCEncoder
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import Demapper, Mapper

IMPORTING = Lock()
"""Held while anything of Sionna is imported: two threads that do so at once can deadlock."""


class Blocks(NamedTuple):
    """The classes."""

    crc_encoder: "type[CRCEncoder]"
    crc_decoder: "type[CRCDecoder]"
    ldpc_encoder: "type[LDPC5GEncoder]"
    ldpc_decoder: "type[LDPC5GDecoder]"
    mapper: "type[Mapper]"
    demapper: "type[Demapper]"


@cache
def blocks() -> Blocks:
    """Import them: from Sionna where it is imported already, else alone."""
    with IMPORTING:
        if "sionna" in sys.modules:
            return _blocks()
        try:
            with _packages_without_init():
                return _blocks()
        except (ImportError, AttributeError, TypeError):
            return _blocks()  # a release that is arranged otherwise


def _blocks() -> Blocks:
    from sionna.phy.fec.crc import CRCDecoder, CRCEncoder
    from sionna.phy.fec.ldpc.decoding import LDPC5GDecoder
    from sionna.phy.fec.ldpc.encoding import LDPC5GEncoder
    from sionna.phy.mapping import Demapper, Mapper

    return Blocks(CRCEncoder, CRCDecoder, LDPC5GEncoder, LDPC5GDecoder, Mapper, Demapper)


@contextmanager
def _packages_without_init() -> Iterator[None]:
    compiler: Any = torch.compiler
    disable = compiler.disable
    # A decorator of one method in sionna.phy.fec.crc. It imports the compiler (0.9 s) to keep that
    # method from being compiled, and nobody compiles these copies.
    compiler.disable = _as_it_is
    try:
        phy = _enter("sionna.phy")
        from sionna.phy.config import Precision, config, dtypes

        phy.update(config=config, dtypes=dtypes, Precision=Precision)
        from sionna.phy.object import Object

        phy.update(Object=Object)
        from sionna.phy.block import Block

        phy.update(Block=Block)
        _enter("sionna.phy.fec")
        _enter("sionna.phy.fec.ldpc")
        yield
    finally:
        compiler.disable = disable
        for name in [name for name in sys.modules if name.partition(".")[0] == "sionna"]:
            del sys.modules[name]


def _as_it_is(method: Any) -> Any:
    return method


def _enter(package: str) -> dict[str, Any]:
    """Make a package known whose modules can be imported; returns its names."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ImportError(package)
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    return vars(module)
