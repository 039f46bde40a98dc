"""Random numbers as a pure function of where they are used.

Every number a step draws is a hash of (seed, step, sample, stream, position). So a resumed run
replays the noise of the run that was killed without any saved generator, and the union of the
samples of several processes is the batch of one process, whatever the device.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """The low 32 bits as the int32 that has them."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


_MULTIPLIERS = (_signed(0x7FEB352D), _signed(0x846CA68B))


def _mix(x: Tensor) -> Tensor:
    """Hash int32 to int32, in place: Wellons' ``lowbias32``, a bijection with avalanche."""
    for shift, multiplier in zip((16, 15), _MULTIPLIERS, strict=True):
        # The shift of a signed integer repeats the sign; the mask makes it a logical one.
        x.bitwise_xor_((x >> shift).bitwise_and_((1 << (32 - shift)) - 1)).mul_(multiplier)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))


class Draws:
    """The random numbers of some samples of one step.

    Args:
        seed: of the run.
        step: counted from 0.
        samples: indices of the samples within the step's joint batch.
        device: where the numbers are computed; the integers behind them are the same everywhere.

    Example:
        >>> both = Draws(0, step=7, samples=range(4)).normal("noise", (3, 8, 8))
        >>> last = Draws(0, step=7, samples=range(2, 4)).normal("noise", (3, 8, 8))
        >>> bool((both[2:] == last).all())
        True
    """

    def __init__(
        self, seed: int, step: int, samples: range, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        keys = torch.arange(samples.start, samples.stop, dtype=torch.int32, device=self.device)
        for number in (step, seed):
            keys = _mix(_mix(keys).add_(_signed(number)))
        self._keys = keys

    def __len__(self) -> int:
        """Number of samples."""
        return self._keys.shape[0]

    def subset(self, chosen: Tensor) -> Draws:
        """The same random numbers for some of the samples, chosen (B,) bool."""
        part = Draws.__new__(Draws)
        part.device, part._keys = self.device, self._keys[chosen]
        return part

    def _integers(self, stream: str, count: int) -> Tensor:
        first = _mix(self._keys ^ _signed(zlib.crc32(stream.encode())))
        # A constant beyond every position: otherwise one position would hash to a known value.
        second = _mix(first ^ _signed(0x9E3779B9))
        x = torch.arange(count, dtype=torch.int32, device=self.device)
        x = _mix(x[None, :] ^ first[:, None])
        return _mix(x.bitwise_xor_(second[:, None]))

    def seeds(self, stream: str) -> list[int]:
        """A seed in [0, 2^31) for each sample, for generators of torch."""
        return (self._integers(stream, 1)[:, 0] & 0x7FFFFFFF).tolist()

    def uniform(self, stream: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform in [0, 1), float32 (B, *shape), a multiple of 2^-24.

        Args:
            stream: what the numbers are for; another name gives other numbers.
            shape: per sample.
        """
        x = self._integers(stream, math.prod(shape))
        return (x >> 8).bitwise_and_(0xFFFFFF).float().mul_(2**-24).view(len(self), *shape)

    def normal(self, stream: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal, float32 (B, *shape), by Box and Muller."""
        count = math.prod(shape)
        u, v = self.uniform(stream, (2, (count + 1) // 2)).unbind(1)
        radius = (1 - u).log_().mul_(-2).sqrt_()
        angle = v.mul_(2 * math.pi)
        x = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return x[:, :count].reshape(len(self), *shape)

    def between(self, stream: str, low: float, high: float) -> Tensor:
        """One uniform number in [low, high) per sample, (B,)."""
        return low + (high - low) * self.uniform(stream)

    def chance(self, stream: str, probability: float) -> Tensor:
        """True with a probability, one per sample, (B,) bool."""
        return self.uniform(stream) < probability
