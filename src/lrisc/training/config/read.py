"""Configs from YAML files and ``key=value`` overrides, and what may change on resuming.

Every key is checked: an unknown one is an error, not a silent default.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml

from lrisc.errors import InputError, shown
from lrisc.files import check_regular
from lrisc.training.config.schema import Range, Rising, Shares, Some, StageConfig, flatten, plain

_MAX_YAML_BYTES = 2**18
_HARMLESS = frozenset(
    (
        *("output", "data", "validation", "parent", "crops.cache", "loss.lpips_weights"),
        *("crops.workers", "roi.masks"),
        *("steps", "epochs", "max_minutes", "save_minutes", "log_every", "resume_anyway"),
        *("prior_pictures", "masks", "maps"),
    )
)
"""Keys that may change on resuming: places, lengths and logs. Other pictures and another parent are
noticed by their hashes, whatever they are called."""


def config_changes(saved: Mapping[str, Any], config: StageConfig) -> list[str]:
    """One line per key that differs from the saved config and changes what is trained.

    Args:
        saved: a config as :func:`flatten` returned it, perhaps after a trip through JSON.
        config: the present one.
    """
    now = flatten(config)
    lines: list[str] = []
    for key in sorted(set(saved) | set(now)):
        old, new = plain(saved.get(key)), plain(now.get(key))
        if old != new and key not in _HARMLESS and not key.startswith("validate."):
            lines.append(f"{key}: {old} -> {new}")
    return lines


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, no YAML, or no mapping.
    """
    check_regular(path, "config", _MAX_YAML_BYTES)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read the config {path}: {reason}") from error
    values = _parsed(text, str(path))
    if not isinstance(values, dict):
        raise InputError(f"{path} must be a mapping of keys to values")
    return cast(dict[str, Any], values)


def _parsed(text: str, name: str) -> Any:
    """The values of some YAML; raises InputError for what is none, or is no value at all."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {' '.join(str(error).split())[:300]}") from error
    # Numbers of thousands of digits, dates that there are not; brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is no YAML that can be used: {shown(str(error))}") from error


def apply_overrides(values: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Set ``key=value`` pairs, dotted keys and YAML values, on a nested mapping.

    Raises:
        InputError: one is no ``key=value``.
    """
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise InputError(f"{shown(override)} is not of the form key=value")
        value = _parsed(text, shown(override))
        *groups, last = key.split(".")
        at = result
        for group in groups:
            inner = at.setdefault(group, {})
            if not isinstance(inner, dict):
                raise InputError(f"unknown key {shown(key)}: {group} has no keys of its own")
            at = cast(dict[str, Any], inner)
        at[last] = value
    return result


def merge(values: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with those of ``over``, one level of nesting deep."""
    result = dict(values)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = {**cast(dict[str, Any], old), **value} if both else value
    return result


_T = TypeVar("_T")


def build(kind: type[_T], values: Mapping[str, Any], where: str = "") -> _T:
    """A config dataclass from plain values, checked and converted.

    Raises:
        InputError: a key is unknown or missing, or a value has the wrong type.
    """
    hints = get_type_hints(kind, include_extras=True)
    known = [f.name for f in fields(cast(Any, kind))]
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {shown(where + str(key))}; known: {', '.join(known)}")
    made = {k: _convert(v, hints[k], where + k) for k, v in values.items()}
    try:
        return kind(**made)
    except TypeError as error:
        needed = [name for name in ("name", "output", "stages") if name in known]
        missing = ", ".join(n for n in needed if n not in values)
        raise InputError(f"the config lacks {missing}") from error


def _convert(value: Any, kind: Any, key: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        kind, rule = cast(tuple[Any, Range | Rising | Shares | Some], get_args(kind))
        made = _convert(value, kind, key)
        if not rule.holds(made):
            raise InputError(f"{key}: must be {rule.text}, not {shown(plain(made))}")
        return made
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise InputError(f"{key}: needs keys of its own, not {shown(value)}")
        return build(cast(type[Any], kind), cast(dict[str, Any], value), f"{key}.")
    if origin is Literal:
        if value not in get_args(kind):
            raise InputError(f"{key}: {shown(value)} is none of {', '.join(get_args(kind))}")
        return value
    if origin is tuple:
        items = list(cast(list[Any], value)) if isinstance(value, list | tuple) else [value]
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(items)
        if len(items) != len(kinds):
            raise InputError(f"{key}: needs {len(kinds)} values, not {len(items)}")
        return tuple(_convert(v, k, key) for v, k in zip(items, kinds, strict=True))
    if origin in (Union, types.UnionType):
        others = [k for k in get_args(kind) if k is not types.NoneType]
        return None if value is None else _convert(value, others[0], key)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{key}: needs keys of its own, not {shown(value)}")
        inner, items = get_args(kind)[1], cast(dict[Any, Any], value)
        return {str(k): _convert(v, inner, f"{key}.{k}") for k, v in items.items()}
    if kind is Any:
        return value
    try:
        # YAML reads 1e-4 as a string, and a CBR is most readable as 1/48.
        if kind is float and isinstance(value, str):
            numerator, slash, denominator = value.partition("/")
            return float(numerator) / float(denominator) if slash else float(numerator)
        if kind is float and not isinstance(value, bool):
            return float(value)
        if kind is str and value is None:
            return ""
        if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError(f"{key}: {shown(value)} is not a number") from error
    if type(value) is not kind:
        raise InputError(f"{key}: {shown(value)} is not of type {kind.__name__}")
    return value
