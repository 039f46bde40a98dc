"""Lengths, block-error tables and the choice of the scheme."""

import math
import shutil
from pathlib import Path

import pytest

from lrisc.baselines.bpg import block_errors, ldpc
from lrisc.baselines.bpg.block_errors import count_errors
from lrisc.baselines.bpg.capacity import capacity
from lrisc.errors import InputError
from lrisc.link import fec

CHANNELS = tuple(ldpc.channels())
SCHEMES = [pytest.param(mcs, id=ldpc.name_of(mcs)) for mcs in ldpc.SCHEMES]


@pytest.mark.parametrize("mcs", SCHEMES)
def test_lengths(mcs: fec.Mcs) -> None:
    full = ldpc.segment_bits(mcs)
    assert ldpc.by_name(ldpc.name_of(mcs)) is mcs
    assert ldpc.symbol_count(0, mcs) == 0
    assert ldpc.BLOCK_BITS - 8 <= ldpc.symbol_count(full, mcs) * mcs.bits_per_symbol <= 6144
    assert ldpc.block_count(full, mcs) == 1
    assert ldpc.block_count(full + 1, mcs) == 2
    counts = [ldpc.symbol_count(n, mcs) for n in range(100, 40_000, 97)]
    assert all(
        count * mcs.efficiency >= n for n, count in zip(range(100, 40_000, 97), counts, strict=True)
    )


def test_lengths_are_those_of_real_codewords() -> None:
    for mcs, n_bits in ((ldpc.by_name("qpsk-2/3"), 9001), (ldpc.by_name("64qam-3/4"), 5000)):
        blocks = ldpc.block_count(n_bits, mcs)
        import torch

        sent = fec.encode_blocks(torch.zeros(blocks, -(-n_bits // blocks)), mcs)
        assert sent.numel() == ldpc.symbol_count(n_bits, mcs)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("mcs", SCHEMES)
def test_tables_are_waterfalls_below_capacity(mcs: fec.Mcs, channel: str) -> None:
    curve = ldpc.curve(mcs, channel)
    assert curve.rate[0] == 1
    assert curve.rate[-1] == 0
    assert list(curve.snr_db) == sorted(curve.snr_db)
    assert curve.at(curve.snr_db[0] - 0.01) == 1
    assert curve.at(curve.snr_db[-1]) == 0
    assert curve.at(100) == 0
    assert all(0 <= curve.at(curve.snr_db[0] + 0.1 * i) <= 1 for i in range(30))
    # Where any block at all arrives, the channel can carry that many bits.
    arrives = next(s for s, lost in zip(curve.snr_db, curve.rate, strict=True) if lost < 1)
    assert mcs.efficiency < capacity(channel, arrives)


# A scheme per constellation and base graph: some codewords far below, on and above its waterfall.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["qpsk-2/3", "16qam-1/2"])
def test_tables_agree_with_the_whole_chain(name: str) -> None:
    mcs = ldpc.by_name(name)
    curve = ldpc.curve(mcs, "awgn")
    assert count_errors(mcs, "awgn", curve.snr_db[0] - 0.5, 4, seed=1) == (4, 4)
    assert count_errors(mcs, "awgn", curve.threshold_db, 20, seed=1) == (20, 0)
    middle = min(curve.snr_db, key=lambda snr: abs(curve.at(snr) - 0.5))
    sent, wrong = count_errors(mcs, "awgn", middle, 20, seed=1)
    expected = curve.at(middle)
    spread = 4 * math.sqrt(max(expected * (1 - expected), 0.05) * (1 / sent + 1 / 20))
    assert abs(wrong / sent - expected) < spread


def test_the_best_scheme_rises_with_the_snr_and_stays_below_capacity() -> None:
    for channel in CHANNELS:
        chosen = [(snr, ldpc.best_scheme(channel, snr)) for snr in range(0, 31)]
        efficiencies = [mcs.efficiency for _, mcs in chosen]
        assert efficiencies == sorted(efficiencies)
        assert all(mcs.efficiency < capacity(channel, snr) for snr, mcs in chosen)
    assert ldpc.name_of(ldpc.best_scheme("awgn", 10)) == "16qam-2/3"


def test_what_there_is_not() -> None:
    with pytest.raises(InputError, match="choose one of"):
        ldpc.by_name("8psk-1/2")
    with pytest.raises(InputError, match="no block-error tables"):
        ldpc.curve(ldpc.SCHEMES[0], "wire")
    with pytest.raises(InputError, match="decodes at -20 dB"):
        ldpc.best_scheme("awgn", -20)


def test_capacity() -> None:
    assert capacity("awgn", 0) == pytest.approx(1)
    assert capacity("awgn", 10) == pytest.approx(math.log2(11))
    # ergodic, by e^(1/s) E1(1/s) / ln 2
    assert capacity("rayleigh", 0) == pytest.approx(0.86035, abs=2e-4)
    assert capacity("rayleigh", 10) == pytest.approx(2.90652, abs=2e-3)
    with pytest.raises(InputError):
        capacity("wire", 10)


def test_the_shipped_table_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measuring goes over the channels that are asked for, not over all that are registered."""
    table = tmp_path / "table.json"
    shutil.copy(Path(ldpc.__file__).with_name(ldpc.TABLE_FILE), table)
    before = table.read_text()
    monkeypatch.setattr(block_errors, "measure", lambda *_: pytest.fail("nothing is missing"))
    monkeypatch.setattr("sys.argv", ["block_errors", str(table)])
    assert block_errors.main() == 0
    assert table.read_text() == before
    monkeypatch.setattr("sys.argv", ["block_errors", str(table), "--channel", "nowhere"])
    assert block_errors.main() == 2
    assert "unknown channel 'nowhere'" in capsys.readouterr().err
