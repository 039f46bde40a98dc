"""Sionna's blocks of error correction, without the rest of Sionna.

``import sionna.phy.fec`` runs every ``__init__`` on the way, and those import all of Sionna:
channels, MIMO, OFDM, and with them torch's compiler. Here the packages on the way are entered
without their ``__init__``; the modules of the blocks are Sionna's own, unchanged, but get nothing
when they import what plots and interpolates for others (60 MB). Afterwards
``sys.modules`` is as it was: whoever imports Sionna later gets all of it, and a copy of its own.
"""

import builtins
import importlib.util
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from threading import Lock
from types import ModuleType
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
def _packages_without_init() -> Generator[None]:
    compiler: Any = torch.compiler
    disable = compiler.disable
    # A decorator of one method in sionna.phy.fec.crc. It imports the compiler (0.9 s) to keep that
    # method from being compiled, and nobody compiles these copies.
    compiler.disable = _as_it_is
    finder = _Finder()
    sys.meta_path.insert(0, finder)
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
        sys.meta_path.remove(finder)
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


class _Nothing:
    """Stands for a module, and for whatever is taken from it."""

    def __getattr__(self, name: str) -> "_Nothing":
        return self


_UNUSED = ("matplotlib.pyplot", "scipy.interpolate")


def _import(name: str, *given: Any) -> Any:
    return _Nothing() if name in _UNUSED else builtins.__import__(name, *given)


class _Loader(SourceFileLoader):
    """Runs a module whose own imports go through ``_import``; everybody else's do not."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds Sionna's modules for that loader, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith("sionna.phy."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None and not spec.submodule_search_locations:
            spec.loader = _Loader(fullname, spec.origin)
        return spec
