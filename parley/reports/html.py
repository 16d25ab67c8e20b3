"""Markup that is safe by construction: what is not `Html` is escaped.

Texts come from models and from people, so nothing here joins strings by hand.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final, TypeAlias
from urllib.parse import quote

# Control characters and lone surrogates have no place in HTML; a line feed and a tab do.
UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
VOID: Final = frozenset({"meta", "br", "hr", "col"})


class Html(str):
    """Markup that may stand in a page as it is."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child]"


def text(value: str) -> Html:
    """Any string as markup that shows it."""
    return Html(html.escape(UNPRINTABLE.sub("\ufffd", value), quote=True))


def join(*children: Child) -> Html:
    """Children one after another."""
    return Html("".join(_parts(children)))


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element. `class_` is `class`, `aria_label` is `aria-label`; None and False leave one out."""
    opening = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*children)}</{name}>")


def anchor(directory: str) -> str:
    """The id of an artifact's row in the page."""
    return "from-" + quote(directory.encode("utf-8", "replace"), safe="").replace("%", "_")


def origin(directory: str, words: Child) -> Html:
    """A link to the row that says where a figure came from."""
    return tag("a", words, class_="origin", href=f"#{anchor(directory)}", title=f"from {directory}")


def _parts(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if isinstance(child, Html):
            yield child
        elif isinstance(child, str):
            yield text(child)
        else:
            yield from _parts(child)


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{text(f"{value:g}" if isinstance(value, float) else str(value))}"'
