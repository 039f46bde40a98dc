"""The figures of a results folder: PNG and PDF, with the data of each as CSV beside it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from lrisc.errors import InputError
from lrisc.evaluation.figures.style import Choice
from lrisc.evaluation.results import ResultsFolder
from lrisc.files import check_output_folder
from lrisc.images import SUFFIXES
from lrisc.link.waveform.numerology import SYMBOLS

_EVERYTHING = Choice()


def draw_all(
    results: Path, output: Path, reference: bool = False, choice: Choice = _EVERYTHING
) -> Iterator[Path]:
    """Draw every figure that the rows are enough for.

    ::

        rows ─► means ─► quality versus SNR (one per channel and CBR; two SNRs or more)
                     └─► quality versus CBR (one per channel and SNR; two CBRs or more)
                     └─► LPIPS below DeepJSCC's versus SNR
        kept pictures ─► grid over SNRs, rate maps, region of interest

    Args:
        results: folder of ``lrisc evaluate``.
        output: where the figures go.
        reference: add published curves as thin lines, and the figure of what LPIPS gains over
            DeepJSCC with the number that the paper prints.
        choice: schemes and their order, a zoomed crop, a width.

    Yields:
        Every file, once it is written.

    Raises:
        InputError: no results folder of this version, or nothing in it to draw; a scheme or a crop
            that is not in it; ``output`` is a file or has the name of one.
    """
    from lrisc.evaluation.figures.curves import draw_versus_cbr, draw_versus_snr
    from lrisc.evaluation.figures.means import means
    from lrisc.evaluation.figures.reduction import draw_reduction
    from lrisc.evaluation.figures.reference import load_curves
    from lrisc.evaluation.figures.sheets import draw_grids, draw_rate_maps, draw_regions, draw_zooms

    check_output_folder(output, (".png", ".pdf", ".csv", ".svg", *SUFFIXES))
    folder = ResultsFolder(results)
    info = folder.info()
    rows = folder.rows()
    if not rows:
        raise InputError(f"{results} holds no finished rows yet; run lrisc evaluate again")
    if choice.schemes:
        there = dict.fromkeys(row.scheme for row in rows)
        if unknown := [scheme for scheme in choice.schemes if scheme not in there]:
            raise InputError(f"{results} has no rows of {unknown[0]}, only of {', '.join(there)}")
        rows = [row for scheme in choice.schemes for row in rows if row.scheme == scheme]
    points = means(rows, len(info["images"]))
    published = load_curves() if reference else []
    waveform = info["settings"].get("waveform", SYMBOLS)
    # A sheet shows one draw: the first, which is the one that is kept.
    first = min(row.seed for row in rows)
    shown = [row for row in rows if row.seed == first]
    drawn = 0
    for path in chain(
        draw_versus_snr(points, published, output, waveform, choice.width),
        draw_versus_cbr(points, published, output, waveform, choice.width),
        draw_reduction(points, output) if reference else (),
        draw_grids(folder, shown, output, choice),
        draw_zooms(folder, shown, output, choice) if choice.crop else (),
        draw_rate_maps(folder, shown, output, choice.width),
        draw_regions(folder, shown, output, choice.width),
    ):
        drawn += 1
        yield path
    if not drawn:
        raise InputError(
            f"{results} holds nothing to draw: a curve needs two SNRs or two CBRs with a picture "
            "sent, a sheet needs kept pictures (--keep)"
        )
