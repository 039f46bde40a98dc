"""What a kill at any moment, a full disk and a read-only folder cost: nothing.

    python scripts/robustness.py kills --kills 50    SIGKILL in encode, evaluate and train
    python scripts/robustness.py disks               every command; needs root, to mount

Networks are a random tiny checkpoint. Commands run in forks of this process, so that a kill seldom
falls into the import of libraries. Exit code 1 where anything was lost.
"""

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

from lrisc import cli
from lrisc.checkpoint import save_checkpoint
from lrisc.evaluation.results import ResultsFolder
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc

LOADED = (
    "lrisc.transmission", "lrisc.link.iq", "lrisc.training.schedule", "lrisc.evaluation.command",
    "lrisc.evaluation.figures", "sigmf", "sionna.phy.fec.ldpc", "constriction", "huggingface_hub",
)  # fmt: skip
CONFIG = Path(__file__).parents[1] / "configs" / "tiny" / "stage1.yaml"
STEPS = 8


def start(arguments: list[str], log: Path) -> int:
    """A fork that runs ``lrisc ARGUMENTS``; its output goes to a file."""
    child = os.fork()
    if child:
        return child
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["lrisc", *arguments]
    code = 1
    try:
        cli.main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(
    arguments: list[str], log: Path, after: float | None = None, stop_at: str | None = None
) -> int | None:
    """The exit code; ``None`` where it was killed, so many seconds after its start.

    It is asked to stop as soon as the log holds a text.
    """
    child = start(arguments, log)
    end = time.monotonic() + (after if after is not None else 1e9)
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if stop_at is not None and stop_at in log.read_text():
            os.kill(child, signal.SIGTERM)
        time.sleep(0.005 if stop_at is None else 0.2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def prepare(folder: Path) -> tuple[Path, list[Path]]:
    """A tiny checkpoint and some photographs."""
    for name in LOADED:
        importlib.import_module(name)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    save_checkpoint(folder / "model", Lrisc(PRESETS["tiny"]))
    whole = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    photos: list[Path] = []
    (folder / "photos").mkdir()
    for number in range(24):
        left, top = 11 * number, 13 * number
        photos.append(folder / "photos" / f"{number:02}.png")
        whole.convert("RGB").crop((left, top, left + 128, top + 128)).save(photos[-1])
    return folder / "model", photos


def progress(killed: int, lost: int) -> None:
    """Where a run that is cut short was."""
    print(f"{killed} kills, {lost} lost", file=sys.stderr)


def digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def timed(work: Callable[[], int | None], log: Path) -> float:
    begun = time.monotonic()
    code = work()
    assert code == 0, log.read_text()
    return time.monotonic() - begun


def temporary(folder: Path) -> int:
    """Files that a kill left half written, under names of their own."""
    return len(list(folder.rglob(".*.tmp")))


def kill_encode(folder: Path, model: Path, photos: list[Path], kills: int, seed: int) -> list[str]:
    """Two photographs in turn into one recording: it is always all of one or of the other."""
    log, rng = folder / "log", random.Random(seed)
    name = folder / "rec"
    meta, data = name.with_suffix(".sigmf-meta"), name.with_suffix(".sigmf-data")

    def command(photo: Path) -> list[str]:
        return ["encode", str(photo), "-o", str(name), "--cbr", "1/12", "--model", str(model)]

    whole: set[tuple[str, str]] = set()
    seconds = 0.0
    for photo in photos[:2]:
        seconds = max(seconds, timed(lambda photo=photo: run(command(photo), log), log))
        whole.add((digest(meta), digest(data)))
    before, killed, lost = digest(*photos), 0, 0
    while killed < kills:
        killed += run(command(photos[killed % 2]), log, rng.uniform(0, seconds)) is None
        metas, datas = zip(*whole, strict=True)
        lost += digest(meta) not in metas or digest(data) not in datas
        progress(killed, lost)
    lost += digest(*photos) != before
    return [f"encode: {killed} kills, {lost} lost, {temporary(folder)} temporary files left"]


def kill_evaluate(
    folder: Path, model: Path, photos: list[Path], kills: int, seed: int
) -> list[str]:
    """A sweep: rows stay, and in the end all rows and kept pictures are as without a kill."""
    log, rng = folder / "log", random.Random(seed)
    data = folder / "few"
    data.mkdir()
    for photo in photos[:3]:
        shutil.copy(photo, data)

    def command(results: Path) -> list[str]:
        return [
            "evaluate", str(data), "--schemes", f"lrisc:{model}", "--snr", "5,10,15", "--cbr",
            "1/12", "-j", "1", "--keep", "1", "-o", str(results),
        ]  # fmt: skip

    def rows(results: Path) -> dict[object, object]:
        return {row.key: replace(row, seconds=0) for row in ResultsFolder(results).rows()}

    def pictures(results: Path) -> dict[str, str]:
        kept = contents(results / "pictures")
        return {name: sha for name, sha in kept.items() if not name.endswith(".tmp")}

    reference = folder / "reference"
    seconds = timed(lambda: run(command(reference), log), log)
    expected, killed, lost, finished, within = rows(reference), 0, 0, 0, 0
    results, known = folder / "results-0", dict[object, object]()
    while killed < kills or known != expected:
        # In the end it may finish.
        after = rng.uniform(0, seconds) if killed < kills else None
        code = run(command(results), log, after)
        killed += code is None
        found = rows(results) if (results / "results.csv").exists() else {}
        lost += any(found.get(key) != row for key, row in known.items())
        # With some rows done and others not: in the middle of the work.
        within += code is None and len(found) not in (0, len(expected))
        known = found
        if code == 0:
            lost += known != expected or pictures(results) != pictures(reference)
            finished += 1
            if killed < kills:
                results, known = folder / f"results-{finished}", {}
        elif code is not None:
            lost += 1
            print(log.read_text())
        progress(killed, lost)
    return [
        f"evaluate: {killed} kills, {within} of them between two rows, {lost} lost, {finished} "
        f"sweeps of {len(expected)} rows finished alike, {temporary(folder)} temporary files left"
    ]


def kill_train(folder: Path, model: Path, photos: list[Path], kills: int, seed: int) -> list[str]:
    """A stage that saves every step: losses and final weights are those without a kill."""
    log, rng = folder / "log", random.Random(seed)

    def command(output: Path) -> list[str]:
        return [
            "train", str(CONFIG), f"data={photos[0].parent}", f"output={output}", f"steps={STEPS}",
            "save_minutes=0", "log_every=1", "compile=false", "loss.lpips=0",
            "crops.square=128", "crops.crop=64", "batch_size=1", "validate.minutes=0",
            "validate.pictures=1", "validate.snr_db=[10]", "validate.cbr=[1/24]",
            f"crops.cache={folder / 'cache'}",
            "prior_pictures=4", "crops.held_out=4", "device=cpu", "validate.side=64",
        ]  # fmt: skip

    def made(output: Path) -> tuple[str, list[object]]:
        lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
        losses = [line["loss"] for line in lines if line["group"] == "train"]
        return digest(output / "final" / "model.safetensors"), losses

    reference = folder / "trained"
    seconds = timed(lambda: run(command(reference), log), log)
    expected, killed, lost, finished, within = made(reference), 0, 0, 0, 0
    while killed < kills or not finished:
        output = folder / f"trained-{finished}"
        code = run(command(output), log, rng.uniform(0, seconds) if killed < kills else None)
        killed += code is None
        within += code is None and (output / "state.safetensors").exists()
        if code == 0:
            lost += made(output) != expected
            finished += 1
        elif code is not None:
            lost += 1
            print(log.read_text())
        progress(killed, lost)
    return [
        f"train: {killed} kills, {within} of them after the first step, {lost} lost, {finished} "
        f"runs of {STEPS} steps with the same losses and final bits, {temporary(folder)} temporary "
        "files left"
    ]


KILLED = {"encode": kill_encode, "evaluate": kill_evaluate, "train": kill_train}


def kills(folder: Path, count: int, names: list[str], seed: int) -> list[str]:
    model, photos = prepare(folder)
    return [line for name in names for line in KILLED[name](folder, model, photos, count, seed)]


def commands(folder: Path, at: Path, model: Path, photos: list[Path]) -> dict[str, list[str]]:
    """Every command that writes, told to write into one folder."""
    chosen = ["--model", str(model)]
    rec, photo, data = str(folder / "rec"), str(photos[0]), str(photos[0].parent)
    return {
        "transmit": ["transmit", photo, "--out", f"{at}/sent", "--cbr", "1/12", *chosen],
        "encode": ["encode", photo, "-o", f"{at}/new", "--cbr", "1/12", *chosen],
        "channel": ["channel", rec, "-o", f"{at}/noisy", "--snr", "9"],
        "decode": ["decode", rec, "-o", f"{at}/old.png", *chosen],
        "train": ["train", str(CONFIG), f"data={data}", f"output={at}/run", "compile=false",
                  f"crops.cache={folder}/cache", "crops.square=128", "crops.crop=64", "steps=2",
                  "batch_size=4", "loss.lpips=0", "crops.held_out=4", "device=cpu"],
        "train (cache)": ["train", str(CONFIG), f"data={data}", f"output={folder}/run",
                          f"crops.cache={at}/cache", "crops.square=128", "crops.crop=64"],
        "evaluate": ["evaluate", data, "--schemes", f"lrisc:{model}", "--snr", "9", "--cbr",
                     "1/12", "-j", "1", "--limit", "1", "-o", f"{at}/results"],
        "plot": ["plot", str(folder / "results"), "-o", f"{at}/figures"],
        "export": ["export", "--onnx", f"{at}/networks", *chosen],
        "app": ["app", "--port", "0", *chosen],
    }  # fmt: skip


def disks(folder: Path) -> list[str]:
    model, photos = prepare(folder)
    log = folder / "log"
    run(["encode", str(photos[0]), "-o", str(folder / "rec"), "--cbr", "1/12", "--model",
         str(model)], log)  # fmt: skip
    few = folder / "few"
    few.mkdir()
    shutil.copy(photos[0], few)
    run(["evaluate", str(few), "--schemes", f"lrisc:{model}", "--snr", "5,9", "--cbr", "1/12", "-j",
         "1", "-o", str(folder / "results")], log)  # fmt: skip
    at = folder / "disk"
    at.mkdir()
    told: list[str] = []
    for kind in ("full", "read-only"):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", at], check=True)
        try:
            Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(at / "old.png")
            if kind == "full":
                (at / "filler").write_bytes(bytes(200_000))
                with (at / "filler").open("ab", buffering=0) as file:
                    try:
                        while file.write(bytes(512)):
                            pass
                    except OSError:
                        pass
            else:
                subprocess.run(["mount", "-o", "remount,ro", at], check=True)
            for name, command in commands(folder, at, model, photos).items():
                # The page's folder, and that of programs it starts.
                os.environ["TMPDIR"] = str(at) if name == "app" else str(folder)
                tempfile.tempdir = None
                before = contents(at)
                served = "(Ctrl-C stops)" if name == "app" else None
                code = run(command, log, 300, stop_at=served)
                lines = [x for x in log.read_text().splitlines() if not x.startswith("INFO")]
                fine = code == 2 and len(lines) == 1
                if name == "app":
                    # Another temporary folder does as well.
                    fine |= code == 0 and lines[-1].startswith("stopped by SIGTERM")
                fine &= contents(at) == before
                told.append(
                    f"{kind} disk, {name}: {'fine' if fine else 'NOT FINE'}: {code} {lines[-1:]}"
                )
                print(told[-1], file=sys.stderr)
        finally:
            subprocess.run(["umount", at], check=True)
    return told


def contents(folder: Path) -> dict[str, str]:
    """Files with something in them; a folder or an empty lock is nothing lost."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): digest(p) for p in found if p.stat().st_size}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("kills", "disks"))
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--of", nargs="+", choices=KILLED, default=list(KILLED))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begun = time.monotonic()
        kill = options.what == "kills"
        killing = (folder, options.kills, options.of, options.seed)
        told = kills(*killing) if kill else disks(folder)
        tempfile.tempdir = None
    print("\n".join(told))
    print(f"{time.monotonic() - begun:.0f} s")
    bad = [
        line for line in told if "NOT FINE" in line or ("lost" in line and " 0 lost" not in line)
    ]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
