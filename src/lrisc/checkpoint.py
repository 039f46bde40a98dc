"""Checkpoints of LRISC: names, folders and the Hugging Face Hub to networks in memory."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrisc.device import find_device
from lrisc.errors import InputError
from lrisc.files import UnwritableError, cache_folder, write_atomically
from lrisc.models.config import ModelConfig
from lrisc.models.lrisc import Lrisc
from lrisc.stored import (
    CONFIG_FILE,
    OWN_KEYS,
    WEIGHTS_FILE,
    read_folder,
    read_info,
    write_folder,
)

if TYPE_CHECKING:
    from lrisc.link.rate_map import RateMapPrior

FORMAT = 1
EMBEDDED = Path(__file__).parent / "weights"
_PRIOR = "rate_map_prior"
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@\w[\w.-]*)?", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class LoadedCheckpoint:
    """A checkpoint in memory.

    Attributes:
        name: what it was asked for as.
        model: float32 networks in evaluation mode.
        prior: the entropy model of the rate map.
        sha256: of the weights file.
        info: everything config.json says.
    """

    name: str
    model: Lrisc
    prior: RateMapPrior
    sha256: str
    info: dict[str, Any]

    def __repr__(self) -> str:
        """Name, hash and place; the networks themselves would fill screens."""
        return f"LoadedCheckpoint({self.name!r}, sha256 {self.sha256[:12]}, on {self.device})"

    @property
    def checkpoint_id(self) -> int:
        """First 16 bits of the hash: what a frame's header names the networks by."""
        return int(self.sha256[:4], 16)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.model.parameters()).device

    def to(self, device: str) -> LoadedCheckpoint:
        """Move the networks to ``auto``, ``cpu`` or ``cuda``; returns the checkpoint itself.

        Raises:
            InputError: there is no such device.
        """
        self.model.to(find_device(device))
        return self


def embedded_names(version: int | str = FORMAT) -> list[str]:
    """Names of the networks of a format that come inside the package: LRISC's checkpoints."""
    folders = sorted(config.parent for config in EMBEDDED.glob(f"*/{CONFIG_FILE}"))
    return [f.name for f in folders if read_info(f, "checkpoint").get("format") == version]


def save_checkpoint(
    folder: Path,
    model: Lrisc,
    extra: Mapping[str, Any] | None = None,
    prior_table: Tensor | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a checkpoint folder; each file is complete or untouched.

    Args:
        folder: created if needed.
        model: the networks.
        extra: more entries for config.json (training facts).
        prior_table: ``RateMapPrior.table``, int32; default: the untrained prior's.
        dtype: of the stored weights, float16 to ship them or float32 to train them further.

    Raises:
        InputError: a weight is not finite or does not fit ``dtype``.
        UnwritableError: the folder is not writable or full.
    """
    if prior_table is None:
        from lrisc.link.rate_map import RateMapPrior

        default = RateMapPrior.default(len(model.config.rate_values))
        prior_table = torch.from_numpy(default.table)
    info = {"model": model.config.to_dict(), **(extra or {})}
    besides = {_PRIOR: prior_table.to("cpu", torch.int32).contiguous()}
    write_folder(folder, FORMAT, model, info, dtype, besides)


def halve_checkpoint(source: Path, target: Path) -> None:
    """Write a checkpoint of float32 weights again in float16, half its size, to ship it.

    Raises:
        InputError: ``source`` is no checkpoint, or a weight does not fit float16.
        UnwritableError: ``target`` is not writable or full.
    """
    loaded = load_checkpoint(source)
    extra = {k: v for k, v in loaded.info.items() if k not in (*OWN_KEYS, "model")}
    save_checkpoint(target, loaded.model, extra, torch.from_numpy(loaded.prior.table))


def load_checkpoint(name: str | Path, device: str = "cpu") -> LoadedCheckpoint:
    """Load an embedded name, a folder, or a Hugging Face id (``owner/name``).

    An id may name a revision, ``owner/name@COMMIT``; what it delivers must then stay the same.

    Args:
        name: of the checkpoint.
        device: where its networks run: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: no such device or checkpoint, another format, or files that do not fit together.
    """
    from lrisc.link.rate_map import RateMapPrior

    where = find_device(device)
    stored, others = read_folder(_locate(name), FORMAT, "checkpoint", (_PRIOR,))
    model = stored.network(lambda info: Lrisc(ModelConfig.from_dict(info["model"])))
    prior = others.get(_PRIOR)
    levels = len(model.config.rate_values)
    if prior is None or prior.dtype != torch.int32 or prior.shape[-1:] != (levels,):
        raise InputError(f"checkpoint {stored.folder} does not fit its config: {_PRIOR}")
    try:
        code = RateMapPrior(prior.numpy())
    except (InputError, ValueError, IndexError) as error:
        raise InputError(f"checkpoint {stored.folder} is damaged: {_PRIOR}: {error}") from error
    if _HUB_ID.fullmatch(str(name)) and not os.path.isdir(name):
        _remember(str(name), stored.sha256)
    model = model.to(where)
    return LoadedCheckpoint(str(name), model, code, stored.sha256, stored.info)


def _locate(name: str | Path) -> Path:
    embedded = EMBEDDED / str(name)
    if str(name) in embedded_names():
        return embedded
    folder = Path(name)
    if os.path.isdir(folder):
        return folder
    text = str(name)
    if _HUB_ID.fullmatch(text):
        from huggingface_hub import snapshot_download

        repository, _, revision = text.partition("@")
        files = [CONFIG_FILE, WEIGHTS_FILE]
        try:
            return Path(
                snapshot_download(repository, revision=revision or None, allow_patterns=files)
            )
        except Exception as error:  # its errors have no common base; any means no checkpoint
            raise InputError(
                f"no checkpoint {text}: not a folder, and Hugging Face did not deliver it"
            ) from error
    raise InputError(
        f"no checkpoint {text}: give one of {', '.join(embedded_names()) or '(none embedded)'}, "
        "a folder, or a Hugging Face id owner/name"
    )


def _remember(name: str, sha256: str) -> None:
    """Keep the hash of what an id delivered, and tell when it delivers something else.

    Raises:
        InputError: another file than before under the same revision.
    """
    path = cache_folder() / "hub-hashes.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        known = dict(json.loads(path.read_text()))
    before = known.get(name, sha256)
    if before != sha256:
        changed = f"{name} delivered weights {str(before)[:12]} before, now {sha256[:12]}"
        if "@" in name:
            raise InputError(f"{changed}: a revision does not change; remove {path} to accept it")
        _log.warning("%s: name a revision (%s@COMMIT) to keep to one", changed, name)
    try:
        write_atomically(path, json.dumps({**known, name: sha256}, indent=2).encode())
    except UnwritableError as error:
        _log.warning("the hash of %s is not kept: %s", name, error)
