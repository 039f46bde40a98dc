"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lrisc.errors import InputError

ImageArgument = Annotated[Path, typer.Argument(help="Photograph, 64 to 4096 pixels a side.")]
SnrOption = Annotated[float, typer.Option("--snr", help="Es/N0 per complex symbol, dB.")]
CbrOption = Annotated[
    str, typer.Option("--cbr", help="Ceiling on all symbols per 3·H·W: 1/48 or 0.0208.")
]
ChannelOption = Annotated[str, typer.Option("--channel", help="awgn or rayleigh.")]
BlockOption = Annotated[
    int | None,
    typer.Option("--block-length", help="Symbols per fade (rayleigh); 0: one for all."),
]
RoiOption = Annotated[
    list[str] | None,
    typer.Option(
        "--roi",
        help="none, auto, a mask file, x,y,w,h, or another detector such as rembg:u2net; may be "
        "repeated.",
    ),
]
StrengthOption = Annotated[
    float | None,
    typer.Option("--roi-strength", help="gamma in (0, 1]: smaller favours the region more."),
]
SteeringOption = Annotated[
    str | None,
    typer.Option("--roi-steering", help="What gamma weights: latent, rate, both or power."),
]
StepsOption = Annotated[int, typer.Option("--steps", help="Diffusion steps.")]
ModelOption = Annotated[str, typer.Option("--model", help="Name, folder or Hugging Face id.")]
SeedOption = Annotated[
    int,
    typer.Option("--seed", help="Seed of the channel, and of diffusion that starts from noise."),
]


def split(text: str, option: str) -> list[str]:
    """The parts between commas, each once."""
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise InputError(f"{option} names nothing")
    return parts


def number(text: str, option: str) -> float:
    """A number in an option's text."""
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is not a number") from error


def roi_or_none(values: list[str] | None) -> list[str] | None:
    """The regions given; ``None`` for an empty list."""
    return values or None


def roi_options(strength: float | None, steering: str | None) -> dict[str, Any]:
    """What was given; the rest keeps the API's defaults."""
    given = {"roi_strength": strength, "roi_steering": steering}
    return {name: value for name, value in given.items() if value is not None}
