"""``lrisc app`` says what it costs to let others in."""

from dataclasses import dataclass

import pytest
from tests.helpers import Run

pytest.importorskip("gradio", reason="gradio is not installed")


@dataclass
class Served:
    """Stands for a page that is stopped at once."""

    url: str = "http://here/"

    def wait(self) -> str:
        """Nobody comes."""
        return "SIGINT"


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        ([], False), (["--host", "localhost"], False), (["--host", "::1"], False),
        (["--host", "0.0.0.0"], True), (["--host", "::"], True), (["--host", "192.0.2.7"], True),
        (["--host", "a.example", "--allow-host", "b.example"], True),
        (["--host", "0.0.0.0", "--auth", "ann:secret"], False),
    ],
)  # fmt: skip
def test_others_can_come_in_without_a_password_only_with_a_warning(
    arguments: list[str], warned: bool, monkeypatch: pytest.MonkeyPatch, run_tiny: Run
) -> None:
    monkeypatch.setattr("lrisc.app.server.start", lambda *_: Served())
    ran = run_tiny("app", *arguments)
    assert ran.code == 0
    told = " ".join(ran.err.split())
    warning, url = told.find("WARNING: everybody who can reach"), told.index("http://here/")
    assert (0 <= warning < url) == warned
    assert "stopped by SIGINT after 0 s" in told
    assert ("--auth user:password asks for a password" in told) == warned
