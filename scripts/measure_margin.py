"""How many rate maps fading costs, by margin: `measure_margin.py PICTURES [--limit 2]`.

Frames cross Rayleigh block fading whose blocks are short or long, so that a frame spans many fades
or few. Prints a Markdown table: SNR, margin, the code, what the map takes of the frame, and lost
maps of those frames whose header arrived, for every block length.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import lrisc
from lrisc.errors import OutageError
from lrisc.images import pictures_in
from lrisc.link.budget import parse_cbr
from lrisc.link.channels import Channel
from lrisc.link.frame import Frame, parse_body, parse_header

BLOCKS = (16, 64, 256, 1024)
MARGINS_DB = (12.0, 7.0, 5.0, 3.0, 1.0, 0.0)


def lost(frame: Frame, channel: Channel, draws: int) -> tuple[int, int]:
    """Lost maps, and frames whose header arrived, over so many realisations of a channel."""
    maps = headers = 0
    for seed in range(draws):
        received = replace(channel, seed=seed)(frame)
        try:
            header = parse_header(received)
        except OutageError:
            continue
        headers += 1
        try:
            parse_body(received, header)
        except OutageError:
            maps += 1
    return maps, headers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="PICTURES")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--cbr", default="1/48")
    parser.add_argument("--limit", type=int, default=2, help="only the first so many pictures")
    parser.add_argument("--draws", type=int, default=100)
    arguments = parser.parse_args()
    transmitter = lrisc.Transmitter.from_pretrained(arguments.model)
    paths = pictures_in(arguments.folder)[: arguments.limit]
    cbr = parse_cbr(arguments.cbr)
    print("| SNR | margin | map | " + " | ".join(f"blocks of {b}" for b in BLOCKS) + " |")
    print("|---" * (3 + len(BLOCKS)) + "|")
    for snr_db in (0.0, 10.0, 20.0):
        for margin_db in MARGINS_DB:
            frames = [
                transmitter.encode(path, snr_db=snr_db, cbr=cbr, margin_db=margin_db)
                for path in paths
            ]
            share = sum(f.counts.side_info / f.counts.total for f in frames) / len(frames)
            cells: list[str] = []
            for block_length in BLOCKS:
                fading = lrisc.channel("rayleigh", snr_db, block_length=block_length)
                found = [lost(f, fading, arguments.draws) for f in frames]
                maps, headers = (sum(column) for column in zip(*found, strict=True))
                cells.append(f"{maps} of {headers}")
            row = f"| {snr_db:g} dB | {margin_db:g} dB | {share:.1%} | "
            print(row + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
