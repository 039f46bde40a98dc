"""Gradient descent on the payload of one frame, and the best of what was tried."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lrisc.errors import InputError, whole
from lrisc.link.draws import Draws
from lrisc.models.config import LATENT_STRIDE
from lrisc.refinement.objective import Objective, Target
from lrisc.refinement.payload import Arrival, PayloadLink
from lrisc.refinement.tiles import tiles

logger = logging.getLogger(__name__)

MAX_EFFORT = 1000
"""More iterations than that is a slip of the keyboard; 100 gain most of what there is."""
STEP_ENERGY = 0.15
"""Energy of the first step for each embedding, in units of a symbol's: the same at every rate."""
SHARED = 0.5
"""Exponent of the second mean that all numbers share, on the roughest channel."""
MOMENTUM = (0.8, 0.95)
"""Decay of Adam's two means, chosen for few iterations."""
CHECK_EVERY = 25
"""Iterations between two candidates that are estimated."""
ESTIMATE_DRAWS = 2
"""Realisations of the channel in an estimate, the same for all candidates."""
_ESTIMATE_SEED = 0x5EED
"""Apart from the search's own noise, so that no candidate is judged by what it was fitted to."""


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        iteration: finished iterations.
        iterations: of all.
        seconds: spent.
        seconds_left: expected.
    """

    iteration: int
    iterations: int
    seconds: float
    seconds_left: float


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, eq=False)
class Refined:
    """What a search found.

    Attributes:
        payload: complex64 (n,), mean power 1.
        iterations: how many were finished.
        loss_before: estimate of the objective with f_e's own symbols.
        loss: estimate of the objective with these; never above ``loss_before``.
        seconds: spent.
        interrupted: by Ctrl-C.
    """

    payload: Tensor
    iterations: int
    loss_before: float
    loss: float
    seconds: float
    interrupted: bool


def check_effort(effort: int) -> None:
    """Raise InputError unless ``effort`` is a usable number of iterations."""
    if not 0 <= whole(effort, "effort") <= MAX_EFFORT:
        raise InputError(f"effort must lie between 0 and {MAX_EFFORT} iterations, not {effort}")


def refine(
    link: PayloadLink,
    payload: Tensor,
    source: Tensor,
    objective: Objective,
    iterations: int,
    *,
    seed: int = 0,
    weight: Tensor | None = None,
    progress: OnProgress | None = None,
) -> Refined:
    """Improve a payload for one picture.

    Minimises, over payloads s of mean power 1, the mean of the objective over channels::

        min_s  E_{h, noise} [ d(x, g_d(f_d(MMSE(h s + noise)))) ]

    with one channel drawn anew in every iteration: Adam, then back to the power constraint. At low
    SNR steps and d's weights are others, see roughness in :class:`PayloadLink`.

    Args:
        link: what happens to a payload until it is a picture.
        payload: where to begin, complex64 (n,), any power but 0.
        source: x, (1, 3, H, W) in [-1, 1], without its padding.
        objective: d.
        iterations: at least 1.
        seed: of every random number; the same seed gives the same payload.
        weight: of every pixel, (1, 1, H, W), mean 1; ``None``: all alike.
        progress: called after every iteration.

    Returns:
        The best of f_e's own payload, the last one and every 25th between, by an estimate over two
        fixed channels. Ctrl-C ends the search and returns the best so far.

    Raises:
        InputError: the picture is too large for this machine's memory.
    """
    search = _Search(link, source, objective, seed, weight)
    start = time.perf_counter()
    current = search.project(torch.view_as_real(payload.to(link.device, torch.complex64)))
    best, done, interrupted = current, 0, False
    before = loss = math.inf
    try:
        before = loss = search.estimate(current)
        size = math.sqrt(STEP_ENERGY * link.levels.numel() / current.numel())
        adam = _Adam(SHARED * link.roughness)
        for step in range(iterations):
            gradient = search.gradient(current, step)
            # Bound to its name only when whole: Ctrl-C may come at any time.
            current = search.project(
                current - adam.step(gradient, size * _cosine(step, iterations))
            )
            done = step + 1
            if progress is not None:
                spent = time.perf_counter() - start
                progress(Progress(done, iterations, spent, spent / done * (iterations - done)))
            if done % CHECK_EVERY == 0 and done < iterations:
                best, loss = search.better(best, loss, current)
        best, loss = search.better(best, loss, current)
    except KeyboardInterrupt:
        interrupted = True
        logger.warning(
            "interrupted after %d of %d iterations: the best so far goes out", done, iterations
        )
        # A first estimate that was cut short leaves nothing to compare with.
        if math.isfinite(loss):
            best, loss = search.better(best, loss, current)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        height, width = source.shape[-2:]
        raise InputError(
            f"effort: a picture of {width}×{height} is too large for this machine's memory; "
            "scale it down, or send it with effort 0"
        ) from error
    return Refined(
        payload=torch.view_as_complex(best.contiguous()).cpu(),
        iterations=done,
        loss_before=before,
        loss=loss,
        seconds=time.perf_counter() - start,
        interrupted=interrupted,
    )


class _Search:
    """Loss, gradient and constraint of one picture's payload."""

    def __init__(
        self,
        link: PayloadLink,
        source: Tensor,
        objective: Objective,
        seed: int,
        weight: Tensor | None,
    ) -> None:
        self.link, self.objective, self.seed = link, objective, seed
        height, width = link.levels.shape
        self.tiles = tiles(height, width, link.model.config.jscc_window)
        self.bfloat16 = _bfloat16_pays(link.device)
        self.source, self.weight = source, weight

    @cached_property
    def targets(self) -> list[Target]:
        """Of every tile, computed when first needed: there Ctrl-C and full memory are caught."""
        found: list[Target] = []
        for tile in self.tiles:
            top, bottom, left, right = (LATENT_STRIDE * edge for edge in tile.core)
            at = (..., slice(top, bottom), slice(left, right))
            part = self.source[at].to(self.link.device)
            weight = None if self.weight is None else self.weight[at].to(self.link.device)
            with torch.no_grad(), self._autocast():
                found.append(self.objective.target(part, weight, self.link.roughness))
        return found

    def project(self, payload: Tensor) -> Tensor:
        """To mean power 1 over the complex symbols."""
        return payload * (payload.numel() / 2 / payload.double().square().sum()).sqrt().float()

    def gradient(self, payload: Tensor, draw: int) -> Tensor:
        """Of the loss over one realisation of the channel; tile by tile, one picture's memory."""
        variable = payload.detach().requires_grad_()
        arrival = self.link.receive(variable, self.seed, draw)
        symbols = arrival.symbols.detach().requires_grad_()
        for number in range(len(self.tiles)):
            views = Draws(self.seed, draw, range(number + 1, number + 2), self.link.device)
            self._loss(Arrival(symbols, arrival.snr_db), number, self.seed, draw, views).backward()
        assert symbols.grad is not None
        (gradient,) = torch.autograd.grad(arrival.symbols, variable, symbols.grad)
        return gradient

    @torch.no_grad()
    def estimate(self, payload: Tensor) -> float:
        """Mean loss over a few realisations, the same for every payload, without views."""
        total = 0.0
        for draw in range(ESTIMATE_DRAWS):
            arrival = self.link.receive(payload, self.seed ^ _ESTIMATE_SEED, draw)
            for number in range(len(self.tiles)):
                total += float(self._loss(arrival, number, self.seed ^ _ESTIMATE_SEED, draw, None))
        return total / ESTIMATE_DRAWS

    def better(self, best: Tensor, loss: float, candidate: Tensor) -> tuple[Tensor, float]:
        """The one with the smaller estimate, and that."""
        other = self.estimate(candidate)
        return (candidate, other) if other < loss else (best, loss)

    def _loss(
        self, arrival: Arrival, number: int, seed: int, draw: int, views: Draws | None
    ) -> Tensor:
        """A tile's part of the picture's loss."""
        target = self.targets[number]
        with self._autocast():
            decoded = self.link.paint(arrival, self.tiles[number], seed, draw)
            # Padding is decoded and never seen.
            decoded = decoded[..., : target.source.shape[-2], : target.source.shape[-1]]
            loss = self.objective(decoded, target, views)
        return loss * (target.source.numel() / self.source.numel())

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.link.device.type, torch.bfloat16, enabled=self.bfloat16)


class _Adam:
    """Adam with Nesterov's momentum (Dozat 2016) for one tensor, made for few iterations.

    Every number's second mean begins as the mean of the first gradient's squares, so that the
    first step is the gradient, in proportion, and later ones become more and more alike. Adam's
    own first steps are all alike: they move what hardly matters as far as what matters, and at
    random where the noise of the gradient is most of it. There, a second mean that all numbers
    share keeps even the later steps in proportion.

    Args:
        shared: exponent of the shared second mean; each number's own has 1 minus that.
    """

    def __init__(self, shared: float) -> None:
        self.shared = shared
        self.mean = self.square = torch.zeros(())
        self.steps = 0

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """What to subtract; the first has the root mean square ``size``."""
        first, second = MOMENTUM
        squares = gradient.square()
        self.steps += 1
        self.mean = first * self.mean + (1 - first) * gradient
        if self.steps == 1:
            # No momentum yet to look ahead along.
            self.square, ahead = squares.mean(), self.mean
        else:
            self.square = second * self.square + (1 - second) * squares
            ahead = first * self.mean + (1 - first) * gradient
        square = self.square
        if self.shared:
            square = square ** (1 - self.shared) * square.mean() ** self.shared
        return size * ahead / (1 - first**self.steps) / (square.sqrt() + 1e-12)


def _cosine(step: int, steps: int) -> float:
    """Size of a step; the last is half of the first at most, also where it is the only one."""
    return min(0.5 * (1 + math.cos(math.pi * step / steps)), 0.5 if step == steps - 1 else 1.0)


def _bfloat16_pays(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
