"""Runs schemes over pictures and conditions.

    pictures ─┬─► worker: picture 1, all schemes and conditions ─► rows ─┐
              ├─► worker: picture 2                                      ├─► results.csv
              └─► ...                                                   ─┘

A picture is the unit of work, because schemes share what they compute for it. Every row has its own
seed and every worker computes with one thread, so that the numbers do not depend on how many
workers there are, on their order, or on an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lrisc.evaluation.measure_row import OnRow, measure_picture, missing_lpips, scheme_of
from lrisc.evaluation.plan import Source, Sweep
from lrisc.evaluation.results import ResultsFolder, Row
from lrisc.evaluation.workers import in_processes
from lrisc.registry import import_plugins


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
        settings=sweep.settings(),
        images={source.path.name: source.sha256 for source in sources},
        schemes={spec: scheme_of(spec, sweep.options).fingerprint for spec in sweep.schemes},
    )
    # What was impossible may have become possible: a file that was missing, a library, LPIPS.
    columns = sweep.lpips_columns.keys() - missing_lpips(sweep).keys()
    done = {
        row.key
        for row in folder.rows()
        if row.status != "impossible" and all(getattr(row, name) is not None for name in columns)
    }
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
            in_processes(sweep, tasks, folder.path, min(jobs, len(tasks)), finish)
        else:
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            try:
                for source, missing in tasks:
                    measure_picture(sweep, source, missing, folder, finish)
            finally:
                torch.set_num_threads(threads)
    finally:
        folder.sort({spec: rank for rank, spec in enumerate(sweep.schemes)})
