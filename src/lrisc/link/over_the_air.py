"""A recording from one radio to another: channel, impairments and noise, by the SNR per element."""

import numpy as np
import torch

from lrisc.errors import InputError
from lrisc.link import channels
from lrisc.link.impairments import Impairments
from lrisc.link.iq import unit_power
from lrisc.link.multipath import FLAT, Mobility, Realisation, draw
from lrisc.link.recording import Annotation, Recording
from lrisc.link.waveform.modulator import at_unit_energy
from lrisc.link.waveform.numerology import PRESETS
from lrisc.link.waveform.sequences import ComplexArray

MAX_SAMPLES = 1 << 25
"""Of a recording that is sent: all of it is in memory. The largest frame takes 23 million."""


def over_the_air(
    recording: Recording,
    channel: str,
    snr_db: float,
    *,
    block_length: int | None,
    mobility: Mobility,
    impairments: Impairments,
    seed: int,
) -> tuple[ComplexArray, tuple[Annotation, ...]]:
    """Send a recording over a channel.

    Args:
        recording: of any waveform.
        channel: a name in :data:`lrisc.link.channels.CHANNELS`.
        snr_db: Es/N0 per symbol or element, dB.
        block_length: symbols per fade at one sample a symbol, where the channel has such; ``None``
            and 0 are one for all.
        mobility: delay spread, speed and carrier frequency of channels with paths.
        impairments: of both radios.
        seed: of channel, noise and impairments.

    Returns:
        Samples with Es = 1 at the transmitter, complex64 (m,), and where its frames are now.

    Raises:
        InputError: a channel that is unknown or needs another waveform, or too long a recording.
    """
    channels.check_snr(snr_db)
    channels.check_seed(seed)
    channel = channels.CHANNELS.key(channel)
    model = channels.CHANNELS[channel]
    noise = channels.noise_variance(snr_db)
    samples = recording.all_samples(MAX_SAMPLES)
    marked = ofdm_frames(recording)
    if not marked:
        channels.check_block_length(channel, block_length)
        return _symbols(
            samples,
            channel,
            snr_db,
            noise,
            block_length or 0,
            impairments,
            recording.sample_rate,
            seed,
        ), ()
    channels.check_meets_ofdm(channel, block_length)
    waveform = PRESETS[marked[0].label]
    power = waveform.occupied / waveform.fft_size
    frames = [samples[note.start : note.start + note.count] for note in marked]
    scaled = at_unit_energy(samples, np.concatenate(frames), waveform)
    realisation = None
    if model.paths is not None:
        realisation = draw(model.paths, mobility, samples.size / recording.sample_rate, seed)
    sent = impairments.apply(scaled, recording.sample_rate, power, noise, seed, realisation)
    # The silence that resampling ends with keeps every one of them within the recording.
    clock = 1 + impairments.sro * 1e-6
    moved = tuple(
        Annotation(
            round(impairments.timing + clock * note.start), round(clock * note.count), note.label
        )
        for note in marked
    )
    return sent, moved


def _symbols(
    samples: ComplexArray,
    channel: str,
    snr_db: float,
    noise: float,
    block_length: int,
    impairments: Impairments,
    sample_rate: float,
    seed: int,
) -> ComplexArray:
    """One sample a symbol: gains and noise by the channel, or impairments with its gains."""
    model = channels.CHANNELS[channel]
    if model.paths is not None and model.paths not in FLAT:
        raise InputError(
            f"{channel} has paths of different delays: send it a recording with an OFDM waveform"
        )
    if model.fades and not model.blocks:
        raise InputError(
            f"every symbol of {channel} has another gain, which no receiver finds in a recording: "
            "choose another channel"
        )
    symbols = unit_power(torch.from_numpy(samples))
    link = channels.channel(channel, snr_db, block_length=block_length, seed=seed)
    if impairments == Impairments():
        return link(symbols).symbols.numpy()
    gains = link(symbols).gains.numpy()
    paths = None
    if not np.all(gains == 1):
        paths = _PerSymbol(gains)
    return impairments.apply(symbols.numpy(), sample_rate, 1.0, noise, seed, paths)


class _PerSymbol(Realisation):
    """One path whose gain is given sample by sample."""

    def __init__(self, gains: ComplexArray) -> None:
        super().__init__(np.zeros(1), gains[:, None].astype(np.complex128), 1.0)

    def apply(self, samples: ComplexArray, sample_rate: float) -> ComplexArray:
        return (samples * self.gains[:, 0]).astype(np.complex64)


def ofdm_frames(recording: Recording) -> list[Annotation]:
    """The OFDM frames that the recording's metadata mark; anybody may have marked other things."""
    size = recording.source.size
    return [
        note
        for note in recording.annotations
        if note.label in PRESETS and note.start >= 0 and 0 < note.count <= size - note.start
    ]
