"""One folder format for every network: config.json and model.safetensors, never a pickle.

::

    config.json         {"format": F, "lrisc_version": ..., sizes of the networks, facts,
                         "weights_sha256": of the other file, which is checked}
    model.safetensors   one tensor per weight, float16 to ship or float32 to train further
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lrisc._version import __version__
from lrisc.errors import InputError, shown
from lrisc.files import check_regular, write_atomically

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
HASH_KEY = "weights_sha256"
"""Entry of config.json: the SHA-256 of model.safetensors; older folders have none."""
OWN_KEYS = ("format", "lrisc_version", HASH_KEY)
_MAX_CONFIG_BYTES, _MAX_WEIGHTS_BYTES = 2**24, 2**34
_SPARE_VALUES = 2**20  # constants of the networks, which are no weights
_FLOATS = (torch.float16, torch.bfloat16, torch.float32)

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Stored:
    """What a folder holds, checked but for the fit of one to the other.

    Attributes:
        folder: where it was read.
        what: what it is called in errors.
        info: config.json.
        tensors: finite float16, bfloat16 or float32, and what was named besides.
        sha256: of model.safetensors.
    """

    folder: Path
    what: str
    info: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str

    def network(self, make: Callable[[dict[str, Any]], Network]) -> Network:
        """The networks with these weights: float32, frozen, in evaluation mode.

        Args:
            make: from config.json to networks of random weights.

        Raises:
            InputError: config.json describes no networks, or they do not fit the weights.
        """
        try:
            network = self._made(make)
            expected = _floats(network)
            self._check(expected)
        except InputError as error:
            raise InputError(f"{self.what} {self.folder}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise self._no_networks() from error
        except (ArithmeticError, AssertionError, IndexError) as error:
            raise self._no_networks() from error
        # Strict but for counters, which are no weights.
        weights = {name: self.tensors[name].float() for name in expected}
        network.load_state_dict({**network.state_dict(), **weights})
        network.eval().requires_grad_(False)
        # nn.Module.to takes a memory format, its type stub does not know.
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return network

    def _made(self, make: Callable[[dict[str, Any]], Network]) -> Network:
        """Networks to take the weights; sizes are believed once the weights have them."""
        stored = sum(tensor.numel() for tensor in self.tensors.values())
        try:
            with _Frugal(2 * stored + _SPARE_VALUES):
                return make(self.info)
        except _TooManyValuesError:
            # Too large to be right. Without memory, torch says what does not fit, but first takes a
            # second to import its compiler.
            with torch.device("meta"):
                self._check(_floats(make(self.info)))
            raise self._no_networks() from None

    def _check(self, expected: dict[str, Tensor]) -> None:
        for name in sorted(expected.keys() | self.tensors.keys()):
            mine, theirs = self.tensors.get(name), expected.get(name)
            if mine is None or theirs is None or mine.shape != theirs.shape:
                raise InputError(f"the weights do not fit its config: {shown(name)}")

    def _no_networks(self) -> InputError:
        return InputError(f"{self.what} {self.folder}: its config describes no networks")


class _TooManyValuesError(Exception):
    """A network wants more memory than its weights account for."""


class _Frugal(TorchFunctionMode):
    """New tensors of a limited size in all, and no random numbers for weights that are replaced."""

    _MADE = (torch.empty, torch.zeros, torch.ones, torch.full)
    _DRAWN = (nn.init.kaiming_uniform_, nn.init.uniform_, nn.init.normal_)

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in self._DRAWN:
            return args[0] if args else given["tensor"]
        if func in self._MADE:
            first = given.get("size", args[0] if args else ())
            self._left -= math.prod(first if isinstance(first, Sequence) else args)
            if self._left < 0:
                raise _TooManyValuesError
        return func(*args, **given)


def read_info(folder: Path, what: str) -> dict[str, Any]:
    """config.json of a folder.

    Args:
        folder: of a network.
        what: what to call it in errors.

    Raises:
        InputError: it is missing or no JSON object.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise InputError(f"{folder} is not a {what}: {CONFIG_FILE} is missing")
    check_regular(path, f"config of a {what}", _MAX_CONFIG_BYTES)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {shown(str(error))}") from error
    if not isinstance(info, dict):
        raise InputError(f"cannot read {path}: it holds no JSON object")
    return cast(dict[str, Any], info)


def read_folder(
    folder: Path, version: int | str, what: str, besides: Iterable[str] = ()
) -> tuple[Stored, dict[str, Tensor]]:
    """Read and check a folder.

    Args:
        folder: of a network.
        version: the ``format`` it must have.
        what: what to call it in errors.
        besides: names of tensors that are no weights and may have any type.

    Returns:
        The folder, and those of ``besides`` that are there.

    Raises:
        InputError: a file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    info = read_info(folder, what)
    if info.get("format") != version:
        raise InputError(
            f"{folder} holds no {what}: it has another format than {version}, which this version "
            "of lrisc reads"
        )
    path = folder / WEIGHTS_FILE
    if not path.exists():
        raise InputError(f"{folder} is not a {what}: {WEIGHTS_FILE} is missing")
    check_regular(path, f"weights of a {what}", _MAX_WEIGHTS_BYTES)
    try:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if info.get(HASH_KEY, sha256) != sha256:
            raise InputError(
                f"{path} is damaged, or exchanged: its SHA-256 is not the one in {CONFIG_FILE}"
            )
        tensors = load(data)
    # Types that this torch does not have are an AttributeError.
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is damaged: {shown(str(error))}") from error
    others = {name: tensors.pop(name) for name in besides if name in tensors}
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{path} is damaged: {shown(name)} is {kind}, no float")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path} is damaged: {shown(name)} holds values that are not finite")
    return Stored(folder, what, info, tensors, sha256), others


def write_folder(
    folder: Path,
    version: int | str,
    network: nn.Module,
    info: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
    besides: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a folder; each file is complete or untouched.

    Args:
        folder: created if needed.
        version: its ``format``.
        network: its floating-point weights and statistics are stored.
        info: more of config.json: the sizes of the networks, and facts.
        dtype: of the stored weights, float16 to ship them or float32 to train them further.
        besides: other tensors, stored as they are.

    Raises:
        InputError: a weight is not finite or does not fit ``dtype``.
        UnwritableError: the folder is not writable or full.
    """
    from safetensors.torch import save

    tensors = dict(besides or {})
    for name, tensor in _floats(network).items():
        stored = tensor.detach().to("cpu", dtype)
        if not bool(torch.isfinite(stored).all()):
            kind = str(dtype).removeprefix("torch.")
            raise InputError(f"cannot save: {name} holds values that are not finite in {kind}")
        # In the layout of training, channels last, the file would not serialise.
        tensors[name] = stored.contiguous()
    data = save(tensors)
    sha256 = hashlib.sha256(data).hexdigest()
    config = {"format": version, "lrisc_version": __version__, **info, HASH_KEY: sha256}
    write_atomically(folder / WEIGHTS_FILE, data)
    write_atomically(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def _floats(network: nn.Module) -> dict[str, Tensor]:
    return {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
