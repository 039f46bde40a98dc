"""Measure what effort gains: `measure_effort.py PICTURES -o DIR`, or `--curves` for its curves.

Writes effort.csv, one row per picture, condition, objective, effort and SNR at the receiver, and
effort.md, means and the targets; with `--curves` curves.csv, curves.md and curves.png. Stopped and
run again it goes on where it was; when nothing is left it only writes the tables and the figure.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

import lrisc
from lrisc.images import pictures_in
from lrisc.link.budget import parse_cbr
from lrisc.metrics.distortion import ms_ssim, psnr
from lrisc.metrics.lpips import Lpips

KEYS = ["model", "crop", "image", "snr_db", "cbr", "objective", "effort", "received_snr_db"]
FIGURES = ["psnr_db", "ms_ssim", "alex", "vgg", "seconds", "cpu_seconds"]


class Run(NamedTuple):
    """One frame of every picture, and at which SNRs it is received.

    The rate map's code counts on the lowest of these: a lost map would leave nothing to compare.
    """

    snr: int
    cbr: str
    objective: str
    effort: int
    heard: tuple[int, ...]


TABLE = [
    Run(10, "1/48", "none", 0, (10,)),
    Run(10, "1/48", "perception", 10, (10,)),
    Run(10, "1/48", "perception", 20, (10,)),
    Run(10, "1/48", "distortion", 100, (10,)),
    Run(10, "1/48", "none", 0, (7, 13)),
    Run(10, "1/48", "perception", 20, (7, 13)),
    *(
        Run(snr, cbr, objective, effort, (snr,))
        for snr, cbr in ((0, "1/48"), (20, "1/48"), (10, "1/96"), (10, "1/12"))
        for objective, effort in (("none", 0), ("perception", 20))
    ),
]
CURVES = [
    Run(10, "1/48", "none", 0, (10,)),
    *(
        Run(10, "1/48", objective, effort, (10,))
        for objective in ("perception", "distortion")
        for effort in (1, 2, 5, 10, 20, 50, 100)
    ),
]
# What is asked: snr, cbr, objective, effort, SNR at the receiver; figure; how; limit.
TARGETS = [
    ((10, "1/48", "perception", 20, 10), "alex", "%", -38),
    ((10, "1/48", "perception", 20, 10), "vgg", "%", -10),
    ((10, "1/48", "perception", 20, 10), "psnr_db", "+", 0),
    ((10, "1/48", "perception", 20, 10), "ms_ssim", "+", 0),
    ((0, "1/48", "perception", 20, 0), "alex", "%", -30),
    ((20, "1/48", "perception", 20, 20), "alex", "%", -30),
    ((10, "1/96", "perception", 20, 10), "alex", "%", -30),
    ((10, "1/12", "perception", 20, 10), "alex", "%", -30),
    ((10, "1/48", "distortion", 100, 10), "psnr_db", "+", 1),
    ((10, "1/48", "perception", 20, 7), "alex", "%", 0),
    ((10, "1/48", "perception", 20, 7), "psnr_db", "+", 0),
    ((10, "1/48", "perception", 20, 13), "alex", "%", 0),
    ((10, "1/48", "perception", 20, 13), "psnr_db", "+", 0),
]


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None] / 255


def chosen(folder: Path, limit: int | None) -> list[Path]:
    """All pictures of a folder, or so many of them, evenly spaced."""
    files = pictures_in(folder)
    if limit is None or limit >= len(files):
        return files
    return [files[i * len(files) // limit] for i in range(limit)]


def measure(args: argparse.Namespace, runs: list[Run], path: Path) -> str:
    """Add what is missing; returns the beginning of the weights' SHA-256."""
    done = set()
    if path.exists():
        with path.open() as file:
            done = {tuple(row[name] for name in KEYS) for row in csv.DictReader(file)}
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(",".join([*KEYS, *FIGURES]) + "\n")
    transmitter = lrisc.Transmitter.from_pretrained(args.model)
    receiver = lrisc.Receiver(transmitter.checkpoint)
    distances = Lpips.from_weights("alex"), Lpips.from_weights("vgg")
    sha = transmitter.checkpoint.sha256[:12]
    for file in chosen(args.folder, args.limit):
        left_to_do = {
            run: keys
            for run in runs
            if not done.issuperset(
                keys := [
                    (sha, str(args.crop), file.name, *map(str, run[:4]), str(at))
                    for at in run.heard
                ]
            )
        }
        if not left_to_do:
            continue
        picture = Image.open(file).convert("RGB")
        if args.crop:
            left, top = ((side - args.crop) // 2 for side in picture.size)
            picture = picture.crop((left, top, left + args.crop, top + args.crop))
        source = tensor(picture)
        with torch.no_grad():
            known = [distance.unit_features(source * 2 - 1) for distance in distances]
        # What is loaded at first use is no picture's time.
        transmitter.encode(picture, snr_db=10, effort=1)
        for run, keys in left_to_do.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            frame = transmitter.encode(
                picture,
                snr_db=run.snr,
                cbr=parse_cbr(run.cbr),
                margin_db=run.snr - min(run.heard),
                effort=run.effort,
                objective="perception" if run.objective == "none" else run.objective,
            )
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
            rows = []
            for at, key in zip(run.heard, keys, strict=True):
                painted = tensor(receiver.decode(lrisc.channel("awgn", at, seed=1)(frame)))
                with torch.no_grad():
                    lpips = [
                        float(distance.to_features(painted * 2 - 1, features))
                        for distance, features in zip(distances, known, strict=True)
                    ]
                figures = float(psnr(painted, source)), float(ms_ssim(painted, source)), *lpips
                told = [*(f"{v:.5f}" for v in figures), f"{seconds:.2f}", f"{cpu:.2f}"]
                rows.append(",".join([*key, *told]))
            with path.open("a") as out:
                out.write("\n".join(rows) + "\n")
            print("\n".join(rows), flush=True)
    return sha


class Gain(NamedTuple):
    """Means over the pictures that have both: without effort, with it."""

    before: dict[str, float]
    after: dict[str, float]
    pictures: int

    def change(self, name: str, how: str) -> float:
        after, before = self.after[name], self.before[name]
        return 100 * (after / before - 1) if how == "%" else after - before


def gains(path: Path, sha: str, crop: int) -> dict[tuple[str, ...], Gain]:
    """By SNR, CBR, objective, effort and SNR at the receiver."""
    rows: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(dict)
    with path.open() as file:
        for row in csv.DictReader(file):
            if (row["model"], row["crop"]) == (sha, str(crop)):
                key = tuple(row[name] for name in KEYS[3:])
                rows[key][row["image"]] = [float(row[name]) for name in FIGURES]
    found = {}
    for key, with_it in rows.items():
        without = rows.get((*key[:2], "none", "0", key[4]), {})
        both = sorted(with_it.keys() & without.keys())
        if both:
            before, after = (
                dict(zip(FIGURES, np.mean([of[name] for name in both], 0).tolist(), strict=True))
                for of in (without, with_it)
            )
            found[key] = Gain(before, after, len(both))
    return found


def table(found: dict[tuple[str, ...], Gain]) -> str:
    lines = [
        "| SNR, heard at | CBR | objective, effort | PSNR | MS-SSIM | LPIPS-Alex | LPIPS-VGG "
        "| s | CPU s | pictures |",
        "|---" * 10 + "|",
    ]
    for (snr, cbr, objective, effort, at), gain in found.items():
        if effort == "0":
            continue
        before, after = gain.before, gain.after
        lines.append(
            f"| {snr} dB{'' if at == snr else f', {at} dB'} | {cbr} | {objective}, {effort} "
            f"| {before['psnr_db']:.2f} → {after['psnr_db']:.2f} dB "
            f"| {before['ms_ssim']:.4f} → {after['ms_ssim']:.4f} "
            + "".join(
                f"| {before[name]:.4f} → {after[name]:.4f} ({gain.change(name, '%'):+.1f} %) "
                for name in ("alex", "vgg")
            )
            + f"| {after['seconds']:.1f} | {after['cpu_seconds']:.1f} | {gain.pictures} |"
        )
    return "\n".join(lines)


def targets(found: dict[tuple[str, ...], Gain]) -> str:
    lines = ["| SNR, heard at | CBR | objective, effort | figure | must | is | |", "|---" * 7 + "|"]
    for (snr, cbr, objective, effort, at), name, how, limit in TARGETS:
        key = (str(snr), cbr, objective, str(effort), str(at))
        if key not in found:
            continue
        gain = found[key]
        change = gain.change(name, how)
        met = change <= limit if name in ("alex", "vgg") else change >= limit
        unit = " %" if how == "%" else " dB" if name == "psnr_db" else ""
        lines.append(
            f"| {snr} dB, {at} dB | {cbr} | {objective}, {effort} | {name} | {limit:+g}{unit} "
            f"| {change:+.{1 if how == '%' else 3}f}{unit} | {'met' if met else 'NOT met'} |"
        )
    return "\n".join(lines)


def plot(found: dict[tuple[str, ...], Gain], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, 3, sharey="col")
    for objective in ("perception", "distortion"):
        rows = sorted(
            (int(effort), gain.after)
            for (*_, name, effort, _), gain in found.items()
            if name in (objective, "none")
        )
        at = [max(effort, 0.5) for effort, _ in rows], [row["cpu_seconds"] for _, row in rows]
        for column, (name, label) in enumerate(
            (("psnr_db", "PSNR, dB"), ("alex", "LPIPS-AlexNet"), ("vgg", "LPIPS-VGG"))
        ):
            for line, x in enumerate(at):
                axis = axes[line, column]
                axis.plot(x, [row[name] for _, row in rows], "o-", ms=4, label=objective)
                axis.set_xscale("log")
                axis.set_xlabel(("iterations (leftmost: none)", "processor seconds")[line])
                axis.set_ylabel(label if line == 0 or column == 0 else "")
                axis.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="PICTURES")
    parser.add_argument("-o", "--output", type=Path, default=Path("effort"))
    parser.add_argument("--model", default="compact")
    parser.add_argument("--curves", action="store_true", help="many efforts at 10 dB, and a figure")
    parser.add_argument("--crop", type=int, default=0, help="centre of so many pixels a side")
    parser.add_argument("--limit", type=int, help="so many pictures, evenly spaced")
    args = parser.parse_args()
    name = "curves" if args.curves else "effort"
    path = args.output / f"{name}.csv"
    sha = measure(args, CURVES if args.curves else TABLE, path)
    found = gains(path, sha, args.crop)
    told = f"Weights `{sha}`, {f'centre {args.crop}²' if args.crop else 'whole pictures'}.\n\n"
    told += table(found) if args.curves else f"{table(found)}\n\n{targets(found)}"
    path.with_suffix(".md").write_text(told + "\n")
    print(told)
    if args.curves:
        plot(found, path.with_suffix(".png"))
        print(path.with_suffix(".png"))


if __name__ == "__main__":
    main()
