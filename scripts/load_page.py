"""Many clients at once on the page: is every answer right or a clear "busy", and memory bounded?

Starts a server of its own, measures the first answer for a 768×512 picture, learns what each
request must be answered with, then lets the clients loose. Exit code 1 where anything is wrong.
"""

import argparse
import io
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
from pathlib import Path

import httpx
import matplotlib
import psutil
from PIL import Image

SNRS = (0.0, 5.0, 10.0, 15.0)
MAX_GROWTH_MB = 200  # under load, over what the server holds after its first answers


def portrait(width: int, height: int) -> bytes:
    """A PNG of matplotlib's sample portrait."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    buffer = io.BytesIO()
    Image.open(path).convert("RGB").resize((width, height)).save(buffer, "png")
    return buffer.getvalue()


class Client:
    """One visitor: speaks to the page as its JavaScript does."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address.rstrip("/") + "/gradio_api/", timeout=300)
        config = httpx.get(address.rstrip("/") + "/config", timeout=60).json()
        ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
        self.choices = {
            name: next(c["props"] for c in config["components"] if c["id"] == ids[name])["value"]
            for name in ("channel", "region", "size")
        }
        self.send = next(
            d["id"] for d in config["dependencies"] if [ids["send"], "click"] in d["targets"]
        )

    def upload(self, picture: bytes) -> str:
        answer = self.http.post("upload", files={"files": ("photo.png", picture, "image/png")})
        return str(answer.raise_for_status().json()[0])

    def ask(self, path: str, snr: float) -> str:
        """Status and figures of one transmission, or "busy"."""
        session = uuid.uuid4().hex
        photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
        channel, region, size = (self.choices[name] for name in ("channel", "region", "size"))
        data = [photo, None, snr, "1/48", channel, region, "", 0.5, 1, size, 0]
        joined = self.http.post(
            "queue/join", json={"data": data, "fn_index": self.send, "session_hash": session}
        )
        if joined.status_code == 503 and "full" in joined.text:
            return "busy"
        joined.raise_for_status()
        with self.http.stream("GET", "queue/data", params={"session_hash": session}) as events:
            for line in events.iter_lines():
                event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if event.get("msg") == "process_completed":
                    if not event["success"]:
                        return f"failed: {event['output']}"
                    status, _, figures, *_ = event["output"]["data"]
                    # The sentence names the seconds, which differ.
                    return re.sub(r"; .* s\.", "", status) + figures
        return "failed: no answer"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--model", default="compact")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "lrisc", "app", "--port", "0", "--model", options.model],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        try:
            assert server.stderr is not None
            lines = iter(server.stderr.readline, "")
            address = next(m[0] for line in lines if (m := re.search(r"http://\S+", line)))
            threading.Thread(target=server.stderr.read, daemon=True).start()
            wrong = measure(address, psutil.Process(server.pid), options.clients, options.seconds)
        finally:
            server.terminate()
            server.wait(60)
        left = len(list(Path(folder).iterdir()))
    print(f"after stopping: exit code {server.returncode}, {left} temporary files left")
    return 1 if wrong or left or server.returncode else 0


def measure(address: str, process: psutil.Process, clients: int, seconds: float) -> int:
    """Returns how much is wrong: answers neither right nor busy, and memory that keeps growing."""
    first = Client(address)
    path = first.upload(portrait(768, 512))
    before, start = cpu(process), time.monotonic()
    first.ask(path, 10.0)
    print(
        f"first answer, 768×512: {time.monotonic() - start:.2f} s, "
        f"{cpu(process) - before:.2f} s of CPU"
    )
    small = portrait(256, 256)
    path = first.upload(small)
    expected = {snr: first.ask(path, snr) for snr in SNRS}
    settled = process.memory_info().rss
    most = [settled]
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds

    def visit(number: int) -> None:
        client = Client(address)
        mine = client.upload(small)
        turn = number
        while time.monotonic() < end:
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

    def guarded(number: int) -> None:
        try:
            visit(number)
        except Exception as error:
            counts["wrong"] += 1
            print(f"client {number}: {error!r}", file=sys.stderr)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(clients)]
    before, start = cpu(process), time.monotonic()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most.append(process.memory_info().rss)
        time.sleep(0.5)
    spent, took = cpu(process) - before, time.monotonic() - start
    print(
        f"{clients} clients for {took:.0f} s: {counts['right']} right, {counts['busy']} busy, "
        f"{counts['wrong']} wrong; server used {spent:.0f} s of CPU"
    )
    print(
        f"memory: {settled / 2**20:.0f} MB before, at most {max(most) / 2**20:.0f} MB, "
        f"{most[-1] / 2**20:.0f} MB at the end"
    )
    grown = (most[-1] - settled) / 2**20
    print(f"grown by {grown:.0f} MB, {grown / max(counts['right'], 1):.2f} MB an answer")
    return counts["wrong"] + (grown > MAX_GROWTH_MB)


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    sys.exit(main())
