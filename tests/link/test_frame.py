"""The frame: header, power, accounting, and what a receiver makes of a bad one."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lrisc.errors import InputError, OutageError
from lrisc.link import fec, frame
from lrisc.link.channels import Received, channel
from lrisc.link.frame import Frame, Header, build_frame, parse_body, parse_header

OVERHEAD = frame.PILOT_SYMBOLS + frame.HEADER_SYMBOLS


def make(
    payload_symbols: int = 3000, side_info_bits: int = 500, mcs: int = 5, seed: int = 0
) -> tuple[Header, fec.Bits, torch.Tensor]:
    header = Header(512, 768, 0xBEEF, side_info_bits, payload_symbols, 99, mcs)
    bits = np.random.default_rng(seed).integers(0, 2, side_info_bits).astype(np.uint8)
    generator = torch.Generator().manual_seed(seed)
    payload = 3 * torch.randn(payload_symbols, dtype=torch.complex64, generator=generator)
    return header, bits, payload


def clean(symbols: torch.Tensor) -> Received:
    return Received(symbols, torch.ones_like(symbols), 1e-3)


def send(header: Header, seed: int = 0) -> Received:
    """A frame with whatever header, valid or not."""
    _, bits, payload = make(header.payload_symbols, header.side_info_bits, 0, seed)
    symbols = torch.cat([frame.preamble(header), torch.zeros(len(bits) + len(payload))])
    return clean(symbols)


def test_every_symbol_is_where_the_first_release_with_this_version_put_it() -> None:
    """Header, code, interleaver and power; the digest was made before there was effort."""
    assert frame.VERSION == 2
    header = Header(512, 768, 0xBEEF, 500, 3000, 99, 5)
    bits = (np.arange(500) * 7 // 3 % 2).astype(np.uint8)
    payload = torch.tensor([1, 1j, -1, -1j], dtype=torch.complex64).repeat(750)
    symbols = torch.view_as_real(build_frame(header, bits, payload))
    found = hashlib.sha256((symbols * 100).round().short().numpy().tobytes()).hexdigest()
    assert found == "d725b8f4310ad7fe7bf82becb69cf3c9a2df8b97e23a530b754c313174f86e56"


def test_header_round_trip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(n) for n in rng.integers(1, 4097, 2))
        patches = math.ceil(height / 64) * math.ceil(width / 64) * 16
        header = Header(
            height,
            width,
            int(rng.integers(1 << 16)),
            int(rng.integers(0, 8 * patches + 1)),
            int(rng.integers(0, min(256 * patches, (1 << 24) - 1) + 1)),
            int(rng.integers(128)),
            int(rng.integers(len(fec.MCS_TABLE))),
            int(rng.integers(2)),
        )
        bits = header.pack()
        assert bits.shape == (frame.HEADER_BITS,)
        assert Header.unpack(bits) == header


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 4097},
        {"checkpoint_id": 1 << 16},
        {"payload_symbols": -1},
        {"side_info_bits": 1 << 20},
    ],
)
def test_header_refuses_what_it_cannot_carry(change: dict[str, int]) -> None:
    with pytest.raises(InputError):
        replace(make()[0], **change).pack()


def test_a_header_with_a_scheme_that_is_not_there_is_refused() -> None:
    """What an older receiver says to a frame with a scheme that came after it."""
    unknown = len(fec.MCS_TABLE)
    header = make()[0]
    with pytest.raises(InputError, match="no possible picture"):
        replace(header, mcs_index=unknown).pack()
    bits = header.pack()
    bits[-4:] = [unknown >> i & 1 for i in (3, 2, 1, 0)]
    with pytest.raises(InputError, match=r"^[^\n]*no possible picture$"):
        Header.unpack(bits)


def test_rate_scale_index() -> None:
    assert frame.rate_scale_to_index(2.0**-12) == 0
    assert frame.rate_scale_to_index(16.0) == 127
    for index in range(128):
        assert frame.rate_scale_to_index(2 ** (-12 + 16 * index / 127)) == index
    with pytest.raises(InputError):
        frame.rate_scale_to_index(0.0)


@pytest.mark.parametrize(
    ("payload_symbols", "side_info_bits", "mcs"),
    [(3000, 500, 5), (1, 40, 8), (2, 200, 7), (24000, 3500, 5), (100, 1, 0), (7, 40, 2)],
)
def test_frame_power_and_round_trip(payload_symbols: int, side_info_bits: int, mcs: int) -> None:
    header, bits, payload = make(payload_symbols, side_info_bits, mcs)
    symbols = build_frame(header, bits, payload)
    assert symbols.dtype == torch.complex64
    assert symbols.numel() == header.frame_symbols
    assert float(symbols.abs().double().square().mean()) == pytest.approx(1.0, abs=1e-6)
    received = channel("awgn", 45)(symbols)
    assert parse_header(received) == header
    got, body = parse_body(received, header)
    estimate, snr = body.equalised(), body.snr_linear()
    assert np.array_equal(got, bits)
    assert estimate.shape == snr.shape == (payload_symbols,)
    unit = payload / payload.abs().square().mean().sqrt()
    assert float((estimate - unit).abs().square().mean()) < 2e-4
    assert float(10 * torch.log10(snr.mean())) == pytest.approx(45, abs=0.5)


@pytest.mark.parametrize("lengths", [(0, 40), (100, 0), (0, 0)])
def test_a_frame_with_nothing_in_it_is_an_outage(lengths: tuple[int, int]) -> None:
    """Its header may be valid, but nothing else in it is protected by a CRC."""
    header, bits, payload = make(*lengths, mcs=0)
    with pytest.raises(InputError, match="at least one bit"):
        build_frame(header, bits, payload)
    symbols = torch.cat([frame.preamble(header), torch.ones(header.counts.body)])
    assert parse_header(clean(symbols)) == header
    with pytest.raises(OutageError, match="carries no"):
        parse_body(clean(symbols), header)


def test_symbols_after_the_frame_are_ignored() -> None:
    header, bits, payload = make()
    symbols = torch.cat([build_frame(header, bits, payload), torch.ones(100)])
    received = channel("awgn", 15)(symbols)
    assert np.array_equal(parse_body(received, parse_header(received))[0], bits)


def test_frame_accounting() -> None:
    header, bits, payload = make()
    built = Frame.assemble(header, bits, payload, np.zeros((32, 48), int), 10.0)
    parts = built.counts.total
    assert parts == built.symbols.numel()
    assert built.cbr_payload == pytest.approx(3000 / (3 * 512 * 768))
    assert built.cbr == pytest.approx(parts / (3 * 512 * 768))
    assert built.counts.pilots + built.counts.header == OVERHEAD


def test_fades_hit_payload_evenly() -> None:
    # Side information and any run of payload symbols see nearly every fade of the frame.
    header, bits, payload = make(24000, 3400, 4)
    received = channel("rayleigh", 25, block_length=256, seed=1)(build_frame(header, bits, payload))
    got, body = parse_body(received, parse_header(received))
    snr = body.snr_linear()
    assert np.array_equal(got, bits)
    fades = len(torch.unique(received.gains[OVERHEAD:].abs()))
    assert len(torch.unique(snr[1000:1400])) > 0.9 * fades


def test_frames_that_are_cut_short() -> None:
    symbols = build_frame(*make())
    with pytest.raises(InputError, match="empty"):
        parse_header(clean(symbols[:0]))
    for n in (1, OVERHEAD - 1, OVERHEAD, len(symbols) - 1):
        with pytest.raises(InputError, match="cut short"):
            parse_header(clean(symbols[:n]))


def test_not_finite() -> None:
    symbols = build_frame(*make())
    symbols[-1] = complex(math.nan, 0)
    with pytest.raises(InputError, match="finite"):
        parse_header(clean(symbols))


def test_noise_is_no_frame() -> None:
    for seed in range(3):
        noise = torch.randn(
            5000, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed)
        )
        with pytest.raises(OutageError):
            parse_header(clean(noise))


def test_other_version_and_impossible_contents() -> None:
    header = make()[0]
    with pytest.raises(InputError, match="version 1"):
        parse_header(send(replace(header, version=1)))
    tiny = replace(header, height=64, width=64)
    for absurd in (replace(tiny, payload_symbols=4097), replace(tiny, side_info_bits=129)):
        with pytest.raises(InputError, match="no possible picture"):
            parse_header(clean(frame.preamble(absurd)))
    bits = header.pack()
    bits[-4:] = 1
    with pytest.raises(InputError, match="no possible picture"):
        Header.unpack(bits)


def test_lost_side_information_is_an_outage() -> None:
    header, bits, payload = make(mcs=8)
    received = channel("awgn", 5)(build_frame(header, bits, payload))
    assert parse_header(received) == header
    with pytest.raises(OutageError, match="rate map"):
        parse_body(received, header)


def test_body_must_match_the_header() -> None:
    header, bits, payload = make()
    with pytest.raises(InputError):
        build_frame(header, bits[:-1], payload)
    with pytest.raises(InputError):
        build_frame(header, bits, payload[:-1])
    with pytest.raises(InputError):
        build_frame(header, bits, 0 * payload)
