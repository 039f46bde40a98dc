"""Source coding and channel coding apart: BPG with LDPC, and BPG at capacity."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lrisc.baselines.bpg import ldpc
from lrisc.baselines.bpg.capacity import capacity
from lrisc.baselines.bpg.codec import PictureCodec, Pixels, default_codec
from lrisc.baselines.bpg.fitting import FittedPicture
from lrisc.evaluation.schemes.base import SCHEMES, Condition, Delivery, Options, Picture, Scheme
from lrisc.link import fec
from lrisc.link.channels import CHANNELS
from lrisc.link.waveform.numerology import SYMBOLS

CODE_MARGIN_DB = 9.0
"""How much less than the mean SNR the code counts on over fading channels without a table.

Less than LRISC's rate map, which is lost more seldom: docs/manual/radio.md has the measurement."""


@SCHEMES.register("bpg-ldpc")
class BpgLdpc(Scheme):
    """BPG with 5G LDPC and QAM.

    Without a variant, the scheme with most bits per symbol that decodes at the SNR, which the
    transmitter knows; with one, such as ``bpg-ldpc:16qam-2/3``, always the same: it falls off the
    cliff below its threshold and gains nothing above.

    A lost codeword is a lost picture. Whether one is lost is drawn with the measured error rates;
    over a waveform, or a channel without a table, by sending the codewords. There the scheme is
    chosen for `CODE_MARGIN_DB` less where the channel fades.
    """

    def __init__(self, variant: str | None, options: Options) -> None:
        self.codec = default_codec()
        self.fixed = None if variant is None else ldpc.by_name(variant)

    @property
    def fingerprint(self) -> str:
        """Codec, tables and margin."""
        tables = _digest(ldpc.table_text())
        return f"{self.codec.name}, tables {tables}, margin {CODE_MARGIN_DB:g} dB"

    def send(self, picture: Picture, condition: Condition) -> Delivery:
        """The largest quality that fits, lost or not."""
        tabled = condition.waveform == SYMBOLS and condition.channel in ldpc.channels()
        mcs = self.fixed or (
            ldpc.best_scheme(condition.channel, condition.snr_db)
            if tabled
            else _scheme_with_margin(condition)
        )
        fitted = _fitted(picture, self.codec)
        budget = picture.budget(condition.cbr)
        quality = fitted.best(budget, lambda bits: ldpc.symbol_count(bits, mcs))
        coded = fitted.coded(quality)
        blocks = ldpc.block_count(8 * coded.size, mcs)
        symbols = ldpc.symbol_count(8 * coded.size, mcs)
        note = f"{ldpc.name_of(mcs)}, {coded.label}"
        if not tabled:
            lost = not ldpc.survives(8 * coded.size, mcs, condition.link(), condition.seed)
            if lost:
                return Delivery(None, symbols, f"{note}, a codeword is lost")
            return Delivery(_tensor(fitted.decoded(quality)), symbols, note)
        error_rate = ldpc.curve(mcs, condition.channel).at(condition.snr_db)
        drawn = np.random.default_rng(condition.seed).random()
        if drawn < 1 - (1 - error_rate) ** blocks:
            return Delivery(None, symbols, f"{note}, a codeword is lost")
        return Delivery(_tensor(fitted.decoded(quality)), symbols, note)


@SCHEMES.register("bpg-capacity")
class BpgCapacity(Scheme):
    """BPG with an ideal code: as many bits as the channel's capacity carries, none of them lost."""

    def __init__(self, variant: str | None, options: Options) -> None:
        super().__init__(variant, options)
        self.codec = default_codec()

    @property
    def fingerprint(self) -> str:
        """The codec."""
        return self.codec.name

    def send(self, picture: Picture, condition: Condition) -> Delivery:
        """The largest quality that fits."""
        bits_per_symbol = capacity(condition.channel, condition.snr_db)
        fitted = _fitted(picture, self.codec)
        budget = picture.budget(condition.cbr)
        quality = fitted.best(budget, lambda bits: math.ceil(bits / bits_per_symbol))
        coded = fitted.coded(quality)
        symbols = math.ceil(8 * coded.size / bits_per_symbol)
        note = f"{bits_per_symbol:.3f} bits per symbol, {coded.label}"
        return Delivery(_tensor(fitted.decoded(quality)), symbols, note)


def _scheme_with_margin(condition: Condition) -> fec.Mcs:
    """For AWGN at an SNR lower by the margin; where none is left, the most robust scheme."""
    margin = CODE_MARGIN_DB if CHANNELS[condition.channel].fades else 0.0
    try:
        return ldpc.best_scheme("awgn", condition.snr_db - margin)
    except ldpc.BelowAllSchemesError:
        return fec.MOST_ROBUST


@lru_cache(maxsize=1)
def _fitted(picture: Picture, codec: PictureCodec) -> FittedPicture:
    """A sweep goes picture by picture, so that all schemes and conditions share the encodes."""
    pixels = (picture.pixels * 255).round().to(torch.uint8).permute(1, 2, 0)
    return FittedPicture(codec, np.ascontiguousarray(pixels.numpy()))


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
