"""Writes constraints-hashes.txt: what constraints.txt pins, with the SHA-256 of each file.

For the Python and the platform it runs under. Every package is looked up twice, as this machine's
pip is configured and as a plain one, because the CPU build of torch comes from an index of its own.
Nothing is downloaded but what the index says of each file.

    python scripts/hash_constraints.py
    pip install --require-hashes --no-deps -r constraints-hashes.txt
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "constraints.txt"
HASHED = ROOT / "constraints-hashes.txt"


def hashes(pins: list[str], plain: bool) -> dict[str, str]:
    """``name==version`` to the hash of the file that pip would install."""
    environment = dict(os.environ)
    if plain:
        environment["PIP_CONFIG_FILE"] = os.devnull
        environment.pop("PIP_FIND_LINKS", None)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--no-deps", "--quiet", "--report", str(report), *pins]
        subprocess.run(command, check=True, env=environment)
        found = json.loads(report.read_text())["install"]
    made: dict[str, str] = {}
    for one in found:
        name = re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower()
        version = one["metadata"]["version"].partition("+")[0]
        made[f"{name}=={version}"] = one["download_info"]["archive_info"]["hashes"]["sha256"]
    return made


def main() -> None:
    pins = [line for line in PINNED.read_text().split("\n") if line and not line.startswith("#")]
    found = [hashes(pins, plain) for plain in (False, True)]
    lines = [
        "# Made by scripts/hash_constraints.py from constraints.txt.",
        f"# {platform.python_implementation()} {platform.python_version_tuple()[0]}."
        f"{platform.python_version_tuple()[1]}, {platform.system()} {platform.machine()}.",
    ]
    for pin in sorted(found[1]):
        known = sorted({each[pin] for each in found if pin in each})
        lines.append(" \\\n    ".join([pin, *(f"--hash=sha256:{one}" for one in known)]))
    HASHED.write_text("\n".join(lines) + "\n")
    print(f"{HASHED.name}: {len(found[1])} packages")


if __name__ == "__main__":
    main()
