"""The networks in torch (fp32, bf16) and in onnxruntime: how long, how large, how far apart.

    python scripts/measure_onnx.py                # a picture of 768×512, two threads
    python scripts/measure_onnx.py --threads 1    # seconds that another program disturbs least

Prints the median of the clock and of the processor for every network, the sizes of the files, and
the largest difference of onnxruntime's results from torch's fp32, relative to the largest value.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from lrisc.checkpoint import LoadedCheckpoint, load_checkpoint
from lrisc.onnx_networks import NETWORKS, export_networks

SIZES = ((64, 64), (128, 192), (272, 320))
"""Height and width of the pictures whose results are compared."""

Inputs = dict[str, Tensor]


def inputs_for(checkpoint: LoadedCheckpoint, height: int, width: int) -> dict[str, Inputs]:
    """What each network gets: a random picture, random levels and what they lead to."""
    model, generator = checkpoint.model, torch.Generator().manual_seed(0)
    h, w = height // 16, width // 16
    image = torch.rand(1, 3, height, width, generator=generator) * 2 - 1
    levels = torch.randint(0, len(model.config.rate_values), (1, h, w), generator=generator)
    snr_db, snrs_db = torch.tensor([10.0]), torch.full((1, h * w), 10.0)
    with torch.no_grad():
        latent = model.analysis(image)
        slots = model.jscc_encoder(latent, levels, snr_db)
        received = model.jscc_decoder(slots, levels, snrs_db)
    return {
        "analysis": {"image": image},
        "jscc_encoder": {"latent": latent, "levels": levels, "snr_db": snr_db},
        "jscc_decoder": {"slots": slots, "levels": levels, "snr_db": snrs_db},
        "synthesis": {"latent": received, "start": torch.zeros_like(image)},
    }


def in_torch(checkpoint: LoadedCheckpoint, name: str, given: Inputs) -> list[Tensor]:
    model = checkpoint.model
    if name == "analysis":
        latent = model.analysis(given["image"])
        return [latent, model.embedding_bits(latent)]
    if name == "synthesis":
        return [model.synthesise(given["latent"], sigma_start=0.0)]
    return [getattr(model, name)(*given.values())]


def timed(work: Callable[[], Any], runs: int) -> str:
    """Median seconds of the clock and of the processor, after one run that does not count."""
    work()
    found: list[tuple[float, float]] = []
    for _ in range(runs):
        clock, processor = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - clock, time.process_time() - processor))
    return " / ".join(f"{statistics.median(column):.3f}" for column in zip(*found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="compact")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    checkpoint = load_checkpoint(arguments.model, "cpu")
    with tempfile.TemporaryDirectory() as made, torch.no_grad():
        export_networks(checkpoint, Path(made))
        files = {name: Path(made, f"{name}.onnx") for name in NETWORKS}
        sessions = {
            name: onnxruntime.InferenceSession(path, options) for name, path in files.items()
        }

        def in_onnx(name: str, given: Inputs) -> list[Any]:
            inputs = {key: value.numpy() for key, value in given.items()}
            return list(sessions[name].run(None, inputs))

        print(f"{arguments.threads} threads, median of {arguments.runs}: clock / processor, s")
        print("| network | torch fp32 | torch bf16 | onnxruntime | file, MB | largest difference |")
        print("|---|---|---|---|---|---|")
        whole = inputs_for(checkpoint, 512, 768)
        small = [inputs_for(checkpoint, *size) for size in SIZES]
        for name in NETWORKS:
            difference = max(
                float((exact - torch.from_numpy(found)).abs().max() / exact.abs().max())
                for given in small
                for exact, found in zip(
                    in_torch(checkpoint, name, given[name]), in_onnx(name, given[name]), strict=True
                )
            )
            given = whole[name]
            cells = [timed(lambda n=name, g=given: in_torch(checkpoint, n, g), arguments.runs)]
            with torch.autocast("cpu", torch.bfloat16):
                cells.append(
                    timed(lambda n=name, g=given: in_torch(checkpoint, n, g), arguments.runs)
                )
            cells.append(timed(lambda n=name, g=given: in_onnx(n, g), arguments.runs))
            size = files[name].stat().st_size / 1e6
            print(f"| {name} | {' | '.join(cells)} | {size:.1f} | {difference:.0e} |", flush=True)


if __name__ == "__main__":
    main()
