"""What a run tells while it goes: a JSON line and TensorBoard per interval, a progress bar."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lrisc.errors import InputError
from lrisc.files import UnwritableError, check_regular, told, write_atomically

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
_MAX_LOG_BYTES = 2**30


class Reporter:
    """Logs of one run in its folder; TensorBoard and rich are used where they are installed.

    Args:
        folder: of the run.
        name: of the stage.
        step: steps already done; later lines of a killed run are dropped.

    Raises:
        InputError: there is a file of the log's name that is none.
        UnwritableError: the folder is not writable or the disk full, here as in every method.
    """

    def __init__(self, folder: Path, name: str, step: int) -> None:
        self._path = folder / METRICS_FILE
        self._name = name
        kept = [line for line, at in self._lines() if at <= step]
        write_atomically(self._path, "".join(line + "\n" for line in kept).encode())
        self._board_folder = folder / "tensorboard"
        with told(f"write {self._board_folder}"):
            self._board = _summary_writer(self._board_folder, step)
        self._bar = _progress_bar()
        self._task: Any = None

    def _lines(self) -> list[tuple[str, int]]:
        """Lines of the log that is there, and their steps."""
        if not os.path.lexists(self._path):
            return []
        check_regular(self._path, "log of a training", _MAX_LOG_BYTES)
        with told(f"read {self._path}"):
            *lines, last = self._path.read_text(errors="replace").split("\n")
        # The last line of a killed run may be cut short.
        lines += [last] if last.endswith("}") else []
        try:
            return [(line, int(json.loads(line)["step"])) for line in lines]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{self._path} is no log of a training: choose another output"
            ) from error

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=1.0, loss="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            # What went wrong first is what the user must hear of.
            hidden = contextlib.suppress(UnwritableError) if error else contextlib.nullcontext()
            with hidden, told(f"write {self._board_folder}"):
                self._board.close()

    def advance(self, fraction: float) -> None:
        """Move the bar to a share of the whole stage in [0, 1]."""
        if self._bar is not None:
            self._bar.update(self._task, completed=fraction)

    def log(self, step: int, values: dict[str, float], group: str = "train") -> None:
        """Record figures of a step under a group's name."""
        with told(f"write {self._path}"), self._path.open("a") as file:
            file.write(json.dumps({"step": step, "group": group, **values}) + "\n")
        if self._board is not None:
            with told(f"write {self._board_folder}"):
                for key, value in values.items():
                    self._board.add_scalar(f"{group}/{key}", value, step)
        shown = " ".join(f"{key} {value:.4g}" for key, value in values.items() if "@" not in key)
        if self._bar is None:
            logger.info("%s step %d %s: %s", self._name, step, group, shown)
        elif group == "train":
            self._bar.update(self._task, loss=f"step {step} loss {values['loss']:.4f}")
        else:
            self._bar.console.log(f"{self._name} step {step} {group}: {shown}")

    def picture(self, step: int, pixels: Any) -> None:
        """Record a sample sheet, (H, W, 3) uint8."""
        if self._board is not None:
            with told(f"write {self._board_folder}"):
                self._board.add_image("samples", torch.from_numpy(pixels), step, dataformats="HWC")


@contextlib.contextmanager
def board_errors_once() -> Generator[None]:
    """Let TensorBoard's thread hand an error on, such as a full disk, without printing it, too.

    It keeps the error for whoever writes next, which :class:`Reporter` tells in one line.
    """
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not _is_board(args.thread):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if _is_board(thread) and getattr(thread, "exception", None) is not None:
                thread.join()  # it is about to call the hook
        threading.excepthook = before


def _is_board(thread: threading.Thread | None) -> bool:
    return type(thread).__module__.startswith("tensorboard.")


def _summary_writer(folder: Path, step: int) -> Any:
    """A TensorBoard writer that hides what a killed run logged later, or ``None``."""
    try:
        module = import_module("torch.utils.tensorboard")
        return module.SummaryWriter(str(folder), purge_step=step + 1 if step else None)
    except ImportError:
        logger.info("tensorboard is not installed: figures go to %s only", METRICS_FILE)
        return None


def _progress_bar() -> Any:
    """A rich progress bar with the time left on a terminal, else ``None``."""
    if not sys.stderr.isatty():
        return None
    try:
        progress, console = import_module("rich.progress"), import_module("rich.console")
    except ImportError:
        return None
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        progress.TextColumn("{task.fields[loss]}"),
        console=console.Console(stderr=True),
    )
