"""What other systems would have delivered at the same CBR and SNR.

The schemes are those of :mod:`lrisc.evaluation.schemes`;
the page offers what this installation has.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from lrisc.app.meter import Tell
from lrisc.errors import InputError, OutageError
from lrisc.images import load_image, to_pil

if TYPE_CHECKING:
    import torch

    from lrisc.evaluation.schemes import Condition, Scheme
    from lrisc.transmission import Report

OTHERS = {"deepjscc": "DeepJSCC", "bpg-ldpc": "BPG + LDPC"}
"""Schemes offered, and what the page calls them."""


@dataclass(frozen=True)
class Delivered:
    """What one scheme made of the picture.

    Attributes:
        name: of the scheme.
        picture: ``None`` in an outage, or where the picture cannot be sent so.
        figures: PSNR and the like; empty without a picture.
        cbr: what was really sent, per 3·H·W; ``None`` where nothing was.
        note: in a sentence, what happened.
    """

    name: str
    picture: Image.Image | None
    figures: dict[str, Any]
    cbr: float | None
    note: str


@lru_cache(maxsize=1)
def available() -> tuple[str, ...]:
    """Names of the schemes that this installation can compare with."""
    from lrisc.evaluation.schemes import Options, create_scheme

    found: list[str] = []
    for name in OTHERS:
        try:
            create_scheme(name, Options())
        except InputError:
            continue
        found.append(name)
    return tuple(found)


def deliver(
    source: Image.Image, condition: Condition, device: torch.device, tell: Tell
) -> list[Delivered]:
    """Send a picture with every other scheme.

    Args:
        source: 8-bit RGB, as it is sent.
        condition: channel, SNR, CBR and seed.
        device: where networks run.
        tell: is told which scheme begins, and the share of all that is done, ours included.
    """
    names, delivered = available(), list[Delivered]()
    for number, name in enumerate(names, start=1):
        tell(number / (len(names) + 1), OTHERS[name])
        delivered.append(_deliver(name, source, condition, device))
    return delivered


def table(name: str, own: Report, others: list[Delivered]) -> str:
    """All schemes in figures, as HTML.

    Args:
        name: what our row is called.
        own: our report.
        others: what was delivered besides.
    """
    rows = _row(name, own.to_dict(), own.cbr, own.outage_reason or "")
    rows += "".join(_row(OTHERS[d.name], d.figures, d.cbr, d.note) for d in others)
    head = "".join(f"<th>{title}</th>" for title in ("", "PSNR", "MS-SSIM", "LPIPS", "CBR", ""))
    return (
        '<div class="lrisc-wide"><table class="lrisc-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


@lru_cache(maxsize=len(OTHERS))
def _scheme(name: str, device: str) -> Scheme:
    from lrisc.evaluation.schemes import Options, create_scheme

    return create_scheme(name, Options(device=device))


def _deliver(
    name: str, source: Image.Image, condition: Condition, device: torch.device
) -> Delivered:
    from lrisc.baselines.bpg.ldpc import BelowAllSchemesError
    from lrisc.evaluation.schemes import Picture
    from lrisc.metrics.quality import quality

    pixels = load_image(source)
    try:
        delivery = _scheme(name, device.type).send(Picture("picture", pixels), condition)
    except OutageError as error:
        return Delivered(name, None, {}, None, str(error))
    except BelowAllSchemesError as error:
        # Nothing the visitor did wrong: whatever were sent, nothing would arrive.
        return Delivered(name, None, {}, None, f"outage: {error}")
    except InputError as error:
        return Delivered(name, None, {}, None, f"cannot be sent so: {error}")
    cbr = delivery.symbols / pixels.numel()
    if delivery.reconstruction is None:
        return Delivered(name, None, {}, cbr, f"outage: {delivery.note}")
    picture = to_pil(delivery.reconstruction)
    return Delivered(name, picture, quality(source, picture, device=device), cbr, delivery.note)


def _row(name: str, figures: dict[str, Any], cbr: float | None, note: str) -> str:
    psnr, ms_ssim, lpips = (figures.get(key) for key in ("psnr_db", "ms_ssim", "lpips"))
    cells = (
        "–" if psnr is None else f"{psnr:.2f} dB",
        "–" if ms_ssim is None else f"{ms_ssim:.4f}",
        "–" if lpips is None else f"{lpips:.4f}",
        "–" if cbr is None else f"1/{1 / cbr:.1f}",
        html.escape(note),
    )
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{c}</td>" for c in cells) + "</tr>"
