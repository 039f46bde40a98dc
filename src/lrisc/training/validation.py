"""What the averaged weights do with held-out pictures, and a sheet to look at."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from lrisc.files import replace_atomically
from lrisc.latent_link import send
from lrisc.link.draws import Draws
from lrisc.metrics.distortion import psnr, round_to_8_bit
from lrisc.models.entropy import bits, embedding_bits
from lrisc.models.lrisc import Lrisc
from lrisc.models.snr import SnrAdaptive
from lrisc.training.conditions import fixed_link
from lrisc.training.config.schema import LriscStage
from lrisc.training.data.crops import signals
from lrisc.training.data.squares import Squares

_SHEET_ROWS = 6
_BATCH = 4
_SEED = 20240601


@dataclass(frozen=True)
class Validation:
    """Figures and pictures of one validation.

    Attributes:
        figures: ``psnr`` and ``lpips`` (means over all conditions), ``bpp``, and each condition's
            own, such as ``psnr@10dB,cbr=0.0208``; ``open_gates``: the share of the SNR-adaptive
            models' gates that are neither shut nor fully open, and so still learn.
        sheet: (H, W, 3) uint8, a row per picture: source, then one reconstruction per condition.
    """

    figures: dict[str, float]
    sheet: Squares


@contextmanager
def open_gates(model: Lrisc) -> Generator[list[float]]:
    """Collects the share of open gates of every call of f_e's and f_d's SNR-adaptive models."""
    shares: list[float] = []

    def watch(module: nn.Module, args: tuple[Tensor, Tensor]) -> None:
        assert isinstance(module, SnrAdaptive)
        gate = module.gate(*args)
        shares.append(float(((gate > 0.1) & (gate < 1.9)).float().mean()))

    parts = (model.jscc_encoder, model.jscc_decoder)
    handles = [part.snr.register_forward_pre_hook(watch) for part in parts]
    try:
        yield shares
    finally:
        for handle in handles:
            handle.remove()


def validate(
    model: Lrisc, lpips: nn.Module | None, pictures: Squares, config: LriscStage
) -> Validation:
    """Figures of :func:`_decode_all`, with the share of open gates where there is a link."""
    with open_gates(model) as gates:
        found = _decode_all(model, lpips, pictures, config)
    if gates:
        found.figures["open_gates"] = sum(gates) / len(gates)
    return found


def _decode_all(
    model: Lrisc, lpips: nn.Module | None, pictures: Squares, config: LriscStage
) -> Validation:
    """Decode held-out pictures at every SNR and CBR, or from z in stage 1.

    The channel is the training one (payload only, no frame around it); noise is the same every
    time, so that two validations differ by the weights alone.

    Args:
        model: averaged weights.
        lpips: for pictures in [-1, 1]; ``None`` leaves ``lpips`` out.
        pictures: (n, side, side, 3) uint8.
        config: conditions and precision.
    """
    device = next(model.parameters()).device
    conditions: list[tuple[float, float] | None] = [None]
    if config.link.enabled:
        conditions = [(snr, cbr) for cbr in config.validate.cbr for snr in config.validate.snr_db]
    totals: dict[str, float] = {}
    columns: list[list[Tensor]] = [[] for _ in range(len(conditions) + 1)]
    half = config.precision == "bf16"
    for chosen, image in signals(pictures, _BATCH, device):
        columns[0].append(image)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            latent = model.analysis(image).float()
            densities = model.hyperprior(latent, noisy=False)
            total = bits(densities.p_latent) + bits(densities.p_hyper_latent)
            rate = total / (image.shape[2] * image.shape[3])
            totals["bpp"] = totals.get("bpp", 0.0) + float(rate.sum())
            for column, condition in enumerate(conditions, start=1):
                draws = Draws(_SEED, column, range(chosen.start, chosen.stop), device)
                guide, name = latent, ""
                if condition is None:
                    guide = latent + draws.uniform("noise", tuple(latent.shape[1:])) - 0.5
                else:
                    snr, cbr = condition
                    name = f"@{snr:g}dB,cbr={cbr:.4f}"
                    link = fixed_link(len(image), snr, cbr, device)
                    wanted = embedding_bits(densities.p_latent)
                    guide = send(model, latent, wanted, link, draws, config.link.adapt).estimate
                seed = _SEED + chosen.start
                made = model.synthesise(guide, config.validate.steps, seed).float()
                columns[column].append(made)
                unit = round_to_8_bit((made + 1) / 2)
                figures = {"psnr": psnr(unit, ((image + 1) / 2).clamp(0, 1))}
                if lpips is not None:
                    figures["lpips"] = lpips(2 * unit - 1, image).float()
                for key, values in figures.items():
                    for label in {key, key + name}:
                        totals[label] = totals.get(label, 0.0) + float(values.sum())
    n, m = len(pictures), len(conditions)
    mean = {k: v / n / (m if k in ("psnr", "lpips") else 1) for k, v in totals.items()}
    return Validation(mean, sample_sheet([torch.cat(column) for column in columns]))


def sample_sheet(columns: list[Tensor]) -> Squares:
    """Pictures (n, 3, S, S) in [-1, 1] per column, side by side, the first few rows."""
    rows = torch.cat([column[:_SHEET_ROWS] for column in columns], dim=3)
    pixels = ((rows + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).flatten(0, 1).cpu().numpy()


def save_sheet(path: Path, sheet: Squares) -> None:
    """Write the sheet as PNG.

    Raises:
        UnwritableError: the disk is full or the folder not writable.
    """
    replace_atomically(path, lambda to: Image.fromarray(sheet).save(to, format="PNG"))


def better(metric: str, now: float, best: float | None) -> bool:
    """Whether a metric beats the best so far."""
    return best is None or (now < best if metric == "lpips" else now > best)
