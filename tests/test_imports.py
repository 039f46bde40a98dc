"""What is not loaded before it is needed."""

import subprocess
import sys

import pytest


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "unwanted"),
    [
        ("import lrisc", {"sionna", "matplotlib"}),
        ("import lrisc.link.frame, lrisc.link.iq, lrisc.link.rate_map", {"sionna", "sigmf"}),
        (
            "import torch; from lrisc.link.channels import CHANNELS;"
            "CHANNELS['selective'].gains(9, 0, torch.Generator())",
            {"sionna", "scipy"},
        ),
    ],
    ids=["package", "link", "training's channel"],
)
def test_what_is_heavy_waits(program: str, unwanted: set[str]) -> None:
    code = f"{program}; import sys; print({unwanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
