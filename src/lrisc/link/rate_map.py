"""Lossless coding of the rate map with a static, learned model and a range coder.

Each level is coded given its already coded neighbours (W left, N up, and so on):

            NN                 mean    weighted mean of the six, in quarter levels
        NW  N   NE      ──►    spread  their mean distance from that mean    ──►  row of a table
    WW  W   *                  (border positions are a spread class of their own)

The table holds integer frequencies, so that every machine computes the same code. Positions are
coded along wavefronts column + 2 row = const: all neighbours of a wavefront lie on earlier ones,
so the decoder handles a whole wavefront in one vectorised call.
"""

from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lrisc.errors import InputError, OutageError

Bits = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

# Frequencies of a context sum to 2^16: exact in float32, which is what constriction takes.
TOTAL = 1 << 16
# (row, column) offsets and weights of WW, W, NW, N, NE, NN. The weights sum to 16; chosen on
# photographs, between the gradient that suits smooth maps and the mean that suits noisy ones.
NEIGHBOURS = ((0, -2, 2), (0, -1, 6), (-1, -1, 0), (-1, 0, 5), (-1, 1, 2), (-2, 0, 1))
_WW, _W, _NW, _N, _NE, _NN = range(6)
# Means are told apart in steps of 1/4 level.
MEAN_STEPS = 4
# A spread class begins at each of these mean distances, here in 1/96 level so that they stay
# integers: 1/4, 1/2, 3/4, 1, 3/2 and 2 levels. Border positions are one more class.
SPREAD_STEPS = (24, 48, 72, 96, 144, 192)
SPREADS = len(SPREAD_STEPS) + 1
# Laplacian scale, in levels, assumed for each spread class before there is data, border last.
DEFAULT_SCALES = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.4, 1.5)
# How many samples the Laplacian of its spread class weighs in a fitted context.
PRIOR_WEIGHT = 12.0


class RateMapPrior:
    """p(level | context) as integers, with the range coder that uses it.

    Attributes:
        table: int32 (contexts, levels); every row is at least 1 and sums to 2^16. Row
            ``spread * (4 * levels - 3) + mean`` for ``spread`` in 0..SPREADS (the last for
            borders), and one more row for the very first position.

    Example:
        >>> prior = RateMapPrior.default(16)
        >>> levels = np.full((32, 48), 5)
        >>> bool((prior.decode(prior.encode(levels), 32, 48) == levels).all())
        True
    """

    def __init__(self, table: npt.ArrayLike) -> None:
        """Take a table as saved; raises InputError if it is not one."""
        array = np.asarray(table)
        if array.ndim != 2 or array.shape[0] != _contexts(array.shape[1]):
            raise InputError(f"a rate map table cannot have the shape {array.shape}")
        if array.min() < 1 or (array.sum(axis=1) != TOTAL).any():
            raise InputError("a rate map table must hold positive frequencies that sum to 2^16")
        self.table: npt.NDArray[np.int32] = array.astype(np.int32)
        self._probabilities = self.table.astype(np.float32)
        self._cost = 16.0 - np.log2(self.table.astype(np.float64))

    @property
    def levels(self) -> int:
        """Number of levels L; maps hold 0..L-1."""
        return self.table.shape[1]

    @classmethod
    def default(cls, levels: int) -> "RateMapPrior":
        """Untrained but sensible: a Laplacian around the neighbours' mean."""
        return cls(_frequencies(_laplacians(levels, np.array(DEFAULT_SCALES))))

    @classmethod
    def fit(cls, maps: list[npt.NDArray[Any]], levels: int) -> "RateMapPrior":
        """Learn the table from rate maps (h, w) of levels 0..levels-1, of any sizes.

        A spread class first gets its Laplacian; a context's own counts then outweigh it in
        proportion to how many there are, so rare contexts stay sensible.
        """
        counts = np.zeros((_contexts(levels), levels))
        for rate_map in maps:
            flat = _checked(rate_map, levels).reshape(-1)
            np.add.at(counts, (_context_of(flat, rate_map.shape, levels), flat), 1.0)
        classes = counts[:-1].reshape(SPREADS + 1, _means(levels), levels)
        distance = _distance(levels)
        # The maximum-likelihood scale is the mean distance; one sample of the default keeps it
        # positive where a class was never seen.
        seen = classes.sum(axis=(1, 2))
        deviation = (classes * distance).sum(axis=(1, 2))
        scales = (deviation + DEFAULT_SCALES) / (seen + 1.0)
        return cls(_frequencies(counts + PRIOR_WEIGHT * _laplacians(levels, scales)))

    def cost_bits(self, rate_map: npt.NDArray[Any]) -> float:
        """Ideal code length of a map (h, w) in bits; ``encode`` needs at most two more."""
        flat = _checked(rate_map, self.levels).reshape(-1)
        contexts = _context_of(flat, rate_map.shape, self.levels)
        return float(self._cost[contexts, flat].sum())

    def encode(self, rate_map: npt.NDArray[Any]) -> Bits:
        """Code a map (h, w) of integer levels; returns its bits as uint8 (n,) of 0 and 1, n > 0.

        The map of nothing but level 0 would need no bits; it gets one, so that there is always
        something for a CRC to protect.
        """
        flat = _checked(rate_map, self.levels).reshape(-1)
        order = _wavefronts(rate_map.shape[0], rate_map.shape[1])[0]
        contexts = _context_of(flat, rate_map.shape, self.levels)[order]
        probabilities = self._probabilities[contexts]
        message = flat[order].astype(np.int32)
        encoder = _stream().queue.RangeEncoder()
        encoder.encode(message, _categorical(), probabilities)
        words = encoder.get_compressed()

        # The coder ends on a whole 32-bit word. Any number inside its final interval decodes to
        # the same map, so send the one with the fewest bits; the decoder appends zeros.
        value = int.from_bytes(words.astype(">u4").tobytes(), "big")
        length = 32 * max(len(words), 1)

        def shortened(cut: int) -> int | None:
            for candidate in (value >> cut, (value >> cut) + 1):
                if candidate >> (length - cut):
                    continue
                decoder = _range_decoder(candidate << cut, length)
                try:
                    decoded = decoder.decode(_categorical(), probabilities)
                except AssertionError:
                    continue
                if np.array_equal(decoded, message):
                    return candidate
            return None

        # A number with c trailing zeros has c - 1 as well, so the largest cut is found by
        # bisection. The final interval is wider than 2^-64 of the last two words.
        low, high = 0, min(length - 1, 96)
        while low < high:
            middle = (low + high + 1) // 2
            if shortened(middle) is None:
                high = middle - 1
            else:
                low = middle
        best = shortened(low)
        assert best is not None  # cut 0 is the coder's own output
        return _to_bits(best, length - low)

    def decode(self, bits: Bits, height: int, width: int) -> npt.NDArray[np.int64]:
        """Decode a map (height, width), int64.

        Raises:
            OutageError: these bits are not the code of any map of this size. Most wrong bits of a
                likely length are the code of some other map; catching those is the CRC's task.
        """
        if not bits.size:
            raise OutageError("outage: the frame carries no rate map")
        length = -(-bits.size // 32) * 32
        value = int.from_bytes(np.packbits(bits).tobytes(), "big") << (
            length - -(-bits.size // 8) * 8
        )
        decoder = _range_decoder(value, length)
        order, neighbours, border, starts = _wavefronts(height, width)
        flat = np.zeros(height * width + 1, dtype=np.int64)
        try:
            for start, stop in pairwise(starts.tolist()):
                around = flat[neighbours[:, start:stop]]
                contexts = _classify(around, border[start:stop], self.levels)
                flat[order[start:stop]] = decoder.decode(
                    _categorical(), self._probabilities[contexts]
                )
        except AssertionError as error:
            raise OutageError("outage: the rate map does not decode") from error
        rate_map = flat[:-1].reshape(height, width)
        # A range decoder makes some map of any bits, even too many or too few; codes are unique.
        if not np.array_equal(self.encode(rate_map), bits):
            raise OutageError("outage: the rate map does not decode")
        return rate_map


def _means(levels: int) -> int:
    return MEAN_STEPS * (levels - 1) + 1


def _contexts(levels: int) -> int:
    return (SPREADS + 1) * _means(levels) + 1


def _checked(rate_map: npt.NDArray[Any], levels: int) -> IntArray:
    if rate_map.ndim != 2 or rate_map.size == 0:
        raise InputError(f"a rate map is a non-empty (h, w) array, not {rate_map.shape}")
    if rate_map.min() < 0 or rate_map.max() >= levels:
        raise InputError(f"a rate map holds level indices 0 to {levels - 1}")
    return rate_map.astype(np.int64)


def _classify(around: IntArray, border: IntArray, levels: int) -> IntArray:
    """Contexts (n,) from neighbour values (6, n) and border class (n,): 0 none, 1 edge, 2 first."""
    weights = np.array([weight for _, _, weight in NEIGHBOURS])
    mean = weights @ around
    spread = np.abs(16 * around - mean).sum(axis=0)
    classes = np.searchsorted(np.array(SPREAD_STEPS), spread, side="right")
    classes = np.where(border == 1, SPREADS, classes)
    return np.where(border == 2, _contexts(levels) - 1, classes * _means(levels) + (mean + 2) // 4)


def _context_of(flat: IntArray, shape: tuple[int, ...], levels: int) -> IntArray:
    """Context of every position of a known map, in raster order."""
    order, neighbours, border, _ = _wavefronts(shape[0], shape[1])
    contexts = np.empty(flat.size, dtype=np.int64)
    contexts[order] = _classify(np.append(flat, 0)[neighbours], border, levels)
    return contexts


@lru_cache(maxsize=8)
def _wavefronts(height: int, width: int) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Coding order, and what is needed along it, for maps of one size.

    Returns:
        raster index of each coded position (n,); raster index of its six neighbours (6, n), where
        a neighbour outside the map is replaced by the nearest one inside; border class (n,);
        start of each wavefront in this order, and the end (fronts + 1,).
    """
    row, column = (axis.reshape(-1) for axis in np.indices((height, width)))
    front = column + 2 * row
    order = np.argsort(front, kind="stable")
    row, column, front = row[order], column[order], front[order]

    def index(down: int, right: int) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        r, c = row + down, column + right
        inside = (r >= 0) & (c >= 0) & (c < width)
        return np.where(inside, r * width + c, 0), inside

    found = [index(down, right) for down, right, _ in NEIGHBOURS]
    # Position 0 has no neighbour at all; its border class makes their values irrelevant.
    west = np.where(found[_W][1], found[_W][0], np.where(found[_N][1], found[_N][0], 0))
    north = np.where(found[_N][1], found[_N][0], west)
    fallback = {_WW: west, _W: west, _NW: north, _N: north, _NE: north, _NN: north}
    neighbours = np.stack([np.where(ok, at, fallback[i]) for i, (at, ok) in enumerate(found)])
    border = np.where((row == 0) | (column == 0), 1, 0)
    border[0] = 2
    starts = np.searchsorted(front, np.unique(front))
    return order, neighbours, border, np.append(starts, order.size)


def _distance(levels: int) -> npt.NDArray[np.float64]:
    """Distance of every level from every mean class, (means, levels)."""
    return np.abs(np.arange(levels) - np.arange(_means(levels))[:, None] / MEAN_STEPS)


def _laplacians(levels: int, scales: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Normalised float64 (contexts, levels): Laplacians around each context's mean; first flat."""
    density = np.exp(-_distance(levels) / np.maximum(scales, 0.05)[:, None, None])
    density = density.reshape(-1, levels)
    density = np.concatenate([density, np.ones((1, levels))])
    return density / density.sum(axis=1, keepdims=True)


def _frequencies(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Round each row to integers of at least 1 that sum to 2^16; the largest takes the rest."""
    share = weights / weights.sum(axis=1, keepdims=True)
    table = 1 + np.floor(share * (TOTAL - weights.shape[1])).astype(np.int64)
    rows = np.arange(table.shape[0])
    table[rows, table.argmax(axis=1)] += TOTAL - table.sum(axis=1)
    return table


@lru_cache(maxsize=1)
def _stream() -> Any:
    # Imported on first use: training fits tables where the package may not be installed. It is
    # compiled and has no type stubs, so it is taken as Any.
    return import_module("constriction").stream


@lru_cache(maxsize=1)
def _categorical() -> Any:
    # perfect=False is the fast, documented rounding; encoder and decoder must agree on it.
    return _stream().model.Categorical(perfect=False)


def _range_decoder(value: int, length: int) -> Any:
    """Range decoder over a big-endian bit string, followed by zeros."""
    words = np.frombuffer(value.to_bytes(length // 8, "big") + bytes(8), dtype=">u4")
    return _stream().queue.RangeDecoder(words.astype(np.uint32))


def _to_bits(value: int, length: int) -> Bits:
    """The lowest ``length`` bits of a number, most significant first."""
    padded = -(-length // 8) * 8
    data = np.frombuffer((value << (padded - length)).to_bytes(padded // 8, "big"), dtype=np.uint8)
    return np.unpackbits(data)[:length]
