"""Tables for a paper: order, stars, signs."""

from pathlib import Path

import pytest
from tests.evaluation.test_figures import results
from tests.helpers import load_script


def test_latex_of_chosen_schemes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = results(tmp_path / "r"), tmp_path / "tables.tex"
    script = load_script("scripts/paper_tables.py")
    arguments = [str(folder.path), "--schemes", "mine,lrisc,bpg-ldpc", "-o", str(output)]
    monkeypatch.setattr("sys.argv", ["paper_tables.py", *arguments])
    script.main()
    told, latex = capsys.readouterr().out, output.read_text()
    first = [line for line in told.splitlines() if line.startswith("| ")][1:4]
    assert [line.split(" |")[0] for line in first] == ["| mine", "| LRISC", "| BPG + LDPC"]
    # "mine" cannot send one of the two pictures; the others can.
    assert [("*" in line) for line in first] == [True, False, False]
    assert "*: of the pictures that it can send alone" in latex
    # LRISC lies 2 dB below BPG + LDPC everywhere; a minus is none of text mode.
    assert "LRISC & " in latex
    assert " $-$2.00 & " in latex
    assert " -2" not in latex
