"""Things of one kind by their names: channels, schemes, detectors, presets.

Each kind has one :class:`Registry`. A thing gets into it

- from the package itself;
- from any module that adds it, which ``--plugin MODULE`` imports;
- from an installed package, by an entry point in the group of its kind (``lrisc.channels``,
  ``lrisc.schemes``, ``lrisc.detectors``, ``lrisc.presets``), loaded when its name is asked for.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from lrisc.errors import InputError, shown

T = TypeVar("T")


class UnknownNameError(InputError, KeyError):
    """Nothing has this name."""

    def __str__(self) -> str:
        """The message itself; a KeyError would quote it."""
        return str(self.args[0])


class Registry(Mapping[str, T]):
    """Names of one kind, and what they mean.

    Args:
        kind: what to call a thing in errors: "channel".
        things: the package's own.
        modules: those that add more of the package's own, imported on first use.
    """

    def __init__(
        self, kind: str, things: Mapping[str, T] | None = None, modules: Sequence[str] = ()
    ) -> None:
        self.kind = kind
        self.group = f"lrisc.{kind}s"
        self._things = dict(things or {})
        self._modules = modules

    def add(self, name: str, thing: T) -> None:
        """Make a thing available under a name; the last one added counts."""
        self._things[name] = thing

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that adds what it decorates."""

        def decorate(thing: T) -> T:
            self.add(name, thing)
            return thing

        return decorate

    def origin(self, name: str) -> str:
        """Package and version that offer a name by an entry point; "" for any other."""
        entry = None if name in self._things else self._entries().get(name)
        package = None if entry is None else entry.dist
        return "" if package is None else f"{package.name} {package.version}"

    def key(self, name: str) -> str:
        """The name of a thing as it is known: given so, or in other letters, such as AWGN.

        Raises:
            UnknownNameError: nothing has this name.
        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UnknownNameError(f"a {self.kind} is chosen by its name, not by {shown(name)}")
        lower = name.lower()
        if lower != name and name not in self and lower in self:
            return lower
        self[name]
        return name

    def __getitem__(self, name: str) -> T:
        """The thing of a name.

        Raises:
            UnknownNameError: there is none.
            InputError: the installed package that offers it cannot be loaded.
        """
        self._import_modules()
        if name in self._things:
            return self._things[name]
        entry = self._entries().get(name)
        if entry is None:
            raise UnknownNameError(
                f"unknown {self.kind} '{name}'; choose one of {', '.join(self) or 'none'}"
            )
        try:
            thing: T = entry.load()
        # A package may fail to import in any way.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"the {self.kind} {name} cannot be loaded: {reason}") from error
        return thing

    def __iter__(self) -> Iterator[str]:
        """Names: the package's and those of plug-in modules, then those of installed packages."""
        self._import_modules()
        return iter(dict.fromkeys((*self._things, *sorted(self._entries()))))

    def __len__(self) -> int:
        """How many names there are."""
        return sum(1 for _ in self)

    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def _import_modules(self) -> None:
        for module in self._modules:
            import_module(module)


def add_plugin_option(parser: ArgumentParser) -> None:
    """Give a program ``--plugin MODULE``, whose values are for :func:`import_plugins`."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="installed or here, adds a channel, scheme, detector or preset; may be repeated",
    )


def import_plugins(modules: Sequence[str]) -> None:
    """Import modules that add something, installed or in the working directory.

    Raises:
        InputError: one cannot be imported.
    """
    if modules and "" not in sys.path:
        sys.path.insert(0, "")
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise InputError(f"cannot import the plugin {module}: {error}") from error
