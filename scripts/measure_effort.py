"""Measure what effort gains: `measure_effort.py FOLDER -o DIR`; its curves: `DIR --plot`.

One row of effort.csv per picture, condition, objective, effort and SNR at the receiver; stopped and
run again it goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import lrisc
from lrisc.link.budget import parse_cbr
from lrisc.metrics.distortion import ms_ssim, psnr
from lrisc.metrics.lpips import Lpips

COLUMNS = [
    "model",
    "image",
    "snr_db",
    "cbr",
    "objective",
    "effort",
    "received_snr_db",
    "psnr_db",
    "ms_ssim",
    "alex",
    "vgg",
    "seconds",
]
# snr, cbr, objective, efforts, SNRs at the receiver
TABLE = [
    (10, "1/48", "perception", (0, 10, 20), (7, 10, 13)),
    (0, "1/48", "perception", (0, 20), (0,)),
    (20, "1/48", "perception", (0, 20), (20,)),
    (10, "1/96", "perception", (0, 20), (10,)),
    (10, "1/12", "perception", (0, 20), (10,)),
    (10, "1/48", "distortion", (20, 100), (10,)),
]
CURVES = [
    (10, "1/48", name, (0, 1, 2, 5, 10, 20, 50, 100), (10,))
    for name in ("perception", "distortion")
]


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None] / 255


def measure(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "effort.csv"
    done = set()
    if path.exists():
        with path.open() as file:
            done = {tuple(row[name] for name in COLUMNS[:7]) for row in csv.DictReader(file)}
    else:
        path.write_text(",".join(COLUMNS) + "\n")
    transmitter = lrisc.Transmitter.from_pretrained(args.model)
    receiver = lrisc.Receiver(transmitter.checkpoint)
    alex, vgg = Lpips.from_weights("alex"), Lpips.from_weights("vgg")
    sha = transmitter.checkpoint.sha256[:12]
    files = sorted(p for p in args.folder.iterdir() if p.suffix.lower() in (".png", ".jpg"))
    for file in files[:: args.stride][: args.limit]:
        picture = Image.open(file).convert("RGB")
        if args.crop:
            left, top = ((side - args.crop) // 2 for side in picture.size)
            picture = picture.crop((left, top, left + args.crop, top + args.crop))
        source = tensor(picture)
        for snr, cbr, objective, efforts, heard in CURVES if args.curves else TABLE:
            for effort in efforts:
                keys = [
                    tuple(map(str, (sha, file.name, snr, cbr, objective, effort, at)))
                    for at in heard
                ]
                if all(key in done for key in keys):
                    continue
                start = time.perf_counter()
                frame = transmitter.encode(
                    picture, snr_db=snr, cbr=parse_cbr(cbr), effort=effort, objective=objective
                )
                seconds = time.perf_counter() - start
                for at, key in zip(heard, keys, strict=True):
                    painted = tensor(receiver.decode(lrisc.channel("awgn", at, seed=1)(frame)))
                    with torch.no_grad():
                        lpips = [float(d(painted * 2 - 1, source * 2 - 1)) for d in (alex, vgg)]
                    figures = (
                        float(psnr(painted, source)),
                        float(ms_ssim(painted, source)),
                        *lpips,
                    )
                    row = [*key, *(f"{v:.5f}" for v in figures), f"{seconds:.2f}"]
                    with path.open("a") as out:
                        out.write(",".join(row) + "\n")
                    print(",".join(row), flush=True)


def means(folder: Path) -> dict[tuple[str, ...], list[float]]:
    groups: dict[tuple[str, ...], list[list[float]]] = defaultdict(list)
    with (folder / "effort.csv").open() as file:
        for row in csv.DictReader(file):
            key = tuple(row[name] for name in COLUMNS[:7] if name != "image")
            groups[key].append([float(row[name]) for name in COLUMNS[7:]])
    return {key: [*np.mean(rows, 0), len(rows)] for key, rows in groups.items()}


def table(folder: Path) -> None:
    found = means(folder)
    print(
        "| SNR | CBR | objective | effort | heard at | PSNR | MS-SSIM | Alex | VGG | s | pictures |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (_, *key), (db, ssim, alex, vgg, seconds, count) in found.items():
        told = " | ".join(key)
        print(
            f"| {told} | {db:.2f} | {ssim:.4f} | {alex:.4f} | {vgg:.4f} | {seconds:.1f} | {count} |"
        )


def plot(folder: Path) -> None:
    from matplotlib.figure import Figure

    found = means(folder)
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3)
    for objective in ("perception", "distortion"):
        rows = sorted(
            (int(key[4]), value)
            for key, value in found.items()
            if key[1:4] == ("10", "1/48", objective) and key[5] == "10"
        )
        for column, (index, name) in enumerate(
            ((0, "PSNR, dB"), (2, "LPIPS-Alex"), (3, "LPIPS-VGG"))
        ):
            for line, x in enumerate(([e for e, _ in rows], [v[4] for _, v in rows])):
                axes[line, column].plot(x, [v[index] for _, v in rows], "o-", label=objective)
                axes[line, column].set_xlabel(("iterations", "seconds")[line])
                axes[line, column].set_ylabel(name)
    axes[0, 0].legend()
    figure.savefig(folder / "effort.png", dpi=110)
    print(folder / "effort.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("effort"))
    parser.add_argument("--model", default="compact")
    parser.add_argument("--curves", action="store_true", help="many efforts at 10 dB, for --plot")
    parser.add_argument("--crop", type=int, default=0, help="centre of so many pixels a side")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--plot", action="store_true", help="FOLDER holds effort.csv: draw it")
    args = parser.parse_args()
    if not args.plot:
        measure(args)
        table(args.output)
    else:
        table(args.folder)
        plot(args.folder)


if __name__ == "__main__":
    main()
