"""The search of a recording, before there is a frame."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lrisc.link.recording import write_samples


@pytest.mark.process
def test_a_search_imports_neither_networks_nor_codes(tmp_path: Path) -> None:
    """A recording without a frame is searched in the memory that NumPy takes."""
    noise = np.random.default_rng(0).standard_normal(1 << 19).astype(np.float32)
    meta = write_samples(tmp_path / "noise", noise.view(np.complex64), 2e6, "noise")
    code = (
        "import sys, lrisc.cli.link, lrisc.cli.decoding\n"
        "from lrisc.link.finding import receive_all\n"
        "from lrisc.link.recording import open_recording\n"
        "from lrisc.link.waveform.numerology import PRESETS\n"
        "source = open_recording(sys.argv[1]).source\n"
        "found = list(receive_all(source, tuple(PRESETS.values())))\n"
        "sys.exit(len(found) + len({'torch', 'sionna', 'scipy'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code, str(meta)], check=True)
