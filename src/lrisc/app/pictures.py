"""Pictures the page shows beside source and reconstruction."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from lrisc.link.budget import SymbolCounts
from lrisc.link.frame import HEADER_SYMBOLS, PILOT_SYMBOLS
from lrisc.models.config import LATENT_STRIDE

_SHOWN_SYMBOLS = 4000
# Blue, orange, green and red of Okabe and Ito: told apart with any colour vision.
_COLOURS = {
    "payload": "#0072b2",
    "rate map": "#e69f00",
    "header": "#009e73",
    "pilots": "#d55e00",
}


def region_overlay(source: Image.Image, mask: npt.NDArray[np.float32] | None) -> Image.Image | None:
    """The picture with everything outside the region darkened; ``None`` without a region."""
    if mask is None:
        return None
    pixels = np.asarray(source, dtype=np.float32)
    grey = pixels.mean(axis=2, keepdims=True) * 0.35
    inside = mask[:, :, None]
    return Image.fromarray((pixels * inside + grey * (1 - inside)).astype(np.uint8))


def rate_overlay(source: Image.Image, rate_map: npt.NDArray[np.int64]) -> Image.Image:
    """The rate map over the grey picture: dark blue no symbols, yellow the most."""
    from matplotlib import colormaps

    share = rate_map / max(int(rate_map.max()), 1)
    colours = (colormaps["viridis"](share)[:, :, :3] * 255).astype(np.uint8)
    h, w = rate_map.shape
    patches = Image.fromarray(colours).resize(
        (w * LATENT_STRIDE, h * LATENT_STRIDE), Image.Resampling.NEAREST
    )
    # The map covers the padded picture.
    patches = patches.crop((0, 0, *source.size))
    return Image.blend(source.convert("L").convert("RGB"), patches, 0.6)


def rate_scale(rate_map: npt.NDArray[np.int64]) -> str:
    """What the colours of :func:`rate_overlay` mean, as HTML.

    Args:
        rate_map: complex symbols per patch, (h, w).
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    stops = ",".join(to_hex(colormaps["viridis"](share)) for share in np.linspace(0, 1, 9))
    patch = f"symbols per patch of {LATENT_STRIDE}×{LATENT_STRIDE} pixels"
    return (
        '<p class="lrisc-scale"><span>0</span>'
        f'<i style="background:linear-gradient(to right,{stops})" aria-hidden="true"></i>'
        f"<span>{int(rate_map.max())} {patch}</span></p>"
    )


def constellation(symbols: Tensor) -> Image.Image:
    """Received symbols in the complex plane, pilots and header apart from the body.

    Args:
        symbols: equalised, complex64 (n,).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    start = PILOT_SYMBOLS + HEADER_SYMBOLS
    body = symbols[start:]
    if body.numel() > _SHOWN_SYMBOLS:
        body = body[torch.linspace(0, body.numel() - 1, _SHOWN_SYMBOLS).long()]
    figure = Figure(figsize=(4.6, 5.0), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    header = symbols[:start]
    # Markers of a line are stamped, which draws thousands of them in no time.
    axes.plot(body.real, body.imag, ".", c=_COLOURS["payload"], alpha=0.4, ms=3, label="body")
    axes.plot(
        header.real, header.imag, ".", c=_COLOURS["pilots"], alpha=0.4, ms=4, label="header, pilots"
    )
    reach = 1.05 * max(1.5, float(torch.quantile(symbols.abs()[:100_000], 0.999)))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.set_xlabel("in phase")
    axes.set_ylabel("quadrature")
    axes.grid(alpha=0.3)
    axes.set_title(" ")  # the page lays its label over the top
    figure.legend(loc="outside lower center", ncols=2, frameon=False, markerscale=2)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())


def symbol_table(counts: SymbolCounts, height: int, width: int) -> str:
    """Symbols by kind as HTML: a bar, and a table that says the same in numbers.

    Args:
        counts: of one frame.
        height: of the picture in pixels.
        width: of the picture in pixels.
    """
    pixels, total = 3 * height * width, counts.total
    bar, rows = "", ""
    for label, count in counts.by_name().items():
        colour = _COLOURS[label]
        share = 100 * count / total
        bar += f'<span style="width:{share:.2f}%;background:{colour}"></span>'
        rows += (
            f'<tr><th scope="row"><i style="background:{colour}"></i>{label}</th>'
            f"<td>{count:,}</td><td>{share:.1f} %</td><td>{count / pixels:.5f}</td></tr>"
        )
    return (
        f'<div class="lrisc-bar" aria-hidden="true">{bar}</div><table class="lrisc-table">'
        "<thead><tr><th>kind</th><th>symbols</th><th>share</th><th>CBR</th></tr></thead>"
        f"<tbody>{rows}</tbody><tfoot><tr><th>total</th><td>{total:,}</td><td>100 %</td>"
        f"<td>{total / pixels:.5f}</td></tr></tfoot></table>"
    )


def figures(values: dict[str, str]) -> str:
    """A row of named figures as HTML."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in values.items()
    )
    return f'<dl class="lrisc-figures">{items}</dl>'
