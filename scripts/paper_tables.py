"""Tables for a paper from a results folder of ``lrisc evaluate``, in Markdown and LaTeX.

    python scripts/paper_tables.py results/awgn --against bpg-ldpc -o tables.tex

A table of means with 95 % bootstrap intervals over the pictures for every channel and CBR, and, for
every SNR at which there are two rates or more, Bjøntegaard's differences against a scheme: symbols
at equal PSNR and at equal LPIPS (BD-rate), PSNR and LPIPS at equal CBR. Points that some pictures
have not reached are left out of the latter, and marked by a star in the former. LaTeX needs
booktabs. --schemes says which schemes, and in which order.
"""

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path

from lrisc.evaluation.figures.means import Point, means
from lrisc.evaluation.figures.style import display_name, fraction
from lrisc.evaluation.results import ResultsFolder
from lrisc.evaluation.statistics import bjontegaard
from lrisc.link.multipath import TAPPED

Table = tuple[str, list[str], list[list[str]]]
"""Caption, heads, rows."""


def cell(point: Point | None) -> str:
    if point is None:
        return "–"
    parts = [_with_interval(point, "psnr_db", 2), _with_interval(point, "lpips", 3)]
    return " / ".join(parts) + "*" * bool(point.missing)


def _with_interval(point: Point, metric: str, digits: int) -> str:
    value, ends = point.value(metric), point.interval(metric)
    if value is None:
        return "–"
    if ends is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ± {(ends[1] - ends[0]) / 2:.{digits}f}"


def mean_tables(points: list[Point]) -> Iterator[Table]:
    for channel, cbr in dict.fromkeys((p.channel, p.cbr_target) for p in points):
        chosen = [p for p in points if (p.channel, p.cbr_target) == (channel, cbr)]
        snrs = sorted({p.snr_db for p in chosen})
        found = {(p.scheme, p.snr_db): p for p in chosen}
        rows = [
            [display_name(scheme), *(cell(found.get((scheme, snr))) for snr in snrs)]
            for scheme in dict.fromkeys(p.scheme for p in chosen)
        ]
        star = (
            "; *: of the pictures that it can send alone" if any(p.missing for p in chosen) else ""
        )
        caption = (
            f"PSNR (dB) / LPIPS, {_channel(channel)}, CBR {fraction(cbr)}; "
            f"±: half of the 95 % bootstrap interval over the pictures{star}"
        )
        yield caption, ["scheme", *(f"{snr:g} dB" for snr in snrs)], rows


def difference_tables(points: list[Point], against: str) -> Iterator[Table]:
    for channel, snr_db in dict.fromkeys((p.channel, p.snr_db) for p in points):
        chosen = [p for p in points if (p.channel, p.snr_db) == (channel, snr_db) and not p.missing]
        curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for point in chosen:
            for metric in ("psnr_db", "lpips"):
                value = point.value(metric)
                if value is not None:
                    curve = curves.setdefault(point.scheme, {}).setdefault(metric, [])
                    curve.append((point.cbr, value))
        rows: list[list[str]] = []
        for scheme, metrics in curves.items():
            row = [display_name(scheme)]
            for metric, digits in (("psnr_db", 2), ("lpips", 3)):
                anchor = curves.get(against, {}).get(metric, [])
                found = bjontegaard(metrics.get(metric, []), anchor)
                rate = math.nan if found is None else found.rate_percent
                row.append("–" if math.isnan(rate) else f"{rate:+.1f}")
                row.append("–" if found is None else f"{found.quality:+.{digits}f}")
            if scheme != against and row[2] != "–":
                rows.append(row)
        if rows:
            heads = ["scheme", "BD-rate by PSNR (%)", "BD-PSNR (dB)", "BD-rate by LPIPS (%)"]
            caption = (
                f"Against {display_name(against)}, {_channel(channel)}, {snr_db:g} dB; "
                "–: the curves have no range in common"
            )
            yield caption, [*heads, "BD-LPIPS"], rows


def markdown(table: Table) -> str:
    caption, heads, rows = table
    lines = [f"{caption}\n", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def latex(table: Table) -> str:
    caption, heads, rows = table
    body = " \\\\\n".join(" & ".join(_escape(text) for text in row) for row in rows)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape(caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}\n\\toprule\n"
        + " & ".join(_escape(head) for head in heads)
        + f" \\\\\n\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _channel(name: str) -> str:
    return name.upper() if name == "awgn" or name in TAPPED else name.capitalize()


def _escape(text: str) -> str:
    for plain, code in (
        ("\\", "\\textbackslash{}"), ("_", "\\_"), ("%", "\\%"), ("&", "\\&"), ("#", "\\#"),
        ("±", "$\\pm$"), ("–", "--"),
    ):  # fmt: skip
        text = text.replace(plain, code)
    return re.sub(r"^-(?=\d)", "$-$", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", default="bpg-ldpc", help="scheme of the differences")
    parser.add_argument("--schemes", help="only these, in this order: lrisc,bpg-ldpc")
    parser.add_argument("-o", "--output", type=Path, help="LaTeX file")
    arguments = parser.parse_args()
    folder = ResultsFolder(arguments.folder)
    rows = folder.rows()
    if arguments.schemes:
        wanted = arguments.schemes.split(",")
        rows = [row for scheme in wanted for row in rows if row.scheme == scheme]
    points = means(rows, len(folder.info()["images"]))
    tables = [*mean_tables(points), *difference_tables(points, arguments.against)]
    print("\n".join(map(markdown, tables)))
    if arguments.output is not None:
        arguments.output.write_text("\n".join(map(latex, tables)), encoding="utf-8")


if __name__ == "__main__":
    main()
