"""Tables for a paper: order, stars, signs."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.test_figures import results, row
from tests.helpers import load_script

from lrisc.evaluation.figures.means import means


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


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_compiles_and_fits_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results(tmp_path / "r")
    script = load_script("scripts/paper_tables.py")
    output = tmp_path / "tables.tex"
    monkeypatch.setattr("sys.argv", ["paper_tables.py", str(folder.path), "-o", str(output)])
    script.main()
    document = tmp_path / "document.tex"
    document.write_text(
        "\\documentclass[twocolumn]{article}\\usepackage{booktabs}"
        "\\begin{document}\\input{tables.tex}\\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout[-2000:]
    assert "Overfull" not in told.stdout


def test_all_metrics_of_one_snr_stand_side_by_side(tmp_path: Path) -> None:
    script = load_script("scripts/paper_tables.py")
    rows = [
        replace(row("lrisc", f"{seed}.png", 10.0, 1 / 48), psnr_db=20 + seed, lpips_vgg=0.3)
        for seed in range(2)
    ]
    (table,) = script.mean_tables(means(rows, 2))
    assert table == (
        "AWGN, CBR 1/48, 10 dB; ±: half of the 95 % bootstrap interval",
        ["scheme", "PSNR (dB)", "MS-SSIM", "LPIPS", "LPIPS-VGG"],
        [["LRISC", "20.50 ± 0.50", "0.9000 ± 0.0000", "0.200 ± 0.000", "0.300 ± 0.000"]],
    )
