"""Training meets strange names, two of itself, missing packages and Ctrl-C."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.training.runs import TINY, Overrides, Train

from lrisc.errors import InputError
from lrisc.files import UnwritableError
from lrisc.images import MAX_FILE_BYTES
from lrisc.training.config.schema import DataConfig
from lrisc.training.data.sources import list_pictures, read_pictures
from lrisc.training.data.squares import open_pictures
from lrisc.training.loop import Slot
from lrisc.training.reporting import Reporter
from lrisc.training.schedule import run
from lrisc.training.state import locked, read_progress

STRANGE = os.fsdecode(b"b\xff.png")


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def test_names_need_not_be_text(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(png(number))
    try:
        (folder / STRANGE).write_bytes(png(9))
    except OSError:
        pytest.skip("this file system takes text only")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        entry = tarfile.TarInfo(STRANGE)
        entry.size = len(png())
        tar.addfile(entry, io.BytesIO(png()))
    data = DataConfig(cache=str(tmp_path / "cache"), square=64, crop=64, pictures=4)
    assert len(open_pictures((str(folder),), data, 4)) == 4
    assert len(open_pictures((str(tmp_path / "shard.tar"),), data, 1)) == 1


def test_a_sparse_member_of_gigabytes_is_skipped(tmp_path: Path) -> None:
    large = tmp_path / "sparse.png"
    with large.open("wb") as file:
        file.truncate(3 << 30)
    subprocess.run(["tar", "-S", "-cf", tmp_path / "a.tar", "-C", tmp_path, large.name], check=True)
    assert (tmp_path / "a.tar").stat().st_size < MAX_FILE_BYTES
    large.unlink()
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(3 << 30)
    paths = (str(tmp_path / "a.tar"), str(tmp_path))
    found = list(read_pictures(list_pictures(paths)))
    assert {picture.name for picture in found} == {"sparse.png", "large.jpg"}
    assert all(picture.raw is None for picture in found)


@pytest.mark.process
@pytest.mark.parametrize("command", [["lrisc", "train"], ["lrisc.training"]])
def test_without_accelerate_there_is_a_sentence(command: list[str]) -> None:
    code = (
        "import runpy, sys; sys.modules['accelerate'] = None\n"
        "module, *arguments = sys.argv[1:]; sys.argv = [module, *arguments]\n"
        "runpy.run_module(module, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "x.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "training needs accelerate: pip install 'lrisc[train]'" in done.stderr


@pytest.mark.slow
@pytest.mark.process
def test_ctrl_c_while_compiling_is_one_line(
    short: Overrides, tmp_path: Path, train: Train, state: Path
) -> None:
    """A terminal sends it to every process, compilers too; the run goes on from its state."""
    config, compiled = TINY / "stage1.yaml", tmp_path / "compiled"
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(compiled),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    arguments = short(compile="true", steps=3, device="cpu")
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "lrisc", "train", str(config), *arguments],
        stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if "compiling, this takes minutes" in line:
                break
        else:
            assert process.wait() == 0, "".join(told)
            pytest.skip("".join(told))  # there is no compiler

        def sources() -> int:
            return sum(1 for _ in compiled.rglob("*.cpp"))

        known = sources()
        while sources() == known and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, rest = process.communicate()
    assert process.returncode == 130
    last = "WARNING: interrupted: stage1 stopped at step 0; the same command goes on from there"
    assert rest.splitlines() == [last]
    assert read_progress(state).step == 0
    # Without compiling, which is another arithmetic.
    assert train(steps=3, device="cpu", resume_anyway="true") == "finished"


@pytest.mark.parametrize("when", ["before", "within", "compilers die of it"])
def test_ctrl_c_does_not_wait_for_the_compiler(
    monkeypatch: pytest.MonkeyPatch, when: str, train: Train, state: Path
) -> None:
    def ctrl_c() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # the signal is handled between two lines

    begun: list[bool] = []

    def compile_it(*_: object) -> None:
        begun.append(True)
        try:
            ctrl_c()
        except KeyboardInterrupt:
            if when == "within":
                raise
            raise RuntimeError("a compiler ended") from None
        pytest.fail("it went on")

    def asked(*_: object) -> bool:
        if when == "before":
            ctrl_c()
        return True

    monkeypatch.setattr("lrisc.training.tasks.lrisc.LriscTask.compile", asked)
    monkeypatch.setattr("lrisc.training.loop.Trainer._backward", compile_it)
    assert train(steps=3, compile="true") == "interrupted"
    assert begun == ([] if when == "before" else [True])
    assert read_progress(state).step == 0


def test_once_it_is_compiled_a_signal_only_asks_to_stop() -> None:
    slot = Slot(0)
    with slot.signals():
        with slot.at_once():
            pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        assert slot.interrupted


@pytest.mark.parametrize(
    "text", ["mine\n", "[]\n", '{"epoch": 1}\n', '{"step": "x"}\n', "[" * 100_000 + "\n", "\xff\n"]
)
def test_a_log_of_somebody_else_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="is no log of a training: choose another output"):
        Reporter(tmp_path, "stage", 0)
    assert path.read_text() == text


def test_our_own_log_goes_on_where_the_state_is(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [f'{{"step": {step}, "group": "train", "loss": 1.0}}' for step in range(4)]
    path.write_text("\n".join([*lines, '{"step": 4, "gr']))
    Reporter(tmp_path, "stage", 2)
    assert path.read_text().splitlines() == lines[:3]


@pytest.mark.parametrize("plan", [True, False])
def test_a_checkpoint_that_no_state_tells_of_stays(
    short: Overrides, tmp_path: Path, plan: bool
) -> None:
    config = TINY / ("all.yaml" if plan else "stage1.yaml")
    kept = tmp_path / "run" / "final" / "model.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"mine")
    arguments = [f"output={tmp_path / 'run'}"] if plan else short(steps=1)
    with pytest.raises(InputError, match=r"final is there already, and no state"):
        run(config, arguments)
    assert kept.read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["final"]


def test_a_plan_without_a_temporary_folder_ends_in_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrisc.training import schedule

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(UnwritableError, match="temporary folder: No such file"):
        schedule._finish(tiny_folder, tmp_path / "final")
    assert not (tmp_path / "final").exists()


@pytest.mark.parametrize(
    "progress",
    ["[" * 100_000, "[]", "x", "{}x", '{"config": "x"}', '{"step": "1"}', '{"step": null}',
     '{"sums": []}', '{"best": "x"}', '{"wrong": 1}', '{"step": ' + "9" * 5000 + "}"],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_state_that_nobody_wrote_is_one_line(tmp_path: Path, progress: str) -> None:
    path = tmp_path / "state.safetensors"
    meta = {"format": "lrisc-training-1", "progress": progress}
    save_file({"x": torch.zeros(1)}, path, meta)
    with pytest.raises(InputError, match="cannot read the training state") as told:
        read_progress(path)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


def test_what_a_killed_training_left_half_written_goes(tmp_path: Path) -> None:
    for name in (
        ".state.safetensors.7.tmp",
        "best/.model.safetensors.12.tmp",
        "final/.config.json.12.tmp",
        "samples/.step-00000001.png.12.tmp",
        "another-run/.state.safetensors.9.tmp",
        "another-run/best/.model.safetensors.9.tmp",
        ".mine.tmp",
        "a.tmp",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    with locked(tmp_path):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        ".lock",
        ".mine.tmp",
        "a.tmp",
        # Of a training that is going on.
        "another-run/.state.safetensors.9.tmp",
        "another-run/best/.model.safetensors.9.tmp",
    }


@pytest.mark.slow
def test_the_step_that_compiles_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, train: Train
) -> None:
    """Weights, averages and moments are those of a run without it, to the bit."""
    train("stage3", output=tmp_path / "without", steps=2)
    monkeypatch.setattr("lrisc.training.tasks.lrisc.LriscTask.compile", lambda *_: True)
    train("stage3", output=tmp_path / "with", steps=2, compile="true")
    without, there = (load_file(tmp_path / n / "state.safetensors") for n in ("without", "with"))
    assert without.keys() == there.keys()
    assert all(torch.equal(tensor, there[name]) for name, tensor in without.items())
