"""The networks of a checkpoint as ONNX files, for programs without torch.

::

    transmitter   analysis.onnx        image (1, 3, H, W) in [-1, 1] ─► latent z', bits (1, h, w)
                  jscc_encoder.onnx    latent, levels (1, h, w), snr_db (1,) ─► slots (1, n, V, 2)
    receiver      jscc_decoder.onnx    slots (1, n, V, 2), levels, snr_db (1, n) ─► latent ẑ
                  synthesis.onnx       latent, start (1, 3, H, W) ─► image in [-1, 1]

H and W are free multiples of the checkpoint's padding; h = H/16, w = W/16, n = h·w, V = max(V).
``lrisc.json`` says the rest: the config, the checkpoint's number in a frame's header, the table of
the rate map's code, and the base graphs of the standard's LDPC codes. The
page on the frame format has what lies between the networks.
"""

from __future__ import annotations

import json
import logging
import warnings
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.checkpoint import LoadedCheckpoint
from lrisc.errors import InputError
from lrisc.files import check_outputs, scratch, write_atomically
from lrisc.link.rate_control import shape_bits
from lrisc.models.config import LATENT_STRIDE
from lrisc.models.diffusion import alpha
from lrisc.models.entropy import LIKELIHOOD_FLOOR, SCALE_FLOOR
from lrisc.models.jscc import WindowAttention
from lrisc.models.lrisc import Lrisc

DESCRIPTION = "lrisc.json"
NETWORKS = ("analysis", "jscc_encoder", "jscc_decoder", "synthesis")
_OPSET = 18
# Of the picture that the networks are traced with; sizes are free, none of these is special.
_H, _W = 11, 13


def export_networks(checkpoint: LoadedCheckpoint, folder: Path) -> list[Path]:
    """Write the four networks and their description.

    Args:
        checkpoint: float32, on the CPU.
        folder: created if needed.

    Returns:
        The files.

    Raises:
        InputError: the extra is not installed.
        UnwritableError: the folder is not writable or full.
    """
    check_outputs([folder / f"{name}.onnx" for name in NETWORKS] + [folder / DESCRIPTION])
    _check_packages()
    model = _exportable(checkpoint.model)
    config = model.config
    latent = torch.randn(1, config.latent_channels, _H, _W)
    levels = torch.randint(0, len(config.rate_values), (1, _H, _W))
    slots = torch.randn(1, _H * _W, config.rate_values[-1], 2)
    pixels = torch.rand(1, 3, LATENT_STRIDE * _H, LATENT_STRIDE * _W) * 2 - 1
    grid = {2: "h", 3: "w"}
    picture = {2: "H", 3: "W"}
    written = [
        _write(
            folder / "analysis.onnx", _Analysis(model), {"image": (pixels, picture)},
            {"latent": grid, "bits": {1: "h", 2: "w"}},
        ),
        _write(
            folder / "jscc_encoder.onnx", _Encoder(model),
            {
                "latent": (latent, grid), "levels": (levels, {1: "h", 2: "w"}),
                "snr_db": (torch.tensor([10.0]), {}),
            },
            {"slots": {1: "n"}},
        ),
        _write(
            folder / "jscc_decoder.onnx", _Decoder(model),
            {
                "slots": (slots, {1: "n"}), "levels": (levels, {1: "h", 2: "w"}),
                "snr_db": (torch.full((1, _H * _W), 10.0), {1: "n"}),
            },
            {"latent": grid},
        ),
        _write(
            folder / "synthesis.onnx", _Synthesis(model),
            {"latent": (latent, grid), "start": (pixels, picture)}, {"image": picture},
        ),
    ]  # fmt: skip
    description = {
        "name": checkpoint.name,
        "sha256": checkpoint.sha256,
        "checkpoint_id": checkpoint.checkpoint_id,
        "config": config.to_dict(),
        "multiple": config.multiple,
        "rate_map_prior": checkpoint.prior.table.tolist(),
        "base_graphs": {str(graph): _base_graph(graph) for graph in (1, 2)},
    }
    write_atomically(folder / DESCRIPTION, (json.dumps(description) + "\n").encode())
    return [*written, folder / DESCRIPTION]


def _base_graph(graph: int) -> list[list[int]]:
    """Row, column and the eight shifts of every entry, from Sionna's tables of TS 38.212."""
    text = files("sionna.phy.fec.ldpc.codes").joinpath(f"5G_bg{graph}.csv").read_text()
    entries: list[list[int]] = []
    row = 0
    for line in text.splitlines()[2:]:
        first, column, *shifts = line.strip().split(";")[:10]
        row = int(first) if first else row
        entries.append([row, int(column), *map(int, shifts)])
    return entries


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise InputError(f"export needs {error.name}: pip install 'lrisc[export]'") from error


def _write(
    path: Path,
    network: nn.Module,
    inputs: dict[str, tuple[Tensor, dict[int, str]]],
    outputs: dict[str, dict[int, str]],
) -> Path:
    """Trace a network and write it, complete or not at all."""
    axes = {name: axis for name, (_, axis) in inputs.items()} | outputs
    quiet = logging.getLogger("torch.onnx")
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with scratch() as folder, warnings.catch_warnings(), torch.no_grad():
            # Of the tracer, on what is wanted here: sizes that become part of the graph.
            warnings.simplefilter("ignore")
            made = folder / path.name
            torch.onnx.export(
                network.eval(),
                tuple(example for example, _ in inputs.values()),
                made,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
            write_atomically(path, made.read_bytes())
    finally:
        quiet.setLevel(before)
    return path


class _Analysis(nn.Module):
    """g_e, and the bits that the rate rule sees."""

    def __init__(self, model: Lrisc) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.model.analysis(image)
        prior = self.model.hyperprior
        h, w = _size(latent)
        # A multiple of 4 with the border repeated.
        padded = _take(_take(latent, (h + 3) // 4 * 4, 2), (w + 3) // 4 * 4, 3)
        y = prior.encoder(padded).round()
        mean, scale = prior.decoder(y)[..., : latent.shape[2], : latent.shape[3]].chunk(2, dim=1)
        scale = F.softplus(scale).clamp(min=SCALE_FLOOR)
        distance = (latent - mean).abs()
        upper, lower = _normal_cdf((0.5 - distance) / scale), _normal_cdf((-0.5 - distance) / scale)
        bits = -(upper - lower).clamp(min=LIKELIHOOD_FLOOR).log2().sum(1)
        return latent, shape_bits(bits, self.model.config.rate_rule)


class _Encoder(nn.Module):
    """f_e."""

    def __init__(self, model: Lrisc) -> None:
        super().__init__()
        self.network = model.jscc_encoder

    def forward(self, latent: Tensor, levels: Tensor, snr_db: Tensor) -> Tensor:
        return self.network(latent, levels, snr_db)


class _Decoder(nn.Module):
    """f_d."""

    def __init__(self, model: Lrisc) -> None:
        super().__init__()
        self.network = model.jscc_decoder

    def forward(self, slots: Tensor, levels: Tensor, snr_db: Tensor) -> Tensor:
        return self.network(slots, levels, snr_db)


class _Synthesis(nn.Module):
    """g_d: DDIM with the config's number of steps; its constants are numbers here."""

    def __init__(self, model: Lrisc) -> None:
        super().__init__()
        self.context, self.unet = model.context, model.unet
        times = torch.linspace(1.0, 0.0, model.config.decode_steps + 1)
        self.times = [float(time) for time in times]
        self.alphas = [float(alpha(time)) for time in times]

    def forward(self, latent: Tensor, start: Tensor) -> Tensor:
        condition = self.context(latent)
        x = start
        for step, time in enumerate(self.times[:-1]):
            a, b = self.alphas[step], self.alphas[step + 1]
            clean = self.unet(x, condition, torch.tensor([time])).clamp(-1, 1)
            epsilon = (x - a**0.5 * clean) / (1 - a) ** 0.5
            x = b**0.5 * clean + (1 - b) ** 0.5 * epsilon
        return x


class _Attention(nn.Module):
    """:class:`WindowAttention` without a decision that depends on the size.

    Whether the windows are shifted does: that becomes a number in the graph, which says where in
    the padded grid the picture lies.
    """

    def __init__(self, attention: WindowAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        own = self.attention
        m, heads, c = own.window, own.heads, x.shape[3]
        most = m // 2 if own.shifted else 0
        (rows, at_h, real_h), (columns, at_w, real_w) = (
            self._axis(size, most) for size in _size(x.permute(0, 3, 1, 2))
        )
        x = x.index_select(1, at_h).index_select(2, at_w)
        real = real_h[:, None] * real_w[None, :]
        x = x * real[None, :, :, None]

        def windows(t: Tensor) -> Tensor:
            t = t.reshape(1, rows, m, columns, m, t.shape[-1])
            return t.transpose(2, 3).reshape(-1, m * m, t.shape[-1])

        qkv = own.qkv(windows(x)).reshape(-1, m * m, 3, heads, c // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        bias = own.position_bias[:, own.position_index]
        blocked = (1 - windows(real[None, :, :, None])[:, None, None, :, 0]) * -1e4
        scores = q @ k.transpose(-1, -2) * (c // heads) ** -0.5 + bias[None] + blocked
        y = own.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, m * m, c))
        y = y.reshape(1, rows, columns, m, m, c).transpose(2, 3)
        y = y.reshape(1, rows * m, columns * m, c)
        return y.index_select(1, self._back(real_h)).index_select(2, self._back(real_w))

    def _axis(self, size: Any, most: int) -> tuple[Any, Tensor, Tensor]:
        """Windows along an axis; the source of every place of the padded axis; 1 where it is real.

        One window more than needed, where they are not shifted, is nothing but padding.
        """
        m = self.attention.window
        count = (size + most + m - 1) // m
        shift = most * (size > m).to(torch.int64)
        source = torch.arange(0, count * m) - shift
        real = ((source >= 0) & (source < size)).to(torch.float32)
        return count, source.clamp(min=0).minimum(size - 1), real

    @staticmethod
    def _back(real: Tensor) -> Tensor:
        """Where the real places are."""
        return real.nonzero()[:, 0]


def _exportable(model: Lrisc) -> Lrisc:
    """A copy whose attention can be traced for every size."""
    copy = deepcopy(model).cpu().float()
    for module in list(copy.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, WindowAttention):
                setattr(module, name, _Attention(child))
    return copy


def _size(x: Tensor) -> tuple[Any, Any]:
    """Height and width of (B, C, H, W); while traced, numbers of the graph, which stubs lack."""
    h, w = (torch.as_tensor(side, dtype=torch.int64) for side in x.shape[2:])
    return h, w


def _take(x: Tensor, length: Any, axis: int) -> Tensor:
    """Extend an axis to a length by its last entry."""
    last = torch.as_tensor(x.shape[axis], dtype=torch.int64) - 1
    return x.index_select(axis, torch.arange(0, length).minimum(last))


def _normal_cdf(x: Tensor) -> Tensor:
    """As in the entropy model, with an erfc that is right in the tail, which ONNX does not have.

    Numerical Recipes' rational fit, relative error below 1.2e-7.
    """
    z = x.abs() * 2**-0.5
    t = 1 / (1 + 0.5 * z)
    fit = torch.full_like(t, 0.17087277)
    for coefficient in (
        -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196,
        1.00002368, -1.26551223,
    ):  # fmt: skip
        fit = fit * t + coefficient
    tail = 0.5 * t * torch.exp(-z * z + fit)
    return torch.where(x < 0, tail, 1 - tail)
