from importlib.metadata import EntryPoint

import pytest

from lrisc import registry
from lrisc.errors import InputError
from lrisc.registry import Registry, UnknownNameError, import_plugins


def offer(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    def offered(group: str) -> list[EntryPoint]:
        return [entry for entry in entries if entry.group == group]

    monkeypatch.setattr(registry, "entry_points", offered)


def test_own_things_and_added_ones() -> None:
    things = Registry("thing", {"one": 1})
    things.add("two", 2)
    assert list(things) == ["one", "two"]
    assert things["two"] == 2
    assert "three" not in things
    with pytest.raises(UnknownNameError, match=r"^unknown thing 'three'; choose one of one, two$"):
        things["three"]


def test_installed_packages_offer_things(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(
        monkeypatch,
        EntryPoint("pi", "math:pi", "lrisc.things"),
        EntryPoint("broken", "no_such_module:thing", "lrisc.things"),
        EntryPoint("e", "math:e", "lrisc.others"),
    )
    things = Registry("thing", {"one": 1.0})
    assert list(things) == ["one", "broken", "pi"]
    assert things["pi"] == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(InputError, match="the thing broken cannot be loaded: No module named"):
        things["broken"]
    assert things.origin("one") == things.origin("pi") == ""


def test_a_plugin_that_cannot_be_imported() -> None:
    with pytest.raises(InputError, match="cannot import the plugin no_such_module"):
        import_plugins(["no_such_module"])
