"""Transmitter and receiver of an OFDM waveform with a simulated channel between them."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lrisc.errors import OutageError
from lrisc.link import channels
from lrisc.link.channels import Channel, HasSymbols, Received
from lrisc.link.impairments import Impairments
from lrisc.link.multipath import Mobility, draw
from lrisc.link.ofdm_receiver import receive, receive_symbols
from lrisc.link.waveform.detection import Detection, find_frames
from lrisc.link.waveform.modulator import DEFAULT_CLIP_DB, at_unit_energy, modulate
from lrisc.link.waveform.numerology import SYMBOLS, Numerology, numerology
from lrisc.link.waveform.source import ArraySource

_GUARD = 1500
"""Samples of noise before and after the frame: the receiver must find it."""


@dataclass(frozen=True)
class OfdmLink:
    """Everything estimated from samples; calling it again repeats the same channel and noise.

    Attributes:
        waveform: numerology.
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: mean Es/N0 per resource element, dB.
        seed: of channel, noise and offsets.
        mobility: delay spread, speed, carrier frequency.
        impairments: of both radios.
        clip_db: see :func:`lrisc.link.waveform.modulator.modulate`.
    """

    waveform: Numerology
    channel: str
    snr_db: float
    seed: int = 0
    mobility: Mobility = field(default_factory=Mobility)
    impairments: Impairments = field(default_factory=Impairments)
    clip_db: float | None = DEFAULT_CLIP_DB

    def __call__(self, sent: Tensor | HasSymbols) -> Received:
        """Send a frame, or bare symbols, whose number the receiver is then told.

        Raises:
            OutageError: the frame is not found, or its header fails its CRC.
        """
        bare = isinstance(sent, Tensor)
        symbols = (sent if isinstance(sent, Tensor) else sent.symbols).detach().cpu()
        source = ArraySource(self.over_the_air(symbols))
        found = [d for d in find_frames(source, (self.waveform,))]
        if not found:
            raise OutageError("outage: the receiver finds no frame")
        best = max(found, key=_explained)
        if bare:
            return receive_symbols(source, best, symbols.numel())
        reception = receive(source, best)
        if reception.received.symbols.numel() != symbols.numel():
            raise OutageError("outage: the receiver finds another frame")
        return reception.received

    def over_the_air(self, symbols: Tensor) -> np.ndarray[tuple[int], np.dtype[np.complex64]]:
        """What the receiving radio records, complex64 (m,)."""
        n = self.waveform
        silence = np.zeros(_GUARD, np.complex64)
        frame = modulate(symbols.to(torch.complex64).numpy(), n, self.clip_db)
        samples = at_unit_energy(frame, frame, n)
        samples = np.concatenate([silence, samples, silence])
        model = channels.CHANNELS[self.channel]
        paths = None
        if model.paths is not None:
            paths = draw(model.paths, self.mobility, samples.size / n.sample_rate, self.seed)
        power, noise = n.occupied / n.fft_size, channels.noise_variance(self.snr_db)
        return self.impairments.apply(samples, n.sample_rate, power, noise, self.seed, paths)


Link = Channel | OfdmLink


def make_link(
    channel: str,
    snr_db: float,
    *,
    waveform: str = SYMBOLS,
    seed: int = 0,
    block_length: int | None = None,
    mobility: Mobility | None = None,
) -> Link:
    """A channel with a waveform.

    Args:
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: mean Es/N0 per symbol or resource element, dB.
        waveform: ``symbols``, where the receiver is told the channel, or one that estimates it.
        seed: of everything random.
        block_length: symbols per fade; for ``symbols`` alone.
        mobility: delay spread, speed, carrier frequency, of channels with paths.

    Raises:
        InputError: an unknown name, or options that do not go together.
    """
    if waveform == SYMBOLS:
        options = {} if block_length is None else {"block_length": block_length}
        return channels.channel(channel, snr_db, seed=seed, mobility=mobility, **options)
    ofdm = numerology(waveform)
    channels.check_meets_ofdm(channel, block_length)
    channels.check_snr(snr_db)
    channels.check_seed(seed)
    return OfdmLink(ofdm, channel, float(snr_db), seed, mobility or Mobility())


def _explained(detection: Detection) -> float:
    return detection.explained
