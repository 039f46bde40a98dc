"""One photograph at one budget, zoomed: the source, BPG + LDPC, LRISC, and LRISC with effort."""

import argparse
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import lrisc
from lrisc.evaluation.schemes import Condition, Options, Picture, create_scheme
from lrisc.images import load_image, to_pil
from lrisc.link.budget import parse_cbr
from lrisc.metrics.quality import quality

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
"""In the public domain; it comes with matplotlib."""
CROPS = ((170, 90, 340, 260), (60, 420, 230, 590))
"""Left, top, right, bottom, in pixels of the portrait: the face and the name plate."""


def delivered(
    picture: Path, snr_db: float, cbr: float, effort: int
) -> list[tuple[str, Image.Image]]:
    """What every scheme makes of the picture, and its name with its figures."""
    pixels = load_image(picture)
    source = to_pil(pixels)
    bpg = create_scheme("bpg-ldpc", Options()).send(
        Picture("picture", pixels), Condition("awgn", snr_db, cbr, 0)
    )
    assert bpg.reconstruction is not None
    found = [("BPG + LDPC", to_pil(bpg.reconstruction))]
    for iterations in (0, effort):
        result = lrisc.transmit(picture, snr_db=snr_db, cbr=cbr, effort=iterations)
        assert result.reconstruction is not None
        found.append((f"LRISC, effort {iterations}", result.reconstruction))
    told = [("source", source)]
    for name, image in found:
        figures = quality(source, image)
        lpips = "" if figures["lpips"] is None else f", LPIPS {figures['lpips']:.3f}"
        told.append((f"{name}\n{figures['psnr_db']:.1f} dB{lpips}", image))
    return told


def draw(columns: list[tuple[str, Image.Image]], path: Path) -> None:
    figure = Figure(figsize=(12, 2 * 3 + 0.6), layout="compressed")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(len(CROPS), len(columns))
    for column, (title, image) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=13)
        for row, box in enumerate(CROPS):
            axes[row, column].imshow(image.crop(box), interpolation="nearest")
            axes[row, column].axis("off")
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 92})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snr", type=float, default=10.0)
    parser.add_argument("--cbr", type=parse_cbr, default=1 / 48)
    parser.add_argument("--effort", type=int, default=20)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/budget.jpg"))
    asked = parser.parse_args()
    draw(delivered(PORTRAIT, asked.snr, asked.cbr, asked.effort), asked.output)
