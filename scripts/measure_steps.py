"""What more steps of diffusion do to the pictures of a checkpoint.

    python scripts/measure_steps.py PICTURES [--limit 12] [--side 256] [--steps 1 2 4 8]
        [--start-noise 0 0.8] [--snr 10] [--cbr 1/48] [--model compact]

Prints a Markdown table: PSNR, LPIPS, and the Fréchet distance between the VGG features of the
pictures and of their sources, over all places of all pictures: whether textures are as common as
in the sources, whatever their place. All rows see the same received frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import lrisc
from lrisc.images import pictures_in
from lrisc.link.budget import parse_cbr
from lrisc.link.channels import channel
from lrisc.metrics.lpips import Lpips
from lrisc.metrics.quality import quality

LAYER = 2
"""Third stage of VGG16: 256 channels, a place sees some 40 pixels."""


class Moments:
    """Mean and covariance of feature vectors."""

    def __init__(self) -> None:
        self.count, self.sum, self.products = 0, torch.zeros(()), torch.zeros(())

    def add(self, vectors: Tensor) -> None:
        """Take vectors (n, channels)."""
        vectors = vectors.double()
        self.count += len(vectors)
        self.sum = self.sum + vectors.sum(0)
        self.products = self.products + vectors.T @ vectors

    def frechet(self, other: Moments) -> float:
        """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)."""
        (m1, c1), (m2, c2) = self._both(), other._both()
        # The eigenvalues of a product of two covariances are real and not negative.
        roots = torch.linalg.eigvals(c1 @ c2).real.clamp(min=0).sqrt().sum()
        return float((m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * roots)

    def _both(self) -> tuple[Tensor, Tensor]:
        mean = self.sum / self.count
        return mean, self.products / self.count - torch.outer(mean, mean)


def features(vgg: Lpips, image: Image.Image) -> Tensor:
    """VGG features of a picture, (places, channels)."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        return vgg.features(pixels)[LAYER][0].flatten(1).T


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=12)
    parser.add_argument("--side", type=int, default=256, help="of centre crops; 0: whole pictures")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--start-noise", type=float, nargs="+", default=[0.0, 0.8])
    parser.add_argument("--snr", type=float, default=10.0)
    parser.add_argument("--cbr", default="1/48")
    parser.add_argument("--model", default="compact")
    a = parser.parse_args()
    checkpoint = lrisc.load_checkpoint(a.model)
    sender, receiver = lrisc.Transmitter(checkpoint), lrisc.Receiver(checkpoint)
    vgg, sources = Lpips.from_weights("vgg"), Moments()
    frames = []
    for path in pictures_in(a.folder)[: a.limit]:
        image = Image.open(path).convert("RGB")
        if a.side:
            left, top = ((side - a.side) // 2 for side in image.size)
            image = image.crop((left, top, left + a.side, top + a.side))
        sources.add(features(vgg, image))
        frame = sender.encode(image, snr_db=a.snr, cbr=parse_cbr(a.cbr))
        frames.append((image, channel("awgn", a.snr, seed=len(frames))(frame)))
    print(f"{len(frames)} pictures, AWGN {a.snr:g} dB, CBR {a.cbr}\n")
    print("| start noise | steps | PSNR (dB) | LPIPS | Fréchet distance |\n|---|---|---|---|---|")
    for noise in a.start_noise:
        for steps in a.steps:
            made, rows = Moments(), []
            for seed, (image, received) in enumerate(frames):
                picture = receiver.decode(received, steps=steps, seed=seed, sigma_start=noise)
                made.add(features(vgg, picture))
                found = quality(image, picture)
                rows.append((found["psnr_db"], found["lpips"]))
            psnr, lpips = np.mean(np.array(rows, float), axis=0)
            distance = sources.frechet(made)
            print(
                f"| {noise:g} | {steps} | {psnr:.2f} | {lpips:.4f} | {distance:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
