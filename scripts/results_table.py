"""The tables of docs/results.md, as Markdown, from the results folders that ``make results`` fills.

    python scripts/results_table.py RESULTS_DIR

RESULTS_DIR holds results folders of ``lrisc evaluate``: awgn (by SNR and by CBR), fine (every
decibel), rayleigh, metrics and effort (with --lpips-vgg); and, where there are other photographs,
second (by CBR).
"""

import argparse
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrisc.evaluation.results import ResultsFolder

PSNR_SLACK_DB, LPIPS_SLACK = 0.02, 0.001
OURS = "lrisc"


@dataclass(frozen=True)
class Mean:
    """Averages over the pictures of one scheme at one condition; a lost picture counts as grey."""

    psnr_db: float
    ms_ssim: float
    lpips: float
    lpips_vgg: float
    cbr: float
    pictures: int
    outages: int

    def cell(self) -> str:
        lost = f" ({self.outages} lost)" if self.outages else ""
        return f"{self.psnr_db:.2f} / {self.lpips:.4f}{lost}"


Means = dict[tuple[str, float, float], Mean]


def read(folder: Path) -> Means:
    """Means by (scheme, SNR, CBR ceiling)."""
    groups: dict[tuple[str, float, float], list[tuple[float, ...]]] = {}
    for row in ResultsFolder(folder).rows():
        if row.psnr_db is None or row.ms_ssim is None or row.cbr is None:
            continue
        lpips, vgg = (float("nan") if x is None else x for x in (row.lpips, row.lpips_vgg))
        numbers = (row.psnr_db, row.ms_ssim, lpips, vgg, row.cbr, row.outage)
        groups.setdefault((row.scheme, row.snr_db, row.cbr_target), []).append(numbers)
    means: Means = {}
    for key, rows in groups.items():
        m = np.mean(np.array(rows, dtype=float), axis=0)
        lost = round(m[5] * len(rows))
        means[key] = Mean(*(float(x) for x in m[:5]), pictures=len(rows), outages=lost)
    # The order of rows follows the last sweep into the folder; ours is what the rest is held to.
    return dict(sorted(means.items(), key=lambda item: item[0][0] != OURS))


def cbr_name(cbr: float) -> str:
    whole = round(1 / cbr)
    return f"1/{whole}" if abs(cbr * whole - 1) < 1e-6 else f"{cbr:g}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    head = list(head)
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def by_snr(means: Means) -> None:
    schemes = list(dict.fromkeys(key[0] for key in means))
    snrs = sorted({key[1] for key in means})
    cbr = next(iter(means))[2]
    print(f"PSNR (dB) / LPIPS by SNR, CBR {cbr_name(cbr)}\n")
    cells = ([s, *(means[s, snr, cbr].cell() for snr in snrs)] for s in schemes)
    table(["scheme", *(f"{snr:g} dB" for snr in snrs)], cells)
    for other in schemes[1:]:
        below = [1 - means[schemes[0], s, cbr].lpips / means[other, s, cbr].lpips for s in snrs]
        above = [means[schemes[0], s, cbr].psnr_db - means[other, s, cbr].psnr_db for s in snrs]
        print(
            f"- {schemes[0]} against {other}: LPIPS lower by {100 * np.mean(below):.1f} % on "
            f"average ({', '.join(f'{100 * b:.0f}' for b in below)}), PSNR "
            f"{np.mean(above):+.2f} dB ({', '.join(f'{a:+.2f}' for a in above)})"
        )
    print()


def by_cbr(means: Means) -> None:
    schemes = list(dict.fromkeys(key[0] for key in means))
    cbrs = sorted({key[2] for key in means})
    snr = next(iter(means))[1]
    print(f"PSNR (dB) / LPIPS by CBR, {snr:g} dB\n")
    rows = (
        [s, *(m.cell() if (m := means.get((s, snr, c))) else "-" for c in cbrs)] for s in schemes
    )
    table(["scheme", *(cbr_name(c) for c in cbrs)], rows)
    for better, worse in itertools.pairwise(reversed(cbrs)):
        a, b = means[schemes[0], snr, better], means[schemes[0], snr, worse]
        if a.psnr_db <= b.psnr_db or a.lpips >= b.lpips:
            print(f"- {cbr_name(better)} is not better than {cbr_name(worse)} in both metrics")
    print()


def by_metric(means: Means) -> None:
    """All metrics of every scheme, at one SNR and CBR."""
    _, snr, cbr = next(iter(means))
    pictures = max(m.pictures for m in means.values())
    print(f"All metrics, {snr:g} dB, CBR {cbr_name(cbr)}, {pictures} pictures\n")
    rows = (
        [s, *f"{m.psnr_db:.2f} {m.ms_ssim:.4f} {m.lpips:.4f} {m.lpips_vgg:.4f}".split()]
        for (s, _, _), m in means.items()
    )
    table(["scheme", "PSNR (dB)", "MS-SSIM", "LPIPS (AlexNet)", "LPIPS (VGG)"], rows)


def monotone(means: Means) -> None:
    """Every step of SNR should improve both metrics."""
    ordered = [means[key] for key in sorted(means, key=lambda key: key[1])]
    snrs = sorted(key[1] for key in means)
    print(f"SNR {snrs[0]:g} to {snrs[-1]:g} dB, {len(snrs)} values\n")
    heads = ["SNR (dB)", "PSNR (dB)", "MS-SSIM", "LPIPS", "CBR sent", "lost"]
    table(
        heads,
        (
            f"{s:g} {m.psnr_db:.2f} {m.ms_ssim:.4f} {m.lpips:.4f} {m.cbr:.5f} {m.outages}".split()
            for s, m in zip(snrs, ordered, strict=True)
        ),
    )
    bad = [
        f"{low:g} to {high:g} dB"
        for (low, a), (high, b) in itertools.pairwise(zip(snrs, ordered, strict=True))
        if b.psnr_db < a.psnr_db - PSNR_SLACK_DB or b.lpips > a.lpips + LPIPS_SLACK
    ]
    print(f"- steps that do not improve both metrics: {', '.join(bad) or 'none'}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    awgn = read(folder / "awgn")
    snr = {k: m for k, m in awgn.items() if cbr_name(k[2]) == "1/48"}
    by_snr(snr)
    by_cbr({k: m for k, m in awgn.items() if k[1] == 10})
    monotone(read(folder / "fine"))
    fading = read(folder / "rayleigh")
    print("Rayleigh block fading, mean SNR 10 dB, CBR 1/48\n")
    table(["scheme", "PSNR / LPIPS"], ([key[0], m.cell()] for key, m in fading.items()))
    ratio = (
        next(m for k, m in fading.items() if k[0] == OURS).lpips
        / next(m for k, m in snr.items() if k[:2] == (OURS, 10)).lpips
    )
    print(f"- LPIPS of {OURS}: {ratio:.3f} times that on AWGN\n")
    by_metric(read(folder / "metrics"))
    by_metric(read(folder / "effort"))
    if (folder / "second").is_dir():
        second = read(folder / "second")
        print(f"Other photographs: {max(m.pictures for m in second.values())}\n")
        by_cbr(second)


if __name__ == "__main__":
    main()
