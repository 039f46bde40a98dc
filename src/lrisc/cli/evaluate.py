"""``lrisc evaluate`` and ``lrisc plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lrisc.cli.options import (
    CarrierOption,
    ChannelOption,
    DelaySpreadOption,
    DeviceOption,
    ObjectiveOption,
    PluginOption,
    SeedOption,
    SpeedOption,
    SteeringOption,
    StepsOption,
    StrengthOption,
    WaveformOption,
    check_region,
    mobility,
    number,
    objective_name,
    split,
    steering_or_none,
)
from lrisc.cli.output import terminal
from lrisc.errors import InputError
from lrisc.link.budget import check_beta, parse_cbr


def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    schemes: Annotated[
        str,
        typer.Option(
            "--schemes", help="Names, with commas between; see docs/manual/evaluation.md."
        ),
    ] = "lrisc,deepjscc,bpg-ldpc,bpg-capacity",
    snr: Annotated[str, typer.Option("--snr", help="Es/N0 in dB, with commas.")] = "0,5,10,15,20",
    cbr: Annotated[
        str | None, typer.Option("--cbr", help="Ceilings, with commas; default: 1/48.")
    ] = None,
    beta: Annotated[
        str | None,
        typer.Option(
            "--beta",
            help="For lrisc, symbols per bit, with commas: the rate follows the picture, and the "
            "mean CBR is what is drawn.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Results folder.")] = Path(
        "results"
    ),
    channel: ChannelOption = "awgn",
    waveform: WaveformOption = "symbols",
    delay_spread: DelaySpreadOption = None,
    speed: SpeedOption = None,
    carrier_frequency: CarrierOption = None,
    roi: Annotated[
        str | None,
        typer.Option("--roi", help="For lrisc-roi: auto, x,y,w,h, a mask, or a folder of masks."),
    ] = None,
    roi_strength: StrengthOption = None,
    roi_steering: SteeringOption = None,
    steps: StepsOption = None,
    effort: Annotated[
        int, typer.Option("--effort", help="For lrisc-effort: iterations for every picture.")
    ] = 0,
    objective: ObjectiveOption = "perception",
    seed: SeedOption = 0,
    seeds: Annotated[
        int,
        typer.Option("--seeds", help="Draws of the channel for every row, from --seed upwards."),
    ] = 1,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Processes; default: one per core.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Only the first so many pictures.")
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", help="Keep the pictures of the first so many sources.")
    ] = 4,
    lpips_vgg: Annotated[
        bool, typer.Option("--lpips-vgg", help="Measure LPIPS with VGG, too, which takes seconds.")
    ] = False,
    device: DeviceOption = "cpu",
    plugin: PluginOption = None,
) -> None:
    """Compare schemes on a folder of pictures; stopped, it goes on where it was."""
    from lrisc.evaluation.command import evaluate_folder
    from lrisc.evaluation.plan import Sweep
    from lrisc.evaluation.schemes import Options, with_betas

    named = split(schemes, "--schemes")
    if effort and not any(name.startswith("lrisc-effort") for name in named):
        raise InputError("--effort is for the scheme lrisc-effort: name it in --schemes")
    if beta is not None:
        betas = [number(text, "--beta") for text in split(beta, "--beta")]
        for value in betas:
            check_beta(value)
        follow = with_betas(named, betas)
        # Without --cbr only what follows beta is asked for.
        named = [*(named if cbr is not None else ()), *follow]
    sweep = Sweep(
        schemes=tuple(named),
        snrs_db=tuple(number(text, "--snr") for text in split(snr, "--snr")),
        cbrs=tuple(parse_cbr(text) for text in split(cbr or "1/48", "--cbr")),
        channel=channel,
        waveform=waveform,
        mobility=mobility(
            delay_spread, speed, carrier_frequency, channel=channel, waveform=waveform
        ),
        seed=seed,
        seeds=seeds,
        options=Options(
            roi=roi,
            roi_strength=roi_strength,
            roi_steering=steering_or_none(roi_steering),
            steps=steps,
            effort=effort,
            objective=objective_name(objective),
            device=device,
        ),
        plugins=tuple(plugin or ()),
        lpips_vgg=lpips_vgg,
        keep=keep,
    )
    check_region(roi, roi_strength, roi_steering)
    console = terminal()
    try:
        evaluate_folder(sweep, data, output, jobs=jobs, limit=limit, console=console)
    except KeyboardInterrupt as stop:
        console.print("lrisc: interrupted; the same command goes on where it was")
        raise typer.Exit(130) from stop


def plot(
    results: Annotated[Path, typer.Argument(help="Results folder of lrisc evaluate.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder. Default: RESULTS/figures.")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Add published curves as thin lines.")
    ] = False,
    schemes: Annotated[
        str | None, typer.Option("--schemes", help="Only these, in this order: lrisc,bpg-ldpc.")
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option("--crop", help="x,y,width,height: a box to mark, and to draw zoomed, too."),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option("--width", help="Inches; 3.5 is a column, 7.16 a page of two."),
    ] = None,
) -> None:
    """Draw the figures of a results folder, as PNG and PDF, with their data as CSV."""
    from lrisc.evaluation.figures import draw_all
    from lrisc.evaluation.figures.style import Choice

    choice = Choice(tuple(split(schemes, "--schemes")) if schemes else (), _box(crop), width)
    console = terminal()
    with console.status("drawing"):
        for path in draw_all(results, output or results / "figures", reference, choice):
            console.print(str(path))


def _box(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    found = [number(part, "--crop") for part in text.split(",")]
    if len(found) != 4 or not all(value.is_integer() for value in found):
        raise InputError(f"--crop is x,y,width,height in whole pixels, not {text}")
    left, top, width, height = (int(value) for value in found)
    return left, top, width, height
