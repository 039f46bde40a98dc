"""The rate rule and the search that meets a budget exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from lrisc.errors import InputError
from lrisc.link.budget import SymbolCounts
from lrisc.link.fec import Mcs, mcs_for, symbol_count
from lrisc.link.header import HEADER_SYMBOLS, PILOT_SYMBOLS
from lrisc.models.config import RateRule

if TYPE_CHECKING:
    from lrisc.link.rate_map import RateMapPrior


def quantise_rate(rate: Tensor, rate_values: tuple[int, ...]) -> Tensor:
    """Q of Eq. 3: to the nearest whole symbol, then up to the next value in V.

    Args:
        rate: beta · bits_i, symbols wanted per embedding, any shape.
        rate_values: V, rising, first 0.

    Returns:
        Index into V, int64, same shape; rates above max(V) get max(V).
    """
    values = torch.tensor(rate_values, dtype=torch.float32, device=rate.device)
    return torch.bucketize(rate.float() - 0.5, values).clamp(max=len(rate_values) - 1)


def shape_bits(bits: Tensor, rule: RateRule) -> Tensor:
    """What the rate rule makes proportional to symbols: the bits themselves, or less than them.

    Args:
        bits: -log2 p(z_i | y), (B, h, w).
        rule: ``paper``: the bits, Eq. 3 as published; ``smooth``: their geometric mean over 3×3
            embeddings, a map that is cheaper to send; ``uniform``: one rate for all.

    Returns:
        (B, h, w).
    """
    if rule == "paper":
        return bits
    if rule == "uniform":
        return torch.ones_like(bits)
    logs = F.pad(bits.clamp(min=1e-3).log()[:, None], (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(logs, 3, stride=1).exp()[:, 0]


def rate_scale_for(
    bits: Tensor, symbols: Tensor, rate_values: tuple[int, ...], iterations: int = 14
) -> Tensor:
    """Largest beta whose rate map stays within a payload budget, by bisection, per picture.

    Args:
        bits: -log2 p(z_i | y), (B, n).
        symbols: payload budget in complex symbols, (B,).
        rate_values: V.
        iterations: halvings of log2(beta) in [-12, 4].

    Returns:
        beta, (B, 1).
    """
    values = torch.tensor(rate_values, dtype=torch.float32, device=bits.device)
    low = torch.full_like(bits[:, :1], -12.0)
    high = torch.full_like(bits[:, :1], 4.0)
    for _ in range(iterations):
        middle = (low + high) / 2
        spent = values[quantise_rate(bits * middle.exp2(), rate_values)].sum(1, keepdim=True)
        fits = spent <= symbols[:, None]
        low = torch.where(fits, middle, low)
        high = torch.where(fits, high, middle)
    return low.exp2()


@dataclass(frozen=True)
class RateDecision:
    """What the transmitter decided for one picture.

    Attributes:
        levels: index into V per embedding, (h, w) int64.
        rate_scale: beta.
        side_info_bits: the coded rate map, uint8 of 0 and 1.
        mcs: scheme of the side information.
        payload_symbols: sum of k_i.
    """

    levels: npt.NDArray[np.int64]
    rate_scale: float
    side_info_bits: npt.NDArray[np.uint8]
    mcs: Mcs
    payload_symbols: int

    @property
    def counts(self) -> SymbolCounts:
        """What the symbols of the frame are for."""
        side_info = symbol_count(self.side_info_bits.size, self.mcs)
        return SymbolCounts(PILOT_SYMBOLS, HEADER_SYMBOLS, side_info, self.payload_symbols)

    @property
    def frame_symbols(self) -> int:
        """Everything that goes over the air."""
        return self.counts.total


class RateController:
    """Spends a symbol budget on everything sent: pilots, header, rate map and payload.

    Bisection on log2(beta) finds the last rate map that fits. Between it and the first that does
    not, embeddings are raised one at a time, the next in the order of the rate rule first, and
    then, for what is left, those whose step fits best. The budget is a ceiling. Of pictures of
    256×256 pixels and more at most 1 % of it is left; of smaller ones at low SNR 4 %, where the
    next larger map takes a longer code.

    Args:
        prior: entropy model of the rate map.
        rate_values: V.
        side_info_snr_db: SNR that the side information must survive.
    """

    TOLERANCE = 0.005
    """Share of the budget that may stay unspent before single embeddings are raised."""

    def __init__(
        self, prior: RateMapPrior, rate_values: tuple[int, ...], side_info_snr_db: float
    ) -> None:
        self.prior = prior
        self.values = np.array(rate_values, dtype=np.int64)
        self.snr_db = side_info_snr_db

    def decide(self, bits: npt.NDArray[np.float64], budget: int) -> RateDecision:
        """The best rate map within a budget.

        Args:
            bits: -log2 p(z_i | y), (h, w), at least 0.
            budget: complex symbols for the whole frame.

        Raises:
            BudgetError: even the smallest useful frame is larger, or the largest much smaller.
        """
        low, high = -14.0, 8.0
        best = self._code(self._levels(bits, low), low)
        if best.frame_symbols > budget or best.payload_symbols == 0:
            best = self._smallest(bits)
            if best.frame_symbols > budget:
                raise BudgetError(best.frame_symbols, "smallest")
        for _ in range(18):
            middle = (low + high) / 2
            levels = self._levels(bits, middle)
            if self._estimate(levels) <= budget:
                low = middle
            else:
                high = middle
        # The estimate may err by a few symbols: step back until the real code fits.
        for back in (0.0, 0.002, 0.01, 0.05, 0.2, 1.0):
            fitting = self._code(self._levels(bits, low - back), low - back)
            if fitting.frame_symbols <= budget and fitting.payload_symbols > 0:
                best = fitting
                break
        best = self._fill(best, bits, budget)
        if (best.levels == len(self.values) - 1).all() and best.frame_symbols < 0.99 * budget:
            raise BudgetError(best.frame_symbols, "largest")
        return best

    def at_scale(self, bits: npt.NDArray[np.float64], rate_scale: float) -> RateDecision:
        """The rate map of Eq. 3 at a fixed beta, whatever it takes.

        Args:
            bits: -log2 p(z_i | y), (h, w), at least 0.
            rate_scale: beta, symbols per bit.
        """
        log2_scale = math.log2(rate_scale)
        decision = self._code(self._levels(bits, log2_scale), log2_scale)
        return decision if decision.payload_symbols else self._smallest(bits)

    def _levels(self, bits: npt.NDArray[np.float64], log2_scale: float) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.values, bits * 2.0**log2_scale - 0.5).clip(
            max=len(self.values) - 1
        )

    def _code(self, levels: npt.NDArray[np.int64], log2_scale: float) -> RateDecision:
        side_info_bits = self.prior.encode(levels)
        return RateDecision(
            levels=levels,
            rate_scale=2.0**log2_scale,
            side_info_bits=side_info_bits,
            mcs=mcs_for(self.snr_db, side_info_bits.size),
            payload_symbols=int(self.values[levels].sum()),
        )

    def _estimate(self, levels: npt.NDArray[np.int64]) -> int:
        """Symbols of a frame, from the ideal code length of its map."""
        side_info_bits = math.ceil(self.prior.cost_bits(levels)) + 2
        side_info = symbol_count(side_info_bits, mcs_for(self.snr_db, side_info_bits))
        payload = int(self.values[levels].sum())
        return SymbolCounts(PILOT_SYMBOLS, HEADER_SYMBOLS, side_info, payload).total

    def _smallest(self, bits: npt.NDArray[np.float64]) -> RateDecision:
        """The frame with the lowest first value for the embedding that matters most."""
        levels = np.zeros(bits.shape, dtype=np.int64)
        levels.flat[int(bits.argmax())] = 1
        return self._code(levels, -12.0)

    def _fill(
        self, decision: RateDecision, bits: npt.NDArray[np.float64], budget: int
    ) -> RateDecision:
        """Raise embeddings until less than the tolerance is left.

        A raised embedding also costs rate map bits, which nothing but coding tells, and a longer
        rate map may move to another MCS: hence trial, with ever smaller shares of what is left.
        """
        log2_scale = math.log2(decision.rate_scale)
        for raise_levels in (self._raise_many, self._raise_one):
            for share in (1.0, 0.85, 0.7, 0.5, 0.35, 0.2, 0.1, 0.05):
                for _ in range(4):
                    gap = budget - decision.frame_symbols
                    if gap <= self.TOLERANCE * budget:
                        return decision
                    raised = raise_levels(decision.levels, bits, int(gap * share))
                    candidate = self._code(raised, log2_scale)
                    if not decision.frame_symbols < candidate.frame_symbols <= budget:
                        break
                    decision = candidate
        return decision

    def _raise_many(
        self, levels: npt.NDArray[np.int64], bits: npt.NDArray[np.float64], gap: int
    ) -> npt.NDArray[np.int64]:
        """Raise embeddings by one level, at most ``gap`` symbols in total.

        First come those that a larger beta would raise first.
        """
        flat = levels.reshape(-1).copy()
        up = np.minimum(flat + 1, len(self.values) - 1)
        cost = self.values[up] - self.values[flat]
        beta = (self.values[flat] + 0.5) / np.maximum(bits.reshape(-1), 1e-3)
        for i in np.argsort(beta, kind="stable").tolist():
            if 0 < cost[i] <= gap:
                flat[i] = up[i]
                gap -= int(cost[i])
            if gap < 1:
                break
        return flat.reshape(levels.shape)

    def _raise_one(
        self, levels: npt.NDArray[np.int64], bits: npt.NDArray[np.float64], gap: int
    ) -> npt.NDArray[np.int64]:
        """Raise one embedding by as many levels as ``gap`` symbols allow, for few map bits."""
        flat = levels.reshape(-1).copy()
        highest = np.searchsorted(self.values, self.values[flat] + gap, side="right") - 1
        gain = self.values[highest] - self.values[flat]
        best = int(np.lexsort((bits.reshape(-1), gain))[-1])
        flat[best] = highest[best]
        return flat.reshape(levels.shape)


class BudgetError(InputError):
    """A budget no frame fits.

    Attributes:
        symbols: size of the frame that comes nearest.
        which: whether that is the ``smallest`` or the ``largest`` there is.
    """

    def __init__(self, symbols: int, which: Literal["smallest", "largest"]) -> None:
        super().__init__(f"no frame fits the budget: the {which} takes {symbols} symbols")
        self.symbols = symbols
        self.which = which
