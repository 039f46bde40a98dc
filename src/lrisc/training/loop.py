"""The training loop: one stage, from its config to its checkpoint, resumable to the bit."""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from lrisc.errors import InputError, LriscError
from lrisc.files import replace_atomically
from lrisc.link.draws import Draws
from lrisc.training.agreement import Agreement, agree
from lrisc.training.config.schema import StageConfig, flatten
from lrisc.training.ema import Ema
from lrisc.training.export import hardware, stage_record
from lrisc.training.muon import Muon
from lrisc.training.reporting import Reporter, board_errors_once
from lrisc.training.state import (
    STATE_FILE,
    Progress,
    changes_since,
    load_moments,
    load_weights,
    parent_changes,
    parent_sha256,
    read_progress,
    save_state,
)
from lrisc.training.tasks import data_key, make_task
from lrisc.training.tasks.base import Data
from lrisc.training.validation import better, save_sheet

logger = logging.getLogger(__name__)

Outcome = Literal["finished", "out of time", "interrupted"]
_MAX_SKIPPED = 10
_PATIENCE = timedelta(days=1)
"""How long processes wait for the one that decodes, stores latents, validates or exports."""
_NAMES = ("pictures", "targets")
_HALF_MAX = torch.finfo(torch.float16).max


class DivergedError(LriscError):
    """The loss or the gradient is not finite; the message says where the batch was saved."""


class Slot:
    """The wall time this call may take, and whether a signal has asked to stop.

    Args:
        max_minutes: 0: no limit.
    """

    def __init__(self, max_minutes: float) -> None:
        self._end = time.monotonic() + 60 * max_minutes if max_minutes > 0 else math.inf
        self.interrupted = False
        self._at_once = False

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    @contextmanager
    def signals(self) -> Generator[None]:
        """Turn the first SIGTERM or SIGINT into a request to stop; the second one kills."""
        numbers = (signal.SIGTERM, signal.SIGINT)

        def stop(number: int, _: Any) -> None:
            self.interrupted = True
            signal.signal(number, signal.SIG_DFL)
            if self._at_once:
                raise KeyboardInterrupt

        try:
            before = {number: signal.signal(number, stop) for number in numbers}
        except ValueError:  # not in the main thread, which gets the signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Generator[None]:
        """Let a signal end what is inside as a KeyboardInterrupt, for nothing would be lost."""
        self._at_once = True
        try:
            if self.interrupted:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False


def make_accelerator(config: StageConfig) -> Accelerator:
    """Devices and processes of this run, as torchrun or accelerate launch started it.

    Nothing else is taken from there: how gradients are made is said by the config alone.
    """
    return Accelerator(
        cpu=config.device == "cpu" or not torch.accelerator.is_available(),
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_backend="no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )


@contextmanager
def deterministic(accelerator: Accelerator) -> Generator[None]:
    """Bit-exact kernels on CPUs while training; on GPUs they would cost speed."""
    before = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    # A module whose property pyright does not see.
    module: Any = torch.utils.deterministic
    fill = module.fill_uninitialized_memory
    if accelerator.device.type == "cpu":
        torch.use_deterministic_algorithms(True, warn_only=True)
        module.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=lenient)
        module.fill_uninitialized_memory = fill


Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Batches:
    """What this process learns from, a pure function of the step; the next is made meanwhile."""

    data: Data
    samples: range
    pool: ThreadPoolExecutor

    def make(self, step: int, fraction: float = 0.0) -> Batch:
        batch = self.data.batch(step, self.samples, fraction)
        return tuple(t.pin_memory() for t in batch) if torch.cuda.is_available() else batch

    def start(self, step: int, fraction: float) -> Future[Batch]:
        return self.pool.submit(self.make, step, fraction)


class Trainer:
    """One stage.

    ::

        squares ─ crops ─► task.step ─► loss ─► gradient ─► clip ─► optimiser ─► average
        every save_minutes: state.safetensors · every validate.minutes: figures, sheet, best/
        at the end: final/

    Args:
        config: of the stage.
        accelerator: devices and processes.

    Raises:
        InputError: the data, parent or saved state cannot be used.
    """

    def __init__(self, config: StageConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator
        self.folder = Path(config.output)
        self.task = make_task(config)
        model, device = self.task.model, accelerator.device
        self.step = self.task.step.to(device)
        state = self.folder / STATE_FILE
        resumed = state.is_file()
        if resumed:
            # Before the data, which may be made with the networks: latents.
            self.progress = self._resume(state)
        # One process per machine decodes pictures; the others find the finished cache.
        with accelerator.local_main_process_first():
            self.data = self.task.data
        samples = self._samples()
        if not resumed:
            self.task.start()
            self.progress = self._begin()
        self.model = model
        self.progress.data_key = self.data.key
        self.ema = Ema(model, config.optimiser.ema)
        self.optimiser = self._make_optimiser()
        if resumed:
            load_weights(state, "ema", self.ema.model)
            load_moments(state, model, self.optimiser)
        self.compiled = config.compile and self.task.compile(device)
        self.wrapped: Any = accelerator.prepare_model(self.step)
        self.pool = ThreadPoolExecutor(1)
        self.batches = _Batches(self.data, samples, self.pool)
        self.total_steps = config.steps_on(len(self.data))
        self._save_seconds = 0.0

    def _samples(self) -> range:
        """This process's share of the joint batch."""
        joint, processes = self.config.batch_size, self.accelerator.num_processes
        if joint % processes:
            raise InputError(f"batch_size: {joint} is not a multiple of {processes} processes")
        share = joint // processes
        first = self.accelerator.process_index * share
        return range(first, first + share)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        options = self.config.optimiser
        fused = self.accelerator.device.type in ("cpu", "cuda")
        rate, betas, decay = options.learning_rate, options.betas, options.weight_decay
        if options.name == "muon":
            return Muon(self.model, rate, betas, decay, fused)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if options.name == "adamw":
            return torch.optim.AdamW(trained, rate, betas, weight_decay=decay, fused=fused)
        return torch.optim.Adam(trained, rate, betas, fused=fused)

    def _begin(self) -> Progress:
        """Counters of a run that starts."""
        parent = parent_sha256(self.config.parent)
        return self._as_now(Progress(parent=parent), flatten(self.config))

    def _resume(self, path: Path) -> Progress:
        """Counters of a run that was stopped; its weights go into the networks."""
        progress, now = read_progress(path), flatten(self.config)
        for change in changes_since(path, progress, self.config, data_key(self.config)):
            logger.warning("resuming with a changed config: %s", change)
        load_weights(path, "model", self.task.model)
        logger.info("resuming %s at step %d", self.config.name, progress.step)
        if parent_changes(progress, self.config):
            now["parent"] = progress.config["parent"]  # of what goes on, and in its record
        elif not progress.parent:
            progress.parent = parent_sha256(self.config.parent)
        return self._as_now(progress, now)

    def _as_now(self, progress: Progress, config: dict[str, Any]) -> Progress:
        """Counters with what is trained from here on."""
        here = hardware(self.accelerator.device, self.accelerator.num_processes)
        if here not in progress.hardware:
            progress.hardware.append(here)
        progress.config, progress.finished = config, False
        return progress

    @property
    def fraction(self) -> float:
        """Share of the schedule that is done."""
        return self._fraction_at(self.progress.step)

    def _fraction_at(self, step: int) -> float:
        """The same before a step; of a schedule that follows time, as far as is known now."""
        if self.config.schedule == "time":
            return self.progress.seconds / (60 * self.config.total_minutes)
        return step / self.total_steps

    def learning_rate(self) -> float:
        """Linear warm-up, then cosine to zero or constant."""
        options = self.config.optimiser
        warm = min(1.0, (self.progress.step + 1) / max(1, options.warmup_steps))
        decay = 1.0
        if options.decay == "cosine":
            decay = 0.5 * (1 + math.cos(math.pi * min(1.0, self.fraction)))
        return options.learning_rate * warm * decay

    def run(self, slot: Slot) -> Outcome:
        """Train until the schedule ends, the slot is over or a signal comes.

        Raises:
            DivergedError: a loss that is not finite; the batch is saved.
            UnwritableError: the state cannot be saved; the last one is intact.
        """
        with self.pool, self._reporter() as reporter:
            outcome = self._train(slot, reporter)
            if outcome != "finished":
                self._save()
                return outcome
            self._validate(reporter)
            self._save()
            self._export(self.folder / "final", final=True)
            # Only now: a run that is killed in its export goes on with the export.
            self.progress.finished = True
            self._save()
        self.accelerator.wait_for_everyone()
        return "finished"

    @contextmanager
    def _reporter(self) -> Generator[Reporter | None]:
        if not self.accelerator.is_main_process:
            yield None
            return
        name, step = self.config.name, self.progress.step
        with board_errors_once(), Reporter(self.folder, name, step) as reporter:
            yield reporter

    def _train(self, slot: Slot, reporter: Reporter | None) -> Outcome:
        config, progress = self.config, self.progress
        saved = validated = logged = time.monotonic()
        waiting = 0.0
        before, start = progress.seconds, time.monotonic()
        upcoming = self.batches.start(progress.step, self.fraction)
        if self.compiled and self.fraction < 1 and not self._compile(upcoming.result(), slot):
            return "interrupted"
        while self.fraction < 1:
            asked = time.monotonic()
            batch = upcoming.result()
            # As a run that is resumed at that step has it.
            upcoming_at = self._fraction_at(progress.step + 1)
            if upcoming_at < 1:
                upcoming = self.batches.start(progress.step + 1, upcoming_at)
            waiting += time.monotonic() - asked
            now = time.monotonic()
            wish = Agreement(
                over=slot.left() < self._save_seconds,
                save=now - saved >= 60 * config.save_minutes,
                validate=0 < 60 * config.validate.minutes <= now - validated,
                interrupted=slot.interrupted,
                seconds=before + now - start,
            )
            agreed = self.update(batch, wish)

            if progress.step % config.log_every == 0:
                self._check_range()
                line = self._log_line(time.monotonic() - logged, waiting)
                logged, waiting = time.monotonic(), 0.0
                if reporter is not None:
                    reporter.log(progress.step, line)
            if reporter is not None:
                reporter.advance(self.fraction)
            if agreed.validate and self.fraction < 1:
                self._validate(reporter)
                validated = time.monotonic()
            if agreed.interrupted or agreed.over:
                return "interrupted" if agreed.interrupted else "out of time"
            if agreed.save:
                self._save()
                saved = time.monotonic()
        return "finished"

    def _compile(self, batch: Batch, slot: Slot) -> bool:
        """Compile by a step that changes nothing; returns whether that was done."""
        logger.info("compiling, this takes minutes")
        statistics = [buffer.clone() for buffer in self.step.buffers()]
        try:
            with slot.at_once():
                self._backward(batch)
        except KeyboardInterrupt:
            return False
        except Exception:
            # Ctrl-C ends every process of a terminal, compilers too, and torch says so at length.
            if slot.interrupted:
                return False
            raise
        finally:
            self.optimiser.zero_grad(set_to_none=True)
            for buffer, before in zip(self.step.buffers(), statistics, strict=True):
                buffer.copy_(before)
        return True

    def update(self, batch: Batch, wish: Agreement) -> Agreement:
        """Forward, backward, update.

        Args:
            batch: what the data made for this step.
            wish: what this process's clock and signals ask for.

        Returns:
            What all processes agree on.
        """
        loss, terms = self._backward(batch)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.optimiser.clip, foreach=True)
        figures = {"loss": loss, "norm": norm, **terms}
        agreed, sums = agree(self.accelerator, wish, figures)
        for name in ("loss", "norm"):
            sums[name] /= self.accelerator.num_processes
        if not math.isfinite(sums["loss"]):
            reason = f"the loss is {sums['loss']}"
            self._stop_diverged(batch, bool(torch.isfinite(loss)), reason)
        if math.isfinite(sums["norm"]):
            self.apply_gradient()
            self.progress.skipped_in_row = 0
        else:
            self._skip_gradient(batch)
        self.progress.count(self.config.batch_size, agreed.seconds, sums)
        return agreed

    def _backward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Detached loss and terms of this process's crops; the gradients are in the parameters."""
        config, step, device = self.config, self.progress.step, self.accelerator.device
        batch = tuple(t.to(device, non_blocking=True) for t in batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        draws = Draws(config.draw_seed, step, self.batches.samples, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            loss, terms = self.wrapped(*batch, draws, step)
        self.accelerator.backward(loss)
        return loss.detach(), terms

    def apply_gradient(self) -> None:
        """Move the weights, and their average."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.ema.update(self.progress.step)

    def _skip_gradient(self, batch: Batch) -> None:
        """Leave the weights as they are; too many of these in a row end the run."""
        progress = self.progress
        progress.skipped += 1
        progress.skipped_in_row += 1
        logger.warning("step %d: the gradient is not finite, update skipped", progress.step)
        if progress.skipped_in_row >= _MAX_SKIPPED:
            reason = f"{_MAX_SKIPPED} gradients in a row are not finite"
            self._stop_diverged(batch, False, reason)
        self.optimiser.zero_grad(set_to_none=True)

    def _log_line(self, seconds: float, waiting: float) -> dict[str, float]:
        """Means since the last line; what no picture was in is left out."""
        sums = self.progress.sums
        self.progress.sums = {}
        steps, batch = sums["steps"], max(1.0, sums["batch"])
        means: dict[str, float] = {}
        for name, total in sums.items():
            term, _, group = name.partition("@")
            count = sums[f"count@{group}"] if group else batch
            if term not in ("loss", "norm", "steps", "batch", "count") and count:
                means[name] = total / count
        return {
            "loss": sums["loss"] / steps,
            **means,
            "gradient_norm": sums["norm"] / steps,
            "learning_rate": self.learning_rate(),
            "crops_per_second": batch / seconds,
            "data_share": waiting / seconds,
        }

    def _check_range(self) -> None:
        """Stop as soon as a weight leaves float16, in which checkpoints are shipped.

        Raises:
            DivergedError: which one.
        """
        named = [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
        norms: Any = torch._foreach_norm([p.detach() for _, p in named], math.inf)  # pyright: ignore
        largest = torch.stack(list(norms)).tolist()
        for (name, _), value in zip(named, largest, strict=True):
            if not value <= _HALF_MAX:
                raise DivergedError(
                    f"{self.config.name}: at step {self.progress.step} a weight of {name} is "
                    f"{value:.4g}, beyond the {_HALF_MAX:g} of float16, in which checkpoints are "
                    f"shipped; the last state is in {self.folder / STATE_FILE}"
                )

    def _stop_diverged(self, batch: Batch, harmless: bool, reason: str) -> NoReturn:
        """Save this process's batch and stop."""
        step, samples = self.progress.step, self.batches.samples
        where = "another process's batch"
        if not harmless:
            path = self.folder / f"diverged-step-{step}-process-{self.accelerator.process_index}"
            path = path.with_suffix(".safetensors")
            facts = {"seed": self.config.draw_seed, "step": step, "first_sample": samples.start}
            meta = {"draws": json.dumps(facts), "reason": reason}
            tensors = {name: t.cpu().contiguous() for name, t in zip(_NAMES, batch, strict=False)}
            replace_atomically(path, lambda to: save_file(tensors, to, meta))
            where = str(path)
        raise DivergedError(
            f"{self.config.name}: at step {step} {reason}; the batch is in {where}, the last "
            f"state in {self.folder / STATE_FILE} is intact"
        )

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            start = time.monotonic()
            path = self.folder / STATE_FILE
            save_state(path, self.model, self.ema.model, self.optimiser, self.progress)
            self._save_seconds = 2 * (time.monotonic() - start)

    def _validate(self, reporter: Reporter | None) -> None:
        """Figures, sheet, and ``best`` if the metric says so."""
        if reporter is None:
            return
        found = self.task.validate(self.ema.model)
        progress, metric = self.progress, self.config.validate.metric
        progress.validation = found.figures
        reporter.log(progress.step, found.figures, "validation")
        reporter.picture(progress.step, found.sheet)
        save_sheet(self.folder / "samples" / f"step-{progress.step:08d}.png", found.sheet)
        metric = metric if metric in found.figures else "psnr"
        if better(metric, found.figures[metric], progress.best):
            progress.best = found.figures[metric]
            self._export(self.folder / "best", final=False)

    def _export(self, folder: Path, final: bool) -> None:
        """Write the averaged weights as a checkpoint folder."""
        if not self.accelerator.is_main_process:
            return
        record = stage_record(self.config, self.progress, self.data.facts())
        records = [*self.task.records, record]
        self.task.export(folder, self.ema.model, records, final)
