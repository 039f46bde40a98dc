"""Tables for a paper from a results folder of ``lrisc evaluate``, in Markdown and LaTeX.

    python scripts/paper_tables.py results/awgn --against bpg-ldpc -o tables.tex

Tables of means with 95 % bootstrap intervals over pictures and draws for every channel and CBR:
one of all metrics where there is one SNR, else one of each metric by SNR. For every SNR at which
there are two rates or more, Bjøntegaard's differences against a scheme: symbols at equal PSNR and
at equal LPIPS (BD-rate), PSNR and LPIPS at equal CBR. Points that some pictures have not reached
are left out of the latter, and marked by a star in the former. LaTeX needs booktabs; its tables
span both columns of a page of two. --schemes says which schemes, and in which order.
"""

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path

from lrisc.evaluation.figures.means import Point, means
from lrisc.evaluation.figures.style import LABELS, display_name, fraction
from lrisc.evaluation.results import ResultsFolder
from lrisc.evaluation.statistics import bjontegaard
from lrisc.link.multipath import TAPPED

Table = tuple[str, list[str], list[list[str]]]
"""Caption, heads, rows."""
_DIGITS = {"psnr_db": 2, "ms_ssim": 4, "lpips": 3, "lpips_vgg": 3}


def cell(point: Point | None, metric: str, star: bool = False) -> str:
    value = None if point is None else point.value(metric)
    if point is None or value is None:
        return "–"
    ends, digits = point.interval(metric), _DIGITS[metric]
    text = f"{value:.{digits}f}"
    if ends is not None:
        text += f" ± {(ends[1] - ends[0]) / 2:.{digits}f}"
    return text + "*" * (star and bool(point.missing))


def mean_tables(points: list[Point]) -> Iterator[Table]:
    for channel, cbr in dict.fromkeys((p.channel, p.cbr_target) for p in points):
        chosen = [p for p in points if (p.channel, p.cbr_target) == (channel, cbr)]
        known = [m for m in _DIGITS if any(p.value(m) is not None for p in chosen)]
        snrs = sorted({p.snr_db for p in chosen})
        where = f"{_channel(channel)}, CBR {fraction(cbr)}"
        notes = ""
        if any(p.interval("psnr_db") is not None for p in chosen):
            notes += "; ±: half of the 95 % bootstrap interval"
        if any(p.missing for p in chosen):
            notes += "; *: of the pictures that it can send alone"
        if len(snrs) == 1:
            rows = [
                [display_name(p.scheme) + "*" * bool(p.missing), *(cell(p, m) for m in known)]
                for p in chosen
            ]
            heads = [LABELS[metric] for metric in known]
            yield f"{where}, {snrs[0]:g} dB{notes}", ["scheme", *heads], rows
            continue
        found = {(p.scheme, p.snr_db): p for p in chosen}
        for metric in known:
            rows = [
                [display_name(scheme), *(cell(found.get((scheme, s)), metric, True) for s in snrs)]
                for scheme in dict.fromkeys(p.scheme for p in chosen)
            ]
            heads = [f"{snr:g} dB" for snr in snrs]
            yield f"{LABELS[metric]}, {where}{notes}", ["scheme", *heads], rows


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
            for metric in ("psnr_db", "lpips"):
                anchor = curves.get(against, {}).get(metric, [])
                found = bjontegaard(metrics.get(metric, []), anchor)
                rate = math.nan if found is None else found.rate_percent
                row.append("–" if math.isnan(rate) else f"{rate:+.1f}")
                row.append("–" if found is None else f"{found.quality:+.{_DIGITS[metric]}f}")
            if scheme != against and row[2] != "–":
                rows.append(row)
        if rows:
            heads = ["scheme", "BD-rate, PSNR (%)", "BD-PSNR (dB)", "BD-rate, LPIPS (%)"]
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
        "\\begin{table*}\n\\centering\n\\footnotesize\n"
        "\\setlength{\\tabcolsep}{4pt}\n\\setlength{\\belowcaptionskip}{4pt}\n"
        f"\\caption{{{_escape(caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}\n\\toprule\n"
        + " & ".join(_escape(head) for head in heads)
        + f" \\\\\n\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n\\end{{table*}}\n"
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
