"""Checked access to the values of a JSON row: each function answers, or raises `Fault`.

`at` is the path of the object that is looked into (`messages[2]`), so that a fault names the exact field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

Kind = TypeVar("Kind")

KINDS: Final[Mapping[type, str]] = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "null",
}
SHOWN: Final = 40  # characters of somebody's data that a reason repeats


class Fault(Exception):
    """A row cannot be read, or a record cannot be written: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}")


def shown(value: object) -> str:
    """A value for a person: short, printable, without its contents where it is a container."""
    if isinstance(value, dict | list):
        return KINDS[type(value)]
    if isinstance(value, str) and len(value) > SHOWN:
        return f"{value[:SHOWN]!r}..."
    return repr(value)


def path(at: str, key: str) -> str:
    """The name of field `key` of the object at `at`."""
    return f"{at}.{key}" if at else key


def mapping(value: object, at: str = "") -> Mapping[str, object]:
    """The value, which must be a JSON object."""
    return _of(dict, value, at)


def listed(row: Mapping[str, object], key: str, at: str = "") -> list[object]:
    """The list under `key`, which must not be empty."""
    found = _of(list, present(row, key, at), path(at, key))
    if not found:
        raise Fault(path(at, key), "is empty")
    return found


def present(row: Mapping[str, object], key: str, at: str = "") -> object:
    """Whatever stands under `key`."""
    if key not in row:
        raise Fault(path(at, key), "is missing")
    return row[key]


def whole(value: object, at: str) -> int:
    """The value, which must be a whole number (and not true or false)."""
    return _of(int, value, at)


def text(row: Mapping[str, object], key: str, at: str = "") -> str:
    """The text under `key`, unchanged; it must say something."""
    return said(present(row, key, at), path(at, key))


def optional_text(row: Mapping[str, object], key: str, at: str = "", *, default: str = "") -> str:
    """The text under `key`, which may be absent or blank."""
    return encodable(_of(str, row.get(key, default), path(at, key)), path(at, key))


def said(value: object, at: str) -> str:
    """The value, which must be text that is not blank."""
    found = _of(str, value, at)
    if not found or found.isspace():
        raise Fault(at, "is empty")
    return encodable(found, at)


def encodable(value: str, at: str) -> str:
    """The text, which must not hold half of a surrogate pair (or bytes that are not UTF-8)."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        where = f"character {error.start + 1}"
        raise Fault(at, f"holds half of a surrogate pair or a byte that is not UTF-8 at {where}") from None
    return value


def _of(kind: type[Kind], value: object, at: str) -> Kind:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Fault(at, f"must be {KINDS[kind]}, not {shown(value)}")
    return value
