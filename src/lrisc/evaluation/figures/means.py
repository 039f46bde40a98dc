"""Rows of single pictures to points of a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lrisc.evaluation.results import Row


@dataclass(frozen=True)
class Point:
    """Mean over the pictures of a sweep.

    Attributes:
        scheme, channel, snr_db, cbr_target: what was asked for.
        cbr, cbr_grid, cbr_on_air: means of what was really sent, per 3·H·W.
        psnr_db, ms_ssim, lpips: means; lost pictures count as the mid-grey ones they are.
        pictures: how many the means are over.
        outages: how many of them were lost.
        missing: pictures of the sweep that are not in the means: impossible, or not done yet.
    """

    scheme: str
    channel: str
    snr_db: float
    cbr_target: float
    cbr: float
    cbr_grid: float
    cbr_on_air: float
    psnr_db: float
    ms_ssim: float
    lpips: float | None
    pictures: int
    outages: int
    missing: int

    def value(self, metric: str) -> float | None:
        """One of the means, or the share of lost pictures (``outage``), by its name."""
        values = {
            "psnr_db": self.psnr_db,
            "ms_ssim": self.ms_ssim,
            "lpips": self.lpips,
            "outage": self.outages / self.pictures,
        }
        return values[metric]


def means(rows: Sequence[Row], pictures: int) -> list[Point]:
    """Average over pictures.

    Args:
        rows: of any schemes and conditions.
        pictures: how many the sweep has.

    Returns:
        A point per scheme and condition in which at least one picture was sent, in the order of
        the rows.
    """
    groups: dict[tuple[str, str, float, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.scheme, row.channel, row.snr_db, row.cbr_target), []).append(row)
    points: list[Point] = []
    for (scheme, channel, snr_db, cbr_target), group in groups.items():
        measured = [row for row in group if row.status != "impossible"]
        if not measured:
            continue
        points.append(
            Point(
                scheme,
                channel,
                snr_db,
                cbr_target,
                cbr=_mean([row.cbr for row in measured]) or 0.0,
                cbr_grid=_mean([row.cbr_grid for row in measured]) or 0.0,
                cbr_on_air=_mean([row.cbr_on_air for row in measured]) or 0.0,
                psnr_db=_mean([row.psnr_db for row in measured]) or 0.0,
                ms_ssim=_mean([row.ms_ssim for row in measured]) or 0.0,
                lpips=_mean([row.lpips for row in measured]),
                pictures=len(measured),
                outages=sum(row.outage for row in measured),
                missing=pictures - len(measured),
            )
        )
    return points


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
