"""The training state on disk: one safetensors file, replaced atomically.

Tensors are named ``model.*``, ``ema.*`` and ``optimiser.<parameter>.<key>``; everything that is a
number or a name travels as JSON in the same file's metadata, so that state and counters can never
disagree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

from lrisc.checkpoint import EMBEDDED
from lrisc.errors import InputError, shown
from lrisc.files import open_lock, remove_half_written, replace_atomically, told
from lrisc.stored import WEIGHTS_FILE
from lrisc.training.config.read import config_changes
from lrisc.training.config.schema import StageConfig

logger = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
_LOCK_FILE = ".lock"
_PARTS = ("best", "final", "samples")
"""Folders of a run that files are put into by their temporary names."""
_FORMAT = "lrisc-training-1"


@dataclass
class Progress:
    """Counters of a run, over all of its slots.

    Attributes:
        step: optimiser steps done.
        samples: pictures seen.
        seconds: wall time.
        best: best validation metric so far, ``None`` before the first validation.
        skipped: steps whose gradient was not finite.
        skipped_in_row: those since the last finite one.
        sums: figures since the last line of the log.
        config: flattened config of the run.
        data_key: hash of the pictures.
        parent: SHA-256 of the parent's weights; empty: without one, or a state of before 0.8.
        validation: the last validation's figures.
        hardware: descriptions of the machines, in the order they were first used.
        finished: whether ``config`` was trained to its end and its final checkpoint is written.
    """

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best: float | None = None
    skipped: int = 0
    skipped_in_row: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {})
    config: dict[str, Any] = field(default_factory=lambda: {})
    data_key: str = ""
    parent: str = ""
    validation: dict[str, float] = field(default_factory=lambda: {})
    hardware: list[str] = field(default_factory=lambda: [])
    finished: bool = False

    def count(self, batch_size: int, seconds: float, sums: dict[str, float]) -> None:
        """One more step: its pictures, the wall time of the run, and its sums for the log."""
        self.step += 1
        self.samples += batch_size
        self.seconds = seconds
        for name, value in {**sums, "steps": 1.0}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep other trainings out of a run folder; the system lets go of a process that dies.

    What a killed one left half written goes.

    Args:
        folder: created if needed.

    Raises:
        InputError: another training is in it, or its lock is no regular file.
        UnwritableError: it cannot be made.
    """
    with told(f"write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    with open_lock(folder / _LOCK_FILE) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder} is in use by another training; wait for it or choose another output"
            ) from error
        except OSError as error:  # a file system without locks
            logger.warning("cannot lock %s: %s", folder, error.strerror)
        else:
            with told(f"write into {folder}"):
                # Not those below: they may be runs of their own, and going on.
                for part in (folder, *(folder / name for name in _PARTS)):
                    remove_half_written(part)
        yield


def _optimised(model: nn.Module, optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, Any]]:
    """Names of the parameters that have optimiser state, and that state."""
    for name, parameter in model.named_parameters():
        state = optimiser.state.get(parameter)
        if state:
            yield name, state


def save_state(
    path: Path,
    model: nn.Module,
    ema: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Replace the state file.

    Raises:
        UnwritableError: the old file is then intact.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in (("model", model), ("ema", ema)):
        for name, tensor in module.state_dict().items():
            tensors[f"{prefix}.{name}"] = tensor.detach().cpu().contiguous()
    for name, state in _optimised(model, optimiser):
        for key, value in state.items():
            tensors[f"optimiser.{name}.{key}"] = value.detach().cpu().contiguous()
    meta = {"format": _FORMAT, "progress": json.dumps(asdict(progress))}
    replace_atomically(path, lambda to: save_file(tensors, to, meta))


def read_progress(path: Path) -> Progress:
    """Counters of a state file.

    Raises:
        InputError: the file is damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = cast(dict[str, str], file.metadata() or {})
        if meta.get("format") != _FORMAT:
            raise InputError(f"{path} is not a training state of this version")
        progress = Progress(**json.loads(meta["progress"]))
    # Brackets nested too deeply are a RecursionError, which is a RuntimeError.
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"cannot read the training state {path}: {shown(str(error))}") from error
    kinds = {name: type(value) for name, value in vars(Progress(best=0.0)).items()}
    for name, value in vars(progress).items():
        if type(value) is not kinds[name] and not (name == "best" and value is None):
            raise InputError(f"cannot read the training state {path}: {name} is {shown(value)}")
    return progress


def parent_sha256(parent: str) -> str:
    """SHA-256 of the weights in a parent's folder; empty: there are none.

    Raises:
        InputError: they cannot be read.
    """
    for path in (EMBEDDED / parent / WEIGHTS_FILE, Path(parent, WEIGHTS_FILE)):
        if parent and path.is_file():
            try:
                with path.open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror}") from error
    return ""


def parent_changes(progress: Progress, config: StageConfig) -> list[str]:
    """A line where the parent is another one; its folder may have moved, or be gone."""
    before, now = str(progress.config.get("parent", "")), config.parent
    if bool(before) != bool(now):
        return [f"parent: {before or 'none'} -> {now or 'none'}"]
    found = parent_sha256(now)
    if found and progress.parent and found != progress.parent:
        return [f"parent: {now} has other weights than before"]
    return []


def changes_since(
    path: Path, progress: Progress, config: StageConfig, data_key: str | None
) -> list[str]:
    """What differs from the run that a state file is of, one line per key.

    Args:
        path: of the state file.
        progress: what it holds.
        config: the present one.
        data_key: hash of the present pictures; ``None``: not known.

    Raises:
        InputError: something differs and the config does not say ``resume_anyway``.
    """
    changes = config_changes(progress.config, config) + parent_changes(progress, config)
    if data_key is not None and progress.data_key != data_key:
        changes.append("data: other pictures than before")
    if changes and not config.resume_anyway:
        raise InputError(
            f"{path} was trained with another config: {'; '.join(changes)}. Change it "
            "back, choose another output, or add resume_anyway=true"
        )
    return changes


def load_weights(path: Path, prefix: Literal["model", "ema"], module: nn.Module) -> None:
    """Put a state file's weights, or their average, back to the bit.

    Raises:
        InputError: the file does not fit the networks.
    """
    with _opened(path) as file:
        for name, tensor in module.state_dict().items():  # shares the live storage
            # copy_ keeps the memory format of the live tensor; the file has none.
            tensor.copy_(file.get_tensor(f"{prefix}.{name}"))


def load_moments(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put what the optimiser keeps for the weights of a model back, to the bit.

    Raises:
        InputError: the file does not fit the networks.
    """
    with _opened(path) as file:
        stored = set(file.keys())
        for name, parameter in model.named_parameters():
            keys = [k for k in stored if k.startswith(f"optimiser.{name}.")]
            if not keys:
                continue
            state: dict[str, Tensor] = {}
            for stored_key in keys:
                key, tensor = stored_key.rsplit(".", 1)[1], file.get_tensor(stored_key)
                if tensor.shape == parameter.shape:
                    tensor = torch.empty_like(parameter).copy_(tensor)
                state[key] = tensor.to(parameter.device)
            optimiser.state[parameter] = state


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """A state file; what goes wrong with it is an InputError in one line."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"the training state {path} does not fit: {' '.join(str(error).split())}"
        ) from error
