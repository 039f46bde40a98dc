"""Networks on disk: a folder of config.json and model.safetensors, read with mistrust.

What is read has a sensible size, the SHA-256 that was recorded when it was written, only plain
numbers, and the shapes of the network it is for, before that network takes any memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lrisc.errors import InputError, shown
from lrisc.files import check_regular, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
HASH_KEY = "weights_sha256"
"""Entry of config.json: the SHA-256 of model.safetensors."""
MAX_CONFIG_BYTES, MAX_WEIGHTS_BYTES = 2**22, 2**32

_Network = TypeVar("_Network", bound="nn.Module")


@dataclass(frozen=True)
class Stored:
    """A folder in memory.

    Attributes:
        folder: where it is.
        info: what config.json says.
        tensors: by name, all of them finite.
        sha256: of model.safetensors.
    """

    folder: Path
    info: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def read_folder(folder: Path, what: str, version: object) -> Stored:
    """Read both files of a network.

    Args:
        folder: that holds them.
        what: it should be, for errors.
        version: what ``format`` in config.json must say.

    Raises:
        InputError: a file is missing, damaged, of another kind, or not the one recorded.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    for name, limit in ((CONFIG_FILE, MAX_CONFIG_BYTES), (WEIGHTS_FILE, MAX_WEIGHTS_BYTES)):
        if not (folder / name).exists():
            raise InputError(f"{folder} is not a {what}: {name} is missing")
        check_regular(folder / name, what, limit)
    try:
        info = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS_FILE).read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read the {what} {folder}: {shown(str(error))}") from error
    if not isinstance(info, dict) or cast(dict[str, Any], info).get("format") != version:
        raise InputError(
            f"{what} {folder} has another format than {version}, which this version reads"
        )
    info = cast(dict[str, Any], info)
    sha256 = hashlib.sha256(data).hexdigest()
    if info.get(HASH_KEY, sha256) != sha256:
        raise InputError(
            f"{folder / WEIGHTS_FILE} is not the file that {CONFIG_FILE} names by its SHA-256: "
            "damaged, or exchanged"
        )
    try:
        tensors = load(data)
    # Types that this torch does not have are a KeyError or an AttributeError.
    except (SafetensorError, KeyError, AttributeError, RuntimeError, ValueError) as error:
        raise InputError(f"{folder / WEIGHTS_FILE} is damaged: {shown(str(error))}") from error
    plain = (torch.float16, torch.bfloat16, torch.float32, torch.int32, torch.int64)
    for name, tensor in tensors.items():
        if tensor.dtype not in plain:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{what} {folder}: {shown(name)} holds {kind} numbers")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{what} {folder} is damaged: {shown(name)} holds values not finite")
    return Stored(folder, info, tensors, sha256)


def load_into(make: Callable[[], _Network], stored: Stored, what: str) -> _Network:
    """Make a network and give it the weights that were read.

    Args:
        make: builds the network from its config.
        stored: weights of all names and shapes that it has, and no others; whole numbers, such as
            counts of batches, may be missing.
        what: it is, for errors.

    Returns:
        The network in float32, frozen, in evaluation mode.

    Raises:
        InputError: the config describes none, or the weights are of another.
    """
    import torch

    try:
        # Without any memory: a config may ask for more than there is.
        with torch.device("meta"):
            expected = make().state_dict()
    except InputError as error:
        raise InputError(f"{what} {stored.folder}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise InputError(f"{what} {stored.folder}: its config describes no networks") from error
    for name in sorted(expected.keys() | stored.tensors.keys()):
        have, need = stored.tensors.get(name), expected.get(name)
        if have is None and need is not None and not need.is_floating_point():
            continue
        if (
            have is None
            or need is None
            or have.shape != need.shape
            or (have.is_floating_point() != need.is_floating_point())
        ):
            raise InputError(f"{what} {stored.folder} does not fit its config: {shown(name)[1:-1]}")
    network = make()
    weights = {name: tensor.to(expected[name].dtype) for name, tensor in stored.tensors.items()}
    network.load_state_dict(weights, strict=False)
    return network.eval().requires_grad_(False)


def write_folder(folder: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Write both files, each complete or untouched, and the one's SHA-256 into the other.

    Args:
        folder: created if needed.
        tensors: what model.safetensors is to hold.
        info: what config.json is to say besides.

    Raises:
        UnwritableError: the folder is not writable or full.
    """
    from safetensors.torch import save

    data = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    config = {**info, HASH_KEY: hashlib.sha256(data).hexdigest()}
    write_atomically(folder / WEIGHTS_FILE, data)
    write_atomically(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
