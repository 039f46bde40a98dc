"""How fast a stage trains here: crops/s, time per part, peak memory, achieved FLOP/s.

::

    python -m lrisc.training.bench CONFIG.yaml [key=value ...] [--steps 20] [--warmup 5]
        [--plugin MODULE]

Without ``data`` it trains on random squares; nothing of the run is kept.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lrisc.errors import InputError, LriscError
from lrisc.link.draws import Draws
from lrisc.registry import add_plugin_option, import_plugins
from lrisc.training.agreement import Agreement
from lrisc.training.config.schema import PictureStage
from lrisc.training.loop import Trainer, deterministic, make_accelerator
from lrisc.training.schedule import read_schedule


@dataclass(frozen=True)
class Measurement:
    """What a benchmark found.

    Attributes:
        device: in words.
        crops_per_second: of the real loop, steady state.
        parts: seconds per step of ``data`` (making a batch; overlapped in the loop), ``waiting``
            (what of it the loop waits for), ``forward``, ``backward`` and ``update``.
        step_seconds: of the real loop.
        peak_bytes: memory of the device, or of the process on a CPU.
        flops_per_crop: floating-point operations of forward and backward, uncompiled.
        compiled: whether torch.compile is in use.
    """

    device: str
    crops_per_second: float
    parts: dict[str, float]
    step_seconds: float
    peak_bytes: int
    flops_per_crop: float
    compiled: bool

    def lines(self) -> list[str]:
        """The report."""
        achieved = self.crops_per_second * self.flops_per_crop
        parts = [
            f"{name:>10}: {1e3 * t:8.1f} ms ({t / self.step_seconds:.1%} of a step)"
            for name, t in self.parts.items()
        ]
        return [
            f"device {self.device}, torch {torch.__version__}, compiled: {self.compiled}",
            f"{self.crops_per_second:.1f} crops/s, {1e3 * self.step_seconds:.1f} ms per step",
            *parts,
            f"peak memory {self.peak_bytes / 2**30:.2f} GiB",
            f"{self.flops_per_crop / 1e9:.2f} GFLOP per crop, {achieved / 1e12:.3f} TFLOP/s",
        ]


def measure(config: PictureStage, steps: int, warmup: int) -> Measurement:
    """Run the real loop for some steps, then its parts one by one.

    Args:
        config: of the stage; ``data`` may be empty.
        steps: measured steps.
        warmup: steps before them, compilation included.
    """
    accelerator = make_accelerator(config)
    device = accelerator.device
    with tempfile.TemporaryDirectory() as folder, deterministic(accelerator):
        if not config.data:
            count = max(64, config.batch_size + config.crops.held_out)
            shape = (count, config.crops.square, config.crops.square, 3)
            squares = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            np.save(Path(folder) / "squares.npy", squares)
            crops = replace(config.crops, decode="once")
            config = replace(config, data=(str(Path(folder) / "squares.npy"),), crops=crops)
        config = replace(
            config,
            output=folder,
            parent="",  # the weights do not change the speed
            steps=warmup + steps,
            epochs=0.0,
            schedule="steps",
            log_every=warmup + steps + 1,
            validate=replace(config.validate, minutes=0.0),
            save_minutes=1e9,
        )
        flops = _flops_per_crop(config, device)
        trainer = Trainer(config, accelerator)
        begin, waits = 0.0, 0.0
        upcoming = trainer.batches.start(0, 0.0)
        for step in range(warmup + steps):
            if step == warmup:
                _synchronise(device)
                begin = time.perf_counter()
            start = time.perf_counter()
            batch = upcoming.result()
            upcoming = trainer.batches.start(step + 1, 0.0)
            waits += (time.perf_counter() - start) * (step >= warmup)
            trainer.update(batch, Agreement())
        _synchronise(device)
        step_seconds = (time.perf_counter() - begin) / steps
        parts = _parts(trainer, max(2, steps // 4)) | {"waiting": waits / steps}
        trainer.pool.shutdown()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    return Measurement(
        device=trainer.progress.hardware[-1],
        crops_per_second=config.batch_size / step_seconds,
        parts=parts,
        step_seconds=step_seconds,
        peak_bytes=peak,
        flops_per_crop=flops,
        compiled=trainer.compiled,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _flops_per_crop(config: PictureStage, device: torch.device) -> float:
    """Counted by torch on two crops, without compilation."""
    small = replace(config, batch_size=2, compile=False)
    trainer = Trainer(small, make_accelerator(small))
    batch = [t.to(device) for t in trainer.batches.make(0)]
    counter = FlopCounterMode(display=False)
    with counter:
        loss, _ = trainer.step(*batch, Draws(0, 0, range(2), device), 0)
        loss.backward()
    trainer.pool.shutdown()
    return counter.get_total_flops() / 2


def _parts(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean seconds of each part, alone, with the device drained between them."""
    device, config = trainer.accelerator.device, trainer.config
    half = config.precision == "bf16"
    seconds: dict[str, float] = {}

    def timed(name: str, part: Callable[[], object]) -> None:
        _synchronise(device)
        start = time.perf_counter()
        part()
        _synchronise(device)
        seconds[name] = seconds.get(name, 0.0) + (time.perf_counter() - start) / steps

    for step in range(steps):
        made: list[torch.Tensor] = []
        timed("data", lambda step=step, made=made: made.extend(trainer.batches.make(step)))
        draws = Draws(0, step, trainer.batches.samples, device)

        def forward(made: list[torch.Tensor] = made, draws: Draws = draws, at: int = step) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                batch = [t.to(device) for t in made]
                made.append(trainer.wrapped(*batch, draws, at)[0])

        timed("forward", forward)
        timed("backward", lambda made=made: trainer.accelerator.backward(made[-1]))
        timed("update", trainer.apply_gradient)
    return seconds


def main() -> int:
    """Print a measurement; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lrisc.training.bench", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    add_plugin_option(parser)
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        if min(arguments.steps, arguments.warmup) < 1:
            raise InputError("--steps and --warmup must be at least 1")
        import_plugins(arguments.plugin)
        schedule = read_schedule(arguments.config, arguments.overrides)
        stage = schedule.stages[0]
        if not isinstance(stage, PictureStage):
            raise InputError(f"preset {stage.preset} does not train on pictures alone")
        found = measure(stage, arguments.steps, arguments.warmup)
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(found.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
