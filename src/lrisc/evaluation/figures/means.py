"""Rows of single pictures to points of a curve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lrisc.evaluation.results import Row
from lrisc.evaluation.statistics import bootstrap_interval


@dataclass(frozen=True)
class Point:
    """Mean over the pictures of a sweep.

    Attributes:
        scheme, channel, snr_db, cbr_target: what was asked for.
        cbr, cbr_grid, cbr_on_air: means of what was really sent, per 3·H·W.
        psnr_db, ms_ssim, lpips, lpips_vgg: means; lost pictures count as the grey ones they are.
        pictures: how many the means are over.
        draws: of the channel, all pictures' together: rows that the means are over.
        outages: how many of them were lost.
        missing: pictures of the sweep that are not in the means, or not with all draws: impossible,
            or not done yet.
        psnr_db_low, psnr_db_high and so on: 95 % bootstrap interval over pictures and draws;
            ``None`` of a single one.
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
    lpips_vgg: float | None
    pictures: int
    draws: int
    outages: int
    missing: int
    psnr_db_low: float | None = None
    psnr_db_high: float | None = None
    ms_ssim_low: float | None = None
    ms_ssim_high: float | None = None
    lpips_low: float | None = None
    lpips_high: float | None = None
    lpips_vgg_low: float | None = None
    lpips_vgg_high: float | None = None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Where the mean of a metric lies with 95 %, if that is known."""
        low, high = (getattr(self, f"{metric}_{end}", None) for end in ("low", "high"))
        return None if low is None or high is None else (low, high)

    def value(self, metric: str) -> float | None:
        """One of the means, or the share of what was lost (``outage``), by its name."""
        values = {
            "psnr_db": self.psnr_db,
            "ms_ssim": self.ms_ssim,
            "lpips": self.lpips,
            "lpips_vgg": self.lpips_vgg,
            "outage": self.outages / self.draws,
        }
        return values[metric]


def means(rows: Sequence[Row], pictures: int) -> list[Point]:
    """Average over pictures and draws of the channel.

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
        draws = Counter(row.image for row in measured)
        seeds = len({row.seed for row in group})
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
                lpips_vgg=_mean([row.lpips_vgg for row in measured]),
                pictures=len(draws),
                draws=len(measured),
                outages=sum(row.outage for row in measured),
                missing=pictures - sum(count == seeds for count in draws.values()),
                **_intervals(measured),
            )
        )
    return points


def _intervals(rows: Sequence[Row]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in ("psnr_db", "ms_ssim", "lpips", "lpips_vgg"):
        known: dict[str, list[float]] = {}
        for row in rows:
            if (value := getattr(row, metric)) is not None:
                known.setdefault(row.image, []).append(value)
        if sum(map(len, known.values())) == len(rows) > 1:
            ends = bootstrap_interval(list(known.values()))
            found[f"{metric}_low"], found[f"{metric}_high"] = ends
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
