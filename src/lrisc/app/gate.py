"""What a request must pass before the page sees it.

    Host known? ─► Origin the same? ─► password? ─► body small enough, of a sound kind? ─► page

The page itself trusts whoever reaches it, so a browser that another site misuses (DNS rebinding,
cross-site uploads) and a client that sends too much are stopped here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, cast
from urllib.parse import parse_qs

from lrisc.app.visits import Visits
from lrisc.app.workspace import FullError, Workspace

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

MAX_JSON_BYTES = 256 * 2**10
"""A request without files: a few numbers and names."""
MAX_JSON_DEPTH = 32
CHECKED_BYTES = 2**22
"""After so many bytes of an upload it is looked again whether there is room for as many more."""
_POSTS = frozenset(
    f"/gradio_api/{name}"
    for name in ("upload", "queue/join", "run/predict", "component_server", "cancel", "reset")
)
"""All that the page sends. Gradio takes more: video, for instance, which it gives to ffmpeg."""
_STARTUP = "/gradio_api/startup-events"

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"worker-src 'self' blob:; connect-src 'self' data: blob:; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
)


class Gate:
    """ASGI middleware in front of the page.

    Args:
        app: the page.
        workspace: has room for so many uploads and no more.
        visits: is told who left.
        host: address that is listened on.
        names: further host names that the page may be asked for by.
        password: ``user:password``, or ``None`` for everybody.
        max_upload_bytes: of one request with files.
    """

    def __init__(
        self,
        app: Any,
        workspace: Workspace,
        visits: Visits,
        host: str,
        names: Iterable[str],
        password: str | None,
        max_upload_bytes: int,
    ) -> None:
        self._app, self._workspace, self._visits = app, workspace, visits
        self._only_here = is_loopback(host)
        self._names = {"localhost", host.lower(), *(name.lower() for name in names)}
        if not self._only_here:
            self._names |= {name.lower() for name in (socket.gethostname(), socket.getfqdn())}
        self._password = None if password is None else password.encode()
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def answer(message: _Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            receive = await self._pass(scope, receive)
            await self._app(scope, receive, answer)
        except _RefusedError as refused:
            if not started:
                await _respond(answer, refused)

    async def _pass(self, scope: _Message, receive: _Receive) -> _Receive:
        """The body of a request that may pass; raises _RefusedError for all others."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._is_known(host):
            raise _RefusedError(403, "this page is not served under that name (--allow-host)")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            raise _RefusedError(403, "requests of other sites are refused")
        path = str(scope["path"])
        # The server asks itself this one when it starts; it answers with true.
        if self._password is not None and path != _STARTUP:
            await self._authenticate(headers.get(b"authorization", b""))
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return self._watched(scope, receive) if path.endswith("/queue/data") else receive
        if scope["method"] != "POST" or path not in _POSTS:
            raise _RefusedError(404, "the page has nothing of that name")
        length = _length(headers.get(b"content-length"))
        if headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
            if length is not None and length > self._max_upload_bytes:
                raise _RefusedError(413, "these files are too large")
            self._make_room(length or self._max_upload_bytes)
            return self._roomy(_limited(receive, self._max_upload_bytes))
        if length is not None and length > MAX_JSON_BYTES:
            raise _RefusedError(413, "this request is too large")
        body = await _whole(_limited(receive, MAX_JSON_BYTES))
        if body:
            _check_json(body)
        return _replayed(body, receive)

    def _make_room(self, size: int) -> None:
        try:
            self._workspace.make_room(size)
        except FullError as error:
            raise _RefusedError(507, str(error)) from None

    def _roomy(self, receive: _Receive) -> _Receive:
        """A body for which there is room all the time: many may have begun at once."""
        unchecked = 0

        async def checking() -> _Message:
            nonlocal unchecked
            message = await receive()
            unchecked += len(message.get("body", b""))
            if unchecked >= CHECKED_BYTES:
                unchecked = 0
                self._make_room(CHECKED_BYTES)
            return message

        return checking

    def _is_known(self, host: str) -> bool:
        """Whether a Host header names this server, and not a name made to point at it."""
        bracket = host.startswith("[")
        name = host[1:].partition("]")[0] if bracket else host.partition(":")[0]
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be made to point elsewhere; names can.
        return address.is_loopback or not self._only_here

    async def _authenticate(self, header: bytes) -> None:
        kind, _, encoded = header.partition(b" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            given = b""
        assert self._password is not None
        if kind.lower() != b"basic" or not hmac.compare_digest(given, self._password):
            if given:
                await asyncio.sleep(1.0)  # guessing takes its time
            raise _RefusedError(401, "this page needs a user name and a password")

    def _watched(self, scope: _Message, receive: _Receive) -> _Receive:
        """The stream of answers to a session: who closes it has left."""
        query = parse_qs(cast(bytes, scope.get("query_string", b"")).decode("latin-1"))
        session = query.get("session_hash", [""])[0]

        async def watching() -> _Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._visits.leave(session)
            return message

        return watching


class _RefusedError(Exception):
    """A request that does not pass.

    Attributes:
        status: of the answer.
        text: what it says.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def is_loopback(host: str) -> bool:
    """Whether an address that is listened on can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _length(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > 15:
        raise _RefusedError(400, "the length of this request is no number")
    return int(header)


def _limited(receive: _Receive, limit: int) -> _Receive:
    """A body that is refused once it turns out longer than it may be."""
    seen = 0

    async def counting() -> _Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _RefusedError(413, "this request is too large")
        return message

    return counting


async def _whole(receive: _Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RefusedError(400, "the request was not complete")
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: _Receive) -> _Receive:
    """A body that was read already, and then whatever comes."""
    sent = False

    async def replaying() -> _Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying


def _check_json(body: bytes) -> None:
    """Refuse what is no JSON, is nested absurdly, or names files of other machines."""
    try:
        _walk(json.loads(body), MAX_JSON_DEPTH)
    except (ValueError, RecursionError):
        raise _RefusedError(400, "this request is no JSON that the page understands") from None


def _walk(value: Any, depth: int) -> None:
    if depth == 0:
        raise _RefusedError(400, "this request is nested too deeply")
    if isinstance(value, dict):
        entries = cast(dict[str, Any], value)
        path = entries.get("path")
        # The page would fetch it: from inside the network that the server stands in, too.
        if isinstance(path, str) and "://" in path:
            raise _RefusedError(400, "files are uploaded, not named by an address")
        for entry in entries.values():
            _walk(entry, depth - 1)
    elif isinstance(value, list):
        for entry in cast(list[Any], value):
            _walk(entry, depth - 1)


async def _respond(send: _Send, refused: _RefusedError) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Basic realm="LRISC", charset="UTF-8"'))
    # What is left of the body is not waited for.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": refused.text.encode()})
