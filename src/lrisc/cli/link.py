"""``lrisc transmit``, and its parts: ``encode``, ``channel``, ``decode``."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrisc.cli.options import (
    BetaOption,
    BlockOption,
    CarrierOption,
    CbrOption,
    ChannelOption,
    DelaySpreadOption,
    DeviceOption,
    EffortOption,
    ImagesArgument,
    MaxSideOption,
    ModelOption,
    NoiseOption,
    ObjectiveOption,
    PluginOption,
    PrecisionOption,
    RoiOption,
    SeedOption,
    SnrOption,
    SpeedOption,
    SteeringOption,
    StepsOption,
    StrengthOption,
    WaveformOption,
    WrittenDatatypeOption,
    cbr_or_none,
    mobility,
    number,
    objective_name,
    region_of,
)
from lrisc.cli.output import effort_progress, is_quiet, terminal
from lrisc.cli.several import (
    SUMMARY,
    Job,
    are_many,
    check_places,
    fail_for,
    find_jobs,
    run_all,
    show_table,
)
from lrisc.errors import (
    MAX_MARGIN_DB,
    MAX_SAMPLES,
    InputError,
    OutageError,
    check_margin,
    check_start_noise,
    check_steps,
)
from lrisc.files import check_apart, check_outputs, check_regular
from lrisc.images import check_picture

if TYPE_CHECKING:
    from lrisc.link.frame import Frame
    from lrisc.link.waveform.numerology import Numerology
    from lrisc.system import EncodeOptions, Receiver, Transmitter
    from lrisc.transmission import RegionReport, TransmitOptions, TransmitResult

_PICTURES = ("reconstruction.png", "overview.png")
_REPORT = "report.json"
_MAX_REPORT_BYTES = 2**24


def transmit(
    images: ImagesArgument,
    snr: SnrOption = 10.0,
    cbr: CbrOption = None,
    beta: BetaOption = None,
    channel: ChannelOption = "awgn",
    roi: RoiOption = None,
    steps: StepsOption = None,
    start_noise: NoiseOption = None,
    model: ModelOption = "compact",
    effort: EffortOption = 0,
    objective: ObjectiveOption = "perception",
    seed: SeedOption = 0,
    roi_strength: StrengthOption = None,
    roi_steering: SteeringOption = None,
    block_length: BlockOption = None,
    waveform: WaveformOption = "symbols",
    delay_spread: DelaySpreadOption = None,
    speed: SpeedOption = None,
    carrier_frequency: CarrierOption = None,
    max_side: MaxSideOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for pictures and report.json; of several pictures each gets a folder in "
            "it, and summary.csv tells of all.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    plugin: PluginOption = None,
) -> None:
    """Send photographs over a simulated channel and show what arrives."""
    many = are_many(images)
    if not many:
        _look_at(images[0], max_side)
    options: TransmitOptions = {
        "snr_db": snr,
        "cbr": cbr_or_none(cbr),
        "beta": beta,
        "channel": channel,
        "roi": region_of(roi, roi_strength, roi_steering),
        "steps": steps,
        "sigma_start": start_noise,
        "model": model,
        "effort": effort,
        "objective": objective_name(objective),
        "device": device,
        "precision": precision,
        "seed": seed,
        "block_length": block_length,
        "waveform": waveform,
        "mobility": mobility(
            delay_spread, speed, carrier_frequency, channel=channel, waveform=waveform
        ),
        "max_side": max_side,
    }
    if many:
        _transmit_many(images, out, options, roi or [], as_json=as_json)
        return
    if out is not None:
        check_outputs(_places(out), inputs=(images[0], *(roi or ())))
        _check_reports([out])
    result = _send(images[0], out, options)
    if as_json:
        print(json.dumps(result.to_dict(), indent=2))
    elif result.reconstruction is not None and not is_quiet():
        _show(result, out)
    if result.reconstruction is None:
        raise OutageError(result.report.outage_reason)


def _transmit_many(
    images: list[Path],
    out: Path | None,
    options: TransmitOptions,
    roi: list[str],
    *,
    as_json: bool,
) -> None:
    from lrisc.checkpoint import load_checkpoint

    jobs = find_jobs(images)
    if out is not None:
        folders = [out / job.name for job in jobs]
        check_apart((out, *folders), images)
        places = (path for folder in folders for path in _places(folder))
        check_places(places, jobs, roi, out / SUMMARY)
        _check_reports(folders)
    model = load_checkpoint(str(options.get("model")), options.get("device", "auto"))

    def work(job: Job) -> dict[str, Any]:
        _look_at(job.source, options.get("max_side"))
        folder = None if out is None else out / job.name
        result = _send(job.source, folder, {**options, "model": model})
        if result.reconstruction is None:
            lost = {"error": result.report.outage_reason, "exit_code": OutageError.exit_code}
            return result.to_dict() | lost
        return result.to_dict()

    rows = run_all(jobs, work, terminal(), None if out is None else out / SUMMARY)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif not is_quiet():
        show_table(
            rows, None if out is None else f"{out / SUMMARY}, and a folder for every picture"
        )
    fail_for(rows)


def _places(folder: Path) -> list[Path]:
    """What is written of one picture."""
    return [folder / name for name in (*_PICTURES, _REPORT)]


def _check_reports(folders: Sequence[Path]) -> None:
    """Refuse folders where somebody else's files have the names of ours, which are common ones.

    Pictures are ours where a report of ours lies beside them.
    """
    for folder in folders:
        report = folder / _REPORT
        if os.path.exists(report) and not _is_report(report):
            raise InputError(f"{report} is no report of this command: choose another output folder")
        for picture in (folder / name for name in _PICTURES):
            if os.path.lexists(picture) and not os.path.exists(report):
                raise InputError(
                    f"{picture} is there, without {_REPORT}: choose another output folder"
                )


def _is_report(path: Path) -> bool:
    try:
        check_regular(path, "report", _MAX_REPORT_BYTES)
        found = json.loads(path.read_bytes())
    except (InputError, OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"height", "width", "cbr", "outage"} <= found.keys()


def _send(image: Path, out: Path | None, options: TransmitOptions) -> TransmitResult:
    """Send one picture, and write what arrived where a folder is given."""
    from lrisc import transmission

    console = terminal()
    snr = options.get("snr_db", 10.0)
    with effort_progress(console, f"sending {image.name} at {snr:g} dB") as progress:
        result = transmission.transmit(image, **{**options, "progress": progress})
        if out is not None:
            _write_result(result, out)
    return result


def _look_at(image: Path, max_side: int | None) -> None:
    """Refuse what is no picture, and say that one is scaled, before anything takes time."""
    (width, height), new = check_picture(image, max_side)
    if new != (width, height):
        terminal().print(f"{image.name}: {width}×{height} pixels, scaled to {new[0]}×{new[1]}")


def encode(
    images: ImagesArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="NAME.sigmf-meta; of several pictures, a folder."),
    ],
    snr: SnrOption = 10.0,
    cbr: CbrOption = None,
    beta: BetaOption = None,
    roi: RoiOption = None,
    roi_strength: StrengthOption = None,
    roi_steering: SteeringOption = None,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            help=f"Protect the rate map for an SNR this much lower, 0 to {MAX_MARGIN_DB} dB. "
            "Default: 12 for OFDM, whose channels fade, else 0.",
        ),
    ] = None,
    waveform: WaveformOption = "symbols",
    effort: EffortOption = 0,
    objective: ObjectiveOption = "perception",
    clip: Annotated[
        float | None,
        typer.Option(
            "--clip", help="OFDM: peaks over the mean power, 3 to 100 dB; inf: all. Default: 6."
        ),
    ] = None,
    datatype: WrittenDatatypeOption = "cf32_le",
    max_side: MaxSideOption = None,
    model: ModelOption = "compact",
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Write the frames of photographs as IQ samples (SigMF): the frame and nothing else."""
    many = are_many(images)
    if not many:
        _look_at(images[0], max_side)
    from lrisc.images import load_image
    from lrisc.link.recording import check_datatype, keep_bare_samples, recording_paths
    from lrisc.link.waveform.modulator import DEFAULT_CLIP_DB, check_clip
    from lrisc.link.waveform.numerology import SYMBOLS, numerology
    from lrisc.system import FADING_MARGIN_DB, Transmitter

    check_datatype(datatype)
    ofdm = None if waveform == SYMBOLS else numerology(waveform)
    clip_db = DEFAULT_CLIP_DB if clip is None else None if clip == math.inf else clip
    check_clip(clip_db)
    if clip is not None and ofdm is None:
        raise InputError("--clip has no effect at one sample a symbol: it is for OFDM waveforms")
    jobs = find_jobs(images) if many else [Job(images[0], output.name)]
    folder = output if many else output.parent
    if many:
        check_apart((output,), images)
    recordings = [folder / job.name for job in jobs]
    places = (path for recording in recordings for path in recording_paths(recording))
    check_places(places, jobs, roi or (), output / SUMMARY if many else None)
    for recording in recordings:
        keep_bare_samples(recording)
    if margin is None:
        margin = 0.0 if ofdm is None else FADING_MARGIN_DB
    check_margin(margin)
    options: EncodeOptions = {
        "snr_db": snr,
        "cbr": cbr_or_none(cbr),
        "beta": beta,
        "roi": region_of(roi, roi_strength, roi_steering),
        "margin_db": margin,
        "effort": effort,
        "objective": objective_name(objective),
    }
    transmitter: Transmitter | None = None

    def work(job: Job) -> dict[str, Any]:
        nonlocal transmitter
        if many:
            _look_at(job.source, max_side)
        pixels = load_image(job.source, max_side)
        if transmitter is None:
            transmitter = Transmitter.from_pretrained(model, device)
        with effort_progress(terminal(), f"encoding {job.source.name}") as progress:
            frame = transmitter.encode(pixels, **{**options, "progress": progress})
        target = folder / job.name
        meta, told = _write_frame(frame, target, ofdm, clip_db=clip_db, datatype=datatype)
        if not many:
            terminal().print(f"{meta}: {told}")
        return frame.to_dict() | {"recording": str(meta)}

    if many:
        rows = run_all(jobs, work, terminal(), output / SUMMARY)
        if not is_quiet():
            show_table(rows, f"{output / SUMMARY}, and a recording of every picture")
        fail_for(rows)
    else:
        work(jobs[0])


def _write_frame(
    frame: Frame, output: Path, ofdm: Numerology | None, *, clip_db: float | None, datatype: str
) -> tuple[Path, str]:
    """Write a recording; returns its metadata file, and what went where in words."""
    import torch

    from lrisc.link.iq import write_recording
    from lrisc.link.waveform.modulator import modulate

    counts = frame.counts
    told = (
        f"{counts.total:,} symbols, CBR {frame.cbr:.5f} "
        f"(payload {counts.payload:,}, rate map {counts.side_info:,}, "
        f"header {counts.header:,}, pilots {counts.pilots:,})"
    )
    if ofdm is None:
        return write_recording(output, frame.symbols, datatype), told
    samples = modulate(frame.symbols.numpy(), ofdm, clip_db)
    meta = write_recording(output, torch.from_numpy(samples), datatype, ofdm)
    values = 3 * frame.height * frame.width
    grid = ofdm.elements(frame.symbols.numel())
    told += (
        f"; {grid:,} elements, CBR on the grid {grid / values:.5f}; {samples.size:,} samples, "
        f"{1e3 * samples.size / ofdm.sample_rate:.1f} ms, on air {samples.size / values:.5f}"
    )
    return meta, told


def channel(
    recording: Annotated[Path, typer.Argument(help="IN.sigmf-meta.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.sigmf-meta.")],
    snr: SnrOption,
    channel: ChannelOption = "awgn",
    block_length: BlockOption = None,
    delay_spread: DelaySpreadOption = None,
    speed: SpeedOption = None,
    carrier_frequency: CarrierOption = None,
    cfo: Annotated[
        float,
        typer.Option(
            "--cfo",
            help="Carrier frequency offset, Hz, up to half the sample rate; at one sample a symbol "
            "cycles per symbol.",
        ),
    ] = 0.0,
    timing: Annotated[float, typer.Option("--timing", help="Delay, samples and fractions.")] = 0.0,
    sro: Annotated[
        float, typer.Option("--sro", help="The receiver's clock is faster by this, ppm.")
    ] = 0.0,
    phase_noise: Annotated[
        float,
        typer.Option(
            "--phase-noise",
            help="Linewidth of the oscillators, Hz; at one sample a symbol cycles per symbol.",
        ),
    ] = 0.0,
    iq_imbalance: Annotated[
        str, typer.Option("--iq-imbalance", help="Gain in dB and phase in degrees: 1,5.")
    ] = "0,0",
    dc: Annotated[
        float | None, typer.Option("--dc", help="DC offset over the signal's power, dB.")
    ] = None,
    adc_bits: Annotated[
        int | None, typer.Option("--adc-bits", help="Bits of the receiver's converters.")
    ] = None,
    pa: Annotated[
        float | None, typer.Option("--pa", help="Back-off of a Rapp amplifier, dB.")
    ] = None,
    datatype: WrittenDatatypeOption = "cf32_le",
    seed: SeedOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Send a recording over a simulated channel and through imperfect radios.

    The SNR is Es/N0 per symbol or resource element: relative to the power of the annotated frames
    of an OFDM waveform, else to the mean power of all samples. A recording carries no channel
    state, so at one sample a symbol the default of rayleigh is one fade for all of it.
    """
    from lrisc.link.impairments import Impairments
    from lrisc.link.over_the_air import ofdm_frames, over_the_air
    from lrisc.link.recording import (
        check_datatype,
        keep_bare_samples,
        open_recording,
        recording_paths,
        write_samples,
    )
    from lrisc.link.waveform.numerology import SYMBOLS

    check_datatype(datatype)
    parts = [number(part, "--iq-imbalance") for part in iq_imbalance.split(",")]
    if len(parts) != 2:
        raise InputError(f"--iq-imbalance is a gain and a phase such as 1,5, not {iq_imbalance}")
    impairments = Impairments(
        pa=pa,
        timing=timing,
        sro=sro,
        cfo=cfo,
        phase_noise=phase_noise,
        iq_imbalance=(parts[0], parts[1]),
        dc=dc,
        adc_bits=adc_bits,
    )
    check_outputs(recording_paths(output), inputs=recording_paths(recording))
    keep_bare_samples(output)
    source = open_recording(recording)
    frames = ofdm_frames(source)
    waveform = frames[0].label if frames else SYMBOLS
    samples, annotations = over_the_air(
        source,
        channel,
        snr,
        block_length=block_length,
        mobility=mobility(
            delay_spread, speed, carrier_frequency, channel=channel, waveform=waveform
        ),
        impairments=impairments,
        seed=seed,
    )
    meta = write_samples(
        output,
        samples,
        source.sample_rate,
        "LRISC recording behind a simulated channel",
        annotations=annotations,
        datatype=datatype,
        full_scale=bool(annotations),
    )
    terminal().print(f"{meta}: {channel}, {snr:g} dB")


def decode(
    recording: Annotated[
        Path, typer.Argument(help="IN.sigmf-meta; a bare file with --datatype and --rate.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.png.")],
    steps: StepsOption = None,
    start_noise: NoiseOption = None,
    samples: Annotated[
        int,
        typer.Option(
            "--samples",
            help="Paint so many pictures, OUT.2.png and so on, and OUT.uncertainty.png, where they "
            "differ; needs a model that starts from noise.",
            min=1,
            max=MAX_SAMPLES,
        ),
    ] = 1,
    model: ModelOption = "compact",
    every: Annotated[
        bool, typer.Option("--all", help="Paint every frame: OUT-1.png, OUT-2.png, …")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Draw spectrogram, constellation and channel: PLOT.png."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Samples per second of a bare file.")
    ] = None,
    datatype: Annotated[
        str | None, typer.Option("--datatype", help="Of a bare file: cf32_le, ci16_le, ci8, cu8.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    plugin: PluginOption = None,
) -> None:
    """Paint the photograph a recording holds, wherever it is and by whatever waveform.

    SNR, gain, phase, timing and frequency come from the samples.
    """
    from lrisc.cli.decoding import Painting, paint
    from lrisc.link.recording import open_recording, recording_paths

    check_steps(steps)
    check_start_noise(start_noise)
    inputs = (recording,) if datatype is not None else recording_paths(recording)
    pictures = (output,) if plot is None else (output, plot)
    check_outputs(pictures, suffixes=(".png",), inputs=inputs)
    opened = open_recording(recording, rate, datatype)

    def load() -> Receiver:
        from lrisc.system import Receiver

        return Receiver.from_pretrained(model, device, precision)

    how = Painting(steps, seed, start_noise, samples)
    paint(opened, output, load, how, every=every, plot=plot, inputs=inputs)


def _write_result(result: TransmitResult, folder: Path) -> None:
    from lrisc.evaluation.figures.overview import draw_overview
    from lrisc.files import remove_stale, replace_atomically, write_atomically

    # Before the pictures, which are known as ours by it.
    report = json.dumps(result.report.to_dict(), indent=2) + "\n"
    write_atomically(folder / _REPORT, report.encode())
    reconstruction, overview = (folder / name for name in _PICTURES)
    picture = result.reconstruction
    if picture is None:
        # What an earlier run left must not pass for this one's result.
        remove_stale(reconstruction)
        remove_stale(overview)
    else:
        replace_atomically(reconstruction, lambda path: picture.save(path, format="png"))
        replace_atomically(overview, lambda path: draw_overview(result, path))


def _region(region: RegionReport) -> str:
    """One line on what the region of interest got."""
    if region.roi_strength is None:
        return "region: nothing stands out, or everything does; all is treated alike"
    parts = [f"region: {region.roi_area:.0%} of the picture"]
    for name, psnr, gain, symbols in (
        ("inside", region.psnr_inside_db, region.psnr_inside_gain_db, region.symbols_inside),
        ("outside", region.psnr_outside_db, region.psnr_outside_gain_db, region.symbols_outside),
    ):
        if psnr is not None and symbols is not None:
            against = "" if gain is None else f" ({gain:+.2f} against none)"
            parts.append(f"{name} {psnr:.2f} dB{against} with {symbols:.1f} symbols a patch")
    return "\n".join([", ".join(parts), *(f"note: {note}" for note in region.roi_notes)])


def _show(result: TransmitResult, out: Path | None) -> None:
    from rich.table import Table

    r = result.report
    console = terminal(stderr=False)
    sent = Table("sent", "symbols", "CBR", box=None)
    pixels = 3 * r.height * r.width
    for label, count in r.counts.by_name().items():
        sent.add_row(label, f"{count:,}", f"{count / pixels:.5f}")
    sent.add_row("total", f"{r.counts.total:,}", f"{r.cbr:.5f}  = 1/{1 / r.cbr:.1f}")
    if r.waveform != "symbols":
        for label, ratio in (("on the grid", r.cbr_grid), ("samples", r.cbr_on_air)):
            sent.add_row(label, f"{round(ratio * pixels):,}", f"{ratio:.5f}")
    for column in sent.columns[1:]:
        column.justify = "right"
    console.print(
        f"{r.width}×{r.height} pixels, {r.channel} at {r.snr_db:g} dB, "
        f"{r.steps} step{'s' if r.steps > 1 else ''}, "
        + (f"effort {r.effort} ({r.objective}), " if r.objective else "")
        + f"model {r.model}\n"
    )
    console.print(sent)
    psnr = "identical" if r.psnr_db is None else f"{r.psnr_db:.2f} dB"
    lpips = f"{r.lpips:.4f}" if r.lpips is not None else f"– ({r.lpips_reason})"
    console.print(f"\nPSNR {psnr}   MS-SSIM {r.ms_ssim:.4f}   LPIPS {lpips}")
    if r.region is not None:
        console.print(_region(r.region))
    parts = "   ".join(f"{name} {seconds:.2f}" for name, seconds in r.seconds.items())
    console.print(f"seconds: {parts}")
    if out is not None:
        console.print(f"written: {out / 'overview.png'}, reconstruction.png, report.json")
