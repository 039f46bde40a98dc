"""Sends a photograph through GNU Radio's channel model and decodes what comes out.

    python scripts/gnuradio_channel.py PHOTO -o DIR [--noise 0.2] [--offset 0.005]
        [--epsilon 1.00002] [--taps 1 0.3j]

Debian's gnuradio has a Python of its own, so the flow graph runs there, with files between.
Without it the script says so and ends with 0: nothing was tried. Offset is in cycles per sample,
epsilon the ratio of the clocks, noise the amplitude, on samples of mean power 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import lrisc
from lrisc.errors import OutageError
from lrisc.link.finding import receive_all
from lrisc.link.ofdm_receiver import Reception
from lrisc.link.waveform.modulator import modulate
from lrisc.link.waveform.numerology import numerology
from lrisc.link.waveform.source import ArraySource
from lrisc.metrics.quality import quality

SYSTEM_PYTHON = "/usr/bin/python3"
FLOW_GRAPH = """
import sys
from gnuradio import blocks, channels, gr
source, sink, noise, offset, epsilon, seed, *taps = sys.argv[1:]
top = gr.top_block()
model = channels.channel_model(
    float(noise), float(offset), float(epsilon), [complex(tap) for tap in taps], int(seed), False
)
top.connect(
    blocks.file_source(gr.sizeof_gr_complex, source, False),
    model,
    blocks.file_sink(gr.sizeof_gr_complex, sink),
)
top.run()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--offset", type=float, default=0.005)
    parser.add_argument("--epsilon", type=float, default=1.00002)
    parser.add_argument("--taps", nargs="+", default=["1"])
    parser.add_argument("--waveform", default="ofdm")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    # Not with this Python's packages.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    probe = [SYSTEM_PYTHON, "-c", "import gnuradio.channels"]
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run(probe, capture_output=True, env=clean).returncode
    ):
        print("skipped: there is no GNU Radio here (Debian: apt-get install gnuradio)")
        return 0

    a.output.mkdir(parents=True, exist_ok=True)
    ofdm = numerology(a.waveform)
    sender = lrisc.Transmitter.from_pretrained(a.model)
    frame = sender.encode(a.photo, snr_db=10, cbr=1 / 48, margin_db=12)
    samples = modulate(frame.symbols.numpy(), ofdm) * np.sqrt(ofdm.fft_size / ofdm.occupied)
    # The model's filter begins early and ends short, so there is silence on either side.
    pause = np.zeros(2000)
    sent, received = a.output / "sent.cf32", a.output / "received.cf32"
    np.concatenate([pause, samples, pause]).astype("<c8").tofile(sent)
    numbers = [str(x) for x in (a.noise, a.offset, a.epsilon, a.seed)]
    subprocess.run(
        [SYSTEM_PYTHON, "-c", FLOW_GRAPH, str(sent), str(received), *numbers, *a.taps],
        check=True,
        env=clean,
    )
    source = ArraySource(np.fromfile(received, "<c8").astype(np.complex64))
    for _, found in receive_all(source, (ofdm,)):
        if not isinstance(found, Reception):
            print(f"lost: {found}")
            continue
        try:
            picture = lrisc.Receiver(sender.checkpoint).decode(found.received)
        except OutageError as error:
            print(f"lost: {error}")
            continue
        picture.save(a.output / "picture.png")
        from lrisc.images import load_image, to_pil

        got = quality(to_pil(load_image(a.photo)), picture)
        print(
            f"frame at sample {found.detection.start}, CFO {found.cfo:+.6f} cycles a sample, clock "
            f"{found.clock_ppm:+.1f} ppm, SNR {found.snr_db:.1f} dB: PSNR {got['psnr_db']:.2f} dB, "
            f"LPIPS {got['lpips']}"
        )
        return 0
    print("no picture")
    return 3


if __name__ == "__main__":
    sys.exit(main())
