"""One slot of training on a rented machine: unpack, train for some minutes, pack.

::

    pieces of the last slot (or a checkpoint, or nothing) ─► run folder ─ train ─► pieces

``python -m tools.remote.slices CONFIG --data SHARDS... --minutes M --pieces OUT [key=value ...]``
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from pathlib import Path

import yaml
from tools.remote.pieces import MANIFEST, join, limit_bytes, prepare, split

from lrisc.errors import InputError
from lrisc.files import told
from lrisc.registry import add_plugin_option, import_plugins
from lrisc.stored import CONFIG_FILE
from lrisc.training.loop import Outcome, make_accelerator
from lrisc.training.schedule import exit_code, read_schedule, run
from lrisc.training.state import STATE_FILE

# Not __name__, which is __main__ where this is the program.
logger = logging.getLogger("lrisc.remote")

_PACKING_SHARE = 0.05


def train_slice(
    config: Path,
    data: list[str],
    minutes: float,
    pieces: Path,
    *,
    work: Path,
    start: Path | None = None,
    limit: int = 90_000_000,
    overrides: list[str] | None = None,
) -> Outcome:
    """Train one slot.

    Args:
        config: a stage or a plan.
        data: folders or tar shards; they may be others than those of the last slot.
        minutes: of the whole slot, packing included.
        pieces: where the pieces of the new run folder go.
        work: the run folder on this machine.
        start: pieces or run folder of the last slot, or a checkpoint folder to start from.
        limit: most bytes of a piece.
        overrides: more ``key=value`` pairs.

    Returns:
        How the training ended; the pieces are there in every case.

    Raises:
        LriscError: as training does; what can be packed is packed nevertheless.
    """
    if minutes <= 0:
        raise InputError("the slot must be longer than 0 minutes")
    if (work / MANIFEST).exists():
        raise InputError(f"{work} holds pieces; choose another folder to work in")
    extra: list[str] = []
    if start is not None and (start / CONFIG_FILE).is_file():
        extra = [f"parent={start}"]
    own = [
        f"output={work}",
        f"data={yaml.safe_dump(data, default_flow_style=True).strip()}",
        f"max_minutes={minutes * (1 - _PACKING_SHARE)}",
        "resume_anyway=true",
    ]
    settings = [*own, *extra, *(overrides or [])]
    accelerator = make_accelerator(read_schedule(config, settings).stages[0])
    # The run folder is one that all processes see: one of them unpacks and packs it.
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            prepare(work, pieces, limit)
            if start is not None and not extra:
                _unpack(start, work)
    try:
        return run(config, settings)
    finally:
        if accelerator.is_main_process and work.is_dir():
            made = split(work, pieces, limit)
            logger.info("packed %s into %d files in %s", work, len(made), pieces)


def _unpack(start: Path, work: Path) -> None:
    """Put the run of the last slot where this one goes on.

    Raises:
        InputError: there is none.
        UnwritableError: the disk is full or the folder not writable.
    """
    if (start / MANIFEST).is_file():
        join(start, work)
    elif any(start.rglob(STATE_FILE)):
        with told(f"copy {start} to {work}"):
            shutil.copytree(start, work, dirs_exist_ok=True)
    else:
        raise InputError(f"{start} holds no pieces, no run and no checkpoint")


def main() -> int:
    """Train a slot; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.remote.slices", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--data", nargs="+", required=True, help="folders or tar shards")
    parser.add_argument("--minutes", type=float, required=True, help="length of the whole slot")
    parser.add_argument("--pieces", type=Path, required=True, help="where the pieces go")
    # torchrun takes --start for an abbreviation of its own --start-method; hence the other name.
    parser.add_argument(
        *("--start", "--resume-from"),
        dest="start",
        type=Path,
        help="last slot's pieces or run, or a checkpoint; under torchrun use the longer name",
    )
    parser.add_argument("--work", type=Path, default=Path("slice-run"), help="run folder here")
    parser.add_argument("--limit-mb", type=float, default=90.0, help="most MB of a piece")
    add_plugin_option(parser)
    arguments = parser.parse_intermixed_args()

    def train() -> Outcome:
        import_plugins(arguments.plugin)
        return train_slice(
            arguments.config,
            arguments.data,
            arguments.minutes,
            arguments.pieces,
            work=arguments.work,
            start=arguments.start,
            limit=limit_bytes(arguments.limit_mb),
            overrides=arguments.overrides,
        )

    return exit_code(train)


if __name__ == "__main__":
    sys.exit(main())
