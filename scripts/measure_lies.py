"""What each mechanism of a checkpoint is worth: the cost of lying about it.

    python scripts/measure_lies.py FOLDER [--model compact] [--snr 10] [--cbr 1/48] [--limit N]

Prints a Markdown table: PSNR and LPIPS over the pictures of a folder, everything counted, and what
each lie costs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import lrisc
from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.evaluation.lies import LIES, without_region
from lrisc.images import pictures_in
from lrisc.link.budget import parse_cbr
from lrisc.link.frame import Frame
from lrisc.metrics.quality import quality


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--snr", type=float, default=10.0)
    parser.add_argument("--cbr", default="1/48")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    arguments = parser.parse_args()
    checkpoint = lrisc.load_checkpoint(arguments.model)
    paths = pictures_in(arguments.folder)[: arguments.limit]

    def with_region(change: Callable[[Frame], Frame]) -> list[float]:
        transmitter, receiver = lrisc.Transmitter(checkpoint), lrisc.Receiver(checkpoint)
        rows: list[tuple[float, float]] = []
        for path in paths:
            try:
                frame = transmitter.encode(
                    path, snr_db=arguments.snr, cbr=parse_cbr(arguments.cbr), roi="auto"
                )
            except InputError:  # nothing stands out in the picture
                continue
            received = lrisc.channel("awgn", snr_db=arguments.snr)(change(frame))
            source = Image.open(path).convert("RGB")
            found = quality(source, receiver.decode(received))
            rows.append((found["psnr_db"], found["lpips"]))
        return np.mean(rows, axis=0).tolist()

    def measure(told: LoadedCheckpoint) -> list[float]:
        rows: list[tuple[float, float]] = []
        for path in paths:
            report = lrisc.transmit(
                path, snr_db=arguments.snr, cbr=parse_cbr(arguments.cbr), model=told
            ).report
            if report.psnr_db is not None and report.lpips is not None:
                rows.append((report.psnr_db, report.lpips))
        return np.mean(rows, axis=0).tolist()

    print(f"{len(paths)} pictures, AWGN {arguments.snr:g} dB, CBR {arguments.cbr}\n")
    print(
        "| what is told | PSNR (dB) | LPIPS | costs (dB) | costs (LPIPS) |\n|---|---|---|---|---|"
    )

    def row(name: str, figures: list[float], honest: list[float]) -> None:
        cost = f"{honest[0] - figures[0]:+.2f} | {figures[1] - honest[1]:+.4f}"
        print(f"| {name} | {figures[0]:.2f} | {figures[1]:.4f} | {cost} |", flush=True)

    honest = measure(checkpoint)
    row("the truth", honest, honest)
    for lie in LIES:
        row(lie.name, measure(lie.told_to(checkpoint)), honest)
    honest = with_region(lambda frame: frame)
    row("region sent (auto), and told", honest, honest)
    row("region sent, told that there is none", with_region(without_region), honest)


if __name__ == "__main__":
    main()
