"""The wheel alone, in a fresh environment: every command works, or names its extra in one line.

    python scripts/check_wheel.py            # builds, installs without extras, tries; minutes
    python scripts/check_wheel.py --into DIR # the same, and the environment stays for a next time

torch is installed first and at its pinned version, as in the Makefile; nothing of the checkout is
seen.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
STAGE = """
name: tiny
output: run
preset: tiny
train: [analysis, hyperprior, context, unet]
steps: 1
"""
MAKE_PICTURES = """
import matplotlib, pathlib
from PIL import Image
sample = pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
portrait = Image.open(sample).convert("RGB")
pathlib.Path("pictures").mkdir()
portrait.crop((120, 0, 376, 256)).save("pictures/a.png")
portrait.crop((120, 256, 376, 512)).save("pictures/b.jpg")
pathlib.Path("photo.heic").write_bytes(b"\\0\\0\\0\\x18ftypheic" + bytes(64))
"""


class Case(NamedTuple):
    """A command as typed, and the extra it asks for where it needs one."""

    command: str
    extra: str | None = None


CASES = (
    Case("--version"),
    Case("models"),
    Case("doctor"),
    Case("transmit pictures/a.png --out sent"),
    Case("transmit pictures --out many"),
    Case("transmit pictures/a.png --roi auto --channel tdl-a --waveform ofdm"),
    Case("encode pictures/a.png -o frame.sigmf-meta"),
    Case("channel frame.sigmf-meta -o heard.sigmf-meta --snr 10"),
    Case("decode heard.sigmf-meta -o picture.png"),
    Case("evaluate pictures --schemes lrisc,deepjscc --snr 5,10 --jobs 1 -o results"),
    Case("plot results"),
    Case("evaluate pictures --schemes bpg-ldpc --snr 10 --jobs 1 -o bpg", "baselines"),
    Case("train stage.yaml data=pictures", "train"),
    Case("app --port 0", "app"),
    Case("export --onnx networks", "export"),
    Case("transmit pictures/a.png --roi rembg:u2netp", "rembg"),
    Case("transmit photo.heic", "heif"),
)


def install(folder: Path) -> Path:
    """Build the wheel and an environment that has it; returns its ``bin``."""
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("lrisc-*.whl")
    binaries = folder / "venv" / "bin"
    if not binaries.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    inside = [binaries / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    subprocess.run([*inside, "torch", "numpy"], check=True)
    subprocess.run([*inside, "--force-reinstall", "--no-deps", wheel], check=True)
    subprocess.run([*inside, wheel], check=True)
    return binaries


def verdict(case: Case, done: subprocess.CompletedProcess[str]) -> str:
    """What happened in a few words; begins with "no:" where it should not."""
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == 0:
        return "works" if case.extra is None else f"works without `{case.extra}`"
    if "Traceback" in done.stderr or case.extra is None:
        return f"no: exit {done.returncode}, {last}"
    asks = done.returncode == 2 and f"lrisc[{case.extra}]" in done.stderr
    return f"asks for `lrisc[{case.extra}]`" if asks else f"no: exit {done.returncode}, {last}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--into", type=Path, help="keep wheel and environment here")
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(arguments.into or made).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("lrisc-*.whl"):
            old.unlink()
        binaries, work = install(folder), Path(made) / "work"
        work.mkdir()
        (work / "stage.yaml").write_text(STAGE)
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run([binaries / "python", "-c", MAKE_PICTURES], cwd=work, check=True, env=clean)
        print("| command | with the wheel alone |\n|---|---|")
        for case in CASES:
            done = subprocess.run(
                [binaries / "lrisc", *case.command.split()],
                cwd=work,
                env=clean,
                capture_output=True,
                text=True,
                timeout=1800,
            )
            found = verdict(case, done)
            bad += found.startswith("no:")
            print(f"| `lrisc {case.command}` | {found} |", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
