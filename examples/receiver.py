"""A receiver of LRISC frames in one file, with numpy and onnxruntime only.

Written from docs/reference/frame-format.md. It reads a recording of one sample a symbol that begins
with the frame, over a channel with one gain and white noise:

    lrisc export --onnx networks
    lrisc encode photo.jpg -o sent && lrisc channel sent -o received --snr 10
    python examples/receiver.py received.sigmf-data networks out.png

Exit code 3 and no picture where the header or the rate map fails its CRC.
"""

import argparse
import json
import math
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

PILOTS, HEADER_BITS, HEADER_SYMBOLS = 32, 100, 310
# Bits per symbol, and the code rate as numerator and denominator.
MCS = ((2, 1, 5), (2, 1, 3), (2, 1, 2), (2, 2, 3), (4, 1, 2), (4, 2, 3), (4, 3, 4), (6, 2, 3),
       (6, 3, 4), (2, 5, 22), (2, 4, 11), (2, 6, 11), (4, 3, 8), (4, 5, 8), (6, 3, 5))  # fmt: skip
FIELDS = (("version", 4), ("height", 12), ("width", 12), ("checkpoint", 16), ("map_bits", 20),
          ("payload", 24), ("scale", 7), ("power", 1), ("mcs", 4))  # fmt: skip


class OutageError(Exception):
    """A CRC is wrong."""


# Coded blocks ---------------------------------------------------------------------------------


def crc24a(bits: np.ndarray) -> np.ndarray:
    value = 0
    for bit in bits.tolist():
        value = (value << 1) ^ (0x1864CFB if (value >> 23 & 1) ^ int(bit) else 0)
        value &= 0xFFFFFF
    return np.array([value >> i & 1 for i in range(23, -1, -1)], np.uint8)


class Ldpc:
    """TS 38.212, 5.3.2 and 5.4.2.1, redundancy version 0."""

    def __init__(self, graphs: dict, k: int, n: int) -> None:
        graph = 2 if k <= 292 or (k <= 3824 and k / n <= 0.67) or k / n <= 0.25 else 1
        self.k, self.n, self.graph = k, n, graph
        self.first = 22 if graph == 1 else 10
        used = 22 if graph == 1 else 10 if k > 640 else 9 if k > 560 else 8 if k > 192 else 6
        self.z, which = min(
            (odd << power, which)
            for which, odd in enumerate((2, 3, 5, 7, 9, 11, 13, 15))
            for power in range(9)
            if odd << power <= 384 and used * (odd << power) >= k
        )
        entries = np.array(graphs[str(graph)])
        columns = math.ceil((n + 2 * self.z + self.first * self.z - k) / self.z)
        self.columns = max(columns, self.first + 4)
        entries = entries[entries[:, 0] < self.columns - self.first]
        self.rows, self.cols = entries[:, 0], entries[:, 1]
        self.shift = entries[:, 2 + which] % self.z

    def encode(self, message: np.ndarray) -> np.ndarray:
        z, first = self.z, self.first
        word = np.zeros((self.columns, z), np.uint8)
        word[:first].reshape(-1)[: self.k] = message

        def added(row: int, columns: int) -> np.ndarray:
            total = np.zeros(z, np.uint8)
            for e in np.flatnonzero((self.rows == row) & (self.cols < columns)):
                total ^= np.roll(word[self.cols[e]], -self.shift[e])
            return total

        core = [added(row, first) for row in range(4)]
        a, b, _ = (int(s) for s in self.shift[(self.cols == first) & (self.rows < 4)])
        word[first] = np.roll(core[0] ^ core[1] ^ core[2] ^ core[3], b)
        turned = np.roll(word[first], -a)
        word[first + 1], word[first + 3] = core[0] ^ turned, core[3] ^ turned
        third = core[2] ^ word[first + 3] if self.graph == 1 else core[1] ^ word[first + 1]
        word[first + 2] = third
        for row in range(4, self.columns - first):
            word[first + row] = added(row, first + 4)
        flat = word.reshape(-1)
        return np.concatenate([flat[2 * z : self.k], flat[first * z :]])[: self.n]

    def decode(self, llr: np.ndarray, iterations: int = 30) -> np.ndarray:
        """Belief propagation; ``llr`` is log p(0)/p(1)."""
        z, first, head = self.z, self.first, self.k - 2 * self.z
        channel = np.zeros(self.columns * z)
        channel[self.k : first * z] = 20
        llr = llr.clip(-20, 20)
        channel[2 * z : self.k] = llr[:head]
        channel[first * z : first * z + self.n - head] = llr[head:]
        channel = channel.reshape(self.columns, z)
        edges = len(self.rows)
        to_row = (np.arange(z) + self.shift[:, None]) % z
        to_column = (np.arange(z) - self.shift[:, None]) % z
        by_row = (np.arange(self.rows.max() + 1)[:, None] == self.rows).astype(float)
        by_column = (np.arange(self.columns)[:, None] == self.cols).astype(float)

        def phi(x: np.ndarray) -> np.ndarray:
            return -np.log(np.tanh(x.clip(1e-7, 30) / 2))

        total, back = channel, np.zeros((edges, z))
        for _ in range(iterations):
            forth = np.take_along_axis(total[self.cols] - back, to_row, 1).clip(-20, 20)
            size, minus = phi(np.abs(forth)), (forth < 0).astype(float)
            sign = 1 - 2 * (((by_row @ minus)[self.rows] - minus) % 2)
            out = sign * phi((by_row @ size)[self.rows] - size)
            back = np.take_along_axis(out.clip(-20, 20), to_column, 1)
            total = channel + by_column @ back
            hard = np.take_along_axis((total[self.cols] < 0).astype(float), to_row, 1)
            if not ((by_row @ hard) % 2).any():
                break
        return (total.reshape(-1)[: self.k] < 0).astype(np.uint8)


def qam_levels(half: int) -> np.ndarray:
    """Amplitude of an axis by its bits, the first the most significant."""
    level = np.ones(2**half)
    labels = np.arange(2**half)
    for power, bit in enumerate(range(half - 1), 1):
        level = 2**power - (1 - 2 * (labels >> bit & 1)) * level
    level = (1 - 2 * (labels >> (half - 1) & 1)) * level
    return level / math.sqrt(2 * np.mean(level**2))


def segments_of(bits: int, mcs: int) -> tuple[int, int, int]:
    """Segments, bits in each, and coded bits of each."""
    m, a, b = MCS[mcs]
    count = math.ceil(bits / 3800)
    size = math.ceil(bits / count)
    return count, size, (size + 24) * b // (a * m) * m


def block_symbols(bits: int, mcs: int) -> int:
    count, _, coded = segments_of(bits, mcs)
    return count * coded // MCS[mcs][0]


def encode_block(graphs: dict, bits: np.ndarray, mcs: int) -> np.ndarray:
    m = MCS[mcs][0]
    count, size, coded = segments_of(bits.size, mcs)
    code, levels = Ldpc(graphs, size + 24, coded), qam_levels(m // 2)
    padded = np.zeros(count * size, np.uint8)
    padded[: bits.size] = bits
    symbols = []
    for part in padded.reshape(count, size):
        word = code.encode(np.concatenate([part, 1 - crc24a(part)]))
        pairs = word.reshape(m, -1).T.reshape(-1, m // 2, 2)
        index = (pairs * 2 ** np.arange(m // 2 - 1, -1, -1)[:, None]).sum(1)
        symbols.append(levels[index[:, 0]] + 1j * levels[index[:, 1]])
    return np.concatenate(symbols)


def decode_block(graphs: dict, symbols: np.ndarray, n0: float, bits: int, mcs: int) -> np.ndarray:
    m = MCS[mcs][0]
    count, size, coded = segments_of(bits, mcs)
    code, levels, labels = (
        Ldpc(graphs, size + 24, coded),
        qam_levels(m // 2),
        np.arange(2 ** (m // 2)),
    )
    found = []
    for part in symbols.reshape(count, -1):
        axes = np.stack([part.real, part.imag], 1)[..., None]
        likely = -((axes - levels) ** 2) / n0
        llr = [
            np.logaddexp.reduce(likely[..., labels >> bit & 1 == 0], -1)
            - np.logaddexp.reduce(likely[..., labels >> bit & 1 == 1], -1)
            for bit in range(m // 2 - 1, -1, -1)
        ]
        word = code.decode(np.stack(llr, 1).reshape(-1, m).T.reshape(-1))
        if (word[size:] == crc24a(word[:size])).any():
            raise OutageError
        found.append(word[:size])
    return np.concatenate(found)[:bits]


# Rate map -------------------------------------------------------------------------------------


def decode_map(bits: np.ndarray, h: int, w: int, table: np.ndarray) -> np.ndarray:
    text = "".join(map(str, bits.tolist()))
    levels, wrap = table.shape[1], (1 << 64) - 1

    def word(i: int) -> int:
        return int(text[32 * i : 32 * i + 32].ljust(32, "0"), 2)

    cut = np.float32((1 << 24) - levels) / np.float32(1 << 16)
    lower, size, point, following = 0, wrap, word(0) << 32 | word(1), 2
    found = np.zeros((h, w), int)
    for r, c in sorted(np.ndindex(h, w), key=lambda at: (at[1] + 2 * at[0], at[0])):
        if r == c == 0:
            context = len(table) - 1
        else:

            def at(down: int, right: int, other: int, r: int = r, c: int = c) -> int:
                inside = r + down >= 0 and 0 <= c + right < w
                return int(found[r + down, c + right]) if inside else other

            west = at(0, -1, at(-1, 0, 0))
            north = at(-1, 0, west)
            values = (at(0, -2, west), west, at(-1, -1, north), north, at(-1, 1, north),
                      at(-2, 0, north))  # fmt: skip
            mean = sum(g * v for g, v in zip((2, 6, 0, 5, 2, 1), values, strict=True))
            spread = sum(abs(16 * v - mean) for v in values)
            kind = sum(limit <= spread for limit in (24, 48, 72, 96, 144, 192))
            kind = 7 if r == 0 or c == 0 else kind
            context = kind * (4 * (levels - 1) + 1) + (mean + 2) // 4
        sums = np.concatenate([[0], np.cumsum(table[context])[:-1]]).astype(np.float32)
        left = [int(np.float32(s * cut)) + i for i, s in enumerate(sums)] + [1 << 24]
        scale = size >> 24
        quantile = ((point - lower) & wrap) // scale
        if quantile >= 1 << 24:
            raise OutageError
        level = max(i for i in range(levels) if left[i] <= quantile)
        found[r, c] = level
        lower = (lower + scale * left[level]) & wrap
        size = scale * (left[level + 1] - left[level])
        if size < 1 << 32:
            lower, size = lower << 32 & wrap, size << 32
            point, following = point << 32 & wrap | word(following), following + 1
    return found


# Receiving ------------------------------------------------------------------------------------


def pilots() -> np.ndarray:
    bits = np.array([int(bit) for bit in f"{0x243F6A8885A308D3:064b}"]).reshape(-1, 2)
    return (1 - 2 * bits[:, 0] + 1j * (1 - 2 * bits[:, 1])) / math.sqrt(2)


def fit(received: np.ndarray, known: np.ndarray) -> tuple[complex, float]:
    """Gain and noise variance from symbols that are known."""
    gain = np.vdot(known, received) / np.vdot(known, known)
    noise = np.mean(np.abs(received - gain * known) ** 2) * len(known) / (len(known) - 1)
    return complex(gain), max(float(noise), 1e-5 * abs(gain) ** 2)


def receive(samples: np.ndarray, folder: Path) -> np.ndarray:
    """The picture, uint8 (H, W, 3)."""
    about = json.loads((folder / "lrisc.json").read_text())
    config, graphs = about["config"], about["base_graphs"]
    start = PILOTS + HEADER_SYMBOLS
    gain, n0 = fit(samples[:PILOTS], pilots())
    variance = n0 / abs(gain) ** 2
    bits = decode_block(graphs, samples[PILOTS:start] / gain, variance, HEADER_BITS, 0)
    text, header = "".join(map(str, bits.tolist())), {}
    for name, width in FIELDS:
        header[name], text = int(text[:width], 2), text[width:]
    if header["version"] != 2 or header["checkpoint"] != about["checkpoint_id"]:
        sys.exit("the frame has another version, or was made with another checkpoint")
    if header["mcs"] >= len(MCS):
        sys.exit("the frame's rate map has a code that this receiver does not know")
    if not header["map_bits"] or not header["payload"]:
        raise OutageError
    known = np.concatenate([pilots(), encode_block(graphs, bits, 0)])
    gain, n0 = fit(samples[:start], known)

    side = block_symbols(header["map_bits"], header["mcs"])
    length = side + header["payload"]
    step = max(1, round(length * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, length) != 1:
        step += 1
    if len(samples) < start + length:
        sys.exit(f"the recording is cut short: {len(samples)} symbols of {start + length}")
    body = samples[start:][np.arange(length) * step % length]
    variance = n0 / abs(gain) ** 2
    map_bits = decode_block(graphs, body[:side] / gain, variance, header["map_bits"], header["mcs"])
    coded = encode_block(graphs, map_bits, header["mcs"])
    total = start + length
    scale = math.sqrt(total / (total - side + float(np.sum(np.abs(coded) ** 2))))
    gain, n0 = fit(
        np.concatenate([samples[:start], body[:side]]), np.concatenate([known, coded]) * scale
    )

    sides = header["height"] + 1, header["width"] + 1
    h, w = (-(-side // about["multiple"]) * about["multiple"] // 16 for side in sides)
    levels = decode_map(map_bits, h, w, np.array(about["rate_map_prior"]))
    counts = np.array(config["rate_values"])[levels].reshape(-1)
    if counts.sum() != header["payload"]:
        sys.exit("the rate map and the payload do not fit together")
    power = counts * counts.sum() / max(np.sum(counts**2), 1) if header["power"] else np.ones(h * w)
    h_of = np.repeat(np.sqrt(power), counts) * gain * scale
    estimate = np.conj(h_of) * body[side:] / (np.abs(h_of) ** 2 + n0)
    slots = np.zeros((h * w, config["rate_values"][-1], 2), np.float32)
    sent = np.arange(slots.shape[1]) < counts[:, None]
    slots[sent] = np.stack([estimate.real, estimate.imag], 1)
    own = power * abs(gain * scale) ** 2 / n0
    own = np.where(counts > 0, own, np.mean(np.abs(h_of) ** 2) / n0)
    snr_db = (10 * np.log10(own)).clip(-10, 25).astype(np.float32)

    decoder = onnxruntime.InferenceSession(folder / "jscc_decoder.onnx")
    inputs = {"slots": slots[None], "levels": levels[None].astype(np.int64), "snr_db": snr_db[None]}
    latent = decoder.run(None, inputs)[0]
    synthesis = onnxruntime.InferenceSession(folder / "synthesis.onnx")
    noise = np.random.default_rng(0).normal(size=(1, 3, 16 * h, 16 * w))
    noise = (noise * config["sigma_start"]).astype(np.float32)
    image = synthesis.run(None, {"latent": latent, "start": noise})[0]
    image = image[0, :, : sides[0], : sides[1]].clip(-1, 1).transpose(1, 2, 0)
    return np.round((image / 2 + 0.5) * 255).astype(np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    height, width, _ = pixels.shape
    lines = np.pad(pixels.reshape(height, -1), ((0, 0), (1, 0)))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "recording", type=Path, help="NAME.sigmf-data, cf32_le, one sample a symbol"
    )
    parser.add_argument("networks", type=Path, help="folder of lrisc export --onnx")
    parser.add_argument("picture", type=Path, help="OUT.png")
    arguments = parser.parse_args()
    if arguments.picture.suffix.lower() != ".png":
        parser.error(f"{arguments.picture}: the picture's name must end in .png")
    try:
        pixels = receive(np.fromfile(arguments.recording, "<c8"), arguments.networks)
    except OutageError:
        print("outage: a coded block fails its CRC", file=sys.stderr)
        sys.exit(3)
    write_png(arguments.picture, pixels)


if __name__ == "__main__":
    main()
