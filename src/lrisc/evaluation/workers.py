"""Processes that measure pictures side by side."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lrisc.evaluation.measure_row import OnRow, measure_picture
from lrisc.evaluation.plan import Source, Sweep
from lrisc.evaluation.results import Key, ResultsFolder, Row
from lrisc.registry import import_plugins


def in_processes(
    sweep: Sweep,
    tasks: list[tuple[Source, list[Key]]],
    folder: Path,
    jobs: int,
    finish: OnRow,
) -> None:
    """Share pictures among processes.

    Workers send their rows here, so that one process writes and tells the progress.

    Args:
        sweep: what to measure.
        tasks: pictures, each with the keys of its missing rows.
        folder: results folder, where workers keep pictures.
        jobs: how many processes.
        finish: called here with every row.
    """
    context = multiprocessing.get_context("spawn")
    rows: Any = context.Queue()
    stop: Any = context.Event()
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (sweep, folder, rows, stop))
    try:
        pending = {pool.submit(_work, source, missing) for source, missing in tasks}
        while pending:
            try:
                finish(rows.get(timeout=0.2))
            except queue.Empty:
                pending = _still_pending(pending)
    finally:
        # After Ctrl-C or a bug the workers end with the row they are at.
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        while not rows.empty():
            finish(rows.get())


def _still_pending(futures: set[Future[None]]) -> set[Future[None]]:
    done = {future for future in futures if future.done()}
    for future in done:
        future.result()  # raises what went wrong there
    return futures - done


@dataclass
class _Worker:
    """What a worker process knows; set when it starts."""

    sweep: Sweep
    folder: ResultsFolder
    rows: Any
    stop: Any


_worker: list[_Worker] = []


class _StoppedError(Exception):
    """Ends a worker's picture early."""


def _start_worker(sweep: Sweep, folder: Path, rows: Any, stop: Any) -> None:
    # Ctrl-C reaches every process of a terminal; the parent is the one that answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    import_plugins(sweep.plugins)
    _worker.append(_Worker(sweep, ResultsFolder(folder), rows, stop))


def _end_with_parent() -> None:
    """A parent that was killed cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(source: Source, missing: list[Key]) -> None:
    worker = _worker[0]

    def finish(row: Row) -> None:
        worker.rows.put(row)
        if worker.stop.is_set():
            raise _StoppedError

    with contextlib.suppress(_StoppedError):
        measure_picture(worker.sweep, source, missing, worker.folder, finish)
