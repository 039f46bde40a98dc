"""Whole commands with a clock: how long a user waits for ``transmit``, ``encode`` and ``decode``.

    python scripts/measure_start.py                      # a sample portrait of 768×512
    python scripts/measure_start.py photo.jpg --runs 5

Each command runs in a process of its own, as typed. The time of the processor tells of a machine
that does something else besides; the clock alone does not.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
from PIL import Image, ImageOps

TARGETS = {"transmit": 4.0, "transmit bf16": 4.0, "encode": 3.0, "decode": 3.0}
"""Seconds on two quiet cores."""


def commands(picture: Path, folder: Path) -> dict[str, list[str]]:
    sent = str(folder / "sent.sigmf-meta")
    return {
        "--version": ["--version"],
        "transmit": ["transmit", str(picture), "--out", str(folder / "out")],
        "transmit bf16": ["transmit", str(picture), "--precision", "bf16",
                          "--out", str(folder / "out")],
        "encode": ["encode", str(picture), "-o", sent],
        "decode": ["decode", sent, "-o", str(folder / "received.png")],
    }  # fmt: skip


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of the clock and of the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "lrisc", *command], check=True, capture_output=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        picture = arguments.picture
        if picture is None:
            picture = folder / "portrait.png"
            sample = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
            ImageOps.fit(Image.open(sample).convert("RGB"), (768, 512)).save(picture)
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        print(f"{os.cpu_count()} cores, load {load:.1f}; median of {arguments.runs}, seconds")
        print("| command | clock | processor | target |\n|---|---|---|---|")
        for name, command in commands(picture, folder).items():
            timed(command)  # files that the system has not read yet
            found = [timed(command) for _ in range(arguments.runs)]
            clock, processor = (statistics.median(column) for column in zip(*found, strict=True))
            target = f"{TARGETS[name]:g}" if name in TARGETS else ""
            print(f"| {name} | {clock:.2f} | {processor:.2f} | {target} |", flush=True)


if __name__ == "__main__":
    main()
