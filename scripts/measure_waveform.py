"""Measures the OFDM waveform and its receiver: what the tables of docs/manual/radio.md are made of.

    python scripts/measure_waveform.py detection --trials 10000 --snr -3 -o DIR
    python scripts/measure_waveform.py false-alarms --samples 1e8 -o DIR
    python scripts/measure_waveform.py loss PICTURES --snr 0 10 20 -o DIR
    python scripts/measure_waveform.py fading PICTURES --channel tdl-a --delay-spread 30 --snr 15 \
        --speed 1.4 --frames 500 -o DIR
    python scripts/measure_waveform.py one-snr PICTURES --channel tdl-c --delay-spread 300 \
        --snr 10 --frames 12 -o DIR
    python scripts/measure_waveform.py impairments -o DIR
    python scripts/measure_waveform.py throughput --samples 1e8 -o DIR

Every trial is a row of DIR/NAME.csv, seeded by its number: stopped, the command goes on where it
was, and --from shares the numbers between processes. What is printed at the end is over all rows.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lrisc.checkpoint import load_checkpoint
from lrisc.errors import OutageError
from lrisc.images import load_image, pictures_in, to_pil
from lrisc.link import fec
from lrisc.link.channels import Received, channel
from lrisc.link.finding import receive_all
from lrisc.link.frame import Header, build_frame, parse_body, parse_header
from lrisc.link.impairments import Impairments, complex_normal, resample
from lrisc.link.multipath import Mobility, draw
from lrisc.link.ofdm_link import make_link
from lrisc.link.ofdm_receiver import Reception
from lrisc.link.waveform.detection import find_frames
from lrisc.link.waveform.modulator import data_columns, modulate
from lrisc.link.waveform.numerology import PRESETS, numerology
from lrisc.link.waveform.source import ArraySource, padded
from lrisc.metrics.quality import quality
from lrisc.system import FADING_MARGIN_DB, Receiver, Transmitter


def _texts(cells: Iterable[Any]) -> list[str]:
    return [f"{c:.6g}" if isinstance(c, float) else str(c) for c in cells]


class Table:
    """Rows on disk, by key."""

    def __init__(self, path: Path, columns: tuple[str, ...], keys: int) -> None:
        self.path, self.columns, self.keys = path, columns, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: dict[tuple[str, ...], list[str]] = {}
        if path.exists():
            with path.open() as file:
                for row in list(csv.reader(file))[1:]:
                    if len(row) == len(columns):
                        self.rows[tuple(row[:keys])] = row
        else:
            path.write_text(",".join(columns) + "\n")

    def add(self, *cells: Any) -> None:
        row = _texts(cells)
        self.rows[tuple(row[: self.keys])] = row
        with self.path.open("a") as file:
            file.write(",".join(row) + "\n")

    def has(self, *key: Any) -> bool:
        return tuple(_texts(key)) in self.rows

    def groups(self, by: int) -> dict[tuple[str, ...], list[list[str]]]:
        found: dict[tuple[str, ...], list[list[str]]] = defaultdict(list)
        for row in self.rows.values():
            found[tuple(row[:by])].append(row)
        return found


def random_frame(payload: int, side_bits: int, snr_db: float) -> np.ndarray:
    header = Header(512, 768, 1, side_bits, payload, 99, fec.mcs_for(snr_db).index)
    bits = np.random.default_rng(0).integers(0, 2, side_bits).astype(np.uint8)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(payload, dtype=torch.complex64, generator=generator)
    return build_frame(header, bits, values).numpy()


def detection(a: argparse.Namespace) -> None:
    """Found: within a sample of the true start; CFO within ±4 carriers, any fraction of delay."""
    table = Table(
        a.output / "detection.csv", ("snr_db", "trial", "found", "others", "cfo_error"), 2
    )
    ofdm = PRESETS["ofdm"]
    frame = modulate(random_frame(400, 40, 0), ofdm)
    power = ofdm.occupied / ofdm.fft_size
    for snr_db in a.snr:
        for trial in range(a.first, a.first + a.trials):
            if table.has(snr_db, trial):
                continue
            rng = np.random.default_rng([trial, round(100 * (snr_db + 200))])
            start, fraction = int(rng.integers(100, 3000)), float(rng.uniform())
            cfo = float(rng.uniform(-4, 4)) / ofdm.fft_size
            signal = padded(resample(frame, fraction, 0.0), -start, 6500)
            signal = signal * np.exp(2j * np.pi * cfo * np.arange(signal.size))
            noise = complex_normal(rng, signal.size, power * 10 ** (-snr_db / 10))
            found = list(find_frames(ArraySource((signal + noise).astype(np.complex64)), (ofdm,)))
            right = [d for d in found if abs(d.start - start - fraction) < 2]
            error = (right[0].cfo - cfo) * ofdm.fft_size if right else 0.0
            table.add(snr_db, trial, len(right[:1]), len(found) - len(right), error)
    for (snr,), rows in table.groups(1).items():
        good = [r for r in rows if r[2] == "1"]
        spread = np.std([float(r[4]) for r in good]) if good else float("nan")
        print(
            f"{snr} dB a sample: found {len(good)} of {len(rows)}, "
            f"{sum(int(r[3]) for r in rows)} false, CFO error {spread:.4f} carriers"
        )


def false_alarms(a: argparse.Namespace) -> None:
    """Frames found in noise, in blocks of 2^22 samples, all waveforms looked for."""
    table = Table(a.output / "false_alarms.csv", ("block", "samples", "found"), 1)
    for block in range(math.ceil(a.samples / (1 << 22))):
        if not table.has(block):
            noise = complex_normal(np.random.default_rng([block, 1]), 1 << 22, 1.0)
            found = list(find_frames(ArraySource(noise), tuple(PRESETS.values())))
            table.add(block, noise.size, len(found))
    rows = table.rows.values()
    print(f"{sum(int(r[2]) for r in rows)} frames in {sum(int(r[1]) for r in rows):,} samples")


def loss(a: argparse.Namespace) -> None:
    """One sample a symbol with the channel known, against OFDM with everything estimated."""
    columns = ("snr_db", "image", "waveform", "psnr_db", "lpips", "effective_snr_db")
    table = Table(a.output / "loss.csv", columns, 3)
    checkpoint = load_checkpoint(a.model)
    for path in pictures(a):
        for snr_db in a.snr:
            links: dict[str, Callable[[Any], Received]] = {
                "known": channel("awgn", snr_db, seed=a.seed),
                "ofdm": make_link("awgn", snr_db, waveform="ofdm", seed=a.seed),
            }
            for name, link in links.items():
                if table.has(snr_db, path.name, name):
                    continue
                image = load_image(path)
                frame = Transmitter(checkpoint).encode(image, snr_db=snr_db, cbr=1 / 48)
                received = link(frame)
                effective = effective_db(received, frame.symbols)
                got = quality(to_pil(image), Receiver(checkpoint).decode(received))
                table.add(snr_db, path.name, name, got["psnr_db"], got["lpips"] or 0.0, effective)
    for (snr,), rows in table.groups(1).items():
        for name in ("known", "ofdm"):
            chosen = [r for r in rows if r[2] == name]
            print(f"{snr} dB {name:6} n={len(chosen)}", means(chosen, (3, 4, 5)))


def fading(a: argparse.Namespace) -> None:
    """Outage and quality over a fading channel, everything estimated; and what could be known."""
    columns = (
        "channel", "delay_ns", "speed", "snr_db", "margin", "frame", "image", "outage", "psnr_db",
        "lpips", "effective_snr_db", "known_snr_db",
    )  # fmt: skip
    table = Table(a.output / "fading.csv", columns, 6)
    checkpoint = load_checkpoint(a.model)
    ofdm, sender, receiver = numerology("ofdm"), Transmitter(checkpoint), Receiver(checkpoint)
    paths = pictures(a)
    spread, mobile = float(a.delay_spread), Mobility(a.delay_spread * 1e-9, a.speed)
    for snr_db in a.snr:
        frames: dict[int, Any] = {}
        for index in range(a.first, a.first + a.frames):
            key = (a.channel, spread, float(a.speed), snr_db, float(a.margin), index)
            if table.has(*key):
                continue
            which = index % len(paths)
            if which not in frames:
                image = load_image(paths[which])
                frames[which] = (
                    image, sender.encode(image, snr_db=snr_db, cbr=1 / 48, margin_db=a.margin)
                )  # fmt: skip
            image, frame = frames[which]
            link = make_link(a.channel, snr_db, waveform="ofdm", seed=index, mobility=mobile)
            name, numbers, why = paths[which].name, ("", "", ""), ""
            try:
                received = link(frame)
                got: dict[str, Any] = {"psnr_db": "", "lpips": ""}
                if index < a.paint:
                    got = quality(to_pil(image), receiver.decode(received))
                else:
                    parse_body(received, parse_header(received))
                numbers = (got["psnr_db"], got["lpips"], effective_db(received, frame.symbols))
            except OutageError as lost:  # pyright: ignore[reportAssignmentType]
                why = "no frame" if "no frame" in str(lost) else str(lost).split()[2]
            duration = (ofdm.samples(frame.symbols.numel()) + 3000) / ofdm.sample_rate
            rows = np.arange(ofdm.ofdm_symbols(frame.symbols.numel()))
            guard = 1500 / ofdm.symbol_samples  # samples of noise before the frame
            known = draw(a.channel, mobile, duration, index).on_grid(ofdm, rows + guard)
            power = np.abs(np.take_along_axis(known, data_columns(ofdm, rows), 1)) ** 2
            mmse = float(np.mean(1 / (1 + power * 10 ** (snr_db / 10))))
            table.add(*key, name, why, *numbers, snr_of(mmse))
    for key, rows in table.groups(5).items():
        lost: dict[str, int] = defaultdict(int)
        for row in rows:
            if row[7]:
                lost[row[7]] += 1
        kept = [r for r in rows if not r[7]]
        gap = np.mean([float(r[11]) - float(r[10]) for r in kept]) if kept else float("nan")
        n = len(rows)
        outage = sum(lost.values()) / n
        interval = 1.96 * math.sqrt(max(outage * (1 - outage), 1 / n) / n)
        print(
            f"{key}: {sum(lost.values())} of {n} lost = {outage:.1%} ± {interval:.1%} "
            f"{dict(lost)}; {gap:.2f} dB from the known channel;",
            means([r for r in kept if r[8]], (8, 9)),
        )


def one_snr(a: argparse.Namespace) -> None:
    """What f_d gains from SNR_i of every embedding over the frame's mean SNR for all of them.

    The equaliser is the same, with the channel known; f_d alone is told otherwise.
    """
    columns = ("channel", "delay_ns", "speed", "snr_db", "frame", "image", "spread_db")
    columns += ("psnr_db", "lpips", "one_psnr_db", "one_lpips")
    table = Table(a.output / "one_snr.csv", columns, 5)
    checkpoint = load_checkpoint(a.model)
    sender, receiver = Transmitter(checkpoint), Receiver(checkpoint)
    told: list[torch.Tensor] = []
    lies: list[bool] = [False]

    def tell(_: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
        slots, levels, snr_db = args
        told.append(snr_db)
        if lies[0]:
            linear = (10 ** (snr_db / 10)).mean()
            snr_db = torch.full_like(snr_db, 10 * math.log10(float(linear)))
        return slots, levels, snr_db

    checkpoint.model.jscc_decoder.register_forward_pre_hook(tell)
    mobile, paths = Mobility(a.delay_spread * 1e-9, a.speed), pictures(a)
    for snr_db in a.snr:
        for index in range(a.first, a.first + a.frames):
            key = (a.channel, float(a.delay_spread), float(a.speed), snr_db, index)
            if table.has(*key):
                continue
            image = load_image(paths[index % len(paths)])
            frame = sender.encode(image, snr_db=snr_db, cbr=1 / 48, margin_db=a.margin)
            received = channel(a.channel, snr_db, seed=index, mobility=mobile)(frame)
            numbers: list[Any] = []
            try:
                for lie in (False, True):
                    lies[0] = lie
                    got = quality(to_pil(image), receiver.decode(received))
                    numbers += [got["psnr_db"], got["lpips"] or 0.0]
            except OutageError:
                continue
            table.add(*key, paths[index % len(paths)].name, float(told[-1].std()), *numbers)
    for group, rows in table.groups(4).items():
        gains = np.array([[float(r[7]) - float(r[9]), float(r[10]) - float(r[8])] for r in rows])
        error = gains.std(0, ddof=1) / math.sqrt(len(rows)) if len(rows) > 1 else (0.0, 0.0)
        spread = np.mean([float(r[6]) for r in rows])
        print(
            f"{group}: {len(rows)} frames, SNR_i spread {spread:.2f} dB; gains of SNR_i: "
            f"PSNR {gains[:, 0].mean():+.3f} ± {error[0]:.3f} dB, "
            f"LPIPS lower by {gains[:, 1].mean():.4f} ± {error[1]:.4f};",
            means(rows, (7, 8)),
        )


def impairments(a: argparse.Namespace) -> None:
    """Effective SNR at 20 dB with one impairment at a time."""
    ofdm, symbols = PRESETS["ofdm"], random_frame(22_000, 3300, 10)
    samples = np.concatenate([np.zeros(1000), modulate(symbols, ofdm, None), np.zeros(1000)])
    cases: list[dict[str, Any]] = [
        {}, {"phase_noise": 3.0}, {"phase_noise": 32.0}, {"adc_bits": 4}, {"adc_bits": 6},
        {"adc_bits": 8}, {"sro": 60.0}, {"sro": -60.0}, {"iq_imbalance": (1.0, 5.0)},
        {"dc": 0.0, "cfo": 7812.5}, {"dc": 0.0, "cfo": 12_345.0}, {"pa": 8.0}, {"pa": 4.0},
    ]  # fmt: skip
    for case in cases:
        reached: list[float] = []
        for seed in range(a.trials):
            y = Impairments(**case).apply(
                samples.astype(np.complex64), 2e6, ofdm.occupied / ofdm.fft_size, 0.01, seed
            )
            for _, found in receive_all(ArraySource(y), (ofdm,)):
                if isinstance(found, Reception):
                    reached.append(effective_db(found.received, torch.from_numpy(symbols)))
        print(f"{case}: {np.mean(reached):.2f} dB, {len(reached)} of {a.trials} received")


_MEASURED = """
import sys, time
from pathlib import Path
from lrisc.link.finding import find_frames, receive_all
from lrisc.link.recording import FileSource
from lrisc.link.waveform.numerology import PRESETS

source, waveforms = FileSource(Path(sys.argv[1]), "cf32_le"), tuple(PRESETS.values())
size = source.size
before, busy = time.perf_counter(), time.process_time()
if sys.argv[2] == "search":
    starts = [found.start for found in find_frames(source, waveforms)]
else:
    received = receive_all(source, waveforms)
    starts = [found.start for found, item in received if not isinstance(item, Exception)]
seconds, busy = time.perf_counter() - before, time.process_time() - busy
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(f"{sys.argv[2]}: {size:,} samples, {8e-9 * size:.2f} GB: {1e-6 * size / seconds:.1f} MS/s,")
print(f"{1e-6 * size / busy:.1f} MS per CPU second, {int(peak.split()[1]) / 1024:.0f} MB,")
print(f"frames at {starts}")
"""


def throughput(a: argparse.Namespace) -> None:
    """Speed and memory over a file with a frame in every tenth of it, each in a process of its own.

    Imports count: with one thread.
    """
    a.output.mkdir(parents=True, exist_ok=True)
    path = a.output / "long.cf32"
    n, ofdm = int(a.samples), PRESETS["ofdm"]
    if not path.exists() or path.stat().st_size != 8 * n:
        frame = modulate(random_frame(22_000, 3300, 10), ofdm)
        starts = [n // 10 * i + 12_345 for i in range(10)]
        with path.open("wb") as file:
            for at in range(0, n, 1 << 20):
                count = min(1 << 20, n - at)
                y = complex_normal(np.random.default_rng([at, 2]), count, 0.05)
                for start in starts:
                    y = y + padded(frame, at - start, count)
                y.astype("<c8").tofile(file)
    for what in ("search", "receive"):
        subprocess.run(
            [sys.executable, "-c", _MEASURED, str(path), what],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def pictures(a: argparse.Namespace) -> list[Path]:
    return ([a.pictures] if a.pictures.is_file() else pictures_in(a.pictures))[: a.limit]


def snr_of(error: float) -> float:
    """The SNR, dB, at which an MMSE estimate of unit-power symbols has this squared error."""
    return -10 * math.log10(error / (1 - error))


def effective_db(received: Received, sent: torch.Tensor) -> float:
    return snr_of(float((received.equalised() - sent).abs().square().mean()))


def means(rows: list[list[str]], columns: Iterable[int]) -> str:
    return " / ".join(
        f"{np.mean([float(r[c]) for r in rows]):.4f}" if rows else "-" for c in columns
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for function in (detection, false_alarms, loss, fading, one_snr, impairments, throughput):
        one = commands.add_parser(function.__name__.replace("_", "-"), help=function.__doc__)
        one.set_defaults(run=function)
        one.add_argument("-o", "--output", type=Path, required=True)
        if function in (loss, fading, one_snr):
            one.add_argument("pictures", type=Path, help="a picture, or a folder of them")
            one.add_argument("--limit", type=int, default=6)
            one.add_argument("--model", default="compact")
        if function in (detection, loss, fading, one_snr):
            one.add_argument("--snr", type=float, nargs="+", default=[10.0])
        if function in (detection, impairments):
            one.add_argument("--trials", type=int, default=20)
        if function in (detection, fading, one_snr):
            one.add_argument("--from", dest="first", type=int, default=0)
        if function in (false_alarms, throughput):
            one.add_argument("--samples", type=float, default=1e7)
        if function is loss:
            one.add_argument("--seed", type=int, default=0)
        if function in (fading, one_snr):
            one.add_argument("--channel", default="tdl-a")
            one.add_argument("--delay-spread", type=float, default=30, help="ns")
            one.add_argument("--speed", type=float, default=1.4)
            one.add_argument("--margin", type=float, default=FADING_MARGIN_DB)
            one.add_argument("--frames", type=int, default=20)
        if function is fading:
            one.add_argument("--paint", type=int, default=1 << 30, help="only frames below this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
