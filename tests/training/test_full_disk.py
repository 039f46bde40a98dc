"""Training meets a file system that is really full: nothing is lost, and it goes on from there."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.runs import TINY, Overrides, Start, Train

from lrisc.files import UnwritableError
from lrisc.training.reporting import Reporter, board_errors_once


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 MB of its own."""
    at = tmp_path / "disk"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128m", "none", at]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a file system to fill")
    yield at
    subprocess.run(["umount", "--lazy", at], check=True)  # a failed test still holds its logs


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all of it but some bytes, in pages."""
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - leave))
    return filler


def files(folder: Path) -> dict[str, bytes]:
    """Logs are added to, and a lock is empty; all else is either as it was or complete."""
    logs = ("metrics.jsonl", ".lock")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in logs and "tfevents" not in path.name
    }


@pytest.mark.slow
def test_a_full_disk_costs_nothing(disk: Path, tmp_path: Path, train: Train) -> None:
    often = {"save_minutes": 0, "validate.minutes": 0}
    for steps in (2, 4):
        train(output=tmp_path / "whole", steps=steps, **often)
    train(output=disk / "run", steps=2, **often)
    before = files(disk / "run")
    size = len(before["state.safetensors"])
    # Full at the log, and at the state.
    for leave, where in ((0, "run"), (size // 2, "state.safetensors")):
        filler = fill(disk, leave)
        with pytest.raises(UnwritableError, match=f"{where}.*No space left on device") as told:
            train(output=disk / "run", steps=4, **often)
        filler.unlink()
        assert "\n" not in str(told.value)
        assert files(disk / "run") == before
    assert train(output=disk / "run", steps=4, **often) == "finished"
    name = "final/model.safetensors"
    assert (disk / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    # Full at the first checkpoint, which comes before the first state.
    filler, seldom = fill(disk, size // 8), often | {"save_minutes": 60}
    with pytest.raises(UnwritableError, match=r"best.*No space left on device"):
        train(output=disk / "other", steps=1, **seldom)
    filler.unlink()
    assert all(name.startswith("samples/") for name in files(disk / "other"))
    assert train(output=disk / "other", steps=1, **seldom) == "finished"


@pytest.mark.process
def test_a_full_disk_is_told_in_one_line(
    disk: Path, short: Overrides, start_training: Start
) -> None:
    filler = fill(disk, 0)
    process = start_training(TINY / "stage1.yaml", short(output=disk / "run", steps=2))
    _, errors = process.communicate()
    told = [line for line in errors.splitlines() if not line.startswith("INFO")]
    assert process.returncode == 2
    assert len(told) == 1
    assert "No space left on device" in told[0]
    filler.unlink()
    assert files(disk / "run") == {}


@pytest.mark.parametrize("call", ["write", "flush"])
def test_the_thread_of_tensorboard_does_not_tell_it_again(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter
    printed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, call, full)
    with (
        pytest.raises(UnwritableError, match="tensorboard: No space left"),
        board_errors_once(),
        Reporter(tmp_path, "stage", 0) as reporter,
    ):
        reporter.log(1, {"loss": 0.5})
    assert printed == []
    # Other threads' errors are still told.
    with board_errors_once():
        thread = threading.Thread(target=full)
        thread.start()
        thread.join()
    assert [told.exc_type for told in printed] == [OSError]


def test_an_error_of_tensorboard_that_comes_late_is_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    class Board(threading.Thread):
        exception: OSError | None = None

        def run(self) -> None:
            self.exception = OSError(28, "No space left on device")
            failed.set()
            time.sleep(0.2)
            raise self.exception

    Board.__module__ = "tensorboard.writer"
    failed, board = threading.Event(), Board()
    with board_errors_once():
        board.start()
        failed.wait()
    board.join()
    assert printed == []
