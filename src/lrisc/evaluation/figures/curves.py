"""Quality versus SNR and versus bandwidth ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from lrisc.evaluation.figures.means import Point
from lrisc.evaluation.figures.reference import Curve
from lrisc.evaluation.figures.style import (
    LABELS,
    REFERENCE_COLOUR,
    Look,
    display_name,
    family,
    file_part,
    fraction,
    looks,
    new_figure,
    reference_lines,
    save,
    styled,
)
from lrisc.link.multipath import TAPPED
from lrisc.link.waveform.numerology import SYMBOLS

_MOST_TICKS = 8
# Inches: narrower panels stand below each other.
_LEAST_PANEL = 2.6
_COLUMNS = (*(field.name for field in fields(Point)), "source")


def draw_versus_snr(
    points: Sequence[Point],
    published: Sequence[Curve],
    output: Path,
    waveform: str = SYMBOLS,
    width: float | None = None,
) -> Iterator[Path]:
    """PSNR and LPIPS over the SNR: a figure per channel and CBR that has two SNRs or more.

    Where a picture was lost, the share of the lost ones stands beside them.
    """
    for channel, cbr in dict.fromkeys((p.channel, p.cbr_target) for p in points):
        chosen = [p for p in points if (p.channel, p.cbr_target) == (channel, cbr)]
        if len({p.snr_db for p in chosen}) > 1:
            rate = "fixed beta" if cbr == 1 else f"CBR {fraction(cbr)}"
            title = f"{_channel_name(channel, waveform)}, {rate}"
            name = f"quality-vs-snr_{channel}_cbr-{file_part(cbr)}"
            yield from _draw(
                chosen, published, looks_of(points), "snr_db", title, output, name, width
            )


def draw_versus_cbr(
    points: Sequence[Point],
    published: Sequence[Curve],
    output: Path,
    waveform: str = SYMBOLS,
    width: float | None = None,
) -> Iterator[Path]:
    """PSNR and LPIPS over the CBR really sent: a figure per channel and SNR with two or more."""
    for channel, snr_db in dict.fromkeys((p.channel, p.snr_db) for p in points):
        chosen = [p for p in points if (p.channel, p.snr_db) == (channel, snr_db)]
        # Every beta is a rate of its own, and keeps no ceiling.
        if len({p.scheme if p.cbr_target == 1 else p.cbr_target for p in chosen}) > 1:
            title = f"{_channel_name(channel, waveform)}, SNR {snr_db:g} dB"
            name = f"quality-vs-cbr_{channel}_snr-{snr_db:g}"
            yield from _draw(chosen, published, looks_of(points), "cbr", title, output, name, width)


def looks_of(points: Sequence[Point]) -> dict[str, Look]:
    """The looks of all schemes of a folder."""
    return looks(name for p in points for name in (p.scheme, family(p.scheme)))


def _draw(
    points: Sequence[Point],
    published: Sequence[Curve],
    look: dict[str, Look],
    axis: str,
    title: str,
    output: Path,
    name: str,
    width: float | None,
) -> list[Path]:
    metrics = ["psnr_db"]
    metrics += [m for m in ("lpips", "lpips_vgg") if any(p.value(m) is not None for p in points)]
    metrics += ["outage"] * any(p.outages for p in points)
    table: list[tuple[Any, ...]] = [(*astuple(p), "measured") for p in points]
    with styled():
        stacked = width is not None and width < _LEAST_PANEL * len(metrics)
        columns, lines = (1, len(metrics)) if stacked else (len(metrics), 1)
        panel_width = 3.9 if width is None else (width - 0.3) / columns
        height = 3.3 if width is None else min(3.3, 0.75 * panel_width)
        figure = new_figure(panel_width * columns + 0.3, height * lines + 0.9)
        axes = figure.subplots(lines, columns, squeeze=False).flatten()
        fixed = points[0].cbr_target if axis == "snr_db" else points[0].snr_db
        fitting = [
            curve
            for curve in published
            if curve.metric in metrics and curve.fits(axis, curve.metric, points[0].channel, fixed)
        ]
        lines = reference_lines(curve.name for curve in fitting)
        table += [_as_row(curve, x, y) for curve in fitting for x, y in curve.points]
        for panel, metric in zip(axes, metrics, strict=True):
            _draw_schemes(panel, points, look, axis, metric)
            _draw_published(panel, [c for c in fitting if c.metric == metric], lines)
            _set_ticks(panel, points, axis)
            panel.set_ylabel(
                LABELS[metric] + (" (lower is better)" if metric.startswith("lpips") else "")
            )
            panel.set_xlabel("SNR Es/N0 (dB)" if axis == "snr_db" else "CBR, everything counted")
        shown: dict[str, Any] = {}
        for panel in axes:
            handles, labels = panel.get_legend_handles_labels()
            shown.update(zip(labels, handles, strict=True))
        if any(p.missing for p in points):
            shown["hollow: not all pictures"] = axes[0].plot(
                [], [], color="0.4", marker="o", markerfacecolor="white", linestyle="none"
            )[0]
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside lower center",
            ncols=3 if figure.get_figwidth() > 2 * _LEAST_PANEL else 2,
            fontsize=7.5,
        )
        over, bars = _told(points)
        narrow = len(title + over + bars) > 14 * figure.get_figwidth()
        figure.suptitle(title + (",\n" if narrow else ", ") + over + bars, fontsize=9)
        return save(figure, output, name, _COLUMNS, table)


def _told(points: Sequence[Point]) -> tuple[str, str]:
    """What the means are over, and what the bars are, for a title."""
    count = max(p.pictures for p in points)
    draws = max(math.ceil(p.draws / p.pictures) for p in points)
    over = f"mean of {count} picture{'s' * (count > 1)}" + f", {draws} draws each" * (draws > 1)
    kinds = ["pictures"] * (count > 1) + ["draws"] * (draws > 1)
    return over, f", bars: 95 % bootstrap over {' and '.join(kinds)}" if kinds else ""


def _set_ticks(panel: Any, points: Sequence[Point], axis: str) -> None:
    """At what was measured, unless that is too much to read."""
    from matplotlib.ticker import MaxNLocator

    asked = sorted({p.snr_db if axis == "snr_db" else p.cbr_target for p in points})
    if axis == "cbr":
        # A log scale keeps halves of a rate apart; a beta asks for no rate.
        asked = [cbr for cbr in asked if cbr < 1]
    if not 1 < len(asked) <= _MOST_TICKS:
        panel.xaxis.set_major_locator(MaxNLocator(6))
        return
    if axis == "cbr":
        panel.set_xscale("log", base=2)
        panel.minorticks_off()
        panel.set_xticks(asked, [fraction(cbr) for cbr in asked])
    else:
        panel.set_xticks(asked)


def _draw_schemes(
    panel: Any, points: Sequence[Point], look: dict[str, Look], axis: str, metric: str
) -> None:
    # Over the CBR the betas of a scheme are points of one line.
    line_of = {p.scheme: p.scheme if axis == "snr_db" else family(p.scheme) for p in points}
    for scheme in dict.fromkeys(line_of.values()):
        drawn = [
            (p.snr_db if axis == "snr_db" else p.cbr, p.value(metric), p)
            for p in points
            if line_of[p.scheme] == scheme and p.value(metric) is not None
        ]
        drawn.sort(key=lambda point: point[0])
        if not drawn:
            continue
        style = look[scheme]
        # A mean over other pictures than the rest's is no point of their line.
        whole = [(x, y) for x, y, point in drawn if not point.missing]
        hollow = [(x, y) for x, y, point in drawn if point.missing]
        panel.plot(
            *_columns(whole), color=style.colour, linestyle=style.line, marker=style.marker,
            linewidth=1.6, markersize=5, label=display_name(scheme),
        )  # fmt: skip
        panel.plot(
            *_columns(hollow), linestyle="none",
            marker=style.marker, markersize=5, color=style.colour, markerfacecolor="white",
        )  # fmt: skip
        bars = [(x, *ends) for x, _, point in drawn if (ends := point.interval(metric))]
        if bars:
            panel.vlines(*_columns(bars), color=style.colour, linewidth=0.8, alpha=0.5, zorder=1)


def _columns(points: Sequence[tuple[Any, ...]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(zip(*points, strict=True)) if points else ((), ())


def _draw_published(panel: Any, curves: Sequence[Curve], lines: dict[str, Any]) -> None:
    for curve in curves:
        x, y = zip(*curve.points, strict=True)
        panel.plot(
            x, y, color=REFERENCE_COLOUR, linestyle=lines[curve.name], linewidth=0.8,
            marker=".", markersize=2, label=f"{curve.name}, published (Kodak)", zorder=1,
        )  # fmt: skip


def _as_row(curve: Curve, x: float, y: float) -> tuple[Any, ...]:
    """A published point in the columns of ``Point``, where it has them."""
    values: dict[str, Any] = dict.fromkeys(_COLUMNS)
    values.update(scheme=curve.name, channel=curve.channel, source=curve.source)
    snr_db, cbr = (x, curve.fixed) if curve.axis == "snr_db" else (curve.fixed, x)
    values.update({"snr_db": snr_db, "cbr_target": cbr, curve.metric: y})
    return tuple(values[name] for name in _COLUMNS)


def _channel_name(channel: str, waveform: str) -> str:
    acronym = channel == "awgn" or channel in TAPPED
    name = channel.upper() if acronym else channel.capitalize()
    return name if waveform == SYMBOLS else f"{name}, waveform {waveform}"
