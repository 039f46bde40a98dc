"""Many clients at once on the page: is every answer right or a clear "busy", and memory bounded?

Starts a server of its own, measures the first answer for a 768×512 picture, learns what each
request must be answered with, then lets the clients loose. With --hostile, so many of them send
what should break a server instead. Exit code 1 where anything is wrong.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import matplotlib
import psutil
from PIL import Image

SNRS = (0.0, 5.0, 10.0, 15.0)
INSISTENCE = 60.0  # seconds that an attacker who is told "busy" goes on asking
MAX_GROWTH_MB = 200  # under load, over what the server holds after its first answers


def portrait(width: int, height: int) -> Image.Image:
    """matplotlib's sample portrait."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return Image.open(path).convert("RGB").resize((width, height))


def png(width: int, height: int) -> bytes:
    """The same, to be sent."""
    buffer = io.BytesIO()
    portrait(width, height).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def bomb(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times more."""
    picture = io.BytesIO()
    portrait(side, side).save(picture, "jpeg", progressive=True)
    data = picture.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    fit = 30 * 2**20 // (end - last)
    return (data[:end] + data[last:end] * min(scans, fit) + data[end:])[: 30 * 2**20]


def stored(path: str) -> dict[str, Any]:
    """An uploaded file, as the page's JavaScript names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


class Client:
    """One visitor: speaks to the page as its JavaScript does."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address.rstrip("/") + "/gradio_api/", timeout=300)
        config = httpx.get(address.rstrip("/") + "/config", timeout=60).json()
        parts = {c["props"].get("elem_id"): c for c in config["components"]}
        self.ids = {name: part["id"] for name, part in parts.items()}
        self.choices = {
            name: parts[name]["props"]["value"] for name in ("channel", "region", "size")
        }
        # What runs in the browser alone has no function here.
        ours = [d for d in config["dependencies"] if d["backend_fn"]]
        self.functions = {tuple(t): d["id"] for d in ours for t in d["targets"]}

    def function(self, name: str, event: str = "click") -> int:
        """Number of what an event of a part starts."""
        return self.functions[self.ids[name], event]

    def controls(self, path: str, snr: float = 10, editor: Any = None, **other: Any) -> list[Any]:
        """Values of the controls, in the page's order."""
        asked = {**self.choices, "boxes": "", "steps": 1, **other}
        return [
            stored(path), editor, snr, "1/48", asked["channel"], asked["region"], asked["boxes"],
            0.5, asked["steps"], 0, "perception", asked["size"], 0, "symbols",
        ]  # fmt: skip

    def events(self, function: int, data: list[Any], patience: float = 0) -> Iterator[Any]:
        """What the page tells of a request; first the status of the answer to it, and of "busy"."""
        session, end = uuid.uuid4().hex, time.monotonic() + patience
        body = {"data": data, "fn_index": function, "session_hash": session}
        # Others wait a second when the queue is full: who does not gets the next free place.
        while (joined := self.http.post("queue/join", json=body)).status_code == 503:
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        yield joined
        with self.http.stream("GET", "queue/data", params={"session_hash": session}) as events:
            for line in events.iter_lines():
                yield json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}

    def upload(self, picture: bytes, name: str = "photo.png") -> str:
        answer = self.http.post("upload", files={"files": (name, picture, "image/png")})
        return str(answer.raise_for_status().json()[0])

    def ask(self, path: str, snr: float) -> str:
        """Status and figures of one transmission, or "busy"."""
        events = self.events(self.function("send"), self.controls(path, snr))
        joined = next(events)
        if joined.status_code == 503 and "full" in joined.text:
            return "busy"
        joined.raise_for_status()
        for event in events:
            if event.get("msg") == "process_completed":
                if not event["success"]:
                    return f"failed: {event['output']}"
                status, _, figures, *_ = event["output"]["data"]
                # The sentence names the seconds, which differ.
                return re.sub(r"; .* s\.", "", status) + figures
        return "failed: no answer"


class Hostile:
    """A visitor who sends what should break a server, one kind after the other."""

    def __init__(self, address: str, side: int) -> None:
        self.address, self.client, self.side = address, Client(address), side
        self.picture = self.client.upload(png(256, 256))
        # Scans that say the same again: too many of them, and as many as a picture may have.
        self.bombs = bomb(4096, 12_000), bomb(side, 50)
        # What costs the server little comes first.
        self.kinds = [
            self.boxes, self.nested, self.address_as_file, self.other_site, self.other_name,
            self.layers, self.pieces, self.many_boxes, self.garbage, self.large_files,
            self.many_files, self.bomb, self.slow, self.nothing_large, self.left_behind,
        ]  # fmt: skip

    def join(self, function: int, data: list[Any], stay: bool = True) -> str:
        """What becomes of a request, in a word or in the page's own."""
        events = self.client.events(function, data, INSISTENCE)
        joined = next(events)
        if joined.status_code != 200:
            return "busy" if joined.status_code == 503 else str(joined.status_code)
        for event in events:
            if not stay:
                return "left"
            if event.get("msg") == "process_completed":
                if not event["success"]:
                    return "refused"
                told = json.dumps(event["output"]["data"], ensure_ascii=False)
                alert = re.search(r'role=\\"alert\\"[^>]*>([^<]*)', told)
                return f"told “{alert[1]}”" if alert else "answered"
        return "no answer"

    def send(self, path: str, stay: bool = True, **changes: Any) -> str:
        data = self.client.controls(path, **changes)
        return self.join(self.client.function("send"), data, stay)

    def boxes(self) -> str:
        return self.send(self.picture, region="Boxes", boxes="1,1,9,9 " * 200_000)

    def many_boxes(self) -> str:
        return self.send(self.picture, region="Boxes", boxes="1,1,9,9 " * 125)

    def bomb(self) -> str:
        path = self.client.upload(self.bombs[0], "bomb.jpg")
        preview = self.client.function("photo", "change")
        return f"{self.join(preview, [stored(path)])}, {self.send(path)}"

    def slow(self) -> str:
        path = self.client.upload(self.bombs[1], "slow.jpg")
        return self.send(path, size="as it is")

    def layers(self) -> str:
        layers = [stored(self.picture)] * 2000
        editor = {"background": None, "layers": layers, "composite": None}
        return self.send(self.picture, editor=editor)

    def pieces(self) -> str:
        data = {"type": "layer", "index": "1000000000000", "id": "x"}
        fields = {"fn_name": "accept_blobs", "component_id": str(self.client.ids["editor"])}
        answer = self.client.http.post(
            "component_server", data={**data, **fields, "session_hash": "x"},
            files={"file": ("x", b"x" * 2**20)},
        )  # fmt: skip
        return str(answer.status_code)

    def nested(self) -> str:
        return str(self.client.http.post("queue/join", content=b"[" * 100_000).status_code)

    def address_as_file(self) -> str:
        return self.send("http://127.0.0.1:1/secret.png")

    def other_site(self) -> str:
        headers = {"origin": "http://evil.example"}
        files = {"files": ("photo.png", b"x", "image/png")}
        return str(self.client.http.post("upload", files=files, headers=headers).status_code)

    def other_name(self) -> str:
        return str(httpx.get(self.address, headers={"host": "evil.example"}).status_code)

    def large_files(self) -> str:
        files = [("files", (f"{n}.bin", bytes(31 * 2**20))) for n in range(3)]
        return str(self.client.http.post("upload", files=files).status_code)

    def many_files(self) -> str:
        paths = [self.client.upload(bytes(2**20), f"{n}.bin") for n in range(8)]
        return self.join(self.client.function("decode"), [[*map(stored, paths)] * 3, 1])

    def nothing_large(self) -> str:
        path = self.client.upload(png(4096, 4096))
        return self.send(path, steps=8, size="as it is")

    def left_behind(self) -> str:
        path = self.client.upload(png(self.side * 3 // 4, self.side * 3 // 4))
        return self.send(path, size="as it is", stay=False)

    def garbage(self) -> str:
        path = self.client.upload(os.urandom(100_000), "photo.png")
        return self.send(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument(
        "--hostile", type=int, default=0, help="so many of the clients; every attack at least once"
    )
    parser.add_argument("--side", type=int, default=4096, help="of the large pictures they send")
    parser.add_argument("--model", default="compact")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "lrisc", "-v", "app", "--port", "0", "--model", options.model],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        try:
            assert server.stderr is not None
            lines = iter(server.stderr.readline, "")
            address = next(
                m[0] for line in lines if (m := re.search(r"http://\S+(?=  \(Ctrl-C)", line))
            )
            log: list[str] = []
            threading.Thread(target=log.extend, args=(server.stderr,), daemon=True).start()
            process = psutil.Process(server.pid)
            wrong = measure(
                address, process, options.clients, options.seconds, options.hostile, options.side
            )
            if (code := server.poll()) is not None:
                print(f"the server ended by itself, exit code {code}:\n{''.join(log)[-3000:]}")
                wrong += 1
        finally:
            server.terminate()
            server.wait(60)
        left = len(list(Path(folder).iterdir()))
    print(f"after stopping: exit code {server.returncode}, {left} temporary files left")
    return 1 if wrong or left or server.returncode else 0


def measure(
    address: str, process: psutil.Process, clients: int, seconds: float, hostile: int, side: int
) -> int:
    """Returns how much is wrong: answers neither right nor busy, and memory that keeps growing."""
    first = Client(address)
    path = first.upload(png(768, 512))
    before, start = cpu(process), time.monotonic()
    _check(first.ask(path, 10.0))
    print(
        f"first answer, 768×512: {time.monotonic() - start:.2f} s, "
        f"{cpu(process) - before:.2f} s of CPU"
    )
    small = png(256, 256)
    path = first.upload(small)
    expected = {snr: _check(first.ask(path, snr)) for snr in SNRS}
    settled = process.memory_info().rss
    most = [settled]
    counts: Counter[str] = Counter()
    attacks: Counter[str] = Counter()
    # Their bombs take a while to make; the clock starts after that.
    attackers = [Hostile(address, side) for _ in range(hostile)]
    done: list[int] = []
    end = time.monotonic() + seconds

    def visit(number: int) -> None:
        client = Client(address)
        mine = client.upload(small)
        turn = number
        while time.monotonic() < end or len(done) < hostile:
            snr = SNRS[turn % len(SNRS)]
            answer = client.ask(mine, snr)
            kind = "busy" if answer == "busy" else "right"
            if answer not in ("busy", expected[snr]):
                kind = "wrong"
                print(f"wrong at {snr} dB: {answer[:300]}", file=sys.stderr)
            counts[kind] += 1
            turn += 1
            if kind == "busy":
                time.sleep(1)  # a person looks up and tries again

    def attack(attacker: Hostile) -> None:
        for number, kind in enumerate(itertools.cycle(attacker.kinds)):
            if number >= len(attacker.kinds) and time.monotonic() >= end:
                break
            try:
                became = kind()
            except (httpx.HTTPError, ValueError) as error:
                became = type(error).__name__
            attacks[f"{kind.__name__}: {became}"] += 1

    def guarded(number: int) -> None:
        try:
            attack(attackers[number]) if number < hostile else visit(number)
        except Exception as error:
            counts["wrong"] += 1
            print(f"client {number}: {error!r}", file=sys.stderr)
        finally:
            if number < hostile:
                done.append(number)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(clients)]
    before, start = cpu(process), time.monotonic()
    for thread in threads:
        thread.start()
    readers = 0
    while any(thread.is_alive() for thread in threads):
        most.append(process.memory_info().rss)
        readers = max(readers, memory_of_children(process))
        time.sleep(0.5)
    spent, took = cpu(process) - before, time.monotonic() - start
    print(
        f"{clients} clients for {took:.0f} s: {counts['right']} right, {counts['busy']} busy, "
        f"{counts['wrong']} wrong; server used {spent:.0f} s of CPU"
    )
    if hostile:
        print(f"{hostile} of them hostile, {attacks.total()} attacks:")
        print("\n".join(f"  {count} × {kind}" for kind, count in sorted(attacks.items())))
        print(f"processes that read pictures: at most {readers / 2**20:.0f} MB")
    print(
        f"memory: {settled / 2**20:.0f} MB before, at most {max(most) / 2**20:.0f} MB, "
        f"{most[-1] / 2**20:.0f} MB at the end"
    )
    grown = (most[-1] - settled) / 2**20
    print(f"grown by {grown:.0f} MB, {grown / max(counts['right'], 1):.2f} MB an answer")
    return counts["wrong"] + (grown > MAX_GROWTH_MB)


def _check(answer: str) -> str:
    """An answer to hold others against: a picture was sent. A failure repeated is not right."""
    if "Sent " not in answer or "PSNR" not in answer:
        sys.exit(f"the page does not send pictures, so nothing is measured: {answer[:300]}")
    return answer


def memory_of_children(process: psutil.Process) -> int:
    total = 0
    for child in process.children():
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return total


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
