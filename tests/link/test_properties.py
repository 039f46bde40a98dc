"""What holds for every rate map, header, frame and coded block, tried on drawn ones."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lrisc.errors import InputError, OutageError
from lrisc.link import fec, frame
from lrisc.link.channels import Received
from lrisc.link.frame import Header, build_frame, parse_body, parse_header
from lrisc.link.rate_map import RateMapPrior

LEVELS = 16
PRIOR = RateMapPrior.default(LEVELS)
# The same cases every time, so that a failure can be repeated; no clocks.
settings.register_profile("lrisc", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("lrisc")

shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)
maps = arrays.arrays(np.int64, shapes, elements=st.integers(0, LEVELS - 1))
schemes = st.sampled_from(fec.MCS_TABLE)


def bits(low: int, high: int) -> st.SearchStrategy[Any]:
    return arrays.arrays(np.uint8, st.integers(low, high), elements=st.integers(0, 1))


@pytest.mark.slow
@given(maps)
def test_a_rate_map_comes_back_at_its_cost(rate_map: npt.NDArray[np.int64]) -> None:
    coded = PRIOR.encode(rate_map)
    assert np.array_equal(PRIOR.decode(coded, *rate_map.shape), rate_map)
    assert 1 <= coded.size <= 1.001 * PRIOR.cost_bits(rate_map) + 2


@given(bits(0, 200), shapes)
def test_bits_are_the_code_of_one_rate_map_or_of_none(
    coded: npt.NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    try:
        rate_map = PRIOR.decode(coded, *shape)
    except OutageError:
        return
    assert np.array_equal(PRIOR.encode(rate_map), coded)


@given(bits(frame.HEADER_BITS, frame.HEADER_BITS))
def test_a_header_is_refused_or_says_what_its_bits_say(packed: npt.NDArray[np.uint8]) -> None:
    try:
        header = Header.unpack(packed)
    except InputError:
        return
    assert np.array_equal(header.pack(), packed)


@given(st.integers(1, 6000), schemes)
def test_symbol_counts_are_exact_and_grow(n: int, mcs: fec.Mcs) -> None:
    count = fec.symbol_count(n, mcs)
    assert count >= (n + fec.CRC_BITS) / mcs.efficiency - 1
    assert fec.symbol_count(n + 1, mcs) >= count
    assert fec.symbol_count(0, mcs) == 0


@pytest.mark.slow
@settings(max_examples=15)
@given(bits(1, 400), schemes)
def test_coded_blocks_have_that_length_and_come_back(
    block: npt.NDArray[np.uint8], mcs: fec.Mcs
) -> None:
    symbols = fec.encode(block, mcs)
    assert symbols.numel() == fec.symbol_count(block.size, mcs)
    back = fec.decode(symbols, torch.ones_like(symbols), 1e-3, block.size, mcs)
    assert np.array_equal(back, block)


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.integers(1, 4096), st.integers(1, 4096), bits(1, 128), st.integers(1, 256),
    st.integers(0, len(fec.MCS_TABLE) - 1), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_frame_is_as_long_as_its_header_says_and_comes_apart(
    height: int, width: int, side_info: npt.NDArray[np.uint8], payload: int, mcs: int, seed: int
) -> None:
    header = Header(
        height=height, width=width, checkpoint_id=seed % 2**16, side_info_bits=side_info.size,
        payload_symbols=payload, rate_scale_index=seed % 128, mcs_index=mcs,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    sent = torch.randn(payload, dtype=torch.complex64, generator=generator)
    symbols = build_frame(header, side_info, sent)
    assert symbols.numel() == header.frame_symbols
    power = float(symbols.abs().double().square().mean())
    assert abs(power - 1) < 1e-4
    received = Received(symbols, torch.ones_like(symbols), 1e-3)
    assert parse_header(received) == header
    found, _ = parse_body(received, header)
    assert np.array_equal(found, side_info)
