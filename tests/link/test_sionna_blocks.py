"""Sionna's blocks alone: what is imported; and Sionna is whole for whoever imports it later."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_of_the_rest_is_imported_and_nothing_stays_changed() -> None:
    found = run(
        "import sys, torch; before, finders = torch.compiler.disable, len(sys.meta_path)\n"
        "from lrisc.link.sionna_blocks import blocks\n"
        "modules = [type.__module__ for type in blocks()]\n"
        "assert modules[2] == 'sionna.phy.fec.ldpc.encoding', modules\n"
        "assert torch.compiler.disable is before\n"
        "unused = ('torch._dynamo', 'sionna', 'matplotlib.pyplot', 'scipy.interpolate')\n"
        "print([name for name in unused if name in sys.modules], len(sys.meta_path) - finders)"
    )
    assert found == "[] 0"


def test_sionna_is_whole_afterwards_and_codes_the_same() -> None:
    found = run(
        "import torch\n"
        "from lrisc.link import fec\n"
        "bits = (torch.rand(1, 500) > 0.5).float()\n"
        "ours = fec.encode_blocks(bits, fec.MCS_TABLE[4])\n"
        "import sionna.phy\n"
        "sionna.phy.ofdm.ResourceGrid, sionna.phy.channel.tr38901.TDL, sionna.phy.fec.polar\n"
        "from sionna.phy.fec.crc import CRCEncoder\n"
        "from sionna.phy.fec.ldpc import LDPC5GEncoder\n"
        "from sionna.phy.mapping import Mapper\n"
        "block = CRCEncoder('CRC24A', k=500, device='cpu')(bits)\n"
        "block[:, -24:] = 1 - block[:, -24:]\n"
        "code = LDPC5GEncoder(524, 1048, num_bits_per_symbol=4, device='cpu')\n"
        "print(torch.equal(ours, Mapper('qam', 4, device='cpu')(code(block))))"
    )
    assert found == "True"


def test_sionna_that_is_there_is_used() -> None:
    found = run(
        "import sionna.phy.mapping\n"
        "from lrisc.link.sionna_blocks import blocks\n"
        "print(blocks().mapper is sionna.phy.mapping.Mapper)"
    )
    assert found == "True"


def test_a_sionna_that_is_arranged_otherwise_is_imported_whole() -> None:
    found = run(
        "import sys\n"
        "from lrisc.link import sionna_blocks\n"
        "def renamed(package): raise ImportError(package)\n"
        "sionna_blocks._enter = renamed\n"
        "print(sionna_blocks.blocks().mapper is sys.modules['sionna.phy'].mapping.Mapper)"
    )
    assert found == "True"
