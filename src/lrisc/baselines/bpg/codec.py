"""HEVC intra pictures, BPG's class of codec, over a fine ladder of qualities.

bpgenc and bpgdec are used where they are on PATH. Elsewhere x265 and libde265 through pillow-heif,
which lie on the published BPG curve: 4:4:4, tuned for PSNR, no psycho-visual optimisation.
"""

from __future__ import annotations

import io
import math
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from lrisc.baselines.bpg.heif import payload_bytes
from lrisc.errors import InputError

Pixels = npt.NDArray[np.uint8]

HEADER_BYTES = 20
"""What BPG's own header takes; it stands for HEIF's container and HEVC's parameter sets."""


@dataclass(frozen=True)
class CodedPicture:
    """A picture at one quality.

    Attributes:
        file: what the decoder reads.
        size: bytes that count as sent.
        label: of the quality, such as "QP 37".
    """

    file: bytes
    size: int
    label: str


class PictureCodec(Protocol):
    """A codec with qualities numbered 0 (fewest bits) to ``qualities`` - 1."""

    @property
    def name(self) -> str:
        """What tells its results from another codec's."""
        ...

    @property
    def qualities(self) -> int:
        """How many there are."""
        ...

    def encode(self, pixels: Pixels, quality: int) -> CodedPicture:
        """Code an RGB picture (H, W, 3)."""
        ...

    def decode(self, coded: CodedPicture) -> Pixels:
        """RGB picture (H, W, 3)."""
        ...


class HevcCodec:
    """x265 and libde265 through pillow-heif.

    One step of QP is some 13 % of the bytes, too coarse to fill a budget with. Scaling the
    encoder's Lagrange multiplier goes in steps of 3 % between them and stays on the same curve of
    rate and distortion (measured on Kodak: within 0.02 dB of the line between whole QPs).
    """

    _WORST_QP, _BEST_QP = 51, 4
    _STEPS = 4
    # One step of QP has as many bytes as this factor on the multiplier.
    _LAMBDA_PER_QP = 0.65
    # Below QP 51 there are only larger multipliers: down to about half its bytes.
    _BELOW = 12

    def __init__(self) -> None:
        try:
            import pillow_heif
        except ImportError as error:
            raise InputError(
                "BPG needs pillow-heif (pip install 'lrisc[baselines]') "
                "or bpgenc and bpgdec on PATH"
            ) from error
        info: Any = pillow_heif.libheif_info()
        self.name = f"pillow-heif {pillow_heif.__version__}, {info['HEIF']}"
        self.qualities = self._BELOW + self._STEPS * (self._WORST_QP - self._BEST_QP) + 1

    def encode(self, pixels: Pixels, quality: int) -> CodedPicture:
        """Code an RGB picture (H, W, 3)."""
        import pillow_heif

        steps = quality - self._BELOW
        qp = self._WORST_QP - max(steps // self._STEPS, 0)
        remaining = steps - self._STEPS * (self._WORST_QP - qp)
        scale = self._LAMBDA_PER_QP ** (remaining / self._STEPS)
        parameters = {
            "tune": "psnr",
            "x265:psy-rd": "0",
            "x265:crf": str(qp),
            # x265 keeps the multipliers in globals, so every encode has to set them.
            "x265:lambda-file": str(self._lambda_file(scale)),
            # Without threads of its own: pictures are coded side by side.
            "x265:pools": "none",
            "x265:wpp": "0",
            "x265:frame-threads": "1",
        }
        file = io.BytesIO()
        heif: Any = pillow_heif.from_pillow(Image.fromarray(pixels))
        heif.save(file, quality=0, chroma=444, enc_params=parameters)
        data = file.getvalue()
        return CodedPicture(
            data, payload_bytes(data) + HEADER_BYTES, f"QP {qp - remaining / self._STEPS:g}"
        )

    def decode(self, coded: CodedPicture) -> Pixels:
        """RGB picture (H, W, 3)."""
        import pillow_heif

        decoded: Any = pillow_heif.open_heif(io.BytesIO(coded.file), convert_hdr_to_8bit=True)
        return np.asarray(decoded.to_pillow().convert("RGB"))

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="lrisc-")

    def _lambda_file(self, scale: float) -> Path:
        """x265's own tables of lambda and lambda² per QP, the latter times ``scale``."""
        path = Path(self._folder.name) / f"{scale:.6f}.txt"
        if not path.exists():
            linear = [0.25 * 2 ** (qp / 6) * math.sqrt(scale) for qp in range(70)]
            square = [0.038 * math.exp(0.234 * qp) * scale for qp in range(70)]
            rows = [",".join(f"{value:.6f}" for value in row) for row in (linear, square)]
            path.write_text("\n".join(rows) + "\n")
        return path


class BpgCodec:
    """bpgenc and bpgdec; the whole file counts, its header is small."""

    name = "bpgenc"
    qualities = 52

    def encode(self, pixels: Pixels, quality: int) -> CodedPicture:
        """Code an RGB picture (H, W, 3)."""
        qp = self.qualities - 1 - quality
        with tempfile.TemporaryDirectory(prefix="lrisc-") as folder:
            source, coded = Path(folder) / "source.png", Path(folder) / "coded.bpg"
            Image.fromarray(pixels).save(source)
            _call("bpgenc", "-q", str(qp), "-f", "444", "-o", str(coded), str(source))
            data = coded.read_bytes()
        return CodedPicture(data, len(data), f"QP {qp}")

    def decode(self, coded: CodedPicture) -> Pixels:
        """RGB picture (H, W, 3)."""
        with tempfile.TemporaryDirectory(prefix="lrisc-") as folder:
            file, out = Path(folder) / "coded.bpg", Path(folder) / "out.png"
            file.write_bytes(coded.file)
            _call("bpgdec", "-o", str(out), str(file))
            return np.asarray(Image.open(out).convert("RGB"))


@lru_cache(maxsize=1)
def default_codec() -> PictureCodec:
    """The codec to use: bpgenc where it is on PATH, else x265."""
    if shutil.which("bpgenc") and shutil.which("bpgdec"):
        return BpgCodec()
    return HevcCodec()


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{command[0]} failed: {last}")
