"""The same targets led by coverage, where atheris is installed (it is not among our packages).

``LRISC_FUZZ_SECONDS=600 pytest -m atheris tests/fuzz``
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.targets import REPOSITORY, TARGETS

pytestmark = pytest.mark.atheris

_PROGRAM = """
import sys, tempfile
import atheris
with atheris.instrument_imports(include=["lrisc"]):
    from tests.fuzz.targets import TARGETS
from pathlib import Path
target, folder = TARGETS[sys.argv.pop(1)], Path(tempfile.mkdtemp())
atheris.Setup(sys.argv, lambda data: target(data, folder))
atheris.Fuzz()
"""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_breaks_where_coverage_leads(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / str(number)).write_bytes(seed)
    seconds = int(os.environ.get("LRISC_FUZZ_SECONDS", "20"))
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name, corpus, f"-max_total_time={seconds}"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
