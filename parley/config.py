"""Strict recipes: YAML plus flags → frozen dataclasses.

Every section of a recipe is a frozen dataclass that stands above its stage. `build` fills one
from plain values and refuses what does not fit: an unknown key is answered with the nearest
known one, a wrong type with the place where it stands. `plain` is the way back; its canonical
JSON is what artifact names are made of.
"""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from parley.errors import ConfigError

T = TypeVar("T")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `ConfigError` names the file and, where known, the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the recipe ({_reason(error)})") from None
    try:
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError(f"{path}, line {line}: not valid YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({error})") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply for a recipe") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections, not {_kind(values)}")
    return values


def overlay(values: Mapping[str, Any], flags: Mapping[str, str]) -> dict[str, Any]:
    """The recipe with dotted flags over it: `{"ppo.steps": "20"}` sets `steps` in section `ppo`."""
    try:
        merged = {key: _copied(value) for key, value in values.items()}
    except RecursionError:
        raise ConfigError("the recipe holds a section that contains itself") from None
    for dotted, text in flags.items():
        *sections, key = dotted.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"--{dotted}: '{section}' is not a section of the recipe")
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError(f"--{dotted}: {text!r} is not a YAML value") from None
    return merged


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section; where both say something, `over` counts. Lists are taken whole."""
    found = dict(under)
    for key, value in over.items():
        inner = found.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        found[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return found


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of dataclass `cls`; `where` names the place in messages: a file, or a section of one
    (`recipes/x.yaml: ppo`)."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a section with keys, got {_kind(values)}")
    hints = typing.get_type_hints(cls)
    known = {key_of(field.name): field for field in fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'{nearest(str(key), list(known))}")
    arguments = {
        known[key].name: _fitted(hints[known[key].name], value, _inside(where, str(key)))
        for key, value in values.items()
    }
    for name, field in known.items():
        if field.name not in arguments and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{where}: the key '{name}' is missing")
    try:
        return cls(**arguments)
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from None


def key_of(name: str) -> str:
    """A field as files write it: one that Python forbids (`from`) has an underscore behind it."""
    return name.removesuffix("_")


def check_bounds(config: object, **bounds: tuple[float, float]) -> None:
    """`ValueError` for the first field of `config` that is not a number within its bounds."""
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if not (low <= value <= high and math.isfinite(value)):
            limit = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ValueError(f"{name} must be {limit}, not {value}")


def plain(value: object) -> Any:
    """A config as JSON-able values, in the order of its fields."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key_of(field.name): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def canonical(value: object) -> str:
    """One text for equal values: JSON with sorted keys."""
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def nearest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` where something known is near, else the list of what is known."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are: {', '.join(sorted(known))}" if known else ""


def _fitted(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    if origin in (Union, types.UnionType):
        return _fitted_union(hint, value, where)
    if origin is Literal:
        return _fitted_choice(typing.get_args(hint), value, where)
    if origin is tuple:
        return _fitted_tuple(typing.get_args(hint)[0], value, where)
    if origin is not None and issubclass(origin, Mapping):
        return _fitted_mapping(typing.get_args(hint)[1], value, where)
    return _fitted_scalar(hint, value, where)


def _fitted_union(hint: Any, value: Any, where: str) -> Any:
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    (option,) = [option for option in options if option is not type(None)]
    return _fitted(option, value, where)


def _fitted_choice(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in allowed or isinstance(value, bool) != any(isinstance(item, bool) for item in allowed):
        names = ", ".join(str(item) for item in allowed)
        raise ConfigError(f"{where}: {value!r} is not one of {names}")
    return value


def _fitted_tuple(item: Any, value: Any, where: str) -> Any:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {_kind(value)}")
    return tuple(_fitted(item, entry, f"{where}[{n}]") for n, entry in enumerate(value))


def _fitted_mapping(item: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected keys with values, got {_kind(value)}")
    return {str(key): _fitted(item, entry, f"{where}.{key}") for key, entry in value.items()}


def _fitted_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a text
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, bool) != (hint is bool) or not isinstance(value, hint):
        raise ConfigError(f"{where}: expected {_NAMES.get(hint, hint)}, got {value!r}")
    return value


def _inside(where: str, key: str) -> str:
    """A key of a file stands behind a colon, a key of a section behind a dot."""
    return f"{where}{'.' if ': ' in where else ': '}{key}"


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:80]


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "not UTF-8"
