"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperCommand

from lrisc.errors import MAX_START_NOISE, InputError
from lrisc.link.budget import parse_cbr
from lrisc.models.config import STEERINGS, Steering
from lrisc.registry import import_plugins

if TYPE_CHECKING:
    from lrisc.link.multipath import Mobility
    from lrisc.refinement.objective import ObjectiveName
    from lrisc.roi.region import Region

CHANNEL_HELP = "CHANNELS"


class CommandWithChannels(TyperCommand):
    """A command whose help lists the channels that there are."""

    def get_help(self, ctx: Any) -> str:
        """Read the registry only where somebody asks: it takes torch."""
        from lrisc.link.channels import CHANNELS

        known = "; ".join(f"{name}: {model.about}" for name, model in CHANNELS.items())
        for parameter in self.params:
            if getattr(parameter, "help", None) == CHANNEL_HELP:
                parameter.help = f"{known}."  # pyright: ignore[reportAttributeAccessIssue]
        return super().get_help(ctx)


def _import_plugins(modules: list[str] | None) -> list[str]:
    import_plugins(modules or ())
    return modules or []


ImagesArgument = Annotated[
    list[Path],
    typer.Argument(help="Photographs, 64 to 4096 pixels a side, or folders of them."),
]
MaxSideOption = Annotated[
    int | None,
    typer.Option(
        "--max-side", help="Scale larger photographs down to so many pixels on the longer side."
    ),
]
SnrOption = Annotated[float, typer.Option("--snr", help="Es/N0 per complex symbol, dB.")]
CbrOption = Annotated[
    str | None,
    typer.Option("--cbr", help="Ceiling on all symbols per 3·H·W: 1/48 (the default) or 0.0208."),
]
BetaOption = Annotated[
    float | None,
    typer.Option(
        "--beta",
        help="Instead of --cbr: symbols per bit of entropy, so the rate follows the picture.",
    ),
]
ChannelOption = Annotated[str, typer.Option("--channel", help=CHANNEL_HELP)]
PluginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Python module, installed or here, that adds a channel, scheme, detector or preset; "
        "may be repeated.",
        callback=_import_plugins,
        is_eager=True,
    ),
]
DelaySpreadOption = Annotated[
    float | None,
    typer.Option("--delay-spread", help="RMS, 0 to 1e6 ns; tdl and cdl. Default: 100."),
]
SpeedOption = Annotated[
    float | None, typer.Option("--speed", help="Of the receiver, 0 to 1000 m/s. Default: 1.4.")
]
CarrierOption = Annotated[
    float | None, typer.Option("--carrier-frequency", help="1e6 to 1e11 Hz. Default: 3.5e9.")
]
WaveformOption = Annotated[
    str,
    typer.Option("--waveform", help="symbols (one sample each), ofdm, ofdm-long or ofdm-narrow."),
]
WrittenDatatypeOption = Annotated[
    str, typer.Option("--datatype", help="Of the file: cf32_le, ci16_le, ci8 or cu8.")
]
BlockOption = Annotated[
    int | None,
    typer.Option(
        "--block-length",
        help="Symbols per fade, where the channel fades in blocks; 0: one for all.",
    ),
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
    typer.Option(
        "--roi-steering",
        help="What gamma weights: latent, rate, both or power; default: what the model learnt.",
    ),
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", help="Diffusion steps; default: what the model says.")
]
NoiseOption = Annotated[
    float | None,
    typer.Option(
        "--start-noise",
        help=f"Standard deviation of the noise decoding starts from, 0 to {MAX_START_NOISE}; a "
        "picture's values are -1 to 1. Default: the model's.",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where the networks run: auto, cpu or cuda.")
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision", help="Of the diffusion: fp32, or bf16, faster on GPUs and CPUs that have it."
    ),
]
EffortOption = Annotated[
    int,
    typer.Option("--effort", help="Iterations that improve the symbols for this picture."),
]
ObjectiveOption = Annotated[
    str, typer.Option("--objective", help="What effort improves: perception or distortion.")
]
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


def objective_name(text: str) -> ObjectiveName:
    """The objective of that name."""
    if text not in ("perception", "distortion"):
        raise InputError(f"--objective is perception or distortion, not {text}")
    return text


def number(text: str, option: str) -> float:
    """A number in an option's text."""
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is not a number") from error


def mobility(
    delay_spread_ns: float | None,
    speed: float | None,
    carrier_frequency: float | None,
    *,
    channel: str,
    waveform: str,
) -> Mobility:
    """What was given; the rest keeps its defaults.

    Raises:
        InputError: a value that cannot be, or one that this channel has no use for.
    """
    from lrisc.link.multipath import FLAT, Mobility

    given = {
        "delay_spread": None if delay_spread_ns is None else delay_spread_ns * 1e-9,
        "speed": speed,
        "carrier_frequency": carrier_frequency,
    }
    given = {name: value for name, value in given.items() if value is not None}
    found = Mobility(**given)
    if given:
        from lrisc.link.channels import CHANNELS
        from lrisc.link.waveform.numerology import SYMBOLS

        paths = CHANNELS[CHANNELS.key(channel)].paths
        flat = paths in FLAT
        still = paths is None or (flat and waveform == SYMBOLS)
        for name in given:
            if still or (flat and name == "delay_spread"):
                where = " at one sample a symbol" if flat and still else ""
                option = name.replace("_", "-")
                raise InputError(f"--{option} has no effect on the channel {channel}{where}")
    return found


def cbr_or_none(text: str | None) -> float | None:
    """A ceiling's number, if one is given."""
    return None if text is None else parse_cbr(text)


def steering_or_none(text: str | None) -> Steering | None:
    """A steering's name, if one is given."""
    if text is not None and text not in STEERINGS:
        raise InputError(f"--roi-steering is {', '.join(STEERINGS)}, not {text}")
    return cast(Steering | None, text)


def check_region(roi: object, strength: float | None, steering: str | None) -> None:
    """Refuse what says how to favour a region where there is none."""
    if not roi:
        for option, value in (("--roi-strength", strength), ("--roi-steering", steering)):
            if value is not None:
                raise InputError(f"{option} has no effect without --roi: say which region")


def region_of(roi: list[str] | None, strength: float | None, steering: str | None) -> Region:
    """The region of interest that the options say; what is not given keeps its default."""
    from lrisc.roi.region import Region

    given: dict[str, Any] = {"gamma": strength, "steering": steering}
    found = Region(roi or None, **{name: v for name, v in given.items() if v is not None})
    check_region(roi, strength, steering)
    return found
