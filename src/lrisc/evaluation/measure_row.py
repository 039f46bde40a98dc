"""One picture sent under many conditions, and what it is worth."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrisc.device import find_device
from lrisc.errors import InputError, OutageError
from lrisc.evaluation.plan import Source, Sweep, seed_of
from lrisc.evaluation.results import Key, ResultsFolder, Row
from lrisc.evaluation.schemes import (
    Condition,
    Delivery,
    Options,
    Picture,
    Scheme,
    create_scheme,
)
from lrisc.files import write_atomically
from lrisc.images import from_pil, load_image, to_pil
from lrisc.link.waveform.numerology import on_the_air

OnRow = Callable[[Row], None]
_CBRS = ("cbr", "cbr_grid", "cbr_on_air")
_NUMBERS = ("psnr_db", "ms_ssim", "lpips", "lpips_vgg", *_CBRS)


def missing_lpips(sweep: Sweep) -> dict[str, str]:
    """Columns of LPIPS whose weights are not on this machine, and why."""
    from lrisc.metrics.lpips_weights import LpipsUnavailableError, resolve_weights

    missing: dict[str, str] = {}
    for column, backbone in sweep.lpips_columns.items():
        try:
            resolve_weights(backbone)
        except LpipsUnavailableError as error:
            missing[column] = str(error)
    return missing


def measure_picture(
    sweep: Sweep, source: Source, missing: Iterable[Key], folder: ResultsFolder, finish: OnRow
) -> None:
    """Send one picture under all conditions that are missing.

    Args:
        sweep: what to measure.
        source: the picture.
        missing: keys of the rows to compute.
        folder: where pictures are kept.
        finish: called with every row.
    """
    picture = Picture(source.path.name, load_image(to_pil(load_image(source.path))))
    if source.kept:
        _keep(folder.source_path(picture.name), picture.pixels)
    for row_key in missing:
        finish(_measure(sweep, picture, row_key, folder if source.kept else None))


def _measure(sweep: Sweep, picture: Picture, row_key: Key, keep_in: ResultsFolder | None) -> Row:
    spec, name, channel, snr_db, cbr, seed = row_key
    condition = Condition(
        channel,
        float(snr_db),
        float(cbr),
        seed_of(row_key),
        sweep.waveform,
        sweep.mobility,
    )
    common: dict[str, Any] = {
        "scheme": spec,
        "image": name,
        "channel": channel,
        "snr_db": condition.snr_db,
        "cbr_target": condition.cbr,
        "seed": int(seed),
    }
    numbers: dict[str, Any] = dict.fromkeys(_NUMBERS)
    start = time.perf_counter()
    try:
        delivery = scheme_of(spec, sweep.options).send(picture, condition)
    except OutageError as error:
        delivery = Delivery(None, picture.budget(condition.cbr), str(error))
    except InputError as error:
        seconds = time.perf_counter() - start
        return Row(
            **common, status="impossible", outage=False, **numbers, seconds=seconds, note=str(error)
        )
    seconds = time.perf_counter() - start
    received = delivery.reconstruction
    shown = torch.full_like(picture.pixels, 0.5) if received is None else received
    device = find_device(sweep.options.device)
    numbers.update(_quality(picture, shown, device))
    if sweep.lpips_vgg:
        numbers["lpips_vgg"] = _lpips_vgg(picture, shown, device)
    on_air = on_the_air(delivery.symbols, sweep.waveform)
    for measured, count in zip(_CBRS, (delivery.symbols, *on_air), strict=True):
        numbers[measured] = count / picture.pixels.numel()
    if received is not None:
        numbers.update(_region(picture, received, delivery, device))
    if keep_in is not None and int(seed) == sweep.seed:
        _keep_delivery(keep_in, row_key, shown, delivery)
    return Row(
        **common,
        status="outage" if received is None else "sent",
        outage=received is None,
        **numbers,
        seconds=seconds,
        note=delivery.note,
    )


def _quality(
    picture: Picture, shown: torch.Tensor, device: torch.device
) -> dict[str, float | None]:
    from lrisc.metrics.quality import quality

    measured = quality(to_pil(picture.pixels), to_pil(shown), device=device)
    if measured["psnr_db"] is None:
        measured["psnr_db"] = float("inf")
    return {name: measured[name] for name in ("psnr_db", "ms_ssim", "lpips")}


def _lpips_vgg(picture: Picture, shown: torch.Tensor, device: torch.device) -> float | None:
    """``None`` where the weights are not on this machine."""
    from lrisc.metrics.lpips import published_lpips
    from lrisc.metrics.lpips_weights import LpipsUnavailableError

    try:
        lpips = published_lpips("vgg", device)
    except LpipsUnavailableError:
        return None
    other = (2 * from_pil(to_pil(shown))[None] - 1).to(device)
    with torch.no_grad():
        return float(lpips.to_features(other, _vgg_features(picture, device)))


@lru_cache(maxsize=1)
def _vgg_features(picture: Picture, device: torch.device) -> list[torch.Tensor]:
    """Of a source: most of the work, and the same for all rows of a picture."""
    from lrisc.metrics.lpips import published_lpips

    with torch.no_grad():
        return published_lpips("vgg", device).unit_features(
            (2 * picture.pixels[None] - 1).to(device)
        )


def _region(
    picture: Picture,
    received: torch.Tensor,
    delivery: Delivery,
    device: torch.device,
) -> dict[str, float | None]:
    """Measures inside and outside of the region, if there was one."""
    from lrisc.metrics.region import region_quality, region_symbols

    if delivery.roi_mask is None or delivery.rate_map is None:
        return {}
    mask = torch.from_numpy(np.asarray(delivery.roi_mask, dtype=np.float32))
    rate_map = np.asarray(delivery.rate_map, dtype=np.int64)
    measured = region_quality(to_pil(picture.pixels), to_pil(received), mask, device=device)
    return measured | region_symbols(rate_map, mask)


def _keep_delivery(
    folder: ResultsFolder, row_key: Key, shown: torch.Tensor, delivery: Delivery
) -> None:
    _keep(folder.picture_path(row_key, ".png"), shown)
    if delivery.rate_map is not None:
        kept = io.BytesIO()
        np.save(kept, np.asarray(delivery.rate_map, dtype=np.int32), allow_pickle=False)
        write_atomically(folder.picture_path(row_key, ".rate.npy"), kept.getvalue())
    if delivery.roi_mask is not None:
        mask = torch.from_numpy(np.asarray(delivery.roi_mask, dtype=np.float32))
        _keep(folder.picture_path(row_key, ".roi.png"), mask.expand(3, -1, -1))


def _keep(path: Path, pixels: torch.Tensor) -> None:
    from lrisc.files import replace_atomically

    replace_atomically(path, lambda temporary: to_pil(pixels).save(temporary, format="png"))


@lru_cache(maxsize=16)
def scheme_of(spec: str, options: Options) -> Scheme:
    """The scheme of that name; each process makes it once."""
    return create_scheme(spec, options)
