"""Draw pictures that are no photographs: `make_drawings.py FOLDER --number 24 --seed 0`.

Pages of text, thin coloured lines, charts, flat shapes, skies and screens, in turn: what a codec
that has learned from photographs alone does badly. Every picture is a function of the seed and its
number. For training take another seed than for measuring.
"""

from __future__ import annotations

import argparse
import colorsys
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Draw = ImageDraw.ImageDraw

SYLLABLES = [
    "ka",
    "to",
    "mi",
    "res",
    "en",
    "al",
    "ba",
    "do",
    "fi",
    "gu",
    "lo",
    "ne",
    "pa",
    "ri",
    "su",
    "te",
    "vo",
    "wa",
    "xi",
    "ze",
    "or",
    "un",
    "ist",
    "der",
    "le",
    "con",
    "sig",
    "nal",
]


@lru_cache(maxsize=1)
def font_files() -> tuple[str, ...]:
    """Those that come with matplotlib, so that every machine has them."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    return tuple(
        str(file) for file in sorted(folder.glob("DejaVu*.ttf")) if "Display" not in file.name
    )


class Artist:
    """One picture, drawn twice as large so that edges come out smooth."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng, self.width, self.height = rng, 2 * width, 2 * height
        self.picture = Image.new("RGB", (self.width, self.height), self.paper())
        if rng.random() < 0.2:
            self.picture = self.gradient(self.paper(), self.paper())
        self.draw = ImageDraw.Draw(self.picture)

    def finish(self) -> Image.Image:
        return self.picture.resize((self.width // 2, self.height // 2), Image.Resampling.BOX)

    def colour(
        self, saturation: tuple[float, float] = (0.3, 1), value: tuple[float, float] = (0.2, 1)
    ) -> Colour:
        hue, s, v = self.rng.random(), self.rng.uniform(*saturation), self.rng.uniform(*value)
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, s, v))
        return red, green, blue

    def paper(self) -> Colour:
        chance = self.rng.random()
        if chance < 0.5:
            return (255, 255, 255)
        return self.colour((0, 0.35), (0.8, 1)) if chance < 0.8 else self.colour((0, 1), (0, 0.4))

    def background(self) -> Colour:
        """In the corner, where the paper shows."""
        red, green, blue = self.picture.getpixel((3, 3))  # type: ignore[misc]
        return red, green, blue

    def ink(self, on: Colour | None = None) -> Colour:
        """Readable on the paper, or on a colour."""
        light = sum(on or self.background()) > 380
        if self.rng.random() < 0.4:
            return (0, 0, 0) if light else (255, 255, 255)
        return self.colour((0.5, 1), (0.1, 0.75)) if light else self.colour((0, 0.6), (0.75, 1))

    def point(self) -> tuple[float, float]:
        return self.rng.uniform(0, self.width), self.rng.uniform(0, self.height)

    def font(self, low: int, high: int) -> ImageFont.FreeTypeFont:
        size = 2 * int(low * (high / low) ** self.rng.random())
        return ImageFont.truetype(str(self.rng.choice(font_files())), size)

    def words(self, number: int) -> str:
        made = []
        for _ in range(number):
            word = "".join(self.rng.choice(SYLLABLES, self.rng.integers(1, 4)))
            if self.rng.random() < 0.1:
                word = str(self.rng.integers(0, 10000))
            made.append(word.capitalize() if self.rng.random() < 0.15 else word)
        return " ".join(made)

    def gradient(self, first: Colour, second: Colour) -> Image.Image:
        angle = self.rng.choice(
            [0, math.pi / 2, self.rng.uniform(0, 2 * math.pi)], p=[0.2, 0.5, 0.3]
        )
        y, x = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        along = math.cos(angle) * x / self.width + math.sin(angle) * y / self.height
        along = ((along - along.min()) / np.ptp(along)) ** self.rng.uniform(0.6, 1.6)
        mixed = (1 - along[..., None]) * np.array(first) + along[..., None] * np.array(second)
        return Image.fromarray(mixed.round().astype(np.uint8))


def text(artist: Artist) -> None:
    rng = artist.rng
    font, ink = artist.font(8, 36), artist.ink()
    left, top = rng.integers(10, 80, 2)
    columns = int(rng.integers(1, 3))
    for column in range(columns):
        x, y = left + column * artist.width / columns, float(top)
        while y < artist.height:
            if rng.random() < 0.1:
                y += font.size
            line_font = font if rng.random() < 0.9 else artist.font(10, 48)
            colour = ink if rng.random() < 0.85 else artist.ink()
            artist.draw.text((x, y), artist.words(12), colour, line_font)
            y += line_font.size * rng.uniform(1.15, 1.5)
        if columns > 1:
            edge = (column + 1) * artist.width / columns
            artist.draw.rectangle((edge - 12, 0, artist.width, artist.height), artist.background())


def curve(artist: Artist) -> list[tuple[float, float]]:
    """A smooth line through four points (a Bezier curve)."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (artist.point() for _ in range(4))
    t = np.linspace(0, 1, 60)
    weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    x = sum(w * p for w, p in zip(weights, (x0, x1, x2, x3), strict=True))
    y = sum(w * p for w, p in zip(weights, (y0, y1, y2, y3), strict=True))
    return list(zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True))


def lines(artist: Artist) -> None:
    rng = artist.rng
    for _ in range(rng.integers(5, 40)):
        colour, width = artist.ink(), int(rng.integers(2, 7))
        kind = rng.random()
        if kind < 0.35:
            artist.draw.line([artist.point(), artist.point()], colour, width)
        elif kind < 0.7:
            artist.draw.line(curve(artist), colour, width, joint="curve")
        else:
            (x, y), radius = artist.point(), rng.uniform(10, 0.4 * artist.width)
            artist.draw.arc(
                (x - radius, y - radius, x + radius, y + radius),
                0,
                rng.uniform(60, 360),
                colour,
                width,
            )


def chart(artist: Artist) -> None:
    rng, draw = artist.rng, artist.draw
    left, top = 0.12 * artist.width, 0.1 * artist.height
    right, bottom = 0.95 * artist.width, 0.85 * artist.height
    font, ink = artist.font(8, 14), artist.ink()
    grey = (200, 200, 200)
    for tick in range(6):
        y = bottom + (top - bottom) * tick / 5
        x = left + (right - left) * tick / 5
        if rng.random() < 0.7:
            draw.line([(left, y), (right, y)], grey, 2)
        draw.text((left - 0.09 * artist.width, y - font.size / 2), str(tick * 20), ink, font)
        draw.text((x - font.size / 2, bottom + 6), f"{tick / 5:.1f}", ink, font)
    if rng.random() < 0.5:
        bars = int(rng.integers(4, 15))
        step = (right - left) / bars
        one = artist.colour((0.4, 1), (0.4, 0.9))
        for bar in range(bars):
            height = rng.uniform(0.05, 1) * (bottom - top)
            x = left + bar * step
            fill = one if rng.random() < 0.6 else artist.colour((0.4, 1), (0.4, 0.9))
            draw.rectangle((x + 0.15 * step, bottom - height, x + 0.85 * step, bottom), fill)
    else:
        for _ in range(rng.integers(1, 6)):
            values = np.cumsum(rng.normal(size=40))
            values = bottom - (values - values.min()) / np.ptp(values) * (
                bottom - top
            ) * rng.uniform(0.4, 1)
            x = np.linspace(left, right, 40)
            points = list(zip(x.tolist(), values.tolist(), strict=True))
            colour = artist.colour((0.5, 1), (0.3, 0.9))
            draw.line(points, colour, int(rng.integers(2, 6)), joint="curve")
            if rng.random() < 0.4:
                for px, py in points[::3]:
                    draw.ellipse((px - 6, py - 6, px + 6, py + 6), colour)
    draw.line([(left, top), (left, bottom), (right, bottom)], ink, 3)
    draw.text((left, top - 2 * font.size), artist.words(4), ink, font)


def shapes(artist: Artist) -> None:
    rng, draw = artist.rng, artist.draw
    outline = artist.ink() if rng.random() < 0.6 else None
    for _ in range(rng.integers(4, 25)):
        (x, y), fill = artist.point(), artist.colour((0, 1), (0.1, 1))
        w, h = rng.uniform(20, 0.5 * artist.width, 2)
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        width = int(rng.integers(2, 9))
        kind = rng.random()
        if kind < 0.3:
            draw.ellipse(box, fill, outline, width)
        elif kind < 0.6:
            draw.rounded_rectangle(box, min(w, h) * rng.uniform(0, 0.5), fill, outline, width)
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
            points = [(x + w / 2 * math.cos(a), y + h / 2 * math.sin(a)) for a in angles]
            draw.polygon(points, fill, outline, width)


def sky(artist: Artist) -> None:
    rng = artist.rng
    picture = artist.gradient(
        artist.colour((0.1, 0.9), (0.3, 1)), artist.colour((0, 0.7), (0.4, 1))
    )
    pixels = np.asarray(picture).astype(np.float32)
    if rng.random() < 0.6:  # clouds: smooth noise of a few octaves
        cloud = np.zeros((artist.height, artist.width), np.float32)
        for octave in range(1, 5):
            cells = rng.random((2**octave + 1, 2 ** (octave + 1) + 1), dtype=np.float32)
            smooth = Image.fromarray(cells).resize(
                (artist.width, artist.height), Image.Resampling.BICUBIC
            )
            cloud += np.asarray(smooth) / 2**octave
        cover = np.clip((cloud - rng.uniform(0.3, 0.6)) * rng.uniform(0.5, 3), 0, 1)[..., None]
        pixels += (
            (np.array(artist.colour((0, 0.2), (0.7, 1))) - pixels) * cover * rng.uniform(0.2, 0.9)
        )
    if rng.random() < 0.4:
        pixels += rng.normal(0, rng.uniform(0.5, 4), pixels.shape)
    artist.picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(artist.picture)
    if rng.random() < 0.3:
        (x, y), radius = artist.point(), rng.uniform(10, 60)
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), artist.colour((0, 0.5), (0.9, 1))
        )
    if rng.random() < 0.5:  # a horizon
        ridge = artist.height * rng.uniform(0.6, 0.95) + np.cumsum(rng.normal(0, 6, 80))
        x = np.linspace(0, artist.width, 80)
        land = [
            *zip(x.tolist(), ridge.tolist(), strict=True),
            (artist.width, artist.height),
            (0, artist.height),
        ]
        draw.polygon(land, artist.colour((0, 0.7), (0, 0.4)))


def screen(artist: Artist) -> None:
    rng = artist.rng
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(-0.1, 0.6) * artist.width, rng.uniform(-0.1, 0.6) * artist.height
        w, h = rng.uniform(0.3, 0.9) * artist.width, rng.uniform(0.3, 0.9) * artist.height
        back, bar = artist.paper(), artist.colour((0, 0.8), (0.2, 0.95))
        font = artist.font(8, 15)
        line = 1.4 * font.size
        draw = artist.draw
        draw.rectangle((x, y, x + w, y + h), back, artist.ink(back), 2)
        draw.rectangle((x, y, x + w, y + 1.6 * line), bar)
        draw.text((x + 10, y + 0.2 * line), artist.words(3), artist.ink(bar), font)
        at = y + 2 * line
        while at < y + h - line:
            if rng.random() < 0.2:
                fill = artist.colour((0.2, 1), (0.3, 1))
                wide = rng.uniform(3, 9) * font.size
                draw.rounded_rectangle((x + 12, at, x + 12 + wide, at + 1.3 * line), 8, fill)
                draw.text((x + 20, at + 0.1 * line), artist.words(1), artist.ink(fill), font)
                at += 1.7 * line
            else:
                words = artist.words(1 + int(w / (5 * font.size)))
                while draw.textlength(words, font) > w - 30 and " " in words:
                    words = words.rsplit(" ", 1)[0]
                draw.text((x + 12, at), words, artist.ink(back), font)
                at += line


KINDS: tuple[Callable[[Artist], None], ...] = (text, lines, chart, shapes, sky, screen)


def drawing(seed: int, number: int, width: int, height: int) -> tuple[str, Image.Image]:
    """Name of its kind, and the picture."""
    kind = KINDS[number % len(KINDS)]
    artist = Artist(np.random.default_rng([seed, number]), width, height)
    kind(artist)
    return kind.__name__, artist.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=320)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for number in range(args.number):
        kind, picture = drawing(args.seed, number, args.width, args.height)
        picture.save(args.folder / f"{kind}-{number:04d}.png")


if __name__ == "__main__":
    main()
