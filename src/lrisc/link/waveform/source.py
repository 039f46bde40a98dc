"""Where a receiver's samples come from: anything that can be read from any place, in parts."""

from typing import Protocol

import numpy as np

from lrisc.link.waveform.sequences import ComplexArray


class SampleSource(Protocol):
    """Samples of a recording, read in parts, so that its length does not matter.

    Attributes:
        size: samples there are.
    """

    @property
    def size(self) -> int:
        """Samples there are."""
        ...

    def read(self, start: int, count: int) -> ComplexArray:
        """complex64 (count,) from sample ``start`` on; what lies outside the recording is 0.

        All samples are finite.
        """
        ...


class ArraySource:
    """Samples that are in memory already."""

    def __init__(self, samples: ComplexArray) -> None:
        """Take complex64 (n,)."""
        self.samples = np.ascontiguousarray(samples, np.complex64)

    @property
    def size(self) -> int:
        """Samples there are."""
        return self.samples.size

    def read(self, start: int, count: int) -> ComplexArray:
        """See :class:`SampleSource`."""
        return padded(self.samples, start, count)


def padded(samples: ComplexArray, start: int, count: int) -> ComplexArray:
    """``samples[start : start + count]`` with zeros for what lies outside."""
    low, high = max(start, 0), min(max(start + count, 0), samples.size)
    part = samples[low:high]
    if part.size == count:
        return part
    out = np.zeros(count, np.complex64)
    if high > low:
        out[low - start : high - start] = part
    return out
