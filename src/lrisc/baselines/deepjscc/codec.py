"""DeepJSCC as a codec: pictures through its networks and a channel, and its checkpoints.

::

    image ─ pad ─ encoder ─ power 1 ─ interleave ─► channel ─ MMSE ─ back in order ─ decoder ─ crop

As published but for two things: the symbols are interleaved like those of a frame of ours, so that
a fade does not hit one place of the picture, and one set of weights may be trained over random
SNRs. Nothing but payload is counted: the receiver knows the picture's size and the channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lrisc import checkpoint
from lrisc.baselines.deepjscc.network import STRIDE, DeepJsccConfig, DeepJsccNetwork
from lrisc.checkpoint import EMBEDDED
from lrisc.device import find_device
from lrisc.errors import InputError
from lrisc.link.channels import mmse, noise_variance
from lrisc.link.frame import interleaver
from lrisc.link.multipath import Mobility
from lrisc.link.ofdm_link import make_link
from lrisc.link.waveform.numerology import SYMBOLS
from lrisc.stored import read_folder, read_info, write_folder

FORMAT = "deepjscc-1"
_TOLERANCE = 0.25


@dataclass(frozen=True)
class DeepJscc:
    """A trained DeepJSCC.

    Attributes:
        name: what it was asked for as.
        network: float32, in evaluation mode.
        snr_db: lowest and highest SNR it was trained at, in dB.
        info: everything config.json says.

    Example:
        >>> codec = DeepJscc.from_pretrained(nearest(1 / 48))
        >>> made, symbols = codec.transmit(torch.rand(3, 64, 96), 10.0, "awgn", seed=0)
        >>> symbols * 48 == 3 * 64 * 96
        True
    """

    name: str
    network: DeepJsccNetwork
    snr_db: tuple[float, float]
    info: dict[str, Any]

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> DeepJscc:
        """Load an embedded name (see :func:`embedded_names`) or a folder.

        Args:
            name: of the codec.
            device: where its networks run: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            InputError: there is no such codec or device, or its files do not fit together.
        """
        where = find_device(device)
        folder = EMBEDDED / str(name) if str(name) in embedded_names() else Path(name)
        if not folder.is_dir():
            raise InputError(
                f"no DeepJSCC {name}: give a folder or one of "
                f"{', '.join(embedded_names()) or '(none embedded)'}"
            )
        stored, _ = read_folder(folder, FORMAT, "DeepJSCC")
        network = stored.network(lambda info: DeepJsccNetwork(DeepJsccConfig(**info["model"])))
        try:
            low, high = (float(snr) for snr in stored.info["snr_db"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"DeepJSCC {folder} is damaged: it names no range of SNRs") from error
        return cls(str(name), network.to(where), (low, high), stored.info)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def encode(self, image: Tensor) -> Tensor:
        """Symbols of a picture.

        Args:
            image: (3, H, W) in [0, 1], any size.

        Returns:
            complex64 (n,), on the CPU, mean power 1, n = ceil(c·ceil(H/4)·ceil(W/4)/2).
        """
        height, width = image.shape[-2:]
        bottom, right = -height % STRIDE, -width % STRIDE
        padded = functional.pad(image.unsqueeze(0), (0, right, 0, bottom), mode="replicate")
        made = self.network.encode(padded.to(self.device))[0]
        symbols = torch.view_as_complex(made.cpu().contiguous())
        power = symbols.abs().square().mean().clamp(min=1e-12)
        return (symbols * power.rsqrt())[interleaver(symbols.numel())]

    @torch.inference_mode()
    def decode(self, symbols: Tensor, height: int, width: int) -> Tensor:
        """Picture from equalised symbols, complex64 (n,).

        Args:
            symbols: in the order :meth:`encode` gave them.
            height: of the picture.
            width: of the picture.

        Returns:
            (3, H, W) float32 in [0, 1], on the CPU.
        """
        ordered = symbols[torch.argsort(interleaver(symbols.numel()))]
        sides = height + -height % STRIDE, width + -width % STRIDE
        pairs = torch.view_as_real(ordered).unsqueeze(0).to(self.device)
        made = self.network.decode(pairs, *sides)
        return made[0, :, :height, :width].clamp(0, 1).cpu().contiguous()

    def transmit(
        self,
        image: Tensor,
        snr_db: float,
        channel: str,
        seed: int,
        waveform: str = SYMBOLS,
        mobility: Mobility | None = None,
    ) -> tuple[Tensor, int]:
        """Send a picture over a channel.

        Args:
            image: (3, H, W) in [0, 1], any size.
            snr_db: mean Es/N0 per complex symbol in dB.
            channel: a name of :data:`lrisc.link.channels.CHANNELS`.
            seed: of fades and noise.
            waveform: see :func:`lrisc.link.ofdm_link.make_link`.
            mobility: of channels with paths.

        Returns:
            The reconstruction (3, H, W) float32 in [0, 1], and the complex symbols sent.

        Raises:
            InputError: no such channel, or an SNR or seed that is not usable.
            OutageError: the receiver of a waveform finds nothing.
        """
        symbols = self.encode(image)
        link = make_link(channel, snr_db, waveform=waveform, seed=seed, mobility=mobility)
        received = link(symbols)
        low, high = self.snr_db
        # A codec for one SNR has that SNR's equaliser: its decoder knows no other scale. Over a
        # waveform the receiver hands on what is relative to the noise it has estimated.
        fixed = low == high and waveform == SYMBOLS
        n0 = noise_variance(low) if fixed else received.noise_variance
        equalised = mmse(received.symbols, received.gains, n0)
        return self.decode(equalised, *image.shape[-2:]), symbols.numel()


def embedded_names() -> list[str]:
    """Names of the DeepJSCC codecs that come inside the package."""
    return checkpoint.embedded_names(FORMAT)


def nearest(cbr: float, snr_db: float | None = None) -> str:
    """Name of the embedded codec whose CBR is nearest in ratio to the one asked for.

    Args:
        cbr: complex symbols per (3·H·W).
        snr_db: ``None`` for a codec trained over random SNRs; else one trained at a single SNR,
            the nearest to this one in dB (of two equally near, the higher, which loses less:
            22.9 against 22.4 dB at 5 dB on validation pictures).

    Raises:
        InputError: no codec of that kind is within 25 % of that CBR.
    """
    if not cbr > 0:
        raise InputError(f"the CBR must be positive, not {cbr:g}")
    found: list[tuple[float, float, float, str]] = []
    for name in embedded_names():
        info = read_info(EMBEDDED / name, "DeepJSCC")
        own, (low, high) = DeepJsccConfig(**info["model"]).cbr, info["snr_db"]
        if abs(own - cbr) > _TOLERANCE * cbr or (low == high) != (snr_db is not None):
            continue
        ratio = max(own / cbr, cbr / own)
        distance = abs(low - snr_db) if snr_db is not None else 0.0
        found.append((ratio, distance, -low, name))
    if not found:
        kind = "" if snr_db is None else " for a single SNR"
        raise InputError(f"no DeepJSCC{kind} within 25 % of CBR {cbr:.4f}")
    return min(found)[3]


def save(
    folder: Path,
    network: DeepJsccNetwork,
    extra: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a codec's config.json and model.safetensors.

    Args:
        folder: created if needed.
        network: what to store.
        extra: more entries for config.json; ``snr_db``, the range it was trained for, is a must.
        dtype: of the stored weights, float16 to ship them or float32 to train them further.

    Raises:
        InputError: a weight is not finite in ``dtype``.
        UnwritableError: the folder is not writable or full.
    """
    info = {"model": network.config.to_dict(), **extra}
    write_folder(folder, FORMAT, network, info, dtype)
