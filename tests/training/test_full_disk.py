"""Training meets a file system that is really full: nothing is lost, and it goes on from there."""

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrisc.files import UnwritableError
from lrisc.training.reporting import Reporter, board_errors_once

Overrides = Callable[..., list[str]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB of its own."""
    at = tmp_path / "disk"
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", at]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a file system to fill")
    yield at
    subprocess.run(["umount", at], check=True)


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
def test_a_full_disk_costs_nothing(
    disk: Path, tiny_configs: Path, short: Overrides, tmp_path: Path,
    start_training: Callable[..., Any],
) -> None:  # fmt: skip
    config, settings = tiny_configs / "stage1.yaml", {"save_minutes": 0, "validate.minutes": 0}

    def train(output: Path, steps: int) -> tuple[int, list[str]]:
        process = start_training(config, short(output=output, steps=steps, **settings))
        _, errors = process.communicate()
        return process.returncode, [x for x in errors.splitlines() if not x.startswith("INFO")]

    assert train(tmp_path / "whole", 4) == (0, [])
    # Before anything is there.
    filler = fill(disk, 0)
    code, told = train(disk / "run", 2)
    assert (code, len(told)) == (2, 1)
    assert "No space left on device" in told[0]
    assert files(disk / "run") == {}
    filler.unlink()
    assert train(disk / "run", 2) == (0, [])
    before = files(disk / "run")
    state = len(before["state.safetensors"])
    # In the log, in the first state, in a checkpoint after it.
    for leave, where in ((0, ""), (state // 2, "state.safetensors"), (state + 20_000, "final")):
        filler = fill(disk, leave)
        code, told = train(disk / "run", 4)
        filler.unlink()
        assert (code, len(told)) == (2, 1), told
        assert where in told[0]
        assert "No space left on device" in told[0]
        kept = files(disk / "run")
        if where != "final":
            assert kept == before
        assert {name: kept.get(name) for name in before if "final" in name} == {
            name: content for name, content in before.items() if "final" in name
        }
        assert not [name for name in kept if name.endswith(".tmp")]
    assert train(disk / "run", 4) == (0, [])
    name = "final/model.safetensors"
    assert (disk / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_thread_of_tensorboard_does_not_tell_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter
    printed: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "flush", full)
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
