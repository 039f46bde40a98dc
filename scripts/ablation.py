"""Parts of the paper's system, each left out or changed, trained at one equal budget.

    python scripts/ablation.py PICTURES -o DIR --validation PICTURES [key=value ...]
    python scripts/ablation.py -o DIR --table

Every variant is a run of Algorithm 1 (configs/ablation) in a folder of its own; those that do not
change stage 1 share the reference's. Stopped, the command goes on where it was. The table is over
what stage 3 measured on held-out pictures, on AWGN, payload only.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrisc.models.config import PRESETS
from lrisc.training import schedule

CONFIGS = Path(__file__).parents[1] / "configs" / "ablation"
ONE_RATE, RATE_LAYERS = "tiny-one-rate", "tiny-rate-layers"

# What belongs to the networks' config is chosen by the name of a preset.
PRESETS.add(ONE_RATE, replace(PRESETS["tiny"], rate_rule="uniform"))
PRESETS.add(RATE_LAYERS, replace(PRESETS["tiny"], rate_layers=True))


@dataclass(frozen=True)
class Variant:
    """One run.

    Attributes:
        about: its line of the table.
        overrides: of the configs, ``key=value``.
        own_stage1: whether stage 1 differs from the reference's.
    """

    about: str
    overrides: tuple[str, ...] = ()
    own_stage1: bool = False


VARIANTS = {
    "reference": Variant("reference (eta 0.5, lambda 0.012)", (), True),
    "no-snr-model": Variant(
        "without the SNR-adaptive models", ("stage2b.link.adapt=false", "stage3.link.adapt=false")
    ),
    "one-rate": Variant("one rate for all embeddings", (f"preset={ONE_RATE}",)),
    "rate-layers": Variant("one FC layer per rate", (f"preset={RATE_LAYERS}",), True),
    "only-2a": Variant(
        "stage 2b as 2a: 10 dB, without the SNR-adaptive models",
        ("stage2b.link.adapt=false", "stage2b.link.snr_db=[10,10]"),
    ),
    "only-2b": Variant(
        "stage 2a as 2b: every SNR from the start",
        ("stage2a.link.adapt=true", "stage2a.link.snr_db=[-2,20]"),
    ),
    "eta-0": Variant("eta 0: squared error only", ("loss.eta=0",), True),
    "eta-1": Variant("eta 1: LPIPS only", ("loss.eta=1",), True),
    "lambda-4": Variant("lambda × 4", ("loss.rate=0.048",), True),
    "reference-seed-1": Variant("reference, another seed", ("seed=1",), True),
}


def command(name: str, output: Path, common: list[str]) -> tuple[Path, list[str]]:
    """Config and overrides of a variant's run.

    Args:
        name: of the variant.
        output: folder of all runs.
        common: ``key=value`` of every run.
    """
    variant = VARIANTS[name]
    config, own = CONFIGS / "all.yaml", [f"output={output / name}", *common]
    if not variant.own_stage1:
        config = CONFIGS / "after_stage1.yaml"
        own = [key for key in own if not key.startswith("stage1.")]
        own.append(f"parent={output / 'reference' / 'stage1' / 'final'}")
    return config, [*own, *variant.overrides]


def run(data: Path, output: Path, validation: Path | None, extra: list[str]) -> None:
    """Train every variant to its end."""
    common = [f"data={data}", *([f"validation={validation}"] if validation else []), *extra]
    for name in VARIANTS:
        outcome = schedule.run(*command(name, output, common))
        if outcome != "finished":
            raise SystemExit(f"{name}: {outcome}; the same command goes on")


def table(output: Path) -> list[str]:
    """The lines of a Markdown table, of the variants that are finished."""
    lines: list[str] = []
    for name, variant in VARIANTS.items():
        file = output / name / "final" / "config.json"
        if not file.is_file():
            continue
        stages: list[dict[str, Any]] = json.loads(file.read_text())["training"]
        found: dict[str, float] = stages[-1]["validation"]
        at = [key[4:] for key in found if key.startswith("psnr@")]
        if not lines:
            names = (f"{key.partition(',')[0][1:]}, {key.partition('=')[2]}" for key in at)
            heads = ["variant", *names, "mean", "bpp of z"]
            lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        cells = [f"{found['psnr' + key]:.2f} / {found['lpips' + key]:.3f}" for key in at]
        mean = f"{found['psnr']:.2f} / {found['lpips']:.4f}"
        lines.append(f"| {variant.about} | {' | '.join(cells)} | {mean} | {found['bpp']:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="training pictures")
    parser.add_argument("overrides", nargs="*", help="key=value for every run")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--validation", type=Path, help="folder of held-out pictures")
    parser.add_argument("--table", action="store_true", help="only print the table")
    a = parser.parse_intermixed_args()
    if not a.table:
        if a.data is None:
            parser.error("training pictures are missing")
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        run(a.data, a.output, a.validation, a.overrides)
    print("\n".join(table(a.output)))


if __name__ == "__main__":
    main()
