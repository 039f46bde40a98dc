"""How far LPIPS lies below DeepJSCC's, beside the one number that the paper prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lrisc.evaluation.figures.means import Point
from lrisc.evaluation.figures.style import (
    REFERENCE_COLOUR,
    display_name,
    file_part,
    fraction,
    looks,
    new_figure,
    save,
    styled,
)

PUBLISHED_PERCENT = 43.3
"""The paper's (arXiv 2504.21577) average LPIPS reduction against DeepJSCC over its range of SNRs;
AWGN, Kodak. Its DeepJSCC and its curves are not published."""
_RIVAL = "deepjscc"
_COLUMNS = ("scheme", "channel", "cbr_target", "snr_db", "lpips_below_deepjscc_percent", "source")


def draw_reduction(points: Sequence[Point], output: Path) -> Iterator[Path]:
    """LPIPS below DeepJSCC's in per cent over the SNR, for every channel and CBR with two SNRs."""
    look = looks(p.scheme for p in points)
    for channel, cbr in dict.fromkeys((p.channel, p.cbr_target) for p in points):
        chosen = [p for p in points if (p.channel, p.cbr_target) == (channel, cbr)]
        rival = {p.snr_db: p.lpips for p in chosen if p.scheme == _RIVAL and p.lpips}
        lines: dict[str, list[tuple[float, float]]] = {}
        for point in chosen:
            theirs = rival.get(point.snr_db)
            if point.scheme.startswith("lrisc") and theirs and point.lpips is not None:
                below = 100 * (1 - point.lpips / theirs)
                lines.setdefault(point.scheme, []).append((point.snr_db, below))
        lines = {scheme: sorted(line) for scheme, line in lines.items() if len(line) > 1}
        if not lines:
            continue
        table: list[tuple[Any, ...]] = [
            (scheme, channel, cbr, snr_db, below, "measured")
            for scheme, line in lines.items()
            for snr_db, below in line
        ]
        table.append(("lrisc", "awgn", None, None, PUBLISHED_PERCENT, "arXiv 2504.21577, average"))
        with styled():
            figure = new_figure(5.2, 3.8)
            axes = figure.subplots()
            for scheme, line in lines.items():
                style, mean = look[scheme], sum(below for _, below in line) / len(line)
                axes.plot(
                    *zip(*line, strict=True), color=style.colour, linestyle=style.line,
                    marker=style.marker, linewidth=1.6, markersize=5,
                    label=f"{display_name(scheme)}, mean {mean:.1f} %",
                )  # fmt: skip
            axes.axhline(
                PUBLISHED_PERCENT, color=REFERENCE_COLOUR, linestyle=":", linewidth=1.2,
                label=f"the paper's average, {PUBLISHED_PERCENT} % (its DeepJSCC, not ours)",
            )  # fmt: skip
            axes.set_xticks(sorted(rival))
            axes.set_ylim(0, 100)
            axes.set_xlabel("SNR Es/N0 (dB)")
            axes.set_ylabel("LPIPS below DeepJSCC's (%)")
            axes.legend(fontsize=7.5, loc="lower right")
            count = max(p.pictures for p in chosen)
            figure.suptitle(f"CBR {fraction(cbr)}, mean of {count} pictures", fontsize=9)
            name = f"lpips-below-deepjscc_{channel}_cbr-{file_part(cbr)}"
            yield from save(figure, output, name, _COLUMNS, table)
