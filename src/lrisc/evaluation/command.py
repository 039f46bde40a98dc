"""``lrisc evaluate``: checks, progress and what is told at the end."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.device import cores
from lrisc.errors import InputError
from lrisc.evaluation.measure_row import missing_lpips
from lrisc.evaluation.plan import Sweep, find_pictures
from lrisc.evaluation.results import ROWS_FILE, ResultsFolder, Row
from lrisc.evaluation.sweep import run
from lrisc.files import check_apart
from lrisc.link import channels
from lrisc.link.budget import check_cbr
from lrisc.link.ofdm_link import make_link
from lrisc.roi.region import Region

if TYPE_CHECKING:
    from rich.console import Console


_Advance = Callable[[str], None]
_MOST_SEEDS = 1000


def evaluate_folder(
    sweep: Sweep,
    data: Path,
    output: Path,
    *,
    jobs: int | None,
    limit: int | None,
    console: Console,
) -> None:
    """Measure a folder of pictures and say how it went.

    Under torchrun every process takes its share of the pictures, by RANK and WORLD_SIZE.

    Args:
        sweep: what to measure.
        data: folder of pictures.
        output: results folder.
        jobs: processes; ``None`` for one per core, or for one under torchrun.
        limit: only the first so many pictures.
        console: for people.

    Raises:
        InputError: nothing can be measured so.
    """
    sweep = replace(sweep, channel=channels.CHANNELS.key(sweep.channel))
    check(sweep, jobs, limit)
    folder = ResultsFolder(output)
    check_apart(folder.folders(sweep.schemes), (data, sweep.options.roi or ""))
    shard = shard_from_environment()
    if jobs is None:
        jobs = 1 if shard[1] > 1 else cores()
    sources, skipped = find_pictures(data, limit, sweep.keep)
    for reason in skipped:
        console.print(f"skipped: {reason}")
    _warn_without_lpips(sweep, console)
    if sweep.options.roi and not any(s.split(":")[0] == "lrisc-roi" for s in sweep.schemes):
        console.print("warning: --roi is for the scheme lrisc-roi, which is not among --schemes")
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        advance: _Advance | None = None
        # Leaves no trace, so that what goes wrong before the first picture is one line.
        waiting = console.status("getting ready")
        if shard[0] == 0:
            stack.enter_context(waiting)

        def on_row(row: Row) -> None:
            counts[row.status] += 1
            if advance is not None:
                advance(f"{row.scheme} {row.snr_db:g} dB {row.image}")

        def on_plan(total: int, done: int) -> None:
            nonlocal advance
            counts["before"] = done
            if shard[0] == 0:
                waiting.stop()
                advance = _progress(console, stack, shard, total, done)

        run(sweep, sources, folder, jobs, shard, on_row, on_plan)
    told = [f"{counts[status]} rows {status}" for status in ("sent", "outage", "impossible")]
    told.append(f"{counts['before']} were there before")
    warnings = f"; warnings: {len(skipped)} pictures skipped" if skipped else ""
    console.print(f"{output / ROWS_FILE}: {', '.join(told)}{warnings}")


def check(sweep: Sweep, jobs: int | None, limit: int | None) -> None:
    """Raise InputError for numbers that make no sense, before anything is computed."""
    for name, value in (("--jobs", jobs), ("--limit", limit), ("--seeds", sweep.seeds)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    if sweep.seeds > _MOST_SEEDS:
        raise InputError(f"--seeds must be at most {_MOST_SEEDS}, not {sweep.seeds}")
    for snr_db in sweep.snrs_db:
        for seed in (sweep.seed, sweep.seed + sweep.seeds - 1):
            make_link(sweep.channel, snr_db, waveform=sweep.waveform, seed=seed)
    for cbr in sweep.cbrs:
        check_cbr(cbr)
    if sweep.options.roi_strength is not None:
        Region(None, gamma=sweep.options.roi_strength)
    if sweep.keep < 0:
        raise InputError(f"--keep must be 0 or more, not {sweep.keep}")


def shard_from_environment() -> tuple[int, int]:
    """Number of this process and how many there are, as torchrun says; (0, 1) without it."""
    try:
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError as error:
        raise InputError("RANK and WORLD_SIZE must be numbers, as torchrun sets them") from error
    if not 0 <= rank < count:
        raise InputError(
            f"RANK must lie between 0 and WORLD_SIZE - 1, not RANK={rank} of WORLD_SIZE={count}"
        )
    return rank, count


def _warn_without_lpips(sweep: Sweep, console: Console) -> None:
    for column, reason in missing_lpips(sweep).items():
        console.print(f"warning: the {column} column stays empty: {reason}")


def _progress(
    console: Console, stack: ExitStack, shard: tuple[int, int], total: int, done: int
) -> _Advance:
    if not console.is_terminal:
        return _log(console, shard, total, done)
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = stack.enter_context(
        Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
        )
    )
    task = bar.add_task("", total=total, completed=done)
    share = _share(shard)

    def advance(what: str) -> None:
        bar.update(task, advance=1, description=what + share)

    return advance


def _log(console: Console, shard: tuple[int, int], total: int, done: int) -> _Advance:
    """A line for every row: in a file a bar would show nothing before the end."""
    start, before = time.monotonic(), done

    def advance(what: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - start) / (done - before) * (total - done)
        time_left = timedelta(seconds=round(left))
        console.print(f"{done} of {total}{_share(shard)}: {what}, {time_left} left")

    return advance


def _share(shard: tuple[int, int]) -> str:
    return f" (process 1 of {shard[1]})" if shard[1] > 1 else ""
