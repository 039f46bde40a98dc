"""One look for all figures: told apart without colour, and in print."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from lrisc.errors import InputError
from lrisc.evaluation.results import text_cell
from lrisc.files import replace_atomically, slug, write_atomically

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow.
_VERMILION, _BLUE, _GREEN, _BLACK = "#d55e00", "#0072b2", "#009e73", "#000000"
_PURPLE, _ORANGE, _SKY = "#cc79a7", "#e69f00", "#56b4e9"


Layout = Literal["constrained", "compressed"]


@dataclass(frozen=True)
class Look:
    """How a scheme is drawn: colour, marker and line each tell it apart."""

    colour: str
    marker: str
    line: str


_KNOWN = {
    "lrisc": Look(_VERMILION, "o", "-"),
    "deepjscc": Look(_BLUE, "s", "-"),
    "bpg-ldpc": Look(_GREEN, "^", "--"),
    "bpg-capacity": Look(_BLACK, "D", ":"),
    "lrisc-roi": Look(_ORANGE, "P", "-"),
    "deepjscc-per-snr": Look(_SKY, "s", "--"),
    "lrisc@beta=": Look(_PURPLE, "o", "--"),
}
_OTHERS = [
    Look(colour, marker, line)
    for line in ("-.", "--", ":")
    for colour, marker in ((_PURPLE, "v"), (_SKY, "X"), (_ORANGE, "<"), (_BLUE, ">"))
]
_REFERENCE_LINES = (
    (0, (1, 1)),
    (0, (4, 2)),
    (0, (6, 2, 1, 2)),
    (0, (2, 3)),
    (0, (8, 2)),
    (0, (6, 2, 1, 2, 1, 2)),
)
REFERENCE_COLOUR = "#707070"

LABELS = {
    "psnr_db": "PSNR (dB)",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "lpips_vgg": "LPIPS-VGG",
    "outage": "share of pictures lost",
}
_NAMES = {
    "lrisc": "LRISC",
    "lrisc-roi": "LRISC with ROI",
    "deepjscc": "DeepJSCC",
    "deepjscc-per-snr": "DeepJSCC, one per SNR",
    "bpg-ldpc": "BPG + LDPC",
    "bpg-capacity": "BPG + capacity",
}
_RC: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "legend.framealpha": 0.9,
    # Text stays text in a PDF.
    "pdf.fonttype": 42,
}


def looks(schemes: Iterable[str]) -> dict[str, Look]:
    """A look for every scheme, the same in every figure of a results folder."""
    unknown = iter(_OTHERS * 8)
    return {name: _KNOWN.get(name) or next(unknown) for name in dict.fromkeys(schemes)}


def reference_lines(names: Iterable[str]) -> dict[str, Any]:
    """A dash pattern for every published system of a figure."""
    return dict(zip(dict.fromkeys(names), cycle(_REFERENCE_LINES), strict=False))


def display_name(scheme: str) -> str:
    """A scheme's name in a legend."""
    plain, fixed, beta = scheme.partition("@beta=")
    name, colon, variant = plain.partition(":")
    shown = _NAMES.get(name, name)
    if colon:
        shown += f", {variant.upper() if name == 'bpg-ldpc' else Path(variant).name}"
    return f"{shown}, beta {beta}" if fixed and beta else shown + ", fixed beta" * bool(fixed)


def family(scheme: str) -> str:
    """Schemes that differ in their fixed beta only lie on one line over the CBR."""
    plain, fixed, _ = scheme.partition("@beta=")
    return plain + fixed


def fraction(cbr: float) -> str:
    """A bandwidth ratio as people write it: 1/48, else 0.017."""
    nearest = Fraction(cbr).limit_denominator(1000)
    if nearest.numerator == 1 and abs(float(nearest) - cbr) < 1e-6:
        return f"1/{nearest.denominator}"
    return f"{cbr:.4g}"


def file_part(cbr: float) -> str:
    """The same for a file's name."""
    return fraction(cbr).replace("/", "-")


@dataclass(frozen=True)
class Choice:
    """What whoever asks for figures chooses.

    Attributes:
        schemes: only these, in this order; empty: all, as the rows have them.
        crop: box (left, top, width, height) in pixels; it is marked in the sheets of
            reconstructions, and sheets of it alone are drawn, too.
        width: of a figure in inches, such as the 3.5 of a column; ``None``: as it needs.
    """

    schemes: tuple[str, ...] = ()
    crop: tuple[int, int, int, int] | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no figure can have."""
        if self.crop is not None:
            left, top, width, height = self.crop
            if left < 0 or top < 0 or width < 1 or height < 1:
                raise InputError("--crop is left, top, width and height of a box in pixels")
        if self.width is not None and not 2 <= self.width <= 40:
            raise InputError(f"--width is 2 to 40 inches, not {self.width:g}")


def new_figure(width: float, height: float, layout: Layout = "constrained") -> Any:
    """An empty figure in inches, without any global state of matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def styled() -> Any:
    """Context in which axes are made and saved."""
    import matplotlib

    return matplotlib.rc_context(_RC)


def plain_text(figure: Any) -> None:
    """Show every text of a figure as it is: a ``$`` in a name is no formula.

    What is no text in the name of a file becomes a question mark.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_text(text.get_text().encode(errors="replace").decode())


def save(
    figure: Any, folder: Path, name: str, columns: Sequence[str], table: Iterable[Sequence[Any]]
) -> list[Path]:
    """Write ``name``.png, .pdf and .csv.

    Args:
        figure: matplotlib's.
        folder: where to; nothing is written anywhere else, whatever the name.
        name: without suffix; it may hold names of a user's.
        columns: names of the data's columns.
        table: the data that is drawn.

    Returns:
        The three paths.
    """
    stem = slug(name)
    png, pdf, data = (folder / f"{stem}{end}" for end in (".png", ".pdf", ".csv"))
    plain_text(figure)
    replace_atomically(png, lambda path: figure.savefig(path, format="png", dpi=160))
    # The panels have their places now; finding them takes as long as drawing.
    figure.set_layout_engine("none")
    # Without a date the same data gives the same file.
    about: dict[str, Any] = {"CreationDate": None}
    replace_atomically(
        pdf, lambda path: figure.savefig(path, format="pdf", dpi=160, metadata=about)
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        ["" if v is None else text_cell(v) if isinstance(v, str) else v for v in row]
        for row in table
    )
    write_atomically(data, os.fsencode(text.getvalue()))
    return [png, pdf, data]
