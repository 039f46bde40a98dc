"""The command line. Only this module and the web page talk to people.

Exit codes: 0 done; 2 bad usage or bad input; 3 outage; 1 a bug.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrisc._version import __version__
from lrisc.errors import InputError, LriscError, OutageError

if TYPE_CHECKING:
    from rich.console import Console

    from lrisc.system import TransmitResult

app = typer.Typer(
    name="lrisc",
    help="Send photographs over noisy channels in very few symbols.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_PICTURES = ("reconstruction.png", "overview.png")
_REPORT = "report.json"


def parse_cbr(text: str) -> float:
    """``1/48`` or ``0.0208`` to a number.

    Raises:
        InputError: it is neither, or not positive and finite.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"cbr '{text}' is neither a fraction such as 1/48 nor a number") from error
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"cbr must be positive, not '{text}'")
    return value


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


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def transmit(
    image: ImageArgument,
    snr: SnrOption = 10.0,
    cbr: CbrOption = "1/48",
    channel: ChannelOption = "awgn",
    roi: RoiOption = None,
    steps: StepsOption = 1,
    model: ModelOption = "compact",
    seed: SeedOption = 0,
    roi_strength: StrengthOption = None,
    roi_steering: SteeringOption = None,
    block_length: BlockOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for pictures and report.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Send a photograph over a simulated channel and show what arrives."""
    from lrisc import system
    from lrisc.files import check_output

    if out is not None:
        for name in (*_PICTURES, _REPORT):
            check_output(out / name, inputs=(image, *(roi or ())))
    console = _console()
    with console.status(f"sending {image.name} at {snr:g} dB"):
        result = system.transmit(
            image,
            snr_db=snr,
            cbr=parse_cbr(cbr),
            channel=channel,
            roi=_roi(roi),
            steps=steps,
            model=model,
            seed=seed,
            block_length=block_length,
            **_roi_options(roi_strength, roi_steering),
        )
        if out is not None:
            _write_result(result, out)
    if as_json:
        print(json.dumps(result.report, indent=2))
    elif result.reconstruction is not None:
        _show(result, out)
    if result.reconstruction is None:
        raise OutageError(result.report["outage_reason"])


@app.command()
def encode(
    image: ImageArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.sigmf-meta.")],
    snr: SnrOption = 10.0,
    cbr: CbrOption = "1/48",
    roi: RoiOption = None,
    roi_strength: StrengthOption = None,
    roi_steering: SteeringOption = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Protect the rate map for an SNR this much lower, dB.")
    ] = 0.0,
    model: ModelOption = "compact",
) -> None:
    """Write the frame of a photograph as IQ samples (SigMF): the frame and nothing else."""
    from lrisc import system
    from lrisc.files import check_output
    from lrisc.link.iq import recording_paths, write_recording

    for path in recording_paths(output):
        check_output(path, inputs=(image, *(roi or ())))
    frame = system.Transmitter.from_pretrained(model).encode(
        image,
        snr,
        parse_cbr(cbr),
        _roi(roi),
        margin_db=margin,
        **_roi_options(roi_strength, roi_steering),
    )
    meta = write_recording(output, frame.symbols)
    _console().print(
        f"{meta}: {frame.symbols.numel():,} symbols, CBR {frame.cbr:.5f} "
        f"(payload {frame.payload_symbols:,}, rate map {frame.side_info_symbols:,}, "
        f"header {frame.header_symbols:,}, pilots {frame.pilot_symbols:,})"
    )


@app.command()
def channel(
    recording: Annotated[Path, typer.Argument(help="IN.sigmf-meta.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.sigmf-meta.")],
    snr: SnrOption,
    channel: ChannelOption = "awgn",
    block_length: BlockOption = None,
    seed: SeedOption = 0,
) -> None:
    """Send a recording over a simulated channel; the SNR is relative to its mean power.

    A recording carries no channel state, so with rayleigh the default is one fade for all of it.
    """
    from lrisc.files import check_output
    from lrisc.link import channels
    from lrisc.link.iq import read_recording, recording_paths, unit_power, write_recording

    for path in recording_paths(output):
        check_output(path, inputs=recording_paths(recording))
    link = channels.channel(channel, snr, block_length=block_length or 0, seed=seed)
    meta = write_recording(output, link(unit_power(read_recording(recording))).symbols)
    _console().print(f"{meta}: {channel}, {snr:g} dB")


@app.command()
def decode(
    recording: Annotated[Path, typer.Argument(help="IN.sigmf-meta.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.png.")],
    steps: StepsOption = 1,
    model: ModelOption = "compact",
    seed: SeedOption = 0,
) -> None:
    """Paint the photograph a recording holds; SNR, gain and phase come from its samples."""
    from lrisc.files import check_output, remove_stale, replace_atomically
    from lrisc.link.iq import estimate_channel, read_recording, recording_paths
    from lrisc.system import Receiver

    check_output(output, suffixes=(".png",), inputs=recording_paths(recording))
    samples = read_recording(recording)
    receiver = Receiver.from_pretrained(model)
    try:
        received = estimate_channel(samples)
        picture = receiver.decode(received, steps, seed)
    except OutageError:
        # What an earlier run left must not pass for this one's result.
        remove_stale(output)
        raise
    replace_atomically(output, lambda path: picture.save(path, format="png"))
    _console().print(
        f"{output}: {picture.width}×{picture.height}, "
        f"estimated SNR {float(received.snr_db().mean()):.1f} dB"
    )


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="CONFIG.yaml of a stage or of a schedule.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value …")] = None,
) -> None:
    """Train a stage or a whole schedule; run it again and it goes on."""
    from lrisc.training import missing_package

    try:
        from lrisc.training.schedule import run
    except ModuleNotFoundError as error:
        raise missing_package(error) from error

    # Without a terminal there is no progress bar: the log is all there is of a long run.
    logging.getLogger("lrisc").setLevel(logging.INFO)
    if run(config, overrides or []) == "interrupted":
        raise typer.Exit(130)


@app.command("app")
def web_page(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 7860,
    model: ModelOption = "compact",
    auth: Annotated[
        str | None,
        typer.Option(
            "--auth",
            help="user:password that visitors need, or a file with that in its first line (others "
            "on this machine can see a password on the command line).",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host", help="A host name the page may be asked for by; may be repeated."
        ),
    ] = None,
) -> None:
    """Open a page on this machine to try it all in a browser."""
    from lrisc.app.gate import is_loopback
    from lrisc.app.server import start

    console = _console()
    if auth is None and not is_loopback(host):
        console.print(
            f"WARNING: everybody who can reach {host} can use this page, and with it this "
            "machine's time, memory and disk; --auth user:password asks for a password"
        )
    with console.status("loading"):
        page = start(host, port, model, auth, allow_host or ())
    console.print(f"{page.url}  (Ctrl-C stops)")
    page.wait()


@app.command()
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    schemes: Annotated[
        str, typer.Option("--schemes", help="Names, with commas between; see docs/evaluation.md.")
    ] = "lrisc,deepjscc,bpg-ldpc,bpg-capacity",
    snr: Annotated[str, typer.Option("--snr", help="Es/N0 in dB, with commas.")] = "0,5,10,15,20",
    cbr: Annotated[str, typer.Option("--cbr", help="Ceilings, with commas.")] = "1/48",
    output: Annotated[Path, typer.Option("-o", "--output", help="Results folder.")] = Path(
        "results"
    ),
    channel: ChannelOption = "awgn",
    roi: Annotated[
        str | None,
        typer.Option("--roi", help="For lrisc-roi: auto, x,y,w,h, a mask, or a folder of masks."),
    ] = None,
    roi_strength: StrengthOption = None,
    steps: StepsOption = 1,
    seed: SeedOption = 0,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Processes; default: one per core.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Only the first so many pictures.")
    ] = None,
    keep: Annotated[
        int, typer.Option("--keep", help="Keep the pictures of the first so many sources.")
    ] = 4,
    lpips: Annotated[str, typer.Option("--lpips", help="Backbone: alex or vgg.")] = "alex",
    plugin: Annotated[
        list[str] | None, typer.Option("--plugin", help="Python module that registers a scheme.")
    ] = None,
) -> None:
    """Compare schemes on a folder of pictures; stopped, it goes on where it was."""
    from lrisc.evaluation.command import evaluate_folder
    from lrisc.evaluation.plan import Sweep
    from lrisc.evaluation.schemes import Options

    sweep = Sweep(
        schemes=tuple(_split(schemes, "--schemes")),
        snrs_db=tuple(_number(text, "--snr") for text in _split(snr, "--snr")),
        cbrs=tuple(parse_cbr(text) for text in _split(cbr, "--cbr")),
        channel=channel,
        seed=seed,
        options=Options(roi=roi, roi_strength=roi_strength, steps=steps),
        plugins=tuple(plugin or ()),
        lpips="vgg" if lpips == "vgg" else "alex",
        keep=keep,
    )
    if lpips not in ("alex", "vgg"):
        raise InputError(f"--lpips is alex or vgg, not {lpips}")
    console = _console()
    try:
        evaluate_folder(sweep, data, output, jobs=jobs, limit=limit, console=console)
    except KeyboardInterrupt as stop:
        console.print("lrisc: interrupted; the same command goes on where it was")
        raise typer.Exit(130) from stop


@app.command()
def plot(
    results: Annotated[Path, typer.Argument(help="Results folder of lrisc evaluate.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: RESULTS/figures.")
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Add published curves as thin lines.")
    ] = False,
) -> None:
    """Draw the figures of a results folder, as PNG and PDF, with their data as CSV."""
    from lrisc.evaluation.figures import draw_all

    console = _console()
    with console.status("drawing"):
        for path in draw_all(results, output or results / "figures", reference):
            console.print(str(path))


@app.command()
def models() -> None:
    """List the checkpoints that come inside the package."""
    from rich.table import Table

    from lrisc.checkpoint import embedded_names, load_checkpoint

    table = Table("name", "parameters", "sha256", "about", box=None)
    for name in embedded_names():
        loaded = load_checkpoint(name)
        count = sum(p.numel() for p in loaded.model.parameters())
        about = str(loaded.info.get("description", ""))
        table.add_row(name, f"{count / 1e6:.1f} M", loaded.sha256[:12], about)
    _console(stderr=False).print(table)


def main() -> None:
    """Entry point: errors of the user become one line and a documented exit code."""
    try:
        # Typer returns the code of what ended a command early: typer.Exit, or Ctrl-C.
        code = app(standalone_mode=False)
        if code:
            sys.exit(code)
    except LriscError as error:
        print(f"lrisc: {_one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        print("lrisc: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Typer vendors its own copy of click, whose usage errors are told by what they can do.
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            # Without a command there is only the help, already printed.
            if message := _one_line(error.format_message()):  # type: ignore[attr-defined]
                print(f"lrisc: {message}", file=sys.stderr)
            sys.exit(2)
        raise


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _console(stderr: bool = True) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def _split(text: str, option: str) -> list[str]:
    """The parts between commas, each once."""
    parts = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not parts:
        raise InputError(f"{option} names nothing")
    return parts


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{option}: '{text}' is not a number") from error


def _region(report: dict[str, Any]) -> str:
    """One line on what the region of interest got."""
    if "roi_strength" not in report:
        return "region: nothing stands out, or everything does; all is treated alike"
    parts = [f"region: {report['roi_area']:.0%} of the picture"]
    for name in ("inside", "outside"):
        psnr, symbols = report[f"psnr_{name}_db"], report[f"symbols_{name}"]
        if psnr is not None and symbols is not None:
            parts.append(f"{name} {psnr:.2f} dB with {symbols:.1f} symbols a patch")
    return ", ".join(parts)


def _roi(values: list[str] | None) -> list[str] | None:
    return values or None


def _roi_options(strength: float | None, steering: str | None) -> dict[str, Any]:
    """What was given; the rest keeps the API's defaults."""
    given = {"roi_strength": strength, "roi_steering": steering}
    return {name: value for name, value in given.items() if value is not None}


def _write_result(result: TransmitResult, folder: Path) -> None:
    from lrisc.files import remove_stale, replace_atomically, write_atomically
    from lrisc.overview import draw_overview

    reconstruction, overview = (folder / name for name in _PICTURES)
    picture = result.reconstruction
    if picture is None:
        # What an earlier run left must not pass for this one's result.
        remove_stale(reconstruction)
        remove_stale(overview)
    else:
        replace_atomically(reconstruction, lambda path: picture.save(path, format="png"))
        replace_atomically(overview, lambda path: draw_overview(result, path))
    report = json.dumps(result.report, indent=2) + "\n"
    write_atomically(folder / _REPORT, report.encode())


def _show(result: TransmitResult, out: Path | None) -> None:
    from rich.table import Table

    r = result.report
    console = _console(stderr=False)
    sent = Table("sent", "symbols", "CBR", box=None)
    pixels = 3 * r["height"] * r["width"]
    kinds = {"payload": "payload", "side_info": "rate map", "header": "header", "pilot": "pilots"}
    for kind, label in kinds.items():
        count = r[f"{kind}_symbols"]
        sent.add_row(label, f"{count:,}", f"{count / pixels:.5f}")
    total = round(r["cbr"] * pixels)
    sent.add_row("total", f"{total:,}", f"{r['cbr']:.5f}  = 1/{1 / r['cbr']:.1f}")
    for column in sent.columns[1:]:
        column.justify = "right"
    console.print(
        f"{r['width']}×{r['height']} pixels, {r['channel']} at {r['snr_db']:g} dB, "
        f"{r['steps']} step{'s' if r['steps'] > 1 else ''}, model {r['model']}\n"
    )
    console.print(sent)
    psnr = "identical" if r["psnr_db"] is None else f"{r['psnr_db']:.2f} dB"
    lpips = f"{r['lpips']:.4f}" if r["lpips"] is not None else f"– ({r['lpips_reason']})"
    console.print(f"\nPSNR {psnr}   MS-SSIM {r['ms_ssim']:.4f}   LPIPS {lpips}")
    if "roi_area" in r:
        console.print(_region(r))
    parts = "   ".join(f"{name} {seconds:.2f}" for name, seconds in r["seconds"].items())
    console.print(f"seconds: {parts}")
    if out is not None:
        console.print(f"written: {out / 'overview.png'}, reconstruction.png, report.json")
