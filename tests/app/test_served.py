"""The page as it is served: with a password, and with a visitor who means harm."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers import served

pytest.importorskip("gradio", reason="gradio is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_a_password(tiny_folder: Path, tmp_path: Path) -> None:
    password, folder = tmp_path / "password", tmp_path / "temporary"
    password.write_text("ann:secret\n")
    folder.mkdir()
    with served(folder, "--auth", str(password), "--model", str(tiny_folder)) as address:
        assert httpx.get(address).status_code == 401
        assert httpx.get(address, auth=("ann", "wrong")).status_code == 401
        page = httpx.get(address, auth=("ann", "secret"))
        assert page.status_code == 200
        assert page.headers["x-content-type-options"] == "nosniff"
        for link in re.findall(r'(?:src|href)="(\./assets/[^"]+\.(?:js|css))"', page.text):
            asset = httpx.get(address + link, auth=("ann", "secret"))
            assert asset.status_code == 200
            kind = "css" if link.endswith("css") else "javascript"
            assert kind in asset.headers["content-type"]  # else nosniff would stop it


@pytest.mark.process
@pytest.mark.parametrize("password", ["", "ann", "ann:", ":secret"])
def test_what_is_no_password_is_told(password: str, tiny_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lrisc", "app", "--port", "0", "--model", str(tiny_folder),
         "--auth", password],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--auth is user:password" in done.stderr


@pytest.mark.process
def test_a_hostile_visitor_harms_nobody(tiny_folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "load_page.py", "--clients", "3", "--hostile", "1",
         "--seconds", "5", "--side", "1024", "--model", tiny_folder],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "program failed" not in done.stdout, done.stdout
    for became in (
        "boxes: 413", "nested: 400", "address_as_file: 400", "other_site: 403", "other_name: 403",
        "layers: 413", "many_boxes: told “At most 32", "garbage: told “The file photo.png is not",
        "large_files: 413", "many_files: told “A recording is", "bomb: told “The file bomb.jpg is",
        "slow: answered", "nothing_large: told “4096×4096 pixels in 8 steps are too much work",
        "left_behind: left",
    ):  # fmt: skip
        assert f"× {became}" in done.stdout, f"{became}\n{done.stdout}"
