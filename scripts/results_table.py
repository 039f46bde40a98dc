"""The tables of docs/results.md, as Markdown, from the results folders that ``make results`` fills.

    python scripts/results_table.py RESULTS_DIR

RESULTS_DIR holds results folders of ``lrisc evaluate``: awgn (by SNR and by CBR), fine (every
decibel), rayleigh, metrics and effort (with --lpips-vgg); and, where there are other photographs,
second (by CBR), and drawings (of ``make_drawings.py``, by kind).
"""

import argparse
import itertools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lrisc.evaluation.figures.means import Point, means
from lrisc.evaluation.figures.style import fraction
from lrisc.evaluation.results import ResultsFolder, Row

PSNR_SLACK_DB, LPIPS_SLACK = 0.02, 0.001
OURS = "lrisc"


Means = dict[tuple[str, float, float], Point]
"""By scheme, SNR and CBR ceiling; a lost picture counts as grey."""


def read(folder: Path) -> Means:
    found = ResultsFolder(folder)
    points = means(found.rows(), len(found.info()["images"]))
    # The order of rows follows the last sweep into the folder; ours is what the rest is held to.
    points.sort(key=lambda point: point.scheme != OURS)
    return {(p.scheme, p.snr_db, p.cbr_target): p for p in points}


def lpips(point: Point, metric: str = "lpips") -> float:
    value = point.value(metric)
    return math.nan if value is None else value


def cell(point: Point) -> str:
    lost = f" ({point.outages} lost)" if point.outages else ""
    return f"{point.psnr_db:.2f} / {lpips(point):.4f}{lost}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    head = list(head)
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def by_snr(found: Means) -> None:
    schemes = list(dict.fromkeys(key[0] for key in found))
    snrs = sorted({key[1] for key in found})
    cbr = next(iter(found))[2]
    print(f"PSNR (dB) / LPIPS by SNR, CBR {fraction(cbr)}\n")
    cells = ([s, *(cell(found[s, snr, cbr]) for snr in snrs)] for s in schemes)
    table(["scheme", *(f"{snr:g} dB" for snr in snrs)], cells)
    for other in schemes[1:]:
        pairs = [(found[schemes[0], s, cbr], found[other, s, cbr]) for s in snrs]
        below = [1 - lpips(ours) / lpips(theirs) for ours, theirs in pairs]
        above = [ours.psnr_db - theirs.psnr_db for ours, theirs in pairs]
        print(
            f"- {schemes[0]} against {other}: LPIPS lower by {100 * np.mean(below):.1f} % on "
            f"average ({', '.join(f'{100 * b:.0f}' for b in below)}), PSNR "
            f"{np.mean(above):+.2f} dB ({', '.join(f'{a:+.2f}' for a in above)})"
        )
    print()


def by_cbr(found: Means) -> None:
    schemes = list(dict.fromkeys(key[0] for key in found))
    cbrs = sorted({key[2] for key in found})
    snr = next(iter(found))[1]
    print(f"PSNR (dB) / LPIPS by CBR, {snr:g} dB\n")
    rows = (
        [s, *(cell(m) if (m := found.get((s, snr, c))) else "-" for c in cbrs)] for s in schemes
    )
    table(["scheme", *(fraction(c) for c in cbrs)], rows)
    for better, worse in itertools.pairwise(reversed(cbrs)):
        a, b = found[schemes[0], snr, better], found[schemes[0], snr, worse]
        if a.psnr_db <= b.psnr_db or lpips(a) >= lpips(b):
            print(f"- {fraction(better)} is not better than {fraction(worse)} in both metrics")
    print()


def by_metric(found: Means) -> None:
    """All metrics of every scheme, a table for every SNR, at one CBR."""
    for snr, cbr in dict.fromkeys(key[1:] for key in found):
        points = [m for key, m in found.items() if key[1] == snr]
        pictures = max(m.pictures for m in points)
        print(f"All metrics, {snr:g} dB, CBR {fraction(cbr)}, {pictures} pictures\n")
        rows = (
            [
                m.scheme, f"{m.psnr_db:.2f}", f"{m.ms_ssim:.4f}", f"{lpips(m):.4f}",
                f"{lpips(m, 'lpips_vgg'):.4f}",
            ]
            for m in points
        )  # fmt: skip
        table(["scheme", "PSNR (dB)", "MS-SSIM", "LPIPS (AlexNet)", "LPIPS (VGG)"], rows)


def monotone(found: Means) -> None:
    """Every step of SNR should improve both metrics."""
    ordered = sorted(found.values(), key=lambda point: point.snr_db)
    snrs = [point.snr_db for point in ordered]
    print(f"SNR {snrs[0]:g} to {snrs[-1]:g} dB, {len(snrs)} values\n")
    heads = ["SNR (dB)", "PSNR (dB)", "MS-SSIM", "LPIPS", "CBR sent", "lost"]
    table(
        heads,
        (
            f"{m.snr_db:g} {m.psnr_db:.2f} {m.ms_ssim:.4f} {lpips(m):.4f} {m.cbr:.5f} "
            f"{m.outages}".split()
            for m in ordered
        ),
    )
    bad = [
        f"{a.snr_db:g} to {b.snr_db:g} dB"
        for a, b in itertools.pairwise(ordered)
        if b.psnr_db < a.psnr_db - PSNR_SLACK_DB or lpips(b) > lpips(a) + LPIPS_SLACK
    ]
    print(f"- steps that do not improve both metrics: {', '.join(bad) or 'none'}\n")


def by_kind(rows: Iterable[Row]) -> None:
    """Drawings by their kind, with which the names of their files begin."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        assert row.psnr_db is not None
        assert row.lpips is not None
        kinds = found.setdefault(row.scheme, {})
        kinds.setdefault(row.image.partition("-")[0], []).append((row.psnr_db, row.lpips))
    print("Drawings, by kind\n")
    heads = sorted({kind for kinds in found.values() for kind in kinds})
    means = {
        scheme: [np.mean(kinds[kind], axis=0) for kind in heads] for scheme, kinds in found.items()
    }
    for column in means.values():
        column.append(np.mean(column, axis=0))
    cells = (
        [kind, *(f"{column[at][0]:.2f} / {column[at][1]:.4f}" for column in means.values())]
        for at, kind in enumerate([*heads, "mean"])
    )
    table(["kind", *means], cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    awgn = read(folder / "awgn")
    snr = {k: m for k, m in awgn.items() if fraction(k[2]) == "1/48"}
    by_snr(snr)
    by_cbr({k: m for k, m in awgn.items() if k[1] == 10})
    monotone(read(folder / "fine"))
    fading = read(folder / "rayleigh")
    print("Rayleigh block fading, mean SNR 10 dB, CBR 1/48\n")
    table(["scheme", "PSNR / LPIPS"], ([key[0], cell(m)] for key, m in fading.items()))
    ours = next(m for k, m in fading.items() if k[0] == OURS)
    still = next(m for k, m in snr.items() if k[:2] == (OURS, 10))
    ratio = lpips(ours) / lpips(still)
    print(f"- LPIPS of {OURS}: {ratio:.3f} times that on AWGN\n")
    by_metric(read(folder / "metrics"))
    by_metric(read(folder / "effort"))
    if (folder / "second").is_dir():
        second = read(folder / "second")
        print(f"Other photographs: {max(m.pictures for m in second.values())}\n")
        by_cbr(second)
    if (folder / "drawings").is_dir():
        by_kind(ResultsFolder(folder / "drawings").rows())


if __name__ == "__main__":
    main()
