"""Pictures from strangers, decoded in a process of their own with limits on time and memory.

A broken or malicious file then costs one visitor an answer, and never the server. The process
imports Pillow and numpy only: it starts in a fifth of a second.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image

from lrisc.errors import InputError
from lrisc.images import MAX_SIDE, read_alpha, read_rgb

CPU_SECONDS = 10
"""A fair picture of the largest size takes about 2."""
WALL_SECONDS = 60
MEMORY_BYTES = 2 * 2**30
"""Address space, libraries included; a fair picture of the largest size takes less than half."""

_READERS = {"rgb": read_rgb, "alpha": read_alpha}


def read_upload_picture(path: Path, what: str = "rgb") -> Image.Image:
    """Decode an uploaded file.

    Args:
        path: of the file.
        what: ``rgb``, 8-bit; or ``alpha``, how opaque it is, 8-bit grey.

    Raises:
        InputError: not a picture, or one that takes too much time or memory; it is named by its
            last part only, for a visitor knows not where the server put it.
    """
    # One thread: the maths library would reserve memory for every core.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "lrisc.app.reader", what, str(path)]
    too_much = InputError(f"{path.name} takes too much time or memory to decode")
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=WALL_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise too_much from None
    if done.returncode == InputError.exit_code:
        raise InputError(done.stderr.decode(errors="replace").replace(str(path), path.name))
    if done.returncode:
        raise too_much
    head, _, pixels = done.stdout.partition(b"\n")
    width, height = (int(side) for side in head.split())
    return Image.frombuffer("RGB" if what == "rgb" else "L", (width, height), pixels)


def main() -> int:
    """Decode one file to standard output: a line with width and height, then the pixels."""
    what, path = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        picture = _READERS[what](Path(path))
    except InputError as error:
        sys.stderr.write(str(error))
        return error.exit_code
    assert max(picture.size) <= MAX_SIDE
    sys.stdout.buffer.write(f"{picture.width} {picture.height}\n".encode() + picture.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
