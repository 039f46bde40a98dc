"""Mean quality and symbol counts of a checkpoint over a folder of pictures.

    python scripts/measure.py FOLDER [--model compact] [--snr 10] [--cbr 1/48] [--channel awgn]

Prints a line per picture and the means; outages are counted and left out of the means.
"""

import argparse
from pathlib import Path

import numpy as np

import lrisc
from lrisc.link.budget import parse_cbr

KEYS = ("psnr_db", "ms_ssim", "lpips", "cbr", "cbr_payload")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--snr", type=float, default=10.0)
    parser.add_argument("--cbr", default="1/48")
    parser.add_argument("--channel", default="awgn")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    arguments = parser.parse_args()
    checkpoint = lrisc.load_checkpoint(arguments.model)
    paths = sorted(
        p for p in arguments.folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")
    )[: arguments.limit]
    rows, outages = [], 0
    for path in paths:
        report = lrisc.transmit(
            path,
            snr_db=arguments.snr,
            cbr=parse_cbr(arguments.cbr),
            channel=arguments.channel,
            steps=arguments.steps,
            seed=arguments.seed,
            model=checkpoint,
        ).report.to_dict()
        if report["outage"]:
            outages += 1
            print(f"{path.name}: outage")
            continue
        row = [np.nan if report[key] is None else report[key] for key in KEYS]
        rows.append(row)
        print(f"{path.name}: " + "  ".join(f"{k} {v:.5f}" for k, v in zip(KEYS, row, strict=True)))
    mean = np.mean(rows, axis=0)
    overhead = mean[3] - mean[4]
    print(
        f"\nmean of {len(rows)} pictures, {arguments.channel} {arguments.snr:g} dB: "
        f"PSNR {mean[0]:.2f} dB, MS-SSIM {mean[1]:.4f}, LPIPS {mean[2]:.4f}, CBR {mean[3]:.5f}, "
        f"of it side information, header and pilots {overhead:.5f}; outages {outages}"
    )


if __name__ == "__main__":
    main()
