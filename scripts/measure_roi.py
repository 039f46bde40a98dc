"""What a region of interest gains, at equal total CBR, over a folder of pictures.

    python scripts/measure_roi.py FOLDER [--roi auto] [--cbr 0.017 1/48] [--strength 0.45]
        [--steering latent rate both power] [--snr 10] [--model compact] [--limit 24]
        [--plugin MODULE] [--csv ROWS.csv]

Every picture is sent without the region and with it; both are measured inside and outside of it.
Prints a line per setting: means over the pictures that have a region and no outage. ROI may also be
the .npy of tools/saliency/teacher_maps.py, one map per picture in the order of names.
"""

import argparse
import csv
import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import lrisc
from lrisc.images import load_image, pictures_in
from lrisc.link.budget import parse_cbr
from lrisc.metrics.region import region_quality, region_symbols
from lrisc.registry import add_plugin_option, import_plugins
from lrisc.roi.fusion import STEERINGS
from lrisc.roi.masks import region_mask
from lrisc.roi.region import DEFAULT_GAMMA, Region

QUALITY = ("psnr_inside_db", "psnr_outside_db", "lpips_inside", "lpips_outside")
SYMBOLS = ("symbols_inside", "symbols_outside")
COLUMNS = ("image", "cbr", "steering", "strength", "psnr_db", "lpips", *QUALITY, *SYMBOLS)


def mask_of(roi, picture, index):
    if not roi.endswith(".npy"):
        return region_mask(roi, picture)
    small = torch.from_numpy(np.load(roi, mmap_mode="r")[index].astype(np.float32) / 255)
    size = picture.shape[-2:]
    large = F.interpolate(small[None, None], size, mode="bilinear")[0, 0]
    return region_mask(lambda _: large, picture)


def send(picture, mask, arguments, cbr, strength=1.0, steering="latent"):
    result = lrisc.transmit(
        picture,
        snr_db=arguments.snr,
        cbr=cbr,
        roi=None if strength == 1 else Region(mask, strength, steering),
        model=arguments.checkpoint,
        seed=arguments.seed,
    )
    report = result.report.to_dict()
    if result.reconstruction is None:
        return None
    report |= region_quality(result.source, result.reconstruction, mask)
    report |= region_symbols(result.rate_map, mask)
    return report


def average(
    rows: list[dict[str, Any]], base: dict[Any, dict[str, Any]], name: str, gain: bool = False
) -> float:
    """Mean of a figure over rows, or of what it gained over the rows without a region."""
    pairs = [(r[name], base[r["image"], r["cbr"]][name]) for r in rows]
    pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
    return float(np.mean([a - b if gain else a for a, b in pairs])) if pairs else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--roi", default="auto")
    parser.add_argument("--cbr", nargs="+", default=["0.017", "1/48"])
    parser.add_argument("--strength", nargs="+", type=float, default=[DEFAULT_GAMMA])
    parser.add_argument("--steering", nargs="+", default=["power"], choices=STEERINGS)
    parser.add_argument("--snr", type=float, default=10.0)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many pictures, evenly spread")
    parser.add_argument("--csv", type=Path, help="a row per picture and setting")
    add_plugin_option(parser)
    arguments = parser.parse_args()
    import_plugins(arguments.plugin)
    logging.disable(logging.WARNING)
    arguments.checkpoint = lrisc.load_checkpoint(arguments.model)
    paths = pictures_in(arguments.folder)
    step = max(len(paths) // (arguments.limit or len(paths)), 1)
    rows, without_region = [], 0
    for index in list(range(0, len(paths), step))[: arguments.limit]:
        picture = load_image(paths[index])
        mask = mask_of(arguments.roi, picture, index)
        if mask is None:
            without_region += 1
            print(f"{paths[index].name}: nothing salient", flush=True)
            continue
        for text in arguments.cbr:
            cbr = parse_cbr(text)
            settings = [(1.0, "none")]
            settings += [(g, s) for s in arguments.steering for g in arguments.strength if g < 1]
            for strength, steering in settings:
                how = "latent" if steering == "none" else steering
                report = send(picture, mask, arguments, cbr, strength, how)
                if report is not None:
                    row = {"image": paths[index].name, "cbr": text}
                    row |= {"steering": steering, "strength": strength}
                    rows.append(row | {key: report[key] for key in COLUMNS[4:]})
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    summarise(rows, without_region)


def summarise(rows, without_region) -> None:
    base = {(r["image"], r["cbr"]): r for r in rows if r["steering"] == "none"}
    print(f"\n{len({r['image'] for r in rows})} pictures, {without_region} without a region")
    print(
        "cbr    steering strength | symbols in/out ratio | PSNR in, out, all | LPIPS in, out, all"
    )
    for key in dict.fromkeys((r["cbr"], r["steering"], r["strength"]) for r in rows):
        chosen = [r for r in rows if (r["cbr"], r["steering"], r["strength"]) == key]
        chosen = [r for r in chosen if (r["image"], r["cbr"]) in base]

        mean = partial(average, chosen, base)
        psnr = "  ".join(
            f"{mean(n):.2f} ({mean(n, gain=True):+.2f})"
            for n in ("psnr_inside_db", "psnr_outside_db", "psnr_db")
        )
        lpips = "  ".join(
            f"{mean(n):.4f} ({mean(n, gain=True):+.4f})"
            for n in ("lpips_inside", "lpips_outside", "lpips")
        )
        inside, outside = mean("symbols_inside"), mean("symbols_outside")
        worse = mean("lpips", gain=True) / (mean("lpips") - mean("lpips", gain=True))
        print(
            f"{key[0]:6} {key[1]:8} {key[2]:<5} | {inside:.1f} / {outside:.1f}"
            f" = {inside / outside:.2f} | {psnr} | {lpips} = {worse:+.1%}"
        )


if __name__ == "__main__":
    main()
