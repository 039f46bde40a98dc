"""What strangers may send to the page, as an ASGI server would hand it on."""

import asyncio
import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrisc.app.gate import MAX_JSON_BYTES, Gate, is_loopback
from lrisc.app.visits import Visits
from lrisc.app.workspace import Workspace
from lrisc.errors import InputError

HERE = {"host": "127.0.0.1:7860"}
FILES = {"content-type": "multipart/form-data; boundary=x"}


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace(max_bytes=2**20)
    yield made
    made.close()


class Page:
    """Stands for the page: reads the whole body and says how long it is."""

    def __init__(self) -> None:
        self.body = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})


def ask(
    workspace: Workspace,
    method: str = "POST",
    path: str = "/gradio_api/queue/join",
    headers: dict[str, str] | None = None,
    body: bytes | list[bytes] = b"{}",
    host: str = "127.0.0.1",
    names: tuple[str, ...] = (),
    password: str | None = None,
) -> tuple[int, dict[str, str], Page]:
    page = Page()
    gate = Gate(page, workspace, Visits(), host, names, password, max_upload_bytes=300_000)
    parts = [body] if isinstance(body, bytes) else body
    sent = {**HERE, **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": path, "query_string": b"",
        "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
    }  # fmt: skip
    answers: list[Any] = []

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(gate(scope, receive, send))
    told = {k.decode(): v.decode() for k, v in answers[0]["headers"]}
    return answers[0]["status"], told, page


def status(workspace: Workspace, **options: Any) -> int:
    return ask(workspace, **options)[0]


@pytest.mark.parametrize(
    ("host", "served_at", "expected"),
    [
        ("127.0.0.1:7860", "127.0.0.1", 200), ("localhost:7860", "127.0.0.1", 200),
        ("[::1]:7860", "127.0.0.1", 200), ("127.8.9.1", "127.0.0.1", 200),
        ("evil.example", "127.0.0.1", 403), ("evil.example:7860", "127.0.0.1", 403),
        ("192.168.0.7:7860", "127.0.0.1", 403), ("", "127.0.0.1", 403),
        ("127.0.0.1.evil.example", "127.0.0.1", 403), ("[evil]:1", "127.0.0.1", 403),
        ("192.168.0.7:7860", "0.0.0.0", 200), ("evil.example", "0.0.0.0", 403),
        ("friend.example:1", "0.0.0.0", 200), ("localhost", "0.0.0.0", 200),
    ],
)  # fmt: skip
def test_only_names_of_this_server_are_served(
    workspace: Workspace, host: str, served_at: str, expected: int
) -> None:
    for method, path in (("GET", "/"), ("POST", "/gradio_api/queue/join")):
        got = status(
            workspace, method=method, path=path, headers={"host": host}, host=served_at,
            names=("friend.example",),
        )  # fmt: skip
        assert got == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:7860", 200), ("http://evil.example", 403), ("null", 403),
        ("http://127.0.0.1:1", 403), ("https://127.0.0.1:7860", 200), ("", 403),
    ],
)  # fmt: skip
def test_requests_of_other_sites_are_refused(
    workspace: Workspace, origin: str, expected: int
) -> None:
    headers = {"origin": origin, **FILES}
    assert status(workspace, path="/gradio_api/upload", headers=headers, body=b"x") == expected
    assert status(workspace, method="GET", path="/config", headers={"origin": origin}) == expected


def test_a_password_is_asked_for(workspace: Workspace) -> None:
    def basic(text: str) -> dict[str, str]:
        return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    for headers in ({}, {"authorization": "Basic ???"}, {"authorization": "Bearer x"}):
        code, told, page = ask(workspace, headers=headers, password="ann:secret")
        assert code == 401
        assert told["www-authenticate"].startswith("Basic")
        assert page.body == b""
    start = time.monotonic()
    assert status(workspace, headers=basic("ann:wrong"), password="ann:secret") == 401
    assert time.monotonic() - start > 0.9
    assert status(workspace, headers=basic("ann:secret"), password="ann:secret") == 200
    assert status(workspace, headers=basic("añn:sécret"), password="añn:sécret") == 200
    # The server asks itself whether it runs.
    path = "/gradio_api/startup-events"
    assert status(workspace, method="GET", path=path, password="ann:secret") == 200


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/gradio_api/queue/join", 200), ("POST", "/gradio_api/cancel", 200),
        ("POST", "/gradio_api/process_recording", 404), ("POST", "/gradio_api/vibe-edit", 404),
        ("POST", "/gradio_api/run/answer", 404), ("POST", "/login", 404), ("POST", "/", 404),
        ("PUT", "/gradio_api/queue/join", 404), ("DELETE", "/gradio_api/upload", 404),
    ],
)  # fmt: skip
def test_what_the_page_never_asks_for_is_not_there(
    workspace: Workspace, method: str, path: str, expected: int
) -> None:
    """Gradio has more, such as video that any ffmpeg on the machine is started for."""
    code, _, page = ask(workspace, method=method, path=path)
    assert code == expected
    assert page.body == (b"{}" if expected == 200 else b"")
    headers = {**FILES, "content-length": "2"}
    assert status(workspace, method=method, path=path, headers=headers) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/gradio_api/startup-events", 200), ("/gradio_api/file=/a/startup-events", 401),
        ("/startup-events", 401), ("/gradio_api/queue/startup-events", 401),
    ],
)  # fmt: skip
def test_the_server_alone_asks_without_a_password(
    workspace: Workspace, path: str, expected: int
) -> None:
    assert status(workspace, method="GET", path=path, password="ann:secret") == expected


@pytest.mark.parametrize("kind", ["websocket", "other"])
def test_only_http_is_spoken(workspace: Workspace, kind: str) -> None:
    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    async def never(*_: Any) -> Any:
        raise AssertionError

    gate = Gate(never, workspace, Visits(), "127.0.0.1", (), None, 1)
    scope = {
        "type": kind, "path": "/", "method": "GET", "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    asyncio.run(gate(scope, never, send))
    assert answers == [{"type": "websocket.close", "code": 1008}]


def test_every_answer_carries_the_headers(workspace: Workspace) -> None:
    for headers in ({}, {"host": "evil.example"}):
        told = ask(workspace, headers=headers)[1]
        assert told["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in told["content-security-policy"]


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"data": [1, null]}', 200), (b"", 200), (b"{", 400), (b"\xff", 400),
        (nested(100_000), 400), (nested(40), 400), (nested(20), 200), (b"1" * 5000, 400),
        (b"[" + b"1," * MAX_JSON_BYTES + b"1]", 413),
        (json.dumps({"data": [{"path": "http://10.0.0.1/x", "url": "y"}]}).encode(), 400),
        (json.dumps({"data": [{"path": "HTTPS://evil.example/x"}]}).encode(), 400),
        (json.dumps({"data": [{"path": "/tmp/x", "url": "http://127.0.0.1/x"}]}).encode(), 200),
    ],
)  # fmt: skip
def test_requests_without_files_are_small_and_plain(
    workspace: Workspace, body: bytes, expected: int
) -> None:
    code, _, page = ask(workspace, body=body)
    assert code == expected
    assert page.body == (body if expected == 200 else b"")
    # Without a length, and in pieces.
    assert status(workspace, body=[body[:7], body[7:]]) == expected


def test_a_long_body_is_refused_by_its_length_and_by_its_size(workspace: Workspace) -> None:
    upload = {"content-type": "Multipart/form-data; boundary=x"}
    path = "/gradio_api/upload"
    for length in ("300001", "-1", "1" * 30, "x"):
        headers = {**upload, "content-length": length}
        code, _, page = ask(workspace, path=path, headers=headers, body=b"x")
        assert code in (400, 413)
        assert page.body == b""
    assert status(workspace, path=path, headers=upload, body=[b"x" * 100_000] * 4) == 413
    assert status(workspace, path=path, headers=upload, body=[b"x" * 100_000] * 2) == 200
    headers = {"content-length": str(MAX_JSON_BYTES + 1)}
    assert status(workspace, headers=headers) == 413


def test_a_full_workspace_takes_nothing_until_its_files_are_old(workspace: Workspace) -> None:
    headers = {**FILES, "content-length": "200000"}
    options: dict[str, Any] = {"path": "/gradio_api/upload", "headers": headers, "body": b"x"}
    paths: list[Path] = []
    for number in range(9):
        paths.append(workspace.folder() / str(number))
        paths[-1].write_bytes(bytes(100_000))
    assert status(workspace, **options) == 507
    for age, path in enumerate(reversed(paths)):
        past = time.time() - 100 - age
        os.utime(path, (past, past))
    assert status(workspace, **options) == 200
    left = [path.exists() for path in paths]
    assert not left[0]
    assert left[-1]
    assert left == sorted(left)  # the oldest went


def test_uploads_that_begin_together_are_no_way_around(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrisc.app.gate.CHECKED_BYTES", 50_000)
    headers = {**FILES, "content-length": "200000"}

    class Others(list[bytes]):
        """Parts between which other uploads arrive."""

        def pop(self, index: Any = -1) -> bytes:
            (workspace.folder() / "other").write_bytes(bytes(500_000))
            return super().pop(index)

    options: dict[str, Any] = {"path": "/gradio_api/upload", "headers": headers}
    assert status(workspace, body=Others([b"x" * 50_000] * 4), **options) == 507


def test_many_empty_files_are_no_way_around(workspace: Workspace) -> None:
    folder = workspace.folder()
    for number in range(300):
        (folder / str(number)).write_bytes(b"")
    headers = {**FILES, "content-length": "2"}
    assert status(workspace, path="/gradio_api/upload", headers=headers, body=b"x") == 507


def test_whoever_closes_the_stream_of_answers_has_left(workspace: Workspace) -> None:
    visits = Visits()

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    gate = Gate(page, workspace, visits, "127.0.0.1", (), None, 1)
    scope = {
        "type": "http", "method": "GET", "path": "/gradio_api/queue/data",
        "query_string": b"session_hash=abc", "headers": [(b"host", b"localhost")],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    with visits.open("abc", 60) as mine, visits.open("other", 60) as other:
        asyncio.run(gate(scope, receive, send))
        other.check()
        with pytest.raises(InputError, match="left"):
            mine.check()


def test_which_addresses_are_of_this_machine_only() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.com"))
