"""Channels between transmitter and receiver, and the channel state the receiver gets.

Plain torch rather than Sionna's channel blocks, because training runs gradients through these
functions, over a batch, with one seeded generator per call, and must not import Sionna.

SNR is Es/N0 per complex symbol in dB, with Es = 1; N0 is the variance of the complex noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, overload

import numpy as np
import torch
from torch import Tensor

from lrisc.errors import InputError, finite, whole
from lrisc.registry import Registry

if TYPE_CHECKING:
    from lrisc.link.multipath import Mobility


@overload
def noise_variance(snr_db: float) -> float: ...
@overload
def noise_variance(snr_db: Tensor) -> Tensor: ...
def noise_variance(snr_db: float | Tensor) -> float | Tensor:
    """Noise variance N0 = 10^(-SNR/10) for symbols of unit mean power; keeps the input's type."""
    if isinstance(snr_db, Tensor):
        return torch.pow(10.0, -snr_db / 10.0)
    return 10.0 ** (-snr_db / 10.0)


def awgn(
    symbols: Tensor, snr_db: float | Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Add circular complex Gaussian noise CN(0, N0) to ``symbols``.

    Args:
        symbols: complex64, any shape, unit mean power.
        snr_db: Es/N0 in dB; a float, or a tensor that broadcasts to ``symbols`` (for example
            (B, 1) for one SNR per image). Differentiable in both.
        generator: source of the noise; torch's global one if None.

    Returns:
        Noisy symbols, same shape and dtype.
    """
    noise = _complex_normal(tuple(symbols.shape), generator, symbols.device)
    if isinstance(snr_db, Tensor):
        return symbols + noise * noise_variance(snr_db).sqrt()
    return symbols + noise * math.sqrt(noise_variance(snr_db))


def rayleigh_gains(
    length: int,
    block_length: int,
    generator: torch.Generator | None = None,
    batch: tuple[int, ...] = (),
) -> Tensor:
    """Block-fading gains CN(0, 1), constant over ``block_length`` symbols.

    Args:
        length: number of symbols n.
        block_length: symbols per fade; 0 means one gain for the whole frame.
        generator: source of the gains.
        batch: leading shape; every element fades independently.

    Returns:
        complex64 (*batch, n).
    """
    longest = max(length, 1)
    per_block = min(block_length, longest) if block_length > 0 else longest
    blocks = math.ceil(length / per_block)
    device = generator.device if generator is not None else None
    gains = _complex_normal((*batch, blocks), generator, device)
    return gains.repeat_interleave(per_block, dim=-1)[..., :length]


def mmse(symbols: Tensor, gains: Tensor, n0: float | Tensor) -> Tensor:
    """Linear MMSE estimate h* y / (|h|^2 + N0) of unit-power symbols; shapes broadcast."""
    return gains.conj() * symbols / (gains.abs().square() + n0)


DEFAULT_BLOCK_LENGTH = 64
"""Symbols per fade: the header, which no interleaver can help, spans five of them."""


@dataclass(frozen=True, eq=False, repr=False)
class Received:
    """What the receiver gets: symbols and channel state information, nothing else.

    Attributes:
        symbols: complex64 (n,), y = h x + noise.
        gains: complex64 (n,), h of every symbol (perfect CSI, or an estimate of it).
        noise_variance: N0, the variance of the complex noise.
    """

    symbols: Tensor
    gains: Tensor
    noise_variance: float

    def __repr__(self) -> str:
        """Length and mean SNR; the symbols themselves would fill screens."""
        if not self.symbols.numel():
            return "Received(0 symbols)"
        mean = 10 * math.log10(max(float(self.snr_linear().mean()), 1e-10))
        return f"Received({self.symbols.numel()} symbols, mean SNR {mean:.1f} dB)"

    def equalised(self) -> Tensor:
        """MMSE estimate of the sent symbols, complex64 (n,)."""
        return mmse(self.symbols, self.gains, self.noise_variance)

    def snr_linear(self) -> Tensor:
        """Per-symbol |h|^2/N0, float32 (n,)."""
        return self.gains.abs().square() / self.noise_variance

    def snr_db(self) -> Tensor:
        """Effective per-symbol SNR |h|^2/N0 in dB, float32 (n,)."""
        return 10.0 * torch.log10(self.snr_linear().clamp(min=1e-10))


class HasSymbols(Protocol):
    """Anything that carries a 1-D complex64 tensor of symbols, such as a frame."""

    @property
    def symbols(self) -> Tensor:
        """complex64 (n,)."""
        ...


@dataclass(frozen=True)
class Channel:
    """A channel with its parameters fixed; calling it again repeats the same noise.

    Attributes:
        name: a key of ``CHANNELS``.
        snr_db: mean Es/N0 in dB.
        block_length: symbols per fade (0: one fade per frame); without effect on AWGN.
        seed: seed of fades and noise.
        mobility: delay spread, speed and carrier frequency of channels with several paths; ``None``
            for the defaults.
    """

    name: str
    snr_db: float
    block_length: int = DEFAULT_BLOCK_LENGTH
    seed: int = 0
    mobility: "Mobility | None" = None

    def __call__(self, sent: Tensor | HasSymbols) -> Received:
        """Send complex64 symbols (n,), or the symbols of a frame."""
        symbols = sent if isinstance(sent, Tensor) else sent.symbols
        if symbols.dim() != 1 or not symbols.is_complex():
            raise InputError("a channel takes a one-dimensional tensor of complex symbols")
        symbols = symbols.detach().to("cpu", torch.complex64)
        generator = torch.Generator().manual_seed(int(self.seed))
        gains = self.gains(symbols.numel(), generator)
        received = awgn(gains * symbols, self.snr_db, generator)
        return Received(received, gains, noise_variance(self.snr_db))

    def gains(self, length: int, generator: torch.Generator) -> Tensor:
        """H of every symbol, complex64 (length,): by ``seed`` with mobility, else by generator."""
        model = CHANNELS[self.name]
        if self.mobility is None or model.paths is None:
            return model.gains(length, self.block_length, generator)
        from lrisc.link.multipath import FLAT, element_gains

        if model.paths in FLAT:
            return model.gains(length, self.block_length, generator)
        return torch.from_numpy(element_gains(model.paths, self.mobility, length, self.seed))


def channel(
    name: str,
    snr_db: float,
    *,
    block_length: int = DEFAULT_BLOCK_LENGTH,
    seed: int = 0,
    mobility: "Mobility | None" = None,
) -> Channel:
    """Make a channel by name.

    Example:
        >>> received = channel("awgn", snr_db=10)(torch.ones(64, dtype=torch.complex64))

    Raises:
        InputError: unknown name, SNR not finite or beyond +-100 dB, negative block length.
    """
    name = CHANNELS.key(name)
    check_snr(snr_db)
    check_seed(seed)
    if whole(block_length, "the block length") < 0:
        raise InputError(f"the block length must be 0 or more symbols, not {block_length}")
    return Channel(name, float(snr_db), block_length, seed, mobility)


def check_meets_ofdm(name: str, block_length: int | None) -> None:
    """Raise InputError unless an OFDM waveform can meet a channel, with such a block length."""
    if block_length is not None:
        raise InputError("a block length is for one sample a symbol; OFDM fades with --speed")
    model = CHANNELS[name]
    if model.fades and model.paths is None:
        raise InputError(f"the channel {name} has no paths that an OFDM waveform could meet")


def check_block_length(name: str, block_length: int | None) -> None:
    """Raise InputError where somebody chose how long the fades of a channel last that has none."""
    if block_length is not None and not CHANNELS[name].blocks:
        raise InputError(f"the fades of {name} have no block length")


def check_snr(snr_db: float) -> None:
    """Raise InputError unless ``snr_db`` is a usable number of decibels."""
    if abs(finite(snr_db, "the SNR")) > 100:
        raise InputError(f"the SNR must be a number of dB between -100 and 100, not {snr_db}")


def check_seed(seed: int) -> None:
    """Raise InputError unless ``seed`` is one that every generator takes."""
    if not 0 <= whole(seed, "the seed") < 1 << 63:
        raise InputError(f"the seed must lie between 0 and 2^63 - 1, not {seed}")


@dataclass(frozen=True)
class ChannelModel:
    """What anybody asks of a channel; the noise is the same for all of them.

    Attributes:
        gains: (symbols n, symbols per fade, generator) -> h of every symbol, complex64 (n,) with
            E[|h|^2] = 1, so that SNR keeps its meaning.
        about: what it is, in a few words, for help texts.
        fades: whether the SNR varies within a frame.
        capacity: SNR in dB -> bits per complex symbol that no code can exceed; ``None``: unknown.
        paths: name in :data:`lrisc.link.multipath.MODELS` of the channel that samples of a waveform
            go through; ``None``: they meet noise alone.
        blocks: whether a fade lasts a number of symbols that may be chosen.
    """

    gains: Callable[[int, int, torch.Generator], Tensor]
    about: str
    fades: bool = False
    capacity: Callable[[float], float] | None = None
    paths: str | None = None
    blocks: bool = True


def _awgn_gains(length: int, block_length: int, generator: torch.Generator) -> Tensor:
    return torch.ones(length, dtype=torch.complex64)


def _awgn_capacity(snr_db: float) -> float:
    return math.log2(1 + 10 ** (snr_db / 10))


def _rayleigh_capacity(snr_db: float) -> float:
    """Ergodic, the receiver knowing the fades: E[log2(1 + SNR·|h|^2)]."""
    # The power of the fades is exponential, which is Gauss-Laguerre's own weight.
    power, weight = np.polynomial.laguerre.laggauss(100)
    return float(np.sum(weight * np.log2(1 + 10 ** (snr_db / 10) * power)))


def rician_gains(length: int, block_length: int, generator: torch.Generator) -> Tensor:
    """Rician block fading: a constant path, and ``RICIAN_K_DB`` below it Rayleigh fading."""
    from lrisc.link.multipath import RICIAN_K_DB

    k = 10 ** (RICIAN_K_DB / 10)
    scattered = rayleigh_gains(length, block_length, generator)
    return (math.sqrt(k) + scattered) / math.sqrt(k + 1)


def _grid_gains(model: str) -> Callable[[int, int, torch.Generator], Tensor]:
    def gains(length: int, block_length: int, generator: torch.Generator) -> Tensor:
        """H of OFDM's elements in sending order, known exactly."""
        from lrisc.link.multipath import Mobility, element_gains

        seed = int(torch.randint(0, 1 << 62, (1,), generator=generator))
        return torch.from_numpy(element_gains(model, Mobility(), length, seed))

    return gains


def _selective_gains(length: int, block_length: int, generator: torch.Generator) -> Tensor:
    from lrisc.link.drawn_fades import selective_gains

    return selective_gains(length, block_length, generator)


def _registered() -> dict[str, ChannelModel]:
    found = {
        "awgn": ChannelModel(_awgn_gains, "white noise alone", capacity=_awgn_capacity),
        "rayleigh": ChannelModel(
            rayleigh_gains, "Rayleigh block fading", True, _rayleigh_capacity, "rayleigh"
        ),
        "rician": ChannelModel(
            rician_gains, "Rician block fading, K = 6 dB", fades=True, paths="rician"
        ),
    }
    found["selective"] = ChannelModel(
        _selective_gains,
        "frequency-selective fading as OFDM spreads it, from a table",
        True,
        blocks=False,
    )
    for kind, about in (("tdl", "tapped delay line"), ("cdl", "clustered delay line")):
        for letter in "abcde":
            name = f"{kind}-{letter}"
            title = f"3GPP {about} {letter.upper()}"
            found[name] = ChannelModel(
                _grid_gains(name), title, fades=True, paths=name, blocks=False
            )
    return found


CHANNELS = Registry("channel", _registered())
"""Channels by name; whatever is added here works everywhere, training included."""


def _complex_normal(
    shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device | None
) -> Tensor:
    """CN(0, 1): torch's complex normal has total variance 1, half per real dimension.

    Drawn where the generator lives, so one seed gives one noise on every device.
    """
    source = generator.device if generator is not None else device
    return torch.randn(shape, dtype=torch.complex64, generator=generator, device=source).to(device)
