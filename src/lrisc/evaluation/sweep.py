"""Runs schemes over pictures and conditions.

    pictures ─┬─► worker: picture 1, all schemes and conditions ─► rows ─┐
              ├─► worker: picture 2                                      ├─► results.csv
              └─► ...                                                   ─┘

A picture is the unit of work, because schemes share what they compute for it. Every row has its own
seed and every worker computes with one thread, so that the numbers do not depend on how many
workers there are, on their order, or on an interruption.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import queue
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrisc.errors import InputError, OutageError
from lrisc.evaluation.lpips import Backbone
from lrisc.evaluation.results import Key, ResultsFolder, Row, key
from lrisc.evaluation.schemes import (
    Condition,
    Delivery,
    Options,
    Picture,
    Scheme,
    create_scheme,
    import_plugins,
)
from lrisc.images import load_image, to_pil

logger = logging.getLogger(__name__)

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".jp2"}
OnRow = Callable[[Row], None]


@dataclass(frozen=True)
class Sweep:
    """What is to be measured.

    Attributes:
        schemes: names, each with its variant.
        snrs_db: mean Es/N0, dB.
        cbrs: ceilings on the bandwidth ratio.
        channel: name of the channel.
        seed: everything random follows from it.
        options: for the schemes.
        plugins: modules that register more schemes.
        lpips: backbone of LPIPS.
        keep: of the first so many pictures, reconstructions and rate maps are kept.
    """

    schemes: tuple[str, ...]
    snrs_db: tuple[float, ...]
    cbrs: tuple[float, ...]
    channel: str = "awgn"
    seed: int = 0
    options: Options = field(default_factory=Options)
    plugins: tuple[str, ...] = ()
    lpips: Backbone = "alex"
    keep: int = 4

    def keys(self, image: str) -> list[Key]:
        """The rows of one picture, in the order they are computed."""
        return [
            key(scheme, image, self.channel, snr_db, cbr)
            for scheme in self.schemes
            for cbr in self.cbrs
            for snr_db in self.snrs_db
        ]


@dataclass(frozen=True)
class Source:
    """A picture of the sweep.

    Attributes:
        path: of its file.
        sha256: of its pixels.
        kept: its reconstructions are kept.
    """

    path: Path
    sha256: str
    kept: bool


def find_pictures(folder: Path, limit: int | None, keep: int) -> tuple[list[Source], list[str]]:
    """The pictures of a folder, by name.

    Args:
        folder: not searched any deeper.
        limit: only the first so many that can be read.
        keep: mark the first so many as kept.

    Returns:
        The pictures, and why others were skipped.

    Raises:
        InputError: there is no folder or no picture.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of pictures")
    found: list[Source] = []
    skipped: list[str] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        if limit is not None and len(found) >= limit:
            break
        try:
            pixels = load_image(path)
        except InputError as error:
            skipped.append(str(error))
            continue
        digest = hashlib.sha256(np.asarray(to_pil(pixels)).tobytes()).hexdigest()[:16]
        found.append(Source(path, digest, kept=len(found) < keep))
    if not found:
        broken = f"; {len(skipped)} cannot be read: {skipped[0]}" if skipped else ""
        raise InputError(f"{folder} holds no pictures{broken}")
    return found, skipped


def run(
    sweep: Sweep,
    sources: Sequence[Source],
    folder: ResultsFolder,
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    on_row: OnRow | None = None,
    on_plan: Callable[[int, int], None] | None = None,
) -> None:
    """Compute the rows that the folder does not have yet.

    Args:
        sweep: what to measure.
        sources: the pictures.
        folder: where the rows go.
        jobs: processes to compute with.
        shard: (number of this process, how many share the sweep): takes every so many-th picture.
        on_row: called with every finished row.
        on_plan: called with the rows there are for this shard, and how many of them are done.

    Raises:
        InputError: a scheme cannot be made, or the folder's rows were made with something else.
    """
    import_plugins(sweep.plugins)
    folder.prepare(
        settings={"seed": sweep.seed, "lpips": sweep.lpips},
        images={source.path.name: source.sha256 for source in sources},
        schemes={spec: _scheme(spec, sweep.options).fingerprint for spec in sweep.schemes},
    )
    done = {row.key for row in folder.rows()}
    mine = sources[shard[0] :: shard[1]]
    tasks = [(s, [k for k in sweep.keys(s.path.name) if k not in done]) for s in mine]
    if on_plan is not None:
        total = sum(len(sweep.keys(s.path.name)) for s in mine)
        on_plan(total, total - sum(len(missing) for _, missing in tasks))

    def finish(row: Row) -> None:
        folder.append(row)
        if on_row is not None:
            on_row(row)

    tasks = [task for task in tasks if task[1]]
    try:
        if jobs > 1 and len(tasks) > 1:
            _in_processes(sweep, tasks, folder.path, min(jobs, len(tasks)), finish)
        else:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                for source, missing in tasks:
                    _measure_picture(sweep, source, missing, folder, finish)
            finally:
                torch.set_num_threads(threads)
    finally:
        folder.sort({spec: rank for rank, spec in enumerate(sweep.schemes)})


def seed_of(seed: int, row_key: Key) -> int:
    """The seed of one row: a function of the sweep's and of what the row is, the scheme aside."""
    text = "|".join([str(seed), *row_key[1:]])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def _measure_picture(
    sweep: Sweep, source: Source, missing: Iterable[Key], folder: ResultsFolder, finish: OnRow
) -> None:
    picture = Picture(source.path.name, load_image(to_pil(load_image(source.path))))
    if source.kept:
        _keep(folder.source_path(picture.name), picture.pixels)
    for row_key in missing:
        finish(_measure(sweep, picture, row_key, folder if source.kept else None))


def _measure(sweep: Sweep, picture: Picture, row_key: Key, keep_in: ResultsFolder | None) -> Row:
    spec, name, channel, snr_db, cbr = row_key
    condition = Condition(channel, float(snr_db), float(cbr), seed_of(sweep.seed, row_key))
    common: dict[str, Any] = {
        "scheme": spec,
        "image": name,
        "channel": channel,
        "snr_db": condition.snr_db,
        "cbr_target": condition.cbr,
    }
    numbers: dict[str, Any] = dict.fromkeys(("psnr_db", "ms_ssim", "lpips", "cbr"))
    start = time.perf_counter()
    try:
        delivery = _scheme(spec, sweep.options).send(picture, condition)
    except OutageError as error:
        delivery = Delivery(None, picture.budget(condition.cbr), str(error))
    except InputError as error:
        seconds = time.perf_counter() - start
        return Row(
            **common, status="impossible", outage=False, **numbers, seconds=seconds, note=str(error)
        )
    seconds = time.perf_counter() - start
    received = delivery.reconstruction
    shown = torch.full_like(picture.pixels, 0.5) if received is None else received
    numbers.update(_quality(picture, shown, sweep.lpips))
    numbers["cbr"] = delivery.symbols / picture.pixels.numel()
    if keep_in is not None:
        _keep_delivery(keep_in, row_key, shown, delivery)
    return Row(
        **common,
        status="outage" if received is None else "sent",
        outage=received is None,
        **numbers,
        seconds=seconds,
        note=delivery.note,
    )


def _quality(picture: Picture, shown: torch.Tensor, backbone: Backbone) -> dict[str, float | None]:
    from lrisc.evaluation.report import quality

    measured = quality(to_pil(picture.pixels), to_pil(shown), backbone)
    if measured["psnr_db"] is None:
        measured["psnr_db"] = float("inf")
    return {name: measured[name] for name in ("psnr_db", "ms_ssim", "lpips")}


def _keep_delivery(
    folder: ResultsFolder, row_key: Key, shown: torch.Tensor, delivery: Delivery
) -> None:
    _keep(folder.picture_path(row_key, ".png"), shown)
    if delivery.rate_map is not None:
        path = folder.picture_path(row_key, ".rate.npy")
        np.save(path, np.asarray(delivery.rate_map, dtype=np.int32), allow_pickle=False)
    if delivery.roi_mask is not None:
        mask = torch.from_numpy(np.asarray(delivery.roi_mask, dtype=np.float32))
        _keep(folder.source_path(row_key[1], "roi"), mask.expand(3, -1, -1))


def _keep(path: Path, pixels: torch.Tensor) -> None:
    from lrisc.files import replace_atomically

    replace_atomically(path, lambda temporary: to_pil(pixels).save(temporary, format="png"))


@lru_cache(maxsize=16)
def _scheme(spec: str, options: Options) -> Scheme:
    return create_scheme(spec, options)


def _in_processes(
    sweep: Sweep,
    tasks: list[tuple[Source, list[Key]]],
    folder: Path,
    jobs: int,
    finish: OnRow,
) -> None:
    """Workers send their rows here, so that one process writes and tells the progress."""
    context = multiprocessing.get_context("spawn")
    rows: Any = context.Queue()
    pool = ProcessPoolExecutor(jobs, context, _start_worker, (sweep, folder, rows))
    try:
        pending = {pool.submit(_work, source, missing) for source, missing in tasks}
        while pending:
            try:
                finish(rows.get(timeout=0.2))
            except queue.Empty:
                pending = _still_pending(pending)
        while not rows.empty():
            finish(rows.get())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _still_pending(futures: set[Future[int]]) -> set[Future[int]]:
    for future in futures:
        if future.done():
            future.result()  # raises what went wrong there
    return {future for future in futures if not future.done()}


@dataclass
class _Worker:
    """What a worker process knows; set when it starts."""

    sweep: Sweep
    folder: ResultsFolder
    rows: Any


_worker: list[_Worker] = []


def _start_worker(sweep: Sweep, folder: Path, rows: Any) -> None:
    torch.set_num_threads(1)
    import_plugins(sweep.plugins)
    _worker.append(_Worker(sweep, ResultsFolder(folder), rows))


def _work(source: Source, missing: list[Key]) -> int:
    worker = _worker[0]
    _measure_picture(worker.sweep, source, missing, worker.folder, worker.rows.put)
    return len(missing)
