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
from lrisc.images import MAX_SIDE, picture_size, read_alpha, read_rgb

CPU_SECONDS = 10
"""A fair picture of the largest size takes about 2."""
WALL_SECONDS = 60
MEMORY_BYTES = 2 * 2**30
"""Address space, libraries included; a fair picture of the largest size takes less than half."""


def read_upload_picture(path: Path) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an uploaded picture, scaled down to the largest that can be sent where it is larger.

    Args:
        path: of the file.

    Returns:
        8-bit RGB, and the width and height that the file has.

    Raises:
        InputError: not a picture, or one that takes too much time or memory; it is named by its
            last part only, for a visitor knows not where the server put it.
    """
    sizes, pixels = _decoded(path, "rgb")
    return Image.frombuffer("RGB", (sizes[0], sizes[1]), pixels), (sizes[2], sizes[3])


def read_upload_paint(path: Path) -> Image.Image:
    """How opaque an uploaded picture is, 8-bit grey.

    Raises:
        InputError: as for :func:`read_upload_picture`.
    """
    sizes, pixels = _decoded(path, "alpha")
    return Image.frombuffer("L", (sizes[0], sizes[1]), pixels)


def _decoded(path: Path, what: str) -> tuple[list[int], bytes]:
    # One thread: the maths library would reserve memory for every core.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "lrisc.app.reader", what, str(path)]
    # So called, no name is mistaken for the first word of a sentence.
    name = f"the file {path.name}"
    too_much = InputError(f"{name} takes too much time or memory to decode")
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=WALL_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise too_much from None
    if done.returncode == InputError.exit_code:
        raise InputError(done.stderr.decode(errors="replace").replace(str(path), name))
    if done.returncode:
        raise too_much
    head, _, pixels = done.stdout.partition(b"\n")
    return [int(side) for side in head.split()], pixels


def main() -> int:
    """Decode one file to standard output: a line of sizes, then the pixels.

    The line has width and height of the pixels, and then those of the file.
    """
    what, path = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    file = Path(path)
    try:
        picture = read_rgb(file, MAX_SIDE) if what == "rgb" else read_alpha(file)
        own = picture_size(file)
    except InputError as error:
        sys.stderr.write(str(error))
        return error.exit_code
    assert max(picture.size) <= MAX_SIDE
    sizes = (*picture.size, *own)
    sys.stdout.buffer.write(" ".join(map(str, sizes)).encode() + b"\n" + picture.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
