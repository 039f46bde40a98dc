"""From a YAML to trained checkpoints: one stage, or a plan of several."""

from __future__ import annotations

import filecmp
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lrisc.baselines.deepjscc.codec import FORMAT as DEEPJSCC_FORMAT
from lrisc.checkpoint import FORMAT
from lrisc.errors import InputError, LriscError
from lrisc.files import replace_atomically, scratch
from lrisc.stored import CONFIG_FILE
from lrisc.training.config.read import apply_overrides, build, merge, read_yaml
from lrisc.training.config.schema import Plan, StageConfig, flatten
from lrisc.training.export import ship
from lrisc.training.loop import Outcome, Slot, Trainer, deterministic, make_accelerator
from lrisc.training.state import STATE_FILE, changes_since, locked, read_progress
from lrisc.training.tasks import data_key, stage_class
from lrisc.training.tasks.deepjscc import ship as ship_deepjscc

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """What a YAML and its overrides ask for.

    Attributes:
        stages: in order; each one's parent is the final checkpoint of the one before.
        output: folder of the whole.
        max_minutes: of this slot, 0 for no limit.
    """

    stages: tuple[StageConfig, ...]
    output: Path
    max_minutes: float


def read_schedule(path: Path, overrides: list[str]) -> Schedule:
    """Read one stage or a plan of stages.

    Args:
        path: YAML.
        overrides: ``key=value``; in a plan, ``stage.key=value`` reaches one stage, and a plain
            key that is not the plan's own reaches all of them.

    Raises:
        InputError: in one line, which key is wrong.
    """
    values = read_yaml(path)
    if "stages" not in values:
        stage = _stage(apply_overrides(values, overrides))
        return Schedule((stage,), Path(stage.output), stage.max_minutes)

    own = ("output", "parent", "max_minutes")
    mine = [o for o in overrides if o.partition("=")[0] in own]
    plan = build(Plan, apply_overrides(values, mine))
    raw = [merge(read_yaml(path.parent / name), plan.common) for name in plan.stages]
    names = [str(stage.get("name", "")) for stage in raw]
    shared = [o for o in overrides if o not in mine and _stage_of(o, names) is None]
    stages: list[StageConfig] = []
    parent = plan.parent
    for name, stage in zip(names, raw, strict=True):
        special = [o.partition(".")[2] for o in overrides if _stage_of(o, names) == name]
        stage["output"] = str(Path(plan.output) / name)
        stage["parent"] = parent or (stage.get("parent", "") if not stages else "")
        stages.append(_stage(apply_overrides(stage, shared + special)))
        given = {"name": name, "output": stage["output"], "max_minutes": 0}
        _check_common(stages[-1], given)
        parent = str(Path(plan.output) / name / "final")
    if not stages:
        raise InputError(f"{path}: stages is empty")
    if len({stage.device for stage in stages}) > 1:
        raise InputError("device: must be the same for all stages of a schedule")
    return Schedule(tuple(stages), Path(plan.output), plan.max_minutes)


def _stage(values: dict[str, Any]) -> StageConfig:
    return build(stage_class(values.get("preset", StageConfig.preset)), values)


def _check_common(stage: StageConfig, given: dict[str, Any]) -> None:
    """Refuse what the schedule alone says: a stage's own would be ignored, or part the chain."""
    for key, value in given.items():
        if getattr(stage, key) != value:
            raise InputError(
                f"{given['name']}.{key}: cannot be set for one stage of a schedule; "
                "leave it out, or set that of the schedule"
            )


def _stage_of(override: str, names: list[str]) -> str | None:
    first = override.partition("=")[0].partition(".")[0]
    return first if first in names else None


def run(config_path: Path, overrides: list[str]) -> Outcome:
    """Train what a YAML says, or go on where the last call stopped.

    Args:
        config_path: one stage, or a plan of stages.
        overrides: ``key=value`` pairs, see :func:`read_schedule`.

    Returns:
        Whether it finished, ran out of its ``max_minutes``, or was told to stop by a signal.

    Raises:
        LriscError: in one line, what is wrong and what to do.
    """
    schedule = read_schedule(config_path, overrides)
    _check_checkpoints(schedule)
    slot = Slot(schedule.max_minutes)
    accelerator = make_accelerator(schedule.stages[0])
    with slot.signals(), deterministic(accelerator), ExitStack() as locks:
        for number, config in enumerate(schedule.stages):
            if accelerator.is_main_process:
                locks.enter_context(locked(Path(config.output)))
            if _is_done(config):
                logger.info("%s is finished: %s/final", config.name, config.output)
                continue
            _check_later(config, schedule.stages[number + 1 :])
            trainer = Trainer(config, accelerator)
            outcome = trainer.run(slot)
            if outcome != "finished":
                logger.warning(
                    "%s: %s stopped at step %d; the same command goes on from there",
                    outcome,
                    config.name,
                    trainer.progress.step,
                )
                return outcome
        if accelerator.is_main_process and len(schedule.stages) > 1:
            _finish(Path(schedule.stages[-1].output) / "final", schedule.output / "final")
    accelerator.wait_for_everyone()
    logger.info("finished: the checkpoint is in %s", schedule.output / "final")
    return "finished"


def _check_checkpoints(schedule: Schedule) -> None:
    """Refuse to train where that would write over checkpoints that no state says to be its own.

    Raises:
        InputError: it would.
    """
    folders = [Path(stage.output) for stage in schedule.stages]
    known = {folder for folder in folders if (folder / STATE_FILE).exists()}
    known |= {schedule.output} if known else set()
    for folder in {*folders, schedule.output} - known:
        if os.path.lexists(folder / "final"):
            raise InputError(
                f"{folder / 'final'} is there already, and no {STATE_FILE} of its training: "
                "choose another output"
            )


def _is_done(config: StageConfig) -> bool:
    """Whether a stage was trained to the end that the config asks for.

    Raises:
        InputError: it was, but with another config or other pictures.
    """
    folder = Path(config.output)
    if not (folder / "final" / "config.json").is_file() or not (folder / STATE_FILE).is_file():
        return False
    progress, now = read_progress(folder / STATE_FILE), flatten(config)
    lengths = ("steps", "epochs", "schedule", "total_minutes")
    if not progress.finished or any(progress.config.get(key) != now[key] for key in lengths):
        return False
    for change in changes_since(folder / STATE_FILE, progress, config, data_key(config)):
        logger.warning("%s is finished and stays as it was: %s", config.name, change)
    return True


def _check_later(config: StageConfig, later: Sequence[StageConfig]) -> None:
    """Refuse to train a stage on that later ones were trained from.

    Raises:
        InputError: one was, and the config does not say ``resume_anyway``.
    """
    stale = next((s.output for s in later if (Path(s.output) / STATE_FILE).exists()), None)
    if stale is not None and not config.resume_anyway:
        raise InputError(
            f"{config.name} would change, and {stale} was trained from it as it is: remove "
            f"{stale} to train it again, or add resume_anyway=true to keep it"
        )


def _finish(source: Path, target: Path) -> None:
    """The checkpoint of a whole schedule: that of its last stage, in float16."""
    found = json.loads((source / CONFIG_FILE).read_text()).get("format")
    half = {FORMAT: ship, DEEPJSCC_FORMAT: ship_deepjscc}.get(found)
    if half is None:
        _copy(source, target)  # the detector's, which is in float16 already
        return
    with scratch() as halved:
        half(source, halved)
        _copy(halved, target)


def _copy(source: Path, target: Path) -> None:
    for file in sorted(source.iterdir()):
        if not (target / file.name).is_file() or not filecmp.cmp(file, target / file.name, False):
            replace_atomically(target / file.name, partial(shutil.copyfile, file))


def exit_code(train: Callable[[], Outcome]) -> int:
    """Run training as a program.

    Args:
        train: what to run.

    Returns:
        0 done or out of time, 130 interrupted, or that of an error, told in one line on stderr.
    """
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("lrisc").setLevel(logging.INFO)
    try:
        return 130 if train() == "interrupted" else 0
    except LriscError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
