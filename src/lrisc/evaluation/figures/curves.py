"""Quality versus SNR and versus bandwidth ratio."""

from __future__ import annotations

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

_COLUMNS = (*(field.name for field in fields(Point)), "source")


def draw_versus_snr(
    points: Sequence[Point], published: Sequence[Curve], output: Path, waveform: str = SYMBOLS
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
            yield from _draw(chosen, published, looks_of(points), "snr_db", title, output, name)


def draw_versus_cbr(
    points: Sequence[Point], published: Sequence[Curve], output: Path, waveform: str = SYMBOLS
) -> Iterator[Path]:
    """PSNR and LPIPS over the CBR really sent: a figure per channel and SNR with two or more."""
    for channel, snr_db in dict.fromkeys((p.channel, p.snr_db) for p in points):
        chosen = [p for p in points if (p.channel, p.snr_db) == (channel, snr_db)]
        # Every beta is a rate of its own, and keeps no ceiling.
        if len({p.scheme if p.cbr_target == 1 else p.cbr_target for p in chosen}) > 1:
            title = f"{_channel_name(channel, waveform)}, SNR {snr_db:g} dB"
            name = f"quality-vs-cbr_{channel}_snr-{snr_db:g}"
            yield from _draw(chosen, published, looks_of(points), "cbr", title, output, name)


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
) -> list[Path]:
    from matplotlib.ticker import MaxNLocator

    metrics = ["psnr_db"] + ["lpips"] * any(p.lpips is not None for p in points)
    metrics += ["outage"] * any(p.outages for p in points)
    table: list[tuple[Any, ...]] = [(*astuple(p), "measured") for p in points]
    with styled():
        figure = new_figure(3.9 * len(metrics) + 0.3, 4.2)
        axes = figure.subplots(1, len(metrics), squeeze=False)[0]
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
            panel.xaxis.set_major_locator(MaxNLocator(6))
            panel.set_ylabel(LABELS[metric] + (" (lower is better)" if metric == "lpips" else ""))
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
            shown.values(), shown.keys(), loc="outside lower center", ncols=3, fontsize=7.5
        )
        count = max(p.pictures for p in points)
        figure.suptitle(f"{title}, mean of {count} picture{'s' * (count > 1)}", fontsize=9)
        return save(figure, output, name, _COLUMNS, table)


def _draw_schemes(
    panel: Any, points: Sequence[Point], look: dict[str, Look], axis: str, metric: str
) -> None:
    # Over the CBR the betas of a scheme are points of one line.
    line_of = {p.scheme: p.scheme if axis == "snr_db" else family(p.scheme) for p in points}
    for scheme in dict.fromkeys(line_of.values()):
        drawn = [
            (p.snr_db if axis == "snr_db" else p.cbr, p.value(metric), p.missing)
            for p in points
            if line_of[p.scheme] == scheme and p.value(metric) is not None
        ]
        drawn.sort(key=lambda point: point[0])
        if not drawn:
            continue
        style = look[scheme]
        x, y, missing = zip(*drawn, strict=True)
        panel.plot(
            x, y, color=style.colour, linestyle=style.line, marker=style.marker,
            linewidth=1.6, markersize=5, label=display_name(scheme),
        )  # fmt: skip
        hollow = [(a, b) for a, b, m in zip(x, y, missing, strict=True) if m]
        panel.plot(
            *(zip(*hollow, strict=True) if hollow else ((), ())), linestyle="none",
            marker=style.marker, markersize=5, color=style.colour, markerfacecolor="white",
        )  # fmt: skip


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
