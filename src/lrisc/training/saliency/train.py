"""Train the saliency detector.

``python -m lrisc.training.saliency.train --masks ECSSD/train -o RUN ...``

Run it again and it goes on where it was stopped; with more ``--minutes`` than before, the learning
rate rises again to where the longer cosine has it. Crops grow while it trains, because small ones
cost a third; exact masks take over from the teacher's towards the end.
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lrisc.errors import InputError, LriscError
from lrisc.link.draws import Draws
from lrisc.metrics.lpips import Lpips
from lrisc.roi.saliency import SaliencyConfig, SaliencyNet, saliency, save_detector
from lrisc.training.muon import Muon
from lrisc.training.saliency.composites import Composer
from lrisc.training.saliency.distil import (
    MaskedSquares,
    Shares,
    open_teacher,
    read_masked,
    saliency_loss,
    training_batch,
)
from lrisc.training.saliency.measure import SaliencyFigures, saliency_figures
from lrisc.training.saliency.student import Student, hint_loss, hints
from lrisc.training.state import STATE_FILE, Progress, load_state, read_progress, save_state

logger = logging.getLogger(__name__)

SIDES = ((0.3, 96), (0.5, 128), (0.85, 160), (1.0, 192))
"""Up to which share of the run crops have which side."""


@dataclass(frozen=True)
class SaliencyRun:
    """One training run.

    Attributes:
        output: folder of the run: state and, at the end, the detector.
        minutes: wall time of the whole run, over all its slots; the learning rate follows it.
        batch_size: crops per step.
        learning_rate: after the warm-up of 100 steps, then down to zero by cosine.
        exact_share: share of exact masks at the start.
        late_share: share of exact masks in the last third.
        composite_share: share of pictures pasted together, where the maps allow it.
        hint_weight: of the loss that imitates AlexNet's features, see
            `lrisc.training.saliency.student`; 0 needs no LPIPS weights.
        held_out: photographs with exact masks kept for validation.
        seed: of the weights and of every draw.
        save_seconds: between two saves of the state.
    """

    output: Path
    minutes: float = 60.0
    batch_size: int = 24
    learning_rate: float = 3e-3
    exact_share: float = 0.1
    late_share: float = 0.15
    composite_share: float = 0.4
    hint_weight: float = 3.0
    held_out: int = 60
    seed: int = 0
    save_seconds: float = 60.0


def train(run: SaliencyRun, teacher: MaskedSquares, exact: MaskedSquares) -> SaliencyNet:
    """Train, or go on where the last call stopped.

    Args:
        run: how.
        teacher: photographs with a teacher's maps.
        exact: photographs with exact masks; the last ``held_out`` only validate.

    Returns:
        The averaged network, saved in ``output`` as well.

    Raises:
        LriscError: the state cannot be read or written, the loss is not finite, or there are no
            LPIPS weights to take hints from.
    """
    kept = len(exact) - run.held_out
    learnt = MaskedSquares(exact.squares[:kept], exact.maps[:kept])
    held = MaskedSquares(exact.squares[kept:], exact.maps[kept:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        student = Student(SaliencyNet(SaliencyConfig()))
    compose = Composer(teacher, learnt) if run.composite_share else None
    if compose is not None and not compose.possible:
        logger.warning("no composites: no background or nothing to paste among these maps")
        compose = None
    trunk = Lpips.from_weights("alex") if run.hint_weight else None
    student.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    average = copy.deepcopy(student).eval().requires_grad_(False)
    optimiser = Muon(student, run.learning_rate, (0.9, 0.99), weight_decay=0.02, fused=True)
    state = run.output / STATE_FILE
    progress = Progress()
    if state.is_file():
        progress = read_progress(state)
        load_state(state, student, average, optimiser)
        logger.info("going on from step %d", progress.step)
    start, before = time.monotonic(), progress.seconds
    saved = start
    while (at := progress.seconds / (60 * run.minutes)) < 1:
        side = next(s for end, s in SIDES if at < end)
        exact_share = run.late_share if at > 2 / 3 else run.exact_share
        shares = Shares(exact_share, run.composite_share)
        draws = Draws(run.seed, progress.step, range(run.batch_size))
        pictures, targets = training_batch(teacher, learnt, shares, draws, side, compose)
        warm_up = min((progress.step + 1) / 100, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = run.learning_rate * warm_up * (1 + math.cos(math.pi * at)) / 2
        student.train()
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits, guesses = student(pictures)
            loss = saliency_loss(logits, targets)
            if trunk is not None:
                loss = loss + run.hint_weight * hint_loss(guesses, hints(trunk, pictures))
        if not bool(loss.isfinite()):
            raise LriscError(f"the loss is {float(loss)} at step {progress.step}")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        _average(average, student, min(0.998, 1 - 1 / (1 + progress.step / 10)))
        progress.step += 1
        progress.samples += run.batch_size
        progress.seconds = before + time.monotonic() - start
        progress.sums["loss"] = progress.sums.get("loss", 0.0) + float(loss.detach())
        if progress.step % 100 == 0:
            logger.info(
                "step %d, %.0f %%, crops of %d: loss %.4f",
                *(progress.step, 100 * at, side, progress.sums.pop("loss") / 100),
            )
        if progress.step % 500 == 0:
            logger.info("validation: %s", validate(average.network, held))
        if time.monotonic() - saved > run.save_seconds:
            save_state(state, student, average, optimiser, progress)
            saved = time.monotonic()
    save_state(state, student, average, optimiser, progress)
    facts: dict[str, Any] = {
        "steps": progress.step,
        "crops": progress.samples,
        "minutes": round(progress.seconds / 60, 1),
        "teacher_maps": len(teacher),
        "exact_masks": len(learnt),
    }
    logger.info("validation: %s", validate(average.network, held))
    save_detector(run.output, average.network, facts)
    return average.network


def validate(network: SaliencyNet, held: MaskedSquares) -> SaliencyFigures:
    """Figures of a network on stored squares."""
    pictures = torch.from_numpy(np.ascontiguousarray(held.squares)).permute(0, 3, 1, 2).float()
    masks = held.maps.astype(np.float32) / 255
    pairs = zip((pictures / 255).split(1), masks, strict=True)
    return saliency_figures((saliency(p, network)[0, 0].numpy(), m) for p, m in pairs)


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of batch norm's statistics."""
    now = network.state_dict()
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(now[name], 1 - decay)


def main() -> int:
    """Read the command line and train; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lrisc.training.saliency.train", description=__doc__
    )
    parser.add_argument("--masks", type=Path, required=True, help="photographs and masks (ECSSD)")
    parser.add_argument("--squares", type=Path, help="picture cache, (n, 256, 256, 3) .npy")
    parser.add_argument("--maps", type=Path, help="its maps by tools/saliency/teacher_maps.py")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=SaliencyRun.minutes)
    parser.add_argument("--batch-size", type=int, default=SaliencyRun.batch_size)
    parser.add_argument("--learning-rate", type=float, default=SaliencyRun.learning_rate)
    parser.add_argument("--hint-weight", type=float, default=SaliencyRun.hint_weight)
    parser.add_argument("--seed", type=int, default=SaliencyRun.seed)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        exact = read_masked(arguments.masks)
        teacher = MaskedSquares(exact.squares[:0], exact.maps[:0])
        if arguments.squares and arguments.maps:
            teacher = open_teacher(arguments.squares, arguments.maps)
        elif arguments.squares or arguments.maps:
            raise InputError("--squares and --maps go together")
        train(
            SaliencyRun(
                arguments.output,
                minutes=arguments.minutes,
                batch_size=arguments.batch_size,
                learning_rate=arguments.learning_rate,
                hint_weight=arguments.hint_weight,
                seed=arguments.seed,
            ),
            teacher,
            exact,
        )
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
