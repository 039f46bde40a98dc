"""From averaged weights to a checkpoint folder with its model card."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from lrisc._version import __version__
from lrisc.checkpoint import halve_checkpoint, load_checkpoint, save_checkpoint
from lrisc.latent_link import rate_levels
from lrisc.link.draws import Draws
from lrisc.models.lrisc import Lrisc
from lrisc.training.conditions import draw_link
from lrisc.training.config.schema import LriscStage, StageConfig
from lrisc.training.data.crops import signals
from lrisc.training.data.squares import Squares
from lrisc.training.state import Progress
from lrisc.training.statement import card_head, runs_table, write_card

logger = logging.getLogger(__name__)

PLACES = frozenset(
    (
        "output",
        "data",
        "validation",
        "parent",
        "crops.cache",
        "loss.lpips_weights",
        "roi.masks",
        "masks",
        "maps",
    )
)
"""Keys of a config that say where things lie on one machine; no record has them."""
_BATCH = 8


def rate_maps(model: Lrisc, squares: Squares, config: LriscStage) -> list[npt.NDArray[Any]]:
    """Rate maps of whole training squares over the stage's random CBRs.

    Args:
        model: the networks, in evaluation mode.
        squares: (n, side, side, 3) uint8; the first ``config.prior_pictures`` are used.
        config: range of CBRs.

    Returns:
        (h, w) int64 levels, one map per square.
    """
    device = next(model.parameters()).device
    multiple = model.config.multiple
    side = squares.shape[1] // multiple * multiple
    maps: list[npt.NDArray[Any]] = []
    for chosen, image in signals(squares[: config.prior_pictures], _BATCH, device, side):
        draws = Draws(config.draw_seed, -1, range(chosen.start, chosen.stop), device)
        with torch.inference_mode():
            latent = model.analysis(image)
            bits = model.embedding_bits(latent)
            link = draw_link(draws, config.link, config.link.easy_steps)
            levels = rate_levels(bits, link, model.config.rate_values, model.config.rate_rule)
        maps += list(levels.cpu().numpy())
    return maps


def fit_prior_table(model: Lrisc, squares: Squares, config: LriscStage) -> Tensor:
    """The side-information code's table, int32, fitted on :func:`rate_maps`."""
    from lrisc.link.rate_map import RateMapPrior

    levels = len(model.config.rate_values)
    return torch.from_numpy(RateMapPrior.fit(rate_maps(model, squares, config), levels).table)


def stage_record(config: StageConfig, progress: Progress, facts: dict[str, Any]) -> dict[str, Any]:
    """What config.json and the card say about a stage.

    Args:
        config: of the stage.
        progress: of its run.
        facts: about its data.
    """
    return {
        "stage": config.name,
        **facts,
        "parent": "/".join(Path(progress.config["parent"]).parts[-2:]),
        "steps": progress.step,
        "samples": progress.samples,
        "hours": round(progress.seconds / 3600, 4),
        "hardware": progress.hardware,
        "commit": commit(),
        "lrisc_version": __version__,
        "torch_version": str(torch.__version__),
        "config": {k: v for k, v in progress.config.items() if k not in PLACES},
        "validation": progress.validation,
    }


def export(
    folder: Path,
    model: Lrisc,
    records: list[dict[str, Any]],
    prior_table: Tensor | None,
) -> None:
    """Write a checkpoint folder: config.json, model.safetensors and README.md.

    Its weights are float32, so that a next stage goes on from what was trained, not from rounded
    weights; :func:`ship` halves them.

    Args:
        folder: created if needed.
        model: averaged weights.
        records: one per stage, in order, from :func:`stage_record`.
        prior_table: of the side-information code; ``None``: the untrained one.

    Raises:
        LriscError: the folder is not writable or a weight not finite.
    """
    save_checkpoint(folder, model, {"training": records}, prior_table, torch.float32)
    write_card(folder, model_card(model, records, "float32"))


def ship(source: Path, target: Path) -> None:
    """Write a trained checkpoint again with float16 weights, and its card.

    Raises:
        LriscError: no such checkpoint, a weight beyond float16, or a folder not writable.
    """
    halve_checkpoint(source, target)
    loaded = load_checkpoint(target)
    write_card(target, model_card(loaded.model, loaded.info["training"], "float16"))


def model_card(model: Lrisc, records: list[dict[str, Any]], precision: str) -> str:
    """The README.md of a checkpoint: data, effort, losses and figures of every stage."""
    parameters = sum(p.numel() for p in model.parameters())
    hours = sum(r["hours"] for r in records)
    lines = [
        *card_head("LRISC checkpoint"),
        f"{parameters / 1e6:.2f} M parameters, {precision}, lrisc {__version__}. "
        f"{len(records)} training stage(s), {hours:.2f} hours, "
        f"{sum(r['samples'] for r in records):,} crops.",
        "",
        "```python",
        "import lrisc",
        'result = lrisc.transmit("photo.jpg", snr_db=10, cbr=1 / 48, model="THIS FOLDER")',
        "```",
        "",
        "## Training",
        "",
        *runs_table(records),
    ]
    lines += ["", "## Losses and settings", ""]
    for r in records:
        c = r["config"]
        if c.get("stored_latents"):
            lines.append(
                f"- **{r['stage']}** trains {', '.join(c['train'])} on stored latents: squared "
                f"error of the received latent, each channel weighted by what an error in it costs "
                f"in the picture; {_link_text(c)}; {settings(c)}."
            )
            continue
        lines.append(
            f"- **{r['stage']}** trains {', '.join(c['train'])}: (1 - {c['loss.eta']:g}) · "
            f"{c['loss.mse']:g} · MSE + {c['loss.eta']:g} · {c['loss.lpips']:g} · LPIPS "
            f"({c['loss.lpips_backbone']}, v0.1) + {c['loss.rate']:g} · bpp + "
            f"{c['loss.latent']:g} · latent MSE, pixels in [-1, 1], source reconstruction: "
            f"{c['loss.source']}; {_link_text(c)}; {settings(c)}."
        )
    lines += ["", "## Validation", ""]
    for r in records:
        figures = ", ".join(f"{k} {v:.4f}" for k, v in sorted(r["validation"].items()))
        lines.append(f"- **{r['stage']}**: {figures or 'none'}")
    lines += [
        "",
        "Held-out centre crops on AWGN with the averaged weights; LPIPS as in the loss. The CBR "
        "counts the payload only: figures of the whole system come from `lrisc evaluate`.",
        "",
    ]
    return "\n".join(lines)


def settings(c: dict[str, Any]) -> str:
    """Optimiser, batch and the like of a record's config for a model card."""
    crops = "" if c.get("stored_latents") else f"crops of {c['crops.crop']} pixels, "
    return (
        f"{c['optimiser.name']} {c['optimiser.learning_rate']:g}, {c['optimiser.decay']}, batch "
        f"{c['batch_size']}, {crops}{c['precision']}, EMA {c['optimiser.ema']:g}, seed {c['seed']}"
    )


def _link_text(c: dict[str, Any]) -> str:
    if not c["link.enabled"]:
        return "no channel, uniform noise on the latent"
    snr, cbr = c["link.snr_db"], c["link.cbr"]
    return (
        f"SNR {snr[0]:g} to {snr[1]:g} dB, CBR {cbr[0]:.4f} to {cbr[1]:.4f} "
        f"({c['link.beta_fraction']:.0%} at beta {c['link.beta']:g}), "
        f"{channel_shares(c)}, {c['roi.fraction']:.0%} with a region"
    )


def commit() -> str:
    """The commit this code is from: of the checkout, or ``LRISC_COMMIT``, or ``unknown``."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("LRISC_COMMIT", "unknown")


def hardware(device: torch.device, processes: int) -> str:
    """The machine in words, such as ``1 x NVIDIA H100``."""
    if device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name(device)}"
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {name}" + (f", {processes} processes" * (processes > 1))


def channel_shares(c: dict[str, Any]) -> str:
    """Shares of the channels of a record's config for a model card: "80% awgn, 20% rayleigh"."""
    channels = c.get("link.channels")
    if channels is None:  # a record of 0.1
        fading = c["link.rayleigh_fraction"]
        channels = {"awgn": 1 - fading, "rayleigh": fading}
    return ", ".join(f"{share:.0%} {name}" for name, share in channels.items() if share)
