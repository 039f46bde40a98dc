"""Checkpoint folders: config.json and model.safetensors, never pickles."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lrisc._version import __version__
from lrisc.errors import InputError
from lrisc.files import write_atomically
from lrisc.models.config import ModelConfig
from lrisc.models.lrisc import Lrisc

if TYPE_CHECKING:
    from lrisc.link.rate_map import RateMapPrior

FORMAT = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
EMBEDDED = Path(__file__).parent / "weights"
_PRIOR = "rate_map_prior"
_OWN_KEYS = ("format", "lrisc_version", "model")


@dataclass(frozen=True)
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

    @property
    def checkpoint_id(self) -> int:
        """First 16 bits of the hash: what a frame's header names the networks by."""
        return int(self.sha256[:4], 16)


def embedded_names() -> list[str]:
    """Names of the checkpoints that come inside the package; baselines and detectors are none."""
    configs = sorted(EMBEDDED.glob(f"*/{CONFIG_FILE}"))
    return [c.parent.name for c in configs if json.loads(c.read_text()).get("format") == FORMAT]


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
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        tensors[name] = _stored(name, tensor, dtype)
    if prior_table is None:
        from lrisc.link.rate_map import RateMapPrior

        default = RateMapPrior.default(len(model.config.rate_values))
        prior_table = torch.from_numpy(default.table)
    tensors[_PRIOR] = prior_table.to("cpu", torch.int32).contiguous()
    config = {
        "format": FORMAT,
        "lrisc_version": __version__,
        "model": model.config.to_dict(),
        **(extra or {}),
    }
    write_atomically(folder / WEIGHTS_FILE, save(tensors))
    write_atomically(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor
    if not bool(torch.isfinite(stored).all()):
        kind = str(dtype).removeprefix("torch.")
        raise InputError(f"cannot save: {name} holds values that are not finite in {kind}")
    return stored.contiguous()


def halve_checkpoint(source: Path, target: Path) -> None:
    """Write a checkpoint of float32 weights again in float16, half its size, to ship it.

    Raises:
        InputError: ``source`` is no checkpoint, or a weight does not fit float16.
        UnwritableError: ``target`` is not writable or full.
    """
    loaded = load_checkpoint(source)
    extra = {k: v for k, v in loaded.info.items() if k not in _OWN_KEYS}
    save_checkpoint(target, loaded.model, extra, torch.from_numpy(loaded.prior.table))


def load_checkpoint(name: str | Path) -> LoadedCheckpoint:
    """Load an embedded name, a folder, or a Hugging Face id (``owner/name``).

    Raises:
        InputError: no such checkpoint, another format, or files that do not fit together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from lrisc.link.rate_map import RateMapPrior

    folder = _locate(name)
    try:
        info = json.loads((folder / CONFIG_FILE).read_text())
        data = (folder / WEIGHTS_FILE).read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} is not a checkpoint: {Path(error.filename).name} is missing"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the checkpoint {folder}: {error}") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise InputError(
            f"checkpoint {folder} has another format than {FORMAT}, which this version reads"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS_FILE} is damaged: {error}") from error
    try:
        model = Lrisc(ModelConfig.from_dict(info["model"]))
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"checkpoint {folder}: its config describes no networks") from error
    prior = tensors.pop(_PRIOR, None)
    expected = model.state_dict()
    wrong = sorted(
        key
        for key in expected.keys() | tensors.keys()
        if key not in tensors or key not in expected or tensors[key].shape != expected[key].shape
    )
    levels = len(model.config.rate_values)
    if wrong or prior is None or prior.shape[-1] != levels:
        raise InputError(
            f"checkpoint {folder} does not fit its config: {wrong[0] if wrong else _PRIOR}"
        )
    bad = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
    if bad:
        raise InputError(f"checkpoint {folder} is damaged: {bad[0]} holds values not finite")
    model.load_state_dict({k: v.to(expected[k].dtype) for k, v in tensors.items()})
    model.eval().requires_grad_(False)
    # nn.Module.to takes a memory format, its type stub does not know.
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return LoadedCheckpoint(
        name=str(name),
        model=model,
        prior=RateMapPrior(prior.numpy()),
        sha256=hashlib.sha256(data).hexdigest(),
        info=info,
    )


def _locate(name: str | Path) -> Path:
    embedded = EMBEDDED / str(name)
    if str(name) in embedded_names():
        return embedded
    folder = Path(name)
    if os.path.isdir(folder):
        return folder
    text = str(name)
    if text.count("/") == 1 and not text.startswith(("/", ".", "~")):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(text, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE]))
        except Exception as error:  # its errors have no common base; any means no checkpoint
            raise InputError(
                f"no checkpoint {text}: not a folder, and Hugging Face did not deliver it"
            ) from error
    raise InputError(
        f"no checkpoint {text}: give one of {', '.join(embedded_names()) or '(none embedded)'}, "
        "a folder, or a Hugging Face id owner/name"
    )
