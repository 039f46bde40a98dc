"""Where a frame is lost whose channel is worse than it was made for.

    python scripts/measure_cliff.py [PICTURE] [--cbr 1/48] [--draws 20]

The payload degrades gradually; the rate map is a digital code, and without it there is no picture.
Prints a Markdown table: frames made for an SNR, with and without a margin, how many channel symbols
their map takes, and how many of them are lost over AWGN at so many dB less. The picture is
matplotlib's portrait where none is named.
"""

import argparse
from pathlib import Path

from measure_margin import lost

import lrisc
from lrisc.images import load_image
from lrisc.link.budget import parse_cbr

BELOW_DB = (0.0, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--cbr", default="1/48")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    picture = arguments.picture
    if picture is None:
        from matplotlib import get_data_path

        picture = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
    pixels = load_image(picture)
    transmitter = lrisc.Transmitter.from_pretrained(arguments.model)
    print(f"{picture.name}, CBR {arguments.cbr}, lost of {arguments.draws} at so many dB less\n")
    print("| made for | margin | map | " + " | ".join(f"{db:g}" for db in BELOW_DB) + " |")
    print("|---" * (3 + len(BELOW_DB)) + "|")
    for snr_db in (0.0, 10.0, 20.0):
        for margin_db in (0.0, 3.0):
            frame = transmitter.encode(
                pixels, snr_db=snr_db, cbr=parse_cbr(arguments.cbr), margin_db=margin_db
            )
            share = frame.counts.side_info / frame.counts.total
            cells: list[str] = []
            for below_db in BELOW_DB:
                noise = lrisc.channel("awgn", snr_db - below_db)
                maps, headers = lost(frame, noise, arguments.draws)
                cells.append(str(maps + arguments.draws - headers))
            row = f"| {snr_db:g} dB | {margin_db:g} dB | {share:.1%} | "
            print(row + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
