"""Saliency maps of U²-Net-p over pictures, for our detector to learn from.

    python tools/saliency/teacher_maps.py SQUARES.npy u2netp.onnx -o MAPS.npy [--limit 6000]
    python tools/saliency/teacher_maps.py FOLDER u2netp.onnx -o MAPS.npy --side 320 --precision fp32

SQUARES.npy is what `lrisc train` keeps in its picture cache, (n, S, S, 3) uint8; a FOLDER's
photographs are taken in the order of their names (of one stem, the .webp or .jpg is the photograph
and the .png its mask). MAPS.npy gets (n, side / 2, side / 2) uint8, the network's first output
times 255, with nothing stretched. It is written in place and may be stopped and run again:
MAPS.done counts the finished rows.

u2netp.onnx is the file rembg uses; the network of X. Qin et al., "U²-Net", 2020, is written out
here in torch, because in bf16 that runs four times as fast on a CPU as the ONNX runtime and takes
any side. Needs the package onnx, to read the weights.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
import torch
from onnx import numpy_helper  # pyright: ignore[reportMissingImports]
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class U2Net:
    """U²-Net-p with its batch norms folded in; every convolution in order of use."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        graph = onnx.load(str(path)).graph
        tensors = {t.name: numpy_helper.to_array(t).copy() for t in graph.initializer}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        names = [(node.input[1], node.input[2]) for node in convolutions]
        self.dtype = dtype
        self.weights = [
            (
                torch.from_numpy(tensors[w]).to(dtype, memory_format=torch.channels_last),
                torch.from_numpy(tensors[b]).to(dtype),
            )
            for w, b in names
        ]
        self.at = 0

    def conv(self, x: Tensor, dilation: int = 1) -> Tensor:
        weight, bias = self.weights[self.at]
        self.at += 1
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, bias, padding=padding, dilation=dilation)

    def block(self, x: Tensor, dilation: int = 1) -> Tensor:
        return self.conv(x, dilation).relu_()

    def residual_u(self, x: Tensor, depth: int) -> Tensor:
        start = self.block(x)
        down = [self.block(start)]
        for _ in range(depth - 2):
            down.append(self.block(pool(down[-1])))
        y = self.block(down[-1], 2)
        y = self.block(torch.cat((y, down[-1]), 1))
        for skip in reversed(down[:-1]):
            y = self.block(torch.cat((up(y, skip), skip), 1))
        return y + start

    def residual_flat(self, x: Tensor) -> Tensor:
        start = self.block(x)
        down = [self.block(start)]
        for dilation in (2, 4, 8):
            down.append(self.block(down[-1], dilation))
        y = down[-1]
        for skip, dilation in zip(reversed(down[:-1]), (4, 2, 1), strict=True):
            y = self.block(torch.cat((y, skip), 1), dilation)
        return y + start

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        self.at = 0
        x = x.to(self.dtype, memory_format=torch.channels_last)
        encoded: list[Tensor] = []
        for depth in (7, 6, 5, 4):
            encoded.append(self.residual_u(pool(encoded[-1]) if encoded else x, depth))
        encoded.append(self.residual_flat(pool(encoded[-1])))
        top = self.residual_flat(pool(encoded[-1]))
        decoded = [self.residual_flat(torch.cat((up(top, encoded[4]), encoded[4]), 1))]
        for skip, depth in zip(reversed(encoded[:4]), (4, 5, 6, 7), strict=True):
            decoded.append(self.residual_u(torch.cat((up(decoded[-1], skip), skip), 1), depth))
        sides = [self.conv(y) for y in (*reversed(decoded), top)]
        return self.conv(torch.cat([up(y, sides[0]) for y in sides], 1)).float().sigmoid()


def up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def photographs(folder: Path) -> list[Path]:
    photos = {p.stem: p for p in folder.glob("*.png")}
    for suffix in ("jpg", "jpeg", "webp"):
        photos |= {p.stem: p for p in folder.glob(f"*.{suffix}")}
    return [photos[stem] for stem in sorted(photos)]


def open_source(path: Path) -> tuple[int, Callable[[int], Image.Image]]:
    if path.suffix == ".npy":
        squares = np.load(path, mmap_mode="r")
        return len(squares), lambda i: Image.fromarray(np.asarray(squares[i]))
    files = photographs(path)
    return len(files), lambda i: Image.open(files[i]).convert("RGB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("network", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--side", type=int, default=256, help="the network sees this many pixels")
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    arguments = parser.parse_args()

    network = U2Net(
        arguments.network, torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    )
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (MEAN, STD))
    side = arguments.side
    count, read = open_source(arguments.source)
    count = min(count, arguments.limit or count)
    done_file = arguments.output.with_suffix(".done")
    done = int(done_file.read_text()) if done_file.exists() else 0
    shape = (count, side // 2, side // 2)
    maps = np.lib.format.open_memmap(arguments.output, "r+" if done else "w+", np.uint8, shape)
    for i in range(done, count):
        pixels = np.asarray(read(i).resize((side, side), Image.Resampling.LANCZOS))
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
        found = network((x / x.max().clamp(min=1) - mean) / std)
        maps[i] = (F.avg_pool2d(found, 2)[0, 0] * 255).round().to(torch.uint8).numpy()
        if (i + 1) % 20 == 0 or i + 1 == count:
            maps.flush()
            done_file.write_text(str(i + 1))


if __name__ == "__main__":
    main()
