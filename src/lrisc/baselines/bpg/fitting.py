"""The best quality of a picture that fits a budget."""

from __future__ import annotations

import math
from collections.abc import Callable

from lrisc.baselines.bpg.codec import CodedPicture, PictureCodec, Pixels
from lrisc.errors import InputError

# Coded first for every picture, as shares of the ladder: the search starts between them.
_ANCHORS = (0.3, 0.65)
_FULL = 0.985


class FittedPicture:
    """One picture, coded at the qualities that were asked for so far.

    Args:
        codec: makes the bits.
        pixels: uint8 (H, W, 3).
    """

    def __init__(self, codec: PictureCodec, pixels: Pixels) -> None:
        self.codec = codec
        self.pixels = pixels
        self._coded: dict[int, CodedPicture] = {}
        self._decoded: dict[int, Pixels] = {}

    def coded(self, quality: int) -> CodedPicture:
        """The picture at one quality."""
        if quality not in self._coded:
            self._coded[quality] = self.codec.encode(self.pixels, quality)
        return self._coded[quality]

    def decoded(self, quality: int) -> Pixels:
        """What a receiver of all bits sees, uint8 (H, W, 3)."""
        if quality not in self._decoded:
            self._decoded[quality] = self.codec.decode(self.coded(quality))
        return self._decoded[quality]

    def best(self, budget: int, cost: Callable[[int], int]) -> int:
        """The largest quality whose cost stays within the budget.

        Bytes grow nearly geometrically along the ladder, so that a secant on their logarithm needs
        three or four codings. What was coded before makes this faster and changes no result.

        Args:
            budget: symbols.
            cost: symbols that so many bits take.

        Raises:
            InputError: not even the smallest quality fits.
        """
        symbols = {-1: 0.0, self.codec.qualities: math.inf}

        def spent(quality: int) -> float:
            symbols[quality] = cost(8 * self.coded(quality).size)
            return symbols[quality]

        low, high = -1, self.codec.qualities
        for share in _ANCHORS:
            anchor = round(share * self.codec.qualities)
            if spent(anchor) <= budget:
                low = anchor
            else:
                high = anchor
                break
        while high - low > 1:
            guess = self._guess(symbols, low, high, budget)
            if spent(guess) <= budget:
                low = guess
                # The next quality would be more by about twice what is left.
                if symbols[guess] >= _FULL * budget:
                    break
            else:
                high = guess
        if low < 0:
            raise InputError(
                f"the picture takes at least {int(symbols[0])} symbols, the budget is {budget}"
            )
        return low

    @staticmethod
    def _guess(symbols: dict[int, float], low: int, high: int, budget: int) -> int:
        """Between ``low`` and ``high``, where the logarithm of the symbols says."""
        known = sorted(q for q, s in symbols.items() if 0 < s < math.inf)
        left = max((q for q in known if q <= low), default=known[0])
        right = min((q for q in known if q >= high), default=known[-1])
        if left >= right:  # both on one side of the budget
            left, right = known[0], known[-1]
        if left >= right:
            return (low + high) // 2
        slope = math.log(symbols[right] / symbols[left]) / (right - left)
        if slope <= 0:
            return (low + high) // 2
        guess = left + math.floor(math.log(budget / symbols[left]) / slope)
        return min(max(guess, low + 1), high - 1)
