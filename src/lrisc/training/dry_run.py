"""What a run would cost, found out without running it: ``lrisc train CONFIG --dry-run``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from lrisc.errors import InputError
from lrisc.link.draws import Draws
from lrisc.models.config import LATENT_STRIDE, PRESETS
from lrisc.training.config.schema import LriscStage, PictureStage, StageConfig
from lrisc.training.export import hardware
from lrisc.training.loop import deterministic, make_accelerator
from lrisc.training.schedule import Schedule
from lrisc.training.tasks import make_task
from lrisc.training.tasks.base import Task
from lrisc.training.tasks.codec import CodecStep
from lrisc.training.tasks.lrisc import LriscTask

_FLOAT = 4


@dataclass(frozen=True)
class StageCost:
    """Cost of one stage.

    Attributes:
        name: of the stage.
        parameters: of all networks.
        trained: of those that learn.
        steps: of the optimiser; ``None`` where they follow pictures and none are named.
        batch: crops per step, over all processes.
        weight_bytes: weights, averages, gradients and moments of a process.
        activation_bytes: what forward keeps for backward, for a process's share of a batch.
        step_seconds: of a whole batch, on this machine's processes.
        minutes: wall time the config itself prescribes, where it follows time; else 0.
    """

    name: str
    parameters: int
    trained: int
    steps: int | None
    batch: int
    weight_bytes: int
    activation_bytes: int
    step_seconds: float
    minutes: float

    @property
    def hours(self) -> float | None:
        """Wall time of the stage."""
        if self.minutes:
            return self.minutes / 60
        return None if self.steps is None else self.steps * self.step_seconds / 3600


def dry_run(schedule: Schedule) -> list[str]:
    """Lines that say what every stage, and all of them, would take on this machine.

    One picture goes forward and backward twice, of which the second counts; a process's share of
    the batch is taken to need that times its pictures: at most, for a batch fills what one picture
    leaves idle. Moving the weights, validation and saving are not in it.

    Raises:
        InputError: the pictures cannot be used.
    """
    accelerator = make_accelerator(schedule.stages[0])
    processes, device = accelerator.num_processes, accelerator.device
    with deterministic(accelerator):
        costs = [_cost(stage, processes, device) for stage in schedule.stages]
    lines = [f"on {hardware(device, processes)}, torch {torch.__version__}; nothing is trained"]
    for cost in costs:
        memory = cost.weight_bytes + cost.activation_bytes
        steps = "unknown steps (name data=...)" if cost.steps is None else f"{cost.steps:,} steps"
        lines += [
            f"{cost.name}:",
            f"  {cost.parameters / 1e6:.1f} M parameters, {cost.trained / 1e6:.1f} M trained",
            f"  {steps} of {cost.batch} crops",
            f"  {memory / 2**30:.2f} GiB a process: {cost.weight_bytes / 2**30:.2f} weights, "
            f"averages, gradients and moments, {cost.activation_bytes / 2**30:.2f} activations",
            f"  {cost.step_seconds:.3g} s a step: {_duration(cost.hours)}",
        ]
    known = [cost.hours for cost in costs if cost.hours is not None]
    rest = "" if len(known) == len(costs) else " and the stages of unknown length"
    lines.append(f"the whole schedule: {_duration(sum(known))}{rest}")
    return lines


def _cost(config: StageConfig, processes: int, device: torch.device) -> StageCost:
    if config.batch_size % processes:
        raise InputError(f"batch_size: {config.batch_size} is not a multiple of {processes}")
    if not isinstance(config, PictureStage):
        raise InputError(f"preset {config.preset} does not train on pictures alone: no dry run")
    share = config.batch_size // processes
    task, step = _anew(replace(config, compile=False))
    seconds, kept = _measure(step.to(device), _sample(config, device), config, device)
    total = sum(p.numel() for p in task.model.parameters())
    trained = sum(p.numel() for p in task.model.parameters() if p.requires_grad)
    moments = 2 if config.optimiser.name != "muon" else 1
    return StageCost(
        name=config.name,
        parameters=total,
        trained=trained,
        steps=_steps(config, task),
        batch=config.batch_size,
        weight_bytes=_FLOAT * (2 * total + (1 + moments) * trained),
        activation_bytes=kept * share,
        step_seconds=seconds * share,
        minutes=config.total_minutes if config.schedule == "time" else 0.0,
    )


def _anew(config: PictureStage) -> tuple[Task, nn.Module]:
    """A stage's task and step with random weights: its parent need not be there yet."""
    if isinstance(config, LriscStage) and config.stored_latents:
        task = LriscTask(replace(config, parent="", stored_latents=False))
        return task, CodecStep(task.model, task.lpips, config)
    task = make_task(replace(config, parent=""))
    return task, task.step


def _sample(config: PictureStage, device: torch.device) -> Tensor:
    """What a step takes for one picture."""
    if isinstance(config, LriscStage) and config.stored_latents:
        model = PRESETS[config.preset]
        side = config.crops.square // model.multiple * model.multiple // LATENT_STRIDE
        shape = (1, model.latent_channels + 1, side, side)
        return torch.rand(shape, dtype=torch.float16, device=device)
    shape = (1, 3, config.crops.crop, config.crops.crop)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)


def _steps(config: StageConfig, task: Task) -> int | None:
    if config.epochs > 0 and not config.data:
        return None
    return config.steps_on(len(task.data) if config.epochs > 0 else 0)


def _measure(
    step: nn.Module, picture: Tensor, config: PictureStage, device: torch.device
) -> tuple[float, int]:
    """Seconds of one picture's forward and backward, and bytes kept between the two."""
    half = config.precision == "bf16"
    inputs = {
        t.untyped_storage().data_ptr() for t in chain(step.parameters(), step.buffers(), [picture])
    }
    seconds = 0.0
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in inputs:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def give(tensor: Tensor) -> Tensor:
        return tensor

    for number in range(2):
        kept.clear()
        start = time.perf_counter()
        hooks: Any = torch.autograd.graph.saved_tensors_hooks(keep, give)
        with hooks, torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss, _ = step(picture, Draws(0, number, range(1), device), 0)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
        step.zero_grad(set_to_none=True)
    return seconds, sum(kept.values())


def _duration(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    if hours < 1:
        return f"{60 * hours:.1f} minutes"
    return f"{hours:.1f} hours" if hours < 100 else f"{hours / 24:,.0f} days"
