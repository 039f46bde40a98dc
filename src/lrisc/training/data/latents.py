"""Latents of training pictures, computed once: what a codec learns from without g_e and g_d."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lrisc.link.draws import Draws
from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import LriscStage
from lrisc.training.data.crops import signals
from lrisc.training.data.opened import TrainingData
from lrisc.training.data.squares import DAMAGED, Squares, cache_of, cached

logger = logging.getLogger(__name__)

_BATCH = 16
_PROBES = 16
"""Pictures that tell what an error in a channel costs."""
_PROBE_SIDE = 128
_PARTS = ("analysis", "hyperprior", "context", "unet")
"""Networks that decide what is stored."""


@dataclass(frozen=True)
class LatentData:
    """Latents of a stage, see :class:`lrisc.training.tasks.base.Data`.

    Attributes:
        pictures: they were made of.
        stored: (n, C + 1, h, w) float16: z, and the bits of every embedding as last channel.
        worth: what a squared error in a channel costs in the loss of the picture, (C,) float32,
            mean 1.
        seed: of the draws.
    """

    pictures: TrainingData
    stored: npt.NDArray[np.float16]
    worth: Tensor
    seed: int

    @property
    def key(self) -> str:
        """Of the pictures."""
        return self.pictures.key

    @property
    def squares(self) -> Squares:
        """The pictures themselves."""
        return self.pictures.squares

    @property
    def held_out(self) -> Squares:
        """Pictures for validation."""
        return self.pictures.held_out

    def __len__(self) -> int:
        """Latents of an epoch."""
        return len(self.stored)

    def batch(self, step: int, samples: range, fraction: float) -> tuple[Tensor, ...]:
        """(B, C + 1, h, w) float16 of random pictures, whatever the fraction that is done."""
        which = Draws(self.seed, step, samples).uniform("latent") * len(self.stored)
        chosen = which.long().clamp(max=len(self.stored) - 1).numpy()
        return (torch.from_numpy(np.stack([self.stored[i] for i in chosen])),)

    def facts(self) -> dict[str, Any]:
        """For the record of a stage."""
        return self.pictures.facts()


def open_latents(
    model: Lrisc, lpips: nn.Module | None, pictures: TrainingData, config: LriscStage
) -> LatentData:
    """Open the latents of a stage's squares, after computing them if needed.

    Args:
        model: whose g_e, hyperprior and g_d are frozen in the stage.
        lpips: for what an error costs; ``None``: the squared error alone.
        pictures: squares that latents are made of, whole.
        config: of the stage.

    Raises:
        InputError: the cache is not writable.
    """

    def make(path: Path, facts: Path) -> None:
        logger.info("storing the latents of %d squares", len(pictures))
        _store(model, pictures.squares, config, path)
        worth = _worth(model, lpips, pictures.squares, config)
        facts.write_text(json.dumps({"worth": worth.tolist()}))

    name = f"latents-{_key(model, pictures, config)[:20]}"
    with cache_of(config.crops) as folder:
        stored, worth = cached(folder, (f"{name}.npy", f"{name}.json"), _read, make)
    return LatentData(pictures, stored, worth, config.draw_seed)


def _key(model: Lrisc, pictures: TrainingData, config: LriscStage) -> str:
    digest = hashlib.sha256(f"{pictures.key} {len(pictures)} {config.precision}".encode())
    digest.update(f"{config.loss.eta} {config.loss.mse} {config.loss.lpips}".encode())
    for part in _PARTS:
        for name, tensor in sorted(model.get_submodule(part).state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, facts: Path) -> tuple[npt.NDArray[np.float16], Tensor] | None:
    """What was stored; ``None`` where there is nothing, or not what was written."""
    if not (path.is_file() and facts.is_file()):
        return None
    try:
        worth = torch.tensor(json.loads(facts.read_text())["worth"], dtype=torch.float32)
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        whole = path.stat().st_size == stored.offset + stored.nbytes
        fits = stored.ndim == 4 and stored.shape[1] == len(worth) + 1
    except (KeyError, TypeError, AttributeError, *DAMAGED) as error:
        logger.warning("the stored latents %s are damaged and are made again: %s", path, error)
        return None
    return (stored, worth) if whole and fits and stored.dtype == np.float16 else None


def _store(model: Lrisc, squares: Squares, config: LriscStage, path: Path) -> None:
    """Latents and bits of all squares, as the stage's precision computes them."""
    device, half = next(model.parameters()).device, config.precision == "bf16"
    side = squares.shape[1] // model.config.multiple * model.config.multiple
    shape = (len(squares), model.config.latent_channels + 1, side // 16, side // 16)
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for chosen, image in signals(squares, _BATCH, device, side):
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            latent = model.analysis(image).float()
            both = torch.cat([latent, model.embedding_bits(latent)[:, None]], dim=1)
        stored[chosen] = both.half().cpu().numpy()
        if chosen.start % (64 * _BATCH) == 0:
            logger.info("%d of %d latents are stored", chosen.start, len(squares))
    stored.flush()


@torch.inference_mode()
def _worth(model: Lrisc, lpips: nn.Module | None, squares: Squares, config: LriscStage) -> Tensor:
    """Rise of the picture's loss per squared error in one channel, (C,), mean 1.

    The error is white noise with a third of the channel's standard deviation: near what a link
    at 10 dB leaves, where LPIPS is far from quadratic.
    """
    device, loss = next(model.parameters()).device, config.loss
    spread = len(squares) // min(len(squares), _PROBES)
    ((_, image),) = signals(squares[::spread][:_PROBES], _PROBES, device, _PROBE_SIDE)
    half = config.precision == "bf16"

    def cost(latent: Tensor) -> float:
        made = model.synthesise(latent).float()
        total = loss.mse * (1 - loss.eta) * float((made - image).square().mean())
        if lpips is not None:
            total += loss.lpips * loss.eta * float(lpips(made, image).float().mean())
        return total

    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        latent = model.analysis(image).float()
        noise = torch.randn(
            latent[:, 0].shape, generator=torch.Generator().manual_seed(config.seed)
        )
        clean, rises = cost(latent), torch.zeros(latent.shape[1])
        for channel in range(latent.shape[1]):
            deviation = (float(latent[:, channel].std()) / 3) or 1e-3
            told = latent.clone()
            told[:, channel] += deviation * noise.to(device)
            rises[channel] = (cost(told) - clean) / deviation**2
    rises = rises.clamp(min=float(rises.clamp(min=0).mean()) / 100)
    return rises / rises.mean()
