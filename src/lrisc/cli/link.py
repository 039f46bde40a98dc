"""``lrisc transmit``, and its parts: ``encode``, ``channel``, ``decode``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrisc.cli.options import (
    BlockOption,
    CbrOption,
    ChannelOption,
    ImageArgument,
    ModelOption,
    RoiOption,
    SeedOption,
    SnrOption,
    SteeringOption,
    StepsOption,
    StrengthOption,
    roi_options,
    roi_or_none,
)
from lrisc.cli.output import terminal
from lrisc.errors import OutageError
from lrisc.link.budget import parse_cbr

if TYPE_CHECKING:
    from lrisc.transmission import TransmitResult

_PICTURES = ("reconstruction.png", "overview.png")
_REPORT = "report.json"


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
    from lrisc import transmission
    from lrisc.files import check_output

    if out is not None:
        for name in (*_PICTURES, _REPORT):
            check_output(out / name, inputs=(image, *(roi or ())))
    console = terminal()
    with console.status(f"sending {image.name} at {snr:g} dB"):
        result = transmission.transmit(
            image,
            snr_db=snr,
            cbr=parse_cbr(cbr),
            channel=channel,
            roi=roi_or_none(roi),
            steps=steps,
            model=model,
            seed=seed,
            block_length=block_length,
            **roi_options(roi_strength, roi_steering),
        )
        if out is not None:
            _write_result(result, out)
    if as_json:
        print(json.dumps(result.report, indent=2))
    elif result.reconstruction is not None:
        _show(result, out)
    if result.reconstruction is None:
        raise OutageError(result.report["outage_reason"])


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
    from lrisc.files import check_output
    from lrisc.link.iq import recording_paths, write_recording
    from lrisc.system import Transmitter

    for path in recording_paths(output):
        check_output(path, inputs=(image, *(roi or ())))
    frame = Transmitter.from_pretrained(model).encode(
        image,
        snr,
        parse_cbr(cbr),
        roi_or_none(roi),
        margin_db=margin,
        **roi_options(roi_strength, roi_steering),
    )
    meta = write_recording(output, frame.symbols)
    terminal().print(
        f"{meta}: {frame.symbols.numel():,} symbols, CBR {frame.cbr:.5f} "
        f"(payload {frame.payload_symbols:,}, rate map {frame.side_info_symbols:,}, "
        f"header {frame.header_symbols:,}, pilots {frame.pilot_symbols:,})"
    )


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
    terminal().print(f"{meta}: {channel}, {snr:g} dB")


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
    terminal().print(
        f"{output}: {picture.width}×{picture.height}, "
        f"estimated SNR {float(received.snr_db().mean()):.1f} dB"
    )


def _write_result(result: TransmitResult, folder: Path) -> None:
    from lrisc.evaluation.figures.overview import draw_overview
    from lrisc.files import remove_stale, replace_atomically, write_atomically

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


def _show(result: TransmitResult, out: Path | None) -> None:
    from rich.table import Table

    r = result.report
    console = terminal(stderr=False)
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
