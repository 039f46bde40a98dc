"""Slots and packed symbols: an embedding's places for symbols, and the symbols that are sent.

f_e gives every embedding max(V) slots; the rate map says how many of them are sent. What follows
from that, each by one rule for training and for the product:

- which symbols go over the air, in which order (:func:`pack`, :func:`unpack`);
- at which power, p_i (:func:`amplitudes`);
- which SNR_i the decoder is told (:func:`effective_snr_db`, :func:`slot_snr_db`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lrisc.errors import InputError

DECODER_SNR_DB = (-10.0, 25.0)
"""The range of SNR_i that f_d is told; fading spreads it further, there is nothing to gain."""


def pack(slots: Tensor, sent: Tensor) -> Tensor:
    """The symbols that are sent, embedding by embedding.

    Args:
        slots: real and imaginary parts, (..., n, max(V), 2).
        sent: which slots are sent, (..., n, max(V)) bool.

    Returns:
        complex64 (Σ k_i,).
    """
    return torch.view_as_complex(slots[sent].float().contiguous())


def unpack(symbols: Tensor, sent: Tensor) -> Tensor:
    """Packed symbols in their slots, zero where none is sent.

    Args:
        symbols: complex64 (Σ k_i,).
        sent: as for :func:`pack`.

    Returns:
        float32 (..., n, max(V), 2).
    """
    slots = torch.zeros(*sent.shape, 2, device=symbols.device)
    slots[sent] = torch.view_as_real(symbols)
    return slots


def embedding_power(counts: Tensor) -> Tensor:
    """Power of each embedding's symbols where it follows the rate map, p_i = k_i · Σk / Σk².

    An embedding that gets twice the symbols then gets them at twice the power. The mean over all
    symbols stays 1, and a receiver that has the rate map knows every p_i.

    Args:
        counts: k_i, complex symbols per embedding, (..., n).

    Returns:
        p_i, float32 (..., n); 0 where nothing is sent.
    """
    counts = counts.float()
    total = counts.sum(-1, keepdim=True)
    return counts * total / counts.square().sum(-1, keepdim=True).clamp(min=1.0)


def amplitudes(counts: Tensor, uneven: Tensor) -> Tensor:
    """What the symbols of an embedding are multiplied by, √p_i, or 1 at equal power.

    Args:
        counts: k_i, (B, n).
        uneven: pictures whose power follows their rate map, (B,) bool.

    Returns:
        float32 (B, n).
    """
    root = embedding_power(counts).sqrt()
    return torch.where(uneven[:, None], root, torch.ones_like(root))


def effective_snr_db(snr_linear: Tensor, counts: Tensor) -> Tensor:
    """SNR_i of the embeddings of one frame: the mean linear SNR over their own symbols, in dB.

    Args:
        snr_linear: p_i·|h|^2/N0 of the packed payload, (Σ k_i,).
        counts: k_i, integer (n,).

    Returns:
        float32 (n,) within :data:`DECODER_SNR_DB`. An embedding without symbols gets the mean over
        the frame; a frame without payload has no SNR to speak of and gets 0 dB throughout.

    Raises:
        InputError: the counts do not add up to the number of symbols.
    """
    counts = counts.to(torch.int64)
    if int(counts.sum()) != snr_linear.numel():
        raise InputError("the rate map and the number of payload symbols disagree")
    owner = torch.repeat_interleave(torch.arange(counts.numel(), device=counts.device), counts)
    sums = torch.zeros(counts.numel(), dtype=torch.float64, device=snr_linear.device)
    return _snr_db(sums.index_add(0, owner, snr_linear.to(torch.float64)), counts)


def slot_snr_db(snr_linear: Tensor, sent: Tensor) -> Tensor:
    """:func:`effective_snr_db` of a batch in slots.

    Args:
        snr_linear: p_i·|h|^2/N0 of every slot, (B, n, max(V)).
        sent: as for :func:`pack`.

    Returns:
        float32 (B, n).
    """
    return _snr_db((snr_linear.double() * sent).sum(-1), sent.sum(-1))


def _snr_db(sums: Tensor, counts: Tensor) -> Tensor:
    """The rule itself: sums of linear SNR, float64 (..., n), and k_i, (..., n)."""
    total = counts.sum(-1, keepdim=True)
    frame = sums.sum(-1, keepdim=True) / total.clamp(min=1)
    means = torch.where(counts > 0, sums / counts.clamp(min=1), frame)
    means = torch.where(total > 0, means, 1.0)
    # A fade can be exactly zero in float32.
    decibels = 10.0 * torch.log10(means.clamp(min=1e-10))
    return decibels.clamp(*DECODER_SNR_DB).to(torch.float32)
