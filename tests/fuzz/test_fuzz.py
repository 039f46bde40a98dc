"""Whatever a stranger sends is taken, or refused in one line: thousands of inputs at a time.

``make fuzz`` tries 100,000; LRISC_FUZZ_INPUTS says how many. Few inputs are the same ones on every
run, many are others each time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import COUNTS, TARGETS

FEW = 2500
INPUTS = int(os.environ.get("LRISC_FUZZ_INPUTS", FEW))

# Pieces of trouble, among them what has once broken something.
TOKENS = [
    b"\0", b"\xff", b"\xff\xda", b"\xed\xb3\xbf", b"\n", b'"', b"'", b",", b"{", b"[", b"}", b"]",
    b"[" * 2000, b'{"a":' * 2000, b"9" * 5000, b"-1", b"0", b"1e999", b"1e308", b"NaN", b"Infinity",
    b"null", b"true", b"[]", b"{}", b"../", b"/", b"$\\frac{1$", b"=cmd|'/C'", b"&a [*a]", b"*a",
    b"!!python/object:os.system", b"<<: ", b"1000000", b"4294967295", b"F8_E4M3", b"C64", b"BOOL",
    b"core:datatype", b"cf64_be", b"core:header_bytes", b"stages", b"[1, 2]", b"2026-99-99",
]  # fmt: skip


@st.composite
def edited(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A valid input with some edits, or none of it at all."""
    data = bytearray(draw(st.sampled_from(seeds)))
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=300))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.integers(0, 5))
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            data[at : at + draw(st.integers(0, 16))] = draw(st.binary(max_size=8))
        elif kind == 2:
            data[at:at] = draw(st.sampled_from(TOKENS))
        elif kind == 3:
            token = draw(st.sampled_from(TOKENS))
            data[at : at + len(token)] = token
        elif kind == 4:
            end = draw(st.integers(0, len(data)))
            data[at:at] = data[min(at, end) : max(at, end)][:4096]
        else:
            del data[at:]
    return bytes(data[: 1 << 20])


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=max(10, round(INPUTS * target.share)),
        deadline=None,
        database=None,
        derandomize=INPUTS <= FEW,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(edited(target.seeds()))
    def fuzz(data: bytes) -> None:
        COUNTS[name] += 1
        target(data, tmp_path)

    for seed in target.seeds():
        target.run(seed, tmp_path)
    fuzz()
