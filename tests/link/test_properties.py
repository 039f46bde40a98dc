"""What holds for every frame and coded block, tried on drawn ones.

Headers and rate maps are drawn in tests/fuzz.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lrisc.link import fec
from lrisc.link.channels import Received
from lrisc.link.frame import Header, build_frame, parse_body, parse_header

# The same cases every time, so that a failure can be repeated; no clocks.
settings.register_profile("lrisc", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("lrisc")

bits = arrays.arrays(np.uint8, st.integers(1, 128), elements=st.integers(0, 1))


@given(st.integers(1, 6000), st.sampled_from(fec.MCS_TABLE))
def test_symbol_counts_are_exact_and_grow(n: int, mcs: fec.Mcs) -> None:
    count = fec.symbol_count(n, mcs)
    assert count >= (n + fec.CRC_BITS) / mcs.efficiency - 1
    assert fec.symbol_count(n + 1, mcs) >= count
    assert fec.symbol_count(0, mcs) == 0


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.integers(1, 4096), st.integers(1, 4096), bits, st.integers(1, 256),
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
