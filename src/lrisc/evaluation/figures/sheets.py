"""Figures made of pictures: over the SNR, rate maps, regions of interest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lrisc.errors import InputError
from lrisc.evaluation.figures.style import (
    Choice,
    display_name,
    file_part,
    fraction,
    new_figure,
    plain_text,
    save,
)
from lrisc.evaluation.results import REGION_COLUMNS, ResultsFolder, Row
from lrisc.files import check_regular
from lrisc.images import read_rgb
from lrisc.metrics.region import region_quality, region_symbols

_PREFERRED_SNRS = (0.0, 5.0, 10.0, 15.0)
_COLUMNS = ("scheme", "image", "channel", "snr_db", "cbr_target", "cbr", "psnr_db", "lpips")
_PATCH = 16
_MAX_MAP_BYTES = 2**20
_EDGE = 0.1  # inches, above and below together
_PANEL, _NARROWEST = 2.4, 3.2
"""Inches of a panel, and of a sheet, which has room for its headline."""


def draw_grids(
    folder: ResultsFolder, rows: Sequence[Row], output: Path, choice: Choice
) -> Iterator[Path]:
    """The source, and reconstructions over the SNR, a row per scheme.

    A figure per picture, channel and CBR.
    """
    yield from _draw_grids(folder, rows, output, choice, zoomed=False)


def draw_zooms(
    folder: ResultsFolder, rows: Sequence[Row], output: Path, choice: Choice
) -> Iterator[Path]:
    """The same of the crop alone, for the pictures that have it.

    Raises:
        InputError: none has.
    """
    drawn = False
    for path in _draw_grids(folder, rows, output, choice, zoomed=True):
        drawn = True
        yield path
    if not drawn:
        raise InputError("no picture that was kept holds the box of --crop")


def _draw_grids(
    folder: ResultsFolder, rows: Sequence[Row], output: Path, choice: Choice, zoomed: bool
) -> Iterator[Path]:
    stems = _stems(rows)
    for (image, channel, cbr), group in _kept(folder, rows, ".png").items():
        source = _picture(folder.source_path(image))
        crop = _inside(choice.crop, source)
        if zoomed and crop is None:
            continue
        box = crop if zoomed else None
        snrs = _snrs(group)
        schemes = list(dict.fromkeys(row.scheme for row in group))
        size = source.size if box is None else box[2:]
        figure, axes = _panels(size, len(schemes), 1 + len(snrs), choice.width)
        _show(axes[0][0], source, "source", box)
        if crop is not None and not zoomed:
            _mark(axes[0][0], crop)
        used: list[Row] = []
        for line, scheme in zip(axes, schemes, strict=True):
            if scheme != schemes[0]:
                line[0].set_visible(False)
            line[1].set_ylabel(display_name(scheme), fontsize=8)
            for panel, snr_db in zip(line[1:], snrs, strict=True):
                row = next((r for r in group if (r.scheme, r.snr_db) == (scheme, snr_db)), None)
                if row is None:
                    _say(panel, size, f"{snr_db:g} dB: impossible")
                    continue
                used.append(row)
                _show(panel, _picture(folder.picture_path(row.key, ".png")), _caption(row), box)
        told = "; PSNR and LPIPS are of the whole picture" if zoomed else ""
        _fit(figure, _title(image, channel, cbr) + told)
        kind = "zoom" if zoomed else "grid"
        name = f"{kind}_{stems[image]}_{channel}_cbr-{file_part(cbr)}"
        yield from save(figure, output, name, _COLUMNS, map(_cells, used))


def draw_rate_maps(
    folder: ResultsFolder, rows: Sequence[Row], output: Path, width: float | None = None
) -> Iterator[Path]:
    """Symbols per patch over the source: a figure per picture, channel and CBR."""
    stems = _stems(rows)
    for (image, channel, cbr), group in _kept(folder, rows, ".rate.npy").items():
        snrs = _snrs(group)
        schemes = list(dict.fromkeys(row.scheme for row in group))
        size = _picture(folder.source_path(image)).size
        figure, axes = _panels(size, len(schemes), len(snrs), width)
        used = [row for row in group if row.snr_db in snrs]
        maps = {row.key: _rate_map(folder, row) for row in used}
        top = max(int(m.max()) for m in maps.values())
        shown = None
        for line, scheme in zip(axes, schemes, strict=True):
            line[0].set_ylabel(display_name(scheme), fontsize=8)
            for panel, snr_db in zip(line, snrs, strict=True):
                row = next((r for r in used if (r.scheme, r.snr_db) == (scheme, snr_db)), None)
                if row is None:
                    panel.set_visible(False)
                    continue
                mean = maps[row.key].mean()
                shown = _overlay(panel, folder, image, maps[row.key], top)
                _head(panel, f"{snr_db:g} dB, mean {mean:.1f}")
        figure.colorbar(
            shown, ax=axes, orientation="horizontal", shrink=0.6, aspect=50, pad=0.02,
        ).set_label("complex symbols per 16×16 patch", fontsize=7.5)  # fmt: skip
        _fit(figure, _title(image, channel, cbr))
        name = f"rate-map_{stems[image]}_{channel}_cbr-{file_part(cbr)}"
        table = [(*_cells(row), float(maps[row.key].mean()), int(maps[row.key].max()))
                 for row in used]  # fmt: skip
        yield from save(figure, output, name, (*_COLUMNS, "mean_symbols", "most_symbols"), table)


def draw_regions(
    folder: ResultsFolder, rows: Sequence[Row], output: Path, width: float | None = None
) -> Iterator[Path]:
    """Source, region, rate map, reconstructions with and without: one figure per condition.

    Both reconstructions are measured inside and outside of the same region, from what was kept.
    """
    stems = _stems(rows)
    for (image, channel, cbr), group in _kept(folder, rows, ".png").items():
        for row in (r for r in group if r.scheme.split(":")[0] == "lrisc-roi"):
            if not folder.picture_path(row.key, ".roi.png").exists():
                continue
            other = row.scheme.replace("lrisc-roi", "lrisc", 1)
            plain = next((r for r in group if (r.scheme, r.snr_db) == (other, row.snr_db)), None)
            size = _picture(folder.source_path(image)).size
            figure, axes = _panels(size, 1, 4 if plain is None else 5, width)
            panels = list(axes[0])
            region = _picture(folder.picture_path(row.key, ".roi.png"))
            if region.size != _picture(folder.source_path(image)).size:
                raise InputError(f"the region of {image} has another size than the picture")
            mask = torch.from_numpy(np.asarray(region.convert("L"), np.float32) / 255)
            _show(panels[0], _picture(folder.source_path(image)), "(a) source")
            _show(panels[1], region, "(b) region of interest")
            rate_map = _rate_map(folder, row)
            _overlay(panels[2], folder, image, rate_map, int(rate_map.max()))
            _head(panels[2], "(c) rate map")
            table: list[tuple[Any, ...]] = []
            shown = [(row, "(d) with region")] + ([(plain, "(e) without")] if plain else [])
            for panel, (one, name) in zip(panels[3:], shown, strict=True):
                picture = _picture(folder.picture_path(one.key, ".png"))
                found: dict[str, float | None] = dict.fromkeys(REGION_COLUMNS)
                if not one.outage:
                    source = _picture(folder.source_path(image))
                    found |= region_quality(source, picture, mask)
                    found |= region_symbols(_rate_map(folder, one), mask)
                _show(panel, picture, "\n".join((name, _caption(one), *_inside_outside(found))))
                table.append((*_cells(one), *(found[column] for column in REGION_COLUMNS)))
            _fit(figure, _title(image, channel, cbr))
            name = (
                f"roi_{stems[image]}_{channel}_{row.snr_db:g}dB_cbr-{file_part(cbr)}"
                f"{_variant(row.scheme)}"
            )
            yield from save(figure, output, name, (*_COLUMNS, *REGION_COLUMNS), table)


def _inside_outside(found: dict[str, float | None]) -> list[str]:
    """Two lines of a caption; what was not measured is left out."""
    lines: list[str] = []
    for where in ("inside", "outside"):
        kinds = (
            ("psnr_{}_db", "{:.2f} dB"), ("lpips_{}", "{:.3f}"), ("symbols_{}", "{:.1f} symbols"),
        )  # fmt: skip
        values = [(found[kind.format(where)], text) for kind, text in kinds]
        told = ", ".join(text.format(value) for value, text in values if value is not None)
        if told:
            lines.append(f"{where}: {told}")
    return lines


def _stems(rows: Sequence[Row]) -> dict[str, str]:
    """What a picture is called in file names: its stem, or its name where two share the stem."""
    images = {row.image for row in rows}
    shared = Counter(Path(image).stem for image in images)
    return {i: Path(i).stem if shared[Path(i).stem] == 1 else i.replace(".", "-") for i in images}


def _variant(scheme: str) -> str:
    """``_checkpoint`` of ``lrisc-roi:checkpoint``, as a part of a file name."""
    variant = scheme.partition(":")[2]
    return "_" + re.sub(r"[^A-Za-z0-9.+-]+", "-", variant) if variant else ""


def _kept(
    folder: ResultsFolder, rows: Sequence[Row], suffix: str
) -> dict[tuple[str, str, float], list[Row]]:
    """Rows with something kept, by (image, channel, CBR)."""
    groups: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        if folder.picture_path(row.key, suffix).exists() and folder.source_path(row.image).exists():
            groups.setdefault((row.image, row.channel, row.cbr_target), []).append(row)
    return groups


def _snrs(rows: Sequence[Row]) -> list[float]:
    """The SNRs to show: the paper's where they are there, at most four."""
    there = sorted({row.snr_db for row in rows})
    preferred = [snr for snr in there if snr in _PREFERRED_SNRS]
    return preferred if len(preferred) > 1 else there[:4]


def _panels(
    picture: tuple[int, int], lines: int, columns: int, width: float | None
) -> tuple[Any, Any]:
    """Empty panels for pictures of this (width, height), in a figure so many inches wide."""
    panel = max(_PANEL, _NARROWEST / columns) if width is None else width / columns
    # With room for any caption; _fit takes what is left of it.
    height = (panel * picture[1] / picture[0] + 0.8) * lines + 1.5
    figure = new_figure(panel * columns, height, layout="compressed")
    axes = figure.subplots(lines, columns, squeeze=False)
    for one in axes.flat:
        one.set_xticks([])
        one.set_yticks([])
    return figure, axes


def _fit(figure: Any, headline: str) -> None:
    """Put a line above all panels, and make the sheet as tall as they and their captions are."""
    points = 72 * figure.get_figwidth() / (0.52 * len(headline))
    figure.suptitle(headline, fontsize=min(9.0, points))
    plain_text(figure)
    figure.draw_without_rendering()
    used = figure.get_tightbbox(figure.canvas.get_renderer())
    figure.set_figheight(used.height + _EDGE)


def _show(
    panel: Any, picture: Image.Image, title: str, box: tuple[int, int, int, int] | None = None
) -> None:
    if box is not None:
        left, top, width, height = box
        picture = picture.crop((left, top, left + width, top + height))
    panel.imshow(np.asarray(picture))
    _head(panel, title)


def _head(panel: Any, title: str) -> None:
    """A title that is as wide as its panel at the most."""
    columns = panel.get_subplotspec().get_gridspec().ncols
    points = 72 * panel.figure.get_figwidth() / columns
    longest = max(map(len, title.split("\n")))
    panel.set_title(title, fontsize=max(4.0, min(7.5, points / (0.52 * longest))))


def _say(panel: Any, size: tuple[int, int], title: str) -> None:
    """An empty panel that says why it is."""
    panel.imshow(np.full((size[1], size[0], 3), 255, np.uint8))
    _head(panel, title)


def _mark(panel: Any, box: tuple[int, int, int, int]) -> None:
    from matplotlib.patches import Rectangle

    panel.add_patch(Rectangle(box[:2], *box[2:], fill=False, color="#e69f00", linewidth=1.2))


def _inside(
    box: tuple[int, int, int, int] | None, picture: Image.Image
) -> tuple[int, int, int, int] | None:
    """The box, if the picture holds all of it."""
    if box is None or box[0] + box[2] > picture.width or box[1] + box[3] > picture.height:
        return None
    return box


def _overlay(panel: Any, folder: ResultsFolder, image: str, rate_map: Any, top: int) -> Any:
    """The map over the source in grey; the padding of the latent grid is cut off."""
    source = _picture(folder.source_path(image)).convert("L")
    panel.imshow(np.asarray(source), cmap="gray", vmin=0, vmax=255)
    right, bottom = (side * _PATCH - 0.5 for side in reversed(rate_map.shape))
    shown = panel.imshow(
        rate_map, cmap="cividis", vmin=0, vmax=max(top, 1), alpha=0.65,
        extent=(-0.5, right, bottom, -0.5), interpolation="nearest",
    )  # fmt: skip
    panel.set_xlim(-0.5, source.width - 0.5)
    panel.set_ylim(source.height - 0.5, -0.5)
    return shown


def _picture(path: Path) -> Image.Image:
    return read_rgb(path)


def _rate_map(folder: ResultsFolder, row: Row) -> Any:
    path = folder.picture_path(row.key, ".rate.npy")
    check_regular(path, "rate map", _MAX_MAP_BYTES)
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(f"the rate map {path} is damaged") from error
    plain = isinstance(found, np.ndarray) and found.ndim == 2 and found.dtype.kind in "iuf"
    if not plain or not found.size or not np.isfinite(found).all():
        raise InputError(f"the rate map {path} is damaged")
    return found


def _caption(row: Row) -> str:
    if row.outage:
        return f"{row.snr_db:g} dB: outage"
    lpips = "" if row.lpips is None else f", LPIPS {row.lpips:.3f}"
    return f"{row.snr_db:g} dB: PSNR {row.psnr_db:.2f}{lpips}"


def _title(image: str, channel: str, cbr: float) -> str:
    name = "AWGN" if channel == "awgn" else channel.capitalize()
    return f"{Path(image).stem}, {name}, CBR {fraction(cbr)}"


def _cells(row: Row) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in _COLUMNS)
