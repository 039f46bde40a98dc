"""No command in README or docs goes stale: each is parsed, and the cheap ones are run."""

import importlib.util
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main
from PIL import Image

from lrisc import cli
from lrisc.cli import options
from lrisc.link.channels import CHANNELS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("lrisc", "make", "python", "torchrun", "accelerate")
# What runs in a second with a tiny checkpoint. Training, sweeps and the page have their own tests.
CHEAP = ("transmit", "encode", "channel", "decode", "models")


@dataclass(frozen=True)
class Command:
    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}: {' '.join(self.words)}"


def code_lines(text: str) -> list[str]:
    """Lines of fenced and indented code, continuation lines joined."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = [line[4:] for line in rest.splitlines() if line.startswith("    ")]
    inline = re.findall(r"`((?:python scripts/|make |lrisc \w+ )[^`…|{]*)`", rest)
    joined = "\n".join([*fenced, *indented]).replace("\\\n", " ")
    return [*joined.splitlines(), *inline]


def commands(page: Path) -> list[Command]:
    found: list[Command] = []
    for line in code_lines(page.read_text()):
        words = line.strip().split()
        if not words or words[0] not in PROGRAMS or "…" in line or line.startswith("python -c"):
            continue
        # What the shell would put in place of $(…) is a file.
        plain = re.sub(r'"\$\(.*\)[^"]*"', "photo.jpg", line)
        found.append(Command(page, tuple(shlex.split(plain, comments=True))))
    return found


ALL = [command for page in PAGES for command in commands(page)]


def test_there_are_commands() -> None:
    assert len(ALL) > 25
    assert {command.words[0] for command in ALL} >= {"lrisc", "make", "python", "torchrun"}


@pytest.mark.parametrize("command", ALL, ids=str)
def test_the_command_exists_and_takes_these_options(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader's own modules are not here.
    monkeypatch.setattr(options, "import_plugins", lambda modules: None)
    program, *arguments = command.words
    if program == "lrisc":
        check_lrisc(arguments)
    elif program == "make":
        makefile = (ROOT / "Makefile").read_text()
        variables = dict(word.split("=", 1) for word in arguments if "=" in word)
        assert set(variables) <= set(re.findall(r"^(\w+) \?=", makefile, re.MULTILINE))
        targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    else:
        check_python(arguments)
    for word in arguments:
        if word.startswith("configs/"):
            assert (ROOT / word).exists()


def check_lrisc(arguments: list[str]) -> None:
    name, *rest = arguments
    group = typer.main.get_command(cli.app)
    assert name in group.commands  # type: ignore[attr-defined]
    command = group.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, rest)  # raises where options or types do not fit


def check_python(arguments: list[str]) -> None:
    if "-m" in arguments:
        module = arguments[arguments.index("-m") + 1]
        assert importlib.util.find_spec(module) is not None
    else:
        script = ROOT / next(word for word in arguments if word.endswith(".py"))
        source = script.read_text()
        for word in arguments:
            if word.startswith("--"):
                assert f'"{word}"' in source, f"{script.name} has no option {word}"


@pytest.fixture
def folder(
    tmp_path: Path, portrait: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> Path:  # fmt: skip
    """A working folder with the files that the pages speak of."""
    portrait.resize((360, 288)).save(tmp_path / "photo.jpg")  # holds the regions of the pages
    (tmp_path / "pictures").mkdir()
    portrait.resize((128, 128)).save(tmp_path / "pictures" / "small.jpg")
    # The example of extending.md, and no trace of it in other tests.
    shutil.copy(ROOT / "tests" / "link" / "nakagami.py", tmp_path)
    monkeypatch.setattr(CHANNELS, "_things", dict(CHANNELS))
    monkeypatch.delitem(sys.modules, "nakagami", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_cheap_commands_run(
    page: Path, folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for command in commands(page):
        if command.words[0] != "lrisc" or command.words[1] not in CHEAP:
            continue
        words = list(command.words)
        if "--model" in words:
            words[words.index("--model") + 1] = str(tiny_folder)
        elif words[1] in ("transmit", "encode", "decode"):
            words += ["--model", str(tiny_folder)]
        monkeypatch.setattr(sys, "argv", words)
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        # A fading channel may lose a frame.
        allowed = (0, 3) if "rayleigh" in words else (0,)
        assert code in allowed, f"{command}: {capsys.readouterr().err}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(
    page: Path, folder: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lrisc import transmission
    from lrisc.checkpoint import load_checkpoint

    tiny = load_checkpoint(tiny_folder)
    # The examples name no model or "compact"; a tiny one does as well here.
    monkeypatch.setattr(transmission, "load_checkpoint", lambda name, *_, **__: tiny)
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), {})
